"""Advice on the command line: warnings in every output, costs in the footer, triggers out of the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.options import ServiceOptions
from reconciler.cli.plan import PlanOptions, plan
from reconciler.core.errors import ExitReason
from reconciler.render.ending import Found

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

PRICED = """
version: 1
defaults: {costs: {per_rebalance_usd: 0.35}}
portfolios:
  aaa: {state: active, interval: 1h}
"""
WARNING = "it runs every 1h at 0.35 USD, which is 252 USD in 30 days, more than 30"


def test_validate_warns_and_is_fine(shell: Shell) -> None:
    """Advice is a warning with its rule, in text and in JSON, and the files stay valid."""
    shell.write("automation.yaml", PRICED)
    ended = shell("validate")
    assert ended.code == 0
    assert ended.out == "Valid: 1 portfolio in 1 file, 1 warning.\n"
    assert f"automation.yaml:5:1: portfolios.aaa: {WARNING}; " in ended.err
    assert ended.err.rstrip().endswith("silence `short-interval` with a reason [short-interval]")
    (found,) = shell("validate -o json").json["warnings"]
    assert found["rule"] == "short-interval"
    assert found["severity"] == "warning"
    assert (found["file"], found["line"]) == ("automation.yaml", 5)


def test_a_plan_tells_its_cost(shell: Shell) -> None:
    """The cost stands in text, in Markdown and in JSON."""
    shell.write("automation.yaml", PRICED)
    line = "Cost: 10.50 → 252 USD in 30 days, 1 → 24 runs a day, of 1 portfolio with a declared cost."
    for output in ("text", "markdown"):
        ended = shell(f"plan --sandbox -o {output}")
        assert line in ended.out
        assert ended.err.count(WARNING) == 1
    found = shell("plan --sandbox -o json").json
    assert found["cost"] == {
        "before_usd_month": 10.5,
        "after_usd_month": 252.0,
        "before_runs_day": 1.0,
        "after_runs_day": 24.0,
        "portfolios_known": 1,
        "portfolios": 1,
    }
    assert [warning["rule"] for warning in found["warnings"]] == ["short-interval"]


def test_a_plan_without_declared_costs_says_nothing_of_them(shell: Shell) -> None:
    """No price is assumed."""
    assert "Cost" not in shell("plan --sandbox").out
    assert shell("plan --sandbox -o json").json["cost"] is None


def test_many_resumes_are_told_where_the_plan_is_shown(shell: Shell) -> None:
    """The plan's own advice is told by plan, by show, by a plan from a live file, and to the action."""
    paused = "{status: paused, interval: 24h, pause_reason: 'Paused via API: x [glider-reconciler]'}"
    shell.write("seed.yaml", "version: 1\nportfolios:\n" + "".join(f"  p{n}: {paused}\n" for n in range(11)))
    shell.write(
        "automation.yaml", "version: 1\nportfolios:\n" + "".join(f"  p{n}: {{state: active}}\n" for n in range(11))
    )
    assert shell("sandbox load seed.yaml --sandbox many.db").code == 0
    assert shell("status --sandbox many.db --out live.json --no-results").code == 0
    sentence = "11 portfolios would be resumed at once, more than 10, and may all trade"
    for line in ("plan --sandbox many.db --out plan.json", "show plan.json", "plan --live live.json"):
        assert shell(line).err.count(sentence) == 1, line
    found = Found(command="plan")
    assert plan(PlanOptions(service=ServiceOptions(sandbox="many.db")), found).reason is ExitReason.OK
    assert [warning.rule for warning in found.diagnostics] == ["many-resumes"]


def test_frequent_triggers_come_from_the_journal(shell: Shell) -> None:
    """The fifth rebalance of a portfolio within a day is told with the next plan, of that sandbox alone."""
    shell.write("automation.yaml", "version: 1\nportfolios:\n  aaa: {state: active, interval: 24h}\n")
    for _ in range(4):
        assert shell("rebalance aaa --sandbox --auto-approve").code == 0
    assert "frequent-triggers" not in shell("plan --sandbox").err
    assert shell("rebalance aaa --sandbox --auto-approve").code == 0
    assert "portfolios.aaa: 5 rebalances were asked for in 24h, more than 4" in shell("plan --sandbox").err
    assert shell("sandbox load seed.yaml --sandbox other.db").code == 0
    assert "frequent-triggers" not in shell("plan --sandbox other.db").err
    assert shell("sandbox advance 25h").code == 0
    assert "frequent-triggers" not in shell("plan --sandbox").err


POOR = """
version: 1
settings: {readable_schedule: true}
portfolios:
  aaa: {status: active, interval: 24h, started: 10d, value_usd: 3.2, gas_used: 2500000, threshold: 0.5}
  bbb: {status: active, interval: 24h, started: 10d}
"""


def test_what_a_read_tells_anyway_is_judged(shell: Shell) -> None:
    """Funds and threshold where one portfolio is shown, gas wherever results are; no request is made for any."""
    shell.write("seed.yaml", POOR)
    shell.write("automation.yaml", "version: 1\nportfolios: {aaa: {state: active}, bbb: {state: active}}\n")
    assert shell("sandbox load seed.yaml --sandbox poor.db").code == 0
    one = shell("status aaa --sandbox poor.db")
    assert one.code == 0
    for told in (
        "2:1: portfolios.aaa: it holds 3.20 USD, less than 10 USD; add funds, or pause it, or silence `low-funds` with",
        "its last run used 2,500,000 units of gas, more than 1,000,000",
        "its template trades at a drift of 0.5 %, so nearly every run trades",
    ):
        assert one.err.count(told) == 1, one.err
    shown = shell("status aaa --sandbox poor.db -o json").json
    assert [found["rule"] for found in shown["warnings"]] == ["low-funds", "gas-heavy", "small-threshold"]
    assert shown["portfolio"]["portfolio"]["value_usd"] == "3.20"
    assert shell("status bbb --sandbox poor.db").err == ""
    # The table and the plan read no portfolio and so no funds; the status answer of this seed tells the last result.
    for line in ("status", "status --no-results", "plan"):
        found = shell(f"{line} --sandbox poor.db -o json").json["warnings"]
        assert [(one["rule"], one["address"]) for one in found] == [("gas-heavy", "portfolios.aaa")], line
    assert shell("status --sandbox poor.db").err.count("2,500,000 units of gas") == 1
    # One that no file declares is judged where it runs.
    shell.write("automation.yaml", "version: 1\nportfolios: {bbb: {state: active}}\n")
    assert "portfolios.aaa: it holds 3.20 USD" in shell("status aaa --sandbox poor.db").err


def test_a_silence_of_what_is_read(shell: Shell) -> None:
    """It takes its rule out of status and plan alike, and is never called useless."""
    shell.write("seed.yaml", POOR)
    rules = "silence: {gas-heavy: known, low-funds: a test, small-threshold: meant}"
    shell.write("automation.yaml", f"version: 1\nportfolios:\n  aaa:\n    state: active\n    {rules}\n")
    assert shell("sandbox load seed.yaml --sandbox poor.db").code == 0
    for line in ("status aaa", "status", "plan", "drift"):
        assert shell(f"{line} --sandbox poor.db").err == "", line
    assert shell("validate").err == ""
