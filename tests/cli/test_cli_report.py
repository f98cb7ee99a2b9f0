"""The command report: where it takes its values from, what it writes, and what it leaves alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journal import open_journal
from reconciler.core.model import PortfolioId
from tests.cli.conftest import FILES
from tests.render.test_render_report import data_of, rebalance
from tests.support import NOON_MS

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def page_of(shell: Shell, name: str = "fleet.html") -> str:
    """Return what was written."""
    return (shell.folder / name).read_text(encoding="utf-8")


def test_from_live(shell: Shell) -> None:
    """One page with what is held and what a plan would do; the second replaces the first."""
    ended = shell("report --sandbox --out fleet.html")
    assert (ended.code, ended.out) == (0, "Saved to fleet.html: 4 portfolios; what needs a person: 1.\n")
    page = page_of(shell)
    assert "paused by somebody else: Paused from the app" in page
    assert "Plan: 1 to start, 1 to resume, 1 to pause, 0 to update. 0 unchanged, 1 held, 0 blocked." in page
    assert [row[0] for row in data_of(page)["rows"]] == ["ccc", "aaa", "bbb", "ddd"]
    found = shell("report --sandbox --out fleet.html -o json").json
    assert (found["portfolios"], found["needs"], found["exit_reason"]) == (4, 1, "ok")
    assert {path.name for path in shell.folder.glob("*.tmp")} == set()


def test_from_a_live_file(shell: Shell) -> None:
    """It needs no key and no service, tells the same, and refuses options that name one."""
    assert shell("status --sandbox --no-results --out live.json").code == 0
    assert shell("report --live live.json --out saved.html").code == 0
    assert shell("report --sandbox --out live.html").code == 0
    assert data_of(page_of(shell, "saved.html"))["rows"] == data_of(page_of(shell, "live.html"))["rows"]
    assert shell("report --live live.json --sandbox --out saved.html").code == 64


def test_results_that_were_read_before(shell: Shell) -> None:
    """The strip is what the journal keeps; a failed run stays failed until a later one has ended."""
    base_url = shell("load --sandbox -o json").json["base_url"]
    (shell.folder / ".reconciler").mkdir(exist_ok=True)
    with open_journal(shell.folder / ".reconciler/journal.db", base_url=base_url, now_ms=lambda: NOON_MS) as journal:
        runs = [rebalance(0, "running"), rebalance(1, "failed"), rebalance(2, "completed")]
        journal.keep_results({PortfolioId("aaa"): [one.rebalance for one in runs]})
    assert shell("report --sandbox --out fleet.html").code == 0
    rows: dict[str, list[Any]] = {row[0]: row for row in data_of(page_of(shell))["rows"]}
    assert rows["aaa"][6:9] == ["cfr", 0, "Slippage too high"]
    assert next(iter(rows)) == "aaa"


def test_of_a_saved_plan(shell: Shell) -> None:
    """The page tells of that plan, read from live or from a live file, and not of one that the files would make now."""
    assert shell("plan --sandbox --out plan.json").code == 0
    assert shell("status --sandbox --out live.json").code == 0
    shell.write("automation.yaml", FILES.replace("paused, reason: Liquidity event", "active"))
    for where in ("--sandbox", "--live live.json"):
        assert shell(f"report {where} --plan plan.json --out fleet.html").code == 0
        assert "Plan: 1 to start, 1 to resume, 1 to pause, 0 to update." in page_of(shell)
        assert "After the plan: " in page_of(shell)
    assert shell("sandbox advance 1h").code == 0
    assert shell("report --sandbox --plan plan.json --out fleet.html").code == 0
    assert "The plan was made 20" in page_of(shell)


def test_a_saved_plan_of_something_else(shell: Shell) -> None:
    """One of another service, or of portfolios that are not selected, is refused; so is what is no plan."""
    assert shell("plan --sandbox --out plan.json").code == 0
    ended = shell("report --sandbox --plan plan.json --target bbb --out fleet.html")
    assert (ended.code, "changes aaa, which is not among the selected portfolios" in ended.err) == (64, True)
    assert shell("sandbox load seed.yaml --sandbox other.db").code == 0
    ended = shell("report --sandbox other.db --plan plan.json --out fleet.html")
    assert (ended.code, "the plan was made for sandbox://" in ended.err) == (4, True)
    assert shell("report --sandbox --plan automation.yaml --out fleet.html").code == 3
    assert not (shell.folder / "fleet.html").exists()


def test_a_saved_plan_of_another_account(shell: Shell) -> None:
    """It is refused, as an apply of it would be."""
    assert shell("status --sandbox --out live.json").code == 0
    found = json.loads((shell.folder / "live.json").read_text())
    for account in ("Acme EU", "Acme US"):
        shell.write(f"{account[-2:]}.json", json.dumps({**found, "account": account}))
    assert shell("plan --live EU.json --out plan.json").code == 0
    assert shell("report --live EU.json --plan plan.json --out fleet.html").code == 0
    ended = shell("report --live US.json --plan plan.json --out other.html")
    assert (ended.code, "made for the account Acme EU, and this key belongs to Acme US" in ended.err) == (7, True)


def test_kept_results_of_a_live_file(shell: Shell) -> None:
    """What the journal here remembers of rebalances stands on the page, too."""
    assert shell("sandbox advance 1h").code == 0
    assert shell("apply --sandbox --auto-approve --target bbb").code == 0
    assert shell("status --sandbox --results --out live.json").code == 0
    assert shell("report --live live.json --out fleet.html").code == 0
    strips = {row[0]: row[6] for row in data_of(page_of(shell))["rows"]}
    assert strips == {"aaa": "c", "bbb": "c", "ccc": "c", "ddd": ""}


def test_a_selection(shell: Shell) -> None:
    """Only what is selected is on the page."""
    assert shell("report --sandbox --out fleet.html --target aaa").code == 0
    assert [row[0] for row in data_of(page_of(shell))["rows"]] == ["aaa"]


def test_what_can_not_be_read(shell: Shell) -> None:
    """The page is written all the same, and the command is an error."""
    shell.write("automation.yaml", "version: 1\nportfolios: {aaa: {state: active}, gone: {state: active}}\n")
    ended = shell("report --sandbox --out fleet.html")
    assert '<td class="need n4">blocked</td>' in page_of(shell)
    assert ended.code == shell("load --sandbox").code


@pytest.mark.parametrize("there", ["version: 1\n", "<!doctype html>\n<html>my own page</html>\n", json.dumps({"a": 1})])
def test_nothing_else_is_replaced(shell: Shell, there: str) -> None:
    """What is not such a page stays as it is, and nothing is read before that is known."""
    shell.write("fleet.html", there)
    ended = shell("report --sandbox --out fleet.html")
    assert (ended.code, "is something else, and is not overwritten" in ended.err) == (1, True)
    assert page_of(shell) == there


def test_without_a_name(shell: Shell) -> None:
    """The page needs a name."""
    ended = shell("report --sandbox")
    assert (ended.code, "Name the page with --out" in ended.err) == (64, True)
