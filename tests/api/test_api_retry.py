"""Back-off, Retry-After, budget and gate as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.retry import (
    CAPPED_WAIT_MS,
    LONGEST_PLAUSIBLE_MS,
    LONGEST_WAIT_MS,
    Budget,
    Pace,
    backoff_ms,
    may_repeat,
    retry_after_ms,
)
from reconciler.core.errors import FailureKind

NOW_MS = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(("failures", "longest"), [(1, 250), (2, 500), (3, 1000), (6, 8000), (7, 8000), (500, 8000)])
def test_the_backoff_doubles_up_to_its_cap(failures: int, longest: int) -> None:
    """Full jitter: anything from nothing to the ceiling, which doubles from 250 ms to 8 s."""
    assert backoff_ms(failures, lambda: 0.0) == 0
    assert longest - 1 <= backoff_ms(failures, lambda: 0.9999999) <= longest


@pytest.mark.parametrize(
    ("header", "body", "wait"),
    [
        (None, None, None),
        ("42", None, 42_000),
        (" 0 ", None, 0),
        (None, 42, 42_000),
        (None, 1.5, 1_500),
        ("10", 42, 42_000),
        ("Tue, 14 Nov 2023 22:14:20 GMT", None, 60_000),
        ("Tue, 14 Nov 2023 22:14:20 -0000", None, 60_000),
        ("Tue, 14 Nov 2023 22:00:00 GMT", None, 0),
        ("soon", None, None),
        ("-5", None, None),
        ("", None, None),
        ("٤٢", None, None),
        (None, "42", None),
        (None, True, None),
        (None, -1, None),
        (None, float("inf"), None),
        (None, 10**400, 10**15),
        ("9" * 5000, None, 999_999_999_999_000),
    ],
)
def test_retry_after_is_understood_in_both_forms(header: str | None, body: object, wait: int | None) -> None:
    """Seconds and HTTP dates are obeyed, the body's seconds too, the longer one counts; nonsense is nothing."""
    assert retry_after_ms(header, body, now_ms=NOW_MS) == wait


@given(st.text(max_size=60), st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.lists(st.integers())))
def test_no_retry_after_breaks_anything(header: str, body: object) -> None:
    """Whatever the service says, the result is a wait of 0 or more, or nothing."""
    wait = retry_after_ms(header, body, now_ms=NOW_MS)
    assert wait is None or wait >= 0


def test_what_may_be_sent_again() -> None:
    """A read may after whatever may pass; a write only after the one failure that proves that nothing was done."""
    repeated = {kind for kind in FailureKind if may_repeat(kind, safe=True)}
    assert repeated == {
        FailureKind.RATE_LIMITED,
        FailureKind.UNREACHABLE,
        FailureKind.INTERRUPTED,
        FailureKind.SERVER,
    }
    assert [kind for kind in FailureKind if may_repeat(kind, safe=False)] == [FailureKind.RATE_LIMITED]


@pytest.mark.parametrize(("calls", "retries"), [(0, 20), (1, 20), (50, 30), (1_000, 220)])
def test_the_budget_is_twenty_and_a_fifth(calls: int, retries: int) -> None:
    """A run may retry 20 times, and once more for five calls; what is given back can be spent again."""
    budget = Budget()
    for _ in range(calls):
        budget.called()
    assert sum(budget.spend() for _ in range(2_000)) == retries
    budget.give_back(3)
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]


def test_one_limit_shuts_the_gate_for_all_until_it_is_over() -> None:
    """The gate is shut for as long as was asked, and opens by itself."""
    pace = Pace(parallelism=1, jitter=lambda: 0.0)
    assert not pace.shut
    pace.limited(asked_ms=5_000, news=True, now_ms=100)
    assert pace.shut
    assert pace.gate_ms(1_100) == 4_000
    assert pace.gate_ms(5_100) == 0
    assert not pace.shut


def test_answers_that_were_on_their_way_are_one_event() -> None:
    """Fifty requests that hit one limit together are one strike; limits without end are the end of the run."""
    pace = Pace(parallelism=50, jitter=lambda: 0.0)
    for number in range(50):
        pace.limited(asked_ms=1_000, news=number == 0, now_ms=100)
    assert pace.gate_ms(100) == 1_000
    for moment in range(1_000, 7_000, 1_000):
        assert not pace.given_up
        pace.limited(asked_ms=1_000, news=True, now_ms=moment + 1)
    assert pace.given_up
    assert pace.gate_ms(7_000) > LONGEST_WAIT_MS


def test_an_answer_forgives_earlier_limits() -> None:
    """A service that lets work through between its limits is never given up."""
    pace = Pace(parallelism=1, jitter=lambda: 0.0)
    for moment in range(1_000, 100_000, 1_000):
        pace.limited(asked_ms=None, news=True, now_ms=moment)
        assert pace.gate_ms(moment) == 1_000
        pace.answered()


def test_a_failure_of_the_service_does_not_forgive_limits() -> None:
    """A 500 between two limits is no sign that work gets through."""
    pace = Pace(parallelism=1, jitter=lambda: 0.0)
    for moment in range(7):
        pace.limited(asked_ms=0, news=True, now_ms=moment)
        pace.failed()
    assert pace.given_up


@pytest.mark.parametrize(
    ("asked_ms", "waits"),
    [
        ([0], [0]),
        ([LONGEST_PLAUSIBLE_MS], [LONGEST_PLAUSIBLE_MS]),
        ([LONGEST_PLAUSIBLE_MS + 1], [CAPPED_WAIT_MS]),
        ([10**15], [CAPPED_WAIT_MS]),
        ([10**15, 10**15], [CAPPED_WAIT_MS, 300_000]),
        ([5_000, 10**15, 5_000], [5_000, CAPPED_WAIT_MS, 300_000]),
        ([None, None, None], [1_000, 2_000, 4_000]),
    ],
)
def test_an_absurd_wait_is_capped_once(asked_ms: list[int | None], waits: list[int]) -> None:
    """More than a day counts as a minute; a limit right after that minute ends the run."""
    pace = Pace(parallelism=1, jitter=lambda: 0.0)
    found, now_ms = [], 0
    for asked in asked_ms:
        pace.limited(asked_ms=asked, news=True, now_ms=now_ms)
        found.append(pace.gate_ms(now_ms))
        now_ms += found[-1]
    assert found == waits


def test_a_late_limit_only_lengthens_the_wait() -> None:
    """What an older request is told counts where it is longer and makes sense."""
    pace = Pace(parallelism=3, jitter=lambda: 0.0)
    pace.limited(asked_ms=2_000, news=True, now_ms=0)
    for asked, wait in [(None, 2_000), (1_000, 2_000), (10**15, 2_000), (3_000, 3_000)]:
        pace.limited(asked_ms=asked, news=False, now_ms=0)
        assert pace.gate_ms(0) == wait


def test_long_silence_is_believed_for_a_while() -> None:
    """After many unanswered requests in a row nothing more is sent for 30 s; one answer in between resets that."""
    pace = Pace(parallelism=5, jitter=lambda: 0.0)
    for _ in range(29):
        pace.unanswered(0)
    pace.answered()
    for _ in range(29):
        pace.unanswered(0)
    assert not pace.resting(0)
    pace.unanswered(0)
    assert pace.shut
    assert pace.resting(29_999)
    assert not pace.resting(30_000)
