"""Carry a plan out: for every change read again, compare, write, read back. The plan is all that it may do.

In: a :class:`~reconciler.core.plan.Plan` and the ports. Out: an :class:`~reconciler.core.report.ApplyReport` in which
every change has exactly one outcome. One portfolio's failure never stops or hides the others; only a refused key, a
journal that can't be written and an interruption stop the rest, which then is *not attempted*.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

from reconciler.apply.check import Standing, holds, record_of, standing
from reconciler.apply.reread import Rereader
from reconciler.apply.steps import Progress, Steps
from reconciler.core.errors import ApiError, FailureKind, JournalError
from reconciler.core.plan import write_stages
from reconciler.core.report import ActionResult, ApplyReport, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.desired import PortfolioId
    from reconciler.core.live import Live, Record
    from reconciler.core.plan import Change, Plan
    from reconciler.core.ports import ApplyObserver, AutomationApi, Clock, Journal


class Stop:
    """A request to begin nothing more; what is under way is finished. ``why`` is the first reason given."""

    def __init__(self) -> None:
        self.why: str | None = None

    def request(self, why: str) -> None:
        """Ask the apply to stop. Safe to call from a signal handler of the event loop."""
        if self.why is None:
            self.why = why


async def apply_plan(
    plan: Plan,
    *,
    api: AutomationApi,
    journal: Journal,
    clock: Clock,
    observer: ApplyObserver,
    parallelism: int,
    stop: Stop,
) -> ApplyReport:
    """Carry out every change of the plan, stage after stage, at most ``parallelism`` portfolios at a time."""
    started_ms = clock.now_ms()
    applier = _Applier(api=api, journal=journal, clock=clock, observer=observer, stop=stop)
    results: dict[PortfolioId, ActionResult] = {}
    for stage in write_stages(plan.changes):
        queue = iter(stage)
        workers = min(parallelism, len(stage))
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(applier.work(queue, results))
    return ApplyReport(
        plan=plan,
        results=tuple(results[change.id] for change in plan.changes),
        started_ms=started_ms,
        finished_ms=clock.now_ms(),
    )


class _Applier:
    """What the workers of one apply share."""

    def __init__(
        self, *, api: AutomationApi, journal: Journal, clock: Clock, observer: ApplyObserver, stop: Stop
    ) -> None:
        self._api = api
        self._journal = journal
        self._clock = clock
        self._observer = observer
        self._stop = stop
        self._reread = Rereader(api, clock)

    async def work(self, queue: Iterator[Change], results: dict[PortfolioId, ActionResult]) -> None:
        """Take changes from the shared queue until it is empty."""
        for change in queue:
            if self._stop.why is not None:
                result = ActionResult(change=change, outcome=Outcome.NOT_ATTEMPTED, detail=self._stop.why)
            else:
                self._observer.started(change.id, change.verb)
                result = await self._carry_out(change)
            results[change.id] = result
            self._observer.finished(result)

    async def _carry_out(self, change: Change) -> ActionResult:
        progress = Progress()
        try:
            return await self._attempt(change, progress)
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                self._stop.request("the key was refused")
            # Refused by the last call, but an earlier one of the same change went through: say what stands now.
            return _result(change, progress, Outcome.FAILED, _what_failed(error, progress), error)
        except JournalError as error:
            self._stop.request(error.summary)
            outcome = Outcome.UNKNOWN if progress.calls else Outcome.NOT_ATTEMPTED
            return _result(change, progress, outcome, error.summary)

    async def _attempt(self, change: Change, progress: Progress) -> ActionResult:
        live = await self._api.read(change.id)
        record = self._journal.record(change.id)
        match standing(change, live, record):
            case Standing.AFTER:
                return _result(change, progress, Outcome.ALREADY_DONE, "Glider already is as desired")
            case Standing.ELSEWHERE:
                return _result(change, progress, Outcome.STALE, _what_moved(change, live))
            case Standing.BEFORE:
                return await self._write(change, progress, record)
            case never:
                assert_never(never)

    async def _write(self, change: Change, progress: Progress, record: Record | None) -> ActionResult:
        await Steps(change, self._api, self._journal, self._reread, progress).run()
        if progress.uncertain is not None:
            detail = f"{progress.calls[-1].value} may or may not have taken effect: {progress.uncertain}"
            return _result(change, progress, Outcome.UNKNOWN, detail, progress.uncertain)
        live = await self._reread.until(change.id, lambda live: holds(change, live))
        if live is None:
            detail = "Glider accepted the call, but its status does not show it yet; plan again"
            return _result(change, progress, Outcome.UNKNOWN, detail)
        record = record_of(live, previous=record, confirmation=progress.schedule, now_ms=self._clock.now_ms())
        self._journal.confirm(change.id, record)
        return _result(change, progress, Outcome.DONE, "")


def _result(
    change: Change, progress: Progress, outcome: Outcome, detail: str, error: ApiError | None = None
) -> ActionResult:
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


def _what_moved(change: Change, live: Live) -> str:
    if live.status is not change.before.state:
        return (
            f"it was {change.before.state.value} when planned, now it is {live.word or live.status.value}; plan again"
        )
    if live.pause_reason != change.pause_reason:
        return "it was paused anew since the plan was made; plan again"
    return "its schedule moved since the plan was made; plan again"
