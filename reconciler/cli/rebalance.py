"""``reconciler rebalance``: ask for a run now, and follow it to its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.named import api_option, expect_in, load_files_if_any, named, paths_of
from reconciler.cli.output import is_terminal
from reconciler.cli.planning import again
from reconciler.cli.service import new_token, open_service, run_async
from reconciler.cli.wiring import make_output, refuse
from reconciler.cli.writing import open_to_write, said_yes, signals
from reconciler.core.errors import ExitReason, JournalError, ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.apply.run import Stop
    from reconciler.apply.trigger import Order
    from reconciler.cli.named import Named
    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.model import Live, PortfolioId
    from reconciler.core.ports import ServiceApi
    from reconciler.core.rebalance import Rebalance, RebalanceReport, RebalanceResult
    from reconciler.render.rebalance import RebalanceTarget
    from reconciler.render.style import Style

DEFAULT_TIMEOUT = "10m"
IN_JOURNAL = "rebalance"
"""Stands in the journal where an apply names its plan."""

HELP = """Run portfolios once now. It trades: it asks first, and without a terminal it needs --auto-approve.

The ids need not be declared; of a declared one the files say which API it is managed by. What is paused, or declared
paused, is not run unless --although-paused names it. A run is asked for once: where its answer was lost, the next
request looks for that run first, and is refused until it is found or --again names the portfolio. With --wait, each is
followed until it is completed, failed or cancelled; Ctrl-C stops the waiting, not the run.

\b
  reconciler rebalance ao04x0r6
  reconciler rebalance ao04x0r6 b7k2m9q1 --wait --timeout 20m
  reconciler rebalance ao04x0r6 --skip-schedule-validation
  reconciler rebalance ao04x0r6 --although-paused ao04x0r6
  reconciler rebalance pf_01JWZEE2MF30 --api v2 --auto-approve -o json

Exits 0 when all were accepted, or completed with --wait; 1 when one failed, was cancelled or refused, 7 for the key,
8 when all are cooling down; 6 when some went well, or when it is not known what became of one.
"""


@click.command(help=HELP)
@click.argument("portfolios", metavar="ID...", nargs=-1, required=True)
@shared.files
@api_option
@click.option("--skip-schedule-validation", is_flag=True, help="Run it without an active schedule too (v1).")
@click.option("--although-paused", multiple=True, metavar="ID", help="Run it although it is paused. Repeatable.")
@again
@click.option("--wait", is_flag=True, help="Follow each to its end.")
@click.option("--timeout", metavar="DURATION", help=f"How long to follow.  [default: {DEFAULT_TIMEOUT}]")
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.option(
    "--lock-timeout", default="10s", show_default=True, metavar="DURATION", help="How long to wait for an apply."
)
@shared.service
@shared.output("text", "json")
def rebalance(**options: Any) -> ExitReason:
    """Ask, trigger, follow, report."""
    output = make_output(options)
    timeout_ms = _timeout(options)
    if not options["auto_approve"] and not is_terminal(sys.stdin):
        raise refuse("There is no terminal to ask on, and a rebalance trades. Add --auto-approve.")
    configuration = load_files_if_any(options["sources"])
    chosen = named(options["portfolios"], configuration, options["version"])
    on_v2 = [one.id for one in chosen if not one.version.can.owns_schedule]
    if options["skip_schedule_validation"] and on_v2:
        raise refuse(f"--skip-schedule-validation is of v1, and {on_v2[0]} is managed by v2: leave it out.")

    orders = _orders(chosen, options)
    warn_of_journal(options, configuration, output)

    async def work() -> ExitReason:
        async with open_service(
            options, paths_of(configuration), expect=expect_in(configuration), writes=True
        ) as service:
            if not options["auto_approve"]:
                await _ask(chosen, orders, options, service, output)
            return await _carry_out(chosen, orders, options, service, output, timeout_ms)

    ended: ExitReason = run_async(work)
    return ended


def _timeout(options: Mapping[str, Any]) -> int:
    from reconciler.core.text import parse_duration

    if options["timeout"] is not None and not options["wait"]:
        raise refuse("--timeout is of --wait: add it.")
    try:
        return parse_duration(options["timeout"] or DEFAULT_TIMEOUT)
    except ValueError as error:
        raise refuse(f"--timeout: {error}; write 90s, 10m or the like.") from error


def _orders(chosen: Sequence[Named], options: Mapping[str, Any]) -> tuple[Order, ...]:
    from reconciler.apply.trigger import Order
    from reconciler.core.model import RunState

    ids = {one.id for one in chosen}
    for option in ("although_paused", "again"):
        if unknown := sorted(set(options[option]) - ids):
            raise refuse(f"--{option.replace('_', '-')} {unknown[0]!r} is not among the portfolios to run.")
    return tuple(
        Order(
            portfolio=one.id,
            version=one.version,
            skip_schedule_validation=options["skip_schedule_validation"],
            declared_paused=one.desired is not None and one.desired.state is RunState.PAUSED,
            although_paused=one.id in options["although_paused"],
            again=one.id in options["again"],
        )
        for one in chosen
    )


def _targets(
    chosen: Sequence[Named], orders: Sequence[Order] = (), live: Mapping[PortfolioId, Live] | None = None
) -> tuple[RebalanceTarget, ...]:
    """Return the portfolios for people; with ``live``, each with what was seen of it and why it will not run."""
    from reconciler.apply.trigger import why_not
    from reconciler.render.rebalance import RebalanceTarget

    seen = live or {}
    refused = {order.portfolio: why_not(order, seen[order.portfolio]) for order in orders if order.portfolio in seen}
    return tuple(
        RebalanceTarget(
            id=one.id,
            name=one.name,
            version=one.version,
            declared=one.desired is not None,
            live=seen.get(one.id),
            refused=refused.get(one.id),
        )
        for one in chosen
    )


async def _ask(
    chosen: Sequence[Named], orders: Sequence[Order], options: Mapping[str, Any], service: Service, output: Output
) -> None:
    """Show the state of each and ask on the terminal; anything but yes asks Glider for nothing.

    Where none of them may run, nobody is asked: each is refused for its own reason.
    """
    from reconciler.api.fleet import read_all
    from reconciler.render.rebalance import targets_text

    api = service.api.by({one.id: one.version for one in chosen})
    live = await read_all(api, [one.id for one in chosen], parallelism=options["parallelism"])
    targets = _targets(chosen, orders, live)
    click.echo(targets_text(targets, service.label, output.note_style), err=True, nl=False)
    count = sum(target.refused is None for target in targets)
    if not count:
        return
    of_all = "Each" if count == len(chosen) else "One" if count == 1 else str(count)
    what = "It will" if len(chosen) == 1 else f"{of_all} of these {len(chosen)} portfolios will"
    if not said_yes(f"\n{what} trade now. Only 'yes' is accepted."):
        raise ReconcilerError("not approved, nothing was asked for")


async def _carry_out(
    chosen: Sequence[Named],
    orders: Sequence[Order],
    options: Mapping[str, Any],
    service: Service,
    output: Output,
    timeout_ms: int,
) -> ExitReason:
    from reconciler.apply.run import Stop
    from reconciler.apply.trigger import follow_all
    from reconciler.core.rebalance import RebalanceReport

    api = service.api.by({one.id: one.version for one in chosen})
    stop, observer, started_ms = Stop(), _Lines(output, waits=options["wait"]), service.clock.now_ms()
    with signals(stop) as caught:
        results = await _trigger(orders, api, options, service, output, stop, observer)
        if options["wait"]:
            results = await follow_all(
                results, api, clock=service.clock, observer=observer, timeout_ms=timeout_ms, stop=stop
            )
    report = RebalanceReport(
        results=tuple(results[one.id] for one in chosen), started_ms=started_ms, finished_ms=service.clock.now_ms()
    )
    output.notes(service.notes)
    reason = caught[0] if caught else report.exit_reason
    _show(report, chosen, options, service, output, reason)
    return reason


async def _trigger(
    orders: Sequence[Order],
    api: ServiceApi,
    options: Mapping[str, Any],
    service: Service,
    output: Output,
    stop: Stop,
    observer: _Lines,
) -> dict[PortfolioId, RebalanceResult]:
    """Ask for the runs with the journal open; it is closed before any is followed, so that no apply waits for that."""
    from reconciler import TOOL
    from reconciler.apply.announce import Announcer, settle_rebalances
    from reconciler.apply.trigger import trigger_all
    from reconciler.core.rebalance import RebalanceReport

    with await open_to_write(options, service) as journal:
        for sentence in settle_rebalances(journal):
            output.note(f"note: {sentence}")
        journal.open_run(fingerprint=IN_JOURNAL, tool=TOOL)
        started_ms = service.clock.now_ms()
        announcer = Announcer(
            api=api,
            journal=journal,
            clock=service.clock,
            token=new_token,
        )
        results = await trigger_all(
            orders, announcer=announcer, observer=observer, parallelism=options["parallelism"], stop=stop
        )
        report = RebalanceReport(
            results=tuple(results.values()), started_ms=started_ms, finished_ms=service.clock.now_ms()
        )
        try:
            journal.close_run(report.exit_reason.word)
        except JournalError as error:  # what became of each must not be lost to this
            output.warn(f"the end of this run could not be written down: {error}")
    return results


def _show(
    report: RebalanceReport,
    chosen: Sequence[Named],
    options: Mapping[str, Any],
    service: Service,
    output: Output,
    reason: ExitReason,
) -> None:
    from reconciler.render.rebalance import rebalances_document, rebalances_text

    if output.is_json:
        from reconciler.render.json import document_json

        body = rebalances_document(report, _targets(chosen), base_url=service.label, waited=options["wait"])
        output.data(document_json(reason, body))
    else:
        output.data(rebalances_text(report, {one.id: one.name for one in chosen}, output.style))


class _Lines:
    """Says on stderr how rebalances go on, to a person who waits, or with -v; the result tells it all once more."""

    def __init__(self, output: Output, *, waits: bool) -> None:
        self._output = output
        self._shown = output.verbose or (waits and is_terminal(sys.stderr))

    def _say(self, line: str) -> None:
        if self._shown:
            self._output.note(line)

    @property
    def _style(self) -> Style:
        return self._output.note_style

    def accepted(self, portfolio: PortfolioId, rebalance: str | None) -> None:
        """Say that one runs."""
        from reconciler.render.rebalance import accepted_line

        self._say(accepted_line(portfolio, rebalance, self._style))

    def moved(self, portfolio: PortfolioId, rebalance: Rebalance) -> None:
        """Say how far one came; its end is said by :meth:`finished`."""
        from reconciler.render.rebalance import moved_line

        if not rebalance.over:
            self._say(moved_line(portfolio, rebalance, self._style))

    def finished(self, result: RebalanceResult) -> None:
        """Say what became of one."""
        from reconciler.render.rebalance import finished_line

        self._say(finished_line(result, self._style))
