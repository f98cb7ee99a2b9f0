"""What files may hold, as data: the kinds of values, the fields of a mapping, and what follows from them.

In: tables of fields (:mod:`reconciler.core.fields` for the configuration, :mod:`reconciler.sandbox.seed` for a seed).
Out: the JSON Schema of such a file, its values as Python has them, and the words for what is wrong. Knows no file, no
YAML and no library that checks a schema.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import Struct

from reconciler.core.diagnostics import Severity
from reconciler.core.text import (
    DAY_MS,
    HOUR_MS,
    LONGEST_LABEL,
    MINUTE_MS,
    format_duration,
    harmless,
    parse_duration,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Container, Mapping, Sequence
    from enum import StrEnum

Kind: TypeAlias = "Form | FieldTable | Keyed"


class Complaint(Struct, frozen=True):
    """What is wrong with a value, and how to repair it: full phrases without a final stop."""

    problem: str
    repair: str
    severity: Severity = Severity.ERROR


def _as_it_is(value: Any) -> Any:
    return value


def no_guess(_value: object, _written: str) -> str:
    """Return no repair."""
    return ""


class Form(Struct, frozen=True, eq=False, kw_only=True):
    """One kind of value that is no mapping: its part of the schema, its name, how it is read and written.

    ``noun`` is what people call it, with its article. ``read`` makes the value that the program uses of one that keeps
    to ``schema``; ``write`` is the way back, to the text in YAML. ``guess`` returns a repair for a wrong value and the
    text it is written as, ``""`` where it has none; ``near`` allows a guess at the nearest word of an enumeration.
    ``wrong`` says what is wrong with a value where "is not" and the noun would be too little.
    """

    noun: str
    schema: Mapping[str, Any]
    read: Callable[[Any], Any] = _as_it_is
    write: Callable[[Any], str] = str
    guess: Callable[[object, str], str] = no_guess
    near: bool = False
    wrong: Callable[[object, str], Complaint] | None = None


class FieldSpec(Struct, frozen=True, eq=False, kw_only=True):
    """One field of a mapping.

    ``attribute`` is its name in the value that the mapping becomes, where that is another one. ``about``, ``examples``
    and ``repair`` are for editors, the docs and messages. ``words`` are other names that people write for it, in lower
    case without ``_`` and ``-``. ``check`` looks at a value that was read and that the schema can't judge, such as a
    limit for a duration written as text; it gets today's date.

    The rest is for fields of a portfolio. ``layered``: the defaults and groups may hold it, too. ``owns_schedule``:
    only an API with (true) or without (false) schedules of portfolios has it, and ``elsewhere`` is said on the other.
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

    ``strays`` are repairs for keys that people write here and that are none, by the key in lower case without ``_`` and
    ``-``, or by key and value (``paused: true``).
    """

    name: str
    fields: tuple[FieldSpec, ...]
    repair: str
    about: str = ""
    examples: Sequence[Any] = ()
    required: tuple[str, ...] = ()
    strays: Mapping[str, str] = {}


class Keyed(Struct, frozen=True, eq=False, kw_only=True):
    """A mapping from names that the author chooses to mappings of one kind."""

    key: Form
    repair: str
    each: FieldTable


@lru_cache(maxsize=64)
def fields_of(table: FieldTable) -> dict[str, FieldSpec]:
    """Return the fields of a table by name, in their order."""
    return {field.name: field for field in table.fields}


@lru_cache(maxsize=64)
def readers_of(table: FieldTable) -> dict[str, tuple[str, Callable[[Any], Any] | None]]:
    """Return for each field that is no mapping the name of its value and how it is read, ``None`` for as it is."""
    return {
        field.name: (field.target, None if field.kind.read is _as_it_is else field.kind.read)
        for field in table.fields
        if isinstance(field.kind, Form)
    }


def kind_at(root: FieldTable, path: Sequence[str]) -> tuple[Kind | None, FieldSpec | None]:
    """Return what stands at ``path`` and the nearest field on the way to it; ``None`` for what no table knows.

    An item of a list belongs to the form of the list.
    """
    kind: Kind | None = root
    field: FieldSpec | None = None
    for name in path:
        if isinstance(kind, FieldTable):
            field = fields_of(kind).get(name)
            kind = field.kind if field else None
        elif not isinstance(kind, Form):
            kind = kind.each if isinstance(kind, Keyed) else None
    return kind, field


def plain_word(key: str) -> str:
    """Return a key as the tables spell other words for it."""
    return key.lower().replace("_", "").replace("-", "")


def stray(table: FieldTable, key: str, value: object) -> str:
    """Return a repair for a key that is none of the table's, ``""`` where there is no good one."""
    word = plain_word(key)
    for known in (f"{word}: {str(value).lower()}", word):
        if known in table.strays:
            return table.strays[known]
    meant = next((field.name for field in table.fields if word in (*field.words, plain_word(field.name))), None)
    return f"did you mean `{meant}`?" if meant else ""


FieldPath: TypeAlias = "tuple[str, ...]"


class TableValues(Struct, frozen=True, kw_only=True):
    """A mapping that was read by its table: values by the fields' targets, and what is wrong with those that were read.

    ``values`` of a table in it are a mapping again, those of keyed entries one by key.
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
    """Return the values of the mapping at ``path``; what lies at a ``broken`` path keeps to no form and is left out."""
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
            case Keyed(each=each) if isinstance(value, dict):
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


# --- the JSON Schema ---


def json_schema(root: FieldTable) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a file; what stands in two places is defined once, under ``$defs``."""
    uses: dict[int, int] = {}
    _count(root, uses)
    shared: dict[str, Any] = {}
    return {**_mapping(root, uses, shared), "$defs": dict(sorted(shared.items()))}


def _count(part: FieldSpec | Kind, uses: dict[int, int]) -> None:
    uses[id(part)] = uses.get(id(part), 0) + 1
    if uses[id(part)] > 1:
        return  # what is in there is defined once with it
    if isinstance(part, FieldSpec):
        _count(part.kind, uses)
    elif isinstance(part, Keyed):
        _count(part.each, uses)
    elif isinstance(part, FieldTable):
        for field in part.fields:
            _count(field, uses)


def _once(part: FieldSpec | FieldTable, uses: dict[int, int], shared: dict[str, Any]) -> dict[str, Any]:
    if uses[id(part)] > 1 and part.name in shared:
        return {"$ref": f"#/$defs/{part.name}"}
    made = _member(part, uses, shared) if isinstance(part, FieldSpec) else _mapping(part, uses, shared)
    if uses[id(part)] == 1:
        return made
    shared[part.name] = made
    return {"$ref": f"#/$defs/{part.name}"}


def _mapping(table: FieldTable, uses: dict[int, int], shared: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": table.about,
        "type": "object",
        **({"required": list(table.required)} if table.required else {}),
        "additionalProperties": False,
        "properties": {field.name: _once(field, uses, shared) for field in table.fields},
        "examples": list(table.examples),
    }


def _member(field: FieldSpec, uses: dict[int, int], shared: dict[str, Any]) -> dict[str, Any]:
    said = {"description": field.about, "examples": list(field.examples)}
    match field.kind:
        case Form(schema=schema):
            return {**said, **schema, "errorMessage": field.repair}
        case FieldTable() as table:
            return {**_once(table, uses, shared), **said}
        case Keyed(key=key, each=each, repair=repair):
            return {
                **said,
                "type": "object",
                "propertyNames": {**key.schema, "errorMessage": repair},
                "additionalProperties": _once(each, uses, shared),
            }


# --- words ---

_LONGEST_SHOWN: Final = 60
_SECRET: Final = re.compile(r"gldr_|://[^\s/]*@", re.IGNORECASE)


def shown_value(value: object, written: str = "") -> str:
    """Return a value as it is ``written``, else as YAML would write it: harmless and short, never what may be a key."""
    match value:
        case None:
            return "null"
        case dict() | list():
            return noun_of(value)
        case bool():
            text = written or str(value).lower()
        case _:
            text = written or str(value)
    return "…" if _SECRET.search(text) else harmless(text, longest=_LONGEST_SHOWN)


def noun_of(value: object) -> str:
    """Return what people call the kind of a value, with its article."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return "text"


def _in_quotes(value: object, written: str) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f'put it in quotes: "{shown_value(value, written)}"' if number else ""


# --- the kinds of values ---

_ID: Final = {"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,128}$(?!\n)"}
_YES: Final = frozenset({"yes", "on", "y", "true", "1"})
_NO: Final = frozenset({"no", "off", "n", "false", "0"})
_DURATION: Final = (
    r"^(?:hourly|daily|weekly"
    r"|(?=[0-9])(?:[0-9]+w)?(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m(?!s))?(?:[0-9]+s)?(?:[0-9]+ms)?"
    r"|P(?=[0-9T])(?:[0-9]+W)?(?:[0-9]+D)?(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)$(?!\n)"
)
_CLOCK: Final = re.compile(r"([0-9]{1,4}):([0-5][0-9])(?::00)?")
_DECIMAL_HOURS: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,3})\s*h")
_UNIT_WORDS: Final = (
    (re.compile(r"(?:weeks|week|wks|wk)"), "w"),
    (re.compile(r"(?:days|day)"), "d"),
    (re.compile(r"(?:hours|hour|hrs|hr)"), "h"),
    (re.compile(r"(?:minutes|minute|mins|min)"), "m"),
    (re.compile(r"(?:seconds|second|secs|sec)"), "s"),
    (re.compile(r"[\s,]|and"), ""),
)


def id_form(noun: str) -> Form:
    """Return the form of one of Glider's ids."""
    return Form(noun=noun, schema=_ID)


def label_form(*, longest: int = LONGEST_LABEL, without: str = "", why: str = "") -> Form:
    """Return the form of one line of visible text that does not hold ``without``; ``why`` says why not."""
    escaped = without.replace("[", r"\[")  # no more than that: editors read the pattern, too, and know fewer escapes
    unlike = rf"(?!.*{escaped})" if without else ""

    def wrong(value: object, written: str) -> Complaint:
        if not isinstance(value, str):
            return Complaint(f"`{shown_value(value, written)}` is {noun_of(value)}, not text", "put it in quotes")
        if len(value) > longest:
            return Complaint(f"the text is {len(value)} characters long", f"write at most {longest}")
        if not value.strip():
            return Complaint("the text is blank", "write something, or leave the line out")
        if without and without in value:
            return Complaint(f"the text holds `{without}`, {why}", "leave the mark out; it is added")
        return Complaint("the text holds a line break or a tab", "write it on one line; with `>`, write `>-`")

    pattern = rf"^(?=.*\S){unlike}[^\t\r\n]*$(?!\n)"
    schema = {"type": "string", "maxLength": longest, "pattern": pattern}
    return Form(noun="text", schema=schema, wrong=wrong)


def word_form(noun: str, words: type[StrEnum], *, guess: Callable[[object, str], str] = no_guess, near: bool) -> Form:
    """Return the form of one of these words; ``near`` allows a guess at the nearest of them."""
    known = {word.value: word for word in words}
    return Form(
        noun=noun, schema={"type": "string", "enum": list(known)}, read=known.__getitem__, guess=guess, near=near
    )


def _yes_or_no(_value: object, written: str) -> str:
    word = written.lower()
    return "write `true`" if word in _YES else "write `false`" if word in _NO else ""


FLAG: Final = Form(
    noun="true or false",
    schema={"type": "boolean"},
    write=lambda value: "true" if value else "false",
    guess=_yes_or_no,
)


def number_form(noun: str, *, least: int, most: int, whole: bool = False) -> Form:
    """Return the form of a number in this range."""

    def guess(value: object, written: str) -> str:
        return "remove the quotes" if isinstance(value, str) and written.replace(".", "", 1).isdecimal() else ""

    schema = {"type": "integer" if whole else "number", "minimum": least, "maximum": most}
    read: Callable[[Any], Any] = int if whole else float
    return Form(noun=noun, schema=schema, read=read, write=lambda value: f"{value:g}", guess=guess)


def duration_form(*, least: int = 0, most: int) -> Form:
    """Return the form of a duration in this range of milliseconds; the range holds for bare numbers alone.

    Text is compared with it by the field's ``check``: no schema can.
    """

    def fits(text: str) -> bool:
        try:
            return least <= parse_duration(text) <= most
        except ValueError:
            return False

    def guess(value: object, written: str) -> str:
        if not isinstance(value, (str, float)):
            return ""
        text = written.strip()
        if text.isdecimal() and text.isascii():
            if isinstance(value, str) and str(int(text)) == text and least <= int(text) <= most:
                return "remove the quotes: a bare number is milliseconds"
            hours = f"{int(text[:9])}h"
            example = hours if int(text[:9]) and fits(hours) else "24h"
            return f"write it with a unit, such as {example}; milliseconds stand bare, without a leading 0"
        return _other_spelling(text, fits)

    return Form(
        noun="a duration",
        schema={
            "type": ["string", "integer"],
            "maxLength": 40,
            "pattern": _DURATION,
            "minimum": least,
            "maximum": most,
        },
        read=milliseconds,
        write=format_duration,
        guess=guess,
    )


def milliseconds(value: Any) -> int:
    """Return the milliseconds of a duration that keeps to the schema's pattern; 1.0 counts as an integer."""
    return parse_duration(int(value) if isinstance(value, float) else value)


def _other_spelling(written: str, fits: Callable[[str], bool]) -> str:
    """Return a repair for what is nearly a duration; none that would be refused in turn."""
    text = written.lower()
    if clock := _CLOCK.fullmatch(text):
        hours, minutes = int(clock[1]), int(clock[2])
        found = f"{hours}h{minutes}m" if minutes else f"{hours}h"
        return f"write {found}" if fits(found) else ""
    if decimal := _DECIMAL_HOURS.fullmatch(text):
        ms = int(decimal[1] + decimal[2]) * HOUR_MS
        scale = 10 ** len(decimal[2])
        return f"write {format_duration(ms // scale)}" if ms % (scale * MINUTE_MS) == 0 else ""
    if "month" in text or "year" in text or re.fullmatch(r"[0-9]+\s*(M|mo|y|Y)", written):
        return "write days, such as 30d: months and years have no fixed length"
    for pattern, unit in _UNIT_WORDS:
        text = pattern.sub(unit, text)
    return f"write {text}" if fits(text) else ""


def range_check(form: Form) -> Callable[[Any, dt.date], Complaint | None]:
    """Return the check that a duration that was read, written as text or not, lies in the range of its form."""
    least, most = form.schema["minimum"], form.schema["maximum"]

    def check(ms: int, _today: dt.date) -> Complaint | None:
        if least <= ms <= most:
            return None
        side = f"below {format_duration(least)}" if ms < least else f"above {format_duration(most)}"
        said = format_duration(ms) if 0 <= ms <= 1000 * 365 * DAY_MS else "this"
        return Complaint(f"{said} is {side}", f"write {format_duration(least)} to {format_duration(most)}")

    return check


GROUP_NAME: Final = Form(
    noun="the name of a group",
    schema={"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$(?!\n)"},
    guess=_in_quotes,
)


def _chain(value: object, written: str) -> str:
    if isinstance(value, str):
        return f"write `{shown_value(value.lower())}`" if value.lower() != value else ""
    return _in_quotes(value, written)


CHAIN: Final = Form(
    noun="a chain", schema={"type": "string", "pattern": r"^[a-z0-9][a-z0-9-]{0,63}$(?!\n)"}, guess=_chain
)
