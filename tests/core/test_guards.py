"""Guards: limits by number and by share, and the flag that names the number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.core.desired import Desired, PortfolioId, RunState
from reconciler.core.guards import check_guards
from reconciler.core.limits import Guards, Limit
from reconciler.core.live import Live, Status
from reconciler.core.planner import build_plan
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from reconciler.core.plan import Plan


def plan_of_pauses(count: int) -> Plan:
    ids = [PortfolioId(f"p{n}") for n in range(count)]
    return build_plan(
        {i: Desired(id=i, state=RunState.PAUSED) for i in ids},
        {i: Live(id=i, status=Status.ACTIVE) for i in ids},
        {},
        base_url="x",
        created_ms=0,
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
    over = check_guards(plan_of_pauses(5), Guards(max_pause=Limit("40%", percent=40)), managed=5, allowed={})
    assert [str(excess) for excess in over] == [
        "5 to pause, but guards.max_pause is 40% = 2; after reading the plan, allow it with --allow pause=5"
    ]


@pytest.mark.parametrize(("number", "refused"), [(4, True), (5, False), (50, False)])
def test_allow_raises_one_verb_to_a_number(number: int, *, refused: bool) -> None:
    """--allow lets through as many as it names, and no more."""
    guards = Guards(max_pause=Limit("1", count=1))
    over = check_guards(plan_of_pauses(5), guards, managed=5, allowed={Verb.PAUSE: number})
    assert bool(over) is refused


def test_no_guard_no_limit() -> None:
    """A verb without a guard has no limit."""
    assert check_guards(plan_of_pauses(50), Guards(max_start=Limit("0", count=0)), managed=50, allowed={}) == ()
