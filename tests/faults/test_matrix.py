"""Every fault in every call: what becomes of the change, what the run exits with, what was sent, and the way back.

A row is a class of faults, a column a call; a cell that is missing makes no sense, and :func:`left_out` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journalreads import read_runs
from reconciler.apply.run import Stop
from reconciler.core.errors import ApiError, ExitReason, JournalError, exit_reason_of
from reconciler.core.evidence import MARK_NAME
from reconciler.core.intent import Call
from reconciler.core.model import Desired, PortfolioId, RunState
from reconciler.core.report import ACHIEVED, Outcome, plan_exit_reason
from tests.faults import kinds
from tests.faults.kinds import DAY, fields, lags, stores_another, without
from tests.faults.support import READ, Died, FaultyWorld, Life
from tests.support import Silence, folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from _pytest.mark import ParameterSet

    from tests.faults.support import Spoil

    Table = Mapping[str, tuple[Mapping[str, Spoil | dict[str, Spoil]], dict[str, "Cell"]]]
    """Keyed by row: its faults, and its cells by call. A fault may be spelled otherwise for one of the calls."""

ID, BYSTANDER = PortfolioId("ao04x0r6"), PortfolioId("undeclared")
OURS = f"Paused via API: Freeze {MARK_NAME} 7f3a9c]"

PLANNING, FRESH, AGAIN = "planning read", "fresh read", "read back"
START, PAUSE, RESUME, UPDATE = Call.START, Call.PAUSE, Call.RESUME, Call.UPDATE_SCHEDULE
READS = (PLANNING, FRESH, AGAIN)
WRITES = (START, PAUSE, RESUME, UPDATE)

OK, ERROR, STALE = ExitReason.OK, ExitReason.ERROR, ExitReason.STALE
PARTIAL, KEY, AWAY = ExitReason.PARTIAL, ExitReason.PERMISSION, ExitReason.UNREACHABLE
DONE, FAILED, UNKNOWN = Outcome.DONE, Outcome.FAILED, Outcome.UNKNOWN
NOT_ATTEMPTED = Outcome.NOT_ATTEMPTED
BLOCKED, DIED = "blocked", "died"

Cell = tuple[Outcome | str, ExitReason | None, list[str]]
"""What becomes of the change, what the run exits with, and the writes that are tried."""


def same(outcome: Outcome | str, reason: ExitReason | None, tries: int = 1) -> dict[str, Cell]:
    """Return cells that are alike for every write: it is tried so often."""
    return {call: (outcome, reason, [call] * tries) for call in WRITES}


SEEN_LATER: dict[str, Cell] = {
    START: (DONE, OK, [START, UPDATE]),  # no answer confirmed the interval, so it is set
    PAUSE: (DONE, OK, [PAUSE]),
    RESUME: (DONE, OK, [RESUME]),
    UPDATE: (UNKNOWN, PARTIAL, [UPDATE]),  # nobody can read a schedule
}
PROVEN_UNDONE: dict[str, Cell] = {
    START: (UNKNOWN, PARTIAL, [START]),  # may run a rebalance: never repeated
    PAUSE: (DONE, OK, [PAUSE, PAUSE]),
    RESUME: (DONE, OK, [RESUME, RESUME]),
    UPDATE: (UNKNOWN, PARTIAL, [UPDATE]),
}
READ_ONCE_MORE: dict[str, Cell] = dict.fromkeys(READS, (DONE, OK, [PAUSE]))
NO_READ: dict[str, Cell] = {
    PLANNING: (BLOCKED, ERROR, []),
    FRESH: (FAILED, ERROR, []),
    AGAIN: (DONE, OK, [PAUSE]),
}
NOT_WHAT_WAS_PLANNED: dict[str, Cell] = {**NO_READ, FRESH: (Outcome.STALE, STALE, [])}
NOT_ALLOWED: dict[str, Cell] = {
    PLANNING: (BLOCKED, KEY, []),
    FRESH: (FAILED, KEY, []),
    AGAIN: (UNKNOWN, PARTIAL, [PAUSE]),
}

TABLE: dict[str, tuple[dict[str, Spoil], dict[str, Cell]]] = {
    "nothing was sent": (kinds.NOT_SENT, {**READ_ONCE_MORE, **same(FAILED, AWAY)}),
    "lost before the work": (kinds.LOST_BEFORE, {**READ_ONCE_MORE, **PROVEN_UNDONE}),
    "odd before the work": (kinds.ODD_BEFORE, {**NO_READ, **PROVEN_UNDONE}),
    "lost after the work": (kinds.LOST_AFTER, {**READ_ONCE_MORE, **SEEN_LATER}),
    "odd after the work": (kinds.ODD_AFTER, {**NO_READ, **SEEN_LATER}),
    "refused": (kinds.REFUSED, {**NO_READ, **same(FAILED, ERROR)}),
    "no such route": (
        kinds.NO_ROUTE,
        {**same(DONE, OK, tries=2), UPDATE: (FAILED, ERROR, [UPDATE])},  # both path families share the update's route
    ),
    "not found": ({"404 read": kinds.gone}, NOT_WHAT_WAS_PLANNED),
    "refused read": ({"405 read": kinds.status(405, code="API_003")}, NO_READ),
    "key refused": ({"401": kinds.status(401, code="API_102")}, {**NOT_ALLOWED, **same(FAILED, KEY)}),
    "key not enough": ({"403": kinds.status(403, code="API_104")}, {**NOT_ALLOWED, **same(FAILED, KEY)}),
    "rate limited": (kinds.LIMITED, {**READ_ONCE_MORE, **same(DONE, OK, tries=2)}),
    "rate limited for long": (
        kinds.LIMITED_LONG,
        {
            PLANNING: (BLOCKED, AWAY, []),
            FRESH: (FAILED, AWAY, []),
            AGAIN: (UNKNOWN, PARTIAL, [PAUSE]),
            **same(FAILED, AWAY),
        },
    ),
    "harmless": (kinds.HARMLESS, {**READ_ONCE_MORE, **same(DONE, OK)}),
    "unknown word": (
        {"unknown status word": fields(status="hibernating"), "empty status word": fields(status="")},
        {**NOT_WHAT_WAS_PLANNED, **same(DONE, OK)},
    ),
    "contradiction": (
        {"active but paused": fields(status="active", details={"paused": True})},
        {**NOT_WHAT_WAS_PLANNED, **same(DONE, OK)},
    ),
    "no status": (
        {"status is a number": fields(status=3), "status is missing": without("status")},
        {**NO_READ, **same(DONE, OK)},
    ),
    "no data": (
        {"data is null": kinds.said(lambda _: None), "data is a list": kinds.said(lambda data: [data])},
        {**NO_READ, **same(DONE, OK), START: (DONE, OK, [START, UPDATE])},
    ),
    "wrong types": (
        {
            "details are text": fields(details="none"),
            "times are numbers": fields(details={"nextScheduledExecution": 7, "recentActions": "x", "pauseReason": 3}),
            "ids are numbers": fields(rebalanceScheduleId=17, scheduleId=[1]),
        },
        {**READ_ONCE_MORE, **same(DONE, OK)},
    ),
    "no interval confirmed": (
        {
            "interval is missing": without("newInterval", "intervalMs"),
            "interval is text": fields(newInterval="12 hours", intervalMs="6h"),
            "interval is negative": fields(newInterval={"every": -1}, intervalMs=-1),
        },
        {START: (DONE, OK, [START, UPDATE]), UPDATE: (DONE, OK, [UPDATE])},
    ),
    "another interval stored": (
        {"stores another interval": stores_another},
        {START: (DONE, OK, [START, UPDATE]), UPDATE: (FAILED, PARTIAL, [UPDATE])},
    ),
    "status lags": ({"two reads late": lags(2), "four reads late": lags(4)}, same(DONE, OK)),
    "status lags for long": (
        {"nine reads late": lags(9)},
        {**same(UNKNOWN, PARTIAL), UPDATE: (DONE, OK, [UPDATE])},  # an update shows in no status anyway
    ),
    "interrupted, no answer": (
        {
            "interrupted before the work": kinds.interrupted(after=False, answered=False),
            "interrupted after the work": kinds.interrupted(after=True, answered=False),
        },
        {FRESH: (NOT_ATTEMPTED, ERROR, []), AGAIN: (UNKNOWN, PARTIAL, [PAUSE]), **same(UNKNOWN, PARTIAL)},
    ),
    "interrupted, answered": (
        {"interrupted and answered": kinds.interrupted(after=True, answered=True)},
        {FRESH: (DONE, OK, [PAUSE]), AGAIN: (DONE, OK, [PAUSE]), **same(DONE, OK)},
    ),
    "process died on the wire": (
        {"died before the work": kinds.dies(after=False), "died after the work": kinds.dies(after=True)},
        {PLANNING: (DIED, None, []), FRESH: (DIED, None, []), AGAIN: (DIED, None, [PAUSE]), **same(DIED, None)},
    ),
}
"""What goes wrong, and the cells of each call; what is said holds for every fault of the row."""

BOUNDARIES = ("before begin", "after begin", "before end", "after end", "before confirm", "after confirm")
SENT = frozenset(BOUNDARIES[2:])
"""The boundaries of the journal at which the write was sent already."""
DISK: dict[str, tuple[Outcome, ExitReason, bool]] = {
    "before memory": (NOT_ATTEMPTED, ERROR, False),
    "before begin": (NOT_ATTEMPTED, ERROR, False),
    "after begin": (NOT_ATTEMPTED, ERROR, False),
    "before end": (UNKNOWN, PARTIAL, True),
    "after end": (UNKNOWN, PARTIAL, True),
    "before confirm": (UNKNOWN, PARTIAL, True),
    "after confirm": (UNKNOWN, PARTIAL, True),
}
"""Where the disk fails: what becomes of the change, what the run exits with, whether the write was sent."""


def left_out(row: str, call: str) -> str:
    """Return why a cell makes no sense, ``""`` where it does."""
    if call == PLANNING and row.startswith("interrupted"):
        return "a plan has nothing to settle: a signal ends it at once"
    if call in READS and row.startswith("status lags"):
        return "only a write can be late to show"
    if call in READS and row in ("no interval confirmed", "another interval stored"):
        return "a status answer need not tell the schedule"
    if call in (PAUSE, RESUME) and row in ("no interval confirmed", "another interval stored"):
        return "the call carries no schedule"
    if call in READS and row == "no such route":
        return "there is one path to read, and a 404 is about the portfolio"
    if call in WRITES and row in ("not found", "refused read"):
        return "of a write it may be about the route, which is another row"
    return ""


SEEDS: dict[str, tuple[dict[str, Any], Desired]] = {
    START: ({"status": "inactive"}, Desired(id=ID, state=RunState.ACTIVE, interval_ms=DAY)),
    PAUSE: ({"status": "active", "interval": "24h"}, Desired(id=ID, state=RunState.PAUSED)),
    RESUME: (
        {"status": "paused", "interval": "24h", "pause_reason": OURS},
        Desired(id=ID, state=RunState.ACTIVE),
    ),
    UPDATE: (
        {"status": "active", "interval": "24h", "started": "1h"},
        Desired(id=ID, state=RunState.ACTIVE, interval_ms=2 * DAY),
    ),
}
"""What is live and what is declared where a call is the one that a change needs; reads are tried with a pause."""


@dataclass(frozen=True)
class Ended:
    """What came of a plan and an apply under a fault."""

    outcome: Outcome | str
    reason: ExitReason | None
    tried: list[str]


def attempt(world: FaultyWorld, desired: Desired, call: str, spoil: Spoil | None) -> Ended:
    """Plan and apply while one call goes wrong."""
    try:
        if spoil and call == PLANNING:
            world.wire.arm(spoil, READ)
        plan = world.plan([desired])
        if plan.blocked:
            return Ended(BLOCKED, plan_exit_reason(plan, detailed=False), world.tried())
        if spoil and call != PLANNING:
            world.wire.arm(spoil, READ if call in READS else call, skip=int(call == AGAIN))
        report = world.apply(plan, Stop(), Silence())
    except Died:
        return Ended(DIED, None, world.tried())
    except ApiError as error:  # a refused key ends a plan at once
        return Ended(BLOCKED, exit_reason_of(error.kind), world.tried())
    (result,) = report.results
    return Ended(result.outcome, report.exit_reason, world.tried())


def world_for(place: Path, call: str) -> tuple[FaultyWorld, Desired]:
    seed, desired = SEEDS[PAUSE if call in READS else call]
    portfolios = {ID: seed, BYSTANDER: {"status": "active", "interval": "24h"}}
    return FaultyWorld(journal=place / "journal.db", portfolios=portfolios), desired


def check_the_way_back(world: FaultyWorld, desired: Desired) -> None:
    """Without the fault one clean apply converges; nothing took effect twice; the journal explains every effect."""
    _, report = world.recover([desired])
    assert {result.outcome for result in report.results} <= ACHIEVED
    again = world.plan([desired])
    assert (again.changes, again.blocked, again.held) == ((), (), ())
    assert world.wire.state(ID)[0] == desired.state.value
    if desired.interval_ms:
        assert world.store.portfolio(ID).grid.interval_ms == desired.interval_ms
    assert world.repeated() == []
    assert {effect.portfolio for effect in world.wire.effects} <= {ID}
    writes = [write for one in reversed(read_runs(world.journal) or ()) for write in one.writes]
    assert all(write.outcome for write in writes)
    may = [write.call for write in writes if write.outcome not in ("failed", "unseen")]
    for effect in world.wire.effects:
        may.remove(effect.call)  # type: ignore[arg-type]  # the word of a call is a Call


def cells_of(table: Table) -> list[ParameterSet]:
    """Return every cell: the call, its fault and what comes of it.

    `make test` runs some: each fault in one call at least, each call in each row with one fault at least.
    """
    found = []
    for faults, cells in table.values():
        for row, (name, spoil) in enumerate(faults.items()):
            for column, (call, cell) in enumerate(cells.items()):
                some = row == column % len(faults) or column == row % len(cells)
                here = spoil.get(call, spoil[""]) if isinstance(spoil, dict) else spoil
                marks = () if some else pytest.mark.thorough
                found.append(pytest.param(call, here, cell, id=f"{name}-{call}".replace(" ", "_"), marks=marks))
    return found


@pytest.mark.parametrize(("call", "spoil", "expected"), cells_of(TABLE))
def test_cell(call: str, spoil: Spoil, expected: Cell) -> None:
    """One fault in one call ends as the table says, and one clean apply later all is as declared."""
    with folder() as place:
        world, desired = world_for(place, call)
        ended = attempt(world, desired, call, spoil)
        assert (ended.outcome, ended.reason, ended.tried) == expected
        check_the_way_back(world, desired)


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("late", [False, True])
def test_death_at_every_boundary_of_the_journal(call: str, boundary: str, late: bool) -> None:
    """Killed between intent, request, answer, outcome and record: the next apply converges, nothing is done twice.

    With a late disk nothing is kept but what somebody waited for: what a power cut leaves.
    """

    def die(crossed: str, _: int) -> None:
        if crossed == boundary:
            raise Died

    with folder() as place:
        world, desired = world_for(place, call)
        world.wire.life, world.late_disk = Life(die), late
        ended = attempt(world, desired, call, None)
        assert (ended.outcome, ended.reason) == (DIED, None)
        assert ended.tried == ([call] if boundary in SENT else [])
        check_the_way_back(world, desired)


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("boundary", DISK)
def test_a_disk_that_fails(call: str, boundary: str) -> None:
    """A journal that can't be written stops the rest, is told, and loses nothing: before the intent nothing is sent."""

    def fail(crossed: str, _: int) -> None:
        if crossed == boundary:
            raise JournalError("the journal can't be used: disk full")

    with folder() as place:
        world, desired = world_for(place, call)
        world.wire.life = Life(fail)
        ended = attempt(world, desired, call, None)
        outcome, reason, sent = DISK[boundary]
        assert (ended.outcome, ended.reason, ended.tried) == (outcome, reason, [call] if sent else [])
        check_the_way_back(world, desired)


def test_the_matrix_is_whole() -> None:
    """Every row has a cell for every call or a reason for none; there are at least 40 faults, each with one name."""
    for row, (faults, cells) in TABLE.items():
        assert faults
        for call in (*READS, *WRITES):
            assert (call in cells) is (left_out(row, call) == ""), (row, call)
    names = [name for faults, _ in TABLE.values() for name in faults]
    assert len(names) == len(set(names)) >= 40
