"""How much of what is live the files declare: sentences and tables for a terminal and for Markdown, and JSON values.

In: a :class:`~reconciler.core.fleet.Coverage`. Out: strings, and JSON values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.fleet import Listing
from reconciler.core.model import ApiVersion
from reconciler.core.text import plural
from reconciler.render.page import FINE, LOOK, alert, cell, code, opened, page
from reconciler.render.style import WIDEST_NAME, Ink, columns, cut, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.fleet import Coverage, StrategyCoverage, Unmanaged
    from reconciler.core.model import Live
    from reconciler.render.page import Rows
    from reconciler.render.style import Style

HEAD: Final = ("Unmanaged", "API", "Name", "State", "Strategy")
STRATEGY_HEAD: Final = ("Strategy", "Portfolios", "Unmanaged", "Cadence")
SHOWN: Final = 50
"""So many rows stand on a terminal; -v shows all. JSON always has them all."""


def coverage_text(coverage: Coverage, style: Style, *, verbose: bool) -> str:
    """Return the tables, and under them a line for each version."""
    blocks = []
    if rows := [_cells(api, one) for api, one in coverage.unmanaged]:
        blocks.append(_table(HEAD, rows, style, verbose=verbose))
    if strategies := [_strategy(row) for row in coverage.by_strategy() if row.unmanaged]:
        blocks.append(_table(STRATEGY_HEAD, strategies, style, verbose=verbose))
    if unread := [(live.id, safe(_why(live), longest=300)) for live in coverage.unread]:
        blocks.append(_table(("Not read", "Why"), unread, style, verbose=verbose))
    if unlisted := [(one, "declared on v2, but v2 does not list it") for one in coverage.unlisted]:
        blocks.append(_table(("Not listed", ""), unlisted, style, verbose=verbose))
    blocks.append([style.paint(line, Ink.BOLD) for line in coverage_lines(coverage)])
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def coverage_lines(coverage: Coverage) -> list[str]:
    """Return what can be said of each version, in a sentence each."""
    listed = len(coverage.listed.rows)
    unmanaged = sum(api.can.lists for api, _ in coverage.unmanaged)
    of_v2 = f"v2: {listed - unmanaged} of {plural(listed, 'listed portfolio')} declared, {unmanaged} unmanaged."
    if coverage.listed.listing is not Listing.COMPLETE:
        of_v2 += " The list could not be read as a whole, so there may be more."
    declared = coverage.count_declared(ApiVersion.V1)
    if not coverage.named and not coverage.named_declared:
        rest = "v1 has no list, so what else is live there is not known; --ids-from compares ids you have."
        return [of_v2, f"v1: {plural(declared, 'portfolio')} declared. {rest}"]
    named = coverage.named_declared + len(coverage.named)
    unmanaged = sum(not api.can.lists for api, _ in coverage.unmanaged)
    unread = f", {len(coverage.unread)} not read" if coverage.unread else ""
    of_v1 = f"{coverage.named_declared} of {plural(named, 'named portfolio')} declared, {unmanaged} unmanaged{unread}."
    return [of_v2, f"v1: {of_v1} v1 has no list: only what is named is compared."]


def coverage_markdown(coverage: Coverage) -> str:
    """Return the same as a page."""
    sign = LOOK if coverage.leaves_unmanaged else FINE
    what = plural(len(coverage.unmanaged), "portfolio")
    blocks: list[str | Rows] = [f"### {sign} {what} live and not declared"]
    if coverage.listed.listing is not Listing.COMPLETE:
        failure = coverage.listed.failure
        why = f": {cell(str(failure))}" if failure is not None else "."
        blocks.append(alert("WARNING", [f"The list of v2 portfolios could not be read as a whole{why}"]))
    blocks.append("\n".join(f"- {cell(line)}" for line in coverage_lines(coverage)))
    rows = (
        (code(one.id), api.value, cell(one.name or ""), _state(one), code(one.strategy) if one.strategy else "")
        for api, one in coverage.unmanaged
    )
    blocks += opened(HEAD[0], HEAD, rows, count=len(coverage.unmanaged), rank=0)
    found = [row for row in coverage.by_strategy() if row.unmanaged]
    cells = ((code(row.strategy) if row.strategy else "none", *_strategy(row)[1:]) for row in found)
    blocks += opened("By strategy", STRATEGY_HEAD, cells, count=len(found), rank=2)
    unread = ((code(live.id), cell(_why(live))) for live in coverage.unread)
    blocks += opened("Not read", ("Portfolio", "Why"), unread, count=len(coverage.unread), rank=0)
    missing = ((code(one),) for one in coverage.unlisted)
    blocks += opened("Declared on v2, not listed", ("Portfolio",), missing, count=len(coverage.unlisted), rank=4)
    return page(blocks)


def coverage_document(coverage: Coverage, *, base_url: str) -> dict[str, Any]:
    """Return it as JSON values; lists are sorted by id, but strategies by how much of them is unmanaged."""
    failure = coverage.listed.failure
    return {
        "base_url": base_url,
        "v2": {
            "listing": coverage.listed.listing.value,
            "error": str(failure) if failure is not None else None,
            "unreadable_rows": coverage.listed.unreadable,
            "listed": len(coverage.listed.rows),
            "declared": coverage.count_declared(ApiVersion.V2),
            "not_listed": list(coverage.unlisted),
        },
        "v1": {
            "listing": Listing.NONE.value,
            "declared": coverage.count_declared(ApiVersion.V1),
            "named": coverage.named_declared + len(coverage.named),
            "not_read": [{"id": live.id, "detail": _why(live)} for live in coverage.unread],
        },
        "unmanaged": [
            {"id": one.id, "api": api.value, "name": one.name, "status": one.status.value, "strategy": one.strategy}
            for api, one in coverage.unmanaged
        ],
        "strategies": [
            {"id": row.strategy, "listed": row.listed, "unmanaged": row.unmanaged, "declared": row.declared}
            for row in coverage.by_strategy()
        ],
    }


def _table(head: tuple[str, ...], rows: Sequence[Sequence[str]], style: Style, *, verbose: bool) -> list[str]:
    shown = rows if verbose else rows[:SHOWN]
    titles = tuple(style.paint(title.upper(), Ink.DIM) for title in head)
    more = [f"... and {len(rows) - len(shown)} more (-v shows them)"] if len(shown) < len(rows) else []
    return [*columns([titles, *shown]), *more]


def _cells(api: ApiVersion, one: Unmanaged) -> tuple[str, ...]:
    name = cut(safe(one.name), WIDEST_NAME) if one.name else ""
    return one.id, api.value, name, _state(one), safe(one.strategy, longest=60) if one.strategy else ""


def _strategy(row: StrategyCoverage) -> tuple[str, ...]:
    name = safe(row.strategy, longest=60) if row.strategy else "none"
    return name, str(row.listed), str(row.unmanaged), "declared" if row.declared else ""


def _state(one: Unmanaged) -> str:
    return one.status.value.replace("_", " ")


def _why(live: Live) -> str:
    return str(live.failure) if live.failure is not None else "Glider has no such portfolio, or the key may not see it"
