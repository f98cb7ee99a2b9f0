"""May the key do what a plan asks for? Its scopes, asked for once, before the first write.

In: the scopes that are needed. Out: nothing, a sentence where they can't be known, or an error that names the missing
one. API facts §1.3 (V2.10), §2.7: reading needs none of these, so a key that may only read can plan. v1 documents no
scope at all.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.api.codec import data_of
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.api.transport import Transport

CONSOLE: Final = "console.glidercloud.dev"
"""Where a key gets its scopes; there is no call for it (API facts §2.7)."""


class Scope(StrEnum):
    """What a key needs to write on v2."""

    PORTFOLIOS_WRITE = "portfolios:write"
    STRATEGIES_WRITE = "strategies:write"


async def check_scopes(transport: Transport, needed: Collection[Scope]) -> str | None:
    """Return ``None`` where the key has every scope in ``needed``, or a sentence where its scopes can't be known.

    What can't be known is no reason to refuse: the service refuses a write by itself, and nothing is done then. Raises
    :class:`ApiError`: ``FORBIDDEN`` for a missing scope, and ``UNAUTHENTICATED`` for a refused key.
    """
    if not needed:
        return None
    try:
        payload = await transport.get("/v2/whoami", operation="whoami")
    except ApiError as error:
        if error.kind is FailureKind.UNAUTHENTICATED:
            raise
        if error.kind is FailureKind.FORBIDDEN:
            return "Glider does not tell the scopes of this key (a legacy static key), so they were not checked"
        return f"the scopes of the key could not be read ({error}), so they were not checked"
    data = data_of(payload)
    scopes = data.get("scopes") if data is not None else None
    if not isinstance(scopes, list):
        return "Glider does not tell the scopes of this key, so they were not checked"
    missing = sorted(scope.value for scope in needed if scope.value not in scopes)
    if missing:
        lacking = ApiError(
            FailureKind.FORBIDDEN, f"the key lacks the scope {' and '.join(missing)}", operation="whoami"
        )
        lacking.detail = f"Nothing was written. Add it to the key in Glider's console ({CONSOLE}), or use another key."
        raise lacking
    return None
