"""A halt: which portfolios it stopped and until when nothing of them may begin, as a value and as a file.

In: nothing but values. Out: :class:`Halt`, its text and back, and :class:`HaltGate`, which keeps writes from beginning
while a halt is not lifted. The file can hold things back; it can resume nothing that a read does not show in the very
pause that the halt made. It comes from a checkout, so every id and text in it is checked like the service's.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct, field

from reconciler.core.codec import Moment, SavedFormat, Shown, dump, load
from reconciler.core.errors import HaltInvalid
from reconciler.core.evidence import halt_of
from reconciler.core.fleet import EVERYTHING, Selection
from reconciler.core.intent import Call, GateClosed
from reconciler.core.model import ApiVersion, HaltId, SavedPortfolioId, Status, strategy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from reconciler.core.intent import Intent
    from reconciler.core.model import Address, Desired, Live, PortfolioId, Record

HALT_FORMAT: Final = SavedFormat(
    file="the halt's file",
    what="the halt",
    is_none="the file of a halt",
    version="1.0",
    command="reconciler halt",
    largest=64 * 1024 * 1024,  # one portfolio takes about 160 bytes
    key="halted_at",
    error=HaltInvalid,
)


class HaltedPortfolio(Struct, frozen=True, kw_only=True):
    """A portfolio in the selection of a halt. ``token`` (v1) or ``due`` (v2) tells the pause that the halt made.

    Both are ``None`` where the halt made none, as where it was paused before. ``due`` is what a read shows in place of
    a schedule's id (:class:`~reconciler.core.model.Live`). ``strategy`` is its strategy on v2, ``None`` where that is
    not known.
    """

    id: SavedPortfolioId
    api: ApiVersion = ApiVersion.V1
    strategy: Shown | None = None
    token: Annotated[str, Meta(pattern=r"\A[0-9a-f]{6}\Z")] | None = None
    due: Shown | None = None


class Halt(Struct, frozen=True, kw_only=True, dict=True):
    """A halt of the portfolios of one service and account.

    It holds for ``portfolios``, which were in the selection when it was made (sorted by id), and for whatever the
    ``selection`` selects later. ``lifted_ms`` is when it was lifted, ``None`` while it holds. Times are UTC epoch
    milliseconds, by the service's clock.
    """

    id: HaltId
    base_url: Shown
    account: Shown | None
    reason: Shown
    at_ms: Moment = field(name="halted_at")
    who: Shown | None = None
    lifted_ms: Moment | None = field(default=None, name="lifted_at")
    selection: Selection = EVERYTHING
    portfolios: tuple[HaltedPortfolio, ...] = ()

    @cached_property  # asked before every write, of up to a whole fleet
    def ids(self) -> frozenset[str]:
        """The portfolios that were selected when it was made."""
        return frozenset(one.id for one in self.portfolios)

    @cached_property
    def _due(self) -> Mapping[str, str | None]:
        return {one.id: one.due for one in self.portfolios}

    def due_of(self, portfolio: PortfolioId) -> str | None:
        """Return what told the pause that it made on v2: see :func:`reconciler.core.evidence.pause_id`."""
        return self._due.get(portfolio)

    def holds(self, address: Address, desired: Desired | None = None) -> bool:
        """Whether it keeps a portfolio, or the cadence of a strategy, from being started, resumed or changed.

        ``desired`` is what the files declare, ``None`` where nobody knows it. A cadence waits if any portfolio of the
        halt may follow it.
        """
        strategy = strategy_of(address)
        if strategy is None:
            return address in self.ids or self.selection.passes(address, desired)
        followed = {one.strategy for one in self.portfolios if not one.api.can.owns_schedule}
        return self.selection.everything or strategy in followed or None in followed

    @property
    def words(self) -> str:
        """How a sentence names it: its id and its reason."""
        return f"halt {self.id} ({self.reason})"


class Halts(Struct, frozen=True, kw_only=True):
    """What is known of the halts of one service and account.

    ``holding`` are those that are not lifted, by id. ``filed`` are those whose file is here, lifted or not: on v2, they
    show whose pause a portfolio is in where no journal does.
    """

    holding: Mapping[str, Halt] = {}
    filed: tuple[Halt, ...] = ()

    def pausing(
        self, live: Live, record: Record | None, api: ApiVersion, *, remembered: str | None = None
    ) -> str | None:
        """Return the id of the halt in whose very pause a portfolio is: see :func:`reconciler.core.evidence.halt_of`.

        Where no reason is kept, the due time that a file holds is proof, too: every resume moves it.
        """
        found = halt_of(live, record, api, remembered=remembered)
        if found is not None or api.can.keeps_reason or live.status is not Status.PAUSED or live.schedule_id is None:
            return found
        return next((one.id for one in self.filed if one.due_of(live.id) == live.schedule_id), None)

    def named(self, halt: str) -> Halt | None:
        """Return the halt with this id, if more than its mark is known."""
        return self.holding.get(halt) or next((one for one in self.filed if one.id == halt), None)

    def holder(self, address: Address, desired: Desired | None = None) -> Halt | None:
        """Return the first halt that holds a portfolio or a cadence, ``None`` where none does."""
        return next((one for _, one in sorted(self.holding.items()) if one.holds(address, desired)), None)


NO_HALTS: Final = Halts()


class HaltGate(Struct, frozen=True):
    """Lets nothing begin that a halt holds, but pauses; for the lift of a halt, what that halt alone holds may begin.

    ``known`` are the halts that were there when the plan was made; one that came later ends the whole run, because the
    plan did not reckon with it. ``in_files`` returns those that the files hold at this moment, by id.
    """

    known: frozenset[str] = frozenset()
    in_files: Callable[[], Mapping[str, Halt]] = dict

    def require_open(self, intent: Intent, halts: Collection[Halt]) -> None:
        """Raise :class:`GateClosed` where a write must not begin: see :class:`~reconciler.core.ports.Gate`."""
        if intent.call is Call.PAUSE:
            return
        for _, halt in sorted((dict(self.in_files()) | {one.id: one for one in halts}).items()):
            if halt.id == intent.halt:
                continue
            if halt.id not in self.known:
                raise GateClosed(f"{halt.words} has begun since it was planned; nothing more begins", ends_run=True)
            if halt.holds(intent.address):
                raise GateClosed(f"{halt.words} holds it until `reconciler halt lift {halt.id}`")


def format_halt(halt: Halt) -> str:
    """Return the file as JSON text that ends in a line break."""
    return HALT_FORMAT.text(dump(halt))


def parse_halt(content: bytes | str) -> Halt:
    """Return the halt that a file holds. Raises :class:`HaltInvalid` for anything that is not such a file."""
    return HALT_FORMAT.parse(content, lambda document: load(document, Halt))
