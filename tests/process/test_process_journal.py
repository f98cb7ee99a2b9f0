"""One journal, several processes, and files that can't be used: a clear error, and nothing written behind its back."""

from __future__ import annotations

import resource
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journal import open_journal
from reconciler.apply.journalreads import read_memory, read_runs
from reconciler.core.errors import JournalError
from tests.prepared import Process
from tests.process.support import NEVER_MS, PATIENCE_SECONDS, Glider, environment, kill, now_ms, until

if TYPE_CHECKING:
    from pathlib import Path


def test_two_applies_at_once(served: Glider) -> None:
    """The second says who holds the journal, or waits; then it finds everything done. A signal ends the wait."""
    served.misbehave({"kind": "slow_answer", "operation": "pause", "ms": NEVER_MS})
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
    stopped.communicate(timeout=PATIENCE_SECONDS)
    assert (stopped.returncode, first.poll()) == (130, None)  # not because it got the journal
    served.release()
    assert first.wait(PATIENCE_SECONDS) == 0
    out, err = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 0, err
    assert "Plan: 0 to start, 0 to resume, 0 to pause, 0 to update." in out
    assert len(served.calls()) == 4


@pytest.mark.parametrize(
    ("made", "limit"), [(False, 0), (False, 20_000), (True, 10_000), (True, 18_000), (True, 22_000), (True, 30_000)]
)
def test_a_full_disk(served: Glider, limit: int, *, made: bool) -> None:
    """Wherever the disk is full, the error says so, and no call is sent whose intent is not in the journal."""
    if made:  # then another table or index is the first that can't be written, by where it lies in the file
        open_journal(served.journal, base_url=served.url, now_ms=now_ms).__exit__()
    ended = served.run("apply", "--auto-approve", "--parallelism", "1", file_bytes=limit)
    assert ended.returncode in (1, 6)
    assert "can't be used" in ended.stderr + ended.stdout
    open_journal(served.journal, base_url=served.url, now_ms=now_ms).__exit__()  # rolls back what was cut off
    announced = [write.portfolio for run in read_runs(served.journal) or () for write in run.writes]
    assert [call.split()[0] for call in served.calls()] == announced[: len(served.calls())]
    assert len(announced) - len(served.calls()) in (0, 1)
    served.converges()


def test_no_more_files_may_be_open_in_the_middle(served: Glider) -> None:
    """What was sent is unknown, nothing else begins, and the next apply finds out: partly done, and no bug of ours."""
    served.misbehave({"kind": "slow_answer", "operation": "pause", "ms": NEVER_MS})
    process = served.start("apply", "--auto-approve", "--parallelism", "1")
    until(lambda: "aaa pause" in served.calls(), process)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, 3))
    served.release()
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 6, err
    assert "Apply: 0 done, 0 already done, 0 stale, 0 failed, 1 unknown, 3 not attempted." in out
    assert "internal error" not in err
    assert served.calls() == ["aaa pause"]
    assert [write.outcome for run in read_runs(served.journal) or () for write in run.writes] == [None]
    served.converges()
    assert served.calls("aaa") == ["aaa pause"]


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


WRITER = """
import signal
import sys
from pathlib import Path

from reconciler.apply.journal import open_journal
from reconciler.core.model import PortfolioId, RunState
from reconciler.core.intent import Call, Intent, WriteOutcome
from reconciler.core.model import Record

record = Record(state=RunState.PAUSED, interval_ms=1, offset_ms=0, schedule_id="s", confirmed_ms=1)
with open_journal(Path(sys.argv[1]), base_url="u", now_ms=lambda: 1) as journal:
    journal.open_run(fingerprint="f", tool="t")
    for number in range(int(sys.argv[2])):
        portfolio = PortfolioId(f"p{number:04}")
        write = journal.begin(Intent(address=portfolio, call=Call.PAUSE, token=f"{number:06x}"))
        journal.end(write, WriteOutcome.CONFIRMED, "detail " * 50)
        journal.confirm({portfolio: record})
        print(portfolio, flush=True)
    signal.pause()
"""
"""Writes to a journal as an apply does, and says what is committed."""


def writer(journal: Path, writes: int, **more: Any) -> Process:
    command = [sys.executable, "-c", WRITER, str(journal), str(writes)]
    return Process(command, cwd=journal.parents[1], env=environment(), **more)


def said(process: Process, lines: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(lines)]


def test_killed_between_two_writes(tmp_path: Path) -> None:
    """The one file, copied alone, holds all that was confirmed."""
    process = writer(tmp_path / "journal.db", 60)
    confirmed = said(process, 60)
    kill(process)
    copy = tmp_path / "elsewhere.db"
    shutil.copyfile(tmp_path / "journal.db", copy)
    (run,) = read_runs(copy) or ()
    assert [(write.portfolio, write.outcome) for write in run.writes] == [(one, "confirmed") for one in confirmed]
    found = read_memory(copy, base_url="u", now_ms=1)
    assert list(found.records) == list(found.since) == confirmed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "elsewhere.db",
        "journal.db",
        "journal.db-journal",
        "journal.db.lock",
    ]
    assert (tmp_path / "journal.db-journal").stat().st_size == 0


@pytest.mark.parametrize("lines", [1, 7, 30, 90])
def test_killed_while_it_writes(tmp_path: Path, lines: int) -> None:
    """The folder, copied as it was left, holds all that was confirmed, and at most the one write that was under way."""
    process = writer(tmp_path / "at work" / "journal.db", 10_000)
    said(process, lines)
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = process.stdout.read()  # not by communicate(), which misses what a readline() has read ahead
    process.communicate(timeout=PATIENCE_SECONDS)
    confirmed = lines + len(rest.split())
    shutil.copytree(tmp_path / "at work", tmp_path / "copy")
    with open_journal(tmp_path / "copy" / "journal.db", base_url="u", now_ms=lambda: 2) as journal:
        found, left = journal.memory(), journal.unsettled()
    assert list(found.records)[:confirmed] == [f"p{number:04}" for number in range(confirmed)]
    assert len(found.since) - confirmed in (0, 1)
    assert len(left) <= 1


@pytest.mark.parametrize(("made", "limit"), [(False, 40_000), (True, 22_000), (True, 30_000), (True, 40_000)])
def test_a_disk_that_fills_up(tmp_path: Path, limit: int, *, made: bool) -> None:
    """A write that can't be finished is undone by the next one to write; until then, reading says how it goes on."""
    journal = tmp_path / "journal.db"
    if made:
        open_journal(journal, base_url="u", now_ms=lambda: 1).__exit__()
    process = writer(journal, 1000, file_bytes=limit)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    confirmed = out.split()
    assert (process.returncode, len(confirmed) < 1000) == (1, True)
    assert f"the journal {journal} can't be used: disk I/O error" in err
    if journal.with_name("journal.db-journal").stat().st_size:
        with pytest.raises(JournalError, match="was cut off during a write"):
            read_runs(journal)
    with open_journal(journal, base_url="u", now_ms=lambda: 2) as opened:
        found = opened.memory()
    assert list(found.records) == confirmed
    assert len(found.since) - len(confirmed) in (0, 1)
    assert read_runs(journal) is not None
