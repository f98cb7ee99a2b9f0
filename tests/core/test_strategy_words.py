"""Decisions about strategies as whole values: every sentence, every field, and the order of the checks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.core.comparison import facts
from reconciler.core.decide import Unverified
from reconciler.core.desired import Origin, PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.guards import check_reach
from reconciler.core.limits import Guards
from reconciler.core.live import Provenance
from reconciler.core.plan import Cause
from reconciler.core.report import blocked_text
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
)
from reconciler.core.strategyfile import fingerprinted, parse_strategies, strategies_document
from reconciler.core.strategyplan import Strategies, decide_strategy, with_strategies, with_strategy_causes
from reconciler.core.text import plural
from tests.core.plans import RICH
from tests.core.test_strategy_plan import empty_plan

if TYPE_CHECKING:
    from reconciler.core.plan import Plan

A, B, C, D = (StrategyId(name) for name in "abcd")
ORIGIN = Origin("a.yaml", 3)
WANTED = StrategyDesired(id=A, schedule=Cadence.DAILY, name="Momentum", origin=ORIGIN)
LIMITED = ApiError(FailureKind.RATE_LIMITED, "the service limits the rate", status=429)
S, K = StrategyStatus, StrategyBlock


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
        "rate_limited",
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
def test_what_is_said_of_a_block(shown: StrategyLive, reason: StrategyBlock, detail: str, failure: str | None) -> None:
    """The reason, a sentence with the repair, and everything that names the strategy."""
    assert decide_strategy(WANTED, shown, unverified=Unverified.FAIL) == StrategyBlocked(
        id=A, reason=reason, detail=detail, status=shown.status, failure=failure, name="Momentum", source=ORIGIN
    )


def change(before: Cadence | None, *risks: StrategyRisk, reach: int | None = 7, **more: Provenance) -> StrategyChange:
    return StrategyChange(
        id=A,
        before=before,
        after=Cadence.DAILY,
        reach=reach,
        risks=risks,
        name="Momentum",
        source=ORIGIN,
        **more,
    )


REACHES, UNCOUNTED = StrategyRisk.REACHES_PORTFOLIOS, StrategyRisk.REACH_UNKNOWN
CHANGED = [
    (live(S.FOUND, Cadence.HOURLY), None, 7, change(Cadence.HOURLY, REACHES)),
    (live(S.FOUND, Cadence.WEEKLY), None, 0, change(Cadence.WEEKLY, REACHES, StrategyRisk.MORE_RUNS, reach=0)),
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
        change(None, REACHES, StrategyRisk.UNVERIFIED_WRITE, provenance=Provenance.NONE),
    ),
]


@pytest.mark.parametrize(("shown", "recorded", "reach", "expected"), CHANGED)
def test_what_is_said_of_a_change(
    shown: StrategyLive, recorded: Cadence | None, reach: int | None, expected: StrategyChange
) -> None:
    """Both ends, what it reaches, what is risky about it, and how the live end is known."""
    assert decide_strategy(WANTED, shown, recorded, reach=reach) == expected


def plan_of(schedule: Cadence, shown: StrategyLive, on_mainnet: str | None = "p1") -> Plan:
    strategies = Strategies(
        desired={A: replace(WANTED, schedule=schedule)},
        live={A: shown},
        recorded={},
        reach={A: 1},
        on_mainnet={A: PortfolioId(on_mainnet)} if on_mainnet else {},
    )
    return with_strategies(empty_plan(), strategies, unverified=Unverified.WRITE, guards=None, managed=1)


@pytest.mark.parametrize("shown", [live(S.FOUND, Cadence.DAILY), live(S.UNKNOWN)])
def test_hourly_is_below_the_minimum_of_mainnet(shown: StrategyLive) -> None:
    """The block names the portfolio that stands in the way, and what may be declared instead."""
    plan = plan_of(Cadence.HOURLY, shown)
    assert plan.strategies == ()
    assert plan.blocked_strategies == (
        StrategyBlocked(
            id=A,
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
    assert [c.after for c in plan_of(Cadence.WEEKLY, live(S.FOUND, Cadence.DAILY)).strategies] == [Cadence.WEEKLY]
    assert [c.after for c in plan_of(Cadence.HOURLY, live(S.UNKNOWN), None).strategies] == [Cadence.HOURLY]
    assert plan_of(Cadence.HOURLY, live(S.FOUND, Cadence.HOURLY)).strategies_no_op == 1
    assert plan_of(Cadence.HOURLY, live(S.NOT_FOUND)).blocked_strategies[0].reason is K.NOT_FOUND


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
        recorded={StrategyId("y"): Cadence.DAILY},
        reach={A: 5},
    )
    plan = with_strategies(empty_plan(), strategies, unverified=Unverified.WRITE, guards=None, managed=9)
    return with_strategy_causes(plan, {A: replace(WANTED, schedule=Cadence.DAILY)}, {A: Cadence.DAILY})


DOCUMENT = {
    "changes": [
        {
            "id": "a",
            "name": "Momentum",
            "before": "weekly",
            "after": "daily",
            "provenance": "read",
            "reach": 5,
            "running": None,
            "before_runs_day": None,
            "after_runs_day": None,
            "risks": ["reaches_portfolios", "more_runs"],
            "cause": "drift",
            "since": None,
            "source": {"file": "a.yaml", "line": 3},
        },
        {
            "id": "b",
            "name": None,
            "before": None,
            "after": "daily",
            "provenance": "none",
            "reach": None,
            "running": None,
            "before_runs_day": None,
            "after_runs_day": None,
            "risks": ["reach_unknown", "unverified_write"],
            "cause": "branch",
            "since": None,
            "source": None,
        },
    ],
    "blocked": [
        {
            "id": "c",
            "name": "Momentum",
            "reason": "read_failed",
            "status": "unreadable",
            "detail": "reading failed: the service limits the rate (HTTP 429)",
            "failure": "rate_limited",
            "source": {"file": "a.yaml", "line": 3},
        },
        {
            "id": "d",
            "name": "Momentum",
            "reason": "not_read",
            "status": "not_read",
            "detail": "the live file does not hold it; make one that does with `reconciler status --out FILE`",
            "failure": None,
            "source": {"file": "a.yaml", "line": 3},
        },
    ],
    "no_op": 3,
}


def test_the_document_of_strategies() -> None:
    """What a saved plan says of them, to the letter, and what of it is fingerprinted."""
    plan = whole_plan()
    assert strategies_document(plan) == DOCUMENT
    assert fingerprinted(plan) == [["a", "weekly", "daily", ""], ["b", "", "daily", ""]]
    assert fingerprinted(empty_plan()) == []
    assert [c.cause for c in plan.strategies] == [Cause.DRIFT, Cause.BRANCH]


def test_the_document_is_read_back() -> None:
    """The same values come out, and a plan from before there were strategies has none."""
    plan = whole_plan()
    assert parse_strategies(DOCUMENT) == (plan.strategies, plan.blocked_strategies, 3)
    assert parse_strategies(None) == ((), (), 0)


WRONG = [
    ("changes", "id", 7),
    ("changes", "id", "a/b"),
    ("changes", "name", 7),
    ("changes", "before", "biweekly"),
    ("changes", "after", None),
    ("changes", "provenance", "guess"),
    ("changes", "reach", "5"),
    ("changes", "risks", ["none"]),
    ("changes", "cause", "luck"),
    ("changes", "source", {"file": 1, "line": 3}),
    ("changes", "source", {"file": "a.yaml", "line": "3"}),
    ("blocked", "id", None),
    ("blocked", "name", 7),
    ("blocked", "reason", "mood"),
    ("blocked", "status", "gone"),
    ("blocked", "detail", None),
    ("blocked", "failure", 7),
    ("blocked", "source", {"file": "a.yaml"}),
]


@pytest.mark.parametrize(("part", "key", "value"), WRONG)
def test_every_value_has_its_type(part: str, key: str, value: object) -> None:
    """A value that no plan has is refused, and so is a key that is missing."""
    entries = DOCUMENT[part]
    assert isinstance(entries, list)
    edited = {**DOCUMENT, part: [{**entries[0], key: value}]}
    with pytest.raises((KeyError, TypeError, ValueError)):
        parse_strategies(edited)
    missing = {**DOCUMENT, part: [{k: v for k, v in entries[0].items() if k != key}]}
    with pytest.raises(KeyError):
        parse_strategies(missing)


def test_how_many_run_may_be_missing_but_is_a_number() -> None:
    """A plan that was saved before they were counted has no such key."""
    entries = DOCUMENT["changes"]
    assert isinstance(entries, list)
    older, _, _ = parse_strategies({**DOCUMENT, "changes": [{k: v for k, v in entries[0].items() if k != "running"}]})
    assert older[0].running is None
    with pytest.raises(TypeError):
        parse_strategies({**DOCUMENT, "changes": [{**entries[0], "running": "5"}]})


def test_a_number_of_strategies_is_a_number() -> None:
    """Nothing else is taken for the count of those that stay as they are."""
    with pytest.raises(TypeError):
        parse_strategies({**DOCUMENT, "no_op": "3"})


def test_a_record_is_compared_only_where_nothing_is_shown() -> None:
    """It makes no change of what was read, and none where the policy would skip."""
    assert decide_strategy(WANTED, live(S.FOUND, Cadence.DAILY), Cadence.HOURLY) == StrategyUnchanged()
    assert decide_strategy(WANTED, live(S.UNKNOWN), unverified=Unverified.SKIP) == StrategyUnchanged()
    assert decide_strategy(WANTED, live(S.UNKNOWN), reach=7) == change(
        None, REACHES, StrategyRisk.UNVERIFIED_WRITE, provenance=Provenance.NONE
    )


def test_what_a_strategy_means_in_a_comparison() -> None:
    """Action, both ends, and why nothing can be done; its name and its reach make no difference."""
    known, blind = whole_plan().strategies
    assert facts(known) == {"action": "update", "before.schedule": "weekly", "after.schedule": "daily", "since": None}
    assert facts(blind) == {"action": "update", "before.schedule": None, "after.schedule": "daily", "since": None}
    assert [facts(block) for block in whole_plan().blocked_strategies] == [
        {"action": "blocked", "reason": "read_failed", "status": "unreadable"},
        {"action": "blocked", "reason": "not_read", "status": "not_read"},
    ]


def test_what_is_blocked_is_counted_in_words() -> None:
    """Portfolios and strategies apart, and only what there is."""
    plan = whole_plan()
    assert blocked_text(plan) == "2 strategies"
    assert blocked_text(replace(plan, blocked=RICH.blocked)) == "2 portfolios and 2 strategies"
    one = replace(plan, blocked=RICH.blocked[:1], blocked_strategies=plan.blocked_strategies[:1])
    assert blocked_text(one) == "1 portfolio and 1 strategy"
    assert (plural(0, "day"), plural(2, "day"), plural(2, "strategy")) == ("0 days", "2 days", "2 strategies")


def test_a_guard_that_is_switched_off_stops_nothing() -> None:
    """Without a limit no reach is too far, and without a change nothing is reached."""
    assert check_reach(whole_plan().strategies, Guards(max_reach=None), managed=1) == ()
    assert check_reach((), Guards(), managed=0) == ()
    assert len(check_reach(whole_plan().strategies, Guards(), managed=0)) == 1
