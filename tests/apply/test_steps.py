"""The writes of one change: what is asked, in which order, and what each answer leaves behind, to the letter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.errors import ApiError, FailureKind, PlanInvalid
from reconciler.core.evidence import MARK
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Live, PortfolioId, Record, RunState, Status, Verb
from reconciler.core.ports import Confirmation
from reconciler.core.report import Outcome
from tests.apply.carried import LOOKS, Script, Went, apply, carry_out, plan_of
from tests.apply.scripted import Scripted, rows
from tests.support import HOUR_MS, NOON_MS, folder

A = PortfolioId("aaa")
H = HOUR_MS
ACTIVE, PAUSED = Status.ACTIVE, Status.PAUSED
START, PAUSE, RESUME, UPDATE = Call.START, Call.PAUSE, Call.RESUME, Call.UPDATE_SCHEDULE
DONE, ALREADY, STALE, FAILED, UNKNOWN = (
    Outcome.DONE,
    Outcome.ALREADY_DONE,
    Outcome.STALE,
    Outcome.FAILED,
    Outcome.UNKNOWN,
)
FREEZE = "Paused via API: Freeze [glider-reconciler 00f00d]"


def change(verb: Verb, before: Status, after: Status, **more: Any) -> Change:
    return Change(
        id=A,
        verb=verb,
        before=Snapshot(state=before, interval_ms=24 * H, offset_ms=None),
        after=Snapshot(state=after, interval_ms=12 * H, offset_ms=H),
        fields=(),
        **{"reason": ChangeReason.SCHEDULE_DIFFERS, **more},
    )


TO_PAUSE = change(Verb.PAUSE, ACTIVE, PAUSED, note="Audit")
TO_UPDATE = change(Verb.UPDATE, ACTIVE, ACTIVE, writes_schedule=True)
TO_START = change(Verb.START, Status.INACTIVE, ACTIVE, writes_schedule=True, run_on_start=True)
TO_RESUME = change(Verb.RESUME, PAUSED, ACTIVE, pause_reason=FREEZE, note="Back")
TO_RESUME_ON = replace(TO_RESUME, writes_schedule=True)


def live(status: Status, **more: Any) -> Live:
    return Live(id=A, status=status, **more)


def paused(reason: str | None) -> Live:
    return live(PAUSED, pause_reason=reason)


RUNS, RESTS, IDLE = live(ACTIVE), paused(FREEZE), live(Status.INACTIVE)
MINE, MINE_2 = (paused(f"Paused via API: Audit [glider-reconciler 00000{n}]") for n in (1, 2))
SILENT, THEIRS = paused(None), paused("Paused from the app")
SET = live(ACTIVE, interval_ms=12 * H, offset_ms=H, schedule_id="s1")
SET_AT_REST = replace(SET, status=PAUSED, pause_reason=FREEZE)
OK = Confirmation()
STORED = Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s2")
OTHER = Confirmation(interval_ms=6 * H)
LOST = ApiError(FailureKind.INTERRUPTED, "no answer", status=504)
REFUSED = ApiError(FailureKind.REFUSED, "not now", status=409)
CODED = ApiError(FailureKind.REFUSED, "not now", code="STATE_CONFLICT")
TOO_SHORT = ApiError(FailureKind.REFUSED, "too short", code="SCHEDULE_TOO_SHORT")
NOT_THERE = ApiError(FailureKind.NOT_FOUND, "no schedule", status=404)
FORBIDDEN = ApiError(FailureKind.FORBIDDEN, "not yours", status=403)
NO_READ = ApiError(FailureKind.UNREACHABLE, "no connection")
CUT = asyncio.CancelledError()

READS = ("read", A)
PAUSES, PAUSES_2 = (("pause", A, f"Audit [glider-reconciler 00000{n}]") for n in (1, 2))
RESUMES = ("resume", A, "Back")
SETS = ("update-schedule", A, 12 * H, H)
STARTS = ("start", A, 12 * H, H, True)

LOST_TEXT = "no answer (HTTP 504)"
LOST_TOLD = ("interrupted", LOST_TEXT, "")
REFUSED_TOLD = ("refused", "not now (HTTP 409)", "")
WRONG = "Glider stored 6h instead of 12h with offset 1h"
NOT_SHOWN = "Glider accepted the call, but its status does not show it yet; plan again"
NOT_BY_US = "it is paused, but not by us{}: a later resume needs --resume-held aaa"
SINCE_PAUSED = "it was paused anew since the plan was made; plan again"
ANOTHER_PAUSE = "its schedule was set, and it was not resumed: it is in another pause by now; plan again"


def maybe(call: Call) -> str:
    return f"{call} may or may not have taken effect: {LOST_TEXT}"


def again(call: Call) -> str:
    return f"{call} had no effect ({LOST_TEXT}), so it was sent again"


def seen(call: Call) -> str:
    return f"{call} failed ({LOST_TEXT}), but a read shows that it took effect"


def looks(*shown: object, times: int = 1) -> Script:
    """Return reads that show this, one after the other, so many times."""
    return [(READS, one) for one in shown] * times


def ok(*calls: Call) -> tuple[tuple[str, str, str], ...]:
    return tuple((call.value, "confirmed", "") for call in calls)


def row(call: Call, outcome: str, detail: str = LOST_TEXT) -> tuple[str, str, str]:
    return call.value, outcome, detail


def known(state: RunState, *, later_ms: int = 0, set_to: Confirmation | None = None, **more: Any) -> Record:
    """Return what is confirmed at the end, so much later than the beginning; ``set_to`` confirmed the schedule."""
    schedule = set_to or Confirmation()
    return Record(
        state=state,
        **{
            "interval_ms": schedule.interval_ms,
            "offset_ms": schedule.offset_ms,
            "schedule_id": schedule.schedule_id,
            "confirmed_ms": NOON_MS + later_ms,
            **more,
        },
    )


LOOKED_MS = 3_000
"""How long all looks for one effect take."""
AT_REST = known(RunState.PAUSED, marked=True)
RUNNING = known(RunState.ACTIVE)
RUNS_AS_SET = known(RunState.ACTIVE, set_to=STORED)
SEEN_SET = Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s1")
RUNS_AS_SEEN = known(RunState.ACTIVE, set_to=SEEN_SET)

Case = tuple[Change, Script, Went]

PAUSED_CASES: dict[str, Case] = {
    "pause": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(MINE)],
        Went(journal=ok(PAUSE), outcome=DONE, record=AT_REST),
    ),
    "pause, shown late": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(RUNS, NO_READ, MINE)],
        Went(journal=ok(PAUSE), outcome=DONE, record=replace(AT_REST, confirmed_ms=NOON_MS + 600)),
    ),
    "pause, never shown": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(RUNS, times=LOOKS)],
        Went(journal=ok(PAUSE), outcome=UNKNOWN, detail=NOT_SHOWN),
    ),
    "pause, nothing to be read after it": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(NO_READ, times=LOOKS)],
        Went(journal=ok(PAUSE), outcome=UNKNOWN, detail=NOT_SHOWN),
    ),
    "pause, on a service that keeps no reason": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(SILENT)],
        Went(journal=ok(PAUSE), outcome=DONE, record=known(RunState.PAUSED)),
    ),
    "pause, on a service that cuts the mark": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(paused("Audit [glider-reconciler 000001"))],
        Went(
            journal=ok(PAUSE),
            outcome=DONE,
            notes=(
                (
                    "Glider changed the mark of our pause: its reason reads 'Audit [glider-reconciler 000001'; this "
                    "journal remembers it, but to other machines it is somebody else's pause"
                ),
            ),
            record=known(RunState.PAUSED, pause_reason="Audit [glider-reconciler 000001"),
        ),
    ),
    "pause, on a service that cuts its token": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(paused("Audit [glider-reconciler 0000"), times=LOOKS)],
        Went(
            journal=ok(PAUSE),
            outcome=ALREADY,
            detail="it is paused, and Glider cut our mark (Glider shows the reason 'Audit [glider-reconciler 0000'), "
            "so nothing shows that the pause is ours: a later resume needs --resume-held aaa",
        ),
    ),
    "pause, and somebody else's is there": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(THEIRS, times=LOOKS)],
        Went(
            journal=ok(PAUSE),
            outcome=ALREADY,
            detail=NOT_BY_US.format(" (Glider shows the reason 'Paused from the app')"),
        ),
    ),
    "pause, and another one of ours is there": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, OK), *looks(RESTS, times=LOOKS)],
        Went(
            journal=ok(PAUSE),
            outcome=ALREADY,
            detail=f"it is paused, by another write of ours (Glider shows the reason {FREEZE!r})",
        ),
    ),
    "pause refused": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, REFUSED), *looks(RUNS)],
        Went(
            journal=[row(PAUSE, "failed", "not now (HTTP 409)")],
            outcome=FAILED,
            detail="not now (HTTP 409)",
            error=REFUSED_TOLD,
        ),
    ),
    "pause refused, and then nothing can be read": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, REFUSED), *looks(NO_READ)],
        Went(
            journal=[row(PAUSE, "failed", "not now (HTTP 409)")],
            outcome=FAILED,
            detail="not now (HTTP 409)",
            error=REFUSED_TOLD,
        ),
    ),
    "pause refused, and it has moved": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, REFUSED), *looks(IDLE)],
        Went(
            journal=[row(PAUSE, "failed", "not now (HTTP 409)")],
            outcome=FAILED,
            detail="not now (HTTP 409)",
            error=REFUSED_TOLD,
        ),
    ),
    "pause refused because it is paused": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, REFUSED), *looks(THEIRS)],
        Went(
            journal=[row(PAUSE, "failed", "not now (HTTP 409)")],
            outcome=ALREADY,
            detail="Glider already is as desired",
        ),
    ),
    "pause forbidden": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, FORBIDDEN)],
        Went(
            journal=[row(PAUSE, "failed", "not yours (HTTP 403)")],
            outcome=FAILED,
            detail="not yours (HTTP 403)",
            error=("forbidden", "not yours (HTTP 403)", ""),
        ),
    ),
    "pause lost, seen at the second look": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, LOST), *looks(RUNS, MINE, MINE)],
        Went(
            journal=[row(PAUSE, "seen")],
            outcome=DONE,
            notes=[seen(PAUSE)],
            record=replace(AT_REST, confirmed_ms=NOON_MS + 200),
        ),
    ),
    **{
        f"pause lost, and {name}": (
            TO_PAUSE,
            [*looks(RUNS), (PAUSES, LOST), *looks(shown, times=LOOKS)],
            Went(journal=[row(PAUSE, "unknown")], outcome=ALREADY, detail=detail),
        )
        for name, shown, detail in (
            ("paused without a reason", SILENT, NOT_BY_US.format("")),
            (
                "paused by somebody else",
                THEIRS,
                NOT_BY_US.format(" (Glider shows the reason 'Paused from the app')"),
            ),
            (
                "paused by another write of ours",
                RESTS,
                f"it is paused, by another write of ours (Glider shows the reason {FREEZE!r})",
            ),
        )
    },
    "pause lost, sent again": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, LOST), *looks(RUNS, times=LOOKS + 1), (PAUSES_2, OK), *looks(MINE_2)],
        Went(
            journal=[row(PAUSE, "unseen"), *ok(PAUSE)],
            outcome=DONE,
            notes=[again(PAUSE)],
            record=replace(AT_REST, confirmed_ms=NOON_MS + LOOKED_MS),
        ),
    ),
    "pause lost, and there just before it is sent again": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, LOST), *looks(RUNS, times=LOOKS), *looks(MINE, MINE)],
        Went(
            journal=[row(PAUSE, "seen")],
            outcome=DONE,
            notes=[seen(PAUSE)],
            record=replace(AT_REST, confirmed_ms=NOON_MS + LOOKED_MS),
        ),
    ),
    "pause lost, and somebody paused it before it is sent again": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, LOST), *looks(RUNS, times=LOOKS), *looks(THEIRS)],
        Went(journal=[row(PAUSE, "unseen")], outcome=ALREADY, detail="Glider already is as desired"),
    ),
    "pause lost, then refused": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, LOST), *looks(RUNS, times=LOOKS + 1), (PAUSES_2, REFUSED), *looks(RUNS)],
        Went(
            journal=[row(PAUSE, "unseen"), row(PAUSE, "failed", "not now (HTTP 409)")],
            outcome=FAILED,
            detail="pause failed after pause: not now (HTTP 409)",
            error=REFUSED_TOLD,
        ),
    ),
    "pause lost twice": (
        TO_PAUSE,
        [
            *looks(RUNS),
            (PAUSES, LOST),
            *looks(RUNS, times=LOOKS + 1),
            (PAUSES_2, LOST),
            *looks(RUNS, times=LOOKS),
        ],
        Went(
            journal=[row(PAUSE, "unseen")] * 2,
            outcome=UNKNOWN,
            detail=maybe(PAUSE),
            notes=[again(PAUSE)],
            error=LOST_TOLD,
        ),
    ),
    **{
        f"pause lost, {name}": (
            TO_PAUSE,
            [*looks(RUNS), (PAUSES, LOST), *looks(shown, times=LOOKS)],
            Went(journal=[row(PAUSE, "unknown")], outcome=UNKNOWN, detail=maybe(PAUSE), error=LOST_TOLD),
        )
        for name, shown in (("nothing can be read", NO_READ), ("and it is neither here nor there", IDLE))
    },
    "pause cut off": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, CUT)],
        Went(journal=[row(PAUSE, "unknown", "interrupted before its answer came")], raised=True),
    ),
    "pause lost, then cut off": (
        TO_PAUSE,
        [*looks(RUNS), (PAUSES, LOST), *looks(RUNS, CUT)],
        Went(journal=[row(PAUSE, "unknown", f"{LOST_TEXT}; interrupted before a read showed its effect")], raised=True),
    ),
}

LIFTED: dict[str, Case] = {
    "resume": (
        TO_RESUME,
        [*looks(RESTS), (RESUMES, OK), *looks(RUNS)],
        Went(journal=ok(RESUME), outcome=DONE, record=RUNNING),
    ),
    "resume lost, but seen": (
        TO_RESUME,
        [*looks(RESTS), (RESUMES, LOST), *looks(RUNS, RUNS)],
        Went(journal=[row(RESUME, "seen")], outcome=DONE, notes=[seen(RESUME)], record=RUNNING),
    ),
    "resume lost, sent again": (
        TO_RESUME,
        [*looks(RESTS), (RESUMES, LOST), *looks(RESTS, times=LOOKS + 1), (RESUMES, OK), *looks(RUNS)],
        Went(
            journal=[row(RESUME, "unseen"), *ok(RESUME)],
            outcome=DONE,
            notes=[again(RESUME)],
            record=known(RunState.ACTIVE, later_ms=LOOKED_MS),
        ),
    ),
    "resume lost, paused anew before it is sent again": (
        TO_RESUME,
        [*looks(RESTS), (RESUMES, LOST), *looks(RESTS, times=LOOKS), *looks(THEIRS)],
        Went(journal=[row(RESUME, "unseen")], outcome=STALE, detail=SINCE_PAUSED),
    ),
    **{
        f"resume lost, {name}": (
            replace(TO_RESUME, pause_reason=reason, reason=ChangeReason.HOLD_OVERRIDDEN),
            [*looks(paused(reason)), (RESUMES, LOST), *looks(shown, times=LOOKS)],
            Went(journal=[row(RESUME, "unknown")], outcome=UNKNOWN, detail=maybe(RESUME), error=LOST_TOLD),
        )
        for name, reason, shown in (
            ("paused anew", FREEZE, THEIRS),
            ("paused anew by us", FREEZE, MINE),
            ("from a pause of ours without a token", f"Freeze {MARK}", paused(f"Freeze {MARK}")),
            ("from a pause of somebody else", "Audit", paused("Audit")),
            ("from a pause without a reason", None, SILENT),
        )
    },
}

UPDATED: dict[str, Case] = {
    "update": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, STORED), *looks(RUNS)],
        Went(journal=ok(UPDATE), outcome=DONE, record=RUNS_AS_SET),
    ),
    "update, nothing said": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, OK), *looks(RUNS)],
        Went(
            journal=ok(UPDATE),
            outcome=DONE,
            notes=["Glider accepted the schedule without saying what it stored"],
            record=RUNNING,
        ),
    ),
    "update, no offset said": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, replace(STORED, offset_ms=None)), *looks(RUNS)],
        Went(
            journal=ok(UPDATE),
            outcome=DONE,
            notes=["Glider accepted the schedule without saying which offset it stored"],
            record=RUNS_AS_SET,
        ),
    ),
    "update, as known before": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, replace(STORED, previous_interval_ms=24 * H)), *looks(RUNS)],
        Went(journal=ok(UPDATE), outcome=DONE, record=RUNS_AS_SET),
    ),
    "update, drifted before": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, replace(STORED, previous_interval_ms=48 * H)), *looks(RUNS)],
        Went(
            journal=ok(UPDATE),
            outcome=DONE,
            notes=["the interval had drifted: it was 48h, not 24h"],
            record=RUNS_AS_SET,
        ),
    ),
    "update, nothing known before": (
        replace(TO_UPDATE, before=replace(TO_UPDATE.before, interval_ms=None)),
        [*looks(RUNS), (SETS, replace(STORED, previous_interval_ms=48 * H)), *looks(RUNS)],
        Went(journal=ok(UPDATE), outcome=DONE, record=RUNS_AS_SET),
    ),
    "update, another interval stored": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, OTHER)],
        Went(journal=ok(UPDATE), outcome=FAILED, detail=WRONG, error=("malformed", WRONG, "update-schedule")),
    ),
    "update, another offset stored": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, replace(STORED, offset_ms=0))],
        Went(
            journal=ok(UPDATE),
            outcome=FAILED,
            detail="Glider stored 12h with offset 0s instead of 12h with offset 1h",
            error=(
                "malformed",
                "Glider stored 12h with offset 0s instead of 12h with offset 1h",
                "update-schedule",
            ),
        ),
    ),
    "update, accepted and not shown": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, STORED), *looks(replace(SET, interval_ms=24 * H), times=LOOKS)],
        Went(journal=ok(UPDATE), outcome=UNKNOWN, detail=NOT_SHOWN),
    ),
    "update lost, seen": (
        TO_UPDATE,
        [*looks(RUNS), (SETS, LOST), *looks(SET, SET)],
        Went(journal=[row(UPDATE, "seen")], outcome=DONE, notes=[seen(UPDATE)], record=RUNS_AS_SEEN),
    ),
    **{
        f"update lost, {name}": (
            TO_UPDATE,
            [*looks(before), (SETS, LOST), *looks(shown, times=LOOKS)],
            Went(journal=[row(UPDATE, "unknown")], outcome=UNKNOWN, detail=maybe(UPDATE), error=LOST_TOLD),
        )
        for name, before, shown in (
            ("another offset seen", RUNS, replace(SET, offset_ms=0)),
            ("nothing shown", RUNS, RUNS),
            ("the schedule of before seen", replace(SET, interval_ms=24 * H), replace(SET, interval_ms=24 * H)),
        )
    },
}

MISREAD = Confirmation(interval_ms=6 * H, offset_ms=H)
STARTED: dict[str, Case] = {
    "start": (
        TO_START,
        [*looks(IDLE), (STARTS, STORED), *looks(RUNS)],
        Went(journal=ok(START), outcome=DONE, record=RUNS_AS_SET),
    ),
    "start misread": (
        TO_START,
        [*looks(IDLE), (STARTS, MISREAD), *looks(RUNS), (SETS, STORED), *looks(RUNS)],
        Went(journal=ok(START, UPDATE), outcome=DONE, record=RUNS_AS_SET),
    ),
    "start without its offset": (
        TO_START,
        [*looks(IDLE), (STARTS, replace(STORED, offset_ms=None)), *looks(RUNS), (SETS, STORED), *looks(RUNS)],
        Went(journal=ok(START, UPDATE), outcome=DONE, record=RUNS_AS_SET),
    ),
    "start misread, though the schedule is right": (
        TO_START,
        [*looks(IDLE), (STARTS, MISREAD), *looks(SET, SET)],
        Went(journal=ok(START), outcome=DONE, record=RUNS_AS_SEEN),
    ),
    "start misread, and the schedule of the answer is there": (
        TO_START,
        [*looks(IDLE), (STARTS, MISREAD), *looks(replace(SET, interval_ms=6 * H)), (SETS, STORED), *looks(SET)],
        Went(
            journal=ok(START, UPDATE),
            outcome=DONE,
            record=known(RunState.ACTIVE, set_to=replace(STORED, schedule_id="s1")),
        ),
    ),
    "start misread, and the schedule set by somebody": (
        TO_START,
        [*looks(IDLE), (STARTS, MISREAD), *looks(replace(SET, interval_ms=31 * H))],
        Went(
            journal=ok(START),
            outcome=STALE,
            detail="it runs, on a schedule that somebody else may have set; plan again",
        ),
    ),
    "start misread, and paused since": (
        TO_START,
        [*looks(IDLE), (STARTS, MISREAD), *looks(THEIRS)],
        Went(
            journal=ok(START),
            outcome=STALE,
            detail="it was started, and is paused since, so its schedule was not set; plan again",
        ),
    ),
    "start misread, and then nothing can be read": (
        TO_START,
        [*looks(IDLE), (STARTS, MISREAD), *looks(NO_READ)],
        Went(
            journal=ok(START),
            outcome=FAILED,
            detail="reading failed after start, so nothing more was written: no connection",
            error=("unreachable", "no connection", ""),
        ),
    ),
    "start refused because it runs as desired": (
        TO_START,
        [*looks(IDLE), (STARTS, REFUSED), *looks(SET)],
        Went(
            journal=[row(START, "failed", "not now (HTTP 409)")],
            outcome=ALREADY,
            detail="Glider already is as desired",
        ),
    ),
    "start lost, seen": (
        TO_START,
        [*looks(IDLE), (STARTS, LOST), *looks(SET, SET)],
        Went(journal=[row(START, "seen")], outcome=DONE, notes=[seen(START)], record=RUNS_AS_SEEN),
    ),
    "start lost, seen without its schedule": (
        TO_START,
        [*looks(IDLE), (STARTS, LOST), *looks(RUNS, RUNS), (SETS, STORED), *looks(RUNS)],
        Went(journal=[row(START, "seen"), *ok(UPDATE)], outcome=DONE, notes=[seen(START)], record=RUNS_AS_SET),
    ),
    "start lost, and another schedule seen": (
        TO_START,
        [*looks(IDLE), (STARTS, LOST), *looks(replace(SET, interval_ms=31 * H), replace(SET, interval_ms=31 * H))],
        Went(
            journal=[row(START, "seen")],
            outcome=STALE,
            detail="it runs, on a schedule that somebody else may have set; plan again",
            notes=[seen(START)],
        ),
    ),
    "start lost, not seen": (
        TO_START,
        [*looks(IDLE), (STARTS, LOST), *looks(IDLE, times=LOOKS)],
        Went(journal=[row(START, "unknown")], outcome=UNKNOWN, detail=maybe(START), error=LOST_TOLD),
    ),
}


def not_while(error: str) -> str:
    return f"the schedule could not be set while paused ({error}), so it was set after"


NOT_WHILE_PAUSED = not_while("not now (HTTP 409)")
REFUSED_ROW = row(UPDATE, "failed", "not now (HTTP 409)")
ON_REFUSED: Script = [*looks(RESTS), (SETS, REFUSED), *looks(RESTS, RESTS)]
"""The schedule is refused while paused, looked at once, and looked at again for the resume."""

RESTS_ON_24H = replace(RESTS, interval_ms=24 * H)

RESUMED: dict[str, Case] = {
    "update, then resume": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, STORED), *looks(RESTS), (RESUMES, OK), *looks(RUNS)],
        Went(journal=ok(UPDATE, RESUME), outcome=DONE, record=RUNS_AS_SET),
    ),
    "update, shown where a schedule is shown, then resume": (
        TO_RESUME_ON,
        [
            *looks(replace(RESTS, interval_ms=24 * H, offset_ms=0)),
            (SETS, STORED),
            *looks(replace(RESTS, interval_ms=12 * H, offset_ms=H)),
            (RESUMES, OK),
            *looks(RUNS),
        ],
        Went(journal=ok(UPDATE, RESUME), outcome=DONE, record=RUNS_AS_SET),
    ),
    "update, and resumed by somebody": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, STORED), *looks(RUNS, RUNS)],
        Went(journal=ok(UPDATE), outcome=DONE, record=RUNS_AS_SET),
    ),
    **{
        f"update, and {name}": (
            TO_RESUME_ON,
            [*looks(RESTS), (SETS, STORED), *looks(shown)],
            Went(journal=ok(UPDATE), outcome=STALE, detail=ANOTHER_PAUSE),
        )
        for name, shown in (("paused anew", THEIRS), ("paused anew by us", MINE), ("gone", IDLE))
    },
    "update, and its old schedule shown": (
        TO_RESUME_ON,
        [*looks(RESTS_ON_24H), (SETS, STORED), *looks(RESTS_ON_24H), (RESUMES, OK), *looks(RUNS)],
        Went(journal=ok(UPDATE, RESUME), outcome=DONE, record=RUNS_AS_SET),
    ),
    "update, and another schedule set by somebody": (
        TO_RESUME_ON,
        [*looks(RESTS_ON_24H), (SETS, STORED), *looks(replace(RESTS, interval_ms=31 * H))],
        Went(
            journal=ok(UPDATE),
            outcome=STALE,
            detail="its schedule was set, and it was not resumed: somebody set another one since; plan again",
        ),
    ),
    "update, and then nothing can be read": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, STORED), *looks(NO_READ)],
        Went(
            journal=ok(UPDATE),
            outcome=FAILED,
            detail="reading failed after update-schedule, so nothing more was written: no connection",
            error=("unreachable", "no connection", ""),
        ),
    ),
    "update, and the resume refused": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, STORED), *looks(RESTS), (RESUMES, REFUSED), *looks(RESTS)],
        Went(
            journal=[*ok(UPDATE), row(RESUME, "failed", "not now (HTTP 409)")],
            outcome=FAILED,
            detail="resume failed after update-schedule: not now (HTTP 409)",
            error=REFUSED_TOLD,
        ),
    ),
    "update, and the resume refused because it runs": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, STORED), *looks(RESTS), (RESUMES, REFUSED), *looks(RUNS, RUNS)],
        Went(
            journal=[*ok(UPDATE), row(RESUME, "failed", "not now (HTTP 409)")],
            outcome=DONE,
            record=RUNS_AS_SET,
        ),
    ),
    **{
        f"not while paused, by {name}": (
            TO_RESUME_ON,
            [
                *looks(RESTS),
                (SETS, error),
                *looks(RESTS, times=1 + (error.status == 409)),
                (RESUMES, OK),
                *looks(RUNS),
                (SETS, STORED),
                *looks(RUNS),
            ],
            Went(
                journal=[row(UPDATE, "failed", str(error)), *ok(RESUME, UPDATE)],
                outcome=DONE,
                notes=[not_while(str(error))],
                record=RUNS_AS_SET,
            ),
        )
        for name, error in (("a conflict", REFUSED), ("a code", CODED), ("a 404 about the schedule", NOT_THERE))
    },
    "not while paused, and set by the service after": (
        TO_RESUME_ON,
        [*ON_REFUSED, (RESUMES, OK), *looks(SET, SET)],
        Went(
            journal=[REFUSED_ROW, *ok(RESUME)],
            outcome=DONE,
            notes=[NOT_WHILE_PAUSED],
            record=RUNS_AS_SEEN,
        ),
    ),
    "not while paused, and paused anew": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, REFUSED), *looks(RESTS, THEIRS)],
        Went(journal=[REFUSED_ROW], outcome=STALE, detail=SINCE_PAUSED, notes=[NOT_WHILE_PAUSED]),
    ),
    **{
        f"not while paused, and after the resume {what}": (
            TO_RESUME_ON,
            [
                *looks(RESTS_ON_24H),
                (SETS, REFUSED),
                *looks(RESTS_ON_24H, RESTS_ON_24H),
                (RESUMES, OK),
                *looks(shown),
                (SETS, STORED),
                *looks(RUNS),
            ],
            Went(
                journal=[REFUSED_ROW, *ok(RESUME, UPDATE)], outcome=DONE, notes=[NOT_WHILE_PAUSED], record=RUNS_AS_SET
            ),
        )
        for what, shown in (
            ("it runs as before", replace(SET, interval_ms=24 * H, offset_ms=None)),
            ("half of what is wanted is there", replace(SET, offset_ms=None)),
        )
    },
    "not while paused, and another schedule set by somebody after the resume": (
        TO_RESUME_ON,
        [
            *looks(RESTS_ON_24H),
            (SETS, REFUSED),
            *looks(RESTS_ON_24H, RESTS_ON_24H),
            (RESUMES, OK),
            *looks(replace(SET, interval_ms=31 * H)),
        ],
        Went(
            journal=[REFUSED_ROW, *ok(RESUME)],
            outcome=STALE,
            detail="it was resumed, and its schedule was changed by somebody since; plan again",
            notes=[NOT_WHILE_PAUSED],
        ),
    ),
    "not while paused, and paused by somebody after the resume": (
        TO_RESUME_ON,
        [*ON_REFUSED, (RESUMES, OK), *looks(THEIRS)],
        Went(
            journal=[REFUSED_ROW, *ok(RESUME)],
            outcome=STALE,
            detail="it was resumed, and is paused since, so its schedule was not set; plan again",
            notes=[NOT_WHILE_PAUSED],
        ),
    ),
    "not while paused, and not after either": (
        TO_RESUME_ON,
        [*ON_REFUSED, (RESUMES, OK), *looks(RUNS), (SETS, REFUSED), *looks(RUNS)],
        Went(
            journal=[REFUSED_ROW, *ok(RESUME), REFUSED_ROW],
            outcome=FAILED,
            detail="update-schedule failed after update-schedule, resume: not now (HTTP 409)",
            notes=[NOT_WHILE_PAUSED],
            error=REFUSED_TOLD,
        ),
    ),
    "not while paused, and the resume lost": (
        TO_RESUME_ON,
        [*ON_REFUSED, (RESUMES, LOST), *looks(NO_READ, times=LOOKS)],
        Went(
            journal=[REFUSED_ROW, row(RESUME, "unknown")],
            outcome=UNKNOWN,
            detail=maybe(RESUME),
            notes=[NOT_WHILE_PAUSED],
            error=LOST_TOLD,
        ),
    ),
    "not while paused, and the resume lost but seen": (
        TO_RESUME_ON,
        [*ON_REFUSED, (RESUMES, LOST), *looks(RUNS, RUNS), (SETS, STORED), *looks(RUNS)],
        Went(
            journal=[REFUSED_ROW, row(RESUME, "seen"), *ok(UPDATE)],
            outcome=DONE,
            notes=[NOT_WHILE_PAUSED, seen(RESUME)],
            record=RUNS_AS_SET,
        ),
    ),
    "update, then a resume lost but seen": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, STORED), *looks(RESTS), (RESUMES, LOST), *looks(RUNS, RUNS)],
        Went(journal=[*ok(UPDATE), row(RESUME, "seen")], outcome=DONE, notes=[seen(RESUME)], record=RUNS_AS_SET),
    ),
    "update, then a resume lost and sent again": (
        TO_RESUME_ON,
        [
            *looks(RESTS),
            (SETS, STORED),
            *looks(RESTS),
            (RESUMES, LOST),
            *looks(RESTS, times=LOOKS + 1),
            (RESUMES, OK),
            *looks(RUNS),
        ],
        Went(
            journal=[*ok(UPDATE), row(RESUME, "unseen"), *ok(RESUME)],
            outcome=DONE,
            notes=[again(RESUME)],
            record=replace(RUNS_AS_SET, confirmed_ms=NOON_MS + LOOKED_MS),
        ),
    ),
    "the value refused": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, TOO_SHORT)],
        Went(
            journal=[row(UPDATE, "failed", "too short (SCHEDULE_TOO_SHORT)")],
            outcome=FAILED,
            detail="too short (SCHEDULE_TOO_SHORT)",
            error=("refused", "too short (SCHEDULE_TOO_SHORT)", ""),
        ),
    ),
    "another schedule stored": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, OTHER)],
        Went(journal=ok(UPDATE), outcome=FAILED, detail=WRONG, error=("malformed", WRONG, "update-schedule")),
    ),
    "update lost": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, LOST), *looks(RESTS, times=LOOKS)],
        Went(journal=[row(UPDATE, "unknown")], outcome=UNKNOWN, detail=maybe(UPDATE), error=LOST_TOLD),
    ),
    "update lost and seen, then resume": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, LOST), *looks(SET_AT_REST, SET_AT_REST), (RESUMES, OK), *looks(SET)],
        Went(journal=[row(UPDATE, "seen"), *ok(RESUME)], outcome=DONE, notes=[seen(UPDATE)], record=RUNS_AS_SEEN),
    ),
    "update lost and seen, but paused anew": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, LOST), *looks(SET_AT_REST, replace(SET_AT_REST, pause_reason="Audit"))],
        Went(journal=[row(UPDATE, "seen")], outcome=STALE, detail=ANOTHER_PAUSE, notes=[seen(UPDATE)]),
    ),
    "update lost and seen, but running": (
        TO_RESUME_ON,
        [*looks(RESTS), (SETS, LOST), *looks(SET, SET, SET)],
        Went(journal=[row(UPDATE, "seen")], outcome=DONE, notes=[seen(UPDATE)], record=RUNS_AS_SEEN),
    ),
}

TABLE = {**PAUSED_CASES, **LIFTED, **UPDATED, **STARTED, **RESUMED}


@pytest.mark.parametrize(("of", "script", "expected"), TABLE.values(), ids=TABLE)
def test_steps(of: Change, script: Script, expected: Went) -> None:
    """Exactly this is asked, each write after a look of its own, and these answers lead to exactly this end."""
    assert carry_out(of, script).whole == expected.whole


@pytest.mark.parametrize("verb", [Verb.START, Verb.UPDATE])
def test_a_schedule_without_an_interval(verb: Verb) -> None:
    """No plan of ours says so; if one does, nothing is sent and it is called a bug."""
    before = IDLE if verb is Verb.START else RUNS
    of = replace(
        TO_UPDATE,
        verb=verb,
        before=Snapshot(state=before.status, interval_ms=None, offset_ms=None),
        after=Snapshot(state=ACTIVE, interval_ms=None, offset_ms=H),
    )
    api = Scripted(before)
    with folder() as place, pytest.raises(PlanInvalid) as caught:
        apply(place / "journal.db", plan_of(of), api)
    assert (caught.value.summary, caught.value.detail) == (
        "a change writes a schedule without an interval",
        "This is a bug in glider-reconciler; please report it.",
    )
    assert api.asked == [READS]


V2_RESUME = replace(
    TO_RESUME, api=ApiVersion.V2, pause_reason=None, reason=ChangeReason.HOLD_OVERRIDDEN, after=TO_RESUME.before
)
V2_RESUME = replace(V2_RESUME, after=replace(V2_RESUME.after, state=ACTIVE))
NOON, ONE = "due 2026-11-22T12:00:00+00:00", "due 2026-11-22T13:00:00+00:00"


@pytest.mark.parametrize(
    ("planned", "found", "sent"),
    [(NOON, NOON, 2), (NOON, ONE, 1), (NOON, None, 1), (None, None, 1), ("due x", "due x", 1)],
)
def test_a_lost_resume_of_v2(planned: str | None, found: str | None, sent: int) -> None:
    """It is sent again only while the read names the very due time of the pause that was to be lifted."""
    before, after = (live(PAUSED, schedule_id=pause) for pause in (planned, found))
    script = [*looks(before), (RESUMES, LOST), *looks(after, times=LOOKS)]
    went = carry_out(
        replace(V2_RESUME, pause_id=planned),
        [*script, *looks(after), (RESUMES, OK), *looks(RUNS)] if sent == 2 else script,
    )
    assert (went.outcome, went.journal) == (
        (DONE, [row(RESUME, "unseen"), *ok(RESUME)]) if sent == 2 else (UNKNOWN, [row(RESUME, "unknown")])
    )


def test_an_offset_that_is_not_managed() -> None:
    """Without an offset of its own, any that is stored will do, and the text names none."""
    of = replace(TO_UPDATE, after=replace(TO_UPDATE.after, offset_ms=None))
    sets = ("update-schedule", A, 12 * H, None)
    assert carry_out(of, [*looks(RUNS), (sets, LOST), *looks(SET, SET)]).record == RUNS_AS_SEEN
    wrong = carry_out(of, [*looks(RUNS), (sets, Confirmation(interval_ms=6 * H, offset_ms=H))])
    assert wrong.detail == "Glider stored 6h with offset 1h instead of 12h"


@pytest.mark.parametrize(
    ("case", "steps"),
    [
        ("pause", [0]),
        ("update", [0]),
        ("resume", [0]),
        ("start misread", [0, 1]),
        ("update, then resume", [1, 0]),
        ("not while paused, by a conflict", [1, 0, 1]),
    ],
)
def test_what_only_prepares_is_written_down_as_a_step(case: str, steps: list[int]) -> None:
    """The schedule before a resume or after a start is no end of its change: a run that broke off there goes on."""
    of, script, _ = TABLE[case]
    with folder() as place:
        path = place / "journal.db"
        apply(path, plan_of(of), Scripted(*(answer for _, answer in script)))
        assert rows(path, "SELECT step FROM writes ORDER BY id") == [(step,) for step in steps]
        asks_for_a_run = rows(path, "SELECT call FROM writes WHERE json_extract(wanted, '$.run_now') = 1")
    assert asks_for_a_run == ([("start",)] if case == "start misread" else [])
