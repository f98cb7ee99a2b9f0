"""What holds for every page, whoever writes it: tones, folding, and columns that fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.doctor import CheckStatus
from reconciler.core.intent import WriteOutcome
from reconciler.core.model import PortfolioId, Status, Verb
from reconciler.core.rebalance import RebalanceOutcome, RebalanceStatus
from reconciler.core.report import Outcome
from reconciler.render.compare import Finding, drift_page
from reconciler.render.history import OPEN
from reconciler.render.markdown import markdown
from reconciler.render.page import NAME, TONES, At, Column, Facts, Page, Part, Row, Rows, Span, Tone, code, toned
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
    """What is one row on the terminal is one row of the comment; the ids that it names are behind a click there."""
    page = plan_page(long_plan(3000))
    told = "p00001, p00002, p00003, p00004, p00005, p00006 and 2993 more"
    assert told in terminal(page, PLAIN)
    document = markdown(page)
    assert told not in document
    assert document.index("| 2999 portfolios |") < document.index("<details><summary>") < document.index("`p02999`")
    assert "<b>Needs a look, one by one</b> (2,999)" in document


def test_one_cause_is_one_row() -> None:
    """However short the table, and whatever id each answer had; the terminal and the comment fold alike."""
    told = "the service is down (HTTP 503, request req_{}, correlation corr_{})"
    blocked = replace(plan_of().blocked[0], name=None)
    down = tuple(replace(blocked, id=PortfolioId(f"b{n}"), detail=told.format(n, n)) for n in range(7))
    plan = replace(plan_of(), changes=(), held=(), blocked=down)
    for page in (plan_page(plan), drift_page(plan), report_page(replace(report_of(plan_of()), plan=plan, results=()))):
        text = markdown(page)
        assert "7 portfolios | " in text
        assert "the service is down (HTTP 503) |" in text.replace("&#8203;", "")
    assert terminal(plan_page(plan), PLAIN).count("the service is down") == 1
    assert terminal(plan_page(plan), PLAIN, verbose=True).count("the service is down") == 7


def test_what_failed_stands_last_and_a_log_has_every_name() -> None:
    """The end of a log is what people read; without a terminal the report is the only trace of what was done."""
    found = report_of(plan_of()).results[0]
    many = tuple(replace(found, change=change(n, Verb.PAUSE), outcome=Outcome.DONE, notes=()) for n in range(30))
    failed = replace(found, change=change(99, Verb.PAUSE), outcome=Outcome.FAILED, detail="refused")
    report = replace(report_of(plan_of()), results=(failed, *many))
    lines = terminal(report_page(report), PLAIN).splitlines()
    assert "failed" in lines[-3]
    (folded,) = [line for line in lines if "30 portfolios" in line]
    assert all(one.change.id in folded for one in many)
    assert "and 24 more" in " ".join(terminal(report_page(report), Style(columns=200)).split())


def test_what_is_left_says_how_to_go_on() -> None:
    """What was not begun is counted in one line; of an unknown outcome it is said what finds it out."""
    report = report_of(plan_of())
    assert "`reconciler plan`" not in terminal(report_page(replace(report, results=())), PLAIN)
    found = report.results[0]
    results = [replace(found, outcome=one) for one in (Outcome.UNKNOWN, Outcome.NOT_ATTEMPTED, Outcome.NOT_ATTEMPTED)]
    text = terminal(report_page(replace(report, results=tuple(results)), run=3), PLAIN)
    assert (
        "1 change may or may not have taken effect: the next `reconciler apply` finds out before it does anything.\n"
        "2 changes were not begun: `reconciler plan` shows what is left to do, and the same apply again goes on with "
        "it.\n"
        "`reconciler history --run 3` shows what was sent.\n"
    ) in text
    joined = replace(report, results=tuple(results), joined=True)  # its plan has ended on all runners
    assert "what is left to do, and only that new plan goes on with it.\n" in terminal(report_page(joined), PLAIN)
    left = replace(joined, leaves=True)  # by this runner alone
    assert "what is left to do, and the same apply again goes on with it.\n" in terminal(report_page(left), PLAIN)
    alone = terminal(report_page(replace(report, results=tuple(results[1:]))), PLAIN)
    assert "history" not in alone
    assert "may or may not" not in alone


def test_what_was_not_begun_is_one_row_over_all_verbs() -> None:
    """Whoever stops an apply reads how much of each verb is left; a log has every name, and so has a document."""
    found = report_of(plan_of()).results[0]
    left = replace(found, outcome=Outcome.NOT_ATTEMPTED, notes=(), detail="interrupted before it began")
    verbs = [Verb.START] * 3 + [Verb.UPDATE] * 9
    results = tuple(replace(left, change=change(n, verb)) for n, verb in enumerate(verbs))
    page = report_page(replace(report_of(plan_of()), results=results))
    told = (
        "not attempted  12 portfolios    interrupted before it began: 3 to start (p00000, p00001, p00002), 9 to update"
    )
    shown = " ".join(terminal(page, Style(columns=200)).split())
    assert " ".join(told.split()) + " (p00003, p00004, p00005 and 6 more)" in shown
    (logged,) = [line for line in terminal(page, PLAIN).splitlines() if "12 portfolios" in line]
    assert all(f"p{n:05}" in logged for n in range(12))
    assert terminal(page, PLAIN, verbose=True).count("interrupted before it began") == 12
    assert all(f"`p{n:05}`" in markdown(page) for n in range(12))
    few = report_page(replace(report_of(plan_of()), results=results[:3]))
    assert terminal(few, PLAIN).count("+ start") == 3


def test_a_remark_that_few_rows_have_stands_below_them() -> None:
    """No column has to go for it, and nothing is broken inside a word."""
    rows = [Row((f"p{n}", "A name of some length", "active", At(NOON_MS), "")) for n in range(4)]
    text = terminal(table(*rows, ROW), Style(columns=50))
    assert "NAME" in text
    assert "NOTE" not in text  # no column of that title is left
    assert "\n    a note that is long" in text
    assert max(map(width, text.splitlines())) <= 50


def test_the_title_of_the_remarks_stands_above_the_first_that_stands_beside_its_row() -> None:
    """It never has a line of its own, however wide the terminal is."""
    rows = [Row(("p1", "A name of some length", "active", At(NOON_MS), "short")), ROW]
    for columns in range(20, 140):
        first, *_ = terminal(table(*rows), Style(columns=columns)).splitlines()
        assert first.startswith("PORTFOLIO"), columns
        text = terminal(table(*rows), Style(columns=columns))
        assert not re.search(r"^ *NOTE$", text, re.MULTILINE), columns
        assert ("NOTE" in first) == bool(re.search(r"p1.*active.*short", text)), columns


def test_a_time_without_a_title_keeps_its_year_and_zone() -> None:
    """One long line among the facts of a portfolio does not shorten the times of the others."""
    facts = Facts((("last run", At(NOON_MS)), ("held", "it stays paused " * 9)))
    text = terminal(Page(title="Portfolio", verdict="", blocks=(facts,)), Style(columns=60))
    assert re.search(r"last run  \d{4}-\d\d-\d\d \d\d:\d\d UTC\n", text)


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
        (80, "PORTFOLIO  NAME                   STATE   LAST RUN UTC  NOTE", "north"),
        (64, "PORTFOLIO  NAME                 STATE   NOTE", "LAST"),
        (52, "PORTFOLIO  STATE   NOTE", "NAME"),
    ],
)
def test_columns_go_by_what_they_are_worth(columns: int, shown: str, gone: str) -> None:
    """Times get shorter, names are cut, then the time goes, then the name; nothing is wider than it may be."""
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
