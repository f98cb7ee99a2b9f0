"""What must hold after every apply, whatever happened on the way: each promise is one function that asserts it.

In: the plan with what was true when it was made, what passed the wire, what stands in the journal, the report. Nothing
here asks the program what it thinks: the truth is the service's own state, and the writes that reached it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.change import Change, ChangeReason
from reconciler.core.errors import ExitReason
from reconciler.core.evidence import is_marked
from reconciler.core.intent import NO_EFFECT, TOOK_EFFECT, Call, WriteOutcome
from reconciler.core.model import PortfolioId, Verb, address_of, strategy_of
from reconciler.core.planfile import fingerprint
from reconciler.core.report import ACHIEVED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.change import Change
    from reconciler.core.halt import Halt
    from reconciler.core.model import Address
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport, Run, Write
    from tests.faults.support import Effect, FaultyWorld

MAY: dict[Verb, frozenset[str]] = {
    Verb.START: frozenset({Call.START, Call.UPDATE_SCHEDULE}),
    Verb.PAUSE: frozenset({Call.PAUSE}),
    Verb.RESUME: frozenset({Call.UPDATE_SCHEDULE, Call.RESUME}),
    Verb.UPDATE: frozenset({Call.UPDATE_SCHEDULE}),
}
"""The calls that a change of each kind may make."""
IS_THE_CHANGE: dict[Verb, Call] = {
    Verb.START: Call.START,
    Verb.PAUSE: Call.PAUSE,
    Verb.RESUME: Call.RESUME,
    Verb.UPDATE: Call.UPDATE_SCHEDULE,
}
"""The call that carries a change of each kind to its end."""


NEARLY_MS = 5_000
"""Within this time of its edges a freeze may be missed: so old may a look be when its write goes, and so far off may a
time be that Glider tells in whole seconds."""


@dataclass(frozen=True)
class Saved:
    """A plan, and what was true when it was made.

    ``pins`` holds the state on the service of everything that it changes, ``tokens`` the writes that the journal knew.
    ``approved`` is the plan that a person approved, where this one was made anew since.
    """

    plan: Plan
    pins: Mapping[str, tuple[object, ...]]
    tokens: frozenset[str]
    approved: Plan | None = None

    @property
    def fingerprints(self) -> frozenset[str]:
        """Under which its writes are attempts of its own."""
        return frozenset(fingerprint(one) for one in (self.plan, self.approved) if one is not None)

    @property
    def changes(self) -> dict[str, Change]:
        """All changes by id or address."""
        return {str(change.id): change for change in self.plan.changes}


def calls_of(change: Change) -> frozenset[str]:
    """Return the calls that a change may make."""
    return frozenset({Call.SET_CADENCE}) if change.of_strategy else MAY[change.verb]


def ends_with(change: Change) -> Call:
    """Return the call that carries a change to its end."""
    return Call.SET_CADENCE if change.of_strategy else IS_THE_CHANGE[change.verb]


def check_in_the_plan(saved: Saved, tried: Iterable[tuple[str, str]]) -> None:
    """Nothing is written that is not in the plan."""
    may = {name: calls_of(change) for name, change in saved.changes.items()}
    for name, call in tried:
        assert call in may.get(name, ()), f"{call} of {name} is not in the plan"


def check_freezes(saved: Saved, tried: Iterable[tuple[str, str]], times: Iterable[int]) -> None:
    """In a freeze of its plan nothing begins but pauses; the schedule after a start or a resume ends what has begun."""
    begun: set[str] = set()
    for (name, call), ms in zip(tried, times, strict=True):
        at_ms = ms - NEARLY_MS
        held = [one.name for one in saved.changes[name].freezes if one.from_ms <= at_ms < one.to_ms - 2 * NEARLY_MS]
        assert call == Call.PAUSE or name in begun or not held, f"{call} of {name} in the freeze {held}"
        if call in (Call.START, Call.RESUME):
            begun.add(name)


def check_pauses(saved: Saved, effects: Iterable[Effect]) -> None:
    """The one pause that is lifted is the one that was planned from: ours, or a hold that is overridden."""
    for effect in effects:
        if effect.call != Call.RESUME:
            continue
        change = saved.changes[effect.portfolio]
        assert not change.of_strategy
        if change.reason is not ChangeReason.HOLD_OVERRIDDEN:
            assert is_marked(str(effect.was[2])), "somebody else's pause was lifted"
        assert effect.was[2] == saved.pins[effect.portfolio][2], "another pause was lifted than the planned one"


@dataclass(frozen=True)
class Halting:
    """What is true of halts when an apply begins.

    ``holding`` are those whose file says that they hold. ``pausing`` says of each portfolio in which halt's pause it
    is, as far as anything shows that to whoever has these files. ``lifts`` is the halt that the apply lifts, if any.
    """

    holding: tuple[Halt, ...]
    pausing: Mapping[str, str]
    lifts: str | None = None


def check_halts(halting: Halting, effects: Iterable[Effect]) -> None:
    """Nothing of a halt is started, resumed or changed but by its own lift, and that resumes nothing but its pauses."""
    for effect in effects:
        if effect.call == Call.PAUSE:
            continue
        holders = [one.id for one in halting.holding if one.id != halting.lifts and one.holds(_address(effect))]
        assert not holders, f"{effect.call} of {effect.portfolio}, which {holders} hold"
        pausing = halting.pausing.get(effect.portfolio)
        is_in_it = pausing is not None and pausing in str(effect.was[2])  # else somebody resumed it in the meantime
        assert not is_in_it or pausing == halting.lifts, f"{effect.call} of {effect.portfolio} in {pausing}'s pause"
        if halting.lifts is not None:
            assert effect.call == Call.RESUME, "a lift touched a schedule"
            assert halting.lifts in str(effect.was[2]), "a lift resumed another pause than the halt's"


def _address(effect: Effect) -> Address:
    strategy = strategy_of(effect.portfolio)
    return PortfolioId(effect.portfolio) if strategy is None else address_of(strategy)


def check_cadences(saved: Saved, effects: Iterable[Effect], *, hidden: bool) -> None:
    """A cadence is written as planned, and never over one that the plan did not see.

    ``hidden`` says that reads did not show the schedule in the meantime: then nobody could see another one.
    """
    for effect in effects:
        if effect.call != Call.SET_CADENCE:
            continue
        change = saved.changes[effect.portfolio]
        assert change.of_strategy
        assert str(effect.left[0]) == change.after.cadence, "a cadence was set that is not in the plan"
        assert hidden or str(effect.was[0]) == change.before.cadence, (
            "a cadence was overwritten that the plan did not see"
        )


def must_not_write(saved: Saved, world: FaultyWorld, runs: Sequence[Run], *, watched: bool) -> dict[str, str]:
    """Return what a plan must not write to any more before it is applied, each with the reason.

    ``runs`` are those of the journal in use. ``watched`` says that nobody else does anything during the apply.
    """
    known = {write.token for run in runs for write in run.writes}
    found: dict[str, str] = {}
    for name, change in saved.changes.items():
        if change.since is not None and change.since not in known:
            found[name] = "this journal does not know the write that the plan was made after"
            continue
        why = _written_since(saved, name, change, runs)
        if why is None and watched:
            why = _moved_since(saved.pins[name], world.wire.state(name), change)
        if why is not None:
            found[name] = why
    return found


def _written_since(saved: Saved, name: str, change: Change, runs: Sequence[Run]) -> str | None:
    for run in runs:
        own = saved.fingerprints & {run.fingerprint, run.approved}
        for write in run.writes:
            if write.portfolio != name or write.token in saved.tokens or write.outcome not in TOOK_EFFECT:
                continue
            if not own:
                return "another run wrote to it since"
            if write.call is ends_with(change):
                return "this plan has carried it out"
    return None


def _moved_since(was: tuple[object, ...], now: tuple[object, ...], change: Change) -> str | None:
    if was[0] != now[0]:
        return "its state, or cadence, is another one"
    if change.verb is Verb.RESUME and was[2] != now[2]:
        return "it is in another pause"
    return None


def check_journal(writes: list[Write], effects: Iterable[Effect], *, died: bool, watched: bool) -> None:
    """Every effect is explained by a write that the journal does not call without effect; only death leaves one.

    A read that proves a write without effect can't know that somebody undid it in the meantime.
    """
    no_effect = NO_EFFECT if watched else NO_EFFECT - {WriteOutcome.UNSEEN}
    explained = Counter((w.portfolio, w.call.value) for w in writes if w.outcome not in no_effect)
    caused = Counter((e.portfolio, str(e.call)) for e in effects)
    assert caused <= explained, "the journal does not explain what was done"
    assert died or all(write.outcome for write in writes), "a write has no outcome"


def check_done(report: ApplyReport, world: FaultyWorld) -> None:
    """What is called done stands, where nobody else did anything meanwhile."""
    for result in report.results:
        if result.outcome is not Outcome.DONE:
            continue
        state = world.wire.state(result.change.id)
        if result.change.of_strategy:
            assert str(state[0]) == result.change.after.cadence
            continue
        after, found = result.change.after, world.store.portfolio(result.change.id)
        assert state[0] == after.state.value
        if result.change.writes_schedule:
            assert found is not None
            assert found.grid is not None
            assert found.grid.interval_ms == after.interval_ms
            assert after.offset_ms in (None, found.grid.offset_ms)


def check_stale(report: ApplyReport, effects: Iterable[Effect]) -> None:
    """What is stale was not changed, but by the calls that it is told with.

    A call that was refused for now is not among these: it may be tried, found too late, and never come to anything.
    """
    changed = {effect.portfolio for effect in effects}
    for result in report.results:
        if result.outcome is Outcome.STALE and result.change.id in changed:
            assert result.calls, "stale, and written to"


def check_exit_reason(report: ApplyReport, writes: Iterable[Write]) -> None:
    """The exit reason is what the outcomes say, and ``writes``, those of this apply in the journal."""
    waiting = [result for result in report.results if result.frozen is not None]
    assert {result.outcome for result in waiting} <= {Outcome.NOT_ATTEMPTED}
    if waiting:
        rest = {result.outcome for result in report.results if result.frozen is None} - ACHIEVED
        changed = {write.portfolio for write in writes if write.outcome in TOOK_EFFECT}
        alone = not rest and not report.plan.blocked and not {result.change.id for result in waiting} & changed
        assert report.exit_reason is (ExitReason.GUARD if alone else ExitReason.PARTIAL)
        return
    outcomes = {result.outcome for result in report.results}
    complete, blocked = outcomes <= ACHIEVED, bool(report.plan.blocked)
    changed = {write.portfolio for write in writes if write.outcome in TOOK_EFFECT}
    halfway = any(result.change.id in changed for result in report.results if result.outcome not in ACHIEVED)
    if complete and not blocked:
        expected = {ExitReason.OK}
    elif outcomes - ACHIEVED == {Outcome.STALE} and not blocked and not halfway:
        expected = {ExitReason.STALE}
    elif halfway or outcomes & {Outcome.DONE, Outcome.UNKNOWN}:
        expected = {ExitReason.PARTIAL}
    else:
        expected = {ExitReason.ERROR, ExitReason.PERMISSION, ExitReason.UNREACHABLE}
    assert report.exit_reason in expected, f"{report.exit_reason.word}, not {expected}"
