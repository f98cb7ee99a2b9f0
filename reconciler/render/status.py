"""The live table: one row a portfolio.

In: :class:`StatusRow` values, sorted by id. Out: text, or JSON values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec import Struct

from reconciler.core.adoption import declarable_reason
from reconciler.core.evidence import Known, known_interval, known_offset, paused_by
from reconciler.core.model import PausedBy, Provenance, Status
from reconciler.core.rebalance import Knowledge, RebalanceStatus
from reconciler.core.text import format_duration, plural
from reconciler.render.page import Rows, cell, code, table
from reconciler.render.rebalance import maybe_iso, rebalance_document, rebalance_word, status_ink
from reconciler.render.strategies import named
from reconciler.render.style import GAP, NARROWEST, PLAIN, WIDEST_NAME, Ink, Style, columns, cut, moment, safe, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.model import ApiVersion, Desired, Live, Record
    from reconciler.core.rebalance import LastRebalance


NAME: Final = "Name"
NEXT_RUN: Final = "Next run"
LAST_RUN: Final = "Last run"
HEAD: Final = ("Portfolio", NAME, "State", "Schedule", NEXT_RUN, LAST_RUN, "Note")
STRATEGY: Final = "Strategy"
"""Stands behind the schedule where a portfolio has one."""
RESULT: Final = "Result"
"""Stands before the note where results were read."""
_SHORTER: Final = re.compile(r"^\d{4}-(\d\d-\d\d \d\d:\d\d) UTC$")
"""A time as :func:`~reconciler.render.style.moment` writes it, and what of it is left where room is short."""


class StatusRow(Struct, frozen=True, kw_only=True):
    """One portfolio as declared, as read, and as we last wrote it."""

    desired: Desired
    live: Live
    record: Record | None
    now_ms: int | None = None
    """The service's time at the read, UTC epoch milliseconds; ``None`` where it is not known."""
    last: LastRebalance | None = None
    """Its last rebalance; ``None`` where nobody asked for results."""

    @property
    def paused_by(self) -> PausedBy | None:
        """Whose pause is in force; ``None`` where it is not paused."""
        return paused_by(self.live, self.record, self.desired.api)


def status_text(rows: Sequence[StatusRow], style: Style) -> str:
    """Return the table and a line of counts; on a terminal that is too narrow for all of it, what matters most."""
    head, *cells = _fitting(_table(rows, style), style.columns)
    cells = [tuple(style.paint(title.upper(), Ink.DIM) for title in head), *cells]
    return "\n".join([*columns(cells, within=style.columns), "", style.paint(status_line(rows), Ink.BOLD)]) + "\n"


def _fitting(found: list[tuple[str, ...]], room: int | None) -> list[tuple[str, ...]]:
    """Return a table without the columns for which a terminal has no room: the name, the strategy, then the last run.

    Times lose year and zone before that, and the head tells the zone instead. The note is folded, not left out.
    """
    if room is None or _width(found) <= room:
        return found
    head, *cells = found
    times = [index for index, title in enumerate(head) if title in (NEXT_RUN, LAST_RUN)]
    short = [tuple(_SHORTER.sub(r"\1", text) if i in times else text for i, text in enumerate(row)) for row in cells]
    found = [tuple(f"{title} UTC" if i in times else title for i, title in enumerate(head)), *short]
    for dropped in (NAME, STRATEGY, f"{LAST_RUN} UTC"):
        if dropped not in found[0]:
            continue
        if _width([row[:-1] for row in found]) + len(GAP) + NARROWEST <= room:
            break
        place = found[0].index(dropped)
        found = [(*row[:place], *row[place + 1 :]) for row in found]
    return found


def _width(found: list[tuple[str, ...]]) -> int:
    return max(map(width, columns(found)))


def status_line(rows: Sequence[StatusRow]) -> str:
    """Return how many portfolios there are, and how many in each state."""
    counts: dict[str, int] = {}
    for row in rows:
        word = row.live.status.value.replace("_", " ")
        counts[word] = counts.get(word, 0) + 1
    total = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return f"{plural(len(rows), 'portfolio')}: {total}.{_results_line(rows)}"


def _results_line(rows: Sequence[StatusRow]) -> str:
    """Return how many last rebalances ended how, the failed ones first; nothing where no results were read."""
    counts: dict[str, int] = {}
    for row in rows:
        rebalance = row.last.rebalance if row.last is not None else None
        if rebalance is not None:
            word = rebalance.status.value
            counts[word] = counts.get(word, 0) + 1
    order = sorted(counts, key=lambda word: (word != RebalanceStatus.FAILED.value, word))
    total = ", ".join(f"{counts[word]} {word}" for word in order)
    return f" Last rebalances: {total}." if total else ""


def status_blocks(rows: Sequence[StatusRow]) -> list[str | Rows]:
    """Return the table as Markdown, what could not be read or is not in a usual state first."""
    usual = (Status.ACTIVE, Status.PAUSED, Status.INACTIVE)
    ordered = sorted(rows, key=lambda row: row.live.status in usual)
    head, *plain = _table(ordered, PLAIN)
    cells = ((code(id_), *map(cell, others)) for id_, *others in plain)
    return [table("Portfolios", head, cells, count=len(rows), rank=0)] if rows else []


def status_rows_document(rows: Sequence[StatusRow]) -> list[dict[str, Any]]:
    """Return the rows as JSON values; times are ISO 8601 in UTC."""
    return [_document(row) for row in rows]


def _table(rows: Sequence[StatusRow], style: Style) -> list[tuple[str, ...]]:
    """Return the head and the rows, with a column of strategies and of results where there are any."""
    with_strategies = any(row.live.strategy is not None for row in rows)
    with_results = any(row.last is not None for row in rows)
    head = (*HEAD[:-1], RESULT, HEAD[-1]) if with_results else HEAD
    head = (*head[:4], STRATEGY, *head[4:]) if with_strategies else head
    return [head, *(_cells(row, style, with_strategy=with_strategies, with_result=with_results) for row in rows)]


def _cells(row: StatusRow, style: Style, *, with_strategy: bool, with_result: bool) -> tuple[str, ...]:
    live = row.live
    result = (result_text(row.last, style),) if with_result else ()
    strategy = (cut(safe(live.strategy_name or live.strategy or "-"), WIDEST_NAME),) if with_strategy else ()
    runs = next_run_ms(live, row.now_ms)
    return (
        live.id,
        cut(safe(row.desired.name), WIDEST_NAME) if row.desired.name else "",
        state_text(live, style),
        schedule_text(live, row.record),
        *strategy,
        moment(runs) if runs is not None else "-",
        moment(last_ms) if (last_ms := last_run_ms(live, row.last)) is not None else "-",
        *result,
        _note(row),
    )


def due_ms(live: Live) -> int | None:
    """Return when the service says that it runs next, also where that has passed; ``None`` where nothing runs."""
    return live.next_run_ms if live.status is Status.ACTIVE else None


def next_run_ms(live: Live, now_ms: int | None) -> int | None:
    """Return when it runs next; ``None`` where nothing runs, or where that moment has passed."""
    due = due_ms(live)
    return None if due is None or (now_ms is not None and due < now_ms) else due


def overdue_text(live: Live, now_ms: int | None) -> str:
    """Return since when it has been due, ``""`` where it is not."""
    due = due_ms(live)
    return f"was due {moment(due)}" if due is not None and next_run_ms(live, now_ms) is None else ""


def pause_text(live: Live, by: PausedBy, api: ApiVersion, *, longest: int) -> str:
    """Return whose pause it is, and its reason as far as it tells more than that; without our mark."""
    match by:
        case PausedBy.US:
            reason = declarable_reason(live.pause_reason) or ""
            whose = "paused by us"
        case PausedBy.OTHERS:
            reason = live.pause_reason or ""
            whose = "paused by somebody else"
        case PausedBy.UNKNOWN:
            reason = "no reason given" if api.can.keeps_reason else ""
            whose = "paused, nobody knows by whom"
        case _:
            assert_never(by)
    return f"{whose}: {safe(reason, longest=longest)}" if reason else whose


def elsewhere_text(desired: Desired | None, live: Live) -> str:
    """Return that a portfolio follows another strategy than declared, ``""`` where it does not."""
    if desired is None or desired.strategy is None or live.strategy in (None, desired.strategy):
        return ""
    return f"follows strategy {named(live.strategy or '', live.strategy_name)}, not {desired.strategy} as declared"


def last_run_ms(live: Live, last: LastRebalance | None) -> int | None:
    """Return when it was last to run: by its schedule, or by its last rebalance, which may need no schedule."""
    known = [live.scheduled_ms[0]] if live.scheduled_ms else []
    rebalance = last.rebalance if last is not None else None
    if rebalance is not None:
        known += [ms for ms in (rebalance.scheduled_ms, rebalance.started_ms) if ms is not None][:1]
    return max(known, default=None)


def result_text(last: LastRebalance | None, style: Style) -> str:
    """Return how the last rebalance ended: a word, ``-`` for none, ``?`` where Glider does not tell."""
    if last is None:
        return "?"
    match last.knowledge:
        case Knowledge.READ if last.rebalance is not None:
            ink = Ink.RED if last.went_wrong else status_ink(last.rebalance.status)
            return style.paint(rebalance_word(last.rebalance), ink)
        case Knowledge.NONE:
            return "-"
        case Knowledge.NOT_EXPOSED:
            return "?"
        case Knowledge.READ | Knowledge.UNREADABLE:
            return style.paint("unknown", Ink.YELLOW)
        case _:
            assert_never(last.knowledge)


def schedule_text(live: Live, record: Record | None) -> str:
    """Return interval and offset and how they are known: ``?`` where they can't be, ``-`` without a schedule."""
    if live.status not in (Status.ACTIVE, Status.PAUSED):
        return "-"
    interval, offset = known_interval(live, record), known_offset(live, record)
    if interval.value is None:
        return "?"
    text = format_duration(interval.value)
    if offset.value:
        text += f" +{format_duration(offset.value)}"
    return text if interval.provenance is Provenance.READ else f"{text} ({interval.provenance.value})"


def _note(row: StatusRow) -> str:
    live, last = row.live, row.last
    if live.failure is not None:
        return safe(str(live.failure))
    told = []
    if last is not None and last.failure is not None:
        told.append(safe(f"the last result can't be read: {last.failure}"))
    elif last is not None and last.rebalance is not None and last.went_wrong:
        told.append(safe(last.rebalance.error or f"the last rebalance {last.rebalance.why}", longest=100))
    if row.paused_by is not None:
        told.append(pause_text(live, row.paused_by, row.desired.api, longest=100))
    told += [text for text in (overdue_text(live, row.now_ms), elsewhere_text(row.desired, live)) if text]
    return "; ".join(told)


def _document(row: StatusRow) -> dict[str, Any]:
    live = row.live
    last_ms = last_run_ms(live, row.last)
    return {
        "id": live.id,
        "name": row.desired.name,
        "status": live.status.value,
        "word": live.word,
        "interval": known_document(known_interval(live, row.record)),
        "offset": known_document(known_offset(live, row.record)),
        "next_run_at": maybe_iso(next_run_ms(live, row.now_ms)),
        "due_at": maybe_iso(due_ms(live)),
        "last_run_at": maybe_iso(last_ms),
        "last_rebalance": last_document(row.last) if row.last is not None else None,
        "runs": live.runs,
        "pause_reason": live.pause_reason,
        "paused_by": row.paused_by.value if row.paused_by is not None else None,
        "strategy": live.strategy,
        "strategy_name": live.strategy_name,
        "schedule_id": live.schedule_id,
        "error": str(live.failure) if live.failure else None,
    }


def last_document(last: LastRebalance) -> dict[str, Any]:
    """Return a last rebalance, and how well it is known, as JSON values."""
    return {
        "knowledge": last.knowledge.value,
        "failed": last.went_wrong,
        "rebalance": rebalance_document(last.rebalance) if last.rebalance is not None else None,
        "error": str(last.failure) if last.failure is not None else None,
    }


def known_document(known: Known) -> dict[str, Any]:
    """Return a value and how it is known, as JSON values."""
    return {"ms": known.value, "provenance": known.provenance.value}


def state_text(live: Live, style: Style) -> str:
    """Return the status as the service spelled it."""
    return style.paint(safe(live.word or live.status.value.replace("_", " "), longest=24), _ink(live.status))


def _ink(status: Status) -> Ink:
    match status:
        case Status.ACTIVE:
            return Ink.GREEN
        case Status.PAUSED:
            return Ink.BLUE
        case Status.INACTIVE:
            return Ink.DIM
        case (
            Status.ARCHIVED
            | Status.ERROR
            | Status.UNKNOWN
            | Status.NO_SCHEDULE
            | Status.NOT_FOUND
            | Status.UNREADABLE
            | Status.NOT_READ
        ):
            return Ink.RED
