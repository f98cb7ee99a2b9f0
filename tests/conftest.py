"""What holds for all tests: where their files may lie, what random examples they draw, which are slow, what a run says.

In CI the random histories are the same on every run: a change is judged by what it changed, not by its luck.
By hand they are new on every run, which is how new failures are found.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from reconciler.cli.service import SystemClock
from reconciler.cli.writing import TOLD_BY
from tests.golden import Golden
from tests.memory import in_memory, own_folder
from tests.postgres import Server, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

COLLECTOR = (50_000, 20, 50)
"""How rarely garbage is looked for: ten thousand tests in memory make each look a long one."""
gc.set_threshold(*COLLECTOR)
IN_CI = {"derandomize": True, "database": None} if os.environ.get("CI") else {}
# How long an example takes is the machine's affair, and what else it does.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow], **IN_CI)
settings.load_profile("here")

for _number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
    # A run in the background of a script, or under nohup, ignores these, and so would every process of a test.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

SLOW_FOLDERS = frozenset({"action", "faults", "github", "process"})
"""Folders in which every test is slow; elsewhere the slow ones are marked."""
FAST = "not slow"
"""What `make test-fast` asks for."""
ORDINARY = "not thorough"
"""What `make test` asks for."""
SHARE = 30
"""How many random examples a law is tried on in these two; elsewhere they are hypothesis's hundred."""
ROOT = Path(__file__).parents[1]
KEPT_HERE = tuple(str(ROOT / name) for name in (".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".venv"))
"""What tools keep in the checkout from run to run; nothing else in it may be written to."""
SINKS = frozenset({os.devnull, "/dev/full", "/dev/tty", "/dev/ptmx"})
"""Devices that take what is written to them and are never replaced."""
CHANGES: dict[str, tuple[int, ...]] = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "shutil.rmtree": (0,),
    "sqlite3.connect": (0,),
}
"""What changes something in a folder, and which of its arguments are the paths."""
BY_FOLDER = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod"})
"""Whose last argument may be an open folder that a path starts at: then the open folder was heard of."""
NOBODY = ("127.0.0.1", 9)
"""Where tests send what must reach nobody."""
SEED = "RECONCILER_SEED"
COUNTED: dict[str, Counter[str]] = {}
"""What tests counted in this run, by what they call it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what renews the golden files."""
    parser.addoption("--renew", action="store_true", help="write the texts of tests/golden and docs/recipes.md anew")


def pytest_configure(config: pytest.Config) -> None:
    """Choose what the workers have to agree on; they inherit this environment."""
    os.environ.setdefault(SEED, str(secrets.randbits(32)))
    # What CI says of this run must not stand in what commands show.
    for name in chain(*TOLD_BY.values(), ["GITHUB_ACTIONS"]):
        os.environ.pop(name, None)
    if "TMPDIR" not in os.environ and (memory := in_memory()) is not None:
        made = own_folder(memory)
        config.pluginmanager.register(Cleaner(made))
        os.environ["TMPDIR"] = tempfile.tempdir = str(made)
    if not config.getoption("renew"):  # which writes to the checkout
        config.pluginmanager.register(Fence())
    if config.getoption("renew") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--renew writes whole files, so it runs without workers: add -n 0")
    config.pluginmanager.register(Golden(renews=config.getoption("renew")), "golden")
    if config.getoption("markexpr") == FAST:
        config.pluginmanager.register(Guard())
    if config.getoption("markexpr") in (FAST, ORDINARY):  # before any test is imported, which asks for its number then
        settings.register_profile("share", settings.get_profile("here"), max_examples=SHARE)
        settings.load_profile("share")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is slow by its folder, or because there is so much of it."""
    if item.path.parent.name in SLOW_FOLDERS or item.get_closest_marker("thorough"):
        item.add_marker("slow")


class Listener:
    """Hears what a test's own process does; no hook of the interpreter's can be taken away again, so it is switched."""

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
        raise NotImplementedError


class Fence(Listener):
    """Fails a test that would write to a device, or to a path that is neither in a temporary folder nor a tool's.

    The operating system asks nobody who is root, so a command line that is drawn at random could replace a device.
    What a test's own process does is heard, not what a process does that it started.
    """

    def __init__(self) -> None:
        temporary = {tempfile.gettempdir(), os.path.realpath(tempfile.gettempdir())}
        self._inside = tuple(f"{path}/" for path in (*temporary, *KEPT_HERE, "/dev/pts"))
        super().__init__()

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(one in mode for one in "wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and self._on and path not in SINKS:
                self._check(path)
        elif event in CHANGES and self._on and not (event in BY_FOLDER and arguments[-1] != -1):
            for place in CHANGES[event]:
                self._check(arguments[place])

    def _check(self, path: Any) -> None:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike) or str(path) == ":memory:":
            return  # a descriptor, which was opened before
        full = os.path.abspath(os.fspath(path).removeprefix("file:").partition("?")[0])  # noqa: PTH100 -- follows no link
        if f"{full}/".startswith(self._inside) or "/__pycache__/" in f"{full}/":
            return
        pytest.fail(f"a test would write to {full}, which is not in a temporary folder")


class Cleaner:
    """Removes the folder of a run, unless a test failed: then somebody may want to look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            shutil.rmtree(self._folder, ignore_errors=True)
        # Mutation testing runs the tests again and again in one process: each run makes a folder of its own.
        os.environ.pop("TMPDIR", None)
        tempfile.tempdir = None


class Guard(Listener):
    """Fails a test that starts a process or opens a socket while only fast ones run: it wants the mark."""

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        match event:
            case "subprocess.Popen" | "os.fork" | "os.posix_spawn" | "os.exec":
                pytest.fail("a test that starts a process is to be marked `slow`")
            case "socket.bind" | "socket.connect" if isinstance(arguments[1], tuple) and arguments[1][:2] != NOBODY:
                pytest.fail("a test that opens a socket is to be marked `slow`")


@pytest.fixture(scope="session")
def server_of_worker() -> Iterator[Server]:
    """A PostgreSQL server of this worker's own."""
    with running_server() as running:
        yield running


@pytest.fixture
def server(server_of_worker: Server) -> Iterator[Server]:
    """A PostgreSQL server without databases; whoever stops it starts it again."""
    yield server_of_worker
    server_of_worker.drop_databases()


@pytest.fixture(scope="session")
def seed_of_new() -> int:
    """The seed of all histories that nobody has walked yet, the same for all workers."""
    return int(os.environ[SEED])


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Golden:
    """Compares a text with the one that is kept."""
    found = pytestconfig.pluginmanager.get_plugin("golden")
    assert isinstance(found, Golden)
    return found


@pytest.fixture
def skipped_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait of a command that runs in this process pass at once, and take the time that it waits for.

    The command line makes its clock itself, so its methods are replaced.
    """
    skipped_ms = 0
    real_now, real_ticks = SystemClock.now_ms, SystemClock.ticks_ms

    async def sleep(clock: SystemClock, seconds: float) -> None:
        nonlocal skipped_ms
        until = skipped_ms + round(seconds * 1000)
        await asyncio.sleep(0)
        skipped_ms = max(skipped_ms, until)  # those who wait at the same time wait for the same time

    monkeypatch.setattr(SystemClock, "sleep", sleep)
    monkeypatch.setattr(SystemClock, "now_ms", lambda clock: real_now(clock) + skipped_ms)
    monkeypatch.setattr(SystemClock, "ticks_ms", lambda clock: real_ticks(clock) + skipped_ms)


def _say_the_seed(config: pytest.Config) -> None:
    reporter: TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"new histories: {SEED}={os.environ[SEED]} walks them again")


def pytest_sessionstart(session: pytest.Session) -> None:
    """With workers, of which only they know what they run, the seed is said at the start."""
    if session.config.getoption("numprocesses", None) and session.config.getoption("markexpr") != FAST:
        _say_the_seed(session.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without workers it is said where there are such histories. What was collected is never garbage."""
    gc.freeze()
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
