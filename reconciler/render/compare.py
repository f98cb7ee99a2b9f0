"""Two sides compared: what is declared with what is live (a look for drift), and one plan with another.

In: a plan whose files were their own base, so that every cause is drift or pending; or a
:class:`~reconciler.core.diff.Comparison` of two plans. Out: a :class:`~reconciler.render.page.Page`, or JSON values.
Declared comes before live, and the earlier plan before the later one.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.change import Cause, Change, ChangeReason, Field, FieldChange, Moved
from reconciler.core.diff import Step, difference_text, facts
from reconciler.core.forms import AUTO
from reconciler.core.model import Provenance, Verdict
from reconciler.core.needs import Need, left_alone
from reconciler.core.planfile import fingerprint
from reconciler.core.text import format_duration, plural
from reconciler.render.effects import (
    effect,
    followed,
    incomplete_notice,
    left_effect,
    live_at,
    reach_text,
)
from reconciler.render.json import picked
from reconciler.render.page import (
    NAME,
    UNVERIFIED,
    Column,
    Lines,
    Page,
    Part,
    Row,
    Rows,
    Tone,
    cause,
    code,
    marked,
    sentence,
    toned,
)

if TYPE_CHECKING:
    from reconciler.core.change import Overdue
    from reconciler.core.diff import Compared, Comparison, PlanEntry
    from reconciler.core.plan import Plan


class Finding(StrEnum):
    """How a portfolio differs from what is declared, in the order of display: first what needs a person, as in
    ``status``, and then what an apply puts right."""

    OVERDUE = "overdue"
    HELD = "held"
    HALTED = "halted"
    BLOCKED = "blocked"
    MOVED = "moved"
    PENDING = "pending"
    UNVERIFIED = "unverified"


_COUNTED: Final = tuple(map(Finding, ["overdue", "moved", "pending", "unverified", "held", "halted", "blocked"]))
"""The order of the counts, which scripts look for: it has always been this one."""
_RARE: Final = (Finding.OVERDUE, Finding.HALTED)
"""What is counted only where there is any."""


def drift_page(plan: Plan) -> Page:
    """Return a row for each portfolio or strategy that is not as declared, by finding and id, and the counts."""
    rows = _findings(plan)
    found = Counter(list(Finding)[row.part] for row in rows)
    counts = ", ".join(f"{found[word]} {word}" for word in _COUNTED if word not in _RARE or found[word])
    entries: tuple[PlanEntry, ...] = (*plan.changes, *plan.held, *plan.halted, *plan.moved, *plan.blocked)
    elsewhere = {one.id for one in entries}
    unlike = sum(overdue.id not in elsewhere for overdue in plan.overdue)
    counts = f"{counts}. {plan.no_op - unlike + plan.strategies_no_op} as declared"
    columns = (Column("Finding"), Column("Portfolio"), NAME, Column("Difference"))
    parts = tuple(Part(finding.value.capitalize()) for finding in Finding)
    table = Rows(columns=columns, rows=rows, parts=parts, subject=1, parted=True)
    return Page(
        title="Drift",
        tone=Tone.NOTICE if rows else Tone.GOOD,
        verdict=counts if rows else "live automation is as declared",
        notice=sentence(incomplete_notice(plan)),
        about=((f"{plural(plan.managed, 'portfolio')} compared with ", *live_at(plan)),),
        blocks=(table if rows else Lines(("No drift: live automation is as declared.",)),),
        last=(f"Drift: {counts}.",),
    )


def _findings(plan: Plan) -> tuple[Row, ...]:
    rows = [_finding(_finding_of(change), change, _differences(change)) for change in plan.changes]
    for need, one in left_alone(plan):
        why, before = left_effect(one), "declared active, " * (need is Need.HELD)
        told = (_elsewhere(one),) if isinstance(one, Moved) else (f"{before}{why.text}", f"{before}{why.shared}")
        rows.append(_finding(Finding(need.value), one, *told))
    return tuple(sorted(rows, key=lambda row: (row.part, row.name)))


def _finding(finding: Finding, entry: PlanEntry | Overdue, story: str, alike: str = "") -> Row:
    cells = (toned(finding.value), code(entry.id), entry.name or "", story)
    wrong = finding in (Finding.OVERDUE, Finding.HELD, Finding.BLOCKED)
    return Row(cells, entry.id, cause(alike or story), part=list(Finding).index(finding), cause=wrong)


def _finding_of(change: Change) -> Finding:
    if all(field.verdict is not Verdict.DIFFERENT for field in change.fields):
        return Finding.UNVERIFIED
    return Finding.MOVED if change.cause is Cause.DRIFT else Finding.PENDING


def _elsewhere(moved: Moved) -> str:
    state = f", declared {moved.state}, live {moved.status.value}" if moved.state.value != moved.status.value else ""
    return f"strategy declared {followed(moved.declared)}, live {followed(moved.live)}{state}"


def _differences(change: Change) -> str:
    told = [_difference(change, field) for field in change.fields if field.verdict is not Verdict.SAME]
    return ", ".join([*told, *([reach_text(change)] if change.of_strategy is not None else [])])


def _difference(change: Change, field: FieldChange) -> str:
    if field.field is Field.STATE:
        by_us = " by us" if change.reason is ChangeReason.PAUSED_BY_US else ""
        return f"declared {field.desired}, live {field.live}{by_us}"
    name = field.field.value.removesuffix("_ms")
    declared = _value(field.desired)
    if change.auto_offset and field.field is Field.OFFSET:
        declared += f" ({AUTO})"
    if field.verdict is Verdict.UNVERIFIED:
        return f"{name} declared {declared}, live {UNVERIFIED}"
    live = _value(field.live) if field.live is not None else "none"
    how = "" if field.provenance in (Provenance.READ, Provenance.NONE) else f" ({field.provenance.value})"
    return f"{name} declared {declared}, live {live}{how}"


def _value(value: str | int) -> str:
    return format_duration(value) if isinstance(value, int) else value


def comparison_page(comparison: Comparison) -> Page:
    """Return a row for each portfolio that the two plans treat differently, by step, and the counts."""
    counts = f"{', '.join(f'{comparison.count(step)} {step.value}' for step in Step)}, {comparison.same} the same."
    columns = (Column("Step"), Column("Action"), Column("Portfolio"), NAME, Column("Effect or difference"))
    parts = tuple(Part(step.value.capitalize()) for step in Step)
    rows = tuple(map(_compared_row, comparison.rows))
    found = Rows(columns=columns, rows=rows, parts=parts, subject=2, parted=True)
    blocks = (found if rows else Lines(("Both plans mean the same.",)),)
    return Page(title="Compared", verdict=counts, blocks=blocks, last=(f"Compared: {counts}",))


def comparison_document(comparison: Comparison, *, earlier: Plan, later: Plan) -> dict[str, Any]:
    """Return the comparison as a JSON object; differences are keyed by dotted fact, times in milliseconds."""
    return {
        "plan": _plan_document(later),
        "against": _plan_document(earlier),
        "summary": {**{step.value: comparison.count(step) for step in Step}, "same": comparison.same},
        **{step.value: [_document(row) for row in comparison.rows if row.step is step] for step in Step},
    }


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {**picked(plan, "base_url", "created_at"), "fingerprint": fingerprint(plan)}


def _document(row: Compared) -> dict[str, Any]:
    document = {**picked(row.entry, "id", "name"), **facts(row.entry)}
    return document if row.step is not Step.CHANGED else {**document, **picked(row, "differences")}


def _compared_row(row: Compared) -> Row:
    found = effect(row.entry) if isinstance(row.entry, Change) else left_effect(row.entry)
    word, story, alike = str(facts(row.entry)["action"]), found.text, found.shared
    if row.differences:
        story = alike = ", ".join(difference_text(found) for found in row.differences)
    cells = (
        toned(row.step.value),
        marked(word),
        code(row.entry.id),
        row.entry.name or "",
        story,
    )
    return Row(cells, row.entry.id, alike, part=list(Step).index(row.step))
