"""``apply --approved``: what was reviewed is all that may run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.conftest import FILES

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

LINE = "apply --sandbox --approved approved.json"


def test_what_was_approved_runs(shell: Shell) -> None:
    """The same changes, planned anew, run without a prompt; once done, none is left, and that is said."""
    shell("plan --sandbox --out approved.json")
    assert shell(LINE).code == 0
    again = shell(LINE)
    assert again.code == 0
    assert "0 of 3 approved changes left to do; not planned any more: aaa, bbb, ddd" in again.err


def test_more_than_was_approved_writes_nothing(shell: Shell) -> None:
    """One change beyond the approval: exit 4, the difference by change, and live as it was."""
    shell("plan --sandbox --exclude ddd --out approved.json")
    before = shell("plan --sandbox -o json").json["fingerprint"]
    ended = shell(f"{LINE} -o json")
    assert (ended.code, ended.json["exit_reason"]) == (4, "stale")
    assert "ddd: start was not approved" in ended.err
    assert shell("plan --sandbox -o json").json["fingerprint"] == before


def test_another_change_of_the_same_portfolio(shell: Shell) -> None:
    """An approval of one interval is none of another."""
    shell("plan --sandbox --out approved.json")
    shell.write("automation.yaml", FILES.replace("interval: 24h", "interval: 6h"))
    ended = shell(LINE)
    assert ended.code == 4
    assert "ddd: start was approved otherwise: after interval 24h → 6h" in ended.err


def test_an_approval_that_was_edited(shell: Shell) -> None:
    """An approved plan is checked as any saved plan."""
    shell("plan --sandbox --out approved.json")
    path = shell.folder / "approved.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"verb": "pause"', '"verb": "resume"'), encoding="utf-8")
    assert shell(LINE).code == 3
    assert shell(f"{LINE} approved.json").code == 64
