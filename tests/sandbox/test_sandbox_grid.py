"""The grid of runs: arithmetic against counting, and the laws of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.sandbox.model import AutomationState
from reconciler.sandbox.plant import plant
from reconciler.sandbox.portfolio import RUNS_KEPT, Grid
from reconciler.sandbox.seed import SeedPortfolio

HOUR = 3_600_000
NOW = 1_795_000_000_000


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any schedule that the service accepts."""
    interval = draw(st.integers(HOUR, 365 * 24 * HOUR))
    return Grid(anchor_ms=NOW, interval_ms=interval, offset_ms=draw(st.integers(0, interval - 1)))


@given(grids(), st.integers(-(10**12), 10**12))
def test_next_is_later_and_on_the_grid(grid: Grid, moment: int) -> None:
    """The next run lies after the moment and after the anchor, on the grid, less than an interval away once begun."""
    following = grid.next_after(NOW + moment)
    assert following > max(NOW + moment, grid.anchor_ms)
    assert (following - grid.anchor_ms - grid.offset_ms) % grid.interval_ms == 0
    assert following - max(NOW + moment, grid.anchor_ms) <= grid.interval_ms


@given(grids(), st.integers(0, 10**10), st.integers(0, 40))
def test_counting_agrees_with_walking(grid: Grid, after: int, steps: int) -> None:
    """Arithmetic finds the very points that one finds by going from run to run."""
    walked = []
    point = NOW + after
    for _ in range(steps):
        point = grid.next_after(point)
        walked.append(point)
    assert grid.count(after_ms=NOW + after, until_ms=point) == steps
    newest = grid.newest(after_ms=NOW + after, until_ms=point, most=RUNS_KEPT)
    assert newest == tuple(reversed(walked))[:RUNS_KEPT]


def planted(*, interval_ms: int = HOUR, offset_ms: int = 0) -> SeedPortfolio:
    """An active portfolio of a seed, started as it is loaded."""
    return SeedPortfolio(id="p", state=AutomationState.ACTIVE, interval_ms=interval_ms, offset_ms=offset_ms, age_ms=0)


@given(st.integers(HOUR, 50 * HOUR), st.integers(0, 10**11), st.integers(0, 10**11))
def test_time_may_pass_in_steps(interval: int, first: int, second: int) -> None:
    """Two steps of time make the same portfolio as one, apart from when it was last looked at."""
    new = plant(planted(interval_ms=interval, offset_ms=interval // 3), NOW)
    stepwise = new.settle(NOW + first).settle(NOW + first + second)
    at_once = new.settle(NOW + first + second)
    assert (stepwise.runs, stepwise.recent) == (at_once.runs, at_once.recent)
    assert stepwise.next_run(NOW + first + second) == at_once.next_run(NOW + first + second)


def test_a_century_of_hourly_runs_is_arithmetic() -> None:
    """The number of runs does not matter to the cost; the newest are remembered one by one."""
    old = plant(planted(), NOW).settle(NOW + 876_000 * HOUR)
    assert old.runs == 876_000
    assert [run.at_ms for run in old.recent] == [NOW + (876_000 - index) * HOUR for index in range(RUNS_KEPT)]


def test_a_start_is_not_a_run() -> None:
    """With no offset the first run is one interval after the start, with one it is at the offset."""
    assert Grid(anchor_ms=0, interval_ms=HOUR, offset_ms=0).next_after(0) == HOUR
    assert Grid(anchor_ms=0, interval_ms=HOUR, offset_ms=5).next_after(0) == 5
