"""Read again until something is seen, a few times: how a write is believed.

In: a read, of a portfolio or a strategy, and what to look for. Out: whether it was seen within the bound, and what was
seen last. A read that fails shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.core.ports import Clock

WAITS_SECONDS: Final = (0.0, 0.2, 0.4, 0.8, 1.6)
"""Before each look. The service names no bound for how soon a read shows a write; after three seconds we say so."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sight(Generic[T]):
    """The last state that could be read, if any could, and whether it is as expected."""

    live: T | None
    expected: bool


async def look_until(read: Callable[[], Awaitable[T]], expected: Callable[[T], bool], clock: Clock) -> Sight[T]:
    """Return the first state that is as expected, or what the last look showed."""
    last: T | None = None
    for seconds in WAITS_SECONDS:
        if seconds:
            await clock.sleep(seconds)
        try:
            live = await read()
        except ApiError as error:
            last = None
            if error.kind in (FailureKind.UNAUTHENTICATED, FailureKind.FORBIDDEN):
                break
            continue
        if expected(live):
            return Sight(live, expected=True)
        last = live
    return Sight(last, expected=False)
