"""The first file: `init` writes it, and what it says to do next works to the letter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell
    from tests.golden import Golden


@pytest.fixture
def new(shell: Shell) -> Shell:
    """A folder in which nothing is yet."""
    (shell.folder / "automation.yaml").unlink()
    (shell.folder / ".reconciler/sandbox.db").unlink()
    return shell


@pytest.mark.parametrize("file", ["", " fleet/growth.yaml"])
def test_what_it_says_next_works(new: Shell, golden: Golden, file: str) -> None:
    """The file is valid, and each line that is told can be pasted: the plan is that of the example."""
    ended = new(f"init{file}")
    written = Path(file.strip() or "automation.yaml")
    assert (ended.code, ended.out) == (0, f"Wrote {written}.\n")
    golden("init", f"writes {written}", f"$ reconciler init{file}\n{ended.out}{ended.err}")
    golden("init", "the file", written.read_text("utf-8")) if not file else None
    assert new("validate" + (f" -f{file}" if file else "")).code == 0
    echo, load, plan = (line.strip() for line in ended.err.splitlines() if line.startswith("  "))
    seed, _, into = echo.partition(" > ")
    new.write(into, shlex.split(seed)[1])
    assert new(load.removeprefix("reconciler ")).code == 0
    planned = new(plan.removeprefix("reconciler "))
    assert (planned.code, "= pause  my-portfolio" in planned.out) == (0, True)


def test_its_comments_are_valid_too(new: Shell) -> None:
    """Whoever takes the marks away has a good file."""
    assert new("init").code == 0
    text = (new.folder / "automation.yaml").read_text("utf-8")
    new.write("automation.yaml", re.sub(r"^( *)# ( *[a-z_]+:)", r"\1\2", text, flags=re.MULTILINE))
    assert new("validate").code == 0
    assert "12h" in new("explain my-portfolio").out


@pytest.mark.parametrize("there", ["automation.yaml", "automation/"])
@pytest.mark.parametrize("line", ["init", "init automation.yaml", "init -o json"])
def test_nothing_is_overwritten(new: Shell, there: str, line: str) -> None:
    """Nor is a second file written beside a folder that every command reads."""
    if there.endswith("/"):
        (new.folder / there).mkdir()
        if line == "init automation.yaml":
            return  # whoever names it wants it
    else:
        new.write(there, "mine")
    ended = new(line)
    assert (ended.code, f"{there.strip('/')} is there already" in ended.err) == (1, True)
    assert not (new.folder / "automation.yaml").exists() or (new.folder / "automation.yaml").read_text() == "mine"
