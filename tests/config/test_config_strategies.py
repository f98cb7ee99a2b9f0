"""The ``strategies`` section: what is read, and what is said of each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.config.explain import trace
from reconciler.core.errors import ConfigInvalid, UsageError
from reconciler.core.guards import Guards, Limit
from reconciler.core.model import Cadence, Origin, StrategyDesired, StrategyId
from reconciler.core.plan import Guarded
from tests.config.support import TODAY, load_files, load_text, problems, said


def test_what_is_declared() -> None:
    """Each strategy has its cadence, its label and its place, sorted by id; no portfolio is needed beside them."""
    configuration = load_text(
        "version: 1\nstrategies:\n  01JWB: {schedule: weekly}\n  01JWA:\n    name: Momentum\n    schedule: daily\n"
    )
    assert configuration.desired == {}
    assert list(configuration.strategies.items()) == [
        (
            StrategyId("01JWA"),
            StrategyDesired(
                id=StrategyId("01JWA"), schedule=Cadence.DAILY, name="Momentum", origin=Origin("<stdin>", 4)
            ),
        ),
        (
            StrategyId("01JWB"),
            StrategyDesired(id=StrategyId("01JWB"), schedule=Cadence.WEEKLY, origin=Origin("<stdin>", 3)),
        ),
    ]


def test_strategies_of_several_files() -> None:
    """Files merge by strategy."""
    configuration = load_files(
        {
            "a.yaml": "version: 1\nstrategies:\n  b: {schedule: hourly}\n",
            "b.yaml": "version: 1\nportfolios:\n  p1: {state: paused}\nstrategies:\n  a: {schedule: monthly}\n",
        }
    )
    assert [(s.id, s.schedule.value) for s in configuration.strategies.values()] == [("a", "monthly"), ("b", "hourly")]
    assert list(configuration.desired) == ["p1"]


def test_the_same_strategy_twice_names_both_places() -> None:
    """There is no last one wins."""
    with pytest.raises(ConfigInvalid) as caught:
        load_files(
            {
                "a.yaml": "version: 1\nstrategies:\n  x: {schedule: daily}\n",
                "b.yaml": "version: 1\nstrategies:\n  x: {schedule: weekly}\n",
            }
        )
    assert said(list(caught.value.diagnostics)) == [
        "b.yaml:3:3: strategies.x: this is declared a second time; the first is at a.yaml:3:3; remove one of the two"
    ]


MISTAKES = {
    "a slip": ("x: {schedule: dayly}", "x.schedule: `dayly` is not a cadence; did you mean `daily`?"),
    "a duration": ("x: {schedule: 24h}", "x.schedule: `24h` is not a cadence; write `daily`"),
    "milliseconds": ("x: {schedule: 604800000}", "x.schedule: `604800000` is not a cadence; write `weekly`"),
    "no such cadence": (
        "x: {schedule: biweekly}",
        "x.schedule: `biweekly` is not a cadence; strategies have no such cadence; write `weekly` or `monthly`",
    ),
    "nothing near": (
        "x: {schedule: now}",
        "x.schedule: `now` is not a cadence; write `hourly`, `daily`, `weekly` or `monthly`",
    ),
    "empty": ("x: {schedule: }", "x.schedule: there is no value; write `hourly`, `daily`, `weekly` or `monthly`"),
    "missing": ("x: {name: Momentum}", "x: `schedule` is missing; write `schedule: hourly` or"),
    "another word": (
        "x: {cadence: daily, schedule: daily}",
        "x.cadence: unknown key `cadence`; did you mean `schedule`?",
    ),
    "a portfolio's field": (
        "x: {state: active, schedule: daily}",
        "x.state: unknown key `state`; remove it; `state` belongs to portfolios, a strategy has a cadence only",
    ),
    "a label by another name": ("x: {title: M, schedule: daily}", "x.title: unknown key `title`; did you mean `name`?"),
    "not a mapping": ("x: daily", "x: `daily` is not a mapping; indent its fields under it"),
    "not an id": ("a b: {schedule: daily}", "a b: `a b` is not a strategy id; copy the id from Glider"),
}


@pytest.mark.parametrize(("entry", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_repair(entry: str, expected: str) -> None:
    """Each mistake is one problem at its place, with what to write instead."""
    found = said(problems(f"version: 1\nstrategies:\n  {entry}\n"))
    assert len(found) == 1
    assert f"strategies.{expected}" in found[0]


def test_a_broken_strategy_hides_no_other_problem() -> None:
    """All problems of all strategies are told at once."""
    found = problems("version: 1\nstrategies:\n  a: {}\n  b: {schedule: x}\n  c: {schedule: daily}\n")
    assert [d.address for d in found] == ["strategies.a", "strategies.b.schedule"]


def test_nothing_at_all_is_still_refused() -> None:
    """An empty section declares nothing, and nothing is more likely a mistake than a wish."""
    assert "no portfolios are declared" in said(problems("version: 1\nstrategies: {}\n"))[0]


def test_the_guard_of_reach() -> None:
    """It is declared like the others; without it half of the managed portfolios, and at least ten, may be reached."""
    declared = load_text("version: 1\nguards: {max_reach: 120}\nstrategies:\n  a: {schedule: daily}\n").guards
    assert declared.limit(Guarded.REACH) == Limit("120", count=120)
    default = Guards().limit(Guarded.REACH)
    assert default is not None
    assert [default.allows(managed) for managed in (0, 19, 300)] == [10, 10, 150]


def test_where_a_cadence_comes_from() -> None:
    """``explain`` knows strategies by their address, with the place of each field; a near miss gets a guess."""
    text = b"version: 1\nstrategies:\n  momentum: {schedule: daily}\n"
    given: dict[str, Any] = {"stdin": lambda: text, "today": TODAY, "cwd": Path("/")}
    fields = trace("strategies/momentum", ["-"], **given)
    assert [(f.field, f.value, f.layer, f.span and f.span.line) for f in fields] == [
        ("name", "", "not declared", None),
        ("schedule", "daily", "strategy", 3),
    ]
    with pytest.raises(UsageError) as refused:
        trace("strategies/momentun", ["-"], **given)
    assert refused.value.detail == "Did you mean strategies/momentum?"
