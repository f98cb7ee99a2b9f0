"""What is known of a live schedule, and how: the rules of provenance.

Glider v1 documents no read of interval or offset (API facts §4.3, §5), so both have to be pieced together from the
status answer, our own record, and the times of runs. This module decides which source is believed, and what one
update-schedule has to carry: that call replaces both together (API facts §1.1, V1.5).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.duration import DAY_MS, format_duration
from reconciler.core.model import Desired, Live, Provenance, Record, RunState, Status
from reconciler.core.plan import Risk
from reconciler.core.text import holds_token

POINTS_THAT_PROVE: Final = 3
"""So many points on one grid, and no fewer, are taken as a proof of the interval: two gaps, to be compared."""


class Known(Struct, frozen=True):
    """A live value with its provenance; ``overruled`` is a record that newer observations contradict."""

    value: int | None
    provenance: Provenance
    overruled: int | None = None


UNKNOWN: Final = Known(None, Provenance.NONE)


def known_interval(live: Live, record: Record | None) -> Known:
    """Return the interval in force, from the best source there is: read, then observed, then recorded."""
    if live.interval_ms is not None:
        return Known(live.interval_ms, Provenance.READ)
    record = record if applies(record, live) else None
    recorded = record.interval_ms if record else None
    observed = observed_interval(live, after_ms=record.confirmed_ms if record else None)
    if observed is not None and observed != recorded:
        return Known(observed, Provenance.OBSERVED, overruled=recorded)
    if recorded is not None:
        return Known(recorded, Provenance.RECORDED)
    return UNKNOWN


def known_offset(live: Live, record: Record | None) -> Known:
    """Return the offset in force: read or recorded; run times prove nothing, its anchor is undocumented (§4.5).

    A record whose interval was overruled is worth nothing for the offset either: somebody rewrote the schedule.
    """
    if live.offset_ms is not None:
        return Known(live.offset_ms, Provenance.READ)
    if not applies(record, live) or record is None or record.offset_ms is None:
        return UNKNOWN
    interval = known_interval(live, record)
    if interval.overruled is not None or (
        interval.provenance is Provenance.READ and record.interval_ms not in (None, interval.value)
    ):
        return Known(None, Provenance.NONE, overruled=record.offset_ms)
    return Known(record.offset_ms, Provenance.RECORDED)


def applies(record: Record | None, live: Live) -> bool:
    """Whether the record speaks of the schedule that is live: not of one that was deleted and made anew since.

    An imported record has to be shown by live itself, by the token of its pause or by its schedule id: nobody knows
    what was written to the portfolio after the export.
    """
    if record is None or live.status is Status.INACTIVE:
        return False
    if record.imported is not None:
        by_token = bool(record.imported) and holds_token(live.pause_reason or "", record.imported)
        return by_token or (record.schedule_id is not None and record.schedule_id == live.schedule_id)
    return live.schedule_id is None or record.schedule_id in (None, live.schedule_id)


def observed_interval(live: Live, *, after_ms: int | None) -> int | None:
    """Return the interval that run times prove, or ``None``.

    Only an active portfolio shows its grid, and only points after our last confirmed write (``after_ms``) lie on
    the present one. The next run is a point too, the surest. The newest :data:`POINTS_THAT_PROVE` points must be
    equally far apart to the millisecond; a run triggered by hand, a pause or a change in between spoils that, and
    then nothing is claimed.
    """
    if live.status is not Status.ACTIVE:
        return None
    points = live.scheduled_ms if live.next_run_ms is None else (live.next_run_ms, *live.scheduled_ms)
    if len(points) < POINTS_THAT_PROVE:
        return None
    newest, middle, oldest = points[:POINTS_THAT_PROVE]
    if after_ms is not None and oldest <= after_ms:
        return None
    gap = newest - middle
    return gap if gap == middle - oldest and gap > 0 else None


def observed_record(live: Live, record: Record | None) -> Record | None:
    """Return what a look adds to the record: a schedule that it proves and the record does not hold, else ``None``.

    To be kept before anything of ours, a pause or a rebalance, spoils the points that proved it. It is dated by the
    oldest of these points: from then on they say the same.
    """
    interval = known_interval(live, record)
    if live.status is not Status.ACTIVE or interval.value is None or interval.provenance is Provenance.RECORDED:
        return None
    offset = known_offset(live, record)
    if record is not None and applies(record, live):
        kept = replace(record, state=RunState.ACTIVE, interval_ms=interval.value, offset_ms=offset.value)
        return kept if kept != record else None
    points = live.scheduled_ms[: POINTS_THAT_PROVE - 1]
    return Record(
        state=RunState.ACTIVE,
        interval_ms=interval.value,
        offset_ms=offset.value,
        schedule_id=live.schedule_id,
        confirmed_ms=points[-1] - 1 if points else 0,
    )


def runs_per_day(interval_ms: int) -> float:
    """Return how often a schedule of this interval runs in 24 hours."""
    return DAY_MS / interval_ms


class Wanted(Struct, frozen=True):
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
