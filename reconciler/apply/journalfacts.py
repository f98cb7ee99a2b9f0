"""What can be told of a journal without using it: its health, and how often rebalances were asked for.

In: a path. Out: counts. Reads while an apply writes, and never makes a file.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from reconciler.apply.journalfile import SCHEMA_VERSION, broken, open_to_read
from reconciler.core.desired import PortfolioId
from reconciler.core.live import LATEST_MS
from reconciler.core.report import Call

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.core.doctor import JournalFacts


def read_facts(path: Path) -> JournalFacts | None:
    """Check a journal and count what is in it, of all services; ``None`` where there is none yet.

    Raises :class:`JournalError` for a file that is damaged or something else.
    """
    from reconciler.core.doctor import JournalFacts  # every plan counts triggers, and has no use for this

    connection = open_to_read(path)
    if connection is None:
        return None
    with closing(connection):
        try:
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise broken(path, ValueError(f"it is damaged: {damage}"))
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


def read_triggers(path: Path, *, base_url: str, since_ms: int) -> Mapping[PortfolioId, int]:
    """Return how many rebalances of each portfolio of one service were asked for since then, sorted by id.

    Those that were refused, or proven to have had no effect, are not counted. Raises :class:`JournalError`.
    """
    connection = open_to_read(path)
    if connection is None:
        return {}
    with closing(connection):
        try:
            rows: list[tuple[Any, ...]] = connection.execute(
                "SELECT portfolio, COUNT(*) FROM writes WHERE base_url = ? AND call = ? AND intent_ms >= ?"
                " AND (outcome IS NULL OR outcome NOT IN ('failed', 'unseen')) GROUP BY portfolio ORDER BY portfolio",
                (base_url, Call.REBALANCE.value, since_ms),
            ).fetchall()
        except sqlite3.Error as error:
            raise broken(path, error) from error
    return {PortfolioId(portfolio): count for portfolio, count in rows}


def _count(connection: sqlite3.Connection, statement: str) -> int:
    found: int = connection.execute(statement).fetchone()[0]
    return found
