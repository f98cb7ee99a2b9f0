"""Following rebalances: how often is looked, when waiting ends, and what every end is called, to the letter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.run import Stop
from reconciler.apply.trigger import follow_all
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.model import PortfolioId
from reconciler.core.rebalance import Rebalance, RebalanceOutcome, RebalanceResult, RebalanceStatus
from tests.apply.rebalances import Notes, Rebalancer
from tests.support import HOUR_MS, NOON_MS, FakeClock, OffClock, run

if TYPE_CHECKING:
    from reconciler.core.ports import Clock

A, B = PortfolioId("aaa"), PortfolioId("bbb")
O = RebalanceOutcome  # noqa: E741 - short for the tables below
LOOKS = ("look", A, "w1")
NO_READ = ApiError(FailureKind.UNREACHABLE, "no connection")
NO_KEY = ApiError(FailureKind.UNAUTHENTICATED, "the key is refused")
NOT_ALLOWED = ApiError(FailureKind.FORBIDDEN, "the key is not for this")
ASKED = RebalanceResult(portfolio=A, outcome=O.ACCEPTED, id="w1")
GOES_ON = "and goes on; look with `reconciler status aaa`"


def shown(word: str, status: RebalanceStatus = RebalanceStatus.RUNNING, **more: Any) -> Rebalance:
    return Rebalance(id="w1", status=status, word=word, **more)


RUNNING, RETRYING = shown("running"), shown("retrying_now")
DONE = shown("completed", RebalanceStatus.COMPLETED)


def follow(
    *answers: Any,
    results: dict[PortfolioId, RebalanceResult] | None = None,
    timeout_ms: int = HOUR_MS,
    on: Clock | None = None,
) -> tuple[dict[PortfolioId, RebalanceResult], Rebalancer, Notes, Clock]:
    """Follow one rebalance, or those of ``results``, on a service that answers like this, by the clock ``on``."""
    api, clock, stop = Rebalancer(*answers), on or FakeClock(), Stop()
    notes = Notes(stop, stop_at="stop here")
    found = {A: ASKED} if results is None else results

    async def work() -> dict[PortfolioId, RebalanceResult]:
        following = follow_all(found, api, clock=clock, observer=notes, timeout_ms=timeout_ms, stop=stop)
        return await asyncio.wait_for(following, timeout=60)

    ended = run(work())
    assert api.answers == []
    return ended, api, notes, clock


def ended(outcome: RebalanceOutcome, rebalance: Rebalance | None, detail: str = "", **more: Any) -> RebalanceResult:
    return RebalanceResult(portfolio=A, outcome=outcome, id="w1", rebalance=rebalance, detail=detail, **more)


FAILED = shown("failed", RebalanceStatus.FAILED)
REVERTED = shown("failed", RebalanceStatus.FAILED, error="a swap was reverted")
CANCELLED = shown("cancelled", RebalanceStatus.CANCELLED)
CANCELLED_BY = shown("cancelled", RebalanceStatus.CANCELLED, error="by maria")
ODD_END = shown("halfway", RebalanceStatus.UNKNOWN, ended_ms=NOON_MS)
ENDS = [
    (DONE, O.COMPLETED, ""),
    (FAILED, O.FAILED, "failed, no reason given"),
    (REVERTED, O.FAILED, "a swap was reverted"),
    (CANCELLED, O.CANCELLED, ""),
    (CANCELLED_BY, O.CANCELLED, "by maria"),
    (ODD_END, O.UNKNOWN, "ended as 'halfway', a word that is not documented"),
]


@pytest.mark.parametrize(("last", "outcome", "detail"), ENDS)
def test_what_every_end_is_called(last: Rebalance, outcome: RebalanceOutcome, detail: str) -> None:
    """The end decides the outcome, and only a documented word is a success."""
    results, api, notes, clock = follow(RUNNING, RUNNING, last)
    assert results == {A: ended(outcome, last, detail)}
    assert notes.heard == [("moved", A, "running"), ("moved", A, last.word), ("finished", A, outcome.value)]
    assert (api.asked, clock.now_ms()) == ([LOOKS] * 3, NOON_MS + 6_000)


def test_one_without_an_id_can_not_be_followed() -> None:
    """It was accepted, and nothing can be looked for; the others are followed."""
    nameless = RebalanceResult(portfolio=B, outcome=O.ACCEPTED)
    results, api, notes, _ = follow(DONE, results={A: ASKED, B: nameless})
    assert results == {
        A: ended(O.COMPLETED, DONE),
        B: RebalanceResult(
            portfolio=B, outcome=O.UNKNOWN, detail="it was accepted, but Glider named no id to follow it by"
        ),
    }
    assert api.asked == [LOOKS]
    assert notes.heard == [("finished", B, "unknown"), ("moved", A, "completed"), ("finished", A, "completed")]


def test_what_was_not_accepted_is_left_as_it_is() -> None:
    """A refused one is not looked for, and nobody is told of it again."""
    refused = RebalanceResult(portfolio=A, outcome=O.REFUSED, id="w1", detail="not now")
    results, api, notes, clock = follow(results={A: refused})
    assert (results, api.asked, notes.heard, clock.now_ms()) == ({A: refused}, [], [], NOON_MS)


@pytest.mark.parametrize(
    ("timeout_ms", "looks", "words"),
    [(0, 1, "0s"), (3_000, 2, "3s"), (4_000, 3, "4s"), (6_000, 3, "6s"), (60_000, 21, "1m")],
)
def test_waiting_ends_in_time(timeout_ms: int, looks: int, words: str) -> None:
    """Every three seconds is looked, and once more at the very end; what is not over then goes on."""
    results, api, notes, clock = follow(*[RETRYING] * looks, timeout_ms=timeout_ms)
    assert results == {A: ended(O.TIMED_OUT, RETRYING, f"it is not over after {words} (retrying now), {GOES_ON}")}
    assert (len(api.asked), clock.now_ms()) == (looks, NOON_MS + timeout_ms)
    assert notes.heard == [("moved", A, "retrying_now"), ("finished", A, "timed_out")]


def test_waiting_ends_in_time_although_the_clock_is_set() -> None:
    """Back by an hour, between the looks."""
    clock = OffClock(FakeClock())

    def back() -> Rebalance:
        clock.off_ms = -HOUR_MS
        return RUNNING

    results, *_ = follow(RUNNING, back, RUNNING, timeout_ms=6_000, on=clock)
    assert results[A].outcome is O.TIMED_OUT


def test_a_last_look_a_millisecond_before_the_end() -> None:
    """As long as any time is left it is waited for."""
    results, api, _, clock = follow(RUNNING, RUNNING, DONE, timeout_ms=3_001)
    assert (results[A].outcome, len(api.asked), clock.now_ms()) == (O.COMPLETED, 3, NOON_MS + 3_001)


def test_one_that_was_never_seen_runs_out_of_time_too() -> None:
    """Nothing is said of a status that nobody read."""
    results, _, notes, _ = follow(NO_READ, NO_READ, timeout_ms=3_000)
    assert results == {A: ended(O.TIMED_OUT, None, f"it is not over after 3s, {GOES_ON}")}
    assert notes.heard == [("finished", A, "timed_out")]


def test_five_failed_looks_in_a_row_are_the_end() -> None:
    """Four are survived, as often as one look in between succeeds."""
    results, api, _, _ = follow(*[NO_READ] * 5)
    failed = "it was accepted, but can't be followed: no connection"
    assert results == {A: ended(O.UNKNOWN, None, failed, error=NO_READ)}
    assert api.asked == [LOOKS] * 5
    results, api, _, _ = follow(*[NO_READ] * 4, RUNNING, *[NO_READ] * 4, RUNNING, DONE)
    assert (results[A].outcome, results[A].error) == (O.COMPLETED, None)


@pytest.mark.parametrize("error", [NO_KEY, NOT_ALLOWED])
def test_a_key_that_may_not_look_is_the_end_at_once(error: ApiError) -> None:
    """Looking again would fail alike; what was seen before is kept."""
    results, _, notes, _ = follow(RUNNING, error)
    assert results == {A: ended(O.UNKNOWN, RUNNING, f"it was accepted, but can't be followed: {error}", error=error)}
    assert notes.heard == [("moved", A, "running"), ("finished", A, "unknown")]


def test_an_interruption_leaves_it_accepted() -> None:
    """What is not over goes on; what is over stays so."""
    stops = shown("stop here")
    done = RebalanceResult(portfolio=B, outcome=O.COMPLETED, id="w2")
    results, _, notes, _ = follow(stops, results={A: ASKED, B: done})
    detail = "waiting was interrupted; it goes on: look with `reconciler status aaa`"
    assert results == {A: ended(O.ACCEPTED, stops, detail), B: done}
    assert notes.heard == [("moved", A, "stop here"), ("finished", A, "accepted")]
