"""A portfolio as a row of the store, and back: ``portfolio_of(row_of(p)) == p``.

Knows the order of the columns and no SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.sandbox.grid import Grid
from reconciler.sandbox.model import AutomationState, Portfolio
from reconciler.sandbox.runs import Course

if TYPE_CHECKING:
    from typing import Any

    Value = str | int | None

COLUMNS: Final = (
    "id",
    "name",
    "chain",
    "word",
    "state",
    "anchor_ms",
    "interval_ms",
    "offset_ms",
    "schedules",
    "pause_reason",
    "paused_ms",
    "runs",
    "recent",
    "settled_ms",
    "created_ms",
    "updated_ms",
    "courses",
)
"""The columns in the order in which both functions have them."""


def row_of(portfolio: Portfolio) -> tuple[Value, ...]:
    """Return the values of the columns; the newest runs become one text, for they are only ever read together."""
    grid = portfolio.grid
    return (
        portfolio.id,
        portfolio.name,
        portfolio.chain,
        portfolio.word,
        portfolio.state.value,
        grid.anchor_ms if grid else None,
        grid.interval_ms if grid else None,
        grid.offset_ms if grid else None,
        portfolio.schedules,
        portfolio.pause_reason,
        portfolio.paused_ms,
        portfolio.runs,
        " ".join(map(str, portfolio.recent)),
        portfolio.settled_ms,
        portfolio.created_ms,
        portfolio.updated_ms,
        " ".join(f"{number}={course.value}" for number, course in portfolio.courses),
    )


def portfolio_of(row: tuple[Any, ...]) -> Portfolio:
    """Return the portfolio of a row as SQLite gives it; raises :class:`ValueError` for one that nobody wrote."""
    (key, name, chain, word, state, anchor, interval, offset, schedules) = row[:9]
    (reason, paused, runs, recent, settled, created, updated, courses) = row[9:]
    grid = None if anchor is None else Grid(anchor_ms=anchor, interval_ms=interval, offset_ms=offset)
    if (grid is None) != (state == AutomationState.INACTIVE) or (grid and not 0 <= offset < interval):
        raise ValueError(f"portfolio {key} has a schedule that does not fit its state")
    return Portfolio(
        id=key,
        name=name,
        chain=chain,
        word=word,
        state=AutomationState(state),
        grid=grid,
        schedules=schedules,
        pause_reason=reason,
        paused_ms=paused,
        runs=runs,
        recent=tuple(map(int, recent.split())),
        settled_ms=settled,
        created_ms=created,
        updated_ms=updated,
        courses=tuple((int(number), Course(word)) for number, _, word in (c.partition("=") for c in courses.split())),
    )
