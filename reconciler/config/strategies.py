"""The ``strategies`` section of all files: each strategy's cadence, once.

In: documents that were checked against the schema. Out: one ``StrategyDesired`` for each strategy, and an error for
each that two files declare. Strategies have no layers: a cadence holds for every enrolled portfolio, so it is written
where it is meant. Knows no YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.config.document import Node
from reconciler.config.merge import twice
from reconciler.core.model import Cadence, Origin, StrategyDesired, StrategyId
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.config.document import Document
    from reconciler.core.diagnostics import Diagnostic

SECTION = "strategies"


class StrategySection(Struct, frozen=True):
    """What the files declare of strategies, sorted by id; ``declared`` counts broken ones too."""

    desired: Mapping[StrategyId, StrategyDesired]
    declared: int
    diagnostics: tuple[Diagnostic, ...]


def read_strategies(documents: Sequence[Document]) -> StrategySection:
    """Return the strategies of all documents; one that breaks the schema was reported already and is left out."""
    desired: dict[StrategyId, StrategyDesired] = {}
    places: dict[str, Origin] = {}
    diagnostics: list[Diagnostic] = []
    declared = 0
    for document in documents:
        section = document.section(SECTION)
        if section is None:
            continue
        declared += len(section)
        for index, (name, entry) in enumerate(section.items()):
            if first := places.get(name):
                address = f"{SECTION}.{harmless(name)}"
                diagnostics.append(twice(document.key_span(section, index), address, f"{first.file}:{first.line}"))
                continue
            origin = places[name] = Origin(document.file, document.line_of(section, index))
            if isinstance(entry, Node) and (SECTION, name) not in document.broken:
                desired[StrategyId(name)] = _desired(StrategyId(name), entry, origin)
    return StrategySection({strategy: desired[strategy] for strategy in sorted(desired)}, declared, tuple(diagnostics))


def _desired(strategy: StrategyId, entry: Node, origin: Origin) -> StrategyDesired:
    name = entry.get("name")
    return StrategyDesired(
        id=strategy,
        schedule=Cadence(str(entry["schedule"])),
        name=str(name) if name is not None else None,
        origin=origin,
    )
