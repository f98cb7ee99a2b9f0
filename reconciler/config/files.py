"""Read a file that somebody named, without waiting for anybody.

In: a path and a bound. Out: bytes. FIFOs and devices are refused: they have no end, or nobody at the other side.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, EISDIR
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.core.codec import SavedFormat

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Non-blocking for a FIFO that took the file's place since it was looked at; to a file it makes no difference."""


def read_file(path: Path, *, most: int) -> bytes:
    """Return the first ``most`` bytes of a regular file, or of the one that a link leads to.

    Raises :class:`OSError` with its ``strerror``, and :class:`ValueError` for a name that no system knows.
    """
    _require_regular(os.stat(path).st_mode)  # noqa: PTH116 - before it is opened: opening a device may do something
    descriptor = os.open(path, _FLAGS)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        _require_regular(os.fstat(descriptor).st_mode)
        return file.read(most)


def read_saved(file: str, form: SavedFormat) -> bytes:
    """Return the content of a file of this kind, one byte over its bound at most. Raises the error of the kind."""
    try:
        return read_file(Path(file), most=form.largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise form.error(f"can't read {form.what} {file}: {why}", f"Make one with `{form.command}`.") from error


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(EINVAL, "it is a device, a FIFO or a socket, not a file")
