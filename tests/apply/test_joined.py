"""Several runners carry out one plan: each change once, in order, or told, whoever dies or leaves on the way."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import open_journal
from reconciler.apply.journalreads import read_runs
from reconciler.apply.run import Pace
from reconciler.core.change import Window
from reconciler.core.errors import ExitReason, JournalBusy, UsageError
from reconciler.core.halt import Halt
from reconciler.core.model import Cadence
from reconciler.core.plan import write_stages
from reconciler.core.report import ACHIEVED, Outcome, Result
from tests.apply.runners import BOTH, CLAIMS, KINDS, THE_JOURNAL, Fleet, Runner, fleet_of, together, until
from tests.faults import kinds, promises
from tests.faults.fleet import LOSE_THE_ANSWER, SPOILS
from tests.faults.support import READ
from tests.support import BASE_URL, HOUR_MS

if TYPE_CHECKING:
    from reconciler.core.endpoint import JournalUrl
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport, Run
    from tests.faults.support import Answer, Exchange, Spoil
    from tests.postgres import Server

pytestmark = pytest.mark.slow

HISTORIES = int(os.environ.get("RECONCILER_HISTORIES", "30"))
EVERYTHING = [*KINDS, *KINDS]
DIED = "another runner had sent a write that may still take effect; plan again"
UNPROVEN = "another runner had begun it, and no read shows all that it wrote; plan again"


@pytest.fixture
def place(server: Server) -> JournalUrl:
    """The place of a journal that is not there yet."""
    return server.database()


def whole(fleet: Fleet) -> Run:
    """Return the one run of the journal in which anything was written.

    Whoever dies right after it has begun one, and before it has told the others of it, leaves an empty one behind.
    """
    found, *others = read_runs(fleet.journal) or ()
    assert {(one.exit_reason, one.writes) for one in others} <= {("cut_off", ())}
    return found


def report_of(runner: Runner) -> ApplyReport:
    assert runner.report is not None, runner.error
    return runner.report


def outcomes(runner: Runner) -> list[Outcome]:
    return [result.outcome for result in report_of(runner).results]


def check_whole(
    fleet: Fleet, plan: Plan, report: ApplyReport, pins: dict[str, tuple[object, ...]], *, died: bool
) -> None:
    """Everything was done once, in order, as planned and as it is told."""
    saved = promises.Saved(plan=plan, pins=pins, tokens=frozenset())
    effects, made = fleet.wire.effects, whole(fleet)
    stages = {change.id: number for number, stage in enumerate(write_stages(plan.changes)) for change in stage}
    order = [stages[effect.portfolio] for effect in effects]
    assert order == sorted(order), "a stage began before the one before it had ended"
    assert fleet.repeated() == []
    promises.check_in_the_plan(saved, fleet.wire.tried)
    promises.check_pauses(saved, effects)
    promises.check_journal(list(made.writes), effects, died=died, watched=True)
    promises.check_done(report, fleet)
    promises.check_exit_reason(report, made.writes)
    assert made.exit_reason == report.exit_reason.word


def pins_of(fleet: Fleet, plan: Plan) -> dict[str, tuple[object, ...]]:
    return {str(change.id): fleet.wire.state(change.id) for change in plan.changes}


def test_each_change_once(place: JournalUrl) -> None:
    """Four runners do all of it in one run, whichever of them did what, and each reports the whole."""
    fleet, plan = fleet_of(place, EVERYTHING, Cadence.WEEKLY)
    pins = pins_of(fleet, plan)
    runners = [Runner(fleet, plan, f"runner {number}") for number in range(4)]
    held = asyncio.Event()
    fleet.wire.arm(_held(held), "pause", times=4)

    async def meanwhile() -> None:
        working = asyncio.ensure_future(together(*runners))
        await until(lambda: all(one.run for one in runners))
        held.set()
        await working

    fleet.clock.run(meanwhile())
    for runner in runners:
        assert set(outcomes(runner)) == {Outcome.DONE}
        assert runner.run == whole(fleet).number
    assert [runner.closed for runner in runners].count(True) == 1
    assert sum(runner.carried_out for runner in runners) == len(plan.changes)
    assert sorted(whole(fleet).process.split(", ")) == [runner.name for runner in runners]
    check_whole(fleet, plan, report_of(runners[0]), pins, died=False)


def test_one_that_comes_when_all_is_over(place: JournalUrl) -> None:
    """It asks Glider nothing, reports what became of the whole, and leaves the run as it ended."""
    fleet, plan = fleet_of(place, EVERYTHING)
    fleet.wire.arm(kinds.status(400), "pause", "p00")
    first, late = Runner(fleet, plan, "first"), Runner(fleet, plan, "late", Pace(parallelism=1, canary=1))
    fleet.clock.run(together(first))
    ended, asked = whole(fleet), len(fleet.wire.requests.kept())
    fleet.clock.run(together(late))
    assert outcomes(first) == outcomes(late)
    assert [str(one.error) for one in report_of(late).results] == [str(one.error) for one in report_of(first).results]
    assert Outcome.FAILED in outcomes(late)
    assert report_of(late).exit_reason is ExitReason.PARTIAL
    assert len(fleet.wire.requests.kept()) == asked
    assert (late.carried_out, late.closed) == (0, False)
    assert whole(fleet) == ended


def test_a_run_whose_last_runner_died_before_its_end(place: JournalUrl, server: Server) -> None:
    """Whoever comes then ends it, because all of it was done: nobody has to apply it again."""
    fleet, plan = fleet_of(server.database(), ["pause"])
    fleet.clock.run(together(Runner(fleet, plan, "whole")))
    leaving = fleet.deaths.worked
    fleet, plan = fleet_of(place, ["pause"])
    fleet.deaths.while_at_work = {leaving}
    dying, late = Runner(fleet, plan, "dying"), Runner(fleet, plan, "late", Pace(parallelism=1, canary=1))
    fleet.clock.run(together(dying))
    assert dying.killed
    assert (whole(fleet).exit_reason, dying.closed) == (None, False)
    fleet.clock.run(together(late))
    assert outcomes(late) == [Outcome.DONE]
    assert (late.carried_out, late.closed) == (0, True)
    assert whole(fleet).exit_reason == "ok"


def test_one_leaves(place: JournalUrl) -> None:
    """What it has begun is finished, and the others do the rest."""
    fleet, plan = fleet_of(place, ["pause"] * 20)
    one, other = Runner(fleet, plan, "one", Pace(parallelism=1)), Runner(fleet, plan, "other", Pace(parallelism=1))
    held = asyncio.Event()
    fleet.wire.arm(_held(held), "pause", "p04")

    async def meanwhile() -> None:
        one.start()
        await until(lambda: len(fleet.wire.tried) == 5)
        other.start()
        await until(lambda: len(fleet.wire.tried) > 5)
        one.stop.request("asked to leave")
        held.set()
        await together(one, other)

    fleet.clock.run(meanwhile())
    assert set(outcomes(other)) == {Outcome.DONE}
    left = [result for result in report_of(one).results if result.outcome is not Outcome.DONE]
    assert {(result.outcome, result.detail) for result in left} == {
        (Outcome.NOT_ATTEMPTED, "asked to leave; it is left to the other runners")
    }
    assert (report_of(one).leaves, report_of(other).leaves) == (True, False)
    assert not one.closed
    assert other.closed
    assert (one.carried_out, other.carried_out) == (5, 15)


def _held(until: asyncio.Event, reached: asyncio.Event | None = None) -> Spoil:
    async def spoil(exchange: Exchange) -> Answer:
        if reached is not None:
            reached.set()
        await until.wait()
        return await exchange.work()

    return spoil


def test_all_leave_and_another_goes_on(place: JournalUrl) -> None:
    """The run is not over by that: whoever comes with the same plan does the rest of it."""
    fleet, plan = fleet_of(place, ["pause"] * 20)
    pins = pins_of(fleet, plan)
    pair = [Runner(fleet, plan, name, Pace(parallelism=1)) for name in ("one", "two")]

    async def meanwhile() -> None:
        working = asyncio.ensure_future(together(*pair))
        await until(lambda: all(one.run for one in pair) and len(fleet.wire.effects) >= 4)
        for one in pair:
            one.stop.request("asked to leave", urgent=True)
        await working

    fleet.clock.run(meanwhile())
    assert [one.closed for one in pair].count(True) == 1
    assert len(fleet.wire.effects) < 20
    ended = whole(fleet)
    assert (ended.exit_reason, ended.finished_ms is None) == ("partial", False)
    last = Runner(fleet, plan, "three")
    fleet.clock.run(together(last))
    assert set(outcomes(last)) == {Outcome.DONE}
    assert last.closed
    check_whole(fleet, plan, report_of(last), pins, died=False)


def test_one_plan_at_a_time(place: JournalUrl) -> None:
    """Another plan is refused while runners are at work, and so is a plain apply; theirs waits for a plain one."""
    fleet, plan = fleet_of(place, ["pause"] * 8)
    _, other = fleet_of(place, ["pause"] * 7)
    held = asyncio.Event()
    fleet.wire.arm(_held(held), "pause")
    working, refused = Runner(fleet, plan, "one"), Runner(fleet, other, "two", patient=False)

    async def meanwhile() -> None:
        working.start()
        await until(lambda: fleet.wire.tried)
        await refused.start()
        with pytest.raises(JournalBusy, match=r"another apply is at work with the journal .*: one"):
            open_journal(place, base_url=BASE_URL, now_ms=fleet.clock.now_ms)
        held.set()
        await together(working)

    fleet.clock.run(meanwhile())
    assert isinstance(refused.error, JournalBusy)
    assert str(refused.error).endswith(f"is being applied, as run {working.run}: one")
    assert set(outcomes(working)) == {Outcome.DONE}
    with open_journal(place, base_url=BASE_URL, now_ms=fleet.clock.now_ms, process="plain"):
        waits = Runner(fleet, plan, "three", patient=False)
        fleet.clock.run(together(waits))
    assert str(waits.error) == f"another apply is at work with the journal {place}: plain"


@pytest.mark.parametrize("pace", [Pace(parallelism=1, max_failures=2), Pace(parallelism=1, canary=1)])
def test_all_runners_have_the_same_terms(place: JournalUrl, pace: Pace) -> None:
    """What counts over all of them can't be another number on each."""
    fleet, plan = fleet_of(place, ["pause"] * 8)
    held = asyncio.Event()
    fleet.wire.arm(_held(held), "pause")
    working, other = Runner(fleet, plan, "one"), Runner(fleet, plan, "two", pace)

    async def meanwhile() -> None:
        working.start()
        await until(lambda: fleet.wire.tried)
        with pytest.raises(UsageError, match=f"run {working.run} of this plan was begun with none of --canary"):
            await other.start()
        held.set()
        await together(working)

    fleet.clock.run(meanwhile())
    assert set(outcomes(working)) == {Outcome.DONE}


def test_failures_count_over_all(place: JournalUrl) -> None:
    """Once too many have failed, wherever, no runner begins anything more; those in flight are all that may be over."""
    fleet, plan = fleet_of(place, ["pause"] * 40)
    fleet.wire.arm(kinds.status(400), "pause", times=40)
    runners = [Runner(fleet, plan, f"r{number}", Pace(parallelism=2, max_failures=3)) for number in range(3)]
    fleet.clock.run(together(*runners))
    failed = outcomes(runners[0]).count(Outcome.FAILED)
    assert 3 < failed <= 3 + 3 * 2
    for runner in runners:
        left = [result for result in report_of(runner).results if result.outcome is Outcome.NOT_ATTEMPTED]
        assert len(left) == 40 - failed
        assert {result.detail for result in left} == {"more than 3 failed"}
        assert not report_of(runner).leaves


def test_a_canary_counts_over_all(place: JournalUrl) -> None:
    """Its changes go first, on whichever runner, and nothing follows where one of them is not done."""
    fleet, plan = fleet_of(place, ["pause"] * 20)
    fleet.wire.arm(kinds.status(400), "pause", "p01")
    runners = [Runner(fleet, plan, f"r{number}", Pace(parallelism=3, canary=3)) for number in range(3)]
    fleet.clock.run(together(*runners))
    assert {portfolio for portfolio, _ in fleet.wire.tried} == {"p00", "p01", "p02"}
    for runner in runners:
        assert outcomes(runner)[:4] == [Outcome.DONE, Outcome.FAILED, Outcome.DONE, Outcome.NOT_ATTEMPTED]
        assert report_of(runner).results[3].detail == "the canary p01 was not done"


def test_a_canary_that_waits_for_a_freeze_stops_nobody(place: JournalUrl) -> None:
    """It proves nothing wrong: what no freeze forbids goes on, on all runners."""
    fleet, plan = fleet_of(place, ["longer"] * 3 + ["shorter"] * 3)
    now_ms = fleet.clock.now_ms()
    window = Window(name="year-end", from_ms=now_ms - HOUR_MS, to_ms=now_ms + 100 * HOUR_MS)
    first = replace(plan.changes[0], freezes=(window,))
    plan = replace(plan, changes=(first, *plan.changes[1:]))
    runners = [Runner(fleet, plan, f"r{number}", Pace(parallelism=2, canary=1)) for number in range(2)]
    fleet.clock.run(together(*runners))
    for runner in runners:
        assert outcomes(runner) == [Outcome.NOT_ATTEMPTED, *[Outcome.DONE] * 5]
        frozen = report_of(runner).results[0].frozen
        assert frozen is not None
        assert (frozen.by, report_of(runner).joined) == (("year-end",), True)


def test_a_refused_key_stops_all(place: JournalUrl) -> None:
    """Whichever runner has it, no other begins anything more."""
    fleet, plan = fleet_of(place, ["pause"] * 40)
    fleet.wire.arm(kinds.status(401), "pause", "p05")
    runners = [Runner(fleet, plan, f"r{number}", Pace(parallelism=2)) for number in range(3)]
    fleet.clock.run(together(*runners))
    assert len(fleet.wire.tried) <= 6 + 3 * 2
    for runner in runners:
        assert report_of(runner).results[5].outcome in (Outcome.FAILED, Outcome.NOT_ATTEMPTED)
        assert report_of(runner).results[39].detail == "the key was refused"


def test_a_halt_is_seen_by_all(place: JournalUrl) -> None:
    """Once it is on the disk, no runner begins anything more; after it was lifted, the plan can be gone on with."""
    fleet, plan = fleet_of(place, ["shorter"] * 30)
    pair = [Runner(fleet, plan, name, Pace(parallelism=2)) for name in ("one", "two")]
    made = Halt(id="h1", base_url=BASE_URL, account=None, reason="Outage", at_ms=fleet.clock.now_ms())

    def halt(halted: Halt) -> int:
        with open_journal(place, base_url=BASE_URL, now_ms=fleet.clock.now_ms, beside=True) as journal:
            journal.halt(halted)
        return len(fleet.wire.tried)

    async def meanwhile() -> int:
        working = asyncio.ensure_future(together(*pair))
        await until(lambda: len(fleet.wire.effects) > 3)
        tried = halt(made)
        await working
        return tried

    tried = fleet.clock.run(meanwhile())
    assert len(fleet.wire.tried) <= tried + 4
    for one in pair:
        left = [result for result in report_of(one).results if result.outcome is Outcome.NOT_ATTEMPTED]
        assert left
        assert all("has begun since it was planned" in result.detail for result in left)
    halt(replace(made, lifted_ms=fleet.clock.now_ms()))
    last = Runner(fleet, plan, "three")
    fleet.clock.run(together(last))
    assert set(outcomes(last)) == {Outcome.DONE}
    assert fleet.repeated() == []


@pytest.mark.parametrize("boundary", ["before", "after"])
@pytest.mark.parametrize("kind", ["pause", "resume", "start", "shorter"])
def test_a_runner_that_dies_over_a_write(place: JournalUrl, kind: str, boundary: str) -> None:
    """Another one reads what became of it, and goes on only where that can do nothing twice."""
    fleet, plan = fleet_of(place, [kind])
    pins = pins_of(fleet, plan)
    dying, other = Runner(fleet, plan, "one"), Runner(fleet, plan, "two")
    fleet.deaths.at = {f"{boundary} {'update-schedule' if kind == 'shorter' else kind}"}
    fleet.clock.run(_one_after_the_other(dying, other))
    assert dying.killed
    arrived = boundary == "after"
    assert len(fleet.wire.effects) == (1 if arrived or kind in ("pause", "resume") else 0)
    (result,) = report_of(other).results
    assert result.notes[0] == "another runner had begun it and could not end it"
    if kind in ("start", "shorter"):
        assert result.outcome is Outcome.UNKNOWN
        shown = kind == "start" and arrived
        assert result.detail == (UNPROVEN if shown else DIED)
    else:
        assert result.outcome in ACHIEVED
    check_whole(fleet, plan, report_of(other), pins, died=False)


async def _one_after_the_other(first: Runner, second: Runner) -> None:
    first.start()
    await until(lambda: first.killed)
    await together(first, second)


def test_nobody_touches_what_a_living_runner_has_begun(place: JournalUrl) -> None:
    """However long a write takes, its runner alone says what became of it; the others wait for the stage to end."""
    fleet, plan = fleet_of(place, ["pause", "start"])
    held = asyncio.Event()
    fleet.wire.arm(_held(held), "pause")
    slow, other = Runner(fleet, plan, "one"), Runner(fleet, plan, "two")

    async def meanwhile() -> None:
        slow.start()
        await until(lambda: fleet.wire.tried)
        other.start()
        await fleet.clock.sleep(20)
        assert fleet.wire.tried == [("p00", "pause")]
        held.set()
        await together(slow, other)

    fleet.clock.run(meanwhile())
    assert [call for _, call in fleet.wire.tried] == ["pause", "start"]
    for runner in (slow, other):
        assert set(outcomes(runner)) == {Outcome.DONE}


@pytest.mark.parametrize("which", [CLAIMS, THE_JOURNAL, BOTH], ids=["claims", "journal", "both"])
def test_a_runner_that_loses_its_connection(place: JournalUrl, which: str) -> None:
    """It begins nothing more, and says so; the others do the rest, and nothing twice."""
    fleet, plan = fleet_of(place, ["resume anew"] * 6)
    pins = pins_of(fleet, plan)
    held = asyncio.Event()
    fleet.wire.arm(_held(held), "update-schedule")
    cut, other = Runner(fleet, plan, "one", Pace(parallelism=1)), Runner(fleet, plan, "two", Pace(parallelism=1))

    async def meanwhile() -> None:
        cut.start()
        await until(lambda: fleet.wire.tried)
        cut.cut(which)
        other.start()
        await until(lambda: len(fleet.wire.effects) > 3)
        held.set()
        await together(cut, other)

    fleet.clock.run(meanwhile())
    assert cut.carried_out <= 1
    assert set(outcomes(cut)[1:]) <= {Outcome.NOT_ATTEMPTED, Outcome.DONE}  # as far as it could hear of the others
    assert outcomes(other)[1:] == [Outcome.DONE] * 5
    last = Runner(fleet, plan, "three")
    fleet.clock.run(together(last))  # which settles what nobody could
    check_whole(fleet, plan, report_of(last), pins, died=False)


@pytest.mark.parametrize("lost", [False, True], ids=["asked", "lost"])
def test_what_is_given_back_half_done(place: JournalUrl, lost: bool) -> None:
    """Whoever leaves before it can end what a dead runner had begun gives that back as begun, not as new."""
    fleet, plan = fleet_of(place, ["resume anew"])
    pins = pins_of(fleet, plan)
    dying, leaving, last = (Runner(fleet, plan, name) for name in ("dying", "leaving", "last"))
    fleet.deaths.at = {"before resume"}
    held, looks = asyncio.Event(), asyncio.Event()

    async def meanwhile() -> None:
        dying.start()
        await until(lambda: dying.killed)
        fleet.wire.arm(_held(held, looks), READ, skip=1)  # after that of the settling
        leaving.start()
        await looks.wait()
        if lost:
            leaving.cut(THE_JOURNAL)
            held.set()
        else:
            leaving.stop.request("asked to leave", urgent=True)
        await together(leaving)
        held.set()
        await together(last)

    fleet.clock.run(meanwhile())
    assert leaving.carried_out == 0
    (result,) = report_of(last).results
    assert (result.outcome, result.changed) == (Outcome.DONE, True)
    assert result.notes[0] == "another runner had begun it and could not end it"
    check_whole(fleet, plan, report_of(last), pins, died=False)


def history(place: JournalUrl, seed: int) -> list[Result]:
    """Let runners come, die, leave and miss answers at random; return what was not done in the end."""
    rng = random.Random(seed)
    drawn = [rng.choice(sorted(KINDS)) for _ in range(rng.randrange(5, 15))]
    fleet, plan = fleet_of(place, drawn, rng.choice([None, Cadence.WEEKLY]))
    pins = pins_of(fleet, plan)
    fleet.deaths.at = {rng.randrange(1, 90) for _ in range(rng.randrange(3))}
    fleet.deaths.while_at_work = {rng.randrange(1, 200) for _ in range(rng.randrange(3))}
    pace = Pace(parallelism=rng.randrange(1, 4), canary=rng.choice([0, 0, 1, 2]))
    fleet.latency = lambda: rng.random() * 0.3
    runners = [Runner(fleet, plan, f"runner {number}", pace) for number in range(rng.randrange(2, 5))]
    begin = [rng.random() * 2 for _ in runners]
    dies = {rng.randrange(len(runners)): rng.random() * 8 for _ in range(rng.randrange(2))}
    leaves = {rng.randrange(len(runners)): rng.random() * 8 for _ in range(rng.choice([0, 0, 1]))}
    cuts = {
        rng.randrange(len(runners)): (rng.random() * 8, rng.choice([CLAIMS, THE_JOURNAL, BOTH]))
        for _ in range(rng.choice([0, 0, 1]))
    }
    last = Runner(fleet, plan, "last", pace)
    calls = sorted({READ, *(call for change in plan.changes for call in promises.calls_of(change))})
    faults = rng.choices(LOSE_THE_ANSWER, k=rng.choice([0, 0, 1, 2]))
    for name in faults:
        fleet.wire.arm(SPOILS[name], rng.choice(calls), skip=rng.randrange(4), times=rng.choice([1, 1, 2]))

    async def one(number: int, runner: Runner) -> None:
        await asyncio.sleep(begin[number])
        task, loop = runner.start(), asyncio.get_running_loop()
        if number in dies:
            loop.call_later(dies[number], runner.kill)
        if number in leaves:
            loop.call_later(leaves[number], lambda: runner.stop.request("asked to leave", urgent=True))
        if number in cuts:
            after, which = cuts[number]
            loop.call_later(after, runner.cut, which)
        await task

    async def all_of_them() -> None:
        async with asyncio.timeout(600):
            await asyncio.gather(*(one(number, runner) for number, runner in enumerate(runners)))
        fleet.wire.heal()
        fleet.deaths.while_at_work.clear()
        await together(last)

    fleet.clock.run(all_of_them())
    for runner in runners:
        assert runner.report is not None or runner.was_cut, runner.error
    died = any(runner.was_cut for runner in runners)
    check_whole(fleet, plan, report_of(last), pins, died=False)
    undone = [result for result in report_of(last).results if result.outcome not in ACHIEVED]
    assert died or leaves or faults or not undone
    assert died or faults or all(result.outcome is Outcome.NOT_ATTEMPTED for result in undone)
    return undone


@pytest.mark.parametrize("part", [0, 1, 2, *(pytest.param(part, marks=pytest.mark.thorough) for part in range(3, 10))])
def test_histories(server: Server, part: int) -> None:
    """Whoever comes, dies or leaves, and whatever answer is lost: each change is done once, in order, or told."""
    for seed in range(part, HISTORIES, 10):
        try:
            history(server.database(), seed)
        except BaseException as error:
            error.add_note(f"history {seed}")
            raise
