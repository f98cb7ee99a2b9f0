"""The Protocols through which the core's values reach the world; ``cli`` chooses what stands behind them.

Whoever implements one of these keeps to its words on errors: an apply decides what to do next by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import PortfolioId
    from reconciler.core.errors import ApiError
    from reconciler.core.live import Live, Record
    from reconciler.core.rebalance import (
        PortfolioFacts,
        Rebalance,
        RebalanceResult,
        RecentRebalances,
        Triggered,
    )
    from reconciler.core.report import Intent
    from reconciler.core.strategy import Cadence, StrategyAddress, StrategyId, StrategyLive
    from reconciler.core.verb import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the answer of a write confirmed; ``None`` for whatever it did not carry.

    ``previous_interval_ms`` and ``previous_offset_ms`` are what an update-schedule replaced: the only way to find
    out late that the schedule had drifted (API facts §5.2).
    """

    interval_ms: int | None = None
    offset_ms: int | None = None
    schedule_id: str | None = None
    next_run_ms: int | None = None
    previous_interval_ms: int | None = None
    previous_offset_ms: int | None = None


class AutomationApi(Protocol):
    """One Glider service. Every method may raise :class:`~reconciler.core.errors.ApiError`, and nothing else.

    Reads are retried inside, within a budget. Writes are sent once and never repeated inside, except where the first
    was proven to do nothing: after the wait of a 429, and once on the other v1 path family after a 404 or 405 (API
    facts §4.1).
    """

    async def read(self, portfolio: PortfolioId) -> Live:
        """Read the automation status. A 404 is a :class:`Live` with ``Status.NOT_FOUND``, not an error."""

    async def start(
        self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None, run_now: bool
    ) -> Confirmation:
        """Start automation. The answer's interval must be compared with the wanted one by the caller (§4.2)."""

    async def pause(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Pause automation; ``reason`` is stored by the service behind a prefix of its own."""

    async def resume(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Resume automation."""

    async def update_schedule(self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None) -> Confirmation:
        """Set interval and offset; without an offset the service falls back to 0 (API facts §1.1, V1.5)."""


class StrategyApi(Protocol):
    """The strategies of one Glider service. Every method may raise ``ApiError``, and nothing else.

    Reads are retried inside, within a budget. A write is sent once; after a rate limit alone it is sent again.
    """

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        """Read a strategy's cadence. A 404 (none, or not ours) is a value with ``NOT_FOUND``, not an error."""

    async def set_cadence(self, strategy: StrategyId, cadence: Cadence) -> Cadence | None:
        """Set the cadence of every enrolled portfolio; return what the answer confirms, ``None`` where it says none."""


class Clock(Protocol):
    """The time, and how to let it pass; tests pass one that does not."""

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Journal(Protocol):
    """What survives between runs, keyed by base URL and by portfolio or strategy. Methods raise ``JournalError``."""

    def records(self) -> Mapping[PortfolioId, Record]:
        """Return the last confirmed state of every portfolio of this base URL."""

    def record(self, portfolio: PortfolioId) -> Record | None:
        """Return the last confirmed state of one portfolio."""

    def cadences(self) -> Mapping[StrategyId, Cadence]:
        """Return the cadence of every strategy whose last write that may have taken effect was confirmed or seen."""

    def written_between(self, portfolio: PortfolioId | StrategyAddress, *, after_ms: int, until_ms: int) -> bool:
        """Whether a write that is known to have taken effect was begun after the one time and not after the other."""

    def unsettled(self) -> tuple[Intent, ...]:
        """Return the writes that have an intent and no outcome, oldest first: a run died over them."""

    def begin(self, portfolio: PortfolioId | StrategyAddress, call: str, wanted: str) -> int:
        """Commit the intent of a write before it is sent; return its number."""

    def end(self, write: int, outcome: str, detail: str) -> None:
        """Commit the outcome of the write with this number."""

    def confirm(self, portfolio: PortfolioId, record: Record) -> None:
        """Commit what the service confirmed."""


class ApplyObserver(Protocol):
    """Is told how an apply goes on; it must not raise."""

    def started(self, portfolio: PortfolioId | StrategyAddress, verb: Verb) -> None:
        """A change is being carried out; that of a strategy is an update."""

    def finished(self, result: object) -> None:
        """A change has its outcome: an :class:`~reconciler.core.report.ActionResult` or a
        :class:`~reconciler.core.report.StrategyResult`."""


class ReadObserver(Protocol):
    """Is told how reading goes on; it must not raise."""

    def read(self, portfolio: PortfolioId, failure: ApiError | None) -> None:
        """A portfolio was read, or could not be."""


class RebalanceApi(Protocol):
    """The rebalances of one version of the service. Every method may raise ``ApiError``, and nothing else.

    Reads are retried inside, within a budget. A trigger trades and is not safe twice: it is sent again only where the
    first was proven to do nothing, after a rate limit or on the other v1 path family, and never for anything else.
    """

    @property
    def noun(self) -> str:
        """What the service calls a rebalance: ``workflow`` or ``operation``."""

    async def trigger(self, portfolio: PortfolioId, *, skip_schedule_validation: bool) -> Triggered:
        """Ask for a rebalance now (API facts §1.1 V1.4, §1.3 V2.5).

        A cooldown is ``RATE_LIMITED`` with its wait: it speaks of this portfolio alone, slows nothing else, and is
        not waited for.
        """

    async def recent(self, portfolio: PortfolioId, *, limit: int) -> RecentRebalances:
        """Read the newest rebalances; an answer without a list where the service has none."""

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        """Read one rebalance by its id."""

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:
        """Read the portfolio itself (API facts §1.1 V1.9, §1.3 V2.2)."""


class RebalanceObserver(Protocol):
    """Is told how rebalances go on; it must not raise."""

    def accepted(self, portfolio: PortfolioId, rebalance: str | None) -> None:
        """A rebalance was accepted, under this id where one was named."""

    def moved(self, portfolio: PortfolioId, rebalance: Rebalance) -> None:
        """A rebalance shows another status than before."""

    def finished(self, result: RebalanceResult) -> None:
        """A portfolio has its outcome."""
