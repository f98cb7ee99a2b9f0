"""Base URL and key: what is accepted, and what a person is told instead."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.access import checked_base_url, checked_key
from reconciler.core.errors import ApiError, FailureKind, UsageError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.glider.fi", "https://api.glider.fi"),
        (" HTTPS://API.Glider.fi:443/ ", "https://api.glider.fi"),
        ("https://proxy.example:8443/glider/", "https://proxy.example:8443/glider"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:9000/", "http://[::1]:9000"),
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
        "https://api glider.fi",
        "https://glidér.fi",
        "https://[::1",
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


@given(st.text(max_size=40))
def test_any_text_is_a_base_url_or_wrong_usage(text: str) -> None:
    """No text makes the check fail in another way."""
    for candidate in (text, f"https://{text}", f"http://127.0.0.1{text}"):
        with contextlib.suppress(UsageError):
            assert checked_base_url(checked_base_url(candidate)) == checked_base_url(candidate)


@pytest.mark.parametrize("text", ["", "  \n", "gldr sk", "gldr\nsk", "gldr\x00sk", "schlüssel", "a\x7fb"])
def test_a_key_that_can_not_be_one_is_refused_without_showing_it(text: str) -> None:
    """A key that no header can carry ends in the error for a missing permission, naming the variable only."""
    with pytest.raises(ApiError) as caught:
        checked_key(text)
    assert caught.value.kind is FailureKind.UNAUTHENTICATED
    assert "GLIDER_API_KEY" in str(caught.value)
    assert not text.strip() or text.strip() not in str(caught.value)


def test_whitespace_around_the_key_is_dropped() -> None:
    """A line break from a secret's file does no harm."""
    assert checked_key(" gldr_sk_abc\r\n") == "gldr_sk_abc"
