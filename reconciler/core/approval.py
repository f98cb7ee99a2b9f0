"""Is what would run among what was approved? The check behind ``apply --approved``.

In: a fresh plan and the one that a person approved. Out: nothing, a sentence where less would run, or
:class:`StalePlan`. What the approved plan holds or blocks does not matter: only its changes were approved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.comparison import address, difference_text, facts
from reconciler.core.diff import describe
from reconciler.core.errors import StalePlan
from reconciler.core.plan import Change
from reconciler.core.text import harmless, plural
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from reconciler.core.diff import Difference
    from reconciler.core.plan import AnyChange, Plan

NAMED: Final = 5
"""So many differing changes are named one by one; `reconciler show --against` lists all."""
LONGEST: Final = 280
"""Characters told of one of them, so that an error line has room for them all and for the repair."""

_SCHEDULE_BEFORE: Final = frozenset({"before.interval_ms", "before.offset_ms", "before.schedule"})


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
    agreed = {address(change): change for change in _changes(approved)}
    refused = []
    for change in _changes(plan):
        name, verb = address(change), change.verb.value if isinstance(change, Change) else Verb.UPDATE.value
        agreement = agreed.get(name)
        if agreement is None:
            refused.append(f"{name}: {verb} was not approved")
        elif found := not_covered(change, agreement):
            told = ", ".join(difference_text(difference) for difference in found)
            sentence = f"{name}: {verb} was approved otherwise: {told}"
            refused.append(harmless(sentence, longest=LONGEST))
    if refused:
        raise StalePlan(f"{plural(len(refused), 'planned change')} not among the approved ones", _detail(refused))
    planned = {address(change) for change in _changes(plan)}
    missing = sorted(agreed.keys() - planned)
    if not missing:
        return None
    names = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    return f"{len(planned)} of {plural(len(agreed), 'approved change')} left to do; not planned any more: {names}"


def _changes(plan: Plan) -> tuple[AnyChange, ...]:
    return (*plan.strategies, *plan.changes)


def not_covered(change: AnyChange, agreement: AnyChange) -> tuple[Difference, ...]:
    """Return how a planned change differs from the one that was approved; nothing when the approval covers it.

    All that it would do and send must be the same, and so must the state it starts from. A live interval, offset or
    cadence pins only where both plans know it, as in the comparison before a write: knowing more, or less, is no other
    change.
    """
    return tuple(
        difference
        for difference in describe(earlier=facts(agreement), later=facts(change))
        if difference.fact not in _SCHEDULE_BEFORE or None not in (difference.earlier, difference.later)
    )


def _detail(refused: list[str]) -> str:
    more = f"; and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
    return (
        f"Nothing was written. {'; '.join(refused[:NAMED])}{more}. Save a new plan with `reconciler plan --out FILE`, "
        "see the difference with `reconciler show FILE --against APPROVED`, and have it approved."
    )
