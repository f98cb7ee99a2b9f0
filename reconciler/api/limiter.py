"""How many requests may be in flight: fewer after a limit, more again after good answers, none beyond what is left.

In: what became of each request, and what ``X-RateLimit-*`` said. Out: numbers and decisions. Pure: it waits for
nothing and knows no clock, socket or library; :mod:`reconciler.api.pacing` does what is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.duration import SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

GOOD_FOR_ONE_MORE: Final = 10
"""So many good answers make room for one more request in flight."""

_REMAINING: Final = b"x-ratelimit-remaining"
_RESET: Final = b"x-ratelimit-reset"
_LONGEST_NUMBER: Final = 15


class Limiter:
    """Additive increase, multiplicative decrease over the requests in flight; always from 1 to ``parallelism``.

    A limit (429) halves the number, once for all requests that were in flight together. After it one request goes
    out alone, the probe, until an answer shows that the service lets requests through again.
    """

    __slots__ = ("_ceiling", "_good", "_limit", "_parallelism", "_probing", "_window", "in_flight")

    def __init__(self, *, parallelism: int) -> None:
        self._parallelism = parallelism
        self._limit = parallelism
        self._ceiling = parallelism
        self._good = 0
        self._window = 0
        self._probing = False
        self.in_flight = 0
        """Requests that were sent, or may be, and have no outcome yet."""

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return 1 if self._probing else min(self._limit, self._ceiling)

    @property
    def free(self) -> bool:
        """Whether one more request may go out."""
        return self.in_flight < (1 if self._probing else min(self._limit, self._ceiling))

    @property
    def window(self) -> int:
        """The number of limits so far; whoever sends keeps it, and names it again with the outcome."""
        return self._window

    def enter(self) -> None:
        """Take a place."""
        self.in_flight += 1

    def leave(self) -> None:
        """Give a place back."""
        self.in_flight -= 1

    def cap(self, remaining: int | None) -> None:
        """Keep at most ``remaining`` (at least 1) in flight, as the service's own count asks; ``None``: no such cap."""
        self._ceiling = self._parallelism if remaining is None else max(1, min(remaining, self._parallelism))

    def passed(self, window: int) -> None:
        """A request sent in ``window`` was let through, whatever became of it then."""
        if window == self._window:
            self._probing = False

    def good(self, window: int) -> None:
        """A request sent in ``window`` was answered well."""
        if self._limit == self._parallelism and not self._probing:
            return
        self.passed(window)
        if window < self._window:
            return
        self._good += 1
        if self._good >= GOOD_FOR_ONE_MORE:
            self._good = 0
            self._limit = min(self._limit + 1, self._parallelism)

    def limited(self, window: int) -> bool:
        """A request sent in ``window`` got a 429; return whether that is news, and not the limit known already."""
        if window < self._window:
            return False
        self._window += 1
        self._limit = max(1, self._limit // 2)
        self._good = 0
        self._probing = True
        return True


class Allowance:
    """What the service says is left until its window ends: ``X-RateLimit-Remaining`` and ``-Reset`` (API facts §2.3).

    Answers overtake each other, so within one window the smallest number counts. Times are UTC epoch milliseconds.
    """

    __slots__ = ("_left", "_reset_ms")

    def __init__(self) -> None:
        self._left: int | None = None
        self._reset_ms = 0

    def concerned(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether these headers can change what is known; cheap enough for every answer."""
        return self._left is not None or any(
            len(name) == len(_REMAINING) and name.lower() == _REMAINING for name, _ in headers
        )

    def said(self, headers: Iterable[tuple[bytes, bytes]], now_ms: int) -> None:
        """Take in the headers of an answer; those that are missing, past or no numbers end what was known."""
        remaining = reset_s = None
        for name, value in headers:
            if len(name) == len(_REMAINING) and name.lower() == _REMAINING:
                remaining = _number(value)
            elif len(name) == len(_RESET) and name.lower() == _RESET:
                reset_s = _number(value)
        if remaining is None or reset_s is None:
            if self._left is not None and now_ms >= self._reset_ms:
                self._left = None
            return
        reset_ms = reset_s * SECOND_MS
        if reset_ms <= now_ms:
            return  # of a window that is over
        if reset_ms == self._reset_ms and self._left is not None:
            remaining = min(remaining, self._left)
        self._left, self._reset_ms = remaining, reset_ms

    def left(self, now_ms: int) -> int | None:
        """Return how many requests the service still takes before its window ends; ``None`` where that is unknown."""
        if self._left is not None and now_ms >= self._reset_ms:
            self._left = None
        return self._left

    def reset_in_ms(self, now_ms: int) -> int:
        """Return how long until the window ends; 0 when it has, or when none is known."""
        return max(0, self._reset_ms - now_ms)


def _number(value: bytes) -> int | None:
    value = value.strip()
    return int(value) if value.isdigit() and len(value) <= _LONGEST_NUMBER else None
