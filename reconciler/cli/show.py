"""``reconciler show``: a saved plan, as plan showed it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.plan import show_plan
from reconciler.cli.wiring import make_output

if TYPE_CHECKING:
    from reconciler.core.errors import ExitReason
    from reconciler.core.plan import Plan

HELP = """Show a saved plan, after checking that nobody edited it.

\b
  reconciler show plan.json
  reconciler show plan.json -o markdown
"""


@click.command(help=HELP)
@click.argument("file", metavar="FILE")
@shared.output("text", "json", "markdown")
def show(**options: Any) -> ExitReason:
    """Show a saved plan."""
    from reconciler.core.errors import ExitReason

    show_plan(load_plan(options["file"]), make_output(options), ExitReason.OK, [])
    return ExitReason.OK


def load_plan(file: str) -> Plan:
    """Read a saved plan. Raises :class:`~reconciler.core.errors.PlanInvalid`."""
    from reconciler.core.errors import PlanInvalid
    from reconciler.core.planread import parse_plan

    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise PlanInvalid(
            f"can't read the plan {file}: {error.strerror}", "Make one with `reconciler plan --out FILE`."
        ) from error
    return parse_plan(content)
