"""The v1 calls: bodies, paths, and the fallback from one path family to the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from stub_service import Request, Service, fail, ok, status_data, transport

from reconciler.api.v1 import GliderV1
from reconciler.core.desired import PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status
from reconciler.core.paths import Paths
from reconciler.core.ports import AutomationApi, Confirmation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ID = PortfolioId("ao04x0r6")
BASE = f"/v1/portfolio/{ID}"
STATUS = f"{BASE}/automation/status"
H = 3_600_000


def start(api: AutomationApi) -> Awaitable[Confirmation]:
    return api.start(ID, interval_ms=6 * H, offset_ms=5, run_now=False)


def pause(api: AutomationApi) -> Awaitable[Confirmation]:
    return api.pause(ID, reason="why")


def resume(api: AutomationApi) -> Awaitable[Confirmation]:
    return api.resume(ID, reason="")


def update(api: AutomationApi) -> Awaitable[Confirmation]:
    return api.update_schedule(ID, interval_ms=6 * H, offset_ms=5)


def run(service: Service, paths: Paths, *acts: Callable[[GliderV1], Awaitable[Any]]) -> tuple[list[Any], GliderV1]:
    """Carry out ``acts`` in turn; a failure stands in its place."""

    async def go() -> tuple[list[Any], GliderV1]:
        async with transport(service) as client:
            api = GliderV1(client, paths=paths)
            results: list[Any] = []
            for act in acts:
                try:
                    results.append(await act(api))
                except ApiError as error:
                    results.append(error)
            return results, api

    return asyncio.run(go())


def service(*, missing: tuple[str, ...] = (), missing_status: int = 404, portfolio: bool = True) -> Service:
    """A service that routes all but the paths that contain or end as told."""

    def answer(request: Request) -> Any:
        if request.method == "GET":
            return ok(status_data()) if portfolio else fail(404, "API_200", "Portfolio not found")
        tail = request.path.removeprefix(BASE)
        if not portfolio or any(tail.startswith(path) for path in missing):
            return fail(missing_status, "API_006", "Not found")
        return ok({"portfolioId": ID, "scheduleId": "s1"})

    return Service(answer)


REFERENCE = ("/rebalance/schedule/",)
GUIDE = ("/start", "/pause", "/resume")


@pytest.mark.parametrize(
    ("paths", "act", "path", "body"),
    [
        (
            Paths.REFERENCE,
            start,
            "/rebalance/schedule/start",
            {"runRebalanceImmediately": False, "initializeScheduleAutomatically": True, "interval": 6 * H},
        ),
        (
            Paths.GUIDE,
            start,
            "/start",
            {"runRebalanceImmediately": False, "interval": {"every": 6 * H, "offset": 5}},
        ),
        (Paths.REFERENCE, pause, "/rebalance/schedule/pause", {"reason": "why"}),
        (Paths.GUIDE, pause, "/pause", {"reason": "why"}),
        (Paths.REFERENCE, resume, "/rebalance/schedule/resume", {}),
        (Paths.GUIDE, resume, "/resume", {}),
        (Paths.REFERENCE, update, "/update-schedule-interval", {"interval": {"every": 6 * H, "offset": 5}}),
        (Paths.GUIDE, update, "/update-schedule-interval", {"interval": {"every": 6 * H, "offset": 5}}),
        (Paths.AUTO, pause, "/rebalance/schedule/pause", {"reason": "why"}),
    ],
)
def test_paths_and_bodies(paths: Paths, act: Any, path: str, body: dict[str, object]) -> None:
    """Each call goes where its family says, with the body of that family, and only there."""
    stub = service()
    [result], api = run(stub, paths, act)
    assert result == Confirmation(schedule_id="s1")
    assert stub.calls == [f"POST {BASE}{path}"]
    assert stub.seen[0].json() == body
    assert api.notes == ()


def test_an_undeclared_offset_is_not_sent() -> None:
    """Without an offset the object holds the interval alone."""
    stub = service()
    run(stub, Paths.GUIDE, lambda api: api.update_schedule(ID, interval_ms=6 * H, offset_ms=None))
    assert stub.seen[0].json() == {"interval": {"every": 6 * H}}


@pytest.mark.parametrize("missing_status", [404, 405])
@pytest.mark.parametrize(("act", "verb"), [(start, "start"), (pause, "pause"), (resume, "resume")])
def test_auto_falls_back_once_and_remembers(act: Any, verb: str, missing_status: int) -> None:
    """After a 404 or 405 for a portfolio that can be read, the guide's path is taken, now and from then on."""
    stub = service(missing=REFERENCE, missing_status=missing_status)
    results, api = run(stub, Paths.AUTO, act, act, act)
    assert results == [Confirmation(schedule_id="s1")] * 3
    reference, guide = f"POST {BASE}/rebalance/schedule/{verb}", f"POST {BASE}/{verb}"
    assert stub.calls == [reference, f"GET {STATUS}", guide, guide, guide]
    assert api.notes == ("the service answers the guide's paths; set service.paths: guide",)


def test_the_fallback_sends_the_body_of_its_family() -> None:
    """A start that falls back carries the interval as the guide's object."""
    stub = service(missing=REFERENCE)
    run(stub, Paths.AUTO, start)
    assert stub.seen[-1].json() == {"runRebalanceImmediately": False, "interval": {"every": 6 * H, "offset": 5}}


def test_what_one_verb_taught_helps_the_others() -> None:
    """After one fallback every verb begins with the guide's path."""
    stub = service(missing=REFERENCE)
    run(stub, Paths.AUTO, pause, resume, start)
    assert stub.calls[2:] == [f"POST {BASE}/{verb}" for verb in ("pause", "resume", "start")]


def test_a_service_that_mixes_the_families_is_followed() -> None:
    """A verb that was proven on one path says nothing final about another verb."""
    stub = service(missing=("/rebalance/schedule/resume",))
    results, api = run(stub, Paths.AUTO, pause, resume, pause)
    assert results == [Confirmation(schedule_id="s1")] * 3
    assert stub.calls[-1] == f"POST {BASE}/rebalance/schedule/pause"
    assert api.notes == ("the service mixes the paths of guide and API reference; leave service.paths: auto",)


def test_a_404_on_a_proven_path_is_about_the_portfolio() -> None:
    """Once a path was answered, no other is tried."""
    gone = False

    def answer(request: Request) -> Any:
        return fail(404) if gone and request.method == "POST" else ok(status_data())

    async def vanish(api: GliderV1) -> None:
        nonlocal gone
        gone = True

    stub = Service(answer)
    results, _ = run(stub, Paths.AUTO, pause, vanish, pause)
    assert results[2].kind is FailureKind.NOT_FOUND
    assert stub.calls == [f"POST {BASE}/rebalance/schedule/pause"] * 2


def test_what_moved_in_the_meantime_is_not_written_on_the_other_path() -> None:
    """The look that proves the portfolio to be there also shows a pause that nobody decided about: it stays."""
    reasons = ["ours", "theirs"]

    def answer(request: Request) -> Any:
        if request.method == "POST":
            return fail(404)
        return ok(status_data(status="paused", details={"paused": True, "pauseReason": reasons.pop(0)}))

    stub = Service(answer)
    [_, error], _ = run(stub, Paths.AUTO, lambda api: api.read(ID), lambda api: api.resume(ID, reason=""))
    assert error.kind is FailureKind.REFUSED
    assert not error.may_have_taken_effect
    assert "somebody changed the portfolio in the meantime" in str(error)
    assert [call.split(" ")[0] for call in stub.calls] == ["GET", "POST", "GET"]


def test_both_families_missing_is_told() -> None:
    """Neither path answers: not found, and the error says that both were tried."""
    stub = service(missing=REFERENCE + GUIDE)
    [error], api = run(stub, Paths.AUTO, pause)
    assert error.kind is FailureKind.NOT_FOUND
    assert "neither at the API reference's path nor at the guide's" in str(error)
    assert stub.calls == [f"POST {BASE}/rebalance/schedule/pause", f"GET {STATUS}", f"POST {BASE}/pause"]
    assert api.notes == ()


def test_a_missing_portfolio_is_no_missing_route() -> None:
    """Where the status can't be read either, nothing more is sent."""
    stub = service(portfolio=False)
    [error], _ = run(stub, Paths.AUTO, pause)
    assert error.kind is FailureKind.NOT_FOUND
    assert stub.calls == [f"POST {BASE}/rebalance/schedule/pause", f"GET {STATUS}"]


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422, 500, 502, 503])
def test_auto_never_falls_back_on_another_failure(status: int) -> None:
    """Whatever is not a 404 or 405 comes from the route: it is there."""
    stub = service(missing=REFERENCE, missing_status=status)
    [error], _ = run(stub, Paths.AUTO, pause)
    assert error.status == status
    assert stub.calls == [f"POST {BASE}/rebalance/schedule/pause"]


def test_auto_never_falls_back_on_a_limit_or_a_loss() -> None:
    """A 429 to the end, and an answer that never came, leave the other family alone."""

    async def lost(scope: Any, receive: object, send: object) -> None:
        raise ConnectionResetError

    stub = service(missing=REFERENCE, missing_status=429)
    [limited], _ = run(stub, Paths.AUTO, pause)
    assert limited.kind is FailureKind.RATE_LIMITED
    assert set(stub.calls) == {f"POST {BASE}/rebalance/schedule/pause"}
    [error], _ = run(lost, Paths.AUTO, pause)
    assert error.kind is FailureKind.INTERRUPTED


@pytest.mark.parametrize(("paths", "missing"), [(Paths.REFERENCE, REFERENCE), (Paths.GUIDE, GUIDE)])
def test_a_fixed_family_has_no_fallback(paths: Paths, missing: tuple[str, ...]) -> None:
    """Who names the family gets its 404."""
    stub = service(missing=missing)
    [error], _ = run(stub, paths, pause)
    assert error.kind is FailureKind.NOT_FOUND
    assert "service.paths: auto" in error.detail
    assert len(stub.calls) == 1


def test_update_has_one_path() -> None:
    """Its path is the same in both families, so its 404 is final."""
    stub = service(missing=("/update",))
    [error], _ = run(stub, Paths.AUTO, update)
    assert error.kind is FailureKind.NOT_FOUND
    assert len(stub.calls) == 1


def test_a_refusal_on_the_other_path_proves_it_too() -> None:
    """A 400 from the guide's path is its answer, and the path is remembered."""

    def answer(request: Request) -> Any:
        if request.method == "GET":
            return ok(status_data())
        return fail(404) if "schedule/" in request.path else fail(400, "API_002", "no")

    stub = Service(answer)
    results, api = run(stub, Paths.AUTO, pause, pause)
    assert [error.kind for error in results] == [FailureKind.REFUSED] * 2
    assert stub.calls[3:] == [f"POST {BASE}/pause"]
    assert api.notes != ()


def test_a_portfolio_that_is_not_there_is_a_state() -> None:
    """A 404 of the status is no error."""
    [live], _ = run(service(portfolio=False), Paths.AUTO, lambda api: api.read(ID))
    assert live == Live(id=ID, status=Status.NOT_FOUND)


def test_an_error_names_its_call() -> None:
    """Each error knows which call it belongs to."""
    stub = Service(lambda request: fail(403))
    results, _ = run(stub, Paths.AUTO, start, pause, resume, update, lambda api: api.read(ID))
    assert [error.operation for error in results] == [
        f"{verb} of {ID}" for verb in ("start", "pause", "resume", "update-schedule", "status")
    ]


@pytest.mark.parametrize("text", ["", "..", "a/b", "a%2fb", "a b", "ä", "x" * 129, "a\n", "a?b", "a#b", "../../v2"])
def test_nothing_but_an_id_gets_into_a_url(text: str) -> None:
    """What is no portfolio id is refused before anything is sent."""
    stub = service()
    [error], _ = run(stub, Paths.AUTO, lambda api: api.read(PortfolioId(text)))
    assert error.kind is FailureKind.REFUSED
    assert stub.calls == []
