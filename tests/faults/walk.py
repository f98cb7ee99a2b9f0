"""The machine under the random histories, without its rules: who is there, how a plan is made and carried out.

Everything that must hold is checked here: after each apply by :mod:`tests.faults.promises`, and at the end.
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis.stateful import RuleBasedStateMachine
from msgspec.structs import replace

from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalfile import file_to_write
from reconciler.apply.run import Stop
from reconciler.core.change import ChangeReason, Window
from reconciler.core.diff import require_approved
from reconciler.core.errors import ApiError, StalePlan
from reconciler.core.evidence import believed
from reconciler.core.fleet import EVERYTHING
from reconciler.core.freeze import Freeze
from reconciler.core.halt import Halt, HaltedPortfolio
from reconciler.core.intent import Call
from reconciler.core.model import PortfolioId, RunState, address_of
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint
from reconciler.core.planner import Lift, halt_plan, is_lifted, with_pauses
from reconciler.core.report import ACHIEVED, Outcome
from reconciler.sandbox import AutomationState
from tests.faults import promises
from tests.faults.fleet import DENIES, HIDES, IDS, LATE, OF_V1, SPOILS, UNDECLARED, api_of, declaration
from tests.faults.promises import Saved
from tests.faults.support import READ, Died, FaultyWorld, Life
from tests.support import BASE_URL, Silence

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.apply.journalfile import FileTables
    from reconciler.core.model import Desired
    from reconciler.core.ports import Memory
    from reconciler.core.report import ApplyReport, Write
    from tests.faults.fleet import FreezeFromNow, Hand, Person
    from tests.faults.support import Answer, Exchange, Spoil


@dataclasses.dataclass
class OpenJournalsWorld(FaultyWorld):
    """A world whose journals stay open from one command to the next: to open one takes as long as half a command.

    Whoever does something to the file of a journal lets go of it first.
    """

    _open: dict[Path, FileTables] = dataclasses.field(default_factory=dict)

    def opened(self) -> AbstractContextManager[OpenJournal]:
        if self.journal not in self._open:
            self._open[self.journal] = file_to_write(self.journal, "")
        journal = OpenJournal(self._open[self.journal], base_url=BASE_URL, now_ms=self.here.now_ms)
        journal.give_up_dead_runs()
        return nullcontext(journal)

    def known(self, plans: tuple[str, ...]) -> Memory:
        tables = self._open.get(self.journal)
        if tables is None:
            return super().known(plans)
        return OpenJournal(tables, base_url=BASE_URL, now_ms=self.here.now_ms).memory(plans=plans)

    def let_go(self) -> None:
        """Close all journals, as if their machines were switched off."""
        while self._open:
            self._open.popitem()[1].close()


class Walk(RuleBasedStateMachine):
    """One fleet, two appliers with a journal each, and whoever else has access."""

    world: OpenJournalsWorld
    person: Person
    folder: Path
    desired: dict[PortfolioId, Desired]

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.saved: Saved | None = None
        self.last: Saved | None = None
        self.copy: bytes | None = None
        self.carried: dict[Path, set[tuple[str, str]]] = {}
        self.copied: set[tuple[str, str]] = set()
        self.clock_was_off = False
        self.halts: list[Halt] = []
        """Every halt that there ever was."""

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

    def in_wait(self, number: int, does: Callable[[], None]) -> Callable[[], None]:
        """Let somebody do something in the wait of this number; return what is to be called once no more is waited."""
        left = number

        def waits() -> None:
            nonlocal left
            left -= 1
            if left > 0:
                self.world.clock.at_next_sleep(waits)
            elif left == 0:
                does()

        def over() -> None:
            nonlocal left
            left = 0

        self.world.clock.at_next_sleep(waits)
        return over

    def by_hand(self, which: str, does: tuple[str, ...]) -> None:
        for action in does:
            self.person.does(which, action)

    def meanwhile(self, hand: Hand, saved: Saved | None) -> Callable[[], None]:
        """Return what somebody does during the apply of a plan."""
        which, does = hand.on(saved.changes if saved is not None else ())
        return partial(self.by_hand, which, does)

    def save(self, edits: list[Desired], *, off_ms: int = 0) -> None:
        """Keep a plan for later, with another time of its making in it."""
        self.edit(edits)
        saved = self.fresh_plan()
        if saved is not None:
            self.saved = dataclasses.replace(saved, plan=replace(saved.plan, created_ms=saved.plan.created_ms + off_ms))

    def edit(self, edits: list[Desired]) -> None:
        """Declare the portfolios anew, the first ones first."""
        for which, declared in zip(IDS, edits, strict=False):
            self.desired[which] = declaration(which, declared)

    def freeze(self, freezes: list[FreezeFromNow]) -> None:
        """Declare these freezes, and no others."""
        now_ms = self.world.clock.now_ms()
        self.world.freezes = tuple(
            Freeze(
                window=Window(name=f"f{number}", from_ms=now_ms + begins, to_ms=now_ms + ends),
                forbid=tuple(sorted(forbid)),
            )
            for number, (begins, ends, forbid) in enumerate(freezes)
        )

    def plan_of(self, what: str, edits: list[Desired]) -> Saved | None:
        """Return the plan to be applied, ``None`` where it is not covered by its approval, or can't be made."""
        if what != "merge" and self.saved is None:
            self.save(edits)
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
            return fresh and dataclasses.replace(fresh, approved=approved)
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
        return Saved(plan, {str(change.id): self.world.wire.state(change.id) for change in plan.changes}, tokens)

    def arm(self, saved: Saved, faults: list[Any], meddled: Callable[[Spoil], Spoil]) -> None:
        """Let things fail: the calls that the plan makes, one after the other, or reads."""
        sent = sorted({call for change in saved.plan.changes for call in promises.calls_of(change)})
        for index, (name, of_read, skip, times) in enumerate(faults):
            call = READ if of_read or not sent else sent[index % len(sent)]
            # One late read begets the next: more of them would hide a write for longer than anyone looks.
            self.world.wire.arm(meddled(SPOILS[name]), call, skip=skip, times=1 if name == LATE else times)

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
        runs = self.world.runs()
        written = sum(len(one.writes) for one in runs)
        forbidden = promises.must_not_write(saved, self.world, runs, watched=alone)
        halting = self.halting()
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
        if wire.dated or not self.world.here.off_ms:  # else the program can't know the time
            promises.check_freezes(saved, sent, wire.tried_ms[tried:])
        assert {name: wire.state(name) for name in UNDECLARED} == untouched
        promises.check_pauses(saved, caused)
        promises.check_halts(halting, caused)
        hidden = any(name == HIDES for name, *_ in faults)
        promises.check_cadences(saved, caused, hidden=hidden)
        denied = any(name == DENIES and of_read for name, of_read, *_ in faults)
        # What a read denies or hides can't be compared; our record of a cadence stands in for one that is hidden.
        blind = {*([Call.START] if denied else []), *([Call.SET_CADENCE] if hidden else [])}
        assert not [(name, call, forbidden[name]) for name, call in sent if name in forbidden and call not in blind]
        self.check_never_again(saved, report, sent)
        writes = self.written()[written:]
        promises.check_journal(writes, caused, died=report is None, watched=alone)
        assert not [again for again in wire.idle[idle:] if again in caused], "done twice in one apply"
        self.last = saved
        if report is None:
            return
        if alone:
            promises.check_done(report, self.world)
        promises.check_stale(report, caused)
        promises.check_exit_reason(report, writes)

    def check_never_again(self, saved: Saved, report: ApplyReport | None, sent: list[tuple[str, str]]) -> None:
        """A plan that has carried a change to its end never sends it again, as far as the journal in use can know."""
        carried = self.carried.setdefault(self.world.journal, set())
        own = saved.fingerprints
        assert not [name for name, _ in sent if any((one, name) in carried for one in own)], "sent again"
        for result in report.results if report is not None else ():
            if result.outcome is Outcome.DONE:
                carried |= {(one, str(result.change.id)) for one in own}

    def written(self) -> list[Write]:
        """Return every write in the journal in use, oldest first."""
        return [write for one in reversed(self.world.runs()) for write in one.writes]

    def teardown(self) -> None:
        """Without faults one clean apply brings about what is declared, and then there is nothing left to do."""
        try:
            if hasattr(self, "world"):
                self.check_the_end()
        finally:
            self.open.close()

    def halting(self, *, lifts: str | None = None) -> promises.Halting:
        """Return what is true of halts now: on v2 only a file shows everybody whose pause it is."""
        filed = self.world.filed
        pausing = {}
        for name, one in ((name, one) for one in self.halts for name in IDS):
            known = name in OF_V1 or (one.id in filed and filed[one.id].due_of(name) is not None)
            state = self.world.wire.state(name)
            if known and state[0] is AutomationState.PAUSED and one.id in str(state[2]):
                pausing[name] = one.id
        holding = tuple(one for one in filed.values() if one.lifted_ms is None)
        return promises.Halting(holding, pausing, lifts)

    def halt(self, ids: list[PortfolioId]) -> Halt:
        """Record a halt of these portfolios, or of everything, as its command does; it pauses nothing yet."""
        world = self.world
        made = Halt(
            id=f"halt-{len(self.halts)}-",
            base_url=BASE_URL,
            account=None,
            reason="Oracle",
            at_ms=world.clock.now_ms(),
            selection=None if ids else EVERYTHING,
            portfolios=tuple(HaltedPortfolio(id=one, api=api_of(one)) for one in sorted(ids or IDS)),
        )
        with open_journal(world.journal, base_url=BASE_URL, now_ms=world.here.now_ms, beside=True) as journal:
            journal.halt(made)
        self.halts.append(made)
        world.filed[made.id] = made
        return made

    def pause(self, made: Halt, faults: list[Any], life: Life | None = None) -> None:
        """Pause what runs of a halt, and write into its file what was done, unless the process died."""
        world, wire = self.world, self.world.wire
        plan = halt_plan(made, {}, created_ms=world.here.now_ms())
        self.arm(Saved(plan, {}, frozenset()), faults, lambda spoil: spoil)
        wire.life, wire.halt = life or Life(), made.id
        tried = len(wire.tried)
        report = None
        with suppress(Died):
            report = world.apply(plan, Stop(), Silence())
        wire.heal()
        wire.halt = ""
        assert {call for _, call in wire.tried[tried:]} <= {Call.PAUSE}
        assert not wire.old_looks
        if report is not None:
            world.filed[made.id] = with_pauses(made, world.remembered(), {})
            for result in report.results:
                if result.outcome in ACHIEVED and not faults:
                    assert wire.state(result.change.id)[0] is not AutomationState.ACTIVE, "it runs in spite of a halt"

    def lift(self, halt: str, faults: list[Any], life: Life | None = None, meanwhile: Hand | None = None) -> bool:
        """Lift a halt as its command does; where nothing is left to do, write that down.

        Returns whether nothing of it is left for a second try, after other halts have been lifted.
        """
        world, wire = self.world, self.world.wire
        world.settle()
        memory = world.remembered()
        filed = world.filed.get(halt)
        apis = {one: api_of(one) for one in (sorted(filed.by_id) if filed is not None else IDS)}
        try:
            live = world.read(apis)
        except ApiError:
            return False
        now_ms = world.clock.now_ms() if wire.dated else world.here.now_ms()
        records, _ = believed(memory, live, now_ms=now_ms)
        lift = Lift(id=halt, live=live, apis=apis, memory=replace(memory, records=records), desired=self.desired)
        plan = lift.plan(Plan(base_url=BASE_URL, created_ms=world.here.now_ms()))
        saved = Saved(plan, {}, frozenset())
        if meanwhile is not None:
            which, does = meanwhile.on(saved.changes)
            life = self.at("before read", 1, partial(self.by_hand, which, does))
            world.parallelism = 1
        report = self.carry_out_lift(saved, halt, faults, life) if plan.changes else None
        if (plan.changes and report is None) or not is_lifted(plan, report):
            return False
        with world.opened() as journal:
            for one in journal.halts():
                if one.id == halt:
                    journal.halt(replace(one, lifted_ms=world.clock.now_ms()))
        if filed is not None:
            world.filed[halt] = replace(filed, lifted_ms=world.clock.now_ms())
        return all(one.halt == halt for one in plan.halted)

    def carry_out_lift(self, saved: Saved, halt: str, faults: list[Any], life: Life | None) -> ApplyReport | None:
        """Resume what a halt had paused; return the report, unless the process died."""
        world, wire = self.world, self.world.wire
        halting, tried, effects = self.halting(lifts=halt), len(wire.tried), len(wire.effects)
        self.arm(saved, faults, lambda spoil: spoil)
        wire.life = life or Life()
        report = None
        with suppress(Died):
            report = world.apply(saved.plan, Stop(), Silence())
        wire.heal()
        assert not wire.old_looks
        promises.check_in_the_plan(saved, wire.tried[tried:])
        promises.check_halts(halting, wire.effects[effects:])
        return report

    def check_the_end(self) -> None:
        desired, wire = list(self.desired.values()), self.world.wire
        self.world.freezes = ()
        wire.heal()
        left = [one for one in self.halts if not self.lift(one.id, [])]
        for one in left:  # what one holds of another is lifted when that is
            self.lift(one.id, [])
        held_before = {name: wire.state(name) for name in IDS}
        plan, report = self.world.recover(desired)
        assert {result.outcome for result in report.results} <= ACHIEVED, report.results
        assert not wire.old_looks
        for hold in plan.held:
            assert wire.state(hold.id) == held_before[hold.id]
        again = self.world.plan(desired)
        if wire.dated or not self.clock_was_off:
            assert again.portfolios == ()
            # An offset alone needs an interval that is known, and by a wrong clock what was known is of another time.
            assert {one.id for one in again.blocked} == {one.id for one in plan.blocked}
        assert again.cadences == ()
        assert {one.id for one in again.held} == {one.id for one in plan.held}
        assert {one.waits for one in again.halted} <= {None}
        if wire.dated or not self.clock_was_off:
            assert {self.desired[PortfolioId(one.id)].state for one in again.halted} <= {RunState.PAUSED}
        unable = {one.id for one in (*again.held, *again.halted, *again.blocked)}
        for one in desired:
            if one.id not in unable:
                state = wire.state(one.id)[0]
                at_rest = state == AutomationState.INACTIVE
                assert state == one.state or (one.state is RunState.PAUSED and at_rest)
        for strategy, cadence in self.world.cadences.items():
            assert wire.state(address_of(strategy)) == (cadence.value,)
        assert not [write for write in self.written() if write.outcome is None]


def meddled(spoil: Spoil, does: Callable[[], None]) -> Spoil:
    """Return a spoil in which somebody does something before the answer comes, or is lost."""

    async def both(exchange: Exchange) -> Answer:
        try:
            return await spoil(exchange)
        finally:
            does()

    return both
