"""A rebalance and what only a process can suffer: a signal while it waits, death while its answer is on the way."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journalreads import read_runs
from tests.process.support import NEVER_MS, PATIENCE_SECONDS, kill, until

if TYPE_CHECKING:
    from tests.process.support import Glider

TRIGGERED = "bbb trigger"


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_stops_the_waiting(served: Glider, number: int, code: int, word: str) -> None:
    """The report says that the run goes on, and the exit code says what stopped the waiting."""
    process = served.start("rebalance", "bbb", "--auto-approve", "--wait", "-o", "json")
    until(lambda: len(served.calls("bbb", "GET")) > 1, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    document = json.loads(out)
    assert (process.returncode, document["exit_reason"], err) == (code, word, "")
    (result,) = document["results"]
    assert (result["outcome"], result["detail"]) == (
        "accepted",
        "waiting was interrupted; it goes on: look with `reconciler status bbb`",
    )
    assert served.calls("bbb") == [TRIGGERED]


def test_an_apply_need_not_wait_for_one_that_is_followed(served: Glider) -> None:
    """The journal is free again as soon as the rebalance was asked for."""
    process = served.start("rebalance", "bbb", "--auto-approve", "--wait")
    until(lambda: TRIGGERED in served.calls("bbb"), process)
    asked = len(served.calls("bbb", "GET"))  # the first read after the request is one that follows it
    until(lambda: len(served.calls("bbb", "GET")) > asked, process)
    assert served.run("apply", "--auto-approve", "--lock-timeout", "0s").returncode == 0
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_SECONDS)


def test_death_while_the_answer_is_on_the_way(served: Glider) -> None:
    """The intent is on the disk; whoever comes next says that it may have begun, and does not repeat it."""
    served.misbehave({"kind": "slow_answer", "operation": "trigger", "ms": NEVER_MS})
    process = served.start("rebalance", "bbb", "--auto-approve")
    until(lambda: TRIGGERED in served.calls("bbb"), process)
    kill(process)
    ended = served.run("apply", "--auto-approve")
    assert "an earlier rebalance of bbb was cut off, and may have begun; it is not repeated" in ended.stderr
    assert served.calls("bbb").count(TRIGGERED) == 1
    writes = [write for run in read_runs(served.journal) or () for write in run.writes if write.call == "rebalance"]
    assert [(write.portfolio, write.outcome) for write in writes] == [("bbb", "unknown")]


def test_the_same_command_once_more_after_a_death(served: Glider) -> None:
    """It trades no second time: it finds the run that was asked for. Only who asks once more asks anew."""
    served.misbehave({"kind": "slow_answer", "operation": "trigger", "ms": NEVER_MS})
    process = served.start("rebalance", "bbb", "--auto-approve")
    until(lambda: TRIGGERED in served.calls("bbb"), process)
    kill(process)
    again = served.run("rebalance", "bbb", "--auto-approve")
    assert again.returncode == 0
    assert "the earlier request had begun the workflow" in again.stdout
    assert served.calls("bbb").count(TRIGGERED) == 1
    assert served.run("rebalance", "bbb", "--auto-approve").returncode == 0
    assert served.calls("bbb").count(TRIGGERED) == 2
