"""Glider's v1 REST API as a :class:`~reconciler.api.table.Table`: its paths and bodies, and what its answers mean.

API facts §1.1, §1.2, §3.1, §4.1 to §4.4, §5.1. Strict about the few things a decision hangs on: a status must be text,
and an answer must be about the portfolio that was asked for. Knows no retry and no HTTP; decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from reconciler.api.table import (
    LONGEST_ID,
    Families,
    ReadCall,
    Route,
    Table,
    WriteCall,
    data_of,
    interval_of,
    lower,
    malformed,
    moment_of,
    number_of,
    rebalance_id,
    require_same,
    required_data,
    required_run_status,
    run_at,
    run_error,
    run_status,
    text_of,
)
from reconciler.core.codec import LARGEST_AMOUNT, failure_facts
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.guards import MAX_INTERVAL_MS
from reconciler.core.intent import Call
from reconciler.core.model import Live, Paths, Signs, Status
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import PortfolioFacts, Rebalance, RebalanceStatus, RecentRebalances
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.api.table import Fields
    from reconciler.core.intent import Intent
    from reconciler.core.model import PortfolioId

_STATUS: Final = {
    status.value: status for status in (Status.ACTIVE, Status.PAUSED, Status.INACTIVE, Status.ARCHIVED, Status.ERROR)
}
_SAYS_TOO_LITTLE: Final = frozenset({None, "API_000", "API_200", "PORTFOLIO_NOT_FOUND"})
"""Codes of a 404 that don't tell what was not found, or tell that it was the portfolio (API facts §2.4)."""
_NO_SCHEDULE: Final = "A portfolio without a schedule is only run with --skip-schedule-validation."
_SCHEDULE_PLACES: Final = ("schedule", "scheduleConfiguration", "interval")
_SCHEDULE_KEYS: Final = frozenset({*_SCHEDULE_PLACES, "intervals", "intervalMs", "every", "offset", "offsetMs"})
_NOTHING: Final[dict[str, object]] = {}
_RESULT_PLACES: Final = ("lastResult", "lastRebalance", "lastExecution", "result")
_SIGN_KEYS: Final = frozenset({"valueUsd", "template", "templateData", "tradingSettings", *_RESULT_PLACES})
_MOST_ACTIONS: Final = 100
_BAD_RESULTS: Final = frozenset({"failure", "failed", "error", "reverted"})
_HASH: Final = "transactionHash"
_LONGEST_HASH: Final = 512
_LONGEST_UNITS: Final = 15
_MOST_LISTED: Final = 100
_MOST_SETTINGS: Final = 20
_DEEPEST_SETTING: Final = 3
_LONGEST_SETTING: Final = 64
_THRESHOLD: Final = "threshold"
_TRADING: Final = {_THRESHOLD: ("triggerPercentage", " %"), "calendar": ("frequency", "")}
"""Where each documented type of trading settings keeps its one value, and the unit of that (API facts §7a)."""


def live_of(portfolio: PortfolioId, payload: Fields) -> Live:
    """Return what a status answer (V1.6) says of ``portfolio``.

    Raises :class:`ApiError` (``MALFORMED``) for an answer without a status word or about another portfolio.
    """
    data = required_data(portfolio, payload)
    word = data.get("status")
    if not isinstance(word, str):
        raise malformed("the answer holds no status word")
    found = data.get("details")
    details: Fields = found if isinstance(found, dict) else _NOTHING
    status, shown = _status(word, data.get("hasAutomation"), details.get("paused"))
    interval_ms, offset_ms = _schedule(data, details)
    runs = details.get("totalExecutions")
    return Live(
        id=portfolio,
        status=status,
        word=shown,
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        schedule_id=_schedule_id(data),
        pause_reason=text_of(details.get("pauseReason")),
        next_run_ms=moment_of(details.get("nextScheduledExecution")),
        scheduled_ms=_scheduled(details.get("recentActions")),
        runs=runs if type(runs) is int and 0 <= runs < 10**12 else None,
        signs=_signs_beside(data, details),
    )


def confirmation_of(portfolio: PortfolioId, payload: Fields) -> Confirmation:
    """Return what the answer of a write confirms, whichever write it was; its status word is never looked at.

    The shape of a resume's answer is not documented, so nothing is required. Raises :class:`ApiError`
    (``MALFORMED``) for an answer about another portfolio: what was done then is unknown.
    """
    data = data_of(payload)
    if data is None:
        return Confirmation()
    require_same(portfolio, data.get("portfolioId"))
    every, offset = _pair(data.get("newInterval"))
    if every is None:
        every, offset = number_of(data.get("intervalMs")), number_of(data.get("offsetMs"))
    if every is None:
        every, offset = _pair(data.get("interval"))
    return Confirmation(
        interval_ms=every,
        offset_ms=offset,
        schedule_id=_schedule_id(data),
        previous_interval_ms=_pair(data.get("previousInterval"))[0],
    )


def _status(word: str, has_automation: object, paused: object) -> tuple[Status, str]:
    """Return the status, and the word to show. An answer that contradicts itself is ``UNKNOWN`` and blocks.

    ``hasAutomation: false`` proves inactive only beside the word ``inactive``: Glider's filter of that name means
    "automation enabled", so a paused portfolio may carry it, and to read that as inactive would start what somebody
    paused.
    """
    status = _STATUS.get(lower(word), Status.UNKNOWN)
    shown = status.value if status is not Status.UNKNOWN else harmless(word, longest=LONGEST_ID)
    if status in (Status.ACTIVE, Status.PAUSED) and has_automation is False:
        return Status.UNKNOWN, f"{shown}, although hasAutomation is false"
    if status is Status.ACTIVE and paused is True:
        return Status.UNKNOWN, "active, although details.paused is true"
    if status is Status.PAUSED and paused is False:
        return Status.UNKNOWN, "paused, although details.paused is false"
    return status, shown


def _without_status(portfolio: PortfolioId, facts: PortfolioFacts, said: ApiError) -> Live:
    """Return what to make of a portfolio whose status answers 404 although the portfolio itself (V1.9) is there.

    With any other code of Glider's, the 404 is about the automation: ``INACTIVE``, with the service's words in
    ``failure``. Raises :class:`ApiError` if the code says too little.
    """
    if said.code in _SAYS_TOO_LITTLE:
        # A gateway may have answered, or the service contradicts itself: nobody knows whether the portfolio runs.
        raise ApiError(
            FailureKind.MALFORMED,
            f"the portfolio is there, and its status is not found: {said.summary}",
            operation=f"portfolio {portfolio}",
            **failure_facts(said),
        )
    status = Status.ARCHIVED if facts.archived else Status.INACTIVE
    return Live(id=portfolio, status=status, word=status.value, failure=said)


def _schedule(data: Fields, details: Fields) -> tuple[int | None, int | None]:
    """Return interval and offset if the answer carries them, which v1 does not document (API facts §4.3).

    Places that contradict each other, and numbers that can't be milliseconds of an interval, are not read at all. A
    value that is not read counts as unverified; a misread one could wrongly count as the same.
    """
    if _SCHEDULE_KEYS.isdisjoint(data) and _SCHEDULE_KEYS.isdisjoint(details):
        return None, None  # every documented answer ends here
    intervals: set[int | None] = set()
    offsets: set[int | None] = set()
    for place, is_schedule in _places(data, details):
        every = {interval_of(place[key]) for key in ("interval", "intervalMs", "every") if _is_number(place.get(key))}
        intervals |= every
        # A bare "offset" beside no interval may as well be the offset of a page.
        if (is_schedule or every) and _is_number(place.get("offset")):
            offsets.add(number_of(place["offset"]))
        if _is_number(place.get("offsetMs")):
            offsets.add(number_of(place["offsetMs"]))
    interval = intervals.pop() if len(intervals) == 1 else None
    offset = offsets.pop() if len(offsets) == 1 else None
    if offset is not None and offset >= (interval or MAX_INTERVAL_MS):
        offset = None
    return interval, offset


def _places(data: Fields, details: Fields) -> Iterator[tuple[Fields, bool]]:
    """Yield every object that may hold interval and offset, and whether it can only be a schedule."""
    for outer in (data, details):
        yield outer, False
        yield from _within(outer, levels=2)


def _within(outer: Fields, *, levels: int) -> Iterator[tuple[Fields, bool]]:
    for key in _SCHEDULE_PLACES:
        inner = outer.get(key)
        if isinstance(inner, dict):
            yield inner, True
            if levels > 1:
                yield from _within(inner, levels=levels - 1)
    several = outer.get("intervals")
    for inner in several if isinstance(several, list) else ():
        if isinstance(inner, dict):
            yield inner, True


def _pair(value: object) -> tuple[int | None, int | None]:
    """Return interval and offset of ``{every, offset}``, or of a bare number."""
    if isinstance(value, dict):
        return number_of(value.get("every")), number_of(value.get("offset"))
    return number_of(value), None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _schedule_id(data: Fields) -> str | None:
    # A start answers `rebalanceScheduleId`, a pause and an update `scheduleId`: the same thing (API facts §1.2).
    found = data.get("rebalanceScheduleId") or data.get("scheduleId")
    return harmless(found, longest=LONGEST_ID) if isinstance(found, str) else None


def _scheduled(actions: object) -> tuple[int, ...]:
    if not isinstance(actions, list) or not actions:
        return ()
    moments = [moment_of(action.get("scheduledAt")) for action in actions[:_MOST_ACTIONS] if isinstance(action, dict)]
    return tuple(sorted((moment for moment in moments if moment is not None), reverse=True))


def recent_of(portfolio: PortfolioId, payload: Fields) -> RecentRebalances:
    """Return the workflows of the list (V1.7), newest first; entries without a usable id are left out."""
    data = required_data(portfolio, payload)
    details = data.get("details")
    listed = data.get("recentWorkflows")
    found = [_listed(entry) for entry in (listed[:_MOST_LISTED] if isinstance(listed, list) else ())]
    # Stable, so that the service's order stays where times are missing.
    newest = sorted((one for one in found if one is not None), key=lambda one: -(one.begun_ms or 0))
    next_run = details.get("nextScheduledExecution") if isinstance(details, dict) else None
    return RecentRebalances(rebalances=tuple(newest), next_run_ms=moment_of(next_run))


def _listed(entry: object) -> Rebalance | None:
    workflow = rebalance_id(entry.get("workflowId")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or workflow is None:
        return None
    word = entry.get("status")
    status, shown = run_status(word if isinstance(word, str) else "")
    return Rebalance(
        id=workflow,
        status=status,
        word=shown,
        scheduled_ms=moment_of(entry.get("scheduledAt")),
        started_ms=moment_of(entry.get("startedAt")),
    )


def workflow_of(portfolio: PortfolioId, rebalance: str, payload: Fields) -> Rebalance:
    """Return one execution (V1.8). Raises :class:`ApiError` (``MALFORMED``) for one without a status word.

    A completed workflow counts as failed if it has an error, or if its free-form result says so: a workflow can
    complete although the rebalance in it failed (API facts §1.2).
    """
    data = required_data(portfolio, payload)
    status, word = required_run_status(data.get("status"))
    error = run_error(data.get("error"))
    places = tuple(_objects(data.get("result")))
    if status is RebalanceStatus.COMPLETED and (error or any(map(_failed, places))):
        status, word = RebalanceStatus.FAILED, "completed, but its result says that it failed"
    hashes = (place.get(_HASH) for place in places)
    transaction = next((found for found in hashes if isinstance(found, str)), "")
    return Rebalance(
        id=rebalance,
        status=status,
        word=word,
        started_ms=moment_of(data.get("startTime")),
        ended_ms=moment_of(data.get("closeTime")),
        error=error,
        transaction=harmless(transaction, longest=_LONGEST_HASH) if transaction else None,
        gas_used=_gas_of(places),
    )


def _gas_of(places: Iterable[Fields]) -> str | None:
    """Return the units of gas in a free-form result, given as a number or as text; ``None`` if there are none."""
    texts = (str(place.get("gasUsed")) for place in places)
    return next((t for t in texts if t.isascii() and t.isdecimal() and len(t) <= _LONGEST_UNITS), None)


def _failed(place: Fields) -> bool:
    """Whether a part of a free-form result says that it failed. If it does not say so, it did not fail."""
    words = (place.get("status"), place.get("executionResult"))
    return place.get("success") is False or any(isinstance(w, str) and w.lower() in _BAD_RESULTS for w in words)


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


def facts_of(portfolio: PortfolioId, payload: Fields) -> PortfolioFacts:
    """Return what the portfolio answer (V1.9) says. Only part of it is documented, so nothing in it is required.

    Raises :class:`ApiError` (``MALFORMED``) for an answer about another portfolio.
    """
    data = data_of(payload) or {}
    require_same(portfolio, data.get("id"))
    archived = data.get("isArchived")
    return PortfolioFacts(
        name=text_of(data.get("name")),
        signs=_signs(data),
        archived=archived if isinstance(archived, bool) else None,
        trading=_trading(data),
    )


def _signs_beside(data: Fields, details: Fields) -> Signs | None:
    """Return what a status answer says besides the automation, ``None`` if nothing. The API reference shows no such
    thing, and the guide mentions the last result without an example (API facts §4.3)."""
    if _SIGN_KEYS.isdisjoint(data) and _SIGN_KEYS.isdisjoint(details):
        return None
    results = (outer.get(key) for outer in (details, data) for key in _RESULT_PLACES)
    gas = _gas_of(place for result in results for place in _objects(result))
    return replace(_signs({**data, **details}), gas_used=None if gas is None else int(gas))


def _signs(data: Fields) -> Signs:
    settings = _trading_settings(data)
    kind = settings.get("type")
    at_drift = isinstance(kind, str) and lower(kind) == _THRESHOLD
    return Signs(
        value_usd=_amount(data.get("valueUsd")),
        trigger_percent=_amount(settings.get(_TRADING[_THRESHOLD][0])) if at_drift else None,
    )


def _amount(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_AMOUNT:
        return None
    return float(value)


def _trading(data: Fields) -> tuple[tuple[str, str], ...]:
    """Return the trading settings as names and texts, sorted; none where the answer carries none."""
    return tuple(sorted(_documented(_trading_settings(data))))[:_MOST_SETTINGS]


def _trading_settings(data: Fields) -> Fields:
    """Return the trading settings, empty where there are none.

    They are documented inside the portfolio's template, which goes by two names (API facts §7a). They are also looked
    for beside it: they are free-form and only shown, so taking them from the wrong place does no harm.
    """
    for place in (data.get("template"), data.get("templateData"), data):
        settings = place.get("tradingSettings") if isinstance(place, dict) else None
        if isinstance(settings, dict) and settings:
            return settings
    return _NOTHING


def _documented(settings: Fields) -> Iterator[tuple[str, str]]:
    """Yield ``threshold`` with its percentage or ``calendar`` with its frequency, and all others by their names."""
    kind = settings.get("type")
    word = lower(kind) if isinstance(kind, str) else ""
    key, unit = _TRADING.get(word, ("", ""))
    value = settings.get(key)
    rest = settings
    if key and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield word, harmless(f"{value}{unit}", longest=_LONGEST_SETTING)
        rest = {name: inner for name, inner in settings.items() if name not in ("type", key)}
    yield from _settings(rest, "", _DEEPEST_SETTING)


def _settings(value: object, name: str, levels: int) -> Iterator[tuple[str, str]]:
    """Yield the leaves of a free-form object as dotted names and texts."""
    if isinstance(value, dict) and levels:
        for key, inner in list(value.items())[:_MOST_SETTINGS]:
            yield from _settings(inner, f"{name}.{key}" if name else str(key), levels - 1)
    elif name:
        text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
        yield harmless(name, longest=_LONGEST_SETTING), harmless(text, longest=_LONGEST_SETTING)


def _interval(intent: Intent) -> Fields:
    offset = {} if intent.offset_ms is None else {"offset": intent.offset_ms}
    return {"every": intent.interval_ms, **offset}


def _reason(intent: Intent) -> Fields:
    return {"reason": intent.reason} if intent.reason else {}


def _start_of_reference(intent: Intent) -> Fields:
    # It can't carry an offset (API facts §4.2), and Glider may ignore an interval in the wrong shape. So whoever sends
    # it compares the confirmed values with the wanted ones.
    return {
        "runRebalanceImmediately": intent.run_on_start,
        "initializeScheduleAutomatically": True,
        "interval": intent.interval_ms,
    }


def _start_of_guide(intent: Intent) -> Fields:
    return {"runRebalanceImmediately": intent.run_on_start, "interval": _interval(intent)}


def _two_routes(
    name: str, body: Callable[[Intent], Fields], guides: Callable[[Intent], Fields] | None = None
) -> tuple[Route, Route]:
    """Return the reference's route and the guide's of a write (API facts §4.1), in the order of the families."""
    return Route(f"rebalance/schedule/{name}", body), Route(name, guides or body)


CALLS_OF_V1: Final = Table(
    word="v1",
    folder="/v1/portfolio/",
    noun="workflow",
    status=ReadCall("automation/status", live_of),
    without_status=_without_status,
    writes={
        Call.START: WriteCall("start", _two_routes("start", _start_of_reference, _start_of_guide), confirmation_of),
        Call.PAUSE: WriteCall("pause", _two_routes("pause", _reason), confirmation_of),
        Call.RESUME: WriteCall("resume", _two_routes("resume", _reason), confirmation_of),
        Call.UPDATE_SCHEDULE: WriteCall(
            "update-schedule",
            (Route("update-schedule-interval", lambda intent: {"interval": _interval(intent)}),),
            confirmation_of,
        ),
        Call.REBALANCE: WriteCall(
            "trigger",
            _two_routes("trigger", lambda intent: {"skipScheduleValidation": intent.skip_schedule_validation}),
            run_at("rebalanceId"),  # which is the `workflowId` of every other answer
            cools_down=True,
            hint=lambda intent: "" if intent.skip_schedule_validation else _NO_SCHEDULE,
        ),
    },
    look=ReadCall("rebalance/status/{}", workflow_of),
    recent=ReadCall("rebalance/status?limit={}", recent_of),
    no_runs=frozenset({400, 404}),
    facts=ReadCall("", facts_of),
    families=Families(
        owners=("the API reference's", "the guide's"),
        settings=(Paths.REFERENCE, Paths.GUIDE),
        mixed="the service mixes the paths of guide and API reference; leave service.paths: auto",
    ),
)
