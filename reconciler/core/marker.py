"""Who paused a portfolio: the mark that our pauses leave in the reason Glider stores.

The service keeps a reason with every pause and puts a prefix of its own before it (API facts §1.2), so the mark
stands at the end. It makes the question answerable on any machine, without local state. v2 stores no reason (§5.1):
there the journal alone tells, by the time at which the portfolio was due when it was paused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.desired import ApiVersion, RunState
from reconciler.core.schedule import applies

if TYPE_CHECKING:
    from reconciler.core.live import Live, Record

MARK: Final = "[glider-reconciler]"
_DUE: Final = "due "


def marked(reason: str | None) -> str:
    """Return the reason to send with a pause or resume: the declared one, or a stock phrase, and the mark."""
    return f"{reason or 'Declared in Git'} {MARK}"


def is_marked(pause_reason: str | None) -> bool:
    """Whether the stored reason ends in our mark. Anything behind it makes it somebody else's text."""
    return pause_reason is not None and pause_reason.rstrip().endswith(MARK)


def pause_id(due: str) -> str:
    """Return what tells one pause of v2 from the next: the time it was due, which every resume moves (API facts §1.3).

    It stands where v1 has the id of a schedule, and looks like none.
    """
    return f"{_DUE}{due}"


def paused_by_us(live: Live, record: Record | None, api: ApiVersion) -> bool:
    """Whether the pause that is in force is ours; when in doubt it is not, and the portfolio is held.

    A stored reason decides alone. Without one, the journal's last confirmed write may stand in, but only where the
    service never showed our mark after that pause (it keeps no reasons) and nothing ran since (nobody resumed). On v2
    it has to know this very pause, and a pause made through one API proves nothing of the other.
    """
    if live.pause_reason:
        return is_marked(live.pause_reason)
    if record is None or record.state is not RunState.PAUSED or record.marked or not applies(record, live):
        return False
    known = record.schedule_id
    match api:
        case ApiVersion.V1:
            this_one = known is None or not known.startswith(_DUE)
        case ApiVersion.V2:
            this_one = known is not None and known == live.schedule_id
        case _:
            assert_never(api)
    return this_one and all(ran <= record.confirmed_ms for ran in live.scheduled_ms)
