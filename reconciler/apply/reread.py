"""Read again until something is seen, a few times: how a write is believed.

In: a portfolio and what to look for. Out: whether it was seen within the bound, and what was seen last. A read that
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
class Sight:
    """The last state that could be read, if any could, and whether it is as expected."""

    live: Live | None
    expected: bool


@dataclass(frozen=True, slots=True)
class Rereader:
    """Looks at one portfolio until it shows what is expected."""

    api: AutomationApi
    clock: Clock

    async def until(self, portfolio: PortfolioId, expected: Callable[[Live], bool]) -> Sight:
        """Return the first live state that is as expected, or what the last look showed."""
        last: Live | None = None
        for seconds in WAITS_SECONDS:
            if seconds:
                await self.clock.sleep(seconds)
            try:
                live = await self.api.read(portfolio)
            except ApiError as error:
                last = None
                if error.kind in (FailureKind.UNAUTHENTICATED, FailureKind.FORBIDDEN):
                    break
                continue
            if expected(live):
                return Sight(live, expected=True)
            last = live
        return Sight(last, expected=False)
