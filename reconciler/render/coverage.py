"""How much of what is live the files declare, and what an import declares of it.

In: a :class:`~reconciler.core.fleet.Coverage`, or an :class:`~reconciler.core.adoption.Adoption` and where it comes
from. Out: a :class:`~reconciler.render.page.Page`, comments for the imported file, sentences, or JSON values. Knows no
YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler import TOOL
from reconciler.core.fleet import Listing
from reconciler.core.model import ApiVersion, RunState
from reconciler.core.text import harmless, plural
from reconciler.render.json import picked
from reconciler.render.page import NAME, Alone, Column, Lines, Notice, Page, Part, Row, Rows, Tone, code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.core.adoption import Adoption, Omitted
    from reconciler.core.fleet import Coverage
    from reconciler.core.model import Live, PortfolioId
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


def head_lines(base_url: str) -> list[str]:
    """Return the comment at the top of an imported file. It holds no time, so the same fleet gives the same bytes."""
    return [
        f"Imported from {harmless(base_url)} by {TOOL}.",
        "What Glider did not return is left out, and so not managed. `state` is as it was found.",
    ]


def tail_lines(adoption: Adoption, list_problem: str | None) -> list[str]:
    """Return the comment below the portfolios: what is not declared, and why."""
    lines = []
    if adoption.omitted:
        lines += [f"Not imported: {plural(len(adoption.omitted), 'portfolio')}."]
        lines += [f"  {omitted_line(one)}" for one in adoption.omitted]
    if adoption.left:
        lines += ["Not declared under strategies:"]
        lines += [f"  {strategy}: {why}" for strategy, why in adoption.left.items()]
    return [*lines, *([list_problem] if list_problem else [])]


def omitted_line(one: Omitted) -> str:
    """Return a line with one portfolio that is left out, and why."""
    return f"{one.id} ({one.api}): {harmless(one.detail, longest=400)}"


def list_problem_of(failure: str | None, unreadable: int) -> str | None:
    """Return why the list of v2 portfolios may be incomplete; ``None`` if it is complete."""
    if failure is not None:
        return f"The list of v2 portfolios ended early, so there may be more of them: {harmless(failure, longest=300)}"
    if unreadable:
        return f"The list of v2 portfolios held {plural(unreadable, 'row')} that could not be read."
    return None


def imported_line(adoption: Adoption, declared: int) -> str:
    """Return the result of an import in a sentence."""
    count = len(adoption.layout.desired)
    strategies = f" and {plural(len(adoption.strategies), 'strategy')}" if adoption.strategies else ""
    states = ", ".join(f"{adoption.count(state)} {state}" for state in RunState if adoption.count(state))
    left = f" {len(adoption.omitted)} left out." if adoption.omitted else ""
    before = f" {declared} declared already, and left alone." if declared else ""
    return f"{plural(count, 'portfolio')}{strategies} imported{f': {states}' if states else ''}.{before}{left}"


def adoption_document(
    adoption: Adoption, *, base_url: str, declared: Sequence[PortfolioId], list_problem: str | None
) -> dict[str, Any]:
    """Return an import as JSON values; lists are sorted by id."""
    return {
        "base_url": base_url,
        "portfolios": [
            {
                **picked(one, "id", "api", "name", "group", "state", "strategy", "interval_ms", "offset_ms", "reason"),
                "notes": list(adoption.notes.get(one.id, ())),
            }
            for one in adoption.layout.desired.values()
        ],
        "strategies": [picked(one, "id", "name", "schedule") for one in adoption.strategies.values()],
        "strategies_left_out": [{"id": strategy, "detail": why} for strategy, why in adoption.left.items()],
        "left_out": [picked(one, "id", "api", "reason", "detail") for one in adoption.omitted],
        "declared_already": list(declared),
        "list_problem": list_problem,
    }
