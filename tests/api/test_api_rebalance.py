"""What the answers about rebalances are taken to mean, and how one is asked for and read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_service import sent

from reconciler.api.table import rebalance_id, run_at
from reconciler.api.transport import Transport
from reconciler.api.v1 import facts_of, live_of, recent_of, workflow_of
from reconciler.api.v2 import operation_of
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Signs
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import RebalanceStatus
from reconciler.core.text import harmless
from tests.api.stub_service import Service, api_of, fail, script, transport
from tests.support import BASE_URL, World, portfolio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from reconciler.api.client import Glider
    from reconciler.core.rebalance import Rebalance

AAA = portfolio("aaa")
S = RebalanceStatus
START, CLOSE = "2026-11-22T12:00:00.000Z", "2026-11-22T12:00:40.000Z"


def workflow(**data: Any) -> Rebalance:
    body = {"portfolioId": "aaa", "workflowId": "w", "startTime": START, "closeTime": CLOSE, **data}
    return workflow_of(AAA, "w", {"data": body})


@pytest.mark.parametrize(
    ("word", "status", "over"),
    [
        ("running", S.RUNNING, False),
        ("triggered", S.RUNNING, False),
        ("completed", S.COMPLETED, True),
        ("failed", S.FAILED, True),
        ("canceled", S.CANCELLED, True),
        ("terminated", S.CANCELLED, True),
        ("timed_out", S.UNKNOWN, True),
    ],
)
def test_words_of_a_workflow(word: str, status: RebalanceStatus, over: bool) -> None:
    """The documented words have their meaning; any other is shown as it is, and over only where it has an end."""
    found = workflow(status=word)
    assert (found.status, found.word, found.over) == (status, word, over)
    assert workflow(status=word, closeTime=None).over is (over and status is not S.UNKNOWN)


@pytest.mark.parametrize("word", ["FAILED", "Failed"])
def test_words_in_another_case(word: str) -> None:
    """A documented word in another case is that word, wherever it stands, and so is the sentence made of it."""
    listed = {"recentWorkflows": [{"workflowId": "w", "status": word}]}
    for found in (
        workflow(status=word),
        operation_of(AAA, "w", {"data": {"state": word}}),
        recent_of(AAA, {"data": listed}).rebalances[0],
    ):
        assert (found.status, found.word, found.why) == (S.FAILED, "failed", "failed, no reason given")
    assert workflow(status="Timed_Out").word == "Timed_Out"


@pytest.mark.parametrize(
    "word", ["accepted", "running", "retrying", "awaiting_user", "completed", "failed", "cancelled"]
)
def test_words_of_an_operation(word: str) -> None:
    """Only the last three are an end; without a time of its end, the last update is that."""
    data = {"portfolioId": "aaa", "state": word, "createdAt": START, "updatedAt": CLOSE}
    found = operation_of(AAA, "o", {"data": data})
    assert found.over is (word in ("completed", "failed", "cancelled"))
    assert found.duration_ms == (40_000 if found.over else None)


@pytest.mark.parametrize(
    ("result", "error", "status"),
    [
        ({"status": "success", "transactionHash": "0xab"}, None, S.COMPLETED),
        ({"success": True, "result": {"executionResult": "success"}}, None, S.COMPLETED),
        ({"status": "reverted"}, None, S.FAILED),
        ({"success": False}, None, S.FAILED),
        ({"success": True, "result": {"executionResult": "failure"}}, None, S.FAILED),
        ({"result": {"userOpResults": [{"success": True}, {"success": False}]}}, None, S.FAILED),
        (None, {"message": "out of gas"}, S.FAILED),
        ("done", None, S.COMPLETED),
        ([1, 2], "", S.COMPLETED),
        ({"status": 5, "success": "no"}, None, S.COMPLETED),
    ],
)
def test_a_result_that_contradicts_its_workflow(result: object, error: object, status: RebalanceStatus) -> None:
    """A workflow that completed, and says that what it was to do failed, is a failed one."""
    assert workflow(status="completed", result=result, error=error).status is status


def test_a_transaction_is_found_wherever_clients_saw_it() -> None:
    """Its hash stands in the result, or in a receipt inside it."""
    assert workflow(status="completed", result={"transactionHash": "0xab"}).transaction == "0xab"
    nested = {"result": {"userOpResults": [{"transactionHash": "0xcd"}]}}
    assert workflow(status="completed", result=nested).transaction == "0xcd"


@pytest.mark.parametrize(
    ("gas", "units"),
    [("125000", "125000"), (125000, "125000"), (True, None), (-1, None), (1.5, None), ("9" * 25, None), ("٣", None)],
)
def test_gas_is_a_whole_number_or_nothing(gas: object, units: str | None) -> None:
    """It is documented as text in a free-form result."""
    assert workflow(status="completed", result={"gasUsed": gas}).gas_used == units


@pytest.mark.parametrize("data", [None, [], {}, {"status": 5}, {"status": ""}, {"status": "x", "portfolioId": "bbb"}])
def test_an_answer_that_makes_no_sense(data: Any) -> None:
    """Without a status word, or about another portfolio, an answer is malformed."""
    with pytest.raises(ApiError) as caught:
        workflow_of(AAA, "w", {"data": data})
    assert caught.value.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("bad", ["", ".", "..", "a\x1b[2J", "a\u202eb", "a\ud800", "x" * 513, None, 7, ["w"]])
def test_ids_that_could_not_be_asked_for(bad: object) -> None:
    """An id is opaque, but must be text that can stand in a path and on a terminal."""
    assert rebalance_id(bad) is None
    assert run_at("rebalanceId")(AAA, {"data": {"rebalanceId": bad}}) == Confirmation()


def test_the_list_is_newest_first() -> None:
    """Entries without a usable id are left out; where times are missing the service's order stays."""
    listed = [
        {"workflowId": "old", "status": "triggered", "startedAt": START},
        {"workflowId": "..", "status": "triggered", "startedAt": CLOSE},
        "nonsense",
        {"workflowId": "new", "status": "triggered", "scheduledAt": CLOSE},
        {"workflowId": "timeless", "status": 5},
    ]
    data = {"recentWorkflows": listed, "details": {"nextScheduledExecution": CLOSE}}
    found = recent_of(AAA, {"data": data})
    assert [one.id for one in found.rebalances] == ["new", "old", "timeless"]
    assert found.next_run_ms == 1_795_348_840_000


def test_facts_of_a_portfolio() -> None:
    """Name, value, archived and trading settings are shown where they are given; nothing is required."""
    data = {"id": "aaa", "name": "Growth\x1b", "valueUsd": 1234.5, "isArchived": False}
    facts = facts_of(AAA, {"data": data})
    assert (facts.name, facts.signs, facts.archived) == ("Growth\\u{1b}", Signs(value_usd=1234.5), False)
    assert facts.trading == ()
    assert facts_of(AAA, {"data": None}).trading == ()


FIVE: dict[str, object] = {"type": "threshold", "triggerPercentage": 5}
FREE: dict[str, object] = {"slippage": {"max": 0.5}, "gasless": True}


@pytest.mark.parametrize(
    ("fields", "trading"),
    [
        ({"template": {"entry": {}, "tradingSettings": FIVE}}, (("threshold", "5 %"),)),
        ({"templateData": {"tradingSettings": FIVE}}, (("threshold", "5 %"),)),
        ({"template": {"tradingSettings": {"type": "calendar", "frequency": "biweekly"}}}, (("calendar", "biweekly"),)),
        ({"template": {"tradingSettings": {**FIVE, "type": "THRESHOLD"}}}, (("threshold", "5 %"),)),
        ({"template": {"tradingSettings": {**FIVE, "x": 1}}}, (("threshold", "5 %"), ("x", "1"))),
        # Nothing is made up for a setting without its value, or of another type.
        ({"template": {"tradingSettings": {"type": "threshold"}}}, (("type", "threshold"),)),
        ({"template": {"tradingSettings": {"type": "band", "": 3, "width": 2}}}, (("type", "band"), ("width", "2"))),
        ({"tradingSettings": FREE}, (("gasless", "true"), ("slippage.max", "0.5"))),
        # The template's own come first; a place without any is passed over.
        ({"template": {"tradingSettings": FIVE}, "tradingSettings": FREE}, (("threshold", "5 %"),)),
        ({"template": {"tradingSettings": None}, "templateData": {"tradingSettings": FIVE}}, (("threshold", "5 %"),)),
        ({"template": "t1", "templateData": []}, ()),
        ({"template": {"tradingSettings": ["threshold"]}}, ()),
    ],
)
def test_trading_settings(fields: dict[str, object], trading: tuple[tuple[str, str], ...]) -> None:
    """They stand in the portfolio's template, whichever its name, and say what they do in two words (API facts §7a)."""
    assert facts_of(AAA, {"data": {"id": "aaa", **fields}}).trading == trading


@pytest.mark.parametrize(
    ("fields", "signs"),
    [
        ({"valueUsd": 0}, Signs(value_usd=0)),
        ({"valueUsd": True}, Signs()),
        ({"valueUsd": "12"}, Signs()),
        ({"valueUsd": float("nan")}, Signs()),
        ({"valueUsd": 10**400}, Signs()),
        ({"template": {"tradingSettings": FIVE}}, Signs(trigger_percent=5)),
        ({"templateData": {"tradingSettings": {**FIVE, "type": "Threshold"}}}, Signs(trigger_percent=5)),
        ({"template": {"tradingSettings": {**FIVE, "type": "calendar"}}}, Signs()),
        ({"template": {"tradingSettings": {**FIVE, "type": ["threshold"]}}}, Signs()),
        ({"template": {"tradingSettings": {"type": "threshold", "triggerPercentage": "5"}}}, Signs()),
    ],
)
def test_signs(fields: dict[str, object], signs: Signs) -> None:
    """By the same places in the answer about the portfolio and, where it has them, in the status answer."""
    assert facts_of(AAA, {"data": {"id": "aaa", **fields}}).signs == signs
    assert live_of(AAA, {"data": {"portfolioId": "aaa", "status": "active", **fields}}).signs == signs


@pytest.mark.parametrize(
    ("told", "gas"),
    [
        ({"lastResult": {"gasUsed": "125000"}}, 125_000),
        ({"lastRebalance": {"result": {"gasUsed": 7}}}, 7),
        ({"result": {"result": {"userOpResults": [{}, {"gasUsed": "8"}]}}}, 8),
        ({"lastExecution": {"gasUsed": "9" * 16}}, None),
        ({"lastResult": {"gasUsed": -1}}, None),
        ({"lastResult": {"gasUsed": True}}, None),
        ({"lastResult": None}, None),
        ({"lastResult": "completed"}, None),
    ],
)
def test_a_status_answer_that_tells_the_last_result(told: dict[str, object], gas: int | None) -> None:
    """The guide says that it does, and not where: gas is read from where results stand, and required nowhere."""
    for data in (told, {"details": told}):
        assert live_of(AAA, {"data": {"portfolioId": "aaa", "status": "active", **data}}).signs == Signs(gas_used=gas)
    assert live_of(AAA, {"data": {"portfolioId": "aaa", "status": "active", "details": {}}}).signs is None


KEYS = ["status", "result", "error", "success", "transactionHash", "valueUsd", "recentWorkflows", "template",
        "tradingSettings", "type", "triggerPercentage"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


@given(JSON)
def test_no_answer_breaks_anything(data: Any) -> None:
    """Whatever is answered, it is understood or refused, and no text of it is harmful."""
    for read in (
        lambda: workflow_of(AAA, "w", {"data": data}),
        lambda: operation_of(AAA, "o", {"data": data}),
        lambda: recent_of(AAA, {"data": data}),
        lambda: facts_of(AAA, {"data": data}),
    ):
        try:
            found: Any = read()
        except ApiError:
            continue
        texts = [getattr(found, name, None) for name in ("word", "error", "transaction", "name")]
        assert all(text is None or harmless(text) == text for text in texts)


def asked(here: World, work: Callable[[Glider], Awaitable[Any]], version: ApiVersion = ApiVersion.V1) -> Any:
    async def main() -> Any:
        async with Transport(
            base_url=BASE_URL,
            key="test-key-1234",
            parallelism=4,
            clock=here.clock,
            jitter=lambda: 0.5,
            asgi_app=here.app,
        ) as transport:
            return await work(api_of(transport, version))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "none"),
    [
        (fail(404, "API_200"), True),
        (fail(400, "API_001"), True),
        ((404, {}, b"<html><h1>404 Not Found</h1></html>"), False),
        ((400, {}, b""), False),
        ((404, {}, b'{"message": "no route"}'), False),
        ((404, {}, b'{"success": false, "error": {"message": "no"}}'), False),
        (fail(409, "API_001"), False),
    ],
)
def test_no_runs_is_what_glider_says(answer: Any, none: bool) -> None:
    """A list that Glider refuses by a code is empty; a gateway's 404 is a failed read, as a run may be under way."""

    async def main() -> Any:
        async with transport(Service(script(answer))) as client:
            return await api_of(client).recent(AAA, limit=5)

    if none:
        assert asyncio.run(main()).rebalances == ()
    else:
        with pytest.raises(ApiError):
            asyncio.run(main())


@pytest.mark.parametrize("family", ["reference", "guide", "both"])
def test_a_trigger_finds_its_path_family(tmp_path: Path, family: str) -> None:
    """Where the service has one family only, whoever tries again after a 404 takes the other, and one run begins."""
    here = World(journal=tmp_path / "j", portfolios={"aaa": {"interval": "24h"}}, settings={"paths": family})
    before = here.store.portfolio("aaa")

    async def trigger(api: Glider) -> Any:
        try:
            return await sent(api, Call.REBALANCE, AAA)
        except ApiError as error:
            if not error.other_route:
                raise
            return await sent(api, Call.REBALANCE, AAA)

    triggered = asked(here, trigger)
    after = here.store.portfolio("aaa")
    assert before is not None
    assert after is not None
    assert after.runs == before.runs + 1
    assert triggered.run.startswith("rebal_")


def test_an_operation_id_is_encoded_into_its_path(tmp_path: Path) -> None:
    """An id that holds an encoded part is asked for as it is, not decoded once more."""
    here = World(
        journal=tmp_path / "j",
        portfolios={"aaa": {"api": "v2", "strategy": "s"}},
        strategies={"s": {"frequency": "daily"}},
    )

    async def work(api: Glider) -> Any:
        triggered = await sent(api, Call.REBALANCE, AAA)
        return triggered, await api.look(AAA, triggered.run or "")

    triggered, found = asked(here, work, ApiVersion.V2)
    assert "%3A" in triggered.run
    assert (found.id, found.word) == (triggered.run, "accepted")


@pytest.mark.parametrize("bad", ["../../x", "a/b", "", "x" * 129])
def test_no_other_id_reaches_a_path(tmp_path: Path, bad: str) -> None:
    """What is no portfolio id is refused before anything is sent."""
    here = World(journal=tmp_path / "j", portfolios={"aaa": {"interval": "24h"}})
    for version in ApiVersion:
        with pytest.raises(ApiError, match="not sent"):
            asked(here, lambda api: sent(api, Call.REBALANCE, portfolio(bad)), version)
    assert here.app.requests.kept() == ()
