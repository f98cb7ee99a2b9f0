"""Somebody acts by hand at every moment of an apply of every kind: what they did still stands afterwards.

Every stage (a verb on one API) is run in every environment that makes it wait, once undisturbed, and then once for each
position and each thing that a person can do there. Actions that would change nothing on the service are counted and not
run. ``RECONCILER_INTERRUPTIONS=all`` adds pairs of actions and services without a readable schedule for every stage.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import open_journal
from reconciler.apply.trigger import Order
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Cadence, Desired, PortfolioId, RunState, StrategyId, Verb
from reconciler.core.rebalance import RebalanceOutcome
from reconciler.core.report import Outcome
from tests.faults import kinds
from tests.faults.interruptions import HandWorld, Kind, Verdict, claim, judge, sent_outcomes, truth
from tests.faults.support import READ, Answer, Exchange
from tests.support import BASE_URL, HOUR_MS, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.mark import ParameterSet

    from reconciler.core.plan import Plan
    from tests.faults.interruptions import Position
    from tests.faults.support import Spoil

ALL = os.environ.get("RECONCILER_INTERRUPTIONS") == "all"
DAY = 24 * HOUR_MS
V1, V2, S = PortfolioId("a"), PortfolioId("d"), StrategyId("S")
ACTIVE, PAUSED = RunState.ACTIVE, RunState.PAUSED
RUNNING = {"status": "active", "interval": "24h", "started": "10h"}
THEIRS = {**RUNNING, "status": "paused", "pause_reason": "Paused from the app by maria"}
OF_V2 = {"api": "v2", "strategy": "S", "status": "active", "started": "10h"}

Steps = tuple[str, ...]
PAUSES: tuple[Steps, ...] = (("pause",), ("pause silently",))
ANEW: tuple[Steps, ...] = (("resume", "pause"), ("resume", "pause silently"))
EVERYTHING: tuple[Steps, ...] = (
    *((one,) for one in ("pause", "pause silently", "resume", "update", "start")),
    *((one, other) for one in ("resume", "update", "start") for other in ("pause", "pause silently")),
)
EVERYTHING_ON_V2: tuple[Steps, ...] = (("pause",), ("resume",), ("resume", "pause"))
CADENCES: tuple[Steps, ...] = (("monthly",), ("daily",), ("hourly", "daily"))


@dataclass(frozen=True)
class Stage:
    """One kind of apply. ``first`` is carried out before, so that what stands there is ours; then ``wanted`` is.

    ``calls`` are the writes of an undisturbed apply, in order.
    """

    calls: tuple[Call, ...]
    seed: dict[str, Any] = field(default_factory=lambda: RUNNING)
    first: Desired | None = None
    wanted: Desired | None = None
    order: Order | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    cadence: Cadence | None = None
    like_another: bool = False
    """Whether it is so much like another one that it is only run in some environments, unless all are asked for."""
    undo: tuple[Steps, ...] = ()
    """What a person can do that a call of this stage could undo, or that it must not come after."""

    @property
    def actions(self) -> tuple[Steps, ...]:
        if not ALL or self.cadence is not None:
            return self.undo
        return EVERYTHING_ON_V2 if "api" in self.seed else EVERYTHING

    @property
    def subject(self) -> str:
        if self.cadence is not None:
            return f"strategies/{S}"
        return V2 if "api" in self.seed else V1

    @property
    def readable(self) -> bool:
        return bool(self.settings.get("readable_schedule"))

    def world(self, path: Path, settings: dict[str, Any]) -> HandWorld:
        """Return a world in which everything is ready for the apply."""
        portfolio = V2 if "api" in self.seed else V1
        world = HandWorld(
            journal=path / "journal.db",
            portfolios={portfolio: self.seed},
            strategies={S: {"frequency": "daily"}} if "api" in self.seed else {},
            settings={**self.settings, **settings},
            parallelism=1,
            subject=self.subject,
        )
        with open_journal(world.journal, base_url=BASE_URL, now_ms=world.clock.now_ms):
            pass  # made once, and copied before every apply
        if self.first is not None:
            world.apply(world.plan([self.first]))
        if self.cadence is not None:
            world.cadences = {S: self.cadence}
        world.keep()
        return world

    def plan(self, world: HandWorld) -> Plan:
        return world.plan([self.wanted] if self.wanted is not None else [])

    def carry_out(self, world: HandWorld, plan: Plan | None) -> Outcome | RebalanceOutcome:
        """Apply the plan, or ask for the rebalance; return what became of it."""
        if plan is None:
            assert self.order is not None
            return world.rebalance(self.order).outcome
        outcomes = [result.outcome for result in world.apply(plan).results]
        return outcomes[0] if outcomes else Outcome.ALREADY_DONE

    def lifts_holds(self) -> bool:
        return self.wanted is not None and self.wanted.hold_override


def v1(state: RunState, **more: Any) -> Desired:
    return Desired(id=V1, state=state, **more)


def v2(state: RunState, **more: Any) -> Desired:
    return Desired(id=V2, state=state, api=ApiVersion.V2, **more)


v1_stage = partial(Stage, settings={"readable_schedule": True})
v2_stage = partial(Stage, seed=OF_V2)
REFUSES = {"readable_schedule": True, "update_while_paused": "refuse"}
INACTIVE: dict[str, Any] = {"status": "inactive"}
TWO_DAYS = v1(ACTIVE, interval_ms=2 * DAY)
WITH_OFFSET = v1(ACTIVE, interval_ms=DAY, offset_ms=HOUR_MS)
ON_A_PAUSE = (*ANEW, ("pause",))
ON_A_START: tuple[Steps, ...] = (("start",), ("start", "pause"), ("pause silently",))

STAGES: dict[str, Stage] = {
    "pause": v1_stage((Call.PAUSE,), wanted=v1(PAUSED, reason="Audit"), undo=(*PAUSES, ("resume",))),
    "update": v1_stage((Call.UPDATE_SCHEDULE,), wanted=TWO_DAYS, undo=(("update",), ("pause",))),
    "update, unreadable": Stage(
        (Call.UPDATE_SCHEDULE,), wanted=TWO_DAYS, like_another=True, undo=(("update",), ("pause silently",))
    ),
    "resume": v1_stage((Call.RESUME,), first=v1(PAUSED), wanted=v1(ACTIVE), undo=(*ON_A_PAUSE, ("update",))),
    "resume with a schedule": v1_stage(
        (Call.UPDATE_SCHEDULE, Call.RESUME), first=v1(PAUSED), wanted=TWO_DAYS, undo=(*ON_A_PAUSE, ("update",))
    ),
    "resume with a schedule, unreadable": Stage(
        (Call.UPDATE_SCHEDULE, Call.RESUME),
        first=v1(PAUSED),
        wanted=TWO_DAYS,
        like_another=True,
        undo=(ANEW[1], ("update",)),
    ),
    "resume, then its schedule": v1_stage(
        (Call.UPDATE_SCHEDULE, Call.RESUME, Call.UPDATE_SCHEDULE),
        first=v1(PAUSED),
        wanted=TWO_DAYS,
        settings=REFUSES,
        undo=(ANEW[1], ("pause",), ("update",)),
    ),
    "hold overridden": v1_stage(
        (Call.RESUME,), seed=THEIRS, wanted=v1(ACTIVE, hold_override=True), like_another=True, undo=ON_A_PAUSE
    ),
    "hold overridden with a schedule": v1_stage(
        (Call.UPDATE_SCHEDULE, Call.RESUME),
        seed=THEIRS,
        wanted=replace(TWO_DAYS, hold_override=True),
        like_another=True,
        undo=(ANEW[0], ("update",)),
    ),
    "start": v1_stage((Call.START,), seed=INACTIVE, wanted=v1(ACTIVE, interval_ms=DAY), undo=ON_A_START),
    "start with an offset": v1_stage(
        (Call.START, Call.UPDATE_SCHEDULE), seed=INACTIVE, wanted=WITH_OFFSET, undo=(*ON_A_START, ("update",))
    ),
    "start with an offset, unreadable": Stage(
        (Call.START, Call.UPDATE_SCHEDULE),
        seed=INACTIVE,
        wanted=WITH_OFFSET,
        like_another=True,
        undo=(("start", "pause"), ("update",)),
    ),
    "start with a run": v1_stage(
        (Call.START,),
        seed=INACTIVE,
        wanted=v1(ACTIVE, interval_ms=DAY, run_on_start=True),
        like_another=True,
        undo=(("start",), ("pause silently",)),
    ),
    "rebalance": v1_stage(
        (Call.REBALANCE,), order=Order(portfolio=V1, version=ApiVersion.V1, skip_schedule_validation=True), undo=PAUSES
    ),
    "v2 pause": v2_stage((Call.PAUSE,), wanted=v2(PAUSED), undo=(("pause",), ("resume",), ("resume", "pause"))),
    "v2 resume": v2_stage((Call.RESUME,), first=v2(PAUSED), wanted=v2(ACTIVE), undo=(("pause",), ("resume", "pause"))),
    "v2 hold overridden": v2_stage(
        (Call.RESUME,),
        seed={**OF_V2, "status": "paused"},
        wanted=v2(ACTIVE, hold_override=True),
        like_another=True,
        undo=(("pause",), ("resume", "pause")),
    ),
    "v2 set-cadence": v2_stage((Call.SET_CADENCE,), cadence=Cadence.WEEKLY, undo=CADENCES),
    "v2 rebalance": v2_stage(
        (Call.REBALANCE,), order=Order(portfolio=V2, version=ApiVersion.V2), undo=(("pause",), ("resume", "pause"))
    ),
}


@dataclass(frozen=True)
class Environment:
    """What makes an apply wait, or its answers late or lost: spoils of a call, each after so many good ones of it.

    A spoil of :data:`FIRST` meets the first write of the stage, one of :data:`LAST` the last of several.
    ``disk`` lets time pass at a boundary of the journal. ``ends`` says that the change can't be made.
    """

    spoils: tuple[tuple[Spoil, str, int, int], ...] = ()
    disk: dict[str, tuple[int, Kind]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    ends: bool = True
    """Whether an undisturbed apply reaches its end."""
    writes: bool = True
    """Whether it writes anything."""
    several: bool = False
    """Whether it takes a stage of several writes to say anything new."""
    single: bool = False
    """Whether it takes a stage of one write: between two, no look could be true."""
    plain: bool = False
    """Whether it is also for stages that are like another one."""
    rest: bool = False
    """Whether it is so much like another one that it is only run where all are asked for."""


def answers_late(seconds: float) -> Spoil:
    """The work is done at once, and its answer comes late."""

    async def spoil(exchange: Exchange) -> Answer:
        answer = await exchange.work()
        await exchange.wire.clock.sleep(seconds)
        return answer

    return spoil


FIRST, LAST = "first write", "last write"
LIMITED = kinds.LIMITED["429 seconds"]
BEFORE, AFTER = kinds.LOST_BEFORE["reset before the work"], kinds.LOST_AFTER["reset after the work"]
ENVIRONMENTS: dict[str, Environment] = {
    "nothing": Environment(plain=True),
    "429 of the write": Environment(((LIMITED, FIRST, 0, 1),), plain=True),
    "429 of the look": Environment(((LIMITED, READ, 0, 1),)),
    "429 between two writes": Environment(((LIMITED, READ, 1, 1),), several=True),
    "429 of the last write": Environment(((LIMITED, LAST, 0, 1),), several=True),
    "window used up by the look": Environment(((kinds.used_up(30), READ, 0, 1),)),
    "window used up by the first write": Environment(((kinds.used_up(30), FIRST, 0, 1),), several=True),
    "another path family": Environment(settings={"paths": "guide"}),
    "asleep before the intent": Environment(disk={"before begin": (60_000, Kind.ASLEEP)}),
    "asleep after the intent": Environment(disk={"after begin": (60_000, Kind.ASLEEP)}, rest=True),
    "slow disk": Environment(disk={"after begin": (5_000, Kind.DISK)}, plain=True),
    "looks at it 1.5 s late": Environment(((kinds.dawdles(1.5), READ, 0, 1),), rest=True),
    "answers the look 1.5 s late": Environment(((answers_late(1.5), READ, 0, 1),)),
    "answers the look 2.5 s late": Environment(((answers_late(2.5), READ, 0, 1),)),
    "answers every look 2.5 s late": Environment(((answers_late(2.5), READ, 0, 99),), ends=False, writes=False),
    "answers the write late": Environment(((answers_late(10), FIRST, 0, 1),)),
    "first write lost before the work": Environment(((BEFORE, FIRST, 0, 1),), ends=False),
    "first write lost after the work": Environment(((AFTER, FIRST, 0, 1),), ends=False, plain=True),
    "last write lost before the work": Environment(((BEFORE, LAST, 0, 1),), ends=False, several=True),
    "last write lost after the work": Environment(((AFTER, LAST, 0, 1),), ends=False, several=True),
    "reads lag behind the write": Environment(((kinds.lags(2), FIRST, 0, 1),), single=True),
}


def fits(stage: Stage, environment: Environment) -> bool:
    """Whether an environment says anything of a stage that another one does not."""
    several, of_v1 = len(stage.calls) > 1, "api" not in stage.seed
    if not ALL and (environment.rest or (stage.like_another and not environment.plain)):
        return False
    says_nothing = environment.single if several else environment.several
    return not says_nothing and (of_v1 or not environment.settings)


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Counter[Verdict]]:
    """Count verdicts; the end of the run says how many there were over all stages."""
    counted: Counter[Verdict] = Counter()
    yield counted
    record_property("interruptions", {verdict.value: counted[verdict] for verdict in Verdict})


def runs() -> list[ParameterSet]:
    """Return every stage in every environment that it fits; `make test` runs each of both at least once."""
    found = [(name, where) for where in ENVIRONMENTS for name in STAGES if fits(STAGES[name], ENVIRONMENTS[where])]
    some = {(name, next(iter(ENVIRONMENTS))) for name in STAGES}
    for column, where in enumerate(ENVIRONMENTS):
        here = [one for one in found if one[1] == where]
        some |= {here[(column + turn) % len(here)] for turn in (0, len(here) // 2) if here}
    return [
        pytest.param(
            STAGES[name],
            ENVIRONMENTS[where],
            id=f"{name}-{where}",
            marks=() if (name, where) in some else pytest.mark.thorough,
        )
        for name, where in found
    ]


@pytest.mark.parametrize(("stage", "environment"), runs())
def test_what_a_person_does_survives(stage: Stage, environment: Environment, tally: Counter[Verdict]) -> None:
    lost: list[str] = []
    with folder() as path:
        bench = Bench(stage, environment, stage.world(path, environment.settings))
        actions = stage.actions if environment.writes or ALL else stage.actions[:1]
        for position in bench.undisturbed():
            for steps in actions:
                verdict = bench.disturbed(position, steps)
                tally[verdict] += 1
                if verdict is Verdict.LOST:
                    lost.append(f"{' + '.join(steps)} at {position.index}, {position.kind} {position.call}")
    assert not lost, "\n".join(lost)


class Bench:
    """One stage in one environment: the same apply again and again."""

    def __init__(self, stage: Stage, environment: Environment, world: HandWorld) -> None:
        self._stage, self._environment, self._world = stage, environment, world
        self._plan = None if stage.order is not None else stage.plan(world)

    def undisturbed(self) -> list[Position]:
        """Carry it out without anybody; return its positions."""
        outcome = self._run()
        stage, environment, positions = self._stage, self._environment, self._world.hand.positions
        assert {kind for _, kind in environment.disk.values()} <= {position.kind for position in positions}
        assert not environment.writes or not self._world.wire.armed(), "a fault was not met"
        if not environment.writes:
            assert outcome in (Outcome.NOT_ATTEMPTED, RebalanceOutcome.NOT_ATTEMPTED)
        elif environment.ends:
            assert outcome in (Outcome.DONE, RebalanceOutcome.ACCEPTED), outcome
            worked = [write.call for write in self._world.wire.sent if write.left is not None]
            assert set(worked) == set(stage.calls) or environment.settings
        assert bool(self._world.wire.tried) is environment.writes
        return list(positions)

    def disturbed(self, position: Position, steps: Steps) -> Verdict:
        """Carry it out with a person who does these steps at a position; return what became of that."""
        world, stage = self._world, self._stage
        would, first = world.hand.would(position, steps), world.hand.would(position, steps[:-1])
        if would is None or first is None:
            return Verdict.REFUSED
        if truth(would) in (truth(position.row), truth(first)):  # a last step that does nothing lays nothing down
            return Verdict.NO_TRACE
        self._run(position.index, steps)
        deed = world.hand.deed
        assert deed is not None
        of = claim(steps[-1])
        misjudged = False
        if steps[-1].startswith("pause") and not stage.lifts_holds():
            world.unwatch()
            if stage.wanted is None or stage.wanted.state is ACTIVE:
                self._again()
            else:
                stands = of(truth(world.hand.row())) == of(truth(deed.left))
                misjudged = stands and self._is_taken_for_ours()
        return judge(deed, steps[-1], world.wire.sent, readable=stage.readable, misjudged=misjudged)

    def _again(self) -> None:
        """Do with the same files what a clean command does."""
        plan = None if self._plan is None else self._stage.plan(self._world)
        if plan is None or plan.changes:
            self._stage.carry_out(self._world, plan)

    def _is_taken_for_ours(self) -> bool:
        """Whether files that want it active would lift the pause that is in force."""
        wanted = self._stage.wanted
        assert wanted is not None
        plan = self._world.plan([replace(wanted, state=ACTIVE)])
        return any(change.verb is Verb.RESUME for change in plan.changes)

    def _run(self, at: int | None = None, steps: Steps = ()) -> Outcome | RebalanceOutcome:
        """Carry it out from the beginning; check what holds of every apply."""
        world, stage, environment = self._world, self._stage, self._environment
        world.back()
        calls = {FIRST: stage.calls[0], LAST: stage.calls[-1]}
        for spoil, call, skip, times in environment.spoils:
            skips = skip + (call == LAST and stage.calls.count(stage.calls[-1]) > 1)
            world.wire.arm(spoil, calls.get(call, call), skip=skips, times=times)
        world.watch(at, steps, environment.disk)
        outcome = stage.carry_out(world, self._plan)
        assert not world.wire.old_looks, "a write went on a look older than two seconds"
        assert not world.wire.hasty, "a write went without a look after the last wait or write"
        writes = world.intents()
        assert all(write.outcome for write in writes), "an intent has no outcome"
        assert [call for _, call in world.wire.tried] == sent_outcomes(writes), "a write without an intent of its own"
        return outcome
