"""Where a planned change comes from: from this branch, from drift, from both, or from what was never applied.

In: a plan, and what a base revision of the files declares. Out: the same plan with a :class:`Cause` on every change.
The base is decided about with the same live state, records and policy as the plan itself; nothing is read again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.core.decide import Policy, decide
from reconciler.core.desired import Desired, RunState
from reconciler.core.diff import compare
from reconciler.core.live import Live, Record, Verdict
from reconciler.core.plan import Cause, Change, Decision, Plan, Unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import PortfolioId


def with_causes(
    plan: Plan,
    base: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    records: Mapping[PortfolioId, Record],
    policy: Policy,
) -> Plan:
    """Return the plan with a cause on every change; ``base`` may lack portfolios, ``live`` holds all of the plan's."""
    return replace(
        plan,
        changes=tuple(
            replace(
                change, cause=cause_of(change, base.get(change.id), live[change.id], records.get(change.id), policy)
            )
            for change in plan.changes
        ),
    )


def cause_of(change: Change, base: Desired | None, live: Live, record: Record | None, policy: Policy) -> Cause:
    """Return the cause of one planned change, given what the base declares of its portfolio.

    The base would make the very same change: *drift* where the journal says that the base was applied once, else
    *pending*. The base says something else, or nothing: *branch* where live agrees with it, else *both*.
    """
    if base is None:
        return Cause.BRANCH
    decision = decide(base, live, record, policy)
    if isinstance(decision, Change) and _same(decision, change):
        return Cause.DRIFT if was_applied(base, record) else Cause.PENDING
    return Cause.BRANCH if _agrees(base, decision, live, record) else Cause.BOTH


def was_applied(desired: Desired, record: Record | None) -> bool:
    """Whether our last confirmed write left the portfolio as declared, whatever happened to it since.

    Of a portfolio declared paused only the state counts: its schedule is not written while it is paused.
    """
    if record is None or record.state is not desired.state:
        return False
    if desired.state is RunState.PAUSED:
        return True
    return desired.interval_ms in (None, record.interval_ms) and desired.offset_ms in (None, record.offset_ms)


def _same(decision: Change, change: Change) -> bool:
    """Whether both would do and send the same; they start from the same live state anyway."""
    return (
        decision.api,
        decision.verb,
        decision.after,
        decision.writes_schedule,
        decision.run_on_start,
        decision.note,
    ) == (
        change.api,
        change.verb,
        change.after,
        change.writes_schedule,
        change.run_on_start,
        change.note,
    )


def _agrees(base: Desired, decision: Decision, live: Live, record: Record | None) -> bool:
    """Whether live is as the base declares, as far as can be known: nothing to do, or no field proven different."""
    if isinstance(decision, Unchanged):
        return True
    fields = compare(desired=base, live=live, record=record)
    return all(field.verdict is not Verdict.DIFFERENT for field in fields)
