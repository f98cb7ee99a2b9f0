"""Limits on one apply: how many portfolios it may start, resume, pause or update.

In: the limits as declared, a plan, and the numbers a person allowed. Out: what is over a limit. Directional on
purpose: stopping trades is never as dangerous as starting them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.limits import Guards, Limit
    from reconciler.core.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A verb of which a plan has more than its limit lets through."""

    verb: Verb
    planned: int
    allowed: int
    limit: Limit

    def __str__(self) -> str:
        """Return a sentence that ends in the flag that names the number."""
        share = f"{self.limit.text} = {self.allowed}" if self.limit.count is None else str(self.allowed)
        return (
            f"{self.planned} to {self.verb.value}, but guards.max_{self.verb.value} is {share}; "
            f"after reading the plan, allow it with --allow {self.verb.value}={self.planned}"
        )


def check_guards(plan: Plan, guards: Guards, *, managed: int, allowed: Mapping[Verb, int]) -> tuple[Excess, ...]:
    """Return what is over a limit, in the order of :class:`~reconciler.core.plan.Verb`.

    ``managed`` is the size of the whole declared fleet, whatever was selected; ``allowed`` raises a verb's limit to
    a number that a person named.
    """
    planned = {verb: sum(change.verb is verb for change in plan.changes) for verb in Verb}
    found = []
    for verb in Verb:
        limit = guards.limit(verb)
        if limit is None:
            continue
        through = max(limit.allows(managed), allowed.get(verb, 0))
        if planned[verb] > through:
            found.append(Excess(verb=verb, planned=planned[verb], allowed=limit.allows(managed), limit=limit))
    return tuple(found)
