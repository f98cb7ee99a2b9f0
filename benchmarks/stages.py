"""What the program itself does for a fleet, stage by stage, in one process and without a network.

In: ``python -m benchmarks.stages FOLDER COUNT SEED``, where ``FOLDER`` holds the files of that fleet. Out: one JSON
object on stdout: processor seconds of each stage, and the peak of resident memory in KiB. It calls the
program's own functions, as :mod:`benchmarks.shares` and :mod:`benchmarks.reads` do.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import reconciler.cli  # noqa: F401 - it sets Python's garbage collector as every command has it
from benchmarks.fleet import NOW_MS, members, status_answer
from reconciler.api.envelope import success_of
from reconciler.api.v1 import live_of
from reconciler.config.load import load_configuration
from reconciler.core.errors import ExitReason
from reconciler.core.model import PortfolioId
from reconciler.core.plan import Plan
from reconciler.core.planfile import format_plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.render.plan import plan_page
from reconciler.render.terminal import PLAIN, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.config.load import Configuration
    from reconciler.core.model import Live

Result = TypeVar("Result")

STAGES: Final = ("load", "decode", "plan", "json", "text")
"""Files to desired; answers to live; verdicts, diff and plan; the plan as JSON; the plan as text."""

_AT_ONCE: Final = 1_000
"""So many answers are made up before the clock runs on, so that the fleet's answers never lie in memory together."""


def measure(folder: Path, count: int, seed: int) -> dict[str, float]:
    """Return processor seconds by stage, and ``peak_kib``."""
    seconds = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, work: Callable[[], Result]) -> Result:
        began = time.process_time()
        result = work()
        seconds[stage] += time.process_time() - began
        return result

    configuration = timed("load", lambda: _load(folder))
    live: dict[PortfolioId, Live] = {}
    fleet = members(count, seed)
    while answers := [(PortfolioId(m.id), status_answer(m)) for m in itertools.islice(fleet, _AT_ONCE)]:
        timed("decode", partial(_decode, answers, live))
    plan = timed("plan", lambda: _plan(configuration, live))
    timed("json", lambda: format_plan(plan, ExitReason.OK))
    timed("text", lambda: terminal(plan_page(plan), PLAIN))
    return {**seconds, "peak_kib": peak_kib()}


def _load(folder: Path) -> Configuration:
    return load_configuration([str(folder)], stdin=lambda: b"", today=dt.date(2026, 11, 22), cwd=folder)


def _decode(answers: list[tuple[PortfolioId, bytes]], live: dict[PortfolioId, Live]) -> None:
    for portfolio, body in answers:
        operation = f"status of {portfolio}"
        payload = success_of(200, [], body, operation=operation, now_ms=NOW_MS)
        live[portfolio] = live_of(portfolio, payload)


def _plan(configuration: Configuration, live: Mapping[PortfolioId, Live]) -> Plan:
    return build_plan(
        Plan(
            base_url="https://api.glider.fi",
            created_ms=NOW_MS,
            config_digest=configuration.digest,
            config_files=configuration.files,
        ),
        configuration.desired,
        live,
        Memory(),
    )


def peak_kib() -> float:
    """Return the peak of this process's resident memory in KiB.

    Linux counts the parent's memory at the fork into ``ru_maxrss``, so the kernel's own figure is preferred.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return float(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else float(peak)


if __name__ == "__main__":
    _folder, _count, _seed = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(Path(_folder), int(_count), int(_seed))) + "\n")
