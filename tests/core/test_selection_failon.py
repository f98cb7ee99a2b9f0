"""The conditions under which a job fails, over plans that meet one of them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.change import Cause, Overdue
from reconciler.core.fleet import Listing, leaves_unmanaged
from reconciler.core.model import Cadence, PortfolioId
from reconciler.core.report import FailOn, conditions_met
from tests.core.plans import BARE, RICH
from tests.core.test_plan_strategies import empty_plan
from tests.support import cadence_change

if TYPE_CHECKING:
    from reconciler.core.plan import Plan

EMPTY = replace(empty_plan(), listing=Listing.COMPLETE)
CADENCE = cadence_change("s", None, Cadence.DAILY)
CHANGED, SET = replace(EMPTY, changes=(BARE,)), replace(EMPTY, changes=(CADENCE,))
HELD = replace(EMPTY, held=RICH.held)
_, C, D, H, U, B, G, L = FailOn
LATE = replace(EMPTY, overdue=(Overdue(id=PortfolioId("p"), overdue_ms=1, due_ms=0),))


def caused(cause: Cause | None, *, strategy: bool = False) -> Plan:
    """Return a plan with two changes, of which the second comes from here."""
    change = CADENCE if strategy else BARE
    return replace(EMPTY, changes=(replace(change, cause=Cause.BRANCH), replace(change, cause=cause)))


@pytest.mark.parametrize(
    ("plan", "plain", "looked"),
    [
        (EMPTY, (), ()),
        (CHANGED, (C,), (C, D)),
        (SET, (C,), (C, D)),
        (HELD, (H,), (D, H)),
        (LATE, (L,), (D, L)),
        (replace(EMPTY, blocked=RICH.blocked), (B,), (B,)),
        (replace(EMPTY, over=RICH.over), (G,), (G,)),
        (replace(EMPTY, unmanaged=RICH.unmanaged), (U,), (U,)),
        (replace(EMPTY, listing=Listing.INCOMPLETE), (U,), (U,)),
        (replace(EMPTY, listing=Listing.NONE), (U,), (U,)),
        (caused(Cause.DRIFT), (C, D), (C, D)),
        (caused(Cause.BOTH), (C, D), (C, D)),
        (caused(Cause.PENDING), (C,), (C, D)),
        (caused(Cause.DRIFT, strategy=True), (C, D), (C, D)),
        (caused(Cause.BOTH, strategy=True), (C, D), (C, D)),
        (caused(None, strategy=True), (C,), (C, D)),
    ],
)
def test_what_a_plan_meets(plan: Plan, plain: tuple[FailOn, ...], looked: tuple[FailOn, ...]) -> None:
    """Each condition for itself, in their order; a failed command is none of a plan's."""
    every = list(reversed(FailOn))
    assert conditions_met(plan, every, looked_for_drift=False) == plain
    assert conditions_met(plan, every, looked_for_drift=True) == looked
    for condition in FailOn:
        assert conditions_met(plan, [condition], looked_for_drift=False) == tuple(c for c in plain if c is condition)


def test_only_a_whole_list_says_that_nothing_is_unmanaged() -> None:
    """Nothing in half a list proves nothing."""
    assert not leaves_unmanaged((), Listing.COMPLETE)
    assert leaves_unmanaged((), Listing.INCOMPLETE)
    assert leaves_unmanaged((), Listing.NONE)
    assert leaves_unmanaged(RICH.unmanaged, Listing.COMPLETE)


def test_every_condition_has_its_sentence() -> None:
    """What holds is told to people."""
    assert [condition.sentence for condition in FailOn] == [
        "the command failed",
        "changes are pending",
        "live automation is not as declared",
        "portfolios are held",
        "portfolios are live that no file declares, or it can't be known whether any are",
        "portfolios are blocked",
        "the plan is over a guard",
        "active portfolios did not run when they were due",
    ]
