"""The difference between two plans, for a terminal, a comment or a program.

In: a :class:`~reconciler.core.diff.Comparison`. Out: text that ends in a line break, or a JSON object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from reconciler.core.codec import iso
from reconciler.core.diff import Compared, Step, difference_text, facts
from reconciler.core.plan import Blocked, Change, Held, Moved
from reconciler.core.planfile import fingerprint
from reconciler.render.effects import BLOCKED_SYMBOL, HELD_SYMBOL, SYMBOLS, effect, held_text
from reconciler.render.page import Rows, cell, code, opened, page
from reconciler.render.strategies import moved_text
from reconciler.render.style import WIDEST_NAME, Ink, Style, columns, cut, safe

if TYPE_CHECKING:
    from reconciler.core.diff import Comparison, Entry
    from reconciler.core.plan import Plan


def comparison_text(comparison: Comparison, style: Style) -> str:
    """Return a row for each portfolio that differs, and the counts in the last line."""
    rows = [
        (
            style.paint(row.step.value, _ink(row.step)),
            _action(row.entry),
            row.entry.id,
            cut(safe(row.entry.name or ""), WIDEST_NAME),
            _story(row),
        )
        for row in comparison.rows
    ]
    within = style.columns - 2 if style.columns is not None else None
    lines = [f"  {line}" for line in columns(rows, within=within)] or ["  Both plans mean the same."]
    return "\n".join([*lines, "", style.paint(_counts(comparison), Ink.BOLD)]) + "\n"


def comparison_markdown(comparison: Comparison, *, limit_bytes: int | None = None) -> str:
    """Return the counts as a headline, and a table for each step; at most ``limit_bytes`` long."""
    return page([f"### {_counts(comparison)}", *comparison_blocks(comparison)], limit_bytes=limit_bytes)


def comparison_blocks(comparison: Comparison) -> list[str | Rows]:
    """Return the tables of a comparison, a step each; a long one is folded."""
    blocks: list[str | Rows] = []
    for step in Step:
        rows = [row for row in comparison.rows if row.step is step]
        cells = (
            (_action_code(row.entry), code(row.entry.id), cell(row.entry.name or ""), cell(_story(row))) for row in rows
        )
        columns = ("Action", "Portfolio", "Name", "Effect or difference")
        blocks += opened(f"`{step.value}`", columns, cells, count=len(rows), rank=0)
    return blocks or ["Both plans mean the same."]


def comparison_document(comparison: Comparison, *, earlier: Plan, later: Plan) -> dict[str, Any]:
    """Return the comparison as a JSON object; differences are keyed by dotted fact, times in milliseconds."""
    return {
        "plan": _plan(later),
        "against": _plan(earlier),
        "summary": {**{step.value: comparison.count(step) for step in Step}, "same": comparison.same},
        **{step.value: [_document(row) for row in comparison.rows if row.step is step] for step in Step},
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {"base_url": plan.base_url, "created_at": iso(plan.created_ms), "fingerprint": fingerprint(plan)}


def _document(row: Compared) -> dict[str, Any]:
    document: dict[str, Any] = {"id": row.entry.id, "name": row.entry.name, **facts(row.entry)}
    if row.step is Step.CHANGED:
        document["differences"] = [
            {"fact": found.fact, "earlier": found.earlier, "later": found.later} for found in row.differences
        ]
    return document


def _counts(comparison: Comparison) -> str:
    return (
        f"Compared: {', '.join(f'{comparison.count(step)} {step.value}' for step in Step)}, {comparison.same} the same."
    )


def _action(entry: Entry) -> str:
    match entry:
        case Change():
            return f"{SYMBOLS[entry.verb]} {entry.verb.value}"
        case Held():
            return f"{HELD_SYMBOL} held"
        case Moved():
            return f"{HELD_SYMBOL} moved"
        case Blocked():
            return f"{BLOCKED_SYMBOL} blocked"
        case _:
            assert_never(entry)


def _action_code(entry: Entry) -> str:
    symbol, word = _action(entry).split()
    return f"`{symbol}` {word}"


def _story(row: Compared) -> str:
    if row.differences:
        return ", ".join(difference_text(found) for found in row.differences)
    match row.entry:
        case Change() as change:
            return effect(change).text
        case Held() as held:
            return held_text(held)
        case Blocked() as blocked:
            return safe(blocked.detail)
        case Moved() as moved:
            return moved_text(moved)
        case _:
            assert_never(row.entry)


def _ink(step: Step) -> Ink:
    match step:
        case Step.APPEARED:
            return Ink.GREEN
        case Step.VANISHED:
            return Ink.DIM
        case Step.CHANGED:
            return Ink.YELLOW
        case _:
            assert_never(step)
