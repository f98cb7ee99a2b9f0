"""Histories at random: Git edits, edits by hand, faults, deaths, signals, old plans, several appliers, lost journals.

After every step what must never happen has not happened; at the end one clean apply brings about what is declared.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reconciler.apply.journal import read_runs
from reconciler.apply.stop import Stop
from reconciler.core.desired import ApiVersion, Desired, PortfolioId, RunState
from reconciler.core.errors import ApiError, ExitReason
from reconciler.core.live import Status
from reconciler.core.marker import MARK
from reconciler.core.plan import ChangeReason
from reconciler.core.report import ACHIEVED, Call, Outcome
from reconciler.core.verb import Verb
from reconciler.sandbox import actions, integrator
from reconciler.sandbox.enrolled import start_enrolled, stop_enrolled
from reconciler.sandbox.glider import Glider
from reconciler.sandbox.model import AutomationState, Refused
from tests.faults import kinds
from tests.faults.support import READ, Died, FaultyWorld, Life
from tests.support import HOUR_MS, Silence, folder

if TYPE_CHECKING:
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport, Write
    from tests.faults.support import Spoil

HISTORIES = int(os.environ.get("RECONCILER_HISTORIES", "2000"))
STEPS = 6

SPOILS: dict[str, Spoil] = {
    **kinds.NOT_SENT,
    **kinds.LOST_BEFORE,
    **kinds.ODD_BEFORE,
    **kinds.LOST_AFTER,
    **{name: spoil for name, spoil in kinds.ODD_AFTER.items() if name != "too large"},  # as the matrix has it: 4 MiB
    **kinds.REFUSED,
    **kinds.NO_ROUTE,
    **kinds.LIMITED,
    "unknown word": kinds.fields(status="hibernating"),
    "no data": kinds.said(lambda _: None),
    "late": kinds.lags(2),
}
MAY: dict[Verb, frozenset[str]] = {
    Verb.START: frozenset({Call.START, Call.UPDATE_SCHEDULE}),
    Verb.PAUSE: frozenset({Call.PAUSE}),
    Verb.RESUME: frozenset({Call.UPDATE_SCHEDULE, Call.RESUME}),
    Verb.UPDATE: frozenset({Call.UPDATE_SCHEDULE}),
}
"""The calls that a change of each kind may make."""
NO_EFFECT = frozenset({"failed", "unseen"})
"""The outcomes by which the journal says that a write changed nothing."""


OF_V1, OF_V2 = [PortfolioId("a"), PortfolioId("b")], [PortfolioId("d"), PortfolioId("e")]
IDS = [OF_V1[0], OF_V2[0], OF_V1[1], OF_V2[1]]
OURS, THEIRS = f"Paused via API: Freeze {MARK}", "Paused from the app by maria"
LIVE: dict[str, dict[str, Any]] = {
    "active": {"status": "active", "interval": "24h", "started": "50h"},
    "active for long": {"status": "active", "interval": "12h", "offset": "1h", "started": "30d"},
    "paused by us": {"status": "paused", "interval": "24h", "pause_reason": OURS},
    "paused by others": {"status": "paused", "interval": "24h", "pause_reason": THEIRS},
    "inactive": {"status": "inactive"},
}
LIVE_V2: dict[str, dict[str, Any]] = {
    status: {"api": "v2", "strategy": "S1", "status": status, "started": "50h"}
    for status in ("active", "paused", "inactive")
}
DECLARED = st.builds(
    partial(Desired, id=IDS[0]),
    state=st.sampled_from(RunState),
    interval_ms=st.sampled_from([24 * HOUR_MS, 24 * HOUR_MS, 48 * HOUR_MS, None]),
    offset_ms=st.sampled_from([None, None, HOUR_MS]),
    reason=st.sampled_from([None, "Audit"]),
    hold_override=st.sampled_from([False, False, False, True]),
    run_on_start=st.booleans(),
)
FAULTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(SPOILS)), st.booleans(), st.sampled_from([0, 0, 1, 2]), st.sampled_from([1, 2, 6])
    ),
    max_size=3,
)
"""What fails, whether in a read, after how many calls that go well, and how often."""


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


class Histories(RuleBasedStateMachine):
    """One fleet, two appliers with a journal each, and whoever else has access."""

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.saved: Plan | None = None

    @initialize(
        live=st.fixed_dictionaries(
            {one: st.sampled_from(sorted(LIVE)) for one in OF_V1}
            | {one: st.sampled_from(sorted(LIVE_V2)) for one in OF_V2}
        ),
        readable=st.booleans(),
        while_paused=st.sampled_from(["accept", "refuse"]),
        paths=st.sampled_from(["both", "reference", "guide"]),
    )
    def begin(self, live: dict[PortfolioId, str], readable: bool, while_paused: str, paths: str) -> None:
        self.folder = self.open.enter_context(folder())
        day = Desired(id=IDS[0], state=RunState.ACTIVE, interval_ms=24 * HOUR_MS)
        self.desired = {one: declaration(one, day) for one in IDS}
        of_v1 = {f"undeclared-{state}": {"status": state} for state in ("active", "paused", "inactive")}
        of_v2 = {f"undeclared-{state}-v2": seed for state, seed in LIVE_V2.items()}
        self.undeclared = [*of_v1, *of_v2]
        self.world = FaultyWorld(
            journal=self.folder / "first.db",
            portfolios={one: (LIVE if one in OF_V1 else LIVE_V2)[name] for one, name in live.items()} | of_v1 | of_v2,
            strategies={"S1": {"frequency": "daily"}},
            settings={"readable_schedule": readable, "update_while_paused": while_paused, "paths": paths},
        )
        self.glider = Glider(self.world.store, self.world.clock.now_ms)

    @rule(which=st.sampled_from(IDS), declared=DECLARED)
    def edit_the_files(self, which: PortfolioId, declared: Desired) -> None:
        """Somebody merges another declaration of one portfolio."""
        self.desired[which] = declaration(which, declared)

    @rule(
        which=st.sampled_from(IDS),
        action=st.sampled_from(["pause", "pause silently", "resume", "resume", "update", "archive"]),
        hours=st.sampled_from([6, 24, 30]),
    )
    def edit_by_hand(self, which: PortfolioId, action: str, hours: int) -> None:
        """Somebody does something to one portfolio in the app, as far as Glider lets them."""
        self.by_hand(which, action, hours)

    def by_hand(self, which: str, action: str, hours: int = 24) -> None:
        if which in OF_V2:
            self.by_hand_v2(which, action)
            return
        does: dict[str, Any] = {
            "pause": partial(actions.pause, reason="by maria"),
            "pause silently": partial(actions.pause, reason=None),
            "resume": actions.resume,
            "update": partial(actions.update, interval_ms=hours * HOUR_MS, offset_ms=0, accept_while_paused=True),
            "archive": lambda one, _: replace(one, state=AutomationState.ARCHIVED) if one.grid else one,
        }
        try:
            self.glider.change(which, does[action])
        except Refused:
            return

    def by_hand_v2(self, which: str, action: str) -> None:
        """Do what v2 has of it. No two things are done in one millisecond: the time of a resume is its trace."""
        does = {"pause": stop_enrolled, "pause silently": stop_enrolled, "resume": start_enrolled}.get(action)
        self.world.clock.advance(1)
        before = self.world.wire.state(which)
        try:
            if does is not None:
                integrator.change(self.glider, which, does)
        except Refused:
            return
        if does is stop_enrolled and self.world.wire.state(which) != before:
            self.world.wire.pauses[which] = THEIRS

    @rule(hours=st.sampled_from([1, 25, 100]))
    def let_time_pass(self, hours: int) -> None:
        """Runs happen."""
        self.world.clock.advance(hours * HOUR_MS)

    @rule(again=st.booleans())
    def lose_the_journal(self, again: bool) -> None:
        """The journal is gone, or the next apply runs on another machine and has its own."""
        if again:
            self.world.journal = self.folder / ("first.db" if "second" in self.world.journal.name else "second.db")
            return
        for left in self.folder.glob(f"{self.world.journal.name}*"):
            left.unlink()

    @rule(edits=st.lists(DECLARED, max_size=3))
    def save_a_plan(self, edits: list[Desired]) -> None:
        """A plan is kept for later."""
        self.edit(edits)
        self.saved = self.fresh_plan()

    @rule(faults=FAULTS)
    def apply_the_saved_plan(self, faults: Any) -> None:
        """An old plan is applied, whatever happened since."""
        self.carry_out(self.saved or self.fresh_plan(settled=True), faults)

    @rule(edits=st.lists(DECLARED, max_size=3), faults=FAULTS)
    def apply(self, edits: list[Desired], faults: Any) -> None:
        """A merge is applied, and things fail."""
        self.edit(edits)
        self.carry_out(self.fresh_plan(settled=True), faults)

    @rule(edits=st.lists(DECLARED, min_size=1, max_size=3), faults=FAULTS, after=st.integers(1, 12))
    def apply_and_die(self, edits: list[Desired], faults: Any, after: int) -> None:
        """An apply is killed at some boundary of its writes."""

        def die(_: str, crossed: int) -> None:
            if crossed == after:
                raise Died

        self.edit(edits)
        self.carry_out(self.fresh_plan(settled=True), faults, Life(die))

    @rule(
        edits=st.lists(DECLARED, min_size=1, max_size=3), faults=FAULTS, after=st.integers(1, 12), urgent=st.booleans()
    )
    def apply_and_stop(self, edits: list[Desired], faults: Any, after: int, urgent: bool) -> None:
        """An apply is interrupted at some boundary of its writes."""

        def stop(_: str, crossed: int) -> None:
            if crossed == after:
                self.world.wire.stop.request("interrupted before it began", urgent=urgent)

        self.edit(edits)
        self.carry_out(self.fresh_plan(settled=True), faults, Life(stop))

    @rule(
        edits=st.lists(DECLARED, min_size=1, max_size=3),
        faults=FAULTS,
        which=st.sampled_from(IDS),
        read=st.integers(1, 6),
        does=st.sampled_from([("pause",), ("resume",), ("resume", "pause")]),
    )
    def apply_beside_somebody(
        self, edits: list[Desired], faults: Any, which: PortfolioId, read: int, does: tuple[str, ...]
    ) -> None:
        """Somebody does something by hand just before one of the reads of an apply, one portfolio at a time.

        Not between the read and the write that it lets through: nothing can keep those milliseconds safe.
        """
        reads = 0

        def meanwhile(boundary: str, _: int) -> None:
            nonlocal reads
            reads += boundary == "before read"
            if boundary == "before read" and reads == read:
                for action in does:
                    self.by_hand(which, action)

        self.edit(edits)
        plan = self.fresh_plan(settled=True)
        self.world.parallelism = 1
        self.carry_out(plan, faults, Life(meanwhile), watched=False)
        self.world.parallelism = 4

    def edit(self, edits: list[Desired]) -> None:
        """Declare the portfolios anew, the first ones first."""
        for which, declared in zip(IDS, edits, strict=False):
            self.desired[which] = declaration(which, declared)

    def fresh_plan(self, *, settled: bool = False) -> Plan | None:
        """Return a plan of now, or nothing where the key is refused on the way; ``settled`` as an apply makes it."""
        before = len(self.world.wire.tried)
        try:
            if settled:
                self.world.settle()
            plan = self.world.plan(self.desired.values())
        except ApiError:
            plan = None
        assert len(self.world.wire.tried) == before, "a plan wrote something"
        for change in plan.changes if plan else ():
            if change.reason is ChangeReason.HOLD_OVERRIDDEN:
                assert self.desired[change.id].hold_override
        return plan

    def carry_out(
        self, plan: Plan | None, faults: list[Any], life: Life | None = None, *, watched: bool = True
    ) -> None:
        """Apply a plan, and check everything that must hold whatever happens on the way.

        ``watched`` says that nobody else does anything meanwhile, so that what is reported as done still stands.
        """
        if plan is None:
            return
        wire = self.world.wire
        tried, effects, idle = len(wire.tried), len(wire.effects), len(wire.idle)
        untouched = {name: wire.state(name) for name in self.undeclared}
        written = len(self.written())
        sent = sorted({call for change in plan.changes for call in MAY[change.verb]})
        for index, (name, of_read, skip, times) in enumerate(faults):
            call = READ if of_read or not sent else sent[index % len(sent)]
            wire.arm(SPOILS[name], call, skip=skip, times=times)
        wire.life = life or Life()
        report = None
        try:
            report = self.world.apply(plan, Stop(), Silence())
        except Died:
            pass
        finally:
            wire.heal()
        may = {change.id: MAY[change.verb] for change in plan.changes}
        for portfolio, call in wire.tried[tried:]:
            assert call in may.get(PortfolioId(portfolio), ()), "not in the plan"
        assert {name: wire.state(name) for name in self.undeclared} == untouched
        overridden = {change.id for change in plan.changes if change.reason is ChangeReason.HOLD_OVERRIDDEN}
        for effect in wire.effects[effects:]:
            if effect.call == Call.RESUME and effect.portfolio not in overridden:
                assert str(effect.was[2]).endswith(MARK), "somebody else's pause was lifted"
        self.check_journal(self.written()[written:], wire.effects[effects:], died=report is None, watched=watched)
        assert not [again for again in wire.idle[idle:] if again in wire.effects[effects:]], "done twice in one apply"
        if report is not None:
            self.check_report(report, watched=watched)

    def written(self) -> list[Write]:
        """Return every write in the journal in use, oldest first."""
        return [write for one in reversed(read_runs(self.world.journal) or ()) for write in one.writes]

    def check_journal(self, writes: list[Write], effects: list[Any], *, died: bool, watched: bool) -> None:
        """Every effect is explained by a write that the journal does not call without effect; only death leaves one.

        A read that proves a write without effect can't know that somebody undid it in the meantime.
        """
        no_effect = NO_EFFECT if watched else NO_EFFECT - {"unseen"}
        explained = Counter((w.portfolio, w.call.value) for w in writes if w.outcome not in no_effect)
        caused = Counter((e.portfolio, str(e.call)) for e in effects)
        assert caused <= explained
        assert died or all(write.outcome for write in writes)

    def check_report(self, report: ApplyReport, *, watched: bool) -> None:
        """What is called done is done; the exit reason is what the outcomes say."""
        for result in report.results:
            if result.outcome is not Outcome.DONE or not watched:
                continue
            after, found = result.change.after, self.world.store.portfolio(result.change.id)
            assert self.world.wire.state(result.change.id)[0] == after.state.value
            if result.change.writes_schedule:
                assert found is not None
                assert found.grid is not None
                assert found.grid.interval_ms == after.interval_ms
                assert after.offset_ms in (None, found.grid.offset_ms)
        outcomes = {result.outcome for result in report.results}
        complete, blocked = outcomes <= ACHIEVED, bool(report.plan.blocked)
        if complete and not blocked:
            expected = {ExitReason.OK}
        elif outcomes - ACHIEVED == {Outcome.STALE} and not blocked:
            expected = {ExitReason.STALE}
        elif outcomes & {Outcome.DONE, Outcome.UNKNOWN}:
            expected = {ExitReason.PARTIAL}
        else:
            expected = {ExitReason.ERROR, ExitReason.PERMISSION, ExitReason.UNREACHABLE}
            if any(result.outcome is Outcome.FAILED and len(result.calls) > 1 for result in report.results):
                expected = {ExitReason.PARTIAL}
        assert report.exit_reason in expected

    def teardown(self) -> None:
        """Without faults one clean apply brings about what is declared, and then there is nothing left to do."""
        try:
            if hasattr(self, "world"):
                self.check_the_end()
        finally:
            self.open.close()

    def check_the_end(self) -> None:
        desired = list(self.desired.values())
        held_before = {name: self.world.wire.state(name) for name in IDS}
        plan, report = self.world.recover(desired)
        assert {result.outcome for result in report.results} <= ACHIEVED, report.results
        for hold in plan.held:
            assert self.world.wire.state(hold.id) == held_before[hold.id]
        again = self.world.plan(desired)
        assert again.changes == ()
        assert {one.id for one in again.held} == {one.id for one in plan.held}
        assert {one.id for one in again.blocked} == {one.id for one in plan.blocked}
        unable = {one.id for one in (*again.held, *again.blocked)}
        for one in desired:
            if one.id not in unable:
                state = self.world.wire.state(one.id)[0]
                assert state == one.state or (one.state is RunState.PAUSED and state == Status.INACTIVE)
        assert not [write for write in self.written() if write.outcome is None]


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=HISTORIES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
