"""Several runners of one plan in one process, each with connections of its own, which can be killed at any moment."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.apply.announce import settle
from reconciler.apply.journal import open_journal
from reconciler.apply.journalclaims import JoinedClaims, Terms, joined_claims
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.run import Pace, Stop, apply_plan
from reconciler.core.errors import JournalBusy, JournalError
from reconciler.core.model import ApiVersion, Cadence, Desired, PortfolioId, RunState, StrategyId
from tests.faults.support import FaultyWorld, Life
from tests.idle import IdleClock, WatchedJournal
from tests.postgres import execute
from tests.support import BASE_URL, HOUR_MS, Silence, versions_of_intents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.api.client import Glider
    from reconciler.apply.journal import OpenJournal
    from reconciler.core.endpoint import JournalUrl
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport

H = HOUR_MS
OURS = "Paused via API: Freeze [glider-reconciler 7f3a9c]"
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pause": ({"status": "active", "interval": "24h"}, {"state": "paused"}),
    "longer": ({"status": "active", "interval": "12h"}, {"interval_ms": 24 * H}),
    "shorter": ({"status": "active", "interval": "24h"}, {"interval_ms": 12 * H}),
    "resume": ({"status": "paused", "interval": "24h", "pause_reason": OURS}, {}),
    "resume anew": ({"status": "paused", "interval": "24h", "pause_reason": OURS}, {"interval_ms": 48 * H}),
    "start": ({"status": "inactive"}, {"interval_ms": 24 * H}),
    "stop": ({"api": "v2", "strategy": "S1", "status": "active"}, {"state": "paused"}),
}
"""What may be live, and what is declared of it, so that a plan changes it."""

CLAIMS, THE_JOURNAL, BOTH = "ORDER BY backend_start LIMIT 1", "ORDER BY backend_start DESC LIMIT 1", ""
"""Which connections of a runner are cut, in the order in which it opens them."""
_here: ContextVar[Runner | None] = ContextVar("here", default=None)


class Deaths(Life):
    """Kills runners: ``at`` holds names of boundaries of calls, or the numbers of such, counted over all runners.

    ``while_at_work`` holds the numbers of what a thread of theirs was given to do, as it is at work.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at: set[int | str] = set()
        self.while_at_work: set[int] = set()
        self.crossed = self.worked = 0

    def cross(self, boundary: str) -> None:
        runner = _here.get()
        if runner is None:
            return
        self.crossed += 1
        if self.at & {self.crossed, boundary}:
            self.at.discard(boundary)
            runner.kill()
        if runner.killed:
            raise asyncio.CancelledError

    def work(self) -> None:
        """A thread of whoever is here has just been given something to do."""
        runner = _here.get()
        self.worked += 1
        if runner is not None and self.worked in self.while_at_work:
            runner.kill()


@dataclass
class Fleet(FaultyWorld):
    """A world whose journal any number of runners share; ``latency`` is how many seconds each way of a call takes."""

    clock: IdleClock = field(default_factory=IdleClock)  # type: ignore[assignment]  # nobody moves it by hand
    deaths: Deaths = field(default_factory=Deaths)
    latency: Callable[[], float] = lambda: 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wire.life = self.deaths
        self.clock.on_work = self.deaths.work
        serve = self.wire.app

        async def far_away(*given: Any) -> None:
            away = _here.get() is not None
            if away:
                await self.clock.sleep(self.latency())
            await serve(*given)
            if away:
                await self.clock.sleep(self.latency())

        self.wire.app = far_away  # type: ignore[assignment]


def fleet_of(place: JournalUrl, kinds: Iterable[str], cadence: Cadence | None = None) -> tuple[Fleet, Plan]:
    """Return a fleet with a portfolio of each of these kinds, and the plan that changes them all."""
    declared = [(PortfolioId(f"p{number:02}"), *KINDS[kind]) for number, kind in enumerate(kinds)]
    fleet = Fleet(
        journal=place,  # type: ignore[arg-type]  # a world takes any place of a journal
        portfolios={one: live for one, live, _ in declared},
        strategies={"S1": {"frequency": "daily"}},
        cadences={} if cadence is None else {StrategyId("S1"): cadence},
    )
    desired = [
        Desired(
            id=one,
            api=ApiVersion(live.get("api", "v1")),
            state=RunState(given.get("state", "active")),
            interval_ms=given.get("interval_ms"),
            offset_ms=None,
        )
        for one, live, given in declared
    ]
    plan = fleet.plan(desired)
    assert len(plan.changes) == len(desired) + len(fleet.cadences)
    return fleet, plan


@dataclass(eq=False)
class Runner:
    """One runner of a plan, in a task of its own.

    ``place`` is where it finds the journal, if it goes another way than the others. ``report`` is what it reports,
    ``error`` what ended it before it could. ``closed`` says that it ended the run.
    """

    fleet: Fleet
    plan: Plan
    name: str
    pace: Pace = field(default_factory=lambda: Pace(parallelism=3))
    patient: bool = True
    place: JournalUrl | None = None
    stop: Stop = field(default_factory=Stop)
    report: ApplyReport | None = None
    error: BaseException | None = None
    killed: bool = False
    was_cut: bool = False
    closed: bool = False
    carried_out: int = 0
    run: int | None = None
    task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin; returns what ends with it."""
        if self.task is None:
            self.task = asyncio.create_task(self._run(), name=self.name)
        return self.task

    async def _run(self) -> None:
        _here.set(self)
        try:
            self.report = await self._joined()
        except (JournalError, asyncio.CancelledError) as error:
            self.error = error

    async def _joined(self) -> ApplyReport:
        clock, url = self.fleet.clock, self.place or self.fleet.journal
        terms = Terms(canary=self.pace.canary, max_failures=self.pace.max_failures)
        async with self.fleet.api(self.plan.changes) as api:
            with (
                joined_claims(url, plan=self.plan, terms=terms, name=self.name, clock=clock) as claims,
                open_journal(url, base_url=BASE_URL, now_ms=clock.now_ms, process=self.name, shared=True) as journal,
            ):
                await self._at_the_door(claims)
                await claims.enter(journal, "test", settle=partial(self._settle, journal, api))
                self.run = claims.run
                with QueuedJournal(journal) as queued:
                    report = await apply_plan(
                        self.plan,
                        api=api,
                        journal=WatchedJournal(queued),
                        clock=clock,
                        observer=Silence(),
                        pace=self.pace,
                        stop=self.stop,
                        token=self.fleet.token,
                        claims=claims,
                    )
                self.carried_out = claims.carried_out
                with suppress(JournalError):  # as the command, which has a report to show all the same
                    if await claims.leave():
                        journal.close_run(report.exit_reason.word)
                        self.closed = True
            return report

    async def _settle(self, journal: OpenJournal, api: Glider) -> None:
        with QueuedJournal(journal) as queued:
            await settle(api=api.by(versions_of_intents(journal)), journal=WatchedJournal(queued))

    async def _at_the_door(self, claims: JoinedClaims) -> None:
        while True:
            try:
                return await claims.at_the_door()
            except JournalBusy:
                if not self.patient:
                    raise
                await self.fleet.clock.sleep(0.1)

    def cut(self, which: str = BOTH) -> None:
        """Break its connections; the process goes on as well as it can."""
        self.was_cut = True
        mine = f"SELECT pid FROM pg_stat_activity WHERE application_name = 'reconciler {self.name}' {which}"
        execute(self.fleet.journal, f"SELECT pg_terminate_backend(pid, 5000) FROM ({mine}) AS mine")

    def kill(self) -> None:
        """End it as SIGKILL does: its connections break, and nothing of it goes on."""
        if not self.killed and self.task is not None and not self.task.done():
            self.killed = True
            self.cut()
            self.task.cancel()


async def together(*runners: Runner) -> None:
    """Let these runners work, and return when all have ended."""
    async with asyncio.timeout(600):
        await asyncio.gather(*(one.start() for one in runners))


async def until(holds: Callable[[], object]) -> None:
    """Return as soon as something holds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in the service, or in a database
            await asyncio.sleep(0.001)
