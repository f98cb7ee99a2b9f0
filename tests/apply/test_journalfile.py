"""The journal's file: how it is made, opened, checked and locked, and what is said of one that can't be used."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journalfile import broken, lock, open_to_read, writable_connection
from reconciler.apply.journaltables import SCHEMA_VERSION
from reconciler.core.errors import JournalBusy, JournalError
from tests.apply.scripted import edit
from tests.support import folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAY_OUT = "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else."
GRLC = 0x676C7263
INTO_RUNS = "INSERT INTO runs (id, base_url, fingerprint, tool, process, started_ms, finished_ms, exit_reason)"
A_RUN = f"{INTO_RUNS} VALUES (1, 'u', 'f', 't', 'p', 0, 0, 'ok')"


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


@pytest.fixture
def made(place: Path) -> Path:
    writable_connection(place).close()
    return place


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(JournalError) as caught:
        action()
    return caught.value.summary, caught.value.detail


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_journal(place: Path) -> None:
    """An empty file becomes a journal that says what it is and survives a power cut; what lies beside it is empty."""
    with closing(writable_connection(place)) as connection:
        assert (pragma(connection, "application_id"), pragma(connection, "user_version")) == (GRLC, SCHEMA_VERSION)
        assert (pragma(connection, "journal_mode"), pragma(connection, "synchronous")) == ("truncate", 2)
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").fetchall() == [
            ("confirmed",),
            ("halts",),
            ("results",),
            ("runs",),
            ("writes",),
        ]
        assert not connection.in_transaction
        with connection:
            connection.execute(A_RUN)
        assert place.with_name("journal.db-journal").stat().st_size == 0
    assert sorted(path.name for path in place.parent.iterdir()) == ["journal.db", "journal.db-journal"]
    with closing(writable_connection(place)) as connection:
        assert (pragma(connection, "journal_mode"), pragma(connection, "synchronous")) == ("truncate", 2)
        assert connection.execute("SELECT COUNT(*) FROM runs").fetchone() == (1,)


def test_waiting_for_others(made: Path) -> None:
    """Whoever finds the file busy waits ten seconds for it, to write and to read."""
    reader = open_to_read(made)
    assert reader is not None
    with closing(writable_connection(made)) as writer, closing(reader):
        assert (pragma(writer, "busy_timeout"), pragma(reader, "busy_timeout")) == (10_000, 10_000)


def test_reading_never_writes(made: Path) -> None:
    """A connection to read can't write; a file in a folder with odd letters is found."""
    odd = made.with_name("a ?%20#ü.db")
    made.rename(odd)
    connection = open_to_read(odd)
    assert connection is not None
    with closing(connection), pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute(A_RUN)


def test_nothing_to_read(place: Path) -> None:
    """No file, or an empty one, is no journal yet."""
    assert open_to_read(place) is None
    place.touch()
    assert open_to_read(place) is None


OPENINGS = pytest.mark.parametrize("opening", [writable_connection, open_to_read])


@OPENINGS
def test_another_database(place: Path, opening: Callable[[Path], object]) -> None:
    """A database of somebody else's is left alone, even one without a table."""
    edit(place, "PRAGMA user_version = 1", "CREATE TABLE theirs (id)")
    other = f"{place} is not a journal", "Name another file with --journal; this one is left alone."
    before = place.read_bytes()
    assert refusal(lambda: opening(place)) == other
    assert place.read_bytes() == before


@OPENINGS
def test_a_database_without_a_table(place: Path, opening: Callable[[Path], object]) -> None:
    """A database in which nothing was ever made is somebody else's as soon as it has a page."""
    edit(place, "PRAGMA user_version = 1")
    assert place.stat().st_size > 0
    assert refusal(lambda: opening(place)) == (
        f"{place} is not a journal",
        "Name another file with --journal; this one is left alone.",
    )


@OPENINGS
@pytest.mark.parametrize("version", [0, 1, 5])
def test_another_version(made: Path, opening: Callable[[Path], object], version: int) -> None:
    """A journal of another version is named with both numbers."""
    edit(made, f"PRAGMA user_version = {version}")
    assert refusal(lambda: opening(made)) == (
        f"{made} has journal version {version}, this program knows 2 to 4",
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


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


def socket_file(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(os.path.relpath(path))  # such a name has about a hundred characters


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
@pytest.mark.parametrize("make", [fifo, device, socket_file, loop])
def test_what_is_no_file_is_no_journal(place: Path, make: Callable[[Path], None]) -> None:
    """It is refused before it is opened, and nothing is made beside it: neither a lock nor a database."""
    make(place)
    for using in (writable_connection, open_to_read, lambda path: lock(path, "p")):
        summary, detail = refusal(partial(using, place))
        assert summary.startswith(f"the journal {place} can't be used: ")
        assert detail == WAY_OUT
    assert [path.name for path in place.parent.iterdir()] == ["journal.db"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
@pytest.mark.parametrize("make", [fifo, device, loop, lambda path: path.symlink_to("elsewhere")])
def test_what_is_no_file_is_no_lock(place: Path, make: Callable[[Path], None]) -> None:
    """A planted link must not make a database of the file that it leads to."""
    beside = place.with_name("journal.db.lock")
    make(beside)
    summary, _ = refusal(lambda: lock(place, "p"))
    assert summary.startswith(f"the journal {beside} can't be used: it is a ")
    assert [path.name for path in place.parent.iterdir()] == ["journal.db.lock"]


@pytest.fixture
def sealed(place: Path) -> Iterator[Path]:
    """A folder that can't be written to, with a journal of each version."""
    writable_connection(place).close()
    with closing(sqlite3.connect(place.with_name("old.db"))) as connection:
        connection.executescript(OLD)
    for path in (place, place.with_name("old.db")):
        path.chmod(0o444)
    place.parent.chmod(0o555)
    try:
        (place.parent / "x").touch()
    except PermissionError:
        yield place.parent
        place.parent.chmod(0o755)
    else:
        place.parent.chmod(0o755)
        pytest.skip("this user may write everywhere")


@pytest.mark.parametrize(("name", "runs"), [("journal.db", 0), ("old.db", 1)])
def test_reading_needs_no_permission_to_write(sealed: Path, name: str, runs: int) -> None:
    """Neither of the file nor of its folder, whatever the version."""
    reader = open_to_read(sealed / name)
    assert reader is not None
    with closing(reader):
        assert reader.execute("SELECT COUNT(*) FROM runs").fetchone() == (runs,)


def test_a_path_that_can_not_be_looked_at(place: Path) -> None:
    """A name that the system refuses is said so, not taken for a file that is missing."""
    endless = place / ("x" * 5000)
    summary, detail = refusal(lambda: open_to_read(endless))
    assert summary.startswith(f"the journal {endless} can't be used: ")
    assert not summary.endswith(": None")
    assert detail == WAY_OUT


def break_index(made: Path) -> None:
    """Overwrite a page that only SQLite's own check looks at."""
    with closing(sqlite3.connect(made)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'writes_by_portfolio'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    whole = bytearray(made.read_bytes())
    whole[(root - 1) * size + 12 : root * size] = bytes(size - 12)
    made.write_bytes(whole)


def test_damage_is_found_before_anything_is_written(made: Path) -> None:
    """A page that was overwritten stops the opening for writing, with what SQLite found."""
    with closing(sqlite3.connect(made)) as connection, connection:
        connection.execute(A_RUN)
        connection.executemany(
            "INSERT INTO writes VALUES (?, 1, 'u', ?, 'pause', '{}', 0, 'seen', '', 0, 'a', 0, NULL)",
            [(number, f"p{number}") for number in range(500)],
        )
    break_index(made)
    summary, detail = refusal(lambda: writable_connection(made))
    assert summary.startswith(f"the journal {made} can't be used: it is damaged: ")
    assert detail == WAY_OUT


OLD = """
    PRAGMA application_id = 0x676C7263;
    PRAGMA user_version = 2;
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY, base_url TEXT NOT NULL, fingerprint TEXT NOT NULL, tool TEXT NOT NULL,
        process TEXT NOT NULL, started_ms INTEGER NOT NULL, finished_ms INTEGER, exit_reason TEXT, approved TEXT,
        account TEXT
    ) STRICT;
    CREATE TABLE writes (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id), base_url TEXT NOT NULL,
        portfolio TEXT NOT NULL, call TEXT NOT NULL, wanted TEXT NOT NULL, intent_ms INTEGER NOT NULL,
        outcome TEXT, detail TEXT, outcome_ms INTEGER, token TEXT NOT NULL, step INTEGER NOT NULL, account TEXT
    ) STRICT;
    CREATE INDEX writes_by_portfolio ON writes (base_url, portfolio, id);
    CREATE INDEX writes_by_token ON writes (token);
    CREATE INDEX writes_left_open ON writes (base_url, portfolio, id) WHERE outcome IS NULL OR outcome = 'unknown';
    CREATE INDEX writes_that_rebalance ON writes (base_url, intent_ms) WHERE call = 'rebalance';
    CREATE TABLE confirmed (
        base_url TEXT NOT NULL, portfolio TEXT NOT NULL, state TEXT NOT NULL, interval_ms INTEGER, offset_ms INTEGER,
        schedule_id TEXT, confirmed_ms INTEGER NOT NULL, marked INTEGER NOT NULL, last_write INTEGER NOT NULL,
        pause_reason TEXT, account TEXT, imported TEXT, PRIMARY KEY (base_url, portfolio)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO runs VALUES (4, 'u', 'f', 't', 'p', 1, 2, 'ok', 'g', 'acme');
    INSERT INTO writes VALUES
        (7, 4, 'u', 'aaa', 'pause', '{"interval_ms": null, "offset_ms": null}', 3, 'confirmed', 'd', 4,
         '7f', 0, 'acme'),
        (9, 4, 'u', 'bbb', 'rebalance', '{"interval_ms": null, "offset_ms": null}', 5, NULL, NULL, NULL, '9f', 0, NULL);
    INSERT INTO confirmed VALUES ('u', 'aaa', 'paused', 12, 0, 's', 6, 1, 7, 'r', 'acme', NULL);
"""
"""A journal as version 2 left it."""
TO_3 = """
    PRAGMA user_version = 3;
    ALTER TABLE runs ADD COLUMN who TEXT;
    ALTER TABLE runs ADD COLUMN "commit" TEXT;
    ALTER TABLE runs ADD COLUMN pull_request TEXT;
    ALTER TABLE runs ADD COLUMN ci_run TEXT;
    CREATE TABLE results (
        base_url TEXT NOT NULL, portfolio TEXT NOT NULL, rebalance TEXT NOT NULL, begun_ms INTEGER NOT NULL,
        read_ms INTEGER NOT NULL, over INTEGER NOT NULL, result TEXT NOT NULL, account TEXT,
        PRIMARY KEY (base_url, portfolio, rebalance)
    ) STRICT, WITHOUT ROWID;
"""
"""What version 3 made of it."""


@pytest.fixture(params=[2, 3])
def old(place: Path, request: pytest.FixtureRequest) -> Path:
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript(OLD + (TO_3 if request.param == 3 else ""))
    return place


TABLES = ("runs", "writes", "confirmed", "results", "halts")


def content(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


NO_SCHEDULE = '{"interval_ms": null, "offset_ms": null}'
UPGRADED = {
    "runs": [(4, "u", "f", "t", "p", 1, 2, "ok", "g", "acme", None, None, None, None)],
    "writes": [
        (7, 4, "u", "aaa", "pause", NO_SCHEDULE, 3, "confirmed", "d", 4, "7f", 0, "acme"),
        (9, 4, "u", "bbb", "rebalance", NO_SCHEDULE, 5, None, None, None, "9f", 0, None),
    ],
    "confirmed": [("u", "aaa", "paused", 12, 0, "s", 6, 1, 7, "r", "acme", None)],
    "results": [],
    "halts": [],
}


def columns_and_indices(connection: sqlite3.Connection) -> list[object]:
    columns = [connection.execute(f"SELECT * FROM pragma_table_xinfo('{table}')").fetchall() for table in TABLES]
    return [
        columns,
        connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY 1").fetchall(),
    ]


def test_an_old_journal_is_upgraded(old: Path) -> None:
    """Whoever opens it to write makes it a present one, in the present kind of file, with all that was in it."""
    with closing(writable_connection(old)) as connection:
        assert (pragma(connection, "user_version"), pragma(connection, "journal_mode")) == (SCHEMA_VERSION, "truncate")
        assert content(connection) == UPGRADED
        assert not connection.in_transaction
        with closing(writable_connection(old.with_name("new.db"))) as new:
            assert columns_and_indices(connection) == columns_and_indices(new)
    with closing(writable_connection(old)) as connection:
        assert content(connection) == UPGRADED


def test_an_old_journal_is_read_without_being_written(old: Path) -> None:
    """Whoever only reads sees the same, and the file stays as it was."""
    before = old.read_bytes()
    connection = open_to_read(old)
    assert connection is not None
    with closing(connection):
        assert (pragma(connection, "user_version"), content(connection)) == (SCHEMA_VERSION, UPGRADED)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute(A_RUN)
    assert old.read_bytes() == before


@OPENINGS
def test_an_upgrade_that_fails(old: Path, opening: Callable[[Path], object]) -> None:
    """It changes nothing of what is in the file."""
    edit(old, "CREATE TABLE halts (id)")
    with closing(sqlite3.connect(old)) as connection:
        before = pragma(connection, "user_version"), connection.execute("SELECT * FROM runs").fetchall()
    assert refusal(lambda: opening(old)) == (f"the journal {old} can't be used: table halts already exists", WAY_OUT)
    with closing(sqlite3.connect(old)) as connection:
        assert (pragma(connection, "user_version"), connection.execute("SELECT * FROM runs").fetchall()) == before


@OPENINGS
def test_an_old_journal_that_is_damaged(old: Path, opening: Callable[[Path], object]) -> None:
    """It is not upgraded: what its damaged pages hold would be copied or lost."""
    break_index(old)
    assert refusal(lambda: opening(old))[0].startswith(f"the journal {old} can't be used: it is damaged: ")


def cut_off(made: Path, place: Path) -> None:
    """Put at ``place`` what a process leaves that is killed inside a commit: a half-written file and its journal."""
    place.parent.mkdir()
    with closing(writable_connection(made)) as connection:
        connection.execute(A_RUN)
        connection.commit()
        connection.execute("PRAGMA cache_size = 2")  # so that pages reach the file before the end
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            f"{INTO_RUNS} VALUES (?, 'u', ?, 't', 'p', 0, 0, 'ok')",
            [(number, "f" * 500) for number in range(2, 60)],
        )
        for end in ("", "-journal"):
            shutil.copyfile(f"{made}{end}", f"{place}{end}")
        connection.rollback()


def test_a_kill_inside_a_commit(made: Path) -> None:
    """The next one that opens it to write rolls it back; whoever only reads can't, and says how it goes on."""
    place = made.parent / "copy" / "journal.db"
    cut_off(made, place)
    before = place.read_bytes()
    summary, detail = refusal(lambda: open_to_read(place))
    assert summary == f"the journal {place} was cut off during a write, and a command that only reads can't undo that"
    assert detail == (
        "The next apply undoes it, with the help of the file of that name with -journal at its end. Keep the folder "
        "whole: a copy of the journal needs both files."
    )
    assert place.read_bytes() == before
    with closing(writable_connection(place)) as connection:
        assert connection.execute("SELECT id FROM runs").fetchall() == [(1,)]
    reader = open_to_read(place)
    assert reader is not None
    with closing(reader):
        assert reader.execute("SELECT id FROM runs").fetchall() == [(1,)]


def test_links_lead_to_one_lock(place: Path) -> None:
    """A linked file, a linked folder and a way around are names of one journal: the second name is refused."""
    real = place.parent / "real"
    (real / "sub").mkdir(parents=True)
    linked_file, linked_folder = place.parent / "link.db", place.parent / "linked"
    linked_file.symlink_to(real / "journal.db")
    linked_folder.symlink_to(real, target_is_directory=True)
    names = (real / "journal.db", linked_file, linked_folder / "journal.db", real / "sub" / ".." / "journal.db")
    for first in names:
        with closing(lock(first, "pid 7")), closing(writable_connection(first)):
            for second in names:
                with pytest.raises(JournalBusy) as caught:
                    lock(second, "pid 8")
                assert caught.value.summary == f"another apply is at work with the journal {second}: pid 7"
    assert sorted(path.name for path in real.iterdir()) == [
        "journal.db",
        "journal.db-journal",
        "journal.db.lock",
        "sub",
    ]
    assert sorted(path.name for path in place.parent.iterdir()) == ["link.db", "linked", "real"]
    for name in names:
        reader = open_to_read(name)
        assert reader is not None
        reader.close()


def test_a_link_to_nothing(place: Path) -> None:
    """It holds nothing yet; whoever writes makes the file that it leads to."""
    place.symlink_to(place.parent / "deep" / "journal.db")
    assert open_to_read(place) is None
    with closing(lock(place, "p")):
        writable_connection(place).close()
    assert (place.parent / "deep" / "journal.db").is_file()
    assert place.is_symlink()


@pytest.mark.parametrize("using", [writable_connection, open_to_read, lambda path: lock(path, "p")])
def test_a_link_in_a_circle(place: Path, using: Callable[[Path], object]) -> None:
    """A link that leads to itself is told as such, not as a journal that is missing."""
    place.symlink_to(place)
    summary, detail = refusal(lambda: using(place))
    assert summary.startswith(f"the journal {place}")
    assert " can't be used: " in summary
    assert detail == WAY_OUT


def test_a_second_name(made: Path) -> None:
    """A journal with two names is not written to, under neither; reading it is no harm."""
    other = made.parent / "other.db"
    other.hardlink_to(made)
    for name in (made, other):
        assert refusal(partial(writable_connection, name)) == (
            f"the journal {name} has a second name (a hard link), so another apply could write to it at the same time",
            "Remove the other name, or replace it with a symbolic link. Both names of a link share one lock.",
        )
        reader = open_to_read(name)
        assert reader is not None
        reader.close()
    other.unlink()
    writable_connection(made).close()


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
