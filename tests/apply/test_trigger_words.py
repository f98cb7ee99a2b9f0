"""Asking for rebalances: what is asked, what each answer leaves in the journal, and every sentence, to the letter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.announce import Announcer
from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.run import Stop
from reconciler.apply.trigger import Order, operations_of, trigger_all
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import pause_id
from reconciler.core.intent import Before, Call, Intent, WriteOutcome
from reconciler.core.model import ApiVersion, Live, PortfolioId, Status
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import (
    Rebalance,
    RebalanceOutcome,
    RebalanceResult,
    RebalanceStatus,
    RecentRebalances,
)
from reconciler.core.report import Run, Write
from tests.apply.carried import LOOKS, Script, tokens
from tests.apply.rebalances import Notes, Rebalancer
from tests.apply.scripted import edit, intent, rows
from tests.support import BASE_URL, HOUR_MS, NOON_MS, folder, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

A, B = PortfolioId("aaa"), PortfolioId("bbb")
O = RebalanceOutcome  # noqa: E741 - short for the tables below
MINUTE_MS = 60_000


def seen(*ids: str, **more: Any) -> RecentRebalances:
    made = (Rebalance(id=i, status=RebalanceStatus.RUNNING, word="running", started_ms=NOON_MS) for i in ids)
    return RecentRebalances(rebalances=tuple(made), **more)


def live(status: Status, **more: Any) -> Live:
    return Live(id=A, status=status, **more)


OLD, NEW, NONE = seen("w1"), seen("w2", "w1"), seen()
UNLISTED = RecentRebalances(listed=False)
RUNS, RESTS = live(Status.ACTIVE), live(Status.PAUSED, pause_reason="Audit")
OK, UNNAMED = Confirmation(run="w2"), Confirmation()
LOST = ApiError(FailureKind.INTERRUPTED, "no answer", status=504)
REFUSED = ApiError(FailureKind.REFUSED, "not now", status=409)
ADVISED = ApiError(FailureKind.REFUSED, "not now")
ADVISED.detail = "Try another one."
NO_READ = ApiError(FailureKind.UNREACHABLE, "no connection")
NO_KEY = ApiError(FailureKind.UNAUTHENTICATED, "the key is refused")
BUSY = ApiError(FailureKind.RATE_LIMITED, "slow down", status=429)
COOLS = ApiError(FailureKind.RATE_LIMITED, "too soon", code="API_004", retry_after_ms=1_500)
COOLS_SOMEHOW = ApiError(FailureKind.RATE_LIMITED, "too soon", code="API_004")
LISTS, READS, SENDS = ("recent", A, 10), ("read", A), ("trigger", A, False)
TEXT = "no answer (HTTP 504)"
READING_FAILED = "reading failed, so nothing was asked for: "


@dataclass(kw_only=True)
class Went:
    """What asking for one rebalance left behind; the journal holds outcome and detail of its write."""

    journal: Sequence[tuple[str, str]] = ()
    result: RebalanceResult
    heard: tuple[object, ...] | None = None
    """What the observer was told, where it is not the outcome."""
    why: str | None = None
    """What stops the rest."""


def result(outcome: RebalanceOutcome, **more: Any) -> RebalanceResult:
    return RebalanceResult(portfolio=A, outcome=outcome, **more)


def accepted(name: str | None, **more: Any) -> dict[str, Any]:
    return {"result": result(O.ACCEPTED, id=name, **more), "heard": ("accepted", A, name)}


def unknown(why: str, error: ApiError | None = None) -> RebalanceResult:
    detail = f"it may be running: look with `reconciler status aaa`; it is not asked for again ({why})"
    return result(O.UNKNOWN, detail=detail, error=error)


def ask(
    api: Rebalancer,
    *orders: Order,
    stop: Stop | None = None,
    before: Callable[[OpenJournal, Path], object] = lambda *_: None,
) -> tuple[dict[PortfolioId, RebalanceResult], Notes, list[tuple[Any, ...]]]:
    """Ask for rebalances, one at a time; return the results, what the observer heard, and the journal's writes.

    ``before`` is done to the journal, in a run of its own.
    """
    notes = Notes()
    with folder() as place:
        path = place / "journal.db"
        with open_journal(path, base_url=BASE_URL, now_ms=api.clock.now_ms) as journal:
            journal.open_run(fingerprint="rebalance", tool="t")
            before(journal, path)
            journal.open_run(fingerprint="rebalance", tool="t")

            async def work() -> dict[PortfolioId, RebalanceResult]:
                with QueuedJournal(journal) as queued:
                    announcer = Announcer(api=api, journal=queued, clock=api.clock, token=tokens())
                    asking = trigger_all(
                        orders, announcer=announcer, observer=notes, parallelism=1, stop=stop or Stop()
                    )
                    return await asyncio.wait_for(asking, timeout=60)

            results = run(work())
        written = rows(path, "SELECT portfolio, call, outcome, detail FROM writes ORDER BY id")
    return results, notes, written


ORDER = Order(portfolio=A, version=ApiVersion.V1)
STOP = "stop"
"""Stands for the stop of this very run among the answers."""
SEEN = f"the trigger failed ({TEXT}), but a read shows a new workflow since"
SEEN_ROW = ("seen", "workflow w2")
BEGUN: Script = [(LISTS, OLD), (READS, RUNS)]


def lists(*shown: object, times: int = 1) -> Script:
    return [(LISTS, one) for one in shown] * times


def due_in(minutes: float) -> Live:
    return live(Status.ACTIVE, next_run_ms=NOON_MS + round(minutes * MINUTE_MS))


CASES: dict[str, tuple[Script, Went]] = {
    "confirmed": (
        [*BEGUN, (SENDS, OK)],
        Went(journal=[("confirmed", "workflow w2")], **accepted("w2")),
    ),
    "confirmed without an id, and listed": (
        [*BEGUN, (SENDS, UNNAMED), *lists(OLD, NO_READ, NEW)],
        Went(journal=[("confirmed", "workflow w2")], **accepted("w2")),
    ),
    "confirmed without an id, and not listed": (
        [*BEGUN, (SENDS, UNNAMED), *lists(OLD, times=LOOKS)],
        Went(journal=[("confirmed", "")], **accepted(None)),
    ),
    "confirmed without an id, where nothing is listed": (
        [*lists(UNLISTED), (READS, RUNS), (SENDS, UNNAMED)],
        Went(journal=[("confirmed", "")], **accepted(None)),
    ),
    "the very first": (
        [*lists(NONE), (READS, RUNS), (SENDS, LOST), *lists(seen("w1"))],
        Went(journal=[("seen", "workflow w1")], **accepted("w1", notes=(SEEN,))),
    ),
    "refused": (
        [*BEGUN, (SENDS, REFUSED), (READS, RUNS)],
        Went(
            journal=[("failed", "not now (HTTP 409)")],
            result=result(O.REFUSED, detail="not now (HTTP 409)", error=REFUSED),
        ),
    ),
    "refused with advice": (
        [*BEGUN, (SENDS, ADVISED)],
        Went(
            journal=[("failed", "not now")],
            result=result(O.REFUSED, detail="not now. Try another one.", error=ADVISED),
        ),
    ),
    "no list before": (
        lists(NO_READ),
        Went(result=result(O.REFUSED, detail=f"{READING_FAILED}no connection", error=NO_READ)),
    ),
    "not readable before": (
        [*lists(OLD), (READS, NO_READ)],
        Went(result=result(O.REFUSED, detail=f"{READING_FAILED}no connection", error=NO_READ)),
    ),
    "a read that looks like a cooldown": (
        lists(COOLS),
        Went(result=result(O.REFUSED, detail=f"{READING_FAILED}too soon (API_004)", error=COOLS)),
    ),
    "paused": (
        [*lists(OLD), (READS, RESTS)],
        Went(
            result=result(
                O.REFUSED,
                detail="it is paused (Audit), and a rebalance trades all the same; name it with --although-paused aaa",
            )
        ),
    ),
    "cooling down for a while": (
        [*BEGUN, (SENDS, COOLS)],
        Went(
            journal=[("failed", "too soon (API_004)")],
            result=result(
                O.COOLING_DOWN,
                detail="its last rebalance is too recent; run again in 2s",
                error=COOLS,
                retry_ms=NOON_MS + 1_500,
            ),
        ),
    ),
    "cooling down for nobody knows how long": (
        [*BEGUN, (SENDS, COOLS_SOMEHOW)],
        Went(
            journal=[("failed", "too soon (API_004)")],
            result=result(
                O.COOLING_DOWN,
                detail="its last rebalance is too recent, and Glider does not say for how long; run again later",
                error=COOLS_SOMEHOW,
            ),
        ),
    ),
    "too many calls, then confirmed": (
        [*BEGUN, (SENDS, BUSY), (READS, RUNS), (SENDS, OK)],
        Went(journal=[("failed", "slow down (HTTP 429)"), ("confirmed", "workflow w2")], **accepted("w2")),
    ),
    "too many calls, then paused": (
        [*BEGUN, (SENDS, BUSY), (READS, live(Status.PAUSED))],
        Went(
            journal=[("failed", "slow down (HTTP 429)")],
            result=result(
                O.REFUSED,
                detail="it is paused, and a rebalance trades all the same; name it with --although-paused aaa",
            ),
        ),
    ),
    "the key is refused": (
        [*BEGUN, (SENDS, NO_KEY)],
        Went(
            journal=[("failed", "the key is refused")],
            result=result(O.REFUSED, detail="the key is refused", error=NO_KEY),
            why="the key was refused",
        ),
    ),
    "lost, and a new one is listed": (
        [*BEGUN, (SENDS, LOST), *lists(NEW)],
        Went(journal=[SEEN_ROW], **accepted("w2", notes=(SEEN,))),
    ),
    "lost, and seen after looks that fail and show nothing": (
        [*BEGUN, (SENDS, LOST), *lists(NO_READ, OLD, NEW)],
        Went(journal=[SEEN_ROW], **accepted("w2", notes=(SEEN,))),
    ),
    "lost, and the newest of two new ones counts": (
        [*BEGUN, (SENDS, LOST), *lists(seen("w3", "w2", "w1"))],
        Went(journal=[("seen", "workflow w3")], **accepted("w3", notes=(SEEN,))),
    ),
    "lost, and nothing new": (
        [*BEGUN, (SENDS, LOST), *lists(OLD, times=LOOKS)],
        Went(journal=[("unknown", TEXT)], result=unknown(f"{TEXT}; no new workflow is seen", LOST)),
    ),
    "lost, where nothing is listed": (
        [*lists(UNLISTED), (READS, RUNS), (SENDS, LOST), *lists(UNLISTED, times=LOOKS)],
        Went(journal=[("unknown", TEXT)], result=unknown(f"{TEXT}; no new workflow is seen", LOST)),
    ),
    **{
        f"lost, with a scheduled run {name}": (
            [*lists(listed), (READS, due_in(minutes)), (SENDS, LOST), *lists(NEW, times=LOOKS)],
            Went(
                journal=[("unknown", TEXT)],
                result=unknown(f"{TEXT}; a new workflow w2 is listed, which may be the scheduled run", LOST),
            ),
        )
        for name, listed, minutes in (
            ("just near enough", OLD, 5),
            ("that is late", OLD, -90),
            ("that came between list and look", seen("w1", next_run_ms=NOON_MS - 1), 24 * 60),
        )
    },
    **{
        f"lost, with a scheduled run {name}": (
            [*lists(listed), (READS, found), (SENDS, LOST), *lists(NEW)],
            Went(journal=[SEEN_ROW], **accepted("w2", notes=(SEEN,))),
        )
        for name, listed, found in (
            ("just too far", seen("w1", next_run_ms=NOON_MS + 6 * MINUTE_MS), due_in(5.001)),
            ("that no schedule will begin", OLD, live(Status.INACTIVE, next_run_ms=NOON_MS)),
        )
    },
    "interrupted at the list": (
        lists(STOP),
        Went(result=result(O.NOT_ATTEMPTED, detail="interrupted before its outcome was known"), why="interrupted"),
    ),
    "interrupted at the look": (
        [*lists(OLD), (READS, STOP)],
        Went(result=result(O.NOT_ATTEMPTED, detail="interrupted before its outcome was known"), why="interrupted"),
    ),
    "interrupted while it was sent": (
        [*BEGUN, (SENDS, STOP)],
        Went(
            journal=[("unknown", "interrupted before its answer came")],
            result=unknown("interrupted before its outcome was known"),
            why="interrupted",
        ),
    ),
    "lost, then interrupted": (
        [*BEGUN, (SENDS, LOST), *lists(OLD, STOP)],
        Went(
            journal=[("unknown", f"{TEXT}; interrupted before a read showed its effect")],
            result=unknown("interrupted before its outcome was known"),
            why="interrupted",
        ),
    ),
}


@pytest.mark.parametrize(("script", "expected"), CASES.values(), ids=CASES)
def test_what_every_answer_leaves_behind(script: Script, expected: Went) -> None:
    """A rebalance is sent once at most; its end is told, written down, and stops the rest only where it must."""
    stop = Stop()
    api = Rebalancer(*(stop if answer is STOP else answer for _, answer in script))
    results, notes, written = ask(api, ORDER, stop=stop)
    assert api.asked == [asked for asked, _ in script]
    assert {row[:2] for row in written} <= {("aaa", "rebalance")}
    assert [row[2:] for row in written] == list(expected.journal)
    assert notes.heard == [expected.heard or ("finished", A, expected.result.outcome.value)]
    assert (results, stop.why) == ({A: expected.result}, expected.why)


PAUSED = "it is paused (Audit), and a rebalance trades all the same; name it with --although-paused aaa"
DECLARED = "the files declare it paused; name it with --although-paused aaa to run it all the same"
LOOK_FIRST = "Glider reports the status '{}'; look at it there first"


@pytest.mark.parametrize(
    ("found", "declared", "although", "why"),
    [
        (RUNS, False, False, None),
        (RUNS, True, False, DECLARED),
        (RUNS, True, True, None),
        (RESTS, False, False, PAUSED),
        (RESTS, True, False, PAUSED),
        (RESTS, True, True, None),
        (live(Status.INACTIVE), False, False, None),
        (live(Status.INACTIVE), True, False, DECLARED),
        (live(Status.NO_SCHEDULE), False, False, None),
        (
            live(Status.NOT_FOUND),
            True,
            True,
            "Glider has no such portfolio, or the key may not see it; check the id",
        ),
        (live(Status.ARCHIVED), True, True, LOOK_FIRST.format("archived")),
        (live(Status.ERROR), True, True, LOOK_FIRST.format("error")),
        (live(Status.UNKNOWN, word="hibernating"), True, True, LOOK_FIRST.format("hibernating")),
        (live(Status.UNREADABLE), True, True, "its status could not be read"),
        (live(Status.NOT_READ), True, True, "its status could not be read"),
    ],
)
def test_what_may_not_run_is_not_asked_for(found: Live, declared: bool, although: bool, why: str | None) -> None:
    """Paused, or declared so, only by name; what is in no state to run not at all. Nothing is written down of it."""
    api = Rebalancer(OLD, found, *([] if why else [OK]))
    results, _, written = ask(api, replace(ORDER, declared_paused=declared, although_paused=although))
    assert (api.answers, len(written)) == ([], 0 if why else 1)
    assert results[A] == (result(O.REFUSED, detail=why) if why else result(O.ACCEPTED, id="w2"))


DUE = pause_id("2026-11-22T13:00:00Z")


@pytest.mark.parametrize(
    ("version", "listed", "found", "before"),
    [
        (
            ApiVersion.V1,
            OLD,
            live(Status.ACTIVE, next_run_ms=NOON_MS + HOUR_MS),
            Before(status=Status.ACTIVE, due_ms=NOON_MS + HOUR_MS, runs=("w1",)),
        ),
        (ApiVersion.V1, NONE, RESTS, Before(status=Status.PAUSED, pause_reason="Audit", runs=())),
        (
            ApiVersion.V2,
            UNLISTED,
            live(Status.PAUSED, schedule_id=DUE),
            Before(status=Status.PAUSED, due_ms=NOON_MS + HOUR_MS),
        ),
    ],
)
def test_what_is_known_stands_in_the_journal_before_it_is_sent(
    version: ApiVersion, listed: RecentRebalances, found: Live, before: Before
) -> None:
    """The API, the flag, and what the look showed: whoever finds it without an outcome needs all of that."""
    opened: list[Intent] = []
    kept: list[OpenJournal] = []

    def answers() -> Confirmation:
        opened.extend(one.intent for one in kept[0].unsettled())
        return OK

    api = Rebalancer(listed, found, answers, noun="operation")
    order = replace(ORDER, version=version, skip_schedule_validation=True, although_paused=True)
    _, _, written = ask(api, order, before=lambda journal, _: kept.append(journal))
    assert api.asked == [LISTS, READS, ("trigger", A, True)]
    assert opened == [intent(A, Call.REBALANCE, "000001", api=version, skip_schedule_validation=True, before=before)]
    assert written == [("aaa", "rebalance", "confirmed", "operation w2")]


EARLIER = intent(A, Call.REBALANCE, "0000a1", before=Before(status=Status.ACTIVE, runs=("w1",)))
ON_V2 = replace(EARLIER, api=ApiVersion.V2, before=Before(status=Status.ACTIVE))
STARTED = replace(
    EARLIER, call=Call.START, run_on_start=True, interval_ms=HOUR_MS, before=Before(status=Status.INACTIVE)
)
NOT_ANSWERED = (
    "an earlier request for a run of it was not answered, and may have begun one: look with `reconciler status aaa`, "
    "and name it with --again aaa to ask anew"
)
FOUND = "the earlier request had begun the workflow w2; nothing new was asked for"
EARLIER_CASES: dict[str, tuple[Intent, bool, Script, RebalanceResult, list[tuple[str, str]]]] = {
    "found": (
        EARLIER,
        False,
        lists(NEW),
        result(O.ACCEPTED, id="w2", notes=(FOUND,)),
        [SEEN_ROW],
    ),
    "found, though named": (
        EARLIER,
        True,
        lists(NEW),
        result(O.ACCEPTED, id="w2", notes=(FOUND,)),
        [SEEN_ROW],
    ),
    "not found": (
        EARLIER,
        False,
        lists(OLD),
        result(O.UNKNOWN, detail=NOT_ANSWERED),
        [("unknown", TEXT)],
    ),
    "not found, and named": (
        EARLIER,
        True,
        [*lists(OLD), *BEGUN, (SENDS, OK)],
        result(O.ACCEPTED, id="w2"),
        [("unknown", TEXT), ("confirmed", "workflow w2")],
    ),
    "the list can't be read": (
        EARLIER,
        False,
        lists(NO_READ),
        result(O.REFUSED, detail=f"{READING_FAILED}no connection", error=NO_READ),
        [("unknown", TEXT)],
    ),
    "on v2": (ON_V2, False, [], result(O.UNKNOWN, detail=NOT_ANSWERED), [("unknown", TEXT)]),
    "on v2, and named": (
        ON_V2,
        True,
        [*lists(UNLISTED), (READS, RUNS), (SENDS, OK)],
        result(O.ACCEPTED, id="w2"),
        [("unknown", TEXT), ("confirmed", "workflow w2")],
    ),
    "a start that was to run at once": (
        STARTED,
        False,
        [],
        result(O.UNKNOWN, detail=NOT_ANSWERED),
        [("unknown", TEXT)],
    ),
    "a start that was not to run": (
        replace(STARTED, run_on_start=False),
        False,
        [*BEGUN, (SENDS, OK)],
        result(O.ACCEPTED, id="w2"),
        [("unknown", TEXT), ("confirmed", "workflow w2")],
    ),
}


@pytest.mark.parametrize(
    ("earlier", "again", "script", "expected", "journal"), EARLIER_CASES.values(), ids=EARLIER_CASES
)
def test_a_request_that_stayed_unanswered(
    earlier: Intent, again: bool, script: Script, expected: RebalanceResult, journal: list[tuple[str, str]]
) -> None:
    """It is looked for first; where it can't be found nothing new is asked for, until a person names it."""

    def leave(opened: OpenJournal, _: Path) -> None:
        opened.end(opened.begin(earlier), WriteOutcome.UNKNOWN, TEXT)

    api = Rebalancer(*(answer for _, answer in script))
    results, _, written = ask(api, replace(ORDER, again=again, version=earlier.api), before=leave)
    assert api.asked == [asked for asked, _ in script]
    assert results == {A: expected}
    assert [row[2:] for row in written] == journal


def test_a_refused_key_is_why_the_rest_is_not_attempted() -> None:
    """Every further one would fail alike, so none is sent; each says why."""
    api = Rebalancer(NO_KEY)
    results, notes, written = ask(api, ORDER, replace(ORDER, portfolio=B))
    assert results[B] == RebalanceResult(portfolio=B, outcome=O.NOT_ATTEMPTED, detail="the key was refused")
    assert notes.heard == [("finished", A, "refused"), ("finished", B, "not_attempted")]
    assert (written, api.asked) == ([], [LISTS])


@pytest.mark.parametrize(
    ("when", "asked", "outcome"),
    [
        ("BEFORE INSERT", [LISTS, READS], O.NOT_ATTEMPTED),
        ("BEFORE UPDATE", [LISTS, READS, SENDS], O.UNKNOWN),
    ],
)
def test_nothing_is_sent_that_can_not_be_written_down(
    when: str, asked: list[tuple[object, ...]], outcome: RebalanceOutcome
) -> None:
    """Without an announcement nothing is sent; where the end is lost, it is unknown, and the rest is not attempted."""
    stop, api = Stop(), Rebalancer(OLD, RUNS, OK)

    def full(_: OpenJournal, path: Path) -> None:
        edit(path, f"CREATE TRIGGER full {when} ON writes BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")

    results, _, _ = ask(api, ORDER, replace(ORDER, portfolio=B), stop=stop, before=full)
    why = stop.why or ""
    assert why.endswith("can't be used: the disk is full")
    first = unknown(why) if outcome is O.UNKNOWN else result(outcome, detail=why)
    assert results == {A: first, B: RebalanceResult(portfolio=B, outcome=O.NOT_ATTEMPTED, detail=why)}
    assert api.asked == asked


def test_a_cancelled_program_is_not_told_as_an_interruption() -> None:
    """Where nobody asked for a stop, the cancellation is not ours to answer."""
    with pytest.raises(asyncio.CancelledError):
        ask(Rebalancer(asyncio.CancelledError()), ORDER)


def one_run(number: int, *writes: tuple[str, Call, str, str], base_url: str = BASE_URL) -> Run:
    """Return a run of the journal with writes as portfolio, call, outcome and detail."""
    return Run(
        number=number,
        base_url=base_url,
        fingerprint="rebalance",
        tool="t",
        process="p",
        started_ms=NOON_MS,
        finished_ms=None,
        exit_reason=None,
        writes=tuple(
            Write(
                number=n,
                portfolio=PortfolioId(portfolio),
                call=call,
                interval_ms=None,
                offset_ms=None,
                intent_ms=NOON_MS,
                outcome=outcome,
                detail=detail,
                outcome_ms=NOON_MS,
            )
            for n, (portfolio, call, outcome, detail) in enumerate(writes)
        ),
    )


def test_the_last_operation_of_each_portfolio() -> None:
    """The newest run goes first, in it the last write; only ids of that kind, of this service, that were taken."""
    r = Call.REBALANCE
    runs = (
        one_run(9, ("aaa", r, "confirmed", "operation o9"), base_url="https://elsewhere"),
        one_run(3, ("aaa", r, "confirmed", "operation o3"), ("aaa", r, "seen", "operation o4 of two words")),
        one_run(2, ("aaa", r, "confirmed", "operation o2"), ("bbb", r, "seen", "operation o5")),
        one_run(
            1,
            ("ccc", r, "unknown", "operation o6"),
            ("ddd", Call.PAUSE, "confirmed", "operation o7"),
            ("eee", r, "confirmed", "workflow w1"),
            ("fff", r, "confirmed", "operation"),
        ),
    )
    assert operations_of(runs, BASE_URL, noun="operation") == {"aaa": "o4 of two words", "bbb": "o5"}
    assert operations_of(runs, BASE_URL, noun="workflow") == {"eee": "w1"}
