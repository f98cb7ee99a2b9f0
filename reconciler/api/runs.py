"""What answers about rebalances mean: v1's workflows and v2's operations to values of :mod:`reconciler.core.rebalance`.

API facts §1.2, §1.4, §3.1. Tolerant of what is missing or new: only an answer about another portfolio, or one without a
status word, is refused. Documented words are compared without case; any other is shown as it is and never counts as a
success. Knows no path, no header and no HTTP.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from reconciler.api.codec import data_of, lower, moment_of, same_portfolio
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.rebalance import PortfolioFacts, Rebalance, RebalanceStatus, RecentRebalances, Triggered
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.desired import PortfolioId

    Fields = dict[str, object]

_STATUS: Final = {
    # v1 (API facts §3.1). The list says `triggered` of every workflow, also of one that ended long ago.
    "triggered": RebalanceStatus.RUNNING,
    "running": RebalanceStatus.RUNNING,
    "completed": RebalanceStatus.COMPLETED,
    "failed": RebalanceStatus.FAILED,
    "canceled": RebalanceStatus.CANCELLED,
    "terminated": RebalanceStatus.CANCELLED,
    # v2 (API facts §1.3)
    "accepted": RebalanceStatus.RUNNING,
    "retrying": RebalanceStatus.RUNNING,
    "awaiting_user": RebalanceStatus.RUNNING,
    "cancelled": RebalanceStatus.CANCELLED,
}
_BAD_RESULTS: Final = frozenset({"failure", "failed", "error", "reverted"})
_LONGEST_WORD: Final = 64
_LONGEST_ID: Final = 512
_MOST_LISTED: Final = 100
_MOST_SETTINGS: Final = 20
_DEEPEST_SETTING: Final = 3
_HASH: Final = "transactionHash"
_TRADING: Final = {"threshold": ("triggerPercentage", " %"), "calendar": ("frequency", "")}
"""Where each documented type of trading settings keeps its one value, and the unit of that (API facts §7a)."""


def rebalance_id(value: object) -> str | None:
    """Return the id of a rebalance, which is opaque; ``None`` for what can't be one or could not be asked for again."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID or value in (".", ".."):
        return None
    return value if harmless(value, longest=_LONGEST_ID) == value else None


def triggered_of(portfolio: PortfolioId, payload: Fields, key: str, *, operation: str) -> Triggered:
    """Return what the answer of a trigger said; its status word is never looked at.

    ``key`` names the id: ``rebalanceId`` on v1, which is the ``workflowId`` of every other answer, ``operationId`` on
    v2. Raises :class:`ApiError` (``MALFORMED``) for an answer about another portfolio.
    """
    data = data_of(payload)
    if data is None:
        return Triggered(id=None)
    same_portfolio(portfolio, data, operation)
    return Triggered(id=rebalance_id(data.get(key)))


def recent_of(portfolio: PortfolioId, payload: Fields, *, operation: str) -> RecentRebalances:
    """Return the workflows of v1's list, newest first; entries without a usable id are left out."""
    data = _required(portfolio, payload, operation)
    details = data.get("details")
    listed = data.get("recentWorkflows")
    found = [_listed(entry) for entry in (listed[:_MOST_LISTED] if isinstance(listed, list) else ())]
    # Stable, so that the service's order stays where times are missing.
    newest = sorted((one for one in found if one is not None), key=lambda one: -(one.begun_ms or 0))
    next_run = details.get("nextScheduledExecution") if isinstance(details, dict) else None
    return RecentRebalances(rebalances=tuple(newest), next_run_ms=moment_of(next_run))


def workflow_of(portfolio: PortfolioId, rebalance: str, payload: Fields, *, operation: str) -> Rebalance:
    """Return one execution of v1. Raises :class:`ApiError` (``MALFORMED``) for one without a status word.

    What the free-form result or the error contradicts is no success: a workflow can complete, and what it was to do
    fail (API facts §1.2).
    """
    data = _required(portfolio, payload, operation)
    status, word = _status(data.get("status"), operation)
    error = _error(data.get("error"))
    if status is RebalanceStatus.COMPLETED and (error or _failed(data.get("result"))):
        status, word = RebalanceStatus.FAILED, "completed, but its result says that it failed"
    return Rebalance(
        id=rebalance,
        status=status,
        word=word,
        started_ms=moment_of(data.get("startTime")),
        ended_ms=moment_of(data.get("closeTime")),
        error=error,
        transaction=_transaction(data.get("result")),
    )


def operation_of(portfolio: PortfolioId, rebalance: str, payload: Fields, *, operation: str) -> Rebalance:
    """Return one operation of v2. Raises :class:`ApiError` (``MALFORMED``) for one without a state."""
    data = _required(portfolio, payload, operation)
    status, word = _status(data.get("state"), operation)
    ended_ms = moment_of(data.get("finishedAt"))
    if ended_ms is None and status in (RebalanceStatus.COMPLETED, RebalanceStatus.FAILED, RebalanceStatus.CANCELLED):
        ended_ms = moment_of(data.get("updatedAt"))  # `finishedAt` is not documented (API facts §1.4)
    return Rebalance(
        id=rebalance,
        status=status,
        word=word,
        started_ms=moment_of(data.get("createdAt")),
        ended_ms=ended_ms,
        error=_error(data.get("error")),
    )


def facts_of(portfolio: PortfolioId, payload: Fields, *, operation: str) -> PortfolioFacts:
    """Return what v1's portfolio answer says, which is documented in part only (API facts §1.2); nothing is required.

    Raises :class:`ApiError` (``MALFORMED``) for an answer about another portfolio.
    """
    data = data_of(payload) or {}
    same_portfolio(portfolio, {"portfolioId": data.get("id")}, operation)
    name, value, archived = data.get("name"), data.get("valueUsd"), data.get("isArchived")
    return PortfolioFacts(
        name=harmless(name) if isinstance(name, str) and name else None,
        value_usd=_amount(value),
        archived=archived if isinstance(archived, bool) else None,
        trading=_trading(data),
    )


def _trading(data: Fields) -> tuple[tuple[str, str], ...]:
    """Return the trading settings as names and texts, sorted; none where the answer carries none.

    They are documented inside the portfolio's template, which goes by two names (API facts §7a). Beside it counts as a
    place too: free-form as they are, nothing but what is shown hangs on them.
    """
    for place in (data.get("template"), data.get("templateData"), data):
        settings = place.get("tradingSettings") if isinstance(place, dict) else None
        if isinstance(settings, dict) and settings:
            return tuple(sorted(_documented(settings)))[:_MOST_SETTINGS]
    return ()


def _documented(settings: Fields) -> Iterator[tuple[str, str]]:
    """Yield ``threshold`` with its percentage or ``calendar`` with its frequency, and all else by its name."""
    kind = settings.get("type")
    word = lower(kind) if isinstance(kind, str) else ""
    key, unit = _TRADING.get(word, ("", ""))
    value = settings.get(key)
    rest = settings
    if key and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield word, harmless(f"{value}{unit}", longest=_LONGEST_WORD)
        rest = {name: inner for name, inner in settings.items() if name not in ("type", key)}
    yield from _settings(rest, "", _DEEPEST_SETTING)


def _required(portfolio: PortfolioId, payload: Fields, operation: str) -> Fields:
    data = data_of(payload)
    if data is None:
        raise ApiError(FailureKind.MALFORMED, "the answer holds no data object", operation=operation)
    same_portfolio(portfolio, data, operation)
    return data


def _status(word: object, operation: str) -> tuple[RebalanceStatus, str]:
    if not isinstance(word, str) or not word:
        raise ApiError(FailureKind.MALFORMED, "the answer holds no status word", operation=operation)
    return _read_word(word)


def _read_word(word: str) -> tuple[RebalanceStatus, str]:
    """Return what a word means, and how to show it: a documented one as the documents spell it."""
    spelled = lower(word)
    status = _STATUS.get(spelled)
    return (status, spelled) if status is not None else (RebalanceStatus.UNKNOWN, harmless(word, longest=_LONGEST_WORD))


def _listed(entry: object) -> Rebalance | None:
    workflow = rebalance_id(entry.get("workflowId")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or workflow is None:
        return None
    word = entry.get("status")
    status, shown = _read_word(word if isinstance(word, str) else "")
    return Rebalance(
        id=workflow,
        status=status,
        word=shown,
        scheduled_ms=moment_of(entry.get("scheduledAt")),
        started_ms=moment_of(entry.get("startedAt")),
    )


def _error(value: object) -> str | None:
    """Return an error of whatever shape as one line."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("message", "reason", "code") if isinstance(value.get(key), str)), value)
    if value in (None, "", {}, [], False):
        return None
    return harmless(value if isinstance(value, str) else str(value))


def _failed(result: object) -> bool:
    """Whether a free-form result says that it failed; what says nothing of the kind did not."""
    for place in _objects(result):
        words = (place.get("status"), place.get("executionResult"))
        if place.get("success") is False or any(isinstance(w, str) and w.lower() in _BAD_RESULTS for w in words):
            return True
    return False


def _transaction(result: object) -> str | None:
    found = next((place[_HASH] for place in _objects(result) if isinstance(place.get(_HASH), str)), None)
    return harmless(str(found), longest=_LONGEST_ID) if found else None


def _objects(result: object) -> Iterator[Fields]:
    """Yield the result, and the places inside it where clients found more (API facts §1.2)."""
    if not isinstance(result, dict):
        return
    yield result
    inner = result.get("result")
    if isinstance(inner, dict):
        yield inner
        receipts = inner.get("userOpResults")
        yield from (one for one in (receipts if isinstance(receipts, list) else ()) if isinstance(one, dict))


def _amount(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return f"{value:.2f}" if abs(value) < 10**15 else f"{value:.6e}"


def _settings(value: object, name: str, levels: int) -> Iterator[tuple[str, str]]:
    """Yield the leaves of a free-form object as dotted names and texts."""
    if isinstance(value, dict) and levels:
        for key, inner in list(value.items())[:_MOST_SETTINGS]:
            yield from _settings(inner, f"{name}.{key}" if name else str(key), levels - 1)
    elif name:
        text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
        yield harmless(name, longest=_LONGEST_WORD), harmless(text, longest=_LONGEST_WORD)
