"""What can be told of a journal without using it: its health, and how much is in it.

In: a path. Out: counts. Reads while an apply writes, and never makes a file.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from reconciler.apply import journalsql
from reconciler.apply.journalfile import SCHEMA_VERSION, broken, open_to_read, require_sound
from reconciler.core.doctor import JournalFacts
from reconciler.core.live import LATEST_MS

if TYPE_CHECKING:
    from pathlib import Path


def read_facts(path: Path) -> JournalFacts | None:
    """Check a journal and count what is in it, of all services; ``None`` where there is none yet.

    Raises :class:`JournalError` for a file that is damaged or something else.
    """
    connection = open_to_read(path)
    if connection is None:
        return None
    with closing(connection):
        try:
            require_sound(connection, path)
            records = _count(connection, "SELECT COUNT(*) FROM confirmed")
            intents = _count(connection, "SELECT COUNT(*) FROM writes WHERE outcome IS NULL")
            last = connection.execute(
                "SELECT id, started_ms, exit_reason FROM runs ORDER BY id DESC LIMIT 1"
            ).fetchone()
        except sqlite3.Error as error:
            raise broken(path, error) from error
    if last is not None and not 0 <= last[1] <= LATEST_MS:
        raise broken(path, ValueError(f"it is damaged: {last[1]} is no time"))
    return JournalFacts(
        version=SCHEMA_VERSION,
        records=records,
        open_intents=intents,
        last_run=last[0] if last is not None else None,
        last_started_ms=last[1] if last is not None else None,
        last_ended=last[2] if last is not None else None,
    )


def services_of(path: Path) -> tuple[tuple[str, str | None], ...]:
    """Return the services and accounts that a journal knows something of, sorted; none where there is no journal."""
    connection = open_to_read(path)
    if connection is None:
        return ()
    with closing(connection):
        try:
            return tuple(connection.execute(journalsql.SERVICES).fetchall())
        except sqlite3.Error as error:
            raise broken(path, error) from error


def _count(connection: sqlite3.Connection, statement: str) -> int:
    found: int = connection.execute(statement).fetchone()[0]
    return found
