"""Waiting: carries out what :mod:`reconciler.api.throttle` decides for a whole run, and gives room for writes.

In: the outcome of each request. Out: time that passes, turns in the order of asking, or an :class:`ApiError` where
waiting would take too long. In a :class:`WriteRoom` no write goes out on a look older than two seconds: whatever makes
it wait sends its caller back to the look (:class:`~reconciler.core.ports.WriteNotSent`), because the service may have
changed by the end of the wait. Knows no HTTP library and no portfolio.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from reconciler.api.throttle import (
    ATTEMPTS,
    CAPPED_WAIT_MS,
    LONGEST_PLAUSIBLE_MS,
    LONGEST_WAIT_MS,
    Budget,
    Limiter,
    Pace,
    Windows,
    may_repeat,
    shown,
)
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.ports import WriteNotSent
from reconciler.core.text import SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import Token

    from reconciler.core.ports import Clock

LOOK_LIVES_MS: Final = 2_000
"""So old may a look be, from the moment it was sent, when the write that relies on it goes out."""

_LOOK_AND_WRITE: Final = 2
# A context variable and no parameter: the calls of the ports keep their signatures, and what stands between a caller
# and the transport need not know of rooms. A task sees the room that it, or the task that made it, is in.
_inside: Final[ContextVar[WriteRoom | None]] = ContextVar("room", default=None)


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
    failure :meth:`before_retry` and again. Calls inside a :class:`WriteRoom` go by the room.
    ``service_ms`` is the time by the service's clock, in which it says when its windows end.
    """

    def __init__(
        self,
        *,
        parallelism: int,
        clock: Clock,
        jitter: Callable[[], float],
        service_ms: Callable[[], int] | None = None,
    ) -> None:
        self.limiter = Limiter(parallelism=parallelism)
        """What rooms take their places and claims from."""
        self._pace = Pace(parallelism=parallelism, jitter=jitter)
        self._windows = Windows(self.limiter, self._pace, clock=clock, service_ms=service_ms, note=self._note)
        self._budget = Budget()
        self._clock = clock
        self._line: deque[_Waiter] = deque()
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told of waits that were cut short: sentences, each once, oldest first."""
        return tuple(self._notes)

    @property
    def open(self) -> bool:
        """Whether nothing has to wait for the gate now."""
        if not self._pace.shut:
            return True
        now_ms = self._clock.now_ms()
        return not self._pace.resting(now_ms) and not self._pace.gate_ms(now_ms)

    def call(self, operation: str, *, safe: bool) -> Call:
        """Return a new call."""
        return Call(operation, safe=safe)

    async def enter(self, call: Call) -> None:
        """Wait until ``call`` may be sent, and take its place among those in flight.

        Raises :class:`ApiError` where that would take too long or the budget is used up; no place is held then, and
        nothing was sent.
        """
        if self._pace.shut or self._line or not self.limiter.free:
            await self.enter_room(call.operation, 1)
            self.limiter.send_reserved()
        else:
            self.limiter.enter()
        try:
            self.count(call)
        except ApiError:
            self.leave()
            raise

    async def enter_room(self, operation: str, requests: int) -> int:
        """Wait until there is a place with claims on so many requests, and take them; return how many claims.

        First in line, in the order of asking, so that nobody starves; then, at its head, at the gate and for room.
        They are fewer where the service's whole window is smaller. Raises :class:`ApiError` as :meth:`enter` does.
        """
        waiter = _Waiter(requests)
        self._line.append(waiter)
        try:
            while True:
                await self._step(waiter, operation)
                if not waiter.let_in:
                    continue
                if not self._pace.shut:
                    return waiter.requests
                self.limiter.give_back(waiter.requests)  # the gate shut before it came to run
                waiter.let_in = False
                self._line.appendleft(waiter)
        except BaseException:  # cancelled, or it would take too long
            if waiter.let_in:
                self.limiter.give_back(waiter.requests)
            else:
                self._line.remove(waiter)
            self.call_up()
            raise

    def count(self, call: Call) -> None:
        """Write down that ``call`` is being sent. Raises :class:`ApiError` where it must pay for that and can't."""
        call.attempt += 1
        call.window = self.limiter.window
        if call.attempt == 1:
            self._budget.called()
        else:
            self.pay(call)

    def pay(self, call: Call) -> None:
        """Pay for sending ``call`` again after a limit; raise that limit's :class:`ApiError` where nothing is left.

        Paid here and not when the limit came: fifty that were limited together are let go one by one.
        """
        if call.limited_by is None:
            return
        if not self._budget.spend():
            raise call.limited_by
        call.held += 1
        call.limited_by = None

    def leave(self) -> None:
        """Give the place of a request back, and let the next ones go."""
        self.limiter.leave()
        self.call_up()

    def call_up(self) -> None:
        """Let in whoever is first in line, one after the other, as long as there is room."""
        while self._line and not (head := self._line[0]).at_gate:
            if self._pace.shut or self.limiter.too_small(head.requests):
                head.wake()  # it sees to that, and all behind it wait for it
                return
            if not self.limiter.fits(head.requests):
                return
            self._line.popleft()
            self.limiter.take(head.requests)  # on its behalf, so that nobody overtakes it
            head.let_in = True
            head.wake()

    def heard(self, headers: Sequence[tuple[bytes, bytes]], *, limited: bool) -> None:
        """Take in what an answer's headers say is left: never more claims than that, and none when it is nothing.

        An answer that is itself ``limited`` shuts the gate by what it asks for (:meth:`failed`), not by this.
        """
        self._windows.heard(headers, limited=limited)

    def succeeded(self, call: Call) -> None:
        """A request was answered well."""
        self._pace.answered()
        self.limiter.good(call.window)
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
            self.limiter.passed(call.window)
        else:
            self.succeeded(call)  # for the pace, a refusal is as good as a success

    def may_retry(self, call: Call, failure: ApiError) -> bool:
        """Whether the call may be sent again, budget aside; what a limit costs is paid once it is let go."""
        limited = failure.kind is FailureKind.RATE_LIMITED
        asked_ms = failure.retry_after_ms or 0
        too_long = asked_ms > LONGEST_WAIT_MS and not (limited and asked_ms > LONGEST_PLAUSIBLE_MS)
        if not may_repeat(failure.kind, safe=call.safe) or call.attempt >= ATTEMPTS or too_long:
            return False
        if limited:
            call.limited_by = failure
        return True

    async def before_retry(self, call: Call, failure: ApiError) -> None:
        """Return when the call may ask to be sent again; raise ``failure`` when it may not."""
        if not self.may_retry(call, failure):
            raise failure
        await self.back_off(call, failure)

    async def back_off(self, call: Call, failure: ApiError) -> None:
        """Wait before a call that may be sent again; raise ``failure`` where that can't be paid."""
        if call.limited_by is not None:
            return  # the gate makes it wait, and then it pays
        if not self._budget.spend():
            raise failure
        wait_ms = self._pace.wait_ms(call.attempt, asked_ms=failure.retry_after_ms)
        await self._clock.sleep(wait_ms / SECOND_MS)

    def _limited(self, call: Call, failure: ApiError) -> None:
        asked_ms = failure.retry_after_ms
        if asked_ms is None:
            # Said nowhere else, the end of the window is the wait.
            asked_ms = min(self._windows.reset_in_ms(), LONGEST_WAIT_MS) or None
        if asked_ms is not None and asked_ms > LONGEST_PLAUSIBLE_MS:
            self._note(
                f"the service asked to wait more than {shown(LONGEST_PLAUSIBLE_MS)}, "
                f"which no rate limit lasts; {shown(CAPPED_WAIT_MS)} was waited instead"
            )
        news = self.limiter.limited(call.window)
        self._pace.limited(asked_ms=asked_ms, news=news, now_ms=self._clock.now_ms())

    async def _step(self, waiter: _Waiter, operation: str) -> None:
        """Do the next thing that stands between ``waiter`` and its turn."""
        if self._line[0] is not waiter:
            await waiter.called()
        elif self._pace.shut:
            waiter.at_gate = True
            await self._gate(operation)
            waiter.at_gate = False
        elif self.limiter.too_small(waiter.requests):
            size = self._windows.await_next(shut=True)
            waiter.requests = waiter.requests if size is None else min(waiter.requests, size)
        else:
            self.call_up()
            if not waiter.let_in:
                await waiter.called()

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
                said = f"would have us wait {shown(wait_ms)}; run again then"
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

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


class _Waiter:
    """One in line, for a place and claims on ``requests``."""

    __slots__ = ("_call", "at_gate", "let_in", "requests")

    def __init__(self, requests: int) -> None:
        self.requests = requests
        self.at_gate = False
        self.let_in = False
        self._call: asyncio.Future[None] | None = None

    async def called(self) -> None:
        """Wait until :meth:`wake`."""
        self._call = asyncio.get_running_loop().create_future()
        await self._call

    def wake(self) -> None:
        """End the wait, where there is one."""
        if self._call is not None and not self._call.done():
            self._call.set_result(None)


def room_here(pacing: Pacing) -> WriteRoom | None:
    """Return the room that this task is in, where it takes its place from ``pacing``."""
    room = _inside.get()
    return room if room is not None and room.serves(pacing) else None


class WriteRoom:
    """One place among those in flight, and two claims on the service's window. A :class:`~reconciler.core.ports.Room`.

    Entered again after a look that took more reads than one, it takes as many claims as that look would have needed.

    For the looks and attempts of one write. While it is entered, calls of the same task come here instead of to
    :class:`Pacing`, whose methods these are. A 429 of the write is not waited for inside: it is
    raised, and entering again waits and pays for it, and raises it where the write was sent often enough.
    """

    def __init__(self, pacing: Pacing, clock: Clock) -> None:
        self._pacing = pacing
        self._limiter = pacing.limiter
        self._clock = clock
        self._one = asyncio.Lock()  # a room has one place, so it sends one request at a time
        self._placed = False
        self._claims = 0
        self._wanted = _LOOK_AND_WRITE
        self._reads = 0
        self._window = 0
        self._began_ms = 0
        self._looked_ms: int | None = None
        self._sent_ms = 0
        self._limited: Call | None = None
        """The write, where a limit was its last answer."""
        self._last: ApiError | None = None
        self._token: Token[WriteRoom | None] | None = None

    async def __aenter__(self) -> WriteRoom:
        """Wait for a place and both claims. Raises :class:`ApiError` where that takes too long, or was in vain."""
        outer = _inside.get()
        if outer is not None and outer.entered:
            raise AssertionError("a room inside a room could wait for itself")
        if self._last is not None:
            raise self._last
        await self._take(self._limited.operation if self._limited is not None else "look before a write")
        if self._limited is not None:
            try:
                self._pacing.pay(self._limited)
            except ApiError:
                self._give_back()
                raise
        self._token = _inside.set(self)
        self.look_again()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give back whatever is left."""
        if self._token is not None:
            _inside.reset(self._token)
            self._token = None
        self._give_back()

    def look_again(self) -> None:
        """Forget the reads so far: what follows is a new look."""
        self._began_ms = self._clock.ticks_ms()
        self._looked_ms = None
        self._reads = 0

    @property
    def entered(self) -> bool:
        """Whether somebody is in it: a task may outlive the room that it was made in, and still see it."""
        return self._token is not None

    def serves(self, pacing: Pacing) -> bool:
        """Whether it is entered, and takes its place from ``pacing``."""
        return self.entered and self._pacing is pacing

    def call(self, operation: str, *, safe: bool) -> Call:
        """Return a call to be sent in here; a write that was limited before goes on."""
        if safe or self._limited is None:
            return Call(operation, safe=safe)
        return self._limited

    async def enter(self, call: Call) -> None:
        """Return when ``call`` may be sent: a read may wait for that.

        A write raises :class:`WriteNotSent` where it would have to wait, or its look is too old.
        """
        if not call.safe and self._one.locked():
            raise WriteNotSent(None)
        await self._one.acquire()  # a write does not wait here
        try:
            if call.safe:
                if self._claims and not call.attempt:
                    self._reads += 1
                    self._wanted = max(self._wanted, self._reads + 1)
                await self._require_turn(call.operation)
            else:
                self._require_now()
                self._require_young()
            self._pacing.count(call)
            self._claims -= 1
            self._limiter.send_reserved()
        except BaseException:
            self._one.release()
            raise

    def sending(self, call: Call) -> None:
        """``call`` goes out now, as the last thing before its bytes. Raises :class:`WriteNotSent` for a late write."""
        if call.safe:
            self._sent_ms = self._clock.ticks_ms()
            return
        try:
            self._require_young()
        except WriteNotSent:
            call.attempt -= 1
            raise

    def succeeded(self, call: Call) -> None:
        """A request was answered well."""
        self._pacing.succeeded(call)
        self._over(call)

    def failed(self, call: Call, failure: ApiError) -> None:
        """A request failed."""
        self._pacing.failed(call, failure)
        if not call.safe:
            self._over(call)

    def leave(self) -> None:
        """Give the claim of a request back; the place stays."""
        self._limiter.answered()
        self._pacing.call_up()
        self._one.release()

    async def before_retry(self, call: Call, failure: ApiError) -> None:
        """Return when a read may ask to be sent again; raise ``failure`` when it may not. For a write it never may."""
        again = self._pacing.may_retry(call, failure)
        if call.safe and again:
            self._give_back()
            await self._pacing.back_off(call, failure)
            return
        if call.safe:
            self._over(call)
        elif again:
            self._limited = call
        elif failure.kind is FailureKind.RATE_LIMITED:
            self._last = failure
        raise failure

    def _over(self, call: Call) -> None:
        """Remember a look by its oldest read, and forget it once a write was sent on it."""
        if not call.safe:
            self._looked_ms = self._limited = None
        elif self._looked_ms is None or self._sent_ms < self._looked_ms:
            self._looked_ms = self._sent_ms

    async def _require_turn(self, operation: str) -> None:
        if not self._ready(keep=1 if self._claims else 0):
            # It waits as any read does, and meanwhile holds up nobody: not the probe, nor who waits for it.
            self._give_back()
            await self._take(operation)

    def _require_now(self) -> None:
        if not self._ready(keep=0):
            raise WriteNotSent(None)

    def _ready(self, *, keep: int) -> bool:
        """Whether a request may go out at once. Reserves it, where the room has not more than ``keep`` for others."""
        if not self._placed or not self._pacing.open or self._limiter.spent or self._limiter.overtook(self._window):
            return False
        if self._claims <= keep:
            if not self._limiter.reserve_one():
                return False
            self._claims += 1
        return True

    def _require_young(self) -> None:
        # The reads' own clock: where there was no read, the look is as old as the wish for one.
        age_ms = self._clock.ticks_ms() - (self._began_ms if self._looked_ms is None else self._looked_ms)
        if self._looked_ms is None or age_ms > LOOK_LIVES_MS:
            raise WriteNotSent(age_ms)

    async def _take(self, operation: str) -> None:
        self._claims = await self._pacing.enter_room(operation, self._wanted)
        self._window = self._limiter.window
        self._placed = True

    def _give_back(self) -> None:
        if self._placed:
            self._limiter.give_back(self._claims)
            self._placed = False
            self._claims = 0
            self._pacing.call_up()
