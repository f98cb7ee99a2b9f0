"""One comment of a pull request and one issue, kept up to date: found again by a hidden marker, edited in place.

In: text in Markdown, and a marker (a hidden HTML comment of one line) that stands first in it. Out: what was done, with
the address. A post is ours when its first line is the marker and the token's own account wrote it: a stranger's that
carries the marker is left alone. The oldest of ours stays; later ones, which two runs at once can leave, go.
"""

from __future__ import annotations

import re
from enum import StrEnum
from time import sleep as wait
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from msgspec import Struct

from reconciler.core.errors import GitHubError
from reconciler.core.text import harmless
from reconciler.github.address import checked_api_url, checked_repository, checked_token
from reconciler.github.wire import Wire, unreadable_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["GitHub", "GitHubError", "PostAction", "Posted"]

LONGEST_BODY: Final = 65_536
"""Up to this many characters fit into a comment or an issue; GitHub answers 422 to a longer one."""
ACTIONS_BOT: Final = "github-actions[bot]"
"""The account behind a job's own token. Such a token gets a 403 when it asks for its account."""

_MARKER: Final = re.compile(r"<!--[^\r\n<>]{1,200}-->")
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,300}", re.ASCII)
_COMMENTS: Final = "pull-requests: write"
_ISSUES: Final = "issues: write"


class PostAction(StrEnum):
    """What became of a post."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    CLOSED = "closed"


class Posted(Struct, frozen=True):
    """A post: its address (empty where GitHub names none that can be used) and what was done."""

    url: str
    action: PostAction


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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()

    def upsert_comment(self, number: int, *, marker: str, body: str, create: bool = True) -> Posted | None:
        """Make our comment of a pull request say ``body``; nothing is written where it does already.

        Without ``create`` only a comment that is there is updated, and ``None`` says that there was none.
        """
        text = _marked(marker, body)
        path = f"{self._path}/issues/{int(number)}/comments"

        def find() -> list[dict[str, Any]]:
            return self._comments(path, marker)

        found = find()
        if not found and not create:
            return None
        post, action = self._kept(found, find, path, {"body": text}, _COMMENTS)
        if action is not PostAction.CREATED:
            action = self._edit(f"{self._path}/issues/comments/{post['id']}", post, {"body": text}, _COMMENTS)
        for later in found[1:]:
            self._remove(f"{self._path}/issues/comments/{later['id']}")
        return Posted(_address(post), action)

    def upsert_issue(self, *, marker: str, title: str, body: str, label: str | None = None) -> Posted:
        """Make our open issue say ``title`` and ``body``; open it with ``label`` where there is none."""
        wanted = {"title": title, "body": _marked(marker, body)}

        def find() -> list[dict[str, Any]]:
            return self._issues(marker, label)

        path = f"{self._path}/issues"
        found = find()
        new = {**wanted, "labels": [label]} if label is not None else wanted
        post, action = self._kept(found, find, path, new, _ISSUES)
        if action is not PostAction.CREATED:
            action = self._edit(f"{path}/{post['number']}", post, wanted, _ISSUES)
        for later in found[1:]:
            self._close(later, reason="not_planned")
        return Posted(_address(post), action)

    def close_issue(self, *, marker: str, body: str, label: str | None = None) -> Posted | None:
        """Close our open issue, with ``body`` as its last comment; ``None`` where there is none open."""
        found = self._issues(marker, label)
        if not found:
            return None
        for (
            issue
        ) in found:  # closed before the comment: if that fails, the next run finds no open issue and does not repeat it
            self._close(issue, reason="completed")
        self._wire.send(
            "POST", f"{self._path}/issues/{found[0]['number']}/comments", {"body": body}, permission=_ISSUES
        )
        return Posted(_address(found[0]), PostAction.CLOSED)

    def _kept(
        self,
        found: list[dict[str, Any]],
        find: Callable[[], list[dict[str, Any]]],
        path: str,
        new: Mapping[str, object],
        permission: str,
    ) -> tuple[dict[str, Any], PostAction]:
        """Return our post that stays: the oldest there is, or a new one.

        A request to create that was cut off may have been carried out, so it is looked for before it is repeated, once.
        """
        if found:
            return found[0], PostAction.UNCHANGED
        try:
            answer = self._wire.send("POST", path, new, permission=permission)
        except GitHubError as error:
            if not error.may_have_taken_effect:
                raise
            if late := find():
                return late[0], PostAction.CREATED
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

    def _close(self, issue: Mapping[str, Any], *, reason: str) -> None:
        path = f"{self._path}/issues/{issue['number']}"
        self._wire.send("PATCH", path, {"state": "closed", "state_reason": reason}, permission=_ISSUES)

    def _comments(self, path: str, marker: str) -> list[dict[str, Any]]:
        entries, whole = self._wire.listed(f"{path}?", permission=_COMMENTS)
        found = self._ours(entries, marker, "id")
        if not found and not whole:
            raise _too_many("comments")
        return found

    def _issues(self, marker: str, label: str | None) -> list[dict[str, Any]]:
        """Return our open issues, oldest first; among those with the label, and only then among all, for a person may
        have taken it away."""
        path = f"{self._path}/issues?state=open&sort=created&direction=desc"
        if label is not None:
            entries, _ = self._wire.listed(f"{path}&labels={quote(label, safe='')}", permission=_ISSUES)
            if found := self._ours(entries, marker, "number"):
                return found
        entries, whole = self._wire.listed(path, permission=_ISSUES)
        found = self._ours(entries, marker, "number")
        if not found and not whole and label is None:
            raise _too_many("open issues")
        return found

    def _ours(self, entries: list[dict[str, Any]], marker: str, key: str) -> list[dict[str, Any]]:
        """Return the posts of the token's own account that begin with the marker, the oldest (lowest ``key``) first."""
        marked = [
            entry
            for entry in entries
            if isinstance(body := entry.get("body"), str)
            and body.lstrip().split("\n", 1)[0].strip() == marker
            and "pull_request" not in entry
            and type(entry.get(key)) is int
        ]
        if not marked:
            return []
        login = self._own_login().lower()
        return sorted((entry for entry in marked if _author(entry).lower() == login), key=lambda entry: entry[key])

    def _own_login(self) -> str:
        """Return who the token is; a job's own token is refused (403), and is the bot of GitHub Actions."""
        if self._login is None:
            try:
                user = self._wire.send("GET", "/user").json()
            except GitHubError as error:
                if error.status != 403:
                    raise
                self._login = ACTIONS_BOT
            else:
                login = user.get("login") if isinstance(user, dict) else None
                if not isinstance(login, str) or not login:
                    raise unreadable_answer(200)
                self._login = login
        return self._login


def _marked(marker: str, body: str) -> str:
    """Return the text with its marker first. Raises :class:`GitHubError` for what GitHub would not take."""
    if not _MARKER.fullmatch(marker):
        raise GitHubError(
            "the marker of a post is not a hidden comment of one line", "This is a bug in glider-reconciler."
        )
    text = body if body.split("\n", 1)[0].strip() == marker else f"{marker}\n{body}"
    if len(text) > LONGEST_BODY:
        raise GitHubError(
            f"the text to post has {len(text)} characters, and GitHub takes {LONGEST_BODY}", "Post a shorter one."
        )
    return text


def _settled(text: object) -> str | None:
    """Return a text as it is compared: GitHub may change line ends and the blanks around it."""
    return text.replace("\r\n", "\n").strip() if isinstance(text, str) else None


def _author(entry: Mapping[str, Any]) -> str:
    user = entry.get("user")
    login = user.get("login") if isinstance(user, dict) else None
    return login if isinstance(login, str) else ""


def _address(post: Mapping[str, Any]) -> str:
    found = post.get("html_url")
    return harmless(found, longest=310) if isinstance(found, str) and _ADDRESS.fullmatch(found) else ""


def _too_many(what: str) -> GitHubError:
    return GitHubError(
        f"there are too many {what} to look through for ours", "Nothing was posted, so that nothing stands there twice."
    )
