"""What the journal tells of earlier applies: a table of runs, one run's writes, or JSON values.

In: :class:`~reconciler.core.report.Run` values, newest first. Out: text, or values for a JSON document. Times are UTC.
A journal may come from a cache or an artifact that somebody else could write to, so no text of it is shown as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.codec import iso
from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.text import LONGEST_TEXT, format_duration, harmless, plural
from reconciler.render.style import Ink, Style, columns, moment, safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.report import Run, Write

OPEN: Final = "open"
"""Stands where a write has no outcome yet."""
OUTCOMES: Final = (*(outcome.value for outcome in WriteOutcome), OPEN)
_SHORT: Final = 12
"""Characters of a fingerprint in a table."""
_LONGEST: Final = 16 * LONGEST_TEXT
"""Characters of a text in JSON; a detail that quotes the service is longer than one text of the service."""
_NO_END: Final = "under way, or cut off"
_SENDS_A_SCHEDULE: Final = frozenset({Call.START, Call.UPDATE_SCHEDULE})


def history_text(runs: Sequence[Run], style: Style) -> str:
    """Return one line a run, and a line of counts."""
    head = ("RUN", "WHEN", "SERVICE", "TOOL", "PLAN", "ENDED", "WRITES")
    cells = [tuple(style.paint(title, Ink.DIM) for title in head), *(_cells(run, style) for run in runs)]
    writes = sum(len(run.writes) for run in runs)
    total = f"{plural(len(runs), 'run')}, {plural(writes, 'write')}."
    return "\n".join([*columns(cells, within=style.columns), "", style.paint(total, Ink.BOLD)]) + "\n"


def run_text(run: Run, style: Style) -> str:
    """Return one run with its writes in the order in which they were sent."""
    facts = [
        ("service", safe(run.base_url)),
        *([("account", safe(run.account))] if run.account is not None else []),
        ("tool", safe(run.tool)),
        ("process", safe(run.process)),
        ("plan", safe(run.fingerprint)),
        *([("approved", safe(run.approved))] if run.approved is not None else []),
        ("started", moment(run.started_ms)),
        ("finished", "-" if run.finished_ms is None else moment(run.finished_ms)),
        ("ended", _ended(run, style)),
    ]
    lines = [style.paint(f"Run {run.number}", Ink.BOLD), *(f"  {line}" for line in columns(facts))]
    if not run.writes:
        return "\n".join([*lines, "", "No writes."]) + "\n"
    head = ("WHEN", "PORTFOLIO", "CALL", "WANTED", "OUTCOME", "DETAIL")
    cells = [tuple(style.paint(title, Ink.DIM) for title in head)]
    cells += [
        (
            moment(write.intent_ms),
            safe(write.portfolio),
            write.call.value,
            wanted(write),
            _outcome(write, style),
            safe(write.detail, longest=300),
        )
        for write in run.writes
    ]
    return "\n".join([*lines, "", *columns(cells, within=style.columns)]) + "\n"


def wanted(write: Write) -> str:
    """Return the schedule that a write sent, as ``24h +90m`` or ``daily``; ``-`` for a call that sends none."""
    if write.cadence is not None:
        return write.cadence.value
    if write.call not in _SENDS_A_SCHEDULE or write.interval_ms is None:
        return "-"
    text = format_duration(write.interval_ms)
    return text if not write.offset_ms else f"{text} +{format_duration(write.offset_ms)}"


def history_document(runs: Sequence[Run], *, with_writes: bool) -> list[dict[str, Any]]:
    """Return the runs as JSON values, each with its counts and, where asked for, its writes."""
    return [_document(run, with_writes=with_writes) for run in runs]


def _cells(run: Run, style: Style) -> tuple[str, ...]:
    return (
        str(run.number),
        moment(run.started_ms),
        safe(run.base_url),
        safe(run.tool),
        safe(run.fingerprint[:_SHORT]),
        _ended(run, style),
        ", ".join(f"{count} {outcome}" for outcome, count in _counts(run).items() if count) or "none",
    )


def _ended(run: Run, style: Style) -> str:
    if run.exit_reason is None:
        return style.paint(_NO_END, Ink.YELLOW)
    return style.paint(safe(run.exit_reason).replace("_", " "), Ink.GREEN if run.exit_reason == "ok" else Ink.YELLOW)


def _outcome(write: Write, style: Style) -> str:
    outcome = _outcome_word(write)
    match outcome:
        case "confirmed" | "seen":
            return style.paint(outcome, Ink.GREEN)
        case "failed":
            return style.paint(outcome, Ink.RED)
        case _:
            return style.paint(outcome, Ink.YELLOW)


def _outcome_word(write: Write) -> str:
    return safe(write.outcome or OPEN)


def _counts(run: Run) -> Mapping[str, int]:
    """Return how many writes ended how, in the order of :data:`OUTCOMES`."""
    counts = dict.fromkeys(OUTCOMES, 0)
    for write in run.writes:
        outcome = _outcome_word(write)
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def _document(run: Run, *, with_writes: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run": run.number,
        "base_url": _harmless(run.base_url),
        "account": _maybe_harmless(run.account),
        "tool": _harmless(run.tool),
        "process": _harmless(run.process),
        "fingerprint": _harmless(run.fingerprint),
        "approved": _maybe_harmless(run.approved),
        "started_at": iso(run.started_ms),
        "finished_at": None if run.finished_ms is None else iso(run.finished_ms),
        "ended": _maybe_harmless(run.exit_reason),
        "summary": dict(_counts(run)),
    }
    if with_writes:
        document["writes"] = [_write_document(write) for write in run.writes]
    return document


def _write_document(write: Write) -> dict[str, Any]:
    return {
        "write": write.number,
        "token": _harmless(write.token),
        "portfolio": _harmless(write.portfolio),
        "call": write.call.value,
        "interval_ms": write.interval_ms if write.call in _SENDS_A_SCHEDULE else None,
        "offset_ms": write.offset_ms if write.call in _SENDS_A_SCHEDULE else None,
        "cadence": write.cadence.value if write.cadence else None,
        "intent_at": iso(write.intent_ms),
        "outcome": _maybe_harmless(write.outcome),
        "outcome_at": None if write.outcome_ms is None else iso(write.outcome_ms),
        "detail": _harmless(write.detail),
    }


def _harmless(text: str) -> str:
    return harmless(text, longest=_LONGEST)


def _maybe_harmless(text: str | None) -> str | None:
    return None if text is None else _harmless(text)
