"""The journal: what we meant to write, what came of it, and what the service last confirmed. SQLite, one file.

In: intents, outcomes and confirmed records of one service. Out: the same, read back. Losing the file costs
knowledge (more fields are unverified), never correctness. Only this module knows its tables; nothing secret gets in.

A record is void once a later write to the same portfolio may have taken effect without being confirmed as a whole:
what the service held before says nothing of what it holds now.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Self

from reconciler.core.desired import PortfolioId, RunState
from reconciler.core.errors import JournalError
from reconciler.core.live import Record
from reconciler.core.report import Call, Intent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
_RECORDS: Final = """
    SELECT portfolio, state, interval_ms, offset_ms, schedule_id, confirmed_ms, marked FROM confirmed
    WHERE base_url = ? AND NOT EXISTS (
        SELECT 1 FROM writes WHERE writes.base_url = confirmed.base_url AND writes.portfolio = confirmed.portfolio
        AND writes.id > confirmed.last_write AND (outcome IS NULL OR outcome NOT IN ('failed', 'unseen'))
    )
"""
_Row = tuple[Any, ...]


class SqliteJournal:
    """The journal of one service (``base_url``) in one file; ``now_ms`` is the clock, in UTC epoch milliseconds."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        base_url: str,
        now_ms: Callable[[], int],
        process: str = "",
        lock: sqlite3.Connection | None = None,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._process = process
        self._path = path
        self._base_url = base_url
        self._now_ms = now_ms
        self._run: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def records(self) -> Mapping[PortfolioId, Record]:
        """Return the last confirmed state of every portfolio of this service, keyed and sorted by id."""
        rows = self._execute(f"{_RECORDS} ORDER BY portfolio", (self._base_url,))
        return {PortfolioId(row[0]): _record(row) for row in rows}

    def record(self, portfolio: PortfolioId) -> Record | None:
        """Return the last confirmed state of one portfolio."""
        rows = self._execute(f"{_RECORDS} AND portfolio = ?", (self._base_url, portfolio))
        return _record(rows[0]) if rows else None

    def unsettled(self) -> tuple[Intent, ...]:
        """Return the writes to this service that have an intent and no outcome, oldest first: a run died over them."""
        rows = self._execute(
            "SELECT id, portfolio, call, wanted, intent_ms FROM writes"
            " WHERE base_url = ? AND outcome IS NULL ORDER BY id",
            (self._base_url,),
        )
        return tuple(
            Intent(write=write, portfolio=PortfolioId(portfolio), call=Call(call), wanted=wanted, at_ms=at_ms)
            for write, portfolio, call, wanted, at_ms in rows
        )

    def open_run(self, *, fingerprint: str, tool: str) -> None:
        """Begin a run: every write belongs to one."""
        self._run = self._insert(
            "INSERT INTO runs (base_url, fingerprint, tool, process, started_ms) VALUES (?, ?, ?, ?, ?)",
            (self._base_url, fingerprint, tool, self._process, self._now_ms()),
        )

    def close_run(self, exit_reason: str) -> None:
        """Say how the run ended."""
        self._execute(
            "UPDATE runs SET finished_ms = ?, exit_reason = ? WHERE id = ?", (self._now_ms(), exit_reason, self._run)
        )

    def begin(self, portfolio: PortfolioId, call: str, wanted: str) -> int:
        """Commit the intent of a write before it is sent; return its number."""
        return self._insert(
            "INSERT INTO writes (run, base_url, portfolio, call, wanted, intent_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (self._run, self._base_url, portfolio, call, wanted, self._now_ms()),
        )

    def end(self, write: int, outcome: str, detail: str) -> None:
        """Commit the outcome of the write with this number."""
        self._execute(
            "UPDATE writes SET outcome = ?, detail = ?, outcome_ms = ? WHERE id = ?",
            (outcome, detail, self._now_ms(), write),
        )

    def confirm(self, portfolio: PortfolioId, record: Record) -> None:
        """Commit what the service confirmed."""
        self._execute(
            "INSERT OR REPLACE INTO confirmed VALUES"
            " (?, ?, ?, ?, ?, ?, ?, ?, (SELECT COALESCE(MAX(id), 0) FROM writes))",
            (
                self._base_url,
                portfolio,
                record.state.value,
                record.interval_ms,
                record.offset_ms,
                record.schedule_id,
                record.confirmed_ms,
                int(record.marked),
            ),
        )

    def _execute(self, statement: str, values: tuple[object, ...]) -> list[_Row]:
        try:
            with self._connection, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise _broken(self._path, error) from error

    def _insert(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            with self._connection, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.lastrowid or 0
        except sqlite3.Error as error:
            raise _broken(self._path, error) from error


def open_journal(
    path: Path, *, base_url: str, now_ms: Callable[[], int], process: str = "", wait_seconds: float = 0.0
) -> SqliteJournal:
    """Open the journal for writing, making file and folder where missing, and keep every other writer out.

    ``process`` names this one to those who wait. Raises :class:`JournalError`, also when another writer is still at it
    after ``wait_seconds``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(path, wait_seconds)
    except (OSError, sqlite3.Error) as error:
        raise _broken(path, error) from error
    try:
        connection = _open(path)
    except BaseException:
        lock.close()
        raise
    return SqliteJournal(connection, path=path, base_url=base_url, now_ms=now_ms, process=process, lock=lock)


def _open(path: Path) -> sqlite3.Connection:
    """Return a connection to a journal that can be written to."""
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    except sqlite3.Error as error:
        raise _broken(path, error) from error
    try:
        if connection.execute("PRAGMA schema_version").fetchone()[0] == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        _require_journal(connection, path)
        # The write-ahead log lets a plan read while an apply writes; FULL makes an intent survive a power cut.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise _broken(path, sqlite3.DatabaseError(f"it is damaged: {damage}"))
    except sqlite3.Error as error:
        connection.close()
        raise _broken(path, error) from error
    except JournalError:
        connection.close()
        raise
    return connection


def _lock(path: Path, wait_seconds: float) -> sqlite3.Connection:
    """Return a connection that holds a lock beside the journal until it is closed, or its process is gone.

    SQLite's own file lock, on a file of its own: it works on every system, and dies with the process that holds it.
    """
    connection = sqlite3.connect(path.with_name(path.name + ".lock"), timeout=wait_seconds, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise JournalError(
            f"another apply is at work with the journal {path}{_holder(path)}",
            "Wait for it to end, or give --lock-timeout more time. Two applies must not share a journal.",
        ) from error
    return connection


def _holder(path: Path) -> str:
    """Return who has an open run, as far as the journal tells."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(
                "SELECT process FROM runs WHERE finished_ms IS NULL ORDER BY id DESC LIMIT 1"
            ).fetchone()
    except sqlite3.Error:
        return ""
    return f": {row[0]}" if row and row[0] else ""


def read_records(path: Path, *, base_url: str) -> Mapping[PortfolioId, Record]:
    """Return what a journal file holds of one service without writing to it; a missing file holds nothing.

    Raises :class:`JournalError` for a file that is damaged or something else: reading it as empty would turn what is
    known into unverified, and then into writes.
    """
    if not path.exists():
        return {}
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise _broken(path, error) from error
    with closing(connection):
        try:
            _require_journal(connection, path)
        except sqlite3.Error as error:
            raise _broken(path, error) from error
        return SqliteJournal(connection, path=path, base_url=base_url, now_ms=lambda: 0).records()


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


def _record(row: _Row) -> Record:
    _, state, interval_ms, offset_ms, schedule_id, confirmed_ms, marked = row
    return Record(
        state=RunState(state),
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        schedule_id=schedule_id,
        confirmed_ms=confirmed_ms,
        marked=bool(marked),
    )


def _broken(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"the journal {path} can't be used: {error}",
        "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else.",
    )
