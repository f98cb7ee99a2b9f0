"""Options that mean the same are spelled the same: each is declared here once.

In: a click command. Out: the command with the options. :data:`HOISTED` tells the group which ones may stand before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_SANDBOX: Final = ".reconciler/sandbox.db"
DEFAULT_JOURNAL: Final = ".reconciler/journal.db"
DEFAULT_BASE_URL: Final = "https://api.glider.fi"
DEFAULT_PARALLELISM: Final = 10

HOISTED: Final = {
    "-f": 1,
    "--file": 1,
    "--target": 1,
    "--exclude": 1,
    "--select": 1,
    "-o": 1,
    "--output": 1,
    "--parallelism": 1,
    "--journal": 1,
    "--base-url": 1,
    "--proxy": 1,
    "--sandbox": -1,
    "--no-color": 0,
    "-v": 0,
    "--verbose": 0,
    "-q": 0,
    "--quiet": 0,
}
"""Spelling to number of values; -1 is an optional one."""


def files(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-f/--file``."""
    return click.option(
        "-f",
        "--file",
        "sources",
        multiple=True,
        metavar="PATH",
        help="A file, a directory (*.yaml, *.yml, recursive), a glob, or - for stdin. Repeatable. "
        "Default: automation.yaml or automation/.",
    )(command)


def selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--target``, ``--exclude`` and ``--select``."""
    command = click.option(
        "--select", "selects", multiple=True, metavar="group=NAME", help="Only this group. Repeatable."
    )(command)
    command = click.option(
        "--exclude", "excludes", multiple=True, metavar="ID", help="Not this portfolio or strategies/ID. Repeatable."
    )(command)
    return click.option(
        "--target", "targets", multiple=True, metavar="ID", help="Only this portfolio or strategies/ID. Repeatable."
    )(command)


def output(*formats: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``-o/--output`` with these formats, the first being the default, and the options on how to print."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option("-q", "--quiet", is_flag=True, help="Only the result; no notes on stderr.")(command)
        command = click.option("-v", "--verbose", is_flag=True, help="Fold nothing; say more on stderr.")(command)
        command = click.option("--no-color", is_flag=True, help="No colours. So does NO_COLOR.")(command)
        return click.option(
            "-o", "--output", "output_format", type=click.Choice(formats), default=formats[0], show_default=True
        )(command)

    return add


def service(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that talk to Glider."""
    command = click.option(
        "--parallelism",
        type=click.IntRange(1, 100),
        default=DEFAULT_PARALLELISM,
        show_default=True,
        metavar="N",
        help="Portfolios at a time, and connections at most.",
    )(command)
    command = click.option(
        "--journal",
        default=DEFAULT_JOURNAL,
        show_default=True,
        metavar="PATH",
        help="What Glider confirmed at our last writes.",
    )(command)
    command = click.option(
        "--proxy",
        envvar="GLIDER_PROXY",
        metavar="URL",
        help="Reach the service through this proxy. Proxy variables of the environment are not used.",
    )(command)
    command = click.option(
        "--sandbox",
        is_flag=False,
        flag_value=DEFAULT_SANDBOX,  # and no default=None: with one, click 8.3.0 takes what follows for the value
        metavar="[FILE]",
        help=f"Use the embedded Glider in FILE [{DEFAULT_SANDBOX}] instead of a service.",
    )(command)
    return click.option(
        "--base-url",
        envvar="GLIDER_BASE_URL",
        default=DEFAULT_BASE_URL,
        show_default=True,
        metavar="URL",
        help="The service. The key comes from GLIDER_API_KEY only.",
    )(command)


def parse_selects(selects: tuple[str, ...]) -> tuple[str, ...]:
    """Return the group names of ``group=NAME`` values. Raises :class:`click.BadParameter`."""
    groups = []
    for text in selects:
        key, equals, name = text.partition("=")
        if key != "group" or not equals or not name:
            raise click.BadParameter(f"{text!r} is not of the form group=NAME.", param_hint="--select")
        groups.append(name)
    return tuple(groups)
