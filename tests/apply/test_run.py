"""Apply: what is written, what is left alone, and what each ending is called."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.apply.run import Pace, Stop
from reconciler.core.decide import Policy
from reconciler.core.errors import ExitReason
from reconciler.core.evidence import MARK
from reconciler.core.intent import Call
from reconciler.core.model import Desired, PortfolioId, RunState, Verb
from reconciler.core.report import ApplyReport, Outcome
from reconciler.sandbox import Fault, FaultKind, Operation
from tests.support import BASE_URL, HOUR_MS, NOON_MS, Silence, World, folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.sandbox import Portfolio

A, B, C = PortfolioId("a"), PortfolioId("b"), PortfolioId("c")
DAY = 24 * HOUR_MS
OURS = f"Paused via API: Freeze {MARK}"


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


def wants(i: PortfolioId, state: str = "active", interval: int | None = DAY, offset: int | None = None) -> Desired:
    return Desired(id=i, state=RunState(state), interval_ms=interval, offset_ms=offset)


def only(report: ApplyReport) -> tuple[Outcome, tuple[Call, ...]]:
    (result,) = report.results
    return result.outcome, result.calls


def save(world: World, portfolio: Portfolio) -> None:
    with world.store.transaction():
        world.store.save(portfolio)


def by_hand(world: World, portfolio: str, action: str, **body: object) -> None:
    """Do what a person would in the app, past our client."""
    import asyncio

    import httpx2

    async def post() -> None:
        transport = httpx2.ASGITransport(app=world.app)  # type: ignore[arg-type]  # an ASGI app by its call
        async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox.localhost") as client:
            answer = await client.post(
                f"/v1/portfolio/{portfolio}/{action}", json=body, headers={"X-API-KEY": "person"}
            )
            assert answer.status_code == 200, answer.text

    asyncio.run(post())


def test_stale_when_the_state_moved(place: Path) -> None:
    """A portfolio that somebody paused since the plan is skipped as stale, and the rest goes on."""
    world = World(journal=place, portfolios={i: {"interval": "24h", "started": "1h"} for i in (A, B)})
    plan = world.plan([wants(A), wants(B)])
    by_hand(world, A, "pause", reason="audit")
    report = world.apply(plan)
    assert [r.outcome for r in report.results] == [Outcome.STALE, Outcome.DONE]
    assert "it was active when planned, now it is paused" in report.results[0].detail
    assert report.exit_reason is ExitReason.STALE


def test_stale_when_a_readable_interval_moved(place: Path) -> None:
    """12 → 20 was planned, 31 is found: stale."""
    world = World(
        journal=place,
        portfolios={A: {"interval": "12h"}},
        settings={"readable_schedule": True},
    )
    plan = world.plan([wants(A, interval=20 * HOUR_MS)])
    by_hand(world, A, "update-schedule-interval", interval={"every": 31 * HOUR_MS})
    before = len(world.writes())
    report = world.apply(plan)
    assert only(report) == (Outcome.STALE, ())
    assert report.exit_reason is ExitReason.STALE
    assert len(world.writes()) == before


def test_a_new_pause_by_somebody_else_is_not_lifted(place: Path) -> None:
    """Planned to lift our pause; meanwhile somebody resumed and paused it themselves: it stays paused."""
    world = World(journal=place, portfolios={A: {"status": "paused", "pause_reason": OURS}})
    plan = world.plan([wants(A, interval=None)])
    assert [c.verb for c in plan.changes] == ["resume"]
    by_hand(world, A, "resume")
    by_hand(world, A, "pause", reason="do not touch")
    assert only(world.apply(plan)) == (Outcome.STALE, ())


@pytest.mark.parametrize("theirs", [False, True])
def test_a_saved_plan_is_not_applied_twice(place: Path, theirs: bool) -> None:
    """The pause that it lifted came round again, for the very same reason: that one was never reviewed."""
    reason = "audit" if theirs else f"Freeze {MARK}"
    world = World(journal=place, portfolios={A: {"status": "paused", "pause_reason": f"Paused via API: {reason}"}})
    saved = world.plan([wants(A, interval=None)], Policy(resume_held=frozenset({A})))
    assert [c.pause_reason for c in saved.changes] == [f"Paused via API: {reason}"]
    world.clock.advance(HOUR_MS)
    assert only(world.apply(saved)) == (Outcome.DONE, (Call.RESUME,))
    by_hand(world, A, "pause", reason=reason)
    report = world.apply(saved)
    assert only(report) == (Outcome.STALE, ())
    assert report.results[0].detail == "this journal has a write to it that the plan did not know of; plan again"


def test_a_write_in_the_future_is_a_wrong_clock(place: Path) -> None:
    """A clock that was once ahead does not make every later plan stale."""
    world = World(journal=place, portfolios={A: {"status": "active"}})
    world.clock.advance(9 * DAY)
    world.converge([wants(A, "paused", interval=None)])
    world.clock.advance(-9 * DAY)
    assert only(world.converge([wants(A, interval=None)])[1]) == (Outcome.DONE, (Call.RESUME,))


def test_already_done(place: Path) -> None:
    """What somebody has already done is not done again."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}})
    plan = world.plan([wants(A, "paused")])
    by_hand(world, A, "pause", reason="me first")
    writes = len(world.writes())
    report = world.apply(plan)
    assert only(report) == (Outcome.ALREADY_DONE, ())
    assert len(world.writes()) == writes
    assert report.exit_reason is ExitReason.OK


def test_the_same_plan_twice_writes_nothing_the_second_time(place: Path) -> None:
    """A plan is of one moment: run again, it finds everything done."""
    world = World(
        journal=place,
        portfolios={A: {"interval": "24h", "started": "1h"}, B: {"status": "inactive"}, C: {"interval": "24h"}},
    )
    plan = world.plan([wants(A, interval=2 * DAY), wants(B), wants(C, "paused")])
    world.apply(plan)
    writes = len(world.writes())
    assert {r.outcome for r in world.apply(plan).results} == {Outcome.ALREADY_DONE}
    assert len(world.writes()) == writes


def test_order_of_writes(place: Path) -> None:
    """Pauses, longer intervals, unknown ones, shorter ones, resumes, starts: less trading first."""
    day = {"interval": "24h", "started": "10d"}
    world = World(
        journal=place,
        parallelism=8,
        portfolios={
            "a-start": {"status": "inactive"},
            "b-resume": {"status": "paused", "pause_reason": OURS},
            "c-shorter": day,
            "d-unknown": {"interval": "24h", "started": "1h"},
            "e-longer": day,
            "f-pause": day,
        },
    )
    intervals = {"c-shorter": DAY // 2, "e-longer": 2 * DAY, "b-resume": None}
    desired = [
        wants(PortfolioId(i), "paused" if i == "f-pause" else "active", intervals.get(i, DAY)) for i in world.portfolios
    ]
    _, report = world.converge(desired)
    assert [write.split(" ")[0] for write in world.writes()] == [
        "f-pause",
        "e-longer",
        "d-unknown",
        "c-shorter",
        "b-resume",
        "a-start",
    ]
    assert [r.change.id for r in report.results] == sorted(world.portfolios)


def test_start_with_an_interval_the_service_misread(place: Path) -> None:
    """A start that leaves the 6 h default is followed by an update, and the update is verified (API facts §4.2)."""
    world = World(journal=place, portfolios={A: {"status": "inactive"}})
    desired = [wants(A, offset=HOUR_MS)]
    _, report = world.converge(desired)
    assert only(report) == (Outcome.DONE, (Call.START, Call.UPDATE_SCHEDULE))
    assert world.plan(desired).changes == ()


def test_a_refused_update_while_paused_is_done_after_the_resume(place: Path) -> None:
    """Update then resume; where that is refused while paused, resume then update (API facts §5.3), and said."""
    world = World(
        journal=place,
        portfolios={A: {"status": "paused", "pause_reason": OURS}},
        settings={"update_while_paused": "refuse"},
    )
    desired = [wants(A)]
    _, report = world.converge(desired)
    assert only(report) == (Outcome.DONE, (Call.UPDATE_SCHEDULE, Call.RESUME, Call.UPDATE_SCHEDULE))
    assert "could not be set while paused" in report.results[0].notes[0]
    assert world.plan(desired).changes == ()


def test_a_refused_interval_never_resumes(place: Path) -> None:
    """When the service refuses the value itself, the portfolio stays paused."""
    world = World(
        journal=place,
        portfolios={A: {"status": "paused", "pause_reason": OURS, "chain": "ethereum", "interval": "24h"}},
    )
    _, report = world.converge([wants(A, interval=2 * HOUR_MS)])
    assert only(report) == (Outcome.FAILED, (Call.UPDATE_SCHEDULE,))
    assert "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT" in report.results[0].detail
    assert report.exit_reason is ExitReason.ERROR


@pytest.mark.parametrize(
    "kind",
    [FaultKind.LOST_AFTER, FaultKind.ERROR_AFTER, FaultKind.TRUNCATED, FaultKind.NOT_JSON, FaultKind.WRONG_PORTFOLIO],
)
def test_a_pause_whose_answer_is_lost_is_found_by_reading(place: Path, kind: FaultKind) -> None:
    """The call took effect, its answer did not arrive: a read settles it, and it is not sent again."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}})
    plan = world.plan([wants(A, "paused")])
    world.faults.add(Fault(kind=kind, operation=Operation.PAUSE))
    report = world.apply(plan)
    assert only(report) == (Outcome.DONE, (Call.PAUSE,))
    assert "a read shows that it took effect" in report.results[0].notes[0]
    assert world.calls() == ["pause"]


@pytest.mark.parametrize("kind", [FaultKind.LOST_BEFORE, FaultKind.SERVER_ERROR, FaultKind.HTML])
def test_a_pause_that_had_no_effect_is_sent_once_more(place: Path, kind: FaultKind) -> None:
    """The reads prove that it had no effect, and a pause only sets a state: it is sent again, once."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}})
    plan = world.plan([wants(A, "paused")])
    world.faults.add(Fault(kind=kind, operation=Operation.PAUSE))
    report = world.apply(plan)
    assert only(report) == (Outcome.DONE, (Call.PAUSE, Call.PAUSE))
    assert "so it was sent again" in report.results[0].notes[0]


@pytest.mark.parametrize("kind", [FaultKind.LOST_BEFORE, FaultKind.SERVER_ERROR, FaultKind.HTML])
def test_a_pause_that_shows_nowhere_twice_is_unknown(place: Path, kind: FaultKind) -> None:
    """Twice no answer and no effect to be seen: unknown, exit 6, and the next apply finishes it."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}})
    desired = [wants(A, "paused")]
    plan = world.plan(desired)
    world.faults.add(Fault(kind=kind, operation=Operation.PAUSE, times=2))
    report = world.apply(plan)
    assert only(report) == (Outcome.UNKNOWN, (Call.PAUSE, Call.PAUSE))
    assert report.exit_reason is ExitReason.PARTIAL
    assert world.calls() == ["pause", "pause"]
    assert {r.outcome for r in world.converge(desired)[1].results} == {Outcome.DONE}


def test_a_resume_is_not_sent_again_onto_another_pause(place: Path) -> None:
    """The first resume was lost and somebody paused anew in between: it stays paused."""
    world = World(journal=place, portfolios={A: {"status": "paused", "pause_reason": OURS}})
    plan = world.plan([wants(A, interval=None)])

    world.faults.add(Fault(kind=FaultKind.LOST_BEFORE, operation=Operation.RESUME))
    somebody = replace(world.store.portfolio(A), pause_reason="Paused from the app")
    world.clock.at_next_sleep(lambda: save(world, somebody))
    report = world.apply(plan)
    assert only(report) == (Outcome.UNKNOWN, (Call.RESUME,))
    assert world.store.portfolio(A).state.value == "paused"


def test_a_pause_made_while_the_schedule_was_set_is_not_lifted(place: Path) -> None:
    """The update's answer was lost, and the read that finds its effect shows another pause: it stays paused."""
    world = World(
        journal=place,
        portfolios={A: {"status": "paused", "pause_reason": OURS, "interval": "12h"}},
        settings={"readable_schedule": True},
    )
    plan = world.plan([wants(A)])

    world.faults.add(Fault(kind=FaultKind.LOST_AFTER, operation=Operation.UPDATE))
    world.faults.add(Fault(kind=FaultKind.LATENCY, operation=Operation.READ, times=2))

    def pause_anew() -> None:
        save(world, replace(world.store.portfolio(A), pause_reason="Paused from the app"))

    world.clock.at_next_sleep(lambda: world.clock.at_next_sleep(pause_anew))
    report = world.apply(plan)
    assert only(report) == (Outcome.STALE, (Call.UPDATE_SCHEDULE,))
    assert "it was not resumed: it is in another pause by now" in report.results[0].detail
    assert report.exit_reason is ExitReason.PARTIAL
    assert world.store.portfolio(A).state.value == "paused"


def test_a_canary_that_fails_stops_everything(place: Path) -> None:
    """With a canary of one, a first failure leaves the rest unattempted."""
    ids = [PortfolioId(f"p{n}") for n in range(5)]
    world = World(journal=place, portfolios={i: {"interval": "24h"} for i in ids})
    plan = world.plan([wants(i, "paused") for i in ids])
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.PAUSE, portfolio="p0", status=400))
    report = world.apply(plan, pace=Pace(parallelism=4, canary=1))
    assert [r.outcome for r in report.results] == [Outcome.FAILED] + [Outcome.NOT_ATTEMPTED] * 4
    assert report.results[1].detail == "the canary p0 was not done"


def test_a_canary_that_is_done_lets_the_rest_go(place: Path) -> None:
    """Once the canary is done and verified, everything else follows."""
    ids = [PortfolioId(f"p{n}") for n in range(5)]
    world = World(journal=place, portfolios={i: {"interval": "24h"} for i in ids})
    report = world.apply(world.plan([wants(i, "paused") for i in ids]), pace=Pace(parallelism=4, canary=2))
    assert {r.outcome for r in report.results} == {Outcome.DONE}


def test_max_failures(place: Path) -> None:
    """After more failures than allowed nothing more begins."""
    ids = [PortfolioId(f"p{n}") for n in range(6)]
    world = World(journal=place, portfolios={i: {"interval": "24h"} for i in ids}, parallelism=1)
    plan = world.plan([wants(i, "paused") for i in ids])
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.PAUSE, status=400, times=99))
    report = world.apply(plan, pace=Pace(parallelism=1, max_failures=1))
    assert [r.outcome for r in report.results] == [Outcome.FAILED] * 2 + [Outcome.NOT_ATTEMPTED] * 4
    assert len(world.calls()) == 2


def test_a_lost_start_is_never_sent_twice(place: Path) -> None:
    """The start took effect unseen; its schedule is settled by an update, because no answer confirmed it."""
    world = World(journal=place, portfolios={A: {"status": "inactive"}})
    plan = world.plan([wants(A)])
    world.faults.add(Fault(kind=FaultKind.LOST_AFTER, operation=Operation.START))
    report = world.apply(plan)
    assert only(report) == (Outcome.DONE, (Call.START, Call.UPDATE_SCHEDULE))
    assert world.plan([wants(A)]).changes == ()


def test_an_update_with_a_lost_answer_is_unknown_and_does_not_resume(place: Path) -> None:
    """Nobody can read whether the schedule was set, so the portfolio is not resumed on it."""
    world = World(journal=place, portfolios={A: {"status": "paused", "pause_reason": OURS}})
    plan = world.plan([wants(A)])
    world.faults.add(Fault(kind=FaultKind.LOST_AFTER, operation=Operation.UPDATE))
    report = world.apply(plan)
    assert only(report) == (Outcome.UNKNOWN, (Call.UPDATE_SCHEDULE,))
    assert world.plan([wants(A)]).changes[0].verb == "resume"


def test_one_failure_hides_nothing(place: Path) -> None:
    """A refused write fails alone; the others are done, and the run is partly done."""
    world = World(journal=place, portfolios={i: {"interval": "24h"} for i in (A, B, C)})
    plan = world.plan([wants(i, "paused") for i in (A, B, C)])
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.PAUSE, portfolio=B, status=400))
    report = world.apply(plan)
    assert [r.outcome for r in report.results] == [Outcome.DONE, Outcome.FAILED, Outcome.DONE]
    assert report.exit_reason is ExitReason.PARTIAL


def test_a_read_that_fails_before_the_write_sends_nothing(place: Path) -> None:
    """No write without a fresh read."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}})
    plan = world.plan([wants(A, "paused")])
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.READ, times=100))
    report = world.apply(plan)
    assert only(report) == (Outcome.FAILED, ())
    assert world.calls() == []
    assert report.exit_reason is ExitReason.UNREACHABLE


def test_stop_leaves_the_rest_unattempted(place: Path) -> None:
    """After a request to stop, what is under way is finished and the rest is named as not attempted."""
    world = World(journal=place, portfolios={f"p{n}": {"interval": "24h"} for n in range(4)}, parallelism=1)
    plan = world.plan([wants(PortfolioId(f"p{n}"), "paused") for n in range(4)])
    stop = Stop()

    class StopInTheSecond(Silence):
        def started(self, portfolio: PortfolioId, verb: Verb) -> None:
            if portfolio == "p1":
                stop.request("interrupted before it began")

    report = world.apply(plan, stop, StopInTheSecond())
    assert [r.outcome for r in report.results] == [Outcome.DONE] * 2 + [Outcome.NOT_ATTEMPTED] * 2
    assert len(world.calls()) == 2


def test_the_journal_remembers_what_was_confirmed(place: Path) -> None:
    """After one confirmed write the schedule is recorded, so it is not written again; drift that shows wins."""
    world = World(journal=place, portfolios={A: {"interval": "24h", "started": "1h"}})
    desired = [wants(A, offset=HOUR_MS)]
    plan, _ = world.converge(desired)
    assert {f.provenance for f in plan.changes[0].fields} == {"read", "none"}
    assert world.plan(desired).changes == ()
    by_hand(world, A, "update-schedule-interval", interval={"every": 6 * HOUR_MS})
    world.store.advance(2 * DAY)
    (change,) = world.plan(desired).changes
    found = {f.field: f for f in change.fields}
    assert (found["interval_ms"].live, found["interval_ms"].provenance, found["interval_ms"].overruled) == (
        6 * HOUR_MS,
        "observed",
        DAY,
    )
    _, report = world.converge(desired)
    assert report.results[0].outcome is Outcome.DONE
    assert world.plan(desired).changes == ()


def test_drift_that_only_the_answer_shows_is_noted(place: Path) -> None:
    """The answer of an update tells what it replaced; where the record said otherwise, people are told."""
    world = World(journal=place, portfolios={A: {"interval": "24h", "started": "1h"}})
    world.converge([wants(A)])
    by_hand(world, A, "update-schedule-interval", interval={"every": 18 * HOUR_MS})
    _, report = world.converge([wants(A, interval=12 * HOUR_MS)])
    assert report.results[0].notes == ("the interval had drifted: it was 18h, not 24h",)


def test_every_write_is_in_the_journal_with_its_outcome(place: Path) -> None:
    """Intent and outcome of every write are on record, under their run, without a key."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}, B: {"status": "inactive"}})
    world.faults.add(Fault(kind=FaultKind.LOST_AFTER, operation=Operation.PAUSE))
    world.converge([wants(A, "paused"), wants(B)])
    with sqlite3.connect(place) as connection:
        rows = connection.execute("SELECT portfolio, call, wanted, outcome FROM writes ORDER BY id").fetchall()
        confirmed = connection.execute("SELECT base_url, portfolio, state FROM confirmed ORDER BY 2").fetchall()
    connection.close()
    assert [(p, c, o) for p, c, _, o in rows] == [(A, "pause", "seen"), (B, "start", "confirmed")]
    assert json.loads(rows[1][2])["interval_ms"] == DAY
    assert confirmed == [(BASE_URL, A, "paused"), (BASE_URL, B, "active")]
    assert b"test-key-1234" not in place.read_bytes()


def test_a_pause_by_us_is_released_by_us(place: Path) -> None:
    """Our pause leaves its mark, so that any machine may lift it when the files say so."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}})
    world.converge([wants(A, "paused")])
    place.unlink()
    (change,) = world.plan([wants(A)]).changes
    assert change.verb == "resume"
    assert change.pause_reason == "Paused via API: Declared in Git [glider-reconciler 000001]"


def test_now_is_the_clock_that_was_passed_in(place: Path) -> None:
    """Times in plan and report come from the clock."""
    world = World(journal=place, portfolios={A: {"interval": "24h"}})
    plan, report = world.converge([wants(A)])
    assert plan.created_ms == report.started_ms == NOON_MS
