"""What ``data`` of an answer means: payload in, :class:`Live` or :class:`Confirmation` out.

API facts §1.2, §3.1, §4.3, §5.1. Tolerant of what is missing or new, strict about the few things a decision hangs on:
the status must be text, and an answer must be about the portfolio that was asked for. A field of another type than
documented counts as missing. Knows no path, no header and no HTTP.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.limits import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.live import LATEST_MS, Live, Status
from reconciler.core.ports import Confirmation
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.desired import PortfolioId

    Fields = dict[str, object]

_STATUS: Final = {
    status.value: status for status in (Status.ACTIVE, Status.PAUSED, Status.INACTIVE, Status.ARCHIVED, Status.ERROR)
}
_SCHEDULE_PLACES: Final = ("schedule", "scheduleConfiguration", "interval")
_SCHEDULE_KEYS: Final = frozenset({*_SCHEDULE_PLACES, "intervals", "intervalMs", "every", "offset", "offsetMs"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_ID: Final = 128
_MOST_RUNS: Final = 100
_NOTHING: Final[dict[str, object]] = {}


def live_of(portfolio: PortfolioId, payload: Fields, *, operation: str) -> Live:
    """Return what a status answer says of ``portfolio``.

    Raises :class:`ApiError` (``MALFORMED``) for an answer without a status word or about another portfolio.
    """
    data = data_of(payload)
    if data is None:
        raise ApiError(FailureKind.MALFORMED, "the answer holds no data object", operation=operation)
    same_portfolio(portfolio, data, operation)
    word = data.get("status")
    if not isinstance(word, str):
        raise ApiError(FailureKind.MALFORMED, "the answer holds no status word", operation=operation)
    found = data.get("details")
    details: Fields = found if isinstance(found, dict) else _NOTHING
    status, shown = _status(word, data.get("hasAutomation"), details.get("paused"))
    interval_ms, offset_ms = _schedule(data, details)
    reason = details.get("pauseReason")
    runs = details.get("totalExecutions")
    return Live(
        id=portfolio,
        status=status,
        word=shown,
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        schedule_id=_schedule_id(data),
        pause_reason=harmless(reason) if isinstance(reason, str) and reason else None,
        next_run_ms=moment_of(details.get("nextScheduledExecution")),
        scheduled_ms=_scheduled(details.get("recentActions")),
        runs=runs if type(runs) is int and 0 <= runs < 10**12 else None,
    )


def confirmation_of(portfolio: PortfolioId, payload: Fields, *, operation: str) -> Confirmation:
    """Return what the answer of a write confirms, whichever write it was; its status word is never looked at.

    The shape of a resume's answer is not documented, so nothing is required. Raises :class:`ApiError`
    (``MALFORMED``) for an answer about another portfolio: what was done then is unknown.
    """
    data = data_of(payload)
    if data is None:
        return Confirmation()
    same_portfolio(portfolio, data, operation)
    every, offset = _pair(data.get("newInterval"))
    if every is None:
        every, offset = _number(data.get("intervalMs")), _number(data.get("offsetMs"))
    if every is None:
        every, offset = _pair(data.get("interval"))
    previous_every, previous_offset = _pair(data.get("previousInterval"))
    return Confirmation(
        interval_ms=every,
        offset_ms=offset,
        schedule_id=_schedule_id(data),
        next_run_ms=moment_of(data.get("nextScheduledRun")),
        previous_interval_ms=previous_every,
        previous_offset_ms=previous_offset,
    )


def data_of(payload: Fields) -> Fields | None:
    """Return what stands inside the envelope; ``None`` where that is no object."""
    data = payload.get("data")
    return data if isinstance(data, dict) else None


def same_portfolio(portfolio: PortfolioId, data: Fields, operation: str) -> None:
    """Raise :class:`ApiError` (``MALFORMED``) for an answer about another portfolio."""
    answered = data.get("portfolioId")
    if answered is not None and answered != portfolio:
        shown = harmless(answered, longest=_LONGEST_ID) if isinstance(answered, str) else "something unreadable"
        raise ApiError(
            FailureKind.MALFORMED,
            f"the answer is about another portfolio: {portfolio} was asked for, {shown} answered",
            operation=operation,
        )


def lower(word: str) -> str:
    """Return a word in the case of the documents, to be looked up among documented words (API facts §7a).

    Only ASCII: beyond it, other letters turn into the ones of a documented word (the Kelvin sign into ``k``).
    """
    return word.lower() if word.isascii() else word


def _status(word: str, has_automation: object, paused: object) -> tuple[Status, str]:
    """Return the status, and the word to show. An answer that contradicts itself is ``UNKNOWN`` and blocks.

    Documented words are compared without case (API facts §7a). ``hasAutomation: false`` proves inactive only beside the
    word ``inactive``: Glider's filter of that name means "automation enabled", so a paused portfolio may carry it, and
    to read that as inactive would start what somebody paused.
    """
    status = _STATUS.get(lower(word), Status.UNKNOWN)
    shown = status.value if status is not Status.UNKNOWN else harmless(word, longest=_LONGEST_ID)
    if status in (Status.ACTIVE, Status.PAUSED) and has_automation is False:
        return Status.UNKNOWN, f"{shown}, although hasAutomation is false"
    if status is Status.ACTIVE and paused is True:
        return Status.UNKNOWN, "active, although details.paused is true"
    if status is Status.PAUSED and paused is False:
        return Status.UNKNOWN, "paused, although details.paused is false"
    return status, shown


def _schedule(data: Fields, details: Fields) -> tuple[int | None, int | None]:
    """Return interval and offset if the answer carries them, which v1 does not document (API facts §4.3).

    Places that contradict each other, and numbers that can't be milliseconds of an interval, are not read at all:
    an unread value is never called "in sync", a misread one would be.
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
            offsets.add(_number(place["offset"]))
        if _is_number(place.get("offsetMs")):
            offsets.add(_number(place["offsetMs"]))
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


def interval_of(value: object) -> int | None:
    """Return the milliseconds of an interval, ``None`` for what can't be one (API facts §4.6)."""
    every = _number(value)
    return every if every is not None and MIN_INTERVAL_MS <= every <= MAX_INTERVAL_MS else None


def _pair(value: object) -> tuple[int | None, int | None]:
    """Return interval and offset of ``{every, offset}``, or of a bare number."""
    if isinstance(value, dict):
        return _number(value.get("every")), _number(value.get("offset"))
    return _number(value), None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> int | None:
    """Return whole milliseconds from 0 up; JSON may spell them ``3600000`` or ``3.6e6``."""
    if type(value) is float and value.is_integer():  # false for infinities
        value = int(value)
    return value if type(value) is int and 0 <= value < 10**15 else None


def _schedule_id(data: Fields) -> str | None:
    # A start answers `rebalanceScheduleId`, a pause and an update `scheduleId`: the same thing (API facts §1.2).
    found = data.get("rebalanceScheduleId") or data.get("scheduleId")
    return harmless(found, longest=_LONGEST_ID) if isinstance(found, str) else None


def _scheduled(actions: object) -> tuple[int, ...]:
    if not isinstance(actions, list) or not actions:
        return ()
    moments = [moment_of(action.get("scheduledAt")) for action in actions[:_MOST_RUNS] if isinstance(action, dict)]
    return tuple(sorted((moment for moment in moments if moment is not None), reverse=True))


def moment_of(value: object) -> int | None:
    """Return the epoch milliseconds of an ISO 8601 time with a zone; a time without one names no moment.

    Nor does one before 1970 or after 9999 in UTC: no run was planned then, and it could not be shown.
    """
    if not isinstance(value, str):
        return None
    try:
        since = datetime.fromisoformat(value) - _EPOCH
    except (ValueError, TypeError, OverflowError):  # TypeError: no zone
        return None
    ms = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
    return ms if 0 <= ms <= LATEST_MS else None
