"""Seeds: what they mean, how they survive being kept, and every way to get one wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.errors import SandboxError
from reconciler.sandbox.model import AutomationState
from reconciler.sandbox.seed import (
    PathFamilies,
    RateLimit,
    Seed,
    SeedPortfolio,
    Settings,
    UpdateWhilePaused,
    parse_seed,
    seed_data,
)

HOUR = 3_600_000


def test_a_full_seed_is_read() -> None:
    """Every field of the format reaches the value."""
    seed = parse_seed(
        {
            "version": 1,
            "settings": {
                "readable_schedule": True,
                "paths": "guide",
                "rate_limit": {"limit": 7, "window": "10s"},
                "update_while_paused": "refuse",
            },
            "portfolios": {
                "b": {"status": "inactive"},
                "a": {
                    "status": "paused",
                    "interval": "24h",
                    "offset": "90m",
                    "started": "10d",
                    "name": "Growth",
                    "chain": "ethereum",
                    "pause_reason": "by hand",
                    "word": "degraded",
                },
            },
        }
    )
    assert seed.settings == Settings(
        readable_schedule=True,
        paths=PathFamilies.GUIDE,
        rate_limit=RateLimit(limit=7, window_ms=10_000),
        update_while_paused=UpdateWhilePaused.REFUSE,
    )
    assert [portfolio.id for portfolio in seed.portfolios] == ["a", "b"]
    assert seed.portfolios[0] == SeedPortfolio(
        id="a",
        state=AutomationState.PAUSED,
        interval_ms=24 * HOUR,
        offset_ms=HOUR + HOUR // 2,
        age_ms=240 * HOUR,
        name="Growth",
        chain="ethereum",
        pause_reason="by hand",
        word="degraded",
    )


def test_defaults() -> None:
    """A portfolio needs a status alone: it runs every 6 hours since 30 days ago."""
    (portfolio,) = parse_seed({"version": 1, "portfolios": {"a": {"status": "active"}}}).portfolios
    assert (portfolio.interval_ms, portfolio.offset_ms, portfolio.age_ms) == (6 * HOUR, 0, 720 * HOUR)


def one(**fields: Any) -> dict[str, Any]:
    """A seed of one active portfolio."""
    return {"version": 1, "portfolios": {"a": {"status": "active"} | fields}}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "must be a mapping, not nothing"),
        ([], "must be a mapping, not a list"),
        ({"portfolios": {}}, "version: must be 1, not nothing"),
        ({"version": 2}, "version: must be 1, not 2"),
        ({"version": True}, "version: must be 1, not True"),
        ({"version": 1, "portfolio": {}}, "portfolio: is not a known field; did you mean portfolios?"),
        ({"version": 1, "portfolios": []}, "portfolios: must be a mapping of ids to portfolios, not a list"),
        ({"version": 1, "portfolios": {"a": None}}, "portfolios.a: must be a mapping, not nothing"),
        ({"version": 1, "portfolios": {"a": {}}}, "portfolios.a.status: is missing"),
        ({"version": 1, "portfolios": {12: {"status": "active"}}}, "portfolios.12: is not a portfolio id"),
        ({"version": 1, "portfolios": {"../x": {"status": "active"}}}, "portfolios.../x: is not a portfolio id"),
        (
            one(status="activ"),
            "portfolios.a.status: must be one of inactive, active, paused, archived, error, not activ",
        ),
        (one(interval="soon"), "portfolios.a.interval: 'soon' is not a duration"),
        (one(interval=True), "portfolios.a.interval: must be a duration, not True"),
        (one(interval="59m"), "portfolios.a.interval: must be between 1h and 365d"),
        (one(interval="1h", offset="1h"), "portfolios.a.offset: must be shorter than the interval"),
        (one(offset=-1), "portfolios.a.offset: -1 is negative"),
        (one(started="4000d"), "portfolios.a.started: must be between 0s and 3650d"),
        (one(name=""), "portfolios.a.name: must be a text of 1 to 1000 characters"),
        (one(pause_reason="x"), "portfolios.a.pause_reason: means nothing for a portfolio that is active"),
        (one(status="inactive", interval="6h"), "portfolios.a.interval: means nothing for an inactive portfolio"),
        ({"version": 1, "settings": {"paths": "none"}}, "settings.paths: must be one of both, reference, guide"),
        ({"version": 1, "settings": {"readable_schedule": 1}}, "settings.readable_schedule: must be true or false"),
        ({"version": 1, "settings": {"rate_limit": {"limit": 0}}}, "settings.rate_limit.limit: must be a whole number"),
        ({"version": 1, "settings": {"rate_limit": {"window": "1ms"}}}, "settings.rate_limit.window: must be between"),
        ({"version": 1, "settings": None}, "settings: must be a mapping, not nothing"),
    ],
)
def test_a_wrong_seed_is_explained(data: object, problem: str) -> None:
    """Each mistake is named with its address."""
    with pytest.raises(SandboxError) as caught:
        parse_seed(data)
    assert problem in caught.value.detail


def test_every_problem_is_reported_at_once() -> None:
    """Nobody repairs a seed one mistake at a time."""
    with pytest.raises(SandboxError) as caught:
        parse_seed({"version": 1, "portfolios": {"a": {"status": "x"}, "b": {"interval": "1m"}}})
    assert caught.value.summary == "the seed has 3 problems"
    assert [line.split(":")[0] for line in caught.value.detail.splitlines()] == [
        "portfolios.a.status",
        "portfolios.b.status",
        "portfolios.b.interval",
    ]


texts = st.none() | st.text(min_size=1, max_size=20)


@st.composite
def seeds(draw: st.DrawFn) -> Seed:
    """Any seed."""
    limit = st.builds(RateLimit, limit=st.integers(1, 1000), window_ms=st.integers(1_000, 86_400_000))
    settings = draw(
        st.builds(
            Settings,
            readable_schedule=st.booleans(),
            paths=st.sampled_from(PathFamilies),
            rate_limit=st.none() | limit,
            update_while_paused=st.sampled_from(UpdateWhilePaused),
        )
    )
    names = draw(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True), unique=True, max_size=5))
    return Seed(settings, tuple(draw(seed_portfolios(name)) for name in sorted(names)))


@st.composite
def seed_portfolios(draw: st.DrawFn, name: str) -> SeedPortfolio:
    """Any portfolio of a seed."""
    state = draw(st.sampled_from(AutomationState))
    idle = state is AutomationState.INACTIVE
    interval = 6 * HOUR if idle else draw(st.integers(HOUR, 8_760 * HOUR))
    stopped = state in (AutomationState.PAUSED, AutomationState.ARCHIVED)
    return SeedPortfolio(
        id=name,
        state=state,
        interval_ms=interval,
        offset_ms=0 if idle else draw(st.integers(0, interval - 1)),
        age_ms=720 * HOUR if idle else draw(st.integers(0, 10**9)),
        name=draw(texts),
        chain=draw(texts),
        pause_reason=draw(texts) if stopped else None,
        word=draw(texts),
    )


@given(seeds())
def test_a_seed_survives_being_kept(seed: Seed) -> None:
    """Plain data and back is the same seed."""
    assert parse_seed(seed_data(seed)) == seed
