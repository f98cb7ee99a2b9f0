"""What the files may declare of a portfolio, of a layer that portfolios inherit from, and of a strategy.

In: nothing. Out: :data:`PORTFOLIO_FIELDS` and the tables beside it, one row a field. The published JSON Schema, the
merging of layers, the rules, the repairs in messages, `explain`, the order of an `import` and the tables in the docs
are all made from these rows. Each is one attribute of the value that holds it (for a portfolio,
:class:`~reconciler.core.model.Desired`). :mod:`reconciler.core.sections` has the rest of a file.
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
    Complaint,
    Form,
    duration_form,
    id_form,
    label_form,
    number_form,
    offset_form,
    word_form,
)
from reconciler.core.guards import ETHEREUM_MIN_INTERVAL_MS, MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import ApiVersion, Cadence, RunState
from reconciler.core.tables import FieldSpec, FieldTable, Keyed, fields_of, holding, strays_of
from reconciler.core.text import SECOND_MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

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
        replace(holding(_COSTS), words=("cost",), layered=True),
        replace(holding(SILENCE_FIELDS), words=("ignore",), layered=True),
    ),
)


def _at_the_portfolio(field: FieldSpec) -> str:
    why = "is never inherited" if field.name == "state" else "belongs to one portfolio"
    return f"`{field.name}` {why}: write it at the portfolio"


LAYER_FIELDS: Final = FieldTable(
    name="layer",
    about="Values that portfolios inherit; `state` is never inherited.",
    repair="indent its fields under it, such as `interval: 24h`",
    examples=[{"interval": "24h"}],
    strays={
        **strays_of((field for field in PORTFOLIO_FIELDS.fields if not field.layered), _at_the_portfolio),
        **_FREEZE_ELSEWHERE,
    },
    fields=tuple(field for field in PORTFOLIO_FIELDS.fields if field.layered),
)

STRATEGY_FIELDS: Final = FieldTable(
    name="strategy",
    about="One strategy as it should be.",
    repair="indent its fields under it, at least `schedule: daily`",
    examples=[{"name": "Momentum", "schedule": "daily"}],
    required=("schedule",),
    strays={
        **strays_of(
            (field for field in PORTFOLIO_FIELDS.fields if field.name not in ("name", "interval")),
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


def unfit(api: ApiVersion) -> tuple[FieldSpec, ...]:
    """Return the fields that a portfolio on this API can't have."""
    return tuple(f for f in PORTFOLIO_FIELDS.fields if f.owns_schedule not in (None, api.can.owns_schedule))
