"""The write of one cadence: what is sent, what each answer leaves behind, and every sentence, to the letter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.check import Standing, strategy_standing
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Call, WriteOutcome
from reconciler.core.model import Cadence, StrategyId, StrategyLive, StrategyStatus
from reconciler.core.report import Outcome
from tests.apply.carried import LOOKS, Script, Went, apply, carry_out, plan_of
from tests.apply.scripted import Scripted, intent
from tests.support import NOON_MS, cadence_change, folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.apply.journal import OpenJournal
    from reconciler.core.change import Change

S = StrategyId("01JWA")
HOURLY, DAILY, WEEKLY = Cadence.HOURLY, Cadence.DAILY, Cadence.WEEKLY
SET = Call.SET_CADENCE
CHANGE = cadence_change(S, WEEKLY, DAILY, reach=3)
BLIND = cadence_change(S, None, DAILY, reach=3)


def live(cadence: Cadence | None, **more: Any) -> StrategyLive:
    status = StrategyStatus.UNKNOWN if cadence is None else StrategyStatus.FOUND
    return StrategyLive(id=S, **{"status": status, "cadence": cadence, **more})


HIDDEN, ODD = live(None), live(None, word="biweekly")
AS_BEFORE, AS_WANTED, ELSE = live(WEEKLY), live(DAILY), live(HOURLY)
GONE, BROKEN = live(None, status=StrategyStatus.NOT_FOUND), live(None, status=StrategyStatus.UNREADABLE)
LOST = ApiError(FailureKind.INTERRUPTED, "no answer", status=504)
BUSY = ApiError(FailureKind.RATE_LIMITED, "slow down", status=429)
FORBIDDEN = ApiError(FailureKind.FORBIDDEN, "not yours", status=403)
CONFLICT = ApiError(FailureKind.REFUSED, "not now", status=409)
NO_READ = ApiError(FailureKind.UNREACHABLE, "no connection")
CUT = asyncio.CancelledError()
TEXT = "no answer (HTTP 504)"
UNNAMED = "Glider accepted the cadence without naming it"
READS, SENDS = ("read-strategy", S), ("set-cadence", S, DAILY)


def looks(*shown: object, times: int = 1) -> Script:
    return [(READS, one) for one in shown] * times


def row(outcome: str, detail: str = TEXT) -> tuple[str, str, str]:
    return "set-cadence", outcome, detail


def again(why: str = TEXT) -> str:
    return f"set-cadence had no effect ({why}), so it was sent again"


def seen(why: str = TEXT) -> str:
    return f"set-cadence failed ({why}), but a read shows that it took effect"


def maybe(why: str = TEXT) -> str:
    return f"set-cadence may or may not have taken effect: {why}"


OK = row("confirmed", "")
KNOWN = ("interrupted", TEXT, "")
NOT_SHOWN = "Glider accepted the cadence, but the strategy does not show it yet; plan again"
OTHER = "Glider stored hourly instead of daily"

CASES: dict[str, tuple[Change, Script, Went]] = {
    "set and shown": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, DAILY), *looks(AS_WANTED)],
        Went(journal=[OK], outcome=Outcome.DONE),
    ),
    "set, and shown late": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, DAILY), *looks(AS_BEFORE, NO_READ, AS_WANTED)],
        Went(journal=[OK], outcome=Outcome.DONE),
    ),
    "set, where no cadence is shown at all": (
        BLIND,
        [*looks(HIDDEN), (SENDS, DAILY), *looks(HIDDEN)],
        Went(journal=[OK], outcome=Outcome.DONE),
    ),
    **{
        f"set, and {name}": (
            of,
            [*looks(before), (SENDS, DAILY), *looks(shown, times=LOOKS)],
            Went(journal=[OK], outcome=Outcome.UNKNOWN, detail=NOT_SHOWN),
        )
        for name, of, before, shown in (
            ("shown as a word that nobody knows", BLIND, HIDDEN, ODD),
            ("gone since", CHANGE, AS_BEFORE, GONE),
            ("set by somebody since", CHANGE, AS_BEFORE, ELSE),
            ("not to be read since", CHANGE, AS_BEFORE, NO_READ),
        )
    },
    "set before": (
        CHANGE,
        looks(AS_WANTED),
        Went(outcome=Outcome.ALREADY_DONE, detail="Glider already is as desired"),
    ),
    **{
        name: (
            of,
            looks(shown),
            Went(outcome=Outcome.STALE, detail=f"it was {was} when planned, now {now}; plan again"),
        )
        for name, of, shown, was, now in (
            ("moved", CHANGE, ELSE, "weekly", "it is hourly"),
            ("moved to a word that nobody knows", BLIND, ODD, "unknown", "it is biweekly"),
            ("gone", CHANGE, GONE, "weekly", "Glider has no such strategy of yours"),
            ("not readable", CHANGE, BROKEN, "weekly", "it is unknown"),
        )
    },
    "the first read fails": (
        CHANGE,
        looks(NO_READ),
        Went(
            outcome=Outcome.FAILED,
            detail="reading failed, so nothing was written: no connection",
            error=("unreachable", "no connection", ""),
        ),
    ),
    "forbidden": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, FORBIDDEN)],
        Went(
            journal=[row("failed", "not yours (HTTP 403)")],
            outcome=Outcome.FAILED,
            detail="not yours (HTTP 403)",
            error=("forbidden", "not yours (HTTP 403)", ""),
        ),
    ),
    "refused": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, CONFLICT), *looks(AS_BEFORE)],
        Went(
            journal=[row("failed", "not now (HTTP 409)")],
            outcome=Outcome.FAILED,
            detail="not now (HTTP 409)",
            error=("refused", "not now (HTTP 409)", ""),
        ),
    ),
    "refused because it is set": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, CONFLICT), *looks(AS_WANTED)],
        Went(
            journal=[row("failed", "not now (HTTP 409)")],
            outcome=Outcome.ALREADY_DONE,
            detail="Glider already is as desired",
        ),
    ),
    "too many calls, then set": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, BUSY), *looks(AS_BEFORE), (SENDS, DAILY), *looks(AS_WANTED)],
        Went(journal=[row("failed", "slow down (HTTP 429)"), OK], outcome=Outcome.DONE, calls=[SET]),
    ),
    "too many calls, then set by somebody": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, BUSY), *looks(ELSE)],
        Went(
            journal=[row("failed", "slow down (HTTP 429)")],
            outcome=Outcome.STALE,
            detail="it was weekly when planned, now it is hourly; plan again",
            calls=[],
        ),
    ),
    "another one stored, and shown": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, HOURLY), *looks(ELSE, times=LOOKS)],
        Went(
            journal=[row("unknown", OTHER)],
            outcome=Outcome.UNKNOWN,
            detail=maybe(OTHER),
            error=("malformed", OTHER, "set-cadence"),
        ),
    ),
    "another one named, and ours shown": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, HOURLY), *looks(AS_WANTED, AS_WANTED)],
        Went(journal=[row("seen", OTHER)], outcome=Outcome.DONE, notes=[seen(OTHER)]),
    ),
    "cut off": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, CUT)],
        Went(journal=[row("unknown", "interrupted before its answer came")], raised=True),
    ),
    "lost, seen at the second look": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, LOST), *looks(AS_BEFORE, AS_WANTED, AS_WANTED)],
        Went(journal=[row("seen")], outcome=Outcome.DONE, notes=[seen()]),
    ),
    "accepted without a word, and seen": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, None), *looks(AS_WANTED, AS_WANTED)],
        Went(journal=[row("seen", UNNAMED)], outcome=Outcome.DONE, notes=[seen(UNNAMED)]),
    ),
    "lost, sent again": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, LOST), *looks(AS_BEFORE, times=LOOKS + 1), (SENDS, DAILY), *looks(AS_WANTED)],
        Went(journal=[row("unseen"), OK], outcome=Outcome.DONE, notes=[again()]),
    ),
    "lost, and set by somebody before it is sent again": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, LOST), *looks(AS_BEFORE, times=LOOKS), *looks(ELSE)],
        Went(
            journal=[row("unseen")],
            outcome=Outcome.STALE,
            detail="it was weekly when planned, now it is hourly; plan again",
        ),
    ),
    "lost, and there before it is sent again": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, LOST), *looks(AS_BEFORE, times=LOOKS), *looks(AS_WANTED, AS_WANTED)],
        Went(journal=[row("seen")], outcome=Outcome.DONE, notes=[seen()]),
    ),
    "lost twice": (
        CHANGE,
        [
            *looks(AS_BEFORE),
            (SENDS, LOST),
            *looks(AS_BEFORE, times=LOOKS + 1),
            (SENDS, LOST),
            *looks(AS_BEFORE, times=LOOKS),
        ],
        Went(
            journal=[row("unseen")] * 2,
            outcome=Outcome.UNKNOWN,
            detail=maybe(),
            notes=[again()],
            error=KNOWN,
        ),
    ),
    **{
        f"lost, {name}": (
            of,
            [*looks(before), (SENDS, LOST), *looks(shown, times=LOOKS)],
            Went(journal=[row("unknown")], outcome=Outcome.UNKNOWN, detail=maybe(), error=KNOWN),
        )
        for name, of, before, shown in (
            ("neither here nor there", CHANGE, AS_BEFORE, ELSE),
            ("and what is shown proves nothing", BLIND, HIDDEN, HIDDEN),
            ("nothing can be read", CHANGE, AS_BEFORE, NO_READ),
            ("and gone", CHANGE, AS_BEFORE, GONE),
        )
    },
    "accepted without a word, and seen nowhere": (
        BLIND,
        [*looks(HIDDEN), (SENDS, None), *looks(HIDDEN, times=LOOKS)],
        Went(
            journal=[row("unknown", UNNAMED)],
            outcome=Outcome.UNKNOWN,
            detail=maybe(UNNAMED),
            error=("malformed", UNNAMED, "set-cadence"),
        ),
    ),
    "accepted without a word, sent again": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, None), *looks(AS_BEFORE, times=LOOKS + 1), (SENDS, DAILY), *looks(AS_WANTED)],
        Went(journal=[row("unseen", UNNAMED), OK], outcome=Outcome.DONE, notes=[again(UNNAMED)]),
    ),
    "lost, then cut off": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, LOST), *looks(AS_BEFORE, CUT)],
        Went(journal=[row("unknown", f"{TEXT}; interrupted before a read showed its effect")], raised=True),
    ),
    "lost once, then forbidden": (
        CHANGE,
        [*looks(AS_BEFORE), (SENDS, LOST), *looks(AS_BEFORE, times=LOOKS + 1), (SENDS, FORBIDDEN)],
        Went(
            journal=[row("unseen"), row("failed", "not yours (HTTP 403)")],
            outcome=Outcome.FAILED,
            detail="set-cadence failed after set-cadence: not yours (HTTP 403)",
            error=("forbidden", "not yours (HTTP 403)", ""),
        ),
    ),
}


@pytest.mark.parametrize(("of", "script", "expected"), CASES.values(), ids=CASES)
def test_what_every_answer_leaves_behind(of: Change, script: Script, expected: Went) -> None:
    """One write is sent, and a second only where a read proves that the first did nothing; every end is told."""
    assert carry_out(of, script).whole == expected.whole


def remembers(cadence: Cadence) -> Callable[[OpenJournal], None]:
    """Return what leaves the record of an earlier write, with the token 0000a1."""

    def remember(journal: OpenJournal) -> None:
        journal.end(journal.begin(intent(CHANGE.id, SET, cadence=cadence)), WriteOutcome.CONFIRMED, "")

    return remember


@pytest.mark.parametrize(
    ("recorded", "since", "expected"),
    [
        (DAILY, None, (Outcome.ALREADY_DONE, "Glider already is as desired")),
        (DAILY, "0000a1", (Outcome.ALREADY_DONE, "Glider already is as desired")),
        (HOURLY, "0000a1", (Outcome.STALE, "it was weekly when planned, now it is unknown; plan again")),
        (
            HOURLY,
            None,
            (Outcome.STALE, "this journal has a write to it that the plan did not know of; plan again"),
        ),
        (
            WEEKLY,
            None,
            (Outcome.STALE, "this journal has a write to it that the plan did not know of; plan again"),
        ),
    ],
)
def test_a_record_stands_in_for_what_is_not_shown(
    recorded: Cadence, since: str | None, expected: tuple[Outcome, str]
) -> None:
    """Where the service shows no cadence, our own last write tells whether the change is still to be made."""
    outcome, detail = expected
    went = carry_out(replace(CHANGE, since=since), looks(HIDDEN), before=remembers(recorded))
    assert went.whole == Went(outcome=outcome, detail=detail).whole


STANDINGS = [
    *(
        (CHANGE, live(None, status=status), DAILY, Standing.ELSEWHERE)
        for status in (StrategyStatus.NOT_FOUND, StrategyStatus.UNREADABLE, StrategyStatus.NOT_READ)
    ),
    (CHANGE, ODD, DAILY, Standing.ELSEWHERE),
    (CHANGE, ODD, WEEKLY, Standing.ELSEWHERE),
    (CHANGE, live(DAILY), WEEKLY, Standing.AFTER),
    (CHANGE, live(WEEKLY), DAILY, Standing.BEFORE),
    (CHANGE, live(HOURLY), WEEKLY, Standing.ELSEWHERE),
    (CHANGE, HIDDEN, None, Standing.ELSEWHERE),
    (CHANGE, HIDDEN, WEEKLY, Standing.BEFORE),
    (CHANGE, HIDDEN, DAILY, Standing.AFTER),
    (CHANGE, HIDDEN, HOURLY, Standing.ELSEWHERE),
    (BLIND, live(HOURLY), None, Standing.BEFORE),
    (BLIND, HIDDEN, HOURLY, Standing.BEFORE),
    (cadence_change(S, DAILY, DAILY), live(DAILY), None, Standing.AFTER),
]


@pytest.mark.parametrize(("of", "shown", "recorded", "expected"), STANDINGS)
def test_where_a_strategy_stands(of: Change, shown: StrategyLive, recorded: Cadence | None, expected: Standing) -> None:
    """A read goes before our record, the wanted end before the planned one; what the plan saw must still be known."""
    assert strategy_standing(of, shown, recorded) is expected


def test_looks_take_as_long_as_they_are_told() -> None:
    """Between looks the clock passes, and never a moment before the first one."""
    api = Scripted(AS_BEFORE, DAILY, AS_BEFORE, AS_WANTED)
    with folder() as place:
        apply(place / "journal.db", plan_of(CHANGE), api)
    assert (api.answers, api.clock.now_ms()) == ([], NOON_MS + 200)
