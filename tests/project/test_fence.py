"""No test writes to a device, or outside a temporary folder: what would do so is stopped before it is done."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HERE = str(ROOT / "never")


@pytest.mark.parametrize(
    "event",
    [
        ("open", HERE, "w", os.O_WRONLY | os.O_CREAT),
        ("open", HERE.encode(), None, os.O_RDWR),
        ("open", "never", "a", os.O_WRONLY),
        ("open", "/dev/sda", "r+", os.O_RDWR),
        ("os.rename", "plan.json", "/dev/null", -1, -1),
        ("os.rename", "/dev/null", "plan.json", -1, -1),
        ("os.remove", "/dev/full", -1),
        ("os.symlink", "plan.json", HERE, -1),
        ("shutil.rmtree", str(ROOT), None),
        ("sqlite3.connect", f"file:{HERE}?mode=rwc"),
    ],
    ids=lambda event: " ".join(map(str, event[:2])),
)
def test_a_write_to_a_foreign_path_fails_the_test(event: tuple[object, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done here but what the interpreter does before it: it says what it is about to do."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(pytest.fail.Exception, match="not in a temporary folder"):
        sys.audit(*event)  # type: ignore[arg-type]  # the name comes first


def test_a_write_to_a_folder_of_its_own_does_not(tmp_path: Path) -> None:
    """A test may do everything there, and may read and feed what takes everything."""
    (tmp_path / "a").write_text("x", encoding="utf-8")
    (tmp_path / "a").rename(tmp_path / "b")
    Path(os.devnull).write_text("x", encoding="utf-8")
    assert (ROOT / "README.md").read_bytes()


@pytest.mark.parametrize(
    "event", [("os.mkdir", "/lib/__pycache__", 0o777, -1), ("open", "/lib/__pycache__/a.pyc", "w", 0)]
)
def test_what_python_compiles_may_be_kept_beside_its_source(event: tuple[object, ...]) -> None:
    """So an environment may lie anywhere, whose packages are compiled when a test imports them first."""
    sys.audit(*event)  # type: ignore[arg-type]  # the name comes first
