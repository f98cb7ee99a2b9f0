"""The plan as a value: what it counts, and the order in which its changes are written."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.change import Change, desired_status
from reconciler.core.model import Cadence, PortfolioId, RunState, Status, Verb
from reconciler.core.plan import StrategySummary, Summary, write_stages
from tests.core.plans import BARE, RICH
from tests.support import HOUR_MS, cadence_change


def change(portfolio: str, verb: Verb, before: int | None = None, after: int | None = None) -> Change:
    return replace(
        BARE,
        id=PortfolioId(portfolio),
        verb=verb,
        before=replace(BARE.before, interval_ms=before),
        after=replace(BARE.after, interval_ms=after),
    )


def test_summary() -> None:
    """Every kind is counted for itself, and the managed portfolios are all but the unmanaged."""
    verbs = [Verb.START] * 1 + [Verb.RESUME] * 2 + [Verb.PAUSE] * 3 + [Verb.UPDATE] * 4
    plan = replace(RICH, changes=tuple(change(f"p{n}", verb) for n, verb in enumerate(verbs)))
    assert plan.summary == Summary(
        start=1,
        resume=2,
        pause=3,
        update=4,
        no_op=4,
        held=2,
        blocked=2,
        unmanaged=2,
        unverified=2,
        moved=0,
        overdue=0,
        halted=0,
        frozen=0,
        strategies=StrategySummary(update=0, no_op=0, blocked=0, frozen=0),
    )
    assert plan.managed == 10 + 2 + 2 + 4


def test_strategies_are_counted_by_themselves() -> None:
    """A cadence is no update of a portfolio, and a blocked strategy no blocked portfolio."""
    cadence = cadence_change("s", Cadence.DAILY, Cadence.WEEKLY)
    stuck = replace(RICH.blocked[0], id=cadence.id)
    plan = replace(RICH, changes=(*RICH.changes, cadence), blocked=(*RICH.blocked, stuck), strategies_no_op=7)
    assert plan.summary == replace(RICH.summary, strategies=StrategySummary(update=1, no_op=7, blocked=1, frozen=0))
    assert (plan.portfolios, plan.cadences, plan.managed) == (RICH.changes, (cadence,), RICH.managed)


def test_stages() -> None:
    """Pauses, longer, other, shorter intervals, resumes, starts; by id inside each, and no stage is empty."""
    changes = (
        change("k", Verb.START, None, HOUR_MS),
        change("j", Verb.START, None, HOUR_MS),
        change("i", Verb.RESUME, HOUR_MS, 2 * HOUR_MS),
        change("h", Verb.UPDATE, 2, 1),
        change("g", Verb.UPDATE, 1, 1),
        change("f", Verb.UPDATE, None, 1),
        change("e", Verb.UPDATE, 1, None),
        change("d", Verb.UPDATE, 1, 2),
        change("c", Verb.UPDATE, 0, 1),
        change("b", Verb.PAUSE, 5, None),
        change("a", Verb.PAUSE),
    )
    assert [[c.id for c in stage] for stage in write_stages(changes)] == [
        ["a", "b"],
        ["c", "d"],
        ["e", "f", "g"],
        ["h"],
        ["i"],
        ["j", "k"],
    ]
    assert write_stages(()) == ()
    assert [len(stage) for stage in write_stages((changes[0], changes[-1]))] == [1, 1]


@pytest.mark.parametrize(("state", "status"), [(RunState.ACTIVE, Status.ACTIVE), (RunState.PAUSED, Status.PAUSED)])
def test_desired_status(state: RunState, status: Status) -> None:
    """A declared state asks for the live status of the same name."""
    assert desired_status(state) is status
