"""Is a record still to be believed? What the service shows of a portfolio, held against what the journal remembers.

In: a record, a look, the journal's last pause of that portfolio, and the service's time. Out: the record, or a sentence
that says why it is not believed: then the schedule of that one portfolio is unverified, and every other keeps its own.
What nothing on the service shows can't be seen here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.duration import MINUTE_MS, format_duration
from reconciler.core.live import Live, Record, Status
from reconciler.core.marker import token_of
from reconciler.core.schedule import observed_record
from reconciler.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import PortfolioId
    from reconciler.core.ports import Memory

SLACK_MS: Final = 2 * MINUTE_MS
"""Clocks that are this close are taken for one: a record may be so much ahead, and a next run so late."""


def doubt(record: Record, live: Live, *, last_pause: str | None, now_ms: int) -> str | None:
    """Return why a record is not believed, as the end of a sentence about it; ``None`` where it is.

    ``last_pause`` is the token of the last pause of ours that the journal knows. ``now_ms`` is the service's time.
    """
    if record.confirmed_ms > now_ms + SLACK_MS:
        return "is of a time that has not come yet"
    token = token_of(live.pause_reason)
    if token is not None and token != last_pause:
        return f"is older than our pause {token}, which this journal does not know as the last one"
    interval_ms, next_ms = record.interval_ms, live.next_run_ms
    if (
        live.status is Status.ACTIVE
        and interval_ms is not None
        and next_ms is not None
        and next_ms - now_ms > interval_ms + SLACK_MS
    ):
        ahead = format_duration((next_ms - now_ms) // MINUTE_MS * MINUTE_MS)
        return f"says every {format_duration(interval_ms)}, but the next run is {ahead} ahead"
    return None


def believed(
    memory: Memory, live: Mapping[PortfolioId, Live], *, now_ms: int
) -> tuple[Mapping[PortfolioId, Record], Mapping[PortfolioId, str]]:
    """Return the records that are believed, and why each of the others is not, both by portfolio."""
    doubts = {
        portfolio: why
        for portfolio, record in memory.records.items()
        if portfolio in live
        and (why := doubt(record, live[portfolio], last_pause=memory.pauses.get(portfolio), now_ms=now_ms))
    }
    records = {portfolio: record for portfolio, record in memory.records.items() if portfolio not in doubts}
    return (records if doubts else memory.records), doubts


def observed(memory: Memory, live: Mapping[PortfolioId, Live], *, now_ms: int) -> Mapping[PortfolioId, Record]:
    """Return what these looks add to the records of the journal, by portfolio; to be kept by whoever holds its lock."""
    records, _ = believed(memory, live, now_ms=now_ms)
    found = {portfolio: observed_record(one, records.get(portfolio)) for portfolio, one in live.items()}
    return {portfolio: record for portfolio, record in found.items() if record is not None}


_NAMED: Final = 5
"""So many records that are not believed are told one by one."""


def doubts_told(doubts: Mapping[PortfolioId, str]) -> tuple[Diagnostic, ...]:
    """Return what people are told of records that are not believed: one by one where they are few, else as a count."""
    repair = "its schedule counts as unverified; if an older journal was put back, put the newest one back"
    if len(doubts) > _NAMED:
        names = ", ".join(sorted(doubts)[:_NAMED])
        problem = f"{plural(len(doubts), 'record')} of the journal are not believed ({names}, …)"
        return (Diagnostic(Severity.WARNING, problem, repair, "journal"),)
    return tuple(
        Diagnostic(Severity.WARNING, f"the journal's record {why}", repair, f"portfolios.{portfolio}")
        for portfolio, why in sorted(doubts.items())
    )
