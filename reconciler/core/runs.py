"""How often a plan lets portfolios run: runs a day before and after, over everything that it changes.

In: a :class:`~reconciler.core.plan.Plan`. Out: :class:`PlanRuns`, derived from the plan alone, so that a saved one
tells the same. A strategy's new cadence counts for every active portfolio that is enrolled in it, declared or not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from reconciler.core.desired import ApiVersion
from reconciler.core.schedule import runs_per_day
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.plan import Change, Plan
    from reconciler.core.strategy import Cadence, StrategyChange


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRuns:
    """Runs a day of what a plan changes. ``portfolios`` are counted on both sides.

    ``portfolios_unknown`` are not, because an interval is not known; nor are the portfolios of ``strategies_unknown``,
    because nobody could count them.
    """

    before_runs_day: float
    after_runs_day: float
    portfolios: int
    portfolios_unknown: int
    strategies_unknown: int


def runs_a_day(change: StrategyChange, cadence: Cadence | None) -> float | None:
    """Return how often all portfolios that a change reaches run by one of its two cadences, ``None`` if not known."""
    if change.running is None or cadence is None:
        return None
    return round(change.running * cadence.runs_a_day, 4)


def runs_of(plan: Plan) -> PlanRuns | None:
    """Return the runs a day of everything that the plan changes; ``None`` where it changes nothing."""
    if not plan.changes and not plan.strategies:
        return None
    strategies: dict[str, StrategyChange] = {change.id: change for change in plan.strategies}
    sides = [(1, _of_portfolio(change, strategies)) for change in plan.changes]
    # A portfolio that the plan pauses is counted as itself, and not once more with its strategy.
    paused = Counter(change.strategy for change in plan.changes if change.verb is Verb.PAUSE)
    strategies_unknown = 0
    for strategy in plan.strategies:
        if strategy.running is None:
            strategies_unknown += 1
            continue
        before = strategy.before.runs_a_day if strategy.before is not None else None
        sides.append((max(0, strategy.running - paused[strategy.id]), (before, strategy.after.runs_a_day)))
    known = [(count, before, after) for count, (before, after) in sides if before is not None and after is not None]
    return PlanRuns(
        before_runs_day=round(sum(count * before for count, before, _ in known), 4),
        after_runs_day=round(sum(count * after for count, _, after in known), 4),
        portfolios=sum(count for count, _, _ in known),
        portfolios_unknown=sum(count for count, _ in sides) - sum(count for count, _, _ in known),
        strategies_unknown=strategies_unknown,
    )


def _of_portfolio(change: Change, strategies: Mapping[str, StrategyChange]) -> tuple[float | None, float | None]:
    """Return the runs a day of one portfolio before and after its change."""
    known, wanted = _rate(change.before.interval_ms), _rate(change.after.interval_ms)
    if change.api is ApiVersion.V2:
        known = wanted = _rate(change.cadence_ms)
        if change.strategy is not None and (strategy := strategies.get(change.strategy)) is not None:
            wanted = strategy.after.runs_a_day
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
