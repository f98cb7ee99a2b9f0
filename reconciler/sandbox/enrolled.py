"""The values of v2: strategies, the portfolios enrolled in them, manual rebalances, and how time and calls change them.

Pure: a method takes the time and returns the changed value, the very same object when nothing changes, or raises
:class:`~reconciler.sandbox.model.Refused`. Times are UTC epoch milliseconds on the simulator's clock.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.codec import Count
from reconciler.core.model import Cadence
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from reconciler.sandbox.model import (
    AutomationState,
    Code,
    Course,
    PastRun,
    Phase,
    RebalancePace,
    Refused,
    TimeMs,
    invalid,
    not_found,
    stage,
)

TICK_MS: Final = MINUTE_MS
"""The scheduler looks for due portfolios once a minute, on the minute (API facts §6: a run begins within a minute)."""
PAST_KEPT: Final = 5
"""How many of the newest rebalances are remembered; enough to find the last completed one."""
INTERVALS_MS: Final = {
    Cadence.HOURLY: HOUR_MS,
    Cadence.DAILY: DAY_MS,
    Cadence.WEEKLY: WEEK_MS,
    Cadence.MONTHLY: 30 * DAY_MS,  # the length of a month is not documented
}


class Strategy(Struct, frozen=True, kw_only=True):
    """One strategy. ``cadence`` is ``None`` where none is configured; ``own`` false for another tenant's."""

    id: str
    name: str
    cadence: Cadence | None
    own: bool
    version: Count
    created_ms: TimeMs
    updated_ms: TimeMs


class ManualRebalance(Struct, frozen=True, kw_only=True):
    """One operation: a rebalance that was asked for by hand."""

    id: str
    portfolio: str
    submitted_ms: TimeMs
    course: Course


class Enrolled(Struct, frozen=True, kw_only=True):
    """Everything the simulator remembers of one enrolled portfolio."""

    id: str
    name: str | None
    chain: str | None
    word: str | None
    """A schedule status to answer with instead of the true one; ``None`` for the true one."""
    owner: str
    """Who owns it, as a CAIP-10 account in lower case."""
    strategy: str
    state: AutomationState
    """Never ``ERROR``."""
    next_due_ms: TimeMs | None
    """When it is due; ``None`` while it is ``INACTIVE``. Kept, and without meaning, while paused."""
    empty: bool
    """Whether it holds nothing, so that a manual rebalance fails."""
    operations: Count
    """How many manual rebalances there ever were; the number of the newest one."""
    past: tuple[PastRun, ...]
    """The newest rebalances, scheduled and manual, newest first, at most :data:`PAST_KEPT`."""
    created_ms: TimeMs
    updated_ms: TimeMs
    stalled_ms: TimeMs | None = None
    """Since when no run begins although it is active; a start after a stop ends that. ``None`` for never."""

    def __post_init__(self) -> None:
        """Refuse what only a file that was tampered with has."""
        if self.next_due_ms is None and self.state not in (AutomationState.INACTIVE, AutomationState.ARCHIVED):
            raise ValueError(f"portfolio {self.id} is {self.state} without a schedule")

    def settle(self, now_ms: int, cadence: Cadence | None) -> Enrolled:
        """Let the runs begin that were due at a tick until ``now_ms``.

        A run begins at the first tick after it is due, and the next is due one interval after the last was due.
        """
        due = self.next_due_ms
        last_tick = (now_ms if self.stalled_ms is None else min(now_ms, self.stalled_ms)) // TICK_MS * TICK_MS
        if self.state is not AutomationState.ACTIVE or due is None or cadence is None or due >= last_tick:
            return self
        interval = INTERVALS_MS[cadence]
        count = (last_tick - 1 - due) // interval + 1
        newest = due + (count - 1) * interval
        begun = (_tick_after(newest - index * interval) for index in range(min(count, PAST_KEPT)))
        past = (*map(PastRun, begun), *self.past)[:PAST_KEPT]
        return replace(self, next_due_ms=newest + interval, past=past, updated_ms=past[0].at_ms)

    def start(self, now_ms: int) -> Enrolled:
        """Let the schedule run; only from paused to active makes a rebalance due now (API facts §1.3)."""
        self._require_schedule()
        if self.state is AutomationState.ACTIVE:
            return self
        return replace(self, state=AutomationState.ACTIVE, next_due_ms=now_ms, updated_ms=now_ms, stalled_ms=None)

    def stop(self, now_ms: int) -> Enrolled:
        """Stop the schedule. The due time stays readable, as on the service (API facts §1.3)."""
        self._require_schedule()
        if self.state is AutomationState.PAUSED:
            return self
        return replace(self, state=AutomationState.PAUSED, updated_ms=now_ms)

    def rebalance(
        self, now_ms: int, latest: ManualRebalance | None, *, course: Course, pace: RebalancePace
    ) -> Enrolled:
        """Add a manual rebalance; the schedule stays as it is. ``latest`` is the one before, which is over.

        Refused with 429 and the seconds that are left of the cooldown (API facts §2.5), and with 500 for an empty
        portfolio (API facts §2.4).
        """
        left_ms = 0 if latest is None else latest.submitted_ms + pace.cooldown_ms - now_ms
        if left_ms > 0:
            seconds = -(-left_ms // 1_000)
            message = f"Rebalance is cooling down. Try again in {seconds} seconds."
            raise Refused(429, Code.RATE_LIMITED, message, retry_after_s=seconds)
        if self.empty:
            raise Refused(500, Code.REBALANCE_FAILED, "Failed to trigger manual rebalance")
        past = (PastRun(now_ms, course), *self.past)[:PAST_KEPT]
        return replace(self, operations=self.operations + 1, past=past, updated_ms=now_ms)

    def last_rebalance(self, now_ms: int, pace: RebalancePace) -> int | None:
        """Return when the newest completed rebalance began, manual or scheduled; ``None`` before the first."""
        for run in self.past:
            if stage(run.course, pace, now_ms - run.at_ms).phase is Phase.COMPLETED:
                return run.at_ms
        return None

    def _require_schedule(self) -> None:
        if self.state is AutomationState.ARCHIVED:
            raise not_found()
        if self.state is AutomationState.INACTIVE:
            raise invalid("Portfolio has no rebalance schedule to transition")


def _tick_after(moment_ms: int) -> int:
    return (moment_ms // TICK_MS + 1) * TICK_MS
