"""What is taken for a value of a saved file and what is not, and what every kind of file is held to."""

from __future__ import annotations

import json
from math import inf, nan
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, field

from reconciler import TOOL
from reconciler.apply.journalcarry import Export
from reconciler.core.codec import (
    LATEST_MS,
    LONGEST_MS,
    Amount,
    AtMs,
    Count,
    Interval,
    Milliseconds,
    Moment,
    SavedFormat,
    Shown,
    _moments_in,
    dump,
    from_iso,
    iso,
    json_text,
    load,
    read_document,
)
from reconciler.core.errors import ApiError, FailureKind, LiveInvalid
from reconciler.core.halt import Halt
from reconciler.core.model import Cadence, SavedAddress, SavedPortfolioId
from reconciler.core.plan import Plan
from reconciler.core.text import LONGEST_TEXT
from tests.support import NOON_MS

if TYPE_CHECKING:
    from reconciler.core.codec import Moment as Later

NOON = "2026-11-22T12:00:00.000Z"
Texts = tuple[str, ...]
MaybeText = str | None
MaybeNumber = int | None
MaybeMoment = Moment | None
MaybeShown = Shown | None


class Undone(Struct, frozen=True):
    since: Later


TAKEN: list[tuple[Any, object, object]] = [
    (str, "", ""),
    (MaybeText, None, None),
    (MaybeText, "a", "a"),
    (Texts, ["a", ""], ("a", "")),
    (Texts, [], ()),
    (int, -3, -3),
    (MaybeNumber, None, None),
    (MaybeNumber, 0, 0),
    (Amount, 2, 2.0),
    (Amount, 0.5, 0.5),
    (Amount, -1e18, -1e18),
    (bool, True, True),
    (bool, False, False),
    (SavedPortfolioId, "aA0_-", "aA0_-"),
    (SavedPortfolioId, "x" * 128, "x" * 128),
    (SavedAddress, "x" * 128, "x" * 128),
    (SavedAddress, "strategies/" + "x" * 128, "strategies/" + "x" * 128),
    (Count, 0, 0),
    (Count, LONGEST_MS, LONGEST_MS),
    (Milliseconds, 0, 0),
    (Milliseconds, LONGEST_MS, LONGEST_MS),
    (Interval, 1, 1),
    (Interval, LONGEST_MS, LONGEST_MS),
    (AtMs, 0, 0),
    (AtMs, LATEST_MS, LATEST_MS),
    (Moment, NOON, NOON_MS),
    (MaybeMoment, None, None),
    (MaybeMoment, NOON, NOON_MS),
    (Shown, "größer", "größer"),
    (Shown, "\x1b[2J", r"\u{1b}[2J"),
    (MaybeShown, None, None),
    (MaybeShown, "\u202e", r"\u{202e}"),
    (Cadence, "daily", Cadence.DAILY),
]


@pytest.mark.parametrize(("kind", "value", "expected"), TAKEN)
def test_what_is_taken(kind: Any, value: object, expected: object) -> None:
    """The value comes out as it is, with its type; an amount is no whole number any more, and a moment is plain."""
    found = load(value, kind)
    assert (found, type(found)) == (expected, type(expected))


REFUSED: list[tuple[Any, object]] = [
    *((str, value) for value in (None, 1, ["a"])),
    (MaybeText, 1),
    *((Texts, value) for value in (["a", None], None, "ab", {"a": 1})),
    *((int, value) for value in (None, "1", 1.0, 1.5, True)),
    (MaybeNumber, False),
    *((Amount, value) for value in (None, "1", True, inf, -inf, nan, 2e18)),
    *((bool, value) for value in (None, 0, 1, "true")),
    *((SavedPortfolioId, value) for value in (7, None, "", "a/b", "x" * 129, "ä", "a\n", "\na", "strategies/a")),
    *((SavedAddress, value) for value in (7, None, "", "a/b", "x" * 129, "ä", "a\n", "strategies/", "strategies/a/b")),
    *((SavedAddress, value) for value in ("strategies/a\n", "/a", "Strategies/a", "strategies/" + "x" * 129)),
    *((Count, value) for value in (-1, LONGEST_MS + 1, 1.0, True)),
    *((Milliseconds, value) for value in (-1, LONGEST_MS + 1)),
    *((Interval, value) for value in (0, -1, LONGEST_MS + 1)),
    *((AtMs, value) for value in (-1, LATEST_MS + 1, NOON)),
    *((Moment, value) for value in (None, NOON_MS, "soon", "2026-11-22T12:00:00", "2026-11-22T13:00:00.000+01:00")),
    (MaybeMoment, NOON_MS),
    *((Shown, value) for value in (None, 5, ["a"])),
    *((Cadence, value) for value in (None, "yearly", 1)),
]


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_what_is_refused(kind: Any, value: object) -> None:
    """Anything else is an error, whatever it looks like."""
    with pytest.raises(ValueError, match=r"^(Expected|Invalid|not a)"):
        load(value, kind)


def test_a_text_from_a_file_has_a_bound() -> None:
    """One that is harmless already may be as long as all its escapes; the rest is cut."""
    longest = 16 * LONGEST_TEXT
    assert load("x" * longest, Shown) == "x" * longest
    assert load("x" * (longest + 1), Shown) == "x" * (longest - 1) + "…"


class Inner(Struct, frozen=True, kw_only=True):
    at_ms: Moment | None = field(default=None, name="at")
    failure: ApiError | None = None


class Outer(Struct, frozen=True, kw_only=True):
    made_ms: Moment = field(name="made_at")
    word: Shown = ""
    cadence: Cadence | None = None
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    size: Annotated[int, Meta(ge=1)] = 1


Inners = tuple[Inner, ...]


class Further(Outer, frozen=True, kw_only=True):
    later_ms: MaybeMoment = field(default=None, name="later_at")
    named: Inners = ()


FAILURE = ApiError(FailureKind.SERVER, "it broke", status=500, code="E1", request_id="r1", correlation_id="c1")
WHOLE = Outer(
    made_ms=NOON_MS,
    word="größer",
    cadence=Cadence.DAILY,
    inner=Inner(at_ms=0, failure=FAILURE),
    many=(Inner(), Inner(at_ms=NOON_MS + 1)),
    size=3,
)


def test_a_value_is_saved_in_the_order_of_its_fields() -> None:
    """Every moment in it is a text, wherever it stands, and what failed tells what support needs."""
    written = dump(WHOLE)
    assert json.loads(json.dumps(written)) == {
        "made_at": NOON,
        "word": "größer",
        "cadence": "daily",
        "inner": {
            "at": "1970-01-01T00:00:00.000Z",
            "failure": {
                "kind": "server",
                "message": "it broke",
                "status": 500,
                "code": "E1",
                "request_id": "r1",
                "correlation_id": "c1",
            },
        },
        "many": [{"at": None, "failure": None}, {"at": "2026-11-22T12:00:00.001Z", "failure": None}],
        "size": 3,
    }
    assert list(written) == ["made_at", "word", "cadence", "inner", "many", "size"]


def moments_in(kind: type[Struct]) -> set[str]:
    """Return where moments stand in a type, from its evaluated annotations."""
    hints = get_type_hints(kind, include_extras=True)
    found = set()
    for one in msgspec.structs.fields(kind):
        for part in parts_of(hints[one.name]):
            if part is Moment:
                found.add(one.encode_name)
            elif isinstance(part, type) and issubclass(part, Struct):
                found |= {f"{one.encode_name}.{inside}" for inside in moments_in(part)}
    return found


def parts_of(hint: Any) -> set[Any]:
    return {hint}.union(*map(parts_of, get_args(hint)))


def flat(moments: dict[str, Any]) -> set[str]:
    return {
        f"{key}.{inside}" if inside else key
        for key, deeper in moments.items()
        for inside in (flat(deeper) if deeper is not None else {""})
    }


@pytest.mark.parametrize("kind", [Plan, Halt, Export, Outer, Further])
def test_every_moment_is_found_whatever_names_it(kind: type[Struct]) -> None:
    """The words of annotations tell the same as annotations that are evaluated."""
    expected = moments_in(kind)
    assert expected
    assert flat(_moments_in(kind)) == expected


def test_a_value_is_read_back() -> None:
    """The same one, with what it does not know passed over, and with a failure that tells the same."""
    again = load({**json.loads(json.dumps(dump(WHOLE))), "weather": "fine"}, Outer)
    assert again.inner is not None
    assert again.inner.failure is not None
    assert vars(again.inner.failure) == vars(FAILURE)
    assert (again.made_ms, again.word, again.cadence, again.size) == (NOON_MS, "größer", Cadence.DAILY, 3)
    assert (again.inner.at_ms, again.many) == (0, WHOLE.many)
    assert load({"made_at": NOON}, Outer) == Outer(made_ms=NOON_MS)


def test_what_nobody_says_how_to_save_is_a_mistake_of_ours() -> None:
    """It is never saved as something else."""

    class Odd(Struct):
        what: object

    with pytest.raises(NotImplementedError, match="nothing says how a complex is saved"):
        dump(Odd(1j))


@pytest.mark.parametrize(
    "content", ['{"a": 1, "a": 1}', '[{"b": {"a": null, "a": 2}}]', '{"a": 1, "\\u0061": 2}', b'{"": 1, "": 1}']
)
def test_a_key_twice_is_refused(content: str | bytes) -> None:
    """Which of two values counts is nobody's guess, wherever the object stands and however the key is spelled."""
    with pytest.raises(ValueError, match="a key twice"):
        read_document(content)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(name: str) -> None:
    """JSON has no such words, though Python reads and writes them."""
    with pytest.raises(ValueError, match=f"^{name} is not a number$"):
        read_document(f'{{"a": [{name}]}}')


def test_a_document_is_read() -> None:
    """One key in several objects is no key twice."""
    assert read_document(b'{"a": [{"b": 1}, {"b": 2}], "b": 3}') == {"a": [{"b": 1}, {"b": 2}], "b": 3}


NOTES = SavedFormat(
    file="the note",
    what="the note",
    is_none="a note",
    version="4.2",
    command="reconciler note FILE",
    largest=1024 * 1024,
    key="text",
    first="text",
    error=LiveInvalid,
)
WAY_OUT = "It is cut, edited or something else. Make it again with `reconciler note FILE`."


def refusal(content: str | bytes) -> tuple[str, str]:
    with pytest.raises(LiveInvalid) as refused:
        NOTES.parse(content, lambda document: document["text"])
    return refused.value.summary, refused.value.detail


def test_a_file_says_what_made_it() -> None:
    """Its format and the tool come first, then the rest as it was given."""
    written = NOTES.text({"text": "größer"})
    assert written == f'{{\n  "format_version": "4.2",\n  "tool": "{TOOL}",\n  "text": "größer"\n}}\n'
    assert NOTES.parse(written, lambda document: document["text"]) == "größer"
    assert NOTES.parse(written.encode(), lambda document: document["text"]) == "größer"


@pytest.mark.parametrize("version", ["4.0", "4.2", "4.9", "4", "4.1.7"])
def test_minor_versions_are_read(version: str) -> None:
    """They only add keys."""
    assert (
        NOTES.parse(json.dumps({"format_version": version, "text": "x", "more": 1}), lambda found: found["text"]) == "x"
    )


@pytest.mark.parametrize(
    ("version", "named"), [("3.9", "3.9"), ("5.0", "5.0"), ("40.0", "40.0"), (None, "None"), ("x" * 21, "x" * 20)]
)
def test_another_major_version_is_refused(version: object, named: str) -> None:
    """By its number, of which no more than 20 characters are repeated."""
    assert refusal(json.dumps({"format_version": version, "text": "x"})) == (
        f"the note has format version {named}",
        f"This is {TOOL}, which reads version 4.2. Make the note again with this version.",
    )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"note"',
        b"\xff\xfe\xff",
        "{}",
        "[" * 100_000,
        '{"format_version": "4.2"}',
        "9" * 5000,
    ],
)
def test_what_is_no_such_file_is_refused(content: str | bytes) -> None:
    """With the way to make one."""
    assert refusal(content) == ("the file is not a note", WAY_OUT)


def test_a_file_that_is_too_large_is_refused_unread() -> None:
    """The bound itself is still allowed."""
    written = NOTES.text({"text": "x"})
    assert NOTES.parse(written + " " * (NOTES.largest - len(written)), lambda found: found["text"]) == "x"
    assert refusal(" " * (NOTES.largest + 1)) == ("the note is larger than 1 MiB", WAY_OUT)


def test_moments_are_what_is_written() -> None:
    """Both ways, to the millisecond."""
    assert from_iso(iso(NOON_MS + 7)) == NOON_MS + 7


def test_a_type_that_is_not_there_at_run_time_is_told() -> None:
    """It might be a moment, which would be saved as a bare number."""
    with pytest.raises(NameError, match=r"Undone\.since: Later has to be imported at run time"):
        dump(Undone(since=NOON_MS))


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=12,
)


@given(document=st.dictionaries(st.text(st.characters()), JSON_VALUES, max_size=4))
def test_text_is_indented_as_the_standard_library_does(document: dict[str, object]) -> None:
    """Byte for byte, also with a text that UTF-8 can't hold."""
    assert json_text(document) == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
