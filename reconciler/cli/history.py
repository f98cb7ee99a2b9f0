"""``reconciler history``: what earlier applies wrote, from the journal, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.wiring import make_output

if TYPE_CHECKING:
    from reconciler.core.errors import ExitReason

HELP = """Show earlier applies and rebalances from the journal, newest first.

Offline and read-only, also while an apply runs. With --run, the writes of one apply in their order: confirmed by the
answer, seen by a read, unseen (a read proved that it had no effect), failed, unknown, or open. Times are UTC.

\b
  reconciler history
  reconciler history --run 12
  reconciler history --target ao04x0r6 -o json
"""


@click.command(help=HELP)
@click.option("--run", "number", type=click.IntRange(1, 2**63 - 1), metavar="N", help="The writes of this run.")
@click.option("--target", "targets", multiple=True, metavar="ID", help="Only writes to this portfolio. Repeatable.")
@click.option(
    "--journal", default=shared.DEFAULT_JOURNAL, show_default=True, metavar="PATH", help="The journal to read."
)
@shared.output("text", "json")
def history(**options: Any) -> ExitReason:
    """Read the journal and show it."""
    from reconciler.apply.journal import read_runs
    from reconciler.core.errors import ExitReason, ReconcilerError
    from reconciler.core.model import PortfolioId

    output = make_output(options)
    path, number = Path(options["journal"]), options["number"]
    targets = tuple(PortfolioId(target) for target in options["targets"])
    runs = read_runs(path, run=number, portfolios=targets)
    if number is not None and not runs:
        what = f" with a write to {' or '.join(targets)}" if targets else ""
        raise ReconcilerError(f"the journal {path} has no run {number}{what}", "`reconciler history` lists the runs.")
    if output.is_json:
        from reconciler.render.history import history_document
        from reconciler.render.json import document_json

        shown = history_document(runs or (), with_writes=number is not None or bool(targets))
        output.data(document_json(ExitReason.OK, {"journal": str(path), "exists": runs is not None, "runs": shown}))
    elif runs is None:
        output.data(f"There is no journal {path}: no apply has written one yet.\n")
    elif not runs:
        where = f" to {' or '.join(targets)}" if targets else ""
        output.data(f"The journal {path} has no {'write' if targets else 'run'}{where} yet.\n")
    else:
        from reconciler.render.history import history_text, run_text

        one = number is not None or len(targets) > 0
        output.data("\n".join(run_text(r, output.style) for r in runs) if one else history_text(runs, output.style))
    return ExitReason.OK
