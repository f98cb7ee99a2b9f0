"""A command line in a folder of its own: arguments in; exit code, stdout and stderr out."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cli.main import run

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "gldr_sk_canary_4f1d7c"

SEED = """
version: 1
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  bbb: {status: paused, interval: 24h, pause_reason: "Paused via API: Freeze [glider-reconciler]"}
  ccc: {status: paused, interval: 24h, pause_reason: Paused from the app}
  ddd: {status: inactive}
"""
FILES = """
version: 1
portfolios:
  aaa: {name: Growth, state: paused, reason: Liquidity event}
  bbb: {state: active}
  ccc: {state: active}
  ddd: {state: active, interval: 24h}
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands in one folder."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture

    def __call__(self, line: str) -> Ended:
        self._capture.readouterr()
        code = run(line.split())
        out, err = self._capture.readouterr()
        return Ended(code, out, err)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def holding(self, seed: str, files: str | None = None) -> Shell:
        """Load a seed into the sandbox, and write the files of portfolios where there are some; return itself."""
        self.write("seed.yaml", seed)
        if files is not None:
            self.write("automation.yaml", files)
        assert self("sandbox load seed.yaml").code == 0
        return self


def load(folder: Path) -> None:
    """Load the seed of a folder into its sandbox, in this process: what is tested comes after."""
    with contextlib.chdir(folder):
        assert run(["sandbox", "load", "seed.yaml"]) == 0


@pytest.fixture
def bare(
    skipped_waits: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLIDER_API_KEY", CANARY)
    monkeypatch.setenv("GLIDER_BASE_URL", "http://127.0.0.1:9")  # a line without --sandbox must reach nobody
    return Shell(tmp_path, capsys)


@pytest.fixture
def shell(bare: Shell) -> Shell:
    """A folder with the files of four portfolios and a sandbox that holds them."""
    return bare.holding(SEED, FILES)
