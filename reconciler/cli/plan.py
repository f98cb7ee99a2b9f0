"""``reconciler plan``: read, diff, show; nothing is written but ``--out``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import click

from reconciler.cli import options as shared
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.offline import plan_offline
from reconciler.cli.planning import make_plan, policy, show_warnings
from reconciler.cli.savefile import save
from reconciler.cli.service import open_service, run_async
from reconciler.cli.wiring import load_base, load_files, make_output
from reconciler.core.fleet import Listing
from reconciler.core.report import blocked_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.output import Output
    from reconciler.core.errors import ExitReason
    from reconciler.core.plan import Plan

HELP = """Show what apply would do, and do nothing.

Reads the live status of every declared portfolio and shows the difference: + start, > resume, ~ update, = pause,
! held (paused by somebody else), x blocked. A value with ? can't be read from Glider and is written once.

\b
  reconciler plan                                  from automation.yaml or automation/
  reconciler plan -f fleet/ --select group=mainnet
  reconciler plan --out plan.json                  save it; apply plan.json runs exactly this
  reconciler plan --base origin/main               tell changes of this branch from drift
  reconciler plan -o markdown                      for a comment
  reconciler plan --live live.json                 without a key, from what status --out saved
  reconciler plan --sandbox                        against the embedded Glider
"""


@click.command(help=HELP)
@shared.files
@shared.selection
@policy
@click.option("--out", "out", metavar="FILE", help="Save the plan as JSON for apply.")
@click.option("--base", metavar="REF", help="Compare with the files at this Git revision: name each change's cause.")
@click.option("--live", metavar="FILE", help="Plan from a file of `status --out`, offline; can't be applied.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option(
    "--fail-on",
    type=click.Choice(["unmanaged", "held"]),
    multiple=True,
    help="Exit 1 when portfolios are live that no file declares (or that can't be known), or when any is held.",
)
@shared.service
@shared.output("text", "json", "markdown")
def plan(**options: Any) -> ExitReason:
    """Make and show a plan."""
    output = make_output(options)
    configuration = load_files(options["sources"])
    show_warnings(configuration, output)
    base = load_base(options["sources"], options["base"]) if options["base"] is not None else None

    if options["live"] is not None:
        return _show_and_save(plan_offline(options, configuration, base=base), options, output)
    warn_of_journal(options, configuration, output)

    async def work() -> Plan:
        async with open_service(
            options, configuration.paths, configuration.desired.values(), expect=configuration.expect
        ) as service:
            return await make_plan(options, configuration, service, output, base=base)

    return _show_and_save(run_async(work), options, output)


def _show_and_save(made: Plan, options: Mapping[str, Any], output: Output) -> ExitReason:
    from reconciler.core.errors import ExitReason
    from reconciler.core.planfile import format_plan
    from reconciler.core.report import FailOn, conditions_met, plan_exit_reason

    reason = plan_exit_reason(made, detailed=options["detailed_exitcode"])
    met = conditions_met(made, (FailOn(word) for word in options["fail_on"]), looked_for_drift=False)
    if met and reason in (ExitReason.OK, ExitReason.CHANGES):
        reason = ExitReason.ERROR
    if out := options["out"]:
        save(out, format_plan(made, reason), what="plan")
        use = (
            f"run it with: reconciler apply {out}" if made.as_of_ms is None else f"show it with: reconciler show {out}"
        )
        output.note(f"Saved to {out}; {use}")
    show_plan(made, output, reason)
    for condition in met:
        output.error(f"--fail-on {condition.value}: {condition.sentence}{_why_unknown(made)}")
    return reason


def _why_unknown(made: Plan) -> str:
    """Return why nobody knows what is unmanaged, ``""`` where that is known."""
    match made.listing:
        case Listing.COMPLETE:
            return ""
        case Listing.INCOMPLETE:
            return " (the list of v2 portfolios could not be read as a whole)"
        case Listing.NONE if not made.selection.everything:
            return " (only some portfolios are selected)"
        case Listing.NONE if made.as_of_ms is not None:
            return " (no portfolio is declared with `api: v2`, or the live file holds no list of them)"
        case Listing.NONE:
            return " (no portfolio is declared with `api: v2`, and v1 lists none)"
        case _:
            assert_never(made.listing)


def show_plan(made: Plan, output: Output, reason: ExitReason) -> None:
    """Print a plan in the format asked for."""
    match output.format:
        case "json":
            from reconciler.core.planfile import format_plan

            output.data(format_plan(made, reason))
        case "markdown":
            from reconciler.render.markdown import plan_markdown

            output.data(plan_markdown(made))
        case _:
            from reconciler.render.text import plan_text

            output.data(plan_text(made, output.style, verbose=output.verbose))
    if blocked := blocked_text(made):
        output.error(f"{blocked} blocked, for the reasons that the plan shows")
    if not output.is_json:
        for excess in made.over:
            output.warn(f"over a guard: {excess}")
        _show_advice(made, output)


def _show_advice(made: Plan, output: Output) -> None:
    """Print what the plan itself gave reason to say; what the files gave was printed when they were read."""
    from reconciler.core.advice import OF_PLANS
    from reconciler.render.text import diagnostics_text

    for warning in made.warnings:
        if warning.rule in OF_PLANS:
            output.warn(diagnostics_text([warning], output.note_style).rstrip("\n"))
