"""The configuration as it was where this branch left a Git revision.

In: the ``-f`` arguments, a revision, today's date, a working directory and the environment. Out: what the files declare
at the merge base of that revision and ``HEAD``, by the same rules as for the files of today. It lists and reads objects
and changes nothing. A source that the base does not have declares nothing there. Whatever can't be read with certainty
is an error: with an empty base, everything would look new; with the tip of the revision, what others merged meanwhile
would look like this branch's work.
"""

from __future__ import annotations

import glob
import posixpath
import re
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.config.files import DEFAULTS, STDIN, is_yaml
from reconciler.config.git import Git, GitAnswer
from reconciler.config.load import load_configuration
from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.errors import ConfigInvalid, ReconcilerError, UsageError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.model import Desired, PortfolioId, StrategyDesired, StrategyId

MAX_BYTES: Final = 256 * 1024 * 1024
"""The most bytes of all files of one revision together: twice as much as a very large fleet needs."""
MAX_LISTING: Final = 64 * 1024 * 1024
"""The most bytes of one list of a revision's files."""

_BAD_REVISION: Final = re.compile(r"^-|^$|[\x00-\x1f\x7f]")
"""Matches what git would take for an option, or what can't be passed to it at all."""
_NO_COMMIT: Final = re.compile(r"0{40}(?:0{24})?")
_COMMIT: Final = re.compile(rb"[0-9a-f]{40}([0-9a-f]{24})?\n?")
_GLOB: Final = re.compile(r"[*?\[]")
_FILE: Final = ("100644", "100755", "100664")
_TREE: Final = "040000"
_SUBMODULE: Final = "160000"
_HEADER: Final = 128
"""The most bytes that `git cat-file --batch` puts around the content of one object."""


class _Blob(Struct, frozen=True):
    """One entry of a tree; ``path`` is from the top of the repository. ``size`` is 0 for what is not a file."""

    path: str
    mode: str
    oid: str
    size: int


class _Repository(Struct, frozen=True):
    """Where git found the repository; ``prefix`` is the working directory seen from its top, without a final slash."""

    git: Git
    top: Path
    prefix: str


class _Revision(Struct, frozen=True):
    """A commit, and its name in messages: the revision as typed, or the commit's own name if that is another commit."""

    commit: str
    shown: str


class Base(Struct, frozen=True):
    """What the files declared at a revision, keyed and sorted by id; empty if none of them existed."""

    desired: Mapping[PortfolioId, Desired] = field(default_factory=dict)
    strategies: Mapping[StrategyId, StrategyDesired] = field(default_factory=dict)


def load_revision(
    sources: Sequence[str], *, revision: str, today: dt.date, cwd: Path, environment: Mapping[str, str]
) -> Base:
    """Return what the files declared at the merge base of ``revision`` and ``HEAD``.

    Raises :class:`UsageError` for a revision or source that git does not know; :class:`ConfigInvalid` if the clone has
    no merge base, or if the files were not valid then (their places name the revision); and :class:`ReconcilerError`
    when git can't be run or an object is missing. git gets a few harmless variables of ``environment``.
    """
    repository = _open(revision, Git(cwd, environment))
    base = _merge_base(repository.git, revision)
    wanted = [_from_top(source, repository) for source in sources or DEFAULTS]
    blobs = _select(repository, base, wanted)
    with tempfile.TemporaryDirectory(prefix="reconciler-") as folder:
        here = _unpack(repository, blobs, Path(folder))
        # Names relative to the working directory: an absolute one would lead to the files of today.
        names = [posixpath.relpath(path, repository.prefix or ".") for path in wanted]
        present = [name for name in names if (here / name).exists() or _matches(name, here)]
        if not present:
            return Base()
        try:
            configuration = load_configuration(present, stdin=bytes, today=today, cwd=here)
            return Base(configuration.desired, configuration.strategies)
        except ConfigInvalid as invalid:
            shown = tuple(_placed(diagnostic, base.shown) for diagnostic in invalid.diagnostics)
            raise ConfigInvalid(shown, revision=base.shown) from invalid


_SAFE: Final = (
    "Check out in the same job and container, by actions/checkout with `set-safe-directory: true`, its default; "
    "or name the path of the checkout in git's setting `safe.directory`."
)


def _open(revision: str, git: Git) -> _Repository:
    if _BAD_REVISION.search(revision):
        shown = harmless(revision, longest=80)
        raise UsageError(f"{shown!r} is not a Git revision", "Name a branch, a tag or a commit, such as origin/main.")
    if revision.endswith("/") or _NO_COMMIT.fullmatch(revision):
        shown = harmless(revision, longest=80)
        told = "`github.base_ref` is empty outside of pull requests, and a new branch has a commit of zeros before it"
        raise UsageError(f"the base {shown!r} names no commit", f"In GitHub Actions {told}: name a branch or a commit.")
    found = git.run("rev-parse", "--show-toplevel", "--show-prefix")
    if "dubious ownership" in found.said:
        raise UsageError("git does not open a checkout that belongs to another user", _SAFE)
    if found.code:
        raise UsageError("the base needs a Git repository", f"git says: {found.said}")
    top, _, prefix = found.output.decode(errors="surrogateescape").partition("\n")
    return _Repository(git, Path(top), prefix.rstrip("\n").rstrip("/"))


def _merge_base(git: Git, revision: str) -> _Revision:
    """Return the commit at which ``HEAD`` left ``revision``. If several are equally good, it is git's first."""
    shown = harmless(revision, longest=80)
    shallow = git.run("rev-parse", "--is-shallow-repository").output.strip() == b"true"
    tip, head = _commit(git, revision), _commit(git, "HEAD")
    if tip is None:
        if shallow:
            raise _no_base(shown, "it is not a revision of this shallow clone", shallow=True)
        raise UsageError(f"{shown!r} is not a revision of this repository", "Check the name.")
    if head is None:
        raise _no_base(shown, "nothing is committed on this branch", shallow=shallow)
    found = git.run("merge-base", tip, head)
    if found.code not in (0, 1):
        raise _unreadable(f"the merge base of {shown} and HEAD can't be found", found)
    base = found.output.decode(errors="replace").strip()
    if not base:
        raise _no_base(shown, "it and HEAD have no commit in common", shallow=shallow)
    if shallow and base not in (tip, head) and _is_cut(git, tip, head):
        raise _no_base(shown, "the history between it and HEAD is cut off", shallow=True)
    return _Revision(base, shown if base == tip else base[:12])


def _commit(git: Git, revision: str) -> str | None:
    found = git.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return None if found.code or not _COMMIT.fullmatch(found.output) else found.output.decode().strip()


def _is_cut(git: Git, tip: str, head: str) -> bool:
    """Whether the clone lacks parents of a commit that only one side has: a nearer merge base may be missing, too."""
    found = git.run("rev-list", "--max-count=1", "--max-parents=0", f"{tip}...{head}")
    return bool(found.code or found.output)


def _no_base(shown: str, problem: str, *, shallow: bool) -> ConfigInvalid:
    whole = "fetch the whole history, with `fetch-depth: 0` for actions/checkout or `git fetch --unshallow`"
    other = "name a revision that shares history with HEAD; a checkout that was cut off needs `fetch-depth: 0`"
    diagnostic = Diagnostic(Severity.ERROR, f"no base at {shown}: {problem}", whole if shallow else other)
    return ConfigInvalid((diagnostic,), revision=shown)


def _from_top(source: str, repository: _Repository) -> str:
    """Return a source as a path from the top of the repository. Raises :class:`UsageError` if it can't be in there."""
    if source == STDIN:
        raise UsageError("standard input has no Git revision", "Name files with -f.")
    if Path(source).is_absolute():
        fixed = _static(source)
        rest = source[len(fixed) :].strip("/")
        joined = posixpath.relpath(posixpath.join(Path(fixed or "/").resolve().as_posix(), rest), repository.top)
    else:
        joined = posixpath.normpath(posixpath.join(repository.prefix, source))
    if joined == ".." or joined.startswith("../") or "\0" in joined:
        raise UsageError(f"{harmless(source)} is outside of the Git repository", "Drop --base, or name files in it.")
    return joined


def _select(repository: _Repository, base: _Revision, paths: list[str]) -> list[_Blob]:
    """Return the files of the revision that the sources may mean, sorted by path; below a directory only YAML."""
    roots = {path: _static(path) for path in paths}
    above = sorted({parent.as_posix() for root in roots.values() for parent in Path(root).parents} - {"."})
    for entry in _listed(repository.git, base.commit, above) if above else ():
        if entry.path in above:  # git lists what lies in there, too
            _require_plain(entry, base, tree=True)
    everything = "." in roots.values()
    found = _listed(repository.git, base.commit, [] if everything else sorted(set(roots.values())), recursive=True)
    chosen = [blob for blob in found if any(_meant(blob, path, root) for path, root in roots.items())]
    for blob in chosen:
        _require_plain(blob, base)
    if sum(blob.size for blob in chosen) > MAX_BYTES:
        raise ReconcilerError(f"the files at {base.shown} are larger than 256 MiB", "Name fewer with -f.")
    return chosen


def _static(path: str) -> str:
    """Return the part of a path before its first wildcard, in whole names."""
    parts = path.split("/")
    fixed = next((n for n, part in enumerate(parts) if _GLOB.search(part)), len(parts))
    return "/".join(parts[:fixed]) or "."


def _meant(blob: _Blob, path: str, root: str) -> bool:
    """Whether a source may mean an entry. Below a directory, links are not read, but files in a submodule are."""
    if blob.path == path:
        return True
    if root != "." and not blob.path.startswith(f"{root}/"):
        return False
    if blob.mode == _SUBMODULE:
        return path == root or "**" in path
    return is_yaml(blob.path) or (path != root and fnmatchcase(blob.path, path))


def _require_plain(blob: _Blob, base: _Revision, *, tree: bool = False) -> None:
    if blob.mode in _FILE or (tree and blob.mode == _TREE):
        return
    kind = "a submodule" if blob.mode == _SUBMODULE else "a link"
    raise ReconcilerError(
        f"{harmless(blob.path)} is {kind} at {base.shown}, and is not followed",
        "Name the files it stands for with -f, or drop --base.",
    )


def _listed(git: Git, commit: str, paths: Iterable[str], *, recursive: bool = False) -> list[_Blob]:
    options = ["-r"] if recursive else []
    listing = git.run("ls-tree", "-z", "-l", "--full-tree", *options, commit, "--", *paths, limit=MAX_LISTING)
    if listing.code:
        raise _unreadable("the files of the base can't be listed", listing)
    blobs = []
    for row in listing.output.decode(errors="surrogateescape").split("\0"):
        if row:
            head, _, path = row.partition("\t")
            mode, _, oid, size = head.split()
            if not {"", ".", ".."}.isdisjoint(path.split("/")):  # git makes no such name, but an object can hold it
                raise ReconcilerError(
                    f"the base holds the path {harmless(path)}, which no tree may", "Name files with -f."
                )
            blobs.append(_Blob(path, mode, oid, int(size) if size.isdigit() else 0))
    return blobs


def _contents(git: Git, blobs: Sequence[_Blob]) -> list[bytes]:
    """Return the bytes of each file. Their sizes are known and bounded by now."""
    if not blobs:
        return []
    asked = "".join(f"{blob.oid}\n" for blob in blobs).encode()
    answer = git.run("cat-file", "--batch", given=asked, limit=sum(blob.size + _HEADER for blob in blobs))
    data, at, contents = answer.output, 0, []
    for blob in blobs:
        end = data.find(b"\n", at)
        if answer.code or data[at:end] != f"{blob.oid} blob {blob.size}".encode():
            raise _unreadable(f"{harmless(blob.path)} of the base can't be read", answer)
        at = end + 1 + blob.size + 1
        contents.append(data[end + 1 : at - 1])
    return contents


def _unreadable(summary: str, answer: GitAnswer) -> ReconcilerError:
    repair = "A partial clone lacks files of the past, and none is fetched here: check out without a filter"
    return ReconcilerError(summary, f"git says: {answer.said}. {repair} and without sparse-checkout.")


def _unpack(repository: _Repository, blobs: Sequence[_Blob], top: Path) -> Path:
    """Write the files below ``top``; return the folder that serves as the working directory."""
    here = top / repository.prefix
    try:
        here.mkdir(parents=True, exist_ok=True)
        for blob, data in zip(blobs, _contents(repository.git, blobs), strict=True):
            (top / blob.path).parent.mkdir(parents=True, exist_ok=True)
            (top / blob.path).write_bytes(data)
    except OSError as error:
        reason = f"the base can't be unpacked: {error.strerror}"
        raise ReconcilerError(reason, "Make room in the folder for temporary files, which TMPDIR names.") from error
    return here


def _matches(pattern: str, cwd: Path) -> bool:
    # Path.glob does not take `..`, which a pattern may begin with.
    return bool(_GLOB.search(pattern)) and bool(glob.glob(pattern, root_dir=cwd, recursive=True))  # noqa: PTH207


def _placed(diagnostic: Diagnostic, revision: str) -> Diagnostic:
    """Return the diagnostic with its place as git writes it: ``main:automation.yaml:3:1``."""
    if diagnostic.span is None:
        return replace(diagnostic, problem=f"at {revision}: {diagnostic.problem}")
    return replace(diagnostic, span=replace(diagnostic.span, file=f"{revision}:{diagnostic.span.file}"))
