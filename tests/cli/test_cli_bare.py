"""The bare command, bare groups and shell completion, inside this process and through the installed entry point."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journal import open_journal
from reconciler.cli.main import run
from tests import prepared
from tests.cli.test_cli_processes import environment
from tests.support import NOON_MS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def script() -> list[str]:
    """Return the command line of what an installer makes of our entry point."""
    (entry,) = entry_points(group="console_scripts", name="reconciler")
    return [sys.executable, "-c", f"import sys; from {entry.module} import {entry.attr}; sys.exit({entry.attr}())"]


FILES = """
version: 1
groups: {daily: {interval: 24h}, dull: {interval: 48h}}
strategies: {01JW: {schedule: daily}}
portfolios:
  aaa: {name: Growth, state: paused}
  bbb: {state: active, labels: {team: fx}}
  ccc: {state: active}
  ddd: {state: active, group: daily}
"""


def everything(folder: Path) -> dict[str, bytes]:
    """Return the content of every file."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def call(folder: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    ended = prepared.run([*script(), *arguments], cwd=folder, env=environment(**more))
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "usage", "listed"),
    [
        ("", "Usage: reconciler [OPTIONS] COMMAND [ARGS]...\n", "  plan       Show what apply would do.\n"),
        ("sandbox", "Usage: reconciler sandbox [OPTIONS] COMMAND [ARGS]...\n", "  advance  Move the sandbox's clock"),
    ],
)
def test_a_bare_command_prints_its_help(shell: Shell, line: str, usage: str, listed: str) -> None:
    """Help on stdout as --help prints it, nothing on stderr, exit code 0; the same as a process."""
    ended = shell(line)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(usage)
    assert listed in ended.out
    assert ended.out == shell(f"{line} --help").out
    code, out, err = call(shell.folder, *line.split())
    assert (code, out.startswith(usage), listed in out, err) == (0, True, True, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"), [("bash", "complete -o nosort -F"), ("zsh", "#compdef"), ("fish", "function")]
)
def test_the_function_that_a_shell_sources(shell: Shell, name: str, said: str) -> None:
    """It is printed, and nothing else is."""
    code, out, err = call(shell.folder, _RECONCILER_COMPLETE=f"{name}_source")
    assert (code, said in out, "_RECONCILER_COMPLETE" in out, err) == (0, True, True, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "number", "completed"),
    [
        ("reconciler pl", 1, ["plan"]),
        ("reconciler s", 1, ["show", "status", "schema", "sandbox"]),
        ("reconciler plan --fi", 2, ["--file"]),
        ("reconciler plan -o j", 3, ["json"]),
        ("reconciler sandbox l", 2, ["load"]),
        ("reconciler act", 1, []),
        ("reconciler plam -", 2, ["--version", "-h", "--help"]),
        ("reconciler plan --target ", 3, ["aaa", "bbb", "ccc", "ddd", "strategies/01JW"]),
        ("reconciler plan --target aaa --target ", 5, ["bbb", "ccc", "ddd", "strategies/01JW"]),
        ("reconciler status --target strategies/", 3, ["strategies/01JW"]),
        ("reconciler status a", 2, ["aaa"]),
        ("reconciler import aaa ", 3, ["bbb", "ccc", "ddd"]),
        ("reconciler -f automation.yaml explain b", 4, ["bbb"]),
        ("reconciler plan -f - --target ", 5, []),
        ("reconciler plan -f nothing.yaml --target ", 5, []),
        ("reconciler plan --select ", 3, ["group=daily", "group=dull", "team=fx"]),
        ("reconciler plan --select team =", 4, ["fx"]),
        ("reconciler plan --select team! =", 4, ["fx"]),
        ("reconciler plan --select group = da", 5, ["daily"]),
        ("reconciler plan --select group =", 4, ["daily", "dull"]),
        ("reconciler plan --unverified = s", 4, ["skip"]),
        ("reconciler drift --resume-held ", 3, []),
        ("reconciler apply --resume-held group = d", 5, ["daily", "dull"]),
        ("reconciler history --run ", 3, ["2", "1"]),
        ("reconciler history --journal nothing.db --run ", 5, []),
        ("reconciler halt lift 2", 3, ["20261122-7f3a9c"]),
        ("reconciler halt ", 2, ["lift", "list", "aaa", "bbb", "ccc", "ddd"]),
        ("reconciler halt aaa ", 3, ["bbb", "ccc", "ddd"]),
        ("reconciler show pl", 2, ["pl"]),
        ("reconciler apply --file = au", 4, ["au"]),
        ("reconciler validate --nothing x", 3, []),
        ("reconciler plan 'a", 2, []),
    ],
)
def test_what_a_shell_is_told(shell: Shell, words: str, number: int, completed: list[str]) -> None:
    """What begins like the word, as the files and the journal have it; and no complaint about anything."""
    shell.write("automation.yaml", FILES)
    with open_journal(shell.folder / ".reconciler/journal.db", base_url="x", now_ms=lambda: NOON_MS) as journal:
        for _ in range(2):
            journal.open_run(fingerprint="f", tool="t")
            journal.close_run("ok")
    (shell.folder / "halts").mkdir()
    for name in ("20261122-7f3a9c", "not one"):
        shell.write(f"halts/{name}.json", "{}")
    before = everything(shell.folder)
    code, out, err = call(shell.folder, _RECONCILER_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
    found = [line.partition(",")[2] for line in out.splitlines() if line]
    assert (code, found, err) == (0, completed, "")
    assert everything(shell.folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("files", ["version: 1\nportfolios: {aaa\n", "[]", "portfolios: 7", "\x00", None])
@pytest.mark.parametrize("words", ["plan --target ", "plan --select ", "history --run ", "status "])
def test_completion_of_nothing(shell: Shell, files: str | None, words: str) -> None:
    """Broken files, no files, no journal: nothing is offered, and nothing is said."""
    shell.write("automation.yaml", files or "")
    if files is None:
        (shell.folder / "automation.yaml").unlink()
    before = everything(shell.folder)
    number = str(len(words.split()) + 1)
    code, out, err = call(
        shell.folder, _RECONCILER_COMPLETE="bash_complete", COMP_WORDS=f"reconciler {words}", COMP_CWORD=number
    )
    assert (code, out.strip(), err) == (0, "", "")
    assert everything(shell.folder) == before


def test_names_stand_beside_the_ids(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zsh shows what a portfolio is called."""
    monkeypatch.setenv("_RECONCILER_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "reconciler plan --target a")
    monkeypatch.setenv("COMP_CWORD", "3")
    ended = shell("")
    assert (ended.code, ended.out.split(), ended.err) == (0, ["plain", "aaa", "Growth"], "")


def test_a_question_that_no_shell_asks(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the words that belong to it: nothing is printed, least of all a traceback."""
    monkeypatch.setenv("_RECONCILER_COMPLETE", "bash_complete")
    monkeypatch.delenv("COMP_WORDS", raising=False)
    ended = shell("")
    assert (ended.code, ended.out, ended.err) == (1, "", "")


@pytest.mark.slow
def test_completion_loads_no_client(shell: Shell) -> None:
    """It is asked at every key press: no client, no schema library, no event loop."""
    asked = "import sys; from reconciler.cli.main import run; run([]); print(*sys.modules)"
    words = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler plan --target a", "COMP_CWORD": "3"}
    ended = subprocess.run(
        [sys.executable, "-c", asked], env=environment(**words), capture_output=True, text=True, check=True
    )
    answer, *loaded = ended.stdout.split()
    assert answer == "plain,aaa"
    assert {"httpx2", "httpcore2", "asyncio", "jsonschema", "jsonschema_rs", "deepdiff", "sqlite3"} & {*loaded} == set()


def test_completion_inside_this_process(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The same, without a process."""
    monkeypatch.setenv("_RECONCILER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "reconciler pl")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert run([]) == 0
    assert capfdbinary.readouterr() == (b"plain,plan\n", b"")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion_in_bash(shell: Shell) -> None:
    """What bash makes of it: source the function, ask it, get the word."""
    command = shell.folder / "reconciler"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reconciler "$@"\n')
    command.chmod(0o755)
    asked = """
    eval "$(_RECONCILER_COMPLETE=bash_source ./reconciler)"
    COMP_WORDS=(reconciler pl) COMP_CWORD=1
    _reconciler_completion ./reconciler
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    ended = subprocess.run(
        ["bash", "--norc", "-c", asked],
        cwd=shell.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "plan\n", "")
