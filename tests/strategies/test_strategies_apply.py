"""Strategies on the wire: what is planned and written, that it converges, and what becomes of every fault."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.api.client import Glider
from reconciler.apply.journal import open_journal
from reconciler.apply.run import Pace, Stop
from reconciler.core.change import BlockReason
from reconciler.core.errors import ExitReason
from reconciler.core.intent import Before, Call
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    PortfolioId,
    RunState,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Unverified,
    Verb,
    address_of,
)
from reconciler.core.ports import Confirmation
from reconciler.core.report import ACHIEVED, Outcome
from reconciler.sandbox import Fault, FaultKind, Operation
from tests.apply.scripted import intent
from tests.strategies.support import A, B, C, StrategyWorld, put, wants_v2
from tests.support import BASE_URL, HOUR_MS, Silence, folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from reconciler.core.change import Change
    from reconciler.core.intent import Intent
    from reconciler.core.model import Live
    from reconciler.core.report import ApplyReport


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


def world_of(
    place: Path, strategies: dict[str, dict[str, Any]], portfolios: dict[str, dict[str, Any]] | None = None
) -> StrategyWorld:
    return StrategyWorld(journal=place, portfolios=portfolios or {}, strategies=strategies)


def to_weekly(strategy: StrategyId) -> Intent:
    """Return the intent to set a cadence that was daily to weekly."""
    before = Before(cadence=Cadence.DAILY)
    return intent(address_of(strategy), Call.SET_CADENCE, api=ApiVersion.V2, cadence=Cadence.WEEKLY, before=before)


def only(report: ApplyReport) -> tuple[Outcome, tuple[Call, ...]]:
    (result,) = report.results
    return result.outcome, result.calls


LIVE: dict[str, dict[str, Any]] = {
    **{cadence.value: {"frequency": cadence.value} for cadence in Cadence},
    "no schedule": {},
    "foreign": {"frequency": "daily", "owner": "foreign"},
    "not found": {},
    "read failed": {"frequency": "daily"},
}


@pytest.mark.parametrize("wanted", [cadence.value for cadence in Cadence])
@pytest.mark.parametrize("live", LIVE)
def test_cell(place: Path, live: str, wanted: str) -> None:
    """The writes of one cell are exactly these; afterwards the plan is empty and an apply writes nothing."""
    world = world_of(place, {} if live == "not found" else {A: LIVE[live]})
    if live == "read failed":
        world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.STRATEGY, times=1000))
    blocked = live in ("foreign", "not found", "read failed")
    writes = [] if blocked or live == wanted else [put(A)]

    plan, report = world.converge_strategies({A: wanted})

    assert world.sent() == writes
    assert [b.id for b in plan.blocked] == ([address_of(A)] if blocked else [])
    assert {result.outcome for result in report.results} <= ACHIEVED
    if writes:
        assert world.cadence(A) == wanted
    again, repeated = world.converge_strategies({A: wanted})
    assert (again.changes, repeated.results) == ((), ())
    assert [b.reason for b in again.blocked] == [b.reason for b in plan.blocked]
    assert world.sent() == writes


@pytest.mark.parametrize("unverified", [Unverified.SKIP, Unverified.FAIL])
def test_an_unknown_schedule_is_left_alone_when_asked(place: Path, unverified: Unverified) -> None:
    """--unverified skip and fail write nothing; fail blocks."""
    world = world_of(place, {A: {}})
    plan, _ = world.converge_strategies({A: "daily"}, unverified=unverified)
    assert world.sent() == []
    assert [b.reason for b in plan.blocked] == ([BlockReason.UNVERIFIED] if unverified is Unverified.FAIL else [])


def test_reach_counts_what_is_enrolled(place: Path) -> None:
    """Paused portfolios are reached too; those of other strategies and of v1 are not."""
    enrolled = {f"pf_{n}": {"api": "v2", "strategy": A, "status": s} for n, s in enumerate(("active", "paused"))}
    others = {"pf_9": {"api": "v2", "strategy": B}, "v1": {"status": "active"}}
    world = world_of(place, {A: {"frequency": "daily"}, B: {"frequency": "daily"}}, {**enrolled, **others})
    assert [c.reach for c in world.plan_strategies({A: "weekly", B: "weekly"}).changes] == [2, 1]


def test_reach_is_unknown_where_the_list_fails(place: Path) -> None:
    """A list that ends early is no count."""
    world = world_of(place, {A: {"frequency": "daily"}})
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.LIST, times=1000))
    assert [c.reach for c in world.plan_strategies({A: "weekly"}).changes] == [None]


def test_cadences_go_between_pauses_and_resumes(place: Path) -> None:
    """Pause, slower, unknown, faster, resume: nothing begins to trade on a cadence that is about to change."""
    world = world_of(
        place,
        {A: {"frequency": "weekly"}, B: {"frequency": "daily"}, C: {}},
        {
            "pf_1": {"api": "v2", "strategy": A, "status": "paused"},
            "pf_2": {"api": "v2", "strategy": B, "status": "active"},
        },
    )
    by_us = world.plan_strategies({}, [wants_v2("pf_2", "paused")])
    world.apply(by_us)
    assert world.sent() == ["POST portfolios/pf_2/stop"]
    declared = {A: "hourly", B: "monthly", C: "daily"}
    _, report = world.converge_strategies(declared, [wants_v2("pf_2", "active")])
    assert world.sent()[1:] == [put(B), put(C), put(A), "POST portfolios/pf_2/start"]
    assert report.exit_reason is ExitReason.OK


def test_nothing_is_resumed_on_a_cadence_that_was_not_set(place: Path) -> None:
    """The portfolio would trade at the old cadence: it stays paused, and another strategy's goes on."""
    seeds = {i: {"api": "v2", "strategy": s} for i, s in (("pf_a", A), ("pf_b", B))}
    world = world_of(place, {A: {"frequency": "hourly"}, B: {"frequency": "hourly"}}, seeds)
    world.apply(world.plan_strategies({}, [wants_v2("pf_a", "paused"), wants_v2("pf_b", "paused")]))
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.CADENCE, portfolio=A, times=9))
    _, report = world.converge_strategies({A: "daily", B: "daily"}, [wants_v2("pf_a"), wants_v2("pf_b")])
    assert [(r.change.id, r.outcome) for r in report.results] == [
        ("pf_a", Outcome.NOT_ATTEMPTED),
        ("pf_b", Outcome.DONE),
        (address_of(A), Outcome.UNKNOWN),
        (address_of(B), Outcome.DONE),
    ]
    assert f"the cadence of its strategy {A} was not set" in report.results[0].detail
    assert report.exit_reason is ExitReason.PARTIAL


def test_a_portfolio_with_a_schedule_of_its_own_is_resumed_all_the_same(place: Path) -> None:
    """No cadence is its business: neither the one that could not be set, nor any other."""
    world = world_of(place, {A: {"frequency": "hourly"}}, {"own": {"interval": "24h", "started": "10d"}})
    own = Desired(id=PortfolioId("own"), state=RunState.PAUSED)
    world.apply(world.plan_strategies({}, [own]))
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.CADENCE, portfolio=A, times=9))
    _, report = world.converge_strategies({A: "daily"}, [replace(own, state=RunState.ACTIVE)])
    assert [(r.change.id, r.outcome) for r in report.results] == [
        ("own", Outcome.DONE),
        (address_of(A), Outcome.UNKNOWN),
    ]


class Nameless(Glider):
    """A service that names no strategy in what it tells of a portfolio."""

    async def read(self, portfolio: PortfolioId) -> Live:
        return replace(await super().read(portfolio), strategy=None)


class NamelessWorld(StrategyWorld):
    @asynccontextmanager
    async def api(self, portfolios: Iterable[Desired | Change] = ()) -> AsyncIterator[Glider]:
        async with super().api(portfolios) as api:
            yield Nameless(api.transport, paths=self.paths, versions=api.versions)


def test_nothing_is_resumed_where_its_strategy_may_be_the_one_that_failed(place: Path) -> None:
    """Glider does not name the strategy of a portfolio: it may be any whose cadence was not set."""
    world = NamelessWorld(
        journal=place,
        portfolios={"pf_b": {"api": "v2", "strategy": B}},
        strategies={A: {"frequency": "hourly"}, B: {"frequency": "hourly"}},
    )
    world.apply(world.plan_strategies({}, [wants_v2("pf_b", "paused")]))
    plan = world.plan_strategies({A: "daily"}, [wants_v2("pf_b")])
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.CADENCE, times=9))
    report = world.apply(plan)
    assert [(r.change.id, r.outcome) for r in report.results] == [
        ("pf_b", Outcome.NOT_ATTEMPTED),
        (address_of(A), Outcome.UNKNOWN),
    ]
    assert "POST portfolios/pf_b/start" not in world.sent()


FAULTS: dict[str, tuple[Fault, Outcome, int, list[str], ExitReason]] = {
    "lost before": (
        Fault(kind=FaultKind.LOST_BEFORE, operation=Operation.CADENCE),
        Outcome.DONE,
        2,
        ["unseen", "confirmed"],
        ExitReason.OK,
    ),
    "lost before, twice": (
        Fault(kind=FaultKind.LOST_BEFORE, operation=Operation.CADENCE, times=2),
        Outcome.UNKNOWN,
        2,
        ["unseen", "unseen"],
        ExitReason.PARTIAL,
    ),
    "lost after": (
        Fault(kind=FaultKind.LOST_AFTER, operation=Operation.CADENCE),
        Outcome.DONE,
        1,
        ["seen"],
        ExitReason.OK,
    ),
    "5xx, nothing done": (
        Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.CADENCE, status=502),
        Outcome.DONE,
        2,
        ["unseen", "confirmed"],
        ExitReason.OK,
    ),
    "5xx, done": (
        Fault(kind=FaultKind.ERROR_AFTER, operation=Operation.CADENCE),
        Outcome.DONE,
        1,
        ["seen"],
        ExitReason.OK,
    ),
    "an answer that is not JSON": (
        Fault(kind=FaultKind.NOT_JSON, operation=Operation.CADENCE),
        Outcome.DONE,
        1,
        ["seen"],
        ExitReason.OK,
    ),
    "an empty answer": (
        Fault(kind=FaultKind.EMPTY, operation=Operation.CADENCE),
        Outcome.DONE,
        1,
        ["seen"],
        ExitReason.OK,
    ),
    "404": (
        Fault(kind=FaultKind.HTML, operation=Operation.CADENCE, status=404),
        Outcome.FAILED,
        1,
        ["failed"],
        ExitReason.ERROR,
    ),
    "403": (
        Fault(kind=FaultKind.HTML, operation=Operation.CADENCE, status=403),
        Outcome.FAILED,
        1,
        ["failed"],
        ExitReason.PERMISSION,
    ),
    "429 once": (
        Fault(kind=FaultKind.RATE_LIMITED, operation=Operation.CADENCE),
        Outcome.DONE,
        1,
        ["failed", "confirmed"],
        ExitReason.OK,
    ),
    "429 to the end": (
        Fault(kind=FaultKind.RATE_LIMITED, operation=Operation.CADENCE, times=99),
        Outcome.FAILED,
        1,
        ["failed"] * 4,
        ExitReason.UNREACHABLE,
    ),
}


@pytest.mark.parametrize(("fault", "outcome", "calls", "journal", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_write(
    place: Path, fault: Fault, outcome: Outcome, calls: int, journal: list[str], reason: ExitReason
) -> None:
    """Each ends as it should, and one more plan and apply without the fault converge."""
    world = world_of(place, {A: {"frequency": "daily"}})
    world.faults.add(fault)
    _, report = world.converge_strategies({A: "weekly"})
    assert only(report) == (outcome, (Call.SET_CADENCE,) * calls)
    assert [found for _, found in world.written()] == journal
    assert report.exit_reason is reason
    world.faults.clear()
    world.converge_strategies({A: "weekly"})
    again = world.plan_strategies({A: "weekly"})
    assert (again.changes, again.strategies_no_op) == ((), 1)
    assert world.cadence(A) == "weekly"


def test_an_unknown_outcome_that_can_not_be_read_stays_unknown(place: Path) -> None:
    """Where no read tells, the write is not repeated, and what was recorded is void."""
    world = world_of(place, {A: {"frequency": "daily"}})
    plan = world.plan_strategies({A: "weekly"})
    world.faults.add(
        Fault(kind=FaultKind.LOST_BEFORE, operation=Operation.CADENCE),
        Fault(kind=FaultKind.LATENCY, operation=Operation.STRATEGY, ms=0),
        Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.STRATEGY, times=1000),
    )
    report = world.apply(plan)
    assert only(report) == (Outcome.UNKNOWN, (Call.SET_CADENCE,))
    assert world.written() == [("set-cadence", "unknown")]
    with open_journal(place, base_url=BASE_URL, now_ms=world.clock.now_ms) as journal:
        assert journal.memory().cadences == {}


def test_a_change_by_somebody_else_is_not_written_over(place: Path) -> None:
    """The cadence is neither as planned from nor as wanted: stale, nothing is sent."""
    world = world_of(place, {A: {"frequency": "daily"}})
    plan = world.plan_strategies({A: "weekly"})
    world.set_by_hand(A, "hourly")
    report = world.apply(plan)
    assert only(report) == (Outcome.STALE, ())
    assert report.results[0].detail == "it was daily when planned, now it is hourly; plan again"
    assert report.exit_reason is ExitReason.STALE
    assert world.cadence(A) == "hourly"


def test_a_saved_plan_is_not_applied_twice(place: Path) -> None:
    """Another apply set the cadence back since: it looks as planned from, and is stale all the same."""
    world = world_of(place, {A: {"frequency": "daily"}})
    saved = world.plan_strategies({A: "hourly"})
    world.clock.advance(HOUR_MS)
    assert only(world.apply(saved)) == (Outcome.DONE, (Call.SET_CADENCE,))
    world.clock.advance(HOUR_MS)
    world.converge_strategies({A: "daily"})
    world.clock.advance(HOUR_MS)
    assert only(world.apply(saved)) == (Outcome.STALE, ())
    assert world.cadence(A) == "daily"


def test_what_somebody_did_already_is_not_done_again(place: Path) -> None:
    """Already as wanted: nothing is sent."""
    world = world_of(place, {A: {"frequency": "daily"}})
    plan = world.plan_strategies({A: "weekly"})
    world.set_by_hand(A, "weekly")
    assert only(world.apply(plan)) == (Outcome.ALREADY_DONE, ())


def test_a_failure_stops_no_other_strategy(place: Path) -> None:
    """One fails, the other is done, and the run says partly."""
    world = world_of(place, {A: {"frequency": "daily"}, B: {"frequency": "daily"}})
    world.faults.add(Fault(kind=FaultKind.HTML, operation=Operation.CADENCE, portfolio=A, status=403))
    _, report = world.converge_strategies({A: "weekly", B: "weekly"})
    assert [r.outcome for r in report.results] == [Outcome.FAILED, Outcome.DONE]
    assert report.exit_reason is ExitReason.PARTIAL
    assert (report.count(Outcome.FAILED), report.count(Outcome.DONE)) == (1, 1)


def test_a_canary_that_fails_stops_the_rest(place: Path) -> None:
    """With --canary 1 the first strategy goes alone; it was not done, so nothing more begins."""
    world = world_of(place, {i: {"frequency": "daily"} for i in (A, B, C)})
    world.faults.add(Fault(kind=FaultKind.HTML, operation=Operation.CADENCE, portfolio=A, status=403))
    plan = world.plan_strategies(dict.fromkeys((A, B, C), "weekly"))
    report = world.apply(plan, pace=Pace(parallelism=4, canary=1))
    assert [r.outcome for r in report.results] == [Outcome.FAILED, Outcome.NOT_ATTEMPTED, Outcome.NOT_ATTEMPTED]
    assert report.results[1].detail == f"the canary {address_of(A)} was not done"
    assert world.sent() == [put(A)]


def test_failures_count_towards_the_limit(place: Path) -> None:
    """After more failures than --max-failures nothing more begins."""
    world = world_of(place, {i: {"frequency": "daily"} for i in (A, B, C)})
    world.faults.add(Fault(kind=FaultKind.HTML, operation=Operation.CADENCE, status=403, times=9))
    plan = world.plan_strategies(dict.fromkeys((A, B, C), "weekly"))
    report = world.apply(plan, pace=Pace(parallelism=1, max_failures=1))
    assert [r.outcome for r in report.results] == [Outcome.FAILED, Outcome.FAILED, Outcome.NOT_ATTEMPTED]


def test_an_interruption_leaves_the_rest_alone(place: Path) -> None:
    """What is under way is finished; what has not begun does not."""

    class Interrupting(Silence):
        def started(self, portfolio: PortfolioId, verb: Verb) -> None:
            stop.request("interrupted before it began")

    world = world_of(place, {A: {"frequency": "daily"}, B: {"frequency": "daily"}})
    plan = world.plan_strategies({A: "weekly", B: "weekly"})
    stop = Stop()
    report = world.apply(plan, stop=stop, observer=Interrupting(), pace=Pace(parallelism=1))
    assert [r.outcome for r in report.results] == [Outcome.DONE, Outcome.NOT_ATTEMPTED]
    assert world.sent() == [put(A)]


@pytest.mark.parametrize(
    ("live", "said", "outcome"), [("weekly", "took effect", "seen"), ("daily", "no effect", "unseen")]
)
def test_a_write_that_a_run_died_over_is_settled_by_reading(place: Path, live: str, said: str, outcome: str) -> None:
    """An intent without an outcome gets one before anything new is written."""
    world = world_of(place, {A: {"frequency": live}})
    with open_journal(place, base_url=BASE_URL, now_ms=world.clock.now_ms) as journal:
        journal.open_run(fingerprint="died", tool="test")
        journal.begin(to_weekly(A))
        assert journal.memory().cadences == {}
    world.apply(world.plan_strategies({}))
    assert len(world.settled) == 1
    assert said in world.settled[0]
    assert f"set-cadence of strategies/{A}" in world.settled[0]
    assert world.written() == [("set-cadence", outcome)]
    assert world.sent() == []


def test_a_strategy_that_can_not_be_read_stays_open(place: Path) -> None:
    """Its intent waits for a later run."""
    world = world_of(place, {A: {"frequency": "daily"}})
    plan = world.plan_strategies({})
    with open_journal(place, base_url=BASE_URL, now_ms=world.clock.now_ms) as journal:
        journal.open_run(fingerprint="died", tool="test")
        journal.begin(to_weekly(A))
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.STRATEGY, times=1000))
    world.apply(plan)
    assert "stays open" in world.settled[0]
    assert world.written() == [("set-cadence", None)]


def test_what_the_journal_remembers(place: Path) -> None:
    """The last write that may have taken effect counts, and a failed one says nothing."""
    world = world_of(place, {A: {"frequency": "daily"}, B: {"frequency": "daily"}})
    world.converge_strategies({A: "weekly", B: "weekly"})
    world.faults.add(Fault(kind=FaultKind.HTML, operation=Operation.CADENCE, status=403, times=9))
    world.converge_strategies({A: "hourly", B: "hourly"})
    with open_journal(place, base_url=BASE_URL, now_ms=world.clock.now_ms) as journal:
        assert journal.memory().cadences == {A: "weekly", B: "weekly"}
    with open_journal(place, base_url="https://elsewhere", now_ms=world.clock.now_ms) as journal:
        assert journal.memory().cadences == {}


def test_a_write_that_is_cut_off_is_unknown_and_settled_by_the_next_run(place: Path) -> None:
    """Interrupted while its answer is awaited: unknown, and nothing is recorded; the next apply converges."""
    world = world_of(place, {A: {"frequency": "daily"}})
    plan = world.plan_strategies({A: "weekly"})
    stop = Stop()
    world.stand_in = _Silent(stop)
    report = world.apply(plan, stop=stop)
    world.stand_in = None
    assert [r.outcome for r in report.results] == [Outcome.UNKNOWN]
    assert world.written() == [("set-cadence", "unknown")]
    world.converge_strategies({A: "weekly"})
    assert world.plan_strategies({A: "weekly"}).changes == ()


def test_a_refused_key_stops_the_rest(place: Path) -> None:
    """Every other write would fail alike."""
    world = world_of(place, {A: {"frequency": "daily"}, B: {"frequency": "daily"}})
    world.faults.add(Fault(kind=FaultKind.HTML, operation=Operation.CADENCE, status=401, times=9))
    plan = world.plan_strategies({A: "weekly", B: "weekly"})
    report = world.apply(plan, pace=Pace(parallelism=1))
    assert [r.outcome for r in report.results] == [Outcome.FAILED, Outcome.NOT_ATTEMPTED]
    assert report.exit_reason is ExitReason.PERMISSION


@pytest.mark.parametrize(
    ("stored", "outcome", "journal"),
    [(Cadence.HOURLY, Outcome.UNKNOWN, ["unknown"]), (None, Outcome.DONE, ["seen"])],
)
def test_the_answer_of_a_write_is_read(
    place: Path, stored: Cadence | None, outcome: Outcome, journal: list[str]
) -> None:
    """Another cadence than the one sent, or none at all, is looked for by reading; what shows up decides."""
    world = world_of(place, {A: {"frequency": "daily"}})
    plan = world.plan_strategies({A: "weekly"})
    world.stand_in = _Answering(stored)
    report = world.apply(plan)
    assert only(report) == (outcome, (Call.SET_CADENCE,))
    said = "set-cadence may or may not have taken effect: Glider stored hourly instead of weekly"
    assert report.results[0].detail == (said if outcome is Outcome.UNKNOWN else "")
    assert [found for _, found in world.written()] == journal


class _Answering:
    """A service whose answer to a write names any cadence, or none."""

    def __init__(self, stored: Cadence | None) -> None:
        self._stored = stored
        self._live = Cadence.DAILY

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        return StrategyLive(id=strategy, status=StrategyStatus.FOUND, cadence=self._live)

    async def send(self, intent: Intent) -> Confirmation:
        self._live = self._stored or intent.cadence
        return Confirmation(cadence=self._stored)


class _Silent(_Answering):
    """A service that never answers a write: somebody interrupts while it is awaited."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(None)
        self._stop = stop

    async def send(self, intent: Intent) -> Confirmation:
        self._stop.request("interrupted", urgent=True)
        await asyncio.Event().wait()
        return await super().send(intent)
