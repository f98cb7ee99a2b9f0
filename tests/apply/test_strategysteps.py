"""The write of one cadence: what is sent, what each answer leaves behind, and every sentence, to the letter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.check import Standing
from reconciler.apply.journal import open_journal
from reconciler.apply.reread import WAITS_SECONDS
from reconciler.apply.steps import Progress
from reconciler.apply.strategies import StrategySteps, result_of, strategy_standing
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.report import Call, Outcome, StrategyResult
from reconciler.core.strategy import Cadence, StrategyChange, StrategyId, StrategyLive, StrategyStatus
from tests.apply.scripted import Scripted, rows
from tests.support import BASE_URL, NOON_MS, FakeClock, folder, run

if TYPE_CHECKING:
    from reconciler.apply.journal import SqliteJournal

S = StrategyId("01JWA")
HOURLY, DAILY, WEEKLY = Cadence.HOURLY, Cadence.DAILY, Cadence.WEEKLY
SET = Call.SET_CADENCE
LOOKS = len(WAITS_SECONDS)
CHANGE = StrategyChange(id=S, before=WEEKLY, after=DAILY, reach=3, risks=())
BLIND = replace(CHANGE, before=None)


def live(cadence: Cadence | None, **more: Any) -> StrategyLive:
    status = StrategyStatus.UNKNOWN if cadence is None else StrategyStatus.FOUND
    return StrategyLive(id=S, **{"status": status, "cadence": cadence, **more})


HIDDEN, ODD = live(None), live(None, word="biweekly")
GONE, BROKEN = live(None, status=StrategyStatus.NOT_FOUND), live(None, status=StrategyStatus.UNREADABLE)
LOST = ApiError(FailureKind.INTERRUPTED, "no answer", status=504)
BUSY = ApiError(FailureKind.RATE_LIMITED, "slow down")
NO_READ = ApiError(FailureKind.UNREACHABLE, "no connection")
TEXT = "no answer (HTTP 504)"
UNNAMED = "Glider accepted the cadence without naming it"
READS, SENDS = ("read", S), ("set", S, DAILY)


class Service(Scripted):
    """A service of strategies that answers as it was told."""

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        return self._answer("read", strategy)

    async def set_cadence(self, strategy: StrategyId, cadence: Cadence) -> Cadence | None:
        return self._answer("set", strategy, cadence)


@dataclass(kw_only=True)
class Went:
    """What one change left behind: the requests, the journal, and the result or the error raised."""

    asked: list[tuple[object, ...]]
    journal: tuple[tuple[str, str], ...] = ()
    """Outcome and detail of every write."""
    outcome: Outcome | None = None
    detail: str = ""
    notes: tuple[str, ...] = ()
    error: tuple[FailureKind | None, str, str] | None = None
    """Kind, words and operation of the failure in the result, or of the one raised."""


def told(error: BaseException | None) -> tuple[FailureKind | None, str, str] | None:
    if error is None:
        return None
    if not isinstance(error, ApiError):
        return None, str(error), ""
    return error.kind, str(error), error.operation


def carry_out(of: StrategyChange, *answers: object, recorded: Cadence | None = None) -> Went:
    """Carry out one change on a service that answers like this; every answer must be used up."""
    api, progress, clock = Service(*answers), Progress(), FakeClock()
    result: StrategyResult | None = None
    raised: BaseException | None = None
    with folder() as place:
        path = place / "journal.db"
        with open_journal(path, base_url=BASE_URL, now_ms=clock.now_ms) as journal:
            journal.open_run(fingerprint="f", tool="t")
            if recorded is not None:
                remember(journal, of, recorded)
            steps = StrategySteps(
                change=of, api=api, journal=journal, clock=clock, progress=progress, planned_ms=NOON_MS
            )
            try:
                result = run(steps.run())
            except (ApiError, asyncio.CancelledError) as error:
                raised = error
        written = rows(path, "SELECT portfolio, call, wanted, outcome, detail FROM writes ORDER BY id")
    assert api.answers == []
    written = written[recorded is not None :]
    assert {row[:3] for row in written} <= {
        ("strategies/01JWA", "set-cadence", '{"interval_ms": null, "offset_ms": null, "schedule": "daily"}')
    }
    assert progress.calls == [SET] * len(written)
    if result is None:
        return Went(asked=api.asked, journal=tuple(row[3:] for row in written), error=told(raised))
    assert (result.change, result.calls) == (of, tuple(progress.calls))
    return Went(
        asked=api.asked,
        journal=tuple(row[3:] for row in written),
        outcome=result.outcome,
        detail=result.detail,
        notes=result.notes,
        error=told(result.error),
    )


def remember(journal: SqliteJournal, of: StrategyChange, cadence: Cadence) -> None:
    """Leave the record of an earlier write."""
    wanted = f'{{"interval_ms": null, "offset_ms": null, "schedule": "{cadence.value}"}}'
    journal.end(journal.begin(of.address, SET, wanted), "confirmed", "")


AGAIN = f"set-cadence had no effect ({TEXT}), so it was sent again"
SEEN = f"set-cadence failed ({TEXT}), but a read shows that it took effect"
MAYBE = f"set-cadence may or may not have taken effect: {TEXT}"
KNOWN = (FailureKind.INTERRUPTED, TEXT, "")
NOT_SHOWN = "Glider accepted the cadence, but the strategy does not show it yet; plan again"
OTHER = "Glider stored hourly instead of daily"

CASES: dict[str, tuple[StrategyChange, list[object], Went]] = {
    "set and shown": (
        CHANGE,
        [live(WEEKLY), DAILY, live(DAILY)],
        Went(asked=[READS, SENDS, READS], journal=(("confirmed", ""),), outcome=Outcome.DONE),
    ),
    "set, and shown late": (
        CHANGE,
        [live(WEEKLY), DAILY, live(WEEKLY), NO_READ, live(DAILY)],
        Went(asked=[READS, SENDS, READS, READS, READS], journal=(("confirmed", ""),), outcome=Outcome.DONE),
    ),
    "set, where no cadence is shown at all": (
        BLIND,
        [HIDDEN, DAILY, HIDDEN],
        Went(asked=[READS, SENDS, READS], journal=(("confirmed", ""),), outcome=Outcome.DONE),
    ),
    "set, and shown as a word that nobody knows": (
        BLIND,
        [HIDDEN, DAILY, *[ODD] * LOOKS],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS],
            journal=(("confirmed", ""),),
            outcome=Outcome.UNKNOWN,
            detail=NOT_SHOWN,
        ),
    ),
    "set, and gone since": (
        CHANGE,
        [live(WEEKLY), DAILY, *[GONE] * LOOKS],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS],
            journal=(("confirmed", ""),),
            outcome=Outcome.UNKNOWN,
            detail=NOT_SHOWN,
        ),
    ),
    "set before": (
        CHANGE,
        [live(DAILY)],
        Went(asked=[READS], outcome=Outcome.ALREADY_DONE, detail="Glider already is as desired"),
    ),
    "moved": (
        CHANGE,
        [live(HOURLY)],
        Went(
            asked=[READS],
            outcome=Outcome.STALE,
            detail="it was weekly when planned, now it is hourly; plan again",
        ),
    ),
    "moved to a word that nobody knows": (
        BLIND,
        [ODD],
        Went(
            asked=[READS],
            outcome=Outcome.STALE,
            detail="it was unknown when planned, now it is biweekly; plan again",
        ),
    ),
    "gone": (
        CHANGE,
        [GONE],
        Went(
            asked=[READS],
            outcome=Outcome.STALE,
            detail="it was weekly when planned, now Glider has no such strategy of yours; plan again",
        ),
    ),
    "not readable": (
        CHANGE,
        [BROKEN],
        Went(
            asked=[READS],
            outcome=Outcome.STALE,
            detail="it was weekly when planned, now it is unknown; plan again",
        ),
    ),
    "the first read fails": (
        CHANGE,
        [NO_READ],
        Went(asked=[READS], error=(FailureKind.UNREACHABLE, "no connection", "")),
    ),
    "refused": (
        CHANGE,
        [live(WEEKLY), BUSY],
        Went(
            asked=[READS, SENDS],
            journal=(("failed", "slow down"),),
            error=(FailureKind.RATE_LIMITED, "slow down", ""),
        ),
    ),
    "another one stored": (
        CHANGE,
        [live(WEEKLY), HOURLY],
        Went(asked=[READS, SENDS], journal=(("unknown", OTHER),), error=(FailureKind.MALFORMED, OTHER, SET)),
    ),
    "interrupted": (
        CHANGE,
        [live(WEEKLY), asyncio.CancelledError()],
        Went(
            asked=[READS, SENDS],
            journal=(("unknown", "interrupted before its answer came"),),
            error=(None, "", ""),
        ),
    ),
    "lost, seen at the second look": (
        CHANGE,
        [live(WEEKLY), LOST, live(WEEKLY), live(DAILY), live(DAILY)],
        Went(
            asked=[READS, SENDS, READS, READS, READS],
            journal=(("seen", TEXT),),
            outcome=Outcome.DONE,
            notes=(SEEN,),
        ),
    ),
    "accepted without a word, and seen": (
        CHANGE,
        [live(WEEKLY), None, live(DAILY), live(DAILY)],
        Went(
            asked=[READS, SENDS, READS, READS],
            journal=(("seen", UNNAMED),),
            outcome=Outcome.DONE,
            notes=(f"set-cadence failed ({UNNAMED}), but a read shows that it took effect",),
        ),
    ),
    "lost, sent again": (
        CHANGE,
        [live(WEEKLY), LOST, *[live(WEEKLY)] * LOOKS, DAILY, live(DAILY)],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS, SENDS, READS],
            journal=(("unseen", TEXT), ("confirmed", "")),
            outcome=Outcome.DONE,
            notes=(AGAIN,),
        ),
    ),
    "lost twice": (
        CHANGE,
        [live(WEEKLY), *[LOST, *[live(WEEKLY)] * LOOKS] * 2],
        Went(
            asked=[READS, *[SENDS, *[READS] * LOOKS] * 2],
            journal=(("unseen", TEXT),) * 2,
            outcome=Outcome.UNKNOWN,
            detail=MAYBE,
            notes=(AGAIN,),
            error=KNOWN,
        ),
    ),
    "lost, neither here nor there": (
        CHANGE,
        [live(WEEKLY), LOST, *[live(HOURLY)] * LOOKS],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS],
            journal=(("unknown", TEXT),),
            outcome=Outcome.UNKNOWN,
            detail=MAYBE,
            error=KNOWN,
        ),
    ),
    "lost, and what is shown proves nothing": (
        BLIND,
        [HIDDEN, LOST, *[HIDDEN] * LOOKS],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS],
            journal=(("unknown", TEXT),),
            outcome=Outcome.UNKNOWN,
            detail=MAYBE,
            error=KNOWN,
        ),
    ),
    "lost, nothing can be read": (
        CHANGE,
        [live(WEEKLY), LOST, *[NO_READ] * LOOKS],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS],
            journal=(("unknown", TEXT),),
            outcome=Outcome.UNKNOWN,
            detail=MAYBE,
            error=KNOWN,
        ),
    ),
    "accepted without a word, and seen nowhere": (
        BLIND,
        [HIDDEN, None, *[HIDDEN] * LOOKS],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS],
            journal=(("unknown", UNNAMED),),
            outcome=Outcome.UNKNOWN,
            detail=f"set-cadence may or may not have taken effect: {UNNAMED}",
            error=(FailureKind.MALFORMED, UNNAMED, SET),
        ),
    ),
    "accepted without a word, sent again": (
        CHANGE,
        [live(WEEKLY), None, *[live(WEEKLY)] * LOOKS, DAILY, live(DAILY)],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS, SENDS, READS],
            journal=(("unseen", UNNAMED), ("confirmed", "")),
            outcome=Outcome.DONE,
            notes=(f"set-cadence had no effect ({UNNAMED}), so it was sent again",),
        ),
    ),
    "lost, then interrupted": (
        CHANGE,
        [live(WEEKLY), LOST, live(WEEKLY), asyncio.CancelledError()],
        Went(
            asked=[READS, SENDS, READS, READS],
            journal=(("unknown", f"{TEXT}; interrupted before a read showed its effect"),),
            error=(None, "", ""),
        ),
    ),
    "lost once, then refused": (
        CHANGE,
        [live(WEEKLY), LOST, *[live(WEEKLY)] * LOOKS, BUSY],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS, SENDS],
            journal=(("unseen", TEXT), ("failed", "slow down")),
            error=(FailureKind.RATE_LIMITED, "slow down", ""),
        ),
    ),
}


@pytest.mark.parametrize(("of", "answers", "expected"), CASES.values(), ids=CASES)
def test_what_every_answer_leaves_behind(of: StrategyChange, answers: list[object], expected: Went) -> None:
    """One write is sent, and a second only where a read proves that the first did nothing; every end is told."""
    assert carry_out(of, *answers) == expected


def test_a_record_stands_in_for_what_is_not_shown() -> None:
    """Where the service shows no cadence, our own last write tells whether the change is still to be made."""
    assert carry_out(CHANGE, HIDDEN, recorded=DAILY) == Went(
        asked=[READS], outcome=Outcome.ALREADY_DONE, detail="Glider already is as desired"
    )
    assert carry_out(CHANGE, HIDDEN, recorded=HOURLY) == Went(
        asked=[READS], outcome=Outcome.STALE, detail="it was weekly when planned, now it is unknown; plan again"
    )


STANDINGS = [
    *(
        (CHANGE, live(None, status=status), DAILY, Standing.ELSEWHERE)
        for status in (StrategyStatus.NOT_FOUND, StrategyStatus.UNREADABLE, StrategyStatus.NOT_READ)
    ),
    (CHANGE, ODD, DAILY, Standing.ELSEWHERE),
    (CHANGE, ODD, WEEKLY, Standing.ELSEWHERE),
    (CHANGE, live(DAILY), WEEKLY, Standing.AFTER),
    (CHANGE, live(WEEKLY), DAILY, Standing.BEFORE),
    (CHANGE, live(HOURLY), WEEKLY, Standing.ELSEWHERE),
    (CHANGE, HIDDEN, None, Standing.BEFORE),
    (CHANGE, HIDDEN, WEEKLY, Standing.BEFORE),
    (CHANGE, HIDDEN, DAILY, Standing.AFTER),
    (CHANGE, HIDDEN, HOURLY, Standing.ELSEWHERE),
    (BLIND, live(HOURLY), None, Standing.BEFORE),
    (BLIND, HIDDEN, HOURLY, Standing.BEFORE),
    (replace(CHANGE, before=DAILY), live(DAILY), None, Standing.AFTER),
]


@pytest.mark.parametrize(("of", "shown", "recorded", "expected"), STANDINGS)
def test_where_a_strategy_stands(
    of: StrategyChange, shown: StrategyLive, recorded: Cadence | None, expected: Standing
) -> None:
    """A read goes before our record, the wanted end before the planned one, and what is not known pins nothing."""
    assert strategy_standing(of, shown, recorded) is expected


def test_a_result_holds_all_that_was_found_out() -> None:
    """Calls, notes and error of a change that came this far are in its result."""
    progress = Progress(calls=[SET, SET], notes=["one", "two"])
    assert result_of(CHANGE, progress, Outcome.FAILED, "no", LOST) == StrategyResult(
        change=CHANGE, outcome=Outcome.FAILED, calls=(SET, SET), detail="no", notes=("one", "two"), error=LOST
    )
    assert result_of(CHANGE, Progress(), Outcome.DONE, "").error is None


def test_looks_take_as_long_as_they_are_told() -> None:
    """Between looks the clock passes, and never a moment before the first one."""
    api, clock = Service(live(WEEKLY), DAILY, live(WEEKLY), live(DAILY)), FakeClock()
    with folder() as place, open_journal(place / "j.db", base_url=BASE_URL, now_ms=clock.now_ms) as journal:
        journal.open_run(fingerprint="f", tool="t")
        run(
            StrategySteps(
                change=CHANGE, api=api, journal=journal, clock=clock, progress=Progress(), planned_ms=NOON_MS
            ).run()
        )
    assert clock.now_ms() == NOON_MS + 200
