"""The fleet of the random histories: what may be live, declared, done by hand, and may go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Change
from reconciler.core.evidence import MARK
from reconciler.core.freeze import Freezable
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    PortfolioId,
    RunState,
    StrategyId,
    Verb,
    address_of,
    strategy_of,
)
from reconciler.sandbox import AutomationState, Enrolled, Portfolio, Refused, Simulator
from tests.faults import kinds
from tests.support import HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.change import Change
    from tests.faults.support import FaultyWorld, Spoil

SPOILS: dict[str, Spoil] = {
    **kinds.NOT_SENT,
    **kinds.LOST_BEFORE,
    **kinds.ODD_BEFORE,
    **kinds.LOST_AFTER,
    **{name: spoil for name, spoil in kinds.ODD_AFTER.items() if name != "too large"},  # as the matrix has it: 4 MiB
    **kinds.REFUSED,
    **kinds.NO_ROUTE,
    **kinds.LIMITED,
    **kinds.WAITS,
    "unknown word": kinds.fields(status="hibernating"),
    "unknown cadence": kinds.fields(frequency="fortnightly"),
    "no data": kinds.said(lambda _: None),
    "late": kinds.lags(2),
}
HIDES, LATE, DENIES = "no data", "late", "404"
"""What shows a strategy without a schedule, so that nobody can see which one it has; what shows an old state; and what
says, in the service's own words, that there is no automation."""
MAKE_IT_WAIT = sorted({*kinds.WAITS, *kinds.LOST_BEFORE, *kinds.LOST_AFTER, *kinds.LIMITED})
LOSE_THE_ANSWER = sorted({*kinds.LOST_BEFORE, *kinds.LOST_AFTER, *kinds.ODD_AFTER} - {"too large"})

OF_V1, OF_V2 = [PortfolioId("a"), PortfolioId("b")], [PortfolioId("d"), PortfolioId("e")]
IDS = [OF_V1[0], OF_V2[0], OF_V1[1], OF_V2[1]]
STRATEGIES = [StrategyId("S1"), StrategyId("S2")]
OURS, THEIRS = f"Paused via API: Freeze {MARK}", "Paused from the app by maria"
LIVE: dict[str, dict[str, Any]] = {
    "active": {"status": "active", "interval": "24h", "started": "50h"},
    "active for long": {"status": "active", "interval": "12h", "offset": "1h", "started": "30d"},
    "paused by us": {"status": "paused", "interval": "24h", "pause_reason": OURS},
    "paused by us before": {"status": "paused", "interval": "48h", "pause_reason": OURS},
    "paused by others": {"status": "paused", "interval": "24h", "pause_reason": THEIRS},
    "inactive": {"status": "inactive"},
}
LIVE_V2: dict[str, dict[str, Any]] = {
    status: {"api": "v2", "strategy": "S1", "status": status, "started": "50h"}
    for status in ("active", "paused", "inactive")
}
HALTED = st.lists(st.sampled_from(IDS), max_size=3, unique=True)
"""What is halted; nothing means everything."""
UNDECLARED: dict[str, dict[str, Any]] = {
    **{f"undeclared-{state}": {"status": state} for state in ("active", "paused", "inactive")},
    **{f"undeclared-{state}-v2": seed for state, seed in LIVE_V2.items()},
}
FLEETS = st.fixed_dictionaries(
    {one: st.sampled_from(sorted(LIVE)) for one in OF_V1} | {one: st.sampled_from(sorted(LIVE_V2)) for one in OF_V2}
)
"""Which of these each declared portfolio is at first."""
DECLARED = st.builds(
    partial(Desired, id=IDS[0]),
    state=st.sampled_from(RunState),
    interval_ms=st.sampled_from([24 * HOUR_MS, 24 * HOUR_MS, 48 * HOUR_MS, None]),
    offset_ms=st.sampled_from([None, None, HOUR_MS]),
    reason=st.sampled_from([None, "Audit"]),
    hold_override=st.sampled_from([False, False, False, True]),
    run_on_start=st.booleans(),
)
EDITS = st.lists(DECLARED, min_size=1, max_size=4)
CADENCES = st.sampled_from([Cadence.DAILY, Cadence.WEEKLY, Cadence.HOURLY])
DECLARED_CADENCES = st.dictionaries(st.sampled_from(STRATEGIES), CADENCES, max_size=2)

FreezeFromNow = tuple[int, int, frozenset[Freezable]]
"""When a freeze begins and ends, in milliseconds from now, and what it forbids."""
FREEZES = st.lists(
    st.tuples(
        st.sampled_from([-2 * HOUR_MS, -2 * HOUR_MS, 1_000, 10_000, 60_000, HOUR_MS]),
        st.sampled_from([2 * HOUR_MS, 26 * HOUR_MS]),
        st.one_of(st.just(frozenset(Freezable)), st.frozensets(st.sampled_from(Freezable), min_size=1)),
    ),
    max_size=2,
)


def faults(names: list[str], *, least: int = 0) -> st.SearchStrategy[list[tuple[str, bool, int, int]]]:
    """Return what fails, whether in a read, after how many calls that go well, and how often."""
    one = st.tuples(st.sampled_from(names), st.booleans(), st.sampled_from([0, 0, 1, 2]), st.sampled_from([1, 2, 6]))
    return st.lists(one, min_size=least, max_size=3)


FAULTS = faults(sorted(SPOILS))
ACTIONS = st.sampled_from(
    [("pause",), ("pause silently",), ("resume",), ("resume", "pause"), ("resume", "pause"), ("update",)]
)


@dataclass(frozen=True)
class Hand:
    """Somebody does something to one portfolio or strategy, most often to one that the plan is about."""

    pick: int
    actions: tuple[str, ...]
    cadence: Cadence

    def on(self, changed: Iterable[str]) -> tuple[str, tuple[str, ...]]:
        """Return what is done to what, where a plan changes these."""
        everything = [*IDS, *map(address_of, STRATEGIES)]
        names = everything if self.pick >= len(everything) else (sorted(changed) or everything)
        which = names[self.pick % len(names)]
        return which, (self.cadence,) if strategy_of(which) is not None else self.actions


HANDS = st.builds(Hand, pick=st.integers(0, 8), actions=ACTIONS, cadence=CADENCES)


def undoing(change: Change) -> tuple[str, ...]:
    """Return what a person does to undo a change, as far as one can."""
    if change.of_strategy:
        return () if change.before.cadence is None else (change.before.cadence,)
    match change.verb:
        case Verb.PAUSE:
            return ("resume",)
        case Verb.RESUME:
            return ("pause",)
        case Verb.UPDATE:
            return ("update",)
        case Verb.START:
            return ()
        case _:
            assert_never(change.verb)


def api_of(which: PortfolioId) -> ApiVersion:
    """Return the API that manages a portfolio."""
    return ApiVersion.V1 if which in OF_V1 else ApiVersion.V2


def declaration(which: PortfolioId, declared: Desired) -> Desired:
    """Return what the files declare of one portfolio; v2 knows no schedule of its own."""
    if which in OF_V1:
        return replace(declared, id=which)
    return Desired(
        id=which,
        api=ApiVersion.V2,
        state=declared.state,
        reason=declared.reason,
        hold_override=declared.hold_override,
    )


def seed_of(which: PortfolioId, name: str) -> dict[str, Any]:
    """Return the seed of a declared portfolio; each of v2 has a strategy of its own."""
    if which in OF_V1:
        return LIVE[name]
    return {**LIVE_V2[name], "strategy": STRATEGIES[OF_V2.index(which)]}


class Person:
    """Somebody at the console, who does what Glider lets them; ``wire.pauses`` remembers what v2 does not keep."""

    def __init__(self, world: FaultyWorld) -> None:
        self._world = world
        self._simulator = Simulator(world.store, world.clock.now_ms)
        self._pauses = 0

    def does(self, which: str, action: str, hours: int = 24) -> None:
        """Do one thing to a portfolio, or set the cadence of a strategy. What reads still show of before ends."""
        self._world.wire.stale.pop(which, None)
        try:
            if (strategy := strategy_of(which)) is not None:
                self._simulator.set_cadence(strategy, Cadence(action))
            elif which in OF_V2:
                self._does_v2(which, action)
            else:
                self._does_v1(which, action, hours)
        except Refused:
            return

    def _does_v1(self, which: str, action: str, hours: int) -> None:
        does: dict[str, Any] = {
            "pause": partial(Portfolio.pause, reason="by maria"),
            "pause silently": partial(Portfolio.pause, reason=None),
            "resume": Portfolio.resume,
            "update": partial(Portfolio.update, interval_ms=hours * HOUR_MS, offset_ms=0, accept_while_paused=True),
            "archive": lambda one, _: replace(one, state=AutomationState.ARCHIVED) if one.grid else one,
        }
        self._simulator.change(which, does[action])

    def _does_v2(self, which: str, action: str) -> None:
        """Do what v2 has of it. No two things are done in one millisecond: the time of a resume is its trace.

        A stop of what is stopped already leaves no trace at all, so a pause of ours stays ours.
        """
        does = {"pause": Enrolled.stop, "pause silently": Enrolled.stop, "resume": Enrolled.start}.get(action)
        self._world.clock.advance(1)
        before = self._world.wire.state(which)
        if does is not None:
            self._simulator.change_enrolled(which, does)
        if does is Enrolled.stop and self._world.wire.state(which) != before:
            self._pauses += 1
            self._world.wire.pauses[which] = f"{THEIRS}, {self._pauses}"
