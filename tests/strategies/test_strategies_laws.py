"""Laws over random fleets of strategies: one apply is enough, in an order that never trades more on the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.model import Cadence, StrategyId
from reconciler.core.plan import write_stages
from reconciler.core.planfile import fingerprint, format_plan, parse_plan
from reconciler.core.report import ACHIEVED
from tests.strategies.support import StrategyWorld
from tests.support import cadence_change, examples, folder

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.slow

IDS = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=1, max_size=6).map(StrategyId)
WORDS = st.sampled_from([cadence.value for cadence in Cadence])
FLEETS = st.dictionaries(IDS, st.tuples(st.none() | WORDS, WORDS), min_size=1, max_size=5)


@settings(max_examples=examples(40), deadline=None)  # a journal waits for the disk
@given(FLEETS)
def test_one_apply_is_enough(fleet: Mapping[StrategyId, tuple[str | None, str]]) -> None:
    """After it every cadence is as declared, the next plan is empty, and each change was written once."""
    seeds = {i: {} if live is None else {"frequency": live} for i, (live, _) in fleet.items()}
    declared = {i: wanted for i, (_, wanted) in fleet.items()}
    with folder() as place:
        world = StrategyWorld(journal=place / "journal.db", portfolios={}, strategies=seeds)
        plan, report = world.converge_strategies(declared)
        assert {result.outcome for result in report.results} <= ACHIEVED
        assert len(world.sent()) == len(plan.changes) == sum(live != wanted for live, wanted in fleet.values())
        again = world.plan_strategies(declared)
        assert (again.changes, again.strategies_no_op) == ((), len(fleet))


@settings(max_examples=examples(40), deadline=None)  # a journal waits for the disk
@given(FLEETS)
def test_a_plan_is_the_same_after_its_json_and_in_any_order(
    fleet: Mapping[StrategyId, tuple[str | None, str]],
) -> None:
    """Saved and read it is the same value; the order of what was declared makes no difference to its fingerprint."""
    seeds = {i: {} if live is None else {"frequency": live} for i, (live, _) in fleet.items()}
    declared = {i: wanted for i, (_, wanted) in fleet.items()}
    with folder() as place:
        world = StrategyWorld(journal=place / "journal.db", portfolios={}, strategies=seeds)
        plan = world.plan_strategies(declared)
        turned = world.plan_strategies(dict(reversed(declared.items())))
    assert parse_plan(format_plan(plan)) == plan
    assert fingerprint(plan) == fingerprint(turned)
    assert json.loads(format_plan(plan))["changes"] == json.loads(format_plan(turned))["changes"]


@given(st.dictionaries(IDS, st.tuples(st.none() | st.sampled_from(Cadence), st.sampled_from(Cadence)), max_size=8))
def test_whoever_stops_midway_leaves_no_more_trading_than_either_end(
    ends: Mapping[StrategyId, tuple[Cadence | None, Cadence]],
) -> None:
    """No cadence gets faster before every slower one is set, and none is lost on the way."""
    changes = tuple(cadence_change(i, before, after) for i, (before, after) in ends.items())
    order = [c for stage in write_stages(changes) for c in stage]
    assert sorted(c.of_strategy or "" for c in order) == sorted(ends)
    faster = [before is not None and after.rank < before.rank for before, after in (ends[c.of_strategy] for c in order)]
    assert faster == sorted(faster)
