"""Where each effective value of one portfolio or strategy comes from.

In: the same files as for :mod:`reconciler.config.load`, and an id. Out: every field with its value, layer and place.
Apart from loading, because only one command needs it and start-up time is a feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.config.document import Document, Node
from reconciler.config.load import read_all, resolve
from reconciler.config.merge import ATTRIBUTES, Layer, decode
from reconciler.config.rules import NOT_ON_V2
from reconciler.config.silence import COST_FIELDS, COSTS, SILENCE, SILENCES, silences_of
from reconciler.config.strategies import SECTION
from reconciler.config.suggest import Suggestions
from reconciler.core.advice import Rule
from reconciler.core.errors import UsageError
from reconciler.core.model import ApiVersion, strategy_of
from reconciler.core.text import format_duration, harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reconciler.config.load import Configuration
    from reconciler.config.merge import Sections
    from reconciler.core.diagnostics import SourceSpan
    from reconciler.core.model import StrategyId


class Explained(Struct, frozen=True):
    """One field of one portfolio as it takes effect; ``layer`` says where it comes from.

    ``layer`` is ``portfolio``, ``strategy``, ``group NAME``, ``defaults``, ``not declared``, or ``not used on v2``
    where a farther layer declares it for others; with the last two, ``value`` is ``""`` and ``span`` is ``None``.
    Durations are in their shortest form.
    """

    field: str
    value: str
    layer: str
    span: SourceSpan | None


NOT_DECLARED: Final = "not declared"
NOT_USED: Final = "not used on v2"
STRATEGY: Final = "strategy"
"""The field of a portfolio that names its strategy; what that one declares follows as ``strategy.schedule``."""


def explain(
    portfolio: str, sources: Sequence[str], *, stdin: Callable[[], bytes], today: dt.date, cwd: Path
) -> tuple[Explained, ...]:
    """Return every field of one portfolio with the layer and place it comes from, in a fixed order.

    A strategy is named ``strategies/ID``. Raises :class:`ConfigInvalid` as loading does, and :class:`UsageError` for a
    portfolio or strategy that is not declared.
    """
    read = read_all(sources, stdin=stdin, cwd=cwd)
    documents = tuple(read.documents)
    configuration = resolve(read, today)
    if (strategy := strategy_of(portfolio)) is not None:
        return _explained_strategy(strategy, documents, configuration)
    if (found := _entry(documents, "portfolios", portfolio)) is not None:
        fields = _explained(*found, read.sections)
        return tuple(row for field in fields for row in (field, *_cadence_of(field, documents)))
    close = Suggestions().closest(portfolio, configuration.desired, kind="portfolios")
    detail = f"Did you mean {close}?" if close else "Check the id, and the files given with -f."
    raise UsageError(f"the portfolio {harmless(portfolio)} is not declared", detail)


def _explained_strategy(
    strategy: StrategyId, documents: Sequence[Document], configuration: Configuration
) -> tuple[Explained, ...]:
    if (found := _entry(documents, SECTION, strategy)) is not None:
        return tuple(_of_strategy(name, *found) for name in ("schedule", "name"))
    close = Suggestions().closest(strategy, configuration.strategies, kind=SECTION)
    detail = f"Did you mean {SECTION}/{close}?" if close else "Check the id, and the files given with -f."
    raise UsageError(f"the strategy {harmless(strategy)} is not declared", detail)


def _entry(documents: Sequence[Document], section: str, key: str) -> tuple[Document, Node] | None:
    """Return where a portfolio or strategy is declared."""
    for document in documents:
        found = document.section(section)
        entry = found.get(key) if found is not None else None
        if isinstance(entry, Node):
            return document, entry
    return None


def _of_strategy(name: str, document: Document, entry: Node, *, field: str = "") -> Explained:
    """Return a field of a strategy, under its own name or as ``field``."""
    if name not in entry:
        return Explained(field or name, "", NOT_DECLARED, None)
    return Explained(field or name, str(entry[name]), "strategy", document.value_span(entry, list(entry).index(name)))


def _cadence_of(field: Explained, documents: Sequence[Document]) -> tuple[Explained, ...]:
    """Return what the files declare as the cadence of the strategy that ``field`` names, where it names one."""
    if field.field != STRATEGY or not field.value:
        return ()
    name = f"{STRATEGY}.schedule"
    found = _entry(documents, SECTION, field.value)
    return (_of_strategy("schedule", *found, field=name) if found else Explained(name, "", NOT_DECLARED, None),)


def _explained(document: Document, entry: Node, sections: Sections) -> tuple[Explained, ...]:
    spans = {name: document.value_span(entry, index) for index, name in enumerate(entry)}
    group = sections.groups.get(str(entry.get("group", "")))
    values = decode(entry)
    if SILENCE in entry:
        values[SILENCES] = silences_of(document, entry[SILENCE], "")
    layers = [Layer("portfolio", "", values, spans), *([group] if group else []), sections.defaults]
    version = next((layer.values["api"] for layer in layers if "api" in layer.spans), ApiVersion.V1)
    unused = {} if version.can.owns_schedule else NOT_ON_V2
    fields = (_unused_field(name, layers) if name in unused else _explained_field(name, layers) for name in ATTRIBUTES)
    return (*fields, *_explained_costs(layers), *_explained_silences(layers))


def _unused_field(name: str, layers: Sequence[Layer]) -> Explained:
    return Explained(name, "", NOT_USED if any(name in layer.spans for layer in layers) else NOT_DECLARED, None)


def _explained_field(name: str, layers: Sequence[Layer]) -> Explained:
    for layer in layers:
        if name in layer.spans:
            return Explained(name, _text(name, layer.values[ATTRIBUTES[name]]), layer.label, layer.spans[name])
    return Explained(name, "", NOT_DECLARED, None)


def _explained_costs(layers: Sequence[Layer]) -> list[Explained]:
    """Return each amount with the layer it comes from: they are laid over one another one by one."""
    found = {}
    for layer in reversed(layers):
        for name in COST_FIELDS:
            if name in layer.values:
                text = f"{layer.values[name]:g}"
                found[name] = Explained(f"{COSTS}.{name}", text, layer.label, layer.spans[COSTS])
    return [found[name] for name in COST_FIELDS if name in found] or [Explained(COSTS, "", NOT_DECLARED, None)]


def _explained_silences(layers: Sequence[Layer]) -> list[Explained]:
    found = {}
    for layer in reversed(layers):
        for silence in layer.values.get(SILENCES, ()):
            field = f"{SILENCE}.{silence.rule}"
            found[silence.rule] = Explained(field, silence.reason, layer.label, silence.span)
    return [found[rule] for rule in Rule if rule in found] or [Explained(SILENCE, "", NOT_DECLARED, None)]


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
