"""What the simulated Glider remembers, in one SQLite file or only in memory.

In: a seed, then changed values. Out: values as they were saved, and one row of facts about the whole
(:class:`StoreFacts`). Several processes may have the same file open: they see each other's commits, and writes wait for
each other. This module knows nothing of HTTP, or of what the changes mean. It is the simulator's only one that imports
sqlite3. SQLite's errors, and content that this program did not write, raise
:class:`~reconciler.core.errors.SandboxError`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from reconciler.core.codec import dump, load
from reconciler.core.errors import SandboxError
from reconciler.core.text import DAY_MS
from reconciler.sandbox.enrolled import Enrolled, ManualRebalance, Strategy
from reconciler.sandbox.plant import plant, plant_enrolled, plant_strategy
from reconciler.sandbox.portfolio import Portfolio
from reconciler.sandbox.seed import Seed
from reconciler.sandbox.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Cell = str | int | None

T = TypeVar("T", bound=Struct)

APPLICATION_ID: Final = 0x676C7362
"""Marks the file as ours ("glsb"), so that a load never replaces somebody else's database."""
_SCHEMA_VERSION: Final = 3
"""Goes up with every change of the tables. A file of another format is refused: loading its seed again is easy."""
LARGEST_OFFSET_MS: Final = 36_500 * DAY_MS
"""How far the clock may be moved ahead: 100 years, so that years keep four digits."""
BUSY_SECONDS: Final = 10.0

_HOW_TO_LOAD: Final = "Make a new one with `reconciler sandbox load SEED.yaml`."
_HOW_TO_OPEN: Final = "Check that you may read and write it and its folder, or name another with `--sandbox FILE`."
_HOW_TO_RESET: Final = "Use `reconciler sandbox reset` to start over."
_SANDBOX: Final = "instance TEXT NOT NULL, clock_offset_ms INTEGER NOT NULL, settings TEXT NOT NULL, seed TEXT NOT NULL"


class _Table(Struct, frozen=True):
    """How values of one type are kept: one row for each, with the whole value as JSON.

    ``columns`` are the fields by which rows are sorted and filtered. ``listed`` is the SQL condition for rows that a
    list shows. Each way of listing has an index, so that every page of a large fleet takes the same time.
    """

    name: str
    columns: tuple[str, ...] = ()
    listed: str = ""
    indexes: tuple[str, ...] = ()

    @property
    def statements(self) -> Iterator[str]:
        """The statements that make the table again."""
        yield f"DROP TABLE IF EXISTS {self.name}"
        yield f"CREATE TABLE {self.name} (id TEXT PRIMARY KEY, {''.join(f'{c}, ' for c in self.columns)}value TEXT)"
        for number, index in enumerate(self.indexes):
            yield f"CREATE INDEX {self.name}_{number} ON {self.name} ({index})"

    @property
    def replace(self) -> str:
        """What saves a row."""
        return f"REPLACE INTO {self.name} VALUES (?, ?{', ?' * len(self.columns)})"

    def row(self, value: Struct) -> tuple[Cell, ...]:
        """Return what is saved of a value."""
        document = dump(value)
        return (document["id"], *(document[column] for column in self.columns), json.dumps(document))


_TABLES: Final[Mapping[type[Struct], _Table]] = {
    Portfolio: _Table("portfolios"),
    Strategy: _Table("strategies", ("created_ms", "own"), listed="own = 1", indexes=("own, created_ms, id",)),
    Enrolled: _Table(
        "enrolled",
        ("created_ms", "strategy", "owner", "state"),
        listed="state != 'archived'",
        indexes=("created_ms, id", "strategy, created_ms, id", "owner, created_ms, id"),
    ),
    ManualRebalance: _Table("operations"),
}


class StoreFacts(Struct, frozen=True):
    """What is true of the whole simulated service at this moment.

    ``instance`` is new after every load and reset, so that nothing remembered about an earlier one counts any more.
    """

    instance: str
    clock_offset_ms: int
    settings: Settings


class Store:
    """One open sandbox. Made by :meth:`open` or :meth:`load`; every method may raise ``SandboxError``.

    Values come back as they were saved: what became due since is not in them. One thread at a time may use it.
    """

    def __init__(self, path: Path | None, *, repair: str) -> None:
        self._place = "in memory" if path is None else str(path)
        self._repair = repair
        """The sentence that ends an error's text."""
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

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open an existing file; raises ``SandboxError`` for one that is missing, damaged or not a sandbox."""
        if not path.is_file():
            raise SandboxError(f"there is no sandbox at {path}", _HOW_TO_LOAD)
        store = cls(path, repair=_HOW_TO_LOAD)
        with store._kept_if_good():
            store._check()
            store.facts()
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
        store = cls(path, repair="Choose another path, or delete the file if nobody needs it.")
        with store._kept_if_good():
            store._prepare()
            with store.transaction():
                store._make_tables()
                store._fill(seed, now_ms)
        store._repair = _HOW_TO_LOAD
        return store

    @property
    def instance(self) -> str:
        """The random name of this instance, new after every load and reset."""
        return self.facts().instance

    @property
    def clock_offset_ms(self) -> int:
        """How far the clock was moved ahead."""
        return self.facts().clock_offset_ms

    def facts(self) -> StoreFacts:
        """Return what is true of the whole, as of now: another process may have changed it."""
        row = self._run("SELECT instance, clock_offset_ms, settings FROM sandbox").fetchone()
        if row is None:
            raise self.damaged("it holds no facts about itself")
        instance, offset, settings = row
        try:
            return StoreFacts(instance, offset, _settings(settings))
        except ValueError as error:
            raise self.damaged("its settings can't be read") from error

    def advance(self, ms: int) -> None:
        """Move the clock ahead by ``ms``; what became due is computed when a portfolio is next read."""
        if ms < 0:
            raise SandboxError("the clock can only be moved ahead", _HOW_TO_RESET)
        with self.transaction():
            total = self.facts().clock_offset_ms + ms
            if total > LARGEST_OFFSET_MS:
                raise SandboxError("the clock would be more than 100 years ahead", _HOW_TO_RESET)
            self._run("UPDATE sandbox SET clock_offset_ms = ?", total)

    def reset(self, *, now_ms: int) -> None:
        """Go back to the seed, as if it were loaded at ``now_ms``, with the clock not moved and a new instance."""
        with self.transaction():
            row = self._run("SELECT seed FROM sandbox").fetchone()
            try:
                seed = load(json.loads(row[0]), Seed)
            except (ValueError, TypeError) as error:
                raise self.damaged("the seed it keeps can't be read") from error
            self._fill(seed, now_ms)

    def portfolio(self, portfolio: str) -> Portfolio | None:
        """Return a portfolio of v1."""
        return self._find(Portfolio, portfolio)

    def enrolled(self, portfolio: str) -> Enrolled | None:
        """Return a portfolio of v2, also an archived one."""
        return self._find(Enrolled, portfolio)

    def strategy(self, strategy: str) -> Strategy | None:
        """Return a strategy, whoever owns it."""
        return self._find(Strategy, strategy)

    def operation(self, operation: str) -> ManualRebalance | None:
        """Return the manual rebalance with this id."""
        return self._find(ManualRebalance, operation)

    def members(self, strategy: str) -> list[Enrolled]:
        """Return every portfolio of a strategy, archived ones included."""
        return self._select(Enrolled, "WHERE strategy = ?", strategy)

    def page(
        self, kind: type[T], wanted: Mapping[str, str | None], *, after: tuple[int, str] | None, most: int
    ) -> list[T]:
        """Return at most ``most`` enrolled portfolios or strategies, newest first; of the same age, by id backwards.

        Archived portfolios and strategies of other tenants are left out (API facts §2.6). ``wanted`` holds the values
        that a column must have, ``None`` where any will do. ``after`` is ``created_ms`` and id of the last one on the
        page before.
        """
        asked = {column: value for column, value in wanted.items() if value is not None}
        conditions = [_TABLES[kind].listed, *(f"{column} = ?" for column in asked)]
        values: list[Cell] = list(asked.values())
        if after is not None:
            conditions.append("(created_ms, id) < (?, ?)")
            values.extend(after)
        where = f"WHERE {' AND '.join(conditions)} ORDER BY created_ms DESC, id DESC LIMIT ?"
        return self._select(kind, where, *values, most)

    def save(self, *values: Struct) -> None:
        """Save values of any kind. Call it inside :meth:`transaction`, with values that were read inside it, too."""
        for kind, table in _TABLES.items():
            rows = [table.row(value) for value in values if type(value) is kind]
            if rows:
                self._run_many(table.replace, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of the block or none of it; other processes wait. Must not be nested, and the block must not await."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            # A failed COMMIT may have ended the transaction or not; asking is the only way to know.
            if self._connection.in_transaction:
                self._run("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file; the store can't be used afterwards."""
        self._connection.close()

    def damaged(self, how: str) -> SandboxError:
        """Return the error for content that this program did not write."""
        return SandboxError(f"the sandbox {self._place} is damaged: {how}", self._repair)

    def _find(self, kind: type[T], key: str) -> T | None:
        found = self._select(kind, "WHERE id = ?", key)
        return found[0] if found else None

    def _select(self, kind: type[T], where: str, *values: Cell) -> list[T]:
        sql = f"SELECT value FROM {_TABLES[kind].name} {where}"
        rows = self._run(sql, *values).fetchall()
        try:
            return [load(json.loads(text), kind) for (text,) in rows]
        except (ValueError, TypeError) as error:
            raise self.damaged(str(error)) from error

    def _fill(self, seed: Seed, now_ms: int) -> None:
        """Replace everything by a seed; inside a transaction."""
        for name in ("sandbox", *(table.name for table in _TABLES.values())):
            self._run(f"DELETE FROM {name}")
        instance = os.urandom(8).hex()
        kept = (json.dumps(dump(one)) for one in (seed.settings, seed))
        self._run("INSERT INTO sandbox VALUES (?, 0, ?, ?)", instance, *kept)
        strategies = {strategy.id: strategy for strategy in seed.strategies}
        self.save(*(plant_strategy(strategy, now_ms) for strategy in seed.strategies))
        self.save(*(plant(one, now_ms) for one in seed.portfolios if one.api.has_v1))
        enrolled = ((one, strategies[one.strategy]) for one in seed.portfolios if one.api.has_v2 and one.strategy)
        self.save(*(plant_enrolled(one, strategy, now_ms, instance=instance) for one, strategy in enrolled))

    @contextmanager
    def _kept_if_good(self) -> Iterator[None]:
        """Prepare the connection for the block, and close it if that or the block fails."""
        try:
            # In WAL mode a crash of the machine may then cost the last commits, but never the file. The first statement
            # is the one that finds out that this is no database.
            self._run("PRAGMA synchronous = NORMAL")
            yield
        except SandboxError:
            self.close()
            raise

    def _check(self) -> None:
        """Raise ``SandboxError`` unless this is a sandbox of our own format."""
        if self._number("application_id") != APPLICATION_ID:
            raise SandboxError(f"{self._place} is not a sandbox", self._repair)
        version = self._number("user_version")
        if version != _SCHEMA_VERSION:
            problem = f"has format {version}, and this program reads {_SCHEMA_VERSION}"
            raise SandboxError(f"the sandbox {self._place} {problem}", self._repair)

    def _prepare(self) -> None:
        """Raise ``SandboxError`` if somebody else's tables are in here; let readers and a writer work at once."""
        tables = self._run("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and self._number("application_id") != APPLICATION_ID:
            raise SandboxError(f"{self._place} is a database, but not a sandbox", self._repair)
        self._run("PRAGMA journal_mode = WAL")

    def _make_tables(self) -> None:
        """Make the tables again in the same file: a process that has it open goes on with the new content."""
        self._run("DROP TABLE IF EXISTS sandbox")
        self._run(f"CREATE TABLE sandbox ({_SANDBOX})")
        for table in _TABLES.values():
            for statement in table.statements:
                self._run(statement)
        self._run(f"PRAGMA application_id = {APPLICATION_ID}")
        self._run(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _run(self, sql: str, *values: Cell) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _run_many(self, sql: str, rows: list[tuple[Cell, ...]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _number(self, pragma: str) -> int:
        return int(self._run(f"PRAGMA {pragma}").fetchone()[0])

    def _failure(self, error: sqlite3.Error | ValueError) -> SandboxError:
        closed = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
        repair = _HOW_TO_OPEN if closed else self._repair
        return SandboxError(f"the sandbox {self._place} can't be used: {error}", repair)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SandboxError(f"{path.parent} can't be made: {why}", "Choose another path.") from error


def _require_file(path: Path) -> None:
    """Refuse a path that is not a regular file: SQLite would write to a device, or through a link."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise SandboxError(f"{path} is a link, a folder or a device, not a file", "Choose another path.")


@lru_cache(maxsize=8)
def _settings(text: str) -> Settings:
    """Return settings from their saved text. Results are kept, since few different ones are in use.

    Raises ``ValueError`` if the text is not as it was written: a missing setting must not be replaced by its default.
    """
    settings = load(json.loads(text), Settings)
    if json.dumps(dump(settings)) != text:
        raise ValueError("not as it was written")
    return settings
