"""Waiting: carries out what :mod:`reconciler.api.retry` and :mod:`reconciler.api.limiter` decide, for a whole run.

In: the outcome of each request. Out: time that passes, turns in the order of asking, or an :class:`ApiError` where
waiting would take too long. Knows no HTTP library and no portfolio.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from reconciler.api.limiter import Allowance, Limiter
from reconciler.api.retry import (
    ATTEMPTS,
    CAPPED_WAIT_MS,
    LONGEST_PLAUSIBLE_MS,
    LONGEST_WAIT_MS,
    Budget,
    Pace,
    may_repeat,
)
from reconciler.core.duration import SECOND_MS, format_duration
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.core.ports import Clock


class Call:
    """One call on its way: how often it was sent, and what that has cost. ``safe`` is true for a read."""

    __slots__ = ("attempt", "held", "limited_by", "operation", "safe", "window")

    def __init__(self, operation: str, *, safe: bool) -> None:
        self.operation = operation
        self.safe = safe
        self.attempt = 0
        self.window = 0
        self.held = 0
        self.limited_by: ApiError | None = None


class Pacing:
    """What stands between a call and the wire; one for all requests of a run.

    The order of use: :meth:`enter`; then one of :meth:`succeeded` and :meth:`failed`; then :meth:`leave`; after a
    failure :meth:`before_retry` and again.
    """

    def __init__(self, *, parallelism: int, clock: Clock, jitter: Callable[[], float]) -> None:
        self._pace = Pace(parallelism=parallelism, jitter=jitter)
        self._limiter = Limiter(parallelism=parallelism)
        self._allowance: Allowance | None = Allowance()
        self._distrust_at = 0  # when the cap on a reset ends; from then on the service's count is not believed
        self._budget = Budget()
        self._clock = clock
        self._queue: deque[asyncio.Future[None]] = deque()
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told of waits that were cut short: sentences, each once, oldest first."""
        return tuple(self._notes)

    async def enter(self, call: Call) -> None:
        """Wait until ``call`` may be sent, and take its place among those in flight.

        Raises :class:`ApiError` where that would take too long or the budget is used up; no place is held then, and
        nothing was sent.
        """
        if self._pace.shut or self._queue or not self._limiter.free:
            await self._turn(call.operation)
        else:
            self._limiter.enter()
        call.attempt += 1
        call.window = self._limiter.window
        if call.attempt == 1:
            self._budget.called()
        elif call.limited_by is not None:
            # Paid here and not when the limit came: fifty that were limited together are let go one by one.
            if not self._budget.spend():
                self.leave()
                raise call.limited_by
            call.held += 1
            call.limited_by = None

    def leave(self) -> None:
        """Give the place of a request back, and let the next ones go."""
        self._limiter.leave()
        while self._queue and self._limiter.free:
            turn = self._queue.popleft()
            if not turn.done():  # cancelled
                self._limiter.enter()  # on its behalf, so that nobody overtakes it
                turn.set_result(None)

    def heard(self, headers: Sequence[tuple[bytes, bytes]], *, limited: bool) -> None:
        """Take in what an answer's headers say is left: never more in flight than that, and none when it is nothing.

        An answer that is itself ``limited`` shuts the gate by what it asks for (:meth:`failed`), not by this.
        """
        if self._allowance is None or not self._allowance.concerned(headers):
            return
        now_ms = self._clock.now_ms()
        if 0 < self._distrust_at <= now_ms:
            self._allowance = None
            self._limiter.cap(None)
            return
        self._allowance.said(headers, now_ms)
        left = self._allowance.left(now_ms)
        self._limiter.cap(left or None)
        if left == 0 and not limited:
            wait_ms = self._allowance.reset_in_ms(now_ms)
            if wait_ms > LONGEST_WAIT_MS and not self._distrust_at:
                self._distrust_at = now_ms + LONGEST_WAIT_MS
                self._note(
                    f"the service counted no request left for {_shown(wait_ms)}; "
                    f"{_shown(LONGEST_WAIT_MS)} were waited, and its count was not looked at after that"
                )
            self._pace.hold(self._distrust_at or now_ms + wait_ms)

    def succeeded(self, call: Call) -> None:
        """A request was answered well."""
        self._pace.answered()
        self._limiter.good(call.window)
        if call.held:
            self._budget.give_back(call.held)
            call.held = 0

    def failed(self, call: Call, failure: ApiError) -> None:
        """A request failed. To be told before :meth:`leave`, so that no other slips through before the gate shuts."""
        if failure.kind is FailureKind.RATE_LIMITED:
            self._limited(call, failure)
        elif failure.status is None and failure.kind in (FailureKind.UNREACHABLE, FailureKind.INTERRUPTED):
            self._pace.unanswered(self._clock.now_ms())
        elif failure.kind in (FailureKind.SERVER, FailureKind.INTERRUPTED):
            self._pace.failed()
            self._limiter.passed(call.window)
        else:
            self.succeeded(call)  # for the pace, a refusal is as good as a success

    async def before_retry(self, call: Call, failure: ApiError) -> None:
        """Return when the call may ask to be sent again; raise ``failure`` when it may not."""
        limited = failure.kind is FailureKind.RATE_LIMITED
        asked_ms = failure.retry_after_ms or 0
        too_long = asked_ms > LONGEST_WAIT_MS and not (limited and asked_ms > LONGEST_PLAUSIBLE_MS)
        if not may_repeat(failure.kind, safe=call.safe) or call.attempt >= ATTEMPTS or too_long:
            raise failure
        if limited:
            call.limited_by = failure  # the gate makes it wait, and then it pays
            return
        if not self._budget.spend():
            raise failure
        await self._clock.sleep(self._pace.wait_ms(call.attempt, asked_ms=asked_ms) / SECOND_MS)

    def _limited(self, call: Call, failure: ApiError) -> None:
        now_ms = self._clock.now_ms()
        asked_ms = failure.retry_after_ms
        if asked_ms is None and self._allowance is not None:
            # Said nowhere else, the end of the window is the wait.
            asked_ms = min(self._allowance.reset_in_ms(now_ms), LONGEST_WAIT_MS) or None
        if asked_ms is not None and asked_ms > LONGEST_PLAUSIBLE_MS:
            self._note(
                f"the service asked to wait more than {_shown(LONGEST_PLAUSIBLE_MS)}, "
                f"which no rate limit lasts; {_shown(CAPPED_WAIT_MS)} was waited instead"
            )
        self._pace.limited(asked_ms=asked_ms, news=self._limiter.limited(call.window), now_ms=now_ms)

    async def _turn(self, operation: str) -> None:
        """Wait at the gate and then in the queue; return holding a place, or raise holding none."""
        while True:
            if self._pace.shut:
                await self._gate(operation)
            if self._limiter.free and not self._queue:
                self._limiter.enter()
                return
            await self._queued()
            if not self._pace.shut:
                return
            self.leave()  # the gate shut meanwhile: the next one in the queue has to learn that too

    async def _gate(self, operation: str) -> None:
        now_ms = self._clock.now_ms()
        if self._pace.resting(now_ms):
            raise ApiError(
                FailureKind.UNREACHABLE,
                "not sent: the service left many requests in a row unanswered; check the base URL and the network",
                operation=operation,
            )
        while wait_ms := self._pace.gate_ms(now_ms):
            if wait_ms > LONGEST_WAIT_MS:
                said = f"would have us wait {_shown(wait_ms)}; run again then"
                if self._pace.given_up:
                    said = "let nothing through, however long we waited; run again later"
                raise ApiError(
                    FailureKind.RATE_LIMITED,
                    f"not sent: the service limits the rate and {said}",
                    operation=operation,
                    retry_after_ms=wait_ms,
                )
            await self._clock.sleep((wait_ms + self._pace.stagger_ms()) / SECOND_MS)
            now_ms = self._clock.now_ms()

    async def _queued(self) -> None:
        """Stand in line; return holding a place."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave()  # it had its place already
            raise

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def _shown(ms: int) -> str:
    """Return a wait for people, in whole seconds, and no longer than anybody would believe."""
    if ms > LONGEST_PLAUSIBLE_MS:
        return f"more than {format_duration(LONGEST_PLAUSIBLE_MS)}"
    return format_duration(-(-ms // SECOND_MS) * SECOND_MS)
