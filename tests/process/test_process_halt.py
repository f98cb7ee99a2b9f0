"""A halt as a process of its own: beside an apply that is at work, and killed in its midst."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.process.support import NEVER_MS, kill, until

if TYPE_CHECKING:
    from tests.process.support import Glider

HALT = ("halt", "--reason", "Oracle", "--auto-approve", "--parallelism", "1")


def test_beside_an_apply_that_resumes(served: Glider) -> None:
    """The apply begins nothing more, and what it had begun before is paused once that is over."""
    served.misbehave({"kind": "latency", "operation": "resume", "ms": NEVER_MS})
    apply = served.start("apply", "--auto-approve", "--parallelism", "1")
    until(lambda: "ccc resume" in served.calls(), apply)
    halt = served.start(*HALT, "--all")
    until(lambda: "bbb pause" in served.calls(), halt)
    served.release()
    told = halt.communicate(timeout=60)
    assert halt.returncode == 0, told
    said = apply.communicate(timeout=60)
    assert apply.returncode == 6, said
    assert "nothing more begins" in said[0]
    assert served.calls() == [
        "aaa pause",
        "bbb update-schedule-interval",
        "ccc resume",
        "bbb pause",
        "ccc pause",
    ]


def test_killed_in_its_midst(served: Glider) -> None:
    """It holds on; its lift finds out what became of the pause that was cut off, and resumes all of it."""
    served.misbehave({"kind": "slow_answer", "operation": "pause", "portfolio": "bbb", "ms": NEVER_MS})
    halt = served.start(*HALT, "aaa", "bbb")
    until(lambda: "bbb pause" in served.calls(), halt)
    kill(halt)
    served.faults.clear()
    listed = served.run("halt", "list", "-o", "json")
    (made,) = [one["id"] for one in json.loads(listed.stdout)["halts"] if one["lifted_at"] is None]
    assert served.run("apply", "--auto-approve", "--target", "bbb").returncode == 0
    assert served.calls() == ["aaa pause", "bbb pause"]
    lifted = served.run("halt", "lift", made, "--auto-approve", "--parallelism", "1")
    assert lifted.returncode == 0, lifted
    # The files declare aaa paused.
    assert served.calls() == ["aaa pause", "bbb pause", "bbb resume"]
