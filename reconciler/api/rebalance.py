"""Rebalances over HTTP: paths and bodies of both versions, each a :class:`~reconciler.core.ports.RebalanceApi`.

In: portfolio ids, ids of rebalances. Out: values of :mod:`reconciler.core.rebalance`. API facts §1.1 (V1.4, V1.7 to
V1.9), §1.3 (V2.5, V2.6). Knows no retry and no HTTP header; never decides whether to ask for a rebalance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from reconciler.api.runs import facts_of, operation_of, rebalance_id, recent_of, triggered_of, workflow_of
from reconciler.api.v1 import checked_id, path_of
from reconciler.core.desired import ApiVersion
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.rebalance import PortfolioFacts, RecentRebalances
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from reconciler.api.transport import Transport
    from reconciler.api.v1 import GliderV1
    from reconciler.core.desired import PortfolioId
    from reconciler.core.ports import RebalanceApi
    from reconciler.core.rebalance import Rebalance, Triggered

_NO_SCHEDULE: Final = "A portfolio without a schedule is only run with --skip-schedule-validation."
_NO_RUNS: Final = frozenset({400, 404})
"""How Glider refuses the list of workflows where there never was one: that is no obstacle to the first."""


class Rebalances:
    """Both versions over one :class:`Transport`, so that they share its pace and its limits."""

    def __init__(self, transport: Transport, glider: GliderV1) -> None:
        self._v1 = RebalancesV1(transport, glider)
        self._v2 = RebalancesV2(transport)

    def of(self, version: ApiVersion) -> RebalanceApi:
        """Return the rebalances of one version."""
        return self._v2 if version is ApiVersion.V2 else self._v1


class RebalancesV1:
    """The workflows of v1. ``glider`` knows which path family the service answers."""

    noun: Final = "workflow"

    def __init__(self, transport: Transport, glider: GliderV1) -> None:
        self._transport = transport
        self._glider = glider

    async def trigger(self, portfolio: PortfolioId, *, skip_schedule_validation: bool) -> Triggered:
        """Run the portfolio once now (V1.4). Raises :class:`ApiError`."""
        try:
            return await self._glider.trigger(portfolio, skip_schedule_validation=skip_schedule_validation)
        except ApiError as error:
            if error.kind is FailureKind.REFUSED and not skip_schedule_validation and not error.detail:
                error.detail = _NO_SCHEDULE
            raise

    async def recent(self, portfolio: PortfolioId, *, limit: int) -> RecentRebalances:
        """Read the newest workflows (V1.7). Raises :class:`ApiError`.

        A 404 or 400 in Glider's own envelope, which has a code, says that there are none. One without is a gateway's,
        and says nothing of the portfolio: an earlier run may be under way.
        """
        operation = f"rebalances of {portfolio}"
        path = path_of(portfolio, f"rebalance/status?limit={limit}")
        try:
            payload = await self._transport.get(path, operation=operation)
        except ApiError as error:
            if error.status in _NO_RUNS and error.code is not None:
                return RecentRebalances()
            raise
        return recent_of(portfolio, payload, operation=operation)

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        """Read one execution (V1.8). Raises :class:`ApiError`."""
        operation = f"a rebalance of {portfolio}"
        path = path_of(portfolio, f"rebalance/status/{_segment(rebalance)}")
        payload = await self._transport.get(path, operation=operation)
        return workflow_of(portfolio, rebalance, payload, operation=operation)

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:
        """Read the portfolio (V1.9). Raises :class:`ApiError`."""
        operation = f"portfolio {portfolio}"
        return facts_of(
            portfolio, await self._transport.get(path_of(portfolio), operation=operation), operation=operation
        )


class RebalancesV2:
    """The operations of v2, which are read one by one and by their id alone."""

    noun: Final = "operation"

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def trigger(self, portfolio: PortfolioId, *, skip_schedule_validation: bool) -> Triggered:  # noqa: ARG002 - v2 asks for no schedule
        """Run the portfolio once now (V2.5); where one is in flight, its id is answered. Raises :class:`ApiError`."""
        operation = f"rebalance of {portfolio}"
        path = f"/v2/portfolios/{checked_id(portfolio)}/rebalance"
        payload = await self._transport.post(path, {}, operation=operation, cools_down=True)
        return triggered_of(portfolio, payload, "operationId", operation=operation)

    async def recent(self, portfolio: PortfolioId, *, limit: int) -> RecentRebalances:  # noqa: ARG002 - the port's signature
        """Return no list: none was found in v2 (API facts §5.1). Sends nothing."""
        return RecentRebalances(listed=False)

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        """Read one operation (V2.6). Raises :class:`ApiError`."""
        operation = f"a rebalance of {portfolio}"
        path = f"/v2/portfolios/{checked_id(portfolio)}/operations/{_segment(rebalance)}"
        payload = await self._transport.get(path, operation=operation)
        return operation_of(portfolio, rebalance, payload, operation=operation)

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:  # noqa: ARG002 - the port's signature
        """Return nothing: what v2 tells of a portfolio was read with its schedule. Sends nothing."""
        return PortfolioFacts()


def _segment(rebalance: str) -> str:
    """Return an id of a rebalance as one segment of a path: it is opaque, and may hold what a URL takes for its own."""
    if rebalance_id(rebalance) is None:
        raise ApiError(FailureKind.REFUSED, f"not sent: {harmless(rebalance, longest=60)!r} can't be an id")
    return quote(rebalance, safe="")
