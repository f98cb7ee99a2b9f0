"""The command ``reconciler``: its commands, and the process around them.

In: arguments. Out: an exit code, by ``SystemExit``. What a command prints, and how a failure is told, is for
:mod:`reconciler.cli.door`, which is imported once a command runs.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from reconciler import __version__
from reconciler.cli.group import WIDEST, Entry, LazyGroup
from reconciler.cli.streams import failure_of, is_lost, make_lasting

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "validate": Entry("Check the files, offline."),
    "plan": Entry("Show what apply would do."),
    "apply": Entry("Make live automation match the files.", writes=True),
    "drift": Entry("Show where live automation is not as declared."),
    "show": Entry("Show a saved plan."),
    "status": Entry("Show live automation as a table."),
    "rebalance": Entry("Run portfolios once now, and follow them.", writes=True),
    "import": Entry("Write what is live as YAML."),
    "coverage": Entry("Show what is live and not declared."),
    "explain": Entry("Show where each value of a portfolio comes from."),
    "history": Entry("Show earlier applies from the journal."),
    "journal": Entry("Carry what was confirmed from one journal to another."),
    "doctor": Entry("Check key, service, paths, clock, files and journal."),
    "schema": Entry("Print the JSON Schema of the files."),
    "sandbox": Entry("Run the embedded Glider, to learn and to test on."),
    "action": Entry("Run a command as a step of GitHub Actions.", hidden=True, writes=True),
}

COLLECTOR = (100_000, 50, 100)
"""Thresholds of the cyclic collector. What a command makes lives to its end, and nearly nothing of it is in circles: to
search a large fleet for them again and again takes longer than to plan it, and more than linearly so."""

HELP = """Infrastructure-as-code for portfolio automation on Glider.

Declare in YAML which portfolios run and how often; `plan` shows the difference from what is live, `apply` makes
exactly that change. Files never hold the key: it is read from GLIDER_API_KEY.

\b
  reconciler validate                      check automation.yaml or automation/
  reconciler plan                          show what would change
  reconciler apply                         show, ask, change
  reconciler plan --sandbox                the same against an embedded Glider

Exit codes: 0 fine, 1 error, 2 changes (drift, plan --detailed-exitcode), 3 files or plan invalid, 4 stale, 5 over a
guard, 6 partly done, 7 key or permission, 8 unreachable, 64 usage, 130/143 interrupted.

Shell completion: eval "$(_RECONCILER_COMPLETE=bash_source reconciler)"; also zsh_source and fish_source.
"""


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
)
@click.version_option(__version__, prog_name="reconciler", message="%(prog)s %(version)s")
def cli() -> None:
    """Hold the commands."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit by ``SystemExit``, for callers inside this process."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def console() -> NoReturn:
    """Run the program as a process of its own, and end it.

    Everything is flushed and closed by now, so the interpreter need not take its modules apart, which would be a third
    of the time of a small command.
    """
    make_lasting()
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    gc.set_threshold(*COLLECTOR)
    if instruction := os.environ.get("_RECONCILER_COMPLETE"):  # a shell asks, by the function that it sourced
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "reconciler", "_RECONCILER_COMPLETE", instruction)
    context: click.Context | None = None
    try:
        # Not click's own `main`: it turns a reader that has gone into an exit code that says something else.
        context = cli.make_context("reconciler", list(arguments))
        with context:
            code = int(cli.invoke(context) or 0)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.exceptions.NoArgsIsHelpError as bare:  # the bare command, or a bare group
        from reconciler.cli.output import write

        write(sys.stdout, f"{bare.message}\n")
        code = 0
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        code = _failed(error, arguments, context)
    return _delivered(code, context.invoked_subcommand if context is not None else None, arguments)


def _failed(error: BaseException, arguments: Sequence[str], context: click.Context | None) -> int:
    """Say why no command came to run: mostly because the command line makes no sense."""
    from reconciler.cli.door import failed, finish, output_in
    from reconciler.render.ending import Found

    command = context.invoked_subcommand if context is not None else None
    path = f"reconciler {command}" if command in COMMANDS else "reconciler"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        path = error.ctx.command_path
    output = output_in(arguments)
    return finish(failed(error, Found(command=""), output, path=path), output)


def _delivered(code: int, command: str | None, arguments: Sequence[str]) -> int:
    """Return what a command exits with, after its output: lost data is an error of whatever only reads."""
    failure = failure_of(sys.stdout)
    if failure is None or not is_lost(failure):
        return code
    from reconciler.cli.door import output_in
    from reconciler.core.errors import ExitReason, ReconcilerError

    # Not as a document: that would go the same way.
    repair = "See where standard output goes, and whether there is room."
    output_in(arguments).failure(ReconcilerError(f"the output can't be written: {failure.strerror}", repair))
    if command is not None and command in COMMANDS and COMMANDS[command].writes:
        return code
    return ExitReason.ERROR.code if code in (ExitReason.OK.code, ExitReason.CHANGES.code) else code
