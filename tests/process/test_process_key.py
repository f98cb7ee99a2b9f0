"""The key is nowhere but in the environment and in the header: no argument, output, plan, journal or traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.conftest import CANARY
from tests.process.support import COMMAND, NEVER_MS, environment, until

if TYPE_CHECKING:
    from tests.process.support import Glider

SABOTAGE = """
from reconciler.api.transport import Transport
async def broken(self, *arguments):
    raise RuntimeError("sabotaged")
Transport._exchange = broken
from reconciler.cli.main import main
main(["plan", "-v"])
"""
"""Lets the module that holds the key fail as only a bug would."""


def test_the_key_is_in_nothing_that_is_left_behind(served: Glider) -> None:
    """Plans, applies and refusals at their most talkative leave no trace of the key, in text or in any file."""
    served.misbehave({"kind": "html", "operation": "pause"}, {"kind": "not_json", "operation": "resume"})
    ended = [
        served.run("plan", "-v", "--out", "plan.json"),
        served.run("apply", "-v", "plan.json"),
        served.run("plan", "-v", "--base-url", f"{served.url}/nowhere", "-o", "json"),
        served.run("history", "-v", "-o", "json"),
    ]
    assert (ended[0].returncode, ended[-1].returncode) == (0, 0)
    files = [path for path in served.folder.rglob("*") if path.is_file()]
    assert {"plan.json", "journal.db"} <= {path.name for path in files}
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_the_key_is_no_argument(served: Glider) -> None:
    """Nobody who lists processes sees it."""
    served.misbehave({"kind": "latency", "operation": "pause", "ms": NEVER_MS})
    where = {"cwd": served.folder, "env": environment(GLIDER_BASE_URL=served.url)}
    with subprocess.Popen([*COMMAND, "apply", "--auto-approve"], **where) as process:
        until(lambda: "aaa pause" in served.calls())
        arguments = Path(f"/proc/{process.pid}/cmdline")
        assert CANARY.encode() not in (arguments.read_bytes() if arguments.exists() else b"")
        process.kill()


def test_a_traceback_has_no_key(served: Glider) -> None:
    """A bug in the very module that holds the key prints a traceback under -v, and no key."""
    ended = subprocess.run(
        [sys.executable, "-c", SABOTAGE],
        cwd=served.folder,
        env=environment(GLIDER_BASE_URL=served.url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "internal error: RuntimeError: sabotaged" in ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
