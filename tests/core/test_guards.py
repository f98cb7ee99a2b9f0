"""Guards: limits by number and by share, and the flag that names the number."""

from __future__ import annotations

import pytest

from reconciler.core.guards import Guards, Limit, check_guards, still_over
from reconciler.core.model import Desired, Live, PortfolioId, RunState, Status
from reconciler.core.plan import Guarded, Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory


def plan_of_pauses(count: int) -> Plan:
    ids = [PortfolioId(f"p{n}") for n in range(count)]
    return build_plan(
        Plan(base_url="x", created_ms=0),
        {i: Desired(id=i, state=RunState.PAUSED) for i in ids},
        {i: Live(id=i, status=Status.ACTIVE) for i in ids},
        Memory(),
    )


@pytest.mark.parametrize(
    ("limit", "managed", "through"),
    [
        (Limit("5", count=5), 100, 5),
        (Limit("0", count=0), 100, 0),
        (Limit("10%", percent=10), 100, 10),
        (Limit("10%", percent=10), 19, 1),
        (Limit("10%", percent=10), 3, 1),
        (Limit("0%", percent=0), 100, 0),
        (Limit("100%", percent=100), 7, 7),
    ],
)
def test_allows(limit: Limit, managed: int, through: int) -> None:
    """A share is rounded down, but a positive one lets at least one portfolio through."""
    assert limit.allows(managed) == through


def test_over_a_guard_names_the_flag() -> None:
    """The sentence holds the numbers and the flag to copy."""
    over = check_guards(plan_of_pauses(5).changes, Guards(max_pause=Limit("40%", percent=40)), managed=5)
    assert [str(excess) for excess in over] == [
        "5 to pause, but guards.max_pause is 40% = 2; after reading the plan, allow it with --allow pause=5"
    ]


@pytest.mark.parametrize(("number", "refused"), [(4, True), (5, False), (50, False)])
def test_allow_raises_one_verb_to_a_number(number: int, *, refused: bool) -> None:
    """--allow lets through as many as it names, and no more."""
    over = check_guards(plan_of_pauses(5).changes, Guards(max_pause=Limit("1", count=1)), managed=5)
    assert bool(still_over(over, {Guarded.PAUSE: number})) is refused


def test_pauses_are_never_hindered_by_default() -> None:
    """Without a declared guard a whole fleet may be paused."""
    assert check_guards(plan_of_pauses(50).changes, Guards(), managed=50) == ()


@pytest.mark.parametrize(
    ("verb", "managed", "through"),
    [
        (Guarded.START, 3, 5),
        (Guarded.START, 50, 5),
        (Guarded.START, 200, 20),
        (Guarded.RESUME, 50, 5),
        (Guarded.UPDATE, 12, 10),
        (Guarded.UPDATE, 200, 100),
    ],
)
def test_defaults(verb: Guarded, managed: int, through: int) -> None:
    """A handful may start or resume, half a fleet may be updated; small fleets are not stuck."""
    limit = Guards().limit(verb)
    assert limit is not None
    assert limit.allows(managed) == through
