"""What holds for all tests: where their files lie, what random examples they draw, what a run says of itself.

In CI the random histories are the same on every run: a change is judged by what it changed, not by its luck.
By hand they are new on every run, which is how new failures are found.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.memory import in_memory

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

NEW_HISTORIES = "test_new_histories"
SEED = "RECONCILER_SEED"
COUNTED: dict[str, Counter[str]] = {}
"""What tests counted in this run, by what they call it."""


def pytest_configure() -> None:
    """Choose what the workers have to agree on; they inherit this environment."""
    os.environ.setdefault(SEED, str(secrets.randbits(32)))
    if "TMPDIR" not in os.environ and (memory := in_memory()) is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = memory


@pytest.fixture(scope="session")
def seed_of_new() -> int:
    """The seed of all histories that nobody has walked yet, the same for all workers."""
    return int(os.environ[SEED])


def _say_the_seed(config: pytest.Config) -> None:
    reporter: TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"new histories: {SEED}={os.environ[SEED]} walks them again")


def pytest_sessionstart(session: pytest.Session) -> None:
    """With workers the seed is said first: only they know which tests there are."""
    if session.config.getoption("numprocesses", None) and session.config.getoption("markexpr") != "not slow":
        _say_the_seed(session.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without workers it is said where it is used."""
    if any(item.name.startswith(NEW_HISTORIES) for item in session.items):
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
