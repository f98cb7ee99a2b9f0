"""Two plans side by side: what appeared, what vanished, what changed, one portfolio at a time.

In: an earlier and a later :class:`~reconciler.core.plan.Plan`. Out: a :class:`Comparison`. It compares what a plan
means (what it would do, from where, and what it would send), so names, times and places in files make no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from reconciler.core.diff import Difference, Fact, describe
from reconciler.core.duration import format_duration
from reconciler.core.plan import Blocked, Change, ChangeReason, Held, Moved, Plan
from reconciler.core.strategy import StrategyBlocked, StrategyChange
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import PortfolioId
    from reconciler.core.strategy import StrategyAddress

Entry = Change | Held | Blocked | Moved | StrategyChange | StrategyBlocked
"""What a plan can say of a portfolio or strategy that it names."""


class Step(StrEnum):
    """What became of a portfolio from one plan to the next, in the order of display."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One portfolio or strategy that two plans treat differently; ``differences`` only where both name it."""

    step: Step
    entry: Entry
    """As the later plan has it; a vanished one as the earlier had it."""
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that differs, by step and then by portfolio id; ``same`` counts what both plans say alike."""

    rows: tuple[Compared, ...]
    same: int

    def count(self, step: Step) -> int:
        """Return how many portfolios took this step."""
        return sum(row.step is step for row in self.rows)


def compare_plans(*, earlier: Plan, later: Plan) -> Comparison:
    """Compare what two plans say of each portfolio and strategy that either names; unchanged ones are in no plan."""
    old, new = _entries(earlier), _entries(later)
    rows = [Compared(step=Step.APPEARED, entry=new[i]) for i in sorted(new.keys() - old.keys())]
    rows += [Compared(step=Step.VANISHED, entry=old[i]) for i in sorted(old.keys() - new.keys())]
    both = sorted(new.keys() & old.keys())
    for portfolio in both:
        if found := describe(earlier=facts(old[portfolio]), later=facts(new[portfolio])):
            rows.append(Compared(step=Step.CHANGED, entry=new[portfolio], differences=found))
    return Comparison(rows=tuple(rows), same=len(both) - sum(row.step is Step.CHANGED for row in rows))


def facts(entry: Entry) -> Mapping[str, Fact]:
    """Return the meaning of an entry, keyed by dotted name; intervals and offsets in milliseconds."""
    match entry:
        case Change():
            return {
                "action": entry.verb.value,
                "api": entry.api.value,
                "before.state": entry.before.state.value,
                "before.interval_ms": entry.before.interval_ms,
                "before.offset_ms": entry.before.offset_ms,
                "after.state": entry.after.state.value,
                "after.interval_ms": entry.after.interval_ms,
                "after.offset_ms": entry.after.offset_ms,
                "writes_schedule": entry.writes_schedule,
                "run_on_start": entry.run_on_start,
                "overrides_hold": entry.reason is ChangeReason.HOLD_OVERRIDDEN,
                "note": entry.note,
                "pause_reason": entry.pause_reason,
                "pause_id": entry.pause_id,
                "since": entry.since,
            }
        case Held():
            return {"action": "held", "pause_reason": entry.pause_reason}
        case Blocked():
            return {"action": "blocked", "reason": entry.reason.value, "status": entry.status}
        case Moved():
            return {"action": "moved", "status": entry.status.value, "declared": entry.declared, "live": entry.live}
        case StrategyChange():
            before = entry.before.value if entry.before else None
            return {
                "action": "update",
                "before.schedule": before,
                "after.schedule": entry.after.value,
                "since": entry.since,
            }
        case StrategyBlocked():
            return {"action": "blocked", "reason": entry.reason.value, "status": entry.status.value}
        case _:
            assert_never(entry)


def difference_text(difference: Difference) -> str:
    """Return one difference for people: ``after interval 12h → 6h``; text from outside made harmless."""
    name = difference.fact.removesuffix("_ms").replace(".", " ").replace("_", " ")
    in_ms = difference.fact.endswith("_ms")
    return f"{name} {_value(difference.earlier, in_ms=in_ms)} → {_value(difference.later, in_ms=in_ms)}"


def address(entry: Entry) -> PortfolioId | StrategyAddress:
    """Return the id of a portfolio, ``strategies/ID`` of a strategy."""
    return entry.address if isinstance(entry, StrategyChange | StrategyBlocked) else entry.id


def _entries(plan: Plan) -> dict[PortfolioId | StrategyAddress, Entry]:
    portfolios: tuple[Entry, ...] = (*plan.changes, *plan.held, *plan.blocked, *plan.moved)
    return {address(entry): entry for entry in (*portfolios, *plan.strategies, *plan.blocked_strategies)}


def _value(fact: Fact, *, in_ms: bool) -> str:
    if fact is None:
        return "none"
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, int):
        return format_duration(fact) if in_ms else str(fact)
    return harmless(fact, longest=80)
