"""The plan as a value: what it counts, and the order in which its changes are written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.desired import PortfolioId, RunState
from reconciler.core.live import Status
from reconciler.core.plan import Change, Summary, desired_status, write_stages
from reconciler.core.verb import Verb
from tests.core.plans import BARE, RICH
from tests.support import HOUR_MS


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
        start=1, resume=2, pause=3, update=4, no_op=4, held=2, blocked=2, unmanaged=2, unverified=2, moved=0
    )
    assert plan.managed == 10 + 2 + 2 + 4


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
