"""The write of one strategy's change, and the read that believes it.

In: one change and the ports. Out: its :class:`~reconciler.core.report.StrategyResult`. How a write is made is
:mod:`reconciler.apply.announce`'s. API facts §1.3 (V2.7, V2.8), §4.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.apply.announce import Declined, Writing, result_of
from reconciler.apply.check import Standing, strategy_standing, what_moved_of_strategy, why_since_differs
from reconciler.apply.reread import look_until
from reconciler.core.desired import ApiVersion
from reconciler.core.intent import Before, Call, Intent, effect_on_strategy
from reconciler.core.report import Outcome
from reconciler.core.strategy import StrategyStatus

if TYPE_CHECKING:
    from reconciler.apply.announce import Announcer, Progress
    from reconciler.core.ports import StrategyApi
    from reconciler.core.report import AnyResult
    from reconciler.core.strategy import StrategyChange, StrategyLive


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySteps:
    """Carries out one change; the fields mean what they do in :class:`~reconciler.apply.steps.Steps`."""

    change: StrategyChange
    api: StrategyApi
    announcer: Announcer
    progress: Progress
    plans: frozenset[str]

    async def run(self) -> AnyResult:
        """Bring the strategy to its cadence. Raises as :meth:`~reconciler.apply.steps.Steps.run` does."""
        sent = await self.announcer.announced(
            Writing(read=self._read, check=self._may_begin, intent=self._intent, effect=effect_on_strategy),
            self.progress,
        )
        if not sent.took_effect:
            detail = f"{Call.SET_CADENCE} may or may not have taken effect: {sent.error}"
            return result_of(self.change, self.progress, Outcome.UNKNOWN, detail, sent.error)
        sight = await look_until(self._read, self._shown, self.announcer.clock)
        if not sight.expected:
            detail = "Glider accepted the cadence, but the strategy does not show it yet; plan again"
            return result_of(self.change, self.progress, Outcome.UNKNOWN, detail)
        return result_of(self.change, self.progress, Outcome.DONE, "")

    async def _read(self) -> StrategyLive:
        return await self.api.read_strategy(self.change.id)

    def _may_begin(self, live: StrategyLive) -> None:
        change, journal = self.change, self.announcer.journal
        stands = strategy_standing(change, live, journal.cadence(change.id))
        if stands is Standing.AFTER:
            raise Declined(Outcome.ALREADY_DONE, "Glider already is as desired")
        since = journal.since(change.address, plans=self.plans)
        if since != change.since:
            raise Declined(Outcome.STALE, why_since_differs(change.since, since, journal))
        if stands is Standing.ELSEWHERE:
            raise Declined(Outcome.STALE, what_moved_of_strategy(change, live))

    def _intent(self, live: StrategyLive, token: str) -> Intent:
        return Intent(
            address=self.change.address,
            call=Call.SET_CADENCE,
            token=token,
            api=ApiVersion.V2,
            cadence=self.change.after,
            before=Before(cadence=live.cadence),
        )

    def _shown(self, live: StrategyLive) -> bool:
        """Whether a read shows the cadence; after a good answer, a service that shows none is enough."""
        hidden = live.status is StrategyStatus.UNKNOWN and not live.word
        return hidden or live.cadence is self.change.after
