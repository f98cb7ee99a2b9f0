"""The benchmarks measure what they claim to: their fleets are sound, and the same each time."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.fleet import NOW_MS, members, status_answer, write_files, write_pauses
from benchmarks.server import Bucket, Fleet, Windows
from benchmarks.stages import STAGES, measure
from reconciler.api.v1 import live_of
from reconciler.config.load import load_configuration
from reconciler.core.model import PortfolioId
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 2_000


def test_fleets_are_the_same_each_time(tmp_path: Path) -> None:
    """One seed gives one fleet: the same files and answers, and no id twice."""
    first, second = (write_files(tmp_path / name, 50, seed=7) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    fleet = list(members(COUNT, seed=7))
    assert len({member.id for member in fleet}) == COUNT
    assert fleet == list(members(COUNT, seed=7))
    assert fleet != list(members(COUNT, seed=8))


def test_a_fleet_shows_everything_a_plan_can_say(tmp_path: Path) -> None:
    """A fleet is valid, mostly as declared, and holds some of every change; nothing of it is blocked."""
    write_files(tmp_path, COUNT, seed=1)
    today = dt.date(2026, 11, 22)
    configuration = load_configuration([str(tmp_path)], stdin=lambda: b"", today=today, cwd=tmp_path)
    live = {
        (portfolio := PortfolioId(member.id)): live_of(portfolio, json.loads(status_answer(member)))
        for member in members(COUNT, seed=1)
    }
    assert live.keys() == configuration.desired.keys()
    summary = build_plan(
        Plan(base_url="https://x.invalid", created_ms=NOW_MS), configuration.desired, live, Memory()
    ).summary
    assert summary.no_op > COUNT * 0.8
    assert min(summary.start, summary.resume, summary.update, summary.pause, summary.held) > 0
    assert summary.blocked == 0


def test_every_stage_is_measured(tmp_path: Path) -> None:
    """The measure of stages gives a time for each of them, and a peak of memory."""
    write_files(tmp_path, 20, seed=1)
    found = measure(tmp_path, 20, 1)
    assert found.keys() == {*STAGES, "peak_kib"}
    assert found["peak_kib"] > 0


def asked(fleet: Fleet, line: str, body: bytes = b"") -> Any:
    """Return the JSON of an answer."""
    response, _ = fleet.answer(line.encode(), body)
    return json.loads(response.partition(b"\r\n\r\n")[2])


def test_the_server_lists_its_fleet_and_keeps_pauses() -> None:
    """Every portfolio is on one page of the list; a pause shows in the next status, with its reason."""
    fleet = Fleet(450, 1, 0.0, lambda: None)
    ids, cursor = [], ""
    while cursor is not None:
        page = asked(fleet, f"GET /v2/portfolios?limit=200{cursor and '&cursor=' + cursor} HTTP/1.1")
        ids += [row["portfolioId"] for row in page["data"]["portfolios"]]
        cursor = page["nextCursor"]
    assert ids == [member.id for member in members(450, 1)]
    path = f"/v1/portfolio/{ids[0]}"
    asked(fleet, f"POST {path}/rebalance/schedule/pause HTTP/1.1", b'{"reason": "Test"}')
    status = asked(fleet, f"GET {path}/automation/status HTTP/1.1")["data"]
    assert (status["status"], status["details"]["pauseReason"]) == ("paused", "Paused via API: Test")
    assert (fleet.counts.reads, fleet.counts.writes) == (4, 1)


@pytest.mark.parametrize(
    "limit", [lambda: Bucket(0.001, 2), lambda: Windows(2, lambda: 0.0)], ids=["bucket", "windows"]
)
def test_the_server_keeps_its_limit(limit: Callable[[], Bucket | Windows]) -> None:
    """Two are served, the third is refused and counted, and windows tell in headers what is left.

    Whoever comes from another address has a limit of its own, and a pause counts against it, too.
    """
    fleet = Fleet(1, 1, 0.0, limit)
    [portfolio] = fleet.members
    line = b"GET /v1/portfolio/" + portfolio + b"/automation/status HTTP/1.1"
    heads = [fleet.answer(line, b"")[0].partition(b"\r\n\r\n")[0] for _ in range(3)]
    assert [head.split(b" ")[1] for head in heads] == [b"200", b"200", b"429"]
    assert (fleet.counts.reads, fleet.counts.refused) == (2, 1)
    assert (b"x-ratelimit-remaining: 1" in heads[0]) is isinstance(limit(), Windows)
    pause = b"POST /v1/portfolio/" + portfolio + b"/rebalance/schedule/pause HTTP/1.1"
    for address, status in (("127.0.0.1", b"429"), ("127.0.1.1", b"200")):
        assert fleet.answer(pause, b'{"reason": "Test"}', address)[0].split(b" ")[1] == status
    assert (fleet.counts.writes, fleet.counts.refused) == (1, 2)


def test_a_fleet_of_pauses_is_sound(tmp_path: Path) -> None:
    """What the apply is measured with is valid."""
    write_pauses(tmp_path, members(20))
    found = load_configuration([str(tmp_path)], stdin=lambda: b"", today=dt.date(2026, 11, 22), cwd=tmp_path)
    assert len(found.desired) == 20
