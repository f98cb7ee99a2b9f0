"""What one journal knows, brought into another one: never over what that one knows better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import open_journal
from reconciler.apply.journalcarry import IMPORTED, Taken, import_export, read_export
from reconciler.apply.journalreads import exists, read_memory, read_runs, services_of
from reconciler.core.errors import NotExpected, UsageError
from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.model import Cadence, PortfolioId, Record, RunState, StrategyAddress
from tests.apply.scripted import intent
from tests.support import BASE_URL, HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.apply.journalcarry import Export
    from reconciler.apply.journaltables import JournalPlace
    from reconciler.core.model import Address
    from reconciler.core.ports import Memory

A, B, S = PortfolioId("aaa"), PortfolioId("bbb"), StrategyAddress("strategies/s1")
CONFIRMED, UNKNOWN = WriteOutcome.CONFIRMED, WriteOutcome.UNKNOWN
RECORD = Record(
    state=RunState.PAUSED, interval_ms=HOUR_MS, offset_ms=0, schedule_id="s1", confirmed_ms=NOON_MS, marked=False
)


@pytest.fixture
def old(new_place: Callable[[], JournalPlace]) -> JournalPlace:
    return new_place()


@pytest.fixture
def new(new_place: Callable[[], JournalPlace]) -> JournalPlace:
    return new_place()


def wrote(
    path: JournalPlace,
    address: Address,
    call: Call,
    token: str,
    *,
    at: int = 0,
    outcome: WriteOutcome = CONFIRMED,
    record: Record | None = None,
    account: str | None = None,
    base_url: str = BASE_URL,
) -> None:
    """Make a write ``at`` hours after noon; its record is confirmed with it."""
    at_ms = NOON_MS + at * HOUR_MS
    with open_journal(path, base_url=base_url, now_ms=lambda: at_ms, account=account) as journal:
        journal.open_run(fingerprint="f", tool="t")
        more = {"cadence": Cadence.DAILY} if call is Call.SET_CADENCE else {}
        journal.end(journal.begin(replace(intent(address, call, **more), token=token)), outcome, "")
        if record is not None:
            journal.confirm({PortfolioId(address): replace(record, confirmed_ms=at_ms)})
        journal.close_run("ok")


def export(path: JournalPlace, account: str | None = None) -> Export:
    found = read_export(path, base_url=BASE_URL, account=account, now_ms=NOON_MS)
    assert found is not None
    return found


def bring(path: JournalPlace, found: Export) -> tuple[int, int, int]:
    taken = import_export(path, found, now_ms=lambda: NOON_MS + 9 * HOUR_MS, process="p")
    return taken.taken, taken.known, taken.newer_here


def memory(path: JournalPlace) -> Memory:
    return read_memory(path, base_url=BASE_URL, now_ms=NOON_MS)


def test_into_an_empty_journal(old: JournalPlace, new: JournalPlace) -> None:
    """Records, the last write and the last pause come over, each record marked as imported with the pause's token."""
    wrote(old, A, Call.PAUSE, "00000a", record=RECORD)
    wrote(old, A, Call.UPDATE_SCHEDULE, "00000b", at=1, record=RECORD)
    wrote(old, B, Call.RESUME, "00000c", outcome=UNKNOWN)
    wrote(old, S, Call.SET_CADENCE, "00000d")
    before, found = memory(old), export(old)
    assert bring(new, found) == (3, 0, 0)
    after = memory(new)
    assert after.records == {A: replace(RECORD, confirmed_ms=NOON_MS + HOUR_MS, imported="00000a")}
    assert (
        (after.since, after.pauses)
        == (before.since, before.pauses)
        == (
            {A: "00000b", B: "00000c", S: "00000d"},
            {A: "00000a"},
        )
    )
    assert (len(before.cadences), after.cadences) == (1, {})  # nothing shows an imported cadence to be in force
    runs = read_runs(new)
    assert runs is not None
    assert [(run.fingerprint, run.exit_reason, len(run.writes)) for run in runs] == [(IMPORTED, "ok", 4)]
    assert bring(new, found) == (0, 3, 0)
    assert bring(old, found) == (0, 3, 0)
    assert memory(old) == before
    assert export(new) == replace(found, remembered=export(new).remembered)


def test_a_record_without_any_write(old: JournalPlace, new: JournalPlace) -> None:
    """What was only observed comes over, too, and has no token."""
    with open_journal(old, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.confirm({A: RECORD})
    assert bring(new, export(old)) == (1, 0, 0)
    assert memory(new).records == {A: replace(RECORD, imported="")}


@pytest.mark.parametrize(
    ("here", "at", "expected"),
    [
        ("a later write", 2, (0, 0, 1)),
        ("a write at the same time", 0, (0, 0, 1)),
        ("an earlier write", -1, (1, 0, 0)),
        ("a later write of unknown outcome", 2, (0, 0, 1)),
        ("a newer record", 2, (0, 0, 1)),
        ("an older record", -1, (1, 0, 0)),
    ],
)
def test_never_over_what_is_newer_here(
    old: JournalPlace, new: JournalPlace, here: str, at: int, expected: tuple[int, int, int]
) -> None:
    """Neither over a record, nor where a later write of this journal made one void."""
    wrote(old, A, Call.PAUSE, "00000a", record=RECORD)
    if "record" in here:
        with open_journal(new, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            journal.confirm({A: replace(RECORD, interval_ms=1, confirmed_ms=NOON_MS + at * HOUR_MS)})
    else:
        outcome = UNKNOWN if "unknown" in here else CONFIRMED
        wrote(new, A, Call.RESUME, "00000f", at=at, outcome=outcome, record=None if outcome is UNKNOWN else RECORD)
    before = memory(new)
    assert bring(new, export(old)) == expected
    if expected[0]:
        assert memory(new).records[A].imported == "00000a"
        assert memory(new).since[A] == "00000a"
    else:
        assert (memory(new).records, memory(new).since["aaa"] if "write" in here else None) == (
            before.records,
            before.since.get(A),
        )


def test_an_old_export_into_the_journal_that_went_on(place: JournalPlace) -> None:
    """This journal knows the exported write and made a later one, whatever its clock says: nothing is taken."""
    wrote(place, A, Call.PAUSE, "00000a", record=RECORD)
    found = export(place)
    wrote(place, A, Call.RESUME, "00000b", at=-5, outcome=UNKNOWN)
    assert memory(place).records == {}
    assert bring(place, found) == (0, 0, 1)
    assert (memory(place).records, memory(place).since) == ({}, {A: "00000b"})


def test_accounts(old: JournalPlace, new: JournalPlace) -> None:
    """An export is of one account, which has to be named where there are several, and enters no journal of another."""
    wrote(old, A, Call.PAUSE, "00000a", record=RECORD, account="Acme")
    assert export(old).account == "Acme"
    wrote(old, B, Call.PAUSE, "00000b", record=RECORD, account="Beta")
    wrote(old, B, Call.PAUSE, "00000c", record=RECORD, base_url="u://other")
    with pytest.raises(UsageError, match=r"knows 2 accounts of sandbox://test: Acme, Beta$"):
        export(old)
    assert [one.id for one in export(old, "Acme").remembered] == [A]
    assert [one.id for one in export(old, "Beta").remembered] == [B]
    assert services_of(old) == ((BASE_URL, "Acme"), (BASE_URL, "Beta"), ("u://other", None))
    assert bring(new, export(old, "Acme")) == (1, 0, 0)
    with pytest.raises(NotExpected, match=r"the export is from the account Beta, the journal .* is for Acme$"):
        bring(new, export(old, "Beta"))
    assert services_of(new) == ((BASE_URL, "Acme"),)


def test_without_a_journal(place: JournalPlace) -> None:
    """There is nothing to export, and nothing is made by asking."""
    assert (services_of(place), read_export(place, base_url=BASE_URL, account=None, now_ms=0)) == ((), None)
    assert not exists(place)
    assert Taken() == Taken(taken=0, known=0, newer_here=0)
