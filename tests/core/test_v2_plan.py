"""v2 portfolios in decisions, plans and their files; a plan of v1 alone is what it always was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.change import (
    Blocked,
    BlockReason,
    Cause,
    Change,
    ChangeReason,
    Held,
    Moved,
    Risk,
    Snapshot,
    StrategyName,
    Unchanged,
)
from reconciler.core.decide import DEFAULT_POLICY, Policy, decide
from reconciler.core.diff import not_covered, require_approved
from reconciler.core.errors import ApiError, ExitReason, FailureKind, StalePlan
from reconciler.core.evidence import MARK
from reconciler.core.fleet import Fleet, Listing, PortfolioList, Unmanaged
from reconciler.core.model import (
    ApiVersion,
    Desired,
    Live,
    PortfolioId,
    Record,
    RunState,
    Status,
    StrategyId,
    Verb,
)
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint, format_plan, parse_plan, plan_document
from reconciler.core.planner import build_plan, with_causes
from reconciler.core.ports import Memory
from reconciler.core.report import FailOn, conditions_met, drift_exit_reason, plan_exit_reason
from tests.core.plans import Declares

ID = PortfolioId("ao04x0r6")
DAY = 86_400_000
ACTIVE, PAUSED = RunState.ACTIVE, RunState.PAUSED
OURS = Record(state=PAUSED, interval_ms=None, offset_ms=None, schedule_id="due then", confirmed_ms=100)


def wanted(state: RunState, **more: Any) -> Desired:
    return Desired(id=ID, state=state, api=ApiVersion.V2, **more)


def live(status: Status, **more: Any) -> Live:
    return Live(id=ID, status=status, interval_ms=DAY, **more)


def plan_of(desired: Desired, found: Live, record: Record | None = None, **more: Any) -> Plan:
    return build_plan(
        Plan(base_url="https://api.glider.fi", created_ms=0, **more),
        {ID: desired},
        {ID: found},
        Memory(records={ID: record} if record else {}),
    )


def test_a_pause() -> None:
    """It pins the state alone: the cadence is the strategy's, and is only shown."""
    change = decide(wanted(PAUSED, reason="Audit"), live(Status.ACTIVE, next_run_ms=7), None)
    assert isinstance(change, Change)
    assert (change.verb, change.api, change.cadence_ms, change.next_run_ms) == (Verb.PAUSE, ApiVersion.V2, DAY, 7)
    assert change.before == Snapshot(state=Status.ACTIVE, interval_ms=None, offset_ms=None)
    assert change.after == Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None)
    assert (change.writes_schedule, change.risks) == (False, ())


def test_a_resume_says_that_a_rebalance_is_due_at_once() -> None:
    """On v2 alone (API facts §1.3)."""
    change = decide(wanted(ACTIVE), live(Status.PAUSED, schedule_id="due then"), OURS)
    assert isinstance(change, Change)
    assert (change.reason, change.risks) == (ChangeReason.PAUSED_BY_US, (Risk.TRADES_AGAIN, Risk.DUE_AT_ONCE))
    assert change.writes_schedule is False
    on_v1 = decide(replace(wanted(ACTIVE), api=ApiVersion.V1), live(Status.PAUSED, pause_reason=f"Freeze {MARK}"), None)
    assert isinstance(on_v1, Change)
    assert Risk.DUE_AT_ONCE not in on_v1.risks


HOLDS: dict[str, tuple[dict[str, Any], Record | None]] = {
    "no record": ({"schedule_id": "due then"}, None),
    "resumed since": ({"schedule_id": "due later"}, OURS),
    "we left it active": ({"schedule_id": "due then"}, replace(OURS, state=ACTIVE)),
    "a record of v1": ({"schedule_id": "due then"}, replace(OURS, schedule_id="sched_1")),
}


def test_a_run_that_was_under_way_when_it_was_paused() -> None:
    """It may end after our pause, and proves no resume: that would have moved the due time."""
    found = live(Status.PAUSED, schedule_id="due then", scheduled_ms=(101,))
    lifted = decide(wanted(ACTIVE), found, OURS)
    assert isinstance(lifted, Change)
    assert lifted.reason is ChangeReason.PAUSED_BY_US


@pytest.mark.parametrize("name", HOLDS)
def test_a_pause_that_may_be_somebody_elses_is_held(name: str) -> None:
    """Without a reason to read, the journal has to know this very pause; a person may let it go."""
    more, record = HOLDS[name]
    found = live(Status.PAUSED, **more)
    held = decide(wanted(ACTIVE), found, record)
    assert isinstance(held, Held)
    assert (held.api, held.pause_reason) == (ApiVersion.V2, None)
    released = decide(wanted(ACTIVE), found, record, Policy(resume_held=frozenset({ID})))
    assert isinstance(released, Change)
    assert released.risks == (Risk.HOLD_OVERRIDDEN, Risk.TRADES_AGAIN, Risk.DUE_AT_ONCE)


@pytest.mark.parametrize("status", [Status.NO_SCHEDULE, Status.INACTIVE])
def test_without_a_schedule_nothing_runs(status: Status) -> None:
    """That is all that paused asks for, and more than active can get; v1's word for it means the same here."""
    assert decide(wanted(PAUSED), live(status), OURS) == Unchanged()
    blocked = decide(wanted(ACTIVE), live(status), OURS)
    assert isinstance(blocked, Blocked)
    assert (blocked.reason, blocked.api, blocked.status) == (BlockReason.NO_SCHEDULE, ApiVersion.V2, status.value)


ELSEWHERE = {"strategy": "S2", "strategy_name": "Value"}
DECLARED = StrategyId("S0")


@pytest.mark.parametrize(
    ("state", "status", "record"),
    [
        (ACTIVE, Status.ACTIVE, None),
        (ACTIVE, Status.PAUSED, OURS),
        (ACTIVE, Status.PAUSED, None),
        (PAUSED, Status.PAUSED, None),
        (PAUSED, Status.NO_SCHEDULE, None),
    ],
)
def test_another_strategy_than_declared_is_never_as_declared(
    state: RunState, status: Status, record: Record | None
) -> None:
    """Nor is it resumed there, whoever paused it and whatever was said about the hold."""
    found = live(status, schedule_id="due then", **ELSEWHERE)
    policy = Policy(resume_held=frozenset({ID}))
    moved = decide(wanted(state, strategy=DECLARED), found, record, policy)
    assert moved == Moved(
        id=ID,
        state=state,
        status=status,
        declared=StrategyName(strategy="S0"),
        live=StrategyName(strategy="S2", name="Value", interval_ms=DAY),
    )
    same = decide(wanted(state, strategy=StrategyId("S2")), found, record, policy)
    assert not isinstance(same, Moved)


@pytest.mark.parametrize(
    ("state", "status", "kind"),
    [(PAUSED, Status.ACTIVE, Change), (ACTIVE, Status.NO_SCHEDULE, Blocked), (ACTIVE, Status.NOT_FOUND, Blocked)],
)
def test_what_has_moved_is_still_paused_or_blocked(state: RunState, status: Status, kind: type) -> None:
    """Less trading is right by either strategy, and what can't be managed at all says why."""
    assert isinstance(decide(wanted(state, strategy=DECLARED), live(status, **ELSEWHERE), None), kind)


def test_a_strategy_that_nobody_names_is_not_another() -> None:
    """Neither where the files name none nor where Glider does."""
    assert decide(wanted(ACTIVE), live(Status.ACTIVE, **ELSEWHERE), None) == Unchanged()
    assert decide(wanted(ACTIVE, strategy=DECLARED), live(Status.ACTIVE), None) == Unchanged()


def test_a_plan_keeps_what_has_moved() -> None:
    """It is counted for itself, survives the file, and makes drift but no change and no error."""
    plan = plan_of(wanted(ACTIVE, strategy=DECLARED), live(Status.ACTIVE, **ELSEWHERE))
    assert (plan.managed, plan.no_op, plan.summary.moved) == (1, 0, 1)
    assert parse_plan(format_plan(plan)) == plan
    assert (plan_exit_reason(plan, detailed=True), drift_exit_reason(plan)) == (ExitReason.OK, ExitReason.CHANGES)
    asked = [FailOn.CHANGES, FailOn.DRIFT, FailOn.HELD]
    for looked in (True, False):
        assert conditions_met(plan, asked, looked_for_drift=looked) == (FailOn.DRIFT,)


@pytest.mark.parametrize(("state", "status"), [(ACTIVE, Status.ACTIVE), (PAUSED, Status.PAUSED)])
def test_as_desired(state: RunState, status: Status) -> None:
    """Nothing to do, and nothing unverified: v2 tells its state."""
    assert decide(wanted(state), live(status), None) == Unchanged()


def rich() -> Plan:
    return plan_of(
        wanted(PAUSED),
        live(Status.ACTIVE, next_run_ms=7),
        unmanaged=(Unmanaged(id=PortfolioId("zz"), name=None, status=Status.UNREADABLE, strategy="S1"),),
        listing=Listing.COMPLETE,
    )


def test_a_plan_of_v2_survives_its_json() -> None:
    """With versions, cadences, what is unmanaged and how that is known."""
    plan = rich()
    assert parse_plan(format_plan(plan)) == plan
    document = json.loads(format_plan(plan))
    assert [(one["api"], one["cadence_ms"]) for one in document["changes"]] == [("v2", DAY)]
    assert document["unmanaged"] == [{"id": "zz", "name": None, "status": "unreadable", "strategy": "S1"}]
    assert (document["listing"], document["summary"]["unmanaged"]) == ("complete", 1)


def test_held_and_blocked_name_their_api() -> None:
    """In JSON, and back."""
    for found in (live(Status.PAUSED), live(Status.NO_SCHEDULE)):
        plan = plan_of(wanted(ACTIVE), found)
        document = plan_document(plan)
        assert [one["api"] for one in (*document["held"], *document["blocked"])] == ["v2"]
        assert parse_plan(format_plan(plan)) == plan


def test_a_file_from_before_v2_is_one_of_v1() -> None:
    """Minor versions only add keys, so a reader does without the new ones."""
    plan = plan_of(Desired(id=ID, state=PAUSED), live(Status.ACTIVE))
    document = json.loads(format_plan(plan))
    for entry in document["changes"]:
        del entry["api"], entry["cadence_ms"], entry["pause_id"], entry["strategy"]
    del document["listing"]
    assert parse_plan(json.dumps(document)) == plan


def test_the_fingerprint_counts_the_version() -> None:
    """The same change by the other API is another plan."""
    of_v2 = rich()
    assert fingerprint(of_v2) != fingerprint(
        replace(of_v2, changes=tuple(replace(change, api=ApiVersion.V1) for change in of_v2.changes))
    )
    # What is shown of a change is not what it means.
    assert fingerprint(of_v2) == fingerprint(
        replace(of_v2, changes=tuple(replace(change, cadence_ms=None) for change in of_v2.changes), unmanaged=())
    )


def test_an_approval_is_for_one_api() -> None:
    """The same pause by the other API is another change; another cadence of its strategy is not."""
    approved = rich()
    moved = replace(approved, changes=tuple(replace(change, api=ApiVersion.V1) for change in approved.changes))
    assert [found.fact for found in not_covered(moved.changes[0], approved.changes[0])] == ["api"]
    with pytest.raises(StalePlan, match="not among the approved ones"):
        require_approved(moved, approved)
    faster = plan_of(wanted(PAUSED), Live(id=ID, status=Status.ACTIVE, interval_ms=3_600_000))
    assert require_approved(faster, approved) is None


def test_moving_to_the_other_api_is_this_branch() -> None:
    """The base would make the same pause by v1, so the change comes from the branch, not from drift."""
    plan = plan_of(wanted(PAUSED), live(Status.ACTIVE))
    on_v1 = Declares(desired={ID: Desired(id=ID, state=PAUSED)})
    caused = with_causes(plan, on_v1, {ID: live(Status.ACTIVE)}, Memory(), DEFAULT_POLICY)
    assert [change.cause for change in caused.changes] == [Cause.BOTH]
    on_v2 = Declares(desired={ID: wanted(PAUSED)})
    same = with_causes(plan, on_v2, {ID: live(Status.ACTIVE)}, Memory(), DEFAULT_POLICY)
    assert [change.cause for change in same.changes] == [Cause.PENDING]


ZZ = Live(id=PortfolioId("zz"), status=Status.PAUSED, strategy="S2")
ROWS = {ID: live(Status.ACTIVE, strategy="S1"), ZZ.id: ZZ}
FAILED = ApiError(FailureKind.SERVER, "no")
LISTS: dict[str, tuple[PortfolioList | None, Listing, list[str], int | None]] = {
    "none": (None, Listing.NONE, [], None),
    "complete": (PortfolioList(rows=ROWS), Listing.COMPLETE, ["zz"], 1),
    "a row without its strategy": (
        PortfolioList(rows={**ROWS, ZZ.id: replace(ZZ, strategy=None)}),
        Listing.COMPLETE,
        ["zz"],
        None,
    ),
    "cut": (PortfolioList(rows=ROWS, failure=FAILED), Listing.INCOMPLETE, [], None),
    "odd rows": (PortfolioList(rows=ROWS, unreadable=1), Listing.INCOMPLETE, [], None),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_part_of_a_list_proves_nothing(name: str) -> None:
    """Unmanaged, and how many mirror a strategy, are known of a whole list only."""
    found, listing, unmanaged, enrolled = LISTS[name]
    fleet = Fleet(live={}, listed=found)
    assert fleet.listing is listing
    assert [one.id for one in fleet.unmanaged({ID})] == unmanaged
    if found is not None:
        assert found.enrolled("S1") == enrolled


@pytest.mark.parametrize(
    ("listing", "unmanaged", "met"),
    [
        (Listing.COMPLETE, False, False),
        (Listing.COMPLETE, True, True),
        (Listing.INCOMPLETE, False, True),
        (Listing.NONE, False, True),
    ],
)
def test_fail_on_unmanaged(listing: Listing, unmanaged: bool, met: bool) -> None:
    """What is not known is not passed."""
    plan = replace(rich(), listing=listing, unmanaged=rich().unmanaged if unmanaged else ())
    assert conditions_met(plan, [FailOn.UNMANAGED], looked_for_drift=False) == ((FailOn.UNMANAGED,) if met else ())
    assert conditions_met(plan, [], looked_for_drift=False) == ()
