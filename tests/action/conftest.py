"""The real action over a Glider on a socket: a checkout, an event and inputs in; a ``Job`` out."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.action import events
from tests.action.record import Job, setup_python
from tests.action.runner import run
from tests.cli.conftest import CANARY
from tests.process.support import Glider, glider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.action.events import Event

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)


@dataclass(kw_only=True)
class Checkout:
    """A repository of a team: its files, the Glider it is about, and a fresh disk for each run of the action."""

    folder: Path
    glider: Glider
    runs: int = 0
    env: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.glider.folder

    def write(self, name: str, text: str) -> None:
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def __call__(
        self,
        command: str,
        *,
        event: Event | None = None,
        key: str = CANARY,
        cancel: Callable[[], bool] = lambda: False,
        prepared: bool = True,
        bash: bool = False,
        matrix: dict[str, Any] | None = None,
        summary: str = "",
        **inputs: str,
    ) -> Job:
        """Run a command as a workflow would; input names have ``_`` for ``-``. What holds for every run is checked.

        ``bash`` runs its scripts by bash and with a new interpreter each, as a runner does, which takes half a second.
        """
        self.runs += 1
        given = {"command": command, "api-key": key, "base-url": self.glider.url, "comment": "false"}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        event = event or events.push()
        job = run(
            ROOT,
            event=event,
            folder=self.folder / f"runner-{self.runs}",
            workspace=self.workspace,
            inputs=given,
            env={**self.env, **({"GLIDER_RECONCILER_PYTHON": sys.executable} if prepared else {})},
            secrets=(key,) if key else (),
            stubs={"actions/setup-python": setup_python(PYTHON)},
            cancel=cancel,
            prepared=not bash,
            matrix=matrix,
            summary=summary,
        )
        # A key that the simulator refuses is a plain word, which its own messages hold.
        check_rules(job, key=key if key == CANARY else "", token=given.get("github-token", event.github["token"]))
        return job


def check_rules(job: Job, *, key: str, token: str) -> None:
    """Assert what holds for every run, however it ends."""
    run_step = job.step("run")
    raw = [line for step in job.steps for line in step.raw]
    assert job.violations == (), job.log
    assert not any("Traceback" in line or "internal error" in line for line in raw), raw
    for secret in filter(None, (key, token)):
        assert [line for line in raw if secret in line and not line.startswith("::add-mask::")] == []
        said = [job.summary, *job.outputs.values(), *(note.message for note in job.annotations), *job.log]
        assert not any(secret in text for text in said)
    for level in ("error", "warning", "notice"):
        shown = [note for note in run_step.annotations if note.level == level and not note.by_runner]
        assert len(shown) <= 10, shown
    assert all(int(note.properties.get("line", "1")) > 0 for note in run_step.annotations)
    assert not any("##[" in line for line in run_step.raw)
    if document := job.outputs["json-path"]:
        written = json.loads(Path(document).read_text(encoding="utf-8"))
        assert written["exit_reason"] == job.outputs["exit-reason"]


@contextmanager
def closed_port() -> Iterator[str]:
    """Yield an address of this machine where nobody listens, and nobody else can begin to meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Callable[[dict[str, Any], str], Checkout]]:
    """Return a maker of checkouts: the seed of its Glider, and the text of automation.yaml."""
    with ExitStack() as stack:

        def make(portfolios: dict[str, Any], files: str, **settings: Any) -> Checkout:
            workspace = tmp_path / "workspace"
            workspace.mkdir()
            seed = {"settings": {"readable_schedule": True, **settings}, "portfolios": portfolios}
            served = stack.enter_context(glider(workspace, seed))
            made = Checkout(folder=tmp_path, glider=served)
            made.write("automation.yaml", files)
            return made

        yield make
