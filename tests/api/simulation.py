"""A clock that jumps, services that limit requests by it, and runs against them: seconds of a run take none here."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from selectors import SelectSelector
from typing import TYPE_CHECKING, Any, Protocol

from stub_service import NOW_MS

from reconciler.api.limiter import RequestLimiter
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable


class Jumping(SelectSelector):
    """Makes the time of an event loop jump to the next moment that anything waits for."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        self.now += max(0.0, timeout)
        return []  # nothing comes from outside


def simulated_loop() -> asyncio.AbstractEventLoop:
    selector = Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    return loop


class LoopClock:
    """The clock of a simulated event loop."""

    def now_ms(self) -> int:
        return NOW_MS + round(asyncio.get_running_loop().time() * 1_000)

    def ticks_ms(self) -> int:
        return self.now_ms()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Limited(Protocol):
    """A service that refuses what is too much; times are seconds."""

    def serves(self, now: float) -> bool:
        """Whether a request that arrives now is served."""


@dataclass
class Bucket:
    """Serves ``rate`` requests a second, and ``burst`` at once after a rest; from ``later_at`` on it is ``later``."""

    rate: float
    burst: float
    later_at: float = float("inf")
    later: float = 0.0
    left: float = -1.0
    filled: float = 0.0

    def serves(self, now: float) -> bool:
        if self.left < 0:
            self.left = self.burst
        rate = self.rate if now < self.later_at else self.later
        self.left = min(self.burst, self.left + (now - self.filled) * rate)
        self.filled = now
        good = self.left >= 1
        self.left -= good
        return good


@dataclass
class FixedWindow:
    """Serves ``size`` requests in each ``seconds``."""

    size: int
    seconds: float
    window: int = -1
    used: int = 0

    def serves(self, now: float) -> bool:
        if (window := int(now // self.seconds)) != self.window:
            self.window, self.used = window, 0
        self.used += 1
        return self.used <= self.size

    def wait(self, now: float) -> float:
        return (self.window + 1) * self.seconds - now


class SlidingWindow:
    """Serves a request where less than ``size`` were served in the last ``seconds``."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size = size
        self.seconds = seconds
        self.served: deque[float] = deque()

    def serves(self, now: float) -> bool:
        while self.served and self.served[0] <= now - self.seconds:
            self.served.popleft()
        if len(self.served) >= self.size:
            return False
        self.served.append(now)
        return True

    def wait(self, now: float) -> float:
        return self.served[0] + self.seconds - now


@dataclass
class Strays:
    """Refuses the requests of these numbers, and nothing else."""

    numbers: frozenset[int]
    seen: int = 0

    def serves(self, now: float) -> bool:
        self.seen += 1
        return self.seen not in self.numbers


@dataclass
class Diary:
    """Refuses nothing, and keeps when each request came."""

    times: list[float] = field(default_factory=list)

    def serves(self, now: float) -> bool:
        self.times.append(now)
        return True


@dataclass
class Course:
    """How a simulated run went."""

    seconds: float = 0.0
    served: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def share(self) -> float:
        """The refused among all requests."""
        return self.refused / (self.served + self.refused)


async def _read(
    service: Limited, clock: LoopClock, limiter: RequestLimiter, calls: int, workers: int, latency: Callable[[], float]
) -> Course:
    course = Course()
    left = iter(range(calls))
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def exchange() -> ApiError | None:
        out = latency() / 2
        await asyncio.sleep(out)
        now = loop.time()
        good = service.serves(now)
        named = getattr(service, "wait", None)
        wait = 1_000 if named is None else -(-int(named(now) * 1_000) // 1_000) * 1_000
        await asyncio.sleep(out)
        if good:
            course.served += 1
            return None
        course.refused += 1
        return ApiError(FailureKind.RATE_LIMITED, "no", status=429, retry_after_ms=wait)

    async def call(name: str) -> None:
        call = limiter.call(name, safe=True)
        while True:
            await limiter.enter(call)
            failure = await exchange()
            if failure is None:
                limiter.succeeded(call)
            else:
                limiter.failed(call, failure)
            limiter.leave()
            if failure is None:
                return
            await limiter.before_retry(call, failure)

    async def work() -> None:
        for number in left:
            try:
                await call(str(number))
            except ApiError:
                course.failed += 1

    await asyncio.gather(*(work() for _ in range(workers)))
    course.seconds = loop.time() - began
    return course


def reads_beside(
    service: Limited,
    calls: int,
    workers: int,
    *,
    runs: int,
    latency: Callable[[], float] = lambda: 0.05,
    max_rate_per_s: float | None = None,
) -> list[Course]:
    """Let each of ``runs`` send ``calls`` reads by ``workers`` to one service, which limits them and says so by 429."""
    clock = LoopClock()
    jitter = random.Random(1).random

    async def main() -> list[Course]:
        limiters = [
            RequestLimiter(parallelism=workers, clock=clock, jitter=jitter, max_rate_per_s=max_rate_per_s)
            for _ in range(runs)
        ]
        return await asyncio.gather(*(_read(service, clock, limiter, calls, workers, latency) for limiter in limiters))

    with asyncio.Runner(loop_factory=simulated_loop) as runner:
        return runner.run(main())


def reads(service: Limited, calls: int, workers: int, **options: Any) -> Course:
    """Send reads in one run; see :func:`reads_beside`."""
    [course] = reads_beside(service, calls, workers, runs=1, **options)
    return course
