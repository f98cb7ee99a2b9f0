"""Run the program on a slow disk: ``python -m benchmarks.slowdisk MS ARGUMENTS...``.

Every commit to a file of SQLite takes so many milliseconds longer, as on a disk that is slow to say that it has
something. What comes after is what the program is given: ``apply PLAN``.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from functools import partial
from typing import Any


class SlowConnection(sqlite3.Connection):
    """A connection that waits before it commits; ``seconds`` is how long."""

    seconds = 0.0

    def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
        """Execute a statement."""
        if sql == "COMMIT":  # as the journal says it
            time.sleep(self.seconds)
        return super().execute(sql, *given)


if __name__ == "__main__":
    SlowConnection.seconds = float(sys.argv.pop(1)) / 1_000
    vars(sqlite3)["connect"] = partial(sqlite3.connect, factory=SlowConnection)
    from reconciler.cli.main import main

    main(sys.argv[1:])
