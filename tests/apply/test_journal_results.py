"""What the journal remembers of rebalances: the newest of each portfolio, as they were read last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.apply.journal import KEPT_RESULTS, OpenJournal, open_journal
from reconciler.apply.journalreads import exists, read_results
from reconciler.core.errors import JournalError
from reconciler.core.model import PortfolioId
from reconciler.core.rebalance import KeptRebalance, Rebalance, RebalanceStatus
from tests.apply.conftest import examples_at
from tests.apply.scripted import edit, forbid, rows
from tests.support import NOON_MS, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.apply.journaltables import JournalPlace

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


def opened(place: JournalPlace, base_url: str = HERE, account: str | None = None, at: int = 0) -> OpenJournal:
    return open_journal(place, base_url=base_url, account=account, now_ms=FakeClock(NOON_MS + at).now_ms)


def one(name: str, at: int | None = 0, status: RebalanceStatus = DONE) -> Rebalance:
    started_ms = None if at is None else NOON_MS + at
    return Rebalance(id=name, status=status, word=status.value, started_ms=started_ms)


def kept(place: JournalPlace, last: int = KEPT_RESULTS, base_url: str = HERE) -> dict[str, list[str]]:
    """Return the ids by portfolio, as somebody finds them who only reads."""
    found = read_results(place, base_url=base_url, last=last)
    return {portfolio: [result.rebalance.id for result in results] for portfolio, results in found.items()}


def test_they_come_back_whole(place: JournalPlace) -> None:
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


def test_without_a_journal(place: JournalPlace) -> None:
    """One that is missing remembers none, and reading makes none."""
    for _ in range(2):
        assert kept(place) == {}
        assert not exists(place)


def test_a_later_read_takes_its_place(place: JournalPlace) -> None:
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


def test_the_newest_stay(new_place: Callable[[], JournalPlace]) -> None:
    """However they come in: the newest by when they began, each once, and no more of each portfolio than are kept."""

    @settings(max_examples=examples_at(new_place(), 40), deadline=None)
    @given(st.lists(st.lists(st.integers(0, 60), max_size=30), min_size=1, max_size=4))
    def stay(reads: list[list[int]]) -> None:
        place = new_place()
        for begun in reads:
            with opened(place) as journal:
                journal.keep_results({A: [one(f"w{at:02}", at) for at in begun], B: [one("w", 0)]})
        newest = sorted({f"w{at:02}" for begun in reads for at in begun}, reverse=True)[:KEPT_RESULTS]
        assert kept(place) == ({A: newest} if newest else {}) | {B: ["w"]}
        assert rows(place, "SELECT COUNT(*) FROM results") == [(len(newest) + 1,)]

    stay()


def test_one_that_named_no_time(place: JournalPlace) -> None:
    """It counts as begun when it was first read, unless a later read knows better."""
    with opened(place) as journal:
        journal.keep_results({A: [one("w1", None), one("w2", -1)]})
    assert kept(place) == {A: ["w1", "w2"]}
    with opened(place, at=9) as journal:
        journal.keep_results({A: [one("w1", -2)]})
    assert kept(place) == {A: ["w2", "w1"]}


def test_accounts_are_kept_apart(place: JournalPlace) -> None:
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
def test_one_that_makes_no_sense(place: JournalPlace, damage: str) -> None:
    """A word or a time that no journal has is damage."""
    with opened(place) as journal:
        journal.keep_results({A: [WHOLE]})
    edit(place, f"UPDATE results SET {damage}")
    with pytest.raises(JournalError, match="it is damaged"):
        kept(place)


def test_a_forged_text_is_harmless(place: JournalPlace) -> None:
    """The file may come from a cache that others can write to."""
    with opened(place) as journal:
        journal.keep_results({A: [WHOLE]})
    edit(place, r"""UPDATE results SET result = REPLACE(result, 'left', '\u001b[2J')""")
    (found,) = read_results(place, base_url=HERE, last=1)[A]
    assert found.rebalance.error == 'no "funds" \\u{1b}[2J'


def test_all_or_nothing(place: JournalPlace) -> None:
    """Where one can't be kept, none of them is, and what was known stays."""
    with opened(place) as journal:
        journal.keep_results({A: [one("w1")]})
        forbid(place, "INSERT ON results", "WHEN (NEW.rebalance = 'w3')", why="it is full")
        with pytest.raises(JournalError, match="it is full"):
            journal.keep_results({A: [one("w2", 2)], B: [one("w3", 3)]})
        journal.keep_results({B: [one("w4")]})
    assert kept(place) == {A: ["w1"], B: ["w4"]}
