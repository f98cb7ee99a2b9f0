"""The writer for Markdown: a comment, a step's summary, a file. It escapes, folds, and cuts what would be too long.

In: a :class:`~reconciler.render.page.Page`. Out: Markdown that ends in a line break. What needs a look comes first and
is cut last. GitHub searches the rendered text for mentions, references and addresses, and by then an entity is a plain
character again. So escaping does not stop these; they are broken apart by an invisible character instead.
"""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.diagnostics import Severity
from reconciler.core.text import harmless
from reconciler.render.page import (
    Alone,
    At,
    Column,
    Counts,
    Facts,
    Heading,
    Lines,
    Notes,
    Notice,
    Problems,
    Row,
    Rows,
    Tone,
    folded,
    moment,
    source_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.render.page import Block, Cell, Page, Part

APART: Final = "&#8203;"
"""A zero-width space: it splits a word for GitHub, but not for a reader."""
_LONGEST: Final = 600
"""The most characters that are shown of one text from outside."""

_SIGNS: Final[Mapping[Tone, str]] = {Tone.GOOD: "✅", Tone.NOTICE: "⚠️", Tone.BAD: "❌", Tone.CALM: "📋"}
"""In this order: all done or nothing to do, look closer, went wrong, waits for a yes."""
_BOXES: Final[Mapping[Tone, str]] = {Tone.BAD: "CAUTION", Tone.NOTICE: "WARNING", Tone.STRONG: "IMPORTANT"}
"""The names of GitHub's boxes."""
_MARKUP: Final = "\\`*_[]~"
"""What Markdown reads as markup inside a line; a backslash makes it literal."""
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "<span>$</span>"}
"""Characters for which a backslash is not always enough: they begin HTML, a table cell, or a formula on GitHub."""
_LITERALS: Final = str.maketrans({c: f"\\{c}" for c in _MARKUP} | _ENTITIES)
_LIVE: Final = re.compile(
    r"(?P<sign>[@#](?=\S))"  # mentions, mail addresses, references to issues and commits
    r"|(?P<colon>:(?=/|[\w+-]+:))"  # addresses; pictures such as :name:
    r"|(?P<word>[0-9A-Za-z_-]{3,})"  # names of commits; references such as GH-1; addresses that begin with www
)
_COMMIT: Final = re.compile(r"[0-9A-Fa-f]{7}")
_REFERENCE: Final = re.compile(r"(?<=[A-Za-z]-)(?=\d)")
_PLAIN: Final = re.compile(r"[0-9A-Za-z_./:-]{1,200}", re.ASCII)
_LINK: Final = re.compile(r"https?://[0-9A-Za-z_./:-]{1,400}", re.ASCII)
_TICKS: Final = re.compile(r"`+")


class _Table(Struct, frozen=True, kw_only=True):
    """Lines under a title, as many as there is room for. A high ``rank`` is cut first.

    ``counted`` holds how many rows each line stands for, and ``total`` how many rows the title counts.
    """

    title: str
    head: tuple[str, ...] = ()
    lines: Iterable[str]
    counted: tuple[int, ...]
    total: int
    rank: int
    behind_click: bool = False
    folded: tuple[int, ...] = ()
    """The indexes of lines that stand for several rows, which another table lists one by one."""

    def written(self, shown: Sequence[str]) -> list[str]:
        """Return the lines that there is room for, under their title."""
        count = sum(self.counted[: len(shown)])
        told = f"({count:,})" if count == self.total else f"({count:,} of {self.total:,})"
        if not self.behind_click:
            return [f"**{self.title}** {told}", "", *self.head, *shown, ""]
        opened = f"<details><summary><b>{escape(self.title)}</b> {told}</summary>"
        return [opened, "", *self.head, *shown, "", "</details>", ""]

    def hidden(self, shown: int) -> int:
        """Return how many rows are nowhere on the page, if only the first ``shown`` lines of this table are."""
        return sum(number not in self.folded for number in range(shown, len(self.counted)))


def markdown(page: Page, *, limit_bytes: int | None = None) -> str:
    """Return a whole page as Markdown, in UTF-8 no longer than ``limit_bytes``.

    If it would be too long, whole rows are left out, those of the highest rank first, and of one rank from its end. The
    last line says how many. A block that is not a table counts as a row of the lowest rank, so it is left out last.
    """
    sign = f"{_SIGNS[page.tone]} " if page.tone in _SIGNS else ""
    head: list[str | _Table] = [f"### {sign}{inline(page.title)}: {inline(page.verdict)}"]
    about = ", ".join(map(inline, (*page.pins(), *page.about)))
    head += [_box(Tone.STRONG, (page.notice,))] if page.notice else []
    head += [f"<sub>{about}</sub>"] if about else []
    blocks = [*head, *(found for block in page.blocks for found in _block(block))]
    kept = _fitting(blocks, limit_bytes)
    lines: list[str] = []
    hidden = 0
    for block, shown in zip(blocks, kept, strict=True):
        if isinstance(block, str):
            lines += [*shown, ""] if shown else []
            hidden += not shown
            continue
        lines += block.written(shown) if shown else []
        hidden += block.hidden(len(shown))
    lines += [_left_out(hidden)] if hidden else []
    return "\n".join(lines).rstrip("\n") + "\n"


def _fitting(blocks: Sequence[str | _Table], limit_bytes: int | None) -> list[list[str]]:
    """Return the lines of each block that fit. After the first line that does not fit, nothing more is taken."""
    if limit_bytes is None:
        return [[block] if isinstance(block, str) else list(block.lines) for block in blocks]
    room = limit_bytes - len(_left_out(10**9))
    kept: list[list[str]] = [[] for _ in blocks]
    for index in sorted(range(len(blocks)), key=lambda index: _rank(blocks[index])):
        block = blocks[index]
        if isinstance(block, _Table):
            # The frame of the table, with both numbers in its title at their longest.
            room -= sum(len(line.encode()) + 1 for line in block.written(())) + len(f"{block.total:,}")
        for row in [block] if isinstance(block, str) else block.lines:
            room -= len(row.encode()) + 2
            if room < 0:
                return kept
            kept[index].append(row)
    return kept


def _rank(block: str | _Table) -> int:
    return -1 if isinstance(block, str) else block.rank


def _left_out(hidden: int) -> str:
    return (
        f"**{hidden:,} {'row is' if hidden == 1 else 'rows are'} not shown**: there was no room. "
        "The saved plan and the JSON output have them all."
    )


def _block(block: Block) -> Iterator[str | _Table]:
    match block:
        case Rows():
            yield from _tables(block)
        case Alone():
            for inside in block.blocks:
                yield from _block(inside)
        case Problems():
            yield _list(block.title, [_problem(problem) for problem in block.problems], rank=0)
        case Notes():
            if block.notes:
                yield _list("Notes", [f"- Note: {inline(note)}" for note in block.notes], rank=1)
        case _:
            yield _text(block)


def _text(block: Heading | Lines | Notice | Counts | Facts) -> str:
    match block:
        case Heading():
            return f"#### {_begun(block.text)}"
        case Lines():
            return "<br>\n".join(map(_begun, block.lines))
        case Notice():
            return _box(block.tone, block.sentences)
        case Counts():
            return _count_table(block)
        case Facts():
            return "\n".join(f"- {_begun(name or '…')}: {inline(value)}" for name, value in block.facts)
        case _:
            assert_never(block)


def _list(title: str, lines: Sequence[str], *, rank: int) -> _Table:
    return _Table(title=title, lines=lines, counted=(1,) * len(lines), total=len(lines), rank=rank)


def _tables(block: Rows) -> Iterator[str | _Table]:
    """Yield the tables of each part that has rows: the open rows, and then the others behind a click."""
    if block.caption:
        yield _begun(block.caption)
    rows = sorted(folded(block, named=0), key=lambda row: (row.part, row.gravity))
    for number, found in groupby(rows, key=lambda row: row.part):
        yield from _part(*_told_apart(block, list(found)), part=block.parts[number])


def _told_apart(block: Rows, rows: list[Row]) -> tuple[Rows, list[Row]]:
    """Return the table and its rows with a column for the group, where the groups of these rows have words."""
    if not any(block.groups and block.groups[row.group].word for row in rows):
        return block, rows

    def told(row: Row) -> Row:
        members = tuple(map(told, row.members))
        return replace(row, cells=(block.groups[row.group].word, *row.cells), members=members)

    return replace(block, columns=(Column(block.grouped), *block.columns)), list(map(told, rows))


def _part(block: Rows, rows: list[Row], *, part: Part) -> Iterator[_Table]:
    """Yield the first rows of a part; behind a click the others, and the members of folded rows one by one."""
    opened = len(rows) if part.opened is None else part.opened
    first, rest = rows[:opened], rows[opened:]
    closed = [*(one for row in first for one in row.members), *(one for row in rest for one in row.members or (row,))]
    counted = tuple(len(row.members) or 1 for row in first)
    if first:
        columns = _columns(block, first)
        yield _Table(
            title=part.title,
            head=_head(block, columns),
            lines=(_line(block, row, columns) for row in first),
            counted=counted,
            total=sum(counted) + sum(len(row.members) or 1 for row in rest),
            rank=part.rank,
            folded=tuple(place for place, row in enumerate(first) if row.members),
        )
    if closed:
        inside = _columns(block, closed)
        yield _Table(
            title=f"{part.title}, one by one" if first else part.title,
            head=_head(block, inside),
            lines=(_line(block, row, inside) for row in closed),
            counted=(1,) * len(closed),
            total=len(closed),
            rank=part.rank + (1 if first else 0),
            behind_click=True,
        )


def _columns(block: Rows, rows: Sequence[Row]) -> tuple[int, ...]:
    """Return the places of the columns to show: those in which there is anything."""
    places = range(int(block.parted), len(block.columns))
    return tuple(place for place in places if any(row.cells[place] for row in rows))


def _head(block: Rows, places: Sequence[int]) -> tuple[str, ...]:
    titles = [block.columns[place].title for place in places]
    return f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"


def _line(block: Rows, row: Row, places: Sequence[int]) -> str:
    told = ((block.columns[place], row.cells[place]) for place in places)
    cells = (_signed(cell) if column.signs else inline(cell) for column, cell in told)
    return f"| {' | '.join(cells)} |"


def _signed(cell: Cell) -> str:
    tone = Tone.PLAIN if isinstance(cell, (str, tuple, At)) or cell.symbol else cell.tone
    return f"{_SIGNS[tone]} {inline(cell)}" if tone in _SIGNS else inline(cell)


def _count_table(block: Counts) -> str:
    """Return a table with one row of numbers; those that are not zero are bold."""
    titles = [inline(title) for title, _ in block.counts]
    numbers = [f"**{count:,}**" if count else "0" for _, count in block.counts]
    return f"| {' | '.join(titles)} |\n|{' :-: |' * len(titles)}\n| {' | '.join(numbers)} |"


def _box(tone: Tone, sentences: Iterable[Cell]) -> str:
    """Return sentences, one paragraph each, in one of GitHub's boxes."""
    return f"> [!{_BOXES[tone]}]\n" + "\n>\n".join(f"> {_begun(sentence)}" for sentence in sentences)


def _problem(problem: Diagnostic) -> str:
    place = [_code(str(part)) for part in (problem.span, problem.address) if part]
    told = "; ".join(_escaped(part) for part in (problem.problem, problem.repair) if part)
    sign = _SIGNS[Tone.BAD if problem.severity is Severity.ERROR else Tone.NOTICE]
    # Text from outside must not begin a line, where it could make a heading or a list. Nor may it stand before a colon,
    # where it could make an emoji.
    rule = [f"({_code(problem.rule)})"] if problem.rule else []
    lines = [f"- {' '.join([sign, *place, told, *rule])}"]
    if found := source_lines(problem):
        number, excerpt, caret = found
        source = (f"{number} | {harmless(excerpt, longest=160)}", f"{' ' * len(number)} | {caret[:160]}")
        lines += ["", *(f"  {line}" for line in _fence(source)), ""]
    return "\n".join(lines)


def inline(cell: Cell) -> str:
    """Return a cell as part of a line, in which nothing from outside is markup, or a mention or link on GitHub."""
    if isinstance(cell, str):
        return _escaped(cell)
    if isinstance(cell, tuple):
        return "".join(map(inline, cell))
    if isinstance(cell, At):
        return moment(cell.ms)
    text = f"`{cell.text}`" if cell.typed else _code(cell.text) if cell.code else _escaped(cell.text)
    if cell.symbol:
        return f"`{cell.symbol}`&nbsp;{text}"
    text = f"[{text}]({cell.url})" if _LINK.fullmatch(cell.url) else text
    return f"**{text}**" if cell.tone is Tone.STRONG else text


def _begun(cell: Cell) -> str:
    """Return a cell that begins a line, so that text from outside can't make a heading, a list or a rule there."""
    first = cell[0] if isinstance(cell, tuple) else cell
    begins_well = not isinstance(first, str) or first[:1].isalpha()
    return inline(cell) if begins_well else APART + inline(cell)


def _escaped(text: str) -> str:
    """Return text from outside as a piece of a line."""
    parts = []
    end = 0
    line = harmless(text, longest=_LONGEST)
    for found in _LIVE.finditer(line):
        parts += [_literal(line[end : found.start()]), _lifeless(found)]
        end = found.end()
    return "".join([*parts, _literal(line[end:])])


def _lifeless(found: re.Match[str]) -> str:
    text = found[0]
    if found["word"] is None:
        return _literal(text) + APART
    if _COMMIT.search(text):
        return f"`{text}`"  # nothing inside code is a reference, and an id can be copied out of it
    apart = APART.join(_literal(part) for part in _REFERENCE.split(text))
    return apart + APART if text.lower().endswith("www") else apart


def _literal(text: str) -> str:
    return text.translate(_LITERALS)


def _code(text: str) -> str:
    """Return a word from outside (an id, a place in a file, an address) as code. Any other text is escaped instead."""
    return f"`{text}`" if _PLAIN.fullmatch(text) else _escaped(text)


def _fence(lines: Iterable[str]) -> list[str]:
    """Return lines from outside as a block of code. Its fences are longer than any run of backticks in the lines."""
    inside = [harmless(line) for line in lines]
    longest = max((len(run) for line in inside for run in _TICKS.findall(line)), default=0)
    ticks = "`" * max(3, longest + 1)
    return [ticks, *inside, ticks]
