"""One comment of a pull request and one issue, kept up to date: found again by a hidden mark, edited in place.

In: text in Markdown, and the :class:`~reconciler.github.address.Mark` that will stand first in it. Out: what was done,
with the address. A post is ours if it begins with a mark and was written by the token's own account, or by the bot of
GitHub Actions, as which only a workflow of the repository can write. A stranger's post is left alone even with a mark.
Of our posts, the one of the same use and job is edited. A post that another job of the same run wrote, or that a later
run wrote about another commit, is never edited. If two runs at once made two posts, the oldest stays and the others go.
"""

from __future__ import annotations

import re
from enum import StrEnum
from time import sleep as wait
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.errors import GitHubError
from reconciler.core.text import harmless
from reconciler.github.address import Mark, checked_api_url, checked_repository, checked_token, mark_of
from reconciler.github.wire import Wire, unreadable_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["GitHub", "GitHubError", "PostAction", "Posted"]

LONGEST_BODY: Final = 65_536
"""Up to this many characters fit into a comment or an issue; GitHub answers 422 to a longer one."""
ACTIONS_BOT: Final = "github-actions[bot]"
"""The account behind a job's own token. Such a token gets a 403 when it asks for its account."""

_ADDRESS: Final = re.compile(r"https?://[!-~]{1,300}", re.ASCII)
_COMMENTS: Final = "pull-requests: write"
_ISSUES: Final = "issues: write"


class PostAction(StrEnum):
    """What became of a post."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    CLOSED = "closed"
    LEFT = "left"
    """Left as it is, because a later run wrote it about another commit."""


class Posted(Struct, frozen=True):
    """A post: its address (empty if GitHub names none that can be used) and what was done.

    ``doubt`` is a sentence if a post of another account may be an earlier one of ours; else it is empty.
    """

    url: str
    action: PostAction
    doubt: str = ""


class _Found(Struct, frozen=True):
    """A post of ours as GitHub has it, and its mark."""

    mark: Mark
    post: Mapping[str, Any]


class GitHub:
    """A context manager that posts in one repository. Every method raises :class:`GitHubError`, and nothing else.

    ``api_url`` is https, or http on the loopback host; ``proxy`` is as ``proxy_to`` finds it. ``sleep`` waits seconds
    between attempts. ``transport`` is an ``httpx2.BaseTransport``, for tests.
    """

    def __init__(
        self,
        *,
        api_url: str,
        token: str,
        repository: str,
        proxy: str | None = None,
        sleep: Callable[[float], object] = wait,
        transport: object | None = None,
    ) -> None:
        self._wire = Wire(
            api_url=checked_api_url(api_url),
            token=checked_token(token),
            proxy=proxy,
            sleep=sleep,
            transport=transport,
        )
        self._path = f"/repos/{checked_repository(repository)}"
        self._login: str | None = None
        self._doubt = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()

    def upsert_comment(self, number: int, *, mark: Mark, body: str, create: bool = True) -> Posted | None:
        """Make our comment on a pull request say ``body``; nothing is written if it says so already.

        Without ``create`` no new comment is made, and ``None`` is returned if there was none to update.
        """
        path = f"{self._path}/issues/{int(number)}/comments"
        _marked(mark, body)

        def find() -> list[_Found]:
            return self._comments(path)

        every = find()
        if left := _written_later(every, mark):
            return left
        found = _mine(every, mark)
        if not found and not create:
            return None
        text = _marked(_carried(mark, found), body)
        post, action = self._kept(found, lambda: _mine(find(), mark), path, {"body": text}, _COMMENTS)
        if action is not PostAction.CREATED:
            action = self._edit(f"{self._path}/issues/comments/{post['id']}", post, {"body": text}, _COMMENTS)
        for later in found[1:]:
            self._remove(f"{self._path}/issues/comments/{later.post['id']}")
        return Posted(_address(post), action, self._doubt)

    def upsert_issue(self, *, mark: Mark, title: str, body: str, label: str | None = None) -> Posted:
        """Make our open issue say ``title`` and ``body``; if there is none, open one with ``label``."""
        wanted = {"title": title, "body": _marked(mark, body)}
        every = self._issues(mark, label)
        if left := _written_later(every, mark):
            return left
        path = f"{self._path}/issues"
        found = _open(every, mark)
        new = {**wanted, "labels": [label]} if label is not None else wanted
        post, action = self._kept(found, lambda: _open(self._issues(mark, label), mark), path, new, _ISSUES)
        if action is not PostAction.CREATED:
            action = self._edit(f"{path}/{post['number']}", post, wanted, _ISSUES)
        for later in found[1:]:
            self._close(later.post, reason="not_planned")
        return Posted(_address(post), action, self._doubt)

    def close_issue(self, *, mark: Mark, body: str, label: str | None = None) -> Posted | None:
        """Close our open issue, with ``body`` as its last comment; ``None`` if none is open.

        Its text stays, with the mark of this run, so that an older run that is repeated does not open it anew.
        """
        every = self._issues(mark, label)
        if left := _written_later(every, mark):
            return left
        found = [one.post for one in _open(every, mark)]
        if not found:
            return None
        # The issue is closed before the comment is made: if the comment fails, no later run repeats it.
        for issue in found:
            _, _, text = issue["body"].lstrip().partition("\n")
            self._close(issue, reason="completed", body=_marked(mark, text))
        self._wire.send(
            "POST", f"{self._path}/issues/{found[0]['number']}/comments", {"body": body}, permission=_ISSUES
        )
        return Posted(_address(found[0]), PostAction.CLOSED)

    def _kept(
        self,
        found: Sequence[_Found],
        find: Callable[[], Sequence[_Found]],
        path: str,
        new: Mapping[str, object],
        permission: str,
    ) -> tuple[Mapping[str, Any], PostAction]:
        """Return the post that we keep: the oldest there is, or a new one.

        If a request to create one was cut off, it may have been carried out. So we look for the new post before we send
        the request once more.
        """
        if found:
            return found[0].post, PostAction.UNCHANGED
        try:
            answer = self._wire.send("POST", path, new, permission=permission)
        except GitHubError as error:
            if not error.may_have_taken_effect:
                raise
            if late := find():
                return late[0].post, PostAction.CREATED
            answer = self._wire.send("POST", path, new, permission=permission)
        created = answer.json()
        return (created if isinstance(created, dict) else {}), PostAction.CREATED

    def _edit(self, path: str, post: Mapping[str, Any], wanted: Mapping[str, str], permission: str) -> PostAction:
        if all(_settled(post.get(key)) == _settled(text) for key, text in wanted.items()):
            return PostAction.UNCHANGED
        self._wire.send("PATCH", path, wanted, permission=permission)
        return PostAction.UPDATED

    def _remove(self, path: str) -> None:
        try:
            self._wire.send("DELETE", path, permission=_COMMENTS)
        except GitHubError as error:
            if error.status != 404:  # another run has deleted it already
                raise

    def _close(self, issue: Mapping[str, Any], *, reason: str, **more: str) -> None:
        path = f"{self._path}/issues/{issue['number']}"
        self._wire.send("PATCH", path, {"state": "closed", "state_reason": reason, **more}, permission=_ISSUES)

    def _comments(self, path: str) -> list[_Found]:
        entries, whole = self._wire.listed(f"{path}?", permission=_COMMENTS)
        found = self._ours(entries, "id")
        if not found and not whole:
            raise _too_many("comments")
        return found

    def _issues(self, mark: Mark, label: str | None) -> list[_Found]:
        """Return our open issues, oldest first. If none with the label is ours, look at those without it, because a
        person may have taken it away. A run that is repeated also looks at closed ones, which a later run may have
        closed."""
        state = "all" if mark.attempt > 1 else "open"
        path = f"{self._path}/issues?state={state}&sort=created&direction=desc"
        if label is not None:
            entries, _ = self._wire.listed(f"{path}&labels={quote(label, safe='')}", permission=_ISSUES)
            found = self._ours(entries, "number")
            if any(one.mark.use == mark.use for one in found):
                return found
        entries, whole = self._wire.listed(path, permission=_ISSUES)
        found = self._ours(entries, "number")
        if not found and not whole and label is None:
            raise _too_many("open issues")
        return found

    def _ours(self, entries: list[dict[str, Any]], key: str) -> list[_Found]:
        """Return the posts of our own that begin with a mark, the oldest (lowest ``key``) first."""
        marked = [
            _Found(mark, entry)
            for entry in entries
            if (mark := mark_of(entry.get("body"))) is not None
            and "pull_request" not in entry
            and type(entry.get(key)) is int
        ]
        others = {_author(one.post) for one in marked} - {ACTIONS_BOT}
        ours = {ACTIONS_BOT, self._own_login(others)} if others else {ACTIONS_BOT}
        return sorted((one for one in marked if _author(one.post) in ours), key=lambda one: one.post[key])

    def _own_login(self, others: set[str]) -> str:
        """Return the account of the token, in lower case; ``others`` are the accounts whose posts have our mark.

        GitHub refuses this question to a job's own token (403), and to that of a GitHub App. If one of ``others`` is a
        bot, it may be this App, so GraphQL is asked instead.
        """
        if self._login is not None:
            return self._login
        try:
            user = self._wire.send("GET", "/user").json()
        except GitHubError as error:
            if error.status != 403:
                raise
            user = self._viewer() if any(author.endswith("[bot]") for author in others) else {"login": ACTIONS_BOT}
        login = user.get("login") if isinstance(user, dict) else None
        if not isinstance(login, str) or not login:
            raise unreadable_answer(200)
        self._login = login.lower()
        return self._login

    def _viewer(self) -> Any:
        try:
            answer = self._wire.send("POST", self._wire.graphql, {"query": "{ viewer { login } }"}).json()
            return answer["data"]["viewer"]
        except (GitHubError, KeyError, TypeError):
            self._doubt = (
                "another bot wrote a post with our mark, and GitHub does not say whether that is the account of "
                "`github-token`, so it was left alone: pass the job's own token, `${{ github.token }}`"
            )
            return {"login": ACTIONS_BOT}


def _mine(found: Sequence[_Found], mark: Mark) -> list[_Found]:
    """Return the posts of this use, first the one that stays; nothing if a new one has to be made."""
    same = [one for one in found if one.mark.use == mark.use]
    if own := [one for one in same if one.mark.by == mark.by]:
        return own
    free = [one for one in same or found if mark.frees(one.mark) and (same or mark.related(one.mark))]
    return free if len(free) == 1 else []


def _open(found: Sequence[_Found], mark: Mark) -> list[_Found]:
    return _mine([one for one in found if one.post.get("state") == "open"], mark)


def _written_later(found: Sequence[_Found], mark: Mark) -> Posted | None:
    """Return our post of this use if a later run wrote it, to be left as it is; else ``None``."""
    later = (one for one in found if one.mark.use == mark.use and mark.later(one.mark))
    return next((Posted(_address(one.post), PostAction.LEFT) for one in later), None)


def _carried(mark: Mark, found: Sequence[_Found]) -> Mark:
    """Return the mark to write into the first of these posts. It keeps that post's use, so that whoever wrote the post
    before finds it again."""
    kept = next((one.mark for one in found), mark)
    return mark if kept.use == mark.earlier else replace(mark, use=kept.use)


def _marked(mark: Mark, body: str) -> str:
    """Return the text with its mark first. Raises :class:`GitHubError` for what GitHub would not take."""
    text = f"{mark}\n{body}"
    if mark_of(text) is None:
        raise GitHubError("the mark of a post can't be read again", "This is a bug in glider-reconciler.")
    if len(text) > LONGEST_BODY:
        raise GitHubError(
            f"the text to post has {len(text)} characters, and GitHub takes {LONGEST_BODY}", "Post a shorter one."
        )
    return text


def _settled(text: object) -> str | None:
    """Return a text in the form that is compared, because GitHub may change line ends and the blanks around it."""
    return text.replace("\r\n", "\n").strip() if isinstance(text, str) else None


def _author(entry: Mapping[str, Any]) -> str:
    user = entry.get("user")
    login = user.get("login") if isinstance(user, dict) else None
    return login.lower() if isinstance(login, str) else ""


def _address(post: Mapping[str, Any]) -> str:
    found = post.get("html_url")
    return harmless(found, longest=310) if isinstance(found, str) and _ADDRESS.fullmatch(found) else ""


def _too_many(what: str) -> GitHubError:
    return GitHubError(
        f"there are too many {what} to look through for ours", "Nothing was posted, so that nothing stands there twice."
    )
