"""What holds for all tests: where their files lie, what random examples they draw, which are slow, what a run says.

In CI the random histories are the same on every run: a change is judged by what it changed, not by its luck.
By hand they are new on every run, which is how new failures are found.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.memory import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

SLOW_FOLDERS = frozenset({"action", "faults", "github", "process"})
"""Folders in which every test is slow; elsewhere the slow ones are marked."""
FAST = "not slow"
"""What `make test-fast` asks for."""
NOBODY = ("127.0.0.1", 9)
"""Where tests send what must reach nobody."""
SEED = "RECONCILER_SEED"
COUNTED: dict[str, Counter[str]] = {}
"""What tests counted in this run, by what they call it."""


def pytest_configure(config: pytest.Config) -> None:
    """Choose what the workers have to agree on; they inherit this environment."""
    os.environ.setdefault(SEED, str(secrets.randbits(32)))
    if "TMPDIR" not in os.environ and (memory := in_memory()) is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = memory
    if config.getoption("markexpr") == FAST:
        config.pluginmanager.register(Guard())


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is slow by its folder."""
    if item.path.parent.name in SLOW_FOLDERS:
        item.add_marker("slow")


class Guard:
    """Fails a test that starts a process or opens a socket while only fast ones run: it wants the mark."""

    def __init__(self) -> None:
        self._on = False
        sys.addaudithook(self._hear)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self._on = True
        try:
            return (yield)
        finally:
            self._on = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        match event:
            case "subprocess.Popen" | "os.fork" | "os.posix_spawn" | "os.exec":
                pytest.fail("a test that starts a process is to be marked `slow`")
            case "socket.bind" | "socket.connect" if isinstance(arguments[1], tuple) and arguments[1][:2] != NOBODY:
                pytest.fail("a test that opens a socket is to be marked `slow`")


@pytest.fixture(scope="session")
def seed_of_new() -> int:
    """The seed of all histories that nobody has walked yet, the same for all workers."""
    return int(os.environ[SEED])


def _say_the_seed(config: pytest.Config) -> None:
    reporter: TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"new histories: {SEED}={os.environ[SEED]} walks them again")


def pytest_sessionstart(session: pytest.Session) -> None:
    """With workers, of which only they know what they run, the seed is said at the start."""
    if session.config.getoption("numprocesses", None) and session.config.getoption("markexpr") != FAST:
        _say_the_seed(session.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without workers it is said where there are such histories."""
    if any("seed_of_new" in getattr(item, "fixturenames", ()) for item in session.items):
        _say_the_seed(session.config)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what tests count, whichever worker ran them."""
    if report.when == "teardown":
        for name, counts in report.user_properties:
            if isinstance(counts, dict):
                COUNTED.setdefault(name, Counter()).update(counts)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what was counted."""
    for name, counts in sorted(COUNTED.items()):
        said = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        terminalreporter.write_line(f"{name}: {counts.total()} positions, {said}")
