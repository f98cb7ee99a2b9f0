"""The simulator's own routes: no key, no log, no faults; clear answers to mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox import Fault, FaultKind
from reconciler.sandbox.wire import REQUESTS_KEPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Bench

    Make = Callable[..., Bench]

HOUR = 3_600_000


def test_advance(bench: Make) -> None:
    """The clock goes ahead, and what became due has run."""
    here = bench(interval="1h", started="0s")
    response = here.call("POST", "/_sandbox/advance", {"ms": 3 * HOUR}, key=None)
    assert response.json() == {"clockOffsetMs": 3 * HOUR, "now": "2026-11-18T14:06:40.000Z"}
    assert response.headers["X-Glider-Sandbox"] == "simulator"
    assert here.status()["details"]["totalExecutions"] == 3


def test_faults(bench: Make) -> None:
    """Rules are added, shown and forgotten."""
    here = bench()
    rule = {"kind": "empty", "operation": "any", "portfolio": "*", "times": 1}
    assert here.call("GET", "/_sandbox/faults").json() == []
    assert here.call("POST", "/_sandbox/faults", [{"kind": "empty"}]).json() == [rule]
    assert here.call("POST", "/_sandbox/faults", [{"kind": "empty"}]).json() == [rule, rule]
    assert here.call("GET", "automation/status").content == b""
    assert here.call("GET", "/_sandbox/faults").json() == [rule]
    assert here.call("DELETE", "/_sandbox/faults").json() == []


def test_requests_are_remembered_in_order(bench: Make) -> None:
    """Every request to the service is kept with its body and without its key, even one that was refused or lost."""
    here = bench()
    here.faults.add(Fault(kind=FaultKind.SERVER_ERROR))
    here.call("POST", "pause", {"reason": "é"})
    here.call("GET", "rebalance/status?limit=3", key=None)
    here.call("PUT", "/nowhere", content=b"\xff")
    kept = here.call("GET", "/_sandbox/requests").json()
    assert kept == [
        {"method": "POST", "path": "/v1/portfolio/p/pause", "query": "", "body": '{"reason":"é"}'},
        {"method": "GET", "path": "/v1/portfolio/p/rebalance/status", "query": "limit=3", "body": ""},
        {"method": "PUT", "path": "/nowhere", "query": "", "body": "\ufffd"},
    ]
    assert all(request.headers == {} for request in here.app.requests.kept())
    here.app.requests.clear()
    assert here.call("GET", "/_sandbox/requests").json() == []


def test_the_log_is_bounded(bench: Make) -> None:
    """Old requests make room for new ones."""
    here = bench()
    here.call("GET", "/first")
    (first,) = here.app.requests.kept()
    for _ in range(REQUESTS_KEPT):
        here.app.requests.add(first)
    assert len(here.app.requests.kept()) == REQUESTS_KEPT


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "problem"),
    [
        ("POST", "advance", b"x", 400, "not JSON"),
        ("POST", "advance", b"", 400, "must be a mapping"),
        ("POST", "advance", b"{}", 400, "ms: is missing"),
        ("POST", "advance", b'{"ms": "3d"}', 400, "ms: must be a whole number"),
        ("POST", "advance", b'{"ms": -1}', 400, "ms: must be a whole number from 0"),
        ("POST", "faults", b'[{"kind": "x"}]', 400, "faults[0].kind"),
        ("PUT", "faults", b"", 405, "use GET or POST or DELETE"),
    ],
)
def test_mistakes_are_explained(bench: Make, method: str, path: str, content: bytes, status: int, problem: str) -> None:
    """A mistake is a 4xx that names it, and changes nothing."""
    here = bench()
    response = here.call(method, f"/_sandbox/{path}", content=content)
    assert response.status_code == status
    assert problem in str(response.json()["error"])
    assert (here.store.clock_offset_ms, here.faults.left()) == (0, ())
