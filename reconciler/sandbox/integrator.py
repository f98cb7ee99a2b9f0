"""The v2 side of the simulated service without its HTTP: enrolled portfolios, their strategies, manual rebalances.

In: ids, pure actions, and a :class:`~reconciler.sandbox.glider.Glider` for the store and the clock. Out: values with
everything that happened until now. Reading never writes: what became due since is worked out anew each time.
Functions may raise ``Refused`` and ``SandboxError``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.sandbox import ids
from reconciler.sandbox.actions import ETHEREUM, ETHEREUM_MIN_INTERVAL_MS
from reconciler.sandbox.enrolled import (
    Enrolled,
    EnrolledState,
    Frequency,
    ManualRebalance,
    Strategy,
    add_rebalance,
    check_rebalance,
    gone,
    settle_enrolled,
)
from reconciler.sandbox.model import Code, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.sandbox.fleet import Filters
    from reconciler.sandbox.glider import Glider
    from reconciler.sandbox.runs import Course
    from reconciler.sandbox.store import Facts

    EnrolledAction = Callable[[Enrolled, int], Enrolled]


@dataclass(frozen=True, slots=True)
class EnrolledView:
    """An enrolled portfolio with everything that happened to it until ``now_ms``, and its strategy."""

    enrolled: Enrolled
    strategy: Strategy
    now_ms: int
    facts: Facts


def read(glider: Glider, portfolio: str) -> EnrolledView:
    """Return a portfolio as it is now; 404 where it is not there or archived."""
    facts = glider.store.facts()
    now = glider.wall_ms() + facts.clock_offset_ms
    saved = glider.store.fleet.portfolio(portfolio)
    if saved is None or saved.state is EnrolledState.ARCHIVED:
        raise gone()
    strategy = _strategy_of(glider, saved.strategy)
    return EnrolledView(settle_enrolled(saved, now, strategy.frequency), strategy, now, facts)


def change(glider: Glider, portfolio: str, action: EnrolledAction) -> EnrolledView:
    """Carry out one action on a portfolio that is settled until now; return it afterwards."""
    with glider.store.transaction():
        before = read(glider, portfolio)
        after = action(before.enrolled, before.now_ms)
        if after is not before.enrolled:
            glider.store.fleet.save(after)
    return replace(before, enrolled=after)


def page(glider: Glider, filters: Filters, *, after: tuple[int, str] | None, most: int) -> list[EnrolledView]:
    """Return at most ``most`` portfolios that are not archived, newest first, beginning behind ``after``."""
    facts = glider.store.facts()
    now = glider.wall_ms() + facts.clock_offset_ms
    found = glider.store.fleet.page(filters, after=after, most=most)
    strategies = {name: _strategy_of(glider, name) for name in sorted({one.strategy for one in found})}
    return [
        EnrolledView(
            settle_enrolled(one, now, strategies[one.strategy].frequency), strategies[one.strategy], now, facts
        )
        for one in found
    ]


def rebalance(glider: Glider, portfolio: str, course: Course) -> ManualRebalance:
    """Begin a manual rebalance that goes the way of ``course``; return the one in flight where there is one."""
    with glider.store.transaction():
        view = read(glider, portfolio)
        enrolled, pace = view.enrolled, view.facts.settings.pace
        latest = None
        if enrolled.operations:
            latest = glider.store.fleet.operation(
                ids.operation_id(view.facts.instance, enrolled.id, enrolled.operations)
            )
        if latest is not None and not latest.phase(pace, view.now_ms).over:
            return latest
        check_rebalance(enrolled, latest, view.now_ms, pace)
        after = add_rebalance(enrolled, view.now_ms, course)
        name = ids.operation_id(view.facts.instance, enrolled.id, after.operations)
        begun = ManualRebalance(id=name, portfolio=enrolled.id, submitted_ms=view.now_ms, course=course)
        glider.store.fleet.save(after)
        glider.store.fleet.save_operation(begun)
    return begun


def operation(glider: Glider, portfolio: str, name: str) -> tuple[ManualRebalance, EnrolledView]:
    """Return a manual rebalance of this portfolio, and the portfolio; 404 for any other id."""
    view = read(glider, portfolio)
    found = glider.store.fleet.operation(name)
    if found is None or found.portfolio != portfolio:
        raise Refused(404, Code.NOT_FOUND, "Operation not found")
    return found, view


def own_strategy(glider: Glider, strategy: str) -> Strategy:
    """Return a strategy of our own; 404 for one of another tenant as for one that is not there."""
    found = glider.store.fleet.strategy(strategy)
    if found is None or not found.own:
        raise Refused(404, Code.NOT_FOUND, "Strategy not found")
    return found


def set_frequency(glider: Glider, strategy: str, frequency: Frequency) -> Strategy:
    """Set the cadence of a strategy of our own; it reaches every portfolio of it from the next cycle (API facts §1.3).

    What is due stays due when it was; what comes after it keeps to the new cadence.
    """
    with glider.store.transaction():
        found = own_strategy(glider, strategy)
        if found.frequency is frequency:
            return found
        now = glider.now_ms()
        members = glider.store.fleet.members(strategy)
        short = frequency.interval_ms < ETHEREUM_MIN_INTERVAL_MS
        if short and any(one.chain == ETHEREUM for one in members):
            message = f"Ethereum mainnet requires an interval of at least 24h, not {frequency.value}"
            raise Refused(400, Code.ETH_INTERVAL_TOO_SHORT, message)
        # Runs of the old cadence belong to the past and must be in it before there is none to work them out by.
        settled = [settle_enrolled(one, now, found.frequency) for one in members]
        glider.store.fleet.save(*(new for new, old in zip(settled, members, strict=True) if new is not old))
        after = replace(found, frequency=frequency, updated_ms=now)
        glider.store.fleet.save_strategies(after)
    return after


def _strategy_of(glider: Glider, strategy: str) -> Strategy:
    """Return the strategy that a portfolio names; a seed without it is refused, so it is there."""
    found = glider.store.fleet.strategy(strategy)
    if found is None:
        raise glider.store.fleet.statements.damaged(f"the strategy {strategy} is missing")
    return found
