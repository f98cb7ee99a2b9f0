"""The time by the service's own clock, as its answers name it in their ``Date`` header.

In: the headers of answers. Out: UTC epoch milliseconds. Knows no socket and no portfolio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.api.retry import http_date_ms
from reconciler.core.duration import SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.ports import Clock

SMALLEST_SKEW_MS: Final = 2 * SECOND_MS
"""Clocks that differ by no more are the same clock: an answer's way here takes time."""

_HALF_MS: Final = SECOND_MS // 2  # the header was cut to the second
_DATE: Final = b"date"


class ServiceTime:
    """How far the service's clock is ahead of ``clock``; none until an answer shows another time."""

    __slots__ = ("_ahead_ms", "_clock", "_last", "named")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = 0
        self._last = b""
        self.named = False
        """Whether any answer named a time that can be understood."""

    def now_ms(self) -> int:
        """Return the time by the service's clock; by ours where it named none, or hardly another."""
        return self._clock.now_ms() + self._ahead_ms

    def heard(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in the headers of an answer that has just come."""
        for name, value in headers:
            if len(name) == len(_DATE) and name.lower() == _DATE:
                if value != self._last:  # it stays the same for a second, and parsing takes longer than all the rest
                    self._last = value
                    self._read(value)
                return

    def _read(self, value: bytes) -> None:
        named_ms = http_date_ms(value.decode("latin-1"))
        if named_ms is None:
            return
        self.named = True
        ahead_ms = named_ms + _HALF_MS - self._clock.now_ms()
        if (
            abs(ahead_ms - self._ahead_ms) > SMALLEST_SKEW_MS + _HALF_MS
        ):  # what is less is noise, and time must not jitter
            self._ahead_ms = ahead_ms
