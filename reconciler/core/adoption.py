"""A whole import: what of a fleet is declared how, and what is left out and why.

In: portfolios and strategies as read, our records, names, the layers that are there already. Out: an :class:`Adoption`.
What it declares is what is live, so a plan right after has nothing to do. Knows no YAML and no file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.core.adopt import Adopted, OmitReason, Omitted, adopt, adopt_strategy
from reconciler.core.desired import ApiVersion, RunState
from reconciler.core.layout import Layout, inherits_schedule, kind_of, lay_out
from reconciler.core.strategy import StrategyDesired, StrategyId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import PortfolioId
    from reconciler.core.errors import ApiError
    from reconciler.core.layout import Ground
    from reconciler.core.live import Live, Record
    from reconciler.core.strategy import StrategyLive


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read of the portfolios to import; mappings are keyed and sorted by id.

    ``versions`` holds the API of each. ``names`` holds what was read apart from the status, ``strategies`` those of v2
    portfolios.
    """

    live: Mapping[PortfolioId, Live]
    versions: Mapping[PortfolioId, ApiVersion]
    records: Mapping[PortfolioId, Record] = field(default_factory=dict)
    names: Mapping[PortfolioId, str | ApiError | None] = field(default_factory=dict)
    strategies: Mapping[StrategyId, StrategyLive] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What to declare besides what is declared. ``omitted`` is sorted by id; all text in here is harmless.

    ``notes`` say of a portfolio how its schedule is known; ``enrolled`` counts the imported portfolios of a strategy;
    ``left`` says of a strategy why it is not declared.
    """

    layout: Layout
    strategies: Mapping[StrategyId, StrategyDesired]
    notes: Mapping[PortfolioId, tuple[str, ...]]
    enrolled: Mapping[StrategyId, int]
    left: Mapping[StrategyId, str]
    omitted: tuple[Omitted, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing is to be declared."""
        return not self.layout.desired and not self.strategies

    def count(self, state: RunState) -> int:
        """Return how many of the portfolios are declared with this state."""
        return sum(desired.state is state for desired in self.layout.desired.values())


def make_adoption(found: Found, *, ground: Ground | None = None, reuse: bool = False) -> Adoption:
    """Return the import of a fleet. ``ground`` holds the layers of the files that will be read beside it, or of the
    file that it is added to; with ``reuse`` its groups may be named."""
    adopted: dict[PortfolioId, Adopted] = {}
    omitted: list[Omitted] = []
    for portfolio, live in sorted(found.live.items()):
        one = _adopted(portfolio, live, found)
        field_name = inherits_schedule(one.desired, ground) if isinstance(one, Adopted) and ground else None
        if isinstance(one, Omitted):
            omitted.append(one)
        elif field_name is not None:
            omitted.append(_inheriting(one, field_name))
        else:
            adopted[portfolio] = one
    strategies, left = _strategies(found)
    layout = lay_out(
        (one.desired for one in adopted.values()),
        kinds={i: _kind(found, i) for i in adopted if found.versions[i] is ApiVersion.V2},
        ground=ground,
        reuse=reuse,
    )
    counts = Counter(found.live[i].strategy for i in adopted)
    return Adoption(
        layout=layout,
        strategies=strategies,
        notes={i: one.notes for i, one in adopted.items() if one.notes},
        enrolled={strategy: counts[strategy] for strategy in found.strategies},
        left=left,
        omitted=tuple(omitted),
    )


def _adopted(portfolio: PortfolioId, live: Live, found: Found) -> Adopted | Omitted:
    name = found.names.get(portfolio)
    one = adopt(
        live,
        found.records.get(portfolio),
        api=found.versions[portfolio],
        name=name if isinstance(name, str) else None,
    )
    if isinstance(one, Adopted) and name is not None and not isinstance(name, str):
        return replace(one, notes=(*one.notes, "its name could not be read"))
    return one


def _inheriting(one: Adopted, name: str) -> Omitted:
    detail = f"the defaults of the files would give it their {name}, and its own is not known: declare it by hand"
    return Omitted(id=one.desired.id, api=one.desired.api, reason=OmitReason.INHERITS, detail=detail)


def _strategies(found: Found) -> tuple[dict[StrategyId, StrategyDesired], dict[StrategyId, str]]:
    declared: dict[StrategyId, StrategyDesired] = {}
    left: dict[StrategyId, str] = {}
    # The name comes with each of its portfolios; where it was renamed between two reads, the first one counts.
    names: dict[str | None, str] = {}
    for _, portfolio in sorted(found.live.items()):
        if portfolio.strategy_name is not None:
            names.setdefault(portfolio.strategy, portfolio.strategy_name)
    for strategy, live in sorted(found.strategies.items()):
        one = adopt_strategy(live, name=names.get(strategy))
        if isinstance(one, StrategyDesired):
            declared[strategy] = one
        else:
            left[strategy] = one
    return declared, left


def _kind(found: Found, portfolio: PortfolioId) -> str:
    """Return a word for the cadence of a v2 portfolio: its strategy's, else as far as its interval tells."""
    live = found.live[portfolio]
    strategy = found.strategies.get(StrategyId(live.strategy)) if live.strategy is not None else None
    if strategy is not None and strategy.cadence is not None:
        return strategy.cadence.value
    return kind_of(live.interval_ms)
