"""Read a whole fleet of both versions: v2 portfolios by their list, v1 portfolios and stragglers one by one.

In: the ids, and a :class:`~reconciler.api.router.Glider` that knows their versions. Out: a
:class:`~reconciler.core.fleet.Fleet`. API facts §7: 200 portfolios of v2 a call, one of v1. Decides nothing about any.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.api.read import read_all
from reconciler.core.desired import ApiVersion
from reconciler.core.fleet import Fleet, asks_for_list, mostly_missing
from reconciler.core.live import Live, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.api.router import Glider
    from reconciler.core.desired import PortfolioId
    from reconciler.core.errors import ApiError
    from reconciler.core.ports import ReadObserver


async def read_fleet(
    api: Glider, ids: Iterable[PortfolioId], *, whole: bool, parallelism: int, observer: ReadObserver | None = None
) -> Fleet:
    """Return the live state of every id, and the list of v2 portfolios where one was read.

    ``whole`` says that nothing was selected away; then the list is read as soon as one v2 portfolio is declared, which
    also tells what nobody declared. A declared portfolio that the list lacks is read by itself: rows may shift past a
    reader, and an archived one is never listed. Where the list ends early, what it did not come to is ``UNREADABLE``
    with that failure. Only a refused key (``UNAUTHENTICATED``) is raised, as by
    :func:`~reconciler.api.read.read_all`.
    """
    wanted = sorted(set(ids))
    enrolled = [portfolio for portfolio in wanted if api.version_of(portfolio) is ApiVersion.V2]
    if not asks_for_list(map(api.version_of, wanted), whole=whole):
        read = await read_all(api, wanted, parallelism=parallelism, observer=observer)
        return Fleet(live=await _looked_for_elsewhere(api, read, parallelism))
    of_v1 = [portfolio for portfolio in wanted if api.version_of(portfolio) is not ApiVersion.V2]
    declared = frozenset(enrolled)

    def seen(live: Live) -> None:
        if observer is not None and live.id in declared:
            observer.read(live.id, live.failure)

    # Page after page leaves room for others in flight; the transport keeps the number of both together.
    pages = asyncio.ensure_future(api.v2.list_portfolios(seen))
    singles = asyncio.ensure_future(read_all(api, of_v1, parallelism=parallelism, observer=observer))
    try:
        listed, found = await asyncio.gather(pages, singles)
    finally:
        for task in (pages, singles):
            task.cancel()
        await asyncio.gather(pages, singles, return_exceptions=True)
    found |= {portfolio: listed.rows[portfolio] for portfolio in enrolled if portfolio in listed.rows}
    missing = [portfolio for portfolio in enrolled if portfolio not in listed.rows]
    if listed.failure is not None:
        found |= {portfolio: _not_come_to(portfolio, listed.failure, observer) for portfolio in missing}
    else:
        found |= await read_all(api, missing, parallelism=parallelism, observer=observer)
    live = {portfolio: found[portfolio] for portfolio in wanted}
    return Fleet(live=await _looked_for_elsewhere(api, live, parallelism), listed=listed)


async def _looked_for_elsewhere(
    api: Glider, live: dict[PortfolioId, Live], parallelism: int
) -> dict[PortfolioId, Live]:
    """Look once at the other API for what the one that was asked does not find, and say so where it is there.

    Not where most of a fleet is missing: that is another account, and not a wrong word in the files.
    """
    missing = [portfolio for portfolio, one in live.items() if one.status is Status.NOT_FOUND]
    if not missing or mostly_missing(live.values()):
        return live
    other = {i: ApiVersion.V1 if api.version_of(i) is ApiVersion.V2 else ApiVersion.V2 for i in missing}
    found = await read_all(api.by(other), missing, parallelism=parallelism)
    for portfolio in missing:
        failure = live[portfolio].failure
        if failure is not None and found[portfolio].status not in (Status.NOT_FOUND, Status.UNREADABLE):
            version = other[portfolio].value
            failure.detail = f"{version} has it: declare it with `api: {version}`"
    return live


def _not_come_to(portfolio: PortfolioId, failure: ApiError, observer: ReadObserver | None) -> Live:
    if observer is not None:
        observer.read(portfolio, failure)
    return Live(id=portfolio, status=Status.UNREADABLE, failure=failure)
