"""One plan carried out by several runners: which change is whose, kept in the PostgreSQL journal that they share.

In: the plan, the terms that all runners must agree on, a connection to the journal's database. Out: the
:class:`~reconciler.core.ports.Claims` of one runner. Each runner writes to Glider, and announces its writes in the
journal, just as one that is alone.

A joined apply is one run of one plan. It is over once each change has its result, or once nothing more may begin and
nothing is under way. A runner that comes later gets its report. Until then every runner with the same plan file may
come and go. A runner lives as long as it can write to the journal, whose connection holds a lock for it. One that
counts as dead can't announce a write any more. The changes whose result it has not told are handed to another runner,
after a pause that is longer than an announced write may wait to be sent.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from msgspec import Struct

from reconciler.apply.journal import CUT_OFF
from reconciler.apply.journalserver import LOCKS, connect, hang_up, using_server
from reconciler.apply.run import why_stop
from reconciler.core.codec import dump, load
from reconciler.core.errors import FailureKind, JournalBusy, JournalError, UsageError
from reconciler.core.plan import write_waves
from reconciler.core.planfile import fingerprint
from reconciler.core.ports import Abandoned, Turn
from reconciler.core.report import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from reconciler.apply.journal import OpenJournal
    from reconciler.apply.journalserver import ServerConnection, ServerCursor
    from reconciler.core.endpoint import JournalUrl
    from reconciler.core.model import Address
    from reconciler.core.plan import Plan
    from reconciler.core.ports import Clock

    _Values = Mapping[str, object] | tuple[object, ...] | None

T = TypeVar("T")

_TERMS: Final = "--canary, --max-failures, --allow freeze=NAME and --again"
GONE_MS: Final = 5_000
"""How long a runner must have been without its journal before another takes over. Its process may still be there; it
sends a write that it has announced within two seconds of its look, or never."""
_RUNNERS: Final = LOCKS + 1  # the first half of the key of a lock; the second is the runner's number
_DOOR: Final = (_RUNNERS, 0)
"""Held by the one runner that is about to begin or to join."""
_DEAD: Final = "UPDATE runners SET has_left = 1 WHERE has_left = 0 RETURNING id"
_LIVING: Final = """(
    SELECT objid::BIGINT FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND classid = %(runners)s AND objsubid = 2 AND granted
)"""
_AT_WORK: Final = f"""
    SELECT joined.run, base_url, fingerprint, planned_ms, terms, string_agg(name, ', ' ORDER BY id) AS names
    FROM joined JOIN runners USING (run) WHERE has_left = 0 AND id IN {_LIVING}
    GROUP BY joined.run ORDER BY joined.run DESC LIMIT 1"""
_OF_THIS_PLAN: Final = """
    SELECT run, base_url, fingerprint, planned_ms, terms, '' AS names FROM joined
    WHERE base_url = %(base_url)s AND fingerprint = %(fingerprint)s AND planned_ms = %(planned_ms)s
    ORDER BY run DESC LIMIT 1"""
_IS_OVER: Final = f"""
    SELECT NOT EXISTS (
        SELECT 1 FROM claims WHERE claims.run = joined.run AND outcome IS NULL
        AND (joined.stopped IS NULL OR runner IS NOT NULL)
    ), exit_reason = '{CUT_OFF}' FROM joined JOIN runs ON runs.id = run WHERE run = %(run)s"""
# What is known of the writes of a claim's change in this run. A runner that gave it back may have begun it, too: one
# that lost its journal over a write can't tell what became of it.
_BEGUN: Final = """
    EXISTS (
        SELECT 1 FROM writes
        WHERE writes.run = %(run)s AND portfolio = address AND writes.outcome IN ('confirmed', 'seen')
    ), EXISTS (
        SELECT 1 FROM writes
        WHERE writes.run = %(run)s AND portfolio = address AND writes.outcome IN ('unknown', 'unseen')
            AND call IN ('start', 'update-schedule')
    ), EXISTS (
        SELECT 1 FROM writes WHERE writes.run = %(run)s AND portfolio = address AND writes.outcome IS NULL
    )"""
# It is one statement, and so one trip to the server, in which nothing is claimed if the apply has to stop. A canary
# that waits for a freeze does not stop it, because that is no sign of a problem.
_TAKE: Final = f"""
    WITH undone AS (
        SELECT COUNT(*) FILTER (WHERE outcome IN ('failed', 'unknown')) AS failed,
            COALESCE(MAX(is_refused), 0) > 0 AS refused,
            (array_agg(address ORDER BY place) FILTER (
                WHERE is_canary = 1 AND wave < %(wave)s AND is_frozen = 0
            ))[1] AS canary
        FROM claims WHERE run = %(run)s AND outcome NOT IN ('done', 'already_done')
    ), facts AS (
        SELECT stopped, failed, refused, canary FROM joined CROSS JOIN undone WHERE run = %(run)s
    ), free AS (
        SELECT place FROM claims CROSS JOIN facts
        WHERE run = %(run)s AND wave = %(wave)s AND runner IS NULL AND outcome IS NULL AND stopped IS NULL
            AND NOT refused AND canary IS NULL AND failed <= %(most)s
        ORDER BY place LIMIT 1 FOR UPDATE OF claims SKIP LOCKED
    ), claimed AS (
        UPDATE claims SET runner = %(me)s FROM free WHERE claims.run = %(run)s AND claims.place = free.place
        RETURNING address, {_BEGUN}
    )
    SELECT facts.*, EXISTS (SELECT 1 FROM claims WHERE run = %(run)s AND wave = %(wave)s AND outcome IS NULL), claimed.*
    FROM facts LEFT JOIN claimed ON true"""
_UNDER_WAY: Final = f"""
    SELECT runner, runner IN {_LIVING} AS lives FROM claims
    WHERE run = %(run)s AND (wave = %(wave)s OR %(stopped)s = 1) AND outcome IS NULL AND runner IS NOT NULL
    GROUP BY runner ORDER BY runner"""
_TAKE_OVER: Final = f"""
    UPDATE claims SET runner = %(me)s WHERE run = %(run)s AND place = (
        SELECT place FROM claims
        WHERE run = %(run)s AND (wave = %(wave)s OR %(stopped)s = 1) AND outcome IS NULL AND runner = %(dead)s
        ORDER BY place LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING address, {_BEGUN}"""
_END: Final = """
    UPDATE claims
    SET outcome = %(outcome)s, is_refused = %(refused)s, is_frozen = %(frozen)s, told = %(told)s
    WHERE run = %(run)s AND address = %(address)s AND runner = %(me)s AND outcome IS NULL"""
_LEAVE: Final = """
    UPDATE claims SET runner = NULL WHERE run = %(run)s AND runner = %(me)s AND outcome IS NULL"""


class Terms(Struct, frozen=True, kw_only=True):
    """How carefully all runners together carry out a plan; each must be started with the same terms."""

    canary: int
    max_failures: int | None
    again: tuple[str, ...] = ()
    freezes: tuple[str, ...] = ()


class _Facts(NamedTuple):
    """What :data:`_TAKE` finds."""

    stopped: str | None
    failed: int
    refused: bool
    canary: Address | None
    is_open: bool
    address: Address | None
    has_written: bool | None
    unproven: bool | None
    has_open_intent: bool | None


class _Joined(NamedTuple):
    """A joined apply: its run, its plan, its terms as they are saved, and who is at work with it."""

    run: int
    base_url: str
    fingerprint: str
    planned_ms: int
    terms: str
    names: str


@contextmanager
def joined_claims(url: JournalUrl, *, plan: Plan, terms: Terms, name: str, clock: Clock) -> Iterator[JoinedClaims]:
    """Connect a runner to the claims of a plan. Raises :class:`JournalError`."""
    with using_server(url):
        connection = connect(url, name)
    with closing(connection), ThreadPoolExecutor(max_workers=1, thread_name_prefix="claims") as thread:
        claims = JoinedClaims(connection, thread, url, plan=plan, terms=terms, name=name, clock=clock)
        try:
            yield claims
        except BaseException:  # such as a signal, while the thread waits for the server
            claims.hang_up()
            raise


class JoinedClaims:
    """The claims of one runner among several: a :class:`~reconciler.core.ports.Claims`.

    ``run`` is the number of the run that all of them belong to; ``is_over`` says whether it had ended before this
    runner came. Both are set once the runner has entered. ``carried_out`` counts the results that it told. Only a
    thread of its own uses the connection, for one question at a time.
    """

    run: int
    is_over = False
    _was_cut_off = False

    def __init__(
        self,
        connection: ServerConnection,
        thread: ThreadPoolExecutor,
        url: JournalUrl,
        *,
        plan: Plan,
        terms: Terms,
        name: str,
        clock: Clock,
    ) -> None:
        self._connection, self._thread, self._url = connection, thread, url
        self._plan, self._terms, self._name, self._clock = plan, terms, name, clock
        self.carried_out = 0
        self._changes = {change.id: change for change in plan.changes}
        self._at_work: _Joined | None = None
        self._dead_since: dict[int, int] = {}
        self._values: dict[str, Any] = {
            "runners": _RUNNERS,
            "me": None,  # until it is at work
            "base_url": plan.base_url,
            "fingerprint": fingerprint(plan),
            "planned_ms": plan.created_ms,
            "most": 2**62 if terms.max_failures is None else terms.max_failures,
        }

    def hang_up(self) -> None:
        """Let nobody wait any longer for a server that does not answer. Any thread may call it."""
        hang_up(self._connection)

    async def at_the_door(self) -> None:
        """Find out who is at work. Nobody else begins or joins until this runner has entered, or is gone.

        Raises :class:`JournalBusy` when another runner is at the door, or another plan is being applied;
        :class:`UsageError` when the others' terms differ.
        """
        self._at_work = await self._do(self._look_in)

    def _look_in(self) -> _Joined | None:
        if not self._one("SELECT pg_try_advisory_lock(%s, %s)", _DOOR)[0]:
            raise JournalBusy("another runner is about to join", "Wait for it, or give --lock-timeout more time.")
        try:
            joined = self._found(_AT_WORK)
            if joined is not None:
                self._require_this_plan(joined)
        except BaseException:
            self._one("SELECT pg_advisory_unlock(%s, %s)", _DOOR)
            raise
        return joined

    def _require_this_plan(self, joined: _Joined) -> None:
        wanted = self._values
        if (joined.base_url, joined.fingerprint) != (wanted["base_url"], wanted["fingerprint"]):
            raise JournalBusy(
                f"another plan ({joined.fingerprint[:12]}) is being applied, as run {joined.run}: {joined.names}",
                "Wait for it to end, or give --lock-timeout more time. One plan is applied at a time.",
            )
        if joined.terms != _saved(self._terms):
            raise UsageError(
                f"run {joined.run} of this plan was begun with {_in_words(joined.terms)}",
                f"Start each runner with the same {_TERMS}.",
            )

    async def enter(self, journal: OpenJournal, tool: str, *, settle: Callable[[], Awaitable[object]]) -> None:
        """Begin the joined apply of the plan, or join the one that was begun; from then on this runner is at work.

        From then on, what this runner writes in ``journal`` is part of that run. If no other runner is at work,
        ``settle`` is called first, to find out what became of writes that were left open.
        """
        if self._at_work is None:
            await self._wait_for_the_dead()
            journal.give_up_dead_runs()
            await settle()
        joined = self._at_work or await self._do(partial(self._found, _OF_THIS_PLAN))
        if joined is None:
            self.run = journal.open_run(fingerprint=self._values["fingerprint"], tool=tool)
            await self._do(self._create)
        else:
            self.run = self._values["run"] = joined.run
            self.is_over, self._was_cut_off = await self._do(partial(self._one, _IS_OVER))
            if not self.is_over:
                self._require_this_plan(joined)
            # A run that is over was cut off if whoever had to end it died before that, or lost its connection.
            if not self.is_over or self._was_cut_off:
                journal.join_run(joined.run)
        if not self.is_over:
            journal.hold(_RUNNERS, await self._do(self._register))
        await self._do(partial(self._one, "SELECT pg_advisory_unlock(%s, %s)", _DOOR))

    async def _wait_for_the_dead(self) -> None:
        """Wait until no runner whose connection broke can still send anything."""
        dead = await self._do(partial(self._rows, _DEAD))
        if dead:
            self._dead_since = {runner: self._clock.ticks_ms() for (runner,) in dead}
            await self._clock.sleep(GONE_MS / 1000)

    def _create(self) -> None:
        self._values["run"] = self.run
        places = [
            (self.run, number, wave.is_canary, change.id)
            for number, wave in enumerate(write_waves(self._plan.changes, canary=self._terms.canary))
            for change in wave.changes
        ]
        joined = {**self._values, "terms": _saved(self._terms)}
        with self._connection.transaction():
            self._execute(
                "INSERT INTO joined (run, base_url, fingerprint, planned_ms, terms)"
                " VALUES (%(run)s, %(base_url)s, %(fingerprint)s, %(planned_ms)s, %(terms)s)",
                joined,
            )
            self._connection.cursor().executemany(
                "INSERT INTO claims (place, run, wave, is_canary, address) VALUES (%s, %s, %s, %s, %s)",
                [(place, *row) for place, row in enumerate(places)],
            )

    def _register(self) -> int:
        """Add this runner to those of the run; return its number."""
        with self._connection.transaction():
            me: int = self._one("INSERT INTO runners (run, name) VALUES (%s, %s) RETURNING id", (self.run, self._name))[
                0
            ]
            names = "(SELECT string_agg(name, ', ' ORDER BY id) FROM runners WHERE run = %(run)s)"
            self._execute(f"UPDATE runs SET process = {names} WHERE id = %(run)s")
        self._values["me"] = me
        return me

    async def take(self, wave: int) -> Turn:
        """Claim the next change of a wave, or one that a dead runner had begun."""
        return await self._do(partial(self._take, wave))

    def _take(self, wave: int) -> Turn:
        values: Mapping[str, object] = {"wave": wave}
        facts = _Facts(*self._one(_TAKE, values))
        stopped = facts.stopped or why_stop(
            failed=facts.failed, max_failures=self._terms.max_failures, canary=facts.canary, refused=facts.refused
        )
        if facts.address is not None:
            begun = facts.has_written or facts.unproven or facts.has_open_intent
            left = Abandoned(has_written=bool(facts.has_written), unproven=bool(facts.unproven)) if begun else None
            return Turn(change=self._changes[facts.address], abandoned=left)
        if stopped is not None and facts.stopped is None:
            stopped = self._stop(stopped)
        if stopped is None and not facts.is_open:
            return Turn(over=True)
        return self._take_over(values, stopped)

    def _stop(self, why: str) -> str:
        """Stop all runners; return the first reason that one of them gave."""
        stop = "UPDATE joined SET stopped = COALESCE(stopped, %(why)s) WHERE run = %(run)s RETURNING stopped"
        first: str = self._one(stop, {"why": why})[0]
        return first

    def _take_over(self, values: Mapping[str, object], stopped: str | None) -> Turn:
        """Return a change that a dead runner had begun, once it has been dead for long enough."""
        values = {**values, "stopped": stopped is not None}
        under_way = self._rows(_UNDER_WAY, values)
        for runner in (runner for runner, lives in under_way if not lives and runner != self._values["me"]):
            since_ms = self._dead_since.setdefault(runner, self._clock.ticks_ms())
            if self._clock.ticks_ms() - since_ms < GONE_MS:
                continue
            for address, has_written, unproven, _ in self._rows(_TAKE_OVER, {**values, "dead": runner}):
                left = Abandoned(has_written=has_written, unproven=unproven)
                return Turn(change=self._changes[address], abandoned=left, stopped=stopped)
        return Turn(over=stopped is not None and not under_way, stopped=stopped)

    async def end(self, result: Result) -> None:
        """Keep what became of a change. Raises :class:`JournalError` if another runner has taken it over."""
        error = result.error
        told = {name: value for name, value in dump(result).items() if name != "change"}  # which is in the plan
        values = {
            "outcome": result.outcome.value,
            "refused": error is not None and error.kind is FailureKind.UNAUTHENTICATED,
            "frozen": result.frozen is not None,
            "told": json.dumps(told),
            "address": result.change.id,
        }
        if await self._do(lambda: self._execute(_END, values).rowcount) != 1:
            raise JournalError(
                f"another runner has taken over {result.change.id}: this one was taken for dead",
                "Nothing is lost; the report of the others tells what became of it.",
            )
        self.carried_out += 1

    async def results(self) -> Mapping[Address, Result]:
        """Return what became of each change so far, on all runners."""
        question = "SELECT address, told FROM claims WHERE run = %(run)s AND outcome IS NOT NULL ORDER BY place"
        rows = await self._do(partial(self._rows, question))
        return {address: self._result(address, told) for address, told in rows}

    def _result(self, address: Address, saved: str) -> Result:
        return load({**json.loads(saved), "change": dump(self._changes[address])}, Result)

    async def leave(self) -> bool:
        """Give back what this runner has not begun; return whether it has to end the run, as the last one at work.

        Call it when nothing of this runner is under way any more.
        """
        return self._was_cut_off if self.is_over else await self._do(self._leave)

    def _leave(self) -> bool:
        with self._connection.transaction():
            # The row lock makes sure that of two runners that leave at once, one sees that the other has gone.
            self._one("SELECT run FROM joined WHERE run = %(run)s FOR UPDATE")
            self._execute(_LEAVE)
            self._execute("UPDATE runners SET has_left = 1 WHERE id = %(me)s")
            return self._found(_AT_WORK) is None

    def _found(self, question: str) -> _Joined | None:
        return next((_Joined(*row) for row in self._rows(question)), None)

    def _one(self, statement: str, values: _Values = None) -> tuple[Any, ...]:
        return self._rows(statement, values)[0]

    def _rows(self, statement: str, values: _Values = None) -> list[tuple[Any, ...]]:
        return list(self._execute(statement, values))

    def _execute(self, statement: str, values: _Values = None) -> ServerCursor:
        given = values if isinstance(values, tuple) else {**self._values, **(values or {})}
        return self._connection.execute(statement.encode(), given)

    async def _do(self, work: Callable[[], T]) -> T:
        """Do some work with the connection in its thread. Raises :class:`JournalError`."""

        def guarded() -> T:
            with using_server(self._url):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)


def _saved(terms: Terms) -> str:
    return json.dumps(dump(terms))


def _in_words(saved: str) -> str:
    terms = load(json.loads(saved), Terms)
    words = [f"--canary {terms.canary}"] if terms.canary else []
    words += [] if terms.max_failures is None else [f"--max-failures {terms.max_failures}"]
    words += [f"--again {one}" for one in terms.again]
    words += [f"--allow freeze={one}" for one in terms.freezes]
    return " ".join(words) or f"none of {_TERMS}"
