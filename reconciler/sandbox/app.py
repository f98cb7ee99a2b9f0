"""The ASGI application: routes bound to a store, a clock and faults, and the routes that steer the simulator itself.

Runs in process (through a client's ASGI transport) or on a port (:mod:`reconciler.sandbox.serve`); both are the same
application. Passes :class:`ConnectionLost` up where a fault says that the connection dies. The
paths under ``/_sandbox`` do not exist on the real service. They need no key, don't count for the rate limit, are not
logged and never meet a fault; a mistake there is a 400 whose ``error`` says what to repair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from starlette.routing import Route, Router

from reconciler.core.codec import iso
from reconciler.core.errors import SandboxError
from reconciler.sandbox.checks import FieldProblems, FieldReader
from reconciler.sandbox.faults import Faults, fault_data, parse_faults
from reconciler.sandbox.gateway import Endpoint, Gateway
from reconciler.sandbox.model import Refused
from reconciler.sandbox.simulator import Simulator
from reconciler.sandbox.store import LARGEST_OFFSET_MS
from reconciler.sandbox.v1 import V1_ENVELOPE, v1_paths
from reconciler.sandbox.v2 import V2_ENVELOPE, v2_paths
from reconciler.sandbox.wire import Request, json_reply, receive_request, request_data, send_reply

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from reconciler.sandbox.gateway import Sleep
    from reconciler.sandbox.store import Store
    from reconciler.sandbox.wire import RequestLog


class SandboxApp:
    """The simulated service. ``faults`` may be changed at any time; ``requests`` holds what was asked."""

    def __init__(self, gateway: Gateway) -> None:
        self.faults: Faults = gateway.faults
        self.requests: RequestLog = gateway.log
        routes = [Route(path, Endpoint(gateway, V1_ENVELOPE, handlers)) for path, handlers in v1_paths().items()]
        routes += [Route(path, Endpoint(gateway, V2_ENVELOPE, handlers)) for path, handlers in v2_paths().items()]
        routes += [Route(path, AdminEndpoint(gateway, acts)) for path, acts in ADMIN_PATHS.items()]
        routes.append(Route("/v2/{nowhere:path}", Endpoint(gateway, V2_ENVELOPE, {})))
        # A bare router, not an application: the latter answers an exception with a 500 before it passes it on, and
        # then a lost connection would not be lost.
        self._router = Router(routes, redirect_slashes=False, default=Endpoint(gateway, V1_ENVELOPE, {}))

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
    return SandboxApp(Gateway(Simulator(store, now_ms), Faults() if faults is None else faults, sleep))


Act = Callable[[Gateway, Request], Any]


class AdminEndpoint(Struct, frozen=True):
    """One admin path as an ASGI application; ``acts`` is keyed by method."""

    gateway: Gateway
    acts: Mapping[str, Act]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = await receive_request(scope, receive)
        act = self.acts.get(request.method)
        status, payload = 200, None
        if act is None:
            status, payload = 405, _error(f"use {' or '.join(self.acts)}", "")
        else:
            try:
                payload = act(self.gateway, request)
            except SandboxError as error:
                status, payload = 400, _error(error.summary, error.detail)
            except Refused as refused:
                status, payload = 400, _error(refused.message, "")
        await send_reply(send, json_reply(status, payload))


def _advance(gateway: Gateway, request: Request) -> Any:
    problems = FieldProblems()
    fields = FieldReader(request.document(), "", problems, known=("ms",))
    if "ms" not in fields:
        problems.add("ms", "is missing", "write the milliseconds to move the clock ahead by")
    ms = fields.whole("ms", default=0, least=0, most=LARGEST_OFFSET_MS)
    problems.stop("the request")
    store = gateway.simulator.store
    store.advance(ms)
    return {"clockOffsetMs": store.clock_offset_ms, "now": iso(gateway.simulator.wall_ms() + store.clock_offset_ms)}


def _add_faults(gateway: Gateway, request: Request) -> Any:
    gateway.faults.add(*parse_faults(request.document()))
    return _faults(gateway, request)


def _clear_faults(gateway: Gateway, request: Request) -> Any:
    gateway.faults.clear()
    return _faults(gateway, request)


def _faults(gateway: Gateway, _request: Request) -> Any:
    return [fault_data(fault) for fault in gateway.faults.left()]


def _requests(gateway: Gateway, _request: Request) -> Any:
    return [request_data(request) for request in gateway.log.kept()]


ADMIN_PATHS: Final[Mapping[str, Mapping[str, Act]]] = {
    "/_sandbox/advance": {"POST": _advance},
    "/_sandbox/faults": {"GET": _faults, "POST": _add_faults, "DELETE": _clear_faults},
    "/_sandbox/requests": {"GET": _requests},
}
"""What each method of each path does."""


def _error(message: str, detail: str) -> dict[str, Any]:
    return {"error": {"message": message, "detail": detail}}
