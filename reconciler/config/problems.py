"""What is wrong with a document that breaks the schema, in sentences for people.

In: a document that the compiled check refused. Out: a diagnostic for each problem, and which entries are broken. Only
those are given to jsonschema, which is imported here and nowhere else. Problems are worded here; repairs come from the
schema's own ``errorMessage``, which editors show as well, unless something better can be said of the very value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.config import hints
from reconciler.config.document import Document, Locator, Node, Value, error
from reconciler.config.rules import interval_problem, offset_problem
from reconciler.config.schema import schema, section_conforms, type_conforms
from reconciler.config.suggest import Suggestions
from reconciler.core.diagnostics import SourceSpan
from reconciler.core.evidence import MARK_NAME
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema.exceptions import ValidationError

    from reconciler.core.diagnostics import Diagnostic

_KEYED: Final = frozenset({"groups", "portfolios", "strategies"})
"""Sections whose entries stand for themselves: one broken entry does not break its neighbours."""

_KEYS: Final[Mapping[str, str]] = {"portfolios": "a portfolio id", "strategies": "a strategy id"}
"""What the keys of a section are, where they are not names of groups."""

_NOUNS: Final[Mapping[str, str]] = {
    "version": "a version that this program reads",
    "state": "a state",
    "api": "a version of the API",
    "strategy": "a strategy id",
    "interval": "a duration",
    "offset": "a duration",
    "until": "a date",
    "hold": "a word that `hold` knows",
    "run_on_start": "true or false",
    "chain": "a chain",
    "group": "the name of a group",
    "paths": "a family of paths",
    "url": "a base URL",
    "max_start": "a limit",
    "max_resume": "a limit",
    "max_pause": "a limit",
    "max_update": "a limit",
    "max_reach": "a limit",
    "schedule": "a cadence",
    "per_rebalance_usd": "an amount",
    "warn_above_usd_month": "an amount",
}


def schema_problems(document: Document) -> tuple[list[Diagnostic], frozenset[tuple[str, str]]]:
    """Return every problem of a document that breaks the schema, and which entries (section, key) are broken.

    What was refused already while reading, at the same place, is not said twice. The cost grows with the number of
    broken entries, not with their square. A document that jsonschema finds nothing wrong with is reported as our bug:
    it must not pass.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    reduced, broken = _failing(document.root)
    explanation = _Explanation(document)
    # The same words for a type as in the compiled check, which takes no .nan for a number.
    types = Draft202012Validator.TYPE_CHECKER.redefine("number", lambda _, value: type_conforms("number", value))
    validator = extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]  # so are its stubs
    errors = list(validator(schema()).iter_errors(reduced))
    for found in errors:
        explanation.add(found)
    if not errors:
        problem = "the file breaks the schema in a way that can't be explained; this is a bug of reconciler"
        explanation.diagnostics.append(error(SourceSpan(document.file, 1), problem, "please report it with the file"))
    return explanation.diagnostics, frozenset(broken)


def _failing(root: Node) -> tuple[dict[str, Value], set[tuple[str, str]]]:
    """Return the document with only those groups and portfolios that break the schema, and what is broken."""
    reduced: dict[str, Value] = {}
    broken: set[tuple[str, str]] = set()
    sections = schema()["properties"]
    for name, section in root.items():
        reduced[name] = section
        if name not in sections or section_conforms(name)(section):
            if name in _KEYED:
                reduced[name] = Node()
        elif name in _KEYED and isinstance(section, Node):
            check = section_conforms(name)
            failing = Node({key: entry for key, entry in section.items() if not check({key: entry})})
            broken.update((name, key) for key in failing)
            reduced[name] = failing
        else:
            broken.add((name, ""))
    return reduced, broken


class _Explanation:
    """Collects diagnostics for one document, one for each place."""

    def __init__(self, document: Document) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._locator = Locator(document)
        self._suggestions = Suggestions()
        self._said = {(d.span.line, d.span.column) for d in document.diagnostics if d.span}

    def add(self, found: ValidationError) -> None:
        """Turn one error of jsonschema into diagnostics."""
        path = [str(name) for name in found.absolute_path]
        instance: Any = found.instance
        part: Any = found.schema
        arguments: Any = found.validator_value
        repair = part.get("errorMessage", "")
        if "propertyNames" in found.absolute_schema_path:
            path.append(instance)
            what = _KEYS.get(path[0], "the name of a group")
            self._say(self._locator.key(path), path, f"`{hints.shown(instance)}` is not {what}", repair)
            return
        match found.validator:
            case "required":
                for name in arguments:
                    self._missing(path, instance, name)
            case "additionalProperties":
                for name in instance:
                    if name not in part["properties"] and name != "<<":
                        self._unknown([*path, name], instance[name], list(part["properties"]))
            case keyword:
                problem, better = self._value(str(keyword), path, instance, part)
                self._say(self._locator.value(path), path, problem, better or repair)

    def _say(self, span: SourceSpan, path: list[str], problem: str, repair: str) -> None:
        place = (span.line, span.column)
        if place in self._said:
            return
        self._said.add(place)
        self.diagnostics.append(error(span, problem, repair, address=".".join(harmless(name) for name in path)))

    def _missing(self, path: list[str], instance: Mapping[str, Value], name: str) -> None:
        if name in instance or "<<" in instance:  # a refused merge key may have been meant to bring it
            return
        field = schema()["$defs"].get(name) or schema()["properties"][name]
        repair = " or ".join(f"`{name}: {example}`" for example in field["examples"])
        self._say(self._locator.key(path), path, f"`{name}` is missing", f"write {repair}")

    def _unknown(self, path: list[str], value: Value, known: list[str]) -> None:
        *parents, name = path
        repair = hints.misplaced(name, value, parents)
        if not repair:
            close = self._suggestions.closest(name, known, kind=".".join(parents[:1]))
            repair = f"did you mean `{close}`?" if close else f"remove it; known here: {', '.join(known)}"
        self._say(self._locator.key(path), path, f"unknown key `{hints.shown(name)}`", repair)

    def _value(self, keyword: str, path: list[str], value: Value, part: Mapping[str, Any]) -> tuple[str, str]:
        """Return the problem with one value, and a repair where there is a better one than the schema's."""
        name = path[-1] if path else ""
        said = f"`{hints.shown(value)}`"
        if value is None:
            return "there is no value", ""
        if part.get("type") == "object":
            return f"{hints.kind(value) if isinstance(value, list) else said} is not a mapping", ""
        if isinstance(value, (dict, list)):
            return f"{hints.kind(value)} stands where {_NOUNS.get(name, 'text')} is expected", ""
        match keyword:
            case "maxLength" if name in hints.TEXTS:
                return f"the text is {len(str(value))} characters long", f"write at most {part['maxLength']}"
            case "minimum" | "maximum" if isinstance(value, (int, float)):
                return _out_of_range(name, value)
            # No guess at a state: `inactive` is near to `active`, and means the opposite. Nor at a version: v3 is none.
            case "enum" if isinstance(value, str) and name not in ("state", "api"):
                close = self._suggestions.closest(value, part["enum"], kind=name)
                guess = hints.better(name, value) or (f"did you mean `{close}`?" if close else "")
                return f"{said} is not {_NOUNS[name]}", guess
        if name in hints.TEXTS:
            return _text(said, value)
        return f"{said} is not {_NOUNS.get(name, 'allowed here')}", hints.better(name, value)


def _text(said: str, value: Value) -> tuple[str, str]:
    if not isinstance(value, str):
        return f"{said} is {hints.kind(value)}, not text", "put it in quotes"
    if not value.strip():
        return "the text is blank", "write something, or leave the line out"
    if MARK_NAME in value:
        return (
            f"the text holds `{MARK_NAME}`, the beginning of the mark that our own pauses carry",
            "leave the mark out; it is added",
        )
    return "the text holds a line break or a tab", "write it on one line; with `>`, write `>-`"


def _out_of_range(name: str, value: float) -> tuple[str, str]:
    found = None
    if name == "interval":
        found = interval_problem(int(value))
    elif name == "offset":
        found = offset_problem(int(value))
    elif value >= 0:
        return f"`{hints.shown(value)}` is too much", ""
    return found or (f"`{hints.shown(value)}` is negative", "write 0 or more")
