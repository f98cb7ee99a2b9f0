"""A diagnostic as one line: the place, the address, the problem, the repair, as far as they are known."""

from __future__ import annotations

import pytest

from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan

SPAN = SourceSpan("glider.yaml", 12, 7)


@pytest.mark.parametrize(
    ("diagnostic", "text"),
    [
        (
            Diagnostic(Severity.ERROR, "not a duration", "write 24h", "portfolios.a.interval", SPAN),
            "glider.yaml:12:7: portfolios.a.interval: not a duration; write 24h",
        ),
        (
            Diagnostic(Severity.ERROR, "not a duration", "", "portfolios.a.interval", SPAN),
            "glider.yaml:12:7: portfolios.a.interval: not a duration",
        ),
        (
            Diagnostic(Severity.WARNING, "it is empty", "fill it", span=SourceSpan("b.yaml", 1)),
            "b.yaml:1:1: it is empty; fill it",
        ),
        (Diagnostic(Severity.WARNING, "no file", "name one", "a.b"), "a.b: no file; name one"),
        (Diagnostic(Severity.ERROR, "no file"), "no file"),
    ],
)
def test_text(diagnostic: Diagnostic, text: str) -> None:
    """What is not known is left out."""
    assert str(diagnostic) == text
