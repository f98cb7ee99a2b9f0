"""``api`` in the layers: what a v2 portfolio inherits, what it can't have, and where that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.config.explain import trace
from reconciler.core.model import ApiVersion, PortfolioId
from tests.config.support import TODAY, load_text, problems, said

HAS_NO = "a v2 portfolio has no interval of its own: its cadence belongs to its strategy"
NEVER = "a v2 portfolio is never started, only resumed, and then a rebalance is due at once"
REPAIR = "remove the line, and declare the strategy's `schedule` under `strategies`"

LAYERS = """version: 1
defaults: {DEFAULTS}
groups:
  g: {GROUP}
portfolios:
  a: {state: active, group: gOWN}
"""


def text(*, defaults: str = "", group: str = "", own: str = "") -> str:
    """Return files whose three layers hold these fields."""
    return LAYERS.replace("DEFAULTS", defaults).replace("GROUP", group).replace("OWN", f", {own}" if own else "")


FINE: dict[str, tuple[dict[str, str], ApiVersion, int | None]] = {
    "nobody says": ({"defaults": "interval: 24h"}, ApiVersion.V1, 24),
    "in the portfolio, below": ({"defaults": "interval: 24h", "own": "api: v2"}, ApiVersion.V2, None),
    "in the portfolio, group below": ({"group": "interval: 24h, offset: 1h", "own": "api: v2"}, ApiVersion.V2, None),
    "in the group, defaults below": (
        {"defaults": "interval: 24h, run_on_start: true", "group": "api: v2"},
        ApiVersion.V2,
        None,
    ),
    "in the defaults": ({"defaults": "api: v2"}, ApiVersion.V2, None),
    "back to v1": ({"defaults": "interval: 24h", "group": "api: v2", "own": "api: v1"}, ApiVersion.V1, 24),
    "back to v1 beside it": (
        {"defaults": "api: v2, interval: 24h", "own": "api: v1, offset: 1h"},
        ApiVersion.V1,
        24,
    ),
}


@pytest.mark.parametrize("name", FINE)
def test_what_comes_from_farther_layers_is_left_out(name: str) -> None:
    """The nearest ``api`` wins; cadence that was declared for others below it is not this portfolio's."""
    layers, version, hours = FINE[name]
    desired = load_text(text(**layers)).desired[PortfolioId("a")]
    assert desired.api is version
    assert desired.interval_ms == (hours * 3_600_000 if hours else None)
    if version is ApiVersion.V2:
        assert (desired.offset_ms, desired.run_on_start) == (None, False)


WRONG: dict[str, tuple[dict[str, str], list[str]]] = {
    "beside it": (
        {"own": "api: v2, interval: 24h"},
        [f"6:51: portfolios.a.interval: {HAS_NO}; {REPAIR}"],
    ),
    "nearer than it": (
        {"defaults": "api: v2", "own": "interval: 24h"},
        [f"6:42: portfolios.a.interval: {HAS_NO}; {REPAIR}"],
    ),
    "in the group, below the defaults' v2": (
        {"defaults": "api: v2", "group": "interval: 24h"},
        [f"4:17: groups.g.interval: {HAS_NO}; {REPAIR}"],
    ),
    "beside it in the defaults": (
        {"defaults": "interval: 24h, api: v2"},
        [f"2:22: defaults.interval: {HAS_NO}; {REPAIR}"],
    ),
    "all three": (
        {"own": "api: v2, interval: 24h, offset: 1h, run_on_start: true"},
        [
            f"6:51: portfolios.a.interval: {HAS_NO}; {REPAIR}",
            f"6:64: portfolios.a.offset: {HAS_NO.replace('interval', 'offset')}; {REPAIR}",
            f"6:82: portfolios.a.run_on_start: {NEVER}; remove the line",
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_cadence_no_farther_than_the_version_is_an_error(name: str) -> None:
    """Somebody meant it for this portfolio: said where it stands, with where cadence lives."""
    layers, expected = WRONG[name]
    assert said(problems(text(**layers))) == expected


def test_a_problem_of_a_layer_is_said_once() -> None:
    """However many portfolios lie above it."""
    portfolios = "".join(f"  p{number}: {{state: active, group: g}}\n" for number in range(50))
    source = text(defaults="api: v2", group="offset: 1h") + portfolios
    assert len(problems(source)) == 1


def test_a_group_that_nobody_uses_on_v2_is_fine() -> None:
    """Its interval is for v1 portfolios; only what takes effect is judged."""
    source = text(defaults="api: v2", group="interval: 24h", own="api: v1")
    assert load_text(source).desired[PortfolioId("a")].interval_ms == 24 * 3_600_000


def test_the_ethereum_minimum_does_not_concern_a_cadence_that_is_left_out() -> None:
    """An interval of the defaults below 24h is not the v2 portfolio's, whatever its chain."""
    desired = load_text(text(defaults="interval: 6h", own="api: v2, chain: ethereum")).desired[PortfolioId("a")]
    assert (desired.chain, desired.interval_ms) == ("ethereum", None)


WORDS: dict[str, str] = {
    "api: 2": "`2` is not a version of the API; write `v2`",
    "api: V1": "`V1` is not a version of the API; write `v1`",
    "api: v3": "`v3` is not a version of the API; write `v1` or `v2`",
    "api: []": "a list stands where a version of the API is expected; write `v1` or `v2`",
}


@pytest.mark.parametrize("own", WORDS)
def test_another_word(own: str) -> None:
    """Said with a repair; nobody guesses at a version that does not exist."""
    assert [line.partition("api: ")[2] for line in said(problems(text(own=own)))] == [WORDS[own]]


def test_explain_says_what_is_not_used() -> None:
    """A field that a farther layer declares for others has no value here."""
    source = text(defaults="interval: 24h", group="api: v2").encode()
    fields = {
        one.field: (one.value, one.layer) for one in trace("a", ["-"], stdin=lambda: source, today=TODAY, cwd=Path("/"))
    }
    assert fields["api"] == ("v2", "group g")
    assert fields["interval"] == ("", "not used on v2")
    assert fields["offset"] == ("", "not declared")


ONLY_V2 = "only a v2 portfolio has a strategy, and this one is managed by v1; remove the line, or declare `api: v2`"
STRATEGIES: dict[str, tuple[dict[str, str], str]] = {
    "nobody says which API": ({"own": "strategy: s1"}, f"6:42: portfolios.a.strategy: {ONLY_V2}"),
    "v1 beside it": ({"own": "strategy: s1, api: v1"}, f"6:42: portfolios.a.strategy: {ONLY_V2}"),
    "v1 above v2": ({"group": "api: v2", "own": "api: v1, strategy: s1"}, f"6:51: portfolios.a.strategy: {ONLY_V2}"),
    "not an id": (
        {"own": "api: v2, strategy: Mo mentum"},
        "6:51: portfolios.a.strategy: `Mo mentum` is not a strategy id; copy the strategy's id from Glider",
    ),
    "a number": (
        {"own": "api: v2, strategy: 12"},
        "is not a strategy id; copy the strategy's id from Glider, in quotes",
    ),
    "empty": ({"own": "api: v2, strategy: "}, "6:41: portfolios.a.strategy: there is no value; copy the strategy's id"),
    "in the defaults": (
        {"defaults": "api: v2, strategy: s1"},
        "2:21: defaults.strategy: unknown key `strategy`; `strategy` belongs to one portfolio: write it at the",
    ),
    "in a group": (
        {"group": "api: v2, strategy: s1"},
        "`strategy` belongs to one portfolio: write it at the portfolio",
    ),
    "another word": (
        {"own": "api: v2, strategy_id: s1"},
        "6:41: portfolios.a.strategy_id: unknown key `strategy_id`; did you mean `strategy`?",
    ),
    "beside a broken version": ({"own": "api: v9, strategy: s1"}, "6:37: portfolios.a.api: `v9` is not a version"),
}


@pytest.mark.parametrize("layers", [{"own": "api: v2"}, {"group": "api: v2"}, {"defaults": "api: v2"}])
def test_a_v2_portfolio_may_name_its_strategy(layers: dict[str, str]) -> None:
    """Wherever its API comes from; the strategy itself need not be declared."""
    own = ", ".join(part for part in (layers.get("own"), "strategy: s1") if part)
    assert load_text(text(**{**layers, "own": own})).desired[PortfolioId("a")].strategy == "s1"
    assert load_text(text(**layers)).desired[PortfolioId("a")].strategy is None


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_is_wrong_with_a_strategy(name: str) -> None:
    """One problem, where it stands, and how to repair it."""
    layers, expected = STRATEGIES[name]
    (found,) = said(problems(text(**layers)))
    assert expected in found


def test_explain_follows_the_strategy_to_its_cadence() -> None:
    """What the strategy declares stands behind it, with its place; nothing where it is not declared."""
    source = text(own="api: v2, strategy: s1")
    declared = source + "strategies:\n  s1:\n    schedule: weekly\n"
    for files, expected in (
        (declared, [("strategy", "s1", "portfolio", 6), ("strategy.schedule", "weekly", "strategy", 9)]),
        (source, [("strategy", "s1", "portfolio", 6), ("strategy.schedule", "", "not declared", None)]),
        (text(own="api: v2"), [("strategy", "", "not declared", None)]),
    ):
        fields = trace("a", ["-"], stdin=files.encode, today=TODAY, cwd=Path("/"))
        found = [(one.field, one.value, one.layer, one.span and one.span.line) for one in fields]
        assert [one for one in found if one[0].startswith("strategy")] == expected


def test_a_broken_version_hides_no_other_problem() -> None:
    """A layer whose ``api`` is broken is judged by nothing else of v2, and is itself reported."""
    found: list[Any] = said(problems(text(group="api: v9, interval: 5m")))
    assert len(found) == 2
