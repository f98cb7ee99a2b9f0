"""How a simulated Glider behaves as a whole: the ``settings`` of a seed.

In: nothing. Out: :class:`Settings`. Knows no portfolio.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from reconciler.sandbox.model import RebalancePace


class PathFamilies(StrEnum):
    """Which v1 path family is routed (API facts §4.1)."""

    BOTH = "both"
    REFERENCE = "reference"
    GUIDE = "guide"


class UpdateWhilePaused(StrEnum):
    """What happens to an update of a paused portfolio; the service does not say (API facts §3.1)."""

    ACCEPT = "accept"
    REFUSE = "refuse"


class ApiScope(StrEnum):
    """What a key may do on v2 (API facts §2.7)."""

    PORTFOLIOS_READ = "portfolios:read"
    PORTFOLIOS_WRITE = "portfolios:write"
    STRATEGIES_READ = "strategies:read"
    STRATEGIES_WRITE = "strategies:write"


class RateLimit(Struct, frozen=True, kw_only=True):
    """At most ``limit`` requests in each window of ``window_ms``."""

    limit: int
    window_ms: int


class Settings(Struct, frozen=True, kw_only=True):
    """How the simulated service behaves as a whole."""

    readable_schedule: bool = False
    """Whether the status answer shows interval and offset (API facts §4.3)."""
    paths: PathFamilies = PathFamilies.BOTH
    rate_limit: RateLimit | None = None
    update_while_paused: UpdateWhilePaused = UpdateWhilePaused.ACCEPT
    pace: RebalancePace = RebalancePace()
    """How fast rebalances go; ``rebalance`` in a seed."""
    scopes: tuple[ApiScope, ...] = tuple(ApiScope)
    """What every key may do on v2, in the order of :class:`ApiScope`."""
