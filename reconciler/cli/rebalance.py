"""``reconciler rebalance``: ask for a run now, and follow it to its end."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from reconciler.cli.files import load_files_if_any
from reconciler.cli.flags import DEFAULT_LOCK_TIMEOUT
from reconciler.cli.haltfiles import gate_of, with_filed
from reconciler.cli.ids import named
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.options import FileOptions, Options, ServiceOptions, duration_of
from reconciler.cli.output import is_terminal
from reconciler.cli.planning import parse_allow
from reconciler.cli.service import memory_of, new_token, open_service, run_async
from reconciler.cli.writing import keep_results, open_to_write, said_yes, signals
from reconciler.core.errors import JournalError, ReconcilerError, UsageError
from reconciler.core.fleet import require_among
from reconciler.core.model import ApiVersion
from reconciler.core.ports import Memory
from reconciler.render.ending import Ending, View
from reconciler.render.rebalance import (
    STEP_WIDTHS,
    RebalanceTarget,
    accepted_cells,
    finished_cells,
    moved_cells,
    rebalances_document,
    rebalances_page,
    targets_page,
)
from reconciler.render.terminal import in_columns, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.apply.run import Stop
    from reconciler.apply.trigger import Order
    from reconciler.cli.ids import Named
    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.change import Window
    from reconciler.core.freeze import Freeze
    from reconciler.core.model import Live, PortfolioId
    from reconciler.core.ports import ServiceApi
    from reconciler.core.rebalance import Rebalance, RebalanceResult
    from reconciler.render.ending import Found
    from reconciler.render.page import Cell

DEFAULT_TIMEOUT = "10m"
IN_JOURNAL = "rebalance"
"""Stands in the journal where an apply names its plan."""


class RebalanceOptions(Options, frozen=True, kw_only=True):
    """The options of ``rebalance``; ``timeout`` is how long to follow, as in ``10m``."""

    portfolios: tuple[str, ...]
    files: FileOptions = FileOptions()
    service: ServiceOptions = ServiceOptions()
    version: ApiVersion | None = None
    skip_schedule_validation: bool = False
    although_paused: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    wait: bool = False
    timeout: str | None = None
    auto_approve: bool = False
    lock_timeout: str = DEFAULT_LOCK_TIMEOUT


def rebalance(options: RebalanceOptions, found: Found) -> Ending:
    """Ask, trigger, follow, report."""
    timeout_ms = _timeout_ms(options)
    if not options.auto_approve and not is_terminal(sys.stdin):
        raise UsageError("There is no terminal to ask on, and a rebalance trades. Add --auto-approve.")
    configuration = load_files_if_any(options.files)
    chosen = named(options.portfolios, configuration, options.version)
    on_v2 = [one.id for one in chosen if not one.version.can.owns_schedule]
    if options.skip_schedule_validation and on_v2:
        raise UsageError(f"--skip-schedule-validation is only for v1, and {on_v2[0]} is managed by v2: leave it out.")
    orders_by = partial(_orders, chosen, options, configuration.freezes)
    orders_by(Memory())  # what is wrong with the options is said before anything is asked
    warn_of_journal(options.service, configuration, options.output)

    async def work() -> Ending:
        async with open_service(
            options.service, configuration.paths, expect=configuration.expect, writes=True
        ) as service:
            if not options.auto_approve:
                await _ask(chosen, orders_by(memory_of(options.service, service)), options, service)
            return await _carry_out(chosen, orders_by, options, service, found, timeout_ms)

    return run_async(work)


def _timeout_ms(options: RebalanceOptions) -> int:
    if options.timeout is not None and not options.wait:
        raise UsageError("--timeout says how long --wait follows a run: add --wait, or drop --timeout.")
    return duration_of("--timeout", options.timeout or DEFAULT_TIMEOUT, such_as="10m")


def _orders(
    chosen: Sequence[Named], options: RebalanceOptions, freezes: Sequence[Freeze], memory: Memory
) -> tuple[Order, ...]:
    from reconciler.apply.trigger import Order
    from reconciler.core.model import RunState

    allowed = parse_allow(options.allow)
    if allowed.numbers:
        raise UsageError("Invalid value for --allow: a rebalance has no guard, so freeze=NAME is all that it takes.")
    ids = {one.id for one in chosen}
    for option, given in (("--although-paused", options.although_paused), ("--again", options.again)):
        require_among(option, given, ids, "among the portfolios to run")
    return tuple(
        Order(
            portfolio=one.id,
            version=one.version,
            skip_schedule_validation=options.skip_schedule_validation,
            declared_paused=one.desired is not None and one.desired.state is RunState.PAUSED,
            although_paused=one.id in options.although_paused,
            again=one.id in options.again,
            halted=partial(_halted, one, memory),
            freezes=tuple(window for window in _windows(one, freezes) if window.name not in allowed.freezes),
        )
        for one in chosen
    )


def _halted(one: Named, memory: Memory, live: Live) -> str | None:
    """Say why a halt forbids that a portfolio runs now; ``None`` if none does."""
    if (holder := memory.halting.holder(one.id, one.desired)) is not None:
        return holder.why_held
    pausing = memory.pausing(live, one.version)
    return pausing and f"it is in the pause of the halt {pausing}: `reconciler halt lift {pausing}`"


def _windows(one: Named, freezes: Sequence[Freeze]) -> tuple[Window, ...]:
    from reconciler.core.freeze import Freezable, windows_of

    return windows_of(freezes, frozenset({Freezable.REBALANCE}), lambda among: among.passes(one.id, one.desired))


def _targets(
    chosen: Sequence[Named],
    orders: Sequence[Order] = (),
    live: Mapping[PortfolioId, Live] | None = None,
    now_ms: int = 0,
) -> tuple[RebalanceTarget, ...]:
    """Return the portfolios for people; with ``live``, each with what was seen of it and why it will not run.

    ``now_ms`` is the time of these reads by the service's clock.
    """
    from reconciler.apply.trigger import why_not
    from reconciler.core.freeze import frozen_at

    seen = live or {}
    refused = {}
    for order in orders:
        if order.portfolio in seen:
            frozen = frozen_at(order.freezes, now_ms)
            why = why_not(order, seen[order.portfolio])
            refused[order.portfolio] = why or (frozen.sentence if frozen is not None else None)
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


async def _ask(chosen: Sequence[Named], orders: Sequence[Order], options: RebalanceOptions, service: Service) -> None:
    """Show the state of each portfolio and ask on the terminal; unless the answer is yes, Glider is asked for nothing.

    If none of them may run, there is no question: each is refused with its own reason.
    """
    from reconciler.api.fleet import read_all

    api = service.api.by({one.id: one.version for one in chosen})
    live = await read_all(api, [one.id for one in chosen], parallelism=options.service.parallelism)
    targets = _targets(chosen, orders, live, service.api.service_ms())
    click.echo(terminal(targets_page(targets, service.label), options.output.note_style), err=True, nl=False)
    count = sum(target.refused is None for target in targets)
    if not count:
        return
    of_all = "Each" if count == len(chosen) else "One" if count == 1 else str(count)
    what = "It will" if len(chosen) == 1 else f"{of_all} of these {len(chosen)} portfolios will"
    if not said_yes(f"\n{what} trade now. Only 'yes' is accepted."):
        raise ReconcilerError("not approved, nothing was asked for")


async def _carry_out(
    chosen: Sequence[Named],
    orders_by: Callable[[Memory], Sequence[Order]],
    options: RebalanceOptions,
    service: Service,
    found: Found,
    timeout_ms: int,
) -> Ending:
    from reconciler.apply.run import Stop
    from reconciler.apply.trigger import follow_all
    from reconciler.core.rebalance import RebalanceReport

    api = service.api.by({one.id: one.version for one in chosen})
    stop, observer, started_ms = Stop(), _Lines(options.output, waits=options.wait), service.clock.now_ms()
    with signals(stop) as caught:
        results = await _trigger(orders_by, api, options, service, stop, observer)
        if options.wait:
            results = await follow_all(
                results, api, clock=service.clock, observer=observer, timeout_ms=timeout_ms, stop=stop
            )
            seen = {one: (result.rebalance,) for one, result in results.items() if result.rebalance is not None}
            await keep_results(options.service, service, seen)
    report = RebalanceReport(
        results=tuple(results[one.id] for one in chosen), started_ms=started_ms, finished_ms=service.clock.now_ms()
    )
    options.output.notes(service.notes)
    names = {one.id: one.name for one in chosen}
    body = rebalances_document(report, _targets(chosen), base_url=service.label, waited=options.wait)
    view = View(page=lambda: rebalances_page(report, names), body=body)
    return Ending(reason=caught[0] if caught else report.exit_reason, found=found, view=view)


async def _trigger(
    orders_by: Callable[[Memory], Sequence[Order]],
    api: ServiceApi,
    options: RebalanceOptions,
    service: Service,
    stop: Stop,
    observer: _Lines,
) -> dict[PortfolioId, RebalanceResult]:
    """Request the runs with the journal open. It is closed before they are followed: no apply must wait for that."""
    from reconciler import TOOL
    from reconciler.apply.announce import Announcer, settle_rebalances
    from reconciler.apply.journalqueue import QueuedJournal
    from reconciler.apply.trigger import trigger_all
    from reconciler.core.rebalance import RebalanceReport

    with await open_to_write(options.service, service, lock_timeout=options.lock_timeout) as journal:
        stop.hang_up.append(journal.hang_up)
        gate = gate_of(journal.halting(), service.label, service.account)
        # What was halted while a person was asked holds them, too; the gate does not know their labels.
        orders = orders_by(with_filed(journal.memory(), service.label, service.account))
        journal.open_run(fingerprint=IN_JOURNAL, tool=TOOL)
        started_ms = service.clock.now_ms()
        with QueuedJournal(journal) as queued:
            for sentence in await settle_rebalances(queued):
                options.output.note(f"note: {sentence}")
            announcer = Announcer(api=api, journal=queued, clock=service.clock, token=new_token, gate=gate)
            results = await trigger_all(
                orders, announcer=announcer, observer=observer, parallelism=options.service.parallelism, stop=stop
            )
        report = RebalanceReport(
            results=tuple(results.values()), started_ms=started_ms, finished_ms=service.clock.now_ms()
        )
        try:
            journal.close_run(report.exit_reason.word)
        except JournalError as error:  # what became of each must not be lost to this
            options.output.warn(f"the end of this run could not be written down: {error}")
    return results


class _Lines:
    """Reports the progress of rebalances on stderr, on a terminal or with -v. The result says all of it once more."""

    def __init__(self, output: Output, *, waits: bool) -> None:
        self._output = output
        self._shown = output.verbose or (waits and is_terminal(sys.stderr))

    def _say(self, cells: tuple[Cell, ...]) -> None:
        if self._shown:
            self._output.note(in_columns(cells, STEP_WIDTHS, self._output.note_style))

    def accepted(self, portfolio: PortfolioId, rebalance: str | None) -> None:
        """Say that one was accepted."""
        self._say(accepted_cells(portfolio, rebalance))

    def moved(self, portfolio: PortfolioId, rebalance: Rebalance) -> None:
        """Say how far one has come; :meth:`finished` tells its end."""
        if not rebalance.over:
            self._say(moved_cells(portfolio, rebalance))

    def finished(self, result: RebalanceResult) -> None:
        """Say what became of one."""
        self._say(finished_cells(result))
