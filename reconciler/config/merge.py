"""Merge the sections of several files: every default, group, guard, setting and strategy once.

In: documents that were checked against the table of fields. Out: :class:`Sections`, and an error for everything that
two files declare, naming both places. What breaks the schema was reported already, and is left out. Portfolios are not
copied here, because there are many, and :mod:`reconciler.config.resolve` goes through them once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from reconciler.config.document import Document, Node, Value, error
from reconciler.core.advice import Rule
from reconciler.core.change import Window
from reconciler.core.diagnostics import Severity
from reconciler.core.endpoint import Expect, checked_base_url
from reconciler.core.errors import UsageError
from reconciler.core.fields import LAYER_FIELDS, PORTFOLIO_FIELDS, SILENCE_FIELDS, STRATEGY_FIELDS
from reconciler.core.fleet import select, selection_of
from reconciler.core.freeze import Freezable, Freeze
from reconciler.core.guards import Guards
from reconciler.core.model import Origin, Paths, Silence, StrategyDesired, StrategyId
from reconciler.core.sections import FREEZE_FIELDS, GUARDS_FIELDS, SERVICE_FIELDS
from reconciler.core.tables import FieldTable, Keyed, fields_of, read_table, readers_of
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.diagnostics import Diagnostic, SourceSpan
    from reconciler.core.model import Desired, PortfolioId
    from reconciler.core.tables import FieldPath


_EXPECT: Final = ("service", "expect")


class Layer(Struct, frozen=True):
    """``defaults``, one group, or one portfolio as the nearest layer: what it declares and where.

    ``values`` are keyed by the field of ``Desired``. ``spans`` (places) are keyed by the name in YAML; for a field that
    is a mapping (``costs``), there are also places of the fields in it (``costs.per_rebalance_usd``).
    """

    label: str
    address: str
    values: Mapping[str, Any]
    spans: Mapping[str, SourceSpan]


class Sections(Struct, frozen=True):
    """Everything but the portfolios, merged from all files; a broken group is there, but empty.

    ``strategies`` are sorted by id; ``declared`` counts them, broken ones included.
    """

    defaults: Layer
    groups: Mapping[str, Layer]
    guards: Guards
    paths: Paths
    expect: Expect
    strategies: Mapping[StrategyId, StrategyDesired]
    declared: int


def decode(
    document: Document,
    entry: Mapping[str, Value],
    path: FieldPath,
    *,
    table: FieldTable = PORTFOLIO_FIELDS,
    sound: bool = True,
) -> dict[str, Any]:
    """Return the fields of the entry at ``path``, by the names that they have in the value it becomes.

    If the entry is not ``sound``, a field that breaks the schema is ``None``. It can't be used, but then other problems
    can be found at once. The ``None`` also hides the value of a farther layer, which would otherwise be blamed for a
    problem that it does not have. Silences and labels stay values of their own until :func:`gather`.
    """
    values: dict[str, Any] = {}
    readers = readers_of(table)
    for name, value in entry.items():  # every value of a fleet passes here: calls cost
        reader = readers.get(name)
        if reader is not None:
            target, read = reader
            if sound or (*path, name) not in document.broken:
                values[target] = value if read is None else read(value)
            else:
                values[target] = None
        elif isinstance(value, Node):  # costs, silence, labels; anything else was reported
            values.update(_decode_inner(document, value, (*path, name), table))
    return values


def _decode_inner(document: Document, entry: Node, path: FieldPath, above: FieldTable) -> dict[str, Any]:
    field = fields_of(above).get(path[-1])
    if field is not None and isinstance(field.kind, Keyed):
        return {f"{field.target}.{key}": word for key, word in entry.items() if (*path, key) not in document.broken}
    if field is None or not isinstance(field.kind, FieldTable):
        return {}
    known = readers_of(field.kind)
    sound = {
        name: (index, value)
        for index, (name, value) in enumerate(entry.items())
        if name in known and (*path, name) not in document.broken
    }
    if field.kind is SILENCE_FIELDS:
        where = ".".join(path)
        return {
            known[name][0]: Silence(Rule(name), str(value), f"{where}.{name}", document.key_span(entry, index))
            for name, (index, value) in sound.items()
        }
    return decode(document, {name: value for name, (_, value) in sound.items()}, path, table=field.kind)


_LABEL: Final = "labels."


def needs_gathering(values: Mapping[str, Any]) -> bool:
    """Whether :func:`gather` would change these values."""
    return any("." in name for name in values)


def gather(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values (of one or more merged layers) with all silences as one value, and all labels as one."""
    labels = {name.removeprefix(_LABEL): values[name] for name in sorted(values) if name.startswith(_LABEL)}
    silences = tuple(value for value in values.values() if isinstance(value, Silence))
    kept = {name: value for name, value in values.items() if "." not in name}
    return kept | ({"silences": silences} if silences else {}) | ({"labels": labels} if labels else {})


def spans_of(document: Document, entry: Node, *only: str) -> dict[str, SourceSpan]:
    """Return the places of an entry's values (or ``only`` these), as :class:`Layer` holds them."""
    spans: dict[str, SourceSpan] = {}
    for index, (name, value) in enumerate(entry.items()):
        if only and name not in only:
            continue
        spans[name] = document.value_span(entry, index)
        if isinstance(value, Node):
            spans.update((f"{name}.{key}", document.key_span(value, inner)) for inner, key in enumerate(value))
    return spans


class _Place:
    """The first declaration of an entry of a mapping."""

    __slots__ = ("document", "index", "node", "path")

    def __init__(self, document: Document, node: Node, index: int, path: FieldPath) -> None:
        self.document = document
        self.node = node
        self.index = index
        self.path = path

    def value(self) -> Value:
        return self.node[self.path[-1]]

    def span(self) -> SourceSpan:
        return self.document.key_span(self.node, self.index)


def merge(documents: Sequence[Document]) -> tuple[Sections, list[Diagnostic]]:
    """Return the merged sections of all documents, and an error for each key that two of them declare."""
    diagnostics: list[Diagnostic] = []
    defaults, groups, guards, service, strategies = (
        _declared(documents, section, diagnostics)
        for section in ("defaults", "groups", "guards", "service", "strategies")
    )
    expect = _expected(documents, diagnostics)
    sections = Sections(
        defaults=_defaults([*defaults.values()]),
        groups={name: _group(name, place) for name, place in groups.items()},
        guards=Guards(**_settings(guards, GUARDS_FIELDS)),
        paths=_settings(service, SERVICE_FIELDS).get("paths", Paths.AUTO),
        expect=expect,
        strategies=_strategies(strategies),
        declared=len(strategies),
    )
    return sections, diagnostics


def _declared(documents: Sequence[Document], section: str, diagnostics: list[Diagnostic]) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for document in documents:
        node = document.section(section)
        for index, name in enumerate(node or ()):
            if node is None or (section, name) == _EXPECT:
                continue  # several files may expect the same
            place = _Place(document, node, index, (section, name))
            first = found.setdefault(name, place)
            if first is not place:
                diagnostics.append(twice(place.span(), f"{section}.{harmless(name)}", first.span()))
    return found


def twice(span: SourceSpan, address: str, first: object) -> Diagnostic:
    """Return the error for what two files declare; ``first`` is the place of the first declaration."""
    problem = f"this is declared a second time; the first is at {first}"
    return error(span, problem, "remove one of the two", address=address)


def _defaults(places: Sequence[_Place]) -> Layer:
    """Return the defaults of all files as one layer."""
    values: dict[str, Any] = {}
    spans: dict[str, SourceSpan] = {}
    for place in places:
        name = place.path[-1]
        values.update(decode(place.document, {name: place.value()}, ("defaults",), table=LAYER_FIELDS, sound=False))
        spans.update(spans_of(place.document, place.node, name))
    return Layer("defaults", "defaults", values, spans)


def _group(name: str, place: _Place) -> Layer:
    entry = place.value()
    if not isinstance(entry, Node):
        return Layer(f"group {name}", f"groups.{name}", {}, {})
    values = decode(place.document, entry, place.path, table=LAYER_FIELDS, sound=False)
    return Layer(f"group {name}", f"groups.{name}", values, spans_of(place.document, entry))


def _settings(places: Mapping[str, _Place], table: FieldTable) -> dict[str, Any]:
    """Return the values of a section that has no layers."""
    readers = readers_of(table)
    return {
        name: read(place.value()) if read else place.value()
        for name, place in places.items()
        if name in readers and place.path not in place.document.broken
        for read in (readers[name][1],)
    }


def _strategies(places: Mapping[str, _Place]) -> dict[StrategyId, StrategyDesired]:
    """Return the strategies that can be used. They have no layers, because each cadence is written at its strategy."""
    found = {}
    for name, place in sorted(places.items()):
        entry = place.value()
        if isinstance(entry, Node) and place.path not in place.document.broken:
            origin = Origin(place.document.file, place.span().line)
            values = decode(place.document, entry, place.path, table=STRATEGY_FIELDS)
            found[StrategyId(name)] = StrategyDesired(id=StrategyId(name), origin=origin, **values)
    return found


def _expected(documents: Sequence[Document], diagnostics: list[Diagnostic]) -> Expect:
    """Return what all files together expect. Several may say the same: `import` writes it into each of its files."""
    urls: list[tuple[str, SourceSpan]] = []
    for text, span in _said(documents, "url"):
        try:
            urls.append((checked_base_url(text), span))
        except UsageError as refused:
            repair = "write it as `https://api.glider.fi`"
            diagnostics.append(error(span, refused.summary, repair, address="service.expect.url"))
    accounts = [(text.strip(), span) for text, span in _said(documents, "account")]
    return Expect(
        url=_agreed("url", "service", urls, diagnostics),
        account=_agreed("account", "account", accounts, diagnostics),
    )


def freezes_of(documents: Sequence[Document], today: dt.date) -> tuple[tuple[Freeze, ...], list[Diagnostic]]:
    """Return the freezes of all files, those that can be used, and what is wrong with any of them."""
    found: dict[str, Freeze] = {}
    diagnostics: list[Diagnostic] = []
    for document in documents:
        listed = document.root.get(FREEZE_FIELDS.name)
        for number, entry in enumerate(listed if isinstance(listed, list) else ()):
            path = (FREEZE_FIELDS.name, str(number))
            if not isinstance(entry, Node) or path in document.broken:
                continue
            read = read_table(FREEZE_FIELDS, entry, today=today, path=path)
            places = spans_of(document, entry)
            address = f"{FREEZE_FIELDS.name}.{read.values['name']}"
            problems = [
                error(places[at], one.problem, one.repair, address=f"{address}.{at}", severity=one.severity)
                for (*_, at), one in read.complaints
            ]
            diagnostics += problems
            if any(problem.severity is Severity.ERROR for problem in problems):
                continue
            freeze = _freeze(read.values, places)
            first = found.setdefault(freeze.window.name, freeze)
            if first is not freeze:
                diagnostics.append(twice(places["name"], address, first.span))
            if freeze.window.to_ms <= freeze.window.from_ms:
                problem = "a freeze ends after it begins, and this is not after its `from`"
                diagnostics.append(error(places["to"], problem, "write a later time", address=f"{address}.to"))
    return tuple(found[name] for name in sorted(found)), diagnostics


def _freeze(values: Mapping[str, Any], places: Mapping[str, SourceSpan]) -> Freeze:
    return Freeze(
        window=Window(name=values["name"], from_ms=values["from_ms"], to_ms=values["to_ms"]),
        forbid=values.get("forbid", tuple(Freezable)),
        selection=selection_of(values.get("select", ())),
        span=places["name"],
        select_span=places.get("select"),
    )


def unreached(freezes: Iterable[Freeze], desired: Mapping[PortfolioId, Desired]) -> Iterator[Diagnostic]:
    """Yield a warning for each freeze with a condition that fits no portfolio: it may hold for less than was meant."""
    for freeze in freezes:
        try:
            if not freeze.selection.everything:
                select(desired, freeze.selection, option="select")
        except UsageError as refused:
            address = f"{FREEZE_FIELDS.name}.{freeze.window.name}.select"
            repair = f"{refused.detail[:1].lower()}{refused.detail[1:].removesuffix('.')}"
            yield error(freeze.select_span, refused.summary, repair, address=address, severity=Severity.WARNING)


def _said(documents: Sequence[Document], field: str) -> Iterator[tuple[str, SourceSpan]]:
    for document in documents:
        section = document.section("service")
        entry = section.get("expect") if section is not None else None
        if isinstance(entry, Node) and field in entry and (*_EXPECT, field) not in document.broken:
            yield str(entry[field]), document.value_span(entry, list(entry).index(field))


def _agreed(field: str, noun: str, said: Sequence[tuple[str, SourceSpan]], diagnostics: list[Diagnostic]) -> str | None:
    """Return the value that all declare. If they differ, return the first, and report an error at each other one."""
    if not said:
        return None
    value, first = said[0]
    for other, span in said[1:]:
        if other != value:
            problem = f"another {noun} is expected here than at {first}"
            repair = "write the same one, or remove one of the two"
            diagnostics.append(error(span, problem, repair, address=f"service.expect.{field}"))
    return value
