"""Put the live pieces together for one command: the service or the sandbox, the clock, what the journal knows.

In: options and the environment. Out: an open service. The only module that reads the key.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping

    from reconciler.api.rebalance import Rebalances
    from reconciler.api.router import Glider
    from reconciler.core.desired import ApiVersion, Desired, PortfolioId
    from reconciler.core.paths import Paths
    from reconciler.core.plan import Change
    from reconciler.core.ports import Memory

_TICKS = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""The clock that runs on while the machine sleeps: Linux has one of its own, and macOS's monotonic clock does."""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The real time, ``ahead_ms`` ahead of it where a sandbox's clock is."""

    ahead_ms: int = 0

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def ticks_ms(self) -> int:
        """Return milliseconds from some start that only grow, also while the machine sleeps."""
        return (time.monotonic_ns() if _TICKS is None else time.clock_gettime_ns(_TICKS)) // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An open Glider. ``label`` names it in plans and in the journal."""

    api: Glider
    rebalances: Rebalances
    label: str
    clock: SystemClock


@asynccontextmanager
async def open_service(
    options: Mapping[str, Any], paths: Paths, portfolios: Iterable[Desired | Change] = ()
) -> AsyncIterator[Service]:
    """Open the service, or the sandbox, that the options name; close it at the end.

    ``portfolios`` tell which API each of them is managed by; one that is not among them is taken for v1's.
    """
    from random import random

    from reconciler.api.rebalance import Rebalances
    from reconciler.api.router import Glider
    from reconciler.api.transport import Transport

    versions = versions_of(portfolios)

    parallelism: int = options["parallelism"]
    if options["sandbox"] is None:
        clock = SystemClock()
        base_url: str = options["base_url"]
        async with Transport(
            base_url=base_url,
            key=_key(),
            parallelism=parallelism,
            clock=clock,
            jitter=random,
            proxy=options["proxy"],
        ) as transport:
            api = Glider(transport, paths=paths, versions=versions)
            rebalances = Rebalances(transport, api.v1)
            yield Service(api=api, rebalances=rebalances, label=base_url.rstrip("/"), clock=clock)
        return
    from reconciler.sandbox.app import create_app
    from reconciler.sandbox.store import Store

    store = Store.open(Path(options["sandbox"]))
    try:
        label = f"sandbox://{store.instance}"
        app = create_app(store, now_ms=SystemClock().now_ms)
        clock = SystemClock(ahead_ms=store.clock_offset_ms)
        async with Transport(
            base_url=label, key="sandbox", parallelism=parallelism, clock=clock, jitter=random, asgi_app=app
        ) as transport:
            api = Glider(transport, paths=paths, versions=versions)
            yield Service(api=api, rebalances=Rebalances(transport, api.v1), label=label, clock=clock)
    finally:
        store.close()


def versions_of(portfolios: Iterable[Desired | Change]) -> dict[PortfolioId, ApiVersion]:
    """Return the API that each portfolio is managed by."""
    return {one.id: one.api for one in portfolios}


def memory_of(options: Mapping[str, Any], service: Service, *, plans: Iterable[str] = ()) -> Memory:
    """Return what the journal knows of a service, without creating one.

    To be asked for before anything is read from the service. ``plans`` are fingerprints whose unfinished attempts don't
    count as writes.
    """
    from reconciler.apply.journal import read_memory

    return read_memory(
        Path(options["journal"]), base_url=service.label, now_ms=service.clock.now_ms(), plans=tuple(plans)
    )


def new_token() -> str:
    """Return what tells one write from every other: six hexadecimal digits."""
    from secrets import token_hex

    return token_hex(3)


class Terminated(BaseException):
    """SIGTERM came while nothing was being written: the command ends where it is, and says so."""


def run_async(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a command's coroutine to its end. Raises :class:`Terminated` on SIGTERM, as asyncio does KeyboardInterrupt
    on SIGINT; an apply takes both over while it writes."""
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(main())
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> None:
    raise Terminated


def _key() -> str:
    key = os.environ.get("GLIDER_API_KEY", "").strip()
    if not key:
        error = ApiError(FailureKind.UNAUTHENTICATED, "GLIDER_API_KEY is not set")
        error.detail = "Export the key of your Glider account, or try it without one: add --sandbox."
        raise error
    return key
