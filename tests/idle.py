"""An event loop whose time passes only when there is nothing to do but to wait, and then at once.

What a thread does for the loop takes no time: the loop waits for it. So a test that waits depends neither on how fast
the machine is nor on what else it does.
"""

from __future__ import annotations

import asyncio
import selectors
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support import NOON_MS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from reconciler.core.freeze import WriteGate
    from reconciler.core.intent import Call, Intent, OpenIntent, WriteOutcome
    from reconciler.core.model import Address, PortfolioId, Record
    from reconciler.core.ports import Journal, Memory


class IdleClock:
    """A clock whose time passes in :meth:`run`, whenever all that runs there waits for some time to pass.

    ``on_work`` is called each time a thread has just been given something to do.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.on_work: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        return NOON_MS + self.ticks_ms()

    def ticks_ms(self) -> int:
        return round(self.seconds * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return what a coroutine returns, in an event loop in which this clock's time passes."""
        with asyncio.Runner(loop_factory=lambda: IdleLoop(self)) as runner:
            return runner.run(coroutine)


class IdleLoop(asyncio.SelectorEventLoop):
    """The loop. It knows itself what an executor does for it; whoever uses a thread of another kind says so."""

    def __init__(self, clock: IdleClock) -> None:
        self._clock, self._working = clock, 0
        super().__init__(_Idle(self))

    def time(self) -> float:
        return self._clock.seconds

    def pass_time(self, seconds: float | None) -> bool:
        """Let time pass, unless a thread is at work; return whether it has. ``None`` stands for all the time there is.

        Raises ``RuntimeError`` where nothing would ever happen again.
        """
        if self._working:
            return False
        if seconds is None:
            raise RuntimeError("everybody waits for somebody else")
        self._clock.seconds += seconds
        return True

    @contextmanager
    def working(self) -> Iterator[None]:
        """Say that a thread is at work until the end of the block."""
        self._begun()
        try:
            yield
        finally:
            self._ended()

    def works_until(self, done: asyncio.Future[None]) -> asyncio.Future[None]:
        """Say that a thread is at work until this is done; return it."""
        self._begun()
        done.add_done_callback(lambda _: self._ended())
        return done

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        """Let a thread work; also if nobody waits for it any more, no time passes meanwhile."""
        assert executor is not None
        given = executor.submit(func, *args)
        self._begun()
        waiting = asyncio.wrap_future(given, loop=self)
        given.add_done_callback(lambda _: self.call_soon_threadsafe(self._ended))
        return waiting

    def _begun(self) -> None:
        self._working += 1
        self.call_soon(self._clock.on_work)

    def _ended(self) -> None:
        self._working -= 1


class _Idle(selectors.DefaultSelector):
    """Asks whether anything has happened, and lets time pass where nothing has."""

    def __init__(self, loop: IdleLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0 or self._loop.pass_time(timeout):
            return found
        return super().select(None)


class WatchedJournal:
    """A journal whose own thread takes no time of the loop: a :class:`~reconciler.core.ports.Journal`."""

    def __init__(self, journal: Journal) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IdleLoop), "use IdleClock.run"
        self._journal, self._loop = journal, loop

    def expecting(self) -> AbstractContextManager[None]:
        return self._journal.expecting()

    async def memory(self, *of: Address, plans: Collection[str] = ()) -> Memory:
        with self._loop.working():
            return await self._journal.memory(*of, plans=plans)

    async def knows(self, token: str) -> bool:
        with self._loop.working():
            return await self._journal.knows(token)

    async def maybe_sent(self, address: Address, call: Call, *, plans: Collection[str]) -> bool:
        with self._loop.working():
            return await self._journal.maybe_sent(address, call, plans=plans)

    async def unsettled(self) -> tuple[OpenIntent, ...]:
        with self._loop.working():
            return await self._journal.unsettled()

    async def begin(self, intent: Intent, gate: WriteGate) -> int:
        with self._loop.working():
            return await self._journal.begin(intent, gate)

    def end(self, number: int, outcome: WriteOutcome, detail: str) -> Awaitable[None]:
        return self._until_done(self._journal.end(number, outcome, detail))

    def confirm(self, records: Mapping[PortfolioId, Record]) -> Awaitable[None]:
        return self._until_done(self._journal.confirm(records))

    def _until_done(self, noted: Awaitable[None]) -> Awaitable[None]:
        assert isinstance(noted, asyncio.Future)
        return self._loop.works_until(noted)
