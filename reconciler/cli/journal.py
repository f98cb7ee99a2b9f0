"""``reconciler history``, ``halt list`` and ``journal``: show a journal, export it, import an export; offline."""

from __future__ import annotations

import os
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING

from reconciler.cli.options import JournalOptions, Options, RecordOptions
from reconciler.cli.service import base_url_of
from reconciler.cli.writing import origin_of, this_process
from reconciler.core.errors import ExitReason, NotExpected, ReconcilerError
from reconciler.core.text import plural
from reconciler.render.ending import Ending, View
from reconciler.render.history import history_document, history_page, runs_page

if TYPE_CHECKING:
    from reconciler.apply.journalcarry import Export
    from reconciler.render.ending import Found


class HistoryOptions(Options, frozen=True, kw_only=True):
    """The options of ``history``; ``run`` is the number of a run, to show only that one."""

    journal: JournalOptions = JournalOptions()
    run: int | None = None
    targets: tuple[str, ...] = ()


def history(options: HistoryOptions, found: Found) -> Ending:
    """Read the journal and show its runs."""
    from reconciler.apply.journalreads import read_runs
    from reconciler.core.model import PortfolioId

    path, whom = options.journal.journal_place, " or ".join(options.targets)
    runs = read_runs(path, run=options.run, portfolios=tuple(PortfolioId(target) for target in options.targets))
    if options.run is not None and not runs:
        what = f" with a write to {whom}" if whom else ""
        raise ReconcilerError(
            f"the journal {path} has no run {options.run}{what}", "`reconciler history` lists the runs."
        )
    empty = f"The journal {path} has no {f'write to {whom}' if whom else 'run'} yet."
    if runs is None:
        empty = f"There is no journal {path}: no apply has written one yet."
    detailed = options.run is not None or bool(options.targets)
    shown = runs or ()
    body = {"journal": str(path), "exists": runs is not None, "runs": history_document(shown, with_writes=detailed)}
    view = View(
        page=lambda: runs_page(shown) if shown and detailed else history_page(shown, empty=empty),
        body=body,
    )
    return Ending(reason=ExitReason.OK, found=found, view=view)


class ExportOptions(Options, frozen=True, kw_only=True):
    """The options of ``journal export``; without a file it goes to stdout."""

    records: RecordOptions = RecordOptions()
    file: str | None = None
    account: str | None = None


def export_journal(options: ExportOptions, found: Found) -> Ending:
    """Write what the journal knows of one service."""
    from reconciler.apply.journalcarry import EXPORT_FORMAT, format_export, read_export
    from reconciler.apply.journalreads import services_of
    from reconciler.cli.savefile import save

    path, label = options.records.journal_place, label_of(options.records)
    export = read_export(path, base_url=label, account=options.account, now_ms=time_ns() // 1_000_000)
    if export is None:
        raise ReconcilerError(f"there is no journal {path}", "Name it with --journal. An apply makes one.")
    if not export.remembered:
        others = sorted({url for url, _ in services_of(path)} - {label})
        more = f"; it knows {', '.join(others)}" if others else ""
        options.output.warn(f"the journal {path} knows nothing of {_whose(export)}{more}")
    text = format_export(export)
    if options.file is not None:
        save(options.file, text, what="export", begins=EXPORT_FORMAT.begins, largest=EXPORT_FORMAT.largest)
        count = plural(len(export.remembered), "record")
        options.output.note(f"Exported {count} of {_whose(export)} to {options.file}")
    _warn_of_halts(options, label)
    return Ending(reason=ExitReason.OK, found=found, view=View(shown=text if options.file is None else ""))


def _warn_of_halts(options: ExportOptions, label: str) -> None:
    """Say which halts hold: an export has none, and where their files are missing, nothing would hold what they do."""
    from reconciler.apply.journalreads import read_halts
    from reconciler.cli.haltfiles import path_of

    halts = read_halts(options.records.journal_place, base_url=label)
    for halt in (one for one in halts if one.lifted_ms is None):
        options.output.warn(f"the export has no halts, and the {halt.words} holds: take {path_of(halt.id)} along")


class ImportJournalOptions(Options, frozen=True, kw_only=True):
    """The options of ``journal import``: the file of an export, and the journal that it goes into."""

    file: str
    records: RecordOptions = RecordOptions()


def import_journal(options: ImportJournalOptions, found: Found) -> Ending:
    """Bring an export into the journal of the same service and account."""
    from reconciler.apply.journalcarry import import_export
    from reconciler.cli.journalplace import prepare_place

    export, label = _read(options.file), label_of(options.records)
    if export.base_url != label:
        raise NotExpected(
            f"the export is from {export.base_url}, not from {label}",
            "Nothing was imported. Name its service with --base-url or --sandbox.",
        )
    path = options.records.journal_place
    prepare_place(path)
    taken = import_export(
        path,
        export,
        now_ms=lambda: time_ns() // 1_000_000,
        process=this_process(),
        origin=origin_of(os.environ),
    )
    if taken.taken and not options.output.is_json:
        options.output.note(
            f"note: {plural(taken.taken, 'record')} of {_whose(export)} count only while Glider still shows the "
            "token, due time or schedule id"
        )
    text = f"Import: {taken.taken} taken over, {taken.known} known already, {taken.newer_here} known better here.\n"
    counts = {"taken": taken.taken, "known": taken.known, "newer_here": taken.newer_here}
    body = {"journal": str(path), "base_url": export.base_url, "account": export.account, "summary": counts}
    return Ending(reason=ExitReason.OK, found=found, view=View(shown=text, body=body))


class HaltListOptions(Options, frozen=True, kw_only=True):
    """The options of ``halt list``."""

    records: RecordOptions = RecordOptions()


def list_halts(options: HaltListOptions, found: Found) -> Ending:
    """Show every halt that the journal or a file knows, the newest first."""
    from reconciler.apply.journalreads import read_halts
    from reconciler.cli.haltfiles import halt_document, read_what_can_be
    from reconciler.core.halt import UNREAD
    from reconciler.render.history import halts_page

    service = label_of(options.records)
    readable, unread = read_what_can_be(service)
    filed = {one.id: one for one in readable}
    kept = {one.id: one for one in read_halts(options.records.journal_place, base_url=service)}
    # If the journal or the file says that a halt holds, it holds.
    holding = {i: one for i, one in (*filed.items(), *kept.items()) if one.lifted_ms is None}
    shown = sorted((kept | filed | holding).values(), key=lambda one: (-one.at_ms, one.id))
    body = {"halts": [{**halt_document(one), "has_file": one.id in filed} for one in shown]}
    return Ending(
        reason=ExitReason.INVALID if unread else ExitReason.OK,
        found=found,
        view=View(page=lambda: halts_page(shown, filed), body=body),
        errors=tuple(f"{one.summary}, so a halt may be missing here; {UNREAD}" for one in unread),
    )


def label_of(options: RecordOptions) -> str:
    """Return the name of the service in the journal."""
    if options.sandbox is None:
        return base_url_of(options)
    from contextlib import closing

    from reconciler.sandbox import Store

    with closing(Store.open(Path(options.sandbox))) as store:
        return f"sandbox://{store.instance}"


def _read(file: str) -> Export:
    """Read an export. Raises :class:`~reconciler.core.errors.ExportInvalid`."""
    from reconciler.apply.journalcarry import EXPORT_FORMAT, parse_export
    from reconciler.config.files import load_saved

    return load_saved(file, EXPORT_FORMAT, parse_export)


def _whose(export: Export) -> str:
    return export.base_url if export.account is None else f"{export.base_url}, account {export.account}"
