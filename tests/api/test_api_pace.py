"""Back-off, budget, gate, places in flight and what the service says is left, as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.envelope import retry_after_ms
from reconciler.api.throttle import (
    CAPPED_WAIT_MS,
    GOOD_FOR_ONE_MORE,
    LONGEST_PLAUSIBLE_MS,
    LONGEST_WAIT_MS,
    Allowance,
    Budget,
    Limiter,
    Pace,
    backoff_ms,
    may_repeat,
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


RESET_S = NOW_MS // 1_000 + 60


def good(limiter: Limiter, times: int = 1) -> None:
    for _ in range(times):
        limiter.good(limiter.window)


@pytest.mark.parametrize(
    ("parallelism", "limits", "expected"), [(10, 0, 10), (10, 1, 5), (10, 2, 2), (10, 3, 1), (10, 9, 1), (1, 1, 1)]
)
def test_a_limit_halves_what_may_be_in_flight(parallelism: int, limits: int, expected: int) -> None:
    """Each limit halves the number, down to one; it counts once the service lets a request through again."""
    limiter = Limiter(parallelism=parallelism)
    for _ in range(limits):
        limiter.limited(limiter.window)
        assert limiter.limit == 1
    good(limiter)
    assert limiter.limit == expected


def test_one_limit_counts_once() -> None:
    """Requests that were in flight together and all hit the limit halve the number once."""
    limiter = Limiter(parallelism=16)
    window = limiter.window
    assert [limiter.limited(window) for _ in range(16)] == [True] + [False] * 15
    good(limiter)
    assert limiter.limit == 8


def test_after_a_limit_one_request_goes_alone() -> None:
    """Until the probe is through, nobody else goes; an answer to an older request does not count as that."""
    limiter = Limiter(parallelism=8)
    old = limiter.window
    limiter.limited(old)
    assert limiter.free
    limiter.enter()
    assert not limiter.free
    limiter.good(old)
    limiter.passed(old)
    assert not limiter.free
    limiter.passed(limiter.window)
    assert limiter.free
    assert limiter.limit == 4


def test_good_answers_make_room_again() -> None:
    """Ten good answers make room for one more, up to the parallelism and not beyond."""
    limiter = Limiter(parallelism=4)
    limiter.limited(limiter.window)
    good(limiter, GOOD_FOR_ONE_MORE - 1)
    assert limiter.limit == 2
    good(limiter)
    assert limiter.limit == 3
    good(limiter, 100 * GOOD_FOR_ONE_MORE)
    assert limiter.limit == 4


@pytest.mark.parametrize(("remaining", "limit"), [(None, 6), (0, 1), (1, 1), (5, 5), (6, 6), (10**15, 6)])
def test_what_is_left_caps_what_is_in_flight(remaining: int | None, limit: int) -> None:
    """The service's count lowers the number at once, never below one, and lets go of it at once."""
    limiter = Limiter(parallelism=6)
    limiter.cap(remaining)
    assert limiter.limit == limit
    limiter.cap(None)
    assert limiter.limit == 6


def test_reservations_are_claims_that_were_not_sent() -> None:
    """What is reserved keeps others out, is sent only while the service still takes it, and is given back."""
    limiter = Limiter(parallelism=4)
    limiter.cap(4)
    limiter.take(2)
    limiter.enter()
    assert limiter.fits(1)
    assert not limiter.fits(2)
    assert not limiter.too_small(2)
    limiter.cap(1)
    assert limiter.spent  # the one that was sent is the one that is left
    limiter.leave()
    assert not limiter.spent
    limiter.send_reserved()
    assert limiter.spent
    assert not limiter.reserve_one()
    limiter.answered()
    limiter.give_back(1)
    assert (limiter.in_flight, limiter.claimed) == (0, 0)
    assert limiter.too_small(2)
    limiter.cap(None)
    assert limiter.reserve_one()


@given(
    parallelism=st.integers(1, 8),
    left=st.integers(1, 20),
    steps=st.lists(st.tuples(st.sampled_from(["take", "send", "answer", "leave", "enter", "done"]), st.integers(1, 3))),
)
def test_claims_never_exceed_what_is_left(parallelism: int, left: int, steps: list[tuple[str, int]]) -> None:
    """Whoever asks first keeps to both bounds, in whatever order rooms and requests come and go."""
    limiter = Limiter(parallelism=parallelism)
    limiter.cap(left)
    rooms: list[list[int]] = []
    plain = 0
    for step, number in steps:
        match step:
            case "take" if limiter.fits(number):
                limiter.take(number)
                rooms.append([number, 0])
            case "send" if rooms and rooms[-1][0]:
                limiter.send_reserved()
                rooms[-1] = [rooms[-1][0] - 1, rooms[-1][1] + 1]
            case "answer" if rooms and rooms[-1][1]:
                limiter.answered()
                rooms[-1][1] -= 1
            case "leave" if rooms and not rooms[-1][1]:
                limiter.give_back(rooms.pop()[0])
            case "enter" if limiter.free:
                limiter.enter()
                plain += 1
            case "done" if plain:
                limiter.leave()
                plain -= 1
        assert limiter.in_flight == len(rooms) + plain <= parallelism
        assert limiter.claimed == sum(sum(room) for room in rooms) + plain <= left


@given(
    parallelism=st.integers(1, 60),
    events=st.lists(st.tuples(st.sampled_from(["good", "passed", "limited", "cap"]), st.integers(0, 70)), max_size=80),
)
def test_the_limiter_stays_in_its_bounds_and_recovers(parallelism: int, events: list[tuple[str, int]]) -> None:
    """Whatever is answered, late or not: from 1 to the parallelism, and enough good answers bring all of it back."""
    limiter = Limiter(parallelism=parallelism)
    for event, number in events:
        window = max(0, limiter.window - number % 3)
        match event:
            case "good":
                limiter.good(window)
            case "passed":
                limiter.passed(window)
            case "limited":
                limiter.limited(window)
            case _:
                limiter.cap(number or None)
        assert 1 <= limiter.limit <= parallelism
    limiter.cap(None)
    good(limiter, parallelism * GOOD_FOR_ONE_MORE)
    assert limiter.limit == parallelism


def headers(remaining: object, reset: object = RESET_S) -> list[tuple[bytes, bytes]]:
    return [
        (b"Content-Type", b"application/json"),
        (b"X-RateLimit-Remaining", str(remaining).encode()),
        (b"x-ratelimit-reset", str(reset).encode()),
    ]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ([], None),
        ([headers(7)], 7),
        ([headers(" 0 ")], 0),
        ([headers(7), headers(9)], 7),
        ([headers(7), headers(50, RESET_S + 60)], 50),
        ([headers(7), []], 7),
        ([headers(7, RESET_S - 61)], None),
        ([headers(7, 42)], None),
        ([headers(-1)], None),
        ([headers("many")], None),
        ([headers(7, "soon")], None),
        ([headers("9" * 5000)], None),
        ([headers("\u0664")], None),
        ([[(b"X-RateLimit-Remaining", b"3")]], None),
    ],
)
def test_what_the_service_says_is_left(said: list[list[tuple[bytes, bytes]]], left: int | None) -> None:
    """The smallest number of a window counts; without a reset to come, or as no number, nothing is known."""
    allowance = Allowance()
    for answer in said:
        allowance.said(answer, NOW_MS)
    assert allowance.left(NOW_MS) == left


@pytest.mark.parametrize(
    ("limits", "remaining", "size"),
    [
        ([], [], None),
        ([None], [9], 10),
        ([None, None, None], [3, 7, 5], 8),
        ([50], [3], 50),
        ([50, 60], [3, 2], 60),
        ([50, None, 0, "many"], [3, 2, 1, 0], 50),
        ([None], [0], 1),
    ],
)
def test_how_many_the_next_window_takes(limits: list[object], remaining: list[int], size: int | None) -> None:
    """The limit that the service names, else the most that was ever left and the request that was told so."""
    allowance = Allowance()
    for limit, left in zip(limits, remaining, strict=True):
        named = [] if limit is None else [(b"X-RateLimit-Limit", str(limit).encode())]
        allowance.said([*headers(left), *named], NOW_MS)
    assert allowance.next_size == size


def test_a_window_ends() -> None:
    """At its reset the service's count is over, with or without another answer."""
    allowance = Allowance()
    allowance.said(headers(0), NOW_MS)
    assert allowance.reset_in_ms(NOW_MS + 1) == 59_999
    assert allowance.left(NOW_MS + 59_999) == 0
    assert allowance.left(NOW_MS + 60_000) is None
    assert allowance.reset_in_ms(NOW_MS + 60_001) == 0
    allowance.said([], NOW_MS + 60_001)
    assert allowance.left(NOW_MS) is None
