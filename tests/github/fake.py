"""A GitHub REST API with memory, as far as this program uses it: comments, issues, pages, limits, refusals.

An ASGI application that also runs on a socket (:func:`serving`). What GitHub documents holds by itself; whatever else a
test needs of it is scripted with :meth:`FakeGitHub.answer`.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

REPOSITORY = "team/fleet"
TOKEN = "ghs_canary_81d3f0a2c6"
BOT = "github-actions[bot]"
LONGEST_BODY = 65_536
WRITES = frozenset({"POST", "PATCH", "DELETE"})


@dataclass
class Scripted:
    """An answer in place of the real one, ``times`` times; with ``done`` the work is done all the same."""

    response: Callable[[], Response]
    method: str | None
    ending: str
    done: bool
    times: int

    def fits(self, request: Request) -> bool:
        return (
            self.times > 0
            and (self.method is None or request.method == self.method)
            and request.url.path.endswith(self.ending)
        )


@dataclass
class FakeGitHub:
    """One repository. ``login`` is who the token is; None for a job's own token, which may not ask."""

    login: str | None = None
    viewer: str | None = None
    """Who GraphQL says the token is; None where it does not say. A GitHub App's token may ask it, and not ``/user``."""
    may_write: bool = True
    has_issues: bool = True
    links: bool = True
    """Whether lists have a ``Link`` header."""
    link_origin: str | None = None
    """Another origin that the ``Link`` header leads to."""
    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    reviewed: set[str] = field(default_factory=set)
    """The environments that have required reviewers; every other name is one that has none."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    scripted: list[Scripted] = field(default_factory=list)
    _numbers: int = 1000

    def __post_init__(self) -> None:
        at = "/repos/{owner}/{name}/issues"
        self._app = Starlette(
            routes=[
                Route("/user", self._user),
                Route("/graphql", self._viewer, methods=["POST"]),
                Route(f"{at}/comments/{{id:int}}", self._edit_comment, methods=["PATCH"]),
                Route(f"{at}/comments/{{id:int}}", self._delete_comment, methods=["DELETE"]),
                Route(f"{at}/{{number:int}}/comments", self._list_comments, methods=["GET"]),
                Route(f"{at}/{{number:int}}/comments", self._create_comment, methods=["POST"]),
                Route(f"{at}/{{number:int}}", self._edit_issue, methods=["PATCH"]),
                Route("/repos/{owner}/{name}/environments/{environment}", self._environment),
                Route(at, self._list_issues, methods=["GET"]),
                Route(at, self._create_issue, methods=["POST"]),
            ]
        )

    def answer(
        self,
        status: int,
        content: object = b"",
        *,
        method: str | None = None,
        ending: str = "",
        headers: dict[str, str] | None = None,
        done: bool = False,
        times: int = 1,
    ) -> None:
        """Answer the next requests that fit otherwise than GitHub would; content is bytes, or becomes JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.scripted.append(Scripted(lambda: Response(body, status, headers), method, ending, done, times))

    def comment(self, body: str, *, author: str = BOT, number: int = 7) -> dict[str, Any]:
        """Put a comment there, as somebody wrote it earlier."""
        self._numbers += 1
        made = {
            "id": self._numbers,
            "body": body,
            "user": {"login": author},
            "html_url": f"https://github.example/{REPOSITORY}/pull/{number}#issuecomment-{self._numbers}",
            "number": number,
        }
        self.comments.append(made)
        return made

    def issue(self, body: str, *, title: str = "Drift", author: str = BOT, **more: Any) -> dict[str, Any]:
        """Put an issue there, as somebody opened it earlier."""
        self._numbers += 1
        made = {
            "number": self._numbers,
            "title": title,
            "body": body,
            "state": "open",
            "user": {"login": author},
            "labels": [],
            "html_url": f"https://github.example/{REPOSITORY}/issues/{self._numbers}",
            **more,
        }
        self.issues.append(made)
        return made

    def writes(self) -> list[tuple[str, str]]:
        """Return method and path of every write so far, without the repository."""
        return [
            (method, path.removeprefix(f"/repos/{REPOSITORY}/issues"))
            for method, path in self.requests
            if method in WRITES
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        self.requests.append((request.method, request.url.path))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            await _refused(401, "Bad credentials")(scope, receive, send)
            return
        script = next((script for script in self.scripted if script.fits(request)), None)
        if script is not None:
            script.times -= 1
            if script.done:
                await self._app(scope, receive, _nobody)
            await script.response()(scope, receive, send)
        elif request.method in WRITES and not self.may_write:
            await _refused(403, "Resource not accessible by integration")(scope, receive, send)
        elif not request.url.path.startswith((f"/repos/{REPOSITORY}/", "/user", "/graphql")):
            await _refused(404, "Not Found")(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _user(self, _: Request) -> Response:
        if self.login is None:
            return _refused(403, "Resource not accessible by integration")
        return JSONResponse({"login": self.login})

    async def _viewer(self, request: Request) -> Response:
        if self.viewer is None or "viewer" not in (await request.json())["query"]:
            return JSONResponse({"errors": [{"message": "Resource not accessible by integration"}]})
        return JSONResponse({"data": {"viewer": {"login": self.viewer}}})

    async def _environment(self, request: Request) -> Response:
        name = request.path_params["environment"]
        rules = ["branch_policy", *(["required_reviewers"] if name in self.reviewed else [])]
        return JSONResponse({"name": name, "protection_rules": [{"type": rule} for rule in rules]})

    async def _list_comments(self, request: Request) -> Response:
        number = request.path_params["number"]
        return self._page(request, [one for one in self.comments if one["number"] == number])

    async def _create_comment(self, request: Request) -> Response:
        body = (await request.json()).get("body")
        if not isinstance(body, str) or len(body) > LONGEST_BODY:
            return _refused(422, "Validation Failed", [{"field": "body", "code": "too_long"}])
        made = self.comment(body, author=self.viewer or self.login or BOT, number=request.path_params["number"])
        return JSONResponse(made, 201)

    async def _edit_comment(self, request: Request) -> Response:
        found = [one for one in self.comments if one["id"] == request.path_params["id"]]
        if not found:
            return _refused(404, "Not Found")
        found[0]["body"] = (await request.json())["body"]
        return JSONResponse(found[0])

    async def _delete_comment(self, request: Request) -> Response:
        kept = [one for one in self.comments if one["id"] != request.path_params["id"]]
        if len(kept) == len(self.comments):
            return _refused(404, "Not Found")
        self.comments[:] = kept
        return Response(status_code=204)

    async def _list_issues(self, request: Request) -> Response:
        if not self.has_issues:
            return _refused(410, "Issues has been disabled in this repository.")
        state, labels = request.query_params.get("state", "open"), request.query_params.get("labels")
        found = [
            one
            for one in self.issues
            if state in (one["state"], "all")
            and (labels is None or any(label["name"] == labels for label in one["labels"]))
        ]
        return self._page(request, found[::-1])

    async def _create_issue(self, request: Request) -> Response:
        if not self.has_issues:
            return _refused(410, "Issues has been disabled in this repository.")
        wanted = await request.json()
        labels = [{"name": name} for name in wanted.get("labels", [])]
        made = self.issue(wanted["body"], title=wanted["title"], author=self.viewer or self.login or BOT, labels=labels)
        return JSONResponse(made, 201)

    async def _edit_issue(self, request: Request) -> Response:
        found = [one for one in self.issues if one["number"] == request.path_params["number"]]
        if not found:
            return _refused(404, "Not Found")
        found[0].update(await request.json())
        return JSONResponse(found[0])

    def _page(self, request: Request, entries: list[dict[str, Any]]) -> Response:
        size = min(int(request.query_params.get("per_page", "30")), 100)
        page = int(request.query_params.get("page", "1"))
        more = len(entries) > page * size
        headers = {}
        if more and self.links:
            following = request.url.include_query_params(page=page + 1)
            text = str(following) if self.link_origin is None else f"{self.link_origin}{following.path}?page=2"
            headers["link"] = f'<{text}>; rel="next", <{request.url}>; rel="last"'
        return JSONResponse(entries[(page - 1) * size : page * size], headers=headers)


def _refused(status: int, message: str, errors: list[dict[str, str]] | None = None) -> Response:
    return JSONResponse({"message": message, **({"errors": errors} if errors else {})}, status)


async def _nobody(message: Any) -> None:
    """Take an answer that nobody gets to see."""


@contextmanager
def serving(fake: FakeGitHub) -> Iterator[str]:
    """Run it on a loopback socket; yields its address, which it answers on from the first moment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(fake, log_config=None, lifespan="off", ws="none", date_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            yield fake.url
        finally:
            server.should_exit = True
            thread.join(timeout=60)
