"""A look for drift, for a terminal or a comment: a plan in the words of somebody who asks what moved.

In: a :class:`~reconciler.core.plan.Plan` whose files were their own base, so that its causes are drift or pending. Out:
text that ends in a line break. What is declared stands first, what is live second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from reconciler.core.diff import Field, FieldChange
from reconciler.core.duration import format_duration
from reconciler.core.live import Provenance, Verdict
from reconciler.core.plan import Cause, Change, ChangeReason
from reconciler.core.text import plural
from reconciler.render.effects import UNVERIFIED_SYMBOL, held_text
from reconciler.render.markdown import cell, section
from reconciler.render.style import WIDEST_NAME, Ink, Style, columns, cut, safe

if TYPE_CHECKING:
    from reconciler.core.plan import Plan


class Finding(StrEnum):
    """What is wrong with a portfolio, in the order of display."""

    MOVED = "moved"
    PENDING = "pending"
    UNVERIFIED = "unverified"
    HELD = "held"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class _Row:
    finding: Finding
    id: str
    name: str | None
    story: str


def drift_text(plan: Plan, style: Style) -> str:
    """Return a row for each portfolio that is not as declared, and the counts in the last line."""
    found = _rows(plan)
    cells = [
        (style.paint(row.finding.value, _ink(row.finding)), row.id, cut(safe(row.name or ""), WIDEST_NAME), row.story)
        for row in found
    ]
    within = style.columns - 2 if style.columns is not None else None
    heading = f"{plural(plan.managed, 'portfolio')} compared with live at {safe(plan.base_url)}"
    lines = [style.paint(heading, Ink.DIM), ""]
    lines += [f"  {line}" for line in columns(cells, within=within)] or ["  No drift: live automation is as declared."]
    return "\n".join([*lines, "", style.paint(_counts(plan, found), Ink.BOLD)]) + "\n"


def drift_markdown(plan: Plan) -> str:
    """Return the counts as a headline, and a table for each finding."""
    found = _rows(plan)
    lines = [f"### {_counts(plan, found)}", ""]
    for finding in Finding:
        lines += section(finding.value, [(row.id, row.name, row.story) for row in found if row.finding is finding])
    lines.append(f"<sub>{cell(plan.base_url)}</sub>")
    return "\n".join(lines) + "\n"


def _counts(plan: Plan, found: list[_Row]) -> str:
    counts = ", ".join(f"{sum(row.finding is finding for row in found)} {finding.value}" for finding in Finding)
    return f"Drift: {counts}. {plan.no_op} as declared."


def _rows(plan: Plan) -> list[_Row]:
    """Return every finding, by kind and then by portfolio id."""
    rows = [_Row(_finding(change), change.id, change.name, _story(change)) for change in plan.changes]
    rows += [
        _Row(
            Finding.HELD,
            held.id,
            held.name,
            f"declared active, {held_text(held)}",
        )
        for held in plan.held
    ]
    rows += [_Row(Finding.BLOCKED, blocked.id, blocked.name, safe(blocked.detail)) for blocked in plan.blocked]
    order = list(Finding)
    return sorted(rows, key=lambda row: (order.index(row.finding), row.id))


def _finding(change: Change) -> Finding:
    if all(field.verdict is not Verdict.DIFFERENT for field in change.fields):
        return Finding.UNVERIFIED
    return Finding.MOVED if change.cause is Cause.DRIFT else Finding.PENDING


def _story(change: Change) -> str:
    return ", ".join(_difference(change, field) for field in change.fields if field.verdict is not Verdict.SAME)


def _difference(change: Change, field: FieldChange) -> str:
    if field.field is Field.STATE:
        by_us = " by us" if change.reason is ChangeReason.PAUSED_BY_US else ""
        return f"declared {field.desired}, live {field.live}{by_us}"
    name = field.field.value.removesuffix("_ms")
    declared = format_duration(int(field.desired))
    if field.verdict is Verdict.UNVERIFIED:
        return f"{name} declared {declared}, live {UNVERIFIED_SYMBOL}"
    live = format_duration(int(field.live)) if field.live is not None else "none"
    how = "" if field.provenance in (Provenance.READ, Provenance.NONE) else f" ({field.provenance.value})"
    return f"{name} declared {declared}, live {live}{how}"


def _ink(finding: Finding) -> Ink:
    match finding:
        case Finding.MOVED | Finding.PENDING:
            return Ink.YELLOW
        case Finding.UNVERIFIED:
            return Ink.DIM
        case Finding.HELD:
            return Ink.MAGENTA
        case Finding.BLOCKED:
            return Ink.RED
        case _:
            assert_never(finding)
