"""A page: what a command has to show, as blocks, before anybody has decided how it looks.

In: words and values of a view. Out: :class:`Page`. A plain ``str`` in a block is text from outside, whatever it holds:
the two writers (:mod:`~reconciler.render.terminal`, :mod:`~reconciler.render.markdown`) escape it for their sink, and
they alone colour, align, cut and drop. What many rows have in common is folded here, so that both fold the same.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.core.diagnostics import Diagnostic

FOLD_ABOVE: Final = 20
"""A table of no more rows than this is shown row by row."""
FOLD_FROM: Final = 4
"""In a longer one, this many rows that are alike become one row."""
FOLDED_NAMES: Final = 6
"""A folded row names this many of those that it stands for."""
OPEN_ROWS: Final = 30
"""Of a longer list of what needs a look, a document shows the first rows, and all others behind a click."""
OPEN_REST: Final = 10
"""The same for anything else."""


class Tone(StrEnum):
    """How a word is meant. ``BAD`` is for what is wrong; a pause is not, it is ``CALM``."""

    PLAIN = "plain"
    STRONG = "strong"
    QUIET = "quiet"
    GOOD = "good"
    CALM = "calm"
    NOTICE = "notice"
    WAITS = "waits"
    """It stays as it is until a person decides."""
    BAD = "bad"


_WORDS: Final[Mapping[Tone, str]] = {
    Tone.GOOD: "start resume appeared active done already_done confirmed seen completed accepted ok",
    Tone.CALM: "pause paused running",
    Tone.QUIET: "unverified vanished inactive skipped",
    Tone.NOTICE: "update pending changed stale not_attempted not_sent unseen open cancelled timed_out cooling_down "
    "warn",
    Tone.WAITS: "held moved",
    Tone.BAD: "blocked failed fail refused unknown archived error no_schedule not_found unreadable not_read",
}
TONES: Final[Mapping[str, Tone]] = {word: tone for tone, words in _WORDS.items() for word in words.split()}
"""The tone of every word that says what a thing is or what became of it: verbs, findings, steps from one plan to the
next, states of a portfolio, outcomes. The same word has the same tone everywhere. A test holds it to be complete."""

SYMBOLS: Final[Mapping[str, str]] = {
    "start": "+",
    "resume": ">",
    "update": "~",
    "pause": "=",
    "held": "!",
    "moved": "!",
    "blocked": "x",
    "unverified": "?",
}
UNVERIFIED: Final = SYMBOLS["unverified"]
_ONE_ANSWER: Final = re.compile(r",? (?:request|correlation) [\w-]+(?=[,)])")
"""The ids that an answer of the service has alone."""


class Span(Struct, frozen=True):
    """Text that is more than text. ``code`` says that it is an id, a place or an address, which people copy.

    ``symbol`` is a sign of ours before it. ``typed`` is for words of ours that a person types, such as a command.
    ``url`` is where a document leads from it; a terminal does not show it.
    """

    text: str
    tone: Tone = Tone.PLAIN
    code: bool = False
    symbol: str = ""
    typed: bool = False
    url: str = ""


class At(Struct, frozen=True):
    """A moment, in UTC epoch milliseconds; a narrow terminal shows less of it."""

    ms: int


Piece = str | Span | At
Cell = Piece | tuple[Piece, ...]
"""What stands in one place of a table, or on one line."""


class Column(Struct, frozen=True):
    """A column of a table. ``widest`` is where a terminal cuts its cells, and a narrow one sooner; the last column is
    never cut, but wrapped.

    On a terminal that is too narrow columns are left out by ``keep``, the lowest number first; one with 0 always stays.
    ``signs`` asks a document for a sign that says at a glance how each cell is meant.
    """

    title: str
    keep: int = 0
    widest: int | None = None
    signs: bool = False


NAME: Final = Column("Name", keep=9, widest=28)


class Row(Struct, frozen=True):
    """One row. Rows whose cells before the subject and whose ``alike`` are equal may be folded into one.

    ``name`` is what a folded row calls it, ``noun`` what it counts. ``part`` is the place of its
    :class:`Part`, and ``group`` that of its :class:`Group` where the table has any. In a document, rows of a part stand
    in the order of ``gravity``, the lowest first. With ``cause`` the row tells what went wrong: rows of one cause are
    folded in a short table, too.
    """

    cells: tuple[Cell, ...]
    name: str = ""
    alike: str = ""
    noun: str = "portfolio"
    part: int = 0
    group: int = 0
    gravity: tuple[int, ...] = ()
    cause: bool = False
    members: tuple[Row, ...] = ()
    """The rows that a folded one stands for."""


class Part(Struct, frozen=True):
    """Rows that a document shows under a title of their own. The lower ``rank``, the later they are cut.

    A document shows the first ``opened`` rows, and the others behind a click; ``None`` for all. ``alone`` is for what
    only a document needs, because it stands alone: on a terminal it has been shown just before.
    """

    title: str
    rank: int = 0
    opened: int | None = OPEN_ROWS
    alone: bool = False


class Group(Struct, frozen=True):
    """Rows of one kind across the parts: a terminal shows them under the ``title`` with their number.

    A document puts what needs a look first whatever its group, and names that in a column, by ``word``.
    """

    title: str
    word: str = ""


class Rows(Struct, frozen=True, kw_only=True):
    """A table. ``subject`` is the place of the column that names what a row is about.

    ``groups`` may be none; ``grouped`` is the title of the column that names them.
    ``headed`` says whether a terminal shows the titles of the columns, and ``most`` how many rows it shows without -v.
    ``parted`` says that the first column names the part of a row: a document has a title for each and leaves it out.
    ``logged`` is for what a log must hold: where there is no terminal, a folded row gives all names.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    parts: tuple[Part, ...]
    groups: tuple[Group, ...] = ()
    grouped: str = ""
    caption: Cell = ""
    subject: int = 0
    headed: bool = False
    parted: bool = False
    most: int | None = None
    logged: bool = False


class Heading(Struct, frozen=True):
    """A title above the block that follows."""

    text: Cell


class Lines(Struct, frozen=True):
    """Remarks, one a line."""

    lines: tuple[Cell, ...]
    tone: Tone = Tone.PLAIN


class Notice(Struct, frozen=True):
    """Sentences that must not be passed over."""

    tone: Tone
    sentences: tuple[Cell, ...]


class Counts(Struct, frozen=True):
    """Numbers and what they count."""

    counts: tuple[tuple[Span, int], ...]


class Facts(Struct, frozen=True):
    """Names and values; a value without a name belongs to the one above."""

    facts: tuple[tuple[str, Cell], ...]


class Problems(Struct, frozen=True):
    """Problems of the files, each with its source line."""

    title: str
    problems: tuple[Diagnostic, ...]


class Notes(Struct, frozen=True):
    """Remarks that the command made on its way."""

    notes: tuple[str, ...]


class Alone(Struct, frozen=True):
    """Blocks that only a document needs, because it stands alone; on a terminal the last line says the same."""

    blocks: tuple[Block, ...]


Block = Rows | Heading | Lines | Notice | Counts | Facts | Problems | Notes | Alone


class Page(Struct, frozen=True, kw_only=True):
    """A whole page. ``title`` and ``verdict`` head a document, and ``last`` ends a text on a terminal: it is stable.

    ``notice`` is what must be read before anything else. ``about`` says what was compared with what; ``pins`` (commit
    and fingerprint) belong to it where a page is kept, and are made only there: a large plan's fingerprint takes time.
    """

    title: str
    verdict: str
    tone: Tone = Tone.PLAIN
    notice: Cell = ()
    about: tuple[Cell, ...] = ()
    pins: Callable[[], Sequence[Cell]] = tuple
    blocks: tuple[Block, ...] = ()
    last: tuple[str, ...] = ()


def toned(word: str, text: str | None = None) -> Span:
    """Return a word in its tone; ``text`` is what is shown of it where that is more or other than the word."""
    return Span(word.replace("_", " ") if text is None else text, TONES[word])


def marked(word: str) -> Span:
    """Return a verb, or held, moved or blocked, with its symbol and in its tone."""
    return Span(word, TONES[word], symbol=SYMBOLS[word])


def code(text: str) -> Span:
    """Return an id, a place or an address from outside."""
    return Span(text, code=True)


def sentence(text: str) -> tuple[Piece, ...]:
    """Return a sentence of ours, in which what stands between backticks is to be typed."""
    parts = re.split(r"`([^`]*)`", text)
    return tuple(Span(part, typed=True) if odd % 2 else part for odd, part in enumerate(parts) if part)


def cause(text: str) -> str:
    """Return what went wrong without the ids of the one answer that said so: what many have in common."""
    return _ONE_ANSWER.sub("", text)


def folded(block: Rows, *, named: int = FOLDED_NAMES) -> Sequence[Row]:
    """Return the rows of a table, where many that are alike are one, which has them as its ``members``.

    In a short table that is only done with rows of one cause. ``named`` is how many names the one row gives.
    """
    long = len(block.rows) > FOLD_ABOVE
    groups: dict[object, list[Row]] = {}
    for place, row in enumerate(block.rows):
        alike = (row.part, row.group, row.noun, row.cells[: block.subject], row.alike)
        groups.setdefault(alike if row.alike and (long or row.cause) else place, []).append(row)
    many = {id(group[0]): group for group in groups.values() if len(group) >= FOLD_FROM}
    inside = {id(row) for group in many.values() for row in group[1:]}
    return [
        _as_one(many[id(row)], block.subject, named) if id(row) in many else row
        for row in block.rows
        if id(row) not in inside
    ]


def _as_one(group: list[Row], subject: int, named: int) -> Row:
    first = group[0]
    names = ", ".join(row.name for row in group[:named])
    more = f" and {len(group) - named} more" if len(group) > named else ""
    between = ("",) * (len(first.cells) - subject - 2)
    return Row(
        (*first.cells[:subject], plural(len(group), first.noun), *between, f"{first.alike}: {names}{more}"),
        part=first.part,
        group=first.group,
        gravity=min(row.gravity for row in group),
        members=tuple(group),
    )


def source_lines(problem: Diagnostic) -> tuple[str, str, str] | None:
    """Return the number of the line that a problem is in, the line, and carets below what is wrong.

    ``None`` where the problem has no place, or the file could not be quoted. A tab is shown as four spaces.
    """
    span = problem.span
    if span is None or problem.excerpt is None:
        return None
    before = problem.excerpt[: span.column - 1].replace("\t", "    ")
    caret = " " * len(before) + "^" * max(1, min(span.width, 80))
    return str(span.line), problem.excerpt.replace("\t", "    "), caret


def moment(ms: int) -> str:
    """Return UTC epoch milliseconds as ``2026-11-23 09:30 UTC``."""
    return f"{utc(ms):%Y-%m-%d %H:%M} UTC"


def moment_seconds(ms: int) -> str:
    """Return UTC epoch milliseconds as ``2026-11-23 09:30:07 UTC``."""
    return f"{utc(ms):%Y-%m-%d %H:%M:%S} UTC"


def utc(ms: int) -> datetime:
    """Return UTC epoch milliseconds as a time."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)
