"""Ask for rebalances: announced to the journal before, answered for after, and never asked for twice.

In: portfolios and the ports. Out: a :class:`~reconciler.core.rebalance.RebalanceResult` each. A rebalance trades and is
not safe twice, so one whose outcome is unknown is looked for and never sent again. What becomes of an accepted one is
:mod:`reconciler.apply.follow`'s.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.apply.reread import WAITS_SECONDS
from reconciler.apply.stop import work_through
from reconciler.core.desired import PortfolioId
from reconciler.core.duration import MINUTE_MS, SECOND_MS, format_duration
from reconciler.core.errors import ApiError, FailureKind, JournalError
from reconciler.core.rebalance import RebalanceOutcome, RebalanceResult, is_cooldown
from reconciler.core.report import Call

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from reconciler.apply.stop import Stop
    from reconciler.core.desired import ApiVersion
    from reconciler.core.ports import Clock, Journal, RebalanceApi, RebalanceObserver
    from reconciler.core.rebalance import Rebalance, RecentRebalances
    from reconciler.core.report import Run

_LISTED: Final = 10
"""How many workflows are compared before and after; the guide asks for as many (API facts §1.1, V1.7)."""
_NEAR_MS: Final = 5 * MINUTE_MS
"""A scheduled run this close can't be told from one that was asked for: clocks differ, and schedulers are late."""
_TAKEN: Final = frozenset({"confirmed", "seen"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One rebalance to ask for. ``skip_schedule_validation`` runs a portfolio without an active schedule, on v1."""

    portfolio: PortfolioId
    version: ApiVersion
    api: RebalanceApi
    skip_schedule_validation: bool = False


async def trigger_all(
    orders: Sequence[Order],
    *,
    journal: Journal,
    clock: Clock,
    observer: RebalanceObserver,
    parallelism: int,
    stop: Stop,
    cut_off: Collection[PortfolioId] = (),
) -> dict[PortfolioId, RebalanceResult]:
    """Ask for every rebalance once, ``parallelism`` at a time; return what became of each, by portfolio.

    Of the portfolios in ``cut_off`` an earlier rebalance may be running that nobody was told of: these are *unknown*,
    and nothing is sent. A command that is started again after a crash must not trade twice by itself.
    Only a refused key, a journal that can't be written and an interruption stop the rest, which is then *not
    attempted*.
    """
    asker = _Asker(journal=journal, clock=clock, observer=observer, stop=stop, cut_off=frozenset(cut_off))
    await work_through(orders, asker.work, parallelism=parallelism, stop=stop, clock=clock)
    return asker.results


def operations_of(runs: Iterable[Run], base_url: str, *, noun: str) -> Mapping[PortfolioId, str]:
    """Return the id of the last rebalance that the journal's runs (newest first) asked for, by portfolio.

    ``noun`` is what the service calls it: only ids of that kind count.
    """
    found: dict[PortfolioId, str] = {}
    for run in runs:
        for write in reversed(run.writes) if run.base_url == base_url else ():
            kind, _, name = write.detail.partition(" ")
            if write.call is Call.REBALANCE and write.outcome in _TAKEN and kind == noun and name:
                found.setdefault(PortfolioId(write.portfolio), name)
    return found


class _Asker:
    """What the workers share; ``results`` grows, keyed by portfolio id."""

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        observer: RebalanceObserver,
        stop: Stop,
        cut_off: frozenset[PortfolioId],
    ) -> None:
        self.results: dict[PortfolioId, RebalanceResult] = {}
        self._journal = journal
        self._clock = clock
        self._observer = observer
        self._stop = stop
        self._cut_off = cut_off

    async def work(self, order: Order) -> None:
        """Ask for one rebalance, or say that it was not attempted."""
        result = await self._ask(order) if self._stop.why is None else _not_attempted(order, self._stop.why)
        self.results[order.portfolio] = result
        if result.outcome is RebalanceOutcome.ACCEPTED:
            self._observer.accepted(order.portfolio, result.id)
        else:
            self._observer.finished(result)

    async def _ask(self, order: Order) -> RebalanceResult:
        if order.portfolio in self._cut_off:
            return _unknown(order, "an earlier one was cut off before its answer came; run again to ask anew")
        sent = False
        try:
            before = await order.api.recent(order.portfolio, limit=_LISTED)
            write = self._begin(order)
            sent = True
            return await self._send(order, write, before)
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                self._stop.request("the key was refused")
            return self._refused(order, error, sent=sent)
        except asyncio.CancelledError:
            # Ours, after the grace of a stop, or the whole program's: either way there is an outcome to be told.
            if self._stop.why is None:
                raise
            return (
                _unknown(order, "interrupted before its answer came") if sent else _not_attempted(order, "interrupted")
            )
        except JournalError as error:
            self._stop.request(error.summary)
            return _unknown(order, error.summary) if sent else _not_attempted(order, error.summary)

    def _begin(self, order: Order) -> int:
        skip = order.skip_schedule_validation
        wanted = {
            "api": order.version.value,
            "interval_ms": None,
            "offset_ms": None,
            "skip_schedule_validation": skip,
        }
        return self._journal.begin(order.portfolio, Call.REBALANCE.value, json.dumps(wanted))

    async def _send(self, order: Order, write: int, before: RecentRebalances) -> RebalanceResult:
        """Send it, once. Raises :class:`ApiError` where that is proven to have begun nothing."""
        try:
            triggered = await order.api.trigger(
                order.portfolio, skip_schedule_validation=order.skip_schedule_validation
            )
        except ApiError as error:
            if not error.may_have_taken_effect:
                self._journal.end(write, "failed", str(error))
                raise
            return await self._look_for_it(order, write, before, error)
        except asyncio.CancelledError:
            self._journal.end(write, "unknown", "interrupted before its answer came")
            raise
        self._journal.end(write, "confirmed", f"{order.api.noun} {triggered.id}" if triggered.id else "")
        return RebalanceResult(portfolio=order.portfolio, outcome=RebalanceOutcome.ACCEPTED, id=triggered.id)

    async def _look_for_it(
        self, order: Order, write: int, before: RecentRebalances, error: ApiError
    ) -> RebalanceResult:
        """Read whether a trigger without an answer began something; what is not seen may still be on its way."""
        try:
            new = await self._new_since(order, before) if before.listed else None
        except asyncio.CancelledError:
            self._journal.end(write, "unknown", f"{error}; interrupted before a read showed its effect")
            raise
        noun = order.api.noun
        near = before.next_run_ms is not None and before.next_run_ms <= self._clock.now_ms() + _NEAR_MS
        if new is None or near:
            self._journal.end(write, "unknown", str(error))
            seen = (
                f"a new {noun} {new.id} is listed, which may be the scheduled run" if new else f"no new {noun} is seen"
            )
            return _unknown(order, f"{error}; {seen}", error)
        self._journal.end(write, "seen", f"{noun} {new.id}")
        return RebalanceResult(
            portfolio=order.portfolio,
            outcome=RebalanceOutcome.ACCEPTED,
            id=new.id,
            notes=(f"the trigger failed ({error}), but a read shows a new {noun} since",),
        )

    async def _new_since(self, order: Order, before: RecentRebalances) -> Rebalance | None:
        known = {rebalance.id for rebalance in before.rebalances}
        for seconds in WAITS_SECONDS:
            if seconds:
                await self._clock.sleep(seconds)
            try:
                after = await order.api.recent(order.portfolio, limit=_LISTED)
            except ApiError:
                continue
            if new := [rebalance for rebalance in after.rebalances if rebalance.id not in known]:
                return new[0]
        return None

    def _refused(self, order: Order, error: ApiError, *, sent: bool) -> RebalanceResult:
        if sent and is_cooldown(error):
            wait_ms = error.retry_after_ms
            return RebalanceResult(
                portfolio=order.portfolio,
                outcome=RebalanceOutcome.COOLING_DOWN,
                detail=_cooldown(wait_ms),
                error=error,
                retry_ms=None if wait_ms is None else self._clock.now_ms() + wait_ms,
            )
        what = str(error) if sent else f"reading failed, so nothing was asked for: {error}"
        return RebalanceResult(
            portfolio=order.portfolio,
            outcome=RebalanceOutcome.REFUSED,
            detail=f"{what}. {error.detail}" if error.detail else what,
            error=error,
        )


def _cooldown(wait_ms: int | None) -> str:
    if wait_ms is None:
        return "its last rebalance is too recent, and Glider does not say for how long; run again later"
    return f"its last rebalance is too recent; run again in {format_duration(-(-wait_ms // SECOND_MS) * SECOND_MS)}"


def _unknown(order: Order, why: str, error: ApiError | None = None) -> RebalanceResult:
    detail = f"it may be running: look with `reconciler status {order.portfolio}`; it is not asked for again ({why})"
    return RebalanceResult(portfolio=order.portfolio, outcome=RebalanceOutcome.UNKNOWN, detail=detail, error=error)


def _not_attempted(order: Order, why: str) -> RebalanceResult:
    return RebalanceResult(portfolio=order.portfolio, outcome=RebalanceOutcome.NOT_ATTEMPTED, detail=why)
