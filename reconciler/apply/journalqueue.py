"""The journal off the event loop: a thread of its own uses it, and commits the requests of many in one transaction.

In: an open :class:`~reconciler.apply.journal.OpenJournal`. Out: a :class:`~reconciler.core.ports.Journal` that an
event loop can wait for. This module only decides when something is done, and in which thread; the other one does it.
"""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from contextlib import nullcontext, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from reconciler.core.errors import JournalError
from reconciler.core.intent import GateClosed, WriteOutcome

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from reconciler.apply.journal import OpenJournal
    from reconciler.core.freeze import WriteGate
    from reconciler.core.intent import Call, Intent, OpenIntent
    from reconciler.core.model import Address, PortfolioId, Record
    from reconciler.core.ports import Memory

T = TypeVar("T")


class _Job(Generic[T]):
    """Work for the thread, and what came of it; ``done`` is for whoever waits for it."""

    def __init__(self, work: Callable[[], T], done: Future[T], *, writes: bool) -> None:
        self.work, self.done, self.writes = work, done, writes
        self.result: T | None = None
        self.error: Exception | None = None

    def tell(self) -> None:
        """Let whoever waits go on; in the event loop."""
        if self.done.done():  # whoever waited was cancelled
            return
        if self.error is None:
            self.done.set_result(cast("T", self.result))
        else:
            self.done.set_exception(self.error)
            self.done.exception()  # marks it as seen: nobody has to ask, because whatever is asked later raises it too


class QueuedJournal:
    """A journal for the event loop, which never waits for the disk: a :class:`~reconciler.core.ports.Journal`.

    While it is open, only its thread uses the connection of ``journal``. Everything that was asked for while the thread
    was at work becomes one transaction. Its reads are answered before the commit, its writes when it is on the disk. So
    many intents share one commit, and on a slow disk nobody waits longer than two commits take.
    """

    def __init__(self, journal: OpenJournal) -> None:
        self._journal = journal
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._error: Exception | None = None
        self._loop = get_running_loop()
        self._thread = Thread(target=self._work, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Return when all that was asked for is done."""
        self._jobs.put(None)
        self._thread.join()

    async def memory(self, *of: Address, plans: Collection[str] = ()) -> Memory:
        """Return what is known: see :meth:`OpenJournal.memory`."""
        return await self._ask(partial(self._journal.memory, *of, plans=plans))

    async def knows(self, token: str) -> bool:
        """Whether the journal has a write with this token."""
        return await self._ask(partial(self._journal.knows, token))

    async def maybe_sent(self, address: Address, call: Call, *, plans: Collection[str]) -> bool:
        """Whether a call may have been sent: see :meth:`OpenJournal.maybe_sent`."""
        return await self._ask(partial(self._journal.maybe_sent, address, call, plans=plans))

    async def unsettled(self) -> tuple[OpenIntent, ...]:
        """Return the writes without an outcome: see :meth:`OpenJournal.unsettled`."""
        return await self._ask(self._journal.unsettled)

    async def begin(self, intent: Intent, gate: WriteGate) -> int:
        """Return the number of a write once its intent is on the disk, unless the gate is closed for it."""
        at_ms = self._journal.now_ms()
        while True:
            job = self._put(partial(self._journal.announce, intent, gate, at_ms=at_ms), writes=True)
            try:
                number = (await job.done)()
            except CancelledError:
                self._put(partial(self._close_unsent, job, at_ms), writes=True)
                raise
            if number:
                return number
            await self._ask(self._journal.halting)

    def _close_unsent(self, begun: _Job[Callable[[], int]], at_ms: int) -> None:
        if begun.result is not None and (number := begun.result()):
            detail = "interrupted before it was sent"
            self._journal.end(number, WriteOutcome.NOT_SENT, detail, at_ms=at_ms)

    def end(self, number: int, outcome: WriteOutcome, detail: str) -> Future[None]:
        """Note the outcome of a write; await it to be sure that it is on the disk."""
        at_ms = self._journal.now_ms()
        return self._put(partial(self._journal.end, number, outcome, detail, at_ms=at_ms), writes=True).done

    def confirm(self, records: Mapping[PortfolioId, Record]) -> Future[None]:
        """Note what the service confirmed or showed; await it to be sure that it is on the disk."""
        return self._put(partial(self._journal.confirm, records), writes=True).done

    async def _ask(self, question: Callable[[], T]) -> T:
        return await self._put(question, writes=False).done

    def _put(self, work: Callable[[], T], *, writes: bool) -> _Job[T]:
        job = _Job(work, self._loop.create_future(), writes=writes)
        self._jobs.put(job)
        return job

    def _work(self) -> None:
        """Do what is asked for until the journal is closed; runs in the thread."""
        for jobs in self._batches():
            try:
                self._do(jobs)
            except Exception as error:  # those who wait are told, and the thread goes on
                self._error = error
            for job in jobs:
                job.error = job.error or self._error
            self._tell(jobs)

    def _batches(self) -> Iterator[list[_Job[Any]]]:
        """Yield everything that waits, as soon as anything does."""
        more = True
        while more:
            batch = [self._jobs.get()]
            with suppress(Empty):
                while True:
                    batch.append(self._jobs.get_nowait())
            more = None not in batch
            yield [job for job in batch if job is not None]

    def _do(self, jobs: Sequence[_Job[Any]]) -> None:
        """Do all of it in one transaction. Raises whatever prevented the commit."""
        if self._error is not None:
            return
        # Questions alone are each of one moment by themselves, and need no commit.
        with self._journal.together() if any(job.writes for job in jobs) else nullcontext():
            for job in jobs:
                try:
                    job.result = job.work()
                except GateClosed as closed:
                    job.error = closed
                except JournalError as error:
                    if job.writes:
                        raise
                    job.error = error
            self._tell([job for job in jobs if not job.writes])

    def _tell(self, jobs: Sequence[_Job[Any]]) -> None:
        def tell() -> None:
            for job in jobs:
                job.tell()

        self._loop.call_soon_threadsafe(tell)
