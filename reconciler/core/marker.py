"""Who paused a portfolio: the mark that our pauses leave in the reason Glider stores.

The service keeps a reason with every pause and puts a prefix of its own before it (API facts §1.2), so the mark
stands at the end. It makes the question answerable on any machine, without local state. v2 stores no reason (§5.1):
there the journal alone tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.desired import RunState
from reconciler.core.schedule import applies

if TYPE_CHECKING:
    from reconciler.core.live import Live, Record

MARK: Final = "[glider-reconciler]"


def marked(reason: str | None) -> str:
    """Return the reason to send with a pause or resume: the declared one, or a stock phrase, and the mark."""
    return f"{reason or 'Declared in Git'} {MARK}"


def is_marked(pause_reason: str | None) -> bool:
    """Whether the stored reason ends in our mark. Anything behind it makes it somebody else's text."""
    return pause_reason is not None and pause_reason.rstrip().endswith(MARK)


def paused_by_us(live: Live, record: Record | None) -> bool:
    """Whether the pause that is in force is ours; when in doubt it is not, and the portfolio is held.

    A stored reason decides alone. Without one, the journal's last confirmed write may stand in, but only where the
    service never showed our mark after that pause (it keeps no reasons) and nothing ran since (nobody resumed).
    """
    if live.pause_reason:
        return is_marked(live.pause_reason)
    if record is None or record.state is not RunState.PAUSED or record.marked or not applies(record, live):
        return False
    return all(ran <= record.confirmed_ms for ran in live.scheduled_ms)
