"""Laws over random fleets: one apply converges, order means nothing, a plan survives its JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.codec import from_iso, iso
from reconciler.core.fleet import Listing
from reconciler.core.model import ApiVersion, Desired, RunState
from reconciler.core.planfile import fingerprint, format_plan, parse_plan
from reconciler.core.report import ACHIEVED
from tests.fleets import STRATEGIES, fleets
from tests.support import World, examples, folder

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.plan import Plan

pytestmark = pytest.mark.slow

Fleet = tuple[dict[str, dict[str, Any]], list[Desired]]


def world_of(live: dict[str, dict[str, Any]], place: Path, **settings: Any) -> World:
    return World(journal=place / "journal.db", portfolios=live, settings=settings, strategies=STRATEGIES)


@settings(max_examples=examples(150), deadline=None)
@given(fleets(), st.booleans(), st.sampled_from(["both", "reference", "guide"]), st.sampled_from(["accept", "refuse"]))
def test_one_apply_converges(fleet: Fleet, readable: bool, paths: str, while_paused: str) -> None:
    """Plan, apply, plan again: nothing is left but what is held or blocked, and a second apply writes nothing."""
    live, desired = fleet
    with folder() as place:
        world = world_of(live, place, readable_schedule=readable, paths=paths, update_while_paused=while_paused)
        plan, report = world.converge(desired)
        assert {result.outcome for result in report.results} <= ACHIEVED
        writes = len(world.writes())
        again, _ = world.converge(desired)
        assert again.changes == ()
        assert {h.id for h in again.held} == {h.id for h in plan.held}
        assert {b.id for b in again.blocked} == {b.id for b in plan.blocked}
        assert len(world.writes()) == writes


@settings(max_examples=examples(60), deadline=None)
@given(fleets())
def test_what_nobody_declared_is_named_where_the_service_lists_it(fleet: Fleet) -> None:
    """With a v2 portfolio declared, unmanaged is exactly what v2 lists and nobody declares; without one, nothing."""
    live, desired = fleet
    with folder() as place:
        plan = world_of(live, place).plan(desired)
    listed = {name for name, seed in live.items() if seed.get("api") == "v2" and seed["status"] != "archived"}
    asked = any(one.api is ApiVersion.V2 for one in desired)
    assert plan.listing is (Listing.COMPLETE if asked else Listing.NONE)
    assert [one.id for one in plan.unmanaged] == sorted(listed - {one.id for one in desired} if asked else ())


@settings(max_examples=examples(60), deadline=None)
@given(fleets())
def test_nothing_outside_the_plan_is_written(fleet: Fleet) -> None:
    """Every write belongs to a planned change; a held portfolio is never written to."""
    live, desired = fleet
    with folder() as place:
        world = world_of(live, place)
        plan, _ = world.converge(desired)
        written = {write.split(" ")[0] for write in world.writes()}
        assert written <= {change.id for change in plan.changes}
        assert not written & {held.id for held in plan.held}
        paused = {d.id for d in desired if d.state is RunState.PAUSED}
        assert not paused & {c.id for c in plan.changes if c.verb in ("start", "resume")}


@settings(max_examples=examples(60), deadline=None)
@given(fleets(), st.randoms(use_true_random=False))
def test_order_of_input_means_nothing(fleet: Fleet, random: Any) -> None:
    """However the inputs are ordered, the plan is the same value."""
    live, desired = fleet
    with folder() as place:
        world = world_of(live, place)
        plan = world.plan(desired)
        shuffled = list(desired)
        random.shuffle(shuffled)
        assert world.plan(shuffled) == plan


@settings(max_examples=examples(100), deadline=None)
@given(fleets())
def test_a_plan_survives_its_json(fleet: Fleet) -> None:
    """A saved plan reads back as the same value, byte for byte stable, with the same fingerprint."""
    live, desired = fleet
    with folder() as place:
        plan = world_of(live, place).plan(desired)
    text = format_plan(plan)
    read: Plan = parse_plan(text)
    assert read == plan
    assert format_plan(read) == text
    assert json.loads(text)["fingerprint"] == fingerprint(read)


@given(st.integers(0, 253_402_300_799_999))
def test_times_round_trip(ms: int) -> None:
    """Times survive ISO text to the millisecond."""
    assert from_iso(iso(ms)) == ms
