"""The whole live × desired × schedule table, against both path families: the calls on the wire, and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.core.desired import Desired, PortfolioId, RunState
from reconciler.core.marker import MARK
from reconciler.core.paths import Paths
from reconciler.core.report import ACHIEVED
from reconciler.sandbox.faults import Fault, FaultKind, Faults, Operation
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
