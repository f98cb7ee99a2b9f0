"""A page: what a command has to show, as blocks, whatever it will look like.

In: words and values of a view. Out: :class:`Page`. Every plain ``str`` in a block is treated as text from outside: the
two writers (:mod:`~reconciler.render.terminal`, :mod:`~reconciler.render.markdown`) escape it for their sink. They
alone colour, align, cut and leave out. Rows that are alike are folded here, so that both writers fold the same.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.text import MINUTE_MS, plural, rough_duration
from reconciler.core.text import moment as moment  # noqa: PLC0414 - the views take it from here, with the rest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from reconciler.core.diagnostics import Diagnostic

FOLD_ABOVE: Final = 20
"""A table with more rows than this folds those that are alike."""
FOLD_FROM: Final = 4
"""This many rows that are alike, or more, become one row."""
FOLDED_NAMES: Final = 6
"""A folded row gives this many names."""
OPEN_ROWS: Final = 30
"""Of what needs a look, a document shows this many rows; the others are behind a click."""
OPEN_REST: Final = 10
"""The same for anything else."""


class Tone(StrEnum):
    """How a word is meant. ``BAD`` is for what is wrong. A pause is not wrong, so it is ``CALM``."""

    PLAIN = "plain"
    STRONG = "strong"
    QUIET = "quiet"
    GOOD = "good"
    CALM = "calm"
    NOTICE = "notice"
    WAITS = "waits"
    """Stays as it is until a person decides."""
    BAD = "bad"


_WORDS: Final[Mapping[Tone, str]] = {
    Tone.GOOD: "start resume appeared active done already_done confirmed seen completed accepted ok",
    Tone.CALM: "pause paused running",
    Tone.QUIET: "unverified vanished inactive skipped",
    Tone.NOTICE: "update pending changed stale not_attempted not_sent unseen open cancelled timed_out cooling_down "
    "warn",
    Tone.WAITS: "held halted moved frozen until_passed",
    Tone.BAD: "blocked failed fail overdue refused unknown archived error no_schedule not_found unreadable not_read",
}
TONES: Final[Mapping[str, Tone]] = {word: tone for tone, words in _WORDS.items() for word in words.split()}
"""The tone of every word for a state or an event: verbs, findings, steps from one plan to the next, states of a
portfolio, outcomes. The same word has the same tone everywhere. A test checks that no word is missing."""

SYMBOLS: Final[Mapping[str, str]] = {
    "start": "+",
    "resume": ">",
    "update": "~",
    "pause": "=",
    "held": "!",
    "halted": "!",
    "moved": "!",
    "frozen": "!",
    "blocked": "x",
    "overdue": "!",
    "unverified": "?",
}
UNVERIFIED: Final = SYMBOLS["unverified"]
_TYPED: Final = r"`([0-9A-Za-z_.:=@/, -]{1,120})`"
_ONE_ANSWER: Final = r",? (?:request|correlation) [\w-]+(?=[,)])"
"""The tracing ids in an error, which differ from one answer of the service to the next."""


class Span(Struct, frozen=True):
    """Text with a meaning. ``code`` says that it is an id, a place or an address, which people copy.

    ``symbol`` is our sign before it, such as ``+``. ``typed`` marks words of ours that a person types, such as a
    command. ``url`` is where it leads in a document; a terminal does not show it.
    """

    text: str
    tone: Tone = Tone.PLAIN
    code: bool = False
    symbol: str = ""
    typed: bool = False
    url: str = ""


class At(Struct, frozen=True):
    """A moment, in UTC epoch milliseconds; a narrow terminal shows less of it.

    In a table with ``now_ms``, a terminal shows how far it is from then, as ``in 6h``; with -v it shows the moment.
    """

    ms: int
    now_ms: int | None = None

    @property
    def distance(self) -> str:
        """How far it is from ``now_ms``, roughly: ``in 6h``, ``2d ago``, ``now``."""
        ahead_ms = self.ms - (self.now_ms if self.now_ms is not None else self.ms)
        far = rough_duration(abs(ahead_ms))
        return "now" if abs(ahead_ms) < MINUTE_MS else f"in {far}" if ahead_ms > 0 else f"{far} ago"


Piece = str | Span | At
Cell = Piece | tuple[Piece, ...]
"""What stands in one place of a table, or on one line."""


class Column(Struct, frozen=True):
    """A column of a table. A terminal cuts its cells at ``widest``, and sooner where room is short; the last column is
    wrapped instead.

    A terminal that is too narrow leaves out columns, those with the lowest ``keep`` first; one with 0 always stays.
    A last column that may stand ``below`` its row takes no other column's room. One that is ``whole`` is not cut below
    its ``widest``: columns with a lower ``keep`` go first.
    ``signs`` asks a document to put a sign before each cell that shows at a glance how it is meant.
    """

    title: str
    keep: int = 0
    widest: int | None = None
    signs: bool = False
    below: bool = False
    whole: bool = False


NAME: Final = Column("Name", keep=9, widest=28)


class Row(Struct, frozen=True):
    """One row. Rows whose cells before the subject and whose ``alike`` are equal may be folded into one.

    A folded row lists its rows by ``name`` and counts them as ``noun``. ``part`` is the index of its :class:`Part`, and
    ``group`` that of its :class:`Group` where the table has any. In a document, rows of a part are sorted by
    ``gravity``, the lowest first. ``cause`` says that the row tells what went wrong: rows with the same cause are
    folded even in a short table. With a ``kind``, the cell just before the subject does not tell rows apart: the folded
    row leaves it out, and counts each kind.
    """

    cells: tuple[Cell, ...]
    name: str = ""
    alike: str = ""
    noun: str = "portfolio"
    part: int = 0
    group: int = 0
    gravity: tuple[int, ...] = ()
    cause: bool = False
    kind: str = ""
    members: tuple[Row, ...] = ()
    """The rows that a folded one stands for."""


class Part(Struct, frozen=True):
    """Rows that a document shows under a title of their own. Where room is short, a high ``rank`` is cut first.

    A document shows the first ``opened`` rows (``None`` means all) and the others behind a click. ``alone`` marks rows
    that only a document needs: a terminal has shown them just before.
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
    """A table. ``subject`` is the index of the column that names what a row is about.

    ``groups`` may be none; ``grouped`` is the title of the column that names them.
    ``headed`` says whether a terminal shows the titles of the columns, and ``most`` how many rows it shows without -v.
    ``parted`` says that the first column names the part of a row. A document leaves that column out, since each part
    has a title there. ``logged`` means that a log must have every name: without a terminal, a folded row gives all.
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
    """Sentences that a reader must not miss."""

    tone: Tone
    sentences: tuple[Cell, ...]


class Counts(Struct, frozen=True):
    """Numbers and what they count."""

    counts: tuple[tuple[Span, int], ...]


class Facts(Struct, frozen=True):
    """Names and values; a value without a name belongs to the name above it."""

    facts: tuple[tuple[str, Cell], ...]


class Problems(Struct, frozen=True):
    """Problems of the files, each with its source line."""

    title: str
    problems: tuple[Diagnostic, ...]


class Notes(Struct, frozen=True):
    """Remarks that the command made on its way."""

    notes: tuple[Cell, ...]


class Alone(Struct, frozen=True):
    """Blocks that only a document needs; on a terminal the last line says the same."""

    blocks: tuple[Block, ...]


Block = Rows | Heading | Lines | Notice | Counts | Facts | Problems | Notes | Alone


class Page(Struct, frozen=True, kw_only=True):
    """A whole page. ``title`` and ``verdict`` begin a document; ``last`` ends a text on a terminal, in a stable form.

    ``notice`` must be read before anything else. ``about`` says what was compared with what. ``pins`` returns commit
    and fingerprint, for pages that are kept; only those call it, because a large plan's fingerprint takes time.
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
    """Return a word in its tone; ``text``, if given, is shown in place of the word."""
    return Span(word.replace("_", " ") if text is None else text, TONES[word])


def marked(word: str) -> Span:
    """Return a verb, or held, halted, moved, blocked or overdue, with its symbol and in its tone."""
    return Span(word, TONES[word], symbol=SYMBOLS[word])


def code(text: str) -> Span:
    """Return an id, a place or an address from outside."""
    return Span(text, code=True)


def sentence(text: str) -> tuple[Piece, ...]:
    """Return a sentence of ours as pieces; what stands between backticks is marked as something to type."""
    parts = re.split(r"`([^`]*)`", text)
    return tuple(Span(part, typed=True) if odd % 2 else part for odd, part in enumerate(parts) if part)


def reworded(page: Page, words: Callable[[str], str]) -> Page:
    """Return the page with other words for what it says; what people copy (ids, places) and lines of files stay."""
    again: Page = _reworded(page, words)
    return again


def _reworded(part: Any, words: Callable[[str], str]) -> Any:
    match part:
        case str() if type(part) is str:
            return words(part)
        case tuple():
            return tuple([_reworded(one, words) for one in part])
        case Span(typed=True):
            return replace(part, text=words(f"`{part.text}`")[1:-1])
        case Span(code=False):
            return replace(part, text=words(part.text))
        case Row():
            return replace(part, cells=_reworded(part.cells, words), alike=words(part.alike))
        case Lines() | Notice() | Notes():
            name = {Lines: "lines", Notice: "sentences", Notes: "notes"}[type(part)]
            return replace(part, **{name: tuple(_with_typed(_reworded(cell, words)) for cell in getattr(part, name))})
        case Problems():
            told = [replace(one, problem=words(one.problem), repair=words(one.repair)) for one in part.problems]
            return replace(part, problems=tuple(told))
        case Struct() if not isinstance(part, Span):
            return replace(part, **{name: _reworded(getattr(part, name), words) for name in part.__struct_fields__})
        case _:
            return part


def _with_typed(cell: Cell) -> tuple[Piece, ...]:
    """Return a sentence in which what stands between backticks is to be typed, as far as it is plain words."""
    pieces = cell if isinstance(cell, tuple) else (cell,)
    return tuple(one for piece in pieces for one in (_typed(piece) if isinstance(piece, str) else (piece,)))


def _typed(text: str) -> Iterator[Piece]:
    for odd, part in enumerate(re.split(_TYPED, text)):
        if part:
            yield Span(part, typed=True) if odd % 2 else part


def cause(text: str) -> str:
    """Return an error's text without its tracing ids, so that the same error of many portfolios can be folded."""
    return re.sub(_ONE_ANSWER, "", text)


def folded(block: Rows, *, named: int | None = FOLDED_NAMES) -> Sequence[Row]:
    """Return the rows of a table, with many that are alike folded into one, which keeps them as its ``members``.

    In a short table, only rows with the same cause are folded. ``named`` is how many names a folded row gives,
    ``None`` for all, 0 where
    they stand elsewhere.
    """
    long = len(block.rows) > FOLD_ABOVE
    groups: dict[object, list[Row]] = {}
    for place, row in enumerate(block.rows):
        noun, before = ("", block.subject - 1) if row.kind else (row.noun, block.subject)
        alike = (row.part, row.group, noun, row.cells[:before], row.alike)
        groups.setdefault(alike if row.alike and (long or row.cause) else place, []).append(row)
    many = {id(group[0]): group for group in groups.values() if len(group) >= FOLD_FROM}
    inside = {id(row) for group in many.values() for row in group[1:]}
    return [
        _as_one(many[id(row)], block.subject, named) if id(row) in many else row
        for row in block.rows
        if id(row) not in inside
    ]


def _as_one(group: list[Row], subject: int, named: int | None) -> Row:
    first = group[0]
    noun = first.noun if len({row.noun for row in group}) == 1 else "change"
    before = (*first.cells[: subject - 1], "") if first.kind else first.cells[:subject]
    between = ("",) * (len(first.cells) - subject - 2)
    told = ": ".join(filter(None, (first.alike, _kinds(group, named))))
    return Row(
        (*before, plural(len(group), noun), *between, told),
        part=first.part,
        group=first.group,
        gravity=min(row.gravity for row in group),
        members=tuple(group),
    )


def _kinds(group: list[Row], named: int | None) -> str:
    """Return the names of rows that are folded; where they are of several kinds, with a count for each kind."""
    kinds: dict[str, list[Row]] = {}
    for row in group:
        kinds.setdefault(row.kind, []).append(row)
    if named == 0:
        return ", ".join(f"{len(rows)} {kind}" for kind, rows in kinds.items() if kind)
    each = None if named is None else max(1, named // len(kinds))
    found = [(f"{len(rows)} {kind} ", _names(rows, each)) for kind, rows in kinds.items()]
    return ", ".join(f"{count}({names})" if group[0].kind else names for count, names in found)


def _names(rows: Sequence[Row], named: int | None) -> str:
    left = len(rows[named:]) if named is not None else 0
    return ", ".join(row.name for row in rows[:named]) + (f" and {left} more" if left else "")


def source_lines(problem: Diagnostic) -> tuple[str, str, str] | None:
    """Return the number of a problem's line, the line itself, and carets below what is wrong.

    Returns ``None`` if the problem has no place or the file could not be quoted. A tab is shown as four spaces.
    """
    span = problem.span
    if span is None or problem.excerpt is None:
        return None
    before = problem.excerpt[: span.column - 1].replace("\t", "    ")
    caret = " " * len(before) + "^" * max(1, min(span.width, 80))
    return str(span.line), problem.excerpt.replace("\t", "    "), caret


def moment_seconds(ms: int) -> str:
    """Return UTC epoch milliseconds as ``2026-11-23 09:30:07 UTC``."""
    return f"{utc(ms):%Y-%m-%d %H:%M:%S} UTC"


def utc(ms: int) -> datetime:
    """Return UTC epoch milliseconds as a ``datetime``."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)
