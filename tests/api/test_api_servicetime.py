"""The time by the service's clock, as its answers name it."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_service import NOW_MS, Request, Service, StillClock, fail, ok, script, transport

from reconciler.api.servicetime import ServiceTime

HOUR_MS = 3_600_000


def date(ahead_ms: int = 0, at_ms: int = NOW_MS) -> str:
    return formatdate((at_ms + ahead_ms) // 1_000, usegmt=True)


def heard(*values: str, clock: StillClock | None = None) -> ServiceTime:
    time = ServiceTime(clock or StillClock())
    for value in values:
        time.heard([(b"Content-Type", b"application/json"), (b"DATE", value.encode())])
    return time


@pytest.mark.parametrize("ahead_ms", [0, 1_000, -1_000, 2_000, -2_000])
def test_a_clock_that_is_hardly_another_is_ours(ahead_ms: int) -> None:
    """Two seconds are as good as none: the header has no fractions."""
    clock = StillClock()
    assert heard(date(ahead_ms), clock=clock).now_ms() == clock.now
    assert heard(date(ahead_ms)).named


@pytest.mark.parametrize("ahead_ms", [4_000, -4_000, HOUR_MS, -30 * 24 * HOUR_MS])
def test_another_clock_is_followed(ahead_ms: int) -> None:
    """Within the second that the header leaves open."""
    clock = StillClock()
    assert abs(heard(date(ahead_ms), clock=clock).now_ms() - clock.now - ahead_ms) <= 510


def test_the_skew_does_not_jitter() -> None:
    """Between two headers the service's time runs on as ours does, whatever the fractions of a second were."""
    clock = StillClock()
    time = ServiceTime(clock)
    skews = set()
    for ahead_ms in range(HOUR_MS, HOUR_MS + 1_000, 37):
        time.heard([(b"date", date(ahead_ms, clock.now).encode())])
        skews.add(time.now_ms() - clock.now)
    assert len(skews) == 1


def test_a_clock_that_is_set_is_noticed() -> None:
    """Ours, or the service's, in the middle of a run."""
    clock = StillClock()
    time = heard(date(HOUR_MS), clock=clock)
    clock.now += HOUR_MS
    time.heard([(b"date", date(HOUR_MS + 5_000).encode())])
    assert abs(time.now_ms() - clock.now - 5_000) <= 510


@pytest.mark.parametrize("value", ["", "soon", "0", "\u0664", "Sun, 99 Foo 2026 00:00:00 GMT", "9" * 5_000])
def test_what_is_no_date_names_no_time(value: str) -> None:
    """Then the time is ours."""
    clock = StillClock()
    time = heard(value, clock=clock)
    assert not time.named
    assert time.now_ms() == clock.now


@given(st.binary(max_size=60))
def test_no_date_breaks_anything(value: bytes) -> None:
    """Whatever the header holds, there is a time."""
    time = ServiceTime(StillClock())
    time.heard([(b"date", value)])
    assert isinstance(time.now_ms(), int)


def test_a_retry_after_date_is_meant_by_the_clock_of_the_service() -> None:
    """A service whose clock is an hour behind asks for nine seconds: they are waited, and not forgotten as past."""
    clock = StillClock()
    behind = fail(429, Retry_After=date(9_000 - HOUR_MS), Date=date(-HOUR_MS))
    client = transport(Service(script(behind, ok({}))), clock=clock)
    asyncio.run(client.get("/x", operation="x"))
    assert 8 <= sum(clock.sleeps) <= 10
    assert client.names_time
    assert abs(client.service_ms() - clock.now + HOUR_MS) <= 1_000


def test_a_window_ends_by_the_clock_of_the_service() -> None:
    """The end of a window is waited for although it lies in the past by ours."""
    clock = StillClock()
    sent: list[int] = []

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        sent.append(clock.now)
        reset = str((NOW_MS - HOUR_MS) // 1_000 + 30)
        told = {"Date": date(-HOUR_MS), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        return 200, told if len(sent) == 1 else {}, b"{}"

    async def run() -> None:
        async with transport(Service(answer), clock=clock) as client:
            await client.get("/x", operation="x")
            await client.get("/x", operation="x")

    asyncio.run(run())
    assert 29_000 <= sent[1] - sent[0] <= 31_000


def test_a_service_without_a_date_has_our_time() -> None:
    """And says that it named none."""
    clock = StillClock()
    client = transport(Service(script(ok({}))), clock=clock)
    asyncio.run(client.get("/x", operation="x"))
    assert not client.names_time
    assert abs(client.service_ms() - clock.now) <= 1
