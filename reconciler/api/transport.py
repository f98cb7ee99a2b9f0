"""Calls to one service over HTTP: paced, and repeated within limits. The one place that sends the key.

In: method, path and body of a call. Out: the JSON object of its answer, or an :class:`ApiError`. Knows no portfolio.
:mod:`reconciler.api.limiter` decides when and how often one is sent, :mod:`reconciler.api.connection` moves its bytes.
There is one connection for each request in flight and no client of a library, so there is no redirect, cookie, proxy
variable or netrc to switch off.

If no connection came about, the failure is ``UNREACHABLE``. After any other error something may have been sent, so it
is ``INTERRUPTED``. A write in a room is checked for the age of its look at the last moment, right before its bytes go
out and after its connection was opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from reconciler import __version__
from reconciler.api.connection import (
    Connection,
    HttpConnection,
    InProcess,
    NoConnection,
    RawHeaders,
    Timeouts,
    authorities,
    connected,
)
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
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from reconciler.core.ports import Clock

LARGEST_BODY: Final = 4 * 1024 * 1024
"""Up to this many bytes of one answer are read; a documented answer has a few hundred."""

_IN_PROCESS: Final = "http://sandbox.localhost"
_SHORTEST_SECRET: Final = 8  # a shorter key may be an ordinary word, and removing it would spoil answers


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


class Transport:
    """An async context manager that sends calls to one service and never more than ``parallelism`` at a time.

    ``proxy`` is used only when it is given; a proxy variable of the environment never is. ``base_url`` is checked by
    :func:`~reconciler.core.endpoint.checked_base_url`. With ``asgi_app`` the application is called in this process, and
    ``base_url`` is only a label. ``jitter`` gives numbers from 0 up to 1. At most ``max_rate_per_s`` requests go out a
    second, evenly spaced. ``certificates`` is a file or folder of those to trust, instead of what this system trusts.
    Raises :class:`UsageError` for a base URL and :class:`ApiError` for a key that can't be used.
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
        certificates: str | None = None,
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
        self._certificates = certificates
        self._asgi_app = asgi_app
        self._proxy = checked_proxy(proxy, self.base_url) if proxy and asgi_app is None else None
        self._idle: list[Connection] = []  # one for each request in flight; the limiter keeps their number
        self._tls: ssl.SSLContext | None = None
        key = checked_key(key)
        self._secret = key if len(key) >= _SHORTEST_SECRET else ""
        # What all requests share is made once, because a run may make ten thousand requests.
        parts = urlsplit(self.base_url if asgi_app is None else _IN_PROCESS)
        self._host, self._path = parts.hostname or "", parts.path.encode()
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._is_secure = parts.scheme == "https"
        self._headers = _headers(key, parts.netloc)

    def __repr__(self) -> str:
        return f"<Transport {self.base_url}, {self.requests} requests>"

    async def __aenter__(self) -> Self:
        """Get ready to connect. Raises :class:`UsageError` where the authorities to trust can't be read."""
        if self._is_secure:
            self._tls = _trusted(self._certificates)  # reading it takes 45 ms
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

    async def look(self, path: str, *, operation: str, sending: Callable[[], None]) -> tuple[int, RawHeaders, bytes]:
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
    ) -> tuple[int, RawHeaders, bytes]:
        """Send one request and return status, headers and body; whatever goes wrong becomes an :class:`ApiError`.

        ``sending`` is called as the last thing before the bytes go out; what it raises stays as it is, and then none
        have gone out.
        """
        slot = await self._idle_slot()
        self.requests += 1
        try:
            async with asyncio.timeout(self._timeouts.whole):
                if slot is None:
                    slot = await self._new_slot()
                status, headers = await slot.ask(method.encode(), self._path + path.encode(), body, sending or _nothing)
                self._time.heard(headers)
                answer = await slot.body(LARGEST_BODY)
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
        if answer is None:
            await self._discard(slot)
            raise _too_large(operation, status)
        self._idle.append(slot)
        return status, *without_key(headers, answer, self._secret)

    async def _idle_slot(self) -> Connection | None:
        """Return a connection that nobody uses: the one used last, because it is the least likely to be closed."""
        while self._idle:
            slot = self._idle.pop()
            if slot.usable():
                return slot
            await self._discard(slot)
        return None

    async def _new_slot(self) -> Connection:
        if self._asgi_app is not None:
            return InProcess(self._asgi_app, self._headers)
        socket = await connected(
            self._host, self._port, tls=self._tls, proxy=self._proxy, timeout=self._timeouts.connect
        )
        return HttpConnection(socket, self._headers, self._timeouts)

    def _failure(self, cause: Exception, operation: str) -> ApiError:
        said = str(cause).strip() or type(cause).__name__
        said = harmless(said.replace(self._secret, "[key]") if self._secret else said, longest=200)
        if isinstance(cause, NoConnection):
            repair = "check the base URL and the network"
            if "certificate verify failed" in said:
                repair = "where an authority of your own signs its certificate, name that in SSL_CERT_FILE"
            return ApiError(
                FailureKind.UNREACHABLE,
                f"no connection to {self.base_url}: {said}; {repair}",
                operation=operation,
            )
        if isinstance(cause, TimeoutError) and not str(cause):
            said = f"no whole answer within {self._timeouts.whole:g} s"
        return ApiError(
            FailureKind.INTERRUPTED, f"the connection was lost before the answer: {said}", operation=operation
        )

    @staticmethod
    async def _discard(slot: Connection | None) -> None:
        if slot is None:
            return
        with contextlib.suppress(Exception):  # the call has its outcome already, and an error of closing would hide it
            await slot.close()


def _encoded(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _nothing() -> None:
    """Check nothing: this request has no look that could be too old."""


def _too_large(operation: str, status: int) -> ApiError:
    return ApiError(
        FailureKind.MALFORMED,
        f"the answer is larger than {LARGEST_BODY // 1024 // 1024} MiB; is the base URL Glider's?",
        operation=operation,
        status=status,
    )


def _trusted(named: str | None) -> ssl.SSLContext:
    """Return what all connections check certificates with. Raises :class:`UsageError` if that can't be read."""
    try:
        return authorities(named)
    except OSError as error:  # an ssl.SSLError is one, too
        raise UsageError(
            f"the certificates to trust can't be read: {harmless(error.strerror or str(error), longest=200)}",
            "SSL_CERT_FILE must name a file of certificates in PEM form. Unset it to trust what this system trusts.",
        ) from error


def _headers(key: str, host: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of every request: the only place that the key goes to."""
    return [
        (b"Host", host.encode()),
        (b"User-Agent", f"glider-reconciler/{__version__}".encode()),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        (b"X-API-KEY", key.encode()),
    ]
