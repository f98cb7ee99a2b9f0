"""A look for drift, for a terminal or a comment: a plan in the words of somebody who asks what moved.

In: a :class:`~reconciler.core.plan.Plan` whose files were their own base, so that its causes are drift or pending. Out:
text that ends in a line break. What is declared stands first, what is live second.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from reconciler.core.model import Provenance, Verdict
from reconciler.core.plan import Cause, Change, ChangeReason, Field, FieldChange
from reconciler.core.text import format_duration, plural
from reconciler.render.effects import UNVERIFIED_SYMBOL, held_text, reach_text
from reconciler.render.page import Rows, cell, code, opened, page
from reconciler.render.strategies import followed
from reconciler.render.style import WIDEST_NAME, Ink, Style, columns, cut, safe

if TYPE_CHECKING:
    from reconciler.core.plan import Change, Moved, Plan


class Finding(StrEnum):
    """What is wrong with a portfolio, in the order of display."""

    MOVED = "moved"
    PENDING = "pending"
    UNVERIFIED = "unverified"
    HELD = "held"
    BLOCKED = "blocked"


class _Row(Struct, frozen=True):
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
    return "\n".join([*lines, "", style.paint(f"Drift: {_counts(plan, found)}.", Ink.BOLD)]) + "\n"


def drift_markdown(plan: Plan, *, limit_bytes: int | None = None) -> str:
    """Return the counts as a headline, and a table for each finding; at most ``limit_bytes`` long."""
    footer = f"<sub>live at {code(plan.base_url)}</sub>"
    return page([f"### Drift: {drift_counts(plan)}.", *drift_blocks(plan), footer], limit_bytes=limit_bytes)


def drift_counts(plan: Plan) -> str:
    """Return how many portfolios there are of every finding, and how many without one."""
    return _counts(plan, _rows(plan))


def drift_blocks(plan: Plan) -> list[str | Rows]:
    """Return the tables of a look for drift, a finding each; a long one is folded."""
    blocks: list[str | Rows] = []
    found = _rows(plan)
    for finding in Finding:
        rows = [row for row in found if row.finding is finding]
        cells = ((code(row.id), cell(row.name or ""), cell(row.story)) for row in rows)
        blocks += opened(f"`{finding.value}`", ("Portfolio", "Name", "Difference"), cells, count=len(rows), rank=0)
    return blocks or ["No drift: live automation is as declared."]


def _counts(plan: Plan, found: list[_Row]) -> str:
    counts = ", ".join(f"{sum(row.finding is finding for row in found)} {finding.value}" for finding in Finding)
    return f"{counts}. {plan.no_op + plan.strategies_no_op} as declared"


def _rows(plan: Plan) -> list[_Row]:
    """Return every finding, by kind and then by id; a strategy's is its address."""
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
    rows += [_Row(Finding.MOVED, moved.id, moved.name, _elsewhere(moved)) for moved in plan.moved]
    rows += [_Row(Finding.BLOCKED, blocked.id, blocked.name, safe(blocked.detail)) for blocked in plan.blocked]
    order = list(Finding)
    return sorted(rows, key=lambda row: (order.index(row.finding), row.id))


def _finding(change: Change) -> Finding:
    if all(field.verdict is not Verdict.DIFFERENT for field in change.fields):
        return Finding.UNVERIFIED
    return Finding.MOVED if change.cause is Cause.DRIFT else Finding.PENDING


def _elsewhere(moved: Moved) -> str:
    state = f", declared {moved.state}, live {moved.status.value}" if moved.state.value != moved.status.value else ""
    return f"strategy declared {followed(moved.declared)}, live {followed(moved.live)}{state}"


def _story(change: Change) -> str:
    told = [_difference(change, field) for field in change.fields if field.verdict is not Verdict.SAME]
    return ", ".join([*told, *([reach_text(change)] if change.of_strategy is not None else [])])


def _difference(change: Change, field: FieldChange) -> str:
    if field.field is Field.STATE:
        by_us = " by us" if change.reason is ChangeReason.PAUSED_BY_US else ""
        return f"declared {field.desired}, live {field.live}{by_us}"
    name = field.field.value.removesuffix("_ms")
    declared = _value(field.desired)
    if field.verdict is Verdict.UNVERIFIED:
        return f"{name} declared {declared}, live {UNVERIFIED_SYMBOL}"
    live = _value(field.live) if field.live is not None else "none"
    how = "" if field.provenance in (Provenance.READ, Provenance.NONE) else f" ({field.provenance.value})"
    return f"{name} declared {declared}, live {live}{how}"


def _value(value: str | int) -> str:
    return format_duration(value) if isinstance(value, int) else value


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
