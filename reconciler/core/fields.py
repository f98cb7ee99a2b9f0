"""The one table of what the configuration files may hold.

In: nothing. Out: :data:`AUTOMATION_FIELDS`, a table of every section and field. The published JSON Schema, the merging
of layers, the rules, the repairs in messages, `explain`, the order of an `import` and the tables in the docs are all
made from it. A field is one row here and one attribute of the value that holds it (for a portfolio,
:class:`~reconciler.core.model.Desired`).
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.advice import Rule
from reconciler.core.diagnostics import Severity
from reconciler.core.evidence import MARK_NAME
from reconciler.core.forms import (
    AUTO,
    CHAIN,
    FLAG,
    GROUP_NAME,
    LABEL_KEY,
    LABEL_VALUE,
    TIME,
    Complaint,
    Form,
    duration_form,
    id_form,
    label_form,
    list_form,
    number_form,
    offset_form,
    word_form,
)
from reconciler.core.freeze import Freezable
from reconciler.core.guards import ETHEREUM_MIN_INTERVAL_MS, MAX_INTERVAL_MS, MIN_INTERVAL_MS, Limit
from reconciler.core.model import ApiVersion, Cadence, Paths, RunState
from reconciler.core.tables import FieldSpec, FieldTable, Keyed, Listed, fields_of, json_schema, plain_word
from reconciler.core.text import SECOND_MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA_ID: Final = (
    "https://raw.githubusercontent.com/glider-reconciler/glider-reconciler/main/schemas/automation.schema.json"
)

ETHEREUM: Final = frozenset({"ethereum", "1"})
"""The chains to which the minimum of ETH mainnet applies, by name and by chain id (API facts §6)."""

_TAKEN_FOR_ETHEREUM: Final = frozenset(
    {"eth", "mainnet", "eth-mainnet", "ethereum-mainnet", "ethereum-1", "etherium", "etherum", "homestead", "0x1"}
)
"""What people write when they mean ETH mainnet. It does not turn on mainnet's minimum, so there is a warning."""

_INTERVALS: Final = f"write {format_duration(MIN_INTERVAL_MS)} to {format_duration(MAX_INTERVAL_MS)}"
_LONGEST_DURATION: Final = 20
"""The most characters of a duration in a message; forty digits help nobody."""


def interval_problem(ms: int) -> Complaint | None:
    """Return what is wrong with an interval on any chain (API facts §4.6, §6)."""
    if MIN_INTERVAL_MS <= ms <= MAX_INTERVAL_MS:
        return None
    if ms < 0:
        return Complaint("an interval can't be negative", f"{_INTERVALS}; a bare number is milliseconds")
    if ms > MAX_INTERVAL_MS:
        problem = f"{_long(ms)} is above the maximum of {format_duration(MAX_INTERVAL_MS)}"
        return Complaint(problem, f"{_INTERVALS}; a bare number is milliseconds")
    problem = f"{format_duration(ms)} is below the minimum of {format_duration(MIN_INTERVAL_MS)}"
    if 0 < ms < SECOND_MS:  # a bare `24` probably means hours; 1s or more was probably written with a unit
        return Complaint(problem, f"did you mean {ms}h? A bare number is milliseconds")
    return Complaint(problem, f"{_INTERVALS}; a bare number is milliseconds")


def offset_problem(ms: int) -> Complaint | None:
    """Return what is wrong with an offset whatever the interval (API facts §4.5)."""
    if ms < 0:
        return Complaint("an offset can't be negative", "write `0s` or more; a bare number is milliseconds")
    if ms >= MAX_INTERVAL_MS:
        problem = f"{_long(ms)} is longer than any interval may be"
        return Complaint(problem, "write an offset below the interval; a bare number is milliseconds")
    return None


def _chain_problem(chain: str) -> Complaint | None:
    if chain not in _TAKEN_FOR_ETHEREUM:
        return None
    problem = f"the chain `{chain}` does not turn on the minimum interval of ETH mainnet"
    return Complaint(problem, "write `ethereum` if that is meant", Severity.WARNING)


def _until_problem(text: str, today: dt.date) -> Complaint | None:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return Complaint(f"`{text}` is not a day of the calendar", "write a day that exists, such as `2026-12-01`")
    if day >= today:
        return None
    problem = f"the date {text} has passed, and a decision is due"
    repair = "change `state`, move the date, or remove it; nothing is resumed by itself"
    return Complaint(problem, repair, Severity.WARNING)


def _ethereum_problem(interval_ms: int, chain: str) -> Complaint | None:
    if chain not in ETHEREUM or interval_ms >= ETHEREUM_MIN_INTERVAL_MS:
        return None
    minimum = format_duration(ETHEREUM_MIN_INTERVAL_MS)
    problem = f"the interval {format_duration(interval_ms)} is below {minimum}, the minimum on ETH mainnet"
    return Complaint(problem, f"write an interval of {minimum} or more")


def _offset_and_interval_problem(offset_ms: int | str, interval_ms: int) -> Complaint | None:
    if isinstance(offset_ms, str) or offset_ms < interval_ms:  # `auto` always fits
        return None
    interval = format_duration(interval_ms)
    problem = f"the offset {format_duration(offset_ms)} is not below the interval {interval}"
    return Complaint(problem, f"write an offset of less than {interval}")


def _long(ms: int) -> str:
    text = format_duration(ms)
    return text if len(text) <= _LONGEST_DURATION else "this"


def _version_word(value: object, written: str) -> str:
    word = written.lower().removeprefix("v")
    return f"write `v{word}`" if word in ("1", "2") and not isinstance(value, bool) else ""


def _cadence_word(_value: object, written: str) -> str:
    return _CADENCES.get(written.strip().lower().replace(" ", ""), "")


_CADENCES: Final = {
    **dict.fromkeys(("1h", "60m", "pt1h", "3600000"), "write `hourly`"),
    **dict.fromkeys(("1d", "24h", "p1d", "pt24h", "86400000"), "write `daily`"),
    **dict.fromkeys(("biweekly", "2w", "14d"), "strategies have no such cadence; write `weekly` or `monthly`"),
    **dict.fromkeys(("1w", "7d", "p1w", "p7d", "168h", "604800000"), "write `weekly`"),
}
"""Durations that equal a cadence. There is none for a month, which has no fixed length."""


def _limit(value: str | int | float) -> Limit:
    if isinstance(value, str):
        return Limit(text=value, percent=float(value.removesuffix("%")))
    return Limit(text=str(int(value)), count=int(value))


class _Hold(StrEnum):
    OVERRIDE = "override"


_NAME: Final = FieldSpec(
    name="name",
    kind=label_form(),
    about="A label for people, shown beside the id; never sent. One line of up to 200 characters.",
    examples=["Growth index"],
    repair="write one line of text; quote it if it looks like a number",
    words=("title",),
)


def _holding(table: FieldTable) -> FieldSpec:
    """Return the field that holds this mapping; both have the same name."""
    return FieldSpec(name=table.name, kind=table, about=table.about, examples=table.examples, repair=table.repair)


def _v1_only(name: str) -> Complaint:
    problem = f"a v2 portfolio has no {name} of its own: its cadence belongs to its strategy"
    return Complaint(problem, "remove the line, and declare the strategy's `schedule` under `strategies`")


_AMOUNT: Final = number_form("an amount", least=0, most=1_000_000)
_AMOUNT_REPAIR: Final = "write an amount in US dollars, such as `0.35`, without a currency"

_COSTS: Final = FieldTable(
    name="costs",
    about="What running costs, in US dollars, for advice and for the cost of a plan; never sent. A nearer layer wins "
    "key by key.",
    repair="indent amounts in US dollars under it, such as `per_rebalance_usd: 0.35`",
    examples=[{"per_rebalance_usd": 0.35}],
    fields=(
        FieldSpec(
            name="per_rebalance_usd",
            kind=_AMOUNT,
            about="What one run costs, on average. Glider publishes no price, so nothing is assumed without it.",
            examples=[0.35, 30],
            repair=_AMOUNT_REPAIR,
        ),
        FieldSpec(
            name="warn_above_usd_month",
            kind=_AMOUNT,
            about="What the runs of one portfolio may cost in 30 days before `short-interval` warns; by default 30.",
            examples=[0.35, 30],
            repair=_AMOUNT_REPAIR,
        ),
    ),
)

_FREEZE_ELSEWHERE: Final = {
    "freeze": "write it at the left margin of the file; its `select` says which portfolios it is for"
}

SILENCE_FIELDS: Final = FieldTable(
    name="silence",
    about="Rules of advice to silence, each with a reason. A nearer layer wins rule by rule.",
    repair="indent rules with their reasons under it, such as `short-interval: Hedges must follow hourly`",
    examples=[{"short-interval": "Hedges must follow hourly"}],
    fields=tuple(
        FieldSpec(
            name=rule.value,
            attribute=f"silence.{rule.value}",
            kind=label_form(),
            about="Why the rule does not matter here. One line of up to 200 characters.",
            examples=["Hedges must follow hourly"],
            repair="write why, in one line of text",
        )
        for rule in Rule
    ),
)
"""A layer holds each silence as a value of its own, under ``silence.RULE``, until all are gathered into one."""

PORTFOLIO_FIELDS: Final = FieldTable(
    name="portfolio",
    about="One portfolio as it should be. A field that no layer sets is not managed.",
    repair="indent its fields under it, at least `state: active` or `state: paused`",
    examples=[{"name": "Growth index", "state": "active", "interval": "48h"}],
    required=("state",),
    strays={
        **dict.fromkeys(("paused: true", "active: false", "enabled: false"), "write `state: paused`"),
        **dict.fromkeys(("active", "paused", "enabled"), "write `state: active` or `state: paused`"),
        **_FREEZE_ELSEWHERE,
    },
    fields=(
        _NAME,
        FieldSpec(
            name="group",
            kind=GROUP_NAME,
            about="The group whose values lie between `defaults` and this portfolio; it must be declared in `groups`.",
            examples=["mainnet"],
            repair="write up to 64 letters, digits, `_`, `.` or `-`",
        ),
        FieldSpec(
            name="state",
            kind=word_form("a state", RunState, near=False),  # `inactive` is near to `active`, and means the opposite
            about="Whether the portfolio's automation should run. Required for each portfolio and without a default, "
            "so that nothing is resumed because a line is missing.",
            examples=["active", "paused"],
            repair="write `active` or `paused`",
            words=("status",),
        ),
        FieldSpec(
            name="api",
            kind=word_form("a version of the API", ApiVersion, guess=_version_word, near=False),
            about="Which of Glider's APIs manages the portfolio; by default `v1`. On `v2` the cadence belongs to the "
            "strategy, so `interval`, `offset` and `run_on_start` are not used.",
            examples=["v1", "v2"],
            repair="write `v1` or `v2`",
            words=("version", "apiversion"),
            layered=True,
        ),
        FieldSpec(
            name="strategy",
            kind=id_form("a strategy id"),
            about="The id of the strategy that a v2 portfolio is enrolled in. It is compared, never sent: if Glider "
            "shows another one, that is drift. Without it any strategy is fine.",
            examples=["01JWZEE2MF30KVRMRX53N88VA4"],
            repair="copy the strategy's id from Glider, in quotes where it looks like a number",
            words=("strategyid",),
            owns_schedule=False,
            elsewhere=Complaint(
                "only a v2 portfolio has a strategy, and this one is managed by v1",
                "remove the line, or declare `api: v2`",
            ),
        ),
        FieldSpec(
            name="chain",
            kind=CHAIN,
            about='The primary chain, by lower-case name or chain id. `ethereum` (or `"1"`) turns on the minimum '
            "interval of 24h on ETH mainnet.",
            examples=["ethereum", "base", "8453"],
            repair="write a lower-case name such as `ethereum`, or a chain id in quotes",
            words=("network",),
            check=lambda chain, _: _chain_problem(chain),
            layered=True,
        ),
        FieldSpec(
            name="interval",
            attribute="interval_ms",
            kind=duration_form(least=MIN_INTERVAL_MS, most=MAX_INTERVAL_MS),
            about="The time between two runs: a duration of 1h to 365d, or an integer of milliseconds. Without it the "
            "reconciler leaves the schedule alone.",
            examples=["24h", "1h30m", "daily", "PT12H", 86_400_000],
            repair="write a duration such as `90m`, `24h`, `1d` or `PT12H`",
            words=("every", "cadence", "frequency", "schedule", "intervalms"),
            check=lambda ms, _: interval_problem(ms),
            layered=True,
            owns_schedule=True,
            elsewhere=_v1_only("interval"),
        ),
        FieldSpec(
            name="offset",
            attribute="offset_ms",
            kind=offset_form(most=MAX_INTERVAL_MS - 1),
            about="How far the runs are shifted within the interval: a duration of at least 0 and less than the "
            "interval, or `auto`, which spreads portfolios by their ids. Without it any offset is fine.",
            examples=["90m", "0s", 5_400_000, "auto"],
            repair="write a duration such as `0s`, `90m` or `2h`, or `auto`",
            check=lambda ms, _: offset_problem(ms) if ms != AUTO else None,
            layered=True,
            owns_schedule=True,
            elsewhere=_v1_only("offset"),
        ),
        FieldSpec(
            name="reason",
            kind=label_form(without=MARK_NAME, why="the beginning of the mark that our own pauses carry"),
            about="Why it is paused or runs again; sent with pause and resume, and kept by Glider. One line of up to "
            "200 characters.",
            examples=["Liquidity event"],
            repair="write one line of text; quote it if it looks like a number",
            words=("comment", "note"),
            layered=True,
        ),
        FieldSpec(
            name="until",
            kind=Form(
                noun="a date",
                schema={
                    "type": "string",
                    "pattern": r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$(?!\n)",
                },
            ),
            about="A date after which people are warned that a decision is due. It never resumes anything.",
            examples=["2026-12-01"],
            repair="write year, month and day, such as `2026-12-01`",
            check=_until_problem,
            layered=True,
        ),
        FieldSpec(
            name="hold",
            attribute="hold_override",
            kind=replace(
                word_form("a word that `hold` knows", _Hold, near=True),
                read=lambda _: True,
                write=lambda _: _Hold.OVERRIDE.value,
            ),
            about="`override` lets the reconciler resume a portfolio that somebody else paused. Without it such a "
            "portfolio is held.",
            examples=["override"],
            repair="write `override`, or leave the line out",
            layered=True,
        ),
        FieldSpec(
            name="run_on_start",
            kind=FLAG,
            about="Whether a start also runs a rebalance at once; by default it does not.",
            examples=[False],
            repair="write `true` or `false`",
            words=("runrebalanceimmediately",),
            layered=True,
            owns_schedule=True,
            elsewhere=Complaint(
                "a v2 portfolio is never started, only resumed, and then a rebalance is due at once",
                "remove the line",
            ),
        ),
        FieldSpec(
            name="owner",
            kind=label_form(),
            about="Whom to ask about it; for people, never sent. One line of up to 200 characters.",
            examples=["treasury@example.com"],
            repair="write one line of text; quote it if it looks like a number",
            layered=True,
        ),
        FieldSpec(
            name="labels",
            kind=Keyed(
                key=LABEL_KEY,
                repair="write up to 63 letters, digits, `_`, `.`, `/` or `-`; `group`, `id` and `name` are taken",
                each=LABEL_VALUE,
            ),
            about="Words of your own to select by, such as `--select team=fx`; never sent. A nearer layer wins key by "
            "key.",
            examples=[{"team": "fx", "region": "eu"}],
            repair="indent labels under it, such as `team: fx`",
            words=("label", "tag", "tags"),
            layered=True,
        ),
        replace(_holding(_COSTS), words=("cost",), layered=True),
        replace(_holding(SILENCE_FIELDS), words=("ignore",), layered=True),
    ),
)

_OF_PORTFOLIOS: Final = tuple(field for field in PORTFOLIO_FIELDS.fields if not field.layered)
_OF_LAYERS: Final = tuple(field for field in PORTFOLIO_FIELDS.fields if field.layered)


def _strays(fields: tuple[FieldSpec, ...], say: Callable[[FieldSpec], str], *, words: bool = False) -> dict[str, str]:
    """Return what to say about each field that does not belong here, by its name, or by all words for it as well."""
    return {plain_word(word): say(field) for field in fields for word in (field.name, *(field.words if words else ()))}


def _at_the_portfolio(field: FieldSpec) -> str:
    why = "is never inherited" if field.name == "state" else "belongs to one portfolio"
    return f"`{field.name}` {why}: write it at the portfolio"


LAYER_FIELDS: Final = FieldTable(
    name="layer",
    about="Values that portfolios inherit; `state` is never inherited.",
    repair="indent its fields under it, such as `interval: 24h`",
    examples=[{"interval": "24h"}],
    strays={**_strays(_OF_PORTFOLIOS, _at_the_portfolio), **_FREEZE_ELSEWHERE},
    fields=_OF_LAYERS,
)

STRATEGY_FIELDS: Final = FieldTable(
    name="strategy",
    about="One strategy as it should be.",
    repair="indent its fields under it, at least `schedule: daily`",
    examples=[{"name": "Momentum", "schedule": "daily"}],
    required=("schedule",),
    strays={
        **_strays(
            tuple(field for field in PORTFOLIO_FIELDS.fields if field.name not in ("name", "interval")),
            lambda field: f"remove it; `{field.name}` belongs to portfolios, a strategy has a cadence only",
            words=True,
        ),
        "interval": "did you mean `schedule`? A strategy's cadence is `hourly`, `daily`, `weekly` or `monthly`",
    },
    fields=(
        _NAME,
        FieldSpec(
            name="schedule",
            kind=word_form("a cadence", Cadence, guess=_cadence_word, near=True),
            about="How often every enrolled portfolio runs, paused ones included once they are resumed; it takes "
            "effect with the next cycle.",
            examples=["hourly", "daily", "weekly", "monthly"],
            repair="write `hourly`, `daily`, `weekly` or `monthly`",
            words=("every", "cadence", "frequency", "intervalms"),
        ),
    ),
)

_LIMIT: Final = Form(
    noun="a limit",
    schema={
        "type": ["integer", "string"],
        "minimum": 0,
        "pattern": r"^(?:100(?:\.0+)?|[0-9]{1,2}(?:\.[0-9]{1,4})?)%$(?!\n)",
        "maxLength": 12,
    },
    read=_limit,
    write=lambda limit: str(limit.text),
)


def _guard(name: str, about: str) -> FieldSpec:
    repair = "write a number such as `5`, or a share of the managed portfolios such as `10%`"
    return FieldSpec(name=name, kind=_LIMIT, about=about, examples=[5, "10%"], repair=repair)


GUARDS_FIELDS: Final = FieldTable(
    name="guards",
    about="Limits on one apply: numbers of portfolios, or shares of the managed ones.",
    repair="write `guards:` with indented limits such as `max_start: 5`",
    examples=[{"max_start": 5, "max_resume": "10%"}],
    fields=(
        _guard("max_start", "How many portfolios one apply may start."),
        _guard("max_resume", "How many portfolios one apply may resume."),
        _guard("max_pause", "How many portfolios one apply may pause."),
        _guard("max_update", "How many schedules one apply may change."),
        _guard("max_reach", "How many portfolios the new cadences of strategies in one apply may reach."),
    ),
)

EXPECT_FIELDS: Final = FieldTable(
    name="expect",
    about="The service and account that the files expect. They are compared and never used to connect; a different one"
    " is an error before anything is read or written.",
    repair="indent `url` and `account` under it, or one of them",
    examples=[{"url": "https://api.glider.fi", "account": "Acme EU"}],
    fields=(
        FieldSpec(
            name="url",
            kind=Form(
                noun="a base URL",
                schema={"type": "string", "maxLength": 200, "pattern": r"^[A-Za-z]+://\S+$(?!\n)"},
            ),
            about="The base URL of the service. It is compared before the key is sent anywhere.",
            examples=["https://api.glider.fi"],
            repair="write the whole base URL, such as `https://api.glider.fi`",
            words=("baseurl", "host", "endpoint", "server"),
        ),
        FieldSpec(
            name="account",
            kind=label_form(),
            about="The account that the key belongs to, by the name that Glider tells (`tenantName` of whoami). It is "
            "compared before anything is read, and again by `apply PLAN`.",
            examples=["Acme EU"],
            repair="write the account's name as `reconciler doctor` or Glider's console shows it",
            words=("tenant", "tenantname"),
        ),
    ),
)


def _to_be_compared(field: FieldSpec) -> str:
    where = "files never say where the key goes, GLIDER_BASE_URL does; " if field.name == "url" else ""
    return f"{where}write `expect: {{{field.name}: …}}` to have it compared"


SERVICE_FIELDS: Final = FieldTable(
    name="service",
    about="How to call the service, and which one the files expect. Its address comes from the environment or a flag "
    "only.",
    repair="write `service:` with an indented `paths: auto` or `expect:`",
    examples=[{"paths": "auto"}],
    strays={word: _to_be_compared(field) for field in EXPECT_FIELDS.fields for word in (field.name, *field.words)},
    fields=(
        FieldSpec(
            name="paths",
            kind=word_form("a family of paths", Paths, near=True),
            about="Which family of v1 paths to call; `auto` begins with the reference and falls back at most once.",
            examples=["auto"],
            repair="write `auto`, `reference` or `guide`",
        ),
        _holding(EXPECT_FIELDS),
    ),
)

_FARTHEST: Final = dt.timedelta(days=400)
"""A freeze of next year is planned by now; a later one is most likely a slip of the year."""


def _time_problem(ms: int | None, today: dt.date) -> Complaint | None:
    if ms is None:
        return Complaint("this day is in no calendar", "write a day that exists, such as `2026-12-19T00:00:00Z`")
    day = dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC).date()
    if day - today <= _FARTHEST:
        return None
    problem = f"this is {(day - today).days} days from now"
    return Complaint(problem, "check the year, and whether a freeze so far ahead is meant", Severity.WARNING)


def _freezable_word(_value: object, written: str) -> str:
    word = written.strip().lower()
    if word in ("pause", "pauses", "stop", "halt"):
        return "leave it out: pauses are never frozen"
    if word in ("all", "any", "everything", "*"):
        return "leave `forbid` out: without it all of them wait"
    return f"write `{word.rstrip('s')}`" if word.rstrip("s") in list(Freezable) else ""


FREEZE_FIELDS: Final = FieldTable(
    name="freeze",
    about="A window of time in which changes wait.",
    repair="indent `name`, `from` and `to` behind the `-`",
    examples=[{"name": "year-end", "from": "2026-12-19T00:00:00Z", "to": "2027-01-04T00:00:00Z"}],
    required=("name", "from", "to"),
    fields=(
        FieldSpec(
            name="name",
            kind=replace(GROUP_NAME, noun="the name of a freeze"),
            about="What plans call it, and what `--allow freeze=NAME` names; no other freeze has the same.",
            examples=["year-end"],
            repair="write up to 64 letters, digits, `_`, `.` or `-`",
            words=("title", "id"),
        ),
        FieldSpec(
            name="from",
            attribute="from_ms",
            kind=TIME,
            about="When it begins: a time with its zone, as RFC 3339 writes it.",
            examples=["2026-12-19T00:00:00Z"],
            repair="write date, time and zone, such as `2026-12-19T00:00:00Z` or `2026-12-19T01:00:00+01:00`",
            words=("start", "begin", "begins", "since"),
            check=_time_problem,
        ),
        FieldSpec(
            name="to",
            attribute="to_ms",
            kind=TIME,
            about="When it is over: the first moment that is free again.",
            examples=["2027-01-04T00:00:00Z"],
            repair="write date, time and zone, such as `2027-01-04T00:00:00Z` or `2027-01-04T01:00:00+01:00`",
            words=("end", "ends", "until", "till"),
            check=_time_problem,
        ),
        FieldSpec(
            name="forbid",
            kind=list_form(
                Form(
                    noun="what a freeze can forbid",
                    schema={"type": "string", "pattern": rf"^(?:{'|'.join(Freezable)})$(?!\n)"},
                    read=Freezable,
                    guess=_freezable_word,
                ),
                most=len(Freezable),
            ),
            about="Which changes wait: some of `start`, `resume`, `update` (of a schedule or cadence) and `rebalance`; "
            "by default all four. Pauses never wait.",
            examples=[["start", "resume"]],
            repair="write one or several of `start`, `resume`, `update` and `rebalance`, as `[start, resume]`",
            words=("forbids", "verbs", "actions", "block", "deny"),
        ),
        FieldSpec(
            name="select",
            kind=list_form(
                Form(
                    noun="a condition to select by",
                    schema={
                        "type": "string",
                        "maxLength": 200,
                        "pattern": r"^[A-Za-z0-9][A-Za-z0-9_./-]*!?=[^=\s][^\t\r\n]*$(?!\n)",
                    },
                ),
                most=50,
            ),
            about="Which portfolios it is for: a condition as of `--select`, or a list of them; by default all. A "
            "strategy waits if any of its portfolios does.",
            examples=["team=fx", ["group=mainnet", "tier!=3"]],
            repair="write `group=NAME`, `LABEL=VALUE`, `LABEL!=VALUE` or `name=GLOB`, one or a list of them",
            words=("selector", "selects", "only", "where", "for"),
        ),
    ),
)

AUTOMATION_FIELDS: Final = FieldTable(
    name="automation",
    about="The wanted automation state of portfolios on Glider. Files merge by section.",
    repair="begin it with `version: 1`",
    examples=[{"version": 1, "portfolios": {"ao04x0r6": {"state": "active", "interval": "24h"}}}],
    required=("version",),
    strays={
        **_strays(_OF_PORTFOLIOS, _at_the_portfolio),
        **_strays(_OF_LAYERS, lambda _: "indent it under `defaults`, a group or a portfolio"),
    },
    fields=(
        FieldSpec(
            name="version",
            kind=Form(
                noun="a version that this program reads",
                schema={"type": "integer", "const": 1},
                guess=lambda value, _: "remove the quotes" if value == "1" else "",
            ),
            about="The version of this format; required in every file.",
            examples=[1],
            repair="write `version: 1`",
        ),
        FieldSpec(
            name="defaults",
            kind=LAYER_FIELDS,
            about="The lowest layer: values for every portfolio whose group and own entry do not set them.",
            examples=LAYER_FIELDS.examples,
            repair=LAYER_FIELDS.repair,
        ),
        FieldSpec(
            name="groups",
            kind=Keyed(key=GROUP_NAME, repair="write up to 64 letters, digits, `_`, `.` or `-`", each=LAYER_FIELDS),
            about="Named layers between `defaults` and the portfolios that name them in `group`.",
            examples=[{"mainnet": {"chain": "ethereum", "interval": "24h"}}],
            repair="write `groups:` with one indented key for each group",
        ),
        FieldSpec(
            name="portfolios",
            kind=Keyed(
                key=id_form("a portfolio id"),
                repair="copy the id from Glider: letters, digits, `_` and `-` only",
                each=PORTFOLIO_FIELDS,
            ),
            about="The managed portfolios, by Glider's portfolio id. What is not named here is never touched.",
            examples=[{"ao04x0r6": {"state": "active", "interval": "48h"}}],
            repair="write `portfolios:` with one indented key for each portfolio id",
        ),
        FieldSpec(
            name="strategies",
            kind=Keyed(
                key=id_form("a strategy id"),
                repair="copy the id from Glider: letters, digits, `_` and `-` only",
                each=STRATEGY_FIELDS,
            ),
            about="The managed strategies of v2, by Glider's strategy id. A cadence holds for every portfolio that is "
            "enrolled in the strategy.",
            examples=[{"01JWZEE2MF30KVRMRX53N88VA4": {"name": "Momentum", "schedule": "daily"}}],
            repair="write `strategies:` with one indented key for each strategy id",
        ),
        _holding(GUARDS_FIELDS),
        _holding(SERVICE_FIELDS),
        FieldSpec(
            name="freeze",
            kind=Listed(each=FREEZE_FIELDS, most=200),
            about="Windows of time in which changes wait, each with its name; the lists of several files are joined.",
            examples=[FREEZE_FIELDS.examples],
            repair="write each freeze behind a `-`, such as `- {name: year-end, from: 2026-12-19T00:00:00Z, to: "
            "2027-01-04T00:00:00Z}`",
            words=("freezes", "freezewindows", "blackout", "blackouts", "maintenance"),
        ),
    ),
)


class Pair(Struct, frozen=True, eq=False):
    """A rule about two fields of a portfolio, whichever layers they come from; it says what is wrong with the two."""

    fields: tuple[FieldSpec, FieldSpec]
    problem: Callable[[Any, Any], Complaint | None]


def _pair(one: str, other: str, problem: Callable[[Any, Any], Complaint | None]) -> Pair:
    known = fields_of(PORTFOLIO_FIELDS)
    return Pair((known[one], known[other]), problem)


PAIRS: Final = (
    _pair("interval", "chain", _ethereum_problem),
    _pair("offset", "interval", _offset_and_interval_problem),
)


def published_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration files, as it is published."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Portfolio automation",
        **json_schema(AUTOMATION_FIELDS, {PORTFOLIO_FIELDS.name: _unfit_clauses()}),
    }


def _unfit_clauses() -> list[dict[str, Any]]:
    """Return the schema clauses that refuse the fields which a portfolio can't have with its `api`."""
    return [
        {
            "if": {"properties": {"api": {"const": api.value}}, "required": ["api"]},
            "then": {"properties": {field.name: False}, "errorMessage": f"{said.problem}; {said.repair}"},
        }
        for api in ApiVersion
        for field in unfit(api)
        if (said := field.elsewhere) is not None
    ]


def unfit(api: ApiVersion) -> tuple[FieldSpec, ...]:
    """Return the fields that a portfolio on this API can't have."""
    return tuple(f for f in PORTFOLIO_FIELDS.fields if f.owns_schedule not in (None, api.can.owns_schedule))
