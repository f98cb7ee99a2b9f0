"""Where tests put their files: in memory where there is room, for a journal waits for the disk at every write."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_BYTES = 1_000_000_000
"""Several times what all tests of one run hold at the same time."""
KEPT_SECONDS = 3_600
"""How long the folder of a killed run stays; one that stays a day fills the memory of a busy machine."""


def in_memory() -> Path | None:
    """Return a folder in memory with room, in which programs may be started; ``None`` means the usual folder.

    macOS has none, and a container's is often too small or takes no programs.
    """
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK | os.X_OK):
        return None
    if os.statvfs(MEMORY).f_flag & os.ST_NOEXEC or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        return None
    return MEMORY


def own_folder(memory: Path) -> Path:
    """Return a new folder for the run of this process, and remove what killed runs left there more than an hour ago."""
    home = memory / f"glider-reconciler-tests-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    home.chmod(0o711)  # a server that a test starts runs as somebody else, in a folder of its own
    for left in home.iterdir():
        with contextlib.suppress(OSError):  # another run may remove it at this moment
            if left.stat().st_mtime < time.time() - KEPT_SECONDS and not _runs(int(left.name)):
                shutil.rmtree(left)
    made = home / str(os.getpid())
    shutil.rmtree(made, ignore_errors=True)  # of an earlier process of this number
    made.mkdir()
    return made


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
