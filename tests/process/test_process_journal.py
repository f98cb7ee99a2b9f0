"""One journal, several processes, and files that can't be used: a clear error, and nothing written behind its back."""

from __future__ import annotations

import resource
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journal import read_runs
from tests.process.support import NEVER_MS, Glider, until

if TYPE_CHECKING:
    from collections.abc import Callable


def test_two_applies_at_once(served: Glider) -> None:
    """The second says who holds the journal, or waits; then it finds everything done. A signal ends the wait."""
    served.misbehave({"kind": "slow_answer", "operation": "pause", "ms": 2500})
    first = served.start("apply", "--auto-approve")
    until(lambda: "aaa pause" in served.calls(), first)
    refused = served.run("apply", "--auto-approve", "--lock-timeout", "0s")
    assert refused.returncode == 1
    assert (
        f"another apply is at work with the journal .reconciler/journal.db: process {first.pid} on " in refused.stderr
    )
    waiting = served.start("apply", "--auto-approve", "--lock-timeout", "1h")
    stopped = served.start("apply", "--auto-approve", "--lock-timeout", "1h")
    assert "aaa" in served.run("history", "--run", "1").stdout  # reading is never kept out
    stopped.send_signal(signal.SIGINT)
    sent = time.monotonic()
    stopped.communicate(timeout=20)
    assert (stopped.returncode, time.monotonic() - sent < 2) == (130, True)
    assert first.wait(20) == 0
    out, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 0, err
    assert "Plan: 0 to start, 0 to resume, 0 to pause, 0 to update." in out
    assert len(served.calls()) == 4


def small_files(limit: int) -> Callable[[], None]:
    """Return what makes every file that a process writes end at ``limit`` bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("limit", [0, 33_000, 42_000, 50_000, 58_000, 66_000])
def test_a_full_disk(served: Glider, limit: int) -> None:
    """Wherever the disk is full, the error says so, and no call is sent whose intent is not in the journal."""
    ended = served.run("apply", "--auto-approve", "--parallelism", "1", preexec_fn=small_files(limit))
    assert ended.returncode in (1, 6)
    assert "can't be used" in ended.stderr + ended.stdout
    announced = [write.portfolio for run in read_runs(served.journal) or () for write in run.writes] if limit else []
    assert [call.split()[0] for call in served.calls()] == announced[: len(served.calls())]
    assert len(announced) - len(served.calls()) in (0, 1)
    served.converges()


@pytest.mark.parametrize("journal", ["automation.yaml", "automation.yaml/journal.db", ".", "/proc/none/journal.db"])
def test_a_journal_that_cannot_be_made(served: Glider, journal: str) -> None:
    """A path that can't hold a journal ends with an error before anything is written."""
    before = (served.folder / "automation.yaml").read_bytes()
    ended = served.run("apply", "--auto-approve", "--journal", journal)
    assert ended.returncode == 1
    assert "journal" in ended.stderr
    assert served.calls() == []
    assert (served.folder / "automation.yaml").read_bytes() == before


def test_a_damaged_journal(served: Glider) -> None:
    """Garbage, half a file and another program's file are told before any write; an empty file is a new journal."""
    served.converges()
    written, sound = len(served.calls()), served.journal.read_bytes()
    damages: dict[str, Any] = {
        "garbage in the middle": sound[:4096] + b"\xa5" * 8192 + sound[12288:],
        "half of it": sound[: len(sound) // 2],
        "the beginning": sound[:100],
        "text": b"this is no database, but somebody's notes" * 100,
    }
    (served.folder / "automation.yaml").write_text("version: 1\nportfolios: {bbb: {state: paused}}\n", encoding="utf-8")
    for name, content in damages.items():
        served.journal.write_bytes(content)
        ended = served.run("apply", "--auto-approve")
        assert (ended.returncode, ended.stdout) == (1, ""), name
        assert "the journal .reconciler/journal.db can't be used" in ended.stderr, name
        assert served.journal.read_bytes() == content, name
    assert len(served.calls()) == written
    served.journal.write_bytes(b"")
    assert served.run("plan").returncode == 0
    served.converges()


def test_a_file_locked_by_nobody_alive(served: Glider) -> None:
    """The lock of a killed process is gone with it."""
    served.misbehave({"kind": "latency", "operation": "pause", "ms": NEVER_MS})
    process = served.start("apply", "--auto-approve")
    until(lambda: "aaa pause" in served.calls(), process)
    process.kill()
    process.communicate()
    assert served.run("apply", "--auto-approve", "--lock-timeout", "0s").returncode == 0
