"""How much of what is live the files declare.

In: what is declared, the list of v2 portfolios, and v1 portfolios that somebody named, because v1 lists none (API facts
§7). Out: a :class:`Coverage`. A list that ends early says nothing about what is behind its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.core.desired import ApiVersion
from reconciler.core.failon import leaves_unmanaged
from reconciler.core.fleet import Fleet, PortfolioList
from reconciler.core.live import Status
from reconciler.core.plan import Listing, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.live import Live
    from reconciler.core.strategy import StrategyId

_NOBODY_KNOWS = frozenset({Status.NOT_FOUND, Status.UNREADABLE, Status.NOT_READ})


@dataclass(frozen=True, slots=True)
class StrategyCoverage:
    """One strategy of the list, ``None`` for portfolios without one; ``declared`` says whether its cadence is."""

    strategy: str | None
    listed: int
    unmanaged: int
    declared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Both sides. ``named`` holds the v1 portfolios that were named and are not declared, as read; sorted by id.

    ``named_declared`` counts those that were named and are declared.
    """

    declared: Mapping[PortfolioId, Desired]
    strategies: Collection[StrategyId]
    listed: PortfolioList
    named: Mapping[PortfolioId, Live] = field(default_factory=dict)
    named_declared: int = 0

    @property
    def listing(self) -> Listing:
        """Whether what is unmanaged on v2 is known."""
        return Listing.COMPLETE if self.listed.complete else Listing.INCOMPLETE

    @property
    def unmanaged(self) -> tuple[tuple[ApiVersion, Unmanaged], ...]:
        """Live and not declared: of the list, and of what was named. Sorted by id.

        Unlike a plan, it names what a list that ends early holds: that much is true, and :attr:`listing` says so.
        """
        found = [(ApiVersion.V2, one) for one in _unmanaged(self.listed.rows, self.declared)]
        known = {i: live for i, live in self.named.items() if live.status not in _NOBODY_KNOWS}
        # A portfolio that is named on v1 and listed on v2 has an automation of its own in each.
        found += [(ApiVersion.V1, one) for one in _unmanaged(known, self.declared)]
        return tuple(sorted(found, key=lambda pair: (pair[1].id, pair[0])))

    @property
    def unread(self) -> tuple[Live, ...]:
        """What was named and could not be read, or is not there."""
        return tuple(live for live in self.named.values() if live.status in _NOBODY_KNOWS)

    @property
    def unlisted(self) -> tuple[PortfolioId, ...]:
        """Declared on v2 and not in the list: archived, another tenant's or gone (API facts §3.2)."""
        if not self.listed.complete:
            return ()
        return tuple(
            i for i, declared in self.declared.items() if declared.api is ApiVersion.V2 and i not in self.listed.rows
        )

    @property
    def leaves_unmanaged(self) -> bool:
        """Whether something is live that no file declares, or nobody knows that there is nothing."""
        return leaves_unmanaged([one for _, one in self.unmanaged], self.listing) or bool(self.unread)

    def count_declared(self, api: ApiVersion) -> int:
        """Return how many portfolios of one version are declared."""
        return sum(declared.api is api for declared in self.declared.values())

    def by_strategy(self) -> tuple[StrategyCoverage, ...]:
        """Return the strategies of the list, those with most unmanaged portfolios first, then by id."""
        found: dict[str | None, list[bool]] = {}
        for portfolio, live in self.listed.rows.items():
            found.setdefault(live.strategy, []).append(portfolio not in self.declared)
        rows = [
            StrategyCoverage(name, len(missing), sum(missing), name in self.strategies)
            for name, missing in found.items()
        ]
        return tuple(sorted(rows, key=lambda row: (-row.unmanaged, row.strategy is None, row.strategy or "")))


def _unmanaged(rows: Mapping[PortfolioId, Live], declared: Collection[PortfolioId]) -> tuple[Unmanaged, ...]:
    return Fleet(live={}, listed=PortfolioList(rows=rows)).unmanaged(declared)
