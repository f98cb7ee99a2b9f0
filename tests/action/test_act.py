"""The example workflows, unchanged but for the base URL, as nektos act runs them: a runner of another make."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.journalreads import read_runs
from tests.action.act import Run, Team, act
from tests.action.test_action import CHANGED, CHANGED_FILES
from tests.github.fake import REPOSITORY, FakeGitHub, serving
from tests.postgres import USER, Proxy
from tests.process.support import NEVER_MS, glider, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(act() is None, reason="act is not there: `make lint-actions` installs it"),
]

ALL = ["aaa pause", "bbb update-schedule-interval", "ccc resume", "ddd start"]
"""The writes of the whole fleet, in their order."""


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    fake = FakeGitHub(reviewed={"production", "acme-eu", "acme-us"})
    live = {**CHANGED, "zzz": {"status": "archived"}}
    with glider(tmp_path, {"settings": {"readable_schedule": True}, "portfolios": live}) as served, serving(fake):
        made = Team(folder=tmp_path, glider=served, github=fake)
        made.write("README.md", "")
        made.git("init", "--quiet")
        made.commit()
        made.git("update-ref", "refs/remotes/origin/main", "HEAD")
        made.write("automation/automation.yaml", CHANGED_FILES)
        made.commit()
        try:
            yield made
        finally:
            for process in made.started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def pull_request(*, fork: bool = False) -> dict[str, Any]:
    """Return the payload of a pull request of what is checked out."""
    where = {"full_name": "stranger/fleet" if fork else REPOSITORY, "fork": fork}
    head = {"ref": "topic", "sha": "2" * 40, "repo": where}
    base = {"ref": "main", "sha": "1" * 40, "repo": {"full_name": REPOSITORY, "fork": False}}
    return {"number": 7, "pull_request": {"number": 7, "head": head, "base": base}}


def test_a_pull_request_gets_a_plan(team: Team) -> None:
    """Its files are checked and planned, one comment says so, and nothing is written."""
    run = team.run("plan.yml", "pull_request", **pull_request())
    assert run.good("Validate", "Plan"), run.log
    (comment,) = team.github.comments
    assert "4 changes" in comment["body"]
    assert team.glider.calls() == []


def test_checks_that_can_be_required(team: Team) -> None:
    """They end well, without a plan, for a pull request about something else, for a fork and in a merge queue."""
    assert team.run("plan.yml", "pull_request", **pull_request(fork=True)).good("Validate")
    team.git("update-ref", "refs/remotes/origin/main", "HEAD")
    team.write("README.md", "Words.")
    team.commit()
    assert team.run("plan.yml", "pull_request", **pull_request()).good("Validate")
    queue = {"head_ref": "refs/heads/gh-readonly-queue/main/pr-7", "base_ref": "refs/heads/main", "head_sha": "2" * 40}
    assert team.run("plan.yml", "merge_group", merge_group=queue).good("Validate")
    assert (team.github.comments, team.glider.calls(method="GET")) == ([], [])


def test_an_apply_of_what_was_approved_and_what_comes_after_it(team: Team) -> None:
    """Each change is written once, the next run finds nothing to do, and a lost cache is brought back."""
    run = team.run("apply.yml")
    assert run.good("Plan", "Approve", "Apply"), run.log
    assert team.glider.calls() == ALL
    again = team.run("apply.yml")
    assert again.good("Plan"), again.log
    assert "No journal at" in run.log
    assert "No journal at" not in again.log
    shutil.rmtree(team.kept / "cache")
    back = team.run("restore-journal.yml", "workflow_dispatch", inputs={"run-id": str(run.number)})
    assert back.good("Restore"), back.log
    restored = team.run("apply.yml")
    assert restored.good("Plan"), restored.log
    assert "No journal at" not in restored.log
    assert team.glider.calls() == ALL


def test_what_is_blocked_stops_nothing_else(team: Team) -> None:
    """The plan goes on to its approval, the apply does the rest and fails, and its journal is kept."""
    team.write("automation/blocked.yaml", "version: 1\nportfolios:\n  zzz: {state: active}\n")
    run = team.run("apply.yml")
    assert run.jobs == {"Plan": "succeeded", "Approve": "succeeded", "Apply": "failed"}, run.log
    assert team.glider.calls() == ALL
    assert any((team.kept / "cache").iterdir())


def test_an_environment_without_reviewers_approves_nothing(team: Team) -> None:
    """The run fails before the job that has the key, and says why."""
    team.github.reviewed.clear()
    run = team.run("apply.yml")
    assert run.jobs == {"Plan": "succeeded", "Approve": "failed"}
    assert team.glider.calls() == []


def test_drift_is_an_issue_as_long_as_it_lasts(team: Team) -> None:
    """The look by night fails and opens an issue; once live is as declared it closes it."""
    run = team.run("drift.yml", "schedule")
    assert run.jobs == {"Drift": "failed"}
    assert [issue["state"] for issue in team.github.issues] == ["open"]
    assert team.glider.run("apply", "-f", "repository/automation", "--auto-approve").returncode == 0
    run = team.run("drift.yml", "schedule")
    assert run.good("Drift"), run.log
    assert [issue["state"] for issue in team.github.issues] == ["closed"]
    pages = [path.read_text(encoding="utf-8") for path in team.kept.rglob("fleet.html")]
    assert ["What needs a person" in page for page in pages] == [True, True]


def test_an_apply_by_hand_of_one_portfolio(team: Team) -> None:
    """Only the target is planned and written."""
    run = team.run("manual-apply.yml", "workflow_dispatch", inputs={"target": "bbb"})
    assert run.good("Plan", "Approve", "Apply"), run.log
    assert team.glider.calls() == ["bbb update-schedule-interval"]


def test_from_halt_to_lift(team: Team) -> None:
    """By hand: what runs is paused, the file is an artifact and the page says to commit it; a merge begins nothing."""
    run = team.run("halt.yml", "workflow_dispatch", inputs={"reason": "Oracle"})
    assert run.good("Halt"), run.log
    assert "commit halts/20" in run.log
    paused = [call for call in team.glider.calls() if call.endswith(" pause")]
    assert paused == team.glider.calls() != []
    (file,) = team.kept.rglob("20*.json")
    team.write(f"halts/{file.name}", file.read_text(encoding="utf-8"))
    merged = team.run("apply.yml")
    assert not [call for call in team.glider.calls()[len(paused) :] if not call.endswith(" pause")], merged.log
    again = team.run(
        "halt.yml", "workflow_dispatch", inputs={"command": "lift", "halt": file.stem, "allow": "resume=9"}
    )
    assert again.good("Lift"), again.log
    assert {call for call in team.glider.calls()[len(paused) :] if call.endswith(" resume")}


def test_an_approval_by_fingerprint(team: Team) -> None:
    """A merge writes nothing; neither does a wrong fingerprint, nor the right one from somebody else."""
    merged = team.run("approve-by-fingerprint.yml")
    assert merged.good("Plan"), merged.log
    (right,) = {line.rpartition("=")[2].strip() for line in merged.lines if "set-output:: fingerprint=" in line}

    def approve(fingerprint: str, who: str) -> Run:
        return team.run(
            "approve-by-fingerprint.yml",
            "workflow_dispatch",
            env={"GITHUB_TRIGGERING_ACTOR": who},
            inputs={"fingerprint": fingerprint},
        )

    assert approve(right, "mallory").jobs == {"Plan": "failed"}
    assert approve("0" * 64, "octocat").jobs == {"Plan": "succeeded", "Apply": "failed"}
    assert team.glider.calls() == []
    assert approve(right, "octocat").good("Plan", "Apply")
    assert team.glider.calls() == ALL


def test_two_accounts(team: Team) -> None:
    """One that can't be planned stops itself alone; each applies its own files and keeps its own journal."""
    half = "version: 1\nportfolios:\n  {}: {{state: paused}}\n"
    team.write("accounts/acme-eu/automation.yaml", half.format("aaa"))
    team.write("accounts/acme-us/automation.yaml", half.format("bbb"))
    run = team.run("accounts.yml")
    assert run.process.returncode == 0, run.log
    assert sorted(team.glider.calls()) == ["aaa pause", "bbb pause"]
    assert sorted(path.name.split("+")[1] for path in (team.kept / "cache").iterdir()) == ["acme-eu", "acme-us"]
    team.write("accounts/acme-eu/automation.yaml", "version: 2\n")
    team.write("accounts/acme-us/automation.yaml", half.format("ccc") + "  bbb: {state: active}\n")
    run = team.run("accounts.yml")
    assert run.process.returncode != 0
    assert team.glider.calls("bbb") == ["bbb pause", "bbb resume"]


def test_a_journal_that_runners_share(team: Team, server: Server) -> None:
    """What one run wrote the next one knows, on another machine, without a cache; the password is in no log."""
    place, user = server.user("act-secret-1")
    given = {"variables": {"GLIDER_JOURNAL": place.text}, "password": "act-secret-1"}
    run = team.run("shared-journal.yml", **given)
    assert run.good("Plan", "Approve", "Apply"), run.log
    assert team.glider.calls() == ALL
    again = team.run("shared-journal.yml", **given)
    assert again.good("Plan"), again.log
    assert "act-secret-1" not in run.log + again.log
    runs = read_runs(replace(place, text=place.text.replace(f"user={user}", f"user={USER}")))
    assert [one.exit_reason for one in runs or ()] == ["ok"]
    assert not (team.kept / "cache").exists()
    wrong = team.run("shared-journal.yml", variables=given["variables"], password="act-secret-2")
    assert wrong.jobs == {"Plan": "failed"}
    assert "password authentication failed" in wrong.log


def test_a_journal_beside_the_job(team: Team, server: Server) -> None:
    """Without the variable it is the service of the job, which a server on a port of this machine stands in for."""
    place, _ = server.user("act-secret-3", "glider")
    name = place.text.partition("///")[2].partition("?")[0]
    team.changes["127.0.0.1/journal"] = f"127.0.0.1/{name}"
    with Proxy(server, loopback=True) as beside:
        for expected in (("Plan", "Approve", "Apply"), ("Plan",)):
            run = team.run("shared-journal.yml", password="act-secret-3", env={"PGPORT": beside.port})
            assert run.good(*expected), run.log
            assert "act-secret-3" not in run.log
    assert team.glider.calls() == ALL
    assert not (team.kept / "cache").exists()


def test_runners_that_apply_together(team: Team, server: Server) -> None:
    """Four jobs carry one plan out as one run, each write once, and each of them tells what became of the whole."""
    place, user = server.user("act-secret-4")
    owner = replace(place, text=place.text.replace(f"user={user}", f"user={USER}"))
    team.glider.misbehave({"kind": "latency", "operation": "pause", "ms": NEVER_MS})
    run = team.start("apply-together.yml", variables={"GLIDER_JOURNAL": place.text}, password="act-secret-4")
    until(lambda: [len(one.process.split(", ")) for one in read_runs(owner) or ()] == [4])
    assert team.glider.calls() == ALL[:1]
    team.glider.faults.clear()
    team.glider.release()
    run.ended()
    assert run.good("Plan", "Approve", *(f"Apply-{number}" for number in (1, 2, 3, 4))), run.log
    assert "act-secret-4" not in run.log
    assert team.glider.calls() == ALL
    assert [one.exit_reason for one in read_runs(owner) or ()] == ["ok"]
    assert {f"[apply-together/Apply-{number}]   ⚙  Summary - ### ✅ Apply: 4 done\n" for number in (1, 2, 3, 4)} <= {
        *run.lines
    }


SHARES = ("Read-1", "Read-2", "Read-3", "Read-4")


def test_a_fleet_that_is_read_in_shares(team: Team) -> None:
    """Each portfolio is read once, by the job of its share; what was approved is applied, and nothing is left to do."""
    run = team.run("fleet.yml")
    assert run.good(*SHARES, "Plan", "Approve", "Apply"), run.log
    assert team.glider.calls() == ALL
    reads = [call for call in team.glider.calls(method="GET") if call.endswith("status")]
    assert {i: reads[:4].count(f"{i} status") for i in ("aaa", "bbb", "ccc", "ddd")} == dict.fromkeys(
        ("aaa", "bbb", "ccc", "ddd"), 1
    )
    again = team.run("fleet.yml")
    assert again.good(*SHARES, "Plan"), again.log
    assert team.glider.calls() == ALL


def test_a_share_that_failed_is_read_again(team: Team) -> None:
    """Without it nobody is asked to approve and nothing is written; read again alone, it completes the plan."""
    team.glider.misbehave({"kind": "server_error", "status": 401, "operation": "read", "portfolio": "aaa"})
    run = team.run("fleet.yml")
    # Where one job of a matrix fails, act may say so of others, too.
    assert run.jobs.keys() == {*SHARES, "Plan"}, run.log
    assert (run.jobs["Read-2"], run.jobs["Plan"]) == ("failed", "failed")
    kept = sorted(path.name for path in (team.kept / str(run.number) / "artifacts").glob("live-*"))
    assert kept == ["live-1", "live-3", "live-4"]
    assert "Incomplete: 1 share is missing (2/4), so 1 portfolio was not read." in run.log
    assert team.glider.calls() == []
    read = len(team.glider.calls(method="GET"))
    again = team.run("fleet.yml", again="share:2")
    assert again.good("Read", "Plan", "Approve", "Apply"), again.log
    assert team.glider.calls() == ALL
    reads = [call for call in team.glider.calls(method="GET")[read:] if call.endswith("status")]
    assert reads[0] == "aaa status"
    assert "bbb update-schedule-interval" in team.glider.calls("bbb")


def test_a_portfolio_that_can_not_be_read_stops_no_share(team: Team) -> None:
    """Its job fails, but what it read is planned and applied; it is blocked alone."""
    team.glider.misbehave(*({"kind": "server_error", "operation": "read", "portfolio": "aaa"} for _ in range(20)))
    run = team.run("fleet.yml")
    assert run.jobs["Read-2"] == "failed"
    assert run.jobs["Plan"] == run.jobs["Approve"] == "succeeded", run.log
    assert team.glider.calls() == [call for call in ALL if not call.startswith("aaa")]


def test_a_fork_gets_a_plan_without_a_key(team: Team) -> None:
    """One job keeps what is live, another plans the fork's files from it and reads nothing."""
    kept = team.run("fork-plan.yml", "schedule")
    assert kept.good("Keep what is live"), kept.log
    read = team.glider.calls(method="GET")
    run = team.run("fork-plan.yml", "pull_request", **pull_request(fork=True))
    assert run.good("Plan of a fork"), run.log
    assert "Plan (automation): 4 changes" in run.log
    assert team.glider.calls(method="GET") == read
    assert team.github.requests == []


def stuck(team: Team) -> Run:
    """Return an apply whose third write, the resume, has reached Glider and is not answered."""
    team.glider.misbehave({"kind": "latency", "operation": "resume", "ms": NEVER_MS})
    run = team.start("apply.yml")
    until(lambda: "ccc resume" in team.glider.calls())
    return run


def go_on(team: Team) -> None:
    """Answer again, and let the next run do the rest."""
    team.glider.faults.clear()
    team.glider.release()
    run = team.run("apply.yml")
    assert run.good("Plan", "Approve", "Apply"), run.log
    assert team.glider.calls() == ALL


def test_a_cancelled_apply(team: Team) -> None:
    """The write in flight is settled, nothing more begins, the journal is kept, and the next run does the rest."""
    run = stuck(team)
    os.kill(run.program(), signal.SIGINT)
    team.glider.faults.clear()
    team.glider.release()
    assert run.ended() != 0
    assert run.jobs == {"Plan": "succeeded", "Approve": "succeeded", "Apply": "failed"}
    assert "set-output:: exit-reason=interrupted" in run.log
    assert team.glider.calls() == ALL[:3]
    go_on(team)


@pytest.mark.parametrize("runner_too", [False, True])
def test_a_killed_apply(team: Team, runner_too: bool) -> None:
    """The log holds what was done; the next run settles what was in flight, and writes nothing twice.

    A runner that is gone kept no journal, and the next run knows only what it reads.
    """
    run = stuck(team)
    program = run.program()
    until(lambda: "bbb" in run.log.partition("| done")[2])
    assert "\x1b" not in run.log.partition("| done")[2]
    if runner_too:
        os.killpg(run.process.pid, signal.SIGKILL)
    os.kill(program, signal.SIGKILL)
    run.ended()
    assert any((team.kept / "cache").iterdir()) is not runner_too
    go_on(team)
