"""Holds: whose pause it is, and that doubt holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.desired import ApiVersion, PortfolioId, RunState
from reconciler.core.live import Live, Record, Status
from reconciler.core.marker import MARK, is_marked, marked, pause_id, paused_by_us
from tests.support import NOON_MS


def live(reason: str | None, *ran: int, schedule: str | None = "s1") -> Live:
    return Live(
        id=PortfolioId("a"),
        status=Status.PAUSED,
        pause_reason=reason,
        scheduled_ms=tuple(NOON_MS + r for r in ran),
        schedule_id=schedule,
    )


def record(state: RunState = RunState.PAUSED, *, seen: bool = False) -> Record:
    return Record(state=state, interval_ms=None, offset_ms=None, schedule_id="s1", confirmed_ms=NOON_MS, marked=seen)


@pytest.mark.parametrize(
    ("now", "then", "ours"),
    [
        (live(f"Paused via API: {marked('Freeze')}"), None, True),
        (live(f"Paused via API: {MARK}  "), None, True),
        (live(f"{MARK} but do not resume"), record(), False),
        (live("Paused from the app"), record(), False),
        (live(None), None, False),
        (live(None), record(), True),
        (live(""), record(), True),
        (live(None, -5), record(), True),
        (live(None, 0), record(), True),
        (live(None, 5), record(), False),
        (live(None, -5, 5), record(), False),
        (live(None, 5, -5), record(), False),
        (live(None), record(RunState.ACTIVE), False),
        (live(None), record(seen=True), False),
        (live(None, schedule="s2"), record(), False),
    ],
    ids=[
        "marked",
        "marked with white space behind",
        "mark not at the end",
        "another reason beats the journal",
        "no reason, no record",
        "no reason, our pause on record",
        "empty reason, our pause on record",
        "ran before our pause",
        "ran in the very moment",
        "ran since: somebody resumed it in between",
        "ran since, told last",
        "ran since, told first",
        "no reason, our resume on record",
        "our mark was there once and is gone",
        "another schedule",
    ],
)
def test_paused_by_us(now: Live, then: Record | None, *, ours: bool) -> None:
    """A pause is ours only where the mark or, without any reason, the journal proves it."""
    assert paused_by_us(now, then, ApiVersion.V1) is ours


@pytest.mark.parametrize(
    ("now", "then", "api", "ours"),
    [
        (pause_id("then"), pause_id("then"), ApiVersion.V2, True),
        (pause_id("later"), pause_id("then"), ApiVersion.V2, False),
        (None, pause_id("then"), ApiVersion.V2, False),
        (pause_id("then"), None, ApiVersion.V2, False),
        (None, None, ApiVersion.V2, False),
        (None, "s1", ApiVersion.V2, False),
        (None, pause_id("then"), ApiVersion.V1, False),
        (None, "s1", ApiVersion.V1, True),
        (None, None, ApiVersion.V1, True),
    ],
    ids=[
        "the very pause",
        "a later pause",
        "Glider does not say when it was due",
        "it did not say so when we paused",
        "it never says so",
        "our pause on v1, and v2 tells nothing",
        "our pause on v2, and v1 tells nothing",
        "v1 leaves out the id of the schedule",
        "v1 never names one",
    ],
)
def test_a_pause_without_a_reason(now: str | None, then: str | None, api: ApiVersion, *, ours: bool) -> None:
    """On v2 only a record of this very pause proves it ours; what was paused through one API says nothing of the
    other."""
    assert paused_by_us(live(None, schedule=now), replace(record(), schedule_id=then), api) is ours


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        ("Audit", "Audit [glider-reconciler]"),
        (None, "Declared in Git [glider-reconciler]"),
        ("", "Declared in Git [glider-reconciler]"),
    ],
)
def test_marked(declared: str | None, sent: str) -> None:
    """A pause or resume is sent with its declared reason, or a stock phrase, and the mark at the end."""
    assert marked(declared) == sent
    assert is_marked(sent)


@pytest.mark.parametrize("reason", [None, "", "Audit", "[glider-reconciler] no", "[glider-reconciler"])
def test_not_marked(reason: str | None) -> None:
    """Without the mark at its end a reason is somebody else's."""
    assert not is_marked(reason)
