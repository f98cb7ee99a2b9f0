"""The bare command, bare groups and shell completion, inside this process and through the installed entry point."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.main import run
from tests.cli.test_cli_processes import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def script() -> list[str]:
    """Return the command line of what an installer makes of our entry point."""
    (entry,) = entry_points(group="console_scripts", name="reconciler")
    return [sys.executable, "-c", f"import sys; from {entry.module} import {entry.attr}; sys.exit({entry.attr}())"]


def call(folder: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [*script(), *arguments],
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
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
    ],
)
def test_what_a_shell_is_told(shell: Shell, words: str, number: int, completed: list[str]) -> None:
    """Commands, options and choices that begin like the word, and no complaint about a mistyped command."""
    code, out, err = call(shell.folder, _RECONCILER_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
    found = [line.partition(",")[2] for line in out.splitlines() if line]
    assert (code, found, err) == (0, completed, "")


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
