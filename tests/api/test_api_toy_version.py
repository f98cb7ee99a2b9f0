"""A version that Glider does not have, made of one table: it is carried out by the client as the real ones are."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from msgspec.structs import replace
from stub_service import Request, Service, api_of, fail, ok, sent, status_data, transport

import reconciler.api
from reconciler.api.client import TABLES, Glider
from reconciler.api.fleet import LastRunQuery, read_all, read_fleet, read_last
from reconciler.api.table import (
    Fields,
    ListCall,
    ListPage,
    ReadCall,
    Route,
    Table,
    WriteCall,
    moment_of,
    required_data,
    required_run_status,
    run_at,
)
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Call, Intent
from reconciler.core.model import (
    ApiVersion,
    Capabilities,
    Live,
    Paths,
    PortfolioId,
    Status,
    StrategyId,
    address_of,
)
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import Knowledge, PortfolioFacts, Rebalance, RecentRebalances

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ONE, TWO, THREE = (PortfolioId(name) for name in ("one", "two", "three"))
DUE, DUE_MS = "2026-12-01T09:00:00.000Z", 1_796_115_600_000

# What a third version is: from here to the table, and one line of `TABLES`.


class _Version(str):
    """Takes the place of the member that a real one would have in ``ApiVersion``."""

    __slots__ = ()
    can: Final = Capabilities(owns_schedule=False, keeps_reason=True, lists=True)

    @property
    def value(self) -> str:
        return str(self)


def live_of_toy(portfolio: PortfolioId, payload: Fields) -> Live:
    data = required_data(portfolio, payload)
    status = Status.PAUSED if data.get("halted") else Status.ACTIVE
    return Live(id=portfolio, status=status, word=status.value, next_run_ms=moment_of(data.get("next")))


def confirmation_of_toy(portfolio: PortfolioId, payload: Fields) -> Confirmation:
    required_data(portfolio, payload)
    return Confirmation(schedule_id="toy")


def batch_of(portfolio: PortfolioId, rebalance: str, payload: Fields) -> Rebalance:
    status, word = required_run_status(required_data(portfolio, payload).get("phase"))
    return Rebalance(id=rebalance, status=status, word=word)


def page_of_toy(payload: Fields) -> ListPage:
    return ListPage(rows=cast("list[object]", payload["data"]), cursor=None, says_end=True)


def row_of_toy(entry: object) -> Live:
    return Live(id=PortfolioId(str(entry)), status=Status.ACTIVE, word="active")


def _because(intent: Intent) -> Fields:
    return {"because": intent.reason}


V3: Final = cast("ApiVersion", _Version("v3"))
TOY: Final = Table(
    word="v3",
    folder="/v3/wallets/",
    noun="batch",
    status=ReadCall("state", live_of_toy),
    writes={
        Call.PAUSE: WriteCall("pause", (Route("halt", _because),), confirmation_of_toy),
        Call.RESUME: WriteCall("resume", (Route("go", _because),), confirmation_of_toy),
        Call.REBALANCE: WriteCall("rebalance", (Route("batches", _because),), run_at("batch"), cools_down=True),
    },
    lacks={Call.START: "a wallet is always started"},
    look=ReadCall("batches/{}", batch_of),
    listing=ListCall(path=lambda _: "/v3/wallets", size=2, page=page_of_toy, row=row_of_toy),
)


def answer(request: Request) -> Any:
    """A service of all three versions; each has one portfolio."""
    name = request.path.split("/")[3] if request.path.count("/") > 2 else ""
    match request.path.split("/")[1], name:
        case "v1", "one":
            return ok(status_data("one"))
        case "v2", "":
            return ok({"portfolios": [{"portfolioId": "two", "schedule": {"status": "active"}}]}, nextCursor=None)
        case "v3", "":
            return ok(["three"])
        case "v3", "three":
            return ok({"portfolioId": "three", "halted": True, "next": DUE, "batch": "b 1", "phase": "running"})
        case _:
            return fail(404, "API_200")


def drive(work: Callable[[Glider], Awaitable[Any]], **more: Any) -> tuple[Any, Service]:
    """Do something with a service of three versions."""
    service = Service(answer)

    async def go() -> Any:
        async with transport(service) as client:
            versions = {ONE: ApiVersion.V1, TWO: ApiVersion.V2, THREE: V3}
            tables = {**TABLES, V3: TOY}
            return await work(Glider(client, paths=Paths.AUTO, **{"versions": versions, "tables": tables, **more}))

    return asyncio.run(go()), service


PAUSED = Live(id=THREE, status=Status.PAUSED, word="paused", next_run_ms=DUE_MS)


@pytest.mark.parametrize(
    ("work", "found", "calls"),
    [
        (lambda api: api.read(THREE), PAUSED, ["GET /v3/wallets/three/state"]),
        (
            lambda api: sent(api, Call.PAUSE, THREE, reason="x"),
            Confirmation(schedule_id="toy"),
            ["POST /v3/wallets/three/halt"],
        ),
        (
            lambda api: sent(api, Call.RESUME, THREE, reason="x"),
            Confirmation(schedule_id="toy"),
            ["POST /v3/wallets/three/go"],
        ),
        (lambda api: api.recent(THREE, limit=5), RecentRebalances(listed=False), []),
        (lambda api: api.facts(THREE), PortfolioFacts(), []),
    ],
)
def test_it_is_carried_out(work: Any, found: object, calls: list[str]) -> None:
    """Each call goes where the table says, and its answer is read by the table; what the version lacks is not asked."""
    result, service = drive(work)
    assert result == found
    assert service.calls == calls
    assert [request.json() for request in service.seen if request.method == "POST"] in ([], [{"because": "x"}])


def test_a_rebalance_of_it_is_asked_for_and_followed() -> None:
    """Its id is found under the key of the table, and asked for by the table's path."""

    async def work(api: Glider) -> Any:
        triggered = await sent(api, Call.REBALANCE, THREE, skip_schedule_validation=True)
        live = await api.read(THREE)
        last = await read_last(api, [LastRunQuery(live=live, operation=triggered.run)], parallelism=1)
        return triggered.run, api.noun(THREE), last[THREE].knowledge, last[THREE].rebalance

    (name, noun, knowledge, rebalance), service = drive(work)
    assert (name, noun, knowledge, rebalance.word) == ("b 1", "batch", Knowledge.READ, "running")
    assert service.calls == [
        "POST /v3/wallets/three/batches",
        "GET /v3/wallets/three/state",
        "GET /v3/wallets/three/batches/b 1",
    ]


@pytest.mark.parametrize(
    ("work", "said", "operation"),
    [
        (
            lambda api: sent(api, Call.START, THREE, interval_ms=1, offset_ms=None, run_on_start=False),
            "there is no start of a v3 portfolio; a wallet is always started",
            "start of three",
        ),
        (
            lambda api: sent(api, Call.UPDATE_SCHEDULE, THREE, interval_ms=1, offset_ms=None),
            "there is no update-schedule of a v3 portfolio; the API has no such call",
            "update-schedule of three",
        ),
        (
            lambda api: sent(api, Call.START, TWO, interval_ms=1, offset_ms=None, run_on_start=False),
            "there is no start of a v2 portfolio; it has its schedule from its strategy, and can only be resumed",
            "start of two",
        ),
        (
            lambda api: sent(api, Call.UPDATE_SCHEDULE, TWO, interval_ms=1, offset_ms=None),
            "there is no update-schedule of a v2 portfolio; its cadence belongs to its strategy",
            "update-schedule of two",
        ),
    ],
)
def test_what_a_version_lacks_is_refused(work: Any, said: str, operation: str) -> None:
    """Before anything is sent, and in the words of its table."""
    with pytest.raises(ApiError) as refused:
        drive(work)
    error = refused.value
    assert (error.kind, error.summary, error.operation) == (FailureKind.REFUSED, f"not sent: {said}", operation)
    assert not error.may_have_taken_effect


def test_where_no_version_has_strategies_they_are_refused() -> None:
    """A cadence is neither read nor set, and nothing is sent."""
    strategy = StrategyId("s1")
    for work in (
        lambda api: api.read_strategy(strategy),
        lambda api: sent(api, Call.SET_CADENCE, address_of(strategy)),
    ):
        with pytest.raises(ApiError, match="not sent: no API has strategies"):
            drive(work, tables={V3: TOY})


def test_it_is_listed_beside_the_others() -> None:
    """A whole fleet takes the list of each version that has one, and single reads of the one that has none."""
    fleet, service = drive(lambda api: read_fleet(api, [ONE, TWO, THREE], whole=True, parallelism=2))
    assert {portfolio: live.status for portfolio, live in fleet.live.items()} == dict.fromkeys(
        (ONE, THREE, TWO), Status.ACTIVE
    )
    assert fleet.listed.complete
    assert list(fleet.listed.rows) == [THREE, TWO]
    assert sorted(service.calls) == ["GET /v1/portfolio/one/automation/status", "GET /v2/portfolios", "GET /v3/wallets"]


def test_without_a_listing_it_is_read_singly() -> None:
    """A table without a list is never asked for one."""

    async def work(api: Glider) -> Any:
        return await api.list_portfolios(), await read_all(api, [THREE], parallelism=1)

    (listed, live), service = drive(work, tables={V3: replace(TOY, listing=None)})
    assert (listed.rows, listed.complete, live) == ({}, True, {THREE: PAUSED})
    assert service.calls == ["GET /v3/wallets/three/state"]


def test_who_declares_another_version_is_told_of_it() -> None:
    """A portfolio that its version does not find is looked for by all the others."""
    versions = {ONE: ApiVersion.V1, THREE: ApiVersion.V1}
    work: Any = lambda api: read_fleet(api, [ONE, THREE], whole=True, parallelism=2)  # noqa: E731 - as in the tables
    fleet, service = drive(work, versions=versions)
    assert fleet.live[THREE].status is Status.NOT_FOUND
    assert fleet.live[THREE].failure.detail == "v3 has it: declare it with `api: v3`"
    assert service.calls[-2:] == ["GET /v2/portfolios/three", "GET /v3/wallets/three/state"]


def test_a_version_is_one_module_and_one_line() -> None:
    """No module of the client names a version but the one with the list of tables: a row each, and the default."""
    named: dict[str, list[str]] = {}
    for path in sorted(Path(reconciler.api.__file__).parent.glob("*.py")):
        found = re.findall(r"ApiVersion\.[A-Z]\w*", path.read_text(encoding="utf-8"))
        if found:
            named[path.name] = sorted(found)
    assert named == {"client.py": sorted(["ApiVersion.V1", *(f"ApiVersion.{one.name}" for one in ApiVersion)])}
    assert list(TABLES) == list(ApiVersion)


@pytest.mark.parametrize("version", ApiVersion)
def test_a_version_can_do_what_its_table_holds(version: ApiVersion) -> None:
    """What the core is told of a version is true of its calls."""
    table, can = TABLES[version], version.can
    assert table.word == version.value
    assert (Call.START in table.writes, Call.UPDATE_SCHEDULE in table.writes) == (can.owns_schedule,) * 2
    assert (table.listing is not None) is can.lists
    assert (table.recent is not None) is can.lists_runs
    assert (table.families is not None) is can.has_two_paths
    assert {
        bool(route.body(Intent(address=ONE, call=Call.PAUSE, token="0000a1", reason="x")))
        for route in table.writes[Call.PAUSE].routes
    } == {can.keeps_reason}
    missing = set(Call) - {Call.SET_CADENCE} - set(table.writes)
    assert set(table.lacks) == missing
    routes = {len(write.routes) for write in table.writes.values()}
    assert routes == ({1, 2} if table.families is not None else {1})


def test_a_call_builds_no_table() -> None:
    """Tables are made once: the client holds the ones that it was given."""

    async def go() -> Glider:
        async with transport(Service(answer)) as client:
            return api_of(client)

    assert asyncio.run(go()).tables is TABLES
