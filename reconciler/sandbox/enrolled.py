"""One portfolio enrolled in a v2 strategy as a value, and how time, start, stop and a rebalance change it.

Pure: in an :class:`Enrolled`, a time and the strategy's frequency, out another :class:`Enrolled`, the very same object
when nothing changes, or :class:`~reconciler.sandbox.model.Refused`. Times are UTC epoch milliseconds on the
simulator's clock. The model of v1 is :mod:`reconciler.sandbox.model`; the two have nothing in common but their runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from reconciler.sandbox.model import Code, Refused
from reconciler.sandbox.runs import Course, Pace, Past, Phase, stage

TICK_MS: Final = MINUTE_MS
"""The scheduler looks for due portfolios once a minute, on the minute (API facts §6: a run begins within a minute)."""
PAST_KEPT: Final = 5
"""So many of the newest rebalances are remembered; enough to find the last completed one."""


class Frequency(StrEnum):
    """The cadences of a strategy (API facts §6)."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @property
    def interval_ms(self) -> int:
        """Its length; that of a month is not documented, and is 30 days here."""
        return _INTERVALS[self]


_INTERVALS: Final = {
    Frequency.HOURLY: HOUR_MS,
    Frequency.DAILY: DAY_MS,
    Frequency.WEEKLY: WEEK_MS,
    Frequency.MONTHLY: 30 * DAY_MS,
}


class EnrolledState(StrEnum):
    """What an enrolled portfolio is doing (API facts §3.2)."""

    ACTIVE = "active"
    PAUSED = "paused"
    UNSCHEDULED = "unscheduled"
    """It has no schedule row: nothing to start or stop."""
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One strategy. ``frequency`` is ``None`` where no cadence is configured; ``own`` false for another tenant's."""

    id: str
    name: str
    frequency: Frequency | None
    own: bool
    version: int
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """Everything the simulator remembers of one enrolled portfolio."""

    id: str
    name: str | None
    chain: str | None
    word: str | None
    """A schedule status to answer with instead of the true one; ``None`` for the true one."""
    owner: str
    """Who owns it, as a CAIP-10 account in lower case."""
    strategy: str
    state: EnrolledState
    next_due_ms: int | None
    """When it is due; ``None`` exactly while it is ``UNSCHEDULED``. Kept, and without meaning, while paused."""
    empty: bool
    """Whether it holds nothing, so that a manual rebalance fails."""
    operations: int
    """How many manual rebalances there ever were; the number of the newest one."""
    past: tuple[Past, ...]
    """The newest rebalances, scheduled and manual, newest first, at most :data:`PAST_KEPT`."""
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualRebalance:
    """One operation: a rebalance that was asked for by hand."""

    id: str
    portfolio: str
    submitted_ms: int
    course: Course

    def phase(self, pace: Pace, now_ms: int) -> Phase:
        """Return where it stands."""
        return stage(self.course, pace, now_ms - self.submitted_ms).phase


def settle_enrolled(enrolled: Enrolled, now_ms: int, frequency: Frequency | None) -> Enrolled:
    """Let the runs begin that were due at a tick until ``now_ms``; the very same object when none was.

    A run begins at the first tick after it is due, and the next is due one interval after the last was due.
    """
    due = enrolled.next_due_ms
    if enrolled.state is not EnrolledState.ACTIVE or due is None or frequency is None:
        return enrolled
    last_tick = now_ms // TICK_MS * TICK_MS
    if due >= last_tick:
        return enrolled
    interval = frequency.interval_ms
    count = (last_tick - 1 - due) // interval + 1
    newest = due + (count - 1) * interval
    begun = (_tick_after(newest - index * interval) for index in range(min(count, PAST_KEPT)))
    past = (*(Past(tick, Course.COMPLETED) for tick in begun), *enrolled.past)[:PAST_KEPT]
    return replace(enrolled, next_due_ms=newest + interval, past=past, updated_ms=past[0].begun_ms)


def start_enrolled(enrolled: Enrolled, now_ms: int) -> Enrolled:
    """Let the schedule run; a real transition makes a rebalance due now (API facts §1.3)."""
    match enrolled.state:
        case EnrolledState.PAUSED:
            return replace(enrolled, state=EnrolledState.ACTIVE, next_due_ms=now_ms, updated_ms=now_ms)
        case EnrolledState.ACTIVE:
            return enrolled
        case EnrolledState.UNSCHEDULED:
            raise _no_schedule()
        case EnrolledState.ARCHIVED:
            raise gone()
        case _:
            assert_never(enrolled.state)


def stop_enrolled(enrolled: Enrolled, now_ms: int) -> Enrolled:
    """Stop the schedule; what was due stays written down."""
    match enrolled.state:
        case EnrolledState.ACTIVE:
            return replace(enrolled, state=EnrolledState.PAUSED, updated_ms=now_ms)
        case EnrolledState.PAUSED:
            return enrolled
        case EnrolledState.UNSCHEDULED:
            raise _no_schedule()
        case EnrolledState.ARCHIVED:
            raise gone()
        case _:
            assert_never(enrolled.state)


def check_rebalance(enrolled: Enrolled, latest: ManualRebalance | None, now_ms: int, pace: Pace) -> None:
    """Raise :class:`Refused` where a manual rebalance fails; ``latest`` is the one before, which is over.

    429 with the seconds that are left of the cooldown (API facts §2.5), 500 for an empty portfolio (API facts §2.4).
    """
    if latest is not None:
        left = latest.submitted_ms + pace.cooldown_ms - now_ms
        if left > 0:
            seconds = -(-left // 1_000)
            message = f"Rebalance is cooling down. Try again in {seconds} seconds."
            raise Refused(429, Code.RATE_LIMITED, message, retry_after_s=seconds)
    if enrolled.empty:
        raise Refused(500, Code.REBALANCE_FAILED, "Failed to trigger manual rebalance")


def add_rebalance(enrolled: Enrolled, now_ms: int, course: Course) -> Enrolled:
    """Add a manual rebalance at ``now_ms``; the schedule stays as it is."""
    past = (Past(now_ms, course), *enrolled.past)[:PAST_KEPT]
    return replace(enrolled, operations=enrolled.operations + 1, past=past, updated_ms=now_ms)


def last_rebalance(enrolled: Enrolled, now_ms: int, pace: Pace) -> int | None:
    """Return when the newest completed rebalance began, manual or scheduled; ``None`` before the first."""
    done = (one for one in enrolled.past if stage(one.course, pace, now_ms - one.begun_ms).phase is Phase.COMPLETED)
    return next((one.begun_ms for one in done), None)


def gone() -> Refused:
    """Return the refusal for a portfolio that is not there, another tenant's, or archived."""
    return Refused(404, Code.PORTFOLIO_NOT_FOUND, "Portfolio not found")


def _no_schedule() -> Refused:
    return Refused(400, Code.INVALID_REQUEST, "Portfolio has no rebalance schedule to transition")


def _tick_after(moment_ms: int) -> int:
    return (moment_ms // TICK_MS + 1) * TICK_MS
