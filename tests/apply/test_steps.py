"""The writes of one change: what is sent, in which order, and what each answer leaves behind, to the letter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from reconciler.apply.journal import SqliteJournal, open_journal
from reconciler.apply.reread import WAITS_SECONDS, Rereader
from reconciler.apply.steps import Progress, Steps
from reconciler.core.desired import ApiVersion, PortfolioId
from reconciler.core.errors import ApiError, FailureKind, PlanInvalid
from reconciler.core.live import Live, Status
from reconciler.core.marker import MARK
from reconciler.core.plan import Change, ChangeReason, Snapshot
from reconciler.core.ports import Confirmation
from reconciler.core.report import Call
from reconciler.core.verb import Verb
from tests.apply.scripted import Scripted, rows
from tests.support import BASE_URL, HOUR_MS, FakeClock, folder, run

A = PortfolioId("aaa")
H = HOUR_MS
ACTIVE, PAUSED = Status.ACTIVE, Status.PAUSED
START, PAUSE, RESUME, UPDATE = Call.START, Call.PAUSE, Call.RESUME, Call.UPDATE_SCHEDULE


def change(verb: Verb, before: Status, after: Status, **more: Any) -> Change:
    return Change(
        id=A,
        verb=verb,
        before=Snapshot(state=before, interval_ms=24 * H, offset_ms=None),
        after=Snapshot(state=after, interval_ms=12 * H, offset_ms=H),
        fields=(),
        reason=ChangeReason.SCHEDULE_DIFFERS,
        **more,
    )


TO_PAUSE = change(Verb.PAUSE, ACTIVE, PAUSED, note="Audit")
TO_UPDATE = change(Verb.UPDATE, ACTIVE, ACTIVE, writes_schedule=True)
TO_START = change(Verb.START, Status.INACTIVE, ACTIVE, writes_schedule=True, run_on_start=True)
TO_RESUME = change(Verb.RESUME, PAUSED, ACTIVE, pause_reason="Freeze", note="Back")
TO_RESUME_ON = replace(TO_RESUME, writes_schedule=True)


def live(status: Status, **more: Any) -> Live:
    return Live(id=A, status=status, **more)


RUNS, RESTS, IDLE = live(ACTIVE), live(PAUSED, pause_reason="Freeze"), live(Status.INACTIVE)
SET = live(ACTIVE, interval_ms=12 * H, offset_ms=H, schedule_id="s1")
SET_AT_REST = replace(SET, status=PAUSED, pause_reason="Freeze")
OK = Confirmation()
STORED = Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s2")
LOST = ApiError(FailureKind.INTERRUPTED, "no answer", status=504)
REFUSED = ApiError(FailureKind.REFUSED, "not now", status=409)
CODED = ApiError(FailureKind.REFUSED, "not now", code="STATE_CONFLICT")
TOO_SHORT = ApiError(FailureKind.REFUSED, "too short", code="SCHEDULE_TOO_SHORT")
BUSY = ApiError(FailureKind.RATE_LIMITED, "slow down")
NO_READ = ApiError(FailureKind.UNREACHABLE, "no connection")
LOOKS = len(WAITS_SECONDS)

PAUSES = ("pause", A, f"Audit {MARK}")
RESUMES = ("resume", A, f"Back {MARK}")
SETS = ("update-schedule", A, 12 * H, H)
STARTS = ("start", A, 12 * H, H, True)
READS = ("read", A)
WANTED = f'{{"interval_ms": {12 * H}, "offset_ms": {H}}}'


@dataclass(kw_only=True)
class Went:
    """What one change's writes left behind: the requests, the progress, the journal, and the error raised."""

    asked: list[tuple[object, ...]]
    journal: list[tuple[str, str, str]]
    """Call, outcome and detail of every write."""
    calls: list[Call]
    schedule: Confirmation | None = None
    notes: tuple[str, ...] = ()
    uncertain: ApiError | None = None
    sight: Live | None = None
    error: tuple[type[BaseException], str] | None = None


def steps_of(of: Change, api: Scripted, journal: SqliteJournal, progress: Progress) -> Steps:
    return Steps(change=of, api=api, journal=journal, reread=Rereader(api, FakeClock()), progress=progress)


def carry_out(of: Change, *answers: object) -> tuple[Went, BaseException | None]:
    """Send the writes of one change to a service that answers like this; every answer must be used up."""
    api, progress, raised = Scripted(*answers), Progress(), None
    clock = FakeClock()
    with folder() as place:
        path = place / "journal.db"
        with open_journal(path, base_url=BASE_URL, now_ms=clock.now_ms) as journal:
            journal.open_run(fingerprint="f", tool="t")

            async def steps() -> None:
                await steps_of(of, api, journal, progress).run()

            try:
                run(steps())
            except (ApiError, PlanInvalid, asyncio.CancelledError) as error:
                raised = error
        written = rows(path, "SELECT call, outcome, detail, wanted FROM writes ORDER BY id")
    assert api.answers == []
    assert {row[3] for row in written} <= {WANTED}
    return Went(
        asked=api.asked,
        journal=[row[:3] for row in written],
        calls=progress.calls,
        schedule=progress.schedule,
        notes=tuple(progress.notes),
        uncertain=progress.uncertain,
        sight=progress.sight,
        error=(type(raised), str(raised)) if raised is not None else None,
    ), raised


CONFIRMED, LOST_TEXT = ("confirmed", ""), "no answer (HTTP 504)"
AGAIN = f"pause had no effect ({LOST_TEXT}), so it was sent again"
NOT_WHILE_PAUSED = "the schedule could not be set while paused (not now (HTTP 409)), so it was set after"
NOT_RESUMED = (ApiError, "not resumed: it is no longer in the pause that was to be lifted; plan again")

Case = tuple[Change, list[object], Went]

STATES: dict[str, Case] = {
    "pause": (TO_PAUSE, [OK], Went(asked=[PAUSES], journal=[("pause", *CONFIRMED)], calls=[PAUSE])),
    "pause refused": (
        TO_PAUSE,
        [REFUSED],
        Went(
            asked=[PAUSES],
            journal=[("pause", "failed", "not now (HTTP 409)")],
            calls=[PAUSE],
            error=(ApiError, "not now (HTTP 409)"),
        ),
    ),
    "pause lost, seen at the second look": (
        TO_PAUSE,
        [LOST, RUNS, RESTS],
        Went(
            asked=[PAUSES, READS, READS],
            journal=[("pause", "seen", LOST_TEXT)],
            calls=[PAUSE],
            notes=(f"pause failed ({LOST_TEXT}), but a read shows that it took effect",),
            sight=RESTS,
        ),
    ),
    "pause lost, sent again": (
        TO_PAUSE,
        [LOST, *[RUNS] * LOOKS, OK],
        Went(
            asked=[PAUSES, *[READS] * LOOKS, PAUSES],
            journal=[("pause", "unseen", LOST_TEXT), ("pause", *CONFIRMED)],
            calls=[PAUSE, PAUSE],
            notes=(AGAIN,),
        ),
    ),
    "pause lost twice": (
        TO_PAUSE,
        [*[LOST, *[RUNS] * LOOKS] * 2],
        Went(
            asked=[PAUSES, *[READS] * LOOKS] * 2,
            journal=[("pause", "unseen", LOST_TEXT)] * 2,
            calls=[PAUSE, PAUSE],
            notes=(AGAIN,),
            uncertain=LOST,
            sight=RUNS,
        ),
    ),
    "pause lost, nothing can be read": (
        TO_PAUSE,
        [LOST, *[NO_READ] * LOOKS],
        Went(
            asked=[PAUSES, *[READS] * LOOKS],
            journal=[("pause", "unknown", LOST_TEXT)],
            calls=[PAUSE],
            uncertain=LOST,
        ),
    ),
    "pause lost, and it is neither here nor there": (
        TO_PAUSE,
        [LOST, *[IDLE] * LOOKS],
        Went(
            asked=[PAUSES, *[READS] * LOOKS],
            journal=[("pause", "unknown", LOST_TEXT)],
            calls=[PAUSE],
            uncertain=LOST,
            sight=IDLE,
        ),
    ),
    "pause interrupted": (
        TO_PAUSE,
        [asyncio.CancelledError()],
        Went(
            asked=[PAUSES],
            journal=[("pause", "unknown", "interrupted before its answer came")],
            calls=[PAUSE],
            error=(asyncio.CancelledError, ""),
        ),
    ),
    "pause lost, then interrupted": (
        TO_PAUSE,
        [LOST, RUNS, asyncio.CancelledError()],
        Went(
            asked=[PAUSES, READS, READS],
            journal=[("pause", "unknown", f"{LOST_TEXT}; interrupted before a read showed its effect")],
            calls=[PAUSE],
            error=(asyncio.CancelledError, ""),
        ),
    ),
    "resume": (TO_RESUME, [OK], Went(asked=[RESUMES], journal=[("resume", *CONFIRMED)], calls=[RESUME])),
    "resume lost, sent again": (
        TO_RESUME,
        [LOST, *[RESTS] * LOOKS, OK],
        Went(
            asked=[RESUMES, *[READS] * LOOKS, RESUMES],
            journal=[("resume", "unseen", LOST_TEXT), ("resume", *CONFIRMED)],
            calls=[RESUME, RESUME],
            notes=(f"resume had no effect ({LOST_TEXT}), so it was sent again",),
        ),
    ),
    "resume lost, paused anew": (
        TO_RESUME,
        [LOST, *[replace(RESTS, pause_reason="Audit")] * LOOKS],
        Went(
            asked=[RESUMES, *[READS] * LOOKS],
            journal=[("resume", "unknown", LOST_TEXT)],
            calls=[RESUME],
            uncertain=LOST,
            sight=replace(RESTS, pause_reason="Audit"),
        ),
    ),
}

UPDATES: dict[str, Case] = {
    "update": (
        TO_UPDATE,
        [STORED],
        Went(asked=[SETS], journal=[("update-schedule", *CONFIRMED)], calls=[UPDATE], schedule=STORED),
    ),
    "update, nothing said": (
        TO_UPDATE,
        [OK],
        Went(
            asked=[SETS],
            journal=[("update-schedule", *CONFIRMED)],
            calls=[UPDATE],
            schedule=OK,
            notes=("Glider accepted the schedule without saying what it stored",),
        ),
    ),
    "update, as known before": (
        TO_UPDATE,
        [replace(STORED, previous_interval_ms=24 * H)],
        Went(
            asked=[SETS],
            journal=[("update-schedule", *CONFIRMED)],
            calls=[UPDATE],
            schedule=replace(STORED, previous_interval_ms=24 * H),
        ),
    ),
    "update, drifted before": (
        TO_UPDATE,
        [replace(STORED, previous_interval_ms=48 * H)],
        Went(
            asked=[SETS],
            journal=[("update-schedule", *CONFIRMED)],
            calls=[UPDATE],
            schedule=replace(STORED, previous_interval_ms=48 * H),
            notes=("the interval had drifted: it was 48h, not 24h",),
        ),
    ),
    "update, nothing known before": (
        replace(TO_UPDATE, before=replace(TO_UPDATE.before, interval_ms=None)),
        [replace(STORED, previous_interval_ms=48 * H)],
        Went(
            asked=[SETS],
            journal=[("update-schedule", *CONFIRMED)],
            calls=[UPDATE],
            schedule=replace(STORED, previous_interval_ms=48 * H),
        ),
    ),
    "update, another interval stored": (
        TO_UPDATE,
        [Confirmation(interval_ms=6 * H)],
        Went(
            asked=[SETS],
            journal=[("update-schedule", *CONFIRMED)],
            calls=[UPDATE],
            error=(ApiError, "Glider stored 6h instead of 12h with offset 1h"),
        ),
    ),
    "update, another offset stored": (
        TO_UPDATE,
        [replace(STORED, offset_ms=0)],
        Went(
            asked=[SETS],
            journal=[("update-schedule", *CONFIRMED)],
            calls=[UPDATE],
            error=(ApiError, "Glider stored 12h with offset 0s instead of 12h with offset 1h"),
        ),
    ),
    "update lost, seen": (
        TO_UPDATE,
        [LOST, SET],
        Went(
            asked=[SETS, READS],
            journal=[("update-schedule", "seen", LOST_TEXT)],
            calls=[UPDATE],
            schedule=Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s1"),
            notes=(f"update-schedule failed ({LOST_TEXT}), but a read shows that it took effect",),
            sight=SET,
        ),
    ),
    "update lost, another offset seen": (
        TO_UPDATE,
        [LOST, *[replace(SET, offset_ms=0)] * LOOKS],
        Went(
            asked=[SETS, *[READS] * LOOKS],
            journal=[("update-schedule", "unknown", LOST_TEXT)],
            calls=[UPDATE],
            uncertain=LOST,
            sight=replace(SET, offset_ms=0),
        ),
    ),
    "update lost, nothing shown": (
        TO_UPDATE,
        [LOST, *[RUNS] * LOOKS],
        Went(
            asked=[SETS, *[READS] * LOOKS],
            journal=[("update-schedule", "unknown", LOST_TEXT)],
            calls=[UPDATE],
            uncertain=LOST,
            sight=RUNS,
        ),
    ),
}

STARTED: dict[str, Case] = {
    "start": (
        TO_START,
        [STORED],
        Went(asked=[STARTS], journal=[("start", *CONFIRMED)], calls=[START], schedule=STORED),
    ),
    "start misread": (
        TO_START,
        [Confirmation(interval_ms=6 * H, offset_ms=H), STORED],
        Went(
            asked=[STARTS, SETS],
            journal=[("start", *CONFIRMED), ("update-schedule", *CONFIRMED)],
            calls=[START, UPDATE],
            schedule=STORED,
        ),
    ),
    "start lost, seen": (
        TO_START,
        [LOST, SET],
        Went(
            asked=[STARTS, READS],
            journal=[("start", "seen", LOST_TEXT)],
            calls=[START],
            schedule=Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s1"),
            notes=(f"start failed ({LOST_TEXT}), but a read shows that it took effect",),
            sight=SET,
        ),
    ),
    "start lost, not seen": (
        TO_START,
        [LOST, *[IDLE] * LOOKS],
        Went(
            asked=[STARTS, *[READS] * LOOKS],
            journal=[("start", "unknown", LOST_TEXT)],
            calls=[START],
            uncertain=LOST,
            sight=IDLE,
        ),
    ),
}

RESUMED: dict[str, Case] = {
    "update, then resume": (
        TO_RESUME_ON,
        [STORED, OK],
        Went(
            asked=[SETS, RESUMES],
            journal=[("update-schedule", *CONFIRMED), ("resume", *CONFIRMED)],
            calls=[UPDATE, RESUME],
            schedule=STORED,
        ),
    ),
    "not while paused": (
        TO_RESUME_ON,
        [REFUSED, OK, STORED],
        Went(
            asked=[SETS, RESUMES, SETS],
            journal=[
                ("update-schedule", "failed", "not now (HTTP 409)"),
                ("resume", *CONFIRMED),
                ("update-schedule", *CONFIRMED),
            ],
            calls=[UPDATE, RESUME, UPDATE],
            schedule=STORED,
            notes=(NOT_WHILE_PAUSED,),
        ),
    ),
    "not while paused, by a code": (
        TO_RESUME_ON,
        [CODED, OK, STORED],
        Went(
            asked=[SETS, RESUMES, SETS],
            journal=[
                ("update-schedule", "failed", "not now (STATE_CONFLICT)"),
                ("resume", *CONFIRMED),
                ("update-schedule", *CONFIRMED),
            ],
            calls=[UPDATE, RESUME, UPDATE],
            schedule=STORED,
            notes=("the schedule could not be set while paused (not now (STATE_CONFLICT)), so it was set after",),
        ),
    ),
    "not while paused, and the resume lost": (
        TO_RESUME_ON,
        [REFUSED, LOST, *[NO_READ] * LOOKS],
        Went(
            asked=[SETS, RESUMES, *[READS] * LOOKS],
            journal=[("update-schedule", "failed", "not now (HTTP 409)"), ("resume", "unknown", LOST_TEXT)],
            calls=[UPDATE, RESUME],
            notes=(NOT_WHILE_PAUSED,),
            uncertain=LOST,
        ),
    ),
    "not while paused, and the resume lost but seen": (
        TO_RESUME_ON,
        [REFUSED, LOST, RUNS, STORED],
        Went(
            asked=[SETS, RESUMES, READS, SETS],
            journal=[
                ("update-schedule", "failed", "not now (HTTP 409)"),
                ("resume", "seen", LOST_TEXT),
                ("update-schedule", *CONFIRMED),
            ],
            calls=[UPDATE, RESUME, UPDATE],
            schedule=STORED,
            notes=(NOT_WHILE_PAUSED, f"resume failed ({LOST_TEXT}), but a read shows that it took effect"),
        ),
    ),
    "update, then a resume lost but seen": (
        TO_RESUME_ON,
        [STORED, LOST, RUNS],
        Went(
            asked=[SETS, RESUMES, READS],
            journal=[("update-schedule", *CONFIRMED), ("resume", "seen", LOST_TEXT)],
            calls=[UPDATE, RESUME],
            schedule=STORED,
            notes=(f"resume failed ({LOST_TEXT}), but a read shows that it took effect",),
            sight=RUNS,
        ),
    ),
    "the value refused": (
        TO_RESUME_ON,
        [TOO_SHORT],
        Went(
            asked=[SETS],
            journal=[("update-schedule", "failed", "too short (SCHEDULE_TOO_SHORT)")],
            calls=[UPDATE],
            error=(ApiError, "too short (SCHEDULE_TOO_SHORT)"),
        ),
    ),
    "too many calls": (
        TO_RESUME_ON,
        [BUSY],
        Went(
            asked=[SETS],
            journal=[("update-schedule", "failed", "slow down")],
            calls=[UPDATE],
            error=(ApiError, "slow down"),
        ),
    ),
    "another schedule stored": (
        TO_RESUME_ON,
        [Confirmation(interval_ms=6 * H)],
        Went(
            asked=[SETS],
            journal=[("update-schedule", *CONFIRMED)],
            calls=[UPDATE],
            error=(ApiError, "Glider stored 6h instead of 12h with offset 1h"),
        ),
    ),
    "update lost": (
        TO_RESUME_ON,
        [LOST, *[RESTS] * LOOKS],
        Went(
            asked=[SETS, *[READS] * LOOKS],
            journal=[("update-schedule", "unknown", LOST_TEXT)],
            calls=[UPDATE],
            uncertain=LOST,
            sight=RESTS,
        ),
    ),
    "update lost and seen, then resume": (
        TO_RESUME_ON,
        [LOST, SET_AT_REST, OK],
        Went(
            asked=[SETS, READS, RESUMES],
            journal=[("update-schedule", "seen", LOST_TEXT), ("resume", *CONFIRMED)],
            calls=[UPDATE, RESUME],
            schedule=Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s1"),
            notes=(f"update-schedule failed ({LOST_TEXT}), but a read shows that it took effect",),
        ),
    ),
    **{
        f"update lost and seen, but {name}": (
            TO_RESUME_ON,
            [LOST, sight],
            Went(
                asked=[SETS, READS],
                journal=[("update-schedule", "seen", LOST_TEXT)],
                calls=[UPDATE],
                schedule=Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s1"),
                notes=(f"update-schedule failed ({LOST_TEXT}), but a read shows that it took effect",),
                sight=sight,
                error=NOT_RESUMED,
            ),
        )
        for name, sight in (
            ("paused anew", replace(SET_AT_REST, pause_reason="Audit")),
            ("running", replace(SET_AT_REST, status=ACTIVE)),
        )
    },
}

TABLE = {**STATES, **UPDATES, **STARTED, **RESUMED}


@pytest.mark.parametrize(("of", "answers", "expected"), TABLE.values(), ids=TABLE)
def test_steps(of: Change, answers: list[object], expected: Went) -> None:
    """These answers lead to exactly these requests, this progress, this journal and this error."""
    assert carry_out(of, *answers)[0] == expected


@pytest.mark.parametrize(
    ("of", "answers", "kind", "operation"),
    [
        (TO_UPDATE, [Confirmation(interval_ms=6 * H)], FailureKind.MALFORMED, "update-schedule"),
        (TO_RESUME_ON, [LOST, replace(SET_AT_REST, status=ACTIVE)], FailureKind.REFUSED, "resume"),
    ],
)
def test_errors_of_ours(of: Change, answers: list[object], kind: FailureKind, operation: str) -> None:
    """What we refuse ourselves names the call that it is about, and whether anything may have changed."""
    _, error = carry_out(of, *answers)
    assert isinstance(error, ApiError)
    assert (error.kind, error.operation) == (kind, operation)


@pytest.mark.parametrize("verb", [Verb.START, Verb.UPDATE])
def test_a_schedule_without_an_interval(verb: Verb) -> None:
    """No plan of ours says so; if one does, nothing is sent and it is called a bug."""
    of = replace(TO_UPDATE, verb=verb, after=replace(TO_UPDATE.after, interval_ms=None))
    api = Scripted()
    with folder() as place, open_journal(place / "journal.db", base_url=BASE_URL, now_ms=lambda: 0) as journal:
        journal.open_run(fingerprint="f", tool="t")
        with pytest.raises(PlanInvalid) as caught:
            run(steps_of(of, api, journal, Progress()).run())
    assert (caught.value.summary, caught.value.detail) == (
        "a change writes a schedule without an interval",
        "This is a bug of ours; please report it.",
    )
    assert api.asked == []


@pytest.mark.parametrize(
    ("planned", "found", "sent"),
    [("due then", "due then", 2), ("due then", "due later", 1), ("due then", None, 1), (None, None, 1)],
)
def test_a_lost_resume_of_v2(planned: str | None, found: str | None, sent: int) -> None:
    """It is sent again only while the read names the very pause that was to be lifted."""
    lift = replace(TO_RESUME, api=ApiVersion.V2, pause_reason=None, pause_id=planned)
    rest = live(PAUSED, schedule_id=found)
    api, progress = Scripted(LOST, *[rest] * LOOKS, *([OK] if sent == 2 else [])), Progress()
    with folder() as place, open_journal(place / "journal.db", base_url=BASE_URL, now_ms=FakeClock().now_ms) as journal:
        journal.open_run(fingerprint="f", tool="t")
        run(steps_of(lift, api, journal, progress).run())
    assert progress.calls == [RESUME] * sent
    assert (progress.uncertain is None) is (sent == 2)
    assert api.answers == []


def test_an_offset_that_is_not_managed() -> None:
    """Without an offset of its own, any that is stored will do, and the text names none."""
    of = replace(TO_UPDATE, after=replace(TO_UPDATE.after, offset_ms=None))
    api = Scripted(LOST, SET)
    progress = Progress()
    with folder() as place, open_journal(place / "journal.db", base_url=BASE_URL, now_ms=lambda: 0) as journal:
        journal.open_run(fingerprint="f", tool="t")
        run(steps_of(of, api, journal, progress).run())
        assert api.asked == [("update-schedule", A, 12 * H, None), READS]
        assert progress.schedule == Confirmation(interval_ms=12 * H, offset_ms=H, schedule_id="s1")
        wrong = Scripted(Confirmation(interval_ms=6 * H, offset_ms=H))
        with pytest.raises(ApiError, match=r"^Glider stored 6h with offset 1h instead of 12h$"):
            run(steps_of(of, wrong, journal, Progress()).run())
