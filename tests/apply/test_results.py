"""What an apply reports: the whole result of every change, sentence for sentence, and what stops the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.journalreads import read_memory
from reconciler.apply.run import GRACE_SECONDS, Pace, SoleClaims, Stop
from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import MARK
from reconciler.core.intent import Call, Intent
from reconciler.core.model import Live, PortfolioId, Record, RunState, Status, Verb
from reconciler.core.plan import Wave
from reconciler.core.ports import Confirmation
from reconciler.core.report import ApplyReport, Outcome, Result
from tests.apply.carried import LOOKS, apply
from tests.apply.carried import plan_of as plan
from tests.apply.scripted import Scripted, edit, rows
from tests.support import BASE_URL, HOUR_MS, NOON_MS, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.apply.journal import OpenJournal

A, B, C = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
H = HOUR_MS
OURS, ANEW = "Freeze [glider-reconciler 00f00d]", "Audit [glider-reconciler 00beef]"
AWAY = ApiError(FailureKind.UNREACHABLE, "no connection")
LOST = ApiError(FailureKind.INTERRUPTED, "no answer")
REFUSED = ApiError(FailureKind.REFUSED, "no", status=400)
NO_KEY = ApiError(FailureKind.UNAUTHENTICATED, "bad key", status=401)
OK = Confirmation()
STORED = Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s1")


def live(status: Status, interval: int | None = None, **more: Any) -> Live:
    return Live(id=A, status=status, interval_ms=interval, **more)


RUNS, RESTS = live(Status.ACTIVE), live(Status.PAUSED, pause_reason=OURS)
MINE, MINE_2 = (
    live(Status.PAUSED, pause_reason=f"Declared in Git [glider-reconciler 00000{number}]") for number in (1, 2)
)

PAUSE = Change(
    id=A,
    verb=Verb.PAUSE,
    before=Snapshot(state=Status.ACTIVE, interval_ms=24 * H, offset_ms=None),
    after=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
    fields=(),
    reason=ChangeReason.DECLARED_PAUSED,
)
UPDATE = replace(
    PAUSE,
    verb=Verb.UPDATE,
    after=Snapshot(state=Status.ACTIVE, interval_ms=12 * H, offset_ms=H),
    reason=ChangeReason.SCHEDULE_DIFFERS,
    writes_schedule=True,
)
RESUME = replace(
    UPDATE,
    verb=Verb.RESUME,
    before=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
    reason=ChangeReason.PAUSED_BY_US,
    pause_reason=OURS,
)
ONLY_RESUME = replace(RESUME, writes_schedule=False)


def pauses(count: int) -> tuple[Change, ...]:
    return tuple(replace(PAUSE, id=PortfolioId(f"p{number}")) for number in range(count))


class Watching:
    """An observer that remembers what it was told, in order."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.told: list[object] = []
        self._then = then

    def started(self, portfolio: PortfolioId, verb: Verb) -> None:
        self.told.append((portfolio, verb))

    def finished(self, result: object) -> None:
        self.told.append(result)
        self._then()


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


def records_at(place: Path) -> dict[PortfolioId, Record]:
    return dict(read_memory(place, base_url=BASE_URL, now_ms=NOON_MS).records)


def result(change: Change, outcome: Outcome, detail: str, *calls: Call, **more: Any) -> Result:
    return Result(change=change, outcome=outcome, detail=detail, calls=calls, **more)


LOST_PAUSE = "pause had no effect (no answer), so it was sent again"
NOT_WHILE_PAUSED = "the schedule could not be set while paused (no (HTTP 400)), so it was set after"
RECORD_OF_24 = Record(
    state=RunState.ACTIVE, interval_ms=24 * H, offset_ms=None, schedule_id=None, confirmed_ms=NOON_MS - H
)

TABLE: dict[str, tuple[list[object], Result]] = {
    "already done": ([RESTS], result(PAUSE, Outcome.ALREADY_DONE, "Glider already is as desired")),
    "another state": (
        [live(Status.ARCHIVED, word="shelved")],
        result(PAUSE, Outcome.STALE, "it was active when planned, now it is shelved; plan again"),
    ),
    "another state, in our word": (
        [live(Status.INACTIVE)],
        result(PAUSE, Outcome.STALE, "it was active when planned, now it is inactive; plan again"),
    ),
    "another schedule": (
        [live(Status.ACTIVE, 31 * H)],
        result(PAUSE, Outcome.STALE, "its schedule moved since the plan was made; plan again"),
    ),
    "paused anew": (
        [live(Status.PAUSED, pause_reason=ANEW)],
        result(RESUME, Outcome.STALE, "it was paused anew since the plan was made; plan again"),
    ),
    "unreadable": (
        [AWAY],
        result(PAUSE, Outcome.FAILED, "reading failed, so nothing was written: no connection", error=AWAY),
    ),
    "refused": (
        [RUNS, REFUSED, RUNS],
        result(PAUSE, Outcome.FAILED, "no (HTTP 400)", Call.PAUSE, error=REFUSED),
    ),
    "refused at the second call": (
        [RESTS, STORED, RESTS, REFUSED, RESTS],
        result(
            RESUME,
            Outcome.FAILED,
            "resume failed after update-schedule: no (HTTP 400)",
            Call.UPDATE_SCHEDULE,
            Call.RESUME,
            error=REFUSED,
            changed=True,
        ),
    ),
    "refused at the third call": (
        [RESTS, REFUSED, RESTS, RESTS, OK, RUNS, REFUSED, RUNS],
        result(
            RESUME,
            Outcome.FAILED,
            "update-schedule failed after update-schedule, resume: no (HTTP 400)",
            Call.UPDATE_SCHEDULE,
            Call.RESUME,
            Call.UPDATE_SCHEDULE,
            notes=(NOT_WHILE_PAUSED,),
            error=REFUSED,
            changed=True,
        ),
    ),
    "lost": (
        [RUNS, LOST, *[AWAY] * LOOKS],
        result(PAUSE, Outcome.UNKNOWN, "pause may or may not have taken effect: no answer", Call.PAUSE, error=LOST),
    ),
    "accepted, but not shown": (
        [RUNS, OK, *[RUNS] * LOOKS],
        result(
            PAUSE,
            Outcome.UNKNOWN,
            "Glider accepted the call, but its status does not show it yet; plan again",
            Call.PAUSE,
            changed=True,
        ),
    ),
    "accepted, but not to be read": (
        [RUNS, OK, *[AWAY] * LOOKS],
        result(
            PAUSE,
            Outcome.UNKNOWN,
            "Glider accepted the call, but its status does not show it yet; plan again",
            Call.PAUSE,
            changed=True,
        ),
    ),
    "done": ([RUNS, OK, RUNS, MINE], result(PAUSE, Outcome.DONE, "", Call.PAUSE, changed=True)),
    "done at the second try": (
        [RUNS, LOST, *[RUNS] * LOOKS, RUNS, OK, MINE_2],
        result(PAUSE, Outcome.DONE, "", Call.PAUSE, Call.PAUSE, notes=(LOST_PAUSE,), changed=True),
    ),
}


@pytest.mark.parametrize(("answers", "expected"), TABLE.values(), ids=TABLE)
def test_result(place: Path, answers: list[object], expected: Result) -> None:
    """These answers lead to exactly this result; who watches is told of it, and the times are the clock's."""
    api, observer = Scripted(*answers), Watching()
    made = plan(expected.change)
    report = apply(place, made, api, observer=observer)
    assert api.answers == []
    assert report == ApplyReport(plan=made, results=(expected,), started_ms=NOON_MS, finished_ms=api.clock.now_ms())
    assert observer.told == [(A, expected.change.verb), expected]
    assert (A in records_at(place)) is (expected.outcome is Outcome.DONE)


@pytest.mark.parametrize(
    ("change", "answers", "before", "after"),
    [
        (PAUSE, [RUNS, OK, MINE], None, (RunState.PAUSED, None, None, None, True)),
        (PAUSE, [RUNS, OK, MINE], RECORD_OF_24, (RunState.PAUSED, 24 * H, None, None, True)),
        (UPDATE, [RUNS, STORED, RUNS], RECORD_OF_24, (RunState.ACTIVE, 12 * H, H, "s1", False)),
        (UPDATE, [RUNS, OK, RUNS], RECORD_OF_24, (RunState.ACTIVE, None, None, None, False)),
        (
            replace(ONLY_RESUME, pause_reason=f"Freeze {MARK}"),
            [live(Status.PAUSED, pause_reason=f"Freeze {MARK}"), OK, live(Status.ACTIVE, schedule_id="s2")],
            replace(RECORD_OF_24, state=RunState.PAUSED),
            (RunState.ACTIVE, 24 * H, None, "s2", False),
        ),
        # A pause of ours that the journal does not know is newer than its record.
        (
            ONLY_RESUME,
            [RESTS, OK, live(Status.ACTIVE, schedule_id="s2")],
            replace(RECORD_OF_24, state=RunState.PAUSED),
            (RunState.ACTIVE, None, None, "s2", False),
        ),
    ],
)
def test_what_is_remembered(
    place: Path,
    change: Change,
    answers: list[object],
    before: Record | None,
    after: tuple[RunState, int | None, int | None, str | None, bool],
) -> None:
    """A change that is done is remembered with what its answer confirmed, else with what was known of it."""
    report = apply(place, plan(change), Scripted(*answers), records={A: before} if before is not None else None)
    assert [one.outcome for one in report.results] == [Outcome.DONE]
    state, interval_ms, offset_ms, schedule_id, marked = after
    assert records_at(place) == {
        A: Record(
            state=state,
            interval_ms=interval_ms,
            offset_ms=offset_ms,
            schedule_id=schedule_id,
            confirmed_ms=NOON_MS,
            marked=marked,
        )
    }


def test_a_record_says_where_it_stands(place: Path) -> None:
    """What was confirmed since the plan was made counts: the schedule moved, though no read shows it."""
    known = replace(RECORD_OF_24, interval_ms=31 * H)
    (one,) = apply(place, plan(UPDATE), Scripted(RUNS), records={A: known}).results
    assert one == result(UPDATE, Outcome.STALE, "its schedule moved since the plan was made; plan again")


def test_a_refused_key_stops_the_rest(place: Path) -> None:
    """Every further call would fail alike, so none is made."""
    first, second = pauses(2)
    api, observer = Scripted(NO_KEY), Watching()
    report = apply(place, plan(first, second), api, observer=observer)
    expected = (
        result(first, Outcome.FAILED, "reading failed, so nothing was written: bad key (HTTP 401)", error=NO_KEY),
        result(second, Outcome.NOT_ATTEMPTED, "the key was refused"),
    )
    assert report.results == expected
    assert observer.told == [(first.id, Verb.PAUSE), *expected]


def test_another_refusal_stops_nothing(place: Path) -> None:
    """One portfolio that is forbidden fails alone."""
    forbidden = ApiError(FailureKind.FORBIDDEN, "not yours")
    report = apply(place, plan(*pauses(2)), Scripted(forbidden, RESTS))
    assert [one.outcome for one in report.results] == [Outcome.FAILED, Outcome.ALREADY_DONE]


@pytest.mark.parametrize(
    ("damage", "calls", "outcome"),
    [
        ("DROP TABLE confirmed", (), Outcome.NOT_ATTEMPTED),
        ("ALTER TABLE writes RENAME COLUMN detail TO what", (Call.PAUSE,), Outcome.UNKNOWN),
    ],
)
def test_a_journal_that_fails_stops_the_rest(
    place: Path, damage: str, calls: tuple[Call, ...], outcome: Outcome
) -> None:
    """What was sent is unknown from then on; nothing more is begun, and everyone is told why."""
    first, second = pauses(2)
    api = Scripted(*([RUNS, OK, MINE, RUNS] if calls else []))
    why = "no such column: detail" if calls else "no such table: confirmed"

    def breaks(_: OpenJournal) -> None:
        edit(place, damage)

    report = apply(place, plan(first, second), api, before=breaks)
    assert api.answers in ([], [RUNS])  # the second look may have been made by then
    sentence = f"the journal {place} can't be used: {why}"
    assert report.results == (
        result(first, outcome, sentence, *calls, changed=bool(calls)),
        result(second, Outcome.NOT_ATTEMPTED, sentence),
    )


@pytest.mark.parametrize(("most", "attempted"), [(None, 4), (0, 1), (1, 2), (3, 4)])
def test_too_many_failures(place: Path, most: int | None, attempted: int) -> None:
    """More failures than allowed stop the rest, which is told the number."""
    changes = pauses(4)
    report = apply(place, plan(*changes), Scripted(*[AWAY] * attempted), pace=Pace(parallelism=1, max_failures=most))
    assert report.results == tuple(
        result(change, Outcome.FAILED, "reading failed, so nothing was written: no connection", error=AWAY)
        if number < attempted
        else result(change, Outcome.NOT_ATTEMPTED, f"more than {most} failed")
        for number, change in enumerate(changes)
    )


def test_what_counts_as_a_failure(place: Path) -> None:
    """Failed and unknown changes count; stale ones and those that were done already don't."""
    answers = [RESTS, live(Status.INACTIVE), RUNS, LOST, *[AWAY] * LOOKS, AWAY]
    report = apply(place, plan(*pauses(5)), Scripted(*answers), pace=Pace(parallelism=1, max_failures=1))
    assert [one.outcome for one in report.results] == [
        Outcome.ALREADY_DONE,
        Outcome.STALE,
        Outcome.UNKNOWN,
        Outcome.FAILED,
        Outcome.NOT_ATTEMPTED,
    ]


@pytest.mark.parametrize(
    ("canary", "answers", "outcomes", "why"),
    [
        (1, [RESTS] * 4, [Outcome.ALREADY_DONE] * 4, ""),
        (1, [AWAY], [Outcome.FAILED, *[Outcome.NOT_ATTEMPTED] * 3], "the canary p0 was not done"),
        (
            2,
            [RESTS, AWAY],
            [Outcome.ALREADY_DONE, Outcome.FAILED, *[Outcome.NOT_ATTEMPTED] * 2],
            "the canary p1 was not done",
        ),
        (2, [AWAY, AWAY], [*[Outcome.FAILED] * 2, *[Outcome.NOT_ATTEMPTED] * 2], "the canary p0 was not done"),
        (
            1,
            [live(Status.INACTIVE)],
            [Outcome.STALE, *[Outcome.NOT_ATTEMPTED] * 3],
            "the canary p0 was not done",
        ),
        (0, [AWAY, RESTS, RESTS, RESTS], [Outcome.FAILED, *[Outcome.ALREADY_DONE] * 3], ""),
    ],
)
def test_canary(place: Path, canary: int, answers: list[object], outcomes: list[Outcome], why: str) -> None:
    """So many changes of a stage go first; unless all of them are done nothing more begins."""
    report = apply(place, plan(*pauses(4)), Scripted(*answers), pace=Pace(parallelism=1, canary=canary))
    assert [one.outcome for one in report.results] == outcomes
    assert {one.detail for one in report.results if one.outcome is Outcome.NOT_ATTEMPTED} <= {why}


def test_the_first_reason_to_stop_counts(place: Path) -> None:
    """A later reason does not replace the one that stopped the apply."""
    stop = Stop()
    assert stop.why is None
    stop.request("interrupted")
    stop.request("again")
    (one,) = apply(place, plan(PAUSE), Scripted(), stop=stop).results
    assert one == result(PAUSE, Outcome.NOT_ATTEMPTED, "interrupted")


class Slow(Scripted):
    """A service that counts who is there at once, and lets everybody in before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.here = self.most = 0

    async def read(self, portfolio: PortfolioId) -> Live:
        self.here += 1
        self.most = max(self.most, self.here)
        for _ in range(5):
            await asyncio.sleep(0)
        self.here -= 1
        return replace(RESTS, id=portfolio)


@pytest.mark.parametrize(("parallelism", "count", "most"), [(1, 4, 1), (3, 7, 3), (8, 2, 2)])
def test_parallelism(place: Path, parallelism: int, count: int, most: int) -> None:
    """So many portfolios at a time, no more and no fewer while there are any."""
    api = Slow()
    report = apply(place, plan(*pauses(count)), api, pace=Pace(parallelism=parallelism))
    assert {one.outcome for one in report.results} == {Outcome.ALREADY_DONE}
    assert api.most == most


def test_stages_follow_each_other(place: Path) -> None:
    """A stage begins when the one before has ended, whatever the parallelism; the results stand by id."""
    update = replace(UPDATE, id=B)
    api, observer = Slow(), Watching()
    report = apply(place, plan(update, replace(PAUSE, id=C)), api, pace=Pace(parallelism=4), observer=observer)
    assert api.most == 1
    assert [told if isinstance(told, tuple) else None for told in observer.told] == [
        (C, Verb.PAUSE),
        None,
        (B, Verb.UPDATE),
        None,
    ]
    assert [one.change.id for one in report.results] == [B, C]


def test_an_urgent_stop_ends_what_is_under_way(place: Path) -> None:
    """After the grace, what was sent is unknown and the rest not attempted; the journal says so too."""
    first, second = pauses(2)
    stop = Stop()
    api = Scripted(RUNS, stop)
    report = apply(place, plan(first, second), api, stop=stop)
    assert report.results == (
        result(first, Outcome.UNKNOWN, "interrupted before its outcome was known", Call.PAUSE),
        result(second, Outcome.NOT_ATTEMPTED, "interrupted"),
    )
    assert report.finished_ms == NOON_MS + 1000 * GRACE_SECONDS
    assert rows(place, "SELECT outcome, detail FROM writes") == [("unknown", "interrupted before its answer came")]


def test_a_stop_that_is_not_urgent(place: Path) -> None:
    """What is under way is finished in its own time; only the rest is not attempted."""
    stop = Stop()
    first, second = pauses(2)

    class Patient(Scripted):
        async def send(self, intent: Intent) -> Confirmation:
            stop.request("interrupted")
            for _ in range(20):
                await asyncio.sleep(0)
            return await super().send(intent)

    report = apply(place, plan(first, second), Patient(RUNS, OK, MINE), stop=stop)
    assert report.results == (
        result(first, Outcome.DONE, "", Call.PAUSE, changed=True),
        result(second, Outcome.NOT_ATTEMPTED, "interrupted"),
    )
    assert report.finished_ms == NOON_MS


def test_an_urgent_stop_before_anything_was_sent(place: Path) -> None:
    """A change that was only being read has not been attempted."""
    stop = Stop()
    assert apply(place, plan(PAUSE), Scripted(stop), stop=stop).results == (
        result(PAUSE, Outcome.NOT_ATTEMPTED, "interrupted before its outcome was known"),
    )
    assert rows(place, "SELECT * FROM writes") == []


@pytest.mark.parametrize("answer", [REFUSED, OK], ids=["failed", "done"])
def test_an_urgent_stop_while_the_claims_are_told(place: Path, answer: ApiError | Confirmation) -> None:
    """When the database of the claims is slow, the apply ends all the same, with what became of each change."""
    stop = Stop()

    class Sluggish(SoleClaims):
        async def end(self, _: Result) -> None:
            stop.request("interrupted", urgent=True)
            for _ in range(50):  # the grace is over by then
                await asyncio.sleep(0)

    script = Scripted(RUNS, answer, RUNS if answer is REFUSED else MINE)
    claims = Sluggish((Wave(changes=(PAUSE,)),), max_failures=None)
    report = apply(place, plan(PAUSE), script, stop=stop, claims=claims)
    assert [one.outcome for one in report.results] == [Outcome.FAILED if answer is REFUSED else Outcome.DONE]


def test_an_end_that_nobody_asked_us_for(place: Path) -> None:
    """When the whole program is cancelled, the apply ends with it, without a task left behind."""
    left: list[int] = []

    class Cancelled(Scripted):
        async def send(self, intent: Intent) -> Confirmation:
            working = asyncio.all_tasks()
            asyncio.get_running_loop().call_soon(program.cancel)
            program.add_done_callback(lambda _: left.append(sum(not task.done() for task in working - {program})))
            await asyncio.Event().wait()
            raise AssertionError

        async def read(self, portfolio: PortfolioId) -> Live:
            return RUNS

    program: asyncio.Task[ApplyReport]

    class Begins(Watching):
        def started(self, portfolio: PortfolioId, verb: Verb) -> None:
            nonlocal program
            program = next(task for task in asyncio.all_tasks() if task.get_name() == "apply")

    with pytest.raises(asyncio.CancelledError):
        apply(place, plan(PAUSE), Cancelled(), observer=Begins())
    assert left == [1]  # the test itself
    assert rows(place, "SELECT outcome, detail FROM writes") == [("unknown", "interrupted before its answer came")]


def test_nothing_to_do(place: Path) -> None:
    """An empty plan has an empty report."""
    empty = plan()
    assert apply(place, empty, Scripted()) == ApplyReport(
        plan=empty, results=(), started_ms=NOON_MS, finished_ms=NOON_MS
    )
