"""Sums of costs over portfolios that differ: what each side runs, what is left out, and how it is rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.cost import plan_cost, usd
from reconciler.core.model import ApiVersion, Cadence, Desired, Live, PortfolioId, Record, RunState, Status
from reconciler.core.plan import Plan, PlanCost
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.text import DAY_MS, HOUR_MS
from tests.support import NOON_MS, cadence_change

if TYPE_CHECKING:
    from reconciler.core.change import Change


def cost_of(
    *wishes: Desired,
    live: list[Live],
    records: dict[str, Record] | None = None,
    cadences: tuple[Change, ...] = (),
) -> PlanCost | None:
    """Plan, and return what the plan does to the costs."""
    desired = {one.id: one for one in wishes}
    found = {one.id: one for one in live}
    known = {PortfolioId(name): record for name, record in (records or {}).items()}
    plan = build_plan(Plan(base_url="sandbox://t", created_ms=0), desired, found, Memory(records=known))
    return plan_cost(replace(plan, changes=(*plan.changes, *cadences)), desired, found, known)


def wish(name: str, price: float | None = 1.0, every: int | None = DAY_MS, **more: object) -> Desired:
    made = Desired(id=PortfolioId(name), state=RunState.ACTIVE, interval_ms=every, per_rebalance_usd=price)
    return replace(made, **more)


def active(name: str, every: int | None = DAY_MS, **more: object) -> Live:
    made = Live(id=PortfolioId(name), status=Status.ACTIVE, interval_ms=every, offset_ms=0)
    return replace(made, **more)


def cost(before: tuple[float, float], after: tuple[float, float], known: int, of: int) -> PlanCost:
    """Return a cost from dollars in 30 days and runs a day of either side."""
    return PlanCost(
        before_usd_month=before[0],
        after_usd_month=after[0],
        before_runs_day=before[1],
        after_runs_day=after[1],
        portfolios_known=known,
        portfolios=of,
    )


def test_portfolios_are_summed_up() -> None:
    """Each side is the sum of its runs; what is not known on one side is on neither, and stops no other."""
    found = cost_of(
        wish("a", 0.5, every=DAY_MS),
        wish("b", 0.0, every=HOUR_MS),
        wish("c", 9.0, every=None),
        wish("d", None, every=HOUR_MS),
        wish("e", 2.0, every=12 * HOUR_MS),
        live=[active("a", 12 * HOUR_MS), active("b", DAY_MS), active("c", None), active("d"), active("e", DAY_MS)],
    )
    assert found == cost((30.0 + 60.0, 2.0 + 1.0 + 1.0), (15.0 + 120.0, 1.0 + 24.0 + 2.0), known=3, of=4)


def test_sums_are_rounded() -> None:
    """To cents, and to the ten-thousandth of a run."""
    found = cost_of(wish("a", 0.123456, every=7 * HOUR_MS), live=[active("a", 13 * HOUR_MS)])
    assert found == cost((6.84, 1.8462), (12.7, 3.4286), known=1, of=1)


def test_our_record_tells_an_interval_that_is_not_shown() -> None:
    """The interval that was confirmed last is the one that is priced."""
    record = Record(
        state=RunState.ACTIVE, interval_ms=12 * HOUR_MS, offset_ms=0, schedule_id=None, confirmed_ms=NOON_MS
    )
    found = cost_of(wish("a"), live=[active("a", None)], records={"a": record})
    assert found == cost((60.0, 2.0), (30.0, 1.0), known=1, of=1)


def test_an_offset_that_moves_alone_changes_no_cost() -> None:
    """The interval stays what it was."""
    found = cost_of(wish("a", every=None, offset_ms=HOUR_MS), live=[active("a", 12 * HOUR_MS)])
    assert found == cost((60.0, 2.0), (60.0, 2.0), known=1, of=1)


@pytest.mark.parametrize(
    ("state", "strategy", "after"),
    [
        (RunState.ACTIVE, "s", (210.0 / 49, 1 / 7)),
        (RunState.ACTIVE, "other", (30.0, 1.0)),
        (RunState.ACTIVE, None, (30.0, 1.0)),
        (RunState.PAUSED, "s", (0.0, 0.0)),
    ],
)
def test_a_new_cadence_holds_for_its_own_portfolios(
    state: RunState, strategy: str | None, after: tuple[float, float]
) -> None:
    """Others keep theirs, and what is paused costs nothing on any cadence."""
    change = cadence_change("s", Cadence.DAILY, Cadence.WEEKLY)
    found = cost_of(
        wish("a", every=None, api=ApiVersion.V2, state=state),
        live=[active("a", strategy=strategy)],
        cadences=(change,),
    )
    assert found == cost((30.0, 1.0), (round(after[0], 2), round(after[1], 4)), known=1, of=1)


def test_a_resume_on_v2_runs_on_the_cadence_of_its_strategy() -> None:
    """The interval is not the portfolio's own, and it is what runs from then on."""
    paused = active("a", status=Status.PAUSED, strategy="s", pause_reason="Paused via API: x [glider-reconciler]")
    found = cost_of(wish("a", every=None, api=ApiVersion.V2, hold_override=True), live=[paused])
    assert found == cost((0.0, 0.0), (30.0, 1.0), known=1, of=1)


@pytest.mark.parametrize(("amount", "text"), [(0.01, "0.01"), (0.00999, "0.00999"), (0.0, "0"), (0.0123, "0.01")])
def test_less_than_a_cent_is_told_in_full(amount: float, text: str) -> None:
    """From a cent on there are two digits, and nothing is nothing."""
    assert usd(amount) == text
