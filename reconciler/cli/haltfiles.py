"""The files of halts, in the folder ``halts`` of the working directory: read, written, and asked before every write.

In: a service, an account, an open journal. Out: :class:`~reconciler.core.halt.Halts` and the gate of a run. The folder
comes from a checkout, so nothing in it is trusted. A file that can't be read may be a halt, so a command that would
write stops there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from reconciler.core.codec import dump
from reconciler.core.errors import HaltInvalid, ReconcilerError
from reconciler.core.freeze import WriteGate
from reconciler.core.halt import HALT_FORMAT, UNREAD, Halts, format_halt, parse_halt
from reconciler.core.intent import GateClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.output import Output
    from reconciler.core.halt import Halt
    from reconciler.core.ports import Memory
    from reconciler.render.ending import Found

FOLDER: Final = Path("halts")
MOST_FILES: Final = 1_000
_ENDING: Final = ".json"
_REPAIR_FOLDER: Final = f"It may hold halts. Make {FOLDER} a folder that can be read, or take away what has its name."
_REPAIR: Final = f"{UNREAD[0].upper()}{UNREAD[1:]}."


def path_of(halt: str) -> Path:
    """Return where the file of a halt lies."""
    return FOLDER / f"{halt}{_ENDING}"


def read_filed(base_url: str, account: str | None = None) -> tuple[Halt, ...]:
    """Return the halts of a service and account whose files are here, sorted by id. An account that is not known
    matches every other.

    Raises :class:`HaltInvalid` for what may be a halt and can't be read.
    """
    found, unread = read_what_can_be(base_url, account)
    for error in unread:
        raise error
    return found


def read_what_can_be(base_url: str, account: str | None = None) -> tuple[tuple[Halt, ...], tuple[HaltInvalid, ...]]:
    """Return what :func:`read_filed` does, and an error for each file that can't be read."""
    found: list[Halt] = []
    unread: list[HaltInvalid] = []
    try:
        paths = sorted(_paths())
    except HaltInvalid as error:
        return (), (error,)
    for path in paths:
        try:
            found.append(_read(path))
        except HaltInvalid as error:
            unread.append(error)
    mine = (one for one in found if one.base_url == base_url)
    return tuple(one for one in mine if None in (account, one.account) or account == one.account), tuple(unread)


def _read(path: Path) -> Halt:
    from reconciler.config.files import load_saved

    try:
        halt = load_saved(str(path), HALT_FORMAT, parse_halt)
    except HaltInvalid as error:
        raise HaltInvalid(error.summary, _REPAIR) from error
    if path != path_of(halt.id):
        raise HaltInvalid(f"{path} is the file of the halt {halt.id}", f"Call it {path_of(halt.id)}.")
    return halt


def _paths() -> tuple[Path, ...]:
    """Return what may be the file of a halt. Not by ``glob``: to it, a folder that can't be read is an empty one."""
    try:
        found = tuple(path for path in FOLDER.iterdir() if path.suffix.lower() == _ENDING)
    except OSError as error:
        if not os.path.lexists(FOLDER):
            return ()
        raise HaltInvalid(f"the folder {FOLDER} can't be read: {error.strerror or error}", _REPAIR_FOLDER) from error
    if len(found) > MOST_FILES:
        repair = f"Take away those that are lifted; up to {MOST_FILES} are read."
        raise HaltInvalid(f"the folder {FOLDER} holds {len(found)} files", repair)
    return found


def with_filed(memory: Memory, base_url: str, account: str | None, *, shows_only: bool = False) -> Memory:
    """Return what the journal knows, and what the files of halts know besides.

    Raises :class:`HaltInvalid` as :func:`read_filed` does, unless it only has to be shown (``shows_only``).
    """
    filed, unread = read_what_can_be(base_url, account)
    if not shows_only:
        for error in unread:
            raise error
    holding = _holding(filed) | dict(memory.halting.holding)
    told = tuple(error.summary for error in unread)
    return replace(memory, halting=Halts(holding=holding, filed=filed, unread=told))


def _holding(filed: tuple[Halt, ...]) -> dict[str, Halt]:
    return {one.id: one for one in filed if one.lifted_ms is None}


class Filed:
    """The halts that the files hold at the moment of each call; what did not change is not read again."""

    def __init__(self, base_url: str, account: str | None) -> None:
        self._whose = base_url, account
        self._stamp: object = None
        self._holding: Mapping[str, Halt] = {}

    def __call__(self) -> Mapping[str, Halt]:
        """Return those that are not lifted, by id. A file that can't be used closes the gate."""
        stamp = _stamp()
        if stamp != self._stamp:
            try:
                self._holding = _holding(read_filed(*self._whose))
            except HaltInvalid as error:
                raise GateClosed(f"{error.summary}; it may be a halt, so nothing more begins", ends_run=True) from error
            self._stamp = stamp
        return self._holding


def _stamp() -> object:
    """Return what changes whenever a file does. If that can't be told, it is new each time, and the files are read."""
    try:
        seen = [(path.name, path.stat()) for path in sorted(_paths())]
    except (OSError, HaltInvalid):
        return object()
    return [(name, one.st_ino, one.st_mtime_ns, one.st_size) for name, one in seen]


def gate_of(
    halting: Mapping[str, Halt], base_url: str, account: str | None, *, planned_ms: int | None = None
) -> WriteGate:
    """Return the gate of a run that begins now; ``halting`` are the halts that its journal holds.

    ``planned_ms`` is when a saved plan was made. A halt by conditions (``--select``) that came later may be meant for a
    portfolio that its files did not have yet, so it counts as one that the plan does not know.
    """
    known = _holding(read_filed(base_url, account)) | dict(halting)
    if planned_ms is not None:
        known = {
            name: one
            for name, one in known.items()
            if one.at_ms < planned_ms or one.selection is None or not one.selection.by_conditions
        }
    return WriteGate(known=frozenset(known), in_files=Filed(base_url, account))


def keep(halt: Halt, output: Output, found: Found, *, new: bool = False) -> bool:
    """Write the file of a halt, and return whether it is there. If not, the journal has the halt, which goes on."""
    from reconciler.cli.savefile import save, save_new

    path = str(path_of(halt.id))
    try:
        if new:
            save_new(path, format_halt(halt), what="halt")
        else:
            save(path, format_halt(halt), what="halt", begins=HALT_FORMAT.begins, largest=HALT_FORMAT.largest)
    except ReconcilerError as error:
        if new:
            output.warn(f"{error.summary}; the halt goes on, and only this journal knows of it")
        return False
    found.halt_file = path
    return True


def halt_document(halt: Halt) -> dict[str, object]:
    """Return a halt as a JSON object, with its portfolios by their ids alone."""
    return {**dump(halt), "portfolios": sorted(halt.by_id), "file": str(path_of(halt.id))}
