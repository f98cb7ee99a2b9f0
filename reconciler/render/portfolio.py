"""One portfolio in detail: its facts line by line, and its last rebalances.

In: a :class:`PortfolioView`. Out: a :class:`~reconciler.render.page.Page`, or JSON values: those of a row of
``status``, and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import field
from msgspec.structs import replace

from reconciler.core.needs import Need
from reconciler.core.rebalance import PortfolioFacts
from reconciler.core.text import plural
from reconciler.render.effects import need_text, strategy_text
from reconciler.render.json import picked
from reconciler.render.page import (
    At,
    Column,
    Facts,
    Heading,
    Lines,
    Notice,
    Page,
    Part,
    Row,
    Rows,
    Span,
    Tone,
    code,
    sentence,
)
from reconciler.render.rebalance import took
from reconciler.render.status import StatusRow, ending_text, last_document, status_document, when

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.errors import ApiError
    from reconciler.core.model import Signs
    from reconciler.core.needs import Needed
    from reconciler.core.rebalance import LastRebalance
    from reconciler.render.page import Block, Cell


class PortfolioView(StatusRow, frozen=True, kw_only=True):
    """One portfolio in detail. One that is not ``declared`` is shown as if it were declared as it is live.

    ``recent`` holds its rebalances, newest first, ``None`` where nobody asked for results. ``failures`` are the reads
    beside the status that failed.
    """

    declared: bool = True
    facts: PortfolioFacts = field(default_factory=PortfolioFacts)
    recent: tuple[LastRebalance, ...] | None = None
    failures: tuple[ApiError, ...] = ()

    @property
    def signs(self) -> Signs:
        """What good practice is judged by, as far as an answer told it."""
        return replace(self.facts.signs, gas_used=super().signs.gas_used)

    @property
    def value(self) -> str | None:
        """What it holds in US dollars, with cents; ``None`` where nobody knows."""
        return None if self.facts.signs.value_usd is None else f"{self.facts.signs.value_usd:.2f}"


def portfolio_page(view: PortfolioView) -> Page:
    """Return the facts line by line, then a table of rebalances."""
    told = tuple((name, value) for name, value in _facts(view) if value)
    blocks: list[Block] = [Heading(Span(view.live.id, Tone.STRONG, code=True)), Facts(told)]
    if view.failures:
        blocks.append(Notice(Tone.BAD, tuple(map(str, view.failures))))
    if view.recent is not None:
        blocks += _rebalances(view, view.recent)
    return Page(title="Portfolio", verdict=view.live.status.value.replace("_", " "), blocks=tuple(blocks))


def _facts(view: PortfolioView) -> Iterator[tuple[str, Cell]]:
    """Yield each fact with its name; one that is not known is empty."""
    live, facts, desired = view.live, view.facts, view.desired
    name = desired.name or facts.name or live.name or ""
    yield "name", name if name != live.id else ""
    yield "state", view.state
    yield from (("" if place else "problem", _problem(one)) for place, one in enumerate(view.needs))
    yield "declared", _declared(view)
    yield "group", desired.group or ""
    yield "owner", desired.owner or ""
    yield "api", desired.api.value
    yield "schedule", view.schedule
    yield "next run", At(view.next_run_ms) if view.next_run_ms is not None else view.overdue or "-"
    yield "last run", when(view.last_run_ms)
    none = view.recent == () and desired.api.can.lists_runs
    yield "result", "" if view.recent is None else "-" if none else view.result
    yield "pause", view.pause(longest=400)
    yield "error", Span(str(live.failure), Tone.BAD) if live.failure is not None else ""
    yield "", live.failure.detail if live.failure is not None else ""
    yield "runs", str(live.runs) if live.runs is not None else ""
    yield "strategy", strategy_text(live.strategy, live.strategy_name) if live.strategy is not None else ""
    yield "value", f"{view.value} USD" if view.value else ""
    yield "archived", "yes" if facts.archived else ""
    yield "trading", ", ".join(f"{name} {value}" for name, value in facts.trading)


def _problem(one: Needed) -> Cell:
    """Return a need in words; of a pause that holds, how it is released, since its reason is told anyway."""
    if one.need is Need.HELD:
        return sentence(f"held: it stays paused; `reconciler plan --resume-held {one.id}` shows what a release does")
    return f"{one.need.text}: {need_text(one)}"


def _declared(view: PortfolioView) -> Cell:
    state, origin = view.desired.state, view.desired.origin
    if not view.declared:
        return "no"
    return (f"{state.value}, ", code(f"{origin.file}:{origin.line}")) if origin is not None else state


def _rebalances(view: PortfolioView, recent: tuple[LastRebalance, ...]) -> tuple[Block, ...]:
    if not recent:
        unlisted = "Glider's v2 API lists no rebalances; only one that was requested from here is known, by its id."
        return (Lines(("No rebalances yet." if view.desired.api.can.lists_runs else unlisted,)),)
    columns = (Column("Started"), Column("Result"), Column("Took"), Column("ID", keep=1), Column("Detail"))
    table = Rows(columns=columns, rows=tuple(map(_rebalance_row, recent)), parts=(Part("Rebalances"),), headed=True)
    return Heading(f"Last {plural(len(recent), 'rebalance')}"), table


def _rebalance_row(one: LastRebalance) -> Row:
    rebalance = one.rebalance
    if rebalance is None:
        return Row(("-", ending_text(one), "-", "-", str(one.failure or "")))
    details = (
        str(one.failure) if one.failure is not None else "",
        rebalance.why if one.went_wrong else rebalance.error or "",
        f"gas {rebalance.gas_used}" if rebalance.gas_used else "",
        f"transaction {rebalance.transaction}" if rebalance.transaction else "",
    )
    told = "; ".join(text for text in details if text)
    return Row((when(rebalance.begun_ms), ending_text(one), took(rebalance), code(rebalance.id), told))


def portfolio_document(view: PortfolioView) -> dict[str, Any]:
    """Return one portfolio as JSON values."""
    facts = view.facts
    known = {"name": facts.name or view.live.name, "value_usd": view.value, **picked(facts, "archived")}
    return {
        **status_document(view),
        "api": view.desired.api.value,
        "declared": view.desired.state.value if view.declared else None,
        "portfolio": {**known, "trading_settings": dict(facts.trading)},
        "rebalances": [last_document(one) for one in view.recent] if view.recent is not None else None,
        "errors": [str(failure) for failure in (view.live.failure, *view.failures) if failure is not None],
    }
