"""Add portfolios, groups and strategies to files that are there, and prove that nothing else changed.

In: the files as they are, and the lines of new entries (:mod:`reconciler.config.emit`). Out: the new text of one file.
Lines are only inserted: comments, order, quotes and line ends stay as they are, byte for byte. The result is loaded
again, and must declare exactly what was there plus what was to be added.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from reconciler.config.document import Node
from reconciler.config.emit import INDENT, sections
from reconciler.config.load import read_files, read_sources, resolve
from reconciler.config.merge import gather
from reconciler.config.source import read_yaml
from reconciler.core.adoption import Ground
from reconciler.core.endpoint import NOTHING
from reconciler.core.errors import ConfigInvalid, ReconcilerError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from reconciler.config.document import Document
    from reconciler.config.emit import Comments
    from reconciler.config.load import Configuration
    from reconciler.core.adoption import Layout
    from reconciler.core.endpoint import Expect
    from reconciler.core.model import Desired, PortfolioId, StrategyDesired, StrategyId

_MOST_SHOWN = 3


class Additions(Struct, frozen=True, kw_only=True):
    """What to add; none of its ids is declared yet. ``expect`` is empty if the files have it already."""

    portfolios: Mapping[PortfolioId, Desired]
    strategies: Mapping[StrategyId, StrategyDesired]
    expect: Expect = NOTHING


def load_ground(
    sources: Sequence[str], *, stdin: Callable[[], bytes], today: dt.date, cwd: Path
) -> tuple[Configuration, Ground]:
    """Load the files as :func:`~reconciler.config.load.load_configuration` does, with the layers that new portfolios
    would inherit.

    Files that declare nothing yet are allowed, since something is about to be added.
    """
    reading = read_sources(sources, stdin=stdin, cwd=cwd)
    configuration = resolve(reading, today, may_be_empty=True)
    groups = {name: gather(group.values) for name, group in reading.sections.groups.items()}
    return configuration, Ground(defaults=gather(reading.sections.defaults.values), groups=groups)


def name_of(configuration: Configuration, path: Path, cwd: Path) -> str | None:
    """Return the name that a configuration has for the file at ``path``; ``None`` if it does not hold that file."""
    same = os.path.realpath(path)
    return next((name for name in configuration.files if os.path.realpath(cwd / name) == same), None)


def add_to(data: bytes, layout: Layout, added: Additions, comments: Comments) -> bytes:
    """Return the text of a file with the additions, indented like their neighbours. Raises as :func:`insert`."""
    document = read_yaml("", data)

    def indent_of(section: str) -> str:
        found = document.section(section)
        return " " * (document.key_span(found, 0).column - 1) if found else INDENT

    return insert(data, sections(layout, added.strategies, comments, expect=added.expect, indent_of=indent_of))


def insert(data: bytes, added: Mapping[str, Sequence[str]]) -> bytes:
    """Return the text of a file with lines added after the last entry of each section; new sections go to the end.

    Raises :class:`ReconcilerError` for a section in braces, where lines can't be added. The caller must check the
    result with :func:`require_exactly`.
    """
    document = read_yaml("", data)
    text = data.decode("utf-8")
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    places: list[tuple[int, list[str]]] = []
    appended: list[str] = []
    last = _end_of_document(lines)
    for name, new in added.items():
        if name in document.root:
            places.append((_end_of_section(document, name, lines, last), list(new)))
        else:
            appended += ["", f"{name}:", *new]
    while last and not lines[last - 1].strip():
        last -= 1
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += ending
    # From the end backwards, so that earlier line numbers stay valid. New sections come first, because an entry may be
    # inserted at the same line and must stand above them.
    for at, new in [(last, appended), *sorted(places, key=lambda place: place[0], reverse=True)]:
        lines[at:at] = [f"{line}{ending}" for line in new]
    return "".join(lines).encode("utf-8")


def require_exactly(files: Mapping[str, bytes], before: Configuration, added: Additions, *, today: dt.date) -> None:
    """Read ``files`` (bytes by name) and require that they declare what ``before`` and ``added`` do, and no more.

    Raises :class:`ReconcilerError` with what differs; then nothing may be
    written. The place of a value in its file is not compared.
    """
    try:
        found = resolve(read_files(sorted(files.items()), []), today)
    except ConfigInvalid as invalid:
        said = "; ".join(str(diagnostic) for diagnostic in invalid.diagnostics[:_MOST_SHOWN])
        raise ReconcilerError(f"the result would not be valid, so nothing was written: {said}", _REPAIR) from invalid
    portfolios = {**before.desired, **added.portfolios}
    strategies = {**before.strategies, **added.strategies}
    wrong = [*_differing(found.desired, portfolios), *_differing(found.strategies, strategies)]
    if _settings(found) != _settings(before):
        wrong.append("guards, freezes or service")
    expect = added.expect if not added.expect.empty else before.expect
    if found.expect != expect:
        wrong.append("service.expect")
    if wrong:
        more = f" and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
        shown = f"{', '.join(wrong[:_MOST_SHOWN])}{more}"
        raise ReconcilerError(f"the result would declare something else, so nothing was written: {shown}", _REPAIR)


def _settings(of: Configuration) -> object:
    return of.guards, of.paths, [replace(one, span=None, select_span=None) for one in of.freezes]


_REPAIR = "Import to a file of its own with --out; files merge by section."


def _differing(
    found: Mapping[PortfolioId, Desired] | Mapping[StrategyId, StrategyDesired],
    wanted: Mapping[PortfolioId, Desired] | Mapping[StrategyId, StrategyDesired],
) -> list[str]:
    one = {str(key): replace(value, origin=None) for key, value in found.items()}
    other = {str(key): replace(value, origin=None) for key, value in wanted.items()}
    return sorted(harmless(key) for key in {*one, *other} if one.get(key) != other.get(key))


def _end_of_document(lines: Sequence[str]) -> int:
    """Return the index after the document's last line; its end mark ``...`` does not count as one."""
    return next((n for n in range(len(lines) - 1, 0, -1) if lines[n].startswith("...")), len(lines))


def _end_of_section(document: Document, name: str, lines: Sequence[str], last: int) -> int:
    """Return the index at which a new entry of a section goes: after its last entry.

    A comment at the left margin belongs to the section that follows, an indented one to the entries before it.
    """
    root = document.root
    index = list(root).index(name)
    node = root[name]
    if not isinstance(node, Node) or not node or document.key_span(node, 0).line == document.line_of(root, index):
        repair = f"Write `{name}:` with one indented key a line, or import to a file of its own with --out."
        raise ReconcilerError(f"the section `{name}` is written in braces, so nothing can be added to it", repair)
    starts = sorted(document.line_of(root, number) - 1 for number in range(len(root)))
    begins = document.line_of(root, index) - 1
    end = min([start for start in starts if start > begins], default=last)
    while end > begins + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return end
