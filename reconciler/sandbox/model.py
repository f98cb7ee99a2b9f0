"""One simulated portfolio as a value, and how time and runs change it.

Pure: in a :class:`Portfolio` and a time, out another :class:`Portfolio`. Times are UTC epoch milliseconds on the
simulator's clock. Knows neither HTTP nor SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.sandbox.runs import Course

if TYPE_CHECKING:
    from reconciler.sandbox.grid import Grid

RUNS_KEPT: Final = 20
"""So many of the newest runs are remembered one by one; older ones only count."""


class AutomationState(StrEnum):
    """What a portfolio is doing; the words of the service (API facts §3.1)."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"
    ERROR = "error"


class Code(StrEnum):
    """The error codes this simulator answers with (API facts §2.4 and §6)."""

    UNKNOWN_ERROR = "API_000"
    INVALID_REQUEST = "API_002"
    METHOD_NOT_ALLOWED = "API_003"
    RATE_LIMITED = "API_004"
    NOT_FOUND = "API_006"
    KEY_MISSING = "API_101"
    KEY_INVALID = "API_102"
    KEY_EXPIRED = "API_103"
    PERMISSION_DENIED = "API_104"
    TENANT_NOT_FOUND = "API_105"
    PORTFOLIO_NOT_FOUND = "API_200"
    ALREADY_EXISTS = "API_202"
    UPDATE_FAILED = "API_203"
    VALIDATION_FAILED = "API_400"
    REBALANCE_FAILED = "API_600"
    ETH_INTERVAL_TOO_SHORT = "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT"


class Refused(Exception):
    """The service says no: the HTTP status and the error object it answers with. Nothing was changed.

    ``retry_after_s`` is what ``Retry-After`` says, where there is one.
    """

    def __init__(self, status: int, code: Code, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Everything the simulator remembers of one portfolio."""

    id: str
    name: str | None
    chain: str | None
    word: str | None
    """A status word to answer with instead of the true one; ``None`` for the true one."""
    state: AutomationState
    grid: Grid | None
    """The schedule; ``None`` exactly while the state is ``INACTIVE``."""
    schedules: int
    """How many schedules it ever had; the number of the present one."""
    pause_reason: str | None
    paused_ms: int | None
    runs: int
    """How many runs there ever were; the number of the newest one."""
    recent: tuple[int, ...]
    """When the newest runs were scheduled for, newest first, at most :data:`RUNS_KEPT`."""
    settled_ms: int
    """Runs up to here, this moment included, are in ``runs`` and ``recent``."""
    created_ms: int
    updated_ms: int
    courses: tuple[tuple[int, Course], ...] = ()
    """How runs go that do not simply complete, by number, newest first, at most :data:`RUNS_KEPT`."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run; ``number`` counts from 1 for each portfolio."""

    number: int
    scheduled_ms: int
    course: Course = Course.COMPLETED

    @property
    def taken_ms(self) -> int:
        """When it really began: a few milliseconds late, as with any scheduler."""
        return self.scheduled_ms + 3 + self.number % 7


def settle(portfolio: Portfolio, now_ms: int) -> Portfolio:
    """Let the runs happen that were due until ``now_ms``; the very same object when none was."""
    if portfolio.grid is None or portfolio.state is not AutomationState.ACTIVE:
        return portfolio
    count = portfolio.grid.count(after_ms=portfolio.settled_ms, until_ms=now_ms)
    if count == 0:
        return portfolio
    newest = portfolio.grid.newest(after_ms=portfolio.settled_ms, until_ms=now_ms, most=RUNS_KEPT)
    recent = (newest + portfolio.recent)[:RUNS_KEPT]
    return replace(portfolio, runs=portfolio.runs + count, recent=recent, settled_ms=now_ms)


def run_now(portfolio: Portfolio, now_ms: int, course: Course = Course.COMPLETED) -> Portfolio:
    """Add a run at ``now_ms``, off the grid; the portfolio must be settled until then."""
    portfolio = replace(portfolio, runs=portfolio.runs + 1, recent=(now_ms, *portfolio.recent)[:RUNS_KEPT])
    return end_newest(portfolio, course)


def end_newest(portfolio: Portfolio, course: Course) -> Portfolio:
    """Let the newest run go this way; the very same object where it simply completes, or where nothing ever ran."""
    if course is Course.COMPLETED or not portfolio.runs:
        return portfolio
    return replace(portfolio, courses=((portfolio.runs, course), *portfolio.courses)[:RUNS_KEPT])


def next_run(portfolio: Portfolio, now_ms: int) -> int | None:
    """Return when the next run is due, later than ``now_ms``; ``None`` when nothing is scheduled to run."""
    if portfolio.grid is None or portfolio.state is not AutomationState.ACTIVE:
        return None
    return portfolio.grid.next_after(now_ms)


def recent_runs(portfolio: Portfolio, most: int) -> list[Run]:
    """Return the newest ``most`` remembered runs, newest first."""
    courses = dict(portfolio.courses)
    numbered = ((portfolio.runs - index, scheduled) for index, scheduled in enumerate(portfolio.recent[:most]))
    return [Run(number, scheduled, courses.get(number, Course.COMPLETED)) for number, scheduled in numbered]
