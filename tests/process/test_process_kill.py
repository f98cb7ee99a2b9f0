"""SIGKILL, at chosen moments and at random ones: the next apply converges, and no effect is brought about twice."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journalreads import read_runs
from tests.process.support import NEVER_MS, Glider, glider, kill, until

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS = {
    "pause": "aaa pause",
    "update": "bbb update-schedule-interval",
    "resume": "ccc resume",
    "start": "ddd start",
}
"""In the order in which an apply comes to them."""
APPLY = ("apply", "--auto-approve", "--parallelism", "1")
NOTHING_DONE = {"kind": "latency", "ms": NEVER_MS}
ALL_DONE = {"kind": "slow_answer", "ms": NEVER_MS}


def wait_at_read(number: int) -> list[dict[str, Any]]:
    """Return rules that answer a portfolio's reads up to this one, and let that one wait: 1 plans, 2 compares."""
    return [{"kind": "latency", "operation": "read", "ms": 0}] * (number - 1) + [
        {"kind": "latency", "operation": "read", "ms": NEVER_MS}
    ]


@pytest.mark.parametrize(("fault", "times"), [(NOTHING_DONE, 2), (ALL_DONE, 1)], ids=["not_done", "done"])
def test_killed_while_the_answer_is_awaited(served: Glider, fault: dict[str, Any], times: int) -> None:
    """Killed over each kind of call in turn: it is sent again only where a read shows that it had no effect."""
    for operation, call in OPERATIONS.items():
        served.misbehave({**fault, "operation": operation})
        process = served.start(*APPLY)
        until(lambda call=call: call in served.calls(), process)  # type: ignore[misc]  # bound now
        kill(process)
    served.converges()
    assert Counter(served.calls()) == dict.fromkeys(OPERATIONS.values(), times)
    runs = read_runs(served.journal) or ()
    assert [run.exit_reason for run in runs] == ["ok", *["cut_off"] * 4]
    outcomes = Counter(write.outcome for run in runs for write in run.writes)
    assert outcomes == {"unseen": 4, "confirmed": 4} if times == 2 else {"seen": 4}


def test_a_job_that_was_killed_has_said_what_it_did(served: Glider, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's log, which is a pipe, has each outcome as soon as it is known."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    served.misbehave({**NOTHING_DONE, "operation": "resume"})
    process = served.start(*APPLY)
    until(lambda: "ccc resume" in served.calls(), process)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert [line.split() for line in said.splitlines()] == [
        ["done", "=", "pause", "aaa"],
        ["done", "~", "update", "bbb"],
    ]


@pytest.mark.parametrize("read", [2, 3], ids=["before_the_request", "after_the_answer"])
def test_killed_around_a_call(served: Glider, read: int) -> None:
    """Before its request nothing was done, after its answer all was: either way it is sent once."""
    for portfolio in ("aaa", "ddd"):
        already = len(served.calls(portfolio, "GET"))
        served.misbehave(*({**rule, "portfolio": portfolio} for rule in wait_at_read(read)))
        process = served.start(*APPLY)
        until(lambda p=portfolio, n=already + read: len(served.calls(p, "GET")) == n, process)  # type: ignore[misc]  # bound now
        kill(process)
        assert len(served.calls(portfolio)) == read - 2
    served.converges()
    assert Counter(served.calls()) == dict.fromkeys(OPERATIONS.values(), 1)


def test_killed_at_random(tmp_path: Path) -> None:
    """Killed again and again at any moment, a fleet still ends as declared, and each call took effect once."""
    chance = random.Random(20261122)
    names = [f"p{number:02}" for number in range(16)]
    (tmp_path / "automation.yaml").write_text(
        json.dumps({"version": 1, "portfolios": {name: {"state": "paused"} for name in names}}), encoding="utf-8"
    )
    seed = {"portfolios": {name: {"status": "active", "interval": "24h"} for name in names}}
    with glider(tmp_path, seed) as served:
        for _ in range(5):
            served.misbehave({"kind": "slow_answer", "ms": 60, "operation": "pause", "times": 4})
            before = len(served.calls(method="GET"))
            process = served.start("apply", "--auto-approve", "--parallelism", "2")
            until(lambda before=before: len(served.calls(method="GET")) >= before + len(names), process)  # type: ignore[misc]  # bound now
            with pytest.raises(Exception, match="timed out"):
                process.wait(timeout=chance.uniform(0, 0.12))
            kill(process)
        served.converges()
        assert Counter(served.calls()) == {f"{name} pause": 1 for name in names}
