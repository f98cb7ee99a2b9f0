"""One limiter for all requests of a run: when each may go out, and which are sent again.

In: every request before it is sent, and what became of it. Out: time that passes until it may go, in the order of
asking, or an :class:`ApiError` where that would take too long. What is known of the service's limits is kept by
:mod:`reconciler.api.pace`; here it is waited for. Knows no HTTP library and no portfolio.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct

from reconciler.api.pace import CAPPED_WAIT_MS, LONGEST_PLAUSIBLE_MS, Gate, Rate, Remaining, backoff_ms
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.text import MINUTE_MS, SECOND_MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.core.ports import Clock

ATTEMPTS: Final = 4
"""How often one call is sent at most, the first time included."""
LONGEST_WAIT_MS: Final = 2 * MINUTE_MS
"""A longer ``Retry-After`` is not waited for: the call fails at once and says so."""

_BUDGET_FLOOR: Final = 20  # retries that even a run of a few calls may use
_BUDGET_SHARE: Final = 5  # one retry more for every five calls
_STAGGER_MS: Final = 250  # several runs may wait for the same moment; each adds up to this (API facts §2.5: stagger)


def may_repeat(kind: FailureKind, *, safe: bool) -> bool:
    """Whether a call that failed like this may be sent again.

    ``safe`` is true for a read. A write is repeated only after a 429: it is the one failure that proves that
    nothing was done and that also asks to come back. Failures that would only repeat themselves are final.
    """
    match kind:
        case FailureKind.RATE_LIMITED:
            return True
        case FailureKind.UNREACHABLE | FailureKind.INTERRUPTED | FailureKind.SERVER:
            return safe
        case (
            FailureKind.NOT_FOUND
            | FailureKind.REFUSED
            | FailureKind.UNAUTHENTICATED
            | FailureKind.FORBIDDEN
            | FailureKind.MALFORMED
        ):
            return False
        case _:
            assert_never(kind)


class RetryBudget:
    """How many retries one run may send: 20, and one more for five calls.

    So however a service fails, it costs at most 1.2 times the calls, and 20. If a limit made a retry necessary and the
    retry succeeds, it is given back: a service that only slows us down uses nothing up.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.retries = 0

    def spend(self) -> bool:
        """Take one retry; false where none is left."""
        if self.retries >= _BUDGET_FLOOR + self.calls // _BUDGET_SHARE:
            return False
        self.retries += 1
        return True


class PacedCall(Struct):
    """One call on its way, and how often it was sent. ``safe`` is true for a read.

    Of its last request: ``number`` counts all requests of the run, ``limits`` the limits known when it was sent, and
    ``counted`` says whether the service's count allowed it. After a 429, ``held_until`` is when it may go again, and
    ``limited_by`` is raised where it may not. ``unpaid`` retries are given back to the budget once it succeeds.
    """

    operation: str
    safe: bool
    attempt: int = 0
    number: int = 0
    limits: int = 0
    counted: bool = False
    unpaid: int = 0
    held_until: int = 0
    limited_by: ApiError | None = None


class RequestLimiter:
    """What stands between a call and the wire; one for all requests of a run.

    The order of use: :meth:`enter`; then one of :meth:`succeeded` and :meth:`failed`; then :meth:`leave`; after a
    failure :meth:`before_retry` and again. Calls inside a :class:`~reconciler.api.room.WriteRoom` go by the room.
    ``max_rate_per_s`` spaces requests evenly from the first one on. ``service_ms`` is the time by the service's clock
    (UTC epoch), in which it says when its windows end.
    """

    def __init__(
        self,
        *,
        parallelism: int,
        clock: Clock,
        jitter: Callable[[], float],
        service_ms: Callable[[], int] | None = None,
        max_rate_per_s: float | None = None,
    ) -> None:
        self._parallelism = parallelism
        # Places taken, by requests without an outcome yet and by rooms. Each has a claim on the service's window for
        # every request that it sends or may yet send. What is reserved and what is under way never add up to more than
        # the ceiling, unless the service's count shrinks by more than we sent, because others use it, too.
        self._in_flight = 0
        self._reserved = 0
        self._under_way = 0
        self._ceiling = math.inf
        self.gate = Gate(parallelism=parallelism, jitter=jitter)
        self._rate = Rate(max_rate_per_s)
        self._budget = RetryBudget()
        self._remaining: Remaining | None = Remaining()
        self._no_connection = ""  # why the last request found none, in the words that everybody is told
        self._distrust_at = 0  # when a capped wait for a window ends; from then on the service's count is not believed
        self._clock = clock
        self._jitter = jitter
        self._service_ms = service_ms or clock.now_ms
        self._line: deque[asyncio.Event] = deque()
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told of waits that were cut short: sentences, each once, oldest first."""
        return tuple(self._notes)

    @property
    def spent(self) -> bool:
        """Whether as many requests are on their way as the service still takes."""
        return self._under_way >= self._ceiling

    @property
    def open(self) -> bool:
        """Whether nothing has to wait for the gate now."""
        if not self.gate.shut:
            return True
        now_ms = self._clock.ticks_ms()
        return not self.gate.resting(now_ms) and not self.gate.wait_ms(now_ms)

    def call(self, operation: str, *, safe: bool) -> PacedCall:
        """Return a new call."""
        return PacedCall(operation, safe)

    async def enter(self, call: PacedCall) -> None:
        """Wait until ``call`` may be sent, and take its place among those in flight.

        Raises :class:`ApiError` where that would take too long or the budget is used up; no place is held then, and
        nothing was sent.
        """
        await self.enter_room(call.operation, 1, first=call.attempt > 0)
        try:
            self.count(call)
        except ApiError:
            self.give_back(1)
            raise

    async def enter_room(self, operation: str, requests: int, *, first: bool = False) -> int:
        """Wait until there is a place with claims on so many requests, and take them; return how many claims.

        Places are given in the order of asking, so that no call waits forever; only one that was refused goes
        ``first``. There are fewer claims if the service's whole window is smaller. Raises :class:`ApiError` as
        :meth:`enter` does.
        """
        if self._line or self._rate.paced or self.gate.shut or not self._fits(requests):
            requests = await self._stand_in_line(operation, requests, first=first)
        self._in_flight += 1
        self._reserve(requests)
        return requests

    def _fits(self, requests: int) -> bool:
        room = self._in_flight < (1 if self.gate.doubted else self._parallelism)
        return room and self._reserved + self._under_way + requests <= self._ceiling

    def _call_up(self) -> None:
        """Wake the first in line, to see whether there is room now."""
        if self._line:
            self._line[0].set()

    def _reserve(self, requests: int) -> None:
        self._reserved += requests
        if self._rate.paced:
            self._rate.sent(requests, self._clock.ticks_ms())

    async def _stand_in_line(self, operation: str, requests: int, *, first: bool) -> int:
        """Return at the head of the line, once there is room, for so many requests."""
        waiter = asyncio.Event()
        if not self._line:
            self._rate.asked(self._clock.ticks_ms())
        if first:
            self._line.appendleft(waiter)
        else:
            self._line.append(waiter)
        try:
            while True:
                if self._line[0] is not waiter:
                    await _woken(waiter)
                elif wait_ms := self._wait_ms(operation):
                    await self._clock.sleep(wait_ms / SECOND_MS)
                elif requests > self._ceiling and not self._reserved + self._under_way:
                    size = self._await_window(shut=True)
                    requests = requests if size is None else min(requests, size)
                elif self._fits(requests):
                    return requests
                else:
                    await _woken(waiter)
        finally:  # also when cancelled, or when it would take too long
            self._line.remove(waiter)
            self._call_up()

    def reserve_one(self) -> bool:
        """Reserve one request more, for a place that is taken; false where that would be too many."""
        if self._reserved + self._under_way >= self._ceiling:
            return False
        self._reserve(1)
        return True

    def give_back(self, requests: int) -> None:
        """Give a place back, and so many requests that were reserved and not sent."""
        self._in_flight -= 1
        self._reserve(-requests)
        self._call_up()

    def count(self, call: PacedCall) -> None:
        """Count ``call`` as sent; its claim was reserved. Raises :class:`ApiError` if it must pay and can't."""
        if call.attempt:
            self.pay(call)
        else:
            self._budget.calls += 1
        call.attempt += 1
        self.gate.sent += 1
        call.number, call.limits = self.gate.sent, self.gate.limits
        call.counted = self._ceiling < math.inf
        self._reserved -= 1
        self._under_way += 1

    def pay(self, call: PacedCall) -> None:
        """Pay for sending ``call`` again after a limit; raise that limit's :class:`ApiError` where nothing is left.

        Paid here and not when the limit came: fifty that were limited together are let go one by one.
        """
        if call.limited_by is None:
            return
        if not self._budget.spend():
            raise call.limited_by
        call.unpaid += 1
        call.limited_by = None

    def leave(self) -> None:
        """Give the place of a request that was sent back, and let the next ones go."""
        self._in_flight -= 1
        self.answered()

    def answered(self) -> None:
        """Give the claim of a request that was sent back, and let the next ones go."""
        self._under_way -= 1
        self._call_up()

    def heard(self, headers: Iterable[tuple[bytes, bytes]], *, limited: bool) -> None:
        """Take in how many requests are left by an answer's headers; from now on there are never more claims than that.

        If none is left, the gate shuts, unless the answer is itself ``limited``: then :meth:`failed` shuts it, for as
        long as the answer asks.
        """
        if self._remaining is None or not self._remaining.concerned(headers):
            return
        if 0 < self._distrust_at <= self._clock.ticks_ms():
            self._remaining = None
            self._ceiling = math.inf
            return
        now_ms = self._service_ms()
        self._remaining.said(headers, now_ms)
        left = self._remaining.left(now_ms)
        if left == 0:
            self._await_window(shut=not limited)
        else:
            self._ceiling = math.inf if left is None else left

    def succeeded(self, call: PacedCall) -> None:
        """Take note that a request was answered well."""
        self.gate.served(call.number)
        if self._rate.paced:
            self._rate.served(call.number)
        self._budget.retries -= call.unpaid
        call.unpaid = 0

    def failed(self, call: PacedCall, failure: ApiError) -> None:
        """Take note that a request failed. Call it before :meth:`leave`, or another request could slip through."""
        if failure.kind is FailureKind.RATE_LIMITED:
            self._limited(call, failure)
        elif failure.status is None and failure.kind in (FailureKind.UNREACHABLE, FailureKind.INTERRUPTED):
            self.gate.unanswered(self._clock.ticks_ms())
            self._no_connection = failure.summary if failure.kind is FailureKind.UNREACHABLE else ""
        elif failure.kind in (FailureKind.SERVER, FailureKind.INTERRUPTED):
            self.gate.passed(call.number)
        else:
            self.succeeded(call)  # a refused request was let through by the rate limit, so for the pace it is a success

    def may_retry(self, call: PacedCall, failure: ApiError) -> bool:
        """Whether the call may be sent again, budget aside; what a limit costs is paid once it is let go."""
        limited = failure.kind is FailureKind.RATE_LIMITED
        asked_ms = failure.retry_after_ms or 0
        too_long = asked_ms > LONGEST_WAIT_MS and not (limited and asked_ms > LONGEST_PLAUSIBLE_MS)
        if not may_repeat(failure.kind, safe=call.safe) or call.attempt >= ATTEMPTS or too_long:
            return False
        if limited:
            call.limited_by = failure
        return True

    async def before_retry(self, call: PacedCall, failure: ApiError) -> None:
        """Return when the call may ask to be sent again; raise ``failure`` when it may not."""
        if not self.may_retry(call, failure):
            raise failure
        await self.back_off(call, failure)

    async def back_off(self, call: PacedCall, failure: ApiError) -> None:
        """Wait before a call that may be sent again; raise ``failure`` where that can't be paid."""
        if call.limited_by is not None:
            await self.sit_out(call)
            return
        if not self._budget.spend():
            raise failure
        wait_ms = max(backoff_ms(call.attempt, self._jitter), failure.retry_after_ms or 0)
        await self._clock.sleep(wait_ms / SECOND_MS)

    async def sit_out(self, call: PacedCall) -> None:
        """Wait as long as the service asked of this call when it refused it."""
        wait_ms = call.held_until - self._clock.ticks_ms()
        if wait_ms > 0 and not self.gate.given_up:
            await self._clock.sleep(wait_ms / SECOND_MS)

    def _limited(self, call: PacedCall, failure: ApiError) -> None:
        asked_ms = failure.retry_after_ms
        # Where the service counts, the end of its window is the wait if nothing else is, and says all about the rate.
        reset_ms = 0 if self._remaining is None else self._remaining.reset_in_ms(self._service_ms())
        if asked_ms is None:
            asked_ms = min(reset_ms, LONGEST_WAIT_MS) or None
        elif asked_ms > LONGEST_PLAUSIBLE_MS:
            self._note(
                f"the service asked to wait more than {wait_text(LONGEST_PLAUSIBLE_MS)}; no rate limit lasts that "
                f"long, so the wait was {wait_text(CAPPED_WAIT_MS)}"
            )
        now_ms = self._clock.ticks_ms()
        news, counted = call.limits == self.gate.limits, reset_ms > 0
        if not news:
            self._rate.refused_too()
        elif not self.gate.doubted and (call.counted or not counted):
            # A request that went alone says nothing about the rate, nor does one sent before the first count was known.
            self._rate.refused(call.number, last_sent=self.gate.sent, now_ms=now_ms)
        wait_ms = self.gate.limited(call.number, asked_ms=asked_ms, news=news, counted=counted, now_ms=now_ms)
        call.held_until = now_ms + wait_ms + int(min(wait_ms / 10, _STAGGER_MS) * self._jitter())

    def _await_window(self, *, shut: bool) -> int | None:
        """Prepare for the service's next window; with ``shut``, let nothing through before it begins.

        Returns how many requests it will take, as far as that is known.
        """
        if self._remaining is None:
            self._ceiling = math.inf
            return None
        size = self._remaining.next_size
        # 0 would never let anything go, and no ceiling would let go everybody who waits.
        self._ceiling = math.inf if size is None else max(1, size)
        wait_ms = self._remaining.reset_in_ms(self._service_ms())
        if shut and wait_ms:
            now_ms = self._clock.ticks_ms()
            if wait_ms > LONGEST_WAIT_MS and not self._distrust_at:
                self._distrust_at = now_ms + LONGEST_WAIT_MS
                self._note(
                    f"by the service's count no request was left for {wait_text(wait_ms)}; "
                    f"the wait was {wait_text(LONGEST_WAIT_MS)}, and its count was ignored after that"
                )
            self.gate.hold(self._distrust_at or now_ms + wait_ms)
        return size

    def _wait_ms(self, operation: str) -> int:
        """Return how long nothing may go out; raise :class:`ApiError` where that is too long to wait for."""
        now_ms = self._clock.ticks_ms()
        if self.gate.resting(now_ms):
            # In the same words as the requests that were sent, so that a service that is down is shown as one cause.
            unanswered = "not sent: the service left many requests in a row unanswered"
            told = self._no_connection or f"{unanswered}; check the base URL and the network"
            raise ApiError(FailureKind.UNREACHABLE, told, operation=operation)
        wait_ms = self.gate.wait_ms(now_ms)
        if wait_ms > LONGEST_WAIT_MS:
            said = f"would have us wait {wait_text(wait_ms)}; run again then"
            if self.gate.given_up:
                said = "let nothing through, however long we waited; run again later"
            raise ApiError(
                FailureKind.RATE_LIMITED,
                f"not sent: the service limits the rate and {said}",
                operation=operation,
                retry_after_ms=wait_ms,
            )
        return wait_ms + self._stagger_ms() if wait_ms else self._rate.wait_ms(now_ms)

    def _stagger_ms(self) -> int:
        return int(_STAGGER_MS * self._jitter())

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


async def _woken(waiter: asyncio.Event) -> None:
    waiter.clear()
    await waiter.wait()


def wait_text(ms: int) -> str:
    """Return a wait for people, in whole seconds; one that is too long to be true is "more than" a day."""
    if ms > LONGEST_PLAUSIBLE_MS:
        return f"more than {format_duration(LONGEST_PLAUSIBLE_MS)}"
    return format_duration(-(-ms // SECOND_MS) * SECOND_MS)
