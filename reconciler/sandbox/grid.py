"""The times at which a schedule runs, by arithmetic: a year of hourly runs costs as much as one.

In and out: UTC epoch milliseconds. Knows no clock and no portfolio.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The points ``anchor + offset + k * interval`` for k = 0, 1, 2 … that lie after the anchor.

    The anchor is the moment the schedule was started. The service says only "from the start time" (API facts §4.5);
    a start-relative anchor is the choice of this simulator. Requires ``0 <= offset < interval``.
    """

    anchor_ms: int
    interval_ms: int
    offset_ms: int

    def next_after(self, moment_ms: int) -> int:
        """Return the first point later than ``moment_ms``."""
        base = self.anchor_ms + self.offset_ms
        moment = max(moment_ms, self.anchor_ms)
        if moment < base:
            return base
        return base + ((moment - base) // self.interval_ms + 1) * self.interval_ms

    def count(self, *, after_ms: int, until_ms: int) -> int:
        """Return how many points lie later than ``after_ms`` and not later than ``until_ms``."""
        first = self.next_after(after_ms)
        return (until_ms - first) // self.interval_ms + 1 if first <= until_ms else 0

    def newest(self, *, after_ms: int, until_ms: int, most: int) -> tuple[int, ...]:
        """Return the last ``most`` of the points that :meth:`count` counts, newest first."""
        count = self.count(after_ms=after_ms, until_ms=until_ms)
        last = self.next_after(after_ms) + (count - 1) * self.interval_ms
        return tuple(last - index * self.interval_ms for index in range(min(count, most)))
