"""Seeds: what they mean, how they survive being kept, and every way to get one wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.config.load import load_as
from reconciler.core.codec import dump, load
from reconciler.core.errors import ConfigInvalid, SandboxError
from reconciler.core.model import Cadence
from reconciler.sandbox.model import AutomationState, RebalancePace
from reconciler.sandbox.seed import (
    SEED_FIELDS,
    Api,
    LastResult,
    Owner,
    Seed,
    SeedPortfolio,
    SeedStrategy,
    examine,
    parse_seed,
)
from reconciler.sandbox.settings import ApiScope, PathFamilies, RateLimit, Settings, UpdateWhilePaused
from reconciler.sandbox.store import Store

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
    assert parse_seed({"version": 1, "settings": {"rebalance": {"takes": 1}}}).settings.pace == RebalancePace(
        queue_ms=0, takes_ms=1
    )


def text(*, settings: str = "{}", strategies: str = "{s: {frequency: daily}, bare: {}}", portfolios: str = "{}") -> str:
    """A seed as YAML, one section a line."""
    return f"version: 1\nsettings: {settings}\nstrategies: {strategies}\nportfolios: {portfolios}\n"


def one(fields: str = "", *, status: str = "active") -> str:
    """A seed of one portfolio."""
    return text(portfolios=f"{{a: {{status: {status}{', ' * bool(fields)}{fields}}}}}")


def two(fields: str = "", *, status: str = "active", strategy: str = "s") -> str:
    """A seed of one portfolio of v2."""
    return one(f"api: v2, strategy: {strategy}{', ' * bool(fields)}{fields}", status=status)


def said(seed: str) -> list[str]:
    """Return what is wrong with a seed, without its name."""
    with pytest.raises(ConfigInvalid) as caught:
        load_as("seed.yaml", seed.encode(), SEED_FIELDS, examine)
    assert all(problem.excerpt for problem in caught.value.diagnostics)
    return [str(problem).removeprefix("seed.yaml:") for problem in caught.value.diagnostics]


WRONG = {
    "no mapping": ("[]", "1:1: the file holds a list, not sections; begin it with `version: 1`"),
    "no version": ("portfolios: {}", "1:1: `version` is missing; write `version: 1`"),
    "another version": (
        "version: 2",
        "1:10: version: `2` is not a version that this program reads; write `version: 1`",
    ),
    "true for a version": ("version: true", "1:10: version: `true` is not a version that this program reads; write"),
    "a slip of a section": (
        "version: 1\nportfolio: {}",
        "2:1: portfolio: unknown key `portfolio`; did you mean `portfolios`?",
    ),
    "a list of portfolios": (
        text(portfolios="[]"),
        "4:1: portfolios: a list is not a mapping; write `portfolios:` with one indented key for each id",
    ),
    "no portfolio": (text(portfolios="{a: }"), "4:14: portfolios.a: there is no value; indent its fields under it, at"),
    "no status": (text(portfolios="{a: {}}"), "4:14: portfolios.a: `status` is missing; write `status: inactive`"),
    "a number for an id": (
        text(portfolios="{12: {status: active}}"),
        '4:14: portfolios.12: the key 12 is not text; write it as "12"',
    ),
    "no id": (
        text(portfolios="{../x: {status: active}}"),
        "4:14: portfolios.../x: `../x` is not a portfolio id; write 1 to 128 of A-Z a-z 0-9 _ -",
    ),
    "a slip of a status": (
        one(status="activ"),
        (
            "4:26: portfolios.a.status: `activ` is not one of `inactive`, `active`, `paused`, `archived`, `error`; "
            "did you mean `active`?"
        ),
    ),
    "no duration": (
        one("interval: soon"),
        "4:44: portfolios.a.interval: `soon` is not a duration; write it as 90m, 24h or 7d",
    ),
    "a clock": (one("interval: 9:30"), "4:44: portfolios.a.interval: `9:30` is not a duration; write 9h30m"),
    "true for a duration": (one("interval: true"), "4:44: portfolios.a.interval: `true` is not a duration; write it"),
    "infinite": (one("interval: .inf"), "4:44: portfolios.a.interval: `.inf` is not a duration; write it as 90m"),
    "a short interval": (one("interval: 59m"), "4:44: portfolios.a.interval: 59m is below 1h; write 1h to 365d"),
    "a short interval in milliseconds": (
        one("interval: 3"),
        "4:44: portfolios.a.interval: 3ms is below 1h; write 1h to 365d",
    ),
    "an offset as long as the interval": (
        one("interval: 1h, offset: 1h"),
        "4:56: portfolios.a.offset: it is not shorter than the interval; write a shorter one",
    ),
    "a negative offset": (one("offset: -1"), "4:42: portfolios.a.offset: this is below 0s; write 0s to 365d"),
    "too old": (one("started: 4000d"), "4:43: portfolios.a.started: 4000d is above 3650d; write 0s to 3650d"),
    "an empty name": (
        one("name: ''"),
        "4:40: portfolios.a.name: `` is not a text of 1 to 1000 characters; write a text",
    ),
    "a reason without a pause": (
        one("pause_reason: x"),
        "4:48: portfolios.a.pause_reason: this means nothing for a portfolio that is active; leave it out",
    ),
    "a schedule without one": (
        one("interval: 6h", status="inactive"),
        "4:46: portfolios.a.interval: this means nothing for an inactive portfolio, which has no schedule; leave",
    ),
    "a result without a run": (
        one("last_result: failed", status="inactive"),
        "4:49: portfolios.a.last_result: this means nothing for an inactive portfolio",
    ),
    "no such result": (
        one("last_result: lost"),
        "4:47: portfolios.a.last_result: `lost` is not one of `completed`, `failed`, `cancelled`; write one of",
    ),
    "v2's strategy on v1": (
        one("strategy: s"),
        "4:44: portfolios.a.strategy: this belongs to v2; add `api: v2`, or leave it out",
    ),
    "v2's owner on v1": (
        one("owner: 'eip155:0:0x00000000000000000000000000000000000a11ce'"),
        "4:41: portfolios.a.owner: this belongs to v2",
    ),
    "v2's emptiness on v1": (one("empty: true"), "4:41: portfolios.a.empty: this belongs to v2"),
    "no such API": (one("api: v3"), "4:39: portfolios.a.api: `v3` is not one of `v1`, `v2`, `both`; write one of"),
    "no strategy": (
        one("api: v2"),
        "4:14: portfolios.a: `strategy` is missing; name one of those under `strategies`",
    ),
    "another strategy": (
        two(strategy="x"),
        "4:53: portfolios.a.strategy: `x` is not among the strategies; name one of",
    ),
    "a list of strategies": (two(strategy="[x]"), "4:43: portfolios.a.strategy: a list stands where a strategy id is"),
    "a strategy without a frequency": (
        two(strategy="bare"),
        "4:53: portfolios.a.strategy: the strategy has no frequency, so no portfolio of it can be active; give the",
    ),
    "an interval on v2": (
        two("interval: 6h"),
        "4:66: portfolios.a.interval: this means nothing on v2, where the strategy has the cadence; leave it out",
    ),
    "a template on v2": (
        two("calendar: daily"),
        "4:66: portfolios.a.calendar: this means nothing on v2, whose portfolios have no template; leave it out",
    ),
    "two ways to trade": (
        one("threshold: 5, calendar: daily"),
        "4:58: portfolios.a.calendar: a template has a threshold or a calendar; leave one of them out",
    ),
    "no percent": (one("threshold: 101"), "4:45: portfolios.a.threshold: `101` is too much; write a number of percent"),
    "an offset on v2": (two("offset: 1h"), "4:64: portfolios.a.offset: this means nothing on v2"),
    "a reason on v2": (
        two("pause_reason: x", status="paused"),
        "4:70: portfolios.a.pause_reason: this means nothing on v2",
    ),
    "an error on v2": (
        two(status="error"),
        "4:26: portfolios.a.status: `error` does not exist on v2; use `word` for a status that is not documented",
    ),
    "a word without a schedule": (
        two("word: odd", status="inactive"),
        "4:64: portfolios.a.word: this means nothing without a schedule to stand in; leave it out",
    ),
    "no chain of v2": (
        two("chain: solana"),
        "4:63: portfolios.a.chain: `solana` is not a chain of v2; write one of ethereum, optimism, polygon, base",
    ),
    "no account": (
        two("owner: '0xabc'"),
        "4:63: portfolios.a.owner: `0xabc` is not an account; write `eip155:0:0x` and 40 hexadecimal digits",
    ),
    "no flag": (two("empty: no"), "4:63: portfolios.a.empty: `no` is not true or false; write `false`"),
    "a list for strategies": (text(strategies="[]"), "3:1: strategies: a list is not a mapping; write `strategies:`"),
    "no id of a strategy": (
        text(strategies="{a/b: {}}"),
        "3:14: strategies.a/b: `a/b` is not a strategy id; write 1 to",
    ),
    "an empty strategy": (
        text(strategies="{s: }"),
        "3:14: strategies.s: there is no value; indent its fields under it",
    ),
    "a slip of a frequency": (
        text(strategies="{s: {frequency: dayly}}"),
        (
            "3:29: strategies.s.frequency: `dayly` is not one of `hourly`, `daily`, `weekly`, `monthly`; did you mean "
            "`daily`?"
        ),
    ),
    "nobody's strategy": (
        text(strategies="{s: {owner: me}}"),
        "3:25: strategies.s.owner: `me` is not one of `own`, `foreign`; write one of `own`, `foreign`",
    ),
    "no such paths": (
        text(settings="{paths: none}"),
        "2:19: settings.paths: `none` is not one of `both`, `reference`, `guide`; write one of",
    ),
    "a number for a flag": (
        text(settings="{readable_schedule: 1}"),
        "2:31: settings.readable_schedule: `1` is not true or false; write `true`",
    ),
    "no requests": (
        text(settings="{rate_limit: {limit: 0}}"),
        "2:32: settings.rate_limit.limit: `0` is too little; write a whole number from 1 to 1000000",
    ),
    "a short window": (
        text(settings="{rate_limit: {window: 1ms}}"),
        "2:33: settings.rate_limit.window: 1ms is below 1s; write 1s to 24h",
    ),
    "a long queue": (
        text(settings="{rebalance: {takes: 1s, queue: 1s}}"),
        "2:42: settings.rebalance.queue: it is not shorter than `takes`, which includes it; write a shorter one",
    ),
    "no time at all": (
        text(settings="{rebalance: {takes: 0}}"),
        "2:31: settings.rebalance.takes: 0s is below 1ms; write 1ms to 30d",
    ),
    "a long cooldown": (
        text(settings="{rebalance: {cooldown: 31d}}"),
        "2:34: settings.rebalance.cooldown: 31d is above 30d; write 0s to 30d",
    ),
    "a word for scopes": (
        text(settings="{scopes: all}"),
        "2:20: settings.scopes: `all` stands where scopes are expected; write a list of `portfolios:read`",
    ),
    "no such scope": (
        text(settings="{scopes: [x]}"),
        "2:12: settings.scopes: `x` stands where scopes are expected; write a list of `portfolios:read`",
    ),
    "no settings": (text(settings=""), "2:1: settings: there is no value; indent settings under it"),
}


@pytest.mark.parametrize(("seed", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_seed_is_explained(seed: str, expected: str) -> None:
    """Each mistake is one problem, where it stands in the file, with its repair."""
    (found,) = said(seed)
    assert found.startswith(expected)


def test_every_problem_is_reported_at_once() -> None:
    """Nobody repairs a seed one mistake at a time: what YAML, the table and the rules refuse comes in one list."""
    seed = (
        "version: 1\nportfolios:\n  a: {status: x, name: *y}\n  b: {interval: 1m}\n  c: {status: active, empty: true}\n"
    )
    assert [line.split(": ")[:2] for line in said(seed)] == [
        ["3:15", "portfolios.a.status"],
        ["3:24", "portfolios.a.name"],
        ["4:3", "portfolios.b"],
        ["4:17", "portfolios.b.interval"],
        ["5:30", "portfolios.c.empty"],
    ]


def test_plain_data_is_judged_by_the_same_rules() -> None:
    """Who makes a seed in Python is told what can't be, with its address."""
    with pytest.raises(SandboxError) as caught:
        parse_seed({"version": 1, "portfolios": {"a": {"status": "active", "empty": True, "pause_reason": "x"}}})
    assert caught.value.summary == "the seed has 2 problems"
    assert [line.split(":")[0] for line in caught.value.detail.splitlines()] == [
        "portfolios.a.pause_reason",
        "portfolios.a.empty",
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
    """As JSON and back it is the same seed."""
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
