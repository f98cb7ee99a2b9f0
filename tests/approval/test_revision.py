"""The files of a Git revision: from which commit and which of them they are read, and what is refused."""

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

pytestmark = pytest.mark.slow

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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a checkout to another user")
def test_another_owners_checkout(tmp_path: Path) -> None:
    """git does not open it; the repair is the setting of the step that checks out."""
    git(tmp_path, "init", "--quiet")
    os.chown(tmp_path, 12345, 12345)
    os.chown(tmp_path / ".git", 12345, 12345)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    with pytest.raises(UsageError, match="belongs to another user") as refused:
        load_revision([], revision="main", today=TODAY, environment=environment, cwd=tmp_path)
    assert "set-safe-directory: true" in refused.value.detail


REFUSED = {
    "no such revision": (["automation.yaml"], "nope", UsageError, "'nope' is not a revision"),
    "an option": (["automation.yaml"], "--all", UsageError, "'--all' is not a Git revision"),
    "nothing": (["automation.yaml"], "", UsageError, "'' is not a Git revision"),
    "an empty github.base_ref": (["automation.yaml"], "origin/", UsageError, "'origin/' names no commit"),
    "the commit before a new branch": (["automation.yaml"], "0" * 40, UsageError, "names no commit"),
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


def step(top: Path, *portfolios: str) -> str:
    """Declare these portfolios and commit; return the commit."""
    (top / "automation.yaml").write_text(files(*portfolios), encoding="utf-8")
    return commit(top)


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``change`` left ``main`` at its second of three commits and has three of its own; ``lone`` shares none of them.

    ``merged`` is ``change`` merged into ``main``, as a pull request is checked out; ``crossed`` is ``change`` with the
    first commit of ``main`` merged into it.
    """
    top = tmp_path_factory.mktemp("forked")
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "config", "uploadpack.allowFilter", "true")
    step(top, "first")
    git(top, "tag", "first")
    step(top, "second")
    git(top, "branch", "change")
    step(top, "tip")
    git(top, "switch", "--quiet", "change")
    for name in ("x", "y", "z"):
        step(top, "second", name)
    git(top, "switch", "--quiet", "--detach", "main")
    git(top, "merge", "--quiet", "--no-edit", "--strategy=ours", "change")
    git(top, "branch", "merged")
    first, change = git(top, "rev-parse", "first"), git(top, "rev-parse", "change")
    crossed = git(top, "commit-tree", f"{change}^{{tree}}", "-p", change, "-p", first, "-m", "x")
    git(top, "branch", "crossed", crossed)
    git(top, "switch", "--quiet", "--orphan", "lone")
    step(top, "lone")
    return top


COMPARED = {
    "a branch that went on": ("change", "main", ["second"]),
    "the other way round": ("main", "change", ["second"]),
    "itself": ("change", "change", ["second", "z"]),
    "an ancestor": ("change", "first", ["first"]),
    "a descendant": ("first", "main", ["first"]),
    "its own past": ("change", "HEAD~2", ["second", "x"]),
    "a merge with the tip": ("merged", "main", ["tip"]),
    "two ways back": ("crossed", "main", ["second"]),
}


@pytest.mark.parametrize(("head", "revision", "expected"), COMPARED.values(), ids=COMPARED)
def test_the_merge_base_is_read(forked: Path, tmp_path: Path, head: str, revision: str, expected: list[str]) -> None:
    """What others merged since this branch left is not in the base."""
    clone = cloned(forked, tmp_path, head)
    base = load_revision([], revision=revision, today=TODAY, environment=os.environ, cwd=clone)
    assert list(base.desired) == expected


def cloned(source: Path, tmp_path: Path, head: str, *options: str, url: str = "") -> Path:
    """Clone with every branch as a local one, and check out ``head`` without a branch."""
    clone = tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--initial-branch=nothing", "clone")
    git(clone, "fetch", "--quiet", *options, url or source.as_uri(), "refs/heads/*:refs/heads/*")
    git(clone, "switch", "--quiet", "--detach", head)
    return clone


CUT_OFF = {
    "one commit of each": ("change", "main", 1, "it and HEAD have no commit in common"),
    "too few of one side": ("change", "main", 3, "it and HEAD have no commit in common"),
    "the base of both cut, an older one seen": ("crossed", "main", 3, "the history between it and HEAD is cut off"),
    "a commit that was not fetched": ("change", "HEAD~3", 2, "it is not a revision of this shallow clone"),
    "another history": ("lone", "main", 1, "it and HEAD have no commit in common"),
}


@pytest.mark.parametrize(("head", "revision", "depth", "told"), CUT_OFF.values(), ids=CUT_OFF)
def test_a_shallow_clone(forked: Path, tmp_path: Path, head: str, revision: str, depth: int, told: str) -> None:
    """Where the merge base was not fetched the error says how to fetch it; the tip never stands in for it."""
    clone = cloned(forked, tmp_path, head, f"--depth={depth}")
    with pytest.raises(ConfigInvalid, match=f"the configuration at {revision} has 1 problem") as refused:
        load_revision([], revision=revision, today=TODAY, environment=os.environ, cwd=clone)
    (problem,) = refused.value.diagnostics
    assert problem.problem == f"no base at {revision}: {told}"
    assert "`fetch-depth: 0`" in problem.repair
    assert "--unshallow" in problem.repair
    assert refused.value.exit_reason.code == 3


DEEP_ENOUGH = {
    "the base is the last that was fetched": ("change", "main", 4, ["second"]),
    "a merge that holds the tip": ("merged", "main", 2, ["tip"]),
    "the commit itself": ("change", "HEAD", 1, ["second", "z"]),
}


@pytest.mark.parametrize(("head", "revision", "depth", "expected"), DEEP_ENOUGH.values(), ids=DEEP_ENOUGH)
def test_a_shallow_clone_that_is_deep_enough(
    forked: Path, tmp_path: Path, head: str, revision: str, depth: int, expected: list[str]
) -> None:
    """A history that was cut behind the merge base is as good as a whole one."""
    clone = cloned(forked, tmp_path, head, f"--depth={depth}")
    base = load_revision([], revision=revision, today=TODAY, environment=os.environ, cwd=clone)
    assert list(base.desired) == expected


def test_unrelated_histories(forked: Path, tmp_path: Path) -> None:
    """A whole clone in which there is no merge base is told so, before anything is committed as well."""
    clone = cloned(forked, tmp_path, "lone")
    for problem in ("it and HEAD have no commit in common", "nothing is committed on this branch"):
        with pytest.raises(ConfigInvalid) as refused:
            load_revision([], revision="main", today=TODAY, environment=os.environ, cwd=clone)
        assert refused.value.diagnostics[0].problem == f"no base at main: {problem}"
        assert "`fetch-depth: 0`" in refused.value.diagnostics[0].repair
        git(clone, "switch", "--quiet", "--orphan", "new")


def test_an_invalid_merge_base_is_named(tmp_path: Path) -> None:
    """The place of a problem names the commit that was read, not the revision that has moved on."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    broken = step(tmp_path, "x: {state: on} #")
    git(tmp_path, "branch", "change")
    step(tmp_path, "x")
    git(tmp_path, "switch", "--quiet", "change")
    with pytest.raises(ConfigInvalid, match=f"the configuration at {broken[:12]} has") as refused:
        load_revision([], revision="main", today=TODAY, environment=os.environ, cwd=tmp_path)
    assert str(refused.value.diagnostics[0]).startswith(f"{broken[:12]}:automation.yaml:3:")


def test_a_partial_clone_fetches_nothing(forked: Path, tmp_path: Path) -> None:
    """A file that such a clone lacks is an error with its repair, and is not fetched behind the user's back."""
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", "--branch=change", forked.as_uri(), "clone")
    with pytest.raises(ReconcilerError, match="the files of the base can't be listed") as refused:
        load_revision([], revision="origin/main", today=TODAY, environment=os.environ, cwd=tmp_path / "clone")
    assert refused.value.detail.startswith("git says: fatal: could not fetch")
    assert "partial clone" in refused.value.detail


def test_a_replaced_commit_is_not_read(forked: Path, tmp_path: Path) -> None:
    """A replacement that somebody put into this clone does not change what a revision declared."""
    clone = cloned(forked, tmp_path, "change")
    blob = git(clone, "rev-parse", "main~1:automation.yaml")
    git(clone, "replace", blob, git(clone, "rev-parse", "lone:automation.yaml"))
    base = load_revision([], revision="main", today=TODAY, environment=os.environ, cwd=clone)
    assert list(base.desired) == ["second"]
