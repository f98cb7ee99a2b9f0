"""Halts in a plan: what is in the very pause of one, and what waits for its lift."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.change import Change, ChangeReason, Halted, Held, Risk, Unchanged
from reconciler.core.decide import DEFAULT_POLICY, Policy, decide, decide_strategy
from reconciler.core.errors import ApiError, FailureKind, PlanInvalid
from reconciler.core.evidence import pause_id, with_mark
from reconciler.core.fleet import EVERYTHING, Selection
from reconciler.core.halt import Halt, HaltedPortfolio, Halts, halts_told
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    Live,
    PortfolioId,
    Record,
    RunState,
    Status,
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Verb,
)
from reconciler.core.plan import Plan
from reconciler.core.planfile import format_plan, parse_plan
from reconciler.core.planner import Lift, build_plan, is_lifted
from reconciler.core.ports import Memory
from reconciler.core.report import ApplyReport, Outcome, Result, drift_exit_reason
from tests.support import HOUR_MS, NOON_MS

A, B = PortfolioId("a"), PortfolioId("b")
V1, V2 = ApiVersion.V1, ApiVersion.V2
DAY = 24 * HOUR_MS
DUE, LATER = pause_id("2026-11-22T12:00:00Z"), pause_id("2026-11-23T12:00:00Z")
MARKED = f"Paused via API: {with_mark('Oracle', '00000a', 'h1')}"
"""What v1 shows of a pause that the halt h1 made."""
BY_GIT = f"Paused via API: {with_mark('Audit', '00000a')}"
OURS = Record(
    state=RunState.PAUSED, interval_ms=None, offset_ms=None, schedule_id=DUE, confirmed_ms=NOON_MS, marked=False
)


def halt(selection: Selection | None = EVERYTHING, *portfolios: HaltedPortfolio) -> Halt:
    return Halt(
        id="h1", base_url="u", account=None, reason="Oracle", at_ms=NOON_MS, selection=selection, portfolios=portfolios
    )


FILED = Halts(filed=(halt(None, HaltedPortfolio(id=A, api=V2, due=DUE)),))
NOTHING = Halts()


@pytest.mark.parametrize(
    ("api", "reason", "schedule", "remembered", "halts", "pausing"),
    [
        (V1, MARKED, "s1", None, NOTHING, "h1"),
        (V1, MARKED, "s1", "h2", NOTHING, "h1"),
        (V1, f"{MARKED} and more", "s1", "h1", NOTHING, None),
        (V1, BY_GIT, "s1", "h1", NOTHING, None),
        (V1, "Paused from the app by maria", "s1", "h1", NOTHING, None),
        (V1, None, DUE, "h1", NOTHING, None),
        (V2, None, DUE, "h1", NOTHING, "h1"),
        (V2, None, LATER, "h1", NOTHING, None),
        (V2, None, DUE, None, NOTHING, None),
        (V2, None, DUE, None, FILED, "h1"),
        (V2, None, LATER, None, FILED, None),
        (V2, None, None, None, FILED, None),
    ],
)
def test_whose_pause_it_is(
    api: ApiVersion, reason: str | None, schedule: str | None, remembered: str | None, halts: Halts, pausing: str | None
) -> None:
    """On v1 by the mark alone, on v2 by the due time that journal or file know."""
    live = Live(id=A, status=Status.PAUSED, pause_reason=reason, schedule_id=schedule)
    assert halts.pausing(live, OURS, api, remembered=remembered) == pausing
    runs = replace(live, status=Status.ACTIVE)
    assert halts.pausing(runs, OURS, api, remembered=remembered) is None


def test_a_pause_on_v1_without_any_reason() -> None:
    """Where the service keeps no reason, the journal's proof of our pause tells of the halt, too."""
    live = Live(id=A, status=Status.PAUSED, schedule_id="s1")
    assert NOTHING.pausing(live, replace(OURS, schedule_id="s1"), V1, remembered="h1") == "h1"


def wants(state: RunState = RunState.ACTIVE, **more: object) -> Desired:
    return Desired(id=A, state=state, **{"interval_ms": DAY, **more})  # type: ignore[arg-type]


ALL = Halts(holding={"h1": halt()})
RUNS = Live(id=A, status=Status.ACTIVE, interval_ms=DAY)
IN_HALT = Live(id=A, status=Status.PAUSED, pause_reason=MARKED, interval_ms=DAY)
BY_US = replace(IN_HALT, pause_reason=BY_GIT)
BY_OTHERS = replace(IN_HALT, pause_reason="by maria")


@pytest.mark.parametrize(
    ("live", "desired", "policy", "halts", "found"),
    [
        (IN_HALT, wants(), DEFAULT_POLICY, NOTHING, "halted"),
        (IN_HALT, wants(RunState.PAUSED), DEFAULT_POLICY, NOTHING, "halted"),
        (IN_HALT, wants(hold_override=True), Policy(resume_held=frozenset({"a"})), NOTHING, "halted"),
        (BY_US, wants(), DEFAULT_POLICY, ALL, "resume waits"),
        (BY_US, wants(), DEFAULT_POLICY, NOTHING, "resume"),
        (BY_US, wants(RunState.PAUSED), DEFAULT_POLICY, ALL, "unchanged"),
        (BY_OTHERS, wants(), DEFAULT_POLICY, ALL, "held"),
        (BY_OTHERS, wants(hold_override=True), DEFAULT_POLICY, ALL, "resume waits"),
        (Live(id=A, status=Status.INACTIVE), wants(), DEFAULT_POLICY, ALL, "start waits"),
        (RUNS, wants(interval_ms=2 * DAY), DEFAULT_POLICY, ALL, "update waits"),
        (RUNS, wants(), DEFAULT_POLICY, ALL, "unchanged"),
        (RUNS, wants(RunState.PAUSED), DEFAULT_POLICY, ALL, "pause"),
    ],
)
def test_what_a_plan_does(live: Live, desired: Desired, policy: Policy, halts: Halts, found: str) -> None:
    """Nothing of a halt is resumed, started or changed, whatever files and flags say; it may still be paused."""
    decision = decide(desired, live, None, policy, halts=halts)
    match decision:
        case Halted():
            told = f"{decision.waits} waits" if decision.waits else "halted"
            assert decision.halt == "h1"
        case Change():
            told = decision.verb.value
        case Held():
            told = "held"
        case _:
            assert isinstance(decision, Unchanged)
            told = "unchanged"
    assert told == found


@pytest.mark.parametrize("live", [IN_HALT, BY_US], ids=["in the halt's pause", "in an earlier one"])
def test_what_is_halted_says_whom_to_ask(live: Live) -> None:
    """Whether it is in the pause of the halt or only waits for its lift."""
    decision = decide(wants(name="Growth", owner="treasury"), live, None, halts=ALL)
    assert isinstance(decision, Halted)
    assert (decision.name, decision.owner) == ("Growth", "treasury")


@pytest.mark.parametrize(
    ("followed", "waits"), [("S", True), ("T", False), (None, True)], ids=["its own", "another", "nobody knows"]
)
def test_a_cadence_waits_for_the_portfolios_that_follow_it(followed: str | None, *, waits: bool) -> None:
    """Also where nobody knows which strategy a halted portfolio follows."""
    one = halt(None, HaltedPortfolio(id=A, api=V2, strategy=followed))
    decision = decide_strategy(
        StrategyDesired(id=StrategyId("S"), schedule=Cadence.DAILY),
        StrategyLive(id=StrategyId("S"), status=StrategyStatus.FOUND, cadence=Cadence.WEEKLY),
        halts=Halts(holding={"h1": one}),
    )
    assert isinstance(decision, Halted if waits else Change)


def test_a_plan_counts_what_is_halted() -> None:
    """Apart from everything else; drift of it alone is none."""
    live = {A: IN_HALT, B: replace(RUNS, id=B)}
    desired = {A: wants(), B: replace(wants(), id=B)}
    plan = build_plan(Plan(created_ms=NOON_MS, base_url="u"), desired, live, Memory(exists=True))
    assert (plan.summary.halted, plan.summary.no_op, plan.managed) == (1, 1, 2)
    assert plan.halted == (Halted(id=A, halt="h1"),)
    assert drift_exit_reason(plan).code == 0
    assert plan.changes == ()
    waiting = build_plan(
        Plan(created_ms=NOON_MS, base_url="u"),
        {A: wants(interval_ms=2 * DAY)},
        {A: RUNS},
        Memory(exists=True, halting=ALL),
    )
    assert waiting.halted == (Halted(id=A, halt="h1", reason="Oracle", waits=Verb.UPDATE),)
    assert drift_exit_reason(waiting).code == 0


HELD_BY_H2 = replace(halt(None, HaltedPortfolio(id=A)), id="h2", reason="Audit")
OF_H2 = replace(IN_HALT, pause_reason=f"Paused via API: {with_mark('x', '00000b', 'h2')}")
UNREAD = Live(id=A, status=Status.UNREADABLE, failure=ApiError(FailureKind.UNREACHABLE, "no connection"))


@pytest.mark.parametrize(
    ("live", "desired", "halting", "found"),
    [
        (IN_HALT, None, NOTHING, "resume"),
        (IN_HALT, wants(), NOTHING, "resume"),
        (IN_HALT, wants(RunState.PAUSED), NOTHING, "halted by h1"),
        (IN_HALT, wants(), Halts(holding={"h2": HELD_BY_H2}), "halted by h2, resume waits"),
        (IN_HALT, wants(), Halts(holding={"h1": halt()}), "resume"),
        (OF_H2, wants(), NOTHING, "halted by h2"),
        (BY_US, wants(), NOTHING, "left"),
        (BY_OTHERS, wants(), NOTHING, "left"),
        (BY_OTHERS, wants(), Halts(filed=(halt(None, HaltedPortfolio(id=A, token="00000a")),)), "held"),
        (BY_OTHERS, wants(), Halts(filed=(halt(None, HaltedPortfolio(id=A)),)), "left"),
        (RUNS, wants(), NOTHING, "left"),
        (Live(id=A, status=Status.NOT_FOUND), wants(), NOTHING, "blocked"),
        (UNREAD, wants(), NOTHING, "blocked"),
    ],
)
def test_what_a_lift_does(live: Live, desired: Desired | None, halting: Halts, found: str) -> None:
    """It resumes what is in the very pause of its halt, unless another halt or the files keep it; nothing else."""
    memory = Memory(exists=True, halting=halting, since={A: "00000a"})
    known = {A: desired} if desired is not None else {}
    lift = Lift(id="h1", live={A: live}, apis={A: V1}, memory=memory, desired=known)
    plan = lift.plan(Plan(created_ms=NOON_MS, base_url="u"))
    told = [f"halted by {one.halt}{f', {one.waits} waits' if one.waits else ''}" for one in plan.halted]
    told += ["held" for _ in plan.held] + ["blocked" for _ in plan.blocked] + ["left"] * plan.no_op
    for change in plan.changes:
        told.append(change.verb.value)
        assert (change.reason, change.halt, change.since) == (ChangeReason.HALT_LIFTED, "h1", "00000a")
        assert (change.writes_schedule, change.pause_reason) == (False, MARKED)
    assert told == [found]


@pytest.mark.parametrize(
    ("live", "outcome", "lifted"),
    [
        (IN_HALT, Outcome.DONE, True),
        (IN_HALT, Outcome.ALREADY_DONE, True),
        (IN_HALT, Outcome.STALE, True),
        (IN_HALT, Outcome.FAILED, False),
        (IN_HALT, Outcome.UNKNOWN, False),
        (IN_HALT, Outcome.NOT_ATTEMPTED, False),
        (RUNS, None, True),
        (Live(id=A, status=Status.ARCHIVED), None, True),
        (Live(id=A, status=Status.NOT_FOUND), None, True),
        (UNREAD, None, False),
    ],
)
def test_when_a_halt_is_lifted(live: Live, outcome: Outcome | None, lifted: bool) -> None:
    """Once a second try could not resume any more of it: it does not hold on for what is archived, or gone."""
    lift = Lift(id="h1", live={A: live}, apis={A: V1}, memory=Memory(exists=True), desired={})
    plan = lift.plan(Plan(created_ms=NOON_MS, base_url="u"))
    report = None
    if outcome is not None:
        results = tuple(Result(change=change, outcome=outcome) for change in plan.changes)
        assert results
        report = ApplyReport(plan=plan, results=results, started_ms=NOON_MS, finished_ms=NOON_MS)
    assert is_lifted(plan, report) is lifted


def test_a_lift_on_v2_says_what_it_risks() -> None:
    """A resume there makes a rebalance due at once, and is pinned to the due time."""
    live = Live(id=A, status=Status.PAUSED, schedule_id=DUE)
    lift = Lift(id="h1", live={A: live}, apis={A: V2}, memory=Memory(exists=True, halting=FILED), desired={})
    (change,) = lift.plan(Plan(created_ms=NOON_MS, base_url="u")).changes
    assert (change.risks, change.pause_id) == ((Risk.TRADES_AGAIN, Risk.DUE_AT_ONCE), DUE)
    assert parse_plan_refuses(change)


def parse_plan_refuses(change: Change) -> bool:
    """Whether a saved plan that holds such a change is refused: it is never saved, and would pass a halt's gate."""
    plan = Plan(created_ms=NOON_MS, base_url="u", changes=(change,))
    try:
        parse_plan(format_plan(plan))
    except PlanInvalid:
        return True
    return False


@pytest.mark.parametrize(("age_ms", "told"), [(DAY - 1, ""), (DAY, "the halt h1 (Oracle) is 1d old")])
def test_old_halts_are_told(age_ms: int, told: str) -> None:
    """From a day on."""
    assert "".join(one.problem for one in halts_told(ALL, now_ms=NOON_MS + age_ms)) == told
