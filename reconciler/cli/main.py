"""The command ``reconciler``: its commands, and the one place where an ending becomes an exit code.

In: arguments. Out: an exit code, by ``SystemExit``. Every failure gets its sentence on stderr and, with
``-o json``, its document on stdout; a traceback is only ever shown for our own bugs.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from reconciler import __version__
from reconciler.cli.lazy import WIDEST, Lazy, LazyGroup
from reconciler.cli.options import HOISTED
from reconciler.cli.streams import failure_of, is_lost, make_lasting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cli.results import Results
    from reconciler.core.errors import ExitReason, ReconcilerError

COMMANDS = {
    "validate": Lazy("reconciler.cli.validate:validate", "Check the files, offline."),
    "plan": Lazy("reconciler.cli.plan:plan", "Show what apply would do."),
    "apply": Lazy("reconciler.cli.apply:apply", "Make live automation match the files.", writes=True),
    "drift": Lazy("reconciler.cli.drift:drift", "Show where live automation is not as declared."),
    "show": Lazy("reconciler.cli.show:show", "Show a saved plan."),
    "status": Lazy("reconciler.cli.status:status", "Show live automation as a table."),
    "rebalance": Lazy("reconciler.cli.rebalance:rebalance", "Run portfolios once now, and follow them.", writes=True),
    "import": Lazy("reconciler.cli.import_:import_", "Write what is live as YAML."),
    "coverage": Lazy("reconciler.cli.coverage:coverage", "Show what is live and not declared."),
    "explain": Lazy("reconciler.cli.explain:explain", "Show where each value of a portfolio comes from."),
    "history": Lazy("reconciler.cli.history:history", "Show earlier applies from the journal."),
    "journal": Lazy("reconciler.cli.journal:journal", "Carry what was confirmed from one journal to another."),
    "doctor": Lazy("reconciler.cli.doctor:doctor", "Check key, service, paths, clock, files and journal."),
    "schema": Lazy("reconciler.cli.schema:schema", "Print the JSON Schema of the files."),
    "sandbox": Lazy("reconciler.cli.sandbox:sandbox", "Run the embedded Glider, to learn and to test on."),
    "action": Lazy(
        "reconciler.cli.action:action", "Run a command as a step of GitHub Actions.", hidden=True, writes=True
    ),
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
    lazy=COMMANDS,
    hoisted=HOISTED,
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


def run(arguments: list[str], results: Results | None = None) -> int:
    """Run one command; return its exit code. Whoever passes ``results`` gets what the command found out."""
    gc.set_threshold(*COLLECTOR)
    if instruction := os.environ.get("_RECONCILER_COMPLETE"):  # a shell asks, by the function that it sourced
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "reconciler", "_RECONCILER_COMPLETE", instruction)
    begun: list[click.Context] = []
    try:
        # Not click's own `main`: it turns a reader that has gone into an exit code that says something else.
        begun.append(cli.make_context("reconciler", list(arguments), obj=results))
        with begun[0]:
            code = getattr(cli.invoke(begun[0]), "code", 0)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except SystemExit as stop:
        code = _stopped(stop, arguments, results)
    except (Exception, KeyboardInterrupt) as error:
        code = _failed(error, arguments, results)
    return _delivered(code, begun[0].invoked_subcommand if begun else None, arguments)


def _delivered(code: int, command: str | None, arguments: list[str]) -> int:
    """Return what a command exits with, after its output: lost data is an error of whatever only reads."""
    failure = failure_of(sys.stdout)
    if failure is None or not is_lost(failure):
        return code
    from reconciler.core.errors import ExitReason, ReconcilerError

    # Not as a document: that would go the same way.
    repair = "See where standard output goes, and whether there is room."
    _say(ReconcilerError(f"the output can't be written: {failure.strerror}", repair), arguments)
    if command is not None and command in COMMANDS and COMMANDS[command].writes:
        return code
    return ExitReason.ERROR.code if code in (ExitReason.OK.code, ExitReason.CHANGES.code) else code


def _failed(error: BaseException, arguments: list[str], results: Results | None) -> int:
    """Say why a command failed; what this needs is imported only now, because most commands don't fail."""
    from reconciler.cli.output import write
    from reconciler.core.errors import ExitReason, ReconcilerError

    if results is not None:
        results.error = error if isinstance(error, ReconcilerError) else ReconcilerError(_summary(error))

    match error:
        case click.exceptions.NoArgsIsHelpError():  # the bare command, or a bare group
            write(sys.stdout, f"{error.message}\n")
            return ExitReason.OK.code
        case click.UsageError():
            return _usage(error, arguments)
        case click.Abort() | KeyboardInterrupt():
            if isinstance(error, KeyboardInterrupt) and sys.stderr.isatty():
                write(sys.stderr, "\n")  # ends the line in which the terminal shows ^C
            return _ended(arguments, "interrupted", "", ExitReason.INTERRUPTED)
        case ReconcilerError():
            return report(error, error_reason(error), arguments)
        case _:
            return _bug(error, arguments)


def error_reason(error: ReconcilerError) -> ExitReason:
    """Return what an error exits with; an API error's kind decides."""
    from reconciler.core.errors import ApiError, exit_reason_of

    return exit_reason_of(error.kind) if isinstance(error, ApiError) else error.exit_reason


def report(error: ReconcilerError, reason: ExitReason, arguments: list[str]) -> int:
    """Print an error on stderr, and as a document on stdout where JSON was asked for; return the exit code."""
    _say(error, arguments)
    if wants_json(arguments):
        from reconciler.cli.output import write
        from reconciler.render.json import failure_json

        write(sys.stdout, failure_json(error, reason))
    return reason.code


def _say(error: ReconcilerError, arguments: list[str]) -> None:
    """Print an error on stderr, with the problems of the files where it has some."""
    from reconciler.cli.output import Output, write
    from reconciler.core.errors import ConfigInvalid
    from reconciler.render.style import Ink, safe

    output = Output(format="text", color=False if "--no-color" in arguments else None)
    style = output.note_style
    if isinstance(error, ConfigInvalid):
        from reconciler.render.text import diagnostics_text

        write(sys.stderr, diagnostics_text(error.diagnostics, style))
    lines = [f"{style.paint('error:', Ink.RED, Ink.BOLD)} {safe(str(error), longest=1000)}"]
    lines += [f"  {safe(error.detail, longest=2000)}"] if error.detail else []
    write(sys.stderr, "\n".join(lines) + "\n")


def wants_json(arguments: list[str]) -> bool:
    """Whether the command line asks for JSON, readable even where the command line itself is wrong."""
    asked = list(zip(arguments, [*arguments[1:], ""], strict=True))
    return any(
        (token in ("-o", "--output") and value == "json") or token in ("-ojson", "--output=json")
        for token, value in asked
    )


def _stopped(stop: SystemExit, arguments: list[str], results: Results | None) -> int:
    """Say that SIGTERM ended a command that was not writing, or a second signal an apply, whose writes in flight the
    next one settles; anything else is nobody's to catch."""
    from reconciler.cli.service import Terminated
    from reconciler.core.errors import ExitReason, ReconcilerError

    if isinstance(stop, Terminated):
        if results is not None:
            results.error = ReconcilerError("terminated")
        return _ended(arguments, "terminated", "", ExitReason.TERMINATED)
    signalled = (ExitReason.INTERRUPTED, ExitReason.TERMINATED)
    reason = next((reason for reason in signalled if reason.code == stop.code), None)
    if reason is None:
        raise stop  # nothing of ours ends like this
    detail = "What was under way was not waited for; the next apply finds out what became of it."
    return _ended(arguments, "ended at once by a second signal", detail, reason)


def _summary(error: BaseException) -> str:
    match error:
        case click.ClickException():
            return error.format_message()
        case click.Abort() | KeyboardInterrupt():
            return "interrupted"
        case _:
            return f"internal error: {type(error).__name__}: {error}"


def _usage(error: click.UsageError, arguments: list[str]) -> int:
    from reconciler.core.errors import UsageError

    hint = f"See `{error.ctx.command_path} --help`." if error.ctx else "See `reconciler --help`."
    converted = UsageError(error.format_message(), hint)
    return report(converted, converted.exit_reason, arguments)


def _ended(arguments: list[str], summary: str, detail: str, reason: ExitReason) -> int:
    from reconciler.core.errors import ReconcilerError

    return report(ReconcilerError(summary, detail), reason, arguments)


def _bug(error: BaseException, arguments: list[str]) -> int:
    """Say that it is our bug. The traceback holds no local values, so no key can be in it; it stands under -v."""
    from reconciler.core.errors import ExitReason

    if "-v" in arguments or "--verbose" in arguments:
        import traceback

        traceback.print_exception(error)
    detail = "This is a bug in glider-reconciler; please report it with the output of the same command under -v."
    return _ended(arguments, _summary(error), detail, ExitReason.ERROR)
