"""What a plan does to how often portfolios run and to what that costs: before and after it.

In: desired and live portfolios, our records and a plan. Out: :class:`PlanRuns` (runs a day of everything that the plan
changes, derived from the plan alone, so that a saved one tells the same) and
:class:`~reconciler.core.plan.PlanCost` (US dollars in 30 days). Glider publishes no price: a cost is known only where
the files declare one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct

from reconciler.core.evidence import known_interval, runs_per_day
from reconciler.core.model import Status, StrategyId, Verb
from reconciler.core.plan import PlanCost
from reconciler.core.text import DAY_MS, WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.change import Change
    from reconciler.core.model import Cadence, Desired, Live, PortfolioId, Record
    from reconciler.core.plan import Plan

MONTH_MS: Final = 30 * DAY_MS
"""A month of costs: 30 days, so that every month costs the same."""
STANDS_STILL: Final = 0
"""Stands in for an interval where nothing runs."""


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
    cadences = {change.of_strategy: WORDS.get(change.after.cadence or "") for change in plan.cadences}
    usd_before = usd_after = runs_before = runs_after = 0.0
    known = 0
    for one in priced:
        found = live[one.id]
        before = _before(found, records.get(one.id))
        change = changes.get(one.id)
        after = before if change is None else _after(change)
        if after != STANDS_STILL and found.strategy is not None and StrategyId(found.strategy) in cadences:
            after = cadences[StrategyId(found.strategy)]
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
    if live.status is Status.ACTIVE:
        return known_interval(live, record).value
    stands_still = live.status in (Status.PAUSED, Status.INACTIVE, Status.ARCHIVED, Status.NO_SCHEDULE)
    return STANDS_STILL if stands_still else None


def _after(change: Change) -> int | None:
    """Return the interval that a change leaves behind; an update always names one."""
    if change.verb is Verb.PAUSE:
        return STANDS_STILL
    return change.after.interval_ms if change.after.interval_ms is not None else change.cadence_ms


def _runs(interval_ms: int) -> float:
    """Return runs a day."""
    return DAY_MS / interval_ms if interval_ms else 0.0


class PlanRuns(Struct, frozen=True, kw_only=True):
    """Runs a day of what a plan changes. ``portfolios`` are counted on both sides.

    ``portfolios_unknown`` are not, because an interval is not known; nor are the portfolios of ``strategies_unknown``,
    because nobody could count them.
    """

    before_runs_day: float
    after_runs_day: float
    portfolios: int
    portfolios_unknown: int
    strategies_unknown: int


def runs_a_day(change: Change, cadence: Cadence | None) -> float | None:
    """Return how often all portfolios that a strategy's change reaches run by one of its two cadences, if known."""
    if change.running is None or cadence is None:
        return None
    return round(change.running * cadence.runs_a_day, 4)


def runs_of(plan: Plan) -> PlanRuns | None:
    """Return the runs a day of everything that the plan changes; ``None`` where it changes nothing.

    A strategy's new cadence counts for every active portfolio that is enrolled in it, declared or not.
    """
    if not plan.changes:
        return None
    after = {change.of_strategy: change.after.cadence for change in plan.cadences}
    sides = [(1, _of_portfolio(change, after)) for change in plan.portfolios]
    # A portfolio that the plan pauses is counted as itself, and not once more with its strategy.
    paused = Counter(change.strategy for change in plan.portfolios if change.verb is Verb.PAUSE)
    strategies_unknown = 0
    for change in plan.cadences:
        if change.running is None:
            strategies_unknown += 1
            continue
        count = max(0, change.running - paused[change.of_strategy])
        sides.append((count, (_a_day(change.before.cadence), _a_day(change.after.cadence))))
    known = [(count, before, after) for count, (before, after) in sides if before is not None and after is not None]
    return PlanRuns(
        before_runs_day=round(sum(count * before for count, before, _ in known), 4),
        after_runs_day=round(sum(count * after for count, _, after in known), 4),
        portfolios=sum(count for count, _, _ in known),
        portfolios_unknown=sum(count for count, _ in sides) - sum(count for count, _, _ in known),
        strategies_unknown=strategies_unknown,
    )


def _of_portfolio(
    change: Change, cadences: Mapping[StrategyId | None, Cadence | None]
) -> tuple[float | None, float | None]:
    """Return the runs a day of one portfolio before and after its change."""
    known, wanted = _rate(change.before.interval_ms), _rate(change.after.interval_ms)
    if not change.api.can.owns_schedule:
        known = wanted = _rate(change.cadence_ms)
        if change.strategy is not None and StrategyId(change.strategy) in cadences:
            wanted = _a_day(cadences[StrategyId(change.strategy)])
    match change.verb:
        case Verb.START | Verb.RESUME:
            return 0.0, wanted
        case Verb.PAUSE:
            return known, 0.0
        case Verb.UPDATE:
            return known, wanted
        case _:
            assert_never(change.verb)


def _rate(interval_ms: int | None) -> float | None:
    return runs_per_day(interval_ms) if interval_ms is not None else None


def _a_day(cadence: Cadence | None) -> float | None:
    return cadence.runs_a_day if cadence is not None else None
