"""The calls of v2: paths, bodies, what an answer means, the list with all that can be odd about it, and scopes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from stub_service import Request, Service, api_of, fail, ok, script, sent, transport

from reconciler.api.client import MOST_IDLE_PAGES, Glider
from reconciler.api.fleet import read_fleet
from reconciler.api.key import require_scopes
from reconciler.api.v2 import confirmation_of_v2, live_of_v2
from reconciler.core.errors import ApiError, ExitReason, FailureKind, exit_reason_of
from reconciler.core.fleet import SINGLY, Listing, Unmanaged
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Live, Paths, PortfolioId, Status
from reconciler.core.ports import Confirmation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.core.fleet import Fleet, PortfolioList

ID = PortfolioId("pf_01JWZEE2MF30KVRMRX53N88VA4")
DUE, LAST = "2026-04-16T12:00:00.000Z", "2026-04-15T12:00:00.000Z"
DUE_MS, LAST_MS = 1_776_340_800_000, 1_776_254_400_000
DAY = 86_400_000


def row(portfolio: str = ID, status: object = "active", **fields: object) -> dict[str, object]:
    """Return a row as documented (API facts §1.4), with other values where given."""
    return {
        "portfolioId": portfolio,
        "portfolioName": "Alice Portfolio",
        "ownerAccountId": "eip155:0:0xabc",
        "strategyId": "01JWZEE2MF30KVRMRX53N88VA4",
        "strategyName": "Momentum",
        "smartAccounts": [{"accountId": "eip155:8453:0xe3a2"}],
        "schedule": {
            "status": status,
            "frequency": "daily",
            "intervalMs": DAY,
            "nextDueAt": DUE,
            "lastRebalanceAt": LAST,
        },
        "createdAt": "2026-04-10T08:30:00.000Z",
        **fields,
    }


def call(service: Service, act: Callable[[Glider], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        async with transport(service) as client:
            return await act(api_of(client, ApiVersion.V2))

    return asyncio.run(go())


def test_a_portfolio_is_read_as_documented() -> None:
    """Status, cadence, next and last run, name and strategy come from the documented fields."""
    service = Service(script(ok(row())))
    live = call(service, lambda api: api.read(ID))
    assert live == Live(
        id=ID,
        status=Status.ACTIVE,
        word="active",
        interval_ms=DAY,
        next_run_ms=DUE_MS,
        scheduled_ms=(LAST_MS,),
        name="Alice Portfolio",
        strategy="01JWZEE2MF30KVRMRX53N88VA4",
        strategy_name="Momentum",
    )
    assert service.calls == [f"GET /v2/portfolios/{ID}"]


def test_what_a_paused_one_was_due_is_no_next_run() -> None:
    """The left-over time tells one pause from the next, and is shown to nobody as a run (API facts §1.3)."""
    live = live_of_v2(ID, {"data": row(status="paused")})
    assert (live.status, live.next_run_ms) == (Status.PAUSED, None)
    assert live.schedule_id == f"due {DUE}"


ODD_SCHEDULES: dict[str, tuple[object, Status, str]] = {
    "null": (None, Status.NO_SCHEDULE, ""),
    "unknown word": ({"status": "\x1b[31mhibernating"}, Status.UNKNOWN, "\\u{1b}[31mhibernating"),
    "inactive is no word of v2": ({"status": "inactive"}, Status.UNKNOWN, "inactive"),
    "the word alone": ({"status": "active"}, Status.ACTIVE, "active"),
    "another case": ({"status": "PAUSED"}, Status.PAUSED, "paused"),
    "unknown word in another case": ({"status": "Draining"}, Status.UNKNOWN, "Draining"),
    "nulls": (
        {"status": "paused", "frequency": None, "intervalMs": None, "nextDueAt": None, "lastRebalanceAt": None},
        Status.PAUSED,
        "paused",
    ),
    "wrong types": (
        {"status": "paused", "intervalMs": "daily", "nextDueAt": 7, "lastRebalanceAt": ["x"]},
        Status.PAUSED,
        "paused",
    ),
}


@pytest.mark.parametrize("name", ODD_SCHEDULES)
def test_an_odd_schedule(name: str) -> None:
    """Only the word decides; a null or absent schedule is none; whatever else is odd counts as missing."""
    schedule, status, word = ODD_SCHEDULES[name]
    live = live_of_v2(ID, {"data": row(schedule=schedule)})
    assert (live.status, live.word) == (status, word)
    assert (live.interval_ms, live.next_run_ms, live.scheduled_ms, live.schedule_id) == (None, None, (), None)


def test_an_absent_schedule_is_none() -> None:
    """As null is."""
    assert live_of_v2(ID, {"data": {"portfolioId": ID}}) == Live(id=ID, status=Status.NO_SCHEDULE)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"portfolioId": 3},
        {"portfolioId": "another"},
        row(schedule="daily"),
        row(schedule={"frequency": "daily"}),
        row(schedule={"status": 3}),
    ],
)
def test_an_answer_that_is_none(data: object) -> None:
    """An answer about nothing, about another portfolio, or without a status word is malformed."""
    with pytest.raises(ApiError) as caught:
        live_of_v2(ID, {"data": data})
    assert caught.value.kind is FailureKind.MALFORMED


def test_hostile_names_are_harmless() -> None:
    """Names are made harmless where they come in; those of another type count as missing."""
    live = live_of_v2(ID, {"data": row(portfolioName="\u202ea\x07", strategyId=["x"])})
    assert (live.name, live.strategy) == ("\\u{202e}a\\u{7}", None)


def test_start_and_stop() -> None:
    """Resume is POST start and pause POST stop, with an empty body: v2 takes no reason."""
    service = Service(script(ok(row())))
    confirmation = call(service, lambda api: sent(api, Call.RESUME, ID, reason="Audit"))
    call(service, lambda api: sent(api, Call.PAUSE, ID, reason="Audit"))
    assert service.calls == [f"POST /v2/portfolios/{ID}/start", f"POST /v2/portfolios/{ID}/stop"]
    assert [request.json() for request in service.seen] == [{}, {}]
    assert confirmation == confirmation_of_v2(ID, {"data": row(schedule=None)}) == Confirmation()


def test_what_v2_does_not_have_is_never_sent() -> None:
    """A start with an interval and an update of a schedule are refused here, and change nothing."""
    service = Service(script(ok(row())))
    for act in (
        lambda api: sent(api, Call.START, ID, interval_ms=DAY, offset_ms=None, run_on_start=False),
        lambda api: sent(api, Call.UPDATE_SCHEDULE, ID, interval_ms=DAY, offset_ms=None),
    ):
        with pytest.raises(ApiError, match="not sent") as caught:
            call(service, act)
        assert not caught.value.may_have_taken_effect
    assert service.calls == []


@pytest.mark.parametrize("portfolio", ["../whoami", "a/b", "", "a" * 129, "ä"])
def test_nothing_but_an_id_reaches_a_path(portfolio: str) -> None:
    """Whatever is no id is refused before it is sent."""
    service = Service(script(ok(row())))
    with pytest.raises(ApiError, match="not sent"):
        call(service, lambda api: api.read(PortfolioId(portfolio)))
    assert service.calls == []


def test_a_404_is_a_state() -> None:
    """A portfolio that is not there, or another tenant's, is NOT_FOUND (API facts §1.3)."""
    assert call(Service(script(fail(404, "API_200"))), lambda api: api.read(ID)).status is Status.NOT_FOUND


def page(*rows: object, cursor: object = None) -> tuple[int, dict[str, str], bytes]:
    return ok({"portfolios": list(rows)}, nextCursor=cursor)


def listed(*answers: tuple[int, dict[str, str], bytes]) -> tuple[PortfolioList, Service]:
    service = Service(script(*answers))
    return call(service, lambda api: api.list_portfolios()), service


def test_the_list_follows_the_cursor() -> None:
    """200 a page, without a filter, each cursor quoted; rows come out by id."""
    found, service = listed(page(row("b"), cursor="a/b?c=&é"), page(row("a")))
    assert list(found.rows) == ["a", "b"]
    assert found.complete
    assert [request.path for request in service.seen] == ["/v2/portfolios"] * 2
    assert [parse_qs(request.query) for request in service.seen] == [
        {"limit": ["200"]},
        {"limit": ["200"], "cursor": ["a/b?c=&é"]},
    ]


def test_the_later_row_of_one_portfolio_counts() -> None:
    """Rows shift between pages; the later one was read later, and nobody is counted twice."""
    seen: list[str] = []
    service = Service(script(page(row("a"), row("b"), cursor="2"), page(row("b", "paused"), row("c"))))
    found = call(service, lambda api: api.list_portfolios(lambda live: seen.append(live.id)))
    assert {name: live.status.value for name, live in found.rows.items()} == {
        "a": "active",
        "b": "paused",
        "c": "active",
    }
    assert seen == ["a", "b", "c"]


def test_the_next_page_is_asked_for_before_the_rows_are_read() -> None:
    """As soon as its cursor is known: most rows of a page are read while the next one is on its way."""
    asked: list[int] = []
    service = Service(script(page(*(row(f"p{number}") for number in range(200)), cursor="2"), page(row("last"))))
    found = call(service, lambda api: api.list_portfolios(lambda _: asked.append(len(service.seen))))
    assert len(found.rows) == 201
    assert asked.count(1) < 100
    assert asked[199:] == [2, 2]


def test_nothing_is_left_under_way_where_a_list_ends_early() -> None:
    """A list that leads nowhere ends while its next page is asked for; that request is given up."""

    async def main() -> int:
        never = asyncio.Event()
        numbers = iter(range(100))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            number = next(numbers)
            if number > MOST_IDLE_PAGES:
                await never.wait()
            status, _, body = page(cursor=str(number))
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": body})

        async with transport(app) as client:
            found = await api_of(client, ApiVersion.V2).list_portfolios()
        assert "has no end" in str(found.failure)
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_a_cursor_inside_data_is_followed() -> None:
    """A client has seen it there (API facts §4.7); beside data it wins."""
    inside = ok({"portfolios": [row("a")], "nextCursor": "2"})
    found, _ = listed(inside, page(row("b")))
    assert list(found.rows) == ["a", "b"]
    found, service = listed(ok({"portfolios": [row("a")], "nextCursor": "2"}, nextCursor=None), page(row("b")))
    assert (list(found.rows), len(service.seen)) == (["a"], 1)


def test_a_full_page_without_a_word_of_the_end_is_not_the_end() -> None:
    """Rows are believed, but nobody calls such a list complete; a short page needs no word."""
    full = [row(f"p{number}") for number in range(200)]
    found, _ = listed(ok({"portfolios": full}))
    assert (len(found.rows), found.complete, found.failure) == (200, False, None)
    found, _ = listed(ok({"portfolios": full[:199]}))
    assert found.complete


def test_a_failed_page_ends_the_list() -> None:
    """What came before stays true; the list is not complete, and says why."""
    found, _ = listed(page(row("a"), cursor="2"), fail(403, "API_104"))
    assert list(found.rows) == ["a"]
    assert not found.complete
    assert found.failure is not None
    assert found.failure.kind is FailureKind.FORBIDDEN


def test_an_empty_cursor_is_the_end() -> None:
    """It names no place to go on from, beside ``data`` or in it."""
    found, service = listed(page(row("a"), cursor=""))
    assert (list(found.rows), found.complete, len(service.seen)) == (["a"], True, 1)
    found, service = listed(ok({"portfolios": [row("a")], "nextCursor": ""}))
    assert (list(found.rows), found.complete, len(service.seen)) == (["a"], True, 1)


@pytest.mark.parametrize("answer", [ok(None), ok({}), ok({"portfolios": {}}), page(cursor=7), page(cursor="x" * 4097)])
def test_a_page_that_is_none(answer: tuple[int, dict[str, str], bytes]) -> None:
    """An answer without a list, or with a cursor that is none, is malformed."""
    found, _ = listed(answer)
    assert found.failure is not None
    assert found.failure.kind is FailureKind.MALFORMED


def test_a_list_that_goes_round_ends() -> None:
    """A cursor that comes again is an error, not an endless run."""
    found, service = listed(page(row("a"), cursor="2"))
    assert found.failure is not None
    assert "has no end" in str(found.failure)
    assert len(service.seen) == 2


@pytest.mark.parametrize("rows", [[], [row("a")], [row("a"), row("b")], ["nobody"]], ids=["empty", "one", "two", "odd"])
def test_a_list_that_leads_nowhere_ends(rows: list[Any]) -> None:
    """Ever new cursors without a further portfolio are refused after a few pages, not after five thousand."""
    numbers = iter(range(10_000))
    service = Service(lambda _: page(*rows, cursor=str(next(numbers))))
    found = call(service, lambda api: api.list_portfolios())
    assert "has no end" in str(found.failure)
    assert len(service.seen) <= MOST_IDLE_PAGES + 3  # the last one was asked for before the rows of the one before


def test_a_list_may_pause() -> None:
    """A few pages in a row that repeat or name nobody are passed over, again and again."""
    idle = [page(cursor=f"idle {number}") for number in range(MOST_IDLE_PAGES)]
    again = [page(row("a"), cursor=f"again {number}") for number in range(MOST_IDLE_PAGES)]
    found, _ = listed(*idle, page(row("a"), cursor="a"), *again, page(row("b")))
    assert (list(found.rows), found.complete) == (["a", "b"], True)


def test_rows_that_name_nobody() -> None:
    """They are no declared portfolio, but what is unmanaged is not known any more."""
    found, _ = listed(page("row", None, row(portfolioId=None), row("no/id"), row("a")))  # type: ignore[arg-type]
    assert list(found.rows) == ["a"]
    assert (found.unreadable, found.complete) == (4, False)


def test_a_row_that_can_not_be_understood_is_unreadable_alone() -> None:
    """Its neighbours are read; it keeps its name, and nobody takes it for unmanaged and gone."""
    found, _ = listed(page(row("a", 3), row("b")))
    assert [live.status for live in found.rows.values()] == [Status.UNREADABLE, Status.ACTIVE]
    assert [live.failure and live.failure.operation for live in found.rows.values()] == [
        "list of portfolios, page 1",
        None,
    ]
    assert found.rows[PortfolioId("a")].name == "Alice Portfolio"
    assert found.complete


def test_a_refused_key_is_raised() -> None:
    """Every further call would fail alike."""
    with pytest.raises(ApiError) as caught:
        listed(fail(401))
    assert caught.value.kind is FailureKind.UNAUTHENTICATED


class Watcher:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def read(self, portfolio: PortfolioId, failure: ApiError | None) -> None:
        self.seen.append(f"{portfolio} {failure.kind.value if failure else 'ok'}")


def fleet_of(
    answer: Callable[[Request], tuple[int, dict[str, str], bytes]], versions: dict[str, str], *, whole: bool = True
) -> tuple[Fleet, Service, Watcher]:
    service, watcher = Service(answer), Watcher()
    known = {PortfolioId(name): ApiVersion(version) for name, version in versions.items()}

    async def go() -> Fleet:
        async with transport(service) as client:
            api = Glider(client, paths=Paths.AUTO, versions=known)
            return await read_fleet(api, known, whole=whole, parallelism=4, observer=watcher)

    return asyncio.run(go()), service, watcher


def service_of(*names: str, singles: str = "") -> Callable[[Request], tuple[int, dict[str, str], bytes]]:
    """List these; read one by one what ``singles`` holds, v1 always."""

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/v2/portfolios":
            return page(*(row(name) for name in names))
        name = request.path.split("/")[3]
        if request.path.startswith("/v1/"):
            return ok({"portfolioId": name, "status": "active"})
        return ok(row(name, "paused")) if name in singles.split() else fail(404, "API_200")

    return answer


def test_a_mixed_fleet_is_read_by_list_and_one_by_one() -> None:
    """v2 by its list, v1 singly, what the list lacks singly too; each is told to the observer once."""
    found, service, watcher = fleet_of(
        service_of("a", "b", "z", singles="late"), {"a": "v2", "b": "v2", "one": "v1", "late": "v2", "gone": "v2"}
    )
    assert {name: live.status.value for name, live in found.live.items()} == {
        "a": "active",
        "b": "active",
        "gone": "not_found",
        "late": "paused",
        "one": "active",
    }
    gone = found.live[PortfolioId("gone")]
    assert gone.failure is not None
    assert gone.failure.detail == "v1 has it: declare it with `api: v1`"  # it was looked for there, once
    assert sorted(service.calls) == [
        "GET /v1/portfolio/gone/automation/status",
        "GET /v1/portfolio/one/automation/status",
        "GET /v2/portfolios",
        "GET /v2/portfolios/gone",
        "GET /v2/portfolios/late",
    ]
    assert sorted(watcher.seen) == ["a ok", "b ok", "gone ok", "late ok", "one ok"]
    assert found.listing is Listing.COMPLETE
    assert found.unmanaged(found.live) == (
        Unmanaged(
            id=PortfolioId("z"),
            name="Alice Portfolio",
            status=Status.ACTIVE,
            strategy="01JWZEE2MF30KVRMRX53N88VA4",
        ),
    )
    assert found.listed is not None
    assert found.listed.enrolled("01JWZEE2MF30KVRMRX53N88VA4") == 3


def test_v1_alone_lists_nothing() -> None:
    """Without a v2 portfolio nobody asks v2 anything, and unmanaged is not known."""
    found, service, _ = fleet_of(service_of("z"), {"one": "v1"})
    assert service.calls == ["GET /v1/portfolio/one/automation/status"]
    assert (found.listing, found.unmanaged(())) == (Listing.NONE, ())


def test_a_few_that_were_picked_are_read_one_by_one() -> None:
    """A selection reads what it selects; only a large one is cheaper by the list."""
    few = {f"p{number}": "v2" for number in range(SINGLY)}
    found, service, _ = fleet_of(service_of(), few, whole=False)
    assert (len(service.seen), found.listing) == (SINGLY, Listing.NONE)
    found, service, _ = fleet_of(service_of(*few, "more"), {**few, "more": "v2"}, whole=False)
    assert (len(service.seen), found.listing) == (1, Listing.COMPLETE)


def test_a_list_that_fails_blocks_what_it_did_not_come_to() -> None:
    """The unseen are unreadable with that failure, v1 is read all the same, and unmanaged is not known."""

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path.startswith("/v1/"):
            return ok({"portfolioId": "one", "status": "active"})
        return page(row("a"), row("z"), cursor="2") if "cursor" not in request.query else fail(400)

    found, service, watcher = fleet_of(answer, {"a": "v2", "b": "v2", "one": "v1"})
    assert {name: live.status.value for name, live in found.live.items()} == {
        "a": "active",
        "b": "unreadable",
        "one": "active",
    }
    assert sorted(watcher.seen) == ["a ok", "b refused", "one ok"]
    assert len(service.seen) == 3
    assert (found.listing, found.unmanaged(())) == (Listing.INCOMPLETE, ())
    assert found.listed is not None
    assert found.listed.enrolled("01JWZEE2MF30KVRMRX53N88VA4") is None


def test_a_refused_key_stops_both_ways_of_reading() -> None:
    """It comes out as itself, after a few requests, whatever the other half was doing."""
    versions = {f"p{number}": "v1" for number in range(300)} | {"a": "v2"}
    with pytest.raises(ApiError) as caught:
        fleet_of(lambda request: fail(401), versions)
    assert caught.value.kind is FailureKind.UNAUTHENTICATED


@pytest.mark.slow
def test_ten_thousand_are_read_in_fifty_calls() -> None:
    """⌈N/200⌉ calls for N portfolios (API facts §7)."""
    names = [f"p{number:05}" for number in range(10_000)]

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        start = int(parse_qs(request.query).get("cursor", ["0"])[0])
        end = start + int(parse_qs(request.query)["limit"][0])
        return page(*(row(name) for name in names[start:end]), cursor=str(end) if end < len(names) else None)

    found, service, _ = fleet_of(answer, dict.fromkeys(names, "v2"))
    assert len(service.seen) == 50
    assert list(found.live) == names
    assert {live.status for live in found.live.values()} == {Status.ACTIVE}


def test_the_router_keeps_the_versions_apart() -> None:
    """Each call goes to the portfolio's own API; what is not known is v1's; settling may look elsewhere."""
    service = Service(service_of(singles="two"))
    two = PortfolioId("two")

    async def go() -> None:
        async with transport(service) as client:
            api = Glider(client, paths=Paths.AUTO, versions={two: ApiVersion.V2})
            await api.read(two)
            await api.read(PortfolioId("unknown"))
            await api.by({two: ApiVersion.V1}).read(two)
            assert api.version_of(two) is ApiVersion.V2

    asyncio.run(go())
    assert service.calls == [
        "GET /v2/portfolios/two",
        "GET /v1/portfolio/unknown/automation/status",
        "GET /v1/portfolio/two/automation/status",
    ]


def scopes_of(answer: tuple[int, dict[str, str], bytes], *needed: str) -> tuple[str | None, list[str]]:
    service = Service(script(answer))

    async def go() -> str | None:
        async with transport(service) as client:
            return await require_scopes(client, needed)

    return asyncio.run(go()), service.calls


WRITE, CADENCE = "portfolios:write", "strategies:write"


def test_enough_scopes_need_no_word() -> None:
    """The key has what is needed: one call, and nothing to say. Nothing needed, nothing asked."""
    account = ok({"tenantName": "x", "scopes": ["portfolios:read", "portfolios:write"]})
    assert scopes_of(account, WRITE) == (None, ["GET /v2/whoami"])
    assert scopes_of(account) == (None, [])


@pytest.mark.parametrize(
    "scopes",
    [
        [{"name": "portfolios:read"}, {"name": "portfolios:write", "tier": "standard"}],
        [["portfolios:read", "portfolios:write"]],
        [[{"name": "portfolios:write"}], "portfolios:read"],
        ["PORTFOLIOS:READ", "Portfolios:Write"],
    ],
)
def test_scopes_in_another_shape_are_read(scopes: object) -> None:
    """As objects with their name, in lists inside the list, in another case; and what is missing is still named."""
    assert scopes_of(ok({"scopes": scopes}), WRITE)[0] is None
    with pytest.raises(ApiError, match="lacks the scope strategies:write"):
        scopes_of(ok({"scopes": scopes}), CADENCE)


def test_a_missing_scope_is_named() -> None:
    """With the console where it is given; the run exits as for any key that may not."""
    with pytest.raises(ApiError) as caught:
        scopes_of(ok({"scopes": ["portfolios:read"]}), WRITE, CADENCE)
    assert str(caught.value) == "the key lacks the scope portfolios:write and strategies:write"
    assert "console.glidercloud.dev" in caught.value.detail
    assert exit_reason_of(caught.value.kind) is ExitReason.PERMISSION


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fail(403, "API_105"), "a legacy static key"),
        (fail(404, "API_006"), "could not be read"),
        (fail(500), "could not be read"),
        (ok({"tenantName": "x"}), "does not tell the scopes"),
        (ok(None), "does not tell the scopes"),
        (ok({"scopes": "all"}), "does not tell the scopes"),
        (ok({"scopes": "*"}), "does not tell the scopes"),
        (ok({"scopes": ["*"]}), "does not tell the scopes"),
        (ok({"scopes": ["portfolios:*", "strategies:read"]}), "does not tell the scopes"),
        (ok({"scopes": {"name": "portfolios:read"}}), "does not tell the scopes"),
        (ok({"scopes": {"portfolios:read": True}}), "does not tell the scopes"),
        (ok({"scopes": [{"scope": "portfolios:read"}]}), "does not tell the scopes"),
        (ok({"scopes": [{"name": 7}, "portfolios:read"]}), "does not tell the scopes"),
        (ok({"scopes": ["portfolios:read", None]}), "does not tell the scopes"),
        (ok({"scopes": [""]}), "does not tell the scopes"),
        (ok({"scopes": [[[[[["portfolios:read"]]]]]]}), "does not tell the scopes"),
    ],
)
def test_scopes_that_can_not_be_known_are_told_and_no_reason_to_stop(
    answer: tuple[int, dict[str, str], bytes], said: str
) -> None:
    """The service itself refuses what a key may not do, and nothing is done then."""
    note, _ = scopes_of(answer, WRITE)
    assert note is not None
    assert said in note


def test_a_key_that_is_refused_at_whoami_ends_the_run() -> None:
    """It would be refused everywhere."""
    with pytest.raises(ApiError) as caught:
        scopes_of(fail(401), WRITE)
    assert caught.value.kind is FailureKind.UNAUTHENTICATED
