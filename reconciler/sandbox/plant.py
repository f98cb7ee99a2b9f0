"""Turns the portfolios and strategies of a seed into those of the simulator, with the history that they should have.

In: the values of a seed, and when it is loaded. Out: values of the two models. Pure; times are UTC epoch milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.sandbox.enrolled import INTERVALS_MS, Enrolled, Strategy
from reconciler.sandbox.model import AutomationState, Course, PastRun, owner_address
from reconciler.sandbox.portfolio import Grid, Portfolio
from reconciler.sandbox.seed import DEFAULT_AGE_MS, Owner

if TYPE_CHECKING:
    from reconciler.sandbox.seed import SeedPortfolio, SeedStrategy


def plant(seed: SeedPortfolio, now_ms: int) -> Portfolio:
    """Return the v1 portfolio of a seed loaded at ``now_ms``: it has run until then, whatever its state is."""
    started = now_ms - seed.age_ms
    stopped = seed.state in (AutomationState.PAUSED, AutomationState.ARCHIVED)
    portfolio = Portfolio(
        id=seed.id,
        name=seed.name,
        chain=seed.chain,
        word=seed.word,
        state=AutomationState.ACTIVE,
        grid=Grid(anchor_ms=started, interval_ms=seed.interval_ms, offset_ms=seed.offset_ms),
        schedules=1,
        pause_reason=seed.pause_reason,
        paused_ms=now_ms if stopped else None,
        runs=0,
        recent=(),
        settled_ms=started,
        created_ms=started,
        updated_ms=now_ms,
        threshold=seed.threshold,
        calendar=seed.calendar,
        value_usd=seed.value_usd,
        gas_used=seed.gas_used,
        stalled_ms=_stalled(seed, now_ms),
    )
    if seed.state is AutomationState.INACTIVE:
        return replace(portfolio, state=seed.state, grid=None, schedules=0, settled_ms=now_ms)
    ran = portfolio.settle(now_ms).ended(Course(seed.last_result.value))
    return replace(ran, state=seed.state)


def plant_enrolled(seed: SeedPortfolio, strategy: SeedStrategy, now_ms: int, *, instance: str) -> Enrolled:
    """Return the v2 portfolio of a seed loaded at ``now_ms``, first due one interval after it was enrolled."""
    enrolled_ms = now_ms - seed.age_ms
    state = AutomationState.INACTIVE if seed.state is AutomationState.ERROR else seed.state
    frequency = strategy.frequency
    scheduled = frequency is not None and state is not AutomationState.INACTIVE
    enrolled = Enrolled(
        id=seed.id,
        name=seed.name,
        chain=seed.chain,
        word=seed.word,
        owner=seed.owner or f"eip155:0:{owner_address(instance, seed.id)}",
        strategy=strategy.id,
        state=AutomationState.ACTIVE if scheduled else state,
        next_due_ms=enrolled_ms + INTERVALS_MS[frequency] if frequency and scheduled else None,
        empty=seed.empty,
        operations=0,
        past=(),
        created_ms=enrolled_ms,
        updated_ms=enrolled_ms,
        stalled_ms=_stalled(seed, now_ms),
    )
    ran = enrolled.settle(now_ms, frequency)
    newest = tuple(PastRun(run.at_ms, Course(seed.last_result.value)) for run in ran.past[:1])
    return replace(ran, state=state, past=newest + ran.past[1:])


def _stalled(seed: SeedPortfolio, now_ms: int) -> int | None:
    return now_ms - seed.stalled_ms if seed.stalled_ms is not None else None


def plant_strategy(seed: SeedStrategy, now_ms: int) -> Strategy:
    """Return the strategy of a seed loaded at ``now_ms``; all are equally old."""
    return Strategy(
        id=seed.id,
        name=seed.name or seed.id,
        cadence=seed.frequency,
        own=seed.owner is Owner.OWN,
        version=1,
        created_ms=now_ms - DEFAULT_AGE_MS,
        updated_ms=now_ms - DEFAULT_AGE_MS,
    )
