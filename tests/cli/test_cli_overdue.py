"""What should have run and did not: in plan, drift and status, with ``--fail-on overdue``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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


def test_status_tells_how_late(fleet: Shell) -> None:
    """In words, in milliseconds, and as an exit code."""
    assert "overdue by 8d" in fleet("status --sandbox").out
    rows = {row["id"]: row["overdue_ms"] for row in fleet("status --sandbox -o json").json["portfolios"]}
    assert (rows["bbb"], rows["ccc"], rows["aaa"] > rows["ddd"] > 0) == (None, None, True)
    assert fleet("status --sandbox --no-results --fail-on overdue").code == 1
    assert fleet("status aaa --sandbox --fail-on overdue").code == 1
    assert fleet("status --sandbox --target bbb --fail-on overdue").code == 0


def test_a_resume_is_not_late_at_once(fleet: Shell) -> None:
    """What runs again after our own resume has time to run."""
    fleet.write("automation.yaml", FILES.replace("aaa: {state: active", "aaa: {state: paused"))
    assert fleet("apply --sandbox --auto-approve").code == 0
    fleet.write("automation.yaml", FILES)
    assert fleet("apply --sandbox --auto-approve").code == 0
    assert [one["id"] for one in fleet("plan --sandbox -o json").json["overdue"]] == ["ddd"]
