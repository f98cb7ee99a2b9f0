"""``costs`` and ``silence``: the fields that are mappings, laid over one another key by key.

In: entries that keep to the schema. Out: fields of ``Desired``. A nearer layer's key wins over a farther one's, and
what only the farther one has stays. Knows no YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.config.document import Document, Node
from reconciler.core.advice import Rule
from reconciler.core.model import Silence

if TYPE_CHECKING:
    from reconciler.config.document import Value

COSTS = "costs"
COST_FIELDS = ("per_rebalance_usd", "warn_above_usd_month")
"""The keys of :data:`COSTS`, called the same in ``Desired``."""
SILENCE = "silence"
SILENCES = "silences"
"""The name in ``Desired`` for :data:`SILENCE`."""


def cost_fields(costs: Value) -> dict[str, Any]:
    """Return what ``costs`` holds; nothing of an amount that is broken."""
    found = costs if isinstance(costs, dict) else {}
    return {name: float(amount) for name in COST_FIELDS if isinstance(amount := found.get(name), (int, float))}


def silences_of(document: Document, silence: Value, address: str) -> tuple[Silence, ...]:
    """Return what ``silence`` of the portfolio or layer at ``address`` holds; nothing of one that is broken."""
    if not isinstance(silence, Node):
        return ()
    known = {rule.value: rule for rule in Rule}
    return tuple(
        Silence(known[name], str(reason), f"{address}.{SILENCE}.{name}", document.key_span(silence, index))
        for index, (name, reason) in enumerate(silence.items())
        if name in known
    )


def laid_over(nearer: tuple[Silence, ...], farther: tuple[Silence, ...]) -> tuple[Silence, ...]:
    """Return the silences in force: one a rule, the nearer one where both layers have it."""
    said = {silence.rule for silence in nearer}
    return (*nearer, *(silence for silence in farther if silence.rule not in said))
