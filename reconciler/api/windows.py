"""The service's own count of what is left, carried out: claims are capped by it, and the gate shuts when it is nothing.

In: the headers of answers. Out: a cap for the :class:`~reconciler.api.limiter.Limiter`, and a hold for the
:class:`~reconciler.api.retry.Pace`. It never waits itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.api.limiter import Allowance
from reconciler.api.retry import LONGEST_PLAUSIBLE_MS, LONGEST_WAIT_MS
from reconciler.core.duration import SECOND_MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.api.limiter import Limiter
    from reconciler.api.retry import Pace
    from reconciler.core.ports import Clock


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
