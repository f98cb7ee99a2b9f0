"""The pages of ``rebalance``: the question before it, the progress of each run, and the result.

In: values of :mod:`reconciler.core.rebalance`. Out: a :class:`~reconciler.render.page.Page`, cells of a line that is
shown as something happens, or JSON values, in which times are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec import Struct

from reconciler.core.rebalance import RebalanceOutcome, RebalanceStatus
from reconciler.core.text import SECOND_MS, format_duration, harmless, plural
from reconciler.render.json import picked
from reconciler.render.page import NAME, TONES, Column, Heading, Page, Part, Row, Rows, Span, Tone, code, moment, toned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import ApiVersion, Live, PortfolioId
    from reconciler.core.rebalance import Rebalance, RebalanceReport, RebalanceResult
    from reconciler.render.page import Cell

STEP_WIDTHS: Final = (len("awaiting user"),)
"""The width of the first cell of a progress line."""


class RebalanceTarget(Struct, frozen=True, kw_only=True):
    """One portfolio that is to run, as a person knows it; ``declared`` is false if no file names it.

    ``live`` is its state, read before the question; ``refused`` says why it will not run, if it will not.
    """

    id: PortfolioId
    name: str | None
    version: ApiVersion
    declared: bool
    live: Live | None = None
    refused: str | None = None


def targets_page(targets: Sequence[RebalanceTarget], base_url: str) -> Page:
    """Return the portfolios that are about to trade, and at which service."""
    rows = tuple(
        Row(
            (
                code(target.id),
                target.name or "",
                target.version.value,
                _state(target),
                "" if target.declared else Span("not declared", Tone.NOTICE),
            )
        )
        for target in targets
    )
    columns = (Column("Portfolio"), NAME, Column("API"), Column("State"), Column(""))
    head = Heading(("Rebalance now at ", code(base_url), ":"))
    table = Rows(columns=columns, rows=rows, parts=(Part("Portfolios", opened=None),))
    return Page(title="Rebalance", verdict=plural(len(targets), "portfolio"), blocks=(head, table))


def _state(target: RebalanceTarget) -> Cell:
    """Return what a person must know about a portfolio before saying yes: its state, or why it will not run."""
    live = target.live
    if target.refused is not None:
        return Span(f"not run: {target.refused}", Tone.NOTICE)
    if live is None:
        return ""
    word = live.word or live.status.value
    return f"{word}: {harmless(live.pause_reason, longest=120)}" if live.pause_reason else word


def accepted_cells(portfolio: PortfolioId, rebalance: str | None) -> tuple[Cell, ...]:
    """Return the line that is shown when a run was accepted."""
    return toned("accepted"), portfolio, rebalance or "Glider named no id"


def moved_cells(portfolio: PortfolioId, rebalance: Rebalance) -> tuple[Cell, ...]:
    """Return the line that is shown when a run has a new status."""
    more = "waits for a person in Glider's app" if rebalance.word == "awaiting_user" else ""
    return Span(rebalance.word.replace("_", " "), TONES[rebalance.status]), portfolio, more


def finished_cells(result: RebalanceResult) -> tuple[Cell, ...]:
    """Return the line that is shown when a run has its outcome."""
    return toned(result.outcome.value), result.portfolio, _story(result)


def rebalances_page(report: RebalanceReport, names: Mapping[PortfolioId, str | None]) -> Page:
    """Return the final table, the gravest last; the last line is stable."""
    order = list(RebalanceOutcome)
    results = sorted(report.results, key=lambda result: order.index(result.outcome))
    rows = tuple(
        Row(
            (
                toned(result.outcome.value),
                code(result.portfolio),
                names.get(result.portfolio) or "",
                code(result.id) if result.id else "-",
                took(result.rebalance),
                _story(result),
            ),
            gravity=(-order.index(result.outcome),),
        )
        for result in results
    )
    columns = (Column("Outcome", signs=True), Column("Portfolio"), NAME, Column("ID", keep=2), Column("Took", keep=3))
    table = Rows(columns=(*columns, Column("Detail")), rows=rows, parts=(Part("Rebalances", opened=None),))
    counts = ", ".join(f"{n} {outcome.text}" for outcome in RebalanceOutcome if (n := report.count(outcome)))
    line = f"{plural(len(results), 'rebalance')}: {counts}."
    return Page(title="Rebalance", verdict=counts, blocks=(table,), last=(line,))


def rebalances_document(
    report: RebalanceReport, targets: Sequence[RebalanceTarget], *, base_url: str, waited: bool
) -> dict[str, Any]:
    """Return the report as JSON values."""
    of = {target.id: target for target in targets}
    return {
        "base_url": base_url,
        "waited": waited,
        **picked(report, "started_at", "finished_at"),
        "summary": {outcome.value: report.count(outcome) for outcome in RebalanceOutcome},
        "results": [_result_document(result, of[result.portfolio]) for result in report.results],
    }


def _result_document(result: RebalanceResult, target: RebalanceTarget) -> dict[str, Any]:
    return {
        **picked(target, "id", "name"),
        "api": target.version.value,
        "rebalance_id": result.id,
        "rebalance": rebalance_document(result.rebalance),
        **picked(result, "outcome", "retry_at", "detail", "notes"),
    }


def rebalance_document(rebalance: Rebalance | None) -> dict[str, Any] | None:
    """Return one rebalance as JSON values; ``None`` for what is not known."""
    times = ("scheduled_at", "started_at", "ended_at", "duration_ms")
    names = ("id", "status", "word", *times, "error", "transaction", "gas_used")
    return picked(rebalance, *names) if rebalance is not None else None


def status_word(rebalance: Rebalance, tone: Tone) -> Span:
    """Return the word for a status: in capitals if it went wrong, in the service's spelling if we don't know it."""
    match rebalance.status:
        case RebalanceStatus.FAILED:
            return Span("FAILED", tone)
        case RebalanceStatus.COMPLETED | RebalanceStatus.CANCELLED:
            return Span(rebalance.status.value, tone)
        case RebalanceStatus.RUNNING | RebalanceStatus.UNKNOWN:
            return Span(harmless(rebalance.word.replace("_", " "), longest=24) or rebalance.status.value, tone)
        case _:
            assert_never(rebalance.status)


def took(rebalance: Rebalance | None) -> str:
    """Return how long a rebalance took, in whole seconds; ``-`` where that is not known."""
    if rebalance is None or rebalance.duration_ms is None:
        return "-"
    return format_duration(rebalance.duration_ms // SECOND_MS * SECOND_MS)


def _story(result: RebalanceResult) -> str:
    until = f" (at {moment(result.retry_ms)})" if result.retry_ms is not None else ""
    transaction = result.rebalance.transaction if result.rebalance is not None else None
    told = [
        result.detail + until if result.detail else "",
        *result.notes,
        f"transaction {transaction}" if transaction else "",
    ]
    return "; ".join(text for text in told if text)
