"""The page of ``coverage``: how much of what is live the files declare.

In: a :class:`~reconciler.core.fleet.Coverage`. Out: a :class:`~reconciler.render.page.Page`, or JSON values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.fleet import Listing
from reconciler.core.model import ApiVersion
from reconciler.core.text import plural
from reconciler.render.json import picked
from reconciler.render.page import NAME, Alone, Column, Lines, Notice, Page, Part, Row, Rows, Tone, code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.core.fleet import Coverage
    from reconciler.core.model import Live
    from reconciler.render.page import Block, Cell

_SHOWN: Final = 50
"""A terminal shows this many rows without -v. JSON always has them all."""


def coverage_page(coverage: Coverage) -> Page:
    """Return a table for each kind of gap, and a line of counts for each version of the API."""
    lines = tuple(coverage_lines(coverage))
    tone = Tone.NOTICE if coverage.leaves_unmanaged else Tone.GOOD
    verdict = f"{plural(len(coverage.unmanaged), 'portfolio')} live and not declared"
    about: list[Block] = []
    if coverage.listed.listing is not Listing.COMPLETE:
        failure = coverage.listed.failure
        why = f": {failure}" if failure is not None else "."
        about.append(Notice(Tone.NOTICE, (f"The list of v2 portfolios could not be read as a whole{why}",)))
    blocks: tuple[Block, ...] = (Alone((*about, Lines(lines))), *_tables(coverage))
    return Page(title="Coverage", tone=tone, verdict=verdict, blocks=blocks, last=lines)


def coverage_lines(coverage: Coverage) -> list[str]:
    """Return a sentence of counts for each version of the API."""
    listed = len(coverage.listed.rows)
    unmanaged = sum(api.can.lists for api, _ in coverage.unmanaged)
    of_v2 = f"v2: {listed - unmanaged} of {plural(listed, 'listed portfolio')} declared, {unmanaged} unmanaged."
    if coverage.listed.listing is not Listing.COMPLETE:
        of_v2 += " The list could not be read as a whole, so there may be more."
    declared = coverage.count_declared(ApiVersion.V1)
    if not coverage.named and not coverage.named_declared:
        rest = "v1 has no list, so nobody knows what else is live there; --ids-from compares ids that you have."
        return [of_v2, f"v1: {plural(declared, 'portfolio')} declared. {rest}"]
    named = coverage.named_declared + len(coverage.named)
    unmanaged = sum(not api.can.lists for api, _ in coverage.unmanaged)
    unread = f", {len(coverage.unread)} not read" if coverage.unread else ""
    of_v1 = f"{coverage.named_declared} of {plural(named, 'named portfolio')} declared, {unmanaged} unmanaged{unread}."
    return [of_v2, f"v1: {of_v1} v1 has no list: only what is named is compared."]


def _tables(coverage: Coverage) -> Iterator[Rows]:
    unmanaged = (
        (code(one.id), api.value, one.name or "", one.status.value.replace("_", " "), _code(one.strategy))
        for api, one in coverage.unmanaged
    )
    yield from _table("Unmanaged", (Column("API"), NAME, Column("State"), Column("Strategy")), unmanaged, rank=0)
    strategies = (
        (_code(row.strategy) or "none", str(row.listed), str(row.unmanaged), "declared" if row.declared else "")
        for row in coverage.by_strategy()
        if row.unmanaged
    )
    yield from _table("Strategy", (Column("Portfolios"), Column("Unmanaged"), Column("Cadence")), strategies, rank=2)
    unread = ((code(live.id), _why(live)) for live in coverage.unread)
    yield from _table("Not read", (Column("Why"),), unread, rank=0)
    unlisted = ((code(one), "declared on v2, but v2 does not list it") for one in coverage.unlisted)
    yield from _table("Not listed", (Column("Why"),), unlisted, rank=4)


def _table(title: str, columns: tuple[Column, ...], cells: Iterable[tuple[Cell, ...]], *, rank: int) -> Iterator[Rows]:
    """Yield a table whose first column has the title; nothing if there are no rows."""
    if rows := tuple(map(Row, cells)):
        heads = (Column(title), *columns)
        yield Rows(columns=heads, rows=rows, parts=(Part(title, rank=rank),), headed=True, most=_SHOWN)


def coverage_document(coverage: Coverage, *, base_url: str) -> dict[str, Any]:
    """Return it as JSON values. Lists are sorted by id, except strategies: those with most unmanaged come first."""
    found = coverage.unmanaged
    return {
        "base_url": base_url,
        "v2": {
            "listing": coverage.listed.listing.value,
            "error": picked(coverage.listed, "failure")["failure"],
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
        "unmanaged": [{"api": api.value, **picked(one, "id", "name", "status", "strategy")} for api, one in found],
        "strategies": [
            {"id": row.strategy, **picked(row, "listed", "unmanaged", "declared")} for row in coverage.by_strategy()
        ],
    }


def _code(text: str | None) -> Cell:
    return code(text) if text else ""


def _why(live: Live) -> str:
    return str(live.failure) if live.failure is not None else "Glider has no such portfolio, or the key may not see it"
