"""A world whose wire, journal and process can fail: every boundary of a write is a place where it may end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.apply.journal import open_journal
from reconciler.apply.run import Pace, apply_plan
from reconciler.apply.settle import settle
from reconciler.apply.stop import Stop
from reconciler.core.marker import MARK
from reconciler.core.report import Call
from reconciler.sandbox.enrolled import EnrolledState
from tests.support import BASE_URL, Silence, World, run, versions_of_intents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from reconciler.apply.journal import SqliteJournal
    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.live import Record
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport, Intent
    from reconciler.sandbox.app import SandboxApp
    from reconciler.sandbox.store import Store

    Spoil = Callable[["Exchange"], Awaitable["Answer"]]

READ, LIST = "read", "list"
CALLS = {
    "status": READ,
    "start": Call.START,
    "pause": Call.PAUSE,
    "resume": Call.RESUME,
    "update-schedule-interval": Call.UPDATE_SCHEDULE,
}
"""What a call of v1 is, by the end of its path."""
CALLS_OF_V2 = {"": READ, "start": Call.RESUME, "stop": Call.PAUSE}
"""What a call about one portfolio of v2 is, by what stands behind its id."""


def call_of(path: str) -> tuple[str, str]:
    """Return which portfolio a path is about, and the call; a list is about none of them."""
    _, version, _, *rest = path.split("/")
    if version == "v1":
        return rest[0], CALLS[rest[-1]]
    if not rest:
        return "", LIST
    return rest[0], CALLS_OF_V2[rest[1] if len(rest) > 1 else ""]


class Died(BaseException):
    """The process is gone: nothing may catch this, and nothing works after it."""


class Life:
    """The process's life: told each boundary that the program crosses, it may end there, or be interrupted."""

    def __init__(self, at: Callable[[str, int], None] | None = None) -> None:
        self._at = at
        self._crossed = 0
        self.dead = False

    def cross(self, boundary: str) -> None:
        """Cross one boundary; raises :class:`Died` at the last one, and at all after it."""
        if not self.dead and self._at is not None:
            self._crossed += 1
            try:
                self._at(boundary, self._crossed)
            except Died:
                self.dead = True
                raise
        if self.dead:
            raise Died


@dataclass(frozen=True)
class Answer:
    """What comes back over the wire."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.body)["data"]

    def saying(self, data: Any) -> Answer:
        """Return the same answer with other data."""
        return replace(self, body=json.dumps({**json.loads(self.body), "data": data}).encode())


@dataclass(frozen=True)
class Exchange:
    """One call on its way through the wire; a spoil decides whether the work is done, and what is answered."""

    wire: Wire
    scope: Any
    receive: Any
    portfolio: str
    call: str

    async def work(self) -> Answer:
        """Let the service do its work; return its right answer."""
        return await self.wire.work(self)


@dataclass(frozen=True)
class Effect:
    """A write that changed something on the server: what was called, and what stood there afterwards."""

    portfolio: str
    call: str
    left: tuple[object, ...]
    was: tuple[object, ...] = field(compare=False)


@dataclass
class _Armed:
    spoil: Spoil
    call: str
    portfolio: str | None
    skip: int
    times: int


class Wire:
    """The way between client and service, an ASGI application itself: it counts calls and effects, and can fail."""

    def __init__(self, app: SandboxApp, store: Store, clock: Any) -> None:
        self.app, self.store, self.clock = app, store, clock
        self.requests = app.requests
        self.life = Life()
        self.stop = Stop()
        self.tried: list[tuple[str, str]] = []
        """Every write that the client tried to send: portfolio and call."""
        self.effects: list[Effect] = []
        self.idle: list[Effect] = []
        """Writes that the service was asked for, and that changed nothing."""
        self.seen: dict[str, Answer] = {}
        """The last true status answer of each portfolio."""
        self.pauses: dict[str, str] = {}
        """Whose pause a v2 portfolio is in, as the reason would say that v2 does not keep; ours ends in our mark."""
        self.stale: dict[str, tuple[int, Answer]] = {}
        """So many reads of a portfolio still show this."""
        self._armed: list[_Armed] = []

    def arm(self, spoil: Spoil, call: str, portfolio: str | None = None, *, skip: int = 0, times: int = 1) -> None:
        """Let the next ``times`` calls of this kind go wrong, after ``skip`` of them."""
        self._armed.append(_Armed(spoil, call, portfolio, skip, times))

    def heal(self) -> None:
        """End every fault."""
        self._armed.clear()
        self.stale.clear()
        self.life = Life()

    def _take(self, call: str, portfolio: str) -> Spoil | None:
        for armed in self._armed:
            if armed.call == call and armed.portfolio in (None, portfolio):
                if armed.skip:
                    armed.skip -= 1
                    continue
                armed.times -= 1
                if not armed.times:
                    self._armed.remove(armed)
                return armed.spoil
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        portfolio, call = call_of(scope["path"])
        if call not in (READ, LIST):
            self.tried.append((portfolio, call))
        self.life.cross(f"before {call}")
        exchange = Exchange(self, scope, receive, portfolio, call)
        spoil = self._take(call, portfolio)
        answer = await (spoil(exchange) if spoil else self.work(exchange))
        self.life.cross(f"after {call}")
        headers = [(b"content-type", b"application/json"), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def work(self, exchange: Exchange) -> Answer:
        """Do the work; note what it changed."""
        portfolio = exchange.portfolio
        if exchange.call == READ and portfolio in self.stale:
            left, answer = self.stale.pop(portfolio)
            if left > 1:
                self.stale[portfolio] = left - 1, answer
            return answer
        got: list[Any] = []

        async def send(message: Any) -> None:
            got.append(message)

        before = self.state(portfolio)
        await self.app(exchange.scope, exchange.receive, send)
        if exchange.call == Call.PAUSE and self.state(portfolio) != before:
            self.pauses[portfolio] = MARK
        answer = Answer(got[0]["status"], got[1]["body"], tuple(got[0]["headers"]))
        if exchange.call == READ:
            self.seen[portfolio] = answer
        elif exchange.call != LIST:
            after = self.state(portfolio)
            (self.effects if after != before else self.idle).append(Effect(portfolio, exchange.call, after, before))
        return answer

    def state(self, portfolio: str) -> tuple[object, ...]:
        """Return what of a portfolio only a write changes."""
        found = self.store.portfolio(portfolio)
        if found is not None:
            return (found.state, found.grid, found.pause_reason, found.schedules)
        enrolled = self.store.fleet.portfolio(portfolio)
        if enrolled is None:
            return ()
        paused = enrolled.state is EnrolledState.PAUSED
        return (enrolled.state, None, self.pauses.get(portfolio) if paused else None, None)


@dataclass(frozen=True)
class Disk:
    """A journal on a disk that can fail, of a process that can die: each method crosses a boundary on both sides."""

    journal: SqliteJournal
    life: Life

    def records(self) -> Mapping[PortfolioId, Record]:
        return self.journal.records()

    def record(self, portfolio: PortfolioId) -> Record | None:
        self.life.cross("before record")
        return self.journal.record(portfolio)

    def written_between(self, portfolio: PortfolioId, *, after_ms: int, until_ms: int) -> bool:
        return self.journal.written_between(portfolio, after_ms=after_ms, until_ms=until_ms)

    def unsettled(self) -> tuple[Intent, ...]:
        return self.journal.unsettled()

    def begin(self, portfolio: PortfolioId, call: str, wanted: str) -> int:
        self.life.cross("before begin")
        number = self.journal.begin(portfolio, call, wanted)
        self.life.cross("after begin")
        return number

    def end(self, write: int, outcome: str, detail: str) -> None:
        self.life.cross("before end")
        self.journal.end(write, outcome, detail)
        self.life.cross("after end")

    def confirm(self, portfolio: PortfolioId, record: Record) -> None:
        self.life.cross("before confirm")
        self.journal.confirm(portfolio, record)
        self.life.cross("after confirm")


@dataclass
class FaultyWorld(World):
    """A world over a :class:`Wire` and a :class:`Disk`."""

    wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wire = Wire(self.app, self.store, self.clock)
        self.app = self.wire  # type: ignore[assignment]  # the same application by its call and its log

    async def _apply(self, plan: Plan, stop: Stop, observer: Any, pace: Pace | None) -> ApplyReport:
        self.wire.stop = stop
        with open_journal(self.journal, base_url=BASE_URL, now_ms=self.clock.now_ms) as opened:
            journal = Disk(opened, self.wire.life)
            async with self.api(plan.changes) as api:
                await settle(api=api.by(versions_of_intents(opened)), journal=journal)
                opened.open_run(fingerprint="test", tool="test")
                report = await apply_plan(
                    plan,
                    api=api,
                    journal=journal,
                    clock=self.clock,
                    observer=observer,
                    pace=pace or Pace(parallelism=self.parallelism),
                    stop=stop,
                )
            opened.close_run(report.exit_reason.word)
            return report

    def settle(self) -> None:
        """Settle what a dead run left open, as every apply does before it plans."""
        run(self._settle())

    async def _settle(self) -> None:
        with open_journal(self.journal, base_url=BASE_URL, now_ms=self.clock.now_ms) as journal:
            async with self.api() as api:
                await settle(api=api.by(versions_of_intents(journal)), journal=journal)

    def recover(self, desired: Iterable[Desired]) -> tuple[Plan, ApplyReport]:
        """End all faults, then do what a clean ``apply`` does: settle, plan, carry out."""
        self.wire.heal()
        self.settle()
        plan = self.plan(list(desired))
        return plan, self.apply(plan, Stop(), Silence())

    def tried(self) -> list[str]:
        """Return the writes that were tried, oldest first."""
        return [call for _, call in self.wire.tried]

    def repeated(self) -> list[Effect]:
        """Return what was done twice: an effect that one portfolio had again, or a call for what stood there already.

        An update for what stood there is not among them: nobody can read a schedule, so it is written again unseen.
        """
        again = [effect for effect, times in Counter(self.wire.effects).items() if times > 1]
        return again + [effect for effect in self.wire.idle if effect.call != Call.UPDATE_SCHEDULE]
