"""The key and the service behind it: whose the key is, what it may do, and whether the service answers.

In: an open transport. Out: an account, scopes, an :class:`~reconciler.core.doctor.Asking`. API facts §1.3 (V2.10),
§1.4, §2.3, §2.7. Knows neither the environment nor how a request is sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from reconciler.api.envelope import header_of, http_date_ms, object_of
from reconciler.api.table import data_of, lower
from reconciler.core.endpoint import CONSOLE
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from reconciler.api.transport import Transport
    from reconciler.core.doctor import Asking, Probed
    from reconciler.core.model import PortfolioId
    from reconciler.core.ports import Clock

BOUND_S: Final = 10.0
READS: Final = 3
"""Reads of the same kind, one after the other; their median time is shown."""
_WHOAMI: Final = "/v2/whoami"
_DEEPEST_SCOPE: Final = 4
_ROUTES: Final = ("rebalance/schedule/pause", "pause", "rebalance/schedule/no-such-route")
"""Where ``pause`` stands in the API reference and in the guide (API facts §4.1), and where nothing does. A service that
took the GET for the write would end with less trading, not more; so start, resume and trigger are never asked."""
_LIMITS: Final = {b"x-ratelimit-limit": "limit", b"x-ratelimit-remaining": "remaining", b"x-ratelimit-reset": "reset"}


async def read_account(transport: Transport) -> str | None:
    """Return the name of the key's account, harmless; ``None`` if the service does not tell it.

    A legacy static key has none, and a service without v2 has no such call. Raises :class:`ApiError` only for a refused
    key, because everything that follows would fail in the same way.
    """
    try:
        return _account_of(await transport.get(_WHOAMI, operation="whoami"))
    except ApiError as error:
        if error.kind is FailureKind.UNAUTHENTICATED:
            raise
        return None


def _account_of(payload: dict[str, object]) -> str | None:
    name = (data_of(payload) or {}).get("tenantName")
    return harmless(name) if isinstance(name, str) and name.strip() else None


async def require_scopes(transport: Transport, needed: Collection[str]) -> str | None:
    """Return ``None`` where the key has every scope in ``needed``, or a sentence where its scopes can't be known.

    Ask once, before the first write. Scopes that can't be known are no reason to refuse, because the service itself
    refuses a write without its scope, and then nothing was done. Raises :class:`ApiError`: ``FORBIDDEN`` for a missing
    scope, and ``UNAUTHENTICATED`` for a refused key.
    """
    if not needed:
        return None
    try:
        payload = await transport.get(_WHOAMI, operation="whoami")
    except ApiError as error:
        if error.kind is FailureKind.UNAUTHENTICATED:
            raise
        if error.kind is FailureKind.FORBIDDEN:
            return "Glider does not tell the scopes of this key (a legacy static key), so they were not checked"
        return f"the scopes of the key could not be read ({error}), so they were not checked"
    scopes = _scopes_of(payload)
    if scopes is None:
        return "Glider does not tell the scopes of this key, so they were not checked"
    missing = sorted(scope for scope in needed if scope not in scopes)
    if missing:
        lacking = ApiError(
            FailureKind.FORBIDDEN, f"the key lacks the scope {' and '.join(missing)}", operation="whoami"
        )
        lacking.detail = f"Nothing was written. Add it to the key in Glider's console ({CONSOLE}), or use another key."
        raise lacking
    return None


def _scopes_of(payload: dict[str, object]) -> frozenset[str] | None:
    """Return the scopes that an answer of whoami names, in lower case; ``None`` if they can't be known for sure.

    A list is documented, but not what is in it (API facts §1.4). So texts are read, objects by their ``name`` (as in
    the list of all scopes), and lists of either. With any other shape, or a wildcard, nobody knows which are meant.
    """
    data = data_of(payload)
    found = data.get("scopes") if data is not None else None
    names = tuple(_names(found, _DEEPEST_SCOPE)) if isinstance(found, list) else (None,)
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


async def ask_service(
    transport: Transport, *, portfolio: PortfolioId | None, clock: Clock, bound_s: float = BOUND_S
) -> Asking:
    """Ask whose the key is, three times, then for the status of a v1 portfolio and which of its paths exist.

    Judges nothing. Every request is a GET, is sent once, and is given up after ``bound_s`` seconds. If the service does
    not answer who the key is, nothing more is sent.
    """
    from reconciler.api.v1 import CALLS_OF_V1
    from reconciler.core.doctor import Asking, Routes, ServiceAnswer

    async def ask(path: str, operation: str) -> Probed:
        return await _ask(transport, path, operation, clock, bound_s)

    whoami: list[Probed] = []
    for _ in range(READS):
        whoami.append(await ask(_WHOAMI, "whoami"))
        if isinstance(whoami[-1], ApiError) or whoami[-1].status == 429:
            break
    if portfolio is None or isinstance(whoami[-1], ApiError):
        return Asking(whoami=tuple(whoami), portfolio=None, routes=None)
    status = await ask(CALLS_OF_V1.path(portfolio, CALLS_OF_V1.status.tail), f"status of {portfolio}")
    routes = None
    if isinstance(status, ServiceAnswer) and status.status == 200 and status.glider:
        paths = [CALLS_OF_V1.path(portfolio, tail) for tail in _ROUTES]
        reference, guide, nowhere = [await ask(path, f"paths of {portfolio}") for path in paths]
        routes = Routes(reference=reference, guide=guide, nowhere=nowhere)
    return Asking(whoami=tuple(whoami), portfolio=status, routes=routes)


async def _ask(transport: Transport, path: str, operation: str, clock: Clock, bound_s: float) -> Probed:
    from reconciler.core.doctor import ServiceAnswer

    sent_ms = 0

    def sending() -> None:
        nonlocal sent_ms
        sent_ms = clock.now_ms()
        bound.reschedule(asyncio.get_running_loop().time() + bound_s)

    try:
        async with asyncio.timeout(None) as bound:
            status, headers, body = await transport.look(path, operation=operation, sending=sending)
    except TimeoutError:
        message = f"no whole answer within {bound_s:g} s"
        return ApiError(FailureKind.INTERRUPTED, message, operation=operation)
    except ApiError as error:
        return error
    payload = object_of(body) or {}
    date = header_of(headers, b"date")
    scopes = _scopes_of(payload)
    return ServiceAnswer(
        status=status,
        sent_ms=sent_ms,
        received_ms=clock.now_ms(),
        date_ms=http_date_ms(date, with_zone=True) if date is not None else None,
        limits=tuple(_limits(headers)),
        # A rate limit has a body of its own (API facts §2.5).
        glider=isinstance(payload.get("success"), bool) or (status == 429 and "retryAfter" in payload),
        scopes=frozenset(harmless(one, longest=60) for one in scopes) if scopes is not None else None,
        tenant=_account_of(payload),
    )


def _limits(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    """Yield the rate-limit headers (API facts §2.3), each once; anything but a number is cut short."""
    said: set[str] = set()
    for name, value in headers:
        title = _LIMITS.get(name.lower())
        if title is not None and title not in said:
            said.add(title)
            yield title, harmless(value.decode("latin-1").strip(), longest=20)
