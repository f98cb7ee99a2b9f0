"""The address of a Glider service, in its one spelling.

In: a base URL as somebody wrote it. Out: the same address as it is used everywhere (requests, journal, plans,
messages), or an error that says what to write instead. Nothing is looked up or opened here.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from reconciler.core.errors import UsageError
from reconciler.core.text import harmless

_AUTHORITY: Final = re.compile(r"[^/?#]*")
_HOST_AND_PORT: Final = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?", re.ASCII
)
_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)
_LOOPBACK: Final = re.compile(r"127(?:\.\d{1,3}){3}|localhost|\[::1\]", re.ASCII)
_VERSION_TAIL: Final = re.compile(r"/v\d+$", re.ASCII)
_DEFAULT_PORT: Final = {"https": 443, "http": 80}
_HIGHEST_PORT: Final = 65_535


def checked_base_url(text: str) -> str:
    """Return ``text`` as ``scheme://host[:port][/path]``: lower case, no default port, no slash at the end.

    https only; http for the loopback host, where nobody listens in. Raises :class:`UsageError` that says what to
    write. Two spellings of one service give one result: journals and plans are keyed by it.
    """
    text = text.strip()
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    authority = _AUTHORITY.match(rest)[0]  # type: ignore[index]  # the pattern matches the empty text, too
    if "@" in authority:
        raise UsageError(
            "the base URL holds a user name or password", "Take it out; the key goes into GLIDER_API_KEY alone."
        )
    if scheme not in _DEFAULT_PORT or not authority:
        raise _refused("it does not begin with https:// and a host", text)
    found = _HOST_AND_PORT.fullmatch(authority)
    if found is None or (port := int(found["port"] or _DEFAULT_PORT[scheme])) > _HIGHEST_PORT:
        raise _refused("its host or port is not one", text)
    host = _one_spelling(found["host"].lower(), text)
    if "?" in text or "#" in text:
        raise _refused("it has a query or a fragment", text)
    path = rest[len(authority) :].rstrip("/")
    if not _PATH.fullmatch(path):
        raise _refused("its path has empty, dotted or escaped parts", text)
    if _VERSION_TAIL.search(path):
        raise _refused("it ends in an API version, which is added by itself", text)
    if scheme == "http" and not _LOOPBACK.fullmatch(host):
        raise _refused("http would send the key readable for all; only a loopback host may use it", text)
    shown_port = "" if port == _DEFAULT_PORT[scheme] else f":{port}"
    return f"{scheme}://{host}{shown_port}{path}"


def is_loopback(url: str) -> bool:
    """Whether a URL in its one spelling names this machine."""
    found = _HOST_AND_PORT.match(url.partition("://")[2])
    return found is not None and _LOOPBACK.fullmatch(found["host"]) is not None


def _one_spelling(host: str, text: str) -> str:
    if not host.startswith("["):
        return host
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except ValueError as cause:
        raise _refused("its host or port is not one", text) from cause


def _refused(why: str, text: str) -> UsageError:
    return UsageError(
        f"the base URL can't be used: {why}",
        f"Found {harmless(text, longest=100)!r}. Write it as https://api.glider.fi, or http://127.0.0.1:8080 for a "
        "service on this machine.",
    )
