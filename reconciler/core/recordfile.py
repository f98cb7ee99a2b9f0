"""A record of the journal as a JSON object, as live files and exports of the journal hold it.

In: a :class:`~reconciler.core.live.Record`, or what a file holds of one. Out: the other. Every value that is read has
the type and the bounds of the service's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.desired import RunState
from reconciler.core.jsonread import flag, maybe_text, number_within, text
from reconciler.core.live import LATEST_MS, Record
from reconciler.core.text import LONGEST_TEXT, harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

_HIGHEST: Final = 10**15
_LONGEST: Final = 16 * LONGEST_TEXT
"""Characters of a text that is already harmless: each of the service's may have become an escape of ten."""


def record_document(record: Record) -> dict[str, Any]:
    """Return a record as a JSON object; times are UTC epoch milliseconds."""
    return {
        "state": record.state.value,
        "interval_ms": record.interval_ms,
        "offset_ms": record.offset_ms,
        "schedule_id": record.schedule_id,
        "confirmed_ms": record.confirmed_ms,
        "marked": record.marked,
        "pause_reason": record.pause_reason,
        "imported": record.imported,
    }


def parse_record(document: Mapping[str, Any]) -> Record:
    """Return the record of such an object. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
    interval_ms, offset_ms, schedule_id = document["interval_ms"], document["offset_ms"], document["schedule_id"]
    return Record(
        state=RunState(document["state"]),
        # An interval of 0 is none, and nothing runs so often.
        interval_ms=None if interval_ms is None else number_within(interval_ms, lowest=1, highest=_HIGHEST),
        offset_ms=None if offset_ms is None else number_within(offset_ms, lowest=0, highest=_HIGHEST),
        schedule_id=None if schedule_id is None else harmless(text(schedule_id), longest=_LONGEST),
        confirmed_ms=number_within(document["confirmed_ms"], lowest=0, highest=LATEST_MS),
        marked=flag(document["marked"]),
        pause_reason=maybe_text(document.get("pause_reason")),
        imported=maybe_text(document.get("imported")),
    )
