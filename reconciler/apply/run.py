"""Carry a plan out: for every change read again, compare, write, read back. The plan is all that it may do.

:class:`Stop`, :func:`work_through` and :func:`attempt` are how several workers do work that writes, and how it is ended
early; rebalances are asked for in the same way.

In: a :class:`~reconciler.core.plan.Plan` and the ports. Out: an :class:`~reconciler.core.report.ApplyReport` in which
every change has exactly one outcome. One portfolio's failure never stops or hides the others; only a refused key, a
journal that can't be written and an interruption stop the rest, which then is *not attempted*.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct, field

from reconciler.apply.announce import Announcer, Declined, Progress, result_of
from reconciler.apply.steps import Steps, StrategySteps
from reconciler.core.errors import ApiError, FailureKind, JournalError
from reconciler.core.model import Verb
from reconciler.core.plan import write_stages
from reconciler.core.planfile import fingerprint
from reconciler.core.report import ACHIEVED, ApplyReport, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from reconciler.core.model import Address, Live
    from reconciler.core.plan import Change, Plan
    from reconciler.core.ports import ApplyObserver, Clock, Journal, Memory, ServiceApi

Item = TypeVar("Item")
T = TypeVar("T")

GRACE_SECONDS: Final = 4.0
"""How long calls under way may go on after an interruption; then their outcome is left unknown. GitHub
sends SIGINT and 7.5 s later SIGTERM, which ends a run at once; outcomes must be in the journal before that."""


class Stop:
    """A request to begin nothing more; what is under way is finished. ``why`` is the first reason given."""

    def __init__(self) -> None:
        self.why: str | None = None
        self._urgent = asyncio.Event()

    def request(self, why: str, *, urgent: bool = False) -> None:
        """Ask the apply to stop; ``urgent`` gives what is under way :data:`GRACE_SECONDS` and no more.

        To be called in the event loop.
        """
        if self.why is None:
            self.why = why
        if urgent:
            self._urgent.set()

    async def urgent(self) -> None:
        """Wait until the apply is asked to stop urgently."""
        await self._urgent.wait()


async def work_through(
    items: Sequence[Item], work: Callable[[Item], Awaitable[None]], *, parallelism: int, stop: Stop, clock: Clock
) -> None:
    """Do ``work`` once with each item, in their order, ``parallelism`` at a time; return when each is done.

    After an urgent stop, what is under way is cancelled once its grace is over: ``work`` has to say then what became
    of its item. An error that it raises ends the rest.
    """
    if not items:
        return
    queue = iter(items)
    workers = [asyncio.ensure_future(_take(queue, work)) for _ in range(min(parallelism, len(items)))]
    watch = asyncio.ensure_future(_cut_short(workers, stop, clock))
    try:
        await asyncio.gather(*workers)
    finally:
        for task in (*workers, watch):
            task.cancel()
        await asyncio.gather(*workers, watch, return_exceptions=True)


async def _take(queue: Iterator[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    for item in queue:
        await work(item)


async def _cut_short(workers: Sequence[asyncio.Future[None]], stop: Stop, clock: Clock) -> None:
    await stop.urgent()
    await clock.sleep(GRACE_SECONDS)
    for worker in workers:
        worker.cancel()


class Ended(Struct, frozen=True):
    """How work ended without a result of its own; ``error`` is the service's error where one ended it."""

    outcome: Outcome
    detail: str = ""
    error: ApiError | None = None


async def attempt(work: Awaitable[T], progress: Progress, stop: Stop) -> T | Ended:
    """Return what the work on one item comes to, or how it ended. Asks to stop where no other item can do better.

    By then all that the work said to the journal is on the disk. ``progress`` is that of the work. Raises
    ``asyncio.CancelledError`` unless somebody asked to stop.
    """
    try:
        try:
            return await work
        finally:
            if progress.said is not None:
                await progress.said
    except Declined as declined:
        return Ended(declined.outcome, declined.detail)
    except ApiError as error:
        if error.kind is FailureKind.UNAUTHENTICATED:
            stop.request("the key was refused")
        return Ended(Outcome.FAILED, error=error)
    except asyncio.CancelledError:
        # Ours, after the grace of a stop, or the whole program's: only the first has an outcome to be told.
        if stop.why is None:
            raise
        why = "interrupted before its outcome was known"
    except JournalError as error:
        stop.request(error.summary)
        why = error.summary
    return Ended(Outcome.UNKNOWN if progress.calls else Outcome.NOT_ATTEMPTED, why)


class Pace(Struct, frozen=True, kw_only=True):
    """How boldly a plan is carried out.

    ``parallelism`` is how many portfolios are changed at a time. Once more than ``max_failures`` changes are failed or
    unknown, nothing more begins. ``canary`` changes of each stage go first, and unless all of them are done, nothing
    more begins.
    """

    parallelism: int
    max_failures: int | None = None
    canary: int = 0


async def apply_plan(
    plan: Plan,
    *,
    api: ServiceApi,
    journal: Journal,
    clock: Clock,
    observer: ApplyObserver,
    pace: Pace,
    stop: Stop,
    token: Callable[[], str],
    approved: str | None = None,
    again: frozenset[str] = frozenset(),
) -> ApplyReport:
    """Carry out every change of the plan, stage after stage, in the order of
    :func:`~reconciler.core.plan.write_stages`.

    ``token`` returns a new token at each call. ``approved`` is the fingerprint of the plan that a person approved,
    where ``plan`` was made anew since. ``again`` names portfolios that may be started with a run at once although an
    earlier request for one stayed unanswered.
    """
    started_ms = clock.now_ms()
    applier = _Applier(
        announcer=Announcer(api=api, journal=journal, clock=clock, token=token),
        observer=observer,
        pace=pace,
        stop=stop,
        plans=frozenset({fingerprint(plan)} | ({approved} if approved is not None else set())),
        again=again,
        from_files=plan.as_of_ms is not None,
    )
    for stage in write_stages(plan.changes):
        await applier.run(stage[: pace.canary])
        applier.judge_canary(stage[: pace.canary])
        await applier.run(stage[pace.canary :])
    return ApplyReport(
        plan=plan,
        results=tuple(applier.results[change.id] for change in plan.changes),
        started_ms=started_ms,
        finished_ms=clock.now_ms(),
    )


class _Applier(Struct, kw_only=True):
    """What the workers of one apply share; ``results`` grows, keyed by id."""

    announcer: Announcer
    observer: ApplyObserver
    pace: Pace
    stop: Stop
    plans: frozenset[str]
    again: frozenset[str]
    from_files: bool
    results: dict[Address, Result] = field(default_factory=dict)
    failures: int = 0

    async def run(self, changes: Sequence[Change]) -> None:
        """Carry out changes that may go at once; returns when each has its result."""
        await work_through(
            changes, self._work, parallelism=self.pace.parallelism, stop=self.stop, clock=self.announcer.clock
        )

    def judge_canary(self, changes: Sequence[Change]) -> None:
        """Stop unless every one of these changes is done."""
        failed = [change.id for change in changes if self.results[change.id].outcome not in ACHIEVED]
        if failed:
            self.stop.request(f"the canary {failed[0]} was not done")

    async def _work(self, change: Change) -> None:
        if self.stop.why is not None:
            result = result_of(change, Progress(), Outcome.NOT_ATTEMPTED, self.stop.why)
        else:
            self.observer.started(change.id, change.verb)
            result = await self._carry_out(change)
        self._count(result)
        self.results[change.id] = result
        self.observer.finished(result)

    def _count(self, result: Result) -> None:
        self.failures += result.outcome in (Outcome.FAILED, Outcome.UNKNOWN)
        most = self.pace.max_failures
        if most is not None and self.failures > most:
            self.stop.request(f"more than {most} failed")

    async def _carry_out(self, change: Change) -> Result:
        progress = Progress()
        ended = await attempt(self._run(change, progress), progress, self.stop)
        if isinstance(ended, Result):
            return ended
        # Refused by the last call, but an earlier one of the same change went through: say what stands now.
        detail = ended.detail if ended.error is None else _what_failed(ended.error, progress)
        return result_of(change, progress, ended.outcome, detail, ended.error)

    async def _run(self, change: Change, progress: Progress) -> Result:
        # Before the first look: nobody else writes to it while this apply has the journal.
        memory = await self.announcer.journal.memory(change.id, plans=self.plans)
        return await self._steps(change, progress, memory).run()

    def _steps(self, change: Change, progress: Progress, memory: Memory) -> Steps | StrategySteps:
        announcer, strategy = self.announcer, change.of_strategy
        if strategy is None:
            return Steps(
                change=change,
                announcer=announcer,
                progress=progress,
                memory=memory,
                plans=self.plans,
                again=self.again,
                hinders=lambda live: self._hinders(change, live),
                from_files=self.from_files,
            )
        return StrategySteps(
            change=change, strategy=strategy, announcer=announcer, progress=progress, memory=memory, plans=self.plans
        )

    def _hinders(self, change: Change, live: Live) -> str | None:
        """Say why a portfolio must not be resumed now, ``None`` where nothing hinders it.

        It would trade on the old cadence of its strategy, which this plan was to change and has not (API facts §5.3).
        Where Glider does not name its strategy, it may be any of those.
        """
        if change.verb is not Verb.RESUME or change.api.can.owns_schedule:
            return None
        unset = sorted(
            strategy
            for result in self.results.values()
            if (strategy := result.change.of_strategy) and result.outcome not in ACHIEVED
        )
        found = next((strategy for strategy in unset if live.strategy in (None, strategy)), None)
        return found and f"the cadence of its strategy {found} was not set, so it is not resumed on the old one"


def _what_failed(error: ApiError, progress: Progress) -> str:
    if not progress.calls:
        return f"reading failed, so nothing was written: {error}"
    if progress.looking:
        earlier = ", ".join(call.value for call in progress.calls)
        return f"reading failed after {earlier}, so nothing more was written: {error}"
    if len(progress.calls) == 1:
        return str(error)
    earlier = ", ".join(call.value for call in progress.calls[:-1])
    return f"{progress.calls[-1].value} failed after {earlier}: {error}"
