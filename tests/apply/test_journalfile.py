"""The journal's file: how it is made, opened, checked and locked, and what is said of one that can't be used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journalfile import SCHEMA_VERSION, broken, lock, open_to_read, open_to_write
from reconciler.core.errors import JournalBusy, JournalError
from tests.apply.scripted import edit
from tests.support import folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAY_OUT = "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else."
GRLC = 0x676C7263


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


@pytest.fixture
def made(place: Path) -> Path:
    open_to_write(place).close()
    return place


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(JournalError) as caught:
        action()
    return caught.value.summary, caught.value.detail


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_journal(place: Path) -> None:
    """An empty file becomes a journal that says what it is, survives a power cut, and can be read while written."""
    with closing(open_to_write(place)) as connection:
        assert (pragma(connection, "application_id"), pragma(connection, "user_version")) == (GRLC, SCHEMA_VERSION)
        assert (pragma(connection, "journal_mode"), pragma(connection, "synchronous")) == ("wal", 2)
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").fetchall() == [
            ("confirmed",),
            ("runs",),
            ("writes",),
        ]
        assert not connection.in_transaction
    with closing(open_to_write(place)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM runs").fetchone() == (0,)


def test_waiting_for_others(made: Path) -> None:
    """Whoever finds the file busy waits ten seconds for it, to write and to read."""
    reader = open_to_read(made)
    assert reader is not None
    with closing(open_to_write(made)) as writer, closing(reader):
        assert (pragma(writer, "busy_timeout"), pragma(reader, "busy_timeout")) == (10_000, 10_000)


def test_reading_never_writes(made: Path) -> None:
    """A connection to read can't write; a file in a folder with odd letters is found."""
    odd = made.with_name("a ?%20#ü.db")
    made.rename(odd)
    connection = open_to_read(odd)
    assert connection is not None
    with closing(connection), pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("INSERT INTO runs VALUES (1, '', '', '', '', 0, NULL, NULL)")


def test_nothing_to_read(place: Path) -> None:
    """No file, or an empty one, is no journal yet."""
    assert open_to_read(place) is None
    place.touch()
    assert open_to_read(place) is None


OPENINGS = pytest.mark.parametrize("opening", [open_to_write, open_to_read])


@OPENINGS
def test_another_database(place: Path, opening: Callable[[Path], object]) -> None:
    """A database of somebody else's is left alone, even one without a table."""
    edit(place, "PRAGMA user_version = 1", "CREATE TABLE theirs (id)")
    other = f"{place} is not a journal", "Name another file with --journal; this one is left alone."
    before = place.read_bytes()
    assert refusal(lambda: opening(place)) == other
    assert place.read_bytes() == before


def test_a_database_without_a_table(place: Path) -> None:
    """To a reader, a database in which nothing was ever made is somebody else's as soon as it has a page."""
    edit(place, "PRAGMA user_version = 1")
    assert place.stat().st_size > 0
    assert refusal(lambda: open_to_read(place)) == (
        f"{place} is not a journal",
        "Name another file with --journal; this one is left alone.",
    )


@OPENINGS
@pytest.mark.parametrize("version", [0, 2])
def test_another_version(made: Path, opening: Callable[[Path], object], version: int) -> None:
    """A journal of another version is named with both numbers."""
    edit(made, f"PRAGMA user_version = {version}")
    assert refusal(lambda: opening(made)) == (
        f"{made} has journal version {version}, this program knows 1",
        "Use the version that wrote it, or move the file away and start a new one.",
    )


@OPENINGS
def test_something_else(place: Path, opening: Callable[[Path], object]) -> None:
    """A file that is no database is left alone and said so, with the way out."""
    place.write_text("something else entirely, and long enough to have a header " * 30)
    assert refusal(lambda: opening(place)) == (f"the journal {place} can't be used: file is not a database", WAY_OUT)


@OPENINGS
def test_a_folder(place: Path, opening: Callable[[Path], object]) -> None:
    """A folder can't be opened as a file; SQLite has its own words for that."""
    place.mkdir()
    summary, detail = refusal(lambda: opening(place))
    assert summary.startswith(f"the journal {place} can't be used: ")
    assert not summary.endswith(": None")
    assert detail == WAY_OUT


def test_a_path_that_can_not_be_looked_at(place: Path) -> None:
    """A name that the system refuses is said so, not taken for a file that is missing."""
    endless = place / ("x" * 5000)
    summary, detail = refusal(lambda: open_to_read(endless))
    assert summary.startswith(f"the journal {endless} can't be used: ")
    assert not summary.endswith(": None")
    assert detail == WAY_OUT


def test_damage_is_found_before_anything_is_written(made: Path) -> None:
    """A page that was overwritten stops the opening for writing, with what SQLite found."""
    with closing(sqlite3.connect(made)) as connection, connection:
        connection.execute("INSERT INTO runs VALUES (1, 'u', 'f', 't', 'p', 0, 0, 'ok')")
        connection.executemany(
            "INSERT INTO writes VALUES (?, 1, 'u', ?, 'pause', '{}', 0, 'seen', '', 0)",
            [(number, f"p{number}") for number in range(500)],
        )
    with closing(sqlite3.connect(made)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'writes_by_portfolio'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    whole = bytearray(made.read_bytes())
    whole[(root - 1) * size + 12 : root * size] = bytes(size - 12)
    made.write_bytes(whole)
    summary, detail = refusal(lambda: open_to_write(made))
    assert summary.startswith(f"the journal {made} can't be used: it is damaged: ")
    assert detail == WAY_OUT


def test_the_lock(place: Path) -> None:
    """The first holds it until it closes; the second is refused at once and told who holds it."""
    deep = place.parent / "a" / "b" / "journal.db"
    first = lock(deep, "pid 7")
    assert min(path.name for path in deep.parent.iterdir()) == "journal.db.lock"
    with pytest.raises(JournalBusy) as caught:
        lock(deep, "pid 8")
    assert (caught.value.summary, caught.value.detail) == (
        f"another apply is at work with the journal {deep}: pid 7",
        "Wait for it to end, or give --lock-timeout more time. Two applies must not share a journal.",
    )
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    first.close()
    second = lock(deep, "")
    with pytest.raises(JournalBusy) as unnamed:
        lock(deep, "pid 9")
    assert unnamed.value.summary == f"another apply is at work with the journal {deep}"
    second.close()
    lock(deep, "pid 9").close()
    with closing(sqlite3.connect(deep.with_name("journal.db.lock"))) as connection:
        assert connection.execute("SELECT id, process FROM holder").fetchall() == [(1, "pid 9")]


def test_the_lock_waits_for_nobody(place: Path) -> None:
    """It is refused at once, and needs no disk to be synchronised for it."""
    with closing(lock(place, "p")) as connection:
        assert (pragma(connection, "busy_timeout"), pragma(connection, "synchronous")) == (0, 0)
        assert connection.in_transaction


def test_the_moment_before_the_holder_is_known(place: Path) -> None:
    """While the lock is being taken for the first time, nobody can say who holds it."""
    beside = place.with_name("journal.db.lock")
    with closing(sqlite3.connect(beside, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert refusal(lambda: lock(place, "p"))[0] == f"another apply is at work with the journal {place}"
        connection.execute("ROLLBACK")
        connection.execute("CREATE TABLE holder (id INTEGER PRIMARY KEY, process TEXT NOT NULL)")
        connection.execute("BEGIN IMMEDIATE")
        assert refusal(lambda: lock(place, "p"))[0] == f"another apply is at work with the journal {place}"


def test_a_folder_is_no_journal(place: Path) -> None:
    """A folder, or no name at all, is refused before anything is made beside it."""
    for path in (place.parent, Path("/")):
        assert refusal(partial(lock, path, "p")) == (
            f"the journal {path} can't be used: it is a folder",
            WAY_OUT,
        )
    assert list(place.parent.iterdir()) == []


def test_a_lock_that_can_not_be_made(place: Path) -> None:
    """A parent that is a file, and a lock file that is something else, are said by their own names."""
    place.write_text("a file")
    inside = place / "journal.db"
    assert refusal(lambda: lock(inside, "p")) == (
        f"the journal {inside}.lock can't be used: [Errno 17] File exists: '{place}'",
        WAY_OUT,
    )
    beside = place.with_name("journal.db.lock")
    beside.write_text("something else entirely, and long enough to have a header " * 30)
    with pytest.raises(JournalError) as caught:
        lock(place, "p")
    assert not isinstance(caught.value, JournalBusy)
    assert caught.value.summary == f"the journal {beside} can't be used: file is not a database"
    assert isinstance(caught.value.__cause__, sqlite3.Error)


def test_broken() -> None:
    """The error of a journal that can't be used names the file, the cause and the way out."""
    error = broken(Path("j.db"), OSError("disk full"))
    assert (error.summary, error.detail) == ("the journal j.db can't be used: disk full", WAY_OUT)
