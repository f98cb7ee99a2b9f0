"""``reconciler action``: one command as a step of GitHub Actions, called by ``action.yml`` and by nobody else.

In: the ``INPUT_*`` variables and what GitHub tells every step. Out: the command's exit code, a readable log, the step
summary, annotations, outputs, the JSON document as a file, and a comment or an issue. Every decision about automation
is the command's, which runs in this process as it would on a command line.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from reconciler.cli.action_inputs import Command, Inputs, arguments, read_inputs
from reconciler.cli.options import DEFAULT_JOURNAL
from reconciler.cli.output import write
from reconciler.cli.results import Results
from reconciler.cli.streams import open_lasting
from reconciler.core.errors import ConfigInvalid, ExitReason, ReconcilerError
from reconciler.core.report import conditions_met
from reconciler.render import github
from reconciler.render.ending import Ending

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS: Final = ("GLIDER_API_KEY", "GITHUB_TOKEN")

HELP = """Run a command as a step of GitHub Actions. Called by action.yml; its inputs are environment variables."""


@click.command(help=HELP)
def action() -> ExitReason:
    """Run the command of the inputs and show the whole of it to GitHub."""
    environ = dict(os.environ)
    for name in SECRETS:
        write(sys.stdout, github.mask(environ.get(name, "")))
    # A variable that is set but empty would be a key that is wrong, and not one that is missing.
    for name in (*SECRETS, "GLIDER_BASE_URL"):
        if not environ.get(name):
            os.environ.pop(name, None)
    folder = Path(tempfile.mkdtemp(prefix="reconciler-", dir=environ.get("RUNNER_TEMP") or None))
    try:
        inputs = read_inputs(environ)
    except ReconcilerError as error:
        ending = Ending(command=environ.get("INPUT_COMMAND", ""), reason=error.exit_reason, error=error)
        _publish(ending, environ, paths={})
        raise
    ending = _run(inputs, folder)
    paths = {"json-path": str(_document(folder, inputs).resolve())}
    saved = Path(inputs.plan_file or folder / "plan.json")
    # Not one that lay there before a plan that failed.
    if inputs.command is Command.PLAN and ending.plan is not None and ending.error is None and saved.is_file():
        paths["plan-path"] = str(saved.resolve())
    _publish(ending, environ, paths=paths)
    if ending.reason not in (ExitReason.INTERRUPTED, ExitReason.TERMINATED):
        _post(ending, inputs, environ)
    return _verdict(ending, inputs)


def _run(inputs: Inputs, folder: Path) -> Ending:
    """Run the command, its document going to a file and its text to the log, in which nothing can pass for a command
    to the runner."""
    from reconciler.cli.main import run

    results, notes = Results(), _notes(inputs)
    token = secrets.token_hex(16)
    write(sys.stdout, github.stop_commands(token))
    line = arguments(inputs, out=str(folder / "plan.json"))
    try:
        with (
            open_lasting(_document(folder, inputs)) as document,
            contextlib.redirect_stdout(document),
            contextlib.redirect_stderr(_Harmless(sys.stderr)),
        ):
            code = run(line, results)
        ending = _ending(inputs, results, code, notes)
        write(sys.stdout, github.harmless_log(github.log_text(ending)))
    finally:
        write(sys.stdout, github.resume_commands(token))
    return ending


def _notes(inputs: Inputs) -> tuple[str, ...]:
    """Say what the run has to do without."""
    journal = Path(inputs.journal or DEFAULT_JOURNAL)
    if inputs.command in (Command.VALIDATE, Command.STATUS) or inputs.live or journal.exists():
        return ()
    sentence = (
        f"No journal at {journal}: what Glider confirmed at earlier writes is not known, so schedules that can't be "
        "read count as unverified. That is safe; keep the file between runs to know more."
    )
    return (sentence,)


def _ending(inputs: Inputs, results: Results, code: int, notes: tuple[str, ...]) -> Ending:
    from reconciler.core.planfile import fingerprint

    error, diagnostics = results.error, results.diagnostics
    if isinstance(error, ConfigInvalid):
        diagnostics = tuple(error.diagnostics)
    reason = next((reason for reason in ExitReason if reason.code == code), ExitReason.ERROR)
    return Ending(
        command=inputs.command.value,
        reason=reason,
        plan=results.plan,
        fingerprint=fingerprint(results.plan) if results.plan is not None else None,
        report=results.report,
        statuses=results.statuses,
        diagnostics=diagnostics,
        error=error,
        uncovered=results.uncovered,
        portfolios=results.portfolios,
        notes=notes,
    )


def _publish(ending: Ending, environ: Mapping[str, str], *, paths: Mapping[str, str]) -> None:
    """Write annotations to the log, and summary and outputs to the files that GitHub names."""
    workspace, here = environ.get("GITHUB_WORKSPACE", ""), Path.cwd()
    write(sys.stdout, github.annotation_lines(github.shown_annotations(ending), prefix=_prefix(workspace, here)))
    _append(environ.get("GITHUB_STEP_SUMMARY"), github.summary(ending))
    outputs = github.output_values(ending, paths=paths)
    _append(environ.get("GITHUB_OUTPUT"), github.outputs(outputs, delimiter=secrets.token_hex(16)))


def _prefix(workspace: str, here: Path) -> str:
    """Return what the working directory puts before a file's name; annotations are relative to the workspace."""
    root = Path(workspace).resolve() if workspace else here.resolve()
    directory = here.resolve()
    if directory == root or not directory.is_relative_to(root):
        return ""
    return directory.relative_to(root).as_posix() + "/"


def _append(path: str | None, text: str) -> None:
    """Append to one of GitHub's files; outside GitHub there is none."""
    if path:
        with Path(path).open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)


def _post(ending: Ending, inputs: Inputs, environ: Mapping[str, str]) -> None:
    """Comment, and keep the drift issue. Whatever goes wrong here is a warning: the command has done its work."""
    from reconciler.cli.action_post import post

    for warning in post(ending, inputs, environ):
        write(sys.stdout, github.annotation_lines((github.warning(warning),)))


def _verdict(ending: Ending, inputs: Inputs) -> ExitReason:
    """Return what the step exits with: pending changes fail it only where ``fail-on`` says so."""
    if ending.reason not in (ExitReason.OK, ExitReason.CHANGES):
        return ending.reason
    if ending.plan is None:
        return ExitReason.OK
    met = conditions_met(ending.plan, inputs.fail_on, looked_for_drift=inputs.command is Command.DRIFT)
    for condition in met:
        write(sys.stdout, github.annotation_lines((github.failure(f"fail-on {condition}: {condition.sentence}"),)))
    return ExitReason.CHANGES if met else ExitReason.OK


def _document(folder: Path, inputs: Inputs) -> Path:
    return folder / f"{inputs.command}-output.json"


class _Harmless:
    """A text stream in front of another one: what passes through can't be read as a command by the runner."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(github.harmless_log(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
