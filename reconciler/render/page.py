"""A Markdown page made of blocks, cut at whole rows where it would be too long; and text that stays text on it.

In: Markdown that we wrote, and text from outside. Out: Markdown that ends in a line break. :func:`cell` is the one way
for text from outside onto a page. GitHub looks for mentions, references and addresses in what the Markdown was rendered
to, where an entity is a plain character again; so those are taken apart, not escaped.
"""

from __future__ import annotations

import re
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.render.style import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

FINE: Final = "✅"
LOOK: Final = "⚠️"
BAD: Final = "❌"
PENDING: Final = "📋"
"""The signs at the head of a page: nothing to do or all done, look closer, went wrong, waits for a yes."""
OPEN_ROWS: Final = 30
"""Of a longer table of what needs a look, all but the first rows are folded."""
OPEN_REST: Final = 10
"""A longer table of anything else is folded."""
APART: Final = "&#8203;"
"""A zero-width space: what stands on both sides of it is not one word to GitHub, and one to a reader."""

_MARKUP: Final = frozenset("\\`*_[]~")
"""What Markdown reads as markup inside a line; a backslash makes it literal."""
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "<span>$</span>"}
"""What a backslash does not stop everywhere: HTML, the border of a cell, and formulas (as GitHub documents it)."""
_LIVE: Final = re.compile(
    r"(?P<sign>[@#](?=\S))"  # mentions, mail addresses, references to issues and commits
    r"|(?P<colon>:(?=/|[\w+-]+:))"  # addresses; pictures such as :name:
    r"|(?P<word>[0-9A-Za-z_-]{3,})"  # names of commits; references such as GH-1; addresses that begin with www
)
_COMMIT: Final = re.compile(r"[0-9A-Fa-f]{7}")
_REFERENCE: Final = re.compile(r"(?<=[A-Za-z]-)(?=\d)")
_PLAIN: Final = re.compile(r"[0-9A-Za-z_./:-]{1,200}", re.ASCII)
_TICKS: Final = re.compile(r"`+")
_CODE_TITLE: Final = re.compile(r"`([^`]*)`")


class Rows(Struct, frozen=True, kw_only=True):
    """Rows under a title. ``rows`` is read once, no further than there is room for; ``count`` is how many it has.

    ``title`` is Markdown of ours, ``head`` stands between it and the rows. The lower ``rank``, the later it is cut.
    """

    title: str
    head: tuple[str, ...] = ()
    rows: Iterable[str]
    count: int
    rank: int
    folded: bool = False

    def lines(self, shown: Sequence[str]) -> list[str]:
        """Return the lines of the rows that there is room for, under their title."""
        count = f"({self.count:,})" if len(shown) == self.count else f"({len(shown):,} of {self.count:,})"
        if not self.folded:
            return [f"**{self.title}** {count}", "", *self.head, *shown, ""]
        title = _CODE_TITLE.sub(r"<code>\1</code>", escape(self.title))
        opened = f"<details><summary><b>{title}</b> {count}</summary>"
        return [opened, "", *self.head, *shown, "", "</details>", ""]


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, count: int, rank: int, folded: bool = False
) -> Rows:
    """Return a table; titles of columns and cells are Markdown."""
    head = (f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}")
    lines = (f"| {' | '.join(row)} |" for row in rows)
    return Rows(title=title, head=head, rows=lines, count=count, rank=rank, folded=folded)


def opened(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, count: int, rank: int
) -> Iterator[Rows]:
    """Yield a table; of a long one the first rows, and all others folded."""
    source = iter(rows)
    first = min(count, OPEN_ROWS)
    if count:
        yield table(title, columns, islice(source, first), count=first, rank=rank)
    if count > first:
        # The first rows are of a lower rank, so they are taken from the source before these are.
        yield table(f"{title}, continued", columns, source, count=count - first, rank=rank + 1, folded=True)


def count_table(counts: Mapping[str, int]) -> str:
    """Return a table of one row of numbers; those that are not zero stand out."""
    numbers = (f"**{count:,}**" if count else "0" for count in counts.values())
    return f"| {' | '.join(counts)} |\n|{' :-: |' * len(counts)}\n| {' | '.join(numbers)} |"


def page(blocks: Sequence[str | Rows], *, limit_bytes: int | None = None) -> str:
    """Return the blocks as one page, in UTF-8 no longer than ``limit_bytes``.

    Where there is not room for all, whole rows are left out, those of the highest rank first and the last of a rank
    before its first, and the last line says how many. A block that is a text counts as a row of the lowest rank.
    """
    if limit_bytes is None:
        kept = [[block] if isinstance(block, str) else list(block.rows) for block in blocks]
    else:
        kept = _fitting(blocks, limit_bytes - len(_left_out(10**9)))
    lines: list[str] = []
    hidden = 0
    for block, shown in zip(blocks, kept, strict=True):
        hidden += (1 if isinstance(block, str) else block.count) - len(shown)
        if isinstance(block, str):
            lines += [*shown, ""] if shown else []
        elif shown:
            lines += block.lines(shown)
    if hidden:
        lines.append(_left_out(hidden))
    return "\n".join(lines).rstrip("\n") + "\n"


def _fitting(blocks: Sequence[str | Rows], room: int) -> list[list[str]]:
    """Return what of each block there is room for, in bytes; after the first row too many nothing more is taken."""
    kept: list[list[str]] = [[] for _ in blocks]
    by_rank = sorted(range(len(blocks)), key=lambda index: _rank(blocks[index]))
    for index in by_rank:
        block = blocks[index]
        if isinstance(block, Rows):
            # Measured with both numbers at their longest.
            room -= sum(len(line.encode()) + 1 for line in block.lines(())) + len(f"{block.count:,}")
        for row in [block] if isinstance(block, str) else block.rows:
            room -= len(row.encode()) + 2
            if room < 0:
                return kept
            kept[index].append(row)
    return kept


def _rank(block: str | Rows) -> int:
    return -1 if isinstance(block, str) else block.rank


def _left_out(hidden: int) -> str:
    return (
        f"**{hidden:,} {'row is' if hidden == 1 else 'rows are'} not shown**, for want of room; "
        "the saved plan and the JSON output have them all."
    )


def cell(text: str, *, longest: int = 300) -> str:
    """Return text from outside as a line of Markdown in which nothing is markup and nothing comes alive on GitHub."""
    parts = []
    end = 0
    line = safe(text, longest=longest)
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
    return "".join(f"\\{c}" if c in _MARKUP else _ENTITIES.get(c, c) for c in text)


def code(text: str) -> str:
    """Return a word from outside (an id, a place in a file, an address) as code; as a cell where it is no such word."""
    return f"`{text}`" if _PLAIN.fullmatch(text) else cell(text)


def fence(lines: Iterable[str]) -> list[str]:
    """Return lines from outside as a block of code, between fences longer than any run of their sign inside."""
    inside = [safe(line) for line in lines]
    longest = max((len(run) for line in inside for run in _TICKS.findall(line)), default=0)
    ticks = "`" * max(3, longest + 1)
    return [ticks, *inside, ticks]


def alert(kind: str, sentences: Iterable[str]) -> str:
    """Return sentences (Markdown, one line each) in one of GitHub's boxes: NOTE, WARNING or CAUTION."""
    return f"> [!{kind}]\n" + "\n>\n".join(f"> {sentence}" for sentence in sentences)
