"""A runner of several whose database is cut off at any message: the others do the rest, and nothing is done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.core.report import ACHIEVED, Outcome
from tests.apply.runners import FASTER, Fleet, Runner, fleet_of, together
from tests.apply.test_joined import check_whole, outcomes, pins_of, report_of, whole
from tests.apply.test_journalserver import cuts, through, wait_for_the_end
from tests.postgres import Proxy, execute
from tests.support import run

if TYPE_CHECKING:
    from reconciler.core.plan import Plan
    from tests.postgres import Server

pytestmark = pytest.mark.slow


def some(server: Server) -> tuple[Fleet, Plan]:
    return fleet_of(server.database(), ["pause", "shorter", "resume anew", "start"], faster=FASTER)


@pytest.mark.parametrize(
    "first",
    [0, *(pytest.param(one, marks=pytest.mark.thorough) for one in (10, 20, 30))],
    ids="every fortieth, from {}".format,
)
def test_a_runner_that_is_cut_at_any_message(server: Server, first: int) -> None:
    """What it had begun another one settles by reading; each change is done once, in order, or told."""
    fleet, plan = some(server)
    with Proxy(server) as proxy:
        run(together(Runner(fleet, plan, "whole", place=through(proxy, server, fleet.journal))))
    assert len(proxy.sent) > 80
    for cut in cuts(proxy.sent)[first::40]:
        fleet, plan = some(server)
        pins = pins_of(fleet, plan)
        with Proxy(server, **cut) as proxy:
            run(together(Runner(fleet, plan, "cut", place=through(proxy, server, fleet.journal))))
        wait_for_the_end(fleet.journal)
        other = Runner(fleet, plan, "other")
        run(together(other))
        try:
            check_whole(fleet, plan, report_of(other), pins, died=False)
        except AssertionError as error:
            error.add_note(f"{cut}: {outcomes(other)}")
            raise
        assert {outcome for outcome in outcomes(other) if outcome not in ACHIEVED} <= {Outcome.UNKNOWN}, cut


def test_an_end_that_was_not_written_down(server: Server) -> None:
    """The next runner with the plan does it; a run whose every change has its result was not cut off."""
    fleet, plan = some(server)
    run(together(Runner(fleet, plan, "one")))
    ended = whole(fleet)
    for end in ("NULL", "'cut_off'"):
        execute(fleet.journal, f"UPDATE runs SET finished_ms = NULL, exit_reason = {end}")
        late = Runner(fleet, plan, "late")
        run(together(late))
        assert late.closed
        assert (whole(fleet).exit_reason, whole(fleet).writes) == ("ok", ended.writes)
