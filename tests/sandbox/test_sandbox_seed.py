"""Seeds: what they mean, how they survive being kept, and every way to get one wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.codec import dump, load
from reconciler.core.errors import SandboxError
from reconciler.core.model import Cadence
from reconciler.sandbox import AutomationState, Seed, Store, parse_seed
from reconciler.sandbox.model import RebalancePace
from reconciler.sandbox.seed import Api, LastResult, Owner, SeedPortfolio, SeedStrategy
from reconciler.sandbox.settings import ApiScope, PathFamilies, RateLimit, Settings, UpdateWhilePaused

HOUR = 3_600_000
NOW = 1_795_000_000_000


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


def two(**fields: Any) -> dict[str, Any]:
    """A seed of one active portfolio of v2."""
    strategies = {"s": {"frequency": "daily"}, "bare": {}}
    return one(**{"api": "v2", "strategy": "s"} | fields) | {"strategies": strategies}


def rebalance(**fields: Any) -> dict[str, Any]:
    """A seed of nothing but the pace of rebalances."""
    return {"version": 1, "settings": {"rebalance": fields}}


def test_a_seed_of_v2_is_read() -> None:
    """Strategies and what belongs to v2 reach the value; scopes are put in order, an owner in lower case."""
    owner = "eip155:0:0x" + "A" * 40
    seed = parse_seed(
        {
            "version": 1,
            "settings": {
                "scopes": ["strategies:read", "portfolios:read"],
                "rebalance": {"queue": "1s", "takes": "1m", "cooldown": "1h"},
            },
            "strategies": {"t": {}, "s": {"frequency": "weekly", "owner": "foreign", "name": "Index"}},
            "portfolios": {
                "a": {"status": "active", "api": "v2", "strategy": "s", "owner": owner, "empty": True},
                "b": {"status": "inactive", "api": "v2", "strategy": "t", "started": "1h"},
                "c": {"status": "error", "api": "both", "strategy": "s", "interval": "1h", "last_result": "failed"},
            },
        }
    )
    assert seed.settings.scopes == (ApiScope.PORTFOLIOS_READ, ApiScope.STRATEGIES_READ)
    assert seed.settings.pace == RebalancePace(queue_ms=1_000, takes_ms=60_000, cooldown_ms=HOUR)
    assert seed.strategies == (
        SeedStrategy(id="s", frequency=Cadence.WEEKLY, owner=Owner.FOREIGN, name="Index"),
        SeedStrategy(id="t", frequency=None),
    )
    a, b, c = seed.portfolios
    assert (a.api, a.strategy, a.owner, a.empty) == (Api.V2, "s", owner.lower(), True)
    assert (b.state, b.age_ms) == (AutomationState.INACTIVE, HOUR)
    assert (c.api, c.interval_ms, c.last_result) == (Api.BOTH, HOUR, LastResult.FAILED)


def test_a_short_rebalance_has_a_short_queue() -> None:
    """Who sets only how long it takes gets a queue that fits."""
    assert parse_seed(rebalance(takes=1)).settings.pace == RebalancePace(queue_ms=0, takes_ms=1)


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
        (one(last_result="lost"), "portfolios.a.last_result: must be one of completed, failed, cancelled, not lost"),
        (one(status="inactive", last_result="failed"), "portfolios.a.last_result: means nothing for an inactive"),
        (one(strategy="s"), "portfolios.a.strategy: belongs to v2; add api: v2, or leave it out"),
        (one(owner="x"), "portfolios.a.owner: belongs to v2"),
        (one(empty=True), "portfolios.a.empty: belongs to v2"),
        (one(api="v3"), "portfolios.a.api: must be one of v1, v2, both, not v3"),
        (one(api="v2"), "portfolios.a.strategy: is missing; name one of those under strategies"),
        (one(api="v2", strategy="x"), "portfolios.a.strategy: x is not among the strategies; add it there"),
        (one(api="v2", strategy=["x"]), "portfolios.a.strategy: a list is not among the strategies"),
        (two(interval="6h"), "portfolios.a.interval: means nothing on v2, where the strategy has the cadence"),
        (two(offset="1h"), "portfolios.a.offset: means nothing on v2"),
        (two(status="paused", pause_reason="x"), "portfolios.a.pause_reason: means nothing on v2"),
        (two(status="error"), "portfolios.a.status: error does not exist on v2"),
        (two(status="inactive", word="odd"), "portfolios.a.word: means nothing without a schedule"),
        (two(strategy="bare"), "portfolios.a.strategy: has no frequency, so a portfolio can't be active"),
        (two(chain="solana"), "portfolios.a.chain: must be one of ethereum, optimism, polygon, base, arbitrum"),
        (two(owner="0xabc"), "portfolios.a.owner: must be an account as eip155:0:0x and 40 hexadecimal digits"),
        (two(empty="no"), "portfolios.a.empty: must be true or false"),
        ({"version": 1, "strategies": []}, "strategies: must be a mapping of ids to strategies, not a list"),
        ({"version": 1, "strategies": {"a/b": {}}}, "strategies.a/b: is not a strategy id"),
        ({"version": 1, "strategies": {"s": None}}, "strategies.s: must be a mapping, not nothing"),
        ({"version": 1, "strategies": {"s": {"frequency": "dayly"}}}, "did you mean daily?"),
        ({"version": 1, "strategies": {"s": {"owner": "me"}}}, "strategies.s.owner: must be one of own, foreign"),
        (rebalance(takes="1s", queue="1s"), "settings.rebalance.queue: must be shorter than takes"),
        (rebalance(takes=0), "settings.rebalance.takes: must be between"),
        (rebalance(cooldown="31d"), "settings.rebalance.cooldown: must be between 0s and 30d"),
        ({"version": 1, "settings": {"scopes": "all"}}, "settings.scopes: must be a list of portfolios:read"),
        ({"version": 1, "settings": {"scopes": ["x"]}}, "settings.scopes: must be a list of portfolios:read"),
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
            pace=st.builds(
                RebalancePace, queue_ms=st.integers(0, 9), takes_ms=st.integers(10, 99), cooldown_ms=st.integers(0, 9)
            ),
            scopes=st.sets(st.sampled_from(ApiScope)).map(lambda some: tuple(s for s in ApiScope if s in some)),
        )
    )
    owners = st.sampled_from(Owner)
    strategies = (
        SeedStrategy(id="bare", frequency=None, owner=draw(owners), name=draw(texts)),
        SeedStrategy(id="s", frequency=draw(st.sampled_from(Cadence)), owner=draw(owners), name=draw(texts)),
    )
    names = draw(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True), unique=True, max_size=5))
    return Seed(settings, tuple(draw(seed_portfolios(name)) for name in sorted(names)), strategies)


@st.composite
def seed_portfolios(draw: st.DrawFn, name: str) -> SeedPortfolio:
    """Any portfolio of a seed."""
    api = draw(st.sampled_from(Api))
    state = draw(st.sampled_from([one for one in AutomationState if api.has_v1 or one is not AutomationState.ERROR]))
    idle = state is AutomationState.INACTIVE
    gridless = idle or not api.has_v1
    interval = 6 * HOUR if gridless else draw(st.integers(HOUR, 8_760 * HOUR))
    stopped = state in (AutomationState.PAUSED, AutomationState.ARCHIVED)
    portfolio = SeedPortfolio(
        id=name,
        state=state,
        interval_ms=interval,
        offset_ms=0 if gridless else draw(st.integers(0, interval - 1)),
        age_ms=720 * HOUR if idle and not api.has_v2 else draw(st.integers(0, 10**9)),
        name=draw(texts),
        chain=draw(st.sampled_from([None, "base", "ethereum"]) if api.has_v2 else texts),
        pause_reason=draw(texts) if stopped and api.has_v1 else None,
        word=draw(texts) if api.has_v1 or not idle else None,
        api=api,
        last_result=LastResult.COMPLETED if idle else draw(st.sampled_from(LastResult)),
    )
    if not api.has_v2:
        return portfolio
    owner = draw(st.none() | st.from_regex(r"eip155:0:0x[0-9a-f]{40}", fullmatch=True))
    strategy = draw(st.sampled_from(["s", "bare"])) if idle else "s"
    return replace(portfolio, strategy=strategy, owner=owner, empty=draw(st.booleans()))


@pytest.mark.slow
@given(seeds())
def test_a_seed_survives_being_kept(seed: Seed) -> None:
    """Plain data and back is the same seed."""
    assert load(json.loads(json.dumps(dump(seed))), Seed) == seed


@pytest.mark.slow
@given(seeds())
def test_every_seed_can_be_loaded(seed: Seed) -> None:
    """What a seed may say can be stored and read, each portfolio where its version looks for it, and reset."""
    store = Store.load(None, seed, now_ms=NOW)
    for one in seed.portfolios:
        assert (store.portfolio(one.id) is not None) is one.api.has_v1
        assert (store.enrolled(one.id) is not None) is one.api.has_v2
    before = [store.portfolio(one.id) for one in seed.portfolios]
    store.reset(now_ms=NOW)
    assert [store.portfolio(one.id) for one in seed.portfolios] == before
    store.close()
