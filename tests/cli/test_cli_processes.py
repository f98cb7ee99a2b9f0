"""The real command in a real process: over a socket, at a terminal, under a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import prepared
from tests.cli.conftest import CANARY, FILES, SEED, load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "reconciler"]
CHANGES = "Plan: 1 to start, 1 to resume, 1 to pause, 0 to update. 0 unchanged, 1 held, 0 blocked."
NOTHING = "Plan: 0 to start, 0 to resume, 0 to pause, 0 to update. 3 unchanged, 1 held, 0 blocked."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "seed.yaml").write_text(SEED)
    (tmp_path / "automation.yaml").write_text(FILES)
    load(tmp_path)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GLIDER_")}
    return {**kept, "GLIDER_API_KEY": CANARY, **more}


def call(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return prepared.run([*COMMAND, *arguments], cwd=folder, env=environment(**more))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the sandbox on a free port; yield its base URL."""
    process = prepared.Process([*COMMAND, "sandbox", "serve", "--port", "0"], cwd=folder, env=environment())
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        yield first.split(" at ")[1].split(";")[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("family", ["reference", "guide"])
def test_main_job_over_http(folder: Path, family: str) -> None:
    """Plan, apply and an empty plan over a real socket, against a server of either path family."""
    (folder / "seed.yaml").write_text(SEED.replace("version: 1", f"version: 1\nsettings: {{paths: {family}}}"))
    assert call(folder, "sandbox", "load", "seed.yaml").returncode == 0
    with served(folder) as url:
        first = call(folder, "plan", GLIDER_BASE_URL=url)
        assert (first.returncode, first.stdout.splitlines()[-1]) == (0, CHANGES)
        applied = call(folder, "apply", "--auto-approve", GLIDER_BASE_URL=url)
        assert applied.returncode == 0, applied.stderr
        assert "Apply: 3 done" in applied.stdout
        assert ("set service.paths: guide" in applied.stderr) is (family == "guide")
        assert call(folder, "plan", GLIDER_BASE_URL=url).stdout.splitlines()[-1] == NOTHING


def test_a_plan_is_of_the_time_of_the_service(folder: Path) -> None:
    """Where this machine's clock is three hours behind, a plan of a moment ago is not three hours old."""
    assert call(folder, "sandbox", "advance", "3h").returncode == 0
    with served(folder) as url:
        assert call(folder, "plan", "--out", "plan.json", GLIDER_BASE_URL=url).returncode == 0
        applied = call(folder, "apply", "plan.json", "--max-age", "1h", "--allow", "start=9", GLIDER_BASE_URL=url)
    assert applied.returncode == 0, applied.stderr


@pytest.mark.parametrize(("key", "code"), [("invalid", 7), ("forbidden", 7)])
def test_a_refused_key_exits_7(folder: Path, key: str, code: int) -> None:
    """A key that the service refuses ends with its code and ids, and is not shown."""
    with served(folder) as url:
        ended = call(folder, "plan", "-o", "json", GLIDER_BASE_URL=url, GLIDER_API_KEY=key)
    assert ended.returncode == code
    assert json.loads(ended.stdout)["exit_reason"] == "permission"


def at_a_terminal(folder: Path, answer: bytes) -> tuple[int, str]:
    """Run apply at a pseudo terminal and answer its question; return exit code and screen."""
    pty = pytest.importorskip("pty")
    child, screen = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(sys.executable, [*COMMAND, "apply", "--sandbox"], environment(TERM="xterm"))
    seen, answered = b"", False
    while True:
        try:
            chunk = os.read(screen, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
        if not answered and b"Answer" in seen:
            os.write(screen, answer + b"\n")
            answered = True
    os.close(screen)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), seen.decode()


def test_apply_asks_at_a_terminal(folder: Path) -> None:
    """Yes applies; the screen has colours, the question and the table."""
    code, screen = at_a_terminal(folder, b"yes")
    assert code == 0
    assert "Apply these 3 changes?" in screen
    assert "Apply: 3 done" in screen
    assert "\x1b[32m" in screen


def test_anything_but_yes_applies_nothing(folder: Path) -> None:
    """Y is not yes, and nothing is written."""
    code, screen = at_a_terminal(folder, b"y")
    assert code == 1
    assert "not approved, nothing was written" in screen
    assert call(folder, "plan", "--sandbox").stdout.splitlines()[-1] == CHANGES


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_write_in_flight_settle(folder: Path, number: signal.Signals, code: int) -> None:
    """Interrupted while a write waits for its answer: that one is settled, the rest is not attempted."""
    import httpx2

    with served(folder) as url:
        slow = [{"kind": "slow_answer", "operation": "pause", "ms": 1500}]
        httpx2.post(f"{url}/_sandbox/faults", json=slow).raise_for_status()
        command = [*COMMAND, "apply", "--auto-approve", "-o", "json"]
        process = prepared.Process(command, cwd=folder, env=environment(GLIDER_BASE_URL=url))
        deadline = time.monotonic() + 60
        while not any("pause" in r["path"] for r in httpx2.get(f"{url}/_sandbox/requests").json()):
            assert time.monotonic() < deadline, process.communicate()
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    outcomes = {r["id"]: r["outcome"] for r in json.loads(out)["results"]}
    assert outcomes == {"aaa": "done", "bbb": "not_attempted", "ddd": "not_attempted"}


def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    """`reconciler schema | head -1` ends quietly."""
    ended = subprocess.run(
        f"{' '.join(COMMAND)} schema | head -1", shell=True, capture_output=True, text=True, cwd=folder, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_full_disk_is_an_error(folder: Path) -> None:
    """Output that can't be written never reads as success."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder, check=False
        )
    assert ended.returncode == 1
    assert "the output can't be written" in ended.stderr
