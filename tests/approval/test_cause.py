"""The cause of a change: one row for each way in which files, base and live can stand to each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Cause
from reconciler.core.decide import DEFAULT_POLICY, Policy
from reconciler.core.evidence import MARK
from reconciler.core.model import Desired, Live, PortfolioId, Record, RunState, Status
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan, was_applied, with_causes
from reconciler.core.ports import Memory
from tests.core.plans import Declares
from tests.fleets import declared
from tests.support import BASE_URL, HOUR_MS, NOON_MS

ID = PortfolioId("aaa")
H = HOUR_MS


def wants(state: str = "active", hours: int | None = None, **more: Any) -> Desired:
    return Desired(id=ID, state=RunState(state), interval_ms=hours * H if hours else None, **more)


def live(status: Status = Status.ACTIVE, hours: int | None = None, **more: Any) -> Live:
    return Live(id=ID, status=status, interval_ms=hours * H if hours else None, **more)


def record(state: str = "active", hours: int | None = None) -> Record:
    interval_ms = hours * H if hours else None
    return Record(
        state=RunState(state), interval_ms=interval_ms, offset_ms=0, schedule_id=None, confirmed_ms=0, marked=True
    )


def cause(
    files: Desired, base: Desired | None, found: Live, known: Record | None, policy: Policy = DEFAULT_POLICY
) -> Cause | None:
    records = {ID: known} if known else {}
    made = build_plan(
        Plan(base_url=BASE_URL, created_ms=NOON_MS), {ID: files}, {ID: found}, Memory(records=records), policy=policy
    )
    files_then = Declares(desired={ID: base} if base else {})
    (change,) = with_causes(made, files_then, {ID: found}, Memory(records=records), policy).changes
    return change.cause


OURS = live(Status.PAUSED, 24, pause_reason=f"Freeze {MARK}")
THEIRS = live(Status.PAUSED, 24, pause_reason="Paused from the app")
GONE = live(Status.INACTIVE)

TABLE: dict[str, tuple[Desired, Desired | None, Live, Record | None, Cause]] = {
    # files, base, live, record
    "interval edited": (wants(hours=12), wants(hours=24), live(hours=24), None, Cause.BRANCH),
    "state edited": (wants("paused"), wants(), live(), None, Cause.BRANCH),
    "added to the files": (wants(hours=12), None, live(hours=24), None, Cause.BRANCH),
    "added, nothing runs": (wants(hours=12), None, GONE, None, Cause.BRANCH),
    "now managed": (wants(hours=12), wants(), live(hours=24), None, Cause.BRANCH),
    "edited, live unknown": (wants(hours=12), wants(hours=24), live(), None, Cause.BRANCH),
    "resumed, schedule deferred in the base": (wants(hours=12), wants("paused", 12), OURS, None, Cause.BRANCH),
    "moved by hand": (wants(hours=24), wants(hours=24), live(hours=12), record(hours=24), Cause.DRIFT),
    "stopped by hand": (wants(hours=24), wants(hours=24), GONE, record(hours=24), Cause.DRIFT),
    "resumed by hand": (wants("paused", 24), wants("paused", 24), live(), record("paused", 12), Cause.DRIFT),
    "moved, only the name edited": (
        wants(hours=24, name="New"),
        wants(hours=24),
        live(hours=12),
        record(hours=24),
        Cause.DRIFT,
    ),
    "edited and moved": (wants(hours=12), wants(hours=24), live(hours=48), record(hours=24), Cause.BOTH),
    "edited, base not applied": (wants(hours=12), wants(hours=24), GONE, None, Cause.BOTH),
    "hold overridden here": (wants(hold_override=True), wants(), THEIRS, None, Cause.BOTH),
    "edited so that it can start": (wants(hours=24), wants(), GONE, None, Cause.BOTH),
    "another reason for the same pause": (
        wants("paused", reason="Audit"),
        wants("paused", reason="Freeze"),
        live(),
        None,
        Cause.BOTH,
    ),
    "merged, never applied": (wants(hours=12), wants(hours=12), live(hours=24), record(hours=24), Cause.PENDING),
    "merged, no record": (wants(hours=12), wants(hours=12), live(hours=24), None, Cause.PENDING),
    "merged, never started": (wants(hours=12), wants(hours=12), GONE, None, Cause.PENDING),
    "merged, live unknown": (wants(hours=12), wants(hours=12), live(), None, Cause.PENDING),
    "merged pause, never applied": (wants("paused"), wants("paused"), live(), record(), Cause.PENDING),
}


@pytest.mark.parametrize(("files", "base", "found", "known", "expected"), TABLE.values(), ids=TABLE)
def test_cause(files: Desired, base: Desired | None, found: Live, known: Record | None, expected: Cause) -> None:
    """Each row of files, base, live and record has this cause."""
    assert cause(files, base, found, known) is expected


def test_a_released_hold_is_no_branch() -> None:
    """--resume-held holds for the base, too: who paused it moved live, and nobody edited a file."""
    policy = Policy(resume_held=frozenset({ID}))
    assert cause(wants(), wants(), THEIRS, record(), policy) is Cause.DRIFT


@given(declared(ID), st.sampled_from([live(), live(hours=24), OURS, THEIRS, GONE]), st.sampled_from([None, record()]))
def test_unedited_files_are_never_to_blame(files: Desired, found: Live, known: Record | None) -> None:
    """With the files as their own base, every change is drift or pending; without a base, this branch's."""
    memory = Memory(records={ID: known} if known else {})
    made = build_plan(Plan(base_url=BASE_URL, created_ms=NOON_MS), {ID: files}, {ID: found}, memory)
    same = with_causes(made, Declares(desired={ID: files}), {ID: found}, memory, DEFAULT_POLICY)
    assert all(change.cause in (Cause.DRIFT, Cause.PENDING) for change in same.changes)
    alone = with_causes(made, Declares(), {ID: found}, memory, DEFAULT_POLICY)
    assert all(change.cause is Cause.BRANCH for change in alone.changes)
    assert replace(same, changes=()) == replace(made, changes=())


def test_applied_once() -> None:
    """Only a record of all that is declared counts; of a paused portfolio, the state alone."""
    assert was_applied(wants(hours=24, offset_ms=0), record(hours=24))
    assert not was_applied(wants(hours=24, offset_ms=1), record(hours=24))
    assert not was_applied(wants(hours=24), record())
    assert not was_applied(wants(), record("paused"))
    assert was_applied(wants("paused", 24), record("paused"))
    assert not was_applied(wants(), None)
