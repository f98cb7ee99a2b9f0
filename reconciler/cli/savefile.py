"""Save what a command made: the file appears whole or not at all, and nothing else is touched.

In: a path and text. Out: the file, or an error that says why not. Every file that a command writes for its user goes
through here. A draft with a random name is written beside the target, and takes the target's name when it is complete.
A file that is there is only replaced by one of the same sort: `--out automation.yaml` is a slip. Only a regular file is
ever replaced (not a device, a FIFO or a folder). Links are not followed, since a checkout may have planted them.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager, suppress
from enum import Enum
from errno import EACCES, ENOTDIR
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.core.codec import GZIP

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_HEAD_BYTES: Final = 200
_STDOUT: Final = Path("-")
PACKED: Final = ".gz"


class _Place(Enum):
    """What may stand at the path before the file is written."""

    NOTHING = "nothing"
    FILE = "a file, which is replaced"


def require_place(path: str, *, what: str, new: bool = False, begins: bytes = b"") -> None:
    """Raise now what :func:`save` (if ``new``, :func:`save_new`) would raise for this path after a long read."""
    with _naming(path, what):
        folder = Path(path).parent
        while new and not os.path.lexists(folder):  # it will be made
            folder = folder.parent
        _require_folder(folder)
        _mode(Path(path), _Place.NOTHING if new else _Place.FILE)
        if not new:
            _require_sort(Path(path), begins)


def save(path: str, text: str, *, what: str, begins: bytes, largest: int | None = None) -> None:
    """Write ``text`` to ``path``, in place of an empty file or one that ``begins`` as such a file does.

    It is compressed if the name ends in ``.gz``. ``largest`` is a limit in bytes before that. Raises
    :class:`~reconciler.core.errors.ReconcilerError`, which calls the file ``what``, as the others here do.
    """
    _put(path, text, what=what, place=_Place.FILE, begins=begins, largest=largest)


def save_new(path: str, text: str, *, what: str) -> None:
    """Write ``text`` to ``path``, where nothing may be yet; makes its folder if that is missing."""
    _put(path, text, what=what, place=_Place.NOTHING)


def replace_file(path: str, before: bytes, after: bytes, *, what: str) -> None:
    """Write ``after`` to the file at ``path``, which must still hold ``before``.

    If ``path`` is a link, it stays one and the file that it leads to is replaced, as an editor would do.
    """
    _put(path, after, what=what, place=_Place.FILE, before=before)


def _put(
    path: str,
    content: str | bytes,
    *,
    what: str,
    place: _Place,
    begins: bytes | None = None,
    before: bytes | None = None,
    largest: int | None = None,
) -> None:
    """Write a draft and give it the target's name; with ``before``, only if the file still holds that text."""
    from reconciler.core.errors import ReconcilerError

    with _naming(path, what):
        whole = Path(path if before is None else os.path.realpath(path))
        if place is _Place.NOTHING:
            _make_folder(whole.parent)
        else:
            _require_folder(whole.parent)
        mode = _mode(whole, place)
        if begins is not None:
            _require_sort(whole, begins)
        if before is not None and whole.read_bytes() != before:
            raise ReconcilerError(f"{path} was changed in the meantime, and is left as it is", "Run it again.")
        data = content.encode("utf-8") if isinstance(content, str) else content
        if largest is not None and len(data) > largest:
            most = f"{largest // 1024 // 1024} MiB"
            raise ReconcilerError(f"the {what} is larger than the {most} that can be read", "Select fewer portfolios.")
        if begins is not None and path.lower().endswith(PACKED):
            import gzip

            data = gzip.compress(data, mtime=0)  # without the time, so that the same look gives the same bytes
        draft = _draft(whole, data, mode)
        try:
            if place is _Place.NOTHING:
                _name(draft, whole)
            else:
                draft.replace(whole)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def _naming(path: str, what: str) -> Iterator[None]:
    """Turn errors of the system into ours, which say what could not be saved, where and why."""
    from reconciler.core.errors import ReconcilerError

    try:
        yield
    except FileExistsError as error:
        repair = "Name another file; `reconciler import --into FILE` adds to one that is there."
        raise ReconcilerError(f"{path} is there already, and is not overwritten", repair) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't save the {what} to {path}: {why}", "Name another file.") from error


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
    folder.mkdir(parents=True, exist_ok=True)


def _require_folder(folder: Path) -> None:
    """Raise :class:`OSError` if no file can be made in a folder: it is not there, or belongs to somebody else."""
    if not os.path.lexists(folder):
        raise OSError(None, f"there is no folder {folder}; make it first")
    if not folder.is_dir():
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(EACCES, os.strerror(EACCES))


def _mode(whole: Path, place: _Place) -> int | None:
    """Return the permissions of the file that will be replaced; ``None`` if there is none.

    Raises :class:`OSError` if what is there must not be replaced, or ``whole`` is ``-``, which people type for stdout.
    """
    if whole == _STDOUT:
        raise OSError(None, "that is no name of a file, and standard output is not one either")
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


def _require_sort(whole: Path, begins: bytes) -> None:
    """Raise :class:`OSError` for a file that holds something else than what is to replace it."""
    if not os.path.lexists(whole):
        return
    with whole.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(GZIP):
        import zlib

        with suppress(zlib.error):
            head = zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    if head and not re.match(begins, head):
        raise OSError(None, "what is there is something else, and is not overwritten")


def _draft(whole: Path, content: bytes, mode: int | None) -> Path:
    """Write a file beside the target, under a name that nobody can guess; on an error, leave nothing behind."""
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
    """Give a finished file its name. Raises :class:`FileExistsError` if something has that name by now."""
    try:
        os.link(draft, whole)  # unlike a rename, it never takes the place of another file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with whole.open("xb") as file:
            file.write(draft.read_bytes())
