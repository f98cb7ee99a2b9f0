"""Whose pause is in force, for people to read: ours, somebody else's, or nobody knows.

In: a portfolio as read, and our record of it. Out: a :class:`PausedBy`. What may be resumed is decided by
:func:`~reconciler.core.marker.paused_by_us` alone; this only tells apart why a pause is not taken for ours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.core.desired import ApiVersion, RunState
from reconciler.core.live import Status
from reconciler.core.marker import due_ms_of, paused_by_us

if TYPE_CHECKING:
    from reconciler.core.live import Live, Record


class PausedBy(StrEnum):
    """Whose pause it is."""

    US = "us"
    OTHERS = "others"
    UNKNOWN = "unknown"
    """Nothing shows that it is ours, and nothing that it is not: no reason is kept, and no record is of this pause."""


def paused_by(live: Live, record: Record | None, api: ApiVersion) -> PausedBy | None:
    """Return whose pause is in force, ``None`` where the portfolio is not paused.

    It is somebody else's where a reason is stored that is not ours, or where our last pause is known not to be the one
    in force: on v2 it left another due time, on v1 the service showed our mark, or a run happened since.
    """
    if live.status is not Status.PAUSED:
        return None
    if paused_by_us(live, record, api):
        return PausedBy.US
    if live.pause_reason:
        return PausedBy.OTHERS
    if record is None or record.state is not RunState.PAUSED or record.imported is not None:
        return (
            PausedBy.UNKNOWN
        )  # what was written after an export is not known, so an imported record disproves nothing
    if api is ApiVersion.V2:
        ours, found = due_ms_of(record.schedule_id), due_ms_of(live.schedule_id)
        return PausedBy.OTHERS if None not in (ours, found) and ours != found else PausedBy.UNKNOWN
    shown = record.marked or record.pause_reason is not None
    ran = any(at > record.confirmed_ms for at in live.scheduled_ms)
    return PausedBy.OTHERS if shown or ran else PausedBy.UNKNOWN
