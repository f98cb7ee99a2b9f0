"""Shares: who reads which portfolio, what a command line means by one, and what files of shares come to together."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.codec import unpacked
from reconciler.core.errors import ExitReason, LiveInvalid, UsageError
from reconciler.core.fleet import PortfolioList
from reconciler.core.livefile import LiveFile, format_live, join_live, parse_live
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Live,
    PortfolioId,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    address_of,
)
from reconciler.core.shares import MOST_SHARES, Shard, parse_shard, share_of
from tests.support import BASE_URL, NOON_MS

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = st.text("abcXYZ019_-", min_size=1, max_size=12).map(PortfolioId)


@given(IDS, st.integers(1, MOST_SHARES))
def test_every_portfolio_belongs_to_exactly_one_share(portfolio: PortfolioId, of: int) -> None:
    """One of those that are there, whatever else is declared; on v2 it is always the first."""
    assert 1 <= share_of(portfolio, ApiVersion.V1, of=of) <= of
    assert share_of(portfolio, ApiVersion.V2, of=of) == 1
    owner = Shard(share_of(portfolio, ApiVersion.V1, of=of), of)
    assert owner.owns(portfolio, ApiVersion.V1)
    assert not Shard(owner.number % of + 1, of).owns(portfolio, ApiVersion.V1) or of == 1


def test_shares_are_about_equal_and_the_same_for_ever() -> None:
    """Eight shares of 8,000 have about 1,000 each; a machine with another version must not read other portfolios."""
    ids = [PortfolioId(f"p{number:05}") for number in range(8_000)]
    counts = Counter(share_of(i, ApiVersion.V1, of=8) for i in ids)
    assert all(900 < count < 1_100 for count in counts.values())
    known = {"ao04x0r6": 8, "b7k2m9q1": 8, "a": 3}
    assert {i: share_of(PortfolioId(i), ApiVersion.V1, of=8) for i in known} == known


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("1/1", {}, Shard(1, 1)),
        ("3/8", {"JOB_COMPLETION_INDEX": "6"}, Shard(3, 8)),
        ("10000/10000", {}, Shard(10_000, 10_000)),
        ("auto/8", {"JOB_COMPLETION_INDEX": "0"}, Shard(1, 8)),
        ("auto/8", {"JOB_COMPLETION_INDEX": "7"}, Shard(8, 8)),
        ("auto", {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "4"}, Shard(1, 4)),
        ("auto", {"CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "4", "JOB_COMPLETION_INDEX": "0"}, Shard(4, 4)),
    ],
)
def test_what_a_share_means(text: str, environ: dict[str, str], expected: Shard) -> None:
    """Shares count from 1, as GitLab counts its jobs; Kubernetes counts its pods from 0."""
    assert parse_shard(text, environ) == expected
    assert parse_shard(str(expected), {}) == expected


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("", {}, "Invalid value for --shard: ''."),
        ("3", {}, "Invalid value for --shard: '3'."),
        ("0/8", {}, "0/8 means share 0 of 8"),
        ("9/8", {}, "9/8 means share 9 of 8"),
        ("1/0", {}, "1/0 means share 1 of 0"),
        ("1/10001", {}, "1/10001 means share 1 of 10001"),
        ("-1/8", {}, "'-1/8'"),
        ("१/८", {}, "'१/८'"),
        ("3/auto", {}, "'3/auto'"),
        ("auto/8", {}, "JOB_COMPLETION_INDEX, which is not set"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "8"}, "auto/8 means share 9 of 8"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "-1"}, "JOB_COMPLETION_INDEX, which is '-1'"),
        ("auto", {"CI_NODE_TOTAL": "8"}, "CI_NODE_INDEX, which is not set"),
        ("auto", {"CI_NODE_INDEX": "1"}, "CI_NODE_TOTAL, which is not set"),
        ("auto", {"CI_NODE_INDEX": "0", "CI_NODE_TOTAL": "8"}, "auto means share 0 of 8"),
    ],
)
def test_what_is_no_share(text: str, environ: dict[str, str], said: str) -> None:
    """It is refused with what was found: a share that nobody meant would leave others unread."""
    with pytest.raises(UsageError) as refused:
        parse_shard(text, environ)
    assert said in refused.value.summary


def of_share(number: int, of: int, *, more: dict[PortfolioId, ApiVersion] | None = None, **given: Any) -> LiveFile:
    """Return the file of a share that holds some portfolios of its own, and ``more``."""
    ids = (PortfolioId(f"p{n:03}") for n in range(99))
    versions = {i: ApiVersion.V1 for i in ids if share_of(i, ApiVersion.V1, of=of) == number}
    versions |= more or {}
    return LiveFile(
        **{
            "base_url": BASE_URL,
            "account": "Acme",
            "as_of_ms": NOON_MS + number,
            "shard": Shard(number, of),
            "round": "7",
            "config_digest": "c0ffee",
            "live": {i: Live(id=i, status=Status.ACTIVE) for i in sorted(versions)},
            "versions": versions,
            **given,
        }
    )


def first_of(of: int) -> LiveFile:
    """Return the first share, with a list and a strategy."""
    one, strategy = PortfolioId("pf_a"), StrategyId("S1")
    listed = {one: Live(id=one, status=Status.ACTIVE)}
    cadence = StrategyLive(id=strategy, status=StrategyStatus.FOUND, cadence=Cadence.DAILY)
    return of_share(1, of, more={one: ApiVersion.V2}, listed=PortfolioList(rows=listed), strategies={strategy: cadence})


def test_shares_join_in_any_order() -> None:
    """All that they hold, the time of the oldest, and when each of the others was read."""
    files = [("one", first_of(3)), ("two", of_share(2, 3)), ("three", of_share(3, 3))]
    found = join_live(files)
    assert join_live(files[::-1]) == found
    assert found.live.keys() == {*(f"p{n:03}" for n in range(99)), "pf_a"}
    assert (found.as_of_ms, found.of, found.missing, found.round) == (NOON_MS + 1, 3, (), "7")
    assert found.read_ms == {i: NOON_MS + share.shard.number for _, share in files[1:] for i in share.live}
    assert found.listed == files[0][1].listed
    assert found.strategies.keys() == {"S1"}


def test_what_only_the_first_share_holds_has_its_time() -> None:
    """Where the first share is not the oldest, its list and strategies are as young as itself."""
    late = replace(first_of(2), as_of_ms=NOON_MS + 9)
    found = join_live([("one", late), ("two", of_share(2, 2))])
    assert found.as_of_ms == NOON_MS + 2
    assert found.read_ms == dict.fromkeys((*late.live, address_of(StrategyId("S1"))), NOON_MS + 9)


def test_a_share_may_be_missing() -> None:
    """It is named; without the first there is neither a list nor a strategy."""
    found = join_live([("two", of_share(2, 4)), ("four", of_share(4, 4))])
    assert (found.missing, found.listed, found.strategies) == ((1, 3), None, {})


P3 = min(of_share(3, 3).live)
OTHERS: dict[str, tuple[Callable[[LiveFile], LiveFile], str]] = {
    "another service": (lambda one: replace(one, base_url="https://x"), f"two services: {BASE_URL} and https://x"),
    "another account": (lambda one: replace(one, account="B"), "two accounts: Acme and B"),
    "an account that is not known": (lambda one: replace(one, account=None), "two accounts: Acme and unknown"),
    "another number": (lambda _: of_share(2, 4), "two numbers of shares: 3 and 4"),
    "another round": (lambda one: replace(one, round="8"), "two rounds: 7 and 8"),
    "other files": (lambda one: replace(one, config_digest="bad"), "two configurations: c0ffee and bad"),
    "files that differ at the end of their digest": (
        lambda one: replace(one, config_digest=f"{first_of(3).config_digest}0"),
        "two configurations: c0ffee and c0ffee0",
    ),
    "a share twice": (lambda _: first_of(3), "a.json and b.json both hold the share 1/3"),
    "a portfolio twice": (
        lambda one: replace(one, live={**one.live, **first_of(3).live}),
        f"a.json and b.json both hold the portfolio {min(first_of(3).live)}",
    ),
}


@pytest.mark.parametrize(("other", "said"), OTHERS.values(), ids=OTHERS.keys())
def test_what_does_not_belong_together(other: Callable[[LiveFile], LiveFile], said: str) -> None:
    """It is refused as invalid, and both files are named."""
    with pytest.raises(LiveInvalid) as refused:
        join_live([("a.json", first_of(3)), ("b.json", other(of_share(2, 3)))])
    assert said in refused.value.summary
    assert {"a.json", "b.json"} <= set(refused.value.summary.split())
    assert refused.value.exit_reason is ExitReason.INVALID


def foreign(**moved: Any) -> LiveFile:
    return replace(of_share(2, 3), **moved)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (of_share(2, 3, more={PortfolioId("pf_z"): ApiVersion.V2}), "holds pf_z, which belongs to the share 1/3"),
        (of_share(1, 3, more={P3: ApiVersion.V1}), f"holds {P3}, which belongs to the share 3/3"),
        (foreign(listed=PortfolioList()), "holds a list, as only the first does"),
        (foreign(strategies=first_of(3).strategies), "holds strategies, as only the first does"),
    ],
)
def test_a_share_holds_its_own_alone(found: LiveFile, said: str) -> None:
    """What another share reads was not put there by us."""
    with pytest.raises(LiveInvalid, match=said):
        join_live([("b.json", found)])


def test_a_compressed_file_is_read_like_any_other() -> None:
    """Whatever its name is."""
    text = format_live(of_share(2, 3)).encode()
    assert parse_live(gzip.compress(text)) == parse_live(text)


def test_no_file_of_ours_is_taken_for_a_bomb() -> None:
    """Portfolios that are as alike as can be become small, and still not too small."""
    ids = [PortfolioId(f"p{n:06}") for n in range(20_000)]
    alike = LiveFile(
        base_url=BASE_URL,
        as_of_ms=NOON_MS,
        live={i: Live(id=i, status=Status.ACTIVE) for i in ids},
        versions=dict.fromkeys(ids, ApiVersion.V1),
    )
    text = format_live(alike).encode()
    packed = gzip.compress(text)
    assert len(text) / len(packed) < 128
    assert len(parse_live(packed).live) == 20_000


BOMB = gzip.compress(b'{"format_version": "3.0", "portfolios": []}' + b" " * 50_000_000)
DAMAGED = {
    "a bomb": BOMB,
    "cut": gzip.compress(format_live(of_share(2, 3)).encode())[:-9],
    "a bit wrong": gzip.compress(b"x" * 99)[:-6] + b"!!!!!!",
    "two in one": gzip.compress(b"{}") * 2,
    "nothing in it": gzip.compress(b""),
    "a head alone": b"\x1f\x8b",
    "something else": b"\x1f\x8b" + b"x" * 99,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_compressed_file_that_is_none_of_ours(content: bytes) -> None:
    """A bomb, like anything damaged, is no live file; it is never unpacked to its end."""
    with pytest.raises(LiveInvalid, match="not a live file"):
        parse_live(content)


def test_unpacking_ends_at_its_bound() -> None:
    """A byte beyond the most shows that there is more; no more than that is ever in memory."""
    content = zlib.compress(b"ab" * 500, wbits=31)
    assert unpacked(content, most=1_000) == b"ab" * 500
    assert len(unpacked(content, most=999)) == 1_000
    assert unpacked(b"{}", most=1) == b"{}"


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    """Whatever a file begins with, it is a live file or it is not."""
    for one in (content, b"\x1f\x8b\x08" + content, gzip.compress(content)):
        with pytest.raises(LiveInvalid):
            parse_live(one)


def test_the_head_of_a_share() -> None:
    """What joins is read by other programs, too."""
    document = json.loads(format_live(of_share(2, 3)))
    assert document["shard"] == {"number": 2, "of": 3}
    assert (document["round"], document["account"], document["config"]) == ("7", "Acme", "c0ffee")
