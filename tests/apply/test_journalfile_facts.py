"""What is told of a journal that nobody uses: its counts, its last run and its damage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journal import open_journal
from reconciler.apply.journalreads import exists, read_facts
from reconciler.apply.journaltables import SCHEMA_VERSION
from reconciler.core.codec import LATEST_MS
from reconciler.core.doctor import JournalFacts
from reconciler.core.errors import ExitReason, JournalError
from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.model import PortfolioId, Record, RunState
from tests.apply.conftest import ON_FILE, broken
from tests.apply.scripted import edit, intent
from tests.support import BASE_URL, HOUR_MS, NOON_MS, FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.journaltables import JournalPlace

PAUSE, CONFIRMED, FAILED = Call.PAUSE, WriteOutcome.CONFIRMED, WriteOutcome.FAILED


@pytest.fixture
def path(place: JournalPlace) -> JournalPlace:
    return place


def add_run(
    path: JournalPlace,
    *writes: tuple[str, Call, WriteOutcome | None],
    base_url: str = BASE_URL,
    at_ms: int = NOON_MS,
    confirmed: str = "",
    ended: bool = True,
) -> None:
    """Add a run with writes as portfolio, call and outcome, and a record of each portfolio of ``confirmed``."""
    clock = FakeClock(at_ms)
    with open_journal(path, base_url=base_url, now_ms=clock.now_ms) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for portfolio, call, outcome in writes:
            number = journal.begin(intent(PortfolioId(portfolio), call))
            if outcome is not None:
                journal.end(number, outcome, "")
        for portfolio in confirmed:
            record = Record(
                state=RunState.ACTIVE, interval_ms=None, offset_ms=None, schedule_id=None, confirmed_ms=at_ms
            )
            journal.confirm({PortfolioId(portfolio): record})
        if ended:
            journal.close_run(ExitReason.PARTIAL.word)


def damage_of(path: JournalPlace) -> str:
    with pytest.raises(JournalError) as refused:
        read_facts(path)
    return refused.value.summary


def test_no_journal_is_no_fact(path: JournalPlace) -> None:
    """Where there is none yet nothing is told, and none is made."""
    assert read_facts(path) is None
    assert not exists(path)


def test_a_journal_without_a_run(path: JournalPlace) -> None:
    """It has its format, and nothing else."""
    with open_journal(path, base_url=BASE_URL, now_ms=FakeClock().now_ms):
        pass
    assert read_facts(path) == JournalFacts(
        version=SCHEMA_VERSION, records=0, open_intents=0, last_run=None, last_started_ms=None, last_ended=None
    )


def test_everything_is_counted_and_the_last_run_told(path: JournalPlace) -> None:
    """Records and open writes of all services count; of the runs the newest is told."""
    add_run(path, ("a", PAUSE, CONFIRMED), confirmed="ab", at_ms=NOON_MS - HOUR_MS)
    add_run(path, ("a", PAUSE, None), ("b", PAUSE, None), ("c", PAUSE, FAILED), base_url="u://other", confirmed="a")
    found = read_facts(path)
    assert found == JournalFacts(
        version=SCHEMA_VERSION,
        records=3,
        open_intents=2,
        last_run=2,
        last_started_ms=NOON_MS,
        last_ended=ExitReason.PARTIAL.word,
    )


@pytest.mark.parametrize("at_ms", [0, LATEST_MS])
def test_every_time_that_can_be_is_believed(path: JournalPlace, at_ms: int) -> None:
    """The first and the last moment are no damage, and a run under way has no end."""
    add_run(path, at_ms=NOON_MS, ended=False)
    edit(path, f"UPDATE runs SET started_ms = {at_ms}")
    found = read_facts(path)
    assert found is not None
    assert (found.last_started_ms, found.last_ended) == (at_ms, None)


@pytest.mark.parametrize(("at_ms", "bound"), [(-1, ">= 0"), (LATEST_MS + 1, f"<= {LATEST_MS}")])
def test_a_time_that_can_not_be_is_damage(path: JournalPlace, at_ms: int, bound: str) -> None:
    """It is told with what it can be."""
    add_run(path)
    edit(path, f"UPDATE runs SET started_ms = {at_ms}")
    why = f"Expected `int` {bound} - at `$.last_started_ms`"
    assert damage_of(path) == f"the journal {path} can't be used: it is damaged: {why}"


def test_a_table_that_is_gone_is_damage(path: JournalPlace) -> None:
    """What the database says of it is told."""
    add_run(path)
    edit(path, "DROP TABLE writes")
    gone = broken(path, "no such table: writes", server='relation "writes" does not exist')
    assert damage_of(path) == gone[0]


@ON_FILE
def test_a_damaged_page_is_found(path: Path) -> None:
    """SQLite's own check looks at the whole file, and what it finds is told."""
    add_run(path, *((f"p{number}", PAUSE, CONFIRMED) for number in range(50)))
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'writes_by_portfolio'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    whole = bytearray(path.read_bytes())
    whole[(root - 1) * size + 12 : root * size] = bytes(size - 12)
    path.write_bytes(whole)
    assert damage_of(path).startswith(f"the journal {path} can't be used: it is damaged: ")
    assert "None" not in damage_of(path)
