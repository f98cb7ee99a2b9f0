"""When a pipeline should stop although nothing went wrong: what a team asked to be stopped for.

In: a plan, and the conditions asked for. Out: those that hold. Errors stop a pipeline whatever was asked.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from reconciler.core.plan import Cause, Listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.core.plan import Plan, Unmanaged


class FailOn(StrEnum):
    """A condition under which a job fails."""

    ERROR = "error"
    CHANGES = "changes"
    DRIFT = "drift"
    HELD = "held"
    UNMANAGED = "unmanaged"

    @property
    def sentence(self) -> str:
        """Return what holds, for people."""
        match self:
            case FailOn.ERROR:
                return "the command failed"
            case FailOn.CHANGES:
                return "changes are pending"
            case FailOn.DRIFT:
                return "live automation is not as declared"
            case FailOn.HELD:
                return "portfolios are held"
            case FailOn.UNMANAGED:
                return "portfolios are live that no file declares, or it can't be known whether any are"
            case _:
                assert_never(self)


def conditions_met(plan: Plan, asked: Iterable[FailOn], *, looked_for_drift: bool) -> tuple[FailOn, ...]:
    """Return the conditions asked for that a plan meets, in the order of :class:`FailOn`; never ``ERROR``.

    ``looked_for_drift`` says that every difference is one between the files and live (the command ``drift``). In any
    other plan drift is what its causes name so, which needs a base to compare with, and each portfolio that follows
    another strategy than declared.
    """
    wanted = set(asked)
    return tuple(condition for condition in FailOn if condition in wanted and _met(plan, condition, looked_for_drift))


def leaves_unmanaged(unmanaged: Sequence[Unmanaged], listing: Listing) -> bool:
    """Whether portfolios are live that no file declares, or nobody knows that there are none."""
    return bool(unmanaged) or listing is not Listing.COMPLETE


def _met(plan: Plan, condition: FailOn, looked_for_drift: bool) -> bool:
    match condition:
        case FailOn.ERROR:
            return False
        case FailOn.CHANGES:
            return bool(plan.changes or plan.strategies)
        case FailOn.DRIFT if looked_for_drift:
            return bool(plan.changes or plan.held or plan.moved or plan.strategies)
        case FailOn.DRIFT if plan.moved:
            return True
        case FailOn.DRIFT:
            causes = [*(change.cause for change in plan.changes), *(change.cause for change in plan.strategies)]
            return any(cause in (Cause.DRIFT, Cause.BOTH) for cause in causes)
        case FailOn.HELD:
            return bool(plan.held)
        case FailOn.UNMANAGED:
            return leaves_unmanaged(plan.unmanaged, plan.listing)
        case _:
            assert_never(condition)
