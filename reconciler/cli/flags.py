"""The command line's options that several commands share: each is declared here once.

Out: functions that return click's options. :func:`hoisted` tells which ones may stand before the command. Imports
nothing but click, because ``--help`` needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

DEFAULT_SANDBOX: Final = ".reconciler/sandbox.db"
DEFAULT_JOURNAL: Final = ".reconciler/journal.db"
DEFAULT_BASE_URL: Final = "https://api.glider.fi"
DEFAULT_PARALLELISM: Final = 10
MOST_PARALLELISM: Final = 100
DEFAULT_LOCK_TIMEOUT: Final = "10s"


SECTIONS: Final[Mapping[str, frozenset[str]]] = {
    "Selection": frozenset(
        ("sources", "targets", "excludes", "selects", "ids_from", "whole", "names", "version", "base", "live")
    ),
    "Safety": frozenset(
        (
            *("unverified", "resume_held", "again", "approved", "fingerprint", "auto_approve", "canary"),
            *("max_failures", "lock_timeout", "allow", "although_paused", "skip_schedule_validation"),
        )
    ),
    "Connection": frozenset(("base_url", "sandbox", "proxy", "journal", "parallelism")),
}
"""The parts of a long help, and which options stand in each, by the names of their values; all others: Output."""
REST: Final = "Output"


def section_of(name: str | None) -> str:
    """Return the part of a long help in which an option stands."""
    return next((title for title, names in SECTIONS.items() if name in names), REST)


def completed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what a shell may put in place of an unfinished value: for click's ``shell_complete``."""
    from reconciler.cli.completion import complete

    return complete(ctx, param, incomplete, journal=DEFAULT_JOURNAL)


def argument(name: str, metavar: str, **more: Any) -> click.Argument:
    """Return an argument that a shell can complete; ``more`` is for click."""
    return click.Argument((name,), metavar=metavar, shell_complete=completed, **more)


def option(spelled: str, text: str, *, name: str | None = None, many: bool = False) -> click.Option:
    """Return an option that takes one text, or with ``many`` any number of them; spelled as in ``-f, --file PATH``.

    ``name`` is that of the value, where it is not the option's own.
    """
    *names, metavar = spelled.replace(",", " ").split()
    declared = [*names, name] if name else names
    return click.Option(declared, metavar=metavar, help=text, multiple=many, shell_complete=completed)


def flag(*names: str, text: str) -> click.Option:
    """Return an option that takes nothing."""
    return click.Option(names, is_flag=True, help=text)


def choice(*names: str, of: tuple[str, ...], text: str, many: bool = False) -> click.Option:
    """Return an option that takes one of these words, or with ``many`` any number of them."""
    return click.Option(names, type=click.Choice(of), help=text, multiple=many)


def files() -> click.Option:
    """Return ``-f/--file``."""
    return option(
        "-f, --file PATH",
        "A file, a directory (*.yaml, *.yml, recursive), a glob, or - for stdin. Repeatable. "
        "Default: automation.yaml or automation/.",
        name="sources",
        many=True,
    )


def selection() -> tuple[click.Option, ...]:
    """Return ``--target``, ``--exclude`` and ``--select``."""
    return (
        option("--target ID", "Only this portfolio or strategies/ID. Repeatable.", name="targets", many=True),
        option("--exclude ID", "Not this portfolio or strategies/ID. Repeatable.", name="excludes", many=True),
        option("--select group=NAME", "Only this group. Repeatable.", name="selects", many=True),
    )


def unverified() -> click.Option:
    """Return ``--unverified``."""
    return click.Option(
        ("--unverified",),
        type=click.Choice(("write", "skip", "fail")),
        default="write",
        show_default=True,
        help="What to do about a schedule that can't be known.",
    )


def again() -> click.Option:
    """Return ``--again``."""
    return option(
        "--again ID",
        "Ask for a run of it although an earlier request was not answered and may have begun one. Repeatable.",
        many=True,
    )


def policy() -> tuple[click.Option, ...]:
    """Return ``--unverified``, ``--resume-held`` and ``--again``."""
    held = option(
        "--resume-held ID|group=NAME|@FILE",
        "Resume this portfolio, this group or the ids in this file although somebody else paused them. Repeatable.",
        many=True,
    )
    return unverified(), held, again()


def api(text: str) -> click.Option:
    """Return ``--api``."""
    return choice("--api", "version", of=("v1", "v2"), text=f"{text}  [default: that of `defaults`, else v1]")


def ids_from() -> click.Option:
    """Return ``--ids-from``."""
    return option("--ids-from FILE", "Portfolio ids, one a line, # begins a comment; - for stdin.")


def lock_timeout(waits_for: str) -> click.Option:
    """Return ``--lock-timeout``."""
    return click.Option(
        ("--lock-timeout",),
        default=DEFAULT_LOCK_TIMEOUT,
        show_default=True,
        metavar="DURATION",
        help=f"How long to wait for {waits_for}.",
    )


def base_url(text: str) -> click.Option:
    """Return ``--base-url``. Where it is not given, the environment may name the service, see :mod:`.service`."""
    return option("--base-url URL", f"{text}  [default: {DEFAULT_BASE_URL}]")


def sandbox(text: str) -> click.Option:
    """Return ``--sandbox``, whose file may be left out."""
    return click.Option(
        ("--sandbox",),
        is_flag=False,
        flag_value=DEFAULT_SANDBOX,
        metavar="[FILE]",
        help=text,
        shell_complete=completed,
    )


def journal(text: str) -> click.Option:
    """Return ``--journal``."""
    return option("--journal PATH", f"{text}  [default: {DEFAULT_JOURNAL}]")


def service() -> tuple[click.Option, ...]:
    """Return the options of commands that talk to Glider."""
    return (
        base_url("The service. The key comes from GLIDER_API_KEY only."),
        sandbox(f"Use the embedded Glider in FILE [{DEFAULT_SANDBOX}] instead of a service."),
        option("--proxy URL", "Reach the service through this proxy. Proxy variables of the environment are not used."),
        journal("What Glider confirmed at our last writes."),
        click.Option(
            ("--parallelism",),
            type=Whole(1, MOST_PARALLELISM),
            default=DEFAULT_PARALLELISM,
            show_default=True,
            metavar="N",
            help="Portfolios at a time, and connections at most.",
        ),
    )


class Whole(click.IntRange):
    """A whole number in a range, called so where it is none."""

    name = "whole number"


class _Format(click.Choice[str]):
    """A word for ``-o``, which click reads with the ``=`` of ``-o=json``."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word without it."""
        return super().convert(value.removeprefix("="), param, ctx)


def output(*formats: str) -> tuple[click.Option, ...]:
    """Return ``-o/--output`` with these formats, the first being the default, and the options on how to print."""
    return (
        click.Option(("-o", "--output", "format"), type=_Format(formats), default=formats[0], show_default=True),
        flag("--no-color", text="No colours. So does NO_COLOR."),
        flag("-v", "--verbose", text="Fold nothing; say more on stderr."),
        flag("-q", "--quiet", text="Only the result; no notes on stderr."),
    )


def hoisted() -> tuple[click.Option, ...]:
    """Return the options that may stand before the command."""
    return files(), *selection(), *service(), *output("text", "json", "markdown")
