"""What the API tests talk to: a scripted ASGI application, a raw TCP server and a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.api.client import Glider
from reconciler.api.transport import Transport
from reconciler.core.intent import Call, Intent
from reconciler.core.model import Address, ApiVersion, Paths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from reconciler.api.connection import Timeouts
    from reconciler.core.ports import Confirmation

KEY = "gldr_sk_canary_0123456789"
NOW_MS = 1_795_000_000_000
LOOPBACK = Path(__file__).with_name("loopback.pem")

Answer = tuple[int, dict[str, str], bytes]


class StillClock:
    """A clock that stands still, but for the sleeps it is asked for; it remembers them, in seconds."""

    def __init__(self) -> None:
        self.now = NOW_MS
        self.sleeps: list[float] = []

    def now_ms(self) -> int:
        self.now += 1  # as a real one, it never shows one moment twice
        return self.now

    def ticks_ms(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += int(seconds * 1000)
        await asyncio.sleep(0)


class Request:
    """One request as the service saw it."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes, query: str = "") -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.query = query

    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """An ASGI application that answers by a function and keeps every request."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self.seen: list[Request] = []

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {key.decode().lower(): value.decode() for key, value in scope["headers"]}
        query = scope["query_string"].decode()
        request = Request(scope["method"], scope["path"], headers, body, query)
        self.seen.append(request)
        status, answer_headers, answer = self.answer(request)
        raw = [(key.encode(), value.encode()) for key, value in answer_headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answer})

    @property
    def calls(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.seen]


def script(*answers: Answer) -> Callable[[Request], Answer]:
    """Give these answers one after the other; the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def ok(data: object = None, **beside: object) -> Answer:
    return 200, {}, json.dumps({"success": True, "data": data, **beside}).encode()


def fail(status: int, code: str = "API_000", message: str = "no", **headers: str) -> Answer:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return status, named, json.dumps({"success": False, "error": {"code": code, "message": message}}).encode()


def status_data(portfolio: str = "ao04x0r6", status: str = "active", **fields: object) -> dict[str, object]:
    return {"portfolioId": portfolio, "status": status, "hasAutomation": True, **fields}


def transport(
    app: object | None = None,
    *,
    clock: StillClock | None = None,
    base_url: str = "sandbox://test",
    parallelism: int = 4,
    jitter: Callable[[], float] = lambda: 0.5,
    timeouts: Timeouts | None = None,
    key: str = KEY,
    proxy: str | None = None,
    max_rate_per_s: float | None = None,
) -> Transport:
    return Transport(
        base_url=base_url,
        key=key,
        parallelism=parallelism,
        clock=clock or StillClock(),
        jitter=jitter,
        asgi_app=app,
        proxy=proxy,
        timeouts=timeouts,
        max_rate_per_s=max_rate_per_s,
        certificates=os.environ.get("SSL_CERT_FILE"),
    )


class _All(dict[Any, ApiVersion]):
    """One version for every portfolio."""

    def __init__(self, version: ApiVersion) -> None:
        self._version = version

    def get(self, key: object, default: object = None) -> Any:
        return self._version


async def sent(api: Glider, call: Call, address: Address, **more: Any) -> Confirmation:
    """Send one write; ``more`` are fields of its intent."""
    return await api.send(Intent(address=address, call=call, token="0000a1", **more))


def api_of(client: Transport, version: ApiVersion = ApiVersion.V1, paths: Paths = Paths.AUTO, **more: Any) -> Glider:
    """Return the service for portfolios that are all of one version."""
    return Glider(client, paths=paths, versions=_All(version), **more)


class RawServer:
    """A loopback TCP server that writes whatever bytes ``answer`` returns for a request's head."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.open = 0
        self.peak = 0
        self.connections = 0
        self.url = ""
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.idle.clear()
        self.connections += 1
        self.peak = max(self.peak, self.open)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                answer = self.answer(head)
                if answer is None:
                    await reader.read()  # say nothing until the client gives up
                    break
                writer.write(answer)
                await writer.drain()
                if not answer.startswith(b"HTTP/1.1") or b"connection: close" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            if self.open == 0:
                self.idle.set()


def loopback_tls() -> ssl.SSLContext:
    """What a server on 127.0.0.1 proves itself by; to trust it, name :data:`LOOPBACK` in SSL_CERT_FILE."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(LOOPBACK)
    return context


@contextlib.asynccontextmanager
async def raw_server(
    answer: Callable[[bytes], bytes | None], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    service = RawServer(answer)
    server = await asyncio.start_server(service.handle, "127.0.0.1", 0, ssl=tls)
    service.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()
        await service.idle.wait()
        await server.wait_closed()


def http(status: int, body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body
