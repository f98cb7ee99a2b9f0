"""A journal in one SQLite file: how it is opened, checked and upgraded, its lock, and the driver of its tables.

In: a path. Out: the open tables of the present version, or a :class:`JournalError` that says what is wrong with the
file.

If the process dies between two commits, the file is complete by itself. If it dies inside one, SQLite's rollback file
``….db-journal`` beside it holds what undoes that commit: the next writer applies it. A reader can't, and says so.
"""

from __future__ import annotations

import sqlite3
import stat
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from reconciler.apply.journaltables import ALL_TABLES, HALTS_TABLE, RESULTS_TABLE, SCHEMA_VERSION, busy, meant
from reconciler.core.errors import JournalBusy, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reconciler.apply.journaltables import JournalRow, Question

_WITHOUT_ORIGINS: Final = 2
"""Version 2, whose runs had no origin, and which kept no results. Such a file is upgraded when it is opened."""
_WITHOUT_HALTS: Final = 3
"""Version 3, which kept no halts. Such a file is upgraded, too."""
_APPLICATION_ID: Final = 0x676C7263  # "glrc": tells a journal from any other SQLite file
_BUSY_SECONDS: Final = 10.0  # how long SQLite waits for another process that reads or commits

_SCHEMA: Final = f"""
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
    {ALL_TABLES}
"""
_FROM_2: Final = f"""
    PRAGMA user_version = {SCHEMA_VERSION};
    ALTER TABLE runs ADD COLUMN who TEXT;
    ALTER TABLE runs ADD COLUMN "commit" TEXT;
    ALTER TABLE runs ADD COLUMN pull_request TEXT;
    ALTER TABLE runs ADD COLUMN ci_run TEXT;
    {RESULTS_TABLE}
    {HALTS_TABLE}
"""
_FROM_3: Final = f"PRAGMA user_version = {SCHEMA_VERSION}; {HALTS_TABLE}"
_TO_PRESENT: Final = {0: _SCHEMA, _WITHOUT_ORIGINS: _FROM_2, _WITHOUT_HALTS: _FROM_3}
"""What makes the present tables, by the version that a file has; an empty one has 0."""


class FileTables:
    """The tables in a file: a :class:`~reconciler.apply.journaltables.Tables`.

    ``locked`` holds the journal's lock as long as it is open. If this connection ``writes``, no other one can write
    during a transaction of it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        locked: sqlite3.Connection | None = None,
        writes: bool = False,
    ) -> None:
        self._connection, self._path, self._locked = connection, path, locked
        self._begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    def ask(self, *questions: Question) -> list[Iterator[JournalRow]]:
        """Answer questions: see :class:`~reconciler.apply.journaltables.Tables`."""
        with self.together():
            return [self._answer(one) for one in questions]

    def _answer(self, question: Question) -> Iterator[JournalRow]:
        with closing(self._connection.execute(question.text, question.values)) as cursor:
            columns = tuple(column[0] for column in cursor.description)
            rows = cursor.fetchall()
        return meant(self._broken, columns, rows)

    def write(self, statement: str, rows: Sequence[JournalRow]) -> Callable[[], int]:
        """Execute a statement: see :class:`~reconciler.apply.journaltables.Tables`."""
        number = 0
        with self.together():
            for row in rows:
                with closing(self._connection.execute(statement, row)) as cursor:
                    number = (cursor.fetchone() or (0,))[0]
        return lambda: number

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one transaction: see :class:`~reconciler.apply.journaltables.Tables`."""
        with using(self._path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute(self._begin)
            try:
                yield
                # Not commit(), which says nothing if SQLite has undone everything by itself, for example on a full
                # disk.
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def is_locked(self) -> bool:
        """Whether another process has the lock: see :class:`~reconciler.apply.journaltables.Tables`."""
        try:
            lock(self._path, "").close()
        except JournalBusy:
            return True
        return False

    def require_sound(self) -> None:
        """Check the whole file. Raises :class:`JournalError` with what SQLite found."""
        with using(self._path):
            _require_sound(self._connection, self._path)

    def hang_up(self) -> None:
        """Do nothing: a file does not keep us waiting for another program's answer."""

    def close(self) -> None:
        """Close the file, and then give up the lock."""
        self._connection.close()
        if self._locked is not None:
            self._locked.close()

    def _broken(self, error: Exception) -> JournalError:
        return broken(self._path, error)


def file_to_write(path: Path, process: str, *, beside: bool = False) -> FileTables:
    """Open a journal for writing, making file and folder where missing, and keep every other writer out.

    With ``beside``, nobody is kept out. Raises :class:`JournalError`.
    """
    with ExitStack() as undo:
        locked = None if beside else undo.enter_context(closing(lock(path, process)))
        connection = undo.enter_context(closing(writable_connection(path)))
        undo.pop_all()
    return FileTables(connection, path, locked=locked, writes=True)


def file_to_read(path: Path) -> FileTables | None:
    """Open a journal as :func:`open_to_read` does."""
    connection = open_to_read(path)
    return None if connection is None else FileTables(connection, path)


def writable_connection(path: Path) -> sqlite3.Connection:
    """Return a connection to a journal that can be written to; an empty file becomes a new one.

    One of an older version is upgraded. The whole file is checked, so that damage is found before anything is written
    to the service. A file with a second name (a hard link) is refused: lock and rollback journal go by the name.
    """
    with using(path), ExitStack() as undo:
        real = _real(path)
        if real.is_file() and real.stat().st_nlink > 1:
            raise JournalError(
                f"the journal {path} has a second name (a hard link), so another apply could write to it at the same "
                "time",
                "Remove the other name, or replace it with a symbolic link. Both names of a link share one lock.",
            )
        # The connection may be handed to another thread, but only one thread uses it at a time.
        connection = undo.enter_context(closing(sqlite3.connect(real, timeout=_BUSY_SECONDS, check_same_thread=False)))
        if not _is_new(connection, real):
            _require_journal(connection, path)
            _require_sound(connection, path)
        # TRUNCATE and no write-ahead log, so that the one file is complete between two commits and can be copied. FULL
        # makes an intent survive a power cut: SQLite then waits for the disk after emptying the rollback journal too.
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        _make_present(connection)
        undo.pop_all()
    return connection


def open_to_read(path: Path) -> sqlite3.Connection | None:
    """Return a connection that can't write, or ``None`` where there is no journal yet: no file, or an empty one.

    For a journal of an older version it is a connection to an upgraded copy in memory. Raises :class:`JournalError` for
    a file that is damaged or something else: if it were read as empty, what is known would become unverified, and be
    written again.
    """
    with using(path), ExitStack() as undo:
        real = _real(path)
        if not real.exists():
            return None
        connection = undo.enter_context(closing(_connect_to_read(real)))
        if _is_new(connection, real):  # an apply that died before it made the tables leaves such a file
            return None
        if _require_journal(connection, path) != SCHEMA_VERSION:
            _require_sound(connection, path)
            return _upgraded_copy(connection)
        undo.pop_all()
    return connection


def _connect_to_read(real: Path) -> sqlite3.Connection:
    """Return a connection that only reads, and needs no permission to write. Raises ``OSError``, ``sqlite3.Error``."""
    connection = sqlite3.connect(f"{real.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    """Check the whole file. Raises :class:`JournalError` with what SQLite found; ``sqlite3.Error`` where it can't."""
    damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise broken(path, sqlite3.DatabaseError(f"it is damaged: {damage}"))


def _real(path: Path) -> Path:
    """Return the one name that every spelling of a path and every symbolic link leads to.

    Raises ``OSError``, also if the name is not that of a regular file: SQLite would take a device for an empty
    database, and might wait at a FIFO.
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
    """Whether the file is still empty: not even the first page was ever written."""
    return connection.execute("PRAGMA schema_version").fetchone()[0] == 0 and real.stat().st_size == 0


def _require_journal(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the journal, the present one or one that can be upgraded to it."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION_ID:
        raise JournalError(f"{path} is not a journal", "Name another file with --journal; this one is left alone.")
    if version not in (_WITHOUT_ORIGINS, _WITHOUT_HALTS, SCHEMA_VERSION):
        raise JournalError(
            f"{path} has journal version {version}, this program knows {_WITHOUT_ORIGINS} to {SCHEMA_VERSION}",
            "Use the version that wrote it, or move the file away and start a new one.",
        )
    return version


def _upgraded_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory with the present tables, which can't be written to."""
    with ExitStack() as undo:
        copy = undo.enter_context(closing(sqlite3.connect(":memory:")))
        connection.backup(copy)
        _make_present(copy)
        copy.execute("PRAGMA query_only = ON")
        undo.pop_all()
    return copy


def _make_present(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file, or bring those of the version before this one up to date, all or nothing."""
    statements = _TO_PRESENT.get(connection.execute("PRAGMA user_version").fetchone()[0])
    if statements is not None:
        with connection:  # which rolls back where one fails
            connection.executescript(f"BEGIN IMMEDIATE; {statements}")


def lock(path: Path, process: str) -> sqlite3.Connection:
    """Return a connection that holds a lock beside the journal until it is closed, or its process is gone.

    It is SQLite's own file lock, on a separate file: it works on every system, and ends with the process that holds it.
    It lies beside the file that every link leads to, so that all names of one journal share it. Writers exclude each
    other, but readers don't, so a process that finds the lock taken can read in the file who holds it. Raises
    :class:`JournalBusy` at once if another process holds it.
    """
    with using(path):
        real = _real(path)
    beside = real.with_name(real.name + ".lock")
    with using(beside), ExitStack() as undo:
        real.parent.mkdir(parents=True, exist_ok=True)
        _require_file(beside)
        connection = undo.enter_context(closing(sqlite3.connect(beside, timeout=0, isolation_level=None)))
        try:
            connection.execute("PRAGMA synchronous = OFF")  # after a power cut nobody needs to know who held the lock
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS holder (id INTEGER PRIMARY KEY, process TEXT NOT NULL)")
            connection.execute("INSERT OR REPLACE INTO holder VALUES (1, ?)", (process,))
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            holders: list[str] = []
            with suppress(sqlite3.Error):  # the holder may be writing its name right now, and then it can't be read
                holders = [name for (name,) in connection.execute("SELECT process FROM holder")]
            raise busy(path, holders) from error
        undo.pop_all()
    return connection


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Raise :class:`JournalError` about this file for whatever SQLite or the system says inside."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise broken(path, error) from error


def broken(path: Path, error: Exception) -> JournalError:
    """Return the error of a journal that can't be used, with the way out."""
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return JournalError(
            f"the journal {path} was cut off during a write, and a command that only reads can't undo that",
            "The next apply undoes it, with the help of the file of that name with -journal at its end. Keep the "
            "folder whole: a copy of the journal needs both files.",
        )
    return JournalError(
        f"the journal {path} can't be used: {error}",
        "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else.",
    )
