"""What start, pause, resume, update and trigger do to a portfolio, and when the service refuses them.

Pure: each function takes a portfolio that is settled until ``now_ms`` and returns the changed one, the very same
object when nothing changes, or raises :class:`~reconciler.sandbox.model.Refused`. The service documents hardly any
of the refusals (API facts §3.1); the conservative reading is chosen, and docs/sandbox.md lists every choice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from reconciler.core.text import DAY_MS, HOUR_MS, format_duration
from reconciler.sandbox.grid import Grid
from reconciler.sandbox.model import AutomationState, Code, Portfolio, Refused, run_now
from reconciler.sandbox.runs import Course

MIN_INTERVAL_MS: Final = HOUR_MS
MAX_INTERVAL_MS: Final = 365 * DAY_MS
ETHEREUM: Final = "ethereum"
ETHEREUM_MIN_INTERVAL_MS: Final = DAY_MS
DEFAULT_INTERVAL_MS: Final = 6 * HOUR_MS
"""What a start without a usable interval gets (API facts §6)."""
PAUSE_PREFIX: Final = "Paused via API"


def check_schedule(*, interval_ms: int, offset_ms: int, chain: str | None) -> None:
    """Raise :class:`Refused` (400) for an interval or offset outside the limits of API facts §6."""
    if not MIN_INTERVAL_MS <= interval_ms <= MAX_INTERVAL_MS:
        raise Refused(400, Code.INVALID_REQUEST, "interval.every must be between 3600000 (1 hour) and 1 year")
    if chain == ETHEREUM and interval_ms < ETHEREUM_MIN_INTERVAL_MS:
        wanted = format_duration(interval_ms)
        raise Refused(
            400, Code.ETH_INTERVAL_TOO_SHORT, f"Ethereum mainnet requires an interval of at least 24h, not {wanted}"
        )
    if not 0 <= offset_ms < interval_ms:
        raise Refused(
            400, Code.INVALID_REQUEST, "interval.offset must not be negative and must be below interval.every"
        )


def start(
    portfolio: Portfolio,
    now_ms: int,
    *,
    interval_ms: int,
    offset_ms: int,
    automatic: bool,
    immediately: bool,
    course: Course = Course.COMPLETED,
) -> Portfolio:
    """Make a schedule anchored at ``now_ms``; with ``automatic`` false make none (manual-only).

    ``course`` is how an immediate run goes.
    """
    match portfolio.state:
        case AutomationState.INACTIVE:
            pass
        case AutomationState.ACTIVE | AutomationState.PAUSED:
            raise Refused(409, Code.ALREADY_EXISTS, f"Automation already exists and is {portfolio.state}")
        case AutomationState.ARCHIVED | AutomationState.ERROR:
            raise _refused(portfolio, "started")
        case _:
            assert_never(portfolio.state)
    if automatic:
        check_schedule(interval_ms=interval_ms, offset_ms=offset_ms, chain=portfolio.chain)
        portfolio = replace(
            portfolio,
            state=AutomationState.ACTIVE,
            grid=Grid(anchor_ms=now_ms, interval_ms=interval_ms, offset_ms=offset_ms),
            schedules=portfolio.schedules + 1,
            settled_ms=now_ms,
            updated_ms=now_ms,
        )
    return run_now(portfolio, now_ms, course) if immediately else portfolio


def pause(portfolio: Portfolio, now_ms: int, *, reason: str | None) -> Portfolio:
    """Stop the schedule; a second pause changes nothing and keeps the first reason."""
    match portfolio.state:
        case AutomationState.ACTIVE:
            text = f"{PAUSE_PREFIX}: {reason}" if reason else PAUSE_PREFIX
            return replace(
                portfolio, state=AutomationState.PAUSED, pause_reason=text, paused_ms=now_ms, updated_ms=now_ms
            )
        case AutomationState.PAUSED:
            return portfolio
        case AutomationState.INACTIVE | AutomationState.ARCHIVED | AutomationState.ERROR:
            raise _refused(portfolio, "paused")
        case _:
            assert_never(portfolio.state)


def resume(portfolio: Portfolio, now_ms: int) -> Portfolio:
    """Let the schedule run on, on its old grid; what fell into the pause is not made up for."""
    match portfolio.state:
        case AutomationState.PAUSED:
            return replace(
                portfolio,
                state=AutomationState.ACTIVE,
                pause_reason=None,
                paused_ms=None,
                settled_ms=now_ms,
                updated_ms=now_ms,
            )
        case AutomationState.ACTIVE:
            return portfolio
        case AutomationState.INACTIVE | AutomationState.ARCHIVED | AutomationState.ERROR:
            raise _refused(portfolio, "resumed")
        case _:
            assert_never(portfolio.state)


def update(
    portfolio: Portfolio, now_ms: int, *, interval_ms: int, offset_ms: int, accept_while_paused: bool
) -> Portfolio:
    """Set interval and offset; the grid keeps its anchor and what ran stays as it was."""
    match portfolio.state:
        case AutomationState.ACTIVE:
            pass
        case AutomationState.PAUSED:
            if not accept_while_paused:
                raise _refused(portfolio, "given another interval")
        case AutomationState.INACTIVE | AutomationState.ARCHIVED | AutomationState.ERROR:
            raise _refused(portfolio, "given another interval")
        case _:
            assert_never(portfolio.state)
    check_schedule(interval_ms=interval_ms, offset_ms=offset_ms, chain=portfolio.chain)
    grid = Grid(anchor_ms=grid_of(portfolio).anchor_ms, interval_ms=interval_ms, offset_ms=offset_ms)
    return replace(portfolio, grid=grid, settled_ms=now_ms, updated_ms=now_ms)


def trigger(
    portfolio: Portfolio, now_ms: int, *, skip_validation: bool, course: Course = Course.COMPLETED
) -> Portfolio:
    """Run once now, off the grid. Without an active schedule only when validation is skipped (API facts §1.1, V1.4)."""
    match portfolio.state:
        case AutomationState.ACTIVE:
            return run_now(portfolio, now_ms, course)
        case AutomationState.INACTIVE | AutomationState.PAUSED:
            if not skip_validation:
                raise _refused(portfolio, "triggered")
            return run_now(portfolio, now_ms, course)
        case AutomationState.ARCHIVED | AutomationState.ERROR:
            raise _refused(portfolio, "triggered")
        case _:
            assert_never(portfolio.state)


def grid_of(portfolio: Portfolio) -> Grid:
    """Return the schedule of a portfolio whose state says that it has one."""
    if portfolio.grid is None:
        raise AssertionError(f"{portfolio.id} is {portfolio.state} without a schedule: a fault of the simulator")
    return portfolio.grid


def _refused(portfolio: Portfolio, done: str) -> Refused:
    return Refused(400, Code.UPDATE_FAILED, f"Automation is {portfolio.state} and can't be {done}")
