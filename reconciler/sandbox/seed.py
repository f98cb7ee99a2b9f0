"""The seed: what a simulated Glider holds when it is new.

In: plain data that fits :data:`SEED_FIELDS`, the table of what a seed may hold. Out: a :class:`Seed`. This module knows
no YAML, no file and no clock; ages are durations, which become times when the seed is loaded
(:mod:`reconciler.sandbox.plant`).
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from reconciler.core.errors import SandboxError
from reconciler.core.forms import (
    FLAG,
    Complaint,
    Form,
    duration_form,
    id_form,
    number_form,
    range_check,
    shown_value,
    word_form,
)
from reconciler.core.guards import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import Cadence
from reconciler.core.tables import FieldPath, FieldSpec, FieldTable, Keyed, read_table
from reconciler.core.text import DAY_MS, plural
from reconciler.sandbox.model import AutomationState, Calendar, RebalancePace
from reconciler.sandbox.portfolio import DEFAULT_GAS, DEFAULT_INTERVAL_MS, DEFAULT_VALUE_USD
from reconciler.sandbox.settings import ApiScope, PathFamilies, RateLimit, Settings, UpdateWhilePaused

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

VERSION: Final = 1
DEFAULT_AGE_MS: Final = 30 * DAY_MS
OLDEST_MS: Final = 3_650 * DAY_MS
LONGEST_PACE_MS: Final = 30 * DAY_MS
MOST_REQUESTS: Final = 1_000_000
CHAINS: Final = {"ethereum": 1, "optimism": 10, "polygon": 137, "base": 8453, "arbitrum": 42161}
"""The chains on which an enrolled portfolio may hold its account, and their numbers."""


class Api(StrEnum):
    """Which version of the API a portfolio answers on; on the other it does not exist."""

    V1 = "v1"
    V2 = "v2"
    BOTH = "both"
    """On both, with a separate automation on each."""

    @property
    def has_v1(self) -> bool:
        """Whether v1 knows the portfolio."""
        return self is not Api.V2

    @property
    def has_v2(self) -> bool:
        """Whether v2 knows the portfolio."""
        return self is not Api.V1


class Owner(StrEnum):
    """Who owns a strategy. The cadence of a foreign one can't be read or set (API facts §1.3)."""

    OWN = "own"
    FOREIGN = "foreign"


class LastResult(StrEnum):
    """How the newest run before loading ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SeedStrategy(Struct, frozen=True, kw_only=True):
    """One v2 strategy of a seed; ``frequency`` is ``None`` if no cadence is configured."""

    id: str
    frequency: Cadence | None = None
    owner: Owner = Owner.OWN
    name: str | None = None


class SeedPortfolio(Struct, frozen=True, kw_only=True):
    """One portfolio of a seed; ``age_ms`` is how long before loading its schedule was started, ``stalled_ms`` how long
    before that the service stopped running it, ``None`` where it did not.

    ``strategy``, ``owner`` (a CAIP-10 account) and ``empty`` belong to v2; interval, offset, ``threshold`` (in
    percent), ``calendar``, ``value_usd`` and ``gas_used`` to v1.
    """

    id: str
    state: AutomationState = AutomationState.INACTIVE
    interval_ms: int = DEFAULT_INTERVAL_MS
    offset_ms: int = 0
    age_ms: int = DEFAULT_AGE_MS
    name: str | None = None
    chain: str | None = None
    pause_reason: str | None = None
    threshold: float | None = None
    calendar: Calendar | None = None
    value_usd: float = DEFAULT_VALUE_USD
    gas_used: int = DEFAULT_GAS
    word: str | None = None
    api: Api = Api.V1
    strategy: str | None = None
    owner: str | None = None
    empty: bool = False
    last_result: LastResult = LastResult.COMPLETED
    stalled_ms: int | None = None


class Seed(Struct, frozen=True):
    """A whole seed; portfolios and strategies are sorted by id."""

    settings: Settings
    portfolios: tuple[SeedPortfolio, ...]
    strategies: tuple[SeedStrategy, ...] = ()


_TEXT: Final = Form(noun="a text of 1 to 1000 characters", schema={"type": "string", "minLength": 1, "maxLength": 1000})
_ACCOUNT: Final = Form(
    noun="an account",
    schema={"type": "string", "pattern": r"^eip155:0:0x[0-9A-Fa-f]{40}$(?!\n)"},
    read=str.lower,
)
_SCOPES: Final = Form(
    noun="a list of scopes",
    schema={"type": "array", "items": {"type": "string", "enum": [scope.value for scope in ApiScope]}},
    read=lambda words: tuple(scope for scope in ApiScope if scope.value in words),
    wrong=lambda value, written: Complaint(f"`{shown_value(value, written)}` stands where scopes are expected", ""),
)


def _words(kind: type[StrEnum]) -> str:
    return ", ".join(f"`{word}`" for word in kind)


def _choice(name: str, kind: type[StrEnum], *, attribute: str = "") -> FieldSpec:
    form = word_form(f"one of {_words(kind)}", kind, near=True)
    repair = f"write one of {_words(kind)}"
    return FieldSpec(name=name, kind=form, repair=repair, attribute=attribute, examples=list(kind)[:1])


def _text(name: str) -> FieldSpec:
    return FieldSpec(name=name, kind=_TEXT, repair="write a text, in quotes if need be")


def _flag(name: str) -> FieldSpec:
    return FieldSpec(name=name, kind=FLAG, repair="write `true` or `false`")


def _span(name: str, attribute: str, *, least: int = 0, most: int) -> FieldSpec:
    form = duration_form(least=least, most=most)
    repair = "write it as 90m, 24h or 7d"
    return FieldSpec(name=name, kind=form, repair=repair, attribute=attribute, check=range_check(form))


def _inner(name: str, *fields: FieldSpec, attribute: str = "") -> FieldSpec:
    repair = f"indent settings under it, such as `{fields[0].name}`"
    return FieldSpec(
        name=name, kind=FieldTable(name=name, fields=fields, repair=repair), repair=repair, attribute=attribute
    )


def _keyed(name: str, noun: str, each: FieldTable) -> FieldSpec:
    key = "write 1 to 128 of A-Z a-z 0-9 _ -, in quotes if all are digits"
    repair = f"write `{name}:` with one indented key for each id"
    return FieldSpec(name=name, kind=Keyed(key=id_form(noun), repair=key, each=each), repair=repair)


_LIMIT: Final = FieldSpec(
    name="limit",
    kind=number_form("a whole number", least=1, most=MOST_REQUESTS, whole=True),
    repair=f"write a whole number from 1 to {MOST_REQUESTS}",
)
_SETTINGS: Final = _inner(
    "settings",
    _flag("readable_schedule"),
    _choice("paths", PathFamilies),
    _inner("rate_limit", _LIMIT, _span("window", "window_ms", least=1_000, most=DAY_MS)),
    _choice("update_while_paused", UpdateWhilePaused),
    _inner(
        "rebalance",
        _span("queue", "queue_ms", most=LONGEST_PACE_MS),
        _span("takes", "takes_ms", least=1, most=LONGEST_PACE_MS),
        _span("cooldown", "cooldown_ms", most=LONGEST_PACE_MS),
        attribute="pace",
    ),
    FieldSpec(name="scopes", kind=_SCOPES, repair=f"write a list of {_words(ApiScope)}"),
)
_STRATEGY: Final = FieldTable(
    name="strategy",
    repair="indent its fields under it, or write `{}`",
    fields=(_choice("frequency", Cadence), _choice("owner", Owner), _text("name")),
)
_PORTFOLIO: Final = FieldTable(
    name="portfolio",
    repair="indent its fields under it, at least `status: active`",
    required=("status",),
    fields=(
        _choice("status", AutomationState, attribute="state"),
        _span("interval", "interval_ms", least=MIN_INTERVAL_MS, most=MAX_INTERVAL_MS),
        _span("offset", "offset_ms", most=MAX_INTERVAL_MS),
        _span("started", "age_ms", most=OLDEST_MS),
        _text("name"),
        _text("chain"),
        _text("pause_reason"),
        FieldSpec(
            name="threshold",
            kind=number_form("a number of percent", least=0, most=100),
            repair="write a number of percent from 0 to 100",
        ),
        _choice("calendar", Calendar),
        FieldSpec(
            name="value_usd",
            kind=number_form("an amount in US dollars", least=0, most=10**12),
            repair="write an amount in US dollars, 0 or more",
        ),
        FieldSpec(
            name="gas_used",
            kind=number_form("a whole number", least=0, most=10**12, whole=True),
            repair="write a whole number of units of gas",
        ),
        _text("word"),
        _choice("api", Api),
        FieldSpec(name="strategy", kind=id_form("a strategy id"), repair="name one of those under `strategies`"),
        FieldSpec(name="owner", kind=_ACCOUNT, repair="write `eip155:0:0x` and 40 hexadecimal digits"),
        _flag("empty"),
        _choice("last_result", LastResult),
        _span("stalled", "stalled_ms", most=OLDEST_MS),
    ),
)
SEED_FIELDS: Final = FieldTable(
    name="seed",
    repair="begin it with `version: 1`",
    required=("version",),
    fields=(
        FieldSpec(
            name="version",
            kind=Form(noun="a version that this program reads", schema={"type": "integer", "const": VERSION}),
            repair=f"write `version: {VERSION}`",
            examples=[VERSION],
        ),
        _SETTINGS,
        _keyed("strategies", "a strategy id", _STRATEGY),
        _keyed("portfolios", "a portfolio id", _PORTFOLIO),
    ),
)
"""What a seed may hold; docs/sandbox.md says what each field means."""


def parse_seed(data: Mapping[str, Any]) -> Seed:
    """Return the seed of plain data that fits :data:`SEED_FIELDS`.

    Raises :class:`~reconciler.core.errors.SandboxError` with all remaining contradictions, each with its address.
    """
    seed, complaints = examine(data)
    if complaints:
        lines = (f"{'.'.join(path)}: {complaint.problem}; {complaint.repair}" for path, complaint in complaints)
        raise SandboxError(f"the seed has {plural(len(complaints), 'problem')}", "\n".join(lines))
    return seed


def examine(
    data: Mapping[str, Any], broken: Container[FieldPath] = frozenset()
) -> tuple[Seed, Sequence[tuple[FieldPath, Complaint]]]:
    """Return the seed that plain data describes, and what is wrong with it, by path.

    Data at a ``broken`` path does not fit :data:`SEED_FIELDS`: it is left out, and the rest of its entry is not judged.
    """
    found = read_table(SEED_FIELDS, data, today=dt.date.min, broken=broken)
    settings, wrong = _settings(found.values.get("settings", {}))
    strategies = {key: SeedStrategy(id=key, **one) for key, one in sorted(found.values.get("strategies", {}).items())}
    entries = found.values.get("portfolios", {})
    wrong += [
        (("portfolios", key, name), complaint)
        for key in entries
        if ("portfolios", key) not in broken
        for name, complaint in _impossible(data["portfolios"][key], SeedPortfolio(id=key, **entries[key]), strategies)
    ]
    portfolios = tuple(SeedPortfolio(id=key, **one) for key, one in sorted(entries.items()))
    return Seed(settings, portfolios, tuple(strategies.values())), [*found.complaints, *wrong]


def _settings(values: dict[str, Any]) -> tuple[Settings, list[tuple[FieldPath, Complaint]]]:
    pace: dict[str, int] = {**values.get("pace", {})}
    takes = pace.get("takes_ms", RebalancePace().takes_ms)
    queue = pace.setdefault("queue_ms", min(RebalancePace().queue_ms, takes - 1))
    wrong: list[tuple[FieldPath, Complaint]] = []
    if queue >= takes:
        complaint = Complaint("it is not shorter than `takes`, which includes it", "write a shorter one")
        wrong.append((("settings", "rebalance", "queue"), complaint))
    limit = {"limit": 100, "window_ms": 60_000, **values.get("rate_limit", {})} if "rate_limit" in values else None
    values = {**values, "pace": RebalancePace(**pace), "rate_limit": RateLimit(**limit) if limit else None}
    return Settings(**values), wrong


def _impossible(
    entry: Mapping[str, Any], one: SeedPortfolio, strategies: Mapping[str, SeedStrategy]
) -> Iterator[tuple[str, Complaint]]:
    """Yield the contradictions in a portfolio, by the field that causes them."""
    if one.offset_ms >= one.interval_ms:
        yield "offset", Complaint("it is not shorter than the interval", "write a shorter one")
    if one.threshold is not None and one.calendar is not None:
        yield "calendar", Complaint("a template has a threshold or a calendar", "leave one of them out")
    for name, why in dict(_without_meaning(one)).items():
        if name in entry:
            yield name, Complaint(why, "leave it out")
    for name in () if one.api.has_v2 else ("strategy", "owner", "empty"):
        if name in entry:
            yield name, Complaint("this belongs to v2", "add `api: v2`, or leave it out")
    if one.api.has_v2:
        yield from _impossible_on_v2(one, strategies)


def _without_meaning(one: SeedPortfolio) -> Iterator[tuple[str, str]]:
    if one.state is AutomationState.INACTIVE:
        for name in ("interval", "offset", *(() if one.api.has_v2 else ("started",)), "last_result"):
            yield name, "this means nothing for an inactive portfolio, which has no schedule"
        if one.api is Api.V2:
            yield "word", "this means nothing without a schedule to stand in"
    if one.state is not AutomationState.ACTIVE:
        yield "stalled", f"this means nothing for a portfolio that is {one.state}: only one that is active can be due"
    if one.state not in (AutomationState.PAUSED, AutomationState.ARCHIVED):
        yield "pause_reason", f"this means nothing for a portfolio that is {one.state}"
    if not one.api.has_v1:
        for name in ("interval", "offset", "pause_reason"):
            yield name, "this means nothing on v2, where the strategy has the cadence"
        for name in ("threshold", "calendar"):
            yield name, "this means nothing on v2, whose portfolios have no template"
        for name in ("value_usd", "gas_used"):
            yield name, "this means nothing on v2, whose answers don't tell it"


def _impossible_on_v2(one: SeedPortfolio, strategies: Mapping[str, SeedStrategy]) -> Iterator[tuple[str, Complaint]]:
    strategy = strategies.get(one.strategy or "")
    if strategy is None:
        said = f"`{shown_value(one.strategy)}` is not among the strategies" if one.strategy else "`strategy` is missing"
        yield "strategy", Complaint(said, "name one of those under `strategies`")
    elif strategy.frequency is None and one.state in (AutomationState.ACTIVE, AutomationState.PAUSED):
        problem = f"the strategy has no frequency, so no portfolio of it can be {one.state}"
        yield "strategy", Complaint(problem, "give the strategy a frequency, or write `status: inactive`")
    if one.state is AutomationState.ERROR and one.api is Api.V2:
        yield "status", Complaint("`error` does not exist on v2", "use `word` for a status that is not documented")
    if one.chain is not None and one.chain not in CHAINS:
        yield (
            "chain",
            Complaint(f"`{shown_value(one.chain)}` is not a chain of v2", f"write one of {', '.join(CHAINS)}"),
        )
