"""Problems of the files, and an error, as pages.

In: :class:`~reconciler.core.diagnostics.Diagnostic` values, or an error. Out: a
:class:`~reconciler.render.page.Page`, or blocks of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.diagnostics import Severity
from reconciler.core.text import plural
from reconciler.render.page import Notice, Page, Problems, Span, Tone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.errors import ReconcilerError
    from reconciler.render.page import Cell


def diagnostics_page(diagnostics: Sequence[Diagnostic]) -> Page:
    """Return how many problems there are, and each with its place, its repair and its source line."""
    tone, words = diagnostics_verdict(diagnostics)
    return Page(title="Validate", tone=tone, verdict=words, blocks=tuple(diagnostics_blocks(diagnostics)))


def diagnostics_verdict(diagnostics: Sequence[Diagnostic]) -> tuple[Tone, str]:
    """Return tone, and counts of errors and warnings in words."""
    errors = sum(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
    counts = [plural(errors, "error")] if errors else []
    counts += [plural(len(diagnostics) - errors, "warning")] if len(diagnostics) > errors else []
    tone = Tone.BAD if errors else Tone.NOTICE if counts else Tone.GOOD
    return tone, f"{' and '.join(counts)} in the files" if counts else "the files are valid"


def diagnostics_blocks(diagnostics: Sequence[Diagnostic]) -> Iterator[Problems]:
    """Yield errors and then warnings, each in the order given."""
    for title, severity in (("Errors", Severity.ERROR), ("Warnings", Severity.WARNING)):
        if found := tuple(diagnostic for diagnostic in diagnostics if diagnostic.severity is severity):
            yield Problems(title, found)


def error_page(error: ReconcilerError) -> Page:
    """Return what went wrong and how to repair it."""
    return Page(title="Failed", tone=Tone.BAD, verdict="the command did not do its work", blocks=(error_block(error),))


def error_block(error: ReconcilerError) -> Notice:
    """Return an error as a notice: what happened, then the repair."""
    told: list[Cell] = [(Span("Error:", Tone.STRONG), f" {error}")]
    told += [(Span("What to do:", Tone.STRONG), f" {error.detail}")] if error.detail else []
    return Notice(Tone.BAD, tuple(told))
