"""Read again until something is seen, a few times: how a write is believed.

In: a portfolio and what to look for. Out: the live state that showed it, or nothing within the bound. A read that
fails shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.desired import PortfolioId
    from reconciler.core.live import Live
    from reconciler.core.ports import AutomationApi, Clock

WAITS_SECONDS: Final = (0.0, 0.2, 0.4, 0.8, 1.6)
"""Before each look. The service names no bound for how soon a read shows a write; after three seconds we say so."""


@dataclass(frozen=True, slots=True)
class Rereader:
    """Looks at one portfolio until it shows what is expected."""

    api: AutomationApi
    clock: Clock

    async def until(self, portfolio: PortfolioId, expected: Callable[[Live], bool]) -> Live | None:
        """Return the first live state that is as expected, or ``None`` after the last look."""
        for seconds in WAITS_SECONDS:
            if seconds:
                await self.clock.sleep(seconds)
            try:
                live = await self.api.read(portfolio)
            except ApiError as error:
                if error.kind in (FailureKind.UNAUTHENTICATED, FailureKind.FORBIDDEN):
                    return None
                continue
            if expected(live):
                return live
        return None
