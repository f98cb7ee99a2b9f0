"""``reconciler plan``: read, diff, show; nothing is written but ``--out``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.planning import make_plan, policy, show_warnings
from reconciler.cli.service import open_service, run_async
from reconciler.cli.wiring import load_base, load_files, make_output
from reconciler.core.text import plural

if TYPE_CHECKING:
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
  reconciler plan --sandbox                        against the embedded Glider
"""


@click.command(help=HELP)
@shared.files
@shared.selection
@policy
@click.option("--out", "out", metavar="FILE", help="Save the plan as JSON for apply.")
@click.option("--base", metavar="REF", help="Compare with the files at this Git revision: name each change's cause.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@shared.service
@shared.output("text", "json", "markdown")
def plan(**options: Any) -> ExitReason:
    """Make and show a plan."""
    output = make_output(options)
    configuration = load_files(options["sources"])
    show_warnings(configuration, output)
    base = load_base(options["sources"], options["base"]) if options["base"] is not None else None

    async def work() -> ExitReason:
        from reconciler.core.report import plan_exit_reason

        async with open_service(options, configuration.paths) as service:
            made = await make_plan(options, configuration, service, output, base=base)
        reason = plan_exit_reason(made, detailed=options["detailed_exitcode"])
        if options["out"]:
            save_plan(made, Path(options["out"]), reason)
            output.note(f"Saved to {options['out']}; run it with: reconciler apply {options['out']}")
        show_plan(made, output, reason)
        return reason

    ended: ExitReason = run_async(work)
    return ended


def show_plan(made: Plan, output: Output, reason: ExitReason) -> None:
    """Print a plan in the format asked for."""
    match output.format:
        case "json":
            import json

            from reconciler.core.planfile import plan_document

            document = plan_document(made, reason)
            output.data(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        case "markdown":
            from reconciler.render.markdown import plan_markdown

            output.data(plan_markdown(made))
        case _:
            from reconciler.render.text import plan_text

            output.data(plan_text(made, output.style, verbose=output.verbose))
    if made.blocked:
        output.error(f"{plural(len(made.blocked), 'portfolio')} blocked, for the reasons that the plan shows")
    if not output.is_json:
        for excess in made.over:
            output.warn(f"over a guard: {excess}")


def save_plan(made: Plan, path: Path, reason: ExitReason) -> None:
    """Save a plan; the file appears whole or not at all."""
    from reconciler.core.errors import ReconcilerError
    from reconciler.core.planfile import format_plan

    draft = path.with_name(path.name + ".tmp")
    try:
        draft.write_text(format_plan(made, reason), encoding="utf-8")
        draft.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't save the plan to {path}: {why}", "Name another file.") from error
