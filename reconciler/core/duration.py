"""Milliseconds to text and back, exact both ways: ``parse_duration(format_duration(ms)) == ms``.

Milliseconds are the API's unit (API facts §1.1, V1.5). Months and years are refused: they have no fixed length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS

WORDS: Final = {"hourly": HOUR_MS, "daily": DAY_MS, "weekly": WEEK_MS}

_UNITS: Final = {"w": WEEK_MS, "d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS, "ms": 1}
_COMPACT: Final = re.compile(
    r"(?:(?P<w>\d+)w)?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?",
    re.ASCII,
)
_ISO: Final = re.compile(
    r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?(?:T(?=\d)(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)S)?)?",
    re.ASCII,
)
_LONGEST_TEXT: Final = 40


@lru_cache(maxsize=4096)
def parse_duration(value: str | int) -> int:
    """Return the milliseconds of ``90m``, ``1h30m``, ``1d``, ``1w``, ``PT12H``, ``daily`` or a bare integer.

    Units stand in falling order, each at most once. Raises :class:`ValueError` with a sentence for people.
    """
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{value} is negative")
        return value
    if value in WORDS:
        return WORDS[value]
    match = None
    if len(value) <= _LONGEST_TEXT:
        match = (_ISO if value.startswith("P") else _COMPACT).fullmatch(value)
    parts = {unit: int(digits) for unit, digits in (match.groupdict() if match else {}).items() if digits}
    if not parts:
        raise ValueError(f"{value[:_LONGEST_TEXT]!r} is not a duration")
    return sum(count * _UNITS[unit] for unit, count in parts.items())


@lru_cache(maxsize=4096)
def format_duration(ms: int) -> str:
    """Return the shortest exact text of ``ms`` (not negative): ``24h``, ``1h30m``, ``1w``, ``90s``.

    One unit is preferred when it divides exactly; a day stays ``24h`` up to 72 h, because that is how people who
    run schedules speak of it, and then becomes days.
    """
    if ms < 0:
        raise ValueError(f"{ms} is negative")
    if ms == 0:
        return "0s"
    if ms % WEEK_MS == 0:
        return f"{ms // WEEK_MS}w"
    if ms % DAY_MS == 0 and ms > 3 * DAY_MS:
        return f"{ms // DAY_MS}d"
    text, rest = "", ms
    for unit in ("d", "h", "m", "s", "ms") if ms > 3 * DAY_MS else ("h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            text += f"{count}{unit}"
    single = next((f"{ms // _UNITS[u]}{u}" for u in ("h", "m", "s", "ms") if ms % _UNITS[u] == 0), text)
    if ms > 999 * SECOND_MS and single.endswith("s"):
        return text  # 3661s is short, but nobody reads it
    return min(text, single, key=len)
