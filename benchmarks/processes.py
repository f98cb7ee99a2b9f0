"""Run other processes and time them: the program, its baselines, and the loopback server.

In: command lines. Out: seconds and output. A process that fails stops the benchmark with its own words: a measure of
something that went wrong is worth nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]


def program() -> list[str]:
    """Return the command as people call it: the installed script beside this interpreter."""
    script = Path(sys.executable).with_name("reconciler")
    if not script.exists():
        raise SystemExit(f"{script} is not there; run: make setup")
    return [str(script)]


def output_of(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Return what a command prints; stop the benchmark when it fails."""
    # Without compiled modules every start would compile ours again, which no user's does.
    dropped = ("GLIDER_", "PYTHONDONTWRITEBYTECODE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    run = subprocess.run(command, cwd=cwd, env={**clean, **(env or {})}, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nended in {run.returncode}:\n{run.stdout[-2_000:]}{run.stderr[-2_000:]}")
    return run.stdout


def in_turns(
    commands: Mapping[str, Sequence[str]], *, repeats: int, cwd: Path, env: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the median seconds of each command; they take turns, so that a busy moment hits all of them."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            began = time.perf_counter()
            output_of(command, cwd=cwd, env=env)
            took[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in took.items()}


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep every core busy with a process that spins."""
    spin = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


_SLOW_DISK: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
int fsync(int fd) { usleep(SLOW_US); return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { usleep(SLOW_US); return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""


_FROM_ADDRESS: Final = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <sys/socket.h>
int connect(int fd, const struct sockaddr *to, socklen_t length) {
    struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(ADDRESS) };
    if (to->sa_family == AF_INET) bind(fd, (struct sockaddr *)&from, sizeof from);
    return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect"))(fd, to, length);
}
"""


def slow_disk(folder: Path, slow_ms: int) -> dict[str, str]:
    """Return the variables with which each fsync of a program takes so much longer; none where there is no compiler."""
    return _in_front(folder / f"slow{slow_ms}", _SLOW_DISK, f"-DSLOW_US={slow_ms * 1_000}")


def from_address(folder: Path, address: str) -> dict[str, str]:
    """Return the variables with which a program connects from an address of this machine, as slow_disk does."""
    return _in_front(folder / f"from-{address}", _FROM_ADDRESS, f'-DADDRESS="{address}"')


def _in_front(name: Path, code: str, value: str) -> dict[str, str]:
    """Make a library that stands in front of the system's own."""
    source, library = Path(f"{name}.c"), Path(f"{name}.so")
    source.write_text(code, encoding="ascii")
    made = ["cc", "-shared", "-fPIC", value, "-o", str(library), str(source), "-ldl"]
    if shutil.which("cc") is None or subprocess.run(made, check=False, capture_output=True).returncode:
        return {}
    return {"LD_PRELOAD": str(library)}


class Server:
    """A context manager around :mod:`benchmarks.server` in a process of its own.

    ``limit`` is nothing, or how many requests it serves a second, and how many at once after a rest.
    """

    def __init__(self, count: int, seed: int, latency_ms: int, *limit: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.server", *map(str, (count, seed, latency_ms, *limit))]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")  # it ends with its stdin

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point the program at this server."""
        return {"GLIDER_BASE_URL": self._url, "GLIDER_API_KEY": "gldr_sk_of_the_benchmark"}

    def counts(self) -> dict[str, int]:
        """Return what the server saw since the last call; see :class:`benchmarks.server.Counts`."""
        with urllib.request.urlopen(f"{self._url}/counts", timeout=10) as answer:
            found: dict[str, int] = json.loads(answer.read())
        return found
