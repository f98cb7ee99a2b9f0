"""The live file to the letter: every key, every bound at its end, and what is said of a file that is none."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from msgspec.structs import replace

from reconciler import TOOL
from reconciler.core.codec import LATEST_MS
from reconciler.core.errors import ApiError, FailureKind, LiveInvalid
from reconciler.core.fleet import PortfolioList
from reconciler.core.livefile import LIVE_FORMAT, LiveFile, format_live, join_live, parse_live
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    Live,
    PortfolioId,
    RunState,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
)
from reconciler.core.shares import WHOLE, Shard
from reconciler.core.text import LONGEST_TEXT
from tests.support import BASE_URL, HOUR_MS, NOON_MS

A, B, C, D = (PortfolioId(name) for name in "abcd")
S, T = StrategyId("s"), StrategyId("t")
FAILED = ApiError(FailureKind.SERVER, "it broke", status=500, code="E1", request_id="r1", correlation_id="c1")
PLAIN = ApiError(FailureKind.UNREACHABLE, "no connection")
FULL = Live(
    id=A,
    status=Status.UNKNOWN,
    word="größer",
    interval_ms=HOUR_MS,
    offset_ms=5,
    schedule_id="s1",
    pause_reason="Freeze",
    next_run_ms=NOON_MS,
    scheduled_ms=(9, 5),
    runs=3,
    name="Growth",
    strategy="s",
    strategy_name="Momentum",
)
FOUND = LiveFile(
    base_url=BASE_URL,
    account="Acme EU",
    shard=Shard(1, 8),
    round="4711",
    config_digest="c0ffee",
    as_of_ms=NOON_MS + 7,
    live={A: FULL, B: Live(id=B, status=Status.UNREADABLE, failure=FAILED)},
    versions={A: ApiVersion.V2, B: ApiVersion.V1},
    listed=PortfolioList(
        rows={A: FULL, B: Live(id=B, status=Status.PAUSED), D: Live(id=D, status=Status.ACTIVE)},
        failure=PLAIN,
        unreadable=2,
    ),
    strategies={
        S: StrategyLive(id=S, status=StrategyStatus.FOUND, cadence=Cadence.DAILY),
        T: StrategyLive(id=T, status=StrategyStatus.UNREADABLE, word="odd", failure=PLAIN),
    },
)


def portfolio(which: str, status: str, **more: Any) -> dict[str, Any]:
    """Return the entry of a portfolio of which nothing else is known."""
    return {"id": which, "status": status, **more}


NO_CONNECTION: Final = {
    "kind": "unreachable",
    "message": "no connection",
    "status": None,
    "code": None,
    "request_id": None,
    "correlation_id": None,
}
DOCUMENT: Final[dict[str, Any]] = {
    "format_version": "3.0",
    "tool": TOOL,
    "as_of": "2026-11-22T12:00:00.007Z",
    "base_url": BASE_URL,
    "account": "Acme EU",
    "shard": {"number": 1, "of": 8},
    "round": "4711",
    "config": "c0ffee",
    "portfolios": [
        portfolio(
            "a",
            "unknown",
            word="größer",
            interval_ms=HOUR_MS,
            offset_ms=5,
            schedule_id="s1",
            pause_reason="Freeze",
            next_run_ms=NOON_MS,
            scheduled_ms=[9, 5],
            runs=3,
            name="Growth",
            strategy="s",
            strategy_name="Momentum",
            api="v2",
            listed=True,
        ),
        portfolio(
            "b",
            "unreadable",
            failure={
                "kind": "server",
                "message": "it broke",
                "status": 500,
                "code": "E1",
                "request_id": "r1",
                "correlation_id": "c1",
            },
            api="v1",
        ),
    ],
    "list": {
        "portfolios": [
            portfolio("b", "paused"),
            portfolio("d", "active"),
        ],
        "failure": NO_CONNECTION,
        "unreadable": 2,
    },
    "strategies": [
        {"id": "s", "status": "found", "cadence": "daily"},
        {"id": "t", "status": "unreadable", "word": "odd", "failure": NO_CONNECTION},
    ],
}


def test_the_document() -> None:
    """Every fact has its key, in text that people can read."""
    text = format_live(FOUND)
    assert json.loads(text) == DOCUMENT
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    assert "größer" in text
    nothing = LiveFile(base_url=BASE_URL, as_of_ms=0, live={}, versions={})
    assert json.loads(format_live(nothing)) == {
        **DOCUMENT,
        "account": None,
        "shard": {"number": 1, "of": 1},
        "round": "",
        "config": "",
        "as_of": "1970-01-01T00:00:00.000Z",
        "portfolios": [],
        "list": None,
        "strategies": [],
    }


def test_the_document_is_read_back() -> None:
    """The same facts come out, keyed and sorted."""
    found = parse_live(json.dumps(DOCUMENT).encode())
    assert (found.base_url, found.account, found.as_of_ms) == (BASE_URL, "Acme EU", NOON_MS + 7)
    assert (found.shard, found.round, found.config_digest) == (Shard(1, 8), "4711", "c0ffee")
    assert found.versions == FOUND.versions
    assert found.live[A] == FULL
    failure = found.live[B].failure
    assert failure is not None
    assert vars(failure) == vars(FAILED)
    assert found.listed is not None
    assert (list(found.listed.rows), found.listed.unreadable) == ([A, B, D], 2)
    assert found.listed.failure is not None
    assert vars(found.listed.failure) == vars(PLAIN)
    assert found.strategies[S] == FOUND.strategies[S]
    assert found.strategies[T].word == "odd"
    assert format_live(found) == format_live(FOUND)


HIGHEST: Final = 10**15
LONGEST: Final = 16 * LONGEST_TEXT


def test_a_row_that_says_otherwise_stands_in_the_list() -> None:
    """Also where the portfolio was read on v2; and one that is in neither is not read, under its own id."""
    rows = {A: Live(id=A, status=Status.PAUSED)}
    found = replace(FOUND, listed=PortfolioList(rows=rows))
    document = json.loads(format_live(found))
    assert ["listed" in entry for entry in document["portfolios"]] == [False, False]
    assert [entry["id"] for entry in document["list"]["portfolios"]] == ["a"]
    fleet = join_live([("live.json", replace(found, shard=WHOLE))]).fleet_of(
        {C: Desired(id=C, state=RunState.ACTIVE)}, whole=True
    )
    assert fleet.live == {C: Live(id=C, status=Status.NOT_READ)}


ENDS = [
    ("interval_ms", 1, HIGHEST, 0, HIGHEST + 1),
    ("offset_ms", 0, HIGHEST, -1, HIGHEST + 1),
    ("runs", 0, HIGHEST, -1, HIGHEST + 1),
    ("next_run_ms", 0, LATEST_MS, -1, LATEST_MS + 1),
]


@pytest.mark.parametrize(("key", "low", "high", "below", "above"), ENDS)
def test_both_ends_of_every_number(key: str, low: int, high: int, below: int, above: int) -> None:
    """A number is believed from its lowest to its highest value, and not one further."""
    for value in (low, high, below, above):
        document = json.loads(json.dumps(DOCUMENT))
        document["portfolios"][0][key] = value
        if value in (low, high):
            assert getattr(parse_live(json.dumps(document)).live[A], key) == value
        else:
            with pytest.raises(LiveInvalid):
                parse_live(json.dumps(document))


def edited(**moved: Any) -> bytes:
    return json.dumps({**DOCUMENT, **moved}).encode()


def test_unreadable_rows_and_failures_have_bounds_too() -> None:
    """Whatever number stands in the file."""
    for value, taken in ((0, True), (HIGHEST, True), (-1, False), (HIGHEST + 1, False)):
        content = edited(list={**DOCUMENT["list"], "unreadable": value, "failure": {**NO_CONNECTION, "status": value}})
        if taken:
            listed = parse_live(content).listed
            assert listed is not None
            assert listed.failure is not None
            assert (listed.unreadable, listed.failure.status) == (value, value)
        else:
            with pytest.raises(LiveInvalid):
                parse_live(content)


def test_a_long_text_is_cut() -> None:
    """A text that is harmless already may be as long as all its escapes."""
    assert parse_live(edited(base_url="x" * LONGEST)).base_url == "x" * LONGEST
    assert parse_live(edited(base_url="x" * (LONGEST + 1))).base_url == "x" * (LONGEST - 1) + "…"


WAY_OUT = "It is cut, edited or something else. Make it again with `reconciler status --out FILE`."


@pytest.mark.parametrize(
    ("content", "summary", "detail"),
    [
        (b"{", "the file is not a live file", WAY_OUT),
        (
            edited(format_version="1.0"),
            "the live file has format version 1.0",
            f"This is {TOOL}, which reads version 3.0. Make the live file again with this version.",
        ),
        (
            edited(format_version="9" * 30),
            f"the live file has format version {'9' * 20}",
            f"This is {TOOL}, which reads version 3.0. Make the live file again with this version.",
        ),
    ],
)
def test_what_is_said_of_a_file_that_is_none(content: bytes, summary: str, detail: str) -> None:
    """What it is, and how to get one."""
    with pytest.raises(LiveInvalid) as refused:
        parse_live(content)
    assert (refused.value.summary, refused.value.detail) == (summary, detail)


def test_how_large_a_file_may_be() -> None:
    """As large as its kind says, and not a byte more; a live file may be larger than any that we can write."""
    content = json.dumps(DOCUMENT).encode()
    form = replace(LIVE_FORMAT, largest=len(content))
    assert form.parse(content, lambda document: document["round"]) == "4711"
    with pytest.raises(LiveInvalid, match="the live file is larger than 0 MiB"):
        form.parse(content + b" ", lambda document: document)
    assert LIVE_FORMAT.largest == 4 * 1024**3
