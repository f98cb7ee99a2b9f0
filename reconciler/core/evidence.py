"""What a read proves: how well a schedule is known, whose pause it is, and whether our record is still to be believed.

Glider v1 documents no read of interval or offset (API facts §4.3, §5), so both are pieced together from the status
answer, our own record, and the times of runs. What one update-schedule has to carry follows from that: the call
replaces both together (API facts §1.1, V1.5).

Our pauses leave a mark in the reason that Glider stores. The service puts a prefix of its own before it (API facts
§1.2), so the mark stands at the end. It makes the question answerable on any machine, without local state, and holds
the token of the write that made the pause. v2 stores no reason (§5.1): there the journal alone tells, by the time at
which the portfolio was due when it was paused.

A record of the journal that a read contradicts is not believed: then the schedule of that one portfolio is unverified,
and every other keeps its own. A change that leaves no trace on the service can't be noticed here.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.change import Risk
from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.model import Desired, Live, PausedBy, Provenance, Record, RunState, Status
from reconciler.core.text import DAY_MS, MINUTE_MS, format_duration, holds_token, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import Address, ApiVersion, PortfolioId

POINTS_THAT_PROVE: Final = 3
"""This many points, equally far apart, prove an interval. Two would not: one gap alone may hold a run by hand."""


class Known(Struct, frozen=True):
    """A live value with its provenance; ``overruled`` is a record that newer observations contradict."""

    value: int | None
    provenance: Provenance
    overruled: int | None = None


_NOT_KNOWN: Final = Known(None, Provenance.NONE)


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
    return _NOT_KNOWN


def known_offset(live: Live, record: Record | None) -> Known:
    """Return the offset in force: read or recorded; run times prove nothing, its anchor is undocumented (§4.5).

    A record whose interval was overruled is worth nothing for the offset either: somebody rewrote the schedule.
    """
    if live.offset_ms is not None:
        return Known(live.offset_ms, Provenance.READ)
    if not applies(record, live) or record is None or record.offset_ms is None:
        return _NOT_KNOWN
    interval = known_interval(live, record)
    if interval.overruled is not None or (
        interval.provenance is Provenance.READ and record.interval_ms not in (None, interval.value)
    ):
        return Known(None, Provenance.NONE, overruled=record.offset_ms)
    return Known(record.offset_ms, Provenance.RECORDED)


def applies(record: Record | None, live: Live) -> bool:
    """Whether the record is about the schedule that is live, and not about one that was deleted and made anew since.

    An imported record counts only where live shows the token of its pause, or its schedule id: nobody knows what was
    written to the portfolio after the export.
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

    Store it before we pause or rebalance the portfolio, since that spoils the points that proved it. It carries the
    time of the oldest of these points, because the schedule has been the same since then.
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


class WantedSchedule(Struct, frozen=True):
    """The schedule that a change leaves behind, and what a reviewer should know about writing it."""

    interval_ms: int | None
    offset_ms: int | None
    risks: tuple[Risk, ...] = ()


def schedule_to_send(desired: Desired, live: Live, record: Record | None) -> WantedSchedule | str:
    """Return what update-schedule has to carry, or a sentence that says why it can't be known.

    The call replaces interval *and* offset, and needs the interval (API facts §1.1, V1.5). So a declared offset
    without an interval borrows the known live one, and an offset that is not managed is sent along unchanged where
    it is known and still fits; if it does not, the plan says that it falls back to 0.
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
            return WantedSchedule(interval_ms, None, (*risks, Risk.OFFSET_RESET))
    elif offset_ms >= interval_ms:
        text = format_duration(interval_ms)
        return f"the declared offset does not fit into the live interval of {text}; declare an interval"
    return WantedSchedule(interval_ms, offset_ms, tuple(risks))


STOCK_REASON: Final = "Declared in Git"
"""What is sent with a pause or resume for which the files give no reason."""
MARK: Final = "[glider-reconciler]"
"""The mark of older versions, without a token; it still counts."""
MARK_NAME: Final = "[glider-reconciler"
"""The beginning of every mark. Enough to know one that the service cut short."""
_AT_THE_END: Final = re.compile(
    r"\[glider-reconciler(?: (?P<token>[0-9a-f]{6})(?: halt:(?P<halt>[0-9A-Za-z_-]{1,40}))?)?\]\s*\Z"
)
_ANYWHERE: Final = r"\[glider-reconciler[^\]]*\]?"
_DUE: Final = "due "
SLACK_MS: Final = 2 * MINUTE_MS
"""Up to this difference two clocks count as equal: a record may be this far ahead, and a next run this late."""
_NAMED: Final = 5
"""Up to this many records that are not believed are listed one by one."""


def with_mark(reason: str | None, token: str, halt: str | None = None) -> str:
    """Return the reason to send with a pause: the declared one, or a stock phrase, and the mark with its token, and
    with the id of the halt that it is part of."""
    return f"{unmarked(reason)} {MARK_NAME} {token}{f' halt:{halt}' if halt is not None else ''}]"


def unmarked(reason: str | None) -> str:
    """Return the reason to send with a resume, which carries no mark: a reason that lingers must not look like ours."""
    return reason or STOCK_REASON


def is_marked(pause_reason: str | None) -> bool:
    """Whether the stored reason ends in our mark. Anything behind it makes it somebody else's text."""
    return pause_reason is not None and _AT_THE_END.search(pause_reason) is not None


def without_mark(text: str) -> str:
    """Return text without anything that is, or was, a mark of ours, wherever it stands."""
    while (found := re.search(_ANYWHERE, text)) is not None:
        text = text[: found.start()] + text[found.end() :]
    return text.strip()


def has_token(pause_reason: str | None, token: str | None) -> bool:
    """Whether a stored reason shows this token, or any token of ours at its end where ``token`` is ``None``.

    A given token is found anywhere in the text: a service may cut, suffix or escape the mark around it.
    """
    if pause_reason is None:
        return False
    if token is None:
        return token_of(pause_reason) is not None
    return holds_token(pause_reason, token)


def is_cut(pause_reason: str | None, sent: str) -> bool:
    """Whether a stored reason ends in the middle of the one that was sent, within its mark: the service cut it."""
    if not pause_reason:
        return False
    shown, mark_at = pause_reason.rstrip(), sent.rfind(MARK_NAME)
    return any(shown.endswith(sent[:length].rstrip()) for length in range(mark_at + 1, len(sent)) if mark_at >= 0)


def token_of(pause_reason: str | None) -> str | None:
    """Return the token in our mark at the end of a stored reason; ``None`` without a mark, or of an older one."""
    found = _AT_THE_END.search(pause_reason) if pause_reason is not None else None
    return found["token"] if found is not None else None


def halt_of(live: Live, record: Record | None, api: ApiVersion, *, remembered: str | None) -> str | None:
    """Return the halt whose pause is in force, as far as a read and the journal show it; ``None`` for any other pause.

    A mark that can be read decides alone. Else it is the halt that the journal ``remembered`` of our last pause, where
    that is proven to be the one in force.
    """
    if live.status is not Status.PAUSED:
        return None
    found = _AT_THE_END.search(live.pause_reason) if live.pause_reason else None
    if found is not None:
        return found["halt"]
    return remembered if paused_by_us(live, record, api) else None


def pause_id(due: str) -> str:
    """Return what tells one pause of v2 from the next: the time it was due, which every resume moves (API facts §1.3).

    It stands where v1 has the id of a schedule, and looks like none.
    """
    return f"{_DUE}{due}"


def due_ms_of(schedule_id: str | None) -> int | None:
    """Return the due time that :func:`pause_id` wrote, in UTC epoch milliseconds; ``None`` for anything else."""
    if schedule_id is None or not schedule_id.startswith(_DUE):
        return None
    try:
        return round(datetime.fromisoformat(schedule_id.removeprefix(_DUE)).timestamp() * 1000)
    except ValueError:
        return None


def is_our_due(due_ms: int | None, *, before_ms: int | None, interval_ms: int | None) -> bool:
    """Whether a due time is still that of before our stop, or that plus whole intervals where it fell due in between.

    A person's resume sets it to the moment of the resume, which lies off that grid (API facts §1.3).
    """
    if due_ms is None or before_ms is None:
        return False
    if due_ms == before_ms:
        return True
    return interval_ms is not None and due_ms > before_ms and (due_ms - before_ms) % interval_ms == 0


def paused_by_us(live: Live, record: Record | None, api: ApiVersion) -> bool:
    """Whether the pause that is in force is ours; when in doubt it is not, and the portfolio is held.

    A stored reason decides alone: by our mark, or by being, letter for letter, what the service made of it when our
    pause was read back. Without a reason, the journal's last confirmed write may stand in, but only where the service
    never showed our mark after that pause (it keeps no reasons) and nothing ran since (nobody resumed). On v2 it has to
    know this very pause by its due time, and a pause made through one API proves nothing of the other.
    """
    known = record if record is not None and record.state is RunState.PAUSED and applies(record, live) else None
    if live.pause_reason:
        as_read_back = known is not None and known.pause_reason == live.pause_reason
        return as_read_back or is_marked(live.pause_reason)
    if known is None or known.marked or known.pause_reason is not None:
        return False
    if api.can.keeps_reason:
        of_this_api = known.schedule_id is None or not known.schedule_id.startswith(_DUE)
        return of_this_api and all(ran <= known.confirmed_ms for ran in live.scheduled_ms)
    # A later run may still be one that had begun before the pause. Only a resume lets a new one begin, and a resume
    # moves the due time, which was compared above.
    return known.schedule_id is not None and known.schedule_id == live.schedule_id


def paused_by(live: Live, record: Record | None, api: ApiVersion) -> PausedBy | None:
    """Return whose pause is in force, ``None`` where the portfolio is not paused.

    It is somebody else's where a reason is stored that is not ours, or where our last pause is known not to be the one
    in force: on v2 it left another due time, on v1 the service showed our mark, or a run happened since.
    """
    if live.status is not Status.PAUSED:
        return None
    if paused_by_us(live, record, api):
        return PausedBy.US
    if live.pause_reason:
        return PausedBy.OTHERS
    if record is None or record.state is not RunState.PAUSED or record.imported is not None:
        # Nobody knows what was written after the export, so an imported record can't prove that a pause is not ours.
        return PausedBy.UNKNOWN
    if not api.can.keeps_reason:
        ours, found = due_ms_of(record.schedule_id), due_ms_of(live.schedule_id)
        return PausedBy.OTHERS if None not in (ours, found) and ours != found else PausedBy.UNKNOWN
    shown = record.marked or record.pause_reason is not None
    ran = any(at > record.confirmed_ms for at in live.scheduled_ms)
    return PausedBy.OTHERS if shown or ran else PausedBy.UNKNOWN


def doubt(record: Record, live: Live, *, last_pause: str | None, now_ms: int) -> str | None:
    """Return why a record is not believed, as the end of a sentence about it; ``None`` where it is.

    ``last_pause`` is the token of the last pause of ours that the journal knows. ``now_ms`` is the service's time.
    """
    if record.confirmed_ms > now_ms + SLACK_MS:
        return "is of a time that has not come yet"
    token = token_of(live.pause_reason)
    if token is not None and token != last_pause:
        return f"is older than our pause {token}, which this journal does not know as the last one"
    interval_ms, next_ms = record.interval_ms, live.next_run_ms
    if (
        live.status is Status.ACTIVE
        and interval_ms is not None
        and next_ms is not None
        and next_ms - now_ms > interval_ms + SLACK_MS
    ):
        ahead = format_duration((next_ms - now_ms) // MINUTE_MS * MINUTE_MS)
        return f"says every {format_duration(interval_ms)}, but the next run is {ahead} ahead"
    return None


class Remembers(Protocol):
    """What a journal remembers of portfolios (:class:`~reconciler.core.ports.Memory`)."""

    @property
    def records(self) -> Mapping[PortfolioId, Record]:
        """What was confirmed."""

    @property
    def pauses(self) -> Mapping[PortfolioId, str]:
        """The tokens of our last pauses."""


NOW: Final[Mapping[Address, int]] = {}
"""For reads of this moment: no portfolio was read at another time."""


def believed(
    memory: Remembers, live: Mapping[PortfolioId, Live], *, now_ms: int, read_ms: Mapping[Address, int] = NOW
) -> tuple[Mapping[PortfolioId, Record], Mapping[PortfolioId, str]]:
    """Return the records that are believed, and why each of the others is not, both by portfolio.

    ``read_ms`` says when each was read, where that was not at ``now_ms``.
    """
    doubts = {}
    for portfolio, record in memory.records.items():
        if portfolio in live:
            last_pause, at_ms = memory.pauses.get(portfolio), read_ms.get(portfolio, now_ms)
            if why := doubt(record, live[portfolio], last_pause=last_pause, now_ms=at_ms):
                doubts[portfolio] = why
    records = {portfolio: record for portfolio, record in memory.records.items() if portfolio not in doubts}
    return (records if doubts else memory.records), doubts


def observed(memory: Remembers, live: Mapping[PortfolioId, Live], *, now_ms: int) -> Mapping[PortfolioId, Record]:
    """Return what these looks add to the records of the journal, by portfolio. A holder of its lock keeps them."""
    records, _ = believed(memory, live, now_ms=now_ms)
    found = {portfolio: observed_record(one, records.get(portfolio)) for portfolio, one in live.items()}
    return {portfolio: record for portfolio, record in found.items() if record is not None}


def doubts_told(doubts: Mapping[PortfolioId, str]) -> tuple[Diagnostic, ...]:
    """Return what people are told of records that are not believed: one by one where they are few, else as a count."""
    repair = "its schedule counts as unverified; if an older journal was put back, put the newest one back"
    if len(doubts) > _NAMED:
        names = ", ".join(sorted(doubts)[:_NAMED])
        problem = f"{plural(len(doubts), 'record')} of the journal are not believed ({names}, …)"
        return (Diagnostic(Severity.WARNING, problem, repair, "journal"),)
    return tuple(
        Diagnostic(Severity.WARNING, f"the journal's record {why}", repair, f"portfolios.{portfolio}")
        for portfolio, why in sorted(doubts.items())
    )
