"""What became of the writes of a run that died: what a read proves, and what stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import open_journal
from reconciler.apply.trigger import LISTED, find_run
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.evidence import MARK, pause_id
from reconciler.core.intent import Before, Call, Intent, OpenIntent
from reconciler.core.model import ApiVersion, Live, PortfolioId, Status
from reconciler.core.rebalance import Rebalance, RebalanceStatus, RecentRebalances
from tests.apply.rebalances import Rebalancer
from tests.apply.scripted import Scripted, intent, rows
from tests.support import BASE_URL, HOUR_MS, NOON_MS, folder, run, settled

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
H = HOUR_MS
MINUTE_MS = 60_000
SETTLED = "an earlier apply was cut off; settled by reading"
AWAY = ApiError(FailureKind.SERVER, "it failed", status=503)


def live(status: Status, interval: int | None = None, offset: int | None = None, **more: Any) -> Live:
    return Live(id=A, status=status, interval_ms=interval, offset_ms=offset, **more)


def died(place: Path, *writes: Intent) -> None:
    """Leave a journal as a run that died over these writes."""
    with open_journal(place, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for write in writes:
            journal.begin(write)


RUNS, FREEZE = live(Status.ACTIVE), "Freeze [glider-reconciler 00f00d]"
PAUSE = intent(A, Call.PAUSE, before=Before(status=Status.ACTIVE))
RESUME = intent(A, Call.RESUME, before=Before(status=Status.PAUSED, pause_reason=FREEZE))
LIFT = replace(RESUME, before=Before(status=Status.PAUSED, pause_reason=f"Freeze {MARK}"))
START = intent(A, Call.START, interval_ms=12 * H, before=Before(status=Status.INACTIVE))
UPDATE = intent(
    A, Call.UPDATE_SCHEDULE, interval_ms=12 * H, offset_ms=H, before=Before(status=Status.ACTIVE, interval_ms=24 * H)
)
STOP = replace(PAUSE, api=ApiVersion.V2, before=Before(status=Status.ACTIVE, due_ms=NOON_MS, interval_ms=H))
NOON = pause_id("2026-11-22T12:00:00Z")
GO = intent(A, Call.RESUME, api=ApiVersion.V2, before=Before(status=Status.PAUSED, due_ms=NOON_MS))
SHOWN, UNSEEN = ("seen", "shows that it took effect"), ("unseen", "shows that it had no effect")
THEIRS = ("unknown", "shows it paused, but not that the pause is ours")
OPEN = ("unknown", "can't tell whether it took effect")


@pytest.mark.parametrize(
    ("sent", "found", "expected"),
    [
        (PAUSE, live(Status.PAUSED, pause_reason="Paused: Audit [glider-reconciler 0000a1]"), SHOWN),
        (PAUSE, live(Status.PAUSED, pause_reason="Paused: Audit [glider-reconciler 0000a2]"), THEIRS),
        (PAUSE, live(Status.PAUSED, pause_reason=f"Paused: Audit {MARK}"), THEIRS),
        (PAUSE, live(Status.PAUSED), THEIRS),
        (PAUSE, RUNS, UNSEEN),
        (PAUSE, live(Status.INACTIVE), OPEN),
        (RESUME, RUNS, SHOWN),
        (RESUME, live(Status.PAUSED, pause_reason=FREEZE), UNSEEN),
        (RESUME, live(Status.PAUSED, pause_reason="Audit"), OPEN),
        (LIFT, live(Status.PAUSED, pause_reason=f"Freeze {MARK}"), OPEN),
        (START, RUNS, SHOWN),
        (START, live(Status.INACTIVE), UNSEEN),
        (START, live(Status.PAUSED), OPEN),
        (UPDATE, live(Status.ACTIVE, 12 * H, H), SHOWN),
        (UPDATE, live(Status.PAUSED, 12 * H, H), SHOWN),
        (UPDATE, live(Status.ACTIVE, 12 * H, 0), OPEN),
        (UPDATE, live(Status.ACTIVE, 24 * H), UNSEEN),
        (UPDATE, live(Status.ACTIVE), OPEN),
        (STOP, live(Status.PAUSED, schedule_id=NOON), THEIRS),
        (STOP, live(Status.ACTIVE, next_run_ms=NOON_MS + H), UNSEEN),
        (STOP, live(Status.ACTIVE, next_run_ms=NOON_MS + H // 2), OPEN),
        (GO, RUNS, SHOWN),
        (GO, live(Status.PAUSED, schedule_id=NOON), UNSEEN),
        (GO, live(Status.PAUSED, schedule_id=pause_id("2026-11-22T13:00:00Z")), OPEN),
    ],
)
def test_what_a_read_tells_of_a_write(sent: Intent, found: Live, expected: tuple[str, str]) -> None:
    """A pause is shown by its own token alone, a resume undone by the very pause: all else stays unknown."""
    outcome, says = expected
    with folder() as place:
        path = place / "journal.db"
        died(path, sent)
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            (sentence,) = run(settled(journal, Scripted(found)))
        assert rows(path, "SELECT outcome, detail FROM writes") == [(outcome, SETTLED)]
    assert sentence == f"an earlier apply was cut off during {sent.call} of aaa; a read {says}"


def test_every_open_write_is_settled() -> None:
    """Oldest first, each with its sentence; what can't be read stays open, and nothing is written to the service."""
    with folder() as place:
        path = place / "journal.db"
        died(path, replace(PAUSE, address=B), replace(START, address=C), RESUME, UPDATE)
        resting = live(Status.PAUSED, pause_reason=FREEZE)
        api = Scripted(replace(resting, pause_reason="[glider-reconciler 0000a1]"), AWAY, resting, resting)
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS + 9) as journal:
            assert run(settled(journal, api)) == (
                "an earlier apply was cut off during pause of bbb; a read shows that it took effect",
                (
                    "an earlier apply was cut off during start of ccc; it can't be read now, so that stays open "
                    "(it failed (HTTP 503))"
                ),
                "an earlier apply was cut off during resume of aaa; a read shows that it had no effect",
                "an earlier apply was cut off during update-schedule of aaa; a read can't tell whether it took effect",
            )
            assert [left.intent.address for left in journal.unsettled()] == [C]
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
        died(path, PAUSE, replace(PAUSE, address=B))
        api = Scripted(ApiError(FailureKind.UNAUTHENTICATED, "no key"))
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            with pytest.raises(ApiError, match="no key"):
                run(settled(journal, api))
            assert len(journal.unsettled()) == 2


def test_nothing_to_settle() -> None:
    """Without an open write nothing is read and nothing is said."""
    with (
        folder() as place,
        open_journal(place / "journal.db", base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal,
    ):
        assert run(settled(journal, Scripted())) == ()


def workflow(name: str, begun_ms: int | None) -> Rebalance:
    return Rebalance(id=name, status=RebalanceStatus.RUNNING, word="running", started_ms=begun_ms)


ASKED = intent(A, Call.REBALANCE, before=Before(status=Status.ACTIVE, due_ms=NOON_MS + H, runs=("w1",)))
AT = NOON_MS


@pytest.mark.parametrize(
    ("sent", "listed", "found"),
    [
        (ASKED, [workflow("w2", AT), workflow("w1", AT)], True),
        (ASKED, [workflow("w2", AT - MINUTE_MS)], True),
        (ASKED, [workflow("w2", AT - MINUTE_MS - 1)], False),
        (ASKED, [workflow("w2", AT + 10 * MINUTE_MS)], True),
        (ASKED, [workflow("w2", AT + 10 * MINUTE_MS + 1)], False),
        (ASKED, [workflow("w2", None)], False),
        (ASKED, [workflow("w1", AT)], False),
        (ASKED, [], False),
        *(
            (replace(ASKED, before=replace(ASKED.before, due_ms=due_ms)), [workflow("w2", AT)], found)
            for due_ms, found in (
                (AT - 5 * MINUTE_MS - 1, True),
                (AT - 5 * MINUTE_MS, False),
                (AT, False),
                (AT + 7 * MINUTE_MS, False),
                (AT + 15 * MINUTE_MS, False),
                (AT + 15 * MINUTE_MS + 1, True),
                (None, True),
            )
        ),
        (
            replace(ASKED, before=Before(status=Status.PAUSED, due_ms=AT, runs=())),
            [workflow("w2", AT)],
            True,
        ),
    ],
)
def test_the_run_of_a_request_that_was_not_answered(sent: Intent, listed: list[Rebalance], found: bool) -> None:
    """A run that is new, began soon after, and can't be the scheduled one; nothing else is taken for it."""
    api = Rebalancer(RecentRebalances(rebalances=tuple(listed)))
    seen = run(find_run(OpenIntent(number=1, intent=sent, at_ms=AT), api))
    assert seen == (listed[0] if found else None)
    assert api.asked in ([], [("recent", A, LISTED)])


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (["w4", "w3", "w2", "w1"], "w2"),  # w4 is of the next day, w3 of the minute after
        (["w4", "w3", "w1"], "w3"),
        (["w4", "w1"], None),
    ],
)
def test_the_oldest_run_that_fits_is_taken(listed: list[str], found: str | None) -> None:
    """Later runs, of the schedule or of somebody, do not hide it."""
    begun = {"w1": AT, "w2": AT + 1, "w3": AT + MINUTE_MS, "w4": AT + 24 * H}
    api = Rebalancer(RecentRebalances(rebalances=tuple(workflow(name, begun[name]) for name in listed)))
    seen = run(find_run(OpenIntent(number=1, intent=ASKED, at_ms=AT), api))
    assert (seen and seen.id) == found


@pytest.mark.parametrize(
    "sent",
    [replace(ASKED, api=ApiVersion.V2), replace(ASKED, before=replace(ASKED.before, runs=None))],
)
def test_where_nothing_is_listed_nothing_is_found(sent: Intent) -> None:
    """On v2, and where the list was not known before, nothing is asked and nothing is found."""
    api = Rebalancer()
    assert run(find_run(OpenIntent(number=1, intent=sent, at_ms=AT), api)) is None
    assert api.asked == []
