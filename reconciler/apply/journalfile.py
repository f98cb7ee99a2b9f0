"""The journal's file: its tables and what their columns mean, how it is opened, checked and upgraded, and its lock.

In: a path. Out: an SQLite connection to tables of the present version, their rows, or a :class:`JournalError` that says
what is wrong with the file. Which questions are asked is :mod:`reconciler.apply.journal`'s.

If the process dies between two commits, the file is complete by itself. If it dies inside one, SQLite's rollback file
``….db-journal`` beside it holds what undoes that commit: the next writer applies it. A reader can't, and says so.
"""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from reconciler.core.codec import LATEST_MS, load
from reconciler.core.errors import JournalBusy, JournalError
from reconciler.core.halt import Halt
from reconciler.core.intent import Before, Call
from reconciler.core.model import ApiVersion, AtStart, Cadence, RunState, StrategyId, strategy_of
from reconciler.core.rebalance import Rebalance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.core.doctor import JournalFacts
    from reconciler.core.intent import Intent

SCHEMA_VERSION: Final = 4  # kept in SQLite's user_version
_WITHOUT_ORIGINS: Final = 2
"""Version 2, whose runs had no origin, and which kept no results. Such a file is upgraded when it is opened."""
_WITHOUT_HALTS: Final = 3
"""Version 3, which kept no halts. Such a file is upgraded, too."""
_APPLICATION_ID: Final = 0x676C7263  # "glrc": tells a journal from any other SQLite file
_BUSY_SECONDS: Final = 10.0  # how long SQLite waits for another process that reads or commits

_RESULTS: Final = """
    CREATE TABLE results (
        base_url TEXT NOT NULL, portfolio TEXT NOT NULL, rebalance TEXT NOT NULL, begun_ms INTEGER NOT NULL,
        read_ms INTEGER NOT NULL, over INTEGER NOT NULL, result TEXT NOT NULL, account TEXT,
        PRIMARY KEY (base_url, portfolio, rebalance)
    ) STRICT, WITHOUT ROWID;
"""
_HALTS: Final = """
    CREATE TABLE halts (
        id TEXT NOT NULL, base_url TEXT NOT NULL, account TEXT, halt TEXT NOT NULL, lifted_ms INTEGER,
        PRIMARY KEY (base_url, id)
    ) STRICT, WITHOUT ROWID;
"""
_SCHEMA: Final = f"""
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY, base_url TEXT NOT NULL, fingerprint TEXT NOT NULL, tool TEXT NOT NULL,
        process TEXT NOT NULL, started_ms INTEGER NOT NULL, finished_ms INTEGER, exit_reason TEXT, approved TEXT,
        account TEXT, who TEXT, "commit" TEXT, pull_request TEXT, ci_run TEXT
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
    {_RESULTS}
    {_HALTS}
"""
_FROM_2: Final = f"""
    PRAGMA user_version = {SCHEMA_VERSION};
    ALTER TABLE runs ADD COLUMN who TEXT;
    ALTER TABLE runs ADD COLUMN "commit" TEXT;
    ALTER TABLE runs ADD COLUMN pull_request TEXT;
    ALTER TABLE runs ADD COLUMN ci_run TEXT;
    {_RESULTS}
    {_HALTS}
"""
_FROM_3: Final = f"PRAGMA user_version = {SCHEMA_VERSION}; {_HALTS}"
_TO_PRESENT: Final = {0: _SCHEMA, _WITHOUT_ORIGINS: _FROM_2, _WITHOUT_HALTS: _FROM_3}
"""What makes the present tables, by the version that a file has; an empty one has 0."""

JournalRow = dict[str, Any]
"""A row by the names of its columns, each value parsed."""
_Milliseconds = Annotated[int, Meta(ge=0)]
_Time = Annotated[int, Meta(ge=0, le=LATEST_MS)]


class Wanted(AtStart, frozen=True, kw_only=True, omit_defaults=True):
    """The column ``wanted`` of a write: what of its intent has no column of its own. The reason that is sent stays out.

    It is saved as JSON. A field that is missing there is as usual, but for the schedule, which always stands there.
    Rows say ``run_now`` for ``run_on_start``: journals are never rewritten, and one that was misread would let a start
    whose answer was lost trade a second time.
    """

    interval_ms: _Milliseconds | None
    offset_ms: _Milliseconds | None
    api: ApiVersion = ApiVersion.V1
    cadence: Cadence | None = msgspec.field(default=None, name="schedule")
    run_on_start: bool = msgspec.field(default=False, name="run_now")
    skip_schedule_validation: bool = False
    halt: str | None = None
    before: Before = Before()

    @staticmethod
    def text_of(intent: Intent) -> str:
        """Return what a row is to hold."""
        document = msgspec.to_builtins(msgspec.convert(intent, Wanted, from_attributes=True))
        before = {name: value for name, value in document.pop("before", {}).items() if value is not None}
        return json.dumps({**document, "before": before} if before else document)


def _strategy(address: str) -> StrategyId:
    strategy = strategy_of(address)
    if strategy is None:
        raise ValueError(f"{address!r} is no strategy")
    return strategy


_PARSED: Final[Mapping[str, Callable[[Any], object]]] = {
    "wanted": json.loads,
    "cadence": lambda wanted: Cadence(json.loads(wanted)["schedule"]),
    "strategy": _strategy,
    "result": lambda text: load(json.loads(text), Rebalance),
    "made": lambda text: load(json.loads(text), Halt),
    **dict.fromkeys(("marked", "is_step", "took_effect"), bool),
}
_TYPES: Final[Mapping[str, Any]] = {
    "call": Call,
    "state": RunState,
    "api": ApiVersion | None,
    "wanted": Wanted,
    "cadence": Cadence | None,
    "strategy": str,
    **dict.fromkeys(("base_url", "fingerprint", "tool", "process", "portfolio", "address", "token", "detail"), str),
    **dict.fromkeys(("approved", "account", "exit_reason", "last_ended", "outcome"), str | None),
    **dict.fromkeys(("schedule_id", "pause_reason", "imported", "halt"), str | None),
    **dict.fromkeys(("who", "commit", "pull_request", "ci_run"), str | None),
    "result": Rebalance,
    "made": Halt,
    **dict.fromkeys(("started_ms", "confirmed_ms", "intent_ms", "at_ms", "read_ms"), _Time),
    **dict.fromkeys(("finished_ms", "outcome_ms", "last_started_ms", "lifted_ms"), _Time | None),
    **dict.fromkeys(("number", "run", "count", "records", "open_intents"), int),
    **dict.fromkeys(("last_run", "interval_ms", "offset_ms"), int | None),
    **dict.fromkeys(("marked", "is_step", "took_effect"), bool),
}
"""The type of a value and, above, how it is parsed, by the name that a question gives its column."""


@lru_cache
def _row_type(columns: tuple[str, ...]) -> type[Struct]:
    return msgspec.defstruct("JournalRow", [(name, _TYPES[name]) for name in columns])


def ask(path: Path, connection: sqlite3.Connection, question: str, **values: object) -> Iterator[JournalRow]:
    """Read all rows that a question finds, and return them one by one: what they mean is looked at only then.

    Raises :class:`JournalError`, for a word or number that no journal has while the rows are gone through: SQLite's own
    check can't see these.
    """
    with using(path), closing(connection.execute(question, values)) as cursor:
        columns = tuple(column[0] for column in cursor.description)
        rows = cursor.fetchall()
    return _meant(path, columns, rows)


def _meant(path: Path, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> Iterator[JournalRow]:
    kind, parsed = _row_type(columns), [(name, _PARSED[name]) for name in columns if name in _PARSED]
    for row in rows:
        found = dict(zip(columns, row, strict=True))
        try:
            for name, parse in parsed:
                found[name] = None if found[name] is None else parse(found[name])
            found = msgspec.structs.asdict(msgspec.convert(found, kind))
        except (ValueError, KeyError, TypeError) as error:
            raise broken(path, ValueError(f"it is damaged: {error}")) from error
        yield found


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
        # Whoever opens it may hand it to a thread, and uses it no more until that has ended.
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

    Of a journal of an older version it shows an upgraded copy in memory. Raises :class:`JournalError` for a file that
    is damaged or something else: reading it as empty would turn what is known into unverified, and then into writes.
    """
    with using(path), ExitStack() as undo:
        real = _real(path)
        if not real.exists():
            return None
        connection = undo.enter_context(closing(_connect_to_read(real)))
        if _is_new(connection, real):  # an apply that died before it had made the tables leaves this
            return None
        if _require_journal(connection, path) != SCHEMA_VERSION:
            _require_sound(connection, path)
            return _upgraded_copy(connection)
        undo.pop_all()
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a journal as :func:`open_to_read` does, and close it again."""
    connection = open_to_read(path)
    with using(path), ExitStack() as undo:
        if connection is not None:
            undo.enter_context(closing(connection))
        yield connection


def _connect_to_read(real: Path) -> sqlite3.Connection:
    """Return a connection that can't write, and needs no permission to. Raises ``OSError`` and ``sqlite3.Error``."""
    connection = sqlite3.connect(f"{real.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def read_facts(path: Path) -> JournalFacts | None:
    """Check a journal and count what is in it, of all services; ``None`` where there is none yet.

    Reads while an apply writes. Raises :class:`JournalError` for a file that is damaged or something else.
    """
    from reconciler.core.doctor import JournalFacts

    with reading(path) as connection:
        if connection is None:
            return None
        _require_sound(connection, path)
        (found,) = ask(
            path,
            connection,
            "SELECT (SELECT COUNT(*) FROM confirmed) AS records, (SELECT COUNT(*) FROM writes WHERE outcome IS NULL) AS"
            " open_intents, id AS last_run, started_ms AS last_started_ms, exit_reason AS last_ended"
            " FROM (SELECT 1) LEFT JOIN runs ON id = (SELECT MAX(id) FROM runs)",
        )
        return JournalFacts(version=SCHEMA_VERSION, **found)


def services_of(path: Path) -> tuple[tuple[str, str | None], ...]:
    """Return the services and accounts that a journal knows something of, sorted; none where there is no journal."""
    with reading(path) as connection:
        if connection is None:
            return ()
        services = "SELECT base_url, account FROM writes UNION SELECT base_url, account FROM confirmed ORDER BY 1, 2"
        return tuple(connection.execute(services).fetchall())


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
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

    SQLite's own file lock, on a file of its own: it works on every system, and dies with the process that holds it.
    It lies beside the file that every link leads to, so that all names of one journal share it. Writers exclude each
    other, but readers may look, so the file tells whoever finds it locked who holds it. Raises :class:`JournalBusy` at
    once when another process does.
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
            holder = ""
            with suppress(sqlite3.Error):  # the holder may be writing its name right now, which locks this read out
                holder = "".join(f": {name}" for (name,) in connection.execute("SELECT process FROM holder") if name)
            raise JournalBusy(
                f"another apply is at work with the journal {path}{holder}",
                "Wait for it to end, or give --lock-timeout more time. Two applies must not share a journal.",
            ) from error
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
            f"the journal {path} was cut off inside a write, and whoever only reads can't undo that",
            "The next apply rolls it back, by the file of that name with -journal beside it. Keep the folder whole: "
            "a copy of the journal needs both files.",
        )
    return JournalError(
        f"the journal {path} can't be used: {error}",
        "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing else.",
    )
