"""The page about the sandbox says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from reconciler.sandbox.admin import ADMIN_PATHS
from reconciler.sandbox.faults import FaultKind, fault_data, parse_faults
from reconciler.sandbox.seed import Settings, parse_seed

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_the_seed_on_the_page_can_be_loaded() -> None:
    """The example is a seed, and the settings it shows are the defaults apart from the rate limit."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    seed = parse_seed(yaml.safe_load(text))
    assert len(seed.portfolios) == 4
    assert seed.settings == Settings(rate_limit=seed.settings.rate_limit)


def test_every_fault_is_on_the_page() -> None:
    """The table has a row for each kind, in order, with the defaults in force."""
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) \| (?:yes|no) \|$", PAGE, re.MULTILINE))
    assert set(rows) == {kind.value for kind in FaultKind}
    for kind, row in rows.items():
        data = fault_data(parse_faults([{"kind": kind}])[0])
        for name in data.keys() - {"kind", "operation", "portfolio", "times"}:
            assert f"`{name}`" in row
            assert str(data[name]) in row


def test_every_admin_route_is_on_the_page() -> None:
    """The table has a row for each method of each path."""
    rows = set(re.findall(r"^\| `([A-Z]+) (/_sandbox/[a-z]+)`", PAGE, re.MULTILINE))
    assert rows == {(method, path) for path, methods in ADMIN_PATHS.items() for method in methods}
