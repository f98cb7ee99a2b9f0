"""What happens to every call, whatever it asks for: it is logged, counted, checked for a key, and spoilt on request.

In: a request and the methods its path has. Out: a reply, or :class:`ConnectionLost`. Knows neither routes nor the
shape of answers; those come in with each :class:`Endpoint`.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never

from reconciler.core.errors import SandboxError
from reconciler.sandbox.answers import iso
from reconciler.sandbox.faults import Fault, FaultKind, Faults, Operation, RetryAfterForm
from reconciler.sandbox.keys import check_key, check_scope
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
from reconciler.sandbox.settings import PathFamilies
from reconciler.sandbox.spoilt import naming_another, saying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from reconciler.sandbox.glider import Glider
    from reconciler.sandbox.settings import ApiScope, Settings

    Sleep = Callable[[float], Awaitable[object]]
    Work = Callable[[Glider, Request], "dict[str, Any] | Page | None"]

_CORRELATION: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_HTML_PAGE: Final = b"<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1><p>The upstream did not answer.</p>"
_NOT_JSON: Final = b"upstream connect error or disconnect/reset before headers"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; the cursor of the next stands beside its data (API facts §1.4), ``None`` at the end."""

    data: dict[str, Any]
    next_cursor: str | None


class Envelope(Protocol):
    """How one version of the API wraps what it says; each method returns plain data for JSON."""

    def success(self, data: dict[str, Any] | None, trace: Trace) -> dict[str, Any]:
        """Wrap an answer."""

    def failure(self, refused: Refused, trace: Trace) -> dict[str, Any]:
        """Wrap a refusal."""


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one path: what it does, and what it takes to be allowed to.

    ``family`` is the v1 path family it belongs to, ``None`` for both. A ``public`` call needs no key, another the
    ``scope`` where there is one. ``status`` is that of a success.
    """

    operation: Operation
    work: Work
    family: PathFamilies | None = None
    scope: ApiScope | None = None
    public: bool = False
    status: int = 200


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
        """Return the answer to one request, which names the time of the simulated clock.

        Raises :class:`ConnectionLost` where a fault says so.
        """
        self.log.add(request)
        trace = self._trace(request)
        extra: tuple[tuple[bytes, bytes], ...] = (
            (b"X-Request-Id", trace.request_id.encode()),
            (b"X-Correlation-Id", trace.correlation_id.encode()),
        )
        try:
            facts = self.glider.store.facts()
            wall_ms = self.glider.wall_ms()
            now_ms = wall_ms + facts.clock_offset_ms
            trace = replace(trace, timestamp=iso(now_ms))
            extra += ((b"Date", formatdate(now_ms / 1000, usegmt=True).encode()),)
            allowance = self._limiter.take(facts.settings.rate_limit, wall_ms, ahead_ms=facts.clock_offset_ms)
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
        if not call.public:
            check_key(request.key)
        if call.scope is not None:
            check_scope(request.key, call.scope, settings)
        fault = self.faults.take(call.operation, request.subject)
        if fault is None:
            return self._done(call, request, endpoint, trace)
        return await self._spoilt(fault, call, request, endpoint, trace)

    async def _spoilt(self, fault: Fault, call: Call, request: Request, endpoint: Endpoint, trace: Trace) -> Reply:
        instead = await self._instead(fault, endpoint, trace)
        if instead is not None:
            return instead
        if fault.kind is FaultKind.REBALANCE_ENDS:
            request = replace(request, course=fault.course)
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
                | FaultKind.REBALANCE_ENDS
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
                return naming_another(reply)
            case FaultKind.UNKNOWN_WORD:
                return saying(reply, fault.word)
            case (
                FaultKind.LATENCY
                | FaultKind.RATE_LIMITED
                | FaultKind.SERVER_ERROR
                | FaultKind.HTML
                | FaultKind.LOST_BEFORE
                | FaultKind.REBALANCE_ENDS
            ):
                return reply
            case _:
                assert_never(fault.kind)

    def _worked(self, call: Call, request: Request, endpoint: Endpoint, trace: Trace) -> Reply:
        """Do the work of a call that is about to be spoilt; a refusal is an answer like any other there."""
        try:
            return self._done(call, request, endpoint, trace)
        except Refused as refused:
            return _refusal(refused, endpoint, trace)

    def _done(self, call: Call, request: Request, endpoint: Endpoint, trace: Trace) -> Reply:
        """Do the work of a call and wrap what it says."""
        said = call.work(self.glider, request)
        if isinstance(said, Page):
            payload = endpoint.envelope.success(said.data, trace) | {"nextCursor": said.next_cursor}
        else:
            payload = endpoint.envelope.success(said, trace)
        return json_reply(call.status, payload)

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
    if refused.retry_after_s is not None:
        reply = reply.plus((b"Retry-After", str(refused.retry_after_s).encode()))
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
