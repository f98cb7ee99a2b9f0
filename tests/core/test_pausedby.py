"""Whose pause is in force: ours, somebody else's, or nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.evidence import paused_by
from reconciler.core.model import ApiVersion, Live, PausedBy, PortfolioId, Record, RunState, Status

V1, V2 = ApiVersion.V1, ApiVersion.V2
OURS, LATER = "due 2026-11-22T12:00:00.000Z", "due 2026-11-22T13:00:00.000Z"
PAUSED = RunState.PAUSED


def record(state: RunState = PAUSED, schedule_id: str | None = None, **more: Any) -> Record:
    values: dict[str, Any] = {"interval_ms": None, "offset_ms": None, "confirmed_ms": 100, **more}
    return Record(state=state, schedule_id=schedule_id, **values)


@pytest.mark.parametrize(
    ("api", "live", "known", "expected"),
    [
        (V1, {"pause_reason": "Paused via API: Audit [glider-reconciler 7f3a9c]"}, None, PausedBy.US),
        (V1, {"pause_reason": "Paused from the app"}, None, PausedBy.OTHERS),
        (V1, {"pause_reason": "Paused from the app"}, record(), PausedBy.OTHERS),
        (V1, {}, None, PausedBy.UNKNOWN),
        (V1, {}, record(RunState.ACTIVE), PausedBy.UNKNOWN),
        (V1, {}, record(), PausedBy.US),
        (V1, {}, record(marked=True), PausedBy.OTHERS),
        (V1, {"scheduled_ms": (200,)}, record(), PausedBy.OTHERS),
        (V1, {"schedule_id": "made anew"}, record(schedule_id="of our pause"), PausedBy.UNKNOWN),
        (
            V1,
            {"schedule_id": "made anew", "scheduled_ms": (100,)},
            record(schedule_id="of our pause"),
            PausedBy.UNKNOWN,
        ),
        (V1, {"schedule_id": "made anew", "scheduled_ms": (101,)}, record(schedule_id="of our pause"), PausedBy.OTHERS),
        (V2, {"schedule_id": OURS}, None, PausedBy.UNKNOWN),
        (V2, {"schedule_id": OURS}, record(RunState.ACTIVE), PausedBy.UNKNOWN),
        (V2, {"schedule_id": OURS}, record(schedule_id=OURS), PausedBy.US),
        (V2, {"schedule_id": LATER}, record(schedule_id=OURS), PausedBy.OTHERS),
        (V2, {"schedule_id": LATER}, record(schedule_id=OURS, imported=""), PausedBy.UNKNOWN),
        (V2, {}, record(schedule_id=OURS), PausedBy.UNKNOWN),
        (V2, {"schedule_id": LATER}, record(schedule_id="a v1 schedule"), PausedBy.UNKNOWN),
    ],
)
def test_whose_pause(api: ApiVersion, live: dict[str, Any], known: Record | None, expected: PausedBy) -> None:
    """Only what proves it makes it ours, and only what disproves it makes it somebody else's."""
    assert paused_by(Live(id=PortfolioId("p"), status=Status.PAUSED, **live), known, api) is expected


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PAUSED])
def test_what_is_not_paused_was_paused_by_nobody(status: Status) -> None:
    """Whatever our record says."""
    assert paused_by(Live(id=PortfolioId("p"), status=status), record(), V1) is None
