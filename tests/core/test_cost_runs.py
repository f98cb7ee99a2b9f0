"""Runs a day of everything that a plan changes: portfolios by their intervals, strategies by who is active in them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.cost import PlanRuns, runs_of
from reconciler.core.model import ApiVersion, Cadence, PortfolioId, Status, Verb
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.text import DAY_MS, HOUR_MS, WEEK_MS
from tests.support import cadence_change


def on_v1(verb: Verb, before: int | None, after: int | None) -> Change:
    ends = [Snapshot(state=Status.ACTIVE, interval_ms=interval, offset_ms=None) for interval in (before, after)]
    return Change(
        id=PortfolioId(f"{verb.value}-{before}"),
        verb=verb,
        before=ends[0],
        after=ends[1],
        fields=(),
        reason=ChangeReason.NOT_RUNNING,
    )


def on_v2(verb: Verb, cadence: int | None, strategy: str | None = "S") -> Change:
    return replace(on_v1(verb, None, None), api=ApiVersion.V2, cadence_ms=cadence, strategy=strategy)


def cadence(before: Cadence | None, after: Cadence, running: int | None = 60, strategy: str = "S") -> Change:
    return cadence_change(strategy, before, after, reach=running, running=running)


def plan(*changes: Change) -> Plan:
    empty = build_plan(Plan(base_url="https://api.glider.fi", created_ms=0), {}, {}, Memory())
    return replace(empty, changes=changes)


def runs(before: float, after: float, known: int, unknown: int = 0, strategies: int = 0) -> PlanRuns:
    return PlanRuns(
        before_runs_day=before,
        after_runs_day=after,
        portfolios=known,
        portfolios_unknown=unknown,
        strategies_unknown=strategies,
    )


CASES: dict[str, tuple[list[Any], PlanRuns | None]] = {
    "nothing changes": ([], None),
    "a start": ([on_v1(Verb.START, None, 12 * HOUR_MS)], runs(0, 2, 1)),
    "an update": ([on_v1(Verb.UPDATE, DAY_MS, 12 * HOUR_MS)], runs(1, 2, 1)),
    "an update of what is not known": ([on_v1(Verb.UPDATE, None, DAY_MS)], runs(0, 0, 0, unknown=1)),
    "a pause of what is not known": ([on_v1(Verb.PAUSE, None, None)], runs(0, 0, 0, unknown=1)),
    "a pause on v2": ([on_v2(Verb.PAUSE, HOUR_MS)], runs(24, 0, 1)),
    "a resume on v2": ([on_v2(Verb.RESUME, WEEK_MS)], runs(0, 0.1429, 1)),
    "weekly to hourly": ([cadence(Cadence.WEEKLY, Cadence.HOURLY)], runs(8.5714, 1440, 60)),
    "hourly to monthly": ([cadence(Cadence.HOURLY, Cadence.MONTHLY)], runs(1440, 2, 60)),
    "a cadence that is not known": ([cadence(None, Cadence.DAILY)], runs(0, 0, 0, unknown=60)),
    "nobody could count": ([cadence(Cadence.DAILY, Cadence.HOURLY, None)], runs(0, 0, 0, strategies=1)),
    "nobody runs": ([cadence(Cadence.DAILY, Cadence.HOURLY, 0)], runs(0, 0, 0)),
    "paused with its strategy": (
        [on_v2(Verb.PAUSE, DAY_MS), cadence(Cadence.DAILY, Cadence.HOURLY, 3)],
        runs(3, 48, 3),
    ),
    "resumed into a new cadence": (
        [on_v2(Verb.RESUME, DAY_MS), cadence(Cadence.DAILY, Cadence.HOURLY, 3)],
        runs(3, 96, 4),
    ),
    "paused beside another strategy": (
        [on_v2(Verb.PAUSE, DAY_MS, "T"), cadence(Cadence.DAILY, Cadence.HOURLY, 3)],
        runs(4, 72, 4),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_runs_a_day(case: str) -> None:
    """Every portfolio counts once on each side, and what is not known is on neither."""
    changes, expected = CASES[case]
    assert runs_of(plan(*changes)) == expected
