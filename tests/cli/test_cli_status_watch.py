"""``status --watch``: frames in their place on a terminal, until somebody interrupts."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.watch import frame, watch
from reconciler.render.terminal import cut_styled, width
from tests.process.support import environment
from tests.support import FakeClock, run

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SGR = re.compile(r"\x1b\[[0-9;]*m")


def visible(text: str) -> list[str]:
    """Return the lines of a frame without anything that moves a cursor or colours."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).rstrip("\n").split("\n")


def test_a_frame_that_fits() -> None:
    """It begins at the top, each line ends with what was there before wiped, and nothing is left below."""
    made = frame("head", "a\nb\n", columns=80, lines=24)
    assert made == "\x1b[Hhead\x1b[K\n\x1b[K\na\x1b[K\nb\x1b[K\n\x1b[J"


def test_a_frame_for_a_small_terminal() -> None:
    """The first rows and the last line stay; how many are missing is said."""
    text = "\n".join(f"row {n}" for n in range(30))
    shown = visible(frame("head", text, columns=80, lines=10))
    assert shown == ["head", "", "row 0", "row 1", "row 2", "row 3", "row 4", "… 24 more lines", "row 29"]


@given(st.text(alphabet="ab é漢", max_size=60), st.integers(1, 40), st.integers(0, 60))
def test_a_line_is_cut_to_the_screen(text: str, cells: int, at: int) -> None:
    """No line is wider than the screen, what is left is its beginning, and no colour runs on."""
    line = f"{text[:at]}\x1b[31m{text[at:]}\x1b[0m"
    made = cut_styled(line, cells)
    assert width(made) <= cells
    assert text.startswith(SGR.sub("", made).removesuffix("…"))
    assert made.endswith("\x1b[0m")


def test_it_looks_again_and_again() -> None:
    """It looks, draws and waits, in turn, and follows the size of the terminal."""
    clock, drawn, looks = FakeClock(), [], 0

    async def look() -> str:
        nonlocal looks
        looks += 1
        if looks == 4:
            raise asyncio.CancelledError
        return f"look {looks}\n"

    with pytest.raises(asyncio.CancelledError):
        run(watch(look, every_seconds=10, clock=clock, draw=drawn.append, size=lambda: (20 - looks, 24)))
    assert [visible(text)[-1] for text in drawn[1:]] == ["look 1", "look 2", "look 3"]
    assert visible(drawn[1])[0] == "2026-11-22 12:00:0…"
    assert visible(drawn[3])[0] == "2026-11-22 12:00…"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal(shell: Shell) -> None:
    """It draws the table in its place, and Ctrl-C ends it with 130 and without a word."""
    import pty

    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "status", "--sandbox", "--watch=2"],
        cwd=shell.folder,
        env=environment(TERM="xterm"),
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 60
    try:
        while seen.count(b"4 portfolios:") < 2 and time.monotonic() < deadline:
            if select.select([master], [], [], 0.2)[0]:
                seen += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(master)
    assert seen.count(b"4 portfolios:") >= 2
    assert b"every 2 s; Ctrl-C ends it" in seen
    assert (process.returncode, err) == (130, b"")
