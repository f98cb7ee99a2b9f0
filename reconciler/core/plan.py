"""The plan: what an apply will do, as a value. No callable, no client, no flag for a dry run in here.

In: nothing. Out: :class:`Plan` and its entries: changes, holds and blocks, of portfolios and of strategies alike. Every
change holds what was observed (``before``) and what is wanted (``after``), so that an apply can tell whether it still
means the same.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct, field

from reconciler.core.codec import Amount, Count, Interval, Milliseconds, Moment
from reconciler.core.diagnostics import Diagnostic
from reconciler.core.errors import FailureKind
from reconciler.core.fleet import EVERYTHING, Listing, Selection, Unmanaged
from reconciler.core.model import (
    ApiVersion,
    AtStart,
    Cadence,
    Origin,
    PausedBy,
    Provenance,
    RunState,
    SavedAddress,
    SavedPortfolioId,
    Status,
    StrategyId,
    Verb,
    Verdict,
    strategy_of,
)
from reconciler.core.text import plural


class Field(StrEnum):
    """What can be managed of a portfolio, and the ``SCHEDULE`` of a strategy; the order is the order of display."""

    STATE = "state"
    INTERVAL = "interval_ms"
    OFFSET = "offset_ms"
    SCHEDULE = "schedule"


class FieldChange(Struct, frozen=True, kw_only=True):
    """One managed field: both sides (a word, or milliseconds), the verdict, and how live is known.

    ``live`` is ``None`` where it is not known. ``overruled`` is a recorded value that newer evidence contradicts.
    """

    field: Field
    live: str | int | None
    desired: str | int
    verdict: Verdict
    provenance: Provenance
    overruled: Milliseconds | None = None


class ChangeReason(StrEnum):
    """Why a change is planned."""

    NOT_RUNNING = "not_running"
    PAUSED_BY_US = "paused_by_us"
    HOLD_OVERRIDDEN = "hold_overridden"
    SCHEDULE_DIFFERS = "schedule_differs"
    SCHEDULE_UNVERIFIED = "schedule_unverified"
    DECLARED_PAUSED = "declared_paused"


class Risk(StrEnum):
    """What a reviewer should know before saying yes."""

    RUNS_AT_ONCE = "runs_at_once"
    """A rebalance starts with the call itself (``run_on_start``)."""
    TRADES_AGAIN = "trades_again"
    """Trading begins or goes on; the first run may be due at once (API facts §1.3)."""
    MORE_RUNS = "more_runs"
    """The interval gets shorter, or the cadence faster."""
    UNVERIFIED_WRITE = "unverified_write"
    """The live schedule can't be known, so it is written without knowing what it replaces."""
    OFFSET_RESET = "offset_reset"
    """The offset is not managed, and not known or too long for the new interval: the service sets it to 0
    (API facts §1.1, V1.5)."""
    HOLD_OVERRIDDEN = "hold_overridden"
    """Somebody else paused it, and somebody said to resume it all the same."""
    DUE_AT_ONCE = "due_at_once"
    """A resume on v2 makes a rebalance due at once (API facts §1.3)."""
    REACHES_PORTFOLIOS = "reaches_portfolios"
    """A cadence holds for every enrolled portfolio, paused ones included, from the next cycle (API facts §1.3)."""
    REACH_UNKNOWN = "reach_unknown"
    """It is not known how many portfolios that is."""


class BlockReason(StrEnum):
    """Why nothing can be done about a portfolio or strategy until a person looks at it."""

    ARCHIVED = "archived"
    ERROR_STATUS = "error_status"
    UNKNOWN_STATUS = "unknown_status"
    NO_SCHEDULE = "no_schedule"
    """A v2 portfolio that Glider keeps no schedule for (API facts §3.2)."""
    NOT_FOUND = "not_found"
    READ_FAILED = "read_failed"
    START_NEEDS_INTERVAL = "start_needs_interval"
    OFFSET_NEEDS_INTERVAL = "offset_needs_interval"
    UNVERIFIED = "unverified"
    NOT_READ = "not_read"
    """Planned from a live file that does not hold it."""
    RUN_UNANSWERED = "run_unanswered"
    """Its start would run at once, and an earlier request for a run may have begun one already."""
    UNKNOWN_CADENCE = "unknown_cadence"
    BELOW_MAINNET_MINIMUM = "below_mainnet_minimum"
    """Hourly, with a portfolio on ETH mainnet enrolled (API facts §6)."""


class JournalState(StrEnum):
    """Whether a journal could tell anything when the plan was made."""

    IN_USE = "in_use"
    NEW = "new"
    """It knows nothing of this service yet."""
    MISSING = "missing"


class Cause(StrEnum):
    """Where a difference comes from, when the plan was made with a base revision to compare with."""

    BRANCH = "branch"
    DRIFT = "drift"
    BOTH = "both"
    PENDING = "pending"


class Snapshot(Struct, frozen=True, kw_only=True):
    """One end of a change; ``None`` for what is not known or not managed.

    A portfolio has a state, an interval and an offset. A strategy has nothing but its ``cadence``.
    """

    state: Status | None = None
    interval_ms: Interval | None = None
    offset_ms: Milliseconds | None = None
    cadence: Cadence | None = None


class Change(AtStart, frozen=True, kw_only=True):
    """One change of a portfolio, or of a strategy's cadence, which is an update.

    ``writes_schedule`` says whether interval and offset of ``after`` are sent. ``note`` is the declared reason, sent
    with pause and resume on v1. ``pause_reason`` is the stored reason at planning time: a resume requires it.
    On v2, which stores none, ``pause_id`` stands in (:class:`~reconciler.core.model.Live`, ``schedule_id``).
    ``cadence_ms`` is the interval that a v2 portfolio has from its ``strategy`` (an id), to be shown: the change
    does not set it, and it is not compared. ``since`` is the token of the last write to its state or schedule that the
    journal knew before the first read, ``None`` for none: an apply whose journal knows of a later one finds the change
    stale.

    Of a strategy, ``reach`` is how many portfolios were enrolled when the plan was made, and ``running`` how many of
    those were active; ``None`` where that is not known.
    """

    id: SavedAddress
    verb: Verb
    before: Snapshot
    after: Snapshot
    fields: tuple[FieldChange, ...]
    reason: ChangeReason
    risks: tuple[Risk, ...] = ()
    writes_schedule: bool = False
    note: str | None = None
    pause_reason: str | None = None
    next_run_ms: Moment | None = field(default=None, name="next_run_at")
    name: str | None = None
    cause: Cause | None = None
    source: Origin | None = None
    api: ApiVersion = ApiVersion.V1
    cadence_ms: Interval | None = None
    strategy: str | None = None
    pause_id: str | None = None
    since: str | None = None
    reach: Count | None = None
    running: Count | None = None

    @property
    def of_strategy(self) -> StrategyId | None:
        """The strategy whose cadence it sets; ``None`` for a change of a portfolio."""
        return strategy_of(self.id)

    @property
    def may_run_more(self) -> bool:
        """Whether portfolios run more often afterwards, or nobody knows that they do not."""
        return Risk.UNVERIFIED_WRITE in self.risks or Risk.MORE_RUNS in self.risks


class Held(Struct, frozen=True, kw_only=True):
    """Wanted active, but paused by somebody else: stays paused until a person says so.

    When it was paused is not known to anybody but the service; ``last_run_ms`` tells how long nothing has run.
    ``paused_by`` is ``OTHERS`` where something shows that the pause is not ours, else ``UNKNOWN``.
    """

    id: SavedPortfolioId
    pause_reason: str | None
    paused_by: PausedBy = PausedBy.UNKNOWN
    last_run_ms: Moment | None = field(default=None, name="last_run_at")
    name: str | None = None
    owner: str | None = None
    unverified: bool = False
    source: Origin | None = None
    api: ApiVersion = ApiVersion.V1


class Blocked(Struct, frozen=True, kw_only=True):
    """Nothing can be done. ``detail`` is a sentence with the repair; ``failure`` the kind of a failed read."""

    id: SavedAddress
    reason: BlockReason
    detail: str
    status: str
    failure: FailureKind | None = None
    name: str | None = None
    owner: str | None = None
    source: Origin | None = None
    api: ApiVersion = ApiVersion.V1


class StrategyName(Struct, frozen=True, kw_only=True):
    """A strategy that a portfolio follows, or shall follow; ``interval_ms`` is what it has from there, as read."""

    strategy: str
    name: str | None = None
    interval_ms: Interval | None = None


class Moved(Struct, frozen=True, kw_only=True):
    """A v2 portfolio that follows another strategy than declared. No call of Glider's changes that, so nothing is done.

    It may be paused like any other, which is a change; but it is not resumed, and as long as it follows the other
    strategy it is not as declared. ``status`` is its live state.
    """

    id: SavedPortfolioId
    state: RunState
    status: Status
    declared: StrategyName
    live: StrategyName
    name: str | None = None
    owner: str | None = None
    source: Origin | None = None


class Unchanged(Struct, frozen=True, kw_only=True):
    """Nothing to do. The schedule of a paused portfolio may differ: it is set with the resume, never before."""

    unverified: bool = False


Decision = Change | Held | Blocked | Moved | Unchanged


class Guarded(StrEnum):
    """What a guard counts: changes of a verb, or portfolios that faster cadences reach, paused ones included."""

    START = "start"
    RESUME = "resume"
    UPDATE = "update"
    PAUSE = "pause"
    REACH = "reach"


UNKNOWN: Final = "unknown"
"""What ``--allow`` takes instead of a number where the number is not known."""
Allowed = int | Literal["unknown"]
"""What a person allowed by ``--allow``."""


class Excess(Struct, frozen=True, kw_only=True):
    """What a plan has more of than its limit lets through; ``limit`` is the limit as written.

    ``planned`` is ``None`` where nobody knows how many: that is over any limit.
    """

    guarded: Guarded = field(name="verb")
    planned: Count | None
    allowed: Count
    limit: str

    def __str__(self) -> str:
        """Return a sentence that ends in the flag that names the number."""
        return f"{self.fact}; after reading the plan, allow it with {self.flag}"

    @property
    def fact(self) -> str:
        """What is over which limit."""
        share = self.limit if self.limit == str(self.allowed) else f"{self.limit} = {self.allowed}"
        return f"{self._planned_text}, but guards.max_{self.guarded} is {share}"

    @property
    def flag(self) -> str:
        """What lets it through."""
        return f"--allow {self.guarded}={UNKNOWN if self.planned is None else self.planned}"

    @property
    def _planned_text(self) -> str:
        if self.guarded is not Guarded.REACH:
            return f"{self.planned} to {self.guarded}"
        reached = "an unknown number of portfolios" if self.planned is None else plural(self.planned, "portfolio")
        return f"faster cadences reach {reached}"


class PlanCost(Struct, frozen=True, kw_only=True):
    """What the selected portfolios with a declared cost are known to run and cost, in US dollars in 30 days.

    ``portfolios_known`` of ``portfolios`` have an interval that is known on both sides; only those are summed up.
    """

    before_usd_month: Amount
    after_usd_month: Amount
    before_runs_day: Amount
    after_runs_day: Amount
    portfolios_known: Count
    portfolios: Count


class StrategySummary(Struct, frozen=True, kw_only=True):
    """Counts of strategies."""

    update: int
    no_op: int
    blocked: int


class Summary(Struct, frozen=True, kw_only=True):
    """Counts of portfolios, and of ``strategies`` by themselves; ``unverified`` counts inside the others."""

    start: int
    resume: int
    pause: int
    update: int
    no_op: int
    held: int
    blocked: int
    unmanaged: int
    unverified: int
    moved: int
    strategies: StrategySummary


class Plan(Struct, frozen=True, kw_only=True):
    """What an apply will do. Every tuple is sorted by id; a strategy's is ``strategies/ID``.

    ``base_url`` names the service that was read, and ``account`` whom the key belonged to, where that was known.
    ``created_ms`` is when it was made. ``no_op``, ``unverified`` and ``strategies_no_op`` are counts: of what stays as
    it is, only the number is ever needed.
    ``as_of_ms`` is when live was read, where that was earlier than this run, into a live file: such a plan is for
    reading and is never applied. ``None`` where live was read for the plan.
    """

    created_ms: Moment = field(name="created_at")
    as_of_ms: Moment | None = field(default=None, name="as_of")
    base_url: str
    account: str | None = None
    config_digest: str = ""
    config_files: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    over: tuple[Excess, ...] = field(default=(), name="guards")
    """The guards that the plan is over: nothing of it is applied before a person has allowed each number."""
    warnings: tuple[Diagnostic, ...] = ()
    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    moved: tuple[Moved, ...] = ()
    """What follows another strategy than declared, unless it is paused by this plan or blocked; not among ``no_op``."""
    unmanaged: tuple[Unmanaged, ...] = ()
    """What the service lists beyond what is declared; empty, which proves nothing, unless ``listing`` is complete."""
    listing: Listing = Listing.NONE
    journal: JournalState = JournalState.IN_USE
    no_op: int = 0
    unverified: int = 0
    strategies_no_op: int = 0
    cost: PlanCost | None = None
    """``None`` where no selected portfolio declares what a run costs."""

    @property
    def portfolios(self) -> tuple[Change, ...]:
        """The changes of portfolios alone."""
        return tuple(change for change in self.changes if change.of_strategy is None)

    @property
    def cadences(self) -> tuple[Change, ...]:
        """The changes of strategies alone."""
        return tuple(change for change in self.changes if change.of_strategy is not None)

    @property
    def managed(self) -> int:
        """How many declared portfolios the plan is about."""
        found = self.summary
        return len(self.portfolios) + found.held + found.blocked + found.moved + found.no_op

    @property
    def summary(self) -> Summary:
        """Count every kind of outcome."""
        verbs = Counter(change.verb for change in self.portfolios)
        blocked_strategies = sum(strategy_of(one.id) is not None for one in self.blocked)
        return Summary(
            start=verbs[Verb.START],
            resume=verbs[Verb.RESUME],
            pause=verbs[Verb.PAUSE],
            update=verbs[Verb.UPDATE],
            no_op=self.no_op,
            held=len(self.held),
            blocked=len(self.blocked) - blocked_strategies,
            unmanaged=len(self.unmanaged),
            unverified=self.unverified,
            moved=len(self.moved),
            strategies=StrategySummary(
                update=len(self.changes) - verbs.total(), no_op=self.strategies_no_op, blocked=blocked_strategies
            ),
        )


def write_stages(changes: tuple[Change, ...]) -> tuple[tuple[Change, ...], ...]:
    """Return the changes in stages that must follow each other; inside a stage, by id, the order is free.

    Pauses, lengthened intervals, other schedule updates, shortened intervals, resumes, starts: an apply that dies
    midway leaves less trading than either end, never more. Cadences go with the intervals, before every resume
    (API facts §5.3).
    """
    stages: dict[int, list[Change]] = {}
    for change in sorted(changes, key=lambda change: change.id):
        stages.setdefault(_stage(change), []).append(change)
    return tuple(tuple(stages[rank]) for rank in sorted(stages))


def _stage(change: Change) -> int:
    match change.verb:
        case Verb.PAUSE:
            return 0
        case Verb.UPDATE:
            live, desired = _pause_between_runs(change.before), _pause_between_runs(change.after)
            if live is None or desired is None or live == desired:
                return 2
            return 1 if desired > live else 3
        case Verb.RESUME:
            return 4
        case Verb.START:
            return 5


def _pause_between_runs(end: Snapshot) -> int | None:
    """Return a number that is larger where runs are rarer, to compare two portfolios, or two strategies."""
    return end.interval_ms if end.cadence is None else end.cadence.rank


def desired_status(state: RunState) -> Status:
    """Return the live status that a declared state asks for."""
    match state:
        case RunState.ACTIVE:
            return Status.ACTIVE
        case RunState.PAUSED:
            return Status.PAUSED
