"""Causes, drift and comparisons as a user meets them, in a repository of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.approval.conftest import commit, git
from tests.cli.conftest import FILES

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def edit(shell: Shell, old: str, new: str) -> None:
    text = (shell.folder / "automation.yaml").read_text(encoding="utf-8")
    assert old in text
    shell.write("automation.yaml", text.replace(old, new))


def causes(shell: Shell, line: str) -> dict[str, str | None]:
    return {change["id"]: change["cause"] for change in shell(f"{line} -o json").json["changes"]}


@pytest.mark.slow
def test_a_one_line_change_comes_first(branch: Shell) -> None:
    """A reviewer sees this branch's one change before what was never applied; the last line is as ever."""
    branch.write("automation.yaml", FILES.replace("state: paused, reason: Liquidity event", "state: active"))
    commit(branch.folder)
    edit(branch, "aaa: {name: Growth, state: active}", "aaa: {state: active, interval: 12h}")
    edit(branch, "ddd: {state: active, interval: 24h}", "ddd: {state: active, interval: 24h, name: Label}")
    shown = branch("plan --sandbox --base HEAD")
    lines = [line for line in shown.out.splitlines() if line]
    assert lines[1:3] == ["This branch (1)", next(line for line in lines if "~ update  aaa" in line)]
    assert lines[3] == "Pending: in the base, and not known to have been applied (2)"
    assert lines[-1].startswith("Plan: 1 to start, 1 to resume, 0 to pause, 1 to update.")
    assert causes(branch, "plan --sandbox --base HEAD") == {"aaa": "branch", "bbb": "pending", "ddd": "pending"}
    markdown = branch("plan --sandbox --base HEAD -o markdown").out
    causes_of = [line.split(" | ")[0] for line in markdown.splitlines() if "| `aaa`" in line or "| `bbb`" in line]
    assert causes_of == ["| pending", "| this branch"]  # what trades needs a look first, wherever it comes from


@pytest.mark.slow
def test_drift_and_both(branch: Shell) -> None:
    """Applied and moved is drift; applied, moved and edited is both; without --base there is no cause."""
    assert branch("apply --sandbox --auto-approve").code == 0
    edit(branch, "bbb: {state: active}", "bbb: {state: paused}")
    assert causes(branch, "plan --sandbox --base main") == {"bbb": "branch"}
    assert causes(branch, "plan --sandbox") == {"bbb": None}
    git(branch.folder, "checkout", "--quiet", ".")
    branch.write("elsewhere.yaml", "version: 1\nportfolios:\n  aaa: {state: active}\n")
    assert branch("apply --sandbox --auto-approve -f elsewhere.yaml --journal elsewhere.db").code == 0
    assert causes(branch, "plan --sandbox --base main") == {"aaa": "drift"}
    edit(branch, "state: paused, reason: Liquidity event", "state: active, interval: 12h")
    assert causes(branch, "plan --sandbox --base main") == {"aaa": "both"}


@pytest.mark.slow
def test_a_saved_plan_keeps_its_causes(branch: Shell) -> None:
    """show prints the groups that plan printed."""
    planned = branch("plan --sandbox --base main --out plan.json")
    assert "Pending" in planned.out
    assert branch("show plan.json").out == planned.out


@pytest.mark.slow
def test_a_file_that_is_new(branch: Shell) -> None:
    """Everything in a file that the base did not have comes from this branch."""
    (branch.folder / "automation.yaml").rename(branch.folder / "other.yaml")
    assert set(causes(branch, "plan --sandbox -f other.yaml --base main").values()) == {"branch"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("plan --sandbox --base nope", 64, "'nope' is not a revision of this repository"),
        ("plan --sandbox --base=-x", 64, "'-x' is not a Git revision"),
    ],
)
def test_a_base_that_is_none(branch: Shell, line: str, code: int, told: str) -> None:
    """A base that can't be read ends the command before anything is asked of Glider."""
    ended = branch(f"{line} -o json")
    assert ended.code == code
    assert told in ended.err
    assert ended.json["errors"]


@pytest.mark.slow
def test_an_invalid_base(branch: Shell) -> None:
    """A base with problems names the revision in each place, and exits 3."""
    edit(branch, "bbb: {state: active}", "bbb: {state: on}")
    broken = commit(branch.folder)
    edit(branch, "bbb: {state: on}", "bbb: {state: active}")
    ended = branch(f"plan --sandbox --base {broken} -o json")
    assert (ended.code, ended.json["errors"][0]["file"]) == (3, f"{broken}:automation.yaml")
    assert f"the configuration at {broken} has 1 problem" in ended.err


def test_drift(shell: Shell) -> None:
    """It tells what moved from what was never applied, exits 2, and 0 once nothing is left; nothing is written."""
    first = shell("drift --sandbox")
    assert first.code == 2
    assert "pending  aaa" in first.out
    assert "declared paused, live active" in first.out
    assert first.out.endswith("Drift: 0 moved, 3 pending, 0 unverified, 1 held, 0 blocked. 0 as declared.\n")
    assert shell("drift --sandbox").out == first.out
    assert shell("apply --sandbox --auto-approve").code == 0
    held = shell("drift --sandbox -o json")
    assert (held.code, held.json["exit_reason"], held.json["changes"]) == (2, "changes", [])
    clean = shell("drift --sandbox --exclude ccc")
    assert clean.code == 0
    assert "No drift: live automation is as declared." in clean.out
    shell.write("other.yaml", "version: 1\nportfolios:\n  aaa: {state: active}\n")
    shell("apply --sandbox --auto-approve -f other.yaml --journal other.db")
    moved = shell("drift --sandbox --target aaa")
    assert (moved.code, "moved  aaa" in moved.out) == (2, True)
    assert "**Moved** (1)" in shell("drift --sandbox -o markdown").out
    assert causes(shell, "drift --sandbox") == {"aaa": "drift"}


def test_drift_that_can_not_be_known(shell: Shell) -> None:
    """A schedule that can't be read is unverified, not moved; --unverified skip leaves it out; errors win over 2."""
    shell.write("automation.yaml", "version: 1\nportfolios:\n  aaa: {state: active, offset: 1h, interval: 24h}\n")
    shown = shell("drift --sandbox")
    assert shown.code == 2
    assert "unverified  aaa  offset declared 1h, live ?" in shown.out
    assert shell("drift --sandbox --unverified skip").code == 0
    assert shell("drift --sandbox --unverified fail").code == 1
    shell.write("more.yaml", "version: 1\nportfolios:\n  nobody: {state: active, interval: 24h}\n")
    ended = shell("drift --sandbox -f automation.yaml -f more.yaml")
    assert ended.code == 1
    assert "1 portfolio blocked" in ended.err


def test_help_and_failures(shell: Shell) -> None:
    """The help has an example; a failing look for drift is a JSON document as any other."""
    assert "reconciler drift" in shell("drift --help").out
    ended = shell("drift --sandbox --target nobody -o json")
    assert (ended.code, ended.json["exit_reason"]) == (64, "usage")


def test_show_against(shell: Shell) -> None:
    """Two saved plans side by side: what appeared, vanished and changed, as text, JSON and Markdown."""
    shell("plan --sandbox --exclude ddd --out old.json")
    edit(shell, "Liquidity event", "Audit")
    shell("plan --sandbox --exclude bbb --out new.json")
    text = shell("show new.json --against old.json")
    assert text.code == 0
    assert text.out == (
        "  appeared  + start   ddd          every 24h, 1 run a day\n"
        "  vanished  > resume  bbb          paused by us\n"
        "  changed   = pause   aaa  Growth  note Liquidity event → Audit\n"
        "\n"
        "Compared: 1 appeared, 1 vanished, 1 changed, 1 the same.\n"
    )
    found = shell("show new.json --against old.json -o json").json
    assert found["summary"] == {"appeared": 1, "vanished": 1, "changed": 1, "same": 1}
    assert found["changed"][0]["differences"] == [{"fact": "note", "earlier": "Liquidity event", "later": "Audit"}]
    assert "**Vanished** (1)" in shell("show new.json --against old.json -o markdown").out
    assert "Both plans mean the same." in shell("show new.json --against new.json").out
    assert shell("show new.json --against automation.yaml").code == 3
