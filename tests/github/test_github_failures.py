"""Whatever GitHub answers, or does not: a sentence with a repair, few bounded retries, no second post, no token."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.errors import ExitReason, GitHubError
from reconciler.github.address import checked_api_url
from reconciler.github.client import GitHub, PostAction
from reconciler.github.wire import LARGEST_GITHUB_BODY, MOST_GITHUB_PAGES
from tests.github.fake import TOKEN
from tests.github.test_github_posts import MARK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.github.fake import FakeGitHub


def post(client: GitHub) -> Any:
    return client.upsert_comment(7, mark=MARK, body="plan")


REFUSALS = {
    "token": (401, "refused the token", "github.token"),
    "permission": (403, "may not do this", "`pull-requests: write`"),
    "unknown": (404, "no such thing", "the number"),
    "switched off": (410, "switched off", "Switch them on"),
    "text": (422, "refused the text", "brackets"),
    "moved": (301, "redirect, which is not followed", "GITHUB_REPOSITORY"),
    "teapot": (418, "refused the request", "brackets"),
}


@pytest.mark.parametrize(("status", "said", "repair"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_a_sentence_with_a_repair(
    fake: FakeGitHub, client: GitHub, waits: list[float], status: int, said: str, repair: str
) -> None:
    """Each refusal says what, how GitHub put it, and what to do; it is final, and nothing waits."""
    fake.answer(status, {"message": "as GitHub says", "errors": [{"field": "body", "code": "x"}]})
    with pytest.raises(GitHubError) as caught:
        post(client)
    error = caught.value
    assert said in error.summary
    assert f"HTTP {status}: as GitHub says; body x" in error.summary
    assert repair in error.detail
    assert (error.status, error.exit_reason) == (status, ExitReason.ERROR)
    assert (len(fake.requests), waits) == (1, [])


def test_a_fork_is_told_what_to_do(fake: FakeGitHub, client: GitHub) -> None:
    """A pull request from a fork has a token that reads only: the sentence names the permission, and the fork."""
    fake.may_write = False
    with pytest.raises(GitHubError) as caught:
        post(client)
    assert "Give the job `pull-requests: write`" in caught.value.detail
    assert "from a fork it can't have them: ignore this there" in caught.value.detail
    with pytest.raises(GitHubError) as caught:
        client.upsert_issue(mark=MARK, title="Drift", body="aaa", label=None)
    assert "`issues: write`" in caught.value.detail


LIMITS: dict[str, tuple[int, dict[str, str], object, float]] = {
    "429 with a wait": (429, {"retry-after": "7"}, {}, 7.0),
    "403 with a wait": (403, {"retry-after": "7"}, {}, 7.0),
    "429 without": (429, {}, b"", 60.0),
    "403 by its message": (403, {}, {"message": "You have exceeded a secondary rate limit."}, 60.0),
    "403 used up": (
        403,
        {
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": "1795348812",
            "date": "Sun, 22 Nov 2026 12:00:00 GMT",
        },
        {},
        12.0,
    ),
    "reset in the past": (
        429,
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1", "date": "Sun, 22 Nov 2026 12:00:00 GMT"},
        {},
        1.0,
    ),
    "a wait that is no number": (429, {"retry-after": "soon"}, {}, 60.0),
    "a reset against no date": (
        403,
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9", "date": "never"},
        {},
        60.0,
    ),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("status", "headers", "content", "wait"), LIMITS.values(), ids=LIMITS.keys())
def test_a_rate_limit_is_waited_for(
    fake: FakeGitHub,
    client: GitHub,
    waits: list[float],
    method: str,
    status: int,
    headers: dict[str, str],
    content: object,
    wait: float,
) -> None:
    """What a limit refused was not done, so it is sent again after the wait asked for, whatever it was."""
    fake.answer(status, content, method=method, headers=headers)
    assert post(client).action is PostAction.CREATED
    assert waits == [wait]
    assert len(fake.comments) == 1


@pytest.mark.parametrize("asked", ["91", "999999999", "9" * 400])
def test_a_long_limit_is_not_waited_for(fake: FakeGitHub, client: GitHub, waits: list[float], asked: str) -> None:
    """Beyond 90 s the post is given up with the wait named; a number past all bounds is none."""
    fake.answer(429, {}, headers={"retry-after": asked}, times=9)
    with pytest.raises(GitHubError, match="limits the rate") as caught:
        post(client)
    assert "Run it again in" in caught.value.detail
    assert sum(waits) <= 90


def test_a_limit_does_not_tell_who_the_token_is(fake: FakeGitHub, client: GitHub) -> None:
    """Only a refusal makes a token the job's own: behind a limit it may be anybody's, so nothing is posted."""
    fake.login = "release-robot"
    fake.comment(f"{MARK}\nold", author="release-robot")
    fake.answer(403, {"message": "secondary rate limit"}, ending="/user", headers={"retry-after": "500"}, times=9)
    with pytest.raises(GitHubError, match="limits the rate") as caught:
        post(client)
    assert caught.value.status == 429
    assert fake.writes() == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failing_read_is_repeated_and_given_up(
    fake: FakeGitHub, client: GitHub, waits: list[float], status: int
) -> None:
    """Twice more, with a wait; then it is the answer."""
    fake.answer(status, b"<html>unicorn</html>", times=2)
    assert post(client).action is PostAction.CREATED
    assert waits == [2.0, 4.0]
    fake.requests.clear()
    fake.answer(status, b"<html>unicorn</html>", times=9)
    with pytest.raises(GitHubError, match=f"GitHub failed .HTTP {status}"):
        post(client)
    assert len(fake.requests) == 3


@pytest.mark.parametrize("done", [True, False])
def test_a_create_that_failed_is_looked_for_before_it_is_repeated(fake: FakeGitHub, client: GitHub, done: bool) -> None:
    """A 502 may have done the work: there is one comment and one issue in the end, either way."""
    fake.answer(502, method="POST", done=done)
    assert post(client).action is PostAction.CREATED
    fake.answer(502, method="POST", done=done)
    assert client.upsert_issue(mark=MARK, title="Drift", body="x", label=None).action is PostAction.CREATED
    assert (len(fake.comments), len(fake.issues)) == (1, 1)
    assert len(fake.writes()) == (2 if done else 4)


def test_an_edit_is_repeated(fake: FakeGitHub, client: GitHub) -> None:
    """An edit says what should be, so sending it twice is safe."""
    fake.comment(f"{MARK}\nold")
    fake.answer(502, method="PATCH", done=True)
    assert post(client).action is PostAction.UPDATED
    assert fake.comments[0]["body"] == f"{MARK}\nplan"


class Failing(httpx2.BaseTransport):
    """A connection that fails at some requests, before or after they reach the fake."""

    def __init__(self, error: Exception, *, method: str, times: int, after: bool = False) -> None:
        self.error, self.method, self.times, self.after = error, method, times, after
        self.inner = httpx2.HTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        fails = request.method == self.method and self.times > 0
        if fails:
            self.times -= 1
        if not fails or self.after:
            response = self.inner.handle_request(request)
            if not fails:
                return response
            response.read()
            response.close()
        raise self.error

    def close(self) -> None:
        self.inner.close()


LOST = (httpx2.ReadTimeout, httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, ValueError)


@pytest.mark.parametrize("error", LOST)
@pytest.mark.parametrize("after", [True, False])
def test_a_lost_answer_leaves_one_comment(
    fake: FakeGitHub, connect: Callable[..., GitHub], error: type[Exception], after: bool
) -> None:
    """Whether or not the request arrived, exactly one comment stands there."""
    client = connect(transport=Failing(error("gone"), method="POST", times=1, after=after))
    assert post(client).action is PostAction.CREATED
    assert len(fake.comments) == 1


def test_no_connection_is_tried_again(fake: FakeGitHub, connect: Callable[..., GitHub], waits: list[float]) -> None:
    """Nothing was sent, so even a create is repeated; in the end the address is named."""
    client = connect(transport=Failing(httpx2.ConnectError("refused"), method="POST", times=2))
    assert post(client).action is PostAction.CREATED
    assert waits == [2.0, 4.0]
    client = connect(transport=Failing(httpx2.ConnectError("refused"), method="GET", times=9))
    with pytest.raises(GitHubError, match="no connection to GitHub: refused") as caught:
        post(client)
    assert fake.url in caught.value.detail


HOSTILE: dict[str, object] = {
    "html": b"<html>",
    "no list": {"message": "hello"},
    "nested": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe\xfd",
    "nothing": b"",
    "too large": b" " * (LARGEST_GITHUB_BODY + 1),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_answer_that_is_none_is_an_error(fake: FakeGitHub, client: GitHub, content: object) -> None:
    """A list that can't be read never reads as an empty one: nothing is posted."""
    fake.answer(200, content, method="GET", times=9)
    with pytest.raises(GitHubError, match="GitHub's answer is"):
        post(client)
    assert fake.writes() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(f"{MARK}\nx"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "number", "body", "user", "login", "html_url", "message", "errors", "pull_request"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([200, 201, 302, 403, 404, 422, 500]), JSON), max_size=8))
def test_no_answer_is_a_bug(
    fake: FakeGitHub, connect: Callable[..., GitHub], answers: list[tuple[int, object]]
) -> None:
    """Whatever JSON comes at whichever request, the end is a post or a GitHubError."""
    fake.scripted.clear()
    for status, content in answers:
        fake.answer(status, content)
    client = connect()
    for work in (
        lambda: post(client),
        lambda: client.upsert_issue(mark=MARK, title="Drift", body="x", label="drift"),
        lambda: client.close_issue(mark=MARK, body="x"),
    ):
        try:
            work()
        except GitHubError as error:
            assert error.summary  # noqa: PT017 - either ending is right, and this one has a sentence


def test_a_link_elsewhere_is_not_followed(fake: FakeGitHub, client: GitHub) -> None:
    """The token goes to the one origin only: a link that leaves it is ignored, and the pages are counted."""
    fake.link_origin = "http://127.0.0.1:9"
    for number in range(150):
        fake.comment(f"talk {number}", author="maria")
    fake.comment(f"{MARK}\nplan")
    assert post(client).action is PostAction.UNCHANGED
    assert fake.requests.count(("GET", "/repos/team/fleet/issues/7/comments")) == 2


@pytest.mark.parametrize("suffix", [".evil.example/x", "@evil.example/x", "0/x"])
def test_a_link_that_only_begins_like_ours_is_not_followed(fake: FakeGitHub, client: GitHub, suffix: str) -> None:
    """The origin is compared as a whole, not by how its text begins."""
    fake.answer(200, [], method="GET", headers={"link": f'<{fake.url}{suffix}>; rel="next"'})
    assert post(client).action is PostAction.CREATED


def test_pages_without_end_are_bounded(fake: FakeGitHub, client: GitHub) -> None:
    """A list that goes on and on is given up; unless ours was in it, nothing is posted, so nothing stands twice."""
    other = {"id": 1, "body": "talk", "user": {"login": "maria"}}
    fake.answer(200, [other] * 100, method="GET", ending="comments", times=MOST_GITHUB_PAGES + 5)
    with pytest.raises(GitHubError, match="too many comments"):
        post(client)
    assert len(fake.requests) == MOST_GITHUB_PAGES
    assert fake.writes() == []


def test_a_list_that_leads_back_ends(fake: FakeGitHub, client: GitHub) -> None:
    """A page that links to itself is read once."""
    url = f"{fake.url}/repos/team/fleet/issues/7/comments?per_page=100&page=1"
    fake.answer(200, [], method="GET", headers={"link": f'<{url}>; rel="next"'}, times=9)
    with pytest.raises(GitHubError, match="too many comments"):
        post(client)
    assert len(fake.requests) == 1


def test_an_address_that_is_none_is_left_out(fake: FakeGitHub, client: GitHub) -> None:
    """The address of a post is shown to people, so only one of http may be there."""
    fake.comment(f"{MARK}\nplan")["html_url"] = "javascript:alert(1)"
    assert post(client).url == ""


def test_no_error_holds_the_token(fake: FakeGitHub, connect: Callable[..., GitHub]) -> None:
    """Neither an answer that repeats the token nor a library's message brings it into an error or its causes."""
    errors: list[BaseException | None] = []
    fake.answer(422, {"message": f"bad {TOKEN}", "errors": [f"token {TOKEN}"]})
    transports = (None, Failing(httpx2.ReadError(f"header Bearer {TOKEN}"), method="GET", times=9))
    for transport in transports:
        with pytest.raises(GitHubError) as caught:
            post(connect(transport=transport))
        error: BaseException | None = caught.value
        while error is not None:
            errors.append(error)
            error = error.__cause__
    assert len(errors) == 2
    assert TOKEN not in "".join(f"{error!r}{error}{getattr(error, 'detail', '')}" for error in errors)
    assert TOKEN not in repr(connect()) + repr(vars(connect())["_wire"])


def test_what_github_says_is_made_harmless(fake: FakeGitHub, client: GitHub) -> None:
    """A message steers no terminal and is cut."""
    fake.answer(422, {"message": "\x1b[2J\u202e" + "x" * 5000})
    with pytest.raises(GitHubError) as caught:
        post(client)
    assert "\x1b" not in caught.value.summary
    assert len(caught.value.summary) < 300


def test_the_requests_are_as_github_wants_them(connect: Callable[..., GitHub]) -> None:
    """Every request names its API version and this program, and asks for a body that is not packed."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, content=json.dumps([] if request.method == "GET" else {}))

    assert post(connect(transport=httpx2.MockTransport(answer))).action is PostAction.CREATED
    for request in seen:
        assert request.headers["x-github-api-version"] == "2022-11-28"
        assert request.headers["user-agent"].startswith("glider-reconciler/")
        assert request.headers["accept-encoding"] == "identity"
        assert "cookie" not in request.headers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.github.com", "https://api.github.com"),
        (" https://API.github.com/ ", "https://api.github.com"),
        ("https://github.corp.example/api/v3", "https://github.corp.example/api/v3"),
        ("https://github.corp.example:8443/api/v3/", "https://github.corp.example:8443/api/v3"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://api.github.com", None),
        ("http://127.0.0.1.evil.example", None),
        ("ftp://api.github.com", None),
        ("https://user:secret@api.github.com", None),
        ("https://api.github.com?x", None),
        ("https://api.github.com/#x", None),
        ("https://api.github.com/../x", None),
        ("https://api.github.com:port", None),
        ("https://", None),
        ("", None),
        ("api.github.com", None),
    ],
)
def test_where_posts_may_go(text: str, expected: str | None) -> None:
    """https anywhere, http to this machine only; a password in the address is not repeated."""
    if expected is not None:
        assert checked_api_url(text) == expected
        return
    with pytest.raises(GitHubError) as caught:
        checked_api_url(text)
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    "repository", ["", "fleet", "team/", "team/..", "team/fleet/x", "team/fl eet", "../fleet", "team/a?b"]
)
def test_a_repository_is_checked(connect: Callable[..., GitHub], repository: str) -> None:
    """Nothing but owner/name reaches a URL."""
    with pytest.raises(GitHubError, match="owner/name"):
        connect(repository=repository)


@pytest.mark.parametrize("token", ["", " ", "a b", "a\nb", "\x01", "ключ"])
def test_a_token_is_checked(connect: Callable[..., GitHub], token: str) -> None:
    """What can be no token is refused, and not repeated."""
    with pytest.raises(GitHubError, match="token is empty or holds"):
        connect(token=token)


def test_an_unreadable_certificate_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE that is not there is said in a sentence, and its repair."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(GitHubError) as caught:
        GitHub(api_url="https://api.github.com", token=TOKEN, repository="a/b")
    assert "SSL_CERT_FILE" in caught.value.detail
