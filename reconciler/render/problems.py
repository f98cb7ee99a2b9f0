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
    from collections.abc import Sequence

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.errors import ReconcilerError
    from reconciler.render.page import Cell


def diagnostics_page(diagnostics: Sequence[Diagnostic], *, portfolios: int | None = None) -> Page:
    """Return how many problems there are, and each of them with its place, repair and source line, errors first.

    ``portfolios`` is how many the files declare, if that is known.
    """
    errors = tuple(one for one in diagnostics if one.severity is Severity.ERROR)
    warnings = tuple(one for one in diagnostics if one.severity is not Severity.ERROR)
    counts = [plural(len(errors), "error")] if errors else []
    counts += [plural(len(warnings), "warning")] if warnings else []
    words = f"{' and '.join(counts)} in the files" if counts else "the files are valid"
    declared = f", {plural(portfolios, 'portfolio')} declared" if portfolios is not None else ""
    blocks = [Problems(title, found) for title, found in (("Errors", errors), ("Warnings", warnings)) if found]
    tone = Tone.BAD if errors else Tone.NOTICE if counts else Tone.GOOD
    return Page(title="Validate", tone=tone, verdict=f"{words}{declared}", blocks=tuple(blocks))


def error_block(error: ReconcilerError) -> Notice:
    """Return an error as a notice: what happened, then the repair."""
    told: list[Cell] = [(Span("Error:", Tone.STRONG), f" {error}")]
    told += [(Span("What to do:", Tone.STRONG), f" {error.detail}")] if error.detail else []
    return Notice(Tone.BAD, tuple(told))
