"""What needs a person, and in which order: what should have run and did not, what failed, what waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Blocked, BlockReason, Held, Overdue
from reconciler.core.model import Desired, Live, PortfolioId, Record, RunState, Status
from reconciler.core.needs import Need, counts_of, needs_of, overdue_among, overdue_ms, standing_failure
from reconciler.core.plan import Plan
from reconciler.core.rebalance import (
    KeptRebalance,
    Knowledge,
    Rebalance,
    RebalanceStatus,
    newest_first,
    remembered,
)
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support import BASE_URL, NOON_MS

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


def ran(number: int, status: str, *, at_hour: int, read_ms: int = NOON_MS) -> KeptRebalance:
    """Return a rebalance that began at an hour of the clock, as v1 lists them: with the time it was scheduled for."""
    at_ms = NOON_MS + at_hour * HOUR_MS
    ended_ms = at_ms + MINUTE_MS if status != "running" else None
    one = Rebalance(
        id=f"w{number}",
        status=RebalanceStatus(status),
        word=status,
        scheduled_ms=at_ms,
        started_ms=at_ms + 7,
        ended_ms=ended_ms,
    )
    return KeptRebalance(rebalance=one, read_ms=read_ms)


def operation(status: str, *, at_hour: int) -> KeptRebalance:
    """Return one as v2 tells of it: without a time it was scheduled for."""
    kept = ran(1, status, at_hour=at_hour)
    return replace(kept, rebalance=replace(kept.rebalance, scheduled_ms=None))


def seen(*hours: int) -> Live:
    """Return a portfolio whose last runs were at these hours of the clock, newest first."""
    return Live(id=AAA, status=Status.ACTIVE, scheduled_ms=tuple(NOON_MS + hour * HOUR_MS for hour in hours))


@pytest.mark.parametrize(
    ("ends", "failed"),
    [
        ("", False),
        ("completed", False),
        ("failed", True),
        ("unknown", True),
        ("cancelled", False),
        ("running", False),
        ("running failed", True),
        ("cancelled failed", True),
        ("running cancelled failed completed", True),
        ("completed failed", False),
        ("running completed failed", False),
        ("failed completed", True),
    ],
)
def test_a_failure_stands_until_a_later_run_has_ended_well(ends: str, *, failed: bool) -> None:
    """Newest first: one that runs, or was cancelled, puts nothing right; a word that nobody knows is no good end."""
    known = [ran(9 - place, end, at_hour=-place) for place, end in enumerate(ends.split())]
    assert (standing_failure(known, seen(3), listed=True) is not None) is failed


def test_on_v2_a_later_completed_run_puts_it_right() -> None:
    """There the time of the last run is that of a completed one; v1 tells only that one began."""
    known = [operation("failed", at_hour=0)]
    assert standing_failure(known, seen(0), listed=False) is not None
    assert standing_failure(known, seen(1), listed=False) is None
    assert standing_failure(known, seen(), listed=False) is not None


@pytest.mark.parametrize(
    ("known", "live", "last"),
    [
        ([], seen(0), None),
        ([ran(1, "completed", at_hour=0)], seen(0), "w1"),
        ([ran(1, "completed", at_hour=0)], seen(), "w1"),
        ([ran(1, "completed", at_hour=0)], seen(1, 0), None),
        ([ran(2, "running", at_hour=1), ran(1, "completed", at_hour=0)], seen(1, 0), None),
        ([ran(2, "failed", at_hour=2), ran(1, "completed", at_hour=0)], seen(1, 0), "w2"),
        ([operation("completed", at_hour=0)], seen(0), "w1"),
        ([operation("completed", at_hour=0)], seen(1), None),
    ],
)
def test_what_the_journal_remembers_of_the_last_run(known: list[KeptRebalance], live: Live, last: str | None) -> None:
    """It is the last one only if it was over, and if the service shows no later one."""
    found = remembered(known, live)
    assert (found and found.rebalance and found.rebalance.id) == last
    assert found is None or found.knowledge is Knowledge.KEPT


def test_readings_of_one_run() -> None:
    """Each counts once, the newest run first; the latest reading counts, but what is over stays over."""
    ended = ran(1, "failed", at_hour=0, read_ms=NOON_MS)
    later = ran(2, "running", at_hour=1, read_ms=NOON_MS)
    unsure = ran(1, "running", at_hour=0, read_ms=NOON_MS + 9)
    again = ran(2, "completed", at_hour=1, read_ms=NOON_MS + 9)
    assert newest_first(ended, later, unsure, again) == (again, ended)
    assert newest_first(unsure, ended) == newest_first(ended, unsure) == (ended,)


def test_the_order_of_need() -> None:
    """The most urgent first, then by id; each with all its reasons, and a strategy beside the portfolios."""
    ids = [PortfolioId(one) for one in ("bad", "both", "fine", "held", "late", "until")]
    desired = {i: Desired(id=i, state=RunState.ACTIVE, until="2026-11-21" if i == "until" else None) for i in ids}
    results = {i: [ran(1, "failed", at_hour=0)] for i in ids if i in ("bad", "both")}
    plan = Plan(
        created_ms=NOON_MS,
        base_url=BASE_URL,
        overdue=tuple(Overdue(id=i, overdue_ms=1, due_ms=1) for i in ids if i in ("both", "late")),
        held=(Held(id=PortfolioId("held"), pause_reason=None),),
        blocked=(Blocked(id="strategies/s", reason=BlockReason.READ_FAILED, detail="no", status="unreadable"),),
    )
    found = needs_of(plan, desired, {i: seen(0) for i in ids}, results, now_ms=NOON_MS)
    assert [(address, [one.need.value for one in some]) for address, some in found.items()] == [
        ("bad", ["failed"]),
        ("both", ["failed", "overdue"]),
        ("late", ["overdue"]),
        ("held", ["held"]),
        ("strategies/s", ["blocked"]),
        ("until", ["until_passed"]),
    ]
    assert counts_of(found.values()) == {
        Need.FAILED: 2,
        Need.OVERDUE: 2,
        Need.HELD: 1,
        Need.BLOCKED: 1,
        Need.UNTIL_PASSED: 1,
    }


@pytest.mark.parametrize(("until", "passed"), [("2026-11-21", True), ("2026-11-22", False), ("2026-11-23", False)])
def test_the_day_itself_has_not_passed(until: str, *, passed: bool) -> None:
    """It is the service's day, in UTC."""
    desired = {AAA: Desired(id=AAA, state=RunState.PAUSED, until=until)}
    plan = Plan(created_ms=NOON_MS, base_url=BASE_URL)
    assert bool(needs_of(plan, desired, {AAA: seen()}, {}, now_ms=NOON_MS)) is passed
