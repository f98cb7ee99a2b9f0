"""Where each effective value of one portfolio or strategy comes from.

In: the same files as for :mod:`reconciler.config.load`, and an id. Out: every field with its value, layer and place.
Apart from loading, because only one command needs it and start-up time is a feature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.config.check import Suggestions
from reconciler.config.document import Document, Node
from reconciler.config.load import read_sources, resolve
from reconciler.config.merge import Layer, Sections, decode, spans_of
from reconciler.core.errors import UsageError
from reconciler.core.fields import PORTFOLIO_FIELDS, STRATEGY_FIELDS, unfit
from reconciler.core.forms import Form
from reconciler.core.model import ApiVersion, PortfolioId, Silence, strategy_of
from reconciler.core.tables import FieldSpec, FieldTable, Keyed, fields_of
from reconciler.core.text import format_duration, harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reconciler.config.load import Configuration
    from reconciler.core.diagnostics import SourceSpan
    from reconciler.core.model import Desired, StrategyId


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
_STRATEGIES: Final = "strategies"


def trace(
    portfolio: str, sources: Sequence[str], *, stdin: Callable[[], bytes], today: dt.date, cwd: Path
) -> tuple[Explained, ...]:
    """Return every field of one portfolio with the layer and place it comes from, in a fixed order.

    A strategy is named ``strategies/ID``. Raises :class:`ConfigInvalid` as loading does, and :class:`UsageError` for a
    portfolio or strategy that is not declared.
    """
    read = read_sources(sources, stdin=stdin, cwd=cwd)
    documents = tuple(read.documents)
    configuration = resolve(read, today)
    if (strategy := strategy_of(portfolio)) is not None:
        return _explained_strategy(strategy, documents, configuration)
    if (found := _entry(documents, "portfolios", portfolio)) is not None:
        fields = _explained(*found, read.sections)
        rows = [row for field in fields for row in (field, *_cadence_of(field, documents))]
        desired = configuration.desired[PortfolioId(portfolio)]
        rows += _freezes_of(configuration, desired)
        if not desired.auto_offset or desired.offset_ms is None:
            return tuple(rows)
        auto = f"{format_duration(desired.offset_ms)} (auto)"
        return tuple(replace(row, value=auto) if row.field == "offset" else row for row in rows)
    close = Suggestions().closest(portfolio, configuration.desired, kind="portfolios")
    detail = f"Did you mean {close}?" if close else "Check the id, and the files given with -f."
    raise UsageError(f"the portfolio {harmless(portfolio)} is not declared", detail)


def _freezes_of(configuration: Configuration, one: Desired) -> Iterator[Explained]:
    """Yield the freezes that a portfolio is in."""
    for freeze in configuration.freezes:
        if freeze.selection.passes(one.id, one):
            yield Explained(f"freeze.{freeze.window.name}", str(freeze), "freeze", freeze.span)


def _explained_strategy(
    strategy: StrategyId, documents: Sequence[Document], configuration: Configuration
) -> tuple[Explained, ...]:
    if (found := _entry(documents, _STRATEGIES, strategy)) is not None:
        layer = Layer("strategy", "", decode(*found, (), table=STRATEGY_FIELDS), spans_of(*found))
        return tuple(row for field in STRATEGY_FIELDS.fields for row in _rows(field, [layer]))
    close = Suggestions().closest(strategy, configuration.strategies, kind=_STRATEGIES)
    detail = f"Did you mean {_STRATEGIES}/{close}?" if close else "Check the id, and the files given with -f."
    raise UsageError(f"the strategy {harmless(strategy)} is not declared", detail)


def _entry(documents: Sequence[Document], section: str, key: str) -> tuple[Document, Node] | None:
    """Return where a portfolio or strategy is declared."""
    for document in documents:
        found = document.section(section)
        entry = found.get(key) if found is not None else None
        if isinstance(entry, Node):
            return document, entry
    return None


def _cadence_of(row: Explained, documents: Sequence[Document]) -> tuple[Explained, ...]:
    """Return what the files declare as the cadence of the strategy that a row names, where it names one."""
    if row.field != "strategy" or not row.value:
        return ()
    found = _entry(documents, _STRATEGIES, row.value)
    layers = [Layer("strategy", "", decode(*found, (), table=STRATEGY_FIELDS), spans_of(*found))] if found else []
    return tuple(_rows(fields_of(STRATEGY_FIELDS)["schedule"], layers, "strategy."))


def _explained(document: Document, entry: Node, sections: Sections) -> tuple[Explained, ...]:
    group = sections.groups.get(str(entry.get("group", "")))
    own = Layer("portfolio", "", decode(document, entry, ()), spans_of(document, entry))
    layers = [own, *([group] if group else []), sections.defaults]
    version = next((layer.values["api"] for layer in layers if "api" in layer.spans), ApiVersion.V1)
    unused = unfit(version)
    return tuple(
        row
        for field in PORTFOLIO_FIELDS.fields
        for row in ([_unused(field, layers)] if field in unused else _rows(field, layers))
    )


def _unused(field: FieldSpec, layers: Sequence[Layer]) -> Explained:
    declared = any(field.name in layer.spans for layer in layers)
    return Explained(field.name, "", NOT_USED if declared else NOT_DECLARED, None)


def _rows(field: FieldSpec, layers: Sequence[Layer], above: str = "") -> Iterator[Explained]:
    """Yield a field with the nearest layer that declares it; of a mapping, which layers share, each field in it."""
    name = f"{above}{field.name}"
    if isinstance(field.kind, FieldTable):
        found = [row for inner in field.kind.fields for row in _rows(inner, layers, f"{name}.") if row.span]
        yield from found or [Explained(name, "", NOT_DECLARED, None)]
        return
    if isinstance(field.kind, Keyed):
        near: dict[str, Layer] = {}
        for layer in reversed(layers):
            near.update(dict.fromkeys((key for key in layer.values if key.startswith(f"{name}.")), layer))
        for key, layer in sorted(near.items()):
            yield Explained(key, layer.values[key], layer.label, layer.spans[key])
        if not near:
            yield Explained(name, "", NOT_DECLARED, None)
        return
    for layer in layers:
        if field.target in layer.values and isinstance(field.kind, Form):
            value = layer.values[field.target]
            text = value.reason if isinstance(value, Silence) else field.kind.write(value)
            yield Explained(name, text, layer.label, layer.spans.get(name) or layer.spans[field.name])
            return
    yield Explained(name, "", NOT_DECLARED, None)
