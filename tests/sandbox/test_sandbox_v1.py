"""The documented v1: shapes, both path families, transitions, limits, keys and errors, through HTTP in process."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Bench

    Make = Callable[..., Bench]

NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z
HOUR = 3_600_000
DAY = 24 * HOUR


def test_an_active_portfolio(bench: Make) -> None:
    """The status answer is the published example: next run, counters, the newest five runs, and no interval."""
    status = bench(interval="6h", offset="1h", started="2d").status()
    assert (status["status"], status["hasAutomation"], status["portfolioId"]) == ("active", True, "p")
    assert status["rebalanceScheduleId"].startswith("sched_")
    details = status["details"]
    assert set(details) == {"totalExecutions", "paused", "pauseReason", "recentActions", "nextScheduledExecution"}
    assert (details["totalExecutions"], details["paused"], details["pauseReason"]) == (8, False, None)
    assert details["nextScheduledExecution"] == "2026-11-18T12:06:40.000Z"
    assert [action["scheduledAt"] for action in details["recentActions"]] == [
        "2026-11-18T06:06:40.000Z",
        "2026-11-18T00:06:40.000Z",
        "2026-11-17T18:06:40.000Z",
        "2026-11-17T12:06:40.000Z",
        "2026-11-17T06:06:40.000Z",
    ]
    assert details["recentActions"][0]["takenAt"] == "2026-11-18T06:06:40.004Z"


def test_a_readable_schedule(bench: Make) -> None:
    """With the setting, the status shows interval and offset."""
    details = bench(settings={"readable_schedule": True}, interval="6h", offset="1h").status()["details"]
    assert (details["interval"], details["intervalMs"]) == ({"every": 6 * HOUR, "offset": HOUR}, 6 * HOUR)


@pytest.mark.parametrize(
    ("state", "has", "paused", "rebalance_word"),
    [
        ("inactive", False, None, "inactive"),
        ("paused", True, True, "paused"),
        ("archived", True, True, "paused"),
        ("error", True, False, "error"),
    ],
)
def test_other_states(bench: Make, state: str, has: bool, paused: bool | None, rebalance_word: str) -> None:
    """Nothing but an active portfolio has a next run; an inactive one has no details, ``archived`` only one word."""
    here = bench(status=state)
    status = here.status()
    assert (status["status"], status["hasAutomation"]) == (state, has)
    assert (status["details"] or {}).get("paused") is paused
    assert (status["details"] or {}).get("nextScheduledExecution") is None
    assert (status["rebalanceScheduleId"] is None) is (state == "inactive")
    assert here.data("GET", "rebalance/status")["status"] == rebalance_word
    assert here.data("GET", "/v1/portfolio/p")["isArchived"] is (state == "archived")


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        ({"threshold": 2.5}, {"type": "threshold", "triggerPercentage": 2.5}),
        ({"calendar": "biweekly"}, {"type": "calendar", "frequency": "biweekly"}),
    ],
)
def test_a_template(bench: Make, fields: dict[str, Any], settings: dict[str, Any]) -> None:
    """The portfolio shows its template with the trading settings of the seed; without any it has none."""
    shown = bench(**fields).data("GET", "/v1/portfolio/p")
    assert shown["template"] == {"id": shown["templateId"], "tradingSettings": settings}
    bare = bench().data("GET", "/v1/portfolio/p")
    assert (bare["template"], bare["templateId"]) == (None, None)


def test_an_undocumented_word(bench: Make) -> None:
    """A word of the seed is answered verbatim."""
    here = bench(word="degraded")
    assert here.status()["status"] == here.data("GET", "rebalance/status")["status"] == "degraded"


def test_rebalance_status_and_one_execution(bench: Make) -> None:
    """Workflows are listed newest first up to the limit; one runs for 40 seconds and then has a result."""
    here = bench(interval="1h", started="30h")
    listed = here.data("GET", "rebalance/status")
    assert "recentActions" not in listed["details"]
    assert len(listed["recentWorkflows"]) == 5
    assert len(here.data("GET", "rebalance/status?limit=2")["recentWorkflows"]) == 2
    assert len(here.data("GET", "rebalance/status?limit=999")["recentWorkflows"]) == 20
    newest = listed["recentWorkflows"][0]
    assert (newest["status"], newest["scheduledAt"]) == ("triggered", "2026-11-18T11:06:40.000Z")
    running = here.data("GET", f"rebalance/status/{newest['workflowId']}")
    assert (running["status"], running["closeTime"], running["result"]) == ("running", None, None)
    here.now += 41_000
    done = here.data("GET", f"rebalance/status/{newest['workflowId']}")
    assert (done["status"], done["result"]["status"], done["error"]) == ("completed", "success", None)
    assert done["runId"] == newest["runId"]
    assert done["closeTime"] > done["startTime"]
    assert here.refusal("GET", "rebalance/status/rebal_none") == (404, "API_006")
    for limit in ("0", "-1", "x", "%C2%B2"):
        assert here.refusal("GET", f"rebalance/status?limit={limit}") == (400, "API_002")


FAMILIES = [("rebalance/schedule/", 12 * HOUR, 0), ("", {"every": 12 * HOUR, "offset": HOUR}, HOUR)]


@pytest.mark.parametrize(("prefix", "interval", "offset"), FAMILIES)
def test_the_life_of_an_automation(bench: Make, prefix: str, interval: object, offset: int) -> None:
    """Start, pause, resume, update and trigger answer as documented in both families."""
    here = bench(status="inactive", settings={"readable_schedule": True})
    start = here.data("POST", f"{prefix}start", {"interval": interval, "runRebalanceImmediately": True, "extra": 1})
    assert start == {
        "portfolioId": "p",
        "rebalanceScheduleId": here.status()["rebalanceScheduleId"],
        "status": "started",
        "message": "Portfolio automation started",
        "runRebalanceImmediately": True,
        "isAutomated": True,
        "intervalMs": 12 * HOUR,
    }
    details = here.status()["details"]
    assert (details["interval"], details["totalExecutions"]) == ({"every": 12 * HOUR, "offset": offset}, 1)

    pause = here.data("POST", f"{prefix}pause", {"reason": "Liquidity event"})
    assert (pause["status"], pause["paused"], pause["reason"]) == ("paused", True, "Paused via API: Liquidity event")
    assert (pause["pausedAt"], pause["scheduleId"]) == ("2026-11-18T11:06:40.000Z", start["rebalanceScheduleId"])
    assert here.status()["details"]["pauseReason"] == pause["reason"]

    here.now += 5
    again = here.data("POST", f"{prefix}pause", {"reason": "another"})
    assert (again["reason"], again["pausedAt"]) == (pause["reason"], pause["pausedAt"])

    resume = here.data("POST", f"{prefix}resume", {"reason": "over"})
    assert (resume["status"], resume["paused"], resume["reason"]) == ("resumed", False, "Resumed via API: over")
    assert here.status()["details"]["pauseReason"] is None
    assert here.data("POST", f"{prefix}resume")["paused"] is False

    trigger = here.data("POST", f"{prefix}trigger")
    assert (trigger["status"], trigger["triggerTime"]) == ("triggered", here.now // 1_000)
    newest = here.status()["details"]["recentActions"][0]
    assert (newest["workflowId"], newest["scheduledAt"]) == (trigger["rebalanceId"], "2026-11-18T11:06:40.005Z")


def test_an_update_shows_both_schedules(bench: Make) -> None:
    """The update's answer shows what was, what is, and the next run on the grid of the same anchor."""
    here = bench(interval="6h", offset="1h", started="20h")
    assert here.data("POST", "update-schedule-interval", {"interval": {"every": 12 * HOUR, "offset": 90_000}}) == {
        "portfolioId": "p",
        "scheduleId": here.status()["rebalanceScheduleId"],
        "previousInterval": {"every": 6 * HOUR, "offset": HOUR},
        "newInterval": {"every": 12 * HOUR, "offset": 90_000, "humanReadable": "12 hours"},
        "message": "Schedule interval updated to 12 hours",
        "nextScheduledRun": "2026-11-18T15:08:10.000Z",
    }
    details = here.status()["details"]
    assert (details["totalExecutions"], details["nextScheduledExecution"]) == (4, "2026-11-18T15:08:10.000Z")
    without = here.data("POST", "update-schedule-interval", {"interval": {"every": 25 * HOUR}})
    assert without["newInterval"] == {"every": 25 * HOUR, "offset": 0, "humanReadable": "1 day 1 hour"}


@pytest.mark.parametrize(
    ("prefix", "interval"),
    [
        ("rebalance/schedule/", {"every": 12 * HOUR}),
        ("rebalance/schedule/", "12h"),
        ("rebalance/schedule/", True),
        ("rebalance/schedule/", None),
        ("", 12 * HOUR),
        ("", {"offset": 1}),
        ("", {"every": "12h"}),
        ("", {"every": 12 * HOUR, "offset": "1h"}),
    ],
)
def test_an_interval_in_the_wrong_shape_is_ignored(bench: Make, prefix: str, interval: object) -> None:
    """A start whose interval has the other family's shape runs every 6 hours, and its answer says so."""
    answer = bench(status="inactive").data("POST", f"{prefix}start", {"interval": interval})
    assert answer["intervalMs"] == 6 * HOUR


def test_a_manual_only_start(bench: Make) -> None:
    """The reference can start without a schedule; the guide does not know that field."""
    here = bench(status="inactive")
    body = {"initializeScheduleAutomatically": False, "runRebalanceImmediately": True}
    answer = here.data("POST", "rebalance/schedule/start", body)
    assert (answer["isAutomated"], answer["intervalMs"], answer["rebalanceScheduleId"]) == (False, None, None)
    assert here.status()["hasAutomation"] is False
    assert len(here.data("GET", "rebalance/status")["recentWorkflows"]) == 1
    assert here.data("POST", "start", body)["isAutomated"] is True


REFUSED = (400, "API_203")
EXISTS = (409, "API_202")
TRANSITIONS = {
    "start": {"inactive": 200, "active": EXISTS, "paused": EXISTS, "archived": REFUSED, "error": REFUSED},
    "pause": {"inactive": REFUSED, "active": 200, "paused": 200, "archived": REFUSED, "error": REFUSED},
    "resume": {"inactive": REFUSED, "active": 200, "paused": 200, "archived": REFUSED, "error": REFUSED},
    "trigger": {"inactive": REFUSED, "active": 200, "paused": REFUSED, "archived": REFUSED, "error": REFUSED},
    "update-schedule-interval": {
        "inactive": REFUSED,
        "active": 200,
        "paused": 200,
        "archived": REFUSED,
        "error": REFUSED,
    },
}


@pytest.mark.parametrize(
    ("action", "state", "outcome"),
    [(action, state, outcome) for action, row in TRANSITIONS.items() for state, outcome in row.items()],
)
def test_every_transition(bench: Make, action: str, state: str, outcome: object) -> None:
    """Every action in every state does what the table says; a refusal changes nothing."""
    here = bench(status=state)
    before = here.store.portfolio("p")
    body = {"interval": {"every": DAY}}
    if outcome == 200:
        here.data("POST", action, body)
    else:
        assert here.refusal("POST", action, body) == outcome
        assert here.store.portfolio("p") == before


@pytest.mark.parametrize("state", ["inactive", "paused"])
def test_a_trigger_without_validation(bench: Make, state: str) -> None:
    """With ``skipScheduleValidation`` a run needs no active schedule."""
    here = bench(status=state)
    assert here.data("POST", "trigger", {"skipScheduleValidation": True})["status"] == "triggered"


def test_update_while_paused(bench: Make) -> None:
    """It is accepted without a next run, or refused when the seed says so."""
    body = {"interval": {"every": DAY}}
    assert bench(status="paused").data("POST", "update-schedule-interval", body)["nextScheduledRun"] is None
    strict = bench(status="paused", settings={"update_while_paused": "refuse"})
    assert strict.refusal("POST", "update-schedule-interval", body) == REFUSED


INVALID = (400, "API_002")
ETH = (400, "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT")


@pytest.mark.parametrize(
    ("chain", "every", "offset", "outcome"),
    [
        ("base", HOUR, 0, None),
        ("base", HOUR, HOUR - 1, None),
        ("base", 365 * DAY, 0, None),
        ("base", float(HOUR), 0, None),
        ("base", HOUR - 1, 0, INVALID),
        ("base", 365 * DAY + 1, 0, INVALID),
        ("base", HOUR, HOUR, INVALID),
        ("base", HOUR, -1, INVALID),
        ("ethereum", DAY, 0, None),
        ("ethereum", DAY - 1, 0, ETH),
    ],
)
def test_limits(bench: Make, chain: str, every: float, offset: int, outcome: tuple[int, str] | None) -> None:
    """Start and update keep to the limits, 24 hours at least on Ethereum mainnet."""
    for state, action in (("inactive", "start"), ("active", "update-schedule-interval")):
        here = bench(status=state, chain=chain)
        body = {"interval": {"every": every, "offset": offset}}
        if outcome is None:
            here.data("POST", action, body)
        else:
            assert here.refusal("POST", action, body) == outcome


def test_the_default_interval_is_too_short_for_ethereum(bench: Make) -> None:
    """An ignored interval leaves 6 hours, which mainnet does not take."""
    assert bench(status="inactive", chain="ethereum").refusal("POST", "start", {"interval": DAY}) == ETH


@pytest.mark.parametrize(
    ("action", "content"),
    [
        ("pause", b"{"),
        ("pause", b"[]"),
        ("pause", b"\xff"),
        ("pause", b"[" * 100_000),
        ("pause", b'{"reason": 1}'),
        ("start", b'{"runRebalanceImmediately": "yes"}'),
        ("update-schedule-interval", b""),
        ("update-schedule-interval", b'{"interval": 86400000}'),
        ("update-schedule-interval", b'{"interval": {"every": "1d"}}'),
        ("update-schedule-interval", b'{"interval": {"every": 86400000, "offset": null}}'),
        ("update-schedule-interval", b'{"interval": {"every": NaN}}'),
        ("pause", b" " * 2_000_000),
    ],
)
def test_bad_bodies(bench: Make, action: str, content: bytes) -> None:
    """A body that is not what the call takes is a 400 and changes nothing."""
    here = bench(status="inactive" if action == "start" else "active")
    before = here.store.portfolio("p")
    response = here.call("POST", action, content=content)
    assert (response.status_code, response.json()["error"]["code"]) == INVALID
    assert here.store.portfolio("p") == before


@pytest.mark.parametrize(
    ("method", "path", "outcome"),
    [
        ("GET", "/v1/portfolio/none/automation/status", (404, "API_200")),
        ("GET", "/v1/portfolio/none", (404, "API_200")),
        ("POST", "/v1/portfolio/none/pause", (404, "API_200")),
        ("GET", "/v1/portfolio/p/automation/status/", (404, "API_006")),
        ("GET", "/v1/portfolios", (404, "API_006")),
        ("GET", "/v2/portfolios/p", (404, "API_200")),
        ("GET", "/v2/nowhere", (404, "API_006")),
        ("GET", "/", (404, "API_006")),
        ("GET", "/v1/portfolio/p/pause", (405, "API_003")),
        ("DELETE", "/v1/portfolio/p", (405, "API_003")),
        ("POST", "/v1/portfolio/p/automation/status", (405, "API_003")),
    ],
)
def test_unknown_things(bench: Make, method: str, path: str, outcome: tuple[int, str]) -> None:
    """Unknown portfolios, unknown routes and wrong methods are three different answers."""
    assert bench().refusal(method, path) == outcome


@pytest.mark.parametrize(
    ("paths", "reference", "guide"), [("both", 200, 200), ("reference", 200, 404), ("guide", 404, 200)]
)
def test_path_families(bench: Make, paths: str, reference: int, guide: int) -> None:
    """A family that is not routed answers like any unknown route; what both share is always there."""
    here = bench(settings={"paths": paths})
    for action in ("pause", "resume", "trigger"):
        assert here.call("POST", f"rebalance/schedule/{action}").status_code == reference
        assert here.call("POST", action).status_code == guide
    missing = "pause" if guide == 404 else "rebalance/schedule/pause"
    if 404 in (reference, guide):
        assert here.refusal("POST", missing) == (404, "API_006")
        assert here.refusal("GET", missing) == (404, "API_006")
    here.data("POST", "update-schedule-interval", {"interval": {"every": DAY}})


def test_half_a_character_is_kept(bench: Make) -> None:
    """JSON can hold half of a surrogate pair; a reason with one is stored and shown, and nothing breaks."""
    here = bench()
    reason = r'"Paused via API: \ud800"'
    assert reason in here.call("POST", "pause", content=rb'{"reason": "\ud800"}').text
    assert reason in here.call("GET", "automation/status").text


@pytest.mark.parametrize(
    ("key", "outcome"),
    [
        (None, (401, "API_101")),
        ("", (401, "API_101")),
        ("  ", (401, "API_101")),
        ("expired", (401, "API_103")),
        ("invalid", (401, "API_102")),
        ("forbidden", (403, "API_104")),
        (" anything ", None),
    ],
)
def test_keys(bench: Make, key: str | None, outcome: tuple[int, str] | None) -> None:
    """Any key is good but the three that say what they are."""
    response = bench().call("GET", "automation/status", key=key)
    if outcome is None:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json()["error"]["code"]) == outcome


def test_every_answer_carries_its_names(bench: Make) -> None:
    """Simulator header and tracing ids stand in each answer, and the body repeats the ids."""
    here = bench()
    for path in ("automation/status", "/nowhere", "/v1/portfolio/none"):
        response = here.call("GET", path)
        body = response.json()
        assert response.headers["X-Glider-Sandbox"] == "simulator"
        assert body["requestId"] == response.headers["X-Request-Id"]
        assert body["correlationId"] == response.headers["X-Correlation-Id"]
        assert body["timestamp"] == "2026-11-18T11:06:40.000Z"


def test_pausing_stops_runs(bench: Make) -> None:
    """Nothing runs while paused, nothing is made up for afterwards, and the grid is the old one."""
    here = bench(interval="1h", started="90m")
    before: dict[str, Any] = here.status()["details"]
    here.data("POST", "pause")
    here.store.advance(100 * HOUR)
    assert here.status()["details"]["totalExecutions"] == before["totalExecutions"] == 1
    assert here.data("POST", "resume")["resumedAt"] == "2026-11-22T15:06:40.000Z"
    after = here.status()["details"]
    assert (after["totalExecutions"], after["nextScheduledExecution"]) == (1, "2026-11-22T15:36:40.000Z")
    here.now += HOUR
    assert here.status()["details"]["totalExecutions"] == 2


def test_many_at_once(bench: Make) -> None:
    """Concurrent writes to one portfolio are all done, one after the other."""
    here = bench(started="0s")

    async def burst() -> list[str]:
        transport = httpx2.ASGITransport(app=here.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://s", headers={"X-API-KEY": "k"}) as client:
            answers = await asyncio.gather(*(client.post("/v1/portfolio/p/trigger") for _ in range(50)))
        return [answer.json()["data"]["rebalanceId"] for answer in answers]

    assert len(set(asyncio.run(burst()))) == 50
    assert here.status()["details"]["totalExecutions"] == 50


def test_a_damaged_store_is_an_answer(bench: Make) -> None:
    """When the file is gone bad in use, the call fails with a 500 that says what to do."""
    here = bench()
    here.store.close()
    response = here.call("GET", "automation/status")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "API_000")
    assert "reconciler sandbox load" in response.json()["error"]["message"]


def test_the_rate_limit(bench: Make) -> None:
    """Past the limit comes the documented 429, until the window ends; every answer shows what is left."""
    here = bench(settings={"rate_limit": {"limit": 2, "window": "42s"}})
    first, second, third = (here.call("GET", "automation/status") for _ in range(3))
    assert [r.headers["X-RateLimit-Remaining"] for r in (first, second, third)] == ["1", "0", "0"]
    assert first.headers["X-RateLimit-Limit"] == "2"
    assert first.headers["X-RateLimit-Reset"] == str(NOW // 1_000 + 42)
    assert (third.status_code, third.headers["Retry-After"]) == (429, "42")
    assert third.json() == {
        "error": "Too Many Requests",
        "message": "Rate limit exceeded. Try again in 42 seconds.",
        "retryAfter": 42,
        "correlationId": third.headers["X-Correlation-Id"],
        "requestId": third.headers["X-Request-Id"],
    }
    here.store.advance(DAY)
    assert here.call("GET", "automation/status").status_code == 429, "the limit goes by the wall clock"
    here.now += 41_500
    assert here.call("GET", "automation/status").headers["Retry-After"] == "1"
    here.now += 500
    assert here.call("GET", "automation/status").status_code == 200


def test_it_names_its_own_time(bench: Make) -> None:
    """Every answer names the time of the simulated clock, and so does the end of a window of the rate limit."""
    here = bench(settings={"rate_limit": {"limit": 2, "window": "42s"}})
    now = here.call("GET", "automation/status").headers
    here.store.advance(DAY)
    ahead = here.call("GET", "automation/status").headers
    named = [parsedate_to_datetime(headers["Date"]).timestamp() for headers in (now, ahead)]
    assert named == [NOW // 1_000, (NOW + DAY) // 1_000]
    assert ahead["X-RateLimit-Reset"] == str((NOW + DAY) // 1_000 + 42)
