"""Decisions about strategies as whole values: every sentence, every field, and the order of the checks."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.core.change import (
    Blocked,
    BlockReason,
    Cause,
    Change,
    ChangeReason,
    Field,
    FieldChange,
    Risk,
    Snapshot,
    Unchanged,
)
from reconciler.core.decide import DEFAULT_POLICY, decide_strategy
from reconciler.core.diff import facts
from reconciler.core.errors import ApiError, FailureKind, PlanInvalid
from reconciler.core.guards import Guards, Limit, check_guards
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Origin,
    PortfolioId,
    Provenance,
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Unverified,
    Verb,
    Verdict,
    address_of,
)
from reconciler.core.plan import Guarded
from reconciler.core.planfile import fingerprint, format_plan, parse_plan
from reconciler.core.planner import Strategies, with_causes, with_strategies
from reconciler.core.ports import Memory
from reconciler.core.report import blocked_text
from reconciler.core.text import plural
from tests.core.plans import RICH, Declares
from tests.core.test_plan_strategies import empty_plan

if TYPE_CHECKING:
    from reconciler.core.plan import Plan

A, B, C, D = (StrategyId(name) for name in "abcd")
ORIGIN = Origin("a.yaml", 3)
WANTED = StrategyDesired(id=A, schedule=Cadence.DAILY, name="Momentum", origin=ORIGIN)
LIMITED = ApiError(FailureKind.RATE_LIMITED, "the service limits the rate", status=429)
S, K = StrategyStatus, BlockReason


def live(
    status: StrategyStatus, cadence: Cadence | None = None, word: str = "", failure: ApiError | None = None
) -> StrategyLive:
    return StrategyLive(id=A, status=status, cadence=cadence, word=word, failure=failure)


BLOCKED = [
    (
        live(S.UNKNOWN, word="biweekly"),
        K.UNKNOWN_CADENCE,
        "Glider reports the cadence 'biweekly', which this version does not know",
        None,
    ),
    (
        live(S.NOT_FOUND),
        K.NOT_FOUND,
        "Glider has no such strategy, or it is not yours; check the id, or remove it from the files",
        None,
    ),
    (
        live(S.UNREADABLE, failure=LIMITED),
        K.READ_FAILED,
        "reading failed: the service limits the rate (HTTP 429)",
        FailureKind.RATE_LIMITED,
    ),
    (live(S.UNREADABLE), K.READ_FAILED, "reading failed", None),
    (
        live(S.NOT_READ),
        K.NOT_READ,
        "the live file does not hold it; make one that does with `reconciler status --out FILE`",
        None,
    ),
    (live(S.UNKNOWN), K.UNVERIFIED, "the live schedule can't be known, and unverified fields fail", None),
]


@pytest.mark.parametrize(("shown", "reason", "detail", "failure"), BLOCKED)
def test_what_is_said_of_a_block(
    shown: StrategyLive, reason: BlockReason, detail: str, failure: FailureKind | None
) -> None:
    """The reason, a sentence with the repair, and everything that names the strategy."""
    assert decide_strategy(WANTED, shown, unverified=Unverified.FAIL) == Blocked(
        id=address_of(A),
        api=ApiVersion.V2,
        reason=reason,
        detail=detail,
        status=shown.status,
        failure=failure,
        name="Momentum",
        source=ORIGIN,
    )


def change(
    before: Cadence | None, *risks: Risk, reach: int | None = 7, provenance: Provenance = Provenance.READ
) -> Change:
    known = before is not None
    return Change(
        id=address_of(A),
        api=ApiVersion.V2,
        verb=Verb.UPDATE,
        before=Snapshot(cadence=before),
        after=Snapshot(cadence=Cadence.DAILY),
        fields=(
            FieldChange(
                field=Field.SCHEDULE,
                live=before,
                desired=Cadence.DAILY,
                verdict=Verdict.DIFFERENT if known else Verdict.UNVERIFIED,
                provenance=provenance,
            ),
        ),
        reason=ChangeReason.SCHEDULE_DIFFERS if known else ChangeReason.SCHEDULE_UNVERIFIED,
        risks=risks,
        writes_schedule=True,
        reach=reach,
        name="Momentum",
        source=ORIGIN,
    )


REACHES, UNCOUNTED = Risk.REACHES_PORTFOLIOS, Risk.REACH_UNKNOWN
CHANGED = [
    (live(S.FOUND, Cadence.HOURLY), None, 7, change(Cadence.HOURLY, REACHES)),
    (live(S.FOUND, Cadence.WEEKLY), None, 0, change(Cadence.WEEKLY, REACHES, Risk.MORE_RUNS, reach=0)),
    (live(S.FOUND, Cadence.HOURLY), None, None, change(Cadence.HOURLY, UNCOUNTED, reach=None)),
    (
        live(S.UNKNOWN),
        Cadence.HOURLY,
        7,
        change(Cadence.HOURLY, REACHES, provenance=Provenance.RECORDED),
    ),
    (
        live(S.UNKNOWN),
        None,
        7,
        change(None, REACHES, Risk.UNVERIFIED_WRITE, provenance=Provenance.NONE),
    ),
]


@pytest.mark.parametrize(("shown", "recorded", "reach", "expected"), CHANGED)
def test_what_is_said_of_a_change(
    shown: StrategyLive, recorded: Cadence | None, reach: int | None, expected: Change
) -> None:
    """Both ends, what it reaches, what is risky about it, and how the live end is known."""
    assert decide_strategy(WANTED, shown, recorded, reach=reach) == expected


def plan_of(schedule: Cadence, shown: StrategyLive, on_mainnet: str | None = "p1") -> Plan:
    strategies = Strategies(
        desired={A: replace(WANTED, schedule=schedule)},
        live={A: shown},
        reach={A: 1},
        on_mainnet={A: PortfolioId(on_mainnet)} if on_mainnet else {},
    )
    return with_strategies(empty_plan(), strategies, Memory(), unverified=Unverified.WRITE, guards=None, managed=1)


@pytest.mark.parametrize("shown", [live(S.FOUND, Cadence.DAILY), live(S.UNKNOWN)])
def test_hourly_is_below_the_minimum_of_mainnet(shown: StrategyLive) -> None:
    """The block names the portfolio that stands in the way, and what may be declared instead."""
    plan = plan_of(Cadence.HOURLY, shown)
    assert plan.changes == ()
    assert plan.blocked == (
        Blocked(
            id=address_of(A),
            api=ApiVersion.V2,
            reason=K.BELOW_MAINNET_MINIMUM,
            detail="hourly is below the minimum of 24h on ETH mainnet, where its portfolio p1 is; "
            "declare daily, weekly or monthly",
            status=shown.status,
            name="Momentum",
            source=ORIGIN,
        ),
    )


def test_other_cadences_and_other_chains_are_not_blocked() -> None:
    """Only a change to hourly, with a portfolio there; what is hourly already is left as it is."""
    weekly, hourly = (
        plan_of(Cadence.WEEKLY, live(S.FOUND, Cadence.DAILY)),
        plan_of(Cadence.HOURLY, live(S.UNKNOWN), None),
    )
    assert [c.after.cadence for plan in (weekly, hourly) for c in plan.changes] == [Cadence.WEEKLY, Cadence.HOURLY]
    assert plan_of(Cadence.HOURLY, live(S.FOUND, Cadence.HOURLY)).strategies_no_op == 1
    assert plan_of(Cadence.HOURLY, live(S.NOT_FOUND)).blocked[0].reason is K.NOT_FOUND


def whole_plan() -> Plan:
    """Return a plan with a change, a blind change, two blocks and two strategies that stay as they are."""
    first = replace(WANTED, id=B, name=None, origin=None)
    strategies = Strategies(
        desired={
            **{i: replace(WANTED, id=i) for i in (D, C, A)},
            B: first,
            **{StrategyId(i): replace(WANTED, id=StrategyId(i)) for i in ("x", "y", "z")},
        },
        live={
            A: live(S.FOUND, Cadence.WEEKLY),
            B: live(S.UNKNOWN),
            C: live(S.UNREADABLE, failure=LIMITED),
            StrategyId("x"): live(S.FOUND, Cadence.DAILY),
            StrategyId("y"): live(S.UNKNOWN),
            StrategyId("z"): live(S.FOUND, Cadence.DAILY),
        },
        reach={A: 5},
        running={A: 3},
    )
    memory = Memory(cadences={StrategyId("y"): Cadence.DAILY}, since={address_of(A): "7f3a9c"})
    plan = with_strategies(empty_plan(), strategies, memory, unverified=Unverified.WRITE, guards=None, managed=9)
    base = Declares(strategies={A: replace(WANTED, schedule=Cadence.DAILY)})
    return with_causes(plan, base, {}, Memory(cadences={A: Cadence.DAILY}), DEFAULT_POLICY)


def end(cadence: str | None) -> dict[str, str | None]:
    return {"state": None, "interval_ms": None, "offset_ms": None, "cadence": cadence}


def field(live: str | None, verdict: str, provenance: str) -> dict[str, str | None]:
    told = {"live": live, "desired": "daily", "verdict": verdict, "provenance": provenance}
    return {"field": "schedule", **told, "overruled": None}


OF_PORTFOLIOS: dict[str, Any] = {
    "run_on_start": False,
    "auto_offset": False,
    "freezes": [],
    "frozen": None,
    **dict.fromkeys(("note", "pause_reason", "next_run_at", "cadence_ms", "strategy", "pause_id")),
}
"""What only the change of a portfolio says."""
CHANGES: list[dict[str, Any]] = [
    {
        "id": "strategies/a",
        "name": "Momentum",
        "verb": "update",
        "api": "v2",
        "before": end("weekly"),
        "after": end("daily"),
        "fields": [field("weekly", "different", "read")],
        "reason": "schedule_differs",
        "writes_schedule": True,
        "reach": 5,
        "running": 3,
        "enrolled": None,
        "before_runs_day": 0.4286,
        "after_runs_day": 3.0,
        "risks": ["reaches_portfolios", "more_runs"],
        "cause": "drift",
        "since": "7f3a9c",
        "halt": None,
        "source": {"file": "a.yaml", "line": 3},
        **OF_PORTFOLIOS,
    },
    {
        "id": "strategies/b",
        "name": None,
        "verb": "update",
        "api": "v2",
        "before": end(None),
        "after": end("daily"),
        "fields": [field(None, "unverified", "none")],
        "reason": "schedule_unverified",
        "writes_schedule": True,
        "reach": None,
        "running": None,
        "enrolled": None,
        "before_runs_day": None,
        "after_runs_day": None,
        "risks": ["reach_unknown", "unverified_write"],
        "cause": "branch",
        "since": None,
        "halt": None,
        "source": None,
        **OF_PORTFOLIOS,
    },
]
BLOCKS: list[dict[str, Any]] = [
    {
        "id": "strategies/c",
        "name": "Momentum",
        "api": "v2",
        "reason": "read_failed",
        "status": "unreadable",
        "detail": "reading failed: the service limits the rate (HTTP 429)",
        "failure": "rate_limited",
        "owner": None,
        "source": {"file": "a.yaml", "line": 3},
    },
    {
        "id": "strategies/d",
        "name": "Momentum",
        "api": "v2",
        "reason": "not_read",
        "status": "not_read",
        "detail": "the live file does not hold it; make one that does with `reconciler status --out FILE`",
        "failure": None,
        "owner": None,
        "source": {"file": "a.yaml", "line": 3},
    },
]


def document() -> dict[str, Any]:
    """Return the saved form of the whole plan."""
    found: dict[str, Any] = json.loads(format_plan(whole_plan()))
    return found


def test_the_document_of_strategies() -> None:
    """What a saved plan says of them, to the letter, and what of it is fingerprinted."""
    plan, found = whole_plan(), document()
    assert (found["changes"], found["blocked"]) == (CHANGES, BLOCKS)
    assert found["summary"]["strategies"] == {"update": 2, "no_op": 3, "blocked": 2, "frozen": 0}
    rest = (
        '"update",{"state":null,"interval_ms":null,"offset_ms":null,"cadence":%s},'
        '{"state":null,"interval_ms":null,"offset_ms":null,"cadence":"daily"},["","",%s],[true,false,""],false]'
    )
    service = '["https://api.glider.fi","",'
    first, second = rest % ('"weekly"', '"7f3a9c"'), rest % ("null", '""')
    meaning = f'[[{service}"strategies/a","v2",{first},{service}"strategies/b","v2",{second}],[]]'
    assert fingerprint(plan) == sha256(meaning.encode()).hexdigest()
    assert [c.cause for c in plan.changes] == [Cause.DRIFT, Cause.BRANCH]


def test_the_document_is_read_back() -> None:
    """The same values come out."""
    plan = whole_plan()
    again = parse_plan(json.dumps(document()))
    assert (again.changes, again.blocked, again.strategies_no_op) == (plan.changes, plan.blocked, 3)
    assert again == plan


WRONG = [
    ("changes", "id", 7),
    ("changes", "id", "a/b"),
    ("changes", "name", 7),
    ("changes", "before", "weekly"),
    ("changes", "before", end("biweekly")),
    ("changes", "after", end(None)),
    ("changes", "fields", [field("weekly", "different", "guess")]),
    ("changes", "reach", "5"),
    ("changes", "running", "5"),
    ("changes", "risks", ["none"]),
    ("changes", "cause", "luck"),
    ("changes", "source", {"file": 1, "line": 3}),
    ("changes", "source", {"file": "a.yaml", "line": "3"}),
    ("blocked", "id", None),
    ("blocked", "name", 7),
    ("blocked", "reason", "mood"),
    ("blocked", "status", 7),
    ("blocked", "detail", None),
    ("blocked", "failure", 7),
    ("blocked", "failure", "tired"),
    ("blocked", "source", {"file": "a.yaml"}),
]


@pytest.mark.parametrize(("part", "key", "value"), WRONG)
def test_every_value_has_its_type(part: str, key: str, value: object) -> None:
    """A value that no plan has is refused."""
    edited = document()
    edited[part][0][key] = value
    with pytest.raises(PlanInvalid, match="not a saved plan"):
        parse_plan(json.dumps(edited))


@pytest.mark.parametrize(
    ("part", "key"),
    [
        *(("changes", key) for key in ("id", "verb", "before", "after", "fields", "reason")),
        *(("blocked", key) for key in ("id", "reason", "status", "detail")),
    ],
)
def test_no_key_that_means_something_may_be_missing(part: str, key: str) -> None:
    """What nothing stands in for is needed."""
    edited = document()
    del edited[part][0][key]
    with pytest.raises(PlanInvalid, match="not a saved plan"):
        parse_plan(json.dumps(edited))


def test_how_many_run_may_be_missing() -> None:
    """Then nobody knows it."""
    edited = document()
    del edited["changes"][0]["running"]
    assert parse_plan(json.dumps(edited)).changes[0].running is None


@pytest.mark.parametrize("value", ["3", None, 3.0, True])
def test_a_number_of_strategies_is_a_number(value: object) -> None:
    """Nothing else is taken for the count of those that stay as they are."""
    edited = document()
    edited["summary"]["strategies"]["no_op"] = value
    with pytest.raises(PlanInvalid, match="not a saved plan"):
        parse_plan(json.dumps(edited))


def test_a_record_is_compared_only_where_nothing_is_shown() -> None:
    """It makes no change of what was read, and none where the policy would skip."""
    assert decide_strategy(WANTED, live(S.FOUND, Cadence.DAILY), Cadence.HOURLY) == Unchanged()
    assert decide_strategy(WANTED, live(S.UNKNOWN), unverified=Unverified.SKIP) == Unchanged()
    assert decide_strategy(WANTED, live(S.UNKNOWN), reach=7) == change(
        None, REACHES, Risk.UNVERIFIED_WRITE, provenance=Provenance.NONE
    )


def test_what_a_strategy_means_in_a_comparison() -> None:
    """Action, both ends, and why nothing can be done; its name and its reach make no difference."""
    known, blind = whole_plan().changes
    of_portfolios = dict.fromkeys(
        (
            *("before.state", "before.interval_ms", "before.offset_ms", "after.state", "after.interval_ms"),
            *("after.offset_ms", "note", "pause_reason", "pause_id"),
        )
    )
    alike = {"action": "update", "api": "v2", "after.schedule": "daily", "writes_schedule": True, "run_on_start": False}
    alike |= {"overrides_hold": False, "freezes": None, **of_portfolios}
    assert facts(known) == {**alike, "before.schedule": "weekly", "since": "7f3a9c"}
    assert facts(blind) == {**alike, "before.schedule": None, "since": None}
    assert [facts(block) for block in whole_plan().blocked] == [
        {"action": "blocked", "reason": "read_failed", "status": "unreadable"},
        {"action": "blocked", "reason": "not_read", "status": "not_read"},
    ]


def test_what_is_blocked_is_counted_in_words() -> None:
    """Portfolios and strategies apart, and only what there is."""
    plan = whole_plan()
    assert blocked_text(plan) == "2 strategies"
    assert blocked_text(replace(plan, blocked=(*RICH.blocked, *plan.blocked))) == "2 portfolios and 2 strategies"
    one = replace(plan, blocked=(RICH.blocked[0], plan.blocked[0]))
    assert blocked_text(one) == "1 portfolio and 1 strategy"
    assert (plural(0, "day"), plural(2, "day"), plural(2, "strategy")) == ("0 days", "2 days", "2 strategies")


def test_a_guard_that_is_switched_off_stops_nothing() -> None:
    """Without a limit no reach is too far, and without a change nothing is reached."""
    changes = whole_plan().changes
    assert check_guards(changes, Guards(max_reach=None), managed=1) == ()
    assert check_guards((), Guards(), managed=0) == ()
    assert [excess.guarded for excess in check_guards(changes, Guards(), managed=0)] == [Guarded.REACH]
    # A cadence is no update of a portfolio, however few of those may go.
    none = Guards(max_update=Limit("0", count=0), max_reach=None)
    assert check_guards(changes, none, managed=0) == ()
