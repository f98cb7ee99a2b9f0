"""Durations: what is read, what is refused, and that text and milliseconds are the same thing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.duration import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90m", 90 * MINUTE_MS),
        ("1h30m", 90 * MINUTE_MS),
        ("24h", DAY_MS),
        ("1d", DAY_MS),
        ("1w", WEEK_MS),
        ("1w2d3h4m5s6ms", WEEK_MS + 2 * DAY_MS + 3 * HOUR_MS + 4 * MINUTE_MS + 5006),
        ("PT12H", 12 * HOUR_MS),
        ("P1DT6H", 30 * HOUR_MS),
        ("P2W", 2 * WEEK_MS),
        ("hourly", HOUR_MS),
        ("daily", DAY_MS),
        ("weekly", WEEK_MS),
        (21_600_000, 6 * HOUR_MS),
        (0, 0),
    ],
)
def test_read(text: str | int, ms: int) -> None:
    """Every documented spelling has its milliseconds."""
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9:30",
        "1.5h",
        "30m1h",
        "1h1h",
        "h",
        "P",
        "PT",
        "1 h",
        "-1h",
        "monthly",
        "1M",
        "1y",
        "٣h",
        "1" * 50 + "h",
    ],
)
def test_refused(text: str) -> None:
    """Everything else is refused with a sentence."""
    with pytest.raises(ValueError, match=r"not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (90_000, "90s"),
        (90 * MINUTE_MS, "90m"),
        (HOUR_MS, "1h"),
        (DAY_MS, "24h"),
        (2 * DAY_MS, "48h"),
        (5 * DAY_MS, "5d"),
        (WEEK_MS, "1w"),
        (3_661_000, "1h1m1s"),
    ],
)
def test_shown(ms: int, text: str) -> None:
    """A duration is shown as people say it."""
    assert format_duration(ms) == text


@given(st.integers(0, 400 * DAY_MS))
def test_round_trip(ms: int) -> None:
    """What is shown reads back as the same duration."""
    assert parse_duration(format_duration(ms)) == ms


def test_negative() -> None:
    """A negative number of milliseconds is refused both ways."""
    with pytest.raises(ValueError, match="negative"):
        parse_duration(-1)
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)
