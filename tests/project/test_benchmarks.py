"""The benchmarks measure what they claim to: their fleets are sound, and the same each time."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

from benchmarks.fleet import NOW_MS, members, status_answer, write_files
from benchmarks.stages import STAGES, measure
from reconciler.api.v1 import live_of
from reconciler.config.load import load_configuration
from reconciler.core.model import PortfolioId
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 2_000


def test_fleets_are_the_same_each_time(tmp_path: Path) -> None:
    """One seed gives one fleet: the same files and answers, and no id twice."""
    first, second = (write_files(tmp_path / name, 50, seed=7) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    fleet = list(members(COUNT, seed=7))
    assert len({member.id for member in fleet}) == COUNT
    assert fleet == list(members(COUNT, seed=7))
    assert fleet != list(members(COUNT, seed=8))


def test_a_fleet_shows_everything_a_plan_can_say(tmp_path: Path) -> None:
    """A fleet is valid, mostly as declared, and holds some of every change; nothing of it is blocked."""
    write_files(tmp_path, COUNT, seed=1)
    today = dt.date(2026, 11, 22)
    configuration = load_configuration([str(tmp_path)], stdin=lambda: b"", today=today, cwd=tmp_path)
    live = {
        (portfolio := PortfolioId(member.id)): live_of(portfolio, json.loads(status_answer(member)))
        for member in members(COUNT, seed=1)
    }
    assert live.keys() == configuration.desired.keys()
    summary = build_plan(
        Plan(base_url="https://x.invalid", created_ms=NOW_MS), configuration.desired, live, Memory()
    ).summary
    assert summary.no_op > COUNT * 0.8
    assert min(summary.start, summary.resume, summary.update, summary.pause, summary.held) > 0
    assert summary.blocked == 0


def test_every_stage_is_measured(tmp_path: Path) -> None:
    """The measure of stages gives a time for each of them, and a peak of memory."""
    write_files(tmp_path, 20, seed=1)
    found = measure(tmp_path, 20, 1)
    assert found.keys() == {*STAGES, "peak_kib"}
    assert found["peak_kib"] > 0
