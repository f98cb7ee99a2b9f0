"""The way of the bytes: TLS, tunnels, and connections that end, stall or talk too much."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stub_service import LOOPBACK, http, loopback_tls, raw_server, transport

from reconciler.api.connection import Socket, Timeouts
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.api.transport import Transport

GOOD = {"success": True, "data": {}}
ANSWER = http(200, b'{"success": true, "data": {}}')
AUTHORITY = Path(__file__).with_name("authority.pem")


async def look_and_write(client: Transport) -> list[dict[str, object]]:
    """Send a read, and a write in a room, as an apply does."""
    async with client.room():
        return [await client.get("/x", operation="x"), await client.post("/x", {"a": 1}, operation="x")]


@pytest.mark.slow
def test_calls_go_through_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads and writes reach a service whose certificate is trusted, by one connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(LOOPBACK))

    async def main() -> tuple[list[dict[str, object]], int]:
        async with raw_server(lambda _: ANSWER, loopback_tls()) as server:
            async with transport(base_url=server.url) as client:
                results = await look_and_write(client)
            return results, server.connections

    assert asyncio.run(main()) == ([GOOD, GOOD], 1)


@pytest.mark.slow
@pytest.mark.parametrize(("trusted", "host"), [(AUTHORITY, "127.0.0.1"), (LOOPBACK, "localhost")])
def test_a_certificate_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch, trusted: Path, host: str) -> None:
    """Signed by nobody we trust, or made for another name: nothing is sent, and the repair is named."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

    async def main() -> tuple[ApiError, list[bytes]]:
        async with raw_server(lambda _: ANSWER, loopback_tls()) as server:
            async with transport(base_url=server.url.replace("127.0.0.1", host)) as client:
                with pytest.raises(ApiError) as caught:
                    await client.post("/x", {}, operation="x")
            return caught.value, server.heads

    error, heads = asyncio.run(main())
    assert error.kind is FailureKind.UNREACHABLE
    assert "SSL_CERT_FILE" in str(error)
    assert heads == []


@contextlib.asynccontextmanager
async def tunnelling_proxy(*, tls: bool) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that passes bytes on to whatever it is asked to connect to; yields its URL and what it was asked."""
    asked: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.partition(b"\r\n")[0])
        _, there, _ = head.split(b" ", 2)
        host, port = there.decode().split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=loopback_tls() if tls else None) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}", asked


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True], ids=["http proxy", "https proxy"])
def test_calls_go_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, *, tls: bool) -> None:
    """A proxy passes on what it can't read, also where it is itself spoken to in TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(LOOPBACK))

    async def main() -> tuple[list[dict[str, object]], list[bytes]]:
        async with raw_server(lambda _: ANSWER, loopback_tls()) as server, tunnelling_proxy(tls=tls) as (url, asked):
            async with transport(base_url=server.url, proxy=url) as client:
                result = await look_and_write(client)
            place = server.url.removeprefix("https://").encode()
        assert asked == [b"CONNECT " + place + b" HTTP/1.1"]
        return result, server.heads

    result, heads = asyncio.run(main())
    assert result == [GOOD, GOOD]
    assert [head.partition(b" ")[0] for head in heads] == [b"GET", b"POST"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "refused to connect: 407 Proxy Authentication Required",
        ),
        (b"HTTP/1.1 502\r\n\r\n", "refused to connect: 502;"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the proxy does not speak HTTP"),
        (b"", "the proxy closed the connection without an answer"),
    ],
)
def test_a_proxy_that_does_not_connect(answer: bytes, told: str) -> None:
    """Nothing was sent to the service, and the proxy's own words say why; it was shown who asks, and no key."""
    heard: list[bytes] = []

    async def main() -> ApiError:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            proxy = f"http://me:pass%20word@127.0.0.1:{port}"
            async with transport(base_url="https://[2001:db8::1]", proxy=proxy) as client:
                with pytest.raises(ApiError) as caught:
                    await client.post("/x", {}, operation="x")
        return caught.value

    error = asyncio.run(main())
    assert error.kind is FailureKind.UNREACHABLE
    assert told in str(error)
    first, *headers, _, _ = b"".join(heard).split(b"\r\n")
    assert first == b"CONNECT [2001:db8::1]:443 HTTP/1.1"
    assert headers == [b"Host: [2001:db8::1]:443", b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk"]


@pytest.mark.slow
def test_what_announces_an_answer_is_passed_over() -> None:
    """The answer of a service comes after its 100 or 103; one that closes after it gets a new connection."""
    closing = ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    async def main() -> tuple[list[dict[str, object]], int]:
        early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        async with raw_server(lambda _: early + closing) as server, transport(base_url=server.url) as client:
            return await look_and_write(client), server.connections

    assert asyncio.run(main()) == ([GOOD, GOOD], 2)


@pytest.mark.slow
@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 408 Too late\r\ncontent-length: 0\r\n\r\n"], ids=["end", "408"])
def test_a_connection_that_ended_meanwhile_is_not_used(after: bytes) -> None:
    """No write goes into a connection whose end has come, although the event loop has not seen that yet."""

    async def main() -> tuple[list[dict[str, object]], int]:
        ended = asyncio.Event()
        connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER + after)
            writer.close()
            await writer.wait_closed()
            ended.set()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with transport(base_url=f"http://127.0.0.1:{port}") as client:
                results = [await client.get("/x", operation="x")]
                await ended.wait()
                results.append(await client.post("/x", {}, operation="x"))
        return results, connections

    assert asyncio.run(main()) == ([GOOD, GOOD], 2)


@pytest.mark.slow
def test_a_service_that_takes_nothing_is_left() -> None:
    """A write that gets stuck on its way ends by the limit of that step; it may have been done."""

    async def main() -> FailureKind:
        left = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await left.wait()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024) as server:
            port = server.sockets[0].getsockname()[1]
            async with transport(base_url=f"http://127.0.0.1:{port}", timeouts=Timeouts(write=0.02)) as client:
                with pytest.raises(ApiError) as caught:
                    await client.post("/x", {"reason": "x" * 20_000_000}, operation="x")
            left.set()
        return caught.value.kind

    assert asyncio.run(main()) is FailureKind.INTERRUPTED


class Loudspeaker(asyncio.Transport):
    """The far end of a socket that is told to stop and to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def pause_reading(self) -> None:
        self.said.append("stop")

    def resume_reading(self) -> None:
        self.said.append("go on")


def test_what_nobody_asked_for_is_not_piled_up() -> None:
    """A service that goes on talking is stopped after a part, until somebody has read it."""

    async def main() -> tuple[list[str], list[int]]:
        near, far = Socket(), Loudspeaker()
        near.connection_made(far)
        near.data_received(b"x" * 300_000)
        sizes = [len(await near.read(200_000, 5)), len(await near.read(200_000, 5))]
        waiting = asyncio.create_task(near.read(10, 5))
        await asyncio.sleep(0)
        near.data_received(b"more")
        return far.said, [*sizes, len(await waiting)]

    assert asyncio.run(main()) == (["stop", "go on"], [200_000, 100_000, 4])


@pytest.mark.parametrize(("error", "end"), [(None, b""), (ConnectionResetError("reset"), None)])
def test_the_end_of_a_connection_ends_a_read(error: Exception | None, end: bytes | None) -> None:
    """A clean end is an empty part, a broken connection is an error; what came before is read first."""

    async def main() -> list[bytes | None]:
        near = Socket()
        near.connection_made(Loudspeaker())
        near.data_received(b"some")
        found: list[bytes | None] = [await near.read(10, 5)]
        last = asyncio.create_task(near.read(10, timeout=5))
        await asyncio.sleep(0)
        near.connection_lost(error)
        try:
            found.append(await last)
        except ConnectionResetError:
            found.append(None)
        return found

    assert asyncio.run(main()) == [b"some", end]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"), "Connection refused"),
        (OSError(errno.ENETUNREACH, "Connect call failed ('::1', 9, 0, 0)"), "Network is unreachable"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 9, 0, 0), ..."),
            "none of its addresses",
        ),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ConnectionAbortedError("SSL handshake is taking longer than 60.0 seconds"), "SSL handshake is taking longer"),
        (TimeoutError(), "nothing answered within 10 s"),
    ],
)
def test_why_there_is_no_connection(monkeypatch: pytest.MonkeyPatch, error: OSError, told: str) -> None:
    """In words for people, and without addresses in the spelling of Python; nothing was sent."""

    async def main() -> ApiError:
        async def failing(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", failing)
        async with transport(base_url="http://127.0.0.1:9") as client:
            with pytest.raises(ApiError) as caught:
                await client.post("/x", {}, operation="x")
        return caught.value

    found = asyncio.run(main())
    assert found.kind is FailureKind.UNREACHABLE
    assert told in str(found)
    assert "Connect call" not in str(found)
