"""The strategies' part of a plan: decide about each cadence, count what it reaches, name where it comes from.

In: declared, live and recorded strategies, keyed by id, how many portfolios each reaches, and a plan. Out: the plan
with changes and blocks of strategies, each sorted by id. Fails closed: a cadence that is not documented is blocked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

from reconciler.core.decide import Unverified
from reconciler.core.guards import check_reach
from reconciler.core.live import Provenance
from reconciler.core.plan import Cause
from reconciler.core.strategy import (
    Cadence,
    StrategyBlock,
    StrategyBlocked,
    StrategyChange,
    StrategyDecision,
    StrategyLive,
    StrategyRisk,
    StrategyStatus,
    StrategyUnchanged,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import PortfolioId
    from reconciler.core.intent import Address
    from reconciler.core.limits import Guards
    from reconciler.core.plan import Plan
    from reconciler.core.strategy import StrategyDesired, StrategyId


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategies:
    """Everything a plan needs to know of the selected strategies, keyed by id.

    ``live`` lacks what nobody read. ``recorded`` are the cadences of our last confirmed writes. ``reach`` counts
    enrolled portfolios, and ``running`` the active ones among them; both lack what could not be counted. ``on_mainnet``
    names a portfolio on ETH mainnet of each strategy that is known to have one: enrolled as read, and declared on that
    chain. ``since`` holds the tokens of the last writes that the journal knew before the first read, by address.
    ``names`` are the strategies' names, as far as they are known.
    """

    desired: Mapping[StrategyId, StrategyDesired]
    live: Mapping[StrategyId, StrategyLive]
    recorded: Mapping[StrategyId, Cadence]
    reach: Mapping[StrategyId, int]
    running: Mapping[StrategyId, int] = field(default_factory=dict)
    on_mainnet: Mapping[StrategyId, PortfolioId] = field(default_factory=dict)
    since: Mapping[Address, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def decide_strategy(
    desired: StrategyDesired,
    live: StrategyLive,
    recorded: Cadence | None = None,
    *,
    reach: int | None = None,
    unverified: Unverified = Unverified.WRITE,
) -> StrategyDecision:
    """Return what to do about one strategy. ``recorded`` stands in where the service shows no schedule (§4.7)."""
    match live.status:
        case StrategyStatus.FOUND:
            return _when_known(desired, live.cadence, Provenance.READ, reach)
        case StrategyStatus.UNKNOWN:
            if live.word:
                detail = f"Glider reports the cadence {live.word!r}, which this version does not know"
                return _block(desired, live, StrategyBlock.UNKNOWN_CADENCE, detail)
            if recorded is not None:
                return _when_known(desired, recorded, Provenance.RECORDED, reach)
            return _when_unknown(desired, live, reach, unverified)
        case StrategyStatus.NOT_FOUND:
            detail = "Glider has no such strategy, or it is not yours; check the id, or remove it from the files"
            return _block(desired, live, StrategyBlock.NOT_FOUND, detail)
        case StrategyStatus.UNREADABLE:
            detail = f"reading failed: {live.failure}" if live.failure else "reading failed"
            return _block(desired, live, StrategyBlock.READ_FAILED, detail)
        case StrategyStatus.NOT_READ:
            detail = "the live file does not hold it; make one that does with `reconciler status --out FILE`"
            return _block(desired, live, StrategyBlock.NOT_READ, detail)
        case _:
            assert_never(live.status)


def _when_known(
    desired: StrategyDesired, cadence: Cadence | None, provenance: Provenance, reach: int | None
) -> StrategyDecision:
    if cadence is desired.schedule:
        return StrategyUnchanged()
    return _change(desired, cadence, provenance, reach)


def _when_unknown(
    desired: StrategyDesired, live: StrategyLive, reach: int | None, unverified: Unverified
) -> StrategyDecision:
    match unverified:
        case Unverified.WRITE:
            return _change(desired, None, Provenance.NONE, reach)
        case Unverified.SKIP:
            return StrategyUnchanged()
        case Unverified.FAIL:
            detail = "the live schedule can't be known, and unverified fields fail"
            return _block(desired, live, StrategyBlock.UNVERIFIED, detail)
        case _:
            assert_never(unverified)


def _change(
    desired: StrategyDesired, before: Cadence | None, provenance: Provenance, reach: int | None
) -> StrategyChange:
    risks = [StrategyRisk.REACH_UNKNOWN if reach is None else StrategyRisk.REACHES_PORTFOLIOS]
    if before is None:
        risks.append(StrategyRisk.UNVERIFIED_WRITE)
    elif desired.schedule.rank < before.rank:
        risks.append(StrategyRisk.MORE_RUNS)
    return StrategyChange(
        id=desired.id,
        before=before,
        after=desired.schedule,
        reach=reach,
        risks=tuple(risks),
        provenance=provenance,
        name=desired.name,
        source=desired.origin,
    )


def _block(desired: StrategyDesired, live: StrategyLive, reason: StrategyBlock, detail: str) -> StrategyBlocked:
    return StrategyBlocked(
        id=desired.id,
        reason=reason,
        detail=detail,
        status=live.status,
        failure=live.failure.kind.value if live.failure else None,
        name=desired.name,
        source=desired.origin,
    )


def with_strategies(
    plan: Plan, strategies: Strategies, *, unverified: Unverified, guards: Guards | None, managed: int
) -> Plan:
    """Return the plan with what is to be done about the strategies, and over the guard where they reach too many.

    ``managed`` is the size of the whole declared fleet of portfolios, of which the guard may be a share.
    """
    changes: list[StrategyChange] = []
    blocked: list[StrategyBlocked] = []
    no_op = 0
    for strategy in sorted(strategies.desired):
        decision = decide_strategy(
            strategies.desired[strategy],
            strategies.live.get(strategy) or StrategyLive(id=strategy, status=StrategyStatus.NOT_READ),
            strategies.recorded.get(strategy),
            reach=strategies.reach.get(strategy),
            unverified=unverified,
        )
        match _within_minimum(decision, strategies.on_mainnet.get(strategy)):
            case StrategyChange() as change:
                since, running = strategies.since.get(change.address), strategies.running.get(strategy)
                changes.append(replace(change, since=since, running=running))
            case StrategyBlocked() as block:
                blocked.append(block)
            case StrategyUnchanged():
                no_op += 1
            case never:
                assert_never(never)
    excess = check_reach(changes, guards, managed=managed) if guards is not None else ()
    return replace(
        plan,
        strategies=tuple(changes),
        blocked_strategies=tuple(blocked),
        strategies_no_op=no_op,
        over=(*plan.over, *excess),
    )


def _within_minimum(decision: StrategyDecision, on_mainnet: PortfolioId | None) -> StrategyDecision:
    """Block a cadence that Glider is taken to refuse: hourly, with a portfolio on ETH mainnet (API facts §6)."""
    if not isinstance(decision, StrategyChange) or decision.after is not Cadence.HOURLY or on_mainnet is None:
        return decision
    return StrategyBlocked(
        id=decision.id,
        reason=StrategyBlock.BELOW_MAINNET_MINIMUM,
        detail=f"hourly is below the minimum of 24h on ETH mainnet, where its portfolio {on_mainnet} is; "
        "declare daily, weekly or monthly",
        status=StrategyStatus.UNKNOWN if decision.before is None else StrategyStatus.FOUND,
        name=decision.name,
        source=decision.source,
    )


def with_strategy_names(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Return the plan with the names of strategies that it lacks; ``names`` are keyed by a strategy's id."""
    if not (plan.strategies or plan.blocked_strategies or plan.moved):
        return plan
    return replace(
        plan,
        strategies=tuple(replace(one, name=one.name or names.get(one.id)) for one in plan.strategies),
        blocked_strategies=tuple(replace(one, name=one.name or names.get(one.id)) for one in plan.blocked_strategies),
        moved=tuple(
            replace(
                one,
                declared_name=one.declared_name or names.get(one.declared),
                live_name=names.get(one.live, one.live_name),
            )
            for one in plan.moved
        ),
    )


def with_strategy_causes(
    plan: Plan, base: Mapping[StrategyId, StrategyDesired], recorded: Mapping[StrategyId, Cadence]
) -> Plan:
    """Return the plan with a cause on every change of a strategy; ``base`` is what a base revision declares."""
    return replace(
        plan,
        strategies=tuple(
            replace(change, cause=_cause_of(change, base.get(change.id), recorded.get(change.id)))
            for change in plan.strategies
        ),
    )


def _cause_of(change: StrategyChange, base: StrategyDesired | None, recorded: Cadence | None) -> Cause:
    """Return where one change comes from, by the rules that portfolios have (:mod:`reconciler.core.cause`)."""
    if base is None:
        return Cause.BRANCH
    if base.schedule is change.after:
        return Cause.DRIFT if recorded is base.schedule else Cause.PENDING
    return Cause.BRANCH if change.before in (None, base.schedule) else Cause.BOTH
