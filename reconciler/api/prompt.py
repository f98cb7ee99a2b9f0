"""Awaiting without letting other tasks in between.

In: a coroutine. Out: its result. Libraries give way to other tasks as a courtesy before they write to a socket; between
the last check of a request and its bytes the others could do seconds of work then. Knows no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

T = TypeVar("T")

_MOST_IN_A_ROW: Final = 100  # a coroutine that waits for another task by giving way to it must get there


class Prompt(Generic[T]):
    """Runs ``work`` when awaited; while ``hurry`` is set, a mere courtesy to other tasks is passed over.

    Waiting for something (a future) is not: that goes to the event loop as ever.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self.hurry = False

    def __await__(self) -> Generator[Any, Any, T]:
        """Return the result of the work."""
        error: BaseException | None = None
        passed = 0
        while True:
            try:
                waits_for = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            error = None
            if waits_for is None and self.hurry and passed < _MOST_IN_A_ROW:
                passed += 1
                continue
            try:
                yield waits_for
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as thrown:  # handed on as it is
                error = thrown
