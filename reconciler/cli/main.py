"""The command ``reconciler``: its commands, and the process around them.

In: arguments. Out: an exit code, by ``SystemExit``. :mod:`reconciler.cli.door` prints what a command found, and its
failures; it is imported once a command runs.
"""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from reconciler import __version__
from reconciler.cli.streams import failure_of, is_lost, make_lasting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from click.shell_completion import CompletionItem

WIDEST = 100
"""Columns of help, however wide the terminal is: longer lines are hard to read."""


class Entry(NamedTuple):
    """A command in the list of commands."""

    help: str
    hidden: bool = False
    """Whether help leaves it out: it is called by a program, not by people."""
    writes: bool = False
    """Whether it writes to Glider. Then its exit code says what became of that, even if its output is lost."""


class LazyGroup(click.Group):
    """The commands by name. :mod:`reconciler.cli.commands` declares the rest of each when it is needed."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries = entries

    @property
    def _shown(self) -> list[tuple[str, str]]:
        """The names and their lines of help, in the table's order, which is the order of a user's day."""
        return [(name, entry.help) for name, entry in self._entries.items() if not entry.hidden]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names."""
        return [name for name, _ in self._shown]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Make and return a command."""
        from reconciler.cli.commands import MAKERS

        return MAKERS[cmd_name]() if cmd_name in self._entries else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list of commands, making none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(self._shown)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin like this, making none of them."""
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, text in self._shown if name.startswith(incomplete)]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but say what is called otherwise here, or name the nearest command."""
        if args and args[0] not in self._entries and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            from reconciler.cli.words import INSTEAD
            from reconciler.core.errors import UsageError

            if args[0] in INSTEAD:
                raise UsageError(f"No such command {args[0]!r}.", INSTEAD[args[0]])
            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move shared options that stand before the command behind it, where they are declared."""
        if ctx.terminal_width is None:  # click would import shutil for the help, to ask how wide the terminal is
            ctx.terminal_width = min(_columns(), ctx.max_content_width or WIDEST)
        moved: list[str] = []
        rest = list(args)
        while rest and rest[0].startswith("-") and (taken := self._taken(rest)):
            moved += rest[:taken]
            del rest[:taken]
        if moved and rest and not rest[0].startswith("-"):
            # Behind a command of a command, where that is named.
            inner = getattr(self.get_command(ctx, rest[0]), "commands", {})
            named = 2 if len(rest) > 1 and rest[1] in inner else 1
            args = [*rest[:named], *moved, *rest[named:]]
        return super().parse_args(ctx, args)

    def _taken(self, tokens: list[str]) -> int:
        """Return how many tokens the shared option at the front takes with its value; 0 if there is no such option."""
        name, equals, _ = tokens[0].partition("=")
        if len(name) > 2 and name[1] != "-":
            return self._bundled(name)
        option = self._hoisted.get(name)
        if option is None:
            return 0
        if option.is_flag or equals:
            return 1
        if not isinstance(option.flag_value, str):
            return 2
        # Its value may be left out: the next token is its value unless it is an option or the command.
        return 1 + int(len(tokens) > 1 and not tokens[1].startswith("-") and tokens[1] not in self._entries)

    def _bundled(self, token: str) -> int:
        """Return how many tokens a bundle such as ``-vqf FILE`` takes: only its last option may have a value."""
        for last, letter in enumerate(token[1:], start=2):
            option = self._hoisted.get(f"-{letter}")
            if option is None:
                return 0
            if not option.is_flag:
                return 1 + int(last == len(token))
        return 1

    @cached_property
    def _hoisted(self) -> Mapping[str, click.Option]:
        """The options that may stand before the command, by how they are spelled."""
        from reconciler.cli.flags import hoisted

        return {spelling: option for option in hoisted() for spelling in option.opts}


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or os.get_terminal_size().columns
    except (ValueError, OSError):
        return 80


COMMANDS = {
    "init": Entry("Write a first file."),
    "validate": Entry("Check the files, offline."),
    "plan": Entry("Show what apply would do."),
    "apply": Entry("Make live automation match the files.", writes=True),
    "drift": Entry("Show where live automation is not as declared."),
    "show": Entry("Show a saved plan."),
    "status": Entry("Show live automation as a table."),
    "load": Entry("Show who runs when, and the worst minute."),
    "report": Entry("Write one HTML page of the fleet."),
    "rebalance": Entry("Run portfolios once now, and follow them.", writes=True),
    "halt": Entry("Stop what runs, whatever the files say; lift; list.", writes=True),
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

HELP = """Infrastructure-as-code for portfolio automation on Glider.

Declare in YAML which portfolios run and how often; `plan` shows the difference from what is live, `apply` makes
exactly that change. Files never hold the key: it is read from GLIDER_API_KEY.

\b
  reconciler init                          write a first automation.yaml
  reconciler validate                      check automation.yaml or automation/
  reconciler plan                          show what would change
  reconciler apply                         show, ask, change
  reconciler plan --sandbox                the same against an embedded Glider

Exit codes: 0 fine, 1 error, 2 changes (drift, plan --detailed-exitcode), 3 files or plan invalid, 4 stale, 5 over a
guard or in a freeze, 6 partly done, 7 key or permission, 8 unreachable, 64 usage, 130/143 interrupted.

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

    Everything is flushed and closed by then, so the interpreter is left without taking its modules apart: for a small
    command, that would take a third of the time.
    """
    make_lasting()
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    if instruction := os.environ.get("_RECONCILER_COMPLETE"):  # a shell asks, by the function that it sourced
        from reconciler.cli.completion import answer

        return answer(cli, instruction)
    context: click.Context | None = None
    try:
        # Not click's own `main`: when the reader of the output has gone, it returns an exit code that we use otherwise.
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
    """Say why no command could run, mostly because the command line is wrong."""
    from reconciler.cli.door import failed, finish, output_in
    from reconciler.render.ending import Found

    command = context.invoked_subcommand if context is not None else None
    path = f"reconciler {command}" if command in COMMANDS else "reconciler"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        path = error.ctx.command_path
    output = output_in(arguments)
    return finish(failed(error, Found(command=""), output, path=path), output)


def _delivered(code: int, command: str | None, arguments: Sequence[str]) -> int:
    """Return what a command exits with. For one that only reads, output that was lost is an error."""
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
