"""Read many portfolios at once, each exactly once, with a bounded number of requests in flight.

In: any :class:`PortfolioApi` and the ids. Out: a mapping of :class:`Live`, sorted by id, in which a failed read has
its place too. Knows no HTTP: retries and pace belong to the api it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.api.workers import work_through
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.desired import PortfolioId
    from reconciler.core.ports import PortfolioApi, ReadObserver


async def read_all(
    api: PortfolioApi, ids: Iterable[PortfolioId], *, parallelism: int, observer: ReadObserver | None = None
) -> dict[PortfolioId, Live]:
    """Return the live state of every id, sorted by id; ``parallelism`` reads (at least 1) run at a time.

    A read that fails is ``UNREADABLE`` and carries its error. Only a refused key (``UNAUTHENTICATED``) is raised:
    every other read would fail alike, and a service that sees one bad key a thousand times may bar us.
    """
    wanted = sorted(set(ids))
    found: dict[PortfolioId, Live] = {}

    async def read(portfolio: PortfolioId) -> None:
        failure = None
        try:
            found[portfolio] = await api.read(portfolio)
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                raise
            failure = error
            found[portfolio] = Live(id=portfolio, status=Status.UNREADABLE, failure=error)
        if observer is not None:
            observer.read(portfolio, failure)

    await work_through(wanted, read, parallelism=parallelism)
    return {portfolio: found[portfolio] for portfolio in wanted}
