"""What is to be done, and was done, about strategies: rows for a terminal, tables for Markdown.

In: a plan or a report. Out: rows, lines and blocks that the renderers of a whole plan put in their places; nothing
where no strategy is declared, so a fleet without strategies never reads of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.live import Provenance
from reconciler.core.strategy import StrategyBlocked, StrategyChange, StrategyRisk
from reconciler.core.text import plural
from reconciler.core.verb import Verb
from reconciler.render.effects import BLOCKED_SYMBOL, CAUSES, SYMBOLS, UNVERIFIED_SYMBOL
from reconciler.render.page import cell, code, opened
from reconciler.render.style import WIDEST_NAME, Ink, Style, cut, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport, StrategyResult
    from reconciler.render.page import Rows

UPDATE: Final = f"{SYMBOLS[Verb.UPDATE]} {Verb.UPDATE.value}"


def cadence_text(change: StrategyChange) -> str:
    """Return ``schedule daily → weekly``; the live side with ``?`` where it can't be known."""
    before = change.before or UNVERIFIED_SYMBOL
    how = " (recorded)" if change.provenance is Provenance.RECORDED else ""
    return f"schedule {before}{how} → {change.after}"


def reach_text(change: StrategyChange) -> str:
    """Return how many portfolios a change reaches, in words."""
    if change.reach is None:
        return "reaches an unknown number of portfolios"
    return f"reaches {plural(change.reach, 'portfolio')}"


def strategy_effect(change: StrategyChange) -> str:
    """Return what a change does, in a few words."""
    return f"{cadence_text(change)}, {reach_text(change)}"


def strategy_id(entry: StrategyChange | StrategyBlocked) -> str:
    """Return how a strategy is named among portfolios."""
    return f"strategy {entry.id}"


def strategy_rows(plan: Plan, style: Style) -> list[tuple[str, str, str, str]]:
    """Return a row for each strategy that changes or is blocked; with a cause where the plan has causes."""
    rows = [
        (style.paint(UPDATE, Ink.YELLOW), strategy_id(change), _name(change), _effect_and_cause(change))
        for change in plan.strategies
    ]
    blocked = style.paint(f"{BLOCKED_SYMBOL} blocked", Ink.RED)
    return [*rows, *((blocked, strategy_id(b), _name(b), safe(b.detail)) for b in plan.blocked_strategies)]


def strategies_line(plan: Plan) -> str:
    """Return the line of counts, ``""`` where no strategy is declared; its form is stable."""
    update, blocked, unchanged = len(plan.strategies), len(plan.blocked_strategies), plan.strategies_no_op
    if not update + blocked + unchanged:
        return ""
    return f"Strategies: {update} to update, {unchanged} unchanged, {blocked} blocked."


def strategy_result_cells(result: StrategyResult, style: Style) -> tuple[str, str, str, str]:
    """Return verb, id, name and the story of one result."""
    return (
        style.paint(UPDATE, Ink.YELLOW),
        strategy_id(result.change),
        _name(result.change),
        safe(story(result), longest=400),
    )


def story(result: StrategyResult) -> str:
    """Return what is to be told of a result: what went wrong or was found out, else what was done."""
    told = "; ".join([*([result.detail] if result.detail else []), *result.notes])
    return told or strategy_effect(result.change)


def strategy_blocks(plan: Plan) -> list[str | Rows]:
    """Return the strategies of a plan as Markdown: counts, changes, blocks. Each change needs a look."""
    counts = strategies_line(plan)
    if not counts:
        return []
    columns = ("Action", "Strategy", "Name", "Effect")
    changes = sorted(plan.strategies, key=_gravity)
    updates = (
        (f"`{SYMBOLS[Verb.UPDATE]}` {Verb.UPDATE.value}", code(c.id), cell(c.name or ""), cell(_effect_and_cause(c)))
        for c in changes
    )
    return [
        f"**{counts}**",
        *opened("Strategies", columns, updates, count=len(changes), rank=0),
        *_blocked(plan),
    ]


def strategy_result_blocks(report: ApplyReport) -> list[str | Rows]:
    """Return the strategies' results of an apply as Markdown, and what was blocked."""
    columns = ("Outcome", "Strategy", "Name", "What happened")
    cells = (
        (result.outcome.text, code(result.change.id), cell(result.change.name or ""), cell(story(result)))
        for result in report.strategies
    )
    return [*opened("Strategies", columns, cells, count=len(report.strategies), rank=0), *_blocked(report.plan)]


def _blocked(plan: Plan) -> Iterator[Rows]:
    columns = ("Action", "Strategy", "Name", "Why")
    cells = (
        (f"`{BLOCKED_SYMBOL}` blocked", code(b.id), cell(b.name or ""), cell(b.detail)) for b in plan.blocked_strategies
    )
    yield from opened("Strategies blocked", columns, cells, count=len(plan.blocked_strategies), rank=0)


def _gravity(change: StrategyChange) -> tuple[bool, bool, int]:
    """Order changes: faster ones first, then by how many portfolios they reach, an unknown number being the most."""
    faster = StrategyRisk.MORE_RUNS in change.risks
    return not faster, change.reach is not None, -(change.reach or 0)


def _effect_and_cause(change: StrategyChange) -> str:
    effect = strategy_effect(change)
    return effect if change.cause is None else f"{effect} ({CAUSES[change.cause].partition(':')[0].lower()})"


def _name(entry: StrategyChange | StrategyBlocked) -> str:
    return cut(safe(entry.name), WIDEST_NAME) if entry.name else ""
