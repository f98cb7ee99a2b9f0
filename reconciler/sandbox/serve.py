"""Runs the application on a port, with connections that can really be lost. The only module that imports uvicorn.

In: an application, a host and a port. Out: nothing; it serves until a signal ends it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.core.errors import SandboxError
from reconciler.sandbox.wire import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.sandbox.app import SandboxApp

_GRACE_SECONDS: Final = 2
"""How long requests in flight may take to end when the server is told to stop."""


class LossyProtocol(H11Protocol):
    """HTTP that drops the connection without a byte of answer when the application raises :class:`ConnectionLost`.

    By itself, the server would answer 500. That is an answer, and a lost connection must not give one.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent does
        """Wrap the application for this connection, because only here its transport is known."""
        super().connection_made(transport)
        inner = self.app

        async def cut(scope: Any, receive: Any, send: Any) -> None:
            try:
                await inner(scope, receive, send)
            except ConnectionLost:
                transport.abort()
                # Lets the loop tell the protocol, which then does not complain about the missing answer.
                await asyncio.sleep(0)

        self.app = cut


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 means any free one. Raises ``SandboxError`` if there can be none."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise SandboxError(f"{host}:{port} can't be listened on: {error}", "Choose another --port.") from error


def make_server(app: SandboxApp) -> uvicorn.Server:
    """Return a server that does not touch logging, has no websockets, and does not trust proxy headers."""
    config = uvicorn.Config(
        app,
        http=LossyProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,  # the application names the time of its own clock, which may be ahead
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def serve_app(app: SandboxApp, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; calls ``ready`` with the base URL as soon as connections are accepted.

    Raises ``SandboxError`` if the port is not available, and :class:`KeyboardInterrupt` after SIGINT.
    """
    with bind(host, port) as listening:
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listening.getsockname()[1]}")
        make_server(app).run(sockets=[listening])
