"""The seed: what a simulated Glider holds when it is new.

In: plain data as a YAML parser gives it. Out: a :class:`Seed`. Knows no YAML,
no file and no clock; ages are durations, made into times when the seed is loaded (:mod:`reconciler.sandbox.plant`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

from reconciler.core.guards import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import Cadence
from reconciler.core.text import DAY_MS
from reconciler.sandbox.checks import Fields, Problems, shown
from reconciler.sandbox.model import AutomationState
from reconciler.sandbox.portfolio import DEFAULT_INTERVAL_MS
from reconciler.sandbox.settings import Settings, parse_settings, span

VERSION: Final = 1
DEFAULT_AGE_MS: Final = 30 * DAY_MS
OLDEST_MS: Final = 3_650 * DAY_MS
CHAINS: Final = {"ethereum": 1, "optimism": 10, "polygon": 137, "base": 8453, "arbitrum": 42161}
"""The chains on which an enrolled portfolio may hold its account, and their numbers."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ACCOUNT: Final = re.compile(r"eip155:0:0x[0-9A-Fa-f]{40}")
_SECTIONS: Final = ("version", "settings", "strategies", "portfolios")
_STRATEGY: Final = ("frequency", "name", "owner")
_PORTFOLIO: Final = (
    *("status", "interval", "offset", "started", "name", "chain", "pause_reason", "word"),
    *("api", "strategy", "owner", "empty", "last_result"),
)
_V1_ONLY: Final = ("interval", "offset", "pause_reason")
_V2_ONLY: Final = ("strategy", "owner", "empty")


class Api(StrEnum):
    """Which version of the API a portfolio answers on; on the other it does not exist."""

    V1 = "v1"
    V2 = "v2"
    BOTH = "both"
    """On both, with an automation of its own in each."""

    @property
    def has_v1(self) -> bool:
        """Whether v1 knows the portfolio."""
        return self is not Api.V2

    @property
    def has_v2(self) -> bool:
        """Whether v2 knows the portfolio."""
        return self is not Api.V1


class Owner(StrEnum):
    """Whose a strategy is; the cadence of a foreign one can't be read or set (API facts §1.3)."""

    OWN = "own"
    FOREIGN = "foreign"


class LastResult(StrEnum):
    """How the newest run before loading ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SeedStrategy(Struct, frozen=True, kw_only=True):
    """One v2 strategy of a seed; ``frequency`` is ``None`` where no cadence is configured."""

    id: str
    frequency: Cadence | None
    owner: Owner = Owner.OWN
    name: str | None = None


class SeedPortfolio(Struct, frozen=True, kw_only=True):
    """One portfolio of a seed; ``age_ms`` is how long before loading its schedule was started.

    ``strategy``, ``owner`` (a CAIP-10 account) and ``empty`` belong to v2, the interval and offset to v1.
    """

    id: str
    state: AutomationState
    interval_ms: int
    offset_ms: int
    age_ms: int
    name: str | None = None
    chain: str | None = None
    pause_reason: str | None = None
    word: str | None = None
    api: Api = Api.V1
    strategy: str | None = None
    owner: str | None = None
    empty: bool = False
    last_result: LastResult = LastResult.COMPLETED


class Seed(Struct, frozen=True):
    """A whole seed; portfolios and strategies are sorted by id."""

    settings: Settings
    portfolios: tuple[SeedPortfolio, ...]
    strategies: tuple[SeedStrategy, ...] = ()


def parse_seed(data: object) -> Seed:
    """Return the seed that plain data describes; its format stands in docs/sandbox.md.

    Raises :class:`~reconciler.core.errors.SandboxError` that lists every problem with its address.
    """
    problems = Problems()
    top = Fields(data, "", problems, known=_SECTIONS)
    if isinstance(data, dict) and (top.raw("version") != VERSION or isinstance(top.raw("version"), bool)):
        top.problem("version", f"must be {VERSION}, not {shown(top.raw('version'))}")
    settings = parse_settings(top.raw("settings"), problems) if "settings" in top else Settings()
    strategies = {
        str(key): _strategy(key, entry, problems) for key, entry in _section(top, "strategies", "strategies").items()
    }
    portfolios = [
        _portfolio(key, entry, strategies, problems) for key, entry in _section(top, "portfolios", "portfolios").items()
    ]
    problems.stop("the seed")
    return Seed(
        settings,
        tuple(sorted(portfolios, key=lambda portfolio: portfolio.id)),
        tuple(sorted(strategies.values(), key=lambda strategy: strategy.id)),
    )


def _section(top: Fields, key: str, what: str) -> dict[object, object]:
    entries = top.raw(key) if key in top else {}
    if isinstance(entries, dict):
        return entries
    top.problem(key, f"must be a mapping of ids to {what}, not {shown(entries)}")
    return {}


def _strategy(key: object, data: object, problems: Problems) -> SeedStrategy:
    address = f"strategies.{shown(key)}"
    if not isinstance(key, str) or not _ID.fullmatch(key):
        problems.add(address, "is not a strategy id", "use 1 to 128 of A-Z a-z 0-9 _ -, in quotes if all digits")
    fields = Fields(data, address, problems, known=_STRATEGY)
    return SeedStrategy(
        id=str(key),
        frequency=fields.choice("frequency", Cadence, default=None),
        owner=fields.choice("owner", Owner, default=None) or Owner.OWN,
        name=fields.text("name"),
    )


def _portfolio(key: object, data: object, strategies: dict[str, SeedStrategy], problems: Problems) -> SeedPortfolio:
    address = f"portfolios.{shown(key)}"
    if not isinstance(key, str) or not _ID.fullmatch(key):
        problems.add(address, "is not a portfolio id", "use 1 to 128 of A-Z a-z 0-9 _ -, in quotes if all digits")
    fields = Fields(data, address, problems, known=_PORTFOLIO)
    api = fields.choice("api", Api, default=None) or Api.V1
    state = fields.choice("status", AutomationState, default=None)
    if isinstance(data, dict) and "status" not in fields:
        fields.problem("status", "is missing", f"write one of {', '.join(AutomationState)}")
    _check_v1(fields, api, state)
    if api.has_v2:
        _check_v2(fields, api, state, strategies)
    interval = span(fields, "interval", default=DEFAULT_INTERVAL_MS, least=MIN_INTERVAL_MS, most=MAX_INTERVAL_MS)
    offset = fields.duration("offset", default=0)
    if offset >= interval:
        fields.problem("offset", "must be shorter than the interval")
    owner = fields.text("owner")
    return SeedPortfolio(
        id=str(key),
        state=state or AutomationState.INACTIVE,
        interval_ms=interval,
        offset_ms=offset,
        age_ms=span(fields, "started", default=DEFAULT_AGE_MS, least=0, most=OLDEST_MS),
        name=fields.text("name"),
        chain=fields.text("chain"),
        pause_reason=fields.text("pause_reason"),
        word=fields.text("word"),
        api=api,
        strategy=fields.text("strategy"),
        owner=owner.lower() if owner else None,
        empty=fields.flag("empty", default=False),
        last_result=fields.choice("last_result", LastResult, default=None) or LastResult.COMPLETED,
    )


def _check_v1(fields: Fields, api: Api, state: AutomationState | None) -> None:
    """Note what means nothing for this portfolio."""
    if state is AutomationState.INACTIVE:
        for name in ("interval", "offset", *(() if api.has_v2 else ("started",)), "last_result"):
            if name in fields:
                fields.problem(name, "means nothing for an inactive portfolio, which has no schedule", "leave it out")
    if "pause_reason" in fields and state not in (None, AutomationState.PAUSED, AutomationState.ARCHIVED):
        fields.problem("pause_reason", f"means nothing for a portfolio that is {state}", "leave it out")
    for name in () if api.has_v1 else _V1_ONLY:
        if name in fields:
            fields.problem(name, "means nothing on v2, where the strategy has the cadence", "leave it out")
    for name in () if api.has_v2 else _V2_ONLY:
        if name in fields:
            fields.problem(name, "belongs to v2", "add api: v2, or leave it out")


def _check_v2(fields: Fields, api: Api, state: AutomationState | None, strategies: dict[str, SeedStrategy]) -> None:
    """Note what an enrolled portfolio can't be."""
    name = fields.raw("strategy")
    if name is None:
        fields.problem("strategy", "is missing", "name one of those under strategies")
    elif not isinstance(name, str) or name not in strategies:
        fields.problem("strategy", f"{shown(name)} is not among the strategies", "add it there")
    elif strategies[name].frequency is None and state in (AutomationState.ACTIVE, AutomationState.PAUSED):
        problem = f"has no frequency, so a portfolio can't be {state}"
        fields.problem("strategy", problem, "give the strategy a frequency, or write status: inactive")
    if state is AutomationState.ERROR and api is Api.V2:
        fields.problem("status", "error does not exist on v2", "use word for a status that is not documented")
    if state is AutomationState.INACTIVE and api is Api.V2 and "word" in fields:
        fields.problem("word", "means nothing without a schedule to stand in", "leave it out")
    chain, owner = fields.raw("chain"), fields.raw("owner")
    if isinstance(chain, str) and chain not in CHAINS:
        fields.problem("chain", f"must be one of {', '.join(CHAINS)}, not {shown(chain)}")
    if isinstance(owner, str) and not _ACCOUNT.fullmatch(owner):
        fields.problem("owner", f"must be an account as eip155:0:0x and 40 hexadecimal digits, not {shown(owner)}")
