"""A proxy is used only when it is asked for, and never sees the key."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.api.transport import Transport
from reconciler.core.errors import ApiError, FailureKind, UsageError
from tests.support import FakeClock

KEY = "gldr_sk_proxy_canary"


def transport(base_url: str, proxy: str | None) -> Transport:
    return Transport(base_url=base_url, key=KEY, parallelism=1, clock=FakeClock(), jitter=lambda: 0.0, proxy=proxy)


async def through_a_proxy() -> bytes:
    """Send a read through a proxy that hears the first request and hangs up; return what it heard."""
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with transport("https://api.glider.example", f"http://127.0.0.1:{port}") as made:
            with pytest.raises(ApiError) as caught:
                await made.post("/v1/portfolio/a/pause", {}, operation="pause of a")
    assert caught.value.kind in (FailureKind.UNREACHABLE, FailureKind.INTERRUPTED)
    return b"".join(heard)


@pytest.mark.slow
def test_only_a_tunnel_is_asked_for() -> None:
    """The proxy is asked to connect to the service; the key would follow inside TLS only."""
    heard = asyncio.run(through_a_proxy())
    assert heard.startswith(b"CONNECT api.glider.example:443 HTTP/1.1\r\n")
    assert KEY.encode() not in heard


def test_proxy_variables_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY and its kin change nothing."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    made = transport("http://127.0.0.1:9", None)
    assert "proxy" not in repr(made).lower()


@pytest.mark.parametrize(
    ("base_url", "proxy"),
    [
        ("https://api.glider.example", "socks5://h:1"),
        ("https://api.glider.example", "proxy.example:3128"),
        ("https://api.glider.example", "http://user:secret@/"),
        ("https://api.glider.example", "http://h/path"),
        ("http://127.0.0.1:8080", "http://h:3128"),
    ],
)
def test_a_proxy_that_is_none(base_url: str, proxy: str) -> None:
    """What is no proxy is refused without repeating it: it may hold a password."""
    with pytest.raises(UsageError) as caught:
        transport(base_url, proxy)
    assert "secret" not in str(caught.value) + caught.value.detail
