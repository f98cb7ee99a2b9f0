"""What an unquoted YAML scalar means: the core schema of YAML 1.2, and nothing of 1.1.

In: the text of a plain scalar. Out: a string, number, boolean or null. ``9:30``, ``on``, ``yes`` and ``2026-12-01``
stay text, and so do ``012``, ``0x1F`` and ``0o17``, which readers of 1.1 and 1.2 take for different numbers: the
schema then refuses them where a number is wanted. Knows no file and no field.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BEGINS_A_NUMBER: Final = frozenset("0123456789+-.")
_LONGEST_NUMBER: Final = 40
"""Characters; what is longer is no duration or count of anybody's, and stays text."""
_MOST_REMEMBERED: Final = 4096


def resolve(text: str) -> str | int | float | bool | None:
    """Return what the plain scalar ``text`` means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _BEGINS_A_NUMBER and len(text) <= _LONGEST_NUMBER:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


class Resolved(dict[str, "str | int | float | bool | None"]):
    """Remembers what :func:`resolve` returned, so that a value repeated ten thousand times is one object.

    Bounded: a file in which no value repeats must not be held in memory twice.
    """

    def __missing__(self, text: str) -> str | int | float | bool | None:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        value = self[text] = resolve(text)
        return value
