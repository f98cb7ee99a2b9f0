"""An apply's report as Markdown, for a comment or a summary page.

In: an :class:`~reconciler.core.report.ApplyReport`. Out: blocks of a :mod:`~reconciler.render.page`, or a whole one.
What did not come out as planned stands first; what is done is folded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from reconciler.core.planfile import fingerprint
from reconciler.core.report import Outcome
from reconciler.render.effects import effect
from reconciler.render.markdown import ACTIONS, action, label_code, not_changed, source_line
from reconciler.render.page import BAD, FINE, LOOK, OPEN_REST, Rows, cell, count_table, opened, page, table

if TYPE_CHECKING:
    from reconciler.core.report import ApplyReport, Result


def report_markdown(report: ApplyReport, *, limit_bytes: int | None = None) -> str:
    """Return verdict, counts, every result that needs a look, the others, and what was held or blocked."""
    sign, words = report_verdict(report)
    footer = f"<sub>{source_line(report.plan)}, fingerprint `{fingerprint(report.plan)}`</sub>"
    return page([f"### {sign} Apply: {words}", *report_blocks(report), footer], limit_bytes=limit_bytes)


def report_verdict(report: ApplyReport) -> tuple[str, str]:
    """Return sign and words that say at a glance how an apply ended."""
    counts = [(report.count(outcome), outcome) for outcome in Outcome]
    words = [f"{count:,} {outcome.text}" for count, outcome in counts if count]
    words += [f"{len(report.plan.held)} held"] if report.plan.held else []
    words += [f"{len(report.plan.moved)} moved"] if report.plan.moved else []
    blocked = len(report.plan.blocked)
    words += [f"{blocked} blocked"] if blocked else []
    sign = BAD if blocked or any(_wanting(result) for result in report.results) else FINE
    return (LOOK if sign is FINE and (report.plan.held or report.plan.moved) else sign), ", ".join(
        words
    ) or "nothing to do"


def report_blocks(report: ApplyReport) -> list[str | Rows]:
    """Return the blocks of a report under its headline."""
    order = (Outcome.UNKNOWN, Outcome.FAILED, Outcome.STALE, Outcome.NOT_ATTEMPTED, Outcome.ALREADY_DONE, Outcome.DONE)
    results = sorted(report.results, key=lambda result: order.index(result.outcome))
    look = [result for result in results if _wanting(result) or result.notes]
    rest = [result for result in results if not (_wanting(result) or result.notes)]
    columns = ("Outcome", *ACTIONS[:3], "What happened")
    blocks: list[str | Rows] = [count_table({outcome.text: report.count(outcome) for outcome in Outcome})]
    blocks += opened("Needs a look", columns, map(_result, look), count=len(look), rank=0)
    blocks += not_changed(report.plan)
    if rest:
        long = len(rest) > OPEN_REST
        blocks.append(table("Done", columns, map(_result, rest), count=len(rest), rank=2, folded=long))
    return blocks


def _wanting(result: Result) -> bool:
    return result.outcome not in (Outcome.DONE, Outcome.ALREADY_DONE)


def _result(result: Result) -> tuple[str, ...]:
    change = result.change
    story = "; ".join([*([result.detail] if result.detail else []), *result.notes]) or effect(change).shared
    outcome = f"{_sign(result.outcome)} {result.outcome.text}"
    return outcome, action(change.verb), label_code(change.id), cell(change.name or ""), cell(story)


def _sign(outcome: Outcome) -> str:
    match outcome:
        case Outcome.DONE | Outcome.ALREADY_DONE:
            return FINE
        case Outcome.STALE | Outcome.NOT_ATTEMPTED:
            return LOOK
        case Outcome.FAILED | Outcome.UNKNOWN:
            return BAD
        case _:
            assert_never(outcome)
