"""Calls to one service over HTTP: paced, repeated within limits; connections, time limits, and who knows the key.

In: method, path and body of a call. Out: the JSON object of its answer, or an :class:`ApiError`. Knows no portfolio.
When and how often one is sent is :mod:`reconciler.api.limiter`'s to say. The only module that imports httpx. It drives
httpx's transports and not its client, which by construction leaves no redirect, cookie, proxy variable or netrc to
switch off.

How httpx's exceptions are read (every other one, of whatever library: ``INTERRUPTED``)::

    ConnectError, ConnectTimeout   no connection came about                -> UNREACHABLE
    PoolTimeout                    no connection was free                  -> UNREACHABLE
    UnsupportedProtocol            refused before connecting               -> UNREACHABLE
    all the rest                   something may have been sent            -> INTERRUPTED

A write in a room is checked for the age of its look as the last thing before its bytes go out, after a connection was
opened for it: httpcore's ``trace`` extension says when that is, and raises what the check raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, cast

from msgspec import Struct

# httpx imports its command line with rich and pygments, where those are installed, and does without it where they
# are not. It is half of the time that the import takes, and nothing of it is used here.
_hidden = "httpx" not in sys.modules
if _hidden:
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # None is how the import system spells "not there"
import httpx

if _hidden:
    del sys.modules["httpx._main"]

from reconciler import __version__
from reconciler.api.envelope import ServiceTime, success_of, without_key
from reconciler.api.key import checked_key, checked_proxy
from reconciler.api.limiter import RequestLimiter
from reconciler.api.room import WriteRoom, room_here
from reconciler.core.endpoint import checked_base_url
from reconciler.core.errors import ApiError, FailureKind, UsageError
from reconciler.core.ports import WriteNotSent
from reconciler.core.rebalance import is_cooldown
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
    from types import TracebackType

    from reconciler.core.ports import Clock

T = TypeVar("T")

LARGEST_BODY: Final = 4 * 1024 * 1024
"""Bytes of one answer that are read; the documented ones are a few hundred."""

_IN_PROCESS: Final = "http://sandbox.localhost"
# Servers commonly close an idle connection after 5 s (uvicorn, Node). Giving it up first means that no write is ever
# sent into a connection that is just being closed, which would leave its outcome unknown.
_KEEP_ALIVE_S: Final = 4.0
_SHORTEST_SECRET: Final = 8
_MOST_IN_A_ROW: Final = 100  # a coroutine that waits for another task by giving way to it must get there
_NOTHING_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

# httpcore imports sniffio, which is optional, several times a request. Python remembers no import that failed, and
# looking through sys.path costs 70 us each time, a third of a millisecond in all; this entry makes it fail at once.
if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # None is how the import system spells "not there"


class Timeouts(Struct, frozen=True, kw_only=True):
    """Limits of one request, in seconds: each step, and the whole of it."""

    connect: float = 10.0
    read: float = 30.0
    write: float = 30.0
    pool: float = 10.0
    whole: float = 60.0


class _NoBody(httpx.AsyncByteStream):
    """The body of a GET; httpx's own empty one sends an empty chunk."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        nothing: tuple[bytes, ...] = ()
        for chunk in nothing:
            yield chunk


_NO_BODY: Final = _NoBody()


class Transport:
    """An async context manager that sends calls to one service and never more than ``parallelism`` at a time.

    ``proxy`` is used only when it is given; a proxy variable of the environment never is. ``base_url`` is checked by
    :func:`~reconciler.core.endpoint.checked_base_url`. With ``asgi_app`` the application is
    called in this process and ``base_url`` is a mere label. ``jitter`` gives numbers from 0 up to 1. Raises
    :class:`UsageError` for a base URL and :class:`ApiError` for a key that can't be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        parallelism: int,
        clock: Clock,
        jitter: Callable[[], float],
        asgi_app: object | None = None,
        proxy: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        if parallelism < 1:
            raise UsageError(f"{parallelism} requests at a time are none", "Give --parallelism a number from 1 up.")
        self._clock = clock
        self._time = ServiceTime(clock)
        self._limiter = RequestLimiter(
            parallelism=parallelism, clock=clock, jitter=jitter, service_ms=self._time.now_ms
        )
        self.base_url = base_url if asgi_app is not None else checked_base_url(base_url)
        self.requests = 0
        """Requests sent so far, repeated ones included."""
        self._timeouts = timeouts or Timeouts()
        self._asgi_app = asgi_app
        self._proxy = checked_proxy(proxy, self.base_url) if proxy and asgi_app is None else None
        self._ssl: ssl.SSLContext | None = None
        # One connection a request in flight, whose number the limiter keeps. httpx's pool looks at all of its
        # connections several times a request: 8 ms of processor time at 50 of them. A pool of one has nothing to
        # look at, and nobody ever waits inside it.
        self._idle: list[httpx.AsyncBaseTransport] = []
        key = checked_key(key)
        self._secret = key if len(key) >= _SHORTEST_SECRET else ""  # a shorter one is a word of everyday answers
        # What all requests share is made once; a request is made ten thousand times.
        self._origin = httpx.URL(self.base_url if asgi_app is None else _IN_PROCESS)
        self._prefix = self._origin.raw_path.decode().rstrip("/")
        self._headers = _headers(key, self._origin)
        limits = self._timeouts
        self._limits = {
            "connect": limits.connect,
            "read": limits.read,
            "write": limits.write,
            "pool": limits.pool,
        }

    def __repr__(self) -> str:
        return f"<Transport {self.base_url}, {self.requests} requests>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            await self._discard(self._idle.pop())

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told of the pace: sentences, each once, oldest first."""
        return self._limiter.notes

    def service_ms(self) -> int:
        """Return the time by the service's clock, UTC epoch milliseconds; by ours where it names none."""
        return self._time.now_ms()

    def room(self) -> WriteRoom:
        """Return room for the looks and attempts of one write; while it is entered, this task's calls go by it."""
        return WriteRoom(self._limiter, self._clock)

    async def get(self, path: str, *, operation: str) -> dict[str, object]:
        """Send a read; repeat it within limits. ``path`` begins with a slash and is safe in a URL as it stands."""
        return await self._call("GET", path, None, operation)

    async def post(
        self, path: str, body: Mapping[str, object], *, operation: str, cools_down: bool = False
    ) -> dict[str, object]:
        """Send a write once; outside a room, after a 429 alone, which proves that nothing was done, again.

        In a room it is sent at once or not at all (:class:`~reconciler.core.ports.WriteNotSent`).
        ``cools_down`` says that the route has a cooldown of its own (API facts §2.5): its 429 is about this one
        portfolio, so it is raised at once and slows nothing else.
        """
        return await self._call("POST", path, _encoded(body), operation, cools_down=cools_down)

    async def put(self, path: str, body: Mapping[str, object], *, operation: str) -> dict[str, object]:
        """Send a write of a value, as :meth:`post` does."""
        return await self._call("PUT", path, _encoded(body), operation)

    async def _call(
        self, method: str, path: str, body: bytes | None, operation: str, *, cools_down: bool = False
    ) -> dict[str, object]:
        room = room_here(self._limiter)
        way = self._limiter if room is None else room
        call = way.call(operation, safe=body is None)
        sending = None if room is None else functools.partial(room.sending, call)
        while True:
            await way.enter(call)
            try:
                status, headers, answer = await self._exchange(method, path, body, operation, sending)
                self._limiter.heard(headers, limited=status == 429)
                payload = success_of(status, headers, answer, operation=operation, now_ms=self._time.now_ms())
            except ApiError as error:
                if cools_down and is_cooldown(error):
                    way.succeeded(call)
                    raise
                failure = error
                way.failed(call, failure)
            else:
                way.succeeded(call)
                return payload
            finally:
                way.leave()
            await way.before_retry(call, failure)

    async def look(self, path: str, *, operation: str) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
        """Send a read once and return status, headers and body as they come: for questions about the service itself.

        Raises :class:`ApiError` where no whole answer comes.
        """
        return await self._exchange("GET", path, None, operation)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        operation: str,
        sending: Callable[[], None] | None = None,
    ) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
        """Send one request and return status, headers and body; whatever goes wrong becomes an :class:`ApiError`.

        ``sending`` is called as the last thing before the bytes go out; what it raises stays as it is, and then none
        have gone out.
        """
        if sending is not None:
            sending()
        slot = self._idle.pop() if self._idle else self._connection()  # the last used is the surest to be alive
        self.requests += 1
        try:
            async with asyncio.timeout(self._timeouts.whole):
                request = self._request(method, path, body)
                response = await (
                    slot.handle_async_request(request) if sending is None else _sent(slot, request, sending)
                )
                self._time.heard(response.headers.raw)
                try:
                    answer = await _read(response, operation)
                finally:
                    await cast("httpx.AsyncByteStream", response.stream).aclose()
        except ApiError:
            await self._discard(slot)
            raise
        except WriteNotSent:
            self.requests -= 1
            await self._discard(slot)
            raise
        except Exception as cause:
            await self._discard(slot)
            leaks = bool(self._secret) and self._secret in str(cause)
            raise self._failure(cause, operation) from (None if leaks else cause)
        except BaseException:  # cancelled: the connection is in an unknown state
            await self._discard(slot)
            raise
        self._idle.append(slot)
        return response.status_code, *without_key(response.headers.raw, answer, self._secret)

    def _request(self, method: str, path: str, body: bytes | None) -> httpx.Request:
        headers = self._headers
        stream: httpx.AsyncByteStream = _NO_BODY
        if body is not None:
            headers = headers.copy()
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(body))
            stream = httpx.ByteStream(body)
        path = self._prefix + path
        extensions: dict[str, object] = {"timeout": self._limits}
        if self._asgi_app is not None or self._proxy is not None:
            # A proxy takes the target below for that of its own CONNECT; in process there is nothing to save.
            url = self._origin.join(path)
            return httpx.Request(method, url, headers=headers, stream=stream, extensions=extensions)
        # The path goes around httpx.URL, whose parser takes 40 us; ids are checked before they get here.
        extensions["target"] = path.encode()
        return httpx.Request(method, self._origin, headers=headers, stream=stream, extensions=extensions)

    def _connection(self) -> httpx.AsyncBaseTransport:
        if self._asgi_app is not None:
            return httpx.ASGITransport(app=cast("Any", self._asgi_app))
        return httpx.AsyncHTTPTransport(
            verify=self._tls(),
            proxy=httpx.Proxy(self._proxy) if self._proxy else None,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE_S),
        )

    def _tls(self) -> ssl.SSLContext:
        """Return the one TLS context of all connections: reading the authorities takes 45 ms. Only https reads them."""
        if self._ssl is None:
            if self.base_url.startswith("https:"):
                self._ssl = httpx.create_ssl_context()  # httpx's authorities, or those of SSL_CERT_FILE
            else:
                import ssl

                self._ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and is never used
        return self._ssl

    def _failure(self, cause: Exception, operation: str) -> ApiError:
        said = str(cause).strip() or type(cause).__name__
        said = harmless(said.replace(self._secret, "[key]") if self._secret else said, longest=200)
        if isinstance(cause, _NOTHING_SENT):
            return ApiError(
                FailureKind.UNREACHABLE,
                f"no connection to {self.base_url}: {said}; check the base URL and the network",
                operation=operation,
            )
        if isinstance(cause, TimeoutError):
            said = f"no whole answer within {self._timeouts.whole:g} s"
        return ApiError(
            FailureKind.INTERRUPTED, f"the connection was lost before the answer: {said}", operation=operation
        )

    @staticmethod
    async def _discard(slot: httpx.AsyncBaseTransport) -> None:
        with contextlib.suppress(Exception):  # the call has its outcome already, and a second one would hide it
            await slot.aclose()


def _encoded(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _sent(
    slot: httpx.AsyncBaseTransport, request: httpx.Request, sending: Callable[[], None]
) -> Awaitable[httpx.Response]:
    """Send a request, and call ``sending`` right before its bytes, with nothing of other tasks in between."""
    prompt = Prompt(slot.handle_async_request(request))

    async def trace(event: str, _: object) -> None:
        if event.endswith("send_request_headers.started"):
            sending()
            prompt.hurry = True
        elif event.endswith(("send_request_body.complete", ".failed")):
            prompt.hurry = False

    request.extensions["trace"] = trace
    return prompt


def _headers(key: str, origin: httpx.URL) -> httpx.Headers:
    """Return the headers of every request: the only place that the key goes to."""
    return httpx.Headers(
        [
            (b"Host", origin.netloc),
            (b"User-Agent", f"glider-reconciler/{__version__}".encode()),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"X-API-KEY", key.encode()),
        ]
    )


async def _read(response: httpx.Response, operation: str) -> bytes:
    parts = []
    size = 0
    async for part in cast("httpx.AsyncByteStream", response.stream):
        size += len(part)
        if size > LARGEST_BODY:
            raise ApiError(
                FailureKind.MALFORMED,
                f"the answer is larger than {LARGEST_BODY // 1024 // 1024} MiB; is the base URL Glider's?",
                operation=operation,
                status=response.status_code,
            )
        parts.append(part)
    return b"".join(parts) if len(parts) != 1 else parts[0]


class Prompt(Generic[T]):
    """Runs ``work`` when awaited; while ``hurry`` is set, a mere courtesy to other tasks is passed over.

    Libraries give way to other tasks before they write to a socket; between the last check of a request and its bytes
    the others could do seconds of work then. Waiting for something (a future) is not passed over.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self.hurry = False

    def __await__(self) -> Generator[Any, Any, T]:
        """Return the result of the work."""
        error: BaseException | None = None
        passed = 0
        while True:
            try:
                waits_for = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            error = None
            if waits_for is None and self.hurry and passed < _MOST_IN_A_ROW:
                passed += 1
                continue
            try:
                yield waits_for
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as thrown:  # handed on as it is
                error = thrown
