"""Save what a command made: the file appears whole or not at all.

In: a path and text. Out: the file, or an error that says why not.
"""

from __future__ import annotations

import os
from errno import ENOTDIR
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.core.errors import ReconcilerError


def save(path: str, text: str, *, what: str) -> None:
    """Write ``text`` to ``path``. Raises :class:`~reconciler.core.errors.ReconcilerError`, which names ``what``."""
    from reconciler.core.errors import ReconcilerError

    try:
        whole = Path(path)
        draft = whole.with_name(whole.name + ".tmp")
        draft.write_text(text, encoding="utf-8")
        draft.replace(whole)
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't save the {what} to {path}: {why}", "Name another file.") from error


def save_new(path: str, text: str, *, what: str) -> None:
    """Write ``text`` to ``path``, where nothing may be; its folder is made where it is missing.

    Raises :class:`~reconciler.core.errors.ReconcilerError`.
    """
    from reconciler.core.errors import ReconcilerError

    try:
        whole = Path(path)
        draft = whole.with_name(f"{whole.name}.{os.getpid()}.tmp")
        if whole.parent.exists() and not whole.parent.is_dir():
            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
        whole.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(text, encoding="utf-8", newline="")
            _name(draft, whole)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError as error:
        raise exists(path) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't save the {what} to {path}: {why}", "Name another file.") from error


def _name(draft: Path, whole: Path) -> None:
    """Give a finished file its name. Raises :class:`FileExistsError` where something has it by now."""
    try:
        os.link(draft, whole)  # unlike a rename, it never takes the place of another file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with whole.open("xb") as file:
            file.write(draft.read_bytes())


def replace_file(path: str, before: bytes, after: bytes, *, what: str) -> None:
    """Write ``after`` to the file at ``path``, which must still hold ``before``; its permissions stay.

    A link stays one: what it leads to is replaced. Raises :class:`~reconciler.core.errors.ReconcilerError`.
    """
    import shutil

    from reconciler.core.errors import ReconcilerError

    try:
        whole = Path(os.path.realpath(path))
        if whole.read_bytes() != before:
            raise ReconcilerError(f"{path} was changed in the meantime, and is left as it is", "Run it again.")
        draft = whole.with_name(f"{whole.name}.{os.getpid()}.tmp")
        try:
            draft.write_bytes(after)
            shutil.copymode(whole, draft)
            draft.replace(whole)
        finally:
            draft.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't save the {what} to {path}: {why}", "Name another file.") from error


def exists(path: str) -> ReconcilerError:
    """Return the error for a file that would be overwritten."""
    from reconciler.core.errors import ReconcilerError

    repair = "Name another file, or add to this one with --into."
    return ReconcilerError(f"{path} is there already, and is not overwritten", repair)
