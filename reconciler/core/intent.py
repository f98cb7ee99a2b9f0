"""A write as it is announced, and what a later read shows of it.

In: nothing but values. Out: :class:`Intent` (what will be sent, and what was there before), and the :class:`Effect`
that a later read shows. Two readers use these rules: an apply that lost the answer to its write, and the next command,
if it finds the intent of a process that died.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, assert_never

from msgspec import Meta, Struct

from reconciler.core.codec import AtMs
from reconciler.core.evidence import due_ms_of, has_token, is_our_due
from reconciler.core.model import (
    Address,
    ApiVersion,
    AtStart,
    Cadence,
    HaltId,
    Live,
    Status,
    StrategyLive,
    StrategyStatus,
)

if TYPE_CHECKING:
    from reconciler.core.change import Frozen
    from reconciler.core.rebalance import Rebalance, RecentRebalances


class Call(StrEnum):
    """A call that changes something; journal and reports use this word for it."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE_SCHEDULE = "update-schedule"
    REBALANCE = "rebalance"
    """Runs the portfolio once; it leaves state and schedule as they are."""
    SET_CADENCE = "set-cadence"
    """Sets a strategy's cadence, and so the cadence of every enrolled portfolio."""


class WriteOutcome(StrEnum):
    """What is known of a write that was announced; the journal uses this word for it."""

    CONFIRMED = "confirmed"
    """A good answer came."""
    SEEN = "seen"
    """No good answer came, but a read showed that the write took effect."""
    UNSEEN = "unseen"
    """No good answer came, and a read proved that the write had no effect."""
    FAILED = "failed"
    """The answer proves that nothing was changed."""
    NOT_SENT = "not_sent"
    """It was announced and then not sent: the look before it had become too old."""
    UNKNOWN = "unknown"
    """Nobody can tell whether it took effect."""


NO_EFFECT = frozenset({WriteOutcome.UNSEEN, WriteOutcome.FAILED, WriteOutcome.NOT_SENT})
"""With these outcomes, a write is known to have changed nothing."""
TOOK_EFFECT = frozenset({WriteOutcome.CONFIRMED, WriteOutcome.SEEN})


class Before(Struct, frozen=True, kw_only=True):
    """What the look before a write showed: the values that a later read is compared with.

    ``status`` is the portfolio's. ``pause_reason`` is the reason of the pause that a resume will lift. ``due_ms`` is
    the time at which a v2 portfolio was due, paused or not (UTC epoch milliseconds). ``runs`` holds the ids of the
    newest rebalances, ``None`` if the service has no list of them.
    """

    status: Status | None = None
    pause_reason: str | None = None
    due_ms: int | None = None
    interval_ms: int | None = None
    offset_ms: int | None = None
    cadence: Cadence | None = None
    runs: tuple[str, ...] | None = None


class Intent(AtStart, frozen=True, kw_only=True):
    """One write as it is announced. ``token`` tells it from every other write, and is in the mark of a pause.

    ``interval_ms`` and ``offset_ms`` are the schedule that its change wants; a start and an update send them.
    ``reason`` is sent with a pause or resume on v1. ``is_step`` says that the write is not the main one of its change:
    it sets the schedule before a resume or after a start. ``halt`` is the id of the halt that a pause is part of, or
    that a resume lifts.
    """

    address: Address
    call: Call
    token: str
    api: ApiVersion = ApiVersion.V1
    interval_ms: int | None = None
    offset_ms: int | None = None
    cadence: Cadence | None = None
    reason: str = ""
    skip_schedule_validation: bool = False
    halt: str | None = None
    is_step: bool = False
    before: Before = Before()


class OpenIntent(Struct, frozen=True, kw_only=True):
    """A write in the journal whose outcome is not known; ``at_ms`` is when it was announced, UTC epoch milliseconds."""

    number: int
    intent: Intent
    at_ms: int


class GateClosed(Exception):
    """A write must not begin now: ``why`` says for people what holds it, and until when.

    ``ends_run`` says that nothing else of this run may begin either, pauses excepted. ``frozen`` is set if it is a
    freeze.
    """

    def __init__(self, why: str, *, ends_run: bool = False, frozen: Frozen | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.ends_run = ends_run
        self.frozen = frozen


class LastWrite(Struct, frozen=True, kw_only=True):
    """The last write that counts. It took effect, or, if ``took_effect`` is false, it may have.

    ``at_ms`` is when it was announced, UTC epoch milliseconds. ``cadence`` is what a write to a strategy set, ``halt``
    the id of the halt that a pause was part of.
    """

    token: Annotated[str, Meta(pattern=r"\A[0-9a-z]{1,40}\Z")]
    call: Call
    at_ms: AtMs
    took_effect: bool
    cadence: Cadence | None = None
    halt: HaltId | None = None


class Effect(StrEnum):
    """What a read shows of a write that was sent."""

    SHOWN = "shown"
    """It took effect."""
    UNCHANGED = "unchanged"
    """It had no effect: everything is as before."""
    SOMEBODY_ELSES = "somebody_elses"
    """What was wanted is there, but nothing shows that this write did it."""
    OPEN = "open"
    """The read can't tell."""


def effect_on_portfolio(intent: Intent, live: Live, *, answered: bool) -> Effect:
    """Return what a read of a portfolio shows of a write to it.

    ``answered`` says that the write had a good answer. Only then do two kinds of pauses count as ours that carry no
    proof themselves: on v1 one without any reason, and on v2 one that left the due time as it was before (a person's
    resume moves it, API facts §1.3). Any other pause without proof is somebody else's.
    """
    match intent.call:
        case Call.PAUSE:
            return _effect_of_pause(intent, live, answered=answered)
        case Call.RESUME:
            if live.status is Status.ACTIVE:
                return Effect.SHOWN
            return Effect.UNCHANGED if is_the_same_pause(intent, live) else Effect.OPEN
        case Call.START:
            if live.status is Status.ACTIVE:
                return Effect.SHOWN
            return Effect.UNCHANGED if live.status is Status.INACTIVE else Effect.OPEN
        case Call.UPDATE_SCHEDULE:
            return _effect_of_update(intent, live)
        case Call.REBALANCE | Call.SET_CADENCE:
            return Effect.OPEN
        case _:
            assert_never(intent.call)


def _effect_of_pause(intent: Intent, live: Live, *, answered: bool) -> Effect:
    before = intent.before
    if live.status is Status.ACTIVE:
        # Without reasons, a moved due time means that a person resumed, perhaps after our pause. So nothing is proven.
        moved = not intent.api.can.keeps_reason and not is_our_due(
            live.next_run_ms, before_ms=before.due_ms, interval_ms=before.interval_ms
        )
        return Effect.OPEN if moved else Effect.UNCHANGED
    if live.status is not Status.PAUSED:
        return Effect.OPEN
    if intent.api.can.keeps_reason:
        ours = has_token(live.pause_reason, intent.token) or (answered and not live.pause_reason)
    else:
        due_ms = due_ms_of(live.schedule_id)
        ours = answered and is_our_due(due_ms, before_ms=before.due_ms, interval_ms=before.interval_ms)
    return Effect.SHOWN if ours else Effect.SOMEBODY_ELSES


def is_the_same_pause(intent: Intent, live: Live) -> bool:
    """Whether a read proves that the pause which a resume was meant to lift is still in force, and not a later one.

    On v1, our token in its reason proves it, and on v2 the due time. The same words in a reason don't: somebody may
    use them again.
    """
    before = intent.before
    if live.status is not Status.PAUSED:
        return False
    if intent.api.can.keeps_reason:
        return live.pause_reason == before.pause_reason and has_token(before.pause_reason, None)
    due_ms = due_ms_of(live.schedule_id)
    return due_ms is not None and due_ms == before.due_ms


def _effect_of_update(intent: Intent, live: Live) -> Effect:
    """Return what a read shows of an update. It shows something only if the service returns the schedule, and even then
    somebody else may have set it."""
    if live.interval_ms is None:
        return Effect.OPEN
    found = (live.interval_ms, live.offset_ms)
    if live.interval_ms == intent.interval_ms and intent.offset_ms in (None, live.offset_ms):
        return Effect.SHOWN
    return Effect.UNCHANGED if found == (intent.before.interval_ms, intent.before.offset_ms) else Effect.OPEN


def effect_on_strategy(intent: Intent, live: StrategyLive) -> Effect:
    """Return what a read of a strategy shows of a write to it. If the cadence can be read, that is proof enough."""
    if live.status is not StrategyStatus.FOUND:
        return Effect.OPEN
    if live.cadence is intent.cadence:
        return Effect.SHOWN
    return Effect.UNCHANGED if live.cadence is intent.before.cadence else Effect.OPEN


def new_run(intent: Intent, recent: RecentRebalances) -> Rebalance | None:
    """Return the newest rebalance that was not there before the write; ``None`` if there is none."""
    if intent.before.runs is None or not recent.listed:
        return None
    return next((one for one in recent.rebalances if one.id not in intent.before.runs), None)
