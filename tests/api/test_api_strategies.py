"""A strategy's cadence over HTTP: what is sent, what each answer means, and what is never guessed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stub_service import Request, Service, api_of, fail, ok, sent, transport

from reconciler.api.fleet import read_cadences
from reconciler.api.v2 import strategy_live_of
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Call
from reconciler.core.model import Cadence, StrategyId, StrategyLive, StrategyStatus, address_of

ID = StrategyId("01JWZEE2MF30KVRMRX53N88VA4")
PATH = f"/v2/strategies/{ID}/schedule"


def ask(service: Service, *, wanted: Cadence | None = None, strategy: StrategyId = ID) -> Any:
    """Read the cadence, or set the wanted one; a failure is returned."""

    async def go() -> Any:
        async with transport(service) as client:
            api = api_of(client)
            try:
                if wanted is None:
                    return await api.read_strategy(strategy)
                return (await sent(api, Call.SET_CADENCE, address_of(strategy), cadence=wanted)).cadence
            except ApiError as error:
                return error

    return asyncio.run(go())


@pytest.mark.parametrize("cadence", Cadence)
def test_what_is_sent(cadence: Cadence) -> None:
    """A write is one PUT of the documented body; its answer names what was stored (API facts §1.3, V2.8)."""
    service = Service(lambda request: ok(request.json()))
    assert ask(service, wanted=cadence) is cadence
    (request,) = service.seen
    assert (request.method, request.path) == ("PUT", PATH)
    assert request.json() == {"type": "interval", "frequency": cadence.value}


ANSWERS: dict[str, tuple[object, StrategyStatus, Cadence | None, str]] = {
    "documented": ({"type": "interval", "frequency": "daily"}, StrategyStatus.FOUND, Cadence.DAILY, ""),
    "with more": ({"type": "interval", "frequency": "hourly", "x": 1}, StrategyStatus.FOUND, Cadence.HOURLY, ""),
    "without a type": ({"frequency": "weekly"}, StrategyStatus.FOUND, Cadence.WEEKLY, ""),
    "null": (None, StrategyStatus.UNKNOWN, None, ""),
    "empty": ({}, StrategyStatus.UNKNOWN, None, ""),
    "null frequency": ({"type": "interval", "frequency": None}, StrategyStatus.UNKNOWN, None, ""),
    "another word": ({"type": "interval", "frequency": "biweekly"}, StrategyStatus.UNKNOWN, None, "biweekly"),
    "another case": ({"type": "Interval", "frequency": "DAILY"}, StrategyStatus.FOUND, Cadence.DAILY, ""),
    "another letter": ({"frequency": "wee\u212aly"}, StrategyStatus.UNKNOWN, None, "wee\u212aly"),
    "another type": ({"type": "calendar", "frequency": "daily"}, StrategyStatus.UNKNOWN, None, "calendar daily"),
    "only another type": ({"type": "cron"}, StrategyStatus.UNKNOWN, None, "cron"),
    "a hostile word": ({"frequency": "\x1b[2Jdaily"}, StrategyStatus.UNKNOWN, None, "\\u{1b}[2Jdaily"),
}


@pytest.mark.parametrize(("data", "status", "cadence", "word"), ANSWERS.values(), ids=ANSWERS)
def test_what_an_answer_means(data: object, status: StrategyStatus, cadence: Cadence | None, word: str) -> None:
    """A documented cadence is found in any case; none is unknown, another word is kept, harmless (API facts §4.7)."""
    found = StrategyLive(id=ID, status=status, cadence=cadence, word=word)
    assert strategy_live_of(ID, {"success": True, "data": data}) == found


@pytest.mark.parametrize("data", [[], "daily", 7, {"frequency": 86_400_000}, {"type": 1, "frequency": "daily"}])
def test_what_is_no_schedule_is_an_error(data: object) -> None:
    """An answer of another shape is malformed, and never read as no schedule."""
    with pytest.raises(ApiError) as raised:
        strategy_live_of(ID, {"success": True, "data": data})
    assert raised.value.kind is FailureKind.MALFORMED


def test_a_404_is_a_value_for_a_read_and_an_error_for_a_write() -> None:
    """A strategy that is not there, or not ours, can be told of; a write to it was refused."""
    service = Service(lambda _: fail(404, "API_006"))
    assert ask(service) == StrategyLive(id=ID, status=StrategyStatus.NOT_FOUND)
    refused = ask(service, wanted=Cadence.DAILY)
    assert refused.kind is FailureKind.NOT_FOUND
    assert not refused.may_have_taken_effect


@pytest.mark.parametrize("strategy", ["../portfolios", "a/b", "", "a?b", "ü", "a" * 129])
def test_only_an_id_reaches_a_url(strategy: str) -> None:
    """Whatever else it is, nothing is sent."""
    service = Service(lambda _: ok({}))
    assert ask(service, strategy=StrategyId(strategy)).kind is FailureKind.REFUSED
    assert service.seen == []


def test_a_write_is_not_repeated_by_itself() -> None:
    """After a 5xx nobody knows whether it was done: one request, one error."""
    service = Service(lambda _: fail(500, "API_000"))
    assert ask(service, wanted=Cadence.DAILY).may_have_taken_effect
    assert len(service.seen) == 1


def test_several_are_read_once_each() -> None:
    """A failed read has its place among the others, sorted by id."""

    def answer(request: Request) -> Any:
        return fail(403, "API_104") if "/b/" in request.path else ok({"type": "interval", "frequency": "daily"})

    async def go(service: Service) -> Any:
        async with transport(service) as client:
            ids = [StrategyId(i) for i in ("c", "b", "a", "a")]
            return await read_cadences(api_of(client), ids, parallelism=2)

    service = Service(answer)
    found = asyncio.run(go(service))
    assert [(i, live.status.value) for i, live in found.items()] == [
        ("a", "found"),
        ("b", "unreadable"),
        ("c", "found"),
    ]
    assert len(service.seen) == 3


def test_a_refused_key_ends_the_reading() -> None:
    """Every other read would fail alike."""

    async def go() -> Any:
        async with transport(Service(lambda _: fail(401, "API_102"))) as client:
            ids = [StrategyId(f"s{n}") for n in range(5)]
            return await read_cadences(api_of(client), ids, parallelism=2)

    with pytest.raises(ApiError) as raised:
        asyncio.run(go())
    assert raised.value.kind is FailureKind.UNAUTHENTICATED
