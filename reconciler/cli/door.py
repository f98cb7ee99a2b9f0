"""Run a command and print its ending. Nothing else in the program prints an ending.

In: what click read, or the options that the GitHub Action made. Out: an :class:`~reconciler.render.ending.Ending`, or,
after it was printed, the exit code. However a command stops, by its result or an error, it gets an ending here.
"""

from __future__ import annotations

import sys
from errno import EMFILE, ENFILE
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import Options, options_of
from reconciler.cli.output import Output, write
from reconciler.cli.service import Terminated
from reconciler.cli.words import INSTEAD
from reconciler.core.errors import ApiError, ConfigInvalid, ExitReason, ReconcilerError, UsageError, exit_reason_of
from reconciler.render.ending import Ending, Found, View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BUG = "This is a bug in glider-reconciler; please report it with the output of the same command under -v."


def run_command(name: str, target: str, given: Mapping[str, Any]) -> int:
    """Run a command with what click read; print its ending, and return the exit code."""
    function, options = prepared(target, given)
    path = click.get_current_context().command_path
    return finish(perform(function, options, Found(command=name), path=path), options.output)


def prepared(target: str, given: Mapping[str, Any]) -> tuple[Callable[[Options, Found], Ending], Options]:
    """Import ``module:function`` of this package, and make its options from values by name; return both.

    The annotation of the function's first parameter is the class of its options. Values that it lacks are not used.
    """
    module_name, _, function_name = target.partition(":")
    module = import_module(f"reconciler.cli.{module_name}")
    function = getattr(module, function_name)
    return function, options_of(getattr(module, function.__annotations__["options"]), given)


def perform(function: Callable[[Options, Found], Ending], options: Options, found: Found, *, path: str) -> Ending:
    """Run a command and return its ending, however it ends; ``path`` is how people call the command."""
    try:
        return function(options, found)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return failed(error, found, options.output, path=path)


def finish(ending: Ending, output: Output) -> int:
    """Print an ending; return the exit code."""
    if ending.found.error is not None:
        output.failure(ending.found.error)
    output.show(ending)
    return ending.reason.code


def failed(error: BaseException, found: Found, output: Output, *, path: str) -> Ending:
    """Return the ending of a command that an exception stopped. Raises a ``SystemExit`` that is not ours again."""
    shown, reason = _failure(error, path)
    match error:
        case KeyboardInterrupt() if sys.stderr.isatty():
            write(sys.stderr, "\n")  # ends the line in which the terminal shows ^C
        case Exception() if shown.detail == BUG and output.verbose:
            import traceback

            traceback.print_exception(error)  # it holds no local values, so no key can be in it
        case _:
            pass
    from reconciler.render.json import failure_document

    found.error = shown
    if isinstance(shown, ConfigInvalid):
        found.diagnostics = shown.diagnostics
    return Ending(reason=reason, found=found, view=View(body=failure_document(shown)))


def _failure(error: BaseException, path: str) -> tuple[ReconcilerError, ExitReason]:
    """Return the error to tell people about, and the reason to exit with."""
    match error:
        case click.NoSuchOption() if error.option_name in INSTEAD:
            return UsageError(f"No such option {error.option_name!r}.", INSTEAD[error.option_name]), ExitReason.USAGE
        case UsageError() | click.UsageError():
            text = error.format_message() if isinstance(error, click.UsageError) else error.summary
            detail = getattr(error, "detail", "")
            return UsageError(text, detail or f"See `{path} --help`."), ExitReason.USAGE
        case ReconcilerError():
            return error, exit_reason_of(error.kind) if isinstance(error, ApiError) else error.exit_reason
        case click.Abort() | KeyboardInterrupt():
            return ReconcilerError("interrupted"), ExitReason.INTERRUPTED
        case Terminated():  # SIGTERM, while nothing was written
            return ReconcilerError("terminated"), ExitReason.TERMINATED
        case SystemExit():
            # A second signal during an apply; the next one settles what was in flight.
            signalled = (ExitReason.INTERRUPTED, ExitReason.TERMINATED)
            reason = next((reason for reason in signalled if reason.code == error.code), None)
            if reason is None:
                raise error  # nothing of ours ends like this
            detail = "What was under way was not waited for; the next apply finds out what became of it."
            return ReconcilerError("ended at once by a second signal", detail), reason
        case OSError() if (said := _of_the_system(error)) is not None:
            return said, ExitReason.ERROR
        case click.ClickException():
            return ReconcilerError(error.format_message(), BUG), ExitReason.ERROR
        case _:
            return ReconcilerError(f"internal error: {type(error).__name__}: {error}", BUG), ExitReason.ERROR


def _of_the_system(error: OSError) -> ReconcilerError | None:
    """Return what to say where the system refuses something, and that is no bug of ours; else ``None``."""
    if error.errno in (EMFILE, ENFILE):
        detail = "Allow more, as by `ulimit -n 256` in this shell, or open fewer: `--parallelism 2`."
        return ReconcilerError("no more files and connections may be open at once", detail)
    if error.filename is None or error.strerror is None:
        return None
    shown = f"can't use {error.filename}: {error.strerror}"
    return ReconcilerError(shown, "Check the path, and that you may read and write there.")


def output_in(arguments: Sequence[str]) -> Output:
    """Return how to print, for a command line that click could not read: the output options that can be found in it."""
    from reconciler.cli.flags import hoisted

    settings: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "resilient_parsing": True}
    context = click.Command(None, params=list(hoisted())).make_context(None, list(arguments), **settings)
    said = {name: value for name, value in context.params.items() if value is not None}
    return options_of(Options, said).output
