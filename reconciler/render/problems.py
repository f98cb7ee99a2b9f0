"""Problems of the files, an error, and remarks as Markdown, for a comment or a summary page.

In: :class:`~reconciler.core.model.Diagnostic` values, an error, sentences. Out: blocks of a
:mod:`~reconciler.render.page`, or a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.diagnostics import Severity
from reconciler.core.text import plural
from reconciler.render.page import BAD, FINE, LOOK, Rows, alert, cell, code, fence, page
from reconciler.render.style import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.errors import ReconcilerError


def diagnostics_markdown(diagnostics: Sequence[Diagnostic], *, limit_bytes: int | None = None) -> str:
    """Return how many problems there are, and each with its place, its repair and its source line."""
    headline = "### {} Validate: {}".format(*diagnostics_verdict(diagnostics))
    return page([headline, *diagnostics_blocks(diagnostics)], limit_bytes=limit_bytes)


def diagnostics_verdict(diagnostics: Sequence[Diagnostic]) -> tuple[str, str]:
    """Return sign, and counts of errors and warnings in words."""
    errors = sum(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
    counts = [plural(errors, "error")] if errors else []
    counts += [plural(len(diagnostics) - errors, "warning")] if len(diagnostics) > errors else []
    sign = BAD if errors else LOOK if counts else FINE
    return sign, f"{' and '.join(counts)} in the files" if counts else "the files are valid"


def diagnostics_blocks(diagnostics: Sequence[Diagnostic]) -> Iterator[Rows]:
    """Yield errors and then warnings, each in the order given."""
    for title, severity in (("Errors", Severity.ERROR), ("Warnings", Severity.WARNING)):
        found = [diagnostic for diagnostic in diagnostics if diagnostic.severity is severity]
        if found:
            yield Rows(title=title, rows=map(_diagnostic, found), count=len(found), rank=0)


def _diagnostic(diagnostic: Diagnostic) -> str:
    span = diagnostic.span
    place = [code(str(part)) for part in (span, diagnostic.address) if part]
    sentence = "; ".join(cell(part, longest=600) for part in (diagnostic.problem, diagnostic.repair) if part)
    sign = BAD if diagnostic.severity is Severity.ERROR else LOOK
    # Text from outside neither begins a line, where it could be a heading or a list, nor stands before a colon, with
    # which it could name a picture.
    rule = [f"({code(diagnostic.rule)})"] if diagnostic.rule else []
    lines = [f"- {' '.join([sign, *place, sentence, *rule])}"]
    if span is not None and diagnostic.excerpt is not None:
        number = str(span.line)
        before = diagnostic.excerpt[: span.column - 1].replace("\t", "    ")
        caret = " " * len(before) + "^" * max(1, min(span.width, 80))
        excerpt = safe(diagnostic.excerpt.replace("\t", "    "), longest=160)
        source = [f"{number} | {excerpt}", f"{' ' * len(number)} | {caret[:160]}"]
        lines += ["", *(f"  {line}" for line in fence(source)), ""]
    return "\n".join(lines)


def error_markdown(error: ReconcilerError, *, limit_bytes: int | None = None) -> str:
    """Return what went wrong and how to repair it."""
    return page([f"### {BAD} The command failed", error_block(error)], limit_bytes=limit_bytes)


def error_block(error: ReconcilerError) -> str:
    """Return an error as a box: what happened, then the repair, which does not begin a line either."""
    detail = f"<br>{cell(error.detail, longest=1500)}" if error.detail else ""
    return alert("CAUTION", [f"**Error:** {cell(str(error), longest=500)}{detail}"])


def notes_rows(notes: Iterable[str]) -> list[Rows]:
    """Return remarks as a list, nothing where there are none."""
    found = [f"- Note: {cell(note, longest=600)}" for note in notes]
    return [Rows(title="Notes", rows=found, count=len(found), rank=1)] if found else []
