"""What is decided about one portfolio or strategy: a change, or why there is none.

In: nothing. Out: :class:`Change`, and the other kinds of :data:`Decision`, for portfolios and strategies alike. Every
change holds what was observed (``before``) and what is wanted (``after``), so that an apply can tell whether it still
fits.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from reconciler.core.codec import Count, Interval, Milliseconds, Moment
from reconciler.core.errors import FailureKind
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
from reconciler.core.text import moment


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
    """When a freeze holds, and its name. The moment at which it begins belongs to it, the one at which it ends does
    not."""

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
        """Why a change waits, and what lets it through."""
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


def desired_status(state: RunState) -> Status:
    """Return the live status that fulfils a declared state."""
    match state:
        case RunState.ACTIVE:
            return Status.ACTIVE
        case RunState.PAUSED:
            return Status.PAUSED
