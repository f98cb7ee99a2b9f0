"""What one update-schedule has to carry: the call replaces interval and offset together.

In: one portfolio, desired, live and recorded. Out: the schedule to send, or a sentence that says why it can't be known.
API facts §1.1, V1.5. Whether it is sent at all is decided in :mod:`reconciler.core.decide`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.duration import format_duration
from reconciler.core.plan import Risk
from reconciler.core.schedule import known_interval, known_offset

if TYPE_CHECKING:
    from reconciler.core.desired import Desired
    from reconciler.core.live import Live, Record


@dataclass(frozen=True, slots=True)
class Wanted:
    """The schedule that a change leaves behind, and what a reviewer should know about writing it."""

    interval_ms: int | None
    offset_ms: int | None
    risks: tuple[Risk, ...] = ()


def schedule_to_send(desired: Desired, live: Live, record: Record | None) -> Wanted | str:
    """Return what update-schedule has to carry, or a sentence that says why it can't be known.

    The call replaces interval *and* offset, and needs the interval (API facts §1.1, V1.5). So a declared offset
    without an interval borrows the known live one, and an offset that is not managed is sent along unchanged where
    it is known and still fits; where it does not, the reviewer is told that it falls back to 0.
    """
    live_interval = known_interval(live, record).value
    interval_ms = desired.interval_ms if desired.interval_ms is not None else live_interval
    if interval_ms is None:
        return "the offset can't be set without an interval, and the live one is not known; declare an interval"
    risks = [Risk.MORE_RUNS] if live_interval is not None and interval_ms < live_interval else []
    offset_ms = desired.offset_ms
    if offset_ms is None:
        offset_ms = known_offset(live, record).value
        if offset_ms is None or offset_ms >= interval_ms:
            return Wanted(interval_ms, None, (*risks, Risk.OFFSET_RESET))
    elif offset_ms >= interval_ms:
        text = format_duration(interval_ms)
        return f"the declared offset does not fit into the live interval of {text}; declare an interval"
    return Wanted(interval_ms, offset_ms, tuple(risks))
