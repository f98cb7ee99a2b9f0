"""What the journal tells of earlier applies: a table of runs, one run with its writes, or JSON values.

In: :class:`~reconciler.core.report.Run` values, newest first. Out: a :class:`~reconciler.render.page.Page`, or JSON
values; times are UTC. A journal may come from a cache or an artifact that somebody else can write to, so every text in
it is made harmless first, for JSON as well.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.text import LONGEST_TEXT, format_duration, harmless, plural
from reconciler.render.json import picked
from reconciler.render.page import (
    TONES,
    At,
    Column,
    Facts,
    Heading,
    Lines,
    Page,
    Part,
    Row,
    Rows,
    Span,
    Tone,
    code,
    moment,
)

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from reconciler.core.halt import Halt
    from reconciler.core.report import Run, Write
    from reconciler.render.page import Block, Cell

OPEN: Final = "open"
"""The outcome of a write that has none yet."""
_SHORT: Final = 12
"""How many characters of a fingerprint a table shows."""
_LONGEST: Final = 16 * LONGEST_TEXT
"""The most characters of a text in JSON. It is more than for a text of the service, because a detail may quote one."""
_SENDS_A_SCHEDULE: Final = frozenset({Call.START, Call.UPDATE_SCHEDULE})


def history_page(runs: Sequence[Run], *, empty: str) -> Page:
    """Return one line for each run, and a line of counts; without runs, the sentence ``empty``.

    Which machine it was on is told where they were on several.
    """
    if not runs:
        return Page(title="History", verdict="nothing yet", blocks=(Lines((empty,)),))
    what = (Column("Run"), Column("When"), Column("Service", keep=2), Column("Account", keep=5, widest=20))
    made = (Column("Tool", keep=1), Column("Plan", keep=3), Column("Runner", keep=4, widest=24))
    whence = (Column("Who", keep=6, widest=20), Column("Commit", keep=4), Column("Pull request", keep=5))
    machines = {_machine(run) for run in runs}
    rows = tuple(
        Row(
            (
                str(run.number),
                At(run.started_ms),
                run.base_url,
                run.account or "",
                run.tool,
                code(run.fingerprint[:_SHORT]),
                _machine(run) if len(machines) > 1 else "",
                run.who or "",
                code(run.commit[:_SHORT]) if run.commit else "",
                run.pull_request or "",
                _ended(run),
                ", ".join(f"{count} {outcome}" for outcome, count in _counts(run).items() if count) or "none",
            )
        )
        for run in runs
    )
    columns = (*what, *made, *whence, Column("Ended"), Column("Writes"))
    table = Rows(columns=columns, rows=rows, parts=(Part("Runs", opened=None),), headed=True)
    line = f"{plural(len(runs), 'run')}, {plural(sum(len(run.writes) for run in runs), 'write')}."
    return Page(title="History", verdict=line.rstrip("."), blocks=(table,), last=(line,))


def _machine(run: Run) -> str:
    """Return the name of the machine that a run was on, as its process says; empty where it does not."""
    return run.process.partition(" on ")[2]


def runs_page(runs: Sequence[Run]) -> Page:
    """Return each run with its writes in the order in which they were sent."""
    blocks = tuple(block for run in runs for block in _run(run))
    return Page(title="History", verdict=plural(len(runs), "run"), blocks=blocks)


def _run(run: Run) -> tuple[Block, ...]:
    facts: list[tuple[str, Cell]] = [
        ("service", run.base_url),
        ("account", run.account or ""),
        ("tool", run.tool),
        ("process", run.process),
        ("who", run.who or ""),
        ("commit", code(run.commit) if run.commit else ""),
        ("pull request", run.pull_request or ""),
        ("CI run", code(run.ci_run) if run.ci_run else ""),
        ("plan", code(run.fingerprint)),
        ("approved", code(run.approved) if run.approved is not None else ""),
        ("started", At(run.started_ms)),
        ("finished", At(run.finished_ms) if run.finished_ms is not None else "-"),
        ("ended", _ended(run)),
    ]
    head = Heading(f"Run {run.number}"), Facts(tuple((name, value) for name, value in facts if value))
    if not run.writes:
        return *head, Lines(("No writes.",))
    columns = (Column("When"), Column("Portfolio"), Column("Call"), Column("Wanted", keep=1), Column("Outcome"))
    rows = tuple(map(_write_row, run.writes))
    parts = (Part("Writes", opened=None),)
    return *head, Rows(columns=(*columns, Column("Detail")), rows=rows, parts=parts, headed=True)


def _write_row(write: Write) -> Row:
    outcome = write.outcome or OPEN
    return Row(
        (
            At(write.intent_ms),
            code(write.portfolio),
            write.call.value,
            wanted(write),
            Span(outcome, TONES.get(outcome, Tone.NOTICE)),
            write.detail,
        )
    )


def wanted(write: Write) -> str:
    """Return the schedule that a write sent, as ``24h +90m`` or ``daily``; ``-`` for a call that sends none."""
    if write.cadence is not None:
        return write.cadence.value
    if write.call not in _SENDS_A_SCHEDULE or write.interval_ms is None:
        return "-"
    text = format_duration(write.interval_ms)
    return text if not write.offset_ms else f"{text} +{format_duration(write.offset_ms)}"


def _ended(run: Run) -> Span:
    if run.exit_reason is None:
        return Span("under way, or cut off", Tone.NOTICE)
    return Span(run.exit_reason.replace("_", " "), Tone.GOOD if run.exit_reason == "ok" else Tone.NOTICE)


def _counts(run: Run) -> Mapping[str, int]:
    """Return how many writes ended how, the known outcomes in their order first."""
    found = Counter(harmless(write.outcome or OPEN) for write in run.writes)
    return {**dict.fromkeys((*(outcome.value for outcome in WriteOutcome), OPEN), 0), **found}


def history_document(runs: Sequence[Run], *, with_writes: bool) -> list[dict[str, Any]]:
    """Return the runs as JSON values, each with its counts and, where asked for, its writes."""
    return [_document(run, with_writes=with_writes) for run in runs]


def _document(run: Run, *, with_writes: bool) -> dict[str, Any]:
    told = picked(run, "base_url", "account", "tool", "process", "who", "commit", "pull_request", "ci_run")
    plan = picked(run, "fingerprint", "approved", "started_at", "finished_at")
    document = {"run": run.number, **told, **plan, "ended": run.exit_reason}
    writes = {"writes": [_write_document(write) for write in run.writes]} if with_writes else {}
    return {**_harmless(document), "summary": dict(_counts(run)), **writes}


def _write_document(write: Write) -> dict[str, Any]:
    document = {"write": write.number, **picked(write, "token", "portfolio", "call", "cadence", "intent_at", "outcome")}
    sent = dict.fromkeys(("interval_ms", "offset_ms"))
    if write.call in _SENDS_A_SCHEDULE:
        sent = picked(write, *sent)
    return _harmless({**document, **sent, **picked(write, "outcome_at", "detail")})


def _harmless(document: dict[str, Any]) -> dict[str, Any]:
    texts = {name: harmless(text, longest=_LONGEST) for name, text in document.items() if isinstance(text, str)}
    return {**document, **texts}


def halts_page(shown: Sequence[Halt], filed: Container[str]) -> Page:
    """Return the page of halts in the given order; ``filed`` are the ids of those whose file is here."""
    columns = tuple(map(Column, ("Halt", "Since", "State", "Portfolios", "Who", "Reason")))
    rows = tuple(
        Row(
            (
                code(one.id),
                moment(one.at_ms),
                Span("holds", Tone.BAD) if one.lifted_ms is None else Span(f"lifted {moment(one.lifted_ms)}"),
                "all" if one.selection is not None and one.selection.everything else str(len(one.portfolios)),
                one.who or "",
                one.reason if one.id in filed else f"{one.reason} (no file here)",
            )
        )
        for one in shown
    )
    holding = sum(one.lifted_ms is None for one in shown)
    last = f"Halts: {holding} in force, {len(shown) - holding} lifted."
    table = Rows(columns=columns, rows=rows, parts=(Part("Halts", opened=None),))
    return Page(title="Halts", verdict=last, blocks=(table,) if rows else (), last=(last,))
