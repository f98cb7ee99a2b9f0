"""The simulated service without its HTTP: one portfolio read or changed at a time, at the simulator's clock.

In: portfolio ids and pure actions. Out: :class:`View` values. Time passes only here: the wall clock that was passed
in, plus what the store's clock was moved ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.sandbox.model import Code, Portfolio, Refused, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.sandbox.store import Facts, Store

    Action = Callable[[Portfolio, int], Portfolio]


@dataclass(frozen=True, slots=True)
class View:
    """A portfolio with everything that happened to it until ``now_ms``."""

    portfolio: Portfolio
    now_ms: int
    facts: Facts


@dataclass(frozen=True, slots=True)
class Glider:
    """The service; ``wall_ms`` returns UTC epoch milliseconds. Methods may raise ``Refused`` and ``SandboxError``."""

    store: Store
    wall_ms: Callable[[], int]

    def now_ms(self) -> int:
        """Return the simulator's time, UTC epoch milliseconds."""
        return self.wall_ms() + self.store.clock_offset_ms

    def read(self, portfolio: str) -> View:
        """Return a portfolio as it is now; writes only when a run became due since it was last asked for."""
        facts = self.store.facts()
        now = self.wall_ms() + facts.clock_offset_ms
        saved = self._saved(portfolio)
        if settle(saved, now) is saved:
            return View(saved, now, facts)
        return self.change(portfolio, _nothing)[1]

    def change(self, portfolio: str, action: Action) -> tuple[View, View]:
        """Carry out one action on a portfolio; return it before (settled until now) and after."""
        with self.store.transaction():
            facts = self.store.facts()
            now = self.wall_ms() + facts.clock_offset_ms
            saved = self._saved(portfolio)
            before = settle(saved, now)
            after = action(before, now)
            if after is not saved:
                self.store.save(after)
        return View(before, now, facts), View(after, now, facts)

    def _saved(self, portfolio: str) -> Portfolio:
        saved = self.store.portfolio(portfolio)
        if saved is None:
            raise Refused(404, Code.PORTFOLIO_NOT_FOUND, "Portfolio not found")
        return saved


def _nothing(portfolio: Portfolio, _now_ms: int) -> Portfolio:
    return portfolio
