"""Tables of the fields that a file may hold, and what follows from one.

In: fields with their forms (:mod:`reconciler.core.forms`); :mod:`reconciler.core.sections` has the table of the
configuration and :mod:`reconciler.sandbox.seed` that of a seed. Out: the JSON Schema of such a file, its values as
Python has them, and repairs for unknown keys. Knows no file, no YAML and no library that checks a schema.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from reconciler.core.forms import Complaint, Form, as_it_is

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

Kind: TypeAlias = "Form | FieldTable | Keyed | Listed"
FieldPath: TypeAlias = "tuple[str, ...]"
"""The place of a value in a file: the keys that lead to it, the section first. An item of a list has its number as its
key, from 0."""


class FieldSpec(Struct, frozen=True, eq=False, kw_only=True):
    """One field of a mapping.

    ``attribute`` is its name in the value that the mapping becomes, if that is a different one. ``about``, ``examples``
    and ``repair`` are for editors, the docs and messages. ``words`` are other names that people write for it, in lower
    case without ``_`` and ``-``. ``check`` judges what the schema can't, such as the limit of a duration written as
    text; it gets the value that was read and today's date.

    The rest is for fields of a portfolio. ``layered``: the defaults and groups may hold it, too. ``owns_schedule``: the
    field exists only on an API where portfolios have schedules (true) or have none (false); on the other one, the
    message is ``elsewhere``.
    """

    name: str
    kind: Kind
    repair: str
    about: str = ""
    examples: Sequence[Any] = ()
    attribute: str = ""
    words: tuple[str, ...] = ()
    check: Callable[[Any, dt.date], Complaint | None] | None = None
    layered: bool = False
    owns_schedule: bool | None = None
    elsewhere: Complaint | None = None

    @property
    def target(self) -> str:
        """The name in the value that the mapping becomes."""
        return self.attribute or self.name


class FieldTable(Struct, frozen=True, eq=False, kw_only=True):
    """A mapping with these fields and no others.

    ``strays`` are repairs for wrong keys that people write here, by the key in lower case without ``_`` and ``-``, or
    by key and value (``paused: true``).
    """

    name: str
    fields: tuple[FieldSpec, ...]
    repair: str
    about: str = ""
    examples: Sequence[Any] = ()
    required: tuple[str, ...] = ()
    strays: Mapping[str, str] = {}


class Keyed(Struct, frozen=True, eq=False, kw_only=True):
    """A mapping from names that the author chooses to mappings of one kind, or to values of one form.

    Values of a form that layers share are under ``TARGET.KEY`` until they are gathered, so a nearer layer wins key by
    key.
    """

    key: Form
    repair: str
    each: FieldTable | Form


class Listed(Struct, frozen=True, eq=False, kw_only=True):
    """A list of up to ``most`` mappings of one kind."""

    each: FieldTable
    most: int


@lru_cache(maxsize=64)
def fields_of(table: FieldTable) -> dict[str, FieldSpec]:
    """Return the fields of a table by name, in their order."""
    return {field.name: field for field in table.fields}


@lru_cache(maxsize=64)
def readers_of(table: FieldTable) -> dict[str, tuple[str, Callable[[Any], Any] | None]]:
    """Return the name of the value of each field that is not a mapping, and how it is read; ``None`` means as it is."""
    return {
        field.name: (field.target, None if field.kind.read is as_it_is else field.kind.read)
        for field in table.fields
        if isinstance(field.kind, Form)
    }


def kind_at(root: FieldTable, path: Sequence[str]) -> tuple[Kind | None, FieldSpec | None]:
    """Return the kind of value at ``path``, and the nearest field on the way to it; ``None`` for what no table knows.

    An item of a list of plain values counts as the list's form.
    """
    kind: Kind | None = root
    field: FieldSpec | None = None
    for name in path:
        if isinstance(kind, FieldTable):
            field = fields_of(kind).get(name)
            kind = field.kind if field else None
        elif not isinstance(kind, Form):
            kind = kind.each if isinstance(kind, (Keyed, Listed)) else None
    return kind, field


def plain_word(key: str) -> str:
    """Return a key in the spelling of ``words`` and ``strays``: lower case, without ``_`` and ``-``."""
    return key.lower().replace("_", "").replace("-", "")


def stray(table: FieldTable, key: str, value: object) -> str:
    """Return a repair for a key that the table does not have; ``""`` if there is no good one."""
    word = plain_word(key)
    for known in (f"{word}: {str(value).lower()}", word):
        if known in table.strays:
            return table.strays[known]
    meant = next((field.name for field in table.fields if word in (*field.words, plain_word(field.name))), None)
    return f"did you mean `{meant}`?" if meant else ""


def holding(table: FieldTable) -> FieldSpec:
    """Return the field that holds this mapping; both have the same name."""
    return FieldSpec(name=table.name, kind=table, about=table.about, examples=table.examples, repair=table.repair)


def strays_of(fields: Iterable[FieldSpec], say: Callable[[FieldSpec], str], *, words: bool = False) -> dict[str, str]:
    """Return what to say about each field that does not belong here, by its name; with ``words`` also by other words
    that people use for it."""
    return {plain_word(word): say(field) for field in fields for word in (field.name, *(field.words if words else ()))}


class TableValues(Struct, frozen=True, kw_only=True):
    """A mapping as its table reads it: the values by the fields' targets, and what their checks found wrong.

    In ``values``, a table inside this one is a mapping again, and so are keyed entries, by their key.
    """

    values: dict[str, Any]
    complaints: list[tuple[FieldPath, Complaint]]


def read_table(
    table: FieldTable,
    entry: Mapping[str, Any],
    *,
    today: dt.date,
    broken: Container[FieldPath] = (),
    path: FieldPath = (),
) -> TableValues:
    """Return the values of the mapping at ``path``, without those at ``broken`` paths, which don't fit their form."""
    found = TableValues(values={}, complaints=[])
    for field in table.fields:
        where = (*path, field.name)
        if field.name not in entry or (where in broken and isinstance(field.kind, Form)):
            continue
        value = entry[field.name]
        match field.kind:
            case Form(read=read):
                found.values[field.target] = read(value)
            case FieldTable() as inner if isinstance(value, dict):
                found.values[field.target] = _nested(
                    found, read_table(inner, value, today=today, broken=broken, path=where)
                )
            case Keyed(each=FieldTable() as each) if isinstance(value, dict):
                found.values[field.target] = {
                    key: _nested(found, read_table(each, one, today=today, broken=broken, path=(*where, key)))
                    for key, one in value.items()
                    if isinstance(one, dict)
                }
        if field.check is not None and (complaint := field.check(found.values[field.target], today)):
            found.complaints.append((where, complaint))
    return found


def _nested(above: TableValues, inner: TableValues) -> dict[str, Any]:
    above.complaints.extend(inner.complaints)
    return inner.values


def json_schema(root: FieldTable, clauses: Mapping[str, Sequence[dict[str, Any]]] | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a file; what is used in two places is defined once, under ``$defs``.

    With ``clauses`` (more parts of the schema, by the name of their table) it is the schema for editors. There, the
    rules of a mapping are several clauses, because an editor shows one ``errorMessage`` for everything that a clause
    refuses.
    """
    maker = _SchemaMaker(clauses)
    maker.count(root)
    whole = maker.mapping(root)
    return {**whole, "$defs": dict(sorted(maker.shared.items()))}


class _SchemaMaker:
    """Makes one schema; ``shared`` holds what goes under ``$defs``."""

    def __init__(self, clauses: Mapping[str, Sequence[dict[str, Any]]] | None) -> None:
        self.shared: dict[str, Any] = {}
        self._clauses = clauses
        self._uses: dict[int, int] = {}

    def count(self, part: FieldSpec | Kind) -> None:
        """Count how often each part is used."""
        self._uses[id(part)] = self._uses.get(id(part), 0) + 1
        if self._uses[id(part)] > 1:
            return  # what is in there is defined once with it
        if isinstance(part, FieldSpec):
            self.count(part.kind)
        elif isinstance(part, (Keyed, Listed)):
            self.count(part.each)
        elif isinstance(part, FieldTable):
            for field in part.fields:
                self.count(field)

    def mapping(self, table: FieldTable) -> dict[str, Any]:
        """Return the schema of a mapping."""
        return {
            "description": table.about,
            **({"type": "object"} if self._clauses is None else self._said(table, self._clauses)),
            **({"required": list(table.required)} if table.required else {}),
            "additionalProperties": False,
            "properties": {field.name: self._once(field) for field in table.fields},
            "examples": list(table.examples),
        }

    def _said(self, table: FieldTable, clauses: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
        """Return the clauses of a mapping that have a sentence of their own."""
        known = fields_of(table)
        words = {word: f"did you mean `{field.name}`?" for field in table.fields for word in field.words}
        words = {
            word: said for word, said in {**words, **table.strays}.items() if word not in known and ":" not in word
        }
        patterns = {said: "|".join(word for word in words if words[word] == said) for said in words.values()}
        strays = [
            {"patternProperties": {f"^(?:{pattern})$": False}, "errorMessage": said}
            for said, pattern in patterns.items()
        ]
        allowed = {"patternProperties": {f"^(?:{'|'.join(words)})$": True}} if words else {}  # else it is said twice
        no_mapping = {"type": "object", "errorMessage": table.repair}
        return {"allOf": [no_mapping, *strays, *clauses.get(table.name, ())], **allowed}

    def _once(self, part: FieldSpec | FieldTable) -> dict[str, Any]:
        if self._uses[id(part)] > 1 and part.name in self.shared:
            return {"$ref": f"#/$defs/{part.name}"}
        made = self._member(part) if isinstance(part, FieldSpec) else self.mapping(part)
        if self._uses[id(part)] == 1:
            return made
        self.shared[part.name] = made
        return {"$ref": f"#/$defs/{part.name}"}

    def _member(self, field: FieldSpec) -> dict[str, Any]:
        said = {"description": field.about, "examples": list(field.examples)}
        match field.kind:
            case Form() as form:
                schema = form.schema if self._clauses is None else _bounded(form, field.repair)
                return {**said, **schema, "errorMessage": field.repair}
            case FieldTable() as table:
                return {**self._once(table), **said}
            case Keyed(key=key, each=each, repair=repair):
                return {
                    **said,
                    "type": "object",
                    "errorMessage": field.repair,
                    "propertyNames": {**key.schema, "errorMessage": repair},
                    "additionalProperties": {**each.schema, "errorMessage": field.repair}
                    if isinstance(each, Form)
                    else self._once(each),
                }
            case Listed(each=each, most=most):
                schema = {"type": "array", "maxItems": most, "items": self._once(each)}
                return {**said, **schema, "errorMessage": field.repair}


def _bounded(form: Form, repair: str) -> dict[str, Any]:
    """Return a form's schema for editors, where a number beyond its bounds gets a sentence of ours.

    An editor shows none for ``minimum`` and ``maximum``, and one for a wrong type: such a number may only be text.
    """
    bounds = {
        other: form.schema[bound]
        for bound, other in (("minimum", "exclusiveMaximum"), ("maximum", "exclusiveMinimum"))
        if bound in form.schema
    }
    if not bounds:
        return dict(form.schema)
    beyond = [{"type": "number", other: value} for other, value in bounds.items()]
    said = {"type": "string", "errorMessage": f"{repair}{form.beyond}"}
    rest = {name: value for name, value in form.schema.items() if name not in ("minimum", "maximum")}
    return {**rest, "if": {"anyOf": beyond}, "then": said}
