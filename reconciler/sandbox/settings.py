"""How a simulated Glider behaves as a whole: the ``settings`` of a seed.

In: plain data. Out: :class:`Settings`. Knows no portfolio.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.core.text import DAY_MS, format_duration
from reconciler.sandbox.checks import Fields, shown
from reconciler.sandbox.model import RebalancePace

if TYPE_CHECKING:
    from reconciler.sandbox.checks import Problems

MOST_REQUESTS: Final = 1_000_000
LONGEST_PACE_MS: Final = 30 * DAY_MS

_SETTINGS: Final = ("readable_schedule", "paths", "rate_limit", "update_while_paused", "rebalance", "scopes")


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


def parse_settings(data: object, problems: Problems) -> Settings:
    """Return the settings that plain data describes; problems are noted, not raised."""
    fields = Fields(data, "settings", problems, known=_SETTINGS)
    limit: RateLimit | None = None
    if "rate_limit" in fields:
        inner = Fields(fields.raw("rate_limit"), fields.at("rate_limit"), problems, known=("limit", "window"))
        count = inner.whole("limit", default=100, least=1, most=MOST_REQUESTS)
        limit = RateLimit(limit=count, window_ms=span(inner, "window", default=60_000, least=1_000, most=DAY_MS))
    return Settings(
        readable_schedule=fields.flag("readable_schedule", default=False),
        paths=fields.choice("paths", PathFamilies, default=None) or PathFamilies.BOTH,
        rate_limit=limit,
        update_while_paused=fields.choice("update_while_paused", UpdateWhilePaused, default=None)
        or UpdateWhilePaused.ACCEPT,
        pace=_pace(fields, problems),
        scopes=_scopes(fields),
    )


def span(fields: Fields, key: str, *, default: int, least: int, most: int) -> int:
    """Return a duration in milliseconds from ``least`` to ``most``."""
    value = fields.duration(key, default=default)
    if not least <= value <= most:
        fields.problem(key, f"must be between {format_duration(least)} and {format_duration(most)}")
        return default
    return value


def _pace(fields: Fields, problems: Problems) -> RebalancePace:
    usual = RebalancePace()
    if "rebalance" not in fields:
        return usual
    inner = Fields(fields.raw("rebalance"), fields.at("rebalance"), problems, known=("queue", "takes", "cooldown"))
    takes = span(inner, "takes", default=usual.takes_ms, least=1, most=LONGEST_PACE_MS)
    queue = span(inner, "queue", default=min(usual.queue_ms, takes - 1), least=0, most=LONGEST_PACE_MS)
    if queue >= takes:
        inner.problem("queue", "must be shorter than takes, which includes it")
    cooldown = span(inner, "cooldown", default=usual.cooldown_ms, least=0, most=LONGEST_PACE_MS)
    return RebalancePace(queue_ms=queue, takes_ms=takes, cooldown_ms=cooldown)


def _scopes(fields: Fields) -> tuple[ApiScope, ...]:
    if "scopes" not in fields:
        return tuple(ApiScope)
    given = fields.raw("scopes")
    words = [scope.value for scope in ApiScope]
    if not isinstance(given, list) or not all(isinstance(word, str) and word in words for word in given):
        fields.problem("scopes", f"must be a list of {', '.join(words)}, not {shown(given)}")
        return tuple(ApiScope)
    return tuple(scope for scope in ApiScope if scope.value in given)
