"""Reading many: portfolios, names and results, each once, in order, and never more at a time than allowed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from stub_service import Request, Service, api_of, fail, ok, status_data, transport

from reconciler.api.client import Glider
from reconciler.api.fleet import LastRunQuery, read_all, read_last, read_names, read_recent
from reconciler.api.transport import Transport
from reconciler.cli.status import status_reason
from reconciler.core.adoption import Adoptable, make_adoption
from reconciler.core.errors import ApiError, ExitReason, FailureKind
from reconciler.core.model import ApiVersion, Desired, Live, Paths, PortfolioId, RunState, Status
from reconciler.core.needs import needs_of
from reconciler.core.plan import Plan
from reconciler.core.rebalance import KeptRebalance, Knowledge, LastRebalance, Rebalance, RebalanceStatus
from reconciler.render.status import StatusRow, status_page
from reconciler.render.terminal import PLAIN, terminal
from reconciler.sandbox import Fault, FaultKind, Operation
from tests.support import BASE_URL, World, portfolio, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


class Slow:
    """An api that gives way in each read, and counts."""

    def __init__(self, errors: dict[str, Exception] | None = None) -> None:
        self.errors = errors or {}
        self.reads: list[str] = []
        self.running = 0
        self.peak = 0

    async def read(self, portfolio: PortfolioId) -> Live:
        self.reads.append(portfolio)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(0)
            if portfolio in self.errors:
                raise self.errors[portfolio]
        finally:
            self.running -= 1
        return Live(id=portfolio, status=Status.ACTIVE)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, ApiError | None]] = []

    def read(self, portfolio: PortfolioId, failure: ApiError | None) -> None:
        self.seen.append((portfolio, failure))


def ids(count: int) -> list[PortfolioId]:
    return [PortfolioId(f"p{number:03}") for number in range(count)]


@pytest.mark.parametrize("parallelism", [1, 7, 500])
def test_each_is_read_once_and_sorted(parallelism: int) -> None:
    """Order and repetition of the ids don't matter, and no more run at a time than allowed."""
    api, watcher = Slow(), Watcher()
    found = asyncio.run(read_all(api, [*reversed(ids(100)), *ids(100)], parallelism=parallelism, observer=watcher))
    assert list(found) == ids(100)
    assert sorted(api.reads) == ids(100)
    assert api.peak == min(parallelism, 100)
    assert sorted(watcher.seen) == [(portfolio, None) for portfolio in ids(100)]


def test_nothing_to_read_is_nothing() -> None:
    """No ids, no reads."""
    assert asyncio.run(read_all(Slow(), [], parallelism=5, observer=None)) == {}


def test_a_failed_read_has_its_place() -> None:
    """It is UNREADABLE with its error, and the others are read."""
    error = ApiError(FailureKind.SERVER, "no")
    watcher = Watcher()
    found = asyncio.run(read_all(Slow({"p003": error}), ids(9), parallelism=2, observer=watcher))
    assert found[PortfolioId("p003")] == Live(id=PortfolioId("p003"), status=Status.UNREADABLE, failure=error)
    assert [live.status for live in found.values()].count(Status.ACTIVE) == 8
    assert ("p003", error) in watcher.seen


@pytest.mark.parametrize("error", [ApiError(FailureKind.UNAUTHENTICATED, "no"), RuntimeError("a bug")])
def test_what_ends_the_run_is_raised_alone(error: Exception) -> None:
    """A refused key stops all workers, and comes out as itself, in no group and with no task left over."""
    api = Slow({"p010": error})

    async def run() -> int:
        with pytest.raises(type(error)) as caught:
            await read_all(api, ids(500), parallelism=5)
        assert caught.value is error
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
    assert len(api.reads) < 30
    assert api.running == 0


def test_cancelling_stops_the_workers() -> None:
    """Nobody goes on reading after the run was interrupted."""
    api = Slow()

    async def run() -> int:
        task = asyncio.create_task(read_all(api, ids(500), parallelism=5))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
    assert len(api.reads) < 100


def test_a_fleet_over_http() -> None:
    """A thousand portfolios cost a thousand requests, and one more for one that is not found; broken ones are told."""

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        portfolio = request.path.split("/")[3]
        if portfolio == "p007":
            return fail(404)
        if portfolio == "p008":
            return fail(403)
        return ok(status_data(portfolio))

    service = Service(answer)

    async def run() -> dict[PortfolioId, Live]:
        async with transport(service, parallelism=10) as client:
            return await read_all(api_of(client), ids(1000), parallelism=10)

    found = asyncio.run(run())
    assert len(service.seen) == 1001
    assert found[PortfolioId("p007")].status is Status.NOT_FOUND
    assert found[PortfolioId("p008")].status is Status.UNREADABLE
    assert [live.status for live in found.values()].count(Status.ACTIVE) == 998


def test_a_bad_key_is_shown_to_the_service_a_few_times_only() -> None:
    """A 401 ends the reading of a large fleet after one round of workers."""
    service = Service(lambda request: fail(401))

    async def run() -> None:
        async with transport(service, parallelism=10) as client:
            await read_all(api_of(client), ids(1000), parallelism=10)

    with pytest.raises(ApiError) as caught:
        asyncio.run(run())
    assert caught.value.kind is FailureKind.UNAUTHENTICATED
    assert len(service.seen) <= 20


SEEDS = {"aaa": {"name": "Growth"}, "bbb": {"name": "Calm"}, "ccc": {"name": "a\u202eb"}}
IDS = [PortfolioId(name) for name in ("ccc", "bbb", "aaa", "zzz", "aaa")]


async def names(world: World) -> dict[PortfolioId, str | ApiError | None]:
    async with world.api() as api:
        return await read_names(api, IDS, parallelism=2)


def test_a_name_each_and_a_failure_each(tmp_path: Path) -> None:
    """Every id has its place, once and sorted: a harmless name, or why it could not be read."""
    world = World(journal=tmp_path / "journal.db", portfolios=SEEDS)
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.READ, portfolio="bbb", times=1000))
    found = run(names(world))
    assert list(found) == ["aaa", "bbb", "ccc", "zzz"]
    assert (found[PortfolioId("aaa")], found[PortfolioId("ccc")]) == ("Growth", "a\\u{202e}b")
    kinds = [getattr(found[PortfolioId(name)], "kind", None) for name in ("bbb", "zzz")]
    assert kinds == [FailureKind.SERVER, FailureKind.NOT_FOUND]
    assert len([r for r in world.app.requests.kept() if r.portfolio in ("aaa", "ccc")]) == 2


def test_a_refused_key_ends_it(tmp_path: Path) -> None:
    """A bad key is raised at once: every other name would fail alike."""
    world = World(journal=tmp_path / "journal.db", portfolios=SEEDS)
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.READ, status=401, times=1000))
    with pytest.raises(ApiError) as caught:
        run(names(world))
    assert caught.value.kind is FailureKind.UNAUTHENTICATED


def test_a_name_that_could_not_be_read_is_noted() -> None:
    """The portfolio is declared without it, and a comment says so."""
    portfolio = PortfolioId("aaa")
    adoption = make_adoption(
        Adoptable(
            live={portfolio: Live(id=portfolio, status=Status.ACTIVE)},
            versions={portfolio: ApiVersion.V1},
            names={portfolio: ApiError(FailureKind.SERVER, "broke")},
        )
    )
    assert adoption.layout.desired[portfolio].name is None
    assert adoption.notes[portfolio][-1] == "its name could not be read"


AAA = portfolio("aaa")
LIST, ONE = "/rebalance/status", "/rebalance/status/"


@dataclass
class Without:
    """The simulator, but for paths that hold a text: those are answered with this status and body."""

    app: Any
    part: str
    status: int
    body: bytes = b"<html>"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.part not in scope["path"]:
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


def read(here: World, app: Any, work: Callable[[Glider, LastRunQuery], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with Transport(
            base_url=BASE_URL, key="test-key-1234", parallelism=4, clock=here.clock, jitter=lambda: 0.5, asgi_app=app
        ) as transport:
            api = Glider(transport, paths=Paths.AUTO, versions={})
            return await work(api, LastRunQuery(live=await api.read(AAA)))

    return asyncio.run(main())


async def last_of(api: Glider, one: LastRunQuery) -> LastRebalance:
    return (await read_last(api, [one], parallelism=4))[AAA]


def row(last: LastRebalance) -> StatusRow:
    desired = Desired(id=AAA, state=RunState.ACTIVE)
    live = Live(id=AAA, status=Status.ACTIVE)
    known = {AAA: [KeptRebalance(rebalance=one, read_ms=0) for one in last.read]}
    needs = needs_of(Plan(created_ms=0, base_url=BASE_URL), {AAA: desired}, {AAA: live}, known, now_ms=0)
    return StatusRow(desired=desired, live=live, record=None, last=last, needs=needs.get(AAA, ()))


@pytest.fixture
def here(tmp_path: Path) -> World:
    made = World(journal=tmp_path / "j", portfolios={"aaa": {"interval": "24h", "started": "10d"}})
    made.clock.advance(3_600_000)
    return made


@pytest.mark.parametrize(
    ("part", "status", "reason"),
    [
        (LIST, 500, ExitReason.UNREACHABLE),
        (LIST, 403, ExitReason.PERMISSION),
        (LIST, 409, ExitReason.ERROR),
        (ONE, 500, ExitReason.UNREACHABLE),
        (ONE, 403, ExitReason.PERMISSION),
        (ONE, 404, ExitReason.OK),
        (ONE, 400, ExitReason.ERROR),
    ],
)
def test_a_result_that_can_not_be_read(here: World, part: str, status: int, reason: ExitReason) -> None:
    """It is unknown, and an error of its own but for a 404: the service forgets old rebalances."""
    last = read(here, Without(here.app, part, status), last_of)
    assert (last.knowledge, last.rebalance) == (Knowledge.UNREADABLE, None)
    assert status_reason([row(last)], fail_on=("failed-rebalance",)) is reason
    text = terminal(status_page([row(last)]), PLAIN)
    assert "  unknown  the last result can't be read: " in text
    assert "Last rebalances" not in text


@pytest.mark.parametrize("status", [400, 404])
def test_a_list_that_is_not_there_is_empty(here: World, status: int) -> None:
    """Where there never was a schedule the service may refuse the list: then no run is known of, and none failed."""
    refused = Without(here.app, LIST, status, b'{"success": false, "error": {"code": "API_200", "message": "none"}}')
    last = read(here, refused, last_of)
    assert (last.knowledge, last.failure) == (Knowledge.NONE, None)
    assert read(here, refused, lambda api, one: read_recent(api, one, limit=10)) == ()


@pytest.mark.parametrize("status", [400, 404])
def test_a_gateway_that_does_not_know_the_list_says_nothing(here: World, status: int) -> None:
    """Only Glider's own words say that nothing ran; a page of somebody in between leaves it unknown."""
    assert read(here, Without(here.app, LIST, status), last_of).knowledge is Knowledge.UNREADABLE


def test_a_refused_key_is_raised(here: World) -> None:
    """Every other read would fail alike."""
    with pytest.raises(ApiError) as caught:
        read(here, Without(here.app, ONE, 401), last_of)
    assert caught.value.kind is FailureKind.UNAUTHENTICATED


def test_recent_ones_keep_what_the_list_says(here: World) -> None:
    """Where one can't be read, its times are still known, and its status is not."""
    recent = read(here, Without(here.app, ONE, 404), lambda api, one: read_recent(api, one, limit=10))
    assert len(recent) == 10
    assert {one.knowledge for one in recent} == {Knowledge.UNREADABLE}
    assert {one.rebalance.status for one in recent} == {RebalanceStatus.UNKNOWN}
    begun = [one.rebalance.begun_ms for one in recent]
    assert begun == sorted(begun, reverse=True)
    assert not any(one.went_wrong for one in recent)


def test_nothing_is_asked_of_what_is_not_there(here: World) -> None:
    """A portfolio that could not be read is not asked for its results."""

    async def work(api: Glider, one: LastRunQuery) -> LastRebalance:
        return await last_of(api, LastRunQuery(live=Live(id=AAA, status=Status.NOT_FOUND)))

    before = len(here.app.requests.kept())
    assert read(here, here.app, work).knowledge is Knowledge.UNREADABLE
    assert len(here.app.requests.kept()) == before + 1


def test_a_word_for_the_end_that_nobody_documents(here: World) -> None:
    """It is shown as it is, harmless, and fails --fail-on: nothing says that it went well."""
    rebalance = Rebalance(id="w", status=RebalanceStatus.UNKNOWN, word="timed_out", started_ms=1, ended_ms=2)
    last = LastRebalance(knowledge=Knowledge.READ, rebalance=rebalance)
    assert "  timed out  the last rebalance ended as 'timed_out'" in terminal(status_page([row(last)]), PLAIN)
    assert status_reason([row(last)], fail_on=("failed-rebalance",)) is ExitReason.ERROR
    assert status_reason([row(last)], fail_on=()) is ExitReason.OK
