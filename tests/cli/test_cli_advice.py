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
