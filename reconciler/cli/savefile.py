"""Save what a command made: the file appears whole or not at all, and nothing else is touched.

In: a path and text. Out: the file, or an error that says why not. Every file that a command writes for its user goes
through here: a draft of a random name beside the target, which takes the target's name when it is complete. What is no
regular file (a device, a FIFO, a folder) is never replaced, and no link is followed that a checkout may have planted.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from errno import ENOTDIR
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.core.errors import ReconcilerError

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class _Place(Enum):
    """What may be where the file is to appear."""

    NOTHING = "nothing"
    FILE = "a file, which is replaced"


def save(path: str, text: str, *, what: str) -> None:
    """Write ``text`` to ``path``, in place of a file that is there.

    Raises :class:`~reconciler.core.errors.ReconcilerError`, which names ``what``, as the others here do.
    """
    _put(path, text, what=what, place=_Place.FILE)


def save_new(path: str, text: str, *, what: str) -> None:
    """Write ``text`` to ``path``, where nothing may be; its folder is made where it is missing."""
    _put(path, text, what=what, place=_Place.NOTHING)


def replace_file(path: str, before: bytes, after: bytes, *, what: str) -> None:
    """Write ``after`` to the file at ``path``, which must still hold ``before``.

    A link stays one: what it leads to is replaced, as whoever edits it by hand would have it.
    """
    _put(path, after, what=what, place=_Place.FILE, before=before)


def _put(path: str, content: str | bytes, *, what: str, place: _Place, before: bytes | None = None) -> None:
    """Write a draft and give it the name; with ``before``, only to a file that still holds that."""
    from reconciler.core.errors import ReconcilerError

    try:
        whole = Path(path if before is None else os.path.realpath(path))
        if place is _Place.NOTHING:
            _make_folder(whole.parent)
        mode = _mode(whole, place)
        if before is not None and whole.read_bytes() != before:
            raise ReconcilerError(f"{path} was changed in the meantime, and is left as it is", "Run it again.")
        draft = _draft(whole, content.encode("utf-8") if isinstance(content, str) else content, mode)
        try:
            if place is _Place.NOTHING:
                _name(draft, whole)
            else:
                draft.replace(whole)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError as error:
        raise exists(path) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't save the {what} to {path}: {why}", "Name another file.") from error


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
    folder.mkdir(parents=True, exist_ok=True)


def _mode(whole: Path, place: _Place) -> int | None:
    """Return the permissions of the file that is replaced, ``None`` where nothing is.

    Raises :class:`OSError` for what is not to be replaced.
    """
    try:
        found = os.lstat(whole).st_mode
    except FileNotFoundError:
        return None
    if place is _Place.NOTHING:
        raise FileExistsError
    if stat.S_ISLNK(found):
        raise OSError(None, "it is a link, which is not followed; name the file that it leads to")
    if stat.S_ISDIR(found):
        raise OSError(None, "it is a folder; name a file in it")
    if not stat.S_ISREG(found):
        raise OSError(None, "it is a device, a FIFO or a socket; `-o json` prints to standard output instead")
    return stat.S_IMODE(found) & 0o777


def _draft(whole: Path, content: bytes, mode: int | None) -> Path:
    """Write a file of a name that nobody can guess beside the target; return it, or leave nothing behind."""
    draft = whole.with_name(f".reconciler-{os.urandom(8).hex()}.tmp")
    descriptor = os.open(draft, _FLAGS, 0o666)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            if mode is not None:
                draft.chmod(mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)  # else a power cut may leave the name without the content
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _name(draft: Path, whole: Path) -> None:
    """Give a finished file its name. Raises :class:`FileExistsError` where something has it by now."""
    try:
        os.link(draft, whole)  # unlike a rename, it never takes the place of another file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with whole.open("xb") as file:
            file.write(draft.read_bytes())


def exists(path: str) -> ReconcilerError:
    """Return the error for a file that would be overwritten."""
    from reconciler.core.errors import ReconcilerError

    repair = "Name another file; `reconciler import --into FILE` adds to one that is there."
    return ReconcilerError(f"{path} is there already, and is not overwritten", repair)
