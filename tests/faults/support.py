"""A world whose wire, journal and process can fail: every boundary of a write is a place where it may end."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.api.fleet import read_cadences
from reconciler.apply.announce import settle
from reconciler.apply.journal import open_journal
from reconciler.apply.journalreads import read_runs
from reconciler.apply.run import Pace, Stop, apply_plan
from reconciler.core.errors import JournalError
from reconciler.core.evidence import MARK
from reconciler.core.freeze import Freeze, with_freezes
from reconciler.core.intent import Call
from reconciler.core.model import Cadence, StrategyDesired, StrategyId, strategy_of
from reconciler.core.planfile import fingerprint
from reconciler.core.planner import Strategies, with_strategies
from reconciler.sandbox import AutomationState
from tests.support import BASE_URL, Silence, World, run, versions_of_intents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Mapping
    from contextlib import AbstractContextManager

    from reconciler.apply.journal import OpenJournal
    from reconciler.core.decide import Policy
    from reconciler.core.freeze import WriteGate
    from reconciler.core.intent import Intent, OpenIntent, WriteOutcome
    from reconciler.core.model import Address, Desired, PortfolioId, Record
    from reconciler.core.plan import Plan
    from reconciler.core.ports import Memory
    from reconciler.core.report import ApplyReport, Run
    from reconciler.sandbox import SandboxApp, Store
    from tests.support import OffClock

    Spoil = Callable[["Exchange"], Awaitable["Answer"]]

READ, LIST, FACTS = "read", "list", "facts"
READS = frozenset({READ, LIST, FACTS})
"""A status, or what stands for it on v2; the list of v2; a portfolio of v1 without its status."""
OLDEST_LOOK_MS = 2_000
"""No write may be sent on a look that was sent longer ago."""
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


def call_of(method: str, path: str) -> tuple[str, str]:
    """Return the portfolio's id or the strategy's address that a call is about, and the call; a list is about none."""
    _, version, kind, *rest = path.split("/")
    if version == "v1":
        return rest[0], CALLS[rest[-1]] if len(rest) > 1 else FACTS
    if kind == "strategies":
        return f"{kind}/{rest[0]}", Call.SET_CADENCE if method == "PUT" else READ
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

    here: OffClock
    """The clock of the machine that plans and applies; ``clock`` is the service's."""

    def __init__(self, app: SandboxApp, store: Store, clock: Any) -> None:
        self.app, self.store, self.clock = app, store, clock
        self.requests = app.requests
        self.life = Life()
        self.stop = Stop()
        self.tried: list[tuple[str, str]] = []
        """Every write that the client tried to send: portfolio and call."""
        self.tried_ms: list[int] = []
        """When that was, by the service's clock."""
        self.effects: list[Effect] = []
        self.idle: list[Effect] = []
        """Writes that the service was asked for, and that changed nothing."""
        self.seen: dict[str, Answer] = {}
        """The last true status answer of each portfolio."""
        self.pauses: dict[str, str] = {}
        """Whose pause a v2 portfolio is in, as the reason would say that v2 does not keep; ours ends in our mark."""
        self.halt = ""
        """The halt whose pauses are being made."""
        self.stale: dict[str, tuple[int, Answer]] = {}
        """So many reads of a portfolio still show this."""
        self.dated = True
        """Whether the service names its time in every answer (``Date``)."""
        self.old_looks: list[tuple[str, str, int | None]] = []
        """Every write on a look older than :data:`OLDEST_LOOK_MS`: portfolio, call, the look's age by then."""
        self._looked_ms: dict[str, int] = {}
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
        portfolio, call = call_of(scope["method"], scope["path"])
        sent_ms = self.clock.ticks_ms()
        if call not in READS:
            self.tried.append((portfolio, call))
            self.tried_ms.append(self.clock.now_ms())
            self._judge_the_look(portfolio, call)
        self.life.cross(f"before {call}")
        exchange = Exchange(self, scope, receive, portfolio, call)
        spoil = self._take(call, portfolio)
        answer = await (spoil(exchange) if spoil else self.work(exchange))
        if call == READ and answer.status in (200, 404):  # a 404 may be a look, too: of a portfolio without automation
            self._looked_ms[portfolio] = sent_ms
        self.life.cross(f"after {call}")
        headers = [
            (b"content-type", b"application/json"),
            *(one for one in answer.headers if one[0].lower() != b"date"),
        ]
        if self.dated:
            headers.append((b"date", formatdate(self.clock.now_ms() / 1000, usegmt=True).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _judge_the_look(self, portfolio: str, call: str) -> None:
        looked_ms = self._looked_ms.get(portfolio)
        age_ms = None if looked_ms is None else self.clock.ticks_ms() - looked_ms
        if age_ms is None or age_ms > OLDEST_LOOK_MS:
            self.old_looks.append((portfolio, call, age_ms))

    async def work(self, exchange: Exchange) -> Answer:
        """Do the work; note what it changed."""
        portfolio = exchange.portfolio
        if exchange.call == READ and portfolio in self.stale:
            left, answer = self.stale.pop(portfolio)
            if left > 1:
                self.stale[portfolio] = left - 1, answer
            return answer
        if exchange.call in READS:
            answer = await self._answer(exchange)
            if exchange.call == READ:
                self.seen[portfolio] = answer
            return answer
        before = self.state(portfolio)
        answer = await self._answer(exchange)
        if exchange.call == Call.PAUSE and self.state(portfolio) != before:
            self.pauses[portfolio] = f"{self.halt} {MARK}"
        after = self.state(portfolio)
        (self.effects if after != before else self.idle).append(Effect(portfolio, exchange.call, after, before))
        return answer

    async def _answer(self, exchange: Exchange) -> Answer:
        """Return what the service answers."""
        got: list[Any] = []

        async def send(message: Any) -> None:
            got.append(message)

        await self.app(exchange.scope, exchange.receive, send)
        return Answer(got[0]["status"], got[1]["body"], tuple(got[0]["headers"]))

    def state(self, portfolio: str) -> tuple[object, ...]:
        """Return what of a portfolio, or a strategy by its address, only a write changes."""
        if (strategy := strategy_of(portfolio)) is not None:
            known = self.store.strategy(strategy)
            return () if known is None else (known.cadence,)
        found = self.store.portfolio(portfolio)
        if found is not None:
            return (found.state, found.grid, found.pause_reason, found.schedules)
        enrolled = self.store.enrolled(portfolio)
        if enrolled is None:
            return ()
        paused = enrolled.state is AutomationState.PAUSED
        return (enrolled.state, None, self.pauses.get(portfolio) if paused else None, None)


@dataclass
class Disk:
    """A journal on a disk that can fail, of a process that can die: each method crosses a boundary on both sides.

    With ``late`` what is only said is written no sooner than somebody waits for the journal, and is lost with the
    process until then: the slowest disk that there is. Without, it is written at once.
    """

    journal: OpenJournal
    life: Life
    late: bool = False
    _said: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    _error: JournalError | None = None

    async def memory(self, *of: Address, plans: Collection[str] = ()) -> Memory:
        self.life.cross("before memory")
        self.write()
        return self.journal.memory(*of, plans=plans)

    async def knows(self, token: str) -> bool:
        self.write()
        return self.journal.knows(token)

    async def maybe_sent(self, address: Address, call: Call, *, plans: Collection[str]) -> bool:
        self.write()
        return self.journal.maybe_sent(address, call, plans=plans)

    async def unsettled(self) -> tuple[OpenIntent, ...]:
        self.write()
        return self.journal.unsettled()

    def expecting(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def begin(self, intent: Intent, gate: WriteGate) -> int:
        self.write()
        self.life.cross("before begin")
        while not (number := self.journal.announce(intent, gate, at_ms=self.journal.now_ms())()):
            self.journal.halting()  # as the journal of a command does: one was recorded that it has not read yet
        self.life.cross("after begin")
        return number

    def end(self, number: int, outcome: WriteOutcome, detail: str) -> Written:
        return self._say("end", partial(self.journal.end, number, outcome, detail, at_ms=self.journal.now_ms()))

    def confirm(self, records: Mapping[PortfolioId, Record]) -> Written:
        return self._say("confirm", partial(self.journal.confirm, records))

    def _say(self, what: str, write: Callable[[], None]) -> Written:
        self._said.append((what, write))
        if not self.late:
            with suppress(JournalError):  # whoever waits is told
                self.write()
        return Written(self)

    def write(self) -> None:
        """Write what was said; once that failed, everything fails."""
        while self._said and self._error is None:
            what, write = self._said.pop(0)
            try:
                self.life.cross(f"before {what}")
                write()
                self.life.cross(f"after {what}")
            except JournalError as error:
                self._error = error
        if self._error is not None:
            raise self._error


@dataclass(frozen=True)
class Written:
    """To be awaited by whoever needs what was said to be on the disk."""

    disk: Disk

    def __await__(self) -> Generator[None, None, None]:
        self.disk.write()
        return
        yield


@dataclass
class FaultyWorld(World):
    """A world over a :class:`Wire` and a :class:`Disk`; ``cadences`` is what the files declare of strategies."""

    wire: Wire = field(init=False)
    cadences: dict[StrategyId, Cadence] = field(default_factory=dict)
    freezes: tuple[Freeze, ...] = ()
    """What the files declare of them."""
    _read: tuple[bytes, tuple[Run, ...]] | None = field(init=False, default=None)
    late_disk: bool = False
    """Whether a process that dies, or loses its power, loses what nobody waited for: see :class:`Disk`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wire = Wire(self.app, self.store, self.clock)
        self.wire.here = self.here
        self.app = self.wire  # type: ignore[assignment]  # the same application by its call and its log

    async def _plan(self, desired: Iterable[Desired], policy: Policy, memory: Memory) -> Plan:
        wanted = list(desired)
        plan = await super()._plan(wanted, policy, memory)
        async with self.api() as api:
            live = await read_cadences(api, self.cadences, parallelism=self.parallelism)
        strategies = Strategies(
            desired={name: StrategyDesired(id=name, schedule=cadence) for name, cadence in self.cadences.items()},
            live=live,
        )
        plan = with_strategies(plan, strategies, memory, unverified=policy.unverified, guards=None, managed=len(wanted))
        now_ms = self.clock.now_ms() if self.wire.dated else self.here.now_ms()
        return with_freezes(plan, self.freezes, {one.id: one for one in wanted}, {}, now_ms=now_ms)

    def apply(
        self,
        plan: Plan,
        stop: Stop | None = None,
        observer: Any = None,
        pace: Pace | None = None,
        approved: str | None = None,
    ) -> ApplyReport:
        """Apply a plan; ``approved`` is the fingerprint of the one that a person approved, if that is another."""
        return run(self._apply(plan, stop or Stop(), observer or Silence(), pace, approved))

    async def _apply(
        self, plan: Plan, stop: Stop, observer: Any, pace: Pace | None, approved: str | None = None
    ) -> ApplyReport:
        self.wire.stop = stop
        with self.opened() as opened:
            journal = Disk(opened, self.wire.life, self.late_disk)
            async with self.api(plan.changes) as api:
                await settle(api=api.by(versions_of_intents(opened)), journal=journal)
                opened.open_run(fingerprint=fingerprint(plan), tool="test", approved=approved)
                report = await apply_plan(
                    plan,
                    api=api,
                    journal=journal,
                    clock=self.here,
                    observer=observer,
                    pace=pace or Pace(parallelism=self.parallelism),
                    stop=stop,
                    token=self.token,
                    approved=approved,
                    gate=self.gate_of(opened),
                )
            opened.close_run(report.exit_reason.word)
            return report

    def opened(self) -> AbstractContextManager[OpenJournal]:
        """Open the journal in use for writing, as a command does."""
        return open_journal(self.journal, base_url=BASE_URL, now_ms=self.here.now_ms)

    def runs(self) -> tuple[Run, ...]:
        """Return the runs of the journal in use, newest first; it is read again only if the file has changed."""
        found = self.journal.read_bytes() if self.journal.exists() else b""
        if self._read is None or self._read[0] != found:
            self._read = found, read_runs(self.journal) or ()
        return self._read[1]

    def settle(self) -> None:
        """Settle what a dead run left open, as every apply does before it plans; without anything, change nothing."""
        ended = all(one.exit_reason and all(write.outcome for write in one.writes) for one in self.runs())
        if not ended or not self.journal.exists():
            run(self._settle())

    async def _settle(self) -> None:
        with self.opened() as journal:
            async with self.api() as api:
                await settle(api=api.by(versions_of_intents(journal)), journal=Disk(journal, Life()))

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
