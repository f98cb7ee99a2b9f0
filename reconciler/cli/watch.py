"""Redraw a table in its place on a terminal, again and again.

In: a function that makes the text anew, and a clock. Out: frames, until somebody interrupts. It moves the cursor
itself; the text has its colours already.
"""

from __future__ import annotations

import sys
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Final

from reconciler.cli.streams import failure_of
from reconciler.render.page import moment_seconds
from reconciler.render.terminal import cut_styled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.core.ports import Clock

_CLEAR: Final = "\x1b[H\x1b[2J"
_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END_OF_SCREEN: Final = "\x1b[J"


async def watch(
    look: Callable[[], Awaitable[str]],
    *,
    every_seconds: int,
    clock: Clock,
    draw: Callable[[str], None],
    size: Callable[[], tuple[int, int]] = get_terminal_size,
) -> None:
    """Draw what ``look`` returns every so many seconds, until an exception (such as Ctrl-C) or the terminal's end.

    ``size`` returns the terminal's columns and lines, which may change meanwhile.
    """
    draw(_CLEAR)
    while failure_of(sys.stdout) is None:
        text = await look()
        columns, lines = size()
        head = f"{moment_seconds(clock.now_ms())}, every {every_seconds} s; Ctrl-C ends it"
        draw(frame(head, text, columns=columns, lines=lines))
        await clock.sleep(every_seconds)


def frame(head: str, text: str, *, columns: int, lines: int) -> str:
    """Cut a text to one screen: as many lines as fit, each cut to the width; the last line is always kept."""
    body = text.rstrip("\n").split("\n")
    room = max(lines - 3, 2)  # the head, an empty line, and one where the cursor stays
    if len(body) > room:
        body = [*body[: room - 2], f"… {len(body) - room + 1} more lines", body[-1]]
    shown = [head, "", *body]
    return _HOME + "".join(f"{cut_styled(line, columns)}{_TO_END_OF_LINE}\n" for line in shown) + _TO_END_OF_SCREEN
