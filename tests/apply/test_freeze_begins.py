"""A freeze that begins while a plan is carried out: what has begun is finished, and nothing else begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import field
from msgspec.structs import replace

from reconciler.apply.run import Pace
from reconciler.core.change import Window
from reconciler.core.errors import ExitReason
from reconciler.core.evidence import MARK
from reconciler.core.freeze import Freeze, WriteGate, with_freezes
from reconciler.core.intent import Call, Intent
from reconciler.core.model import Desired, PortfolioId, RunState
from reconciler.core.report import Outcome
from tests.apply.runners import Runner, fleet_of, together
from tests.support import HOUR_MS, NOON_MS, World, folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from reconciler.apply.journal import OpenJournal
    from reconciler.core.halt import Halt
    from reconciler.core.report import ApplyReport
    from tests.postgres import Server
    from tests.support import FakeClock

DAY = 24 * HOUR_MS
FREEZE = Freeze(window=Window(name="audit", from_ms=NOON_MS + HOUR_MS, to_ms=NOON_MS + DAY))
OURS = f"Paused via API: Freeze {MARK}"


class HourPasses(WriteGate, frozen=True, kw_only=True):
    """A gate without halts; an hour passes before it is asked about the write of this number, from 0."""

    clock: FakeClock
    before: int
    asked: list[Intent] = field(default_factory=list)

    def require_open(self, intent: Intent, halts: Collection[Halt]) -> None:
        if len(self.asked) == self.before:
            self.clock.advance(HOUR_MS)
        self.asked.append(intent)
        super().require_open(intent, halts)


class HourlyWorld(World):
    """A world in which an hour passes just before a write, by the number of that write."""

    begins_before: int | None = None

    def gate_of(self, journal: OpenJournal) -> WriteGate:
        if self.begins_before is None:
            return super().gate_of(journal)
        passes, self.begins_before = HourPasses(clock=self.clock, before=self.begins_before), None
        return passes


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


def wants(name: str, state: str = "active", interval: int | None = DAY, offset: int | None = None) -> Desired:
    return Desired(id=PortfolioId(name), state=RunState(state), interval_ms=interval, offset_ms=offset)


def carried(world: HourlyWorld, *desired: Desired, begins_before: int, pace: Pace | None = None) -> ApplyReport:
    """Carry out the plan of these portfolios; the freeze begins just before the write of this number."""
    plan = with_freezes(world.plan(desired), [FREEZE], {one.id: one for one in desired}, {}, now_ms=NOON_MS)
    world.begins_before = begins_before
    return world.apply(plan, pace=pace or Pace(parallelism=1))


def ended(report: ApplyReport) -> list[tuple[str, Outcome, tuple[Call, ...]]]:
    """Return what became of each change."""
    return [(result.change.id, result.outcome, result.calls) for result in report.results]


@pytest.mark.parametrize("begins_before", [0, 1, 2, 3])
def test_what_was_not_begun_waits(place: Path, begins_before: int) -> None:
    """Of two pauses and two resumes, the resumes that come after the beginning wait; no pause ever does."""
    world = HourlyWorld(
        place,
        {
            "a": {"interval": "24h"},
            "b": {"interval": "24h"},
            "c": {"status": "paused", "interval": "24h", "pause_reason": OURS},
            "d": {"status": "paused", "interval": "24h", "pause_reason": OURS},
        },
    )
    wanted = [wants("a", "paused"), wants("b", "paused"), wants("c", interval=None), wants("d", interval=None)]
    report = carried(world, *wanted, begins_before=begins_before)
    done = [Outcome.DONE, Outcome.DONE, *([Outcome.DONE] * (begins_before - 2))]
    assert [result.outcome for result in report.results] == done + [Outcome.NOT_ATTEMPTED] * (4 - len(done))
    assert world.calls() == ["pause", "pause"] + ["resume"] * (len(done) - 2)
    assert {result.frozen.by for result in report.results if result.frozen} == {("audit",)}
    assert report.exit_reason is ExitReason.GUARD


def test_a_start_gets_its_schedule(place: Path) -> None:
    """A freeze that begins between a start and the schedule that it needs leaves no portfolio on a wrong one."""
    world = HourlyWorld(place, {"a": {"status": "inactive"}})
    report = carried(world, wants("a", offset=HOUR_MS), begins_before=1)
    assert ended(report) == [("a", Outcome.DONE, (Call.START, Call.UPDATE_SCHEDULE))]


def test_a_resume_waits_behind_its_schedule(place: Path) -> None:
    """A freeze that begins between the schedule of a resume and the resume leaves it paused, partly done."""
    world = HourlyWorld(place, {"a": {"status": "paused", "interval": "24h", "pause_reason": OURS}})
    wanted = wants("a", interval=DAY // 2)
    report = carried(world, wanted, begins_before=1)
    assert ended(report) == [("a", Outcome.NOT_ATTEMPTED, (Call.UPDATE_SCHEDULE,))]
    assert report.results[0].detail.startswith("after update-schedule: frozen by audit until ")
    assert report.exit_reason is ExitReason.PARTIAL
    world.clock.advance(DAY)
    assert ended(world.apply(report.plan)) == [("a", Outcome.DONE, (Call.UPDATE_SCHEDULE, Call.RESUME))]


def test_a_canary_that_waits_stops_nobody(place: Path) -> None:
    """The freeze of a canary is no failure: what does not wait goes on."""
    world = HourlyWorld(
        place,
        {
            "a": {"status": "paused", "interval": "24h", "pause_reason": OURS},
            "b": {"status": "paused", "interval": "24h", "pause_reason": OURS},
            "c": {"interval": "24h"},
        },
    )
    desired = [wants("a", interval=None), wants("b", interval=None), wants("c", "paused")]
    plan = with_freezes(world.plan(desired), [FREEZE], {PortfolioId("a"): desired[0]}, {}, now_ms=NOON_MS + HOUR_MS)
    world.clock.advance(HOUR_MS)
    report = world.apply(plan, pace=Pace(parallelism=1, canary=1))
    assert [outcome for _, outcome, _ in ended(report)] == [Outcome.NOT_ATTEMPTED, Outcome.NOT_ATTEMPTED, Outcome.DONE]
    assert report.exit_reason is ExitReason.GUARD
    assert not [request for request in world.app.requests.kept() if request.portfolio in ("a", "b")][2:]


@pytest.mark.slow
def test_a_canary_that_waits_stops_no_runner(server: Server) -> None:
    """Nor does it where several runners carry a plan out together: each of them reports what waits."""
    fleet, made = fleet_of(server.database(), ["resume"] * 8)
    frozen = (Window(name="audit", from_ms=0, to_ms=NOON_MS + 1000 * DAY),)
    changes = tuple(replace(one, freezes=frozen if one.id < "p03" else ()) for one in made.changes)
    runners = [Runner(fleet, replace(made, changes=changes), f"r{n}", Pace(parallelism=2, canary=1)) for n in range(2)]
    fleet.clock.run(together(*runners))
    assert {portfolio for portfolio, _ in fleet.wire.tried} == {f"p{number:02}" for number in range(3, 8)}
    for runner in runners:
        assert runner.report is not None
        assert [one.change.id for one in runner.report.frozen] == ["p00", "p01", "p02"]
        assert runner.report.exit_reason is ExitReason.GUARD
