"""Where a portfolio stands, compared with both ends of its change, and what is remembered of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.apply.check import Standing, confirms, describe_schedule, holds, record_of, schedule_moved, standing
from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.evidence import MARK
from reconciler.core.model import ApiVersion, Live, PortfolioId, Record, RunState, Status, Verb
from reconciler.core.ports import Confirmation
from tests.support import HOUR_MS, NOON_MS

A = PortfolioId("aaa")
H = HOUR_MS
OURS, THEIRS = f"Freeze {MARK}", "Paused from the app"
BEFORE, AFTER, ELSEWHERE = Standing.BEFORE, Standing.AFTER, Standing.ELSEWHERE


def live(status: Status, interval: int | None = None, offset: int | None = None, **more: Any) -> Live:
    return Live(id=A, status=status, interval_ms=interval, offset_ms=offset, **more)


def snapshot(state: Status, interval: int | None = None, offset: int | None = None) -> Snapshot:
    return Snapshot(state=state, interval_ms=interval, offset_ms=offset)


UPDATE = Change(
    id=A,
    verb=Verb.UPDATE,
    before=snapshot(Status.ACTIVE, 24 * H, 0),
    after=snapshot(Status.ACTIVE, 12 * H, H),
    fields=(),
    reason=ChangeReason.SCHEDULE_DIFFERS,
    writes_schedule=True,
)
FREE = replace(UPDATE, after=replace(UPDATE.after, offset_ms=None))
BLIND = replace(UPDATE, before=snapshot(Status.ACTIVE))
PAUSE = replace(UPDATE, verb=Verb.PAUSE, after=snapshot(Status.PAUSED), writes_schedule=False)
RESUME = replace(
    UPDATE, verb=Verb.RESUME, before=snapshot(Status.PAUSED, 24 * H, 0), writes_schedule=False, pause_reason=OURS
)
LIFT = replace(RESUME, reason=ChangeReason.HOLD_OVERRIDDEN, pause_reason=THEIRS)
SILENT = replace(RESUME, pause_reason=None)
RECORD = Record(state=RunState.ACTIVE, interval_ms=12 * H, offset_ms=H, schedule_id=None, confirmed_ms=NOON_MS)
PAUSED_RECORD = replace(RECORD, state=RunState.PAUSED, interval_ms=24 * H, offset_ms=0)

V2_RECORD = replace(PAUSED_RECORD, interval_ms=None, offset_ms=None, schedule_id="due then")
ON_V2 = replace(SILENT, api=ApiVersion.V2, before=snapshot(Status.PAUSED), pause_id="due then")
LIFT_V2 = replace(ON_V2, reason=ChangeReason.HOLD_OVERRIDDEN)


@pytest.mark.parametrize(
    ("change", "found", "record", "expected"),
    [
        (UPDATE, live(Status.ACTIVE, 12 * H, H), None, AFTER),
        (UPDATE, live(Status.ACTIVE), RECORD, AFTER),
        (UPDATE, live(Status.ACTIVE, 24 * H, 0), None, BEFORE),
        (UPDATE, live(Status.ACTIVE, 24 * H), None, BEFORE),
        (UPDATE, live(Status.ACTIVE, None, 0), None, BEFORE),
        (UPDATE, live(Status.ACTIVE), None, BEFORE),
        (UPDATE, live(Status.ACTIVE, 31 * H, 0), None, ELSEWHERE),
        (UPDATE, live(Status.ACTIVE, 24 * H, 1), None, ELSEWHERE),
        (UPDATE, live(Status.ACTIVE, 12 * H, 0), None, ELSEWHERE),
        (UPDATE, live(Status.ACTIVE, 24 * H, H), None, ELSEWHERE),
        (UPDATE, live(Status.PAUSED, 12 * H, H), None, ELSEWHERE),
        (UPDATE, live(Status.PAUSED, 24 * H, 0), None, ELSEWHERE),
        (FREE, live(Status.ACTIVE, 12 * H), None, AFTER),
        (FREE, live(Status.ACTIVE, 12 * H, 5), None, AFTER),
        (BLIND, live(Status.ACTIVE), None, BEFORE),
        (BLIND, live(Status.ACTIVE, 31 * H, 7), None, BEFORE),
        (PAUSE, live(Status.PAUSED, 31 * H, 7), None, AFTER),
        (PAUSE, live(Status.ACTIVE, 24 * H, 0), None, BEFORE),
        (PAUSE, live(Status.ACTIVE, 12 * H, 0), None, ELSEWHERE),
        (PAUSE, live(Status.INACTIVE), None, ELSEWHERE),
        (RESUME, live(Status.ACTIVE, 31 * H), None, AFTER),
        (RESUME, live(Status.PAUSED, 24 * H, pause_reason=OURS), None, BEFORE),
        (RESUME, live(Status.PAUSED, 24 * H, pause_reason=THEIRS), None, ELSEWHERE),
        (RESUME, live(Status.PAUSED, 24 * H), PAUSED_RECORD, ELSEWHERE),
        (replace(RESUME, pause_reason=THEIRS), live(Status.PAUSED, pause_reason=THEIRS), None, ELSEWHERE),
        (LIFT, live(Status.PAUSED, pause_reason=THEIRS), None, BEFORE),
        (LIFT, live(Status.PAUSED, pause_reason="Audit"), None, ELSEWHERE),
        (SILENT, live(Status.PAUSED), PAUSED_RECORD, BEFORE),
        (SILENT, live(Status.PAUSED), None, ELSEWHERE),
        (SILENT, live(Status.PAUSED), replace(PAUSED_RECORD, marked=True), ELSEWHERE),
        (ON_V2, live(Status.PAUSED, schedule_id="due then"), V2_RECORD, BEFORE),
        (ON_V2, live(Status.PAUSED, schedule_id="due later"), V2_RECORD, ELSEWHERE),
        (ON_V2, live(Status.PAUSED), V2_RECORD, ELSEWHERE),
        (replace(ON_V2, pause_id=None), live(Status.PAUSED, schedule_id="due then"), V2_RECORD, ELSEWHERE),
        (LIFT_V2, live(Status.PAUSED, schedule_id="due then"), None, BEFORE),
        (LIFT_V2, live(Status.PAUSED, schedule_id="due later"), None, ELSEWHERE),
        (LIFT_V2, live(Status.PAUSED), None, ELSEWHERE),
        (replace(LIFT_V2, pause_id=None), live(Status.PAUSED, schedule_id="due then"), None, ELSEWHERE),
        (replace(LIFT_V2, pause_id=None), live(Status.PAUSED), None, BEFORE),
    ],
)
def test_standing(change: Change, found: Live, record: Record | None, expected: Standing) -> None:
    """Both ends are pinned as far as they are known; a pause that is to be lifted must be the one reviewed."""
    assert standing(change, found, record) is expected


@pytest.mark.parametrize(
    ("change", "found", "shown"),
    [
        (UPDATE, live(Status.ACTIVE, 12 * H, H), True),
        (UPDATE, live(Status.ACTIVE), True),
        (UPDATE, live(Status.ACTIVE, 12 * H), True),
        (UPDATE, live(Status.ACTIVE, None, H), True),
        (UPDATE, live(Status.ACTIVE, 24 * H, H), False),
        (UPDATE, live(Status.ACTIVE, 12 * H, 0), False),
        (UPDATE, live(Status.PAUSED, 12 * H, H), False),
        (FREE, live(Status.ACTIVE, 12 * H, 5), True),
        (PAUSE, live(Status.PAUSED, 31 * H, 7), True),
        (RESUME, live(Status.ACTIVE, 31 * H, 7), True),
        (PAUSE, live(Status.ACTIVE), False),
    ],
)
def test_holds(change: Change, found: Live, *, shown: bool) -> None:
    """A read shows what was wanted where the state fits, and the schedule does as far as it can be read."""
    assert holds(change, found) is shown


@pytest.mark.parametrize(
    ("change", "interval", "offset", "confirmed"),
    [
        (UPDATE, 12 * H, H, True),
        (UPDATE, 12 * H, 0, False),
        (UPDATE, 12 * H, None, False),
        (UPDATE, 24 * H, H, False),
        (UPDATE, None, None, False),
        (FREE, 12 * H, 5, True),
        (FREE, 12 * H, None, True),
        (FREE, 24 * H, None, False),
    ],
)
def test_confirms(change: Change, interval: int | None, offset: int | None, *, confirmed: bool) -> None:
    """An answer confirms the wanted interval, and the offset where one is wanted; silence confirms nothing."""
    assert confirms(change, Confirmation(interval_ms=interval, offset_ms=offset)) is confirmed


@pytest.mark.parametrize(
    ("found", "ours", "moved"),
    [
        ((12 * H, H), [(12 * H, H)], False),
        ((12 * H, None), [(12 * H, H)], False),
        ((12 * H, H), [(12 * H, None)], False),
        ((12 * H, 0), [(12 * H, H)], True),
        ((31 * H, H), [(12 * H, H)], True),
        ((6 * H, 0), [(12 * H, H), (6 * H, 0)], False),
        ((6 * H, H), [(12 * H, H), (6 * H, 0)], True),
        ((12 * H, 0), [(12 * H, H), (6 * H, 0)], True),
        ((31 * H, H), [(12 * H, H), (6 * H, 0)], True),
        ((31 * H, H), [(12 * H, H), (None, None)], False),
        ((None, None), [(12 * H, H)], False),
        ((None, 0), [(12 * H, H)], False),
    ],
)
def test_schedule_moved(
    found: tuple[int | None, int | None], ours: list[tuple[int | None, int | None]], *, moved: bool
) -> None:
    """A schedule that can be read and is none of those that we know of is somebody else's."""
    assert schedule_moved(live(Status.ACTIVE, *found), *ours) is moved


@pytest.mark.parametrize(
    ("interval", "offset", "text"),
    [
        (24 * H, None, "24h"),
        (24 * H, 0, "24h with offset 0s"),
        (12 * H, 90 * 60_000, "12h with offset 90m"),
        (None, None, "no interval"),
        (None, H, "no interval with offset 1h"),
    ],
)
def test_a_schedule_for_people(interval: int | None, offset: int | None, text: str) -> None:
    """Interval first, the offset where there is one."""
    assert describe_schedule(interval, offset) == text


ANSWER = Confirmation(interval_ms=6 * H, offset_ms=5, schedule_id="s2")


@pytest.mark.parametrize(
    ("found", "previous", "confirmation", "expected"),
    [
        (live(Status.ACTIVE), None, None, (RunState.ACTIVE, None, None, None, False)),
        (live(Status.ACTIVE, 24 * H, 1), None, None, (RunState.ACTIVE, None, None, None, False)),
        (live(Status.PAUSED, pause_reason=OURS), None, None, (RunState.PAUSED, None, None, None, True)),
        (live(Status.PAUSED, pause_reason=THEIRS), None, None, (RunState.PAUSED, None, None, None, False)),
        (live(Status.ACTIVE), RECORD, None, (RunState.ACTIVE, 12 * H, H, None, False)),
        (live(Status.PAUSED, schedule_id="s1"), RECORD, None, (RunState.PAUSED, 12 * H, H, "s1", False)),
        (
            live(Status.PAUSED, schedule_id="s1"),
            replace(RECORD, schedule_id="s0"),
            None,
            (RunState.PAUSED, None, None, "s1", False),
        ),
        (live(Status.ACTIVE), RECORD, ANSWER, (RunState.ACTIVE, 6 * H, 5, "s2", False)),
        (live(Status.ACTIVE, schedule_id="s1"), None, ANSWER, (RunState.ACTIVE, 6 * H, 5, "s1", False)),
        (live(Status.ACTIVE), RECORD, Confirmation(), (RunState.ACTIVE, None, None, None, False)),
    ],
)
def test_record(
    found: Live,
    previous: Record | None,
    confirmation: Confirmation | None,
    expected: tuple[RunState, int | None, int | None, str | None, bool],
) -> None:
    """The answer that confirmed the schedule is remembered; without one, what was recorded for that schedule."""
    state, interval_ms, offset_ms, schedule_id, marked = expected
    assert record_of(found, previous=previous, confirmation=confirmation, now_ms=NOON_MS + 1) == Record(
        state=state,
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        schedule_id=schedule_id,
        confirmed_ms=NOON_MS + 1,
        marked=marked,
    )
