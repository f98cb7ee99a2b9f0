"""Room for a look and the write that relies on it, and how old the look may be when the write goes out.

In a :class:`WriteRoom` no write goes out on a look older than two seconds. If a write has to wait for any reason, its
caller has to look again (:class:`~reconciler.core.ports.WriteNotSent`), because the portfolio may have changed
meanwhile. Room is taken from the :class:`~reconciler.api.limiter.RequestLimiter`. Knows no HTTP library and no
portfolio.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from reconciler.api.limiter import PacedCall
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.ports import WriteNotSent

if TYPE_CHECKING:
    from contextvars import Token

    from reconciler.api.limiter import RequestLimiter
    from reconciler.core.ports import Clock

LOOK_LIVES_MS: Final = 2_000
"""How old a look may be when the write that relies on it goes out, counted from when the look was sent."""

_LOOK_AND_WRITE: Final = 2
# A context variable and not a parameter, so that the calls of the ports keep their signatures and the code between a
# caller and the transport need not know of rooms. A task sees the room that it, or the task that made it, is in.
_inside: Final[ContextVar[WriteRoom | None]] = ContextVar("room", default=None)


def room_here(limiter: RequestLimiter) -> WriteRoom | None:
    """Return the room that this task is in, where it takes its place from ``limiter``."""
    room = _inside.get()
    return room if room is not None and room.serves(limiter) else None


class WriteRoom:
    """One place among those in flight, and two claims on the service's window. A :class:`~reconciler.core.ports.Room`.

    It is for the looks and attempts of one write. While it is entered, calls of the same task come here and not to the
    limiter, so it has the same methods. If a look took more than one read, entering again takes as many claims as such
    a look and its write need. A 429 of the write is raised at once; entering again then waits and pays for it, or
    raises it once more if the write was sent often enough.
    """

    def __init__(self, limiter: RequestLimiter, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._one = asyncio.Lock()  # a room has one place, so it sends one request at a time
        self._placed = False
        self._claims = 0
        self._wanted = _LOOK_AND_WRITE
        self._reads = 0
        self._limits = 0
        self._began_ms = 0
        self._looked_ms: int | None = None
        self._sent_ms = 0
        self._limited: PacedCall | None = None
        """The write, where a limit was its last answer."""
        self._last: ApiError | None = None
        self._token: Token[WriteRoom | None] | None = None

    async def __aenter__(self) -> WriteRoom:
        """Wait for a place and the claims. Raises :class:`ApiError` if that takes too long, or no try is left."""
        outer = _inside.get()
        if outer is not None and outer.entered:
            raise AssertionError("a room inside a room could wait for itself")
        if self._last is not None:
            raise self._last
        if self._limited is None:
            await self._take("look before a write")
        else:
            await self._limiter.sit_out(self._limited)
            await self._take(self._limited.operation, first=True)
            try:
                self._limiter.pay(self._limited)
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

    def serves(self, limiter: RequestLimiter) -> bool:
        """Whether it is entered, and takes its place from ``limiter``."""
        return self.entered and self._limiter is limiter

    def call(self, operation: str, *, safe: bool) -> PacedCall:
        """Return a call to be sent in here; a write that was limited before keeps its count of attempts."""
        if safe or self._limited is None:
            return PacedCall(operation, safe)
        return self._limited

    async def enter(self, call: PacedCall) -> None:
        """Return when ``call`` may be sent; a read waits for that.

        A write never waits: raises :class:`WriteNotSent` if it would have to, or if its look is too old.
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
            self._limiter.count(call)
            self._claims -= 1
        except BaseException:
            self._one.release()
            raise

    def sending(self, call: PacedCall) -> None:
        """Note the time of a read; check a write. The last thing before the bytes of ``call`` go out.

        Raises :class:`WriteNotSent` for a write whose look is too old by now.
        """
        if call.safe:
            self._sent_ms = self._clock.ticks_ms()
            return
        try:
            self._require_young()
        except WriteNotSent:
            call.attempt -= 1
            raise

    def succeeded(self, call: PacedCall) -> None:
        """Take note that a request was answered well."""
        self._limiter.succeeded(call)
        self._over(call)

    def failed(self, call: PacedCall, failure: ApiError) -> None:
        """Take note that a request failed."""
        self._limiter.failed(call, failure)
        if not call.safe:
            self._over(call)

    def leave(self) -> None:
        """Give the claim of a request back; the place stays."""
        self._limiter.answered()
        self._one.release()

    async def before_retry(self, call: PacedCall, failure: ApiError) -> None:
        """Return when a read may be sent again; raise ``failure`` if it may not. A write is never repeated in here."""
        again = self._limiter.may_retry(call, failure)
        if call.safe and again:
            self._give_back()
            await self._limiter.back_off(call, failure)
            return
        if call.safe:
            self._over(call)
        elif again:
            self._limited = call
        elif failure.kind is FailureKind.RATE_LIMITED:
            self._last = failure
        raise failure

    def _over(self, call: PacedCall) -> None:
        """Remember when the oldest read of the look was sent; forget it once a write was sent on that look."""
        if not call.safe:
            self._looked_ms = self._limited = None
        elif self._looked_ms is None or self._sent_ms < self._looked_ms:
            self._looked_ms = self._sent_ms

    async def _require_turn(self, operation: str) -> None:
        if not self._ready(keep=1 if self._claims else 0):
            # The read has to wait. It gives its place back for that, or it would hold up the one request that goes
            # alone to find out whether the limit is over, and everybody who waits for that.
            self._give_back()
            await self._take(operation)

    def _require_now(self) -> None:
        if not self._ready(keep=0):
            raise WriteNotSent(None)

    def _ready(self, *, keep: int) -> bool:
        """Whether a request may go out at once. Reserves another claim if it would leave fewer than ``keep``."""
        limiter = self._limiter
        overtaken = limiter.gate.doubted and limiter.gate.limits != self._limits
        if not self._placed or not limiter.open or limiter.spent or overtaken:
            return False
        if self._claims <= keep:
            if not limiter.reserve_one():
                return False
            self._claims += 1
        return True

    def _require_young(self) -> None:
        # A look is as old as its oldest read. Without a read the write never goes, and the age that is told counts from
        # where the look began.
        age_ms = self._clock.ticks_ms() - (self._began_ms if self._looked_ms is None else self._looked_ms)
        if self._looked_ms is None or age_ms > LOOK_LIVES_MS:
            raise WriteNotSent(age_ms)

    async def _take(self, operation: str, *, first: bool = False) -> None:
        self._claims = await self._limiter.enter_room(operation, self._wanted, first=first)
        self._limits = self._limiter.gate.limits
        self._placed = True

    def _give_back(self) -> None:
        if self._placed:
            self._limiter.give_back(self._claims)
            self._placed = False
            self._claims = 0
