"""How a line looks on a terminal: ink, columns, times. Plain text where colours are off.

In: text. Out: text. Whatever comes from outside goes through :func:`safe` once more here, at the sink: a plan file
can hold anything.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from unicodedata import combining, east_asian_width

from msgspec import Struct

from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDEST_NAME: Final = 28
GAP: Final = "  "
NARROWEST: Final = 24
"""A last column narrower than this is left to the terminal to break."""
_SGR: Final = re.compile(r"\x1b\[[0-9;]*m")
_COLOUR_OR_CHARACTER: Final = re.compile(r"(?s)\x1b\[[0-9;]*m|.")


class Ink(StrEnum):
    """The few colours there are, as SGR parameters. Red is for what is wrong; a pause is not."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    BLUE = "34"
    MAGENTA = "35"


class Style(Struct, frozen=True):
    """Whether colours are on, and how wide the terminal is; ``None`` where lines may be as long as they are."""

    color: bool = False
    columns: int | None = None

    def paint(self, text: str, *inks: Ink) -> str:
        """Return ``text`` in these inks, or as it is without colours."""
        if not self.color or not text or not inks:
            return text
        return f"\x1b[{';'.join(inks)}m{text}\x1b[0m"


PLAIN: Final = Style()


def safe(text: str, *, longest: int = 200) -> str:
    """Return text from outside made harmless for a terminal line."""
    return harmless(text, longest=longest)


def width(text: str) -> int:
    """Return how many terminal cells ``text`` takes; colours take none."""
    if "\x1b" in text:
        text = _SGR.sub("", text)
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, cells: int) -> str:
    """Return ``text`` with spaces up to ``cells``."""
    return text + " " * max(0, cells - width(text))


def cut(text: str, cells: int) -> str:
    """Return ``text``, or its beginning and an ellipsis, at most ``cells`` wide."""
    if width(text) <= cells:
        return text
    kept = text[: cells - 1]
    while width(kept) > cells - 1:
        kept = kept[:-1]
    return kept + "…"


def cut_styled(line: str, cells: int) -> str:
    """Return a line that may hold colours, cut as :func:`cut` does; no colour runs on behind it."""
    if width(line) <= cells:
        return line
    kept: list[str] = []
    left = cells - 1
    for found in _COLOUR_OR_CHARACTER.finditer(line):
        token = found.group()
        taken = width(token)
        if taken > left:
            break
        kept.append(token)
        left -= taken
    return "".join(kept) + "…" + ("\x1b[0m" if "\x1b" in line else "")


def columns(rows: Iterable[Sequence[str]], *, within: int | None = None) -> list[str]:
    """Return rows of cells as lines with aligned columns; the last cell of a row is not padded.

    With ``within``, the last cell is broken at spaces into lines that keep to its column and to that width.
    """
    rows = [tuple(row) for row in rows]
    if not rows:
        return []
    widths = [max(width(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        head = "".join(pad(cell, widths[i]) + GAP for i, cell in enumerate(row[:-1]))
        room = (within or 0) - width(head)
        if within is None or width(row[-1]) <= room or room < NARROWEST:
            lines.append((head + row[-1]).rstrip())
            continue
        from textwrap import wrap

        first, *more = wrap(row[-1], room, break_long_words=False, break_on_hyphens=False)
        lines += [head + first, *(" " * width(head) + line for line in more)]
    return lines


def moment(ms: int) -> str:
    """Return UTC epoch milliseconds as ``2026-11-23 09:30 UTC``."""
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"


def moment_seconds(ms: int) -> str:
    """Return UTC epoch milliseconds as ``2026-11-23 09:30:07 UTC``."""
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def number(value: float) -> str:
    """Return a rate with as many digits as it needs: ``24``, ``1.5``, ``0.14``."""
    if value >= 10 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
