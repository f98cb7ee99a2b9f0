"""Check whether a document fits its table of fields, and say what is wrong if it does not.

In: a document, and the table of its kind of file (:mod:`reconciler.core.tables`). Out: a diagnostic for each problem,
and what can't be used. jsonschema-rs decides. jsonschema, which is far slower, says what is wrong with the parts that
were refused, and is imported only then. The words come from the table.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from reconciler.config.document import Document, Locator, Node, Value, error
from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.forms import Form, noun_of, shown_value
from reconciler.core.tables import FieldSpec, FieldTable, Keyed, Kind, Listed, fields_of, json_schema, kind_at, stray
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import jsonschema_rs
    from jsonschema.exceptions import ValidationError

    from reconciler.core.diagnostics import SourceSpan

_BUG: Final = "please report it with the file"
_CREDENTIAL: Final = r"(?i)(api|access|secret|auth).?(key|token)|token|secret|password"
_ADDRESS: Final = r"(?i)(base.?)?url|host|endpoint|server"
_VARIABLE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_OF_A_SEED: Final = frozenset({"started", "pause_reason", "word", "empty", "last_result"})
"""What only a portfolio of the embedded Glider has."""
_MOST_SEARCHES: Final = 200
_MOST_CANDIDATES: Final = 500
_LONGEST_WORD: Final = 128
_LENGTHS_APART: Final = 4


class Suggestions:
    """The nearest known word to one that is not known, for "did you mean".

    Remembers what was asked, and gives up after :data:`_MOST_SEARCHES` different questions: ten thousand unknown words
    must not cost ten thousand searches. difflib is imported at the first one.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], str | None] = {}

    def closest(self, word: str, known: Iterable[str], *, kind: str) -> str | None:
        """Return the known word that ``word`` is most likely a slip of; ``kind`` names the set of known words."""
        question = (kind, word)
        if question not in self._answers:
            if len(self._answers) >= _MOST_SEARCHES or len(word) > _LONGEST_WORD:
                return None
            self._answers[question] = _search(word, known)
        return self._answers[question]


def _search(word: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches
    from itertools import islice

    near = (candidate for candidate in known if abs(len(candidate) - len(word)) <= _LENGTHS_APART)
    found = get_close_matches(word.lower(), islice(near, _MOST_CANDIDATES), n=1, cutoff=0.65)
    return found[0] if found else None


def conforms(document: Any, table: FieldTable) -> bool:
    """Return whether plain data keeps to a table, as jsonschema-rs has it."""
    return _keeps(_validator(table), document)


def check_document(document: Document, table: FieldTable) -> tuple[list[Diagnostic], frozenset[tuple[str, ...]]]:
    """Return what is wrong with a document that was read whole, and the paths of what can't be used.

    With each path come all those above it, so that one look tells whether anything in a section or entry is broken.
    What was refused already while reading, at the same place, is not said twice.
    """
    variables = _variables(document)
    if conforms(document.root, table):
        return variables, frozenset()
    explanation = _Explanation(document, table)
    explanation.explain()
    said = {problem.span for problem in explanation.diagnostics}
    unsaid = [warning for warning in variables if warning.span not in said]
    return [*unsaid, *explanation.diagnostics], frozenset(explanation.broken)


@lru_cache(maxsize=16)
def _validator(table: FieldTable, section: str = "") -> jsonschema_rs.Draft202012Validator:
    """Return the check of a whole document, or of one section of it."""
    import jsonschema_rs

    whole = json_schema(table)
    part = {**whole["properties"][section], "$defs": whole["$defs"]} if section else whole
    return jsonschema_rs.Draft202012Validator(part)


def _keeps(validator: jsonschema_rs.Draft202012Validator, value: Any) -> bool:
    try:
        return validator.is_valid(value)
    except ValueError:  # half a surrogate pair, for example, which is not JSON; the reader has reported it already
        return False


def _variables(document: Document) -> list[Diagnostic]:
    """Return a warning for each value that looks as if something would be put in its place."""
    if b"${" not in document.data:
        return []
    locator = Locator(document)
    return [
        error(
            locator.value(path),
            f"`{shown_value(found[0])}` stays as it is written: no variable is put in its place",
            "write the value, or make the file from a template before it is read",
            address=_address(path),
            severity=Severity.WARNING,
        )
        for path, value in _texts(document.root, [])
        if (found := _VARIABLE.search(value))
    ]


def saved_file(document: Document) -> Diagnostic | None:
    """Return what a file is for that a command saved, instead of that each of its keys is unknown; else ``None``."""
    root = document.root
    if "format_version" not in root or "version" in root:
        return None
    if "fingerprint" in root:
        problem, repair = "this is a saved plan", "run it with `apply FILE`, or look at it with `show FILE`"
    elif "exported_at" in root:
        problem, repair = "this is an export of a journal", "bring it in with `journal import FILE`"
    elif "as_of" in root:
        problem, repair = "this is a live file", "plan from it with `plan --live FILE`"
    else:
        problem, repair = "this is what `-o json` prints", "name the YAML that it was made from"
    return error(Locator(document).key(("format_version",)), f"{problem}, not a file of portfolios", repair)


def seed_file(document: Document) -> Diagnostic | None:
    """Return that a file is what the embedded Glider is filled with, and not ``status`` written for ``state``."""
    entries = document.section("portfolios")
    # A file of portfolios has a state in its first entry, nearly always: no more of it is looked at.
    if not entries or any("state" in one for one in entries.values() if isinstance(one, Node)):
        return None
    of_a_seed = any(_OF_A_SEED & one.keys() for one in entries.values() if isinstance(one, Node))
    if not of_a_seed and "settings" not in document.root:
        return None
    problem = "this is a seed of the embedded Glider, not a file of portfolios"
    repair = "fill a sandbox with it by `sandbox load FILE`; in a file of portfolios each has a `state`"
    return error(Locator(document).key(("portfolios",)), problem, repair)


def _texts(node: Node, path: list[str]) -> Iterator[tuple[list[str], str]]:
    for name, value in node.items():
        if isinstance(value, Node):
            yield from _texts(value, [*path, name])
        elif isinstance(value, str):
            yield [*path, name], value


def _address(path: Iterable[str]) -> str:
    return ".".join(harmless(name) for name in path)


class _Explanation:
    """Collects diagnostics for one document that was refused, one for each place."""

    def __init__(self, document: Document, table: FieldTable) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.broken: set[tuple[str, ...]] = set()
        self._document = document
        self._table = table
        self._locator = Locator(document)
        self._suggestions = Suggestions()
        self._said: set[tuple[object, ...]] = {(d.span.line, d.span.column) for d in document.diagnostics if d.span}

    def explain(self) -> None:
        """Let jsonschema say what is wrong with the refused parts only, because it is slow on whole documents.

        The cost grows with the number of broken entries, not with their square.
        """
        from jsonschema import Draft202012Validator
        from jsonschema.validators import extend

        # .inf and .nan are numbers to Python and to jsonschema, but not to JSON and jsonschema-rs.
        finite = Draft202012Validator.TYPE_CHECKER.redefine("number", lambda _, value: _is_finite(value))
        validator = extend(Draft202012Validator, type_checker=finite)  # type: ignore[no-untyped-call]  # so are its stubs
        reduced, refused = self._refused()
        for found in validator(json_schema(self._table)).iter_errors(reduced):
            self._add(found)
        if self._document.diagnostics:
            return  # the reader refused a part of it, which jsonschema may never see
        unexplained = [path for path in refused if path not in self.broken]
        if not self.diagnostics and not unexplained:
            unexplained.append(())
        for path in unexplained:
            self._disagreement(path)

    def _refused(self) -> tuple[dict[str, Value], list[tuple[str, ...]]]:
        """Return the document with only those entries that were refused, and the paths of what was refused."""
        sections = fields_of(self._table)
        reduced: dict[str, Value] = {}
        refused: list[tuple[str, ...]] = []
        for name, section in self._document.root.items():
            reduced[name] = section
            if name not in sections:
                continue
            validator = _validator(self._table, name)
            if isinstance(sections[name].kind, Keyed) and isinstance(section, Node):
                failing = Node({key: entry for key, entry in section.items() if not _keeps(validator, {key: entry})})
                refused += [(name, key) for key in failing]
                reduced[name] = failing
            elif not _keeps(validator, section):
                refused.append((name,))
        return reduced, refused

    def _disagreement(self, path: tuple[str, ...]) -> None:
        problem = "one check of the schema refuses this and the other accepts it; this is a bug of reconciler"
        self._say(self._locator.key(path), path, problem, _BUG)

    def _add(self, found: ValidationError) -> None:
        """Turn one error of jsonschema into diagnostics."""
        path = tuple(str(name) for name in found.absolute_path)
        instance: Any = found.instance
        kind, field = kind_at(self._table, path)
        if "propertyNames" in found.absolute_schema_path:
            if isinstance(kind, Keyed):
                path = (*path, instance)
                better = _odd_character(instance) or kind.repair
                self._say(self._locator.key(path), path, f"`{shown_value(instance)}` is not {kind.key.noun}", better)
            return
        match found.validator, kind:
            case "required", FieldTable():
                self._missing(path, kind, instance)
            case "additionalProperties", FieldTable():
                for name in instance:
                    if name not in fields_of(kind):
                        self._unknown(path, kind, name, instance[name])
            case keyword, Form() | FieldTable() | Keyed() | Listed():
                item = isinstance(kind, Form) and kind_at(self._table, path[:-1])[0] is kind
                path = path[:-1] if item else path  # an item of a list has no place of its own
                span = self._locator.value(path)
                placeless = item or self._is_item(path)
                written = instance if isinstance(instance, str) else "" if placeless else self._locator.written(span)
                problem, better = self._value(str(keyword), kind, field, instance, written)
                repair = kind.repair if isinstance(kind, FieldTable) else field.repair if field else ""
                self._say(span, path, problem, better or repair)
            case _:
                self._disagreement(path)  # the schema is made of the table, so there is nothing else in it

    def _say(self, span: SourceSpan, path: Sequence[str], problem: str, repair: str) -> None:
        self.broken.update(tuple(path[:length]) for length in range(1, len(path) + 1))
        place = (span.line, span.column, *(path if self._is_item(path) else ()))
        if place in self._said:
            return
        self._said.add(place)
        self.diagnostics.append(error(span, problem, repair, address=_address(path)))

    def _is_item(self, path: Sequence[str]) -> bool:
        """Whether this is an item of a list, which is told at the place of the list unless it is a mapping."""
        return bool(path) and self._locator.node(path[:-1]) is None

    def _missing(self, path: tuple[str, ...], table: FieldTable, entry: Mapping[str, Value]) -> None:
        if "<<" in entry:  # a refused merge key may have been meant to bring them
            return
        fields = fields_of(table)
        # What is written under another name is reported there, with the right name as its repair.
        meant = [stray(table, key, value) for key, value in entry.items() if key not in fields]
        missing = [name for name in table.required if name not in entry and not any(f"`{name}" in one for one in meant)]
        if not missing:
            return
        lines = (" or ".join(f"`{name}: {one}`" for one in fields[name].examples) for name in missing)
        what = f"{' and '.join(f'`{name}`' for name in missing)} {'is' if len(missing) == 1 else 'are'} missing"
        self._say(self._locator.key(path), path, what, f"write {' and '.join(lines)}")

    def _unknown(self, path: tuple[str, ...], table: FieldTable, name: str, value: Value) -> None:
        repair = self._misplaced(path, table, name, value)
        if not repair:
            known = [field.name for field in table.fields]
            close = self._suggestions.closest(name, known, kind=table.name)
            repair = f"did you mean `{close}`?" if close else f"remove it; known here: {', '.join(known)}"
        where = (*path, name)
        self._say(self._locator.key(where), where, f"unknown key `{shown_value(name)}`", repair)

    def _misplaced(self, path: tuple[str, ...], table: FieldTable, name: str, value: Value) -> str:
        """Return where an unknown key belongs, or what it is called here."""
        if re.search(_CREDENTIAL, name):
            return "remove it; the key is read from GLIDER_API_KEY only, and one that was in a file must be replaced"
        if repair := _odd_character(name) or stray(table, name, value):
            return repair
        if re.fullmatch(_ADDRESS, name):
            return "remove it; files never say where the key goes, GLIDER_BASE_URL does"
        if not path and isinstance(value, dict):  # an entry that stands beside its section
            for field in table.fields:
                each = field.kind.each if isinstance(field.kind, Keyed) else None
                if isinstance(each, FieldTable) and set(each.required) & value.keys():
                    return f"indent it under `{field.name}`"
        return ""

    def _value(self, keyword: str, kind: Kind, field: FieldSpec | None, value: Value, written: str) -> tuple[str, str]:
        """Return the problem with one value, and a repair where there is a better one than the table's."""
        said = f"`{shown_value(value, written)}`"
        if value is None:
            return "there is no value", ""
        if keyword in _LENGTHS and isinstance(value, list):
            return _wrong_length(kind, value)
        if not isinstance(kind, Form):
            return _no_collection(kind, value, noun_of(value) if isinstance(value, (dict, list)) else said)
        if isinstance(value, (dict, list)):
            return f"{noun_of(value)} stands where {kind.noun} is expected", ""
        if isinstance(value, str) and kind.wrong is None and (better := _odd_character(value)):
            return f"{said} is not {kind.noun}", better
        if isinstance(value, str) and _VARIABLE.search(value):
            return f"{said} is not {kind.noun}", "write the value: no variable is put in its place"
        if keyword in _SIDES and isinstance(value, (int, float)) and _is_finite(value):
            return _out_of_range(keyword, field, value, said)
        if kind.wrong is not None:
            complaint = kind.wrong(value, written)
            return complaint.problem, complaint.repair
        guess = kind.guess(value, written)
        if not guess and kind.near and isinstance(value, str):
            close = self._suggestions.closest(value, kind.schema["enum"], kind=kind.noun)
            guess = f"did you mean `{close}`?" if close else ""
        return f"{said} is not {kind.noun}", guess


def _wrong_length(kind: Kind, value: list[Value]) -> tuple[str, str]:
    most = kind.most if isinstance(kind, Listed) else kind.schema["maxItems"] if isinstance(kind, Form) else 0
    if value:
        return f"the list has {len(value)} entries, and no more than {most} are read", "remove those that are over"
    return "the list is empty", ""


def _no_collection(kind: Kind, value: Value, said: str) -> tuple[str, str]:
    if isinstance(kind, Listed):
        return f"{said} is not a list", ""
    quoted = isinstance(value, str) and ": " in value
    better = "remove the quotes, and write one `key: value` a line" if quoted else _space_forgotten(value)
    return f"{said} is not a mapping", better


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _out_of_range(keyword: str, field: FieldSpec | None, value: float, said: str) -> tuple[str, str]:
    import datetime as dt

    if field is not None and field.check is not None and (found := field.check(int(value), dt.date.min)):
        return found.problem, found.repair
    return (f"{said} is negative", "write 0 or more") if value < 0 else (f"{said} is too {_SIDES[keyword]}", "")


_SIDES: Final = {"minimum": "little", "maximum": "much"}
_LENGTHS: Final = frozenset({"minItems", "maxItems"})
"""What a schema says of the length of a list."""


_LOOKS_LIKE: Final = {
    "Zs": "which looks like a space: remove it",
    "Cf": "which nobody sees: remove it",
    "Pi": "which is no quote to YAML: write straight quotes, or none",
    "Pf": "which is no quote to YAML: write straight quotes, or none",
}
"""What is said of a character that a text editor put there, by its Unicode category."""


def _odd_character(text: str) -> str:
    """Return the repair for a character that looks like another one, or like nothing."""
    for character in text:
        if character != " " and (said := _LOOKS_LIKE.get(unicodedata.category(character))):
            return f"it holds U+{ord(character):04X} ({unicodedata.name(character, 'a sign').lower()}), {said}"
    return ""


def _space_forgotten(value: Value) -> str:
    found = re.fullmatch(r"([a-z_]+):(?!/)(\S.*)", value) if isinstance(value, str) else None
    return f"write a space behind the colon: `{found[1]}: {shown_value(found[2])}`" if found else ""
