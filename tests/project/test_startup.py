"""What a command does not need, it does not load: start-up time is spent in imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("httpcore2", "httpx2", "jsonschema", "deepdiff", "asyncio", "ssl", "starlette", "uvicorn", "sqlite3")
OURS = ("msgspec", "shutil", "reconciler.cli.door", "reconciler.cli.options", "reconciler.core.errors")
"""What a command needs once it runs, and its help does not."""
GOOD_FILE = str(ROOT / "examples/quickstart/automation.yaml")

RUN = """
import json, sys
from reconciler.cli.main import main
code = 0
try:
    main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code or 0
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], (*HEAVY, "yaml")),
        (["--version"], (*HEAVY, "yaml")),
        *((line.split(), (*HEAVY, "yaml", *OURS)) for line in ("plan --help", "apply --help", "status --help")),
        (["validate", "-f", GOOD_FILE], tuple({*HEAVY} - {"asyncio", "sqlite3"})),
    ],
    ids=["help", "version", "plan-help", "apply-help", "status-help", "validate"],
)
def test_heavy_modules_stay_out(arguments: list[str], unwanted: tuple[str, ...]) -> None:
    """A command that talks to nobody loads no client, no server, no database and no schema library."""
    run = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=True)
    report = json.loads(run.stderr.splitlines()[-1])
    assert report["code"] == 0, run.stderr
    assert sorted(set(unwanted) & set(report["modules"])) == []
