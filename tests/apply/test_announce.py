"""The announced write itself, alike for every kind of write: what sends it back to the look, and how often.

And looking for its effect until it is seen: how often, how long, and what is left at the end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.announce import LOOKS_TOO_OLD, WAITS, WAITS_SECONDS, Announcer, Sight, look_until, may_send_again
from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.run import Stop
from reconciler.apply.trigger import Order, trigger_all
from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Before, Call, Intent, OpenIntent
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Live,
    PortfolioId,
    Status,
    StrategyId,
    StrategyLive,
    StrategyStatus,
    Verb,
    address_of,
)
from reconciler.core.ports import Confirmation, WriteNotSent
from reconciler.core.rebalance import Rebalance, RebalanceResult, RebalanceStatus, RecentRebalances
from tests.apply.carried import LOOKS, apply, plan_of, tokens
from tests.apply.rebalances import Notes, Rebalancer
from tests.apply.scripted import Scripted, edit, intent, rows
from tests.support import BASE_URL, HOUR_MS, NOON_MS, cadence_change, folder, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A, S = PortfolioId("aaa"), StrategyId("s1")
H = HOUR_MS
FREEZE = "Freeze [glider-reconciler 00f00d]"


def change(verb: Verb, before: Status, after: Status, **more: Any) -> Change:
    return Change(
        id=A,
        verb=verb,
        before=Snapshot(state=before, interval_ms=24 * H, offset_ms=None),
        after=Snapshot(state=after, interval_ms=12 * H, offset_ms=H),
        fields=(),
        reason=ChangeReason.SCHEDULE_DIFFERS,
        **more,
    )


def live(status: Status, **more: Any) -> Live:
    return Live(id=A, status=status, **more)


def ours(token: int) -> Live:
    return live(Status.PAUSED, pause_reason=f"Declared in Git [glider-reconciler {token:06x}]")


def cadence(word: Cadence) -> StrategyLive:
    return StrategyLive(id=S, status=StrategyStatus.FOUND, cadence=word)


def runs(*names: str) -> RecentRebalances:
    return RecentRebalances(
        rebalances=tuple(Rebalance(id=name, status=RebalanceStatus.RUNNING, word="running") for name in names)
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of write: a service that shows ``before``, then ``after`` it, and ``ok`` as its good answer.

    ``sent`` is the request, with the token in it where one is sent. ``after_lost`` is what the reads for its effect
    show where it took effect, and ``still`` where it did not. ``listed`` is what is asked before everything else, and
    ``reads_back`` whether a good answer is followed by a read.
    """

    call: Call
    of: Change | None
    before: object
    ok: object
    done: Callable[[int], object]
    sent: Callable[[int], tuple[object, ...]]
    look: tuple[object, ...] = ("read", A)
    lost_look: tuple[object, ...] = ("read", A)
    after_lost: Callable[[int], object] | None = None
    still: object = None
    listed: bool = False
    intended: Intent
    moved: object = None

    def effect(self, token: int) -> object:
        return (self.after_lost or self.done)(token)


RUNS, RESTS = live(Status.ACTIVE), live(Status.PAUSED, pause_reason=FREEZE)
SET = live(Status.ACTIVE, interval_ms=12 * H, offset_ms=H)
STORED = Confirmation(interval_ms=12 * H, offset_ms=H)
SCHEDULE: dict[str, Any] = {"interval_ms": 12 * H, "offset_ms": H}
GONE = live(Status.ARCHIVED)

KINDS = {
    "pause": Kind(
        call=Call.PAUSE,
        of=change(Verb.PAUSE, Status.ACTIVE, Status.PAUSED),
        before=RUNS,
        ok=Confirmation(),
        done=ours,
        sent=lambda token: ("pause", A, f"Declared in Git [glider-reconciler {token:06x}]"),
        intended=intent(A, Call.PAUSE, "000001", **SCHEDULE, before=Before(status=Status.ACTIVE)),
        moved=GONE,
    ),
    "resume": Kind(
        call=Call.RESUME,
        of=change(Verb.RESUME, Status.PAUSED, Status.ACTIVE, pause_reason=FREEZE),
        before=RESTS,
        ok=Confirmation(),
        done=lambda _: RUNS,
        sent=lambda _: ("resume", A, "Declared in Git"),
        intended=intent(A, Call.RESUME, "000001", **SCHEDULE, before=Before(status=Status.PAUSED, pause_reason=FREEZE)),
        moved=live(Status.PAUSED, pause_reason="Audit"),
    ),
    "update": Kind(
        call=Call.UPDATE_SCHEDULE,
        of=change(Verb.UPDATE, Status.ACTIVE, Status.ACTIVE, writes_schedule=True),
        before=live(Status.ACTIVE, interval_ms=24 * H, offset_ms=5),
        ok=STORED,
        done=lambda _: SET,
        sent=lambda _: ("update-schedule", A, 12 * H, H),
        intended=intent(
            A,
            Call.UPDATE_SCHEDULE,
            "000001",
            **SCHEDULE,
            before=Before(status=Status.ACTIVE, interval_ms=24 * H, offset_ms=5),
        ),
        moved=live(Status.ACTIVE, interval_ms=31 * H),
    ),
    "start": Kind(
        call=Call.START,
        of=change(Verb.START, Status.INACTIVE, Status.ACTIVE, writes_schedule=True, run_on_start=True),
        before=live(Status.INACTIVE),
        ok=STORED,
        done=lambda _: SET,
        sent=lambda _: ("start", A, 12 * H, H, True),
        intended=intent(A, Call.START, "000001", **SCHEDULE, run_on_start=True, before=Before(status=Status.INACTIVE)),
        moved=RESTS,
    ),
    "cadence": Kind(
        call=Call.SET_CADENCE,
        of=cadence_change(S, Cadence.WEEKLY, Cadence.DAILY),
        before=cadence(Cadence.WEEKLY),
        ok=Cadence.DAILY,
        done=lambda _: cadence(Cadence.DAILY),
        sent=lambda _: ("set-cadence", S, Cadence.DAILY),
        look=("read-strategy", S),
        lost_look=("read-strategy", S),
        intended=intent(
            address_of(S),
            Call.SET_CADENCE,
            "000001",
            api=ApiVersion.V2,
            cadence=Cadence.DAILY,
            before=Before(cadence=Cadence.WEEKLY),
        ),
        moved=cadence(Cadence.HOURLY),
    ),
    "rebalance": Kind(
        call=Call.REBALANCE,
        of=None,
        before=RUNS,
        ok=Confirmation(run="w2"),
        done=lambda _: RUNS,
        sent=lambda _: ("trigger", A, False),
        lost_look=("recent", A, 10),
        after_lost=lambda _: runs("w2", "w1"),
        still=runs("w1"),
        listed=True,
        intended=intent(A, Call.REBALANCE, "000001", before=Before(status=Status.ACTIVE, runs=("w1",))),
        moved=RESTS,
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@dataclass
class Ended:
    """What one write left behind, whatever its kind. ``calls`` is ``None`` for a rebalance, which tells none."""

    asked: list[tuple[object, ...]]
    journal: list[tuple[str | None, str | None]]
    entered: int
    outcome: str = ""
    detail: str = ""
    calls: list[Call] | None = None
    notes: list[str] = field(default_factory=list)
    raised: bool = False


class Harness:
    """A service for one kind of write, and everything needed to have it made; every answer must be used up."""

    def __init__(self, kind: Kind, *script: tuple[tuple[object, ...], object], stop: Stop | None = None) -> None:
        begun = [(("recent", A, 10), runs("w1"))] if kind.listed else []
        self.script = [*begun, *script]
        self.kind = kind
        self.stop = stop or Stop()
        self.api = Rebalancer(*(answer for _, answer in self.script))
        self.before: Callable[[OpenJournal, Path], object] = lambda *_: None
        self.slow_ms = 0
        """How long every use of the journal's clock takes: a disk that is slow."""

    def _now_ms(self) -> int:
        self.api.clock.advance(self.slow_ms)
        return self.api.clock.now_ms()

    def end(self) -> Ended:
        with folder() as place:
            path = place / "journal.db"
            try:
                told = self._rebalance(path) if self.kind.of is None else self._apply(path)
            except asyncio.CancelledError:
                told = {"raised": True}
            written = rows(path, "SELECT outcome, detail FROM writes ORDER BY id")
        assert self.api.asked == [asked for asked, _ in self.script]
        assert self.api.rooms == {}
        return Ended(asked=self.api.asked, journal=written, entered=self.api.entered, **told)

    def _apply(self, path: Path) -> dict[str, Any]:
        assert self.kind.of is not None
        made = plan_of(self.kind.of)
        report = apply(
            path,
            made,
            self.api,
            stop=self.stop,
            now_ms=self._now_ms,
            before=lambda journal: self.before(journal, path),
        )
        (one,) = report.results
        return {
            "outcome": one.outcome.value,
            "detail": one.detail,
            "calls": list(one.calls),
            "notes": list(one.notes),
        }

    def _rebalance(self, path: Path) -> dict[str, Any]:
        with open_journal(path, base_url=BASE_URL, now_ms=self._now_ms) as journal:
            journal.open_run(fingerprint="rebalance", tool="t")
            self.before(journal, path)

            async def work() -> RebalanceResult:
                with QueuedJournal(journal) as queued:
                    asking = trigger_all(
                        [Order(portfolio=A, version=ApiVersion.V1)],
                        announcer=Announcer(api=self.api, journal=queued, clock=self.api.clock, token=tokens()),
                        observer=Notes(),
                        parallelism=1,
                        stop=self.stop,
                    )
                    return (await asyncio.wait_for(asking, timeout=60))[A]

            one = run(work())
        return {"outcome": one.outcome.value, "detail": one.detail, "notes": list(one.notes)}


def good(kind: Kind, token: int = 1) -> list[tuple[tuple[object, ...], object]]:
    """Return a look, the write with a good answer, and the read that believes it."""
    back = [] if kind.listed else [(kind.look, kind.done(token))]
    return [(kind.look, kind.before), (kind.sent(token), kind.ok), *back]


def late(kind: Kind, token: int, age_ms: int | None) -> list[tuple[tuple[object, ...], object]]:
    return [(kind.look, kind.before), (kind.sent(token), WriteNotSent(age_ms))]


def sent_rows(kind: Kind) -> list[tuple[str, str]]:
    return [("confirmed", "workflow w2" if kind.listed else "")]


def success(kind: Kind) -> str:
    return "accepted" if kind.listed else "done"


def calls(kind: Kind, count: int = 1) -> list[Call] | None:
    return None if kind.listed else [kind.call] * count


@every_kind
def test_it_is_announced_before_it_is_sent(kind: Kind) -> None:
    """The journal holds all of it, without an outcome, when the service gets it; then it has one."""
    opened: list[OpenIntent] = []
    kept: list[OpenJournal] = []

    def answers() -> object:
        opened.extend(kept[0].unsettled())
        return kind.ok

    there = Harness(kind, *((asked, answers if answer is kind.ok else answer) for asked, answer in good(kind)))
    there.before = lambda journal, _: kept.append(journal)
    ended = there.end()
    assert opened == [OpenIntent(number=1, intent=replace(kind.intended, reason=""), at_ms=NOON_MS)]
    assert (ended.outcome, ended.journal, ended.entered) == (success(kind), sent_rows(kind), 1)


@every_kind
@pytest.mark.parametrize("times", range(LOOKS_TOO_OLD))
def test_a_look_that_was_too_old_is_made_again(kind: Kind, times: int) -> None:
    """Nothing was sent, and it is told as that: each attempt has a token, a look and a row of its own."""
    script = [one for token in range(1, times + 1) for one in late(kind, token, 2_500)]
    ended = Harness(kind, *script, *good(kind, times + 1)).end()
    assert ended.journal == [("not_sent", "the look before it was 2500ms old")] * times + sent_rows(kind)
    assert (ended.outcome, ended.calls, ended.entered) == (success(kind), calls(kind), times + 1)
    assert ended.notes == []


@every_kind
@pytest.mark.parametrize(("slow_ms", "service", "disk"), [(0, "3s", "0s"), (1_000, "2s", "1s"), (9_000, "0s", "3s")])
def test_looks_that_are_too_old_end_it(kind: Kind, slow_ms: int, service: str, disk: str) -> None:
    """After three of them it is not attempted, and says how long service and disk took of the last."""
    there = Harness(kind, *(one for token in range(1, LOOKS_TOO_OLD + 1) for one in late(kind, token, 3_000)))
    there.slow_ms = slow_ms
    ended = there.end()
    assert ended.journal == [("not_sent", "the look before it was 3s old")] * LOOKS_TOO_OLD
    assert (ended.outcome, ended.calls, ended.entered) == ("not_attempted", calls(kind, 0), LOOKS_TOO_OLD)
    assert ended.detail == (
        f"not sent: 3 looks were too old before the write could follow; of the last 3s, {service} went to the "
        f"service and {disk} to the disk of the journal; run again when they are faster"
    )


@every_kind
@pytest.mark.parametrize("times", [1, WAITS - 1])
def test_a_write_that_would_have_had_to_wait_is_looked_for_again(kind: Kind, times: int) -> None:
    """Others used the limit up in between: seven times it looks again."""
    script = [one for token in range(1, times + 1) for one in late(kind, token, None)]
    ended = Harness(kind, *script, *good(kind, times + 1)).end()
    assert ended.journal == [("not_sent", "it would have had to wait for the rate limit")] * times + sent_rows(kind)
    assert (ended.outcome, ended.calls) == (success(kind), calls(kind))


@every_kind
def test_waits_end_it(kind: Kind) -> None:
    """The eighth time it is not attempted."""
    ended = Harness(kind, *(one for token in range(1, WAITS + 1) for one in late(kind, token, None))).end()
    assert ended.journal == [("not_sent", "it would have had to wait for the rate limit")] * WAITS
    assert (ended.outcome, ended.calls) == ("not_attempted", calls(kind, 0))
    assert ended.detail == ("not sent: the rate limit let the look pass and not the write, 8 times; run again later")


@every_kind
def test_what_moved_meanwhile_is_found_by_the_next_look(kind: Kind) -> None:
    """A person came in between: nothing is sent any more."""
    ended = Harness(kind, *late(kind, 1, 2_500), (kind.look, kind.moved)).end()
    assert ended.journal == [("not_sent", "the look before it was 2500ms old")]
    assert ended.outcome == ("refused" if kind.listed else "stale")
    assert ended.calls == calls(kind, 0)


BUSY = ApiError(FailureKind.RATE_LIMITED, "slow down", status=429)
BUSY_ROW = ("failed", "slow down (HTTP 429)")


@every_kind
@pytest.mark.parametrize("times", [1, 2, 12])
def test_a_rate_limit_sends_it_back_to_the_look(kind: Kind, times: int) -> None:
    """A 429 proves that nothing was done; how often, the room says, and each time there is a look."""
    script = [one for n in range(times) for one in ((kind.look, kind.before), (kind.sent(n + 1), BUSY))]
    ended = Harness(kind, *script, *good(kind, times + 1)).end()
    assert ended.journal == [BUSY_ROW] * times + sent_rows(kind)
    assert (ended.outcome, ended.calls, ended.entered) == (success(kind), calls(kind), times + 1)


@every_kind
def test_a_rate_limit_to_the_end(kind: Kind) -> None:
    """Where the room gives up, the refusal is what is told, and that this call got it."""
    there = Harness(kind, (kind.look, kind.before), (kind.sent(1), BUSY))
    there.api.entering = [None, BUSY]
    ended = there.end()
    assert ended.journal == [BUSY_ROW]
    assert (ended.outcome, ended.calls) == ("refused" if kind.listed else "failed", calls(kind))
    assert ended.detail == "slow down (HTTP 429)"


@every_kind
def test_a_look_that_fails_after_a_rate_limit(kind: Kind) -> None:
    """Nothing was changed by then, and the failure that is told is the look's."""
    away = ApiError(FailureKind.UNREACHABLE, "away")
    ended = Harness(kind, (kind.look, kind.before), (kind.sent(1), BUSY), (kind.look, away)).end()
    assert (ended.journal, ended.calls) == ([BUSY_ROW], calls(kind, 0))
    what = "asked for" if kind.listed else "written"
    assert ended.detail == f"reading failed, so nothing was {what}: away"


@every_kind
def test_no_room_at_all(kind: Kind) -> None:
    """Where there is no room for the first look, nothing was read and nothing written."""
    there = Harness(kind)
    there.api.entering = [BUSY]
    ended = there.end()
    assert (ended.journal, ended.calls) == ([], calls(kind, 0))
    what = "asked for" if kind.listed else "written"
    assert ended.detail == f"reading failed, so nothing was {what}: slow down (HTTP 429)"


@every_kind
def test_the_other_route_is_tried_once(kind: Kind) -> None:
    """It was the wrong path family: the same write goes to the other one after another look, and no third time."""
    wrong = ApiError(FailureKind.NOT_FOUND, "no route", status=404, other_route=True)
    first = [(kind.look, kind.before), (kind.sent(1), wrong)]
    ended = Harness(kind, *first, *good(kind, 2)).end()
    assert ended.journal == [("failed", "no route (HTTP 404)"), *sent_rows(kind)]
    assert (ended.outcome, ended.calls) == (success(kind), calls(kind))
    ended = Harness(kind, *first, (kind.look, kind.before), (kind.sent(2), wrong)).end()
    assert ended.journal == [("failed", "no route (HTTP 404)")] * 2
    assert (ended.outcome, ended.calls) == ("refused" if kind.listed else "failed", calls(kind))
    assert ended.detail == "no route (HTTP 404)"


@every_kind
@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_refusal_is_looked_at_once(kind: Kind, status: int) -> None:
    """What is refused because it is so already is done; where it is not so, or can't be read, it is refused."""
    refused = ApiError(FailureKind.REFUSED, "no", status=status)
    text = f"no (HTTP {status})"
    begun = [(kind.look, kind.before), (kind.sent(1), refused)]
    looked = status in (400, 409)
    away = ApiError(FailureKind.UNREACHABLE, "away")
    for shown in (kind.before, away, kind.moved) if looked else (None,):
        ended = Harness(kind, *begun, *([(kind.look, shown)] if looked else [])).end()
        assert ended.journal == [("failed", text)]
        assert (ended.outcome, ended.detail) == ("refused" if kind.listed else "failed", text)
        assert ended.calls == calls(kind)
    if looked and not kind.listed:
        ended = Harness(kind, *begun, (kind.look, kind.done(1))).end()
        assert (ended.journal, ended.outcome) == ([("failed", text)], "already_done")


LOST = ApiError(FailureKind.INTERRUPTED, "no answer")


@every_kind
def test_a_lost_answer_whose_effect_shows(kind: Kind) -> None:
    """It took effect: it is not sent again, and how that was found out is told."""
    shown = [(kind.lost_look, kind.effect(1))]
    back = [] if kind.listed else [(kind.look, kind.done(1))]
    ended = Harness(kind, (kind.look, kind.before), (kind.sent(1), LOST), *shown, *back).end()
    assert ended.journal == [("seen", "workflow w2" if kind.listed else "no answer")]
    assert (ended.outcome, ended.calls, len(ended.notes)) == (success(kind), calls(kind), 1)


@every_kind
def test_a_lost_answer_without_effect(kind: Kind) -> None:
    """Only what sets a state or a cadence is sent again, after another look; all else stays unknown."""
    still = kind.still or kind.before
    begun = [(kind.look, kind.before), (kind.sent(1), LOST), *[(kind.lost_look, still)] * LOOKS]
    repeats = kind.call in (Call.PAUSE, Call.RESUME, Call.SET_CADENCE)
    assert may_send_again(kind.intended) is repeats
    ended = Harness(kind, *begun, *(good(kind, 2) if repeats else [])).end()
    assert ended.journal == ([("unseen", "no answer"), *sent_rows(kind)] if repeats else [("unknown", "no answer")])
    assert (ended.outcome, ended.calls) == ("done" if repeats else "unknown", calls(kind, 1 + repeats))
    assert ended.entered == 1 + repeats


@every_kind
def test_a_lost_answer_and_a_person_before_it_is_sent_again(kind: Kind) -> None:
    """The look before the second attempt finds what moved, and nothing more is sent."""
    if not may_send_again(kind.intended):
        return
    begun = [(kind.look, kind.before), (kind.sent(1), LOST), *[(kind.look, kind.before)] * LOOKS]
    ended = Harness(kind, *begun, (kind.look, kind.moved)).end()
    assert (ended.journal, ended.outcome, ended.notes) == ([("unseen", "no answer")], "stale", [])


@every_kind
def test_after_a_lost_answer_looks_count_anew(kind: Kind) -> None:
    """The second attempt may be too old as well: then it looks again, up to the same bound in all."""
    if not may_send_again(kind.intended):
        return
    begun = [(kind.look, kind.before), (kind.sent(1), LOST), *[(kind.look, kind.before)] * LOOKS]
    ended = Harness(kind, *begun, *late(kind, 2, 2_500), *good(kind, 3)).end()
    old = ("not_sent", "the look before it was 2500ms old")
    assert ended.journal == [("unseen", "no answer"), old, ("confirmed", "")]
    assert (ended.outcome, ended.calls) == ("done", calls(kind, 2))
    assert ended.notes == [f"{kind.call} had no effect (no answer), so it was sent again"]


CUT = "cut"
INTERRUPTIONS: dict[str, tuple[list[str], list[tuple[str, str]]]] = {
    "the look": (["look:cut"], []),
    "the write": (["look", "send:cut"], [("unknown", "interrupted before its answer came")]),
    "the first read after a lost answer": (
        ["look", "send:lost", "lost:cut"],
        [("unknown", "no answer; interrupted before a read showed its effect")],
    ),
    "the second read after a lost answer": (
        ["look", "send:lost", "lost", "lost:cut"],
        [("unknown", "no answer; interrupted before a read showed its effect")],
    ),
    "the look after a refusal": (["look", "send:refused", "look:cut"], [("failed", "no (HTTP 409)")]),
    "the look after a limit": (["look", "send:busy", "look:cut"], [BUSY_ROW]),
}


def interrupted(kind: Kind, steps: list[str], cut: object) -> list[tuple[tuple[object, ...], object]]:
    answers = {
        "cut": cut,
        "lost": LOST,
        "busy": BUSY,
        "refused": ApiError(FailureKind.REFUSED, "no", status=409),
    }
    asked = {"look": (kind.look, kind.before), "lost": (kind.lost_look, kind.still or kind.before)}
    script = []
    for step in steps:
        what, _, how = step.partition(":")
        request, answer = (kind.sent(1), kind.ok) if what == "send" else asked[what]
        script.append((request, answers.get(how, answer)))
    return script


@every_kind
@pytest.mark.parametrize(("steps", "journal"), INTERRUPTIONS.values(), ids=INTERRUPTIONS)
@pytest.mark.parametrize("by_us", [True, False])
def test_an_interruption_at_every_await(
    kind: Kind, steps: list[str], journal: list[tuple[str, str]], by_us: bool
) -> None:
    """The journal has the truth of it, no intent stays open; after a stop of ours the result does too."""
    stop = Stop()
    ended = Harness(kind, *interrupted(kind, steps, stop if by_us else asyncio.CancelledError()), stop=stop).end()
    assert (ended.journal, ended.raised) == (journal, not by_us)
    if by_us:
        sent = any(step.startswith("send") for step in steps) and "send:busy" not in steps
        assert ended.outcome == ("unknown" if sent else "not_attempted")


@every_kind
@pytest.mark.parametrize(
    ("when", "script", "outcome", "journal"),
    [
        ("BEFORE INSERT", ["look"], "not_attempted", []),
        ("BEFORE UPDATE", ["look", "send", "back"], "unknown", [(None, None)]),
        ("BEFORE UPDATE", ["look", "send:old", "look"], "not_attempted", [(None, None)]),
    ],
)
def test_a_journal_that_can_not_be_written(
    kind: Kind, when: str, script: list[str], outcome: str, journal: list[tuple[None, None]]
) -> None:
    """Without a durable intent nothing is sent; without a durable outcome it is unknown; both stop the rest."""
    steps = {"look": (kind.look, kind.before), "send": (kind.sent(1), kind.ok)}
    steps["send:old"] = (kind.sent(1), WriteNotSent(2_500))
    if not kind.listed:  # what a good answer wrote is read back while its outcome is on its way to the disk
        steps["back"] = (kind.look, kind.done(1))
    there = Harness(kind, *(steps[step] for step in script if step in steps))
    there.before = lambda _, path: edit(
        path, f"CREATE TRIGGER full {when} ON writes BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    ended = there.end()
    assert (ended.outcome, ended.journal) == (outcome, journal)
    assert "the disk is full" in ended.detail
    assert there.stop.why is not None
    assert there.stop.why.endswith("can't be used: the disk is full")


ODD = live(Status.ARCHIVED)
NO_KEY = ApiError(FailureKind.UNAUTHENTICATED, "no key")
FORBIDDEN = ApiError(FailureKind.FORBIDDEN, "not you")
AWAY = ApiError(FailureKind.UNREACHABLE, "no connection")


@pytest.mark.parametrize(
    ("answers", "sight", "waited_ms"),
    [
        ([RESTS], Sight(RESTS, expected=True), 0),
        ([RUNS, RESTS], Sight(RESTS, expected=True), 200),
        ([RUNS, ODD, RUNS, RUNS, RESTS], Sight(RESTS, expected=True), 3000),
        ([RUNS, RUNS, RUNS, RUNS, ODD], Sight(ODD, expected=False), 3000),
        ([AWAY, RESTS], Sight(RESTS, expected=True), 200),
        ([AWAY] * 5, Sight(None, expected=False), 3000),
        ([RUNS, RUNS, RUNS, RUNS, AWAY], Sight(None, expected=False), 3000),
        ([AWAY, AWAY, AWAY, AWAY, RUNS], Sight(RUNS, expected=False), 3000),
        ([NO_KEY], Sight(None, expected=False), 0),
        ([RUNS, NO_KEY], Sight(None, expected=False), 200),
        ([RUNS, RUNS, FORBIDDEN], Sight(None, expected=False), 600),
    ],
)
def test_looking_until_something_is_seen(answers: list[object], sight: Sight[Live], waited_ms: int) -> None:
    """Five looks at most, until one shows it; a failed read shows nothing, a refused key ends it."""
    api = Scripted(*answers)
    looking = look_until(lambda: api.read(A), lambda live: live.status is Status.PAUSED, api.clock)
    assert run(looking) == sight
    assert api.asked == [("read", A)] * len(answers)
    assert api.clock.now_ms() == NOON_MS + waited_ms


def test_waits_of_looking() -> None:
    """Five looks within three seconds, the first at once."""
    assert WAITS_SECONDS == (0.0, 0.2, 0.4, 0.8, 1.6)
