"""What is overdue, over random histories of the sandbox's clock: no false alarm, and none missed beyond its limit.

A history waits, lets portfolios stall, edits them by hand, and applies what we declare. After every step, what we make
of a read is compared with what the sandbox knows. `RECONCILER_HISTORIES=20000` walks as many.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.api.fleet import read_fleet
from reconciler.apply.journalreads import read_memory
from reconciler.core.evidence import believed
from reconciler.core.guards import MAX_INTERVAL_MS
from reconciler.core.model import ApiVersion, Desired, PortfolioId, RunState
from reconciler.core.needs import overdue_ms
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, WORDS
from reconciler.sandbox import AutomationState, Enrolled, Portfolio, Refused, Simulator
from tests.support import BASE_URL, World, folder, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.core.model import Live, Record

ONE, TWO = PortfolioId("aaa"), PortfolioId("pf")
HISTORIES = int(os.environ.get("RECONCILER_HISTORIES", "60"))
LATE_MS = 15 * MINUTE_MS
HOURS = (1, 6, 24, 72, 24 * 30)
WAITS_MS = st.one_of(
    st.integers(1, 30 * MINUTE_MS), st.integers(HOUR_MS, 3 * DAY_MS), st.sampled_from([LATE_MS, LATE_MS + 1, DAY_MS])
)
STEPS = st.one_of(
    st.tuples(st.just("wait"), WAITS_MS),
    st.tuples(st.just("wait"), WAITS_MS),
    st.tuples(st.just("stall"), st.sampled_from([ONE, TWO])),
    st.tuples(st.just("wait"), WAITS_MS),
    st.tuples(st.just("stall"), st.sampled_from([ONE, TWO])),
    st.tuples(st.just("hand"), st.sampled_from(["pause", "resume", "other interval"])),
    st.tuples(st.just("ours"), st.sampled_from(list(RunState)), st.sampled_from(HOURS)),
)


class History:
    """A portfolio on each API, and what happens to them; counts the looks that found one overdue."""

    def __init__(self, journal: Path, hours: int, cadence: str, *, readable: bool) -> None:
        one: dict[str, Any] = {"status": "active", "interval": f"{hours}h", "started": "10d"}
        two = {"api": "v2", "status": "active", "strategy": "s", "started": "1h"}
        strategies = {"s": {"frequency": cadence}}
        given = {"readable_schedule": readable}
        self.world = World(journal, {ONE: one, TWO: two}, settings=given, strategies=strategies)
        self.readable = readable
        self.found = 0

    @property
    def simulator(self) -> Simulator:
        return Simulator(self.world.store, self.world.clock.now_ms)

    def step(self, kind: str, *what: Any) -> None:
        match kind, *what:
            case "wait", ms:
                self.world.clock.advance(ms)
            case "stall", which:
                self.stall(which)
            case "hand", action:
                self.by_hand(action)
            case "ours", state, hours:
                desired = [
                    Desired(id=ONE, state=state, interval_ms=hours * HOUR_MS),
                    Desired(id=TWO, state=state, api=ApiVersion.V2),
                ]
                self.world.converge(desired)
        self.look()

    def stall(self, which: PortfolioId) -> None:
        """Let nothing of one run any more, from now on."""
        now_ms = self.world.clock.now_ms()
        view = self.simulator.read(which) if which == ONE else self.simulator.read_enrolled(which)
        if view.portfolio.stalled_ms is None:
            self.world.store.save(replace(view.portfolio, stalled_ms=now_ms))

    def by_hand(self, action: str) -> None:
        update = partial(Portfolio.update, interval_ms=12 * HOUR_MS, offset_ms=0, accept_while_paused=True)
        one: dict[str, Any] = {"pause": partial(Portfolio.pause, reason="by maria"), "resume": Portfolio.resume}
        two = {"pause": Enrolled.stop, "resume": Enrolled.start}
        self.world.clock.advance(1)
        for change, which, does in (
            (self.simulator.change, ONE, one.get(action, update)),
            (self.simulator.change_enrolled, TWO, two.get(action)),
        ):
            try:
                if does is not None:
                    change(which, does)
            except Refused:
                pass

    def look(self) -> None:
        """Read, and hold what we make of it against what the sandbox knows."""
        live, records, now_ms = run(self._read())
        for which in (ONE, TWO):
            told_ms = overdue_ms(live[which], records.get(which), now_ms=now_ms)
            late_ms, interval_ms, known = self.truth(which, now_ms)
            if late_ms is None or late_ms <= LATE_MS:
                assert told_ms is None, (which, told_ms, late_ms)
                continue
            self.found += told_ms is not None
            assert told_ms in (None, late_ms)
            recorded = records[which].interval_ms if which in records else None
            # What can't be read may have been edited by hand since our record, which is then what the limit follows.
            unsure_ms = max(DAY_MS, interval_ms // 10, (recorded or 0) // 10)
            limit_ms = max(LATE_MS, interval_ms // 10) if known else unsure_ms
            if late_ms > limit_ms:
                assert told_ms == late_ms, (which, late_ms, interval_ms)
            elif known:
                assert told_ms is None, (which, late_ms, interval_ms)

    def truth(self, which: PortfolioId, now_ms: int) -> tuple[int | None, int, bool]:
        """Return how late one is, ``None`` if it runs as it should or must not run; its interval, and whether a read
        shows that."""
        if which == ONE:
            one = self.simulator.read(which).portfolio
            due_ms = one.next_run(now_ms)
            interval_ms = one.grid.interval_ms if one.grid is not None else MAX_INTERVAL_MS
            stalled, known = one.stalled_ms is not None, self.readable
        else:
            view = self.simulator.read_enrolled(which)
            two = view.portfolio
            due_ms = two.next_due_ms if two.state is AutomationState.ACTIVE else None
            interval_ms = WORDS[str(view.strategy.cadence)]
            stalled, known = two.stalled_ms is not None, True
        return (now_ms - due_ms if stalled and due_ms is not None else None), interval_ms, known

    async def _read(self) -> tuple[Mapping[PortfolioId, Live], Mapping[PortfolioId, Record], int]:
        memory = read_memory(self.world.journal, base_url=BASE_URL, now_ms=self.world.here.now_ms())
        desired = [Desired(id=ONE, state=RunState.ACTIVE), Desired(id=TWO, state=RunState.ACTIVE, api=ApiVersion.V2)]
        async with self.world.api(desired) as api:
            fleet = await read_fleet(api, [ONE, TWO], whole=True, parallelism=2)
            now_ms = api.service_ms()
            return fleet.live, believed(memory, fleet.live, now_ms=now_ms)[0], now_ms


@settings(max_examples=HISTORIES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(STEPS, min_size=3, max_size=10),
    st.sampled_from(HOURS),
    st.sampled_from(["hourly", "daily", "weekly"]),
    st.booleans(),
)
def test_overdue_over_histories(steps: list[Any], hours: int, cadence: str, readable: bool) -> None:
    """One that runs is never called overdue, and one that stands still is, as soon as that is sure."""
    with folder() as place:
        history = History(place / "journal.db", hours, cadence, readable=readable)
        history.look()
        for step in steps:
            history.step(*step)
        event("some overdue" if history.found else "none overdue")


def test_a_history_finds_some(tmp_path: Path) -> None:
    """One that stands still on each API, until a resume ends that: the test above is not an empty one."""
    history = History(tmp_path / "journal.db", 1, "hourly", readable=True)
    for step in (("stall", ONE), ("stall", TWO), ("wait", 2 * HOUR_MS)):
        history.step(*step)
    assert history.found == 2
    history.step("hand", "pause")
    history.step("hand", "resume")
    assert history.found == 2
