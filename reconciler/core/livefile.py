"""Live state as a file: what one look at the service found, to be planned from later and elsewhere, without a key.

In: what was read of portfolios, of the list of v2 and of strategies, and our records of it. Out: JSON text;
:mod:`reconciler.core.liveread` is the way back. It holds all that a plan needs and nothing that an apply could trust:
it says when it was read (``as_of``), and a plan made from it is for reading only. No key is in it, and no text that is
not harmless.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.desired import ApiVersion
from reconciler.core.fleet import Fleet, asks_for_list
from reconciler.core.live import Live, Status
from reconciler.core.plan import JournalState
from reconciler.core.planfile import TOOL, iso
from reconciler.core.recordfile import record_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.errors import ApiError
    from reconciler.core.fleet import PortfolioList
    from reconciler.core.live import Record
    from reconciler.core.strategy import Cadence, StrategyId, StrategyLive

LIVE_FORMAT: Final = "1.1"
"""Minor versions only add keys; a reader refuses another major version. 1.1 has ``api``, ``listed`` and ``triggers`` of
a portfolio, ``list`` and ``strategies``; a file of 1.0 lacks them, and nothing is known of what they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFile:
    """One look at one service. Every mapping is keyed by portfolio id, or by strategy id, and sorted by it.

    ``as_of_ms`` is the time before the first read, UTC epoch milliseconds: nothing in here is older. ``versions`` says
    on which API each portfolio was read; it lacks those of an older file. ``listed`` is the list of v2 portfolios,
    ``None`` where nobody read one. ``records``, ``pauses`` (tokens), ``triggers`` (rebalances asked for in the 24 hours
    before) and ``cadences`` hold what the journal knew of the portfolios and strategies in here, and of no other;
    ``journal`` says whether it could know anything.
    """

    base_url: str
    as_of_ms: int
    live: Mapping[PortfolioId, Live]
    records: Mapping[PortfolioId, Record]
    pauses: Mapping[PortfolioId, str] = field(default_factory=dict)
    triggers: Mapping[PortfolioId, int] = field(default_factory=dict)
    versions: Mapping[PortfolioId, ApiVersion] = field(default_factory=dict)
    listed: PortfolioList | None = None
    strategies: Mapping[StrategyId, StrategyLive] = field(default_factory=dict)
    cadences: Mapping[StrategyId, Cadence] = field(default_factory=dict)
    journal: JournalState = JournalState.IN_USE

    def fleet_of(self, desired: Mapping[PortfolioId, Desired], *, whole: bool) -> Fleet:
        """Return what reading these portfolios would have found; ``whole`` says that nothing was selected away.

        One that is not in here, or was read on the other API, is ``NOT_READ``, which blocks. The list counts where a
        look at the service would have asked for it, so that the plan is the same one.
        """
        asked = asks_for_list((one.api for one in desired.values()), whole=whole)
        return Fleet(live={i: self._live_of(one) for i, one in desired.items()}, listed=self.listed if asked else None)

    def _live_of(self, desired: Desired) -> Live:
        found = self.live.get(desired.id)
        if found is not None and self.versions.get(desired.id, desired.api) is desired.api:
            return found
        listed = self.listed.rows.get(desired.id) if self.listed is not None else None
        if listed is not None and desired.api is ApiVersion.V2:
            return listed
        return Live(id=desired.id, status=Status.NOT_READ)


def format_live(found: LiveFile) -> str:
    """Return the file as JSON text that ends in a line break; the same look gives the same text.

    Times of portfolios are UTC epoch milliseconds as they are; ``as_of`` is ISO 8601, for people.
    """
    document = {
        "format_version": LIVE_FORMAT,
        "tool": TOOL,
        "as_of": iso(found.as_of_ms),
        "base_url": found.base_url,
        "journal": found.journal.value,
        "portfolios": [
            _portfolio(found.live[i], found)
            | {"api": found.versions[i].value if i in found.versions else None, "listed": _is_row(found, i)}
            for i in sorted(found.live)
        ],
        "list": _list(found, found.listed) if found.listed is not None else None,
        "strategies": [_strategy(found.strategies[s], found.cadences.get(s)) for s in sorted(found.strategies)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _is_row(found: LiveFile, portfolio: PortfolioId) -> bool:
    """Whether the list holds this very portfolio as it was read: then it stands in the file once."""
    return (
        found.listed is not None
        and found.versions.get(portfolio) is ApiVersion.V2
        and found.listed.rows.get(portfolio) == found.live[portfolio]
    )


def _list(found: LiveFile, listed: PortfolioList) -> dict[str, Any]:
    """Return the rest of the list, and whether it is the whole of it."""
    return {
        "portfolios": [
            _portfolio(listed.rows[i], found)
            for i in sorted(listed.rows)
            if i not in found.live or not _is_row(found, i)
        ],
        "failure": _failure(listed.failure) if listed.failure is not None else None,
        "unreadable": listed.unreadable,
    }


def _strategy(live: StrategyLive, recorded: Cadence | None) -> dict[str, Any]:
    return {
        "id": live.id,
        "status": live.status.value,
        "cadence": live.cadence.value if live.cadence is not None else None,
        "word": live.word,
        "failure": _failure(live.failure) if live.failure is not None else None,
        "recorded": recorded.value if recorded is not None else None,
    }


def _portfolio(live: Live, found: LiveFile) -> dict[str, Any]:
    record = found.records.get(live.id)
    return {
        "id": live.id,
        "status": live.status.value,
        "word": live.word,
        "interval_ms": live.interval_ms,
        "offset_ms": live.offset_ms,
        "schedule_id": live.schedule_id,
        "pause_reason": live.pause_reason,
        "next_run_ms": live.next_run_ms,
        "scheduled_ms": list(live.scheduled_ms),
        "runs": live.runs,
        "name": live.name,
        "strategy": live.strategy,
        "strategy_name": live.strategy_name,
        "failure": _failure(live.failure) if live.failure is not None else None,
        "record": record_document(record) if record is not None else None,
        "pause": found.pauses.get(live.id),
        "triggers": found.triggers.get(live.id, 0),
    }


def _failure(failure: ApiError) -> dict[str, Any]:
    """Return a failed read: its kind decides what a plan exits with, the rest is what people are told."""
    return {
        "kind": failure.kind.value,
        "message": failure.summary,
        "status": failure.status,
        "code": failure.code,
        "request_id": failure.request_id,
        "correlation_id": failure.correlation_id,
    }
