"""What should have run and did not: in plan, drift and status, with ``--fail-on overdue``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.output import Output
from reconciler.cli.progress import read_shown
from reconciler.cli.service import Service, SystemClock
from reconciler.core.fleet import EVERYTHING
from reconciler.core.model import Desired, PortfolioId, RunState
from reconciler.core.needs import overdue_among
from reconciler.core.text import MINUTE_MS
from reconciler.sandbox import Fault, FaultKind
from tests.support import BASE_URL, World, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell

SEED = """
version: 1
strategies: {01JW: {frequency: daily}}
portfolios:
  aaa: {status: active, interval: 24h, started: 30d, stalled: 9d}
  bbb: {status: active, interval: 24h, started: 30d}
  ccc: {status: paused, interval: 24h, started: 30d, pause_reason: Paused from the app}
  ddd: {api: v2, status: active, strategy: 01JW, stalled: 3d}
"""
FILES = """
version: 1
portfolios:
  aaa: {state: active, name: Growth, owner: desk}
  bbb: {state: active}
  ccc: {state: paused}
  ddd: {api: v2, state: active}
"""


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """Two portfolios that the service no longer runs, one on each API, and two that are well."""
    return bare.holding(SEED, FILES)


def test_a_plan_says_so(fleet: Shell) -> None:
    """It is counted and named with its owner, although nothing is to be changed."""
    ended = fleet("plan --sandbox")
    assert ended.code == 0
    assert "\nOverdue: 2 portfolios.\n" in ended.out
    assert "! overdue  aaa  Growth  overdue by " in ended.out
    assert "owner desk" in ended.out
    found = fleet("plan --sandbox -o json").json
    assert ([one["id"] for one in found["overdue"]], found["summary"]["overdue"]) == (["aaa", "ddd"], 2)
    assert found["summary"]["no_op"] == 4
    assert fleet("plan --sandbox --target bbb --fail-on overdue").code == 0
    failed = fleet("plan --sandbox --fail-on overdue")
    assert (failed.code, "--fail-on overdue: active portfolios did not run when they were due" in failed.err) == (
        1,
        True,
    )


def test_drift_finds_it(fleet: Shell) -> None:
    """It is drift, which ends with 2, or with 1 where that is asked for."""
    ended = fleet("drift --sandbox")
    assert ended.code == 2
    assert "overdue  aaa" in ended.out
    assert "Drift: 2 overdue, 0 moved, 0 pending, 0 unverified, 0 held, 0 blocked. 2 as declared." in ended.out
    assert fleet("drift --sandbox --fail-on overdue").code == 1
    assert fleet("drift --sandbox --target bbb --target ccc").code == 0


def test_what_needs_a_person_comes_first(fleet: Shell) -> None:
    """The order of the rows is that of ``status``; what an apply puts right comes after it."""
    fleet.write(
        "automation.yaml",
        FILES.replace("bbb: {state: active", "bbb: {state: paused").replace(
            "ccc: {state: paused", "ccc: {state: active"
        ),
    )
    ended = fleet("drift --sandbox")
    rows = [line.split()[:2] for line in ended.out.splitlines() if line.startswith("  ")]
    assert rows == [["overdue", "aaa"], ["overdue", "ddd"], ["held", "ccc"], ["pending", "bbb"]]
    assert "Drift: 2 overdue, 0 moved, 1 pending, 0 unverified, 1 held, 0 blocked. 0 as declared." in ended.out


def test_one_outage_is_one_row(bare: Shell) -> None:
    """Portfolios that stand still for different times are folded; -v tells of each how late it is."""
    names = [f"p{number}" for number in range(6)]
    seed = "".join(
        f"  {name}: {{status: active, interval: 24h, started: 30d, stalled: {day}d}}\n"
        for day, name in enumerate(names, 2)
    )
    files = "".join(f"  {name}: {{state: active}}\n" for name in names)
    fleet = bare.holding(f"version: 1\nportfolios:\n{seed}", f"version: 1\nportfolios:\n{files}")
    told = fleet("status --sandbox").out
    assert "did not run when it was due: p0, p1, p2, p3, p4, p5" in told
    assert "6 portfolios" in told.splitlines()[1]
    assert fleet("status --sandbox -v").out.count("overdue by ") == 6
    assert fleet("status --sandbox --sort next").out.count("overdue by ") == 6


def test_status_tells_how_late(fleet: Shell) -> None:
    """In words, in milliseconds, and as an exit code."""
    assert "overdue by 8d" in fleet("status --sandbox").out
    rows = {row["id"]: row["overdue_ms"] for row in fleet("status --sandbox -o json").json["portfolios"]}
    assert (rows["bbb"], rows["ccc"], rows["aaa"] > rows["ddd"] > 0) == (None, None, True)
    assert fleet("status --sandbox --no-results --fail-on overdue").code == 1
    assert fleet("status aaa --sandbox --fail-on overdue").code == 1
    assert fleet("status --sandbox --target bbb --fail-on overdue").code == 0


def test_what_an_apply_paused_is_not_overdue_any_more(fleet: Shell) -> None:
    """Its metrics, its exit code and its document are about what it left."""
    fleet.write("automation.yaml", FILES.replace("aaa: {state: active", "aaa: {state: paused"))
    line = "apply --sandbox --auto-approve --metrics glider.prom --fail-on overdue"
    assert fleet(f"{line} --target aaa").code == 0
    assert re.search(r"\nreconciler_overdue[^\n]+ 0\n", (fleet.folder / "glider.prom").read_text(encoding="utf-8"))
    fleet.write("automation.yaml", FILES.replace("bbb: {state: active", "bbb: {state: paused"))
    ended = fleet(f"{line} --target bbb --target ddd -o json")
    assert (ended.code, ended.json["overdue"]) == (1, ["ddd"])


def test_a_resume_is_not_late_at_once(fleet: Shell) -> None:
    """What runs again after our own resume has time to run."""
    fleet.write("automation.yaml", FILES.replace("aaa: {state: active", "aaa: {state: paused"))
    assert fleet("apply --sandbox --auto-approve").code == 0
    fleet.write("automation.yaml", FILES)
    assert fleet("apply --sandbox --auto-approve").code == 0
    assert [one["id"] for one in fleet("plan --sandbox -o json").json["overdue"]] == ["ddd"]


def test_a_fleet_that_is_read_for_long_has_no_false_alarm(tmp_path: Path) -> None:
    """Each is late or not at the moment when it was read, although many runs have been due by the end."""
    names = [PortfolioId(f"p{number:02}") for number in range(40)]
    live = {name: {"interval": "1h", "started": "595m"} for name in names}
    desired = {name: Desired(id=name, state=RunState.ACTIVE) for name in names}
    world = World(tmp_path / "journal.db", live, settings={"readable_schedule": True}, parallelism=1)
    world.faults.add(Fault(kind=FaultKind.LATENCY, ms=MINUTE_MS, times=len(names)))

    async def read() -> tuple[int, int]:
        async with world.api(desired.values()) as api:
            service = Service(api=api, label=BASE_URL, clock=SystemClock())
            fleet, read_ms = await read_shown(service, desired, EVERYTHING, Output(quiet=True), 1)
            assert sorted(read_ms) == names
            now_ms = api.service_ms()
            assert now_ms - min(read_ms.values()) >= 30 * MINUTE_MS
            at_the_end = overdue_among(desired, fleet.live, {}, now_ms=now_ms)
            return len(at_the_end), len(overdue_among(desired, fleet.live, {}, now_ms=now_ms, read_ms=read_ms))

    assert run(read()) == (4, 0)
