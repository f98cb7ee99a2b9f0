"""A click group that makes a command only when it is called, and takes shared options before its name, too.

In: a table of commands. Out: a :class:`click.Group`. Start-up time is a feature: ``--help`` makes no command.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

WIDEST = 100
"""Columns of help, however wide the terminal is: longer lines are hard to read."""


class Entry(NamedTuple):
    """A command in the list of commands."""

    help: str
    hidden: bool = False
    """Whether help leaves it out: it is called by a program, not by people."""
    writes: bool = False
    """Whether it writes to Glider: its exit code tells what became of that, even where its output can't be written."""


class LazyGroup(click.Group):
    """Commands by name; :mod:`reconciler.cli.commands` declares the rest of each."""

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
        """Resolve as click does, but name the nearest command for a mistyped one."""
        if args and args[0] not in self._entries and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

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
            args = [rest[0], *moved, *rest[1:]]
        return super().parse_args(ctx, args)

    def _taken(self, tokens: list[str]) -> int:
        """Return how many tokens a shared option at the front takes with its value; 0 where there is none."""
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
        # Its value may be left out: what follows is one unless it is an option or the command.
        return 1 + int(len(tokens) > 1 and not tokens[1].startswith("-") and tokens[1] not in self._entries)

    def _bundled(self, token: str) -> int:
        """Return how many tokens a bundle of short options takes; the last of them may have a value."""
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
