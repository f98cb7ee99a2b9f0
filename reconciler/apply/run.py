"""Carry out a plan: for every change read again, compare, write, read back. Nothing that is not in the plan is done.

:class:`Stop`, :func:`work_through`, :func:`attempt` and :func:`kept` are how several workers do work that writes, and
how it is ended early; rebalances are asked for in the same way.

In: a :class:`~reconciler.core.plan.Plan` and the ports. Out: an :class:`~reconciler.core.report.ApplyReport` in which
every change has exactly one outcome. One portfolio's failure never stops or hides the others; only a refused key, a
journal that can't be written and an interruption stop the rest, which then is *not attempted*.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.apply.announce import Announcer, Declined, Progress, result_of
from reconciler.apply.steps import Steps, StrategySteps
from reconciler.core.errors import ApiError, FailureKind, JournalError
from reconciler.core.freeze import WriteGate
from reconciler.core.intent import GateClosed
from reconciler.core.model import Verb
from reconciler.core.plan import write_waves
from reconciler.core.planfile import fingerprint
from reconciler.core.ports import Memory, Turn
from reconciler.core.report import ACHIEVED, FAILED, ApplyReport, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from reconciler.core.change import Change
    from reconciler.core.model import Address, Live
    from reconciler.core.plan import Plan, Wave
    from reconciler.core.ports import ApplyObserver, Claims, Clock, Journal, ServiceApi

Item = TypeVar("Item")
T = TypeVar("T")
Rest: TypeAlias = "Awaitable[None] | None"
"""What is still to be waited for after the work on an item, while its worker goes on with the next one."""

ASK_AGAIN_SECONDS: Final = 0.2
"""How often to ask whether other runners have ended a wave."""
_KEY_REFUSED: Final = "the key was refused"
GRACE_SECONDS: Final = 4.0
"""How long calls under way may go on after an interruption; after that, their outcome is unknown. GitHub sends SIGINT,
and 7.5 s later SIGTERM, which ends a run at once; the outcomes must be in the journal before that."""


class Stop:
    """A request to begin nothing more; what is under way is finished. ``why`` is the first reason given.

    ``hang_up`` is to be called where somebody asks twice: it ends the waiting for what may never answer.
    """

    def __init__(self, *, hang_up: Sequence[Callable[[], None]] = ()) -> None:
        self.why: str | None = None
        self.hang_up = [*hang_up]
        self._urgent = asyncio.Event()

    def request(self, why: str, *, urgent: bool = False) -> None:
        """Ask the apply to stop; ``urgent`` gives what is under way :data:`GRACE_SECONDS` and no more.

        Call it in the event loop.
        """
        if self.why is None:
            self.why = why
        if urgent:
            self._urgent.set()

    async def urgent(self) -> None:
        """Wait until the apply is asked to stop urgently."""
        await self._urgent.wait()


async def work_through(
    take: Callable[[], Awaitable[Item | None]],
    work: Callable[[Item], Awaitable[Rest]],
    *,
    parallelism: int,
    stop: Stop,
    clock: Clock,
) -> None:
    """Do ``work`` with each item that ``take`` returns, ``parallelism`` at a time, until it returns ``None``; return
    when all are done.

    ``work`` may return something that is still to be waited for; the next item begins meanwhile. After an urgent stop,
    what is under way is cancelled once its grace is over, and ``work`` has to say what became of its item. An error
    that it raises ends the rest.
    """
    ending: list[asyncio.Future[None]] = []
    workers = [asyncio.ensure_future(_take(take, work, ending)) for _ in range(parallelism)]
    watch = asyncio.ensure_future(_cut_short(workers, stop, clock))
    try:
        await asyncio.gather(*workers)
        await asyncio.gather(*ending)
    finally:
        tasks = (*workers, watch, *ending)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take(
    take: Callable[[], Awaitable[Item | None]],
    work: Callable[[Item], Awaitable[Rest]],
    ending: list[asyncio.Future[None]],
) -> None:
    while (item := await take()) is not None:
        rest = await work(item)
        if rest is not None:
            ending.append(asyncio.ensure_future(rest))


async def _cut_short(workers: Sequence[asyncio.Future[None]], stop: Stop, clock: Clock) -> None:
    await stop.urgent()
    await clock.sleep(GRACE_SECONDS)
    for worker in workers:
        worker.cancel()


class Ended(Struct, frozen=True):
    """How work ended without a result of its own; ``error`` is the service's error if one ended it, and ``closed`` what
    the halt or freeze said that forbade it."""

    outcome: Outcome
    detail: str = ""
    error: ApiError | None = None
    closed: GateClosed | None = None


async def attempt(work: Awaitable[T], progress: Progress, stop: Stop) -> T | Ended:
    """Return the result of the work on one item, or how it ended. Asks to stop if every other item would end alike.

    Tell nobody before :func:`kept` has returned. ``progress`` is that of the work. Raises ``asyncio.CancelledError``
    unless somebody asked to stop.
    """
    try:
        return await work
    except Declined as declined:
        if declined.closed is not None and declined.closed.ends_run:
            stop.request(declined.detail)
        return Ended(declined.outcome, declined.detail, closed=declined.closed)
    except ApiError as error:
        if error.kind is FailureKind.UNAUTHENTICATED:
            stop.request(_KEY_REFUSED)
        return Ended(Outcome.FAILED, error=error)
    except asyncio.CancelledError:
        # Either we cancelled it, after the grace of a stop, or the whole program ends: then nobody is told an outcome.
        if stop.why is None:
            with suppress(JournalError):
                await _said(progress)
            raise
        why = "interrupted before its outcome was known"
    except JournalError as error:
        stop.request(error.summary)
        why = error.summary
    return Ended(Outcome.UNKNOWN if progress.calls else Outcome.NOT_ATTEMPTED, why)


async def kept(ended: T, progress: Progress, stop: Stop) -> T | Ended:
    """Return how an item ended, once everything that its work told the journal is on the disk.

    If the journal can't keep it, the outcome is unknown, and the rest is asked to stop. Raises as :func:`attempt` does.
    """

    async def waited() -> T:
        await _said(progress)
        return ended

    return await attempt(waited(), progress, stop)


async def _said(progress: Progress) -> None:
    if progress.said is not None:
        await progress.said


class Pace(Struct, frozen=True, kw_only=True):
    """How fast and how carefully a plan is carried out.

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
    claims: Claims | None = None,
    gate: WriteGate = WriteGate(),  # noqa: B008 - a frozen value
) -> ApplyReport:
    """Carry out every change of the plan, stage after stage, in the order of
    :func:`~reconciler.core.plan.write_stages`.

    ``token`` returns a new token at each call. ``approved`` is the fingerprint of the plan that a person approved,
    where ``plan`` was made anew since. ``again`` names portfolios that may be started with a run at once although an
    earlier request for one stayed unanswered. ``claims`` are those that this runner shares with others; without them it
    carries out everything itself. If it has to leave, the others do what it has not begun. ``gate`` says for each write
    whether it may begin; the freezes of the plan are added to it.
    """
    started_ms = clock.now_ms()
    waves = write_waves(plan.changes, canary=pace.canary)
    windows = {change.id: change.freezes for change in plan.changes if change.freezes}
    gate = replace(gate, windows=windows, now_ms=api.service_ms)
    applier = _Applier(
        announcer=Announcer(api=api, journal=journal, clock=clock, token=token, gate=gate),
        observer=observer,
        claims=claims or SoleClaims(waves, max_failures=pace.max_failures),
        stop=stop,
        plans=frozenset({fingerprint(plan)} | ({approved} if approved is not None else set())),
        again=again,
        from_files=plan.as_of_ms is not None,
    )
    for number, wave in enumerate(waves):
        await applier.run(number, wave.changes, parallelism=pace.parallelism)
    why = stop.why or ""
    untold = [change for wave in waves for change in wave.changes if change.id not in applier.results]
    leaves = claims is not None and bool(untold) and not applier.all_stopped and why != _KEY_REFUSED
    for change in untold:
        told = f"{why}; it is left to the other runners" if leaves else why
        applier.learn(result_of(change, Progress(), Outcome.NOT_ATTEMPTED, told))
    return ApplyReport(
        plan=plan,
        results=tuple(applier.results[change.id] for change in plan.changes),
        started_ms=started_ms,
        finished_ms=clock.now_ms(),
        joined=claims is not None,
        leaves=leaves,
    )


def why_stop(*, failed: int, max_failures: int | None, canary: Address | None, refused: bool) -> str | None:
    """Say why a whole apply stops, ``None`` while it goes on.

    ``failed`` changes have failed or are unknown, ``canary`` is the first canary of an earlier wave that was not done,
    and ``refused`` says that the service refused the key.
    """
    if refused:
        return _KEY_REFUSED
    if max_failures is not None and failed > max_failures:
        return f"more than {max_failures} failed"
    return None if canary is None else f"the canary {canary} was not done"


class SoleClaims:
    """The claims of a runner that carries a plan out alone: a :class:`~reconciler.core.ports.Claims`."""

    def __init__(self, waves: Sequence[Wave], *, max_failures: int | None) -> None:
        self._waves = waves
        self._left = [iter(wave.changes) for wave in waves]
        self._max_failures = max_failures
        self._done: set[Address] = set()
        self._failed = 0

    async def take(self, wave: int) -> Turn:
        """Return the next change of a wave. The caller waits for the changes that it was given before."""
        canaries = (change.id for one in self._waves[:wave] if one.is_canary for change in one.changes)
        undone = (address for address in canaries if address not in self._done)
        stopped = why_stop(
            failed=self._failed, max_failures=self._max_failures, canary=next(undone, None), refused=False
        )
        change = next(self._left[wave], None) if stopped is None else None
        return Turn(change=change, over=change is None, stopped=stopped)

    async def end(self, result: Result) -> None:
        """Count a result."""
        self._failed += result.outcome in FAILED
        if result.outcome in ACHIEVED or result.frozen is not None:  # a canary that waits is no sign of a problem
            self._done.add(result.change.id)

    async def results(self) -> Mapping[Address, Result]:
        """Return none, because the caller has all of them."""
        return {}


class _Applier(Struct, kw_only=True):
    """What the workers of one runner share; ``results`` grows, keyed by id."""

    announcer: Announcer
    observer: ApplyObserver
    claims: Claims
    stop: Stop
    plans: frozenset[str]
    again: frozenset[str]
    from_files: bool
    memory: Memory = Memory()
    """What the journal knew of the wave that is carried out, before its first look."""
    results: dict[Address, Result] = field(default_factory=dict)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    all_stopped: bool = False
    looked: bool = False

    async def run(self, wave: int, changes: Sequence[Change], *, parallelism: int) -> None:
        """Carry out changes that may go at once; returns when each has its result, or this runner has to leave."""
        clock = self.announcer.clock
        with self._leaving_without_journal():
            # Asked once for all of them, so that no look waits for the disk. Nobody else writes to these before their
            # change, except a runner that took one and died, and a halt, after which the gate stops this run.
            self.memory = await self._remembered(*changes)
        await work_through(partial(self._next, wave), self._work, parallelism=parallelism, stop=self.stop, clock=clock)
        with self._leaving_without_journal():
            for result in (await self.claims.results()).values():
                self.learn(result)

    def learn(self, result: Result) -> None:
        """Keep a result, if it is new."""
        if result.change.id not in self.results:
            self.results[result.change.id] = result
            self.observer.finished(result)

    def _leaves(self) -> bool:
        """Whether this runner alone was asked to stop, so that others go on."""
        return self.stop.why is not None and not self.all_stopped

    @contextmanager
    def _leaving_without_journal(self) -> Iterator[None]:
        try:
            yield
        except JournalError as error:
            self.stop.request(error.summary)

    async def _next(self, wave: int) -> Turn | None:
        """Wait for this runner's next change of a wave; ``None`` once it is over, or this runner has to leave."""
        try:
            with self._leaving_without_journal():
                async with self.asking:  # one worker asks and waits for all of them
                    return await self._turn(wave)
        except asyncio.CancelledError:  # the grace of a stop is over
            if self.stop.why is None:
                raise
        return None

    async def _turn(self, wave: int) -> Turn | None:
        while not self._leaves():
            turn = await self.claims.take(wave)
            if turn.stopped is not None:
                self.stop.request(turn.stopped)
                self.all_stopped = True
            if turn.over:
                return None
            if turn.change is not None:
                return turn
            await self.announcer.clock.sleep(ASK_AGAIN_SECONDS)
        return None

    async def _work(self, turn: Turn) -> Rest:
        change = turn.change
        if change is None or self._leaves():
            return None
        self.observer.started(change.id, change.verb)
        progress = Progress(changed=turn.abandoned is not None and turn.abandoned.has_written)
        ended = await attempt(self._run(change, turn, progress), progress, self.stop)
        telling = asyncio.ensure_future(self._tell(change, progress, ended))
        if not (isinstance(ended, Result) and ended.outcome in ACHIEVED):
            # Whether another change may begin depends on how many have failed. No other depends on one that is done.
            await self._until(telling)
        return telling

    async def _until(self, telling: asyncio.Future[None]) -> None:
        """Wait until a result is told, or until the grace of a stop is over: then it is waited for at the end."""
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:
            if self.stop.why is None:
                telling.cancel()
                raise

    async def _tell(self, change: Change, progress: Progress, ended: Result | Ended) -> None:
        """Tell what became of a change, once it is on the disk."""
        ended = await kept(ended, progress, self.stop)
        if isinstance(ended, Ended):
            # The last call was refused, but an earlier one of the same change went through: say so.
            detail = ended.detail if ended.error is None else _what_failed(ended.error, progress)
            frozen = ended.closed.frozen if ended.closed is not None else None
            ended = result_of(change, progress, ended.outcome, detail, ended.error, frozen)
        self.learn(ended)
        if not (self._leaves() and ended.outcome is Outcome.NOT_ATTEMPTED):  # else another runner may do it
            with self._leaving_without_journal():
                await self.claims.end(ended)

    async def _run(self, change: Change, turn: Turn, progress: Progress) -> Result:
        if turn.abandoned is not None:
            progress.notes.append("another runner had begun it and could not end it")
            await self.announcer.settle_abandoned(change, progress, unproven=turn.abandoned.unproven)
        if turn.stopped is not None:
            raise Declined(Outcome.NOT_ATTEMPTED, turn.stopped)
        # A change that waits needs no read. But until the first answer nobody knows the time by the service's clock.
        gate = self.announcer.gate
        if (self.looked or change.id in gate.left) and (frozen := gate.waits(change.id)) is not None:
            raise Declined(Outcome.NOT_ATTEMPTED, str(frozen), closed=GateClosed(str(frozen), frozen=frozen))
        memory = await self._remembered(change) if turn.abandoned else self.memory
        wrote_already = progress.changed
        try:
            return await self._steps(change, progress, memory).run()
        except Declined as declined:
            if wrote_already and declined.outcome is Outcome.STALE:
                detail = "another runner had begun it, and no read shows all that it wrote; plan again"
                raise Declined(Outcome.UNKNOWN, detail) from declined
            raise
        finally:
            self.looked = True

    async def _remembered(self, *changes: Change) -> Memory:
        return await self.announcer.journal.memory(*(change.id for change in changes), plans=self.plans)

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
                also=lambda live: self._require_cadence(change, live),
                from_files=self.from_files,
            )
        return StrategySteps(
            change=change, strategy=strategy, announcer=announcer, progress=progress, memory=memory, plans=self.plans
        )

    def _require_cadence(self, change: Change, live: Live) -> None:
        """Raise :class:`Declined` for a portfolio that must not be resumed now.

        It would trade on the old cadence of its strategy, which this plan was to change and has not (API facts §5.3).
        Where Glider does not name its strategy, it may be any of those.
        """
        if change.verb is not Verb.RESUME or change.api.can.owns_schedule:
            return
        for result in sorted(self.results.values(), key=lambda result: result.change.id):
            strategy = result.change.of_strategy
            if strategy is not None and result.outcome not in ACHIEVED and live.strategy in (None, strategy):
                why = f"the cadence of its strategy {strategy} was not set, so it is not resumed on the old one"
                raise Declined(Outcome.NOT_ATTEMPTED, why, closed=GateClosed(why, frozen=result.frozen))


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
