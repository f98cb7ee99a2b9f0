"""Waiting: carries out what :mod:`reconciler.api.retry` decides, with the clock of the run.

In: the outcome of each request. Out: time that passes, or an :class:`ApiError` where waiting would take too long.
Knows no HTTP library and no portfolio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.api.retry import ATTEMPTS, LONGEST_WAIT_MS, Pace, may_repeat
from reconciler.core.duration import SECOND_MS, format_duration
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.ports import Clock


class Pacing:
    """What stands between a call and the wire; one for all requests of a run."""

    def __init__(self, *, parallelism: int, clock: Clock, jitter: Callable[[], float]) -> None:
        self._pace = Pace(parallelism=parallelism, jitter=jitter)
        self._clock = clock

    async def before_sending(self, operation: str) -> None:
        """Wait at the gate that a 429 shut; raise when that would take too long. Nothing was sent then."""
        if not self._pace.shut:
            return
        now_ms = self._clock.now_ms()
        if self._pace.resting(now_ms):
            raise ApiError(
                FailureKind.UNREACHABLE,
                "not sent: the service left many requests in a row unanswered; check the base URL and the network",
                operation=operation,
            )
        while wait_ms := self._pace.gate_ms(now_ms):
            if wait_ms > LONGEST_WAIT_MS:
                shown = format_duration(-(-wait_ms // SECOND_MS) * SECOND_MS)
                raise ApiError(
                    FailureKind.RATE_LIMITED,
                    f"not sent: the service limits the rate and would have us wait {shown}; run again then",
                    operation=operation,
                    retry_after_ms=wait_ms,
                )
            await self._clock.sleep((wait_ms + self._pace.stagger_ms()) / SECOND_MS)
            now_ms = self._clock.now_ms()

    def answered(self) -> None:
        """A request was answered well."""
        self._pace.answered()

    async def after_failure(self, failure: ApiError, *, attempt: int, requests: int, sent_ms: int, safe: bool) -> None:
        """Return when the call may be sent again; raise ``failure`` when it may not.

        ``attempt`` counts from 1; ``requests`` are all that the run has sent; ``sent_ms`` is when this one was;
        ``safe`` is true for a read.
        """
        now_ms = self._clock.now_ms()
        asked_ms = failure.retry_after_ms
        limited = failure.kind is FailureKind.RATE_LIMITED
        if limited:
            self._pace.limited(asked_ms=asked_ms, sent_ms=sent_ms, now_ms=now_ms)
        elif failure.status is None and failure.kind in (FailureKind.UNREACHABLE, FailureKind.INTERRUPTED):
            self._pace.unanswered(now_ms)
        else:
            self._pace.answered()
        if not may_repeat(failure.kind, safe=safe) or attempt >= ATTEMPTS or (asked_ms or 0) > LONGEST_WAIT_MS:
            raise failure
        if limited:
            return  # the gate makes it wait; it slows the whole run down and so needs no budget
        if not self._pace.spend(requests=requests):
            raise failure
        await self._clock.sleep(self._pace.wait_ms(attempt, asked_ms=asked_ms) / SECOND_MS)
