"""When to ask again, and when to stop asking: back-off, ``Retry-After``, budget and gate of a whole run.

In: what failed, the time as a number, a source of jitter. Out: waits in milliseconds, and decisions. It never waits
itself and knows no clock, socket or library: :mod:`reconciler.api.pacing` does what is decided here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.duration import DAY_MS, MINUTE_MS, SECOND_MS
from reconciler.core.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS: Final = 4
"""How often one call is sent at most, the first time included."""
LONGEST_WAIT_MS: Final = 2 * MINUTE_MS
"""A longer ``Retry-After`` is not waited for: the call fails at once and says so."""
LONGEST_PLAUSIBLE_MS: Final = DAY_MS
"""No rate limit lasts longer: a ``Retry-After`` beyond this is a wrong clock or unit, and is capped."""
CAPPED_WAIT_MS: Final = MINUTE_MS
"""What is waited in place of an implausible one; a second one in a row is believed and ends the run."""

_BACKOFF_BASE_MS: Final = 250
_BACKOFF_CAP_MS: Final = 8 * SECOND_MS
_BUDGET_FLOOR: Final = 20
_BUDGET_SHARE: Final = 5  # one retry for five calls
_UNNAMED_LIMIT_MS: Final = 1 * SECOND_MS  # a 429 that names no wait still means one
_STAGGER_MS: Final = 250  # those who waited together must not return together (API facts §2.5: stagger)
_STRIKES: Final = 6  # so many limits in a row without one good answer: the service does not want us now
_REST_MS: Final = 5 * MINUTE_MS  # longer than anyone waits, so whoever comes next fails at once
_SILENCE_FLOOR: Final = 20
_SILENCE_REST_MS: Final = 30 * SECOND_MS


def may_repeat(kind: FailureKind, *, safe: bool) -> bool:
    """Whether a call that failed like this may be sent again.

    ``safe`` is true for a read. A write is repeated only after a 429: it is the one failure that proves that
    nothing was done and that also asks to come back. Failures that would only repeat themselves are final.
    """
    match kind:
        case FailureKind.RATE_LIMITED:
            return True
        case FailureKind.UNREACHABLE | FailureKind.INTERRUPTED | FailureKind.SERVER:
            return safe
        case (
            FailureKind.NOT_FOUND
            | FailureKind.REFUSED
            | FailureKind.UNAUTHENTICATED
            | FailureKind.FORBIDDEN
            | FailureKind.MALFORMED
        ):
            return False
        case _:
            assert_never(kind)


def backoff_ms(failures: int, jitter: Callable[[], float]) -> int:
    """Return the wait after the ``failures``-th failure (from 1): full jitter below 250 ms, 500 ms, … 8 s.

    ``jitter`` gives numbers from 0 up to, not including, 1.
    """
    ceiling = min(_BACKOFF_CAP_MS, _BACKOFF_BASE_MS << min(failures - 1, 10))
    return int(ceiling * jitter())


def retry_after_ms(header: str | None, body: object, *, now_ms: int) -> int | None:
    """Return the wait that an answer asks for, or ``None`` where it names none that can be understood.

    ``header`` is ``Retry-After``, in seconds or as an HTTP date; ``body`` is the value of ``retryAfter``, seconds
    (API facts §2.3, §2.5). Where both speak, the longer one counts. A date in the past is a wait of 0.
    ``now_ms`` is the time by the service's clock, which the date was made by.
    """
    waits = [wait for wait in (_of_header(header, now_ms), _of_number(body)) if wait is not None]
    return max(waits, default=None)


def _of_header(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text[:12]) * SECOND_MS
    moment_ms = http_date_ms(text)
    return None if moment_ms is None else max(0, moment_ms - now_ms)


def http_date_ms(text: str) -> int | None:
    """Return an HTTP date as UTC epoch milliseconds, or ``None`` where it can't be understood."""
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000": the RFC's way to say UTC without a zone
            from datetime import UTC

            moment = moment.replace(tzinfo=UTC)
        return math.ceil(moment.timestamp() * 1000)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None  # the standard parser raises any of these on hostile text


def _of_number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return math.ceil(min(value, 10**12) * SECOND_MS) if value >= 0 else None


class Budget:
    """How many retries one run may send: 20, and one more for five calls.

    So a service that is dead costs at most 1.2 times the calls and 20, however it is dead. A retry that a limit made
    necessary and that then succeeds is given back: a service that only slows us down uses nothing up.
    """

    __slots__ = ("_calls", "_retries")

    def __init__(self) -> None:
        self._calls = 0
        self._retries = 0

    def called(self) -> None:
        """A call is sent for the first time."""
        self._calls += 1

    def spend(self) -> bool:
        """Take one retry; false where none is left."""
        if self._retries >= _BUDGET_FLOOR + self._calls // _BUDGET_SHARE:
            return False
        self._retries += 1
        return True

    def give_back(self, retries: int) -> None:
        """These retries were of use."""
        self._retries -= retries


class Pace:
    """What all requests of one run share: the gate that a 429 shuts, and patience with silence.

    Changed by its methods only; times are UTC epoch milliseconds that the caller passes in.
    """

    __slots__ = ("_jitter", "_open_at", "_rest_until", "_silent", "_silent_limit", "_strikes")

    def __init__(self, *, parallelism: int, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._open_at = 0
        self._strikes = 0
        self._silent = 0
        self._silent_limit = _SILENCE_FLOOR + 2 * parallelism
        self._rest_until = 0

    @property
    def shut(self) -> bool:
        """Whether a request must ask :meth:`gate_ms` and :meth:`resting` first; cheap enough for every request."""
        return self._open_at > 0 or self._rest_until > 0

    @property
    def given_up(self) -> bool:
        """Whether so many limits came in a row that nobody waits for their end any more."""
        return self._strikes > _STRIKES

    def gate_ms(self, now_ms: int) -> int:
        """Return how long the gate stays shut; 0 when it is open."""
        remaining = self._open_at - now_ms
        if remaining <= 0:
            self._open_at = 0
            return 0
        return remaining

    def stagger_ms(self) -> int:
        """Return what a waiter adds to its wait."""
        return int(_STAGGER_MS * self._jitter())

    def resting(self, now_ms: int) -> bool:
        """Whether so many requests in a row went unanswered that no more are sent for a while."""
        if self._rest_until <= now_ms:
            self._rest_until = 0
        return self._rest_until > 0

    def answered(self) -> None:
        """A request got an answer that shows a service at work."""
        self._strikes = 0
        self._silent = 0

    def failed(self) -> None:
        """A request was answered by a failure of the service: no silence, but no reason to forget limits either."""
        self._silent = 0

    def limited(self, *, asked_ms: int | None, news: bool, now_ms: int) -> None:
        """A request got a 429 just now: shut the gate for everyone.

        ``news`` is false for answers to requests that were on their way when the gate shut: these are one event, not
        a strike each, and can only lengthen the wait.
        """
        self._silent = 0
        plausible_ms = asked_ms if asked_ms is not None and asked_ms <= LONGEST_PLAUSIBLE_MS else 0
        if news:
            implausible = asked_ms is not None and asked_ms > LONGEST_PLAUSIBLE_MS
            self._strikes = max(self._strikes + 1, _STRIKES if implausible else 0)
            if self.given_up:
                wait = max(_REST_MS, plausible_ms)
            elif implausible:
                wait = CAPPED_WAIT_MS
            else:
                floor = _UNNAMED_LIMIT_MS << (self._strikes - 1) if asked_ms is None else plausible_ms
                wait = max(floor, backoff_ms(self._strikes, self._jitter))
        else:
            wait = plausible_ms
        self._open_at = max(self._open_at, now_ms + wait)

    def hold(self, until_ms: int) -> None:
        """Nothing is left until then, as the service says: shut the gate, which is no strike."""
        self._open_at = max(self._open_at, until_ms)

    def unanswered(self, now_ms: int) -> None:
        """A request ended without an answer. Without this, a host that swallows packets costs hours."""
        self._silent += 1
        if self._silent >= self._silent_limit:
            self._silent = 0
            self._rest_until = now_ms + _SILENCE_REST_MS

    def wait_ms(self, failures: int, *, asked_ms: int | None) -> int:
        """Return how long one failed call waits before its next attempt."""
        return max(backoff_ms(failures, self._jitter), asked_ms or 0)
