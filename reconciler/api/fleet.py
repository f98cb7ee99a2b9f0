"""Read many things at a time: portfolios, strategies, names and last rebalances, each once.

In: ids, a service, and how many reads may be under way. Out: a value for each, also for a read that failed. Only a
refused key is raised. Decides nothing about what it reads, and knows no HTTP: retries and pace are the service's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.fleet import Fleet, asks_for_list, mostly_missing
from reconciler.core.model import Live, Status, StrategyLive, StrategyStatus
from reconciler.core.rebalance import Knowledge, LastRebalance, Rebalance, RebalanceStatus, ran_since

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence

    from reconciler.api.client import Glider
    from reconciler.core.fleet import PortfolioList
    from reconciler.core.model import PortfolioId, StrategyId
    from reconciler.core.ports import PortfolioApi, ReadObserver, RebalanceApi, StrategyApi
    from reconciler.core.rebalance import KeptRebalance

LOOKED_AT: Final = 5
"""So many of a portfolio's newest rebalances are looked at, at most, to find one that has ended."""

K = TypeVar("K")
T = TypeVar("T")


async def read_each(
    keys: Iterable[K],
    read: Callable[[K], Awaitable[T]],
    unread: Callable[[K, ApiError], T],
    *,
    parallelism: int,
    told: Callable[[K, ApiError | None], None] | None = None,
) -> dict[K, T]:
    """Return what ``read`` returns for every key, in the order given; ``parallelism`` reads (at least 1) at a time.

    Where it raises an :class:`ApiError`, what ``unread`` makes of that stands in its place. Only a refused key
    (``UNAUTHENTICATED``) is raised, once nothing is under way any more: every other read would fail alike, and a
    service that sees one bad key a thousand times may bar us. ``told`` is called with each key and its failure as soon
    as its read is over.
    """
    wanted = tuple(dict.fromkeys(keys))
    found: dict[K, T] = {}

    async def work(waiting: Iterator[K]) -> None:
        for key in waiting:
            failure = None
            try:
                found[key] = await read(key)
            except ApiError as error:
                if error.kind is FailureKind.UNAUTHENTICATED:
                    raise
                failure = error
                found[key] = unread(key, error)
            if told is not None:
                told(key, failure)

    waiting = iter(wanted)
    # A worker for each request in flight, not a task for each portfolio: 10,000 tasks cost more than their requests.
    await _together(*(work(waiting) for _ in range(min(max(parallelism, 1), len(wanted)))))
    return {key: found[key] for key in wanted}


async def _together(*work: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Do all of it at once and return what each comes to; where one raises, nothing of the others is left under way."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_all(
    api: PortfolioApi, ids: Iterable[PortfolioId], *, parallelism: int, observer: ReadObserver | None = None
) -> dict[PortfolioId, Live]:
    """Return the live state of every id, sorted by id; a failed read is ``UNREADABLE`` and carries its error."""
    return await read_each(sorted(ids), api.read, _unreadable, parallelism=parallelism, told=_told(observer))


async def read_cadences(
    api: StrategyApi, ids: Iterable[StrategyId], *, parallelism: int
) -> dict[StrategyId, StrategyLive]:
    """Return the live state of every id, sorted by id; a failed read is ``UNREADABLE`` and carries its error."""

    def unread(strategy: StrategyId, error: ApiError) -> StrategyLive:
        return StrategyLive(id=strategy, status=StrategyStatus.UNREADABLE, failure=error)

    return await read_each(sorted(ids), api.read_strategy, unread, parallelism=parallelism)


async def read_names(
    api: RebalanceApi, ids: Iterable[PortfolioId], *, parallelism: int, observer: ReadObserver | None = None
) -> dict[PortfolioId, str | ApiError | None]:
    """Return the name of every id, sorted by id: harmless text, ``None`` where it has none, or why it can't be read.

    On v1 that takes one more call for each, because its status holds no name (API facts §1.1, V1.9).
    """

    async def read(portfolio: PortfolioId) -> str | ApiError | None:
        return (await api.facts(portfolio)).name

    return await read_each(sorted(ids), read, lambda _, error: error, parallelism=parallelism, told=_told(observer))


def _told(observer: ReadObserver | None) -> Callable[[PortfolioId, ApiError | None], None] | None:
    return observer.read if observer is not None else None


def _unreadable(portfolio: PortfolioId, error: ApiError) -> Live:
    return Live(id=portfolio, status=Status.UNREADABLE, failure=error)


async def read_fleet(
    api: Glider, ids: Iterable[PortfolioId], *, whole: bool, parallelism: int, observer: ReadObserver | None = None
) -> Fleet:
    """Return the live state of every id, and the list of portfolios where one was read.

    API facts §7: a version with a list returns 200 portfolios a call; on the others they are read one by one. ``whole``
    says that nothing was selected away. Then the list is read as soon as one portfolio of such a version is declared,
    and it also shows what nobody declared. A declared portfolio that is not in the list is read on its own: its row may
    have shifted between two pages, and an archived one is never listed. If the list ends early, the portfolios that it
    did not come to are ``UNREADABLE`` with that failure.
    """
    wanted = sorted(set(ids))
    if not asks_for_list(map(api.version_of, wanted), whole=whole):
        read = await read_all(api, wanted, parallelism=parallelism, observer=observer)
        return Fleet(live=await _looked_for_elsewhere(api, read, parallelism))
    enrolled = [portfolio for portfolio in wanted if api.version_of(portfolio).can.lists]
    declared = frozenset(enrolled)
    others = [portfolio for portfolio in wanted if portfolio not in declared]

    def seen(live: Live) -> None:
        if observer is not None and live.id in declared:
            observer.read(live.id, live.failure)

    # The pages come one after the other, so single reads can be under way beside them; the transport limits both.
    singles = read_all(api, others, parallelism=parallelism, observer=observer)
    listed: PortfolioList
    listed, found = await _together(api.list_portfolios(seen), singles)
    found |= {portfolio: listed.rows[portfolio] for portfolio in enrolled if portfolio in listed.rows}
    missing = [portfolio for portfolio in enrolled if portfolio not in listed.rows]
    if listed.failure is None:
        found |= await read_all(api, missing, parallelism=parallelism, observer=observer)
    else:
        for portfolio in missing:
            found[portfolio] = _unreadable(portfolio, listed.failure)
            if observer is not None:
                observer.read(portfolio, listed.failure)
    live = {portfolio: found[portfolio] for portfolio in wanted}
    return Fleet(live=await _looked_for_elsewhere(api, live, parallelism), listed=listed)


async def _looked_for_elsewhere(
    api: Glider, live: dict[PortfolioId, Live], parallelism: int
) -> dict[PortfolioId, Live]:
    """Look once on every other API for the portfolios that were not found, and say so where one has them.

    If most of a fleet is missing, this is left out: then the key belongs to another account, and the files are right.
    """
    missing = [portfolio for portfolio, one in live.items() if one.status is Status.NOT_FOUND]
    if not missing or mostly_missing(live.values()):
        return live
    others = {i: [version for version in api.tables if version != api.version_of(i)] for i in missing}
    for number in range(len(api.tables) - 1):
        other = {portfolio: versions[number] for portfolio, versions in others.items()}
        found = await read_all(api.by(other), missing, parallelism=parallelism)
        for portfolio in missing:
            failure = live[portfolio].failure
            if failure is not None and found[portfolio].status.was_seen:
                version = other[portfolio].value
                failure.detail = f"{version} has it: declare it with `api: {version}`"
    return live


class LastRunQuery(Struct, frozen=True):
    """One portfolio whose last rebalance is asked for.

    ``operation`` is the id of the last one that the journal knows, for a service without a list. What is in ``known``
    and over is not asked for again.
    """

    live: Live
    operation: str | None = None
    known: Sequence[KeptRebalance] = ()


async def read_last(
    api: RebalanceApi, asked: Sequence[LastRunQuery], *, parallelism: int, observer: ReadObserver | None = None
) -> dict[PortfolioId, LastRebalance]:
    """Return the last rebalance of every portfolio, in the order given.

    If the service has a list, each takes one call, and one more for every rebalance whose result is not known yet (API
    facts §5.1): for the last one and, if that has not ended, for those before it. A portfolio that could not be read
    takes none.
    """
    by_id = {one.live.id: one for one in asked}

    async def read(portfolio: PortfolioId) -> LastRebalance:
        return await _last(api, by_id[portfolio])

    return await read_each(by_id, read, _unread, parallelism=parallelism, told=_told(observer))


async def read_recent(api: RebalanceApi, one: LastRunQuery, *, limit: int) -> tuple[LastRebalance, ...]:
    """Return the newest rebalances of one portfolio, newest first, each as far as it can be read.

    If one can't be read, it has what the list says about it, and its failure. Raises :class:`ApiError` if the list
    itself can't be read.
    """
    recent = await api.recent(one.live.id, limit=limit)
    if not recent.listed:
        read_one = await read_each([one.live.id], lambda _: _by_operation(api, one), _unread, parallelism=1)
        last = read_one[one.live.id]
        return (last,) if last.knowledge is not Knowledge.NOT_EXPOSED else ()
    listed = recent.rebalances[:limit]

    async def read(number: int) -> LastRebalance:
        return LastRebalance(knowledge=Knowledge.READ, rebalance=await _looked(api, one, listed[number]))

    def unread(number: int, error: ApiError) -> LastRebalance:
        unknown = replace(listed[number], status=RebalanceStatus.UNKNOWN)
        return LastRebalance(knowledge=Knowledge.UNREADABLE, failure=error, rebalance=unknown)

    return tuple((await read_each(range(len(listed)), read, unread, parallelism=limit)).values())


async def _last(api: RebalanceApi, one: LastRunQuery) -> LastRebalance:
    if not one.live.status.was_seen:
        return LastRebalance(knowledge=Knowledge.UNREADABLE)
    recent = await api.recent(one.live.id, limit=LOOKED_AT)
    if not recent.listed:
        return await _by_operation(api, one)
    if not recent.rebalances:
        return LastRebalance(knowledge=Knowledge.NONE)
    last, *listed = recent.rebalances[:LOOKED_AT]
    found = [await _looked(api, one, last)]
    try:
        while listed and not found[-1].ended:
            found.append(await _looked(api, one, listed.pop(0)))
    except ApiError as error:  # the last one is known all the same
        if error.kind is FailureKind.UNAUTHENTICATED:
            raise
    return LastRebalance(knowledge=Knowledge.READ, rebalance=found[0], earlier=tuple(found[1:]))


async def _looked(api: RebalanceApi, one: LastRunQuery, listed: Rebalance) -> Rebalance:
    """Return a listed rebalance with its result, which takes a call of its own because the list has no results."""
    known = (kept.rebalance for kept in one.known if kept.rebalance.id == listed.id and kept.rebalance.over)
    if (over := next(known, None)) is not None:
        return replace(over, scheduled_ms=listed.scheduled_ms)
    found = await api.look(one.live.id, listed.id)
    return replace(found, scheduled_ms=listed.scheduled_ms, started_ms=found.started_ms or listed.started_ms)


async def _by_operation(api: RebalanceApi, one: LastRunQuery) -> LastRebalance:
    """Return the operation that the journal knows, if it is the last one; the id of a later one is not known."""
    if one.operation is None:
        return LastRebalance(knowledge=Knowledge.NOT_EXPOSED)
    try:
        found = await api.look(one.live.id, one.operation)
    except ApiError as error:
        if error.kind is FailureKind.NOT_FOUND:
            return LastRebalance(knowledge=Knowledge.NOT_EXPOSED)
        raise
    if found.over and ran_since(found, one.live):
        return LastRebalance(knowledge=Knowledge.NOT_EXPOSED)
    return LastRebalance(knowledge=Knowledge.READ, rebalance=found)


def _unread(_: PortfolioId, error: ApiError) -> LastRebalance:
    return LastRebalance(knowledge=Knowledge.UNREADABLE, failure=error)
