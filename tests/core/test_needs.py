"""What needs a person: a portfolio that should have run and did not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model import Desired, Live, PortfolioId, Record, RunState, Status
from reconciler.core.needs import overdue_among, overdue_ms
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support import NOON_MS

AAA = PortfolioId("aaa")


def live(late_ms: int | None, *, interval_ms: int | None = None, status: Status = Status.ACTIVE) -> Live:
    """Return a portfolio whose next run was due so long ago."""
    due_ms = None if late_ms is None else NOON_MS - late_ms
    return Live(id=AAA, status=status, next_run_ms=due_ms, interval_ms=interval_ms)


def record(ago_ms: int, state: RunState = RunState.ACTIVE) -> Record:
    """Return a write of ours that was confirmed so long ago."""
    return Record(state=state, interval_ms=None, offset_ms=None, schedule_id=None, confirmed_ms=NOON_MS - ago_ms)


@pytest.mark.parametrize(
    ("late_ms", "interval_ms", "overdue"),
    [
        (15 * MINUTE_MS, HOUR_MS, False),
        (15 * MINUTE_MS + 1, HOUR_MS, True),
        (144 * MINUTE_MS, DAY_MS, False),
        (144 * MINUTE_MS + 1, DAY_MS, True),
        (DAY_MS, None, False),
        (DAY_MS + 1, None, True),
        (9 * DAY_MS, DAY_MS, True),
        (-HOUR_MS, HOUR_MS, False),
        (None, HOUR_MS, False),
    ],
)
def test_the_limit(late_ms: int | None, interval_ms: int | None, *, overdue: bool) -> None:
    """A quarter of an hour, or a tenth of the interval if that is more; a day where no interval is known."""
    expected = late_ms if overdue else None
    assert overdue_ms(live(late_ms, interval_ms=interval_ms), None, now_ms=NOON_MS) == expected


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ACTIVE])
def test_only_what_runs_can_be_late(status: Status) -> None:
    """A paused portfolio keeps its old due time on v2, which is no alarm."""
    assert overdue_ms(live(9 * DAY_MS, interval_ms=HOUR_MS, status=status), None, now_ms=NOON_MS) is None


def test_what_we_wrote_counts_from_the_write() -> None:
    """A resume may leave an old time standing for a moment; an hour later it is an alarm all the same."""
    late = live(9 * DAY_MS, interval_ms=HOUR_MS)
    assert overdue_ms(late, record(MINUTE_MS), now_ms=NOON_MS) is None
    assert overdue_ms(late, record(HOUR_MS), now_ms=NOON_MS) == HOUR_MS
    assert overdue_ms(late, record(MINUTE_MS, RunState.PAUSED), now_ms=NOON_MS) == 9 * DAY_MS


@given(st.integers(HOUR_MS, 365 * DAY_MS), st.integers(0, 2 * 365 * DAY_MS))
def test_none_is_missed_beyond_its_limit(interval_ms: int, late_ms: int) -> None:
    """It is overdue exactly when it is later than its limit."""
    found = overdue_ms(live(late_ms, interval_ms=interval_ms), None, now_ms=NOON_MS)
    assert (found is not None) == (late_ms > max(15 * MINUTE_MS, interval_ms // 10))


def test_whom_to_ask() -> None:
    """Each has its name, its owner and the time when it was due."""
    desired = {AAA: Desired(id=AAA, state=RunState.PAUSED, name="Growth", owner="desk")}
    (found,) = overdue_among(desired, {AAA: live(2 * DAY_MS)}, {}, now_ms=NOON_MS)
    assert (found.id, found.name, found.owner, found.overdue_ms) == (AAA, "Growth", "desk", 2 * DAY_MS)
    assert found.due_ms == NOON_MS - 2 * DAY_MS
