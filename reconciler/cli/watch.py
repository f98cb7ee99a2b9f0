"""Show a table again and again in its place on a terminal.

In: something that makes the text anew, a clock. Out: frames, until somebody interrupts. Moves the cursor by itself; the
text has its colours already.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from reconciler.cli.streams import failure_of
from reconciler.render.style import cut_styled, moment_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.core.ports import Clock

DEFAULT_SECONDS: Final = 10
SHORTEST_SECONDS: Final = 2

_CLEAR: Final = "\x1b[H\x1b[2J"
_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END_OF_SCREEN: Final = "\x1b[J"


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:  # noqa: ARG001 - click's signature
    """Return how often to look, in whole seconds; an id behind a bare ``--watch`` is named as what it is."""
    if value is None:
        return None
    text = value.removesuffix("s")
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise click.BadParameter(f"{value!r} is no number of seconds. Put a portfolio before it: status ID --watch.")
    if int(text) < SHORTEST_SECONDS:
        raise click.BadParameter(f"every {text} s is too often; {SHORTEST_SECONDS} at least.")
    return int(text)


def option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--watch``."""
    return click.option(
        "--watch",
        "watch",
        is_flag=False,
        flag_value=str(DEFAULT_SECONDS),
        callback=_seconds,
        metavar="[SECONDS]",
        help=f"Show it again in its place every so often [{DEFAULT_SECONDS}], until Ctrl-C. On a terminal only.",
    )(command)


async def watch(
    look: Callable[[], Awaitable[str]],
    *,
    every_seconds: int,
    clock: Clock,
    draw: Callable[[str], None],
    size: Callable[[], tuple[int, int]],
) -> NoReturn:
    """Draw what ``look`` returns every so often; ends only by an exception, as an interruption is.

    ``size`` returns columns and lines of the terminal, which may change meanwhile.
    """
    draw(_CLEAR)
    while failure_of(sys.stdout) is None:
        text = await look()
        columns, lines = size()
        head = f"{moment_seconds(clock.now_ms())}, every {every_seconds} s; Ctrl-C ends it"
        draw(frame(head, text, columns=columns, lines=lines))
        await clock.sleep(every_seconds)
    raise click.exceptions.Exit(0)  # the terminal has gone, and nobody will ever interrupt this


def frame(head: str, text: str, *, columns: int, lines: int) -> str:
    """Return a text as one screen: no line wider than it, none more than it has, and the last one always among them."""
    body = text.rstrip("\n").split("\n")
    room = max(lines - 3, 2)  # the head, an empty line, and one where the cursor stays
    if len(body) > room:
        body = [*body[: room - 2], f"… {len(body) - room + 1} more lines", body[-1]]
    shown = [head, "", *body]
    return _HOME + "".join(f"{cut_styled(line, columns)}{_TO_END_OF_LINE}\n" for line in shown) + _TO_END_OF_SCREEN
