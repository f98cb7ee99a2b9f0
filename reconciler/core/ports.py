"""The Protocols between the core and the outside: service, journal, clock, observers. ``cli`` chooses what implements
them.

An implementation raises only the errors that are named here, because an apply decides by them what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from reconciler.core.halt import NO_HALTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.core.change import Change
    from reconciler.core.errors import ApiError
    from reconciler.core.freeze import WriteGate
    from reconciler.core.halt import Halts
    from reconciler.core.intent import Call, Intent, OpenIntent, WriteOutcome
    from reconciler.core.model import (
        Address,
        ApiVersion,
        Cadence,
        Live,
        PortfolioId,
        Record,
        StrategyId,
        StrategyLive,
        Verb,
    )
    from reconciler.core.rebalance import (
        KeptRebalance,
        PortfolioFacts,
        Rebalance,
        RebalanceResult,
        RecentRebalances,
    )
    from reconciler.core.report import Result


class Confirmation(Struct, frozen=True, kw_only=True):
    """What the answer to a write confirmed; ``None`` for whatever it did not hold.

    ``previous_interval_ms`` is the interval that an update-schedule replaced. If the schedule can't be read, only that
    can show, afterwards, that it had drifted (API facts §5.2).
    """

    interval_ms: int | None = None
    offset_ms: int | None = None
    schedule_id: str | None = None
    previous_interval_ms: int | None = None
    cadence: Cadence | None = None
    run: str | None = None
    """The id of the rebalance that the call began, if the answer named one."""


class Room(Protocol):
    """Room for a look and the write that follows it, taken from the rate limit before the look.

    ``async with room:`` waits until both may be sent, and gives the room back at its end. It may be entered again after
    that. Inside, in the same task, reads note when they were sent, and a write is sent only while the oldest of them is
    young enough. Entering may raise ``ApiError`` if the wait would be too long.
    """

    async def __aenter__(self) -> Room:
        """Wait for room."""

    async def __aexit__(self, *_: object) -> None:
        """Give it back."""

    def look_again(self) -> None:
        """Forget the reads so far; the next one begins a new look."""


class WriteNotSent(Exception):
    """A write was not sent, and so changed nothing: the look before it had become too old, or would have.

    ``age_ms`` is how old the look was by then; ``None`` if the write would have had to wait for the rate limit.
    """

    def __init__(self, age_ms: int | None) -> None:
        super().__init__("not sent: look again")
        self.age_ms = age_ms


class PortfolioApi(Protocol):
    """Reads portfolios, each by the API that manages it."""

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
        """Read the newest rebalances. If the service has no list of them, nothing is sent and the result says so."""

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        """Read one rebalance by its id."""

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:
        """Read the portfolio itself (API facts §1.1 V1.9, §1.3 V2.2)."""


class ServiceApi(PortfolioApi, StrategyApi, RebalanceApi, Protocol):
    """One Glider service, with reads and writes.

    Every method may raise :class:`~reconciler.core.errors.ApiError`. A write inside a :class:`Room` may also raise
    :class:`WriteNotSent`. Nothing else is raised. Reads are retried by the implementation, within a budget.
    """

    async def send(self, intent: Intent) -> Confirmation:
        """Send one write, exactly once. An implementation never repeats it; a caller that does must look first.

        A write that the portfolio's API does not have is refused before anything is sent. ``ApiError.other_route`` says
        that the same write, sent again, goes to the other v1 path family (API facts §4.1). The caller must compare the
        interval that a start confirms with the wanted one (§4.2). The cooldown of a rebalance is ``RATE_LIMITED`` with
        its wait. It concerns only this portfolio, so nothing else is slowed down, and nobody waits for its end.
        """

    def room(self) -> Room:
        """Return room for the looks and attempts of one write."""

    def service_ms(self) -> int:
        """Return the time by the service's own clock (its ``Date`` header), UTC epoch milliseconds.

        It is this machine's time if the service names none, or one that hardly differs.
        """


class Clock(Protocol):
    """The time, and how to wait; tests pass one that they move themselves."""

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""

    def ticks_ms(self) -> int:
        """Return milliseconds since some moment. They never go back, and go on while the machine sleeps."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Memory(Struct, frozen=True, kw_only=True):
    """What the journal knows of one service at one moment, keyed by portfolio or strategy and sorted.

    ``since`` holds the token of the last write to each state or schedule that took effect, or may have.
    ``pauses`` holds the token of our last pause, unless a later resume or start of ours counts, and ``halts`` the id of
    the halt that this pause is part of, if it is part of one. ``halting`` are the halts that are known.
    ``unanswered`` holds, for each portfolio, the last request for a run (a rebalance, or a start that runs at once) if
    its outcome stayed unknown. ``triggers`` counts the rebalances of the last 24 hours. ``results`` are the
    rebalances that it remembers, newest first, where somebody asked for them. ``exists`` is false if there is no
    journal. ``outdated`` names what was written to after it was read: only a plan from live files can have any.
    """

    exists: bool = False
    records: Mapping[PortfolioId, Record] = field(default_factory=dict)
    cadences: Mapping[StrategyId, Cadence] = field(default_factory=dict)
    since: Mapping[Address, str] = field(default_factory=dict)
    pauses: Mapping[PortfolioId, str] = field(default_factory=dict)
    halts: Mapping[PortfolioId, str] = field(default_factory=dict)
    halting: Halts = NO_HALTS
    unanswered: Mapping[PortfolioId, OpenIntent] = field(default_factory=dict)
    triggers: Mapping[PortfolioId, int] = field(default_factory=dict)
    results: Mapping[PortfolioId, Sequence[KeptRebalance]] = field(default_factory=dict)
    outdated: frozenset[Address] = frozenset()

    def pausing(self, live: Live, api: ApiVersion) -> str | None:
        """Return the id of the halt in whose very pause a portfolio is: see :class:`~reconciler.core.halt.Halts`."""
        return self.halting.pausing(live, self.records.get(live.id), api, remembered=self.halts.get(live.id))


class Journal(Protocol):
    """What survives between runs, keyed by base URL and by portfolio or strategy. Waiting raises ``JournalError``.

    Everything is done in the order in which it is asked for, so a read finds whatever was noted before it. Outcomes and
    records are only noted; await what is returned to be sure that they are on the disk. Once something could not be
    kept, nothing after it is kept: a write is never announced in a journal that lacks what came before.
    ``plans`` are fingerprints of plans. Writes of these plans that did not complete their change don't count, so that a
    run that broke off can be run again.
    """

    async def memory(self, *of: Address, plans: Collection[str] = ()) -> Memory:
        """Return all that is known, or what is known ``of`` these portfolios and strategies, as of one moment."""

    async def knows(self, token: str) -> bool:
        """Whether the journal has a write with this token."""

    async def maybe_sent(self, address: Address, call: Call, *, plans: Collection[str]) -> bool:
        """Whether one of these plans made a call of this kind whose outcome stayed unknown."""

    async def unsettled(self) -> tuple[OpenIntent, ...]:
        """Return the writes that have an intent but no outcome, oldest first: their run died before it knew."""

    def expecting(self) -> AbstractContextManager[None]:
        """Say, for as long as a look takes, that an intent may follow: what is only noted may wait for it."""

    async def begin(self, intent: Intent, gate: WriteGate) -> int:
        """Return the number of a write once its intent is on the disk; only then may it be sent.

        The gate is asked in the same transaction, with the halts that are not lifted. So once a halt is on the disk,
        whatever machine it came from, no write begins that does not know of it. Raises
        :class:`~reconciler.core.intent.GateClosed`; then there is no intent. If the caller is cancelled while it waits,
        the write is noted as one that was not sent.
        """

    def end(self, number: int, outcome: WriteOutcome, detail: str) -> Awaitable[None]:
        """Note the outcome of the write with this number."""

    def confirm(self, records: Mapping[PortfolioId, Record]) -> Awaitable[None]:
        """Note what the service confirmed or showed."""


class Abandoned(Struct, frozen=True, kw_only=True):
    """What is known of a change that another runner had begun when it died or lost its journal.

    ``has_written`` says that a write of it is known to have taken effect; ``unproven`` that a start or a schedule was
    sent, and that nothing proves whether it took effect or still may.
    """

    has_written: bool = False
    unproven: bool = False


class Turn(Struct, frozen=True, kw_only=True):
    """What a runner of an apply is told when it asks for its next change.

    ``change`` is for it to carry out. ``None`` says that there is none at this moment; if the wave is ``over``, there
    will be none. ``abandoned`` is set if another runner had begun the change and did not end it, so that a write of it
    may be under way. ``stopped`` says why no runner begins anything more; then only abandoned changes are handed out.
    """

    change: Change | None = None
    over: bool = False
    abandoned: Abandoned | None = None
    stopped: str | None = None


class Claims(Protocol):
    """Which change of a plan is carried out next, and by which runner, if several carry it out together.

    A change is handed out to one runner at a time. It counts as failed or done for all of them once its result is told.
    The whole apply stops after too many failures, a canary that was not done, or a key that was refused, on whichever
    runner. Methods raise ``JournalError``.
    """

    async def take(self, wave: int) -> Turn:
        """Return the next change of this wave, by the number of :func:`~reconciler.core.plan.write_waves`.

        A wave is over when each of its changes has its result; if the apply has stopped, when none is under way.
        """

    async def end(self, result: Result) -> None:
        """Tell what became of a change that was handed out; return when that is kept."""

    async def results(self) -> Mapping[Address, Result]:
        """Return what became of each change so far, on all runners."""


class ApplyObserver(Protocol):
    """Is told how an apply goes on; it must not raise.

    More changes may have started and not finished than are carried out at a time: one that was done has finished when
    the journal has its outcome on the disk, and the next one does not wait for that.
    """

    def started(self, address: Address, verb: Verb) -> None:
        """A change is being carried out."""

    def finished(self, result: Result) -> None:
        """A change has its outcome, and the journal has it too."""


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
