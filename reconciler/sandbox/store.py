"""The simulated Glider's memory: one SQLite file, or memory alone.

In: a seed, then changed portfolios. Out: portfolios as they were saved, and the one row of facts about the whole
(:class:`Facts`). Several processes may have the same file open: reads see each other's commits, writes queue up.
Knows nothing of HTTP and of what the changes mean. The only module of the simulator that imports sqlite3; whatever
SQLite complains about leaves here as :class:`~reconciler.core.errors.SandboxError`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from reconciler.core.codec import dump, load
from reconciler.core.errors import SandboxError
from reconciler.core.text import DAY_MS
from reconciler.sandbox import fleet
from reconciler.sandbox.fleet import Fleet
from reconciler.sandbox.plant import plant, plant_enrolled, plant_strategy
from reconciler.sandbox.rows import COLUMNS, portfolio_of, row_of
from reconciler.sandbox.seed import Seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.sandbox.model import Portfolio
    from reconciler.sandbox.settings import Settings

APPLICATION_ID: Final = 0x676C7362
"""Marks the file as ours ("glsb"), so that a load never replaces somebody else's database."""
SCHEMA_VERSION: Final = 2
"""Raised with every change of the tables; a file of another format is refused, for its seed is quickly loaded anew."""
LARGEST_OFFSET_MS: Final = 36_500 * DAY_MS
"""How far the clock may be moved ahead: 100 years; times must stay writable with four digits of year."""
BUSY_SECONDS: Final = 10.0

_HOW_TO_LOAD: Final = "Make a new one with `reconciler sandbox load SEED.yaml`."
_HOW_TO_RESET: Final = "Use `reconciler sandbox reset` to start over."

_TABLES: Final = {
    "sandbox": "only INTEGER PRIMARY KEY CHECK (only = 1), instance TEXT NOT NULL, clock_offset_ms INTEGER NOT NULL, "
    "settings TEXT NOT NULL, seed TEXT NOT NULL",
    "portfolios": "id TEXT PRIMARY KEY, name TEXT, chain TEXT, word TEXT, state TEXT NOT NULL, anchor_ms INTEGER, "
    "interval_ms INTEGER, offset_ms INTEGER, schedules INTEGER NOT NULL, pause_reason TEXT, paused_ms INTEGER, "
    "runs INTEGER NOT NULL, recent TEXT NOT NULL, settled_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, "
    "updated_ms INTEGER NOT NULL, courses TEXT NOT NULL",
    **fleet.TABLES,
}
_NAMES: Final = ", ".join(COLUMNS)
_SELECT: Final = f"SELECT {_NAMES} FROM portfolios WHERE id = ?"  # noqa: S608 - made of constants alone
_SAVE: Final = f"REPLACE INTO portfolios ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of the whole simulated service at this moment.

    ``instance`` is new after every load and reset: whoever remembers things about an earlier one must forget them.
    """

    instance: str
    clock_offset_ms: int
    settings: Settings


class Store:
    """One open sandbox. Made by :meth:`open` or :meth:`load`; every method may raise ``SandboxError``.

    One thread at a time may use it.
    """

    def __init__(self, database: _Database) -> None:
        self._database = database
        self.fleet = Fleet(database)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open an existing file; raises ``SandboxError`` for one that is missing, damaged or not a sandbox."""
        if not path.is_file():
            raise SandboxError(f"there is no sandbox at {path}", _HOW_TO_LOAD)
        database = _Database(path, repair=_HOW_TO_LOAD)
        try:
            database.check()
            store = cls(database)
            store.facts()
        except SandboxError:
            database.close()
            raise
        return store

    @classmethod
    def load(cls, path: Path | None, seed: Seed, *, now_ms: int) -> Store:
        """Make a sandbox from a seed, in memory without a path; replaces a sandbox that is there.

        What is not a sandbox is never replaced, and no link is followed. Processes that have the file open see the new
        content.
        """
        if path is not None:
            _make_folder(path)
            _require_file(path)
        database = _Database(path, repair="Choose another path, or delete the file if nobody needs it.")
        try:
            database.prepare()
            with database.transaction():
                database.make_tables()
                _fill(database, seed, now_ms)
        except SandboxError:
            database.close()
            raise
        database.repair = _HOW_TO_LOAD
        return cls(database)

    @property
    def instance(self) -> str:
        """The random name of this instance, new after every load and reset."""
        return self.facts().instance

    @property
    def clock_offset_ms(self) -> int:
        """How far the clock was moved ahead."""
        return self.facts().clock_offset_ms

    def facts(self) -> Facts:
        """Return what is true of the whole, as of now: another process may have changed it."""
        row = self._database.run("SELECT instance, clock_offset_ms, settings FROM sandbox").fetchone()
        if row is None:
            raise self._database.damaged("it holds no facts about itself")
        instance, offset, settings = row
        try:
            return Facts(instance, offset, _settings(settings))
        except ValueError as error:
            raise self._database.damaged("its settings can't be read") from error

    def advance(self, ms: int) -> None:
        """Move the clock ahead by ``ms``; runs that become due happen when a portfolio is next asked for."""
        if ms < 0:
            raise SandboxError("the clock can only be moved ahead", _HOW_TO_RESET)
        with self.transaction():
            total = self.facts().clock_offset_ms + ms
            if total > LARGEST_OFFSET_MS:
                raise SandboxError("the clock would be more than 100 years ahead", _HOW_TO_RESET)
            self._database.run("UPDATE sandbox SET clock_offset_ms = ?", total)

    def reset(self, *, now_ms: int) -> None:
        """Go back to the seed, as if it were loaded at ``now_ms``; the clock is right again, the instance new."""
        with self.transaction():
            row = self._database.run("SELECT seed FROM sandbox").fetchone()
            try:
                seed = load(json.loads(row[0]), Seed)
            except (ValueError, TypeError) as error:
                raise self._database.damaged("the seed it keeps can't be read") from error
            _fill(self._database, seed, now_ms)

    def portfolio(self, portfolio: str) -> Portfolio | None:
        """Return a portfolio as it was saved; runs that became due since are not in it."""
        row = self._database.run(_SELECT, portfolio).fetchone()
        try:
            return None if row is None else portfolio_of(row)
        except (ValueError, TypeError, AttributeError) as error:
            raise self._database.damaged(str(error)) from error

    def save(self, portfolio: Portfolio) -> None:
        """Save a portfolio; to be called inside :meth:`transaction`, with one that was read inside it."""
        self._database.run(_SAVE, *row_of(portfolio))

    def transaction(self) -> AbstractContextManager[None]:
        """Do all of the block or none of it; other processes wait. Not to be nested, and not to be awaited in."""
        return self._database.transaction()

    def close(self) -> None:
        """Close the file; the store is of no use afterwards."""
        self._database.close()


class _Database:
    """A connection whose complaints are ``SandboxError``; ``repair`` is the sentence they end in."""

    def __init__(self, path: Path | None, *, repair: str) -> None:
        self._place = "in memory" if path is None else str(path)
        self.repair = repair
        try:
            # The application runs where its event loop runs, which need not be the thread that opened the store.
            self._connection = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except (sqlite3.Error, ValueError) as error:  # ValueError: a name that no system knows
            raise self._failure(error) from error
        try:
            # In WAL mode a crash of the machine may then cost the last commits, but never the file.
            self._connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:  # the first statement is the one that finds out that it is no database
            self._connection.close()
            raise self._failure(error) from error

    def check(self) -> None:
        """Raise ``SandboxError`` unless this is a sandbox of our own format."""
        if self._number("application_id") != APPLICATION_ID:
            raise SandboxError(f"{self._place} is not a sandbox", self.repair)
        version = self._number("user_version")
        if version != SCHEMA_VERSION:
            problem = f"has format {version}, and this program reads {SCHEMA_VERSION}"
            raise SandboxError(f"the sandbox {self._place} {problem}", self.repair)

    def prepare(self) -> None:
        """Raise ``SandboxError`` if somebody else's tables are in here; let readers and a writer work at once."""
        tables = self.run("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and self._number("application_id") != APPLICATION_ID:
            raise SandboxError(f"{self._place} is a database, but not a sandbox", self.repair)
        self.run("PRAGMA journal_mode = WAL")

    def make_tables(self) -> None:
        """Make the tables anew, in place: a process that has the file open goes on with the new content."""
        for table, columns in _TABLES.items():
            self.run(f"DROP TABLE IF EXISTS {table}")
            self.run(f"CREATE TABLE {table} ({columns})")
        for index in fleet.INDEXES:
            self.run(index)
        self.run(f"PRAGMA application_id = {APPLICATION_ID}")
        self.run(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def run(self, sql: str, *values: str | int | None) -> sqlite3.Cursor:
        """Run one statement."""
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def run_many(self, sql: str, rows: Iterable[tuple[str | int | None, ...]]) -> None:
        """Run one statement for each row."""
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the block, or roll it back when it raises."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            # A failed COMMIT may have ended the transaction or not; asking is the only way to know.
            if self._connection.in_transaction:
                self.run("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def damaged(self, how: str) -> SandboxError:
        """Return the error for content that this program did not write."""
        return SandboxError(f"the sandbox {self._place} is damaged: {how}", self.repair)

    def _number(self, pragma: str) -> int:
        return int(self.run(f"PRAGMA {pragma}").fetchone()[0])

    def _failure(self, error: sqlite3.Error | ValueError) -> SandboxError:
        return SandboxError(f"the sandbox {self._place} can't be used: {error}", self.repair)


def _fill(database: _Database, seed: Seed, now_ms: int) -> None:
    """Put a seed in place of whatever is there; inside a transaction."""
    for table in _TABLES:
        database.run(f"DELETE FROM {table}")  # noqa: S608 - made of constants alone
    instance = os.urandom(8).hex()
    database.run(
        "INSERT INTO sandbox (only, instance, clock_offset_ms, settings, seed) VALUES (1, ?, 0, ?, ?)",
        instance,
        json.dumps(dump(Seed(seed.settings, ()))),
        json.dumps(dump(seed)),
    )
    database.run_many(_SAVE, (row_of(plant(one, now_ms)) for one in seed.portfolios if one.api.has_v1))
    strategies = {strategy.id: strategy for strategy in seed.strategies}
    enrolled = Fleet(database)
    enrolled.save_strategies(*(plant_strategy(strategy, now_ms) for strategy in seed.strategies))
    enrolled.save(
        *(
            plant_enrolled(one, strategies[one.strategy], now_ms, instance=instance)
            for one in seed.portfolios
            if one.api.has_v2 and one.strategy is not None
        )
    )


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SandboxError(f"{path.parent} can't be made: {why}", "Choose another path.") from error


def _require_file(path: Path) -> None:
    """Refuse what is there and no regular file: SQLite would write to a device, and through a link."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise SandboxError(f"{path} is a link, a folder or a device, not a file", "Choose another path.")


@lru_cache(maxsize=8)
def _settings(text: str) -> Settings:
    """Return settings from the text they are kept as; the few that are ever in use are parsed once."""
    return load(json.loads(text), Seed).settings
