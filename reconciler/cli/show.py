"""``reconciler show``: a saved plan, as plan showed it, or its difference from another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.plan import show_plan
from reconciler.cli.wiring import make_output

if TYPE_CHECKING:
    from reconciler.cli.output import Output
    from reconciler.core.errors import ExitReason
    from reconciler.core.plan import Plan

HELP = """Show a saved plan, after checking that nobody edited it.

With --against, shows what appeared, vanished and changed since OTHER, portfolio by portfolio: what the plans would do
and from where, not when they were made.

\b
  reconciler show plan.json
  reconciler show plan.json -o markdown
  reconciler show plan.json --against approved.json
"""


@click.command(help=HELP)
@click.argument("file", metavar="FILE")
@click.option("--against", metavar="OTHER", help="Show the difference from this earlier plan.")
@shared.output("text", "json", "markdown")
def show(**options: Any) -> ExitReason:
    """Show a saved plan."""
    from reconciler.core.errors import ExitReason

    output = make_output(options)
    plan = load_plan(options["file"])
    if options["against"] is None:
        show_plan(plan, output, ExitReason.OK)
    else:
        _show_comparison(plan, load_plan(options["against"]), output)
    return ExitReason.OK


def load_plan(file: str) -> Plan:
    """Read a saved plan. Raises :class:`~reconciler.core.errors.PlanInvalid`."""
    from reconciler.config.files import read_saved
    from reconciler.core.planfile import PLAN_FORMAT, parse_plan

    return parse_plan(read_saved(file, PLAN_FORMAT))


def _show_comparison(plan: Plan, earlier: Plan, output: Output) -> None:
    from reconciler.core.diff import compare_plans
    from reconciler.core.errors import ExitReason
    from reconciler.render.comparison import comparison_document, comparison_markdown, comparison_text

    comparison = compare_plans(earlier=earlier, later=plan)
    if plan.base_url != earlier.base_url:
        output.warn(f"the plans are of two services: {earlier.base_url} and {plan.base_url}")
    match output.format:
        case "json":
            from reconciler.render.json import document_json

            output.data(document_json(ExitReason.OK, comparison_document(comparison, earlier=earlier, later=plan)))
        case "markdown":
            output.data(comparison_markdown(comparison))
        case _:
            output.data(comparison_text(comparison, output.style))
