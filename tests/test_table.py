"""The whole live × desired × schedule table, against both path families: the calls on the wire, and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.core.change import Risk
from reconciler.core.evidence import MARK
from reconciler.core.model import ApiVersion, Desired, Paths, PortfolioId, RunState
from reconciler.core.report import ACHIEVED, Outcome
from reconciler.sandbox import Course, Enrolled, Fault, FaultKind, Faults, Operation, Simulator
from tests.support import HOUR_MS, World

if TYPE_CHECKING:
    from pathlib import Path

ID = PortfolioId("ao04x0r6")
DAY = 24 * HOUR_MS

LIVE: dict[str, dict[str, Any]] = {
    "inactive": {"status": "inactive"},
    "active": {"status": "active"},
    "paused by us": {"status": "paused", "pause_reason": f"Paused via API: Freeze {MARK}"},
    "paused by others": {"status": "paused", "pause_reason": "Paused from the app by maria"},
    "archived": {"status": "archived"},
    "error": {"status": "error"},
    "unknown word": {"status": "active", "word": "hibernating"},
    "not found": {},
    "read failed": {"status": "active"},
}
"""The seed of each live status; interval 24 h and offset 0 in all of them."""

SCHEDULES: dict[str, tuple[bool, dict[str, int]]] = {
    "same": (True, {"interval_ms": DAY}),
    "different": (True, {"interval_ms": 12 * HOUR_MS}),
    "different offset": (True, {"interval_ms": DAY, "offset_ms": HOUR_MS}),
    "unverified": (False, {"interval_ms": DAY}),
    "not declared": (False, {}),
    "offset only": (True, {"offset_ms": HOUR_MS}),
    "offset only, interval unknown": (False, {"offset_ms": HOUR_MS}),
}
"""Whether the service returns its schedule, and what is declared."""

START, PAUSE, RESUME, UPDATE = "start", "pause", "resume", "update-schedule-interval"
HELD, BLOCKED = "held", "blocked"
ALIKE = dict.fromkeys(SCHEDULES)

TABLE: dict[tuple[str, str], dict[str, list[str] | str]] = {
    ("inactive", "active"): {
        "same": [START],
        "different": [START],
        "different offset": [START, UPDATE],
        "unverified": [START],
        "not declared": BLOCKED,
        "offset only": BLOCKED,
        "offset only, interval unknown": BLOCKED,
    },
    ("inactive", "paused"): {key: [] for key in SCHEDULES},
    ("active", "active"): {
        "same": [],
        "different": [UPDATE],
        "different offset": [UPDATE],
        "unverified": [UPDATE],
        "not declared": [],
        "offset only": [UPDATE],
        "offset only, interval unknown": BLOCKED,
    },
    ("active", "paused"): {key: [PAUSE] for key in SCHEDULES},
    ("paused by us", "active"): {
        "same": [RESUME],
        "different": [UPDATE, RESUME],
        "different offset": [UPDATE, RESUME],
        "unverified": [UPDATE, RESUME],
        "not declared": [RESUME],
        "offset only": [UPDATE, RESUME],
        "offset only, interval unknown": BLOCKED,
    },
    ("paused by us", "paused"): {key: [] for key in SCHEDULES},
    ("paused by others", "active"): dict.fromkeys(SCHEDULES, HELD),
    ("paused by others", "paused"): {key: [] for key in SCHEDULES},
    **{
        (live, desired): dict.fromkeys(SCHEDULES, BLOCKED)
        for live in ("archived", "error", "unknown word", "not found", "read failed")
        for desired in ("active", "paused")
    },
}

ON_GUIDE: dict[tuple[str, str, str], list[str]] = {("inactive", "active", "different offset"): [START]}
"""Where the guide's paths are another matter: their start takes the offset, and the look before the update shows it."""

CELLS = [
    pytest.param(live, desired, schedule, expected, id=f"{live}-{desired}-{schedule}")
    for (live, desired), row in TABLE.items()
    for schedule, expected in row.items()
]


def test_the_table_is_whole() -> None:
    """Every live status, both desired states and every schedule have a cell."""
    assert set(TABLE) == {(live, desired) for live in LIVE for desired in ("active", "paused")}
    assert all(set(row) == set(SCHEDULES) for row in TABLE.values())


@pytest.mark.parametrize("family", ["reference", "guide"])
@pytest.mark.parametrize(("live", "desired", "schedule", "expected"), CELLS)
def test_cell(tmp_path: Path, family: str, live: str, desired: str, schedule: str, expected: list[str] | str) -> None:
    """The calls of one cell are exactly these; afterwards the plan is empty and an apply writes nothing."""
    if family == "guide":
        expected = ON_GUIDE.get((live, desired, schedule), expected)
    readable, declared = SCHEDULES[schedule]
    schedule_seed = {} if live == "inactive" else {"interval": "24h", "started": "1h"}
    seed = {} if live == "not found" else {ID: {**schedule_seed, **LIVE[live]}}
    faults = Faults()
    if live == "read failed":
        faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.READ, times=1000))
    world = World(
        journal=tmp_path / "journal.db",
        portfolios=seed,
        settings={"readable_schedule": readable, "paths": family},
        paths=Paths.REFERENCE if family == "reference" else Paths.GUIDE,
        faults=faults,
    )
    wanted = [Desired(id=ID, state=RunState(desired), **declared)]

    plan, report = world.converge(wanted)

    assert world.calls() == (expected if isinstance(expected, list) else [])
    assert [h.id for h in plan.held] == ([ID] if expected == HELD else [])
    assert [b.id for b in plan.blocked] == ([ID] if expected == BLOCKED else [])
    assert {result.outcome for result in report.results} <= ACHIEVED
    folder = "rebalance/schedule/" if family == "reference" else ""
    assert all(
        w == f"{ID} {folder}{call}" for w, call in zip(world.writes(), world.calls(), strict=True) if call != UPDATE
    )

    again, repeated = world.converge(wanted)
    assert again.changes == ()
    assert repeated.results == ()
    assert (again.held, len(again.blocked)) == (plan.held, len(plan.blocked))
    assert world.calls() == (expected if isinstance(expected, list) else [])


@pytest.mark.parametrize("only", ["reference", "guide"])
def test_auto_finds_the_family_that_is_routed(tmp_path: Path, only: str) -> None:
    """With paths on auto, one fallback finds the routed family, and it is remembered and reported."""
    ids = [f"p{n}" for n in range(6)]
    world = World(
        journal=tmp_path / "journal.db",
        portfolios={i: {"status": "active", "interval": "24h"} for i in ids},
        settings={"paths": only},
        parallelism=1,
    )
    plan, report = world.converge(Desired(id=PortfolioId(i), state=RunState.PAUSED) for i in ids)
    assert len(plan.changes) == len(ids)
    assert {result.outcome for result in report.results} <= ACHIEVED
    wasted = 0 if only == "reference" else 1
    assert len(world.calls()) == len(ids) + wasted


LIVE_V2: dict[str, dict[str, Any]] = {
    "active": {"status": "active"},
    "paused by us": {"status": "active"},
    "paused by others": {"status": "paused"},
    "no schedule": {"status": "inactive"},
    "archived": {"status": "archived"},
    "unknown word": {"status": "active", "word": "hibernating"},
    "not found": {},
    "read failed": {"status": "active"},
}
"""The seed of each live status on v2; which pause is ours the journal tells, so that one is made by an apply."""

TABLE_V2: dict[tuple[str, str], list[str] | str] = {
    ("active", "active"): [],
    ("active", "paused"): ["stop"],
    ("paused by us", "active"): ["start"],
    ("paused by us", "paused"): [],
    ("paused by others", "active"): HELD,
    ("paused by others", "paused"): [],
    ("no schedule", "active"): BLOCKED,
    ("no schedule", "paused"): [],
    **{
        (live, desired): BLOCKED
        for live in ("archived", "unknown word", "not found", "read failed")
        for desired in ("active", "paused")
    },
}


def test_the_table_of_v2_is_whole() -> None:
    """Every live status of v2 and both desired states have a cell."""
    assert set(TABLE_V2) == {(live, desired) for live in LIVE_V2 for desired in ("active", "paused")}


@pytest.mark.parametrize(("live", "desired"), TABLE_V2)
def test_cell_of_v2(tmp_path: Path, live: str, desired: str) -> None:
    """The calls of one cell are exactly these; afterwards the plan is empty and an apply writes nothing."""
    expected = TABLE_V2[live, desired]
    faults = Faults()
    if live == "read failed":
        faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.LIST, times=1000))
    v2 = {"api": "v2", "strategy": "S1"}
    world = World(
        journal=tmp_path / "journal.db",
        portfolios={} if live == "not found" else {ID: {**v2, **LIVE_V2[live]}},
        strategies={"S1": {"frequency": "daily"}},
        faults=faults,
    )
    if live == "paused by us":
        world.converge([Desired(id=ID, api=ApiVersion.V2, state=RunState.PAUSED)])
    before = len(world.calls())
    wanted = [Desired(id=ID, api=ApiVersion.V2, state=RunState(desired))]

    plan, report = world.converge(wanted)

    calls = expected if isinstance(expected, list) else []
    assert world.writes()[before:] == [f"{ID} {call}" for call in calls]
    assert [h.id for h in plan.held] == ([ID] if expected == HELD else [])
    assert [b.id for b in plan.blocked] == ([ID] if expected == BLOCKED else [])
    assert {result.outcome for result in report.results} <= ACHIEVED
    resumed = [change for change in plan.changes if change.verb == "resume"]
    assert all(Risk.DUE_AT_ONCE in change.risks for change in resumed)

    again, repeated = world.converge(wanted)
    assert again.changes == ()
    assert repeated.results == ()
    assert (again.held, len(again.blocked)) == (plan.held, len(plan.blocked))
    assert world.calls()[before:] == calls


MOVES: dict[str, tuple[list[str], str]] = {
    "resumed and paused again": (["start", "stop"], HELD),
    "resumed, ran, and paused again": (["start", "run", "stop"], HELD),
    "rebalanced by hand": (["rebalance"], "resume"),
    "paused again": (["stop"], "resume"),
    "nothing": ([], "resume"),
}
"""What somebody does to a v2 portfolio that we paused, and what becomes of it when it is to be active again."""


@pytest.mark.parametrize("move", MOVES)
def test_whose_pause_it_is_on_v2(tmp_path: Path, move: str) -> None:
    """v2 keeps no reason, yet a pause is only ours until somebody has resumed, even where nothing ran since."""
    does, expected = MOVES[move]
    world = World(
        journal=tmp_path / "journal.db",
        portfolios={ID: {"api": "v2", "strategy": "S1"}},
        strategies={"S1": {"frequency": "daily"}},
    )
    world.converge([Desired(id=ID, api=ApiVersion.V2, state=RunState.PAUSED)])
    simulator = Simulator(world.store, world.clock.now_ms)
    for step in does:
        world.clock.advance(5_000)
        match step:
            case "start":
                simulator.change_enrolled(ID, Enrolled.start)
            case "stop":
                simulator.change_enrolled(ID, Enrolled.stop)
            case "rebalance":
                simulator.rebalance(ID, Course.COMPLETED)
                world.clock.advance(600_000)
            case _:
                world.clock.advance(600_000)
    plan = world.plan([Desired(id=ID, api=ApiVersion.V2, state=RunState.ACTIVE)])
    assert [held.id for held in plan.held] == ([ID] if expected == HELD else [])
    assert [change.verb.value for change in plan.changes] == ([] if expected == HELD else [expected])


def test_both_versions_in_one_plan(tmp_path: Path) -> None:
    """Each portfolio's calls go to its own API, in one plan, one apply and one journal."""
    world = World(
        journal=tmp_path / "journal.db",
        portfolios={
            "first": {"status": "active", "interval": "24h"},
            "second": {"api": "v2", "strategy": "S1"},
            "other": {"api": "v2", "strategy": "S1", "name": "Nobody's"},
        },
        strategies={"S1": {"frequency": "daily"}},
    )
    wanted = [
        Desired(id=PortfolioId("first"), state=RunState.PAUSED),
        Desired(id=PortfolioId("second"), state=RunState.PAUSED, api=ApiVersion.V2),
    ]
    plan, report = world.converge(wanted)
    assert [(one.id, one.name, one.strategy) for one in plan.unmanaged] == [("other", "Nobody's", "S1")]
    assert {result.outcome for result in report.results} == {Outcome.DONE}
    paths = [request.path for request in world.app.requests.kept()]
    assert all(path.startswith("/v1/portfolio/first/") for path in paths if path.startswith("/v1"))
    assert all(path.startswith("/v2/portfolios") and "first" not in path for path in paths if path.startswith("/v2"))
    assert world.plan(wanted).changes == ()


def test_a_hold_on_v2_is_overridden_for_one_pause(tmp_path: Path) -> None:
    """What was reviewed is the pause that stood then; one that somebody made since is not lifted by the same plan."""
    world = World(
        journal=tmp_path / "journal.db",
        portfolios={ID: {"api": "v2", "strategy": "S1", "status": "paused"}},
        strategies={"S1": {"frequency": "daily"}},
    )
    wanted = [Desired(id=ID, api=ApiVersion.V2, state=RunState.ACTIVE, hold_override=True)]
    reviewed = world.plan(wanted)
    simulator = Simulator(world.store, world.clock.now_ms)
    world.clock.advance(1_000)
    simulator.change_enrolled(ID, Enrolled.start)
    simulator.change_enrolled(ID, Enrolled.stop)
    (result,) = world.apply(reviewed).results
    assert (result.outcome, result.detail) == (
        Outcome.STALE,
        "it was paused anew since the plan was made; plan again",
    )
    assert world.writes() == []
    assert {result.outcome for result in world.apply(world.plan(wanted)).results} == {Outcome.DONE}
