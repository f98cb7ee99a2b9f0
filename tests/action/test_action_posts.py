"""What the action posts on GitHub: one comment for a pull request, one issue for drift, a warning where it can not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.cli.action import has_something_to_say, post
from reconciler.cli.action_inputs import Command, Inputs
from reconciler.core.errors import ExitReason
from reconciler.core.model import Cadence
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.render.ending import Ending, Found
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
    """A second plan edits the comment of the first; the same plan again writes nothing; another use has its own."""
    made, event = checkout(CHANGED, CHANGED_FILES), there(events.pull_request(), github)
    assert made("plan", event=event, comment="true").status is Status.SUCCESS
    assert len(github.comments) == 1
    first = github.comments[0]["body"]
    assert events.HEAD_SHA[:7] in first
    made.write("automation.yaml", SAME_FILES)
    made("plan", event=event, comment="true")
    assert len(github.comments) == 1
    assert github.comments[0]["body"] != first
    before = len(github.writes())
    made("plan", event=event, comment="true")
    assert len(github.writes()) == before
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
    assert post(ending, Inputs(command=Command.APPLY), {"GITHUB_EVENT_PATH": str(tmp_path / "event.json")}) == ()


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
