"""The journal's file: its tables, how it is opened and checked, and the lock that lets one apply at a time use it.

In: a path. Out: an SQLite connection, or a :class:`JournalError` that says what is wrong with the file. What the rows
mean is :mod:`reconciler.apply.journalrows`'.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from reconciler.core.errors import JournalBusy, JournalError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x676C7263  # "glrc": tells a journal from any other SQLite file
_BUSY_SECONDS: Final = 10.0

_SCHEMA: Final = f"""
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY, base_url TEXT NOT NULL, fingerprint TEXT NOT NULL, tool TEXT NOT NULL,
        process TEXT NOT NULL, started_ms INTEGER NOT NULL, finished_ms INTEGER, exit_reason TEXT
    ) STRICT;
    CREATE TABLE writes (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id), base_url TEXT NOT NULL,
        portfolio TEXT NOT NULL, call TEXT NOT NULL, wanted TEXT NOT NULL, intent_ms INTEGER NOT NULL,
        outcome TEXT, detail TEXT, outcome_ms INTEGER
    ) STRICT;
    CREATE INDEX writes_by_portfolio ON writes (base_url, portfolio, id);
    CREATE TABLE confirmed (
        base_url TEXT NOT NULL, portfolio TEXT NOT NULL, state TEXT NOT NULL, interval_ms INTEGER, offset_ms INTEGER,
        schedule_id TEXT, confirmed_ms INTEGER NOT NULL, marked INTEGER NOT NULL, last_write INTEGER NOT NULL,
        PRIMARY KEY (base_url, portfolio)
    ) STRICT, WITHOUT ROWID;
"""


def open_to_write(path: Path) -> sqlite3.Connection:
    """Return a connection to a journal that can be written to; an empty file becomes a new one.

    The whole file is checked, so that damage is found before anything is written to the service.
    """
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    except sqlite3.Error as error:
        raise broken(path, error) from error
    try:
        if connection.execute("PRAGMA schema_version").fetchone()[0] == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        _require_journal(connection, path)
        # The write-ahead log lets a plan read while an apply writes; FULL makes an intent survive a power cut.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise broken(path, sqlite3.DatabaseError(f"it is damaged: {damage}"))
    except sqlite3.Error as error:
        connection.close()
        raise broken(path, error) from error
    except JournalError:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """Return a connection that can't write, or ``None`` where there is no journal yet: no file, or an empty one.

    Raises :class:`JournalError` for a file that is damaged or something else: reading it as empty would turn what is
    known into unverified, and then into writes.
    """
    try:
        if not path.exists():
            return None
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise broken(path, error) from error
    try:
        # What an apply leaves that died before it had made the tables.
        if connection.execute("PRAGMA schema_version").fetchone()[0] == 0 and path.stat().st_size == 0:
            connection.close()
            return None
        _require_journal(connection, path)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise broken(path, error) from error
    except JournalError:
        connection.close()
        raise
    return connection


def lock(path: Path, process: str) -> sqlite3.Connection:
    """Return a connection that holds a lock beside the journal until it is closed, or its process is gone.

    SQLite's own file lock, on a file of its own: it works on every system, and dies with the process that holds it.
    Writers exclude each other, but readers may look, so the file tells whoever finds it locked who holds it. Raises
    :class:`JournalBusy` at once when another process does.
    """
    if path.is_dir() or not path.name:
        raise broken(path, IsADirectoryError("it is a folder"))
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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


def _require_journal(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION_ID:
        raise JournalError(f"{path} is not a journal", "Name another file with --journal; this one is left alone.")
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"{path} has journal version {version}, this program knows {SCHEMA_VERSION}",
            "Use the version that wrote it, or move the file away and start a new one.",
        )


def broken(path: Path, error: Exception) -> JournalError:
    """Return the error of a journal that can't be used, with the way out."""
    return JournalError(
        f"the journal {path} can't be used: {error}",
        "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else.",
    )
