"""How near a run comes to what a limited service takes, on a simulated clock; ``pytest -s`` shows the figures."""

from __future__ import annotations

import itertools
import random

import pytest
from simulation import Bucket, Course, Diary, FixedWindow, Limited, SlidingWindow, Strays, reads, reads_beside

pytestmark = pytest.mark.slow  # thousands of simulated requests each

LATENCY_S = 0.05
BURSTS = (5, 10, 20, 50, 100)


def ideal(calls: int, rate: float, workers: int) -> float:
    """Return the seconds that the limit, or waiting for answers, makes necessary."""
    return max(calls / rate, calls * LATENCY_S / workers)


def shown(what: str, course: Course, seconds: float) -> str:
    return f"{what:<40} {course.seconds:7.2f} s {course.seconds / seconds:5.2f}x  {course.share:5.1%} refused"


@pytest.mark.parametrize("workers", [10, 50])
@pytest.mark.parametrize(
    ("rate", "calls"), [(30, 2_000), (100, 2_000), pytest.param(300, 6_000, marks=pytest.mark.thorough)]
)
def test_a_limit_that_only_refusals_tell_is_nearly_used_up(rate: int, calls: int, workers: int) -> None:
    """Twenty seconds and more at a limit take at most 1.15 times that, and at most one in twenty is refused."""
    seconds = ideal(calls, rate, workers)
    for burst in BURSTS:
        course = reads(Bucket(rate, burst), calls, workers)
        print(shown(f"{rate} a second, burst {burst}, {workers} at a time", course, seconds))
        assert (course.served, course.failed) == (calls, 0)
        assert course.seconds <= 1.15 * seconds
        assert course.share <= 0.05


@pytest.mark.parametrize("burst", BURSTS)
def test_a_limit_is_used_up_when_answers_take_turns_to_be_slow(burst: int) -> None:
    """The same where answers take from 30 to 70 ms and overtake each other."""
    chance = random.Random(burst)
    course = reads(Bucket(100, burst), 2_000, 50, latency=lambda: 0.03 + 0.04 * chance.random())
    print(shown(f"100 a second, burst {burst}, 30 to 70 ms", course, 20))
    assert course.failed == 0
    assert course.seconds <= 1.15 * 20
    assert course.share <= 0.05


@pytest.mark.parametrize(
    ("service", "calls", "workers", "seconds", "longest", "share"),
    [
        (FixedWindow(100, 1), 2_000, 10, 20, 1.4, 0.06),
        (FixedWindow(100, 1), 2_000, 50, 20, 1.4, 0.07),
        (FixedWindow(500, 10), 2_000, 10, 32.5, 1.1, 0.02),
        (FixedWindow(500, 10), 2_000, 50, 30.5, 1.1, 0.08),
        (SlidingWindow(100, 1), 2_000, 10, 20, 1.4, 0.03),
        (SlidingWindow(100, 1), 2_000, 50, 20, 1.4, 0.05),
        (SlidingWindow(500, 10), 2_000, 10, 32.5, 1.15, 0.02),
        (Bucket(100, 20, 10, 300), 4_000, 50, 20, 1.15, 0.03),
        (Bucket(300, 20, 5, 100), 4_000, 50, 30, 1.15, 0.05),
        (Bucket(300, 20, 5, 30), 2_000, 50, 21.7, 1.2, 0.07),
    ],
    ids=lambda value: str(value) if isinstance(value, FixedWindow | Bucket) else None,
)
def test_other_limits_are_worked_through(
    service: Limited, calls: int, workers: int, seconds: float, longest: float, share: float
) -> None:
    """Windows, and limits that change on the way: nothing fails, and little time and few requests are lost.

    A fixed window of a second refuses all that are on their way at its end, and each of them waits for a second.
    """
    course = reads(service, calls, workers)
    print(shown(f"{type(service).__name__}, {workers} at a time", course, seconds))
    assert (course.served, course.failed) == (calls, 0)
    assert course.seconds <= longest * seconds
    assert course.share <= share


@pytest.mark.parametrize("workers", [10, 50])
@pytest.mark.parametrize("number", [1, 3, 100, 500])
def test_one_stray_refusal_costs_less_than_two_seconds(number: int, workers: int) -> None:
    """A run of 1,000 at a service without a limit, which refuses one request all the same."""
    course = reads(Strays(frozenset({number})), 1_000, workers)
    print(shown(f"request {number} refused, {workers} at a time", course, ideal(1_000, 10**6, workers)))
    assert (course.served, course.refused, course.failed) == (1_000, 1, 0)
    assert course.seconds < ideal(1_000, 10**6, workers) + 2


@pytest.mark.parametrize("burst", [2, 5])
@pytest.mark.parametrize("workers", [1, 10, 50])
def test_a_rate_to_keep_to_is_kept(workers: int, burst: int) -> None:
    """With ``max_rate_per_s`` just below the limit requests go out evenly: none is refused, and no time is lost."""
    course = reads(Bucket(16, burst), 300, workers, max_rate_per_s=15)
    assert (course.served, course.refused) == (300, 0)
    assert course.seconds == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("workers", [1, 10, 50])
@pytest.mark.parametrize("rate", [0.5, 15, 100, 300])
def test_a_rate_to_keep_to_is_even_from_the_first_request_on(workers: int, rate: float) -> None:
    """Each request follows the one before it after the same time, to the millisecond; no burst at the beginning."""
    service = Diary()
    reads(service, 60, workers, max_rate_per_s=rate)
    gaps = [later - earlier for earlier, later in itertools.pairwise(service.times)]
    assert min(gaps) > 1 / rate - 0.0011
    if workers >= rate * LATENCY_S:  # else there are none who could go
        assert max(gaps) < max(1 / rate, LATENCY_S / workers) + 0.0011


def test_runs_that_share_an_address_share_a_rate() -> None:
    """Two runs of 50 a second each, at a service that takes 100 and no burst to speak of."""
    courses = reads_beside(Bucket(104, 5), 500, 10, runs=2, max_rate_per_s=50)
    assert [(course.served, course.failed) for course in courses] == [(500, 0)] * 2
    assert sum(course.refused for course in courses) <= 5
