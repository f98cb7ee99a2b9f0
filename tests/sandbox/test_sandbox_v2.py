"""The documented v2: shapes, paging, start and stop, cadence, scopes and errors, through HTTP in process."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.sandbox import Enrolled, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Bench

    Make = Callable[..., Bench]

NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
P = "/v2/portfolios/p"
S = "/v2/strategies/s"
ALICE = "eip155:0:0x00000000000000000000000000000000000A11cE"


@pytest.fixture
def enrolled(bench: Make) -> Make:
    """Return a maker of benches whose ``p`` is enrolled in ``s``, daily and our own unless said otherwise."""

    def make(*, frequency: str | None = "daily", foreign: bool = False, **rest: Any) -> Bench:
        strategy: dict[str, Any] = {"name": "Momentum", "owner": "foreign" if foreign else "own"}
        if frequency:
            strategy["frequency"] = frequency
        strategies = {"s": strategy} | rest.pop("strategies", {})
        return bench(strategies=strategies, **{"api": "v2", "strategy": "s", "started": "50h"} | rest)

    return make


def schedule(here: Bench) -> Any:
    """Return the schedule of ``p``."""
    return here.data("GET", P)["schedule"]


def listed(here: Bench, query: str = "") -> list[str]:
    """Return the ids of the first page."""
    return [row["portfolioId"] for row in here.data("GET", f"/v2/portfolios?{query}")["portfolios"]]


def test_a_portfolio(enrolled: Make) -> None:
    """Detail and row are the published example; the row lacks two keys and has the whole schedule."""
    here = enrolled(name="Alice Portfolio", owner=ALICE, chain="arbitrum")
    detail = here.data("GET", P)
    account = detail["smartAccounts"][0]["accountId"]
    assert account.startswith("eip155:42161:0x")
    row = {
        "portfolioId": "p",
        "portfolioName": "Alice Portfolio",
        "ownerAccountId": ALICE.lower(),
        "strategyId": "s",
        "strategyName": "Momentum",
        "strategyDescription": None,
        "smartAccounts": [{"accountId": account}],
        "schedule": {
            "status": "active",
            "frequency": "daily",
            "intervalMs": DAY,
            "nextDueAt": "2026-11-19T09:06:40.000Z",
            "lastRebalanceAt": "2026-11-18T09:07:00.000Z",
        },
        "createdAt": "2026-11-16T09:06:40.000Z",
    }
    assert detail == row | {"strategyVersion": 1, "updatedAt": "2026-11-18T09:07:00.000Z"}
    answer = here.call("GET", "/v2/portfolios").json()
    assert answer == {"success": True, "data": {"portfolios": [row]}, "nextCursor": None}


@pytest.mark.parametrize(
    ("frequency", "ms"), [("hourly", HOUR), ("daily", DAY), ("weekly", 7 * DAY), ("monthly", 30 * DAY)]
)
def test_every_frequency(enrolled: Make, frequency: str, ms: int) -> None:
    """The schedule shows the strategy's word and its length; the first run is one interval after the enrolment."""
    here = enrolled(frequency=frequency, started="0s")
    shown = schedule(here)
    assert (shown["frequency"], shown["intervalMs"], shown["lastRebalanceAt"]) == (frequency, ms, None)
    here.store.advance(ms + 2 * MINUTE)
    assert schedule(here)["lastRebalanceAt"] is not None


def test_neither_version_knows_the_other_s_portfolios(enrolled: Make) -> None:
    """A portfolio of one version is a 404 on the other, and not listed; one of both answers twice, apart."""
    here = enrolled(others={"one": {"status": "active"}, "two": {"status": "active", "api": "both", "strategy": "s"}})
    assert here.refusal("GET", "/v1/portfolio/p/automation/status") == (404, "API_200")
    assert here.refusal("POST", "/v1/portfolio/p/pause") == (404, "API_200")
    assert here.refusal("GET", "/v2/portfolios/one") == (404, "API_200")
    assert here.refusal("POST", "/v2/portfolios/one/stop") == (404, "API_200")
    assert sorted(listed(here)) == ["p", "two"]
    here.data("POST", "/v2/portfolios/two/stop")
    assert here.status("two")["status"] == "active"


def test_stop_and_start(enrolled: Make) -> None:
    """Stop keeps what was due and runs nothing; start makes a run due now, and it begins at the next tick."""
    here = enrolled()
    before = schedule(here)
    stopped = here.data("POST", f"{P}/stop")
    assert stopped["schedule"] == before | {"status": "paused"}
    assert stopped["updatedAt"] == "2026-11-18T11:06:40.000Z"
    here.store.advance(10 * DAY)
    assert here.data("POST", f"{P}/stop", {}) == stopped
    assert schedule(here) == stopped["schedule"]
    started = here.data("POST", f"{P}/start")
    assert started["schedule"] == before | {"nextDueAt": "2026-11-28T11:06:40.000Z"}
    here.now += 10_000
    assert here.data("POST", f"{P}/start") == started, "a second start changes nothing"
    here.now += 10_000  # 11:07:00, the tick
    begun = schedule(here)
    assert begun["nextDueAt"] == "2026-11-29T11:06:40.000Z"
    assert begun["lastRebalanceAt"] == before["lastRebalanceAt"], "it is not completed yet"
    here.now += 40_000
    assert schedule(here)["lastRebalanceAt"] == "2026-11-28T11:07:00.000Z"


def test_a_run_that_was_due_before_a_stop_is_lost(enrolled: Make) -> None:
    """Who stops between the due time and the tick stops that run too."""
    here = enrolled(frequency="hourly", started="59m")
    here.now += MINUTE + 10_000  # due at 11:07:40, the tick is at 11:08
    here.data("POST", f"{P}/stop")
    here.now += HOUR
    assert schedule(here)["lastRebalanceAt"] is None


@pytest.mark.parametrize("call", ["start", "stop"])
def test_without_a_schedule(enrolled: Make, call: str) -> None:
    """A portfolio without a schedule is listed, shows none, and can't be started or stopped."""
    here = enrolled(status="inactive")
    assert schedule(here) is None
    assert listed(here) == ["p"]
    assert listed(here, "status=active") == listed(here, "status=paused") == []
    response = here.call("POST", f"{P}/{call}")
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "API_400")
    assert error["details"] == ["Portfolio has no rebalance schedule to transition"]


def test_an_archived_portfolio_is_gone(enrolled: Make) -> None:
    """It is on no page, and every call by its id is a 404."""
    here = enrolled(status="archived")
    assert listed(here) == []
    for method, path in (("GET", P), ("POST", f"{P}/start"), ("POST", f"{P}/stop"), ("POST", f"{P}/rebalance")):
        assert here.refusal(method, path) == (404, "API_200")


def test_an_undocumented_word(enrolled: Make) -> None:
    """A word of the seed is answered as the status of the schedule."""
    assert schedule(enrolled(word="degraded"))["status"] == "degraded"


def fleet(count: int) -> dict[str, Any]:
    """Return portfolios of which three each are equally old."""
    return {
        f"f{index:03}": {
            "status": "paused" if index % 4 == 0 else "active",
            "api": "v2",
            "strategy": "t" if index % 5 == 0 else "s",
            "started": index // 3 * HOUR,
            "owner": ALICE if index % 7 == 0 else "eip155:0:0x" + "0" * 40,
        }
        for index in range(count)
    }


def pages(here: Bench, query: str, limit: int) -> list[list[str]]:
    """Return the ids of every page."""
    found: list[list[str]] = []
    cursor = ""
    while True:
        answer = here.call("GET", f"/v2/portfolios?limit={limit}{query}{cursor}").json()
        found.append([row["portfolioId"] for row in answer["data"]["portfolios"]])
        if answer["nextCursor"] is None:
            return found
        cursor = f"&cursor={answer['nextCursor']}"


def test_paging(enrolled: Make) -> None:
    """Pages are full but the last, hold everything once, the newest first and ties by id from its end."""
    here = enrolled(started="3000d", strategies={"t": {"frequency": "weekly"}}, others=fleet(100))
    order = [name for age in range(34) for name in (f"f{age * 3 + tie:03}" for tie in (2, 1, 0)) if name < "f100"]
    for limit in (1, 7, 50, 101, 200):
        found = pages(here, "", limit)
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert list(chain(*found)) == [*order, "p"]
    assert len(listed(here)) == 50


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("&strategyId=t", lambda n: n % 5 == 0),
        ("&status=paused", lambda n: n % 4 == 0),
        ("&status=active&strategyId=s", lambda n: n % 4 and n % 5),
        (f"&ownerAccountId={ALICE}", lambda n: n % 7 == 0),
        (f"&ownerAccountId={ALICE.upper().replace('EIP155:0:0X', 'eip155:0:0x')}&status=paused", lambda n: n % 28 == 0),
        ("&strategyId=none", lambda _: False),
        ("&extra=1", lambda _: True),
    ],
)
def test_filters(bench: Make, query: str, chosen: Callable[[int], bool]) -> None:
    """Filters hold on every page; the owner's letters may be of either case."""
    strategies = {"s": {"frequency": "daily"}, "t": {"frequency": "weekly"}}
    here = bench(strategies=strategies, others=fleet(60))
    assert sorted(chain(*pages(here, query, 7))) == [f"f{n:03}" for n in range(60) if chosen(n)]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=%C2%B2", "status=archived", "status="),
        *("strategyId=", "strategyId=a%2Fb", "ownerAccountId=0xabc", "ownerAccountId=eip155:0:0xzz"),
        *("cursor=", "cursor=x", "cursor=%00", "cursor=W10", "cursor=bnVsbA", "cursor=%C3%A9"),
        "cursor=WzEuNSwgImEiXQ",  # [1.5, "a"]
        "cursor=WzEsICJcdWQ4MDAiXQ",  # [1, "\\ud800"]
        "cursor=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LCAiYSJd",  # [999999999999999999999999, "a"]
    ],
)
def test_bad_queries(enrolled: Make, query: str) -> None:
    """A bad filter, limit or cursor is a 400 that says in its details what is wrong."""
    response = enrolled().call("GET", f"/v2/portfolios?{query}")
    body = response.json()
    assert (response.status_code, body["error"]["code"]) == (400, "API_400")
    assert body["error"]["message"] == "Request validation failed"
    assert len(body["error"]["details"]) == 1
    assert set(body) == {"success", "error"}


def test_cadence(enrolled: Make) -> None:
    """It is read and set; what is due stays due, what comes after keeps to the new one, paused ones included."""
    other = {"status": "paused", "api": "v2", "strategy": "s", "started": "50h"}
    here = enrolled(others={"q": other})
    assert here.data("GET", f"{S}/schedule") == {"type": "interval", "frequency": "daily"}
    body = {"type": "interval", "frequency": "weekly"}
    before = schedule(here)
    assert here.data("PUT", f"{S}/schedule", body) == here.data("GET", f"{S}/schedule") == body
    assert schedule(here) == before | {"frequency": "weekly", "intervalMs": 7 * DAY}
    assert here.data("GET", "/v2/portfolios/q")["schedule"]["frequency"] == "weekly"
    here.store.advance(DAY)
    assert schedule(here)["nextDueAt"] == "2026-11-26T09:06:40.000Z"


def test_a_new_cadence_leaves_the_past_as_it_was(enrolled: Make) -> None:
    """Runs that became due and were never asked for happened by the old cadence."""
    here = enrolled(frequency="hourly", started="0s")
    here.store.advance(10 * HOUR + 5 * MINUTE)
    here.data("PUT", f"{S}/schedule", {"type": "interval", "frequency": "monthly"})
    shown = schedule(here)
    assert (shown["nextDueAt"], shown["lastRebalanceAt"]) == ("2026-11-18T22:06:40.000Z", "2026-11-18T21:07:00.000Z")


def test_the_same_cadence_again_changes_nothing(enrolled: Make) -> None:
    """A PUT of the value that is there is a success and no change."""
    here = enrolled()
    before = here.store.strategy("s")
    here.now += HOUR
    here.data("PUT", f"{S}/schedule", {"type": "interval", "frequency": "daily"})
    assert here.store.strategy("s") == before


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b" " * 2_000_000, b'{"frequency": "daily"}'),
        *(b'{"type": "interval"}', b'{"type": "cron", "frequency": "daily"}'),
        *(b'{"type": "interval", "frequency": "biweekly"}', b'{"type": "interval", "frequency": ["daily"]}'),
        b'{"type": "interval", "frequency": "weekly", "offset": 0}',
    ],
)
def test_bad_cadences(enrolled: Make, content: bytes) -> None:
    """Anything but the documented body is a 400, and changes nothing."""
    here = enrolled()
    response = here.call("PUT", f"{S}/schedule", content=content)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "API_400")
    assert here.data("GET", f"{S}/schedule")["frequency"] == "daily"


def test_a_foreign_strategy(enrolled: Make) -> None:
    """Its portfolios show its cadence, and every call to itself is the 404 of one that does not exist."""
    here = enrolled(foreign=True)
    assert schedule(here)["frequency"] == "daily"
    for path in (S, "/v2/strategies/none"):
        assert here.refusal("GET", path) == (404, "API_006")
        assert here.refusal("GET", f"{path}/schedule") == (404, "API_006")
        body = {"type": "interval", "frequency": "weekly"}
        assert here.refusal("PUT", f"{path}/schedule", body) == (404, "API_006")
    assert here.data("GET", "/v2/strategies")["strategies"] == []
    assert here.data("POST", f"{P}/stop")["schedule"]["status"] == "paused"


def test_a_strategy_without_a_cadence(enrolled: Make) -> None:
    """Its schedule is null, and setting one gives none to the portfolios that had none."""
    here = enrolled(frequency=None, status="inactive")
    assert here.call("GET", f"{S}/schedule").json() == {"success": True, "data": None}
    assert "schedule" not in here.data("GET", S)
    here.data("PUT", f"{S}/schedule", {"type": "interval", "frequency": "daily"})
    assert here.data("GET", S)["schedule"] == {"type": "interval", "frequency": "daily"}
    assert schedule(here) is None


def test_mainnet_takes_no_hourly_cadence(enrolled: Make) -> None:
    """With one portfolio on Ethereum mainnet the strategy keeps to 24 hours at least."""
    here = enrolled(chain="ethereum", frequency="weekly")
    body = {"type": "interval", "frequency": "hourly"}
    assert here.refusal("PUT", f"{S}/schedule", body) == (400, "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT")
    here.data("PUT", f"{S}/schedule", body | {"frequency": "daily"})


def test_strategies(enrolled: Make) -> None:
    """They are paged as portfolios are; one shows its cadence and version, under the documented names."""
    here = enrolled(strategies={f"t{index}": {"frequency": "daily"} for index in range(4)})
    first = here.call("GET", "/v2/strategies?limit=3").json()
    second = here.call("GET", f"/v2/strategies?limit=3&cursor={first['nextCursor']}").json()
    names = [one["strategyId"] for page in (first, second) for one in page["data"]["strategies"]]
    assert (names, second["nextCursor"]) == (["t3", "t2", "t1", "t0", "s"], None)
    one = here.data("GET", S)
    assert one == second["data"]["strategies"][-1]
    assert (one["name"], one["version"], one["schedule"]) == ("Momentum", 1, {"type": "interval", "frequency": "daily"})
    documented = "strategyId name description allocation schedule preferences isPublic version createdAt"
    assert list(one) == documented.split()
    assert here.refusal("GET", "/v2/strategies?limit=201") == (400, "API_400")
    assert here.refusal("GET", "/v2/strategies?cursor=WzFd") == (400, "API_400")


READ, WRITE, LOOK, ADJUST = "portfolios:read", "portfolios:write", "strategies:read", "strategies:write"
SCOPES = [
    ("GET", "/v2/portfolios", READ),
    ("GET", P, READ),
    ("GET", f"{P}/operations/x", READ),
    ("POST", f"{P}/start", WRITE),
    ("POST", f"{P}/stop", WRITE),
    ("POST", f"{P}/rebalance", WRITE),
    ("GET", "/v2/strategies", LOOK),
    ("GET", S, LOOK),
    ("GET", f"{S}/schedule", LOOK),
    ("PUT", f"{S}/schedule", ADJUST),
]


@pytest.mark.parametrize(("method", "path", "scope"), SCOPES)
def test_scopes(enrolled: Make, method: str, path: str, scope: str) -> None:
    """A call without its scope is a 403 that changes nothing, and v1 asks for none."""
    body = {"type": "interval", "frequency": "weekly"} if method == "PUT" else None
    others = {"one": {"status": "active"}}
    here = enrolled(settings={"scopes": [one for one in (READ, WRITE, LOOK, ADJUST) if one != scope]}, others=others)
    assert here.refusal(method, path, body) == (403, "API_104")
    here.status("one")
    assert enrolled(settings={"scopes": [scope]}).call(method, path, body).status_code in (200, 202, 404)
    readonly = enrolled().call(method, path, body, key="readonly").status_code
    assert (readonly == 403) is scope.endswith(":write")


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        (None, 401, "API_101"),
        ("expired", 401, "API_103"),
        ("invalid", 401, "API_102"),
        ("forbidden", 403, "API_104"),
        ("legacy", 403, "API_105"),
    ],
)
def test_whoami_and_bad_keys(enrolled: Make, key: str | None, status: int, code: str) -> None:
    """A bad key is refused as on v1; a legacy one only where its tenant is asked for."""
    here = enrolled()
    response = here.call("GET", "/v2/whoami", key=key)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert here.call("GET", P, key=key).status_code == (200 if key == "legacy" else status)


def test_whoami_and_scopes(enrolled: Make) -> None:
    """A key learns its scopes, and anybody what scopes there are."""
    here = enrolled()
    me = here.data("GET", "/v2/whoami")
    assert set(me) == {"tenantName", "tenantEmail", "apiKeyId", "scopes"}
    assert me["scopes"] == [READ, WRITE, LOOK, ADJUST]
    assert here.call("GET", "/v2/whoami", key="readonly").json()["data"]["scopes"] == [READ, LOOK]
    public = here.call("GET", "/v2/scopes", key=None)
    tiers = {one["name"]: one["tier"] for one in public.json()["data"]["scopes"]}
    assert tiers == {READ: "default", WRITE: "standard", LOOK: "default", ADJUST: "standard"}


@pytest.mark.parametrize(
    ("method", "path", "outcome"),
    [
        ("GET", "/v2/portfolios/none", (404, "API_200")),
        ("GET", "/v2/portfolios/", (404, "API_006")),
        ("GET", "/v2/nowhere", (404, "API_006")),
        ("DELETE", P, (405, "API_003")),
        ("GET", f"{P}/start", (405, "API_003")),
        ("POST", f"{S}/schedule", (405, "API_003")),
        ("GET", f"{P}/operations/none", (404, "API_006")),
    ],
)
def test_unknown_things(enrolled: Make, method: str, path: str, outcome: tuple[int, str]) -> None:
    """Unknown things, unknown routes and wrong methods answer in the envelope of v2, and carry their names."""
    response = enrolled().call(method, path)
    body = response.json()
    assert (response.status_code, body["error"]["code"]) == outcome
    assert set(body) == {"success", "error"}
    assert response.headers["X-Glider-Sandbox"] == "simulator"
    assert response.headers["X-Request-Id"].startswith("req_")
    assert response.headers["X-Correlation-Id"].startswith("corr_")


def test_the_rate_limit_is_that_of_v1(enrolled: Make) -> None:
    """Past the limit comes the documented 429, which is in no envelope."""
    here = enrolled(settings={"rate_limit": {"limit": 1, "window": "42s"}})
    here.call("GET", P)
    response = here.call("GET", P)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "42")
    assert response.json()["error"] == "Too Many Requests"


def test_somebody_else_may_act_by_hand(enrolled: Make) -> None:
    """Tests can change a portfolio without a request."""
    here = enrolled()
    Simulator(here.store, lambda: here.now).change_enrolled("p", Enrolled.stop)
    assert schedule(here)["status"] == "paused"
    assert here.app.requests.kept()[-1].method == "GET"
