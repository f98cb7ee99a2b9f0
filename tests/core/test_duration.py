"""Durations: what is read, what is refused, and that text and milliseconds are the same thing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.text import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    WEEK_MS,
    format_duration,
    parse_duration,
    rough_duration,
)


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
        (2 * WEEK_MS, "2w"),
        (3 * DAY_MS, "72h"),
        (3 * DAY_MS + HOUR_MS, "73h"),
        (3 * DAY_MS + MINUTE_MS, "3d1m"),
        (4 * DAY_MS, "4d"),
        (8 * DAY_MS + HOUR_MS, "8d1h"),
        (999_000, "999s"),
        (1_000_000, "16m40s"),
        (1_001_000, "16m41s"),
        (100_000, "100s"),
        (999_001, "16m39s1ms"),
        (1_001, "1s1ms"),
        (HOUR_MS + 1, "1h1ms"),
        (61 * MINUTE_MS, "61m"),
        (119 * MINUTE_MS, "119m"),
        (2 * HOUR_MS, "2h"),
        (197 * MINUTE_MS, "3h17m"),
        (999 * HOUR_MS, "999h"),
        (WEEK_MS + 5 * MINUTE_MS + 7, "7d5m7ms"),
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


@pytest.mark.parametrize("text", ["1" * 40, "x" * 41, "1" * 39 + "h", "1" * 40 + "h"])
def test_a_long_text_is_cut(text: str) -> None:
    """A text that is no duration is repeated up to 40 characters; one that is may be as long."""
    if text == "1" * 39 + "h":
        assert parse_duration(text) == int("1" * 39) * HOUR_MS
        return
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole sentence is compared
        parse_duration(text)
    assert str(caught.value) == f"{text[:40]!r} is not a duration"


def test_the_sentence_of_a_negative_number() -> None:
    """The number itself is named, both ways."""
    for refuse in (parse_duration, format_duration):
        with pytest.raises(ValueError, match=r"^-5 is negative$"):
            refuse(-5)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("59999ms", "0m"),
        ("1m", "1m"),
        ("59m59s", "59m"),
        ("1h", "1h"),
        ("1h59m59s", "1h59m"),
        ("23h59m59s", "23h59m"),
        ("1d", "1d"),
        ("1d59m", "1d"),
        ("6d23h59m", "6d23h"),
        ("7d23h", "7d"),
        ("400d", "400d"),
    ],
)
def test_roughly(text: str, shown: str) -> None:
    """Two units at most, so that 23 hours and 59 minutes are not taken for 23 hours; and never more than it is."""
    assert rough_duration(parse_duration(text)) == shown
