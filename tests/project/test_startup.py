"""What a command does not need, it does not load: start-up time is spent in imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.service import run_async
from tests.loopback import Reply, Request, loopback

ROOT = Path(__file__).parents[2]
HEAVY = (
    "h11",
    "httpcore2",
    "httpx2",
    "jsonschema",
    "deepdiff",
    "asyncio",
    "ssl",
    "starlette",
    "uvicorn",
    "sqlite3",
    "psycopg",
    "jinja2",
)
OURS = ("msgspec", "shutil", "reconciler.cli.door", "reconciler.cli.options", "reconciler.core.errors")
"""What a command needs once it runs, and its help does not."""
GOOD_FILE = str(ROOT / "examples/quickstart/automation.yaml")

PLANNING = {"h11", "asyncio", "ssl"}
"""What a plan over HTTP without a journal can't do without; asyncio imports ssl, and http needs no certificate."""

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
        *((f"{name} --help".split(), (*HEAVY, "yaml", *OURS)) for name in ("plan", "apply", "drift", "status")),
        (["validate", "-f", GOOD_FILE], tuple({*HEAVY, "hashlib", "reconciler.core.decide"} - {"asyncio", "sqlite3"})),
    ],
    ids=["help", "version", "plan-help", "apply-help", "drift-help", "status-help", "validate"],
)
def test_heavy_modules_stay_out(arguments: list[str], unwanted: tuple[str, ...]) -> None:
    """A command that talks to nobody loads no client, no server, no database and no schema library."""
    assert sorted(set(unwanted) & modules_after(arguments)) == []


def modules_after(arguments: list[str], **environment: str) -> set[str]:
    """Run a command in a process of its own, which must end well; return what it has imported by then."""
    run = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(run.stderr.splitlines()[-1])
    assert report["code"] == 0, run.stderr
    return set(report["modules"])


@pytest.mark.slow
def test_a_plan_loads_a_client_and_nothing_beside(tmp_path: Path) -> None:
    """Also where state and interval differ: no DeepDiff, no second client, no schema library for errors, no git."""
    file = tmp_path / "automation.yaml"
    file.write_text("version: 1\nportfolios:\n  aaa: {state: paused}\n  bbb: {state: active, interval: 48h}\n")

    def answer(request: Request) -> Reply:
        data = {"status": "active", "hasAutomation": True, "intervalMs": 86_400_000}
        return Reply({"success": True, "data": data})

    with loopback(answer) as url:
        service = {"GLIDER_BASE_URL": url, "GLIDER_API_KEY": "gldr_sk_of_a_test"}
        place = ["-f", str(file), "--journal", str(tmp_path / "journal.db")]
        loaded = modules_after(["plan", *place], **service)
        of_json = modules_after(["plan", "-o", "json", *place], **service)
    unwanted = {*HEAVY, "reconciler.config.git", "reconciler.core.doctor", "reconciler.cli.writing"} - PLANNING
    assert sorted(unwanted & loaded) == []
    assert sorted({*unwanted, "reconciler.render.plan", "reconciler.render.effects"} & of_json) == []


@pytest.mark.slow
def test_no_cycles_are_searched_while_a_command_is_imported() -> None:
    """The package of the command line sets the collector's thresholds before any module of it is imported."""
    run = "import gc, reconciler.cli; old = gc.get_stats(); import reconciler.cli.main; print(gc.get_stats() == old)"
    told = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert told.stdout == "True\n"


def test_nobody_writes_a_whole_result_down() -> None:
    """At the end of a command asyncio asks for the handler of SIGINT, and Python formats whatever hangs on that."""

    class Fleet:
        shown = 0

        def __repr__(self) -> str:
            self.shown += 1
            return "a fleet"

    async def read() -> Fleet:
        return Fleet()

    assert run_async(read).shown == 0
