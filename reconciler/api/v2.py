"""Glider's v2 REST API as a :class:`~reconciler.api.table.Table`: its paths and bodies, and what its answers mean.

A portfolio's read, start and stop, the list of all portfolios, operations, and the cadences of strategies. API facts
§1.3, §1.4, §2.6, §3.2, §4.7, §7. Of a portfolio only its id is required, and a status word where there is a schedule.
Knows no retry and no HTTP; decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from reconciler.api.table import (
    LONGEST_ID,
    ListCall,
    ListPage,
    ReadCall,
    Route,
    StrategyCalls,
    Table,
    WriteCall,
    data_of,
    interval_of,
    lower,
    malformed,
    moment_of,
    require_same,
    required_data,
    required_run_status,
    run_at,
    run_error,
    text_of,
)
from reconciler.core.codec import iso
from reconciler.core.errors import ApiError
from reconciler.core.evidence import pause_id
from reconciler.core.intent import Call
from reconciler.core.model import Cadence, Live, PortfolioId, Status, StrategyLive, StrategyStatus, is_id
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import Rebalance, RebalanceStatus
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from reconciler.api.table import Fields
    from reconciler.core.intent import Intent
    from reconciler.core.model import StrategyId

PAGE_SIZE: Final = 200
"""Rows of one page, the most that the service gives (API facts §2.6)."""

_STATUS: Final = {status.value: status for status in (Status.ACTIVE, Status.PAUSED)}
_CADENCES: Final = {cadence.value: cadence for cadence in Cadence}
_INTERVAL: Final = "interval"
_LONGEST_CURSOR: Final = 4096
_LONGEST_WORD: Final = 60


def live_of_v2(portfolio: PortfolioId, payload: Fields) -> Live:
    """Return what a portfolio's detail (V2.2) says of ``portfolio``.

    Raises :class:`ApiError` (``MALFORMED``) for an answer about no portfolio or another one, or without a status word
    in its schedule.
    """
    return _live(portfolio, _detail(portfolio, payload))


def confirmation_of_v2(portfolio: PortfolioId, payload: Fields) -> Confirmation:
    """Return what the answer of a start or stop confirms: nothing but itself. The read after it shows what holds.

    Raises :class:`ApiError` (``MALFORMED``) for an answer about no portfolio or another one.
    """
    _detail(portfolio, payload)
    return Confirmation()


def _detail(portfolio: PortfolioId, payload: Fields) -> Fields:
    data = data_of(payload)
    if data is None or not isinstance(data.get("portfolioId"), str):
        raise malformed("the answer names no portfolio")
    require_same(portfolio, data["portfolioId"])
    return data


def _live(portfolio: PortfolioId, data: Fields) -> Live:
    name, strategy = text_of(data.get("portfolioName")), text_of(data.get("strategyId"))
    strategy_name = text_of(data.get("strategyName"))
    schedule = data.get("schedule")
    if schedule is None:
        return Live(id=portfolio, status=Status.NO_SCHEDULE, name=name, strategy=strategy, strategy_name=strategy_name)
    word = schedule.get("status") if isinstance(schedule, dict) else None
    if not isinstance(schedule, dict) or not isinstance(word, str):
        raise malformed("the schedule holds no status word")
    status = _STATUS.get(lower(word), Status.UNKNOWN)
    due_ms = moment_of(schedule.get("nextDueAt"))
    last_ms = moment_of(schedule.get("lastRebalanceAt"))
    return Live(
        id=portfolio,
        status=status,
        word=status.value if status is not Status.UNKNOWN else harmless(word, longest=LONGEST_ID),
        interval_ms=interval_of(schedule.get("intervalMs")),
        # While a portfolio is paused, the time is left over from before the pause, and no run comes (API facts §1.3).
        next_run_ms=due_ms if status is Status.ACTIVE else None,
        schedule_id=pause_id(iso(due_ms)) if status is Status.PAUSED and due_ms is not None else None,
        scheduled_ms=(last_ms,) if last_ms is not None else (),
        name=name,
        strategy=strategy,
        strategy_name=strategy_name,
    )


def page_of(payload: Fields) -> ListPage:
    """Return one page of the list of portfolios (V2.1). Raises :class:`ApiError` (``MALFORMED``) for an answer that
    holds no list."""
    data = data_of(payload)
    found = data.get("portfolios") if data is not None else None
    if data is None or not isinstance(found, list):
        raise malformed("the answer holds no list of portfolios")
    # It is documented to stand beside `data`; a client has seen it inside (API facts §4.7).
    holder = payload if "nextCursor" in payload else data
    cursor = holder.get("nextCursor")
    if cursor is not None and not (isinstance(cursor, str) and len(cursor) <= _LONGEST_CURSOR):
        raise malformed("what the answer names as its cursor can't be one")
    return ListPage(
        rows=found,
        cursor=cursor or None,  # an empty text means the end of the list, as null does
        says_end="nextCursor" in holder,
    )


def row_of(entry: object) -> Live | None:
    """Return what a row of the list says; one whose schedule can't be understood is ``UNREADABLE`` with its error.

    ``None`` for one that names no portfolio: it can't be a declared one.
    """
    name = entry.get("portfolioId") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or not is_id(name):
        return None
    portfolio = PortfolioId(name)
    try:
        return _live(portfolio, entry)
    except ApiError as error:
        return Live(
            id=portfolio,
            status=Status.UNREADABLE,
            failure=error,
            name=text_of(entry.get("portfolioName")),
            strategy=text_of(entry.get("strategyId")),
            strategy_name=text_of(entry.get("strategyName")),
        )


def _page_path(cursor: str | None) -> str:
    # Without any filter, because one by status would also hide portfolios without a schedule (API facts §7).
    more = f"&cursor={quote(cursor, safe='')}" if cursor is not None else ""
    return f"/v2/portfolios?limit={PAGE_SIZE}{more}"


def operation_of(portfolio: PortfolioId, rebalance: str, payload: Fields) -> Rebalance:
    """Return one operation (V2.6). Raises :class:`ApiError` (``MALFORMED``) for one without a state."""
    data = required_data(portfolio, payload)
    status, word = required_run_status(data.get("state"))
    ended_ms = moment_of(data.get("finishedAt"))
    if ended_ms is None and status in (RebalanceStatus.COMPLETED, RebalanceStatus.FAILED, RebalanceStatus.CANCELLED):
        ended_ms = moment_of(data.get("updatedAt"))  # `finishedAt` is not documented (API facts §1.4)
    return Rebalance(
        id=rebalance,
        status=status,
        word=word,
        started_ms=moment_of(data.get("createdAt")),
        ended_ms=ended_ms,
        error=run_error(data.get("error")),
    )


def strategy_live_of(strategy: StrategyId, payload: Fields) -> StrategyLive:
    """Return what an answer about a strategy's schedule (V2.7, V2.8) says.

    If there is no schedule, or one without a frequency, it is ``UNKNOWN``, which is no drift (API facts §4.7). With a
    type or a frequency that is not documented it is ``UNKNOWN`` with that word. Raises :class:`ApiError`
    (``MALFORMED``) for an answer of any other shape.
    """
    data = payload.get("data")
    if data is not None and not isinstance(data, dict):
        raise malformed("the answer holds no schedule of a strategy")
    kind, frequency = (data.get("type"), data.get("frequency")) if data is not None else (None, None)
    for word in (kind, frequency):
        if word is not None and not isinstance(word, str):
            raise malformed("the schedule's type and frequency are no text")
    if isinstance(kind, str) and lower(kind) != _INTERVAL:
        return _unknown(strategy, f"{kind} {frequency}" if frequency else kind)
    if frequency is None:
        return _unknown(strategy, "")
    cadence = _CADENCES.get(lower(str(frequency)))
    if cadence is None:
        return _unknown(strategy, str(frequency))
    return StrategyLive(id=strategy, status=StrategyStatus.FOUND, cadence=cadence)


def _unknown(strategy: StrategyId, word: str) -> StrategyLive:
    return StrategyLive(id=strategy, status=StrategyStatus.UNKNOWN, word=harmless(word, longest=_LONGEST_WORD))


def _no_body(_: Intent) -> Fields:
    return {}


CALLS_OF_V2: Final = Table(
    word="v2",
    folder="/v2/portfolios/",
    noun="operation",
    status=ReadCall("", live_of_v2),
    writes={
        Call.PAUSE: WriteCall("pause", (Route("stop", _no_body),), confirmation_of_v2),  # takes no reason (V2.4)
        # Makes a rebalance due at once (V2.3).
        Call.RESUME: WriteCall("resume", (Route("start", _no_body),), confirmation_of_v2),
        # Where one is in flight, its id is answered (V2.5).
        Call.REBALANCE: WriteCall("rebalance", (Route("rebalance", _no_body),), run_at("operationId"), cools_down=True),
    },
    lacks={
        Call.START: "it has its schedule from its strategy, and can only be resumed",
        Call.UPDATE_SCHEDULE: "its cadence belongs to its strategy",
    },
    look=ReadCall("operations/{}", operation_of),
    listing=ListCall(path=_page_path, size=PAGE_SIZE, page=page_of, row=row_of),
    strategies=StrategyCalls(
        path="/v2/strategies/{}/schedule",
        body=lambda intent: {"type": _INTERVAL, "frequency": intent.cadence},
        live=strategy_live_of,
    ),
)
