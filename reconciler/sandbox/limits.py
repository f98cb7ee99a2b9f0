"""Counts requests in fixed windows, as the service's rate limits do (API facts §2.5).

In: a limit and the wall clock. Out: an :class:`Allowance`, from which headers and the 429 answer are made. One
counter for all callers; in memory, so each process counts for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.sandbox.settings import RateLimit


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left after one request.

    ``reset_s`` is in unix seconds; ``retry_after_s`` is ``None`` unless the request was one too many.
    """

    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int | None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The rate-limit headers of API facts §2.3."""
        named = ((b"Limit", self.limit), (b"Remaining", self.remaining), (b"Reset", self.reset_s))
        return [(b"X-RateLimit-" + name, str(value).encode()) for name, value in named]


class Limiter:
    """Counts; a window begins with the first request after the last one ended."""

    def __init__(self) -> None:
        self._rule: RateLimit | None = None
        self._ends_ms = 0
        self._used = 0

    def take(self, rule: RateLimit | None, wall_ms: int, *, ahead_ms: int = 0) -> Allowance | None:
        """Count one request at ``wall_ms``; ``None`` where there is no limit. Another rule begins a new window.

        A window lasts as long as it says by the wall clock; its end is told by the simulated one, ``ahead_ms`` ahead.
        """
        if rule is None:
            self._rule = None
            return None
        if rule != self._rule or not self._ends_ms - rule.window_ms <= wall_ms < self._ends_ms:
            self._rule, self._ends_ms, self._used = rule, wall_ms + rule.window_ms, 0
        refused = self._used >= rule.limit
        self._used += not refused
        wait_s = max(1, -((wall_ms - self._ends_ms) // 1_000))
        return Allowance(
            limit=rule.limit,
            remaining=rule.limit - self._used,
            reset_s=-(-(self._ends_ms + ahead_ms) // 1_000),
            retry_after_s=wait_s if refused else None,
        )
