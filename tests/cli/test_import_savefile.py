"""Files of an import appear whole, take nobody's place, and are never written over somebody's edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.cli.savefile import replace_file, save_new
from reconciler.core.errors import ReconcilerError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_file_takes_nobodys_place(tmp_path: Path) -> None:
    """Where a file is, it stays, also one that came in the meantime; nothing else is left behind."""
    target = tmp_path / "a.yaml"
    save_new(str(target), "one\r\n", what="import")
    with pytest.raises(ReconcilerError, match="not overwritten"):
        save_new(str(target), "two", what="import")
    assert target.read_bytes() == b"one\r\n"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(ReconcilerError, match="can't save the import"):
        save_new(str(target / "a.yaml"), "x", what="import")
    save_new(str(tmp_path / "new" / "folder" / "a.yaml"), "x", what="import")
    assert (tmp_path / "new" / "folder" / "a.yaml").read_text(encoding="utf-8") == "x"


def test_an_edit_in_the_meantime_is_kept(tmp_path: Path) -> None:
    """A file that no longer holds what was read is left as it is."""
    target = tmp_path / "a.yaml"
    target.write_bytes(b"theirs")
    with pytest.raises(ReconcilerError, match="changed in the meantime"):
        replace_file(str(target), b"ours", b"new", what="import")
    assert target.read_bytes() == b"theirs"
    replace_file(str(target), b"theirs", b"new", what="import")
    assert target.read_bytes() == b"new"
    target.unlink()
    with pytest.raises(ReconcilerError, match="can't save the import"):
        replace_file(str(target), b"new", b"x", what="import")
    assert list(tmp_path.iterdir()) == []
