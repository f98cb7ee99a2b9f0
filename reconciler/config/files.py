"""Find and read the files that the ``-f`` arguments name, and read files of other kinds.

In: the arguments and a working directory. Out: ``(name, bytes)`` of every file, each file once, sorted by name, and a
diagnostic for every argument that leads nowhere. Of a directory, all ``*.yaml`` and ``*.yml`` files below it are read,
in upper or lower case, but nothing hidden (a name that begins with a dot). FIFOs and devices are refused, because
reading them may never end. This module knows nothing of YAML.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, EISDIR
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.config.document import error
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reconciler.core.codec import SavedFormat
    from reconciler.core.diagnostics import Diagnostic

T = TypeVar("T")

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"
DEFAULTS: Final = ("automation.yaml", "automation.yml", "automation")
"""What is read without ``-f``: all of these that exist, so that none is silently ignored."""

_LONGEST_NAME: Final = 4096
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Files are opened non-blocking, in case a FIFO replaced the file after the check; for a file this changes nothing."""


def discover(
    sources: Sequence[str], *, stdin: Callable[[], bytes], cwd: Path
) -> tuple[list[tuple[str, bytes]], list[Diagnostic]]:
    """Return the name and bytes of every file that ``sources`` name, sorted by name, and what went wrong.

    Names are as given; for files below a directory, with the path from there, always with ``/``. ``stdin`` is called at
    most once. Whatever the files hold, or the file system does, nothing is raised.
    """
    diagnostics: list[Diagnostic] = []
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    for name in _names(sources, cwd, diagnostics):
        if name == STDIN:
            identity, shown = STDIN, STDIN_NAME
        else:
            identity, shown = os.path.realpath(cwd / name), harmless(name, longest=_LONGEST_NAME)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            data = stdin() if name == STDIN else read_file(cwd / name, most=MAX_FILE_BYTES + 1)
        except OSError as failure:
            diagnostics.append(error(None, f"{shown} can't be read: {failure.strerror or failure}"))
            continue
        if len(data) > MAX_FILE_BYTES:
            diagnostics.append(error(None, f"{shown} is larger than 8 MiB", "split it; files merge by section"))
            continue
        files[shown] = data
    return sorted(files.items()), diagnostics


def is_yaml(name: str) -> bool:
    """Whether a file below a directory is read, by its name; some systems write names in capitals."""
    return name.lower().endswith((".yaml", ".yml"))


def _names(sources: Sequence[str], cwd: Path, diagnostics: list[Diagnostic]) -> Iterator[str]:
    if not sources:
        sources = [name for name in DEFAULTS if (cwd / name).exists()]
        if not sources:
            problem = "there is neither automation.yaml nor automation/ in the working directory"
            diagnostics.append(
                error(None, problem, "name the files with -f, or write a first one by `reconciler init`")
            )
    for source in sources:
        if source == STDIN:
            yield source
            continue
        try:
            matches = _matches(source, cwd)
        except OSError as failure:
            diagnostics.append(error(None, f"{harmless(source)} can't be read: {failure.strerror or failure}"))
            continue
        if not matches:
            diagnostics.append(error(None, f"{harmless(source)} matches no file", "check the path given with -f"))
        for match in matches:
            if (cwd / match).is_dir():
                yield from _below(match, cwd, diagnostics)
            else:
                yield match


def _matches(source: str, cwd: Path) -> list[str]:
    """Return the paths that an argument names. Raises :class:`OSError` where that can't be known."""
    try:
        os.stat(cwd / source)  # noqa: PTH116 - Path.exists tells no folder that may not be entered from one that is empty
    except (FileNotFoundError, NotADirectoryError):
        pass
    except ValueError:  # a NUL in the name
        return []
    else:
        return [source]
    if not any(mark in source for mark in "*?["):
        return []
    import glob

    # Path.glob takes neither absolute patterns nor keeps the name as given.
    return sorted(glob.glob(source, root_dir=cwd, recursive=True))  # noqa: PTH207


def _below(directory: str, cwd: Path, diagnostics: list[Diagnostic]) -> Iterator[str]:
    found = 0

    def unreadable(failure: OSError) -> None:
        nonlocal found
        found += 1  # what is in there is not known, so it does not hold nothing
        shown = harmless(str(failure.filename), longest=_LONGEST_NAME)
        diagnostics.append(error(None, f"{shown} can't be read: {failure.strerror or failure}"))

    base = cwd / directory
    for here, folders, names in os.walk(base, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for folder in folders:
            if (Path(here) / folder).is_symlink():
                shown = harmless((Path(directory) / Path(here, folder).relative_to(base)).as_posix())
                repair = "name it with -f, or remove the link"
                diagnostics.append(error(None, f"{shown} is a link to a directory, and is not followed", repair))
        for name in sorted(names):
            if is_yaml(name) and not name.startswith("."):
                found += 1
                yield (Path(directory) / Path(here, name).relative_to(base)).as_posix()
    if not found:
        problem = f"{harmless(directory)} holds no *.yaml or *.yml file"
        diagnostics.append(error(None, problem, "check the path given with -f"))


def read_file(path: Path, *, most: int) -> bytes:
    """Return the first ``most`` bytes of a regular file, or of the one that a link leads to.

    Raises :class:`OSError` with its ``strerror``, and :class:`ValueError` for a name that no system accepts.
    """
    _require_regular(os.stat(path).st_mode)  # noqa: PTH116 - before it is opened: opening a device may do something
    descriptor = os.open(path, _FLAGS)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        _require_regular(os.fstat(descriptor).st_mode)
        return file.read(most)


def load_saved(file: str, form: SavedFormat, parse: Callable[[bytes], T]) -> T:
    """Return what ``parse`` makes of a file of this kind. Raises the error of the kind, which names the file."""
    try:
        content = read_file(Path(file), most=form.largest + 1)
    except (OSError, ValueError) as failure:  # ValueError: a name that no system knows
        why = getattr(failure, "strerror", None) or failure
        raise form.error(f"can't read {form.what} {file}: {why}", f"Make one with `{form.command}`.") from failure
    try:
        return parse(content)
    except form.error as failure:
        raise form.error(f"{file}: {failure.summary}", failure.detail) from failure


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(EINVAL, "it is a device, a FIFO or a socket, not a file")
