"""Asking for rebalances: what is sent, what each answer leaves in the journal, and every sentence, to the letter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journal import open_journal
from reconciler.apply.reread import WAITS_SECONDS
from reconciler.apply.stop import Stop
from reconciler.apply.trigger import Order, operations_of, trigger_all
from reconciler.core.desired import ApiVersion, PortfolioId
from reconciler.core.errors import ApiError, FailureKind, JournalError
from reconciler.core.rebalance import (
    Rebalance,
    RebalanceOutcome,
    RebalanceResult,
    RebalanceStatus,
    RecentRebalances,
    Triggered,
)
from reconciler.core.report import Call, Run, Write
from tests.apply.rebalances import Notes, Rebalancer
from tests.apply.scripted import rows
from tests.support import BASE_URL, NOON_MS, FakeClock, folder, run

if TYPE_CHECKING:
    from reconciler.core.ports import Journal

A, B = PortfolioId("aaa"), PortfolioId("bbb")
O = RebalanceOutcome  # noqa: E741 - short for the tables below
LOOKS = len(WAITS_SECONDS)
MINUTE_MS = 60_000


def seen(*ids: str, **more: Any) -> RecentRebalances:
    made = (Rebalance(id=i, status=RebalanceStatus.RUNNING, word="running") for i in ids)
    return RecentRebalances(rebalances=tuple(made), **more)


OLD, NEW = seen("w1"), seen("w2", "w1")
UNLISTED = RecentRebalances(listed=False)
OK, UNNAMED = Triggered(id="w2"), Triggered(id=None)
LOST = ApiError(FailureKind.INTERRUPTED, "no answer", status=504)
REFUSED = ApiError(FailureKind.REFUSED, "not now", status=409)
ADVISED = ApiError(FailureKind.REFUSED, "not now")
ADVISED.detail = "Try another one."
NO_READ = ApiError(FailureKind.UNREACHABLE, "no connection")
NO_KEY = ApiError(FailureKind.UNAUTHENTICATED, "the key is refused")
COOLS = ApiError(FailureKind.RATE_LIMITED, "too soon", code="API_004", retry_after_ms=1_500)
COOLS_SOMEHOW = ApiError(FailureKind.RATE_LIMITED, "too soon", code="API_004")
READS, SENDS = ("recent", A, 10), ("trigger", A, False)
TEXT = "no answer (HTTP 504)"


@dataclass(kw_only=True)
class Went:
    """What asking for one rebalance left behind; the journal holds outcome and detail of its write."""

    asked: list[tuple[object, ...]]
    journal: tuple[tuple[str, str], ...] = ()
    result: RebalanceResult
    heard: tuple[object, ...] | None = None
    """What the observer was told, where it is not the outcome."""
    why: str | None = None
    """What stops the rest."""


def result(outcome: RebalanceOutcome, **more: Any) -> RebalanceResult:
    return RebalanceResult(portfolio=A, outcome=outcome, **more)


def unknown(why: str, error: ApiError | None = None) -> RebalanceResult:
    detail = f"it may be running: look with `reconciler status aaa`; it is not asked for again ({why})"
    return result(O.UNKNOWN, detail=detail, error=error)


def ask(
    *orders: Order, stop: Stop | None = None, journal: Journal | None = None
) -> tuple[dict[PortfolioId, RebalanceResult], Notes, list[tuple[Any, ...]]]:
    """Ask for rebalances, one at a time; return the results, what the observer heard, and the journal's writes."""
    clock, notes = FakeClock(), Notes()
    with folder() as place:
        path = place / "journal.db"
        with open_journal(path, base_url=BASE_URL, now_ms=clock.now_ms) as real:
            real.open_run(fingerprint="rebalance", tool="t")

            async def work() -> dict[PortfolioId, RebalanceResult]:
                asking = trigger_all(
                    orders,
                    journal=journal or real,
                    clock=clock,
                    observer=notes,
                    parallelism=1,
                    stop=stop or Stop(),
                )
                return await asyncio.wait_for(asking, timeout=20)

            results = run(work())
        written = rows(path, "SELECT portfolio, call, wanted, outcome, detail FROM writes ORDER BY id")
    return results, notes, written


STOP = "stop"
"""Stands for the stop of this very run among the answers."""
SEEN = f"the trigger failed ({TEXT}), but a read shows a new workflow since"

CASES: dict[str, tuple[list[object], Went]] = {
    "confirmed": (
        [OLD, OK],
        Went(
            asked=[READS, SENDS],
            journal=(("confirmed", "workflow w2"),),
            result=result(O.ACCEPTED, id="w2"),
            heard=("accepted", A, "w2"),
        ),
    ),
    "confirmed without an id": (
        [OLD, UNNAMED],
        Went(
            asked=[READS, SENDS],
            journal=(("confirmed", ""),),
            result=result(O.ACCEPTED),
            heard=("accepted", A, None),
        ),
    ),
    "refused": (
        [OLD, REFUSED],
        Went(
            asked=[READS, SENDS],
            journal=(("failed", "not now (HTTP 409)"),),
            result=result(O.REFUSED, detail="not now (HTTP 409)", error=REFUSED),
        ),
    ),
    "refused with advice": (
        [OLD, ADVISED],
        Went(
            asked=[READS, SENDS],
            journal=(("failed", "not now"),),
            result=result(O.REFUSED, detail="not now. Try another one.", error=ADVISED),
        ),
    ),
    "not readable before": (
        [NO_READ],
        Went(
            asked=[READS],
            result=result(O.REFUSED, detail="reading failed, so nothing was asked for: no connection", error=NO_READ),
        ),
    ),
    "a read that looks like a cooldown": (
        [COOLS],
        Went(
            asked=[READS],
            result=result(
                O.REFUSED, detail="reading failed, so nothing was asked for: too soon (API_004)", error=COOLS
            ),
        ),
    ),
    "cooling down for a while": (
        [OLD, COOLS],
        Went(
            asked=[READS, SENDS],
            journal=(("failed", "too soon (API_004)"),),
            result=result(
                O.COOLING_DOWN,
                detail="its last rebalance is too recent; run again in 2s",
                error=COOLS,
                retry_ms=NOON_MS + 1_500,
            ),
        ),
    ),
    "cooling down for nobody knows how long": (
        [OLD, COOLS_SOMEHOW],
        Went(
            asked=[READS, SENDS],
            journal=(("failed", "too soon (API_004)"),),
            result=result(
                O.COOLING_DOWN,
                detail="its last rebalance is too recent, and Glider does not say for how long; run again later",
                error=COOLS_SOMEHOW,
            ),
        ),
    ),
    "the key is refused": (
        [OLD, NO_KEY],
        Went(
            asked=[READS, SENDS],
            journal=(("failed", "the key is refused"),),
            result=result(O.REFUSED, detail="the key is refused", error=NO_KEY),
            why="the key was refused",
        ),
    ),
    "lost, and a new one is listed": (
        [OLD, LOST, NEW],
        Went(
            asked=[READS, SENDS, READS],
            journal=(("seen", "workflow w2"),),
            result=result(O.ACCEPTED, id="w2", notes=(SEEN,)),
            heard=("accepted", A, "w2"),
        ),
    ),
    "lost, and seen after looks that fail and show nothing": (
        [OLD, LOST, NO_READ, OLD, NEW],
        Went(
            asked=[READS, SENDS, READS, READS, READS],
            journal=(("seen", "workflow w2"),),
            result=result(O.ACCEPTED, id="w2", notes=(SEEN,)),
            heard=("accepted", A, "w2"),
        ),
    ),
    "lost, and the newest of two new ones counts": (
        [OLD, LOST, seen("w3", "w2", "w1")],
        Went(
            asked=[READS, SENDS, READS],
            journal=(("seen", "workflow w3"),),
            result=result(O.ACCEPTED, id="w3", notes=(SEEN,)),
            heard=("accepted", A, "w3"),
        ),
    ),
    "lost, and nothing new": (
        [OLD, LOST, *[OLD] * LOOKS],
        Went(
            asked=[READS, SENDS, *[READS] * LOOKS],
            journal=(("unknown", TEXT),),
            result=unknown(f"{TEXT}; no new workflow is seen", LOST),
        ),
    ),
    "lost, where nothing is listed": (
        [UNLISTED, LOST],
        Went(
            asked=[READS, SENDS],
            journal=(("unknown", TEXT),),
            result=unknown(f"{TEXT}; no new workflow is seen", LOST),
        ),
    ),
    "lost, with a scheduled run just near enough": (
        [seen("w1", next_run_ms=NOON_MS + 5 * MINUTE_MS), LOST, NEW],
        Went(
            asked=[READS, SENDS, READS],
            journal=(("unknown", TEXT),),
            result=unknown(f"{TEXT}; a new workflow w2 is listed, which may be the scheduled run", LOST),
        ),
    ),
    "lost, with a scheduled run just too far": (
        [seen("w1", next_run_ms=NOON_MS + 5 * MINUTE_MS + 1), LOST, NEW],
        Went(
            asked=[READS, SENDS, READS],
            journal=(("seen", "workflow w2"),),
            result=result(O.ACCEPTED, id="w2", notes=(SEEN,)),
            heard=("accepted", A, "w2"),
        ),
    ),
    "interrupted before it was sent": (
        [STOP],
        Went(asked=[READS], result=result(O.NOT_ATTEMPTED, detail="interrupted"), why="interrupted"),
    ),
    "interrupted while it was sent": (
        [OLD, STOP],
        Went(
            asked=[READS, SENDS],
            journal=(("unknown", "interrupted before its answer came"),),
            result=unknown("interrupted before its answer came"),
            why="interrupted",
        ),
    ),
    "lost, then interrupted": (
        [OLD, LOST, OLD, STOP],
        Went(
            asked=[READS, SENDS, READS, READS],
            journal=(("unknown", f"{TEXT}; interrupted before a read showed its effect"),),
            result=unknown("interrupted before its answer came"),
            why="interrupted",
        ),
    ),
}


@pytest.mark.parametrize(("answers", "expected"), CASES.values(), ids=CASES)
def test_what_every_answer_leaves_behind(answers: list[object], expected: Went) -> None:
    """A rebalance is sent once at most; its end is told, written down, and stops the rest only where it must."""
    stop = Stop()
    api = Rebalancer(*(stop if answer is STOP else answer for answer in answers))
    results, notes, written = ask(Order(portfolio=A, version=ApiVersion.V1, api=api), stop=stop)
    assert api.answers == []
    wanted = '{"api": "v1", "interval_ms": null, "offset_ms": null, "skip_schedule_validation": false}'
    assert {row[:3] for row in written} <= {("aaa", "rebalance", wanted)}
    told = ("finished", A, expected.result.outcome.value)
    assert notes.heard == [expected.heard or told]
    assert (api.asked, tuple(row[3:] for row in written)) == (expected.asked, expected.journal)
    assert (results, stop.why) == ({A: expected.result}, expected.why)


@pytest.mark.parametrize("version", ApiVersion)
def test_what_an_order_holds_is_sent_and_written_down(version: ApiVersion) -> None:
    """The version and the flag of an order are in the journal before, and the flag is in the request."""
    api = Rebalancer(OLD, OK, noun="operation")
    order = Order(portfolio=B, version=version, api=api, skip_schedule_validation=True)
    _, _, written = ask(order)
    assert api.asked == [("recent", B, 10), ("trigger", B, True)]
    wanted = f'{{"api": "{version}", "interval_ms": null, "offset_ms": null, "skip_schedule_validation": true}}'
    assert written == [("bbb", "rebalance", wanted, "confirmed", "operation w2")]


def test_a_refused_key_is_why_the_rest_is_not_attempted() -> None:
    """Every further one would fail alike, so none is sent; each says why."""
    api = Rebalancer(NO_KEY)
    results, notes, written = ask(*(Order(portfolio=i, version=ApiVersion.V1, api=api) for i in (A, B)))
    assert results[B] == RebalanceResult(portfolio=B, outcome=O.NOT_ATTEMPTED, detail="the key was refused")
    assert notes.heard == [("finished", A, "refused"), ("finished", B, "not_attempted")]
    assert (written, api.asked) == ([], [READS])


class FullJournal:
    """A journal that can't write any more: not at all, or not what became of a write."""

    def __init__(self, *, announces: bool) -> None:
        self._announces = announces

    def begin(self, portfolio: object, call: str, wanted: str) -> int:
        if not self._announces:
            raise JournalError("the disk is full", "Make room.")
        return 1

    def end(self, write: int, outcome: str, detail: str) -> None:
        raise JournalError("the disk is full", "Make room.")


@pytest.mark.parametrize(
    ("announces", "asked", "expected"),
    [
        (False, [READS], result(O.NOT_ATTEMPTED, detail="the disk is full")),
        (True, [READS, SENDS], unknown("the disk is full")),
    ],
)
def test_nothing_is_sent_that_can_not_be_written_down(
    announces: bool, asked: list[tuple[object, ...]], expected: RebalanceResult
) -> None:
    """Without an announcement nothing is sent; where the end is lost, it is unknown, and the rest is not attempted."""
    stop, api = Stop(), Rebalancer(OLD, OK)
    journal: Any = FullJournal(announces=announces)
    orders = (Order(portfolio=i, version=ApiVersion.V1, api=api) for i in (A, B))
    results, _, _ = ask(*orders, stop=stop, journal=journal)
    after = RebalanceResult(portfolio=B, outcome=O.NOT_ATTEMPTED, detail="the disk is full")
    assert (results, api.asked, stop.why) == ({A: expected, B: after}, asked, "the disk is full")


def test_a_cancelled_program_is_not_told_as_an_interruption() -> None:
    """Where nobody asked for a stop, the cancellation is not ours to answer."""
    api = Rebalancer(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        ask(Order(portfolio=A, version=ApiVersion.V1, api=api))


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
