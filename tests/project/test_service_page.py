"""The page about the service holds what docstrings cite, and says of the code what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.core.guards import ETHEREUM_MIN_INTERVAL_MS, MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.sandbox import DEFAULT_INTERVAL_MS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")

CITING = [
    *sorted((ROOT / "reconciler").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SECTION = re.compile(r"§(\d+(?:\.\d+|a)?)")
CALL = re.compile(r"\bV[12]\.\d+\b")


def not_there(text: str, *, page: str) -> list[str]:
    """Return the sections and calls that ``text`` cites and ``page`` does not have."""
    headings = set(re.findall(r"^#{2,3} (\d+(?:\.\d+|a)?)\.? ", page, re.MULTILINE))
    rows = set(re.findall(r"^\| (V[12]\.\d+) \|", page, re.MULTILINE))
    missing = {f"§{number}" for number in SECTION.findall(text) if number not in headings}
    return sorted(missing | (set(CALL.findall(text)) - rows))


@pytest.mark.parametrize("path", CITING, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_cited_exists(path: Path) -> None:
    """Every section and call that the code or a page cites stands on the page about the service."""
    assert not_there(path.read_text(encoding="utf-8"), page=PAGE) == []


def test_a_missing_section_is_found() -> None:
    """The check itself tells right from wrong."""
    page = "## 1. Calls\n### 1.1 v1\n| V1.1 | start |\n"
    assert not_there("API facts §1 and §1.1, V1.1", page=page) == []
    assert not_there("API facts §1.2 to §2a, V1.10, V2.3", page=page) == ["V1.10", "V2.3", "§1.2", "§2a"]


def test_named_modules_exist() -> None:
    """Every module that the page names is there."""
    named = sorted(set(re.findall(r"`(\w+/\w+\.py)`", PAGE)))
    assert named
    assert [name for name in named if not (ROOT / "reconciler" / name).is_file()] == []


@pytest.mark.parametrize(
    "limit_ms", [MIN_INTERVAL_MS, MAX_INTERVAL_MS, ETHEREUM_MIN_INTERVAL_MS, DEFAULT_INTERVAL_MS], ids=str
)
def test_limits_are_those_of_the_code(limit_ms: int) -> None:
    """The table of limits has the numbers that the code goes by."""
    limits = PAGE.partition("\n## 6. ")[2].partition("\n## ")[0]
    assert f"{limit_ms:,} ms".replace(",", " ") in limits
