"""``costs`` and ``silence`` in the files: their layers, their places and their mistakes."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from reconciler.config.explain import trace
from reconciler.core.advice import Rule
from reconciler.core.model import PortfolioId
from reconciler.core.sections import published_schema
from tests.config.support import load_text, problems, said

if TYPE_CHECKING:
    from pathlib import Path

FILE = """version: 1
defaults:
  costs: {warn_above_usd_month: 50, per_rebalance_usd: 1}
  silence: {many-resumes: Monday is resume day}
groups:
  hedges:
    costs: {per_rebalance_usd: 0.35}
    silence: {short-interval: Hedges must follow}
portfolios:
  aaa: {state: active, group: hedges, interval: 1h, silence: {many-resumes: Mine}}
  bbb: {state: active, interval: 1h}
  ccc: {state: active, interval: 1h, costs: {warn_above_usd_month: 800}}
"""


def test_the_layers_are_laid_over_one_another_key_by_key() -> None:
    """A nearer amount or silence wins, and what only a farther layer has stays."""
    desired = load_text(FILE).desired
    found = {
        portfolio: (
            one.per_rebalance_usd,
            one.warn_above_usd_month,
            [(silence.rule.value, silence.reason, silence.address) for silence in one.silences],
        )
        for portfolio, one in desired.items()
    }
    resumes = ("many-resumes", "Monday is resume day", "defaults.silence.many-resumes")
    hedges = ("short-interval", "Hedges must follow", "groups.hedges.silence.short-interval")
    assert found == {
        "aaa": (0.35, 50.0, [("many-resumes", "Mine", "portfolios.aaa.silence.many-resumes"), hedges]),
        "bbb": (1.0, 50.0, [resumes]),
        "ccc": (1.0, 800.0, [resumes]),
    }
    assert [str(desired[PortfolioId(name)].silences[-1].span) for name in ("aaa", "bbb")] == [
        "<stdin>:8:15",
        "<stdin>:4:13",
    ]


def test_advice_is_a_warning_of_the_configuration() -> None:
    """The warning stands at the portfolio's line and names its rule."""
    warnings = load_text(FILE).warnings
    assert [(str(found.span), found.address, found.rule) for found in warnings] == [
        ("<stdin>:11:1", "portfolios.bbb", "short-interval")
    ]


def test_a_silence_of_nothing_is_told_once_at_its_layer() -> None:
    """A layer's needless silence is one warning, not one for each portfolio below it."""
    text = """version: 1
defaults:
  silence: {short-interval: Once it was dear}
portfolios:
  aaa: {state: active, interval: 1d}
  bbb: {state: active, interval: 1d}
"""
    (found,) = said(list(load_text(text).warnings))
    assert found.startswith("3:13: defaults.silence.short-interval: the silence of `short-interval` silences nothing; ")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("costs: 3", "costs: `3` is not a mapping; indent amounts"),
        (
            "costs: {per_rebalance: 3}",
            "costs.per_rebalance: unknown key `per_rebalance`; did you mean `per_rebalance_usd`?",
        ),
        ("costs: {per_rebalance_usd: -1}", "costs.per_rebalance_usd: `-1` is negative; write 0 or more"),
        ("costs: {per_rebalance_usd: 1e9}", "costs.per_rebalance_usd: `1e9` is too much; write an amount"),
        ("costs: {per_rebalance_usd: .nan}", "costs.per_rebalance_usd: `.nan` is not an amount; write an amount"),
        ("costs: {per_rebalance_usd: .inf}", "costs.per_rebalance_usd: `.inf` is not an amount; write an amount"),
        ("costs: {per_rebalance_usd: '0.35'}", "costs.per_rebalance_usd: `0.35` is not an amount; remove the quotes"),
        ("costs: {per_rebalance_usd: 3 USD}", "costs.per_rebalance_usd: `3 USD` is not an amount; write an amount"),
        ("costs: {per_rebalance_usd: true}", "costs.per_rebalance_usd: `true` is not an amount; write an amount"),
        ("cost: {}", "cost: unknown key `cost`; did you mean `costs`?"),
        ("silence: short-interval", "silence: `short-interval` is not a mapping; indent rules"),
        (
            "silence: {short-intervl: x}",
            "silence.short-intervl: unknown key `short-intervl`; did you mean `short-interval`?",
        ),
        ("silence: {short-interval: }", "silence.short-interval: there is no value; write why"),
        ("silence: {short-interval: ' '}", "silence.short-interval: the text is blank; write something"),
        ("silence: {short-interval: 3}", 'silence.short-interval: `3` is a number, not text; put it in quotes: "3"'),
    ],
)
def test_mistakes_have_a_place_and_a_repair(entry: str, expected: str) -> None:
    """Every mistake is named at its key, with what to write instead."""
    (found,) = said(problems(f"version: 1\nportfolios:\n  aaa: {{state: active, {entry}}}\n"))
    assert found.split(": ", 1)[1].startswith(f"portfolios.aaa.{expected}")


def test_a_mistake_in_a_layer_hides_nothing() -> None:
    """Broken amounts and silences of layers are reported with everything else that is wrong."""
    text = "version: 1\ndefaults: {costs: [], silence: 3}\nportfolios: {aaa: {state: activ, silence: []}}\n"
    assert [found.address for found in problems(text)] == [
        "defaults.costs",
        "defaults.silence",
        "portfolios.aaa.state",
        "portfolios.aaa.silence",
    ]


def test_the_schema_knows_every_rule() -> None:
    """The rules that can be silenced are those that there are."""
    assert list(published_schema()["$defs"]["silence"]["properties"]) == [rule.value for rule in Rule]


def test_explain_names_the_layer_of_each_key(tmp_path: Path) -> None:
    """Each amount and silence is shown with its own layer and place."""
    (tmp_path / "a.yaml").write_text(FILE, "utf-8")
    fields = trace("aaa", ["a.yaml"], stdin=bytes, today=dt.date(2026, 11, 22), cwd=tmp_path)
    assert [(one.field, one.value, one.layer, str(one.span)) for one in fields[-4:]] == [
        ("costs.per_rebalance_usd", "0.35", "group hedges", "a.yaml:7:13"),
        ("costs.warn_above_usd_month", "50", "defaults", "a.yaml:3:11"),
        ("silence.short-interval", "Hedges must follow", "group hedges", "a.yaml:8:15"),
        ("silence.many-resumes", "Mine", "portfolio", "a.yaml:10:63"),
    ]
    (tmp_path / "b.yaml").write_text("version: 1\nportfolios: {aaa: {state: active}}\n", "utf-8")
    fields = trace("aaa", ["b.yaml"], stdin=bytes, today=dt.date(2026, 11, 22), cwd=tmp_path)
    assert [(one.field, one.layer) for one in fields[-2:]] == [("costs", "not declared"), ("silence", "not declared")]
