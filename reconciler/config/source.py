"""YAML text to plain data with places: the only module that knows yaml.

In: a file's name and bytes. Out: a :class:`Document`, with a diagnostic for everything that is refused. YAML is read by
the rules of 1.2, and only the part of it that every person and program reads alike: no anchors, aliases, merge keys,
tags, repeated keys, second documents or control characters. Unquoted ``9:30``, ``on``, ``yes`` and ``2026-12-01`` stay
text. So do ``012``, ``0x1F`` and ``0o17``, which are different numbers in YAML 1.1 and 1.2; the schema refuses them
where a number is wanted. The parser's events become data directly, without a tree of nodes in between. This module
knows no field and no schema.
"""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, Any, Final

import yaml

from reconciler.config.document import WIDEST_PLACE, Document, Node, Value, error, pack, span_of
from reconciler.core.diagnostics import SourceSpan
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.diagnostics import Diagnostic

_DEEPEST: Final = 32
"""How deep mappings and lists may be nested; our files need three levels."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml if PyYAML was built with it; the parser in Python reads the same, but about thirty times slower."""

_HARMFUL: Final = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 without tab and line breaks, DEL, C1 with its line break U+0085
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what reorders text on the screen
    "\u2028\u2029"  # line breaks to YAML 1.1, none to 1.2
    "\ud800-\udfff\ufeff\ufffe\uffff]"  # surrogates, a byte order mark in the middle, no characters at all
)
_HARMLESS_BYTES: Final = bytes([9, 10, 13, *range(32, 127)])
"""A file that holds nothing but these needs no decoding and no search for :data:`_HARMFUL`."""

_ITEM: Final = object()
"""Stands for the key while the items of a list are collected."""
_DISCARD: Final = object()
"""Stands for a key that was refused: its value is read and dropped."""

_MOST_KEYS: Final = 4096
_CONFLICT: Final = re.compile(rb"^(?:<{7}|\|{7}|={7}|>{7})(?=[ \r\n]|\Z)", re.MULTILINE)
"""The lines that Git puts around both sides of a conflict."""

_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BEGINS_A_NUMBER: Final = frozenset("0123456789+-.")
_LONGEST_NUMBER: Final = 40
"""In characters. Nobody writes a longer duration or count, so longer text stays text."""
_MOST_REMEMBERED: Final = 4096

_SENTENCES: Final = (
    ("mapping values are not allowed", "a `:` stands where no key can be", "mend the indentation, or quote the text"),
    ("tab character", "a tab can't indent", "indent with spaces"),
    ("cannot start any token", "this character can't begin a value", "quote the text, and indent with spaces"),
    ("could not find expected ':'", "a `:` is missing after the key", "write `key: value`, indented with spaces"),
    ("did not find expected key", "a key is expected here", "align it with the keys above"),
    ("expected <block end>", "a key is expected here", "align it with the keys above"),
    ("expected ',' or", "a bracket is not closed", "close it, or write one key a line"),
    ("unexpected end of stream", "the quotes are not closed", "close them"),
    ("unknown escape character", "this escape is not known", "use single quotes, in which a backslash is itself"),
)
"""What both parsers say, and what a person can do about it."""


_NO_KEY: Final = "write `key: value`; a template such as `{{ name }}` has to be filled in before it is read"


def read_yaml(file: str, data: bytes) -> Document:
    """Return what the YAML in ``data`` says, as far as it can be read; never raises, whatever the content."""
    assembly = _Assembly(file)
    root: Value = None
    whole = False
    if assembly.legible(data):
        try:
            # A byte order mark is allowed at the very beginning, so only there it is dropped.
            loader = _LOADER(data.removeprefix(b"\xef\xbb\xbf"))
            try:
                root = assembly.run(loader.get_event)
            finally:
                loader.dispose()
            whole = True
        except _Refused as refused:
            assembly.diagnostics.append(refused.diagnostic)
        except yaml.YAMLError as failure:
            assembly.diagnostics.append(_syntax(file, data, failure))
        except (ValueError, OverflowError):  # the pure parser, for an escape beyond the last character
            assembly.diagnostics.append(error(SourceSpan(file, 1), "an escape names no character", "remove it"))
    assembly.report_repeated()
    if whole and not isinstance(root, Node):
        whole = False
        assembly.diagnostics.append(_no_mapping(file, root))
    if not whole or not isinstance(root, Node):
        root = Node()
        root.first = 0
    return Document(file, data, root, assembly.spots, assembly.diagnostics, whole)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return what the plain scalar ``text`` means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _BEGINS_A_NUMBER and len(text) <= _LONGEST_NUMBER:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


class _Resolved(dict[str, "str | int | float | bool | None"]):
    """Remembers what :func:`plain_scalar` returned, so that a value repeated ten thousand times is one object.

    Its size is limited, so that a file in which no value repeats is not held in memory twice.
    """

    def __missing__(self, text: str) -> str | int | float | bool | None:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        value = self[text] = plain_scalar(text)
        return value


class _Refused(Exception):
    """Raised when the rest of the file can't be read in a useful way."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.problem)
        self.diagnostic = diagnostic


class _Assembly:
    """Turns one file's events into data; ``spots`` and ``diagnostics`` grow as it goes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.spots = array("Q")
        self.diagnostics: list[Diagnostic] = []
        self._plain = _Resolved()
        self._keys: dict[str, str] = {}
        self._stack: list[tuple[Any, Any, array[int], int]] = []
        self._repeated: dict[int, tuple[Node, array[int], list[tuple[str, int, str]]]] = {}
        self._documents = 0

    def legible(self, data: bytes) -> bool:
        """Whether the bytes are UTF-8 without harmful characters; reports when they are not."""
        if not data.translate(None, _HARMLESS_BYTES):
            return True
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as failure:
            before = data[: failure.start].decode("utf-8-sig", errors="replace")
            problem = f"the byte 0x{data[failure.start]:02x} is not UTF-8"
            self.diagnostics.append(error(_place(self.file, before), problem, "save the file as UTF-8"))
            return False
        found = re.search(_HARMFUL, text)
        if found is None:
            return True
        count = len(re.findall(_HARMFUL, text))
        more = f" ({count} such characters in this file)" if count > 1 else ""
        problem = f"the character U+{ord(found[0]):04X} is invisible or reorders text{more}"
        self.diagnostics.append(error(_place(self.file, text[: found.start()]), problem, "remove it"))
        return False

    def run(self, next_event: Callable[[], Any]) -> Value:  # noqa: C901 - every key and value passes here: calls cost
        """Return the data of the one document, ``None`` where there is none."""
        scalar, mapping, mapping_end = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.MappingEndEvent
        sequence, sequence_end = yaml.SequenceStartEvent, yaml.SequenceEndEvent
        plain, keys, stack = self._plain, self._keys, self._stack
        root: list[Value] = []
        into: Any = root
        key: Any = _ITEM
        spots: array[int] = array("Q")
        key_spot = 0
        for event in iter(next_event, None):
            kind = type(event)
            if kind is scalar:
                mark = event.start_mark
                width = event.end_mark.index - mark.index
                spot = mark.line << 40 | mark.column << 16 | (width if width < WIDEST_PLACE else WIDEST_PLACE)  # noqa: FURB136 - min() is a call
                bare = not event.style and event.anchor is None and event.tag is None
                if key is None:
                    key = (keys.get(event.value) if bare else None) or self._key(event, spot)
                    key_spot = spot
                    if key in into:
                        self._repeat(into, spots, key, spot)
                        key = _DISCARD
                    continue
                value = plain[event.value] if bare else self._adorned(event, spot, key)
            elif kind is mapping or kind is sequence:
                if key is None or event.anchor or event.tag or len(stack) >= _DEEPEST:
                    self._refused_opening(event, key)
                stack.append((into, key, spots, key_spot))
                into, key, spots = (Node(), None, array("Q")) if kind is mapping else ([], _ITEM, spots)
                continue
            elif kind is mapping_end or kind is sequence_end:
                if kind is mapping_end:
                    into.first = len(self.spots)
                    self.spots.extend(spots)
                value = into
                into, key, spots, key_spot = stack.pop()
                spot = key_spot
            elif kind is yaml.AliasEvent:
                value, spot = self._alias(event, key)
            else:
                self._document(event)
                continue
            if key is _ITEM:
                into.append(value)
                continue
            if key is not _DISCARD:
                into[key] = value
                spots.append(key_spot)
                spots.append(spot)
            key = None
        return root[0] if root else None

    def report_repeated(self) -> None:
        """Report repeated keys. This is done once at the end, so that many of them stay cheap."""
        for node, spots, repeats in self._repeated.values():
            indexes = {name: index for index, name in enumerate(node)}
            for key, spot, address in repeats:
                first = span_of(self.file, spots[2 * indexes[key]])
                problem = f"the key `{harmless(key)}` stands here a second time; the first is at {first}"
                self._refuse(spot, problem, "remove one of the two", address)

    def _key(self, event: Any, spot: int) -> str:
        text: str = event.value
        value = self._adorned(event, spot, None) if event.style or event.anchor or event.tag else self._plain[text]
        if text == "<<" and not event.style:
            repair = "write the fields out, or use `groups`"
            self._refuse(spot, "merge keys are not read", repair, self._address(text))
        elif not isinstance(value, str) and event.anchor is None and event.tag is None:  # else that was said
            problem = f"the key {harmless(text) or 'here'} is not text"
            self._refuse(spot, problem, f'write it as "{text}"', self._address(text))
        elif not event.style and event.anchor is None and event.tag is None:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            self._keys[text] = text
        return text

    def _adorned(self, event: Any, spot: int, key: object) -> Value:
        """Return a scalar that is quoted, or that has something refused, such as an anchor."""
        self._properties(event, spot, key)
        text: str = event.value
        found = re.search(_HARMFUL, text) if event.style == '"' else None
        if found is not None:
            problem = f"the escape for U+{ord(found[0]):04X} names a character that is invisible or reorders text"
            self._refuse(spot, problem, "remove it", self._address(key))
        return text if event.style else self._plain[text]

    def _properties(self, event: Any, spot: int, key: object) -> None:
        if event.anchor is not None:
            problem = f"the anchor `&{harmless(event.anchor)}` is not read"
            self._refuse(spot, problem, "write the value out, or use `groups` for what is shared", self._address(key))
        if event.tag is not None:
            tag = harmless(event.tag.replace("tag:yaml.org,2002:", "!!"))
            problem = f"the tag `{tag}` is not read"
            self._refuse(spot, problem, "remove it; put text in quotes to keep it text", self._address(key))

    def _alias(self, event: Any, key: object) -> tuple[str, int]:
        """Report an alias; return text to use in its place."""
        name = f"*{harmless(event.anchor)}"
        spot = _spot(event)
        repair = "write the value out, or use `groups` for what is shared"
        if key is None:
            raise _Refused(error(span_of(self.file, spot), f"the alias `{name}` is not read", repair))
        self._refuse(spot, f"the alias `{name}` is not read", repair, self._address(key))
        return name, spot

    def _refused_opening(self, event: Any, key: object) -> None:
        """Report what is wrong with a mapping or list that begins here."""
        spot = _spot(event)
        self._properties(event, spot, key)
        if key is None:
            problem = "a key must be text, not a mapping or a list"
            raise _Refused(error(span_of(self.file, spot), problem, _NO_KEY, address=self._address(key)))
        if len(self._stack) >= _DEEPEST:
            raise _Refused(error(span_of(self.file, spot), f"nested deeper than {_DEEPEST} levels", "flatten it"))

    def _document(self, event: Any) -> None:
        """Check the events around the data: there is one document, without directives."""
        if not isinstance(event, yaml.DocumentStartEvent):
            return
        self._documents += 1
        if self._documents > 1:
            repair = "move it into a file of its own; files merge by section"
            raise _Refused(error(span_of(self.file, _spot(event)), "a second document begins here", repair))
        if event.tags or event.version not in (None, (1, 2)):
            self._refuse(_spot(event), "the directive above is not read", "remove the line that begins with %", "")

    def _repeat(self, node: Node, spots: array[int], key: str, spot: int) -> None:
        repeats = self._repeated.setdefault(id(node), (node, spots, []))[2]
        repeats.append((key, spot, self._address(key)))

    def _refuse(self, spot: int, problem: str, repair: str, address: str) -> None:
        self.diagnostics.append(error(span_of(self.file, spot), problem, repair, address=address))

    def _address(self, key: object) -> str:
        names = [*(frame[1] for frame in self._stack), key]
        return ".".join(harmless(name) for name in names if isinstance(name, str))


def _spot(event: Any) -> int:
    start, end = event.start_mark, event.end_mark
    return pack(start.line, start.column, end.index - start.index if end.line == start.line else 1)


def _place(file: str, before: str) -> SourceSpan:
    """Return the place that follows the text ``before``."""
    before = before.replace("\r\n", "\n").replace("\r", "\n")
    return SourceSpan(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _syntax(file: str, data: bytes, failure: yaml.YAMLError) -> Diagnostic:
    """Say a parser's complaint in our words, at the parser's place, or at the place of what is the cause of it."""
    if conflict := _CONFLICT.search(data):
        before = data[: conflict.start()].decode("utf-8-sig", errors="replace")
        repair = "keep what is right of both sides, and delete the lines with the marks"
        return error(_place(file, before), "this marks a merge conflict that is not resolved", repair)
    mark = getattr(failure, "problem_mark", None)
    said = str(getattr(failure, "problem", None) or failure)
    span = SourceSpan(file, mark.line + 1, mark.column + 1) if mark else SourceSpan(file, 1)
    begun = getattr(failure, "context_mark", None)
    within = f" (in what begins on line {begun.line + 1})" if begun and mark and begun.line != mark.line else ""
    if mark and _character(data, mark) == "\t":
        said = "tab character"  # the C parser does not tell it from other characters
    if mark and not within and "expected ',' or" in said and _character(data, mark) == ":":
        said = "mapping values are not allowed"  # `{name: Growth: index}`: no bracket is missing
    for words, problem, repair in _SENTENCES:
        if words in said:
            return error(span, f"this is not YAML: {problem}{within}", repair)
    return error(span, f"this is not YAML: {harmless(said)}{within}", "check quotes, brackets and indentation")


def _character(data: bytes, mark: Any) -> str:
    """Return the character at a parser's mark, which counts from 0."""
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", errors="replace"))
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""


def _no_mapping(file: str, root: Value) -> Diagnostic:
    if root is None:
        return error(SourceSpan(file, 1), "the file is empty", "begin it with `version: 1`, or leave it out")
    found = "a list" if isinstance(root, list) else "a single value"
    return error(SourceSpan(file, 1), f"the file holds {found}, not sections", "begin it with `version: 1`")
