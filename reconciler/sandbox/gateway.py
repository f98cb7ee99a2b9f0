"""What happens to every call, whatever it asks for: it is logged, counted, checked for a key, and spoilt on request.

In: a request and the methods its path has. Out: a reply, or :class:`ConnectionLost`. Knows neither routes nor the
shape of answers; those come in with each :class:`Endpoint`.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never

from reconciler.core.errors import SandboxError
from reconciler.sandbox.answers import iso
from reconciler.sandbox.faults import Fault, FaultKind, Faults, Operation, RetryAfterForm
from reconciler.sandbox.limits import Limiter
from reconciler.sandbox.model import Code, Refused
from reconciler.sandbox.requests import (
    ConnectionLost,
    Reply,
    Request,
    RequestLog,
    Trace,
    json_reply,
    receive_request,
    send_reply,
)
from reconciler.sandbox.seed import PathFamilies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from reconciler.sandbox.glider import Glider
    from reconciler.sandbox.seed import Settings

    Sleep = Callable[[float], Awaitable[object]]
    Work = Callable[[Glider, Request], dict[str, Any]]

_BAD_KEYS: Final = {
    b"": (401, Code.KEY_MISSING, "API key is required"),
    b"expired": (401, Code.KEY_EXPIRED, "API key has expired"),
    b"invalid": (401, Code.KEY_INVALID, "API key is invalid"),
    b"forbidden": (403, Code.PERMISSION_DENIED, "API key lacks the required permission"),
}
"""Keys that are refused; every other is accepted."""

_CORRELATION: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_OTHER_PORTFOLIO: Final = "zz0zz0zz"
_HTML_PAGE: Final = b"<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1><p>The upstream did not answer.</p>"
_NOT_JSON: Final = b"upstream connect error or disconnect/reset before headers"


class Envelope(Protocol):
    """How one version of the API wraps what it says; each method returns plain data for JSON."""

    def success(self, data: dict[str, Any], trace: Trace) -> dict[str, Any]:
        """Wrap an answer."""

    def failure(self, refused: Refused, trace: Trace) -> dict[str, Any]:
        """Wrap a refusal."""


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one path: what it does, and the path family it belongs to, ``None`` for both."""

    operation: Operation
    work: Work
    family: PathFamilies | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path as an ASGI application; without calls it is the path that does not exist."""

    gateway: Gateway
    envelope: Envelope
    calls: Mapping[str, Call]
    """Keyed by method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = await receive_request(scope, receive)
        await send_reply(send, await self.gateway.reply(request, self))


class Gateway:
    """The door all calls come through. ``faults`` and ``log`` are open to tests and to the admin routes."""

    def __init__(self, glider: Glider, faults: Faults, sleep: Sleep) -> None:
        self.glider = glider
        self.faults = faults
        self.log = RequestLog()
        self._sleep = sleep
        self._limiter = Limiter()
        self._numbers = itertools.count(1)

    async def reply(self, request: Request, endpoint: Endpoint) -> Reply:
        """Return the answer to one request; raises :class:`ConnectionLost` where a fault says so."""
        self.log.add(request)
        trace = self._trace(request)
        extra: tuple[tuple[bytes, bytes], ...] = (
            (b"X-Request-Id", trace.request_id.encode()),
            (b"X-Correlation-Id", trace.correlation_id.encode()),
        )
        try:
            facts, wall_ms = self.glider.store.facts(), self.glider.wall_ms()
            trace = replace(trace, timestamp=iso(wall_ms + facts.clock_offset_ms))
            allowance = self._limiter.take(facts.settings.rate_limit, wall_ms)
            if allowance is not None:
                extra += tuple(allowance.headers)
                if allowance.retry_after_s is not None:
                    seconds = allowance.retry_after_s
                    return _too_many(seconds, str(seconds), trace).plus(*extra)
            reply = await self._served(request, endpoint, facts.settings, trace)
        except Refused as refused:
            reply = _refusal(refused, endpoint, trace)
        except SandboxError as error:
            failure = Refused(500, Code.UNKNOWN_ERROR, f"{error.summary}. {error.detail}")
            reply = _refusal(failure, endpoint, trace)
        return reply.plus(*extra)

    async def _served(self, request: Request, endpoint: Endpoint, settings: Settings, trace: Trace) -> Reply:
        call = _call(request, endpoint, settings)
        bad_key = _BAD_KEYS.get(request.headers.get(b"x-api-key", b"").strip())
        if bad_key is not None:
            raise Refused(*bad_key)
        fault = self.faults.take(call.operation, request.portfolio)
        if fault is None:
            return json_reply(200, endpoint.envelope.success(call.work(self.glider, request), trace))
        return await self._spoilt(fault, call, request, endpoint, trace)

    async def _spoilt(self, fault: Fault, call: Call, request: Request, endpoint: Endpoint, trace: Trace) -> Reply:
        instead = await self._instead(fault, endpoint, trace)
        if instead is not None:
            return instead
        return await self._afterwards(fault, self._worked(call, request, endpoint, trace), endpoint, trace)

    async def _instead(self, fault: Fault, endpoint: Endpoint, trace: Trace) -> Reply | None:
        """Return what is answered instead of doing the work; ``None`` where the work is to be done."""
        match fault.kind:
            case FaultKind.LATENCY:
                await self._sleep(fault.ms / 1_000)
                return None
            case FaultKind.RATE_LIMITED:
                return _too_many(fault.retry_after, self._retry_after(fault), trace)
            case FaultKind.SERVER_ERROR:
                return _broken(fault, endpoint, trace)
            case FaultKind.HTML:
                return Reply(fault.status, _HTML_PAGE, media=b"text/html; charset=utf-8")
            case FaultKind.LOST_BEFORE:
                raise ConnectionLost("the connection was lost before the work was done")
            case (
                FaultKind.LOST_AFTER
                | FaultKind.SLOW_ANSWER
                | FaultKind.ERROR_AFTER
                | FaultKind.NOT_JSON
                | FaultKind.EMPTY
                | FaultKind.TRUNCATED
                | FaultKind.WRONG_PORTFOLIO
                | FaultKind.UNKNOWN_WORD
            ):
                return None
            case _:
                assert_never(fault.kind)

    async def _afterwards(self, fault: Fault, reply: Reply, endpoint: Endpoint, trace: Trace) -> Reply:
        """Return what becomes of the right answer once the work is done."""
        match fault.kind:
            case FaultKind.LOST_AFTER:
                raise ConnectionLost("the connection was lost after the work was done")
            case FaultKind.SLOW_ANSWER:
                await self._sleep(fault.ms / 1_000)
                return reply
            case FaultKind.ERROR_AFTER:
                return _broken(fault, endpoint, trace)
            case FaultKind.NOT_JSON:
                return replace(reply, body=_NOT_JSON, media=b"text/plain")
            case FaultKind.EMPTY:
                return replace(reply, body=b"")
            case FaultKind.TRUNCATED:
                return replace(reply, body=reply.body[: len(reply.body) // 2])
            case FaultKind.WRONG_PORTFOLIO:
                return _changed(reply, "portfolioId", _OTHER_PORTFOLIO)
            case FaultKind.UNKNOWN_WORD:
                return _changed(reply, "status", fault.word)
            case (
                FaultKind.LATENCY
                | FaultKind.RATE_LIMITED
                | FaultKind.SERVER_ERROR
                | FaultKind.HTML
                | FaultKind.LOST_BEFORE
            ):
                return reply
            case _:
                assert_never(fault.kind)

    def _worked(self, call: Call, request: Request, endpoint: Endpoint, trace: Trace) -> Reply:
        """Do the work of a call that is about to be spoilt; a refusal is an answer like any other there."""
        try:
            return json_reply(200, endpoint.envelope.success(call.work(self.glider, request), trace))
        except Refused as refused:
            return _refusal(refused, endpoint, trace)

    def _retry_after(self, fault: Fault) -> str:
        match fault.form:
            case RetryAfterForm.SECONDS:
                return str(fault.retry_after)
            case RetryAfterForm.DATE:
                from email.utils import formatdate

                # By the wall clock: whoever waits for it does so in real time.
                return formatdate(self.glider.wall_ms() / 1_000 + fault.retry_after, usegmt=True)
            case _:
                assert_never(fault.form)

    def _trace(self, request: Request) -> Trace:
        """Return the names of one exchange, by the wall clock until the store's clock is known."""
        number = next(self._numbers)
        sent = request.headers.get(b"x-correlation-id", b"")
        correlation = sent.decode() if _CORRELATION.fullmatch(sent) else f"corr_{number:012x}"
        return Trace(request_id=f"req_{number:012x}", correlation_id=correlation, timestamp=iso(self.glider.wall_ms()))


def _call(request: Request, endpoint: Endpoint, settings: Settings) -> Call:
    """Return what a request asks for; raises ``Refused`` 404, 405 or 400 before anything is looked at."""
    routed = {
        method: call
        for method, call in endpoint.calls.items()
        if call.family is None or settings.paths in (PathFamilies.BOTH, call.family)
    }
    if not routed:
        raise Refused(404, Code.NOT_FOUND, f"Route {request.method} {request.path} not found")
    if request.method not in routed:
        raise Refused(405, Code.METHOD_NOT_ALLOWED, f"Method {request.method} is not allowed here")
    if request.body is None:
        raise Refused(400, Code.INVALID_REQUEST, "Request body is too large")
    return routed[request.method]


def _refusal(refused: Refused, endpoint: Endpoint, trace: Trace) -> Reply:
    reply = json_reply(refused.status, endpoint.envelope.failure(refused, trace))
    return reply.plus((b"Allow", ", ".join(endpoint.calls).encode())) if refused.status == 405 else reply


def _broken(fault: Fault, endpoint: Endpoint, trace: Trace) -> Reply:
    return _refusal(Refused(fault.status, Code.UNKNOWN_ERROR, "An unexpected error occurred"), endpoint, trace)


def _too_many(seconds: int, header: str, trace: Trace) -> Reply:
    """Return the 429 of API facts §2.5, which is not in the usual envelope."""
    payload = {
        "error": "Too Many Requests",
        "message": f"Rate limit exceeded. Try again in {seconds} seconds.",
        "retryAfter": seconds,
        "correlationId": trace.correlation_id,
        "requestId": trace.request_id,
    }
    return json_reply(429, payload).plus((b"Retry-After", header.encode()))


def _changed(reply: Reply, field: str, value: str) -> Reply:
    """Return an answer whose ``data`` has another value in one field; a refusal has no data and stays as it is."""
    payload = json.loads(reply.body)
    if "data" not in payload:
        return reply
    payload["data"][field] = value
    return replace(reply, body=json_reply(reply.status, payload).body)
