"""The same shell as the other command-line tests use, in a Git repository."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Shell, bare, shell

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bare", "shell"]


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, whatever the user's own settings are; return what it printed."""
    given = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *given, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def commit(folder: Path) -> str:
    """Commit all there is; return the commit's name."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def branch(shell: Shell) -> Shell:
    """The shell's folder as a repository whose ``main`` holds the files as they are, and a branch checked out."""
    git(shell.folder, "init", "--quiet", "--initial-branch=main")
    shell.write(".gitignore", ".reconciler/\n")
    commit(shell.folder)
    git(shell.folder, "switch", "--quiet", "--create", "change")
    return shell
