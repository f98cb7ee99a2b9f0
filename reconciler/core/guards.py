"""Limits: those that Glider sets on a schedule, and those that a team sets on one apply.

In: the limits in force, changes, and the numbers that a person allowed. Out: which limits are exceeded. The limits
depend on the direction, because stopping trades is less dangerous than starting them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.change import BlockReason
from reconciler.core.plan import UNKNOWN, Excess, Guarded
from reconciler.core.text import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.change import Change
    from reconciler.core.plan import Allowed, Plan

MIN_INTERVAL_MS: Final = HOUR_MS
"""API facts §6."""
MAX_INTERVAL_MS: Final = 365 * DAY_MS
"""API facts §4.6: "1 year", taken as 365 days."""
ETHEREUM_MIN_INTERVAL_MS: Final = DAY_MS
"""API facts §6, in force since 2026-03-02."""


class Limit(Struct, frozen=True):
    """A number of portfolios (``count``), or a percentage of the managed ones; exactly one of the two is set.

    ``percent`` is 0 to 100. ``floor`` is the number that any percentage above 0 allows, however small the fleet.
    ``text`` is the limit as written, for messages.
    """

    text: str
    count: int | None = None
    percent: float | None = None
    floor: int = 1

    def allows(self, managed: int) -> int:
        """Return how many of ``managed`` portfolios may change; a percentage is rounded down, but not below the floor.

        Without a floor small fleets would be stuck, because 10 % of three portfolios is less than one.
        """
        if self.count is not None:
            return self.count
        percent = self.percent or 0.0
        return max(int(managed * percent / 100), self.floor if percent > 0 else 0)


HANDFUL: Final = Limit("10%, at least 5", percent=10, floor=5)
"""The default for starts and resumes: more at once is more likely a mistake than intended."""
HALF: Final = Limit("50%, at least 10", percent=50, floor=10)
"""The default for schedules: a mistake in the defaults or in a group would change most of a fleet."""


class Guards(Struct, frozen=True):
    """The limits in force; ``None`` if a verb has none. Pausing is not limited unless somebody declares a limit."""

    max_start: Limit | None = HANDFUL
    max_resume: Limit | None = HANDFUL
    max_pause: Limit | None = None
    max_update: Limit | None = HALF
    max_reach: Limit | None = HALF

    def limit(self, guarded: Guarded) -> Limit | None:
        """Return the limit of a verb, or of reach; none can be set for what is not read."""
        limit: Limit | None = getattr(self, f"max_{guarded}", None)
        return limit


def check_guards(changes: Sequence[Change], guards: Guards | None, *, managed: int) -> tuple[Excess, ...]:
    """Return the limits that are exceeded, in the order of :class:`~reconciler.core.plan.Guarded`; none without
    ``guards``.

    ``managed`` is the size of the whole declared fleet, whatever was selected. A portfolio is enrolled in one strategy
    only, so the reaches of cadences are added up. A slower cadence means less trading, so it does not count; one that
    replaces an unknown cadence does. A reach that is not known exceeds any limit.
    """
    if guards is None:
        return ()
    found = []
    for guarded, number in _planned(changes).items():
        limit = guards.limit(guarded)
        if limit is None:
            continue
        allowed = limit.allows(managed)
        if number is None or number > allowed:
            found.append(Excess(guarded=guarded, planned=number, allowed=allowed, limit=limit.text))
    return tuple(found)


def _planned(changes: Sequence[Change]) -> dict[Guarded, int | None]:
    """Return what the guards count, in the order of :class:`~reconciler.core.plan.Guarded`."""
    planned: dict[Guarded, int | None] = {}
    planned.update(Counter(Guarded(change.verb) for change in changes if change.of_strategy is None))
    reached = [change.reach for change in changes if change.of_strategy is not None and change.may_run_more]
    if reached:
        planned[Guarded.REACH] = None if None in reached else sum(reach or 0 for reach in reached)
    return {guarded: planned[guarded] for guarded in Guarded if guarded in planned}


def check_complete(plan: Plan) -> tuple[Excess, ...]:
    """Return that a plan from live files is incomplete: a share is missing, or none holds what is selected."""
    count = sum(one.reason is BlockReason.NOT_READ for one in plan.blocked)
    missing = plan.shares is not None and plan.shares.missing
    return (Excess(guarded=Guarded.INCOMPLETE, planned=count, allowed=0, limit="0"),) if count or missing else ()


def still_over(
    over: tuple[Excess, ...], allowed: Mapping[Guarded, Allowed], going: Sequence[Change] | None = None
) -> tuple[Excess, ...]:
    """Return those of a plan's excesses that the numbers named by a person do not allow.

    ``going`` are the changes that will be carried out, if others of the plan have to wait: only these are counted.
    """
    if going is not None:
        planned = _planned(going)
        over = tuple(
            excess if excess.guarded is Guarded.INCOMPLETE else replace(excess, planned=planned.get(excess.guarded, 0))
            for excess in over
        )
        over = tuple(one for one in over if one.guarded is Guarded.INCOMPLETE or _is_over(one))
    return tuple(excess for excess in over if not _allows(allowed.get(excess.guarded), excess.planned))


def _allows(allowed: Allowed | None, planned: int | None) -> bool:
    if planned is None:
        return allowed == UNKNOWN
    return isinstance(allowed, int) and planned <= allowed


def _is_over(excess: Excess) -> bool:
    return excess.planned is None or excess.planned > excess.allowed
