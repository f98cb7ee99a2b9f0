"""What an approval covers, and how two plans differ: every fact of a change, moved one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Blocked, BlockReason, Cause, Change, ChangeReason, Held, Risk, Snapshot
from reconciler.core.diff import NAMED, Step, compare_plans, facts, require_approved
from reconciler.core.errors import ExitReason, StalePlan
from reconciler.core.fleet import EVERYTHING
from reconciler.core.model import PortfolioId, Status, Verb
from reconciler.core.plan import Plan
from tests.support import BASE_URL, HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from collections.abc import Callable

UPDATE = Change(
    id=PortfolioId("aaa"),
    verb=Verb.UPDATE,
    before=Snapshot(state=Status.ACTIVE, interval_ms=24 * HOUR_MS, offset_ms=None),
    after=Snapshot(state=Status.ACTIVE, interval_ms=12 * HOUR_MS, offset_ms=0),
    fields=(),
    reason=ChangeReason.SCHEDULE_DIFFERS,
    writes_schedule=True,
)
RESUME = replace(
    UPDATE,
    verb=Verb.RESUME,
    before=replace(UPDATE.before, state=Status.PAUSED),
    reason=ChangeReason.PAUSED_BY_US,
    note="Back",
    pause_reason="Freeze",
)


def plan(*changes: Change, **more: Any) -> Plan:
    return replace(
        Plan(
            base_url=BASE_URL,
            created_ms=NOON_MS,
            config_digest="",
            config_files=(),
            selection=EVERYTHING,
            changes=changes,
        ),
        **more,
    )


def named(change: Change, portfolio: str) -> Change:
    return replace(change, id=PortfolioId(portfolio))


def before(**moved: Any) -> Callable[[Change], Change]:
    return lambda change: replace(change, before=replace(change.before, **moved))


def after(**moved: Any) -> Callable[[Change], Change]:
    return lambda change: replace(change, after=replace(change.after, **moved))


def fact(**moved: Any) -> Callable[[Change], Change]:
    return lambda change: replace(change, **moved)


REFUSED = {
    "another verb": (UPDATE, fact(verb=Verb.START), "action update → start"),
    "another interval": (UPDATE, after(interval_ms=6 * HOUR_MS), "after interval 12h → 6h"),
    "another offset": (UPDATE, after(offset_ms=None), "after offset 0s → none"),
    "another state wanted": (UPDATE, after(state=Status.PAUSED), "after state active → paused"),
    "found in another state": (UPDATE, before(state=Status.PAUSED), "before state active → paused"),
    "found with another interval": (UPDATE, before(interval_ms=31 * HOUR_MS), "before interval 24h → 31h"),
    "sends the schedule": (replace(RESUME, writes_schedule=False), fact(writes_schedule=True), "schedule no → yes"),
    "runs at once": (UPDATE, fact(run_on_start=True), "run on start no → yes"),
    "another note": (RESUME, fact(note="Back\u202e"), "note Back → Back\\u{202e}"),
    "another pause": (RESUME, fact(pause_reason="Audit"), "pause reason Freeze → Audit"),
    "overrides a hold": (RESUME, fact(reason=ChangeReason.HOLD_OVERRIDDEN), "overrides hold no → yes"),
}


@pytest.mark.parametrize(("approved", "moved", "told"), REFUSED.values(), ids=REFUSED)
def test_what_an_approval_does_not_cover(approved: Change, moved: Callable[[Change], Change], told: str) -> None:
    """A change that would do, send or start from anything else is refused, and the difference is named."""
    with pytest.raises(StalePlan) as refused:
        require_approved(plan(moved(approved)), plan(approved))
    assert refused.value.exit_reason is ExitReason.STALE
    assert "aaa: " in refused.value.detail
    assert told in refused.value.detail


COVERED = {
    "the same": (UPDATE, fact()),
    "less is known of live": (UPDATE, before(interval_ms=None)),
    "more is known of live": (UPDATE, before(offset_ms=0)),
    "another name": (UPDATE, fact(name="Growth")),
    "another cause": (UPDATE, fact(cause=Cause.DRIFT)),
    "another next run": (UPDATE, fact(next_run_ms=NOON_MS)),
    "other risks": (UPDATE, fact(risks=(Risk.UNVERIFIED_WRITE,), reason=ChangeReason.SCHEDULE_UNVERIFIED)),
}


@pytest.mark.parametrize(("approved", "moved"), COVERED.values(), ids=COVERED)
def test_what_an_approval_covers(approved: Change, moved: Callable[[Change], Change]) -> None:
    """Words, times and how well live is known make no other change."""
    assert require_approved(plan(moved(approved)), plan(approved)) is None


def test_fewer_is_fine_and_said() -> None:
    """An approved change that is not needed any more is named, and the rest goes on."""
    said = require_approved(plan(UPDATE), plan(UPDATE, named(RESUME, "bbb")))
    assert said == "1 of 2 approved changes left to do; not planned any more: bbb"
    assert require_approved(plan(), plan(UPDATE)) == "0 of 1 approved change left to do; not planned any more: aaa"


def test_more_is_refused() -> None:
    """One change beyond the approved ones stops all; only the first few are spelled out."""
    extra = [named(UPDATE, f"p{n:02}") for n in range(NAMED + 2)]
    with pytest.raises(StalePlan) as refused:
        require_approved(plan(UPDATE, *extra), plan(UPDATE))
    assert refused.value.summary == "7 planned changes not among the approved ones"
    assert "p00: update was not approved; p01:" in refused.value.detail
    assert "; and 2 more." in refused.value.detail


def test_an_approval_is_of_one_service() -> None:
    """The same changes on another service were not approved, not even when there are none."""
    with pytest.raises(StalePlan, match="the approved plan was made for https"):
        require_approved(plan(), plan(base_url="https://other.test"))


def test_a_held_portfolio_was_not_approved() -> None:
    """What the approved plan held is no approval to change it."""
    held = Held(id=UPDATE.id, pause_reason="Audit")
    with pytest.raises(StalePlan, match="1 planned change not among"):
        require_approved(plan(UPDATE), plan(held=(held,)))


def test_two_plans_side_by_side() -> None:
    """Each portfolio that differs has one step; a change that became a hold is a changed one."""
    held = Held(id=PortfolioId("ccc"), pause_reason="Audit")
    blocked = Blocked(id=PortfolioId("ddd"), reason=BlockReason.ARCHIVED, detail="it is archived", status="archived")
    earlier = plan(UPDATE, named(RESUME, "bbb"), named(RESUME, "ccc"), blocked=(blocked,))
    later = plan(named(UPDATE, "new"), after(interval_ms=HOUR_MS)(UPDATE), held=(held,), blocked=(blocked,))
    found = compare_plans(earlier=earlier, later=later)
    assert [(row.step, row.entry.id) for row in found.rows] == [
        (Step.APPEARED, "new"),
        (Step.VANISHED, "bbb"),
        (Step.CHANGED, "aaa"),
        (Step.CHANGED, "ccc"),
    ]
    assert [d.fact for d in found.rows[2].differences] == ["after.interval_ms"]
    assert found.rows[3].differences[0].later == "held"
    assert found.same == 1


CHANGES = st.sampled_from([UPDATE, RESUME]).flatmap(
    lambda change: st.builds(
        lambda portfolio, interval, note: replace(
            named(change, portfolio), note=note, after=replace(change.after, interval_ms=interval)
        ),
        st.text("abc", min_size=1, max_size=2),
        st.none() | st.integers(1, 3),
        st.none() | st.sampled_from(["x", "y"]),
    )
)
PLANS = st.lists(CHANGES, max_size=4, unique_by=lambda change: change.id).map(lambda changes: plan(*changes))


def test_the_repair_is_never_cut() -> None:
    """However long the differences are, the error keeps room for what to do about them."""
    wordy = [named(replace(RESUME, note="n" * 500, pause_reason="p" * 500), f"{n}" * 128) for n in range(9)]
    with pytest.raises(StalePlan) as refused:
        require_approved(plan(*wordy), plan(*(replace(c, note="x" * 500, pause_reason="y" * 500) for c in wordy)))
    assert len(refused.value.detail) < 2000
    assert refused.value.detail.endswith("and have it approved.")


@pytest.mark.slow
@given(PLANS, PLANS)
def test_a_comparison_reads_both_ways(one: Plan, other: Plan) -> None:
    """What appeared one way vanished the other way, and no portfolio is lost or told twice."""
    there, back = compare_plans(earlier=one, later=other), compare_plans(earlier=other, later=one)
    assert there.count(Step.APPEARED) == back.count(Step.VANISHED)
    assert there.count(Step.CHANGED) == back.count(Step.CHANGED)
    ids = {change.id for change in (*one.changes, *other.changes)}
    assert len(there.rows) + there.same == len(ids)
    changed = {row.entry.id for row in there.rows if row.step is Step.CHANGED}
    told = {c.id for c in one.changes for d in other.changes if c.id == d.id and facts(c) != facts(d)}
    assert changed == told


@pytest.mark.slow
@given(PLANS, PLANS)
def test_an_approval_covers_what_it_holds(one: Plan, other: Plan) -> None:
    """A plan approves itself and any part of it; a change from elsewhere only when it is the same."""
    assert require_approved(one, one) is None
    require_approved(replace(one, changes=one.changes[:1]), one)
    agreed = {change.id: facts(change) for change in one.changes}
    beyond = [change for change in other.changes if agreed.get(change.id) != facts(change)]
    if beyond:
        with pytest.raises(StalePlan):
            require_approved(other, one)
    else:
        require_approved(other, one)
