"""What a run knows of the service's limits: how fast requests may go out, whether any may, how many are left.

In: what was sent, and what became of it. Out: numbers and waits. Plain state without a clock: times are milliseconds
of one clock that only grows, unless a name says otherwise. :mod:`reconciler.api.limiter` does the waiting.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from reconciler.core.text import DAY_MS, MINUTE_MS, SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONGEST_PLAUSIBLE_MS: Final = DAY_MS
"""No rate limit lasts longer: a ``Retry-After`` beyond this is a wrong clock or unit, and is capped."""
CAPPED_WAIT_MS: Final = MINUTE_MS
"""How long to wait instead of an implausible time. If the next answer asks for one again, it is believed."""

_BACKOFF_BASE_MS: Final = 250
_BACKOFF_CAP_MS: Final = 8 * SECOND_MS

# All of these were tried out against simulated services (tests/api/test_api_limiter.py).
_FIRST_PER_S: Final = 30.0  # after the first refusal nothing is known, so begin low
_MORE_PER_ANSWER: Final = 4.0  # and grow with each answer, e-fold in a quarter of a second
_DIP: Final = 0.1  # how far below the level the rate starts after a refusal
_BACK_AFTER: Final = 100  # so many requests later it is at the level again,
_BACK_AFTER_MS: Final = (700, 3 * SECOND_MS)  # but not earlier or later than this
_ENOUGH: Final = 10  # answers between two refusals that make a measurement,
_LONG_ENOUGH_MS: Final = 250  # and the time between them
_MUCH_LESS: Final = 0.75  # of the rate: a measurement below it is only a lower bound
_SAMPLE: Final = 12  # requests that tell by themselves which share of the rate was served
_LEAST_SHARE: Final = 0.1
_PAUSE_MS: Final = 2 * SECOND_MS  # after we sent nothing for so long, a measurement begins anew
_FLOOR_PER_S: Final = 1.0  # a service that takes less names a wait, which the gate keeps
_AS_GOOD_AS_FREE: Final = 5_000.0  # a second: more than any run sends
_CATCH_UP: Final = 4  # requests that go out at once after a timer rang late,
_CATCH_UP_MS: Final = 50  # if it rang no later than this

_UNNAMED_LIMIT_MS: Final = 1 * SECOND_MS  # a 429 that names no wait still means one
_SHORT_WAIT_MS: Final = 2 * SECOND_MS  # up to this, a 429 may just mean "a little slower"
_SECOND_LOOK_MS: Final = 100  # the gate shuts for up to this after a second short limit in a row
_STRIKES: Final = 6  # so many limits in a row without one good answer: the service does not want us now
_REST_MS: Final = 5 * MINUTE_MS  # longer than any call waits, so the next one fails at once
_SILENCE_FLOOR: Final = 20  # requests in a row without an answer before sending stops, at least
_SILENCE_REST_MS: Final = 30 * SECOND_MS  # then nothing is sent for this long

_REMAINING: Final = b"x-ratelimit-remaining"
_RESET: Final = b"x-ratelimit-reset"
_LIMIT: Final = b"x-ratelimit-limit"
_LONGEST_NUMBER: Final = 15  # digits of a header; a longer number is not a count or a time


def backoff_ms(failures: int, jitter: Callable[[], float]) -> int:
    """Return the wait after the ``failures``-th failure (from 1): full jitter below 250 ms, 500 ms, … 8 s.

    ``jitter`` gives numbers from 0 up to, not including, 1.
    """
    ceiling = min(_BACKOFF_CAP_MS, _BACKOFF_BASE_MS << min(failures - 1, 10))
    return int(ceiling * jitter())


class Rate:
    """How many requests go out a second: at most ``most_per_s``, and not more than the service was seen to take.

    Until a first request is refused, nothing is known and nothing held back. Then the rate begins low and grows with
    every answer up to the second refusal. At both refusals the service had nothing left, so what it served in between
    is what it takes; that is the level from then on. After each refusal the rate starts a tenth below the level, is
    back at it about a hundred requests later, stays near it for a while and then grows faster and faster, to find out
    whether the service takes more by now. Once it has grown beyond what any run sends, the refusals are forgotten.

    Requests are numbered in the order in which they were sent, from 1.
    """

    def __init__(self, most_per_s: float | None = None) -> None:
        self._most = math.inf if most_per_s is None else most_per_s
        self.paced = most_per_s is not None
        """Whether there is a rate at all. Without one, nothing here has to be asked or told."""
        self._due = 0.0  # in the past, so the first request goes out at once
        self._level = math.inf
        self._climbing = False
        self._refused_at = 0.0
        # What was served since when: the measurement.
        self._counted_from: float | None = None
        self._served = 0
        self._seen = 0.0
        # What became of the requests that were on their way when a refusal came, and at which rate they were sent.
        self._tried = 0.0
        self._first_refused = self._last_sent = self._good = self._refused = 0

    def per_s(self, now_ms: float) -> float:
        """Return how many requests a second go out now."""
        rate = self._level
        if not self._climbing and rate < math.inf:
            soonest, latest = _BACK_AFTER_MS
            back_ms = min(max(_BACK_AFTER * SECOND_MS / rate, soonest), latest)
            rate *= 1 + _DIP * ((now_ms - self._refused_at) / back_ms - 1) ** 3  # the curve of TCP CUBIC (RFC 9438)
        return min(self._most, max(_FLOOR_PER_S, rate))

    def wait_ms(self, now_ms: float) -> int:
        """Return how long the next request has to wait; 0 where it may go now."""
        if self.paced and self._most == math.inf and self.per_s(now_ms) > _AS_GOOD_AS_FREE:
            self.paced = self._climbing = False
            self._level, self._counted_from = math.inf, None
        return max(0, math.ceil(self._due - now_ms)) if self.paced else 0

    def asked(self, now_ms: float) -> None:
        """Take note that a request asks while none waits: turns that went unused are lost, so requests stay even."""
        self._due = max(self._due, now_ms)

    def sent(self, requests: int, now_ms: float) -> None:
        """Count requests that go out now, or soon; a negative number takes back those that did not."""
        if not self.paced:
            return
        if now_ms - self._due > _PAUSE_MS and self._counted_from is not None:
            self._counted_from, self._served = now_ms, 0
        apart_ms = SECOND_MS / self.per_s(now_ms)
        self._due = max(self._due, now_ms - min(_CATCH_UP_MS, _CATCH_UP * apart_ms)) + requests * apart_ms

    def served(self, number: int) -> None:
        """Count the request of this number: it was let through."""
        self._served += 1
        if self._climbing:
            self._level += _MORE_PER_ANSWER
        if number <= self._last_sent:
            self._good += number > self._first_refused
        elif self._tried:
            self._use_sample()

    def refused_too(self) -> None:
        """Count one more refusal among the requests that were on their way; it says nothing new."""
        self._refused += 1

    def refused(self, number: int, *, last_sent: int, now_ms: float) -> None:
        """Take note that the request of this number was refused; it was sent after the last refusal was known."""
        self._first_refused, self._last_sent = number, last_sent
        self._good, self._refused = 0, 1
        rate = self.per_s(now_ms)
        self._seen, self._tried = self._measured(now_ms), 0.0
        if self._counted_from is None:
            self._climbing = True
            self._level = _FIRST_PER_S
        else:
            self._climbing = False
            self._level = rate  # so that it falls by a tenth, where there is no measurement
        if self._seen:
            # Far below the rate, either we sent too little to know, or the rate was far too high: the truth is between.
            self._level = self._seen if self._seen > rate * _MUCH_LESS else math.sqrt(self._seen * rate)
            self._tried = rate
        if self._seen or self._counted_from is None:
            self._counted_from, self._served = now_ms, 0
        self._refused_at = now_ms
        self.paced = True
        self._due = now_ms + SECOND_MS / self.per_s(now_ms)

    def _measured(self, now_ms: float) -> float:
        """Return how many requests a second were served since counting began; 0 where that is too little to tell."""
        span_ms = 0.0 if self._counted_from is None else now_ms - self._counted_from
        return self._served * SECOND_MS / span_ms if self._served >= _ENOUGH and span_ms >= _LONG_ENOUGH_MS else 0.0

    def _use_sample(self) -> None:
        """Correct the level: look which share was served of the requests sent before a refusal became known."""
        sample = self._good + self._refused
        if sample >= _SAMPLE:
            self._level = max(self._seen, self._tried * max(self._good / sample, _LEAST_SHARE))
        self._tried = 0.0


class Gate:
    """Whether requests may go out at all: waits that the service insists on, limits in a row, and silence.

    Requests are numbered in the order in which they were sent, from 1.
    """

    def __init__(self, *, parallelism: int, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._open_at = 0
        self._rest_until = 0
        self._silent = 0
        self._silent_limit = _SILENCE_FLOOR + 2 * parallelism
        self._strikes = 0
        self._served = 0
        self._doubt = 0
        self.sent = 0
        """Requests sent so far: the number of the newest."""
        self.limits = 0
        """Limits so far; those that requests on their way together ran into are one."""

    @property
    def shut(self) -> bool:
        """Whether a request must ask :meth:`wait_ms` and :meth:`resting` first; cheap enough for every request."""
        return self._open_at > 0 or self._rest_until > 0

    @property
    def doubted(self) -> bool:
        """Whether the last refusal may still hold: no request that was sent after the refused one was let through yet.

        Then one request goes alone, to find out.
        """
        return self._doubt > self._served

    @property
    def given_up(self) -> bool:
        """Whether so many limits came in a row that we no longer wait for the next try."""
        return self._strikes > _STRIKES

    def wait_ms(self, now_ms: int) -> int:
        """Return how long the gate stays shut; 0 when it is open."""
        remaining = self._open_at - now_ms
        if remaining <= 0:
            self._open_at = 0
            return 0
        return remaining

    def resting(self, now_ms: int) -> bool:
        """Whether so many requests in a row went unanswered that no more are sent for a while."""
        if self._rest_until <= now_ms:
            self._rest_until = 0
        return self._rest_until > 0

    def passed(self, number: int) -> None:
        """Take note that the request of this number was let through, whatever came of it: the service is not silent."""
        self._silent = 0
        self._served = max(self._served, number)

    def served(self, number: int) -> None:
        """Take note that the service answered the request of this number, and is at work."""
        self.passed(number)
        if not self.doubted:
            self._strikes = 0

    def limited(self, number: int, *, asked_ms: int | None, news: bool, counted: bool, now_ms: int) -> int:
        """Take note that the request of this number got a 429 just now; return how long it has to wait itself.

        ``asked_ms`` is what the service asked for. ``news`` is false for a request that was on its way when a limit
        became known: that is the same event, and no further strike. A short limit may just mean "a little slower", and
        holds up only the request that got it. The gate shuts for all requests if the wait is long, if the service's own
        count has run out (``counted``), or if limits follow each other: for a moment after the second, then longer.
        """
        self._silent = 0
        self._doubt = max(self._doubt, number)
        implausible = asked_ms is not None and asked_ms > LONGEST_PLAUSIBLE_MS
        if news:
            self.limits += 1
            self._strikes = max(self._strikes + 1, _STRIKES if implausible else 0)
        if asked_ms is None:
            wait_ms = _UNNAMED_LIMIT_MS << min(max(self._strikes, 1), _STRIKES) - 1
        else:
            wait_ms = CAPPED_WAIT_MS if implausible else asked_ms
        if self.given_up:
            self.hold(now_ms + max(_REST_MS, wait_ms))
            return 0
        if self._strikes > 2 or wait_ms > _SHORT_WAIT_MS or counted:
            if news:
                self.hold(now_ms + max(wait_ms, backoff_ms(self._strikes, self._jitter)))
            elif not implausible:
                self.hold(now_ms + wait_ms)
        elif self._strikes == 2:
            self.hold(now_ms + min(wait_ms, _SECOND_LOOK_MS))
        return wait_ms

    def hold(self, until_ms: int) -> None:
        """Shut the gate until then."""
        self._open_at = max(self._open_at, until_ms)

    def unanswered(self, now_ms: int) -> None:
        """Take note that a request got no answer. Without this, a host that swallows packets would cost us hours."""
        self._silent += 1
        if self._silent >= self._silent_limit:
            self._silent = 0
            self._rest_until = now_ms + _SILENCE_REST_MS


class Remaining:
    """What the service says is left until its window ends: ``X-RateLimit-Remaining`` and ``-Reset`` (API facts §2.3).

    Answers overtake each other, so within one window the smallest number counts. Times are UTC epoch milliseconds by
    the service's clock.
    """

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
        """How many requests the next window will take: ``X-RateLimit-Limit``, else one more than was ever left.

        ``None`` where nothing is known.
        """
        return self._limit or self._most

    def said(self, headers: Iterable[tuple[bytes, bytes]], now_ms: int) -> None:
        """Take in the headers of an answer; those that are missing, past or no numbers end what was known."""
        said = {
            lower: _number(value) for name, value in headers if (lower := name.lower()) in (_REMAINING, _RESET, _LIMIT)
        }
        self._limit = said.get(_LIMIT) or self._limit
        remaining, reset_s = said.get(_REMAINING), said.get(_RESET)
        if remaining is None or reset_s is None:
            self.left(now_ms)
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
