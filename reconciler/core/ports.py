"""The Protocols through which the core's values reach the world; ``cli`` chooses what stands behind them.

An implementation raises the errors that are named here and no other: an apply decides by them what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.core.errors import ApiError
    from reconciler.core.intent import Call, Intent, OpenIntent, WriteOutcome
    from reconciler.core.model import Address, Cadence, Live, PortfolioId, Record, StrategyId, StrategyLive, Verb
    from reconciler.core.rebalance import (
        KeptRebalance,
        PortfolioFacts,
        Rebalance,
        RebalanceResult,
        RecentRebalances,
    )
    from reconciler.core.report import Result


class Confirmation(Struct, frozen=True, kw_only=True):
    """What the answer of a write confirmed; ``None`` for whatever it did not carry.

    ``previous_interval_ms`` and ``previous_offset_ms`` are what an update-schedule replaced: the only way to find
    out late that the schedule had drifted (API facts §5.2).
    """

    interval_ms: int | None = None
    offset_ms: int | None = None
    schedule_id: str | None = None
    next_run_ms: int | None = None
    previous_interval_ms: int | None = None
    previous_offset_ms: int | None = None
    cadence: Cadence | None = None
    run: str | None = None
    """The id of the rebalance that the call began, where the answer named one."""


class Room(Protocol):
    """Room for a look and the write that follows it, taken from the rate limit before the look.

    ``async with room:`` waits until both may be sent, and gives the room back at its end; it may be entered again, one
    time after the other. Inside, in the same task, reads note when they were sent, and a write is sent only while the
    oldest of them is young enough. Entering may raise ``ApiError`` where that would take too long.
    """

    async def __aenter__(self) -> Room:
        """Wait for room."""

    async def __aexit__(self, *_: object) -> None:
        """Give it back."""

    def look_again(self) -> None:
        """Forget the reads so far: what follows is a new look."""


class WriteNotSent(Exception):
    """A write was not sent, because it would have been too late for the look before it, and so changed nothing.

    ``age_ms`` is how old the look was by then; ``None`` where the write would have had to wait for the rate limit.
    """

    def __init__(self, age_ms: int | None) -> None:
        super().__init__("not sent: look again")
        self.age_ms = age_ms


class PortfolioApi(Protocol):
    """Reads portfolios, each by the API that it is managed by."""

    async def read(self, portfolio: PortfolioId) -> Live:
        """Read the automation status. A 404 is a :class:`Live` with ``Status.NOT_FOUND``, not an error."""


class StrategyApi(Protocol):
    """Reads strategies."""

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        """Read a strategy's cadence. A 404 (none, or not ours) is a value with ``NOT_FOUND``, not an error."""


class RebalanceApi(Protocol):
    """Reads what is known of rebalances, and of the portfolio itself."""

    def noun(self, portfolio: PortfolioId) -> str:
        """Return what the service calls a rebalance of this portfolio: ``workflow`` or ``operation``."""

    async def recent(self, portfolio: PortfolioId, *, limit: int) -> RecentRebalances:
        """Read the newest rebalances. Where the service has no list of them, nothing is sent and the answer says so."""

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        """Read one rebalance by its id."""

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:
        """Read the portfolio itself (API facts §1.1 V1.9, §1.3 V2.2)."""


class ServiceApi(PortfolioApi, StrategyApi, RebalanceApi, Protocol):
    """One Glider service, as whoever writes to it needs it.

    Every method may raise :class:`~reconciler.core.errors.ApiError`, and nothing else but, from a write inside a
    :class:`Room`, :class:`WriteNotSent`. Reads are retried inside, within a budget.
    """

    async def send(self, intent: Intent) -> Confirmation:
        """Send one write, once. It is never repeated inside: whoever repeats it has to look first.

        A write that the portfolio's API does not have is refused before anything is sent. ``ApiError.other_route`` says
        that the same write, sent again, goes to the other v1 path family (API facts §4.1). The interval that a start
        confirms must be compared with the wanted one by the caller (§4.2). The cooldown of a rebalance is
        ``RATE_LIMITED`` with its wait; it is about this portfolio alone, slows nothing else, and is not waited for.
        """

    def room(self) -> Room:
        """Return room for the looks and attempts of one write."""

    def service_ms(self) -> int:
        """Return the time by the service's own clock (its ``Date`` header), UTC epoch milliseconds.

        By this machine's clock where the service names no time, or one that is hardly another.
        """


class Clock(Protocol):
    """The time, and how to let it pass; tests pass one that does not."""

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""

    def ticks_ms(self) -> int:
        """Return milliseconds from any start that only ever grow, also while the machine sleeps or nothing runs."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Memory(Struct, frozen=True, kw_only=True):
    """What the journal knows of one service at one moment, keyed by portfolio or strategy and sorted.

    ``since`` holds the token of the last write to each state or schedule that took or may have taken effect.
    ``pauses`` holds the token of the last pause of ours, where no later resume or start of ours counts, and ``halts``
    the id of the halt that this pause is part of, where it is part of one.
    ``unanswered`` holds the last request for a run (a rebalance, or a start that runs at once) of each portfolio whose
    outcome stayed unknown. ``triggers`` counts the rebalances of the last 24 hours. ``exists`` is false where there is
    no journal.
    """

    exists: bool = False
    records: Mapping[PortfolioId, Record] = field(default_factory=dict)
    cadences: Mapping[StrategyId, Cadence] = field(default_factory=dict)
    since: Mapping[Address, str] = field(default_factory=dict)
    pauses: Mapping[PortfolioId, str] = field(default_factory=dict)
    halts: Mapping[PortfolioId, str] = field(default_factory=dict)
    unanswered: Mapping[PortfolioId, OpenIntent] = field(default_factory=dict)
    triggers: Mapping[PortfolioId, int] = field(default_factory=dict)


class Journal(Protocol):
    """What survives between runs, keyed by base URL and by portfolio or strategy. Methods raise ``JournalError``.

    ``plans`` are fingerprints: attempts under these that did not carry their change to its end don't count as writes,
    so that a run that broke off can be run again.
    """

    def memory(self, of: Address | None = None, *, plans: Collection[str] = ()) -> Memory:
        """Return all that is known, or all that is known ``of`` one portfolio or strategy, at one moment."""

    def knows(self, token: str) -> bool:
        """Whether a write with this token stands in the journal."""

    def maybe_sent(self, address: Address, call: Call, *, plans: Collection[str]) -> bool:
        """Whether a call of this kind was made under one of these plans whose outcome stayed unknown."""

    def unsettled(self) -> tuple[OpenIntent, ...]:
        """Return the writes that have an intent and no outcome, oldest first: a run died over them."""

    def begin(self, intent: Intent) -> int:
        """Commit the intent of a write before it is sent; return its number."""

    def end(self, number: int, outcome: WriteOutcome, detail: str) -> None:
        """Commit the outcome of the write with this number."""

    def confirm(self, records: Mapping[PortfolioId, Record]) -> None:
        """Commit what the service confirmed or showed, all at once."""


class ResultJournal(Protocol):
    """Rebalances as they were last read, keyed by portfolio and id: who shows them need not ask for them again.

    Methods raise ``JournalError``.
    """

    def results(self, *, last: int) -> Mapping[PortfolioId, Sequence[KeptRebalance]]:
        """Return the ``last`` rebalances of each portfolio, newest first, sorted by portfolio; only of those with any.

        One that began later is newer, whenever it was read.
        """

    def keep_results(self, results: Mapping[PortfolioId, Sequence[Rebalance]]) -> None:
        """Commit what was read of rebalances just now, all at once.

        Each takes the place of what was known of it, unless it is known to be over and the new one says it is not. Of
        each portfolio only the newest stay, at least as many as a page shows.
        """


class ApplyObserver(Protocol):
    """Is told how an apply goes on; it must not raise."""

    def started(self, address: Address, verb: Verb) -> None:
        """A change is being carried out."""

    def finished(self, result: Result) -> None:
        """A change has its outcome."""


class ReadObserver(Protocol):
    """Is told how reading goes on; it must not raise."""

    def read(self, portfolio: PortfolioId, failure: ApiError | None) -> None:
        """A portfolio was read, or could not be."""


class RebalanceObserver(Protocol):
    """Is told how rebalances go on; it must not raise."""

    def accepted(self, portfolio: PortfolioId, rebalance: str | None) -> None:
        """A rebalance was accepted, under this id where one was named."""

    def moved(self, portfolio: PortfolioId, rebalance: Rebalance) -> None:
        """A rebalance shows another status than before."""

    def finished(self, result: RebalanceResult) -> None:
        """A portfolio has its outcome."""
