"""From live to desired: what to declare of a portfolio so that a plan right after finds nothing to do.

In: one portfolio as read, our record of it, its name where somebody read one. Out: an :class:`Adopted` that holds only
what is known, or an :class:`Omitted` that says why it can't be declared. Known is what a plan calls so
(:mod:`reconciler.core.schedule`), and left out is what a plan would block. Knows no YAML, no group and no file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.desired import ApiVersion, Desired, RunState
from reconciler.core.limits import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.live import Live, Status
from reconciler.core.marker import without_mark
from reconciler.core.schedule import known_interval, known_offset
from reconciler.core.strategy import (
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    address_of,
    strategy_of,
)
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from reconciler.core.desired import PortfolioId
    from reconciler.core.errors import ApiError
    from reconciler.core.live import Record
    from reconciler.core.schedule import Known

LONGEST_LABEL: Final = 200
"""Characters of a name or reason in the files."""
_PREFIX: Final = "Paused via API:"
"""What the service puts before the reason of a pause that came through its API (API facts §1.2)."""
_STOCK: Final = frozenset({"", "Declared in Git", "Paused via API"})
"""Reasons that tell no more than that somebody or something paused it."""
_NOT_KNOWN: Final = "interval not known: Glider does not return it"


class OmitReason(StrEnum):
    """Why a portfolio is not declared, closed."""

    ARCHIVED = "archived"
    ERROR_STATUS = "error_status"
    NO_SCHEDULE = "no_schedule"
    UNKNOWN_STATUS = "unknown_status"
    NOT_FOUND = "not_found"
    READ_FAILED = "read_failed"
    INHERITS = "inherits"
    """The defaults of the files would give it a schedule that nobody knows it has."""

    @property
    def is_failure(self) -> bool:
        """Whether it stays open what the portfolio is; the others were read, and are nothing to be managed."""
        match self:
            case OmitReason.ARCHIVED | OmitReason.ERROR_STATUS | OmitReason.NO_SCHEDULE:
                return False
            case OmitReason.UNKNOWN_STATUS | OmitReason.NOT_FOUND | OmitReason.READ_FAILED | OmitReason.INHERITS:
                return True
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """One portfolio to declare. ``notes`` say how its schedule is known and what was left out; ours, and harmless."""

    desired: Desired
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Omitted:
    """One portfolio that is left out. ``detail`` is a harmless sentence for people."""

    id: PortfolioId
    api: ApiVersion
    reason: OmitReason
    detail: str
    failure: ApiError | None = None


def adopt(live: Live, record: Record | None, *, api: ApiVersion, name: str | None = None) -> Adopted | Omitted:
    """Return what to declare of one portfolio.

    A running one is ``active``, a paused or inactive one ``paused``: nothing runs in either. Interval and offset are
    declared only where they are known and may be declared. ``name`` is one read apart from ``live`` (API facts §1.1,
    V1.9).
    """
    omitted = _omitted(live, api)
    if omitted is not None:
        return omitted
    state = RunState.ACTIVE if live.status is Status.ACTIVE else RunState.PAUSED
    desired = Desired(
        id=live.id,
        state=state,
        api=api,
        name=label(live.name or name or "", unlike=live.id),
        reason=pause_reason(live.pause_reason) if live.status is Status.PAUSED else None,
    )
    if api is ApiVersion.V2:
        return Adopted(desired=replace(desired, strategy=declarable_strategy(live)))
    if live.status is Status.INACTIVE:
        return Adopted(desired=desired, notes=("inactive: nothing runs",))
    interval, offset = known_interval(live, record), known_offset(live, record)
    interval_ms = _declarable_interval(interval)
    offset_ms = offset.value if interval_ms is not None and 0 <= (offset.value or 0) < interval_ms else None
    scheduled = replace(desired, interval_ms=interval_ms, offset_ms=offset_ms)
    return Adopted(desired=scheduled, notes=_notes(interval_ms, interval, offset_ms, offset))


def declarable_strategy(live: Live) -> StrategyId | None:
    """Return the strategy that a portfolio is enrolled in; ``None`` for none, or an id that files can't hold."""
    return strategy_of(address_of(StrategyId(live.strategy))) if live.strategy is not None else None


def adopt_strategy(live: StrategyLive, *, name: str | None = None) -> StrategyDesired | str:
    """Return what to declare of a strategy, or a harmless sentence that says why nothing (API facts §1.3, §4.7).

    ``name`` is the one that came with a portfolio of it; the answer about a cadence holds none.
    """
    match live.status:
        case StrategyStatus.FOUND if live.cadence is not None:
            return StrategyDesired(id=live.id, schedule=live.cadence, name=label(name or "", unlike=live.id))
        case StrategyStatus.NOT_FOUND:
            return "its cadence is not yours to read or set: it is another tenant's, or gone"
        case StrategyStatus.UNREADABLE:
            return f"its cadence could not be read: {_said(live.failure)}"
        case StrategyStatus.UNKNOWN if live.word:
            return f"its cadence is {harmless(live.word, longest=60)!r}, which this version does not know"
        case StrategyStatus.UNKNOWN | StrategyStatus.FOUND | StrategyStatus.NOT_READ:
            return "it has no cadence that Glider tells of"
        case _:
            assert_never(live.status)


def label(text: str, *, unlike: str = "") -> str | None:
    """Return text from the service as a name or reason of the files.

    ``None`` where nothing visible is left, or no more than ``unlike``: a name that is the id tells nothing.
    """
    kept = harmless(text).strip()  # escapes make it longer, so it is cut behind them
    if not kept or kept == unlike:
        return None
    return kept if len(kept) <= LONGEST_LABEL else kept[: LONGEST_LABEL - 1] + "…"


def pause_reason(stored: str | None) -> str | None:
    """Return a stored reason without the service's prefix and our mark, as ``reason`` of the files.

    A stock phrase is none. The mark is taken out wherever it stands: a declared reason must not look like ours.
    """
    text = (stored or "").strip().removeprefix(_PREFIX)
    text = without_mark(text)
    return None if text in _STOCK else label(text)


def _omitted(live: Live, api: ApiVersion) -> Omitted | None:
    match live.status:
        case Status.ACTIVE | Status.PAUSED:
            return None
        case Status.INACTIVE if api is ApiVersion.V1:
            return None
        case Status.INACTIVE | Status.NO_SCHEDULE:
            reason, detail = OmitReason.NO_SCHEDULE, "Glider keeps no schedule for it: look at its strategy there"
        case Status.ARCHIVED:
            reason, detail = OmitReason.ARCHIVED, "archived"
        case Status.ERROR:
            reason, detail = OmitReason.ERROR_STATUS, "Glider reports the status 'error': look at it there"
        case Status.UNKNOWN:
            word = harmless(live.word, longest=60)
            reason, detail = OmitReason.UNKNOWN_STATUS, f"Glider reports {word!r}, which this version does not know"
        case Status.NOT_FOUND:
            reason, detail = (
                OmitReason.NOT_FOUND,
                f"{api} has no such portfolio, or the key may not see it",
            )
        case Status.UNREADABLE | Status.NOT_READ:
            reason, detail = OmitReason.READ_FAILED, f"could not be read: {_said(live.failure)}"
        case _:
            assert_never(live.status)
    return Omitted(id=live.id, api=api, reason=reason, detail=detail, failure=live.failure)


def _declarable_interval(interval: Known) -> int | None:
    value = interval.value
    return value if value is not None and MIN_INTERVAL_MS <= value <= MAX_INTERVAL_MS else None


def _notes(interval_ms: int | None, interval: Known, offset_ms: int | None, offset: Known) -> tuple[str, ...]:
    if interval_ms is None:
        return (_NOT_KNOWN,) if interval.value is None else ("interval left out: outside of what may be declared",)
    if offset_ms is None:
        return (f"interval {interval.provenance.value}, offset not known",)
    if interval.provenance is offset.provenance:
        return (f"interval and offset {interval.provenance.value}",)
    return (f"interval {interval.provenance.value}, offset {offset.provenance.value}",)


def _said(failure: ApiError | None) -> str:
    return harmless(str(failure), longest=300) if failure is not None else "no answer"
