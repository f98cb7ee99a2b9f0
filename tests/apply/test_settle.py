"""What became of the writes of a run that died: what a read proves, and what stays open."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journal import open_journal
from reconciler.apply.settle import outcome_of, settle
from reconciler.core.desired import PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status
from reconciler.core.report import Call, Intent
from tests.apply.scripted import Scripted, rows
from tests.support import BASE_URL, HOUR_MS, NOON_MS, folder, run

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
H = HOUR_MS
SETTLED = "an earlier apply was cut off; settled by reading"


def wanted(interval: int | None = None, offset: int | None = None) -> str:
    return json.dumps({"interval_ms": interval, "offset_ms": offset})


def intent(call: Call, text: str = "") -> Intent:
    return Intent(write=1, portfolio=A, call=call, wanted=text or wanted(), at_ms=NOON_MS)


def live(status: Status, interval: int | None = None, offset: int | None = None) -> Live:
    return Live(id=A, status=status, interval_ms=interval, offset_ms=offset)


STATES = {
    Call.PAUSE: {Status.ACTIVE: "unseen", Status.PAUSED: "seen", Status.INACTIVE: "seen"},
    Call.START: {Status.ACTIVE: "seen", Status.PAUSED: "unseen", Status.INACTIVE: "unseen"},
    Call.RESUME: {Status.ACTIVE: "seen", Status.PAUSED: "unseen", Status.INACTIVE: "unseen"},
}


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("status", Status)
def test_a_state_proves_itself(call: Call, status: Status) -> None:
    """Running or at rest settles a start, pause and resume; any other status, and a schedule unread, tell nothing."""
    assert outcome_of(intent(call), live(status)) == STATES.get(call, {}).get(status, "unknown")


@pytest.mark.parametrize(
    ("text", "found", "outcome"),
    [
        (wanted(12 * H, H), live(Status.ACTIVE, 12 * H, H), "seen"),
        (wanted(12 * H, H), live(Status.PAUSED, 12 * H, H), "seen"),
        (wanted(12 * H, H), live(Status.ACTIVE, 12 * H, 0), "unseen"),
        (wanted(12 * H, H), live(Status.ACTIVE, 12 * H), "unseen"),
        (wanted(12 * H, H), live(Status.ACTIVE, 24 * H, H), "unseen"),
        (wanted(12 * H), live(Status.ACTIVE, 12 * H, H), "seen"),
        (wanted(12 * H), live(Status.ACTIVE, 12 * H), "seen"),
        (wanted(12 * H), live(Status.ACTIVE, 24 * H), "unseen"),
        (wanted(12 * H, H), live(Status.ACTIVE, None, H), "unknown"),
        (wanted(12 * H, H), live(Status.ERROR, 12 * H, H), "unknown"),
    ],
)
def test_a_schedule_that_is_read(text: str, found: Live, outcome: str) -> None:
    """A schedule is settled only by one that the service returns."""
    assert outcome_of(intent(Call.UPDATE_SCHEDULE, text), found) == outcome


def died(place: Path, *writes: tuple[PortfolioId, str, str]) -> None:
    """Leave a journal as a run that died over these writes."""
    with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for write in writes:
            journal.begin(*write)


def test_every_open_write_is_settled() -> None:
    """Oldest first, each with its sentence; what can't be read stays open, and nothing is written to the service."""
    away = ApiError(FailureKind.SERVER, "it failed", status=503)
    with folder() as place:
        path = place / "journal.db"
        died(
            path,
            (B, "pause", wanted()),
            (C, "start", wanted(H)),
            (A, "resume", wanted()),
            (A, "update-schedule", wanted(H)),
        )
        api = Scripted(live(Status.PAUSED), away, live(Status.PAUSED), live(Status.PAUSED))
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS + 9) as journal:
            assert run(settle(api=api, journal=journal)) == (
                "an earlier apply was cut off during pause of bbb; a read shows that it took effect",
                (
                    "an earlier apply was cut off during start of ccc; it can't be read now, so that stays open "
                    "(it failed (HTTP 503))"
                ),
                "an earlier apply was cut off during resume of aaa; a read shows that it had no effect",
                "an earlier apply was cut off during update-schedule of aaa; a read can't tell whether it took effect",
            )
            assert [left.portfolio for left in journal.unsettled()] == [C]
        assert rows(path, "SELECT portfolio, outcome, detail, outcome_ms FROM writes ORDER BY id") == [
            (B, "seen", SETTLED, NOON_MS + 9),
            (C, None, None, None),
            (A, "unseen", SETTLED, NOON_MS + 9),
            (A, "unknown", SETTLED, NOON_MS + 9),
        ]
    assert api.asked == [("read", B), ("read", C), ("read", A), ("read", A)]


def test_a_refused_key_ends_it() -> None:
    """With a key that is refused nothing can be settled, so nothing is tried further."""
    with folder() as place:
        path = place / "journal.db"
        died(path, (A, "pause", wanted()), (B, "pause", wanted()))
        api = Scripted(ApiError(FailureKind.UNAUTHENTICATED, "no key"))
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            with pytest.raises(ApiError, match="no key"):
                run(settle(api=api, journal=journal))
            assert len(journal.unsettled()) == 2


def test_nothing_to_settle() -> None:
    """Without an open write nothing is read and nothing is said."""
    with (
        folder() as place,
        open_journal(place / "journal.db", base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal,
    ):
        assert run(settle(api=Scripted(), journal=journal)) == ()
