"""A Glider that answers as it was told, one answer a call, and remembers what it was asked.

For what the embedded Glider never says: any failure at any call, with words that a test can compare whole.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from reconciler.core.intent import Intent

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.desired import PortfolioId
    from reconciler.core.intent import Address, Call
    from reconciler.core.live import Live
    from reconciler.core.ports import Confirmation

Answer = Any
"""A :class:`Live` for a read, a :class:`Confirmation` for a write, or what either raises."""


class Scripted:
    """One service; ``asked`` holds every call with its arguments, oldest first, and ``answers`` what is left."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[object, ...]] = []

    def _answer(self, *asked: object) -> Any:
        self.asked.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def read(self, portfolio: PortfolioId) -> Live:
        return self._answer("read", portfolio)

    async def start(
        self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None, run_now: bool
    ) -> Confirmation:
        return self._answer("start", portfolio, interval_ms, offset_ms, run_now)

    async def pause(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        return self._answer("pause", portfolio, reason)

    async def resume(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        return self._answer("resume", portfolio, reason)

    async def update_schedule(self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None) -> Confirmation:
        return self._answer("update-schedule", portfolio, interval_ms, offset_ms)


def intent(address: Address, call: Call, token: str = "0000a1", **more: Any) -> Intent:
    """Return a write to be announced; ``more`` are further fields of it."""
    return Intent(address=address, call=call, token=token, **more)


def rows(journal: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds in a journal's file, as it stands there."""
    with closing(sqlite3.connect(journal)) as connection:
        return connection.execute(query).fetchall()


def edit(journal: Path, *statements: str) -> None:
    """Change a journal's file behind the program's back."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
