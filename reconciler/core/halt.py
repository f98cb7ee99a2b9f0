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
from reconciler.core.fleet import EVERYTHING, Selection
from reconciler.core.intent import Call, GateClosed
from reconciler.core.model import ApiVersion, SavedPortfolioId, strategy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from reconciler.core.intent import Intent
    from reconciler.core.model import Address, Desired

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

HaltId = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z_-]{1,40}\Z")]


class HaltedPortfolio(Struct, frozen=True, kw_only=True):
    """A portfolio in the selection of a halt. ``token`` (v1) or ``due`` (v2) tells the pause that the halt made.

    Both are ``None`` where the halt made none, as where it was paused before. ``due`` is the time at which it was due,
    as the service wrote it. ``strategy`` is its strategy on v2, ``None`` where that is not known.
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
