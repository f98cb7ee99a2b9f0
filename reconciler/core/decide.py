"""The whole live × desired table: takes both sides and a record, makes one decision per portfolio or strategy.

In: one of them, desired, live and recorded, and what a person decided. Out: a change, a hold, a block or nothing.
Whatever is not in the table of the documentation is blocked, never guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.change import (
    Blocked,
    BlockReason,
    Change,
    ChangeReason,
    Decision,
    Field,
    FieldChange,
    Halted,
    Held,
    Moved,
    Risk,
    Snapshot,
    StrategyName,
    Unchanged,
    desired_status,
)
from reconciler.core.diff import compare, proven_same, schedule_of
from reconciler.core.evidence import (
    WantedSchedule,
    known_interval,
    known_offset,
    paused_by,
    paused_by_us,
    schedule_to_send,
)
from reconciler.core.halt import NO_HALTS
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    Live,
    PausedBy,
    Provenance,
    Record,
    RunState,
    Status,
    StrategyDesired,
    StrategyLive,
    StrategyStatus,
    Unverified,
    Verb,
    Verdict,
    address_of,
    at_start,
)

if TYPE_CHECKING:
    from reconciler.core.errors import ApiError
    from reconciler.core.halt import Halt, Halts


class Policy(Struct, frozen=True, kw_only=True):
    """What a person decided for this run: what to do about unverified fields, and which holds to let go.

    ``again`` names portfolios that may be asked for a run although an earlier request for one stayed unanswered.
    """

    unverified: Unverified = Unverified.WRITE
    resume_held: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()


DEFAULT_POLICY = Policy()
_AS_DESIRED: Final = Unchanged()
_NOT_READ: Final = (
    BlockReason.NOT_READ,
    "the live file does not hold it; make one that does with `reconciler status --out FILE`",
)
_OUTDATED: Final = (BlockReason.OUTDATED, "it was not read since our last write to it; read it again")


def decide(
    desired: Desired,
    live: Live,
    record: Record | None,
    policy: Policy = DEFAULT_POLICY,
    *,
    unanswered: bool = False,
    outdated: bool = False,
    halts: Halts = NO_HALTS,
    remembered: str | None = None,
) -> Decision:
    """Return what to do about one portfolio.

    ``unanswered`` says that a run of it was asked for, and may have begun, ``outdated`` that we wrote to it after
    ``live`` was read. ``halts`` are those that are known, ``remembered`` the one that the journal says our last pause
    was part of.
    """
    pausing = halts.pausing(live, record, desired.api, remembered=remembered) if not outdated else None
    if pausing is not None:
        known = halts.named(pausing)
        return _with_origin(Halted(id=desired.id, halt=pausing, reason=known.reason if known else None), desired)
    decision = _decided(desired, live, record, policy, unanswered=unanswered, outdated=outdated)
    return _with_origin(_unless_held(decision, halts.holder(desired.id, desired)), desired)


def _unless_held(decision: Decision, halt: Halt | None) -> Decision:
    """Return a decision, or that it waits for the lift of a halt; pauses never wait."""
    match decision:
        case Change() if halt is not None and decision.verb is not Verb.PAUSE:
            return Halted(id=decision.id, halt=halt.id, reason=halt.reason, waits=decision.verb)
        case _:
            return decision


def _decided(
    desired: Desired, live: Live, record: Record | None, policy: Policy, *, unanswered: bool, outdated: bool
) -> Decision:
    decision: Decision = _AS_DESIRED
    if outdated or not proven_same(desired=desired, live=live, record=record):
        decision = _Case(desired, live, record, policy).decided(unanswered=unanswered, outdated=outdated)
    if desired.strategy is not None and live.strategy is not None and live.strategy != desired.strategy:
        match decision:
            case Blocked() | Change(verb=Verb.PAUSE):  # less trading is right under either strategy
                pass
            case _:
                decision = Moved(
                    id=desired.id,
                    state=desired.state,
                    status=live.status,
                    declared=StrategyName(strategy=desired.strategy),
                    live=StrategyName(strategy=live.strategy, name=live.strategy_name, interval_ms=live.interval_ms),
                )
    return decision


def _with_origin(decision: Decision, desired: Desired | StrategyDesired) -> Decision:
    """Return a decision with the name of what it is about, whom to ask, and the place where that is declared."""
    match decision:
        case Unchanged():
            return decision
        case Held() | Halted() | Blocked() | Moved() if isinstance(desired, Desired):
            return replace(decision, name=desired.name, owner=desired.owner, source=desired.origin)
        case Change() if isinstance(desired, Desired):
            auto = desired.auto_offset and decision.after.offset_ms == desired.offset_ms
            return replace(decision, name=desired.name, source=desired.origin, auto_offset=auto)
        case _:
            return replace(decision, name=desired.name, source=desired.origin)


class _Case(Struct, frozen=True):
    """One portfolio to decide about by its two states, whatever strategy it follows."""

    desired: Desired
    live: Live
    record: Record | None
    policy: Policy

    def decided(self, *, unanswered: bool, outdated: bool) -> Change | Held | Blocked | Unchanged:
        """Return what to do; see :func:`decide`."""
        live = self.live
        if outdated:
            return self._block(*_OUTDATED)
        match live.status:
            case Status.ACTIVE:
                return self._when_active()
            case Status.PAUSED:
                return self._when_paused()
            case Status.INACTIVE if self.desired.api.can.owns_schedule:
                return self._when_inactive(unanswered=unanswered)
            case Status.INACTIVE | Status.NO_SCHEDULE:
                return self._without_schedule()
            case Status.ARCHIVED:
                return self._block(BlockReason.ARCHIVED, "it is archived; unarchive it or remove it from the files")
            case Status.ERROR:
                detail = "Glider reports the status 'error'; look at the portfolio there, then plan again"
                return self._block(BlockReason.ERROR_STATUS, detail)
            case Status.UNKNOWN:
                detail = f"Glider reports the status {live.word!r}, which this version does not know"
                return self._block(BlockReason.UNKNOWN_STATUS, detail)
            case Status.NOT_FOUND | Status.UNREADABLE | Status.NOT_READ:
                return self._unseen()
            case _:
                assert_never(live.status)

    def _without_schedule(self) -> Blocked | Unchanged:
        """Return what to do where nothing can be started or stopped: nothing runs, which is all that paused asks."""
        if self.desired.state is RunState.PAUSED:
            return _AS_DESIRED
        detail = "Glider keeps no schedule for it, so it can't be resumed; look at its strategy there"
        return self._block(BlockReason.NO_SCHEDULE, detail)

    def _unseen(self) -> Blocked:
        """Return the block of a portfolio that could not be read."""
        failure = self.live.failure
        if self.live.status is Status.NOT_READ:
            return self._block(*_NOT_READ)
        if self.live.status is Status.UNREADABLE:
            return self._block(*_read_failed(failure))
        # In the service's words, but without the ids of the request: the same fleet gives the same plan.
        said = f" ({failure.summary})" if failure is not None else ""
        repair = failure.detail if failure is not None else ""
        absent = f"{self.desired.api} has no such portfolio, or the key may not see it{said}"
        return self._block(BlockReason.NOT_FOUND, f"{absent}; {repair or 'check the id'}")

    def _when_inactive(self, *, unanswered: bool) -> Change | Blocked | Unchanged:
        desired = self.desired
        if desired.state is RunState.PAUSED:
            return _AS_DESIRED
        if desired.interval_ms is None:
            detail = "nothing runs yet, and a start needs an interval; declare one"
            return self._block(BlockReason.START_NEEDS_INTERVAL, detail)
        if desired.run_on_start and unanswered and desired.id not in self.policy.again:
            detail = (
                "an earlier request for a run of it was not answered, and may have begun one: look with "
                f"`reconciler status {desired.id}`, and name it with --again {desired.id} to start it all the same"
            )
            return self._block(BlockReason.RUN_UNANSWERED, detail)
        at_once = [Risk.RUNS_AT_ONCE] if desired.run_on_start else []
        return Change(
            id=desired.id,
            api=desired.api,
            verb=Verb.START,
            before=Snapshot(state=Status.INACTIVE),
            after=Snapshot(state=Status.ACTIVE, interval_ms=desired.interval_ms, offset_ms=desired.offset_ms),
            fields=_of_a_start(desired),
            reason=ChangeReason.NOT_RUNNING,
            risks=(*at_once, Risk.TRADES_AGAIN),
            writes_schedule=True,
            **at_start(desired),
        )

    def _when_active(self) -> Change | Blocked | Unchanged:
        desired, live, fields = self.desired, self.live, self._fields()
        if desired.state is RunState.PAUSED:
            return Change(
                id=desired.id,
                api=desired.api,
                cadence_ms=self._cadence_ms(),
                strategy=live.strategy,
                verb=Verb.PAUSE,
                before=self._observed(),
                after=Snapshot(state=Status.PAUSED),
                fields=fields[:1],
                reason=ChangeReason.DECLARED_PAUSED,
                note=desired.reason,
                next_run_ms=live.next_run_ms,
            )
        if not self._needs_schedule(fields):
            return Unchanged(unverified=_is_unverified(fields))
        proven = any(f.verdict is Verdict.DIFFERENT for f in schedule_of(fields))
        reason = ChangeReason.SCHEDULE_DIFFERS if proven else ChangeReason.SCHEDULE_UNVERIFIED
        return self._write_schedule(fields, Verb.UPDATE, reason)

    def _when_paused(self) -> Change | Held | Blocked | Unchanged:
        desired, live, fields = self.desired, self.live, self._fields()
        if desired.state is RunState.PAUSED:
            return Unchanged(unverified=_is_unverified(fields))
        if paused_by_us(live, self.record, desired.api):
            return self._write_schedule(fields, Verb.RESUME, ChangeReason.PAUSED_BY_US)
        if desired.hold_override or desired.id in self.policy.resume_held:
            return self._write_schedule(fields, Verb.RESUME, ChangeReason.HOLD_OVERRIDDEN)
        return Held(
            id=desired.id,
            api=desired.api,
            pause_reason=live.pause_reason,
            paused_by=paused_by(live, self.record, desired.api) or PausedBy.UNKNOWN,
            last_run_ms=live.scheduled_ms[0] if live.scheduled_ms else None,
            unverified=_is_unverified(fields),
        )

    def _write_schedule(self, fields: tuple[FieldChange, ...], verb: Verb, reason: ChangeReason) -> Change | Blocked:
        """Return an update, or a resume that settles the schedule with it where it is not proven the same."""
        desired, live = self.desired, self.live
        if self.policy.unverified is Unverified.FAIL and (unknown := _names_of_unverified(fields)):
            detail = f"the live {unknown} can't be known, and unverified fields fail"
            return self._block(BlockReason.UNVERIFIED, detail)
        writes = self._needs_schedule(fields)
        wanted = schedule_to_send(desired, live, self.record) if writes else _declared_schedule(desired)
        if isinstance(wanted, str):
            return self._block(BlockReason.OFFSET_NEEDS_INTERVAL, wanted)
        unverified = (Risk.UNVERIFIED_WRITE,) if writes and _is_unverified(fields) else ()
        change = Change(
            id=desired.id,
            api=desired.api,
            cadence_ms=self._cadence_ms(),
            strategy=live.strategy,
            verb=verb,
            before=self._observed(),
            after=Snapshot(
                state=desired_status(desired.state), interval_ms=wanted.interval_ms, offset_ms=wanted.offset_ms
            ),
            fields=fields,
            reason=reason,
            risks=(*wanted.risks, *unverified),
            writes_schedule=writes,
        )
        return self._resumed(change) if verb is Verb.RESUME else replace(change, next_run_ms=live.next_run_ms)

    def _resumed(self, change: Change) -> Change:
        """Return what a resume has beyond an update: its reason, the pause that it lifts, and what trading on risks."""
        can = self.desired.api.can
        overridden = (Risk.HOLD_OVERRIDDEN,) if change.reason is ChangeReason.HOLD_OVERRIDDEN else ()
        at_once = () if can.owns_schedule else (Risk.DUE_AT_ONCE,)
        return replace(
            change,
            risks=(*overridden, Risk.TRADES_AGAIN, *at_once, *change.risks),
            note=self.desired.reason,
            pause_reason=self.live.pause_reason,
            pause_id=None if can.keeps_reason else self.live.schedule_id,
        )

    def _fields(self) -> tuple[FieldChange, ...]:
        return compare(desired=self.desired, live=self.live, record=self.record)

    def _needs_schedule(self, fields: tuple[FieldChange, ...]) -> bool:
        """Whether interval or offset must be written: proven different, or unknown and not skipped."""
        skipped = self.policy.unverified is Unverified.SKIP
        return any(
            f.verdict is Verdict.DIFFERENT or (f.verdict is Verdict.UNVERIFIED and not skipped)
            for f in schedule_of(fields)
        )

    def _observed(self) -> Snapshot:
        """Return what a change starts from. On v2 that is the state alone: its strategy may set another cadence in the
        meantime, even in the same apply, and what the change would do stays the same."""
        live, record = self.live, self.record
        if not self.desired.api.can.owns_schedule:
            return Snapshot(state=live.status)
        interval, offset = known_interval(live, record), known_offset(live, record)
        return Snapshot(state=live.status, interval_ms=interval.value, offset_ms=offset.value)

    def _cadence_ms(self) -> int | None:
        return None if self.desired.api.can.owns_schedule else self.live.interval_ms

    def _block(self, reason: BlockReason, detail: str) -> Blocked:
        live = self.live
        return Blocked(
            id=self.desired.id,
            api=self.desired.api,
            reason=reason,
            detail=detail,
            status=live.word or live.status.value,
            failure=live.failure.kind if live.failure else None,
        )


def _read_failed(failure: ApiError | None) -> tuple[BlockReason, str]:
    return BlockReason.READ_FAILED, f"reading failed: {failure}" if failure else "reading failed"


def _of_a_start(desired: Desired) -> tuple[FieldChange, ...]:
    """Return the fields of a start: it is known that there is no live schedule, so no field is unverified."""
    wanted = (
        (Field.STATE, Status.INACTIVE.value, desired.state.value),
        (Field.INTERVAL, None, desired.interval_ms),
        (Field.OFFSET, None, desired.offset_ms),
    )
    return tuple(
        FieldChange(field=name, live=live, desired=value, verdict=Verdict.DIFFERENT, provenance=Provenance.READ)
        for name, live, value in wanted
        if value is not None
    )


def _declared_schedule(desired: Desired) -> WantedSchedule:
    return WantedSchedule(desired.interval_ms, desired.offset_ms)


def _names_of_unverified(fields: tuple[FieldChange, ...]) -> str:
    """Return ``interval and offset``, or one of them; ``""`` where neither is unverified."""
    unverified = [f for f in schedule_of(fields) if f.verdict is Verdict.UNVERIFIED]
    return " and ".join(f.field.value.removesuffix("_ms") for f in unverified)


def _is_unverified(fields: tuple[FieldChange, ...]) -> bool:
    return any(f.verdict is Verdict.UNVERIFIED for f in fields)


def decide_strategy(
    desired: StrategyDesired,
    live: StrategyLive,
    recorded: Cadence | None = None,
    *,
    reach: int | None = None,
    unverified: Unverified = Unverified.WRITE,
    on_mainnet: str | None = None,
    outdated: bool = False,
    halts: Halts = NO_HALTS,
) -> Decision:
    """Return what to do about one strategy. ``recorded`` stands in where the service shows no schedule (§4.7).

    ``outdated`` says that we wrote to it after ``live`` was read.
    ``on_mainnet`` names a portfolio of it on ETH mainnet, where Glider is taken to refuse an hourly cadence (§6).
    """
    before = live.cadence if live.status is StrategyStatus.FOUND else recorded
    why = _OUTDATED if outdated else _why_blocked(live)
    if why is None:
        if before is desired.schedule or (before is None and unverified is Unverified.SKIP):
            return _AS_DESIRED
        why = _why_refused(desired, before, unverified, on_mainnet)
    if why is None:
        change = _set_cadence(desired, live, before, reach)
        return _with_origin(_unless_held(change, halts.holder(address_of(desired.id))), desired)
    blocked = Blocked(
        id=address_of(desired.id),
        api=ApiVersion.V2,
        reason=why[0],
        detail=why[1],
        status=live.status.value,
        failure=live.failure.kind if live.failure else None,
    )
    return _with_origin(blocked, desired)


def _why_blocked(live: StrategyLive) -> tuple[BlockReason, str] | None:
    """Return why nothing can be done about a strategy of which no read told enough."""
    match live.status:
        case StrategyStatus.FOUND:
            return None
        case StrategyStatus.UNKNOWN:
            detail = f"Glider reports the cadence {live.word!r}, which this version does not know"
            return (BlockReason.UNKNOWN_CADENCE, detail) if live.word else None
        case StrategyStatus.NOT_FOUND:
            detail = "Glider has no such strategy, or it is not yours; check the id, or remove it from the files"
            return BlockReason.NOT_FOUND, detail
        case StrategyStatus.UNREADABLE:
            return _read_failed(live.failure)
        case StrategyStatus.NOT_READ:
            return _NOT_READ
        case _:
            assert_never(live.status)


def _why_refused(
    desired: StrategyDesired, before: Cadence | None, unverified: Unverified, on_mainnet: str | None
) -> tuple[BlockReason, str] | None:
    """Return why a cadence that is not as desired is not set all the same."""
    if before is None and unverified is Unverified.FAIL:
        return BlockReason.UNVERIFIED, "the live schedule can't be known, and unverified fields fail"
    if desired.schedule is Cadence.HOURLY and on_mainnet is not None:
        detail = (
            f"hourly is below the minimum of 24h on ETH mainnet, where its portfolio {on_mainnet} is; "
            "declare daily, weekly or monthly"
        )
        return BlockReason.BELOW_MAINNET_MINIMUM, detail
    return None


def _set_cadence(desired: StrategyDesired, live: StrategyLive, before: Cadence | None, reach: int | None) -> Change:
    """Return the change of a strategy's cadence; ``before`` is the one in force, ``None`` where it is not known."""
    unknown = Provenance.NONE if before is None else Provenance.RECORDED
    field = FieldChange(
        field=Field.SCHEDULE,
        live=before,
        desired=desired.schedule,
        verdict=Verdict.UNVERIFIED if before is None else Verdict.DIFFERENT,
        provenance=Provenance.READ if live.status is StrategyStatus.FOUND else unknown,
    )
    risks = [Risk.REACH_UNKNOWN if reach is None else Risk.REACHES_PORTFOLIOS]
    if before is None:
        risks.append(Risk.UNVERIFIED_WRITE)
    elif desired.schedule.rank < before.rank:
        risks.append(Risk.MORE_RUNS)
    return Change(
        id=address_of(desired.id),
        api=ApiVersion.V2,
        verb=Verb.UPDATE,
        before=Snapshot(cadence=before),
        after=Snapshot(cadence=desired.schedule),
        fields=(field,),
        reason=ChangeReason.SCHEDULE_UNVERIFIED if before is None else ChangeReason.SCHEDULE_DIFFERS,
        risks=tuple(risks),
        writes_schedule=True,
        reach=reach,
    )
