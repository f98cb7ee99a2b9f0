"""Run git without trusting the checkout that it runs in.

In: a working directory, the process's environment, a subcommand with its arguments. Out: what git answered, or
:class:`ReconcilerError` where it can't be run, takes too long or prints too much. The only module that runs git.

Whoever may propose a change can put a whole repository into a folder of the checkout, and a repository's
configuration names programs that git starts. So nothing here depends on what that configuration says:

- a bare repository that git merely comes across is not opened;
- only subcommands that read objects and names are run, never one with filters, hooks or a pager; of the index only the
  names are read, and no file is compared with it;
- no transport may be used, so an object that is missing stays missing instead of being fetched with a program of the
  repository's choice;
- git gets a short list of variables, without keys and tokens.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal

from reconciler.core.errors import ReconcilerError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

Subcommand = Literal["rev-parse", "merge-base", "rev-list", "ls-tree", "ls-files", "cat-file"]
"""What may be run. None of them starts a program by itself; before one is added, look up what it starts."""

GIT_SECONDS: Final = 60
"""How long one call may take."""
SHORT: Final = 64 * 1024
"""Bytes read of a short answer (a name or two) and of stderr; longer than any path can be."""

INHERITED: Final = (
    "PATH",
    "HOME",  # the user's own settings; safe.directory stands there, without which git refuses another user's checkout
    "XDG_CONFIG_HOME",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "SUDO_UID",  # under sudo, git accepts the checkout of the user who called it
    "GIT_DIR",  # set by a person, or by git for a hook: which repository is meant
    "GIT_WORK_TREE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "SYSTEMROOT",  # Windows can't start a program without it
    "USERPROFILE",
)
"""The variables that git gets. ``GIT_CONFIG_COUNT`` and its pairs are not among them: they often hold a token."""

_SET: Final = {
    # Unlike protocol.allow=never, this can't be overruled by a protocol.NAME.allow of the repository.
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",  # a commit is what its name says, not what a replacement in this clone says
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",  # errors quote git, in the language of the rest of the message
}

_CONFIGURED: Final = (
    "safe.bareRepository=explicit",
    "protocol.allow=never",
    # Every key with a fixed name that names a program. No subcommand above reads them; this keeps a later git, or a
    # later subcommand, from doing so. `false` is a program that does nothing and fails. Keys with a name in the middle
    # (filter.NAME.clean, diff.NAME.textconv, remote.NAME.uploadpack, alias.NAME) can't be listed.
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "core.alternateRefsCommand=false",
    "core.askPass=false",
    "core.editor=false",
    "core.gitProxy=false",
    "core.pager=cat",
    "core.sshCommand=false",
    "credential.helper=",
    "diff.external=false",
    "fetch.recurseSubmodules=false",
    "gpg.program=false",
    "gpg.openpgp.program=false",
    "gpg.ssh.program=false",
    "gpg.ssh.defaultKeyCommand=false",
    "gpg.x509.program=false",
    "interactive.diffFilter=false",
    "sequence.editor=false",
    "submodule.recurse=false",
    "uploadpack.packObjectsHook=false",
)


@dataclass(frozen=True, slots=True)
class GitAnswer:
    """How one call ended: exit code, stdout, and the line of stderr that says why, harmless and never empty."""

    code: int
    output: bytes
    said: str


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in one working directory. ``environment`` is the process's; git gets only what is listed above."""

    cwd: Path
    environment: Mapping[str, str] = field(repr=False)
    seconds: float = GIT_SECONDS

    def run(self, subcommand: Subcommand, *arguments: str, given: bytes = b"", limit: int = SHORT) -> GitAnswer:
        """Run git with ``given`` on its stdin and return its answer, whatever its exit code is.

        Raises :class:`ReconcilerError` when git can't be run, takes longer than ``seconds``, or prints more than
        ``limit`` bytes to stdout.
        """
        environment = self._environment()
        configured = [part for setting in _CONFIGURED for part in ("-c", setting)]
        command = [_program(environment["PATH"]), "--no-pager", *configured, subcommand, *arguments]
        try:
            with tempfile.TemporaryFile() as asked:
                asked.write(given)
                asked.seek(0)
                # A session of its own has no terminal to ask on, and can be ended as a whole.
                process = subprocess.Popen(  # noqa: S603 - a list without a shell; callers check what they pass on
                    command,
                    cwd=self.cwd,
                    env=environment,
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
        except OSError as error:
            raise _not_run(error.strerror or str(error)) from error
        return self._answer(process, subcommand, limit)

    def _answer(self, process: subprocess.Popen[bytes], subcommand: Subcommand, limit: int) -> GitAnswer:
        # Typed as optional because a process need not have pipes; this one has both.
        stdout, stderr = process.stdout, process.stderr
        if stdout is None or stderr is None:
            raise ReconcilerError("git has no output to read", "This is a bug of the reconciler; please report it.")
        with process, ThreadPoolExecutor(max_workers=2) as readers:
            try:
                output = readers.submit(_read, stdout, limit, process)
                said = readers.submit(_read, stderr, SHORT, process)
                wait((output, said), timeout=self.seconds)
                data, words = output.result(timeout=0), said.result(timeout=0)
                process.wait(timeout=self.seconds)
            except (TimeoutError, subprocess.TimeoutExpired) as error:
                _end(process)
                raise _too_slow(self.seconds) from error
            except BaseException:  # also Ctrl-C, which does not reach a session of its own
                _end(process)
                raise
        if len(data) > limit or len(words) > SHORT:
            raise ReconcilerError(f"git {subcommand} printed more than is read of it", "Name fewer files with -f.")
        return GitAnswer(process.returncode, data, _said(words, process.returncode))

    def _environment(self) -> dict[str, str]:
        kept = {name: self.environment[name] for name in INHERITED if name in self.environment}
        # A relative entry of PATH would be looked up in the checkout, where anybody can put a program called git.
        folders = kept.get("PATH", os.defpath).split(os.pathsep)
        return {**kept, **_SET, "PATH": os.pathsep.join(folder for folder in folders if Path(folder).is_absolute())}


def _program(path: str) -> str:
    found = shutil.which("git", path=path)
    if found is None or not Path(found).is_absolute():  # on Windows, `which` looks in the working directory first
        raise _not_run("it is in no folder of PATH")
    return found


def _read(stream: IO[bytes], limit: int, process: subprocess.Popen[bytes]) -> bytes:
    """Return what a stream holds, at most one byte more than ``limit``; if there is more, git is ended."""
    data = stream.read(limit + 1)
    if len(data) > limit:
        _end(process)
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and what it may have started: a ``git`` on the PATH can be a script around the real one."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _said(words: bytes, code: int) -> str:
    """Return the line that says why git failed, else the first line. A warning may come before the reason."""
    lines = words.decode(errors="replace").strip().splitlines() or [f"nothing, but it ended with {code}"]
    return harmless(next((line for line in lines if line.startswith("fatal:")), lines[0]), longest=300)


def _not_run(reason: str) -> ReconcilerError:
    return ReconcilerError(f"git can't be run: {reason}", "Install git, or drop --base.")


def _too_slow(seconds: float) -> ReconcilerError:
    return ReconcilerError(f"git did not end within {seconds:g} s", "Name fewer files with -f, or drop --base.")
