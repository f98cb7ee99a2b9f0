"""What a command is declared with: its class, with a help that groups many options, and the way to its function.

Out: functions that make click's commands. It imports nothing but click, so that help appears at once; what a command
needs is imported when it runs (:mod:`reconciler.cli.door`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LONG_HELP: Final = 8
"""A help text with more options than this groups them under headings."""
_SECTIONS: Final = {
    "Selection": "sources targets excludes selects ids_from whole names version base live shard everything known",
    "Safety": "unverified resume_held again approved fingerprint auto_approve join canary reason max_failures max_age "
    "lock_timeout allow although_paused skip_schedule_validation",
    "Connection": "base_url sandbox proxy journal parallelism max_rate",
}
"""The headings of a long help, and the options under each, by the names of their values."""
_REST: Final = "Output"
"""The heading of all other options."""


class SectionedCommand(click.Command):
    """A command that groups a long list of options in its help, and explains an argument that it does not take."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        ctx.allow_extra_args = True
        extra = super().parse_args(ctx, args)
        if extra and not ctx.resilient_parsing:
            from reconciler.core.errors import UsageError

            raise UsageError(
                f"Unexpected argument {extra[0]!r}.", self._meant(extra[0]) or f"See `{ctx.command_path} --help`."
            )
        return extra

    def _meant(self, word: str) -> str:
        """Return a sentence that says what to write instead of a word too many; ``""`` if we can't tell."""
        options = {param.name for param in self.params}
        if "sources" in options and word.endswith((".yaml", ".yml", "/")):
            return f"Name a file with -f: `-f {word}`."
        if "targets" in options and word.replace("_", "").replace("-", "").isalnum():
            return f"Name a portfolio with --target: `--target {word}`."
        return ""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        parts: dict[str, list[tuple[str, str]]] = {title: [] for title in (*_SECTIONS, _REST)}
        section_of = {name: title for title, names in _SECTIONS.items() for name in names.split()}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (row := param.get_help_record(ctx)) is not None:
                parts[section_of.get(param.name or "", _REST)].append(row)
        if sum(map(len, parts.values())) <= _LONG_HELP:
            super().format_options(ctx, formatter)
            return
        for title, rows in parts.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def command(
    name: str, target: str, text: str, *params: click.Parameter, kind: type[SectionedCommand] = SectionedCommand
) -> click.Command:
    """Return a command that calls ``module:function`` of this package with its options; ``text`` is its help."""
    return kind(name, callback=partial(_call, name, target), params=list(params), help=text)


def _call(name: str, target: str, /, **given: Any) -> int:
    from reconciler.cli.door import run_command

    return run_command(name, target, given)


def group(name: str, text: str, commands: Mapping[str, Callable[[], click.Command]]) -> click.Group:
    """Return a command that does nothing by itself, and has others below it."""
    return click.Group(name, commands={inner: make() for inner, make in commands.items()}, help=text)
