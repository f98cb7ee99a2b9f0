"""``service.expect`` of all files: whom they expect at the other end.

In: documents that were checked against the schema. Out: one :class:`Expect`, and an error for a URL that can't be one
and for each pair of files that expect differently. Files that expect the same agree: each may say so, because what
`import` writes into a file of its own says it too. Knows no YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.config.document import Document, Node, error
from reconciler.core.endpoint import Expect, checked_base_url
from reconciler.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.core.diagnostics import Diagnostic, SourceSpan

EXPECT: Final = "expect"
"""The key in the section ``service``."""
_ADDRESS: Final = f"service.{EXPECT}"


def read_expect(documents: Sequence[Document]) -> tuple[Expect, list[Diagnostic]]:
    """Return what the documents expect together; what breaks the schema was reported already and is left out."""
    diagnostics: list[Diagnostic] = []
    urls: list[tuple[str, SourceSpan]] = []
    for text, span in _said(documents, "url"):
        try:
            urls.append((checked_base_url(text), span))
        except UsageError as refused:
            repair = "write it as `https://api.glider.fi`"
            diagnostics.append(error(span, refused.summary, repair, address=f"{_ADDRESS}.url"))
    accounts = [(text.strip(), span) for text, span in _said(documents, "account")]
    url = _agreed("url", "service", urls, diagnostics)
    account = _agreed("account", "account", accounts, diagnostics)
    return Expect(url=url, account=account), diagnostics


def _said(documents: Sequence[Document], field: str) -> Iterator[tuple[str, SourceSpan]]:
    for document in documents:
        section = document.section("service")
        entry = section.get(EXPECT) if section is not None else None
        if isinstance(entry, Node) and field in entry:
            yield str(entry[field]), document.value_span(entry, list(entry).index(field))


def _agreed(field: str, noun: str, said: Sequence[tuple[str, SourceSpan]], diagnostics: list[Diagnostic]) -> str | None:
    """Return the value that all have, the first one where they differ, which is an error at each of the others."""
    if not said:
        return None
    value, first = said[0]
    for other, span in said[1:]:
        if other != value:
            problem = f"another {noun} is expected here than at {first}"
            repair = "write the same one, or remove one of the two"
            diagnostics.append(error(span, problem, repair, address=f"{_ADDRESS}.{field}"))
    return value
