"""The journal: what we meant to write, what came of it, and what the service last confirmed. SQLite, one file.

In: intents, outcomes and confirmed records of one service. Out: the same, read back. Losing the file costs
knowledge (more fields are unverified), never correctness. Nothing secret gets in. Opening, checking and locking the
file is :mod:`reconciler.apply.journalfile`'s, what its rows mean :mod:`reconciler.apply.journalrows`'.

A record is void once a later write to the same portfolio may have taken effect without being confirmed as a whole:
what the service held before says nothing of what it holds now. A rebalance leaves state and schedule as they are.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final, Self

from reconciler.apply.journalfile import broken, lock, open_to_read, open_to_write
from reconciler.apply.journalrows import (
    Row,
    T,
    cadence_row,
    intent_row,
    record_row,
    run_row,
    understood,
    write_row,
)
from reconciler.core.report import Call, Intent, Run, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from reconciler.core.desired import PortfolioId
    from reconciler.core.live import Record
    from reconciler.core.strategy import Cadence, StrategyAddress, StrategyId

_RECORDS: Final = """
    SELECT portfolio, state, interval_ms, offset_ms, schedule_id, confirmed_ms, marked FROM confirmed
    WHERE base_url = ? AND NOT EXISTS (
        SELECT 1 FROM writes WHERE writes.base_url = confirmed.base_url AND writes.portfolio = confirmed.portfolio
        AND writes.id > confirmed.last_write AND (outcome IS NULL OR outcome NOT IN ('failed', 'unseen'))
        AND writes.call <> 'rebalance'
    )
"""
_CADENCES: Final = """
    SELECT portfolio, wanted, outcome FROM writes WHERE base_url = ? AND id IN (
        SELECT MAX(id) FROM writes WHERE call = ? AND (outcome IS NULL OR outcome NOT IN ('failed', 'unseen'))
        GROUP BY base_url, portfolio
    )
"""
CUT_OFF: Final = "cut_off"
"""How a run ended whose process died, as the next apply found."""


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
        locked: sqlite3.Connection | None = None,
    ) -> None:
        self._connection = connection
        self._lock = locked
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
        return dict(self._understand(record_row, rows))

    def record(self, portfolio: PortfolioId) -> Record | None:
        """Return the last confirmed state of one portfolio."""
        rows = self._execute(f"{_RECORDS} AND portfolio = ?", (self._base_url, portfolio))
        return dict(self._understand(record_row, rows)).get(portfolio)

    def cadences(self) -> Mapping[StrategyId, Cadence]:
        """Return the cadences that the last writes to strategies of this service left, keyed and sorted by id.

        A strategy whose last write may have taken effect without being confirmed or seen is left out: what it holds
        is not known.
        """
        rows = self._execute(f"{_CADENCES} ORDER BY portfolio", (self._base_url, Call.SET_CADENCE.value))
        found = self._understand(cadence_row, rows)
        return {strategy: cadence for strategy, cadence in found if cadence is not None}

    def written_between(self, portfolio: PortfolioId | StrategyAddress, *, after_ms: int, until_ms: int) -> bool:
        """Whether a write that is known to have taken effect was begun after the one time and not after the other.

        Times are UTC epoch milliseconds. A rebalance is no such write.
        """
        return bool(
            self._execute(
                "SELECT 1 FROM writes WHERE base_url = ? AND portfolio = ? AND call <> ?"
                " AND outcome IN ('confirmed', 'seen') AND intent_ms > ? AND intent_ms <= ? LIMIT 1",
                (self._base_url, portfolio, Call.REBALANCE.value, after_ms, until_ms),
            )
        )

    def unsettled(self) -> tuple[Intent, ...]:
        """Return the writes to this service that have an intent and no outcome, oldest first: a run died over them."""
        rows = self._execute(
            "SELECT id, portfolio, call, wanted, intent_ms FROM writes"
            " WHERE base_url = ? AND outcome IS NULL ORDER BY id",
            (self._base_url,),
        )
        return self._understand(intent_row, rows)

    def open_run(self, *, fingerprint: str, tool: str) -> None:
        """Begin a run: every write belongs to one."""
        self._run = self._insert(
            "INSERT INTO runs (base_url, fingerprint, tool, process, started_ms) VALUES (?, ?, ?, ?, ?)",
            (self._base_url, fingerprint, tool, self._process, self._now_ms()),
        )

    def give_up_dead_runs(self) -> None:
        """Mark the runs that have no end as cut off; to be called by whoever holds the lock, before a run of its own.

        When they died is not known, so no time is given.
        """
        self._execute("UPDATE runs SET exit_reason = ? WHERE finished_ms IS NULL AND exit_reason IS NULL", (CUT_OFF,))

    def close_run(self, exit_reason: str) -> None:
        """Say how the run ended."""
        self._execute(
            "UPDATE runs SET finished_ms = ?, exit_reason = ? WHERE id = ?", (self._now_ms(), exit_reason, self._run)
        )

    def begin(self, portfolio: PortfolioId | StrategyAddress, call: str, wanted: str) -> int:
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

    def _execute(self, statement: str, values: tuple[object, ...]) -> list[Row]:
        try:
            with self._connection, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise broken(self._path, error) from error

    def _understand(self, read: Callable[[Row], T], rows: Iterable[Row]) -> tuple[T, ...]:
        return understood(self._path, read, rows)

    def _insert(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            with self._connection, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.lastrowid or 0
        except sqlite3.Error as error:
            raise broken(self._path, error) from error


def open_journal(path: Path, *, base_url: str, now_ms: Callable[[], int], process: str = "") -> SqliteJournal:
    """Open the journal for writing, making file and folder where missing, and keep every other writer out.

    ``process`` names this one to those who wait. A run without an end is marked as cut off: nobody else can be at work.
    Raises :class:`JournalError`, as :class:`JournalBusy` when another writer is at it now.
    """
    locked = lock(path, process)
    try:
        journal = SqliteJournal(
            open_to_write(path), path=path, base_url=base_url, now_ms=now_ms, process=process, locked=locked
        )
    except BaseException:
        locked.close()
        raise
    try:
        journal.give_up_dead_runs()
    except BaseException:
        journal.__exit__()
        raise
    return journal


def read_records(path: Path, *, base_url: str) -> Mapping[PortfolioId, Record]:
    """Return what a journal file holds of one service without writing to it; a missing file holds nothing.

    Raises :class:`JournalError` for a file that is damaged or something else.
    """
    connection = open_to_read(path)
    if connection is None:
        return {}
    with closing(connection):
        return SqliteJournal(connection, path=path, base_url=base_url, now_ms=lambda: 0).records()


def read_cadences(path: Path, *, base_url: str) -> Mapping[StrategyId, Cadence]:
    """Return what a journal file holds of one service's strategies; a missing file holds nothing.

    Raises :class:`JournalError` for a file that is damaged or something else.
    """
    connection = open_to_read(path)
    if connection is None:
        return {}
    with closing(connection):
        return SqliteJournal(connection, path=path, base_url=base_url, now_ms=lambda: 0).cadences()


def read_runs(path: Path, *, run: int | None = None, portfolios: Sequence[PortfolioId] = ()) -> tuple[Run, ...] | None:
    """Return the runs of a journal file, newest first, each with its writes in order; ``None`` without a file.

    With ``run``, only that one; with ``portfolios``, only writes to these, and only runs that have any. Reads while
    an apply writes. Raises :class:`JournalError` for a file that is damaged or something else.
    """
    connection = open_to_read(path)
    if connection is None:
        return None
    with closing(connection):
        try:
            connection.execute("BEGIN")  # so that runs and writes are of one moment
            runs = connection.execute(
                "SELECT id, base_url, fingerprint, tool, process, started_ms, finished_ms, exit_reason FROM runs"
                " WHERE ?1 IS NULL OR id = ?1 ORDER BY id DESC",
                (run,),
            ).fetchall()
            writes = connection.execute(
                "SELECT run, id, portfolio, call, wanted, intent_ms, outcome, detail, outcome_ms FROM writes"
                " WHERE ?1 IS NULL OR run = ?1 ORDER BY id",
                (run,),
            ).fetchall()
        except sqlite3.Error as error:
            raise broken(path, error) from error
    of_run: dict[int, list[Write]] = {}
    for number, write in understood(path, write_row, writes):
        if not portfolios or write.portfolio in portfolios:
            of_run.setdefault(number, []).append(write)
    found = understood(path, lambda row: run_row(row, tuple(of_run.get(row[0], ()))), runs)
    return tuple(one for one in found if one.writes or not portfolios)
