"""Whole texts as people read them, for a small plan and for a long one."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from reconciler.core.change import Held
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import MARK
from reconciler.core.intent import Call
from reconciler.core.model import Desired, Live, PausedBy, PortfolioId, Record, RunState, Status
from reconciler.core.plan import JournalState, Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.report import ApplyReport, Outcome, Result
from reconciler.render.github import diagnostics_page
from reconciler.render.markdown import markdown
from reconciler.render.page import Facts, Page
from reconciler.render.plan import plan_page, report_page
from reconciler.render.terminal import PLAIN, Style, cut, terminal, width
from tests.support import HOUR_MS, NOON_MS

DAY = 24 * HOUR_MS


def live(portfolio: str, status: Status, **known: object) -> Live:
    return replace(Live(id=PortfolioId(portfolio), status=status), **known)  # type: ignore[arg-type]  # fields of Live


def wants(portfolio: str, state: str, **declared: object) -> Desired:
    return replace(Desired(id=PortfolioId(portfolio), state=RunState(state)), **declared)  # type: ignore[arg-type]  # as above


def small_plan() -> Plan:
    desired = [
        wants("ao04x0r6", "active", name="Growth index", interval_ms=DAY, offset_ms=90 * 60_000, run_on_start=True),
        wants("b7k2m9q1", "paused", name="Treasury", reason="Liquidity event"),
        wants("c3d8n5w2", "active", interval_ms=DAY // 2),
        wants("d1f6h4j8", "active", name="Unread", interval_ms=DAY),
        wants("e9g2t7v3", "active", name="Audit"),
        wants("f5p0s8y4", "active", name="Ours", interval_ms=DAY),
        wants("g8r4u1z6", "active", name="Gone"),
        wants("h2v9x3c7", "active", name="Broken"),
        wants("i0same00", "active", interval_ms=DAY),
    ]
    found = [
        live("ao04x0r6", Status.INACTIVE),
        live("b7k2m9q1", Status.ACTIVE, next_run_ms=NOON_MS),
        live("c3d8n5w2", Status.ACTIVE, interval_ms=DAY, offset_ms=0, next_run_ms=NOON_MS),
        live("d1f6h4j8", Status.ACTIVE),
        live("e9g2t7v3", Status.PAUSED, pause_reason="Paused from the app"),
        live("f5p0s8y4", Status.PAUSED, pause_reason=f"Paused via API: Freeze {MARK}"),
        live("g8r4u1z6", Status.NOT_FOUND),
        live("h2v9x3c7", Status.UNREADABLE, failure=ApiError(FailureKind.SERVER, "the service failed", status=500)),
        live("i0same00", Status.ACTIVE, interval_ms=DAY),
    ]
    record = Record(
        state=RunState.PAUSED, interval_ms=2 * DAY, offset_ms=0, schedule_id=None, confirmed_ms=0, marked=True
    )
    return build_plan(
        Plan(base_url="https://api.glider.fi", created_ms=NOON_MS, config_files=("automation.yaml",)),
        {d.id: d for d in desired},
        {f.id: f for f in found},
        Memory(records={PortfolioId("f5p0s8y4"): record}),
    )


SMALL = """\
9 portfolios from automation.yaml, live at https://api.glider.fi

  + start    ao04x0r6  Growth index  every 24h, offset 90m, 1 run a day, runs at once
  > resume   f5p0s8y4  Ours          interval 48h → 24h (recorded), paused by us
  ~ update   c3d8n5w2                interval 24h → 12h, 1 → 2 runs a day, moves the next run (2026-11-22 12:00 UTC)
  ~ update   d1f6h4j8  Unread        interval ? → 24h, 1 run a day, offset → 0 (not declared)
  = pause    b7k2m9q1  Treasury      Liquidity event, cancels the next run (2026-11-22 12:00 UTC)
  ! held     e9g2t7v3  Audit         paused by somebody else: Paused from the app
  x blocked  g8r4u1z6  Gone          v1 has no such portfolio, or the key may not see it; check the id
  x blocked  h2v9x3c7  Broken        reading failed: the service failed (HTTP 500)

? Glider does not return this value. Apply writes it once, and remembers it.
! Held portfolios stay paused. Release one with --resume-held ID, or `hold: override` in its file.
The portfolios that change run 1 → 4 times a day, not counting 2 portfolios whose live interval is unknown.

Plan: 1 to start, 1 to resume, 1 to pause, 2 to update. 1 unchanged, 1 held, 2 blocked.
"""


def test_small_plan() -> None:
    """A plan is understood at a glance: aligned, what trades first, counts last."""
    assert terminal(plan_page(small_plan()), PLAIN) == SMALL


def test_colours_change_nothing_but_colours() -> None:
    """With colours on, the visible text is the same; a pause is not red."""
    painted = terminal(plan_page(small_plan()), Style(color=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == SMALL
    assert "\x1b[31m= pause" not in painted


def held(name: str, paused_by: PausedBy) -> Held:
    return Held(id=PortfolioId(name), pause_reason=None, paused_by=paused_by, last_run_ms=NOON_MS)


@pytest.mark.parametrize(
    ("journal", "unknown", "others", "first"),
    [
        (JournalState.IN_USE, 1, 0, ""),
        (JournalState.MISSING, 0, 1, ""),
        (JournalState.NEW, 0, 0, ""),
        (JournalState.MISSING, 1, 0, "There is no journal, so nobody knows who paused the held portfolio. "),
        (JournalState.NEW, 2, 0, "The journal is new, so nobody knows who paused the 2 held portfolios. "),
        (JournalState.NEW, 2, 1, "The journal is new, so nobody knows who paused 2 of the 3 held portfolios. "),
    ],
)
def test_that_no_journal_could_tell_stands_first(journal: JournalState, unknown: int, others: int, first: str) -> None:
    """Where something is held, and nobody knows who paused it; with the way out."""
    every = [held(f"p{number}", PausedBy.UNKNOWN) for number in range(unknown)]
    every += [held(f"q{number}", PausedBy.OTHERS) for number in range(others)]
    plan = replace(long_plan(1), changes=(), held=tuple(every), no_op=0, journal=journal)
    line = terminal(plan_page(plan), PLAIN).splitlines()[0]
    assert line.startswith(first)
    assert ("`reconciler journal import FILE`" in line) is bool(first)


def test_many_that_are_held_for_one_reason_are_one_row() -> None:
    """The count first, then the reason, then some ids; -v lists them all, with the last run of each."""
    every = [held(f"p{number:02}", PausedBy.UNKNOWN) for number in range(20)]
    every += [held(f"q{number}", PausedBy.OTHERS) for number in range(3)]
    plan = replace(long_plan(1), changes=(), held=tuple(every))
    rows = [line for line in terminal(plan_page(plan), PLAIN).splitlines() if line.startswith("  ! held")]
    nobody = "paused, nobody knows by whom: this journal has no record of a pause of ours"
    assert rows[0] == f"  ! held  20 portfolios  {nobody}: p00, p01, p02, p03, p04, p05 and 14 more"
    assert [row.split()[2] for row in rows[1:]] == ["q0", "q1", "q2"]
    told = [line for line in terminal(plan_page(plan), PLAIN, verbose=True).splitlines() if line.startswith("  ! held")]
    assert (len(told), told[0]) == (23, f"  ! held  p00  {nobody}, last run 2026-11-22 12:00 UTC")


def long_plan(count: int) -> Plan:
    ids = [PortfolioId(f"p{n:05}") for n in range(count)]
    desired = {i: Desired(id=i, state=RunState.ACTIVE, interval_ms=DAY // 2) for i in ids}
    found = {i: Live(id=i, status=Status.ACTIVE, interval_ms=DAY, offset_ms=0) for i in ids}
    desired[ids[0]] = replace(desired[ids[0]], state=RunState.PAUSED)
    return build_plan(Plan(base_url="https://api.glider.fi", created_ms=NOON_MS), desired, found, Memory())


def test_long_plan_folds_what_changes_alike() -> None:
    """3,000 portfolios that change alike are one row; -v lists them all."""
    folded = terminal(plan_page(long_plan(3000)), PLAIN)
    assert len(folded.splitlines()) < 12
    assert "2999 portfolios" in folded
    assert "p00001, p00002, p00003, p00004, p00005, p00006 and 2993 more" in folded
    assert len(terminal(plan_page(long_plan(3000)), PLAIN, verbose=True).splitlines()) > 3000


def test_nothing_to_do() -> None:
    """An empty plan says so."""
    text = terminal(plan_page(replace(small_plan(), changes=(), held=(), blocked=(), unverified=0)), PLAIN)
    assert "Nothing to do: live automation is as declared." in text


def test_hostile_text_stays_text() -> None:
    """Control characters in data become visible, whatever the sink."""
    plan = small_plan()
    evil = replace(plan.changes[0], name="\x1b[2Jwiped\u202e")
    text = terminal(plan_page(replace(plan, changes=(evil,))), PLAIN)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\u{1b}[2Jwiped\u{202e}" in text


def test_markdown_is_not_made_by_data() -> None:
    """A name can't form a cell, a link, a mention, a reference or HTML."""
    plan = small_plan()
    evil = replace(plan.changes[0], name="a|b <img src=x> @all #1 [x](http://e.com) `code` www.e.com")
    row = next(line for line in markdown(plan_page(replace(plan, changes=(evil,)))).splitlines() if "img" in line)
    assert row.count("|") == 5
    for live_markup in ("<img", "@all", " #1", "[x](", "http://", "`code`", "www.e"):
        assert live_markup not in row.replace(r"\[", "").replace(r"\`", "")


def test_report() -> None:
    """The final table names every outcome; the last line counts them."""
    plan = small_plan()
    outcomes = [Outcome.DONE, Outcome.UNKNOWN, Outcome.STALE, Outcome.FAILED, Outcome.NOT_ATTEMPTED]
    results = tuple(
        Result(change=change, outcome=outcome, calls=(Call.PAUSE,), detail="" if outcome is Outcome.DONE else "why")
        for change, outcome in zip(plan.changes, outcomes, strict=True)
    )
    text = terminal(
        report_page(ApplyReport(plan=plan, results=results, started_ms=0, finished_ms=0)), PLAIN, below=True
    )
    assert text.splitlines()[0].startswith("  done           + start   ao04x0r6  Growth index  every 24h")
    assert text.splitlines()[-1] == "Apply: 1 done, 0 already done, 1 stale, 1 failed, 1 unknown, 1 not attempted."


def test_diagnostics_point_at_the_place() -> None:
    """The sentence, the source line, and a caret under what is wrong."""
    span = SourceSpan("a.yaml", 3, 13, 4)
    found = Diagnostic(
        Severity.ERROR,
        "9:30 is not a duration",
        "write 9h30m",
        "portfolios.a.interval",
        span,
        "  interval: 9:30",
    )
    assert terminal(diagnostics_page([found]), PLAIN) == (
        "a.yaml:3:13: portfolios.a.interval: 9:30 is not a duration; write 9h30m\n"
        "  3 |   interval: 9:30\n"
        "    |             ^^^^\n"
    )


def test_columns_measure_what_is_seen() -> None:
    """Wide characters take two cells, combining ones and colours none."""
    assert width("漢字") == 4
    assert width("e\u0301") == 1
    assert width("\x1b[31mred\x1b[0m") == 3
    assert cut("漢字漢字", 5) == "漢字…"
    facts = Page(title="", verdict="", blocks=(Facts((("漢", "x"), ("abc", "y"))),))
    assert terminal(facts, PLAIN) == "  漢   x\n  abc  y\n"


def test_a_narrow_terminal_breaks_the_last_column() -> None:
    """In a terminal the effect keeps to its column; nothing is wider than the terminal."""
    text = terminal(plan_page(small_plan()), Style(columns=80))
    assert "interval 24h → 12h, 1 → 2 runs a day, moves\n" in text
    assert "\n                                     the next run (2026-11-22 12:00 UTC)\n" in text
    table = text.split("\n\n")[1]
    assert max(width(line) for line in table.splitlines()) <= 80
