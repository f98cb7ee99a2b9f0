"""Histories at random: Git edits, edits by hand, faults, waits, deaths, signals, old plans, several appliers, journals
that are lost or old, wrong clocks.

After every step what must never happen has not happened; at the end one clean apply brings about what is declared.
Known limits, which no reconciler can pass: a stop by a person of what we had stopped leaves no trace on v2; an old
journal knows less, so more is held, and a plan of its time may be carried out once more; a machine whose clock is off
and that is not told the time by the service takes old runs for new ones; nothing can be told of what a person does
inside the round trip of a write itself, so nobody does anything there; and where the service says in its own words that
there is no automation although there is one, a start is sent, which it refuses.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from reconciler.core.intent import Call
from reconciler.core.model import Desired, RunState, StrategyId, address_of
from reconciler.core.text import DAY_MS
from tests.faults.fleet import (
    CADENCES,
    DECLARED,
    DECLARED_CADENCES,
    EDITS,
    FAULTS,
    FLEETS,
    FREEZES,
    HALTED,
    HANDS,
    IDS,
    LOSE_THE_ANSWER,
    MAKE_IT_WAIT,
    STRATEGIES,
    UNDECLARED,
    Hand,
    Person,
    declaration,
    faults,
    seed_of,
    undoing,
)
from tests.faults.support import Died, Life
from tests.faults.walk import OpenJournalsWorld, Walk, meddled
from tests.support import HOUR_MS, folder

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from reconciler.core.halt import Halt
    from reconciler.core.model import Cadence, PortfolioId
    from tests.faults.fleet import FreezeFromNow

ASKED = os.environ.get("RECONCILER_HISTORIES")
PARTS = 8
ALWAYS = 2
"""How many parts `make test` walks."""
STEPS = 8
WHICH = st.sampled_from(["merge", "merge", "saved", "approved"])
"""What is applied: a plan of now, the one that was saved, or one of now that the saved one approves."""
SHRINKS = bool(os.environ.get("RECONCILER_SHRINK"))
"""Whether a history that failed is made as short as it can be. That takes minutes and gigabytes where many fail, and a
history has only a few steps, so it is told as it was found unless somebody asks."""
SETTINGS = settings(
    stateful_step_count=STEPS,
    deadline=None,
    phases=[phase for phase in settings.default.phases if SHRINKS or phase not in (Phase.shrink, Phase.explain)],
    report_multiple_bugs=SHRINKS,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


class Histories(Walk):
    """What may happen, in any order."""

    @initialize(
        live=FLEETS,
        readable=st.booleans(),
        while_paused=st.sampled_from(["accept", "refuse"]),
        paths=st.sampled_from(["both", "reference", "guide"]),
        dated=st.booleans(),
        cadences=DECLARED_CADENCES,
        freezes=FREEZES,
    )
    def begin(
        self,
        live: dict[PortfolioId, str],
        readable: bool,
        while_paused: str,
        paths: str,
        dated: bool,
        cadences: dict[StrategyId, Cadence],
        freezes: list[FreezeFromNow],
    ) -> None:
        self.folder = self.open.enter_context(folder())
        day = Desired(id=IDS[0], state=RunState.ACTIVE, interval_ms=24 * HOUR_MS)
        self.desired = {one: declaration(one, day) for one in IDS}
        self.world = OpenJournalsWorld(
            journal=self.folder / "first.db",
            portfolios={one: seed_of(one, name) for one, name in live.items()} | UNDECLARED,
            strategies={"S1": {"frequency": "daily"}, "S2": {"frequency": "weekly"}},
            settings={"readable_schedule": readable, "update_while_paused": while_paused, "paths": paths},
        )
        self.open.callback(self.world.let_go)
        self.world.wire.dated = dated
        self.world.cadences = cadences
        self.person = Person(self.world)
        self.freeze(freezes)

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

    @rule(freezes=FREEZES)
    def edit_the_freezes(self, freezes: list[FreezeFromNow]) -> None:
        """Somebody merges freezes, which hold already or soon, or takes them out."""
        self.freeze(freezes)

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
        self.world.let_go()
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
        self.world.let_go()
        self.world.journal.write_bytes(self.copy)
        self.carried[self.world.journal] = set(self.copied)

    @rule(edits=EDITS, off=st.sampled_from([0, 0, -10 * DAY_MS, 10 * DAY_MS]))
    def save_a_plan(self, edits: list[Desired], off: int) -> None:
        """A plan is kept for later; somebody may write another time into it."""
        self.save(edits, off_ms=off)

    @rule(what=WHICH, edits=EDITS, faults=FAULTS)
    def apply(self, what: str, edits: list[Desired], faults: Any) -> None:
        """A merge is applied, or an old plan, whatever happened since; and things fail."""
        self.carry_out(self.plan_of(what, edits), faults)

    @rule(what=WHICH, edits=EDITS, faults=FAULTS, after=st.integers(1, 12), late=st.booleans())
    def apply_and_die(self, what: str, edits: list[Desired], faults: Any, after: int, late: bool) -> None:
        """An apply is killed at some boundary of its writes, or loses its power, and what nobody waited for with it."""

        def die(_: str, crossed: int) -> None:
            if crossed == after:
                raise Died

        self.world.late_disk = late
        self.carry_out(self.plan_of(what, edits), faults, Life(die))
        self.world.late_disk = False

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
        saved = self.plan_of(what, edits)
        over = self.in_wait(wait, self.meanwhile(hand, saved))
        self.carry_out(saved, faults, alone=False)
        over()

    @rule(what=WHICH, edits=EDITS, faults=faults(LOSE_THE_ANSWER, least=1), hand=HANDS)
    def apply_without_answers(self, what: str, edits: list[Desired], faults: Any, hand: Hand) -> None:
        """An answer is lost, whether the work was done or not, and somebody does something before anyone looks."""
        saved = self.plan_of(what, edits)
        writes = [(name, False, skip, times) for name, _, skip, times in faults]
        does = self.meanwhile(hand, saved)
        self.carry_out(saved, writes, alone=False, meddled=partial(meddled, does=does))

    @rule(what=WHICH, edits=EDITS, faults=FAULTS, hands=st.lists(HANDS, min_size=1, max_size=3))
    def apply_what_was_overtaken(self, what: str, edits: list[Desired], faults: Any, hands: list[Hand]) -> None:
        """Somebody does something between a plan and its apply."""
        saved = self.plan_of(what, edits)
        for hand in hands:
            self.meanwhile(hand, saved)()
        self.carry_out(saved, faults)

    @rule(ids=HALTED, faults=FAULTS)
    def halt_and_pause(self, ids: list[PortfolioId], faults: Any) -> None:
        """Somebody halts some portfolios, or everything; and things fail."""
        self.pause(self.halt(ids), faults)

    @rule(ids=HALTED, after=st.integers(1, 8))
    def halt_and_die(self, ids: list[PortfolioId], after: int) -> None:
        """A halt is killed at some boundary of its pauses."""

        def die(_: str, crossed: int) -> None:
            if crossed == after:
                raise Died

        self.pause(self.halt(ids), [], Life(die))

    @rule(
        what=WHICH,
        edits=EDITS,
        faults=FAULTS,
        ids=HALTED,
        boundary=st.sampled_from(["before begin", "before read"]),
        number=st.integers(1, 5),
    )
    def apply_beside_a_halt(
        self, what: str, edits: list[Desired], faults: Any, ids: list[PortfolioId], boundary: str, number: int
    ) -> None:
        """Somebody halts while an apply is at work: it begins nothing more but pauses."""
        saved, wire = self.plan_of(what, edits), self.world.wire
        made: list[tuple[Halt, int]] = []
        life = self.at(boundary, number, lambda: made.append((self.halt(ids), len(wire.tried))))
        self.carry_out(saved, faults, life, alone=False)
        for halt, tried in made:
            assert {call for _, call in wire.tried[tried:]} <= {Call.PAUSE}, "begun after a halt"
            self.pause(halt, [])

    @precondition(lambda self: self.halts)
    @rule(which=st.integers(0, 9), faults=FAULTS, hand=st.none() | HANDS)
    def lift_a_halt(self, which: int, faults: Any, hand: Hand | None) -> None:
        """Somebody lifts a halt, perhaps again, while somebody else is at work by hand; and things fail."""
        self.lift(self.halts[which % len(self.halts)].id, faults, meanwhile=hand)

    @precondition(lambda self: self.halts)
    @rule(which=st.integers(0, 9), after=st.integers(1, 8))
    def lift_and_die(self, which: int, after: int) -> None:
        """A lift is killed at some boundary of its resumes."""

        def die(_: str, crossed: int) -> None:
            if crossed == after:
                raise Died

        self.lift(self.halts[which % len(self.halts)].id, [], Life(die))

    @precondition(lambda self: self.world.filed)
    @rule(which=st.integers(0, 9))
    def lose_the_file_of_a_halt(self, which: int) -> None:
        """Somebody takes the file of a halt out of Git."""
        names = sorted(self.world.filed)
        del self.world.filed[names[which % len(names)]]

    @precondition(lambda self: self.last is not None)
    @rule(faults=FAULTS)
    def undo_and_apply_again(self, faults: Any) -> None:
        """Somebody undoes by hand what a plan did, and an old job applies that plan once more."""
        assert self.last is not None
        for name, change in sorted(self.last.changes.items()):
            self.by_hand(name, undoing(change))
        self.carry_out(self.last, faults)


def shares(histories: int) -> list[ParameterSet]:
    """Return how many histories each part walks; the parts are what several workers can share.

    Unless somebody asks for a number, `make test` walks the first parts only.
    """
    return [
        pytest.param(
            part,
            len(range(part, histories, PARTS)),
            marks=() if ASKED or part < ALWAYS else pytest.mark.thorough,
        )
        for part in range(min(PARTS, histories))
    ]


def walk(part: int, number: int | None, **how: Any) -> None:
    """Walk one part's histories: those of a number, or without one new ones."""
    machine = type(f"HistoriesOfPart{part}", (Histories,), {})
    run_state_machine_as_test(machine if number is None else seed(number)(machine), settings=settings(SETTINGS, **how))


@pytest.mark.parametrize(("part", "histories"), shares(int(ASKED or 400)))
def test_histories(part: int, histories: int) -> None:
    """The same histories on every run in CI."""
    walk(part, part if SETTINGS.derandomize else None, max_examples=histories)


@pytest.mark.parametrize(("part", "histories"), shares(int(ASKED or 120)))
def test_new_histories(part: int, histories: int, seed_of_new: int) -> None:
    """Histories that nobody has walked yet, also in CI; the number that is printed walks them again."""
    number = seed_of_new * PARTS + part
    walk(part, number, max_examples=histories, derandomize=False, database=None, print_blob=True)
