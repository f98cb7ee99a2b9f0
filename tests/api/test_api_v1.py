"""The v1 calls: bodies, paths, and the way from one path family to the other."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from stub_service import Request, Service, api_of, fail, ok, sent, status_data, transport

from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Call
from reconciler.core.model import Paths, PortfolioId, Status
from reconciler.core.ports import Confirmation, PortfolioApi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.api.client import Glider

ID = PortfolioId("ao04x0r6")
BASE = f"/v1/portfolio/{ID}"
STATUS = f"{BASE}/automation/status"
H = 3_600_000


def start(api: PortfolioApi) -> Awaitable[Confirmation]:
    return sent(api, Call.START, ID, interval_ms=6 * H, offset_ms=5, run_on_start=False)


def pause(api: PortfolioApi) -> Awaitable[Confirmation]:
    return sent(api, Call.PAUSE, ID, reason="why")


def resume(api: PortfolioApi) -> Awaitable[Confirmation]:
    return sent(api, Call.RESUME, ID, reason="")


def update(api: PortfolioApi) -> Awaitable[Confirmation]:
    return sent(api, Call.UPDATE_SCHEDULE, ID, interval_ms=6 * H, offset_ms=5)


def again(act: Callable[[Glider], Awaitable[Any]]) -> Callable[[Glider], Awaitable[Any]]:
    """Carry out ``act`` as a run does: after a missing route, look and try once more."""

    async def go(api: Glider) -> Any:
        try:
            return await act(api)
        except ApiError as error:
            if not error.other_route:
                raise
            await api.read(ID)
            return await act(api)

    return go


def run(service: Service, paths: Paths, *acts: Callable[[Glider], Awaitable[Any]]) -> tuple[list[Any], Glider]:
    """Carry out ``acts`` in turn; a failure stands in its place."""

    async def go() -> tuple[list[Any], Glider]:
        async with transport(service) as client:
            api = api_of(client, paths=paths)
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
    run(stub, Paths.GUIDE, lambda api: sent(api, Call.UPDATE_SCHEDULE, ID, interval_ms=6 * H, offset_ms=None))
    assert stub.seen[0].json() == {"interval": {"every": 6 * H}}


@pytest.mark.parametrize("missing_status", [404, 405])
@pytest.mark.parametrize(("act", "verb"), [(start, "start"), (pause, "pause"), (resume, "resume")])
def test_auto_names_the_other_route_once_and_remembers(act: Any, verb: str, missing_status: int) -> None:
    """After a 404 or 405 the call is sent no second time inside; sent again it takes the guide's path, from then on."""
    stub = service(missing=REFERENCE, missing_status=missing_status)
    [error, *results], api = run(stub, Paths.AUTO, act, act, act)
    assert (error.kind, error.other_route) == (FailureKind.NOT_FOUND, True)
    assert not error.may_have_taken_effect
    assert results == [Confirmation(schedule_id="s1")] * 2
    reference, guide = f"POST {BASE}/rebalance/schedule/{verb}", f"POST {BASE}/{verb}"
    assert stub.calls == [reference, guide, guide]
    assert api.notes == ("the service answers the guide's paths; set service.paths: guide",)


def test_the_other_route_gets_the_body_of_its_family() -> None:
    """A start that takes the guide's path carries the interval as the guide's object."""
    stub = service(missing=REFERENCE)
    run(stub, Paths.AUTO, again(start))
    assert stub.seen[-1].json() == {"runRebalanceImmediately": False, "interval": {"every": 6 * H, "offset": 5}}


def test_what_one_verb_taught_helps_the_others() -> None:
    """After one change of the path every verb begins with the guide's."""
    stub = service(missing=REFERENCE)
    run(stub, Paths.AUTO, again(pause), resume, start)
    assert stub.calls[2:] == [f"POST {BASE}/{verb}" for verb in ("pause", "resume", "start")]


def test_a_service_that_mixes_the_families_is_followed() -> None:
    """A verb that was proven on one path says nothing final about another verb."""
    stub = service(missing=("/rebalance/schedule/resume",))
    results, api = run(stub, Paths.AUTO, pause, again(resume), pause)
    assert results == [Confirmation(schedule_id="s1")] * 3
    assert stub.calls[-1] == f"POST {BASE}/rebalance/schedule/pause"
    assert api.notes == ("the service mixes the paths of guide and API reference; leave service.paths: auto",)


@pytest.mark.parametrize("missing", [REFERENCE, GUIDE])
def test_fifty_at_once_find_the_other_route(missing: tuple[str, ...]) -> None:
    """Fifty first writes at once that all miss their route all take the other one next, and none goes back."""
    names = [PortfolioId(f"p{number}") for number in range(50)]
    paths: dict[str, list[str]] = {name: [] for name in names}

    def answer(request: Request) -> Any:
        name, _, tail = request.path.removeprefix("/v1/portfolio/").partition("/")
        paths[name].append(f"/{tail}")
        return fail(404) if f"/{tail}".startswith(missing) else ok({})

    async def go() -> tuple[str, ...]:
        async with transport(Service(answer), parallelism=50) as client:
            api = api_of(client)

            async def write(name: PortfolioId) -> None:
                try:
                    await sent(api, Call.PAUSE, name, reason="")
                except ApiError as error:
                    if not error.other_route:
                        raise
                    await sent(api, Call.PAUSE, name, reason="")

            await asyncio.gather(*(write(name) for name in names))
            await write(names[0])
            return api.notes

    notes = asyncio.run(go())
    assert all(len(set(tried)) == len(tried) <= 2 for name, tried in paths.items() if name != names[0])
    assert len(paths[names[0]]) == (3 if missing == REFERENCE else 2)
    assert bool(notes) is (missing == REFERENCE)


def test_a_404_on_a_proven_path_is_about_the_portfolio() -> None:
    """Once a path was answered, no other is tried."""
    gone = False

    def answer(request: Request) -> Any:
        return fail(404) if gone and request.method == "POST" else ok(status_data())

    async def vanish(api: Glider) -> None:
        nonlocal gone
        gone = True

    stub = Service(answer)
    results, _ = run(stub, Paths.AUTO, pause, vanish, pause)
    assert results[2].kind is FailureKind.NOT_FOUND
    assert stub.calls == [f"POST {BASE}/rebalance/schedule/pause"] * 2


def test_both_families_missing_is_told() -> None:
    """Neither path answers: not found, no third try, and the error says that both were tried."""
    stub = service(missing=REFERENCE + GUIDE)
    [error], api = run(stub, Paths.AUTO, again(pause))
    assert (error.kind, error.other_route) == (FailureKind.NOT_FOUND, False)
    assert "neither at the API reference's path nor at the guide's" in str(error)
    assert stub.calls == [f"POST {BASE}/rebalance/schedule/pause", f"GET {STATUS}", f"POST {BASE}/pause"]
    assert api.notes == ()


@pytest.mark.parametrize("right", ["/rebalance/schedule/", "/"])
def test_a_404_about_the_portfolio_is_shown_in_the_words_of_the_service(right: str) -> None:
    """Where the route is there and the portfolio can't be written, whichever path said so, people read why."""
    told = {"success": False, "error": {"code": "API_206", "message": "PORTFOLIO_TEMPLATE_NOT_FOUND"}}

    def answer(request: Request) -> Any:
        if request.path == f"{BASE}{right}resume":
            return 404, {}, json.dumps(told).encode()
        return fail(404, "API_006", "Not found")

    [error], _ = run(Service(answer), Paths.AUTO, again(resume))
    assert error.kind is FailureKind.NOT_FOUND
    assert "PORTFOLIO_TEMPLATE_NOT_FOUND" in str(error)
    assert "Not found" in str(error)


def test_a_portfolio_without_its_template_teaches_nothing_of_the_route() -> None:
    """One portfolio that gets 404 on both paths leaves the first path to the next portfolio."""

    def answer(request: Request) -> Any:
        return ok({}) if "/other/rebalance/schedule/" in request.path else fail(404)

    stub = Service(answer)
    results, _ = run(stub, Paths.AUTO, again(pause), lambda api: sent(api, Call.PAUSE, PortfolioId("other"), reason=""))
    assert results[0].kind is FailureKind.NOT_FOUND
    assert results[1] == Confirmation()
    assert stub.calls[-1] == "POST /v1/portfolio/other/rebalance/schedule/pause"


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
    assert (error.kind, error.other_route) == (FailureKind.NOT_FOUND, False)
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
        return fail(404) if "schedule/" in request.path else fail(400, "API_002", "no")

    stub = Service(answer)
    results, api = run(stub, Paths.AUTO, pause, pause, pause)
    assert [error.kind for error in results] == [FailureKind.NOT_FOUND] + [FailureKind.REFUSED] * 2
    assert stub.calls[1:] == [f"POST {BASE}/pause"] * 2
    assert api.notes != ()


def test_a_portfolio_that_is_not_there_is_a_state() -> None:
    """A 404 of the status is no error."""
    [live], _ = run(service(portfolio=False), Paths.AUTO, lambda api: api.read(ID))
    assert (live.id, live.status) == (ID, Status.NOT_FOUND)


SAID = "No automation found for portfolio"


@pytest.mark.parametrize(
    ("portfolio", "status"),
    [
        (ok({"id": ID, "name": "Index"}), Status.INACTIVE),
        (ok({"id": ID, "isArchived": False}), Status.INACTIVE),
        (ok({"id": ID, "isArchived": True}), Status.ARCHIVED),
        (fail(404, "API_200", "Portfolio not found"), Status.NOT_FOUND),
        (fail(403, "API_104", "no"), FailureKind.FORBIDDEN),
        (fail(500, "API_506", "try later"), FailureKind.SERVER),
    ],
)
def test_a_404_may_be_about_the_automation_alone(portfolio: Any, status: Status | FailureKind) -> None:
    """The portfolio itself tells, and the service's words are kept; what can't be told is a failed read."""

    def answer(request: Request) -> Any:
        return fail(404, "API_006", SAID) if request.path == STATUS else portfolio

    stub = Service(answer)
    [found], _ = run(stub, Paths.AUTO, lambda api: api.read(ID))
    assert stub.calls[:2] == [f"GET {STATUS}", f"GET {BASE}"]
    if isinstance(status, FailureKind):
        assert found.kind is status
        return
    assert (found.status, found.word) == (status, "" if status is Status.NOT_FOUND else status.value)
    assert SAID in str(found.failure)


@pytest.mark.parametrize("said", [fail(404), fail(404, "API_200", "Portfolio not found")])
def test_a_404_that_says_too_little(said: Any) -> None:
    """A gateway's, or one that contradicts the portfolio, proves nothing: it may be paused, and must not be started."""
    stub = Service(lambda request: said if request.path == STATUS else ok({"id": ID}))
    [found], _ = run(stub, Paths.AUTO, lambda api: api.read(ID))
    assert (found.kind, found.status) == (FailureKind.MALFORMED, 404)
    assert "the portfolio is there, and its status is not found" in str(found)


def test_an_error_names_its_call() -> None:
    """Each error knows which call it belongs to."""
    stub = Service(lambda request: fail(403))
    results, _ = run(stub, Paths.AUTO, start, pause, resume, update, lambda api: api.read(ID))
    assert [error.operation for error in results] == [
        f"{verb} of {ID}" for verb in ("start", "pause", "resume", "update-schedule", "status")
    ]


def test_an_answer_that_makes_no_sense_names_its_call() -> None:
    """Also where the answer itself was good, and only what it says can't be used."""
    stub = Service(lambda request: ok({"portfolioId": "another"}))
    results, _ = run(stub, Paths.AUTO, pause, lambda api: api.read(ID), lambda api: api.recent(ID, limit=1))
    assert [(error.kind, error.operation) for error in results] == [
        (FailureKind.MALFORMED, f"{of} of {ID}") for of in ("pause", "status", "rebalances")
    ]


@pytest.mark.parametrize("text", ["", "..", "a/b", "a%2fb", "a b", "ä", "x" * 129, "a\n", "a?b", "a#b", "../../v2"])
def test_nothing_but_an_id_gets_into_a_url(text: str) -> None:
    """What is no portfolio id is refused before anything is sent."""
    stub = service()
    [error], _ = run(stub, Paths.AUTO, lambda api: api.read(PortfolioId(text)))
    assert error.kind is FailureKind.REFUSED
    assert stub.calls == []
