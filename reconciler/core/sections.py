"""What the configuration files may hold as a whole: their sections, with limits, service and freezes.

In: the fields of portfolios, layers and strategies (:mod:`reconciler.core.fields`). Out: :data:`AUTOMATION_FIELDS`, the
table of a whole file, and the JSON Schema that is published.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from msgspec.structs import replace

from reconciler.core.diagnostics import Severity
from reconciler.core.fields import LAYER_FIELDS, PORTFOLIO_FIELDS, STRATEGY_FIELDS, unfit
from reconciler.core.forms import GROUP_NAME, TIME, Complaint, Form, id_form, label_form, list_form, word_form
from reconciler.core.freeze import Freezable
from reconciler.core.guards import Limit
from reconciler.core.model import ApiVersion, Paths
from reconciler.core.tables import FieldSpec, FieldTable, Keyed, Listed, holding, json_schema, strays_of

SCHEMA_ID: Final = (
    "https://raw.githubusercontent.com/glider-reconciler/glider-reconciler/main/schemas/automation.schema.json"
)


def _limit(value: str | int | float) -> Limit:
    if isinstance(value, str):
        return Limit(text=value, percent=float(value.removesuffix("%")))
    return Limit(text=str(int(value)), count=int(value))


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
        holding(EXPECT_FIELDS),
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
        **LAYER_FIELDS.strays,
        **strays_of(LAYER_FIELDS.fields, lambda _: "indent it under `defaults`, a group or a portfolio"),
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
        holding(GUARDS_FIELDS),
        holding(SERVICE_FIELDS),
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
