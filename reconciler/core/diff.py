"""Two sides compared: desired and live, field by field, and two plans, entry by entry. The only module with deepdiff.

In: one portfolio's two sides and our record of it, or two plans. Out: for every managed field a
:class:`~reconciler.core.change.FieldChange` with its verdict and provenance, in the order of display (what to do about
them is decided in :mod:`reconciler.core.decide`), or a :class:`Comparison`: what appeared, vanished and changed.
Plans are compared by what they mean (what they would do, from where, and what they would send), so names, times and
places in files make no difference. ``apply --approved`` asks the same of each planned change: is it among those that a
person approved?
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct

from reconciler.core.change import Blocked, Change, ChangeReason, Field, FieldChange, Halted, Held, Moved, Snapshot
from reconciler.core.errors import StalePlan
from reconciler.core.evidence import known_interval, known_offset
from reconciler.core.model import Desired, Live, Provenance, Record, RunState, Status, Verdict, at_start
from reconciler.core.text import format_duration, harmless, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.evidence import Known
    from reconciler.core.model import Address
    from reconciler.core.plan import Plan

Fact = str | int | bool | None
"""One value of what a plan says of a portfolio."""


class Difference(Struct, frozen=True):
    """One fact that two plans tell differently; ``None`` where a plan says nothing of it."""

    fact: str
    earlier: Fact
    later: Fact


def describe(*, earlier: Mapping[str, Fact], later: Mapping[str, Fact]) -> tuple[Difference, ...]:
    """Return the facts that differ, in the order of ``later``; what only one side has is ``None`` on the other."""
    names = [*later, *(name for name in earlier if name not in later)]
    differing = _differing(*(tuple((name, side.get(name)) for name in names) for side in (earlier, later)))
    return tuple(Difference(name, earlier.get(name), later.get(name)) for name in names if name in differing)


@lru_cache(maxsize=8192)
def _differing(earlier: tuple[tuple[str, Fact], ...], later: tuple[tuple[str, Fact], ...]) -> frozenset[str]:
    """Return the names whose values differ between two sides, each a tuple of (name, value) of the same names.

    Equality is 800 times cheaper than a DeepDiff, and a fleet repeats few distinct pairs, so it describes each
    distinct pair once, and only pairs that do differ. The two or three values of a portfolio's state and schedule need
    no description (:func:`compare`), and importing it would be a sixth of the time of a small plan.
    """
    if earlier == later:
        return frozenset()
    from deepdiff import DeepDiff

    tree = DeepDiff(dict(earlier), dict(later), view="tree")
    return frozenset(level.path(output_format="list")[0] for levels in tree.values() for level in levels)


def proven_same(*, desired: Desired, live: Live, record: Record | None) -> bool:
    """Whether every managed field is known and as desired. True of nearly the whole fleet, so this is asked first."""
    runs = live.status is Status.ACTIVE
    if runs is not (desired.state is RunState.ACTIVE) or not (runs or live.status is Status.PAUSED):
        return False
    return (desired.interval_ms is None or known_interval(live, record).value == desired.interval_ms) and (
        desired.offset_ms is None or known_offset(live, record).value == desired.offset_ms
    )


def compare(*, desired: Desired, live: Live, record: Record | None) -> tuple[FieldChange, ...]:
    """Return every managed field of one portfolio with its verdict; a field that is not declared is left out."""
    sides: list[tuple[Field, Known | None, str | int | None, str | int]] = [
        (Field.STATE, None, _live_state(desired, live), desired.state.value)
    ]
    if desired.interval_ms is not None:
        interval = known_interval(live, record)
        sides.append((Field.INTERVAL, interval, interval.value, desired.interval_ms))
    if desired.offset_ms is not None:
        offset = known_offset(live, record)
        sides.append((Field.OFFSET, offset, offset.value, desired.offset_ms))
    return tuple(
        FieldChange(
            field=name,
            live=value,
            desired=wanted,
            verdict=Verdict.UNVERIFIED if value is None else Verdict.SAME if value == wanted else Verdict.DIFFERENT,
            provenance=source.provenance if source else Provenance.READ,
            overruled=source.overruled if source else None,
        )
        for name, source, value, wanted in sides
    )


def schedule_of(fields: tuple[FieldChange, ...]) -> tuple[FieldChange, ...]:
    """Return the interval and offset among the fields."""
    return tuple(change for change in fields if change.field is not Field.STATE)


def _live_state(desired: Desired, live: Live) -> str:
    """Return the live state in the words of the files: nothing runs in an inactive portfolio, as if it were paused."""
    if live.status is Status.INACTIVE and desired.state is RunState.PAUSED:
        return RunState.PAUSED.value
    return live.status.value


PlanEntry = Change | Held | Halted | Blocked | Moved
"""What a plan can say of a portfolio or strategy that it names."""

NAMED: Final = 5
"""Up to this many changes that were not approved are named; `reconciler show --against` lists all of them."""
LONGEST: Final = 280
"""Characters shown for each of them, so that one error line holds them all and the repair."""
_FREEZES: Final = "freezes"
"""The windows in which a change must wait. Other windows make another plan, but need no new approval, because an apply
takes the freezes that the files declare by then."""
_SCHEDULE_BEFORE: Final = frozenset({"before.interval_ms", "before.offset_ms", "before.schedule"})


class Step(StrEnum):
    """What became of a portfolio from one plan to the next, in the order of display."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    CHANGED = "changed"


class Compared(Struct, frozen=True, kw_only=True):
    """One portfolio or strategy that two plans treat differently; ``differences`` only where both name it."""

    step: Step
    entry: PlanEntry
    """As the later plan has it; a vanished one as the earlier had it."""
    differences: tuple[Difference, ...] = ()


class Comparison(Struct, frozen=True, kw_only=True):
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


def facts(entry: PlanEntry) -> Mapping[str, Fact]:
    """Return the meaning of an entry, keyed by dotted name; intervals and offsets in milliseconds."""
    match entry:
        case Change():
            return {
                "action": entry.verb.value,
                "api": entry.api.value,
                **_end("before", entry.before),
                **_end("after", entry.after),
                "writes_schedule": entry.writes_schedule,
                **at_start(entry),
                "overrides_hold": entry.reason is ChangeReason.HOLD_OVERRIDDEN,
                **{name: getattr(entry, name) for name in ("note", "pause_reason", "pause_id", "since")},
                _FREEZES: ", ".join(f"{window.name} ({window})" for window in entry.freezes) or None,
            }
        case Held():
            return {"action": "held", "pause_reason": entry.pause_reason}
        case Halted():
            return {"action": "halted", "halt": entry.halt, "waits": entry.waits}
        case Blocked():
            return {"action": "blocked", "reason": entry.reason.value, "status": entry.status}
        case Moved():
            return {
                "action": "moved",
                "status": entry.status.value,
                "declared": entry.declared.strategy,
                "live": entry.live.strategy,
            }
        case _:
            assert_never(entry)


def _end(name: str, end: Snapshot) -> dict[str, Fact]:
    return {
        f"{name}.state": end.state,
        f"{name}.interval_ms": end.interval_ms,
        f"{name}.offset_ms": end.offset_ms,
        f"{name}.schedule": end.cadence,
    }


def difference_text(difference: Difference) -> str:
    """Return one difference for people: ``after interval 12h → 6h``; text from outside made harmless."""
    name = difference.fact.removesuffix("_ms").replace(".", " ").replace("_", " ")
    in_ms = difference.fact.endswith("_ms")
    return f"{name} {_value(difference.earlier, in_ms=in_ms)} → {_value(difference.later, in_ms=in_ms)}"


def _entries(plan: Plan) -> dict[Address, PlanEntry]:
    entries: tuple[PlanEntry, ...] = (*plan.changes, *plan.held, *plan.halted, *plan.blocked, *plan.moved)
    return {entry.id: entry for entry in entries}


def _value(fact: Fact, *, in_ms: bool) -> str:
    if fact is None:
        return "none"
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, int):
        return format_duration(fact) if in_ms else str(fact)
    return harmless(fact, longest=80)


def require_approved(plan: Plan, approved: Plan) -> str | None:
    """Return ``None`` when exactly the approved changes are planned, or a sentence when only some of them are.

    Raises :class:`StalePlan` when the approval is of another service, or when any planned change is not among the
    approved ones; its detail names the difference change by change. Call it before anything is written.
    """
    if plan.base_url != approved.base_url:
        raise StalePlan(
            f"the approved plan was made for {approved.base_url}, not for {plan.base_url}",
            "Nothing was written. Point GLIDER_BASE_URL or --base-url at the service it was made for, or plan and "
            "approve again.",
        )
    if None not in (plan.account, approved.account) and plan.account != approved.account:
        raise StalePlan(
            f"the approved plan was made for the account {approved.account}, not for {plan.account}",
            "Nothing was written. Use the key of that account, or plan and approve again.",
        )
    agreed = {change.id: change for change in approved.changes}
    refused = []
    for change in plan.changes:
        agreement = agreed.get(change.id)
        if agreement is None:
            refused.append(f"{change.id}: {change.verb} was not approved")
        elif found := not_covered(change, agreement):
            told = ", ".join(difference_text(difference) for difference in found)
            sentence = f"{change.id}: {change.verb} was approved otherwise: {told}"
            refused.append(harmless(sentence, longest=LONGEST))
    if refused:
        raise StalePlan(f"{plural(len(refused), 'planned change')} not among the approved ones", _detail(refused))
    planned = {change.id for change in plan.changes}
    missing = sorted(agreed.keys() - planned)
    if not missing:
        return None
    names = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    return f"{len(planned)} of {plural(len(agreed), 'approved change')} left to do; not planned any more: {names}"


def not_covered(change: Change, agreement: Change) -> tuple[Difference, ...]:
    """Return how a planned change differs from the one that was approved; nothing when the approval covers it.

    Everything that it would do and send must be the same, and so must the state it starts from. A live interval, offset
    or cadence is compared only where both plans know it, as in the comparison before a write: a plan that knows more or
    less about the live side still describes the same change.
    """
    return tuple(
        difference
        for difference in describe(earlier=facts(agreement), later=facts(change))
        if difference.fact != _FREEZES
        and (difference.fact not in _SCHEDULE_BEFORE or None not in (difference.earlier, difference.later))
    )


def _detail(refused: list[str]) -> str:
    more = f"; and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
    return (
        f"Nothing was written. {'; '.join(refused[:NAMED])}{more}. Save a new plan with `reconciler plan --out FILE`, "
        "see the difference with `reconciler show FILE --against APPROVED`, and have it approved."
    )
