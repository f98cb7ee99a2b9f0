"""One HTTP/1.1 connection to the service: asyncio's own sockets, TLS, a proxy's tunnel, and h11 for the protocol.

In: the parts of one request at a time. Out: status, headers and body of its answer as they came. Knows no key, no retry
and no portfolio. It also decides whose certificates are trusted. The only module that imports h11, which reads and
writes the protocol and does nothing else. Why no HTTP client is used here, and what it would cost, is in
docs/decisions.md, "Glider is talked to by h11, GitHub by httpx2".

:class:`NoConnection` proves that nothing was sent. After any other error the request may have arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import ssl
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast
from urllib.parse import SplitResult, unquote, unquote_to_bytes, urlsplit

import h11
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

RawHeaders: TypeAlias = "list[tuple[bytes, bytes]]"

# Servers commonly close an idle connection after 5 s (uvicorn, Node). We close it earlier, so that no write is sent
# into a connection that is just being closed, which would leave its outcome unknown.
_KEEP_ALIVE_S: Final = 4.0
_PART: Final = 64 * 1024  # of an answer, given to h11 at a time
_LARGEST_PART: Final = 256 * 1024  # of an answer, kept before it is asked for
_LARGEST_HEAD: Final = 100 * 1024
_NEXT_ADDRESS_S: Final = 0.25  # where a name has several addresses, the next one is tried beside a slow one
_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
"""Where Linux distributions keep the authorities that they trust, for a Python that was built elsewhere."""


class NoConnection(Exception):
    """No connection came about, so nothing was sent; the message says why."""


class Timeouts(Struct, frozen=True, kw_only=True):
    """Limits of one request, in seconds: each step, and the whole of it."""

    connect: float = 10.0
    read: float = 30.0
    write: float = 30.0
    whole: float = 60.0


class Connection(Protocol):
    """Sends one request at a time: :meth:`ask`, then :meth:`body`. After an error it is only to be closed."""

    async def ask(
        self, method: bytes, target: bytes, body: bytes | None, sending: Callable[[], None]
    ) -> tuple[int, RawHeaders]:
        """Send a request and return status and headers of its answer.

        ``sending`` is called as the last thing before the bytes go out. If it raises, none have.
        """

    async def body(self, most: int) -> bytes | None:
        """Return the body of the answer; ``None`` if it is larger than ``most`` bytes."""

    def usable(self) -> bool:
        """Whether another request may be sent."""

    async def close(self) -> None:
        """Close, whatever is under way."""


class HttpConnection:
    """A :class:`Connection` over a socket; ``headers`` are those of every request."""

    def __init__(self, socket: Socket, headers: RawHeaders, timeouts: Timeouts) -> None:
        self._socket = socket
        self._timeouts = timeouts
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        self._headers = headers
        # A read has no other headers, so h11 has to check these only once.
        self._of_reads = h11.Request(method=b"GET", target=b"/", headers=self._headers).headers
        self._until = 0.0  # by the monotonic clock; 0 while it is in use

    async def ask(
        self, method: bytes, target: bytes, body: bytes | None, sending: Callable[[], None]
    ) -> tuple[int, RawHeaders]:
        """Send a request: see :class:`Connection`. Raises what a socket raises, and h11's errors."""
        self._until = 0.0
        parts: list[h11.Event] = [h11.Request(method=method, target=target, headers=self._headers_for(body))]
        if body is not None:
            parts.append(h11.Data(data=body))
        sent = b"".join([self._http.send(part) or b"" for part in (*parts, h11.EndOfMessage())])
        sending()
        await self._socket.write(sent, self._timeouts.write)
        while type(event := await self._next()) is not h11.Response:
            pass  # a status that only announces the answer, such as 100 or 103
        return event.status_code, event.headers.raw_items()

    def _headers_for(self, body: bytes | None) -> Any:
        if body is None:
            return self._of_reads
        length = str(len(body)).encode()
        return [*self._headers, (b"Content-Type", b"application/json"), (b"Content-Length", length)]

    async def body(self, most: int) -> bytes | None:
        """Return the body: see :class:`Connection`."""
        parts, size = [], 0
        while type(event := await self._next()) is h11.Data:
            size += len(event.data)
            if size > most:
                return None
            parts.append(bytes(event.data))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._until = time.monotonic() + _KEEP_ALIVE_S
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._socket.read(_PART, self._timeouts.read)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise ConnectionError("the service closed it without an answer")
            self._http.receive_data(data)
        return event

    def usable(self) -> bool:
        """Whether its last answer came whole and a short time ago, and the service has not closed it since."""
        return time.monotonic() < self._until and not self._socket.readable()

    async def close(self) -> None:
        """Close it."""
        await self._socket.close()


class InProcess:
    """A :class:`Connection` that calls an ASGI application in this process; ``headers`` are those of every request."""

    def __init__(self, app: Any, headers: RawHeaders) -> None:
        self._app = app
        self._headers = headers
        self._answer = b""

    async def ask(
        self, method: bytes, target: bytes, body: bytes | None, sending: Callable[[], None]
    ) -> tuple[int, RawHeaders]:
        """Call the application: see :class:`Connection`. What it raises comes through as it is."""
        headers = [(name.lower(), value) for name, value in self._headers]
        if body is not None:
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        path, _, query = target.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method.decode(),
            "scheme": "http",
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
        }
        asked: list[dict[str, Any]] = [{"type": "http.request", "body": body or b""}]
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

        sending()
        await self._app(scope, receive, send)
        self._answer = b"".join(parts)
        return start["status"], list(start.get("headers", ()))

    async def body(self, most: int) -> bytes | None:
        """Return what the application answered."""
        return self._answer if len(self._answer) <= most else None

    def usable(self) -> bool:
        """Whether it can be called again: always."""
        return True

    async def close(self) -> None:
        """Do nothing: nothing was opened."""


class Socket(asyncio.Protocol):
    """The bytes of one connection. ``timeout`` is seconds; at its end ``TimeoutError`` is raised.

    A write hands its bytes to the socket before anything else runs.
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

    async def read(self, most: int, timeout: float) -> bytes:
        """Return what has come, as soon as anything has; nothing at the end. Raises what ended it, if anything did."""
        if not self._received and not self._ended:
            loop = asyncio.get_running_loop()
            self._on.resume_reading()
            self._reading = loop.create_future()
            late = loop.call_later(timeout, _time_out, self._reading, f"nothing came for {timeout:g} s")
            try:
                await self._reading
            finally:
                self._reading = None
                late.cancel()
        if not self._received and self._error is not None:
            raise self._error
        part = bytes(self._received[:most])
        del self._received[:most]
        return part

    async def write(self, data: bytes, timeout: float) -> None:
        """Send; wait only where the other side takes no more."""
        if self._on.is_closing():
            raise ConnectionError("the service closed it")
        self._on.write(data)
        if self._writable is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._writable
            except TimeoutError as error:
                raise TimeoutError(f"the service took nothing more for {timeout:g} s") from error

    async def close(self) -> None:
        """Close, without waiting for what was not sent yet."""
        self._on.abort()
        await asyncio.sleep(0)  # the socket is closed by then

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Go on inside TLS, with a certificate for that name."""
        loop = asyncio.get_running_loop()
        secure = await loop.start_tls(self._on, self, context, server_hostname=host)
        self.connection_made(cast("asyncio.BaseTransport", secure))

    def readable(self) -> bool:
        """Whether there is anything to read by now, or it has ended."""
        return self._ended or bool(self._received) or _readable(self._on.get_extra_info("socket"))


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _time_out(waiting: asyncio.Future[None], why: str) -> None:
    if not waiting.done():
        waiting.set_exception(TimeoutError(why))


def _readable(socket: Any) -> bool:
    """Whether something arrived that the event loop has not seen yet; most likely that is the end of the connection."""
    if not hasattr(select, "poll"):  # Windows; elsewhere select takes no descriptor above 1,023
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


async def connected(host: str, port: int, *, tls: ssl.SSLContext | None, proxy: str | None, timeout: float) -> Socket:
    """Return an open connection, in TLS where there is a context for that, and through the proxy with this URL.

    A proxy is only ever asked to pass bytes on. Raises :class:`NoConnection`.
    """
    async with _connecting(timeout), contextlib.AsyncExitStack() as undo:
        at = urlsplit(proxy) if proxy else None
        first = (host, port) if at is None else (at.hostname or "", at.port or (443 if at.scheme == "https" else 80))
        _, made = await asyncio.get_running_loop().create_connection(
            Socket, *first, happy_eyeballs_delay=_NEXT_ADDRESS_S
        )
        undo.push_async_callback(made.close)
        if at is not None:
            if at.scheme == "https" and tls is not None:
                await made.start_tls(tls, at.hostname or "")
            await _pass_on(made, at, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", timeout)
        if tls is not None:
            await made.start_tls(tls, host)
        undo.pop_all()
    return made


async def _pass_on(made: Socket, proxy: SplitResult, there: str, timeout: float) -> None:
    """Ask a proxy to pass on everything that follows (RFC 9110, 9.3.6)."""
    headers = [("Host", there)]
    if proxy.username:
        login = unquote_to_bytes(proxy.username) + b":" + unquote_to_bytes(proxy.password or "")
        headers.append(("Proxy-Authorization", f"Basic {b64encode(login).decode()}"))
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
    asked = http.send(h11.Request(method="CONNECT", target=there, headers=headers)) or b""
    await made.write(asked + (http.send(h11.EndOfMessage()) or b""), timeout)
    while type(event := http.next_event()) is not h11.Response:
        if event is h11.NEED_DATA:
            # This reads the answer and nothing beyond it, because in TLS we are the first to speak.
            data = await made.read(_PART, timeout)
            if not data:
                raise NoConnection("the proxy closed the connection without an answer")
            http.receive_data(data)
    if not 200 <= event.status_code < 300:
        reason = event.reason.decode("latin-1")
        raise NoConnection(f"the proxy refused to connect: {event.status_code} {reason}".rstrip())


@contextlib.asynccontextmanager
async def _connecting(timeout: float) -> AsyncIterator[None]:
    """Turn every error into :class:`NoConnection`, because nothing was sent yet."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError as error:
        raise NoConnection(f"nothing answered within {timeout:g} s") from error
    except h11.ProtocolError as error:
        raise NoConnection(f"the proxy does not speak HTTP: {error}") from error
    except OSError as error:
        raise NoConnection(_said(error)) from error


def _said(error: OSError) -> str:
    """Return why there is no connection, without asyncio's own words, which show addresses as Python tuples."""
    if type(error) is not OSError and not isinstance(error, ConnectionError):
        return str(error)  # an error of TLS, or a name that can't be looked up
    if error.errno:
        return os.strerror(error.errno)
    return "none of its addresses can be reached" if type(error) is OSError else str(error)


def authorities(named: str | None) -> ssl.SSLContext:
    """Return what certificates are checked with: the file or folder that is named, else what this system trusts.

    Raises ``OSError`` where that can't be read.
    """
    if named is not None:
        folder = Path(named).is_dir()
        made = ssl.create_default_context(cafile=None if folder else named, capath=named if folder else None)
    elif sys.platform in ("win32", "darwin"):  # which keep them in stores of their own
        import truststore

        made = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        paths = ssl.get_default_verify_paths()
        built_in = paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))
        elsewhere = None if built_in else next(filter(os.path.isfile, _AUTHORITIES), None)
        made = ssl.create_default_context(cafile=elsewhere)
    made.set_alpn_protocols(["http/1.1"])
    return made
