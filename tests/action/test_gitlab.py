"""The pipeline for GitLab in docs/ci.md, each job of it by the shell, as GitLab's runner does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.action.conftest import ROOT
from tests.process.support import environment
from tests.project.test_documents import FENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout

PAGE = (ROOT / "docs/ci.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_pipeline_for_gitlab(checkout: Callable[..., Checkout]) -> None:
    """The first job writes nothing; the second one writes what the first one planned, and keeps the journal."""
    (text,) = (block for language, block in FENCE.findall(PAGE) if language == "yaml" and "resource_group" in block)
    pipeline = yaml.load(text, Loader=yaml.BaseLoader)
    assert len(text.splitlines()) <= 20
    made = checkout({"aaa": {"status": "active", "interval": "24h"}}, "")
    made.write("automation/fx.yaml", "version: 1\nportfolios:\n  aaa: {state: paused}\n")

    def run(job: str) -> str:
        where = environment(GLIDER_BASE_URL=made.glider.url)
        where["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), where["PATH"]])
        script = "\n".join(pipeline[job]["script"])
        command = ["bash", "-e", "-o", "pipefail", "-c", script]
        ended = subprocess.run(command, cwd=made.workspace, env=where, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended
        return ended.stdout + ended.stderr

    assert "1 to pause" in run("plan")
    assert made.glider.calls() == []
    assert all((made.workspace / name).exists() for name in pipeline["plan"]["artifacts"]["paths"])
    assert "1 done" in run("apply")
    assert made.glider.calls() == ["aaa pause"]
    assert all((made.workspace / name).exists() for name in pipeline["apply"]["cache"]["paths"])
