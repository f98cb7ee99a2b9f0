"""Which account does the key belong to?

In: an open transport. Out: the account's name, or nothing where it can't be known. API facts §1.3 (V2.10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.api.codec import data_of
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from reconciler.api.transport import Transport


async def read_account(transport: Transport) -> str | None:
    """Return the name of the key's account, harmless; ``None`` where the service does not tell it.

    It tells none for a legacy static key, and a service without v2 has no such call. Raises :class:`ApiError` only for
    a refused key: everything that follows would fail alike.
    """
    try:
        payload = await transport.get("/v2/whoami", operation="whoami")
    except ApiError as error:
        if error.kind is FailureKind.UNAUTHENTICATED:
            raise
        return None
    name = (data_of(payload) or {}).get("tenantName")
    return harmless(name) if isinstance(name, str) and name.strip() else None
