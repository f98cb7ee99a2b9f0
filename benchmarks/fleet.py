"""Large fleets made up by a seed: what the files declare, and the status answer that Glider would give.

In: a number of portfolios and a seed. Out: configuration files, and one answer for each portfolio. The same input
gives the same bytes. The mix is that of a team that has run the reconciler for a while: nine of ten portfolios are as
declared, the rest shows everything a plan can say. Knows nothing of the program it is made for.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

HOUR_MS: Final = 3_600_000
NOW_MS: Final = 1_790_000_000_000
"""The moment of every answer, in 2026; fixed, so that answers are the same bytes each time."""

SEED: Final = 1
"""Of every fleet that is measured."""
PER_FILE: Final = 5_000
"""Portfolios in one file: about 0.6 MiB, far below the limit of one file."""

GROUPS: Final = {"mainnet": 48, "base": 6, "daily": 24, "treasury": 168}
"""Group to interval, in hours."""

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_WORDS: Final = ("Growth", "Index", "Stable", "Yield", "Momentum", "Core", "Market", "Neutral", "Blue", "Chips")
_OWN_INTERVALS: Final = (1, 2, 4, 8, 12, 36, 72, 96)
_OURS: Final = "Paused via API: Rebalancing freeze [glider-reconciler]"
_THEIRS: Final = "Paused from the app by maria"
_RUNS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Member:
    """One portfolio: what is declared (``state`` to ``reason``), and what is live. Intervals are in hours."""

    id: str
    name: str
    group: str
    state: str
    interval: int | None
    offset_minutes: int | None
    reason: str | None
    live_status: str
    live_interval: int
    pause_reason: str | None


def members(count: int, seed: int = 1) -> Iterator[Member]:
    """Yield ``count`` portfolios with ids of their own, in no order."""
    chance = random.Random(seed)
    for number in range(count):
        yield _member(chance, number)


def _member(chance: random.Random, number: int) -> Member:
    group = chance.choice(tuple(GROUPS))
    own = chance.choice(_OWN_INTERVALS) if chance.random() < 0.2 and group != "mainnet" else None
    paused = chance.random() < 0.08
    wanted = own or GROUPS[group]
    status, interval, pause_reason = "paused" if paused else "active", wanted, _OURS if paused else None
    fate = chance.random()
    if fate < 0.03:
        interval = wanted * 2
    elif fate < 0.05:
        status, pause_reason = ("active", None) if paused else ("paused", _OURS)
    elif fate < 0.06:
        status, pause_reason = "paused", _THEIRS
    elif fate < 0.08:
        status, pause_reason = "inactive", None
    return Member(
        id=_id(chance, number),
        name=f"{chance.choice(_WORDS)} {chance.choice(_WORDS)} {number}",
        group=group,
        state="paused" if paused else "active",
        interval=own,
        offset_minutes=chance.choice((15, 30, 45)) if chance.random() < 0.02 else None,
        reason="Rebalancing freeze" if paused else None,
        live_status=status,
        live_interval=interval,
        pause_reason=pause_reason,
    )


def write_pauses(folder: Path, fleet: Iterable[Member]) -> None:
    """Write one file that declares all of them paused."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = "".join(f"  {member.id}: {{state: paused}}\n" for member in fleet)
    (folder / "pauses.yaml").write_text(f"version: 1\nportfolios:\n{entries}", encoding="utf-8")


def paused(member: Member, reason: str) -> Member:
    """Return a portfolio after a pause over the API; the service puts words of its own before the reason."""
    return replace(member, live_status="paused", pause_reason=f"Paused via API: {reason}")


def pause_answer(member: Member) -> bytes:
    """Return the body of the answer to a pause (API facts §1.2)."""
    data = {
        "portfolioId": member.id,
        "scheduleId": f"sched_{member.id}",
        "status": "paused",
        "paused": True,
        "pausedAt": _text(NOW_MS),
        "reason": member.pause_reason,
    }
    return json.dumps({"success": True, "data": data}).encode()


def _id(chance: random.Random, number: int) -> str:
    """Return eight characters as Glider's ids have them; the last four count, so that no two are the same."""
    tail = ""
    for _ in range(4):
        number, digit = divmod(number, len(_ALPHABET))
        tail += _ALPHABET[digit]
    return chance.choice(_ALPHABET[:26]) + "".join(chance.choices(_ALPHABET, k=3)) + tail


def write_files(folder: Path, count: int, seed: int = 1) -> list[Path]:
    """Write the configuration of ``count`` portfolios into ``folder`` and return its files, sorted."""
    folder.mkdir(parents=True, exist_ok=True)
    head = folder / "00-groups.yaml"
    groups = "".join(f"  {name}:\n    interval: {hours}h\n" for name, hours in GROUPS.items())
    head.write_text(f"version: 1\n\ndefaults:\n  chain: base\n\ngroups:\n{groups}", encoding="utf-8")
    files = [head]
    entries: list[str] = []
    for index, member in enumerate(members(count, seed), start=1):
        entries.append(_entry(member))
        if len(entries) == PER_FILE or index == count:
            path = folder / f"portfolios-{len(files):04}.yaml"
            path.write_text("version: 1\n\nportfolios:\n" + "".join(entries), encoding="utf-8")
            files.append(path)
            entries = []
    return files


def _entry(member: Member) -> str:
    lines = [f"  {member.id}:", f"    name: {member.name}", f"    group: {member.group}", f"    state: {member.state}"]
    if member.interval is not None:
        lines.append(f"    interval: {member.interval}h")
    if member.offset_minutes is not None:
        lines.append(f"    offset: {member.offset_minutes}m")
    if member.reason is not None:
        lines.append(f"    reason: {member.reason}")
    return "\n".join(lines) + "\n"


def status_answer(member: Member) -> bytes:
    """Return the body of the status answer (API facts §1.2): no interval and no offset, as the service has it."""
    every = member.live_interval * HOUR_MS
    phase = sum(member.id.encode()) * 60_000 % every
    newest = NOW_MS - phase
    inactive = member.live_status == "inactive"
    actions = [
        {"workflowId": f"rebal_{member.id}_{back}", "takenAt": _text(ran + 4), "scheduledAt": _text(ran)}
        for back in range(_RUNS_SHOWN)
        if (ran := newest - back * every)
    ]
    active = member.live_status == "active"
    data = {
        "portfolioId": member.id,
        "status": member.live_status,
        "hasAutomation": not inactive,
        "message": f"Automation is {member.live_status}",
        "rebalanceScheduleId": None if inactive else f"sched_{member.id}",
        "details": {
            "totalExecutions": 0 if inactive else 120,
            "paused": member.live_status == "paused",
            "pauseReason": member.pause_reason,
            "recentActions": [] if inactive else actions,
            "nextScheduledExecution": _text(newest + every) if active else None,
        },
    }
    envelope = {"success": True, "data": data, "requestId": f"req_{member.id}", "timestamp": _text(NOW_MS)}
    return json.dumps(envelope, separators=(",", ":")).encode()


def list_row(member: Member) -> dict[str, object]:
    """Return a portfolio's row in the list of v2 (API facts §1.4)."""
    due = _text(NOW_MS + member.live_interval * HOUR_MS)
    status = "paused" if member.live_status == "paused" else "active"
    schedule = {"status": status, "frequency": "daily", "intervalMs": 24 * HOUR_MS, "nextDueAt": due}
    return {
        "portfolioId": member.id,
        "portfolioName": member.name,
        "ownerAccountId": "eip155:0:0x0000000000000000000000000000000000000001",
        "strategyId": "01JWZEE2MF30KVRMRX53N88VA4",
        "strategyName": member.group,
        "smartAccounts": [{"accountId": "eip155:8453:0x0000000000000000000000000000000000000002"}],
        "schedule": {**schedule, "lastRebalanceAt": _text(NOW_MS)},
        "createdAt": _text(NOW_MS),
    }


def _text(moment_ms: int) -> str:
    seconds, rest = divmod(moment_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"
