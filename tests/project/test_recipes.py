"""Every command of docs/recipes.md is run, recipe by recipe, and its output is the one that the page shows.

`pytest --renew` writes the page anew from what the commands print.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.cli import journal as journal_commands
from reconciler.cli import sandbox as sandbox_commands
from reconciler.cli.main import run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "recipes.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
OFFLINE = ("explain", "history", "sandbox", "show", "validate")
WHO = {f"GIT_{who}_{what}": "desk@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
SECTIONS = [part for part in re.split(r"(?m)^(?=## )", PAGE.read_text(encoding="utf-8")) if BLOCK.search(part)]


SETTLED = {
    r"sandbox://[0-9a-f]{16}": "https://glider.example.com",  # as wide, so that columns stay
    r"\[glider-reconciler [0-9a-f]{6}\b": "[glider-reconciler 7f3a9c",
    r"\b20\d{6}-[0-9a-f]{6}\b": "20261123-7f3a9c",
    r"\d{4}-\d\d-\d\d \d\d:\d\d UTC": "2026-11-23 09:30 UTC",
    r"\b[0-9a-f]{64}\b": "5d3f0c21b7aa" + 52 * "0",
    r"\b[0-9a-f]{12}\b": "5d3f0c21b7aa",
    r"rebal_[0-9a-f]{16}": "rebal_91b7d71aa4d10943",
    r"process \d+ on \S+": "process 4242 on runner",
    r"Python 3\S+, \w+": "Python 3.12, Linux",
    r"\d+ ms": "1 ms",
}
"""What differs from run to run, and what stands on the page instead."""
HALT = "20261123-7f3a9c"


def settled(text: str) -> str:
    """Return an output without what differs from run to run."""
    for pattern, instead in SETTLED.items():
        text = re.sub(pattern, instead, text)
    return text


def prepared(folder: Path, capture: pytest.CaptureFixture[str]) -> None:
    """Make a copy of the fleet example in the working directory, committed to Git and applied once."""
    shutil.copytree(ROOT / "examples" / "fleet", folder, dirs_exist_ok=True)
    subprocess.run(["sh", "-c", "git init -q -b main && git add . && git commit -qm Begin"], cwd=folder, check=True)
    assert run(["sandbox", "load", "sandbox.yaml"]) == 0
    assert run(["apply", "--sandbox", "--auto-approve", "-q"]) == 0
    capture.readouterr()


def shown(line: str, capture: pytest.CaptureFixture[str]) -> str:
    """Run one line of a recipe and return what a person sees of it: its output, and its exit code unless that is 0."""
    words = shlex.split(line)
    if words[0] != "reconciler":
        # What git says holds hashes and depends on its version; the recipes show what the reconciler says.
        subprocess.run(["sh", "-c", line], check=True, capture_output=True)
        return ""
    words = [_made() if word == HALT else word for word in words]
    arguments = words[1:] if words[1] in OFFLINE or "--sandbox" in words else [*words[1:], "--sandbox"]
    code = run(arguments)
    out, err = capture.readouterr()
    ended = f"(exit code {code})\n" if code else ""
    return settled(out + err) + ended


def _made() -> str:
    """Return the id of the newest halt, which no page can know."""
    return max(Path("halts").glob("*.json"), key=lambda path: path.stat().st_mtime_ns).stem


def rerun(section: str, capture: pytest.CaptureFixture[str]) -> str:
    """Return the section with the outputs that its commands have now."""

    def block(found: re.Match[str]) -> str:
        lines = [line for line in found[1].splitlines() if line.startswith("$ ")]
        told = "".join(f"{line}\n{shown(line.removeprefix('$ '), capture)}" for line in lines)
        return f"```console\n{told}```"

    return BLOCK.sub(block, section)


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.splitlines()[0].removeprefix("## "))
def test_a_recipe_does_what_it_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pytestconfig: pytest.Config,
    skipped_waits: None,
    section: str,
) -> None:
    """Its commands print what the page shows. Which portfolios run together differs from day to day, so it is one."""
    ahead_ns = int(datetime(2026, 11, 29, 11, 40, tzinfo=UTC).timestamp()) * 1_000_000_000 - time.monotonic_ns()
    for module in (time, sandbox_commands, journal_commands):
        monkeypatch.setattr(module, "time_ns", lambda: ahead_ns + time.monotonic_ns())
    monkeypatch.chdir(tmp_path)
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    prepared(tmp_path, capsys)
    now = rerun(section, capsys)
    if pytestconfig.getoption("renew"):
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(page.replace(section, now), encoding="utf-8")
    else:
        assert now == section
