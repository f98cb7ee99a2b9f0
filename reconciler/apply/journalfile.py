"""The journal's file: its tables, how it is opened, checked and upgraded, and the lock that lets one apply in.

In: a path. Out: an SQLite connection to tables of the present version, or a :class:`JournalError` that says what is
wrong with the file. What the rows mean is :mod:`reconciler.apply.journalrows`'.

After the process died between two writes the one file is whole. Where it died inside one, what undoes that write lies
beside the file as ``….db-journal``: the next opening to write rolls it back, one to read can't, and says so.
"""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Final

from reconciler.core.errors import JournalBusy, JournalError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION: Final = 2
_WITHOUT_TOKENS: Final = 1
"""The version whose writes had no token; it is upgraded."""
_APPLICATION_ID: Final = 0x676C7263  # "glrc": tells a journal from any other SQLite file
_BUSY_SECONDS: Final = 10.0
_WITH_A_LOG: Final = b"\x02\x02"
"""What stands in a database file's header, from its byte 18, where it has a write-ahead log."""

_WRITES: Final = """
    CREATE TABLE writes (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id), base_url TEXT NOT NULL,
        portfolio TEXT NOT NULL, call TEXT NOT NULL, wanted TEXT NOT NULL, intent_ms INTEGER NOT NULL,
        outcome TEXT, detail TEXT, outcome_ms INTEGER, token TEXT NOT NULL, step INTEGER NOT NULL, account TEXT
    ) STRICT;
    CREATE INDEX writes_by_portfolio ON writes (base_url, portfolio, id);
    CREATE INDEX writes_by_token ON writes (token);
    CREATE INDEX writes_left_open ON writes (base_url, portfolio, id) WHERE outcome IS NULL OR outcome = 'unknown';
    CREATE INDEX writes_that_rebalance ON writes (base_url, intent_ms) WHERE call = 'rebalance';
"""
_SCHEMA: Final = f"""
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY, base_url TEXT NOT NULL, fingerprint TEXT NOT NULL, tool TEXT NOT NULL,
        process TEXT NOT NULL, started_ms INTEGER NOT NULL, finished_ms INTEGER, exit_reason TEXT, approved TEXT,
        account TEXT
    ) STRICT;
    {_WRITES}
    CREATE TABLE confirmed (
        base_url TEXT NOT NULL, portfolio TEXT NOT NULL, state TEXT NOT NULL, interval_ms INTEGER, offset_ms INTEGER,
        schedule_id TEXT, confirmed_ms INTEGER NOT NULL, marked INTEGER NOT NULL, last_write INTEGER NOT NULL,
        pause_reason TEXT, account TEXT, imported TEXT, PRIMARY KEY (base_url, portfolio)
    ) STRICT, WITHOUT ROWID;
"""
_BEFORE_UPGRADE: Final = f"""
    PRAGMA user_version = {SCHEMA_VERSION};
    ALTER TABLE runs ADD COLUMN approved TEXT;
    ALTER TABLE runs ADD COLUMN account TEXT;
    ALTER TABLE confirmed ADD COLUMN pause_reason TEXT;
    ALTER TABLE confirmed ADD COLUMN account TEXT;
    ALTER TABLE confirmed ADD COLUMN imported TEXT;
    DROP INDEX writes_by_portfolio;
    ALTER TABLE writes RENAME TO writes_without_tokens;
"""
_AFTER_UPGRADE: Final = """
    INSERT INTO writes
        SELECT id, run, base_url, portfolio, call, wanted, intent_ms, outcome, detail, outcome_ms, 'old' || id, 0, NULL
        FROM writes_without_tokens;
    DROP TABLE writes_without_tokens;
"""


def open_to_write(path: Path) -> sqlite3.Connection:
    """Return a connection to a journal that can be written to; an empty file becomes a new one.

    One of an older version is upgraded. The whole file is checked, so that damage is found before anything is written
    to the service. A file with a second name (a hard link) is refused: lock and rollback journal go by the name.
    """
    try:
        real = _real(path)
        if real.is_file() and real.stat().st_nlink > 1:
            raise _of_two_names(path)
        connection = sqlite3.connect(real, timeout=_BUSY_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise broken(path, error) from error
    try:
        new = _is_new(connection, real)
        if not new:
            _require_journal(connection, path)
            require_sound(connection, path)
        # One file that is whole by itself between two writes. FULL makes an intent survive a power cut: SQLite then
        # waits for the disk also after it has emptied the rollback journal.
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        if new:
            _execute_all(connection, _SCHEMA)
        else:
            _upgrade(connection)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise broken(path, error) from error
    except JournalError:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """Return a connection that can't write, or ``None`` where there is no journal yet: no file, or an empty one.

    Of a journal of an older version it shows an upgraded copy in memory. Raises :class:`JournalError` for a file that
    is damaged or something else: reading it as empty would turn what is known into unverified, and then into writes.
    """
    try:
        real = _real(path)
        if not real.exists():
            return None
        connection = _connect_to_read(real)
    except (OSError, sqlite3.Error) as error:
        raise broken(path, error) from error
    try:
        # What an apply leaves that died before it had made the tables.
        if _is_new(connection, real):
            connection.close()
            return None
        if _require_journal(connection, path) != SCHEMA_VERSION:
            require_sound(connection, path)
            connection = _upgraded_copy(connection)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise broken(path, error) from error
    except JournalError:
        connection.close()
        raise
    return connection


def _connect_to_read(real: Path) -> sqlite3.Connection:
    """Return a connection that can't write, and needs no permission to. Raises ``OSError`` and ``sqlite3.Error``."""
    uri = f"{real.as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        connection.close()
        with real.open("rb") as file:
            log = file.read(20)[18:] == _WITH_A_LOG
        if not log or real.with_name(real.name + "-wal").exists():
            raise
        # A journal of version 1 in a folder that can't be written: SQLite would make its write-ahead log there before
        # it reads. Without one the file is whole, and nobody can begin one here.
        return sqlite3.connect(f"{uri}&immutable=1", uri=True, timeout=_BUSY_SECONDS)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def require_sound(connection: sqlite3.Connection, path: Path) -> None:
    """Check the whole file. Raises :class:`JournalError` with what SQLite found; ``sqlite3.Error`` where it can't."""
    damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise broken(path, sqlite3.DatabaseError(f"it is damaged: {damage}"))


def _real(path: Path) -> Path:
    """Return the one name that every spelling of a path and every symbolic link leads to.

    Raises ``OSError``, also where something has the name that is no file: SQLite takes a device for an empty database,
    and may wait at a FIFO.
    """
    try:
        real = path.resolve()
    except RuntimeError as error:  # what Python before 3.13 says of links that lead in a circle
        raise OSError(str(error)) from error
    _require_file(real)
    return real


def _require_file(real: Path) -> None:
    """Raise ``OSError`` for anything but a regular file or nothing at all; a link is not followed."""
    try:
        mode = real.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError("it is a link" if stat.S_ISLNK(mode) else "it is a device, a FIFO or a socket, not a file")


def _is_new(connection: sqlite3.Connection, real: Path) -> bool:
    """Whether nothing was ever made in the file, not even a page that says whose it is."""
    return connection.execute("PRAGMA schema_version").fetchone()[0] == 0 and real.stat().st_size == 0


def _upgraded_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory with the present tables, which can't be written to, and close the connection."""
    copy = sqlite3.connect(":memory:")
    try:
        with closing(connection):
            connection.backup(copy)
        _upgrade(copy)
        copy.execute("PRAGMA query_only = ON")
    except BaseException:
        copy.close()
        raise
    return copy


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring tables of the version before this one up to date, all or nothing."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == _WITHOUT_TOKENS:
        _execute_all(connection, _BEFORE_UPGRADE + _WRITES + _AFTER_UPGRADE)


def _execute_all(connection: sqlite3.Connection, statements: str) -> None:
    """Execute statements as one transaction."""
    with connection:  # which rolls back where one fails
        connection.executescript(f"BEGIN IMMEDIATE; {statements}")


def lock(path: Path, process: str) -> sqlite3.Connection:
    """Return a connection that holds a lock beside the journal until it is closed, or its process is gone.

    SQLite's own file lock, on a file of its own: it works on every system, and dies with the process that holds it.
    It lies beside the file that every link leads to, so that all names of one journal share it. Writers exclude each
    other, but readers may look, so the file tells whoever finds it locked who holds it. Raises :class:`JournalBusy` at
    once when another process does.
    """
    try:
        real = _real(path)
    except OSError as error:
        raise broken(path, error) from error
    beside = real.with_name(real.name + ".lock")
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        _require_file(beside)
        connection = sqlite3.connect(beside, timeout=0, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise broken(beside, error) from error
    try:
        connection.execute("PRAGMA synchronous = OFF")  # nobody needs to know after a power cut who it was
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE IF NOT EXISTS holder (id INTEGER PRIMARY KEY, process TEXT NOT NULL)")
        connection.execute("INSERT OR REPLACE INTO holder VALUES (1, ?)", (process,))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        failure = _busy(path, _holder(connection)) if busy else broken(beside, error)
        connection.close()
        raise failure from error
    return connection


def _holder(connection: sqlite3.Connection) -> str:
    """Return who took the lock last, which is who holds it; empty in the moment when it is being written."""
    try:
        with closing(connection.execute("SELECT process FROM holder")) as cursor:
            row = cursor.fetchone()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""


def _busy(path: Path, holder: str) -> JournalBusy:
    return JournalBusy(
        f"another apply is at work with the journal {path}{f': {holder}' if holder else ''}",
        "Wait for it to end, or give --lock-timeout more time. Two applies must not share a journal.",
    )


def _require_journal(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the journal, the present one or one that can be upgraded to it."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION_ID:
        raise JournalError(f"{path} is not a journal", "Name another file with --journal; this one is left alone.")
    if version not in (_WITHOUT_TOKENS, SCHEMA_VERSION):
        raise JournalError(
            f"{path} has journal version {version}, this program knows {SCHEMA_VERSION}",
            "Use the version that wrote it, or move the file away and start a new one.",
        )
    return version


def _of_two_names(path: Path) -> JournalError:
    return JournalError(
        f"the journal {path} has a second name (a hard link), so another apply could write to it at the same time",
        "Remove the other name, or replace it with a symbolic link. Both names of a link share one lock.",
    )


def broken(path: Path, error: Exception) -> JournalError:
    """Return the error of a journal that can't be used, with the way out."""
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return JournalError(
            f"the journal {path} was cut off inside a write, and whoever only reads can't undo that",
            "The next apply rolls it back, by the file of that name with -journal beside it. Keep the folder whole: "
            "a copy of the journal needs both files.",
        )
    return JournalError(
        f"the journal {path} can't be used: {error}",
        "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else.",
    )
