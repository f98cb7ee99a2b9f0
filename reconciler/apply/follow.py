"""Follow accepted rebalances to their end: look, wait, look again.

In: results of :mod:`reconciler.apply.trigger`. Out: the same, with the end of each. Only reads; whoever stops following
stops nothing at Glider.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, assert_never

from msgspec.structs import replace

from reconciler.core.duration import SECOND_MS, format_duration
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.rebalance import RebalanceOutcome, RebalanceStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.apply.stop import Stop
    from reconciler.core.model import PortfolioId
    from reconciler.core.ports import Clock, RebalanceApi, RebalanceObserver
    from reconciler.core.rebalance import Rebalance, RebalanceResult

POLL_SECONDS: Final = 3.0
"""Between two looks; 2 to 5 s are asked for (API facts §6)."""
_PATIENCE: Final = 5
"""So many looks in a row may fail: one that was just accepted is perhaps not there yet."""
_HOPELESS: Final = frozenset({FailureKind.UNAUTHENTICATED, FailureKind.FORBIDDEN})


async def follow_all(
    results: Mapping[PortfolioId, RebalanceResult],
    api: RebalanceApi,
    *,
    clock: Clock,
    observer: RebalanceObserver,
    timeout_ms: int,
    stop: Stop,
) -> dict[PortfolioId, RebalanceResult]:
    """Follow every accepted rebalance until it is over, or for ``timeout_ms``; return all results, by portfolio.

    After an urgent stop what is not over stays *accepted*: it goes on.
    """
    follower = _Follower(results, api, clock=clock, observer=observer, deadline_ms=clock.now_ms() + timeout_ms)
    rounds = asyncio.ensure_future(follower.run(format_duration(timeout_ms)))
    urgent = asyncio.ensure_future(stop.urgent())
    try:
        await asyncio.wait((rounds, urgent), return_when=asyncio.FIRST_COMPLETED)
        if rounds.done():
            rounds.result()
        else:
            follower.give_up()
    finally:
        for task in (rounds, urgent):
            task.cancel()
        await asyncio.gather(rounds, urgent, return_exceptions=True)
    return follower.results


class _Follower:
    """Looks at all open rebalances in rounds; ``results`` holds what is known of each."""

    def __init__(
        self,
        results: Mapping[PortfolioId, RebalanceResult],
        api: RebalanceApi,
        *,
        clock: Clock,
        observer: RebalanceObserver,
        deadline_ms: int,
    ) -> None:
        self.results = dict(results)
        self._api = api
        self._clock = clock
        self._observer = observer
        self._deadline_ms = deadline_ms
        self._failures: dict[PortfolioId, int] = {}

    async def run(self, patience: str) -> None:
        """Look until nothing is open, or the time is over; ``patience`` names that time to people."""
        for portfolio in self._open():
            if self.results[portfolio].id is None:
                self._end(
                    portfolio, RebalanceOutcome.UNKNOWN, "it was accepted, but Glider named no id to follow it by"
                )
        while waiting := self._open():
            await asyncio.gather(*(self._look(portfolio) for portfolio in waiting))
            left_ms = self._deadline_ms - self._clock.now_ms()
            if left_ms <= 0:
                break
            if self._open():
                await self._clock.sleep(min(POLL_SECONDS, left_ms / SECOND_MS))
        for portfolio in self._open():
            last = self.results[portfolio].rebalance
            shown = f" ({last.word.replace('_', ' ')})" if last is not None else ""
            self._end(
                portfolio,
                RebalanceOutcome.TIMED_OUT,
                f"it is not over after {patience}{shown}, and goes on; look with `reconciler status {portfolio}`",
            )

    def give_up(self) -> None:
        """Say of everything that is open that it goes on."""
        for portfolio in self._open():
            self._end(
                portfolio,
                RebalanceOutcome.ACCEPTED,
                f"waiting was interrupted; it goes on: look with `reconciler status {portfolio}`",
            )

    def _open(self) -> list[PortfolioId]:
        return [
            portfolio
            for portfolio, result in self.results.items()
            if result.outcome is RebalanceOutcome.ACCEPTED and not result.detail
        ]

    async def _look(self, portfolio: PortfolioId) -> None:
        result = self.results[portfolio]
        try:
            found = await self._api.look(portfolio, result.id or "")
        except ApiError as error:
            self._failures[portfolio] = self._failures.get(portfolio, 0) + 1
            if error.kind in _HOPELESS or self._failures[portfolio] >= _PATIENCE:
                self._end(
                    portfolio, RebalanceOutcome.UNKNOWN, f"it was accepted, but can't be followed: {error}", error
                )
            return
        self._failures[portfolio] = 0
        last = result.rebalance
        self.results[portfolio] = replace(result, rebalance=found)
        if last is None or last.word != found.word:
            self._observer.moved(portfolio, found)
        if found.over:
            self._end(portfolio, *_ending(found))

    def _end(
        self, portfolio: PortfolioId, outcome: RebalanceOutcome, detail: str, error: ApiError | None = None
    ) -> None:
        result = replace(self.results[portfolio], outcome=outcome, detail=detail, error=error)
        self.results[portfolio] = result
        self._observer.finished(result)


def _ending(rebalance: Rebalance) -> tuple[RebalanceOutcome, str]:
    """Return what the end of a rebalance means; a word that is not documented is never a success."""
    match rebalance.status:
        case RebalanceStatus.COMPLETED:
            return RebalanceOutcome.COMPLETED, ""
        case RebalanceStatus.FAILED:
            return RebalanceOutcome.FAILED, rebalance.why
        case RebalanceStatus.CANCELLED:
            return RebalanceOutcome.CANCELLED, rebalance.error or ""
        case RebalanceStatus.UNKNOWN:
            return RebalanceOutcome.UNKNOWN, f"{rebalance.why}, a word that is not documented"
        case RebalanceStatus.RUNNING:
            raise AssertionError("a rebalance that runs is not over")
        case _:
            assert_never(rebalance.status)
