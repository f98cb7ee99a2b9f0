"""A journal in PostgreSQL: connections that break at any moment, servers that refuse, several machines at once."""

from __future__ import annotations

import signal
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct
from msgspec.structs import replace

from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.journalreads import exists, read_facts, read_memory, read_runs
from reconciler.apply.journalserver import _ALONE, _SHARE, _TAKE, _lock, _said, connect
from reconciler.apply.journaltables import SCHEMA_VERSION
from reconciler.core.errors import JournalBusy, JournalError
from reconciler.core.freeze import WriteGate
from reconciler.core.halt import Halt
from reconciler.core.intent import Call, GateClosed, WriteOutcome
from reconciler.core.model import Desired, PortfolioId, Record, RunState, Verb
from reconciler.core.report import Outcome
from tests.apply.scripted import intent, rows
from tests.apply.test_journal_counts import QUESTIONS
from tests.postgres import Proxy, execute, replica_of
from tests.support import HOUR_MS, NOON_MS, Silence, World, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.apply.journaltables import Question
    from reconciler.core.endpoint import JournalUrl
    from tests.postgres import Server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

HERE = "https://here"
A, B = PortfolioId("aaa"), PortfolioId("bbb")
OPEN = WriteGate()
RECORD = Record(state=RunState.PAUSED, interval_ms=1, offset_ms=0, schedule_id="s", confirmed_ms=NOON_MS)
CONNECTED = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'reconciler%'"
)


@pytest.fixture
def place(server: Server) -> JournalUrl:
    return server.database()


def opened(place: JournalUrl, process: str = "p1") -> OpenJournal:
    return open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS, process=process)


def through(proxy: Proxy, server: Server, place: JournalUrl) -> JournalUrl:
    """Return the URL of the same database behind a proxy."""
    return server.url(name_of(place), folder=proxy.folder)


def name_of(place: JournalUrl) -> str:
    return place.text.partition("///")[2].partition("?")[0]


def wait_for_the_end(place: JournalUrl) -> None:
    """Wait until connections that were cut have ended on the server, too, with whatever had reached it."""
    while execute(place, CONNECTED):
        pass


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(JournalError) as caught:
        action()
    return caught.value.summary, caught.value.detail


class Told(Struct):
    """What a run was told that the journal has: numbers of intents by token, tokens of what ended, and portfolios."""

    begun: dict[str, int] = {}
    ended: list[str] = []
    confirmed: list[str] = []
    closed: bool = False


def work(place: JournalUrl, told: Told) -> None:
    """Make two writes and leave a third one open; note what is answered."""

    async def write(queued: QueuedJournal, number: int) -> None:
        portfolio, token = PortfolioId(f"p{number}"), f"00000{number}"
        await queued.memory(portfolio, plans=("f",))
        told.begun[token] = await queued.begin(intent(portfolio, Call.PAUSE, token), OPEN)
        if number == 3:
            return
        said = queued.end(told.begun[token], WriteOutcome.CONFIRMED, "")
        kept = queued.confirm({portfolio: RECORD})
        await said
        told.ended.append(token)
        await kept
        told.confirmed.append(portfolio)

    async def writes(journal: OpenJournal) -> None:
        with QueuedJournal(journal) as queued:
            for number in (1, 2, 3):
                await write(queued, number)

    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        run(writes(journal))
        journal.close_run("ok")
        told.closed = True


def messages_of(server: Server, place: JournalUrl, action: Callable[[JournalUrl], object]) -> str:
    """Return the letters of the messages that an action sends."""
    with Proxy(server) as proxy:
        action(through(proxy, server, place))
    return proxy.sent


def cuts(sent: str) -> list[dict[str, int]]:
    """Return where these messages can be cut: before each, and behind each that ends a batch, before its answer."""
    return [
        cut
        for number, letter in enumerate(sent)
        for cut in [{"cut_before": number}, *([{"cut_after": number}] if letter in "SQ" else [])]
    ]


@pytest.mark.parametrize(
    "first",
    [0, *(pytest.param(one, marks=pytest.mark.thorough) for one in (1, 2, 3))],
    ids="every fourth, from {}".format,
)
def test_a_connection_that_is_cut_at_any_message(server: Server, first: int) -> None:
    """What was answered is there, nothing is there twice, and the next run finds what was left open."""
    sent = messages_of(server, server.database(), lambda url: work(url, Told()))
    assert len(sent) > 80
    place = server.database()
    for cut in cuts(sent)[first::4]:
        execute(place, "DROP SCHEMA IF EXISTS glider_reconciler CASCADE")
        told = Told()
        with Proxy(server, **cut) as proxy, suppress(JournalError):
            work(through(proxy, server, place), told)
        wait_for_the_end(place)
        with opened(place) as journal:
            assert_nothing_is_lost(place, journal, told)


def assert_nothing_is_lost(place: JournalUrl, journal: OpenJournal, told: Told) -> None:
    kept = {token: (number, outcome) for number, token, outcome in rows(place, "SELECT id, token, outcome FROM writes")}
    assert rows(place, "SELECT COUNT(*) FROM writes") == [(len(kept),)]
    assert {token: kept[token][0] for token in told.begun} == told.begun
    assert {kept[token][1] for token in told.ended} <= {"confirmed"}
    assert len(kept) <= len(told.begun) + 1  # a commit may have lost its answer
    open_ones = sorted(token for token, (_, outcome) in kept.items() if outcome is None)
    assert [one.intent.token for one in journal.unsettled()] == open_ones
    assert journal.memory().records.keys() >= set(told.confirmed)
    ended = [reason for (reason,) in rows(place, "SELECT exit_reason FROM runs")]
    assert ended in ([], ["ok"], ["cut_off"])
    assert not told.closed or ended == ["ok"]


def test_a_read_that_is_cut_is_never_an_empty_journal(server: Server, place: JournalUrl) -> None:
    """Whatever message is lost, the answer is an error or the whole truth."""
    work(place, Told())

    def look(url: JournalUrl) -> tuple[object, ...]:
        return read_memory(url, base_url=HERE, now_ms=NOON_MS), read_runs(url), read_facts(url), exists(url)

    truth = look(place)
    assert truth[3] is True
    for cut in cuts(messages_of(server, place, look)):
        found = None
        with Proxy(server, **cut) as proxy, suppress(JournalError):
            found = look(through(proxy, server, place))
        assert found in (None, truth)


def test_trips(server: Server, place: JournalUrl) -> None:
    """A change waits for the server three times: to ask what is known, to announce, and to say how it ended."""
    opened(place).__exit__()

    async def changes(journal: OpenJournal) -> None:
        with QueuedJournal(journal) as queued:
            for token in ("000001", "000002"):
                await queued.memory(A, plans=("f",))
                number = await queued.begin(intent(A, Call.PAUSE, token), OPEN)
                queued.end(number, WriteOutcome.CONFIRMED, "")
                await queued.confirm({A: RECORD})

    with Proxy(server) as proxy, opened(through(proxy, server, place)) as journal:
        journal.open_run(fingerprint="f", tool="t")
        begun = proxy.trips
        run(changes(journal))
        # A slow machine may bring what ends a change and what it confirms to the server one after the other.
        assert 2 * 3 <= proxy.trips - begun <= 2 * 4


H = HOUR_MS
FLEET = {
    "a": {"interval": "24h", "offset": "0s"},
    "b": {"interval": "24h", "offset": "0s"},
    "c": {"status": "inactive"},
    "d": {"interval": "24h", "offset": "0s"},
}


def desired() -> list[Desired]:
    active, paused = RunState.ACTIVE, RunState.PAUSED
    return [
        Desired(id=PortfolioId("a"), state=paused),
        Desired(id=PortfolioId("b"), state=active, interval_ms=12 * H, offset_ms=0),
        Desired(id=PortfolioId("c"), state=active, interval_ms=24 * H, offset_ms=0),
        Desired(id=PortfolioId("d"), state=paused),
    ]


@pytest.mark.parametrize(
    "first",
    [0, *(pytest.param(one, marks=pytest.mark.thorough) for one in (3, 6, 9))],
    ids="every twelfth, from {}".format,
)
def test_an_apply_whose_journal_is_cut_off(server: Server, first: int) -> None:
    """The next apply settles what was open and does the rest; Glider gets every write, and no start or pause twice."""

    def world(place: JournalUrl) -> World:
        return World(place, FLEET, parallelism=1)  # type: ignore[arg-type]

    whole = world(server.database())
    plan = whole.plan(desired())
    plain = messages_of(server, whole.journal, lambda url: replaced(whole, url).apply(plan))
    place = server.database()
    for cut in cuts(plain)[first::12]:
        execute(place, "DROP SCHEMA IF EXISTS glider_reconciler CASCADE")
        here = world(place)
        plan = here.plan(desired())
        with Proxy(server, **cut) as proxy, suppress(JournalError):
            replaced(here, through(proxy, server, place)).apply(plan)
        wait_for_the_end(place)
        here.journal = place
        here.apply(plan)
        again, report = here.converge(desired())
        assert not [result for result in report.results if result.outcome is not Outcome.DONE]
        assert here.plan(desired()).changes == (), again
        # An update whose answer was lost can't be read back, and is the same sent twice; nothing else is sent again.
        assert set(here.writes()) == set(whole.writes())
        assert states(here) == states(whole)


def states(world: World) -> list[str]:
    """Return the writes that start, pause or resume, sorted."""
    return sorted(write for write in world.writes() if "update-schedule" not in write)


def replaced(world: World, journal: JournalUrl) -> World:
    world.journal = journal  # type: ignore[assignment]
    return world


class Restarting(Silence):
    """An observer that restarts the server when the second change begins."""

    def __init__(self, restart: Callable[[], None]) -> None:
        super().__init__()
        self._restart, self._begun = restart, 0

    def started(self, portfolio: PortfolioId, verb: Verb) -> None:
        self._begun += 1
        if self._begun == 2:
            self._restart()


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["crash", "restart"])
def test_a_server_that_restarts_in_the_midst_of_an_apply(
    server: Server, place: JournalUrl, how: signal.Signals
) -> None:
    """The apply begins nothing more and says why; what it did is known, and the next one does the rest."""
    world = World(place, FLEET, parallelism=1)  # type: ignore[arg-type]
    plan = world.plan(desired())

    def restart() -> None:
        server.stop(how)
        server.start()

    report = world.apply(plan, observer=Restarting(restart))
    outcomes = [result.outcome for result in report.results]
    # The outcome of the first write may have been on its way.
    assert outcomes.count(Outcome.DONE) + outcomes.count(Outcome.UNKNOWN) == 1
    assert outcomes.count(Outcome.NOT_ATTEMPTED) == len(outcomes) - 1
    assert any(f"the journal {place} can't be used: " in result.detail for result in report.results)
    assert len(world.writes()) == 1
    assert {result.outcome for result in world.apply(plan).results} == {Outcome.DONE, Outcome.ALREADY_DONE}
    assert world.plan(desired()).changes == ()


def test_one_writer_at_a_time_on_all_machines(server: Server, place: JournalUrl) -> None:
    """Who comes second is told who is at work, in this journal and in no other; who only reads or halts is let in."""
    other = server.database()
    with opened(place, "process 7 on runner-7.ci.example"), opened(other, "process 8"):
        with pytest.raises(JournalBusy) as caught:
            opened(place)
        assert caught.value.summary == (
            f"another apply is at work with the journal {place}: process 7 on runner-7.ci.example"
        )
        assert read_memory(place, base_url=HERE, now_ms=NOON_MS).exists
        with open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS, beside=True) as halting:
            halting.open_run(fingerprint="f", tool="t")
    opened(place).__exit__()


@pytest.mark.parametrize("attempt", [_TAKE, _SHARE])
def test_a_session_that_clients_share(place: JournalUrl, attempt: str) -> None:
    """A pooler that hands sessions around would give everybody the same lock, so it is refused."""
    with closing(connect(place, "p1")) as session:
        _lock(session, place, attempt=attempt)
        summary, detail = refusal(lambda: _lock(session, place, attempt=attempt))
    assert summary.startswith(f"the journal {place} is reached by a pooler that lets several clients share a session")
    assert detail == "Connect directly, or by a pooler that keeps a session for each client."


def test_the_lock_of_one_that_died(server: Server, place: JournalUrl) -> None:
    """It dies with the connection, whatever became of the machine."""
    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        everybody = f"SELECT pg_terminate_backend(pid, 5000) FROM ({CONNECTED}) AS found"
        execute(place, everybody)
        with opened(place, "p2"):
            assert rows(place, "SELECT exit_reason FROM runs") == [("cut_off",)]
            assert refusal(lambda: journal.begin(intent(A, Call.PAUSE)))[0].startswith(
                f"the journal {place} can't be used: "
            )
        assert rows(place, "SELECT COUNT(*) FROM writes") == [(0,)]


def test_two_that_make_the_tables_at_once(server: Server, place: JournalUrl) -> None:
    """The second one waits, and finds them made."""
    import threading

    import psycopg

    with psycopg.connect(place.text) as other:
        other.execute("SELECT pg_advisory_xact_lock(1735160419, 2)")
        waiting = [threading.Thread(target=lambda: made.append(opened_beside())) for _ in range(2)]
        made: list[OpenJournal] = []

        def opened_beside() -> OpenJournal:
            return open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS, beside=True)

        for one in waiting:
            one.start()
        while execute(place, "SELECT COUNT(*) FROM pg_locks WHERE NOT granted") != [(2,)]:
            assert all(one.is_alive() for one in waiting)
        other.rollback()
    for one in waiting:
        one.join()
    assert len(made) == 2
    for journal in made:
        journal.__exit__()
    assert rows(place, "SELECT version FROM journal") == [(SCHEMA_VERSION,)]


@pytest.mark.parametrize("opening", [opened, exists, read_runs])
def test_two_versions_at_once(place: JournalUrl, opening: Callable[[JournalUrl], object]) -> None:
    """An older program refuses what a newer one has made, to write and to read, and nothing is changed."""
    opened(place).__exit__()
    execute(place, f"UPDATE journal SET version = {SCHEMA_VERSION + 1}")
    assert refusal(lambda: opening(place)) == (
        f"the journal {place} has version {SCHEMA_VERSION + 1}, this program knows {SCHEMA_VERSION}",
        "Use the version of the program that wrote it on every machine, or name another database with --journal.",
    )
    execute(place, "DELETE FROM journal")
    assert "has version None" in refusal(lambda: opening(place))[0]


def test_a_server_that_takes_no_writes(server: Server, place: JournalUrl) -> None:
    """As a replica does: reading works, and whoever wants to write is told before anything is done."""
    work(place, Told())
    truth = read_memory(place, base_url=HERE, now_ms=NOON_MS)
    execute(server.url("postgres"), f"ALTER DATABASE {name_of(place)} SET default_transaction_read_only = on")
    assert read_memory(place, base_url=HERE, now_ms=NOON_MS) == truth
    for beside in (False, True):
        assert refusal(partial(opened_beside, place, beside=beside))[0] == (
            f"the journal {place} can only be read: its server is a replica, or takes no writes"
        )


@pytest.mark.thorough
def test_a_replica(server: Server, place: JournalUrl) -> None:
    """It shows what it has received, for reading alone; among several hosts, the one that takes writes is found."""
    work(place, Told())
    truth = read_memory(place, base_url=HERE, now_ms=NOON_MS), read_runs(place), read_facts(place)
    with replica_of(server) as replica:
        behind = replica.url(name_of(place), folder=replica.folder)
        assert (read_memory(behind, base_url=HERE, now_ms=NOON_MS), read_runs(behind), read_facts(behind)) == truth
        for beside in (False, True):
            assert (
                "can only be read: its server is a replica" in refusal(partial(opened_beside, behind, beside=beside))[0]
            )
        both = server.url(name_of(place), folder=f"{replica.folder},{server.folder}", target_session_attrs="read-write")
        with opened(both) as journal:
            assert journal.open_run(fingerprint="f", tool="t") == 2


def opened_beside(place: JournalUrl, *, beside: bool) -> OpenJournal:
    return open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS, beside=beside)


def test_rights_that_are_missing(server: Server, place: JournalUrl) -> None:
    """A user who may only read reads; who may not even do that is told, and never sees an empty journal."""
    user = f"{name_of(place)}_reader"
    reader = server.url(name_of(place), user=user)
    work(place, Told())
    execute(
        place,
        f"CREATE ROLE {user} LOGIN",
        f"GRANT USAGE ON SCHEMA glider_reconciler TO {user}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA glider_reconciler TO {user}",
    )
    assert read_runs(reader) == read_runs(place)
    needed = (
        "This user needs USAGE of the schema glider_reconciler; SELECT of its tables to read; INSERT, UPDATE and "
        "DELETE besides to write; and CREATE in the database to make them."
    )
    denied = f"the journal {reader} can't be used: permission denied for "
    assert refusal(lambda: opened(reader)) == (f"{denied}table runs", needed)
    execute(place, f"REVOKE USAGE ON SCHEMA glider_reconciler FROM {user}")
    assert refusal(lambda: read_runs(reader)) == (f"{denied}schema glider_reconciler", needed)
    elsewhere = server.url(name_of(server.database()), user=user)
    assert read_runs(elsewhere) is None
    assert "permission denied for database" in refusal(lambda: opened(elsewhere))[0]


@pytest.mark.parametrize(
    ("lock", "held_up"),
    [("LOCK TABLE glider_reconciler.writes", ("begin", "memory")), (_ALONE, ("begin",))],
    ids=["a table", "a commit that another process was stopped over"],
)
def test_a_statement_that_takes_too_long(place: JournalUrl, lock: str, held_up: tuple[str, ...]) -> None:
    """Whoever waits for a lock of somebody else's gives up, and can go on afterwards."""
    import psycopg

    with opened(place) as journal, psycopg.connect(place.text) as other:
        journal.open_run(fingerprint="f", tool="t")
        other.execute(lock.encode())
        journal._tables._connection.execute("SET statement_timeout = '50ms'")  # type: ignore[attr-defined]
        actions = {"begin": lambda: journal.begin(intent(A, Call.PAUSE)), "memory": journal.memory}
        for name in held_up:
            assert refusal(actions[name])[0].endswith("can't be used: canceling statement due to statement timeout")
        other.rollback()
        assert journal.begin(intent(A, Call.PAUSE)) > 0
        assert len(journal.unsettled()) == 1


def test_whoever_holds_a_lock_is_thrown_out_before_others_give_up(place: JournalUrl) -> None:
    """Where the server knows that limit, it is shorter than the one of those who wait."""
    asked = "SELECT setting FROM pg_settings WHERE name = '{}'"
    with opened(place) as journal:
        connection = journal._tables._connection  # type: ignore[attr-defined]
        (waits,), *_ = connection.execute(asked.format("statement_timeout")).fetchall()
        held = connection.execute(asked.format("transaction_timeout")).fetchall()
    assert int(waits) == 60_000
    assert held in ([], [("50000",)])


def test_a_server_that_is_not_there(server: Server) -> None:
    """It is said with the way out, and no word of a password."""
    gone = server.url("postgres", folder=server.folder / "nowhere")
    summary, detail = refusal(lambda: read_runs(gone))
    assert summary.startswith(f"the journal {gone} can't be used: ")
    assert detail.startswith(
        "See that its server runs, has this database and lets this user in; a password comes from PGPASSWORD, "
    )
    assert "\n" not in summary


HALT = Halt(id="h1", base_url=HERE, account=None, reason="r", at_ms=NOON_MS)


def test_a_halt_that_nobody_asked_about_yet(place: JournalUrl) -> None:
    """One that another machine records after the last look holds the next write, and lets pauses pass."""

    async def writes(journal: OpenJournal) -> None:
        with QueuedJournal(journal) as queued:
            await queued.begin(intent(A, Call.RESUME, "000001"), OPEN)
            with open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS, beside=True) as halting:
                halting.halt(HALT)
            with pytest.raises(GateClosed):
                await queued.begin(intent(A, Call.RESUME, "000002"), OPEN)
            await queued.begin(intent(A, Call.PAUSE, "000003"), OPEN)
            with open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS, beside=True) as halting:
                halting.halt(replace(HALT, lifted_ms=NOON_MS))
            await queued.begin(intent(A, Call.RESUME, "000004"), OPEN)

    with opened(place) as journal:
        journal.open_run(fingerprint="f", tool="t")
        run(writes(journal))
        assert [one.intent.token for one in journal.unsettled()] == ["000001", "000003", "000004"]


def test_many_at_once(server: Server, place: JournalUrl) -> None:
    """Writers that are let in together get numbers in the order of their commits, and lose nothing."""
    import threading

    opened(place).__exit__()

    def write(name: int) -> None:
        with open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS, beside=True) as journal:
            journal.open_run(fingerprint=f"f{name}", tool="t")
            for step in range(10):
                journal.end(journal.begin(intent(f"p{step}", Call.PAUSE, f"{name:03}{step:03}")), WriteOutcome.SEEN, "")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(place, "SELECT COUNT(*), COUNT(DISTINCT token), COUNT(outcome) FROM writes") == [(40, 40, 40)]
    memory = read_memory(place, base_url=HERE, now_ms=NOON_MS)
    newest = dict(
        rows(place, "SELECT DISTINCT ON (portfolio) portfolio, token FROM writes ORDER BY portfolio, id DESC")
    )
    assert memory.since == newest


FILLED = (
    (
        "INSERT INTO runs (base_url, fingerprint, tool, process, started_ms)"
        f" SELECT '{HERE}', 'f', 't', 'p', 0 FROM generate_series(1, 50)"
    ),
    (
        "INSERT INTO writes (run, base_url, portfolio, call, wanted, intent_ms, outcome, token, step)"
        f" SELECT 1 + n % 50, '{HERE}', 'p' || (n % 1000), 'pause', '{{}}', n, 'confirmed', 'x' || n, 0"
        " FROM generate_series(1, 20000) AS n"
    ),
    "ANALYZE",
)


def test_no_question_reads_every_write(place: JournalUrl) -> None:
    """Whatever is asked for every change is found by an index, however many writes there are."""
    with opened(place) as journal:
        execute(place, *FILLED)
        tables = journal._tables
        asked: list[Question] = []
        ask = tables.ask
        tables.ask = lambda *questions: (asked.extend(questions), ask(*questions))[1]  # type: ignore[method-assign]
        for question in QUESTIONS.values():
            question(journal)
        assert len(asked) > 20
        for one in asked:
            with tables._connection.cursor() as cursor:  # type: ignore[attr-defined]
                cursor.execute(b"EXPLAIN " + _said(one.text), one.values)
                plan = [line for (line,) in cursor.fetchall()]
            assert [line for line in plan if "Seq Scan on writes" in line] == [], one.text


def test_the_users_of_the_docs(server: Server) -> None:
    """Made as docs/ci.md says, one may write and one may only read, also what the first one made later."""
    page = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    before, after = page.partition("```sql\n")[2].partition("```")[0].split("-- then, connected to that database\n")
    execute(server.url("postgres"), *before.replace("'...'", "'pass-1'").split(";\n")[:-1])
    execute(server.url("journals"), *after.split(";\n")[:-1])
    writer, reader = (server.url("journals", user=user) for user in ("reconciler", "reconciler_reader"))
    assert read_runs(reader) is None
    work(writer, Told())
    assert read_runs(reader) == read_runs(writer)
    assert "permission denied" in refusal(lambda: opened(reader))[0]
