"""``offset: auto``: made of the id, the same everywhere, spread evenly, and refused without an interval."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.config.explain import trace
from reconciler.core.forms import auto_offset
from reconciler.core.model import PortfolioId
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS
from tests.config.support import TODAY, load_text, problems, said

TEXT = """\
version: 1
defaults: {interval: 24h, offset: auto}
groups:
  often: {interval: 90m}
portfolios:
  aaa: {state: active}
  bbb: {state: active, group: often}
  ccc: {state: active, offset: 5m}
  ddd: {state: paused, api: v2}
"""
NEEDS = "`auto` needs an interval, and none is declared; declare `interval` beside it, or write an offset"


def test_each_has_an_offset_of_its_own() -> None:
    """It is a number of whole minutes below the portfolio's interval, and does not change from release to release."""
    desired = load_text(TEXT).desired
    found = {str(i): (one.offset_ms, one.auto_offset) for i, one in desired.items()}
    assert found == {
        "aaa": (auto_offset("aaa", DAY_MS), True),
        "bbb": (auto_offset("bbb", 90 * MINUTE_MS), True),
        "ccc": (5 * MINUTE_MS, False),
        "ddd": (None, False),
    }
    assert (auto_offset("aaa", DAY_MS), auto_offset("bbb", 90 * MINUTE_MS)) == (785 * MINUTE_MS, 10 * MINUTE_MS)


@given(portfolio=st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True), interval_ms=st.integers(HOUR_MS, 365 * DAY_MS))
def test_it_fits_every_interval(portfolio: str, interval_ms: int) -> None:
    """It is never as long as the interval, and a whole number of minutes."""
    offset_ms = auto_offset(portfolio, interval_ms)
    assert 0 <= offset_ms < interval_ms
    assert offset_ms % MINUTE_MS == 0


def test_it_spreads_a_fleet() -> None:
    """Of 10,000 portfolios that run once a day at most 30 share a minute."""
    minutes = Counter(auto_offset(f"pf{number:05}", DAY_MS) for number in range(10_000))
    assert max(minutes.values()) <= 30
    assert len(minutes) > 1400


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "version: 1\ndefaults: {offset: auto}\nportfolios:\n  a1: {state: active}\n  a2: {state: active}\n",
            f"2:20: defaults.offset: {NEEDS}",
        ),
        (
            "version: 1\nportfolios:\n  a1: {state: active, offset: auto}\n",
            f"3:31: portfolios.a1.offset: {NEEDS}",
        ),
        (
            "version: 1\nportfolios:\n  a1: {state: active, interval: 24h, offset: Auto}\n",
            "3:46: portfolios.a1.offset: `Auto` is not a duration or `auto`; write `auto`",
        ),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    """It is said once, where it stands."""
    assert said(problems(text)) == [problem]


def test_a_broken_interval_is_one_problem() -> None:
    """Nothing is said of an offset whose interval can't be read."""
    found = said(problems("version: 1\nportfolios:\n  a1: {state: active, interval: often, offset: auto}\n"))
    assert len(found) == 1
    assert ".interval: " in found[0]


def test_it_is_explained() -> None:
    """The number that it comes to stands beside the word."""
    found = trace("bbb", ["-"], stdin=TEXT.encode, today=TODAY, cwd=Path("/"))
    (row,) = (one for one in found if one.field == "offset")
    assert (row.value, row.layer) == ("10m (auto)", "defaults")
    assert load_text(TEXT).desired[PortfolioId("bbb")].auto_offset
