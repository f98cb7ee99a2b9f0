"""May the key do what a plan asks for? Its scopes, asked for once, before the first write.

In: the scopes that are needed. Out: nothing, a sentence where they can't be known, or an error that names the missing
one. API facts §1.3 (V2.10), §2.7: reading needs none of these, so a key that may only read can plan. v1 documents no
scope at all.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.api.codec import data_of, lower
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.api.transport import Transport

CONSOLE: Final = "console.glidercloud.dev"
"""Where a key gets its scopes; there is no call for it (API facts §2.7)."""
_DEEPEST: Final = 4


class Scope(StrEnum):
    """What a key needs to write on v2."""

    PORTFOLIOS_WRITE = "portfolios:write"
    STRATEGIES_WRITE = "strategies:write"


def scopes_of(payload: dict[str, object]) -> frozenset[str] | None:
    """Return the scopes that an answer of whoami names, in lower case; ``None`` where they can't be known for sure.

    Documented is a list, but not of what (API facts §1.4): texts are read, objects by their ``name`` as those of the
    list of all scopes, and lists of either. A wildcard, and any other shape, may stand for scopes that are not named.
    """
    data = data_of(payload)
    found = data.get("scopes") if data is not None else None
    names = tuple(_names(found, _DEEPEST)) if isinstance(found, list) else (None,)
    return frozenset(lower(name) for name in names if name) if all(names) else None


def _names(value: object, levels: int) -> Iterator[str | None]:
    """Yield the name of each scope in a value, and ``None`` for what names none."""
    match value:
        case list() if levels:
            for inner in value:
                yield from _names(inner, levels - 1)
        case {"name": str(name)} | str(name):
            yield name if name and "*" not in name else None
        case _:
            yield None


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
    scopes = scopes_of(payload)
    if scopes is None:
        return "Glider does not tell the scopes of this key, so they were not checked"
    missing = sorted(scope.value for scope in needed if scope.value not in scopes)
    if missing:
        lacking = ApiError(
            FailureKind.FORBIDDEN, f"the key lacks the scope {' and '.join(missing)}", operation="whoami"
        )
        lacking.detail = f"Nothing was written. Add it to the key in Glider's console ({CONSOLE}), or use another key."
        raise lacking
    return None
