"""Names of strategies are filled in where the plan lacks them, and nowhere else."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.core.change import Blocked, BlockReason, Moved, StrategyName
from reconciler.core.model import Address, PortfolioId, RunState, Status, StrategyId, address_of
from reconciler.core.planner import with_strategy_names
from tests.core.plans import FULL, RICH

ONE, OTHER = StrategyId("S-one"), StrategyId("S-other")
NAMES = {ONE: "First", OTHER: "Second", "": "nobody's"}


def blocked(address: Address, name: str | None) -> Blocked:
    return Blocked(id=address, name=name, reason=BlockReason.READ_FAILED, detail="", status="unreadable")


def moved(declared: StrategyName, live: StrategyName) -> Moved:
    return Moved(
        id=PortfolioId("p"),
        state=RunState.ACTIVE,
        status=Status.ACTIVE,
        declared=declared,
        live=live,
        name="Client",
    )


def test_a_declared_name_stays() -> None:
    """Changes and blocked strategies get a name only where the files give none; portfolios are left alone."""
    change = replace(FULL, id=address_of(ONE), name=None)
    named = replace(FULL, id=address_of(OTHER), name="As declared")
    portfolio = replace(FULL, id=PortfolioId("p"), name=None)
    stuck = blocked(address_of(ONE), None)
    plan = replace(RICH, changes=(change, named, portfolio), blocked=(stuck, blocked(PortfolioId("p"), None)))
    found = with_strategy_names(plan, NAMES)
    assert [one.name for one in found.changes] == ["First", "As declared", None]
    assert [one.name for one in found.blocked] == ["First", None]
    assert [replace(one, name=None) for one in found.changes] == [replace(one, name=None) for one in plan.changes]


def test_a_moved_portfolio_names_both_strategies() -> None:
    """The declared one by the files first, the live one by the service first; all else stays."""
    plan = replace(
        RICH,
        moved=(
            moved(StrategyName(strategy=ONE), StrategyName(strategy=OTHER, name="Old", interval_ms=1)),
            moved(StrategyName(strategy=ONE, name="Ours"), StrategyName(strategy="S-none", name="Kept")),
        ),
    )
    first, second = with_strategy_names(plan, NAMES).moved
    assert first == replace(
        plan.moved[0],
        declared=StrategyName(strategy=ONE, name="First"),
        live=StrategyName(strategy=OTHER, name="Second", interval_ms=1),
    )
    assert second == plan.moved[1]
