"""The README shows the first plan as it is really printed, and the exit codes as they really are."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli import sandbox as sandbox_commands
from reconciler.cli.main import run
from reconciler.core.errors import ExitReason

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settled(text: str) -> str:
    """Return a plan without what differs from run to run: the sandbox's name, times of day and tokens."""
    text = re.sub(r"sandbox://[0-9a-f]+", "sandbox://…", text)
    text = re.sub(r"\[glider-reconciler [0-9a-f]{6}\]", "[glider-reconciler 7f3a9c]", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "2026-11-23 09:30 UTC", text)


def test_the_first_plan_is_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan in the README is what the quickstart prints. At a few minutes of a day other portfolios run together."""
    ahead_ns = int(datetime(2026, 11, 23, 9, 20, tzinfo=UTC).timestamp()) * 1_000_000_000 - time.monotonic_ns()
    for module in (time, sandbox_commands):
        monkeypatch.setattr(module, "time_ns", lambda: ahead_ns + time.monotonic_ns())
    monkeypatch.chdir(ROOT)
    sandbox, journal = tmp_path / "sandbox.db", tmp_path / "journal.db"
    assert run(["sandbox", "load", "examples/quickstart/sandbox.yaml", "--sandbox", str(sandbox)]) == 0
    capsys.readouterr()
    files = ["-f", "examples/quickstart/automation.yaml"]
    assert run(["plan", *files, "--sandbox", str(sandbox), "--journal", str(journal)]) == 0
    shown = re.search(r"kept true by a test -->\n```text\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert settled(shown[1]) == settled(capsys.readouterr().out)


def test_exit_codes_are_all_listed() -> None:
    """The table of exit codes has every code and every word, and no other."""
    rows = re.findall(r"^\| ([\d, ]+) \| ((?:`\w+`(?:, )?)+) \|", README, re.MULTILINE)
    listed = {
        (int(code), word)
        for codes, words in rows
        for code, word in zip(codes.split(", "), re.findall(r"`(\w+)`", words), strict=True)
    }
    assert listed == {(reason.code, reason.word) for reason in ExitReason}
