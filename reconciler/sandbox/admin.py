"""The routes under ``/_sandbox`` that steer the simulator itself; the real service has none of them.

They need no key, are not counted by the rate limit, not logged, and never spoilt. In: JSON. Out: JSON without an
envelope; a mistake is a 400 whose ``error`` says what to repair.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.errors import SandboxError
from reconciler.sandbox.answers import iso
from reconciler.sandbox.checks import Fields, Problems
from reconciler.sandbox.faults import fault_data, parse_faults
from reconciler.sandbox.requests import Request, json_reply, receive_request, request_data, send_reply
from reconciler.sandbox.store import LARGEST_OFFSET_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from reconciler.sandbox.gateway import Gateway

    Act = Callable[[Gateway, Request], Any]


@dataclass(frozen=True, slots=True)
class AdminEndpoint:
    """One admin path as an ASGI application; ``acts`` is keyed by method."""

    gateway: Gateway
    acts: Mapping[str, Act]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = await receive_request(scope, receive)
        act = self.acts.get(request.method)
        if act is None:
            reply = json_reply(405, _error(f"use {' or '.join(self.acts)}", ""))
        else:
            try:
                reply = json_reply(200, act(self.gateway, request))
            except SandboxError as error:
                reply = json_reply(400, _error(error.summary, error.detail))
        await send_reply(send, reply)


def _advance(gateway: Gateway, request: Request) -> Any:
    problems = Problems()
    fields = Fields(_json(request), "", problems, known=("ms",))
    if "ms" not in fields:
        problems.add("ms", "is missing", "write the milliseconds to move the clock ahead by")
    ms = fields.whole("ms", default=0, least=0, most=LARGEST_OFFSET_MS)
    problems.stop("the request")
    gateway.glider.store.advance(ms)
    return {"clockOffsetMs": gateway.glider.store.clock_offset_ms, "now": iso(gateway.glider.now_ms())}


def _add_faults(gateway: Gateway, request: Request) -> Any:
    gateway.faults.add(*parse_faults(_json(request)))
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


def _json(request: Request) -> object:
    try:
        return json.loads(request.body or b"null")
    except (ValueError, RecursionError):
        raise SandboxError("the body is not JSON") from None


def _error(message: str, detail: str) -> dict[str, Any]:
    return {"error": {"message": message, "detail": detail}}
