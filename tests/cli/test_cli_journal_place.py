"""Where the journal lies: Git leaves it alone, the other one is named, and whoever only reads needs no permission."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journal import open_journal
from reconciler.cli.journalplace import is_tracked, make_folder
from tests.config.hostilegit import TRANSPORTS, make_hostile
from tests.postgres import execute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Shell
    from tests.postgres import Server

JOURNAL = ".reconciler/journal.db"
OPENED: list[list[str]] = []
"""The audit hook's lists; an interpreter keeps a hook for ever, so there is one, and it fills what stands here."""


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "sqlite3.connect" and OPENED:
        OPENED[-1].append(os.fsdecode(arguments[0]))  # type: ignore[arg-type]


sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[list[str]]:
    """Yield what SQLite is told to open meanwhile."""
    OPENED.append([])
    try:
        yield OPENED[-1]
    finally:
        OPENED.pop()


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    return subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize("line", ["sandbox load seed.yaml", "apply --sandbox box.db --auto-approve"])
def test_its_folder_ignores_itself(shell: Shell, line: str) -> None:
    """Whoever makes the folder, Git sees nothing of it."""
    shutil.move(shell.folder / ".reconciler/sandbox.db", shell.folder / "box.db")
    shutil.rmtree(shell.folder / ".reconciler")
    git(shell.folder, "init", "--quiet")
    assert shell(line).code == 0
    assert (shell.folder / ".reconciler/.gitignore").read_text(encoding="utf-8") == "*\n"
    assert ".reconciler" not in git(shell.folder, "status", "--short", "--untracked-files=all")


def test_which_folders_ignore_themselves(tmp_path: Path) -> None:
    """One that is made, and ours; not one of somebody else's, and nothing is written over or through a link."""
    make_folder(tmp_path / "made/journal.db")
    assert (tmp_path / "made/.gitignore").exists()
    (tmp_path / "theirs").mkdir()
    make_folder(tmp_path / "theirs/journal.db")
    assert not (tmp_path / "theirs/.gitignore").exists()
    (tmp_path / ".reconciler").mkdir()
    make_folder(tmp_path / ".reconciler/journal.db")
    (tmp_path / ".reconciler/.gitignore").write_text("mine\n", encoding="utf-8")
    make_folder(tmp_path / ".reconciler/journal.db")
    assert (tmp_path / ".reconciler/.gitignore").read_text(encoding="utf-8") == "mine\n"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/.reconciler").symlink_to(tmp_path / "theirs", target_is_directory=True)
    make_folder(tmp_path / "sub/.reconciler/journal.db")
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("forced", [JOURNAL, "linked.db"])
def test_a_journal_that_git_tracks(shell: Shell, forced: str) -> None:
    """It is refused for writes, before anything is sent; a plan reads it, and says so."""
    assert shell("apply --sandbox --auto-approve").code == 0
    if forced != JOURNAL:
        (shell.folder / forced).symlink_to(JOURNAL)
    git(shell.folder, "init", "--quiet")
    line = f"--sandbox --journal {forced}"
    assert "Git tracks" not in shell(f"plan {line}").err
    git(shell.folder, "add", "--force", forced)
    for command in ("apply --auto-approve", "rebalance bbb --auto-approve"):
        ended = shell(f"{command} {line}")
        assert (ended.code, f"Git tracks the journal {forced}" in ended.err) == (1, True)
        assert "git rm --cached" in ended.err
    planned = shell(f"plan {line}")
    assert planned.code == 0
    assert f"warning: Git tracks the journal {forced}" in planned.err
    git(shell.folder, "rm", "--cached", "--quiet", forced)
    assert shell(f"apply --auto-approve {line}").code == 0


@pytest.mark.slow
def test_where_git_can_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a checkout, without Git and without the folder nothing is tracked, and nothing fails."""
    assert not is_tracked(tmp_path / JOURNAL)
    git(tmp_path, "init", "--quiet")
    assert not is_tracked(tmp_path / JOURNAL)
    (tmp_path / "journal.db").touch()
    git(tmp_path, "add", "journal.db")
    assert is_tracked(tmp_path / "journal.db")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_tracked(tmp_path / "journal.db")


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
def test_asking_git_starts_nothing_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """A repository inside of the checkout, whose configuration names programs, is asked without starting any."""
    canary = tmp_path / "canary"
    monkeypatch.setenv("HOME", str(tmp_path))
    make_hostile(tmp_path / "docs", canary=canary, url=transport)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/.git").write_text(f"gitdir: {tmp_path}/docs\n", encoding="utf-8")
    work = tmp_path / "docs-work"
    (work / ".git").write_text(f"gitdir: {tmp_path}/docs\n", encoding="utf-8")
    for place in (tmp_path / "docs", tmp_path / "linked", work):
        is_tracked(place / "automation.yaml")
    assert is_tracked(work / "automation.yaml")
    assert not canary.exists(), canary.read_text(encoding="utf-8")


def test_two_journals(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in the folder of the files and one above it have two journals; the second one to be used says so."""
    europe = shell.folder / "eu"
    (europe / "automation").mkdir(parents=True)
    (shell.folder / "automation.yaml").rename(europe / "automation/a.yaml")
    box = shell.folder / ".reconciler/sandbox.db"
    assert "journal" not in shell(f"plan -f eu --sandbox {box}").err
    monkeypatch.chdir(europe)
    assert shell(f"apply --auto-approve --sandbox {box}").err.count("warning: there is a journal") == 0
    assert "beside the files" not in shell(f"plan --sandbox {box}").err
    monkeypatch.chdir(shell.folder)
    said = "warning: there is a journal beside the files, eu/.reconciler/journal.db, but this command uses "
    for command in ("plan", "drift", "status", "apply --auto-approve"):
        ended = shell(f"{command} -f eu --sandbox {box}")
        assert f"{said}.reconciler/journal.db, which does not exist yet; " in ended.err
        assert ended.err.count("beside the files") == 1
    assert f"{said}.reconciler/journal.db; " in shell(f"plan -f eu --sandbox {box}").err
    for journal in (JOURNAL, "eu/.reconciler/journal.db"):
        assert "beside the files" not in shell(f"plan -f eu --sandbox {box} --journal {journal}").err
    (shell.folder / "us").mkdir()
    monkeypatch.chdir(shell.folder / "us")
    assert "beside the files, ../eu/.reconciler/journal.db" in shell(f"plan -f ../eu --sandbox {box}").err


@pytest.mark.parametrize("line", ["plan", "drift", "status", "status --out live.json", "explain aaa", "history"])
def test_whoever_reads_opens_it_once(shell: Shell, line: str) -> None:
    """One look at the journal: what a second one would find may be another state."""
    assert shell("apply --sandbox --auto-approve").code == 0
    with opened() as places:
        shell(line if line == "history" else f"{line} --sandbox")
    assert len([place for place in places if place.partition("?")[0].endswith("journal.db")]) <= 1
    assert "explain" in line or [place for place in places if "journal.db" in place]
    assert all(place.endswith("?mode=ro") for place in places if "journal.db" in place)


def test_whoever_reads_needs_no_permission_to_write(shell: Shell) -> None:
    """A journal in a folder that is somebody else's is read, and nothing is made in it."""
    assert shell("apply --sandbox --auto-approve").code == 0
    sealed = shell.folder / "sealed"
    sealed.mkdir()
    shutil.copy(shell.folder / JOURNAL, sealed / "journal.db")
    (sealed / "journal.db").chmod(0o444)
    sealed.chmod(0o555)
    try:
        for line in ("plan", "drift", "status", "history"):
            where = "" if line == "history" else " --sandbox"
            expected = 2 if line == "drift" else 0
            ended = shell(f"{line}{where} --journal {sealed}/journal.db")
            assert (ended.code, "can't be used" in ended.err) in ((expected, False), (0, False))
        assert [path.name for path in sealed.iterdir()] == ["journal.db"]
    finally:
        sealed.chmod(0o755)


PASSWORD = "sesame-0451"
COMMANDS = (
    "plan --sandbox",
    "apply --sandbox --auto-approve",
    "apply plan.json --sandbox",
    "status --sandbox",
    "drift --sandbox",
    "history",
    "doctor --sandbox",
    "journal import journal.json",
    "rebalance aaa --sandbox",
)


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_url_with_a_password(shell: Shell, command: str, output: str) -> None:
    """Every command refuses it before anything is opened, and repeats no part of it."""
    ended = shell(f"{command} --journal postgresql://u:{PASSWORD}@127.0.0.1:9/d -o {output} -v")
    assert ended.code == 64
    assert "the URL of the journal holds a password" in ended.out + ended.err
    assert PASSWORD not in ended.out + ended.err


def test_an_export_to_a_url_with_a_password(shell: Shell) -> None:
    """The same for the one command that prints no document."""
    ended = shell(f"journal export --journal postgresql://u:{PASSWORD}@127.0.0.1:9/d")
    assert (ended.code, ended.out) == (64, "")
    assert PASSWORD not in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["plan --sandbox", "apply --sandbox --auto-approve", "history"])
def test_a_password_that_is_wrong(shell: Shell, server: Server, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's refusal is told, and neither password: not in the output, and not in a traceback."""
    place, user = server.user("right-7712")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    ended = shell(f"{command} --journal {place} -v")
    assert ended.code == 1
    assert f'password authentication failed for user "{user}"' in ended.err
    assert PASSWORD not in ended.out + ended.err


@pytest.mark.slow
def test_another_apply_on_another_machine(shell: Shell, server: Server) -> None:
    """Who comes second writes nothing and says who is at work; who only reads need not wait."""
    place = server.database()
    with open_journal(place, base_url="https://elsewhere", now_ms=lambda: 0, process="process 7 on runner-7"):
        refused = shell(f"apply --sandbox --auto-approve --lock-timeout 0s --journal {place}")
        assert refused.code == 1
        assert f"another apply is at work with the journal {place}: process 7 on runner-7" in refused.err
        assert shell(f"plan --sandbox --journal {place}").code == 0
    assert shell(f"apply --sandbox --auto-approve --lock-timeout 0s --journal {place}").code == 0


@pytest.mark.slow
def test_a_journal_on_a_server(shell: Shell, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the place of the file everywhere; the password is in no output, file or journal."""
    place, _ = server.user(PASSWORD)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    at = f"--journal {place}"
    said = []
    for command, code in [
        ("doctor --sandbox", 0),
        ("plan --sandbox --out plan.json -v", 0),
        ("apply plan.json --sandbox -v", 0),
        ("plan --sandbox --detailed-exitcode", 0),
        ("status --sandbox", 0),
        ("history --run 1", 0),
        ("history -o json", 0),
        ("doctor --sandbox -o json", 0),
        ("journal export --sandbox .reconciler/sandbox.db kept.json", 0),
        ("journal import --sandbox .reconciler/sandbox.db kept.json", 0),
        ("drift --sandbox", 2),
    ]:
        ended = shell(f"{command} {at}")
        assert ended.code == code, (command, ended)
        said.append(ended.out + ended.err)
    assert "1 run" in shell(f"history {at}").out
    assert not (shell.folder / ".reconciler/journal.db").exists()
    said += [path.read_text("utf-8") for path in shell.folder.glob("*.json")]
    said += [str(execute(place, f"SELECT * FROM {table}")) for table in ("runs", "writes", "confirmed", "results")]
    assert PASSWORD not in "\n".join(said)
