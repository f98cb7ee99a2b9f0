"""Options that several commands share, each declared once.

Out: functions that return click's options. :func:`hoisted` tells which of them may stand before the command. It imports
nothing but click, because ``--help`` needs these options at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

DEFAULT_SANDBOX: Final = ".reconciler/sandbox.db"
DEFAULT_JOURNAL: Final = ".reconciler/journal.db"
DEFAULT_BASE_URL: Final = "https://api.glider.fi"
DEFAULT_PARALLELISM: Final = 10
MOST_PARALLELISM: Final = 100
HALT_PARALLELISM: Final = 50
DEFAULT_LOCK_TIMEOUT: Final = "10s"


def completed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the completions of an unfinished value, for click's ``shell_complete``."""
    from reconciler.cli.completion import complete

    return complete(ctx, param, incomplete, journal=DEFAULT_JOURNAL)


def argument(name: str, metavar: str, **more: Any) -> click.Argument:
    """Return an argument that a shell can complete; ``more`` is for click."""
    return click.Argument((name,), metavar=metavar, shell_complete=completed, **more)


def option(
    spelled: str,
    text: str,
    *,
    name: str | None = None,
    many: bool = False,
    default: str | int | None = None,
    kind: Whole | None = None,
) -> click.Option:
    """Return an option that takes one text, or with ``many`` any number of them; spelled as in ``-f, --file PATH``.

    ``name`` is what the value is called in the code, if not as the option. Help shows a ``default``. ``kind`` is for a
    value that is not any text.
    """
    *names, metavar = spelled.replace(",", " ").split()
    declared = [*names, name] if name else names
    more: dict[str, Any] = {} if default is None else {"default": default, "show_default": True}
    return click.Option(
        declared, metavar=metavar, help=text, multiple=many, type=kind, shell_complete=completed, **more
    )


def count(
    spelled: str, text: str, *, least: int = 0, most: int | None = None, default: int | None = None
) -> click.Option:
    """Return an option that takes a whole number in a range."""
    return option(spelled, text, default=default, kind=Whole(least, most))


def flag(*names: str, text: str) -> click.Option:
    """Return an option without a value."""
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
        option(
            "--select TERM",
            "Only this group (group=NAME), label (team=fx, tier!=3) or name (name=GLOB). Repeatable.",
            name="selects",
            many=True,
        ),
    )


def unverified() -> click.Option:
    """Return ``--unverified``."""
    return click.Option(
        ("--unverified",),
        type=click.Choice(("write", "skip", "fail")),
        default="write",
        show_default=True,
        help="What to do with a schedule that can't be known.",
    )


def metrics() -> click.Option:
    """Return ``--metrics``."""
    return option("--metrics FILE", "Save the numbers for Prometheus (OpenMetrics text), for a textfile collector.")


def again() -> click.Option:
    """Return ``--again``."""
    return option(
        "--again ID",
        "Request a run of this portfolio although an earlier request, which had no answer, may have begun one. "
        "Repeatable.",
        many=True,
    )


def policy() -> tuple[click.Option, ...]:
    """Return ``--unverified``, ``--resume-held`` and ``--again``."""
    held = option(
        "--resume-held ID|group=NAME|@FILE",
        "Resume a portfolio, a group, or the ids in a file, although somebody else paused them. Repeatable.",
        many=True,
    )
    return unverified(), held, again()


def live() -> click.Option:
    """Return ``--live``."""
    return option(
        "--live FILE",
        "Read no service, but files of `status --out`, all shares of a round; without a key. Globs, repeatable.",
        many=True,
    )


def api(text: str) -> click.Option:
    """Return ``--api``."""
    return choice("--api", "version", of=("v1", "v2"), text=f"{text}  [default: that of `defaults`, else v1]")


def ids_from() -> click.Option:
    """Return ``--ids-from``."""
    return option("--ids-from FILE", "A file with one portfolio id a line; # begins a comment. - for stdin.")


def lock_timeout(waits_for: str) -> click.Option:
    """Return ``--lock-timeout``."""
    return option("--lock-timeout DURATION", f"How long to wait for {waits_for}.", default=DEFAULT_LOCK_TIMEOUT)


def boldness() -> tuple[click.Option, ...]:
    """Return ``--canary`` and ``--max-failures``."""
    return (
        count("--canary N", "Carry out N changes of each stage first, and its rest only when all of these are done."),
        count("--max-failures N", "Begin nothing more once more than N changes have failed or ended unknown."),
    )


def allow() -> click.Option:
    """Return ``--allow``."""
    text = (
        "Exceed a guard: allow N of start, resume, pause, update, reach or incomplete; or with freeze=NAME, change "
        "what that freeze forbids. Repeatable."
    )
    return option("--allow WHAT=N", text, many=True)


def base_url(text: str) -> click.Option:
    """Return ``--base-url``. Without it, the environment may name the service, see :mod:`.service`."""
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


def records() -> tuple[click.Option, ...]:
    """Return the options that name a journal and the service whose records are meant."""
    return (
        base_url("The service whose records are meant. It is not asked."),
        sandbox(f"Take the records of the embedded Glider in FILE [{DEFAULT_SANDBOX}]."),
        journal("The journal."),
    )


def service(*, parallelism: int = DEFAULT_PARALLELISM) -> tuple[click.Option, ...]:
    """Return the options of commands that talk to Glider; ``parallelism`` is the usual one."""
    return (
        base_url("The service. The key comes from GLIDER_API_KEY only."),
        sandbox(f"Use the embedded Glider in FILE [{DEFAULT_SANDBOX}] instead of a service."),
        option("--proxy URL", "Reach the service through this proxy. Proxy variables of the environment are not used."),
        journal("The file, or postgresql:// URL, that remembers what Glider confirmed at our last writes."),
        count(
            "--parallelism N",
            "How many portfolios to work on at a time; also the limit of connections.",
            least=1,
            most=MOST_PARALLELISM,
            default=parallelism,
        ),
        option("--max-rate N/s", "Requests a second at most, evenly spaced: for several runs behind one address."),
    )


class Whole(click.IntRange):
    """A whole number in a range; messages about a wrong value call it that."""

    name = "whole number"


class _Format(click.Choice[str]):
    """A choice for ``-o``. Of ``-o=json`` click hands on ``=json``, so the ``=`` is dropped here."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the format without the ``=``."""
        return super().convert(value.removeprefix("="), param, ctx)


def output(*formats: str) -> tuple[click.Option, ...]:
    """Return ``-o/--output`` with these formats, the first being the default, and the options on how to print."""
    return (
        click.Option(("-o", "--output", "format"), type=_Format(formats), default=formats[0], show_default=True),
        flag("--no-color", text="No colours. NO_COLOR in the environment does the same."),
        flag("-v", "--verbose", text="Show every row instead of folding; say more on stderr."),
        flag("-q", "--quiet", text="Only the result; no notes on stderr."),
    )


def hoisted() -> tuple[click.Option, ...]:
    """Return the options that may stand before the command."""
    return files(), *selection(), *service(), *output("text", "json", "markdown")
