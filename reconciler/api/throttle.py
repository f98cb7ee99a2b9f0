"""When to ask again, and how many at once: back-off, budget and gate of a whole run, places in flight, and windows.

In: what became of each request, what ``X-RateLimit-*`` said, a source of jitter. Out: waits in milliseconds, numbers,
decisions. It never waits itself and knows no socket: :mod:`reconciler.api.pacing` does what is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.errors import FailureKind
from reconciler.core.text import DAY_MS, MINUTE_MS, SECOND_MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconciler.core.ports import Clock

ATTEMPTS: Final = 4
"""How often one call is sent at most, the first time included."""
LONGEST_WAIT_MS: Final = 2 * MINUTE_MS
"""A longer ``Retry-After`` is not waited for: the call fails at once and says so."""
LONGEST_PLAUSIBLE_MS: Final = DAY_MS
"""No rate limit lasts longer: a ``Retry-After`` beyond this is a wrong clock or unit, and is capped."""
CAPPED_WAIT_MS: Final = MINUTE_MS
"""What is waited in place of an implausible one; a second one in a row is believed and ends the run."""
GOOD_FOR_ONE_MORE: Final = 10
"""So many good answers make room for one more request in flight."""

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
_REMAINING: Final = b"x-ratelimit-remaining"
_RESET: Final = b"x-ratelimit-reset"
_LIMIT: Final = b"x-ratelimit-limit"
_NO_CAP: Final = 10**15
_LONGEST_NUMBER: Final = 15


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


class Windows:
    """What a run knows of the service's windows. Their ends are by ``service_ms``, the gate is by ``clock``.

    ``note`` is told what people should know, in sentences.
    """

    def __init__(
        self,
        limiter: Limiter,
        pace: Pace,
        *,
        clock: Clock,
        service_ms: Callable[[], int] | None,
        note: Callable[[str], None],
    ) -> None:
        self._limiter = limiter
        self._pace = pace
        self._clock = clock
        self._service_ms = service_ms or clock.now_ms
        self._note = note
        self._allowance: Allowance | None = Allowance()
        self._distrust_at = 0  # when the cap on a reset ends; from then on the service's count is not believed

    def heard(self, headers: Sequence[tuple[bytes, bytes]], *, limited: bool) -> None:
        """Take in an answer's headers; only one that is not itself ``limited`` shuts the gate."""
        if self._allowance is None or not self._allowance.concerned(headers):
            return
        if 0 < self._distrust_at <= self._clock.now_ms():
            self._allowance = None
            self._limiter.cap(None)
            return
        now_ms = self._service_ms()
        self._allowance.said(headers, now_ms)
        left = self._allowance.left(now_ms)
        if left == 0:
            self.await_next(shut=not limited)
        else:
            self._limiter.cap(left)

    def reset_in_ms(self) -> int:
        """Return how long until the window ends; 0 when it has, or when none is known."""
        return 0 if self._allowance is None else self._allowance.reset_in_ms(self._service_ms())

    def await_next(self, *, shut: bool) -> int | None:
        """Make ready for the service's next window, and where ``shut``, let nothing through before it.

        Returns how many requests it will take, as far as that is known.
        """
        if self._allowance is None:
            self._limiter.cap(None)
            return None
        size = self._allowance.next_size
        self._limiter.cap(size)  # else all who wait would be let go at once
        wait_ms = self.reset_in_ms()
        if shut and wait_ms:
            now_ms = self._clock.now_ms()
            if wait_ms > LONGEST_WAIT_MS and not self._distrust_at:
                self._distrust_at = now_ms + LONGEST_WAIT_MS
                self._note(
                    f"the service counted no request left for {shown(wait_ms)}; "
                    f"{shown(LONGEST_WAIT_MS)} were waited, and its count was not looked at after that"
                )
            self._pace.hold(self._distrust_at or now_ms + wait_ms)
        return size


def shown(ms: int) -> str:
    """Return a wait for people, in whole seconds, and no longer than anybody would believe."""
    if ms > LONGEST_PLAUSIBLE_MS:
        return f"more than {format_duration(LONGEST_PLAUSIBLE_MS)}"
    return format_duration(-(-ms // SECOND_MS) * SECOND_MS)
