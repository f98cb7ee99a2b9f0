"""What the documents leave open about answers: each alternative that we can think of, and what we make of it.

One row an alternative, over the whole client: who asks, what is answered, and the outcome in words. The marks are those
of the API facts: I (inferred), C (seen in client code), D (documented twice, differently), - (not found).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from msgspec import Struct
from stub_service import KEY, Answer, Service, api_of, script, sent, transport

from reconciler.api.key import ask_service, require_scopes
from reconciler.core.doctor import ServiceAnswer
from reconciler.core.errors import ApiError
from reconciler.core.fleet import PortfolioList
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Live, Paths, PortfolioId, StrategyId, StrategyLive
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import PortfolioFacts, Rebalance, RecentRebalances
from tests.support import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.api.client import Glider
    from reconciler.api.transport import Transport

ID = PortfolioId("a1")
DAY = 86_400_000
DUE = "2026-12-01T09:00:00.000Z"
DUE_MS = 1_796_115_600_000


def body(data: object, **beside: object) -> str:
    return json.dumps({"success": True, "data": data, "requestId": "req_1", **beside})


def refusal(code: object, message: object, **beside: object) -> str:
    return json.dumps({"success": False, "error": {"code": code, "message": message}, "requestId": "req_1", **beside})


def v1(word: object, /, **fields: object) -> str:
    return body({"portfolioId": "a1", "status": word, **fields})


def v2(schedule: object) -> str:
    return body({"portfolioId": "a1", "schedule": schedule})


def glider(client: Transport, version: ApiVersion = ApiVersion.V1) -> Glider:
    return api_of(client, version, Paths.REFERENCE)


def glider_v2(client: Transport) -> Glider:
    return glider(client, ApiVersion.V2)


async def doctor(client: Transport) -> object:
    return (await ask_service(client, portfolio=None, clock=FakeClock())).whoami[0]


class Triggered(Struct):
    """What became of asking for a run: ``id`` is that of the run."""

    id: str | None


async def trigger(api: Glider) -> Triggered:
    return Triggered((await sent(api, Call.REBALANCE, ID)).run)


ASKS: dict[str, Callable[[Transport], Awaitable[object]]] = {
    "v1 status": lambda client: glider(client).read(ID),
    "v1 start": lambda client: sent(
        glider(client), Call.START, ID, interval_ms=DAY, offset_ms=None, run_on_start=False
    ),
    "v1 pause": lambda client: sent(glider(client), Call.PAUSE, ID, reason="x"),
    "v1 resume": lambda client: sent(glider(client), Call.RESUME, ID, reason="x"),
    "v1 update": lambda client: sent(glider(client), Call.UPDATE_SCHEDULE, ID, interval_ms=DAY, offset_ms=None),
    "v1 trigger": lambda client: trigger(glider(client)),
    "v1 runs": lambda client: glider(client).recent(ID, limit=5),
    "v1 run": lambda client: glider(client).look(ID, "w1"),
    "v1 portfolio": lambda client: glider(client).facts(ID),
    "v2 portfolio": lambda client: glider_v2(client).read(ID),
    "v2 stop": lambda client: sent(glider_v2(client), Call.PAUSE, ID, reason="x"),
    "v2 list": lambda client: glider_v2(client).list_portfolios(),
    "v2 cadence": lambda client: glider(client).read_strategy(StrategyId("s1")),
    "v2 trigger": lambda client: trigger(glider_v2(client)),
    "v2 operation": lambda client: glider_v2(client).look(ID, "o1"),
    "v2 scopes": lambda client: require_scopes(client, ["portfolios:write"]),
    "doctor": doctor,
}


def words(found: object) -> str:
    """Say what was made of an answer, without what the answer left open."""
    match found:
        case ApiError():
            ids = ", ".join(one for one in (found.code, found.request_id) if one)
            return f"{found.kind.value}{f' ({ids})' if ids else ''}: {found.summary}"
        case Live() | StrategyLive() | Rebalance():
            facts = _facts(found, "id", "status", "word", "failure")
            word = f" ({found.word})" if found.word not in ("", found.status.value) else ""
            return f"{found.status.value}{word}{facts}"
        case Confirmation():
            return f"done{_facts(found)}"
        case Triggered():
            return f"asked for{_facts(found)}"
        case RecentRebalances():
            runs = ", ".join(words(one) for one in found.rebalances)
            return f"runs: {runs or 'none'}{_facts(found, 'rebalances', 'listed')}"
        case PortfolioList():
            whole = "whole" if found.complete else f"not whole ({found.failure or found.unreadable})"
            return f"{whole}: {', '.join(f'{name} {words(live)}' for name, live in found.rows.items()) or 'empty'}"
        case PortfolioFacts():
            return f"portfolio{_facts(found, 'signs')}{_facts(found.signs)}"
        case ServiceAnswer():
            return f"scopes {', '.join(sorted(found.scopes)) if found.scopes is not None else 'not known'}"
        case _:
            return "enough" if found is None else str(found)


def _facts(value: Any, *but: str) -> str:
    fields = {name: getattr(value, name) for name in value.__struct_fields__ if name not in but}
    return "".join(f", {name} {fact}" for name, fact in fields.items() if fact not in (None, ()))


class Row(NamedTuple):
    """One alternative: what it is about, its mark, who asks, the answer with its status, and the outcome."""

    about: str
    mark: str
    asks: str
    answer: str
    outcome: str
    status: int = 200


NEXT = f", next_run_ms {DUE_MS}"
SCHEDULED = {"paused": False, "nextScheduledExecution": DUE}
NO_AUTOMATION = "although hasAutomation is false"
REFUSED_KEY, CHECK_KEY = "the service does not accept the key", "check GLIDER_API_KEY and the base URL"
KEY_IN_ESCAPES = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
NOT_TOLD = "Glider does not tell the scopes of this key, so they were not checked"
LACKING = "forbidden: the key lacks the scope portfolios:write"

ROWS = (
    # The status of v1: its words, and what stands beside them
    Row("status as documented", "D", "v1 status", v1("active", hasAutomation=True, details=SCHEDULED), f"active{NEXT}"),
    Row("status word in capitals", "I", "v1 status", v1("ACTIVE", hasAutomation=True), "active"),
    Row("status word that is new", "-", "v1 status", v1("Migrating"), "unknown (Migrating)"),
    Row("details, id and next run missing", "-", "v1 status", v1("paused"), "paused"),
    Row("details and id null", "-", "v1 status", v1("inactive", details=None, rebalanceScheduleId=None), "inactive"),
    Row("inactive without automation", "D", "v1 status", v1("inactive", hasAutomation=False), "inactive"),
    Row(
        "paused without automation",
        "I",
        "v1 status",
        v1("paused", hasAutomation=False, details={"paused": True, "pauseReason": "Paused via API: desk"}),
        f"unknown (paused, {NO_AUTOMATION}), pause_reason Paused via API: desk",
    ),
    Row(
        "active without automation",
        "I",
        "v1 status",
        v1("active", hasAutomation=False, details=SCHEDULED),
        f"unknown (active, {NO_AUTOMATION}){NEXT}",
    ),
    Row(
        "active, and paused in its details",
        "-",
        "v1 status",
        v1("active", details={"paused": True}),
        "unknown (active, although details.paused is true)",
    ),
    Row(
        "a next run that has passed",
        "-",
        "v1 status",
        v1("active", details={"paused": False, "nextScheduledExecution": "2026-11-18T09:00:00.000Z"}),
        "active, next_run_ms 1794992400000",
    ),
    Row(
        "a next run in epoch milliseconds",
        "-",
        "v1 status",
        v1("active", details={"nextScheduledExecution": DUE_MS}),
        "active",
    ),
    Row(
        "a next run in epoch seconds",
        "-",
        "v1 status",
        v1("active", details={"nextScheduledExecution": DUE_MS // 1000}),
        "active",
    ),
    Row(
        "a next run without a zone",
        "-",
        "v1 status",
        v1("active", details={"nextScheduledExecution": "2026-12-01T09:00:00"}),
        "active",
    ),
    Row(
        "recent actions oldest first",
        "-",
        "v1 status",
        v1(
            "active",
            details={
                "recentActions": [{"scheduledAt": "1970-01-01T00:00:01Z"}, {"scheduledAt": "1970-01-01T00:00:02Z"}]
            },
        ),
        "active, scheduled_ms (2000, 1000)",
    ),
    # Does the status carry the schedule? The guide says so, the reference's example has none
    Row(
        "interval in the status",
        "D",
        "v1 status",
        v1("active", interval={"every": DAY, "offset": 5}),
        f"active, interval_ms {DAY}, offset_ms 5",
    ),
    Row(
        "interval in its details",
        "D",
        "v1 status",
        v1("active", details={"schedule": {"intervalMs": DAY}}),
        f"active, interval_ms {DAY}",
    ),
    Row("interval as text", "-", "v1 status", v1("active", intervalMs=str(DAY)), "active"),
    Row("interval in seconds", "-", "v1 status", v1("active", interval=DAY // 1000), "active"),
    Row(
        "two intervals that differ",
        "-",
        "v1 status",
        v1("active", intervalMs=DAY, details={"interval": 2 * DAY}),
        "active",
    ),
    # Answers to writes of v1
    Row("start that confirms the interval", "D", "v1 start", v1("started", intervalMs=DAY), f"done, interval_ms {DAY}"),
    Row("start that confirms nothing", "I", "v1 start", v1("started"), "done"),
    Row(
        "start with another interval",
        "I",
        "v1 start",
        v1("started", intervalMs=21_600_000),
        "done, interval_ms 21600000",
    ),
    Row("start with the interval as text", "-", "v1 start", v1("started", intervalMs=str(DAY)), "done"),
    Row("resume like a pause", "I", "v1 resume", v1("resumed", scheduleId="sched_1"), "done, schedule_id sched_1"),
    Row("resume with a bare envelope", "-", "v1 resume", '{"success": true}', "done"),
    Row("resume with data of another shape", "-", "v1 resume", body(["resumed"]), "done"),
    Row(
        "resume about another portfolio",
        "-",
        "v1 resume",
        body({"portfolioId": "b2"}),
        "malformed: the answer is about another portfolio: a1 was asked for, b2 answered",
    ),
    Row(
        "resume with an empty body",
        "-",
        "v1 resume",
        "",
        "malformed: the answer is not a JSON object: an empty body; is the base URL Glider's?",
        204,
    ),
    Row(
        "update with offsets",
        "D",
        "v1 update",
        body(
            {
                "portfolioId": "a1",
                "previousInterval": {"every": 2 * DAY, "offset": 7},
                "newInterval": {"every": DAY, "offset": 0},
            }
        ),
        f"done, interval_ms {DAY}, offset_ms 0, previous_interval_ms {2 * DAY}",
    ),
    Row(
        "update without offsets",
        "-",
        "v1 update",
        body(
            {
                "portfolioId": "a1",
                "scheduleId": "sched_1",
                "previousInterval": {"every": 86400000},
                "newInterval": {"every": 43200000},
            }
        ),
        "done, interval_ms 43200000, schedule_id sched_1, previous_interval_ms 86400000",
    ),
    Row(
        "update with bare numbers",
        "-",
        "v1 update",
        body({"previousInterval": 2 * DAY, "newInterval": DAY}),
        f"done, interval_ms {DAY}, previous_interval_ms {2 * DAY}",
    ),
    Row(
        "update with numbers as text",
        "-",
        "v1 update",
        body({"newInterval": {"every": str(DAY), "offset": "0"}}),
        "done",
    ),
    # Refusals: HTTP decides first, then the code, and the words are the service's
    Row(
        "pause of what is not active",
        "-",
        "v1 pause",
        refusal("API_002", "Automation is not active"),
        "refused (API_002, req_1): the service refused: Automation is not active",
        409,
    ),
    Row(
        "update of what is paused",
        "-",
        "v1 update",
        refusal("API_006", "Schedule not found"),
        "not_found (API_006, req_1): the service does not find it: Schedule not found",
        404,
    ),
    Row(
        "a write to a portfolio without a template",
        "-",
        "v1 start",
        refusal("API_206", "PORTFOLIO_TEMPLATE_NOT_FOUND"),
        "not_found (API_206, req_1): the service does not find it: PORTFOLIO_TEMPLATE_NOT_FOUND",
        404,
    ),
    Row(
        "unknown key as documented",
        "I",
        "v1 pause",
        refusal("API_102", "bad key"),
        f"unauthenticated (API_102, req_1): {REFUSED_KEY}: bad key; {CHECK_KEY}",
        401,
    ),
    Row(
        "unknown key with another status",
        "I",
        "v1 pause",
        refusal("API_102", "bad key"),
        "refused (API_102, req_1): the service refused: bad key",
        400,
    ),
    Row(
        "ids inside the error",
        "C",
        "v1 pause",
        json.dumps({"success": False, "error": {"code": "API_002", "message": "no", "requestId": "req_1"}}),
        "refused (API_002, req_1): the service refused: no",
        400,
    ),
    Row(
        "the code of ETH mainnet as the code",
        "-",
        "v1 update",
        refusal("SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT", "no"),
        "refused (SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT, req_1): the service refused: no",
        400,
    ),
    Row(
        "the code of ETH mainnet in the text",
        "-",
        "v1 update",
        refusal("API_400", "SCHEDULE_ETH_MAINNET_INTERVAL_ONLY"),
        "refused (SCHEDULE_ETH_MAINNET_INTERVAL_ONLY, req_1): the service refused: SCHEDULE_ETH_MAINNET_INTERVAL_ONLY",
        422,
    ),
    Row(
        "an error without a code or text",
        "-",
        "v1 pause",
        '{"success": false, "error": null}',
        "refused: the service refused: no reason given",
        400,
    ),
    Row(
        "a failure with an OK",
        "-",
        "v1 pause",
        refusal("API_002", "no"),
        "malformed (API_002, req_1): the answer has a status of success, but says that it failed: no",
    ),
    Row(
        "a key that is echoed with escapes",
        "-",
        "v1 pause",
        refusal("API_102", "unknown key <>").replace("<>", KEY_IN_ESCAPES),
        f"unauthenticated (API_102, req_1): {REFUSED_KEY}: unknown key [key]; {CHECK_KEY}",
        401,
    ),
    # Rebalances
    Row("trigger with an id", "D", "v1 trigger", body({"portfolioId": "a1", "rebalanceId": "r1"}), "asked for, id r1"),
    Row(
        "trigger without an id",
        "-",
        "v1 trigger",
        body({"portfolioId": "a1", "status": "triggered", "triggerTime": 1764230400}),
        "asked for",
    ),
    Row("trigger of v2 without an id", "-", "v2 trigger", body({}), "asked for", 202),
    Row(
        "cooldown with its code",
        "D",
        "v2 trigger",
        refusal("API_004", "Cooling down"),
        "rate_limited (API_004, req_1): the service limits the rate: Cooling down; "
        "run again later, or with a smaller --parallelism",
        429,
    ),
    Row(
        "the list of runs where there is no schedule",
        "-",
        "v1 runs",
        refusal("API_006", "No schedule"),
        "runs: none",
        404,
    ),
    Row("the list of runs left out", "-", "v1 runs", v1("active"), "runs: none"),
    Row(
        "runs as listed",
        "D",
        "v1 runs",
        v1("active", recentWorkflows=[{"workflowId": "w1", "status": "triggered"}]),
        "runs: running (triggered)",
    ),
    Row(
        "a run in another case",
        "I",
        "v1 runs",
        v1("active", recentWorkflows=[{"workflowId": "w1", "status": "Failed"}]),
        "runs: failed",
    ),
    Row("a run that completed", "D", "v1 run", v1("completed", result={"status": "success"}), "completed"),
    Row("a run that completed, in capitals", "I", "v1 run", v1("COMPLETED"), "completed"),
    Row(
        "a run whose result failed",
        "C",
        "v1 run",
        v1("completed", result={"success": True, "result": {"executionResult": "failure"}}),
        "failed (completed, but its result says that it failed)",
    ),
    Row("cancelled with one l", "C", "v1 run", v1("canceled"), "cancelled (canceled)"),
    Row("a run's word that is new", "-", "v1 run", v1("Timed_Out"), "unknown (Timed_Out)"),
    Row(
        "an operation in capitals",
        "I",
        "v2 operation",
        body({"operationId": "o1", "portfolioId": "p1", "kind": "rebalance", "state": "COMPLETED"}).replace("p1", "a1"),
        "completed",
    ),
    Row(
        "an operation with finishedAt",
        "C",
        "v2 operation",
        body({"state": "failed", "finishedAt": DUE, "error": "no gas"}),
        f"failed, ended_ms {DUE_MS}, error no gas",
    ),
    Row(
        "an operation without it",
        "D",
        "v2 operation",
        body({"state": "failed", "updatedAt": DUE}),
        f"failed, ended_ms {DUE_MS}",
    ),
    # A portfolio of v1
    Row(
        "trading settings in the template",
        "D",
        "v1 portfolio",
        body(
            {
                "id": "a1",
                "name": "Growth",
                "valueUsd": 12.5,
                "template": {"entry": {}, "tradingSettings": {"type": "threshold", "triggerPercentage": 5}},
            }
        ),
        "portfolio, name Growth, trading (('threshold', '5 %'),), value_usd 12.5, trigger_percent 5.0",
    ),
    Row(
        "trading settings in templateData",
        "D",
        "v1 portfolio",
        body({"id": "a1", "templateData": {"tradingSettings": {"type": "calendar", "frequency": "weekly"}}}),
        "portfolio, trading (('calendar', 'weekly'),)",
    ),
    Row(
        "trading settings at the top",
        "-",
        "v1 portfolio",
        body({"id": "a1", "tradingSettings": {"type": "threshold", "triggerPercentage": 5}}),
        "portfolio, trading (('threshold', '5 %'),), trigger_percent 5.0",
    ),
    Row("nothing of a portfolio", "-", "v1 portfolio", body({}), "portfolio"),
    # Portfolios of v2
    Row(
        "schedule as documented",
        "D",
        "v2 portfolio",
        v2({"status": "active", "intervalMs": DAY, "nextDueAt": DUE}),
        f"active, interval_ms {DAY}{NEXT}",
    ),
    Row("schedule word in capitals", "I", "v2 portfolio", v2({"status": "PAUSED"}), "paused"),
    Row("schedule word that is new", "-", "v2 portfolio", v2({"status": "archived"}), "unknown (archived)"),
    Row("schedule null", "C", "v2 portfolio", v2(None), "no_schedule"),
    Row("schedule absent", "D", "v2 portfolio", body({"portfolioId": "a1"}), "no_schedule"),
    Row(
        "schedule of nulls",
        "C",
        "v2 portfolio",
        v2({"status": None, "frequency": None}),
        "malformed: the schedule holds no status word",
    ),
    Row(
        "schedule with nulls but its word",
        "C",
        "v2 portfolio",
        v2({"status": "active", "intervalMs": None, "nextDueAt": None, "lastRebalanceAt": None}),
        "active",
    ),
    Row(
        "a paused one's old due time",
        "D",
        "v2 portfolio",
        v2({"status": "paused", "nextDueAt": DUE}),
        f"paused, schedule_id due {DUE}",
    ),
    Row("archived or another tenant's", "-", "v2 portfolio", refusal("API_200", "no"), "not_found", 404),
    Row("a stop without a schedule in its answer", "-", "v2 stop", body({"portfolioId": "a1"}), "done"),
    Row("a stop that names no portfolio", "-", "v2 stop", body({}), "malformed: the answer names no portfolio"),
    Row(
        "details as a list",
        "C",
        "v2 stop",
        refusal("API_400", "Request validation failed", details=["no schedule"]),
        "refused (API_400, req_1): the service refused: Request validation failed",
        400,
    ),
    # The list of v2
    Row(
        "cursor null",
        "D",
        "v2 list",
        body({"portfolios": [{"portfolioId": "a1"}]}, nextCursor=None),
        "whole: a1 no_schedule",
    ),
    Row("cursor empty", "-", "v2 list", body({"portfolios": []}, nextCursor=""), "whole: empty"),
    Row("cursor inside data, empty", "C", "v2 list", body({"portfolios": [], "nextCursor": ""}), "whole: empty"),
    Row("cursor left out", "-", "v2 list", body({"portfolios": []}), "whole: empty"),
    Row(
        "the same cursor for ever",
        "-",
        "v2 list",
        body({"portfolios": []}, nextCursor="x"),
        "not whole (the list of portfolios has no end): empty",
    ),
    Row(
        "a row without a word",
        "-",
        "v2 list",
        body({"portfolios": [{"portfolioId": "a1", "schedule": {}}]}, nextCursor=None),
        "whole: a1 unreadable",
    ),
    Row("a row without an id", "-", "v2 list", body({"portfolios": [{}]}, nextCursor=None), "not whole (1): empty"),
    # Cadences of v2
    Row(
        "cadence as documented",
        "D",
        "v2 cadence",
        body({"type": "interval", "frequency": "daily"}),
        "found, cadence daily",
    ),
    Row(
        "cadence in capitals",
        "I",
        "v2 cadence",
        body({"type": "INTERVAL", "frequency": "DAILY"}),
        "found, cadence daily",
    ),
    Row("cadence null", "C", "v2 cadence", body(None), "unknown"),
    Row("cadence without a frequency", "C", "v2 cadence", body({"type": "interval"}), "unknown"),
    Row(
        "cadence of v1's calendar",
        "-",
        "v2 cadence",
        body({"type": "interval", "frequency": "biweekly"}),
        "unknown (biweekly)",
    ),
    Row("no strategy of ours", "D", "v2 cadence", refusal("API_006", "no"), "not_found", 404),
    # Scopes
    Row("scopes as texts", "-", "v2 scopes", body({"scopes": ["portfolios:write"]}), "enough"),
    Row(
        "scopes as objects",
        "-",
        "v2 scopes",
        body({"tenantName": "Acme EU", "scopes": [{"name": "portfolios:read"}, {"name": "portfolios:write"}]}),
        "enough",
    ),
    Row("scopes in a list in the list", "-", "v2 scopes", body({"scopes": [["portfolios:write"]]}), "enough"),
    Row("scopes as texts, one missing", "-", "v2 scopes", body({"scopes": ["portfolios:read"]}), LACKING),
    Row("scopes as objects, one missing", "-", "v2 scopes", body({"scopes": [{"name": "portfolios:read"}]}), LACKING),
    Row("scopes as a wildcard", "-", "v2 scopes", body({"scopes": "*"}), NOT_TOLD),
    Row("scopes as a wildcard in the list", "-", "v2 scopes", body({"scopes": ["*"]}), NOT_TOLD),
    Row("scopes in an unknown shape", "-", "v2 scopes", body({"scopes": {"portfolios": ["read"]}}), NOT_TOLD),
    Row("scopes missing", "-", "v2 scopes", body({"tenantName": "Acme EU"}), NOT_TOLD),
    Row(
        "a legacy static key",
        "D",
        "v2 scopes",
        refusal("API_105", "no tenant"),
        "Glider does not tell the scopes of this key (a legacy static key), so they were not checked",
        403,
    ),
    Row(
        "doctor: scopes as objects",
        "-",
        "doctor",
        body({"scopes": [{"name": "portfolios:read"}]}),
        "scopes portfolios:read",
    ),
    Row(
        "doctor: scopes in an unknown shape",
        "-",
        "doctor",
        body({"scopes": ["portfolios:read", 7]}),
        "scopes not known",
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.asks}: {row.about}")
def test_an_alternative(row: Row) -> None:
    """Each has one outcome, and none is a guess: what is not told stays unknown, and what contradicts itself blocks."""
    answer: Answer = (row.status, {}, row.answer.encode())

    async def go() -> object:
        async with transport(Service(script(answer))) as client:
            try:
                return await ASKS[row.asks](client)
            except ApiError as error:
                return error

    assert words(asyncio.run(go())) == row.outcome


def test_every_row_is_another_one() -> None:
    """No alternative stands in the table twice, and every way of asking has one."""
    assert len({(row.asks, row.answer, row.status) for row in ROWS}) == len(ROWS)
    assert {row.asks for row in ROWS} == set(ASKS)
