"""A schedule that was known is still known after a pause and a resume of ours, though neither of them sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.apply.journal import read_memory
from reconciler.core.desired import Desired, RunState
from tests.support import BASE_URL, HOUR_MS, World, portfolio

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.live import Record

A = portfolio("a")


def recorded(world: World) -> Record:
    return read_memory(world.journal, base_url=BASE_URL, now_ms=world.clock.now_ms()).records[A]


def test_pause_and_resume_keep_the_recorded_schedule(tmp_path: Path) -> None:
    world = World(tmp_path / "journal.db", {A: {"interval": "12h", "started": "1h"}})
    runs = Desired(id=A, state=RunState.ACTIVE, interval_ms=24 * HOUR_MS, offset_ms=HOUR_MS)
    world.converge([runs])
    known = recorded(world)
    assert (known.interval_ms, known.offset_ms) == (24 * HOUR_MS, HOUR_MS)
    for state, call in ((RunState.PAUSED, "pause"), (RunState.ACTIVE, "resume")):
        plan, report = world.converge([Desired(id=A, state=state)])
        assert [change.verb.value for change in plan.changes] == [call]
        assert [result.outcome.value for result in report.results] == ["done"]
        kept = recorded(world)
        assert (kept.state, kept.interval_ms, kept.offset_ms) == (state, 24 * HOUR_MS, HOUR_MS)
    assert world.plan([runs]).changes == ()
