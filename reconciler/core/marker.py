"""Who paused a portfolio: the mark that our pauses leave in the reason Glider stores.

The service keeps a reason with every pause and puts a prefix of its own before it (API facts §1.2), so the mark
stands at the end. It makes the question answerable on any machine, without local state, and holds the token of the
write that made the pause. v2 stores no reason (§5.1): there the journal alone tells, by the time at which the portfolio
was due when it was paused.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.desired import ApiVersion, RunState
from reconciler.core.schedule import applies
from reconciler.core.text import holds_token

if TYPE_CHECKING:
    from reconciler.core.live import Live, Record

MARK: Final = "[glider-reconciler]"
"""The mark of older versions, without a token; it still counts."""
MARK_NAME: Final = "[glider-reconciler"
"""How every mark begins, also one that the service cut."""
_AT_THE_END: Final = re.compile(r"\[glider-reconciler(?: ([0-9a-f]{6}))?\]\s*\Z")
_ANYWHERE: Final = re.compile(r"\[glider-reconciler[^\]]*\]?")
_DUE: Final = "due "


def marked(reason: str | None, token: str) -> str:
    """Return the reason to send with a pause: the declared one, or a stock phrase, and the mark with its token."""
    return f"{unmarked(reason)} {MARK_NAME} {token}]"


def unmarked(reason: str | None) -> str:
    """Return the reason to send with a resume, which carries no mark: a reason that lingers must not look like ours."""
    return reason or "Declared in Git"


def is_marked(pause_reason: str | None) -> bool:
    """Whether the stored reason ends in our mark. Anything behind it makes it somebody else's text."""
    return pause_reason is not None and _AT_THE_END.search(pause_reason) is not None


def without_mark(text: str) -> str:
    """Return text without anything that is, or was, a mark of ours, wherever it stands."""
    while (found := _ANYWHERE.search(text)) is not None:
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
    return found[1] if found is not None else None


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
    match api:
        case ApiVersion.V1:
            of_v1 = known.schedule_id is None or not known.schedule_id.startswith(_DUE)
            return of_v1 and all(ran <= known.confirmed_ms for ran in live.scheduled_ms)
        case ApiVersion.V2:
            # Whatever ran since had begun before: a resume, which alone lets another one begin, moves the due time.
            return known.schedule_id is not None and known.schedule_id == live.schedule_id
        case _:
            assert_never(api)
