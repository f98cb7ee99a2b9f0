"""The Glider service at the other end: its address in one spelling, what may be a key, and whom the files expect there.
Also the address of a journal that is not a file.

In: a base URL, a key or a journal's URL as somebody wrote it; what the files expect, and the account that the key
belongs to. Out: the same address as it is used everywhere (requests, journal, plans, messages); one sentence if the
service or account is not the expected one. What the files expect is only compared, and never used to connect. Nothing
is looked up or opened here.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from msgspec import Struct

from reconciler.core.errors import ApiError, FailureKind, NotExpected, UsageError
from reconciler.core.text import harmless, label

CONSOLE: Final = "console.glidercloud.dev"
"""Where keys and their scopes are kept; there is no call for either (API facts §2.7)."""
_AUTHORITY: Final = r"[^/?#]*"
_HOST_AND_PORT: Final = (
    r"(?a)(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?"
)
_PATH: Final = r"(?a)(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*"
_LOOPBACK: Final = r"(?a)127(?:\.\d{1,3}){3}|localhost|\[::1\]"
_VERSION_TAIL: Final = r"(?a)/v\d+$"
_DEFAULT_PORT: Final = {"https": 443, "http": 80}
_HIGHEST_PORT: Final = 65_535


def checked_base_url(text: str) -> str:
    """Return ``text`` as ``scheme://host[:port][/path]``: lower case, no default port, no slash at the end.

    Only https is allowed, and http for the loopback host, whose traffic stays on this machine. Raises
    :class:`UsageError` that says what to write. Two spellings of one service give one result, because journals
    and plans are keyed by it.
    """
    text = text.strip()
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    authority = re.match(_AUTHORITY, rest)[0]  # type: ignore[index]  # the pattern matches the empty text, too
    if "@" in authority:
        raise UsageError(
            "the base URL holds a user name or password", "Take it out; the key goes into GLIDER_API_KEY alone."
        )
    if scheme not in _DEFAULT_PORT or not authority:
        raise _refused("it does not begin with https:// and a host", text)
    found = re.fullmatch(_HOST_AND_PORT, authority)
    host = _one_spelling(found["host"].lower()) if found is not None else None
    port = int(found["port"] or _DEFAULT_PORT[scheme]) if found is not None else 0
    path = rest[len(authority) :].rstrip("/")
    for wrong, why in (
        (host is None or port > _HIGHEST_PORT, "its host or port is not one"),
        ("?" in text or "#" in text, "it has a query or a fragment"),
        (not re.fullmatch(_PATH, path), "its path has empty, dotted or escaped parts"),
        (re.search(_VERSION_TAIL, path), "it ends in an API version, which is added by itself"),
        (
            scheme == "http" and not re.fullmatch(_LOOPBACK, host or ""),
            "http would send the key readable for all; only a loopback host may use it",
        ),
    ):
        if wrong:
            raise _refused(why, text)
    shown_port = "" if port == _DEFAULT_PORT[scheme] else f":{port}"
    return f"{scheme}://{host}{shown_port}{path}"


def is_one_spelling(label: str) -> bool:
    """Whether this names a service as journals and saved files do: a base URL in its one spelling, or a sandbox."""
    try:
        return label.startswith("sandbox://") or checked_base_url(label) == label
    except UsageError:
        return False


class JournalUrl(Struct, frozen=True):
    """The URL of a journal in PostgreSQL, which holds no secret; it is shown to people as it is."""

    text: str

    def __str__(self) -> str:
        return self.text


_POSTGRESQL: Final = ("postgresql", "postgres")
_LIKE_A_URL: Final = r"(?is)postgres(ql)?:|(.*\s)?(host|dbname|service|password)\s*="
"""A URL in which a slash is missing, or libpq's other form of it (``host=… dbname=…``). Nobody gives a file such a name
on purpose."""
_NO_SECRETS: Final = frozenset(
    (
        *("host", "hostaddr", "port", "dbname", "user", "service", "connect_timeout", "target_session_attrs"),
        *("load_balance_hosts", "require_auth", "channel_binding", "gssencmode", "krbsrvname"),
        *("sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version"),
    )
)
"""The parameters of libpq that a journal's URL may have: no password, and no file of passwords."""


def journal_url(text: str) -> JournalUrl | None:
    """Return the journal that a URL names; ``None`` for the path of a file.

    Raises :class:`UsageError` for any other URL. One that holds a password is refused, because it would stand in the
    shell's history and in the list of processes; no message repeats it.
    """
    scheme, colon, rest = text.partition("://")
    if not colon and not re.match(_LIKE_A_URL, text):
        return None
    if not colon or scheme.lower() not in _POSTGRESQL:
        raise UsageError(
            "--journal takes a file or a URL that begins with postgresql://",
            "As in `--journal postgresql://reconciler@db.example.com/journals`.",
        )
    authority = re.match(_AUTHORITY, rest)[0]  # type: ignore[index]  # the pattern matches the empty text, too
    user, _, _ = authority.rpartition("@")
    parameters = {one.partition("=")[0] for one in rest.partition("?")[2].split("&") if one}
    # Where a password holds a slash or a question mark, its end stands behind them.
    if ":" in user or "@" in user or "@" in rest[len(authority) :] or "password" in parameters:
        raise UsageError(
            "the URL of the journal holds a password",
            "Take it out; a password comes from PGPASSWORD, from ~/.pgpass or from a service file alone.",
        )
    if unknown := sorted(parameters - _NO_SECRETS):
        raise UsageError(
            f"the URL of the journal has the parameter {harmless(unknown[0])}, which is not taken",
            f"It may have {', '.join(sorted(_NO_SECRETS))}. Whatever holds or names a secret belongs into the "
            "environment or a service file.",
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(
            "the URL of the journal holds characters that no URL has", "Write them escaped, as in %20 for a space."
        )
    return JournalUrl(f"{_POSTGRESQL[0]}://{rest}")


def is_loopback(url: str) -> bool:
    """Whether a URL in its one spelling names this machine."""
    found = re.match(_HOST_AND_PORT, url.partition("://")[2])
    return found is not None and re.fullmatch(_LOOPBACK, found["host"]) is not None


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


class Expect(Struct, frozen=True, kw_only=True):
    """What the files expect; ``None`` where they leave it open. ``url`` is in its one spelling."""

    url: str | None = None
    account: str | None = None

    @property
    def empty(self) -> bool:
        """Whether the files expect nothing at all."""
        return self.url is None and self.account is None


NOTHING: Final = Expect()
"""What files without ``service.expect`` expect."""


def mismatch(expect: Expect, *, url: str | None = None, account: str | None = None) -> str | None:
    """Return in one sentence why this is not whom the files expect, ``None`` where nothing contradicts them.

    ``url`` is the base URL in its one spelling, ``account`` the tenant's name as the service tells it. What is
    ``None`` is not known and not compared, so that the URL can be compared before anything is sent.
    """
    if expect.url is not None and url is not None and url != expect.url:
        return f"the files expect the service {expect.url}, and this is {harmless(url)}"
    if expect.account is None or account is None or label(account) == label(expect.account):
        return None
    found = label(account) or "one without a name"
    return f"the files expect the account {expect.account}, and this key belongs to {found}"


def require_expected(expect: Expect, *, url: str | None = None, account: str | None = None) -> None:
    """Raise :class:`NotExpected` where :func:`mismatch` has something to say."""
    if said := mismatch(expect, url=url, account=account):
        raise NotExpected(said, "Use the service and the key that belong to these files, or other files.")


def expect_of(*, url: str, account: str | None) -> Expect:
    """Return what files should say that were made from this service; nothing of the sandbox or a loopback service.

    Those are for trying things out, and the next run usually talks to another one.
    """
    if not url.startswith("https://") or is_loopback(url):
        return NOTHING
    return Expect(url=url, account=label(account) if account is not None else None)


def _one_spelling(host: str) -> str | None:
    """Return a host as it is spelled everywhere, ``None`` for brackets that hold no address of IPv6."""
    if not host.startswith("["):
        return host
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except ValueError:
        return None


def _refused(why: str, text: str) -> UsageError:
    return UsageError(
        f"the base URL can't be used: {why}",
        f"Found {harmless(text, longest=100)!r}. Write it as https://api.glider.fi, or http://127.0.0.1:8080 for a "
        "service on this machine.",
    )
