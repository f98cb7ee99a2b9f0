"""The kinds of values that files may hold, called forms: the schema of each, how it is read and written, its messages.

In: a value of a file, or a bound. Out: forms, from which the tables of fields are made (:mod:`reconciler.core.tables`),
and the words for a value that does not fit its form. This module knows no field, no file and no YAML.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

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
    from collections.abc import Callable, Mapping
    from enum import StrEnum


class Complaint(Struct, frozen=True):
    """What is wrong with a value, and how to repair it: full phrases without a final stop."""

    problem: str
    repair: str
    severity: Severity = Severity.ERROR


def as_it_is(value: Any) -> Any:
    """Return the value: it is used as the file has it."""
    return value


def no_guess(_value: object, _written: str) -> str:
    """Return no repair."""
    return ""


class Form(Struct, frozen=True, eq=False, kw_only=True):
    """One kind of value other than a mapping: its schema, its name, how it is read and written.

    ``noun`` is what people call it, with its article. ``read`` turns a value that fits ``schema`` into the one that the
    program uses; ``write`` turns that back into the text in YAML. ``guess`` gets a wrong value and its text in the
    file, and returns a repair, or ``""`` if it has none; ``near`` lets it suggest the nearest word of an enumeration.
    ``wrong`` says what is wrong with a value, for cases in which "is not" and the noun would say too little. ``beyond``
    is what an editor says besides of a number that is out of bounds.
    """

    noun: str
    schema: Mapping[str, Any]
    read: Callable[[Any], Any] = as_it_is
    write: Callable[[Any], str] = str
    guess: Callable[[object, str], str] = no_guess
    near: bool = False
    wrong: Callable[[object, str], Complaint] | None = None
    beyond: str = ""


_LONGEST_SHOWN: Final = 60
_LIKE_A_KEY: Final = r"(?i)gldr_|://[^\s/]*@"


def shown_value(value: object, written: str = "") -> str:
    """Return a value as it is ``written``, else as YAML would write it; short, harmless, and never a possible key."""
    match value:
        case None:
            return "null"
        case dict() | list():
            return noun_of(value)
        case bool():
            text = written or str(value).lower()
        case _:
            text = written or str(value)
    return "…" if re.search(_LIKE_A_KEY, text) else harmless(text, longest=_LONGEST_SHOWN)


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


_ID: Final = {"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,128}$(?!\n)"}
_YES: Final = frozenset({"yes", "on", "y", "true", "1"})
_NO: Final = frozenset({"no", "off", "n", "false", "0"})
_DURATION: Final = (
    r"^(?:hourly|daily|weekly"
    r"|(?=[0-9])(?:[0-9]+w)?(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m(?!s))?(?:[0-9]+s)?(?:[0-9]+ms)?"
    r"|P(?=[0-9T])(?:[0-9]+W)?(?:[0-9]+D)?(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)$(?!\n)"
)
_CLOCK: Final = r"([0-9]{1,4}):([0-5][0-9])(?::00)?"
_DECIMAL_HOURS: Final = r"([0-9]{1,4})\.([0-9]{1,3})\s*h"
_CRON: Final = r"@[a-z]+|[0-9*/,-]+(?: +[0-9a-z*/,#?-]+){4,5}"
_UNIT_WORDS: Final = (
    (r"(?:weeks|week|wks|wk)", "w"),
    (r"(?:days|day)", "d"),
    (r"(?:hours|hour|hrs|hr)", "h"),
    (r"(?:minutes|minute|mins|min)", "m"),
    (r"(?:seconds|second|secs|sec)", "s"),
    (r"[\s,]|and", ""),
)


def id_form(noun: str) -> Form:
    """Return the form of one of Glider's ids."""
    return Form(noun=noun, schema=_ID)


def _no_text(value: object, written: str) -> Complaint:
    shown = shown_value(value, written)
    return Complaint(f"`{shown}` is {noun_of(value)}, not text", f'put it in quotes: "{shown}"')


def label_form(*, longest: int = LONGEST_LABEL, without: str = "", why: str = "") -> Form:
    """Return the form of one line of visible text. It must not hold ``without``; ``why`` says what that is."""
    escaped = without.replace("[", r"\[")  # no more than that: editors read the pattern, too, and know fewer escapes
    unlike = rf"(?!.*{escaped})" if without else ""

    def wrong(value: object, written: str) -> Complaint:
        if not isinstance(value, str):
            return _no_text(value, written)
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
    """Return the form of one of these words; ``near`` allows it to suggest the nearest of them."""
    known = {word.value: word for word in words}

    def meant(value: object, written: str) -> str:
        word = written.strip().lower()
        return f"write `{word}`" if word in known else guess(value, written)

    return Form(
        noun=noun, schema={"type": "string", "enum": list(known)}, read=known.__getitem__, guess=meant, near=near
    )


def _yes_or_no(_value: object, written: str) -> str:
    word = written.lower()
    if written in ("true", "false"):  # quoted, else they would not have come here
        return "remove the quotes"
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
    """Return the form of a duration in this range of milliseconds. Its schema checks the range of bare numbers only.

    No schema can do that for a duration written as text; the field's ``check`` does.
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
            number = int(text[:16])  # Python may refuse to read longer ones, and so many digits are beyond `most`
            if isinstance(value, str) and (text == "0" or text[0] != "0") and least <= number <= most:
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
        beyond="; a bare number is milliseconds",
    )


AUTO: Final = "auto"
"""What an offset may be instead of a duration: made of the portfolio's id (:func:`auto_offset`)."""


def offset_form(*, most: int) -> Form:
    """Return the form of an offset: a duration, or :data:`AUTO`, which is read as it is."""
    form = duration_form(most=most)

    def guess(value: object, written: str) -> str:
        return f"write `{AUTO}`" if written.strip().lower() == AUTO else form.guess(value, written)

    return replace(
        form,
        noun="a duration or `auto`",
        schema={**form.schema, "pattern": _DURATION.replace("(?:", f"(?:{AUTO}|", 1)},
        read=lambda value: AUTO if value == AUTO else milliseconds(value),
        write=lambda value: AUTO if value == AUTO else format_duration(value),
        guess=guess,
    )


def auto_offset(portfolio: str, interval_ms: int) -> int:
    """Return the offset in milliseconds that `auto` is for a portfolio: the same on every machine and for ever.

    The first 8 bytes of the SHA-256 of its id, as a big-endian number, modulo the whole minutes of the interval: so
    portfolios of one interval are spread evenly over its minutes.
    """
    from hashlib import sha256

    minutes = interval_ms // MINUTE_MS
    return int.from_bytes(sha256(portfolio.encode("ascii")).digest()[:8], "big") % minutes * MINUTE_MS


def milliseconds(value: Any) -> int:
    """Return the milliseconds of a duration that fits the schema's pattern; 1.0 counts as an integer."""
    return parse_duration(int(value) if isinstance(value, float) else value)


def _other_spelling(written: str, fits: Callable[[str], bool]) -> str:
    """Return a repair for what is nearly a duration, but only one that would be accepted."""
    text = written.lower()
    if clock := re.fullmatch(_CLOCK, text):
        hours, minutes = int(clock[1]), int(clock[2])
        found = f"{hours}h{minutes}m" if minutes else f"{hours}h"
        return f"write {found}" if fits(found) else ""
    if decimal := re.fullmatch(_DECIMAL_HOURS, text):
        ms = int(decimal[1] + decimal[2]) * HOUR_MS
        scale = 10 ** len(decimal[2])
        return f"write {format_duration(ms // scale)}" if ms % (scale * MINUTE_MS) == 0 else ""
    if re.fullmatch(_CRON, text):
        return "write how much time lies between two runs, such as 24h: a cron line is not read"
    if "month" in text or "year" in text or re.fullmatch(r"[0-9]+\s*(M|mo|y|Y)", written):
        return "write days, such as 30d: months and years have no fixed length"
    for pattern, unit in _UNIT_WORDS:
        text = re.sub(pattern, unit, text)
    return f"write {text}" if fits(text) else ""


def range_check(form: Form) -> Callable[[Any, dt.date], Complaint | None]:
    """Return a check that a duration lies in the range of its form, whether it was written as text or not."""
    least, most = form.schema["minimum"], form.schema["maximum"]

    def check(ms: int, _today: dt.date) -> Complaint | None:
        if least <= ms <= most:
            return None
        side = f"below {format_duration(least)}" if ms < least else f"above {format_duration(most)}"
        said = format_duration(ms) if 0 <= ms <= 1000 * 365 * DAY_MS else "this"
        return Complaint(f"{said} is {side}", f"write {format_duration(least)} to {format_duration(most)}")

    return check


def _wrong_label(value: object, written: str) -> Complaint:
    if not isinstance(value, str):
        return _no_text(value, written)
    return Complaint(f"`{shown_value(value)}` is not the value of a label", f"write {_OF_LABELS}")


_OF_LABELS: Final = "1 to 63 of A-Z a-z 0-9 _ . / : @ + -"  # no space or comma: lists of terms are divided by these
LABEL_KEY: Final = Form(
    noun="the name of a label",
    schema={"type": "string", "pattern": r"^(?!(?:group|id|name)$)[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$(?!\n)"},
)
LABEL_VALUE: Final = Form(
    noun="the value of a label",
    schema={"type": "string", "pattern": r"^[A-Za-z0-9_./:@+-]{1,63}$(?!\n)"},
    wrong=_wrong_label,
)
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


def list_form(item: Form, *, most: int) -> Form:
    """Return the form of one text, or of a list of 1 to ``most`` of them; it is read as a tuple."""
    return replace(
        item,
        schema={**item.schema, "type": ["string", "array"], "items": item.schema, "minItems": 1, "maxItems": most},
        read=lambda value: tuple(map(item.read, value if isinstance(value, list) else [value])),
        write=lambda values: ", ".join(map(item.write, values)),
    )


_TIME: Final = (
    r"2[0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_NEARLY_A_TIME: Final = (
    r"(?i)([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ] *([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)? *(Z|UTC|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def read_time(text: str) -> int | None:
    """Return the UTC epoch milliseconds of a time that fits :data:`TIME`; ``None`` for a day that no calendar has."""
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def _other_time(_value: object, written: str) -> str:
    """Return a repair for what is nearly a time with a zone, but only one that would be accepted."""
    found = re.fullmatch(_NEARLY_A_TIME, written.strip().strip("'\""))
    if found is None:
        return ""
    day, clock, seconds, zone = found.groups()
    zone = (zone or "Z").upper().replace("UTC", "Z")
    zone = f"{zone[:3]}:{zone[-2:]}" if len(zone) > 1 else zone
    text = f"{day}T{clock or '00:00'}{seconds or ':00'}{zone}"
    if not re.fullmatch(_TIME, text):
        return ""
    yours = f"; in another zone, end it with the offset there, as in `{text[:-1]}+01:00`"
    return f"write `{text}`{'' if found[4] else yours}"


TIME: Final = Form(
    noun="a time with its zone",
    schema={"type": "string", "pattern": rf"^{_TIME}$(?!\n)"},
    read=read_time,
    write=lambda ms: datetime.fromtimestamp(ms / 1000, tz=UTC).isoformat(),
    guess=_other_time,
)
"""A time as RFC 3339 writes it, in this millennium; read as UTC epoch milliseconds."""
