"""The gate before every write: nothing begins that a halt holds, however late the halt comes, and pauses always may."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import open_journal
from reconciler.apply.journalreads import read_memory
from reconciler.core.evidence import pause_id
from reconciler.core.fleet import EVERYTHING, Selection
from reconciler.core.freeze import WriteGate
from reconciler.core.halt import NO_HALTS, Halt, HaltedPortfolio, format_halt, parse_halt
from reconciler.core.intent import Call, GateClosed, Intent
from reconciler.core.model import ApiVersion, Desired, PortfolioId, Record, RunState, StrategyId, address_of
from reconciler.core.report import Outcome
from reconciler.sandbox import AutomationState
from tests.apply.conftest import ON_FILE
from tests.apply.scripted import rows
from tests.faults.support import FaultyWorld, Life
from tests.support import BASE_URL, HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.journaltables import JournalPlace
    from reconciler.core.model import Address

A, B, C = PortfolioId("a"), PortfolioId("b"), PortfolioId("c")
S, T = address_of(StrategyId("S")), address_of(StrategyId("T"))
DAY = 24 * HOUR_MS
LIVE = {"status": "active", "interval": "24h", "started": "50h"}
PAUSED = {"status": "paused", "interval": "24h", "pause_reason": "Paused via API: x [glider-reconciler 0000aa]"}


def halt(*ids: str, name: str = "h1", selection: Selection | None = None, lifted_ms: int | None = None) -> Halt:
    """Return a halt of some v1 portfolios, or of everything."""
    return Halt(
        id=name,
        base_url=BASE_URL,
        account=None,
        reason="Oracle is off",
        at_ms=NOON_MS,
        selection=selection or (None if ids else EVERYTHING),
        portfolios=tuple(HaltedPortfolio(id=PortfolioId(one)) for one in ids),
        lifted_ms=lifted_ms,
    )


ON_V2 = Halt(
    id="h1",
    base_url=BASE_URL,
    account=None,
    reason="r",
    at_ms=NOON_MS,
    selection=Selection(groups=("fx",)),
    portfolios=(HaltedPortfolio(id=C, api=ApiVersion.V2, strategy="S"),),
)
NOBODY_KNOWS = Halt(
    id="h1",
    base_url=BASE_URL,
    account=None,
    reason="r",
    at_ms=NOON_MS,
    portfolios=(HaltedPortfolio(id=C, api=ApiVersion.V2),),
)


def record(place: JournalPlace, one: Halt) -> None:
    """Record a halt as another process does, beside an apply that has the journal locked."""
    with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS, beside=True) as journal:
        journal.halt(one)


def refusal(gate: WriteGate, intent: Intent, *halts: Halt) -> str | None:
    try:
        gate.require_open(intent, halts)
    except GateClosed as closed:
        return f"{closed.why}{' (all)' if closed.ends_run else ''}"
    return None


KNOWN = WriteGate(known=frozenset({"h1", "h2"}))
HOLDS = "halt h1 (Oracle is off) holds it until `reconciler halt lift h1`"


@pytest.mark.parametrize(
    ("one", "address", "held"),
    [
        (halt("a"), A, True),
        (halt("a"), B, False),
        (halt("a"), S, False),
        (halt(), A, True),
        (halt(), S, True),
        (halt("a", selection=Selection(groups=("fx",))), A, True),
        (halt("a", selection=Selection(groups=("fx",))), B, False),
        (ON_V2, C, True),
        (ON_V2, S, True),
        (ON_V2, T, False),
        (NOBODY_KNOWS, S, True),
        (NOBODY_KNOWS, T, True),
    ],
)
@pytest.mark.parametrize("call", [one for one in Call if one is not Call.PAUSE])
def test_what_a_halt_holds(one: Halt, address: Address, call: Call, *, held: bool) -> None:
    """Its portfolios, what its selection selects, and the cadences that one of its portfolios may follow."""
    found = refusal(KNOWN, Intent(address=address, call=call, token="1"), one)
    assert (found is not None) is held
    pause = Intent(address=address, call=Call.PAUSE, token="1")
    assert refusal(KNOWN, pause, one) is None
    assert refusal(WriteGate(), pause, one) is None


@pytest.mark.parametrize(
    ("group", "labels", "held"), [("fx", {}, True), ("eq", {}, False), (None, {"team": "x"}, False)]
)
def test_a_portfolio_that_was_declared_later(group: str | None, labels: dict[str, str], *, held: bool) -> None:
    """Where the files tell of it, the selection decides about a portfolio that the halt did not know."""
    desired = Desired(id=B, state=RunState.ACTIVE, group=group, labels=labels)
    assert halt("a", selection=Selection(groups=("fx",))).holds(B, desired) is held


def test_the_words_of_a_closed_gate() -> None:
    """It names the halt, its reason and the way out; one that came since the plan ends the whole run."""
    resume = Intent(address=A, call=Call.RESUME, token="1")
    assert refusal(KNOWN, resume, halt("a")) == HOLDS
    assert refusal(WriteGate(), resume, halt("b")) == (
        "halt h1 (Oracle is off) has begun since it was planned; nothing more begins (all)"
    )
    filed = WriteGate(known=frozenset({"h1"}), in_files=lambda: {"h1": halt("a")})
    assert refusal(filed, resume) == HOLDS


def test_a_lift_passes_its_own_halt_alone() -> None:
    """A resume that lifts one halt still waits for another one that holds the same portfolio."""
    resume = Intent(address=A, call=Call.RESUME, token="1", halt="h1")
    assert refusal(KNOWN, resume, halt("a")) is None
    other = refusal(KNOWN, resume, halt("a"), halt("a", name="h2"))
    assert other == HOLDS.replace("h1", "h2")


def test_the_journal_keeps_halts(place: JournalPlace) -> None:
    """By service and account; one that is lifted holds nothing any more."""
    with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        assert journal.halting() == {}
        journal.halt(halt("a"))
        journal.halt(halt("b", name="h2"))
        assert dict(journal.halting()) == {"h1": halt("a"), "h2": halt("b", name="h2")}
        with pytest.raises(GateClosed):
            journal.announce(Intent(address=A, call=Call.RESUME, token="1"), WriteGate(), at_ms=NOON_MS)
        journal.halt(halt("a", lifted_ms=NOON_MS + 1))
        assert list(journal.halting()) == ["h2"]
        assert [one.lifted_ms for one in journal.halts()] == [NOON_MS + 1, None]
        assert rows(place, "SELECT COUNT(*) FROM writes") == [(0,)]
    assert list(read_memory(place, base_url=BASE_URL, now_ms=NOON_MS).halting.holding) == ["h2"]
    assert read_memory(place, base_url="https://elsewhere", now_ms=NOON_MS).halting == NO_HALTS


def test_which_api_a_journal_tells(place: JournalPlace) -> None:
    """By the last write of each portfolio, whatever came of it, else by its record, as far as that tells."""
    paused = Record(state=RunState.PAUSED, interval_ms=None, offset_ms=None, schedule_id="s", confirmed_ms=NOON_MS)
    due = replace(paused, schedule_id=pause_id("2026-11-22T12:00:00Z"))
    with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        assert journal.apis() == {}
        for address, api in ((A, ApiVersion.V1), (B, ApiVersion.V2), (S, ApiVersion.V2)):
            journal.begin(Intent(address=address, call=Call.PAUSE, token="1", api=api))
        journal.confirm({A: due, C: due, PortfolioId("d"): paused, PortfolioId("e"): replace(paused, schedule_id=None)})
        assert journal.apis() == {A: ApiVersion.V1, B: ApiVersion.V2, C: ApiVersion.V2, "d": ApiVersion.V1, "e": None}


def test_whether_another_is_at_work(place: JournalPlace) -> None:
    """Whoever opened a journal beside others sees whether one of them has it locked."""
    with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS, beside=True) as beside:
        assert not beside.is_busy()
        with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS):
            assert beside.is_busy()
        assert not beside.is_busy()


@ON_FILE
def test_no_halt_comes_between_the_question_and_the_intent(place: Path) -> None:
    """Whoever records a halt waits until an intent that did not know of it is on the disk, and then finds it."""
    with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        with journal.together():
            journal.halting()  # as begin() asks
            other = sqlite3.connect(place, timeout=0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()
            journal.announce(Intent(address=A, call=Call.RESUME, token="1"), WriteGate(), at_ms=NOON_MS)
        record(place, halt())
        with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS, beside=True) as found:
            assert [one.intent.address for one in found.unsettled()] == [A]


@ON_FILE
def test_a_running_apply_begins_nothing_more(place: Path) -> None:
    """A halt that comes between a look and its write: that write is not sent, and nothing is looked at any more."""
    world = FaultyWorld(journal=place, portfolios={"a": PAUSED, "b": PAUSED, "c": LIVE})
    wanted = [Desired(id=one, state=RunState.ACTIVE, interval_ms=DAY) for one in (A, B)]
    plan = world.plan([*wanted, Desired(id=C, state=RunState.PAUSED)])
    begun = 0

    def halts(boundary: str, _: int) -> None:
        nonlocal begun
        begun += boundary == "before begin"
        if boundary == "before begin" and begun == 2:  # the pause went first
            record(place, halt("zzz"))

    world.wire.life = Life(halts)
    world.parallelism = 1
    report = world.apply(plan)
    why = "halt h1 (Oracle is off) has begun since it was planned; nothing more begins"
    assert {one.change.id: (one.outcome, one.detail) for one in report.results} == {
        A: (Outcome.NOT_ATTEMPTED, why),
        B: (Outcome.NOT_ATTEMPTED, why),
        C: (Outcome.DONE, ""),
    }
    assert world.tried() == [Call.PAUSE]
    assert [world.wire.state(one)[0] for one in (A, B, C)] == [AutomationState.PAUSED] * 3
    assert rows(place, "SELECT call, outcome FROM writes") == [("pause", "confirmed")]


@ON_FILE
def test_a_halt_that_is_known_holds_its_own_alone(place: Path) -> None:
    """A plan that reckons with a halt carries out the rest."""
    world = FaultyWorld(journal=place, portfolios={"a": PAUSED, "b": PAUSED, "c": LIVE})
    plan = world.plan([Desired(id=one, state=RunState.ACTIVE, interval_ms=DAY) for one in (A, B)])
    record(place, halt("a"))
    report = world.apply(plan)
    assert {one.change.id: one.outcome for one in report.results} == {A: Outcome.NOT_ATTEMPTED, B: Outcome.DONE}
    assert report.results[0].detail == HOLDS


@ON_FILE
def test_between_two_writes_of_one_change(place: Path) -> None:
    """What has begun and can't be finished says so, with what was done of it."""
    world = FaultyWorld(journal=place, portfolios={"a": PAUSED})
    plan = world.plan([Desired(id=A, state=RunState.ACTIVE, interval_ms=2 * DAY)])
    begun = 0

    def halts(boundary: str, _: int) -> None:
        nonlocal begun
        begun += boundary == "before begin"
        if boundary == "before begin" and begun == 2:
            record(place, halt())

    world.wire.life = Life(halts)
    (result,) = world.apply(plan).results
    assert (result.outcome, result.changed) == (Outcome.NOT_ATTEMPTED, True)
    assert result.detail.startswith("after update-schedule: halt h1 (Oracle is off) has begun")
    assert world.wire.state(A)[0] is AutomationState.PAUSED


def test_the_file_of_a_halt() -> None:
    """What is written comes back; what no halt holds is refused."""
    full = Halt(
        id="20261129-7f3a9c",
        base_url="https://api.glider.fi",
        account="Acme",
        reason="Oracle is off",
        at_ms=NOON_MS,
        who="maria",
        selection=Selection(groups=("fx",), terms=("team=x",)),
        portfolios=(
            HaltedPortfolio(id=A, token="7f3a9c"),
            HaltedPortfolio(id=C, api=ApiVersion.V2, strategy="S", due="due 2026-11-22T12:00:00Z"),
        ),
        lifted_ms=NOON_MS + 5,
    )
    assert parse_halt(format_halt(full)) == full
