"""A fleet with one change of each kind, in a folder of its own, served on a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.process.support import Glider, glider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = "Paused via API: Freeze [glider-reconciler 00002a]"
SEED = {
    "settings": {"readable_schedule": True},
    "portfolios": {
        "aaa": {"status": "active", "interval": "24h"},
        "bbb": {"status": "active", "interval": "24h"},
        "ccc": {"status": "paused", "interval": "24h", "pause_reason": OURS},
        "ddd": {"status": "inactive"},
        "eee": {"status": "paused", "interval": "24h", "pause_reason": "by hand"},
    },
}
FILES = """
version: 1
portfolios:
  aaa: {state: paused, reason: Liquidity event}
  bbb: {state: active, interval: 12h}
  ccc: {state: active, interval: 24h}
  ddd: {state: active, interval: 24h}
  eee: {state: active}
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Glider]:
    (tmp_path / "automation.yaml").write_text(FILES, encoding="utf-8")
    with glider(tmp_path, SEED) as made:
        yield made
