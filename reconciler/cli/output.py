"""Where text goes: data to stdout, everything else to stderr, colours only where a terminal wants them.

In: strings of the renderers. Out: bytes on the two streams. Nothing else in the program prints.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.render.style import Style


class Output(Struct, frozen=True, kw_only=True):
    """The two streams of one command. ``format`` is text, json or markdown."""

    format: str
    verbose: bool = False
    quiet: bool = False
    color: bool | None = None

    @property
    def is_json(self) -> bool:
        """Whether stdout must hold one JSON document and nothing else."""
        return self.format == "json"

    @property
    def style(self) -> Style:
        """The style of text on stdout."""
        from reconciler.render.style import Style

        color = self.format == "text" and _wants_color(sys.stdout, self.color)
        return Style(color=color, columns=_columns(sys.stdout))

    @property
    def note_style(self) -> Style:
        """The style of text on stderr."""
        from reconciler.render.style import Style

        return Style(color=_wants_color(sys.stderr, self.color))

    def data(self, text: str) -> None:
        """Write a result to stdout."""
        write(sys.stdout, text)

    def note(self, text: str) -> None:
        """Write a remark to stderr, unless quiet."""
        if not self.quiet:
            write(sys.stderr, text + "\n")

    def notes(self, sentences: Iterable[str]) -> None:
        """Write what people should be told after a run to stderr, unless quiet."""
        for sentence in sentences:
            self.note(f"note: {sentence}")

    def warn(self, text: str) -> None:
        """Write a warning to stderr, always."""
        from reconciler.render.style import Ink

        write(sys.stderr, f"{self.note_style.paint('warning:', Ink.YELLOW)} {text}\n")

    def error(self, text: str) -> None:
        """Write an error to stderr, always; the command goes on to its own ending."""
        from reconciler.render.style import Ink

        write(sys.stderr, f"{self.note_style.paint('error:', Ink.RED, Ink.BOLD)} {text}\n")


def write(stream: TextIO, text: str) -> None:
    """Write and flush; characters that the stream's encoding lacks become escapes instead of an error.

    The streams of a process don't raise: see :mod:`reconciler.cli.streams`.
    """
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _wants_color(stream: TextIO, asked: bool | None) -> bool:
    if asked is not None:
        return asked
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO) -> int | None:
    """Return the width of the terminal behind a stream; ``None`` where there is none, and lines stay whole."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def is_terminal(stream: TextIO) -> bool:
    """Whether a person can be asked through this stream."""
    return stream.isatty()
