"""``reconciler coverage``: what is live and no file declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.ids import ids_from, ids_of
from reconciler.cli.named import expect_in, load_files_if_any, paths_of
from reconciler.cli.service import open_service, run_async
from reconciler.cli.wiring import make_output
from reconciler.core.errors import ExitReason, exit_reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.fleet import Coverage
    from reconciler.core.model import PortfolioId

HELP = """Show which portfolios are live and declared by no file: unmanaged, reported and never touched.

v2 lists all of yours, 200 a call. v1 has no list: --ids-from compares ids that you have, and reads those that are not
declared. Without any file, nothing is declared.

\b
  reconciler coverage
  reconciler coverage --ids-from ids.txt -o json
  reconciler coverage --fail-on unmanaged          in a pipeline
  reconciler import --all --into automation.yaml   declare them as they are

Exits 1 when something could not be read (7 for the key, 8 where the service was out of reach), or --fail-on is met.
"""


@click.command(help=HELP)
@ids_from
@click.option(
    "--fail-on",
    type=click.Choice(["unmanaged"]),
    multiple=True,
    help="Exit 1 when portfolios are live that no file declares, or when that can't be known.",
)
@shared.files
@shared.service
@shared.output("text", "json", "markdown")
def coverage(**options: Any) -> ExitReason:
    """Read the list, compare, show."""
    output = make_output(options)
    ids = ids_of(options) if options["ids_from"] is not None else ()
    configuration = load_files_if_any(options["sources"])

    async def work() -> tuple[Coverage, str]:
        async with open_service(options, paths_of(configuration), expect=expect_in(configuration)) as service:
            found = await _look(ids, configuration, options, service, output)
            output.notes(service.notes)
            return found, service.label

    found, base_url = run_async(work)
    return _show(found, base_url, options, output)


async def _look(
    ids: tuple[PortfolioId, ...],
    configuration: Configuration | None,
    options: Mapping[str, Any],
    service: Service,
    output: Output,
) -> Coverage:
    from reconciler.api.fleet import read_all
    from reconciler.cli.progress import ReadProgress, bar
    from reconciler.core.fleet import Coverage

    declared = configuration.desired if configuration is not None else {}
    listed = await service.api.list_portfolios()
    undeclared = [portfolio for portfolio in ids if portfolio not in declared]
    with bar(output, "Reading", len(undeclared)) as shown:
        named = await read_all(
            service.api, undeclared, parallelism=options["parallelism"], observer=ReadProgress(shown)
        )
    return Coverage(
        declared=declared,
        strategies=configuration.strategies.keys() if configuration is not None else (),
        listed=listed,
        named=named,
        named_declared=len(ids) - len(undeclared),
    )


def _show(found: Coverage, base_url: str, options: Mapping[str, Any], output: Output) -> ExitReason:
    from reconciler.core.report import FailOn
    from reconciler.render.coverage import coverage_document, coverage_markdown, coverage_text

    met = [FailOn(word) for word in dict.fromkeys(options["fail_on"]) if found.leaves_unmanaged]
    reason = _reason(found)
    if met and reason is ExitReason.OK:
        reason = ExitReason.ERROR
    match output.format:
        case "json":
            from reconciler.render.json import document_json

            output.data(document_json(reason, coverage_document(found, base_url=base_url)))
        case "markdown":
            output.data(coverage_markdown(found))
        case _:
            output.data(coverage_text(found, output.style, verbose=output.verbose))
    if found.listed.failure is not None:
        output.error(f"the list of v2 portfolios ended early: {found.listed.failure}")
    elif found.listed.unreadable:
        output.error("the list of v2 portfolios held rows that could not be read")
    for condition in met:
        output.error(f"--fail-on {condition.value}: {condition.sentence}")
    return reason


def _reason(found: Coverage) -> ExitReason:
    """Return the one reason that everything unread shares, else a plain error; what is unmanaged is none."""
    failures = [live.failure for live in found.unread]
    failures += [found.listed.failure] if not found.listed.complete else []
    reasons = {exit_reason_of(one.kind) if one is not None else ExitReason.ERROR for one in failures}
    return ExitReason.OK if not reasons else reasons.pop() if len(reasons) == 1 else ExitReason.ERROR
