"""The published JSON Schema, and a fast answer to whether a document keeps to it.

In: plain data. Out: yes or no; :mod:`reconciler.config.problems` says what is wrong. The schema file is the single
source: this module compiles it into closures when the program runs, and refuses to compile a keyword that it does not
know, so that the two can't come to differ. jsonschema takes some 60 µs for an entry and 100 ms to import, this takes 3
and nothing. Knows no field by name and no YAML.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from reconciler.core.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCHEMA_FILE: Final = "automation.schema.json"

Check: TypeAlias = "Callable[[Any], bool]"

_ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "examples", "errorMessage"}  # the last is for editors and us
)
_MOST_REMEMBERED: Final = 1024
_OBJECT_KEYWORDS: Final = frozenset({"properties", "required", "additionalProperties", "propertyNames"})


def schema_text() -> str:
    """Return the published schema as text: from inside the package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    for folder in (package / "schemas", package.parent / "schemas"):
        try:
            return (folder / SCHEMA_FILE).read_text("utf-8")
        except FileNotFoundError:
            continue
    raise ReconcilerError(f"{SCHEMA_FILE} is missing from the installation", "Install the package again.")


@cache
def schema() -> dict[str, Any]:
    """Return the published schema as data."""
    data: dict[str, Any] = json.loads(schema_text())
    return data


@cache
def conforms() -> Check:
    """Return the check of a whole document against the published schema."""
    return compile_schema(schema())


@cache
def section_conforms(section: str) -> Check:
    """Return the check of one top-level section, such as ``portfolios``."""
    return compile_schema(schema()["properties"][section], schema())


@cache
def field_conforms(field: str) -> Check:
    """Return the check of one field of a portfolio or layer, whichever of them may hold it."""
    return compile_schema(schema()["$defs"]["portfolio"]["properties"].get(field, False), schema())


def compile_schema(part: Any, root: Mapping[str, Any] | None = None) -> Check:
    """Return a function that says whether a value keeps to ``part`` (JSON Schema draft 2020-12, a subset).

    ``root`` resolves ``$ref`` and is ``part`` itself by default; references must not form a circle. Raises
    :class:`ValueError` for a keyword outside the subset.
    """
    return _compile(part, part if root is None else root, {})


def _compile(part: Any, root: Mapping[str, Any], known: dict[str, Check]) -> Check:
    if part is False:
        return lambda _: False
    checks = [
        _referenced(argument, root, known) if keyword == "$ref" else _keyword(keyword, argument)
        for keyword, argument in part.items()
        if keyword not in _ANNOTATIONS and keyword not in _OBJECT_KEYWORDS
    ]
    if not _OBJECT_KEYWORDS.isdisjoint(part):
        checks.append(_members(part, root, known))
    elif "pattern" in part:
        return _remembering(_every(checks))
    return _every(checks)


def _every(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def every(value: Any) -> bool:
        for check in checks:  # noqa: SIM110 - all() and a generator cost three times as much
            if not check(value):
                return False
        return True

    return every


def _remembering(check: Check) -> Check:
    """Return ``check`` with a bounded memory of text that passed: most values of a fleet repeat."""
    passed: set[str] = set()

    def remembering(value: Any) -> bool:
        if not isinstance(value, str):
            return check(value)
        if value in passed:
            return True
        if not check(value):
            return False
        if len(passed) >= _MOST_REMEMBERED:
            passed.clear()
        passed.add(value)
        return True

    return remembering


def _referenced(pointer: str, root: Mapping[str, Any], known: dict[str, Check]) -> Check:
    prefix, _, name = pointer.rpartition("/")
    if prefix != "#/$defs":
        raise ValueError(f"the schema refers to {pointer!r}; the compiled check only knows #/$defs")
    if pointer not in known:
        known[pointer] = _compile(root["$defs"][name], root, known)
    return known[pointer]


def _type(names: str | list[str]) -> Check:
    checks = [_TYPES[name] for name in ([names] if isinstance(names, str) else names)]
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def type_conforms(name: str, value: object) -> bool:
    """Return whether a value is of a type of JSON Schema, as the compiled check has it."""
    return _TYPES[name](value)


_TYPES: Final[Mapping[str, Check]] = {
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    # What is not a number in the end (.nan) is neither too small nor too large, so it must fail here.
    "number": lambda value: _is_number(value) and not math.isnan(value),
    # JSON has no integers: 1.0 is one, as it is for every editor.
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
}


def _one_of(allowed: list[Any]) -> Check:
    if all(isinstance(item, str) for item in allowed):
        words = frozenset(allowed)
        return lambda value: isinstance(value, str) and value in words
    # True equals 1 in Python, but not in JSON.
    return lambda value: any(value == item and isinstance(value, bool) is isinstance(item, bool) for item in allowed)


def _keyword(keyword: str, limit: Any) -> Check:
    match keyword:
        case "type":
            return _type(limit)
        case "const":
            return _one_of([limit])
        case "enum":
            return _one_of(limit)
        case "pattern":
            found = re.compile(limit).search
            return lambda value: not isinstance(value, str) or found(value) is not None
        case "maxLength":
            return lambda value: not isinstance(value, str) or len(value) <= limit
        case "minimum":
            return lambda value: not _is_number(value) or value >= limit
        case "maximum":
            return lambda value: not _is_number(value) or value <= limit
        case _:
            raise ValueError(f"the schema uses {keyword!r}, which the compiled check does not know")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _members(part: Mapping[str, Any], root: Mapping[str, Any], known: dict[str, Check]) -> Check:
    fields = {name: _compile(member, root, known) for name, member in part.get("properties", {}).items()}
    required = part.get("required", ())
    names = _compile(part["propertyNames"], root, known) if "propertyNames" in part else None
    others = _compile(part.get("additionalProperties", {}), root, known)

    def members(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for name in required:
            if name not in value:
                return False
        for name, member in value.items():
            if names is not None and not names(name):
                return False
            if not (fields.get(name) or others)(member):
                return False
        return True

    return members
