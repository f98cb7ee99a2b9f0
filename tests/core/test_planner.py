"""A fleet's plan: every portfolio is decided about once, counted once, and found by its id."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.decide import Policy
from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.fleet import EVERYTHING, Selection
from reconciler.core.guards import Guards, Limit
from reconciler.core.model import Desired, Live, PortfolioId, Record, RunState, Status, Unverified
from reconciler.core.plan import Excess, Guarded, JournalState, Plan
from reconciler.core.planfile import format_plan, parse_plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from tests.support import BASE_URL, HOUR_MS, NOON_MS

FLEET = {
    "same": (RunState.ACTIVE, None, Status.ACTIVE),
    "skipped": (RunState.PAUSED, HOUR_MS, Status.PAUSED),
    "pause": (RunState.PAUSED, None, Status.ACTIVE),
    "also-pause": (RunState.PAUSED, None, Status.ACTIVE),
    "update": (RunState.ACTIVE, HOUR_MS, Status.ACTIVE),
    "recorded": (RunState.ACTIVE, HOUR_MS, Status.ACTIVE),
    "held": (RunState.ACTIVE, HOUR_MS, Status.PAUSED),
    "known-held": (RunState.ACTIVE, None, Status.PAUSED),
    "blocked": (RunState.ACTIVE, None, Status.ARCHIVED),
}
DESIRED = {
    PortfolioId(i): Desired(id=PortfolioId(i), state=state, interval_ms=interval)
    for i, (state, interval, _) in FLEET.items()
}
LIVE = {
    PortfolioId(i): Live(id=PortfolioId(i), status=status, pause_reason="Audit") for i, (_, _, status) in FLEET.items()
}
RECORDS = {
    PortfolioId("recorded"): Record(
        state=RunState.ACTIVE, interval_ms=HOUR_MS, offset_ms=None, schedule_id=None, confirmed_ms=NOON_MS
    )
}
WARNING = Diagnostic(Severity.WARNING, "until has passed")


def test_everything_given() -> None:
    """What was given stands in the plan as it is, and what was decided is sorted by id and counted."""
    selection = Selection(groups=("core",))
    plan = build_plan(
        Plan(
            base_url=BASE_URL,
            created_ms=NOON_MS,
            config_digest="d1",
            config_files=("a.yaml",),
            selection=selection,
            warnings=(WARNING,),
        ),
        DESIRED,
        LIVE,
        Memory(records=RECORDS),
        guards=Guards(max_pause=Limit("10%", percent=10), max_update=Limit("0", count=0)),
        managed=10,
    )
    assert plan == Plan(
        base_url=BASE_URL,
        created_ms=NOON_MS,
        config_digest="d1",
        config_files=("a.yaml",),
        selection=selection,
        changes=plan.changes,
        held=plan.held,
        blocked=plan.blocked,
        no_op=3,
        unverified=3,
        over=(
            Excess(guarded=Guarded.UPDATE, planned=1, allowed=0, limit="0"),
            Excess(guarded=Guarded.PAUSE, planned=2, allowed=1, limit="10%"),
        ),
        warnings=(WARNING,),
    )
    assert [change.id for change in plan.changes] == ["also-pause", "pause", "update"]
    assert [held.id for held in plan.held] == ["held", "known-held"]
    assert [blocked.id for blocked in plan.blocked] == ["blocked"]


def test_defaults() -> None:
    """Without guards nothing is over one, even of a fleet of which nothing may change."""
    plan = build_plan(Plan(base_url=BASE_URL, created_ms=NOON_MS), DESIRED, LIVE, Memory(records=RECORDS))
    assert replace(plan, changes=(), held=(), blocked=()) == Plan(
        base_url=BASE_URL,
        created_ms=NOON_MS,
        config_digest="",
        config_files=(),
        selection=EVERYTHING,
        no_op=3,
        unverified=3,
    )


def test_the_policy_is_everybodys() -> None:
    """What a person decided about unverified fields and holds holds for the whole fleet; each is counted once."""
    fail = build_plan(
        Plan(base_url=BASE_URL, created_ms=NOON_MS),
        DESIRED,
        LIVE,
        Memory(records=RECORDS),
        policy=Policy(unverified=Unverified.FAIL),
    )
    assert [blocked.id for blocked in fail.blocked] == ["blocked", "update"]
    assert fail.unverified == 3
    released = Policy(unverified=Unverified.SKIP, resume_held=frozenset({"held", "known-held"}))
    plan = build_plan(
        Plan(base_url=BASE_URL, created_ms=NOON_MS), DESIRED, LIVE, Memory(records=RECORDS), policy=released
    )
    assert [change.id for change in plan.changes] == ["also-pause", "held", "known-held", "pause"]
    assert (plan.no_op, plan.unverified) == (4, 3)


def test_a_share_of_an_unknown_fleet() -> None:
    """Where nobody says how many are managed, a share is of none."""
    guards = Guards(max_pause=Limit("100%", percent=100, floor=0))
    plan = build_plan(Plan(base_url=BASE_URL, created_ms=NOON_MS), DESIRED, LIVE, Memory(), guards=guards)
    assert plan.over == (Excess(guarded=Guarded.PAUSE, planned=2, allowed=0, limit="100%"),)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Memory(), JournalState.MISSING),
        (Memory(exists=True), JournalState.NEW),
        (Memory(exists=True, since={PortfolioId("x"): "7f3a9c"}), JournalState.IN_USE),
        (Memory(exists=True, records=RECORDS), JournalState.IN_USE),
    ],
)
def test_whether_a_journal_could_tell_anything(memory: Memory, expected: JournalState) -> None:
    """It is told with the plan, and survives its file."""
    plan = build_plan(Plan(base_url=BASE_URL, created_ms=NOON_MS), DESIRED, LIVE, memory)
    assert (plan.journal, parse_plan(format_plan(plan)).journal) == (expected, expected)
