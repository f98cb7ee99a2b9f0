"""The plan: what an apply will do, as a value. No callable, no client, no flag for a dry run in here.

In: desired and live portfolios and our records of them. Out: a :class:`Plan` of changes, holds and blocks, each
sorted by portfolio id. Both ends of every change are pinned: what was observed (``before``) and what is wanted
(``after``), so that an apply can tell whether it still means the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.core.desired import ApiVersion, Origin, PortfolioId, RunState
from reconciler.core.live import Status
from reconciler.core.pausedby import PausedBy
from reconciler.core.strategy import StrategyChange
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from reconciler.core.cost import PlanCost
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.diff import FieldChange
    from reconciler.core.limits import Excess
    from reconciler.core.selection import Selection
    from reconciler.core.strategy import StrategyBlocked


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
    """The interval gets shorter."""
    UNVERIFIED_WRITE = "unverified_write"
    """The live schedule can't be known, so it is written without knowing what it replaces."""
    OFFSET_RESET = "offset_reset"
    """The offset is not managed, and not known or too long for the new interval: the service sets it to 0
    (API facts §1.1, V1.5)."""
    HOLD_OVERRIDDEN = "hold_overridden"
    """Somebody else paused it, and somebody said to resume it all the same."""
    DUE_AT_ONCE = "due_at_once"
    """A resume on v2 makes a rebalance due at once (API facts §1.3)."""


class BlockReason(StrEnum):
    """Why nothing can be done about a portfolio until a person looks at it."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One end of a change; ``None`` for an interval or offset that is not known or not managed."""

    state: Status
    interval_ms: int | None
    offset_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One portfolio's change.

    ``writes_schedule`` says whether interval and offset of ``after`` are sent. ``note`` is the declared reason, sent
    with pause and resume on v1. ``pause_reason`` is the stored reason at planning time: a resume is pinned to it.
    On v2, which stores none, ``pause_id`` stands in (:class:`~reconciler.core.live.Live`, ``schedule_id``).
    ``cadence_ms`` is the interval that a v2 portfolio has from its ``strategy`` (an id), to be shown: it is not this
    change's to set, and does not pin it. ``since`` is the token of the last write to its state or schedule that the
    journal knew before the first read, ``None`` for none: an apply whose journal knows of a later one finds the change
    stale.
    """

    id: PortfolioId
    verb: Verb
    before: Snapshot
    after: Snapshot
    fields: tuple[FieldChange, ...]
    reason: ChangeReason
    risks: tuple[Risk, ...] = ()
    writes_schedule: bool = False
    run_on_start: bool = False
    note: str | None = None
    pause_reason: str | None = None
    next_run_ms: int | None = None
    name: str | None = None
    cause: Cause | None = None
    source: Origin | None = None
    api: ApiVersion = ApiVersion.V1
    cadence_ms: int | None = None
    strategy: str | None = None
    pause_id: str | None = None
    since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Wanted active, but paused by somebody else: stays paused until a person says so.

    When it was paused is not known to anybody but the service; ``last_run_ms`` tells how long nothing has run.
    ``paused_by`` is ``OTHERS`` only where something shows that the pause is not ours, else nobody knows; never ``US``.
    """

    id: PortfolioId
    pause_reason: str | None
    paused_by: PausedBy = PausedBy.UNKNOWN
    last_run_ms: int | None = None
    name: str | None = None
    unverified: bool = False
    source: Origin | None = None
    api: ApiVersion = ApiVersion.V1


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Nothing can be done. ``detail`` is a sentence with the repair; ``failure`` the kind of a failed read."""

    id: PortfolioId
    reason: BlockReason
    detail: str
    status: str
    failure: str | None = None
    name: str | None = None
    source: Origin | None = None
    api: ApiVersion = ApiVersion.V1


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A v2 portfolio that follows another strategy than declared. No call of Glider's changes that, so nothing is done.

    It may be paused like any other, which is a change; but it is not resumed, and as long as it follows the other
    strategy it is not as declared. ``declared`` and ``live`` are the two strategies' ids, beside the names that are
    known. ``status`` is its live state, ``cadence_ms`` the interval that it has from the live strategy.
    """

    id: PortfolioId
    state: RunState
    status: Status
    declared: str
    live: str
    declared_name: str | None = None
    live_name: str | None = None
    cadence_ms: int | None = None
    name: str | None = None
    source: Origin | None = None


class Listing(StrEnum):
    """Whether the service listed its portfolios, so that those nobody declared are known."""

    NONE = "none"
    """Nobody asked: v1 has no list (API facts §7), or only some portfolios were selected."""
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """It was asked for, but could not be read or understood as a whole: nobody knows what is unmanaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmanaged:
    """A portfolio that the service lists and no file declares. Server text in here is already harmless.

    ``strategy`` is its strategy's id, ``None`` where the service names none.
    """

    id: PortfolioId
    name: str | None
    status: Status
    strategy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """Nothing to do. A paused portfolio's schedule may differ: it is settled with its resume, never before."""

    unverified: bool = False


Decision = Change | Held | Blocked | Moved | Unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Counts of portfolios; ``unverified`` counts inside the others."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an apply will do. Every tuple is sorted by portfolio id.

    ``base_url`` names the service that was read, and ``account`` whom the key belonged to, where that was known.
    ``created_ms`` is UTC epoch milliseconds. ``no_op`` and ``unverified`` are counts, because nothing else is ever
    needed of a portfolio that stays as it is.
    ``as_of_ms`` is when live was read, where that was earlier than this run, into a live file: such a plan is for
    reading and is never applied. ``None`` where live was read for the plan.
    """

    base_url: str
    created_ms: int
    config_digest: str
    config_files: tuple[str, ...]
    selection: Selection
    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    unmanaged: tuple[Unmanaged, ...] = ()
    """What the service lists beyond what is declared; empty, which proves nothing, unless ``listing`` is complete."""
    listing: Listing = Listing.NONE
    no_op: int = 0
    unverified: int = 0
    over: tuple[Excess, ...] = ()
    """The guards that the plan is over: nothing of it is applied before a person has allowed each number."""
    warnings: tuple[Diagnostic, ...] = ()
    as_of_ms: int | None = None
    strategies: tuple[StrategyChange, ...] = ()
    """New cadences, sorted by strategy id; ``blocked_strategies`` too. The counts above are of portfolios only."""
    blocked_strategies: tuple[StrategyBlocked, ...] = ()
    strategies_no_op: int = 0
    account: str | None = None
    moved: tuple[Moved, ...] = ()
    """What follows another strategy than declared, unless it is paused by this plan or blocked; not among ``no_op``."""
    journal: JournalState = JournalState.IN_USE
    cost: PlanCost | None = None
    """``None`` where no selected portfolio declares what a run costs."""

    @property
    def managed(self) -> int:
        """How many declared portfolios the plan is about."""
        return len(self.changes) + len(self.held) + len(self.blocked) + len(self.moved) + self.no_op

    @property
    def summary(self) -> Summary:
        """Count every kind of outcome."""
        verbs = dict.fromkeys(Verb, 0)
        for change in self.changes:
            verbs[change.verb] += 1
        return Summary(
            start=verbs[Verb.START],
            resume=verbs[Verb.RESUME],
            pause=verbs[Verb.PAUSE],
            update=verbs[Verb.UPDATE],
            no_op=self.no_op,
            held=len(self.held),
            blocked=len(self.blocked),
            unmanaged=len(self.unmanaged),
            unverified=self.unverified,
            moved=len(self.moved),
        )


AnyChange = Change | StrategyChange


def write_stages(
    changes: tuple[Change, ...], strategies: tuple[StrategyChange, ...] = ()
) -> tuple[tuple[AnyChange, ...], ...]:
    """Return the changes in stages that must follow each other; inside a stage, by id, the order is free.

    Pauses, lengthened intervals, other schedule updates, shortened intervals, resumes, starts: an apply that dies
    midway leaves less trading than either end, never more. Cadences go with the intervals, before every resume
    (API facts §5.3).
    """
    stages: dict[int, list[AnyChange]] = {}
    for change in sorted(changes, key=lambda change: change.id):
        stages.setdefault(_stage(change), []).append(change)
    for strategy in sorted(strategies, key=lambda strategy: strategy.id):
        stages.setdefault(_stage_of_cadence(strategy), []).append(strategy)
    return tuple(tuple(stages[rank]) for rank in sorted(stages))


def _stage_of_cadence(change: StrategyChange) -> int:
    if change.before is None or change.before is change.after:
        return 2
    return 1 if change.after.rank > change.before.rank else 3


def _stage(change: Change) -> int:
    match change.verb:
        case Verb.PAUSE:
            return 0
        case Verb.UPDATE:
            live, desired = change.before.interval_ms, change.after.interval_ms
            if live is None or desired is None or live == desired:
                return 2
            return 1 if desired > live else 3
        case Verb.RESUME:
            return 4
        case Verb.START:
            return 5


def desired_status(state: RunState) -> Status:
    """Return the live status that a declared state asks for."""
    match state:
        case RunState.ACTIVE:
            return Status.ACTIVE
        case RunState.PAUSED:
            return Status.PAUSED
