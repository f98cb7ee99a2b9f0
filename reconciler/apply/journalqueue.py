"""The journal off the event loop: a thread of its own uses it, and commits the requests of many in one transaction.

In: an open :class:`~reconciler.apply.journal.OpenJournal`. Out: a :class:`~reconciler.core.ports.Journal` that an
event loop can wait for. This module only decides when something is done, and in which thread; the other one does it.
"""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, assert_never, cast

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

HANG_UP_SECONDS: Final = 1.0
"""How long a server may still take to keep what it was told, once a signal has ended a command in its midst."""
PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 0.33
"""How long an intent waits for others, in lengths of a commit: after the last one that came, and after the first."""
RIDE: Final = 8.0
LONGEST_RIDE_S: Final = 0.5
"""How long a note waits for an intent: in lengths of a commit, and in seconds at most."""
SHORT_S: Final = 0.004
"""Nothing waits for a commit that takes no longer than this."""


class JobKind(Enum):
    """What is asked of the journal: a question, a note that nobody has to wait for, or an intent before its write."""

    QUESTION = auto()
    NOTE = auto()
    INTENT = auto()


class Gathering:
    """Decides when a commit begins, so that as many as possible share it; ``commit_s`` is what the last one took.

    Each intent holds up a write, and a commit that has just begun makes it wait for two. So notes wait for the next
    intent, and intents that come close together for each other. Nothing waits unless an intent is ``expected``.
    """

    def __init__(self, commit_s: float, *, longest_ride_s: float = LONGEST_RIDE_S) -> None:
        self._commit_s, self._longest_ride_s = commit_s, longest_ride_s
        self._latest = self._paused = inf

    def add(self, kind: JobKind | None, now_s: float, *, expected: bool) -> None:
        """Take note of what came at this time; ``None`` is the end of the journal."""
        patience = 0.0
        if expected and self._commit_s > SHORT_S:
            match kind:
                case JobKind.INTENT:
                    patience = LONGEST_PAUSE * self._commit_s
                    self._paused = now_s + PAUSE * self._commit_s
                case JobKind.NOTE:
                    patience = min(RIDE * self._commit_s, self._longest_ride_s)
                case JobKind.QUESTION | None:
                    pass
                case _:
                    assert_never(kind)
        self._latest = min(self._latest, now_s + patience)

    @property
    def until_s(self) -> float:
        """When the commit begins, unless more comes by then."""
        return min(self._latest, self._paused)


class _Job(Generic[T]):
    """Work for the thread, and what came of it; ``done`` is for whoever waits for it."""

    def __init__(self, work: Callable[[], T], done: Future[T], kind: JobKind) -> None:
        self.work, self.done, self.kind = work, done, kind
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
    was at work, or while it was ``gathering``, becomes one transaction. Its reads are answered before the commit, its
    writes when it is on the disk.
    """

    def __init__(self, journal: OpenJournal, *, gathering: Callable[[float], Gathering] = Gathering) -> None:
        self._journal = journal
        self._gathering = gathering
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._error: Exception | None = None
        self._expected = 0
        self._commit_s = 0.0
        self._loop = get_running_loop()
        self._thread = Thread(target=self._work, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Return when all that was asked for is done; if a signal ends the command, soon, whatever a server does."""
        self._jobs.put(None)
        if kind is not None and not issubclass(kind, Exception):
            self._thread.join(HANG_UP_SECONDS)
            self._journal.hang_up()
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

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Make what is noted wait for an intent that may follow: see :class:`~reconciler.core.ports.Journal`."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            if not self._expected:
                self._loop.call_soon(self._hurry)  # not now, because the intent is asked for in this turn of the loop

    def _hurry(self) -> None:
        if not self._expected:
            self._put(int, JobKind.QUESTION)

    async def begin(self, intent: Intent, gate: WriteGate) -> int:
        """Return the number of a write once its intent is on the disk, unless the gate is closed for it."""
        at_ms = self._journal.now_ms()
        while True:
            job = self._put(partial(self._journal.announce, intent, gate, at_ms=at_ms), JobKind.INTENT)
            try:
                number = (await job.done)()
            except CancelledError:
                self._put(partial(self._close_unsent, job, at_ms), JobKind.NOTE)
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
        return self._put(partial(self._journal.end, number, outcome, detail, at_ms=at_ms), JobKind.NOTE).done

    def confirm(self, records: Mapping[PortfolioId, Record]) -> Future[None]:
        """Note what the service confirmed or showed; await it to be sure that it is on the disk."""
        return self._put(partial(self._journal.confirm, records), JobKind.NOTE).done

    async def _ask(self, question: Callable[[], T]) -> T:
        return await self._put(question, JobKind.QUESTION).done

    def _put(self, work: Callable[[], T], kind: JobKind) -> _Job[T]:
        job = _Job(work, self._loop.create_future(), kind)
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
        """Yield everything that waits, once it has been gathered."""
        more = True
        while more:
            batch = self._gathered()
            more = None not in batch
            yield [job for job in batch if job is not None]

    def _gathered(self) -> list[_Job[Any] | None]:
        batch = [self._jobs.get()]
        gathering = self._gathering(self._commit_s)
        while True:
            now_s = monotonic()
            job = batch[-1]
            gathering.add(None if job is None else job.kind, now_s, expected=self._expected > 0)
            wait_s = gathering.until_s - now_s
            try:
                batch.append(self._jobs.get(timeout=wait_s) if wait_s > 0 else self._jobs.get_nowait())
            except Empty:
                return batch

    def _do(self, jobs: Sequence[_Job[Any]]) -> None:
        """Do all of it in one transaction. Raises whatever prevented the commit."""
        if self._error is not None:
            return
        if all(job.kind is JobKind.QUESTION for job in jobs):
            self._answer(jobs)  # each is of one moment by itself, and needs no commit
            return
        began_s = monotonic()
        with self._journal.together():
            self._answer(jobs)
        self._commit_s = monotonic() - began_s

    def _answer(self, jobs: Sequence[_Job[Any]]) -> None:
        """Do all of it, and answer the questions."""
        for job in jobs:
            try:
                job.result = job.work()
            except GateClosed as closed:
                job.error = closed
            except JournalError as error:
                if job.kind is not JobKind.QUESTION:
                    raise
                job.error = error
        self._tell([job for job in jobs if job.kind is JobKind.QUESTION])

    def _tell(self, jobs: Sequence[_Job[Any]]) -> None:
        def tell() -> None:
            for job in jobs:
                job.tell()

        self._loop.call_soon_threadsafe(tell)
