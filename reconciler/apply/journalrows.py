"""Rows of the journal's tables as values: what a word or a number in them means, and which of them are damage.

In: rows as SQLite gives them, and a write to be written down. Out: records, cadences, intents, runs and writes, and the
text that holds what a write wanted. Knows no statement and no connection.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.apply.journalfile import broken
from reconciler.core.desired import ApiVersion, PortfolioId, RunState
from reconciler.core.intent import TOOK_EFFECT, Before, Call, Intent, LastWrite, OpenIntent
from reconciler.core.jsonread import flag, maybe_number, maybe_text, text, texts
from reconciler.core.live import LATEST_MS, Record, Status
from reconciler.core.report import Run, Write
from reconciler.core.strategy import Cadence, StrategyAddress, StrategyId, strategy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from reconciler.core.intent import Address

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
    portfolio, state, interval_ms, offset_ms, schedule_id, confirmed_ms, marked, pause_reason, imported = row
    return PortfolioId(portfolio), Record(
        state=RunState(state),
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        schedule_id=schedule_id,
        confirmed_ms=confirmed_ms,
        marked=bool(marked),
        pause_reason=pause_reason,
        imported=imported,
    )


def wanted_of(intent: Intent) -> str:
    """Return what a write wants and what stood there before, as JSON; the reason that is sent stays out of it."""
    wanted: dict[str, object] = {"interval_ms": intent.interval_ms, "offset_ms": intent.offset_ms}
    if intent.api is not ApiVersion.V1:
        wanted["api"] = intent.api.value
    if intent.cadence is not None:
        wanted["schedule"] = intent.cadence.value
    if intent.run_now:
        wanted["run_now"] = True
    if intent.skip_schedule_validation:
        wanted["skip_schedule_validation"] = True
    if before := {name: value for name, value in asdict(intent.before).items() if value is not None}:
        wanted["before"] = before
    return json.dumps(wanted)


def intent_row(row: Row) -> OpenIntent:
    """Return a write whose outcome is not known, but for the reason that was sent with it."""
    number, portfolio, call, wanted, at_ms, token, step = row
    interval_ms, offset_ms = _schedule(wanted)
    said = json.loads(wanted)
    intent = Intent(
        address=_address(portfolio),
        call=Call(call),
        token=token,
        api=ApiVersion(said.get("api", "v1")),
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        cadence=_cadence(wanted) if call == Call.SET_CADENCE else None,
        run_now=flag(said.get("run_now", False)),
        skip_schedule_validation=flag(said.get("skip_schedule_validation", False)),
        is_step=bool(step),
        before=_before(said.get("before", {})),
    )
    return OpenIntent(number=number, intent=intent, at_ms=_time(at_ms))


def _before(said: object) -> Before:
    if not isinstance(said, dict):
        raise TypeError("what stood there before is not an object")
    status, cadence, runs = said.get("status"), said.get("cadence"), said.get("runs")
    return Before(
        status=None if status is None else Status(status),
        pause_reason=maybe_text(said.get("pause_reason")),
        due_ms=maybe_number(said.get("due_ms")),
        interval_ms=maybe_number(said.get("interval_ms")),
        offset_ms=maybe_number(said.get("offset_ms")),
        cadence=None if cadence is None else Cadence(cadence),
        runs=None if runs is None else texts(runs),
    )


def run_row(row: Row, writes: tuple[Write, ...]) -> Run:
    """Return a run with its writes."""
    number, base_url, fingerprint, tool, process, started_ms, finished_ms, exit_reason, approved, account = row
    return Run(
        number=number,
        base_url=text(base_url),
        fingerprint=text(fingerprint),
        tool=text(tool),
        process=text(process),
        started_ms=_time(started_ms),
        finished_ms=None if finished_ms is None else _time(finished_ms),
        exit_reason=maybe_text(exit_reason),
        writes=writes,
        approved=maybe_text(approved),
        account=maybe_text(account),
    )


def write_row(row: Row) -> tuple[int, Write]:
    """Return a write, and the number of its run before it."""
    run, number, portfolio, call, wanted, intent_ms, outcome, detail, outcome_ms, token = row
    interval_ms, offset_ms = _schedule(wanted)
    return run, Write(
        number=number,
        portfolio=_address(portfolio),
        call=Call(call),
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        intent_ms=_time(intent_ms),
        outcome=maybe_text(outcome),
        detail=maybe_text(detail) or "",
        outcome_ms=None if outcome_ms is None else _time(outcome_ms),
        cadence=_cadence(wanted) if call == Call.SET_CADENCE else None,
        token=text(token),
    )


def cadence_row(row: Row) -> tuple[StrategyId, Cadence | None]:
    """Return a strategy and the cadence that its last write left, ``None`` where that is not known."""
    address, wanted, outcome = row
    strategy = strategy_of(address)
    if strategy is None:
        raise ValueError(f"{address!r} is no strategy")
    return strategy, _cadence(wanted) if outcome in TOOK_EFFECT else None


def since_row(row: Row) -> tuple[Address, str]:
    """Return an address and the token of the last write to it."""
    address, token = row
    return _address(address), token


def last_write_row(row: Row) -> LastWrite:
    """Return a write that counts."""
    token, call, wanted, at_ms, outcome = row
    return LastWrite(
        token=text(token),
        call=Call(call),
        at_ms=_time(at_ms),
        took_effect=outcome in TOOK_EFFECT,
        cadence=_cadence(wanted) if call == Call.SET_CADENCE else None,
    )


def confirmed_at_row(row: Row) -> tuple[PortfolioId, int]:
    """Return a portfolio and when it was confirmed last."""
    portfolio, confirmed_ms = row
    return PortfolioId(portfolio), _time(confirmed_ms)


def trigger_row(row: Row) -> tuple[PortfolioId, int]:
    """Return a portfolio and how many rebalances of it were asked for."""
    portfolio, count = row
    return PortfolioId(portfolio), count


def _address(value: object) -> Address:
    address = text(value)
    return StrategyAddress(address) if strategy_of(address) is not None else PortfolioId(address)


def _cadence(wanted: str) -> Cadence:
    return Cadence(json.loads(wanted)["schedule"])


def _schedule(wanted: str) -> tuple[int | None, int | None]:
    """Return interval and offset of a write's ``wanted``, as :func:`wanted_of` writes it."""
    schedule = json.loads(wanted)
    interval_ms, offset_ms = schedule["interval_ms"], schedule["offset_ms"]
    if any(ms is not None and (not isinstance(ms, int) or ms < 0) for ms in (interval_ms, offset_ms)):
        raise ValueError(f"{wanted!r} is no schedule")
    return interval_ms, offset_ms


def _time(ms: int) -> int:
    if not 0 <= ms <= LATEST_MS:
        raise ValueError(f"{ms} is no time")
    return ms
