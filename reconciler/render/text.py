"""A plan, a report and diagnostics for a terminal: aligned, quiet, the important thing last, where the eye is.

In: values of the core and a :class:`~reconciler.render.style.Style`. Out: text that ends in a line break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.model import Verb
from reconciler.core.report import ApplyReport, Outcome, Result
from reconciler.core.text import plural
from reconciler.render.effects import (
    BLOCKED_SYMBOL,
    HELD_SYMBOL,
    SYMBOLS,
    UNVERIFIED_SYMBOL,
    by_cause,
    cost_effect,
    effect,
    held_effect,
    held_text,
    journal_notice,
    label,
    net_effect,
    writes_unverified,
)
from reconciler.render.strategies import MOVED, moved_rows, strategies_line
from reconciler.render.style import WIDEST_NAME, Ink, Style, columns, cut, moment, pad, safe
from reconciler.render.unmanaged import unmanaged_rows, unmanaged_sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.plan import Change, Held, Plan, Summary

FOLD_ABOVE: Final = 20
"""A plan with no more rows than this is shown row by row."""
FOLD_FROM: Final = 4
"""So many portfolios that change alike become one row in a longer plan."""
FOLDED_IDS: Final = 6


def plan_text(plan: Plan, style: Style, *, verbose: bool = False) -> str:
    """Return the whole plan; the last line is stable (:func:`summary_line`)."""
    notice = journal_notice(plan)
    lines = [*([style.paint(notice, Ink.YELLOW)] if notice else []), _heading(plan, style), ""]
    for title, changes in by_cause(plan.changes):
        rows = [row for verb in Verb for row in _rows_of(plan, changes, verb, style, verbose=verbose)]
        if not title:
            rows += _others(plan, style, verbose=verbose)
        lines += _group(f"{title} ({len(changes)})" if title else "", rows, style)
    if any(change.cause for change in plan.changes):
        lines += _group(
            f"Not changed ({len(plan.held) + len(plan.moved) + len(plan.blocked)})",
            _others(plan, style, verbose=verbose),
            style,
        )
    if not (plan.changes or plan.held or plan.moved or plan.blocked):
        lines += ["  Nothing to do: live automation is as declared.", ""]
    lines += _footnotes(plan, style)
    lines += _unmanaged(plan, style, verbose=verbose)
    if counts := strategies_line(plan):
        lines.append(style.paint(counts, Ink.BOLD))
    lines.append(style.paint(summary_line(plan.summary), Ink.BOLD))
    return "\n".join(lines) + "\n"


def summary_line(summary: Summary) -> str:
    """Return the line that scripts and people look for; its form is stable."""
    return (
        f"Plan: {summary.start} to start, {summary.resume} to resume, {summary.pause} to pause, "
        f"{summary.update} to update. {summary.no_op} unchanged, {summary.held} held, {summary.blocked} blocked."
    )


def as_of_text(base_url: str, as_of_ms: int) -> str:
    """Return what to say of a plan from a live file; ``as_of_ms`` is UTC epoch milliseconds."""
    return f"live as of {moment(as_of_ms)} at {safe(base_url)}, read earlier: can't be applied"


def report_text(report: ApplyReport, style: Style, *, verbose: bool = False) -> str:
    """Return the final table of an apply; what needs a look comes last, done portfolios fold away when many."""
    order = sorted(report.results, key=lambda result: list(Outcome).index(result.outcome))
    quiet = len(order) > FOLD_ABOVE and not verbose
    shown = [r for r in order if not (quiet and r.outcome in (Outcome.DONE, Outcome.NOT_ATTEMPTED) and not r.notes)]
    cells = [result_cells(result, style) for result in shown]
    lines = [f"  {line}" for line in columns(cells, within=_room(style))]
    if hidden := len(order) - len(shown):
        lines.append(style.paint(f"  … and {hidden} more that are done or were not attempted; -v lists them", Ink.DIM))
    lines.append("")
    counts = ", ".join(f"{report.count(outcome)} {outcome.text}" for outcome in Outcome)
    lines.append(style.paint(f"Apply: {counts}.", Ink.BOLD))
    return "\n".join(lines).lstrip("\n") + "\n"


def result_line(result: Result, style: Style) -> str:
    """Return the line that is shown as soon as one change has its outcome; what it did stands in the plan above."""
    outcome, verb, name, *_ = result_cells(result, style)
    told = [f"  {safe(text, longest=400)}" for text in (result.detail, *result.notes) if text]
    return "".join([pad(outcome, len(Outcome.NOT_ATTEMPTED)), pad(verb, len("> resume") + 2), name, *told])


def result_cells(result: Result, style: Style) -> tuple[str, str, str, str, str]:
    """Return outcome, verb, id, name and the story of one result."""
    change = result.change
    story = "; ".join([*([result.detail] if result.detail else []), *result.notes])
    if not story:
        story = effect(change).shared
    verb = f"{SYMBOLS[change.verb]} {change.verb.value}"
    return (
        style.paint(result.outcome.text, _ink_of(result.outcome)),
        style.paint(verb, _ink(change.verb)),
        label(change.id),
        _name(change.name),
        safe(story, longest=400),
    )


def diagnostics_text(diagnostics: Iterable[Diagnostic], style: Style) -> str:
    """Return each problem as its sentence, the source line and a caret, in the order given."""
    blocks = []
    for diagnostic in diagnostics:
        lines = [safe(str(diagnostic), longest=1000)]
        if diagnostic.span is not None and diagnostic.excerpt is not None:
            number = str(diagnostic.span.line)
            before = diagnostic.excerpt[: diagnostic.span.column - 1]
            indent = "".join("\t" if c == "\t" else " " for c in before)
            excerpt = safe(diagnostic.excerpt.replace("\t", "    "), longest=160)
            caret = indent.replace("\t", "    ") + "^" * max(1, min(diagnostic.span.width, 80))
            lines.append(style.paint(f"  {number} | ", Ink.DIM) + excerpt)
            lines.append(style.paint(f"  {' ' * len(number)} | ", Ink.DIM) + style.paint(caret, Ink.RED))
        blocks.append("\n".join(lines))
    return "\n".join(blocks) + "\n" if blocks else ""


def _others(plan: Plan, style: Style, *, verbose: bool) -> list[tuple[str, str, str, str]]:
    """Return the rows of what is held, has moved or is blocked."""
    rows = _held_rows(plan, style, verbose=verbose)
    rows += moved_rows(plan, style)
    rows += [
        (
            style.paint(f"{BLOCKED_SYMBOL} blocked", Ink.RED),
            label(blocked.id),
            _name(blocked.name),
            safe(blocked.detail),
        )
        for blocked in plan.blocked
    ]
    return rows


def _held_rows(plan: Plan, style: Style, *, verbose: bool) -> list[tuple[str, str, str, str]]:
    """Return the rows of what is held, folded where many are held for the same reason."""
    hold = style.paint(f"{HELD_SYMBOL} held", Ink.MAGENTA)
    alike: dict[str, list[Held]] = {}
    for held in plan.held:
        alike.setdefault(held_effect(held).shared, []).append(held)
    rows: list[tuple[str, str, str, str]] = []
    for shared, group in alike.items():
        if verbose or len(plan.held) <= FOLD_ABOVE or len(group) < FOLD_FROM:
            rows += [(hold, held.id, _name(held.name), held_text(held)) for held in group]
        else:
            rows.append((hold, plural(len(group), "portfolio"), "", f"{shared}: {_some_ids(group)}"))
    return sorted(rows, key=lambda row: row[1]) if len(rows) == len(plan.held) else rows


def _group(title: str, rows: Sequence[Sequence[str]], style: Style) -> list[str]:
    """Return rows as an indented table with a line break behind it, nothing where there are none."""
    if not rows:
        return []
    head = [style.paint(title, Ink.BOLD)] if title else []
    return [*head, *(f"  {line}" for line in columns(rows, within=_room(style))), ""]


def _room(style: Style) -> int | None:
    """Return the width that is left for a table behind its indent."""
    return style.columns - 2 if style.columns is not None else None


def _heading(plan: Plan, style: Style) -> str:
    where = plural(len(plan.config_files), "file") if len(plan.config_files) != 1 else safe(plan.config_files[0])
    part = "" if plan.selection.everything else " (selected)"
    account = f", account {safe(plan.account)}" if plan.account is not None else ""
    live = (
        f"live at {safe(plan.base_url)}{account}" if plan.as_of_ms is None else as_of_text(plan.base_url, plan.as_of_ms)
    )
    return style.paint(f"{plural(plan.managed, 'portfolio')}{part} from {where}, {live}", Ink.DIM)


def _rows_of(
    plan: Plan, among: Sequence[Change], verb: Verb, style: Style, *, verbose: bool
) -> list[tuple[str, str, str, str]]:
    """Return the rows of one verb, equal changes folded where the plan is long."""
    changes = [change for change in among if change.verb is verb]
    action = style.paint(f"{SYMBOLS[verb]} {verb.value}", _ink(verb))
    alike: dict[str, list[Change]] = {}
    for change in changes:
        alike.setdefault(effect(change).shared, []).append(change)
    rows: list[tuple[str, str, str, str]] = []
    for shared, group in alike.items():
        if verbose or len(plan.changes) <= FOLD_ABOVE or len(group) < FOLD_FROM:
            rows += [(action, label(change.id), _name(change.name), effect(change).text) for change in group]
        else:
            noun = "portfolio" if group[0].of_strategy is None else "strategy"
            rows.append((action, plural(len(group), noun), "", f"{shared}: {_some_ids(group)}"))
    return sorted(rows, key=lambda row: row[1]) if len(rows) == len(changes) else rows


def _some_ids(group: Sequence[Change | Held]) -> str:
    """Return the first ids of a folded row, and how many more there are."""
    ids = [one.id for one in group]
    more = f" and {len(ids) - FOLDED_IDS} more" if len(ids) > FOLDED_IDS else ""
    return ", ".join(ids[:FOLDED_IDS]) + more


def _footnotes(plan: Plan, style: Style) -> list[str]:
    notes = []
    if writes_unverified(plan):
        notes.append(f"{UNVERIFIED_SYMBOL} Glider does not return this value. One write settles it; it is remembered.")
    if plan.held:
        notes.append(
            f"{HELD_SYMBOL} Held stays paused. Release one with --resume-held ID, or `hold: override` in its file."
        )
    if plan.moved:
        notes.append(f"{HELD_SYMBOL} {MOVED}")
    notes += [line for line in (net_effect(plan), cost_effect(plan)) if line]
    return [*(style.paint(note, Ink.DIM) for note in notes), *([""] if notes else [])]


def _unmanaged(plan: Plan, style: Style, *, verbose: bool) -> list[str]:
    sentence = unmanaged_sentence(plan)
    if not sentence:
        return []
    rows, hidden = unmanaged_rows(plan, verbose=verbose)
    more = [style.paint(f"  … and {hidden} more; -v lists them", Ink.DIM)] if hidden else []
    return [sentence, *(f"  {line}" for line in columns(rows, within=_room(style))), *more, ""]


def _name(name: str | None) -> str:
    return cut(safe(name), WIDEST_NAME) if name else ""


def _ink(verb: Verb) -> Ink:
    match verb:
        case Verb.START | Verb.RESUME:
            return Ink.GREEN
        case Verb.UPDATE:
            return Ink.YELLOW
        case Verb.PAUSE:
            return Ink.BLUE
        case _:
            assert_never(verb)


def _ink_of(outcome: Outcome) -> Ink:
    match outcome:
        case Outcome.DONE | Outcome.ALREADY_DONE:
            return Ink.GREEN
        case Outcome.STALE | Outcome.NOT_ATTEMPTED:
            return Ink.YELLOW
        case Outcome.FAILED | Outcome.UNKNOWN:
            return Ink.RED
        case _:
            assert_never(outcome)
