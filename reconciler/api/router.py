"""One Glider, two APIs: each portfolio's calls go to the version that it is managed by, never to the other.

In: the version of each portfolio, from the files, a plan or the journal. Out: an
:class:`~reconciler.core.ports.AutomationApi` over both. API facts §4.9: a portfolio belongs to one version. Knows no
path and no payload.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from reconciler.api.v1 import GliderV1
from reconciler.api.v2 import GliderV2
from reconciler.core.desired import ApiVersion, PortfolioId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.api.transport import Transport
    from reconciler.core.live import Live
    from reconciler.core.paths import Paths
    from reconciler.core.ports import Confirmation, PortfolioApi, Room


class Glider:
    """Both APIs over one :class:`Transport`, so that they share its pace and its limits.

    A portfolio that ``versions`` does not hold is v1's.
    """

    def __init__(self, transport: Transport, *, paths: Paths, versions: Mapping[PortfolioId, ApiVersion]) -> None:
        self.transport = transport
        self.v1 = GliderV1(transport, paths=paths)
        self.v2 = GliderV2(transport)
        self.versions = versions

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told after the run: sentences, each once, oldest first."""
        return self.v1.notes

    def by(self, versions: Mapping[PortfolioId, ApiVersion]) -> Glider:
        """Return the same service for portfolios of these versions; what one learns of paths, the other knows."""
        other = copy(self)
        other.versions = {**self.versions, **versions}
        return other

    def version_of(self, portfolio: PortfolioId) -> ApiVersion:
        """Return the API that a portfolio is managed by."""
        return self.versions.get(portfolio, ApiVersion.V1)

    def room(self) -> Room:
        """Return room for the looks and attempts of one write."""
        return self.transport.room()

    def service_ms(self) -> int:
        """Return the time by the service's clock."""
        return self.transport.service_ms()

    async def read(self, portfolio: PortfolioId) -> Live:
        """Read a portfolio's status."""
        return await self._of(portfolio).read(portfolio)

    async def start(
        self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None, run_now: bool
    ) -> Confirmation:
        """Start automation; v2 refuses it."""
        return await self._of(portfolio).start(portfolio, interval_ms=interval_ms, offset_ms=offset_ms, run_now=run_now)

    async def pause(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Pause automation; v2 keeps no reason."""
        return await self._of(portfolio).pause(portfolio, reason=reason)

    async def resume(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Resume automation; on v2 a rebalance is due at once."""
        return await self._of(portfolio).resume(portfolio, reason=reason)

    async def update_schedule(self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None) -> Confirmation:
        """Set interval and offset; v2 refuses it."""
        return await self._of(portfolio).update_schedule(portfolio, interval_ms=interval_ms, offset_ms=offset_ms)

    def _of(self, portfolio: PortfolioId) -> PortfolioApi:
        return self.v2 if self.version_of(portfolio) is ApiVersion.V2 else self.v1
