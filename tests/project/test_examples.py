"""Every example does what it says: it loads, plans what its README counts, and a second plan is empty."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from tests import prepared
from tests.project.test_documents import FENCE
from tests.project.test_readme import settled

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GLIDER_")}

FIRST = {
    "quickstart": {"start": 1, "resume": 1, "pause": 1, "update": 2, "no_op": 2, "held": 1},
    "fleet": {"start": 2, "resume": 1, "pause": 1, "update": 5, "no_op": 14, "held": 1},
    "v2": {"pause": 2, "no_op": 2, "held": 1, "unmanaged": 1},
    "incident": {"no_op": 4, "held": 1},
}
"""What the first plan of each example counts; what is not named is 0, ``unverified`` left aside."""

STRATEGIES = {"v2": {"strategies/01JWZEE2MF30KVRMRX53N88VA4": ("daily", "weekly", 3)}}
"""The new cadences of the first plan, and how many portfolios each reaches."""

FILES = {"quickstart": "automation.yaml", "fleet": "automation", "v2": "automation.yaml", "incident": "automation.yaml"}


def _run(*arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-m", "reconciler", *arguments]
    ended = prepared.run(command, cwd=cwd, env=ENVIRONMENT)
    assert ended.returncode == 0, f"{arguments} ended in {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def _plan(example: str, cwd: Path, *more: str) -> dict[str, Any]:
    source = str(EXAMPLES / example / FILES[example])
    document: dict[str, Any] = json.loads(_run("plan", "-f", source, "--sandbox", "s.db", "-o", "json", *more, cwd=cwd))
    return document


@pytest.mark.slow
@pytest.mark.parametrize("example", FIRST)
def test_example_converges(example: str, tmp_path: Path) -> None:
    """One apply of an example leaves nothing to do but what is held for a person, within its own guards."""
    source = str(EXAMPLES / example / FILES[example])
    _run("sandbox", "load", str(EXAMPLES / example / "sandbox.yaml"), "--sandbox", "s.db", cwd=tmp_path)
    first = _plan(example, tmp_path)
    summary = first["summary"]
    counts = {kind: summary[kind] for kind in summary if summary[kind] and kind not in ("strategies", "unverified")}
    assert counts == FIRST[example]
    cadences = {
        one["id"]: (one["before"]["cadence"], one["after"]["cadence"], one["reach"])
        for one in first["changes"]
        if one["id"].startswith("strategies/")
    }
    assert cadences == STRATEGIES.get(example, {})
    assert summary["strategies"]["update"] == len(cadences)
    assert first["guards"] == []
    _run("apply", "-f", source, "--sandbox", "s.db", "--auto-approve", cwd=tmp_path)
    second = _plan(example, tmp_path, "--detailed-exitcode")
    assert second["changes"] == []
    assert [held["id"] for held in second["held"]] == [held["id"] for held in first["held"]]


def test_every_file_belongs_to_an_example() -> None:
    """Each YAML file is the configuration or the seed of an example that is tested, or for Kubernetes
    (``test_containers.py``)."""
    known = {path for name, files in FILES.items() for path in _below(EXAMPLES / name / files)}
    seeds = {EXAMPLES / name / "sandbox.yaml" for name in FILES}
    assert set(EXAMPLES.rglob("*.yaml")) == known | seeds | set((EXAMPLES / "kubernetes").glob("*.yaml"))


def test_the_walk_through_is_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command of the v2 example's page, in its order, exits 0 and prints what the page shows."""
    page = (EXAMPLES / "v2/README.md").read_text(encoding="utf-8")
    for name in ("automation.yaml", "sandbox.yaml"):
        (tmp_path / name).write_bytes((EXAMPLES / "v2" / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    blocks = [block for language, block in FENCE.findall(page) if language == "console"]
    steps = [step for block in blocks for step in re.split(r"^\$ reconciler ", block, flags=re.MULTILINE)[1:]]
    assert len(steps) > 5
    for step in steps:
        line, _, shown = step.partition("\n")
        assert run(line.split()) == 0, line
        printed = capsys.readouterr().out
        assert settled(shown.strip("\n")) == settled(printed.strip("\n")), line


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.yaml"))


@pytest.mark.parametrize("path", [p for name, files in FILES.items() for p in _below(EXAMPLES / name / files)], ids=str)
def test_editors_find_the_schema(path: Path) -> None:
    """The first line of each configuration file leads an editor to the schema."""
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text(encoding="utf-8"))
    assert found
    assert (path.parent / found[1]).resolve() == ROOT / "schemas/automation.schema.json"
