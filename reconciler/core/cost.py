"""What running costs: declared US dollars a run, over 30 days, before and after a plan.

In: desired and live portfolios, our records and a plan. Out: numbers, and :class:`PlanCost`. Glider publishes no price:
a cost is known only where the files declare one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.duration import DAY_MS, WORDS
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.live import Live, Record
    from reconciler.core.plan import Change, Plan

MONTH_MS: Final = 30 * DAY_MS
"""A month of costs: 30 days, so that every month costs the same."""
STANDS_STILL: Final = 0
"""In place of an interval: nothing runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCost:
    """What the selected portfolios with a declared cost are known to run and cost, in US dollars in 30 days.

    ``portfolios_known`` of ``portfolios`` have an interval that is known on both sides; only those are summed up.
    """

    before_usd_month: float
    after_usd_month: float
    before_runs_day: float
    after_runs_day: float
    portfolios_known: int
    portfolios: int


def usd_a_month(per_rebalance_usd: float, interval_ms: int) -> float:
    """Return what runs of this interval cost in 30 days."""
    return per_rebalance_usd * MONTH_MS / interval_ms


def usd(amount: float) -> str:
    """Return an amount for people, with cents where it has any; less than a cent in full."""
    if 0 < amount < 0.01:
        return f"{amount:.4g}"
    text = f"{amount:,.2f}"
    return text.removesuffix(".00")


def plan_cost(
    plan: Plan,
    desired: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    records: Mapping[PortfolioId, Record],
) -> PlanCost | None:
    """Return what the plan does to the costs of ``desired``, ``None`` where none of them declares one."""
    priced = [one for one in desired.values() if one.per_rebalance_usd is not None]
    if not priced:
        return None
    changes = {change.id: change for change in plan.changes}
    # What a month is in milliseconds is documented nowhere (API facts §6), so that cadence is not among the words.
    cadences: dict[str, int | None] = {change.id: WORDS.get(change.after.value) for change in plan.strategies}
    usd_before = usd_after = runs_before = runs_after = 0.0
    known = 0
    for one in priced:
        found = live[one.id]
        before = _before(found, records.get(one.id))
        change = changes.get(one.id)
        after = before if change is None else _after(change)
        if after != STANDS_STILL and found.strategy is not None and found.strategy in cadences:
            after = cadences[found.strategy]
        if before is None or after is None:
            continue
        known += 1
        runs_before, runs_after = runs_before + _runs(before), runs_after + _runs(after)
        cost = (one.per_rebalance_usd or 0.0) * MONTH_MS / DAY_MS
        usd_before, usd_after = usd_before + cost * _runs(before), usd_after + cost * _runs(after)
    return PlanCost(
        before_usd_month=round(usd_before, 2),
        after_usd_month=round(usd_after, 2),
        before_runs_day=round(runs_before, 4),
        after_runs_day=round(runs_after, 4),
        portfolios_known=known,
        portfolios=len(priced),
    )


def _before(live: Live, record: Record | None) -> int | None:
    """Return the interval in force, :data:`STANDS_STILL` where nothing runs, ``None`` where it is not known."""
    # Imported here, because the offline check of the files prices intervals too, and has no live side.
    from reconciler.core.live import Status
    from reconciler.core.schedule import known_interval

    if live.status is Status.ACTIVE:
        return known_interval(live, record).value
    stands_still = live.status in (Status.PAUSED, Status.INACTIVE, Status.ARCHIVED, Status.NO_SCHEDULE)
    return STANDS_STILL if stands_still else None


def _after(change: Change) -> int | None:
    """Return the interval that a change leaves behind; an update always names one (:mod:`reconciler.core.wanted`)."""
    if change.verb is Verb.PAUSE:
        return STANDS_STILL
    return change.after.interval_ms if change.after.interval_ms is not None else change.cadence_ms


def _runs(interval_ms: int) -> float:
    """Return runs a day."""
    return DAY_MS / interval_ms if interval_ms else 0.0
