"""The page about the sandbox says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from reconciler.sandbox.app import ADMIN_PATHS
from reconciler.sandbox.faults import FaultKind, Operation, fault_data, parse_faults
from reconciler.sandbox.seed import parse_seed
from reconciler.sandbox.settings import Settings
from reconciler.sandbox.v2 import v2_paths

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_the_seed_on_the_page_can_be_loaded() -> None:
    """The example is a seed, and the settings it shows are the defaults apart from the rate limit."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    seed = parse_seed(yaml.safe_load(text))
    assert len(seed.portfolios) == 7
    assert len(seed.strategies) == 2
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


def test_every_operation_is_on_the_page() -> None:
    """The words that a rule may name are those of the table."""
    table = PAGE.partition("| operation | calls |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert sorted(word for row in rows for word in re.findall(r"`(\w+)`", row)) == sorted(Operation)


def test_every_v2_call_is_on_the_page() -> None:
    """The table has a row for each method of each path, with the scope that it takes."""
    rows = set(re.findall(r"^\| `([A-Z]+) (/v2/\S+)` \| (?:`(\S+)`)? ?\|", PAGE, re.MULTILINE))
    calls = {
        (
            method,
            re.sub(r"\{(portfolio|strategy)\}", "{id}", path).replace("{operation}", "{operationId}"),
            call.scope or "",
        )
        for path, methods in v2_paths().items()
        for method, call in methods.items()
    }
    assert rows == calls


def test_every_admin_route_is_on_the_page() -> None:
    """The table has a row for each method of each path."""
    rows = set(re.findall(r"^\| `([A-Z]+) (/_sandbox/[a-z]+)`", PAGE, re.MULTILINE))
    assert rows == {(method, path) for path, methods in ADMIN_PATHS.items() for method in methods}
