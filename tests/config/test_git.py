"""git in a checkout that somebody else wrote: it starts nothing, is told no secret, and has an end."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.files import load_base
from reconciler.cli.options import FileOptions
from reconciler.config.git import INHERITED, SHORT, Git
from reconciler.config.revision import load_revision
from reconciler.core.errors import ReconcilerError
from tests.config.hostilegit import FILES, TRANSPORTS, make_hostile

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

TODAY = dt.date(2026, 11, 22)
KEY = "gldr_sk_canary_4f1d7c"
TOKEN = "ghs_canary_91b2"
SECRETS = {
    "GLIDER_API_KEY": KEY,
    "GITHUB_TOKEN": TOKEN,
    "ACTIONS_RUNTIME_TOKEN": TOKEN,
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "http.extraheader",
    "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: {TOKEN}",
    "GIT_CONFIG_PARAMETERS": f"'http.extraheader={TOKEN}'",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A good repository with ``main``, one commit and an empty home beside it."""
    (tmp_path / "home").mkdir()
    top = tmp_path / "checkout"
    top.mkdir()
    (top / "automation.yaml").write_text(FILES, encoding="utf-8")
    for line in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=x"],
    ):
        subprocess.run(["git", *line], cwd=top, check=True)
    return top


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {**os.environ, **SECRETS, "HOME": str(tmp_path / "home"), **more}


PLACES = ("docs", "docs/objects", "docs/refs/heads", "linked", "linked/deep")
"""Inside of the embedded repository, and below a ``.git`` file that leads to it."""


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
@pytest.mark.parametrize("revision", ["main", "lacking", "1" * 40])
def test_nothing_of_the_checkout_is_started(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, revision: str, transport: str
) -> None:
    """Whatever an embedded repository names as a program stays where it is, wherever in it the command runs."""
    canary = checkout.parent / "canary"
    make_hostile(checkout / "docs", canary=canary, url=transport)
    (checkout / "linked/deep").mkdir(parents=True)
    (checkout / "linked/.git").write_text(f"gitdir: {checkout}/docs\n", encoding="utf-8")
    for name, value in environment(checkout.parent).items():
        monkeypatch.setenv(name, value)
    for place in PLACES:
        monkeypatch.chdir(checkout / place)
        try:
            load_base(FileOptions(), revision)
        except ReconcilerError as refused:
            assert KEY not in f"{refused} {refused.detail}"  # noqa: PT017 - whether it fails is not the question here
        assert not canary.exists(), f"{place}: {canary.read_text(encoding='utf-8')}"


def test_an_embedded_repository_is_not_the_base(checkout: Path) -> None:
    """Inside of it git says why it stops; beside it the real repository is read."""
    make_hostile(checkout / "docs", canary=checkout.parent / "canary", url=TRANSPORTS["ext"])
    given = environment(checkout.parent)
    with pytest.raises(ReconcilerError, match="the base needs a Git repository") as refused:
        load_revision([], revision="main", today=TODAY, cwd=checkout / "docs", environment=given)
    assert "safe.bareRepository" in refused.value.detail
    base = load_revision([], revision="main", today=TODAY, cwd=checkout, environment=given)
    assert list(base.desired) == ["aaa"]


def fake_git(tmp_path: Path, script: str) -> str:
    """Put a script called ``git`` before the real one; return a PATH for it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "git").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_what_git_is_told(checkout: Path) -> None:
    """Every call gets the listed variables and settings, and no key or token in them or in its arguments."""
    tmp = checkout.parent
    script = f"""{{ echo "call $*"; env; }} >> '{tmp}/calls'\nPATH='{os.environ["PATH"]}' exec git "$@\""""
    given = environment(tmp, PATH=fake_git(tmp, script), GIT_TRACE=f"{tmp}/trace", GIT_SSH_COMMAND="ssh -i key")
    load_revision([], revision="main", today=TODAY, cwd=checkout, environment=given)
    told = (tmp / "calls").read_text(encoding="utf-8")
    calls = [line for line in told.splitlines() if line.startswith("call ")]
    assert len(calls) >= 4
    assert all("-c safe.bareRepository=explicit" in call and "-c core.fsmonitor=false" in call for call in calls)
    assert KEY not in told
    assert TOKEN not in told
    names = {line.partition("=")[0] for line in told.splitlines() if not line.startswith("call ")}
    set_here = {"GIT_ALLOW_PROTOCOL", "GIT_NO_LAZY_FETCH", "GIT_NO_REPLACE_OBJECTS", "GIT_LITERAL_PATHSPECS"}
    set_here |= {"GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT", "GIT_ATTR_NOSYSTEM", "GIT_PAGER", "LC_ALL"}
    assert names <= {*INHERITED, *set_here, "PWD", "SHLVL", "_", "OLDPWD"}  # the last four are the shell's own
    assert not (tmp / "trace").exists()


@pytest.mark.parametrize("where", ["home/.gitconfig", "home/xdg/git/config", "elsewhere"])
def test_a_safe_directory_counts(checkout: Path, where: str) -> None:
    """A checkout of another user is read where the user's own settings call it safe, and else refused."""
    tmp = checkout.parent
    other = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    script = f"GIT_TEST_ASSUME_DIFFERENT_OWNER=1 PATH='{os.environ['PATH']}' exec git \"$@\""
    more = {"XDG_CONFIG_HOME": str(tmp / "home/xdg"), "PATH": fake_git(tmp, script)}
    more |= {"GIT_CONFIG_GLOBAL": str(tmp / "elsewhere")} if where == "elsewhere" else {}
    given = environment(tmp, GIT_CONFIG_SYSTEM=os.devnull, **more, **other)
    with pytest.raises(ReconcilerError) as refused:
        load_revision([], revision="main", today=TODAY, cwd=checkout, environment=given)
    assert "Check out in the same job and container" in refused.value.detail
    (tmp / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp / where).write_text(f"[safe]\n\tdirectory = {checkout}\n", encoding="utf-8")
    base = load_revision([], revision="main", today=TODAY, cwd=checkout, environment=given)
    assert list(base.desired) == ["aaa"]


ENDLESS = {
    "much output": ("exec cat /dev/zero", 60.0, "git rev-parse printed more than is read of it"),
    "many complaints": ("exec cat /dev/zero >&2", 60.0, "git rev-parse printed more than is read of it"),
    "no end": ("exec tail -f /dev/null", 0.2, "git did not end within 0.2 s"),
    "no end of what it started": ("tail -f /dev/null", 0.2, "git did not end within 0.2 s"),
    "output closed, no end": ("exec >/dev/null 2>&1; exec tail -f /dev/null", 0.2, "git did not end within 0.2 s"),
}


@pytest.mark.parametrize(("script", "seconds", "told"), ENDLESS.values(), ids=ENDLESS)
def test_git_has_an_end(tmp_path: Path, script: str, seconds: float, told: str) -> None:
    """Neither time nor memory is without a bound; what git started ends with it."""
    git = Git(tmp_path, {"PATH": fake_git(tmp_path, script)}, seconds=seconds)
    with pytest.raises(ReconcilerError) as refused:
        git.run("rev-parse", "HEAD")
    assert str(refused.value) == told
    assert refused.value.detail


def test_output_up_to_the_bound(tmp_path: Path) -> None:
    """As many bytes as may be come back whole, and what was given arrives."""
    path = fake_git(tmp_path, "cat; echo said 1>&2; exit 3")
    answer = Git(tmp_path, {"PATH": path}).run("cat-file", given=b"x" * SHORT)
    assert (answer.code, answer.output, answer.said) == (3, b"x" * SHORT, "said")


@pytest.mark.parametrize("path", ["", ".", "bin", "./bin:.", "/nonexistent:bin"])
def test_no_git_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A program called git in the working directory is not run because PATH has a relative entry."""
    fake_git(tmp_path, f"touch {tmp_path}/canary")
    (tmp_path / "git").write_bytes((tmp_path / "bin/git").read_bytes())
    (tmp_path / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReconcilerError, match="git can't be run: it is in no folder of PATH"):
        Git(tmp_path, {"PATH": path}).run("rev-parse", "HEAD")
    assert not (tmp_path / "canary").exists()


def test_the_environment_is_not_shown(tmp_path: Path) -> None:
    """A traceback that shows the value shows no key."""
    assert KEY not in repr(Git(tmp_path, SECRETS))
