"""Desired portfolios and strategies to YAML text: the way back of :mod:`reconciler.config.load`.

In: a :class:`~reconciler.core.adoption.Layout`, strategies, and comments. Out: the text of a file, or the lines of its
sections, which load to exactly what went in. Text is quoted wherever a reader of YAML 1.1 or 1.2 could take it for
something else. Knows no file and no live state.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field
from msgspec.structs import asdict

from reconciler.config.source import plain_scalar
from reconciler.core.endpoint import NOTHING
from reconciler.core.fields import PORTFOLIO_FIELDS, STRATEGY_FIELDS
from reconciler.core.forms import Form
from reconciler.core.sections import EXPECT_FIELDS
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from reconciler.core.adoption import Layout
    from reconciler.core.endpoint import Expect
    from reconciler.core.model import Desired, PortfolioId, StrategyDesired, StrategyId
    from reconciler.core.tables import FieldTable

INDENT: Final = "  "
_LETTER: Final = re.compile(r"[A-Za-z]|[0-9_](?=.*[G-NP-WYZg-np-wyz])")
"""How plain text begins: with a letter, or with what begins a number and a letter that is in none of YAML 1.1 or 1.2,
whatever its base."""
_PLAIN: Final = frozenset(" _-./()+,")
"""What plain text may hold besides letters and digits. No colon, no quote: those need a look at what is beside them."""
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that YAML 1.1 reads as a boolean or null, in upper or lower case."""
_LAYERED: Final = frozenset({"api", "interval_ms", "offset_ms"})
_LONGEST_COMMENT: Final = 400


class Comments(Struct, frozen=True, kw_only=True):
    """What stands behind ``#``: above the file, beside an id, and below the portfolios. Each is one line."""

    head: Sequence[str] = ()
    portfolios: Mapping[PortfolioId, str] = field(default_factory=dict)
    strategies: Mapping[StrategyId, str] = field(default_factory=dict)
    tail: Sequence[str] = ()


NO_COMMENTS: Final = Comments()


def emit(
    layout: Layout,
    strategies: Mapping[StrategyId, StrategyDesired] | None = None,
    comments: Comments = NO_COMMENTS,
    *,
    expect: Expect = NOTHING,
    schema: str | None = None,
) -> str:
    """Return a whole file; ``schema`` is the address of the JSON Schema for editors.

    Names, reasons and owners must keep to the schema: one line of 1 to 200 visible characters. What nothing live can
    tell, costs and silences, is not written.
    """
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    lines += [*map(comment, comments.head), "version: 1"]
    for name, section in sections(layout, strategies or {}, comments, expect=expect).items():
        lines += ["", f"{name}:", *section]
    if not layout.desired:
        lines += ["", *map(comment, comments.tail)] if comments.tail else []
    return "\n".join(lines) + "\n"


def sections(
    layout: Layout,
    strategies: Mapping[StrategyId, StrategyDesired],
    comments: Comments,
    *,
    expect: Expect = NOTHING,
    indent_of: Callable[[str], str] = lambda _: INDENT,
) -> dict[str, list[str]]:
    """Return the lines of every section that holds anything, by its name, in the order of a file.

    ``indent_of`` tells how far the entries of a section are indented, by its name.
    """
    indents = {name: indent_of(name) for name in ("service", "groups", "strategies", "portfolios")}
    portfolios: list[str] = []
    for portfolio, desired in layout.desired.items():
        note = comments.portfolios.get(portfolio, "")
        portfolios += _entry(
            portfolio,
            _fields(desired, layout.own[portfolio], layout.inherited.get(portfolio, ())),
            indents["portfolios"],
            note,
        )
    if portfolios and comments.tail:  # a section that holds only comments would be null when it is read
        portfolios += ["", *(f"{indents['portfolios']}{comment(line)}" for line in comments.tail)]
    grouped = (_entry(name, _values(layer), indents["groups"]) for name, layer in layout.groups.items())
    cadences = (
        _entry(one.id, _strategy(one), indents["strategies"], comments.strategies.get(one.id, ""))
        for one in strategies.values()
    )
    found = {
        "service": _expect(expect, indents["service"]),
        "defaults": [f"{INDENT}{name}: {value}" for name, value in _values(layout.defaults)],
        "groups": [line for lines in grouped for line in lines],
        "strategies": [line for lines in cadences for line in lines],
        "portfolios": portfolios,
    }
    return {name: lines for name, lines in found.items() if lines}


def comment(text: str) -> str:
    """Return one line of comment."""
    return f"# {harmless(text, longest=_LONGEST_COMMENT)}".rstrip()


def scalar(text: str) -> str:
    """Return text as a YAML scalar that every reader takes for this text: plain where that is safe, else quoted.

    ``text`` must hold no control character or line break.
    """
    if (
        _LETTER.match(text)
        and text == text.strip()
        and all(c.isalnum() or c in _PLAIN for c in text)
        and text.casefold() not in _WORDS
        and isinstance(plain_scalar(text), str)
    ):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _entry(name: str, fields: Iterable[tuple[str, str]], indent: str, note: str = "") -> list[str]:
    beside = f"  {comment(note)}" if note else ""
    return [f"{indent}{scalar(name)}:{beside}", *(f"{indent}{INDENT}{key}: {value}" for key, value in fields)]


def _fields(desired: Desired, own: Mapping[str, Any], inherited: Collection[str]) -> list[tuple[str, str]]:
    """Return the fields of an entry: those of this portfolio alone, and the layered ones that it sets itself."""
    names = [field.target for field in PORTFOLIO_FIELDS.fields if isinstance(field.kind, Form)]
    said = (name for name in names if name not in inherited)
    return _values({name: own.get(name) if name in _LAYERED else getattr(desired, name) for name in said})


def _values(values: Mapping[str, Any], table: FieldTable = PORTFOLIO_FIELDS) -> list[tuple[str, str]]:
    """Return the lines of the fields that say something, in the order of their table."""
    return [
        (field.name, _text(field.kind, value))
        for field in table.fields
        if isinstance(field.kind, Form) and (value := values.get(field.target)) is not None and value is not False
    ]


def _text(form: Form, value: Any) -> str:
    text = form.write(value)
    return scalar(text) if isinstance(value, str) and not isinstance(value, StrEnum) else text


def _expect(expect: Expect, indent: str) -> list[str]:
    lines = [f"{indent}{INDENT}{name}: {text}" for name, text in _values(asdict(expect), EXPECT_FIELDS)]
    return [f"{indent}{EXPECT_FIELDS.name}:", *lines] if lines else []


def _strategy(strategy: StrategyDesired) -> list[tuple[str, str]]:
    return _values(asdict(strategy), STRATEGY_FIELDS)
