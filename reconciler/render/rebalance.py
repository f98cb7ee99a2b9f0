"""Rebalances for people and programs: what is about to be asked for, how each goes on, and what became of all.

In: values of :mod:`reconciler.core.rebalance`. Out: text, or values for a JSON document. Times are UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from msgspec import Struct

from reconciler.core.codec import iso
from reconciler.core.rebalance import RebalanceOutcome, RebalanceStatus
from reconciler.core.text import SECOND_MS, format_duration, plural
from reconciler.render.style import WIDEST_NAME, Ink, Style, columns, cut, moment, pad, safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import ApiVersion, Live, PortfolioId
    from reconciler.core.rebalance import Rebalance, RebalanceReport, RebalanceResult


class RebalanceTarget(Struct, frozen=True, kw_only=True):
    """One portfolio that is to run, as a person knows it; ``declared`` is false where no file names it.

    ``live`` is what a look showed before anybody is asked, and ``refused`` why it will not be run, where it will not.
    """

    id: PortfolioId
    name: str | None
    version: ApiVersion
    declared: bool
    live: Live | None = None
    refused: str | None = None


def targets_text(targets: Sequence[RebalanceTarget], base_url: str, style: Style) -> str:
    """Return what is about to trade, and where."""
    rows = [
        (
            target.id,
            cut(safe(target.name), WIDEST_NAME) if target.name else "",
            target.version.value,
            _state(target, style),
            "" if target.declared else style.paint("not declared", Ink.YELLOW),
        )
        for target in targets
    ]
    head = f"Rebalance now at {safe(base_url)}:"
    return "\n".join([style.paint(head, Ink.BOLD), *(f"  {row}" for row in columns(rows))]) + "\n"


def _state(target: RebalanceTarget, style: Style) -> str:
    """Return what a person has to know of a portfolio before saying yes: its state, and why it will not run."""
    live = target.live
    if target.refused is not None:
        return style.paint(safe(f"not run: {target.refused}", longest=300), Ink.YELLOW)
    if live is None:
        return ""
    word = safe(live.word or live.status.value, longest=60)
    return f"{word}: {safe(live.pause_reason, longest=120)}" if live.pause_reason else word


def accepted_line(portfolio: PortfolioId, rebalance: str | None, style: Style) -> str:
    """Return the line that is shown when one was accepted."""
    shown = safe(rebalance) if rebalance else "no id was named"
    return f"{style.paint(pad('accepted', _WIDEST), Ink.GREEN)}  {portfolio}  {shown}"


def moved_line(portfolio: PortfolioId, rebalance: Rebalance, style: Style) -> str:
    """Return the line that is shown when one goes on."""
    word = pad(safe(rebalance.word.replace("_", " "), longest=60), _WIDEST)
    more = "  it waits for a person, in Glider's app" if rebalance.word == "awaiting_user" else ""
    return f"{style.paint(word, status_ink(rebalance.status))}  {portfolio}{more}"


def finished_line(result: RebalanceResult, style: Style) -> str:
    """Return the line that is shown when one has its outcome, unless the line before said it all."""
    word = style.paint(pad(result.outcome.text, _WIDEST), _ink(result.outcome))
    return f"{word}  {result.portfolio}  {safe(_story(result), longest=400)}".rstrip()


def rebalances_text(report: RebalanceReport, names: Mapping[PortfolioId, str | None], style: Style) -> str:
    """Return the final table, the gravest last; the last line is stable."""
    order = sorted(report.results, key=lambda result: list(RebalanceOutcome).index(result.outcome))
    rows = [
        (
            style.paint(result.outcome.text, _ink(result.outcome)),
            result.portfolio,
            cut(safe(names.get(result.portfolio) or ""), WIDEST_NAME),
            safe(result.id) if result.id else "-",
            took(result.rebalance),
            safe(_story(result), longest=400),
        )
        for result in order
    ]
    within = style.columns - 2 if style.columns is not None else None
    counts = ", ".join(f"{n} {outcome.text}" for outcome in RebalanceOutcome if (n := report.count(outcome)))
    last = style.paint(f"{plural(len(report.results), 'rebalance')}: {counts}.", Ink.BOLD)
    return "\n".join([*(f"  {row}" for row in columns(rows, within=within)), "", last]) + "\n"


def rebalances_document(
    report: RebalanceReport, targets: Sequence[RebalanceTarget], *, base_url: str, waited: bool
) -> dict[str, Any]:
    """Return the report as JSON values; times are ISO 8601 in UTC."""
    of = {target.id: target for target in targets}
    return {
        "base_url": base_url,
        "waited": waited,
        "started_at": iso(report.started_ms),
        "finished_at": iso(report.finished_ms),
        "summary": {outcome.value: report.count(outcome) for outcome in RebalanceOutcome},
        "results": [_result_document(result, of[result.portfolio]) for result in report.results],
    }


def rebalance_document(rebalance: Rebalance) -> dict[str, Any]:
    """Return one rebalance as JSON values; ``null`` for what is not known."""
    return {
        "id": rebalance.id,
        "status": rebalance.status.value,
        "word": rebalance.word,
        "scheduled_at": maybe_iso(rebalance.scheduled_ms),
        "started_at": maybe_iso(rebalance.started_ms),
        "ended_at": maybe_iso(rebalance.ended_ms),
        "duration_ms": rebalance.duration_ms,
        "error": rebalance.error,
        "transaction": rebalance.transaction,
    }


def rebalance_word(rebalance: Rebalance) -> str:
    """Return the word of a status: in capitals where it went wrong, as the service spelled it where that is unknown."""
    match rebalance.status:
        case RebalanceStatus.FAILED:
            return "FAILED"
        case RebalanceStatus.COMPLETED | RebalanceStatus.CANCELLED:
            return rebalance.status.value
        case RebalanceStatus.RUNNING | RebalanceStatus.UNKNOWN:
            return safe(rebalance.word.replace("_", " "), longest=24) or rebalance.status.value
        case _:
            assert_never(rebalance.status)


def status_ink(status: RebalanceStatus) -> Ink:
    """Return the colour of a status."""
    match status:
        case RebalanceStatus.COMPLETED:
            return Ink.GREEN
        case RebalanceStatus.FAILED:
            return Ink.RED
        case RebalanceStatus.RUNNING:
            return Ink.BLUE
        case RebalanceStatus.CANCELLED | RebalanceStatus.UNKNOWN:
            return Ink.YELLOW
        case _:
            assert_never(status)


def took(rebalance: Rebalance | None) -> str:
    """Return how long a rebalance took, in whole seconds; ``-`` where that is not known."""
    if rebalance is None or rebalance.duration_ms is None:
        return "-"
    return format_duration(rebalance.duration_ms // SECOND_MS * SECOND_MS)


def maybe_iso(ms: int | None) -> str | None:
    """Return a time, or nothing, as JSON spells it."""
    return None if ms is None else iso(ms)


_WIDEST = len("awaiting user")


def _story(result: RebalanceResult) -> str:
    until = f" (at {moment(result.retry_ms)})" if result.retry_ms is not None else ""
    transaction = result.rebalance.transaction if result.rebalance is not None else None
    told = [
        result.detail + until if result.detail else "",
        *result.notes,
        f"transaction {transaction}" if transaction else "",
    ]
    return "; ".join(text for text in told if text)


def _result_document(result: RebalanceResult, target: RebalanceTarget) -> dict[str, Any]:
    return {
        "id": result.portfolio,
        "name": target.name,
        "api": target.version.value,
        "outcome": result.outcome.value,
        "rebalance_id": result.id,
        "rebalance": rebalance_document(result.rebalance) if result.rebalance is not None else None,
        "retry_at": maybe_iso(result.retry_ms),
        "detail": result.detail,
        "notes": list(result.notes),
    }


def _ink(outcome: RebalanceOutcome) -> Ink:
    match outcome:
        case RebalanceOutcome.COMPLETED | RebalanceOutcome.ACCEPTED:
            return Ink.GREEN
        case RebalanceOutcome.FAILED | RebalanceOutcome.REFUSED:
            return Ink.RED
        case (
            RebalanceOutcome.CANCELLED
            | RebalanceOutcome.TIMED_OUT
            | RebalanceOutcome.UNKNOWN
            | RebalanceOutcome.COOLING_DOWN
            | RebalanceOutcome.NOT_ATTEMPTED
        ):
            return Ink.YELLOW
        case _:
            assert_never(outcome)
