"""Reads of a fleet through the program's own layers, in one process and without files or a plan.

In: ``python -m benchmarks.reads list`` or ``requests COUNT``, and a server in the environment. Out, on stdout: the
seconds that the list took; or a JSON object with the microseconds of processor time of a read, ``ours``, and of the
same request by httpcore2 alone, ``bare``. What is measured takes turns, in small parts, and the median counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Final

import httpcore2

from benchmarks.fleet import SEED, members
from reconciler.api.client import Glider
from reconciler.api.fleet import read_all
from reconciler.api.transport import Transport
from reconciler.cli.service import SystemClock
from reconciler.core.model import Paths, PortfolioId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

AT_ONCE: Final = 50
PARTS: Final = 10
NO_PARTS: Final[tuple[bytes, ...]] = ()


def transport() -> Transport:
    """Return a transport to the server that the environment names."""
    return Transport(
        base_url=os.environ["GLIDER_BASE_URL"],
        key=os.environ["GLIDER_API_KEY"],
        parallelism=AT_ONCE,
        clock=SystemClock(),
        jitter=random.random,
    )


async def listed() -> float:
    """Return the seconds of one whole list."""
    async with transport() as opened:
        api = Glider(opened, paths=Paths.AUTO, versions={})
        began = time.perf_counter()
        found = await api.list_portfolios()
        took = time.perf_counter() - began
    if not found.complete:
        raise SystemExit(f"the list is not complete: {found.failure}")
    return took


async def compared(count: int) -> dict[str, float]:
    """Return the processor time of one read, by our layers and by httpcore2 alone."""
    ids = [PortfolioId(member.id) for member in members(count, SEED)]
    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    async with transport() as opened:
        api = Glider(opened, paths=Paths.AUTO, versions={})

        async def ours(part: list[PortfolioId]) -> None:
            await read_all(api, part, parallelism=AT_ONCE)

        client = Bare(os.environ["GLIDER_BASE_URL"])
        for number in range(PARTS + 1):  # the first one opens connections, and is not counted
            part = ids[:AT_ONCE] if number == 0 else ids[number - 1 :: PARTS]
            for name, read in (("ours", ours), ("bare", client.read)):
                taken[name].append(await _cost(read, part))
    return {name: statistics.median(costs[1:]) for name, costs in taken.items()}


async def _cost(read: Callable[[list[PortfolioId]], Awaitable[None]], part: list[PortfolioId]) -> float:
    began = time.process_time()
    await read(part)
    return (time.process_time() - began) / len(part) * 1e6


class _Nothing:
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in NO_PARTS:
            yield part


class Bare:
    """The same requests by httpcore2: as many connections, each used by one worker, and answers decoded as JSON."""

    def __init__(self, url: str) -> None:
        self.url = httpcore2.URL(url)
        pool = httpcore2.AsyncConnectionPool()
        self.connections = [pool.create_connection(self.url.origin) for _ in range(AT_ONCE)]

    async def read(self, part: list[PortfolioId]) -> None:
        """Read each of them."""
        left = iter(part)
        await asyncio.gather(*(self._work(connection, left) for connection in self.connections))

    async def _work(self, connection: httpcore2.AsyncConnectionInterface, left: Iterator[PortfolioId]) -> None:
        at = self.url
        headers = [(b"Host", at.host), (b"Accept", b"application/json")]
        timeout = {"timeout": {"connect": 10.0, "read": 30.0, "write": 30.0}}
        for portfolio in left:
            target = f"/v1/portfolio/{portfolio}/automation/status".encode()
            url = httpcore2.URL(scheme=at.scheme, host=at.host, port=at.port, target=target)
            request = httpcore2.Request("GET", url, headers=headers, content=_Nothing(), extensions=timeout)
            response = await connection.handle_async_request(request)
            json.loads(await response.aread())
            await response.aclose()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["list"]:
            sys.stdout.write(f"{asyncio.run(listed())}\n")
        case ["requests", number]:
            sys.stdout.write(json.dumps(asyncio.run(compared(int(number)))) + "\n")
        case _:
            raise SystemExit(__doc__)
