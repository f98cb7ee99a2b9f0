"""Limits on one apply: how many portfolios it may start, resume, pause or update.

In: the limits in force, changes, and the numbers a person allowed. Out: what is over a limit. Directional on
purpose: stopping trades is never as dangerous as starting them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.core.limits import Excess
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.limits import Guards
    from reconciler.core.plan import Change


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
            found.append(Excess(verb=verb, planned=planned[verb], allowed=limit.allows(managed), limit=limit.text))
    return tuple(found)


def still_over(over: tuple[Excess, ...], allowed: Mapping[Verb, int]) -> tuple[Excess, ...]:
    """Return what of a plan's excesses the numbers that a person named do not allow."""
    return tuple(excess for excess in over if excess.planned > allowed.get(excess.verb, 0))
