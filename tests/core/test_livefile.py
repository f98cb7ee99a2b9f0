"""The live file: what is written is what is read back, and nothing else is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Blocked, BlockReason
from reconciler.core.codec import LATEST_MS
from reconciler.core.errors import ApiError, ExitReason, FailureKind, LiveInvalid
from reconciler.core.fleet import SINGLY, Listing, PortfolioList
from reconciler.core.livefile import JoinedLive, LiveFile, format_live, join_live, parse_live
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    Live,
    PortfolioId,
    RunState,
    Signs,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
)
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.shares import WHOLE, Shard
from reconciler.core.text import LONGEST_TEXT, harmless
from tests.support import BASE_URL, HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = st.text("abcXYZ019_-", min_size=1, max_size=12).map(PortfolioId)
TEXTS = st.text(max_size=40).map(harmless) | st.text("\x00\u202e\U0010ffff", max_size=LONGEST_TEXT).map(harmless)
TIMES = st.integers(0, LATEST_MS)
NUMBERS = st.integers(0, 10**15)
FAILURES = st.builds(
    ApiError,
    st.sampled_from(FailureKind),
    TEXTS,
    status=st.none() | st.integers(100, 599),
    code=st.none() | TEXTS,
    request_id=st.none() | TEXTS,
    correlation_id=st.none() | TEXTS,
)
SHARDS = st.integers(1, 9).flatmap(lambda of: st.builds(Shard, st.integers(1, of), st.just(of)))


def lives(portfolio: PortfolioId) -> st.SearchStrategy[Live]:
    return st.builds(
        Live,
        id=st.just(portfolio),
        status=st.sampled_from(Status),
        word=TEXTS,
        interval_ms=st.none() | st.integers(1, 10**15),
        offset_ms=st.none() | NUMBERS,
        schedule_id=st.none() | TEXTS,
        pause_reason=st.none() | TEXTS,
        next_run_ms=st.none() | TIMES,
        scheduled_ms=st.lists(TIMES, max_size=4).map(lambda times: tuple(sorted(times, reverse=True))),
        runs=st.none() | NUMBERS,
        name=st.none() | TEXTS,
        strategy=st.none() | TEXTS,
        strategy_name=st.none() | TEXTS,
        failure=st.none() | FAILURES,
    )


def cadences(strategy: StrategyId) -> st.SearchStrategy[StrategyLive]:
    found = st.builds(
        StrategyLive, id=st.just(strategy), status=st.just(StrategyStatus.FOUND), cadence=st.sampled_from(Cadence)
    )
    other = st.builds(
        StrategyLive,
        id=st.just(strategy),
        status=st.sampled_from([status for status in StrategyStatus if status is not StrategyStatus.FOUND]),
        word=TEXTS,
        failure=st.none() | FAILURES,
    )
    return found | other


@st.composite
def lists(draw: st.DrawFn, live: dict[PortfolioId, Live]) -> PortfolioList:
    """Return a list of v2 that holds some of what was read, and more: also rows that say something else of it."""
    rows = {i: draw(st.just(one) | lives(i)) for i, one in live.items() if draw(st.booleans())}
    rows |= {i: draw(lives(i)) for i in draw(st.lists(IDS, max_size=3, unique=True))}
    return PortfolioList(
        rows=dict(sorted(rows.items())), failure=draw(st.none() | FAILURES), unreadable=draw(st.integers(0, 3))
    )


@st.composite
def live_files(draw: st.DrawFn) -> LiveFile:
    """Return a look at a few portfolios and strategies, keyed and sorted as the program does."""
    ids = sorted(draw(st.lists(IDS, max_size=4, unique=True)))
    live = {i: draw(lives(i)) for i in ids}
    listed = draw(st.none() | lists(live))
    strategies = sorted(StrategyId(i) for i in draw(st.lists(IDS, max_size=3, unique=True)))
    return LiveFile(
        base_url=draw(st.sampled_from([BASE_URL, "https://api.glider.fi"])),
        as_of_ms=draw(st.integers(NOON_MS - 10**12, NOON_MS + 10**12)),
        live=live,
        account=draw(st.none() | TEXTS),
        shard=draw(SHARDS),
        round=draw(TEXTS),
        config_digest=draw(TEXTS),
        versions={i: draw(st.sampled_from(ApiVersion)) for i in ids},
        listed=listed,
        strategies={s: draw(cadences(s)) for s in strategies},
    )


def told(found: LiveFile) -> dict[str, Any]:
    """Return all of it with failures that compare by what they tell; exceptions compare by identity."""
    rows = found.listed.rows if found.listed is not None else {}
    failure = found.listed.failure if found.listed is not None else None
    lasting = replace(found, live={}, strategies={}, listed=None)
    ends = (failure and vars(failure), found.listed and found.listed.unreadable)
    told: dict[str, Any] = {"": (lasting, ends)}
    for kind, ones in (("live", found.live), ("row", rows), ("strategy", found.strategies)):
        for i, one in ones.items():
            told[f"{kind} {i}"] = (replace(one, failure=None), one.failure and vars(one.failure))
    return told


SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A whole live file has a hundred random values: drawing it takes long the first time, testing it does not."""


@pytest.mark.slow
@SLOW
@given(live_files())
def test_what_is_written_is_read_back(found: LiveFile) -> None:
    """Parsing what was formatted gives the same look at the service, and formatting that the same text."""
    text = format_live(found)
    again = parse_live(text)
    assert told(again) == told(found)
    assert list(told(again)) == list(told(found))
    assert format_live(again) == text


def test_no_field_is_forgotten() -> None:
    """Whatever a read tells of a portfolio is in the file: what a plan may need can't be left behind."""
    ada, told = PortfolioId("ada"), ApiError(FailureKind.SERVER, "it broke")
    words = dict.fromkeys(("word", "schedule_id", "pause_reason", "name", "strategy", "strategy_name"), "x")
    numbers = dict.fromkeys(("interval_ms", "offset_ms", "next_run_ms", "runs"), 1)
    signs = Signs(value_usd=1.0, trigger_percent=1.0, gas_used=1)
    full = Live(id=ada, status=Status.ACTIVE, scheduled_ms=(1,), signs=signs, failure=told, **words, **numbers)
    document = whole(replace(full, id=PortfolioId("pf_a"))) | {"portfolios": []}
    (row,) = document["list"]["portfolios"]
    assert row.keys() == set(Live.__struct_fields__)
    assert row["signs"].keys() == set(Signs.__struct_fields__)
    assert document["list"].keys() == {"portfolios", "failure", "unreadable"}
    assert set(PortfolioList.__struct_fields__) == {"rows", "failure", "unreadable"}


def test_a_listed_portfolio_stands_in_the_file_once() -> None:
    """A declared portfolio that came from the list is marked as listed; what the list says otherwise is kept beside."""
    ada, bob = PortfolioId("ada"), PortfolioId("bob")
    live = {i: Live(id=i, status=Status.ACTIVE) for i in (ada, bob)}
    listed = PortfolioList(rows={ada: live[ada], bob: Live(id=bob, status=Status.PAUSED)})
    found = LiveFile(
        base_url=BASE_URL,
        as_of_ms=NOON_MS,
        live=live,
        versions={ada: ApiVersion.V2, bob: ApiVersion.V1},
        listed=listed,
    )
    document = json.loads(format_live(found))
    assert [(one["id"], one["api"], one.get("listed")) for one in document["portfolios"]] == [
        ("ada", "v2", True),
        ("bob", "v1", None),
    ]
    assert [(one["id"], one["status"]) for one in document["list"]["portfolios"]] == [("bob", "paused")]


@pytest.mark.parametrize(
    ("api", "version", "expected"),
    [
        (ApiVersion.V1, ApiVersion.V1, Status.ACTIVE),
        (ApiVersion.V2, ApiVersion.V2, Status.ACTIVE),
        (ApiVersion.V2, ApiVersion.V1, Status.PAUSED),
        (ApiVersion.V1, ApiVersion.V2, Status.NOT_READ),
    ],
)
def test_what_was_read_on_the_other_api_proves_nothing(api: ApiVersion, version: ApiVersion, expected: Status) -> None:
    """A portfolio counts as read on the API that it is declared with; the list speaks of v2 alone."""
    ada = PortfolioId("ada")
    found = LiveFile(
        base_url=BASE_URL,
        as_of_ms=NOON_MS,
        live={ada: Live(id=ada, status=Status.ACTIVE)},
        versions={ada: version},
        listed=PortfolioList(rows={ada: Live(id=ada, status=Status.PAUSED)}),
    )
    desired = {ada: Desired(id=ada, state=RunState.PAUSED, api=api)}
    assert joined(found).fleet_of(desired, whole=True).live[ada].status is expected


@pytest.mark.parametrize(
    ("of_v2", "whole", "failure", "expected"),
    [
        (1, True, None, Listing.COMPLETE),
        (1, True, ApiError(FailureKind.SERVER, "down"), Listing.INCOMPLETE),
        (0, True, None, Listing.NONE),
        (SINGLY, False, None, Listing.NONE),
        (SINGLY + 1, False, None, Listing.COMPLETE),
    ],
)
def test_the_list_counts_where_a_read_would_have_asked_for_it(
    of_v2: int, whole: bool, failure: ApiError | None, expected: Listing
) -> None:
    """So the plan knows as much of what is unmanaged as one made at once, and not more."""
    ids = [PortfolioId(f"p{number:02}") for number in range(of_v2)]
    one = PortfolioId("one")
    wanted = {one: Desired(id=one, state=RunState.PAUSED)}
    wanted |= {i: Desired(id=i, state=RunState.PAUSED, api=ApiVersion.V2) for i in ids}
    listed = PortfolioList(
        rows={i: Live(id=i, status=Status.PAUSED) for i in (*ids, PortfolioId("z"))}, failure=failure
    )
    found = LiveFile(base_url=BASE_URL, as_of_ms=NOON_MS, live={}, versions={}, listed=listed)
    fleet = joined(parse_live(format_live(found))).fleet_of(wanted, whole=whole)
    assert fleet.listing is expected
    assert [u.id for u in fleet.unmanaged(wanted)] == (["z"] if expected is Listing.COMPLETE else [])


def test_a_file_leaves_unknown_what_it_does_not_tell() -> None:
    """Where an entry says no more than its status, nothing else is known of it, and nothing of the list."""
    document = whole() | {"list": None, "strategies": []}
    entry = document["portfolios"][0]
    document["portfolios"] = [{"id": entry["id"], "status": entry["status"], "api": "v2"}]
    found = parse_live(json.dumps(document))
    ada = PortfolioId("aaa")
    assert found.live == {ada: Live(id=ada, status=Status.UNREADABLE)}
    assert (found.listed, found.strategies) == (None, {})
    fleet = joined(found).fleet_of({ada: Desired(id=ada, state=RunState.PAUSED, api=ApiVersion.V2)}, whole=True)
    assert fleet.listing is Listing.NONE


@pytest.mark.slow
@SLOW
@given(live_files(), st.lists(IDS, min_size=1, max_size=4, unique=True))
def test_what_is_not_in_the_file_is_blocked(found: LiveFile, wanted: list[PortfolioId]) -> None:
    """Every wanted portfolio that the file does not hold is blocked, and none of them counts as unchanged."""
    desired = {i: Desired(id=i, state=RunState.PAUSED) for i in sorted(wanted)}
    fleet = joined(found).fleet_of(desired, whole=True)
    plan = build_plan(Plan(base_url=BASE_URL, created_ms=NOON_MS), desired, fleet.live, Memory())
    missing = {i for i in wanted if i not in found.live}
    blocked = {b.id for b in plan.blocked if b.reason is BlockReason.NOT_READ and b.status == "not_read"}
    assert missing <= blocked
    assert plan.managed == len(wanted)


def test_the_fingerprint_is_of_the_meaning_not_of_the_time() -> None:
    """A plan from a live file has the fingerprint of the same plan made at once."""
    ada = PortfolioId("aaa")
    plan = build_plan(
        Plan(base_url=BASE_URL, created_ms=NOON_MS),
        {ada: Desired(id=ada, state=RunState.PAUSED)},
        {ada: Live(id=ada, status=Status.ACTIVE)},
        Memory(),
    )
    assert fingerprint(replace(plan, as_of_ms=NOON_MS - 1)) == fingerprint(plan)


def test_the_repair_is_named() -> None:
    """The sentence of a portfolio that is not in the file says how to get one that holds it."""
    ada = PortfolioId("aaa")
    found = LiveFile(base_url=BASE_URL, as_of_ms=NOON_MS, live={}, versions={})
    desired = {ada: Desired(id=ada, state=RunState.ACTIVE, interval_ms=HOUR_MS)}
    fleet = joined(found).fleet_of(desired, whole=True)
    plan = build_plan(Plan(base_url=BASE_URL, created_ms=NOON_MS), desired, fleet.live, Memory())
    assert plan.blocked == (
        Blocked(
            id=ada,
            reason=BlockReason.NOT_READ,
            detail="the live file does not hold it; make one that does with `reconciler status --out FILE`",
            status="not_read",
        ),
    )


def joined(found: LiveFile) -> JoinedLive:
    """Return what a file holds, as if it were the only share."""
    return join_live([("live.json", replace(found, shard=WHOLE))])


def whole(row: Live | None = None) -> dict[str, Any]:
    """Return the document of a file; ``row`` is the one in its list."""
    ada = PortfolioId("aaa")
    failure = ApiError(FailureKind.SERVER, "the service failed", status=500)
    found = LiveFile(
        base_url=BASE_URL,
        as_of_ms=NOON_MS,
        live={ada: Live(id=ada, status=Status.UNREADABLE, scheduled_ms=(9, 5), failure=failure)},
        versions={ada: ApiVersion.V1},
        listed=PortfolioList(rows={PortfolioId("pf_a"): row or Live(id=PortfolioId("pf_a"), status=Status.ACTIVE)}),
        strategies={
            StrategyId("S1"): StrategyLive(id=StrategyId("S1"), status=StrategyStatus.FOUND, cadence=Cadence.DAILY)
        },
    )
    document: dict[str, Any] = json.loads(format_live(found))
    return document


def one(**moved: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["portfolios"][0].update(moved)


def of_list(**moved: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["list"].update(moved)


def of_strategy(**moved: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["strategies"][0].update(moved)


def top(**moved: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(moved)


DAMAGE = {
    "as_of is no time": top(as_of="yesterday"),
    "as_of has no zone": top(as_of="2026-11-22T12:00:00.000"),
    "as_of is a number": top(as_of=NOON_MS),
    "no list": top(portfolios={"aaa": {}}),
    "base URL is null": top(base_url=None),
    "one portfolio twice": lambda document: document["portfolios"].append(document["portfolios"][0]),
    "id leaves the path": one(id="../x"),
    "unknown status": one(status="sleeping"),
    "interval 0": one(interval_ms=0),
    "interval negative": one(interval_ms=-1),
    "interval a fraction": one(interval_ms=1.5),
    "interval true": one(interval_ms=True),
    "offset negative": one(offset_ms=-1),
    "next run past all calendars": one(next_run_ms=LATEST_MS + 1),
    "run before 1970": one(scheduled_ms=[-1]),
    "runs oldest first": one(scheduled_ms=[5, 9]),
    "word is a list": one(word=[]),
    "unknown failure": one(failure={**whole()["portfolios"][0]["failure"], "kind": "tired"}),
    "unknown API": one(api="v3"),
    "no API": one(api=None),
    "share 0": top(shard={"number": 0, "of": 1}),
    "a share beyond the last": top(shard={"number": 3, "of": 2}),
    "a share of none": top(shard=None),
    "round is a number": top(round=7),
    "account is a list": top(account=[]),
    "digest is null": top(config=None),
    "a row that was read on v1": one(listed=True),
    "listed, and no list": lambda document: (one(api="v2", listed=True)(document), document.update(list=None)),
    "a row twice": lambda document: document["list"]["portfolios"].append(document["list"]["portfolios"][0]),
    "a list of nothing": top(list={}),
    "unreadable rows below 0": of_list(unreadable=-1),
    "strategies are null": top(strategies=None),
    "a strategy twice": lambda document: document["strategies"].append(document["strategies"][0]),
    "a strategy leaves the path": of_strategy(id="strategies/S1"),
    "unknown cadence": of_strategy(cadence="yearly"),
    "found without a cadence": of_strategy(cadence=None),
    "a cadence that was not found": of_strategy(status="unreadable"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_no_read_can_have_given_is_refused(damage: Callable[[dict[str, Any]], None]) -> None:
    """A value of another type or out of its bounds makes the whole file invalid, never a plan from half of it."""
    document = whole()
    damage(document)
    with pytest.raises(LiveInvalid) as caught:
        parse_live(json.dumps(document))
    assert caught.value.exit_reason is ExitReason.INVALID
    assert "reconciler status --out FILE" in caught.value.detail


def without(key: str) -> str:
    """Return the whole file without one key; dotted is that of a first entry, and of its record."""
    document = whole()
    *parents, last = key.split(".")
    part: Any = document
    for parent in parents:
        part = part[parent][0] if isinstance(part[parent], list) else part[parent]
    del part[last]
    return json.dumps(document)


@pytest.mark.parametrize(
    "key",
    [
        *(key for key in whole() if key != "tool"),
        *(f"portfolios.{key}" for key in ("id", "status", "api")),
        *(f"shard.{key}" for key in ("number", "of")),
        *(f"portfolios.failure.{key}" for key in whole()["portfolios"][0]["failure"]),
        *(f"list.{key}" for key in whole()["list"]),
        *(f"list.portfolios.{key}" for key in ("id", "status")),
        *(f"strategies.{key}" for key in ("id", "status", "cadence")),
    ],
)
def test_a_key_that_nothing_stands_in_for_is_needed(key: str) -> None:
    """What a file is about, and when it was read, never reads as nothing."""
    with pytest.raises(LiveInvalid, match="not a live file"):
        parse_live(without(key))


DEFAULTS: dict[str, Any] = {"word": "", "scheduled_ms": [], "listed": False}


@pytest.mark.parametrize(
    "key",
    [
        *(f"portfolios.{key}" for key in whole()["portfolios"][0] if key not in ("id", "status", "api")),
        *(f"list.portfolios.{key}" for key in whole()["list"]["portfolios"][0] if key not in ("id", "status")),
    ],
)
def test_a_key_that_is_missing_tells_nothing(key: str) -> None:
    """It means what it means where nothing is known, and the tool's name is for people."""
    document = whole()
    *parents, last = key.split(".")
    part: Any = document
    for parent in parents:
        part = part[parent][0] if isinstance(part[parent], list) else part[parent]
    part[last] = DEFAULTS.get(last)
    assert told(parse_live(without(key))) == told(parse_live(json.dumps(document)))
    assert parse_live(without("tool")).as_of_ms == NOON_MS


@pytest.mark.parametrize("content", ["", "[]", "{}", "7", "{" * 100_000, "[" * 100_000, b"\xff\xfe\x00", "9" * 5000])
def test_other_content_is_refused(content: bytes | str) -> None:
    """What is no live file at all is refused with the same sentence."""
    with pytest.raises(LiveInvalid, match="not a live file"):
        parse_live(content)


def test_a_key_twice_is_refused() -> None:
    """Which of two values counts is nobody's guess."""
    content = json.dumps(whole())
    assert parse_live(content).as_of_ms == NOON_MS
    with pytest.raises(LiveInvalid, match="not a live file"):
        parse_live(content.replace('"status":', '"status": "active", "status":', 1))


def test_other_versions() -> None:
    """A newer minor version with keys that are not known here is read, another major one is refused by its number."""
    newer = {**whole(), "format_version": "3.7", "weather": "fine"}
    assert parse_live(json.dumps(newer)) is not None
    for version in ("1.0", "2.0", "4.0"):
        with pytest.raises(LiveInvalid, match=rf"format version {re.escape(version)}$"):
            parse_live(json.dumps({**whole(), "format_version": version}))


def test_text_from_a_file_is_made_harmless() -> None:
    """A file that somebody wrote steers no terminal: what moves a cursor or hides text becomes visible."""
    document = whole()
    document["base_url"] = "https://\x1b[2Jx"
    document["portfolios"][0] |= {"word": "\u202eactive", "pause_reason": "\x9b31m"}
    found = parse_live(json.dumps(document))
    live = found.live[PortfolioId("aaa")]
    assert (found.base_url, live.word, live.pause_reason) == (r"https://\u{1b}[2Jx", r"\u{202e}active", r"\u{9b}31m")
