"""The comparison of two sides: every managed field with its verdict, and the facts that two plans tell differently."""

from __future__ import annotations

import pytest

from reconciler.core.change import Field, FieldChange
from reconciler.core.diff import Difference, Fact, compare, describe, proven_same, schedule_of
from reconciler.core.model import Desired, Live, PortfolioId, Provenance, Record, RunState, Status, Verdict
from tests.support import HOUR_MS, NOON_MS

ID = PortfolioId("aaa")
H = HOUR_MS
ON, OFF = RunState.ACTIVE, RunState.PAUSED
RECORD = Record(state=ON, interval_ms=24 * H, offset_ms=H, schedule_id=None, confirmed_ms=NOON_MS)


def wants(state: RunState, interval: int | None = None, offset: int | None = None) -> Desired:
    return Desired(id=ID, state=state, interval_ms=interval, offset_ms=offset)


def live(status: Status, interval: int | None = None, offset: int | None = None) -> Live:
    return Live(id=ID, status=status, interval_ms=interval, offset_ms=offset)


@pytest.mark.parametrize(
    ("desired", "found", "known", "same"),
    [
        (wants(ON), live(Status.ACTIVE), None, True),
        (wants(ON), live(Status.PAUSED), None, False),
        (wants(OFF), live(Status.PAUSED), None, True),
        (wants(OFF), live(Status.ACTIVE), None, False),
        (wants(OFF), live(Status.INACTIVE), None, False),
        (wants(OFF), live(Status.ARCHIVED), None, False),
        (wants(ON), live(Status.ERROR), None, False),
        (wants(ON, 24 * H), live(Status.ACTIVE, 24 * H), None, True),
        (wants(ON, 24 * H), live(Status.ACTIVE, 12 * H), None, False),
        (wants(ON, 24 * H), live(Status.ACTIVE), None, False),
        (wants(ON, 24 * H), live(Status.ACTIVE), RECORD, True),
        (wants(ON, 12 * H), live(Status.ACTIVE), RECORD, False),
        (wants(ON, None, H), live(Status.ACTIVE, None, H), None, True),
        (wants(ON, None, H), live(Status.ACTIVE, None, 0), None, False),
        (wants(ON, None, H), live(Status.ACTIVE), RECORD, True),
        (wants(ON, None, 0), live(Status.ACTIVE), RECORD, False),
        (wants(ON, None, 0), live(Status.ACTIVE, None, 0), None, True),
        (wants(ON, 24 * H, H), live(Status.ACTIVE, 24 * H, 0), None, False),
        (wants(ON, 24 * H, H), live(Status.ACTIVE, 12 * H, H), None, False),
        (wants(ON, 24 * H, H), live(Status.ACTIVE, 24 * H, H), None, True),
        (wants(OFF, 24 * H, H), live(Status.PAUSED), RECORD, True),
    ],
)
def test_proven_same(desired: Desired, found: Live, known: Record | None, *, same: bool) -> None:
    """Only what is known in every managed field, and as declared, is proven the same."""
    assert proven_same(desired=desired, live=found, record=known) is same


def state(now: str, then: str, verdict: Verdict) -> FieldChange:
    return FieldChange(field=Field.STATE, live=now, desired=then, verdict=verdict, provenance=Provenance.READ)


@pytest.mark.parametrize(
    ("desired", "found", "known", "fields"),
    [
        (wants(ON), live(Status.ACTIVE, 1, 1), None, (state("active", "active", Verdict.SAME),)),
        (wants(OFF), live(Status.INACTIVE), None, (state("paused", "paused", Verdict.SAME),)),
        (wants(ON), live(Status.INACTIVE), None, (state("inactive", "active", Verdict.DIFFERENT),)),
        (wants(OFF), live(Status.ARCHIVED), None, (state("archived", "paused", Verdict.DIFFERENT),)),
        (
            wants(OFF, 24 * H, 0),
            live(Status.ACTIVE, 24 * H),
            None,
            (
                state("active", "paused", Verdict.DIFFERENT),
                FieldChange(
                    field=Field.INTERVAL,
                    live=24 * H,
                    desired=24 * H,
                    verdict=Verdict.SAME,
                    provenance=Provenance.READ,
                ),
                FieldChange(
                    field=Field.OFFSET,
                    live=None,
                    desired=0,
                    verdict=Verdict.UNVERIFIED,
                    provenance=Provenance.NONE,
                ),
            ),
        ),
        (
            wants(ON, None, 0),
            live(Status.ACTIVE),
            RECORD,
            (
                state("active", "active", Verdict.SAME),
                FieldChange(
                    field=Field.OFFSET,
                    live=H,
                    desired=0,
                    verdict=Verdict.DIFFERENT,
                    provenance=Provenance.RECORDED,
                ),
            ),
        ),
        (
            wants(ON, 12 * H, H),
            live(Status.ACTIVE, 12 * H),
            RECORD,
            (
                state("active", "active", Verdict.SAME),
                FieldChange(
                    field=Field.INTERVAL,
                    live=12 * H,
                    desired=12 * H,
                    verdict=Verdict.SAME,
                    provenance=Provenance.READ,
                ),
                FieldChange(
                    field=Field.OFFSET,
                    live=None,
                    desired=H,
                    verdict=Verdict.UNVERIFIED,
                    provenance=Provenance.NONE,
                    overruled=H,
                ),
            ),
        ),
    ],
)
def test_compare(desired: Desired, found: Live, known: Record | None, fields: tuple[FieldChange, ...]) -> None:
    """Every managed field has its verdict and its provenance, in the order of display."""
    assert compare(desired=desired, live=found, record=known) == fields
    assert schedule_of(fields) == fields[1:]


def test_facts_that_differ() -> None:
    """Only what differs is told, in the order of the later side; what one side lacks is none on it."""
    earlier: dict[str, Fact] = {"gone": 1, "same": "x", "kind": 1, "moved": "a", "none": None}
    later: dict[str, Fact] = {"new": True, "moved": "b", "same": "x", "kind": True, "none": None}
    assert describe(earlier=earlier, later=later) == (
        Difference("new", None, True),
        Difference("moved", "a", "b"),
        Difference("kind", 1, True),
        Difference("gone", 1, None),
    )
    assert describe(earlier=later, later=dict(later)) == ()
