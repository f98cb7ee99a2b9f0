"""Asking for rebalances on a service that fails, and following them: each is asked for once, whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.api.client import Glider
from reconciler.api.transport import Transport
from reconciler.apply.announce import Announcer, settle_rebalances
from reconciler.apply.journal import open_journal
from reconciler.apply.journalqueue import QueuedJournal
from reconciler.apply.journalreads import read_memory, read_runs
from reconciler.apply.run import Stop
from reconciler.apply.trigger import Order, follow_all, operations_of, trigger_all
from reconciler.core.errors import FailureKind
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Desired, RunState
from reconciler.core.rebalance import RebalanceOutcome, RebalanceStatus
from reconciler.sandbox import Course, Fault, FaultKind, Operation, RetryAfterForm
from tests.apply.scripted import intent
from tests.support import BASE_URL, HOUR_MS, World, folder, portfolio, run, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.core.model import PortfolioId
    from reconciler.core.rebalance import Rebalance, RebalanceResult
    from reconciler.core.report import Write

O = RebalanceOutcome  # noqa: E741 - short for the tables below
V1, V2 = {"aaa": {"interval": "24h", "started": "10h"}}, {"aaa": {"api": "v2", "strategy": "s", "started": "10h"}}
STRATEGIES = {"s": {"frequency": "daily"}}


@dataclass
class Heard:
    """An observer that remembers the words it was told."""

    words: list[str] = field(default_factory=list)
    stop_at: str | None = None
    stop: Stop | None = None

    def accepted(self, portfolio: PortfolioId, rebalance: str | None) -> None:
        self._hear("accepted!")

    def moved(self, portfolio: PortfolioId, rebalance: Rebalance) -> None:
        self._hear(rebalance.word)

    def finished(self, result: RebalanceResult) -> None:
        self._hear(f"{result.outcome}!")

    def _hear(self, word: str) -> None:
        self.words.append(word)
        if word == self.stop_at and self.stop is not None:
            self.stop.request("interrupted", urgent=True)


@pytest.fixture
def path() -> Iterator[Path]:
    with folder() as made:
        yield made / "journal.db"


def world(path: Path, *, version: ApiVersion = ApiVersion.V1, **more: Any) -> World:
    portfolios, strategies = (V1, {}) if version is ApiVersion.V1 else (V2, STRATEGIES)
    return World(journal=path, portfolios=portfolios, strategies=strategies, **more)


def rebalance(
    here: World,
    *ids: str,
    version: ApiVersion = ApiVersion.V1,
    wait_ms: int = 0,
    skip: bool = False,
    heard: Heard | None = None,
    although_paused: bool = False,
    again: bool = False,
) -> dict[str, RebalanceResult]:
    """Ask for rebalances, and follow them for ``wait_ms``; by default of ``aaa`` alone."""

    async def work() -> dict[Any, Any]:
        stop, observer = Stop(), heard or Heard()
        observer.stop = stop
        async with Transport(
            base_url=BASE_URL,
            key="test-key-1234",
            parallelism=here.parallelism,
            clock=here.clock,
            jitter=lambda: 0.5,
            asgi_app=here.app,
        ) as transport:
            wanted = [portfolio(one) for one in ids or ("aaa",)]
            glider = Glider(transport, paths=here.paths, versions=dict.fromkeys(wanted, version))
            orders = [
                Order(
                    portfolio=p,
                    version=version,
                    skip_schedule_validation=skip,
                    although_paused=although_paused,
                    again=again,
                )
                for p in wanted
            ]
            with open_journal(here.journal, base_url=BASE_URL, now_ms=here.clock.now_ms) as journal:
                journal.open_run(fingerprint="rebalance", tool="test")
                with QueuedJournal(journal) as queued:
                    announcer = Announcer(api=glider, journal=queued, clock=here.clock, token=here.token)
                    results = await trigger_all(
                        orders, announcer=announcer, observer=observer, parallelism=here.parallelism, stop=stop
                    )
            if wait_ms:
                results = await follow_all(
                    results, glider, clock=here.clock, observer=observer, timeout_ms=wait_ms, stop=stop
                )
            return results

    found: dict[str, RebalanceResult] = run(work())
    return found


def written(here: World) -> list[Write]:
    return [write for one in reversed(read_runs(here.journal) or ()) for write in one.writes]


def triggers(here: World) -> int:
    """Return how many requests asked for a rebalance."""
    return sum(
        r.method == "POST" and r.path.rsplit("/", 1)[-1] in ("trigger", "rebalance") for r in here.app.requests.kept()
    )


def runs(here: World, name: str = "aaa") -> int:
    """Return how many runs v1's simulator counts."""
    found = here.store.portfolio(name)
    assert found is not None
    return found.runs


@pytest.mark.parametrize("version", list(ApiVersion))
def test_followed_to_its_end(path: Path, version: ApiVersion) -> None:
    """An accepted rebalance is followed by its id until it is completed; the journal has its id."""
    here, heard = world(path, version=version), Heard()
    result = rebalance(here, version=version, wait_ms=HOUR_MS, heard=heard)["aaa"]
    assert result.outcome is O.COMPLETED
    assert result.rebalance is not None
    assert (result.rebalance.status, result.rebalance.duration_ms) == (RebalanceStatus.COMPLETED, 40_000)
    assert heard.words[0] == "accepted!"
    assert heard.words[-2:] == ["completed", "completed!"]
    (write,) = written(here)
    noun = "workflow" if version is ApiVersion.V1 else "operation"
    assert (write.call, write.outcome, write.detail) == (Call.REBALANCE, "confirmed", f"{noun} {result.id}")
    assert triggers(here) == 1


@pytest.mark.parametrize(
    ("course", "outcome", "passes"),
    [
        (Course.FAILED, O.FAILED, "running"),
        (Course.CANCELLED, O.CANCELLED, "running"),
        (Course.RETRYING, O.COMPLETED, "retrying"),
        (Course.AWAITING_USER, O.COMPLETED, "awaiting_user"),
    ],
)
def test_every_way_an_operation_goes(path: Path, course: Course, outcome: RebalanceOutcome, passes: str) -> None:
    """What an operation passes through is told as it happens, and its end is the outcome."""
    here, heard = world(path, version=ApiVersion.V2), Heard()
    here.faults.add(Fault(kind=FaultKind.REBALANCE_ENDS, operation=Operation.REBALANCE, course=course))
    result = rebalance(here, version=ApiVersion.V2, wait_ms=HOUR_MS, heard=heard)["aaa"]
    assert result.outcome is outcome
    assert passes in heard.words


@pytest.mark.parametrize(("course", "outcome"), [(Course.FAILED, O.FAILED), (Course.CANCELLED, O.CANCELLED)])
def test_every_way_a_workflow_ends(path: Path, course: Course, outcome: RebalanceOutcome) -> None:
    """A v1 workflow that fails or is canceled is no success."""
    here = world(path)
    here.faults.add(Fault(kind=FaultKind.REBALANCE_ENDS, operation=Operation.TRIGGER, course=course))
    assert rebalance(here, wait_ms=HOUR_MS)["aaa"].outcome is outcome


TAKES_NO_EFFECT = {
    "lost before": Fault(kind=FaultKind.LOST_BEFORE),
    "500": Fault(kind=FaultKind.SERVER_ERROR),
    "503": Fault(kind=FaultKind.SERVER_ERROR, status=503),
    "html": Fault(kind=FaultKind.HTML, status=502),
}
TAKES_EFFECT = {
    "lost after": Fault(kind=FaultKind.LOST_AFTER),
    "500 after": Fault(kind=FaultKind.ERROR_AFTER),
    "not json": Fault(kind=FaultKind.NOT_JSON),
    "empty": Fault(kind=FaultKind.EMPTY),
    "truncated": Fault(kind=FaultKind.TRUNCATED),
    "another portfolio": Fault(kind=FaultKind.WRONG_PORTFOLIO),
}


def on(version: ApiVersion, fault: Fault, **more: Any) -> Fault:
    from msgspec.structs import replace

    operation = Operation.TRIGGER if version is ApiVersion.V1 else Operation.REBALANCE
    return replace(fault, operation=operation, **more)


@pytest.mark.parametrize("fault", TAKES_NO_EFFECT.values(), ids=TAKES_NO_EFFECT)
@pytest.mark.parametrize("version", list(ApiVersion))
def test_a_lost_trigger_is_never_sent_again(path: Path, version: ApiVersion, fault: Fault) -> None:
    """It is unknown, and says where to look; one request was sent, and nothing ran."""
    here = world(path, version=version)
    here.faults.add(on(version, fault))
    result = rebalance(here, version=version, wait_ms=HOUR_MS)["aaa"]
    assert result.outcome is O.UNKNOWN
    assert "it may be running: look with `reconciler status aaa`; it is not asked for again" in result.detail
    assert triggers(here) == 1
    assert [write.outcome for write in written(here)] == ["unknown"]


@pytest.mark.parametrize("fault", TAKES_EFFECT.values(), ids=TAKES_EFFECT)
def test_a_lost_answer_of_v1_is_found_by_reading(path: Path, fault: Fault) -> None:
    """A new workflow since, with no scheduled run near, is the one: it is followed, and said how it was found."""
    here = world(path)
    before = runs(here)
    here.faults.add(on(ApiVersion.V1, fault))
    result = rebalance(here, wait_ms=HOUR_MS)["aaa"]
    assert result.outcome is O.COMPLETED
    assert "but a read shows a new workflow since" in result.notes[0]
    assert (triggers(here), runs(here)) == (1, before + 1)
    assert [(write.outcome, write.detail) for write in written(here)] == [("seen", f"workflow {result.id}")]


@pytest.mark.parametrize("fault", TAKES_EFFECT.values(), ids=TAKES_EFFECT)
def test_a_lost_answer_of_v2_stays_unknown(path: Path, fault: Fault) -> None:
    """v2 lists no operations, so nothing can tell; it is not sent again although that would often be harmless."""
    here = world(path, version=ApiVersion.V2)
    here.faults.add(on(ApiVersion.V2, fault))
    result = rebalance(here, version=ApiVersion.V2, wait_ms=HOUR_MS)["aaa"]
    # Without its envelope the answer of an acceptance names no id; that it was accepted is sure only with a 2xx object.
    assert result.outcome is O.UNKNOWN
    assert triggers(here) == 1


def test_a_scheduled_run_is_not_taken_for_ours(path: Path) -> None:
    """Where the schedule was to run about now, a new workflow proves nothing."""
    here = World(journal=path, portfolios={"aaa": {"interval": "24h", "started": "24h"}})
    here.clock.advance(24 * HOUR_MS - 60_000)
    here.faults.add(on(ApiVersion.V1, TAKES_EFFECT["lost after"]))
    result = rebalance(here)["aaa"]
    assert result.outcome is O.UNKNOWN
    assert "which may be the scheduled run" in result.detail


def test_a_cooldown_slows_nobody_else(path: Path) -> None:
    """It is told at once with its wait, nobody waits for it, and the other portfolio is asked for."""
    portfolios = dict.fromkeys(("aaa", "bbb"), V2["aaa"])
    here = World(journal=path, portfolios=portfolios, strategies=STRATEGIES, parallelism=1)
    first = rebalance(here, version=ApiVersion.V2, wait_ms=HOUR_MS)["aaa"]
    assert first.outcome is O.COMPLETED
    started_ms = here.clock.now_ms()
    results = rebalance(here, "aaa", "bbb", version=ApiVersion.V2)
    assert here.clock.now_ms() == started_ms
    cooling = results["aaa"]
    assert (cooling.outcome, results["bbb"].outcome) == (O.COOLING_DOWN, O.ACCEPTED)
    assert cooling.retry_ms is not None
    assert started_ms < cooling.retry_ms <= started_ms + 300_000
    wait_s = (cooling.retry_ms - started_ms) // 1000
    assert cooling.detail == f"its last rebalance is too recent; run again in {wait_s}s"
    assert triggers(here) == 3


@pytest.mark.parametrize("form", list(RetryAfterForm))
def test_a_rate_limit_is_obeyed(path: Path, form: RetryAfterForm) -> None:
    """A 429 that is no cooldown proves that nothing began: it is waited for, and the rebalance asked for again."""
    here = world(path)
    here.faults.add(on(ApiVersion.V1, Fault(kind=FaultKind.RATE_LIMITED, retry_after=7, form=form)))
    before, started_ms = runs(here), here.clock.now_ms()
    assert rebalance(here)["aaa"].outcome is O.ACCEPTED
    assert here.clock.now_ms() >= started_ms + 6_000
    assert runs(here) == before + 1


def test_one_in_flight_is_answered_with_its_id(path: Path) -> None:
    """On v2 a second request while one runs is no error and no second rebalance."""
    here = world(path, version=ApiVersion.V2)
    first, second = (rebalance(here, version=ApiVersion.V2)["aaa"] for _ in range(2))
    assert (first.outcome, second.outcome) == (O.ACCEPTED, O.ACCEPTED)
    assert first.id == second.id


@pytest.mark.parametrize("skip", [False, True])
def test_without_a_schedule(path: Path, skip: bool) -> None:
    """A portfolio without a schedule is refused with the flag that allows it, and runs with it."""
    here = World(journal=path, portfolios={"aaa": {"status": "inactive"}})
    result = rebalance(here, skip=skip, wait_ms=HOUR_MS)["aaa"]
    assert result.outcome is (O.COMPLETED if skip else O.REFUSED)
    assert skip or "--skip-schedule-validation" in result.detail


def test_one_that_can_not_be_read_is_not_asked_for(path: Path) -> None:
    """What is not there is refused before anything is sent that trades; the others go on."""
    here = world(path)
    results = rebalance(here, "zzz", "aaa")
    assert (results["zzz"].outcome, results["aaa"].outcome) == (O.REFUSED, O.ACCEPTED)
    assert results["zzz"].detail == "Glider has no such portfolio, or the key may not see it; check the id"
    assert [write.portfolio for write in written(here)] == ["aaa"]


@pytest.mark.parametrize("word", ["degraded", "completed_maybe"])
def test_a_word_that_is_not_documented_is_no_end(path: Path, word: str) -> None:
    """An operation with an unknown word is followed on, and timed out rather than called completed."""
    here, heard = world(path, version=ApiVersion.V2), Heard()
    here.faults.add(Fault(kind=FaultKind.UNKNOWN_WORD, operation=Operation.OPERATION, word=word, times=1_000))
    result = rebalance(here, version=ApiVersion.V2, wait_ms=20_000, heard=heard)["aaa"]
    assert result.outcome is O.TIMED_OUT
    assert f"it is not over after 20s ({word.replace('_', ' ')}), and goes on" in result.detail
    assert word in heard.words


def test_looks_that_fail_for_a_while(path: Path) -> None:
    """A few failed looks in a row are survived; after more, its end is not known."""
    here = world(path, version=ApiVersion.V2)
    here.faults.add(Fault(kind=FaultKind.HTML, operation=Operation.OPERATION, times=6, status=404))
    result = rebalance(here, version=ApiVersion.V2, wait_ms=HOUR_MS)["aaa"]
    assert result.outcome is O.UNKNOWN
    assert "it was accepted, but can't be followed" in result.detail
    again = world(path.with_name("other.db"), version=ApiVersion.V2)
    again.faults.add(Fault(kind=FaultKind.HTML, operation=Operation.OPERATION, times=4, status=404))
    assert rebalance(again, version=ApiVersion.V2, wait_ms=HOUR_MS)["aaa"].outcome is O.COMPLETED


def test_an_interruption_stops_the_waiting_only(path: Path) -> None:
    """After a signal it stays accepted, and says that it goes on."""
    here = world(path)
    result = rebalance(here, wait_ms=HOUR_MS, heard=Heard(stop_at="running"))["aaa"]
    assert result.outcome is O.ACCEPTED
    assert "waiting was interrupted; it goes on" in result.detail


def test_an_interruption_begins_nothing_more(path: Path) -> None:
    """After a signal during the first, the second is not asked for."""
    here = World(journal=path, portfolios={"aaa": V1["aaa"], "bbb": V1["aaa"]}, parallelism=1)
    results = rebalance(here, "aaa", "bbb", heard=Heard(stop_at="accepted!"))
    assert [results[name].outcome for name in ("aaa", "bbb")] == [O.ACCEPTED, O.NOT_ATTEMPTED]
    assert triggers(here) == 1


def test_a_key_without_the_scope(path: Path) -> None:
    """A 403 is refused with what the key lacks; nothing began."""
    here = world(path, version=ApiVersion.V2, settings={"scopes": ["portfolios:read"]})
    result = rebalance(here, version=ApiVersion.V2)["aaa"]
    assert result.outcome is O.REFUSED
    assert result.error is not None
    assert result.error.kind is FailureKind.FORBIDDEN
    assert [write.outcome for write in written(here)] == ["failed"]


def test_a_refused_key_stops_the_rest(path: Path) -> None:
    """Every further request would fail alike."""
    here = World(journal=path, portfolios={"aaa": V1["aaa"], "bbb": V1["aaa"]}, parallelism=1)
    here.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.TRIGGER, status=401))
    results = rebalance(here, "aaa", "bbb")
    assert [results[name].outcome for name in ("aaa", "bbb")] == [O.REFUSED, O.NOT_ATTEMPTED]


def test_what_is_confirmed_outlives_a_rebalance(path: Path) -> None:
    """A rebalance changes neither state nor schedule, so our record of both stays good."""
    here = world(path)
    desired = [Desired(id=portfolio("aaa"), state=RunState.ACTIVE, interval_ms=12 * HOUR_MS)]
    here.converge(desired)
    rebalance(here)
    records = read_memory(path, base_url=BASE_URL, now_ms=here.clock.now_ms()).records
    assert records[portfolio("aaa")].interval_ms == 12 * HOUR_MS
    assert here.plan(desired).changes == ()


@pytest.mark.parametrize("by_apply", [True, False])
def test_one_that_was_cut_off_is_settled_and_not_repeated(path: Path, by_apply: bool) -> None:
    """Whoever comes next says that it may have begun, sends nothing, and closes it as unknown."""
    here = world(path)
    with open_journal(path, base_url=BASE_URL, now_ms=here.clock.now_ms) as journal:
        journal.open_run(fingerprint="rebalance", tool="test")
        journal.begin(intent(portfolio("aaa"), Call.REBALANCE))

    async def next_command() -> tuple[str, ...]:
        with open_journal(path, base_url=BASE_URL, now_ms=here.clock.now_ms) as journal:
            if not by_apply:
                with QueuedJournal(journal) as queued:
                    return await settle_rebalances(queued)
            async with here.api() as api:
                return await settled(journal, api)

    (sentence,) = run(next_command())
    assert "an earlier rebalance of aaa was cut off, and may have begun; it is not repeated" in sentence
    assert triggers(here) == 0
    assert [write.outcome for write in written(here)] == ["unknown"]


@pytest.mark.parametrize("version", list(ApiVersion))
def test_what_is_paused_is_not_asked_for_unless_named(path: Path, version: ApiVersion) -> None:
    """A rebalance trades whatever the schedule says, so a pause stands in its way until a person names it."""
    here = world(path, version=version)
    here.converge([Desired(id=portfolio("aaa"), state=RunState.PAUSED, api=version)])
    refused = rebalance(here, version=version)["aaa"]
    assert refused.outcome is O.REFUSED
    assert "it is paused" in refused.detail
    assert "--although-paused aaa" in refused.detail
    assert triggers(here) == 0
    named = rebalance(here, version=version, although_paused=True, skip=version is ApiVersion.V1)["aaa"]
    assert (named.outcome, triggers(here)) == (O.ACCEPTED, 1)


@pytest.mark.parametrize("version", list(ApiVersion))
def test_one_that_stayed_unanswered_is_not_asked_for_again(path: Path, version: ApiVersion) -> None:
    """The next command finds nothing of it and asks for nothing, until a person names it."""
    here = world(path, version=version)
    here.faults.add(on(version, TAKES_NO_EFFECT["lost before"]))
    assert rebalance(here, version=version)["aaa"].outcome is O.UNKNOWN
    second = rebalance(here, version=version)["aaa"]
    assert (second.outcome, triggers(here)) == (O.UNKNOWN, 1)
    assert "an earlier request for a run of it was not answered" in second.detail
    assert rebalance(here, version=version, again=True)["aaa"].outcome is O.ACCEPTED
    assert rebalance(here, version=version)["aaa"].outcome is O.ACCEPTED
    assert triggers(here) == 3


def test_one_that_stayed_unanswered_is_found_by_the_next_command(path: Path) -> None:
    """It had begun a run that nobody could read: that run is the result, and nothing new is asked for."""
    here = world(path)
    here.faults.add(on(ApiVersion.V1, TAKES_EFFECT["lost after"]))
    here.faults.add(
        Fault(kind=FaultKind.LATENCY, operation=Operation.READ, ms=0, times=2),
        Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.READ, times=1_000),
    )
    assert rebalance(here)["aaa"].outcome is O.UNKNOWN
    here.faults.clear()
    here.clock.advance(2 * HOUR_MS)
    found = rebalance(here)["aaa"]
    assert (found.outcome, triggers(here)) == (O.ACCEPTED, 1)
    assert found.notes == (f"the earlier request had begun the workflow {found.id}; nothing new was asked for",)
    assert [(write.outcome, write.detail) for write in written(here)] == [("seen", f"workflow {found.id}")]


def test_the_journal_knows_the_last_operation(path: Path) -> None:
    """The newest accepted operation of a service counts; workflows, refusals and other services do not."""
    here = world(path, version=ApiVersion.V2)
    first = rebalance(here, version=ApiVersion.V2)["aaa"]
    here.clock.advance(HOUR_MS)
    second = rebalance(here, version=ApiVersion.V2)["aaa"]
    assert first.id != second.id
    found = read_runs(path) or ()
    assert operations_of(found, BASE_URL, noun="operation") == {"aaa": second.id}
    assert operations_of(found, "sandbox://other", noun="operation") == {}
    assert operations_of(found, BASE_URL, noun="workflow") == {}
