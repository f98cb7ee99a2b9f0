"""A whole world for a test: a sandbox with memory, a client, a journal and a clock that moves only when told to."""

from __future__ import annotations

import asyncio
import atexit
import tempfile
import threading
import weakref
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from msgspec.structs import replace

from reconciler.api.client import Glider
from reconciler.api.fleet import read_all, read_fleet
from reconciler.api.transport import Transport
from reconciler.apply.announce import settle
from reconciler.apply.journal import open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.journalreads import read_memory
from reconciler.apply.run import Pace, Stop, apply_plan
from reconciler.core.change import Change, ChangeReason, Field, FieldChange, Snapshot
from reconciler.core.decide import DEFAULT_POLICY, Policy
from reconciler.core.evidence import believed
from reconciler.core.freeze import WriteGate
from reconciler.core.halt import Halts
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    Paths,
    PortfolioId,
    Provenance,
    StrategyId,
    Verb,
    Verdict,
    address_of,
)
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint
from reconciler.core.planner import build_plan
from reconciler.sandbox import Faults, Store, create_app, parse_seed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator

    from reconciler.apply.journal import OpenJournal
    from reconciler.core.halt import Halt
    from reconciler.core.model import Live
    from reconciler.core.ports import Memory
    from reconciler.core.report import ApplyReport

NOON_MS = 1_795_348_800_000
"""2026-11-22 12:00 UTC."""
HOUR_MS = 3_600_000
BASE_URL = "sandbox://test"


class FakeClock:
    """Time that passes only by sleeping, and then at once."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self._now_ms = now_ms
        self._meantime: list[Callable[[], None]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def ticks_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms

    def at_next_sleep(self, action: Callable[[], None]) -> None:
        """Do something while the program waits, once: what a person does in the meantime."""
        self._meantime.append(action)

    async def sleep(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)
        if self._meantime:
            self._meantime.pop()()
        await asyncio.sleep(0)


@dataclass
class OffClock:
    """The clock of a machine that is ``off_ms`` ahead of the service's; the same time passes on both."""

    true: FakeClock
    off_ms: int = 0

    def now_ms(self) -> int:
        return self.true.now_ms() + self.off_ms

    def ticks_ms(self) -> int:
        return self.true.ticks_ms()

    async def sleep(self, seconds: float) -> None:
        await self.true.sleep(seconds)


class Silence:
    """An observer that remembers and says nothing."""

    def __init__(self) -> None:
        self.results: list[object] = []

    def started(self, portfolio: PortfolioId, verb: Verb) -> None:
        pass

    def finished(self, result: object) -> None:
        self.results.append(result)


@dataclass
class World:
    """One simulated Glider and everything needed to plan and apply against it.

    ``clock`` is the service's; ``here`` is that of the machine that plans and applies, and may be off.
    """

    journal: Path
    portfolios: dict[str, dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    strategies: dict[str, dict[str, Any]] = field(default_factory=dict)
    paths: Paths = Paths.AUTO
    parallelism: int = 4
    clock: FakeClock = field(default_factory=FakeClock)
    faults: Faults = field(default_factory=Faults)
    tokens: int = 0
    filed: dict[str, Halt] = field(default_factory=dict)
    """The files of halts, which every machine has."""
    here: OffClock = field(init=False)

    def __post_init__(self) -> None:
        self.here = OffClock(self.clock)
        portfolios = {name: {"status": "active", **given} for name, given in self.portfolios.items()}
        seed = {
            "version": 1,
            "settings": self.settings,
            "strategies": self.strategies,
            "portfolios": portfolios,
        }
        self.store = Store.load(None, parse_seed(seed), now_ms=self.clock.now_ms())
        weakref.finalize(self, self.store.close)
        self.app = create_app(self.store, now_ms=self.clock.now_ms, faults=self.faults, sleep=self.clock.sleep)

    @asynccontextmanager
    async def api(self, portfolios: Iterable[Desired | Change] = ()) -> AsyncIterator[Glider]:
        async with Transport(
            base_url=BASE_URL,
            key="test-key-1234",
            parallelism=self.parallelism,
            clock=self.here,
            jitter=lambda: 0.5,
            asgi_app=self.app,
        ) as transport:
            yield Glider(transport, paths=self.paths, versions={one.id: one.api for one in portfolios})

    def read(self, apis: dict[PortfolioId, ApiVersion]) -> dict[PortfolioId, Live]:
        """Return what is live of these portfolios."""

        async def read() -> dict[PortfolioId, Live]:
            async with self.api() as api:
                return await read_all(api.by(apis), apis, parallelism=self.parallelism)

        found: dict[PortfolioId, Live] = run(read())
        return found

    def remembered(self, plans: tuple[str, ...] = ()) -> Memory:
        """Return what the journal knows, and the files of halts besides."""
        memory = self.known(plans)
        holding = {one.id: one for one in self.filed.values() if one.lifted_ms is None}
        halting = Halts(holding=holding | dict(memory.halting.holding), filed=tuple(self.filed.values()))
        return replace(memory, halting=halting)

    def known(self, plans: tuple[str, ...]) -> Memory:
        """Return what the journal knows."""
        return read_memory(self.journal, base_url=BASE_URL, now_ms=self.here.now_ms(), plans=plans)

    def plan(self, desired: Iterable[Desired], policy: Policy = DEFAULT_POLICY, plans: tuple[str, ...] = ()) -> Plan:
        return run(self._plan(desired, policy, self.remembered(plans)))

    async def _plan(self, desired: Iterable[Desired], policy: Policy, memory: Memory) -> Plan:
        wanted = {d.id: d for d in sorted(desired, key=lambda d: d.id)}
        async with self.api(wanted.values()) as api:
            fleet = await read_fleet(api, wanted, whole=True, parallelism=self.parallelism)
            records, _ = believed(memory, fleet.live, now_ms=api.service_ms())
        return build_plan(
            Plan(
                base_url=BASE_URL,
                created_ms=self.here.now_ms(),
                unmanaged=fleet.unmanaged(wanted),
                listing=fleet.listing,
            ),
            wanted,
            fleet.live,
            replace(memory, records=records),
            policy=policy,
        )

    def apply(
        self, plan: Plan, stop: Stop | None = None, observer: Any = None, pace: Pace | None = None
    ) -> ApplyReport:
        return run(self._apply(plan, stop or Stop(), observer or Silence(), pace))

    async def _apply(self, plan: Plan, stop: Stop, observer: Any, pace: Pace | None) -> ApplyReport:
        with open_journal(self.journal, base_url=BASE_URL, now_ms=self.here.now_ms) as journal:
            journal.open_run(fingerprint=fingerprint(plan), tool="test")
            async with self.api(plan.changes) as api:
                await settled(journal, api.by(versions_of_intents(journal)))
                with QueuedJournal(journal) as queued:
                    return await apply_plan(
                        plan,
                        api=api,
                        journal=queued,
                        clock=self.here,
                        observer=observer,
                        pace=pace or Pace(parallelism=self.parallelism),
                        stop=stop,
                        token=self.token,
                        gate=self.gate_of(journal),
                    )

    def gate_of(self, journal: OpenJournal) -> WriteGate:
        """Return the gate of a run that begins now, as a command makes it: it knows the halts that are there."""

        def holding() -> dict[str, Halt]:
            return {one.id: one for one in self.filed.values() if one.lifted_ms is None}

        return WriteGate(known=frozenset({*journal.halting(), *holding()}), in_files=holding)

    def token(self) -> str:
        """Return a new token, the same ones in the same order in every world."""
        self.tokens += 1
        return f"{self.tokens:06x}"

    def converge(self, desired: Iterable[Desired], policy: Policy = DEFAULT_POLICY) -> tuple[Plan, ApplyReport]:
        wanted = list(desired)
        plan = self.plan(wanted, policy)
        return plan, self.apply(plan)

    def writes(self) -> list[str]:
        """Return every write so far as ``id path-tail``, oldest first."""
        return [
            f"{r.portfolio} {r.path.split(f'/{r.portfolio}/', 1)[1]}"
            for r in self.app.requests.kept()
            if r.method == "POST"
        ]

    def calls(self) -> list[str]:
        """Return the last path segment of every write so far, oldest first."""
        return [write.rsplit("/", 1)[-1].split(" ")[-1] for write in self.writes()]


def versions_of_intents(journal: Any) -> dict[PortfolioId, ApiVersion]:
    """Return the API that each write without an outcome went to, as an apply finds it before it settles."""
    return {PortfolioId(one.intent.address): one.intent.api for one in journal.unsettled()}


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """Return a plan's document without the times of its making, and the shares it was made from."""
    load = document.get("load")
    sides = {name: {**side, "from": "", "to": "", "hours": sum(side["hours"])} for name, side in (load or {}).items()}
    return {**document, "created_at": "", "as_of": "", "shares": None, "load": load and sides}


def examples(number: int) -> int:
    """Return how many random examples a law wants: ``number``, or the share of it that `make test` tries."""
    return max(1, number * settings.default.max_examples // 100)


async def settled(journal: OpenJournal, api: Any) -> tuple[str, ...]:
    """Settle what a dead run left open, as a command does that has the journal open."""
    with QueuedJournal(journal) as queued:
        return await settle(api=api, journal=queued)


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder of its own, for tests that need more than one."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@lru_cache
def _loop_of(thread: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns. Each thread keeps one event loop, for a new one costs as much as a request."""
    return _loop_of(threading.get_ident()).run_until_complete(_alone(coroutine))


async def _alone(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine, and cancel whatever it left behind, as ``asyncio.run`` does."""
    try:
        return await coroutine
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def portfolio(name: str) -> PortfolioId:
    return PortfolioId(name)


def cadence_change(
    strategy: str,
    before: Cadence | None,
    after: Cadence,
    *,
    reach: int | None = 1,
    provenance: Provenance | None = None,
    **given: Any,
) -> Change:
    """Return the change of a strategy's cadence, as a plan has it; ``given`` are more fields of the change."""
    known = Provenance.NONE if before is None else Provenance.READ
    return Change(
        **{
            "id": address_of(StrategyId(strategy)),
            "api": ApiVersion.V2,
            "verb": Verb.UPDATE,
            "before": Snapshot(cadence=before),
            "after": Snapshot(cadence=after),
            "fields": (
                FieldChange(
                    field=Field.SCHEDULE,
                    live=before,
                    desired=after,
                    verdict=Verdict.UNVERIFIED if before is None else Verdict.DIFFERENT,
                    provenance=provenance or known,
                ),
            ),
            "reason": ChangeReason.SCHEDULE_UNVERIFIED if before is None else ChangeReason.SCHEDULE_DIFFERS,
            "writes_schedule": True,
            "reach": reach,
            **given,
        }
    )
