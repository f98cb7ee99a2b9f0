"""Every fault in every call of v2: the list, the read of one, stop and start; and the way back.

A row is a class of faults, a column a call, as in :mod:`tests.faults.test_matrix`; a cell that is missing makes no
sense, and :func:`left_out` says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.run import Stop
from reconciler.core.decide import Policy
from reconciler.core.errors import ApiError, ExitReason, JournalError, exit_reason_of
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Desired, RunState
from reconciler.core.report import Outcome, plan_exit_reason
from reconciler.sandbox import Enrolled, Simulator
from tests.faults import kinds
from tests.faults.kinds import fields, lags, without
from tests.faults.support import LIST, READ, Died, FaultyWorld, Life
from tests.faults.test_matrix import BOUNDARIES, BYSTANDER, DISK, ID, SENT, Cell, Ended, cells_of, check_the_way_back
from tests.support import Silence, folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.support import Answer, Exchange, Spoil

LISTED, FRESH, AGAIN = "list", "fresh read", "read back"
PAUSE, RESUME = Call.PAUSE, Call.RESUME
READS, WRITES = (LISTED, FRESH, AGAIN), (PAUSE, RESUME)

OK, ERROR, STALE = ExitReason.OK, ExitReason.ERROR, ExitReason.STALE
PARTIAL, KEY, AWAY = ExitReason.PARTIAL, ExitReason.PERMISSION, ExitReason.UNREACHABLE
DONE, FAILED, UNKNOWN = Outcome.DONE, Outcome.FAILED, Outcome.UNKNOWN
BLOCKED, DIED, SATISFIED = "blocked", "died", "satisfied"


def same(outcome: Outcome | str, reason: ExitReason | None, tries: int = 1) -> dict[str, Cell]:
    """Return cells that are alike for every write: it is tried so often."""
    return {call: (outcome, reason, [call] * tries) for call in WRITES}


BELIEVED_BY_ITS_ANSWER_ALONE: dict[str, Cell] = {
    PAUSE: (Outcome.ALREADY_DONE, OK, [PAUSE]),  # it is paused, and nothing shows by whom: a resume has to wait
    RESUME: (DONE, OK, [RESUME]),
}
READ_ONCE_MORE: dict[str, Cell] = dict.fromkeys(READS, (DONE, OK, [PAUSE]))
NO_READ: dict[str, Cell] = {
    LISTED: (BLOCKED, ERROR, []),
    FRESH: (FAILED, ERROR, []),
    AGAIN: (DONE, OK, [PAUSE]),
}
NOT_WHAT_WAS_PLANNED: dict[str, Cell] = {**NO_READ, FRESH: (Outcome.STALE, STALE, [])}
NOT_ALLOWED: dict[str, Cell] = {
    LISTED: (BLOCKED, KEY, []),
    FRESH: (FAILED, KEY, []),
    AGAIN: (UNKNOWN, PARTIAL, [PAUSE]),
}


def rows(change: Any) -> Spoil:
    """The list is answered, and each of its rows is changed."""
    return kinds.said(lambda data: {"portfolios": [change(row) for row in data["portfolios"]]})


def schedule(**values: Any) -> dict[str, Spoil]:
    """A schedule says something else: where one portfolio is read, and in the list."""

    def change(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "schedule": {**row["schedule"], **values}}

    return {"": kinds.said(change), LISTED: rows(change)}


def everywhere(**values: Any) -> dict[str, Spoil]:
    """A portfolio says something else: where one is read, and in the list."""
    return {"": fields(**values), LISTED: rows(lambda row: {**row, **values})}


TABLE: dict[str, tuple[dict[str, Spoil | dict[str, Spoil]], dict[str, Cell]]] = {
    "nothing was sent": ({**kinds.NOT_SENT}, {**READ_ONCE_MORE, **same(FAILED, AWAY)}),
    "lost before the work": ({**kinds.LOST_BEFORE}, {**READ_ONCE_MORE, **same(DONE, OK, tries=2)}),
    "odd before the work": ({**kinds.ODD_BEFORE}, {**NO_READ, **same(DONE, OK, tries=2)}),
    "lost after the work": ({**kinds.LOST_AFTER}, {**READ_ONCE_MORE, **BELIEVED_BY_ITS_ANSWER_ALONE}),
    "odd after the work": (
        {name: spoil for name, spoil in kinds.ODD_AFTER.items() if name != "another portfolio"},
        {**NO_READ, **BELIEVED_BY_ITS_ANSWER_ALONE},
    ),
    "another portfolio": (
        {"another portfolio": fields(portfolioId="zz0zz0zz")},
        {FRESH: NO_READ[FRESH], AGAIN: NO_READ[AGAIN], **BELIEVED_BY_ITS_ANSWER_ALONE},
    ),
    "refused": ({**kinds.REFUSED}, {**NO_READ, **same(FAILED, ERROR)}),
    "no such route": ({**kinds.NO_ROUTE}, same(FAILED, ERROR)),  # v2 has one family of paths
    "not found": ({"404 read": kinds.status(404, code="API_200")}, NOT_WHAT_WAS_PLANNED),
    "key refused": ({"401": kinds.status(401, code="API_102")}, {**NOT_ALLOWED, **same(FAILED, KEY)}),
    "key not enough": ({"403": kinds.status(403, code="API_104")}, {**NOT_ALLOWED, **same(FAILED, KEY)}),
    "rate limited": ({**kinds.LIMITED}, {**READ_ONCE_MORE, **same(DONE, OK, tries=2)}),
    "rate limited for long": (
        {**kinds.LIMITED_LONG},
        {
            LISTED: (BLOCKED, AWAY, []),
            FRESH: (FAILED, AWAY, []),
            AGAIN: (UNKNOWN, PARTIAL, [PAUSE]),
            **same(FAILED, AWAY),
        },
    ),
    "harmless": ({**kinds.HARMLESS}, {**READ_ONCE_MORE, **same(DONE, OK)}),
    "unknown word": (
        {"unknown status word": schedule(status="hibernating"), "empty status word": schedule(status="")},
        {**NOT_WHAT_WAS_PLANNED, **same(DONE, OK)},
    ),
    "no schedule": (
        {"schedule is null": everywhere(schedule=None)},
        {**NOT_WHAT_WAS_PLANNED, LISTED: (SATISFIED, OK, []), **same(DONE, OK)},  # declared paused, and nothing runs
    ),
    "no status": (
        {"status is a number": schedule(status=3), "schedule is text": everywhere(schedule="daily")},
        {**NO_READ, **same(DONE, OK)},
    ),
    "no portfolio": (
        {"data is null": kinds.said(lambda _: None), "data is a list": kinds.said(lambda data: [data])},
        {**NO_READ, **BELIEVED_BY_ITS_ANSWER_ALONE},
    ),
    "a row without an id": (
        {"id is missing": rows(lambda row: {**row, "portfolioId": None}), "row is text": rows(lambda _: "row")},
        {LISTED: READ_ONCE_MORE[LISTED]},  # what the list lacks is read by itself
    ),
    "a cursor that is none": (
        {"cursor is a number": kinds.beside(nextCursor=7)},
        {LISTED: NO_READ[LISTED]},
    ),
    "a cursor that is the end": (
        {"cursor is empty": kinds.beside(nextCursor="")},
        {LISTED: READ_ONCE_MORE[LISTED]},
    ),
    "a cursor that leads nowhere": (
        {"cursor is refused": kinds.beside(nextCursor="MQ")},
        {LISTED: READ_ONCE_MORE[LISTED]},  # what came before it is still true
    ),
    "wrong types": (
        {"names are numbers": everywhere(portfolioName=17, strategyId=[1])},
        {**READ_ONCE_MORE, **same(DONE, OK)},
    ),
    "no due time": (
        {"times are numbers": schedule(nextDueAt=7, lastRebalanceAt=[], intervalMs="daily")},
        # Without the time before our stop, nothing shows that the pause is ours.
        {**READ_ONCE_MORE, FRESH: BELIEVED_BY_ITS_ANSWER_ALONE[PAUSE], **same(DONE, OK)},
    ),
    "names are missing": (
        {"names are missing": without("portfolioName", "strategyId", "smartAccounts", "createdAt")},
        {**READ_ONCE_MORE, **same(DONE, OK)},
    ),
    "status lags": ({"two reads late": lags(2), "four reads late": lags(4)}, same(DONE, OK)),
    "status lags for long": ({"nine reads late": lags(9)}, same(UNKNOWN, PARTIAL)),
    "interrupted, no answer": (
        {
            "interrupted before the work": kinds.interrupted(after=False, answered=False),
            "interrupted after the work": kinds.interrupted(after=True, answered=False),
        },
        {
            FRESH: (Outcome.NOT_ATTEMPTED, ERROR, []),
            AGAIN: (UNKNOWN, PARTIAL, [PAUSE]),
            **same(UNKNOWN, PARTIAL),
        },
    ),
    "interrupted, answered": (
        {"interrupted and answered": kinds.interrupted(after=True, answered=True)},
        {FRESH: (DONE, OK, [PAUSE]), AGAIN: (DONE, OK, [PAUSE]), **same(DONE, OK)},
    ),
    "process died on the wire": (
        {"died before the work": kinds.dies(after=False), "died after the work": kinds.dies(after=True)},
        {LISTED: (DIED, None, []), FRESH: (DIED, None, []), AGAIN: (DIED, None, [PAUSE]), **same(DIED, None)},
    ),
}
"""What goes wrong, and the cells of each call; a fault may be spelled otherwise in the list."""


def left_out(row: str, call: str) -> str:
    """Return why a cell makes no sense, ``""`` where it does."""
    of_lists = (
        "a row without an id",
        "a cursor that is none",
        "a cursor that is the end",
        "a cursor that leads nowhere",
    )
    if row in of_lists and call != LISTED:
        return "only a list has rows and a cursor"
    if row == "another portfolio" and call == LISTED:
        return "a list is about all of them"
    if call == LISTED and row.startswith("interrupted"):
        return "a plan has nothing to settle: a signal ends it at once"
    if call in READS and row.startswith("status lags"):
        return "only a write can be late to show"
    if call in READS and row == "no such route":
        return "there is one path to read, and a 404 is about the portfolio"
    if call in WRITES and row == "not found":
        return "of a write it may be about the route, which is another row"
    return ""


def desired(state: RunState) -> Desired:
    return Desired(id=ID, state=state, api=ApiVersion.V2)


def world_for(place: Path, call: str) -> tuple[FaultyWorld, Desired]:
    """Return a world in which a change needs this call; reads are tried with a pause.

    v2 stores no reason, so a pause is ours only after an apply of ours.
    """
    portfolios = {name: {"api": "v2", "strategy": "S1", "started": "30h"} for name in (ID, BYSTANDER)}
    world = FaultyWorld(journal=place / "journal.db", portfolios=portfolios, strategies={"S1": {"frequency": "daily"}})
    if call != RESUME:
        return world, desired(RunState.PAUSED)
    world.converge([desired(RunState.PAUSED)])
    world.clock.advance(60_000)
    world.wire.tried.clear()
    world.wire.effects.clear()
    return world, desired(RunState.ACTIVE)


def attempt(world: FaultyWorld, wanted: Desired, call: str, spoil: Spoil | None) -> Ended:
    """Plan and apply while one call goes wrong."""
    try:
        if spoil and call == LISTED:
            world.wire.arm(spoil, LIST)
        plan = world.plan([wanted])
        if plan.blocked:
            return Ended(BLOCKED, plan_exit_reason(plan, detailed=False), world.tried())
        if not plan.changes:
            return Ended(SATISFIED, plan_exit_reason(plan, detailed=True), world.tried())
        if spoil and call != LISTED:
            world.wire.arm(spoil, READ if call in READS else call, skip=int(call == AGAIN))
        report = world.apply(plan, Stop(), Silence())
    except Died:
        return Ended(DIED, None, world.tried())
    except ApiError as error:  # a refused key ends a plan at once
        return Ended(BLOCKED, exit_reason_of(error.kind), world.tried())
    (result,) = report.results
    return Ended(result.outcome, report.exit_reason, world.tried())


@pytest.mark.parametrize(("call", "spoil", "expected"), cells_of(TABLE))
def test_cell(call: str, spoil: Spoil, expected: Cell) -> None:
    """One fault in one call of v2 ends as the table says, and one clean apply later all is as declared."""
    with folder() as place:
        world, wanted = world_for(place, call)
        ended = attempt(world, wanted, call, spoil)
        assert (ended.outcome, ended.reason, ended.tried) == expected
        if ended.outcome is UNKNOWN and world.wire.state(ID)[0] != wanted.state.value and call == RESUME:
            check_it_is_held(world, wanted)
        check_the_way_back(world, wanted)


def check_it_is_held(world: FaultyWorld, wanted: Desired) -> None:
    """Nobody knows whether a resume took effect that has no outcome, so nobody knows whose pause it is now.

    v2 stores no reason that would tell. It is held, and a person lets it go.
    """
    plan, report = world.recover([wanted])
    assert ([held.id for held in plan.held], report.results) == ([ID], ())
    released = world.plan([wanted], Policy(resume_held=frozenset({ID})))
    assert {result.outcome for result in world.apply(released).results} == {DONE}


def test_a_pause_made_after_a_resume_whose_answer_was_lost_stays() -> None:
    """v2 keeps no reason, but the resume moved the time when it is due: the pause seen is another, and stays."""

    async def resumed_and_stopped(exchange: Exchange) -> Answer:
        await exchange.work()
        Simulator(world.store, world.clock.now_ms).change_enrolled(ID, Enrolled.stop)
        raise ConnectionResetError("reset")

    with folder() as place:
        world, wanted = world_for(place, RESUME)
        ended = attempt(world, wanted, RESUME, resumed_and_stopped)
        assert (ended.outcome, ended.reason, ended.tried) == (UNKNOWN, PARTIAL, [RESUME])
        plan, _ = world.recover([wanted])
        assert [held.id for held in plan.held] == [ID]


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("late", [False, True])
def test_death_at_every_boundary_of_the_journal(call: str, boundary: str, late: bool) -> None:
    """Killed between intent, request, answer, outcome and record: the next apply converges.

    With a late disk nothing is kept but what somebody waited for: what a power cut leaves.
    """

    def die(crossed: str, _: int) -> None:
        if crossed == boundary:
            raise Died

    with folder() as place:
        world, wanted = world_for(place, call)
        world.wire.life, world.late_disk = Life(die), late
        ended = attempt(world, wanted, call, None)
        assert (ended.outcome, ended.reason) == (DIED, None)
        assert ended.tried == ([call] if boundary in SENT else [])
        check_the_way_back(world, wanted)


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("boundary", DISK)
def test_a_disk_that_fails(call: str, boundary: str) -> None:
    """A journal that can't be written stops the rest, is told, and loses nothing."""

    def fail(crossed: str, _: int) -> None:
        if crossed == boundary:
            raise JournalError("the journal can't be used: disk full")

    with folder() as place:
        world, wanted = world_for(place, call)
        world.wire.life = Life(fail)
        ended = attempt(world, wanted, call, None)
        outcome, reason, sent = DISK[boundary]
        assert (ended.outcome, ended.reason, ended.tried) == (outcome, reason, [call] if sent else [])
        check_the_way_back(world, wanted)


def test_the_matrix_is_whole() -> None:
    """Every row has a cell for every call or a reason for none; each fault has one name."""
    for row, (faults, cells) in TABLE.items():
        assert faults
        for call in (*READS, *WRITES):
            assert (call in cells) is (left_out(row, call) == ""), (row, call)
    names = [name for faults, _ in TABLE.values() for name in faults]
    assert len(names) == len(set(names)) >= 40
