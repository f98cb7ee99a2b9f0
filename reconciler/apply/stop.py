"""How work that writes is ended early, and done by several workers until then.

In: a request to stop, items and what to do with one. Out: time for what is under way, and no more. Knows neither
changes nor rebalances.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from reconciler.core.ports import Clock

Item = TypeVar("Item")

GRACE_SECONDS: Final = 4.0
"""How long what is under way may go on after an interruption; then its outcome is left unknown."""


class Stop:
    """A request to begin nothing more; what is under way is finished. ``why`` is the first reason given."""

    def __init__(self) -> None:
        self.why: str | None = None
        self._urgent = asyncio.Event()

    def request(self, why: str, *, urgent: bool = False) -> None:
        """Ask the apply to stop; ``urgent`` gives what is under way :data:`GRACE_SECONDS` and no more.

        To be called in the event loop.
        """
        if self.why is None:
            self.why = why
        if urgent:
            self._urgent.set()

    async def urgent(self) -> None:
        """Wait until the apply is asked to stop urgently."""
        await self._urgent.wait()


async def work_through(
    items: Sequence[Item], work: Callable[[Item], Awaitable[None]], *, parallelism: int, stop: Stop, clock: Clock
) -> None:
    """Do ``work`` once with each item, in their order, ``parallelism`` at a time; return when each is done.

    After an urgent stop, what is under way is cancelled once its grace is over: ``work`` has to say then what became
    of its item. An error that it raises ends the rest.
    """
    if not items:
        return
    queue = iter(items)
    workers = [asyncio.ensure_future(_take(queue, work)) for _ in range(min(parallelism, len(items)))]
    watch = asyncio.ensure_future(_cut_short(workers, stop, clock))
    try:
        await asyncio.gather(*workers)
    finally:
        for task in (*workers, watch):
            task.cancel()
        await asyncio.gather(*workers, watch, return_exceptions=True)


async def _take(queue: Iterator[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    for item in queue:
        await work(item)


async def _cut_short(workers: Sequence[asyncio.Future[None]], stop: Stop, clock: Clock) -> None:
    await stop.urgent()
    await clock.sleep(GRACE_SECONDS)
    for worker in workers:
        worker.cancel()
