"""Text: making strings from outside harmless, nouns with their numbers, reading and writing durations.

Strings from the server may be hostile. Whatever could move a cursor, or hide or reorder text, becomes a visible escape
here, once; each renderer then escapes again for its own sink (terminal, Markdown). Durations are milliseconds, the
API's unit (API facts §1.1, V1.5), and exact both ways:
``parse_duration(format_duration(ms)) == ms``. Months and years are refused: they have no fixed length.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

LONGEST_TEXT: Final = 500
"""The most characters that are kept of one server string; real ones are far shorter."""
LONGEST_LABEL: Final = 200
"""The most characters of a name, a reason or an account in the files."""

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of characters that are invisible or change how text is shown: controls, bidi and zero-width
formats, lone surrogates, private use, unassigned, line and paragraph separators."""


def harmless(text: str, *, longest: int = LONGEST_TEXT) -> str:
    """Return ``text`` with every invisible or steering character as ``\\u{…}``, cut to ``longest`` characters."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    if cut.isprintable():  # says so of none of these
        return cut
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in _INVISIBLE else c for c in cut)


def label(text: str, *, unlike: str = "") -> str | None:
    """Return text from the service as files may hold it (a name, a reason, an account): one line of 200 characters.

    ``None`` if nothing visible is left, or if it equals ``unlike``, because a name that is only the id tells nothing.
    """
    kept = harmless(text).strip()  # escapes make it longer, so it is cut behind them
    if not kept or kept == unlike:
        return None
    return kept if len(kept) <= LONGEST_LABEL else kept[: LONGEST_LABEL - 1] + "…"


_HEXADECIMAL: Final = frozenset("0123456789abcdef")


def holds_token(text: str, token: str) -> bool:
    """Whether a text contains a token of hexadecimal digits, and not only as part of a longer number."""
    at = text.find(token)  # and not a pattern: to make one for each token takes 0.3 ms
    while at >= 0:
        end = at + len(token)
        if not _HEXADECIMAL.intersection(text[max(at - 1, 0) : at] + text[end : end + 1]):
            return True
        at = text.find(token, at + 1)
    return False


def plural(count: int, noun: str) -> str:
    """Return ``1 portfolio`` or ``3 portfolios``; ``3 strategies`` of a strategy."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("gy") else f"{count} {noun}s"


def moment(ms: int) -> str:
    """Return UTC epoch milliseconds as ``2026-11-23 09:30 UTC``."""
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"


SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS

WORDS: Final = {"hourly": HOUR_MS, "daily": DAY_MS, "weekly": WEEK_MS}

_UNITS: Final = {"w": WEEK_MS, "d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS, "ms": 1}
_COMPACT: Final = (
    r"(?a)(?:(?P<w>\d+)w)?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?"
    r"(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?"
)
_ISO: Final = (
    r"(?a)P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)S)?)?"
)
_LONGEST_TEXT: Final = 40


@lru_cache(maxsize=4096)
def parse_duration(value: str | int) -> int:
    """Return the milliseconds of ``90m``, ``1h30m``, ``1d``, ``1w``, ``PT12H``, ``daily`` or a bare integer.

    Units go from the largest to the smallest, each at most once. Raises :class:`ValueError` with a sentence for people.
    """
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{value} is negative")
        return value
    if value in WORDS:
        return WORDS[value]
    match = None
    if len(value) <= _LONGEST_TEXT:
        match = re.fullmatch(_ISO if value.startswith("P") else _COMPACT, value)
    parts = {unit: int(digits) for unit, digits in (match.groupdict() if match else {}).items() if digits}
    if not parts:
        raise ValueError(f"{value[:_LONGEST_TEXT]!r} is not a duration")
    return sum(count * _UNITS[unit] for unit, count in parts.items())


def rough_duration(ms: int) -> str:
    """Return how long ``ms`` (not negative) is, roughly and never rounded up: ``5m``, ``23h59m``, ``1d4h``, ``9d``.

    It has two units at most. From a week on only the days are told, because nobody plans by the hour then.
    """
    days, rest = divmod(ms, DAY_MS)
    hours, minutes = rest // HOUR_MS, rest % HOUR_MS // MINUTE_MS
    units = [(days, "d"), (hours if ms < WEEK_MS else 0, "h"), (0 if days else minutes, "m")]
    return "".join(f"{count}{unit}" for count, unit in units if count) or "0m"


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
    if (ms > 999 * SECOND_MS and single.endswith("s")) or (ms > 2 * HOUR_MS and single.endswith("m")):
        return text  # 3661s and 197m are short, but nobody reads them
    return min(text, single, key=len)
