"""``reconciler report``: one HTML page of the fleet, from what is live or from a live file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.files import load_told
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.offline import saved_reads
from reconciler.cli.options import PlanningOptions
from reconciler.cli.planning import look, plan_of, policy_of, selected
from reconciler.cli.savefile import require_place, save
from reconciler.cli.service import open_service, run_async, shared_reason
from reconciler.cli.writing import kept_results
from reconciler.core.errors import UsageError
from reconciler.core.text import plural
from reconciler.render.ending import Ending, TextView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.planning import Reads
    from reconciler.config.load import Configuration
    from reconciler.core.model import Desired, PortfolioId
    from reconciler.render.ending import Found


class ReportOptions(PlanningOptions, frozen=True, kw_only=True):
    """The options of ``report``. ``out`` is the page, ``live`` are live files; without any, live is read."""

    out: str | None = None
    live: tuple[str, ...] = ()


def write_report(options: ReportOptions, found: Found) -> Ending:
    """Look, plan, and write the page; portfolios that could not be read make it an error, as in ``load``."""
    from reconciler.core.evidence import believed
    from reconciler.render.report import REPORT_BEGINS, FleetReport, report_html

    if options.out is None:
        raise UsageError("Name the page with --out.", "As in `reconciler report --out fleet.html`.")
    require_place(options.out, what="report", begins=REPORT_BEGINS)
    configuration = load_told(options.files, options.output, found)
    desired = selected(options, configuration)
    if options.live:
        reads = saved_reads(options, options.live, configuration, desired)
    else:
        reads = _read(options, configuration, desired)
    plan = plan_of(options, configuration, desired, policy_of(options, desired), reads)
    live = {i: reads.fleet.live[i] for i in desired}
    records, _ = believed(reads.memory, live, now_ms=reads.now_ms, read_ms=reads.read_ms)
    results = kept_results(options.service, reads.base_url, reads.account)
    report = FleetReport(plan=plan, desired=desired, live=live, records=records, results=results, now_ms=reads.now_ms)
    page = report_html(report)
    save(options.out, page, what="report", begins=REPORT_BEGINS)
    needing = len(report.needs)
    told = f"Saved to {options.out}: {plural(len(desired), 'portfolio')}; what needs a person: {needing}."
    return Ending(
        reason=shared_reason([one.failure for one in live.values() if one.failure is not None]),
        found=found,
        view=TextView(shown=f"{told}\n", body={"out": options.out, "portfolios": len(desired), "needs": needing}),
    )


def _read(options: ReportOptions, configuration: Configuration, desired: Mapping[PortfolioId, Desired]) -> Reads:
    warn_of_journal(options.service, configuration, options.output)

    async def work() -> Reads:
        async with open_service(
            options.service, configuration.paths, configuration.desired.values(), expect=configuration.expect
        ) as service:
            return await look(options, configuration, service, desired)

    return run_async(work)
