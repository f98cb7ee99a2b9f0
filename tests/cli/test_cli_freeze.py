"""Freezes on the command line: what a plan shows of them, what an apply leaves, and how it is let through."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Ended, Shell

TEAMS = """
version: 1
portfolios:
  aaa: {name: Growth, state: paused, reason: Liquidity event, labels: {team: fx}}
  bbb: {state: active, labels: {team: fx}}
  ccc: {state: active}
  ddd: {state: active, interval: 24h, labels: {team: ops}}
"""


def at(hours: float) -> str:
    """Return a time so many hours from now, in a zone of its own."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
    return moment.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:45").tzinfo).isoformat()


def freeze(name: str, begins: float, ends: float, more: str = "") -> str:
    """Return one entry of the list."""
    return f"  - {{name: {name}, from: {at(begins)}, to: {at(ends)}{more}}}\n"


def declare(shell: Shell, *freezes: str, files: str = TEAMS) -> None:
    """Write the files of the portfolios, with these freezes."""
    shell.write("automation.yaml", f"{files}freeze:\n{''.join(freezes)}")


def outcomes(ended: Ended) -> dict[str, str]:
    """Return the outcome of each change of an apply."""
    return {one["id"]: one["outcome"] for one in ended.json["results"]}


def test_a_plan_shows_what_waits(shell: Shell) -> None:
    """It stands apart, with the freeze and its end; the counts stay what they are, and one line counts what waits."""
    declare(shell, freeze("audit", -1, 2), freeze("past", -9, -8), freeze("next", 30, 40))
    ended = shell("plan --sandbox")
    assert ended.code == 0
    assert "\nFrozen by audit until " in ended.out
    assert "\nFrozen: 2 changes wait, until " in ended.out
    assert "Plan: 1 to start, 1 to resume, 1 to pause, 0 to update. 0 unchanged, 1 held, 0 blocked.\n" in ended.out
    assert "let them through with --allow freeze=NAME" in ended.out
    assert "The freeze next holds from " in ended.out
    assert "past" not in ended.out
    found = shell("plan --sandbox -o json").json
    assert (found["summary"]["frozen"], found["summary"]["start"]) == (2, 1)
    of = {one["id"]: one for one in found["changes"]}
    assert (of["aaa"]["frozen"], of["aaa"]["freezes"]) == (None, [])
    assert of["bbb"]["frozen"]["by"] == ["audit"]
    assert of["bbb"]["frozen"]["until"].endswith("Z")
    assert [one["name"] for one in of["ddd"]["freezes"]] == ["audit", "next"]
    assert shell("plan --sandbox --detailed-exitcode").code == 2


def test_it_is_drift_all_the_same(shell: Shell) -> None:
    """What waits is not as declared."""
    declare(shell, freeze("audit", -1, 2))
    ended = shell("drift --sandbox --target bbb")
    assert (ended.code, "Drift: " in ended.out) == (2, True)


def test_an_apply_carries_out_the_rest(shell: Shell) -> None:
    """What waits is not attempted and exits 5 with what lets it through; with that it goes."""
    declare(shell, freeze("audit", -1, 2, ", select: team=fx"))
    ended = shell("apply --sandbox --auto-approve")
    assert ended.code == 5
    assert "error: 1 change waits, frozen by audit until " in ended.err
    assert "; to let it through, add --allow freeze=audit" in ended.err
    assert "1 change waits: when its freeze is over, the same command carries it out, and at once with " in ended.out
    assert "Apply: 2 done, 0 already done, 0 stale, 0 failed, 0 unknown, 1 not attempted." in ended.out
    again = shell("apply --sandbox --auto-approve -o json")
    assert (again.code, again.json["exit_reason"], outcomes(again)) == (5, "guard", {"bbb": "not_attempted"})
    assert again.json["results"][0]["frozen"]["by"] == ["audit"]
    let = shell("apply --sandbox --auto-approve --allow freeze=audit")
    assert (let.code, "rozen" in let.out) == (0, False)
    assert "Apply: 1 done," in let.out
    assert shell("plan --sandbox --detailed-exitcode").code == 0


def test_each_of_those_that_hold_must_be_allowed(shell: Shell) -> None:
    """Of two freezes that overlap, the later end is told, and letting one of them through is not enough."""
    declare(shell, freeze("audit", -1, 2, ", forbid: resume"), freeze("year-end", -2, 50), freeze("later", 50, 60))
    first = shell("apply --sandbox --auto-approve --target bbb")
    assert first.code == 5
    assert "add --allow freeze=year-end --allow freeze=audit" in first.err
    assert "frozen by year-end and audit" in first.err
    one = shell("apply --sandbox --auto-approve --target bbb --allow freeze=audit")
    assert (one.code, "add --allow freeze=year-end\n" in one.err) == (5, True)
    both = shell("apply --sandbox --auto-approve --target bbb --allow freeze=audit --allow freeze=year-end")
    assert both.code == 0


def test_a_name_that_lets_nothing_through(shell: Shell) -> None:
    """It is said, and does no harm; what is no name is wrong usage."""
    declare(shell, freeze("audit", -9, -8))
    ended = shell("apply --sandbox --auto-approve --allow freeze=audit")
    assert (ended.code, "note: --allow freeze=audit lets nothing through" in ended.err) == (0, True)
    for wrong in ("freeze=", "freeze", "audit", "resume=x"):
        ended = shell(f"apply --sandbox --auto-approve --allow {wrong}")
        assert (ended.code, "is not of the form resume=12 or freeze=NAME" in ended.err) == (64, True)


def test_what_failed_as_well_is_partly_done(shell: Shell) -> None:
    """A portfolio that is blocked, beside one that waits: 6."""
    declare(shell, freeze("audit", -1, 2), files=TEAMS + "  zzz: {state: active}\n")
    assert shell("apply --sandbox --auto-approve").code == 6


def test_what_waits_hinders_no_pause(shell: Shell) -> None:
    """More may wait than a guard lets through: the rest is carried out, and the guard holds after the freeze."""
    guarded = TEAMS.replace("portfolios:", "guards: {max_resume: 0, max_start: 0}\nportfolios:")
    declare(shell, freeze("audit", -1, 2), files=guarded)
    assert [one["verb"] for one in shell("plan --sandbox -o json").json["guards"]] == ["start", "resume"]
    assert shell("plan --sandbox --out plan.json").code == 0
    saved = shell("apply plan.json --sandbox")
    assert (saved.code, "the plan is over a guard, nothing was written" in saved.err) == (5, True)
    ended = shell("apply --sandbox --auto-approve -o json")
    assert (ended.code, outcomes(ended)) == (5, {"aaa": "done", "bbb": "not_attempted", "ddd": "not_attempted"})
    let = shell("apply --sandbox --auto-approve --allow freeze=audit --target bbb")
    assert (let.code, "allow it with --allow resume=1" in let.err) == (5, True)
    assert shell("sandbox advance 3h").code == 0
    after = shell("apply --sandbox --auto-approve")
    assert (after.code, "the plan is over a guard, nothing was written" in after.err) == (5, True)


class Terminal(io.StringIO):
    """A person who has typed an answer."""

    def isatty(self) -> bool:
        return True


def test_the_question_counts_what_will_go(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how many must wait; where all there is to do waits, there is no question."""
    declare(shell, freeze("audit", -1, 2))
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    ended = shell("apply --sandbox")
    assert (ended.code, "Apply this change, and leave 2 that must wait? Only 'yes' is accepted." in ended.err) == (
        5,
        True,
    )
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    ended = shell("apply --sandbox")
    assert (ended.code, "Only 'yes'" in ended.err) == (5, False)


@pytest.mark.parametrize(("begins", "code"), [(1, 5), (-1, 0)])
def test_a_saved_plan_knows_its_freezes(shell: Shell, begins: float, code: int) -> None:
    """Made before a freeze and applied in it, it waits; made in one and applied after it, it goes; without any file."""
    declare(shell, freeze("audit", begins, begins + 2))
    assert shell("plan --sandbox --out plan.json").code == 0
    (shell.folder / "automation.yaml").unlink()
    assert shell("sandbox advance 90m").code == 0
    ended = shell("apply plan.json --sandbox -o json")
    assert ended.code == code
    assert outcomes(ended)["aaa"] == "done"
    assert outcomes(ended)["bbb"] == ("not_attempted" if code else "done")
    if code:
        assert shell("sandbox advance 3h").code == 0
        later = shell("apply plan.json --sandbox -o json")
        assert (later.code, outcomes(later)["bbb"], outcomes(later)["aaa"]) == (0, "done", "already_done")


def test_an_approved_plan_obeys_the_files_of_now(shell: Shell) -> None:
    """A freeze that came after the approval holds, and its end brings nothing that was not approved."""
    shell.write("automation.yaml", TEAMS)
    assert shell("plan --sandbox --out plan.json").code == 0
    declare(shell, freeze("audit", -1, 2, ", forbid: [start]"))
    ended = shell("apply --sandbox --approved plan.json -o json")
    assert (ended.code, outcomes(ended)["ddd"], outcomes(ended)["bbb"]) == (5, "not_attempted", "done")


def test_explain_names_the_freezes(shell: Shell) -> None:
    """Each that a portfolio is in, with its time and place."""
    declare(shell, freeze("audit", -1, 2, ", forbid: start, select: [team=fx, team=ops]"))
    row = next(line for line in shell("explain ddd").out.splitlines() if "freeze.audit" in line)
    assert ": no start" in row
    assert "automation.yaml:9:" in row
    assert "freeze" not in shell("explain ccc").out


def test_a_cadence_and_what_follows_it(shell: Shell) -> None:
    """A strategy waits for a freeze of one of its portfolios, and a resume on its old cadence waits with it."""
    shell.write(
        "seed.yaml",
        "version: 1\n"
        "strategies: {S1: {frequency: daily}, S2: {frequency: daily}}\n"
        "portfolios:\n"
        "  aaa: {api: v2, status: active, strategy: S1}\n"
        "  bbb: {api: v2, status: active, strategy: S1}\n"
        "  ccc: {api: v2, status: active, strategy: S2}\n",
    )
    assert shell("sandbox load seed.yaml").code == 0
    files = (
        "version: 1\n"
        "guards: {max_reach: 100%}\n"
        "strategies: {S1: {schedule: daily}, S2: {schedule: daily}}\n"
        "portfolios:\n"
        "  aaa: {api: v2, state: active, labels: {team: fx}}\n"
        "  bbb: {api: v2, state: paused}\n"
        "  ccc: {api: v2, state: active}\n"
    )
    shell.write("automation.yaml", files)
    assert shell("apply --sandbox --auto-approve").code == 0
    changed = files.replace("daily", "weekly").replace("paused", "active")
    declare(shell, freeze("audit", -1, 2, ", forbid: update, select: team=fx"), files=changed)
    ended = shell("apply --sandbox --auto-approve -o json")
    assert outcomes(ended) == {"strategies/S1": "not_attempted", "strategies/S2": "done", "bbb": "not_attempted"}
    assert ended.code == 5
    assert {one["frozen"]["by"][0] for one in ended.json["results"] if one["frozen"]} == {"audit"}
    assert shell("apply --sandbox --auto-approve --allow freeze=audit").code == 0


def test_a_rebalance_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It exits 5 with the freeze and what lets it through, and asks nothing; others run; with --allow it runs."""
    shell.write(
        "seed.yaml",
        "version: 1\nportfolios:\n  aaa: {status: active, interval: 24h}\n  bbb: {status: active, interval: 24h}\n",
    )
    assert shell("sandbox load seed.yaml").code == 0
    files = "version: 1\nportfolios:\n  aaa: {state: active, labels: {team: fx}}\n  bbb: {state: active}\n"
    declare(shell, freeze("audit", -1, 2, ", select: team=fx, forbid: rebalance"), files=files)
    ended = shell("rebalance aaa --sandbox --auto-approve -o json")
    assert (ended.code, ended.json["exit_reason"]) == (5, "guard")
    (result,) = ended.json["results"]
    assert result["outcome"] == "refused"
    assert result["detail"].startswith("frozen by audit until ")
    assert result["detail"].endswith("; to let it through, add --allow freeze=audit")
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    asked = shell("rebalance aaa --sandbox")
    assert (asked.code, "not run: frozen by audit" in asked.err, "Only 'yes'" in asked.err) == (5, True, False)
    assert shell("rebalance aaa bbb --sandbox --auto-approve").code == 6
    assert shell("rebalance aaa --sandbox --auto-approve --allow freeze=audit").code == 0
    ended = shell("rebalance aaa --sandbox --auto-approve --allow resume=3")
    assert (ended.code, "freeze=NAME is all that it takes" in ended.err) == (64, True)


def test_a_rebalance_of_what_no_file_declares(shell: Shell) -> None:
    """A freeze of everything forbids it, one of a selection does not."""
    declare(
        shell, freeze("audit", -1, 2, ", select: team=fx"), files="version: 1\nportfolios: {zzz: {state: paused}}\n"
    )
    assert shell("rebalance aaa --sandbox --auto-approve").code == 0
    declare(shell, freeze("audit", -1, 2), files="version: 1\nportfolios: {zzz: {state: paused}}\n")
    assert shell("rebalance ccc --although-paused ccc --sandbox --auto-approve").code == 5
