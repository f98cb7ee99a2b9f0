"""The real command as a process, and a Glider on a real socket that misbehaves on request and remembers every call."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.sandbox import ConnectionLost, Faults, Store, bind, create_app, make_server, parse_faults, parse_seed
from tests.cli.conftest import CANARY
from tests.prepared import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.sandbox import SandboxApp

COMMAND = [sys.executable, "-m", "reconciler"]
NEVER_MS = 600_000
"""Longer than any test."""
PATIENCE_SECONDS = 60.0
"""How long something may take that takes a moment on a machine with nothing else to do."""


def environment(**more: str) -> dict[str, str]:
    """Return this environment with the canary for a key and without what the caller's shell says of Glider."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GLIDER_")}
    return {**kept, "GLIDER_API_KEY": CANARY, **more}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def until(holds: Callable[[], bool], process: Process | None = None, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Look until something holds; fails at a deadline, or when the process that was to bring it about has ended."""
    deadline = time.monotonic() + seconds
    while not holds():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended too early with {process.returncode}: {process.communicate()}")
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.005)


@dataclass
class Glider:
    """A sandbox served by a thread of this process, so that a test needs no second interpreter to start."""

    url: str
    app: SandboxApp
    faults: Faults
    folder: Path
    release: Callable[[], None]
    """Let every answer go that a fault holds back now."""
    _started: list[Process] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        """The journal of the commands that are run against this service."""
        return self.folder / ".reconciler/journal.db"

    def misbehave(self, *rules: dict[str, Any]) -> None:
        """Put rules in force, as they are sent to a served sandbox."""
        self.faults.add(*parse_faults(list(rules)))

    def calls(self, portfolio: str = "", method: str = "POST") -> list[str]:
        """Return the calls so far as ``id last-part-of-path``, oldest first."""
        return [
            f"{request.portfolio} {request.path.rsplit('/', 1)[-1]}"
            for request in self.app.requests.kept()
            if request.method == method and portfolio in ("", request.portfolio)
        ]

    def start(self, *arguments: str, **more: Any) -> Process:
        """Start a command against this service; it is killed at the end of the test at the latest."""
        where = environment(GLIDER_BASE_URL=self.url)
        process = Process([*COMMAND, *arguments], cwd=self.folder, env=where, **more)
        self._started.append(process)
        return process

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert "Traceback" not in err, err
        assert CANARY not in out + err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def converges(self) -> None:
        """One clean apply succeeds, and then there is nothing left to do."""
        self.faults.clear()
        applied = self.run("apply", "--auto-approve")
        assert applied.returncode == 0, applied
        planned = self.run("plan", "--detailed-exitcode")
        assert planned.returncode == 0, planned

    def end_all(self) -> None:
        """Kill what is still running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


async def _served(server: Any, serving: asyncio.Task[None]) -> None:
    """Wait until ``serving`` is cancelled, and cut every connection.

    A server that ends by itself looks ten times a second whether it may: a quarter of a second in each of many tests.
    """
    with suppress(asyncio.CancelledError):
        await serving
    for one in server.servers:
        one.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)


@contextmanager
def glider(folder: Path, seed: dict[str, Any]) -> Iterator[Glider]:
    """Serve a seed on a free port of the loopback address."""
    faults, ready = Faults(), threading.Event()
    made: dict[str, Any] = {}

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        waits: set[asyncio.Future[bool]] = set()
        over = False

        async def sleep(seconds: float) -> None:
            """Wait for a fault's time or its release, or for the end of the test, when nobody waits for an answer."""
            if over:
                raise ConnectionLost
            waits.add(waiting := loop.create_future())
            try:
                goes_on = await asyncio.wait_for(waiting, seconds)
            except TimeoutError:
                return
            finally:
                waits.remove(waiting)
            if not goes_on:
                raise ConnectionLost

        def end_waits(*, going_on: bool) -> None:
            for waiting in waits:
                if not waiting.done():
                    waiting.set_result(going_on)

        with (
            closing(Store.load(None, parse_seed({"version": 1, **seed}), now_ms=now_ms())) as store,
            bind("127.0.0.1", 0) as listening,
        ):
            app = create_app(store, now_ms=now_ms, faults=faults, sleep=sleep)
            server = make_server(app)

            serving = asyncio.create_task(server.serve(sockets=[listening]))

            def stop() -> None:
                nonlocal over
                over = True
                end_waits(going_on=False)
                serving.cancel()

            made.update(app=app, stop=lambda: loop.call_soon_threadsafe(stop))
            made["release"] = lambda: loop.call_soon_threadsafe(partial(end_waits, going_on=True))
            made["url"] = f"http://127.0.0.1:{listening.getsockname()[1]}"
            ready.set()
            await _served(server, serving)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_SECONDS)
    served = Glider(url=made["url"], app=made["app"], faults=faults, folder=folder, release=made["release"])
    try:
        yield served
    finally:
        served.end_all()
        made["stop"]()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def kill(process: Process) -> None:
    """End a process as a power cut would."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
