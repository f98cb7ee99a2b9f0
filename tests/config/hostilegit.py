"""A checkout with a repository inside that somebody else wrote: every key of its configuration starts a program."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILES = "version: 1\nportfolios:\n  aaa: {state: paused}\n"
MISSING = "1" * 40
"""A commit that no repository has: git would fetch it, in the way that the repository says."""

COMMANDS = (
    "core.alternateRefsCommand",
    "core.askPass",
    "core.editor",
    "core.fsmonitor",
    "core.gitProxy",
    "core.pager",
    "core.sshCommand",
    "credential.helper",
    "credential.https://example.com.helper",
    "diff.external",
    "diff.all.command",
    "diff.all.textconv",
    "difftool.x.cmd",
    "filter.all.clean",
    "filter.all.process",
    "filter.all.smudge",
    "gpg.program",
    "gpg.openpgp.program",
    "gpg.ssh.defaultKeyCommand",
    "gpg.ssh.program",
    "gpg.x509.program",
    "interactive.diffFilter",
    "merge.all.driver",
    "mergetool.x.cmd",
    "pager.cat-file",
    "pager.ls-files",
    "pager.ls-tree",
    "pager.merge-base",
    "pager.rev-list",
    "pager.rev-parse",
    "remote.origin.receivepack",
    "remote.origin.uploadpack",
    "sendemail.smtpServer",
    "sequence.editor",
    "submodule.x.update",
    "tar.x.command",
    "trailer.x.command",
    "uploadpack.packObjectsHook",
    "web.browser",
)
"""Keys whose value is a program, of git 2.39's manual; ``core.hooksPath`` is a folder and is set apart."""

ALIASES = tuple(f"alias.{name}" for name in ("rev-parse", "merge-base", "rev-list", "ls-tree", "ls-files", "cat-file"))

TRANSPORTS = {
    "ext": "ext::sh -c touch% {canary}",
    "a path": "{folder}",
    "file": "file://{folder}",
    "ssh": "ssh://example.invalid/x",
    "git": "git://example.invalid/x",
}
"""Where the missing commit is said to be; all but the first start ``uploadpack``, ``sshCommand`` or ``gitProxy``."""


def make_hostile(folder: Path, *, canary: Path, url: str) -> None:
    """Make ``folder`` a bare repository with a good branch ``main``, a branch ``lacking``, and a program for every key.

    Whatever git starts of it writes ``canary``. It calls itself a repository with a working tree, so that git doesn't
    turn away from it for that alone.
    """
    work = folder.parent / f"{folder.name}-work"
    _git(folder.parent, "init", "--quiet", "--initial-branch=main", str(work))
    (work / "automation.yaml").write_text(FILES, encoding="utf-8")
    (work / ".gitattributes").write_text("* filter=all diff=all merge=all\n", encoding="utf-8")
    _git(work, "add", "--all")
    _git(work, "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=x")
    (work / ".git").rename(folder)
    program = folder / "program"
    program.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{canary}'\n", encoding="utf-8")
    program.chmod(0o755)
    (folder / "hooks").mkdir(exist_ok=True)
    for hook in ("post-checkout", "post-index-change", "pre-auto-gc", "reference-transaction", "fsmonitor-watchman"):
        (folder / "hooks" / hook).write_bytes(program.read_bytes())
        (folder / "hooks" / hook).chmod(0o755)
    (folder / "refs/heads/lacking").write_text(f"{MISSING}\n", encoding="utf-8")
    for key in (*COMMANDS, *ALIASES):
        mark = "!" if key.startswith(("alias.", "submodule.")) else ""
        _git(folder.parent, "config", "--file", str(folder / "more"), key, f"{mark}{program}")
    settings = {
        "core.bare": "false",
        "core.worktree": str(work),
        "core.hooksPath": str(folder / "hooks"),
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "include.path": str(folder / "more"),
        "protocol.allow": "always",
        "remote.origin.promisor": "true",
        "remote.origin.url": url.format(canary=canary, folder=folder),
    }
    settings |= {f"protocol.{name}.allow": "always" for name in ("ext", "file", "git", "http", "https", "ssh")}
    for key, value in settings.items():
        _git(folder.parent, "config", "--file", str(folder / "config"), key, value)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
