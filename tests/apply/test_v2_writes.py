"""Writes on v2 and of strategies: pinned to the pause that was reviewed, and told of in the journal as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.apply.announce import settle_rebalances
from reconciler.apply.check import Standing, standing
from reconciler.apply.journal import open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.journalreads import read_memory, read_runs
from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.errors import ApiError, FailureKind, JournalError
from reconciler.core.evidence import pause_id
from reconciler.core.intent import Before, Call, Intent, WriteOutcome
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Live,
    PortfolioId,
    Record,
    RunState,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Verb,
    address_of,
)
from reconciler.core.ports import Confirmation
from reconciler.core.report import Outcome
from tests.apply.carried import LOOKS, Script, Went, carry_out
from tests.apply.scripted import Scripted, edit, intent, rows
from tests.support import BASE_URL, HOUR_MS, NOON_MS, folder, run, settled

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.journal import OpenJournal

A, S, T = PortfolioId("aaa"), StrategyId("s1"), StrategyId("s2")
H = HOUR_MS
REASON = "Freeze"
RESUME = Change(
    id=A,
    verb=Verb.RESUME,
    before=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
    after=Snapshot(state=Status.ACTIVE, interval_ms=None, offset_ms=None),
    fields=(),
    reason=ChangeReason.HOLD_OVERRIDDEN,
    api=ApiVersion.V2,
    pause_reason=REASON,
    pause_id="due noon",
)
PAUSE = replace(
    RESUME,
    verb=Verb.PAUSE,
    before=RESUME.after,
    after=RESUME.before,
    reason=ChangeReason.DECLARED_PAUSED,
    pause_reason=None,
    pause_id=None,
)
LOST = ApiError(FailureKind.INTERRUPTED, "no answer")
READS, STOPS, OK = ("read", A), ("pause", A, "Declared in Git [glider-reconciler 000001]"), Confirmation()
STOPS_AGAIN = ("pause", A, "Declared in Git [glider-reconciler 000002]")


def paused(pause_id: str | None = "due noon") -> Live:
    return Live(id=A, status=Status.PAUSED, pause_reason=REASON, schedule_id=pause_id)


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        ("due noon", "due noon", Standing.BEFORE),
        ("due one", "due noon", Standing.ELSEWHERE),
        (None, "due noon", Standing.ELSEWHERE),
        ("due noon", None, Standing.ELSEWHERE),
    ],
)
def test_a_pause_is_known_by_its_id(now: str | None, then: str | None, expected: Standing) -> None:
    """Another id is another pause, and so is one that went missing."""
    assert standing(replace(RESUME, pause_id=then), paused(now), None) is expected


def due(hours: float | None) -> str | None:
    """Return what a paused portfolio shows of a due time so many hours after 12:00."""
    return None if hours is None else pause_id(f"2026-11-22T{12 + int(hours):02}:{int(hours % 1 * 60):02}:00Z")


def runs(hours: float | None, interval: int | None = 2) -> Live:
    """Return a portfolio that runs, and is due so many hours after 12:00."""
    return Live(
        id=A,
        status=Status.ACTIVE,
        next_run_ms=None if hours is None else NOON_MS + round(hours * H),
        interval_ms=None if interval is None else interval * H,
    )


def rests(hours: float | None) -> Live:
    return Live(id=A, status=Status.PAUSED, schedule_id=due(hours))


def looks(*shown: object, times: int = 1) -> Script:
    return [(READS, one) for one in shown] * times


def stopped(hours: float, *, later_ms: int = 0, interval_ms: int | None = 2 * H) -> Record:
    return Record(
        state=RunState.PAUSED,
        interval_ms=interval_ms,
        offset_ms=None,
        schedule_id=due(hours),
        confirmed_ms=NOON_MS + later_ms,
    )


NOT_BY_US = "it is paused, but not by us: a later resume needs --resume-held aaa"
MAYBE = "pause may or may not have taken effect: no answer"
LOST_TOLD = ("interrupted", "no answer", "")
OK_ROW, UNKNOWN_ROW = ("pause", "confirmed", ""), ("pause", "unknown", "no answer")
STOPPED: dict[str, tuple[Script, Went]] = {
    "good answer, the due time of before": (
        [*looks(runs(1)), (STOPS, OK), *looks(rests(1))],
        Went(journal=[OK_ROW], outcome=Outcome.DONE, record=stopped(1)),
    ),
    "good answer, that and two intervals": (
        [*looks(runs(1)), (STOPS, OK), *looks(rests(5))],
        Went(journal=[OK_ROW], outcome=Outcome.DONE, record=stopped(5)),
    ),
    "good answer, and shown late": (
        [*looks(runs(1)), (STOPS, OK), *looks(runs(1), rests(1))],
        Went(journal=[OK_ROW], outcome=Outcome.DONE, record=stopped(1, later_ms=200)),
    ),
    **{
        f"good answer, {name}": (
            [*looks(before), (STOPS, OK), *looks(after, times=LOOKS)],
            Went(journal=[OK_ROW], outcome=Outcome.ALREADY_DONE, detail=NOT_BY_US),
        )
        for name, before, after in (
            ("off the grid, as after a resume by a person", runs(1), rests(1.5)),
            ("an interval later, where none is known", runs(1, None), rests(3)),
            ("before the due time of before", runs(3), rests(1)),
            ("and no due time shown", runs(1), rests(None)),
            ("and none known before", runs(None), rests(1)),
        )
    },
    "lost, and it rests with the due time of before": (
        [*looks(runs(1)), (STOPS, LOST), *looks(rests(1), times=LOOKS)],
        Went(journal=[UNKNOWN_ROW], outcome=Outcome.ALREADY_DONE, detail=NOT_BY_US),
    ),
    "lost, and runs as before": (
        [*looks(runs(1)), (STOPS, LOST), *looks(runs(1), times=LOOKS + 1), (STOPS_AGAIN, OK), *looks(rests(1))],
        Went(
            journal=[("pause", "unseen", "no answer"), OK_ROW],
            outcome=Outcome.DONE,
            notes=["pause had no effect (no answer), so it was sent again"],
            record=stopped(1, later_ms=3_000),
        ),
    ),
    "lost, and runs with a due time off the grid": (
        [*looks(runs(1)), (STOPS, LOST), *looks(runs(1.5), times=LOOKS)],
        Went(journal=[UNKNOWN_ROW], outcome=Outcome.UNKNOWN, detail=MAYBE, error=LOST_TOLD),
    ),
}


@pytest.mark.parametrize(("script", "expected"), STOPPED.values(), ids=STOPPED)
def test_whose_pause_a_stop_leaves(script: Script, expected: Went) -> None:
    """Ours only after a good answer, with the due time of before or that and whole intervals; else nothing is kept."""
    assert carry_out(PAUSE, script).whole == expected.whole


def cut_off(path: Path, *intents: Intent) -> None:
    """Leave a run that died over writes."""
    with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for one in intents:
            journal.begin(one)


def shown(strategy: StrategyId, cadence: Cadence | None) -> StrategyLive:
    status = StrategyStatus.UNKNOWN if cadence is None else StrategyStatus.FOUND
    return StrategyLive(id=strategy, status=status, cadence=cadence)


GIVEN_UP = "cut off before its answer came; it is not repeated"
READ = "an earlier apply was cut off; settled by reading"
REBALANCE = intent(A, Call.REBALANCE, "0000a1")
DAILY = intent(
    address_of(S),
    Call.SET_CADENCE,
    "0000a2",
    api=ApiVersion.V2,
    cadence=Cadence.DAILY,
    before=Before(cadence=Cadence.HOURLY),
)


@pytest.mark.parametrize(
    ("answer", "outcome", "said"),
    [
        (shown(S, Cadence.DAILY), "seen", "shows that it took effect"),
        (shown(S, Cadence.HOURLY), "unseen", "shows that it had no effect"),
        (shown(S, Cadence.WEEKLY), "unknown", "can't tell whether it took effect"),
        (shown(S, None), "unknown", "can't tell whether it took effect"),
    ],
)
def test_cut_off_writes_are_settled_one_by_one(answer: StrategyLive, outcome: str, said: str) -> None:
    """A rebalance is given up, and what comes after it is still read; a cadence proves itself where it is shown."""
    with folder() as place:
        path = place / "journal.db"
        cut_off(path, REBALANCE, DAILY)
        api = Scripted(answer)
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            sentences = run(settled(journal, api))
        written = rows(path, "SELECT portfolio, outcome, detail FROM writes ORDER BY id")
    assert written == [("aaa", "unknown", GIVEN_UP), ("strategies/s1", outcome, READ)]
    assert api.asked == [("read-strategy", S)]
    assert sentences == (
        (
            "an earlier rebalance of aaa was cut off, and may have begun; it is not repeated: "
            "look with `reconciler status aaa`"
        ),
        f"an earlier apply was cut off during set-cadence of strategies/s1; a read {said}",
    )


async def given_up(journal: OpenJournal) -> tuple[str, ...]:
    with QueuedJournal(journal) as queued:
        return await settle_rebalances(queued)


def test_a_rebalance_is_given_up_without_a_cadence() -> None:
    """It takes no read; a cadence waits for its own, and stays unknown where that shows none."""
    with folder() as place:
        path = place / "journal.db"
        cut_off(path, DAILY, REBALANCE)
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            assert len(run(given_up(journal))) == 1
            assert [one.intent.call for one in journal.unsettled()] == [Call.SET_CADENCE]
            (sentence,) = run(settled(journal, Scripted(shown(S, None))))
        assert rows(path, "SELECT outcome FROM writes ORDER BY id") == [("unknown",), ("unknown",)]
    assert sentence.endswith("a read can't tell whether it took effect")


def test_an_intent_knows_its_api() -> None:
    """It is settled where it was sent, and one from before there was v2 is of v1."""
    with folder() as place:
        path = place / "journal.db"
        cut_off(
            path,
            *(
                intent(PortfolioId(name), Call.PAUSE, api=version)
                for name, version in (("a", ApiVersion.V1), ("b", ApiVersion.V2))
            ),
            intent(PortfolioId("c"), Call.PAUSE),
        )
        edit(path, """UPDATE writes SET wanted = '{"interval_ms": null, "offset_ms": null}' WHERE portfolio = 'c'""")
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            assert [one.intent.api for one in journal.unsettled()] == [ApiVersion.V1, ApiVersion.V2, ApiVersion.V1]


def set_cadences(path: Path, *writes: tuple[StrategyId, str, str], base_url: str = BASE_URL) -> None:
    """Add a run with writes of cadences as strategy, cadence and outcome."""
    with open_journal(path, base_url=base_url, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for strategy, schedule, outcome in writes:
            one = intent(address_of(strategy), Call.SET_CADENCE, cadence=Cadence(schedule))
            journal.end(journal.begin(one), WriteOutcome(outcome), "")


def cadences(path: Path, base_url: str = BASE_URL) -> dict[StrategyId, Cadence]:
    return dict(read_memory(path, base_url=base_url, now_ms=NOON_MS).cadences)


def test_the_cadences_that_a_journal_holds() -> None:
    """Confirmed or seen ones of this service, unless a later write left it open; and every write tells its own."""
    with folder() as place:
        path = place / "journal.db"
        assert cadences(path) == {}
        set_cadences(path, (S, "daily", "confirmed"), (T, "weekly", "seen"))
        set_cadences(path, (S, "hourly", "confirmed"), base_url="u://other")
        assert cadences(path) == {S: Cadence.DAILY, T: Cadence.WEEKLY}
        assert cadences(path, "u://other") == {S: Cadence.HOURLY}
        set_cadences(path, (T, "monthly", "not_sent"), (T, "monthly", "failed"), (T, "monthly", "unseen"))
        assert cadences(path) == {S: Cadence.DAILY, T: Cadence.WEEKLY}
        set_cadences(path, (S, "monthly", "unknown"))
        assert cadences(path) == {T: Cadence.WEEKLY}
        found = read_runs(path) or ()
        assert [write.cadence for one in found for write in one.writes] == [
            Cadence.MONTHLY,
            *[Cadence.MONTHLY] * 3,
            Cadence.HOURLY,
            Cadence.DAILY,
            Cadence.WEEKLY,
        ]


def test_a_cadence_of_no_strategy_is_damage() -> None:
    """It is told with the file and what stands there."""
    with folder() as place:
        path = place / "journal.db"
        set_cadences(path, (S, "daily", "confirmed"))
        edit(path, "UPDATE writes SET portfolio = 'aaa'")
        with pytest.raises(JournalError, match="'aaa' is no strategy") as refused:
            cadences(path)
        assert refused.value.summary.startswith(f"the journal {path} can't be used: ")


def test_a_record_does_not_make_another_pause_ours() -> None:
    """What was confirmed of an earlier pause says nothing of one with another id."""
    ours = Record(state=RunState.PAUSED, interval_ms=None, offset_ms=None, schedule_id="due noon", confirmed_ms=1)
    assert standing(RESUME, paused("due one"), ours) is Standing.ELSEWHERE
    assert standing(RESUME, paused(), ours) is Standing.BEFORE
