"""The journal off the event loop: what waits shares a commit, nothing is sent without one, and order is kept."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalfile import file_to_write
from reconciler.apply.journalqueue import Gathering, JobKind, QueuedJournal
from reconciler.apply.journalreads import read_memory
from reconciler.apply.journalserver import server_to_write
from reconciler.apply.run import Pace, Stop, apply_plan
from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.errors import JournalError
from reconciler.core.evidence import with_mark
from reconciler.core.freeze import WriteGate
from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.model import Live, PortfolioId, Record, RunState, Status, Verb
from reconciler.core.ports import Confirmation
from reconciler.core.report import Outcome
from tests.apply.carried import plan_of, tokens
from tests.apply.conftest import ON_FILE, broken
from tests.apply.scripted import Scripted, edit, forbid, intent, rows
from tests.support import NOON_MS, FakeClock, Silence, run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from reconciler.apply.journaltables import JournalPlace, Tables
    from reconciler.core.model import Address
    from reconciler.core.ports import Memory

HERE = "https://here"
A, B = PortfolioId("aaa"), PortfolioId("bbb")
CONFIRMED, NOT_SENT = WriteOutcome.CONFIRMED, WriteOutcome.NOT_SENT
RECORD = Record(state=RunState.PAUSED, interval_ms=1, offset_ms=0, schedule_id="s", confirmed_ms=NOON_MS)
MANY = 1_000
OPEN = WriteGate()


class SlowTables:
    """Tables whose commits wait until they are let go, one by one, and are counted."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.commits, self.threads = 0, set[str]()
        self.gate, self.reached = threading.Semaphore(MANY), threading.Event()
        self.before_commit: Callable[[], object] = lambda: None
        self.fails = self._inside = False

    @contextmanager
    def together(self) -> Iterator[None]:
        self.threads.add(threading.current_thread().name)
        with self._tables.together():
            outermost, self._inside = not self._inside, True
            yield
            if not outermost:
                return
            self._inside = False
            self.before_commit()
            self.reached.set()
            assert self.gate.acquire(timeout=60)
            if self.fails:
                raise JournalError("the disk is full")
            self.commits += 1

    def __getattr__(self, name: str) -> Any:
        self.threads.add(threading.current_thread().name)
        return getattr(self._tables, name)


@contextmanager
def opened(place: JournalPlace, clock: FakeClock | None = None) -> Iterator[tuple[OpenJournal, SlowTables]]:
    """Yield a journal with a run, and its tables; its disk is quick until somebody takes its gate away."""
    slow = SlowTables(file_to_write(place, "") if isinstance(place, Path) else server_to_write(place, ""))
    with OpenJournal(slow, base_url=HERE, now_ms=(clock or FakeClock()).now_ms) as journal:
        journal.open_run(fingerprint="f", tool="t")
        slow.commits = 0
        slow.threads.clear()
        yield journal, slow


async def reached(connection: SlowTables) -> None:
    """Wait until the disk holds a commit up."""
    await asyncio.to_thread(connection.reached.wait, 60)
    connection.reached.clear()


def hold(connection: SlowTables) -> None:
    connection.gate = threading.Semaphore(0)
    connection.reached.clear()


def test_what_waits_shares_one_commit(place: JournalPlace) -> None:
    """However many are announced while the disk is busy, two commits do: the one under way and the next."""

    async def work() -> None:
        with opened(place) as (journal, connection), QueuedJournal(journal) as queued:
            hold(connection)
            first = asyncio.ensure_future(queued.begin(intent(A, Call.PAUSE), OPEN))
            await reached(connection)
            others = [asyncio.ensure_future(queued.begin(intent(f"p{n}", Call.PAUSE), OPEN)) for n in range(50)]
            for _ in range(5):
                await asyncio.sleep(0)
            assert not first.done()
            connection.gate.release(MANY)
            assert [await first, *await asyncio.gather(*others)] == list(range(1, 52))
            assert connection.commits == 2
            assert connection.threads == {"journal"}

    run(work())


def patient(_: float) -> Gathering:
    """Wait for as long as there is anybody to wait for."""
    return Gathering(1e6, longest_ride_s=1e6)


SHARED: list[tuple[list[tuple[JobKind | None, float]], bool, float]] = [
    ([(JobKind.INTENT, 0.0)], False, 0.0),
    ([(JobKind.NOTE, 0.0)], False, 0.0),
    ([(JobKind.INTENT, 0.0)], True, 1.0),
    ([(JobKind.INTENT, 0.0), (JobKind.INTENT, 0.9)], True, 1.9),
    ([(JobKind.INTENT, 0.0), (JobKind.INTENT, 0.9), (JobKind.INTENT, 1.8), (JobKind.INTENT, 2.6)], True, 3.3),
    ([(JobKind.INTENT, 0.0), (JobKind.NOTE, 0.9)], True, 1.0),
    ([(JobKind.NOTE, 0.0)], True, 80.0),
    ([(JobKind.NOTE, 0.0), (JobKind.NOTE, 50.0)], True, 80.0),
    ([(JobKind.NOTE, 0.0), (JobKind.INTENT, 50.0)], True, 51.0),
    ([(JobKind.NOTE, 0.0), (JobKind.INTENT, 79.9)], True, 80.0),
    ([(JobKind.NOTE, 0.0), (JobKind.QUESTION, 5.0)], True, 5.0),
    ([(JobKind.INTENT, 0.0), (JobKind.QUESTION, 0.5)], True, 0.5),
    ([(JobKind.NOTE, 0.0), (None, 5.0)], True, 5.0),
]


@pytest.mark.parametrize(("came", "expected", "until_ms"), SHARED)
def test_when_a_commit_begins(came: list[tuple[JobKind | None, float]], expected: bool, until_ms: float) -> None:
    """With commits that take 10 ms: never later than a third of one for an intent, and at once if none is expected."""
    gathering = Gathering(0.010)
    for kind, at_ms in came:
        gathering.add(kind, at_ms / 1_000, expected=expected)
    assert gathering.until_s * 1_000 == pytest.approx(until_ms)


def test_nothing_waits_for_a_quick_disk() -> None:
    """What a shared commit saves is less than what it takes to wait for one."""
    gathering = Gathering(0.004)
    gathering.add(JobKind.NOTE, 1.0, expected=True)
    assert gathering.until_s == 1.0


def test_notes_wait_half_a_second_at_most() -> None:
    """However slow the disk is."""
    gathering = Gathering(10.0)
    gathering.add(JobKind.NOTE, 1.0, expected=True)
    assert gathering.until_s == 1.5


def test_notes_share_the_commit_of_the_intent_that_follows(place: JournalPlace) -> None:
    """While somebody looks, what was noted waits for his intent."""

    async def work() -> None:
        with opened(place) as (journal, connection), QueuedJournal(journal, gathering=patient) as queued:
            with queued.expecting(), queued.expecting():
                said = queued.end(7, CONFIRMED, "")
                await asyncio.to_thread(int)
                assert not said.done()
                begun = asyncio.ensure_future(queued.begin(intent(A, Call.PAUSE), OPEN))
                await asyncio.sleep(0)
            assert await begun == 1
            await said
            assert connection.commits == 1

    run(work())


def test_notes_wait_for_nobody_who_has_looked_in_vain(place: JournalPlace) -> None:
    """When the last look ends without an intent, what waits is committed."""

    async def work() -> None:
        with opened(place) as (journal, connection), QueuedJournal(journal, gathering=patient) as queued:
            with queued.expecting():
                said = queued.end(7, CONFIRMED, "")
                await asyncio.sleep(0)
                assert not said.done()
            await said
            assert connection.commits == 1

    run(work())


def test_an_intent_is_on_the_disk_before_it_is_answered(place: JournalPlace) -> None:
    """Somebody else who opens the file finds it."""

    async def work() -> None:
        with open_journal(place, base_url=HERE, now_ms=lambda: NOON_MS) as journal:
            journal.open_run(fingerprint="f", tool="t")
            with QueuedJournal(journal) as queued:
                for number in (1, 2):
                    assert await queued.begin(intent(A, Call.PAUSE, f"00000{number}"), OPEN) == number
                    assert rows(place, "SELECT COUNT(*) FROM writes") == [(number,)]

    run(work())


def test_outcomes_hold_up_nobody(place: JournalPlace) -> None:
    """They are said, in their order and with their time, while the disk is busy; closing waits until they are kept."""
    clock = FakeClock()

    async def work() -> None:
        with opened(place, clock) as (journal, connection), QueuedJournal(journal) as queued:
            number = await queued.begin(intent(A, Call.PAUSE), OPEN)
            hold(connection)
            clock.advance(5)
            said = queued.end(number, WriteOutcome.UNKNOWN, "first")
            clock.advance(5)
            queued.end(number, CONFIRMED, "then")
            queued.confirm({A: RECORD})
            clock.advance(5)
            assert not said.done()
            connection.gate.release(MANY)

    run(work())
    assert rows(place, "SELECT outcome, detail, intent_ms, outcome_ms FROM writes") == [
        ("confirmed", "then", NOON_MS, NOON_MS + 10)
    ]
    assert read_memory(place, base_url=HERE, now_ms=NOON_MS).records == {A: RECORD}


def test_reads_see_what_was_said_before_it_is_on_the_disk(place: JournalPlace) -> None:
    """Whoever asks finds its own words, and waits for no commit but the one under way."""

    async def work() -> None:
        with opened(place) as (journal, connection), QueuedJournal(journal) as queued:
            number = await queued.begin(intent(A, Call.PAUSE, "0000a1"), OPEN)
            hold(connection)
            under_way = asyncio.ensure_future(queued.begin(intent(B, Call.PAUSE, "0000b1"), OPEN))
            await reached(connection)
            queued.end(number, CONFIRMED, "")
            said = queued.confirm({A: RECORD})
            asking = asyncio.gather(
                queued.memory(A), queued.knows("0000a1"), queued.maybe_sent(A, Call.PAUSE, plans="f")
            )
            await asyncio.sleep(0)
            connection.gate.release()
            memory, knows, sent = await asking
            assert (memory.records, memory.since, knows, sent) == ({A: RECORD}, {A: "0000a1"}, True, False)
            assert not said.done()
            connection.gate.release(MANY)
            assert await under_way == 2
            await said

    run(work())


@pytest.mark.parametrize("when", ["INSERT ON writes", "UPDATE ON writes", "INSERT ON confirmed"])
def test_once_something_is_lost_nothing_goes_on(place: JournalPlace, when: str) -> None:
    """Whoever waits is told, and so is whoever asks later: no write is announced in a journal with a gap."""

    async def work() -> list[str]:
        told = []
        with opened(place) as (journal, _), QueuedJournal(journal) as queued:
            number = await queued.begin(intent(A, Call.PAUSE), OPEN)
            forbid(place, when, why="the disk is full")
            announcing = asyncio.ensure_future(queued.begin(intent(B, Call.PAUSE, "0000b1"), OPEN))
            await asyncio.sleep(0)
            lost = queued.end(number, CONFIRMED, ""), queued.confirm({A: RECORD})
            later = queued.begin(intent(B, Call.PAUSE, "0000b2"), OPEN), queued.memory(A), queued.unsettled()
            await asyncio.gather(announcing, return_exceptions=True)
            for asked in (lost[1], *later, queued.end(number, CONFIRMED, ""), queued.confirm({})):
                with pytest.raises(JournalError, match="the disk is full") as caught:
                    await asked
                told.append(caught.value.summary)
        return told

    assert set(run(work())) == {broken(place, "the disk is full")[0]}
    assert rows(place, "SELECT COUNT(*) FROM confirmed") == [(0,)]
    assert "0000b2" not in str(rows(place, "SELECT token FROM writes"))


def test_a_question_that_finds_damage_harms_nobody_else(place: JournalPlace) -> None:
    """What was said beside it is kept, and the next question is answered."""

    async def work() -> None:
        with opened(place) as (journal, _), QueuedJournal(journal) as queued:
            await queued.begin(intent(A, Call.PAUSE), OPEN)
            edit(place, "UPDATE writes SET wanted = '{'")
            announced = asyncio.ensure_future(queued.begin(intent(B, Call.PAUSE), OPEN))
            with pytest.raises(JournalError, match="it is damaged"):
                await queued.unsettled()
            assert await announced == 2
            assert await queued.knows("0000a1")

    run(work())


def test_interrupted_while_the_disk_is_waited_for(place: JournalPlace) -> None:
    """The intent may be on the disk by then, so it is closed as not sent: nobody has to look for what became of it."""

    async def work() -> None:
        with opened(place) as (journal, connection), QueuedJournal(journal) as queued:
            hold(connection)
            first = asyncio.ensure_future(queued.begin(intent(A, Call.PAUSE), OPEN))
            await reached(connection)
            second = asyncio.ensure_future(queued.begin(intent(B, Call.PAUSE), OPEN))
            await asyncio.sleep(0)
            for announcing in (first, second):
                announcing.cancel()
            await asyncio.wait([first, second])
            assert first.cancelled()
            assert second.cancelled()
            connection.gate.release(MANY)

    run(work())
    outcome = ("not_sent", "interrupted before it was sent")
    assert rows(place, "SELECT outcome, detail FROM writes") == [outcome, outcome]


class Asked(QueuedJournal):
    """Remembers of what its memory was asked for."""

    def __init__(self, journal: OpenJournal) -> None:
        super().__init__(journal)
        self.asked: list[tuple[Address, ...]] = []

    async def memory(self, *of: Address, plans: Collection[str] = ()) -> Memory:
        self.asked.append(of)
        return await super().memory(*of, plans=plans)


class Told(Silence):
    """Remembers the names of what began, and how what finished ended."""

    def __init__(self) -> None:
        super().__init__()
        self.second = asyncio.Event()

    def started(self, portfolio: PortfolioId, verb: Verb) -> None:
        self.results.append(portfolio)
        if len(self.results) == 2:
            self.second.set()

    def finished(self, result: Any) -> None:
        self.results.append((result.change.id, result.outcome))


@pytest.mark.parametrize(
    ("keeps", "outcomes"),
    [(True, [Outcome.DONE, Outcome.DONE]), (False, [Outcome.UNKNOWN, Outcome.NOT_ATTEMPTED])],
)
def test_the_next_change_begins_while_an_outcome_is_written(
    place: JournalPlace, keeps: bool, outcomes: list[Outcome]
) -> None:
    """One that was done is told when the disk has that, and the next waits only for its own intent.

    What the journal knows of both is read before the first.
    """
    pause = Change(
        id=A,
        verb=Verb.PAUSE,
        before=Snapshot(state=Status.ACTIVE, interval_ms=None, offset_ms=None),
        after=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
        fields=(),
        reason=ChangeReason.DECLARED_PAUSED,
    )
    runs = Live(id=A, status=Status.ACTIVE)
    rests = [replace(runs, status=Status.PAUSED, pause_reason=with_mark(None, f"00000{number}")) for number in (1, 2)]
    observer = Told()

    async def work() -> None:
        with opened(place) as (journal, connection), Asked(journal) as queued:

            def slow() -> Live:
                hold(connection)
                return rests[0]

            service = Scripted(runs, Confirmation(), slow, runs, *[Confirmation(), rests[1]] * keeps)
            applying = asyncio.ensure_future(
                apply_plan(
                    plan_of(pause, replace(pause, id=B)),
                    api=service,
                    journal=queued,
                    clock=service.clock,
                    observer=observer,
                    pace=Pace(parallelism=1),
                    stop=Stop(),
                    token=tokens(),
                )
            )
            await observer.second.wait()
            await reached(connection)
            assert observer.results == [A, B]
            connection.fails = not keeps
            connection.gate.release(MANY)
            await applying
            assert queued.asked == [(A, B)]
            assert len(service.answers) <= (not keeps)  # the second look may have been made by then, and no write

    run(work())
    assert observer.results == [A, B, *zip((A, B), outcomes, strict=True)]


@ON_FILE
def test_a_power_cut_keeps_what_was_waited_for(place: Path) -> None:
    """Whatever commit was the last on the disk: every write that was sent is in it, with all that was said before.

    Twenty workers announce, send and say; right before each commit the file is what a power cut would leave.
    """
    said: list[tuple[str, int]] = []
    left: list[tuple[set[int], bytes]] = []
    sent: set[int] = set()

    async def worker(queued: QueuedJournal, name: int) -> None:
        for step in range(4):
            number = await queued.begin(intent(f"p{name}", Call.PAUSE, f"{name:03}{step:03}"), OPEN)
            sent.add(number)
            await asyncio.sleep(0)
            said.append(("end", number))
            queued.end(number, CONFIRMED, "")
            said.append(("confirm", number))
            kept = queued.confirm({PortfolioId(f"p{name}"): replace(RECORD, interval_ms=number)})
            if step % 2:
                await kept

    async def work() -> None:
        with opened(place) as (journal, connection):
            connection.before_commit = lambda: left.append((set(sent), place.read_bytes()))
            with QueuedJournal(journal) as queued:
                await asyncio.gather(*(worker(queued, name) for name in range(20)))
        left.append((set(sent), await asyncio.to_thread(place.read_bytes)))

    run(work())
    assert len(left) > 4
    for number, (on_its_way, content) in enumerate(left):
        file = place.with_name(f"{number}.db")
        file.write_bytes(content)
        intents = {one for (one,) in rows(file, "SELECT id FROM writes")}
        ended = [one for (one,) in rows(file, "SELECT id FROM writes WHERE outcome IS NOT NULL")]
        assert on_its_way <= intents
        words = [("end", one) for one in ended] + [
            ("confirm", one) for (one,) in rows(file, "SELECT interval_ms FROM confirmed")
        ]
        prefix = said[: max(map(said.index, words)) + 1] if words else []
        assert sorted(ended) == sorted(one for what, one in prefix if what == "end")
    assert {one for (one,) in rows(place, "SELECT id FROM writes WHERE outcome = 'confirmed'")} == set(range(1, 81))
