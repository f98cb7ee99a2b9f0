"""Rebalances on both versions: how they go on with the clock, how they end, and when the service refuses one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.model import Cadence
from reconciler.sandbox import AutomationState, Course, Enrolled, Fault, FaultKind, Operation
from reconciler.sandbox.model import Phase, RebalancePace, stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Bench

    Make = Callable[..., Bench]

NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z
SECOND = 1_000
P = "/v2/portfolios/p"
DAILY = {"s": {"frequency": "daily"}}


def enrolled(bench: Make, **fields: Any) -> Bench:
    """Return a bench whose ``p`` is enrolled in a daily strategy."""
    return bench(strategies=DAILY, **{"api": "v2", "strategy": "s", "started": "1h"} | fields)


def begin(here: Bench) -> dict[str, Any]:
    """Ask for a manual rebalance of ``p``, which must be accepted."""
    response = here.call("POST", f"{P}/rebalance")
    assert response.status_code == 202, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def operation(here: Bench, name: str) -> dict[str, Any]:
    """Return where an operation stands."""
    return here.data("GET", f"{P}/operations/{quote(name, safe='')}")


def test_an_operation_goes_on_with_the_clock(bench: Make) -> None:
    """It is accepted, runs and completes, and then counts as the last rebalance."""
    here = enrolled(bench)
    begun = begin(here)
    assert set(begun) == {"operationId", "submittedAt"}
    assert begun["submittedAt"] == "2026-11-18T11:06:40.000Z"
    name = begun["operationId"]
    accepted = operation(here, name)
    assert accepted == {
        "operationId": name,
        "portfolioId": "p",
        "kind": "rebalance",
        "state": "accepted",
        "createdAt": "2026-11-18T11:06:40.000Z",
        "updatedAt": "2026-11-18T11:06:40.000Z",
        "finishedAt": None,
        "error": None,
    }
    here.now += 2 * SECOND
    assert operation(here, name) == accepted | {"state": "running", "updatedAt": "2026-11-18T11:06:42.000Z"}
    assert here.data("GET", P)["schedule"]["lastRebalanceAt"] is None
    here.store.advance(38 * SECOND)
    end = "2026-11-18T11:07:20.000Z"
    assert operation(here, name) == accepted | {"state": "completed", "updatedAt": end, "finishedAt": end}
    assert here.data("GET", P)["schedule"]["lastRebalanceAt"] == begun["submittedAt"]


@pytest.mark.parametrize(
    ("course", "words", "counts"),
    [
        ("completed", ["accepted", "running", "running", "running", "completed"], True),
        ("failed", ["accepted", "running", "running", "running", "failed"], False),
        ("cancelled", ["accepted", "running", "running", "running", "cancelled"], False),
        ("retrying", ["accepted", "running", "retrying", "running", "completed"], True),
        ("awaiting_user", ["accepted", "running", "awaiting_user", "running", "completed"], True),
    ],
)
def test_every_course(bench: Make, course: str, words: list[str], counts: bool) -> None:
    """A fault decides how an operation goes, at the pace of the seed; one that did not complete does not count."""
    here = enrolled(bench, settings={"rebalance": {"queue": "1s", "takes": "10s"}})
    here.faults.add(Fault(kind=FaultKind.REBALANCE_ENDS, operation=Operation.REBALANCE, course=Course(course)))
    name = begin(here)["operationId"]
    seen = []
    for _ in range(5):
        seen.append(operation(here, name)["state"])
        here.now += 2_500
    assert seen == words
    last = operation(here, name)
    assert (last["error"] is not None) is (course == "failed")
    assert last["finishedAt"] == "2026-11-18T11:06:50.000Z"
    assert (here.data("GET", P)["schedule"]["lastRebalanceAt"] is not None) is counts
    assert here.faults.left() == ()


def test_one_at_a_time(bench: Make) -> None:
    """While one is in flight the answer is the same; afterwards comes the cooldown, and then another."""
    here = enrolled(bench)
    first = begin(here)
    here.now += 39 * SECOND
    assert begin(here) == first
    here.now += SECOND
    response = here.call("POST", f"{P}/rebalance")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "260")
    assert response.json() == {
        "success": False,
        "error": {"code": "API_004", "message": "Rebalance is cooling down. Try again in 260 seconds."},
    }
    here.now += 259 * SECOND + 1
    assert here.call("POST", f"{P}/rebalance").headers["Retry-After"] == "1"
    here.now += 999
    assert begin(here)["operationId"] != first["operationId"]
    assert operation(here, first["operationId"])["state"] == "completed"


def test_the_cooldown_is_of_one_portfolio(bench: Make) -> None:
    """Another portfolio is none the colder, and without a cooldown the next one goes at once."""
    here = enrolled(bench, others={"q": {"status": "active", "api": "v2", "strategy": "s"}})
    begin(here)
    here.now += 60 * SECOND
    assert here.call("POST", "/v2/portfolios/q/rebalance").status_code == 202
    eager = enrolled(bench, settings={"rebalance": {"cooldown": 0, "takes": 1, "queue": 0}})
    first = begin(eager)
    eager.now += 1
    assert begin(eager) != first


def test_a_failed_one_cools_down_too(bench: Make) -> None:
    """The cooldown counts from when it was asked for, however it ended."""
    here = enrolled(bench)
    here.faults.add(Fault(kind=FaultKind.REBALANCE_ENDS))
    begin(here)
    here.now += 60 * SECOND
    assert here.refusal("POST", f"{P}/rebalance") == (429, "API_004")


def test_an_empty_portfolio(bench: Make) -> None:
    """There is nothing to rebalance, and nothing was begun."""
    here = enrolled(bench, empty=True)
    assert here.refusal("POST", f"{P}/rebalance") == (500, "API_600")
    assert here.refusal("POST", f"{P}/rebalance") == (500, "API_600")


@pytest.mark.parametrize("status", ["paused", "inactive"])
def test_a_rebalance_needs_no_schedule(bench: Make, status: str) -> None:
    """It runs while paused and without a schedule, and changes neither."""
    here = enrolled(bench, status=status)
    before = here.data("GET", P)["schedule"]
    begin(here)
    assert here.data("GET", P)["schedule"] == before


def test_an_operation_belongs_to_its_portfolio(bench: Make) -> None:
    """Its id is good below its own portfolio alone, and only when it is URL-encoded."""
    here = enrolled(bench, others={"q": {"status": "active", "api": "v2", "strategy": "s"}})
    name = begin(here)["operationId"]
    assert here.refusal("GET", f"/v2/portfolios/q/operations/{quote(name, safe='')}") == (404, "API_006")
    assert here.refusal("GET", f"{P}/operations/{name}") == (404, "API_006"), "it holds a % of its own"


def workflow(here: Bench, name: str) -> dict[str, Any]:
    """Return one execution of v1, after checking that the list knows it by the same ids."""
    (row,) = here.data("GET", "rebalance/status?limit=1")["recentWorkflows"]
    one = here.data("GET", f"rebalance/status/{name}")
    assert (row["workflowId"], row["runId"]) == (one["workflowId"], one["runId"])
    return one | {"listed": row["status"]}


@pytest.mark.parametrize(
    ("course", "end"),
    [
        ("completed", "completed"),
        ("failed", "failed"),
        ("cancelled", "canceled"),
        ("retrying", "completed"),
        ("awaiting_user", "completed"),
    ],
)
def test_a_workflow_of_v1_goes_on_with_the_clock(bench: Make, course: str, end: str) -> None:
    """It is triggered, runs and ends, in the list as by itself, with a result or an error where there is one."""
    here = bench(started="1h")
    here.faults.add(Fault(kind=FaultKind.REBALANCE_ENDS, operation=Operation.TRIGGER, course=Course(course)))
    name = here.data("POST", "trigger")["rebalanceId"]
    new = workflow(here, name)
    assert (new["listed"], new["status"], new["closeTime"], new["result"]) == ("triggered", "running", None, None)
    here.now += 20 * SECOND
    middle = workflow(here, name)
    assert (middle["listed"], middle["status"], middle["error"]) == ("running", "running", None)
    here.now += 21 * SECOND
    last = workflow(here, name)
    assert last["listed"] == last["status"] == end
    assert last["closeTime"] == "2026-11-18T11:07:20.004Z"
    assert (last["result"] is not None) is (end == "completed")
    assert (last["error"] is not None) is (end == "failed")
    again = here.data("POST", "trigger")["rebalanceId"]
    here.now += 60 * SECOND
    assert workflow(here, again)["status"] == "completed"
    assert here.data("GET", f"rebalance/status/{name}")["status"] == end


def test_an_immediate_run_of_a_start_can_fail(bench: Make) -> None:
    """The fault is for every call that asks for a run."""
    here = bench(status="inactive")
    here.faults.add(Fault(kind=FaultKind.REBALANCE_ENDS, operation=Operation.START))
    here.data("POST", "start", {"runRebalanceImmediately": True})
    here.now += 60 * SECOND
    (row,) = here.data("GET", "rebalance/status")["recentWorkflows"]
    assert row["status"] == "failed"


def test_the_fault_does_nothing_to_other_calls(bench: Make) -> None:
    """A call that asks for no run works as ever."""
    here = bench()
    here.faults.add(Fault(kind=FaultKind.REBALANCE_ENDS))
    assert here.data("POST", "pause")["paused"] is True


@pytest.mark.parametrize(
    ("result", "word"), [("completed", "completed"), ("failed", "failed"), ("cancelled", "canceled")]
)
def test_the_last_result_of_a_seed(bench: Make, result: str, word: str) -> None:
    """The newest run before loading ended as the seed says, on v1 for all to see; on v2 it does not count."""
    one = bench(last_result=result, interval="1h", started="150m")
    rows = one.data("GET", "rebalance/status")["recentWorkflows"]
    assert [row["status"] for row in rows] == [word, "completed"]
    two = enrolled(bench, last_result=result, started="50h")
    newest = "2026-11-18T09:07:00.000Z" if result == "completed" else "2026-11-17T09:07:00.000Z"
    assert two.data("GET", P)["schedule"]["lastRebalanceAt"] == newest
    two.store.advance(24 * 3600 * SECOND)
    assert two.data("GET", P)["schedule"]["lastRebalanceAt"] == "2026-11-19T09:07:00.000Z"


def test_a_portfolio_that_never_ran_has_no_last_result(bench: Make) -> None:
    """A failed last result means nothing before the first run, and does not haunt that one."""
    here = bench(last_result="failed", interval="1h", started="0s")
    here.store.advance(3_700 * SECOND)
    assert [row["status"] for row in here.data("GET", "rebalance/status")["recentWorkflows"]] == ["completed"]


paces = st.integers(0, 10**6).flatmap(
    lambda queue: st.builds(RebalancePace, queue_ms=st.just(queue), takes_ms=st.integers(queue + 1, 10**7))
)


@given(paces, st.sampled_from(Course), st.lists(st.integers(-(10**3), 2 * 10**7), min_size=2))
def test_a_rebalance_never_goes_back(pace: RebalancePace, course: Course, ages: list[int]) -> None:
    """Later is never an earlier stage; the end comes with ``takes``, not before, and stays."""
    stages = [stage(course, pace, age) for age in sorted(ages)]
    assert stages == sorted(stages, key=lambda one: one.after_ms)
    for age in ages:
        assert stage(course, pace, age).phase.over is (age >= pace.takes_ms)
    assert stage(course, pace, 0).phase in (Phase.ACCEPTED, Phase.RUNNING)


one_enrolled = Enrolled(
    id="p",
    name=None,
    chain=None,
    word=None,
    owner="",
    strategy="s",
    state=AutomationState.ACTIVE,
    next_due_ms=NOW,
    empty=False,
    operations=0,
    past=(),
    created_ms=0,
    updated_ms=0,
)


@given(st.sampled_from(Cadence), st.integers(-(10**8), 10**8), st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_looking_more_often_changes_nothing(cadence: Cadence, due: int, looks: list[int]) -> None:
    """However often a portfolio is settled on the way, the same runs have happened in the end."""
    start = replace(one_enrolled, next_due_ms=NOW + due)
    step = start
    for moment in sorted(looks):
        step = step.settle(NOW + moment, cadence)
    end = start.settle(NOW + max(looks), cadence)
    assert step == end
    assert end.next_due_ms is not None
    assert end.next_due_ms >= (NOW + max(looks)) // 60_000 * 60_000, "nothing due is left behind"
    assert all(run.at_ms % 60_000 == 0 and run.at_ms <= NOW + max(looks) for run in end.past)
