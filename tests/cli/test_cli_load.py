"""The command load: who runs when, from live, from a live file, and before and after a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SEED = """
version: 1
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  bbb: {status: active, interval: 6h, started: 10d}
  ccc: {status: active, interval: 24h, started: 10d}
  ddd: {status: paused, interval: 1h, pause_reason: Paused from the app}
"""
FILES = """
version: 1
groups: {often: {interval: 6h}}
portfolios:
  aaa: {state: active, labels: {team: fx}}
  bbb: {state: active, group: often, labels: {team: ops}}
  ccc: {state: active}
  ddd: {state: paused}
"""


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """Three portfolios that run and one that does not."""
    return bare.holding(SEED, FILES)


def test_the_runs_of_a_day(fleet: Shell) -> None:
    """By hour, by group, by label, and in the worst minute; what is not declared to run is not counted."""
    shown = fleet("load --sandbox --by group").out
    assert "Load: 6 runs in 24h, 6 a day, most in one minute: 3 at " in shown
    assert "often       1           4           " in shown
    found = fleet("load --sandbox --by team -o json").json
    assert (found["load"]["runs_day"], found["load"]["portfolios"], sum(found["load"]["hours"])) == (6.0, 3, 6)
    assert (found["worst"]["count"], found["worst"]["ids"]) == (3, ["aaa", "bbb", "ccc"])
    assert {word: part["portfolios"] for word, part in found["parts"].items()} == {"": 1, "fx": 1, "ops": 1}
    assert "| Group | Portfolios | Runs a day | By hour |" in fleet("load --sandbox --by group -o markdown").out


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("tema", "--by tema: no selected portfolio has the label `tema`\n  Did you mean 'team'?"),
        ("group --select team=fx", "--by group: no selected portfolio has a `group`"),
    ],
)
def test_a_word_that_nobody_has_is_refused(fleet: Shell, by: str, said: str) -> None:
    """Else a slip would look like a fleet without labels. Nothing is read for it."""
    shown = fleet(f"load --sandbox --by {by}")
    assert shown.code == 64
    assert said in shown.err


def test_a_live_file_tells_the_same(fleet: Shell) -> None:
    """It needs no key and no service, and refuses options that name one."""
    assert fleet("status --sandbox --no-results --out live.json").code == 0
    live, saved = fleet("load --sandbox -o json").json, fleet("load --live live.json -o json").json
    assert saved["load"]["hours"] == live["load"]["hours"]
    assert fleet("load --live live.json --sandbox").code == 64


def test_before_and_after_a_plan(fleet: Shell) -> None:
    """A saved plan tells both, and the plan itself what it does to the worst minute."""
    fleet.write("automation.yaml", FILES.replace("aaa: {state: active", "aaa: {state: paused"))
    planned = fleet("plan --sandbox --out plan.json")
    told = "All portfolios run 6 → 5 times a day, at most 3 → 2 of them in the same minute (then bbb, ccc)."
    assert told in planned.out
    shown = fleet("load plan.json").out
    assert "\nNow: 6 runs in 24h, 6 a day, most in one minute: 3 at " in shown
    assert "\nThen: 5 runs in 24h, 5 a day, most in one minute: 2 at " in shown
    found = fleet("load plan.json -o json").json
    assert (found["before"]["worst"]["count"], found["after"]["worst"]["count"]) == (3, 2)
    assert fleet("load plan.json --next 6h").code == 64


@pytest.mark.parametrize("given", ["soon", "0h", "8d", "-1h"])
def test_how_far_it_may_look(fleet: Shell, given: str) -> None:
    """A week at most, and at least an hour."""
    ended = fleet(f"load --sandbox --next={given}")
    assert (ended.code, "Invalid value for --next" in ended.err) == (64, True)
    assert fleet("load --sandbox --next 7d").code == 0


def test_an_empty_plan_has_no_load(fleet: Shell) -> None:
    """A plan that changes nothing does not tell one, and says what to do."""
    assert fleet("plan --sandbox --out plan.json").code == 0
    ended = fleet("load plan.json")
    assert (ended.code, "`reconciler load` shows what is live" in ended.err) == (3, True)
