"""A Glider that answers as it was told, one answer a call, and remembers what it was asked.

For what the embedded Glider never says: any failure at any call, with words that a test can compare whole.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reconciler.apply.run import Stop
from reconciler.core.intent import Call, Intent
from reconciler.core.model import strategy_of
from reconciler.core.ports import Confirmation
from tests.postgres import execute
from tests.support import FakeClock

if TYPE_CHECKING:
    from reconciler.apply.journaltables import JournalPlace
    from reconciler.core.model import Address, Live, PortfolioId, StrategyId, StrategyLive

Answer = Any
"""A value to be returned or an error to be raised; a function is called for either.

A :class:`Stop` is asked to stop at once, and no answer ever comes.
"""


class Scripted:
    """One service; ``asked`` holds every call with its arguments, oldest first, and ``answers`` what is left.

    ``entering`` holds what happens when a room is entered, in turn: ``None`` or an error. ``clock`` is the service's.
    A write that is not sent in a room, after a look of its own, is a failure of the test.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[object, ...]] = []
        self.entering: list[BaseException | None] = []
        self.entered = 0
        self.clock = FakeClock()
        self.rooms: dict[asyncio.Task[Any] | None, ScriptedRoom] = {}

    async def _answer(self, *asked: object) -> Any:
        self.asked.append(asked)
        assert self.answers, f"{asked} was asked, and no answer is left"
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Stop):
            answer.request("interrupted", urgent=True)
            await asyncio.Event().wait()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def _look(self, *asked: object) -> Any:
        room = self.rooms.get(asyncio.current_task())
        if room is not None:
            room.looked = room.emptied
        return await self._answer(*asked)

    async def _write(self, *asked: object) -> Any:
        room = self.rooms.get(asyncio.current_task())
        assert room is not None, f"{asked} was sent outside of a room"
        assert room.looked, f"{asked} was sent without a look of its own"
        room.looked = room.emptied = False
        return await self._answer(*asked)

    def room(self) -> ScriptedRoom:
        return ScriptedRoom(self)

    def service_ms(self) -> int:
        return self.clock.now_ms()

    async def read(self, portfolio: PortfolioId) -> Live:
        return await self._look("read", portfolio)

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        return await self._look("read-strategy", strategy)

    async def send(self, intent: Intent) -> Confirmation:
        """Write down the call with what it sends; a cadence, or none, is answered as itself."""
        address, schedule = intent.address, (intent.interval_ms, intent.offset_ms)
        match intent.call:
            case Call.START:
                return await self._write("start", address, *schedule, intent.run_on_start)
            case Call.PAUSE | Call.RESUME:
                return await self._write(intent.call.value, address, intent.reason)
            case Call.UPDATE_SCHEDULE:
                return await self._write("update-schedule", address, *schedule)
            case Call.SET_CADENCE:
                return Confirmation(cadence=await self._write("set-cadence", strategy_of(address), intent.cadence))
            case Call.REBALANCE:
                return await self._write("trigger", address, intent.skip_schedule_validation)


class ScriptedRoom:
    """Room that is always there, but where ``entering`` says otherwise."""

    def __init__(self, service: Scripted) -> None:
        self._service = service
        self.emptied = False
        """Whether earlier looks were forgotten since it was entered, and since the last write."""
        self.looked = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task not in self._service.rooms, "a room was entered inside another"
        self._service.entered += 1
        if self._service.entering and (error := self._service.entering.pop(0)) is not None:
            raise error
        self._service.rooms[task] = self
        return self

    async def __aexit__(self, *_: object) -> None:
        self.emptied = self.looked = False
        del self._service.rooms[asyncio.current_task()]

    def look_again(self) -> None:
        assert self._service.rooms[asyncio.current_task()] is self
        self.emptied, self.looked = True, False


def intent(address: Address, call: Call, token: str = "0000a1", **more: Any) -> Intent:
    """Return a write to be announced; ``more`` are further fields of it."""
    return Intent(address=address, call=call, token=token, **more)


def rows(journal: JournalPlace, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds in a journal, as it stands there."""
    if not isinstance(journal, Path):
        return execute(journal, query)
    with closing(sqlite3.connect(journal)) as connection:
        return connection.execute(query).fetchall()


def forbid(journal: JournalPlace, what: str, when: str = "", *, why: str) -> None:
    """Let a journal refuse something, as in ``INSERT ON writes``, for this reason."""
    if isinstance(journal, Path):
        edit(journal, f"CREATE TRIGGER forbidden BEFORE {what} {when} BEGIN SELECT RAISE(ABORT, '{why}'); END")
        return
    edit(
        journal,
        f"CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '{why}'; END$$",
        f"CREATE TRIGGER forbidden BEFORE {what} FOR EACH ROW {when} EXECUTE FUNCTION refuse()",
    )


def edit(journal: JournalPlace, *statements: str) -> None:
    """Change a journal behind the program's back."""
    if not isinstance(journal, Path):
        execute(journal, *statements)
        return
    with closing(sqlite3.connect(journal)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
