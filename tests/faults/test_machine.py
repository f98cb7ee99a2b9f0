"""Histories at random: Git edits, edits by hand, faults, waits, deaths, signals, old plans, several appliers, journals
that are lost or old, wrong clocks.

After every step what must never happen has not happened; at the end one clean apply brings about what is declared.
Known limits, which no reconciler can pass: a stop by a person of what we had stopped leaves no trace on v2; an old
journal knows less, so more is held, and a plan of its time may be carried out once more; a machine whose clock is off
and that is not told the time by the service takes old runs for new ones; and nothing can be told of what a person does
inside the round trip of a write itself, so nobody does anything there.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from reconciler.apply.journal import read_runs
from reconciler.apply.stop import Stop
from reconciler.core.approval import require_approved
from reconciler.core.desired import Desired, RunState
from reconciler.core.duration import DAY_MS
from reconciler.core.errors import ApiError, StalePlan
from reconciler.core.live import Status
from reconciler.core.plan import ChangeReason
from reconciler.core.planfile import fingerprint
from reconciler.core.report import ACHIEVED, Outcome
from reconciler.core.strategy import StrategyId, address_of
from tests.faults import promises
from tests.faults.fleet import (
    CADENCES,
    DECLARED,
    DECLARED_CADENCES,
    EDITS,
    FAULTS,
    FLEETS,
    HANDS,
    HIDES,
    IDS,
    LOSE_THE_ANSWER,
    MAKE_IT_WAIT,
    SPOILS,
    STRATEGIES,
    UNDECLARED,
    Hand,
    Person,
    declaration,
    faults,
    seed_of,
    undoing,
)
from tests.faults.promises import Saved
from tests.faults.support import READ, Died, FaultyWorld, Life
from tests.support import HOUR_MS, Silence, folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from reconciler.core.desired import PortfolioId
    from reconciler.core.report import ApplyReport, Write
    from reconciler.core.strategy import Cadence
    from tests.faults.support import Answer, Exchange, Spoil

ASKED = os.environ.get("RECONCILER_HISTORIES")
SEED = os.environ.get("RECONCILER_SEED")
STEPS = 8
WHICH = st.sampled_from(["merge", "merge", "saved", "approved"])
"""What is applied: a plan of now, the one that was saved, or one of now that the saved one approves."""
SETTINGS = settings(
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


class Histories(RuleBasedStateMachine):
    """One fleet, two appliers with a journal each, and whoever else has access."""

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.saved: Saved | None = None
        self.last: Saved | None = None
        self.copy: bytes | None = None
        self.carried: dict[Path, set[tuple[str, str]]] = {}
        self.copied: set[tuple[str, str]] = set()
        self.clock_was_off = False

    @initialize(
        live=FLEETS,
        readable=st.booleans(),
        while_paused=st.sampled_from(["accept", "refuse"]),
        paths=st.sampled_from(["both", "reference", "guide"]),
        dated=st.booleans(),
        cadences=DECLARED_CADENCES,
    )
    def begin(
        self,
        live: dict[PortfolioId, str],
        readable: bool,
        while_paused: str,
        paths: str,
        dated: bool,
        cadences: dict[StrategyId, Cadence],
    ) -> None:
        self.folder = self.open.enter_context(folder())
        day = Desired(id=IDS[0], state=RunState.ACTIVE, interval_ms=24 * HOUR_MS)
        self.desired = {one: declaration(one, day) for one in IDS}
        self.world = FaultyWorld(
            journal=self.folder / "first.db",
            portfolios={one: seed_of(one, name) for one, name in live.items()} | UNDECLARED,
            strategies={"S1": {"frequency": "daily"}, "S2": {"frequency": "weekly"}},
            settings={"readable_schedule": readable, "update_while_paused": while_paused, "paths": paths},
        )
        self.world.wire.dated = dated
        self.world.cadences = cadences
        self.person = Person(self.world)

    @rule(which=st.sampled_from(IDS), declared=DECLARED)
    def edit_the_files(self, which: PortfolioId, declared: Desired) -> None:
        """Somebody merges another declaration of one portfolio."""
        self.desired[which] = declaration(which, declared)

    @rule(declared=DECLARED_CADENCES)
    def edit_the_cadences(self, declared: dict[StrategyId, Cadence]) -> None:
        """Somebody merges other cadences of strategies, or takes them out."""
        self.world.cadences = declared

    @rule(
        which=st.sampled_from(IDS),
        action=st.sampled_from(["pause", "pause silently", "resume", "resume", "update", "archive"]),
        hours=st.sampled_from([6, 24, 30]),
    )
    def edit_by_hand(self, which: PortfolioId, action: str, hours: int) -> None:
        """Somebody does something to one portfolio in the app, as far as Glider lets them."""
        self.person.does(which, action, hours)

    @rule(which=st.sampled_from(STRATEGIES), cadence=CADENCES)
    def set_a_cadence_by_hand(self, which: StrategyId, cadence: Cadence) -> None:
        """Somebody sets the cadence of a strategy in the console."""
        self.person.does(address_of(which), cadence)

    @rule(hours=st.sampled_from([1, 25, 100]))
    def let_time_pass(self, hours: int) -> None:
        """Runs happen."""
        self.world.clock.advance(hours * HOUR_MS)

    @rule(days=st.sampled_from([-10, -1, 0, 1, 10]))
    def set_the_clock(self, days: int) -> None:
        """The machine's clock is wrong from now on, or right again; the service's never is."""
        self.world.here.off_ms = days * DAY_MS
        self.clock_was_off |= days != 0

    @rule(again=st.booleans())
    def lose_the_journal(self, again: bool) -> None:
        """The journal is gone, or the next apply runs on another machine and has its own."""
        if again:
            self.world.journal = self.folder / ("first.db" if "second" in self.world.journal.name else "second.db")
            return
        for left in self.folder.glob(f"{self.world.journal.name}*"):
            left.unlink()
        self.carried.pop(self.world.journal, None)

    @rule()
    def copy_the_journal(self) -> None:
        """A backup is made of the journal in use."""
        if self.world.journal.exists():
            self.copy = self.world.journal.read_bytes()
            self.copied = set(self.carried.get(self.world.journal, ()))

    @precondition(lambda self: self.copy is not None)
    @rule()
    def put_the_old_journal_back(self) -> None:
        """The backup takes the place of the journal in use, which may be the other machine's."""
        assert self.copy is not None
        self.world.journal.write_bytes(self.copy)
        self.carried[self.world.journal] = set(self.copied)

    @rule(edits=EDITS, off=st.sampled_from([0, 0, -10 * DAY_MS, 10 * DAY_MS]))
    def save_a_plan(self, edits: list[Desired], off: int) -> None:
        """A plan is kept for later; somebody may write another time into it."""
        self.edit(edits)
        saved = self.fresh_plan()
        if saved is not None:
            self.saved = replace(saved, plan=replace(saved.plan, created_ms=saved.plan.created_ms + off))

    @rule(what=WHICH, edits=EDITS, faults=FAULTS)
    def apply(self, what: str, edits: list[Desired], faults: Any) -> None:
        """A merge is applied, or an old plan, whatever happened since; and things fail."""
        self.carry_out(self.plan_of(what, edits), faults)

    @rule(what=WHICH, edits=EDITS, faults=FAULTS, after=st.integers(1, 12))
    def apply_and_die(self, what: str, edits: list[Desired], faults: Any, after: int) -> None:
        """An apply is killed at some boundary of its writes."""

        def die(_: str, crossed: int) -> None:
            if crossed == after:
                raise Died

        self.carry_out(self.plan_of(what, edits), faults, Life(die))

    @rule(what=WHICH, edits=EDITS, faults=FAULTS, after=st.integers(1, 12), urgent=st.booleans())
    def apply_and_stop(self, what: str, edits: list[Desired], faults: Any, after: int, urgent: bool) -> None:
        """An apply is interrupted at some boundary of its writes."""

        def stop(_: str, crossed: int) -> None:
            if crossed == after:
                self.world.wire.stop.request("interrupted before it began", urgent=urgent)

        self.carry_out(self.plan_of(what, edits), faults, Life(stop))

    @rule(what=WHICH, edits=EDITS, faults=FAULTS, hand=HANDS, read=st.integers(1, 6))
    def apply_beside_somebody(self, what: str, edits: list[Desired], faults: Any, hand: Hand, read: int) -> None:
        """Somebody does something by hand just before one of the reads of an apply.

        Not between the read and the write that it lets through: nothing can keep those milliseconds safe.
        """
        saved = self.plan_of(what, edits)
        life = self.at("before read", read, self.meanwhile(hand, saved))
        self.carry_out(saved, faults, life, alone=False)

    @rule(
        what=WHICH,
        edits=EDITS,
        faults=FAULTS,
        hand=HANDS,
        write=st.integers(1, 3),
        seconds=st.sampled_from([3, 60, 90_000]),
    )
    def apply_and_sleep(
        self, what: str, edits: list[Desired], faults: Any, hand: Hand, write: int, seconds: int
    ) -> None:
        """The machine sleeps between a look and its write, or its disk is slow, and somebody does something then."""
        saved = self.plan_of(what, edits)
        life = self.at("after begin", write, self.meanwhile(hand, saved), seconds=seconds)
        self.carry_out(saved, faults, life, alone=False)

    @rule(what=WHICH, edits=EDITS, faults=faults(MAKE_IT_WAIT, least=1), hand=HANDS, wait=st.integers(1, 4))
    def apply_through_waits(self, what: str, edits: list[Desired], faults: Any, hand: Hand, wait: int) -> None:
        """An apply has to wait, and somebody does something in one of its waits."""
        under_way, left = True, wait
        saved = self.plan_of(what, edits)
        does = self.meanwhile(hand, saved)

        def waits() -> None:
            nonlocal left
            left -= 1
            if under_way and left:
                self.world.clock.at_next_sleep(waits)
            elif under_way:
                does()

        self.world.clock.at_next_sleep(waits)
        self.carry_out(saved, faults, alone=False)
        under_way = False

    @rule(what=WHICH, edits=EDITS, faults=faults(LOSE_THE_ANSWER, least=1), hand=HANDS)
    def apply_without_answers(self, what: str, edits: list[Desired], faults: Any, hand: Hand) -> None:
        """An answer is lost, whether the work was done or not, and somebody does something before anyone looks."""
        saved = self.plan_of(what, edits)
        does = self.meanwhile(hand, saved)

        def meddled(spoil: Spoil) -> Spoil:
            async def both(exchange: Exchange) -> Answer:
                try:
                    return await spoil(exchange)
                finally:
                    does()

            return both

        writes = [(name, False, skip, times) for name, _, skip, times in faults]
        self.carry_out(saved, writes, alone=False, meddled=meddled)

    @rule(what=WHICH, edits=EDITS, faults=FAULTS, hands=st.lists(HANDS, min_size=1, max_size=3))
    def apply_what_was_overtaken(self, what: str, edits: list[Desired], faults: Any, hands: list[Hand]) -> None:
        """Somebody does something between a plan and its apply."""
        saved = self.plan_of(what, edits)
        for hand in hands:
            self.meanwhile(hand, saved)()
        self.carry_out(saved, faults)

    @precondition(lambda self: self.last is not None)
    @rule(faults=FAULTS)
    def undo_and_apply_again(self, faults: Any) -> None:
        """Somebody undoes by hand what a plan did, and an old job applies that plan once more."""
        assert self.last is not None
        for name, change in sorted(self.last.changes.items()):
            self.by_hand(name, undoing(change))
        self.carry_out(self.last, faults)

    def at(self, boundary: str, number: int, hand: Callable[[], None], *, seconds: int = 0) -> Life:
        """Return a life in which somebody does something at one of these boundaries, and time passes there."""
        crossed = 0

        def meanwhile(name: str, _: int) -> None:
            nonlocal crossed
            crossed += name == boundary
            if name == boundary and crossed == number:
                hand()
                self.world.clock.advance(seconds * 1_000)

        return Life(meanwhile)

    def by_hand(self, which: str, does: tuple[str, ...]) -> None:
        for action in does:
            self.person.does(which, action)

    def meanwhile(self, hand: Hand, saved: Saved | None) -> Callable[[], None]:
        """Return what somebody does during the apply of a plan."""
        which, does = hand.on(saved.changes if saved is not None else ())
        return partial(self.by_hand, which, does)

    def edit(self, edits: list[Desired]) -> None:
        """Declare the portfolios anew, the first ones first."""
        for which, declared in zip(IDS, edits, strict=False):
            self.desired[which] = declaration(which, declared)

    def plan_of(self, what: str, edits: list[Desired]) -> Saved | None:
        """Return the plan to be applied, ``None`` where it is not covered by its approval, or can't be made."""
        if what != "merge" and self.saved is None:
            self.save_a_plan(edits, 0)
        if what == "saved":
            return self.saved
        if what == "approved" and self.saved is not None:
            approved = self.saved.plan
            fresh = self.fresh_plan(settled=True, plans=(fingerprint(approved),))
            try:
                if fresh is not None:
                    require_approved(fresh.plan, approved)
            except StalePlan:
                return None
            return fresh and replace(fresh, approved=approved)
        self.edit(edits)
        return self.fresh_plan(settled=True)

    def fresh_plan(self, *, settled: bool = False, plans: tuple[str, ...] = ()) -> Saved | None:
        """Return a plan of now, or nothing where the key is refused on the way; ``settled`` as an apply makes it."""
        before = len(self.world.wire.tried)
        try:
            if settled:
                self.world.settle()
            tokens = frozenset(write.token for write in self.written())
            plan = self.world.plan(self.desired.values(), plans=plans)
        except ApiError:
            return None
        finally:
            assert len(self.world.wire.tried) == before, "a plan wrote something"
        for change in plan.changes:
            if change.reason is ChangeReason.HOLD_OVERRIDDEN:
                assert self.desired[change.id].hold_override
        addresses = [promises.address_of(change) for change in promises.changes_of(plan)]
        return Saved(plan, {str(name): self.world.wire.state(name) for name in addresses}, tokens)

    def arm(self, saved: Saved, faults: list[Any], meddled: Callable[[Spoil], Spoil]) -> None:
        """Let things fail: the calls that the plan makes, one after the other, or reads."""
        sent = sorted({call for change in promises.changes_of(saved.plan) for call in promises.calls_of(change)})
        for index, (name, of_read, skip, times) in enumerate(faults):
            call = READ if of_read or not sent else sent[index % len(sent)]
            self.world.wire.arm(meddled(SPOILS[name]), call, skip=skip, times=times)

    def carry_out(
        self,
        saved: Saved | None,
        faults: list[Any],
        life: Life | None = None,
        *,
        alone: bool = True,
        meddled: Callable[[Spoil], Spoil] = lambda spoil: spoil,
    ) -> None:
        """Apply a plan, and check everything that must hold whatever happens on the way.

        ``alone`` says that nobody else does anything meanwhile. Where somebody does, one portfolio goes at a time, so
        that it is known when they do it.
        """
        if saved is None:
            return
        wire = self.world.wire
        tried, effects, idle = len(wire.tried), len(wire.effects), len(wire.idle)
        untouched = {name: wire.state(name) for name in UNDECLARED}
        written = len(self.written())
        forbidden = promises.must_not_write(saved, self.world, self.runs(), watched=alone)
        self.arm(saved, faults, meddled)
        wire.life = life or Life()
        self.world.parallelism = 4 if alone else 1
        report = None
        try:
            report = self.world.apply(
                saved.plan, Stop(), Silence(), approved=fingerprint(saved.approved) if saved.approved else None
            )
        except Died:
            pass
        finally:
            wire.heal()
        sent, caused = wire.tried[tried:], wire.effects[effects:]
        assert not wire.old_looks, "a write was sent on an old look"
        promises.check_in_the_plan(saved, sent)
        assert {name: wire.state(name) for name in UNDECLARED} == untouched
        promises.check_pauses(saved, caused)
        promises.check_cadences(saved, caused, hidden=any(name == HIDES for name, *_ in faults))
        assert not [(name, call, forbidden[name]) for name, call in sent if name in forbidden]
        self.check_never_again(saved, report, sent)
        promises.check_journal(self.written()[written:], caused, died=report is None, watched=alone)
        assert not [again for again in wire.idle[idle:] if again in caused], "done twice in one apply"
        self.last = saved
        if report is not None:
            promises.check_report(report, self.world, caused, watched=alone)

    def check_never_again(self, saved: Saved, report: ApplyReport | None, sent: list[tuple[str, str]]) -> None:
        """A plan that has carried a change to its end never sends it again, as far as the journal in use can know."""
        carried = self.carried.setdefault(self.world.journal, set())
        own = saved.fingerprints
        assert not [name for name, _ in sent if any((one, name) in carried for one in own)], "sent again"
        for result in report.every if report is not None else ():
            if result.outcome is Outcome.DONE:
                carried |= {(one, str(promises.address_of(result.change))) for one in own}

    def runs(self) -> tuple[Any, ...]:
        """Return the runs of the journal in use, newest first."""
        return read_runs(self.world.journal) or ()

    def written(self) -> list[Write]:
        """Return every write in the journal in use, oldest first."""
        return [write for one in reversed(self.runs()) for write in one.writes]

    def teardown(self) -> None:
        """Without faults one clean apply brings about what is declared, and then there is nothing left to do."""
        try:
            if hasattr(self, "world"):
                self.check_the_end()
        finally:
            self.open.close()

    def check_the_end(self) -> None:
        desired, wire = list(self.desired.values()), self.world.wire
        held_before = {name: wire.state(name) for name in IDS}
        plan, report = self.world.recover(desired)
        assert {result.outcome for result in report.every} <= ACHIEVED, report.every
        assert not wire.old_looks
        for hold in plan.held:
            assert wire.state(hold.id) == held_before[hold.id]
        again = self.world.plan(desired)
        if wire.dated or not self.clock_was_off:
            assert again.changes == ()
        assert again.strategies == ()
        assert {one.id for one in again.held} == {one.id for one in plan.held}
        assert {one.id for one in again.blocked} == {one.id for one in plan.blocked}
        unable = {one.id for one in (*again.held, *again.blocked)}
        for one in desired:
            if one.id not in unable:
                state = wire.state(one.id)[0]
                assert state == one.state or (one.state is RunState.PAUSED and state == Status.INACTIVE)
        for strategy, cadence in self.world.cadences.items():
            assert wire.state(address_of(strategy)) == (cadence.value,)
        assert not [write for write in self.written() if write.outcome is None]


class FixedHistories(Histories):
    """The same histories on every run in CI."""


TestHistories = FixedHistories.TestCase
TestHistories.settings = settings(SETTINGS, max_examples=int(ASKED or 400))


def test_new_histories(capsys: pytest.CaptureFixture[str]) -> None:
    """Histories that nobody has walked yet, also in CI; the number that is printed walks them again."""
    number = int(SEED) if SEED else secrets.randbits(32)
    with capsys.disabled():
        print(f"\nnew histories: RECONCILER_SEED={number} walks them again", flush=True)

    class NewHistories(Histories):
        pass

    walked = settings(SETTINGS, max_examples=int(ASKED or 120), derandomize=False, database=None, print_blob=True)
    run_state_machine_as_test(seed(number)(NewHistories), settings=walked)
