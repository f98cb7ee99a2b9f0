"""Where tests put their files: in memory where there is room, for a journal waits for the disk at every write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_BYTES = 1_000_000_000
"""Several times what all tests of one run hold at the same time."""


def in_memory() -> str | None:
    """Return a folder in memory with room, in which programs may be started; ``None`` means the usual folder.

    macOS has none, and a container's is often too small or takes no programs.
    """
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK | os.X_OK):
        return None
    if os.statvfs(MEMORY).f_flag & os.ST_NOEXEC or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        return None
    return str(MEMORY)
