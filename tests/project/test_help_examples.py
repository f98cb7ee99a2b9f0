"""Every example in a command's help runs as it stands: it exits as it should, and never with a traceback."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from reconciler.apply.journal import open_journal
from reconciler.cli.main import cli, run
from tests.approval.conftest import commit, git
from tests.support import NOON_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

SEED = """
version: 1
settings: {rebalance: {queue: 0, takes: 1, cooldown: 0}}
strategies:
  01JWMOMENTUM: {frequency: daily}
portfolios:
  ao04x0r6: {status: active, interval: 24h, started: 245h}
  b7k2m9q1: {status: active, interval: 24h, started: 245h}
  c3d8n5w2: {status: paused, interval: 24h, pause_reason: "Paused via API: Freeze [glider-reconciler]"}
  pf_01JWZEE2MF30: {api: v2, strategy: 01JWMOMENTUM, status: active}
"""
FILES = """
version: 1
groups:
  mainnet: {chain: ethereum}
strategies:
  01JWMOMENTUM: {schedule: daily}
portfolios:
  ao04x0r6: {group: mainnet, state: active, interval: 48h}
  b7k2m9q1: {state: active, labels: {team: fx, tier: "1"}}
  c3d8n5w2: {state: active}
  pf_01JWZEE2MF30: {api: v2, state: active}
"""
RUNS = 12
"""So many runs are in the journal: an example shows the twelfth."""

FOUND = {"drift": 2, "status --watch": 130, "apply plan.json --join": 64}
"""What the examples that begin like this exit with, where that is not 0: drift is there, a watch is interrupted, and
several runners need a journal on a server, which is not there."""
ANSWERS = {
    "halt --reason oracle-is-off --all": "3",
    "halt --reason audit --select team=fx": "1",
    "halt --reason key-leaked ao04x0r6 b7k2m9q1": "2",
}
"""What is answered where it is not yes: how many are to be halted."""
SERVED = "sandbox serve"
"""It goes on until it is interrupted, so it is run as a process."""


def commands(group: click.Group = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is for people with its words, the groups too."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = f"{path} {name}".strip()
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from commands(command, words)
        else:
            yield words, command
            for inner, make in getattr(command, "commands", {}).items():  # `halt` is a command and has some below it
                yield f"{words} {inner}", make()


def examples(command: click.Command) -> list[str]:
    """Return the command lines of a help, without ``reconciler``, what explains them, and where output goes."""
    blocks = re.findall(r"^\x08\n((?:.+\n?)+)", re.sub(r"\\b", "\x08", command.help or ""), re.MULTILINE)
    found = [
        re.match(r"  reconciler (\S+(?: \S+)*?)(?: > \S+)?(?:  .*)?$", row) for b in blocks for row in b.splitlines()
    ]
    return [match[1] for match in found if match]


COMMANDS = dict(commands())
LINES = sorted({line for command in COMMANDS.values() for line in examples(command)})


class Terminal(io.TextIOWrapper):
    """A terminal: somebody answers, and presses Ctrl-C as soon as a watched table is drawn."""

    def __init__(self, answer: str = "") -> None:
        super().__init__(io.BytesIO(answer.encode()), encoding="utf-8")

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "Ctrl-C ends it" in text:
            raise KeyboardInterrupt
        return super().write(text)


def command_of(line: str) -> click.Command:
    """Return the command that a line runs."""
    words = line.split()
    return COMMANDS.get(" ".join(words[:2])) or COMMANDS[words[0]]


def on_sandbox(line: str) -> str:
    """Return the line, pointed at the embedded Glider where it would go to the real one."""
    asks = any(parameter.name == "sandbox" for parameter in command_of(line).params)
    told = any(word in line for word in ("--sandbox", "--live", "load plan.json"))  # the last two ask no service
    return f"{line} --sandbox" if asks and not told else line


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files, a sandbox, saved plans, live files, a journal, and a repository with origin/main."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "fleet").mkdir()
    for name in ("automation.yaml", "fleet/automation.yaml"):
        (folder / name).write_text(FILES, encoding="utf-8")
    (folder / "extra.yaml").write_text("version: 1\nportfolios: {h2v9x3c7: {state: paused}}\n", encoding="utf-8")
    (folder / "ids.txt").write_text("ao04x0r6\nb7k2m9q1\n", encoding="utf-8")
    (folder / "seed.yaml").write_text(SEED, encoding="utf-8")
    seed = folder / "examples/quickstart/sandbox.yaml"
    seed.parent.mkdir(parents=True)
    shutil.copy(ROOT / "examples/quickstart/sandbox.yaml", seed)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "update-ref", "refs/remotes/origin/main", commit(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["sandbox", "load", "seed.yaml"]) == 0
        shares = [f"status --shard {one}/2 --round day --out live-{one}.json.gz" for one in (1, 2)]
        for line in ("plan --out plan.json", "plan --out approved.json", "status --out live.json", *shares):
            assert run([*line.split(), "--sandbox"]) == 0
    base_url = json.loads((folder / "live.json").read_text("utf-8"))["base_url"]
    with open_journal(folder / ".reconciler/journal.db", base_url=base_url, now_ms=lambda: NOON_MS) as journal:
        for _ in range(RUNS):
            journal.open_run(fingerprint="f", tool="t")
            journal.close_run("ok")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["journal", "export", "journal.json", "--sandbox"]) == 0
    return folder


def halted() -> str:
    """Halt something; return the id, which no help can know."""
    known = set(Path("halts").glob("*"))
    assert run(["halt", "--reason", "r", "c3d8n5w2", "ao04x0r6", "--auto-approve", "--sandbox"]) == 0
    (made,) = set(Path("halts").glob("*")) - known
    return made.stem


@pytest.fixture
def home(skipped_waits: None, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to stand in and to change."""
    folder = tmp_path / "home"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GLIDER_API_KEY", "gldr_sk_test")
    monkeypatch.delenv("GLIDER_BASE_URL", raising=False)
    return folder


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_an_example(words: str) -> None:
    """The help of each command, and of each group, holds a line that can be copied."""
    assert [line for line in examples(COMMANDS[words]) if line.startswith(words)], f"reconciler {words} --help"


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith(SERVED)])
def test_an_example_runs(
    line: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends as it should, asks what it asks on a terminal, and leaves no file that is not whole."""
    if line.startswith("init") or (line.startswith("import ") and " --into " not in line):
        (home / "automation.yaml").unlink()  # nothing is declared yet
        if " --out automation/" in line:
            (home / "automation").mkdir()
            (home / "extra.yaml").rename(home / "automation/extra.yaml")
    if line.startswith("halt lift"):
        line = line.replace(line.split()[2], halted())
    elif "--known" in line:  # the journal knows something then
        halted()
    monkeypatch.setattr(sys, "stdin", Terminal(f"{ANSWERS.get(line, 'yes')}\n"))
    if "--watch" in line:
        monkeypatch.setattr(sys, "stdout", Terminal())
    expected = next((code for start, code in FOUND.items() if line.startswith(start)), 0)
    ended = run(shlex.split(on_sandbox(line)))
    told = capsys.readouterr()
    assert ended == expected, f"{told.out}\n{told.err}"
    assert "Traceback" not in told.err
    assert "usage:" not in told.err.lower()
    if "-o json" in line:
        assert json.loads(told.out)["exit_reason"] in ("ok", "changes")


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in LINES if line.startswith(SERVED)])
def test_serving_ends_by_ctrl_c(line: str, home: Path) -> None:
    """It says where it listens, and ends without complaint; on a free port here, for the one it names may be taken."""
    command = re.sub(r"--port \d+", "--port 0", line).split()
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", *command], cwd=home, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Serving ")
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode in (0, 130)
    assert "Traceback" not in rest
