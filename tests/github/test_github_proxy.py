"""The way to GitHub: by the proxy variables that GitHub's own actions go by, and in a tunnel."""

from __future__ import annotations

import socket
import threading

import pytest

from reconciler.core.errors import GitHubError
from reconciler.github.address import proxy_to
from reconciler.github.client import GitHub
from tests.github.fake import REPOSITORY, TOKEN
from tests.github.test_github_posts import MARK

API = "https://api.github.com"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("api_url", "environ", "expected"),
    [
        (API, {}, None),
        (API, {"HTTPS_PROXY": PROXY}, PROXY),
        (API, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other.example:1"}, PROXY),
        (API, {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        (API, {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        (API, {"HTTPS_PROXY": "https://me:secret@proxy.example:3128"}, "https://me:secret@proxy.example:3128"),
        (API, {"HTTPS_PROXY": " "}, None),
        (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "localhost, github.com"}, None),
        (API, {"HTTPS_PROXY": PROXY, "no_proxy": ".github.com"}, None),
        (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.github.com:8080"}, PROXY),
        (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "hub.com,example.com"}, PROXY),
        (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "API.GITHUB.COM"}, None),
        (API, {"HTTPS_PROXY": PROXY, "no_proxy": "example.com", "NO_PROXY": "*"}, PROXY),
        ("https://ghes.example:8443/api/v3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "ghes.example:8443"}, None),
        ("https://ghes.example:8443/api/v3", {"HTTPS_PROXY": PROXY}, PROXY),
        ("http://127.0.0.1:8080", {"HTTPS_PROXY": PROXY, "http_proxy": PROXY}, None),
    ],
)
def test_which_proxy(api_url: str, environ: dict[str, str], expected: str | None) -> None:
    """Small letters win over capitals, NO_PROXY names hosts with what is below them, and this machine needs none."""
    assert proxy_to(api_url, environ) == expected


@pytest.mark.parametrize(
    "proxy", ["socks5://me:secret@h:1", "http://me:secret@", "http://me:secret@h:x", "http://secret\n@h"]
)
def test_a_proxy_that_is_none(proxy: str) -> None:
    """What is no proxy is refused without repeating it: it may hold a password."""
    with pytest.raises(GitHubError) as caught:
        proxy_to(API, {"HTTPS_PROXY": proxy})
    assert "secret" not in str(caught.value) + caught.value.detail


@pytest.mark.slow
def test_only_a_tunnel_is_asked_for() -> None:
    """The proxy is asked to connect to GitHub; the token would follow inside TLS only, and its password is not told."""
    heard: list[bytes] = []

    def hear(listening: socket.socket) -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=hear, args=(listening,), daemon=True).start()
        proxy = f"http://me:s3cret@127.0.0.1:{listening.getsockname()[1]}"
        with (
            GitHub(api_url=API, token=TOKEN, repository=REPOSITORY, proxy=proxy, sleep=lambda _: None) as client,
            pytest.raises(GitHubError) as caught,
        ):
            client.close_issue(mark=MARK, body="over")
    assert all(said.startswith(b"CONNECT api.github.com:443 HTTP/1.1\r\n") for said in heard)
    assert heard
    assert TOKEN.encode() not in b"".join(heard)
    assert "s3cret" not in str(caught.value) + caught.value.detail
