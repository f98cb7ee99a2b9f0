"""Reading how last rebalances ended, on a service of which a part can't be read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.api.rebalance import Rebalances
from reconciler.api.results import Asked, read_last, read_recent
from reconciler.api.transport import Transport
from reconciler.api.v1 import GliderV1
from reconciler.cli.looking import exit_reason
from reconciler.core.desired import ApiVersion, Desired, RunState
from reconciler.core.errors import ApiError, ExitReason, FailureKind
from reconciler.core.live import Live, Status
from reconciler.core.paths import Paths
from reconciler.core.rebalance import Knowledge, LastRebalance, Rebalance, RebalanceStatus
from reconciler.render.status import StatusRow, status_text
from reconciler.render.style import PLAIN
from tests.support import BASE_URL, World, portfolio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

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


def read(here: World, app: Any, work: Callable[[Asked], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with Transport(
            base_url=BASE_URL, key="test-key-1234", parallelism=4, clock=here.clock, jitter=lambda: 0.5, asgi_app=app
        ) as transport:
            glider = GliderV1(transport, paths=Paths.AUTO)
            api = Rebalances(transport, glider).of(ApiVersion.V1)
            return await work(Asked(live=await glider.read(AAA), api=api))

    return asyncio.run(main())


async def last_of(one: Asked) -> LastRebalance:
    return (await read_last([one], parallelism=4))[AAA]


def row(last: LastRebalance) -> StatusRow:
    desired = Desired(id=AAA, state=RunState.ACTIVE)
    return StatusRow(desired=desired, live=Live(id=AAA, status=Status.ACTIVE), record=None, last=last)


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
    assert exit_reason([row(last)], fail_on_failed=True) is reason
    text = status_text([row(last)], PLAIN)
    assert "  unknown  the last result can't be read: " in text
    assert "Last rebalances" not in text


@pytest.mark.parametrize("status", [400, 404])
def test_a_list_that_is_not_there_is_empty(here: World, status: int) -> None:
    """Where there never was a schedule the service may refuse the list: then no run is known of, and none failed."""
    refused = Without(here.app, LIST, status, b'{"success": false, "error": {"code": "API_200", "message": "none"}}')
    last = read(here, refused, last_of)
    assert (last.knowledge, last.failure) == (Knowledge.NONE, None)
    assert read(here, refused, lambda one: read_recent(one, limit=10)) == ()


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
    recent = read(here, Without(here.app, ONE, 404), lambda one: read_recent(one, limit=10))
    assert len(recent) == 10
    assert {one.knowledge for one in recent} == {Knowledge.UNREADABLE}
    assert {one.rebalance.status for one in recent} == {RebalanceStatus.UNKNOWN}
    begun = [one.rebalance.begun_ms for one in recent]
    assert begun == sorted(begun, reverse=True)
    assert not any(one.went_wrong for one in recent)


def test_nothing_is_asked_of_what_is_not_there(here: World) -> None:
    """A portfolio that could not be read is not asked for its results."""

    async def work(one: Asked) -> LastRebalance:
        gone = Asked(live=Live(id=AAA, status=Status.NOT_FOUND), api=one.api)
        return await last_of(gone)

    before = len(here.app.requests.kept())
    assert read(here, here.app, work).knowledge is Knowledge.UNREADABLE
    assert len(here.app.requests.kept()) == before + 1


def test_a_word_for_the_end_that_nobody_documents(here: World) -> None:
    """It is shown as it is, harmless, and fails --fail-on: nothing says that it went well."""
    rebalance = Rebalance(id="w", status=RebalanceStatus.UNKNOWN, word="timed_out", started_ms=1, ended_ms=2)
    last = LastRebalance(knowledge=Knowledge.READ, rebalance=rebalance)
    assert "  timed out  the last rebalance ended as 'timed_out'" in status_text([row(last)], PLAIN)
    assert exit_reason([row(last)], fail_on_failed=True) is ExitReason.ERROR
    assert exit_reason([row(last)], fail_on_failed=False) is ExitReason.OK
