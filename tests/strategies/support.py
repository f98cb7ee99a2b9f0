"""A world with strategies: planned and applied as the commands do it, over the embedded Glider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.api.fleet import read_cadences, read_fleet
from reconciler.apply.journal import open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.journalreads import read_memory, read_runs
from reconciler.apply.run import Pace, apply_plan
from reconciler.core.intent import Call
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    PortfolioId,
    RunState,
    StrategyDesired,
    StrategyId,
    Unverified,
    address_of,
)
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint
from reconciler.core.planner import Strategies, build_plan, with_strategies
from tests.apply.scripted import intent
from tests.support import BASE_URL, Silence, World, run, settled, versions_of_intents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.apply.run import Stop
    from reconciler.core.guards import Guards
    from reconciler.core.ports import StrategyApi
    from reconciler.core.report import ApplyReport

A, B, C = StrategyId("01JWA"), StrategyId("01JWB"), StrategyId("01JWC")


def wants_v2(portfolio: str, state: str = "active") -> Desired:
    return Desired(id=PortfolioId(portfolio), state=RunState(state), api=ApiVersion.V2)


class StrategyWorld(World):
    """Plans and applies cadences, alone or with portfolios; ``stand_in`` takes the place of the
    service's strategies in an apply."""

    stand_in: StrategyApi | None = None
    settled: tuple[str, ...] = ()

    def plan_strategies(
        self,
        declared: Mapping[StrategyId, str],
        portfolios: Iterable[Desired] = (),
        *,
        unverified: Unverified = Unverified.WRITE,
        guards: Guards | None = None,
    ) -> Plan:
        return run(self._plan_strategies(declared, list(portfolios), unverified, guards))

    async def _plan_strategies(
        self,
        declared: Mapping[StrategyId, str],
        portfolios: list[Desired],
        unverified: Unverified,
        guards: Guards | None,
    ) -> Plan:
        wanted = {d.id: d for d in sorted(portfolios, key=lambda d: d.id)}
        memory = read_memory(self.journal, base_url=BASE_URL, now_ms=self.clock.now_ms())
        async with self.api(portfolios) as api:
            fleet = await read_fleet(api, wanted, whole=True, parallelism=self.parallelism)
            live = await read_cadences(api, declared, parallelism=self.parallelism)
            listed = await api.list_portfolios()
        plan = build_plan(Plan(base_url=BASE_URL, created_ms=self.clock.now_ms()), wanted, fleet.live, memory)
        counts = {strategy: listed.enrolled(strategy) for strategy in declared}
        strategies = Strategies(
            desired={i: StrategyDesired(id=i, schedule=Cadence(word)) for i, word in declared.items()},
            live=live,
            reach={strategy: count for strategy, count in counts.items() if count is not None},
        )
        return with_strategies(plan, strategies, memory, unverified=unverified, guards=guards, managed=len(wanted))

    async def _apply(self, plan: Plan, stop: Stop, observer: Any, pace: Pace | None) -> ApplyReport:
        with open_journal(self.journal, base_url=BASE_URL, now_ms=self.clock.now_ms) as journal:
            journal.open_run(fingerprint=fingerprint(plan), tool="test")
            async with self.api(plan.changes) as api:
                if self.stand_in is not None:
                    vars(api).update(read_strategy=self.stand_in.read_strategy, send=self.stand_in.send)
                self.settled = await settled(journal, api.by(versions_of_intents(journal)))
                with QueuedJournal(journal) as queued:
                    return await apply_plan(
                        plan,
                        api=api,
                        journal=queued,
                        clock=self.clock,
                        observer=observer or Silence(),
                        pace=pace or Pace(parallelism=self.parallelism),
                        stop=stop,
                        token=self.token,
                    )

    def converge_strategies(
        self, declared: Mapping[StrategyId, str], portfolios: Iterable[Desired] = (), **given: Any
    ) -> tuple[Plan, ApplyReport]:
        plan = self.plan_strategies(declared, portfolios, **given)
        return plan, self.apply(plan)

    def set_by_hand(self, strategy: StrategyId, cadence: str) -> None:
        """Do what a person would in the console."""

        async def put() -> None:
            async with self.api() as api:
                await api.send(intent(address_of(strategy), Call.SET_CADENCE, cadence=Cadence(cadence)))

        run(put())

    def cadence(self, strategy: StrategyId) -> Cadence | None:
        """Return what the service holds."""

        async def get() -> Cadence | None:
            async with self.api() as api:
                return (await api.read_strategy(strategy)).cadence

        found: Cadence | None = run(get())
        return found

    def sent(self) -> list[str]:
        """Return every write so far as ``PUT strategies/ID/schedule`` or ``POST portfolios/ID/start``, oldest first."""
        kept = self.app.requests.kept()
        return [f"{r.method} {r.path.removeprefix('/v2/')}" for r in kept if r.method in ("PUT", "POST")]

    def written(self) -> list[tuple[str, str | None]]:
        """Return every write of the journal as call and outcome, oldest first."""
        runs = read_runs(self.journal) or ()
        return [(write.call.value, write.outcome) for one in reversed(runs) for write in one.writes]


def put(strategy: StrategyId) -> str:
    return f"PUT strategies/{strategy}/schedule"
