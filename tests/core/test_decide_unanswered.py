"""A start that trades at once waits as long as an earlier request for a run stayed unanswered; nothing else does."""

from __future__ import annotations

import pytest

from reconciler.core.change import Blocked, BlockReason, Change
from reconciler.core.decide import DEFAULT_POLICY, Policy, decide
from reconciler.core.model import Desired, Live, Origin, PortfolioId, RunState, Status
from tests.support import HOUR_MS

ID = PortfolioId("aaa")


def wants(*, run_on_start: bool) -> Desired:
    return Desired(
        id=ID,
        state=RunState.ACTIVE,
        interval_ms=24 * HOUR_MS,
        run_on_start=run_on_start,
        name="Alpha",
        origin=Origin("automation.yaml", 3),
    )


def test_it_is_blocked_with_the_two_ways_on() -> None:
    """The whole of what is said: where to look, and what to name to start it all the same."""
    found = decide(wants(run_on_start=True), Live(id=ID, status=Status.INACTIVE), None, DEFAULT_POLICY, unanswered=True)
    assert isinstance(found, Blocked)
    assert (found.id, found.name, found.source) == (ID, "Alpha", Origin("automation.yaml", 3))
    assert found.reason is BlockReason.RUN_UNANSWERED
    assert found.detail == (
        "an earlier request for a run of it was not answered, and may have begun one: look with "
        "`reconciler status aaa`, and name it with --again aaa to start it all the same"
    )


@pytest.mark.parametrize(
    ("run_on_start", "unanswered", "policy"),
    [
        (True, False, DEFAULT_POLICY),
        (False, True, DEFAULT_POLICY),
        (True, True, Policy(again=frozenset({ID}))),
    ],
    ids=["all requests answered", "it does not trade at once", "somebody named it"],
)
def test_anything_else_starts(run_on_start: bool, unanswered: bool, policy: Policy) -> None:
    """Only both together block, and only until somebody names the portfolio."""
    live = Live(id=ID, status=Status.INACTIVE)
    found = decide(wants(run_on_start=run_on_start), live, None, policy, unanswered=unanswered)
    assert isinstance(found, Change)
    assert found.run_on_start is run_on_start
