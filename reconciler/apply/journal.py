"""The journal: what we meant to write, what came of it, and what the service last confirmed. SQLite, one file.

In: intents, outcomes and confirmed records of one service. Out: the same, read back. Losing the file costs
knowledge (more fields are unverified), never correctness. Nothing secret gets in. Opening, checking and locking the
file is :mod:`reconciler.apply.journalfile`'s, which writes count :mod:`reconciler.apply.journalsql`'s, what rows mean
:mod:`reconciler.apply.journalrows`'.

A record is void once a later write to the same portfolio may have taken effect without being confirmed as a whole:
what the service held before says nothing of what it holds now. A rebalance leaves state and schedule as they are.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Self

from reconciler.apply import journalsql
from reconciler.apply.journalfile import broken, lock, open_to_read, open_to_write
from reconciler.apply.journalrows import (
    Row,
    T,
    cadence_row,
    confirmed_at_row,
    intent_row,
    last_write_row,
    record_row,
    run_row,
    since_row,
    trigger_row,
    understood,
    wanted_of,
    write_row,
)
from reconciler.core.desired import PortfolioId
from reconciler.core.duration import DAY_MS
from reconciler.core.ports import Memory
from reconciler.core.strategy import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.core.intent import Address, Call, Intent, LastWrite, OpenIntent, WriteOutcome
    from reconciler.core.live import Record
    from reconciler.core.report import Run, Write
    from reconciler.core.strategy import Cadence, StrategyId

CUT_OFF: Final = "cut_off"
"""How a run ended whose process died, as the next apply found."""


class SqliteJournal:
    """The journal of one service and account in one file; ``now_ms`` is the clock, in UTC epoch milliseconds.

    ``account`` is ``None`` where it is not known: then what any account left is believed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        base_url: str,
        account: str | None = None,
        now_ms: Callable[[], int],
        process: str = "",
        locked: sqlite3.Connection | None = None,
    ) -> None:
        self._connection = connection
        self._lock = locked
        self._process = process
        self._path = path
        self._base_url = base_url
        self._account = account
        self._now_ms = now_ms
        self._run: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def memory(self, *, plans: Collection[str] = ()) -> Memory:
        """Return all that is known, at one moment; see :class:`~reconciler.core.ports.Journal` for ``plans``."""
        with self._one_moment():
            since = self._read(since_row, journalsql.SINCE_OF_ALL, plans=_listed(plans))
            records = self._read(record_row, journalsql.RECORDS)
            cadences = self._read(cadence_row, journalsql.CADENCES)
            unanswered = self._read(intent_row, journalsql.UNANSWERED_OF_ALL)
            pauses = self._read(since_row, journalsql.PAUSES)
            triggers = self._read(trigger_row, journalsql.TRIGGERS, since_ms=self._now_ms() - DAY_MS)
        return Memory(
            exists=True,
            records=dict(records),
            cadences={strategy: cadence for strategy, cadence in cadences if cadence is not None},
            since=dict(since),
            pauses={PortfolioId(address): token for address, token in pauses},
            unanswered={PortfolioId(one.intent.address): one for one in unanswered},
            triggers=dict(triggers),
        )

    def record(self, portfolio: PortfolioId) -> Record | None:
        """Return the last confirmed state of one portfolio."""
        return dict(self._read(record_row, journalsql.RECORD, address=portfolio)).get(portfolio)

    def cadence(self, strategy: StrategyId) -> Cadence | None:
        """Return the cadence that the last write to a strategy left.

        ``None`` where that write may have taken effect without being confirmed or seen: what it holds is not known.
        """
        return dict(self._read(cadence_row, journalsql.CADENCE, address=address_of(strategy))).get(strategy)

    def since(self, address: Address, *, plans: Collection[str] = ()) -> str | None:
        """Return the token of the last write to its state or schedule that took or may have taken effect."""
        return dict(self._read(since_row, journalsql.SINCE, address=address, plans=_listed(plans))).get(address)

    def last_pause(self, portfolio: PortfolioId) -> str | None:
        """Return the token of the last pause of ours, unless a later resume or start of ours counts."""
        return dict(self._read(since_row, journalsql.PAUSE, address=portfolio)).get(portfolio)

    def knows(self, token: str) -> bool:
        """Whether a write to this service with this token stands in the journal."""
        return bool(self._rows(journalsql.KNOWS, token=token))

    def last_write(self, address: Address, token: str) -> LastWrite | None:
        """Return the write to an address with this token, of those that count."""
        return next(iter(self._read(last_write_row, journalsql.LAST_WRITE, address=address, token=token)), None)

    def confirmed_at(self) -> Mapping[PortfolioId, int]:
        """Return when each portfolio was confirmed last, also where a later write made that void."""
        return dict(self._read(confirmed_at_row, journalsql.CONFIRMED_AT))

    def maybe_sent(self, address: Address, call: Call, *, plans: Collection[str]) -> bool:
        """Whether a call of this kind was made under one of these plans whose outcome stayed unknown."""
        return bool(self._rows(journalsql.MAYBE_SENT, address=address, call=call, plans=_listed(plans)))

    def unsettled(self) -> tuple[OpenIntent, ...]:
        """Return the writes to this service that have an intent and no outcome, oldest first: a run died over them.

        The reasons that were sent with them are not kept.
        """
        return self._read(intent_row, journalsql.UNSETTLED)

    def unanswered(self, portfolio: PortfolioId) -> OpenIntent | None:
        """Return the last request for a run of a portfolio, where its outcome stayed unknown."""
        return next(iter(self._read(intent_row, journalsql.UNANSWERED, address=portfolio)), None)

    def open_run(self, *, fingerprint: str, tool: str, approved: str | None = None) -> None:
        """Begin a run: every write belongs to one. ``approved`` is the plan that a person approved, if another one."""
        self._run = self._execute(
            "INSERT INTO runs (base_url, fingerprint, tool, process, started_ms, approved, account)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._base_url, fingerprint, tool, self._process, self._now_ms(), approved, self._account),
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

    def begin(self, intent: Intent) -> int:
        """Commit the intent of a write before it is sent; return its number."""
        return self._execute(
            "INSERT INTO writes (run, base_url, portfolio, call, wanted, intent_ms, token, step, account)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._run,
                self._base_url,
                intent.address,
                intent.call.value,
                wanted_of(intent),
                self._now_ms(),
                intent.token,
                int(intent.is_step),
                self._account,
            ),
        )

    def end(self, number: int, outcome: WriteOutcome, detail: str) -> None:
        """Commit the outcome of the write with this number."""
        self._execute(
            "UPDATE writes SET outcome = ?, detail = ?, outcome_ms = ? WHERE id = ?",
            (outcome.value, detail, self._now_ms(), number),
        )

    def take_over(self, writes: Sequence[tuple[Intent, int, WriteOutcome, str]]) -> None:
        """Commit writes of another journal, in their order, all at once: each with its time, outcome and detail."""
        rows = [
            (
                *(self._run, self._base_url, intent.address, intent.call.value, wanted_of(intent), at_ms),
                *(intent.token, int(intent.is_step), self._account, outcome.value, detail, at_ms),
            )
            for intent, at_ms, outcome, detail in writes
        ]
        self._execute_many(
            "INSERT INTO writes (run, base_url, portfolio, call, wanted, intent_ms, token, step, account, outcome,"
            " detail, outcome_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def confirm(self, records: Mapping[PortfolioId, Record]) -> None:
        """Commit what the service confirmed or showed, all at once."""
        rows = [
            (
                self._base_url,
                portfolio,
                record.state.value,
                record.interval_ms,
                record.offset_ms,
                record.schedule_id,
                record.confirmed_ms,
                int(record.marked),
                record.pause_reason,
                self._account,
                record.imported,
            )
            for portfolio, record in records.items()
        ]
        self._execute_many(
            "INSERT OR REPLACE INTO confirmed VALUES"
            " (?, ?, ?, ?, ?, ?, ?, ?, (SELECT COALESCE(MAX(id), 0) FROM writes), ?, ?, ?)",
            rows,
        )

    def _execute_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Execute once a row, and commit all at once."""
        try:
            with self._connection:
                self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise broken(self._path, error) from error

    def _execute(self, statement: str, values: tuple[object, ...]) -> int:
        """Execute and commit; return the number of the row that was inserted last."""
        try:
            with self._connection, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.lastrowid or 0
        except sqlite3.Error as error:
            raise broken(self._path, error) from error

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        """Let every read inside see the same state of the file."""
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                yield
        except sqlite3.Error as error:
            raise broken(self._path, error) from error

    def _read(self, read: Callable[[Row], T], statement: str, **values: object) -> tuple[T, ...]:
        return understood(self._path, read, self._rows(statement, **values))

    def _rows(self, statement: str, **values: object) -> list[Row]:
        try:
            with closing(
                self._connection.execute(statement, {"base_url": self._base_url, "account": self._account, **values})
            ) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise broken(self._path, error) from error


def _listed(plans: Collection[str]) -> str:
    return json.dumps(sorted(plans))


def open_journal(
    path: Path, *, base_url: str, now_ms: Callable[[], int], process: str = "", account: str | None = None
) -> SqliteJournal:
    """Open the journal for writing, making file and folder where missing, and keep every other writer out.

    ``account`` is whom the key belongs to, ``None`` where that is not known.
    ``process`` names this one to those who wait. A run without an end is marked as cut off: nobody else can be at work.
    Raises :class:`JournalError`, as :class:`JournalBusy` when another writer is at it now.
    """
    locked = lock(path, process)
    try:
        journal = SqliteJournal(
            open_to_write(path),
            path=path,
            base_url=base_url,
            account=account,
            now_ms=now_ms,
            process=process,
            locked=locked,
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


def read_memory(
    path: Path, *, base_url: str, now_ms: int, plans: Collection[str] = (), account: str | None = None
) -> Memory:
    """Return what a journal file knows of one service without writing to it; a missing file knows nothing.

    ``now_ms`` is the present, UTC epoch milliseconds. Raises :class:`JournalError` for a file that is damaged or
    something else.
    """
    connection = open_to_read(path)
    if connection is None:
        return Memory()
    with closing(connection):
        journal = SqliteJournal(connection, path=path, base_url=base_url, account=account, now_ms=lambda: now_ms)
        return journal.memory(plans=plans)


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
                "SELECT id, base_url, fingerprint, tool, process, started_ms, finished_ms, exit_reason, approved,"
                " account FROM runs"
                " WHERE ?1 IS NULL OR id = ?1 ORDER BY id DESC",
                (run,),
            ).fetchall()
            writes = connection.execute(
                "SELECT run, id, portfolio, call, wanted, intent_ms, outcome, detail, outcome_ms, token"
                " FROM writes"
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
