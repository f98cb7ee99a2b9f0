"""One v1 portfolio as a value, and how time and the calls of v1 change it.

Pure: each method takes the time and returns the changed portfolio (the same object if nothing changes), or raises
:class:`~reconciler.sandbox.model.Refused`. The portfolio must have been settled until ``now_ms``. Times are UTC epoch
milliseconds on the simulator's clock. The service documents hardly any refusal (API facts §3.1), so the simulator
rather refuses, and docs/sandbox.md lists every choice.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.codec import Count, Interval, Milliseconds
from reconciler.core.guards import ETHEREUM_MIN_INTERVAL_MS, MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.text import HOUR_MS, format_duration
from reconciler.sandbox.model import (
    AutomationState,
    Calendar,
    Code,
    Course,
    PastRun,
    Refused,
    TimeMs,
    invalid,
    too_short_for_ethereum,
)

RUNS_KEPT: Final = 20
"""How many of the newest runs are kept one by one; older ones are only counted."""
MAINNET: Final = "ethereum"
DEFAULT_INTERVAL_MS: Final = 6 * HOUR_MS
"""What a start without a usable interval gets (API facts §6)."""
DEFAULT_VALUE_USD: Final = 10_000.0
DEFAULT_GAS: Final = 125_000
"""Units of gas of one run, as in the reference's example (API facts §1.2)."""


class Grid(Struct, frozen=True, kw_only=True):
    """When a schedule runs: at ``anchor + offset + k * interval`` for k = 0, 1, 2 and so on, later than the anchor.

    The anchor is the moment the schedule was started. The service says only "from the start time" (API facts §4.5);
    this simulator takes that as the start of the schedule. Everything is computed, not counted, so a year of hourly
    runs costs as much as one run. Raises ``ValueError`` unless ``0 <= offset < interval``.
    """

    anchor_ms: TimeMs
    interval_ms: Interval
    offset_ms: Milliseconds

    def __post_init__(self) -> None:
        """Refuse an offset that no schedule can have."""
        if not 0 <= self.offset_ms < self.interval_ms:
            raise ValueError("an offset that is not below its interval")

    def next_after(self, moment_ms: int) -> int:
        """Return the first point later than ``moment_ms``."""
        base = self.anchor_ms + self.offset_ms
        moment = max(moment_ms, self.anchor_ms)
        if moment < base:
            return base
        return base + ((moment - base) // self.interval_ms + 1) * self.interval_ms

    def count(self, *, after_ms: int, until_ms: int) -> int:
        """Return how many points lie later than ``after_ms`` and not later than ``until_ms``."""
        first = self.next_after(after_ms)
        return (until_ms - first) // self.interval_ms + 1 if first <= until_ms else 0

    def newest(self, *, after_ms: int, until_ms: int, most: int) -> tuple[int, ...]:
        """Return the last ``most`` of the points that :meth:`count` counts, newest first."""
        count = self.count(after_ms=after_ms, until_ms=until_ms)
        last = self.next_after(after_ms) + (count - 1) * self.interval_ms
        return tuple(last - index * self.interval_ms for index in range(min(count, most)))


class Portfolio(Struct, frozen=True, kw_only=True):
    """Everything the simulator remembers of one portfolio of v1."""

    id: str
    name: str | None
    chain: str | None
    word: str | None
    """A status word for the answers; ``None`` means the true one."""
    state: AutomationState
    grid: Grid | None
    """The schedule; ``None`` exactly while the state is ``INACTIVE``."""
    schedules: Count
    """How many schedules it has had; also the number of the present one."""
    pause_reason: str | None
    paused_ms: TimeMs | None
    runs: Count
    """How many runs there have been; also the number of the newest one."""
    recent: tuple[PastRun, ...]
    """The newest runs, newest first, at most :data:`RUNS_KEPT`; the first has the number ``runs``."""
    settled_ms: TimeMs
    """Runs up to and including this moment are in ``runs`` and ``recent``."""
    created_ms: TimeMs
    updated_ms: TimeMs
    threshold: float | None = None
    """The trading settings of its template: a drift in percent, or a ``calendar``. Without both it has no template."""
    calendar: Calendar | None = None
    value_usd: float = DEFAULT_VALUE_USD
    """What it holds."""
    gas_used: Count = DEFAULT_GAS
    """Units of gas that each of its runs takes."""
    stalled_ms: TimeMs | None = None
    """Since when no run begins although it is active; a resume or another schedule ends that. ``None`` for never."""

    def __post_init__(self) -> None:
        """Refuse a schedule that does not fit the state, which only a file can have that was tampered with."""
        if (self.grid is None) != (self.state is AutomationState.INACTIVE):
            raise ValueError(f"portfolio {self.id} has a schedule that does not fit its state")

    @property
    def schedule(self) -> Grid:
        """The schedule of a portfolio whose state says that it has one."""
        if self.grid is None:
            raise AssertionError(f"{self.id} is {self.state} without a schedule: a fault of the simulator")
        return self.grid

    @property
    def numbered(self) -> list[tuple[int, PastRun]]:
        """The remembered runs with their numbers, newest first."""
        return [(self.runs - index, run) for index, run in enumerate(self.recent)]

    def settle(self, now_ms: int) -> Portfolio:
        """Let the runs happen that were due until ``now_ms``."""
        if self.grid is None or self.state is not AutomationState.ACTIVE:
            return self
        until_ms = self._awake_until(now_ms)
        count = self.grid.count(after_ms=self.settled_ms, until_ms=until_ms)
        if count <= 0:
            return self
        newest = self.grid.newest(after_ms=self.settled_ms, until_ms=until_ms, most=RUNS_KEPT)
        recent = (*map(PastRun, newest), *self.recent)[:RUNS_KEPT]
        return replace(self, runs=self.runs + count, recent=recent, settled_ms=now_ms)

    def next_run(self, now_ms: int) -> int | None:
        """Return when the next run is due, later than ``now_ms`` unless it is stalled; ``None`` when none is."""
        if self.grid is None or self.state is not AutomationState.ACTIVE:
            return None
        return self.grid.next_after(self._awake_until(now_ms))

    def _awake_until(self, now_ms: int) -> int:
        return now_ms if self.stalled_ms is None else min(now_ms, self.stalled_ms)

    def ended(self, course: Course) -> Portfolio:
        """Return the portfolio with another end of its newest run, if it ever ran."""
        if not self.recent or course is self.recent[0].course:
            return self
        return replace(self, recent=(replace(self.recent[0], course=course), *self.recent[1:]))

    def start(
        self,
        now_ms: int,
        *,
        interval_ms: int,
        offset_ms: int,
        automatic: bool,
        immediately: bool,
        course: Course = Course.COMPLETED,
    ) -> Portfolio:
        """Make a schedule anchored at ``now_ms``; with ``automatic`` false make none (manual-only).

        ``course`` is how an immediate run goes.
        """
        if self.state in (AutomationState.ACTIVE, AutomationState.PAUSED):
            raise Refused(409, Code.ALREADY_EXISTS, f"Automation already exists and is {self.state}")
        self._require("started", AutomationState.INACTIVE)
        started = self
        if automatic:
            check_schedule(interval_ms=interval_ms, offset_ms=offset_ms, chain=self.chain)
            started = replace(
                self,
                state=AutomationState.ACTIVE,
                grid=Grid(anchor_ms=now_ms, interval_ms=interval_ms, offset_ms=offset_ms),
                schedules=self.schedules + 1,
                settled_ms=now_ms,
                updated_ms=now_ms,
            )
        return _run(started, now_ms, course) if immediately else started

    def pause(self, now_ms: int, *, reason: str | None) -> Portfolio:
        """Stop the schedule; a second pause changes nothing and keeps the first reason."""
        if self.state is AutomationState.PAUSED:
            return self
        self._require("paused", AutomationState.ACTIVE)
        text = f"Paused via API: {reason}" if reason else "Paused via API"
        return replace(self, state=AutomationState.PAUSED, pause_reason=text, paused_ms=now_ms, updated_ms=now_ms)

    def resume(self, now_ms: int) -> Portfolio:
        """Let the schedule go on at its old times; runs that were due during the pause are lost."""
        if self.state is AutomationState.ACTIVE:
            return self
        self._require("resumed", AutomationState.PAUSED)
        active = AutomationState.ACTIVE
        again = replace(self, state=active, pause_reason=None, paused_ms=None, stalled_ms=None)
        return replace(again, settled_ms=now_ms, updated_ms=now_ms)

    def update(self, now_ms: int, *, interval_ms: int, offset_ms: int, accept_while_paused: bool) -> Portfolio:
        """Set interval and offset; the grid keeps its anchor, and past runs stay."""
        paused = (AutomationState.PAUSED,) if accept_while_paused else ()
        self._require("given another interval", AutomationState.ACTIVE, *paused)
        check_schedule(interval_ms=interval_ms, offset_ms=offset_ms, chain=self.chain)
        grid = replace(self.schedule, interval_ms=interval_ms, offset_ms=offset_ms)
        return replace(self, grid=grid, stalled_ms=None, settled_ms=now_ms, updated_ms=now_ms)

    def trigger(self, now_ms: int, *, skip_validation: bool, course: Course = Course.COMPLETED) -> Portfolio:
        """Run once now, off the grid; without an active schedule only with ``skip_validation`` (API facts §1.1)."""
        unscheduled = (AutomationState.INACTIVE, AutomationState.PAUSED) if skip_validation else ()
        self._require("triggered", AutomationState.ACTIVE, *unscheduled)
        return _run(self, now_ms, course)

    def _require(self, done: str, *states: AutomationState) -> None:
        if self.state not in states:
            raise Refused(400, Code.UPDATE_FAILED, f"Automation is {self.state} and can't be {done}")


def _run(portfolio: Portfolio, now_ms: int, course: Course) -> Portfolio:
    recent = (PastRun(now_ms, course), *portfolio.recent)[:RUNS_KEPT]
    return replace(portfolio, runs=portfolio.runs + 1, recent=recent)


def check_schedule(*, interval_ms: int, offset_ms: int, chain: str | None) -> None:
    """Raise :class:`Refused` (400) for an interval or offset outside the limits of API facts §6."""
    if not MIN_INTERVAL_MS <= interval_ms <= MAX_INTERVAL_MS:
        raise invalid("interval.every must be between 3600000 (1 hour) and 1 year")
    if chain == MAINNET and interval_ms < ETHEREUM_MIN_INTERVAL_MS:
        raise too_short_for_ethereum(format_duration(interval_ms))
    if not 0 <= offset_ms < interval_ms:
        raise invalid("interval.offset must not be negative and must be below interval.every")
