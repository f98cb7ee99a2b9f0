"""The journal: what is written comes back whole, a record is void when it must be, and damage is never believed."""

from __future__ import annotations

import gc
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journal import SqliteJournal, open_journal, read_records, read_runs
from reconciler.core.desired import PortfolioId, RunState
from reconciler.core.errors import JournalBusy, JournalError
from reconciler.core.live import Record
from reconciler.core.report import Call, Intent, Run, Write
from tests.apply.scripted import edit, rows
from tests.support import HOUR_MS, NOON_MS, FakeClock, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE, THERE = "https://here", "https://there"
A, B, C = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
H = HOUR_MS
WANTED = json.dumps({"interval_ms": 12 * H, "offset_ms": H})
NOTHING = json.dumps({"interval_ms": None, "offset_ms": None})
RECORD = Record(
    state=RunState.PAUSED, interval_ms=12 * H, offset_ms=H, schedule_id="s1", confirmed_ms=NOON_MS, marked=True
)
BARE = Record(state=RunState.ACTIVE, interval_ms=None, offset_ms=None, schedule_id=None, confirmed_ms=NOON_MS + 1)
WAY_OUT = "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else."


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


def opened(place: Path, base_url: str = HERE, clock: FakeClock | None = None, process: str = "p1") -> SqliteJournal:
    return open_journal(place, base_url=base_url, now_ms=(clock or FakeClock()).now_ms, process=process)


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(JournalError) as caught:
        action()
    assert isinstance(caught.value.__cause__, Exception)
    return caught.value.summary, caught.value.detail


def broken(place: Path, why: str) -> tuple[str, str]:
    return f"the journal {place} can't be used: {why}", WAY_OUT


def test_runs_and_writes_come_back(place: Path) -> None:
    """Every run with its writes, newest first, with all that was said of them and when."""
    clock = FakeClock()
    with opened(place, clock=clock) as journal:
        journal.open_run(fingerprint="f1", tool="t1")
        clock.advance(1)
        first = journal.begin(A, "update-schedule", WANTED)
        clock.advance(1)
        journal.end(first, "confirmed", "as sent")
        second = journal.begin(B, "pause", NOTHING)
        clock.advance(1)
        journal.close_run("ok")
    with opened(place, THERE, clock, "p2") as journal:
        journal.open_run(fingerprint="f2", tool="t2")
        third = journal.begin(A, "start", WANTED)
    assert (first, second, third) == (1, 2, 3)
    newer = Run(
        number=2,
        base_url=THERE,
        fingerprint="f2",
        tool="t2",
        process="p2",
        started_ms=NOON_MS + 3,
        finished_ms=None,
        exit_reason=None,
        writes=(
            Write(
                number=3,
                portfolio=A,
                call=Call.START,
                interval_ms=12 * H,
                offset_ms=H,
                intent_ms=NOON_MS + 3,
                outcome=None,
                detail="",
                outcome_ms=None,
            ),
        ),
    )
    older = Run(
        number=1,
        base_url=HERE,
        fingerprint="f1",
        tool="t1",
        process="p1",
        started_ms=NOON_MS,
        finished_ms=NOON_MS + 3,
        exit_reason="ok",
        writes=(
            Write(
                number=1,
                portfolio=A,
                call=Call.UPDATE_SCHEDULE,
                interval_ms=12 * H,
                offset_ms=H,
                intent_ms=NOON_MS + 1,
                outcome="confirmed",
                detail="as sent",
                outcome_ms=NOON_MS + 2,
            ),
            Write(
                number=2,
                portfolio=B,
                call=Call.PAUSE,
                interval_ms=None,
                offset_ms=None,
                intent_ms=NOON_MS + 2,
                outcome=None,
                detail="",
                outcome_ms=None,
            ),
        ),
    )
    assert read_runs(place) == (newer, older)
    assert read_runs(place, run=1) == (older,)
    assert read_runs(place, run=7) == ()
    assert read_runs(place, portfolios=(A,)) == (newer, replace(older, writes=older.writes[:1]))
    assert read_runs(place, portfolios=(B, C)) == (replace(older, writes=older.writes[1:]),)
    assert read_runs(place, run=2, portfolios=(B,)) == ()


def test_a_run_without_writes(place: Path) -> None:
    """A run that wrote nothing is shown, unless one asks for portfolios."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f1", tool="t1")
        journal.close_run("ok")
    found = read_runs(place)
    assert found is not None
    assert [(run.number, run.writes) for run in found] == [(1, ())]
    assert read_runs(place, portfolios=(A,)) == ()


def test_a_run_that_died(place: Path) -> None:
    """The next one to write marks a run without an end as cut off, of whatever service; it has no time of its end."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f1", tool="t1")
        journal.close_run("partial")
        journal.open_run(fingerprint="f2", tool="t2")
    with opened(place, THERE):
        pass
    assert rows(place, "SELECT finished_ms, exit_reason FROM runs ORDER BY id") == [
        (NOON_MS, "partial"),
        (None, "cut_off"),
    ]


def test_records_come_back(place: Path) -> None:
    """What was confirmed is found by portfolio and service, sorted by id; the latest word counts."""
    with opened(place) as journal:
        journal.confirm(B, BARE)
        journal.confirm(A, BARE)
        journal.confirm(A, RECORD)
        assert journal.records() == {A: RECORD, B: BARE}
        assert list(journal.records()) == [A, B]
        assert (journal.record(A), journal.record(B), journal.record(C)) == (RECORD, BARE, None)
    with opened(place, THERE) as journal:
        assert (journal.records(), journal.record(A)) == ({}, None)
        journal.confirm(A, BARE)
    assert read_records(place, base_url=HERE) == {A: RECORD, B: BARE}
    assert read_records(place, base_url=THERE) == {A: BARE}


@pytest.mark.parametrize(
    ("outcome", "void"),
    [(None, True), ("confirmed", True), ("seen", True), ("unknown", True), ("failed", False), ("unseen", False)],
)
def test_a_void_record(place: Path, outcome: str | None, *, void: bool) -> None:
    """A later write that may have taken effect makes a record void, until the next one is confirmed."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        journal.end(journal.begin(A, "pause", NOTHING), "confirmed", "")
        journal.confirm(A, RECORD)
        journal.confirm(B, RECORD)
        write = journal.begin(A, "resume", NOTHING)
        if outcome is not None:
            journal.end(write, outcome, "")
        left = {B: RECORD} if void else {A: RECORD, B: RECORD}
        assert journal.records() == left
        assert journal.record(A) == left.get(A)
        journal.confirm(A, BARE)
        assert journal.records() == {A: BARE, B: RECORD}


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [(None, False), ("confirmed", True), ("seen", True), ("unknown", False), ("failed", False), ("unseen", False)],
)
def test_written_between(place: Path, outcome: str | None, *, counts: bool) -> None:
    """What is known to have taken effect, by when it was begun; other portfolios, services and rebalances do not
    count."""
    clock = FakeClock()
    with opened(place, clock=clock) as journal:
        journal.open_run(fingerprint="f", tool="t")
        journal.end(journal.begin(B, "rebalance", NOTHING), "confirmed", "")
        write = journal.begin(A, "resume", NOTHING)
        clock.advance(5)
        if outcome is not None:
            journal.end(write, outcome, "")
        assert journal.written_between(A, after_ms=NOON_MS - 1, until_ms=NOON_MS) is counts
        assert not journal.written_between(A, after_ms=NOON_MS, until_ms=NOON_MS + 9)
        assert not journal.written_between(A, after_ms=0, until_ms=NOON_MS - 1)
        assert not journal.written_between(B, after_ms=0, until_ms=NOON_MS)
    with opened(place, THERE) as journal:
        assert not journal.written_between(A, after_ms=0, until_ms=NOON_MS)


def test_unsettled(place: Path) -> None:
    """Writes to this service without an outcome, oldest first, as they were begun."""
    clock = FakeClock()
    with opened(place, THERE) as journal:
        journal.open_run(fingerprint="f", tool="t")
        journal.begin(A, "pause", NOTHING)
    with opened(place, clock=clock) as journal:
        journal.open_run(fingerprint="f", tool="t")
        journal.begin(B, "start", WANTED)
        clock.advance(5)
        journal.end(journal.begin(A, "pause", NOTHING), "failed", "no")
        journal.begin(A, "resume", NOTHING)
        assert journal.unsettled() == (
            Intent(write=2, portfolio=B, call=Call.START, wanted=WANTED, at_ms=NOON_MS),
            Intent(write=4, portfolio=A, call=Call.RESUME, wanted=NOTHING, at_ms=NOON_MS + 5),
        )


def test_no_journal_yet(place: Path) -> None:
    """A file that is missing, or empty, holds nothing, and reading does not make one."""
    assert (read_records(place, base_url=HERE), read_runs(place)) == ({}, None)
    assert not place.exists()
    place.touch()
    assert (read_records(place, base_url=HERE), read_runs(place)) == ({}, None)
    assert place.stat().st_size == 0


@pytest.fixture
def used(place: Path) -> Path:
    """A journal with one run, one open write and one record."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        journal.begin(A, "pause", NOTHING)
        journal.confirm(B, RECORD)
    return place


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("call", "'stop'", "it is damaged: 'stop' is not a valid Call"),
        ("wanted", "'no json'", "it is damaged: Expecting value: line 1 column 1 (char 0)"),
        ("wanted", "'{}'", "it is damaged: 'interval_ms'"),
        ("wanted", "'{\"interval_ms\": 1}'", "it is damaged: 'offset_ms'"),
        ("wanted", "'null'", "it is damaged: 'NoneType' object is not subscriptable"),
        (
            "wanted",
            '\'{"interval_ms": -1, "offset_ms": 0}\'',
            'it is damaged: \'{"interval_ms": -1, "offset_ms": 0}\' is no schedule',
        ),
        (
            "wanted",
            '\'{"interval_ms": 0, "offset_ms": -1}\'',
            'it is damaged: \'{"interval_ms": 0, "offset_ms": -1}\' is no schedule',
        ),
        (
            "wanted",
            '\'{"interval_ms": "1h", "offset_ms": null}\'',
            'it is damaged: \'{"interval_ms": "1h", "offset_ms": null}\' is no schedule',
        ),
    ],
)
def test_a_write_that_makes_no_sense(used: Path, column: str, value: str, why: str) -> None:
    """A word or a schedule that no journal has is damage, whoever reads it."""
    edit(used, f"UPDATE writes SET {column} = {value}")
    assert refusal(lambda: read_runs(used)) == broken(used, why)
    with opened(used) as journal:
        assert refusal(journal.unsettled) == broken(used, why)


@pytest.mark.parametrize("ms", [-1, 253_402_300_800_000])
@pytest.mark.parametrize("column", ["writes.intent_ms", "writes.outcome_ms", "runs.started_ms", "runs.finished_ms"])
def test_a_time_that_makes_no_sense(used: Path, column: str, ms: int) -> None:
    """A time before 1970 or after the year 9999 is damage."""
    table, name = column.split(".")
    edit(used, f"UPDATE {table} SET {name} = {ms}")
    assert refusal(lambda: read_runs(used)) == broken(used, f"it is damaged: {ms} is no time")


@pytest.mark.parametrize("ms", [0, 253_402_300_799_999])
def test_the_first_and_the_last_time(used: Path, ms: int) -> None:
    """Every time in between is one, both ends too; so is a schedule of nothing."""
    edit(
        used,
        f'UPDATE writes SET intent_ms = {ms}, outcome_ms = {ms}, wanted = \'{{"interval_ms": 0, "offset_ms": 0}}\'',
        f"UPDATE runs SET started_ms = {ms}, finished_ms = {ms}",
    )
    found = read_runs(used)
    assert found is not None
    (run,) = found
    (write,) = run.writes
    assert (run.started_ms, run.finished_ms, write.intent_ms, write.outcome_ms) == (ms, ms, ms, ms)
    assert (write.interval_ms, write.offset_ms) == (0, 0)


def test_a_record_that_makes_no_sense(used: Path) -> None:
    """A state that no record has is damage, for one portfolio and for all."""
    edit(used, "UPDATE confirmed SET state = 'stopped'")
    damaged = broken(used, "it is damaged: 'stopped' is not a valid RunState")
    assert refusal(lambda: read_records(used, base_url=HERE)) == damaged
    with opened(used) as journal:
        assert refusal(journal.records) == damaged
        assert refusal(lambda: journal.record(B)) == damaged
        assert journal.record(A) is None


def test_tables_that_are_gone(used: Path) -> None:
    """What SQLite says is passed on with the way out, from a read and from a write."""
    edit(used, "DROP TABLE writes")
    gone = broken(used, "no such table: writes")
    assert refusal(lambda: read_runs(used)) == gone
    assert refusal(lambda: read_records(used, base_url=HERE)) == gone
    with opened(used) as journal:
        assert refusal(journal.records) == gone
        assert refusal(lambda: journal.begin(A, "pause", NOTHING)) == gone
        assert refusal(lambda: journal.end(1, "failed", "")) == gone


def test_a_write_outside_a_run(place: Path) -> None:
    """Every write belongs to a run; without one nothing is begun."""
    with opened(place) as journal:
        assert refusal(lambda: journal.begin(A, "pause", NOTHING)) == broken(
            place, "NOT NULL constraint failed: writes.run"
        )


def test_closed(place: Path) -> None:
    """After it was closed a journal can't be used, and its lock is free at once."""
    with opened(place) as journal:
        pass
    assert refusal(journal.records) == broken(place, "Cannot operate on a closed database.")
    opened(place).__exit__()


def test_a_file_that_is_none_is_not_kept_locked(place: Path) -> None:
    """Where opening fails after the lock was taken, the lock is free at once, and so is the file."""
    place.write_text("this is not a database, but it is long enough to be looked at as one: " * 20)
    for _ in range(2):
        assert refusal(lambda: opened(place)) == broken(place, "file is not a database")
    gc.collect()


def test_a_journal_that_can_not_be_brought_up_to_date(used: Path) -> None:
    """Where the dead runs can't be marked, nothing stays open or locked."""
    edit(used, "ALTER TABLE runs RENAME COLUMN exit_reason TO ending")
    for _ in range(2):
        assert refusal(lambda: opened(used)) == broken(used, "no such column: exit_reason")
    gc.collect()


def test_one_at_a_time(place: Path) -> None:
    """Who comes second is told at once who is at work."""
    with opened(place, process="pid 7 on here"), pytest.raises(JournalBusy) as caught:
        opened(place)
    assert (caught.value.summary, caught.value.detail) == (
        f"another apply is at work with the journal {place}: pid 7 on here",
        "Wait for it to end, or give --lock-timeout more time. Two applies must not share a journal.",
    )


def test_without_a_name(place: Path) -> None:
    """Who does not say what process it is leaves no name, neither in the lock nor in its runs."""
    with open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        with pytest.raises(JournalBusy) as caught:
            opened(place)
    assert caught.value.summary == f"another apply is at work with the journal {place}"
    found = read_runs(place)
    assert found is not None
    assert [run.process for run in found] == [""]


def test_reading_beside_a_writer(place: Path) -> None:
    """Who only reads sees what is committed, while another writes, and can't write itself."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        journal.confirm(A, RECORD)
        assert read_records(place, base_url=HERE) == {A: RECORD}
        runs = read_runs(place)
        assert runs is not None
        assert [run.number for run in runs] == [1]


def test_without_a_lock() -> None:
    """A journal that was given neither lock nor name writes none and closes what it has."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE runs (base_url, fingerprint, tool, process, started_ms)")
    with SqliteJournal(connection, path=Path("unused"), base_url=HERE, now_ms=lambda: 0) as journal:
        journal.open_run(fingerprint="f", tool="t")
        assert connection.execute("SELECT * FROM runs").fetchall() == [(HERE, "f", "t", "", 0)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
