"""The plan: what an apply will do, as a value. It holds no callable, no client, and no flag for a dry run.

In: nothing. Out: :class:`Plan` and its entries: changes, holds and blocks, of portfolios and of strategies alike. Every
change holds what was observed (``before``) and what is wanted (``after``), so that an apply can tell whether it still
fits.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from reconciler.core.codec import Amount, Count, Interval, Milliseconds, Moment
from reconciler.core.diagnostics import Diagnostic
from reconciler.core.errors import FailureKind
from reconciler.core.fleet import EVERYTHING, Listing, Selection, Unmanaged
from reconciler.core.model import (
    ApiVersion,
    AtStart,
    Cadence,
    HaltId,
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
from reconciler.core.text import moment, plural


class Field(StrEnum):
    """The managed fields of a portfolio, and the ``SCHEDULE`` of a strategy, in the order of display."""

    STATE = "state"
    INTERVAL = "interval_ms"
    OFFSET = "offset_ms"
    SCHEDULE = "schedule"


class FieldChange(Struct, frozen=True, kw_only=True):
    """One managed field: both sides (a word, or milliseconds), the verdict, and how live is known.

    ``live`` is ``None`` if it is not known. ``overruled`` is a recorded value that newer evidence contradicts.
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
    HALTED = "halted"
    """A halt pauses it, whatever the files say."""
    HALT_LIFTED = "halt_lifted"
    """The halt that paused it is lifted."""
    SCHEDULE_DIFFERS = "schedule_differs"
    SCHEDULE_UNVERIFIED = "schedule_unverified"
    DECLARED_PAUSED = "declared_paused"


class Risk(StrEnum):
    """What a reviewer should know before saying yes."""

    RUNS_AT_ONCE = "runs_at_once"
    """A rebalance starts with the call itself (``run_on_start``)."""
    TRADES_AGAIN = "trades_again"
    """The portfolio starts or resumes trading; its first run may be due at once (API facts §1.3)."""
    MORE_RUNS = "more_runs"
    """The interval gets shorter, or the cadence faster."""
    UNVERIFIED_WRITE = "unverified_write"
    """The live schedule can't be known, so it is written without knowing what it replaces."""
    OFFSET_RESET = "offset_reset"
    """The offset is not managed, and not known or too long for the new interval: the service sets it to 0
    (API facts §1.1, V1.5)."""
    HOLD_OVERRIDDEN = "hold_overridden"
    """Somebody else paused it, and the files or a flag say to resume it all the same."""
    DUE_AT_ONCE = "due_at_once"
    """A resume on v2 makes a rebalance due at once (API facts §1.3)."""
    REACHES_PORTFOLIOS = "reaches_portfolios"
    """From the next cycle, the cadence changes for every enrolled portfolio, paused ones included (API facts §1.3)."""
    REACH_UNKNOWN = "reach_unknown"
    """It is not known how many portfolios the cadence reaches."""


class BlockReason(StrEnum):
    """Why nothing can be done about a portfolio or strategy until a person looks at it."""

    ARCHIVED = "archived"
    ERROR_STATUS = "error_status"
    UNKNOWN_STATUS = "unknown_status"
    NO_SCHEDULE = "no_schedule"
    """A v2 portfolio for which Glider keeps no schedule (API facts §3.2)."""
    NOT_FOUND = "not_found"
    READ_FAILED = "read_failed"
    START_NEEDS_INTERVAL = "start_needs_interval"
    OFFSET_NEEDS_INTERVAL = "offset_needs_interval"
    UNVERIFIED = "unverified"
    NOT_READ = "not_read"
    """The plan is made from live files, and none of them holds it."""
    OUTDATED = "outdated"
    """The plan is made from live files, and we wrote to it after it was read."""
    RUN_UNANSWERED = "run_unanswered"
    """Its start would run at once, although an earlier request may have begun a run already."""
    UNKNOWN_CADENCE = "unknown_cadence"
    BELOW_MAINNET_MINIMUM = "below_mainnet_minimum"
    """An hourly cadence for a strategy that a portfolio on ETH mainnet is enrolled in (API facts §6)."""


class JournalState(StrEnum):
    """Whether a journal could tell anything when the plan was made."""

    IN_USE = "in_use"
    NEW = "new"
    """There is one, but it knows nothing of this service yet."""
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


FreezeName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")]
"""The name of a freeze, which people type after ``--allow freeze=``."""


class Window(Struct, frozen=True, kw_only=True):
    """When a freeze holds, and its name. It begins with its first moment, and its last one is no longer in it."""

    name: FreezeName
    from_ms: Moment = field(name="from")
    to_ms: Moment = field(name="to")

    def __str__(self) -> str:
        """Return ``2026-12-19 00:00 UTC to 2027-01-04 00:00 UTC``."""
        return f"{moment(self.from_ms)} to {moment(self.to_ms)}"


class Frozen(Struct, frozen=True, kw_only=True):
    """Why a change waits: the names of the freezes that hold ``by`` that moment, and of those that ``then`` follow
    without a gap, in the order in which they begin. ``until_ms`` is when all of them are over."""

    by: tuple[FreezeName, ...]
    then: tuple[FreezeName, ...]
    until_ms: Moment = field(name="until")

    def __str__(self) -> str:
        """Return ``frozen by year-end until 2027-01-04 00:00 UTC``."""
        then = f", then by {' and '.join(self.then)}," if self.then else ""
        return f"frozen by {' and '.join(self.by)}{then} until {moment(self.until_ms)}"

    @property
    def sentence(self) -> str:
        """Why one waits, and what lets it through."""
        return f"{self}; to let it through, add {self.flags}"

    @property
    def flags(self) -> str:
        """What lets the change go all the same."""
        return " ".join(f"--allow freeze={name}" for name in self.by)


class Change(AtStart, frozen=True, kw_only=True):
    """One change of a portfolio, or of a strategy's cadence, which is an update.

    ``writes_schedule`` says whether interval and offset of ``after`` are sent. ``note`` is the declared reason, sent
    with pause and resume on v1. ``pause_reason`` is the stored reason when the plan was made: a resume requires the
    same one. On v2, which stores none, ``pause_id`` is used instead (:class:`~reconciler.core.model.Live`,
    ``schedule_id``). ``cadence_ms`` is the interval that a v2 portfolio has from its ``strategy`` (an id). It is only
    shown; the change does not set it, and it is not compared. ``since`` is the token of the last write to its state or
    schedule that the journal knew before the first read, ``None`` for none. If the journal knows a later write when the
    plan is applied, the change is stale.

    For a strategy, ``reach`` is how many portfolios were enrolled when the plan was made, and ``running`` how many of
    those were active; ``None`` if that is not known.
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
    enrolled: str | None = None
    """For a strategy, what tells whether other portfolios are enrolled by now (:meth:`PortfolioList.enrolment`)."""
    halt: HaltId | None = None
    """The halt that a pause is part of, or that a resume lifts."""
    auto_offset: bool = False
    """Whether the offset of ``after`` was made of the id, because the files say ``auto``."""
    freezes: tuple[Window, ...] = ()
    """The freezes in which it must not begin, without those that were over when the plan was made."""
    frozen: Frozen | None = None
    """Why it waited when the plan was made, if it did."""

    @property
    def of_strategy(self) -> StrategyId | None:
        """The strategy whose cadence it sets; ``None`` for a change of a portfolio."""
        return strategy_of(self.id)

    @property
    def may_run_more(self) -> bool:
        """Whether portfolios run more often afterwards, or might do so as far as we know."""
        return Risk.UNVERIFIED_WRITE in self.risks or Risk.MORE_RUNS in self.risks


class Held(Struct, frozen=True, kw_only=True):
    """A portfolio that is declared active but was paused by somebody else. It stays paused until a person decides.

    Only the service knows when it was paused; ``last_run_ms`` tells how long nothing has run. ``paused_by`` is
    ``OTHERS`` if something shows that the pause is not ours, else ``UNKNOWN``.
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


class Halted(Struct, frozen=True, kw_only=True):
    """A portfolio, or the cadence of a strategy, that stays as it is until a halt is lifted.

    ``waits`` is what the files want and has to wait. It is ``None`` for a portfolio that is in the very pause which the
    halt made. ``reason`` is the halt's, ``None`` if only its mark is known.
    """

    id: SavedAddress
    halt: HaltId
    reason: str | None = None
    waits: Verb | None = None
    name: str | None = None
    owner: str | None = None
    source: Origin | None = None


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
    """A strategy that a portfolio follows, or should follow. ``interval_ms`` is the interval it gives, as read."""

    strategy: str
    name: str | None = None
    interval_ms: Interval | None = None


class Moved(Struct, frozen=True, kw_only=True):
    """A v2 portfolio that follows another strategy than declared. No call can change that, so nothing is done.

    It may be paused like any other, and that is a change. But it is not resumed, and it counts as different from what
    is declared as long as it follows the other strategy. ``status`` is its live state.
    """

    id: SavedPortfolioId
    state: RunState
    status: Status
    declared: StrategyName
    live: StrategyName
    name: str | None = None
    owner: str | None = None
    source: Origin | None = None


class Overdue(Struct, frozen=True, kw_only=True):
    """An active portfolio that should have run and did not; a plan may change it, too.

    ``due_ms`` is when it should have run, and ``overdue_ms`` for how long it has been late, by the service's clock.
    """

    id: SavedPortfolioId
    overdue_ms: Milliseconds
    due_ms: Moment = field(name="due_at")
    name: str | None = None
    owner: str | None = None
    source: Origin | None = None


class Unchanged(Struct, frozen=True, kw_only=True):
    """Nothing to do. The schedule of a paused portfolio may differ: it is written with the resume, never before."""

    unverified: bool = False


Decision = Change | Held | Halted | Blocked | Moved | Unchanged


class Guarded(StrEnum):
    """What a guard counts: changes of a verb, or portfolios that faster cadences reach, paused ones included."""

    START = "start"
    RESUME = "resume"
    UPDATE = "update"
    PAUSE = "pause"
    REACH = "reach"
    INCOMPLETE = "incomplete"
    """Portfolios and strategies that no live file holds: of these, what would have to be done is not known."""


UNKNOWN: Final = "unknown"
"""What ``--allow`` takes instead of a number that is not known."""
Allowed = int | Literal["unknown"]
"""What a person allowed by ``--allow``."""


class Excess(Struct, frozen=True, kw_only=True):
    """One guard that a plan exceeds; ``limit`` is the limit as written.

    ``planned`` is ``None`` if the number is not known, which exceeds any limit.
    """

    guarded: Guarded = field(name="verb")
    planned: Count | None
    allowed: Count
    limit: str

    def __str__(self) -> str:
        """Return a sentence that ends in the flag which allows this number."""
        return f"{self.fact}; after reading the plan, allow it with {self.flag}"

    @property
    def fact(self) -> str:
        """What is over which limit."""
        if self.guarded is Guarded.INCOMPLETE:
            were = (
                "1 portfolio or strategy was" if self.planned == 1 else f"{self.planned} portfolios or strategies were"
            )
            return f"the plan is incomplete: {were} not read"
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
    """Runs and costs of the selected portfolios with a declared cost, in US dollars in 30 days.

    For ``portfolios_known`` of the ``portfolios``, the interval is known before and after; only these are added up.
    """

    before_usd_month: Amount
    after_usd_month: Amount
    before_runs_day: Amount
    after_runs_day: Amount
    portfolios_known: Count
    portfolios: Count


class Worst(Struct, frozen=True, kw_only=True):
    """The minute in which most portfolios run, the first where there are several, and who they are, sorted."""

    at_ms: Moment = field(name="at")
    count: Count
    ids: tuple[SavedPortfolioId, ...]


class Load(Struct, frozen=True, kw_only=True):
    """The runs from one moment to another, by hours of the clock, of which first and last may be parts.

    ``runs_day`` is of all whose interval is known.

    ``portfolios`` are those that run. The next run of ``unknown`` of them is not known, so they are in no hour and no
    minute; of ``once`` of them only the next run is known.
    """

    from_ms: Moment = field(name="from")
    to_ms: Moment = field(name="to")
    hours: tuple[Count, ...]
    runs_day: Amount
    worst: Worst | None
    portfolios: Count
    unknown: Count
    once: Count


class ShareCount(Struct, frozen=True, kw_only=True):
    """Which shares of a fleet a plan was made from: all ``of`` shares of a round but the ``missing`` ones."""

    round: str
    of: Count
    missing: tuple[Count, ...] = ()


class LoadChange(Struct, frozen=True, kw_only=True):
    """The load of the selected portfolios before and after a plan."""

    before: Load
    after: Load


class LiveSummary(Struct, frozen=True, kw_only=True):
    """What was live when a plan was made: how many selected portfolios were in each state, and the runs a day of those
    that run and whose interval is known."""

    states: dict[Status, Count]
    runs_day: Amount


class StrategySummary(Struct, frozen=True, kw_only=True):
    """Counts of strategies."""

    update: int
    no_op: int
    blocked: int
    frozen: int


class Summary(Struct, frozen=True, kw_only=True):
    """Counts of portfolios, and separately of ``strategies``. Those in ``unverified``, ``overdue`` and ``frozen``
    are counted elsewhere, too."""

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
    overdue: int
    halted: int
    frozen: int
    strategies: StrategySummary


class Plan(Struct, frozen=True, kw_only=True):
    """What an apply will do. Every tuple is sorted by id; a strategy's is ``strategies/ID``.

    ``base_url`` names the service that was read, and ``account`` whom the key belonged to, if that was known.
    ``created_ms`` is when it was made. ``no_op``, ``unverified`` and ``strategies_no_op`` are counts, because nobody
    needs more than the number of what stays as it is.
    ``as_of_ms`` is ``None`` if live was read for this plan. If the plan comes from live files, it is when the oldest of
    them was read, and ``shares`` says which ones these are.
    """

    created_ms: Moment = field(name="created_at")
    as_of_ms: Moment | None = field(default=None, name="as_of")
    shares: ShareCount | None = None
    base_url: str
    account: str | None = None
    config_digest: str = ""
    config_files: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    over: tuple[Excess, ...] = field(default=(), name="guards")
    """The guards that the plan exceeds. Nothing of it is applied before a person has allowed each of these numbers."""
    warnings: tuple[Diagnostic, ...] = ()
    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    moved: tuple[Moved, ...] = ()
    """Portfolios that follow another strategy than declared, without those that this plan pauses or that are blocked.
    They are not counted in ``no_op``."""
    halted: tuple[Halted, ...] = ()
    """What a halt keeps as it is. It is counted nowhere else."""
    overdue: tuple[Overdue, ...] = ()
    """Portfolios that should have run and did not. They are counted elsewhere, too."""
    unmanaged: tuple[Unmanaged, ...] = ()
    """What the service lists but no file declares. Unless ``listing`` is complete it is empty, which proves nothing."""
    listing: Listing = Listing.NONE
    journal: JournalState = JournalState.IN_USE
    no_op: int = 0
    unverified: int = 0
    strategies_no_op: int = 0
    cost: PlanCost | None = None
    """``None`` if no selected portfolio declares what a run costs."""
    live: LiveSummary | None = None
    """``None`` in a plan of a version that did not tell."""
    load: LoadChange | None = None
    """The load of the selected portfolios in 24 hours, before and after. ``None`` if nothing changes."""

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
        return len(self.portfolios) + found.held + found.halted + found.blocked + found.moved + found.no_op

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
            overdue=len(self.overdue),
            halted=sum(strategy_of(one.id) is None for one in self.halted),
            frozen=sum(change.frozen is not None for change in self.portfolios),
            strategies=StrategySummary(
                update=len(self.changes) - verbs.total(),
                no_op=self.strategies_no_op,
                blocked=blocked_strategies,
                frozen=sum(change.frozen is not None for change in self.cadences),
            ),
        )


def write_stages(changes: tuple[Change, ...]) -> tuple[tuple[Change, ...], ...]:
    """Return the changes in stages, which must be carried out one after the other. Inside a stage they are sorted by
    id, and may be carried out in any order.

    The stages are pauses, lengthened intervals, other schedule updates, shortened intervals, resumes, starts. So an
    apply that dies midway leaves less trading than before or after, never more. Cadences go with the intervals, before
    every resume (API facts §5.3).
    """
    stages: dict[int, list[Change]] = {}
    for change in sorted(changes, key=lambda change: change.id):
        stages.setdefault(_stage(change), []).append(change)
    return tuple(tuple(stages[rank]) for rank in sorted(stages))


class Wave(Struct, frozen=True, kw_only=True):
    """Changes that may be carried out at once, sorted by id. Unless each canary is done, no later wave begins."""

    changes: tuple[Change, ...]
    is_canary: bool = False


def write_waves(changes: tuple[Change, ...], *, canary: int) -> tuple[Wave, ...]:
    """Return the stages as waves: ``canary`` changes of each go first, then the others.

    What waited for a freeze when the plan was made is a canary only where there are too few others.
    """
    stages = (tuple(sorted(stage, key=lambda one: one.frozen is not None)) for stage in write_stages(changes))
    waves = [
        wave
        for stage in stages
        for wave in (Wave(changes=stage[:canary], is_canary=True), Wave(changes=stage[canary:]))
    ]
    return tuple(wave for wave in waves if wave.changes)


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
    """Return a number that is larger the rarer the runs are. It compares two portfolios, or two strategies."""
    return end.interval_ms if end.cadence is None else end.cadence.rank


def desired_status(state: RunState) -> Status:
    """Return the live status that fulfils a declared state."""
    match state:
        case RunState.ACTIVE:
            return Status.ACTIVE
        case RunState.PAUSED:
            return Status.PAUSED
