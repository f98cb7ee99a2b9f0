"""Portfolios that the service lists and no file declares: the same rows for a terminal and for Markdown.

In: a :class:`~reconciler.core.plan.Plan`. Out: a sentence and rows for the one, blocks for the other. They are reported
and left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.fleet import Listing
from reconciler.core.text import plural
from reconciler.render.page import cell, code, table
from reconciler.render.style import WIDEST_NAME, cut, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.plan import Plan
    from reconciler.render.page import Rows

SHOWN: Final = 10
"""So many are named; a team that begins has a whole fleet of them."""


def unmanaged_sentence(plan: Plan) -> str:
    """Return how many there are, or that nobody knows; ``""`` where there is nothing to say."""
    match plan.listing:
        case Listing.NONE:
            return ""
        case Listing.INCOMPLETE:
            return "Unmanaged portfolios are not known: the list of v2 portfolios could not be read as a whole."
        case Listing.COMPLETE:
            if not plan.unmanaged:
                return ""
            are = "is" if len(plan.unmanaged) == 1 else "are"
            return f"{plural(len(plan.unmanaged), 'portfolio')} on v2 {are} not declared, and left alone."
        case _:
            assert_never(plan.listing)


def unmanaged_rows(plan: Plan, *, verbose: bool) -> tuple[Sequence[tuple[str, str, str]], int]:
    """Return id, name and a few words of each, up to :data:`SHOWN` unless ``verbose``, and how many are not shown."""
    shown = plan.unmanaged if verbose else plan.unmanaged[:SHOWN]
    rows = [
        (
            one.id,
            cut(safe(one.name), WIDEST_NAME) if one.name else "",
            one.status.value.replace("_", " ")
            + (f", strategy {safe(one.strategy, longest=60)}" if one.strategy else ""),
        )
        for one in shown
    ]
    return rows, len(plan.unmanaged) - len(shown)


def unmanaged_blocks(plan: Plan) -> list[str | Rows]:
    """Return them as a folded table of a Markdown page, or that nobody knows; nothing where there are none."""
    if not plan.unmanaged:
        sentence = unmanaged_sentence(plan)
        return [sentence] if sentence else []
    rows = (
        (code(one.id), cell(one.name or ""), cell(one.status.value.replace("_", " ")), cell(one.strategy or ""))
        for one in plan.unmanaged
    )
    columns = ("Portfolio", "Name", "State", "Strategy")
    return [table("On v2, not declared, left alone", columns, rows, count=len(plan.unmanaged), rank=3, folded=True)]
