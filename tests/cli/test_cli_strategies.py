"""Strategies on the command line: shown, guarded, applied, remembered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.approval.conftest import commit, git

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SEED = """
version: 1
strategies:
  01JWMOMENTUM: {frequency: daily}
  01JWVALUE: {frequency: hourly}
  01JWFOREIGN: {frequency: daily, owner: foreign}
portfolios:
  pf_a: {api: v2, strategy: 01JWMOMENTUM, status: active}
  pf_b: {api: v2, strategy: 01JWMOMENTUM, status: paused}
  pf_c: {api: v2, strategy: 01JWVALUE, status: active}
"""
FILES = """
version: 1
strategies:
  01JWMOMENTUM: {name: Momentum, schedule: weekly}
  01JWVALUE: {schedule: hourly}
"""


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """A folder whose files declare strategies only, and a sandbox that holds them."""
    return bare.holding(SEED, FILES)


def test_validate_counts_them(fleet: Shell) -> None:
    """In text and in JSON; a file without portfolios is a valid one."""
    assert fleet("validate").out == "Valid: 0 portfolios and 2 strategies in 1 file.\n"
    assert fleet("validate -o json").json["strategies"] == 2


def test_the_plan_shows_what_is_reached(fleet: Shell) -> None:
    """A row, a line of counts, and the stable last line unchanged."""
    shown = fleet("plan --sandbox").out.splitlines()
    told = "schedule daily → weekly, reaches 2 portfolios, 1 → 0.14 runs a day"
    assert f"  ~ update  strategy 01JWMOMENTUM  Momentum  {told}" in shown
    assert shown[-2] == "Strategies: 1 to update, 1 unchanged, 0 blocked."
    assert shown[-1].startswith("Plan: 0 to start, 0 to resume, 0 to pause, 0 to update.")
    (change,) = fleet("plan --sandbox -o json").json["changes"]
    ends = change["before"]["cadence"], change["after"]["cadence"]
    assert (change["id"], *ends, change["reach"]) == ("strategies/01JWMOMENTUM", "daily", "weekly", 2)
    assert change["risks"] == ["reaches_portfolios"]
    assert "| strategy `01JWMOMENTUM` |" in fleet("plan --sandbox -o markdown").out


def test_status_of_a_strategy(fleet: Shell) -> None:
    """As a target it is shown, with what is declared where that is another; portfolios keep their table beside it."""
    shown = fleet("status --sandbox --target strategies/01JWMOMENTUM --no-results")
    assert (shown.code, shown.out) == (0, "  strategy 01JWMOMENTUM  Momentum  schedule daily, declared weekly\n")
    (told,) = fleet("status --sandbox --target strategies/01JWVALUE -o json").json["strategies"]
    assert (told["id"], told["status"], told["cadence"], told["declared"]) == ("01JWVALUE", "found", "hourly", "hourly")
    fleet.write("automation.yaml", FILES + "portfolios:\n  pf_a: {api: v2, state: active}\n")
    both = fleet("status --sandbox --target strategies/01JWVALUE --target pf_a --no-results").out
    assert both.startswith("  strategy 01JWVALUE  schedule hourly\n\nPORTFOLIO")
    assert "strategies" not in fleet("status --sandbox -o json").json
    assert "is not declared" in fleet("status --sandbox --target strategies/nowhere").err


def test_a_schedule_that_nobody_can_see_has_its_footnote(fleet: Shell) -> None:
    """In the terminal and in Markdown, also where no portfolio has one."""
    fleet.holding(
        SEED.replace("portfolios:", "  01JWBARE: {name: Bare}\nportfolios:"),
        "version: 1\nstrategies:\n  01JWBARE: {schedule: weekly}\n",
    )
    note = "Glider does not return this value. Apply writes it once, and remembers it."
    assert "schedule ? → weekly" in fleet("plan --sandbox").out
    assert note in fleet("plan --sandbox").out
    assert note in fleet("plan --sandbox -o markdown").out


def test_apply_converges(fleet: Shell) -> None:
    """Applied once, the next plan is empty; the report, the JSON and the history tell of it."""
    ended = fleet("apply --sandbox --auto-approve")
    assert ended.code == 0
    assert "done  ~ update  strategy 01JWMOMENTUM  Momentum  schedule daily → weekly, reaches 2 portfolios" in ended.out
    again = fleet("apply --sandbox --auto-approve -o json")
    assert (again.code, again.json["results"]) == (0, [])
    assert fleet("plan --sandbox --detailed-exitcode").code == 0
    assert "strategies/01JWMOMENTUM  set-cadence  weekly  confirmed" in fleet("history --run 1").out
    (write,) = fleet("history --target strategies/01JWMOMENTUM -o json").json["runs"][0]["writes"]
    assert (write["call"], write["cadence"], write["outcome"]) == ("set-cadence", "weekly", "confirmed")


def test_over_the_guard(fleet: Shell) -> None:
    """Exit 5 and nothing is written, until the number is named; the guard of reach lets no other number through."""
    assert fleet("plan --sandbox").code == 0
    fleet.write("automation.yaml", f"{FILES.replace('weekly', 'hourly')}guards: {{max_reach: 1}}\n")
    refused = fleet("apply --sandbox --auto-approve")
    assert refused.code == 5
    assert "faster cadences reach 2 portfolios, but guards.max_reach is 1" in refused.err
    assert "--allow reach=2" in refused.err
    for other in ("update=2", "reach=1", "reach=unknown"):
        assert fleet(f"apply --sandbox --auto-approve --allow {other}").code == 5
    assert fleet("apply --sandbox --auto-approve --allow reach=2").code == 0
    assert fleet("apply --sandbox --auto-approve --allow pause=unknown").code == 64


def test_a_saved_plan_runs_as_it_was_saved(fleet: Shell) -> None:
    """It holds the strategies, and an edited one is refused."""
    assert fleet("plan --sandbox --out plan.json --detailed-exitcode").code == 2
    document = json.loads((fleet.folder / "plan.json").read_text("utf-8"))
    document["changes"][0]["after"]["cadence"] = document["changes"][0]["fields"][0]["desired"] = "hourly"
    fleet.write("edited.json", json.dumps(document))
    edited = fleet("apply edited.json --sandbox")
    assert (edited.code, "does not match its fingerprint" in edited.err) == (3, True)
    ended = fleet("apply plan.json --sandbox -o json")
    results = [(result["id"], result["outcome"]) for result in ended.json["results"]]
    assert (ended.code, results) == (0, [("strategies/01JWMOMENTUM", "done")])
    assert "Both plans mean the same." in fleet("show plan.json --against plan.json").out
    assert "strategy 01JWMOMENTUM" in fleet("show plan.json").out


def test_a_foreign_strategy_is_blocked(fleet: Shell) -> None:
    """A mirror's cadence belongs to its owner: exit 1, with the reason, and the others go on."""
    fleet.write("automation.yaml", f"{FILES}  01JWFOREIGN: {{schedule: daily}}\n")
    planned = fleet("plan --sandbox")
    assert planned.code == 1
    assert "x blocked  strategy 01JWFOREIGN" in planned.out
    assert "1 strategy blocked" in planned.err
    assert fleet("apply --sandbox --auto-approve").code == 6
    assert fleet("drift --sandbox --target strategies/01JWMOMENTUM").code == 0


def test_drift_tells_what_moved(fleet: Shell) -> None:
    """Never applied is pending; applied once and changed since is moved."""
    pending = fleet("drift --sandbox")
    assert pending.code == 2
    assert "pending  strategies/01JWMOMENTUM  Momentum  schedule declared weekly, live daily" in pending.out
    assert fleet("apply --sandbox --auto-approve").code == 0
    assert fleet("drift --sandbox").code == 0
    fleet.write("by-hand.yaml", "version: 1\nstrategies:\n  01JWMOMENTUM: {schedule: hourly}\n")
    assert fleet("apply -f by-hand.yaml --sandbox --auto-approve --journal other.db").code == 0
    moved = fleet("drift --sandbox")
    assert moved.code == 2
    assert "moved  strategies/01JWMOMENTUM  Momentum  schedule declared weekly, live hourly" in moved.out


def test_a_target_picks_one(fleet: Shell) -> None:
    """By its address; a mistyped one is an error, not nothing."""
    picked = fleet("plan --sandbox --target strategies/01JWVALUE")
    assert "Strategies: 0 to update, 1 unchanged, 0 blocked." in picked.out
    assert fleet("plan --sandbox --target strategies/01JWVALU").code == 64


def test_a_key_without_the_scope_writes_nothing(fleet: Shell) -> None:
    """Found out before the first write: exit 7, and the scope is named."""
    fleet.holding("settings: {scopes: ['portfolios:read', 'strategies:read']}\n" + SEED)
    refused = fleet("apply --sandbox --auto-approve")
    assert refused.code == 7
    assert "lacks the scope strategies:write" in refused.err
    assert "no run" in fleet("history").out


def test_a_live_file_holds_strategies(fleet: Shell) -> None:
    """Their cadences and whom they reach are planned from without a key."""
    fleet.write("automation.yaml", f"{FILES}portfolios:\n  pf_a: {{api: v2, state: active}}\n")
    assert fleet("status --sandbox --out live.json").code == 0
    planned = fleet("plan --live live.json")
    assert planned.code == 0
    assert "schedule daily → weekly, reaches 2 portfolios" in planned.out
    assert "Strategies: 1 to update, 1 unchanged, 0 blocked." in planned.out


@pytest.mark.slow
def test_where_a_change_comes_from(fleet: Shell) -> None:
    """--base tells this branch's cadence from one that was never applied."""
    git(fleet.folder, "init", "--quiet", "--initial-branch=main")
    commit(fleet.folder)
    fleet.write("automation.yaml", FILES.replace("hourly", "monthly"))
    changes = fleet("plan --sandbox --base main -o json").json["changes"]
    causes = {change["id"]: change["cause"] for change in changes}
    assert causes == {"strategies/01JWMOMENTUM": "pending", "strategies/01JWVALUE": "branch"}
    shown = fleet("plan --sandbox --base main").out
    assert "This branch (1)\n  ~ update  strategy 01JWVALUE " in shown
    assert "Pending: in the base, and not known to have been applied (1)\n  ~ update  strategy 01JWMOM" in shown


def test_an_approval_covers_strategies(fleet: Shell) -> None:
    """What was approved runs; another cadence than the approved one does not."""
    assert fleet("plan --sandbox --out approved.json").code == 0
    fleet.write("automation.yaml", FILES.replace("weekly", "monthly"))
    refused = fleet("apply --sandbox --approved approved.json")
    assert refused.code == 4
    assert "strategies/01JWMOMENTUM: update was approved otherwise" in refused.err
    fleet.write("automation.yaml", FILES)
    assert fleet("apply --sandbox --approved approved.json").code == 0
    assert "1 unchanged" not in fleet("plan --sandbox").out


def test_hourly_is_blocked_where_a_portfolio_is_known_to_be_on_mainnet(fleet: Shell) -> None:
    """Only what is known is checked: a chain that nobody declares is left to Glider, whose refusal is told."""
    fleet.holding(SEED.replace("status: active}", "status: active, chain: ethereum}"))
    hourly = FILES.replace("weekly", "hourly")
    fleet.write("automation.yaml", f"{hourly}portfolios:\n  pf_a: {{api: v2, state: active, chain: ethereum}}\n")
    planned = fleet("plan --sandbox")
    assert planned.code == 1
    assert "hourly is below the minimum of 24h on ETH mainnet, where its portfolio pf_a is" in planned.out
    fleet.write("automation.yaml", hourly)
    refused = fleet("apply --sandbox --auto-approve")
    assert refused.code == 1
    assert "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT" in refused.out
