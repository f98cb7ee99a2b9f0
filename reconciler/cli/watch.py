"""Show a table again and again in its place on a terminal.

In: something that makes the text anew, a clock. Out: frames, until somebody interrupts. Moves the cursor by itself; the
text has its colours already.
"""

from __future__ import annotations

import sys
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
    size: Callable[[], tuple[int, int]],
) -> None:
    """Draw what ``look`` returns every so often, until an exception, as an interruption is, or the terminal has gone.

    ``size`` returns columns and lines of the terminal, which may change meanwhile.
    """
    draw(_CLEAR)
    while failure_of(sys.stdout) is None:
        text = await look()
        columns, lines = size()
        head = f"{moment_seconds(clock.now_ms())}, every {every_seconds} s; Ctrl-C ends it"
        draw(frame(head, text, columns=columns, lines=lines))
        await clock.sleep(every_seconds)


def frame(head: str, text: str, *, columns: int, lines: int) -> str:
    """Return a text as one screen: no line wider than it, none more than it has, and the last one always among them."""
    body = text.rstrip("\n").split("\n")
    room = max(lines - 3, 2)  # the head, an empty line, and one where the cursor stays
    if len(body) > room:
        body = [*body[: room - 2], f"… {len(body) - room + 1} more lines", body[-1]]
    shown = [head, "", *body]
    return _HOME + "".join(f"{cut_styled(line, columns)}{_TO_END_OF_LINE}\n" for line in shown) + _TO_END_OF_SCREEN
