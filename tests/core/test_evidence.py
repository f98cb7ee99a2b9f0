"""Records against what the service shows: which are believed, which are not and why, and what a look adds to them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.evidence import SLACK_MS, believed, doubt, doubts_told, observed, observed_record, with_mark
from reconciler.core.model import Live, PortfolioId, Record, RunState, Status
from reconciler.core.ports import Memory
from tests.support import HOUR_MS, NOON_MS

A, B = PortfolioId("a"), PortfolioId("b")
H, DAY = HOUR_MS, 24 * HOUR_MS
KNOWN = Record(state=RunState.ACTIVE, interval_ms=DAY, offset_ms=H, schedule_id="s1", confirmed_ms=NOON_MS - 90 * DAY)


def live(status: Status = Status.ACTIVE, **more: Any) -> Live:
    return Live(id=A, status=status, schedule_id="s1", **more)


def grid(gap: int = DAY, count: int = 3, **more: Any) -> Live:
    """A portfolio whose runs are so far apart, the next one in an hour."""
    runs = tuple(NOON_MS + H - (number + 1) * gap for number in range(count))
    return live(next_run_ms=NOON_MS + H, scheduled_ms=runs, **more)


DOUBTS: dict[str, tuple[Record, Live, str | None, str | None]] = {
    "nothing speaks against it": (KNOWN, live(), None, None),
    "made just now": (replace(KNOWN, confirmed_ms=NOON_MS + SLACK_MS), live(), None, None),
    "made in the future": (
        replace(KNOWN, confirmed_ms=NOON_MS + SLACK_MS + 1),
        live(),
        None,
        "is of a time that has not come yet",
    ),
    "our last pause": (KNOWN, live(Status.PAUSED, pause_reason=with_mark("x", "00002a")), "00002a", None),
    "another pause of ours": (
        KNOWN,
        live(Status.PAUSED, pause_reason=with_mark("x", "00002b")),
        "00002a",
        "is older than our pause 00002b, which this journal does not know as the last one",
    ),
    "a pause of ours that no journal knows": (
        KNOWN,
        live(Status.PAUSED, pause_reason=with_mark("x", "00002b")),
        None,
        "is older than our pause 00002b, which this journal does not know as the last one",
    ),
    "a pause of an older version": (KNOWN, live(Status.PAUSED, pause_reason="[glider-reconciler]"), "00002a", None),
    "a person's pause": (KNOWN, live(Status.PAUSED, pause_reason="by maria"), "00002a", None),
    "the next run within the interval": (KNOWN, live(next_run_ms=NOON_MS + DAY + SLACK_MS), None, None),
    "the next run beyond it": (
        KNOWN,
        live(next_run_ms=NOON_MS + DAY + SLACK_MS + 1),
        None,
        "says every 24h, but the next run is 24h2m ahead",
    ),
    "beyond it, and paused": (KNOWN, live(Status.PAUSED, next_run_ms=NOON_MS + 9 * DAY), None, None),
    "no interval on record": (replace(KNOWN, interval_ms=None), live(next_run_ms=NOON_MS + 9 * DAY), None, None),
}


@pytest.mark.parametrize(("record", "seen", "last_pause", "why"), DOUBTS.values(), ids=DOUBTS)
def test_doubt(record: Record, seen: Live, last_pause: str | None, why: str | None) -> None:
    """Only what the service shows of this very portfolio speaks against its record."""
    assert doubt(record, seen, last_pause=last_pause, now_ms=NOON_MS) == why


def test_only_its_own_record_is_doubted() -> None:
    """Other portfolios keep theirs, and without any doubt the records are the very same."""
    memory = Memory(records={A: KNOWN, B: KNOWN})
    late = live(next_run_ms=NOON_MS + 9 * DAY)
    records, doubts = believed(memory, {A: late, B: replace(live(), id=B)}, now_ms=NOON_MS)
    assert (records, list(doubts)) == ({B: KNOWN}, [A])
    same, none = believed(memory, {A: live()}, now_ms=NOON_MS)
    assert same is memory.records
    assert none == {}


def test_the_last_pause_that_the_journal_knows_is_no_doubt() -> None:
    """A record is held against the pauses of its own portfolio."""
    paused = live(Status.PAUSED, pause_reason=with_mark("x", "00002a"))
    for pauses, told in (({A: "00002a"}, []), ({B: "00002a"}, [A]), ({}, [A])):
        _, doubts = believed(Memory(records={A: KNOWN}, pauses=pauses), {A: paused}, now_ms=NOON_MS)
        assert list(doubts) == told


def test_doubts_are_told() -> None:
    """One by one with the place, and as a count with names where they are many."""
    (one,) = doubts_told({A: "is of a time that has not come yet"})
    assert str(one) == (
        "portfolios.a: the journal's record is of a time that has not come yet; its schedule counts as unverified; "
        "if an older journal was put back, put the newest one back"
    )
    assert one.severity is Severity.WARNING
    few = {PortfolioId(f"p{number}"): "x" for number in range(5)}
    assert [told.address for told in doubts_told(few)] == [f"portfolios.p{number}" for number in range(5)]
    assert doubts_told({**few, PortfolioId("p5"): "x"}) == (
        Diagnostic(
            Severity.WARNING,
            "6 records of the journal are not believed (p0, p1, p2, p3, p4, …)",
            one.repair,
            "journal",
        ),
    )
    assert doubts_told({}) == ()


ADDED: dict[str, tuple[Live, Record | None, Record | None]] = {
    "runs prove it, nothing on record": (
        grid(),
        None,
        Record(
            state=RunState.ACTIVE,
            interval_ms=DAY,
            offset_ms=None,
            schedule_id="s1",
            confirmed_ms=NOON_MS + H - 2 * DAY - 1,
        ),
    ),
    "runs prove what is on record": (grid(), KNOWN, None),
    "runs prove it, a pause on record": (grid(), replace(KNOWN, state=RunState.PAUSED), None),
    "runs prove another interval": (grid(2 * DAY), KNOWN, replace(KNOWN, interval_ms=2 * DAY, offset_ms=None)),
    "read": (
        live(interval_ms=DAY, offset_ms=H),
        None,
        Record(state=RunState.ACTIVE, interval_ms=DAY, offset_ms=H, schedule_id="s1", confirmed_ms=0),
    ),
    "read, as on record": (live(interval_ms=DAY, offset_ms=H), KNOWN, None),
    "two points prove nothing": (grid(count=1), None, None),
    "a run off the grid": (
        live(next_run_ms=NOON_MS, scheduled_ms=(NOON_MS - H, NOON_MS - DAY, NOON_MS - 2 * DAY)),
        None,
        None,
    ),
    "paused": (replace(grid(), status=Status.PAUSED), None, None),
    "another schedule than on record": (
        replace(grid(), schedule_id="s2"),
        KNOWN,
        Record(
            state=RunState.ACTIVE,
            interval_ms=DAY,
            offset_ms=None,
            schedule_id="s2",
            confirmed_ms=NOON_MS + H - 2 * DAY - 1,
        ),
    ),
}


@pytest.mark.parametrize(("seen", "record", "added"), ADDED.values(), ids=ADDED)
def test_what_a_look_adds(seen: Live, record: Record | None, added: Record | None) -> None:
    """A schedule that it proves and that is not on record, dated by the oldest point of the proof."""
    assert observed_record(seen, record) == added


def test_what_looks_add_to_a_fleet() -> None:
    """Only what is new, also in place of a record that is not believed."""
    ahead = replace(KNOWN, confirmed_ms=NOON_MS + DAY)
    memory = Memory(records={A: KNOWN, B: ahead})
    found = observed(memory, {A: grid(), B: replace(grid(), id=B)}, now_ms=NOON_MS)
    assert list(found) == [B]
    assert (found[B].interval_ms, found[B].offset_ms) == (DAY, None)
