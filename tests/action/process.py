"""One script of a step as a process: its lines to a listener as they come, its end, and its end before time.

In: a command, its folder and environment, who listens. Out: the exit code, the raw lines. It knows no action.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from tests.prepared import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.action.commands import Listener

LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How long a cancelled script has, in seconds: after SIGINT, then after SIGTERM; and its output after its end."""

    interrupt: float = 7.5
    terminate: float = 2.5
    output: float = 5.0


class Script:
    """A process that reads nothing and whose two outputs are read line by line.

    It leads a session of its own, so that whatever it leaves running can be ended with it. ``prepared`` says that the
    command begins with an interpreter, and may run in a fork of the prepared one.
    """

    def __init__(
        self, command: Sequence[str], *, where: Path, environment: Mapping[str, str], listener: Listener, prepared: bool
    ) -> None:
        self.raw: list[str] = []
        self._listener = listener
        self._lock = threading.Lock()
        make = Process if prepared else _new
        self._process = make(command, cwd=where, env=environment, errors="replace", start_new_session=True)
        streams = (self._process.stdout, self._process.stderr)
        self._readers = [threading.Thread(target=self._read, args=(stream,), daemon=True) for stream in streams]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._lock:
                    self.raw.append(line.removesuffix("\n"))
                    self._listener.line(line.removesuffix("\n"))

    def ends(self, asked: Callable[[], bool], grace: Grace, deadline: float) -> tuple[int, bool]:
        """Wait for the end and return the exit code (negative: the signal) and whether it had been asked to end.

        Once ``asked`` says so, the process itself, not its children, gets SIGINT, then SIGTERM, then is killed.
        Raises TimeoutError past ``deadline``, on the monotonic clock; everything is killed then.
        """
        cancelled = False
        try:
            while self._process.poll() is None:
                if asked():
                    cancelled = True
                    self._end(grace)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"a script did not end; its last lines: {self.raw[-10:]}")
                time.sleep(LOOK_SECONDS)
            over = time.monotonic() + grace.output
            for reader in self._readers:
                reader.join(max(0.0, over - time.monotonic()))
            if any(reader.is_alive() for reader in self._readers):
                with self._lock:
                    self._listener.violations.append("a process outlived its step and held its output")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for reader in self._readers:
                reader.join()
        return self._process.returncode, cancelled

    def _end(self, grace: Grace) -> None:
        for number, seconds in ((signal.SIGINT, grace.interrupt), (signal.SIGTERM, grace.terminate)):
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                return
        self._process.kill()
        self._process.wait()


def _new(command: Sequence[str], **how: Any) -> subprocess.Popen[str]:
    with _interruptible():
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,  # a lone carriage return ends a line here, as it does for the runner
            encoding="utf-8",
            **how,
        )


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Start a process that SIGINT can reach, also where the tests run in the background and ignore it themselves."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
