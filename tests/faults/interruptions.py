"""A person who does one thing at one moment of an apply: every moment is a position, and each can be gone back to.

Positions are counted as they are reached: a request that the client has sent and the service not yet got, the middle of
a wait, the middle of a slow commit of the journal. One undisturbed apply shows them all; then the same apply is run
again, from the same rows and the same journal, with the person at one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from reconciler.apply.announce import Announcer, settle_rebalances
from reconciler.apply.journal import open_journal
from reconciler.apply.journalreads import read_runs
from reconciler.apply.run import Stop
from reconciler.apply.trigger import Order, trigger_all
from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.model import Cadence, strategy_of
from reconciler.sandbox import AutomationState, Enrolled, Portfolio, Refused, Strategy
from tests.faults.support import READ, Answer, Disk, Exchange, FaultyWorld, Life, Wire
from tests.support import BASE_URL, HOUR_MS, NOON_MS, FakeClock, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.core.rebalance import RebalanceResult
    from reconciler.core.report import Write
    from reconciler.sandbox import Store

    Row = Portfolio | Enrolled | Strategy

OTHER_READ = "other read"
"""A read that shows nothing of the state: of the list of portfolios or of rebalances."""
HAND_INTERVAL_MS = 5 * HOUR_MS
"""What a person sets by hand; no plan here wants it, and no schedule has it before."""


class Kind(StrEnum):
    """What a position is."""

    REQUEST = "before a request"
    WAIT = "inside a wait"
    DISK = "inside a commit of the journal"
    ASLEEP = "while the process sleeps"


@dataclass(frozen=True, slots=True)
class Position:
    """One moment of an apply, counted from 0. ``row`` is what stood on the service then.

    ``call`` is the call that is about to reach the service, or is under way; ``worked`` says that the service has done
    its work by then, so that only the answer is outstanding. ``call`` is empty between two calls.
    """

    index: int
    kind: Kind
    at_ms: int
    row: Row
    call: str = ""
    worked: bool = False

    @property
    def in_flight(self) -> bool:
        """Whether a write is under way that the service has not done yet."""
        return self.call not in ("", READ, OTHER_READ) and not self.worked

    @property
    def after_a_look(self) -> bool:
        """Whether the service has done a read by now, and its answer is outstanding."""
        return self.call == READ and self.worked


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a portfolio or a strategy on the service, whether or not a read can show it.

    ``pause`` tells one pause from every other. ``runs`` counts what was asked for, on v1 with what was due.
    """

    state: str = ""
    pause: tuple[object, ...] = ()
    due_ms: int | None = None
    schedule: tuple[int, int] | None = None
    cadence: str | None = None
    runs: int = 0


def truth(row: Row) -> Truth:
    """Return what a row says."""
    match row:
        case Portfolio():
            reason = (row.pause_reason, row.paused_ms) if row.state is AutomationState.PAUSED else ()
            grid = None if row.grid is None else (row.grid.interval_ms, row.grid.offset_ms)
            return Truth(state=row.state.value, pause=reason, schedule=grid, runs=row.runs)
        case Enrolled():
            due = (row.next_due_ms,) if row.state is AutomationState.PAUSED else ()
            return Truth(state=row.state.value, pause=due, due_ms=row.next_due_ms, runs=row.operations)
        case Strategy():
            return Truth(cadence=None if row.cadence is None else row.cadence.value)


def shown(row: Row, *, readable: bool) -> Truth:
    """Return as much of it as reads can show; ``readable`` says that they show schedules."""
    known = truth(row)
    if isinstance(row, Portfolio):
        return replace(known, pause=known.pause[:1], schedule=known.schedule if readable else None)
    return known


def load(store: Store, subject: str) -> Row:
    """Return the row of a portfolio, or of a strategy by its address."""
    strategy = strategy_of(subject)
    row = store.strategy(strategy) if strategy is not None else store.portfolio(subject) or store.enrolled(subject)
    assert row is not None, subject
    return row


def save(store: Store, *rows: Row) -> None:
    """Put rows in place of what is there."""
    with store.transaction():
        store.save(*rows)


def by_hand(row: Row, now_ms: int, step: str, *, accepts_update: bool) -> Row:
    """Return what one step of a person makes of a row, the same object where it changes nothing; raises ``Refused``."""
    match row:
        case Portfolio():
            does: dict[str, Callable[[Portfolio, int], Portfolio]] = {
                "pause": partial(Portfolio.pause, reason="by joe"),
                "pause silently": partial(Portfolio.pause, reason=None),
                "resume": Portfolio.resume,
                "update": partial(
                    Portfolio.update, interval_ms=HAND_INTERVAL_MS, offset_ms=0, accept_while_paused=accepts_update
                ),
                "start": partial(
                    Portfolio.start, interval_ms=HAND_INTERVAL_MS, offset_ms=0, automatic=True, immediately=False
                ),
            }
            return does[step](row.settle(now_ms), now_ms)
        case Enrolled():
            works = {"pause": Enrolled.stop, "resume": Enrolled.start}[step]
            return works(row.settle(now_ms, Cadence.DAILY), now_ms)
        case Strategy():
            cadence = Cadence(step)
            return row if row.cadence is cadence else msgspec.structs.replace(row, cadence=cadence, updated_ms=now_ms)


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that the client sent at a position, and what the service made of it: nothing where it did not work."""

    position: int
    call: str
    was: Row | None = None
    left: Row | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What a person did at a position: what stood there right before, and right after."""

    position: Position
    was: Row
    left: Row


class Hand:
    """Counts the positions of one apply, and lets a person do something at one of them."""

    def __init__(self, store: Store, subject: str, clock: HandClock, *, accepts_update: bool) -> None:
        self._store, self._subject, self._clock = store, subject, clock
        self.on_act: Callable[[], None] = lambda: None
        """What is called after a person acted."""
        self._accepts_update = accepts_update
        self.begin()

    def begin(self, at: int | None = None, steps: Sequence[str] = ()) -> None:
        """Count anew; at position ``at`` these steps are done. Without one, all positions are kept."""
        self.positions: list[Position] = []
        self._reached = 0
        self.deed: Deed | None = None
        self._at, self._steps = at, steps
        self._call, self._worked = "", False
        self.look_due = True
        """Whether there was a wait or a write since the last look: no other write may go before the next one."""

    def under_way(self, call: str, *, worked: bool = False) -> None:
        """Note that a call is under way, and whether the service has done it; an empty one ends it."""
        self._call, self._worked = call, worked

    def row(self) -> Row:
        """Return what stands on the service."""
        return load(self._store, self._subject)

    def reach(self, kind: Kind) -> int:
        """Be at the next position, and let the person act if it is theirs; return its number."""
        index = self._reached
        self._reached += 1
        self.look_due = self.look_due or not self._call
        if self._at is None or self._at == index:
            row = self.row()
            position = Position(index, kind, self._clock.now_ms(), row, self._call, self._worked)
            self.positions.append(position)
            if self._at is not None:
                self.deed = Deed(position, row, self.act(row, self._steps))
        return index

    def act(self, row: Row, steps: Sequence[str]) -> Row:
        """Do these steps; no two things are done in one millisecond, for the time of a resume is its trace on v2."""
        for step in steps:
            self._clock.advance(1)
            row = by_hand(row, self._clock.now_ms(), step, accepts_update=self._accepts_update)
            save(self._store, row)
        self.on_act()
        return row

    def would(self, position: Position, steps: Sequence[str]) -> Row | None:
        """Return what these steps would leave there, ``None`` where the service refuses one."""
        row, now_ms = position.row, position.at_ms
        try:
            for step in steps:
                now_ms += 1
                row = by_hand(row, now_ms, step, accepts_update=self._accepts_update)
        except Refused:
            return None
        return row


class HandClock(FakeClock):
    """Time that passes only by waiting; in the middle of every wait there is a position."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        super().__init__(now_ms)
        self.hand: Hand | None = None

    def back_to(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def lapse(self, ms: int, kind: Kind) -> None:
        """Let time pass, with a position in the middle."""
        self._now_ms += ms // 2
        if self.hand is not None and ms:
            self.hand.reach(kind)
        self._now_ms += ms - ms // 2

    async def sleep(self, seconds: float) -> None:
        self.lapse(round(seconds * 1000), Kind.WAIT)
        await super().sleep(0)


def subject_and_call(method: str, path: str) -> tuple[str, str]:
    """Return what a call is about, the id of a portfolio or the address of a strategy, and the call."""
    _, version, kind, *rest = path.split("/")
    if version == "v1":
        words = {
            "automation/status": READ,
            "start": Call.START,
            "pause": Call.PAUSE,
            "resume": Call.RESUME,
            "update-schedule-interval": Call.UPDATE_SCHEDULE,
            "trigger": Call.REBALANCE,
        }
        tail = "/".join(rest[1:]).removeprefix("rebalance/schedule/")
        return rest[0], words.get(tail, OTHER_READ)
    if kind == "strategies":
        return f"{kind}/{rest[0]}", Call.SET_CADENCE if method == "PUT" else READ
    if not rest:
        return "", OTHER_READ
    tail = rest[1] if len(rest) > 1 else ""
    return rest[0], {"": READ, "start": Call.RESUME, "stop": Call.PAUSE, "rebalance": Call.REBALANCE}[tail]


class HandWire(Wire):
    """A wire at which every request is a position; it keeps what each write found and left."""

    def __init__(self, wire: Wire, hand: Hand) -> None:
        super().__init__(wire.app, wire.store, wire.clock)
        self.hand = hand
        self.sent: list[Sent] = []
        self.hasty: list[str] = []
        """Writes that did not follow a look that was sent after the last wait and the last write."""

    def begin(self) -> None:
        """Forget all calls, looks and faults."""
        self.heal()
        for seen in (self.sent, self.hasty, self.tried, self.effects, self.idle, self.old_looks):
            seen.clear()
        self._looked_ms.clear()

    def armed(self) -> bool:
        """Whether a fault is left that no call has met."""
        return bool(self._armed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        subject, call = subject_and_call(scope["method"], scope["path"])
        sent_ms = self.clock.ticks_ms()
        writes = call not in (READ, OTHER_READ)
        if writes:
            self.tried.append((subject, call))
            self._judge_the_look(subject, call)
            if self.hand.look_due:
                self.hasty.append(call)
            self.hand.look_due = True
        self.hand.under_way(call)
        position = self.hand.reach(Kind.REQUEST)
        if writes:
            self.sent.append(Sent(position, call))
        exchange = Exchange(self, scope, receive, subject, call)
        spoil = self._take(call, subject)
        try:
            answer = await (spoil(exchange) if spoil else self.work(exchange))
        finally:
            self.hand.under_way("")
        if call == READ and answer.status == 200:
            self._looked_ms[subject] = sent_ms
            self.hand.look_due = False
        await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
        await send({"type": "http.response.body", "body": answer.body})

    async def work(self, exchange: Exchange) -> Answer:
        """Do the work; note what a write found and left."""
        writes = exchange.call not in (READ, OTHER_READ)
        was = self.hand.row() if writes else None
        answer = await super().work(exchange)
        if writes:
            self.sent[-1] = replace(self.sent[-1], was=was, left=self.hand.row())
        self.hand.under_way(exchange.call, worked=True)
        return answer

    def state(self, portfolio: str) -> tuple[object, ...]:
        return ()  # what writes find and leave is in ``sent``


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json"), *answer.headers]


@dataclass
class HandWorld(FaultyWorld):
    """A world with a person in it. ``subject`` is what the apply is about."""

    subject: str = ""
    clock: HandClock = field(default_factory=HandClock)
    hand: Hand = field(init=False)
    wire: HandWire = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuses = self.settings.get("update_while_paused") == "refuse"
        self.hand = Hand(self.store, self.subject, self.clock, accepts_update=not refuses)
        self.wire = HandWire(self.wire, self.hand)
        self.hand.on_act = self.wire.stale.clear  # whatever reads still show of before ends then
        self.app = self.wire  # type: ignore[assignment]  # the same application by its call and its log
        self._saved: tuple[Row, int, int, bytes | None] = (self.hand.row(), self.clock.now_ms(), 0, None)

    def keep(self) -> None:
        """Remember how everything stands, to come back to it."""
        journal = self.journal.read_bytes() if self.journal.exists() else None
        self._saved = (self.hand.row(), self.clock.now_ms(), self.tokens, journal)

    def back(self) -> None:
        """Bring everything back to how it was kept."""
        row, now_ms, self.tokens, journal = self._saved
        save(self.store, row)
        self.clock.hand = None
        self.clock.back_to(now_ms)
        self.wire.begin()
        self.hand.begin()
        for left in self.journal.parent.glob(f"{self.journal.name}*"):
            left.unlink()
        if journal is not None:
            self.journal.write_bytes(journal)

    def watch(
        self, at: int | None = None, steps: Sequence[str] = (), disk: dict[str, tuple[int, Kind]] | None = None
    ) -> None:
        """Count positions from now on; each boundary of the journal in ``disk`` takes so long, once."""
        self.hand.begin(at, steps)
        self.clock.hand = self.hand
        slow = dict(disk or {})

        def crossed(boundary: str, _count: int) -> None:
            if boundary in slow:
                self.clock.lapse(*slow.pop(boundary))

        self.wire.life = Life(crossed)

    def unwatch(self) -> None:
        """Count no more: what follows is another command, without faults."""
        self.clock.hand = None
        self.wire.heal()

    def rebalance(self, order: Order) -> RebalanceResult:
        """Ask for one rebalance, as the command does."""
        return run(self._rebalance(order))

    async def _rebalance(self, order: Order) -> RebalanceResult:
        with open_journal(self.journal, base_url=BASE_URL, now_ms=self.here.now_ms) as opened:
            journal = Disk(opened, self.wire.life)
            await settle_rebalances(journal)
            opened.open_run(fingerprint="rebalance", tool="test")
            async with self.api() as api:
                glider = api.by({order.portfolio: order.version})
                announcer = Announcer(api=glider, journal=journal, clock=self.here, token=self.token)
                results = await trigger_all([order], announcer=announcer, observer=_Deaf(), parallelism=1, stop=Stop())
        return results[order.portfolio]

    def intents(self) -> list[Write]:
        """Return every write in the journal since things were kept, oldest first."""
        runs = read_runs(self.journal) or ()
        first = {f"{number + 1:06x}" for number in range(self._saved[2])}
        writes = [write for one in reversed(runs) for write in one.writes]
        return [write for write in writes if write.token not in first]


class _Deaf:
    """Hears how rebalances go on, and does nothing about it."""

    def accepted(self, portfolio: str, rebalance: str | None) -> None:
        pass

    def moved(self, portfolio: str, rebalance: object) -> None:
        pass

    def finished(self, result: object) -> None:
        pass


class Verdict(StrEnum):
    """What became of something that a person did."""

    KEPT = "kept"
    ROUND_TRIP = "inside the round trip of the write"
    LATE_LOOK = "between a look and its late answer"
    UNTOLD = "put back what stood before a write whose answer was lost"
    UNSEEN = "a schedule that no read shows"
    NO_TRACE = "changed nothing"
    REFUSED = "refused by Glider"
    LOST = "LOST"


def claim(step: str) -> Callable[[Truth], object]:
    """Return what a person's last step lays down: as long as this stays as they left it, it survives."""
    match step:
        case "pause" | "pause silently":
            return lambda known: (known.state, known.pause)
        case "resume":
            return lambda known: known.state
        case "update" | "start":
            return lambda known: known.schedule
        case _:
            return lambda known: known.cadence


def broken_by(deed: Deed, step: str, sent: Sequence[Sent]) -> Sent | None:
    """Return the first write after a deed that undid it.

    A run of what was paused undoes the pause, and a resume on a schedule that nobody reviewed the schedule.
    """
    of = claim(step)
    left = of(truth(deed.left))
    for write in sent:
        if write.position < deed.position.index or write.was is None or write.left is None:
            continue
        if of(truth(write.was)) == left and of(truth(write.left)) != left:
            return write
        ran = write.call == Call.REBALANCE and truth(write.left).runs > truth(write.was).runs
        resumed = write.call == Call.RESUME and truth(write.left).state != truth(write.was).state
        if (ran and step.startswith("pause")) or (resumed and step == "update"):
            return write
    return None


def judge(deed: Deed, step: str, sent: Sequence[Sent], *, readable: bool, misjudged: bool) -> Verdict:
    """Return what became of a deed whose last step was ``step``.

    ``misjudged`` says that our pause was later taken to be the one in force, although it is the person's.
    """
    broken = broken_by(deed, step, sent)
    if broken is None and not misjudged:
        return Verdict.KEPT
    here = deed.position
    if here.in_flight and (broken is None or _is_next(broken, here, sent)):
        return Verdict.ROUND_TRIP
    if here.after_a_look and (broken is None or _is_next(broken, here, sent)):
        return Verdict.LATE_LOOK
    if broken is None:
        return Verdict.LOST
    if step in ("update", "start") and not readable:
        return Verdict.UNSEEN
    now = shown(deed.left, readable=readable)
    for write in sent:
        lost = write.position < here.index and write.call == broken.call and write.position < broken.position
        if lost and write.was is not None and shown(write.was, readable=readable) == now:
            return Verdict.UNTOLD
    return Verdict.LOST


def _is_next(broken: Sent, here: Position, sent: Sequence[Sent]) -> bool:
    """Whether a write is the first one at or after a position."""
    return broken == next((write for write in sent if write.position >= here.index), None)


def sent_outcomes(writes: Sequence[Write]) -> list[str]:
    """Return the calls of all intents that were sent, oldest first."""
    return [write.call.value for write in writes if write.outcome != WriteOutcome.NOT_SENT.value]
