"""``reconciler validate``: the offline check of the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.results import publish
from reconciler.cli.wiring import load_files, make_output

if TYPE_CHECKING:
    from reconciler.core.errors import ExitReason

HELP = """Check the files, offline: no key, no network.

Every problem of every file is reported at once, with its place and how to repair it. Exits 3 when there is one.

\b
  reconciler validate
  reconciler validate -f fleet/ -f extra.yaml
  git show main:automation.yaml | reconciler validate -f -
"""


@click.command(help=HELP)
@shared.files
@shared.output("text", "json")
def validate(**options: Any) -> ExitReason:
    """Load the files and say whether they are good."""
    from reconciler.core.errors import ExitReason
    from reconciler.core.text import plural

    output = make_output(options)
    configuration = load_files(options["sources"])
    publish(diagnostics=configuration.warnings, portfolios=len(configuration.desired))
    if output.is_json:
        from reconciler.render.json import validation_json

        body = {
            "config": {"digest": configuration.digest, "files": list(configuration.files)},
            "portfolios": len(configuration.desired),
            "strategies": len(configuration.strategies),
        }
        output.data(validation_json(ExitReason.OK, configuration.warnings, body))
        return ExitReason.OK
    if configuration.warnings:
        from reconciler.cli.planning import show_warnings

        show_warnings(configuration, output)
    strategies = f" and {plural(count, 'strategy')}" if (count := len(configuration.strategies)) else ""
    portfolios = plural(len(configuration.desired), "portfolio")
    counts = f"{portfolios}{strategies} in {plural(len(configuration.files), 'file')}"
    warned = f", {plural(len(configuration.warnings), 'warning')}" if configuration.warnings else ""
    output.data(f"Valid: {counts}{warned}.\n")
    return ExitReason.OK
