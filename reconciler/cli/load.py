"""``reconciler load``: who runs when, from what is live, from a live file, or before and after a saved plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.cli.files import load_files
from reconciler.cli.options import FileOptions, Options, SelectionOptions, ServiceOptions
from reconciler.cli.progress import read_shown
from reconciler.cli.service import memory_of, open_service, run_async, shared_reason
from reconciler.core.errors import ExitReason, PlanInvalid, UsageError
from reconciler.core.fleet import select
from reconciler.core.text import HOUR_MS, parse_duration
from reconciler.render.ending import Ending, PageView
from reconciler.render.json import document_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.config.load import Configuration
    from reconciler.core.fleet import Fleet
    from reconciler.core.model import Address, Desired, PortfolioId
    from reconciler.core.ports import Memory
    from reconciler.render.ending import Found

MOST_HOURS: Final = 7 * 24
"""How far ahead is looked: after a week all but rare schedules have repeated."""


class LoadOptions(Options, frozen=True, kw_only=True):
    """The options of ``load``. ``plan_file`` is a saved plan, ``live`` are live files; without either, live is read.

    ``by`` is ``group`` or the key of a label.
    """

    plan_file: str | None = None
    files: FileOptions = FileOptions()
    selection: SelectionOptions = SelectionOptions()
    service: ServiceOptions = ServiceOptions()
    live: tuple[str, ...] = ()
    next: str | None = None
    by: str | None = None


def show_load(options: LoadOptions, found: Found) -> Ending:
    """Show the runs of the next hours."""
    from reconciler.render.load import plan_load_document, plan_load_page

    if options.plan_file is None:
        return _of_fleet(options, found)
    if (options.files, options.selection, options.service, options.live, options.next, options.by) != _NOTHING:
        raise UsageError("A saved plan tells its own load, of 24 hours: drop the other options.")
    from reconciler.cli.plan import load_plan

    plan = load_plan(options.plan_file)
    if (change := plan.load) is None:
        raise PlanInvalid("the plan changes nothing, so it has no load", "`reconciler load` shows what is live.")
    view = PageView(
        page=lambda: plan_load_page(change),
        document=lambda reason: document_json(reason, {"base_url": plan.base_url, **plan_load_document(change)}),
    )
    return Ending(reason=ExitReason.OK, found=found, view=view)


_NOTHING: Final = (FileOptions(), SelectionOptions(), ServiceOptions(), (), None, None)


def _of_fleet(options: LoadOptions, found: Found) -> Ending:
    hours = _hours(options.next) if options.next is not None else 24
    configuration = load_files(options.files)
    desired = select(configuration.desired, options.selection.selection, configuration.strategies)
    if options.live:
        from reconciler.cli.offline import load_joined, saved_memory

        saved = load_joined(options.service, options.live)
        fleet = saved.fleet_of(desired, whole=options.selection.selection.everything)
        memory = saved_memory(options.service, saved)
        at_ms, read_ms = saved.as_of_ms, saved.read_ms
        return _shown(options, found, desired, fleet, memory, at_ms, saved.base_url, hours=hours, read_ms=read_ms)

    async def work() -> Ending:
        return await _read(options, found, configuration, desired, hours=hours)

    return run_async(work)


async def _read(
    options: LoadOptions,
    found: Found,
    configuration: Configuration,
    desired: Mapping[PortfolioId, Desired],
    *,
    hours: int,
) -> Ending:
    async with open_service(
        options.service, configuration.paths, desired.values(), expect=configuration.expect
    ) as service:
        memory = memory_of(options.service, service)
        chosen = options.selection.selection
        fleet = await read_shown(service, desired, chosen, options.output, options.service.parallelism)
        options.output.notes(service.notes)
        return _shown(options, found, desired, fleet, memory, service.api.service_ms(), service.label, hours=hours)


def _shown(
    options: LoadOptions,
    found: Found,
    desired: Mapping[PortfolioId, Desired],
    fleet: Fleet,
    memory: Memory,
    now_ms: int,
    base_url: str,
    *,
    hours: int,
    read_ms: Mapping[Address, int] | None = None,
) -> Ending:
    """Return the ending; portfolios that could not be read make it an error, as in ``status``."""
    from reconciler.core.evidence import believed
    from reconciler.core.load import by_word, live_runs, load_of
    from reconciler.render.load import load_document, load_page

    live = {i: fleet.live[i] for i in desired}
    records, _ = believed(memory, live, now_ms=now_ms, read_ms=read_ms or {})
    runs = live_runs(live, records)
    whole = load_of(runs.values(), from_ms=now_ms, hours=hours)
    parts = by_word(runs, desired, options.by, from_ms=now_ms, hours=hours) if options.by is not None else {}
    unread = sum(not one.status.was_seen for one in live.values())
    body = {"base_url": base_url, **load_document(whole, parts, by=options.by, unread=unread)}
    return Ending(
        reason=shared_reason([one.failure for one in live.values() if one.failure is not None]),
        found=found,
        view=PageView(
            page=lambda: load_page(whole, parts, by=options.by, unread=unread),
            document=lambda reason: document_json(reason, body),
        ),
    )


def _hours(text: str) -> int:
    """Return the whole hours of ``--next``. Raises :class:`~reconciler.core.errors.UsageError`."""
    try:
        hours = -(-parse_duration(text) // HOUR_MS)
    except ValueError as error:
        raise UsageError(f"Invalid value for --next: {error}; write a duration such as 24h.") from error
    if not 1 <= hours <= MOST_HOURS:
        raise UsageError("Invalid value for --next: write 1h to 7d.")
    return hours
