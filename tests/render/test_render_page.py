"""What holds for every page, whoever writes it: tones, folding, and columns that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.doctor import CheckStatus
from reconciler.core.intent import WriteOutcome
from reconciler.core.model import Status, Verb
from reconciler.core.rebalance import RebalanceOutcome, RebalanceStatus
from reconciler.core.report import Outcome
from reconciler.render.compare import Finding, drift_page
from reconciler.render.history import OPEN
from reconciler.render.markdown import markdown
from reconciler.render.page import NAME, TONES, At, Column, Page, Part, Row, Rows, Span, Tone, code, toned
from reconciler.render.plan import plan_page, report_page
from reconciler.render.terminal import PLAIN, Style, terminal, width
from tests.endings import change, plan_of, report_of
from tests.render.test_render_text import long_plan

if TYPE_CHECKING:
    from enum import StrEnum

NOON_MS = 1_795_348_800_000


@pytest.mark.parametrize(
    "words", [Verb, Status, Outcome, RebalanceOutcome, RebalanceStatus, CheckStatus, WriteOutcome, Finding]
)
def test_every_word_has_its_tone(words: type[StrEnum]) -> None:
    """No state and no outcome can come up for which nobody said how it is meant."""
    assert [word for word in (*words, OPEN, "held", "moved", "blocked") if word not in TONES] == []


def test_a_pause_is_not_red() -> None:
    """Red is for what is wrong."""
    assert {TONES[word] for word in ("pause", "paused")} == {Tone.CALM}
    assert "\x1b[31m= pause" not in terminal(plan_page(plan_of()), Style(color=True))


def test_both_writers_fold_the_same() -> None:
    """What the terminal shows as one row is one row of the comment, which has each by itself behind a click."""
    page = plan_page(long_plan(3000))
    told = "p00001, p00002, p00003, p00004, p00005, p00006 and 2993 more"
    assert told in terminal(page, PLAIN)
    document = markdown(page)
    assert told in document
    assert document.index("| 2999 portfolios |") < document.index("<details><summary>") < document.index("`p02999`")
    assert "<b>Needs a look, one by one</b> (2,999)" in document


def test_rows_that_belong_to_a_folded_one_are_counted_once() -> None:
    """Where a comment has no room for each of them, it says how many it leaves out."""
    document = markdown(plan_page(long_plan(3000)), limit_bytes=60_000)
    assert len(document.encode()) <= 60_000
    rows = sum("| `p" in line for line in document.splitlines())
    assert f"**{3000 - rows:,} rows are not shown**" in document
    assert "(2,999)" in document


def test_a_long_report_and_a_long_look_for_drift_fold() -> None:
    """One cause is one row, and what went wrong by itself keeps its own."""
    plan = replace(plan_of(), changes=tuple(change(n, Verb.PAUSE) for n in range(40)))
    found = report_of(plan_of())
    report = replace(found, plan=plan, results=tuple(replace(found.results[0], change=one) for one in plan.changes))
    assert "40 portfolios" in terminal(report_page(report), PLAIN)
    drift = drift_page(long_plan(100))
    assert "99 portfolios" in terminal(drift, PLAIN)
    assert "p00050" not in terminal(drift, PLAIN)
    assert "p00050" in terminal(drift, PLAIN, verbose=True)


def table(*rows: Row, headed: bool = True) -> Page:
    columns = (Column("Portfolio"), NAME, Column("State"), Column("Last run", keep=2), Column("Note"))
    block = Rows(columns=columns, rows=rows, parts=(Part("Portfolios"),), headed=headed)
    return Page(title="Status", verdict="", blocks=(block,))


ROW = Row((code("ao04x0r6"), "Growth index of the north", toned("active"), At(NOON_MS), "a note that is long " * 3))


@pytest.mark.parametrize(
    ("columns", "shown", "gone"),
    [
        (150, "NAME                       STATE   LAST RUN              NOTE", "UTC  NOTE"),
        (99, "NAME                       STATE   LAST RUN UTC  NOTE", "2026"),
        (80, "PORTFOLIO  STATE   LAST RUN UTC  NOTE", "NAME"),
        (52, "PORTFOLIO  STATE   NOTE", "LAST"),
    ],
)
def test_columns_go_by_what_they_are_worth(columns: int, shown: str, gone: str) -> None:
    """Times get shorter, then the name goes, then the time; the note is broken, and nothing is wider than it may be."""
    text = terminal(table(ROW), Style(columns=columns))
    assert shown in text
    assert gone not in text
    assert max(map(width, text.splitlines())) <= columns


def test_a_column_with_nothing_in_it_takes_no_room() -> None:
    """Of a fleet without names nobody reads an empty column."""
    assert terminal(table(Row(("a", "", "b", "", "")), headed=False), PLAIN) == "  a  b\n"


def test_a_broken_cell_keeps_its_colour_to_itself() -> None:
    """Each line of it begins and ends its colour, and the indent has none."""
    row = Row((code("a"), "", "b", "", Span("one two three four five six seven", Tone.BAD)))
    lines = terminal(table(row, headed=False), Style(color=True, columns=34)).splitlines()
    assert [line.split("\x1b")[0] for line in lines] == ["  a  b  ", "        "]
    assert all(line.endswith("\x1b[0m") and line.count("\x1b[31m") == 1 for line in lines)
