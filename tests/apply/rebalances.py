"""A service of rebalances that answers as it was told, and an observer that writes down all it hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.apply.scripted import Scripted

if TYPE_CHECKING:
    from reconciler.apply.run import Stop
    from reconciler.core.model import PortfolioId
    from reconciler.core.rebalance import PortfolioFacts, Rebalance, RebalanceResult, RecentRebalances


class Rebalancer(Scripted):
    """One version of the service: its portfolios and their rebalances, asked in one row."""

    def __init__(self, *answers: Any, noun: str = "workflow") -> None:
        super().__init__(*answers)
        self._noun = noun

    def noun(self, portfolio: PortfolioId) -> str:
        return self._noun

    async def recent(self, portfolio: PortfolioId, *, limit: int) -> RecentRebalances:
        return await self._answer("recent", portfolio, limit)

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        return await self._answer("look", portfolio, rebalance)

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:
        return await self._answer("facts", portfolio)


class Notes:
    """What an observer was told, oldest first; ``stop_at`` is the word at which it asks for an urgent stop."""

    def __init__(self, stop: Stop | None = None, *, stop_at: str = "") -> None:
        self.heard: list[tuple[object, ...]] = []
        self._stop = stop
        self._stop_at = stop_at

    def accepted(self, portfolio: PortfolioId, rebalance: str | None) -> None:
        self.heard.append(("accepted", portfolio, rebalance))

    def moved(self, portfolio: PortfolioId, rebalance: Rebalance) -> None:
        self.heard.append(("moved", portfolio, rebalance.word))
        if self._stop is not None and rebalance.word == self._stop_at:
            self._stop.request("interrupted", urgent=True)

    def finished(self, result: RebalanceResult) -> None:
        self.heard.append(("finished", result.portfolio, result.outcome.value))
