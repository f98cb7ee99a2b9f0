"""Strategies in a plan, as values: what is decided, what is over the guard, what a saved plan keeps."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Blocked, BlockReason, Cause, Change, ChangeReason, Risk, Snapshot, Unchanged
from reconciler.core.decide import DEFAULT_POLICY, decide_strategy
from reconciler.core.diff import Step, compare_plans, require_approved
from reconciler.core.errors import ApiError, ExitReason, FailureKind, PlanInvalid, StalePlan, UsageError
from reconciler.core.fleet import EVERYTHING, Selection, select, select_strategies
from reconciler.core.guards import Guards, Limit, still_over
from reconciler.core.model import (
    Cadence,
    Desired,
    Origin,
    PortfolioId,
    Provenance,
    RunState,
    Status,
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Unverified,
    Verb,
    address_of,
    strategy_of,
)
from reconciler.core.plan import UNKNOWN, Plan, write_stages
from reconciler.core.planfile import fingerprint, format_plan, parse_plan, plan_document
from reconciler.core.planner import Strategies, build_plan, with_causes, with_strategies, with_strategy_names
from reconciler.core.ports import Memory
from reconciler.core.report import FailOn, blocked_text, conditions_met, drift_exit_reason, plan_exit_reason
from tests.core.plans import BARE, RICH, Declares

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
    "an unknown word": BlockReason.UNKNOWN_CADENCE,
    "not found": BlockReason.NOT_FOUND,
    "read failed": BlockReason.READ_FAILED,
    "not read": BlockReason.NOT_READ,
}


def desired(schedule: Cadence = Cadence.DAILY, strategy: str = ID) -> StrategyDesired:
    return StrategyDesired(id=StrategyId(strategy), schedule=schedule, name="Momentum", origin=Origin("a.yaml", 3))


def found(strategy: str, cadence: Cadence | None) -> StrategyLive:
    status = StrategyStatus.UNKNOWN if cadence is None else StrategyStatus.FOUND
    return StrategyLive(id=StrategyId(strategy), status=status, cadence=cadence)


def empty_plan() -> Plan:
    return build_plan(Plan(base_url="https://api.glider.fi", created_ms=0), {}, {}, Memory())


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
        reach={StrategyId(i): n for i, n in (dict.fromkeys(declared, 1) if reach is None else reach).items()},
    )
    return with_strategies(empty_plan(), strategies, Memory(), unverified=unverified, guards=guards, managed=managed)


@pytest.mark.parametrize("wanted", Cadence)
@pytest.mark.parametrize("live", LIVE)
def test_every_cell_of_live_and_desired(live: str, wanted: Cadence) -> None:
    """A cadence as declared is left alone, another is changed, and what is not understood is blocked."""
    decision = decide_strategy(desired(wanted), LIVE[live], reach=7)
    if live in BLOCKS:
        assert isinstance(decision, Blocked)
        assert decision.reason is BLOCKS[live]
    elif live == wanted.value:
        assert decision == Unchanged()
    else:
        assert isinstance(decision, Change)
        before = LIVE[live].cadence
        assert (decision.verb, decision.of_strategy) == (Verb.UPDATE, ID)
        assert (decision.before.cadence, decision.after.cadence, decision.reach) == (before, wanted, 7)
        faster = before is not None and wanted.rank < before.rank
        assert (Risk.MORE_RUNS in decision.risks) is faster
        assert (Risk.UNVERIFIED_WRITE in decision.risks) is (before is None)
        assert Risk.REACHES_PORTFOLIOS in decision.risks


def test_an_unknown_reach_is_a_risk_of_its_own() -> None:
    """Nobody knows how many portfolios it reaches, and the plan says so."""
    decision = decide_strategy(desired(), LIVE["weekly"], reach=None)
    assert isinstance(decision, Change)
    assert decision.risks == (Risk.REACH_UNKNOWN, Risk.MORE_RUNS)


@pytest.mark.parametrize(
    ("unverified", "kind"),
    [
        (Unverified.WRITE, Change),
        (Unverified.SKIP, Unchanged),
        (Unverified.FAIL, Blocked),
    ],
)
def test_an_unknown_schedule_follows_the_policy(unverified: Unverified, kind: type) -> None:
    """No schedule is unknown, not drift: it is written, skipped or blocked as any unverified field."""
    assert isinstance(decide_strategy(desired(), LIVE["no schedule"], reach=1, unverified=unverified), kind)


def test_our_record_stands_in_for_a_schedule_that_is_not_shown() -> None:
    """What our last write left is what is compared, and shown as such; a read overrules it."""
    assert decide_strategy(desired(), LIVE["no schedule"], Cadence.DAILY) == Unchanged()
    change = decide_strategy(desired(), LIVE["no schedule"], Cadence.WEEKLY, reach=1)
    assert isinstance(change, Change)
    assert (change.before.cadence, change.fields[0].provenance) == (Cadence.WEEKLY, Provenance.RECORDED)
    assert isinstance(decide_strategy(desired(), LIVE["hourly"], Cadence.DAILY), Change)


def test_slower_goes_first_and_faster_last_and_every_cadence_before_a_resume() -> None:
    """Cadences are written in the stages of the intervals: a crash midway leaves less trading."""
    plan = plan_of(
        {"faster": Cadence.HOURLY, "slower": Cadence.WEEKLY, "unknown": Cadence.DAILY},
        {"faster": Cadence.DAILY, "slower": Cadence.DAILY, "unknown": None},
    )
    assert [[c.of_strategy for c in stage] for stage in write_stages(plan.changes)] == [
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
    order = [c for stage in write_stages((*plan.changes, change)) for c in stage]
    assert len(order) == 2
    assert ("portfolio" if order[0] is change else "strategy") == first


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
    base = Declares(strategies={StrategyId("a"): desired(Cadence.WEEKLY, "a")})
    return with_causes(plan, base, {}, Memory(), DEFAULT_POLICY)


def test_a_plan_survives_its_json() -> None:
    """Changes, blocks, counts, causes and an unknown excess come back as they were."""
    plan = full_plan()
    assert (len(plan.changes), len(plan.blocked), plan.strategies_no_op) == (2, 1, 1)
    assert [excess.planned for excess in plan.over] == [None]
    assert parse_plan(format_plan(plan)) == plan
    document = plan_document(plan)
    assert [change["id"] for change in document["changes"]] == ["strategies/a", "strategies/b"]
    assert (document["changes"][1]["before"]["cadence"], document["changes"][1]["reach"]) == (None, None)
    assert [blocked["reason"] for blocked in document["blocked"]] == ["not_read"]
    assert document["summary"]["strategies"] == {"update": 2, "no_op": 1, "blocked": 1, "frozen": 0}


def test_a_plan_without_strategies_is_read() -> None:
    """A plan file that says nothing of strategies has none."""
    plan = empty_plan()
    assert fingerprint(plan) == sha256(b"[[],[]]").hexdigest()  # no change, no excess
    document = json.loads(format_plan(plan))
    assert document["summary"]["strategies"] == {"update": 0, "no_op": 0, "blocked": 0, "frozen": 0}
    assert parse_plan(json.dumps(document)) == plan


@pytest.mark.parametrize("edit", [{"after": "monthly"}, {"before": "hourly"}, {"before": None}])
def test_the_fingerprint_covers_what_a_change_means(edit: dict[str, Any]) -> None:
    """An edited change is found out; an edited name is not a change of meaning."""
    document = json.loads(format_plan(full_plan()))
    (change, (field,)) = (document["changes"][0], document["changes"][0]["fields"])
    for end, cadence in edit.items():
        change[end]["cadence"] = field["live" if end == "before" else "desired"] = cadence
    with pytest.raises(PlanInvalid, match="fingerprint"):
        parse_plan(json.dumps(document))
    moved = json.loads(format_plan(full_plan()))
    moved["changes"][0]["id"] = "strategies/z"
    with pytest.raises(PlanInvalid, match="fingerprint"):
        parse_plan(json.dumps(moved))
    renamed = json.loads(format_plan(full_plan()))
    renamed["changes"][0]["name"] = "Other"
    assert parse_plan(json.dumps(renamed)).changes[0].name == "Other"


def test_what_is_shown_of_a_change_is_what_it_means() -> None:
    """Neither end of a cadence is shown otherwise than the fingerprint covers it."""
    for side, cadence in (("live", "weekly"), ("desired", "monthly")):
        document = json.loads(format_plan(full_plan()))
        document["changes"][0]["fields"][0][side] = cadence
        with pytest.raises(PlanInvalid, match="not a saved plan"):
            parse_plan(json.dumps(document))


MIXED: dict[str, dict[str, Any]] = {
    "a pause of a strategy": {"verb": "pause"},
    "a start of a strategy": {"verb": "start"},
    "no cadence": {"after": {"state": None, "interval_ms": None, "offset_ms": None, "cadence": None}},
    "a cadence with a state": {"after": {"state": "paused", "cadence": "weekly"}},
    "a cadence with an interval": {"before": {"interval_ms": 1, "cadence": "daily"}},
    "a cadence with an offset": {"before": {"offset_ms": 0, "cadence": "daily"}},
    "nothing of it to show": {"fields": []},
    "a cadence of a portfolio": {"id": "a"},
    "a state of a strategy": {"before": {"state": "active"}, "after": {"state": "paused"}, "fields": []},
}


@pytest.mark.parametrize("edit", MIXED.values(), ids=MIXED)
def test_no_change_is_of_both_kinds(edit: dict[str, Any]) -> None:
    """A portfolio has a state, a strategy nothing but a cadence: anything else in a file is no plan's."""
    document = json.loads(format_plan(full_plan()))
    document["changes"][0] |= edit
    with pytest.raises(PlanInvalid, match="not a saved plan"):
        parse_plan(json.dumps(document))


def test_a_change_that_was_taken_out_of_a_file_is_found_out() -> None:
    """A saved plan can't lose its strategies."""
    document = json.loads(format_plan(full_plan()))
    document["changes"].pop()
    with pytest.raises(PlanInvalid, match="fingerprint"):
        parse_plan(json.dumps(document))


@pytest.mark.parametrize(
    "value",
    ["../x", "", 7, None, "a" * 129, "strategies/", "strategies/../x", "strategies/a\n", "strategies/" + "a" * 129],
)
def test_only_an_id_is_believed(value: object) -> None:
    """Nothing but an id gets from a plan file into a URL."""
    document = json.loads(format_plan(full_plan()))
    document["changes"][0]["id"] = value
    with pytest.raises(PlanInvalid, match="not a saved plan"):
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
    files = Declares(strategies={} if base is None else {StrategyId("a"): desired(base, "a")})
    memory = Memory(cadences={} if recorded is None else {StrategyId("a"): recorded})
    assert [c.cause for c in with_causes(plan, files, {}, memory, DEFAULT_POLICY).changes] == [expected]


def test_exit_reasons() -> None:
    """A change of a strategy is a change, a blocked strategy is blocked, with the reason that its read failed for."""
    changed = plan_of({"a": Cadence.WEEKLY}, {"a": Cadence.DAILY})
    assert plan_exit_reason(changed, detailed=False) is ExitReason.OK
    assert plan_exit_reason(changed, detailed=True) is drift_exit_reason(changed) is ExitReason.CHANGES
    assert plan_exit_reason(full_plan(), detailed=True) is ExitReason.ERROR
    limited = replace(full_plan().blocked[0], reason=BlockReason.READ_FAILED, failure=FailureKind.RATE_LIMITED)
    unread = replace(empty_plan(), blocked=(limited,))
    assert plan_exit_reason(unread, detailed=False) is ExitReason.UNREACHABLE
    assert blocked_text(unread) == "1 strategy"
    asked = (FailOn.CHANGES, FailOn.DRIFT)
    assert conditions_met(changed, asked, looked_for_drift=True) == asked


def test_two_plans_compared() -> None:
    """A strategy appears, vanishes and changes like a portfolio, under its address."""
    earlier = plan_of({"a": Cadence.WEEKLY, "b": Cadence.DAILY}, {"a": Cadence.DAILY, "b": Cadence.HOURLY})
    later = plan_of({"a": Cadence.MONTHLY, "c": Cadence.DAILY}, {"a": Cadence.DAILY, "c": Cadence.HOURLY})
    rows = compare_plans(earlier=earlier, later=later).rows
    assert [(row.step, row.entry.id) for row in rows] == [
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


def test_the_names_of_strategies_are_filled_in() -> None:
    """Where the files give none; no portfolio is called by a strategy's name, even where both have one id."""
    plan = plan_of({"a": Cadence.WEEKLY, "b": Cadence.DAILY}, {"a": Cadence.DAILY})
    unnamed = replace(
        plan,
        changes=tuple(replace(change, name=None) for change in (*plan.changes, replace(BARE, id=PortfolioId("a")))),
        blocked=(*(replace(one, name=None) for one in plan.blocked), replace(RICH.blocked[1], id=PortfolioId("b"))),
    )
    names = {"a": "Momentum", "b": "Value"}
    named = with_strategy_names(unnamed, names)
    assert [(one.id, one.name) for one in named.changes] == [("strategies/a", "Momentum"), ("a", None)]
    assert [(one.id, one.name) for one in named.blocked] == [("strategies/b", "Value"), ("b", None)]
    assert with_strategy_names(plan, {"a": "Other", "b": "Other"}) == plan
