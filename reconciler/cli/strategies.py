"""The strategies of a plan: read their cadences, and count how many portfolios a change would reach.

In: options, a loaded configuration, an open service. Out: what :mod:`reconciler.core.planner` needs, or nothing if no
strategy is selected, so that a fleet without strategies never pays for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from reconciler.core.fleet import select_strategies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reconciler.cli.options import PlanningOptions, ServiceOptions
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.fleet import Fleet, PortfolioList
    from reconciler.core.livefile import JoinedLive
    from reconciler.core.model import Cadence, PortfolioId, StrategyDesired, StrategyId, StrategyLive, Unverified
    from reconciler.core.plan import Plan
    from reconciler.core.planner import Strategies
    from reconciler.core.ports import Memory

T = TypeVar("T")


async def read_strategies(
    options: PlanningOptions, configuration: Configuration, service: Service, fleet: Fleet, memory: Memory
) -> Strategies | None:
    """Read every selected strategy; ``None`` if none is selected. ``memory`` is what the journal knows.

    Enrolled portfolios are counted only for a strategy that would change: in the list of ``fleet`` if there is one,
    else in a list that is read for this. Raises :class:`~reconciler.core.errors.ApiError` when the key is refused.
    """
    desired = select_strategies(configuration.strategies, options.selection.selection)
    if not desired:
        return None
    live = await read_cadences_of(desired, options.service, service)
    changing = _changing(desired, live, memory.cadences)
    listed = fleet.listed
    if changing and listed is None:
        listed = await service.api.list_portfolios()
    return _gathered(configuration, fleet, desired, live, changing, listed)


def saved_strategies(
    options: PlanningOptions, configuration: Configuration, found: JoinedLive, fleet: Fleet, memory: Memory
) -> Strategies | None:
    """Return the selected strategies as live files hold them; ``None`` if none is selected.

    A strategy that they lack is blocked. Enrolled portfolios are counted in their list.
    """
    desired = select_strategies(configuration.strategies, options.selection.selection)
    if not desired:
        return None
    live = {strategy: found.strategies[strategy] for strategy in desired if strategy in found.strategies}
    changing = _changing(desired, live, memory.cadences)
    return _gathered(configuration, fleet, desired, live, changing, found.listed)


async def read_cadences_of(
    desired: Mapping[StrategyId, StrategyDesired], options: ServiceOptions, service: Service
) -> Mapping[StrategyId, StrategyLive]:
    """Read these strategies. Raises :class:`~reconciler.core.errors.ApiError` when the key is refused."""
    from reconciler.api.fleet import read_cadences as read_all

    return await read_all(service.api, desired, parallelism=options.parallelism)


def _changing(
    desired: Mapping[StrategyId, StrategyDesired],
    live: Mapping[StrategyId, StrategyLive],
    recorded: Mapping[StrategyId, Cadence],
) -> list[StrategyId]:
    from reconciler.core.change import Change
    from reconciler.core.decide import decide_strategy

    return [
        strategy
        for strategy, one in live.items()
        if isinstance(decide_strategy(desired[strategy], one, recorded.get(strategy)), Change)
    ]


def _counted(changing: Iterable[StrategyId], count: Callable[[str], T | None] | None) -> dict[StrategyId, T]:
    """Return what the list tells of the portfolios of each strategy, without those of which it can't tell."""
    counted = {strategy: count(strategy) for strategy in changing} if count is not None else {}
    return {strategy: told for strategy, told in counted.items() if told is not None}


def _gathered(
    configuration: Configuration,
    fleet: Fleet,
    desired: Mapping[StrategyId, StrategyDesired],
    live: Mapping[StrategyId, StrategyLive],
    changing: Sequence[StrategyId],
    listed: PortfolioList | None,
) -> Strategies:
    from reconciler.core.fields import ETHEREUM
    from reconciler.core.model import StrategyId
    from reconciler.core.planner import Strategies

    on_mainnet = {
        StrategyId(one.strategy): portfolio
        for portfolio, one in fleet.live.items()
        if one.strategy is not None and configuration.desired[portfolio].chain in ETHEREUM
    }
    return Strategies(
        desired=desired,
        live=live,
        reach=_counted(changing, listed.enrolled if listed is not None else None),
        running=_counted(changing, listed.running if listed is not None else None),
        enrolled=_counted(changing, listed.enrolment if listed is not None else None),
        on_mainnet=on_mainnet,
        names=_names(configuration, fleet, listed),
        follows=_follows(configuration, fleet, listed),
    )


def _follows(configuration: Configuration, fleet: Fleet, listed: PortfolioList | None) -> dict[PortfolioId, str | None]:
    """Return the strategy of each declared portfolio that has one, ``None`` where nobody can tell which."""
    seen = {**(listed.rows if listed is not None else {}), **fleet.live}
    whole = listed is not None and listed.complete  # then a portfolio that is not in it follows no strategy
    return {
        portfolio: seen[portfolio].strategy if portfolio in seen else None
        for portfolio, one in configuration.desired.items()
        if not one.api.can.owns_schedule and (portfolio in seen or not whole)
    }


def with_selected(
    plan: Plan,
    strategies: Strategies | None,
    configuration: Configuration,
    fleet: Fleet,
    memory: Memory,
    *,
    unverified: Unverified,
) -> Plan:
    """Return the plan with the strategies' part and names."""
    if strategies is None and not plan.moved:
        return plan
    from reconciler.core.planner import with_strategies, with_strategy_names

    if strategies is None:
        return with_strategy_names(plan, _names(configuration, fleet, fleet.listed))
    plan = with_strategies(
        plan,
        strategies,
        memory,
        unverified=unverified,
        guards=configuration.guards,
        managed=len(configuration.desired),
    )
    return with_strategy_names(plan, strategies.names)


def _names(configuration: Configuration, fleet: Fleet, listed: PortfolioList | None) -> dict[str, str]:
    """Return the names of strategies by id: the declared one, else the one that came with an enrolled portfolio."""
    rows = [*(listed.rows.values() if listed is not None else ()), *fleet.live.values()]
    names = {row.strategy: row.strategy_name for row in rows if row.strategy is not None and row.strategy_name}
    names.update((strategy, one.name) for strategy, one in configuration.strategies.items() if one.name is not None)
    return names
