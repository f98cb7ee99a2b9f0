"""Provenance: which source of a live schedule is believed, and which is not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.evidence import Known, applies, known_interval, known_offset, observed_interval, runs_per_day
from reconciler.core.model import Live, PortfolioId, Provenance, Record, RunState, Status
from tests.support import HOUR_MS, NOON_MS

H = HOUR_MS
ID = PortfolioId("ao04x0r6")


def live(
    *,
    status: Status = Status.ACTIVE,
    points: tuple[int, ...] = (),
    next_run: int | None = None,
    interval: int | None = None,
    offset: int | None = None,
    schedule: str | None = "s1",
) -> Live:
    return Live(
        id=ID,
        status=status,
        interval_ms=interval,
        offset_ms=offset,
        schedule_id=schedule,
        next_run_ms=NOON_MS + next_run * H if next_run is not None else None,
        scheduled_ms=tuple(NOON_MS + p * H for p in points),
    )


def record(
    interval: int | None = 24, offset: int | None = 0, *, at: int = -1000, schedule: str | None = "s1"
) -> Record:
    return Record(
        state=RunState.ACTIVE,
        interval_ms=interval * H if interval is not None else None,
        offset_ms=offset,
        schedule_id=schedule,
        confirmed_ms=NOON_MS + at * H,
    )


CASES = {
    "read wins over everything": (
        live(interval=6 * H, points=(-24, -48), next_run=0),
        record(12),
        Known(6 * H, Provenance.READ),
    ),
    "recorded when nothing else is known": (live(), record(24), Known(24 * H, Provenance.RECORDED)),
    "observed from three points": (live(points=(-24, -48), next_run=0), None, Known(24 * H, Provenance.OBSERVED)),
    "two points prove nothing": (live(points=(-24,), next_run=0), None, Known(None, Provenance.NONE)),
    "unequal gaps prove nothing": (live(points=(-24, -47), next_run=0), None, Known(None, Provenance.NONE)),
    "only the newest three count": (
        live(points=(-12, -24, -48, -72), next_run=0),
        None,
        Known(12 * H, Provenance.OBSERVED),
    ),
    "a run by hand spoils the observation": (
        live(points=(-2, -24, -48), next_run=0),
        record(24),
        Known(24 * H, Provenance.RECORDED),
    ),
    "observation overrules the record": (
        live(points=(-6, -12), next_run=0),
        record(24),
        Known(6 * H, Provenance.OBSERVED, overruled=24 * H),
    ),
    "an agreeing observation leaves the record": (
        live(points=(-24, -48), next_run=0),
        record(24),
        Known(24 * H, Provenance.RECORDED),
    ),
    "points before our last write don't count": (
        live(points=(-24, -48), next_run=0),
        record(12, at=-30),
        Known(12 * H, Provenance.RECORDED),
    ),
    "a paused portfolio shows no grid": (
        live(status=Status.PAUSED, points=(-24, -48, -72)),
        None,
        Known(None, Provenance.NONE),
    ),
    "a record of another schedule is void": (live(schedule="s2"), record(24), Known(None, Provenance.NONE)),
    "a record without a schedule id stands": (
        live(schedule="s2"),
        record(24, schedule=None),
        Known(24 * H, Provenance.RECORDED),
    ),
    "a record of what is inactive now is void": (
        live(status=Status.INACTIVE),
        record(24),
        Known(None, Provenance.NONE),
    ),
    "a record that never knew": (live(), record(None), Known(None, Provenance.NONE)),
    "a record that never knew overrules nothing": (
        live(points=(-6, -12), next_run=0),
        record(None),
        Known(6 * H, Provenance.OBSERVED),
    ),
    "three runs are three points": (live(points=(0, -24, -48)), None, Known(24 * H, Provenance.OBSERVED)),
    "a point at our last write doesn't count": (
        live(points=(-24, -48), next_run=0),
        record(12, at=-48),
        Known(12 * H, Provenance.RECORDED),
    ),
    "a point just after our last write does": (
        live(points=(-24, -48), next_run=0),
        record(12, at=-49),
        Known(24 * H, Provenance.OBSERVED, overruled=12 * H),
    ),
    "a record of another schedule holds no observation back": (
        live(points=(-24, -48), next_run=0, schedule="s2"),
        record(12, at=0),
        Known(24 * H, Provenance.OBSERVED),
    ),
    "points that don't move prove nothing": (live(points=(0, 0, 0)), None, Known(None, Provenance.NONE)),
    "points in the wrong order prove nothing": (live(points=(0, 24, 48)), None, Known(None, Provenance.NONE)),
}


@pytest.mark.parametrize(("now", "then", "expected"), CASES.values(), ids=CASES)
def test_interval(now: Live, then: Record | None, expected: Known) -> None:
    """The interval comes from the best source there is, and says which."""
    assert known_interval(now, then) == expected


OFFSETS = {
    "read": (live(offset=H), record(24, 5), Known(H, Provenance.READ)),
    "recorded": (live(), record(24, 5), Known(5, Provenance.RECORDED)),
    "never observed": (live(points=(-24, -48), next_run=0), None, Known(None, Provenance.NONE)),
    "worth nothing once the interval was overruled": (
        live(points=(-6, -12), next_run=0),
        record(24, 5),
        Known(None, Provenance.NONE, overruled=5),
    ),
    "worth nothing once another interval is read": (
        live(interval=6 * H),
        record(24, 5),
        Known(None, Provenance.NONE, overruled=5),
    ),
    "zero is an offset": (live(offset=0), record(24, 5), Known(0, Provenance.READ)),
    "recorded as zero": (live(), record(24, 0), Known(0, Provenance.RECORDED)),
    "recorded without an offset": (live(), record(24, None), Known(None, Provenance.NONE)),
    "recorded for another schedule": (live(schedule="s2"), record(24, 5), Known(None, Provenance.NONE)),
    "nothing recorded": (live(), None, Known(None, Provenance.NONE)),
    "recorded without its interval": (live(interval=6 * H), record(None, 5), Known(5, Provenance.RECORDED)),
    "recorded without an interval, another observed": (
        live(points=(-6, -12), next_run=0),
        record(None, 5),
        Known(5, Provenance.RECORDED),
    ),
    "stands beside the same interval read": (live(interval=24 * H), record(24, 5), Known(5, Provenance.RECORDED)),
}


@pytest.mark.parametrize(("now", "then", "expected"), OFFSETS.values(), ids=OFFSETS)
def test_offset(now: Live, then: Record | None, expected: Known) -> None:
    """The offset is read or recorded, never guessed from run times."""
    assert known_offset(now, then) == expected


@pytest.mark.parametrize(
    ("then", "now", "speaks"),
    [
        (None, live(), False),
        (record(), live(), True),
        (record(), live(status=Status.PAUSED), True),
        (record(), live(status=Status.INACTIVE), False),
        (record(), live(schedule="s2"), False),
        (record(), live(schedule=None), True),
        (record(schedule=None), live(), True),
        (record(schedule=None), live(schedule=None), True),
    ],
)
def test_applies(then: Record | None, now: Live, *, speaks: bool) -> None:
    """A record speaks of the live schedule unless that is gone, or known to be another."""
    assert applies(then, now) is speaks


def test_without_a_record_every_point_counts() -> None:
    """With nothing written by us, the newest three points prove the interval whenever they were."""
    assert observed_interval(live(points=(-24, -48), next_run=0), after_ms=None) == 24 * H
    assert observed_interval(live(points=(-24, -48), next_run=0), after_ms=0) == 24 * H
    close = Live(id=ID, status=Status.ACTIVE, scheduled_ms=(NOON_MS + 2, NOON_MS + 1, NOON_MS))
    assert observed_interval(close, after_ms=None) == 1


@pytest.mark.parametrize(("interval", "runs"), [(24 * H, 1.0), (6 * H, 4.0), (48 * H, 0.5)])
def test_runs_per_day(interval: int, runs: float) -> None:
    """A schedule runs as often in 24 hours as its interval fits into them."""
    assert runs_per_day(interval) == runs


@pytest.mark.parametrize(
    ("imported", "reason", "recorded", "shown", "counts"),
    [
        (None, None, None, None, True),
        ("", None, None, None, False),
        ("", None, None, "s1", False),
        ("", None, "s1", None, False),
        ("", None, "s1", "s2", False),
        ("", None, "s1", "s1", True),
        ("7f3a9c", "Paused via API: Audit [glider-reconciler 7f3a9c]", None, None, True),
        ("7f3a9c", "Paused via API: Audit [glider-reconciler 7f3a9c]", "s1", "s2", True),
        ("7f3a9c", "Paused via API: Audit [glider-reconciler aaaaaa]", None, None, False),
        ("7f3a9c", "Paused via API: Audit 7f3a9cd", None, None, False),
        ("7f3a9c", None, None, None, False),
        ("", "Paused from the app", None, None, False),
    ],
)
def test_an_imported_record(
    imported: str | None, reason: str | None, recorded: str | None, shown: str | None, *, counts: bool
) -> None:
    """It counts only where live shows its token or its schedule id; one of our own needs neither."""
    found = replace(live(status=Status.PAUSED, schedule=shown), pause_reason=reason)
    then = replace(record(schedule=recorded), imported=imported)
    assert applies(then, found) is counts
    known = Known(24 * H, Provenance.RECORDED) if counts else Known(None, Provenance.NONE)
    assert known_interval(found, then) == known
