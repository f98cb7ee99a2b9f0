"""Where text goes: data to stdout, everything else to stderr, colours only to a terminal that wants them.

In: strings from the renderers. Out: bytes on the two streams. Nothing else in the program prints.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, TextIO

from msgspec import Struct

from reconciler.render.page import Tone
from reconciler.render.terminal import Style, problem_lines, safe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.errors import ReconcilerError
    from reconciler.render.ending import Ending


class Format(StrEnum):
    """What stands on stdout."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class Output(Struct, frozen=True, kw_only=True):
    """How a command prints, and the two streams that it prints on."""

    format: Format = Format.TEXT
    verbose: bool = False
    quiet: bool = False
    no_color: bool = False

    @property
    def is_json(self) -> bool:
        """Whether stdout must hold one JSON document and nothing else."""
        return self.format is Format.JSON

    @property
    def style(self) -> Style:
        """The style of text on stdout."""
        return Style(color=self.format is Format.TEXT and self._wants_color(sys.stdout), columns=_columns(sys.stdout))

    @property
    def note_style(self) -> Style:
        """The style of text on stderr."""
        return Style(color=self._wants_color(sys.stderr))

    def _wants_color(self, stream: TextIO) -> bool:
        wanted = not self.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return wanted and stream.isatty()

    def show(self, ending: Ending) -> None:
        """Write an ending's page to stdout in the chosen format, and then its errors, warnings and notes to stderr."""
        if (view := ending.view) is not None:
            match self.format:
                case Format.JSON:
                    self.document(view.json(ending.reason))
                case Format.MARKDOWN:
                    self.document(view.markdown())
                case Format.TEXT if view.page is None:
                    self.document(view.shown)
                case Format.TEXT:
                    self.data(view.text(self.style, verbose=self.verbose))
        self.remark(ending)

    def remark(self, ending: Ending) -> None:
        """Write to stderr the errors, warnings, advice and notes about what an ending shows."""
        for sentence in ending.errors:
            self.error(sentence)
        for sentence in ending.warnings:
            self.warn(sentence)
        self.warn_of(ending.advice)
        self.notes(ending.notes)

    def data(self, text: str) -> None:
        """Write a result to stdout."""
        write(sys.stdout, text)

    def document(self, text: str) -> None:
        """Write a result that programs read to stdout, in UTF-8 whatever the locale says."""
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        self.data(text)

    def note(self, text: str) -> None:
        """Write a remark to stderr, unless quiet."""
        if not self.quiet:
            write(sys.stderr, text + "\n")

    def notes(self, sentences: Iterable[str]) -> None:
        """Write what people should be told after a run to stderr, unless quiet."""
        for sentence in sentences:
            self.note(f"note: {sentence}")

    def warn(self, text: str) -> None:
        """Write a warning to stderr, even when quiet."""
        write(sys.stderr, f"{self.note_style.paint('warning:', Tone.NOTICE)} {text}\n")

    def warn_of(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Write warnings about the files to stderr, always; in JSON they are part of the document."""
        if self.is_json:
            return
        for diagnostic in diagnostics:
            self.warn(self._diagnostics_text([diagnostic]).rstrip("\n"))

    def error(self, text: str) -> None:
        """Write an error to stderr, even when quiet; the command goes on, and ends as it would."""
        write(sys.stderr, f"{self.note_style.paint('error:', Tone.BAD, Tone.STRONG)} {text}\n")

    def failure(self, error: ReconcilerError) -> None:
        """Write the error that a command ended with to stderr, with the problems of the files if it has some."""
        from reconciler.core.errors import ConfigInvalid

        if isinstance(error, ConfigInvalid):
            write(sys.stderr, self._diagnostics_text(error.diagnostics))
        detail = f"\n  {safe(error.detail, longest=2000)}" if error.detail else ""
        self.error(f"{safe(str(error), longest=1000)}{detail}")

    def _diagnostics_text(self, diagnostics: Iterable[Diagnostic]) -> str:
        found = (line for diagnostic in diagnostics for line in problem_lines(diagnostic, self.note_style))
        return "".join(f"{line}\n" for line in found)


_PLAINLY: Final = str.maketrans("▁▂▃▄▅▆▇█·→…✔✖○", "._-=+*%#.>~+xo")
"""What stands for signs of ours where an encoding other than UTF-8 may lack them: a bar stays a bar."""


def write(stream: TextIO, text: str) -> None:
    """Write and flush. Characters that the stream's encoding lacks become escapes instead of an error.

    The streams of a process don't raise: see :mod:`reconciler.cli.streams`.
    """
    encoding = stream.encoding or "utf-8"
    if encoding.lower().replace("-", "") != "utf8":
        text = text.translate(_PLAINLY)
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _columns(stream: TextIO) -> int | None:
    """Return the width of a stream's terminal, in columns; ``None`` if it is not a terminal, so lines stay whole."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def is_terminal(stream: TextIO) -> bool:
    """Whether a person can be asked through this stream."""
    return stream.isatty()
