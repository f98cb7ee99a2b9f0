"""API keys: which are refused, and what the others may do on v2 (API facts §2.4, §2.7).

In: the key of a request. Out: scopes, or ``Refused``. A key is known by its own text alone; nothing is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.sandbox.model import Code, Refused
from reconciler.sandbox.settings import ApiScope

if TYPE_CHECKING:
    from reconciler.sandbox.settings import Settings

LEGACY_KEY: Final = b"legacy"
"""A static key without a tenant: ``whoami`` refuses it (API facts §1.3), everything else takes it."""
READ_ONLY_KEY: Final = b"readonly"
"""A key that has the scopes every key has, and no other."""

DEFAULT_SCOPES: Final = frozenset({ApiScope.PORTFOLIOS_READ, ApiScope.STRATEGIES_READ})
"""What every key is granted without asking."""

_BAD_KEYS: Final = {
    b"": (401, Code.KEY_MISSING, "API key is required"),
    b"expired": (401, Code.KEY_EXPIRED, "API key has expired"),
    b"invalid": (401, Code.KEY_INVALID, "API key is invalid"),
    b"forbidden": (403, Code.PERMISSION_DENIED, "API key lacks the required permission"),
}
"""Keys that are refused; every other is accepted."""


def check_key(key: bytes) -> None:
    """Raise ``Refused`` 401 or 403 for a key that is not good."""
    bad = _BAD_KEYS.get(key)
    if bad is not None:
        raise Refused(*bad)


def scopes_of(key: bytes, settings: Settings) -> tuple[ApiScope, ...]:
    """Return what a good key may do, in the order of :class:`ApiScope`."""
    if key == READ_ONLY_KEY:
        return tuple(scope for scope in settings.scopes if scope in DEFAULT_SCOPES)
    return settings.scopes


def check_scope(key: bytes, scope: ApiScope, settings: Settings) -> None:
    """Raise ``Refused`` 403 for a key that lacks the scope."""
    if scope not in scopes_of(key, settings):
        raise Refused(403, Code.PERMISSION_DENIED, f"API key lacks the scope {scope.value}")
