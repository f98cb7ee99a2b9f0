"""One YAML file as plain data, with the place of every key and value.

In: what :mod:`reconciler.config.source` assembled. Out: :class:`Document` and places as :class:`SourceSpan`. Places are
packed into one array of numbers a file, because an object for each would weigh more than the data. Knows no YAML, no
schema and no field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Mapping, Sequence

Value: TypeAlias = "Node | list[Value] | str | int | float | bool | None"

WIDEST_PLACE: Final = 0xFFFF
"""The width of a place has 16 bits; line and column have 24 each, more than a file of 8 MiB can need."""

LONGEST_EXCERPT: Final = 240
"""A longer source line is not shown: a file on one line would otherwise be printed whole for every problem."""

_LIKE_A_KEY: Final = r"(?i)gldr_|api.?key|secret|token|passw|://[^\s/]*@"
"""A source line that matches may hold a credential by mistake, so messages never repeat it."""


class Node(dict[str, "Value"]):
    """One YAML mapping, in file order; ``first`` is where its places begin in :attr:`Document.spots`."""

    __slots__ = ("first",)
    first: int


class Document(Struct, frozen=True):
    """One file, read.

    ``spots`` holds two packed places, of key and value, for every entry of every mapping. ``root`` is empty where the
    file could not be read to its end (``whole`` is false). ``broken`` holds the paths of what breaks the schema, and
    all the paths above them: it was reported, and is not looked at again.
    """

    file: str
    data: bytes
    root: Node
    spots: array[int]
    diagnostics: Sequence[Diagnostic]
    whole: bool
    broken: frozenset[tuple[str, ...]] = frozenset()

    def section(self, name: str) -> Node | None:
        """Return a top-level section that is there and a mapping."""
        section = self.root.get(name)
        return section if isinstance(section, Node) else None

    def key_span(self, node: Node, index: int) -> SourceSpan:
        """Return the place of the key of the entry number ``index``."""
        return span_of(self.file, self.spots[node.first + 2 * index])

    def value_span(self, node: Node, index: int) -> SourceSpan:
        """Return the place of the value of the entry number ``index``, or of its key where the value is empty."""
        spot = self.spots[node.first + 2 * index + 1]
        return span_of(self.file, spot) if spot & WIDEST_PLACE else self.key_span(node, index)

    def line_of(self, node: Node, index: int) -> int:
        """Return the line, from 1, of the key of the entry number ``index``."""
        return (self.spots[node.first + 2 * index] >> 40) + 1


class Locator:
    """Finds the places of many paths in one document in linear time; made only when there is something to report."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._indexes: dict[int, dict[str, int]] = {}
        self._lines: list[str] | None = None

    def index(self, node: Node, key: str) -> int:
        """Return the number of the entry ``key`` of ``node``."""
        indexes = self._indexes.get(id(node))
        if indexes is None:
            indexes = self._indexes[id(node)] = {name: number for number, name in enumerate(node)}
        return indexes[key]

    def key(self, path: Sequence[str]) -> SourceSpan:
        """Return the place of the key that ``path`` ends in; of the file's first character for the empty path."""
        if not path:
            return SourceSpan(self._document.file, 1)
        node = self.node(path[:-1])
        if node is None:  # an item of a list has no key: its own first one stands for it
            inside = self.node(path)
            return self._document.key_span(inside, 0) if inside else self.key(path[:-1])
        return self._document.key_span(node, self.index(node, path[-1]))

    def value(self, path: Sequence[str]) -> SourceSpan:
        """Return the place of the value at ``path``; of its key where the value is empty or a mapping."""
        node = self.node(path[:-1])
        if not path or node is None or isinstance(node[path[-1]], Node):
            return self.key(path)
        return self._document.value_span(node, self.index(node, path[-1]))

    def nearest(self, path: Sequence[str]) -> Sequence[str]:
        """Return ``path`` without the names at its end that the document does not have."""
        while path and path[-1] not in (self.node(path[:-1]) or ()):
            path = path[:-1]
        return path

    def written(self, span: SourceSpan) -> str:
        """Return the text at a place as the file has it, ``""`` for one of several lines."""
        if self._lines is None:
            self._lines = _lines(self._document.data)
        line = self._lines[span.line - 1] if span.line <= len(self._lines) else ""
        return line[span.column - 1 :][: span.width] if span.column + span.width <= len(line) + 1 else ""

    def node(self, path: Sequence[str]) -> Node | None:
        """Return the mapping at ``path``, or ``None`` where there is none."""
        node: Value = self._document.root
        for name in path:
            if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            elif isinstance(node, Node) and name in node:
                node = node[name]
            else:
                return None
        return node if isinstance(node, Node) else None


def pack(line: int, column: int, width: int) -> int:
    """Return a place as one number; line and column count from 0, in characters."""
    return line << 40 | column << 16 | min(WIDEST_PLACE, width)


def span_of(file: str, spot: int) -> SourceSpan:
    """Return the place that :func:`pack` made a number of, counted from 1."""
    return SourceSpan(file, (spot >> 40) + 1, (spot >> 16 & 0xFFFFFF) + 1, max(1, spot & WIDEST_PLACE))


def error(
    span: SourceSpan | None, problem: str, repair: str = "", *, address: str = "", severity: Severity = Severity.ERROR
) -> Diagnostic:
    """Return a diagnostic; its excerpt is added at the end, by :func:`with_excerpts`."""
    return Diagnostic(severity, problem, repair, address, span)


def with_excerpts(diagnostics: Iterable[Diagnostic], texts: Mapping[str, bytes]) -> tuple[Diagnostic, ...]:
    """Return the diagnostics with their source lines, sorted by place; those without a place come first.

    ``texts`` holds the bytes of every file by its name. Each file with a problem is split into lines once.
    """
    lines: dict[str, list[str]] = {}
    shown: list[Diagnostic] = []
    for diagnostic in diagnostics:
        span = diagnostic.span
        if span is None or span.file not in texts:
            shown.append(diagnostic)
            continue
        if span.file not in lines:
            lines[span.file] = _lines(texts[span.file])
        of_file = lines[span.file]
        line = of_file[span.line - 1] if span.line <= len(of_file) else ""
        width = max(1, min(span.width, len(line) - span.column + 1))
        excerpt = line if line and len(line) <= LONGEST_EXCERPT and not re.search(_LIKE_A_KEY, line) else None
        shown.append(replace(diagnostic, span=replace(span, width=width), excerpt=excerpt))
    return tuple(sorted(shown, key=_by_place))


def _by_place(diagnostic: Diagnostic) -> tuple[str, int, int, str, str]:
    span = diagnostic.span
    place = (span.file, span.line, span.column) if span else ("", 0, 0)
    return (*place, diagnostic.address, diagnostic.problem)


def _lines(data: bytes) -> list[str]:
    return re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", errors="replace"))
