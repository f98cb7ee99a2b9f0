"""A team's repository whose workflows nektos act runs, over a Glider and a GitHub on sockets of this machine.

In: files, and which workflow runs for which event. Out: a :class:`Run`. The workflows are those of the examples, with
the base URL put in; the actions that they use are stand-ins, but for ours, which is this checkout's. What GitHub itself
decides has no place here: act heeds no environments, no concurrency groups and no ``paths``. Its schema is older than
two words that belong to these, so the lines with them are taken out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.action.conftest import ROOT
from tests.github.fake import REPOSITORY, TOKEN
from tests.process.support import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.github.fake import FakeGitHub
    from tests.process.support import Glider

EXAMPLES = ROOT / "examples/workflows"
STANDINS = Path(__file__).parent / "standins"
OURS = "glider-reconciler/glider-reconciler"
USED = re.compile(r"uses: ([\w-]+/[\w-]+)(?:/[\w-]+)*@([0-9a-f]{40})")
UNKNOWN = re.compile(r"^ +(?:queue: max|deployment: false) #.*\n", re.MULTILINE)
READ_KEY, WRITE_KEY = "read-canary-5c21", "write-canary-e07d"


def act() -> str | None:
    """Return where act is: beside the linters of this checkout, or on the path."""
    beside = ROOT / ".venv/ci/bin"
    return shutil.which("act", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))


@cache
def _with_url(name: str) -> str:
    """Return a workflow of the examples with a base URL at every use of our action."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    reads = re.compile(r"^( +)(command: (?:plan|apply|drift|status|halt|lift)\n)", re.MULTILINE)
    return UNKNOWN.sub("", reads.sub(r"\1\2\1base-url: ${{ env.GLIDER_BASE_URL }}\n", text))


@dataclass(kw_only=True)
class Run:
    """A workflow that runs, or ran."""

    number: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self.lines.extend(stream)

    def ended(self) -> int:
        """Wait for its end and return its exit code. Of a step that failed, act may lose the last lines of the log."""
        code = self.process.wait(3 * PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return code

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def jobs(self) -> dict[str, str]:
        """How each job ended that ran: succeeded or failed."""
        ended = [re.match(r"\[[^/]+/([^\]]+?) *\] 🏁  Job (\w+)", line) for line in self.lines]
        return {found[1]: found[2] for found in ended if found}

    def good(self, *jobs: str) -> bool:
        """Whether these jobs ran, no others did, and all went well."""
        return self.jobs == dict.fromkeys(jobs, "succeeded")

    def program(self) -> int:
        """Return the process that applies now: the last step's, which bash has become."""
        return _program_below(self.process.pid)


def _program_below(ancestor: int) -> int:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    below = {ancestor}
    for pid, parent, _ in rows:  # a child has the higher number, but for a machine that has run for very long
        if int(parent) in below:
            below.add(int(pid))
    (found,) = [int(pid) for pid, _, line in rows if int(pid) in below and "reconciler action" in line]
    return found


@dataclass(kw_only=True)
class Team:
    """A repository, its Glider, its GitHub, and what caches and artifacts keep between runs."""

    folder: Path
    glider: Glider
    github: FakeGitHub
    runs: int = 100
    changes: dict[str, str] = field(default_factory=dict)
    """What stands in place of words of the workflows."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    def write(self, name: str, text: str) -> None:
        """Write a file; it is there for the next run."""
        path = self.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def git(self, *arguments: str) -> None:
        """Run git in the repository."""
        who = ["-c", "user.name=octocat", "-c", "user.email=octocat@localhost", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *who, *arguments], cwd=self.repository, check=True, capture_output=True)

    def commit(self) -> None:
        """Commit everything on the branch that is checked out."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")

    def start(
        self,
        workflow: str,
        event: str = "push",
        *,
        env: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        password: str = "",
        again: str | None = None,
        **payload: Any,
    ) -> Run:
        """Start a workflow of the examples for an event with this payload.

        ``variables`` are those of the repository, and ``password`` is the secret of its journal.
        ``again`` runs the last run once more, of its matrix this job alone, as in ``share:2``: that is what running the
        failed jobs again comes to.
        """
        program = act()
        assert program is not None
        self.runs += again is None
        for name in ("account.yml", workflow):
            text = _with_url(name)
            for word, instead in self.changes.items():
                assert name != workflow or word in text
                text = text.replace(word, instead)
            self.write(f".github/workflows/{name}", text)
        happened = self.folder / "event.json"
        happened.write_text(json.dumps(payload), encoding="utf-8")
        given = {
            "GITHUB_API_URL": self.github.url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": str(self.runs),
            "GLIDER_RECONCILER_PYTHON": sys.executable,
            "KEPT": str(self.kept),
            "GLIDER_BASE_URL": self.glider.url,
            **(env or {}),
        }
        secrets = {"GITHUB_TOKEN": TOKEN, "GLIDER_READ_KEY": READ_KEY, "GLIDER_WRITE_KEY": WRITE_KEY}
        secrets |= {"GLIDER_JOURNAL_PASSWORD": password} if password else {}
        command = [program, event, "--workflows", f".github/workflows/{workflow}", "--eventpath", str(happened)]
        command += ["--platform", "ubuntu-24.04=-self-hosted", "--no-cache-server", "--pull=false", "--rm"]
        command += ["--concurrent-jobs", "4"]  # a matrix runs at once, however few processors there are
        command += ["--action-cache-path", str(self.folder / "act"), *self._actions(workflow)]
        command += [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
        command += [word for name in secrets for word in ("--secret", name)]
        command += [word for name, value in (variables or {}).items() for word in ("--var", f"{name}={value}")]
        command += ["--matrix", again] if again is not None else []
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        run = Run(
            number=self.runs,
            process=subprocess.Popen(
                command,
                cwd=self.repository,
                env={**kept, **secrets, "HOME": str(self.folder / "home"), "XDG_CACHE_HOME": str(self.folder / "home")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            ),
        )
        self.started.append(run.process)
        return run

    def run(self, workflow: str, event: str = "push", **more: Any) -> Run:
        """Run a workflow to its end."""
        run = self.start(workflow, event, **more)
        run.ended()
        for secret in (TOKEN, READ_KEY, WRITE_KEY):
            assert secret not in run.log
        return run

    def _actions(self, workflow: str) -> list[str]:
        """Return the flags that say where each action is that the workflow and our own action use."""
        ours = self.folder / "ours"
        if not ours.exists():
            (ours / "reconciler/cli").mkdir(parents=True)
            for name in ("action.yml", "reconciler/cli/bootstrap.py"):
                shutil.copy(ROOT / name, ours / name)
        texts = [_with_url(name) for name in (workflow, "account.yml")] + [(ROOT / "action.yml").read_text("utf-8")]
        used = {pair for text in texts for pair in USED.findall(text)}
        places = {action: ours if action == OURS else STANDINS / action.partition("/")[2] for action, _ in used}
        return [
            word
            for action, commit in sorted(used)
            for word in ("--local-repository", f"{action}@{commit}={places[action]}")
        ]
