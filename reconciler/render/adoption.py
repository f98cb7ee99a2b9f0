"""What an import found: comments for the file, sentences for stderr, and the body of the JSON document.

In: an :class:`~reconciler.core.adoption.Adoption` and where it comes from. Out: strings, and JSON values. Knows no
YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler import TOOL
from reconciler.core.model import RunState
from reconciler.core.text import harmless, plural
from reconciler.render.json import picked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.adoption import Adoption, Omitted
    from reconciler.core.model import PortfolioId


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
