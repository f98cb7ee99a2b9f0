"""``reconciler status``: live automation and last rebalances as a table, of one portfolio in detail, once or again and
again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click
from msgspec.structs import replace

from reconciler.cli import options as shared
from reconciler.cli import watch as watching
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.named import api_option, expect_in, load_files_if_any, named, paths_of
from reconciler.cli.output import is_terminal
from reconciler.cli.results import publish
from reconciler.cli.service import memory_of, open_service, run_async
from reconciler.cli.wiring import load_files, make_output, make_selection, refuse
from reconciler.core.errors import ExitReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.errors import ApiError
    from reconciler.core.fleet import Fleet
    from reconciler.core.model import Desired, PortfolioId, StrategyDesired, StrategyId, StrategyLive
    from reconciler.core.ports import Clock, Memory
    from reconciler.render.status import StatusRow

FAILED_REBALANCE = "failed-rebalance"

HELP = """Show live automation of the declared portfolios: state, schedule, next run, last run and its result.

The schedule names how it is known: nothing behind it when Glider returned it, (recorded) at our last write,
(observed) from run times, ? when it can't be known. The note says whose pause it is: ours, somebody else's, or that
nobody knows. The result is that of the last rebalance: - where there was none,
? where Glider's v2 API does not tell. It takes two more reads a portfolio; --no-results leaves them out. Exits 1 when
a portfolio could not be read.

With ID, declared or not: one portfolio in detail, with its last rebalances.

\b
  reconciler status
  reconciler status --watch=30
  reconciler status --fail-on failed-rebalance
  reconciler status ao04x0r6
  reconciler status --target ao04x0r6 -o json
  reconciler status --out live.json           save it; plan --live live.json needs no key
"""


@click.command(help=HELP)
@click.argument("portfolio", metavar="[ID]", required=False)
@shared.files
@shared.selection
@api_option
@click.option("--no-results", is_flag=True, help="Do not read how the last rebalances ended.")
@click.option("--fail-on", "fail_on", type=click.Choice([FAILED_REBALANCE]), help="Exit 1 when a last one failed.")
@watching.option
@click.option("--out", "out", metavar="FILE", help="Save what was read, for plan --live.")
@shared.service
@shared.output("text", "json")
def status(**options: Any) -> ExitReason:
    """Read and show, once or again and again."""
    output = make_output(options)
    _require_sense(options, output)
    if options["portfolio"] is not None:
        return _detail(options, output)
    configuration = load_files(options["sources"])
    warn_of_journal(options, configuration, output)

    async def work() -> ExitReason:
        from reconciler.cli.looking import read_declared
        from reconciler.cli.strategies import read_cadences_of
        from reconciler.core.fleet import select, select_strategies

        selection = make_selection(options)
        desired = select(configuration.desired, selection, configuration.strategies)
        targeted = select_strategies(configuration.strategies, selection) if selection.targets else {}

        async with open_service(options, configuration.paths, desired.values(), expect=configuration.expect) as service:
            if options["watch"] is not None:
                silent = replace(output, quiet=True)  # a bar would draw over the table

                async def look() -> str:
                    from reconciler.render.status import status_text

                    memory = memory_of(options, service)
                    fleet = await read_declared(options, desired, service, silent, whole=selection.everything)
                    return status_text(await _rows(options, desired, fleet, memory, service, silent), output.style)

                await _watch(look, options, service.clock, output)
            as_of_ms = service.clock.now_ms()
            memory = memory_of(options, service)
            fleet = await read_declared(options, desired, service, output, whole=selection.everything)
            unseen = await _save(options, configuration, service, fleet, memory, output, as_of_ms=as_of_ms)
            rows = await _rows(options, desired, fleet, memory, service, output)
            cadences = await read_cadences_of(targeted, options, service) if targeted else {}
            output.notes(service.notes)
            failed = [one.failure for one in cadences.values() if one.failure is not None]
            return _show(rows, targeted, cadences, [*unseen, *failed], options, service, output)

    return _run(work, options)


def _require_sense(options: Mapping[str, Any], output: Output) -> None:
    """Raise a usage error for options that say nothing together."""
    if options["no_results"] and options["fail_on"]:
        raise refuse("--fail-on needs the results that --no-results leaves out.")
    if options["portfolio"] is not None:
        given = [name for name in ("targets", "excludes", "selects", "out") if options[name]]
        if given:
            raise refuse("ID is the only portfolio shown, in detail: drop the options that choose, and --out.")
    elif options["version"] is not None:
        raise refuse("--api is of a portfolio that no file declares: name it, status ID --api v2.")
    if options["watch"] is None:
        return
    if output.is_json or not is_terminal(sys.stdout):
        raise refuse("--watch draws on a terminal. Without one, or for JSON, call status again by yourself.")
    if options["fail_on"] or options["out"]:
        raise refuse("--watch goes on until it is interrupted: drop --fail-on and --out.")


def _run(work: Callable[[], Awaitable[ExitReason]], options: Mapping[str, Any]) -> ExitReason:
    async def main() -> ExitReason:
        return await work()

    try:
        ended: ExitReason = run_async(main)
    except KeyboardInterrupt:
        if options["watch"] is None:
            raise
        return ExitReason.INTERRUPTED  # the way to end it, so there is nothing to explain
    return ended


async def _watch(
    look: Callable[[], Awaitable[str]], options: Mapping[str, Any], clock: Clock, output: Output
) -> NoReturn:
    import shutil

    def size() -> tuple[int, int]:
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    await watching.watch(look, every_seconds=options["watch"], clock=clock, draw=output.data, size=size)


async def _rows(
    options: Mapping[str, Any],
    desired: Mapping[PortfolioId, Desired],
    fleet: Fleet,
    memory: Memory,
    service: Service,
    output: Output,
) -> list[StatusRow]:
    from reconciler.cli.looking import make_rows

    rows = await make_rows(options, desired, fleet.live, memory, service, output)
    publish(statuses=tuple(rows))
    return rows


def _show(
    rows: list[StatusRow],
    declared: Mapping[StrategyId, StrategyDesired],
    cadences: Mapping[StrategyId, StrategyLive],
    unseen: Sequence[ApiError],
    options: Mapping[str, Any],
    service: Service,
    output: Output,
) -> ExitReason:
    from reconciler.cli.looking import exit_reason
    from reconciler.render.status import status_rows_document, status_text
    from reconciler.render.strategies import cadences_document, cadences_text

    reason = exit_reason(rows, fail_on_failed=options["fail_on"] is not None, others=unseen)
    if output.is_json:
        from reconciler.render.json import document_json

        body = {"base_url": service.label, "portfolios": status_rows_document(rows)}
        body |= {"strategies": cadences_document(declared, cadences)} if cadences else {}
        output.data(document_json(reason, body))
        return reason
    told = [cadences_text(declared, cadences, output.style)] if cadences else []
    told += [status_text(rows, output.style)] if rows or not cadences else []
    output.data("\n".join(told))
    return reason


def _detail(options: Mapping[str, Any], output: Output) -> ExitReason:
    """Show one portfolio, which need not be declared."""
    configuration = load_files_if_any(options["sources"])
    (one,) = named([options["portfolio"]], configuration, options["version"])

    async def work() -> ExitReason:
        from reconciler.cli.looking import read_view, view_reason
        from reconciler.render.portfolio import portfolio_document, portfolio_text

        async with open_service(options, paths_of(configuration), expect=expect_in(configuration)) as service:
            if options["watch"] is not None:

                async def look() -> str:
                    return portfolio_text(await read_view(options, one, service), output.style)

                await _watch(look, options, service.clock, output)
            view = await read_view(options, one, service)
            output.notes(service.notes)
        reason = view_reason(view, fail_on_failed=options["fail_on"] is not None)
        if output.is_json:
            from reconciler.render.json import document_json

            body = {"base_url": service.label, "portfolio": portfolio_document(view)}
            output.data(document_json(reason, body))
        else:
            output.data(portfolio_text(view, output.style))
        return reason

    return _run(work, options)


async def _save(
    options: Mapping[str, Any],
    configuration: Configuration,
    service: Service,
    fleet: Fleet,
    memory: Memory,
    output: Output,
    *,
    as_of_ms: int,
) -> Sequence[ApiError]:
    """Save what was read where ``--out`` says so; return the failed reads that the table does not show."""
    if not options["out"]:
        return ()
    from reconciler.cli.offline import save_live

    failures = await save_live(options, configuration, service, fleet, memory, as_of_ms=as_of_ms)
    for failure in failures:
        output.warn(f"the live file does not hold everything: {failure.operation or 'a read'}: {failure}")
    output.note(f"Saved to {options['out']}; plan from it with: reconciler plan --live {options['out']}")
    return failures
