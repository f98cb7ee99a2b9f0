"""A runner of several whose database is cut off at any message: the others do the rest, and nothing is done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.core.report import ACHIEVED, Outcome
from tests.apply.runners import Fleet, Runner, fleet_of, together
from tests.apply.test_joined import check_whole, outcomes, pins_of, report_of
from tests.apply.test_journalserver import cuts, through, wait_for_the_end
from tests.postgres import Proxy

if TYPE_CHECKING:
    from reconciler.core.plan import Plan
    from tests.postgres import Server

pytestmark = pytest.mark.slow


def some(server: Server) -> tuple[Fleet, Plan]:
    return fleet_of(server.database(), ["pause", "shorter", "resume anew", "start"])


@pytest.mark.parametrize(
    "first",
    [0, *(pytest.param(one, marks=pytest.mark.thorough) for one in (10, 20, 30))],
    ids="every fortieth, from {}".format,
)
def test_a_runner_that_is_cut_at_any_message(server: Server, first: int) -> None:
    """What it had begun another one settles by reading; each change is done once, in order, or told."""
    fleet, plan = some(server)
    with Proxy(server) as proxy:
        fleet.clock.run(together(Runner(fleet, plan, "whole", place=through(proxy, server, fleet.journal))))
    assert len(proxy.sent) > 80
    for cut in cuts(proxy.sent)[first::40]:
        fleet, plan = some(server)
        pins = pins_of(fleet, plan)
        with Proxy(server, **cut) as proxy:
            fleet.clock.run(together(Runner(fleet, plan, "cut", place=through(proxy, server, fleet.journal))))
        wait_for_the_end(fleet.journal)
        other = Runner(fleet, plan, "other")
        fleet.clock.run(together(other))
        try:
            check_whole(fleet, plan, report_of(other), pins, died=False)
        except AssertionError as error:
            error.add_note(f"{cut}: {outcomes(other)}")
            raise
        assert {outcome for outcome in outcomes(other) if outcome not in ACHIEVED} <= {Outcome.UNKNOWN}, cut
