"""What a terminal of 80, 100 and 140 columns shows of one fixed fleet of sixty: kept in `tests/golden`.

The fleet has long names and wide characters, two that are held, one that is not there, and one whose write is refused.
"""

from __future__ import annotations

import os
import pty
import re
import struct
import sys
import termios
import threading
import tty
from fcntl import ioctl
from typing import TYPE_CHECKING, Any, Final

import pytest

from reconciler.cli.main import run
from reconciler.render.terminal import width
from tests.process.support import glider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.golden import Golden
    from tests.process.support import Glider

COUNT: Final = 60
NAMES: Final = {
    4: "Endowment of the Northern Lights, long-term growth",
    9: "成長ポートフォリオ・長期",
    17: "Größere Rücklage für schlechte Zeiten",
    33: "投資 🚀 fund",
    40: "x" * 60,
}
HELD: Final = (12, 31)
GONE: Final = 45
REFUSED: Final = 21
CHANGING: Final = re.compile(
    r"(?<=127\.0\.0\.1:)\d+|\b\d{4}-\d\d-\d\d|\b\d\d-\d\d(?= )|\b\d\d:\d\d\b|(?<=req_|orr_)\d+"
    r"|(?<=rebal_)\w+|0x[0-9a-f]{64}"
)
"""What differs from run to run, also where a line was broken inside it."""
COLUMNS: Final = (80, 100, 140)


def called(number: int) -> str:
    """Return the id of a portfolio; some are long."""
    return f"pf{number:02}" if number % 7 else f"portfolio-{number:02}-of-maria"


def live() -> dict[str, Any]:
    """Return what is live of each but one."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(COUNT):
        one: dict[str, Any] = {"status": "active", "interval": "12h" if number % 3 == 2 else "24h", "started": "238h"}
        if number in HELD:
            one |= {"status": "paused", "pause_reason": "Paused from the app by the night desk"}
        found[called(number)] = {"status": "inactive"} if number % 10 == 6 else one
    del found[called(GONE)]
    return found


def declared() -> str:
    """Return the files: a third is to be paused, a third runs as it should, a third gets another interval."""
    lines = ["version: 1", "portfolios:"]
    for number in range(COUNT):
        name = NAMES.get(number) or (f"Fund {number}" if number % 2 else "")
        paused = number % 3 == 0 and number not in (*HELD, GONE) and number % 10 != 6
        told = "state: paused, reason: Audit of the year" if paused else "state: active, interval: 24h"
        named = f'name: "{name}", ' if name else ""
        lines.append(f"  {called(number)}: {{{named}{told}}}")
    return "\n".join([*lines, ""])


class Screen:
    """Runs commands in this process with stdout on a terminal of some width; stderr is not part of the picture."""

    def __init__(self, served: Glider, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served = served
        self._monkeypatch = monkeypatch

    def __call__(self, line: str, columns: int, code: int) -> str:
        """Return what is on the terminal after a command, each line without the spaces at its end."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        parts: list[bytes] = []
        reader = threading.Thread(target=_read, args=(ours, parts))
        reader.start()
        with self._monkeypatch.context() as patch, open(theirs, "w", encoding="utf-8") as stdout:  # noqa: PTH123 - a file descriptor
            patch.setattr(sys, "stdout", stdout)
            found = run(line.split())
        reader.join()
        os.close(ours)
        text = b"".join(parts).decode()
        assert found == code, (found, text)
        text = re.sub(r"\b\d+ ms\b", "0 ms", re.sub(r"Python [\d.]+\w*, \w+", "Python 3, Linux", text))
        return CHANGING.sub(lambda found: re.sub(r"[0-9a-f]", "0", found[0]), text)


def _read(descriptor: int, parts: list[bytes]) -> None:
    while True:
        try:
            found = os.read(descriptor, 4096)
        except OSError:  # the other end was closed
            return
        if not found:
            return
        parts.append(found)


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A folder with the files of the fleet, and a service that holds it."""
    (tmp_path / "automation.yaml").write_text(declared(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("GLIDER_API_KEY", "gldr_sk_canary_4f1d7c")
    for name in ("GITHUB_ACTIONS", "CI"):
        monkeypatch.delenv(name, raising=False)
    with glider(tmp_path, {"settings": {"readable_schedule": True}, "portfolios": live()}) as served:
        monkeypatch.setenv("GLIDER_BASE_URL", served.url)
        yield Screen(served, monkeypatch)


@pytest.mark.slow  # three terminals, and a service on a port
@pytest.mark.parametrize("columns", COLUMNS)
def test_pictures(screen: Screen, golden: Golden, columns: int) -> None:
    """Nothing is wider than the terminal, whatever stands in it; the last is what the apply before it left."""
    screen.served.misbehave(
        {"kind": "server_error", "operation": "pause", "portfolio": called(REFUSED), "status": 403, "times": 99}
    )
    for line, code in (
        ("status", 0),
        ("drift", 1),
        ("plan", 1),
        ("apply --auto-approve --allow pause=40 --allow start=10", 6),
        ("history", 0),
        ("history --target portfolio-21-of-maria", 0),
        ("status pf12", 0),
        ("doctor", 0),
        ("rebalance pf01 pf02 pf04 pf05 --auto-approve", 0),
    ):
        shown = screen(line, columns, code)
        golden(f"pictures-{columns}", line, f"$ reconciler {line}\n{shown}")
        assert [text for text in shown.splitlines() if width(text) > columns] == []
