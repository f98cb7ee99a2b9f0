"""Does a change still mean what was reviewed? A change, and what is live now, compared before and after the write.

Pure: values in, values out. ``before`` and ``after`` of the change pin both ends; what can't be known pins nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from reconciler.core.desired import ApiVersion, RunState
from reconciler.core.live import Record, Status
from reconciler.core.marker import is_marked, paused_by_us
from reconciler.core.plan import ChangeReason
from reconciler.core.schedule import applies, known_interval, known_offset
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from reconciler.core.live import Live
    from reconciler.core.plan import Change
    from reconciler.core.ports import Confirmation


class Standing(Enum):
    """Where the portfolio stands, compared with both ends of its change."""

    BEFORE = "before"
    AFTER = "after"
    ELSEWHERE = "elsewhere"


def standing(change: Change, live: Live, record: Record | None) -> Standing:
    """Compare what is live with both ends of the change; ``after`` wins where both fit."""
    interval, offset = known_interval(live, record).value, known_offset(live, record).value
    after, before = change.after, change.before
    if live.status is after.state:
        settled = not change.writes_schedule or (interval == after.interval_ms and after.offset_ms in (None, offset))
        if settled:
            return Standing.AFTER
    same = (
        live.status is before.state
        and _agree(interval, before.interval_ms)
        and _agree(offset, before.offset_ms)
        and (change.verb is not Verb.RESUME or _same_pause(change, live, record))
    )
    return Standing.BEFORE if same else Standing.ELSEWHERE


def what_moved(change: Change, live: Live) -> str:
    """Say for people why a change is stale."""
    if live.status is not change.before.state:
        return (
            f"it was {change.before.state.value} when planned, now it is {live.word or live.status.value}; plan again"
        )
    # On v2 the pause is all of a paused portfolio that can have moved.
    if live.pause_reason != change.pause_reason or change.api is ApiVersion.V2:
        return "it was paused anew since the plan was made; plan again"
    return "its schedule moved since the plan was made; plan again"


def _same_pause(change: Change, live: Live, record: Record | None) -> bool:
    """Whether the pause in force is the one that was reviewed; a new one by somebody else must not be lifted."""
    # v2 keeps no reason, so there the id is all that tells a pause: one that went missing pins nothing any more.
    if live.pause_reason != change.pause_reason or (
        change.api is not ApiVersion.V1 and live.schedule_id != change.pause_id
    ):
        return False
    return change.reason is ChangeReason.HOLD_OVERRIDDEN or paused_by_us(live, record, change.api)


def _agree(now: int | None, then: int | None) -> bool:
    return now is None or then is None or now == then


def holds(change: Change, live: Live) -> bool:
    """Whether a read after the write shows what was wanted: the state, and the schedule as far as it can be read."""
    after = change.after
    if live.status is not after.state:
        return False
    if not change.writes_schedule:
        return True
    return _agree(live.interval_ms, after.interval_ms) and _agree(live.offset_ms, after.offset_ms)


def confirms(change: Change, confirmation: Confirmation) -> bool:
    """Whether the answer of a write confirms the wanted interval, and the offset where one is wanted."""
    after = change.after
    return confirmation.interval_ms == after.interval_ms and after.offset_ms in (None, confirmation.offset_ms)


def record_of(live: Live, *, previous: Record | None, confirmation: Confirmation | None, now_ms: int) -> Record:
    """Return what to remember after a change that holds.

    ``confirmation`` is the answer that confirmed the schedule, ``None`` where the change wrote none; then what was
    recorded before still stands, as long as it speaks of the schedule that is live.
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
