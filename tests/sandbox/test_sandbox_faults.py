"""Misbehaviour: each kind, whether the work was done, and which calls meet which rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.core.errors import SandboxError
from reconciler.sandbox import ConnectionLost, Fault, FaultKind, Faults, Operation, RetryAfterForm, parse_faults
from reconciler.sandbox.faults import fault_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Bench

    Make = Callable[..., Bench]


@pytest.mark.parametrize(
    ("fault", "status", "done"),
    [
        (Fault(kind=FaultKind.LATENCY, ms=1500), 200, True),
        (Fault(kind=FaultKind.SLOW_ANSWER, ms=1500), 200, True),
        (Fault(kind=FaultKind.RATE_LIMITED), 429, False),
        (Fault(kind=FaultKind.SERVER_ERROR, status=503), 503, False),
        (Fault(kind=FaultKind.ERROR_AFTER), 500, True),
        (Fault(kind=FaultKind.HTML, status=502), 502, False),
        (Fault(kind=FaultKind.NOT_JSON), 200, True),
        (Fault(kind=FaultKind.EMPTY), 200, True),
        (Fault(kind=FaultKind.TRUNCATED), 200, True),
        (Fault(kind=FaultKind.WRONG_PORTFOLIO), 200, True),
        (Fault(kind=FaultKind.UNKNOWN_WORD), 200, True),
        (Fault(kind=FaultKind.LOST_BEFORE), None, False),
        (Fault(kind=FaultKind.LOST_AFTER), None, True),
    ],
)
def test_what_each_kind_does_to_a_write(bench: Make, fault: Fault, status: int | None, done: bool) -> None:
    """Every kind answers, or does not, as it says, and does the work or does not; once, and then all is well."""
    here = bench()
    here.faults.add(fault)
    if status is None:
        with pytest.raises(ConnectionLost):
            here.call("POST", "pause")
    else:
        assert here.call("POST", "pause").status_code == status
    portfolio = here.store.portfolio("p")
    assert portfolio is not None
    assert (portfolio.state.value == "paused") is done
    assert here.slept == ([1.5] if fault.kind in (FaultKind.LATENCY, FaultKind.SLOW_ANSWER) else [])
    assert here.faults.left() == ()
    assert here.call("GET", "automation/status").status_code == 200


def test_what_spoilt_answers_look_like(bench: Make) -> None:
    """A spoilt body is wrong in the one way its kind names."""
    here = bench()
    right = here.call("GET", "automation/status").text
    kinds = (FaultKind.HTML, FaultKind.NOT_JSON, FaultKind.EMPTY, FaultKind.TRUNCATED)
    here.faults.add(*(Fault(kind=kind) for kind in kinds))
    html, text, empty, cut = (here.call("GET", "automation/status") for _ in kinds)
    assert (html.headers["content-type"], html.text[:15]) == ("text/html; charset=utf-8", "<!doctype html>")
    assert text.headers["content-type"] == "text/plain"
    assert empty.content == b""
    assert cut.text[:40] == right[:40]
    assert len(cut.text) == len(right) // 2
    here.faults.add(Fault(kind=FaultKind.WRONG_PORTFOLIO), Fault(kind=FaultKind.UNKNOWN_WORD, word="odd"))
    assert here.status()["portfolioId"] == "zz0zz0zz"
    assert here.status()["status"] == "odd"


@pytest.mark.parametrize(
    ("form", "header"),
    [(RetryAfterForm.SECONDS, "30"), (RetryAfterForm.DATE, "Wed, 18 Nov 2026 11:07:10 GMT")],
)
def test_retry_after_in_both_forms(bench: Make, form: RetryAfterForm, header: str) -> None:
    """A 429 says when to come back, in seconds or as a date by the wall clock."""
    here = bench()
    here.store.advance(10**9)
    here.faults.add(Fault(kind=FaultKind.RATE_LIMITED, retry_after=30, form=form))
    response = here.call("GET", "automation/status")
    assert (response.headers["Retry-After"], response.json()["retryAfter"]) == (header, 30)


@pytest.mark.parametrize("kind", [FaultKind.WRONG_PORTFOLIO, FaultKind.ERROR_AFTER, FaultKind.UNKNOWN_WORD])
def test_a_refusal_can_be_spoilt_too(bench: Make, kind: FaultKind) -> None:
    """Work that the service refuses stays refused, whatever becomes of the answer."""
    here = bench(status="archived")
    here.faults.add(Fault(kind=kind))
    assert here.call("POST", "pause").status_code == (500 if kind is FaultKind.ERROR_AFTER else 400)


V2 = {"strategies": {"s": {"frequency": "daily"}}, "api": "v2", "strategy": "s"}
V2_CALLS = [
    (Operation.LIST, "GET", "/v2/portfolios"),
    (Operation.READ, "GET", "/v2/portfolios/p"),
    (Operation.START, "POST", "/v2/portfolios/p/start"),
    (Operation.STOP, "POST", "/v2/portfolios/p/stop"),
    (Operation.REBALANCE, "POST", "/v2/portfolios/p/rebalance"),
    (Operation.OPERATION, "GET", "/v2/portfolios/p/operations/x"),
    (Operation.STRATEGY, "GET", "/v2/strategies"),
    (Operation.STRATEGY, "GET", "/v2/strategies/s"),
    (Operation.STRATEGY, "GET", "/v2/strategies/s/schedule"),
    (Operation.CADENCE, "PUT", "/v2/strategies/s/schedule"),
    (Operation.ACCOUNT, "GET", "/v2/whoami"),
    (Operation.ACCOUNT, "GET", "/v2/scopes"),
]


@pytest.mark.parametrize(("operation", "method", "path"), V2_CALLS)
def test_every_call_of_v2_has_its_operation(bench: Make, operation: Operation, method: str, path: str) -> None:
    """A rule speaks of the calls of its operation and of no other; its error stands in the envelope of v2."""
    here = bench(**V2)
    others = [one for one in Operation if one is not operation]
    here.faults.add(*(Fault(kind=FaultKind.SERVER_ERROR, operation=one) for one in others))
    body = {"type": "interval", "frequency": "weekly"} if method == "PUT" else None
    assert here.call(method, path, body).status_code in (200, 202, 404)
    here.faults.clear()
    here.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=operation, status=503))
    response = here.call(method, path, body)
    assert response.status_code == 503
    assert set(response.json()) == {"success", "error"}


@pytest.mark.parametrize(
    ("kind", "status", "done"),
    [
        (FaultKind.LOST_BEFORE, None, False),
        (FaultKind.LOST_AFTER, None, True),
        (FaultKind.ERROR_AFTER, 500, True),
        (FaultKind.HTML, 502, False),
        (FaultKind.RATE_LIMITED, 429, False),
        (FaultKind.TRUNCATED, 202, True),
    ],
)
def test_a_spoilt_rebalance(bench: Make, kind: FaultKind, status: int | None, done: bool) -> None:
    """An operation was begun or not, as with every write."""
    here = bench(**V2)
    here.faults.add(*parse_faults([{"kind": kind.value, "operation": "rebalance", "portfolio": "p"}]))
    if status is None:
        with pytest.raises(ConnectionLost):
            here.call("POST", "/v2/portfolios/p/rebalance")
    else:
        assert here.call("POST", "/v2/portfolios/p/rebalance").status_code == status
    found = here.store.enrolled("p")
    assert found is not None
    assert found.operations == done


def test_a_rule_may_name_a_strategy(bench: Make) -> None:
    """For calls on strategies the id is the strategy's; a rule for one portfolio does not speak of the list."""
    here = bench(**V2)
    here.faults.add(
        Fault(kind=FaultKind.SERVER_ERROR, portfolio="other"),
        Fault(kind=FaultKind.SERVER_ERROR, portfolio="s"),
        Fault(kind=FaultKind.SERVER_ERROR, portfolio="p"),
    )
    assert here.call("GET", "/v2/portfolios").status_code == 200
    assert here.call("GET", "/v2/strategies/s").status_code == 500
    assert here.call("GET", "/v2/portfolios/p").status_code == 500


def test_spoilt_words_and_names_of_v2(bench: Make) -> None:
    """The word goes where v2 has its words, the other id where it has its ids; data that is null stays null."""
    strategies = {"s": {"frequency": "daily"}, "t": {}}
    here = bench(strategies=strategies, api="v2", strategy="s", others={"v": {"status": "active"}})
    word, name = Fault(kind=FaultKind.UNKNOWN_WORD, word="odd"), Fault(kind=FaultKind.WRONG_PORTFOLIO)

    def spoilt(fault: Fault, path: str, method: str = "GET") -> Any:
        here.faults.add(fault)
        return here.call(method, path).json()["data"]

    assert spoilt(word, "/v2/portfolios/p")["schedule"]["status"] == "odd"
    assert spoilt(word, "/v2/portfolios")["portfolios"][0]["schedule"]["status"] == "odd"
    assert spoilt(word, "/v2/strategies/s")["schedule"]["frequency"] == "odd"
    assert spoilt(word, "/v2/strategies/s/schedule")["frequency"] == "odd"
    begun = here.call("POST", "/v2/portfolios/p/rebalance").json()["data"]["operationId"].replace("%", "%25")
    assert spoilt(word, f"/v2/portfolios/p/operations/{begun}")["state"] == "odd"
    assert spoilt(name, "/v2/portfolios/p")["portfolioId"] == "zz0zz0zz"
    assert spoilt(name, "/v2/portfolios")["portfolios"][0]["portfolioId"] == "zz0zz0zz"
    assert spoilt(name, "/v2/strategies/s")["strategyId"] == "zz0zz0zz"
    assert spoilt(word, "/v2/strategies/t/schedule") is None


def test_which_calls_meet_a_rule() -> None:
    """The first rule that speaks of operation and portfolio is met, so often as it says."""
    faults = Faults(
        [
            Fault(kind=FaultKind.HTML, operation=Operation.PAUSE, portfolio="a", times=2),
            Fault(kind=FaultKind.EMPTY, operation=Operation.PAUSE),
            Fault(kind=FaultKind.LATENCY, portfolio="b"),
        ]
    )
    met = [
        faults.take(operation, portfolio)
        for operation, portfolio in (
            (Operation.READ, "a"),
            (Operation.PAUSE, "a"),
            (Operation.PAUSE, "a"),
            (Operation.PAUSE, "a"),
            (Operation.PAUSE, "a"),
            (Operation.READ, "b"),
            (Operation.READ, "b"),
        )
    ]
    kinds = [fault and fault.kind for fault in met]
    assert kinds == [None, FaultKind.HTML, FaultKind.HTML, FaultKind.EMPTY, None, FaultKind.LATENCY, None]


def test_refused_calls_use_up_no_rule(bench: Make) -> None:
    """A call without a key, or to no route, is not what a rule waits for."""
    here = bench()
    here.faults.add(Fault(kind=FaultKind.SERVER_ERROR))
    here.call("GET", "automation/status", key=None)
    here.call("GET", "/nowhere")
    assert len(here.faults.left()) == 1


@pytest.mark.parametrize("kind", list(FaultKind))
def test_rules_survive_plain_data(kind: FaultKind) -> None:
    """What is shown of a rule can be given back."""
    (rule,) = parse_faults([{"kind": kind.value, "operation": "pause", "portfolio": "p", "times": 3}])
    assert (rule.kind, rule.operation, rule.portfolio, rule.times) == (kind, Operation.PAUSE, "p", 3)
    assert parse_faults([fault_data(rule)]) == (rule,)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "must be a list of rules, not a mapping"),
        ([3], "faults[0]: must be a mapping, not 3"),
        ([{}], "faults[0].kind: is missing"),
        ([{"kind": "htlm"}], "did you mean html?"),
        ([{"kind": "html", "ms": 3}], "faults[0].ms: is not a known field"),
        ([{"kind": "html", "operation": "reed"}], "faults[0].operation: must be one of read, start"),
        ([{"kind": "html", "times": 0}], "faults[0].times: must be a whole number from 1"),
        ([{"kind": "html", "status": 200}], "faults[0].status: must be a whole number from 400"),
        ([{"kind": "rebalance_ends", "course": "lost"}], "faults[0].course: must be one of completed, failed"),
        ([{"kind": "rate_limited", "form": "words"}], "faults[0].form: must be one of seconds, date"),
    ],
)
def test_wrong_rules_are_explained(data: Any, problem: str) -> None:
    """Each mistake is named with its address."""
    with pytest.raises(SandboxError) as caught:
        parse_faults(data)
    assert problem in caught.value.detail
