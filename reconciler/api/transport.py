"""HTTP to one service: connections, time limits, and the one place that knows the key.

In: method, path and body of a request. Out: its answer, or an :class:`ApiError`. Knows nothing of portfolios, nor when
and how often a request is sent (:mod:`reconciler.api.calls`); the only module that imports httpx. It drives httpx's
transports and not its client, which by construction leaves no redirect, cookie, proxy variable or netrc to switch off.

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
import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast

# httpx imports its command line with rich and pygments, where those are installed, and does without it where they
# are not. It is half of the time that the import takes, and nothing of it is used here.
_hidden = "httpx" not in sys.modules
if _hidden:
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # None is how the import system spells "not there"
import httpx

if _hidden:
    del sys.modules["httpx._main"]

from reconciler import __version__
from reconciler.api.access import checked_key, checked_proxy
from reconciler.api.calls import Calls
from reconciler.api.envelope import without_key
from reconciler.api.prompt import Prompt
from reconciler.core.baseurl import checked_base_url
from reconciler.core.errors import ApiError, FailureKind, UsageError
from reconciler.core.ports import WriteNotSent
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType

    from reconciler.core.ports import Clock

LARGEST_BODY: Final = 4 * 1024 * 1024
"""Bytes of one answer that are read; the documented ones are a few hundred."""

_IN_PROCESS: Final = "http://sandbox.localhost"
# Servers commonly close an idle connection after 5 s (uvicorn, Node). Giving it up first means that no write is ever
# sent into a connection that is just being closed, which would leave its outcome unknown.
_KEEP_ALIVE_S: Final = 4.0
_SHORTEST_SECRET: Final = 8
_NOTHING_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

# httpcore imports sniffio, which is optional, several times a request. Python remembers no import that failed, and
# looking through sys.path costs 70 us each time, a third of a millisecond in all; this entry makes it fail at once.
if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # None is how the import system spells "not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
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


class Transport(Calls):
    """An async context manager that sends calls to one service and never more than ``parallelism`` at a time.

    ``proxy`` is used only when it is given; a proxy variable of the environment never is. ``base_url`` is checked by
    :func:`~reconciler.core.baseurl.checked_base_url`. With ``asgi_app`` the application is
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
        super().__init__(parallelism=parallelism, clock=clock, jitter=jitter)
        self.base_url = base_url if asgi_app is not None else checked_base_url(base_url)
        self.requests = 0
        """Requests sent so far, repeated ones included."""
        self._timeouts = timeouts or Timeouts()
        self._asgi_app = asgi_app
        self._proxy = checked_proxy(proxy, self.base_url) if proxy and asgi_app is None else None
        self._ssl: ssl.SSLContext | None = None
        # One connection a request in flight, whose number the pacing keeps. httpx's pool looks at all of its
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
