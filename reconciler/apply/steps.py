"""The writes of one change, in order, each announced to the journal before and answered for after.

In: one change that was just found to stand where the plan saw it. Out: a :class:`Progress`: what was sent, what was
confirmed, what could not be. Knows the documented order of calls and its fallbacks (API facts §5.3), no transport.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.apply.check import confirms
from reconciler.core.desired import ApiVersion
from reconciler.core.duration import format_duration
from reconciler.core.errors import ApiError, FailureKind, PlanInvalid
from reconciler.core.live import Status
from reconciler.core.marker import marked
from reconciler.core.ports import Confirmation
from reconciler.core.report import Call
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.apply.reread import Rereader
    from reconciler.core.live import Live
    from reconciler.core.plan import Change
    from reconciler.core.ports import AutomationApi, Journal


_ABOUT_THE_SCHEDULE: Final = "SCHEDULE_"
"""Error codes that refuse the value itself (API facts §6), not the moment: asking again after a resume won't help."""


@dataclass(slots=True)
class Progress:
    """How far the writes of one change came. Grows while they are sent, so that nothing is lost to an error."""

    calls: list[Call] = field(default_factory=list)
    schedule: Confirmation | None = None
    """The answer that confirmed the schedule, if one did."""
    notes: list[str] = field(default_factory=list)
    uncertain: ApiError | None = None
    """Why the last write has no known outcome, where it has none."""
    sight: Live | None = None
    """What was read after it, where its answer left that open."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Sends the writes of one change."""

    change: Change
    api: AutomationApi
    journal: Journal
    reread: Rereader
    progress: Progress

    async def run(self) -> None:
        """Send every call the change needs.

        Raises :class:`ApiError` when one is proven to have changed nothing; a call that may have taken effect is
        left in ``progress.uncertain`` instead, and nothing is sent after it.
        """
        match self.change.verb:
            case Verb.PAUSE:
                await self._send(Call.PAUSE, self._pause, self._reached)
            case Verb.UPDATE:
                await self._update()
            case Verb.RESUME:
                await self._resume()
            case Verb.START:
                await self._start()
            case _:
                assert_never(self.change.verb)

    async def _start(self) -> None:
        """Start, then believe only what the answer confirms: a misread interval would leave 6 h (API facts §4.2)."""
        confirmation = await self._send(Call.START, self._begin, self._reached)
        if confirmation is None:
            return
        if confirms(self.change, confirmation):
            self.progress.schedule = confirmation
            return
        await self._update()

    async def _resume(self) -> None:
        """Set the schedule, then resume. Where that is refused while paused, the other way round (§5.3)."""
        if not self.change.writes_schedule:
            await self._send(Call.RESUME, self._lift, self._reached)
            return
        try:
            await self._update()
        except ApiError as error:
            if error.kind is not FailureKind.REFUSED or (error.code or "").startswith(_ABOUT_THE_SCHEDULE):
                raise
            self.progress.notes.append(f"the schedule could not be set while paused ({error}), so it was set after")
            if await self._send(Call.RESUME, self._lift, self._reached) is not None:
                await self._update()
            return
        if self.progress.uncertain is None:
            self._require_the_same_pause()
            await self._send(Call.RESUME, self._lift, self._reached)

    def _require_the_same_pause(self) -> None:
        """Raise :class:`ApiError` when a look at the update showed another pause: somebody's, made in the meantime."""
        live = self.progress.sight
        if live is not None and (live.status, live.pause_reason) != (Status.PAUSED, self.change.pause_reason):
            raise ApiError(
                FailureKind.REFUSED,
                "not resumed: it is no longer in the pause that was to be lifted; plan again",
                operation=Call.RESUME,
            )

    async def _update(self) -> None:
        confirmation = await self._send(Call.UPDATE_SCHEDULE, self._set_schedule, self._stored)
        if confirmation is None:
            return
        if confirmation.interval_ms is None:
            self.progress.notes.append("Glider accepted the schedule without saying what it stored")
        elif not confirms(self.change, confirmation):
            stored = _schedule_text(confirmation.interval_ms, confirmation.offset_ms)
            # Not REFUSED: that would read as "not while paused", and resume on a schedule that nobody wants.
            raise ApiError(
                FailureKind.MALFORMED,
                f"Glider stored {stored} instead of {_schedule_text(self._interval_ms, self.change.after.offset_ms)}",
                operation=Call.UPDATE_SCHEDULE,
            )
        self.progress.schedule = confirmation
        self._note_what_was_replaced(confirmation)

    def _note_what_was_replaced(self, confirmation: Confirmation) -> None:
        """Report drift that only the answer of an update shows (API facts §5.2)."""
        known, found = self.change.before.interval_ms, confirmation.previous_interval_ms
        if known is not None and found is not None and known != found:
            was, thought = format_duration(found), format_duration(known)
            self.progress.notes.append(f"the interval had drifted: it was {was}, not {thought}")

    async def _send(
        self, call: Call, request: Callable[[], Awaitable[Confirmation]], shown: Callable[[Live], bool]
    ) -> Confirmation | None:
        """Send one write; return what was confirmed, or ``None`` where nothing tells whether it took effect.

        A write that may have taken effect is read, not repeated: ``shown`` says whether a read proves that it did. Only
        where the reads prove that it did not, and sending it late would change nothing, is it sent once more.
        """
        confirmation = await self._try(call, request, shown)
        if confirmation is None and self._may_repeat(call):
            self.progress.notes.append(f"{call.value} had no effect ({self.progress.uncertain}), so it was sent again")
            confirmation = await self._try(call, request, shown)
        return confirmation

    async def _try(
        self, call: Call, request: Callable[[], Awaitable[Confirmation]], shown: Callable[[Live], bool]
    ) -> Confirmation | None:
        progress = self.progress
        progress.uncertain = progress.sight = None
        wanted: dict[str, object] = {
            "interval_ms": self.change.after.interval_ms,
            "offset_ms": self.change.after.offset_ms,
        }
        if self.change.api is not ApiVersion.V1:
            wanted["api"] = self.change.api.value
        write = self.journal.begin(self.change.id, call.value, json.dumps(wanted))
        progress.calls.append(call)
        try:
            confirmation = await request()
        except ApiError as error:
            if not error.may_have_taken_effect:
                self.journal.end(write, "failed", str(error))
                raise
            return await self._look(write, call, error, shown)
        except asyncio.CancelledError:
            self.journal.end(write, "unknown", "interrupted before its answer came")
            raise
        self.journal.end(write, "confirmed", "")
        return confirmation

    async def _look(
        self, write: int, call: Call, error: ApiError, shown: Callable[[Live], bool]
    ) -> Confirmation | None:
        """Read whether a write took effect; what that leaves open stands in ``progress``."""
        progress = self.progress
        try:
            sight = await self.reread.until(self.change.id, shown)
        except asyncio.CancelledError:
            self.journal.end(write, "unknown", f"{error}; interrupted before a read showed its effect")
            raise
        live = progress.sight = sight.live
        if live is None or not sight.expected:
            progress.uncertain = error
            self.journal.end(write, "unseen" if self._may_repeat(call) else "unknown", str(error))
            return None
        self.journal.end(write, "seen", str(error))
        progress.notes.append(f"{call.value} failed ({error}), but a read shows that it took effect")
        return Confirmation(interval_ms=live.interval_ms, offset_ms=live.offset_ms, schedule_id=live.schedule_id)

    def _may_repeat(self, call: Call) -> bool:
        """Whether a read proves that a write had no effect, and the call is one that only sets a state.

        A resume is sent again only while the very pause is in force that it was to lift. A start may run a rebalance,
        and whether a schedule was stored can't be read: neither is ever repeated.
        """
        live = self.progress.sight
        if live is None or live.status is not self.change.before.state:
            return False
        match call:
            case Call.PAUSE:
                return True
            case Call.RESUME:
                # On v2 the id alone shows a pause that somebody made after our resume took effect.
                same = self.change.api is ApiVersion.V1 or live.schedule_id == self.change.pause_id is not None
                return same and live.pause_reason == self.change.pause_reason
            case Call.START | Call.UPDATE_SCHEDULE | Call.REBALANCE | Call.SET_CADENCE:
                return False
            case _:
                assert_never(call)

    async def _begin(self) -> Confirmation:
        return await self.api.start(
            self.change.id,
            interval_ms=self._interval_ms,
            offset_ms=self.change.after.offset_ms,
            run_now=self.change.run_on_start,
        )

    async def _pause(self) -> Confirmation:
        return await self.api.pause(self.change.id, reason=marked(self.change.note))

    async def _lift(self) -> Confirmation:
        return await self.api.resume(self.change.id, reason=marked(self.change.note))

    async def _set_schedule(self) -> Confirmation:
        return await self.api.update_schedule(
            self.change.id, interval_ms=self._interval_ms, offset_ms=self.change.after.offset_ms
        )

    @property
    def _interval_ms(self) -> int:
        interval_ms = self.change.after.interval_ms
        if interval_ms is None:
            raise PlanInvalid(
                "a change writes a schedule without an interval", "This is a bug of ours; please report it."
            )
        return interval_ms

    def _reached(self, live: Live) -> bool:
        return live.status is self.change.after.state

    def _stored(self, live: Live) -> bool:
        """Whether a read shows the wanted schedule: only where the service returns it at all."""
        return live.interval_ms == self.change.after.interval_ms and self.change.after.offset_ms in (
            None,
            live.offset_ms,
        )


def _schedule_text(interval_ms: int, offset_ms: int | None) -> str:
    interval = format_duration(interval_ms)
    return interval if offset_ms is None else f"{interval} with offset {format_duration(offset_ms)}"
