"""Runs a composite action on this machine as GitHub documents it, so that ``action.yml`` is tested and not its words.

In: a folder with ``action.yml``, an event, inputs, what the caller's job has in its environment. Out: a ``Job``: each
step with its outcome, the log as GitHub would show it, annotations, outputs, the summary, and every broken rule. It
never reaches a network: another action that is used runs as a stub. A process of a step sees a fresh home and only
``PATH`` of this machine's environment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.action.commands import Level, Listener, Masks, parse_pairs
from tests.action.expressions import Scope, condition, template
from tests.action.manifest import PINNED, ActionError, Step, load
from tests.action.process import Grace, Script
from tests.action.record import Job, StepRecord
from tests.action.values import ExpressionError, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.action.events import Event
    from tests.action.manifest import Manifest
    from tests.action.record import Stub

SUMMARY_LIMIT_BYTES = 1024 * 1024
"""A larger summary of one step is an error and is not shown."""
FILES = {"output": "set_output", "env": "set_env", "path": "add_path", "step_summary": "step_summary", "state": "state"}
STARTS_PYTHON = re.compile(r'(exec )?"\$PYTHON"( -?[\w.-]+| "\$[A-Z_]+[\w./-]*")+\n?')
CONTEXT_ONLY = frozenset({"event", "token", "action_status"})
"""What ``github`` holds and no ``GITHUB_`` variable says."""


def run(
    action: Path,
    *,
    event: Event,
    folder: Path,
    workspace: Path | None = None,
    inputs: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
    stubs: Mapping[str, Stub] | None = None,
    cancel: Callable[[], bool] = lambda: False,
    grace: Grace | None = None,
    deadline_seconds: float = 60.0,
    debug: bool = False,
    prepared: bool = False,
    matrix: Mapping[str, Any] | None = None,
    summary: str = "",
) -> Job:
    """Run the action in ``action`` as one step of a job and return how it went.

    ``folder`` is the disk of the runner, empty at first; ``workspace`` is the checkout, made in it when not given.
    ``env`` is what the caller's workflow sets for the step, ``secrets`` what GitHub masks from the start (the token is
    added). ``cancel`` is asked every few milliseconds while a script runs: True is the button "Cancel workflow".
    ``matrix`` is the leg of a job with a matrix, ``summary`` where the summary goes instead of its file. ``prepared``
    lets a script that only starts this Python run in a fork of the prepared one, without bash.

    Raises ActionError and ExpressionError for an action that is wrong, TimeoutError for a script past the deadline.
    """
    manifest = load(action)
    running = _Running(
        manifest=manifest,
        event=event,
        folder=folder,
        workspace=workspace or folder / "workspace",
        env=dict(env or {}),
        stubs=stubs or {},
        cancel=cancel,
        grace=grace or Grace(),
        deadline=time.monotonic() + deadline_seconds,
        debug=debug,
        prepared=prepared,
        matrix=matrix,
        summary=summary,
    )
    running.masks = Masks(*secrets, str(event.github.get("token", "")))
    return running.whole(inputs or {})


@dataclass(kw_only=True)
class _Running:
    """One run: what the steps before have left behind for the next."""

    manifest: Manifest
    event: Event
    folder: Path
    workspace: Path
    env: dict[str, str]
    stubs: Mapping[str, Stub]
    cancel: Callable[[], bool]
    grace: Grace
    deadline: float
    debug: bool
    prepared: bool
    matrix: Mapping[str, Any] | None
    summary: str
    masks: Masks = field(default_factory=Masks)
    status: Status = Status.SUCCESS
    exported: dict[str, str] = field(default_factory=dict)
    """What scripts wrote to ``GITHUB_ENV``; the caller's environment wins over it."""
    path: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    github: dict[str, Any] = field(default_factory=dict)
    runner: dict[str, str] = field(default_factory=dict)

    def whole(self, inputs: Mapping[str, str]) -> Job:
        self._prepare()
        early = Listener(self.masks)
        self._take_inputs(inputs, early)
        records = [self._step(step, number) for number, step in enumerate(self.manifest.steps, start=1)]
        outputs = {
            name: template(value, Scope(contexts=self._contexts(self.exported)))
            for name, value in self.manifest.outputs.items()
        }
        return Job(
            status=self.status,
            steps=tuple(records),
            outputs=outputs,
            masks=self.masks.values,
            early=tuple(early.annotations),
        )

    def _prepare(self) -> None:
        temp, tools, home = (self.folder / name for name in ("temp", "tools", "home"))
        for path in (temp / "_runner_file_commands", tools, home, self.workspace):
            path.mkdir(parents=True, exist_ok=True)
        payload = temp / "event.json"
        payload.write_text(json.dumps(self.event.payload), encoding="utf-8")
        self.runner = {
            "os": "macOS" if sys.platform == "darwin" else "Linux",
            "arch": "X64",
            "name": "GitHub Actions 1",
            "environment": "github-hosted",
            "temp": str(temp),
            "tool_cache": str(tools),
            "workspace": str(self.workspace.parent),
            "debug": "1" if self.debug else "",
        }
        self.github = {
            **self.event.github,
            "event": self.event.payload,
            "event_path": str(payload),
            "workspace": str(self.workspace),
            "action": "__self",
            "action_path": str(self.manifest.folder),
            "action_ref": "",
            "action_repository": "",
        }

    def _take_inputs(self, given: Mapping[str, str], listener: Listener) -> None:
        names = {name.lower(): name for name in self.manifest.inputs}
        values = {names[name.lower()]: value for name, value in given.items() if name.lower() in names}
        if strange := sorted(name for name in given if name.lower() not in names):
            listener.annotate(Level.WARNING, f"Unexpected input(s) {', '.join(strange)}", by_runner=True)
        scope = Scope(contexts={"github": self.github, "runner": self.runner}, workspace=self.workspace)
        for name, declared in self.manifest.inputs.items():
            self.inputs[name] = values[name] if name in values else template(declared.default, scope)
            if name in values and declared.deprecated:
                message = f"Input '{name}' has been deprecated with message: {declared.deprecated}"
                listener.annotate(Level.WARNING, message, by_runner=True)

    def _contexts(self, env: Mapping[str, str]) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "github": self.github,
            "runner": self.runner,
            "matrix": self.matrix,
            "env": {**env, **self.env},
            "steps": self.steps,
        }

    def _step(self, step: Step, number: int) -> StepRecord:
        listener = Listener(self.masks, debug=self.debug)
        self.github["action_status"] = self.status.value
        scope = Scope(contexts=self._contexts(self.exported), workspace=self.workspace)
        own = {name: template(value, scope) for name, value in step.env.items()}
        scope = Scope(contexts={**scope.contexts, "env": {**scope.contexts["env"], **own}}, workspace=self.workspace)

        def holds(status: Status) -> bool:
            contexts = {**scope.contexts, "github": {**self.github, "action_status": status.value}}
            return condition(step.condition, Scope(contexts=contexts, workspace=self.workspace, status=status))

        if not holds(self.status):
            return self._close(step, StepRecord(key=step.key, outcome=Status.SKIPPED, conclusion=Status.SKIPPED))
        lenient = template(step.continue_on_error, scope)
        if lenient not in ("true", "false"):
            raise ExpressionError(f"{step.key}.continue-on-error: '{lenient}' is neither true nor false")
        listener.show(f"##[group]Run {template(step.name, scope) or step.uses or (step.script or '').splitlines()[0]}")
        for name, value in {**self.env, **own}.items():
            listener.show(f"  {name}: {value}")
        listener.show("##[endgroup]")
        if step.script is None:
            record = self._use(step, scope, listener)
        else:
            where = self.workspace / template(step.folder, scope)
            record = self._script(step, number, where, own, holds, listener)
        if record.outcome is Status.FAILURE and lenient == "true":
            record = replace(record, conclusion=Status.SUCCESS)
        return self._close(step, record)

    def _close(self, step: Step, record: StepRecord) -> StepRecord:
        if record.conclusion in (Status.FAILURE, Status.CANCELLED) and self.status is not Status.CANCELLED:
            self.status = record.conclusion
        # A step without an id has no place in the context.
        if step.has_id:
            self.steps[step.key] = {
                "outcome": record.outcome.value,
                "conclusion": record.conclusion.value,
                "outputs": dict(record.outputs),
            }
        return record

    def _use(self, step: Step, scope: Scope, listener: Listener) -> StepRecord:
        pinned = PINNED.fullmatch(step.uses)
        assert pinned is not None
        if pinned["action"] not in self.stubs:
            raise ActionError(f"{step.key}.uses: no stub stands for '{pinned['action']}'")
        left = self.stubs[pinned["action"]]({name: template(value, scope) for name, value in step.settings.items()})
        self.exported.update(left.env)
        self.path = [*left.path, *(path for path in self.path if path not in left.path)]
        return StepRecord(
            key=step.key,
            outcome=Status.SUCCESS,
            conclusion=Status.SUCCESS,
            log=tuple(listener.log),
            outputs=left.outputs,
        )

    def _script(
        self,
        step: Step,
        number: int,
        where: Path,
        own: Mapping[str, str],
        holds: Callable[[Status], bool],
        listener: Listener,
    ) -> StepRecord:
        files = {
            name: self.folder / "temp/_runner_file_commands" / f"{prefix}_{number}" for name, prefix in FILES.items()
        }
        for path in files.values():
            path.touch()
        environment = self._environment(files, own)
        bash = shutil.which("bash", path=environment["PATH"])
        assert bash is not None
        script = self.folder / "temp" / f"script_{number}.sh"
        script.write_text(step.script or "", encoding="utf-8")
        command = [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
        started = _started(step.script or "", environment) if self.prepared else None
        process = Script(
            started or command, where=where, environment=environment, listener=listener, prepared=started is not None
        )
        code, cancelled = process.ends(self._asked(holds), self.grace, self.deadline)
        if cancelled:
            listener.annotate(Level.ERROR, "The operation was canceled.", by_runner=True)
        elif code:
            listener.annotate(Level.ERROR, f"Process completed with exit code {code}.", by_runner=True)
        outputs, state, summary = self._collect(files, listener)
        outcome = Status.CANCELLED if cancelled else Status.FAILURE if code or listener.failed else Status.SUCCESS
        return StepRecord(
            key=step.key,
            outcome=outcome,
            conclusion=outcome,
            exit=code,
            raw=tuple(process.raw),
            log=tuple(listener.log),
            annotations=tuple(listener.annotations),
            outputs=outputs,
            state=state,
            summary=summary,
            violations=tuple(listener.violations),
        )

    def _asked(self, holds: Callable[[Status], bool]) -> Callable[[], bool]:
        """Return whether the running step is to end: its condition is asked anew when the job is cancelled."""

        def asked() -> bool:
            if self.status is not Status.CANCELLED and self.cancel():
                self.status = Status.CANCELLED
                return not holds(Status.CANCELLED)
            return False

        return asked

    def _environment(self, files: Mapping[str, Path], own: Mapping[str, str]) -> dict[str, str]:
        known = {name: value for name, value in self.github.items() if name not in CONTEXT_ONLY}
        made = {"HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "CI": "true", **self.exported, **self.env, **own}
        made |= {f"GITHUB_{name.upper()}": str(value) for name, value in known.items()}
        made |= {f"GITHUB_{name.upper()}": str(path) for name, path in files.items()}
        made |= {"GITHUB_STEP_SUMMARY": self.summary} if self.summary else {}
        made |= {f"RUNNER_{name.upper()}": value for name, value in self.runner.items() if value}
        path = own.get("PATH", self.env.get("PATH", os.environ["PATH"]))
        return {**made, "GITHUB_ACTIONS": "true", "PATH": os.pathsep.join([*self.path, path])}

    def _collect(self, files: Mapping[str, Path], listener: Listener) -> tuple[dict[str, str], dict[str, str], str]:
        pairs: dict[str, dict[str, str]] = {"output": {}, "env": {}, "state": {}}
        for name, found in pairs.items():
            try:
                found.update(parse_pairs(files[name].read_text(encoding="utf-8")))
            except ValueError as problem:
                listener.refuse(f"Unable to process file command '{name}' successfully. {problem}")
        if "NODE_OPTIONS" in pairs["env"]:
            listener.refuse("Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.")
            del pairs["env"]["NODE_OPTIONS"]
        self.exported.update(pairs["env"])
        for line in files["path"].read_text(encoding="utf-8").splitlines():
            if line:
                self.path = [line, *(path for path in self.path if path != line)]
        summary = files["step_summary"].read_bytes()
        if len(summary) > SUMMARY_LIMIT_BYTES:
            listener.refuse(f"$GITHUB_STEP_SUMMARY is too large: {len(summary)} bytes", fails=False)
            summary = b""
        return pairs["output"], pairs["state"], self.masks(summary.decode("utf-8", errors="replace"))


def _started(script: str, environment: Mapping[str, str]) -> list[str] | None:
    """Return the command line of a script that does nothing but start this Python; nothing for any other script."""
    if not STARTS_PYTHON.fullmatch(script) or environment.get("PYTHON") != sys.executable:
        return None
    words = shlex.split(script.removeprefix("exec "))
    return [re.sub(r"\$([A-Z_]+)", lambda name: environment[name[1]], word) for word in words]
