"""Lay defaults, group and portfolio over one another, and check what comes out.

In: documents that were checked against the schema, and the merged sections. Out: one ``Desired`` for each portfolio,
errors and warnings. A problem that lies in a layer is reported once, there, not once for every portfolio below it.
Knows no YAML and reads no clock: today is passed in.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from reconciler.config.document import Document, Node, error
from reconciler.config.merge import Layer, Sections, decode, decode_sound, twice
from reconciler.config.rules import (
    ETHEREUM,
    NOT_ON_V2,
    TAKEN_FOR_ETHEREUM,
    ethereum_problem,
    interval_problem,
    offset_problem,
    pair_problem,
    v1_problem,
    v2_problem,
)
from reconciler.config.silence import SILENCE, SILENCES, laid_over, silences_of
from reconciler.config.suggest import Suggestions
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.guards import ETHEREUM_MIN_INTERVAL_MS, MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import ApiVersion, Desired, Origin, PortfolioId
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_GROUP: Final = ""
"""The key of the layer for portfolios that name no group; no group can have it."""


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
        self._of_v2: dict[str, tuple[Diagnostic, ...]] = {}
        self._said: set[tuple[SourceSpan, str]] = set()
        self._below: dict[str, dict[str, Any]] = {NO_GROUP: dict(sections.defaults.values)}
        for name, group in sections.groups.items():
            self._below[name] = {**sections.defaults.values, **group.values}
            if SILENCES in group.values and SILENCES in sections.defaults.values:
                silences = laid_over(group.values[SILENCES], sections.defaults.values[SILENCES])
                self._below[name][SILENCES] = silences
        for layer in (sections.defaults, *sections.groups.values()):
            self._check_own(layer.values, layer.address, layer.spans.__getitem__)

    def add(self, document: Document) -> None:
        """Resolve the portfolios of one document."""
        section = document.section("portfolios")
        if section is None:
            return
        desired, below, file = self.desired, self._below, document.file
        self.declared += len(section)
        for index, (name, entry) in enumerate(section.items()):
            portfolio = PortfolioId(name)
            first = desired.get(portfolio)
            if first is not None or name in self._broken:
                origin = first.origin if first is not None else self._broken[name]
                span, address = document.key_span(section, index), _address(name)
                self.diagnostics.append(twice(span, address, f"{origin.file}:{origin.line}" if origin else "?"))
                continue
            origin = Origin(file, document.line_of(section, index))
            if not isinstance(entry, Node):
                self._broken[name] = origin
                continue
            broken = ("portfolios", name) in document.broken
            own = decode_sound(entry) if broken else decode(entry)
            inherited = below.get(own.get("group") or NO_GROUP)
            if inherited is None:
                self._no_such_group(document, entry, name, own["group"])
                inherited = below[NO_GROUP]
            values = {**inherited, **own}
            if SILENCE in entry:
                silences = silences_of(document, entry[SILENCE], _address(name))
                values[SILENCES] = laid_over(silences, inherited.get(SILENCES, ()))
            if "strategy" in own or "api" in values:
                self._settle_api(document, entry, name, own, values)
            if _needs_a_look(own, values):
                self._check(document, entry, name, own, values)
            if broken:
                self._broken[name] = origin
            else:
                desired[portfolio] = Desired(id=portfolio, origin=origin, **values)

    def _settle_api(
        self, document: Document, entry: Node, name: str, own: Mapping[str, Any], values: dict[str, Any]
    ) -> None:
        """Check what only one of the APIs has."""
        api = values.get("api", ApiVersion.V1)
        if not isinstance(api, ApiVersion):
            return  # it is broken, and that was reported
        if not api.can.owns_schedule:
            self._settle_v2(document, entry, name, own, values)
        elif "strategy" in own:
            span = document.value_span(entry, list(entry).index("strategy"))
            self._say(error(span, *v1_problem(), address=f"{_address(name)}.strategy"))

    def _settle_v2(
        self, document: Document, entry: Node, name: str, own: Mapping[str, Any], values: dict[str, Any]
    ) -> None:
        """Take out of ``values`` what a v2 portfolio can't have.

        What comes from a farther layer than ``api: v2`` was meant for others and is left out; in the same layer or a
        nearer one somebody meant it for this portfolio, which is an error there.
        """
        for field, attribute in NOT_ON_V2.items():
            if attribute in own:
                span = document.value_span(entry, list(entry).index(field))
                self._say(error(span, *v2_problem(field), address=f"{_address(name)}.{field}"))
            values.pop(attribute, None)
        if "api" not in own:
            for conflict in self._conflicts_below(own.get("group") or NO_GROUP):
                self._say(conflict)

    def _conflicts_below(self, group: str) -> tuple[Diagnostic, ...]:
        """Return what a group, or the defaults, declare no farther away than the ``api: v2`` that holds below them."""
        known = self._of_v2.get(group)
        if known is None:
            own = self._sections.groups.get(group)
            layers = [*([own] if own else []), self._sections.defaults]
            sets = next(number for number, layer in enumerate(layers) if "api" in layer.spans)
            known = tuple(
                error(layer.spans[field], *v2_problem(field), address=f"{layer.address}.{field}")
                for layer in layers[: sets + 1]
                for field in NOT_ON_V2
                if field in layer.spans
            )
            self._of_v2[group] = known
        return known

    def _check(
        self, document: Document, entry: Node, name: str, own: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        """Check one portfolio: its own values, then those that depend on one another across the layers."""
        indexes = {field: index for index, field in enumerate(entry)}
        before = len(self.diagnostics)
        self._check_own(own, _address(name), lambda field: document.value_span(entry, indexes[field]))
        if len(self.diagnostics) > before and self.diagnostics[-1].severity is Severity.ERROR:
            return
        interval, offset, chain = values.get("interval_ms"), values.get("offset_ms"), values.get("chain")
        if interval is None or interval_problem(interval):
            return
        layers = self._layers(document, entry, name, indexes)
        if chain is not None and (found := ethereum_problem(interval, chain)):
            self._blame(layers, ("interval", "chain"), found)
        if offset is not None and not offset_problem(offset) and (found := pair_problem(interval, offset)):
            self._blame(layers, ("offset", "interval"), found)

    def _layers(self, document: Document, entry: Node, name: str, indexes: Mapping[str, int]) -> list[Layer]:
        """Return the layers of one portfolio, its own first."""
        spans = {field: document.value_span(entry, index) for field, index in indexes.items()}
        group = self._sections.groups.get(str(entry.get("group", NO_GROUP)))
        return [Layer("portfolio", _address(name), {}, spans), *([group] if group else []), self._sections.defaults]

    def _blame(self, layers: list[Layer], fields: tuple[str, str], found: tuple[str, str]) -> None:
        """Report a conflict of two fields in the nearer of the layers they come from, and name the other place."""
        places = {
            field: next(number for number, layer in enumerate(layers) if field in layer.spans) for field in fields
        }
        nearest, other = sorted(fields, key=lambda field: (places[field], fields.index(field)))
        layer, farther = layers[places[nearest]], layers[places[other]]
        problem, repair = found
        if farther is not layer:
            problem += f" (the {other} is from {farther.label}, {farther.spans[other]})"
        self._say(error(layer.spans[nearest], problem, repair, address=f"{layer.address}.{nearest}"))

    def _check_own(self, values: Mapping[str, Any], address: str, place: Callable[[str], SourceSpan]) -> None:
        """Check what needs no other layer; ``place`` finds a field by its name in YAML."""
        for field, attribute, problem_of in (
            ("interval", "interval_ms", interval_problem),
            ("offset", "offset_ms", offset_problem),
        ):
            value = values.get(attribute)
            if value is not None and (found := problem_of(value)):
                self._say(error(place(field), *found, address=f"{address}.{field}"))
        if values.get("chain") in TAKEN_FOR_ETHEREUM:
            problem = f"the chain `{values['chain']}` does not turn on the minimum interval of ETH mainnet"
            repair = "write `ethereum` if that is meant"
            self._say(error(place("chain"), problem, repair, address=f"{address}.chain", severity=Severity.WARNING))
        if values.get("until") is not None:
            self._check_date(values["until"], place("until"), f"{address}.until")

    def _check_date(self, text: str, span: SourceSpan, address: str) -> None:
        try:
            day = dt.date.fromisoformat(text)
        except ValueError:
            repair = "write a day that exists, such as `2026-12-01`"
            self._say(error(span, f"`{text}` is not a day of the calendar", repair, address=address))
            return
        if day < self._today:
            problem = f"the date {text} has passed, and a decision is due"
            repair = "change `state`, move the date, or remove it; nothing is resumed by itself"
            self._say(error(span, problem, repair, address=address, severity=Severity.WARNING))

    def _no_such_group(self, document: Document, entry: Node, name: str, group: str) -> None:
        known = self._sections.groups
        close = self._suggestions.closest(group, known, kind="group")
        repair = f"did you mean `{harmless(close)}`?" if close else "declare it under `groups`, or remove the line"
        span = document.value_span(entry, list(entry).index("group"))
        self._say(error(span, f"the group `{group}` is not declared", repair, address=f"{_address(name)}.group"))

    def _say(self, diagnostic: Diagnostic) -> None:
        """Report a problem unless the same was said of the same place, which other portfolios share."""
        if diagnostic.span is not None:
            said = (diagnostic.span, diagnostic.problem)
            if said in self._said:
                return
            self._said.add(said)
        self.diagnostics.append(diagnostic)


def _needs_a_look(own: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a portfolio may have a problem; nearly none has, and this is all that they pay."""
    if "until" in own or own.get("chain") in TAKEN_FOR_ETHEREUM:
        return True
    interval, offset = values.get("interval_ms"), values.get("offset_ms")
    if offset is not None and not 0 <= offset < (MAX_INTERVAL_MS if interval is None else interval):
        return True
    if interval is None:
        return False
    if interval < ETHEREUM_MIN_INTERVAL_MS:
        return interval < MIN_INTERVAL_MS or values.get("chain") in ETHEREUM
    return bool(interval > MAX_INTERVAL_MS)


def _address(name: str) -> str:
    return f"portfolios.{harmless(name)}"
