"""Calls to one service: paced, repeated within limits, and in a room where a write has to follow a look.

In: method, path and body of a call. Out: the JSON object of its answer, or an :class:`ApiError`. Knows no portfolio,
and not how a request is sent: :class:`~reconciler.api.transport.Transport` adds that.
"""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from reconciler.api.envelope import success_of
from reconciler.api.pacing import Pacing
from reconciler.api.room import WriteRoom, room_here
from reconciler.api.servicetime import ServiceTime
from reconciler.core.errors import ApiError
from reconciler.core.rebalance import is_cooldown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.core.ports import Clock


class Calls(ABC):
    """The calls to one service, never more than ``parallelism`` at a time; ``jitter`` gives numbers from 0 up to 1."""

    def __init__(self, *, parallelism: int, clock: Clock, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._time = ServiceTime(clock)
        self._pacing = Pacing(parallelism=parallelism, clock=clock, jitter=jitter, service_ms=self._time.now_ms)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told of the pace: sentences, each once, oldest first."""
        return self._pacing.notes

    @property
    def names_time(self) -> bool:
        """Whether any answer so far named the time."""
        return self._time.named

    def service_ms(self) -> int:
        """Return the time by the service's clock, UTC epoch milliseconds; by ours where it names none."""
        return self._time.now_ms()

    def room(self) -> WriteRoom:
        """Return room for the looks and attempts of one write; while it is entered, this task's calls go by it."""
        return WriteRoom(self._pacing, self._clock)

    async def get(self, path: str, *, operation: str) -> dict[str, object]:
        """Send a read; repeat it within limits. ``path`` begins with a slash and is safe in a URL as it stands."""
        return await self._call("GET", path, None, operation)

    async def post(
        self, path: str, body: Mapping[str, object], *, operation: str, cools_down: bool = False
    ) -> dict[str, object]:
        """Send a write once; outside a room, after a 429 alone, which proves that nothing was done, again.

        In a room it is sent at once or not at all (:class:`~reconciler.core.ports.WriteNotSent`).
        ``cools_down`` says that the route has a cooldown of its own (API facts §2.5): its 429 is about this one
        portfolio, so it is raised at once and slows nothing else.
        """
        content = json.dumps(body, separators=(",", ":")).encode()
        return await self._call("POST", path, content, operation, cools_down=cools_down)

    async def put(self, path: str, body: Mapping[str, object], *, operation: str) -> dict[str, object]:
        """Send a write of a value, as :meth:`post` does."""
        return await self._call("PUT", path, json.dumps(body, separators=(",", ":")).encode(), operation)

    async def _call(
        self, method: str, path: str, body: bytes | None, operation: str, *, cools_down: bool = False
    ) -> dict[str, object]:
        room = room_here(self._pacing)
        way = self._pacing if room is None else room
        call = way.call(operation, safe=body is None)
        sending = None if room is None else functools.partial(room.sending, call)
        while True:
            await way.enter(call)
            try:
                status, headers, answer = await self._exchange(method, path, body, operation, sending)
                self._pacing.heard(headers, limited=status == 429)
                payload = success_of(status, headers, answer, operation=operation, now_ms=self._time.now_ms())
            except ApiError as error:
                if cools_down and is_cooldown(error):
                    way.succeeded(call)
                    raise
                failure = error
                way.failed(call, failure)
            else:
                way.succeeded(call)
                return payload
            finally:
                way.leave()
            await way.before_retry(call, failure)

    @abstractmethod
    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        operation: str,
        sending: Callable[[], None] | None = None,
    ) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
        """Send one request and return status, headers and body; whatever goes wrong becomes an :class:`ApiError`.

        ``sending`` is called as the last thing before the bytes go out; what it raises stays as it is, and then none
        have gone out. Tells ``_time`` the headers as soon as they come.
        """
