"""``reconciler action``: one command as a step of GitHub Actions, called by ``action.yml`` and by nobody else.

In: the ``INPUT_*`` variables and what GitHub tells every step. Out: the command's exit code, a readable log, the step
summary, annotations, outputs and the JSON document as a file; what is posted is for
:mod:`~reconciler.cli.action_posts`. Every decision about automation is the command's, which is the same function that a
command line calls. Once it has run, whatever goes wrong here is a warning: it has done its work.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from msgspec.structs import replace

from reconciler.cli.action_inputs import Command, Inputs, read_inputs, require_maskable
from reconciler.cli.action_posts import post, prefix, run_of
from reconciler.cli.door import perform, prepared
from reconciler.cli.flags import DEFAULT_JOURNAL
from reconciler.cli.options import Options  # noqa: TC001 - looked up when a command is called
from reconciler.cli.output import Format, Output, write
from reconciler.cli.streams import failure_of, open_lasting
from reconciler.core.errors import ApiError, ExitReason, ReconcilerError, exit_reason_of
from reconciler.core.report import FailOn, conditions_met, drift_exit_reason, was_made
from reconciler.render import github
from reconciler.render.ending import Ending, Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.render.github import ActionRun

TARGETS: Final = {
    Command.VALIDATE: "files:validate",
    Command.PLAN: "plan:plan",
    Command.APPLY: "apply:apply",
    Command.DRIFT: "plan:drift",
    Command.STATUS: "status:status",
    Command.HALT: "halt:halt",
    Command.LIFT: "halt:lift",
}
"""Which function carries out each command."""
_SAME_NAME: Final = (
    *("allow", "again", "base", "everything", "fingerprint", "halt", "join", "journal", "known", "live"),
    *("lock_timeout", "max_age", "max_rate", "parallelism", "plan_file", "reason", "resume_held", "shard"),
    "unverified",
)
"""Inputs that are called as the options that they set."""
SECRETS: Final = ("GLIDER_API_KEY", "GITHUB_TOKEN")
NO_KEY: Final = (
    "The input `api-key` is empty. Set it to a secret that there is, in the repository or in the environment that the "
    "job names with `environment`. A pull request from a fork gets no secrets, and one by Dependabot only Dependabot's "
    "own: run `validate` there, or `plan` with `live`."
)
"""What to do where a command needs a key and the step has none."""


def action(options: Options, found: Found) -> Ending:  # noqa: ARG001 - what every command takes
    """Run the command of the inputs and show the whole of it to GitHub."""
    environ = dict(os.environ)
    try:
        require_maskable(environ.get("GLIDER_API_KEY", ""))
    except ReconcilerError as error:
        return _refused(error, environ)
    for name in SECRETS:
        write(sys.stdout, github.mask(environ.get(name, "")))
    # A variable that is set but empty would be a key that is wrong, and not one that is missing.
    for name in (*SECRETS, "GLIDER_BASE_URL"):
        if not environ.get(name):
            os.environ.pop(name, None)
    folder = _folder(environ.get("RUNNER_TEMP", ""))
    try:
        inputs = read_inputs(environ)
    except ReconcilerError as error:
        return _refused(error, environ)
    document = folder / f"{inputs.command}-output.json"
    own = folder / "plan.json"
    ending = _run(inputs, own)
    reason, met = _verdict(ending, inputs)
    paths = {"json-path": str(document.resolve())} if _saved(ending, document) else {}
    saved = Path(inputs.plan_file or own)
    # Not one that lay there before a plan that failed.
    planned = ending.found.plan is not None and ending.found.error is None
    if inputs.command is Command.PLAN and planned and saved.is_file():
        paths["plan-path"] = str(saved.resolve())
    if ending.found.halt_file is not None:
        paths["halt-path"] = str(Path(ending.found.halt_file).resolve())
    run = run_of(environ)
    _publish(ending, environ, run, paths=paths, held_counts=not inputs.ignore_held, passes=reason is ExitReason.OK)
    if ending.reason not in (ExitReason.INTERRUPTED, ExitReason.TERMINATED):
        _warn(post(_counted(ending, inputs), inputs, environ, run))
    for condition in met:
        write(sys.stdout, github.annotation_lines((github.failure(f"fail-on {condition}: {condition.sentence}"),)))
    return Ending(reason=reason, found=found)


def _refused(error: ReconcilerError, environ: Mapping[str, str]) -> Ending:
    """Show what is wrong with the inputs, also where an older comment stands; nothing has run."""
    reason = exit_reason_of(error.kind) if isinstance(error, ApiError) else error.exit_reason
    command = environ.get("INPUT_COMMAND", "")
    with contextlib.redirect_stderr(_Harmless(sys.stderr)):
        Output().failure(error)
    ending, run = Ending(reason=reason, found=Found(command=command, error=error)), run_of(environ)
    _publish(ending, environ, run, paths={})
    _warn(post(ending, None, environ, run))
    return Ending(reason=reason, found=Found(command=command))


def _folder(temporary: str) -> Path:
    """Return a new folder for the step's files, below the runner's own one where there is that."""
    try:
        parent = temporary if Path(temporary).is_dir() else None
        return Path(tempfile.mkdtemp(prefix="reconciler-", dir=parent or None))
    except OSError as error:
        summary = f"the runner has no room for the files of this step: {error.strerror or error}"
        raise ReconcilerError(summary, "Free some on its disk; nothing was read or written yet.") from error


def _saved(ending: Ending, document: Path) -> bool:
    """Write the command's document, and return whether the whole of it is there."""
    if ending.view is None:
        return False
    try:
        with open_lasting(document) as file:
            file.write(ending.view.json(ending.reason))
            file.flush()
            failure = failure_of(file)
    except OSError as error:
        failure = error
    if failure is not None:
        _warn([_lost("the JSON document", failure)])
    return failure is None


def _run(inputs: Inputs, out: Path) -> Ending:
    """Run the command, its text going to the log, in which nothing can pass for a command to the runner."""
    from reconciler.core.planfile import fingerprint

    output = Output(format=Format.JSON, no_color=True)
    found = Found(command=inputs.command.value, notes=_notes(inputs))
    token = secrets.token_hex(16)
    write(sys.stdout, github.stop_commands(token))
    try:
        with contextlib.redirect_stderr(_Harmless(sys.stderr, out)):
            ending = _perform(inputs, out, output, found)
            if isinstance(found.error, ApiError) and not os.environ.get("GLIDER_API_KEY", "").strip():
                found.error.detail = NO_KEY
            if found.error is not None:
                output.failure(found.error)
            output.remark(ending)
        found.fingerprint = fingerprint(found.plan) if found.plan is not None else None
        write(sys.stdout, github.harmless_log(github.log_text(ending)))
    finally:
        write(sys.stdout, github.resume_commands(token))
    return ending


def _perform(inputs: Inputs, out: Path, output: Output, found: Found) -> Ending:
    """Call the function of the command with what the inputs say."""
    function, options = prepared(TARGETS[inputs.command], given_by(inputs, out))
    return perform(function, replace(options, output=output), found, path=f"reconciler {inputs.command}")


def given_by(inputs: Inputs, out: Path) -> dict[str, Any]:
    """Return the options that the inputs set, by name. What they leave open has the command's own default.

    ``out`` is where a plan is saved, if no input says that.
    """
    halts = inputs.command is Command.HALT
    given: dict[str, Any] = {
        "sources": () if inputs.known and inputs.command is Command.LIFT else inputs.config,
        # A halt takes ids that no file needs to declare.
        "portfolios" if halts else "targets": inputs.targets,
        "selects": inputs.selects,
        "out": _out(inputs, out),
        "approved": inputs.approved_plan,
        "auto_approve": inputs.auto_approve or halts,
    }
    given |= {name: getattr(inputs, name) for name in _SAME_NAME}
    return {name: value for name, value in given.items() if value}


def _out(inputs: Inputs, out: Path) -> str | None:
    """Return where the command saves what it made; a plan is always saved, for a later step."""
    if inputs.command is Command.PLAN:
        return inputs.plan_file or str(out)
    return inputs.live[0] if inputs.command is Command.STATUS and inputs.live else None


def _notes(inputs: Inputs) -> tuple[str, ...]:
    """Say what the run has to do without."""
    if inputs.command in (Command.VALIDATE, Command.STATUS):
        return ()
    journal = inputs.journal or DEFAULT_JOURNAL
    if "://" in journal or Path(journal).exists():  # of one on a server, the plan says if it is new
        return ()
    sentence = (
        f"No journal at {journal}: what Glider confirmed at earlier writes is not known, so schedules that can't be "
        "read count as unverified. That is safe; keep the file between runs to know more."
    )
    return (sentence,)


def _publish(
    ending: Ending,
    environ: Mapping[str, str],
    run: ActionRun,
    *,
    paths: Mapping[str, str],
    held_counts: bool = True,
    passes: bool = False,
) -> None:
    """Write annotations to the log, and outputs and summary to the files that GitHub names."""
    before = prefix(environ.get("GITHUB_WORKSPACE", ""), Path.cwd())
    write(sys.stdout, github.annotation_lines(github.shown_annotations(ending, passes=passes), prefix=before))
    values = github.output_values(ending, paths=paths, held_counts=held_counts)
    outputs = github.outputs(values, delimiter=secrets.token_hex(16))
    _append(environ.get("GITHUB_OUTPUT"), outputs, "the outputs of this step")
    _append(environ.get("GITHUB_STEP_SUMMARY"), github.summary(ending, run=run), "the summary of this step")


def _append(path: str | None, text: str, what: str) -> None:
    """Append to one of GitHub's files; outside GitHub there is none."""
    try:
        if path:
            with Path(path).open("a", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        _warn([_lost(what, error)])


def _lost(what: str, error: OSError) -> str:
    return f"{what} could not be written ({error.strerror or error}); look at the runner's disk. The log has it all"


def _warn(sentences: Iterable[str]) -> None:
    write(sys.stdout, github.annotation_lines(map(github.warning, sentences)))


def _counted(ending: Ending, inputs: Inputs) -> Ending:
    """Return the ending of a look for drift, in which what is held is no drift where the inputs say so."""
    plan = ending.found.plan
    if not inputs.ignore_held or plan is None or ending.reason is not ExitReason.CHANGES:
        return ending
    return replace(ending, reason=drift_exit_reason(replace(plan, held=())))


def _verdict(ending: Ending, inputs: Inputs) -> tuple[ExitReason, tuple[FailOn, ...]]:
    """Return what the step exits with, and which conditions of ``fail-on`` are met.

    An error is returned as it is; else it is 2 if a condition is met. A plan that was made is no error even if
    portfolios are blocked, unless ``fail-on`` says so. After an apply, ``fail-on`` is about what is left.
    """
    found = ending.found
    plan = found.report.left if found.report is not None else found.plan
    made = inputs.command is Command.PLAN and plan is not None and found.error is None and was_made(plan)
    if plan is None or not (made or ending.reason in (ExitReason.OK, ExitReason.CHANGES)):
        return ending.reason, ()
    seen = replace(plan, held=()) if inputs.ignore_held else plan
    # Whatever an apply has left is a difference between the files and live.
    met = conditions_met(seen, inputs.fail_on, looked_for_drift=inputs.command is not Command.PLAN)
    if FailOn.BLOCKED in met:
        return ending.reason, met
    return ExitReason.CHANGES if met else ExitReason.OK, met


class _Harmless:
    """A text stream in front of another one. What passes through names inputs of the action instead of options, and the
    output instead of the temporary file ``own`` that the plan is saved to; the runner can't read it as a command."""

    def __init__(self, stream: TextIO, own: Path | None = None) -> None:
        self._stream = stream
        self._own = own

    def write(self, text: str) -> int:
        if self._own is not None:
            saved = f"Saved to {self._own}; run it with: reconciler apply {self._own}"
            instead = "Saved as the output `plan-path`; run it with the command `apply`, as the input `plan-file`"
            text = text.replace(saved, instead).replace(str(self._own), "the output `plan-path`")
        return self._stream.write(github.harmless_log(github.as_inputs(text)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
