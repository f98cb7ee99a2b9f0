"""Where to call and with which key: both are checked here, before anything is sent anywhere.

In: the text of ``GLIDER_BASE_URL`` and ``GLIDER_API_KEY`` as found. Out: the same, normalised, or an error that says
what to write instead. Knows neither the environment nor the network, and imports no client library, so that a saved
plan's base URL can be compared for the price of a string.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from reconciler.core.errors import ApiError, FailureKind, UsageError
from reconciler.core.text import harmless

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]", re.ASCII)
_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)
_LOOPBACK: Final = re.compile(r"127(?:\.\d{1,3}){3}|localhost|\[::1\]", re.ASCII)
_VERSION_TAIL: Final = re.compile(r"/v\d+$", re.ASCII)
_DEFAULT_PORT: Final = {"https": 443, "http": 80}


def checked_base_url(text: str) -> str:
    """Return ``text`` as ``scheme://host[:port][/path]``: lower case, no default port, no slash at the end.

    https only; http for the loopback host, where nobody listens in. Raises :class:`UsageError` that says what to
    write. Two spellings of one service give one result: journals and plans are keyed by it.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        scheme, port = parts.scheme, parts.port
        host = (parts.hostname or "").lower()
    except ValueError as cause:
        raise _refused("it is not a URL", text) from cause
    host = f"[{host}]" if ":" in host else host
    if "@" in parts.netloc:
        raise UsageError(
            "the base URL holds a user name or password", "Take it out; the key goes into GLIDER_API_KEY alone."
        )
    if scheme not in _DEFAULT_PORT or not host:
        raise _refused("it does not begin with https:// and a host", text)
    if not _HOST.fullmatch(host):
        raise _refused("its host is not one", text)
    if "?" in text or "#" in text:
        raise _refused("it has a query or a fragment", text)
    path = parts.path.rstrip("/")
    if not _PATH.fullmatch(path):
        raise _refused("its path has empty, dotted or escaped parts", text)
    if _VERSION_TAIL.search(path):
        raise _refused("it ends in an API version, which is added by itself", text)
    if scheme == "http" and not _LOOPBACK.fullmatch(host):
        raise _refused("http would send the key readable for all; only a loopback host may use it", text)
    shown_port = "" if port in (None, _DEFAULT_PORT[scheme]) else f":{port}"
    return f"{scheme}://{host}{shown_port}{path}"


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


def _refused(why: str, text: str) -> UsageError:
    return UsageError(
        f"the base URL can't be used: {why}",
        f"Found {harmless(text, longest=100)!r}. Write it as https://api.glider.fi, or http://127.0.0.1:8080 for a "
        "service on this machine.",
    )


def _no_key(message: str) -> ApiError:
    return ApiError(FailureKind.UNAUTHENTICATED, message)
