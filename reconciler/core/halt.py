"""A halt: which portfolios it stopped, and that nothing of them may begin until it is lifted; as a value and as a file.

In: nothing but values. Out: :class:`Halt`, its text and back, and :class:`Halts`, which says what they hold. The file
can hold things back. It can't resume anything, unless a read shows it in the very pause that the halt made. It comes
from a checkout, so every id and text in it is checked like the service's.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct, field

from reconciler.core.codec import Moment, SavedFormat, Shown, dump, load
from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.endpoint import is_one_spelling
from reconciler.core.errors import HaltInvalid
from reconciler.core.evidence import halt_of
from reconciler.core.fleet import Selection  # noqa: TC001 - a field's type is looked up when a file is read
from reconciler.core.model import (
    ApiVersion,
    HaltId,
    SavedPortfolioId,
    Status,
    strategy_of,
)
from reconciler.core.text import DAY_MS, plural, rough_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.model import Address, Desired, Live, PortfolioId, Record

HALT_FORMAT: Final = SavedFormat(
    file="the halt's file",
    what="the halt",
    is_none="the file of a halt",
    version="1.0",
    command="reconciler halt",
    largest=64 * 1024 * 1024,  # one portfolio takes about 160 bytes
    key="halted_at",
    first="id",
    error=HaltInvalid,
)


class HaltedPortfolio(Struct, frozen=True, kw_only=True):
    """A portfolio in the selection of a halt. ``token`` (v1) or ``due`` (v2) identifies the pause that the halt made.

    Both are ``None`` if the halt made no pause, for example because it was paused before. ``due`` is what a read shows
    in place of a schedule's id (:class:`~reconciler.core.model.Live`). ``strategy`` is its strategy on v2, ``None`` if
    that is not known.
    """

    id: SavedPortfolioId
    api: ApiVersion = ApiVersion.V1
    strategy: Shown | None = None
    token: Annotated[str, Meta(pattern=r"\A[0-9a-f]{6}\Z")] | None = None
    due: Shown | None = None


class Halt(Struct, frozen=True, kw_only=True, dict=True):
    """A halt of the portfolios of one service and account.

    It holds for ``portfolios``, which were selected when it was made (sorted by id), and for whatever the ``selection``
    selects later; ``None`` if they were named by their ids. ``lifted_ms`` is when it was lifted, ``None`` while it
    holds. Times are UTC epoch milliseconds, by the service's clock.
    """

    id: HaltId
    base_url: Shown
    account: Shown | None
    reason: Shown
    at_ms: Moment = field(name="halted_at")
    who: Shown | None = None
    lifted_ms: Moment | None = field(default=None, name="lifted_at")
    selection: Selection | None = None
    portfolios: tuple[HaltedPortfolio, ...] = ()

    @cached_property  # asked before every write, of up to a whole fleet
    def by_id(self) -> Mapping[str, HaltedPortfolio]:
        """The portfolios that were selected when it was made."""
        return {one.id: one for one in self.portfolios}

    def due_of(self, portfolio: PortfolioId) -> str | None:
        """Return what identifies the pause that it made on v2: see :func:`reconciler.core.evidence.pause_id`."""
        return one.due if (one := self.by_id.get(portfolio)) is not None else None

    def holds(self, address: Address, desired: Desired | None = None) -> bool:
        """Whether it keeps a portfolio from being started, resumed or updated, or a strategy from another cadence.

        ``desired`` is what the files declare, ``None`` if nobody knows it. A cadence waits if any portfolio of the
        halt may follow it.
        """
        if address in self.by_id or (self.selection is not None and self.selection.passes(address, desired)):
            return True
        strategy = strategy_of(address)
        return strategy is not None and not self._followed.isdisjoint((strategy, None))

    @cached_property
    def _followed(self) -> frozenset[str | None]:
        return frozenset(one.strategy for one in self.portfolios if not one.api.can.owns_schedule)

    @property
    def words(self) -> str:
        """How a sentence names it: its id and its reason."""
        return f"halt {self.id} ({self.reason})"

    @property
    def why_held(self) -> str:
        """Why something that it holds does not begin."""
        return f"{self.words} holds it until `reconciler halt lift {self.id}`"


class Halts(Struct, frozen=True, kw_only=True):
    """What is known of the halts of one service and account.

    ``holding`` are those that are not lifted, by id. ``filed`` are those whose file is here, lifted or not: on v2 they
    show whose pause it is if the journal does not. ``unread`` says of each file that may be a halt why it can't be
    read.
    """

    holding: Mapping[str, Halt] = {}
    filed: tuple[Halt, ...] = ()
    unread: tuple[str, ...] = ()

    def pausing(
        self, live: Live, record: Record | None, api: ApiVersion, *, remembered: str | None = None
    ) -> str | None:
        """Return the id of the halt in whose very pause a portfolio is: see :func:`reconciler.core.evidence.halt_of`.

        On an API that keeps no reasons, the due time in a file is proof, too, because every resume moves it.
        """
        found = halt_of(live, record, api, remembered=remembered)
        if found is not None or api.can.keeps_reason or live.status is not Status.PAUSED or live.schedule_id is None:
            return found
        return next((one.id for one in self.filed if one.due_of(live.id) == live.schedule_id), None)

    def named(self, halt: str) -> Halt | None:
        """Return the halt with this id, if more than its mark is known."""
        return self.holding.get(halt) or next((one for one in self.filed if one.id == halt), None)

    def holder(self, address: Address, desired: Desired | None = None, *, besides: str | None = None) -> Halt | None:
        """Return the first halt, other than ``besides``, that holds a portfolio or cadence; ``None`` if none does."""
        found = (one for name, one in sorted(self.holding.items()) if name != besides and one.holds(address, desired))
        return next(found, None)


NO_HALTS: Final = Halts()

HALTS: Final = "halts"
"""How the address of a message about a halt begins."""
UNREAD: Final = "put the file back from Git, or take it away if it is not the file of a halt"
"""What to do about a file that may be a halt and can't be read."""
OLD_MS: Final = DAY_MS
"""From this age on, people are reminded of a halt that holds."""


def halts_told(halts: Halts, *, now_ms: int, pausing: Iterable[str] = ()) -> tuple[Diagnostic, ...]:
    """Return what people are told of files that can't be read, and of halts that seem to have been forgotten: the old
    ones, the oldest first, and those that are lifted, although a portfolio is still in their pause.

    ``pausing`` has the halt of each portfolio that is in the pause of one and declared active.
    """
    missing = "so a halt may be missing here"
    unread = (Diagnostic(Severity.WARNING, f"{one}, {missing}", UNREAD, HALTS) for one in halts.unread)
    old = sorted((one.at_ms, one.id, one) for one in halts.holding.values() if now_ms - one.at_ms >= OLD_MS)
    reminders = (
        Diagnostic(
            Severity.WARNING,
            f"the {one.words} is {rough_duration(now_ms - at_ms)} old",
            f"`reconciler halt lift {name}` ends it",
            f"{HALTS}.{name}",
        )
        for at_ms, name, one in old
    )
    left = Counter(pausing)
    lifted = (
        Diagnostic(
            Severity.WARNING,
            f"the {one.words} is lifted, and {plural(left[one.id], 'portfolio')} that it paused did not resume",
            f"`reconciler halt lift {one.id}` resumes what is still in its pause",
            f"{HALTS}.{one.id}",
        )
        for one in halts.filed
        if left[one.id] and one.id not in halts.holding
    )
    return (*unread, *reminders, *lifted)


def is_of_halt(diagnostic: Diagnostic) -> bool:
    """Whether this is what :func:`halts_told` says."""
    return diagnostic.address.partition(".")[0] == HALTS


def format_halt(halt: Halt) -> str:
    """Return the file as JSON text that ends in a line break."""
    return HALT_FORMAT.text(dump(halt))


def parse_halt(content: bytes | str) -> Halt:
    """Return the halt that a file holds. Raises :class:`HaltInvalid` for anything that is not such a file."""
    return HALT_FORMAT.parse(content, _halt)


def _halt(document: dict[str, Any]) -> Halt:
    found = load(document, Halt)
    if not is_one_spelling(found.base_url):  # in another one, it would be taken for the halt of another service
        raise HaltInvalid(f"it names the service {found.base_url}, which is not spelled as it is everywhere else")
    return found
