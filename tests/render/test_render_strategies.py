"""Strategies shown: in a plan, in a report, in Markdown, and nowhere in a fleet that has none."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from reconciler.core.change import Blocked, BlockReason, Cause, Change, Risk
from reconciler.core.diff import compare_plans
from reconciler.core.errors import ExitReason
from reconciler.core.intent import Call
from reconciler.core.model import Cadence, Provenance, StrategyId, StrategyStatus, Verb, address_of
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.report import ApplyReport, Outcome, Result, Write
from reconciler.core.text import plural
from reconciler.render.compare import comparison_page, drift_page
from reconciler.render.effects import cadence_text, reach_text, strategies_line
from reconciler.render.history import wanted
from reconciler.render.markdown import markdown
from reconciler.render.page import Tone
from reconciler.render.plan import plan_page, report_document, report_page
from reconciler.render.terminal import PLAIN, terminal
from tests.endings import change as planned
from tests.support import cadence_change

HOSTILE = "<img src=x> | @me\x1b[31m [x](http://evil)"


def change(
    strategy: str = "01JWA",
    *,
    before: Cadence | None = Cadence.DAILY,
    after: Cadence = Cadence.WEEKLY,
    reach: int | None = 120,
    **given: object,
) -> Change:
    return cadence_change(strategy, before, after, reach=reach, **given)


def plan_of(*changes: Change, blocked: tuple[Blocked, ...] = (), no_op: int = 0) -> Plan:
    empty = build_plan(Plan(base_url="https://api.glider.fi", created_ms=0, config_files=("a.yaml",)), {}, {}, Memory())
    return replace(empty, changes=changes, blocked=blocked, strategies_no_op=no_op)


BLOCKED = Blocked(
    id=address_of(StrategyId("01JWB")),
    reason=BlockReason.NOT_FOUND,
    detail=f"not found {HOSTILE}",
    status=StrategyStatus.NOT_FOUND,
    name="Value",
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "schedule daily → weekly"),
        ({"before": None, "provenance": Provenance.NONE}, "schedule ? → weekly"),
        ({"provenance": Provenance.RECORDED}, "schedule daily (recorded) → weekly"),
    ],
)
def test_the_cadence_in_words(given: dict[str, object], expected: str) -> None:
    """What is not known is a question mark, and what we only remember is called so."""
    assert cadence_text(change(**given)) == expected


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        (0, "reaches 0 portfolios"),
        (1, "reaches 1 portfolio"),
        (120, "reaches 120 portfolios"),
        (None, "reaches an unknown number of portfolios"),
    ],
)
def test_the_reach_in_words(reach: int | None, expected: str) -> None:
    """A number that nobody knows is not called none."""
    assert reach_text(change(reach=reach)) == expected


def test_a_plan_with_strategies() -> None:
    """Rows, the line of counts, and the last line as ever."""
    shown = terminal(plan_page(plan_of(change(name="Momentum"), blocked=(BLOCKED,), no_op=2)), PLAIN)
    assert shown.splitlines()[2:] == [
        "  ~ update   strategy 01JWA  Momentum  schedule daily → weekly, reaches 120 portfolios",
        "  x blocked  strategy 01JWB  Value     not found <img src=x> | @me\\u{1b}[31m [x](http://evil)",
        "",
        "Strategies: 1 to update, 2 unchanged, 1 blocked.",
        "Plan: 0 to start, 0 to resume, 0 to pause, 0 to update. 0 unchanged, 0 held, 0 blocked.",
    ]


def test_a_fleet_without_strategies_never_reads_of_them() -> None:
    """No line, no block."""
    plan = plan_of()
    assert strategies_line(plan) == ""
    report = ApplyReport(plan=plan, results=(), started_ms=0, finished_ms=0)
    shown = (
        terminal(plan_page(plan), PLAIN)
        + markdown(plan_page(plan))
        + terminal(drift_page(plan), PLAIN)
        + markdown(drift_page(plan))
    )
    assert "trateg" not in shown + terminal(report_page(report), PLAIN) + markdown(report_page(report))


def test_unchanged_strategies_are_counted() -> None:
    """Nothing to do is said, and how many strategies that is about."""
    shown = terminal(plan_page(plan_of(no_op=3)), PLAIN)
    assert "Nothing to do" in shown
    assert "Strategies: 0 to update, 3 unchanged, 0 blocked." in shown


def test_a_cause_is_the_headline_of_its_changes() -> None:
    """Where a base was given, a terminal shows each change under where it comes from, and a block under what stays.

    A document shows what needs a look first, across the causes, with a column for them.
    """
    plan = plan_of(change("01JWA", cause=Cause.DRIFT), change("01JWC", cause=Cause.BRANCH), blocked=(BLOCKED,))
    lines = terminal(plan_page(plan), PLAIN).splitlines()
    effect = "schedule daily → weekly, reaches 120 portfolios"
    assert lines[2:10] == [
        "This branch (1)",
        f"  ~ update  strategy 01JWC  {effect}",
        "",
        "Drift: live moved, the files did not (1)",
        f"  ~ update  strategy 01JWA  {effect}",
        "",
        "Not changed (1)",
        "  x blocked  strategy 01JWB  Value  not found <img src=x> | @me\\u{1b}[31m [x](http://evil)",
    ]
    shown = markdown(plan_page(plan))
    places = ["| this branch |", "strategy `01JWC`", "| drift |", "strategy `01JWA`", "**Blocked** (1)"]
    assert [shown.index(place) for place in places] == sorted(shown.index(place) for place in places)


def test_a_report_with_strategies() -> None:
    """What went wrong is told, what went well says what it did; both count in the last line."""
    plan = plan_of(change("01JWA"), change("01JWB"), blocked=(BLOCKED,))
    results = (
        Result(change=plan.changes[0], outcome=Outcome.DONE, calls=(Call.SET_CADENCE,)),
        Result(change=plan.changes[1], outcome=Outcome.FAILED, detail=f"refused {HOSTILE}", notes=("so",)),
    )
    report = ApplyReport(plan=plan, results=results, started_ms=0, finished_ms=0)
    assert terminal(report_page(report), PLAIN, below=True).splitlines() == [
        "  done    ~ update  strategy 01JWA  schedule daily → weekly, reaches 120 portfolios",
        "  failed  ~ update  strategy 01JWB  refused <img src=x> | @me\\u{1b}[31m [x](http://evil); so",
        "",
        "Apply: 1 done, 0 already done, 0 stale, 1 failed, 0 unknown, 0 not attempted.",
    ]
    assert report.exit_reason is ExitReason.PARTIAL
    ends = {
        "before": {"state": None, "interval_ms": None, "offset_ms": None, "cadence": "daily"},
        "after": {"state": None, "interval_ms": None, "offset_ms": None, "cadence": "weekly"},
        "reach": 120,
    }
    document = json.loads(json.dumps(report_document(report)))
    assert document["results"] == [
        {
            "id": "strategies/01JWA",
            "name": None,
            "verb": "update",
            **ends,
            "outcome": "done",
            "calls": ["set-cadence"],
            "detail": "",
            "notes": [],
            "frozen": None,
        },
        {
            "id": "strategies/01JWB",
            "name": None,
            "verb": "update",
            **ends,
            "outcome": "failed",
            "calls": [],
            "detail": f"refused {HOSTILE}",
            "notes": ["so"],
            "frozen": None,
        },
    ]
    assert document["blocked"] == [{"id": "strategies/01JWB", "reason": "not_found"}]
    shown = markdown(report_page(report))
    assert "\x1b" not in shown
    rows = [line for line in shown.splitlines() if "strategy `01J" in line]
    assert [row.count(" | ") for row in rows] == [3, 3, 3]
    failed, blocked, done = rows
    assert failed.startswith("| ❌ failed |")
    assert blocked.startswith("| `x`&nbsp;blocked |")
    assert done.endswith("| schedule daily → weekly, reaches 120 portfolios |")


def test_markdown_leads_with_what_is_gravest() -> None:
    """Faster before slower, an unknown reach before a known one, more before fewer."""
    plan = plan_of(
        change("few", reach=1),
        change("many", reach=500),
        change("nobody-knows", reach=None),
        change("faster", reach=1, risks=(Risk.MORE_RUNS,)),
    )
    shown = markdown(plan_page(plan))
    places = [shown.index(f"strategy `{name}`") for name in ("faster", "nobody-knows", "many", "few")]
    assert places == sorted(places)


def test_every_change_of_a_strategy_needs_a_look() -> None:
    """Also one that only slows down: it holds for many portfolios; with a portfolio's changes it stands before them."""
    slower = change(reach=1, risks=(Risk.REACHES_PORTFOLIOS,))
    plan = plan_of(planned(1, Verb.RESUME, risks=(Risk.HOLD_OVERRIDDEN,)), planned(2, Verb.PAUSE), slower)
    page = plan_page(plan_of(slower))
    assert (page.tone, page.verdict) == (Tone.NOTICE, "1 change")
    shown = markdown(plan_page(plan))
    places = ["Needs a look", "strategy `01JWA`", "`p00001`", "Everything else", "`p00002`"]
    assert [shown.index(place) for place in places] == sorted(shown.index(place) for place in places)


def test_markdown_is_not_made_by_data() -> None:
    """No name and no reason forms a link, a mention, HTML or a new cell."""
    shown = markdown(plan_page(plan_of(change(name=HOSTILE), blocked=(BLOCKED,))))
    assert "<img" not in shown
    assert "](http://" not in shown
    assert "@me" not in shown
    assert "\x1b" not in shown
    rows = [line for line in shown.splitlines() if "strategy `01J" in line]
    assert [line.count(" | ") for line in rows] == [3, 3]


def test_drift_and_comparison_name_strategies() -> None:
    """Under their address, with what is declared and what is live."""
    plan = plan_of(change(cause=Cause.DRIFT), change("01JWB", before=None, cause=Cause.PENDING), no_op=1)
    shown = terminal(drift_page(plan), PLAIN)
    assert "moved       strategies/01JWA  schedule declared weekly, live daily, reaches 120 portfolios" in shown
    assert "unverified  strategies/01JWB  schedule declared weekly, live ?" in shown
    assert shown.splitlines()[-1] == "Drift: 1 moved, 0 pending, 1 unverified, 0 held, 0 blocked. 1 as declared."
    compared = terminal(comparison_page(compare_plans(earlier=plan_of(blocked=(BLOCKED,)), later=plan)), PLAIN)
    assert "appeared  ~ update  strategies/01JWA" in compared
    assert "changed   ~ update  strategies/01JWB" in compared


def test_history_shows_the_cadence() -> None:
    """What a write sent to a strategy is its cadence."""
    write = Write(
        number=1,
        portfolio=address_of(StrategyId("01JWA")),
        call=Call.SET_CADENCE,
        interval_ms=None,
        offset_ms=None,
        intent_ms=0,
        outcome="confirmed",
        detail="",
        outcome_ms=1,
        cadence=Cadence.MONTHLY,
    )
    assert wanted(write) == "monthly"


@pytest.mark.parametrize(("count", "expected"), [(1, "1 strategy"), (0, "0 strategies"), (2, "2 strategies")])
def test_plural(count: int, expected: str) -> None:
    """A strategy has strategies."""
    assert plural(count, "strategy") == expected
