"""Reading many portfolios: each once, in order, and never more at a time than allowed."""

from __future__ import annotations

import asyncio

import pytest
from stub_service import Request, Service, fail, ok, status_data, transport

from reconciler.api.read import read_all
from reconciler.api.v1 import GliderV1
from reconciler.core.desired import PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status
from reconciler.core.paths import Paths
from reconciler.core.ports import Confirmation


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

    async def start(
        self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None, run_now: bool
    ) -> Confirmation:
        return Confirmation()

    async def pause(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        return Confirmation()

    async def resume(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        return Confirmation()

    async def update_schedule(self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None) -> Confirmation:
        return Confirmation()


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
            return await read_all(GliderV1(client, paths=Paths.AUTO), ids(1000), parallelism=10)

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
            await read_all(GliderV1(client, paths=Paths.AUTO), ids(1000), parallelism=10)

    with pytest.raises(ApiError) as caught:
        asyncio.run(run())
    assert caught.value.kind is FailureKind.UNAUTHENTICATED
    assert len(service.seen) <= 20
