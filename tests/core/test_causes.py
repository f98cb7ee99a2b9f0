"""Causes, one comparison at a time: what makes two decisions the same, and what live agrees with."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.change import Cause, Change
from reconciler.core.decide import DEFAULT_POLICY, Policy, decide
from reconciler.core.evidence import MARK
from reconciler.core.model import Desired, Live, PortfolioId, Record, RunState, Status, Unverified
from reconciler.core.planner import cause_of, was_applied, with_causes
from reconciler.core.ports import Memory
from tests.core.plans import BARE, RICH, Declares
from tests.support import HOUR_MS, NOON_MS

A, B = PortfolioId("aaa"), PortfolioId("b-bare")
H = HOUR_MS
FILES = Desired(id=A, state=RunState.ACTIVE, interval_ms=12 * H, offset_ms=H, reason="Back")
OURS = Live(id=A, status=Status.PAUSED, interval_ms=24 * H, offset_ms=0, pause_reason=f"Freeze {MARK}")
IDLE = Live(id=A, status=Status.INACTIVE)
RECORD = Record(state=RunState.ACTIVE, interval_ms=12 * H, offset_ms=H, schedule_id=None, confirmed_ms=NOON_MS)


def planned(files: Desired, live: Live, record: Record | None = None) -> Change:
    decision = decide(files, live, record)
    assert isinstance(decision, Change)
    return decision


EDITS: dict[str, tuple[Desired, Desired, Live]] = {
    "another verb": (FILES, replace(FILES, state=RunState.PAUSED), replace(OURS, status=Status.ACTIVE)),
    "another interval": (FILES, replace(FILES, interval_ms=6 * H), OURS),
    "another offset": (FILES, replace(FILES, offset_ms=2 * H), OURS),
    "another reason": (FILES, replace(FILES, reason="Away"), OURS),
    "the schedule is sent": (FILES, replace(FILES, interval_ms=None, offset_ms=None), OURS),
    "run at once": (FILES, replace(FILES, run_on_start=True), IDLE),
}


@pytest.mark.parametrize(("files", "base", "live"), EDITS.values(), ids=EDITS)
def test_the_same_change(files: Desired, base: Desired, live: Live) -> None:
    """Only a base that would do and send the very same makes a change drift, or pending where never applied."""
    change = planned(files, live)
    assert cause_of(change, base, live, None, DEFAULT_POLICY) in (Cause.BOTH, Cause.BRANCH)
    assert cause_of(change, files, live, None, DEFAULT_POLICY) is Cause.PENDING
    assert cause_of(change, files, live, RECORD, DEFAULT_POLICY) is Cause.DRIFT
    assert cause_of(change, None, live, RECORD, DEFAULT_POLICY) is Cause.BRANCH


def test_sent_or_not() -> None:
    """Two resumes to the same schedule differ when only one of them sends it."""
    change = replace(planned(FILES, OURS), writes_schedule=False)
    assert cause_of(change, FILES, OURS, None, DEFAULT_POLICY) is Cause.BOTH
    started = replace(planned(FILES, IDLE), run_on_start=True)
    assert cause_of(started, FILES, IDLE, None, DEFAULT_POLICY) is Cause.BOTH


def test_what_live_agrees_with() -> None:
    """A base that live agrees with leaves the branch to blame; so does one that can't be proven different."""
    change = planned(FILES, replace(OURS, status=Status.ACTIVE))
    agreeing = replace(FILES, interval_ms=24 * H, offset_ms=0)
    found = replace(OURS, status=Status.ACTIVE)
    assert cause_of(change, agreeing, found, None, DEFAULT_POLICY) is Cause.BRANCH
    assert cause_of(change, replace(agreeing, offset_ms=1), found, None, DEFAULT_POLICY) is Cause.BOTH
    assert cause_of(change, replace(agreeing, offset_ms=None), found, None, DEFAULT_POLICY) is Cause.BRANCH
    unknown = replace(found, interval_ms=None, offset_ms=None)
    assert cause_of(change, agreeing, unknown, None, DEFAULT_POLICY) is Cause.BRANCH
    assert cause_of(change, agreeing, unknown, RECORD, DEFAULT_POLICY) is Cause.BOTH


def test_a_schedule_that_waits_for_the_resume() -> None:
    """A base that wants it paused agrees with a paused portfolio, whatever its schedule: the resume is the branch's."""
    change = planned(replace(FILES, interval_ms=6 * H), OURS)
    assert cause_of(change, replace(FILES, state=RunState.PAUSED), OURS, None, DEFAULT_POLICY) is Cause.BRANCH


def test_the_record_is_the_plans() -> None:
    """The base is decided about with the same record: what only the journal knows to be our pause is ours for both."""
    live = replace(OURS, pause_reason=None)
    record = replace(RECORD, state=RunState.PAUSED)
    change = planned(FILES, live, record)
    assert cause_of(change, FILES, live, record, DEFAULT_POLICY) is Cause.PENDING


def test_the_policy_is_the_plans() -> None:
    """The base is decided about with the policy of the plan: what it skips is no difference."""
    live = Live(id=A, status=Status.ACTIVE, interval_ms=24 * H)
    change = planned(FILES, live)
    fail = Policy(unverified=Unverified.FAIL)
    assert cause_of(change, FILES, live, None, DEFAULT_POLICY) is Cause.PENDING
    assert cause_of(change, FILES, live, None, fail) is Cause.BOTH


def test_every_change_has_its_own_cause() -> None:
    """Base, live state and record are looked up by the change's own id; everything else of the plan stays."""
    files = {A: FILES, B: replace(FILES, id=B)}
    live = {A: OURS, B: replace(OURS, id=B)}
    plan = replace(RICH, changes=(planned(files[A], live[A]), planned(files[B], live[B], RECORD)))
    base = Declares(desired=files)
    caused = with_causes(plan, base, live, Memory(records={B: RECORD}), DEFAULT_POLICY)
    assert [change.cause for change in caused.changes] == [Cause.PENDING, Cause.DRIFT]
    assert replace(caused, changes=tuple(replace(change, cause=None) for change in caused.changes)) == plan
    half = with_causes(plan, Declares(desired={A: files[A]}), live, Memory(), DEFAULT_POLICY)
    assert [change.cause for change in half.changes] == [Cause.PENDING, Cause.BRANCH]
    fail = with_causes(plan, base, live, Memory(), Policy(unverified=Unverified.FAIL))
    assert [change.cause for change in fail.changes] == [Cause.PENDING, Cause.PENDING]
    held = with_causes(replace(plan, changes=(BARE,)), base, {B: live[B]}, Memory(), DEFAULT_POLICY)
    assert held.changes[0].cause is Cause.BOTH


@pytest.mark.parametrize(
    ("desired", "record", "applied"),
    [
        (FILES, RECORD, True),
        (FILES, None, False),
        (FILES, replace(RECORD, state=RunState.PAUSED), False),
        (FILES, replace(RECORD, interval_ms=None), False),
        (FILES, replace(RECORD, offset_ms=None), False),
        (FILES, replace(RECORD, offset_ms=0), False),
        (replace(FILES, interval_ms=None), replace(RECORD, interval_ms=None), True),
        (replace(FILES, interval_ms=None), replace(RECORD, offset_ms=0), False),
        (replace(FILES, offset_ms=None), replace(RECORD, offset_ms=0), True),
        (replace(FILES, interval_ms=None, offset_ms=None), replace(RECORD, interval_ms=1, offset_ms=1), True),
        (replace(FILES, state=RunState.PAUSED), replace(RECORD, state=RunState.PAUSED, interval_ms=1), True),
        (replace(FILES, state=RunState.PAUSED), RECORD, False),
    ],
)
def test_was_applied(desired: Desired, record: Record | None, *, applied: bool) -> None:
    """Our last confirmed write counts where it left all that is declared; of what is paused, only the state."""
    assert was_applied(desired, record) is applied
