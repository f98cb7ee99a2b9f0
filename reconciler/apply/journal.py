"""The journal: what we meant to write, what came of it, and what the service last confirmed.

In: intents, outcomes and confirmed records of one service. Out: the same, read back. Losing the journal costs
knowledge (more fields are unverified), never correctness. Nothing secret gets in. :mod:`reconciler.apply.journaltables`
knows what the columns mean; :mod:`reconciler.apply.journalfile` opens, checks and locks a file, and
:mod:`reconciler.apply.journalserver` a database that several machines share.

A write counts if it took or may have taken effect. A rebalance changes neither state nor schedule. If a later write to
the same portfolio counts and is not confirmed as a whole, the record is void, because it may not hold any more. Rows
belong to a service and an account: what another account left is neither settled nor believed. An account that is not
known matches every other.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec
from msgspec.structs import replace

from reconciler.apply.journaltables import Question, Wanted
from reconciler.core.codec import LATEST_MS, dump
from reconciler.core.evidence import due_ms_of
from reconciler.core.halt import Halts
from reconciler.core.intent import NO_EFFECT, TOOK_EFFECT, Call, GateClosed, Intent, LastWrite, OpenIntent, WriteOutcome
from reconciler.core.model import ApiVersion, Record, strategy_of
from reconciler.core.ports import Memory
from reconciler.core.rebalance import KeptRebalance
from reconciler.core.report import NOWHERE
from reconciler.core.text import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.apply.journaltables import JournalPlace, JournalRow, Tables
    from reconciler.core.freeze import WriteGate
    from reconciler.core.halt import Halt
    from reconciler.core.model import Address, PortfolioId
    from reconciler.core.rebalance import Rebalance
    from reconciler.core.report import RunOrigin

KEPT_RESULTS: Final = 20
"""How many rebalances of each portfolio are remembered: the newest."""
_UNLESS_OVER: Final = """ON CONFLICT (base_url, portfolio, rebalance) DO UPDATE SET
    begun_ms = CASE WHEN results.begun_ms < excluded.begun_ms THEN results.begun_ms ELSE excluded.begun_ms END,
    read_ms = excluded.read_ms, over = excluded.over, result = excluded.result, account = excluded.account
    WHERE excluded.over = 1 OR results.over = 0"""
_LEAVE_NEWEST: Final = """DELETE FROM results
    WHERE base_url = :base_url AND portfolio = :portfolio AND rebalance NOT IN (
        SELECT rebalance FROM results WHERE base_url = :base_url AND portfolio = :portfolio
        ORDER BY begun_ms DESC, rebalance DESC LIMIT :most
    )"""
CUT_OFF: Final = "cut_off"
"""The end of a run whose process died, as the next apply found it."""


def _mine(table: str) -> str:
    """Return the condition that a row of a table belongs to the service and account that are asked for."""
    is_mine = f"CAST(:account AS TEXT) IS NULL OR COALESCE({table}.account, :account) = :account"
    return f"({table}.base_url = :base_url AND ({is_mine}))"


def _words(words: frozenset[WriteOutcome]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_COUNTS: Final = f"(outcome IS NULL OR outcome NOT IN ({_words(NO_EFFECT)}))"
_TOOK_EFFECT: Final = f"COALESCE(outcome IN ({_words(TOOK_EFFECT)}), FALSE)"
_UNKNOWN: Final = f"outcome = '{WriteOutcome.UNKNOWN}'"
_NO_REBALANCE: Final = f"call <> '{Call.REBALANCE}'"
_ASKS_FOR_A_RUN: Final = (
    f"(call = '{Call.REBALANCE}' OR (call = '{Call.START}' AND json_extract(wanted, '$.run_now') = 1))"
)
_SETS_STATE: Final = f"call IN ('{Call.PAUSE}', '{Call.RESUME}', '{Call.START}')"
_UNDER_PLANS: Final = """EXISTS (
    SELECT 1 FROM runs, json_each(:plans) AS plan
    WHERE runs.id = writes.run AND plan.value IN (runs.fingerprint, runs.approved)
)"""
# A cadence is kept in ``wanted``; the name of the column says how to take it out. No other call sets one.
CADENCE: Final = f"CASE call WHEN '{Call.SET_CADENCE}' THEN wanted END AS cadence"
_HALT: Final = "json_extract(wanted, '$.halt') AS halt"
_OPEN_INTENT: Final = (
    f"id AS number, portfolio AS address, call, token, step AS is_step, {CADENCE}, wanted, intent_ms AS at_ms"
)

_NO_OTHER_HALT: Final = f"""NOT EXISTS (
    SELECT 1 FROM halts WHERE {_mine("halts")} AND lifted_ms IS NULL
    AND id NOT IN (SELECT known.value FROM json_each(:halts) AS known)
)"""
_HALTING: Final = f"SELECT id AS token FROM halts WHERE {_mine('halts')} AND lifted_ms IS NULL ORDER BY id"

_THESE: Final = "SELECT one.value FROM json_each(:addresses) AS one"
_OF_THESE: Final = f"WITH known (address) AS ({_THESE})"
# Every address of one service. Each takes one step in the index, however many writes there are.
_ALL: Final = """WITH RECURSIVE known (address) AS (
    SELECT MIN(portfolio) FROM writes WHERE base_url = :base_url
    UNION ALL
    SELECT (SELECT MIN(portfolio) FROM writes WHERE base_url = :base_url AND portfolio > known.address)
    FROM known WHERE known.address IS NOT NULL
)"""


def _is(of: Sequence[Address]) -> str:
    """Return the condition that a row is about one of these addresses; without any, that it is about any."""
    return f"portfolio IN ({_THESE})" if of else "TRUE"


class OpenJournal:
    """The journal of one service and account; ``now_ms`` is the clock, in UTC epoch milliseconds.

    ``account`` is ``None`` if it is not known: then what any account left is believed.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        base_url: str,
        account: str | None = None,
        now_ms: Callable[[], int],
        process: str = "",
        origin: RunOrigin = NOWHERE,
    ) -> None:
        self._tables = tables
        self._halts: dict[str, Halt] = {}
        self._halting: Mapping[str, Halt] | None = None
        self._process = process
        self._origin = origin
        self._whose = {"base_url": base_url, "account": account}
        self._now_ms = now_ms
        self._run: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tables.close()

    def memory(self, *of: Address, plans: Collection[str] = ()) -> Memory:
        """Return all that is known, or all that is known ``of`` these portfolios and strategies, at one moment.

        See :class:`~reconciler.core.ports.Journal` for ``plans``.
        """
        asked = (
            self._pauses(of),
            self._since(of, plans),
            self._records(of),
            self._cadences(of),
            self._unanswered(of),
            self._triggers(of),
            self._question(_HALTING),
        )
        pauses, since, records, cadences, unanswered, triggers, halting = map(list, self._tables.ask(*asked))
        return Memory(
            exists=True,
            records={row.pop("portfolio"): Record(**row) for row in records},
            cadences={row["strategy"]: row["cadence"] for row in cadences if row["cadence"] is not None},
            since={row["address"]: row["token"] for row in since},
            pauses={row["address"]: row["token"] for row in pauses},
            halts={row["address"]: row["halt"] for row in pauses if row["halt"] is not None},
            halting=Halts(holding=self._not_lifted(halting)),
            unanswered={row["address"]: _open_intent(row) for row in unanswered},
            triggers={row["portfolio"]: row["count"] for row in triggers},
        )

    def _records(self, of: Sequence[Address]) -> Question:
        question = f"""
            SELECT portfolio, state, interval_ms, offset_ms, schedule_id, confirmed_ms, marked, pause_reason, imported
            FROM confirmed
            WHERE {_mine("confirmed")} AND {_is(of)} AND NOT EXISTS (
                SELECT 1 FROM writes
                WHERE {_mine("writes")} AND writes.portfolio = confirmed.portfolio
                AND writes.id > confirmed.last_write AND {_COUNTS} AND {_NO_REBALANCE}
            ) ORDER BY portfolio"""
        return self._question(question, of)

    def _cadences(self, of: Sequence[Address]) -> Question:
        # Nothing but a cadence is ever written to a strategy. If the last write may have taken effect, but was neither
        # confirmed nor seen, nobody knows which cadence holds.
        cadence = f"CASE WHEN {_TOOK_EFFECT} THEN found.wanted END AS cadence"
        return self._newest(f"known.address AS strategy, {cadence}", _COUNTS, of, only=Call.SET_CADENCE)

    def _since(self, of: Sequence[Address], plans: Collection[str]) -> Question:
        # A write that completed its change counts, whichever plan it was made under.
        which = f"{_COUNTS} AND {_NO_REBALANCE} AND ((step = 0 AND {_TOOK_EFFECT}) OR NOT {_UNDER_PLANS})"
        return self._newest("known.address, found.token", which, of, plans=_listed(plans))

    def _pauses(self, of: Sequence[Address]) -> Question:
        # The newest write that counts decides, whatever call it was: a resume of ours ends our earlier pause.
        columns = f"known.address, found.token, {_HALT}"
        return self._newest(columns, f"{_COUNTS} AND {_SETS_STATE}", of, only=Call.PAUSE)

    def _newest(
        self, columns: str, which: str, of: Sequence[Address], *, only: Call | None = None, **values: object
    ) -> Question:
        """Ask for columns of the newest write to each of these addresses for which ``which`` holds, sorted by address.

        With ``only``, an address whose newest write is another call is left out.
        """
        call = "found.call" if only is None else f"'{only}'"
        question = f"""{_OF_THESE if of else _ALL}
            SELECT {columns} FROM known CROSS JOIN writes AS found ON found.id = (
                SELECT id FROM writes WHERE {_mine("writes")} AND portfolio = known.address AND {which}
                ORDER BY id DESC LIMIT 1
            ) AND found.call = {call} ORDER BY known.address"""
        return self._question(question, of, **values)

    def _unanswered(self, of: Sequence[Address]) -> Question:
        question = f"""
            SELECT {_OPEN_INTENT} FROM writes
            WHERE {_mine("writes")} AND {_is(of)} AND {_UNKNOWN} AND {_ASKS_FOR_A_RUN} AND NOT EXISTS (
                SELECT 1 FROM writes AS later
                WHERE {_mine("later")} AND later.portfolio = writes.portfolio AND later.id > writes.id
                AND {_COUNTS} AND {_ASKS_FOR_A_RUN}
            ) ORDER BY portfolio"""
        return self._question(question, of)

    def unsettled(self) -> tuple[OpenIntent, ...]:
        """Return the writes to this service that have an intent and no outcome, oldest first: their run died.

        The reasons that were sent with them are not kept.
        """
        found = self._rows(f"SELECT {_OPEN_INTENT} FROM writes WHERE {_mine('writes')} AND outcome IS NULL ORDER BY id")
        return tuple(_open_intent(row) for row in found)

    def _triggers(self, of: Sequence[Address]) -> Question:
        """Ask how many rebalances of the last 24 hours count, by portfolio."""
        question = f"""
            SELECT portfolio, COUNT(*) AS count FROM writes
            WHERE {_mine("writes")} AND {_is(of)} AND call = '{Call.REBALANCE}' AND intent_ms >= :since_ms
                AND {_COUNTS}
            GROUP BY portfolio ORDER BY portfolio"""
        return self._question(question, of, since_ms=self._now_ms() - DAY_MS)

    def knows(self, token: str) -> bool:
        """Whether the journal has a write to this service with this token."""
        return self._any_write("token = :token", token=token)

    def maybe_sent(self, address: Address, call: Call, *, plans: Collection[str]) -> bool:
        """Whether a call of this kind was made under one of these plans whose outcome stayed unknown."""
        which = f"portfolio = :address AND call = :call AND {_UNKNOWN} AND {_UNDER_PLANS}"
        return self._any_write(which, address=address, call=call, plans=_listed(plans))

    def _any_write(self, which: str, **values: object) -> bool:
        return bool(
            self._rows(f"SELECT id AS number FROM writes WHERE {_mine('writes')} AND {which} LIMIT 1", **values)
        )

    def last_write(self, address: Address, token: str) -> LastWrite | None:
        """Return the write to an address with this token, of those that count."""
        question = f"""
            SELECT token, call, intent_ms AS at_ms, {_TOOK_EFFECT} AS took_effect, {CADENCE}, {_HALT} FROM writes
            WHERE {_mine("writes")} AND portfolio = :address AND token = :token ORDER BY id DESC LIMIT 1"""
        return next((LastWrite(**row) for row in self._rows(question, address=address, token=token)), None)

    def written_since(self, at_ms: int) -> Mapping[Address, int]:
        """Return when the last write that counts ended, for each address that was written to at that time or later.

        A write without an outcome counts as ending last, because it may still take effect. Rebalances don't count.
        """
        question = f"""
            SELECT portfolio AS address, MAX(COALESCE(outcome_ms, {LATEST_MS})) AS outcome_ms FROM writes
            WHERE {_mine("writes")} AND {_COUNTS} AND {_NO_REBALANCE} AND (outcome_ms IS NULL OR outcome_ms >= :at_ms)
            GROUP BY portfolio ORDER BY portfolio"""
        return {row["address"]: row["outcome_ms"] for row in self._rows(question, at_ms=at_ms)}

    def confirmed_at(self) -> Mapping[PortfolioId, int]:
        """Return when each portfolio was confirmed last, even if a later write made that record void."""
        found = self._rows("SELECT portfolio, confirmed_ms FROM confirmed WHERE base_url = :base_url")
        return {row["portfolio"]: row["confirmed_ms"] for row in found}

    def open_run(self, *, fingerprint: str, tool: str, approved: str | None = None) -> int:
        """Begin a run, to which every write belongs; return its number.

        ``approved`` is the plan that a person approved, if it is another one.
        """
        run = {"fingerprint": fingerprint, "tool": tool, "process": self._process, "approved": approved}
        run |= msgspec.structs.asdict(self._origin)
        row = {**self._whose, **run, "started_ms": self._now_ms()}
        self._run = self._insert("INSERT INTO runs", row, then="RETURNING id")()
        return self._run

    def join_run(self, number: int) -> None:
        """Make what this runner writes part of a run that others are at work with, or that was cut off."""
        self._run = number
        self._tables.write("UPDATE runs SET finished_ms = NULL, exit_reason = NULL WHERE id = :run", [{"run": number}])

    def hold(self, kind: int, number: int) -> None:
        """Hold a lock of the server for as long as this journal can be written to."""
        held = "SELECT 1 AS number FROM (SELECT pg_advisory_lock(:kind, :lock)) AS held"
        self._rows(held, kind=kind, lock=number)

    def give_up_dead_runs(self) -> None:
        """Mark the runs that have no end as cut off, without a time. Only for a holder of the lock without a run."""
        dead = "finished_ms IS NULL AND exit_reason IS NULL"
        self._tables.write(f"UPDATE runs SET exit_reason = :reason WHERE {dead}", [{"reason": CUT_OFF}])

    def close_run(self, exit_reason: str) -> None:
        """Say how the run ended."""
        end = {"at_ms": self._now_ms(), "reason": exit_reason, "run": self._run}
        self._tables.write("UPDATE runs SET finished_ms = :at_ms, exit_reason = :reason WHERE id = :run", [end])

    def now_ms(self) -> int:
        """Return the time by the journal's clock, UTC epoch milliseconds."""
        return self._now_ms()

    def begin(self, intent: Intent) -> int:
        """Commit the intent of a write before it is sent; return its number."""
        return self._insert("INSERT INTO writes", self._write(intent, self._now_ms()), then="RETURNING id")()

    def announce(self, intent: Intent, gate: WriteGate, *, at_ms: int) -> Callable[[], int]:
        """Write down the intent of a write, as of ``at_ms``, unless the gate is closed for it.

        Returns what gives its number once that is committed. It is 0 where nothing was written down, because a halt was
        recorded that this journal had not read yet: then read :meth:`halting`, and announce it again. So the usual case
        takes one trip to a server, and no halt is missed: whoever records one waits for the end of this transaction, or
        is seen in it. Raises :class:`~reconciler.core.intent.GateClosed`.
        """
        with self.together():
            known = self.halting() if self._halting is None else self._halting
            try:
                gate.require_open(intent, known.values())
            except GateClosed:
                gate.require_open(intent, self.halting().values())  # one of them may be lifted by now
            row = {**self._write(intent, at_ms), "halts": _listed(known)}
            return self._insert("INSERT INTO writes", row, only=_NO_OTHER_HALT, then="RETURNING id")

    def halting(self) -> Mapping[str, Halt]:
        """Return the halts that are not lifted, by id."""
        return self._not_lifted(self._rows(_HALTING))

    def _not_lifted(self, rows: Iterable[JournalRow]) -> Mapping[str, Halt]:
        """Return these halts by id. Each is read once: only its end is ever written to it."""
        ids = [row["token"] for row in rows]
        if any(one not in self._halts for one in ids):
            self._halts = {one.id: one for one in self.halts()}
        self._halting = {one: self._halts[one] for one in ids}
        return self._halting

    def hang_up(self) -> None:
        """Give up waiting for a server: see :class:`~reconciler.apply.journaltables.Tables`."""
        self._tables.hang_up()

    def is_busy(self) -> bool:
        """Whether another process has the journal locked at this moment; for whoever was opened ``beside`` it."""
        return self._tables.is_locked()

    def apis(self) -> Mapping[PortfolioId, ApiVersion | None]:
        """Return the API of every portfolio that the journal knows, sorted by id; ``None`` where it does not tell."""
        confirmed = f"SELECT portfolio, schedule_id FROM confirmed WHERE {_mine('confirmed')}"
        asked = (self._question(confirmed), self._newest("known.address, found.wanted", "TRUE", ()))
        recorded, written = map(list, self._tables.ask(*asked))
        found: dict[PortfolioId, ApiVersion | None] = {
            row["portfolio"]: _api_of(row["schedule_id"]) for row in recorded
        }
        found |= {row["address"]: row["wanted"].api for row in written if strategy_of(row["address"]) is None}
        return dict(sorted(found.items()))

    def halts(self) -> tuple[Halt, ...]:
        """Return every halt, lifted or not, sorted by id."""
        found = self._rows(f"SELECT halt AS made, lifted_ms FROM halts WHERE {_mine('halts')} ORDER BY id")
        return tuple(replace(row["made"], lifted_ms=row["lifted_ms"]) for row in found)

    def halt(self, halt: Halt) -> None:
        """Commit a halt. From then on, every write that begins has been checked against it."""
        text = json.dumps(dump(halt))
        row = {**self._whose, "id": halt.id, "halt": text, "lifted_ms": halt.lifted_ms}
        self._replace("halts", ("base_url", "id"), row)

    def end(self, number: int, outcome: WriteOutcome, detail: str, *, at_ms: int | None = None) -> None:
        """Commit the outcome of the write with this number. ``at_ms`` is its time, by default now."""
        end = {"outcome": outcome, "detail": detail, "at_ms": self._now_ms() if at_ms is None else at_ms}
        statement = "UPDATE writes SET outcome = :outcome, detail = :detail, outcome_ms = :at_ms WHERE id = :number"
        self._tables.write(statement, [{**end, "number": number}])

    def take_over(self, writes: Sequence[tuple[Intent, int, WriteOutcome, str]]) -> None:
        """Commit writes from another journal, in their order, all at once: each with its time, outcome and detail."""
        rows = [
            {**self._write(intent, at_ms), "outcome": outcome, "detail": detail, "outcome_ms": at_ms}
            for intent, at_ms, outcome, detail in writes
        ]
        self._insert("INSERT INTO writes", *rows)

    def _write(self, intent: Intent, at_ms: int) -> JournalRow:
        own = {"portfolio": intent.address, "call": intent.call, "token": intent.token, "step": intent.is_step}
        return {**self._whose, "run": self._run, **own, "wanted": Wanted.text_of(intent), "intent_ms": at_ms}

    def confirm(self, records: Mapping[PortfolioId, Record]) -> None:
        """Commit what the service confirmed or showed, all at once."""
        rows = [{**self._whose, "portfolio": one, **msgspec.to_builtins(record)} for one, record in records.items()]
        last_write = "(SELECT COALESCE(MAX(id), 0) FROM writes)"
        self._replace("confirmed", ("base_url", "portfolio"), *rows, last_write=last_write)

    def results(self, *, last: int) -> Mapping[PortfolioId, Sequence[KeptRebalance]]:
        """Return the ``last`` rebalances of each portfolio, newest first, sorted by portfolio; only of those with any.

        One that began later is newer, whenever it was read.
        """
        question = f"""
            SELECT portfolio, result, read_ms FROM (
                SELECT *, ROW_NUMBER() OVER (PARTITION BY portfolio ORDER BY begun_ms DESC, rebalance DESC) AS place
                FROM results WHERE {_mine("results")}
            ) AS placed WHERE place <= :last ORDER BY portfolio, place"""
        found: defaultdict[PortfolioId, list[KeptRebalance]] = defaultdict(list)
        for row in self._rows(question, last=last):
            found[row["portfolio"]].append(KeptRebalance(rebalance=row["result"], read_ms=row["read_ms"]))
        return found

    def keep_results(self, results: Mapping[PortfolioId, Sequence[Rebalance]]) -> None:
        """Commit what was read of rebalances just now, all at once.

        Each takes the place of what was known of it, unless it is known to be over and the new one says it is not. Of
        each portfolio only the newest stay.
        """
        now_ms = self._now_ms()
        rows: list[JournalRow] = [
            {
                **self._whose,
                "portfolio": portfolio,
                "rebalance": one.id,
                "begun_ms": now_ms if one.begun_ms is None else one.begun_ms,
                "read_ms": now_ms,
                "over": one.over,
                "result": json.dumps(dump(one)),
            }
            for portfolio, known in results.items()
            for one in known
        ]
        with self.together():
            self._insert("INSERT INTO results", *rows, then=_UNLESS_OVER)
            which = {**self._whose, "most": KEPT_RESULTS}
            self._tables.write(_LEAVE_NEWEST, [{**which, "portfolio": portfolio} for portfolio in results])

    def _insert(
        self, into: str, *rows: JournalRow, only: str = "TRUE", then: str = "", **made: str
    ) -> Callable[[], int]:
        """Commit rows of the same columns, all at once, each where the condition ``only`` holds.

        ``made`` are columns whose values SQL computes.
        """
        if not rows:
            return int
        columns = {f'"{name}"': f":{name}" for name in rows[0] if name != "halts"} | made
        values = ", ".join(columns.values())
        return self._tables.write(f"{into} ({', '.join(columns)}) SELECT {values} WHERE {only} {then}", rows)

    def _replace(self, table: str, key: tuple[str, ...], *rows: JournalRow, **made: str) -> None:
        """Commit rows in place of those with the same key; see :meth:`_insert`."""
        names = [name for name in (*(rows[0] if rows else ()), *made) if name not in key]
        then = (
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)}"
        )
        self._insert(f"INSERT INTO {table}", *rows, then=then, **made)

    def together(self) -> AbstractContextManager[None]:
        """Make one transaction of everything inside: see :class:`~reconciler.apply.journaltables.Tables`."""
        return self._tables.together()

    def _question(self, text: str, of: Sequence[Address] = (), **values: object) -> Question:
        return Question(text, {**self._whose, "addresses": json.dumps(of), **values})

    def _rows(self, text: str, **values: object) -> list[JournalRow]:
        (found,) = self._tables.ask(self._question(text, (), **values))
        return list(found)


def _open_intent(row: JournalRow) -> OpenIntent:
    number, at_ms, wanted = row.pop("number"), row.pop("at_ms"), row.pop("wanted")
    return OpenIntent(number=number, intent=Intent(**{**msgspec.structs.asdict(wanted), **row}), at_ms=at_ms)


def _api_of(schedule_id: str | None) -> ApiVersion | None:
    """Return the API of a record: v2 has no id of a schedule, but the due time of a pause in its place."""
    if schedule_id is None:
        return None
    return ApiVersion.V1 if due_ms_of(schedule_id) is None else ApiVersion.V2


def _listed(plans: Collection[str]) -> str:
    return json.dumps(sorted(plans))


def open_journal(
    place: JournalPlace,
    *,
    base_url: str,
    now_ms: Callable[[], int],
    process: str = "",
    origin: RunOrigin = NOWHERE,
    account: str | None = None,
    beside: bool = False,
    shared: bool = False,
) -> OpenJournal:
    """Open the journal for writing, make what is missing of it, and keep every other writer out.

    With ``beside``, nobody is kept out: a halt must not wait for an apply, and both commit in short transactions.
    With ``shared``, other runners of the same plan are not kept out; only a server can tell them from other writers.
    ``account`` is that of the key, ``None`` if it is not known. ``process`` names this process to those who wait.
    ``origin`` is where its runs come from. If nobody else can be at work, runs without an end are marked as cut off.
    Raises :class:`JournalError`; if another writer is at work, at once a :class:`JournalBusy`.
    """
    with ExitStack() as undo:
        tables = undo.enter_context(closing(_tables_to_write(place, process, beside=beside, shared=shared)))
        journal = OpenJournal(tables, base_url=base_url, account=account, now_ms=now_ms, process=process, origin=origin)
        if not (beside or shared):
            journal.give_up_dead_runs()
        undo.pop_all()
    return journal


def _tables_to_write(place: JournalPlace, process: str, *, beside: bool, shared: bool) -> Tables:
    if isinstance(place, Path):
        from reconciler.apply.journalfile import file_to_write

        return file_to_write(place, process, beside=beside)
    from reconciler.apply.journalserver import server_to_write

    return server_to_write(place, process, beside=beside, shared=shared)
