"""The configuration as it was at a Git revision.

In: the ``-f`` arguments, a revision, today's date and a working directory. Out: what the files of that revision
declare, by the same rules as the files of today. The only module that runs git: it lists and reads objects, and changes
nothing. A source that is not in the revision declares nothing there; whatever can't be read for sure is an error,
because an empty base would make everything look like new.
"""

from __future__ import annotations

import glob
import posixpath
import re
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.config.discover import DEFAULTS, STDIN
from reconciler.config.load import load
from reconciler.core.errors import ConfigInvalid, ReconcilerError, UsageError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.strategy import StrategyDesired, StrategyId

MAX_BYTES: Final = 256 * 1024 * 1024
"""All files of one revision together; as much again as a very large fleet needs."""
MAX_LISTING: Final = 64 * 1024 * 1024
GIT_SECONDS: Final = 60
"""How long one call of git may take; a partial clone fetches what it lacks."""

_BAD_REVISION: Final = re.compile(r"^-|^$|[\x00-\x1f\x7f]")
"""What git would take for an option, or can't be given to it at all."""
_COMMIT: Final = re.compile(rb"[0-9a-f]{40}([0-9a-f]{24})?\n?")
_SUFFIXES: Final = (".yaml", ".yml")
_GLOB: Final = re.compile(r"[*?\[]")
_FILE: Final = ("100644", "100755", "100664")
_TREE: Final = "040000"
_SUBMODULE: Final = "160000"


@dataclass(frozen=True, slots=True)
class _Blob:
    """One entry of a tree; ``path`` is from the top of the repository. ``size`` is 0 for what is not a file."""

    path: str
    mode: str
    oid: str
    size: int


@dataclass(frozen=True, slots=True)
class _Repository:
    """Where git found the repository; ``prefix`` is the working directory seen from its top, without a final slash."""

    cwd: Path
    top: Path
    prefix: str


@dataclass(frozen=True, slots=True)
class Base:
    """What the files declared at a revision, keyed and sorted by id; nothing where none of them existed."""

    desired: Mapping[PortfolioId, Desired] = field(default_factory=dict)
    strategies: Mapping[StrategyId, StrategyDesired] = field(default_factory=dict)


def load_revision(sources: Sequence[str], *, revision: str, today: dt.date, cwd: Path) -> Base:
    """Return what the files declared at ``revision``.

    Raises :class:`UsageError` for a revision or source that git does not know, :class:`ConfigInvalid` with the
    revision in every place when the files were not valid then, and :class:`ReconcilerError` when git can't be run.
    """
    repository, commit = _open(revision, cwd)
    wanted = [_from_top(source, repository) for source in sources or DEFAULTS]
    blobs = _select(repository, commit, wanted, revision)
    with tempfile.TemporaryDirectory(prefix="reconciler-") as folder:
        here = _unpack(repository, blobs, Path(folder))
        # Names below the working directory, as an absolute one would lead to the files of today.
        names = [posixpath.relpath(path, repository.prefix or ".") for path in wanted]
        present = [name for name in names if (here / name).exists() or _matches(name, here)]
        if not present:
            return Base()
        try:
            configuration = load(present, stdin=bytes, today=today, cwd=here)
            return Base(configuration.desired, configuration.strategies)
        except ConfigInvalid as invalid:
            shown = tuple(_placed(diagnostic, revision) for diagnostic in invalid.diagnostics)
            raise ConfigInvalid(shown, revision=revision) from invalid


def _open(revision: str, cwd: Path) -> tuple[_Repository, str]:
    shown = harmless(revision, longest=80)
    if _BAD_REVISION.search(revision):
        raise UsageError(f"{shown!r} is not a Git revision", "Name a branch, a tag or a commit, such as origin/main.")
    found = _git(cwd, "rev-parse", "--show-toplevel", "--show-prefix")
    if found.returncode:
        raise UsageError("the base needs a Git repository", f"git says: {_said(found)}")
    top, _, prefix = found.stdout.decode(errors="surrogateescape").partition("\n")
    commit = _git(cwd, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit.returncode or not _COMMIT.fullmatch(commit.stdout):
        repair = "Check the name. In a shallow clone, fetch it first."
        raise UsageError(f"{shown!r} is not a revision of this repository", repair)
    return _Repository(cwd, Path(top), prefix.rstrip("\n").rstrip("/")), commit.stdout.decode().strip()


def _from_top(source: str, repository: _Repository) -> str:
    """Return a source as a path from the top of the repository. Raises :class:`UsageError` when it can't be there."""
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


def _select(repository: _Repository, commit: str, paths: list[str], revision: str) -> list[_Blob]:
    """Return the files of the revision that the sources may mean, sorted by path; YAML only below a directory."""
    roots = {path: _static(path) for path in paths}
    above = sorted({parent.as_posix() for root in roots.values() for parent in Path(root).parents} - {"."})
    for entry in _listed(repository, commit, above) if above else ():
        if entry.path in above:  # git lists what lies in there, too
            _require_plain(entry, revision, tree=True)
    everything = "." in roots.values()
    found = _listed(repository, commit, [] if everything else sorted(set(roots.values())), recursive=True)
    chosen = [blob for blob in found if any(_meant(blob, path, root) for path, root in roots.items())]
    for blob in chosen:
        _require_plain(blob, revision)
    if sum(blob.size for blob in chosen) > MAX_BYTES:
        raise ReconcilerError(f"the files at {harmless(revision)} are larger than 256 MiB", "Name fewer with -f.")
    return chosen


def _static(path: str) -> str:
    """Return the part of a path that stands before its first wildcard, whole names only."""
    parts = path.split("/")
    fixed = next((n for n, part in enumerate(parts) if _GLOB.search(part)), len(parts))
    return "/".join(parts[:fixed]) or "."


def _meant(blob: _Blob, path: str, root: str) -> bool:
    """Whether a source may mean an entry. A link below a directory was never read, a submodule below it was."""
    if blob.path == path:
        return True
    if root != "." and not blob.path.startswith(f"{root}/"):
        return False
    if blob.mode == _SUBMODULE:
        return path == root or "**" in path
    return blob.path.endswith(_SUFFIXES) or (path != root and fnmatchcase(blob.path, path))


def _require_plain(blob: _Blob, revision: str, *, tree: bool = False) -> None:
    if blob.mode in _FILE or (tree and blob.mode == _TREE):
        return
    kind = "a submodule" if blob.mode == _SUBMODULE else "a link"
    raise ReconcilerError(
        f"{harmless(blob.path)} is {kind} at {harmless(revision)}, and is not followed",
        "Name the files it stands for with -f, or drop --base.",
    )


def _listed(repository: _Repository, commit: str, paths: Iterable[str], *, recursive: bool = False) -> list[_Blob]:
    options = ["-r"] if recursive else []
    listing = _git(
        repository.cwd, "--literal-pathspecs", "ls-tree", "-z", "-l", "--full-tree", *options, commit, "--", *paths
    )
    if listing.returncode or len(listing.stdout) > MAX_LISTING:
        reason = f"git says: {_said(listing)}" if listing.returncode else "It lists too many files; name fewer with -f."
        raise ReconcilerError("the files of the base can't be listed", reason)
    blobs = []
    for row in listing.stdout.decode(errors="surrogateescape").split("\0"):
        if row:
            head, _, path = row.partition("\t")
            mode, _, oid, size = head.split()
            if not {"", ".", ".."}.isdisjoint(path.split("/")):  # git makes no such name, but an object can hold it
                raise ReconcilerError(
                    f"the base holds the path {harmless(path)}, which no tree may", "Name files with -f."
                )
            blobs.append(_Blob(path, mode, oid, int(size) if size.isdigit() else 0))
    return blobs


def _contents(repository: _Repository, blobs: Sequence[_Blob]) -> list[bytes]:
    """Return the bytes of each file. Their sizes are known and bounded by now."""
    if not blobs:
        return []
    asked = "".join(f"{blob.oid}\n" for blob in blobs).encode()
    answer = _git(repository.cwd, "cat-file", "--batch", given=asked)
    data, at, contents = answer.stdout, 0, []
    for blob in blobs:
        end = data.find(b"\n", at)
        if answer.returncode or data[at:end] != f"{blob.oid} blob {blob.size}".encode():
            raise ReconcilerError(f"{harmless(blob.path)} of the base can't be read", f"git says: {_said(answer)}")
        at = end + 1 + blob.size + 1
        contents.append(data[end + 1 : at - 1])
    return contents


def _unpack(repository: _Repository, blobs: Sequence[_Blob], top: Path) -> Path:
    """Write the files below ``top``; return the folder that stands for the working directory."""
    here = top / repository.prefix
    try:
        here.mkdir(parents=True, exist_ok=True)
        for blob, data in zip(blobs, _contents(repository, blobs), strict=True):
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


def _git(cwd: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git without a shell, a pager or a prompt."""
    try:
        return subprocess.run(  # noqa: S603 - a list without a shell; the revision is checked, paths follow `--`
            ["git", "--no-pager", *arguments],  # noqa: S607 - whichever git the user has is the right one
            cwd=cwd,
            input=given,
            capture_output=True,
            check=False,
            timeout=GIT_SECONDS,
        )
    except OSError as error:
        raise ReconcilerError(f"git can't be run: {error.strerror}", "Install git, or drop --base.") from error
    except subprocess.TimeoutExpired as error:
        raise ReconcilerError(
            f"git did not end within {GIT_SECONDS} s", "Fetch the base first, then try again."
        ) from error


def _said(ended: subprocess.CompletedProcess[bytes]) -> str:
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return harmless(lines[0], longest=300) if lines else f"nothing, but it ended with {ended.returncode}"
