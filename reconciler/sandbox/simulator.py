"""The simulated service without HTTP: reads or changes one thing at a time, at the time of the simulator's clock.

In: ids and pure actions. Out: views, which hold what has happened until now. Time passes only here: it is the time
of the clock that was passed in, plus what the sandbox was moved ahead. Reading never writes: what became due since the
last save is computed each time, and saved with the next change. Methods may raise ``Refused`` and ``SandboxError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.guards import ETHEREUM_MIN_INTERVAL_MS
from reconciler.sandbox.enrolled import INTERVALS_MS, Enrolled, ManualRebalance
from reconciler.sandbox.model import AutomationState, Code, Refused, made_up, not_found, stage, too_short_for_ethereum
from reconciler.sandbox.portfolio import MAINNET, Portfolio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.core.model import Cadence
    from reconciler.sandbox.enrolled import Strategy
    from reconciler.sandbox.model import Course
    from reconciler.sandbox.store import Store, StoreFacts

    SomeView = TypeVar("SomeView", "AutomationView", "EnrolledView")


class AutomationView(Struct, frozen=True):
    """A portfolio of v1 with everything that happened to it until ``now_ms``."""

    portfolio: Portfolio
    now_ms: int
    facts: StoreFacts


class EnrolledView(Struct, frozen=True):
    """An enrolled portfolio with everything that happened to it until ``now_ms``, and its strategy."""

    portfolio: Enrolled
    now_ms: int
    facts: StoreFacts
    strategy: Strategy


class Simulator(Struct, frozen=True):
    """The service; ``wall_ms`` returns UTC epoch milliseconds."""

    store: Store
    wall_ms: Callable[[], int]

    def read(self, portfolio: str) -> AutomationView:
        """Return a portfolio of v1 as it is now."""
        facts = self.store.facts()
        saved = self.store.portfolio(portfolio)
        if saved is None:
            raise not_found()
        now = self.wall_ms() + facts.clock_offset_ms
        return AutomationView(saved.settle(now), now, facts)

    def change(
        self, portfolio: str, action: Callable[[Portfolio, int], Portfolio]
    ) -> tuple[AutomationView, AutomationView]:
        """Carry out one action on a portfolio of v1; return it before and after."""
        return self._changed(self.read, portfolio, action)

    def read_enrolled(self, portfolio: str) -> EnrolledView:
        """Return a portfolio of v2 as it is now."""
        facts = self.store.facts()
        saved = self.store.enrolled(portfolio)
        if saved is None or saved.state is AutomationState.ARCHIVED:
            raise not_found()
        strategy, now = self._strategy(saved.strategy), self.wall_ms() + facts.clock_offset_ms
        return EnrolledView(saved.settle(now, strategy.cadence), now, facts, strategy)

    def change_enrolled(self, portfolio: str, action: Callable[[Enrolled, int], Enrolled]) -> EnrolledView:
        """Carry out one action on a portfolio of v2; return it afterwards."""
        return self._changed(self.read_enrolled, portfolio, action)[1]

    def page(self, wanted: Mapping[str, str | None], *, after: tuple[int, str] | None, most: int) -> list[EnrolledView]:
        """Return at most ``most`` portfolios of v2 as :meth:`Store.page` lists them."""
        facts = self.store.facts()
        now = self.wall_ms() + facts.clock_offset_ms
        found = self.store.page(Enrolled, wanted, after=after, most=most)
        strategies = {name: self._strategy(name) for name in sorted({one.strategy for one in found})}
        enrolled = ((one, strategies[one.strategy]) for one in found)
        return [EnrolledView(one.settle(now, of.cadence), now, facts, of) for one, of in enrolled]

    def rebalance(self, portfolio: str, course: Course) -> ManualRebalance:
        """Begin a manual rebalance that goes as ``course`` says. If one is in flight, return that one instead."""
        with self.store.transaction():
            view = self.read_enrolled(portfolio)
            before, now, pace = view.portfolio, view.now_ms, view.facts.settings.pace
            latest = self.store.operation(_operation_id(view.facts, before))
            if latest is not None and not stage(latest.course, pace, now - latest.submitted_ms).phase.over:
                return latest
            after = before.rebalance(now, latest, course=course, pace=pace)
            name = _operation_id(view.facts, after)
            begun = ManualRebalance(id=name, portfolio=portfolio, submitted_ms=now, course=course)
            self.store.save(after, begun)
        return begun

    def operation(self, portfolio: str, name: str) -> tuple[ManualRebalance, EnrolledView]:
        """Return a manual rebalance of this portfolio, and the portfolio; 404 for any other id."""
        view = self.read_enrolled(portfolio)
        found = self.store.operation(name)
        if found is None or found.portfolio != portfolio:
            raise Refused(404, Code.NOT_FOUND, "Operation not found")
        return found, view

    def own_strategy(self, strategy: str) -> Strategy:
        """Return a strategy of our own; 404 for a foreign one, just as for one that does not exist."""
        found = self.store.strategy(strategy)
        if found is None or not found.own:
            raise Refused(404, Code.NOT_FOUND, "Strategy not found")
        return found

    def set_cadence(self, strategy: str, cadence: Cadence) -> Strategy:
        """Set the cadence of a strategy of our own; it reaches each of its portfolios from the next cycle on.

        The next due time stays as it is; runs after that follow the new cadence (API facts §1.3).
        """
        with self.store.transaction():
            before = self.own_strategy(strategy)
            if before.cadence is cadence:
                return before
            now = self.wall_ms() + self.store.clock_offset_ms
            members = self.store.members(strategy)
            short = INTERVALS_MS[cadence] < ETHEREUM_MIN_INTERVAL_MS
            if short and any(one.chain == MAINNET for one in members):
                raise too_short_for_ethereum(cadence.value)
            # Save past runs now: without the old cadence, they could not be computed any more.
            settled = [one.settle(now, before.cadence) for one in members]
            after = replace(before, cadence=cadence, updated_ms=now)
            self.store.save(after, *(new for new, old in zip(settled, members, strict=True) if new is not old))
        return after

    def _changed(
        self, read: Callable[[str], SomeView], portfolio: str, action: Callable[[Any, int], Any]
    ) -> tuple[SomeView, SomeView]:
        with self.store.transaction():
            before = read(portfolio)
            after = action(before.portfolio, before.now_ms)
            if after is not before.portfolio:
                self.store.save(after)
        return before, replace(before, portfolio=after)

    def _strategy(self, name: str) -> Strategy:
        """Return the strategy that a portfolio names. It exists, because a seed without it is refused."""
        found = self.store.strategy(name)
        if found is None:
            raise self.store.damaged(f"the strategy {name} is missing")
        return found


def _operation_id(facts: StoreFacts, enrolled: Enrolled) -> str:
    """Return the id of the newest manual rebalance of a portfolio. If there is none, no operation has this id.

    It contains a run id that is URL-encoded already, as in the real service (API facts §1.4). A client that does not
    encode it once more in a path asks for another operation.
    """
    digits = made_up(8, "operation", facts.instance, enrolled.id, enrolled.operations)
    return f"rebalance:{enrolled.id}:run%3A{digits}"
