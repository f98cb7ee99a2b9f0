"""A whole import as a value: what is declared, what is left out and why, to the letter."""

from __future__ import annotations

from typing import Any

from reconciler.core.adoption import Adoptable, Ground, OmitReason, Omitted, make_adoption
from reconciler.core.errors import ApiError, FailureKind
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
)
from reconciler.core.text import DAY_MS, HOUR_MS
from tests.support import NOON_MS

V1, V2 = ApiVersion.V1, ApiVersion.V2
ACTIVE, PAUSED = RunState.ACTIVE, RunState.PAUSED
NO_NAME = ApiError(FailureKind.UNREACHABLE, "no connection")
GONE = "v1 has no such portfolio, or the key may not see it"
DAILY, GUESSED = StrategyId("daily"), StrategyId("guessed")
CADENCES = {
    DAILY: StrategyLive(id=DAILY, status=StrategyStatus.FOUND, cadence=Cadence.HOURLY),
    GUESSED: StrategyLive(id=GUESSED, status=StrategyStatus.UNKNOWN),
}


def live(name: str, status: Status = Status.ACTIVE, **more: Any) -> Live:
    return Live(id=PortfolioId(name), status=status, **more)


def found(*lives: Live, v2: str = "", **more: Any) -> Adoptable:
    """Return what was read; ``v2`` names those of the other API."""
    of_v2 = v2.split()
    return Adoptable(
        live={one.id: one for one in lives}, versions={one.id: V2 if one.id in of_v2 else V1 for one in lives}, **more
    )


def test_records_and_names_reach_their_portfolios() -> None:
    """Each is declared by its own record and its own name, and notes say how its schedule is known."""
    a, b, c, d = (PortfolioId(name) for name in "abcd")
    record = Record(state=ACTIVE, interval_ms=DAY_MS, offset_ms=HOUR_MS, schedule_id=None, confirmed_ms=NOON_MS)
    made = make_adoption(
        found(
            live("d", Status.INACTIVE),
            live("c", interval_ms=12 * HOUR_MS),
            live("b", Status.PAUSED),
            live("a"),
            v2="b",
            records={a: record},
            names={a: "Growth", b: None, c: NO_NAME},
        )
    )
    assert made.layout.desired == {
        a: Desired(id=a, state=ACTIVE, name="Growth", interval_ms=DAY_MS, offset_ms=HOUR_MS),
        b: Desired(id=b, state=PAUSED, api=V2),
        c: Desired(id=c, state=ACTIVE, interval_ms=12 * HOUR_MS),
        d: Desired(id=d, state=PAUSED),
    }
    assert made.notes == {
        a: ("interval and offset recorded",),
        c: ("interval read, offset not known", "its name could not be read"),
        d: ("inactive: nothing runs",),
    }
    assert (made.count(ACTIVE), made.count(PAUSED)) == (2, 2)
    assert (made.omitted, made.strategies, made.left, made.enrolled) == ((), {}, {}, {})
    assert not made.empty
    assert make_adoption(found(live("a"), live("b"), live("c", Status.PAUSED))).count(ACTIVE) == 2


def test_what_is_left_out_is_told_in_order() -> None:
    """Portfolios that can't be declared are named by id, with the reason and the failure behind it."""
    failed = ApiError(FailureKind.SERVER, "it broke", status=500)
    made = make_adoption(
        found(live("z", Status.NOT_FOUND), live("m"), live("a", Status.UNREADABLE, failure=failed)),
    )
    assert made.omitted == (
        Omitted(
            id=PortfolioId("a"),
            api=V1,
            reason=OmitReason.READ_FAILED,
            detail="could not be read: it broke (HTTP 500)",
            failure=failed,
        ),
        Omitted(id=PortfolioId("z"), api=V1, reason=OmitReason.NOT_FOUND, detail=GONE),
    )
    assert list(made.layout.desired) == ["m"]


def test_a_name_that_failed_is_no_note_of_what_is_left_out() -> None:
    """What is not declared needs no name."""
    made = make_adoption(found(live("a", Status.ARCHIVED), names={PortfolioId("a"): NO_NAME}))
    assert made.notes == {}
    assert [one.detail for one in made.omitted] == ["archived"]


def test_an_unknown_schedule_does_not_inherit_one() -> None:
    """Where the defaults would give a portfolio a schedule that nobody knows it has, it is left out with the repair."""
    a, b = PortfolioId("a"), PortfolioId("b")
    ground = Ground(defaults={"interval_ms": DAY_MS})
    made = make_adoption(found(live("a"), live("b", interval_ms=HOUR_MS)), ground=ground)
    assert made.omitted == (
        Omitted(
            id=a,
            api=V1,
            reason=OmitReason.INHERITS,
            detail="the defaults of the files would give it their interval, and its own is not known: "
            "declare it by hand",
        ),
    )
    assert list(made.layout.desired) == [b]
    assert list(make_adoption(found(live("a"))).layout.desired) == [a]


def test_strategies_are_declared_or_left_with_a_reason() -> None:
    """A cadence that was read is declared; every strategy counts the portfolios that were imported, and no other."""
    of = {"a": "daily", "b": "daily", "c": "guessed", "d": None, "e": "elsewhere"}
    made = make_adoption(
        found(
            *(live(name, strategy=strategy) for name, strategy in of.items()),
            live("gone", Status.NOT_FOUND, strategy="daily"),
            v2="a b c d e gone",
            strategies=dict(reversed(CADENCES.items())),
        )
    )
    assert made.strategies == {DAILY: StrategyDesired(id=DAILY, schedule=Cadence.HOURLY)}
    assert made.left == {GUESSED: "it has no cadence that Glider tells of"}
    assert made.enrolled == {DAILY: 2, GUESSED: 1}


def test_v2_portfolios_name_their_strategy_and_give_it_its_name() -> None:
    """Each is declared with the strategy it is enrolled in; of several names the first portfolio's counts."""
    of = {
        "a": {"strategy": "daily"},
        "b": {"strategy": "daily", "strategy_name": "Momentum"},
        "c": {"strategy": "daily", "strategy_name": "Later"},
        "d": {"strategy": "else/where"},
        "e": {},
    }
    made = make_adoption(found(*(live(i, **more) for i, more in of.items()), v2="a b c d e", strategies=CADENCES))
    assert {i: one.strategy for i, one in made.layout.desired.items()} == {
        **dict.fromkeys("abc", DAILY),
        **dict.fromkeys("de"),
    }
    assert made.strategies == {DAILY: StrategyDesired(id=DAILY, schedule=Cadence.HOURLY, name="Momentum")}
    of_v1 = make_adoption(found(live("a", strategy="daily")))
    assert of_v1.layout.desired[PortfolioId("a")].strategy is None


def test_groups_of_v2_are_named_by_the_cadence_of_their_strategy() -> None:
    """The strategy's word goes first, then the portfolio's interval; a strategy nobody read leaves the interval."""
    names = [f"{kind}{number}" for kind in "pqr" for number in range(3)]
    of = {"p": {"strategy": "daily"}, "q": {"strategy": "guessed", "interval_ms": DAY_MS}, "r": {"strategy": "other"}}
    made = make_adoption(
        found(
            *(live(name, **of[name[0]]) for name in names),
            live("v1", interval_ms=HOUR_MS),
            live("w1", interval_ms=2 * HOUR_MS),
            live("x1", interval_ms=3 * HOUR_MS),
            v2=" ".join(names),
            strategies=CADENCES,
        )
    )
    assert made.layout.groups == {"v2": {"api": V2}, "v2-daily": {"api": V2}, "v2-hourly": {"api": V2}}
    groups = {name: desired.group for name, desired in made.layout.desired.items()}
    assert groups == {
        **{name: {"p": "v2-hourly", "q": "v2-daily", "r": "v2"}[name[0]] for name in names},
        **dict.fromkeys(("v1", "w1", "x1")),
    }


def test_groups_are_named_again_only_where_that_is_allowed() -> None:
    """An import into files makes groups of its own unless it may use theirs."""
    ground = Ground(groups={"calm": {"interval_ms": HOUR_MS}})
    fleet = found(*(live(name, interval_ms=HOUR_MS) for name in "abc"))
    for reuse, group in ((True, "calm"), (False, "every-1h")):
        made = make_adoption(fleet, ground=ground, reuse=reuse)
        assert {one.group for one in made.layout.desired.values()} == {group}
    assert make_adoption(fleet, ground=ground) == make_adoption(fleet, ground=ground, reuse=False)


def test_an_empty_import_is_told() -> None:
    """Nothing is to be declared where neither a portfolio nor a strategy is; one of either is enough."""
    assert make_adoption(found()).empty
    assert make_adoption(found(live("a", Status.ARCHIVED))).empty
    assert not make_adoption(found(live("a"))).empty
    assert not make_adoption(found(strategies={DAILY: CADENCES[DAILY]})).empty
    assert make_adoption(found(strategies={GUESSED: CADENCES[GUESSED]})).empty
