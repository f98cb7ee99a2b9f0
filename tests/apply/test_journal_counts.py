"""Which writes of the journal count: for the newest token, for what stays unanswered, and for what was triggered."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalfile import FileTables, writable_connection
from reconciler.apply.journalreads import read_memory, read_runs, read_written
from reconciler.core.codec import LATEST_MS
from reconciler.core.errors import JournalError
from reconciler.core.intent import NO_EFFECT, TOOK_EFFECT, Before, Call, Intent, OpenIntent, WriteOutcome
from reconciler.core.model import ApiVersion, Cadence, PortfolioId, Record, RunState, StrategyId, address_of
from reconciler.core.ports import Memory
from tests.apply.conftest import ON_FILE, examples_at
from tests.apply.scripted import edit, intent
from tests.support import HOUR_MS, NOON_MS, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.apply.journaltables import JournalPlace

HERE, THERE = "https://here", "https://there"
A, B, C = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
S, T = StrategyId("sss"), StrategyId("ttt")
CONFIRMED, SEEN, UNSEEN = WriteOutcome.CONFIRMED, WriteOutcome.SEEN, WriteOutcome.UNSEEN
FAILED, NOT_SENT, UNKNOWN = WriteOutcome.FAILED, WriteOutcome.NOT_SENT, WriteOutcome.UNKNOWN
RECORD = Record(
    state=RunState.PAUSED, interval_ms=HOUR_MS, offset_ms=0, schedule_id="s1", confirmed_ms=NOON_MS, marked=True
)
OPEN = None
OUTCOMES = (OPEN, *WriteOutcome)
DAY_MS = 24 * HOUR_MS


def opened(place: JournalPlace, base_url: str = HERE, clock: FakeClock | None = None) -> OpenJournal:
    journal = open_journal(place, base_url=base_url, now_ms=(clock or FakeClock()).now_ms)
    journal.open_run(fingerprint="f", tool="t")
    return journal


def write(journal: OpenJournal, intent: Intent, outcome: WriteOutcome | None = CONFIRMED) -> int:
    """Announce a write and, unless it stays open, end it; return its number."""
    number = journal.begin(intent)
    if outcome is not None:
        journal.end(number, outcome, "")
    return number


NEWEST, EARLIER = "0000a2", "0000a1"
OTHER_PLAN = {
    OPEN: NEWEST,
    CONFIRMED: NEWEST,
    SEEN: NEWEST,
    UNKNOWN: NEWEST,
    UNSEEN: EARLIER,
    FAILED: EARLIER,
    NOT_SENT: EARLIER,
}
"""What a write of somebody else's plan leaves as the newest token, whether it is a step or not."""
OWN_PLAN = dict.fromkeys(OUTCOMES, EARLIER) | {CONFIRMED: NEWEST, SEEN: NEWEST}
"""What a write under this plan leaves, where it is the one that its change is about."""
OWN_STEP = dict.fromkeys(OUTCOMES, EARLIER)
SINCE = [
    (fingerprint, approved, step, outcome, expected[outcome])
    for fingerprint, approved, step, expected in [
        ("f1", None, False, OTHER_PLAN),
        ("f1", None, True, OTHER_PLAN),
        ("f1", "f2", False, OTHER_PLAN),
        ("f1", "f2", True, OTHER_PLAN),
        ("own", None, False, OWN_PLAN),
        ("own", None, True, OWN_STEP),
        ("own", "f2", False, OWN_PLAN),
        ("own", "f2", True, OWN_STEP),
        ("f1", "own", False, OWN_PLAN),
        ("f1", "own", True, OWN_STEP),
        ("second", None, False, OWN_PLAN),
        ("second", None, True, OWN_STEP),
    ]
    for outcome in OUTCOMES
]


@pytest.mark.parametrize(("fingerprint", "approved", "step", "outcome", "expected"), SINCE)
def test_since(
    place: JournalPlace,
    fingerprint: str,
    approved: str | None,
    outcome: WriteOutcome | None,
    expected: str,
    *,
    step: bool,
) -> None:
    """What may have taken effect counts; under the plan itself, only what carried its change to its end."""
    plans = ("own", "second")
    with opened(place) as journal:
        write(journal, intent(A, Call.PAUSE, EARLIER))
        journal.open_run(fingerprint=fingerprint, tool="t", approved=approved)
        write(journal, intent(A, Call.RESUME, NEWEST, is_step=step), outcome)
        assert journal.memory(A, plans=plans).since.get(A) == expected
        assert journal.memory(plans=plans).since == {A: expected}
        assert journal.memory(A).since.get(A) == journal.memory().since[A] == OTHER_PLAN[outcome]
        assert journal.memory(B, plans=plans).since.get(B) is None
    found = read_memory(place, base_url=HERE, now_ms=NOON_MS, plans=plans)
    assert found.since == {A: expected}


def test_since_of_a_change_in_two_steps(place: JournalPlace) -> None:
    """A change that was carried out to its end counts, also under its own plan; one that broke off halfway does not."""
    with opened(place) as journal:
        write(journal, intent(A, Call.UPDATE_SCHEDULE, "0000a1", is_step=True))
        assert (journal.memory(A, plans=("f",)).since.get(A), journal.memory(A).since.get(A)) == (None, "0000a1")
        write(journal, intent(A, Call.RESUME, "0000a2"), UNKNOWN)
        assert (journal.memory(A, plans=("f",)).since.get(A), journal.memory(A).since.get(A)) == (None, "0000a2")
        write(journal, intent(A, Call.UPDATE_SCHEDULE, "0000a3", is_step=True))
        assert (journal.memory(A, plans=("f",)).since.get(A), journal.memory(A).since.get(A)) == (None, "0000a3")
        write(journal, intent(A, Call.RESUME, "0000a4"))
        assert (journal.memory(A, plans=("f",)).since.get(A), journal.memory(A).since.get(A)) == ("0000a4", "0000a4")
        write(journal, intent(A, Call.UPDATE_SCHEDULE, "0000a5", is_step=True))
        assert (journal.memory(A, plans=("f",)).since.get(A), journal.memory(A).since.get(A)) == ("0000a4", "0000a5")


def test_since_of_what_is_no_state(place: JournalPlace) -> None:
    """A rebalance, another portfolio, another service and another strategy are no write to it; nothing is none."""
    with opened(place) as journal:
        assert (journal.memory(A).since.get(A), journal.memory().since) == (None, {})
        write(journal, intent(address_of(S), Call.SET_CADENCE, "0000a1", cadence=Cadence.DAILY))
        write(journal, intent(B, Call.START, "0000a2", run_on_start=True))
        write(journal, intent(A, Call.REBALANCE, "0000a3"))
        write(journal, intent(B, Call.REBALANCE, "0000a4"), UNKNOWN)
        assert (
            journal.memory(A).since.get(A),
            journal.memory(B).since.get(B),
            journal.memory(address_of(S)).since.get(address_of(S)),
        ) == (None, "0000a2", "0000a1")
        assert list(journal.memory().since.items()) == [(B, "0000a2"), (address_of(S), "0000a1")]
    with opened(place, THERE) as journal:
        assert (journal.memory(B).since.get(B), journal.memory().since) == (None, {})


REBALANCE = intent(A, Call.REBALANCE, "0000a1", api=ApiVersion.V2, before=Before(runs=("w1",)))
START = intent(A, Call.START, "0000a1", interval_ms=HOUR_MS, run_on_start=True)


@pytest.mark.parametrize("asked", [REBALANCE, START], ids=["rebalance", "start"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_unanswered(place: JournalPlace, asked: Intent, outcome: WriteOutcome | None) -> None:
    """A request for a run stays unanswered while its outcome is unknown, and none of any other outcome does."""
    with opened(place) as journal:
        number = write(journal, asked, outcome)
        expected = OpenIntent(number=number, intent=asked, at_ms=NOON_MS) if outcome is UNKNOWN else None
        assert journal.memory(A).unanswered.get(A) == expected
        assert journal.memory().unanswered == ({A: expected} if expected else {})
        assert journal.memory(B).unanswered.get(B) is None
    with opened(place, THERE) as journal:
        assert (journal.memory(A).unanswered.get(A), journal.memory().unanswered) == (None, {})


@pytest.mark.parametrize(
    ("later", "outcome", "unanswered"),
    [
        *((intent(A, Call.REBALANCE, "0000a2"), outcome, outcome in NO_EFFECT) for outcome in OUTCOMES),
        *((intent(A, Call.START, "0000a2", run_on_start=True), outcome, outcome in NO_EFFECT) for outcome in OUTCOMES),
        (intent(A, Call.START, "0000a2"), CONFIRMED, True),
        (intent(A, Call.PAUSE, "0000a2"), CONFIRMED, True),
        (intent(B, Call.REBALANCE, "0000a2"), CONFIRMED, True),
    ],
)
def test_what_answers(place: JournalPlace, later: Intent, outcome: WriteOutcome | None, *, unanswered: bool) -> None:
    """A later request of the same portfolio that may have begun one takes its place; nothing else answers it."""
    with opened(place) as journal:
        write(journal, REBALANCE, UNKNOWN)
        number = write(journal, later, outcome)
        if outcome is UNKNOWN:
            expected = OpenIntent(number=number, intent=later, at_ms=NOON_MS)
        else:
            expected = OpenIntent(number=1, intent=REBALANCE, at_ms=NOON_MS)
        assert journal.memory(A).unanswered.get(A) == (expected if unanswered or outcome is UNKNOWN else None)


def test_unanswered_elsewhere(place: JournalPlace) -> None:
    """Another service's requests answer nothing here; what is unanswered is sorted by id."""
    with opened(place) as journal:
        write(journal, intent(B, Call.REBALANCE), UNKNOWN)
        write(journal, intent(C, Call.PAUSE), UNKNOWN)
        write(journal, intent(A, Call.REBALANCE), UNKNOWN)
    with opened(place, THERE) as journal:
        write(journal, intent(A, Call.REBALANCE))
    with opened(place) as journal:
        assert list(journal.memory().unanswered) == [A, B]


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize(("fingerprint", "approved"), [("own", None), ("own", "x"), ("x", "own")])
def test_maybe_sent(place: JournalPlace, fingerprint: str, approved: str | None, outcome: WriteOutcome | None) -> None:
    """Only an unknown outcome of that very call, portfolio and service, under one of the plans."""
    with opened(place) as journal:
        journal.open_run(fingerprint=fingerprint, tool="t", approved=approved)
        write(journal, intent(A, Call.START), outcome)
        assert journal.maybe_sent(A, Call.START, plans=("other", "own")) is (outcome is UNKNOWN)
        assert not journal.maybe_sent(A, Call.START, plans=("other",))
        assert not journal.maybe_sent(A, Call.START, plans=())
        assert not journal.maybe_sent(A, Call.PAUSE, plans=("own",))
        assert not journal.maybe_sent(B, Call.START, plans=("own",))
    with opened(place, THERE) as journal:
        assert not journal.maybe_sent(A, Call.START, plans=("own",))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_knows(place: JournalPlace, outcome: WriteOutcome | None) -> None:
    """A token is known whatever came of its write, to its service alone."""
    with opened(place) as journal:
        write(journal, intent(A, Call.PAUSE, "0000a1"), outcome)
        assert (journal.knows("0000a1"), journal.knows("0000a2"), journal.knows("")) == (True, False, False)
    with opened(place, THERE) as journal:
        assert not journal.knows("0000a1")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_cadence(place: JournalPlace, outcome: WriteOutcome | None) -> None:
    """The newest write that may have taken effect decides, and only one that is known to have leaves a cadence."""
    with opened(place) as journal:
        write(journal, intent(address_of(S), Call.SET_CADENCE, cadence=Cadence.DAILY))
        write(journal, intent(address_of(T), Call.SET_CADENCE, cadence=Cadence.HOURLY), SEEN)
        write(journal, intent(address_of(S), Call.SET_CADENCE, cadence=Cadence.WEEKLY), outcome)
        write(journal, intent(A, Call.PAUSE))
        newest = Cadence.WEEKLY if outcome in TOOK_EFFECT else None
        expected = Cadence.DAILY if outcome in NO_EFFECT else newest
        assert (journal.memory(address_of(S)).cadences.get(S), journal.memory(address_of(T)).cadences.get(T)) == (
            expected,
            Cadence.HOURLY,
        )
        known = {S: expected} if expected else {}
        assert list(journal.memory().cadences.items()) == list({**known, T: Cadence.HOURLY}.items())
    with opened(place, THERE) as journal:
        assert (journal.memory(address_of(S)).cadences.get(S), journal.memory().cadences) == (None, {})


def test_a_cadence_of_no_strategy_is_damage(place: JournalPlace) -> None:
    """It is told with the file and what stands there."""
    with opened(place) as journal:
        write(journal, intent(address_of(S), Call.SET_CADENCE, cadence=Cadence.DAILY))
    edit(place, "UPDATE writes SET portfolio = 'aaa'")
    with pytest.raises(JournalError, match="can't be used: it is damaged: 'aaa' is no strategy"):
        read_memory(place, base_url=HERE, now_ms=NOON_MS)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("call", [Call.PAUSE, Call.RESUME, Call.START, Call.UPDATE_SCHEDULE, Call.REBALANCE])
def test_the_last_pause(place: JournalPlace, call: Call, outcome: WriteOutcome | None) -> None:
    """The newest pause that may have taken effect, unless a resume or start that may have came after it."""
    with opened(place) as journal:
        write(journal, intent(A, Call.PAUSE, "000001"))
        write(journal, intent(B, Call.PAUSE, "000002"))
        write(journal, intent(A, call, "000003"), outcome)
        ended = call in (Call.RESUME, Call.START) and outcome not in NO_EFFECT
        anew = call is Call.PAUSE and outcome not in NO_EFFECT
        expected = None if ended else "000003" if anew else "000001"
        assert (journal.memory(A).pauses.get(A), journal.memory(B).pauses.get(B)) == (expected, "000002")
        assert journal.memory().pauses == ({A: expected} if expected else {}) | {B: "000002"}
    with opened(place, THERE) as journal:
        assert (journal.memory(A).pauses.get(A), journal.memory().pauses) == (None, {})


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_halt(place: JournalPlace, outcome: WriteOutcome | None) -> None:
    """The halt that the last pause is part of; a pause or resume after it that may have taken effect ends it."""
    with opened(place) as journal:
        write(journal, intent(A, Call.PAUSE, "000001", halt="h1"))
        write(journal, intent(B, Call.PAUSE, "000002"))
        assert (journal.memory().halts, journal.memory(A).halts, journal.memory(B).halts) == ({A: "h1"}, {A: "h1"}, {})
        write(journal, intent(B, Call.PAUSE, "000003", halt="h2"), outcome)
        assert journal.memory(A, B).halts == journal.memory().halts
        assert journal.memory().halts == {A: "h1"} | ({} if outcome in NO_EFFECT else {B: "h2"})
        for call in (Call.RESUME, Call.PAUSE):
            write(journal, intent(A, Call.PAUSE, "000004", halt="h3"))
            write(journal, intent(A, call, "000005"), outcome)
            assert journal.memory(A).halts == ({A: "h3"} if outcome in NO_EFFECT else {})
    with opened(place, THERE) as journal:
        assert journal.memory().halts == {}


def test_triggers(place: JournalPlace) -> None:
    """Rebalances that may have begun in the last 24 hours are counted, of one service, sorted by id."""
    clock = FakeClock(NOON_MS - DAY_MS - 1)
    with opened(place, clock=clock) as journal:
        write(journal, intent(C, Call.REBALANCE))
        clock.advance(1)
        write(journal, intent(B, Call.REBALANCE))
        clock.advance(DAY_MS)
        for portfolio, outcome in product((B, A), (OPEN, SEEN, UNKNOWN, UNSEEN, FAILED, NOT_SENT)):
            write(journal, intent(portfolio, Call.REBALANCE), outcome)
        write(journal, intent(C, Call.START, run_on_start=True))
        expected = [(A, 3), (B, 4)]
        assert list(journal.memory().triggers.items()) == expected
    with opened(place, THERE) as journal:
        assert journal.memory().triggers == {}
    for now_ms, triggers in ((NOON_MS, {A: 3, B: 4}), (NOON_MS - 1, {A: 3, B: 4, C: 1}), (NOON_MS + 1, {A: 3, B: 3})):
        assert read_memory(place, base_url=HERE, now_ms=now_ms).triggers == triggers


def test_all_of_one_moment(place: JournalPlace) -> None:
    """A memory holds all that the journal knows, as it was when it was asked for."""
    with opened(place) as journal:
        number = write(journal, REBALANCE, UNKNOWN)
        before = journal.memory()
        write(journal, intent(A, Call.PAUSE))
        unanswered = {A: OpenIntent(number=number, intent=REBALANCE, at_ms=NOON_MS)}
        assert before == Memory(exists=True, unanswered=unanswered, triggers={A: 1})
        assert journal.memory() == Memory(
            exists=True, since={A: "0000a1"}, pauses={A: "0000a1"}, unanswered=unanswered, triggers={A: 1}
        )


@ON_FILE
def test_nothing_is_committed_in_between(place: Path) -> None:
    """While a memory is put together, nobody else's commit comes between two of its parts."""
    asked, attempts = [], []

    def tries(question: str) -> None:
        """Try to commit something before the third question."""
        asked.append(question)
        if len([one for one in asked if "SELECT" in one]) != 3:
            return
        with closing(sqlite3.connect(place, timeout=0)) as other:
            other.execute("UPDATE writes SET outcome = 'failed'")
            with pytest.raises(sqlite3.OperationalError) as refused:
                other.commit()
        attempts.append(str(refused.value))

    with opened(place) as journal:
        write(journal, intent(A, Call.PAUSE))
    with closing(writable_connection(place)) as connection:
        journal = OpenJournal(FileTables(connection, place), base_url=HERE, now_ms=lambda: NOON_MS)
        connection.set_trace_callback(tries)
        assert journal.memory().since == {A: "0000a1"}
        connection.set_trace_callback(None)
        assert attempts == ["database is locked"]
        edit(place, "UPDATE writes SET outcome = 'failed'")
        assert journal.memory(A).since.get(A) is None


ADDRESSES = (A, B, address_of(S))
WRITES = st.lists(
    st.tuples(
        st.sampled_from(ADDRESSES),
        st.sampled_from([Call.PAUSE, Call.RESUME, Call.UPDATE_SCHEDULE, Call.REBALANCE]),
        st.sampled_from(OUTCOMES),
        st.booleans(),
        st.sampled_from([("own", None), ("x", "own"), ("x", None)]),
    ),
    max_size=12,
)


def test_laws_of_since(new_place: Callable[[], JournalPlace]) -> None:
    """It is never the token of what had no effect, or of a rebalance; one address and all of them agree."""

    @settings(max_examples=examples_at(new_place(), 60), deadline=None)
    @given(writes=WRITES, plans=st.sampled_from([(), ("own",), ("own", "x")]))
    def hold(writes: list[tuple[Any, ...]], plans: tuple[str, ...]) -> None:
        expected = {}
        with opened(new_place()) as journal:
            for number, (address, call, outcome, step, (fingerprint, approved)) in enumerate(writes):
                journal.open_run(fingerprint=fingerprint, tool="t", approved=approved)
                write(journal, intent(address, call, f"{number:06x}", is_step=step), outcome)
                ended = outcome in TOOK_EFFECT and not step
                ours = fingerprint in plans or approved in plans
                if call is not Call.REBALANCE and outcome not in NO_EFFECT and (ended or not ours):
                    expected[address] = f"{number:06x}"
            each = {one: journal.memory(one, plans=plans).since.get(one) for one in ADDRESSES}
            assert {one: token for one, token in each.items() if token} == expected
            assert journal.memory(plans=plans).since == expected

    hold()


QUESTIONS: dict[str, Callable[[OpenJournal], object]] = {
    "memory": lambda journal: journal.memory(plans=("f",)),
    "record": lambda journal: journal.memory(A).records.get(A),
    "cadence": lambda journal: journal.memory(address_of(S)).cadences.get(S),
    "since": lambda journal: journal.memory(A, plans=("f",)).since.get(A),
    "last pause": lambda journal: journal.memory(A).pauses.get(A),
    "knows": lambda journal: journal.knows("0000a1"),
    "maybe sent": lambda journal: journal.maybe_sent(A, Call.PAUSE, plans=("f",)),
    "last write": lambda journal: journal.last_write(A, "0000a1"),
    "unsettled": lambda journal: journal.unsettled(),
    "unanswered": lambda journal: journal.memory(A).unanswered.get(A),
}


@ON_FILE
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_no_question_reads_every_write(place: Path, question: Callable[[OpenJournal], object]) -> None:
    """Whatever is asked for every change is found by an index, however many writes there are."""
    asked: list[str] = []
    with closing(writable_connection(place)) as connection:
        connection.set_trace_callback(asked.append)
        question(OpenJournal(FileTables(connection, place), base_url=HERE, now_ms=lambda: NOON_MS))
        connection.set_trace_callback(None)
        asked = [one for one in asked if "SELECT" in one]
        plans = [[row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")] for one in asked]
    assert plans
    for details in plans:
        assert any("SEARCH" in detail for detail in details)
        assert [one for one in details if one.startswith(("SCAN writes", "SCAN found", "SCAN later"))] == []


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("call", [Call.PAUSE, Call.UPDATE_SCHEDULE, Call.REBALANCE])
def test_what_was_written_since(place: JournalPlace, call: Call, outcome: WriteOutcome | None) -> None:
    """The end of the last write that counts, from its very moment on; one without an outcome has no end yet, and a
    rebalance is none."""
    clock = FakeClock()
    with opened(place, clock=clock) as journal:
        write(journal, intent(A, Call.PAUSE, "000001"))
        clock.advance(HOUR_MS)
        number = journal.begin(intent(A, call, "000002"))
        clock.advance(1_000)
        if outcome is not OPEN:
            journal.end(number, outcome, "")
        write(journal, intent(address_of(S), Call.SET_CADENCE, "000003", cadence=Cadence.DAILY))
    with opened(place, THERE, clock) as journal:
        write(journal, intent(B, Call.PAUSE, "000004"))
    ended_ms = clock.now_ms()
    counts = outcome not in NO_EFFECT and call is not Call.REBALANCE
    last = {A: LATEST_MS if outcome is OPEN else ended_ms} if counts else {}
    first = last or {A: NOON_MS}
    strategy = {address_of(S): ended_ms}
    for since_ms, expected in (
        (NOON_MS, first | strategy),
        (NOON_MS + 1, last | strategy),
        (ended_ms, last | strategy),
        (ended_ms + 1, {A: LATEST_MS} if last == {A: LATEST_MS} else {}),
    ):
        assert read_written(place, base_url=HERE, account=None, since_ms=since_ms) == expected


def test_where_there_is_no_journal_nothing_was_written_since(place: JournalPlace) -> None:
    """And none is made."""
    assert read_written(place, base_url=HERE, account=None, since_ms=0) == {}
    assert read_runs(place) is None


@pytest.mark.parametrize("theirs", [None, "Acme", "Acme EU"])
@pytest.mark.parametrize("mine", [None, "Acme"])
def test_what_another_account_left(place: JournalPlace, theirs: str | None, mine: str | None) -> None:
    """It is neither settled nor believed; where either account is not known, they may be one."""
    clock = FakeClock()
    with open_journal(place, base_url=HERE, now_ms=clock.now_ms, account=theirs) as journal:
        journal.open_run(fingerprint="f", tool="t")
        write(journal, intent(A, Call.PAUSE, "000001"))
        journal.confirm({A: RECORD})
        write(journal, intent(B, Call.RESUME, "000002"), OPEN)
        write(journal, intent(C, Call.REBALANCE, "000003"), UNKNOWN)
        write(journal, intent(address_of(S), Call.SET_CADENCE, "000004", cadence=Cadence.DAILY))
        everything = journal.memory(), [one.intent.token for one in journal.unsettled()]
    with open_journal(place, base_url=HERE, now_ms=clock.now_ms, account=mine) as journal:
        seen = journal.memory(), [one.intent.token for one in journal.unsettled()]
        one = None in (theirs, mine) or theirs == mine
        assert seen == (everything if one else (Memory(exists=True), []))
        asked = (
            journal.memory(A).records.get(A),
            journal.memory(A).since.get(A),
            journal.memory(A).pauses.get(A),
            journal.memory(address_of(S)).cadences.get(S),
            journal.knows("000001"),
        )
        assert asked == ((RECORD, "000001", "000001", Cadence.DAILY, True) if one else (None, None, None, None, False))
        assert (journal.memory(C).unanswered.get(C) is not None) is one
    memory = read_memory(place, base_url=HERE, now_ms=NOON_MS, account=mine)
    assert memory == seen[0]
    assert read_written(place, base_url=HERE, account=mine, since_ms=0).keys() == memory.since.keys()
    (run,) = read_runs(place) or ()
    assert run.account == theirs
