"""The announced write: the one place that calls a write of the service, for portfolios, strategies and rebalances.

In: how to look at what the write is about, what a look must show for the write to go, and the write itself. Out: a
:class:`Sent` that says what is known of it, or an exception that says why it was not made. The order is always: take
room for look and write, look, make the intent durable in the journal, check that the look is still young, send the
write, make its outcome durable. A write that had to wait goes back to the look. The kinds of writes differ in data
(:class:`~reconciler.core.intent.Intent`) and in functions of it, never in this order.

Where a process died over a write, the next command settles it first (:func:`settle`): it reads what became of it, and
writes nothing to the service. The next plan finds what is left to do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.core.errors import ApiError, FailureKind, PlanInvalid
from reconciler.core.freeze import WriteGate
from reconciler.core.intent import (
    Call,
    Effect,
    GateClosed,
    WriteOutcome,
    effect_on_portfolio,
    effect_on_strategy,
)
from reconciler.core.model import PortfolioId, strategy_of
from reconciler.core.ports import WriteNotSent
from reconciler.core.rebalance import is_cooldown
from reconciler.core.report import Outcome, Result
from reconciler.core.text import format_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.core.change import Change, Frozen
    from reconciler.core.intent import Intent, OpenIntent
    from reconciler.core.ports import Clock, Confirmation, Journal, ServiceApi

T = TypeVar("T")

LOOKS_TOO_OLD: Final = 3
"""After this many looks that were too old by the time their write could go, the change is not attempted."""
WAITS: Final = 8
"""How often a write may be sent back to the look because others used up the rate limit."""
_ALREADY_SO: Final = frozenset({400, 409})
"""Statuses that a service may answer if nothing is left to change; only a look tells whether that was the reason."""

WAITS_SECONDS: Final = (0.0, 0.2, 0.4, 0.8, 1.6)
"""Seconds to wait before each look. Nothing documents how soon a read shows a write; after 3 s we stop looking."""


class Declined(Exception):
    """The look or the gate forbids the write; ``outcome`` and ``detail`` are what is told of its change.

    ``closed`` is what a halt or a freeze said, if one of them forbids it.
    """

    def __init__(self, outcome: Outcome, detail: str = "", *, closed: GateClosed | None = None) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.closed = closed


class Progress(Struct):
    """How far the writes of one change came. It grows while they are sent, so that an error loses nothing of it."""

    calls: list[Call] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    schedule: Confirmation | None = None
    """What confirmed the schedule, if anything did."""
    changed: bool = False
    """Whether a write is known to have taken effect."""
    looking: bool = True
    """Whether no call is under way: then an error is about a look, and not about the last call."""
    said: Awaitable[None] | None = None
    """What the journal was told last; await it before anybody else is told."""


def result_of(
    change: Change,
    progress: Progress,
    outcome: Outcome,
    detail: str,
    error: ApiError | None = None,
    frozen: Frozen | None = None,
) -> Result:
    """Return the result of a change that came as far as ``progress``."""
    return Result(
        change=change,
        outcome=outcome,
        calls=tuple(progress.calls),
        detail=detail,
        notes=tuple(progress.notes),
        error=error,
        changed=progress.changed,
        frozen=frozen,
    )


class Writing(Struct, Generic[T], frozen=True, kw_only=True):
    """One write to be made, of something that is looked at as ``T``.

    ``check`` raises :class:`Declined` where a look shows that the write must not go, and what reading the journal
    raises. ``intent`` makes the write from the look and a token of its own. ``effect`` says what a later look shows of
    it; ``read_after`` is that later look, where it is another one than ``read``.
    """

    read: Callable[[], Awaitable[T]]
    check: Callable[[T], Awaitable[None]]
    intent: Callable[[T, str], Intent]
    effect: Callable[[Intent, T], Effect]
    read_after: Callable[[], Awaitable[T]] | None = None


class Sent(Struct, Generic[T], frozen=True, kw_only=True):
    """What is known of a write that was sent. ``look`` is the one before it.

    ``answer`` is its good answer. Where there is none, ``error`` says why, ``effect`` what reads showed of it, and
    ``seen`` is the last of them.
    """

    intent: Intent
    look: T
    number: int
    effect: Effect
    answer: Confirmation | None = None
    error: ApiError | None = None
    seen: T | None = None

    @property
    def took_effect(self) -> bool:
        """Whether it is known to have taken effect, by its answer or by a read."""
        return self.effect is Effect.SHOWN


class _LookAgain(Exception):
    """Nothing was changed, and the write may be made after another look."""


class _Patience(Struct):
    """How often one write was sent back to the look, and why."""

    too_old: int = 0
    disk_ms: int = 0
    waits: int = 0
    rerouted: bool = False
    limited: Call | None = None
    """The call that the rate limit refused, until there is room for it again."""


class Announcer(Struct, frozen=True, kw_only=True):
    """Makes announced writes. ``token`` returns a new one, of six hexadecimal digits, at each call.

    ``gate`` is asked last before a write; without one, any halt that the journal holds ends the run.
    """

    api: ServiceApi
    journal: Journal
    clock: Clock
    token: Callable[[], str]
    gate: WriteGate = WriteGate()

    async def announced(self, writing: Writing[T], progress: Progress) -> Sent[T]:
        """Make one write; if its answer leaves open what became of it, find out by reading.

        Raises :class:`Declined` if it must not go, or could not go in time; :class:`ApiError` if it is proven to have
        changed nothing, or nothing could be read; ``JournalError``.
        """
        room = self.api.room()
        patience = _Patience()
        unseen: Sent[T] | None = None
        while True:
            progress.looking = True
            try:
                async with room:
                    patience.limited = None
                    room.look_again()
                    with self.journal.expecting():
                        look = await writing.read()
                        # The first write may have arrived late, after the reads that did not show it.
                        if unseen is not None and writing.effect(unseen.intent, look) is Effect.SHOWN:
                            return self._seen(replace(unseen, effect=Effect.SHOWN, seen=look), progress)
                        await writing.check(look)
                        intent = writing.intent(look, self.token())
                    sent = await self._attempt(writing, look, intent, progress, patience)
            except _LookAgain:
                continue
            except ApiError:
                if patience.limited is not None:  # there was no more room for it
                    progress.calls.append(patience.limited)
                    progress.looking = False
                raise
            if unseen is not None:
                progress.notes.append(f"{unseen.intent.call} had no effect ({unseen.error}), so it was sent again")
            if sent.error is not None:
                sent = await self._find_out(writing, sent, sent.error, progress)
                if sent.effect is Effect.UNCHANGED and may_send_again(sent.intent) and unseen is None:
                    unseen = sent
                    continue
            return sent

    def _seen(self, sent: Sent[T], progress: Progress) -> Sent[T]:
        """Write down that a read shows the effect of a write without a good answer."""
        progress.changed = True
        progress.said = self.journal.end(sent.number, WriteOutcome.SEEN, str(sent.error))
        progress.notes.append(f"{sent.intent.call} failed ({sent.error}), but a read shows that it took effect")
        return sent

    async def _attempt(
        self, writing: Writing[T], look: T, intent: Intent, progress: Progress, patience: _Patience
    ) -> Sent[T]:
        """Announce and send once. Raises :class:`_LookAgain` where nothing was changed and it may be tried anew."""
        # The intent is on the disk before the request goes out. If the process dies in between, the next apply knows
        # that a write may have been made, and reads what became of it.
        announced_ms = self.clock.ticks_ms()
        try:
            number = await self.journal.begin(intent, self.gate)
        except GateClosed as closed:
            earlier = f"after {', '.join(progress.calls)}: " if progress.calls else ""
            raise Declined(Outcome.NOT_ATTEMPTED, f"{earlier}{closed.why}", closed=closed) from closed
        patience.disk_ms = self.clock.ticks_ms() - announced_ms
        progress.calls.append(intent.call)
        progress.looking = False
        try:
            answer = await self._send(intent)
        except WriteNotSent as late:
            # No byte went out, so the call must not appear among those that were made.
            progress.calls.pop()
            progress.said = self.journal.end(number, WriteOutcome.NOT_SENT, _why_not_sent(late))
            _require_patience(patience, late)
            raise _LookAgain from late
        except ApiError as error:
            if error.may_have_taken_effect:  # the intent stays open in the journal until a read has told
                return Sent(intent=intent, look=look, number=number, effect=Effect.OPEN, error=error)
            progress.said = self.journal.end(number, WriteOutcome.FAILED, str(error))
            await self._after_refusal(writing, error, progress, patience)
            raise
        except asyncio.CancelledError:  # the request may have arrived, and there is no time left to read
            progress.said = self.journal.end(number, WriteOutcome.UNKNOWN, "interrupted before its answer came")
            raise
        progress.changed = True
        progress.said = self.journal.end(number, WriteOutcome.CONFIRMED, "")
        return Sent(intent=intent, look=look, number=number, effect=Effect.SHOWN, answer=answer)

    async def _after_refusal(
        self, writing: Writing[T], error: ApiError, progress: Progress, patience: _Patience
    ) -> None:
        """Return if a refusal is final; raise :class:`_LookAgain` if the same write may be made after another look.

        A service may refuse a write because nothing is left to change. Then the look's :class:`Declined` is raised in
        place of the refusal.
        """
        cools_down = progress.calls[-1] is Call.REBALANCE and is_cooldown(error)  # no other call has a cooldown
        limited = error.kind is FailureKind.RATE_LIMITED and not cools_down
        if limited or (error.other_route and not patience.rerouted):
            # How often to try after a limit is decided by the room, which raises the error when that is enough.
            patience.rerouted = patience.rerouted or error.other_route
            call = progress.calls.pop()
            patience.limited = call if limited else None
            raise _LookAgain from error
        if error.kind is not FailureKind.REFUSED or error.status not in _ALREADY_SO:
            return
        try:
            await writing.check(await writing.read())
        except ApiError:
            return
        except Declined as declined:
            if declined.outcome is Outcome.ALREADY_DONE:
                raise

    async def _find_out(self, writing: Writing[T], sent: Sent[T], error: ApiError, progress: Progress) -> Sent[T]:
        """Read what became of a write whose ``error`` leaves that open, and write it down."""
        intent = sent.intent

        def shown(seen: T) -> bool:
            return writing.effect(intent, seen) is Effect.SHOWN

        try:
            sight = await look_until(writing.read_after or writing.read, shown, self.clock)
        except asyncio.CancelledError:
            detail = f"{error}; interrupted before a read showed its effect"
            progress.said = self.journal.end(sent.number, WriteOutcome.UNKNOWN, detail)
            raise
        effect = Effect.OPEN if sight.live is None else writing.effect(intent, sight.live)
        match effect:
            case Effect.SHOWN:
                return self._seen(replace(sent, effect=effect, seen=sight.live), progress)
            case Effect.UNCHANGED if may_send_again(intent):
                progress.said = self.journal.end(sent.number, WriteOutcome.UNSEEN, str(error))
            case Effect.UNCHANGED | Effect.SOMEBODY_ELSES | Effect.OPEN:
                progress.said = self.journal.end(sent.number, WriteOutcome.UNKNOWN, str(error))
            case _:
                assert_never(effect)
        return replace(sent, effect=effect, seen=sight.live)

    async def settle_abandoned(self, change: Change, progress: Progress, *, unproven: bool) -> None:
        """Settle what another runner had begun of a change and could not end; return where the change may go on.

        Raises :class:`Declined` where a write of it may still take effect, and another one might do it twice.
        ``unproven`` says that one like that is known from before.
        """
        for opened in await self.journal.unsettled():
            if opened.intent.address != change.id or opened.intent.halt is not None:  # a halt does not wait for us
                continue
            effect, told = await _settle_one(opened, self.api, self.journal)
            progress.notes.append(told)
            progress.changed = progress.changed or effect is Effect.SHOWN
            if effect is not Effect.SHOWN and not (effect is Effect.UNCHANGED and may_send_again(opened.intent)):
                unproven = True
        if unproven:
            raise Declined(Outcome.UNKNOWN, "another runner had sent a write that may still take effect; plan again")

    async def _send(self, intent: Intent) -> Confirmation:
        """Send it. Nothing else in the program may call a write of the service; a test of the layers checks that."""
        _require_complete(intent)
        answer = await self.api.send(intent)
        if intent.call is Call.SET_CADENCE and answer.cadence is not intent.cadence:  # only a read tells what holds
            stored = f"stored {answer.cadence} instead of {intent.cadence}"
            said = "accepted the cadence without naming it" if answer.cadence is None else stored
            raise ApiError(FailureKind.MALFORMED, f"Glider {said}", operation=intent.call)
        return answer


class Sight(Struct, Generic[T], frozen=True):
    """The last state that could be read, if any could, and whether it is as expected."""

    live: T | None
    expected: bool


async def look_until(read: Callable[[], Awaitable[T]], expected: Callable[[T], bool], clock: Clock) -> Sight[T]:
    """Look until a state is as expected, or :data:`WAITS_SECONDS` are over; return what the last look showed."""
    last: T | None = None
    for seconds in WAITS_SECONDS:
        if seconds:
            await clock.sleep(seconds)
        try:
            live = await read()
        except ApiError as error:
            last = None
            if error.kind in (FailureKind.UNAUTHENTICATED, FailureKind.FORBIDDEN):
                break
            continue
        if expected(live):
            return Sight(live, expected=True)
        last = live
    return Sight(last, expected=False)


def may_send_again(intent: Intent) -> bool:
    """Whether a write that a read proved to be without effect is sent once more.

    Only one that sets a state or a cadence: if the first one arrives late, both set the same value. A start may run a
    rebalance, and hardly any read shows whether a schedule was stored.
    """
    match intent.call:
        case Call.PAUSE | Call.RESUME | Call.SET_CADENCE:
            return True
        case Call.START | Call.UPDATE_SCHEDULE | Call.REBALANCE:
            return False
        case _:
            assert_never(intent.call)


def _why_not_sent(late: WriteNotSent) -> str:
    if late.age_ms is None:
        return "it would have had to wait for the rate limit"
    return f"the look before it was {format_duration(late.age_ms)} old"


def _require_patience(patience: _Patience, late: WriteNotSent) -> None:
    """Raise :class:`Declined` once a write was sent back to the look often enough."""
    if late.age_ms is None:
        patience.waits += 1
        if patience.waits >= WAITS:
            detail = f"not sent: the rate limit let the look pass and not the write, {WAITS} times; run again later"
            raise Declined(Outcome.NOT_ATTEMPTED, detail) from late
        return
    patience.too_old += 1
    if patience.too_old >= LOOKS_TOO_OLD:
        disk_ms = min(patience.disk_ms, late.age_ms)
        raise Declined(
            Outcome.NOT_ATTEMPTED,
            f"not sent: {LOOKS_TOO_OLD} looks were too old before the write could follow; of the last "
            f"{format_duration(late.age_ms)}, {format_duration(late.age_ms - disk_ms)} went to the service and "
            f"{format_duration(disk_ms)} to the disk of the journal; run again when they are faster",
        ) from late


def _require_complete(intent: Intent) -> None:
    """Raise :class:`PlanInvalid` for a write that lacks what it is to set; no plan of ours makes one."""
    match intent.call:
        case Call.START | Call.UPDATE_SCHEDULE if intent.interval_ms is None:
            what = "a change writes a schedule without an interval"
        case Call.SET_CADENCE if intent.cadence is None or strategy_of(intent.address) is None:
            what = "a cadence is to be set without a strategy or a cadence"
        case _:
            return
    raise PlanInvalid(what, "This is a bug in glider-reconciler; please report it.")


async def settle(*, api: ServiceApi, journal: Journal) -> tuple[str, ...]:
    """Give every open intent its outcome: ``seen`` or ``unseen`` where a read tells, else ``unknown``.

    Returns a sentence for each, oldest first. If a portfolio can't be read, its intent stays open and its record void.
    Raises :class:`ApiError` only for a refused key.
    """
    return tuple([(await _settle_one(opened, api, journal))[1] for opened in await journal.unsettled()])


async def _settle_one(opened: OpenIntent, api: ServiceApi, journal: Journal) -> tuple[Effect, str]:
    """Give one open intent its outcome; return what a read showed, and the sentence about it."""
    intent = opened.intent
    if intent.call is Call.REBALANCE:
        return Effect.OPEN, await _leave_unanswered(opened, journal)
    what = f"an earlier apply was cut off during {intent.call.value} of {intent.address}"
    try:
        effect = await _effect_of(opened, api)
    except ApiError as error:
        if error.kind is FailureKind.UNAUTHENTICATED:
            raise
        return Effect.OPEN, f"{what}; it can't be read now, so that stays open ({error})"
    outcome = _OUTCOMES.get(effect, WriteOutcome.UNKNOWN)
    await journal.end(opened.number, outcome, "an earlier apply was cut off; settled by reading")
    return effect, f"{what}; a read {_SAYS[effect]}"


async def _effect_of(opened: OpenIntent, api: ServiceApi) -> Effect:
    strategy = strategy_of(opened.intent.address)
    if strategy is None:
        live = await api.read(PortfolioId(opened.intent.address))
        return effect_on_portfolio(opened.intent, live, answered=False)
    return effect_on_strategy(opened.intent, await api.read_strategy(strategy))


_OUTCOMES: Final = {Effect.SHOWN: WriteOutcome.SEEN, Effect.UNCHANGED: WriteOutcome.UNSEEN}
_SAYS: Final = {
    Effect.SHOWN: "shows that it took effect",
    Effect.UNCHANGED: "shows that it had no effect",
    Effect.SOMEBODY_ELSES: "shows it paused, but not that the pause is ours",
    Effect.OPEN: "can't tell whether it took effect",
}


async def settle_rebalances(journal: Journal) -> tuple[str, ...]:
    """Give the open intents of rebalances alone their outcome, without a read; a sentence for each, oldest first.

    They stay unanswered: whoever asks for one again has to look for it first.
    """
    opened = [one for one in await journal.unsettled() if one.intent.call is Call.REBALANCE]
    return tuple([await _leave_unanswered(one, journal) for one in opened])


async def _leave_unanswered(opened: OpenIntent, journal: Journal) -> str:
    """Leave a rebalance unknown: no status tells one that was asked for from one that the schedule began."""
    await journal.end(opened.number, WriteOutcome.UNKNOWN, "cut off before its answer came; it is not repeated")
    portfolio = opened.intent.address
    return (
        f"an earlier rebalance of {portfolio} was cut off, and may have begun; it is not repeated: "
        f"look with `reconciler status {portfolio}`"
    )
