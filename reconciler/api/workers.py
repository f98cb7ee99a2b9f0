"""Work through many items with a bounded number under way at once.

In: items and what to do with one. Out: nothing; whoever gives the work gathers what comes of it. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

Item = TypeVar("Item")


async def work_through(items: Sequence[Item], work: Callable[[Item], Awaitable[None]], *, parallelism: int) -> None:
    """Do ``work`` once with each item, in their order; ``parallelism`` (at least 1) at a time.

    The first error ends the rest, and is raised once nothing is under way any more.
    """
    waiting = iter(items)
    # A worker for each request in flight, not a task for each portfolio: 10,000 tasks cost more than their requests.
    workers = [asyncio.create_task(_take(waiting, work)) for _ in range(min(max(parallelism, 1), len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _take(waiting: Iterator[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    for item in waiting:
        await work(item)
