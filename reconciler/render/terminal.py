"""The writer for a terminal: colours, aligned columns that fit the width, and lines broken between words.

In: a :class:`~reconciler.render.page.Page` and a :class:`Style`. Out: text that ends in a line break. Whatever comes
from outside is made harmless once more here, at the sink: a plan file can hold anything. The important thing stands
last, where the eye is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, assert_never
from unicodedata import combining, east_asian_width

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.text import harmless
from reconciler.render.page import (
    FOLDED_NAMES,
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
    Rows,
    Tone,
    folded,
    moment,
    source_lines,
    utc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.render.page import Block, Cell, Page

GAP: Final = "  "
NARROWEST: Final = 24
"""If there is less room than this for the last column, it goes below its row. In terminal cells."""
SHORTEST: Final = 12
"""Names are never cut shorter than this, in terminal cells."""
_BELOW: Final = "    "
"""The indent of a last cell below its row."""
_NOTHING: Final = frozenset({"", "-"})
_LONGEST: Final = 400
"""The most characters that are shown of one text from outside."""
_SGR: Final = r"\x1b\[[0-9;]*m"
_UNUSUAL: Final = r"[^\x00-\u02ff\u2010-\u2027\u2190-\u21ff]"
"""Characters that may be wide or combining. European letters, dashes, the ellipsis and arrows never are."""
_COLOUR_OR_CHARACTER: Final = rf"(?s){_SGR}|."
_INKS: Final[Mapping[Tone, str]] = {
    Tone.STRONG: "1",
    Tone.QUIET: "2",
    Tone.GOOD: "32",
    Tone.CALM: "34",
    Tone.NOTICE: "33",
    Tone.WAITS: "35",
    Tone.BAD: "31",
}
"""The SGR parameters of each tone; ``PLAIN`` has none."""


_FACTS: Final = (Column(""), Column(""))


class Style(Struct, frozen=True):
    """Whether colours are on, and how many columns the terminal has; ``None`` means that no line is cut or wrapped."""

    color: bool = False
    columns: int | None = None

    def paint(self, text: str, *tones: Tone) -> str:
        """Return ``text`` in the colours of these tones, or as it is without colours."""
        inks = ";".join(_INKS[tone] for tone in tones if tone is not Tone.PLAIN)
        return f"\x1b[{inks}m{text}\x1b[0m" if self.color and text and inks else text


PLAIN: Final = Style()


def terminal(page: Page, style: Style, *, verbose: bool = False, below: bool = False) -> str:
    """Return a whole page as text. With ``verbose`` nothing is left out and nothing is folded.

    ``below`` says that the page stands below another one that has already said what both are about.
    """
    head = _sentences((page.notice,), Tone.NOTICE, style) if page.notice else []
    head += _sentences((", ".join(map(plain, page.about)),), Tone.QUIET, style) if page.about and not below else []
    groups = [head]
    titles: list[str] = []
    for block in (part for whole in page.blocks for part in _grouped(whole)):
        lines = _block(block, style, verbose=verbose)
        if isinstance(block, Heading):
            titles = lines
        else:
            groups.append([*titles, *lines])
            titles = []
    last = [line for text in page.last for line in _wrapped(safe(text, longest=1000), style.columns)]
    groups.append([style.paint(line, Tone.STRONG) for line in last])
    return "\n\n".join("\n".join(group) for group in groups if group) + "\n"


def _grouped(block: Block) -> Iterator[Block]:
    """Yield a table group by group, each under its title; any other block as it is."""
    if not isinstance(block, Rows) or not block.groups:
        yield block
        return
    for number, group in enumerate(block.groups):
        if rows := tuple(row for row in block.rows if row.group == number):
            yield Heading(f"{group.title} ({len(rows)})")
            yield replace(block, rows=rows, groups=())


def _block(block: Block, style: Style, *, verbose: bool) -> list[str]:
    match block:
        case Rows():
            return _table(block, style, verbose=verbose)
        case Heading():
            return [style.paint(plain(block.text), Tone.STRONG)]
        case Lines():
            return _sentences(block.lines, block.tone, style)
        case Notice():
            return _sentences(block.sentences, block.tone, style)
        case Facts():
            return _indented(_FACTS, block.facts, style)
        case Problems():
            return [line for problem in block.problems for line in problem_lines(problem, style)]
        case Notes() | Counts() | Alone():
            return []  # notes went to stderr as they came up, and the last line has the counts
        case _:
            assert_never(block)


def _sentences(cells: Sequence[Cell], tone: Tone, style: Style) -> list[str]:
    """Return sentences in one colour, broken between words if they are wider than the terminal."""
    return [style.paint(line, tone) for cell in cells for line in _wrapped(plain(cell), style.columns)]


def _wrapped(text: str, room: int | None) -> list[str]:
    if room is None or width(text) <= room:
        return [text]
    from textwrap import wrap

    return wrap(text, room, break_long_words=False, break_on_hyphens=False)


def problem_lines(problem: Diagnostic, style: Style) -> list[str]:
    """Return a problem of the files as its sentence, the source line, and a caret below what is wrong."""
    lines = [safe(str(problem), longest=1000)]
    if found := source_lines(problem):
        number, excerpt, caret = found
        lines.append(style.paint(f"  {number} | ", Tone.QUIET) + safe(excerpt, longest=160))
        lines.append(style.paint(f"  {' ' * len(number)} | ", Tone.QUIET) + style.paint(caret, Tone.BAD))
    return lines


def _table(block: Rows, style: Style, *, verbose: bool) -> list[str]:
    """Return the caption, if there is one, and the rows; these are indented if they have no column titles."""
    named = None if block.logged and style.columns is None else FOLDED_NAMES
    rows = [row for row in (block.rows if verbose else folded(block, named=named)) if not block.parts[row.part].alone]
    shown = rows if verbose or block.most is None else rows[: block.most]
    cells = [tuple(_timed(cell, verbose=verbose) for cell in row.cells) for row in shown]
    if block.headed:
        lines = _aligned(block.columns, cells, style, style.columns, headed=True)
    else:
        lines = _indented(block.columns, cells, style)
    if len(shown) < len(rows):
        more = f"… and {len(rows) - len(shown)} more; -v lists them"
        lines.append(style.paint(more if block.headed else f"  {more}", Tone.QUIET))
    return [*([painted(block.caption, style)] if block.caption else []), *lines]


def _timed(cell: Cell, *, verbose: bool) -> Cell:
    """Return a cell as it is shown: a moment as how far it is away, where that is asked for."""
    return cell.distance if isinstance(cell, At) and cell.now_ms is not None and not verbose else cell


def _indented(titles: Sequence[Column], cells: Sequence[Sequence[Cell]], style: Style) -> list[str]:
    room = style.columns - 2 if style.columns is not None else None
    return [f"  {line}" for line in _aligned(titles, cells, style, room, headed=False)]


def _aligned(
    titles: Sequence[Column], cells: Sequence[Sequence[Cell]], style: Style, room: int | None, *, headed: bool
) -> list[str]:
    """Return rows as lines with aligned columns, if possible no wider than ``room``.

    An empty column is left out. If room is short, times below a title lose their year and zone (the title tells the
    zone instead), columns that hold only ``-`` go, then others by their ``keep``. If that is not enough, names are cut,
    and the last cell is wrapped or put below its row.
    """
    kept = [i for i in range(len(titles)) if any(row[i] for row in cells)]
    if not kept:
        return []
    texts, heads = _texts(titles, cells, short=False), [column.title.upper() for column in titles]
    if room is not None and _width(kept, texts, heads if headed else None) > room:
        texts = _texts(titles, cells, short=headed)
        heads = [head + " UTC" * any(isinstance(row[i], At) for row in cells) for i, head in enumerate(heads)]
        kept = _fitting(titles, kept, texts, heads if headed else None, room)
    lines = [[(texts[n][i], painted_as(cell[i], texts[n][i], style)) for i in kept] for n, cell in enumerate(cells)]
    widths = [max(width(row[i]) for row in ([*texts, heads] if headed else texts)) for i in kept]
    if headed:
        last, taken = kept[-1], _taken(widths)
        remarks = [row[last] for row in texts if row[last] not in _NOTHING]
        if _stands_below(heads[last], taken, room) or (
            remarks and all(_stands_below(text, taken, room) for text in remarks)
        ):
            heads[last] = ""  # nothing stands below it in its column
        lines.insert(0, [(heads[i], style.paint(heads[i], Tone.QUIET)) for i in kept])
    return [text for line in lines for text in _line(line, widths, room)]


def _fitting(
    titles: Sequence[Column],
    kept: Sequence[int],
    texts: Sequence[list[str]],
    heads: Sequence[str] | None,
    room: int,
) -> list[int]:
    """Return the columns that fit, and cut the names in ``texts`` to the room that is left for them."""
    kept = [i for i in kept if any(row[i] not in _NOTHING for row in texts)] or list(kept)
    last = kept[-1]
    # If at most half of the rows have a last cell, it is a remark and may go below its row. Otherwise it stays beside
    # the row as long as there is room.
    remark = titles[last].below or 2 * sum(row[last] not in _NOTHING for row in texts) <= len(texts)
    names = [i for i in kept if titles[i].widest is not None and not titles[i].whole and i != last]

    def spare() -> int:
        """Return how much room is left with all names at full length; negative if it does not fit."""
        beside = 0 if remark else len(GAP) + min(NARROWEST, max(width(row[last]) for row in texts))
        return room - beside - _width([i for i in kept if i != last], texts, heads)

    def cuttable() -> int:
        return sum(max(0, max(width(row[i]) for row in texts) - SHORTEST) for i in names if i in kept)

    for place in sorted((i for i in kept if titles[i].keep), key=lambda i: titles[i].keep):
        if spare() + cuttable() >= 0:
            break
        kept.remove(place)
    for i in (i for i in names if i in kept and spare() < 0):
        longest = max(width(row[i]) for row in texts)
        for row in texts:
            row[i] = cut(row[i], max(SHORTEST, longest + spare()))
    return kept


def _texts(titles: Sequence[Column], cells: Sequence[Sequence[Cell]], *, short: bool) -> list[list[str]]:
    return [
        [
            plain(cell, short=short) if column.widest is None else cut(plain(cell, short=short), column.widest)
            for column, cell in zip(titles, row, strict=True)
        ]
        for row in cells
    ]


def _width(kept: Sequence[int], texts: Sequence[Sequence[str]], heads: Sequence[str] | None) -> int:
    """Return the width of the widest line with these columns."""
    rows = [*texts, heads] if heads is not None else texts
    return sum(max(width(row[i]) for row in rows) for i in kept) + len(GAP) * (len(kept) - 1)


def _line(cells: Sequence[tuple[str, str]], widths: Sequence[int], room: int | None) -> list[str]:
    """Return a row, given as plain and painted texts, as one line, or as several if its last cell is wrapped."""
    head = "".join(shown + " " * (widths[i] - width(text)) + GAP for i, (text, shown) in enumerate(cells[:-1]))
    text, shown = cells[-1]
    taken = _taken(widths)
    if room is None or not text or width(text) <= room - taken or len(cells) == 1:
        return [(head + shown).rstrip()]
    if _stands_below(text, taken, room):
        return [head.rstrip(), *(f"{_BELOW}{line}" for line in _wrapped(text, room - len(_BELOW)))]
    first, *more = _wrapped(text, room - taken)
    before, _, after = shown.partition(text)  # the colours around it; a cell in several colours is wrapped without
    lines = [head + before + first + after, *(" " * taken + before + line + after for line in more)]
    return lines if text in shown else [head + first, *(" " * taken + line for line in more)]


def _taken(widths: Sequence[int]) -> int:
    """Return how much of a line the cells before the last one take."""
    return sum(widths[:-1]) + len(GAP) * (len(widths) - 1)


def _stands_below(text: str, taken: int, room: int | None) -> bool:
    """Return whether a last cell has too little room beside the others, or would be broken inside a word there."""
    if room is None or width(text) <= room - taken:
        return False
    longest = max(map(width, text.split()), default=0)
    return room - taken < min(NARROWEST, room - len(_BELOW)) or room - taken < longest <= room - len(_BELOW)


def plain(cell: Cell, *, short: bool = False) -> str:
    """Return the text of a cell without colours; ``short`` shows only day and time of a moment."""
    if isinstance(cell, str):
        return safe(cell)
    if isinstance(cell, tuple):
        return "".join(plain(piece, short=short) for piece in cell)
    if isinstance(cell, At):
        return f"{utc(cell.ms):%m-%d %H:%M}" if short else moment(cell.ms)
    text = f"`{cell.text}`" if cell.typed else safe(cell.text)
    return f"{cell.symbol} {text}" if cell.symbol else text


def painted(cell: Cell, style: Style) -> str:
    """Return a cell in its colours."""
    return painted_as(cell, plain(cell), style)


def painted_as(cell: Cell, text: str, style: Style) -> str:
    """Return a cell in its colours, where ``text`` is what is shown of it."""
    if not style.color or isinstance(cell, (str, At)):
        return text
    if isinstance(cell, tuple):
        return "".join(painted(piece, style) for piece in cell)
    return style.paint(text, cell.tone)


def in_columns(cells: Sequence[Cell], widths: Sequence[int], style: Style) -> str:
    """Return cells as one line, each but the last padded to its width: for lines that are printed one by one."""
    told = [painted_as(cell, pad(plain(cell), wide), style) for cell, wide in zip(cells, widths, strict=False)]
    return GAP.join([*told, *(painted(cell, style) for cell in cells[len(widths) :])]).rstrip()


def safe(text: str, *, longest: int = _LONGEST) -> str:
    """Make text from outside harmless for one line of a terminal."""
    return harmless(text, longest=longest)


def width(text: str) -> int:
    """Return how many terminal cells ``text`` takes; colours take none."""
    if "\x1b" in text:
        text = re.sub(_SGR, "", text)
    if text.isascii() or re.search(_UNUSUAL, text) is None:
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, cells: int) -> str:
    """Return ``text`` with spaces up to ``cells``."""
    return text + " " * max(0, cells - width(text))


def cut(text: str, cells: int) -> str:
    """Return ``text``, or its beginning and an ellipsis, at most ``cells`` wide."""
    if width(text) <= cells:
        return text
    kept = text[: cells - 1]
    while width(kept) > cells - 1:
        kept = kept[:-1]
    return kept + "…"


def cut_styled(line: str, cells: int) -> str:
    """Cut a line that may hold colours, as :func:`cut` does; its colours always end with it."""
    if width(line) <= cells:
        return line
    kept: list[str] = []
    left = cells - 1
    for found in re.finditer(_COLOUR_OR_CHARACTER, line):
        token = found.group()
        taken = width(token)
        if taken > left:
            break
        kept.append(token)
        left -= taken
    return "".join(kept) + "…" + ("\x1b[0m" if "\x1b" in line else "")
