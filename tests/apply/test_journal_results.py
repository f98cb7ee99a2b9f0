"""What the journal remembers of rebalances: the newest of each portfolio, as they were read last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.apply.journal import KEPT_RESULTS, SqliteJournal, open_journal, read_results
from reconciler.core.errors import JournalError
from reconciler.core.model import PortfolioId
from reconciler.core.rebalance import KeptRebalance, Rebalance, RebalanceStatus
from tests.apply.scripted import edit, rows
from tests.support import NOON_MS, FakeClock, folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE, THERE = "https://here", "https://there"
A, B, C = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
DONE, RUNNING = RebalanceStatus.COMPLETED, RebalanceStatus.RUNNING
WHOLE = Rebalance(
    id="w1",
    status=RebalanceStatus.FAILED,
    word="failed",
    scheduled_ms=NOON_MS - 2,
    started_ms=NOON_MS - 1,
    ended_ms=NOON_MS,
    error='no "funds" left',
    transaction="0xabc",
    gas_used="125000",
)


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path / "journal.db"


def opened(place: Path, base_url: str = HERE, account: str | None = None, at: int = 0) -> SqliteJournal:
    return open_journal(place, base_url=base_url, account=account, now_ms=FakeClock(NOON_MS + at).now_ms)


def one(name: str, at: int | None = 0, status: RebalanceStatus = DONE) -> Rebalance:
    started_ms = None if at is None else NOON_MS + at
    return Rebalance(id=name, status=status, word=status.value, started_ms=started_ms)


def kept(place: Path, last: int = KEPT_RESULTS, base_url: str = HERE) -> dict[str, list[str]]:
    """Return the ids by portfolio, as somebody finds them who only reads."""
    found = read_results(place, base_url=base_url, last=last)
    return {portfolio: [result.rebalance.id for result in results] for portfolio, results in found.items()}


def test_they_come_back_whole(place: Path) -> None:
    """With all that was read of them, and when; newest first, by portfolio and service."""
    with opened(place) as journal:
        journal.keep_results({B: [one("w9", 9), WHOLE], A: [one("w1", None, RUNNING)], C: []})
        assert journal.results(last=9) == read_results(place, base_url=HERE, last=9)
    with opened(place, THERE, at=5) as journal:
        journal.keep_results({A: [WHOLE]})
    assert read_results(place, base_url=HERE, last=9) == {
        A: [KeptRebalance(rebalance=one("w1", None, RUNNING), read_ms=NOON_MS)],
        B: [KeptRebalance(rebalance=one("w9", 9), read_ms=NOON_MS), KeptRebalance(rebalance=WHOLE, read_ms=NOON_MS)],
    }
    assert list(read_results(place, base_url=HERE, last=9)) == [A, B]
    assert read_results(place, base_url=THERE, last=1) == {A: [KeptRebalance(rebalance=WHOLE, read_ms=NOON_MS + 5)]}
    assert kept(place, last=1) == {A: ["w1"], B: ["w9"]}


def test_without_a_journal(place: Path) -> None:
    """A file that is missing, or empty, remembers none, and reading makes none."""
    assert kept(place) == {}
    assert not place.exists()
    place.touch()
    assert kept(place) == {}


def test_a_later_read_takes_its_place(place: Path) -> None:
    """What runs may be over by now; what is over never runs again, whoever reads late."""
    with opened(place) as journal:
        journal.keep_results({A: [one("w1", 0, RUNNING)]})
    with opened(place, at=1) as journal:
        journal.keep_results({A: [one("w1", 0)]})
    with opened(place, at=2) as journal:
        journal.keep_results({A: [one("w1", 0, RUNNING)]})
        assert journal.results(last=9) == {A: [KeptRebalance(rebalance=one("w1", 0), read_ms=NOON_MS + 1)]}
    with opened(place, at=3) as journal:
        journal.keep_results({A: [replace(one("w1", 0), gas_used="7")]})
        (found,) = journal.results(last=9)[A]
    assert (found.rebalance.gas_used, found.read_ms) == ("7", NOON_MS + 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=30), min_size=1, max_size=4))
def test_the_newest_stay(reads: list[list[int]]) -> None:
    """However they come in: the newest by when they began, each once, and no more of each portfolio than are kept."""
    with folder() as place:
        path = place / "journal.db"
        for begun in reads:
            with opened(path) as journal:
                journal.keep_results({A: [one(f"w{at:02}", at) for at in begun], B: [one("w", 0)]})
        newest = sorted({f"w{at:02}" for begun in reads for at in begun}, reverse=True)[:KEPT_RESULTS]
        assert kept(path) == ({A: newest} if newest else {}) | {B: ["w"]}
        assert rows(path, "SELECT COUNT(*) FROM results") == [(len(newest) + 1,)]


def test_one_that_named_no_time(place: Path) -> None:
    """It counts as begun when it was first read, unless a later read knows better."""
    with opened(place) as journal:
        journal.keep_results({A: [one("w1", None), one("w2", -1)]})
    assert kept(place) == {A: ["w1", "w2"]}
    with opened(place, at=9) as journal:
        journal.keep_results({A: [one("w1", -2)]})
    assert kept(place) == {A: ["w2", "w1"]}


def test_accounts_are_kept_apart(place: Path) -> None:
    """What another account left is not shown; where one of the two is not known, it is."""
    for account, name in (("acme", "w1"), ("other", "w2"), (None, "w3")):
        with opened(place, account=account) as journal:
            journal.keep_results({A: [one(name)]})
    for account, names in (("acme", ["w3", "w1"]), ("other", ["w3", "w2"]), (None, ["w3", "w2", "w1"])):
        found = read_results(place, base_url=HERE, account=account, last=9)
        assert [result.rebalance.id for result in found[A]] == names


@pytest.mark.parametrize(
    "damage",
    [
        "result = '{'",
        "result = '{}'",
        "result = 'null'",
        """result = '{"id": "w1", "status": "won", "word": "won"}'""",
        """result = '{"id": "w1", "status": "failed", "word": "failed", "ended_ms": -1}'""",
        "read_ms = -1",
    ],
)
def test_one_that_makes_no_sense(place: Path, damage: str) -> None:
    """A word or a time that no journal has is damage."""
    with opened(place) as journal:
        journal.keep_results({A: [WHOLE]})
    edit(place, f"UPDATE results SET {damage}")
    with pytest.raises(JournalError, match="it is damaged"):
        kept(place)


def test_a_forged_text_is_harmless(place: Path) -> None:
    """The file may come from a cache that others can write to."""
    with opened(place) as journal:
        journal.keep_results({A: [WHOLE]})
    edit(place, """UPDATE results SET result = json_set(result, '$.error', char(27) || '[2J')""")
    (found,) = read_results(place, base_url=HERE, last=1)[A]
    assert found.rebalance.error == "\\u{1b}[2J"


def test_all_or_nothing(place: Path) -> None:
    """Where one can't be kept, none of them is, and what was known stays."""
    with opened(place) as journal:
        journal.keep_results({A: [one("w1")]})
        third = "WHEN NEW.rebalance = 'w3' BEGIN SELECT RAISE(ABORT, 'full'); END"
        edit(place, f"CREATE TRIGGER full BEFORE INSERT ON results {third}")
        with pytest.raises(JournalError, match="full"):
            journal.keep_results({A: [one("w2", 2)], B: [one("w3", 3)]})
        journal.keep_results({B: [one("w4")]})
    assert kept(place) == {A: ["w1"], B: ["w4"]}
