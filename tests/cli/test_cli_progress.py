"""How far it is: a bar on a terminal, a line every ten seconds elsewhere, and nothing where it is quiet."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.output import Output
from reconciler.cli.progress import TOLD_S, bar

if TYPE_CHECKING:
    from collections.abc import Callable


class Stderr(io.StringIO):
    """A stderr that is a terminal or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


class FakeTimer:
    """A call that is due at a time, until it is cancelled."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeTimers:
    """A loop's clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> FakeTimer:
        self.timers.append(FakeTimer(self.now + delay, callback))
        return self.timers[-1]

    def move(self, seconds: float) -> None:
        """Let time pass, and make the calls that become due."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.callback is not None and timer.due <= end]:
            timer = min(due, key=lambda timer: timer.due)
            self.timers.remove(timer)
            self.now = timer.due
            assert timer.callback is not None
            timer.callback()
        self.now = end


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, label: str = "Reading", **options: bool) -> str:
    """Return what stands on stderr after 25 s in which half was done, with a line after 5 s."""
    stderr = Stderr(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    timers = FakeTimers()
    with bar(Output(format="text", **options), label, 100, timers=timers) as made:
        timers.move(5)
        made.line("ao04x0r6 paused")
        for _ in range(50):
            made.advance()
        timers.move(20)
    assert not [timer for timer in timers.timers if timer.callback is not None]
    return stderr.getvalue()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "TERM"):
        monkeypatch.delenv(name, raising=False)


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn in its place, the line that stays stands above it, and nothing is left of it."""
    text = shown(monkeypatch, terminal=True)
    assert text.count("\n") == 1
    assert "\r\x1b[KReading [................................] 0/100" in text
    assert "\r\x1b[Kao04x0r6 paused\n" in text
    assert text.endswith("\r\x1b[KReading [################................] 50/100 0:25 left\r\x1b[K")


def test_a_log_gets_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, how far it is; single lines only where -v asks for them."""
    told = "Reading: 50 of 100 done\n" * 2
    assert shown(monkeypatch, terminal=False) == told
    assert shown(monkeypatch, terminal=False, verbose=True) == f"ao04x0r6 paused\n{told}"


@pytest.mark.parametrize(
    ("terminal", "name", "value"),
    [(True, "GITHUB_ACTIONS", "true"), (False, "GITHUB_ACTIONS", "true"), (True, "TERM", "dumb")],
)
def test_a_log_that_keeps_everything_gets_lines(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, name: str, value: str
) -> None:
    """A bar would leave every drawing there; each outcome is written at once, for the job may be killed."""
    monkeypatch.setenv(name, value)
    assert shown(monkeypatch, terminal=terminal) == "ao04x0r6 paused\n" + "Reading: 50 of 100 done\n" * 2


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """Neither a bar nor a line."""
    assert shown(monkeypatch, terminal=terminal, quiet=True) == ""


def test_what_is_soon_done_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bar flashes up, and nothing to do is no division by zero."""
    stderr = Stderr(terminal=False)
    monkeypatch.setattr(sys, "stderr", stderr)
    timers = FakeTimers()
    with bar(Output(format="text"), "Reading", 0, timers=timers):
        timers.move(TOLD_S - 0.1)
    assert stderr.getvalue() == ""


def test_a_drawing_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that broke could not be erased."""
    drawings = shown(monkeypatch, terminal=True, label="x" * 99).split("\r\x1b[K")
    assert max(len(drawing) for drawing in drawings) == 79
