"""``reconciler journal``: carry what was confirmed from one journal to another, offline."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.options import DEFAULT_BASE_URL, DEFAULT_JOURNAL, DEFAULT_SANDBOX
from reconciler.cli.wiring import make_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.apply.journalcarry import Export
    from reconciler.core.errors import ExitReason

HELP = """Carry what was confirmed from one journal to another.

The journal is the only proof of whose pause it is where Glider keeps no reason. Export it after an apply, and import
the export where the journal was lost. Needs no key, and asks no service.

\b
  reconciler journal export journal.json
  reconciler journal import journal.json
"""
EXPORT_HELP = """Write what the journal knows of one service to FILE as JSON, or to standard output.

\b
  reconciler journal export journal.json
  reconciler journal export --account Acme journal.json
"""
IMPORT_HELP = """Bring an export into the journal of the same service and account.

What this journal knows better stays: a newer record, or a later write of its own. What is imported counts only where
Glider still shows the very token, due time or schedule id that it names.

\b
  reconciler journal import journal.json
"""


def _service(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a journal and a service."""
    command = click.option(
        "--journal", default=DEFAULT_JOURNAL, show_default=True, metavar="PATH", help="The journal."
    )(command)
    command = click.option(
        "--sandbox",
        is_flag=False,
        flag_value=DEFAULT_SANDBOX,
        default=None,
        metavar="[FILE]",
        help=f"What is known of the embedded Glider in FILE [{DEFAULT_SANDBOX}].",
    )(command)
    return click.option(
        "--base-url",
        envvar="GLIDER_BASE_URL",
        default=DEFAULT_BASE_URL,
        show_default=True,
        metavar="URL",
        help="What is known of this service. It is not asked.",
    )(command)


@click.group(help=HELP)
def journal() -> None:
    """Hold the commands."""


@journal.command(name="export", help=EXPORT_HELP)
@click.argument("file", metavar="[FILE]", required=False)
@_service
@click.option("--account", metavar="NAME", help="The account, where the journal knows several.")
def export_(file: str | None, **options: Any) -> ExitReason:
    """Read the journal and write the export."""
    from reconciler.apply.journalcarry import format_export, read_export
    from reconciler.apply.journalfile import services_of
    from reconciler.cli.output import Output
    from reconciler.cli.savefile import save
    from reconciler.core.errors import ExitReason, ReconcilerError
    from reconciler.core.text import plural

    output = Output(format="text")
    path, label = Path(options["journal"]), _label(options)
    found = read_export(path, base_url=label, account=options["account"], now_ms=time_ns() // 1_000_000)
    if found is None:
        raise ReconcilerError(f"there is no journal {path}", "Name it with --journal. An apply makes one.")
    if not found.remembered:
        others = sorted({url for url, _ in services_of(path)} - {label})
        more = f"; it knows {', '.join(others)}" if others else ""
        output.warn(f"the journal {path} knows nothing of {_whose(found)}{more}")
    if file is None:
        output.data(format_export(found))
    else:
        save(file, format_export(found), what="export")
        output.note(f"Exported {plural(len(found.remembered), 'record')} of {_whose(found)} to {file}")
    return ExitReason.OK


@journal.command(name="import", help=IMPORT_HELP)
@click.argument("file", metavar="FILE")
@_service
@shared.output("text", "json")
def import_(file: str, **options: Any) -> ExitReason:
    """Read the export and bring it in."""
    from reconciler.apply.journalcarry import import_export
    from reconciler.cli.journalplace import make_folder, require_untracked
    from reconciler.core.errors import ExitReason, NotExpected
    from reconciler.core.text import plural

    output = make_output(options)
    found, label = _read(file), _label(options)
    if found.base_url != label:
        raise NotExpected(
            f"the export is of {found.base_url}, not of {label}",
            "Nothing was imported. Name its service with --base-url or --sandbox.",
        )
    path = Path(options["journal"])
    require_untracked(path)
    make_folder(path)
    taken = import_export(
        path,
        found,
        now_ms=lambda: time_ns() // 1_000_000,
        process=f"process {os.getpid()} on {platform.node()}",
    )
    if output.is_json:
        from reconciler.render.json import document_json

        counts = {"taken": taken.taken, "known": taken.known, "newer_here": taken.newer_here}
        named = {"journal": str(path), "base_url": found.base_url, "account": found.account}
        output.data(document_json(ExitReason.OK, {**named, "summary": counts}))
    else:
        output.data(
            f"Import: {taken.taken} taken over, {taken.known} known already, {taken.newer_here} known better here.\n"
        )
        if taken.taken:
            output.note(
                f"note: {plural(taken.taken, 'record')} of {_whose(found)} count only where Glider still shows the "
                "token, due time or schedule id"
            )
    return ExitReason.OK


def _label(options: Mapping[str, Any]) -> str:
    """Return the name of the service in the journal."""
    if options["sandbox"] is not None:
        from contextlib import closing

        from reconciler.sandbox import Store

        with closing(Store.open(Path(options["sandbox"]))) as store:
            return f"sandbox://{store.instance}"
    from reconciler.core.endpoint import checked_base_url

    return checked_base_url(options["base_url"])


def _read(file: str) -> Export:
    """Read an export. Raises :class:`~reconciler.core.errors.ExportInvalid`."""
    from reconciler.apply.journalcarry import EXPORT_FORMAT, parse_export
    from reconciler.config.files import read_saved

    return parse_export(read_saved(file, EXPORT_FORMAT))


def _whose(export: Export) -> str:
    return export.base_url if export.account is None else f"{export.base_url}, account {export.account}"
