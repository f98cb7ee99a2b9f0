"""The whole live × desired table: from two sides and a record to one decision a portfolio or strategy.

In: one of them, desired, live and recorded, and what a person decided. Out: a change, a hold, a block or nothing.
Fails closed: what is not in the table of the documentation is blocked, never guessed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from msgspec import Struct

from reconciler.core.diff import compare, proven_same, schedule_of
from reconciler.core.evidence import (
    WantedSchedule,
    known_interval,
    known_offset,
    paused_by,
    paused_by_us,
    schedule_to_send,
)
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
    Verb,
    Verdict,
    address_of,
)
from reconciler.core.plan import (
    Blocked,
    BlockReason,
    Change,
    ChangeReason,
    Decision,
    Field,
    FieldChange,
    Held,
    Moved,
    Risk,
    Snapshot,
    StrategyName,
    Unchanged,
    desired_status,
)


class Unverified(StrEnum):
    """What to do about a field that can't be known."""

    WRITE = "write"
    SKIP = "skip"
    FAIL = "fail"


class Policy(Struct, frozen=True, kw_only=True):
    """What a person decided for this run.

    About unverified fields, which holds to let go, and which portfolios may be asked for a run ``again`` although an
    earlier request for one stayed unanswered.
    """

    unverified: Unverified = Unverified.WRITE
    resume_held: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()


DEFAULT_POLICY = Policy()
_AS_DESIRED = Unchanged()


def decide(
    desired: Desired,
    live: Live,
    record: Record | None,
    policy: Policy = DEFAULT_POLICY,
    *,
    unanswered: bool = False,
) -> Decision:
    """Return what to do about one portfolio; ``unanswered`` says that a run of it was asked for, and may have begun."""
    decision = _by_status(desired, live, record, policy, unanswered=unanswered)
    if desired.strategy is None or live.strategy is None or live.strategy == desired.strategy:
        return decision
    match decision:
        case Blocked() | Change(verb=Verb.PAUSE):  # less trading is right by either strategy
            return decision
        case _:
            return Moved(
                id=desired.id,
                state=desired.state,
                status=live.status,
                declared=StrategyName(strategy=desired.strategy),
                live=StrategyName(strategy=live.strategy, name=live.strategy_name, interval_ms=live.interval_ms),
                name=desired.name,
                source=desired.origin,
            )


def _by_status(
    desired: Desired, live: Live, record: Record | None, policy: Policy, *, unanswered: bool
) -> Change | Held | Blocked | Unchanged:
    """Decide by the two states, whatever strategy a portfolio of v2 follows."""
    if proven_same(desired=desired, live=live, record=record):
        return _AS_DESIRED
    match live.status:
        case Status.ACTIVE:
            return _when_active(desired, live, record, policy)
        case Status.PAUSED:
            return _when_paused(desired, live, record, policy)
        case Status.INACTIVE:
            return _when_inactive(desired, live, unanswered=unanswered and desired.id not in policy.again)
        case Status.ARCHIVED:
            return _block(
                desired, live, BlockReason.ARCHIVED, "it is archived; unarchive it or remove it from the files"
            )
        case Status.ERROR:
            detail = "Glider reports the status 'error'; look at the portfolio there, then plan again"
            return _block(desired, live, BlockReason.ERROR_STATUS, detail)
        case Status.UNKNOWN:
            detail = f"Glider reports the status {live.word!r}, which this version does not know"
            return _block(desired, live, BlockReason.UNKNOWN_STATUS, detail)
        case Status.NO_SCHEDULE:
            return _without_schedule(desired, live)
        case Status.NOT_FOUND | Status.UNREADABLE | Status.NOT_READ:
            return _unseen(desired, live)
        case _:
            assert_never(live.status)


def _without_schedule(desired: Desired, live: Live) -> Blocked | Unchanged:
    """Return what to do where nothing can be started or stopped: nothing runs, which is all that paused asks."""
    if desired.state is RunState.PAUSED:
        return Unchanged()
    detail = "Glider keeps no schedule for it, so it can't be resumed; look at its strategy there"
    return _block(desired, live, BlockReason.NO_SCHEDULE, detail)


def _unseen(desired: Desired, live: Live) -> Blocked:
    """Return the block of a portfolio of which no read told anything."""
    if live.status is Status.NOT_FOUND:
        # In the service's words, but without the ids of the request: the same fleet gives the same plan.
        said = f" (Glider says: {live.failure.summary})" if live.failure is not None else ""
        detail = f"{desired.api.value} has no such portfolio, or the key may not see it{said}"
        more = live.failure.detail if live.failure is not None else ""
        detail = f"{detail}; {more or 'check the id'}"
        return _block(desired, live, BlockReason.NOT_FOUND, detail)
    if live.status is Status.NOT_READ:
        detail = "the live file does not hold it; make one that does with `reconciler status --out FILE`"
        return _block(desired, live, BlockReason.NOT_READ, detail)
    detail = f"reading failed: {live.failure}" if live.failure else "reading failed"
    return _block(desired, live, BlockReason.READ_FAILED, detail)


def _when_inactive(desired: Desired, live: Live, *, unanswered: bool) -> Change | Blocked | Unchanged:
    if not desired.api.can.owns_schedule:  # nothing can be started there
        return _without_schedule(desired, live)
    match desired.state:
        case RunState.PAUSED:
            return Unchanged()
        case RunState.ACTIVE:
            if desired.interval_ms is None:
                detail = "nothing runs yet, and a start needs an interval; declare one"
                return _block(desired, live, BlockReason.START_NEEDS_INTERVAL, detail)
            if desired.run_on_start and unanswered:
                detail = (
                    "an earlier request for a run of it was not answered, and may have begun one: look with "
                    f"`reconciler status {desired.id}`, and name it with --again {desired.id} to start it all the same"
                )
                return _block(desired, live, BlockReason.RUN_UNANSWERED, detail)
            risks = [Risk.RUNS_AT_ONCE] if desired.run_on_start else []
            return Change(
                id=desired.id,
                api=desired.api,
                verb=Verb.START,
                before=Snapshot(state=Status.INACTIVE),
                after=Snapshot(state=Status.ACTIVE, interval_ms=desired.interval_ms, offset_ms=desired.offset_ms),
                fields=_of_a_start(desired),
                reason=ChangeReason.NOT_RUNNING,
                risks=(*risks, Risk.TRADES_AGAIN),
                writes_schedule=True,
                run_on_start=desired.run_on_start,
                name=desired.name,
                source=desired.origin,
            )
        case _:
            assert_never(desired.state)


def _of_a_start(desired: Desired) -> tuple[FieldChange, ...]:
    """Return the fields of a start: there is no live schedule, and that is known, so nothing is unverified."""
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


def _when_active(desired: Desired, live: Live, record: Record | None, policy: Policy) -> Change | Blocked | Unchanged:
    fields = compare(desired=desired, live=live, record=record)
    match desired.state:
        case RunState.PAUSED:
            return Change(
                id=desired.id,
                api=desired.api,
                cadence_ms=_cadence(desired, live),
                strategy=live.strategy,
                verb=Verb.PAUSE,
                before=_observed(desired, live, record),
                after=Snapshot(state=Status.PAUSED),
                fields=fields[:1],
                reason=ChangeReason.DECLARED_PAUSED,
                note=desired.reason,
                next_run_ms=live.next_run_ms,
                name=desired.name,
                source=desired.origin,
            )
        case RunState.ACTIVE:
            if not _needs_schedule(fields, policy):
                return Unchanged(unverified=_is_unverified(fields))
            proven = any(f.verdict is Verdict.DIFFERENT for f in schedule_of(fields))
            reason = ChangeReason.SCHEDULE_DIFFERS if proven else ChangeReason.SCHEDULE_UNVERIFIED
            return _write_schedule(desired, live, record, fields, policy, Verb.UPDATE, reason)
        case _:
            assert_never(desired.state)


def _when_paused(
    desired: Desired, live: Live, record: Record | None, policy: Policy
) -> Change | Held | Blocked | Unchanged:
    fields = compare(desired=desired, live=live, record=record)
    match desired.state:
        case RunState.PAUSED:
            return Unchanged(unverified=_is_unverified(fields))
        case RunState.ACTIVE:
            if paused_by_us(live, record, desired.api):
                reason = ChangeReason.PAUSED_BY_US
            elif desired.hold_override or desired.id in policy.resume_held:
                reason = ChangeReason.HOLD_OVERRIDDEN
            else:
                return Held(
                    id=desired.id,
                    api=desired.api,
                    pause_reason=live.pause_reason,
                    paused_by=paused_by(live, record, desired.api) or PausedBy.UNKNOWN,
                    last_run_ms=live.scheduled_ms[0] if live.scheduled_ms else None,
                    name=desired.name,
                    unverified=_is_unverified(fields),
                    source=desired.origin,
                )
            return _write_schedule(desired, live, record, fields, policy, Verb.RESUME, reason)
        case _:
            assert_never(desired.state)


def _write_schedule(
    desired: Desired,
    live: Live,
    record: Record | None,
    fields: tuple[FieldChange, ...],
    policy: Policy,
    verb: Verb,
    reason: ChangeReason,
) -> Change | Blocked:
    """Return an update, or a resume that settles the schedule with it where it is not proven the same."""
    refused = _refused_unverified(desired, live, fields, policy)
    if refused:
        return refused
    writes = _needs_schedule(fields, policy)
    at_once = [Risk.DUE_AT_ONCE] if verb is Verb.RESUME and not desired.api.can.owns_schedule else []
    wanted = (
        schedule_to_send(desired, live, record) if writes else WantedSchedule(desired.interval_ms, desired.offset_ms)
    )
    if isinstance(wanted, str):
        return _block(desired, live, BlockReason.OFFSET_NEEDS_INTERVAL, wanted)
    risks = [*at_once, *wanted.risks, *([Risk.UNVERIFIED_WRITE] if writes and _is_unverified(fields) else [])]
    if verb is Verb.RESUME:
        risks.insert(0, Risk.TRADES_AGAIN)
        if reason is ChangeReason.HOLD_OVERRIDDEN:
            risks.insert(0, Risk.HOLD_OVERRIDDEN)
    return Change(
        id=desired.id,
        api=desired.api,
        cadence_ms=_cadence(desired, live),
        strategy=live.strategy,
        verb=verb,
        before=_observed(desired, live, record),
        after=Snapshot(state=desired_status(desired.state), interval_ms=wanted.interval_ms, offset_ms=wanted.offset_ms),
        fields=fields,
        reason=reason,
        risks=tuple(risks),
        writes_schedule=writes,
        note=desired.reason if verb is Verb.RESUME else None,
        pause_reason=live.pause_reason if verb is Verb.RESUME else None,
        pause_id=live.schedule_id if verb is Verb.RESUME and not desired.api.can.keeps_reason else None,
        next_run_ms=live.next_run_ms if verb is Verb.UPDATE else None,
        name=desired.name,
        source=desired.origin,
    )


def _needs_schedule(fields: tuple[FieldChange, ...], policy: Policy) -> bool:
    """Whether interval or offset must be written: proven different, or unknown and not skipped."""
    return any(
        f.verdict is Verdict.DIFFERENT or (f.verdict is Verdict.UNVERIFIED and policy.unverified is not Unverified.SKIP)
        for f in schedule_of(fields)
    )


def _refused_unverified(
    desired: Desired, live: Live, fields: tuple[FieldChange, ...], policy: Policy
) -> Blocked | None:
    if policy.unverified is not Unverified.FAIL or not _is_unverified(fields):
        return None
    names = " and ".join(
        f.field.value.removesuffix("_ms") for f in schedule_of(fields) if f.verdict is Verdict.UNVERIFIED
    )
    return _block(desired, live, BlockReason.UNVERIFIED, f"the live {names} can't be known, and unverified fields fail")


def _is_unverified(fields: tuple[FieldChange, ...]) -> bool:
    return any(f.verdict is Verdict.UNVERIFIED for f in fields)


def _observed(desired: Desired, live: Live, record: Record | None) -> Snapshot:
    """Return what a change starts from. On v2 the state alone: its strategy may set another cadence in the meantime,
    even in the same apply, and what the change would do stays the same."""
    if not desired.api.can.owns_schedule:
        return Snapshot(state=live.status)
    return Snapshot(
        state=live.status,
        interval_ms=known_interval(live, record).value,
        offset_ms=known_offset(live, record).value,
    )


def _cadence(desired: Desired, live: Live) -> int | None:
    return None if desired.api.can.owns_schedule else live.interval_ms


def _block(desired: Desired, live: Live, reason: BlockReason, detail: str) -> Blocked:
    return Blocked(
        id=desired.id,
        api=desired.api,
        reason=reason,
        detail=detail,
        status=live.word or live.status.value,
        failure=live.failure.kind if live.failure else None,
        name=desired.name,
        source=desired.origin,
    )


def decide_strategy(
    desired: StrategyDesired,
    live: StrategyLive,
    recorded: Cadence | None = None,
    *,
    reach: int | None = None,
    unverified: Unverified = Unverified.WRITE,
    on_mainnet: str | None = None,
) -> Change | Blocked | Unchanged:
    """Return what to do about one strategy. ``recorded`` stands in where the service shows no schedule (§4.7).

    ``on_mainnet`` names a portfolio of it on ETH mainnet, where Glider is taken to refuse an hourly cadence (§6).
    """
    known = _known_cadence(desired, live, recorded)
    if isinstance(known, Blocked):
        return known
    before, provenance = known
    if before is desired.schedule or (before is None and unverified is Unverified.SKIP):
        return _AS_DESIRED
    if before is None and unverified is Unverified.FAIL:
        detail = "the live schedule can't be known, and unverified fields fail"
        return _block_strategy(desired, live, BlockReason.UNVERIFIED, detail)
    if desired.schedule is Cadence.HOURLY and on_mainnet is not None:
        detail = (
            f"hourly is below the minimum of 24h on ETH mainnet, where its portfolio {on_mainnet} is; "
            "declare daily, weekly or monthly"
        )
        return _block_strategy(desired, live, BlockReason.BELOW_MAINNET_MINIMUM, detail)
    risks = [Risk.REACH_UNKNOWN if reach is None else Risk.REACHES_PORTFOLIOS]
    if before is None:
        risks.append(Risk.UNVERIFIED_WRITE)
    elif desired.schedule.rank < before.rank:
        risks.append(Risk.MORE_RUNS)
    field = FieldChange(
        field=Field.SCHEDULE,
        live=before,
        desired=desired.schedule,
        verdict=Verdict.UNVERIFIED if before is None else Verdict.DIFFERENT,
        provenance=provenance,
    )
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
        name=desired.name,
        source=desired.origin,
    )


def _known_cadence(
    desired: StrategyDesired, live: StrategyLive, recorded: Cadence | None
) -> tuple[Cadence | None, Provenance] | Blocked:
    """Return the cadence in force and how it is known, or the block of a strategy that no read told enough of."""
    match live.status:
        case StrategyStatus.FOUND:
            return live.cadence, Provenance.READ
        case StrategyStatus.UNKNOWN:
            if not live.word:
                return recorded, Provenance.NONE if recorded is None else Provenance.RECORDED
            reason = BlockReason.UNKNOWN_CADENCE
            detail = f"Glider reports the cadence {live.word!r}, which this version does not know"
        case StrategyStatus.NOT_FOUND:
            reason = BlockReason.NOT_FOUND
            detail = "Glider has no such strategy, or it is not yours; check the id, or remove it from the files"
        case StrategyStatus.UNREADABLE:
            reason = BlockReason.READ_FAILED
            detail = f"reading failed: {live.failure}" if live.failure else "reading failed"
        case StrategyStatus.NOT_READ:
            reason = BlockReason.NOT_READ
            detail = "the live file does not hold it; make one that does with `reconciler status --out FILE`"
        case _:
            assert_never(live.status)
    return _block_strategy(desired, live, reason, detail)


def _block_strategy(desired: StrategyDesired, live: StrategyLive, reason: BlockReason, detail: str) -> Blocked:
    return Blocked(
        id=address_of(desired.id),
        api=ApiVersion.V2,
        reason=reason,
        detail=detail,
        status=live.status.value,
        failure=live.failure.kind if live.failure else None,
        name=desired.name,
        source=desired.origin,
    )
