"""How many requests may be in flight, as numbers: the halving, the recovery, and what the service says is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.limiter import GOOD_FOR_ONE_MORE, Allowance, Limiter

NOW_MS = 1_700_000_000_000
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
