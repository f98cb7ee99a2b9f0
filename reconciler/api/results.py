"""Read how the last rebalance of many portfolios ended, and the last few of one.

In: the rebalances of both versions, and ids of v2 operations that the journal knows. Out: a
:class:`~reconciler.core.rebalance.LastRebalance` each, in which a failed read has its place too. v1 takes two calls
(API facts §5.1); v2 has no list, so without an id nothing is asked. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler.api.workers import work_through
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Status
from reconciler.core.rebalance import Knowledge, LastRebalance, Rebalance, RebalanceStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.desired import PortfolioId
    from reconciler.core.live import Live
    from reconciler.core.ports import ReadObserver, RebalanceApi

_NOT_THERE: Final = frozenset({Status.NOT_FOUND, Status.UNREADABLE, Status.NOT_READ})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One portfolio whose last rebalance is asked for.

    ``operation`` is the id of the last one that the journal knows, for a service without a list.
    """

    live: Live
    api: RebalanceApi
    operation: str | None = None


async def read_last(
    asked: Sequence[Asked], *, parallelism: int, observer: ReadObserver | None = None
) -> dict[PortfolioId, LastRebalance]:
    """Return the last rebalance of every portfolio, in the order given; ``parallelism`` at a time.

    Only a refused key (``UNAUTHENTICATED``) is raised. Of a portfolio that could not be read nothing is asked.
    """
    found: dict[PortfolioId, LastRebalance] = {}

    async def read(one: Asked) -> None:
        found[one.live.id] = last = await _last(one)
        if observer is not None:
            observer.read(one.live.id, last.failure)

    await work_through(asked, read, parallelism=parallelism)
    return {one.live.id: found[one.live.id] for one in asked}


async def read_recent(one: Asked, *, limit: int) -> tuple[LastRebalance, ...]:
    """Return the newest rebalances of one portfolio, newest first, each as far as it can be read.

    One that can't be read keeps what the list says of it, beside its failure. Raises :class:`ApiError` where the list
    itself can't be read.
    """
    recent = await one.api.recent(one.live.id, limit=limit)
    if not recent.listed:
        last = await _by_operation(one)
        return (last,) if last.knowledge is not Knowledge.NOT_EXPOSED else ()
    return tuple(await asyncio.gather(*(_looked(one, listed) for listed in recent.rebalances[:limit])))


async def _last(one: Asked) -> LastRebalance:
    if one.live.status in _NOT_THERE:
        return LastRebalance(knowledge=Knowledge.UNREADABLE)
    try:
        recent = await one.api.recent(one.live.id, limit=1)
    except ApiError as error:
        return _unreadable(error)
    if not recent.listed:
        return await _by_operation(one)
    if not recent.rebalances:
        return LastRebalance(knowledge=Knowledge.NONE)
    looked = await _looked(one, recent.rebalances[0])
    return looked if looked.failure is None else replace(looked, rebalance=None)


async def _looked(one: Asked, listed: Rebalance) -> LastRebalance:
    """Return a listed rebalance with its result, which takes a call of its own; the list knows none."""
    try:
        found = await one.api.look(one.live.id, listed.id)
    except ApiError as error:
        return replace(_unreadable(error), rebalance=replace(listed, status=RebalanceStatus.UNKNOWN))
    rebalance = replace(found, scheduled_ms=listed.scheduled_ms, started_ms=found.started_ms or listed.started_ms)
    return LastRebalance(knowledge=Knowledge.READ, rebalance=rebalance)


async def _by_operation(one: Asked) -> LastRebalance:
    """Return the operation that the journal knows, if it is the last one: a later completed one has no id here."""
    if one.operation is None:
        return LastRebalance(knowledge=Knowledge.NOT_EXPOSED)
    try:
        found = await one.api.look(one.live.id, one.operation)
    except ApiError as error:
        if error.kind is FailureKind.NOT_FOUND:
            return LastRebalance(knowledge=Knowledge.NOT_EXPOSED)
        return _unreadable(error)
    last_ms = one.live.scheduled_ms[0] if one.live.scheduled_ms else None
    if found.over and last_ms is not None and (found.ended_ms is None or last_ms > found.ended_ms):
        return LastRebalance(knowledge=Knowledge.NOT_EXPOSED)
    return LastRebalance(knowledge=Knowledge.READ, rebalance=found)


def _unreadable(error: ApiError) -> LastRebalance:
    if error.kind is FailureKind.UNAUTHENTICATED:
        raise error
    return LastRebalance(knowledge=Knowledge.UNREADABLE, failure=error)
