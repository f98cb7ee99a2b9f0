"""Writes on v2 and of strategies: pinned to the pause that was reviewed, and told of in the journal as such."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.check import Standing, standing
from reconciler.apply.journal import open_journal, read_cadences, read_runs
from reconciler.apply.reread import WAITS_SECONDS, Rereader
from reconciler.apply.run import Pace, apply_plan
from reconciler.apply.settle import settle, settle_rebalances
from reconciler.apply.steps import Progress, Steps
from reconciler.apply.stop import Stop
from reconciler.core.desired import ApiVersion, PortfolioId, RunState
from reconciler.core.errors import ApiError, FailureKind, JournalError, PlanInvalid
from reconciler.core.live import Live, Record, Status
from reconciler.core.plan import Change, ChangeReason, Snapshot
from reconciler.core.ports import Confirmation
from reconciler.core.report import Call
from reconciler.core.strategy import Cadence, StrategyChange, StrategyId, StrategyLive, StrategyStatus, address_of
from reconciler.core.verb import Verb
from tests.apply.scripted import Scripted, edit, rows
from tests.core.test_strategy_plan import empty_plan
from tests.support import BASE_URL, NOON_MS, FakeClock, Silence, folder, run

if TYPE_CHECKING:
    from pathlib import Path

A, S, T = PortfolioId("aaa"), StrategyId("s1"), StrategyId("s2")
REASON = "Freeze"
RESUME = Change(
    id=A,
    verb=Verb.RESUME,
    before=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
    after=Snapshot(state=Status.ACTIVE, interval_ms=None, offset_ms=None),
    fields=(),
    reason=ChangeReason.HOLD_OVERRIDDEN,
    api=ApiVersion.V2,
    pause_reason=REASON,
    pause_id="due noon",
)
LOST = ApiError(FailureKind.INTERRUPTED, "no answer")
LOOKS = len(WAITS_SECONDS)


def paused(pause_id: str | None = "due noon") -> Live:
    return Live(id=A, status=Status.PAUSED, pause_reason=REASON, schedule_id=pause_id)


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        ("due noon", "due noon", Standing.BEFORE),
        ("due one", "due noon", Standing.ELSEWHERE),
        (None, "due noon", Standing.ELSEWHERE),
        ("due noon", None, Standing.ELSEWHERE),
    ],
)
def test_a_pause_is_known_by_its_id(now: str | None, then: str | None, expected: Standing) -> None:
    """Another id is another pause, and so is one that went missing."""
    assert standing(replace(RESUME, pause_id=then), paused(now), None) is expected


@pytest.mark.parametrize(
    ("api", "shown", "sends"),
    [
        (ApiVersion.V2, "due noon", 2),
        (ApiVersion.V2, "due one", 1),
        (ApiVersion.V1, "due noon", 2),
        (ApiVersion.V1, "due one", 2),
    ],
)
def test_a_resume_is_sent_again_only_for_the_very_pause(api: ApiVersion, shown: str, sends: int) -> None:
    """On v2 the id alone tells a pause that somebody made since; v1 tells it by its reason. The journal has the API."""
    service = Scripted(LOST, *[paused(shown)] * LOOKS, Confirmation())
    progress, clock = Progress(), FakeClock()
    with folder() as place:
        path = place / "journal.db"
        with open_journal(path, base_url=BASE_URL, now_ms=clock.now_ms) as journal:
            journal.open_run(fingerprint="f", tool="t")
            change = replace(RESUME, api=api)
            run(Steps(change, service, journal, Rereader(service, clock), progress).run())
        written = rows(path, "SELECT wanted, outcome FROM writes ORDER BY id")
    assert progress.calls == [Call.RESUME] * sends
    wanted = {"interval_ms": None, "offset_ms": None} | ({"api": "v2"} if api is ApiVersion.V2 else {})
    assert [json.loads(row[0]) for row in written] == [wanted] * sends
    assert [row[1] for row in written] == (["unseen", "confirmed"] if sends == 2 else ["unknown"])


def cut_off(path: Path, *writes: tuple[str, Call, dict[str, Any]]) -> None:
    """Leave a run that died over writes to portfolios or addresses of strategies."""
    with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for portfolio, call, wanted in writes:
            journal.begin(PortfolioId(portfolio), call, json.dumps({"interval_ms": None, "offset_ms": None, **wanted}))


class Strategies(Scripted):
    """Strategies that answer as they were told."""

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        return self._answer("strategy", strategy)

    async def set_cadence(self, strategy: StrategyId, cadence: Cadence) -> Cadence | None:
        return self._answer("set", strategy, cadence)


def shown(strategy: StrategyId, cadence: Cadence | None) -> StrategyLive:
    status = StrategyStatus.UNKNOWN if cadence is None else StrategyStatus.FOUND
    return StrategyLive(id=strategy, status=status, cadence=cadence)


GIVEN_UP = "cut off before its answer came; it is not repeated"
READ = "an earlier apply was cut off; settled by reading"
DAILY = {"schedule": "daily"}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(shown(S, Cadence.DAILY), "seen"), (shown(S, Cadence.HOURLY), "unseen"), (shown(S, None), "unknown")],
)
def test_cut_off_writes_are_settled_one_by_one(answer: StrategyLive, outcome: str) -> None:
    """A rebalance is given up, and what comes after it is still read; a cadence proves itself where it is shown."""
    with folder() as place:
        path = place / "journal.db"
        cut_off(path, ("aaa", Call.REBALANCE, {}), (address_of(S), Call.SET_CADENCE, DAILY))
        api = Strategies(answer)
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            sentences = run(settle(api=api, journal=journal, strategies=api))
        written = rows(path, "SELECT portfolio, outcome, detail FROM writes ORDER BY id")
    assert written == [("aaa", "unknown", GIVEN_UP), ("strategies/s1", outcome, READ)]
    assert sentences[0] == (
        "an earlier rebalance of aaa was cut off, and may have begun; it is not repeated: "
        "look with `reconciler status aaa`"
    )
    assert sentences[1].startswith("an earlier apply was cut off during set-cadence of strategies/s1; a read ")


def test_without_a_way_to_strategies_a_cadence_stays_unknown() -> None:
    """Nothing is read, and nothing is believed; a rebalance alone can be given up without any read."""
    with folder() as place:
        path = place / "journal.db"
        cut_off(path, (address_of(S), Call.SET_CADENCE, DAILY), ("aaa", Call.REBALANCE, {}))
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            assert len(settle_rebalances(journal)) == 1
            assert [intent.call for intent in journal.unsettled()] == [Call.SET_CADENCE]
            (sentence,) = run(settle(api=Scripted(), journal=journal))
        assert rows(path, "SELECT outcome FROM writes ORDER BY id") == [("unknown",), ("unknown",)]
    assert sentence.endswith("a read can't tell whether it took effect")


def test_an_intent_knows_its_api() -> None:
    """It is settled where it was sent, and one from before there was v2 is of v1."""
    with folder() as place:
        path = place / "journal.db"
        cut_off(path, ("a", Call.PAUSE, {}), ("b", Call.PAUSE, {"api": "v2"}), ("c", Call.PAUSE, {"api": "v1"}))
        with open_journal(path, base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
            assert [intent.api for intent in journal.unsettled()] == [ApiVersion.V1, ApiVersion.V2, ApiVersion.V1]


def set_cadences(path: Path, *writes: tuple[StrategyId, str, str], base_url: str = BASE_URL) -> None:
    """Add a run with writes of cadences as strategy, cadence and outcome."""
    with open_journal(path, base_url=base_url, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        for strategy, schedule, outcome in writes:
            wanted = json.dumps({"interval_ms": None, "offset_ms": None, "schedule": schedule})
            journal.end(journal.begin(address_of(strategy), Call.SET_CADENCE, wanted), outcome, "")


def test_the_cadences_that_a_journal_holds() -> None:
    """Confirmed or seen ones of this service, unless a later write left it open; and every write tells its own."""
    with folder() as place:
        path = place / "journal.db"
        assert read_cadences(path, base_url=BASE_URL) == {}
        set_cadences(path, (S, "daily", "confirmed"), (T, "weekly", "seen"))
        set_cadences(path, (S, "hourly", "confirmed"), base_url="u://other")
        assert read_cadences(path, base_url=BASE_URL) == {S: Cadence.DAILY, T: Cadence.WEEKLY}
        assert read_cadences(path, base_url="u://other") == {S: Cadence.HOURLY}
        set_cadences(path, (S, "monthly", "unknown"))
        assert read_cadences(path, base_url=BASE_URL) == {T: Cadence.WEEKLY}
        runs = read_runs(path) or ()
        assert [write.cadence for one in runs for write in one.writes] == [
            Cadence.MONTHLY,
            Cadence.HOURLY,
            Cadence.DAILY,
            Cadence.WEEKLY,
        ]


def test_a_cadence_of_no_strategy_is_damage() -> None:
    """It is told with the file and what stands there."""
    with folder() as place:
        path = place / "journal.db"
        set_cadences(path, (S, "daily", "confirmed"))
        edit(path, "UPDATE writes SET portfolio = 'aaa'")
        with pytest.raises(JournalError, match="'aaa' is no strategy") as refused:
            read_cadences(path, base_url=BASE_URL)
        assert refused.value.summary.startswith(f"the journal {path} can't be used: ")


def test_a_plan_for_strategies_needs_a_way_to_them() -> None:
    """Without one it is our bug, and told as such."""
    change = StrategyChange(id=S, before=None, after=Cadence.DAILY, reach=1, risks=())
    with folder() as place, open_journal(place / "j.db", base_url=BASE_URL, now_ms=lambda: NOON_MS) as journal:
        journal.open_run(fingerprint="f", tool="t")
        with pytest.raises(PlanInvalid) as refused:
            run(
                apply_plan(
                    replace(empty_plan(), strategies=(change,)),
                    api=Scripted(),
                    journal=journal,
                    clock=FakeClock(),
                    observer=Silence(),
                    pace=Pace(parallelism=1),
                    stop=Stop(),
                )
            )
    assert (refused.value.summary, refused.value.detail) == (
        "a plan changes a strategy without a way to",
        "This is a bug of ours; please report it.",
    )


def test_a_record_does_not_make_another_pause_ours() -> None:
    """What was confirmed of an earlier pause says nothing of one with another id."""
    ours = Record(state=RunState.PAUSED, interval_ms=None, offset_ms=None, schedule_id="due noon", confirmed_ms=1)
    assert standing(RESUME, paused("due one"), ours) is Standing.ELSEWHERE
    assert standing(RESUME, paused(), ours) is Standing.BEFORE
