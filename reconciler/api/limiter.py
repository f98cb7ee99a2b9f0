"""How many requests may be sent: fewer at once after a limit, more again after good answers, none beyond what is left.

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
_LIMIT: Final = b"x-ratelimit-limit"
_NO_CAP: Final = 10**15
_LONGEST_NUMBER: Final = 15


class Limiter:
    """Additive increase, multiplicative decrease over the places in flight; always from 1 to ``parallelism``.

    A limit (429) halves the number, once for all requests that were in flight together. After it one request goes
    out alone, the probe, until an answer shows that the service lets requests through again.

    Who has a place also has claims on requests of the service's window, one for each that it sends or may yet send.
    Claims never exceed what the service says is left, unless that shrinks more than we used.
    """

    __slots__ = (
        "_ceiling",
        "_good",
        "_limit",
        "_parallelism",
        "_probing",
        "_reserved",
        "_window",
        "claimed",
        "in_flight",
    )

    def __init__(self, *, parallelism: int) -> None:
        self._parallelism = parallelism
        self._limit = parallelism
        self._ceiling = _NO_CAP
        self._good = 0
        self._window = 0
        self._probing = False
        self._reserved = 0
        self.in_flight = 0
        """Places taken: by requests that have no outcome yet, and by rooms."""
        self.claimed = 0
        """Requests that were sent and have no outcome yet, and those reserved."""

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return 1 if self._probing else min(self._limit, self._ceiling)

    @property
    def free(self) -> bool:
        """Whether one more request may go out."""
        return self.in_flight < (1 if self._probing else self._limit) and self.claimed < self._ceiling

    @property
    def window(self) -> int:
        """The number of limits so far; whoever sends keeps it, and names it again with the outcome."""
        return self._window

    @property
    def spent(self) -> bool:
        """Whether as many requests are on their way as the service still takes."""
        return self.claimed - self._reserved >= self._ceiling

    def overtook(self, window: int) -> bool:
        """Whether a limit came after ``window`` and no answer has shown its end."""
        return self._probing and window != self._window

    def fits(self, requests: int) -> bool:
        """Whether there is a place with claims on so many requests."""
        return self.in_flight < (1 if self._probing else self._limit) and self.claimed + requests <= self._ceiling

    def too_small(self, requests: int) -> bool:
        """Whether so many requests don't fit although nobody has a claim, so that waiting for others is in vain."""
        return self.claimed == 0 and requests > self._ceiling

    def enter(self) -> None:
        """Take a place and a claim, and send."""
        self.in_flight += 1
        self.claimed += 1

    def leave(self) -> None:
        """Give the place and the claim of a request back."""
        self.in_flight -= 1
        self.claimed -= 1

    def take(self, requests: int) -> None:
        """Take a place, and reserve so many requests."""
        self.in_flight += 1
        self.claimed += requests
        self._reserved += requests

    def give_back(self, requests: int) -> None:
        """Give a place back, and what is left of its reservation."""
        self.in_flight -= 1
        self.claimed -= requests
        self._reserved -= requests

    def reserve_one(self) -> bool:
        """Reserve one request more, for a place that is taken; false where that would be too many."""
        if self.claimed >= self._ceiling:
            return False
        self.claimed += 1
        self._reserved += 1
        return True

    def send_reserved(self) -> None:
        """Send a reserved request; what was its reservation is a claim until :meth:`answered`."""
        self._reserved -= 1

    def answered(self) -> None:
        """A reserved request that was sent has its outcome."""
        self.claimed -= 1

    def cap(self, remaining: int | None) -> None:
        """Keep claims to at most ``remaining`` (at least 1), as the service's own count asks; ``None``: no such cap."""
        self._ceiling = _NO_CAP if remaining is None else max(1, remaining)

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

    Answers overtake each other, so within one window the smallest number counts. Times are UTC epoch milliseconds by
    the service's clock.
    """

    __slots__ = ("_left", "_limit", "_most", "_reset_ms")

    def __init__(self) -> None:
        self._left: int | None = None
        self._reset_ms = 0
        self._limit: int | None = None
        self._most: int | None = None

    def concerned(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether these headers can change what is known; cheap enough for every answer."""
        return self._left is not None or any(
            len(name) == len(_REMAINING) and name.lower() == _REMAINING for name, _ in headers
        )

    @property
    def next_size(self) -> int | None:
        """How many requests the next window will take: ``X-RateLimit-Limit``, else the most that was ever left and one.

        ``None`` where nothing is known.
        """
        return self._limit or self._most

    def said(self, headers: Iterable[tuple[bytes, bytes]], now_ms: int) -> None:
        """Take in the headers of an answer; those that are missing, past or no numbers end what was known."""
        remaining = reset_s = None
        for name, value in headers:
            if len(name) == len(_REMAINING) and name.lower() == _REMAINING:
                remaining = _number(value)
            elif len(name) == len(_RESET):
                lower = name.lower()
                if lower == _RESET:
                    reset_s = _number(value)
                elif lower == _LIMIT:
                    self._limit = _number(value) or self._limit
        if remaining is None or reset_s is None:
            if self._left is not None and now_ms >= self._reset_ms:
                self._left = None
            return
        reset_ms = reset_s * SECOND_MS
        if reset_ms <= now_ms:
            return  # of a window that is over
        self._most = max(self._most or 0, remaining + 1)
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
