"""The writes of one change to a portfolio or a strategy, in their order, and the read that confirms them.

In: one change and the ports. Out: its :class:`~reconciler.core.report.Result`. Knows the documented order of
calls and its fallbacks (API facts §5.3), no transport. How a write is made is :mod:`reconciler.apply.announce`'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.apply.announce import Declined, Sent, Writing, look_until, result_of
from reconciler.apply.check import (
    Standing,
    agree,
    confirms,
    describe_schedule,
    holds,
    record_of,
    same_pause,
    schedule_moved,
    standing,
    strategy_standing,
    what_moved,
    what_moved_of_strategy,
    why_since_differs,
)
from reconciler.core.change import ChangeReason
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import (
    doubt,
    due_ms_of,
    has_token,
    is_cut,
    is_marked,
    observed_record,
    unmarked,
    with_mark,
)
from reconciler.core.intent import Before, Call, Effect, Intent, effect_on_portfolio, effect_on_strategy
from reconciler.core.model import Live, PortfolioId, Status, StrategyLive, StrategyStatus, Verb, at_start
from reconciler.core.ports import Confirmation
from reconciler.core.report import Outcome
from reconciler.core.text import format_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.apply.announce import Announcer, Progress
    from reconciler.core.change import Change, Snapshot
    from reconciler.core.model import Record, StrategyId
    from reconciler.core.ports import Memory
    from reconciler.core.report import Result

T = TypeVar("T")

_ABOUT_THE_SCHEDULE: Final = "SCHEDULE_"
"""How the codes begin that refuse the value itself (API facts §6): sending it again after a resume won't help."""
_NOT_WHILE_PAUSED: Final = frozenset({FailureKind.REFUSED, FailureKind.NOT_FOUND})
"""Kinds of refusals that may mean "not while it is paused"; a 404 may be about the schedule alone."""


class _Carrying(Struct, frozen=True, kw_only=True):
    """What carrying out any change needs.

    ``memory`` is what the journal knew of it before the first write; that write makes the record void.
    ``plans`` are the fingerprints of the plan that is carried out, and of the one that was approved. ``again`` names
    portfolios that may be run although an earlier request may have begun a run. ``also`` raises :class:`Declined` if,
    by a look, the change must wait for something else.
    """

    change: Change
    announcer: Announcer
    progress: Progress
    memory: Memory
    plans: frozenset[str]
    again: frozenset[str] = frozenset()
    also: Callable[[Live], None] = lambda _: None

    async def _require_begin(self, stands: Standing, moved: str) -> None:
        """Return if the change may begin: it is still needed, nothing was written since its plan, and it is as the plan
        saw it.

        Else raises :class:`Declined`; ``moved`` says for people what is not as the plan saw it.
        """
        change = self.change
        if stands is Standing.AFTER:
            raise Declined(Outcome.ALREADY_DONE, "Glider already is as desired")
        since = self.memory.since.get(change.id)
        if since != change.since:
            known = change.since is not None and await self.announcer.journal.knows(change.since)
            raise Declined(Outcome.STALE, why_since_differs(change.since, since, known=known))
        if stands is Standing.ELSEWHERE:
            raise Declined(Outcome.STALE, moved)

    def _result(self, outcome: Outcome, detail: str, error: ApiError | None = None) -> Result:
        return result_of(self.change, self.progress, outcome, detail, error)

    def _without_proof(self, sent: Sent[T]) -> Result:
        """Say what became of a change whose last write is not known to have taken effect."""
        detail = f"{sent.intent.call} may or may not have taken effect: {sent.error}"
        return self._result(Outcome.UNKNOWN, detail, sent.error)


class StrategySteps(_Carrying, frozen=True, kw_only=True):
    """Carries out the change of a strategy's cadence. API facts §1.3 (V2.7, V2.8), §4.7."""

    strategy: StrategyId

    async def run(self) -> Result:
        """Bring the strategy to its cadence. Raises as :meth:`Steps.run` does."""
        sent = await self.announcer.announced(
            Writing(read=self._read, check=self._may_begin, intent=self._intent, effect=effect_on_strategy),
            self.progress,
        )
        if not sent.took_effect:
            return self._without_proof(sent)
        sight = await look_until(self._read, self._shown, self.announcer.clock)
        if not sight.expected:
            detail = "Glider accepted the cadence, but the strategy does not show it yet; plan again"
            return self._result(Outcome.UNKNOWN, detail)
        return self._result(Outcome.DONE, "")

    async def _read(self) -> StrategyLive:
        return await self.announcer.api.read_strategy(self.strategy)

    async def _may_begin(self, live: StrategyLive) -> None:
        stands = strategy_standing(self.change, live, self.memory.cadences.get(self.strategy))
        await self._require_begin(stands, what_moved_of_strategy(self.change, live))

    def _intent(self, live: StrategyLive, token: str) -> Intent:
        return Intent(
            address=self.change.id,
            call=Call.SET_CADENCE,
            token=token,
            api=self.change.api,
            cadence=self.change.after.cadence,
            before=Before(cadence=live.cadence),
        )

    def _shown(self, live: StrategyLive) -> bool:
        """Whether a read shows the cadence. A service that shows none counts, too, because its answer was good."""
        hidden = live.status is StrategyStatus.UNKNOWN and not live.word
        return hidden or live.cadence is self.change.after.cadence


class Steps(_Carrying, frozen=True, kw_only=True):
    """Carries out the change of one portfolio. ``from_files`` is that of :func:`standing`."""

    from_files: bool = False

    @property
    def _portfolio(self) -> PortfolioId:
        return PortfolioId(self.change.id)

    async def run(self) -> Result:
        """Send every call the change needs, and read back.

        Raises :class:`ApiError` when a call is proven to have changed nothing, and :class:`Declined` when the change
        must not, or could not, be carried out.
        """
        match self.change.verb:
            case Verb.PAUSE:
                sent = await self._send(Call.PAUSE, self._may_begin)
            case Verb.UPDATE:
                sent = await self._set_schedule(self._may_begin, is_step=False)
            case Verb.RESUME:
                sent = await self._resume()
            case Verb.START:
                sent = await self._start()
            case _:
                assert_never(self.change.verb)
        if sent.effect is Effect.SOMEBODY_ELSES and sent.seen is not None:
            return self._paused_by_somebody(sent, sent.seen)
        if not sent.took_effect:
            return self._without_proof(sent)
        return await self._read_back(sent, self._believed(sent.look))

    async def _start(self) -> Sent[Live]:
        """Start, then set the schedule unless the answer confirms it: Glider may have misread the interval, and takes
        6 h then (API facts §4.2)."""
        started = await self._send(Call.START, self._may_begin)
        if not started.took_effect:
            return started
        if confirms(self.change, _confirmed(started)):
            self.progress.schedule = _confirmed(started)
            return started

        async def still_runs(live: Live) -> None:
            self._require(Status.ACTIVE, live, "started")
            # If the answer was lost, the schedule that a read shows may be from somebody else's start.
            ours = [] if started.answer is None else [_pair(started.answer)]
            if schedule_moved(live, _pair(self.change.after), *ours):
                raise Declined(Outcome.STALE, "it runs, on a schedule that somebody else may have set; plan again")

        return await self._then_set_schedule(started, still_runs)

    async def _resume(self) -> Sent[Live]:
        """Set the schedule, then resume. Where that is refused while paused, the other way round (§5.3)."""
        if not self.change.writes_schedule:
            return await self._send(Call.RESUME, self._may_begin)
        try:
            updated = await self._set_schedule(self._may_begin, is_step=True)
        except ApiError as error:
            if error.kind not in _NOT_WHILE_PAUSED or (error.code or "").startswith(_ABOUT_THE_SCHEDULE):
                raise
            self.progress.notes.append(f"the schedule could not be set while paused ({error}), so it was set after")
            resumed = await self._send(Call.RESUME, self._may_begin)
            if not resumed.took_effect:
                return resumed

            async def still_as_resumed(live: Live) -> None:
                self._require(Status.ACTIVE, live, "resumed")
                if schedule_moved(live, _pair(self.change.after), _pair(resumed.intent.before)):
                    detail = "it was resumed, and its schedule was changed by somebody since; plan again"
                    raise Declined(Outcome.STALE, detail)

            return await self._then_set_schedule(resumed, still_as_resumed)
        if not updated.took_effect:
            return updated
        # The resume comes last: if the run breaks off before it, the portfolio stays paused on its new schedule.
        try:
            return await self._send(Call.RESUME, partial(self._may_lift, updated.intent.before))
        except Declined as declined:
            if declined.outcome is Outcome.ALREADY_DONE:
                return updated
            raise

    async def _may_begin(self, live: Live) -> None:
        """Return if the change may begin: see :meth:`_require_begin`; and no earlier request of ours may be under
        way."""
        change = self.change
        if change.reason is ChangeReason.HALTED:
            _require_running(live)
            return
        self.also(live)
        stands = standing(change, live, self._believed(live), from_files=self.from_files)
        await self._require_begin(stands, what_moved(change, live))
        if await self._may_have_resumed(live):
            raise Declined(Outcome.STALE, "an earlier attempt may have resumed it before it was paused; plan again")
        if change.run_on_start and change.id not in self.again and change.id in self.memory.unanswered:
            detail = (
                f"an earlier request for a run of it may have begun one; name it with --again {change.id} to start it"
            )
            raise Declined(Outcome.NOT_ATTEMPTED, detail)

    def _believed(self, live: Live) -> Record | None:
        """Return the record, or ``None`` if a look shows that it can't be believed; the plan did the same.

        A pause of ours that came after the first look is no reason to doubt it.
        """
        memory = self.memory
        record, last_pause = memory.records.get(self._portfolio), memory.pauses.get(self._portfolio)
        now_ms = self.announcer.api.service_ms()
        doubted = record is not None and doubt(record, live, last_pause=last_pause, now_ms=now_ms) is not None
        return None if doubted else record

    async def _may_have_resumed(self, live: Live) -> bool:
        """Whether an earlier attempt under this very plan may have lifted the planned pause, so that the pause in force
        may be a later one that looks just like it."""
        change = self.change
        if change.verb is not Verb.RESUME:
            return False
        identified = has_token(live.pause_reason, None) or due_ms_of(live.schedule_id) is not None
        return not identified and await self.announcer.journal.maybe_sent(change.id, Call.RESUME, plans=self.plans)

    async def _may_lift(self, before: Before, live: Live) -> None:
        """Return if a resume may follow its schedule: the pause is the one that was reviewed, and nobody set another
        schedule since.

        ``before`` is what held before the schedule was set; a slow read may still show that. Else raises
        :class:`Declined`.
        """
        if live.status is Status.ACTIVE:
            raise Declined(Outcome.ALREADY_DONE)  # somebody did it meanwhile
        if live.status is not Status.PAUSED or not same_pause(self.change, live, self._believed(live)):
            detail = "its schedule was set, and it was not resumed: it is in another pause by now; plan again"
            raise Declined(Outcome.STALE, detail)
        if schedule_moved(live, _pair(self.change.after), _pair(before)):
            detail = "its schedule was set, and it was not resumed: somebody set another one since; plan again"
            raise Declined(Outcome.STALE, detail)

    def _require(self, status: Status, live: Live, done: str) -> None:
        if live.status is not status:
            now = live.word or live.status.value
            raise Declined(Outcome.STALE, f"it was {done}, and is {now} since, so its schedule was not set; plan again")

    async def _then_set_schedule(self, first: Sent[Live], check: Callable[[Live], Awaitable[None]]) -> Sent[Live]:
        """Set the schedule after ``first``, the call that the change is about; nothing is sent if it is set already."""

        async def unless_set(live: Live) -> None:
            await check(live)
            if confirms(self.change, _shown(live)):
                self.progress.schedule = _shown(live)
                raise Declined(Outcome.ALREADY_DONE)

        try:
            return await self._set_schedule(unless_set, is_step=True)
        except Declined as declined:
            if declined.outcome is Outcome.ALREADY_DONE:
                return first
            raise

    async def _set_schedule(self, check: Callable[[Live], Awaitable[None]], *, is_step: bool) -> Sent[Live]:
        """Send the schedule. Raises :class:`ApiError` where the service says that it stored another one."""
        sent = await self._send(Call.UPDATE_SCHEDULE, check, is_step=is_step)
        if not sent.took_effect:
            return sent
        stored, after = _confirmed(sent), self.change.after
        if stored.interval_ms is None:
            self.progress.notes.append("Glider accepted the schedule without saying what it stored")
        elif stored.interval_ms != after.interval_ms or not agree(stored.offset_ms, after.offset_ms):
            said = describe_schedule(stored.interval_ms, stored.offset_ms)
            # The kind is not REFUSED, because the caller would read that as "not while it is paused", and resume.
            raise ApiError(
                FailureKind.MALFORMED,
                f"Glider stored {said} instead of {describe_schedule(after.interval_ms, after.offset_ms)}",
                operation=Call.UPDATE_SCHEDULE,
            )
        elif after.offset_ms is not None and stored.offset_ms is None:
            self.progress.notes.append("Glider accepted the schedule without saying which offset it stored")
            stored = replace(stored, offset_ms=after.offset_ms)
        self.progress.schedule = stored
        known, found = self.change.before.interval_ms, stored.previous_interval_ms
        if known is not None and found is not None and known != found:  # only an update's answer shows it (§5.2)
            was, thought = format_duration(found), format_duration(known)
            self.progress.notes.append(f"the interval had drifted: it was {was}, not {thought}")
        return sent

    async def _send(self, call: Call, check: Callable[[Live], Awaitable[None]], *, is_step: bool = False) -> Sent[Live]:
        change = self.change

        def intent(live: Live, token: str) -> Intent:
            reason = ""
            if call is Call.PAUSE:
                reason = with_mark(change.note, token, change.halt)
            elif call is Call.RESUME:
                reason = unmarked(change.note)
            return Intent(
                address=change.id,
                call=call,
                token=token,
                api=change.api,
                interval_ms=change.after.interval_ms,
                offset_ms=change.after.offset_ms,
                reason=reason,
                halt=change.halt,
                **(at_start(change) if call is Call.START else {}),
                is_step=is_step,
                before=Before(
                    status=live.status,
                    pause_reason=live.pause_reason,
                    due_ms=due_ms_of(live.schedule_id) if live.status is Status.PAUSED else live.next_run_ms,
                    interval_ms=live.interval_ms,
                    offset_ms=live.offset_ms,
                ),
            )

        return await self.announcer.announced(
            Writing(
                read=self._read,
                check=check,
                intent=intent,
                effect=lambda intent, live: effect_on_portfolio(intent, live, answered=False),
            ),
            self.progress,
        )

    async def _read(self) -> Live:
        return await self.announcer.api.read(self._portfolio)

    def _paused_by_somebody(self, sent: Sent[Live], live: Live) -> Result:
        """Say that nothing shows the pause in force to be from this write; it is not recorded.

        So the portfolio will be held, unless the pause has a mark of ours: then another write of ours made it.
        """
        shown = f" (Glider shows the reason {live.pause_reason!r})" if live.pause_reason else ""
        if is_marked(live.pause_reason):
            return result_of(
                self.change, self.progress, Outcome.ALREADY_DONE, f"it is paused, by another write of ours{shown}"
            )
        what = f"it is paused, but not by us{shown}"
        if is_cut(live.pause_reason, sent.intent.reason):
            what = f"it is paused, and Glider cut our mark{shown}, so nothing shows that the pause is ours"
        detail = f"{what}: a later resume needs --resume-held {self.change.id}"
        return self._result(Outcome.ALREADY_DONE, detail)

    async def _read_back(self, sent: Sent[Live], previous: Record | None) -> Result:
        """Read until the change holds, and record what was confirmed; ``previous`` is the record that was believed."""
        change, announcer = self.change, self.announcer
        pauses = sent.intent.call is Call.PAUSE

        def shown(live: Live) -> bool:
            proven = (
                not pauses or effect_on_portfolio(sent.intent, live, answered=sent.answer is not None) is Effect.SHOWN
            )
            return proven and holds(change, live)

        sight = await look_until(self._read, shown, announcer.clock)
        live = sight.live
        if live is not None and not sight.expected and pauses and live.status is Status.PAUSED:
            return self._paused_by_somebody(sent, live)
        if live is None or not sight.expected:
            detail = "Glider accepted the call, but its status does not show it yet; plan again"
            return self._result(Outcome.UNKNOWN, detail)
        # Keep what the look before a pause proved about the schedule, because a paused portfolio shows it no more.
        previous = observed_record(sent.look, previous) or previous
        record = record_of(
            live, previous=previous, confirmation=self.progress.schedule, now_ms=announcer.api.service_ms()
        )
        if pauses and live.pause_reason and not is_marked(live.pause_reason):
            record = replace(record, pause_reason=live.pause_reason)
            self.progress.notes.append(
                f"Glider changed the mark of our pause: its reason reads {live.pause_reason!r}; this journal remembers "
                "it, but to other machines it is somebody else's pause"
            )
        self.progress.said = announcer.journal.confirm({self._portfolio: record})
        return self._result(Outcome.DONE, "")


def _require_running(live: Live) -> None:
    """Let a halt pause what runs. No plan of ours can be stale against it: whatever runs is to stop.

    Raises :class:`Declined` for anything else.
    """
    found = live.word or live.status.value
    match live.status:
        case Status.ACTIVE:
            return
        case Status.PAUSED:
            raise Declined(Outcome.ALREADY_DONE, "it was paused before")
        case Status.INACTIVE | Status.NO_SCHEDULE | Status.ARCHIVED:
            raise Declined(Outcome.ALREADY_DONE, f"nothing runs: Glider reports {found}")
        case Status.NOT_FOUND:
            raise Declined(Outcome.FAILED, "Glider has no such portfolio, or the key may not see it; check the id")
        case Status.ERROR | Status.UNKNOWN | Status.UNREADABLE | Status.NOT_READ:
            raise Declined(Outcome.FAILED, f"Glider reports {found!r}, so it may run; look at it there")
        case _:
            assert_never(live.status)


def _confirmed(sent: Sent[Live]) -> Confirmation:
    """Return what the answer confirmed, or what the read showed that stands in for it."""
    if sent.answer is not None:
        return sent.answer
    if sent.seen is None:
        return Confirmation()
    return _shown(sent.seen)


def _shown(live: Live) -> Confirmation:
    """Return the schedule that a read shows, as an answer would confirm it."""
    return Confirmation(interval_ms=live.interval_ms, offset_ms=live.offset_ms)


def _pair(known: Snapshot | Confirmation | Before) -> tuple[int | None, int | None]:
    return known.interval_ms, known.offset_ms
