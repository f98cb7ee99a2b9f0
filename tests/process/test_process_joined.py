"""Runners of one plan as processes: killed, stopped for a while, or told to leave, while others go on."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journalreads import read_runs
from tests.process.support import NEVER_MS, Glider, kill, until

if TYPE_CHECKING:
    from reconciler.core.endpoint import JournalUrl
    from tests.postgres import Server

CALLS = ["aaa pause", "bbb update-schedule-interval", "ccc resume", "ddd start"]


@pytest.fixture
def place(served: Glider, server: Server) -> JournalUrl:
    """A journal that is shared, with the plan ``plan.json`` that was made with it."""
    made = server.database()
    planned = served.run("plan", "--out", "plan.json", "--journal", str(made))
    assert planned.returncode == 0, planned
    return made


def joins(place: JournalUrl, *more: str) -> tuple[str, ...]:
    return ("apply", "plan.json", "--join", "--journal", str(place), "-o", "json", *more)


def test_one_is_killed_over_a_write(served: Glider, place: JournalUrl) -> None:
    """Another one finds what it did, does the rest, and reports the whole; nothing is done twice."""
    served.misbehave({"kind": "slow_answer", "operation": "pause", "ms": NEVER_MS})
    dying = served.start(*joins(place))
    until(lambda: "aaa pause" in served.calls(), dying)
    other = served.start(*joins(place))
    kill(dying)
    out, _ = other.communicate(timeout=60)
    assert other.returncode == 0
    results = json.loads(out)["results"]
    assert [(one["id"], one["outcome"]) for one in results] == [
        ("aaa", "already_done"),
        *((name, "done") for name in ("bbb", "ccc", "ddd")),
    ]
    assert served.calls() == CALLS
    (run,) = read_runs(place) or ()
    assert (run.exit_reason, len(run.process.split(", "))) == ("ok", 2)
    assert Counter(write.outcome for write in run.writes) == {"seen": 1, "confirmed": 3}


@pytest.mark.thorough
def test_one_that_is_stopped_for_a_while_lives(served: Glider, place: JournalUrl) -> None:
    """As long as its connection is there, nobody touches what it has begun, and no later stage begins."""
    served.misbehave({"kind": "latency", "operation": "pause", "ms": 1_000})
    slow = served.start(*joins(place))
    until(lambda: "aaa pause" in served.calls(), slow)
    slow.send_signal(signal.SIGSTOP)
    other = served.start(*joins(place))
    with pytest.raises(AssertionError, match="waited in vain"):
        until(lambda: len(served.calls()) > 1, other, seconds=8)
    slow.send_signal(signal.SIGCONT)
    for runner in (slow, other):
        out, _ = runner.communicate(timeout=60)
        assert {one["outcome"] for one in json.loads(out)["results"]} == {"done"}
        assert runner.returncode == 0
    assert served.calls() == CALLS


def test_one_is_told_to_leave(served: Glider, place: JournalUrl) -> None:
    """It ends what it has begun, says what it left, and exits as a signal makes it; the other exits with the whole."""
    served.misbehave({"kind": "latency", "operation": "pause", "ms": 1_000})
    leaving = served.start(*joins(place))
    until(lambda: "aaa pause" in served.calls(), leaving)
    other = served.start(*joins(place))
    leaving.send_signal(signal.SIGTERM)
    out, _ = leaving.communicate(timeout=60)
    assert leaving.returncode == 143
    assert [one["outcome"] for one in json.loads(out)["results"]] == ["done", *["not_attempted"] * 3]
    out, _ = other.communicate(timeout=60)
    assert other.returncode == 0
    assert {one["outcome"] for one in json.loads(out)["results"]} == {"done"}
    assert served.calls() == CALLS
