"""``reconciler load`` and ``reconciler report``: who runs when, as bars, and the whole fleet as one HTML page.

In: options, and what is live, live files, or a saved plan. Out: the ending of the command; ``report`` writes its page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.cli.files import load_told
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.offline import saved_reads
from reconciler.cli.options import PlanningOptions, duration_of
from reconciler.cli.plan import load_plan
from reconciler.cli.planning import look, plan_of, policy_of, read_live, selected
from reconciler.cli.savefile import require_place, save
from reconciler.cli.service import open_service, run_async, shared_reason
from reconciler.cli.writing import kept_results
from reconciler.core.errors import ExitReason, PlanInvalid, UsageError
from reconciler.core.fleet import require_key
from reconciler.core.text import HOUR_MS, plural
from reconciler.render.ending import Ending, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.planning import Reads
    from reconciler.config.load import Configuration
    from reconciler.core.model import Desired, Live, PortfolioId, Record
    from reconciler.core.plan import Plan
    from reconciler.render.ending import Found

MOST_HOURS: Final = 7 * 24
"""How far ahead is looked: after a week all but rare schedules have repeated."""


class SeenOptions(PlanningOptions, frozen=True, kw_only=True):
    """What the two commands have in common: ``live`` are live files; without any, live is read."""

    live: tuple[str, ...] = ()


class LoadOptions(SeenOptions, frozen=True, kw_only=True):
    """The options of ``load``. ``plan_file`` is a saved plan, which tells its own load.

    ``by`` is ``group`` or the key of a label.
    """

    plan_file: str | None = None
    next: str | None = None
    by: str | None = None


def show_load(options: LoadOptions, found: Found) -> Ending:
    """Show the runs of the next hours; portfolios that could not be read make it an error, as in ``status``."""
    from reconciler.core.load import by_word, live_runs, load_of
    from reconciler.render.load import load_document, load_page

    if options.plan_file is not None:
        return _of_plan(options, options.plan_file, found)
    hours = _hours(options.next) if options.next is not None else 24
    configuration = load_told(options.files, options.output, found)
    desired = selected(options, configuration)
    if (by := options.by) is not None:
        require_key("--by", by, desired.values())
    reads = _reads(options, configuration, desired)
    live, records = _believed(reads, desired)
    runs = live_runs(live, records)
    whole = load_of(runs.values(), from_ms=reads.now_ms, hours=hours)
    parts = by_word(runs, desired, by, from_ms=reads.now_ms, hours=hours) if by is not None else {}
    unread = sum(not one.status.was_seen for one in live.values())
    body = {"base_url": reads.base_url, **load_document(whole, parts, by=by, unread=unread)}
    return Ending(
        reason=_reason(live),
        found=found,
        view=View(
            page=lambda: load_page(whole, parts, by=by, unread=unread),
            body=body,
        ),
    )


def _of_plan(options: LoadOptions, plan_file: str, found: Found) -> Ending:
    """Show the load of a saved plan, before and after it."""
    from reconciler.render.load import plan_load_document, plan_load_page

    if options != LoadOptions(plan_file=plan_file, output=options.output):
        raise UsageError("A saved plan tells its own load, of 24 hours: drop the other options.")
    plan = load_plan(plan_file)
    if (change := plan.load) is None:
        raise PlanInvalid("the plan changes nothing, so it has no load", "`reconciler load` shows what is live.")
    view = View(
        page=lambda: plan_load_page(change),
        body=lambda: {"base_url": plan.base_url, **plan_load_document(change)},
    )
    return Ending(reason=ExitReason.OK, found=found, view=view)


def _hours(text: str) -> int:
    """Return the whole hours of ``--next``. Raises :class:`~reconciler.core.errors.UsageError`."""
    hours = -(-duration_of("--next", text, such_as="24h") // HOUR_MS)
    if not 1 <= hours <= MOST_HOURS:
        raise UsageError("Invalid value for --next: write 1h to 7d.")
    return hours


class ReportOptions(SeenOptions, frozen=True, kw_only=True):
    """The options of ``report``. ``out`` is the page, ``plan`` a saved plan to tell of in place of one made now."""

    out: str | None = None
    plan: str | None = None


def write_report(options: ReportOptions, found: Found) -> Ending:
    """Look, plan, and write the page; portfolios that could not be read make it an error, as in ``status``."""
    from reconciler.render.report import REPORT_BEGINS, FleetReport, report_html

    if options.out is None:
        raise UsageError("Name the page with --out.", "As in `reconciler report --out fleet.html`.")
    require_place(options.out, what="report", begins=REPORT_BEGINS)
    saved = load_plan(options.plan) if options.plan is not None else None
    configuration = load_told(options.files, options.output, found)
    desired = selected(options, configuration)
    reads = _reads(options, configuration, desired, strategies=True)
    live, records = _believed(reads, desired)
    report = FleetReport(
        plan=_saved_plan(saved, reads, desired)
        if saved is not None
        else plan_of(options, configuration, desired, policy_of(options, desired), reads),
        desired=desired,
        live=live,
        records=records,
        results=kept_results(options.service, reads.base_url, reads.account),
        now_ms=reads.now_ms,
    )
    save(options.out, report_html(report), what="report", begins=REPORT_BEGINS)
    needing = len(report.needs)
    told = f"Saved to {options.out}: {plural(len(desired), 'portfolio')}; what needs a person: {needing}."
    body = {"out": options.out, "portfolios": len(desired), "needs": needing}
    return Ending(reason=_reason(live), found=found, view=View(shown=f"{told}\n", body=body))


def _saved_plan(plan: Plan, reads: Reads, desired: Mapping[PortfolioId, Desired]) -> Plan:
    """Return a saved plan, if it is about what was read. Raises as ``require_service`` and ``require_account`` do, and
    :class:`~reconciler.core.errors.UsageError` for a portfolio that is not among the selected ones."""
    from reconciler.core.planfile import require_account, require_service

    require_service(plan, reads.base_url)
    if reads.account is not None:
        require_account(plan, reads.account)
    if other := next((change.id for change in plan.portfolios if change.id not in desired), None):
        raise UsageError(f"the plan changes {other}, which is not among the selected portfolios of these files.")
    return plan


def _reads(
    options: SeenOptions,
    configuration: Configuration,
    desired: Mapping[PortfolioId, Desired],
    *,
    strategies: bool = False,
) -> Reads:
    """Return what is live of these portfolios, from live files or read now; with ``strategies`` what a plan needs."""
    if options.live:
        return saved_reads(options, options.live, configuration, desired)
    warn_of_journal(options.service, configuration, options.output)

    async def work() -> Reads:
        async with open_service(
            options.service, configuration.paths, configuration.desired.values(), expect=configuration.expect
        ) as service:
            if strategies:
                reads = await look(options, configuration, service, desired)
            else:
                reads = await read_live(options, service, desired, shows_only=True)
            options.output.notes(service.notes)
            return reads

    return run_async(work)


def _believed(
    reads: Reads, desired: Mapping[PortfolioId, Desired]
) -> tuple[Mapping[PortfolioId, Live], Mapping[PortfolioId, Record]]:
    """Return what is live of these portfolios, and the records of them that are believed."""
    from reconciler.core.evidence import believed

    live = {i: reads.fleet.live[i] for i in desired}
    return live, believed(reads.memory, live, now_ms=reads.now_ms, read_ms=reads.read_ms)[0]


def _reason(live: Mapping[PortfolioId, Live]) -> ExitReason:
    return shared_reason([one.failure for one in live.values() if one.failure is not None])
