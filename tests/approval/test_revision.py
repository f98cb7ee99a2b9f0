"""The files of a Git revision: which of them are read, and what is refused."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.config.revision import load_revision
from reconciler.core.errors import ConfigInvalid, ReconcilerError, UsageError
from tests.approval.conftest import commit, git

if TYPE_CHECKING:
    from pathlib import Path

TODAY = dt.date(2026, 11, 22)


def files(*portfolios: str) -> str:
    return "version: 1\nportfolios:\n" + "".join(f"  {name}: {{state: paused}}\n" for name in portfolios)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose only commit holds files of many shapes, and whose working tree has none of them any more."""
    top = tmp_path_factory.mktemp("repository")
    git(top, "init", "--quiet", "--initial-branch=main")
    tree = {
        "automation.yaml": files("one"),
        "automation/two.yaml": files("two"),
        "automation/deep/three.yml": files("three"),
        "automation/.hidden.yaml": "not: valid",
        "automation/README.md": "text",
        "fleet/a.yaml": files("a"),
        "fleet/b.yaml": files("b"),
        "fleet/sub/c.yaml": files("c"),
        "fleet/list.conf": files("conf"),
        "empty/README.md": "text",
        "bad/bad.yaml": "version: 1\nportfolios:\n  x: {state: on}\n",
        "bad/none.yaml": "version: 1\n",
        "spaces and ü/é.yaml": files("accent"),
    }
    for name, text in tree.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text, encoding="utf-8")
    (top / "link.yaml").symlink_to("automation.yaml")
    (top / "folder").symlink_to("fleet")
    (top / "mixed").mkdir()
    (top / "mixed/link.yaml").symlink_to("/etc/hostname")
    commit(top)
    git(top, "rm", "-r", "--quiet", ".")
    (top / "fleet").mkdir(parents=True)
    return top


READ = {
    "default": ([], ".", ["one", "three", "two"]),
    "a file": (["automation.yaml"], ".", ["one"]),
    "a file, spelled otherwise": (["./fleet/../automation.yaml"], ".", ["one"]),
    "a directory": (["automation"], ".", ["three", "two"]),
    "a directory with a slash": (["fleet/"], ".", ["a", "b", "c"]),
    "a glob": (["fleet/*.yaml"], ".", ["a", "b"]),
    "a glob below": (["fleet/**/*.yaml"], ".", ["a", "b", "c"]),
    "a glob of another suffix": (["fleet/*.conf"], ".", ["conf"]),
    "a file of another suffix": (["fleet/list.conf"], ".", ["conf"]),
    "several": (["fleet/a.yaml", "automation.yaml"], ".", ["a", "one"]),
    "from a subdirectory": (["."], "fleet", ["a", "b", "c"]),
    "above a subdirectory": (["../automation.yaml", "a.yaml"], "fleet", ["a", "one"]),
    "other letters": (["spaces and ü"], ".", ["accent"]),
    "a file that was not there": (["later.yaml"], ".", []),
    "a directory that held no file": (["empty"], ".", []),
    "a glob that matched nothing": (["later/*.yaml"], ".", []),
    "one that was there, one that was not": (["later.yaml", "automation.yaml"], ".", ["one"]),
}


@pytest.mark.parametrize(("sources", "where", "expected"), READ.values(), ids=READ)
def test_what_is_read(repository: Path, sources: list[str], where: str, expected: list[str]) -> None:
    """Files, directories, globs and the default mean at a revision what they mean in the working tree."""
    base = load_revision(sources, revision="main", today=TODAY, environment=os.environ, cwd=repository / where)
    assert list(base.desired) == expected


def test_absolute_sources(repository: Path) -> None:
    """An absolute path means the file of the revision, not the one of today."""
    top = repository.as_posix()
    given = [f"{top}/automation.yaml", f"{top}/fleet/*.yaml"]
    assert list(load_revision(given, revision="HEAD", today=TODAY, environment=os.environ, cwd=repository).desired) == [
        "a",
        "b",
        "one",
    ]


REFUSED = {
    "no such revision": (["automation.yaml"], "nope", UsageError, "'nope' is not a revision"),
    "an option": (["automation.yaml"], "--all", UsageError, "'--all' is not a Git revision"),
    "nothing": (["automation.yaml"], "", UsageError, "'' is not a Git revision"),
    "a control character": (["automation.yaml"], "ma\x1bin", UsageError, "is not a Git revision"),
    "a file for a revision": (["automation.yaml"], "main:automation.yaml", UsageError, "is not a revision"),
    "standard input": (["-"], "main", UsageError, "standard input has no Git revision"),
    "outside": (["../other.yaml"], "main", UsageError, "outside of the Git repository"),
    "absolute, outside": (["/etc/hostname"], "main", UsageError, "outside of the Git repository"),
    "a link": (["link.yaml"], "main", ReconcilerError, "link.yaml is a link at main"),
    "below a link": (["folder/a.yaml"], "main", ReconcilerError, "folder is a link at main"),
    "a link in a directory": (["mixed"], "main", ReconcilerError, "mixed/link.yaml is a link at main"),
}


@pytest.mark.parametrize(("sources", "revision", "kind", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(
    repository: Path, sources: list[str], revision: str, kind: type[ReconcilerError], told: str
) -> None:
    """What git can't answer for sure is an error and never an empty base."""
    with pytest.raises(kind) as refused:
        load_revision(sources, revision=revision, today=TODAY, environment=os.environ, cwd=repository)
    assert told in str(refused.value)
    assert refused.value.detail


def test_a_base_that_was_invalid(repository: Path) -> None:
    """Every problem of the revision has its place as git writes it."""
    with pytest.raises(ConfigInvalid, match="the configuration at main has 1 problem") as refused:
        load_revision(["bad/bad.yaml"], revision="main", today=TODAY, environment=os.environ, cwd=repository)
    assert [str(d).split(": ")[0] for d in refused.value.diagnostics] == ["main:bad/bad.yaml:3:14"]
    with pytest.raises(ConfigInvalid) as refused:
        load_revision(["bad/none.yaml"], revision="main", today=TODAY, environment=os.environ, cwd=repository)
    assert "at main: no portfolios are declared" in str(refused.value.diagnostics[0])


def test_a_tree_can_not_write_outside(tmp_path: Path) -> None:
    """A tree made to hold `..` leads to an error, not to a file elsewhere."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "x.yaml").write_text(files("x"), encoding="utf-8")
    blob = git(tmp_path, "hash-object", "-w", "x.yaml")
    raw = b"100644 x.yaml\0" + bytes.fromhex(blob)

    def tree(content: bytes) -> str:
        made = ["git", "-C", str(tmp_path), "hash-object", "-t", "tree", "--literally", "-w", "--stdin"]
        return subprocess.run(made, input=content, capture_output=True, check=True).stdout.decode().strip()

    outer = tree(b"40000 ..\0" + bytes.fromhex(tree(raw)))
    crafted = git(tmp_path, "commit-tree", outer, "-m", "x")
    git(tmp_path, "update-ref", "HEAD", crafted)
    with pytest.raises(ReconcilerError, match="which no tree may"):
        load_revision(["."], revision=crafted, today=TODAY, environment=os.environ, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "x.yaml"]


def test_without_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a repository, and without git, the error says which."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="needs a Git repository"):
        load_revision([], revision="main", today=TODAY, environment=os.environ, cwd=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ReconcilerError, match="git can't be run"):
        load_revision([], revision="main", today=TODAY, environment=os.environ, cwd=tmp_path)
