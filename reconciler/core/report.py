"""How an apply ended: one outcome a change, and what the whole run exits with.

In: nothing but values of an apply. Out: :class:`ApplyReport`. Every planned change appears in it exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.core.errors import ExitReason, FailureKind, exit_reason_of

if TYPE_CHECKING:
    from reconciler.core.desired import PortfolioId
    from reconciler.core.errors import ApiError
    from reconciler.core.plan import Change, Plan


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


class Call(StrEnum):
    """A call that changes something; the word stands in the journal and in reports."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE_SCHEDULE = "update-schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A write that was announced and has no outcome; ``wanted`` is JSON, ``at_ms`` UTC epoch milliseconds."""

    write: int
    portfolio: PortfolioId
    call: Call
    wanted: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write as the journal has it; times are UTC epoch milliseconds.

    ``interval_ms`` and ``offset_ms`` are the schedule wanted by its change, ``None`` where none was. ``outcome`` is
    ``None`` for an intent that nobody has settled yet, else ``confirmed`` (by the answer), ``seen`` (by a read),
    ``unseen`` (a read proved that it had no effect), ``failed`` (refused) or ``unknown``; ``detail`` is its sentence.
    """

    number: int
    portfolio: PortfolioId
    call: Call
    interval_ms: int | None
    offset_ms: int | None
    intent_ms: int
    outcome: str | None
    detail: str
    outcome_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One apply as the journal has it, with its writes in order; times are UTC epoch milliseconds.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport:
    """All results, sorted by portfolio id; times are UTC epoch milliseconds."""

    plan: Plan
    results: tuple[ActionResult, ...]
    started_ms: int
    finished_ms: int

    def count(self, outcome: Outcome) -> int:
        """Return how many changes ended like this."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def exit_reason(self) -> ExitReason:
        """What the run exits with: the gravest thing that is true of it.

        Anything unknown, or some done and some not: partly done. Only stale left over: stale. Nothing done at all:
        the one reason all failures share, else a plain error. Blocked portfolios count as not done; held ones don't.
        """
        outcomes = {result.outcome for result in self.results}
        incomplete = outcomes - ACHIEVED
        if not incomplete and not self.plan.blocked:
            return ExitReason.OK
        if incomplete == {Outcome.STALE} and not self.plan.blocked:
            return ExitReason.STALE
        halfway = any(result.outcome is Outcome.FAILED and len(result.calls) > 1 for result in self.results)
        if halfway or Outcome.UNKNOWN in outcomes or Outcome.DONE in outcomes:
            return ExitReason.PARTIAL
        kinds = {exit_reason_of(result.error.kind) for result in self.results if result.error}
        if len(kinds) == 1 and not self.plan.blocked:
            return kinds.pop()
        return ExitReason.ERROR


def plan_exit_reason(plan: Plan, *, detailed: bool) -> ExitReason:
    """Return what a plan exits with: blocked portfolios win over changes, which only count when ``detailed``.

    Where reads failed and nothing else is blocked, the reason they share (no permission, unreachable) is the answer.
    """
    if plan.blocked:
        reasons = {
            exit_reason_of(FailureKind(blocked.failure)) if blocked.failure else ExitReason.ERROR
            for blocked in plan.blocked
        }
        return reasons.pop() if len(reasons) == 1 else ExitReason.ERROR
    return ExitReason.CHANGES if detailed and plan.changes else ExitReason.OK


def drift_exit_reason(plan: Plan) -> ExitReason:
    """Return what a look for drift exits with: errors as a plan's, else changes when anything differs or is held."""
    reason = plan_exit_reason(plan, detailed=True)
    return ExitReason.CHANGES if reason is ExitReason.OK and plan.held else reason
