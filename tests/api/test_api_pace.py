"""Back-off, budget, rate, gate and what the service says is left, as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.envelope import retry_after_ms
from reconciler.api.limiter import LONGEST_WAIT_MS, RetryBudget, may_repeat
from reconciler.api.pace import CAPPED_WAIT_MS, LONGEST_PLAUSIBLE_MS, Gate, Rate, Remaining, backoff_ms
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
    """A run may retry 20 times, and once more for five calls."""
    budget = RetryBudget()
    budget.calls = calls
    assert sum(budget.spend() for _ in range(2_000)) == retries


class Told:
    """A gate that requests go through one after the other, and what it is told of them."""

    def __init__(self, parallelism: int = 1) -> None:
        self.gate = Gate(parallelism=parallelism, jitter=lambda: 0.0)

    def send(self) -> int:
        self.gate.sent += 1
        return self.gate.sent

    def limited(self, asked_ms: int | None, now_ms: int, *, news: bool = True, counted: bool = False) -> int:
        return self.gate.limited(self.send(), asked_ms=asked_ms, news=news, counted=counted, now_ms=now_ms)


def test_a_long_limit_shuts_the_gate_for_all_until_it_is_over() -> None:
    """The gate is shut for as long as was asked, and opens by itself."""
    told = Told()
    assert not told.gate.shut
    told.limited(5_000, 100)
    assert told.gate.shut
    assert told.gate.wait_ms(1_100) == 4_000
    assert told.gate.wait_ms(5_100) == 0
    assert not told.gate.shut


def test_a_short_limit_shuts_the_gate_once_it_is_repeated() -> None:
    """At first only who got it waits; the second time all do for a moment, the third time as long as was asked."""
    told = Told()
    assert told.limited(1_000, 100) == 1_000
    assert not told.gate.shut
    assert told.gate.doubted
    assert told.limited(1_000, 200) == 1_000
    assert told.gate.wait_ms(200) == 100
    assert told.limited(1_000, 400) == 1_000
    assert told.gate.wait_ms(400) == 1_000
    told.gate.served(told.send())
    assert not told.gate.doubted
    told.limited(1_000, 2_000)
    assert told.gate.wait_ms(2_000) == 0


def test_where_the_service_counts_a_short_limit_shuts_the_gate_too() -> None:
    """Its window is used up, so nobody else would get through either."""
    told = Told()
    told.limited(1_000, 0, counted=True)
    assert told.gate.wait_ms(0) == 1_000


def test_only_a_later_request_ends_the_doubt() -> None:
    """An answer to one that was sent before the refused one shows nothing."""
    told = Told(3)
    early, refused, late = told.send(), told.send(), told.send()
    told.gate.limited(refused, asked_ms=0, news=True, counted=False, now_ms=0)
    told.gate.served(early)
    assert told.gate.doubted
    told.gate.passed(late)
    assert not told.gate.doubted


def test_answers_that_were_on_their_way_are_one_event() -> None:
    """Fifty requests that hit one limit together are one strike; limits without end are the end of the run."""
    told = Told(50)
    for number in range(50):
        told.limited(5_000, 100, news=number == 0)
    assert told.gate.wait_ms(100) == 5_000
    for moment in range(1_000, 7_000, 1_000):
        assert not told.gate.given_up
        told.limited(1_000, moment + 1)
    assert told.gate.given_up
    assert told.gate.wait_ms(7_000) > LONGEST_WAIT_MS


def test_an_answer_forgives_earlier_limits() -> None:
    """A service that lets work through between its limits is never given up."""
    told = Told()
    for moment in range(1_000, 100_000, 1_000):
        assert told.limited(None, moment) == 1_000
        told.gate.served(told.send())
    assert not told.gate.given_up


def test_a_failure_of_the_service_does_not_forgive_limits() -> None:
    """A 500 between two limits is no sign that work gets through."""
    told = Told()
    for moment in range(7):
        told.limited(0, moment)
        told.gate.passed(told.send())
    assert told.gate.given_up


@pytest.mark.parametrize(
    ("asked_ms", "waits"),
    [
        ([0], [0]),
        ([LONGEST_PLAUSIBLE_MS], [LONGEST_PLAUSIBLE_MS]),
        ([LONGEST_PLAUSIBLE_MS + 1], [CAPPED_WAIT_MS]),
        ([10**15], [CAPPED_WAIT_MS]),
        ([10**15, 10**15], [CAPPED_WAIT_MS, 300_000]),
        ([5_000, 10**15, 5_000], [5_000, CAPPED_WAIT_MS, 300_000]),
        ([None, None, None, None], [0, 100, 4_000, 8_000]),
    ],
)
def test_an_absurd_wait_is_capped_once(asked_ms: list[int | None], waits: list[int]) -> None:
    """More than a day counts as a minute; a limit right after that minute ends the run."""
    told = Told()
    found, now_ms = [], 0
    for asked in asked_ms:
        told.limited(asked, now_ms)
        found.append(told.gate.wait_ms(now_ms))
        now_ms += found[-1]
    assert found == waits


def test_a_late_limit_only_lengthens_the_wait() -> None:
    """What an older request is told counts where it is longer and makes sense."""
    told = Told(3)
    told.limited(3_000, 0)
    for asked, wait in [(None, 3_000), (1_000, 3_000), (10**15, 3_000), (4_000, 4_000)]:
        told.limited(asked, 0, news=False)
        assert told.gate.wait_ms(0) == wait


def test_long_silence_is_believed_for_a_while() -> None:
    """After many unanswered requests in a row nothing more is sent for 30 s; one answer in between resets that."""
    gate = Told(5).gate
    for _ in range(29):
        gate.unanswered(0)
    gate.served(1)
    for _ in range(29):
        gate.unanswered(0)
    assert not gate.resting(0)
    gate.unanswered(0)
    assert gate.shut
    assert gate.resting(29_999)
    assert not gate.resting(30_000)


def served(rate: Rate, per_s: int, *, from_ms: int, to_ms: int) -> None:
    """Tell it of answers that came evenly, to requests that were sent after all that it was told of before."""
    for moment in range(from_ms, to_ms, 1_000 // per_s):
        rate.sent(1, moment)
        rate.served(10**6 + moment)


def test_nothing_is_held_back_before_the_first_refusal() -> None:
    """Without a refusal and without a rate to keep to, there is no pace."""
    rate = Rate()
    rate.sent(1_000, 0)
    assert not rate.paced
    assert rate.wait_ms(0) == 0


def test_a_rate_that_is_asked_for_is_even() -> None:
    """``most_per_s`` spaces requests from the first one on, and never more is sent, whatever is served."""
    rate = Rate(50)
    rate.sent(1, 0)
    waits = []
    for _ in range(5):
        waits.append(rate.wait_ms(0))
        rate.sent(1, 0)
    assert waits == [20, 40, 60, 80, 100]
    rate.refused(1, last_sent=1, now_ms=0)
    served(rate, 20, from_ms=0, to_ms=600_000)
    assert rate.per_s(600_000) == 50


def test_a_rest_is_not_made_up_for() -> None:
    """Who asks after a while in which nobody did gets no turns of that while; only a late timer is made up for."""
    rate = Rate(50)
    rate.sent(1, 0)
    rate.asked(1_000)
    assert rate.wait_ms(1_000) == 0
    rate.sent(1, 1_000)
    assert rate.wait_ms(1_000) == 20
    rate.sent(1, 1_030)  # ten milliseconds late
    assert rate.wait_ms(1_030) == 10


def test_the_rate_falls_to_what_was_served_and_grows_from_there() -> None:
    """Between two refusals 100 a second were served: a tenth below that at first, that after a second, more later."""
    rate = Rate()
    rate.refused(1, last_sent=1, now_ms=0)
    assert rate.per_s(0) == 30
    served(rate, 100, from_ms=0, to_ms=500)
    assert rate.per_s(500) > 200
    rate.refused(2, last_sent=2, now_ms=500)  # far too much: the truth is between
    assert 100 < rate.per_s(500) < 200
    rate = Rate(105)
    rate.refused(1, last_sent=1, now_ms=0)
    served(rate, 100, from_ms=0, to_ms=5_000)
    rate.refused(2, last_sent=2, now_ms=5_000)
    found = [rate.per_s(5_000 + after_ms) for after_ms in (0, 500, 1_000, 1_500)]
    assert found == pytest.approx([90, 98.75, 100, 101.25])
    assert rate.per_s(8_000) == 105


def test_what_became_of_those_on_their_way_corrects_the_level() -> None:
    """Where 5 of 20 that were sent at 400 a second got through, it is 100 a second."""
    rate = Rate()
    rate.refused(1, last_sent=1, now_ms=0)
    served(rate, 100, from_ms=0, to_ms=1_000)
    tried = rate.per_s(1_000)
    rate.refused(101, last_sent=120, now_ms=1_000)
    for _ in range(102, 117):
        rate.refused_too()
    for number in range(117, 121):
        rate.served(number)
    rate.served(121)
    assert rate.per_s(1_000) == pytest.approx(0.9 * max(100, tried / 5))


def test_refusals_are_forgotten_in_the_end() -> None:
    """Where nothing was refused for long, nothing is held back any more."""
    rate = Rate()
    rate.refused(1, last_sent=1, now_ms=0)
    served(rate, 100, from_ms=0, to_ms=1_000)
    rate.refused(2, last_sent=2, now_ms=1_000)
    assert rate.wait_ms(1_000) > 0
    assert rate.wait_ms(3_000) == 0
    assert rate.paced
    assert rate.wait_ms(20_000) == 0
    assert not rate.paced


@given(
    events=st.lists(
        st.tuples(st.sampled_from(["sent", "served", "refused", "too"]), st.integers(0, 3_000)), max_size=60
    )
)
def test_a_rate_stays_a_rate(events: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: never slower than one a second, and never a wait without an end."""
    rate = Rate()
    now_ms = number = 0
    for event, later_ms in events:
        now_ms += later_ms
        match event:
            case "sent" if not rate.wait_ms(now_ms):
                number += 1
                rate.sent(1, now_ms)
            case "served":
                rate.served(number)
            case "refused":
                rate.refused(number, last_sent=number, now_ms=now_ms)
            case _:
                rate.refused_too()
        assert rate.per_s(now_ms) >= 1
        assert 0 <= rate.wait_ms(now_ms) <= 2_000


RESET_S = NOW_MS // 1_000 + 60


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
    known = Remaining()
    for answer in said:
        known.said(answer, NOW_MS)
    assert known.left(NOW_MS) == left


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
    known = Remaining()
    for limit, left in zip(limits, remaining, strict=True):
        named = [] if limit is None else [(b"X-RateLimit-Limit", str(limit).encode())]
        known.said([*headers(left), *named], NOW_MS)
    assert known.next_size == size


def test_a_window_ends() -> None:
    """At its reset the service's count is over, with or without another answer."""
    known = Remaining()
    known.said(headers(0), NOW_MS)
    assert known.reset_in_ms(NOW_MS + 1) == 59_999
    assert known.left(NOW_MS + 59_999) == 0
    assert known.left(NOW_MS + 60_000) is None
    assert known.reset_in_ms(NOW_MS + 60_001) == 0
    known.said([], NOW_MS + 60_001)
    assert known.left(NOW_MS) is None
