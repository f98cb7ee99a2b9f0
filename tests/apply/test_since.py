"""The last write that a plan knew of, and the last one that the journal knows when it is applied."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import open_journal
from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.model import (
    Cadence,
    Live,
    PortfolioId,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Verb,
)
from reconciler.core.planfile import fingerprint
from reconciler.core.ports import Confirmation
from reconciler.core.report import Outcome
from tests.apply.carried import LOOKS, apply, plan_of
from tests.apply.scripted import Scripted, intent, rows
from tests.support import BASE_URL, HOUR_MS, NOON_MS, cadence_change, folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.core.model import Address
    from reconciler.core.report import Result

A, B = PortfolioId("aaa"), PortfolioId("bbb")
H = HOUR_MS
FREEZE = "Freeze [glider-reconciler 00f00d]"
PAUSE = Change(
    id=A,
    verb=Verb.PAUSE,
    before=Snapshot(state=Status.ACTIVE, interval_ms=None, offset_ms=None),
    after=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
    fields=(),
    reason=ChangeReason.DECLARED_PAUSED,
)
RESUME = replace(
    PAUSE,
    verb=Verb.RESUME,
    before=PAUSE.after,
    after=Snapshot(state=Status.ACTIVE, interval_ms=12 * H, offset_ms=None),
    reason=ChangeReason.PAUSED_BY_US,
    writes_schedule=True,
    pause_reason=FREEZE,
)
S = StrategyId("s1")
SET = cadence_change(S, Cadence.WEEKLY, Cadence.DAILY)


def live(status: Status, reason: str | None = None) -> Live:
    return Live(id=A, status=status, pause_reason=reason)


def cadence(word: Cadence) -> StrategyLive:
    return StrategyLive(id=S, status=StrategyStatus.FOUND, cadence=word)


RUNS, RESTS, GONE = live(Status.ACTIVE), live(Status.PAUSED, FREEZE), live(Status.ARCHIVED)
MINE = live(Status.PAUSED, "Declared in Git [glider-reconciler 000001]")
OK, STORED = Confirmation(), Confirmation(interval_ms=12 * H)
LOST = ApiError(FailureKind.INTERRUPTED, "no answer")
AWAY = ApiError(FailureKind.UNREACHABLE, "away")

OWN, APPROVED, OTHER = "own", "approved", "other"
CONFIRMED, SEEN, UNSEEN = WriteOutcome.CONFIRMED, WriteOutcome.SEEN, WriteOutcome.UNSEEN
REFUSED, NOT_SENT, UNKNOWN = WriteOutcome.FAILED, WriteOutcome.NOT_SENT, WriteOutcome.UNKNOWN
GOES = "goes"
NEWER = "this journal has a write to it that the plan did not know of; plan again"
ELSEWHERE = "the plan was made with another journal, or with a newer copy of this one; plan again with this one"
UNDONE = "the last write that the plan knew of turned out to have had no effect; plan again"


@dataclass(frozen=True)
class Row:
    """A write of an earlier run: the plan it was made under, its token, and what is known of it."""

    plan: str
    token: str
    outcome: WriteOutcome | None
    step: bool = False
    call: Call | None = None
    address: Address | None = None
    base_url: str = BASE_URL


def leave(place: Path, change: Change, earlier: Sequence[Row], own: str) -> None:
    """Leave a journal with these writes, oldest first."""
    for row in earlier:
        with open_journal(place, base_url=row.base_url, now_ms=lambda: NOON_MS) as journal:
            journal.open_run(fingerprint=own if row.plan == OWN else row.plan, tool="t")
            strategy = change.of_strategy is not None
            number = journal.begin(
                intent(
                    row.address or change.id,
                    row.call or (Call.SET_CADENCE if strategy else Call.UPDATE_SCHEDULE),
                    row.token,
                    is_step=row.step,
                    cadence=Cadence.HOURLY if strategy and row.call is None else None,
                )
            )
            if row.outcome is not None:
                journal.end(number, row.outcome, "")


def of(
    plan: str, outcome: WriteOutcome | None, *, step: bool = False, token: str = "0000b1", call: Call | None = None
) -> Row:
    return Row(plan, token, outcome, step, call)


OLD = of(OTHER, CONFIRMED, token="0000a1")
TABLE: dict[str, tuple[str | None, list[Row], str]] = {
    "null equals null": (None, [], GOES),
    **{
        f"null, {outcome or 'open'} under {plan}{', a step' if step else ''}": (
            None,
            [of(plan, outcome, step=step)],
            expected,
        )
        for plan in (OWN, APPROVED, OTHER)
        for step in (False, True)
        for outcome in (None, *WriteOutcome)
        for expected in [
            GOES
            if outcome in (UNSEEN, REFUSED, NOT_SENT) or (plan != OTHER and (step or outcome in (None, UNKNOWN)))
            else NEWER
        ]
    },
    "null, a rebalance": (None, [of(OTHER, CONFIRMED, call=Call.REBALANCE)], GOES),
    "null, a rebalance that nobody answered": (None, [of(OTHER, UNKNOWN, call=Call.REBALANCE)], GOES),
    "null, a write to another": (None, [dataclasses.replace(OLD, address=B)], GOES),
    "null, a write on another service": (None, [dataclasses.replace(OLD, base_url="u://other")], GOES),
    "known": ("0000a1", [OLD], GOES),
    "known, and known to be open": ("0000a1", [dataclasses.replace(OLD, outcome=None)], GOES),
    "known, and an attempt of its own since": ("0000a1", [OLD, of(OWN, UNKNOWN)], GOES),
    "known, and an approved attempt since": ("0000a1", [OLD, of(APPROVED, UNKNOWN)], GOES),
    "known, and a rebalance since": ("0000a1", [OLD, of(OTHER, CONFIRMED, call=Call.REBALANCE)], GOES),
    "known, and carried out since": ("0000a1", [OLD, of(OWN, CONFIRMED)], NEWER),
    "known, and carried out as approved since": ("0000a1", [OLD, of(APPROVED, SEEN)], NEWER),
    "known, and another write since": ("0000a1", [OLD, of(OTHER, UNKNOWN)], NEWER),
    "known, and another write before": ("0000a1", [of(OTHER, CONFIRMED), OLD], GOES),
    "known, found to have had no effect": ("0000a1", [dataclasses.replace(OLD, outcome=UNSEEN)], UNDONE),
    "known, refused": ("0000a1", [dataclasses.replace(OLD, outcome=REFUSED)], UNDONE),
    "not known, in an empty journal": ("0000a1", [], ELSEWHERE),
    "not known, in one with other writes": ("0000a1", [of(OTHER, CONFIRMED)], ELSEWHERE),
    "not known, but to another service": ("0000a1", [dataclasses.replace(OLD, base_url="u://other")], ELSEWHERE),
}


def applied(place: Path, change: Change, *answers: object, approved: str | None = None) -> tuple[Result, Scripted]:
    api = Scripted(*answers)
    (result,) = apply(place, plan_of(change), api, approved=approved).results
    assert api.answers == []
    return result, api


@pytest.mark.parametrize("kind", ["portfolio", "strategy"])
@pytest.mark.parametrize(("since", "earlier", "expected"), TABLE.values(), ids=TABLE)
def test_since(kind: str, since: str | None, earlier: list[Row], expected: str) -> None:
    """A change goes only where the journal's last write is the one that its plan knew of, null included."""
    change = replace(PAUSE, since=since) if kind == "portfolio" else replace(SET, since=since)
    before, done = (RUNS, MINE) if kind == "portfolio" else (cadence(Cadence.WEEKLY), cadence(Cadence.DAILY))
    with folder() as folder_:
        place = folder_ / "journal.db"
        leave(place, change, earlier, fingerprint(plan_of(change)))
        answers = [before, OK if kind == "portfolio" else Cadence.DAILY, done] if expected == GOES else [before]
        result, _ = applied(place, change, *answers, approved=APPROVED)
    assert (result.outcome, result.detail) == ((Outcome.DONE, "") if expected == GOES else (Outcome.STALE, expected))


@pytest.mark.parametrize("kind", ["portfolio", "strategy"])
@pytest.mark.parametrize(("since", "earlier"), [(since, earlier) for since, earlier, _ in TABLE.values()], ids=TABLE)
def test_what_is_as_desired_is_done_whatever_was_written(kind: str, since: str | None, earlier: list[Row]) -> None:
    """It is the first question: nothing is sent, and nothing is stale."""
    change = replace(PAUSE, since=since) if kind == "portfolio" else replace(SET, since=since)
    with folder() as folder_:
        place = folder_ / "journal.db"
        leave(place, change, earlier, fingerprint(plan_of(change)))
        result, _ = applied(place, change, RESTS if kind == "portfolio" else cadence(Cadence.DAILY))
    assert (result.outcome, result.calls) == (Outcome.ALREADY_DONE, ())


@pytest.mark.parametrize(
    ("since", "earlier", "detail"),
    [
        (None, [OLD], NEWER),
        ("0000a1", [], ELSEWHERE),
        (None, [], "it was active when planned, now it is archived; plan again"),
        ("0000a1", [OLD], "it was active when planned, now it is archived; plan again"),
    ],
)
def test_the_journal_is_asked_before_what_is_live(since: str | None, earlier: list[Row], detail: str) -> None:
    """Where both differ, people are told of the journal: planning again there is what helps."""
    change = replace(PAUSE, since=since)
    with folder() as folder_:
        place = folder_ / "journal.db"
        leave(place, change, earlier, "own")
        result, _ = applied(place, change, GONE)
    assert (result.outcome, result.detail) == (Outcome.STALE, detail)


@pytest.mark.parametrize("approved", [None, "another"])
def test_an_approval_counts_only_where_it_is_given(approved: str | None) -> None:
    """A broken run of an approved plan is somebody else's for an apply that carries out another one."""
    with folder() as folder_:
        place = folder_ / "journal.db"
        leave(place, PAUSE, [of(APPROVED, UNKNOWN)], "own")
        result, _ = applied(place, PAUSE, RUNS, approved=approved)
    assert (result.outcome, result.detail) == (Outcome.STALE, NEWER)


def test_a_saved_plan_applied_twice() -> None:
    """The second time it is as desired, or stale: what it was to bring about was undone by somebody since."""
    with folder() as folder_:
        place = folder_ / "journal.db"
        assert applied(place, PAUSE, RUNS, OK, MINE)[0].outcome is Outcome.DONE
        assert applied(place, PAUSE, MINE)[0].outcome is Outcome.ALREADY_DONE
        result, _ = applied(place, PAUSE, RUNS)
        assert (result.outcome, result.detail) == (Outcome.STALE, NEWER)
        assert rows(place, "SELECT COUNT(*) FROM writes") == [(1,)]


def test_a_broken_run_run_again() -> None:
    """The schedule was set and the resume stayed unknown: it is carried out to its end, and never after that."""
    with folder() as folder_:
        place = folder_ / "journal.db"
        broken, _ = applied(place, RESUME, RESTS, STORED, RESTS, LOST, *[AWAY] * LOOKS)
        assert broken.outcome is Outcome.UNKNOWN
        again, _ = applied(place, RESUME, RESTS, STORED, RESTS, OK, RUNS)
        assert (again.outcome, again.calls) == (Outcome.DONE, (Call.UPDATE_SCHEDULE, Call.RESUME))
        third, _ = applied(place, RESUME, RESTS)
        assert (third.outcome, third.detail) == (Outcome.STALE, NEWER)


def test_a_broken_run_onto_a_pause_that_nothing_tells_apart() -> None:
    """The first attempt may have resumed it, and somebody paused it anew without a trace: that one stays."""
    plain = replace(RESUME, reason=ChangeReason.HOLD_OVERRIDDEN, pause_reason="Audit", writes_schedule=False)
    rests = live(Status.PAUSED, "Audit")
    with folder() as folder_:
        place = folder_ / "journal.db"
        broken, _ = applied(place, plain, rests, LOST, *[AWAY] * LOOKS)
        assert broken.outcome is Outcome.UNKNOWN
        again, _ = applied(place, plain, rests)
    assert (again.outcome, again.detail) == (
        Outcome.STALE,
        "an earlier attempt may have resumed it before it was paused; plan again",
    )


def test_an_old_job_run_again() -> None:
    """Its own plan is a new one each time, the approved one the same: a broken run goes on, a finished one doesn't."""
    anew = replace(PAUSE, note="as planned by the second run")
    third = replace(PAUSE, note="as planned by the third run")
    assert len({fingerprint(plan_of(one)) for one in (PAUSE, anew, third)}) == 3
    with folder() as folder_:
        place = folder_ / "journal.db"
        broken, _ = applied(place, PAUSE, RUNS, LOST, *[AWAY] * LOOKS, approved=APPROVED)
        assert broken.outcome is Outcome.UNKNOWN
        mine = live(Status.PAUSED, "as planned by the second run [glider-reconciler 000001]")
        again, _ = applied(place, anew, RUNS, OK, mine, approved=APPROVED)
        assert again.outcome is Outcome.DONE
        late, _ = applied(place, third, RUNS, approved=APPROVED)
        assert (late.outcome, late.detail) == (Outcome.STALE, NEWER)


def test_a_plan_made_with_another_journal() -> None:
    """What one journal knows of last, another one does not: either way it is stale."""
    with folder() as folder_:
        first, second = folder_ / "first.db", folder_ / "second.db"
        assert applied(first, PAUSE, RUNS, OK, MINE)[0].outcome is Outcome.DONE
        with open_journal(first, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            known = journal.memory(A).since.get(A)
        assert known == "000001"
        result, _ = applied(second, replace(PAUSE, since=known), RUNS)
        assert (result.outcome, result.detail) == (Outcome.STALE, ELSEWHERE)
        result, _ = applied(first, PAUSE, RUNS)
        assert (result.outcome, result.detail) == (Outcome.STALE, NEWER)


START = replace(
    PAUSE,
    verb=Verb.START,
    before=Snapshot(state=Status.INACTIVE, interval_ms=None, offset_ms=None),
    after=Snapshot(state=Status.ACTIVE, interval_ms=12 * H, offset_ms=None),
    reason=ChangeReason.NOT_RUNNING,
    writes_schedule=True,
    run_on_start=True,
)
ASKED = of(OTHER, UNKNOWN, call=Call.REBALANCE)
NAME_IT = "an earlier request for a run of it may have begun one; name it with --again aaa to start it"


@pytest.mark.parametrize(
    ("change", "earlier", "again", "goes"),
    [
        (START, [], [], True),
        (START, [ASKED], [], False),
        (START, [ASKED], [A], True),
        (START, [ASKED], [B], False),
        (START, [ASKED, of(OTHER, SEEN, call=Call.REBALANCE)], [], True),
        (START, [dataclasses.replace(ASKED, address=B)], [], True),
        (replace(START, run_on_start=False), [ASKED], [], True),
    ],
)
def test_a_run_that_may_have_begun(change: Change, earlier: list[Row], again: list[PortfolioId], goes: bool) -> None:
    """A start that runs at once waits for a person where an earlier request for a run was not answered."""
    idle = live(Status.INACTIVE)
    with folder() as folder_:
        place = folder_ / "journal.db"
        leave(place, change, earlier, "own")
        api = Scripted(idle, *([STORED, RUNS] if goes else []))
        (result,) = apply(place, plan_of(change), api, again=frozenset(again)).results
    assert api.answers == []
    assert (result.outcome, result.detail) == ((Outcome.DONE, "") if goes else (Outcome.NOT_ATTEMPTED, NAME_IT))


def test_a_start_that_stayed_unknown_is_not_made_again() -> None:
    """Not by the same plan either: its run may have begun although nothing shows that it was started."""
    idle = live(Status.INACTIVE)
    with folder() as folder_:
        place = folder_ / "journal.db"
        assert applied(place, START, idle, LOST, *[idle] * LOOKS)[0].outcome is Outcome.UNKNOWN
        again, _ = applied(place, START, idle)
        assert (again.outcome, again.detail) == (Outcome.NOT_ATTEMPTED, NAME_IT)
        named = Scripted(idle, STORED, RUNS)
        (result,) = apply(place, plan_of(START), named, again=frozenset({A})).results
        assert result.outcome is Outcome.DONE
