"""An HTTP service on a port of this machine: one function says what each request is answered."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOOK_SECONDS = 0.01
"""How often a server looks whether it is to end; the library's half a second would be most of a test's time."""


@dataclass(frozen=True)
class Request:
    """What was asked; ``path`` still has its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """The JSON of the body, ``{}`` where there is none."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class Reply:
    """What is answered: a text as it is, anything else as JSON. ``headers`` may replace ``Date``."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: as two, the second may wait 40 ms for the other side's receipt
    answer: Callable[[Request], Reply]

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        reply = self.answer(Request(self.command, self.path, dict(self.headers), self.rfile.read(length)))
        content = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        headers = {"Content-Type": "application/json", "Date": self.date_time_string(), **reply.headers}
        self.send_response_only(reply.status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 -- the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def loopback(answer: Callable[[Request], Reply]) -> Iterator[str]:
    """Answer on a free port of 127.0.0.1, each connection in a thread of its own; yield the URL."""
    handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True  # a client that keeps its connection open keeps nobody waiting
        thread = threading.Thread(target=server.serve_forever, args=(LOOK_SECONDS,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
