"""Files that are written and read by name: nothing but a file is replaced, and nothing but a file is read."""

from __future__ import annotations

import os
import sqlite3
import stat
from errno import EACCES
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journal import open_journal
from reconciler.cli.savefile import replace_file, save, save_new
from reconciler.config.files import read_file
from reconciler.core.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Shell

ANY = b""
"""How a file begins that may be replaced whatever it holds."""


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make a device")


def link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("theirs")
    path.symlink_to("elsewhere")


KINDS = {
    "fifo": (os.mkfifo, "it is a device, a FIFO or a socket"),
    "device": (device, "it is a device, a FIFO or a socket"),
    "folder": (os.mkdir, "it is a folder"),
    "link": (link, "it is a link, which is not followed"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "it is a link, which is not followed"),
}


def picture(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return everything in a folder: its kind and permissions, and its content or where it leads."""

    def content(path: Path) -> bytes:
        if path.is_symlink():
            return os.fsencode(path.readlink())
        return path.read_bytes() if path.is_file() else b""

    return {path.name: (path.lstat().st_mode, content(path)) for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_file_is_replaced(tmp_path: Path, kind: str) -> None:
    """Whatever else has the name stays as it is, nothing is left beside it, and the sentence says what it is."""
    make, said = KINDS[kind]
    target = tmp_path / "plan.json"
    make(target)
    before = picture(tmp_path)
    with pytest.raises(ReconcilerError, match=f"can't save the plan to .*: {said}"):
        save(str(target), "x", what="plan", begins=ANY)
    with pytest.raises(ReconcilerError, match="is there already, and is not overwritten"):
        save_new(str(target), "x", what="plan")
    assert picture(tmp_path) == before


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_only_a_file_is_added_to(tmp_path: Path, kind: str) -> None:
    """Nor is it read, which would wait for ever."""
    make, said = KINDS[kind]
    make(tmp_path / "a.yaml")
    before = picture(tmp_path)
    with pytest.raises(ReconcilerError, match=said):
        replace_file(str(tmp_path / "a.yaml"), b"", b"x", what="import")
    assert picture(tmp_path) == before


def test_a_link_that_is_added_to_stays_one(tmp_path: Path) -> None:
    """What it leads to is replaced, in its own folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.yaml").write_bytes(b"before")
    (tmp_path / "a.yaml").symlink_to("real/a.yaml")
    replace_file(str(tmp_path / "a.yaml"), b"before", b"after", what="import")
    assert (tmp_path / "a.yaml").is_symlink()
    assert (tmp_path / "real" / "a.yaml").read_bytes() == b"after"
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["a.yaml"]


@pytest.mark.parametrize("write", [partial(save, begins=ANY), save_new])
def test_a_planted_draft_is_not_followed(tmp_path: Path, write: Callable[..., None]) -> None:
    """A checkout may hold a link by the name that a draft could be expected to have."""
    (tmp_path / "precious").write_text("theirs")
    for name in ("plan.json.tmp", f"plan.json.{os.getpid()}.tmp"):
        (tmp_path / name).symlink_to("precious")
    before = picture(tmp_path)
    write(str(tmp_path / "plan.json"), "ours", what="plan")
    assert (tmp_path / "precious").read_text() == "theirs"
    assert {**before, "plan.json": picture(tmp_path)["plan.json"]} == picture(tmp_path)


def test_permissions_stay(tmp_path: Path) -> None:
    """A file that only its owner may read is no other one afterwards; a new one has what the umask leaves."""
    target = tmp_path / "plan.json"
    umask = os.umask(0o027)
    try:
        save(str(target), "one", what="plan", begins=b"one")
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        target.chmod(0o600)
        save(str(target), "two", what="plan", begins=b"one")
        replace_file(str(target), b"two", b"three", what="plan")
    finally:
        os.umask(umask)
    assert (stat.S_IMODE(target.stat().st_mode), target.read_text()) == (0o600, "three")


@pytest.mark.parametrize("line", ["plan --sandbox --out", "status --sandbox --no-results --out", "journal export"])
@pytest.mark.parametrize("name", ["automation.yaml", "notes.md", "package.json", ".reconciler/sandbox.db"])
def test_what_is_something_else_is_not_replaced(shell: Shell, line: str, name: str) -> None:
    """A slip in `--out` costs nobody the files of the fleet; one that is of the same sort is made anew."""
    shell.write("notes.md", "# Notes\n")
    shell.write("package.json", '{"name": "x", "format_version": 1}')
    open_journal(shell.folder / ".reconciler/journal.db", base_url="x", now_ms=int).__exit__()
    before = (shell.folder / name).read_bytes()
    ended = shell(f"{line} {name}")
    assert ended.code == 1
    assert f"to {name}: what is there is something else, and is not overwritten" in ended.err
    assert ended.out == ""
    assert (shell.folder / name).read_bytes() == before
    for made in ("plan.json", "plan.json", "empty.json"):
        shell.write("empty.json", "")
        assert shell(f"{line} {made}").code == 0
        assert (shell.folder / made).read_bytes().startswith(b"{")


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    """The draft's name is not longer than the target's may be."""
    target = tmp_path / ("x" * 255)
    save(str(target), "one", what="plan", begins=ANY)
    assert target.read_text() == "one"


@pytest.mark.parametrize("text", ["\ud800", "x"])
@pytest.mark.parametrize("path", ["a\x00b", "", "missing/plan.json", "\ud800"])
def test_a_name_or_a_text_that_can_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str
) -> None:
    """It is our error, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReconcilerError, match="can't save the plan"):
        save(path, text, what="plan", begins=ANY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_only_a_file_is_read(tmp_path: Path, kind: str) -> None:
    """Nobody waits for the other side of a FIFO."""
    KINDS[kind][0](tmp_path / "x")
    with pytest.raises(OSError, match=r"device|directory") as caught:
        read_file(tmp_path / "x", most=10)
    assert caught.value.strerror


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    """Also through a link: a team may share a file."""
    (tmp_path / "a").write_bytes(b"0123456789")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "b", most=4) == b"0123"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("validate -f {}", 3),
        ("plan --sandbox -f {}", 3),
        ("plan --live {}", 3),
        ("status --sandbox -f {}", 3),
        ("show {}", 3),
        ("journal import {} --sandbox", 3),
        ("plan --sandbox --resume-held @{}", 1),
        ("show --against {} {}", 3),
        ("apply {} --sandbox", 3),
        ("apply --sandbox --approved {}", 3),
        ("sandbox load {}", 1),
        ("sandbox load seed.yaml --sandbox {}", 1),
        ("sandbox reset --sandbox {}", 1),
        ("plan --sandbox={}", 1),
        ("import --sandbox --ids-from {}", 1),
        ("import --sandbox aaa --into {}", 64),
        ("import --sandbox aaa --out {}", 1),
        ("plan --sandbox --out {}", 1),
        ("status --sandbox --out {}", 1),
    ],
)
def test_a_fifo_is_neither_read_nor_written(shell: Shell, line: str, code: int) -> None:
    """Every option that names a file refuses it with a sentence; it stays, and nobody hangs."""
    os.mkfifo(shell.folder / "fifo.yaml")
    ended = shell(line.format("fifo.yaml", "fifo.yaml"))
    assert (ended.code, "internal error" in ended.err) == (code, False), ended.err
    assert "fifo.yaml" in ended.err
    assert (shell.folder / "fifo.yaml").is_fifo()
    assert not list(shell.folder.glob("*.tmp"))
    assert not list(shell.folder.glob(".reconciler-*"))


def test_a_fifo_among_the_files_of_a_directory(shell: Shell) -> None:
    """It is a problem of its own place, beside those of the files."""
    (shell.folder / "automation").mkdir()
    os.mkfifo(shell.folder / "automation" / "a.yaml")
    ended = shell("validate -f automation")
    assert ended.code == 3
    assert "automation/a.yaml can't be read: it is a device, a FIFO or a socket, not a file" in ended.err


def test_a_saved_file_of_another_kind(shell: Shell) -> None:
    """It is not taken for one of another version, which could be made again."""
    shell("plan --sandbox --out plan.json")
    shell("status --sandbox --out live.json")
    for line, said in (
        ("show live.json", "the file is not a saved plan"),
        ("plan --live plan.json", "the file is not a live file"),
        ("journal import plan.json --sandbox", "the file is not an export of a journal"),
        ("validate -f plan.json", "plan.json:2:3: this is a saved plan, not a file of portfolios"),
    ):
        ended = shell(line)
        assert (ended.code, said in ended.err) == (3, True), ended.err


def test_a_sandbox_is_not_made_through_a_link(shell: Shell) -> None:
    """A checkout may hold a link where the sandbox is by default."""
    (shell.folder / ".reconciler" / "sandbox.db").unlink()
    (shell.folder / ".reconciler" / "sandbox.db").symlink_to(shell.folder / "elsewhere")
    ended = shell("sandbox load seed.yaml")
    assert (ended.code, "is a link" in ended.err) == (1, True)
    assert not (shell.folder / "elsewhere").exists()


@pytest.mark.parametrize("line", ["sandbox load \x00", "sandbox load seed.yaml --sandbox \x00", "sandbox load \ud800"])
def test_a_seed_or_sandbox_of_no_possible_name(shell: Shell, line: str) -> None:
    """It is refused as any other one that is not there."""
    ended = shell(line)
    assert (ended.code, "internal error" in ended.err) == (1, False), ended.err


@pytest.mark.parametrize(("line", "what"), [("plan", "plan"), ("status", "live file")], ids=["plan", "status"])
@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("missing/x.json", "there is no folder missing; make it first"),
        ("automation.yaml/x.json", "Not a directory"),
        ("fifo", "it is a device, a FIFO or a socket"),
        ("link", "it is a link, which is not followed"),
    ],
)
def test_where_it_can_not_be_saved_is_said_before_anything_is_read(
    shell: Shell, line: str, what: str, out: str, said: str
) -> None:
    """A fleet of thousands is not read for a file that can't be made: not even the configuration is."""
    os.mkfifo(shell.folder / "fifo")
    (shell.folder / "link").symlink_to("elsewhere")
    shell.write("automation.yaml", "version: 1\nportfolios: {aaa: {state: nonsense}}\n")
    ended = shell(f"{line} --sandbox --out {out}")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"error: can't save the {what} to {out}: {said}"), ended.err
    assert "nonsense" not in ended.err


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("automation.yaml", "automation.yaml is there already, and is not overwritten"),
        ("automation.yaml/new/x.yaml", "can't save the import to automation.yaml/new/x.yaml: Not a directory"),
    ],
)
def test_where_an_import_can_not_be_saved(shell: Shell, out: str, said: str) -> None:
    """It is said before a service is asked, even one that is not there."""
    ended = shell(f"import zzz --base-url http://127.0.0.1:9 --out {out}")
    assert (ended.code, ended.err.splitlines()[0]) == (1, f"error: {said}")


def test_what_could_not_be_read_back_is_not_saved(tmp_path: Path) -> None:
    """Who saves and who reads have the same bound."""
    save(str(tmp_path / "fits"), "x" * 1024 * 1024, what="plan", begins=ANY, largest=1024 * 1024)
    with pytest.raises(ReconcilerError, match="the plan is larger than the 1 MiB that can be read"):
        save(str(tmp_path / "x"), "é" * 600 * 1024, what="plan", begins=ANY, largest=1024 * 1024)
    assert [path.name for path in tmp_path.iterdir()] == ["fits"]


@pytest.mark.parametrize("name", ["automation/A.YAML", "automation/sub/b.Yml", "automation.yml"])
def test_files_by_another_spelling_of_their_ending(shell: Shell, name: str) -> None:
    """Some editors and systems write capitals, or the short ending; the file is found all the same."""
    text = (shell.folder / "automation.yaml").read_text()
    (shell.folder / "automation.yaml").unlink()
    (shell.folder / name).parent.mkdir(parents=True, exist_ok=True)
    shell.write(name, text)
    ended = shell("validate")
    assert (ended.code, ended.out[:6]) == (0, "Valid:"), ended.err


def test_both_spellings_of_the_one_file(shell: Shell) -> None:
    """Neither is passed over."""
    shell.write("automation.yml", (shell.folder / "automation.yaml").read_text())
    ended = shell("validate")
    assert (ended.code, "second time" in ended.err) == (3, True), ended.err


def test_a_seed_beside_the_files_is_one_problem(shell: Shell) -> None:
    """Its portfolios are not declared a second time, and the other files are read as ever."""
    ended = shell("validate -f automation.yaml -f seed.yaml")
    assert ended.code == 3
    assert "seed.yaml:3:1: this is a seed of the embedded Glider, not a file of portfolios" in ended.err
    assert "the configuration has 1 problem" in ended.err


def test_what_this_user_may_not_use_is_no_bug(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system says of a path that somebody gave is said with the path, and what to do about it."""

    def refused(*_: object, **__: object) -> object:
        raise PermissionError(EACCES, os.strerror(EACCES), "secret/sandbox.db")

    monkeypatch.setattr("sqlite3.connect", refused)
    ended = shell("plan --sandbox")
    assert ended.code == 1
    assert ended.err.startswith("error: can't use secret/sandbox.db: Permission denied\n  Check the path, and that you")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_entered(shell: Shell) -> None:
    """It is one problem, and not that nothing is in there."""
    (shell.folder / "secret").mkdir(mode=0)
    for source in ("secret", "secret/a.yaml"):
        ended = shell(f"validate -f {source}")
        assert (ended.code, ended.err.count("Permission denied"), "no file" in ended.err) == (3, 1, False)
        assert "holds no" not in ended.err


@pytest.mark.parametrize("name", ["x" * 300, "loop", "loop/a.yaml"])
def test_a_path_that_can_not_be_looked_at(shell: Shell, name: str) -> None:
    """The system's own words are shown: the path is not one that just matches nothing."""
    (shell.folder / "loop").symlink_to("loop")
    ended = shell(f"validate -f {name}")
    assert (ended.code, "can't be read: " in ended.err, "matches no file" in ended.err) == (3, True, False)


def test_a_sandbox_that_may_not_be_written(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one is no help there."""

    def read_only(path: Path, **how: Any) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", uri=True, **how)

    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", read_only)
    ended = shell("sandbox advance 1h")
    assert ended.code == 1
    assert "Check that you may read and write it and its folder, or name another with `--sandbox FILE`." in ended.err
