"""Several files to one set of sections: every default, group, guard and setting once.

In: documents. Out: :class:`Sections`, and an error for everything that two files declare, naming both places.
Portfolios are not copied here: there are many, and :mod:`reconciler.config.resolve` goes through them once. Knows
no schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from reconciler.config.document import Document, Node, Value, error
from reconciler.config.expect import EXPECT, read_expect
from reconciler.config.schema import field_conforms
from reconciler.config.silence import COSTS, SILENCE, SILENCES, cost_fields, silences_of
from reconciler.core.guards import Guards, Limit
from reconciler.core.model import ApiVersion, Paths, RunState
from reconciler.core.text import harmless, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.core.diagnostics import Diagnostic, SourceSpan
    from reconciler.core.endpoint import Expect


class Layer(Struct, frozen=True):
    """``defaults`` or one group: values by the name of the field of ``Desired``, places by the name in YAML."""

    label: str
    address: str
    values: Mapping[str, Any]
    spans: Mapping[str, SourceSpan]


class Sections(Struct, frozen=True):
    """Everything but the portfolios, merged over all files; a broken group is there, but empty."""

    defaults: Layer
    groups: Mapping[str, Layer]
    guards: Guards
    paths: Paths
    expect: Expect


def milliseconds(value: Any) -> int:
    """Return the milliseconds of a duration that keeps to the schema's pattern; 1.0 counts as an integer."""
    return parse_duration(int(value) if isinstance(value, float) else value)


ATTRIBUTES: Final[Mapping[str, str]] = {
    "state": "state",
    "api": "api",
    "strategy": "strategy",
    "interval": "interval_ms",
    "offset": "offset_ms",
    "chain": "chain",
    "group": "group",
    "name": "name",
    "owner": "owner",
    "reason": "reason",
    "until": "until",
    "hold": "hold_override",
    "run_on_start": "run_on_start",
}
"""The name in YAML to the name in ``Desired``, in the order in which ``explain`` shows them; ``costs`` and ``silence``,
which are mappings, follow (:mod:`reconciler.config.silence`)."""

_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "state": {state.value: state for state in RunState}.__getitem__,
    "api": {version.value: version for version in ApiVersion}.__getitem__,
    "interval": milliseconds,
    "offset": milliseconds,
    "hold": lambda _: True,  # the schema knows one word, `override`
}


def decode(entry: Node) -> dict[str, Any]:
    """Return a portfolio's or layer's fields as keyword arguments of ``Desired``; ``entry`` keeps to the schema.

    Silences are left out: they need their places.
    """
    values: dict[str, Any] = {}
    for name, value in entry.items():
        decoder = _DECODERS.get(name)
        attribute = ATTRIBUTES.get(name)
        if attribute is not None:
            values[attribute] = value if decoder is None else decoder(value)
        elif name == COSTS:
            values.update(cost_fields(value))
    return values


def decode_sound(entry: Mapping[str, Value]) -> dict[str, Any]:
    """Return what :func:`decode` does for an entry that may break the schema, with ``None`` for a field that does.

    It can't be used, but what else is wrong with it can be said at once; the ``None`` keeps a lower layer's value from
    showing through, which would be blamed for what nobody wrote.
    """
    sound = Node({name: value for name, value in entry.items() if field_conforms(name)(value)})
    return {**{ATTRIBUTES[name]: None for name in entry if name in ATTRIBUTES}, **decode(sound)}


def merge(documents: Sequence[Document]) -> tuple[Sections, list[Diagnostic]]:
    """Return the sections of all documents as one, and an error for each key that stands in two of them."""
    diagnostics: list[Diagnostic] = []
    defaults, groups, guards, service = (
        _declared(documents, section, diagnostics) for section in ("defaults", "groups", "guards", "service")
    )
    paths = service.get("paths")
    expect, found = read_expect(documents)
    diagnostics += found
    sections = Sections(
        defaults=_layer("defaults", "defaults", [*defaults.values()]),
        groups={name: _group(name, place) for name, place in groups.items()},
        guards=_guards({name: place.value() for name, place in guards.items() if place.usable("guards")}),
        paths=Paths(str(paths.value())) if paths and paths.usable("service") else Paths.AUTO,
        expect=expect,
    )
    return sections, diagnostics


class _Place:
    """One entry of a mapping, where it was declared first."""

    __slots__ = ("document", "index", "name", "node")

    def __init__(self, document: Document, node: Node, index: int, name: str) -> None:
        self.document = document
        self.node = node
        self.index = index
        self.name = name

    def value(self) -> Value:
        return self.node[self.name]

    def usable(self, section: str) -> bool:
        return (section, "") not in self.document.broken


def _declared(documents: Sequence[Document], section: str, diagnostics: list[Diagnostic]) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for document in documents:
        node = document.root.get(section)
        if not isinstance(node, Node):
            continue
        for index, name in enumerate(node):
            if (section, name) == ("service", EXPECT):
                continue  # several files may expect the same
            first = found.setdefault(name, _Place(document, node, index, name))
            if first.document is not document:
                place = first.document.key_span(first.node, first.index)
                diagnostics.append(twice(document.key_span(node, index), f"{section}.{harmless(name)}", place))
    return found


def twice(span: SourceSpan, address: str, first: object) -> Diagnostic:
    """Return the error for what two files declare; ``first`` is where it stood first."""
    problem = f"this is declared a second time; the first is at {first}"
    return error(span, problem, "remove one of the two", address=address)


def _layer(label: str, address: str, places: Sequence[_Place]) -> Layer:
    spans = {place.name: place.document.value_span(place.node, place.index) for place in places}
    values = decode_sound({place.name: place.value() for place in places})
    for place in places:
        if place.name == SILENCE:
            values[SILENCES] = silences_of(place.document, place.value(), address)
    return Layer(label, address, values, spans)


def _group(name: str, place: _Place) -> Layer:
    entry = place.value()
    places: list[_Place] = []
    if isinstance(entry, Node):
        places = [_Place(place.document, entry, index, field) for index, field in enumerate(entry)]
    return _layer(f"group {name}", f"groups.{name}", places)


def _guards(values: Mapping[str, Any]) -> Guards:
    return Guards(**{name: _limit(value) for name, value in values.items()})


def _limit(value: str | int | float) -> Limit:
    if isinstance(value, str):
        return Limit(text=value, percent=float(value.removesuffix("%")))
    return Limit(text=str(int(value)), count=int(value))
