"""A click group that imports a command only when it is called, and takes shared options before its name, too.

In: a table of commands. Out: a :class:`click.Group`. Start-up time is a feature: ``--help`` imports no command.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

WIDEST = 100
"""Columns of help, however wide the terminal is: longer lines are hard to read."""


class Lazy(NamedTuple):
    """Where a command lives, and the line of help that stands for it before it is imported."""

    target: str
    """``package.module:attribute``"""
    help: str
    hidden: bool = False
    """Whether help leaves it out: it is called by a program, not by people."""
    writes: bool = False
    """Whether it writes to Glider: its exit code tells what became of that, even where its output can't be written."""


class LazyGroup(click.Group):
    """Commands by name from a table; ``hoisted`` names the options that may stand before the command.

    ``hoisted`` maps an option's spelling to the number of values it takes: 0, 1, or -1 for an optional one.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], hoisted: Mapping[str, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy
        self._hoisted = hoisted

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the table's order, which is the order of a user's day."""
        return [name for name, lazy in self._lazy.items() if not lazy.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import and return a command."""
        lazy = self._lazy.get(cmd_name)
        if lazy is None:
            return None
        module, _, attribute = lazy.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list of commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self._lazy.items() if not lazy.hidden])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin like this, importing none of them."""
        from click.shell_completion import CompletionItem

        found = [(name, lazy.help) for name, lazy in self._lazy.items() if not lazy.hidden]
        commands = [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, as wide as the terminal; click would import shutil to ask how wide that is."""
        if ctx.terminal_width is None:
            ctx.terminal_width = min(_columns(), ctx.max_content_width or WIDEST)
        return super().get_help(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but name the nearest command for a mistyped one."""
        if args and args[0] not in self._lazy and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move shared options that stand before the command behind it, where they are declared."""
        moved: list[str] = []
        rest = list(args)
        while rest and self._values(rest[0]) is not None:
            taken = 1 + self._following(rest)
            moved += rest[:taken]
            del rest[:taken]
        if moved and rest and rest[0] in self._lazy:
            args = [rest[0], *moved, *rest[1:]]
        return super().parse_args(ctx, args)

    def _values(self, token: str) -> int | None:
        name, equals, _ = token.partition("=")
        count = self._hoisted.get(name)
        return 0 if count is not None and equals else count

    def _following(self, tokens: list[str]) -> int:
        """Return how many of the next tokens are values of the first."""
        count = self._values(tokens[0]) or 0
        if count >= 0:
            return count
        return int(len(tokens) > 1 and not tokens[1].startswith("-") and tokens[1] not in self._lazy)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or os.get_terminal_size().columns
    except (ValueError, OSError):
        return 80
