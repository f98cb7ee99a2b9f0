"""Decisions: the whole value that one portfolio's two sides and record lead to."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.change import (
    Blocked,
    BlockReason,
    Change,
    ChangeReason,
    Decision,
    Field,
    FieldChange,
    Held,
    Risk,
    Snapshot,
    Unchanged,
)
from reconciler.core.decide import DEFAULT_POLICY, Policy, decide
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import MARK
from reconciler.core.model import (
    Desired,
    Live,
    Origin,
    PausedBy,
    PortfolioId,
    Provenance,
    Record,
    RunState,
    Status,
    Unverified,
    Verb,
    Verdict,
)
from tests.support import HOUR_MS, NOON_MS

ID = PortfolioId("aaa")
H = HOUR_MS
SKIP, FAIL = Policy(unverified=Unverified.SKIP), Policy(unverified=Unverified.FAIL)
OURS = f"Paused via API: Freeze {MARK}"
THEIRS = "Paused from the app"
WHERE: dict[str, Any] = {"name": "Alpha", "source": Origin("glider.yaml", 3)}
"""What every decision that names a portfolio repeats of its declaration."""


def wants(state: str = "active", interval: int | None = None, offset: int | None = None, **more: Any) -> Desired:
    return Desired(
        id=ID,
        state=RunState(state),
        interval_ms=interval,
        offset_ms=offset,
        name="Alpha",
        origin=Origin("glider.yaml", 3),
        **more,
    )


def live(status: Status = Status.ACTIVE, interval: int | None = None, offset: int | None = None, **more: Any) -> Live:
    return Live(id=ID, status=status, interval_ms=interval, offset_ms=offset, **more)


def record(interval: int | None, offset: int | None = None, state: str = "active") -> Record:
    return Record(state=RunState(state), interval_ms=interval, offset_ms=offset, schedule_id=None, confirmed_ms=NOON_MS)


def snapshot(state: Status, interval: int | None = None, offset: int | None = None) -> Snapshot:
    return Snapshot(state=state, interval_ms=interval, offset_ms=offset)


ACTIVE, PAUSED = Status.ACTIVE, Status.PAUSED
FROM_PAUSED = FieldChange(
    field=Field.STATE, live="paused", desired="active", verdict=Verdict.DIFFERENT, provenance=Provenance.READ
)
RUNS = FieldChange(field=Field.STATE, live="active", desired="active", verdict=Verdict.SAME, provenance=Provenance.READ)


def field(
    name: Field, now: int | None, then: int, provenance: Provenance = Provenance.READ, overruled: int | None = None
) -> FieldChange:
    verdict = Verdict.UNVERIFIED if now is None else Verdict.SAME if now == then else Verdict.DIFFERENT
    return FieldChange(
        field=name,
        live=now,
        desired=then,
        verdict=verdict,
        provenance=Provenance.NONE if now is None else provenance,
        overruled=overruled,
    )


def update(before: Snapshot, after: Snapshot, *fields: FieldChange, **more: Any) -> Change:
    given: dict[str, Any] = {"reason": ChangeReason.SCHEDULE_DIFFERS, "writes_schedule": True, **WHERE, **more}
    return Change(id=ID, verb=Verb.UPDATE, before=before, after=after, fields=(RUNS, *fields), **given)


def resume(before: Snapshot, after: Snapshot, *fields: FieldChange, **more: Any) -> Change:
    given: dict[str, Any] = {
        "reason": ChangeReason.PAUSED_BY_US,
        "risks": (Risk.TRADES_AGAIN,),
        "pause_reason": OURS,
        **WHERE,
        **more,
    }
    return Change(id=ID, verb=Verb.RESUME, before=before, after=after, fields=(FROM_PAUSED, *fields), **given)


def block(reason: BlockReason, detail: str, status: str, failure: FailureKind | None = None) -> Blocked:
    return Blocked(id=ID, reason=reason, detail=detail, status=status, failure=failure, **WHERE)


I12, I24 = field(Field.INTERVAL, 24 * H, 12 * H), field(Field.INTERVAL, 24 * H, 24 * H)
UNKNOWN_12 = field(Field.INTERVAL, None, 12 * H)

Row = tuple[Desired, Live, Record | None, Policy, Decision]

SAME: dict[str, Row] = {
    "runs as declared": (wants(), live(), None, DEFAULT_POLICY, Unchanged()),
    "runs as declared, schedule and all": (
        wants(interval=12 * H, offset=H),
        live(interval=12 * H, offset=H),
        None,
        FAIL,
        Unchanged(),
    ),
    "runs as recorded": (wants(interval=12 * H, offset=H), live(), record(12 * H, H), FAIL, Unchanged()),
    "inactive is as good as paused": (
        wants("paused", 12 * H),
        live(Status.INACTIVE),
        None,
        DEFAULT_POLICY,
        Unchanged(),
    ),
    "paused": (wants("paused"), live(PAUSED, pause_reason=THEIRS), None, DEFAULT_POLICY, Unchanged()),
    "paused, another schedule": (wants("paused", 12 * H), live(PAUSED, 24 * H), None, FAIL, Unchanged()),
    "paused, unknown schedule": (wants("paused", 12 * H), live(PAUSED), None, FAIL, Unchanged(unverified=True)),
    "unknown schedule, skipped": (wants(interval=12 * H), live(), None, SKIP, Unchanged(unverified=True)),
    "one part unknown, skipped": (
        wants(interval=12 * H, offset=H),
        live(interval=12 * H),
        None,
        SKIP,
        Unchanged(unverified=True),
    ),
}

PAUSES: dict[str, Row] = {
    "paused here": (
        wants("paused", 12 * H, H, reason="Audit"),
        live(interval=24 * H, next_run_ms=NOON_MS),
        record(None, 2 * H),
        FAIL,
        Change(
            id=ID,
            verb=Verb.PAUSE,
            before=snapshot(ACTIVE, 24 * H, 2 * H),
            after=snapshot(PAUSED),
            fields=(
                FieldChange(
                    field=Field.STATE,
                    live="active",
                    desired="paused",
                    verdict=Verdict.DIFFERENT,
                    provenance=Provenance.READ,
                ),
            ),
            reason=ChangeReason.DECLARED_PAUSED,
            note="Audit",
            next_run_ms=NOON_MS,
            **WHERE,
        ),
    ),
}

STATE_OF_A_START = FieldChange(
    field=Field.STATE, live="inactive", desired="active", verdict=Verdict.DIFFERENT, provenance=Provenance.READ
)


def of_a_start(name: Field, wanted: int) -> FieldChange:
    return FieldChange(field=name, live=None, desired=wanted, verdict=Verdict.DIFFERENT, provenance=Provenance.READ)


STARTS: dict[str, Row] = {
    "start": (
        wants(interval=12 * H, reason="not sent with a start"),
        live(Status.INACTIVE),
        record(24 * H, H),
        FAIL,
        Change(
            id=ID,
            verb=Verb.START,
            before=snapshot(Status.INACTIVE),
            after=snapshot(ACTIVE, 12 * H),
            fields=(STATE_OF_A_START, of_a_start(Field.INTERVAL, 12 * H)),
            reason=ChangeReason.NOT_RUNNING,
            risks=(Risk.TRADES_AGAIN,),
            writes_schedule=True,
            **WHERE,
        ),
    ),
    "start with an offset, and run at once": (
        wants(interval=12 * H, offset=0, run_on_start=True),
        live(Status.INACTIVE),
        None,
        DEFAULT_POLICY,
        Change(
            id=ID,
            verb=Verb.START,
            before=snapshot(Status.INACTIVE),
            after=snapshot(ACTIVE, 12 * H, 0),
            fields=(STATE_OF_A_START, of_a_start(Field.INTERVAL, 12 * H), of_a_start(Field.OFFSET, 0)),
            reason=ChangeReason.NOT_RUNNING,
            risks=(Risk.RUNS_AT_ONCE, Risk.TRADES_AGAIN),
            writes_schedule=True,
            run_on_start=True,
            **WHERE,
        ),
    ),
    "start without an interval": (
        wants(offset=H),
        live(Status.INACTIVE),
        record(24 * H),
        DEFAULT_POLICY,
        block(
            BlockReason.START_NEEDS_INTERVAL,
            "nothing runs yet, and a start needs an interval; declare one",
            "inactive",
        ),
    ),
}

UPDATES: dict[str, Row] = {
    "shorter, offset unmanaged and unknown": (
        wants(interval=12 * H, reason="not sent with an update"),
        live(interval=24 * H, next_run_ms=NOON_MS, pause_reason="left over"),
        None,
        FAIL,
        update(
            snapshot(ACTIVE, 24 * H),
            snapshot(ACTIVE, 12 * H),
            I12,
            risks=(Risk.MORE_RUNS, Risk.OFFSET_RESET),
            next_run_ms=NOON_MS,
        ),
    ),
    "longer, offset unmanaged and kept": (
        wants(interval=24 * H),
        live(interval=12 * H, offset=H),
        None,
        DEFAULT_POLICY,
        update(snapshot(ACTIVE, 12 * H, H), snapshot(ACTIVE, 24 * H, H), field(Field.INTERVAL, 12 * H, 24 * H)),
    ),
    "offset unmanaged, recorded and kept": (
        wants(interval=24 * H),
        live(interval=12 * H),
        record(12 * H, H),
        DEFAULT_POLICY,
        update(snapshot(ACTIVE, 12 * H, H), snapshot(ACTIVE, 24 * H, H), field(Field.INTERVAL, 12 * H, 24 * H)),
    ),
    "shorter, kept offset still fits": (
        wants(interval=12 * H),
        live(interval=24 * H, offset=12 * H - 1),
        None,
        DEFAULT_POLICY,
        update(
            snapshot(ACTIVE, 24 * H, 12 * H - 1),
            snapshot(ACTIVE, 12 * H, 12 * H - 1),
            I12,
            risks=(Risk.MORE_RUNS,),
        ),
    ),
    "shorter, kept offset does not fit": (
        wants(interval=12 * H),
        live(interval=24 * H, offset=12 * H),
        None,
        DEFAULT_POLICY,
        update(
            snapshot(ACTIVE, 24 * H, 12 * H),
            snapshot(ACTIVE, 12 * H),
            I12,
            risks=(Risk.MORE_RUNS, Risk.OFFSET_RESET),
        ),
    ),
    "both declared": (
        wants(interval=12 * H, offset=H),
        live(interval=24 * H, offset=0),
        None,
        DEFAULT_POLICY,
        update(
            snapshot(ACTIVE, 24 * H, 0),
            snapshot(ACTIVE, 12 * H, H),
            I12,
            field(Field.OFFSET, 0, H),
            risks=(Risk.MORE_RUNS,),
        ),
    ),
    "only the offset differs": (
        wants(interval=24 * H, offset=H),
        live(interval=24 * H, offset=0),
        None,
        FAIL,
        update(snapshot(ACTIVE, 24 * H, 0), snapshot(ACTIVE, 24 * H, H), I24, field(Field.OFFSET, 0, H)),
    ),
    "only the offset is declared": (
        wants(offset=H),
        live(interval=24 * H, offset=0),
        None,
        FAIL,
        update(snapshot(ACTIVE, 24 * H, 0), snapshot(ACTIVE, 24 * H, H), field(Field.OFFSET, 0, H)),
    ),
    "only the offset is declared, the interval recorded": (
        wants(offset=H),
        live(),
        record(24 * H, 0),
        FAIL,
        update(
            snapshot(ACTIVE, 24 * H, 0),
            snapshot(ACTIVE, 24 * H, H),
            field(Field.OFFSET, 0, H, Provenance.RECORDED),
        ),
    ),
    "only the offset is declared, the interval not known": (
        wants(offset=H),
        live(offset=0),
        None,
        DEFAULT_POLICY,
        block(
            BlockReason.OFFSET_NEEDS_INTERVAL,
            "the offset can't be set without an interval, and the live one is not known; declare an interval",
            "active",
        ),
    ),
    "only the offset is declared, and it does not fit": (
        wants(offset=12 * H),
        live(interval=12 * H, word="running"),
        None,
        DEFAULT_POLICY,
        block(
            BlockReason.OFFSET_NEEDS_INTERVAL,
            "the declared offset does not fit into the live interval of 12h; declare an interval",
            "running",
        ),
    ),
    "only the offset is declared, and it just fits": (
        wants(offset=12 * H - 1),
        live(interval=12 * H, offset=0),
        None,
        DEFAULT_POLICY,
        update(
            snapshot(ACTIVE, 12 * H, 0),
            snapshot(ACTIVE, 12 * H, 12 * H - 1),
            field(Field.OFFSET, 0, 12 * H - 1),
        ),
    ),
    "not known, written": (
        wants(interval=12 * H),
        live(next_run_ms=NOON_MS),
        None,
        DEFAULT_POLICY,
        update(
            snapshot(ACTIVE),
            snapshot(ACTIVE, 12 * H),
            UNKNOWN_12,
            reason=ChangeReason.SCHEDULE_UNVERIFIED,
            risks=(Risk.OFFSET_RESET, Risk.UNVERIFIED_WRITE),
            next_run_ms=NOON_MS,
        ),
    ),
    "one part differs, the other is not known": (
        wants(interval=12 * H, offset=H),
        live(interval=24 * H),
        None,
        DEFAULT_POLICY,
        update(
            snapshot(ACTIVE, 24 * H),
            snapshot(ACTIVE, 12 * H, H),
            I12,
            field(Field.OFFSET, None, H),
            risks=(Risk.MORE_RUNS, Risk.UNVERIFIED_WRITE),
        ),
    ),
    "one part differs, the other is not known and skipped": (
        wants(interval=12 * H, offset=H),
        live(interval=24 * H),
        None,
        SKIP,
        update(
            snapshot(ACTIVE, 24 * H),
            snapshot(ACTIVE, 12 * H, H),
            I12,
            field(Field.OFFSET, None, H),
            risks=(Risk.MORE_RUNS, Risk.UNVERIFIED_WRITE),
        ),
    ),
    "a record overruled by what was observed": (
        wants(interval=12 * H),
        live(scheduled_ms=(NOON_MS + 18 * H, NOON_MS + 12 * H, NOON_MS + 6 * H)),
        record(12 * H, H),
        DEFAULT_POLICY,
        update(
            snapshot(ACTIVE, 6 * H),
            snapshot(ACTIVE, 12 * H),
            field(Field.INTERVAL, 6 * H, 12 * H, Provenance.OBSERVED, overruled=12 * H),
            risks=(Risk.OFFSET_RESET,),
        ),
    ),
    "not known, and that fails": (
        wants(interval=12 * H),
        live(),
        None,
        FAIL,
        block(BlockReason.UNVERIFIED, "the live interval can't be known, and unverified fields fail", "active"),
    ),
    "neither part known, and that fails": (
        wants(interval=12 * H, offset=H),
        live(word="running"),
        None,
        FAIL,
        block(
            BlockReason.UNVERIFIED,
            "the live interval and offset can't be known, and unverified fields fail",
            "running",
        ),
    ),
    "one part differs, the other is not known, and that fails": (
        wants(interval=12 * H, offset=H),
        live(interval=24 * H),
        None,
        FAIL,
        block(BlockReason.UNVERIFIED, "the live offset can't be known, and unverified fields fail", "active"),
    ),
}

PAUSED_BY_US = live(PAUSED, 24 * H, H, pause_reason=OURS, next_run_ms=NOON_MS, scheduled_ms=(NOON_MS - H,))
PAUSED_BY_THEM = live(PAUSED, 24 * H, pause_reason=THEIRS, scheduled_ms=(NOON_MS - H, NOON_MS - 2 * H))
OVERRIDDEN: dict[str, Any] = {"reason": ChangeReason.HOLD_OVERRIDDEN, "pause_reason": THEIRS}

RESUMES: dict[str, Row] = {
    "paused by us, no schedule declared": (
        wants(reason="Back"),
        PAUSED_BY_US,
        None,
        FAIL,
        resume(snapshot(PAUSED, 24 * H, H), snapshot(ACTIVE), note="Back"),
    ),
    "paused by us, same schedule": (
        wants(interval=24 * H),
        PAUSED_BY_US,
        None,
        FAIL,
        resume(snapshot(PAUSED, 24 * H, H), snapshot(ACTIVE, 24 * H), I24),
    ),
    "paused by us, same schedule and offset": (
        wants(interval=24 * H, offset=H),
        PAUSED_BY_US,
        None,
        FAIL,
        resume(snapshot(PAUSED, 24 * H, H), snapshot(ACTIVE, 24 * H, H), I24, field(Field.OFFSET, H, H)),
    ),
    "paused by us, another schedule": (
        wants(interval=12 * H),
        PAUSED_BY_US,
        None,
        FAIL,
        resume(
            snapshot(PAUSED, 24 * H, H),
            snapshot(ACTIVE, 12 * H, H),
            I12,
            risks=(Risk.TRADES_AGAIN, Risk.MORE_RUNS),
            writes_schedule=True,
        ),
    ),
    "paused by us, unknown schedule": (
        wants(interval=12 * H),
        live(PAUSED, pause_reason=OURS),
        None,
        DEFAULT_POLICY,
        resume(
            snapshot(PAUSED),
            snapshot(ACTIVE, 12 * H),
            UNKNOWN_12,
            risks=(Risk.TRADES_AGAIN, Risk.OFFSET_RESET, Risk.UNVERIFIED_WRITE),
            writes_schedule=True,
        ),
    ),
    "paused by us, unknown schedule skipped": (
        wants(interval=12 * H),
        live(PAUSED, pause_reason=OURS),
        None,
        SKIP,
        resume(snapshot(PAUSED), snapshot(ACTIVE, 12 * H), UNKNOWN_12),
    ),
    "paused by us, unknown schedule fails": (
        wants(interval=12 * H),
        live(PAUSED, pause_reason=OURS),
        None,
        FAIL,
        block(BlockReason.UNVERIFIED, "the live interval can't be known, and unverified fields fail", "paused"),
    ),
    "paused by us, the offset needs an interval": (
        wants(offset=H),
        live(PAUSED, pause_reason=OURS),
        None,
        DEFAULT_POLICY,
        block(
            BlockReason.OFFSET_NEEDS_INTERVAL,
            "the offset can't be set without an interval, and the live one is not known; declare an interval",
            "paused",
        ),
    ),
    "paused by us, same schedule on record": (
        wants(interval=24 * H),
        live(PAUSED, pause_reason=OURS),
        record(24 * H, H, "paused"),
        FAIL,
        resume(
            snapshot(PAUSED, 24 * H, H),
            snapshot(ACTIVE, 24 * H),
            field(Field.INTERVAL, 24 * H, 24 * H, Provenance.RECORDED),
        ),
    ),
    "paused by us on record": (
        wants(),
        live(PAUSED),
        record(24 * H, H, "paused"),
        DEFAULT_POLICY,
        resume(snapshot(PAUSED, 24 * H, H), snapshot(ACTIVE), pause_reason=None),
    ),
    "held": (
        wants(interval=24 * H),
        PAUSED_BY_THEM,
        record(24 * H, H),
        DEFAULT_POLICY,
        Held(id=ID, pause_reason=THEIRS, paused_by=PausedBy.OTHERS, last_run_ms=NOON_MS - H, **WHERE),
    ),
    "held, never ran, schedule unknown": (
        wants(interval=24 * H),
        live(PAUSED, pause_reason=THEIRS),
        None,
        FAIL,
        Held(id=ID, pause_reason=THEIRS, paused_by=PausedBy.OTHERS, unverified=True, **WHERE),
    ),
    "held, another one let go": (
        wants(),
        PAUSED_BY_THEM,
        None,
        Policy(resume_held=frozenset({"bbb"})),
        Held(id=ID, pause_reason=THEIRS, paused_by=PausedBy.OTHERS, last_run_ms=NOON_MS - H, **WHERE),
    ),
    "hold overridden in the files": (
        wants(hold_override=True, reason="Back"),
        PAUSED_BY_THEM,
        None,
        DEFAULT_POLICY,
        resume(
            snapshot(PAUSED, 24 * H),
            snapshot(ACTIVE),
            risks=(Risk.HOLD_OVERRIDDEN, Risk.TRADES_AGAIN),
            note="Back",
            **OVERRIDDEN,
        ),
    ),
    "hold let go by name, with another schedule": (
        wants(interval=12 * H),
        PAUSED_BY_THEM,
        None,
        Policy(resume_held=frozenset({ID})),
        resume(
            snapshot(PAUSED, 24 * H),
            snapshot(ACTIVE, 12 * H),
            I12,
            risks=(Risk.HOLD_OVERRIDDEN, Risk.TRADES_AGAIN, Risk.MORE_RUNS, Risk.OFFSET_RESET),
            writes_schedule=True,
            **OVERRIDDEN,
        ),
    ),
}

UNREACHABLE = ApiError(FailureKind.UNREACHABLE, "no connection")
BLOCKS: dict[str, Row] = {
    f"{name}, declared {state}": (wants(state, 12 * H), found, record(12 * H), DEFAULT_POLICY, expected)
    for state in ("active", "paused")
    for name, found, expected in (
        (
            "archived",
            live(Status.ARCHIVED),
            block(BlockReason.ARCHIVED, "it is archived; unarchive it or remove it from the files", "archived"),
        ),
        (
            "error",
            live(Status.ERROR, word="ERROR"),
            block(
                BlockReason.ERROR_STATUS,
                "Glider reports the status 'error'; look at the portfolio there, then plan again",
                "ERROR",
            ),
        ),
        (
            "unknown",
            live(Status.UNKNOWN, word="hibernating"),
            block(
                BlockReason.UNKNOWN_STATUS,
                "Glider reports the status 'hibernating', which this version does not know",
                "hibernating",
            ),
        ),
        (
            "not found",
            live(Status.NOT_FOUND),
            block(
                BlockReason.NOT_FOUND,
                "v1 has no such portfolio, or the key may not see it; check the id",
                "not_found",
            ),
        ),
        (
            "unreadable",
            live(Status.UNREADABLE, failure=UNREACHABLE),
            block(BlockReason.READ_FAILED, "reading failed: no connection", "unreadable", FailureKind.UNREACHABLE),
        ),
        (
            "unreadable, nobody knows why",
            live(Status.UNREADABLE),
            block(BlockReason.READ_FAILED, "reading failed", "unreadable"),
        ),
    )
}

TABLE = {**SAME, **PAUSES, **STARTS, **UPDATES, **RESUMES, **BLOCKS}


@pytest.mark.parametrize(("desired", "found", "known", "policy", "expected"), TABLE.values(), ids=TABLE)
def test_decision(desired: Desired, found: Live, known: Record | None, policy: Policy, expected: Decision) -> None:
    """Two sides, a record and a policy lead to exactly this decision."""
    assert decide(desired, found, known, policy) == expected


def test_unverified_fields_are_written_by_default() -> None:
    """Without a policy of a person's, what can't be known is written and nobody's hold is let go."""
    assert Policy(unverified=Unverified.WRITE, resume_held=frozenset()) == DEFAULT_POLICY
    assert isinstance(decide(wants(interval=12 * H), live(), None), Change)
