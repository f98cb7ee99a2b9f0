"""Freezes: windows of time, declared in the files, in which certain kinds of changes don't begin; and the gate that is
asked before every write whether a freeze or a halt holds it.

In: freezes, what a plan or a rebalance is about, and a moment. Out: the windows that concern it, and whether it waits
at that moment. Every moment is by the service's clock, in UTC epoch milliseconds. A pause is never frozen. A
change that has begun is finished: the schedule that follows a start or a resume does not wait.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.change import Frozen, Window
from reconciler.core.fleet import EVERYTHING, Selection
from reconciler.core.intent import Call, GateClosed
from reconciler.core.model import PortfolioId, Status, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from reconciler.core.change import Change
    from reconciler.core.diagnostics import SourceSpan
    from reconciler.core.halt import Halt
    from reconciler.core.intent import Intent
    from reconciler.core.model import Address, Desired
    from reconciler.core.plan import Plan


class Freezable(StrEnum):
    """What a freeze may forbid."""

    START = "start"
    RESUME = "resume"
    UPDATE = "update"
    REBALANCE = "rebalance"


class Freeze(Struct, frozen=True, kw_only=True):
    """One freeze as declared; ``selection`` holds only conditions like those of ``--select``.

    ``span`` is the place of its name, and ``select_span`` that of its conditions, in the files.
    """

    window: Window
    forbid: tuple[Freezable, ...] = tuple(Freezable)
    selection: Selection = EVERYTHING
    span: SourceSpan | None = None
    select_span: SourceSpan | None = None

    def __str__(self) -> str:
        """Return when it holds and what it forbids, for people."""
        return f"{self.window}: no {', '.join(self.forbid)}"


def frozen_at(windows: Iterable[Window], now_ms: int, allowed: frozenset[str] = frozenset()) -> Frozen | None:
    """Return why a change with these windows waits at a moment, ``None`` if it does not.

    ``allowed`` are the names of freezes that a person let it through.
    """
    by: list[str] = []
    then: list[str] = []
    until_ms = now_ms
    for one in sorted(windows, key=lambda one: (one.from_ms, one.name)):
        if one.name in allowed or one.to_ms <= now_ms or one.from_ms > until_ms:
            continue
        (by if one.from_ms <= now_ms else then).append(one.name)
        until_ms = max(until_ms, one.to_ms)
    return Frozen(by=tuple(by), then=tuple(then), until_ms=until_ms) if by else None


def windows_of(
    freezes: Iterable[Freeze], verbs: frozenset[Freezable], reached: Callable[[Selection], bool], *, now_ms: int = 0
) -> tuple[Window, ...]:
    """Return the windows that forbid any of these verbs and are not over at ``now_ms``. ``reached`` says whether a
    selection reaches what the question is about."""
    return tuple(
        one.window
        for one in freezes
        if one.window.to_ms > now_ms and not verbs.isdisjoint(one.forbid) and reached(one.selection)
    )


def with_freezes(
    plan: Plan,
    freezes: Sequence[Freeze],
    desired: Mapping[PortfolioId, Desired],
    follows: Mapping[PortfolioId, str | None],
    *,
    now_ms: int,
) -> Plan:
    """Return the plan with what the freezes mean for each of its changes. ``desired`` is all that the files declare.

    ``follows`` holds the strategy of every declared portfolio that has one, ``None`` if it is not known which. Such a
    portfolio may follow any strategy, so its freezes hold for all of them.
    """

    def frozen(change: Change) -> Change:
        strategy, of_change = change.of_strategy, desired.get(PortfolioId(change.id))

        def reached(selection: Selection) -> bool:
            if strategy is None or selection.everything:
                return selection.passes(change.id, of_change)
            return any(selection.passes(i, desired[i]) for i, one in follows.items() if one in (None, strategy))

        windows = windows_of(freezes, _verbs_of(change), reached, now_ms=now_ms)
        return replace(change, freezes=windows, frozen=frozen_at(windows, now_ms)) if windows else change

    return replace(plan, changes=tuple(map(frozen, plan.changes))) if freezes else plan


def let_through(plan: Plan, allowed: frozenset[str]) -> Plan:
    """Return a plan of this moment in which nothing waits for freezes of these names."""

    def left(change: Change) -> Change:
        by = tuple(name for name in change.frozen.by if name not in allowed) if change.frozen is not None else ()
        return replace(change, frozen=replace(change.frozen, by=by) if change.frozen is not None and by else None)

    return replace(plan, changes=tuple(map(left, plan.changes))) if allowed else plan


def _verbs_of(change: Change) -> frozenset[Freezable]:
    """Return which of the things that can be forbidden a change does."""
    match change.verb:
        case Verb.PAUSE:
            return frozenset()
        case Verb.UPDATE:
            return frozenset({Freezable.UPDATE})
        case Verb.RESUME:
            return frozenset({Freezable.RESUME, *([Freezable.UPDATE] if change.writes_schedule else [])})
        case Verb.START:
            return frozenset({Freezable.START, *([Freezable.REBALANCE] if change.run_on_start else [])})
        case _:
            assert_never(change.verb)


class WriteGate(Struct, frozen=True, kw_only=True):
    """Says why a write must not begin now: because of a halt, or of a freeze. A pause always may.

    ``known`` are the halts that were there when the plan was made; one that came later ends the whole run, because the
    plan was made without it. ``in_files`` returns those that the files hold at this moment, by id. ``windows`` are
    those of each portfolio or strategy that is to be written to, and ``now_ms`` tells the service's time. ``allowed``
    names freezes that a person let it through. ``left`` is what waits in any case, with its freeze, even if that is
    over by now: the plan showed it as waiting.
    """

    known: frozenset[str] = frozenset()
    in_files: Callable[[], Mapping[str, Halt]] = dict
    windows: Mapping[Address, tuple[Window, ...]] = {}
    now_ms: Callable[[], int] = int
    allowed: frozenset[str] = frozenset()
    left: Mapping[Address, Frozen] = {}

    def waits(self, address: Address) -> Frozen | None:
        """Return why nothing may begin now with this portfolio or strategy because of a freeze, ``None`` if it may."""
        return self.left.get(address) or frozen_at(self.windows.get(address, ()), self.now_ms(), self.allowed)

    def require_open(self, intent: Intent, halts: Collection[Halt]) -> None:
        """Raise :class:`~reconciler.core.intent.GateClosed` if this write must not begin now.

        ``halts`` are those of the journal that are not lifted. It is called in the journal's thread, inside the
        transaction that makes the intent durable, so it must not take long. The lift of a halt may begin what only that
        halt holds. The schedule that follows a start or a resume passes a freeze: what has begun is finished.
        """
        if intent.call is Call.PAUSE:
            return
        for _, halt in sorted((dict(self.in_files()) | {one.id: one for one in halts}).items()):
            if halt.id == intent.halt:
                continue
            if halt.id not in self.known:
                raise GateClosed(f"{halt.words} has begun since it was planned; nothing more begins", ends_run=True)
            if halt.holds(intent.address):
                raise GateClosed(halt.why_held)
        finishes = intent.is_step and intent.before.status is Status.ACTIVE
        if not finishes and (frozen := self.waits(intent.address)) is not None:
            raise GateClosed(str(frozen), frozen=frozen)
