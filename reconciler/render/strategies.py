"""What is to be done, and was done, about strategies: rows for a terminal, tables for Markdown.

In: a plan or a report. Out: rows, lines and blocks that the renderers of a whole plan put in their places; nothing
where no strategy is declared, so a fleet without strategies never reads of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.desired import RunState
from reconciler.core.duration import format_duration
from reconciler.core.live import Provenance, Status
from reconciler.core.runs import runs_a_day
from reconciler.core.strategy import Cadence, StrategyBlocked, StrategyChange, StrategyRisk
from reconciler.core.text import plural
from reconciler.core.verb import Verb
from reconciler.render.effects import BLOCKED_SYMBOL, CAUSES, HELD_SYMBOL, SYMBOLS, UNVERIFIED_SYMBOL
from reconciler.render.page import cell, code, opened
from reconciler.render.style import WIDEST_NAME, Ink, Style, cut, number, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.plan import Moved, Plan
    from reconciler.core.report import ApplyReport, StrategyResult
    from reconciler.render.page import Rows

UPDATE: Final = f"{SYMBOLS[Verb.UPDATE]} {Verb.UPDATE.value}"


MOVED: Final = (
    "Moved follows another strategy than declared, which no call can change: declare that one, or enroll it again. "
    "Until then it is not resumed."
)
"""What to do about it."""


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


def rate_text(change: StrategyChange) -> str:
    """Return how often everything that a change reaches runs, ``""`` where nothing does or nobody knows."""
    after = runs_a_day(change, change.after)
    if not after:
        return ""
    before = runs_a_day(change, change.before)
    about = "about " if Cadence.MONTHLY in (change.before, change.after) else ""
    return f"{about}{f'{number(before)} → ' if before is not None else ''}{number(after)} runs a day"


def strategy_effect(change: StrategyChange) -> str:
    """Return what a change does, in a few words."""
    more = "trades more often" if StrategyRisk.MORE_RUNS in change.risks else ""
    return ", ".join(text for text in (cadence_text(change), reach_text(change), rate_text(change), more) if text)


def named(strategy: str, name: str | None) -> str:
    """Return how a strategy is named for people: ``Momentum (01JWZ…)``, or its id alone. Harmless for a terminal."""
    return f"{cut(safe(name), WIDEST_NAME)} ({safe(strategy, longest=60)})" if name else safe(strategy, longest=60)


def moved_text(moved: Moved) -> str:
    """Return where a portfolio is, and where it should be."""
    cadence = f", every {format_duration(moved.cadence_ms)}" if moved.cadence_ms is not None else ""
    live, declared = named(moved.live, moved.live_name), named(moved.declared, moved.declared_name)
    stays = ", paused, and not resumed there" if _waits(moved) else ""
    return f"follows strategy {live}{cadence}, not {declared} as declared{stays}"


def moved_rows(plan: Plan, style: Style) -> list[tuple[str, str, str, str]]:
    """Return a row for each portfolio that follows another strategy than declared."""
    label = style.paint(f"{HELD_SYMBOL} moved", Ink.MAGENTA)
    return [(label, one.id, cut(safe(one.name or ""), WIDEST_NAME), moved_text(one)) for one in plan.moved]


def moved_blocks(plan: Plan) -> Iterator[Rows]:
    """Yield what follows another strategy than declared as a table for Markdown."""
    columns = ("Action", "Portfolio", "Name", "Why")
    cells = (
        (f"`{HELD_SYMBOL}`&nbsp;moved", code(one.id), cell(one.name or ""), cell(moved_text(one))) for one in plan.moved
    )
    yield from opened("Moved to another strategy", columns, cells, count=len(plan.moved), rank=0)


def _waits(moved: Moved) -> bool:
    return moved.state is RunState.ACTIVE and moved.status is Status.PAUSED


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
    """Return the line of counts, ``""`` where there is nothing to tell of any; its form is stable."""
    update, blocked, unchanged = len(plan.strategies), len(plan.blocked_strategies), plan.strategies_no_op
    moved = f"Moved to another strategy: {plural(len(plan.moved), 'portfolio')}." if plan.moved else ""
    if not update + blocked + unchanged:
        return moved
    counts = f"Strategies: {update} to update, {unchanged} unchanged, {blocked} blocked."
    return f"{counts} {moved}".rstrip()


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
