"""``reconciler status``: live automation as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.service import open_service, records_of, run_async
from reconciler.cli.wiring import load_files, make_output, make_selection

if TYPE_CHECKING:
    from reconciler.core.errors import ExitReason

HELP = """Show live automation of the declared portfolios: state, schedule, next and last run, pause reason.

The schedule names how it is known: nothing behind it when Glider returned it, (recorded) at our last write,
(observed) from run times, ? when it can't be known. Exits 1 when a portfolio could not be read.

\b
  reconciler status
  reconciler status --target ao04x0r6 -o json
"""


@click.command(help=HELP)
@shared.files
@shared.selection
@shared.service
@shared.output("text", "json")
def status(**options: Any) -> ExitReason:
    """Read and show."""
    output = make_output(options)
    configuration = load_files(options["sources"])

    async def work() -> ExitReason:
        from reconciler.api.read import read_all
        from reconciler.cli.progress import ReadProgress, bar
        from reconciler.core.errors import ExitReason, exit_reason_of
        from reconciler.core.selection import select
        from reconciler.render.status import StatusRow, status_rows_document, status_text

        desired = select(configuration.desired, make_selection(options))
        async with open_service(options, configuration.paths) as service:
            with bar(output, "Reading", len(desired)) as shown:
                live = await read_all(
                    service.api, desired, parallelism=options["parallelism"], observer=ReadProgress(shown)
                )
        records = records_of(options, service.label)
        rows = [StatusRow(desired=d, live=live[i], record=records.get(i)) for i, d in desired.items()]
        failed = {exit_reason_of(row.live.failure.kind) for row in rows if row.live.failure}
        reason = ExitReason.OK if not failed else failed.pop() if len(failed) == 1 else ExitReason.ERROR
        if output.is_json:
            from reconciler.render.json import document_json

            body = {"base_url": service.label, "portfolios": status_rows_document(rows)}
            output.data(document_json(reason, body))
        else:
            output.data(status_text(rows, output.style))
        return reason

    ended: ExitReason = run_async(work)
    return ended
