"""Ask for rebalances, each once and never again while an earlier request is unanswered, and follow them to their end.

In: portfolios and the ports. Out: a :class:`~reconciler.core.rebalance.RebalanceResult` for each. The requests are made
by :mod:`reconciler.apply.announce`. Following only reads: to stop it stops no rebalance.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.apply.announce import Announcer, Declined, Progress, Sent, Writing, look_until
from reconciler.apply.run import attempt, kept, work_through
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import due_ms_of, observed_record
from reconciler.core.intent import Before, Call, Effect, GateClosed, Intent, WriteOutcome, new_run
from reconciler.core.model import ApiVersion, Live, PortfolioId, Status
from reconciler.core.rebalance import RebalanceOutcome, RebalanceResult, RebalanceStatus, RecentRebalances, is_cooldown
from reconciler.core.report import Outcome
from reconciler.core.text import MINUTE_MS, SECOND_MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reconciler.apply.run import Stop
    from reconciler.core.change import Window
    from reconciler.core.intent import OpenIntent
    from reconciler.core.model import Address
    from reconciler.core.ports import Clock, RebalanceApi, RebalanceObserver
    from reconciler.core.rebalance import Rebalance
    from reconciler.core.report import Run

LISTED: Final = 10
"""How many workflows are compared before and after a request; the guide lists as many (API facts §1.1, V1.7)."""
NEAR_MS: Final = 5 * MINUTE_MS
"""A scheduled run this close can't be told from one that was asked for: clocks differ, and schedulers are late."""
_SOON_MS: Final = 10 * MINUTE_MS
"""A run that begins later than this after the request is not taken for the one that was asked for."""
_TAKEN: Final = frozenset({WriteOutcome.CONFIRMED.value, WriteOutcome.SEEN.value})


class Order(Struct, frozen=True, kw_only=True):
    """One rebalance to ask for.

    ``skip_schedule_validation`` runs a portfolio without an active schedule, on v1. ``declared_paused`` says that the
    files want it paused, ``although_paused`` that a person wants it run all the same. ``again`` says that a person
    wants it run although an earlier request was not answered. ``freezes`` are the windows in which it must not be run,
    and ``halted`` says of a look which halt forbids the run.
    """

    portfolio: PortfolioId
    version: ApiVersion
    skip_schedule_validation: bool = False
    declared_paused: bool = False
    although_paused: bool = False
    again: bool = False
    halted: Callable[[Live], str | None] = lambda _: None
    freezes: tuple[Window, ...] = ()


class _Look(Struct, frozen=True):
    """A portfolio and the newest rebalances that are listed; after the request, ``live`` is ``None``."""

    live: Live | None
    recent: RecentRebalances


def why_not(order: Order, live: Live) -> str | None:
    """Say why a portfolio must not be run now; ``None`` where it may."""
    name = order.portfolio
    if (halted := order.halted(live)) is not None:
        return halted
    match live.status:
        case Status.PAUSED if not order.although_paused:
            shown = f" ({live.pause_reason})" if live.pause_reason else ""
            return f"it is paused{shown}, and a rebalance trades all the same; name it with --although-paused {name}"
        case Status.ARCHIVED | Status.ERROR | Status.UNKNOWN:
            return f"Glider reports the status {live.word or live.status.value!r}; look at it there first"
        case Status.UNREADABLE | Status.NOT_READ:
            return "its status could not be read"
        case Status.NOT_FOUND:
            return "Glider has no such portfolio, or the key may not see it; check the id"
        case Status.ACTIVE | Status.PAUSED | Status.INACTIVE | Status.NO_SCHEDULE:
            if order.declared_paused and not order.although_paused:
                return f"the files declare it paused; name it with --although-paused {name} to run it all the same"
            return None
        case _:
            assert_never(live.status)


async def trigger_all(
    orders: Sequence[Order],
    *,
    announcer: Announcer,
    observer: RebalanceObserver,
    parallelism: int,
    stop: Stop,
) -> dict[PortfolioId, RebalanceResult]:
    """Ask for every rebalance once, ``parallelism`` at a time; return what became of each, by portfolio.

    The run of an earlier request that was not answered is looked for first. If it is found, it is the result, and
    nothing is sent; if not, the new request is refused unless the order says ``again``. Only a refused key, a journal
    that can't be written and an interruption stop the rest, which is then *not attempted*.
    """
    windows: dict[Address, tuple[Window, ...]] = {order.portfolio: order.freezes for order in orders}
    gate = replace(announcer.gate, windows=windows, now_ms=announcer.api.service_ms)
    asker = _Asker(announcer=replace(announcer, gate=gate), observer=observer, stop=stop)
    left = iter(orders)

    async def take() -> Order | None:
        return next(left, None)

    await work_through(take, asker.work, parallelism=parallelism, stop=stop, clock=announcer.clock)
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


async def find_run(opened: OpenIntent, api: RebalanceApi) -> Rebalance | None:
    """Look for the run that an unanswered request began, among those that the service lists now.

    The run must be new since the request, have begun soon after it, and can't be a scheduled one. ``None`` if there is
    no such run, or no list. Raises :class:`ApiError`.
    """
    intent = opened.intent
    if not intent.api.can.lists_runs or intent.before.runs is None:
        return None
    portfolio = PortfolioId(intent.address)
    due_ms = intent.before.due_ms
    after_ms = None if due_ms is None or intent.before.status is not Status.ACTIVE else due_ms - opened.at_ms
    if after_ms is not None and -NEAR_MS <= after_ms <= _SOON_MS + NEAR_MS:
        return None  # a scheduled run was due in that time, and nothing tells it from the one that was asked for
    recent = await api.recent(portfolio, limit=LISTED)
    # The oldest new run: later ones may belong to somebody else or to the schedule.
    return next((one for one in reversed(recent.rebalances) if _may_be_of(opened, one)), None)


def _may_be_of(opened: OpenIntent, one: Rebalance) -> bool:
    begun_ms = one.begun_ms
    return (
        begun_ms is not None
        and opened.at_ms - MINUTE_MS <= begun_ms <= opened.at_ms + _SOON_MS
        and one.id not in (opened.intent.before.runs or ())
    )


class _Asker(Struct, kw_only=True):
    """What the workers share; ``results`` grows, keyed by portfolio id."""

    announcer: Announcer
    observer: RebalanceObserver
    stop: Stop
    results: dict[PortfolioId, RebalanceResult] = field(default_factory=dict)

    async def work(self, order: Order) -> None:
        """Ask for one rebalance, or say that it was not attempted."""
        result = await self._ask(order) if self.stop.why is None else _not_attempted(order, self.stop.why)
        self.results[order.portfolio] = result
        if result.outcome is RebalanceOutcome.ACCEPTED:
            self.observer.accepted(order.portfolio, result.id)
        else:
            self.observer.finished(result)

    async def _ask(self, order: Order) -> RebalanceResult:
        progress = Progress()
        ended = await attempt(self._unless_earlier(order, progress), progress, self.stop)
        ended = await kept(ended, progress, self.stop)
        if isinstance(ended, RebalanceResult):
            return ended
        if (closed := ended.closed) is not None:
            detail = closed.frozen.sentence if closed.frozen is not None else closed.why
            return RebalanceResult(
                portfolio=order.portfolio, outcome=RebalanceOutcome.REFUSED, detail=detail, guarded=True
            )
        if ended.error is not None:
            return self._refused(order, ended.error, sent=bool(progress.calls))
        if ended.outcome is Outcome.UNKNOWN:
            return _unknown(order, ended.detail)
        outcome = RebalanceOutcome.REFUSED if ended.outcome is Outcome.STALE else RebalanceOutcome.NOT_ATTEMPTED
        return RebalanceResult(portfolio=order.portfolio, outcome=outcome, detail=ended.detail)

    async def _unless_earlier(self, order: Order, progress: Progress) -> RebalanceResult:
        return await self._earlier(order) or await self._trigger(order, progress)

    async def _earlier(self, order: Order) -> RebalanceResult | None:
        """Return the result if an earlier request stayed unanswered and no new one may be made; else ``None``."""
        journal = self.announcer.journal
        memory = await journal.memory(order.portfolio)
        opened = memory.unanswered.get(order.portfolio)
        if opened is None:
            return None
        found = await find_run(opened, self.announcer.api)
        if found is not None:
            noun = self.announcer.api.noun(order.portfolio)
            await journal.end(opened.number, WriteOutcome.SEEN, f"{noun} {found.id}")
            note = f"the earlier request had begun the {noun} {found.id}; nothing new was asked for"
            return RebalanceResult(
                portfolio=order.portfolio, outcome=RebalanceOutcome.ACCEPTED, id=found.id, notes=(note,)
            )
        if order.again:  # only after the look: a run that is found makes a second request needless
            return None
        detail = (
            "an earlier request for a run of it was not answered, and may have begun one: look with `reconciler status "
            f"{order.portfolio}`, and name it with --again {order.portfolio} to ask anew"
        )
        return RebalanceResult(portfolio=order.portfolio, outcome=RebalanceOutcome.UNKNOWN, detail=detail)

    async def _trigger(self, order: Order, progress: Progress) -> RebalanceResult:
        # The list is not part of the look, whose age is limited: it only has to be read before the request.
        listed = await self._recent(order)

        async def check(look: _Look) -> None:
            if look.live is not None and (why := why_not(order, look.live)):
                halted = order.halted(look.live)
                raise Declined(Outcome.STALE, why, closed=GateClosed(halted) if halted is not None else None)

        def intent(look: _Look, token: str) -> Intent:
            return _intent(order, look, token)

        def effect(intent: Intent, look: _Look) -> Effect:
            return Effect.SHOWN if self._found(intent, look.recent) else Effect.OPEN

        async def read() -> _Look:
            return _Look(await self.announcer.api.read(order.portfolio), listed)

        async def read_after() -> _Look:
            return _Look(None, await self._recent(order))

        sent = await self.announcer.announced(
            Writing(read=read, check=check, intent=intent, effect=effect, read_after=read_after), progress
        )
        if sent.look.live is not None:
            await self._keep(order, sent.look.live)
        return await self._result(order, sent)

    async def _keep(self, order: Order, live: Live) -> None:
        """Keep what the look proved about the schedule, because the run that was asked for spoils the points that
        proved it."""
        journal = self.announcer.journal
        memory = await journal.memory(order.portfolio)
        proven = observed_record(live, memory.records.get(order.portfolio))
        if proven is not None:
            await journal.confirm({order.portfolio: proven})

    async def _recent(self, order: Order) -> RecentRebalances:
        return await self.announcer.api.recent(order.portfolio, limit=LISTED)

    def _found(self, intent: Intent, recent: RecentRebalances) -> bool:
        """Whether a list shows the run that was asked for, and not perhaps the one that the schedule began."""
        due_ms = intent.before.due_ms
        near = (
            intent.before.status is Status.ACTIVE
            and due_ms is not None
            and due_ms <= self.announcer.api.service_ms() + NEAR_MS
        )
        return not near and new_run(intent, recent) is not None

    async def _result(self, order: Order, sent: Sent[_Look]) -> RebalanceResult:
        noun, journal = self.announcer.api.noun(order.portfolio), self.announcer.journal
        if sent.answer is not None:
            run = sent.answer.run or await self._look_for_id(order, sent.intent)
            if run is not None:
                await journal.end(sent.number, WriteOutcome.CONFIRMED, f"{noun} {run}")
            return RebalanceResult(portfolio=order.portfolio, outcome=RebalanceOutcome.ACCEPTED, id=run)
        new = new_run(sent.intent, sent.seen.recent) if sent.seen is not None else None
        if sent.took_effect and new is not None:
            await journal.end(sent.number, WriteOutcome.SEEN, f"{noun} {new.id}")
            note = f"the trigger failed ({sent.error}), but a read shows a new {noun} since"
            return RebalanceResult(
                portfolio=order.portfolio, outcome=RebalanceOutcome.ACCEPTED, id=new.id, notes=(note,)
            )
        seen = f"a new {noun} {new.id} is listed, which may be the scheduled run" if new else f"no new {noun} is seen"
        return _unknown(order, f"{sent.error}; {seen}", sent.error)

    async def _look_for_id(self, order: Order, intent: Intent) -> str | None:
        """Look for the id of a run whose answer named none, where the service lists runs."""
        if intent.before.runs is None:
            return None
        sight = await look_until(
            lambda: self._recent(order), lambda recent: self._found(intent, recent), self.announcer.clock
        )
        found = new_run(intent, sight.live) if sight.expected and sight.live is not None else None
        return found.id if found is not None else None

    def _refused(self, order: Order, error: ApiError, *, sent: bool) -> RebalanceResult:
        if sent and is_cooldown(error):
            wait_ms = error.retry_after_ms
            return RebalanceResult(
                portfolio=order.portfolio,
                outcome=RebalanceOutcome.COOLING_DOWN,
                detail=_cooldown(wait_ms),
                error=error,
                retry_ms=None if wait_ms is None else self.announcer.clock.now_ms() + wait_ms,
            )
        what = str(error) if sent else f"reading failed, so nothing was asked for: {error}"
        return RebalanceResult(
            portfolio=order.portfolio,
            outcome=RebalanceOutcome.REFUSED,
            detail=f"{what}. {error.detail}" if error.detail else what,
            error=error,
        )


def _intent(order: Order, look: _Look, token: str) -> Intent:
    live, recent = look.live, look.recent
    if live is None:
        raise AssertionError("a request follows a look at its portfolio")
    return Intent(
        address=order.portfolio,
        call=Call.REBALANCE,
        token=token,
        api=order.version,
        skip_schedule_validation=order.skip_schedule_validation,
        before=Before(
            status=live.status,
            pause_reason=live.pause_reason,
            due_ms=due_ms_of(live.schedule_id) if live.status is Status.PAUSED else _next_of(look),
            runs=tuple(one.id for one in recent.rebalances) if recent.listed else None,
        ),
    )


def _next_of(look: _Look) -> int | None:
    """Return when the schedule runs it next. Of the two reads the earlier time counts, or a scheduled run between them
    could pass for ours."""
    shown = (look.recent.next_run_ms, None if look.live is None else look.live.next_run_ms)
    return min((ms for ms in shown if ms is not None), default=None)


def _cooldown(wait_ms: int | None) -> str:
    if wait_ms is None:
        return "its last rebalance is too recent, and Glider does not say for how long; run again later"
    return f"its last rebalance is too recent; run again in {format_duration(-(-wait_ms // SECOND_MS) * SECOND_MS)}"


def _unknown(order: Order, why: str, error: ApiError | None = None) -> RebalanceResult:
    detail = f"it may be running: look with `reconciler status {order.portfolio}`; it is not asked for again ({why})"
    return RebalanceResult(portfolio=order.portfolio, outcome=RebalanceOutcome.UNKNOWN, detail=detail, error=error)


def _not_attempted(order: Order, why: str) -> RebalanceResult:
    return RebalanceResult(portfolio=order.portfolio, outcome=RebalanceOutcome.NOT_ATTEMPTED, detail=why)


POLL_SECONDS: Final = 3.0
"""Seconds between two looks. Glider's guide asks for 2 to 5 (API facts §6)."""
_PATIENCE: Final = 5
"""Up to this many looks in a row may fail: a rebalance that was just accepted may not be readable yet."""
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
    deadline_ms = clock.ticks_ms() + timeout_ms
    follower = _Follower(results=dict(results), api=api, clock=clock, observer=observer, deadline_ms=deadline_ms)
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


class _Follower(Struct, kw_only=True):
    """Looks at all open rebalances in rounds; ``results`` holds what is known of each."""

    results: dict[PortfolioId, RebalanceResult]
    api: RebalanceApi
    clock: Clock
    observer: RebalanceObserver
    deadline_ms: int
    failures: dict[PortfolioId, int] = field(default_factory=dict)

    async def run(self, patience: str) -> None:
        """Look until nothing is open, or the time is over; ``patience`` names that time to people."""
        for portfolio in self._open():
            if self.results[portfolio].id is None:
                self._end(
                    portfolio, RebalanceOutcome.UNKNOWN, "it was accepted, but Glider named no id to follow it by"
                )
        while waiting := self._open():
            await asyncio.gather(*(self._look(portfolio) for portfolio in waiting))
            left_ms = self.deadline_ms - self.clock.ticks_ms()
            if left_ms <= 0:
                break
            if self._open():
                await self.clock.sleep(min(POLL_SECONDS, left_ms / SECOND_MS))
        for portfolio in self._open():
            last = self.results[portfolio].rebalance
            shown = f" ({last.word.replace('_', ' ')})" if last is not None else ""
            self._end(
                portfolio,
                RebalanceOutcome.TIMED_OUT,
                f"it is not over after {patience}{shown}, and goes on; look with `reconciler status {portfolio}`",
            )

    def give_up(self) -> None:
        """End the following of all that is still open, and say that it goes on."""
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
            found = await self.api.look(portfolio, result.id or "")
        except ApiError as error:
            self.failures[portfolio] = self.failures.get(portfolio, 0) + 1
            if error.kind in _HOPELESS or self.failures[portfolio] >= _PATIENCE:
                self._end(
                    portfolio, RebalanceOutcome.UNKNOWN, f"it was accepted, but can't be followed: {error}", error
                )
            return
        self.failures[portfolio] = 0
        last = result.rebalance
        self.results[portfolio] = replace(result, rebalance=found)
        if last is None or last.word != found.word:
            self.observer.moved(portfolio, found)
        if found.over:
            self._end(portfolio, *_ending(found))

    def _end(
        self, portfolio: PortfolioId, outcome: RebalanceOutcome, detail: str, error: ApiError | None = None
    ) -> None:
        result = replace(self.results[portfolio], outcome=outcome, detail=detail, error=error)
        self.results[portfolio] = result
        self.observer.finished(result)


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
