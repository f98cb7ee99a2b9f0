"""What happens to every call, whatever it asks for: it is logged, counted, checked for a key, and fails on request.

In: a request and the methods its path has. Out: a reply, or :class:`ConnectionLost`. Knows neither routes nor the
shape of answers; those come in with each :class:`Endpoint`. A key is known by its own text alone; nothing is stored.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.codec import iso
from reconciler.core.errors import SandboxError
from reconciler.sandbox.faults import Fault, FaultKind, Faults, Operation, RetryAfterForm, naming_another, saying
from reconciler.sandbox.model import Code, Refused, invalid
from reconciler.sandbox.settings import ApiScope, PathFamilies
from reconciler.sandbox.wire import (
    ConnectionLost,
    Reply,
    Request,
    RequestLog,
    json_reply,
    receive_request,
    send_reply,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from reconciler.sandbox.settings import RateLimit, Settings
    from reconciler.sandbox.simulator import Simulator

Sleep = Callable[[float], Awaitable[object]]
Data = dict[str, Any]
Headers = tuple[tuple[bytes, bytes], ...]

LEGACY_KEY: Final = b"legacy"
"""A static key without a tenant: ``whoami`` refuses it (API facts §1.3), everything else takes it."""
READ_ONLY_KEY: Final = b"readonly"
"""A key that has the scopes every key has, and no other."""
DEFAULT_SCOPES: Final = frozenset({ApiScope.PORTFOLIOS_READ, ApiScope.STRATEGIES_READ})
"""What every key is granted without asking."""
_BAD_KEYS: Final = {
    b"": (401, Code.KEY_MISSING, "API key is required"),
    b"expired": (401, Code.KEY_EXPIRED, "API key has expired"),
    b"invalid": (401, Code.KEY_INVALID, "API key is invalid"),
    b"forbidden": (403, Code.PERMISSION_DENIED, "API key lacks the required permission"),
}
"""Keys that are refused; every other is accepted."""

_CORRELATION: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_HTML_PAGE: Final = b"<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1><p>The upstream did not answer.</p>"
_NOT_JSON: Final = b"upstream connect error or disconnect/reset before headers"


class Trace(Struct, frozen=True):
    """What an answer is called by when people ask for help, and its time, UTC epoch milliseconds."""

    request_id: str
    correlation_id: str
    now_ms: int


class DataPage(Struct, frozen=True):
    """One page of a list; the cursor of the next stands beside its data (API facts §1.4), ``None`` at the end."""

    data: Data
    next_cursor: str | None


class Envelope(Struct, frozen=True):
    """How one version of the API wraps what it says: with the tracing ids in the body or not, and each error."""

    traced: bool
    error: Callable[[Refused], Data]

    def success(self, said: Data | DataPage | None, trace: Trace) -> Data:
        """Wrap an answer."""
        if isinstance(said, DataPage):
            return {"success": True, "data": said.data, **self._tracing(trace), "nextCursor": said.next_cursor}
        return {"success": True, "data": said, **self._tracing(trace)}

    def failure(self, refused: Refused, trace: Trace) -> Data:
        """Wrap a refusal."""
        return {"success": False, "error": self.error(refused), **self._tracing(trace)}

    def _tracing(self, trace: Trace) -> dict[str, str]:
        if not self.traced:
            return {}
        ids = {"correlationId": trace.correlation_id, "requestId": trace.request_id}
        return ids | {"timestamp": iso(trace.now_ms)}


class Handler(Struct, frozen=True):
    """One method of one path: what it does, and what it takes to be allowed to.

    ``family`` is the v1 path family it belongs to, ``None`` for both. A ``public`` call needs no key, another the
    ``scope`` where there is one. ``status`` is that of a success.
    """

    operation: Operation
    work: Callable[[Simulator, Request], Data | DataPage | None]
    family: PathFamilies | None = None
    scope: ApiScope | None = None
    public: bool = False
    status: int = 200


Routing = Mapping[str, Mapping[str, Handler]]
"""What each method of each path does."""


class Endpoint(Struct, frozen=True):
    """One path as an ASGI application, its handlers keyed by method; without any it is the path that does not exist."""

    gateway: Gateway
    envelope: Envelope
    handlers: Mapping[str, Handler]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = await receive_request(scope, receive)
        await send_reply(send, await self.gateway.reply(request, self))

    def handler(self, request: Request, settings: Settings) -> Handler:
        """Return what a request asks for; raises ``Refused`` 404, 405 or 400 before anything is looked at."""
        families = (None, settings.paths) if settings.paths is not PathFamilies.BOTH else (None, *PathFamilies)
        routed = {method: one for method, one in self.handlers.items() if one.family in families}
        if not routed:
            raise Refused(404, Code.NOT_FOUND, f"Route {request.method} {request.path} not found")
        if request.method not in routed:
            raise Refused(405, Code.METHOD_NOT_ALLOWED, f"Method {request.method} is not allowed here")
        if request.body is None:
            raise invalid("Request body is too large")
        return routed[request.method]


class Exchange(Struct, frozen=True):
    """One call that was let in, with everything that its answer is made of."""

    simulator: Simulator
    endpoint: Endpoint
    handler: Handler
    request: Request
    trace: Trace

    def done(self) -> Reply:
        """Do the work of the call and wrap what it says, be it a refusal."""
        try:
            said = self.handler.work(self.simulator, self.request)
        except Refused as refused:
            return _refusal(refused, self.endpoint, self.trace)
        return json_reply(self.handler.status, self.endpoint.envelope.success(said, self.trace))

    def broken(self, status: int) -> Reply:
        """Return an error that does not tell what was done."""
        return _refusal(Refused(status, Code.UNKNOWN_ERROR, "An unexpected error occurred"), self.endpoint, self.trace)


class Gateway:
    """The door all calls come through. ``faults`` and ``log`` are open to tests and to the admin routes."""

    def __init__(self, simulator: Simulator, faults: Faults, sleep: Sleep) -> None:
        self.simulator = simulator
        self.faults = faults
        self.log = RequestLog()
        self._sleep = sleep
        self._window = _Window()
        self._numbers = itertools.count(1)

    async def reply(self, request: Request, endpoint: Endpoint) -> Reply:
        """Return the answer to one request, which names the time of the simulated clock.

        Raises :class:`ConnectionLost` where a fault says so.
        """
        self.log.add(request)
        wall_ms = self.simulator.wall_ms()
        trace = self._trace(request, wall_ms)
        extra: Headers = (
            (b"X-Request-Id", trace.request_id.encode()),
            (b"X-Correlation-Id", trace.correlation_id.encode()),
        )
        try:
            facts = self.simulator.store.facts()
            now_ms = wall_ms + facts.clock_offset_ms
            trace = replace(trace, now_ms=now_ms)
            extra += ((b"Date", formatdate(now_ms / 1000, usegmt=True).encode()),)
            retry_after_s, shown = self._window.take(facts.settings.rate_limit, wall_ms, facts.clock_offset_ms)
            extra += shown
            if retry_after_s is not None:
                reply = _too_many(retry_after_s, str(retry_after_s), trace)
            else:
                reply = await self._served(request, endpoint, facts.settings, trace)
        except Refused as refused:
            reply = _refusal(refused, endpoint, trace)
        except SandboxError as error:
            reply = _refusal(Refused(500, Code.UNKNOWN_ERROR, f"{error.summary}. {error.detail}"), endpoint, trace)
        return reply.plus(*extra)

    async def _served(self, request: Request, endpoint: Endpoint, settings: Settings, trace: Trace) -> Reply:
        handler = endpoint.handler(request, settings)
        if not handler.public and request.key in _BAD_KEYS:
            raise Refused(*_BAD_KEYS[request.key])
        if handler.scope is not None and handler.scope not in scopes_of(request.key, settings):
            raise Refused(403, Code.PERMISSION_DENIED, f"API key lacks the scope {handler.scope.value}")
        exchange = Exchange(self.simulator, endpoint, handler, request, trace)
        fault = self.faults.take(handler.operation, request.subject)
        return exchange.done() if fault is None else await self._spoilt(fault, exchange)

    async def _spoilt(self, fault: Fault, exchange: Exchange) -> Reply:  # noqa: C901 - a case for each kind
        """Return what becomes of a call that meets a fault; whether its work is done is part of that."""
        match fault.kind:
            case FaultKind.LATENCY:
                await self._sleep(fault.ms / 1_000)
                return exchange.done()
            case FaultKind.SLOW_ANSWER:
                reply = exchange.done()
                await self._sleep(fault.ms / 1_000)
                return reply
            case FaultKind.RATE_LIMITED:
                return _too_many(fault.retry_after, self._retry_after(fault), exchange.trace)
            case FaultKind.SERVER_ERROR:
                return exchange.broken(fault.status)
            case FaultKind.ERROR_AFTER:
                exchange.done()
                return exchange.broken(fault.status)
            case FaultKind.HTML:
                return Reply(fault.status, _HTML_PAGE, media=b"text/html; charset=utf-8")
            case FaultKind.LOST_BEFORE:
                raise ConnectionLost("the connection was lost before the work was done")
            case FaultKind.LOST_AFTER:
                exchange.done()
                raise ConnectionLost("the connection was lost after the work was done")
            case FaultKind.REBALANCE_ENDS:
                return replace(exchange, request=replace(exchange.request, course=fault.course)).done()
            case FaultKind.NOT_JSON:
                return replace(exchange.done(), body=_NOT_JSON, media=b"text/plain")
            case FaultKind.EMPTY:
                return replace(exchange.done(), body=b"")
            case FaultKind.TRUNCATED:
                reply = exchange.done()
                return replace(reply, body=reply.body[: len(reply.body) // 2])
            case FaultKind.WRONG_PORTFOLIO:
                return naming_another(exchange.done())
            case FaultKind.UNKNOWN_WORD:
                return saying(exchange.done(), fault.word)
            case _:
                assert_never(fault.kind)

    def _retry_after(self, fault: Fault) -> str:
        match fault.form:
            case RetryAfterForm.SECONDS:
                return str(fault.retry_after)
            case RetryAfterForm.DATE:
                # By the wall clock, because a client waits in real time.
                return formatdate(self.simulator.wall_ms() / 1_000 + fault.retry_after, usegmt=True)
            case _:
                assert_never(fault.form)

    def _trace(self, request: Request, wall_ms: int) -> Trace:
        """Return the names of one exchange, by the wall clock until the store's clock is known."""
        number = next(self._numbers)
        sent = request.headers.get(b"x-correlation-id", b"")
        correlation = sent.decode() if _CORRELATION.fullmatch(sent) else f"corr_{number:012x}"
        return Trace(request_id=f"req_{number:012x}", correlation_id=correlation, now_ms=wall_ms)


class _Window:
    """Counts requests in fixed windows, as the service's rate limits do (API facts §2.5).

    A window begins with the first request after the last one ended. One counter for all callers; in memory, so each
    process counts for itself.
    """

    def __init__(self) -> None:
        self._rule: RateLimit | None = None
        self._ends_ms = 0
        self._used = 0

    def take(self, rule: RateLimit | None, wall_ms: int, ahead_ms: int) -> tuple[int | None, Headers]:
        """Count one request at ``wall_ms``. Another rule begins a new window.

        Returns the seconds to wait where the request was one too many, and the headers of API facts §2.3. A window
        lasts as long as it says by the wall clock; its end is told by the simulated one, ``ahead_ms`` ahead.
        """
        if rule is None:
            self._rule = None
            return None, ()
        if rule != self._rule or not self._ends_ms - rule.window_ms <= wall_ms < self._ends_ms:
            self._rule, self._ends_ms, self._used = rule, wall_ms + rule.window_ms, 0
        refused = self._used >= rule.limit
        self._used += not refused
        reset_s = -(-(self._ends_ms + ahead_ms) // 1_000)
        shown = {b"Limit": rule.limit, b"Remaining": rule.limit - self._used, b"Reset": reset_s}
        headers = tuple((b"X-RateLimit-" + name, str(value).encode()) for name, value in shown.items())
        return max(1, -((wall_ms - self._ends_ms) // 1_000)) if refused else None, headers


def scopes_of(key: bytes, settings: Settings) -> tuple[ApiScope, ...]:
    """Return what a good key may do on v2 (API facts §2.7), in the order of :class:`ApiScope`."""
    if key == READ_ONLY_KEY:
        return tuple(scope for scope in settings.scopes if scope in DEFAULT_SCOPES)
    return settings.scopes


def _refusal(refused: Refused, endpoint: Endpoint, trace: Trace) -> Reply:
    reply = json_reply(refused.status, endpoint.envelope.failure(refused, trace))
    if refused.retry_after_s is not None:
        reply = reply.plus((b"Retry-After", str(refused.retry_after_s).encode()))
    return reply.plus((b"Allow", ", ".join(endpoint.handlers).encode())) if refused.status == 405 else reply


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
