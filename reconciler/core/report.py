"""How an apply ended: an outcome for each change, the exit reason of the run, and the conditions of ``--fail-on``.

In: nothing but values of an apply. Out: :class:`ApplyReport`. Every planned change appears in it exactly once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.change import BlockReason, Cause, Change, Frozen
from reconciler.core.errors import ApiError, ExitReason, exit_reason_of
from reconciler.core.fleet import leaves_unmanaged
from reconciler.core.intent import Call  # noqa: TC001 - msgspec looks it up
from reconciler.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.model import Address, Cadence
    from reconciler.core.plan import Plan


class Outcome(StrEnum):
    """What became of one change; in the order of display."""

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
FAILED = frozenset({Outcome.FAILED, Outcome.UNKNOWN})
"""What counts against ``--max-failures``."""


class Write(Struct, frozen=True, kw_only=True):
    """One write as the journal has it; times are UTC epoch milliseconds.

    ``interval_ms`` and ``offset_ms`` are the schedule that its change wanted, ``None`` if it wanted none. ``outcome``
    is ``None`` for an intent that nobody has settled yet, else a word of
    :class:`~reconciler.core.intent.WriteOutcome`; ``detail`` explains it in a sentence. ``cadence`` is what a strategy
    was to get; then the id is the strategy's address. ``token`` tells the write from every other.
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


class RunOrigin(Struct, frozen=True, kw_only=True):
    """Where a run came from, as CI tells it: who started it, for which commit and pull request, and in which run of CI.

    ``None`` for whatever CI does not tell; outside CI, all are ``None``.
    """

    who: str | None = None
    commit: str | None = None
    pull_request: str | None = None
    ci_run: str | None = None


NOWHERE: Final = RunOrigin()
"""The origin of a run about which CI tells nothing."""


class Run(RunOrigin, frozen=True, kw_only=True):
    """One apply as the journal has it, with its writes in order; times are UTC epoch milliseconds.

    ``fingerprint`` is the fingerprint of its plan, or the word ``rebalance`` if it requested rebalances. ``approved``
    is the fingerprint of the plan that a person approved, if the run made a new plan of its own (``apply --approved``).

    ``exit_reason`` is the word it ended with, or ``cut_off`` if its process died; ``None`` if it is under way, or died
    and no command has noticed that yet. ``finished_ms`` is known only for runs that ended by themselves.
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
    """Whom the key belonged to, if that was known."""


class Result(Struct, frozen=True, kw_only=True):
    """What became of one change. ``calls`` are the writes that were sent, in order; ``detail`` is a sentence.

    ``notes`` are things found out on the way that do not change the outcome, such as drift that only the answer to an
    update shows. ``error`` is the failure behind an outcome, if there is one. ``changed`` says whether at least one of
    the calls is known to have taken effect, whatever became of the change as a whole. ``frozen`` is set if it was not
    attempted, or not to its end, because of a freeze.
    """

    change: Change
    outcome: Outcome
    calls: tuple[Call, ...] = ()
    detail: str = ""
    notes: tuple[str, ...] = ()
    error: ApiError | None = None
    changed: bool = False
    frozen: Frozen | None = None


class ApplyReport(Struct, frozen=True, kw_only=True):
    """All results, sorted by id; times are UTC epoch milliseconds. ``joined`` says that several runners may have
    carried the plan out, which is then not carried out again; ``leaves``, that it goes on without this one."""

    plan: Plan
    results: tuple[Result, ...]
    started_ms: int
    finished_ms: int
    joined: bool = False
    leaves: bool = False

    def count(self, outcome: Outcome) -> int:
        """Return how many changes ended like this."""
        return sum(result.outcome is outcome for result in self.results)

    def followed_by(self, later: ApplyReport | None) -> ApplyReport:
        """Return this report with the results of a second try of some of its changes, except those that found nothing
        to do: of these, the first result tells what was done."""
        if later is None:
            return self
        newer = {one.change.id: one for one in later.results if one.outcome is not Outcome.ALREADY_DONE}
        results = tuple(newer.get(one.change.id, one) for one in self.results)
        return replace(self, results=results, finished_ms=later.finished_ms)

    @property
    def left(self) -> Plan:
        """The plan of what is still to do: its changes without those that are as desired by now.

        A portfolio of these is not overdue any more: it is paused, or its next run was set anew.
        """
        done = {result.change.id for result in self.results if result.outcome in ACHIEVED}
        return replace(
            self.plan,
            changes=tuple(change for change in self.plan.changes if change.id not in done),
            overdue=tuple(overdue for overdue in self.plan.overdue if overdue.id not in done),
        )

    @property
    def frozen(self) -> tuple[Result, ...]:
        """What waits for a freeze to be over."""
        return tuple(result for result in self.results if result.frozen is not None)

    @property
    def exit_reason(self) -> ExitReason:
        """The reason to exit with.

        What waits for a freeze is refused by a guard; if something else is not done either, it is *partly done*.

        For the rest: if any outcome is unknown, or some changes are done and others are not, it is *partly done*. If
        those that are not done are all stale, it is *stale*. If nothing is done, it is the one reason that all failures
        share, failed reads of blocked portfolios included, else a plain error. What is blocked counts as not done; what
        is held does not count.
        """
        if waiting := self.frozen:
            rest = replace(self, results=tuple(result for result in self.results if result.frozen is None))
            halfway = any(result.changed for result in waiting)
            return ExitReason.PARTIAL if halfway or rest.exit_reason is not ExitReason.OK else ExitReason.GUARD
        outcomes = {result.outcome for result in self.results}
        incomplete = outcomes - ACHIEVED
        blocked = bool(self.plan.blocked)
        if not incomplete and not blocked:
            return ExitReason.OK
        halfway = any(result.changed and result.outcome not in ACHIEVED for result in self.results)
        if incomplete == {Outcome.STALE} and not blocked and not halfway:
            return ExitReason.STALE
        if halfway or Outcome.UNKNOWN in outcomes or Outcome.DONE in outcomes:
            return ExitReason.PARTIAL
        kinds = {exit_reason_of(result.error.kind) for result in self.results if result.error}
        kinds |= _blocked_reasons(self.plan)
        return kinds.pop() if len(kinds) == 1 else ExitReason.ERROR


def plan_exit_reason(plan: Plan, *, detailed: bool) -> ExitReason:
    """Return what a plan exits with. Blocked portfolios win over changes, and changes only count when ``detailed``.

    If all that is blocked are failed reads, it is the reason that they share, such as no permission or unreachable.
    """
    if reasons := _blocked_reasons(plan):
        return reasons.pop() if len(reasons) == 1 else ExitReason.ERROR
    return ExitReason.CHANGES if detailed and plan.changes else ExitReason.OK


def was_made(plan: Plan) -> bool:
    """Whether a plan is of use although something in it may be blocked: an apply does the rest.

    Not where all that it is about is blocked because no read succeeded, nor where a schedule that can't be known was
    to be an error.
    """
    reasons = {one.reason for one in plan.blocked}
    decided = plan.changes or plan.held or plan.halted or plan.moved or plan.no_op or plan.strategies_no_op
    return BlockReason.UNVERIFIED not in reasons and (bool(decided) or reasons != {BlockReason.READ_FAILED})


def _blocked_reasons(plan: Plan) -> set[ExitReason]:
    """Return the exit reasons of what is blocked: for a failed read that of its failure, for the rest a plain error."""
    return {exit_reason_of(one.failure) if one.failure else ExitReason.ERROR for one in plan.blocked}


def blocked_text(plan: Plan) -> str:
    """Return how much is blocked, as ``2 portfolios and 1 strategy``; ``""`` if nothing is."""
    summary = plan.summary
    counts = ((summary.blocked, "portfolio"), (summary.strategies.blocked, "strategy"))
    return " and ".join(plural(count, noun) for count, noun in counts if count)


def drift_exit_reason(plan: Plan) -> ExitReason:
    """Return what a look for drift exits with: for errors the same as a plan; else *changes* if anything differs, even
    what no plan changes: what is held, has moved to another strategy, or did not run when it was due."""
    reason = plan_exit_reason(plan, detailed=True)
    return ExitReason.CHANGES if reason is ExitReason.OK and (plan.held or plan.moved or plan.overdue) else reason


class FailOn(StrEnum):
    """A condition under which a job fails although nothing went wrong; ``sentence`` says for people what holds."""

    sentence: str

    def __new__(cls, word: str, sentence: str = "") -> FailOn:
        """Make a member. The default exists only for type checkers, which take ``FailOn("drift")`` for this call."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member

    ERROR = "error", "the command failed"
    CHANGES = "changes", "changes are pending"
    DRIFT = "drift", "live automation is not as declared"
    HELD = "held", "portfolios are held"
    UNMANAGED = "unmanaged", "portfolios are live that no file declares, or it can't be known whether any are"
    BLOCKED = "blocked", "portfolios are blocked"
    GUARD = "guard", "the plan is over a guard"
    OVERDUE = "overdue", "active portfolios did not run when they were due"


def conditions_met(plan: Plan, asked: Iterable[FailOn], *, looked_for_drift: bool) -> tuple[FailOn, ...]:
    """Return those of the given conditions that a plan meets, in the order of :class:`FailOn`; never ``ERROR``.

    ``looked_for_drift`` says that every difference counts as drift (the command ``drift``). In any other plan, drift is
    a change with the cause ``drift``, which needs a base to compare with, and every portfolio that follows another
    strategy than declared.
    """
    wanted = set(asked)
    return tuple(condition for condition in FailOn if condition in wanted and _met(plan, condition, looked_for_drift))


def _met(plan: Plan, condition: FailOn, looked_for_drift: bool) -> bool:
    causes = [change.cause for change in plan.changes]
    match condition:
        case FailOn.ERROR:
            return False
        case FailOn.CHANGES:
            return bool(causes)
        case FailOn.DRIFT if looked_for_drift:
            return bool(causes or plan.held or plan.moved or plan.overdue)
        case FailOn.DRIFT:
            return bool(plan.moved) or any(cause in (Cause.DRIFT, Cause.BOTH) for cause in causes)
        case FailOn.HELD:
            return bool(plan.held)
        case FailOn.UNMANAGED:
            return leaves_unmanaged(plan.unmanaged, plan.listing)
        case FailOn.BLOCKED:
            return bool(plan.blocked)
        case FailOn.OVERDUE:
            return bool(plan.overdue)
        case FailOn.GUARD:
            return bool(plan.over)
        case _:
            assert_never(condition)
