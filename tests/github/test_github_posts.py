"""One comment and one issue: found again, edited in place, never a second one, never somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.errors import GitHubError
from reconciler.github.address import Mark, mark_of
from reconciler.github.client import LONGEST_BODY, PostAction
from tests.github.fake import BOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.github.client import GitHub
    from tests.github.fake import FakeGitHub

COMMITS = ("1" * 40, "2" * 40)
MARK = Mark(use="a" * 32, by="1" * 16, run=10, attempt=1, did="plan", commit=COMMITS[0], plan="f" * 16)
OTHER = replace(MARK, use="b" * 32)


def test_a_comment_is_created_updated_and_left_alone(fake: FakeGitHub, client: GitHub) -> None:
    """The first post creates, the same again writes nothing, another text edits the same comment."""
    first = client.upsert_comment(7, mark=MARK, body="Plan: one")
    again = client.upsert_comment(7, mark=MARK, body="Plan: one")
    other = client.upsert_comment(7, mark=MARK, body="Plan: two")
    assert first is not None
    assert again is not None
    assert other is not None
    assert [first.action, again.action, other.action] == ["created", "unchanged", "updated"]
    assert first.url == again.url == other.url == fake.comments[0]["html_url"]
    assert [comment["body"] for comment in fake.comments] == [f"{MARK}\nPlan: two"]
    assert fake.writes() == [("POST", "/7/comments"), ("PATCH", f"/comments/{fake.comments[0]['id']}")]


def test_line_ends_are_no_difference(fake: FakeGitHub, client: GitHub) -> None:
    """GitHub may keep a text with other line ends and without the last one: that is nothing to write."""
    fake.comment(f"{MARK}\r\nPlan\r\n\r\none")
    posted = client.upsert_comment(7, mark=MARK, body="Plan\n\none\n")
    assert posted is not None
    assert posted.action is PostAction.UNCHANGED
    assert fake.writes() == []


def test_a_comment_that_need_not_be_is_only_updated(fake: FakeGitHub, client: GitHub) -> None:
    """Without create nothing appears, but what is there is kept true."""
    assert client.upsert_comment(7, mark=MARK, body="No changes", create=False) is None
    assert fake.comments == []
    fake.comment(f"{MARK}\nold")
    posted = client.upsert_comment(7, mark=MARK, body="No changes", create=False)
    assert posted is not None
    assert posted.action is PostAction.UPDATED


@pytest.mark.parametrize(
    ("login", "author", "body"),
    [
        (None, "mallory", f"{MARK}\nold"),
        (None, "github-actions", f"{MARK}\nold"),
        ("release-robot", "mallory", f"{MARK}\nold"),
        (None, BOT, f"{OTHER}\nold"),
        (None, BOT, f"A quote:\n{MARK}\nold"),
        (None, BOT, f"{MARK} and more\nold"),
        (None, BOT, ""),
    ],
)
def test_what_is_not_ours_is_left_alone(
    fake: FakeGitHub, client: GitHub, login: str | None, author: str, body: str
) -> None:
    """A stranger's comment with our marker, and ours with another one or with it elsewhere, is never edited."""
    fake.login = login
    theirs = dict(fake.comment(body, author=author))
    posted = client.upsert_comment(7, mark=MARK, body="new")
    assert posted is not None
    assert posted.action is PostAction.CREATED
    assert fake.comments[0] == theirs
    assert len(fake.comments) == 2


@pytest.mark.parametrize("login", [None, "release-robot", "Release-Robot"])
def test_whose_token_it_is(fake: FakeGitHub, client: GitHub, login: str | None) -> None:
    """A job's token is the bot of GitHub Actions, any other one is who GitHub says, in whatever case."""
    fake.login = login
    fake.comment(f"{MARK}\nold", author="release-robot" if login else BOT)
    posted = client.upsert_comment(7, mark=MARK, body="new")
    assert posted is not None
    assert posted.action is PostAction.UPDATED


def test_other_pull_requests_are_none_of_its_business(fake: FakeGitHub, client: GitHub) -> None:
    """The marker is looked for in the one pull request only."""
    fake.comment(f"{MARK}\nold", number=8)
    client.upsert_comment(7, mark=MARK, body="new")
    assert [(comment["number"], comment["body"]) for comment in fake.comments] == [
        (8, f"{MARK}\nold"),
        (7, f"{MARK}\nnew"),
    ]


def test_superseded_comments_go(fake: FakeGitHub, client: GitHub) -> None:
    """Of several of ours the oldest is edited and stays, the others are removed, and strangers' are not."""
    stranger = fake.comment(f"{MARK}\nmine", author="mallory")
    oldest = fake.comment(f"{MARK}\none")
    fake.comment(f"{MARK}\ntwo")
    fake.comment(f"{MARK}\nthree")
    fake.comments.reverse()
    posted = client.upsert_comment(7, mark=MARK, body="new")
    assert posted is not None
    assert posted.url == oldest["html_url"]
    assert {comment["id"]: comment["body"] for comment in fake.comments} == {
        stranger["id"]: f"{MARK}\nmine",
        oldest["id"]: f"{MARK}\nnew",
    }


def test_somebody_else_may_remove_first(fake: FakeGitHub, client: GitHub) -> None:
    """A superseded comment that has gone meanwhile is no failure; one that may not be removed is."""
    for text in ("one", "two"):
        fake.comment(f"{MARK}\n{text}")
    fake.answer(404, {"message": "Not Found"}, method="DELETE")
    posted = client.upsert_comment(7, mark=MARK, body="one")
    assert posted is not None
    assert posted.action is PostAction.UNCHANGED
    fake.answer(403, {"message": "Forbidden"}, method="DELETE")
    with pytest.raises(GitHubError, match="may not do this"):
        client.upsert_comment(7, mark=MARK, body="one")


@pytest.mark.parametrize("links", [True, False])
def test_ours_is_found_on_a_later_page(fake: FakeGitHub, client: GitHub, links: bool) -> None:
    """All pages are read, with links and without."""
    fake.links = links
    for number in range(250):
        fake.comment(f"talk {number}", author="maria")
    fake.comment(f"{MARK}\nold")
    posted = client.upsert_comment(7, mark=MARK, body="new")
    assert posted is not None
    assert posted.action is PostAction.UPDATED
    assert fake.requests.count(("GET", "/repos/team/fleet/issues/7/comments")) == 3


def test_an_issue_is_opened_updated_and_closed(fake: FakeGitHub, client: GitHub) -> None:
    """Drift opens one issue, keeps it true night after night, and closes it with a last word."""
    first = client.upsert_issue(mark=MARK, title="Drift", body="aaa", label="drift")
    again = client.upsert_issue(mark=MARK, title="Drift", body="aaa", label="drift")
    other = client.upsert_issue(mark=MARK, title="Drift", body="bbb", label="drift")
    assert [first.action, again.action, other.action] == ["created", "unchanged", "updated"]
    assert [(i["body"], i["labels"]) for i in fake.issues] == [(f"{MARK}\nbbb", [{"name": "drift"}])]
    closed = client.close_issue(mark=replace(MARK, run=11), body="As declared again.")
    assert closed is not None
    assert (closed.action, closed.url) == (PostAction.CLOSED, first.url)
    assert (fake.issues[0]["state"], fake.issues[0]["state_reason"]) == ("closed", "completed")
    assert [comment["body"] for comment in fake.comments] == ["As declared again."]
    assert client.close_issue(mark=MARK, body="As declared again.") is None
    assert client.upsert_issue(mark=MARK, title="Drift", body="ccc", label="drift").action is PostAction.CREATED
    assert len(fake.comments) == 1


def test_an_issue_without_its_label_is_found(fake: FakeGitHub, client: GitHub) -> None:
    """A person may take the label away; that opens no second issue, and does not put it back."""
    fake.issue(f"{MARK}\nold")
    posted = client.upsert_issue(mark=MARK, title="Drift", body="new", label="drift")
    assert posted.action is PostAction.UPDATED
    assert [(issue["body"], issue["labels"]) for issue in fake.issues] == [(f"{MARK}\nnew", [])]


def test_strangers_issues_and_pull_requests_are_left_alone(fake: FakeGitHub, client: GitHub) -> None:
    """An issue by somebody else and a pull request of ours may carry the marker: neither is touched."""
    fake.issue(f"{MARK}\nmine", author="mallory")
    fake.issue(f"{MARK}\npull", pull_request={"url": "x"})
    assert client.close_issue(mark=MARK, body="Done.") is None
    assert client.upsert_issue(mark=MARK, title="Drift", body="new", label=None).action is PostAction.CREATED
    assert [issue["body"] for issue in fake.issues[:2]] == [f"{MARK}\nmine", f"{MARK}\npull"]


def test_superseded_issues_are_closed(fake: FakeGitHub, client: GitHub) -> None:
    """Of several open issues the oldest is kept true, the others are closed as not planned."""
    for text in ("one", "two", "three"):
        fake.issue(f"{MARK}\n{text}")
    client.upsert_issue(mark=MARK, title="Drift", body="new", label=None)
    assert [(issue["state"], issue.get("state_reason")) for issue in fake.issues] == [
        ("open", None),
        ("closed", "not_planned"),
        ("closed", "not_planned"),
    ]


def test_a_close_whose_comment_fails_is_not_repeated(fake: FakeGitHub, client: GitHub) -> None:
    """The issue is closed first: where the last word can't be said, the next night finds nothing to close."""
    fake.issue(f"{MARK}\nold")
    fake.answer(403, {"message": "locked"}, method="POST")
    with pytest.raises(GitHubError):
        client.close_issue(mark=MARK, body="Done.")
    assert client.close_issue(mark=MARK, body="Done.") is None


def test_a_text_that_is_too_long_is_refused_before_it_is_sent(fake: FakeGitHub, client: GitHub) -> None:
    """GitHub's limit counts the marker too."""
    most = LONGEST_BODY - len(str(MARK)) - 1
    with pytest.raises(GitHubError, match="65537 characters"):
        client.upsert_comment(7, mark=MARK, body="x" * (most + 1))
    assert fake.requests == []
    assert client.upsert_comment(7, mark=MARK, body="x" * most) is not None


def test_two_environments_do_not_meet(fake: FakeGitHub, connect: Callable[..., GitHub]) -> None:
    """Each marker has a comment of its own."""
    client = connect()
    for mark in (MARK, OTHER, MARK, OTHER):
        client.upsert_comment(7, mark=mark, body="plan")
    assert [comment["body"] for comment in fake.comments] == [f"{MARK}\nplan", f"{OTHER}\nplan"]


def job(number: int, **other: object) -> Mark:
    """Return the mark of the same use, as another job than the first writes it."""
    return replace(MARK, by=f"{number}" * 16, **other)


def posted(client: GitHub, mark: Mark, body: str) -> str:
    """Return what became of a comment."""
    done = client.upsert_comment(7, mark=mark, body=body)
    assert done is not None
    return done.action


def shown(fake: FakeGitHub) -> list[str]:
    """Return the texts of the comments, without their marks."""
    return [one["body"].split("\n", 1)[1] for one in fake.comments]


def test_two_jobs_of_one_run_have_a_comment_each(fake: FakeGitHub, client: GitHub) -> None:
    """What another job of this run wrote stays, and the next run finds both, in whatever order its jobs end."""
    assert [posted(client, job(1), "one"), posted(client, job(2), "two")] == ["created", "created"]
    later = {"run": 11, "commit": COMMITS[1]}
    assert posted(client, job(2, **later), "two again") == posted(client, job(1, **later), "one again") == "updated"
    assert shown(fake) == ["one again", "two again"]


def test_an_apply_says_what_became_of_the_plan(fake: FakeGitHub, client: GitHub) -> None:
    """The job that applies goes on in the comment of the job that planned, and the next plan goes on in that."""
    posted(client, job(1), "plan")
    assert posted(client, job(2, did="apply"), "apply") == "updated"
    assert posted(client, job(1, run=11), "next plan") == "updated"
    assert shown(fake) == ["next plan"]


@pytest.mark.parametrize(
    ("again", "action"),
    [
        ({"run": 9}, "left"),
        ({"run": 9, "attempt": 5}, "left"),
        ({"run": 9, "by": "9" * 16}, "left"),
        ({"run": 9, "commit": ""}, "left"),
        ({"run": 9, "commit": COMMITS[1]}, "updated"),
        ({"run": 10}, "updated"),
        ({"run": 10, "attempt": 2}, "updated"),
        ({"run": 11}, "updated"),
    ],
    ids=str,
)
def test_an_old_run_that_is_repeated(fake: FakeGitHub, client: GitHub, again: dict[str, object], action: str) -> None:
    """A later run about another commit is not overwritten by an older one; a later look at the same commit may be."""
    fake.comment(f"{replace(MARK, commit=COMMITS[1])}\nof the later run")
    assert posted(client, replace(MARK, **again), "repeated") == action
    assert shown(fake) == ["of the later run" if action == "left" else "repeated"]


def test_a_mark_of_an_older_version_is_taken_over_once(fake: FakeGitHub, client: GitHub) -> None:
    """The use that looks at everything goes on in the comment of before; any other one does not."""
    old = "c" * 64
    fake.comment(f"<!-- glider-reconciler {old} -->\nold")
    assert posted(client, OTHER, "another use") == "created"
    assert posted(client, replace(MARK, earlier=old), "new") == "updated"
    assert posted(client, replace(MARK, earlier=old, run=11), "newer") == "updated"
    assert shown(fake) == ["newer", "another use"]


def test_a_saved_plan_goes_on_where_it_was_shown(fake: FakeGitHub, client: GitHub) -> None:
    """An apply of a plan file names no files: it knows the comment by the plan, if one alone shows that plan."""
    apply = replace(job(2, did="apply"), use="d" * 32)
    posted(client, MARK, "plan")
    assert posted(client, apply, "apply") == "updated"
    assert posted(client, replace(MARK, run=11), "plan again") == "updated"
    posted(client, replace(OTHER, run=11, by="3" * 16), "the same plan")
    assert posted(client, replace(apply, run=11), "apply again") == "created"
    assert shown(fake) == ["plan again", "the same plan", "apply again"]


def test_a_run_that_came_to_nothing_leaves_no_older_plan_as_it_is(fake: FakeGitHub, client: GitHub) -> None:
    """Whatever an input said this time, the job's one comment of before tells of it; what it is about stays known."""
    posted(client, MARK, "plan")
    failed = replace(MARK, use="d" * 32, run=11, plan="", alone=True)
    assert posted(client, replace(failed, use="e" * 32, by="9" * 16), "another job") == "created"
    assert posted(client, failed, "not planned") == "updated"
    assert posted(client, replace(MARK, run=12), "plan again") == "updated"
    assert shown(fake) == ["plan again", "another job"]


def test_what_an_app_wrote_is_found_again(fake: FakeGitHub, client: GitHub) -> None:
    """The token of a GitHub App may not ask who it is, but GraphQL says so; what the job's own token wrote counts."""
    fake.viewer = "deploy[bot]"
    assert [posted(client, replace(MARK, run=run), f"run {run}") for run in (10, 11)] == ["created", "updated"]
    assert [one["user"]["login"] for one in fake.comments] == ["deploy[bot]"]
    fake.comments.clear()
    fake.comment(f"{MARK}\nof the job's own token")
    assert posted(client, replace(MARK, run=11), "new") == "updated"


def test_another_bot_whose_name_can_not_be_known(fake: FakeGitHub, client: GitHub) -> None:
    """It may be somebody else: its post is left alone, and one sentence says what to do."""
    fake.comment(f"{MARK}\nof another bot", author="deploy[bot]")
    done = client.upsert_comment(7, mark=MARK, body="new")
    assert done is not None
    assert done.action is PostAction.CREATED
    assert "github.token" in done.doubt
    assert shown(fake) == ["of another bot", "new"]


def test_what_the_bot_of_actions_wrote_is_ours(fake: FakeGitHub, client: GitHub) -> None:
    """Whoever changes to a personal token goes on in the comment of before."""
    fake.login = "release-robot"
    fake.comment(f"{MARK}\nold")
    assert posted(client, replace(MARK, run=11), "new") == "updated"


def test_an_old_look_for_drift_that_is_repeated(fake: FakeGitHub, client: GitHub) -> None:
    """It neither closes nor opens what a later one, of other files, opened or closed."""
    drift = replace(MARK, did="drift")
    later, again = replace(drift, run=11, commit=COMMITS[1]), replace(drift, attempt=2)
    client.upsert_issue(mark=later, title="Drift", body="later", label="drift")
    closed = client.close_issue(mark=again, body="Fine.", label="drift")
    assert closed is not None
    assert closed.action is PostAction.LEFT
    client.close_issue(mark=replace(later, run=12), body="Fine.", label="drift")
    left = client.upsert_issue(mark=again, title="Drift", body="old", label="drift")
    assert left.action is PostAction.LEFT
    assert [(one["state"], mark_of(one["body"]).run) for one in fake.issues] == [("closed", 12)]  # type: ignore[union-attr]  # ours has a mark
    assert fake.issues[0]["body"].endswith("later")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Unable to create comment because issue is locked.", "conversation is locked"),
        ("Repository was archived so is read-only.", "is archived"),
        ("Resource protected by organization SAML enforcement.", "single sign-on"),
        ("Resource not accessible by integration", "pull-requests: write"),
    ],
)
def test_a_refusal_has_its_own_advice(fake: FakeGitHub, client: GitHub, message: str, said: str) -> None:
    """What no permission of the job would change is not told as a permission that is missing."""
    fake.answer(403, {"message": message}, method="POST")
    with pytest.raises(GitHubError) as refused:
        client.upsert_comment(7, mark=MARK, body="plan")
    told = f"{refused.value.summary} {refused.value.detail}"
    assert said in told
    assert ("pull-requests: write" in told) is (said == "pull-requests: write")
