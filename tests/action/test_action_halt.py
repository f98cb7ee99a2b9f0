"""Halts in the GitHub Action: from the halt to the lift, also with files that are broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout

pytestmark = pytest.mark.slow

SEED = {name: {"status": "active", "interval": "24h"} for name in ("aaa", "bbb")}
FILES = """
version: 1
guards: {max_resume: 100%}
portfolios:
  aaa: {state: active, interval: 24h}
  bbb: {state: active}
"""


def test_from_the_halt_to_the_lift(checkout: Callable[..., Checkout]) -> None:
    """Its page says what to commit and how to lift it; the file is an output; broken files stop neither."""
    team = checkout(SEED, FILES)
    assert team("apply", auto_approve="true").exit == 0
    team.write("automation.yaml", "portfolios: [")
    stopped = team("halt", reason="Oracle is off", known="true")
    assert stopped.exit == 0
    assert sorted(team.glider.calls()) == ["aaa pause", "bbb pause"]
    path = Path(stopped.outputs["halt-path"])
    made = json.loads(path.read_text("utf-8"))
    assert (made["id"], made["reason"]) == (path.stem, "Oracle is off")
    assert "other machines know of the halt by this file" in stopped.summary
    assert f"`lift` (`halt: {path.stem}`)" in stopped.summary
    refused = team("lift", halt=path.stem, auto_approve="true")
    assert (refused.exit, refused.outputs["exit-reason"]) == (3, "invalid")
    assert any("With `known`, a lift needs no files" in line for line in refused.log)
    lifted = team("lift", halt=path.stem, auto_approve="true", known="true")
    assert lifted.exit == 0
    assert sorted(team.glider.calls()[2:]) == ["aaa resume", "bbb resume"]
    assert json.loads(path.read_text("utf-8"))["lifted_at"] is not None
    assert "it says now that the halt is lifted" in lifted.summary
