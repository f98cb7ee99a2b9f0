"""The live table: one row a portfolio.

In: :class:`StatusRow` values, sorted by id. Out: text, or JSON values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.core.duration import format_duration
from reconciler.core.live import Provenance, Status
from reconciler.core.planfile import iso
from reconciler.core.schedule import Known, known_interval, known_offset
from reconciler.core.text import plural
from reconciler.render.style import WIDEST_NAME, Ink, Style, columns, cut, moment, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.desired import Desired
    from reconciler.core.live import Live, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRow:
    """One portfolio as declared, as read, and as we last wrote it."""

    desired: Desired
    live: Live
    record: Record | None


def status_text(rows: Sequence[StatusRow], style: Style) -> str:
    """Return the table and a line of counts."""
    head = ("PORTFOLIO", "NAME", "STATE", "SCHEDULE", "NEXT RUN", "LAST RUN", "NOTE")
    cells = [tuple(style.paint(title, Ink.DIM) for title in head), *(_cells(row, style) for row in rows)]
    counts: dict[str, int] = {}
    for row in rows:
        word = row.live.status.value.replace("_", " ")
        counts[word] = counts.get(word, 0) + 1
    total = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return "\n".join([*columns(cells), "", style.paint(f"{plural(len(rows), 'portfolio')}: {total}.", Ink.BOLD)]) + "\n"


def status_rows_document(rows: Sequence[StatusRow]) -> list[dict[str, Any]]:
    """Return the rows as JSON values; times are ISO 8601 in UTC."""
    return [_document(row) for row in rows]


def _cells(row: StatusRow, style: Style) -> tuple[str, ...]:
    live = row.live
    return (
        live.id,
        cut(safe(row.desired.name), WIDEST_NAME) if row.desired.name else "",
        style.paint(safe(live.word or live.status.value.replace("_", " "), longest=24), _ink(live.status)),
        _schedule(row),
        moment(live.next_run_ms) if live.next_run_ms is not None and live.status is Status.ACTIVE else "-",
        moment(live.scheduled_ms[0]) if live.scheduled_ms else "-",
        _note(row),
    )


def _schedule(row: StatusRow) -> str:
    if row.live.status not in (Status.ACTIVE, Status.PAUSED):
        return "-"
    interval, offset = known_interval(row.live, row.record), known_offset(row.live, row.record)
    if interval.value is None:
        return "?"
    text = format_duration(interval.value)
    if offset.value:
        text += f" +{format_duration(offset.value)}"
    return text if interval.provenance is Provenance.READ else f"{text} ({interval.provenance.value})"


def _note(row: StatusRow) -> str:
    live = row.live
    if live.failure is not None:
        return safe(str(live.failure))
    if live.status is Status.PAUSED:
        return safe(live.pause_reason or "no reason given", longest=100)
    return ""


def _document(row: StatusRow) -> dict[str, Any]:
    live = row.live
    return {
        "id": live.id,
        "name": row.desired.name,
        "status": live.status.value,
        "word": live.word,
        "interval": _known(known_interval(live, row.record)),
        "offset": _known(known_offset(live, row.record)),
        "next_run_at": iso(live.next_run_ms) if live.next_run_ms is not None else None,
        "last_run_at": iso(live.scheduled_ms[0]) if live.scheduled_ms else None,
        "runs": live.runs,
        "pause_reason": live.pause_reason,
        "schedule_id": live.schedule_id,
        "error": str(live.failure) if live.failure else None,
    }


def _known(known: Known) -> dict[str, Any]:
    return {"ms": known.value, "provenance": known.provenance.value}


def _ink(status: Status) -> Ink:
    match status:
        case Status.ACTIVE:
            return Ink.GREEN
        case Status.PAUSED:
            return Ink.BLUE
        case Status.INACTIVE:
            return Ink.DIM
        case Status.ARCHIVED | Status.ERROR | Status.UNKNOWN | Status.NOT_FOUND | Status.UNREADABLE:
            return Ink.RED
