"""What ``data`` of a v2 answer means: a portfolio's detail or row to :class:`Live`, a page of the list to its rows.

API facts §1.4, §2.6, §3.2. As tolerant and as strict as :mod:`reconciler.api.codec` is for v1: only ``portfolioId`` is
required, and a status word where there is a schedule. Knows no path, no header and no HTTP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.api.codec import data_of, interval_of, lower, moment_of, same_portfolio
from reconciler.core.desired import PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status
from reconciler.core.marker import pause_id
from reconciler.core.planfile import iso
from reconciler.core.ports import Confirmation
from reconciler.core.text import harmless

if TYPE_CHECKING:
    Fields = dict[str, object]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_STATUS: Final = {status.value: status for status in (Status.ACTIVE, Status.PAUSED)}
_LONGEST_ID: Final = 128
_LONGEST_CURSOR: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the list: its rows in the service's order, and where the next one begins (``None``: at its end).

    ``unreadable`` counts rows that name no portfolio. ``size`` is how many rows there were, those included.
    ``says_end`` is false where the answer leaves out whether more follows.
    """

    rows: tuple[Live, ...]
    cursor: str | None
    unreadable: int
    size: int
    says_end: bool


def live_of_v2(portfolio: PortfolioId, payload: Fields, *, operation: str) -> Live:
    """Return what a portfolio's detail says of ``portfolio``.

    Raises :class:`ApiError` (``MALFORMED``) for an answer about no portfolio or another one, or without a status word
    in its schedule.
    """
    return _live(portfolio, _detail(portfolio, payload, operation), operation)


def confirmation_of_v2(portfolio: PortfolioId, payload: Fields, *, operation: str) -> Confirmation:
    """Return what the answer of a start or stop confirms: next to nothing, since it only tells what its call observed.

    Raises :class:`ApiError` (``MALFORMED``) for an answer about no portfolio or another one.
    """
    schedule = _detail(portfolio, payload, operation).get("schedule")
    if not isinstance(schedule, dict):
        return Confirmation()
    return Confirmation(next_run_ms=moment_of(schedule.get("nextDueAt")))


def page_of(payload: Fields, *, operation: str) -> Page:
    """Return one page of the list of portfolios.

    A row whose schedule can't be understood is ``UNREADABLE`` with its error; one that names no portfolio is only
    counted: it can't be a declared one. Raises :class:`ApiError` (``MALFORMED``) for an answer that is no page.
    """
    data = data_of(payload)
    found = data.get("portfolios") if data is not None else None
    if data is None or not isinstance(found, list):
        raise ApiError(FailureKind.MALFORMED, "the answer holds no list of portfolios", operation=operation)
    rows = [row for row in (_row(entry, operation) for entry in found) if row is not None]
    # Beside `data`, as documented; a client has seen it inside (API facts §4.7).
    holder = payload if "nextCursor" in payload else data
    cursor = holder.get("nextCursor")
    if cursor is not None and not (isinstance(cursor, str) and len(cursor) <= _LONGEST_CURSOR):
        raise ApiError(FailureKind.MALFORMED, "the answer's cursor is none", operation=operation)
    return Page(
        rows=tuple(rows),
        cursor=cursor or None,  # an empty text names no place to go on from: the end, as null is
        unreadable=len(found) - len(rows),
        size=len(found),
        says_end="nextCursor" in holder,
    )


def _detail(portfolio: PortfolioId, payload: Fields, operation: str) -> Fields:
    data = data_of(payload)
    if data is None or not isinstance(data.get("portfolioId"), str):
        raise ApiError(FailureKind.MALFORMED, "the answer names no portfolio", operation=operation)
    same_portfolio(portfolio, data, operation)
    return data


def _row(entry: object, operation: str) -> Live | None:
    name = entry.get("portfolioId") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or not _ID.fullmatch(name):
        return None
    portfolio = PortfolioId(name)
    try:
        return _live(portfolio, entry, operation)
    except ApiError as error:
        return Live(
            id=portfolio,
            status=Status.UNREADABLE,
            failure=error,
            name=_text(entry.get("portfolioName")),
            strategy=_text(entry.get("strategyId")),
            strategy_name=_text(entry.get("strategyName")),
        )


def _live(portfolio: PortfolioId, data: Fields, operation: str) -> Live:
    name, strategy = _text(data.get("portfolioName")), _text(data.get("strategyId"))
    strategy_name = _text(data.get("strategyName"))
    schedule = data.get("schedule")
    if schedule is None:
        return Live(id=portfolio, status=Status.NO_SCHEDULE, name=name, strategy=strategy, strategy_name=strategy_name)
    word = schedule.get("status") if isinstance(schedule, dict) else None
    if not isinstance(schedule, dict) or not isinstance(word, str):
        raise ApiError(FailureKind.MALFORMED, "the schedule holds no status word", operation=operation)
    status = _STATUS.get(lower(word), Status.UNKNOWN)
    due_ms = moment_of(schedule.get("nextDueAt"))
    last_ms = moment_of(schedule.get("lastRebalanceAt"))
    return Live(
        id=portfolio,
        status=status,
        word=status.value if status is not Status.UNKNOWN else harmless(word, longest=_LONGEST_ID),
        interval_ms=interval_of(schedule.get("intervalMs")),
        # Of a paused portfolio it is left over from before: no run comes then (API facts §1.3).
        next_run_ms=due_ms if status is Status.ACTIVE else None,
        schedule_id=pause_id(iso(due_ms)) if status is Status.PAUSED and due_ms is not None else None,
        scheduled_ms=(last_ms,) if last_ms is not None else (),
        name=name,
        strategy=strategy,
        strategy_name=strategy_name,
    )


def _text(value: object) -> str | None:
    return harmless(value) if isinstance(value, str) and value else None
