"""Calls to one service over HTTP: paced, and repeated within limits. The one place that sends the key.

In: method, path and body of a call. Out: the JSON object of its answer, or an :class:`ApiError`. Knows no portfolio.
:mod:`reconciler.api.limiter` decides when and how often one is sent. The only module that imports httpcore2, the layer
below httpx2. It drives single connections, without a client or a pool: that takes half the processor time of a request,
and leaves no redirect, cookie, proxy variable or netrc to switch off.

What httpcore2's exceptions become (any other exception is ``INTERRUPTED``)::

    ConnectError, ConnectTimeout   no connection came about                -> UNREACHABLE
    PoolTimeout                    no connection was free                  -> UNREACHABLE
    UnsupportedProtocol            refused before connecting               -> UNREACHABLE
    all the rest                   something may have been sent            -> INTERRUPTED

A write in a room is checked for the age of its look at the last moment, right before its bytes go out and after its
connection was opened. httpcore2's ``trace`` extension tells that moment, and raises what the check raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import select
from typing import TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import httpcore2
from msgspec import Struct

from reconciler import __version__
from reconciler.api.envelope import ServiceTime, success_of, without_key
from reconciler.api.limiter import RequestLimiter
from reconciler.api.room import WriteRoom, room_here
from reconciler.core.endpoint import checked_base_url, checked_key
from reconciler.core.errors import ApiError, FailureKind, UsageError
from reconciler.core.ports import WriteNotSent
from reconciler.core.rebalance import is_cooldown
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import ssl
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Mapping,
        Sequence,
    )
    from types import TracebackType

    from reconciler.core.ports import Clock

LARGEST_BODY: Final = 4 * 1024 * 1024
"""Up to this many bytes of one answer are read; a documented answer has a few hundred."""

_IN_PROCESS: Final = "http://sandbox.localhost"
# Servers commonly close an idle connection after 5 s (uvicorn, Node). We close it earlier, so that no write is sent
# into a connection that is just being closed, which would leave its outcome unknown.
_KEEP_ALIVE_S: Final = 4.0
_SHORTEST_SECRET: Final = 8  # a shorter key may be an ordinary word, and removing it would spoil answers
_LARGEST_PART: Final = 256 * 1024  # of an answer, kept before it is asked for
_NEXT_ADDRESS_S: Final = 0.25  # where a name has several addresses, the next one is tried beside a slow one
_NOTHING_SENT: Final = (
    httpcore2.ConnectError,
    httpcore2.ConnectTimeout,
    httpcore2.PoolTimeout,
    httpcore2.UnsupportedProtocol,
)


def checked_proxy(text: str, base_url: str) -> str:
    """Return a proxy's URL. Raises :class:`UsageError` for one that can't be used, without repeating it, because it may
    hold a password.

    Only an https service is reached through it, because the proxy can't read what it passes on. A service on http is on
    this machine; a proxy would see the key.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise UsageError(
            "the proxy is not an http:// or https:// URL of a host", "Write it as http://proxy.example:3128."
        )
    if not base_url.startswith("https:"):
        raise UsageError("a service on this machine is reached without a proxy", "Drop --proxy, or GLIDER_PROXY.")
    return text.strip()


class Timeouts(Struct, frozen=True, kw_only=True):
    """Limits of one request, in seconds: each step, and the whole of it."""

    connect: float = 10.0
    read: float = 30.0
    write: float = 30.0
    whole: float = 60.0


class _Body:
    """A body in parts; without any, the body of a GET, because httpcore2's own empty body sends an empty chunk."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


_NO_BODY: Final = _Body()


class _Socket(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """One connection over a socket, for httpcore2. Its own go through anyio, which took a third of the processor time
    of a request.

    A write hands its bytes to the socket before anything else runs. ``timeout`` is seconds, ``None`` without end.
    """

    def __init__(self) -> None:
        self._on: asyncio.Transport
        self._received = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport that asyncio made."""
        self._on = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what came; stop reading once that is a large part, until somebody asks for it."""
        self._received += data
        if len(self._received) > _LARGEST_PART:
            self._on.pause_reading()
        _wake(self._reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection ended, and why."""
        self._ended, self._error = True, exc
        _wake(self._reading)
        _wake(self._writable)

    def pause_writing(self) -> None:
        """Make writes wait, because the other side takes nothing more for now."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let writes go on."""
        _wake(self._writable)
        self._writable = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, as soon as anything has; nothing at the end. Raises httpcore2's errors."""
        if not self._received and not self._ended:
            loop = asyncio.get_running_loop()
            self._on.resume_reading()
            self._reading = loop.create_future()
            late = loop.call_later(timeout, _time_out, self._reading) if timeout is not None else None
            try:
                await self._reading
            finally:
                self._reading = None
                if late is not None:
                    late.cancel()
        if not self._received and self._error is not None:
            raise httpcore2.ReadError(str(self._error)) from self._error
        part = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        return part

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send; wait only where the other side takes no more. Raises httpcore2's errors."""
        if self._on.is_closing():
            raise httpcore2.WriteError("the connection is closed")
        self._on.write(buffer)
        if self._writable is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._writable
            except TimeoutError as error:
                raise httpcore2.WriteTimeout from error

    async def aclose(self) -> None:
        """Close, without waiting for what was not sent yet."""
        self._on.abort()
        await asyncio.sleep(0)  # the socket is closed by then

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Socket:
        """Go on inside TLS. Raises httpcore2's errors."""
        loop = asyncio.get_running_loop()
        async with _connecting(timeout):
            secure = await loop.start_tls(self._on, self, ssl_context, server_hostname=server_hostname)
        self.connection_made(cast("asyncio.BaseTransport", secure))
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore2 asks for: whether there is anything to read by now, or a property of the socket."""
        if info != "is_readable":
            return self._on.get_extra_info(info)
        return self._ended or bool(self._received) or _readable(self._on.get_extra_info("socket"))


class _Sockets(httpcore2.AsyncNetworkBackend):
    """Opens connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore2's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - as above
    ) -> _Socket:
        """Return an open connection; the last two are never given. Raises httpcore2's errors."""
        loop = asyncio.get_running_loop()
        async with _connecting(timeout):
            _, made = await loop.create_connection(_Socket, host, port, happy_eyeballs_delay=_NEXT_ADDRESS_S)
        return made


@contextlib.asynccontextmanager
async def _connecting(timeout: float | None) -> AsyncIterator[None]:
    """Turn what goes wrong while connecting into httpcore2's own errors: then nothing was sent."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout from error
    except OSError as error:
        raise httpcore2.ConnectError(_said(error)) from error


def _said(error: OSError) -> str:
    """Return why there is no connection, without asyncio's own words, which show addresses as Python tuples."""
    if type(error) is not OSError and not isinstance(error, ConnectionError):
        return str(error)  # of TLS, or of a name that nobody knows
    if error.errno:
        return os.strerror(error.errno)
    return "none of its addresses can be reached" if type(error) is OSError else str(error)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _time_out(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_exception(httpcore2.ReadTimeout())


def _readable(socket: Any) -> bool:
    """Whether something arrived that the event loop has not seen yet; most likely that is the end of the connection."""
    if not hasattr(select, "poll"):  # Windows; elsewhere select takes no descriptor above 1,023
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


class _InProcess(httpcore2.AsyncConnectionInterface):
    """An ASGI application that is called in this process, as if it were a connection that stays open."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Return the application's answer; what it raises comes through as it is."""
        path, _, query = request.url.target.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method.decode(),
            "scheme": "http",
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers],
        }
        body = [part async for part in cast("AsyncIterable[bytes]", request.stream)]
        asked: list[dict[str, Any]] = [{"type": "http.request", "body": b"".join(body)}]
        answered = asyncio.Event()
        start: dict[str, Any] = {}
        parts: list[bytes] = []

        async def receive() -> dict[str, Any]:
            if asked:
                return asked.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                answered.set()

        await self._app(scope, receive, send)
        return httpcore2.Response(start["status"], headers=start.get("headers", ()), content=_Body(*parts))

    async def aclose(self) -> None:
        """Do nothing: nothing was opened."""

    def has_expired(self) -> bool:
        """Whether it is to be closed: never."""
        return False

    def is_closed(self) -> bool:
        """Whether it was closed: never."""
        return False


class Transport:
    """An async context manager that sends calls to one service and never more than ``parallelism`` at a time.

    ``proxy`` is used only when it is given; a proxy variable of the environment never is. ``base_url`` is checked by
    :func:`~reconciler.core.endpoint.checked_base_url`. With ``asgi_app`` the application is
    called in this process and ``base_url`` is a mere label. ``jitter`` gives numbers from 0 up to 1. At most
    ``max_rate_per_s`` requests go out a second, evenly spaced. Raises :class:`UsageError` for a base URL and
    :class:`ApiError` for a key that can't be used.
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
        max_rate_per_s: float | None = None,
    ) -> None:
        if parallelism < 1:
            raise UsageError(f"with --parallelism {parallelism} no request is sent", "Give it a number from 1 up.")
        self._clock = clock
        self._time = ServiceTime(clock)
        self._limiter = RequestLimiter(
            parallelism=parallelism,
            clock=clock,
            jitter=jitter,
            service_ms=self._time.now_ms,
            max_rate_per_s=max_rate_per_s,
        )
        self.base_url = base_url if asgi_app is not None else checked_base_url(base_url)
        self.requests = 0
        """Requests sent so far, repeated ones included."""
        self._timeouts = timeouts or Timeouts()
        self._asgi_app = asgi_app
        self._proxy = checked_proxy(proxy, self.base_url) if proxy and asgi_app is None else None
        # One connection for each request in flight; the limiter keeps their number. Behind a proxy, httpcore2's pool
        # only makes the connections. It does not choose one, because it would look at all of them several times a
        # request.
        self._idle: list[httpcore2.AsyncConnectionInterface] = []
        self._sockets = _Sockets()
        self._tls: ssl.SSLContext | None = None
        self._tunnels: httpcore2.AsyncConnectionPool | None = None
        key = checked_key(key)
        self._secret = key if len(key) >= _SHORTEST_SECRET else ""
        # What all requests share is made once, because a run may make ten thousand requests.
        parts = urlsplit(self.base_url if asgi_app is None else _IN_PROCESS)
        self._url = httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=parts.path)
        self._headers = _headers(key, parts.netloc)
        limits = self._timeouts
        self._extensions = {"timeout": {"connect": limits.connect, "read": limits.read, "write": limits.write}}

    def __repr__(self) -> str:
        return f"<Transport {self.base_url}, {self.requests} requests>"

    async def __aenter__(self) -> Self:
        """Get ready to connect. Raises :class:`UsageError` where the authorities to trust can't be read."""
        if self._asgi_app is None and self._url.scheme == b"https":
            self._tls = authorities()  # reading them takes 45 ms
        if self._proxy:
            proxy = _proxy_at(self._proxy, self._tls)
            self._tunnels = httpcore2.AsyncConnectionPool(
                self._tls, proxy, keepalive_expiry=_KEEP_ALIVE_S, network_backend=self._sockets
            )
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
        """Send a write once. It is sent again only after a 429, which proves that nothing was done, and not in a room.

        In a room it is sent at once or not at all (:class:`~reconciler.core.ports.WriteNotSent`).
        ``cools_down`` says that the route has a cooldown of its own (API facts §2.5): such a 429 is about this one
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

    async def look(
        self, path: str, *, operation: str, sending: Callable[[], None]
    ) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
        """Send a read once and return status, headers and body as they come: for questions about the service itself.

        ``sending`` is called once it may go out. Raises :class:`ApiError` where no whole answer comes.
        """
        await self._limiter.enter(self._limiter.call(operation, safe=True))
        try:
            return await self._exchange("GET", path, None, operation, sending)
        finally:
            self._limiter.leave()

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
        slot = await self._idle_slot()
        self.requests += 1
        try:
            async with asyncio.timeout(self._timeouts.whole):
                if slot is None:
                    slot = await self._new_slot()
                request = self._request(method, path, body)
                if sending is not None:
                    request.extensions["trace"] = _tracing(sending)
                response = await slot.handle_async_request(request)
                self._time.heard(response.headers)
                try:
                    answer = await _read(response, operation)
                finally:
                    await response.aclose()
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
        return response.status, *without_key(response.headers, answer, self._secret)

    def _request(self, method: str, path: str, body: bytes | None) -> httpcore2.Request:
        headers = self._headers
        if body is not None:
            length = str(len(body)).encode()
            headers = [*headers, (b"Content-Type", b"application/json"), (b"Content-Length", length)]
        at = self._url
        # The URL is put together from its parts and never parsed, because ids are checked before they get here.
        url = httpcore2.URL(scheme=at.scheme, host=at.host, port=at.port, target=at.target + path.encode())
        content = _NO_BODY if body is None else body
        return httpcore2.Request(method, url, headers=headers, content=content, extensions=dict(self._extensions))

    async def _idle_slot(self) -> httpcore2.AsyncConnectionInterface | None:
        """Return a connection that nobody uses: the one used last, because it is the least likely to be closed."""
        while self._idle:
            slot = self._idle.pop()
            if not slot.is_closed() and not slot.has_expired():
                return slot
            await self._discard(slot)
        return None

    async def _new_slot(self) -> httpcore2.AsyncConnectionInterface:
        origin, timeout = self._url.origin, self._timeouts.connect
        if self._asgi_app is not None:
            return _InProcess(self._asgi_app)
        if self._tunnels is not None:
            return self._tunnels.create_connection(origin)
        name = origin.host.decode()
        socket = await self._sockets.connect_tcp(name, origin.port, timeout)
        try:
            if self._tls is not None:
                await socket.start_tls(self._tls, name, timeout)
        except BaseException:
            await socket.aclose()
            raise
        return httpcore2.AsyncHTTP11Connection(origin, socket, _KEEP_ALIVE_S)

    def _failure(self, cause: Exception, operation: str) -> ApiError:
        said = str(cause).strip() or type(cause).__name__
        said = harmless(said.replace(self._secret, "[key]") if self._secret else said, longest=200)
        if isinstance(cause, _NOTHING_SENT):
            repair = "check the base URL and the network"
            if "certificate verify failed" in said:
                repair = "where an authority of your own signs its certificate, name that in SSL_CERT_FILE"
            return ApiError(
                FailureKind.UNREACHABLE,
                f"no connection to {self.base_url}: {said}; {repair}",
                operation=operation,
            )
        if isinstance(cause, TimeoutError):
            said = f"no whole answer within {self._timeouts.whole:g} s"
        return ApiError(
            FailureKind.INTERRUPTED, f"the connection was lost before the answer: {said}", operation=operation
        )

    @staticmethod
    async def _discard(slot: httpcore2.AsyncConnectionInterface | None) -> None:
        if slot is None:
            return
        with contextlib.suppress(Exception):  # the call has its outcome already, and an error of closing would hide it
            await slot.aclose()


def _encoded(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _tracing(sending: Callable[[], None]) -> Callable[[str, object], Awaitable[None]]:
    """Return a ``trace`` that calls ``sending`` right before the bytes of a request, with nothing in between."""

    async def trace(event: str, _: object) -> None:
        if event.endswith("send_request_headers.started"):
            sending()

    return trace


def authorities() -> ssl.SSLContext:
    """Return what certificates are checked with: the authorities of the system, or those in SSL_CERT_FILE.

    Raises :class:`UsageError` where they can't be read.
    """
    try:
        tls = httpcore2.default_ssl_context()
    except OSError as error:  # an ssl.SSLError is one, too
        raise UsageError(
            f"the certificates to trust can't be read: {harmless(error.strerror or str(error), longest=200)}",
            "SSL_CERT_FILE must name a file of certificates in PEM form. Unset it to trust what this system trusts.",
        ) from error
    tls.set_alpn_protocols(["http/1.1"])
    return tls


def _proxy_at(url: str, tls: ssl.SSLContext | None) -> httpcore2.Proxy:
    parts = urlsplit(url)
    at = httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=b"/")
    name = (unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")) if parts.username else None
    return httpcore2.Proxy(at, name, ssl_context=tls if parts.scheme == "https" else None)


def _headers(key: str, host: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of every request: the only place that the key goes to."""
    return [
        (b"Host", host.encode()),
        (b"User-Agent", f"glider-reconciler/{__version__}".encode()),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        (b"X-API-KEY", key.encode()),
    ]


async def _read(response: httpcore2.Response, operation: str) -> bytes:
    parts = []
    size = 0
    async for part in cast("AsyncIterable[bytes]", response.stream):
        size += len(part)
        if size > LARGEST_BODY:
            raise ApiError(
                FailureKind.MALFORMED,
                f"the answer is larger than {LARGEST_BODY // 1024 // 1024} MiB; is the base URL Glider's?",
                operation=operation,
                status=response.status,
            )
        parts.append(part)
    return b"".join(parts) if len(parts) != 1 else parts[0]
