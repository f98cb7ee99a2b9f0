"""Put the pieces together for one command: files, service, journal.

In: options and the environment. Out: a loaded configuration, an open service. Commands stay thin because of this.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from reconciler.api.v1 import GliderV1
    from reconciler.config.load import Configuration
    from reconciler.core.desired import PortfolioId
    from reconciler.core.live import Record
    from reconciler.core.paths import Paths
    from reconciler.core.selection import Selection


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The real time, ``ahead_ms`` ahead of it where a sandbox's clock is."""

    ahead_ms: int = 0

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""
        return time_ns() // 1_000_000 + self.ahead_ms

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        import asyncio

        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An open Glider. ``label`` names it in plans and in the journal."""

    api: GliderV1
    label: str
    clock: SystemClock


def make_output(options: Mapping[str, Any]) -> Output:
    """Return the output that the shared options ask for."""
    return Output(
        format=options["output_format"],
        verbose=options["verbose"],
        quiet=options["quiet"],
        color=False if options["no_color"] else None,
    )


def load_files(sources: tuple[str, ...]) -> Configuration:
    """Load and check the configuration. Raises ``ConfigInvalid`` with every problem there is."""
    from reconciler.config.load import load

    return load(sources, stdin=sys.stdin.buffer.read, today=datetime.now(tz=UTC).date(), cwd=Path.cwd())


def make_selection(options: Mapping[str, Any]) -> Selection:
    """Return what ``--target``, ``--exclude`` and ``--select`` ask for."""
    from reconciler.cli.options import parse_selects
    from reconciler.core.selection import Selection

    return Selection(targets=options["targets"], excludes=options["excludes"], groups=parse_selects(options["selects"]))


@asynccontextmanager
async def open_service(options: Mapping[str, Any], paths: Paths) -> AsyncIterator[Service]:
    """Open the service, or the sandbox, that the options name; close it at the end."""
    from random import random

    from reconciler.api.transport import Transport
    from reconciler.api.v1 import GliderV1

    parallelism: int = options["parallelism"]
    if options["sandbox"] is None:
        clock = SystemClock()
        base_url: str = options["base_url"]
        async with Transport(
            base_url=base_url, key=_key(), parallelism=parallelism, clock=clock, jitter=random
        ) as transport:
            yield Service(api=GliderV1(transport, paths=paths), label=base_url.rstrip("/"), clock=clock)
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
            yield Service(api=GliderV1(transport, paths=paths), label=label, clock=clock)
    finally:
        store.close()


def records_of(options: Mapping[str, Any], label: str) -> Mapping[PortfolioId, Record]:
    """Return what the journal knows of a service, without creating one."""
    from reconciler.apply.journal import read_records

    return read_records(Path(options["journal"]), base_url=label)


def run_async(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a command's coroutine to its end."""
    import asyncio

    return asyncio.run(main())


def _key() -> str:
    key = os.environ.get("GLIDER_API_KEY", "").strip()
    if not key:
        from reconciler.core.errors import ApiError, FailureKind

        error = ApiError(FailureKind.UNAUTHENTICATED, "GLIDER_API_KEY is not set")
        error.detail = "Export the key of your Glider account, or try it without one: add --sandbox."
        raise error
    return key


def refuse(summary: str) -> click.UsageError:
    """Return a usage error of the running command."""
    return click.UsageError(summary, ctx=click.get_current_context())
