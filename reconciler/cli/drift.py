"""``reconciler drift``: what live automation has that the files do not; nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.planning import make_plan, show_warnings, unverified
from reconciler.cli.service import open_service, run_async
from reconciler.cli.wiring import load_files, make_output
from reconciler.core.report import blocked_text

if TYPE_CHECKING:
    from reconciler.cli.output import Output
    from reconciler.core.errors import ExitReason
    from reconciler.core.plan import Plan

HELP = """Show where live automation is not as declared, and do nothing.

\b
  moved       it was as declared after our last write, and is not any more; or it follows another strategy than declared
  pending     it differs, and the journal does not say that it ever was as declared
  unverified  it can't be known whether it differs
  held        declared active, but paused by somebody else

Exits 2 when there is any of these, so a nightly job can tell; errors exit as plan does, and win over 2.

\b
  reconciler drift
  reconciler drift --select group=mainnet -o markdown
  reconciler drift --unverified skip               only what is known to differ
"""


@click.command(help=HELP)
@shared.files
@shared.selection
@unverified
@shared.service
@shared.output("text", "json", "markdown")
def drift(**options: Any) -> ExitReason:
    """Read and compare, in the words of somebody who looks for what moved."""
    output = make_output(options)
    configuration = load_files(options["sources"])
    show_warnings(configuration, output)
    warn_of_journal(options, configuration, output)

    async def work() -> ExitReason:
        from reconciler.core.report import drift_exit_reason

        # The files are their own base: what differs is no branch's doing, and the journal tells drift from pending.
        async with open_service(
            options, configuration.paths, configuration.desired.values(), expect=configuration.expect
        ) as service:
            decided = {**options, "resume_held": (), "again": ()}
            found = await make_plan(decided, configuration, service, output, base=configuration)
        reason = drift_exit_reason(found)
        _show(found, output, reason)
        return reason

    ended: ExitReason = run_async(work)
    return ended


def _show(found: Plan, output: Output, reason: ExitReason) -> None:
    match output.format:
        case "json":
            from reconciler.core.planfile import format_plan

            output.data(format_plan(found, reason))
        case "markdown":
            from reconciler.render.drift import drift_markdown

            output.data(drift_markdown(found))
        case _:
            from reconciler.render.drift import drift_text

            output.data(drift_text(found, output.style))
    if blocked := blocked_text(found):
        output.error(f"{blocked} blocked, for the reasons shown")
