"""What one look at the whole fleet found: the live state of what is declared, and what the service lists beyond it.

In: live portfolios, and the list of v2 portfolios where one was read. Out: the unmanaged ones, and whether they are all
there is. Never takes a list that ends early for the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.core.desired import ApiVersion
from reconciler.core.live import Status
from reconciler.core.plan import Listing, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.core.desired import PortfolioId
    from reconciler.core.errors import ApiError
    from reconciler.core.live import Live

_TOO_MANY_MISSING: Final = 3
SINGLY: Final = 20
"""So many v2 portfolios that were picked out of a fleet are read one by one: its list may take many more calls."""


def asks_for_list(versions: Iterable[ApiVersion], *, whole: bool) -> bool:
    """Whether reading portfolios of these versions takes the list of v2; ``whole``: nothing was selected away."""
    of_v2 = sum(version is ApiVersion.V2 for version in versions)
    return of_v2 > (0 if whole else SINGLY)


def mostly_missing(live: Collection[Live]) -> bool:
    """Whether more than half of these portfolios, and at least three, are not found: then it is another account."""
    missing = sum(one.status is Status.NOT_FOUND for one in live)
    return missing >= _TOO_MANY_MISSING and missing * 2 > len(live)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioList:
    """The v2 portfolios that the service lists, keyed and sorted by id; archived ones never are (API facts §7).

    ``failure`` is why the list ends early, ``None`` where it does not. ``unreadable`` counts rows that name no
    portfolio, and pages that leave open whether more follow.
    """

    rows: Mapping[PortfolioId, Live] = field(default_factory=dict)
    failure: ApiError | None = None
    unreadable: int = 0

    @property
    def complete(self) -> bool:
        """Whether a portfolio that is not in here is not listed at all."""
        return self.failure is None and not self.unreadable

    def enrolled(self, strategy: str) -> int | None:
        """Return how many portfolios of the list mirror a strategy.

        ``None`` where the list is not complete, and where a row names no strategy: it may be that one.
        """
        if not self.complete or any(live.strategy is None for live in self.rows.values()):
            return None
        return sum(live.strategy == strategy for live in self.rows.values())

    def running(self, strategy: str) -> int | None:
        """Return how many of those are active; ``None`` where that is not known of each of them."""
        if self.enrolled(strategy) is None:
            return None
        states = [live.status for live in self.rows.values() if live.strategy == strategy]
        known = all(state in (Status.ACTIVE, Status.PAUSED, Status.NO_SCHEDULE) for state in states)
        return states.count(Status.ACTIVE) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """``live`` holds every portfolio that was asked for, keyed and sorted by id; a failed read has its place too.

    ``listed`` is the list of v2 portfolios, ``None`` where nobody asked for one.
    """

    live: Mapping[PortfolioId, Live]
    listed: PortfolioList | None = None

    @property
    def listing(self) -> Listing:
        """Whether what is unmanaged is known."""
        if self.listed is None:
            return Listing.NONE
        return Listing.COMPLETE if self.listed.complete else Listing.INCOMPLETE

    def unmanaged(self, declared: Collection[PortfolioId]) -> tuple[Unmanaged, ...]:
        """Return what is listed and not declared, sorted by id; nothing unless the list is complete.

        ``declared`` is everything that the files declare, whatever its API version and whatever was selected.
        """
        if self.listed is None or not self.listed.complete:
            return ()
        return tuple(
            Unmanaged(id=portfolio, name=live.name, status=live.status, strategy=live.strategy)
            for portfolio, live in sorted(self.listed.rows.items())
            if portfolio not in declared
        )
