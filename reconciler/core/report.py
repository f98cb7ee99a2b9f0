"""How an apply ended: one outcome a change, and what the whole run exits with.

In: nothing but values of an apply. Out: :class:`ApplyReport`. Every planned change appears in it exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.core.errors import ExitReason, FailureKind, exit_reason_of
from reconciler.core.text import plural

if TYPE_CHECKING:
    from reconciler.core.errors import ApiError
    from reconciler.core.intent import Address, Call
    from reconciler.core.plan import Change, Plan
    from reconciler.core.strategy import Cadence, StrategyChange


class Outcome(StrEnum):
    """What became of one change, in the order of display."""

    DONE = "done"
    ALREADY_DONE = "already_done"
    STALE = "stale"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_ATTEMPTED = "not_attempted"

    @property
    def text(self) -> str:
        """Return the outcome in words for people."""
        return self.value.replace("_", " ")


ACHIEVED = frozenset({Outcome.DONE, Outcome.ALREADY_DONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write as the journal has it; times are UTC epoch milliseconds.

    ``interval_ms`` and ``offset_ms`` are the schedule wanted by its change, ``None`` where none was. ``outcome`` is
    ``None`` for an intent that nobody has settled yet, else a word of
    :class:`~reconciler.core.intent.WriteOutcome`; ``detail`` is its sentence. ``cadence`` is what a strategy was to
    get; its address then stands for a portfolio's id. ``token`` tells the write from every other.
    """

    number: int
    portfolio: Address
    call: Call
    interval_ms: int | None
    offset_ms: int | None
    intent_ms: int
    outcome: str | None
    detail: str
    outcome_ms: int | None
    cadence: Cadence | None = None
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One apply as the journal has it, with its writes in order; times are UTC epoch milliseconds.

    ``fingerprint`` is that of its plan, or the word ``rebalance`` where rebalances were asked for; ``approved`` that of
    the plan that a person approved, where the run made a plan of its own (``apply --approved``).

    ``exit_reason`` is the word it ended with, ``cut_off`` where its process died, and ``None`` where it is under way or
    nobody has looked since. ``finished_ms`` is only known of runs that ended by themselves.
    """

    number: int
    base_url: str
    fingerprint: str
    tool: str
    process: str
    started_ms: int
    finished_ms: int | None
    exit_reason: str | None
    writes: tuple[Write, ...]
    approved: str | None = None
    account: str | None = None
    """Whom the key belonged to, where that was known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What became of one change. ``calls`` are the writes that were sent, in order; ``detail`` is a sentence.

    ``notes`` are things found out on the way that do not change the outcome (drift that only the answer of an
    update shows). ``error`` is the failure behind an outcome, where there is one.
    """

    change: Change
    outcome: Outcome
    calls: tuple[Call, ...] = ()
    detail: str = ""
    notes: tuple[str, ...] = ()
    error: ApiError | None = None
    changed: bool = field(default=False, compare=False)
    """Whether one of the calls is known to have taken effect, whatever became of the change as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyResult:
    """What became of one strategy's change; every field means what it does in :class:`ActionResult`."""

    change: StrategyChange
    outcome: Outcome
    calls: tuple[Call, ...] = ()
    detail: str = ""
    notes: tuple[str, ...] = ()
    error: ApiError | None = None
    changed: bool = field(default=False, compare=False)


AnyResult = ActionResult | StrategyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport:
    """All results, sorted by id, ``results`` of portfolios and ``strategies``; times are UTC epoch milliseconds."""

    plan: Plan
    results: tuple[ActionResult, ...]
    started_ms: int
    finished_ms: int
    strategies: tuple[StrategyResult, ...] = ()

    @property
    def every(self) -> tuple[AnyResult, ...]:
        """All results, strategies first: what they reach is more than any one portfolio."""
        return (*self.strategies, *self.results)

    def count(self, outcome: Outcome) -> int:
        """Return how many changes ended like this."""
        return sum(result.outcome is outcome for result in self.every)

    @property
    def exit_reason(self) -> ExitReason:
        """What the run exits with: the gravest thing that is true of it.

        Anything unknown, or some done and some not: partly done. Only stale left over: stale. Nothing done at all:
        the one reason that all failures share, failed reads of what is blocked included, else a plain error. What is
        blocked counts as not done; what is held, not.
        """
        outcomes = {result.outcome for result in self.every}
        incomplete = outcomes - ACHIEVED
        blocked = bool(self.plan.blocked or self.plan.blocked_strategies)
        if not incomplete and not blocked:
            return ExitReason.OK
        halfway = any(result.changed and result.outcome not in ACHIEVED for result in self.every)
        if incomplete == {Outcome.STALE} and not blocked and not halfway:
            return ExitReason.STALE
        if halfway or Outcome.UNKNOWN in outcomes or Outcome.DONE in outcomes:
            return ExitReason.PARTIAL
        kinds = {exit_reason_of(result.error.kind) for result in self.every if result.error}
        kinds |= _blocked_reasons(self.plan)
        return kinds.pop() if len(kinds) == 1 else ExitReason.ERROR


def plan_exit_reason(plan: Plan, *, detailed: bool) -> ExitReason:
    """Return what a plan exits with: what is blocked wins over changes, which only count when ``detailed``.

    Where reads failed and nothing else is blocked, the reason they share (no permission, unreachable) is the answer.
    """
    if reasons := _blocked_reasons(plan):
        return reasons.pop() if len(reasons) == 1 else ExitReason.ERROR
    return ExitReason.CHANGES if detailed and (plan.changes or plan.strategies) else ExitReason.OK


def _blocked_reasons(plan: Plan) -> set[ExitReason]:
    """Return what blocked portfolios and strategies exit with: a failed read as itself, the rest as plain errors."""
    failures = [*(b.failure for b in plan.blocked), *(b.failure for b in plan.blocked_strategies)]
    return {exit_reason_of(FailureKind(failure)) if failure else ExitReason.ERROR for failure in failures}


def blocked_text(plan: Plan) -> str:
    """Return how much is blocked, as ``2 portfolios and 1 strategy``; ``""`` where nothing is."""
    counts = ((len(plan.blocked), "portfolio"), (len(plan.blocked_strategies), "strategy"))
    return " and ".join(plural(count, noun) for count, noun in counts if count)


def drift_exit_reason(plan: Plan) -> ExitReason:
    """Return what a look for drift exits with: errors as a plan's, else changes when anything differs, also what no
    plan changes: what is held, or has moved to another strategy."""
    reason = plan_exit_reason(plan, detailed=True)
    return ExitReason.CHANGES if reason is ExitReason.OK and (plan.held or plan.moved) else reason
