"""What a team on v2 sees: who moved to another strategy, how often everything runs, whose pause it is, what is due."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SEED = """
version: 1
strategies:
  S0: {frequency: daily, name: Momentum}
  S2: {frequency: hourly, name: Value}
portfolios:
  p0: {api: v2, strategy: S0, status: active}
  p1: {api: v2, strategy: S2, status: active}
  p2: {api: v2, strategy: S2, status: paused}
  p3: {api: v2, strategy: S0, status: inactive}
"""
FILES = """
version: 1
defaults: {api: v2}
strategies:
  S0: {schedule: daily}
portfolios:
  p0: {state: active, strategy: S0}
  p1: {state: active, strategy: S0}
"""


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """A folder with a sandbox in which p1 follows another strategy than its file declares."""
    return bare.holding(SEED, FILES)


def test_a_portfolio_that_moved_is_not_as_declared(fleet: Shell) -> None:
    """A plan shows it with both strategies and the cadence it has, drift exits 2, and nothing is written."""
    planned = fleet("plan --sandbox --detailed-exitcode")
    assert planned.code == 0
    assert "  ! moved  p1  follows strategy Value (S2), every 1h, not Momentum (S0) as declared\n" in planned.out
    assert "Moved to another strategy: 1 portfolio.\nPlan: 0 to start" in planned.out
    assert planned.out.rstrip().endswith("1 unchanged, 0 held, 0 blocked.")
    found = fleet("drift --sandbox")
    assert found.code == 2
    assert "moved  p1  strategy declared Momentum (S0), live Value (S2), every 1h\n" in found.out
    assert "Drift: 1 moved, 0 pending, 0 unverified, 0 held, 0 blocked. 2 as declared." in found.out
    markdown = fleet("drift --sandbox -o markdown")
    assert "| `p1` |" in markdown.out
    assert "| `p1` |" in fleet("plan --sandbox -o markdown").out
    (moved,) = fleet("plan --sandbox -o json").json["moved"]
    assert (moved["id"], moved["declared"], moved["live"]) == (
        "p1",
        {"strategy": "S0", "name": "Momentum", "interval_ms": None},
        {"strategy": "S2", "name": "Value", "interval_ms": 3_600_000},
    )
    applied = fleet("apply --sandbox --auto-approve -o json")
    assert (applied.code, applied.json["moved"]) == (0, ["p1"])


def test_a_portfolio_that_moved_is_paused_but_not_resumed(fleet: Shell) -> None:
    """Less trading is right by either strategy; more of it waits until files and Glider agree."""
    fleet.write("automation.yaml", FILES.replace("p1: {state: active", "p1: {state: paused"))
    assert fleet("apply --sandbox --auto-approve").code == 0
    fleet.write("automation.yaml", FILES)
    for line in ("plan --sandbox", "plan --sandbox --resume-held p1"):
        planned = fleet(line)
        assert planned.code == 0
        assert "not Momentum (S0) as declared, paused, and not resumed there" in planned.out
        assert "0 to resume" in planned.out
    fleet.write("automation.yaml", FILES.replace("p1: {state: active, strategy: S0}", "p1: {state: active}"))
    assert "1 to resume" in fleet("plan --sandbox").out


def test_a_saved_plan_and_a_live_file_tell_of_it(fleet: Shell) -> None:
    """Read later, in another place, it is still not as declared."""
    assert fleet("plan --sandbox --out plan.json").code == 0
    assert "! moved  p1" in fleet("show plan.json").out
    assert "Both plans mean the same." in fleet("show plan.json --against plan.json").out
    assert fleet("status --sandbox --out live.json").code == 0
    assert "! moved  p1" in fleet("plan --live live.json").out
    fleet.write("automation.yaml", FILES.replace("p1: {state: active, strategy: S0}", "p1: {state: active}"))
    assert fleet("plan --sandbox --out later.json").code == 0
    assert "vanished  ! moved  p1" in fleet("show later.json --against plan.json").out


def test_where_no_strategy_is_declared_it_is_shown_all_the_same(fleet: Shell) -> None:
    """In the table, in detail and in JSON; with the cadence that it has."""
    fleet.write("automation.yaml", FILES.replace(", strategy: S0", ""))
    assert fleet("drift --sandbox").code == 0
    table = fleet("status --sandbox").out.splitlines()
    assert table[0].split()[2:5] == ["SCHEDULE", "STRATEGY", "NEXT"]
    assert table[2].split()[:4] == ["p1", "active", "1h", "Value"]
    assert "  strategy  Value (S2)\n" in fleet("status p1 --sandbox").out
    row = fleet("status --sandbox -o json").json["portfolios"][1]
    assert (row["strategy"], row["strategy_name"]) == ("S2", "Value")
    fleet.write("automation.yaml", FILES)
    assert re.search(r"follows strategy Value \(S2\), every 1h, not .*S0\)? as declared", fleet("status --sandbox").out)


@pytest.mark.parametrize(("state", "code", "counted"), [("paused", 0, "1 unchanged"), ("active", 1, "1 blocked")])
def test_a_portfolio_without_a_schedule_can_be_declared_paused(
    fleet: Shell, state: str, code: int, counted: str
) -> None:
    """Nothing runs, which is all that it asks for."""
    fleet.write("automation.yaml", f"version: 1\ndefaults: {{api: v2}}\nportfolios: {{p3: {{state: {state}}}}}\n")
    planned = fleet("plan --sandbox")
    assert (planned.code, counted in planned.out) == (code, True)
    assert fleet("drift --sandbox").code == code


def test_a_cadence_tells_how_often_everything_runs(fleet: Shell) -> None:
    """Weekly to hourly for sixty portfolios is 8.6 to 1440 runs a day, in the row and in the sum, in every form."""
    rows = "".join(f"  w{n:02}: {{api: v2, strategy: W, status: active}}\n" for n in range(60))
    seed = f"version: 1\nstrategies:\n  W: {{frequency: weekly, name: Wide}}\nportfolios:\n{rows}"
    fleet.holding(seed, "version: 1\nstrategies:\n  W: {schedule: hourly}\n")
    told = "schedule weekly → hourly, reaches 60 portfolios, 8.6 → 1440 runs a day, trades more often"
    planned = fleet("plan --sandbox").out
    assert f"~ update  strategy W  Wide  {told}\n" in planned
    assert "The portfolios that change run 8.6 → 1440 times a day.\n" in planned
    markdown = fleet("plan --sandbox -o markdown").out
    assert f"| `~`&nbsp;update | strategy `W` | Wide | {told} |" in markdown
    assert "**Look first:** strategies that trade more often **1**." in markdown
    assert "The portfolios that change run 8.6 → 1440 times a day." in markdown
    document = fleet("plan --sandbox -o json").json
    assert document["runs"] == {
        "before_runs_day": 8.5714,
        "after_runs_day": 1440,
        "portfolios": 60,
        "portfolios_unknown": 0,
        "strategies_unknown": 0,
    }
    (change,) = document["changes"]
    runs = change["before_runs_day"], change["after_runs_day"]
    assert (change["name"], change["running"], *runs) == ("Wide", 60, 8.5714, 1440)
    assert "faster cadences reach 60 portfolios" in fleet("apply --sandbox --auto-approve").err
    fleet.write("automation.yaml", "version: 1\nstrategies:\n  W: {schedule: monthly}\n")
    slower = fleet("plan --sandbox")
    assert "reaches 60 portfolios, about 8.6 → 2 runs a day\n" in slower.out
    assert fleet("apply --sandbox --auto-approve").code == 0


def test_status_says_whose_pause_it_is(shell: Shell) -> None:
    """Ours by the mark, which people are not shown; somebody else's by its reason; on v2 by the journal."""
    shell.write("v2.yaml", SEED.replace("portfolios:", "portfolios:\n  bbb: {status: paused, pause_reason: REASON}"))
    seed = (shell.folder / "v2.yaml").read_text("utf-8")
    shell.holding(seed.replace("REASON", '"Paused via API: Freeze [glider-reconciler 7f3a9c]"'))
    on_v2 = "".join(f"  {name}: {{api: v2, state: paused}}\n" for name in ("p0", "p2"))
    shell.write("automation.yaml", f"version: 1\nportfolios:\n  bbb: {{state: paused}}\n{on_v2}")
    assert shell("apply --sandbox --auto-approve").code == 0
    shown = shell("status --sandbox").out
    assert "[glider-reconciler" not in shown
    notes = {line.split()[0]: line for line in shown.splitlines()[1:4]}
    assert notes["bbb"].endswith("  paused by us: Freeze")
    assert notes["p0"].endswith("  paused by us")
    assert notes["p2"].endswith("  paused, nobody knows by whom")
    rows = {row["id"]: row for row in shell("status --sandbox -o json").json["portfolios"]}
    assert [rows[name]["paused_by"] for name in ("bbb", "p0", "p2")] == ["us", "us", "unknown"]
    assert rows["bbb"]["pause_reason"].endswith("Freeze [glider-reconciler 7f3a9c]")
    assert "  pause     paused by us: Freeze\n" in shell("status bbb --sandbox").out
    shell.holding(seed.replace("REASON", "Paused from the app"))
    assert "paused by somebody else: Paused from the app" in shell("status --sandbox").out
    one = shell("status bbb --sandbox -o json").json["portfolio"]
    assert (one["paused_by"], one["pause_reason"]) == ("others", "Paused from the app")


def test_a_moment_that_has_passed_is_no_next_run(fleet: Shell) -> None:
    """Neither in the table nor in a plan; it is told as what it was."""
    assert fleet("status --sandbox --out live.json --no-results").code == 0
    document: dict[str, Any] = json.loads((fleet.folder / "live.json").read_text("utf-8"))
    (saved,) = (one for one in document["portfolios"] if one["id"] == "p0")
    fleet.write("automation.yaml", FILES.replace("p0: {state: active", "p0: {state: paused"))
    for off_ms, told in ((3_600_000, True), (-10 * 86_400_000, False)):
        document["portfolios"][0] = {**saved, "next_run_ms": saved["next_run_ms"] + off_ms}
        fleet.write("live.json", json.dumps(document))
        planned = fleet("plan --live live.json").out
        assert (re.search(r"= pause +p0 ", planned) is not None, "cancels the next run" in planned) == (True, told)
