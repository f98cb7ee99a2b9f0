"""Who carries out which change: what stops all runners, and what becomes of a change whose runner died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.run import Pace, SoleClaims, Stop, why_stop
from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Before, Call, Intent, WriteOutcome
from reconciler.core.model import Live, PortfolioId, Status, Verb
from reconciler.core.plan import Wave, write_waves
from reconciler.core.ports import Abandoned, Confirmation, Turn
from reconciler.core.report import Outcome, Result
from tests.apply.carried import apply
from tests.apply.carried import plan_of as plan
from tests.apply.scripted import Scripted, intent, rows
from tests.support import HOUR_MS, folder, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from reconciler.apply.journal import OpenJournal

A, B, C, D = (PortfolioId(one * 3) for one in "abcd")
H = HOUR_MS
OURS = "Freeze [glider-reconciler 00f00d]"
PAUSE = Change(
    id=A,
    verb=Verb.PAUSE,
    before=Snapshot(state=Status.ACTIVE, interval_ms=24 * H, offset_ms=None),
    after=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
    fields=(),
    reason=ChangeReason.DECLARED_PAUSED,
)
UPDATE = replace(
    PAUSE,
    verb=Verb.UPDATE,
    after=Snapshot(state=Status.ACTIVE, interval_ms=12 * H, offset_ms=H),
    reason=ChangeReason.SCHEDULE_DIFFERS,
    writes_schedule=True,
)
START = replace(UPDATE, verb=Verb.START, before=Snapshot(state=Status.INACTIVE, interval_ms=None, offset_ms=None))
RUNS, RESTS = Live(id=A, status=Status.ACTIVE, interval_ms=24 * H), Live(id=A, status=Status.INACTIVE)
PAUSED = Live(id=A, status=Status.PAUSED, pause_reason="Declared in Git [glider-reconciler 0000a1]")
AGAIN = replace(PAUSED, pause_reason="Declared in Git [glider-reconciler 000001]")
AWAY = ApiError(FailureKind.SERVER, "it failed", status=503)
NO_KEY = ApiError(FailureKind.UNAUTHENTICATED, "bad key", status=401)


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as where:
        yield where / "journal.db"


def ids(waves: Sequence[Wave]) -> list[tuple[str, bool]]:
    return [("".join(change.id[0] for change in wave.changes), wave.is_canary) for wave in waves]


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        (0, [("ab", False), ("cd", False)]),
        (1, [("a", True), ("b", False), ("c", True), ("d", False)]),
        (2, [("ab", True), ("cd", True)]),
        (3, [("ab", True), ("cd", True)]),
    ],
)
def test_waves(canary: int, expected: list[tuple[str, bool]]) -> None:
    """Of each stage the canary goes first; a wave is never empty."""
    changes = (PAUSE, replace(PAUSE, id=B), replace(UPDATE, id=C), replace(UPDATE, id=D))
    assert ids(write_waves(changes, canary=canary)) == expected
    assert write_waves((), canary=canary) == ()


@pytest.mark.parametrize(
    ("failed", "most", "canary", "refused", "why"),
    [
        (0, None, None, False, None),
        (9, None, None, False, None),
        (2, 2, None, False, None),
        (3, 2, None, False, "more than 2 failed"),
        (1, 0, A, False, "more than 0 failed"),
        (0, 0, A, False, "the canary aaa was not done"),
        (3, 2, A, True, "the key was refused"),
    ],
)
def test_what_stops_everything(
    failed: int, most: int | None, canary: PortfolioId | None, refused: bool, why: str | None
) -> None:
    """Too many failures, a canary that was not done, a refused key; nothing else."""
    assert why_stop(failed=failed, max_failures=most, canary=canary, refused=refused) == why


def test_a_canary_that_was_not_begun_was_not_done() -> None:
    """Where too many fail inside a canary, the waves after it are stopped for the same reason."""
    waves = write_waves((PAUSE, replace(PAUSE, id=B), replace(UPDATE, id=C)), canary=2)
    claims = SoleClaims(waves, max_failures=0)
    assert run(claims.take(0)) == Turn(change=PAUSE)
    run(claims.end(Result(change=PAUSE, outcome=Outcome.FAILED)))
    assert [run(claims.take(wave)).stopped for wave in (0, 1)] == ["more than 0 failed"] * 2


class OfTheDead(SoleClaims):
    """Claims that another runner had begun, each of them, before it died."""

    left = Abandoned()
    why: str | None = None

    async def take(self, wave: int) -> Turn:
        turn = await super().take(wave)
        return replace(turn, abandoned=self.left if turn.change is not None else None, stopped=self.why)


def wrote(call: Call, **more: Any) -> Intent:
    before = Before(status=Status.INACTIVE if call is Call.START else Status.ACTIVE, interval_ms=24 * H)
    schedule = {} if call is Call.PAUSE else {"interval_ms": 12 * H, "offset_ms": H}
    return intent(A, call, before=before, **{**schedule, **more})


def taken_over(
    place: Path, change: Change, left: Sequence[tuple[Intent, WriteOutcome | None]], *answers: object, why: str = ""
) -> tuple[Result, list[tuple[object, ...]], str | None]:
    """Carry out a change that a dead runner had begun; return its result, what was asked, and why it was stopped."""

    def begun(journal: OpenJournal) -> None:
        for write, outcome in left:
            number = journal.begin(write)
            if outcome is not None:
                journal.end(number, outcome, "")

    claims = OfTheDead(write_waves((change,), canary=0), max_failures=None)
    claims.why = why or None
    claims.left = Abandoned(unproven=WriteOutcome.UNKNOWN in [outcome for _, outcome in left])
    api, stop = Scripted(*answers), Stop()
    (result,) = apply(
        place, plan(change), api, before=begun, claims=claims, pace=Pace(parallelism=1), stop=stop
    ).results
    assert not api.answers
    return result, [asked for asked in api.asked if asked[0] != "read"], stop.why


DIED = "another runner had sent a write that may still take effect; plan again"
SENT = [("pause", A, "Declared in Git [glider-reconciler 000001]")]


@pytest.mark.parametrize(
    ("change", "left", "answers", "outcome", "detail", "sent"),
    [
        # It died before it announced anything, or after all that it had announced had an outcome.
        (PAUSE, [], [RUNS, Confirmation(), AGAIN], Outcome.DONE, "", SENT),
        (
            PAUSE,
            [(wrote(Call.PAUSE), WriteOutcome.CONFIRMED)],
            [PAUSED],
            Outcome.ALREADY_DONE,
            "Glider already is as desired",
            [],
        ),
        (PAUSE, [(wrote(Call.PAUSE), WriteOutcome.FAILED)], [RUNS, Confirmation(), AGAIN], Outcome.DONE, "", SENT),
        # Its pause arrived, or is proven not to have: then it goes on, and another pause would do no harm.
        (PAUSE, [(wrote(Call.PAUSE), None)], [PAUSED] * 2, Outcome.ALREADY_DONE, "Glider already is as desired", []),
        (PAUSE, [(wrote(Call.PAUSE), None)], [RUNS, RUNS, Confirmation(), AGAIN], Outcome.DONE, "", SENT),
        # A start would trade twice, and hardly any read shows a schedule.
        (START, [(wrote(Call.START), None)], [RESTS], Outcome.UNKNOWN, DIED, []),
        (UPDATE, [(wrote(Call.UPDATE_SCHEDULE), None)], [RUNS], Outcome.UNKNOWN, DIED, []),
        (
            START,
            [(wrote(Call.START), WriteOutcome.UNKNOWN)],
            [],
            Outcome.UNKNOWN,
            DIED,
            [],
        ),
        # What can't be read stays open.
        (PAUSE, [(wrote(Call.PAUSE), None)], [AWAY], Outcome.UNKNOWN, DIED, []),
        (PAUSE, [(wrote(Call.PAUSE), None)], [NO_KEY], Outcome.FAILED, None, []),
        # A halt's own pause may be under way, and is the halt's to settle.
        (PAUSE, [(wrote(Call.PAUSE, halt="h1"), None)], [RUNS, Confirmation(), AGAIN], Outcome.DONE, "", SENT),
    ],
)
def test_what_a_dead_runner_had_begun(
    place: Path,
    change: Change,
    left: Sequence[tuple[Intent, WriteOutcome | None]],
    answers: Sequence[object],
    outcome: Outcome,
    detail: str | None,
    sent: list[tuple[object, ...]],
) -> None:
    """It is settled by reading, and goes on only where another write can do nothing twice."""
    result, written, why = taken_over(place, change, left, *answers)
    assert (result.outcome, written) == (outcome, sent)
    assert detail is None or result.detail == detail
    assert why == (None if detail is not None else "the key was refused")


def test_what_a_dead_runner_had_begun_when_all_was_stopped(place: Path) -> None:
    """It is settled, and nothing more of it begins."""
    result, written, why = taken_over(place, PAUSE, [(wrote(Call.PAUSE), None)], RUNS, why="more than 2 failed")
    assert (result.outcome, result.detail, written) == (Outcome.NOT_ATTEMPTED, "more than 2 failed", [])
    assert why == "more than 2 failed"
    assert result.notes == (
        "another runner had begun it and could not end it",
        "an earlier apply was cut off during pause of aaa; a read shows that it had no effect",
    )
    assert rows(place, "SELECT outcome FROM writes") == [("unseen",)]
