"""The whole story of a user on the embedded Glider: import what nobody declared, edit, plan, apply, rebalance, look.

200 portfolios of both APIs, through the command line alone.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., str]

EACH = 100
"""Portfolios on each API."""
CADENCES = {"S-growth": "daily", "S-income": "monthly", "S-value": "weekly"}
INTERVALS = ("6h", "24h", "48h")


def first(number: int) -> str:
    return f"one-{number:03}"


def second(number: int) -> str:
    return f"pf_{number:03}"


def live(number: int) -> dict[str, dict[str, Any]]:
    """Return one portfolio of each API, as the sandbox is seeded; every tenth is paused, or has never been started."""
    of_v1: dict[str, Any] = {"status": "active", "interval": INTERVALS[number % 3], "name": f"Index {number}"}
    of_v1["started"] = "245h"
    if number % 10 == 0:
        of_v1 |= {"status": "paused", "pause_reason": "Paused from the app"}
    if number % 10 == 1:
        of_v1 = {"status": "inactive", "name": f"Index {number}"}
    of_v2 = {
        "api": "v2",
        "strategy": sorted(CADENCES)[number % 3],
        "status": "paused" if number % 10 == 0 else "active",
        "started": "245h",
        "name": f"Client {number}",
    }
    return {first(number): of_v1, second(number): of_v2}


FLEET = {name: seed for number in range(EACH) for name, seed in live(number).items()}
SEED = {
    "version": 1,
    "settings": {"rebalance": {"queue": 0, "takes": 1}},
    "strategies": {name: {"frequency": word} for name, word in CADENCES.items()},
    "portfolios": FLEET,
}


def edited(text: str, portfolio: str, *lines: str) -> str:
    """Return files in which a person has put these lines in place of the portfolio's state."""
    block = re.compile(rf"(^  {portfolio}:.*\n(?:    (?!state:).*\n)*)    state: \w+\n", re.MULTILINE)
    found, times = block.subn(lambda match: match[1] + "".join(f"    {line}\n" for line in lines), text)
    assert times == 1, portfolio
    return found


def replaced(text: str, before: str, after: str) -> str:
    assert text.count(before) == 1, before
    return text.replace(before, after)


PAUSED = (first(5), second(5), second(6))
STARTED = (first(11), first(21), first(31))
RESUMED = first(10)
LONGER = [name for name, seed in FLEET.items() if seed.get("interval") == "48h" and seed["status"] == "active"]
REACHED = sum(seed.get("strategy") == "S-growth" for seed in FLEET.values())


def changed(text: str) -> tuple[str, dict[str, str]]:
    """Return the imported files as a person edits them, and what is to be done then: verbs by portfolio."""
    for portfolio in PAUSED:
        text = edited(text, portfolio, "state: paused", "reason: Liquidity event")
    for portfolio in STARTED:
        text = edited(text, portfolio, "state: active", "interval: 24h")
    text = edited(text, RESUMED, "state: active", "hold: override")
    text = replaced(text, "    interval: 48h\n", "    interval: 72h\n")
    imported = f"  S-growth:  # {REACHED} portfolios imported with it\n"
    text = replaced(text, f"{imported}    schedule: daily\n", "  S-growth:\n    schedule: hourly\n")
    verbs = dict.fromkeys(LONGER, "update") | dict.fromkeys(STARTED, "start") | dict.fromkeys(PAUSED, "pause")
    return f"{text}\nguards:\n  max_start: 2\n  max_reach: 10\n", verbs | {RESUMED: "resume"}


@pytest.fixture
def command(
    skipped_waits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs one command line in an empty folder; returns what it printed, once it ended as expected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLIDER_API_KEY", raising=False)

    def ends(line: str, code: int = 0) -> str:
        capsys.readouterr()
        ended = run(line.split())
        out, err = capsys.readouterr()
        assert ended == code, f"{line}\n{out}\n{err}"
        return f"{out}{err}" if code else out

    return ends


@pytest.mark.slow
def test_the_whole_story(command: Command, tmp_path: Path) -> None:
    """From a fleet that nobody declared to one that is managed, and every step does what it says and no more."""
    (tmp_path / "seed.json").write_text(json.dumps(SEED), encoding="utf-8")
    (tmp_path / "ids.txt").write_text("".join(f"{first(number)}\n" for number in range(EACH)), encoding="utf-8")
    files = tmp_path / "automation.yaml"
    command("sandbox load seed.json")

    # Import: v1 by ids, v2 by its list. Nothing is to be done right after.
    command("import --ids-from ids.txt --all --names --out automation.yaml --sandbox")
    assert json.loads(command("validate -o json"))["portfolios"] == 2 * EACH
    plan = json.loads(command("plan --sandbox --detailed-exitcode -o json"))
    strategies = dict.fromkeys(plan["summary"]["strategies"], 0) | {"no_op": len(CADENCES)}
    assert plan["summary"] == dict.fromkeys(plan["summary"], 0) | {"no_op": 2 * EACH, "strategies": strategies}

    # Edit: pause some, start and resume some, another cadence, another interval. The plan shows exactly that.
    text, expected = changed(files.read_text(encoding="utf-8"))
    files.write_text(text, encoding="utf-8")
    plan = json.loads(command("plan --sandbox --detailed-exitcode -o json", 2))
    changes = {change["id"]: change for change in plan["changes"]}
    cadence = changes.pop("strategies/S-growth")
    assert {name: change["verb"] for name, change in changes.items()} == expected
    assert (cadence["after"]["cadence"], cadence["reach"]) == ("hourly", REACHED)
    assert (plan["held"], plan["blocked"]) == ([], [])

    # Apply: the guards ask for the numbers, and name the flags. Then there is nothing left to do.
    refused = command("apply --sandbox --auto-approve", 5)
    assert f"--allow reach={REACHED}" in refused
    assert f"--allow start={len(STARTED)}" in refused
    report = command(f"apply --sandbox --auto-approve --allow start={len(STARTED)} --allow reach={REACHED}")
    assert f"Apply: {len(expected) + 1} done, 0 already done, 0 stale, 0 failed, 0 unknown, 0 not attempted." in report
    command("plan --sandbox --detailed-exitcode")
    command("drift --sandbox")

    # Rebalance: one of each API, followed to its end. It changes nothing that is declared.
    by_hand = [LONGER[0], second(3)]
    for portfolio in by_hand:
        assert "1 rebalance: 1 completed." in command(f"rebalance {portfolio} --wait --auto-approve --sandbox")
    command("plan --sandbox --detailed-exitcode")
    shown = json.loads(command(f"status --sandbox --target {by_hand[0]} --target {by_hand[1]} -o json"))
    ends = {row["id"]: row["last_rebalance"]["rebalance"]["status"] for row in shown["portfolios"]}
    assert ends == dict.fromkeys(by_hand, "completed")
    assert "completed" in command(f"status {second(3)} --sandbox")
