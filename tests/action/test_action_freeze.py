"""Freezes in the GitHub Action: what its pages show of them, and how its input lets a change through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.process.conftest import OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout

pytestmark = pytest.mark.slow

SEED = {
    "aaa": {"status": "active", "interval": "24h"},
    "bbb": {"status": "paused", "interval": "24h", "pause_reason": OURS},
}
FILES = """
version: 1
portfolios:
  aaa: {state: paused, reason: Liquidity event}
  bbb: {state: active}
"""


def at(hours: float) -> str:
    return f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"


def test_what_waits_is_said_and_let_through(checkout: Callable[..., Checkout]) -> None:
    """The plan has a part for it, the apply does the rest and names the input, and with that it goes."""
    freeze = f"freeze: [{{name: audit.q4, from: {at(-1)}, to: {at(2)}}}]\n"
    team = checkout(SEED, FILES + freeze)
    planned = team("plan")
    assert (planned.exit, planned.outputs["resume"]) == (0, "1")
    assert "### ⚠️ Plan: 2 changes, 1 frozen" in planned.summary
    assert "**Frozen** (1)" in planned.summary
    assert "| frozen by audit.q4 until " in planned.summary
    assert "let them through with `allow: freeze=NAME`." in planned.summary
    applied = team("apply", auto_approve="true")
    assert (applied.exit, applied.outputs["exit-reason"]) == (5, "guard")
    assert "the same command carries it out, and at once with `allow: freeze=audit.q4`." in applied.summary
    assert any("add `allow: freeze=audit.q4`" in line for line in applied.log)
    assert team.glider.calls() == ["aaa pause"]
    let = team("apply", auto_approve="true", allow="freeze=audit.q4")
    assert (let.exit, team.glider.calls()) == (0, ["aaa pause", "bbb resume"])
