"""The ASGI application: routes bound to a store, a clock and faults.

Runs in process (through a client's ASGI transport) or on a port (:mod:`reconciler.sandbox.serve`); both are the same
application. Passes :class:`ConnectionLost` up where a fault says that the connection dies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.routing import Route, Router

from reconciler.sandbox.admin import ADMIN_PATHS, AdminEndpoint
from reconciler.sandbox.faults import Faults
from reconciler.sandbox.gateway import Endpoint, Gateway
from reconciler.sandbox.glider import Glider
from reconciler.sandbox.requests import ConnectionLost
from reconciler.sandbox.v1 import V1Envelope, v1_paths
from reconciler.sandbox.v2 import V2Envelope, v2_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from reconciler.sandbox.gateway import Sleep
    from reconciler.sandbox.requests import RequestLog
    from reconciler.sandbox.store import Store

__all__ = ["ConnectionLost", "SandboxApp", "create_app"]


class SandboxApp:
    """The simulated service. ``faults`` may be changed at any time; ``requests`` holds what was asked."""

    def __init__(self, gateway: Gateway) -> None:
        self.faults: Faults = gateway.faults
        self.requests: RequestLog = gateway.log
        first, second = V1Envelope(), V2Envelope()
        routes = [Route(path, Endpoint(gateway, first, calls)) for path, calls in v1_paths().items()]
        routes += [Route(path, Endpoint(gateway, second, calls)) for path, calls in v2_paths().items()]
        routes += [Route(path, AdminEndpoint(gateway, acts)) for path, acts in ADMIN_PATHS.items()]
        routes.append(Route("/v2/{nowhere:path}", Endpoint(gateway, second, {})))
        # A bare router, not an application: the latter answers an exception with a 500 before it passes it on, and
        # then a lost connection would not be lost.
        self._router = Router(routes, redirect_slashes=False, default=Endpoint(gateway, first, {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        await self._router(scope, receive, send)


def create_app(
    store: Store, *, now_ms: Callable[[], int], faults: Faults | None = None, sleep: Sleep = asyncio.sleep
) -> SandboxApp:
    """Return the application over a store.

    ``now_ms`` is the wall clock, UTC epoch milliseconds; what the store's clock was moved ahead is added to it.
    ``sleep`` takes seconds and is called for faults alone.
    """
    return SandboxApp(Gateway(Glider(store, now_ms), Faults() if faults is None else faults, sleep))
