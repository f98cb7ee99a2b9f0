"""What is refused while reading YAML: one case for each, with its place and its sentence."""

from __future__ import annotations

import pytest
import yaml

from reconciler.config import source
from reconciler.config.source import plain_scalar, read_yaml

VALID = "version: 1\nportfolios:\n  a1: {state: paused}\n"

REFUSALS = {
    "duplicate key": (
        "version: 1\nportfolios:\n  a1:\n    state: active\n    state: paused\n",
        ["f:5:5: portfolios.a1.state: the key `state` stands here a second time; the first is at f:4:5"],
    ),
    "three times": (
        "a: 1\na: 2\na: 3\n",
        ["f:2:1: a: the key `a` stands here a second", "f:3:1: a: the key `a` stands"],
    ),
    "duplicate section": ("version: 1\nversion: 1\n", ["f:2:1: version: the key `version` stands here a second time"]),
    "anchor": ("a: &x 1\n", ["f:1:4: a: the anchor `&x` is not read; write the value out"]),
    "anchor on a mapping": ("a: &x\n  b: 1\n", ["f:1:4: a: the anchor `&x` is not read"]),
    "alias": ("a: *x\n", ["f:1:4: a: the alias `*x` is not read; write the value out"]),
    "alias as a key": ("*x : 1\n", ["f:1:1: the alias `*x` is not read"]),
    "merge key": (
        "a:\n  <<: {b: 1}\n",
        ["f:2:3: a.<<: merge keys are not read; write the fields out, or use `groups`"],
    ),
    "tag": ("a: !!str 1\n", ["f:1:4: a: the tag `!!str` is not read; remove it"]),
    "tag on a mapping": ("a: !x {b: 1}\n", ["f:1:4: a: the tag `!x` is not read"]),
    "non-specific tag": ("a: ! 1\n", ["f:1:4: a: the tag `!` is not read"]),
    "two documents": ("a: 1\n---\nb: 1\n", ["f:2:1: a second document begins here; move it into a file of its own"]),
    "directive": ("%YAML 1.1\n---\na: 1\n", ["f:1:1: the directive above is not read"]),
    "NUL": ("a: x\0y\n", ["f:1:5: the character U+0000 is invisible or reorders text; remove it"]),
    "escape character": ("a: 1\nb: \x1b[2J\n", ["f:2:4: the character U+001B is invisible"]),
    "bidi": ("a: x\n# \u202e\u202e\n", ["f:2:3: the character U+202E is invisible or reorders text (2 such"]),
    "line separator": ("a: x\u2028b: y\n", ["f:1:5: the character U+2028 is invisible"]),
    "next line": ("a: x\x85b: y\n", ["f:1:5: the character U+0085 is invisible"]),
    "escaped NUL": ('a: "\\0"\n', ["f:1:4: a: the escape for U+0000 names a character that is invisible"]),
    "escaped bidi in a key": ('"\\u202e": 1\n', ["f:1:1: the escape for U+202E names"]),
    "byte order mark inside": ("a: \ufeffx\n", ["f:1:4: the character U+FEFF is invisible"]),
    "not UTF-8": (b"a: 1\nb: \xff\n", ["f:2:4: the byte 0xff is not UTF-8; save the file as UTF-8"]),
    "UTF-16": ("a: 1\n".encode("utf-16"), ["f:1:1: the byte 0xff is not UTF-8"]),
    "empty": ("", ["f:1:1: the file is empty; begin it with `version: 1`"]),
    "comment only": ("# nothing\n", ["f:1:1: the file is empty"]),
    "empty document": ("---\n", ["f:1:1: the file is empty"]),
    "list": ("- a\n", ["f:1:1: the file holds a list, not sections"]),
    "text": ("hello\n", ["f:1:1: the file holds a single value, not sections"]),
    "number as a key": ("a:\n  012: 1\n  12: 2\n", ['f:3:3: a.12: the key 12 is not text; write it as "12"']),
    "float as a key": (
        "a:\n  12e45678: 1\n",
        ['f:2:3: a.12e45678: the key 12e45678 is not text; write it as "12e45678"'],
    ),
    "true as a key": ("true: 1\n", ['f:1:1: true: the key true is not text; write it as "true"']),
    "null as a key": ("~: 1\n", ["f:1:1: ~: the key ~ is not text"]),
    "mapping as a key": ("{a: 1}: 1\n", ["f:1:1: a key must be text, not a mapping or a list"]),
    "list as a key": ("a:\n  ? [b]\n  : 1\n", ["f:2:5: a: a key must be text, not a mapping or a list"]),
    "deep": ("a: " + "[" * 40 + "]" * 40 + "\n", ["f:1:35: nested deeper than 32 levels"]),
    "colon in text": ("a: b: c\n", ["f:1:5: this is not YAML: a `:` stands where no key can be"]),
    "tab": (
        "a:\n\tb: 1\n",
        ["f:2:1: this is not YAML: a tab can't indent; indent with spaces"],
    ),
    "merge conflict": (
        "a:\n<<<<<<< HEAD\n  b: 1\n=======\n  b: 2\n>>>>>>> topic\n",
        ["f:2:1: this marks a merge conflict that is not resolved; keep what is right of both sides, and delete"],
    ),
    "anchor for a key": ("a:\n  &x:\n    b: 1\n", ["f:2:3: a: the anchor `&x` is not read; write the value out"]),
    "at sign": ("a: @b\n", ["f:1:4: this is not YAML: this character can't begin a value"]),
    "open bracket": ("a: [1\nb: 2\n", ["f:2:2: this is not YAML: a bracket is not closed"]),
    "open quotes": ('a: "x\n', ["f:2:1: this is not YAML: the quotes are not closed (in what begins on line 1)"]),
    "bad escape": ('a: "\\q"\n', ["f:1:5: this is not YAML: this escape is not known; use single quotes"]),
    "bad indentation": ("a:\n    b: 1\n  c: 2\n", ["f:3:3: this is not YAML: a key is expected here"]),
    "missing colon": ("abc\ndef: 1\n", ["this is not YAML: a `:`"]),
}


@pytest.fixture(params=["libyaml", "pure"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read with PyYAML's C parser, then with its Python one."""
    if request.param == "pure":
        monkeypatch.setattr(source, "_LOADER", yaml.SafeLoader)
    return str(request.param)


@pytest.mark.parametrize("case", REFUSALS)
def test_each_refusal_names_its_place_and_a_repair(case: str) -> None:
    """Whatever is refused is reported where it stands, in a sentence."""
    text, expected = REFUSALS[case]
    document = read_yaml("f", text if isinstance(text, bytes) else text.encode())
    found = [str(diagnostic) for diagnostic in document.diagnostics]
    assert len(found) == len(expected), found
    for sentence, wanted in zip(found, expected, strict=True):
        assert wanted in sentence
    assert all(diagnostic.span for diagnostic in document.diagnostics)


@pytest.mark.parametrize("case", REFUSALS)
def test_both_parsers_refuse_the_same(case: str, loader: str) -> None:
    """Nothing is accepted by one of the two parsers that the other refuses."""
    text, _ = REFUSALS[case]
    document = read_yaml("f", text if isinstance(text, bytes) else text.encode())
    assert document.diagnostics, loader


def test_both_parsers_find_the_same_data_and_places(loader: str) -> None:
    """A file means the same, and stands at the same places, whichever parser read it."""
    document = read_yaml("f", 'version: 1\n"é": {k: [1, "x"], l: 2}\n'.encode())
    assert document.diagnostics == [], loader
    assert document.root == {"version": 1, "é": {"k": [1, "x"], "l": 2}}
    inner = document.root["é"]
    assert isinstance(inner, dict)
    assert str(document.key_span(document.root, 1)) == "f:2:1"
    assert str(document.value_span(inner, 1)) == "f:2:23"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_counts(ending: str) -> None:
    """Places are right with the line endings of every system, and after a byte order mark."""
    text = "\ufeffa: 1" + ending + "b: *x" + ending
    (found,) = read_yaml("f", text.encode()).diagnostics
    assert str(found.span) == "f:2:4"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False), ("12", 12), ("-3", -3), ("+4", 4),
        ("0", 0), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), (".inf", float("inf")),
        *((text, text) for text in (
            "yes", "on", "off", "y", "tRue", "012", "0x1F", "0o17", "1_000", "9:30", "2026-12-01", "-", "+", ".", "1e",
            "1" * 5000, "nan", "24h", "١٢",
        )),
    ],
)  # fmt: skip
def test_plain_scalars_are_read_by_the_rules_of_1_2(text: str, value: object) -> None:
    """Only what YAML 1.2 calls a number, boolean or null is one; the rest is text."""
    found = plain_scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_quoted_scalars_are_text() -> None:
    """Quotes make text of anything."""
    assert read_yaml("f", b"a: '12'\nb: \"true\"\nc: ''\n").root == {"a": "12", "b": "true", "c": ""}


def test_what_follows_a_refusal_is_still_read() -> None:
    """A refusal that leaves the structure intact hides nothing that comes after it."""
    document = read_yaml("f", b"a: *x\nb: !t 1\nb: 2\n1: c\n")
    assert [d.span.line for d in document.diagnostics if d.span] == [1, 2, 4, 3]
