"""With which key to call and through which proxy: checked here, before anything is sent anywhere.

In: the text of ``GLIDER_API_KEY`` and ``GLIDER_PROXY`` as found. Out: the same, normalised, or an error that says what
to write instead. Knows neither the environment nor the network. Where to call: :mod:`reconciler.core.baseurl`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from reconciler.core.errors import ApiError, FailureKind, UsageError


def checked_proxy(text: str, base_url: str) -> str:
    """Return a proxy's URL. Raises :class:`UsageError` for one that can't be used, without repeating it: it may hold a
    password.

    Only an https service goes through it: the proxy then passes bytes on that it can't read. A service on http is on
    this machine, and a proxy would be shown the key.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise UsageError("the proxy is no http:// or https:// URL of a host", "Write it as http://proxy.example:3128.")
    if not base_url.startswith("https:"):
        raise UsageError("a proxy is of no use for a service on this machine", "Drop --proxy, or GLIDER_PROXY.")
    return text.strip()


def checked_key(text: str) -> str:
    """Return the key without the whitespace around it (API facts §2.3).

    Raises :class:`ApiError` (``UNAUTHENTICATED``) for what can't be a key; no message ever holds a part of it.
    """
    key = text.strip()
    if not key:
        raise _no_key("GLIDER_API_KEY is not set or empty; set it to a key of Glider's console")
    if not key.isascii():
        raise _no_key("GLIDER_API_KEY holds characters that no key has (not ASCII); copy the key again")
    if not key.isprintable() or " " in key:
        raise _no_key("GLIDER_API_KEY holds a space, line break or control character; copy the key again")
    return key


def _no_key(message: str) -> ApiError:
    return ApiError(FailureKind.UNAUTHENTICATED, message)
