"""The journal: what is written comes back whole, a record is void when it must be, and damage is never believed."""

from __future__ import annotations

import gc
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalfile import FileTables
from reconciler.apply.journalreads import exists, read_memory, read_runs
from reconciler.core.errors import JournalBusy, JournalError
from reconciler.core.intent import Before, Call, Intent, OpenIntent, WriteOutcome
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    PortfolioId,
    Record,
    RunState,
    Status,
    StrategyId,
    address_of,
)
from reconciler.core.ports import Memory
from reconciler.core.report import Run, Write
from tests.apply.conftest import ON_FILE, broken
from tests.apply.scripted import edit, intent, rows
from tests.support import HOUR_MS, NOON_MS, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.apply.journaltables import JournalPlace

HERE, THERE = "https://here", "https://there"
A, B, C = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
S = StrategyId("sss")
H = HOUR_MS
RECORD = Record(
    state=RunState.PAUSED,
    interval_ms=12 * H,
    offset_ms=H,
    schedule_id="s1",
    confirmed_ms=NOON_MS,
    marked=True,
    pause_reason="Paused via API: x &#91;glider-reconciler 0000a1&#93;",
)
BARE = Record(state=RunState.ACTIVE, interval_ms=None, offset_ms=None, schedule_id=None, confirmed_ms=NOON_MS + 1)
OUTCOMES = (None, *WriteOutcome)
MAY_HAVE_TAKEN_EFFECT = (None, WriteOutcome.CONFIRMED, WriteOutcome.SEEN, WriteOutcome.UNKNOWN)


def opened(
    place: JournalPlace, base_url: str = HERE, clock: FakeClock | None = None, process: str = "p1"
) -> OpenJournal:
    return open_journal(place, base_url=base_url, now_ms=(clock or FakeClock()).now_ms, process=process)


def remembered(place: JournalPlace, base_url: str = HERE) -> Memory:
    return read_memory(place, base_url=base_url, now_ms=NOON_MS)


def write(journal: OpenJournal, intent: Intent, outcome: WriteOutcome | None = WriteOutcome.CONFIRMED) -> int:
    """Announce a write and, unless it stays open, end it; return its number."""
    number = journal.begin(intent)
    if outcome is not None:
        journal.end(number, outcome, "")
    return number


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(JournalError) as caught:
        action()
    assert isinstance(caught.value.__cause__, Exception)
    return caught.value.summary, caught.value.detail


def test_runs_and_writes_come_back(place: JournalPlace) -> None:
    """Every run with its writes, newest first, with all that was said of them and when."""
    clock = FakeClock()
    with opened(place, clock=clock) as journal:
        journal.open_run(fingerprint="f1", tool="t1")
        clock.advance(1)
        first = journal.begin(intent(A, Call.UPDATE_SCHEDULE, "0000a1", interval_ms=12 * H, offset_ms=H))
        clock.advance(1)
        journal.end(first, WriteOutcome.CONFIRMED, "as sent")
        second = journal.begin(intent(B, Call.PAUSE, "0000a2"))
        clock.advance(1)
        journal.close_run("ok")
    with opened(place, THERE, clock, "p2") as journal:
        journal.open_run(fingerprint="f2", tool="t2", approved="f0")
        third = journal.begin(intent(A, Call.START, "0000a3", interval_ms=12 * H, offset_ms=H))
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
        approved="f0",
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
                token="0000a3",
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
                token="0000a1",
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
                token="0000a2",
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


def test_a_run_without_writes(place: JournalPlace) -> None:
    """A run that wrote nothing is shown, unless one asks for portfolios."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f1", tool="t1")
        journal.close_run("ok")
    found = read_runs(place)
    assert found is not None
    assert [(run.number, run.writes) for run in found] == [(1, ())]
    assert read_runs(place, portfolios=(A,)) == ()


def test_a_run_that_died(place: JournalPlace) -> None:
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


def test_records_come_back(place: JournalPlace) -> None:
    """What was confirmed is found by portfolio and service, sorted by id; the latest word counts."""
    with opened(place) as journal:
        journal.confirm({B: BARE})
        journal.confirm({A: BARE})
        journal.confirm({A: RECORD})
        assert journal.memory().records == {A: RECORD, B: BARE}
        assert list(journal.memory().records) == [A, B]
        assert (
            journal.memory(A).records.get(A),
            journal.memory(B).records.get(B),
            journal.memory(C).records.get(C),
        ) == (RECORD, BARE, None)
    with opened(place, THERE) as journal:
        assert (journal.memory(), journal.memory(A).records.get(A)) == (Memory(exists=True), None)
        journal.confirm({A: BARE})
    assert remembered(place).records == {A: RECORD, B: BARE}
    assert remembered(place, THERE).records == {A: BARE}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_void_record(place: JournalPlace, outcome: WriteOutcome | None) -> None:
    """A later write that may have taken effect makes a record void, until the next one is confirmed."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        write(journal, intent(A, Call.PAUSE))
        journal.confirm({A: RECORD})
        journal.confirm({B: RECORD})
        write(journal, intent(A, Call.REBALANCE))
        assert journal.memory(A).records.get(A) == RECORD
        write(journal, intent(A, Call.RESUME), outcome)
        left = {B: RECORD} if outcome in MAY_HAVE_TAKEN_EFFECT else {A: RECORD, B: RECORD}
        assert journal.memory().records == left
        assert journal.memory(A).records.get(A) == left.get(A)
        journal.confirm({A: BARE})
        assert journal.memory().records == {A: BARE, B: RECORD}


NO_SCHEDULE = {"interval_ms": None, "offset_ms": None}
WHOLE = (
    intent(A, Call.PAUSE, before=Before(status=Status.ACTIVE, due_ms=NOON_MS, interval_ms=H, offset_ms=0)),
    intent(
        A,
        Call.PAUSE,
        api=ApiVersion.V2,
        halt="h1",
        before=Before(status=Status.PAUSED, pause_reason='by \u202e hand "'),
    ),
    intent(A, Call.START, interval_ms=12 * H, offset_ms=0, run_on_start=True, before=Before(runs=())),
    intent(A, Call.START, interval_ms=12 * H, run_on_start=False),
    intent(A, Call.UPDATE_SCHEDULE, interval_ms=12 * H, offset_ms=H, is_step=True),
    intent(A, Call.RESUME, before=Before(pause_reason="")),
    intent(A, Call.REBALANCE, api=ApiVersion.V2, skip_schedule_validation=True, before=Before(runs=("w2", "w1"))),
    intent(address_of(S), Call.SET_CADENCE, cadence=Cadence.DAILY, before=Before(cadence=Cadence.MONTHLY)),
)


def test_unsettled(place: JournalPlace) -> None:
    """Writes to this service without an outcome, oldest first, as they were begun but for the reason they send."""
    clock = FakeClock()
    with opened(place, THERE) as journal:
        journal.open_run(fingerprint="f", tool="t")
        write(journal, intent(A, Call.PAUSE), None)
    with opened(place, clock=clock) as journal:
        journal.open_run(fingerprint="f", tool="t")
        write(journal, intent(B, Call.PAUSE, "0000b1", reason="Declared by a person"), None)
        for outcome in WriteOutcome:
            write(journal, intent(A, Call.PAUSE), outcome)
        clock.advance(5)
        for one in WHOLE:
            write(journal, one, None)
        assert journal.unsettled() == (
            OpenIntent(number=2, intent=intent(B, Call.PAUSE, "0000b1"), at_ms=NOON_MS),
            *(OpenIntent(number=9 + n, intent=one, at_ms=NOON_MS + 5) for n, one in enumerate(WHOLE)),
        )
    kept = str(rows(place, "SELECT * FROM writes"))
    assert "0000b1" in kept
    assert "Declared by a person" not in kept


def test_what_a_write_wanted(place: JournalPlace) -> None:
    """Only what is not as usual is written down, besides the schedule, which always is."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for one in (intent(A, Call.PAUSE), WHOLE[2], WHOLE[4], WHOLE[6], WHOLE[7]):
            write(journal, one, None)
    found = rows(place, "SELECT wanted, token, step FROM writes ORDER BY id")
    assert [(json.loads(wanted), token, step) for wanted, token, step in found] == [
        (NO_SCHEDULE, "0000a1", 0),
        ({"interval_ms": 12 * H, "offset_ms": 0, "run_now": True, "before": {"runs": []}}, "0000a1", 0),
        ({"interval_ms": 12 * H, "offset_ms": H}, "0000a1", 1),
        (
            {**NO_SCHEDULE, "api": "v2", "skip_schedule_validation": True, "before": {"runs": ["w2", "w1"]}},
            "0000a1",
            0,
        ),
        ({**NO_SCHEDULE, "schedule": "daily", "before": {"cadence": "monthly"}}, "0000a1", 0),
    ]


def test_no_journal_yet(place: JournalPlace) -> None:
    """One that is missing holds nothing, and reading does not make one."""
    for _ in range(2):
        assert (remembered(place), read_runs(place)) == (Memory(exists=False), None)
        assert not exists(place)


@ON_FILE
def test_an_empty_file_is_no_journal_yet(place: Path) -> None:
    """It holds nothing, and reading leaves it empty."""
    place.touch()
    assert (remembered(place), read_runs(place)) == (Memory(exists=False), None)
    assert place.stat().st_size == 0


@pytest.fixture
def used(place: JournalPlace) -> JournalPlace:
    """A journal with one run, one open write and one record."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        write(journal, intent(A, Call.PAUSE), None)
        journal.confirm({B: RECORD})
    return place


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("call", "'stop'", "it is damaged: Invalid enum value 'stop' - at `$.call`"),
        ("wanted", "'no json'", "it is damaged: Expecting value: line 1 column 1 (char 0)"),
        ("wanted", "'{}'", "it is damaged: Object missing required field `interval_ms` - at `$.wanted`"),
        (
            "wanted",
            "'{\"interval_ms\": 1}'",
            "it is damaged: Object missing required field `offset_ms` - at `$.wanted`",
        ),
        ("wanted", "'null'", "it is damaged: Expected `object`, got `null` - at `$.wanted`"),
        (
            "wanted",
            '\'{"interval_ms": -1, "offset_ms": 0}\'',
            "it is damaged: Expected `int` >= 0 - at `$.wanted.interval_ms`",
        ),
        (
            "wanted",
            '\'{"interval_ms": 0, "offset_ms": -1}\'',
            "it is damaged: Expected `int` >= 0 - at `$.wanted.offset_ms`",
        ),
        (
            "wanted",
            '\'{"interval_ms": "1h", "offset_ms": null}\'',
            "it is damaged: Expected `int | null`, got `str` - at `$.wanted.interval_ms`",
        ),
    ],
)
def test_a_write_that_makes_no_sense(used: JournalPlace, column: str, value: str, why: str) -> None:
    """A word or a schedule that no journal has is damage, whoever reads it."""
    edit(used, f"UPDATE writes SET {column} = {value}")
    assert refusal(lambda: read_runs(used)) == broken(used, why)
    with opened(used) as journal:
        assert refusal(journal.unsettled) == broken(used, why)


@pytest.mark.parametrize(("ms", "bound"), [(-1, ">= 0"), (253_402_300_800_000, "<= 253402300799999")])
@pytest.mark.parametrize("column", ["writes.intent_ms", "writes.outcome_ms", "runs.started_ms", "runs.finished_ms"])
def test_a_time_that_makes_no_sense(used: JournalPlace, column: str, ms: int, bound: str) -> None:
    """A time before 1970 or after the year 9999 is damage."""
    table, name = column.split(".")
    edit(used, f"UPDATE {table} SET {name} = {ms}")
    assert refusal(lambda: read_runs(used)) == broken(used, f"it is damaged: Expected `int` {bound} - at `$.{name}`")


@pytest.mark.parametrize("ms", [0, 253_402_300_799_999])
def test_the_first_and_the_last_time(used: JournalPlace, ms: int) -> None:
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


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ('"api": "v3"', "Invalid enum value 'v3' - at `$.wanted.api`"),
        ('"run_now": 1', "Expected `bool`, got `int` - at `$.wanted.run_now`"),
        ('"skip_schedule_validation": null', "Expected `bool`, got `null` - at `$.wanted.skip_schedule_validation`"),
        ('"before": null', "Expected `object`, got `null` - at `$.wanted.before`"),
        ('"before": {"status": "halted"}', "Invalid enum value 'halted' - at `$.wanted.before.status`"),
        ('"before": {"pause_reason": 1}', "Expected `str | null`, got `int` - at `$.wanted.before.pause_reason`"),
        ('"before": {"due_ms": "1"}', "Expected `int | null`, got `str` - at `$.wanted.before.due_ms`"),
        ('"before": {"interval_ms": 1.5}', "Expected `int | null`, got `float` - at `$.wanted.before.interval_ms`"),
        ('"before": {"offset_ms": true}', "Expected `int | null`, got `bool` - at `$.wanted.before.offset_ms`"),
        ('"before": {"cadence": "yearly"}', "Invalid enum value 'yearly' - at `$.wanted.before.cadence`"),
        ('"before": {"runs": [1]}', "Expected `str`, got `int` - at `$.wanted.before.runs[0]`"),
        ('"before": {"runs": 1}', "Expected `array | null`, got `int` - at `$.wanted.before.runs`"),
    ],
)
def test_an_intent_that_makes_no_sense(used: JournalPlace, wanted: str, why: str) -> None:
    """What a later command compares with is believed of no file without a look at its type."""
    edit(used, f"""UPDATE writes SET wanted = '{{"interval_ms": null, "offset_ms": null, {wanted}}}'""")
    with opened(used) as journal:
        assert refusal(journal.unsettled) == broken(used, f"it is damaged: {why}")


@pytest.mark.parametrize("wanted", ['{"interval_ms": null, "offset_ms": null}', '{"interval_ms": 1, "offset_ms": 0}'])
def test_a_cadence_that_is_not_there(place: JournalPlace, wanted: str) -> None:
    """A write to a strategy without one is damage, whoever reads it."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        write(journal, intent(address_of(S), Call.SET_CADENCE, cadence=Cadence.DAILY))
        write(journal, intent(address_of(S), Call.SET_CADENCE, "0000a2", cadence=Cadence.DAILY), None)
    edit(place, f"UPDATE writes SET wanted = '{wanted}'")
    damaged = broken(place, "it is damaged: 'schedule'")
    assert refusal(lambda: read_runs(place)) == damaged
    with opened(place) as journal:
        for question in (journal.unsettled, lambda: journal.last_write(address_of(S), "0000a1")):
            assert refusal(question) == damaged
        assert (
            journal.memory(address_of(S)).cadences.get(S) is None
        )  # the newest may have taken effect, so what it set is not looked at
    edit(place, "DELETE FROM writes WHERE outcome IS NULL")
    with opened(place) as journal:
        assert refusal(lambda: journal.memory(address_of(S)).cadences.get(S)) == damaged
        assert refusal(journal.memory) == damaged


@pytest.mark.parametrize("text", ["\ud800", "\\ud800", "\u2028 \x00 \N{ROCKET}"])
def test_every_text_comes_back(place: JournalPlace, text: str) -> None:
    """Also what no UTF-8 can hold: a reason is compared letter for letter with what the service shows."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        write(journal, intent(A, Call.RESUME, before=Before(pause_reason=text)), None)
        (found,) = journal.unsettled()
    assert found.intent.before.pause_reason == text


def test_an_intent_at_no_time(used: JournalPlace) -> None:
    """A time that can't be is damage of an intent, too."""
    edit(used, "UPDATE writes SET intent_ms = -1")
    with opened(used) as journal:
        assert refusal(journal.unsettled) == broken(used, "it is damaged: Expected `int` >= 0 - at `$.at_ms`")


def test_a_record_that_makes_no_sense(used: JournalPlace) -> None:
    """A state that no record has is damage, for one portfolio and for all."""
    edit(used, "UPDATE confirmed SET state = 'stopped'")
    damaged = broken(used, "it is damaged: Invalid enum value 'stopped' - at `$.state`")
    assert refusal(lambda: remembered(used)) == damaged
    with opened(used) as journal:
        assert refusal(journal.memory) == damaged
        assert refusal(lambda: journal.memory(B).records.get(B)) == damaged
        assert journal.memory(A).records.get(A) is None


def test_tables_that_are_gone(used: JournalPlace) -> None:
    """What the database says is passed on with the way out, from a read and from a write."""
    edit(used, "DROP TABLE writes")
    gone = broken(used, "no such table: writes", server='relation "writes" does not exist')
    assert refusal(lambda: read_runs(used)) == gone
    assert refusal(lambda: remembered(used)) == gone
    with opened(used) as journal:
        for question in (
            journal.memory,
            journal.unsettled,
            lambda: journal.memory(A).records.get(A),
            lambda: journal.memory(address_of(S)).cadences.get(S),
            lambda: journal.memory(A).since.get(A),
            lambda: journal.knows("0000a1"),
            lambda: journal.maybe_sent(A, Call.PAUSE, plans=("f",)),
            lambda: journal.memory(A).unanswered.get(A),
            lambda: journal.begin(intent(A, Call.PAUSE)),
            lambda: journal.end(1, WriteOutcome.FAILED, ""),
            lambda: journal.confirm({A: RECORD}),
        ):
            assert refusal(question) == gone
        edit(used, "DROP TABLE confirmed")
        assert refusal(journal.memory) == gone
    with opened(used) as journal:  # nothing of it keeps the file busy
        journal.open_run(fingerprint="f", tool="t")


def test_a_write_outside_a_run(place: JournalPlace) -> None:
    """Every write belongs to a run; without one nothing is begun."""
    with opened(place) as journal:
        assert refusal(lambda: journal.begin(intent(A, Call.PAUSE))) == broken(
            place,
            "NOT NULL constraint failed: writes.run",
            server='null value in column "run" of relation "writes" violates not-null constraint',
        )


def test_closed(place: JournalPlace) -> None:
    """After it was closed a journal can't be used, and its lock is free at once."""
    with opened(place) as journal:
        pass
    for question in (journal.memory, journal.unsettled):
        assert refusal(question) == broken(
            place, "Cannot operate on a closed database.", server="the connection is closed"
        )
    opened(place).__exit__()


@ON_FILE
def test_a_file_that_is_none_is_not_kept_locked(place: Path) -> None:
    """Where opening fails after the lock was taken, the lock is free at once, and so is the file."""
    place.write_text("this is not a database, but it is long enough to be looked at as one: " * 20)
    for _ in range(2):
        assert refusal(lambda: opened(place)) == broken(place, "file is not a database")
    gc.collect()


def test_a_journal_that_can_not_be_brought_up_to_date(used: JournalPlace) -> None:
    """Where the dead runs can't be marked, nothing stays open or locked."""
    edit(used, "ALTER TABLE runs RENAME COLUMN exit_reason TO ending")
    for _ in range(2):
        assert refusal(lambda: opened(used)) == broken(
            used, "no such column: exit_reason", server='column "exit_reason" does not exist'
        )
    gc.collect()


def test_one_at_a_time(place: JournalPlace) -> None:
    """Who comes second is told at once who is at work."""
    with opened(place, process="pid 7 on here"), pytest.raises(JournalBusy) as caught:
        opened(place)
    assert (caught.value.summary, caught.value.detail) == (
        f"another apply is at work with the journal {place}: pid 7 on here",
        "Wait for it to end, or give --lock-timeout more time. Two applies must not share a journal.",
    )


def test_without_a_name(place: JournalPlace) -> None:
    """Who does not say what process it is leaves no name, neither in the lock nor in its runs."""
    with open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        with pytest.raises(JournalBusy) as caught:
            opened(place)
    assert caught.value.summary == f"another apply is at work with the journal {place}"
    found = read_runs(place)
    assert found is not None
    assert [run.process for run in found] == [""]


def test_reading_beside_a_writer(place: JournalPlace) -> None:
    """Who only reads sees what is committed, while another writes, and can't write itself."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        journal.confirm({A: RECORD})
        assert remembered(place) == Memory(exists=True, records={A: RECORD})
        runs = read_runs(place)
        assert runs is not None
        assert [run.number for run in runs] == [1]


def in_the_background(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Begin an action that has to wait, and return its thread, still waiting, and where its result will be."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(action()), daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    assert found == []
    return thread, found


@ON_FILE
def test_a_reader_waits_for_a_commit(place: Path) -> None:
    """While another connection commits, whoever reads waits, and then sees what was committed."""
    opened(place).__exit__()
    with closing(sqlite3.connect(place, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")  # as in the middle of a commit
        columns = "id, base_url, fingerprint, tool, process, started_ms, finished_ms, exit_reason"
        writer.execute(f"INSERT INTO runs ({columns}) VALUES (1, 'u', 'f', 't', 'p', 0, 0, 'ok')")
        thread, found = in_the_background(lambda: [run.number for run in read_runs(place) or ()])
        writer.execute("COMMIT")
        thread.join()
    assert found == [[1]]


@ON_FILE
def test_a_commit_waits_for_a_reader(place: Path) -> None:
    """While another connection reads, a commit waits, and is made then."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
    with closing(sqlite3.connect(place, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)

        def another_run() -> str:
            with opened(place) as journal:
                journal.open_run(fingerprint="f", tool="t")
            return "written"

        thread, found = in_the_background(another_run)
        assert reader.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)
        reader.execute("COMMIT")
        thread.join()
        assert (found, reader.execute("SELECT COUNT(*) FROM runs").fetchone()) == (["written"], (2,))


def test_without_a_lock() -> None:
    """A journal that was given neither lock nor name writes none and closes what it has."""
    connection = sqlite3.connect(":memory:")
    columns = 'base_url, fingerprint, tool, process, started_ms, approved, account, who, "commit", pull_request, ci_run'
    connection.execute(f"CREATE TABLE runs (id INTEGER PRIMARY KEY, {columns})")
    with OpenJournal(FileTables(connection, Path("unused")), base_url=HERE, now_ms=lambda: 0) as journal:
        journal.open_run(fingerprint="f", tool="t")
        assert connection.execute("SELECT * FROM runs").fetchall() == [(1, HERE, "f", "t", "", 0, *[None] * 6)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
