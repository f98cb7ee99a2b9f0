"""Strategies in a plan, as values: what is decided, what is over the guard, what a saved plan keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.approval import require_approved
from reconciler.core.comparison import Step, address, compare_plans
from reconciler.core.decide import Unverified
from reconciler.core.desired import Desired, Origin, PortfolioId, RunState
from reconciler.core.errors import ApiError, ExitReason, FailureKind, PlanInvalid, StalePlan, UsageError
from reconciler.core.failon import FailOn, conditions_met
from reconciler.core.guards import still_over
from reconciler.core.limits import UNKNOWN, Guards, Limit
from reconciler.core.live import Provenance, Status
from reconciler.core.plan import Cause, Change, ChangeReason, Plan, Snapshot, write_stages
from reconciler.core.planfile import fingerprint, format_plan, plan_document
from reconciler.core.planner import build_plan
from reconciler.core.planread import parse_plan
from reconciler.core.ports import Memory
from reconciler.core.report import blocked_text, drift_exit_reason, plan_exit_reason
from reconciler.core.selection import EVERYTHING, Selection, select, select_strategies
from reconciler.core.strategy import (
    Cadence,
    StrategyBlock,
    StrategyBlocked,
    StrategyChange,
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyRisk,
    StrategyStatus,
    StrategyUnchanged,
    address_of,
    strategy_of,
)
from reconciler.core.strategyplan import Strategies, decide_strategy, with_strategies, with_strategy_causes
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

ID = StrategyId("01JWA")
PORTFOLIO = PortfolioId("p1")
LIMITED = ApiError(FailureKind.RATE_LIMITED, "the service limits the rate")

LIVE = {
    **{cadence.value: StrategyLive(id=ID, status=StrategyStatus.FOUND, cadence=cadence) for cadence in Cadence},
    "no schedule": StrategyLive(id=ID, status=StrategyStatus.UNKNOWN),
    "an unknown word": StrategyLive(id=ID, status=StrategyStatus.UNKNOWN, word="biweekly"),
    "not found": StrategyLive(id=ID, status=StrategyStatus.NOT_FOUND),
    "read failed": StrategyLive(id=ID, status=StrategyStatus.UNREADABLE, failure=LIMITED),
    "not read": StrategyLive(id=ID, status=StrategyStatus.NOT_READ),
}
BLOCKS = {
    "an unknown word": StrategyBlock.UNKNOWN_CADENCE,
    "not found": StrategyBlock.NOT_FOUND,
    "read failed": StrategyBlock.READ_FAILED,
    "not read": StrategyBlock.NOT_READ,
}


def desired(schedule: Cadence = Cadence.DAILY, strategy: str = ID) -> StrategyDesired:
    return StrategyDesired(id=StrategyId(strategy), schedule=schedule, name="Momentum", origin=Origin("a.yaml", 3))


def found(strategy: str, cadence: Cadence | None) -> StrategyLive:
    status = StrategyStatus.UNKNOWN if cadence is None else StrategyStatus.FOUND
    return StrategyLive(id=StrategyId(strategy), status=status, cadence=cadence)


def empty_plan() -> Plan:
    return build_plan({}, {}, Memory(), base_url="https://api.glider.fi", created_ms=0)


def plan_of(
    declared: Mapping[str, Cadence],
    live: Mapping[str, Cadence | None],
    *,
    reach: Mapping[str, int] | None = None,
    guards: Guards | None = None,
    managed: int = 0,
    unverified: Unverified = Unverified.WRITE,
) -> Plan:
    strategies = Strategies(
        desired={StrategyId(i): desired(c, i) for i, c in declared.items()},
        live={StrategyId(i): found(i, c) for i, c in live.items()},
        recorded={},
        reach={StrategyId(i): n for i, n in (dict.fromkeys(declared, 1) if reach is None else reach).items()},
    )
    return with_strategies(empty_plan(), strategies, unverified=unverified, guards=guards, managed=managed)


@pytest.mark.parametrize("wanted", Cadence)
@pytest.mark.parametrize("live", LIVE)
def test_every_cell_of_live_and_desired(live: str, wanted: Cadence) -> None:
    """A cadence as declared is left alone, another is changed, and what is not understood is blocked."""
    decision = decide_strategy(desired(wanted), LIVE[live], reach=7)
    if live in BLOCKS:
        assert isinstance(decision, StrategyBlocked)
        assert decision.reason is BLOCKS[live]
    elif live == wanted.value:
        assert decision == StrategyUnchanged()
    else:
        assert isinstance(decision, StrategyChange)
        before = LIVE[live].cadence
        assert (decision.before, decision.after, decision.reach) == (before, wanted, 7)
        faster = before is not None and wanted.rank < before.rank
        assert (StrategyRisk.MORE_RUNS in decision.risks) is faster
        assert (StrategyRisk.UNVERIFIED_WRITE in decision.risks) is (before is None)
        assert StrategyRisk.REACHES_PORTFOLIOS in decision.risks


def test_an_unknown_reach_is_a_risk_of_its_own() -> None:
    """Nobody knows how many portfolios it reaches, and the plan says so."""
    decision = decide_strategy(desired(), LIVE["weekly"], reach=None)
    assert isinstance(decision, StrategyChange)
    assert decision.risks == (StrategyRisk.REACH_UNKNOWN, StrategyRisk.MORE_RUNS)


@pytest.mark.parametrize(
    ("unverified", "kind"),
    [
        (Unverified.WRITE, StrategyChange),
        (Unverified.SKIP, StrategyUnchanged),
        (Unverified.FAIL, StrategyBlocked),
    ],
)
def test_an_unknown_schedule_follows_the_policy(unverified: Unverified, kind: type) -> None:
    """No schedule is unknown, not drift: it is written, skipped or blocked as any unverified field."""
    assert isinstance(decide_strategy(desired(), LIVE["no schedule"], reach=1, unverified=unverified), kind)


def test_our_record_stands_in_for_a_schedule_that_is_not_shown() -> None:
    """What our last write left is what is compared, and shown as such; a read overrules it."""
    assert decide_strategy(desired(), LIVE["no schedule"], Cadence.DAILY) == StrategyUnchanged()
    change = decide_strategy(desired(), LIVE["no schedule"], Cadence.WEEKLY, reach=1)
    assert isinstance(change, StrategyChange)
    assert (change.before, change.provenance) == (Cadence.WEEKLY, Provenance.RECORDED)
    assert isinstance(decide_strategy(desired(), LIVE["hourly"], Cadence.DAILY), StrategyChange)


def test_slower_goes_first_and_faster_last_and_every_cadence_before_a_resume() -> None:
    """Cadences are written in the stages of the intervals: a crash midway leaves less trading."""
    plan = plan_of(
        {"faster": Cadence.HOURLY, "slower": Cadence.WEEKLY, "unknown": Cadence.DAILY},
        {"faster": Cadence.DAILY, "slower": Cadence.DAILY, "unknown": None},
    )
    assert [[c.id for c in stage] for stage in write_stages((), plan.strategies)] == [
        ["slower"],
        ["unknown"],
        ["faster"],
    ]


@pytest.mark.parametrize("before", [Cadence.WEEKLY, Cadence.HOURLY, None])
@pytest.mark.parametrize(
    ("verb", "first"),
    [(Verb.PAUSE, "portfolio"), (Verb.RESUME, "strategy"), (Verb.START, "strategy")],
)
def test_every_cadence_goes_between_pauses_and_resumes(verb: Verb, first: str, before: Cadence | None) -> None:
    """Whatever a cadence becomes, no portfolio is paused after it and none resumed before it (API facts §5.3)."""
    end = Snapshot(state=Status.ACTIVE, interval_ms=None, offset_ms=None)
    change = Change(id=PORTFOLIO, verb=verb, before=end, after=end, fields=(), reason=ChangeReason.NOT_RUNNING)
    plan = plan_of({"a": Cadence.DAILY}, {"a": before})
    order = [c for stage in write_stages((change,), plan.strategies) for c in stage]
    assert ("strategy" if isinstance(order[0], StrategyChange) else "portfolio") == first


@pytest.mark.parametrize(
    ("reach", "managed", "allowed", "over"),
    [
        ({"a": 5, "b": 5}, 0, {}, False),
        ({"a": 5, "b": 6}, 0, {}, True),
        ({"a": 5, "b": 6}, 22, {}, False),
        ({"a": 60, "b": 60}, 100, {"reach": 119}, True),
        ({"a": 60, "b": 60}, 100, {"reach": 120}, False),
        ({"a": 60, "b": 60}, 100, {"update": 500}, True),
        ({"a": 1}, 100, {}, True),
        ({"a": 1}, 100, {"reach": 10_000}, True),
        ({"a": 1}, 100, {"reach": UNKNOWN}, False),
        ({"a": 60, "b": 60}, 100, {"reach": UNKNOWN}, True),
    ],
)
def test_the_guard_of_reach(reach: dict[str, int], managed: int, allowed: dict[Any, Any], *, over: bool) -> None:
    """The portfolios of all faster cadences count; a number nobody knows is over any limit until it is allowed."""
    declared = {"a": Cadence.HOURLY, "b": Cadence.HOURLY}
    plan = plan_of(declared, dict.fromkeys(declared, Cadence.DAILY), reach=reach, guards=Guards(), managed=managed)
    assert bool(still_over(plan.over, allowed)) is over


@pytest.mark.parametrize(
    ("before", "after", "reach", "planned"),
    [
        (Cadence.DAILY, Cadence.WEEKLY, {"a": 120}, []),
        (Cadence.DAILY, Cadence.WEEKLY, {}, []),
        (Cadence.WEEKLY, Cadence.DAILY, {"a": 120}, [120]),
        (None, Cadence.WEEKLY, {"a": 120}, [120]),
    ],
)
def test_the_guard_of_reach_has_a_direction(
    before: Cadence | None, after: Cadence, reach: dict[str, int], planned: list[int]
) -> None:
    """A slower cadence means less trading and is never hindered; what it replaces has to be known for that."""
    plan = plan_of({"a": after, "b": Cadence.MONTHLY}, {"a": before, "b": Cadence.HOURLY}, reach=reach, guards=Guards())
    assert [excess.planned for excess in plan.over] == planned


def test_the_guard_names_the_flag() -> None:
    """The sentence holds the numbers and the flag to copy, whether the number is known or not."""
    known = plan_of({"a": Cadence.HOURLY}, {"a": Cadence.DAILY}, reach={"a": 120}, guards=Guards(), managed=20)
    unknown = plan_of(
        {"a": Cadence.HOURLY}, {"a": Cadence.DAILY}, reach={}, guards=Guards(max_reach=Limit("3", count=3))
    )
    assert [str(excess) for excess in (*known.over, *unknown.over)] == [
        (
            "faster cadences reach 120 portfolios, but guards.max_reach is 50%, at least 10 = 10; "
            "after reading the plan, allow it with --allow reach=120"
        ),
        (
            "faster cadences reach an unknown number of portfolios, but guards.max_reach is 3; "
            "after reading the plan, allow it with --allow reach=unknown"
        ),
    ]


def full_plan() -> Plan:
    plan = plan_of(
        {"a": Cadence.WEEKLY, "b": Cadence.DAILY, "c": Cadence.DAILY, "d": Cadence.DAILY},
        {"a": Cadence.DAILY, "b": None, "c": Cadence.DAILY},
        reach={"a": 120},
        guards=Guards(),
    )
    return with_strategy_causes(plan, {StrategyId("a"): desired(Cadence.WEEKLY, "a")}, {})


def test_a_plan_survives_its_json() -> None:
    """Changes, blocks, counts, causes and an unknown excess come back as they were."""
    plan = full_plan()
    assert (len(plan.strategies), len(plan.blocked_strategies), plan.strategies_no_op) == (2, 1, 1)
    assert parse_plan(format_plan(plan)) == plan
    document = plan_document(plan, ExitReason.OK)["strategies"]
    assert [change["id"] for change in document["changes"]] == ["a", "b"]
    assert (document["changes"][1]["before"], document["changes"][1]["reach"]) == (None, None)
    assert [blocked["reason"] for blocked in document["blocked"]] == ["not_read"]
    assert document["no_op"] == 1


def test_a_plan_without_strategies_is_read() -> None:
    """A plan file that says nothing of strategies has none."""
    plan = empty_plan()
    assert fingerprint(plan) == sha256(b"[[],[],[]]").hexdigest()  # no change, no excess, no strategy
    document = json.loads(format_plan(plan))
    del document["strategies"]
    assert parse_plan(json.dumps(document)) == plan


@pytest.mark.parametrize("edit", [{"after": "monthly"}, {"before": "weekly"}, {"id": "z"}, {"before": None}])
def test_the_fingerprint_covers_what_a_change_means(edit: dict[str, Any]) -> None:
    """An edited change is found out; an edited name is not a change of meaning."""
    document = json.loads(format_plan(full_plan()))
    document["strategies"]["changes"][0] |= edit
    with pytest.raises(PlanInvalid, match="fingerprint"):
        parse_plan(json.dumps(document))
    renamed = json.loads(format_plan(full_plan()))
    renamed["strategies"]["changes"][0]["name"] = "Other"
    assert parse_plan(json.dumps(renamed)).strategies[0].name == "Other"


def test_a_change_that_was_taken_out_of_a_file_is_found_out() -> None:
    """A saved plan can't lose its strategies."""
    document = json.loads(format_plan(full_plan()))
    del document["strategies"]
    with pytest.raises(PlanInvalid, match="fingerprint"):
        parse_plan(json.dumps(document))


@pytest.mark.parametrize("value", ["../x", "", 7, None, "a" * 129])
def test_only_an_id_is_believed(value: object) -> None:
    """Nothing but an id gets from a plan file into a URL."""
    document = json.loads(format_plan(full_plan()))
    document["strategies"]["changes"][0]["id"] = value
    with pytest.raises(PlanInvalid):
        parse_plan(json.dumps(document))


CAUSES = {
    "not in the base": (None, Cadence.DAILY, None, Cause.BRANCH),
    "live as the base": (Cadence.DAILY, Cadence.DAILY, None, Cause.BRANCH),
    "live is neither": (Cadence.DAILY, Cadence.HOURLY, None, Cause.BOTH),
    "never applied": (Cadence.WEEKLY, Cadence.DAILY, None, Cause.PENDING),
    "another was applied": (Cadence.WEEKLY, Cadence.DAILY, Cadence.DAILY, Cause.PENDING),
    "applied once": (Cadence.WEEKLY, Cadence.DAILY, Cadence.WEEKLY, Cause.DRIFT),
    "nobody knows live": (Cadence.DAILY, None, None, Cause.BRANCH),
}


@pytest.mark.parametrize(("base", "live", "recorded", "expected"), CAUSES.values(), ids=CAUSES)
def test_where_a_change_comes_from(
    base: Cadence | None, live: Cadence | None, recorded: Cadence | None, expected: Cause
) -> None:
    """The causes are those of portfolios: branch, both, drift, pending."""
    plan = plan_of({"a": Cadence.WEEKLY}, {"a": live})
    bases = {} if base is None else {StrategyId("a"): desired(base, "a")}
    records = {} if recorded is None else {StrategyId("a"): recorded}
    assert [c.cause for c in with_strategy_causes(plan, bases, records).strategies] == [expected]


def test_exit_reasons() -> None:
    """A change of a strategy is a change, a blocked strategy is blocked, with the reason that its read failed for."""
    changed = plan_of({"a": Cadence.WEEKLY}, {"a": Cadence.DAILY})
    assert plan_exit_reason(changed, detailed=False) is ExitReason.OK
    assert plan_exit_reason(changed, detailed=True) is drift_exit_reason(changed) is ExitReason.CHANGES
    assert plan_exit_reason(full_plan(), detailed=True) is ExitReason.ERROR
    limited = replace(full_plan().blocked_strategies[0], reason=StrategyBlock.READ_FAILED, failure="rate_limited")
    unread = replace(empty_plan(), blocked_strategies=(limited,))
    assert plan_exit_reason(unread, detailed=False) is ExitReason.UNREACHABLE
    assert blocked_text(unread) == "1 strategy"
    asked = (FailOn.CHANGES, FailOn.DRIFT)
    assert conditions_met(changed, asked, looked_for_drift=True) == asked


def test_two_plans_compared() -> None:
    """A strategy appears, vanishes and changes like a portfolio, under its address."""
    earlier = plan_of({"a": Cadence.WEEKLY, "b": Cadence.DAILY}, {"a": Cadence.DAILY, "b": Cadence.HOURLY})
    later = plan_of({"a": Cadence.MONTHLY, "c": Cadence.DAILY}, {"a": Cadence.DAILY, "c": Cadence.HOURLY})
    rows = compare_plans(earlier=earlier, later=later).rows
    assert [(row.step, address(row.entry)) for row in rows] == [
        (Step.APPEARED, "strategies/c"),
        (Step.VANISHED, "strategies/b"),
        (Step.CHANGED, "strategies/a"),
    ]
    assert [(d.fact, d.earlier, d.later) for d in rows[2].differences] == [("after.schedule", "weekly", "monthly")]


def test_an_approval_covers_what_was_approved() -> None:
    """The same change passes, fewer are named, and any other stops; what is learnt of live is no other change."""
    approved = plan_of({"a": Cadence.WEEKLY, "b": Cadence.DAILY}, {"a": Cadence.DAILY, "b": None})
    assert require_approved(approved, approved) is None
    known = plan_of({"a": Cadence.WEEKLY, "b": Cadence.DAILY}, {"a": Cadence.DAILY, "b": Cadence.HOURLY})
    assert require_approved(known, approved) is None
    fewer = plan_of({"a": Cadence.WEEKLY}, {"a": Cadence.DAILY})
    assert "not planned any more: strategies/b" in (require_approved(fewer, approved) or "")
    with pytest.raises(StalePlan) as refused:
        require_approved(plan_of({"a": Cadence.MONTHLY}, {"a": Cadence.DAILY}), approved)
    assert "strategies/a: update was approved otherwise: after schedule weekly → monthly" in refused.value.detail
    with pytest.raises(StalePlan, match="not among the approved"):
        require_approved(approved, fewer)


SELECTIONS = {
    "everything": (EVERYTHING, ["p1"], ["a", "b"]),
    "a portfolio": (Selection(targets=("p1",)), ["p1"], []),
    "a strategy": (Selection(targets=("strategies/a",)), [], ["a"]),
    "one of each": (Selection(targets=("strategies/b", "p1")), ["p1"], ["b"]),
    "without one": (Selection(excludes=("strategies/a",)), ["p1"], ["b"]),
    "a group": (Selection(groups=("g",)), ["p1"], []),
}


@pytest.mark.parametrize(("selection", "portfolios", "strategies"), SELECTIONS.values(), ids=SELECTIONS)
def test_what_is_selected(selection: Selection, portfolios: list[str], strategies: list[str]) -> None:
    """Strategies are picked by their address, portfolios by their id, groups hold portfolios only."""
    fleet = {PORTFOLIO: Desired(id=PORTFOLIO, state=RunState.ACTIVE, group="g")}
    both = {StrategyId(i): desired(strategy=i) for i in ("a", "b")}
    assert list(select(fleet, selection, both)) == portfolios
    assert list(select_strategies(both, selection)) == strategies


def test_a_mistyped_strategy_is_not_nothing() -> None:
    """A target that is not declared is an error with a guess."""
    with pytest.raises(UsageError) as refused:
        select({}, Selection(targets=("strategies/momentun",)), {StrategyId("momentum"): desired(strategy="momentum")})
    assert "Did you mean 'strategies/momentum'?" in refused.value.detail


@given(st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True))
def test_an_address_names_its_strategy_and_no_portfolio(name: str) -> None:
    """Every strategy has an address that leads back to it, and no portfolio's id is one."""
    assert strategy_of(address_of(StrategyId(name))) == name
    assert strategy_of(name) is None
