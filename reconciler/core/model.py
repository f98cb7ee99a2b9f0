"""The values about a portfolio or strategy: what the files declare, what Glider shows, and what the journal remembers.

In: nothing. Out: values and closed enums that every other module uses. Times are UTC epoch milliseconds. Text of
the service in here is already harmless. Mappings of these values are keyed by id and sorted by it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, NewType

from msgspec import Meta, Struct

from reconciler.core.codec import Amount, AtMs, Count, Interval, Milliseconds, Shown
from reconciler.core.diagnostics import SourceSpan
from reconciler.core.errors import ApiError

PortfolioId = NewType("PortfolioId", str)
"""Glider's id of a portfolio; always matches ``[A-Za-z0-9_-]{1,128}``, so it is safe in a URL path."""
StrategyId = NewType("StrategyId", str)
"""Glider's id of a strategy; it keeps to the same pattern."""
StrategyAddress = NewType("StrategyAddress", str)
"""``strategies/ID``: names a strategy where a portfolio is named by its id alone (plan, journal, flags). No portfolio
id has a slash, so the two can't be confused."""
Address = PortfolioId | StrategyAddress
"""What a change, a result or a write is about: a portfolio by its id, a strategy as ``strategies/ID``."""

_FOLDER: Final = "strategies/"
_ID: Final = r"[A-Za-z0-9_-]{1,128}"
_IS_ID: Final = re.compile(_ID)
SavedPortfolioId = Annotated[PortfolioId, Meta(pattern=rf"\A{_ID}\Z")]
_IS_HALT: Final = re.compile(r"[0-9A-Za-z_-]{1,40}")
HaltId = Annotated[str, Meta(pattern=rf"\A{_IS_HALT.pattern}\Z")]
"""The id of a halt. It stands in the marks of its pauses, and names its file."""
if TYPE_CHECKING:
    SavedAddress = PortfolioId | StrategyAddress
else:  # to msgspec both are one type: a text that keeps to this pattern
    SavedAddress = Annotated[str, Meta(pattern=rf"\A({_FOLDER})?{_ID}\Z")]


def is_id(text: str) -> bool:
    """Whether this can be the id of a portfolio or a strategy. Only such ids may get into a URL."""
    return _IS_ID.fullmatch(text) is not None


def is_halt_id(text: str) -> bool:
    """Whether this can be the id of a halt. Only such ids may name a file."""
    return _IS_HALT.fullmatch(text) is not None


def address_of(strategy: StrategyId) -> StrategyAddress:
    """Return ``strategies/ID``."""
    return StrategyAddress(f"{_FOLDER}{strategy}")


def strategy_of(address: str) -> StrategyId | None:
    """Return the strategy that an address names; ``None`` if it is a portfolio's id, or not an address at all."""
    if not address.startswith(_FOLDER):  # nearly always a portfolio's id, and a plan asks this ten times for each
        return None
    name = address.removeprefix(_FOLDER)
    return StrategyId(name) if is_id(name) else None


class Capabilities(Struct, frozen=True, kw_only=True):
    """What one of Glider's REST APIs can do. The core asks for these and never which version it is.

    ``owns_schedule``: a portfolio has its own interval and offset, can be started, and can get another schedule;
    otherwise its cadence belongs to its strategy. ``keeps_reason``: the reason of a pause is stored and can be read;
    otherwise the time at which the portfolio was due tells one pause from the next. ``lists``: the portfolios can be
    listed. ``lists_runs``: the runs of a portfolio can be listed, so that a run can be found whose answer was lost.
    ``has_scopes``: it is documented what a key may do. ``has_two_paths``: a service may take writes on either of two
    sets of paths.
    """

    owns_schedule: bool = False
    keeps_reason: bool = False
    lists: bool = False
    lists_runs: bool = False
    has_scopes: bool = False
    has_two_paths: bool = False


_NOTHING: Final = Capabilities()


class ApiVersion(StrEnum):
    """Which of Glider's REST APIs manages a portfolio: one of them, never both (API facts §4.9)."""

    can: Capabilities

    def __new__(cls, word: str, can: Capabilities = _NOTHING) -> ApiVersion:
        """Make a member. The default exists only for type checkers, which take ``ApiVersion("v1")`` for this call."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.can = can
        return member

    V1 = "v1", Capabilities(owns_schedule=True, keeps_reason=True, lists_runs=True, has_two_paths=True)
    V2 = "v2", Capabilities(lists=True, has_scopes=True)


class Paths(StrEnum):
    """Which v1 path family to call (API facts §4.1); ``auto`` begins with the reference and may fall back once."""

    AUTO = "auto"
    REFERENCE = "reference"
    GUIDE = "guide"


class RunState(StrEnum):
    """The states that a file may declare."""

    ACTIVE = "active"
    PAUSED = "paused"


class Verb(StrEnum):
    """The action of a change, in the order in which people should read them: first those that make trades."""

    START = "start"
    RESUME = "resume"
    UPDATE = "update"
    PAUSE = "pause"


class Cadence(StrEnum):
    """How often a strategy's portfolios run, the most frequent first (API facts §6); all that can be asked for."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @property
    def rank(self) -> int:
        """The place among all cadences, 0 for the most frequent: not all of them have documented milliseconds."""
        return list(Cadence).index(self)

    @property
    def runs_a_day(self) -> float:
        """How often a portfolio runs in 24 hours; a month is taken as 30 days."""
        return {Cadence.HOURLY: 24.0, Cadence.DAILY: 1.0, Cadence.WEEKLY: 1 / 7, Cadence.MONTHLY: 1 / 30}[self]


class Silence(Struct, frozen=True):
    """A rule of advice (:class:`~reconciler.core.advice.Rule`) that must not be reported, and why.

    ``address`` and ``span`` say where that is declared. A silence in defaults or a group holds for all portfolios that
    inherit from it.
    """

    rule: str
    reason: str
    address: str
    span: SourceSpan


class Layered(Struct, frozen=True):
    """A line in ``defaults`` or a group (``layer``) that holds for all portfolios below; it counts from 1."""

    layer: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.layer}, {self.file}:{self.line}"


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where a portfolio or strategy is declared; the line counts from 1.

    ``schedule`` is where its interval stands, where that is not declared there, too.
    """

    file: str
    line: int
    schedule: Layered | None = None


class AtStart(Struct, frozen=True, kw_only=True):
    """What a start sends besides the schedule. Files, plans and the journal use the same names for it."""

    run_on_start: bool = False
    """``runRebalanceImmediately``."""


def at_start(holder: AtStart) -> dict[str, Any]:
    """Return the values of ``holder`` that a start sends, by name."""
    return {name: getattr(holder, name) for name in AtStart.__struct_fields__}


class Desired(AtStart, frozen=True, kw_only=True):
    """One portfolio as declared, with the values that it inherits from defaults and its group.

    ``interval_ms`` or ``offset_ms`` is ``None`` if it is not declared, which means not managed. On v2 both always are
    ``None``, because the cadence belongs to the strategy. ``reason`` is sent with pause and resume if the API takes one
    (v1). ``strategy`` is the one that a v2 portfolio should be enrolled in: it is compared and never sent; ``None``
    means that any is fine. ``until`` is an ISO date after which people are warned; it never resumes anything.
    """

    id: PortfolioId
    state: RunState
    api: ApiVersion = ApiVersion.V1
    strategy: StrategyId | None = None
    interval_ms: int | None = None
    offset_ms: int | None = None
    auto_offset: bool = False
    """Whether ``offset_ms`` was made of the id, because the files say ``auto``."""
    name: str | None = None
    group: str | None = None
    chain: str | None = None
    reason: str | None = None
    owner: str | None = None
    labels: dict[str, str] = {}
    """Sorted by key."""
    until: str | None = None
    hold_override: bool = False
    """``hold: override`` is declared: resume it although somebody else paused it."""
    per_rebalance_usd: float | None = None
    """What one run costs, as declared: Glider publishes no price."""
    warn_above_usd_month: float | None = None
    silences: tuple[Silence, ...] = ()
    """The rules of advice that must not be reported; at most one entry for each rule."""
    origin: Origin | None = None


class StrategyDesired(Struct, frozen=True, kw_only=True):
    """One strategy as declared. ``name`` is a label for people; never sent."""

    id: StrategyId
    schedule: Cadence
    name: str | None = None
    origin: Origin | None = None


class Status(StrEnum):
    """The status of a portfolio (API facts §3.1, §3.2). Any word of the service that is not in here is ``UNKNOWN``, and
    blocks."""

    ACTIVE = "active"
    PAUSED = "paused"
    INACTIVE = "inactive"
    ARCHIVED = "archived"
    ERROR = "error"
    UNKNOWN = "unknown"
    """A word that is not documented, or an answer that contradicts itself."""
    NO_SCHEDULE = "no_schedule"
    """A v2 portfolio without a schedule row: nothing can be started or stopped."""
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    """The read failed; ``Live.failure`` says how."""
    NOT_READ = "not_read"
    """Nobody read it: the plan is made from a live file that lacks it (:mod:`reconciler.core.livefile`)."""

    @property
    def was_seen(self) -> bool:
        """Whether a read found the portfolio, so that something is known about it."""
        return self not in (Status.NOT_FOUND, Status.UNREADABLE, Status.NOT_READ)


class Signs(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What good practice is judged by, as far as an answer carried it: what a portfolio holds in US dollars, the drift
    in percent at which its template trades, and the units of gas that its last run used."""

    value_usd: Amount | None = None
    trigger_percent: Amount | None = None
    gas_used: Count | None = None


class Live(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One portfolio as read.

    ``word`` is the status as the service spelled it. ``interval_ms`` and ``offset_ms`` are set only when the
    answer carried them, which v1 does not document (API facts §4.3). ``scheduled_ms`` holds the ``scheduledAt`` of
    recent runs, newest first; on v2 only the last rebalance. ``name``, ``strategy`` (its id) and ``strategy_name``
    are read on v2 only.

    ``schedule_id`` tells one schedule from the next. v2 has no such id. There, while a portfolio is paused, the time at
    which it was last due is used instead: every resume moves it (API facts §1.3), so it tells one pause from the next.
    """

    id: SavedPortfolioId
    status: Status
    word: Shown = ""
    interval_ms: Interval | None = None
    offset_ms: Milliseconds | None = None
    schedule_id: Shown | None = None
    pause_reason: Shown | None = None
    next_run_ms: AtMs | None = None
    scheduled_ms: tuple[AtMs, ...] = ()
    runs: Count | None = None
    name: Shown | None = None
    strategy: Shown | None = None
    strategy_name: Shown | None = None
    signs: Signs | None = None
    """``None`` where the answer carried none, as v1 documents it."""
    failure: ApiError | None = None


class StrategyStatus(StrEnum):
    """What is known of a strategy. Only one that was ``FOUND`` has a cadence."""

    FOUND = "found"
    UNKNOWN = "unknown"
    """It is there, but its schedule is null, absent or a word that is not documented (API facts §4.7)."""
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    """The read failed; ``StrategyLive.failure`` says how."""
    NOT_READ = "not_read"
    """Nobody read it: the plan is made from a live file that lacks it."""


class StrategyLive(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One strategy as read. ``cadence`` is set exactly when it was ``FOUND``.

    ``word`` is what the answer had instead of a documented cadence; ``""`` if it had nothing.
    """

    id: Annotated[StrategyId, Meta(pattern=rf"\A{_ID}\Z")]
    status: StrategyStatus
    cadence: Cadence | None = None
    word: Shown = ""
    failure: ApiError | None = None


class Record(Struct, frozen=True, kw_only=True):
    """What the service confirmed at our last write to a portfolio, as the journal remembers it.

    It is a memory, not an observation. ``interval_ms`` and ``offset_ms`` are ``None`` if no answer of the service ever
    confirmed them. ``confirmed_ms`` is when that was.
    """

    state: RunState
    interval_ms: Interval | None
    offset_ms: Milliseconds | None
    schedule_id: Shown | None
    confirmed_ms: AtMs
    marked: bool = False
    """Whether the service showed our mark in the pause reason afterwards; see :mod:`reconciler.core.evidence`."""
    pause_reason: str | None = None
    """The reason of our own pause as the service showed it, if the service had changed the mark in it."""
    imported: str | None = None
    """Set if the record comes from another journal's export: the token of our pause that it tells of, or empty if it
    tells of none. Such a record counts only if live shows that token, or the record's schedule id."""


class Provenance(StrEnum):
    """How well a live value is known."""

    READ = "read"
    RECORDED = "recorded"
    OBSERVED = "observed"
    NONE = "none"


class Verdict(StrEnum):
    """How the live value of a managed field compares with the declared one."""

    SAME = "same"
    DIFFERENT = "different"
    UNVERIFIED = "unverified"


class Unverified(StrEnum):
    """What to do about a field whose live value is not known."""

    WRITE = "write"
    SKIP = "skip"
    FAIL = "fail"


class PausedBy(StrEnum):
    """Whose pause it is."""

    US = "us"
    OTHERS = "others"
    UNKNOWN = "unknown"
    """Nothing shows whose pause it is: the service keeps no reason, and our journal has no record of this pause."""
