"""Carry a plan out: for every change read again, compare, write, read back. The plan is all that it may do.

In: a :class:`~reconciler.core.plan.Plan` and the ports. Out: an :class:`~reconciler.core.report.ApplyReport` in which
every change has exactly one outcome. One portfolio's failure never stops or hides the others; only a refused key, a
journal that can't be written and an interruption stop the rest, which then is *not attempted*.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never, overload

from reconciler.apply.check import Standing, holds, record_of, standing, what_moved
from reconciler.apply.reread import Rereader
from reconciler.apply.steps import Progress, Steps
from reconciler.apply.stop import Stop, work_through
from reconciler.apply.strategies import WRITTEN_SINCE, StrategySteps, result_of
from reconciler.core.desired import ApiVersion
from reconciler.core.errors import ApiError, FailureKind, JournalError, PlanInvalid
from reconciler.core.plan import Change, write_stages
from reconciler.core.report import ACHIEVED, ActionResult, AnyResult, ApplyReport, Outcome, StrategyResult
from reconciler.core.strategy import StrategyChange
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.desired import PortfolioId
    from reconciler.core.live import Live, Record
    from reconciler.core.plan import AnyChange, Plan
    from reconciler.core.ports import ApplyObserver, AutomationApi, Clock, Journal, StrategyApi
    from reconciler.core.strategy import StrategyAddress, StrategyId


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How boldly a plan is carried out.

    ``parallelism`` portfolios at a time. After ``max_failures`` failed or unknown changes nothing more begins. With a
    ``canary``, so many changes of each stage go first, and unless all of them are done nothing more begins.
    """

    parallelism: int
    max_failures: int | None = None
    canary: int = 0


async def apply_plan(
    plan: Plan,
    *,
    api: AutomationApi,
    strategies: StrategyApi | None = None,
    journal: Journal,
    clock: Clock,
    observer: ApplyObserver,
    pace: Pace,
    stop: Stop,
) -> ApplyReport:
    """Carry out every change of the plan, stage after stage, in the order of
    :func:`~reconciler.core.plan.write_stages`. ``strategies`` is needed by a plan that changes any."""
    started_ms = clock.now_ms()
    applier = _Applier(
        api=api,
        strategies=strategies,
        journal=journal,
        clock=clock,
        observer=observer,
        pace=pace,
        stop=stop,
        planned_ms=plan.created_ms,
    )
    for stage in write_stages(plan.changes, plan.strategies):
        await applier.run(stage[: pace.canary])
        applier.judge_canary(stage[: pace.canary])
        await applier.run(stage[pace.canary :])
    return ApplyReport(
        plan=plan,
        results=tuple(applier.results[change.id] for change in plan.changes),
        strategies=tuple(applier.strategies[change.id] for change in plan.strategies),
        started_ms=started_ms,
        finished_ms=clock.now_ms(),
    )


class _Applier:
    """What the workers of one apply share; ``results`` and ``strategies`` grow, keyed by id."""

    def __init__(
        self,
        *,
        api: AutomationApi,
        strategies: StrategyApi | None,
        journal: Journal,
        clock: Clock,
        observer: ApplyObserver,
        pace: Pace,
        stop: Stop,
        planned_ms: int,
    ) -> None:
        self.results: dict[PortfolioId, ActionResult] = {}
        self.strategies: dict[StrategyId, StrategyResult] = {}
        self._api = api
        self._strategy_api = strategies
        self._journal = journal
        self._clock = clock
        self._observer = observer
        self._pace = pace
        self._stop = stop
        self._planned_ms = planned_ms
        self._reread = Rereader(api, clock)
        self._failures = 0

    async def run(self, changes: Sequence[AnyChange]) -> None:
        """Carry out changes that may go at once; returns when each has its result."""
        await work_through(changes, self._work, parallelism=self._pace.parallelism, stop=self._stop, clock=self._clock)

    def judge_canary(self, changes: Sequence[AnyChange]) -> None:
        """Stop unless every one of these changes is done."""
        failed = [_address(change) for change in changes if self._outcome(change) not in ACHIEVED]
        if failed:
            self._stop.request(f"the canary {failed[0]} was not done")

    def _outcome(self, change: AnyChange) -> Outcome:
        match change:
            case StrategyChange():
                return self.strategies[change.id].outcome
            case Change():
                return self.results[change.id].outcome
            case _:
                assert_never(change)

    async def _work(self, change: AnyChange) -> None:
        if self._stop.why is not None:
            result = _result(change, Progress(), Outcome.NOT_ATTEMPTED, self._stop.why)
        else:
            # A strategy is only ever updated.
            verb = change.verb if isinstance(change, Change) else Verb.UPDATE
            self._observer.started(_address(change), verb)
            result = await self._carry_out(change)
        self._count(result)
        match result:
            case StrategyResult():
                self.strategies[result.change.id] = result
            case ActionResult():
                self.results[result.change.id] = result
            case _:
                assert_never(result)
        self._observer.finished(result)

    def _count(self, result: AnyResult) -> None:
        self._failures += result.outcome in (Outcome.FAILED, Outcome.UNKNOWN)
        most = self._pace.max_failures
        if most is not None and self._failures > most:
            self._stop.request(f"more than {most} failed")

    async def _carry_out(self, change: AnyChange) -> AnyResult:
        progress = Progress()
        try:
            if isinstance(change, StrategyChange):
                return await self._set_cadence(change, progress)
            return await self._attempt(change, progress)
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                self._stop.request("the key was refused")
            # Refused by the last call, but an earlier one of the same change went through: say what stands now.
            return _result(change, progress, Outcome.FAILED, _what_failed(error, progress), error)
        except asyncio.CancelledError:
            # Ours, after the grace of a stop, or the whole program's: either way this change has an outcome to be told.
            if self._stop.why is None:
                raise
            outcome = Outcome.UNKNOWN if progress.calls else Outcome.NOT_ATTEMPTED
            return _result(change, progress, outcome, "interrupted before its outcome was known")
        except JournalError as error:
            self._stop.request(error.summary)
            outcome = Outcome.UNKNOWN if progress.calls else Outcome.NOT_ATTEMPTED
            return _result(change, progress, outcome, error.summary)

    async def _set_cadence(self, change: StrategyChange, progress: Progress) -> StrategyResult:
        if self._strategy_api is None:
            raise PlanInvalid("a plan changes a strategy without a way to", "This is a bug of ours; please report it.")
        steps = StrategySteps(
            change, self._strategy_api, self._journal, self._clock, progress, planned_ms=self._planned_ms
        )
        return await steps.run()

    async def _attempt(self, change: Change, progress: Progress) -> ActionResult:
        live = await self._api.read(change.id)
        if change.verb is Verb.RESUME and (unset := self._unset_cadence(change, live)):
            detail = f"the cadence of its strategy {unset} was not set, so it is not resumed on the old one"
            return _result(change, progress, Outcome.NOT_ATTEMPTED, detail)
        record = self._journal.record(change.id)
        match standing(change, live, record):
            case Standing.AFTER:
                return _result(change, progress, Outcome.ALREADY_DONE, "Glider already is as desired")
            case Standing.ELSEWHERE:
                return _result(change, progress, Outcome.STALE, what_moved(change, live))
            case Standing.BEFORE if self._written_since(change.id):
                return _result(change, progress, Outcome.STALE, WRITTEN_SINCE)
            case Standing.BEFORE:
                return await self._write(change, progress, record)
            case never:
                assert_never(never)

    async def _write(self, change: Change, progress: Progress, record: Record | None) -> ActionResult:
        await Steps(change, self._api, self._journal, self._reread, progress).run()
        if progress.uncertain is not None:
            detail = f"{progress.calls[-1].value} may or may not have taken effect: {progress.uncertain}"
            return _result(change, progress, Outcome.UNKNOWN, detail, progress.uncertain)
        sight = await self._reread.until(change.id, lambda live: holds(change, live))
        live = sight.live
        if live is None or not sight.expected:
            detail = "Glider accepted the call, but its status does not show it yet; plan again"
            return _result(change, progress, Outcome.UNKNOWN, detail)
        if change.api is ApiVersion.V1 or change.verb is not Verb.PAUSE or progress.sight is None:
            record = record_of(live, previous=record, confirmation=progress.schedule, now_ms=self._clock.now_ms())
            self._journal.confirm(change.id, record)
        # Else the answer was lost and a read shows a pause that v2 keeps no reason for: it may be somebody else's.
        return _result(change, progress, Outcome.DONE, "")

    def _written_since(self, portfolio: PortfolioId) -> bool:
        """Whether another apply wrote to it since the plan was made: what looks as planned from came round again.

        A saved plan that is applied twice must not lift the next pause because it has the same reason. A write in the
        future is of a clock that was wrong, and tells nothing.
        """
        return self._journal.written_between(portfolio, after_ms=self._planned_ms, until_ms=self._clock.now_ms())

    def _unset_cadence(self, change: Change, live: Live) -> str | None:
        """Return the strategy on whose old cadence the portfolio would trade: one that this plan was to change and has
        not (API facts §5.3). Where Glider does not name its strategy, it may be any of those."""
        if change.api is not ApiVersion.V2:
            return None
        unset = [strategy for strategy, result in self.strategies.items() if result.outcome not in ACHIEVED]
        return next((strategy for strategy in sorted(unset) if live.strategy in (None, strategy)), None)


def _address(change: AnyChange) -> PortfolioId | StrategyAddress:
    return change.address if isinstance(change, StrategyChange) else change.id


@overload
def _result(
    change: Change, progress: Progress, outcome: Outcome, detail: str, error: ApiError | None = None
) -> ActionResult: ...
@overload
def _result(
    change: AnyChange, progress: Progress, outcome: Outcome, detail: str, error: ApiError | None = None
) -> AnyResult: ...
def _result(
    change: AnyChange, progress: Progress, outcome: Outcome, detail: str, error: ApiError | None = None
) -> AnyResult:
    if isinstance(change, StrategyChange):
        return result_of(change, progress, outcome, detail, error)
    return ActionResult(
        change=change,
        outcome=outcome,
        calls=tuple(progress.calls),
        detail=detail,
        notes=tuple(progress.notes),
        error=error,
    )


def _what_failed(error: ApiError, progress: Progress) -> str:
    if not progress.calls:
        return f"reading failed, so nothing was written: {error}"
    if len(progress.calls) == 1:
        return str(error)
    earlier = ", ".join(call.value for call in progress.calls[:-1])
    return f"{progress.calls[-1].value} failed after {earlier}: {error}"
