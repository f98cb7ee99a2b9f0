"""Strategies of Glider's v2 API as a :class:`~reconciler.core.ports.StrategyApi`: a cadence read, and set.

In: strategy ids and cadences. Out: :class:`StrategyLive`, or what a write confirmed. API facts §1.3 (V2.7, V2.8), §1.4,
§4.7. Knows no retry and no HTTP header; never decides whether a write is a good idea.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.api.codec import lower
from reconciler.api.workers import work_through
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.strategy import Cadence, StrategyId, StrategyLive, StrategyStatus
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.api.transport import Transport
    from reconciler.core.ports import StrategyApi

    Fields = dict[str, object]

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_CADENCES: Final = {cadence.value: cadence for cadence in Cadence}
_INTERVAL: Final = "interval"
_LONGEST_WORD: Final = 60


class GliderStrategies:
    """The calls on strategies over one :class:`Transport`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        """Read a strategy's cadence (V2.7). A 404 is ``NOT_FOUND``; other failures raise :class:`ApiError`."""
        operation = f"schedule of strategy {strategy}"
        try:
            payload = await self._transport.get(_path(strategy), operation=operation)
        except ApiError as error:
            if error.kind is FailureKind.NOT_FOUND:
                return StrategyLive(id=strategy, status=StrategyStatus.NOT_FOUND)
            raise
        return strategy_live_of(strategy, payload, operation=operation)

    async def set_cadence(self, strategy: StrategyId, cadence: Cadence) -> Cadence | None:
        """Set the cadence of every enrolled portfolio (V2.8); return what the answer confirms, if it confirms any.

        Raises :class:`ApiError`.
        """
        operation = f"set-cadence of strategy {strategy}"
        body = {"type": _INTERVAL, "frequency": cadence.value}
        payload = await self._transport.put(_path(strategy), body, operation=operation)
        return strategy_live_of(strategy, payload, operation=operation).cadence


def strategy_live_of(strategy: StrategyId, payload: Fields, *, operation: str) -> StrategyLive:
    """Return what an answer about a strategy's schedule says.

    No schedule, or one without a frequency, is ``UNKNOWN`` and no drift (API facts §4.7). A type or a frequency that is
    not documented is ``UNKNOWN`` with its word; documented ones are compared without case. Raises :class:`ApiError`
    (``MALFORMED``) for what is neither.
    """
    data = payload.get("data")
    if data is not None and not isinstance(data, dict):
        raise ApiError(FailureKind.MALFORMED, "the answer holds no schedule of a strategy", operation=operation)
    kind, frequency = (data.get("type"), data.get("frequency")) if data is not None else (None, None)
    for word in (kind, frequency):
        if word is not None and not isinstance(word, str):
            raise ApiError(FailureKind.MALFORMED, "the schedule's type and frequency are no text", operation=operation)
    if isinstance(kind, str) and lower(kind) != _INTERVAL:
        return _unknown(strategy, f"{kind} {frequency}" if frequency else kind)
    if frequency is None:
        return _unknown(strategy, "")
    cadence = _CADENCES.get(lower(str(frequency)))
    if cadence is None:
        return _unknown(strategy, str(frequency))
    return StrategyLive(id=strategy, status=StrategyStatus.FOUND, cadence=cadence)


async def read_strategies(
    api: StrategyApi, ids: Iterable[StrategyId], *, parallelism: int
) -> dict[StrategyId, StrategyLive]:
    """Return the live state of every id, sorted by id; ``parallelism`` reads (at least 1) run at a time.

    A read that fails is ``UNREADABLE`` and carries its error. Only a refused key (``UNAUTHENTICATED``) is raised.
    """
    wanted = sorted(set(ids))
    found: dict[StrategyId, StrategyLive] = {}

    async def read(strategy: StrategyId) -> None:
        try:
            found[strategy] = await api.read_strategy(strategy)
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                raise
            found[strategy] = StrategyLive(id=strategy, status=StrategyStatus.UNREADABLE, failure=error)

    await work_through(wanted, read, parallelism=parallelism)
    return {strategy: found[strategy] for strategy in wanted}


def _unknown(strategy: StrategyId, word: str) -> StrategyLive:
    return StrategyLive(id=strategy, status=StrategyStatus.UNKNOWN, word=harmless(word, longest=_LONGEST_WORD))


def _path(strategy: StrategyId) -> str:
    # What may be an id needs no percent-encoding, and nothing else gets as far as a URL.
    if not _ID.fullmatch(strategy):
        raise ApiError(
            FailureKind.REFUSED,
            f"not sent: {harmless(strategy, longest=60)!r} is no strategy id; ids are 1 to 128 of A-Z a-z 0-9 _ -",
        )
    return f"/v2/strategies/{strategy}/schedule"
