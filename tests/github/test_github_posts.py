"""One comment and one issue: found again, edited in place, never a second one, never somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.core.errors import GitHubError
from reconciler.github.client import LONGEST_BODY, PostAction
from tests.github.fake import BOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.github.client import GitHub
    from tests.github.fake import FakeGitHub

MARKER = "<!-- glider-reconciler: ci/production -->"
OTHER = "<!-- glider-reconciler: ci/staging -->"


def test_a_comment_is_created_updated_and_left_alone(fake: FakeGitHub, client: GitHub) -> None:
    """The first post creates, the same again writes nothing, another text edits the same comment."""
    first = client.upsert_comment(7, marker=MARKER, body="Plan: one")
    again = client.upsert_comment(7, marker=MARKER, body=f"{MARKER}\nPlan: one")
    other = client.upsert_comment(7, marker=MARKER, body="Plan: two")
    assert first is not None
    assert again is not None
    assert other is not None
    assert [first.action, again.action, other.action] == ["created", "unchanged", "updated"]
    assert first.url == again.url == other.url == fake.comments[0]["html_url"]
    assert [comment["body"] for comment in fake.comments] == [f"{MARKER}\nPlan: two"]
    assert fake.writes() == [("POST", "/7/comments"), ("PATCH", f"/comments/{fake.comments[0]['id']}")]


def test_line_ends_are_no_difference(fake: FakeGitHub, client: GitHub) -> None:
    """GitHub may keep a text with other line ends and without the last one: that is nothing to write."""
    fake.comment(f"{MARKER}\r\nPlan\r\n\r\none")
    posted = client.upsert_comment(7, marker=MARKER, body="Plan\n\none\n")
    assert posted is not None
    assert posted.action is PostAction.UNCHANGED
    assert fake.writes() == []


def test_a_comment_that_need_not_be_is_only_updated(fake: FakeGitHub, client: GitHub) -> None:
    """Without create nothing appears, but what is there is kept true."""
    assert client.upsert_comment(7, marker=MARKER, body="No changes", create=False) is None
    assert fake.comments == []
    fake.comment(f"{MARKER}\nold")
    posted = client.upsert_comment(7, marker=MARKER, body="No changes", create=False)
    assert posted is not None
    assert posted.action is PostAction.UPDATED


@pytest.mark.parametrize(
    ("login", "author", "body"),
    [
        (None, "mallory", f"{MARKER}\nold"),
        (None, "github-actions", f"{MARKER}\nold"),
        ("release-robot", BOT, f"{MARKER}\nold"),
        ("release-robot", "mallory", f"{MARKER}\nold"),
        (None, BOT, f"{OTHER}\nold"),
        (None, BOT, f"A quote:\n{MARKER}\nold"),
        (None, BOT, f"{MARKER} and more\nold"),
        (None, BOT, ""),
    ],
)
def test_what_is_not_ours_is_left_alone(
    fake: FakeGitHub, client: GitHub, login: str | None, author: str, body: str
) -> None:
    """A stranger's comment with our marker, and ours with another one or with it elsewhere, is never edited."""
    fake.login = login
    theirs = dict(fake.comment(body, author=author))
    posted = client.upsert_comment(7, marker=MARKER, body="new")
    assert posted is not None
    assert posted.action is PostAction.CREATED
    assert fake.comments[0] == theirs
    assert len(fake.comments) == 2


@pytest.mark.parametrize("login", [None, "release-robot", "Release-Robot"])
def test_whose_token_it_is(fake: FakeGitHub, client: GitHub, login: str | None) -> None:
    """A job's token is the bot of GitHub Actions, any other one is who GitHub says, in whatever case."""
    fake.login = login
    fake.comment(f"{MARKER}\nold", author="release-robot" if login else BOT)
    posted = client.upsert_comment(7, marker=MARKER, body="new")
    assert posted is not None
    assert posted.action is PostAction.UPDATED


def test_other_pull_requests_are_none_of_its_business(fake: FakeGitHub, client: GitHub) -> None:
    """The marker is looked for in the one pull request only."""
    fake.comment(f"{MARKER}\nold", number=8)
    client.upsert_comment(7, marker=MARKER, body="new")
    assert [(comment["number"], comment["body"]) for comment in fake.comments] == [
        (8, f"{MARKER}\nold"),
        (7, f"{MARKER}\nnew"),
    ]


def test_superseded_comments_go(fake: FakeGitHub, client: GitHub) -> None:
    """Of several of ours the oldest is edited and stays, the others are removed, and strangers' are not."""
    stranger = fake.comment(f"{MARKER}\nmine", author="mallory")
    oldest = fake.comment(f"{MARKER}\none")
    fake.comment(f"{MARKER}\ntwo")
    fake.comment(f"{MARKER}\nthree")
    fake.comments.reverse()
    posted = client.upsert_comment(7, marker=MARKER, body="new")
    assert posted is not None
    assert posted.url == oldest["html_url"]
    assert {comment["id"]: comment["body"] for comment in fake.comments} == {
        stranger["id"]: f"{MARKER}\nmine",
        oldest["id"]: f"{MARKER}\nnew",
    }


def test_somebody_else_may_remove_first(fake: FakeGitHub, client: GitHub) -> None:
    """A superseded comment that has gone meanwhile is no failure; one that may not be removed is."""
    for text in ("one", "two"):
        fake.comment(f"{MARKER}\n{text}")
    fake.answer(404, {"message": "Not Found"}, method="DELETE")
    posted = client.upsert_comment(7, marker=MARKER, body="one")
    assert posted is not None
    assert posted.action is PostAction.UNCHANGED
    fake.answer(403, {"message": "Forbidden"}, method="DELETE")
    with pytest.raises(GitHubError, match="may not do this"):
        client.upsert_comment(7, marker=MARKER, body="one")


@pytest.mark.parametrize("links", [True, False])
def test_ours_is_found_on_a_later_page(fake: FakeGitHub, client: GitHub, links: bool) -> None:
    """All pages are read, with links and without."""
    fake.links = links
    for number in range(250):
        fake.comment(f"talk {number}", author="maria")
    fake.comment(f"{MARKER}\nold")
    posted = client.upsert_comment(7, marker=MARKER, body="new")
    assert posted is not None
    assert posted.action is PostAction.UPDATED
    assert fake.requests.count(("GET", "/repos/team/fleet/issues/7/comments")) == 3


def test_an_issue_is_opened_updated_and_closed(fake: FakeGitHub, client: GitHub) -> None:
    """Drift opens one issue, keeps it true night after night, and closes it with a last word."""
    first = client.upsert_issue(marker=MARKER, title="Drift", body="aaa", label="drift")
    again = client.upsert_issue(marker=MARKER, title="Drift", body="aaa", label="drift")
    other = client.upsert_issue(marker=MARKER, title="Drift", body="bbb", label="drift")
    assert [first.action, again.action, other.action] == ["created", "unchanged", "updated"]
    assert [(i["body"], i["labels"]) for i in fake.issues] == [(f"{MARKER}\nbbb", [{"name": "drift"}])]
    closed = client.close_issue(marker=MARKER, body="As declared again.")
    assert closed is not None
    assert (closed.action, closed.url) == (PostAction.CLOSED, first.url)
    assert (fake.issues[0]["state"], fake.issues[0]["state_reason"]) == ("closed", "completed")
    assert [comment["body"] for comment in fake.comments] == ["As declared again."]
    assert client.close_issue(marker=MARKER, body="As declared again.") is None
    assert client.upsert_issue(marker=MARKER, title="Drift", body="ccc", label="drift").action is PostAction.CREATED
    assert len(fake.comments) == 1


def test_an_issue_without_its_label_is_found(fake: FakeGitHub, client: GitHub) -> None:
    """A person may take the label away; that opens no second issue, and does not put it back."""
    fake.issue(f"{MARKER}\nold")
    posted = client.upsert_issue(marker=MARKER, title="Drift", body="new", label="drift")
    assert posted.action is PostAction.UPDATED
    assert [(issue["body"], issue["labels"]) for issue in fake.issues] == [(f"{MARKER}\nnew", [])]


def test_strangers_issues_and_pull_requests_are_left_alone(fake: FakeGitHub, client: GitHub) -> None:
    """An issue by somebody else and a pull request of ours may carry the marker: neither is touched."""
    fake.issue(f"{MARKER}\nmine", author="mallory")
    fake.issue(f"{MARKER}\npull", pull_request={"url": "x"})
    assert client.close_issue(marker=MARKER, body="Done.") is None
    assert client.upsert_issue(marker=MARKER, title="Drift", body="new", label=None).action is PostAction.CREATED
    assert [issue["body"] for issue in fake.issues[:2]] == [f"{MARKER}\nmine", f"{MARKER}\npull"]


def test_superseded_issues_are_closed(fake: FakeGitHub, client: GitHub) -> None:
    """Of several open issues the oldest is kept true, the others are closed as not planned."""
    for text in ("one", "two", "three"):
        fake.issue(f"{MARKER}\n{text}")
    client.upsert_issue(marker=MARKER, title="Drift", body="new", label=None)
    assert [(issue["state"], issue.get("state_reason")) for issue in fake.issues] == [
        ("open", None),
        ("closed", "not_planned"),
        ("closed", "not_planned"),
    ]


def test_a_close_whose_comment_fails_is_not_repeated(fake: FakeGitHub, client: GitHub) -> None:
    """The issue is closed first: where the last word can't be said, the next night finds nothing to close."""
    fake.issue(f"{MARKER}\nold")
    fake.answer(403, {"message": "locked"}, method="POST")
    with pytest.raises(GitHubError):
        client.close_issue(marker=MARKER, body="Done.")
    assert client.close_issue(marker=MARKER, body="Done.") is None


@pytest.mark.parametrize("marker", ["", "plan", "<!-- a\nb -->", "<!-- a --> <!-- b -->", "<!--" + "x" * 300 + "-->"])
def test_a_marker_is_one_hidden_line(fake: FakeGitHub, client: GitHub, marker: str) -> None:
    """What would be shown, or end early, is no marker, and nothing is sent."""
    with pytest.raises(GitHubError, match="marker"):
        client.upsert_comment(7, marker=marker, body="new")
    assert fake.requests == []


def test_a_text_that_is_too_long_is_refused_before_it_is_sent(fake: FakeGitHub, client: GitHub) -> None:
    """GitHub's limit counts the marker too."""
    most = LONGEST_BODY - len(MARKER) - 1
    with pytest.raises(GitHubError, match="65537 characters"):
        client.upsert_comment(7, marker=MARKER, body="x" * (most + 1))
    assert fake.requests == []
    assert client.upsert_comment(7, marker=MARKER, body="x" * most) is not None


def test_two_environments_do_not_meet(fake: FakeGitHub, connect: Callable[..., GitHub]) -> None:
    """Each marker has a comment of its own."""
    client = connect()
    for marker in (MARKER, OTHER, MARKER, OTHER):
        client.upsert_comment(7, marker=marker, body="plan")
    assert [comment["body"] for comment in fake.comments] == [f"{MARKER}\nplan", f"{OTHER}\nplan"]
