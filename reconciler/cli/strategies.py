"""The strategies' way into a plan, for the commands that make one: read cadences, count what a change would reach.

In: options, a loaded configuration, an open service. Out: what :mod:`reconciler.core.strategyplan` needs, or nothing
where no strategy is selected, so a fleet without strategies never pays for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.cli.wiring import make_selection
from reconciler.core.selection import select_strategies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.decide import Unverified
    from reconciler.core.fleet import Fleet, PortfolioList
    from reconciler.core.livefile import LiveFile
    from reconciler.core.plan import Plan
    from reconciler.core.ports import Memory
    from reconciler.core.strategy import Cadence, StrategyDesired, StrategyId, StrategyLive
    from reconciler.core.strategyplan import Strategies


async def read_strategies(
    options: Mapping[str, Any], configuration: Configuration, service: Service, fleet: Fleet, memory: Memory
) -> Strategies | None:
    """Read every selected strategy; ``None`` where there is none. ``memory`` is the journal's.

    Enrolled portfolios are counted only for a strategy that would change: in the list that ``fleet`` holds, else in one
    read for it. Raises :class:`~reconciler.core.errors.ApiError` when the key is refused.
    """
    desired = select_strategies(configuration.strategies, make_selection(options))
    if not desired:
        return None
    live = await read_cadences_of(desired, options, service)
    changing = _changing(desired, live, memory.cadences)
    listed = fleet.listed
    if changing and listed is None:
        listed = await service.api.v2.list_portfolios()
    return _gathered(configuration, fleet, desired, live, memory, _reach(changing, listed))


def saved_strategies(
    options: Mapping[str, Any], configuration: Configuration, found: LiveFile, fleet: Fleet
) -> Strategies | None:
    """Return the selected strategies as a live file holds them; ``None`` where there is none.

    One that it does not hold is blocked. Enrolled portfolios are counted in its list.
    """
    desired = select_strategies(configuration.strategies, make_selection(options))
    if not desired:
        return None
    live = {strategy: found.strategies[strategy] for strategy in desired if strategy in found.strategies}
    changing = _changing(desired, live, found.cadences)
    return _gathered(configuration, fleet, desired, live, memory_in(found), _reach(changing, found.listed))


def memory_in(found: LiveFile) -> Memory:
    """Return what the journal knew when a live file was made, as far as the file holds it."""
    from reconciler.core.ports import Memory

    return Memory(exists=True, records=found.records, cadences=found.cadences, triggers=found.triggers)


async def read_cadences_of(
    desired: Mapping[StrategyId, StrategyDesired], options: Mapping[str, Any], service: Service
) -> Mapping[StrategyId, StrategyLive]:
    """Read these strategies. Raises :class:`~reconciler.core.errors.ApiError` when the key is refused."""
    from reconciler.api.strategies import GliderStrategies
    from reconciler.api.strategies import read_strategies as read_all

    return await read_all(GliderStrategies(service.api.transport), desired, parallelism=options["parallelism"])


def _changing(
    desired: Mapping[StrategyId, StrategyDesired],
    live: Mapping[StrategyId, StrategyLive],
    recorded: Mapping[StrategyId, Cadence],
) -> list[StrategyId]:
    from reconciler.core.strategy import StrategyChange
    from reconciler.core.strategyplan import decide_strategy

    return [
        strategy
        for strategy, one in live.items()
        if isinstance(decide_strategy(desired[strategy], one, recorded.get(strategy)), StrategyChange)
    ]


def _reach(changing: Iterable[StrategyId], listed: PortfolioList | None) -> dict[StrategyId, int]:
    """Return how many portfolios of the list are enrolled in each; it lacks what can't be counted."""
    if listed is None:
        return {}
    counted = {strategy: listed.enrolled(strategy) for strategy in changing}
    return {strategy: count for strategy, count in counted.items() if count is not None}


def _gathered(
    configuration: Configuration,
    fleet: Fleet,
    desired: Mapping[StrategyId, StrategyDesired],
    live: Mapping[StrategyId, StrategyLive],
    memory: Memory,
    reach: Mapping[StrategyId, int],
) -> Strategies:
    from reconciler.config.rules import ETHEREUM
    from reconciler.core.strategy import StrategyId
    from reconciler.core.strategyplan import Strategies

    on_mainnet = {
        StrategyId(one.strategy): portfolio
        for portfolio, one in fleet.live.items()
        if one.strategy is not None and configuration.desired[portfolio].chain in ETHEREUM
    }
    return Strategies(
        desired=desired,
        live=live,
        recorded=memory.cadences,
        reach=reach,
        on_mainnet=on_mainnet,
        since=memory.since,
    )


def with_selected(
    plan: Plan,
    strategies: Strategies | None,
    configuration: Configuration,
    *,
    unverified: Unverified,
    base: Mapping[StrategyId, StrategyDesired] | None,
) -> Plan:
    """Return the plan with the strategies' part, and with causes where there is a base to compare with."""
    if strategies is None:
        return plan
    from reconciler.core.strategyplan import with_strategies, with_strategy_causes

    plan = with_strategies(
        plan, strategies, unverified=unverified, guards=configuration.guards, managed=len(configuration.desired)
    )
    return plan if base is None else with_strategy_causes(plan, base, strategies.recorded)
