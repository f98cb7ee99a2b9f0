"""Limits on one apply: how many portfolios it may start, resume, pause or update, and how many a cadence may reach.

In: the limits in force, changes, and the numbers a person allowed. Out: what is over a limit. Directional on
purpose: stopping trades is never as dangerous as starting them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.core.limits import REACH, UNKNOWN, Excess
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.limits import Allowed, Guarded, Guards
    from reconciler.core.plan import Change
    from reconciler.core.strategy import StrategyChange


def check_guards(changes: Iterable[Change], guards: Guards, *, managed: int) -> tuple[Excess, ...]:
    """Return what is over a limit, in the order of :class:`~reconciler.core.verb.Verb`.

    ``managed`` is the size of the whole declared fleet, whatever was selected.
    """
    planned = Counter(change.verb for change in changes)
    found = []
    for verb in Verb:
        limit = guards.limit(verb)
        if limit is None:
            continue
        if planned[verb] > limit.allows(managed):
            found.append(Excess(guarded=verb, planned=planned[verb], allowed=limit.allows(managed), limit=limit.text))
    return tuple(found)


def check_reach(changes: Sequence[StrategyChange], guards: Guards, *, managed: int) -> tuple[Excess, ...]:
    """Return the excess of what faster cadences reach together, if there is one.

    A slower cadence means less trading, so it does not count; one that replaces an unknown cadence does. A
    portfolio is enrolled in one strategy, so the reaches add up. One that is not known is over any limit.
    """
    limit = guards.limit(REACH)
    reached = [change.reach for change in changes if change.may_run_more]
    if limit is None or not reached:
        return ()
    known = [reach for reach in reached if reach is not None]
    planned = sum(known) if len(known) == len(reached) else None
    if planned is not None and planned <= limit.allows(managed):
        return ()
    return (Excess(guarded=REACH, planned=planned, allowed=limit.allows(managed), limit=limit.text),)


def still_over(over: tuple[Excess, ...], allowed: Mapping[Guarded, Allowed]) -> tuple[Excess, ...]:
    """Return what of a plan's excesses the numbers that a person named do not allow."""
    return tuple(excess for excess in over if not _allows(allowed.get(excess.guarded), excess.planned))


def _allows(allowed: Allowed | None, planned: int | None) -> bool:
    if planned is None:
        return allowed == UNKNOWN
    return isinstance(allowed, int) and planned <= allowed
