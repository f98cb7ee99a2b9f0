"""Where each effective value of one portfolio comes from.

In: the same files as for :mod:`reconciler.config.load`, and an id. Out: every field with its value, layer and place.
Apart from loading, because only one command needs it and start-up time is a feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.config.document import Document, Node
from reconciler.config.load import read_all, resolve
from reconciler.config.merge import ATTRIBUTES, Layer, decode
from reconciler.config.suggest import Suggestions
from reconciler.core.duration import format_duration
from reconciler.core.errors import UsageError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reconciler.config.merge import Sections
    from reconciler.core.diagnostics import SourceSpan


@dataclass(frozen=True, slots=True)
class Explained:
    """One field of one portfolio as it takes effect; ``layer`` says where it comes from.

    ``layer`` is ``portfolio``, ``group NAME``, ``defaults`` or ``not declared``; with the last, ``value`` is ``""`` and
    ``span`` is ``None``. Durations are in their shortest form.
    """

    field: str
    value: str
    layer: str
    span: SourceSpan | None


NOT_DECLARED: Final = "not declared"


def explain(
    portfolio: str, sources: Sequence[str], *, stdin: Callable[[], bytes], today: dt.date, cwd: Path
) -> tuple[Explained, ...]:
    """Return every field of one portfolio with the layer and place it comes from, in a fixed order.

    Raises :class:`ConfigInvalid` as loading does, and :class:`UsageError` for a portfolio that is not declared.
    """
    read = read_all(sources, stdin=stdin, cwd=cwd)
    documents = tuple(read.documents)
    desired = resolve(read, today).desired
    for document in documents:
        section = document.section("portfolios")
        entry = section.get(portfolio) if section is not None else None
        if isinstance(entry, Node):
            return _explained(document, entry, read.sections)
    close = Suggestions().closest(portfolio, desired, kind="portfolios")
    detail = f"Did you mean {close}?" if close else "Check the id, and the files given with -f."
    raise UsageError(f"the portfolio {harmless(portfolio)} is not declared", detail)


def _explained(document: Document, entry: Node, sections: Sections) -> tuple[Explained, ...]:
    spans = {name: document.value_span(entry, index) for index, name in enumerate(entry)}
    group = sections.groups.get(str(entry.get("group", "")))
    layers = [Layer("portfolio", "", decode(entry), spans), *([group] if group else []), sections.defaults]
    return tuple(_explained_field(name, layers) for name in ATTRIBUTES)


def _explained_field(name: str, layers: Sequence[Layer]) -> Explained:
    for layer in layers:
        if name in layer.spans:
            return Explained(name, _text(name, layer.values[ATTRIBUTES[name]]), layer.label, layer.spans[name])
    return Explained(name, "", NOT_DECLARED, None)


def _text(name: str, value: object) -> str:
    """Return a decoded value as it would be written in YAML."""
    match name, value:
        case "hold", _:
            return "override"
        case _, bool():
            return "true" if value else "false"
        case _, int():
            return format_duration(value)
        case _:
            return str(value)
