"""Merge defaults, group and portfolio, and check the result.

In: documents that were checked against the table of fields, and the merged sections. Out: one ``Desired`` for each
portfolio, errors and warnings. A problem in a layer is reported once, there, and not once for every portfolio that
inherits from it. It reads no clock: today is passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from reconciler.config.check import Suggestions
from reconciler.config.document import Document, Node, error
from reconciler.config.merge import Layer, Sections, decode, gather, needs_gathering, spans_of, twice
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.fields import PAIRS, PORTFOLIO_FIELDS, unfit
from reconciler.core.forms import AUTO, auto_offset
from reconciler.core.model import ApiVersion, Desired, Layered, Origin, PortfolioId
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from reconciler.core.forms import Complaint
    from reconciler.core.tables import FieldPath, FieldSpec

NO_GROUP: Final = ""
"""The layer's key for portfolios that name no group. No group can have this name."""

_CHECKED: Final = tuple(field for field in PORTFOLIO_FIELDS.fields if field.check)
_RULED: Final = tuple({field.target: None for pair in PAIRS for field in (*pair.fields, *_CHECKED)})
"""The fields of ``Desired`` that a rule looks at."""
_NEEDS_AN_API: Final = frozenset(
    field.target for field in PORTFOLIO_FIELDS.fields if field.owns_schedule is False and not field.layered
)
"""Fields for portfolios on an API where portfolios have no schedules. The default API is not such a one."""
_MOST_REMEMBERED: Final = 4096


class Resolution:
    """Takes documents one by one; afterwards ``desired`` holds every portfolio, in the order in which they came.

    ``declared`` counts the portfolios of all documents, broken ones too.
    """

    def __init__(self, sections: Sections, *, today: dt.date) -> None:
        self.desired: dict[PortfolioId, Desired] = {}
        self.diagnostics: list[Diagnostic] = []
        self.declared = 0
        self._sections = sections
        self._today = today
        self._suggestions = Suggestions()
        self._broken: dict[str, Origin] = {}
        self._of_api: dict[str, tuple[Diagnostic, ...]] = {}
        self._said: set[tuple[SourceSpan, str]] = set()
        self._fine: set[tuple[Any, ...]] = set()
        self._below: dict[str, dict[str, Any]] = {NO_GROUP: dict(sections.defaults.values)}
        for name, group in sections.groups.items():
            self._below[name] = {**sections.defaults.values, **group.values}
        shared = _schedule_of(sections.defaults)
        self._schedules = {name: _schedule_of(group) or shared for name, group in sections.groups.items()}
        self._schedules[NO_GROUP] = shared
        self._gathers = any(map(needs_gathering, self._below.values()))
        for layer in (sections.defaults, *sections.groups.values()):
            for field, complaint in self._complaints(layer.values):
                self._report(field, complaint, layer.address, layer.spans[field.name])

    def add(self, document: Document) -> None:
        """Resolve the portfolios of one document."""
        section = document.section("portfolios")
        if section is None:
            return
        self.declared += len(section)
        desired, file = self.desired, document.file
        for index, (name, entry) in enumerate(section.items()):  # ten thousand: calls cost
            portfolio = PortfolioId(name)
            first = desired.get(portfolio)
            if first is not None or name in self._broken:
                origin = first.origin if first is not None else self._broken[name]
                place = f"{origin.file}:{origin.line}" if origin else "?"
                self.diagnostics.append(twice(document.key_span(section, index), _address(name), place))
                continue
            origin = Origin(file, document.line_of(section, index))
            path = ("portfolios", name)
            broken = path in document.broken or not isinstance(entry, Node)
            values = self._resolve(document, entry, path, sound=not broken) if isinstance(entry, Node) else {}
            if values.get("interval_ms") is not None and isinstance(entry, Node) and "interval" not in entry:
                origin = replace(origin, schedule=self._schedules.get(values.get("group") or NO_GROUP))
            if broken:
                self._broken[name] = origin
            else:
                desired[portfolio] = Desired(id=portfolio, origin=origin, **values)

    def _resolve(self, document: Document, entry: Node, path: FieldPath, *, sound: bool) -> dict[str, Any]:
        """Return what takes effect for one portfolio, by the fields of ``Desired``."""
        own = decode(document, entry, path, sound=sound)
        inherited = self._below.get(own.get("group") or NO_GROUP)
        if inherited is None:
            self._no_such_group(document, entry, path, own["group"])
            inherited = self._below[NO_GROUP]
        values = {**inherited, **own}
        if "api" in values or not _NEEDS_AN_API.isdisjoint(own):
            self._settle_api(document, entry, path, own, values)
        ruled = tuple(map(values.get, _RULED))
        if ruled not in self._fine and self._check(document, entry, path, own, values):
            if len(self._fine) >= _MOST_REMEMBERED:
                self._fine.clear()
            self._fine.add(ruled)
        if values.get("offset_ms") == AUTO:
            values["auto_offset"] = True
            values["offset_ms"] = auto_offset(path[1], values["interval_ms"]) if values.get("interval_ms") else None
        return gather(values) if self._gathers or "silence" in entry or "labels" in entry else values

    def _settle_api(
        self, document: Document, entry: Node, path: FieldPath, own: Mapping[str, Any], values: dict[str, Any]
    ) -> None:
        """Take out of ``values`` what a portfolio can't have on its API.

        A value from a farther layer than ``api`` was meant for other portfolios, and is left out. One in the same layer
        or a nearer one was meant for this portfolio, so it is an error there.
        """
        api = values.get("api", ApiVersion.V1)
        if not isinstance(api, ApiVersion):
            return  # it is broken, and that was reported
        fields = unfit(api)
        for field in fields:
            if field.target in own and field.elsewhere is not None:
                span = document.value_span(entry, list(entry).index(field.name))
                self._report(field, field.elsewhere, _address(path[1]), span)
            values.pop(field.target, None)
        if "api" not in own:
            for conflict in self._conflicts_below(own.get("group") or NO_GROUP, fields):
                self._say(conflict)

    def _conflicts_below(self, group: str, fields: tuple[FieldSpec, ...]) -> tuple[Diagnostic, ...]:
        """Return the conflicts of a group or the defaults: what they declare no farther away than the ``api``."""
        known = self._of_api.get(group)
        if known is None:
            own = self._sections.groups.get(group)
            layers = [*([own] if own else []), self._sections.defaults]
            sets = next((number for number, layer in enumerate(layers) if "api" in layer.spans), -1)
            known = tuple(
                _diagnostic(field, field.elsewhere, layer.address, layer.spans[field.name])
                for layer in layers[: sets + 1]
                for field in fields
                if field.name in layer.spans and field.elsewhere is not None
            )
            self._of_api[group] = known
        return known

    def _check(
        self, document: Document, entry: Node, path: FieldPath, own: Mapping[str, Any], values: Mapping[str, Any]
    ) -> bool:
        """Check one portfolio: its own values, then pairs of values that depend on each other across layers.

        Return true if there is nothing to say about such pairs, for every portfolio that has the same values.
        """
        found = self._complaints(values)
        mine = [(field, complaint) for field, complaint in found if field.target in own]  # the others lie in a layer
        places = {name: index for index, name in enumerate(entry)} if mine else {}
        for field, complaint in mine:
            self._report(field, complaint, _address(path[1]), document.value_span(entry, places[field.name]))
        wrong = [field for field, complaint in found if complaint.severity is Severity.ERROR]
        layers: list[Layer] = []
        for pair in PAIRS:
            one, other = (values.get(field.target) for field in pair.fields)
            if one is None or other is None or any(field in wrong for field in pair.fields):
                continue
            if (conflict := pair.problem(one, other)) is not None:
                layers = layers or self._layers(document, entry, path)
                self._blame(layers, pair.fields, conflict)
        if values.get("offset_ms") == AUTO and "interval_ms" not in values:
            layers = layers or self._layers(document, entry, path)
            where = next(layer for layer in layers if "offset" in layer.spans)
            problem = "`auto` needs an interval, and none is declared"
            repair = "declare `interval` beside it, or write an offset"
            self._say(error(where.spans["offset"], problem, repair, address=f"{where.address}.offset"))
        return not found and not layers

    def _layers(self, document: Document, entry: Node, path: FieldPath) -> list[Layer]:
        """Return the layers of one portfolio, its own first."""
        group = self._sections.groups.get(str(entry.get("group", NO_GROUP)))
        own = Layer("portfolio", _address(path[1]), {}, spans_of(document, entry))
        return [own, *([group] if group else []), self._sections.defaults]

    def _blame(self, layers: list[Layer], fields: tuple[FieldSpec, FieldSpec], complaint: Complaint) -> None:
        """Report a conflict of two fields in the nearer of their layers, and name the other place."""
        places = {
            field: next(number for number, layer in enumerate(layers) if field.name in layer.spans) for field in fields
        }
        nearest, other = sorted(fields, key=lambda field: (places[field], fields.index(field)))
        layer, farther = layers[places[nearest]], layers[places[other]]
        problem = complaint.problem
        if farther is not layer:
            problem += f" (the {other.name} is from {farther.label}, {farther.spans[other.name]})"
        address = f"{layer.address}.{nearest.name}"
        self._say(error(layer.spans[nearest.name], problem, complaint.repair, address=address))

    def _complaints(self, values: Mapping[str, Any]) -> list[tuple[FieldSpec, Complaint]]:
        """Return what is wrong with the values of one layer, each on its own."""
        checks = ((field, field.check, values.get(field.target)) for field in _CHECKED if field.check)
        found = ((field, check(value, self._today)) for field, check, value in checks if value is not None)
        return [(field, complaint) for field, complaint in found if complaint is not None]

    def _no_such_group(self, document: Document, entry: Node, path: FieldPath, group: str) -> None:
        known = self._sections.groups
        close = self._suggestions.closest(group, known, kind="group")
        repair = f"did you mean `{harmless(close)}`?" if close else "declare it under `groups`, or remove the line"
        span = document.value_span(entry, list(entry).index("group"))
        self._say(error(span, f"the group `{group}` is not declared", repair, address=f"{_address(path[1])}.group"))

    def _report(self, field: FieldSpec, complaint: Complaint, address: str, span: SourceSpan) -> None:
        self._say(_diagnostic(field, complaint, address, span))

    def _say(self, diagnostic: Diagnostic) -> None:
        """Report a problem, but only once for each place, since many portfolios may share a layer."""
        if diagnostic.span is not None:
            said = (diagnostic.span, diagnostic.problem)
            if said in self._said:
                return
            self._said.add(said)
        self.diagnostics.append(diagnostic)


def _schedule_of(layer: Layer) -> Layered | None:
    """Return where a layer declares an interval, ``None`` where it declares none."""
    span = layer.spans.get("interval")
    return Layered(layer.label, span.file, span.line) if span is not None else None


def _diagnostic(field: FieldSpec, complaint: Complaint, address: str, span: SourceSpan) -> Diagnostic:
    return error(
        span, complaint.problem, complaint.repair, address=f"{address}.{field.name}", severity=complaint.severity
    )


def _address(name: str) -> str:
    return f"portfolios.{harmless(name)}"
