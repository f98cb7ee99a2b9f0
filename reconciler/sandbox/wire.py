"""What goes over the wire, as values: one request and what it asks for, one reply, and the log of requests.

This module knows ASGI messages, but nothing of Glider's routes or envelopes. It keeps no key: the log has no headers.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from msgspec import Struct
from msgspec.structs import replace

from reconciler.sandbox.model import Course, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

SIMULATOR_HEADER: Final = (b"X-Glider-Sandbox", b"simulator")
"""A header of every answer, so that nobody takes it for an answer of the real service."""
_LARGEST_BODY: Final = 1_048_576
REQUESTS_KEPT: Final = 1_000


class ConnectionLost(ConnectionResetError):
    """The connection ends without an answer.

    In process the caller gets this exception itself; on a port, :mod:`reconciler.sandbox.serve` cuts the connection.
    """


class Request(Struct, frozen=True):
    """One request, whole. ``body`` is ``None`` when it was larger than 1 MiB."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    """Names in lower case."""
    parameters: Mapping[str, str]
    """The variable parts of the path."""
    body: bytes | None
    course: Course = Course.COMPLETED
    """How a rebalance goes that this request begins; only a fault changes it."""

    @property
    def key(self) -> bytes:
        """The API key; empty if there is none."""
        return self.headers.get(b"x-api-key", b"").strip()

    @property
    def portfolio(self) -> str:
        """The portfolio that the path names; ``""`` if it names none."""
        return self.parameters.get("portfolio", "")

    @property
    def subject(self) -> str:
        """The portfolio or strategy that the path names; ``""`` if it names neither."""
        return self.portfolio or self.parameters.get("strategy", "")

    def document(self) -> Any:
        """Return the JSON in the body, ``None`` for an empty body; raises ``Refused`` 400 if it is not JSON."""
        try:
            return json.loads(self.body) if self.body else None
        except (ValueError, RecursionError):
            raise invalid("the body is not JSON") from None

    def asked(self) -> dict[str, str]:
        """Return the query by name; of a repeated name, the last value."""
        return {name: values[-1] for name, values in parse_qs(self.query, keep_blank_values=True).items()}

    def limit(self, *, default: int, most: int | None = None) -> int:
        """Return how many rows the query asks for; raises ``Refused`` 400 unless that is from 1 to ``most``."""
        text = self.asked().get("limit", str(default))
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if number < 1 or (most is not None and number > most):
            raise invalid("limit must be a number from 1" + ("" if most is None else f" to {most}"))
        return number


class Reply(Struct, frozen=True):
    """One answer, ready to be sent."""

    status: int
    body: bytes
    media: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def plus(self, *headers: tuple[bytes, bytes]) -> Reply:
        """Return the answer with more headers."""
        return replace(self, headers=self.headers + headers)


def json_reply(status: int, payload: object) -> Reply:
    """Return an answer in compact JSON."""
    return Reply(status, json.dumps(payload, separators=(",", ":")).encode())


async def receive_request(scope: Scope, receive: Receive) -> Request:
    """Wait for the whole request; raises :class:`ConnectionLost` when the client goes away before its end."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionLost("the client went away")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= _LARGEST_BODY:
            chunks.append(chunk)
        if not message.get("more_body", False):
            break
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers={name.lower(): value for name, value in scope["headers"]},
        parameters=scope.get("path_params", {}),
        body=b"".join(chunks) if size <= _LARGEST_BODY else None,
    )


async def send_reply(send: Send, reply: Reply) -> None:
    """Send an answer with the simulator's header."""
    headers = [
        (b"content-type", reply.media),
        (b"content-length", str(len(reply.body)).encode()),
        SIMULATOR_HEADER,
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


class RequestLog:
    """The last :data:`REQUESTS_KEPT` requests, oldest first, without those to ``/_sandbox``."""

    def __init__(self) -> None:
        self._kept: deque[Request] = deque(maxlen=REQUESTS_KEPT)

    def add(self, request: Request) -> None:
        """Keep a request, without its headers."""
        self._kept.append(replace(request, headers={}))

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def kept(self) -> tuple[Request, ...]:
        """Return the requests, oldest first."""
        return tuple(self._kept)


def request_data(request: Request) -> dict[str, Any]:
    """Return a kept request as plain data; of a body that is not text, what can be shown as text."""
    body = None if request.body is None else request.body.decode("utf-8", "replace")
    return {"method": request.method, "path": request.path, "query": request.query, "body": body}
