"""What is told of strategies beside their changes: their counts, and the portfolios that follow another one.

In: a plan. Out: rows, lines and blocks that the renderers of a whole plan put in their places; nothing where no
strategy is declared, so a fleet without strategies never reads of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from reconciler.core.codec import dump
from reconciler.core.model import RunState, Status, StrategyStatus
from reconciler.core.text import format_duration, plural
from reconciler.render.effects import HELD_SYMBOL, UNVERIFIED_SYMBOL
from reconciler.render.page import cell, code, opened
from reconciler.render.style import WIDEST_NAME, Ink, Style, columns, cut, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.model import StrategyDesired, StrategyId, StrategyLive
    from reconciler.core.plan import Moved, Plan, StrategyName
    from reconciler.render.page import Rows

MOVED: Final = (
    "Moved follows another strategy than declared, which no call can change: declare that one, or enroll it again. "
    "Until then it is not resumed."
)
"""What to do about it."""


def named(strategy: str, name: str | None) -> str:
    """Return how a strategy is named for people: ``Momentum (01JWZ…)``, or its id alone. Harmless for a terminal."""
    return f"{cut(safe(name), WIDEST_NAME)} ({safe(strategy, longest=60)})" if name else safe(strategy, longest=60)


def followed(strategy: StrategyName) -> str:
    """Return how a strategy is named, and the interval that a portfolio has from it, where that is known."""
    every = f", every {format_duration(strategy.interval_ms)}" if strategy.interval_ms is not None else ""
    return f"{named(strategy.strategy, strategy.name)}{every}"


def moved_text(moved: Moved) -> str:
    """Return where a portfolio is, and where it should be."""
    stays = ", paused, and not resumed there" if _waits(moved) else ""
    return f"follows strategy {followed(moved.live)}, not {followed(moved.declared)} as declared{stays}"


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


def cadences_text(
    desired: Mapping[StrategyId, StrategyDesired], live: Mapping[StrategyId, StrategyLive], style: Style
) -> str:
    """Return a line for each of these strategies: its live schedule, and the declared one where that is another."""
    rows = [(f"strategy {i}", cut(safe(desired[i].name or ""), WIDEST_NAME), _seen(desired[i], live[i])) for i in live]
    return "".join(f"{row}\n" for row in columns(rows, within=style.columns))


def cadences_document(
    desired: Mapping[StrategyId, StrategyDesired], live: Mapping[StrategyId, StrategyLive]
) -> list[dict[str, Any]]:
    """Return the same as JSON values."""
    return [{"name": desired[i].name, "declared": desired[i].schedule, **dump(one)} for i, one in live.items()]


def _seen(desired: StrategyDesired, live: StrategyLive) -> str:
    """Return what is known of a strategy, in words."""
    match live.status:
        case StrategyStatus.FOUND:
            found = f"schedule {live.cadence}"
        case StrategyStatus.UNKNOWN:
            found = f"schedule {safe(live.word, longest=40) or UNVERIFIED_SYMBOL}"
        case StrategyStatus.NOT_FOUND | StrategyStatus.UNREADABLE | StrategyStatus.NOT_READ:
            why = f": {safe(str(live.failure), longest=400)}" if live.failure is not None else ""
            found = f"{live.status.value.replace('_', ' ')}{why}"
        case _:
            assert_never(live.status)
    return found if live.cadence is desired.schedule else f"{found}, declared {desired.schedule}"


def strategies_line(plan: Plan) -> str:
    """Return the line of counts, ``""`` where there is nothing to tell of any; its form is stable."""
    found = plan.summary.strategies
    moved = f"Moved to another strategy: {plural(len(plan.moved), 'portfolio')}." if plan.moved else ""
    if not found.update + found.blocked + found.no_op:
        return moved
    counts = f"Strategies: {found.update} to update, {found.no_op} unchanged, {found.blocked} blocked."
    return f"{counts} {moved}".rstrip()
