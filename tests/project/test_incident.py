"""The incident: every command of the example is run, and its output is the one that the page shows.

`pytest --renew` writes the page anew from what the commands print.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.project import test_recipes as recipes
from tests.project.test_examples import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

PAGE = EXAMPLES / "incident" / "README.md"


@pytest.mark.slow
def test_from_the_halt_to_the_lift(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pytestconfig: pytest.Config,
    skipped_waits: None,
) -> None:
    """Its commands print what the page shows."""
    shutil.copytree(PAGE.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name, value in recipes.WHO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("USER", raising=False)
    subprocess.run(["git", "init", "-q", "-b", "main"], check=True)
    page = PAGE.read_text(encoding="utf-8")
    now = recipes.rerun(page, capsys)
    if pytestconfig.getoption("renew"):
        PAGE.write_text(now, encoding="utf-8")
    else:
        assert now == page
