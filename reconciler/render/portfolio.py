"""One portfolio in detail: its automation, what else Glider tells of it, and its last rebalances.

In: a :class:`PortfolioView`. Out: text, or JSON values. Times are UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from reconciler.core.evidence import known_interval, known_offset, paused_by
from reconciler.core.rebalance import PortfolioFacts
from reconciler.core.text import plural
from reconciler.render.rebalance import maybe_iso, took
from reconciler.render.status import (
    due_ms,
    elsewhere_text,
    known_document,
    last_document,
    last_run_ms,
    next_run_ms,
    overdue_text,
    pause_text,
    result_text,
    schedule_text,
    state_text,
)
from reconciler.render.strategies import named
from reconciler.render.style import Ink, Style, columns, moment, safe

if TYPE_CHECKING:
    from reconciler.core.errors import ApiError
    from reconciler.core.model import ApiVersion, Desired, Live, PausedBy, Record
    from reconciler.core.rebalance import LastRebalance


class PortfolioView(Struct, frozen=True, kw_only=True):
    """One portfolio as declared (``None``: it is not), as read, and as we last wrote it.

    ``recent`` holds its rebalances, newest first, ``None`` where nobody asked for results. ``failures`` are the reads
    beside the status that failed.
    """

    version: ApiVersion
    desired: Desired | None
    live: Live
    record: Record | None
    now_ms: int | None = None
    """The service's time at the read; ``None`` where it is not known."""
    facts: PortfolioFacts = field(default_factory=PortfolioFacts)
    recent: tuple[LastRebalance, ...] | None = None
    failures: tuple[ApiError, ...] = ()

    @property
    def paused_by(self) -> PausedBy | None:
        """Whose pause is in force; ``None`` where it is not paused."""
        return paused_by(self.live, self.record, self.version)

    @property
    def last(self) -> LastRebalance | None:
        """Its last rebalance, where any is known."""
        return self.recent[0] if self.recent else None


def portfolio_text(view: PortfolioView, style: Style) -> str:
    """Return the facts line by line, then a table of rebalances."""
    live = view.live
    name = (view.desired.name if view.desired else None) or view.facts.name or live.name
    title = style.paint(live.id, Ink.BOLD) + (f"  {safe(name)}" if name else "")
    lines = [title, *(f"  {line}" for line in columns(_facts(view, style)))]
    lines += [style.paint(f"  {safe(str(failure), longest=400)}", Ink.RED) for failure in view.failures]
    if view.recent is not None:
        lines += ["", *_rebalances(view, view.recent, style)]
    return "\n".join(lines) + "\n"


def portfolio_document(view: PortfolioView) -> dict[str, Any]:
    """Return the view as JSON values; times are ISO 8601 in UTC."""
    live, facts = view.live, view.facts
    last_ms = last_run_ms(live, view.last)
    return {
        "id": live.id,
        "name": view.desired.name if view.desired else None,
        "api": view.version.value,
        "declared": view.desired.state.value if view.desired else None,
        "status": live.status.value,
        "word": live.word,
        "interval": known_document(known_interval(live, view.record)),
        "offset": known_document(known_offset(live, view.record)),
        "next_run_at": maybe_iso(next_run_ms(live, view.now_ms)),
        "due_at": maybe_iso(due_ms(live)),
        "last_run_at": maybe_iso(last_ms),
        "runs": live.runs,
        "pause_reason": live.pause_reason,
        "paused_by": view.paused_by.value if view.paused_by is not None else None,
        "schedule_id": live.schedule_id,
        "strategy": live.strategy,
        "strategy_name": live.strategy_name,
        "portfolio": {
            "name": facts.name or live.name,
            "value_usd": facts.value_usd,
            "archived": facts.archived,
            "trading_settings": dict(facts.trading),
        },
        "rebalances": [last_document(one) for one in view.recent] if view.recent is not None else None,
        "errors": [str(failure) for failure in (live.failure, *view.failures) if failure is not None],
    }


def _facts(view: PortfolioView, style: Style) -> list[tuple[str, str]]:
    live, facts = view.live, view.facts
    runs = next_run_ms(live, view.now_ms)
    last_ms = last_run_ms(live, view.last)
    rows = [
        ("state", state_text(live, style)),
        ("declared", _declared(view)),
        ("api", view.version.value),
        ("schedule", schedule_text(live, view.record)),
        ("next run", moment(runs) if runs is not None else overdue_text(live, view.now_ms) or "-"),
        ("last run", moment(last_ms) if last_ms is not None else "-"),
    ]
    if view.recent is not None:
        rows.append(("result", result_text(view.last, style) if view.recent or live.strategy else "-"))
    if view.paused_by is not None:
        rows.append(("pause", pause_text(live, view.paused_by, view.version, longest=400)))
    if live.failure is not None:
        rows.append(("error", style.paint(safe(str(live.failure), longest=400), Ink.RED)))
    more = (
        ("runs", str(live.runs) if live.runs is not None else ""),
        ("strategy", named(live.strategy, live.strategy_name) if live.strategy is not None else ""),
        ("", elsewhere_text(view.desired, live)),
        ("value", f"{facts.value_usd} USD" if facts.value_usd is not None else ""),
        ("archived", "yes" if facts.archived else ""),
        ("trading", ", ".join(f"{safe(name)} {safe(value)}" for name, value in facts.trading)),
    )
    return [*rows, *((title, text) for title, text in more if text)]


def _declared(view: PortfolioView) -> str:
    if view.desired is None:
        return "no"
    origin = view.desired.origin
    return view.desired.state.value + (f", {safe(origin.file)}:{origin.line}" if origin is not None else "")


def _rebalances(view: PortfolioView, recent: tuple[LastRebalance, ...], style: Style) -> list[str]:
    if not recent:
        listed = "Glider's v2 API lists no rebalances; only one that was asked for from here is known by its id."
        return [listed if view.live.strategy or view.version.value == "v2" else "No rebalances yet."]
    head = ("STARTED", "RESULT", "TOOK", "ID", "DETAIL")
    cells = [tuple(style.paint(title, Ink.DIM) for title in head), *(_row(one, style) for one in recent)]
    within = style.columns - 2 if style.columns is not None else None
    title = style.paint(f"Last {plural(len(recent), 'rebalance')}", Ink.BOLD)
    return [title, *(f"  {line}" for line in columns(cells, within=within))]


def _row(one: LastRebalance, style: Style) -> tuple[str, ...]:
    rebalance = one.rebalance
    if rebalance is None:
        return ("-", result_text(one, style), "-", "-", safe(str(one.failure or ""), longest=200))
    details = (
        str(one.failure) if one.failure is not None else "",
        rebalance.why if one.went_wrong else rebalance.error or "",
        f"transaction {rebalance.transaction}" if rebalance.transaction else "",
    )
    return (
        moment(rebalance.begun_ms) if rebalance.begun_ms is not None else "-",
        result_text(one, style),
        took(rebalance),
        safe(rebalance.id, longest=80),
        "; ".join(safe(text) for text in details if text),
    )
