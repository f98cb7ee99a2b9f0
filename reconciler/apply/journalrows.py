"""Rows of the journal's tables as values: what a word or a number in them means, and which of them are damage.

In: rows as SQLite gives them. Out: records, cadences, intents, runs and writes. Knows no statement and no connection.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.apply.journalfile import broken
from reconciler.core.desired import ApiVersion, PortfolioId, RunState
from reconciler.core.live import LATEST_MS, Record
from reconciler.core.report import Call, Intent, Run, Write
from reconciler.core.strategy import Cadence, StrategyAddress, StrategyId, strategy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Row = tuple[Any, ...]
T = TypeVar("T")


def understood(path: Path, read: Callable[[Row], T], rows: Iterable[Row]) -> tuple[T, ...]:
    """Return the rows as values. A word or number that no journal has is damage that SQLite's own check can't see."""
    try:
        return tuple(read(row) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise broken(path, ValueError(f"it is damaged: {error}")) from error


def record_row(row: Row) -> tuple[PortfolioId, Record]:
    """Return what was confirmed of a portfolio."""
    portfolio, state, interval_ms, offset_ms, schedule_id, confirmed_ms, marked = row
    return PortfolioId(portfolio), Record(
        state=RunState(state),
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        schedule_id=schedule_id,
        confirmed_ms=confirmed_ms,
        marked=bool(marked),
    )


def intent_row(row: Row) -> Intent:
    """Return a write without an outcome."""
    write, portfolio, call, wanted, at_ms = row
    _schedule(wanted)
    return Intent(
        write=write,
        portfolio=_address(portfolio),
        call=Call(call),
        wanted=wanted,
        at_ms=at_ms,
        api=ApiVersion(json.loads(wanted).get("api", "v1")),
    )


def run_row(row: Row, writes: tuple[Write, ...]) -> Run:
    """Return a run with its writes."""
    number, base_url, fingerprint, tool, process, started_ms, finished_ms, exit_reason = row
    return Run(
        number=number,
        base_url=base_url,
        fingerprint=fingerprint,
        tool=tool,
        process=process,
        started_ms=_time(started_ms),
        finished_ms=None if finished_ms is None else _time(finished_ms),
        exit_reason=exit_reason,
        writes=writes,
    )


def write_row(row: Row) -> tuple[int, Write]:
    """Return a write, and the number of its run before it."""
    run, number, portfolio, call, wanted, intent_ms, outcome, detail, outcome_ms = row
    interval_ms, offset_ms = _schedule(wanted)
    return run, Write(
        number=number,
        portfolio=_address(portfolio),
        call=Call(call),
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        intent_ms=_time(intent_ms),
        outcome=outcome,
        detail=detail or "",
        outcome_ms=None if outcome_ms is None else _time(outcome_ms),
        cadence=_cadence(wanted) if call == Call.SET_CADENCE else None,
    )


def cadence_row(row: Row) -> tuple[StrategyId, Cadence | None]:
    """Return a strategy and the cadence that its last write left, ``None`` where that is not known."""
    address, wanted, outcome = row
    strategy = strategy_of(address)
    if strategy is None:
        raise ValueError(f"{address!r} is no strategy")
    return strategy, _cadence(wanted) if outcome in ("confirmed", "seen") else None


def _address(text: str) -> PortfolioId | StrategyAddress:
    return StrategyAddress(text) if strategy_of(text) is not None else PortfolioId(text)


def _cadence(wanted: str) -> Cadence:
    return Cadence(json.loads(wanted)["schedule"])


def _schedule(wanted: str) -> tuple[int | None, int | None]:
    """Return interval and offset of a write's ``wanted``, as :meth:`SqliteJournal.begin` was given it."""
    schedule = json.loads(wanted)
    interval_ms, offset_ms = schedule["interval_ms"], schedule["offset_ms"]
    if any(ms is not None and (not isinstance(ms, int) or ms < 0) for ms in (interval_ms, offset_ms)):
        raise ValueError(f"{wanted!r} is no schedule")
    return interval_ms, offset_ms


def _time(ms: int) -> int:
    if not 0 <= ms <= LATEST_MS:
        raise ValueError(f"{ms} is no time")
    return ms
