"""A schedule that was known is still known after a pause and a resume of ours, though neither of them sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from reconciler.apply.announce import Announcer
from reconciler.apply.journal import open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.journalreads import read_memory
from reconciler.apply.run import Stop
from reconciler.apply.trigger import Order, trigger_all
from reconciler.core.model import ApiVersion, Desired, RunState
from tests.apply.rebalances import Notes
from tests.support import BASE_URL, HOUR_MS, World, portfolio, run

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.model import Record
    from reconciler.sandbox import SandboxApp

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


class Silent(World):
    """A v1 service that keeps no reason with a pause."""

    def forget(self) -> None:
        for name in self.portfolios:
            found = self.store.portfolio(name)
            assert found is not None
            self.store.save(replace(found, pause_reason=None))


def test_a_resume_sets_its_schedule_first_where_no_reason_is_kept(tmp_path: Path) -> None:
    """The journal alone knows whose pause it is, and the schedule that is sent first makes its record void."""
    world = Silent(tmp_path / "journal.db", {A: {"interval": "24h", "started": "1h"}})
    world.converge([Desired(id=A, state=RunState.ACTIVE, interval_ms=24 * HOUR_MS, offset_ms=0)])

    class Forgetful:
        """The service, which forgets the reason of a pause as soon as it is made."""

        def __init__(self, app: SandboxApp) -> None:
            self.app, self.requests = app, app.requests

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)
            world.forget()

    world.app = Forgetful(world.app)  # type: ignore[assignment]  # the same application by its call and its log
    _, report = world.converge([Desired(id=A, state=RunState.PAUSED)])
    assert [result.detail for result in report.results] == [""]
    plan, report = world.converge([Desired(id=A, state=RunState.ACTIVE, interval_ms=12 * HOUR_MS)])
    assert [(change.verb.value, change.reason.value) for change in plan.changes] == [("resume", "paused_by_us")]
    assert [(result.outcome.value, result.detail) for result in report.results] == [("done", "")]
    assert world.calls()[-2:] == ["update-schedule-interval", "resume"]


def test_a_rebalance_keeps_what_its_look_proved(tmp_path: Path) -> None:
    """The run off the grid spoils the points that proved the schedule; what is on record stays as it is."""
    world = World(tmp_path / "journal.db", {A: {"interval": "24h", "started": "10d"}})

    async def rebalance() -> None:
        with open_journal(world.journal, base_url=BASE_URL, now_ms=world.clock.now_ms) as journal:
            journal.open_run(fingerprint="rebalance", tool="test")
            async with world.api() as api:
                with QueuedJournal(journal) as queued:
                    await trigger_all(
                        [Order(portfolio=A, version=ApiVersion.V1)],
                        announcer=Announcer(api=api, journal=queued, clock=world.clock, token=world.token),
                        observer=Notes(),
                        parallelism=1,
                        stop=Stop(),
                    )

    run(rebalance())
    first = recorded(world)
    assert (first.interval_ms, first.offset_ms) == (24 * HOUR_MS, None)
    world.clock.advance(HOUR_MS)
    run(rebalance())
    assert recorded(world) == first
    assert world.plan([Desired(id=A, state=RunState.ACTIVE, interval_ms=24 * HOUR_MS)]).changes == ()
