"""The seed: what a simulated Glider holds when it is new.

In: plain data as a YAML parser gives it. Out: a :class:`Seed`, and back to plain data for keeping. Knows no YAML,
no file and no clock; ages are durations, made into times when the seed is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from reconciler.core.duration import DAY_MS, format_duration
from reconciler.sandbox.actions import DEFAULT_INTERVAL_MS, MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.sandbox.checks import Fields, Problems, shown
from reconciler.sandbox.grid import Grid
from reconciler.sandbox.model import AutomationState, Portfolio, settle

VERSION: Final = 1
DEFAULT_AGE_MS: Final = 30 * DAY_MS
OLDEST_MS: Final = 3_650 * DAY_MS
MOST_REQUESTS: Final = 1_000_000

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SETTINGS: Final = ("readable_schedule", "paths", "rate_limit", "update_while_paused")
_PORTFOLIO: Final = ("status", "interval", "offset", "started", "name", "chain", "pause_reason", "word")


class PathFamilies(StrEnum):
    """Which v1 path family is routed (API facts §4.1)."""

    BOTH = "both"
    REFERENCE = "reference"
    GUIDE = "guide"


class UpdateWhilePaused(StrEnum):
    """What happens to an update of a paused portfolio; the service does not say (API facts §3.1)."""

    ACCEPT = "accept"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``limit`` requests in each window of ``window_ms``."""

    limit: int
    window_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the simulated service behaves as a whole."""

    readable_schedule: bool = False
    """Whether the status answer shows interval and offset (API facts §4.3)."""
    paths: PathFamilies = PathFamilies.BOTH
    rate_limit: RateLimit | None = None
    update_while_paused: UpdateWhilePaused = UpdateWhilePaused.ACCEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPortfolio:
    """One portfolio of a seed; ``age_ms`` is how long before loading its schedule was started."""

    id: str
    state: AutomationState
    interval_ms: int
    offset_ms: int
    age_ms: int
    name: str | None = None
    chain: str | None = None
    pause_reason: str | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Seed:
    """A whole seed; portfolios are sorted by id."""

    settings: Settings
    portfolios: tuple[SeedPortfolio, ...]


def parse_seed(data: object) -> Seed:
    """Return the seed that plain data describes; its format stands in docs/sandbox.md.

    Raises :class:`~reconciler.core.errors.SandboxError` that lists every problem with its address.
    """
    problems = Problems()
    top = Fields(data, "", problems, known=("version", "settings", "portfolios"))
    if isinstance(data, dict) and (top.raw("version") != VERSION or isinstance(top.raw("version"), bool)):
        top.problem("version", f"must be {VERSION}, not {shown(top.raw('version'))}")
    settings = _settings(top.raw("settings"), problems) if "settings" in top else Settings()
    portfolios: list[SeedPortfolio] = []
    entries = top.raw("portfolios") if "portfolios" in top else {}
    if isinstance(entries, dict):
        portfolios = [_portfolio(key, entry, problems) for key, entry in entries.items()]
    else:
        top.problem("portfolios", f"must be a mapping of ids to portfolios, not {shown(entries)}")
    problems.stop("the seed")
    return Seed(settings, tuple(sorted(portfolios, key=lambda portfolio: portfolio.id)))


def seed_data(seed: Seed) -> dict[str, object]:
    """Return the plain data of a seed: ``parse_seed(seed_data(seed)) == seed``."""
    return {
        "version": VERSION,
        "settings": _settings_data(seed.settings),
        "portfolios": {portfolio.id: _portfolio_data(portfolio) for portfolio in seed.portfolios},
    }


def plant(seed: SeedPortfolio, now_ms: int) -> Portfolio:
    """Return the portfolio of a seed loaded at ``now_ms``, with its history: it ran until now, whatever it is now."""
    started = now_ms - seed.age_ms
    stopped = seed.state in (AutomationState.PAUSED, AutomationState.ARCHIVED)
    portfolio = Portfolio(
        id=seed.id,
        name=seed.name,
        chain=seed.chain,
        word=seed.word,
        state=AutomationState.ACTIVE,
        grid=Grid(anchor_ms=started, interval_ms=seed.interval_ms, offset_ms=seed.offset_ms),
        schedules=1,
        pause_reason=seed.pause_reason,
        paused_ms=now_ms if stopped else None,
        runs=0,
        recent=(),
        settled_ms=started,
        created_ms=started,
        updated_ms=now_ms,
    )
    if seed.state is AutomationState.INACTIVE:
        return replace(portfolio, state=seed.state, grid=None, schedules=0, settled_ms=now_ms)
    return replace(settle(portfolio, now_ms), state=seed.state)


def _settings(data: object, problems: Problems) -> Settings:
    fields = Fields(data, "settings", problems, known=_SETTINGS)
    limit: RateLimit | None = None
    if "rate_limit" in fields:
        inner = Fields(fields.raw("rate_limit"), fields.at("rate_limit"), problems, known=("limit", "window"))
        count = inner.whole("limit", default=100, least=1, most=MOST_REQUESTS)
        limit = RateLimit(limit=count, window_ms=_span(inner, "window", default=60_000, least=1_000, most=DAY_MS))
    return Settings(
        readable_schedule=fields.flag("readable_schedule", default=False),
        paths=fields.choice("paths", PathFamilies, default=None) or PathFamilies.BOTH,
        rate_limit=limit,
        update_while_paused=fields.choice("update_while_paused", UpdateWhilePaused, default=None)
        or UpdateWhilePaused.ACCEPT,
    )


def _portfolio(key: object, data: object, problems: Problems) -> SeedPortfolio:
    address = f"portfolios.{shown(key)}"
    if not isinstance(key, str) or not _ID.fullmatch(key):
        problems.add(address, "is not a portfolio id", "use 1 to 128 of A-Z a-z 0-9 _ -, in quotes if all digits")
    fields = Fields(data, address, problems, known=_PORTFOLIO)
    state = fields.choice("status", AutomationState, default=None)
    if isinstance(data, dict) and "status" not in fields:
        fields.problem("status", "is missing", f"write one of {', '.join(AutomationState)}")
    if state is AutomationState.INACTIVE:
        for name in ("interval", "offset", "started"):
            if name in fields:
                fields.problem(name, "means nothing for an inactive portfolio, which has no schedule", "leave it out")
    if "pause_reason" in fields and state not in (None, AutomationState.PAUSED, AutomationState.ARCHIVED):
        fields.problem("pause_reason", f"means nothing for a portfolio that is {state}", "leave it out")
    interval = _span(fields, "interval", default=DEFAULT_INTERVAL_MS, least=MIN_INTERVAL_MS, most=MAX_INTERVAL_MS)
    offset = fields.duration("offset", default=0)
    if offset >= interval:
        fields.problem("offset", "must be shorter than the interval")
    return SeedPortfolio(
        id=str(key),
        state=state or AutomationState.INACTIVE,
        interval_ms=interval,
        offset_ms=offset,
        age_ms=_span(fields, "started", default=DEFAULT_AGE_MS, least=0, most=OLDEST_MS),
        name=fields.text("name"),
        chain=fields.text("chain"),
        pause_reason=fields.text("pause_reason"),
        word=fields.text("word"),
    )


def _span(fields: Fields, key: str, *, default: int, least: int, most: int) -> int:
    value = fields.duration(key, default=default)
    if not least <= value <= most:
        fields.problem(key, f"must be between {format_duration(least)} and {format_duration(most)}")
        return default
    return value


def _settings_data(settings: Settings) -> dict[str, object]:
    data: dict[str, object] = {
        "readable_schedule": settings.readable_schedule,
        "paths": settings.paths.value,
        "update_while_paused": settings.update_while_paused.value,
    }
    if settings.rate_limit is not None:
        data["rate_limit"] = {"limit": settings.rate_limit.limit, "window": settings.rate_limit.window_ms}
    return data


def _portfolio_data(portfolio: SeedPortfolio) -> dict[str, object]:
    data: dict[str, object] = {"status": portfolio.state.value}
    if portfolio.state is not AutomationState.INACTIVE:
        data |= {"interval": portfolio.interval_ms, "offset": portfolio.offset_ms, "started": portfolio.age_ms}
    texts = {
        "name": portfolio.name,
        "chain": portfolio.chain,
        "pause_reason": portfolio.pause_reason,
        "word": portfolio.word,
    }
    return data | {key: text for key, text in texts.items() if text is not None}
