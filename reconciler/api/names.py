"""Read the names of v1 portfolios: one more call each (API facts §1.1, V1.9), since the status does not carry them.

In: any :class:`~reconciler.core.ports.RebalanceApi`, which reads the portfolio itself, and the ids. Out: a name, none,
or the error of each. Knows no HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.api.workers import work_through
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.desired import PortfolioId
    from reconciler.core.ports import ReadObserver, RebalanceApi


async def read_names(
    api: RebalanceApi, ids: Iterable[PortfolioId], *, parallelism: int, observer: ReadObserver | None = None
) -> dict[PortfolioId, str | ApiError | None]:
    """Return the name of every id, sorted by id: harmless text, ``None`` where it has none, or why it can't be read.

    ``parallelism`` reads (at least 1) run at a time. Only a refused key (``UNAUTHENTICATED``) is raised.
    """
    wanted = sorted(set(ids))
    found: dict[PortfolioId, str | ApiError | None] = {}

    async def read(portfolio: PortfolioId) -> None:
        failure = None
        try:
            found[portfolio] = (await api.facts(portfolio)).name
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                raise
            found[portfolio] = failure = error
        if observer is not None:
            observer.read(portfolio, failure)

    await work_through(wanted, read, parallelism=parallelism)
    return {portfolio: found[portfolio] for portfolio in wanted}
