"""What a look proved of a schedule outlives our own hands: pauses, resumes and rebalances leave nothing to write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

IDS = [f"p{number:03}" for number in range(40)]
JOURNAL = ".reconciler/journal.db"


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """Portfolios that run every 24 h with an offset that no file declares, started long ago."""
    seed = {"status": "active", "interval": "24h", "offset": "6h", "started": "10d"}
    return bare.holding(json.dumps({"version": 1, "portfolios": dict.fromkeys(IDS, seed)}))


def declare(shell: Shell, state: str) -> None:
    one = {"state": state, "interval": "24h"}
    shell.write("automation.yaml", json.dumps({"version": 1, "portfolios": dict.fromkeys(IDS, one)}))


def calls(shell: Shell) -> set[str]:
    """Return the calls that the journal knows of."""
    runs = shell("history -o json").json["runs"]
    found = [shell(f"history --run {run['run']} -o json").json["runs"][0]["writes"] for run in runs]
    return {write["call"] for writes in found for write in writes}


@pytest.mark.slow
@pytest.mark.parametrize("first", ["an import", "an apply of nothing", "nothing"])
def test_a_fleet_is_paused_and_resumed(fleet: Shell, first: str) -> None:
    """No schedule is sent, and the offset that nobody declared is kept, whatever came first."""
    declare(fleet, "active")
    if first == "an import":
        (fleet.folder / "automation.yaml").unlink()
        assert fleet(f"import {' '.join(IDS)} --sandbox --out automation.yaml").code == 0
        assert (fleet.folder / JOURNAL).exists()
        declare(fleet, "active")
    assert fleet("plan --sandbox --detailed-exitcode").code == 0
    if first == "an apply of nothing":
        assert fleet("apply --sandbox --auto-approve").code == 0
        assert fleet("sandbox advance 1h").code == 0
    for state, verb in (("paused", "pause"), ("active", "resume")):
        declare(fleet, state)
        planned = fleet("plan --sandbox -o json").json
        assert {change["verb"] for change in planned["changes"]} == {verb}
        assert not any(change["writes_schedule"] for change in planned["changes"])
        assert fleet("apply --sandbox --auto-approve --allow pause=40 --allow resume=40").code == 0
        assert fleet("sandbox advance 90m").code == 0
    assert calls(fleet) == {"pause", "resume"}
    assert fleet("plan --sandbox --detailed-exitcode").code == 0


def test_a_rebalance_of_ours_leaves_nothing_to_do(fleet: Shell) -> None:
    """The run off the grid spoils the proof, which was kept before: no update is planned, and nothing drifts."""
    declare(fleet, "active")
    assert fleet(f"rebalance {IDS[0]} --sandbox --auto-approve").code == 0
    for _ in range(3):
        assert fleet("sandbox advance 13h").code == 0
        assert fleet("plan --sandbox --detailed-exitcode").code == 0
        assert fleet("drift --sandbox").code == 0
