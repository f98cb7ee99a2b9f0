"""``reconciler apply``: show, ask, change, report."""

from __future__ import annotations

import os
import platform
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.output import is_terminal
from reconciler.cli.plan import show_plan
from reconciler.cli.planning import make_plan, parse_allow, policy, show_warnings
from reconciler.cli.progress import ApplyProgress, bar
from reconciler.cli.service import open_service, run_async
from reconciler.cli.wiring import load_files, make_output, refuse
from reconciler.core.errors import ExitReason, GuardRefused, JournalBusy, JournalError, ReconcilerError
from reconciler.core.guards import still_over

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterator, Mapping

    from reconciler.apply.journal import SqliteJournal
    from reconciler.apply.run import Stop
    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport

_LOOK_AGAIN_SECONDS = 0.1
"""How often to see whether another apply has ended."""

HELP = """Make live automation match the files, or run a saved plan.

Without PLAN: plans, shows the plan and asks. With PLAN (from plan --out): runs exactly that, without asking. Every
change is read again first; where live has moved on since the plan, that portfolio is skipped as stale.

\b
  reconciler apply                          show, ask, change
  reconciler apply plan.json                run a saved plan
  reconciler apply --approved plan.json     plan anew; go on only with changes of that plan
  reconciler apply --auto-approve           for pipelines
  reconciler apply --allow resume=12        over a guard, by number
  reconciler apply --sandbox                on the embedded Glider
"""


@click.command(help=HELP)
@click.argument("plan_file", metavar="[PLAN]", required=False)
@shared.files
@shared.selection
@policy
@click.option("--approved", metavar="PLAN", help="Go on only with changes of this saved plan, without asking.")
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.option("--canary", type=click.IntRange(0), default=0, metavar="N", help="Carry out N of each kind first.")
@click.option("--max-failures", type=click.IntRange(0), metavar="N", help="Begin nothing more after N failures.")
@click.option(
    "--lock-timeout", default="10s", show_default=True, metavar="DURATION", help="How long to wait for another apply."
)
@click.option("--allow", multiple=True, metavar="VERB=N", help="Allow N of start, resume, pause or update. Repeatable.")
@shared.service
@shared.output("text", "json")
def apply(**options: Any) -> ExitReason:
    """Plan, or take a saved plan, and carry it out."""
    from reconciler.cli.show import load_plan
    from reconciler.core.approval import require_approved

    output = make_output(options)
    parse_allow(options["allow"])
    if options["plan_file"]:
        return _apply_saved(options, output)
    if not (options["auto_approve"] or options["approved"]) and not is_terminal(sys.stdin):
        raise refuse("There is no terminal to ask on. Add --auto-approve, or apply a saved plan.")
    approved = load_plan(options["approved"]) if options["approved"] else None
    configuration = load_files(options["sources"])
    show_warnings(configuration, output)

    async def work() -> ExitReason:
        async with open_service(options, configuration.paths) as service:
            with await _journal(options, service) as journal:
                await _settle(service, journal, output)
                plan = await make_plan(options, configuration, service, output)
                if not output.is_json:
                    show_plan(plan, output, ExitReason.OK)
                fewer = require_approved(plan, approved) if approved is not None else None
                _guard(plan, options["allow"])
                if fewer:
                    output.note(fewer)
                if plan.changes and approved is None and not options["auto_approve"]:
                    _ask(plan)
                return await _carry_out(plan, options, service, journal, output)

    ended: ExitReason = run_async(work)
    return ended


def _apply_saved(options: Mapping[str, Any], output: Output) -> ExitReason:
    """Run a saved plan: its own selection and decisions hold, so the options that would make others are refused."""
    from reconciler.cli.show import load_plan
    from reconciler.core.paths import Paths
    from reconciler.core.planread import require_service

    given = [name for name in ("sources", "targets", "excludes", "selects", "resume_held", "approved") if options[name]]
    if given or options["unverified"] != "write":
        raise refuse("A saved plan already says what to do: drop the options that choose or allow something else.")
    plan = load_plan(options["plan_file"])
    _guard(plan, options["allow"])

    async def work() -> ExitReason:
        async with open_service(options, Paths.AUTO) as service:
            require_service(plan, service.label)
            with await _journal(options, service) as journal:
                await _settle(service, journal, output)
                return await _carry_out(plan, options, service, journal, output)

    ended: ExitReason = run_async(work)
    return ended


def _guard(plan: Plan, allow: tuple[str, ...]) -> None:
    """Refuse a plan that is over a guard, unless ``--allow`` names the number."""
    over = still_over(plan.over, parse_allow(allow))
    if over:
        raise GuardRefused("the plan is over a guard, nothing was written", " ".join(f"{excess}." for excess in over))


def _ask(plan: Plan) -> None:
    """Ask on the terminal; anything but yes applies nothing."""
    count = len(plan.changes)
    click.echo(
        f"\nApply {'this change' if count == 1 else f'these {count} changes'}? Only 'yes' is accepted.", err=True
    )
    # asyncio turns the first Ctrl-C into a request to the loop, which waits here for an answer and would not hear it.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = click.prompt("  Answer", default="no", show_default=False, err=True)
    finally:
        signal.signal(signal.SIGINT, heard)
    if answer.strip() != "yes":
        raise ReconcilerError("not approved, nothing was written")


async def _journal(options: Mapping[str, Any], service: Service) -> SqliteJournal:
    """Open the journal, waiting for another apply as long as ``--lock-timeout`` says; a signal ends the wait."""
    from asyncio import sleep
    from time import monotonic

    from reconciler.apply.journal import open_journal
    from reconciler.core.duration import parse_duration

    try:
        wait_seconds = parse_duration(options["lock_timeout"]) / 1000
    except ValueError as error:
        raise refuse(f"--lock-timeout: {error}; write 10s, 5m or the like.") from error
    patience_ends = monotonic() + wait_seconds
    while True:
        try:
            return open_journal(
                Path(options["journal"]),
                base_url=service.label,
                now_ms=service.clock.now_ms,
                process=f"process {os.getpid()} on {platform.node()}",
            )
        except JournalBusy:
            if monotonic() >= patience_ends:
                raise
            await sleep(_LOOK_AGAIN_SECONDS)


async def _settle(service: Service, journal: SqliteJournal, output: Output) -> None:
    """Find out what became of the writes of an apply that was cut off, before anything else."""
    from reconciler.apply.settle import settle

    for sentence in await settle(api=service.api, journal=journal):
        output.note(f"note: {sentence}")


async def _carry_out(
    plan: Plan, options: Mapping[str, Any], service: Service, journal: SqliteJournal, output: Output
) -> ExitReason:
    from reconciler.apply.run import Pace, Stop, apply_plan
    from reconciler.core.planfile import TOOL, fingerprint

    stop = Stop()
    pace = Pace(parallelism=options["parallelism"], max_failures=options["max_failures"], canary=options["canary"])
    journal.open_run(fingerprint=fingerprint(plan), tool=TOOL)
    with _signals(stop) as caught, bar(output, "Applying", len(plan.changes)) as shown:
        report = await apply_plan(
            plan,
            api=service.api,
            journal=journal,
            clock=service.clock,
            observer=ApplyProgress(shown, output),
            pace=pace,
            stop=stop,
        )
    reason = caught[0] if caught else report.exit_reason
    try:
        journal.close_run(reason.word)
    except JournalError as error:  # the report says what became of each change, so it must not be lost to this
        output.warn(f"the end of this apply could not be written down: {error}")
    for note in service.api.notes:
        output.note(f"note: {note}")
    _show(report, output, reason)
    return reason


def _show(report: ApplyReport, output: Output, reason: ExitReason) -> None:
    if output.is_json:
        from reconciler.render.json import report_json

        output.data(report_json(report, reason))
        return
    from reconciler.render.text import report_text

    output.data("\n" + report_text(report, output.style, verbose=output.verbose))


@contextmanager
def _signals(stop: Stop) -> Iterator[list[ExitReason]]:
    """Let the first SIGINT or SIGTERM settle what is under way; yields the reason to exit with, once one came.

    A second one ends the program at once: the journal has every intent, so nothing is lost by it.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    caught: list[ExitReason] = []

    def on(reason: ExitReason) -> None:
        if caught:
            sys.exit(reason.code)
        caught.append(reason)
        stop.request("interrupted before it began", urgent=True)

    pairs = ((signal.SIGINT, ExitReason.INTERRUPTED), (signal.SIGTERM, ExitReason.TERMINATED))
    previous = [_handle(loop, number, on, reason) for number, reason in pairs]
    try:
        yield caught
    finally:
        for (number, _), handler in zip(pairs, previous, strict=True):
            signal.signal(number, handler)


def _handle(loop: AbstractEventLoop, number: int, on: Any, reason: ExitReason) -> Any:
    """Route a signal into the event loop, on systems whose loop can't do that itself, too; return the old handler."""
    return signal.signal(number, lambda *_: loop.call_soon_threadsafe(on, reason))
