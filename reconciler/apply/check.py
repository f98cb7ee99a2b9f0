"""Whether a change still means what was reviewed: compares it with what is live, before its write and after.

Pure: values in, values out. ``before`` and ``after`` of the change are its two ends; a value that is not known is not
compared.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from reconciler.core.change import ChangeReason
from reconciler.core.evidence import applies, is_marked, known_interval, known_offset, paused_by_us
from reconciler.core.model import Record, RunState, Status, StrategyStatus, Verb
from reconciler.core.text import format_duration

if TYPE_CHECKING:
    from reconciler.core.change import Change
    from reconciler.core.model import Cadence, Live, StrategyLive
    from reconciler.core.ports import Confirmation


class Standing(Enum):
    """Where a portfolio or strategy stands, compared with both ends of its change."""

    BEFORE = "before"
    AFTER = "after"
    ELSEWHERE = "elsewhere"


def standing(change: Change, live: Live, record: Record | None, *, from_files: bool = False) -> Standing:
    """Compare what is live with both ends of the change; if both fit, it is ``AFTER``.

    ``from_files`` says that ``before`` comes from live files, which anybody may have written. Then a value that can't
    be known now confirms nothing, so a change that sends a schedule or resumes needs both to be known and equal.
    """
    interval, offset = known_interval(live, record).value, known_offset(live, record).value
    after, before = change.after, change.before
    if live.status is after.state:
        settled = not change.writes_schedule or (interval == after.interval_ms and after.offset_ms in (None, offset))
        if settled:
            return Standing.AFTER
    borne_out = agree(interval, before.interval_ms) and agree(offset, before.offset_ms)
    if from_files and change.verb in (Verb.UPDATE, Verb.RESUME):
        if change.api.can.owns_schedule:
            borne_out = (interval, offset) == (before.interval_ms, before.offset_ms)
        else:
            borne_out = live.strategy == change.strategy
    same = (
        live.status is before.state
        and borne_out
        and (change.verb is not Verb.RESUME or same_pause(change, live, record))
    )
    return Standing.BEFORE if same else Standing.ELSEWHERE


def strategy_standing(change: Change, live: StrategyLive, recorded: Cadence | None) -> Standing:
    """Compare a strategy with both ends of its change; if both fit, it is ``AFTER``.

    ``recorded`` is our last confirmed cadence; it counts if the service shows no schedule.
    """
    if live.status not in (StrategyStatus.FOUND, StrategyStatus.UNKNOWN) or live.word:
        return Standing.ELSEWHERE
    known = live.cadence or recorded
    if known is change.after.cadence:
        return Standing.AFTER
    # If the plan saw a cadence and now none can be seen, it may be another one by now.
    return Standing.BEFORE if change.before.cadence in (None, known) else Standing.ELSEWHERE


def what_moved(change: Change, live: Live) -> str:
    """Say for people why a change is stale."""
    if live.status is not change.before.state:
        return f"it was {change.before.state} when planned, now it is {live.word or live.status.value}; plan again"
    if not change.api.can.owns_schedule and live.strategy != change.strategy:
        return "it follows another strategy than the plan says; plan again"
    # If a portfolio has no schedule of its own, only its pause can be another one.
    if live.pause_reason != change.pause_reason or not change.api.can.owns_schedule:
        return "it was paused anew since the plan was made; plan again"
    return "its schedule moved since the plan was made; plan again"


def what_moved_of_strategy(change: Change, live: StrategyLive) -> str:
    """Say for people why a strategy's change is stale."""
    was = change.before.cadence or "unknown"
    if live.status is StrategyStatus.NOT_FOUND:
        return f"it was {was} when planned, now Glider has no such strategy of yours; plan again"
    return f"it was {was} when planned, now it is {live.cadence or live.word or 'unknown'}; plan again"


def why_since_differs(planned: str | None, found: str | None, *, known: bool) -> str:
    """Say for people why the last write that the journal knows is not the one that the plan knew of.

    ``known`` says whether the journal has that one, too.
    """
    if planned is not None and not known:
        return "the plan was made with another journal, or with a newer copy of this one; plan again with this one"
    if found is None:
        return "the last write that the plan knew of turned out to have had no effect; plan again"
    return "this journal has a write to it that the plan did not know of; plan again"


def same_pause(change: Change, live: Live, record: Record | None) -> bool:
    """Whether the pause in force is the one that was reviewed; a new one by somebody else must not be lifted."""
    # On an API that keeps no reasons, only the due time tells one pause from another.
    if live.pause_reason != change.pause_reason or (
        not change.api.can.keeps_reason and live.schedule_id != change.pause_id
    ):
        return False
    # A halt's file proves a pause by its due time alone, where no journal knows of it.
    by_due = change.reason is ChangeReason.HALT_LIFTED and change.pause_id is not None
    return by_due or change.reason is ChangeReason.HOLD_OVERRIDDEN or paused_by_us(live, record, change.api)


def schedule_moved(live: Live, *ours: tuple[int | None, int | None]) -> bool:
    """Whether the schedule that a read shows is none of ``ours``, so that somebody else has set it since.

    Each of ``ours`` is an interval and an offset, as far as they are known. If the interval of one is not known, nobody
    can tell, and the answer is false.
    """
    if live.interval_ms is None or any(interval is None for interval, _ in ours):
        return False
    return not any(live.interval_ms == interval and agree(live.offset_ms, offset) for interval, offset in ours)


def agree(now: int | None, then: int | None) -> bool:
    """Whether two values are equal, as far as both are known."""
    return now is None or then is None or now == then


def holds(change: Change, live: Live) -> bool:
    """Whether a read after the write shows what was wanted: the state, and the schedule as far as it can be read."""
    after = change.after
    if live.status is not after.state:
        return False
    if not change.writes_schedule:
        return True
    return agree(live.interval_ms, after.interval_ms) and agree(live.offset_ms, after.offset_ms)


def confirms(change: Change, confirmation: Confirmation) -> bool:
    """Whether the answer of a write confirms the wanted interval, and the offset where one is wanted."""
    after = change.after
    return confirmation.interval_ms == after.interval_ms and after.offset_ms in (None, confirmation.offset_ms)


def describe_schedule(interval_ms: int | None, offset_ms: int | None) -> str:
    """Return a schedule for people: ``24h``, or ``24h with offset 90m``."""
    interval = "no interval" if interval_ms is None else format_duration(interval_ms)
    return interval if offset_ms is None else f"{interval} with offset {format_duration(offset_ms)}"


def record_of(live: Live, *, previous: Record | None, confirmation: Confirmation | None, now_ms: int) -> Record:
    """Return what to remember after a change that holds; ``now_ms`` is by the service's clock.

    ``confirmation`` is the answer that confirmed the schedule, ``None`` if the change wrote no schedule. Then what was
    recorded before is kept, if it is about the schedule that is live.
    """
    if confirmation is not None:
        interval_ms, offset_ms = confirmation.interval_ms, confirmation.offset_ms
    elif previous is not None and applies(previous, live):
        interval_ms, offset_ms = previous.interval_ms, previous.offset_ms
    else:
        interval_ms = offset_ms = None
    return Record(
        state=RunState.PAUSED if live.status is Status.PAUSED else RunState.ACTIVE,
        interval_ms=interval_ms,
        offset_ms=offset_ms,
        schedule_id=live.schedule_id or (confirmation.schedule_id if confirmation else None),
        confirmed_ms=now_ms,
        marked=is_marked(live.pause_reason),
    )
