"""Make the plan of a fleet: decide about every portfolio and strategy, and gather the decisions.

In: what is desired and live, keyed by id, what the journal knows, and what a base revision of the files declares. Out:
a :class:`~reconciler.core.plan.Plan`. With a base, every change has a :class:`~reconciler.core.change.Cause`. To find
it, the base is decided about with the same live state, records and policy as the plan; nothing is read again.

The plans of a halt and of its lift are made here, too. They are never saved.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.core.change import (
    Blocked,
    BlockReason,
    Cause,
    Change,
    ChangeReason,
    Decision,
    Halted,
    Held,
    Moved,
    Risk,
    Snapshot,
    Unchanged,
)
from reconciler.core.decide import DEFAULT_POLICY, Policy, decide, decide_strategy
from reconciler.core.diff import compare
from reconciler.core.guards import check_guards
from reconciler.core.model import (
    ApiVersion,
    AtStart,
    Cadence,
    Desired,
    Live,
    PausedBy,
    PortfolioId,
    Record,
    RunState,
    Status,
    StrategyDesired,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Unverified,
    Verb,
    Verdict,
    address_of,
    strategy_of,
)
from reconciler.core.plan import JournalState, Plan
from reconciler.core.report import ACHIEVED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.guards import Guards
    from reconciler.core.halt import Halt, HaltedPortfolio
    from reconciler.core.ports import Memory
    from reconciler.core.report import ApplyReport


class Strategies(Struct, frozen=True, kw_only=True):
    """Everything a plan needs to know of the selected strategies, keyed by id.

    ``live`` lacks strategies that were not read. ``reach`` counts enrolled portfolios, and ``running`` the active ones
    among them; both lack what could not be counted, and so does ``enrolled``, which tells one enrolment from another.
    ``on_mainnet`` gives, for each strategy that is known to have one, a portfolio that is enrolled in it and declared
    on ETH mainnet. ``names`` are the known names of strategies.
    ``follows`` holds the strategy of each declared portfolio that has one, ``None`` where it is not known which.
    """

    desired: Mapping[StrategyId, StrategyDesired]
    live: Mapping[StrategyId, StrategyLive]
    reach: Mapping[StrategyId, int] = field(default_factory=dict)
    running: Mapping[StrategyId, int] = field(default_factory=dict)
    enrolled: Mapping[StrategyId, str] = field(default_factory=dict)
    on_mainnet: Mapping[StrategyId, PortfolioId] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    follows: Mapping[PortfolioId, str | None] = field(default_factory=dict)


class _Decided(Struct, kw_only=True):
    """Collects decisions by their kind."""

    memory: Memory
    changes: list[Change] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    halted: list[Halted] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    no_op: int = 0
    unverified: int = 0

    def add(self, decision: Decision, *, running: int | None = None, enrolled: str | None = None) -> None:
        """Add a decision; a change also gets the last write to its portfolio or strategy that the journal knows."""
        match decision:
            case Unchanged():
                self.no_op += 1
                self.unverified += decision.unverified
            case Change():
                since = self.memory.since.get(decision.id)
                self.changes.append(replace(decision, since=since, running=running, enrolled=enrolled))
                self.unverified += any(f.verdict is Verdict.UNVERIFIED for f in decision.fields)
            case Held():
                self.held.append(decision)
                self.unverified += decision.unverified
            case Halted():
                self.halted.append(decision)
            case Moved():
                self.moved.append(decision)
            case Blocked():
                self.blocked.append(decision)
                self.unverified += decision.reason is BlockReason.UNVERIFIED
            case _:
                assert_never(decision)

    def onto(self, frame: Plan) -> Plan:
        """Return ``frame``, a plan without entries, with what was decided."""
        return replace(
            frame,
            changes=tuple(self.changes),
            held=tuple(self.held),
            halted=tuple(self.halted),
            blocked=tuple(self.blocked),
            moved=tuple(self.moved),
            no_op=self.no_op,
            unverified=self.unverified,
        )


def build_plan(
    frame: Plan,
    desired: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    memory: Memory,
    *,
    policy: Policy = DEFAULT_POLICY,
    guards: Guards | None = None,
    managed: int = 0,
) -> Plan:
    """Return ``frame``, a plan without entries, with a decision about every desired portfolio.

    ``live`` must hold each of them; both are keyed by portfolio id. ``memory`` is what the journal knew before the
    first of these reads: a write that came later makes a change stale. ``guards`` limit the changes. Their percentages
    refer to ``managed``, the number of portfolios in the whole declared fleet.
    """
    found = _Decided(memory=memory)
    for portfolio in sorted(desired):
        decision = decide(
            desired[portfolio],
            live[portfolio],
            memory.records.get(portfolio),
            policy,
            unanswered=portfolio in memory.unanswered,
            outdated=portfolio in memory.outdated,
            halts=memory.halting,
            remembered=memory.halts.get(portfolio),
        )
        found.add(decision)
    over = check_guards(found.changes, guards, managed=managed)
    return replace(found.onto(frame), over=over, journal=_journal_state(memory))


def _journal_state(memory: Memory) -> JournalState:
    """Return whether the journal could tell anything of the service."""
    if memory.records or memory.since:
        return JournalState.IN_USE
    return JournalState.NEW if memory.exists else JournalState.MISSING


def with_strategies(
    plan: Plan,
    strategies: Strategies,
    memory: Memory,
    *,
    unverified: Unverified = Unverified.WRITE,
    guards: Guards | None = None,
    managed: int = 0,
) -> Plan:
    """Return the plan with the decisions about strategies, and with the guard that they exceed if they reach too many.

    ``memory``, ``guards`` and ``managed`` are those that the plan was made with.
    """
    found = _Decided(memory=memory)
    for strategy, declared in sorted(strategies.desired.items()):
        decision = decide_strategy(
            declared,
            strategies.live.get(strategy) or StrategyLive(id=strategy, status=StrategyStatus.NOT_READ),
            memory.cadences.get(strategy),
            reach=strategies.reach.get(strategy),
            unverified=unverified,
            on_mainnet=strategies.on_mainnet.get(strategy),
            outdated=address_of(strategy) in memory.outdated,
            halts=memory.halting,
        )
        found.add(decision, running=strategies.running.get(strategy), enrolled=strategies.enrolled.get(strategy))
    return replace(
        plan,
        changes=tuple(sorted((*plan.changes, *found.changes), key=lambda change: change.id)),
        blocked=tuple(sorted((*plan.blocked, *found.blocked), key=lambda block: block.id)),
        halted=tuple(sorted((*plan.halted, *found.halted), key=lambda one: one.id)),
        strategies_no_op=found.no_op,
        over=(*plan.over, *check_guards(found.changes, guards, managed=managed)),
    )


def with_strategy_names(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Fill in the names of strategies that the plan lacks; ``names`` are keyed by a strategy's id."""

    def named(entry: Change | Blocked | Halted) -> str | None:
        return entry.name or names.get(strategy_of(entry.id) or "")

    return replace(
        plan,
        changes=tuple(replace(one, name=named(one)) if one.of_strategy else one for one in plan.changes),
        blocked=tuple(replace(one, name=named(one)) if strategy_of(one.id) else one for one in plan.blocked),
        halted=tuple(replace(one, name=named(one)) if strategy_of(one.id) else one for one in plan.halted),
        moved=tuple(
            replace(
                one,
                declared=replace(one.declared, name=one.declared.name or names.get(one.declared.strategy)),
                live=replace(one.live, name=names.get(one.live.strategy, one.live.name)),
            )
            for one in plan.moved
        ),
    )


class Declared(Protocol):
    """What files declare: as they are, or at a base revision."""

    @property
    def desired(self) -> Mapping[PortfolioId, Desired]:
        """The portfolios."""

    @property
    def strategies(self) -> Mapping[StrategyId, StrategyDesired]:
        """The strategies."""


def with_causes(
    plan: Plan,
    base: Declared,
    live: Mapping[PortfolioId, Live],
    memory: Memory,
    policy: Policy,
) -> Plan:
    """Return the plan with a cause on every change. ``base`` may lack a portfolio that the plan changes, ``live`` may
    not."""

    def cause(change: Change) -> Cause:
        strategy = change.of_strategy
        if strategy is not None:
            return cause_of_cadence(change, base.strategies.get(strategy), memory.cadences.get(strategy))
        portfolio = PortfolioId(change.id)
        return cause_of(change, base.desired.get(portfolio), live[portfolio], memory.records.get(portfolio), policy)

    return replace(plan, changes=tuple(replace(change, cause=cause(change)) for change in plan.changes))


def cause_of_cadence(change: Change, base: StrategyDesired | None, recorded: Cadence | None) -> Cause:
    """Return the cause of a cadence's change, by the same rules as for portfolios."""
    if base is None:
        return Cause.BRANCH
    if base.schedule is change.after.cadence:
        return Cause.DRIFT if recorded is base.schedule else Cause.PENDING
    return Cause.BRANCH if change.before.cadence in (None, base.schedule) else Cause.BOTH


def cause_of(change: Change, base: Desired | None, live: Live, record: Record | None, policy: Policy) -> Cause:
    """Return the cause of one planned change, given what the base declares of its portfolio.

    If the base would make the same change, the cause is *drift* if the journal says that the base was applied once,
    else *pending*. If the base declares something else, or nothing, it is *branch* if live agrees with the base, else
    *both*.
    """
    if base is None:
        return Cause.BRANCH
    decision = decide(base, live, record, policy)
    if isinstance(decision, Change) and _same(decision, change):
        return Cause.DRIFT if was_applied(base, record) else Cause.PENDING
    return Cause.BRANCH if _agrees(base, decision, live, record) else Cause.BOTH


def was_applied(desired: Desired, record: Record | None) -> bool:
    """Whether our last confirmed write left the portfolio as declared, whatever happened to it since.

    For a portfolio that is declared paused only the state counts, because its schedule is not written meanwhile.
    """
    if record is None or record.state is not desired.state:
        return False
    if desired.state is RunState.PAUSED:
        return True
    return desired.interval_ms in (None, record.interval_ms) and desired.offset_ms in (None, record.offset_ms)


def _same(decision: Change, change: Change) -> bool:
    """Whether both changes would do and send the same. They start from the same live state anyway."""
    sent = attrgetter("api", "verb", "after", "writes_schedule", "note", *AtStart.__struct_fields__)
    return bool(sent(decision) == sent(change))


def _agrees(base: Desired, decision: Decision, live: Live, record: Record | None) -> bool:
    """Whether live is as the base declares, as far as we know: nothing to do, or no field proven different."""
    if isinstance(decision, Unchanged):
        return True
    fields = compare(desired=base, live=live, record=record)
    return all(field.verdict is not Verdict.DIFFERENT for field in fields)


def halt_plan(halt: Halt, desired: Mapping[PortfolioId, Desired], *, created_ms: int) -> Plan:
    """Return the plan that pauses those of a halt's portfolios that run; ``desired`` is what the files declare.

    Each is looked at only right before its pause: that is the fastest way, and no state would be a reason to leave it
    running.
    """
    changes = tuple(
        Change(
            id=one.id,
            api=one.api,
            verb=Verb.PAUSE,
            before=Snapshot(state=Status.ACTIVE),
            after=Snapshot(state=Status.PAUSED),
            fields=(),
            reason=ChangeReason.HALTED,
            note=halt.reason,
            name=desired[one.id].name if one.id in desired else None,
            halt=halt.id,
        )
        for one in halt.portfolios
    )
    return Plan(created_ms=created_ms, base_url=halt.base_url, account=halt.account, changes=changes)


def with_pauses(halt: Halt, memory: Memory, strategies: Mapping[PortfolioId, str | None]) -> Halt:
    """Return a halt with what identifies each pause that it made, and the strategies that its portfolios follow."""

    def told(one: HaltedPortfolio) -> HaltedPortfolio:
        ours = memory.halts.get(one.id) == halt.id
        if one.api.can.keeps_reason:
            return replace(one, token=memory.pauses.get(one.id) if ours else None)
        record = memory.records.get(one.id)
        ours = ours and record is not None and record.state is RunState.PAUSED
        due = record.schedule_id if ours and record is not None else None
        return replace(one, strategy=strategies.get(one.id), due=due)

    return replace(halt, portfolios=tuple(map(told, halt.portfolios)))


class Lift(Struct, frozen=True, kw_only=True):
    """What is needed to lift a halt: its ``id``, what is ``live`` of its portfolios and on which of the APIs, what the
    journal remembers of them, and what the files declare, as far as they do. Mappings are keyed by portfolio."""

    id: str
    live: Mapping[PortfolioId, Live]
    apis: Mapping[PortfolioId, ApiVersion]
    memory: Memory
    desired: Mapping[PortfolioId, Desired]

    def plan(self, frame: Plan) -> Plan:
        """Return ``frame``, a plan without entries, with a resume of all that is still in the very pause of the halt.

        What another halt holds, or the files declare paused by now, stays paused. What is in another pause than the
        halt's was paused by somebody since.
        """
        found = _Decided(memory=self.memory)
        for portfolio in sorted(self.live):
            found.add(self._decided(portfolio))
        return found.onto(frame)

    def _decided(self, portfolio: PortfolioId) -> Decision:
        live, api, memory = self.live[portfolio], self.apis[portfolio], self.memory
        declared = self.desired.get(portfolio)
        named: dict[str, Any] = {"id": portfolio, "name": declared.name if declared is not None else None}
        unclear = decide(Desired(**named, api=api, state=RunState.PAUSED), live, None)
        if isinstance(unclear, Blocked):
            return unclear
        pausing = memory.pausing(live, api)
        if pausing is None:
            return self._paused_since(live, api, named) if live.status is Status.PAUSED else Unchanged()
        if pausing != self.id:
            return Halted(**named, halt=pausing)
        if (other := memory.halting.holder(portfolio, declared, besides=self.id)) is not None:
            return Halted(**named, halt=other.id, reason=other.reason, waits=Verb.RESUME)
        if declared is not None and declared.state is RunState.PAUSED:
            return Halted(**named, halt=self.id, reason="and declared paused by the files, so it stays")
        return Change(
            **named,
            api=api,
            verb=Verb.RESUME,
            before=Snapshot(state=Status.PAUSED),
            after=Snapshot(state=Status.ACTIVE),
            fields=(),
            reason=ChangeReason.HALT_LIFTED,
            risks=(Risk.TRADES_AGAIN, *(() if api.can.owns_schedule else (Risk.DUE_AT_ONCE,))),
            note=f"Halt {self.id} is lifted",
            pause_reason=live.pause_reason,
            pause_id=None if api.can.keeps_reason else live.schedule_id,
            halt=self.id,
        )

    def _paused_since(self, live: Live, api: ApiVersion, named: Mapping[str, Any]) -> Held | Unchanged:
        """Return the hold of a portfolio that the halt had paused; what was paused before the halt stays as it is."""
        known = self.memory.halting.named(self.id)
        one = known.by_id.get(live.id) if known is not None else None
        if self.memory.halts.get(live.id) != self.id and (one is None or not (one.token or one.due)):
            return Unchanged()
        return Held(**named, api=api, pause_reason=live.pause_reason, paused_by=PausedBy.OTHERS)


def is_lifted(plan: Plan, report: ApplyReport | None) -> bool:
    """Whether a second try could not resume any more of a halt than the plan of its lift, carried out as in ``report``.

    What is stale is in another state or pause than the halt left.
    """
    undone = {result.outcome for result in report.results} - ACHIEVED - {Outcome.STALE} if report is not None else ()
    return not undone and {one.reason for one in plan.blocked} <= {BlockReason.ARCHIVED, BlockReason.NOT_FOUND}
