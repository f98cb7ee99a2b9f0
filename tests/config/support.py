"""Short ways to load text and to see what was said about it."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.config.load import load_configuration
from reconciler.core.errors import ConfigInvalid

if TYPE_CHECKING:
    from reconciler.config.load import Configuration
    from reconciler.core.diagnostics import Diagnostic

TODAY = dt.date(2026, 11, 22)


def load_text(text: str | bytes) -> Configuration:
    """Load one file from standard input."""
    data = text.encode() if isinstance(text, str) else text
    return load_configuration(["-"], stdin=lambda: data, today=TODAY, cwd=Path("/"))


def problems(text: str | bytes) -> list[Diagnostic]:
    """Return what is wrong with one file; fail when nothing is."""
    try:
        load_text(text)
    except ConfigInvalid as invalid:
        return list(invalid.diagnostics)
    raise AssertionError("the text was accepted")


def load_files(files: dict[str, str], *sources: str) -> Configuration:
    """Load several files, by default all of them, from a directory of their own."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return load_configuration(sources or sorted(files), stdin=no_stdin, today=TODAY, cwd=Path(folder))


def no_stdin() -> bytes:
    """Stand for standard input where it must not be read."""
    raise AssertionError("standard input was read")


def said(diagnostics: list[Diagnostic]) -> list[str]:
    """Return the diagnostics as lines, without the name of standard input."""
    return [str(diagnostic).removeprefix("<stdin>:") for diagnostic in diagnostics]
