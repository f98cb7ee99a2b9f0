"""Questions about the service itself: does it answer, as what, with which key, on which paths, how fast.

In: an open transport, and a declared v1 portfolio where there is one. Out: :class:`Asking`, unjudged. Every request is
a GET, is sent once, and is given up after :data:`BOUND_S`; where nothing answers, no second one is sent.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from reconciler.api.codec import data_of
from reconciler.api.scopes import scopes_of
from reconciler.api.v1 import path_of
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.servicechecks import Answer, Asked, Asking, Routes
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.api.transport import Transport
    from reconciler.core.desired import PortfolioId
    from reconciler.core.ports import Clock

BOUND_S: Final = 10.0
READS: Final = 3
"""So many reads of the same kind, one after the other, for the middle of their times."""
_ROUTES: Final = ("rebalance/schedule/pause", "pause", "rebalance/schedule/no-such-route")
"""Where ``pause`` stands in the API reference and in the guide (API facts §4.1), and where nothing does. A service that
took the GET for the write would end with less trading, not more; so start, resume and trigger are never asked."""
_LIMITS: Final = {b"x-ratelimit-limit": "limit", b"x-ratelimit-remaining": "remaining", b"x-ratelimit-reset": "reset"}


async def ask_service(
    transport: Transport, *, portfolio: PortfolioId | None, clock: Clock, bound_s: float = BOUND_S
) -> Asking:
    """Ask who the key is, three times, then for the status of a v1 portfolio and what stands below it.

    Each request is given up after ``bound_s`` seconds.
    """

    async def ask(path: str, operation: str) -> Asked:
        return await _ask(transport, path, operation, clock, bound_s)

    whoami: list[Asked] = []
    for _ in range(READS):
        whoami.append(await ask("/v2/whoami", "whoami"))
        if isinstance(whoami[-1], ApiError) or whoami[-1].status == 429:
            break
    if portfolio is None or isinstance(whoami[-1], ApiError):
        return Asking(whoami=tuple(whoami), portfolio=None, routes=None)
    status = await ask(path_of(portfolio, "automation/status"), f"status of {portfolio}")
    routes = None
    if isinstance(status, Answer) and status.status == 200 and status.glider:
        reference, guide, nowhere = [await ask(path_of(portfolio, tail), f"paths of {portfolio}") for tail in _ROUTES]
        routes = Routes(reference=reference, guide=guide, nowhere=nowhere)
    return Asking(whoami=tuple(whoami), portfolio=status, routes=routes)


async def _ask(transport: Transport, path: str, operation: str, clock: Clock, bound_s: float) -> Asked:
    sent_ms = clock.now_ms()
    try:
        async with asyncio.timeout(bound_s):
            status, headers, body = await transport.look(path, operation=operation)
    except TimeoutError:
        message = f"no whole answer within {bound_s:g} s"
        return ApiError(FailureKind.INTERRUPTED, message, operation=operation)
    except ApiError as error:
        return error
    payload = _object_of(body)
    data = data_of(payload) or {}
    scopes, tenant = scopes_of(payload), data.get("tenantName")
    return Answer(
        status=status,
        sent_ms=sent_ms,
        received_ms=clock.now_ms(),
        date_ms=_date_ms(headers),
        limits=tuple(_limits(headers)),
        # A rate limit has a body of its own (API facts §2.5).
        glider=isinstance(payload.get("success"), bool) or (status == 429 and "retryAfter" in payload),
        scopes=frozenset(harmless(one, longest=60) for one in scopes) if scopes is not None else None,
        tenant=harmless(tenant) if isinstance(tenant, str) and tenant.strip() else None,
    )


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _limits(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    """Yield the rate-limit headers (API facts §2.3), each once; anything but a number is cut short."""
    said: set[str] = set()
    for name, value in headers:
        title = _LIMITS.get(name.lower())
        if title is not None and title not in said:
            said.add(title)
            yield title, harmless(value.decode("latin-1").strip(), longest=20)


def _date_ms(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    from email.utils import parsedate_to_datetime

    text = next((value for name, value in headers if name.lower() == b"date"), None)
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text.decode("latin-1"))
        # A date without a zone is none that HTTP knows.
        return round(found.timestamp() * 1000) if found.tzinfo is not None else None
    except (ValueError, OverflowError, TypeError, IndexError):
        return None  # the standard parser raises any of these on hostile text
