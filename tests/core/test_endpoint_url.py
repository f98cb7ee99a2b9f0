"""Base URLs: what is accepted, in which spelling, and what a person is told instead."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.endpoint import checked_base_url, is_loopback
from reconciler.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.glider.fi", "https://api.glider.fi"),
        (" HTTPS://API.Glider.fi:443/ ", "https://api.glider.fi"),
        ("https://api.glider.fi\n", "https://api.glider.fi"),
        ("https://api.glider.fi:", "https://api.glider.fi"),
        ("https://api.glider.fi:00443", "https://api.glider.fi"),
        ("https://api.glider.fi:80", "https://api.glider.fi:80"),
        ("https://proxy.example:8443/glider/", "https://proxy.example:8443/glider"),
        ("https://proxy.example/Glider", "https://proxy.example/Glider"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:9000/", "http://[::1]:9000"),
        ("http://[0:0::0:1]", "http://[::1]"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
    ],
)
def test_one_service_has_one_spelling(text: str, url: str) -> None:
    """A good base URL comes back normalised, and normalising it again changes nothing."""
    assert checked_base_url(text) == url
    assert checked_base_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.glider.fi",
        "ftp://api.glider.fi",
        "http://api.glider.fi",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "https://",
        "https://key@api.glider.fi",
        "https://a:b@api.glider.fi",
        "https://api.glider.fi?x=1",
        "https://api.glider.fi#x",
        "https://api.glider.fi/?",
        "https://api.glider.fi/../x",
        "https://api.glider.fi//x",
        "https://api.glider.fi/%2e",
        "https://api.glider.fi/v1",
        "https://api.glider.fi/v2/",
        "https://api.glider.fi:99999",
        "https://api.glider.fi:x",
        "https://api.glider.fi:-1",
        "https://api glider.fi",
        "https://api.gli\nder.fi",
        "https://glidér.fi",
        "https://\u212aelvin.example",
        "https://[::1",
        "https://[::1::1]",
        "https://[fe80::1%25eth0]",
        "https://api.glider.fi\\@evil.example",
        "file:///etc/passwd",
    ],
)
def test_a_bad_base_url_is_refused_with_what_to_write(text: str) -> None:
    """Whatever could send the key elsewhere, or readable, is refused with wrong usage."""
    with pytest.raises(UsageError) as caught:
        checked_base_url(text)
    assert "https://" in caught.value.detail or "GLIDER_API_KEY" in caught.value.detail


def test_a_password_in_the_base_url_is_not_repeated() -> None:
    """User information may be a secret: the error does not show it."""
    with pytest.raises(UsageError) as caught:
        checked_base_url("https://me:hunter2@api.glider.fi")
    assert "hunter2" not in caught.value.summary + caught.value.detail


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9:.\[\]/]{0,12}(:[0-9]{0,6})?/?[a-z~./]{0,6}", fullmatch=True))
def test_any_text_is_a_base_url_or_wrong_usage(text: str) -> None:
    """No text makes the check fail in another way, and every result is its own only spelling."""
    for candidate in (text, f"https://{text}", f"http://127.0.0.1{text}"):
        with contextlib.suppress(UsageError):
            assert checked_base_url(checked_base_url(candidate)) == checked_base_url(candidate)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("https://localhost:8443/glider", True),
        ("http://[::1]:9000", True),
        ("https://api.glider.fi", False),
        ("https://localhost.example", False),
        ("https://127.0.0.1.example", False),
        ("sandbox://3f", False),
    ],
)
def test_which_urls_name_this_machine(url: str, loopback: bool) -> None:
    """Only a loopback host does; a name that begins like one does not."""
    assert is_loopback(url) is loopback
