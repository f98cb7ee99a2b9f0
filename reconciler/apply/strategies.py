"""Carry out one strategy's change: read again, compare, announce, write, read back.

In: one change and the ports. Out: its :class:`~reconciler.core.report.StrategyResult`. A write whose outcome is not
known is read, not repeated; only where a read proves that it had no effect is it sent once more, since setting a value
late changes nothing. API facts §1.3 (V2.7, V2.8), §4.7.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from reconciler.apply.check import Standing
from reconciler.apply.reread import look_until
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.report import Call, Outcome, StrategyResult
from reconciler.core.strategy import StrategyStatus

if TYPE_CHECKING:
    from reconciler.apply.reread import Sight
    from reconciler.apply.steps import Progress
    from reconciler.core.ports import Clock, Journal, StrategyApi
    from reconciler.core.strategy import Cadence, StrategyChange, StrategyLive


WRITTEN_SINCE: Final = "another apply wrote to it since the plan was made; plan again"


class _Sent(Enum):
    """What is known of a write that was sent."""

    DONE = "done"
    UNSEEN = "unseen"
    UNKNOWN = "unknown"


def strategy_standing(change: StrategyChange, live: StrategyLive, recorded: Cadence | None) -> Standing:
    """Compare what is live with both ends of the change; ``after`` wins where both fit.

    ``recorded`` stands in where the service shows no schedule. What can't be known pins nothing.
    """
    if live.status not in (StrategyStatus.FOUND, StrategyStatus.UNKNOWN) or live.word:
        return Standing.ELSEWHERE
    known = live.cadence or recorded
    if known is change.after:
        return Standing.AFTER
    return Standing.BEFORE if None in (known, change.before) or known is change.before else Standing.ELSEWHERE


def result_of(
    change: StrategyChange, progress: Progress, outcome: Outcome, detail: str, error: ApiError | None = None
) -> StrategyResult:
    """Return the result of a change that came as far as ``progress``."""
    return StrategyResult(
        change=change,
        outcome=outcome,
        calls=tuple(progress.calls),
        detail=detail,
        notes=tuple(progress.notes),
        error=error,
    )


@dataclass(frozen=True, slots=True)
class StrategySteps:
    """Carries out one change; ``progress`` grows while it goes on, so that nothing is lost to an error."""

    change: StrategyChange
    api: StrategyApi
    journal: Journal
    clock: Clock
    progress: Progress
    planned_ms: int

    async def run(self) -> StrategyResult:
        """Bring the strategy to its cadence.

        Raises :class:`ApiError` for a call that is proven to have changed nothing, and for one that stored something
        else than it was told.
        """
        change = self.change
        found = await self.api.read_strategy(change.id)
        match strategy_standing(change, found, self.journal.cadences().get(change.id)):
            case Standing.AFTER:
                return self._result(Outcome.ALREADY_DONE, "Glider already is as desired")
            case Standing.ELSEWHERE:
                return self._result(Outcome.STALE, _what_moved(change, found))
            case Standing.BEFORE if self.journal.written_between(
                change.address, after_ms=self.planned_ms, until_ms=self.clock.now_ms()
            ):
                return self._result(Outcome.STALE, WRITTEN_SINCE)
            case Standing.BEFORE:
                pass
        sent = await self._send(found)
        if sent is _Sent.UNSEEN:
            note = f"{Call.SET_CADENCE} had no effect ({self.progress.uncertain}), so it was sent again"
            self.progress.notes.append(note)
            sent = await self._send(found)
        if sent is not _Sent.DONE:
            detail = f"{Call.SET_CADENCE} may or may not have taken effect: {self.progress.uncertain}"
            return self._result(Outcome.UNKNOWN, detail, self.progress.uncertain)
        sight = await self._look(unreadable=True)
        if not sight.expected:
            detail = "Glider accepted the cadence, but the strategy does not show it yet; plan again"
            return self._result(Outcome.UNKNOWN, detail)
        return self._result(Outcome.DONE, "")

    async def _send(self, found: StrategyLive) -> _Sent:
        """Send the write once; where it is not known to have taken effect, ``progress.uncertain`` says why."""
        change, progress = self.change, self.progress
        progress.uncertain = None
        wanted = {"interval_ms": None, "offset_ms": None, "schedule": change.after.value}
        write = self.journal.begin(change.address, Call.SET_CADENCE, json.dumps(wanted))
        progress.calls.append(Call.SET_CADENCE)
        try:
            stored = await self.api.set_cadence(change.id, change.after)
        except ApiError as error:
            if not error.may_have_taken_effect:
                self.journal.end(write, "failed", str(error))
                raise
            return await self._settle(write, error, found)
        except asyncio.CancelledError:
            self.journal.end(write, "unknown", "interrupted before its answer came")
            raise
        if stored is None:
            return await self._settle(write, _malformed("Glider accepted the cadence without naming it"), found)
        if stored is not change.after:
            other = _malformed(f"Glider stored {stored} instead of {change.after}")
            self.journal.end(write, "unknown", str(other))
            raise other
        self.journal.end(write, "confirmed", "")
        return _Sent.DONE

    async def _settle(self, write: int, error: ApiError, found: StrategyLive) -> _Sent:
        """Read whether a write took effect whose answer left that open."""
        progress = self.progress
        try:
            sight = await self._look(unreadable=False)
        except asyncio.CancelledError:
            self.journal.end(write, "unknown", f"{error}; interrupted before a read showed its effect")
            raise
        if sight.expected:
            self.journal.end(write, "seen", str(error))
            progress.notes.append(f"{Call.SET_CADENCE} failed ({error}), but a read shows that it took effect")
            return _Sent.DONE
        progress.uncertain = error
        unseen = sight.live is not None and _as_found(sight.live, found)
        self.journal.end(write, "unseen" if unseen else "unknown", str(error))
        return _Sent.UNSEEN if unseen else _Sent.UNKNOWN

    async def _look(self, *, unreadable: bool) -> Sight[StrategyLive]:
        """Look until the wanted cadence shows; with ``unreadable``, one that the service does not show is enough."""

        def shows(live: StrategyLive) -> bool:
            hidden = unreadable and live.status is StrategyStatus.UNKNOWN and not live.word
            return hidden or live.cadence is self.change.after

        return await look_until(lambda: self.api.read_strategy(self.change.id), shows, self.clock)

    def _result(self, outcome: Outcome, detail: str, error: ApiError | None = None) -> StrategyResult:
        return result_of(self.change, self.progress, outcome, detail, error)


def _as_found(live: StrategyLive, found: StrategyLive) -> bool:
    """Whether a read proves that nothing happened: it shows the cadence that was there before the write."""
    return live.cadence is not None and live.cadence is found.cadence


def _malformed(message: str) -> ApiError:
    return ApiError(FailureKind.MALFORMED, message, operation=Call.SET_CADENCE)


def _what_moved(change: StrategyChange, live: StrategyLive) -> str:
    was = change.before or "unknown"
    if live.status is StrategyStatus.NOT_FOUND:
        return f"it was {was} when planned, now Glider has no such strategy of yours; plan again"
    now = live.cadence or live.word or "unknown"
    return f"it was {was} when planned, now it is {now}; plan again"
