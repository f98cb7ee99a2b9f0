"""What the action posts on GitHub: one comment for a pull request, one issue for drift, a warning where it can not."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.cli.action_inputs import Command, Inputs
from reconciler.cli.action_posts import has_something_to_say, post
from reconciler.core.errors import ExitReason
from reconciler.core.model import Cadence
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.render.ending import Ending, Found
from reconciler.render.github import ActionRun
from tests.action import events
from tests.action.commands import Level
from tests.action.test_action import CHANGED, CHANGED_FILES, INVALID_FILES, SAME, SAME_FILES
from tests.action.values import Status
from tests.github.fake import REPOSITORY, TOKEN, FakeGitHub, serving
from tests.support import cadence_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.action.conftest import Checkout


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    fake = FakeGitHub()
    with serving(fake):
        yield fake


def there(event: events.Event, github: FakeGitHub) -> events.Event:
    """Return the event as the fake GitHub would send it."""
    return event.having(api_url=github.url, repository=REPOSITORY, token=TOKEN)


def test_one_comment_that_is_kept_up_to_date(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """A second plan edits the comment of the first; another use has its own."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    assert made("plan", event=event, comment="true").status is Status.SUCCESS
    assert len(github.comments) == 1
    first = github.comments[0]["body"]
    assert events.HEAD_SHA[:7] in first
    made.write("automation.yaml", SAME_FILES)
    made("plan", event=event, comment="true")
    assert len(github.comments) == 1
    assert github.comments[0]["body"] != first
    made("plan", event=event, comment="true", environment="staging")
    assert len(github.comments) == 2


@pytest.mark.parametrize("event", [events.push(), events.schedule(), events.workflow_dispatch()], ids=lambda e: e.name)
def test_no_pull_request_no_comment(checkout: Callable[..., Checkout], github: FakeGitHub, event: events.Event) -> None:
    """Where there is no pull request nothing is asked of GitHub."""
    made = checkout(CHANGED, CHANGED_FILES)
    assert made("plan", event=there(event, github), comment="true").status is Status.SUCCESS
    assert github.requests == []


@pytest.mark.parametrize(
    ("files", "comments"), [(CHANGED_FILES, 1), (SAME_FILES, 0), (INVALID_FILES, 1)], ids=["changes", "none", "invalid"]
)
def test_changes_only(checkout: Callable[..., Checkout], github: FakeGitHub, files: str, comments: int) -> None:
    """`changes-only` says nothing of an empty plan; a change and an error it does say."""
    made = checkout(SAME if files == SAME_FILES else CHANGED, files)
    made("plan", event=there(events.pull_request(), github), comment="changes-only")
    assert len(github.comments) == comments


def test_a_strategys_change_alone_is_a_change() -> None:
    """`changes-only` says something of a plan that changes nothing but a cadence."""
    nothing = build_plan(Plan(base_url="https://api.glider.fi", created_ms=0), {}, {}, Memory())
    changed = replace(nothing, changes=(cadence_change("S1", Cadence.DAILY, Cadence.HOURLY),))
    assert has_something_to_say(Ending(reason=ExitReason.OK, found=Found(command="plan", plan=changed)))
    assert not has_something_to_say(Ending(reason=ExitReason.OK, found=Found(command="plan", plan=nothing)))


def test_a_strangers_comment_is_left_alone(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """A comment with our marker that somebody else wrote is not ours."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    made("plan", event=event, comment="true")
    forged = github.comment(github.comments.pop()["body"].splitlines()[0] + "\nLGTM", author="mallory")
    made("plan", event=event, comment="true")
    assert [one["user"]["login"] for one in github.comments] == ["mallory", "github-actions[bot]"]
    assert forged["body"].endswith("LGTM")


@pytest.mark.parametrize("fork", [False, True])
def test_a_token_that_may_not_write_is_a_warning(
    checkout: Callable[..., Checkout], github: FakeGitHub, *, fork: bool
) -> None:
    """A comment that can't be made costs a warning with the repair, and not the step."""
    github.may_write = False
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(fork=fork), github)
    job = made("plan", event=event, comment="true")
    assert job.status is Status.SUCCESS, job.log
    warnings = [note.message for note in job.annotations if note.level is Level.WARNING]
    assert any("pull-requests: write" in warning for warning in warnings), warnings


@pytest.mark.parametrize("text", ['{"client_payload": ' + '{"a": ' * 5000 + "1" + "}" * 5001, "{", "[]", "\ufffe"])
def test_an_event_that_can_not_be_read_costs_no_step(tmp_path: Path, text: str) -> None:
    """A dispatch may carry a payload nested as deep as its sender likes: after an apply, that is no error of ours."""
    (tmp_path / "event.json").write_text(text, "utf-16" if text == "\ufffe" else "utf-8")
    ending = Ending(reason=ExitReason.OK, found=Found(command="apply"))
    environ = {"GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    assert post(ending, Inputs(command=Command.APPLY), environ, ActionRun(at_ms=0)) == ()


def test_an_apply_that_failed_to_comment_is_still_an_apply(
    checkout: Callable[..., Checkout], github: FakeGitHub
) -> None:
    """GitHub refuses every call: what was applied is reported as applied, with a warning."""
    github.answer(404, times=50)
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    job = made("apply", event=event, comment="true", auto_approve="true")
    assert (job.status, job.outputs["exit-code"]) == (Status.SUCCESS, "0")
    assert [note.level for note in job.annotations] == [Level.WARNING]
    assert len(made.glider.calls()) == 4


def test_the_drift_issue(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """Drift opens an issue, more drift edits it, an error leaves it, and its end closes it."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.schedule(), github)
    first = made("drift", event=event, issue="true", fail_on="drift")
    assert first.status is Status.FAILURE
    assert [(one["state"], len(one["labels"])) for one in github.issues] == [("open", 1)]
    made.write("automation.yaml", INVALID_FILES)
    made("drift", event=event, issue="true")
    assert github.issues[0]["state"] == "open"
    made.write("automation.yaml", CHANGED_FILES)
    made.glider.run("apply", "--auto-approve")
    last = made("drift", event=event, issue="true", fail_on="drift")
    assert last.status is Status.SUCCESS, last.log
    assert [one["state"] for one in github.issues] == ["closed"]
    assert "as declared" in github.comments[-1]["body"]


def test_the_drift_issue_tells_what_is_overdue(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """One that Glider no longer runs is all that differs; the issue names whom to ask, and ends with it."""
    live = {"aaa": {"status": "active", "interval": "24h", "started": "30d", "stalled": "9d"}}
    files = "version: 1\nportfolios:\n  aaa: {state: active, owner: fx-desk}\n"
    made, event = checkout(live, files), there(events.schedule(), github)
    made("drift", event=event, issue="true")
    (issue,) = github.issues
    assert (issue["state"], "| overdue by " in issue["body"], "owner fx-desk" in issue["body"]) == ("open", True, True)
    made.write("automation.yaml", files.replace("state: active", "state: paused"))
    made.glider.run("apply", "--auto-approve")
    made("drift", event=event, issue="true")
    assert github.issues[0]["state"] == "closed"


OTHER_FILES = "version: 1\nportfolios:\n  aaa: {state: active, interval: 24h}\n"
"""Nothing changes in a fleet of these, beside one of :data:`CHANGED_FILES`."""


def shown(github: FakeGitHub) -> list[str]:
    """Return the heads of the comments."""
    return [one["body"].splitlines()[1] for one in github.comments]


def test_two_fleets_of_a_matrix_have_a_comment_each(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """A fleet without changes does not overwrite the changes of another one, and says which one it is."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    made.write("calm.yaml", OTHER_FILES)
    made.write("team/automation.yaml", OTHER_FILES)
    for _ in range(2):
        made("plan", event=event, comment="true", config="automation.yaml", matrix={"config": "automation.yaml"})
        made("plan", event=event, comment="true", config="calm.yaml", matrix={"config": "calm.yaml"})
        made("plan", event=event, comment="true", working_directory="team")
    assert shown(github) == [
        "### ⚠️ Plan (automation.yaml): 4 changes",
        "### ✅ Plan (calm.yaml): no changes",
        "### ✅ Plan (team): no changes",
    ]


def test_jobs_that_only_their_secrets_tell_apart(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """The leg of a matrix, or the job, tells them apart; a narrower look is one of its own."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    for _ in range(2):
        made("plan", event=event, comment="true", matrix={"account": "eu"})
        made("plan", event=event, comment="true", matrix={"account": "us"})
        made("plan", event=event.having(job="another"), comment="true")
        made("plan", event=event, comment="true", target="aaa")
        event = event.having(run_id="1002")
    assert [head.partition(":")[0] for head in shown(github)] == ["### ⚠️ Plan"] * 3 + ["### 📋 Plan (only aaa)"]


def test_the_apply_of_a_plan_file_goes_on_in_its_comment(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """It names no files and no targets, which are the plan's; the next plan finds the comment all the same."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    chosen = {"config": "automation.yaml", "target": "aaa bbb"}
    made("plan", event=event, comment="true", plan_file="plan.json", **chosen)
    made("apply", event=event.having(job="apply"), comment="true", plan_file="plan.json")
    assert shown(github) == ["### ✅ Apply: 2 done"]
    made("plan", event=event.having(run_id="1002"), comment="true", **chosen)
    assert shown(github) == ["### ✅ Plan (automation.yaml, only aaa bbb): no changes"]


@pytest.mark.parametrize("wrong", [{"fail_on": "drfit"}, {"parallelism": "all"}, {"auto_approve": "true"}])
def test_a_wrong_input_leaves_no_older_plan_as_if_it_were_current(
    checkout: Callable[..., Checkout], github: FakeGitHub, wrong: dict[str, str]
) -> None:
    """The comment of the push before tells that this commit could not be planned, and why; where there is none, none is
    made."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    made("plan", event=event, comment="true", **wrong)
    assert github.comments == []
    made("plan", event=event, comment="true")
    job = made("plan", event=event.having(run_id="1002"), comment="true", **wrong)
    assert job.exit == 64
    assert shown(github) == ["### ❌ Plan: wrong usage"]
    body = github.comments[0]["body"]
    assert "This commit could not be planned" in body
    assert next(iter(wrong)).replace("_", "-") in body
    assert "4 changes" not in body


def test_a_broken_file_leaves_no_older_plan_as_if_it_were_current(
    checkout: Callable[..., Checkout], github: FakeGitHub
) -> None:
    """Not under other names either: the job's one comment is about what it came to last."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    made("plan", event=event, comment="true", config="automation.yaml")
    made("plan", event=event.having(run_id="1002"), comment="true", config="automatoin.yaml")
    assert shown(github) == ["### ❌ Plan (automatoin.yaml): the files or the plan are invalid"]
    assert "This commit could not be planned" in github.comments[0]["body"]


def test_an_old_run_that_is_repeated_overwrites_nothing(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """A later run about another commit has written: the comment stays, and the log says so once."""
    made = checkout(CHANGED, CHANGED_FILES)
    later = there(events.pull_request(head="4" * 40), github).having(run_id="1002")
    made("plan", event=later, comment="true")
    before = github.comments[0]["body"]
    made.write("automation.yaml", SAME_FILES)
    job = made("plan", event=there(events.pull_request(), github).having(run_attempt="2"), comment="true")
    assert github.comments[0]["body"] == before
    assert [note.message for note in job.annotations if "a later run wrote it" in note.message]
    assert job.status is Status.SUCCESS


@pytest.mark.parametrize(
    ("event", "given"),
    [
        (events.merge_group(), ""),
        (events.workflow_run(7), ""),
        (events.issue_comment(), ""),
        (events.workflow_dispatch(), "7"),
        (events.workflow_dispatch(**{"pull-request": "7"}), ""),
        (events.workflow_run(8, 9), "7"),
        (events.push(), "7"),
        (events.pull_request(number=8), "7"),
    ],
    ids=lambda value: value.name if isinstance(value, events.Event) else value or "none",
)
def test_which_pull_request_it_is(
    checkout: Callable[..., Checkout], github: FakeGitHub, event: events.Event, given: str
) -> None:
    """The input says it, else the event, whatever its kind."""
    made = checkout(CHANGED, CHANGED_FILES)
    job = made("plan", event=there(event, github), comment="true", pull_request=given)
    assert [one["number"] for one in github.comments] == [7], job.log


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (events.workflow_run(), True),
        (events.workflow_run(7, 8), True),
        (events.workflow_run(by="push"), False),
        (events.issue_comment(pull=False), False),
    ],
)
def test_which_pull_request_it_is_can_not_be_known(
    checkout: Callable[..., Checkout], github: FakeGitHub, event: events.Event, *, said: bool
) -> None:
    """What is about a pull request and does not tell which has one sentence; what is about none has none."""
    made = checkout(CHANGED, CHANGED_FILES)
    job = made("plan", event=there(event, github), comment="true")
    assert github.comments == []
    assert any("`pull-request`" in note.message for note in job.annotations) is said


def test_another_repositorys_number_is_none_of_ours(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """A workflow that ran for a fork's own pull request may name that one: the number is another thing here."""
    event = there(events.workflow_run(7), github)
    event.payload["workflow_run"]["pull_requests"][0]["base"]["repo"]["id"] = 1
    checkout(CHANGED, CHANGED_FILES)("plan", event=event, comment="true")
    assert github.comments == []


@pytest.mark.parametrize("number", ["#7", "0", "seven", "7 8", "1" * 30])
def test_a_pull_request_is_a_number(checkout: Callable[..., Checkout], number: str) -> None:
    """Anything else is an error that names the input."""
    job = checkout(SAME, SAME_FILES)("plan", pull_request=number)
    assert job.exit == 64
    assert any("`pull-request`" in note.message for note in job.annotations)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, with an author and without the settings of this machine."""
    identity = {f"GIT_{who}_{what}": "t@t.t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    ran = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


@pytest.mark.parametrize("merged", [False, True])
def test_the_commit_of_the_checkout(checkout: Callable[..., Checkout], github: FakeGitHub, *, merged: bool) -> None:
    """Comment and summary name what was checked out, wherever the event would have led; of a merge also what it merges,
    and both say when and by which run."""
    made = checkout(CHANGED, CHANGED_FILES)
    git(made.workspace, "init", "-q")
    git(made.workspace, "commit", "-q", "--allow-empty", "-m", "head")
    head = git(made.workspace, "rev-parse", "HEAD")
    event = there(events.pull_request(merge=head if merged else events.MERGE_SHA), github)
    job = made("plan", event=event, comment="true")
    for page in (github.comments[0]["body"], job.summary):
        assert f"[`{head[:12]}`](https://github.com/team/fleet/commit/{head})" in page
        assert (events.HEAD_SHA[:12] in page) is merged
        assert events.MERGE_SHA[:12] not in page
        assert "run [7](https://github.com/team/fleet/actions/runs/1001)" in page
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", page)


@pytest.mark.parametrize("lost", ["folder", "disk"])
def test_a_summary_that_can_not_be_written(checkout: Callable[..., Checkout], github: FakeGitHub, lost: str) -> None:
    """After an apply that is a warning: it stays an apply, its outputs are there, and the comment is made."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    path = "/dev/full" if lost == "disk" else str(made.workspace / "gone" / "summary")
    job = made("apply", event=event, comment="true", auto_approve="true", summary=path)
    assert (job.exit, job.outputs["exit-code"], job.outputs["pause"]) == (0, "0", "1"), job.log
    assert any("summary" in note.message for note in job.annotations if note.level is Level.WARNING)
    assert shown(github) == ["### ✅ Apply: 4 done"]


def test_a_clean_fleet_closes_no_other_fleets_issue(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """Neither another fleet, nor a narrower look, nor another job without drift closes the issue of a drifting one."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.schedule(), github)
    made.write("calm.yaml", OTHER_FILES)
    made("drift", event=event, issue="true", config="automation.yaml")
    made("drift", event=event, issue="true", config="calm.yaml")
    made.write("automation.yaml", OTHER_FILES)
    made("drift", event=event, issue="true", config="automation.yaml", target="aaa")
    made("drift", event=event.having(job="another"), issue="true", config="automation.yaml")
    assert [(one["state"], one["title"]) for one in github.issues] == [
        ("open", "Drift of portfolio automation (automation.yaml)")
    ]
    made("drift", event=event.having(run_id="1002"), issue="true", config="automation.yaml")
    assert [one["state"] for one in github.issues] == ["closed"]


def test_an_app_keeps_one_comment(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """With the token of a GitHub App the second plan finds what the first wrote."""
    github.viewer = "deploy[bot]"
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    for run in ("1001", "1002"):
        job = made("plan", event=event.having(run_id=run), comment="true")
        assert [note for note in job.annotations if note.level is Level.WARNING and "mark" in note.message] == []
    assert [one["user"]["login"] for one in github.comments] == ["deploy[bot]"]


def test_a_locked_conversation_has_its_own_advice(checkout: Callable[..., Checkout], github: FakeGitHub) -> None:
    """No permission would help there, so none is asked for."""
    github.answer(403, {"message": "Unable to create comment because issue is locked."}, method="POST")
    job = checkout(CHANGED, CHANGED_FILES)("plan", event=there(events.pull_request(), github), comment="true")
    (warning,) = [note.message for note in job.annotations if "locked" in note.message]
    assert "Unlock it" in warning
    assert "permissions" not in warning
    assert job.status is Status.SUCCESS
