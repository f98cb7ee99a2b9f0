"""``reconciler apply``: show, ask, change, report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.output import is_terminal
from reconciler.cli.plan import show_plan
from reconciler.cli.planning import make_plan, parse_allow, policy, show_warnings
from reconciler.cli.progress import ApplyProgress, bar
from reconciler.cli.results import publish
from reconciler.cli.service import new_token, open_service, run_async
from reconciler.cli.wiring import load_files, make_output, refuse
from reconciler.cli.writing import open_to_write, said_yes, signals
from reconciler.core.errors import ExitReason, GuardRefused, JournalError, ReconcilerError, StalePlan
from reconciler.core.guards import still_over

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.apply.journal import SqliteJournal
    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport

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
@click.option("--fingerprint", metavar="HEX", help="Refuse a saved or approved plan with another fingerprint.")
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.option("--canary", type=click.IntRange(0), default=0, metavar="N", help="Carry out N of each kind first.")
@click.option("--max-failures", type=click.IntRange(0), metavar="N", help="Begin nothing more after N failures.")
@click.option(
    "--lock-timeout", default="10s", show_default=True, metavar="DURATION", help="How long to wait for another apply."
)
@click.option(
    "--allow", multiple=True, metavar="WHAT=N", help="Allow N of start, resume, pause, update or reach. Repeatable."
)
@click.option(
    "--fail-on",
    type=click.Choice(["held"]),
    multiple=True,
    help="Exit 1 when something is held.",
)
@shared.service
@shared.output("text", "json")
def apply(**options: Any) -> ExitReason:
    """Plan, or take a saved plan, and carry it out."""
    output = make_output(options)
    parse_allow(options["allow"])
    if options["plan_file"]:
        return _apply_saved(options, output)
    if options["fingerprint"] is not None and not options["approved"]:
        raise refuse("--fingerprint is of a saved plan: name one, as PLAN or with --approved.")
    if not (options["auto_approve"] or options["approved"]) and not is_terminal(sys.stdin):
        raise refuse("There is no terminal to ask on. Add --auto-approve, or apply a saved plan.")
    approved = _saved(options, "approved") if options["approved"] else None
    configuration = load_files(options["sources"])
    show_warnings(configuration, output)
    warn_of_journal(options, configuration, output)

    async def work() -> ExitReason:
        async with open_service(
            options, configuration.paths, configuration.desired.values(), expect=configuration.expect, writes=True
        ) as service:
            with await open_to_write(options, service) as journal:
                await _settle(service, journal, output)
                agreed = _fingerprint(approved)
                plans = [agreed] if agreed is not None else []
                plan = await make_plan(options, configuration, service, output, plans=plans, journal=journal)
                if not output.is_json:
                    show_plan(plan, output, ExitReason.OK)
                fewer = _require_approved(plan, approved) if approved is not None else None
                _guard(plan, options["allow"])
                if fewer:
                    output.note(fewer)
                await _check_scopes(plan, service, output)
                if plan.changes and approved is None and not options["auto_approve"]:
                    _ask(plan)
                return await _carry_out(plan, options, service, journal, output, approved=agreed)

    ended: ExitReason = run_async(work)
    return ended


def _fingerprint(approved: Plan | None) -> str | None:
    from reconciler.core.planfile import fingerprint

    return fingerprint(approved) if approved is not None else None


def _apply_saved(options: Mapping[str, Any], output: Output) -> ExitReason:
    """Run a saved plan: its own selection and decisions hold, so the options that would make others are refused."""
    from reconciler.core.model import Paths
    from reconciler.core.planfile import require_account, require_service

    given = [name for name in ("sources", "targets", "excludes", "selects", "resume_held", "approved") if options[name]]
    if given or options["unverified"] != "write":
        raise refuse("A saved plan already says what to do: drop the options that choose or allow something else.")
    plan = _saved(options, "plan_file")
    if unknown := sorted(set(options["again"]) - {change.id for change in plan.changes}):
        raise refuse(f"--again {unknown[0]!r} is not among the changes of the plan.")
    publish(plan=plan)
    _guard(plan, options["allow"])

    async def work() -> ExitReason:
        async with open_service(options, Paths.AUTO, plan.changes) as service:
            require_service(plan, service.label)
            require_account(plan, service.account)
            with await open_to_write(options, service) as journal:
                await _settle(service, journal, output)
                await _check_scopes(plan, service, output)
                return await _carry_out(plan, options, service, journal, output)

    ended: ExitReason = run_async(work)
    return ended


def _saved(options: Mapping[str, Any], option: str) -> Plan:
    """Load the saved plan that an option names, and see that it is the one whose fingerprint was passed along.

    The fingerprint comes another way than the file (a job's output beside its artifact), so that a file that was
    exchanged for another valid one is found out. Raises :class:`StalePlan`.
    """
    from reconciler.cli.show import load_plan
    from reconciler.core.planfile import fingerprint, require_applicable

    plan = load_plan(options[option])
    require_applicable(plan)
    wanted, found = options["fingerprint"], fingerprint(plan)
    if wanted is not None and wanted.strip().lower() != found:
        raise StalePlan(
            f"{options[option]} is not the plan of --fingerprint: its own is {found}",
            "Nothing was written. Pass the plan that was reviewed, or have this one reviewed.",
        )
    return plan


def _require_approved(plan: Plan, approved: Plan) -> str | None:
    """Check a plan against the approved one; whoever shows the refusal gets the whole difference."""
    from reconciler.core.diff import require_approved

    try:
        return require_approved(plan, approved)
    except StalePlan:
        from reconciler.core.diff import compare_plans

        publish(uncovered=compare_plans(earlier=approved, later=plan))
        raise


def _guard(plan: Plan, allow: tuple[str, ...]) -> None:
    """Refuse a plan that is over a guard, unless ``--allow`` names the number."""
    over = still_over(plan.over, parse_allow(allow))
    if over:
        raise GuardRefused("the plan is over a guard, nothing was written", " ".join(f"{excess}." for excess in over))


async def _check_scopes(plan: Plan, service: Service, output: Output) -> None:
    """Refuse a plan that the key may not carry out; only v2 knows scopes, so a plan without v2 asks nobody."""
    from reconciler.api.key import require_scopes
    from reconciler.core.doctor import needed_scopes

    _, needed = needed_scopes(plan.portfolios, strategies=bool(plan.cadences))
    if note := await require_scopes(service.api.transport, needed):
        output.note(f"note: {note}")


def _ask(plan: Plan) -> None:
    """Ask on the terminal; anything but yes applies nothing."""
    count = len(plan.changes)
    question = f"\nApply {'this change' if count == 1 else f'these {count} changes'}? Only 'yes' is accepted."
    if not said_yes(question):
        raise ReconcilerError("not approved, nothing was written")


async def _settle(service: Service, journal: SqliteJournal, output: Output) -> None:
    """Find out what became of the writes of an apply that was cut off, before anything else."""
    from reconciler.apply.announce import settle
    from reconciler.core.model import PortfolioId

    # By what each intent says, not by the files: a portfolio may have left them, or moved to the other API, since.
    versions = {PortfolioId(one.intent.address): one.intent.api for one in journal.unsettled()}
    for sentence in await settle(api=service.api.by(versions), journal=journal):
        output.note(f"note: {sentence}")


async def _carry_out(
    plan: Plan,
    options: Mapping[str, Any],
    service: Service,
    journal: SqliteJournal,
    output: Output,
    *,
    approved: str | None = None,
) -> ExitReason:
    from reconciler import TOOL
    from reconciler.apply.run import Pace, Stop, apply_plan
    from reconciler.core.planfile import fingerprint
    from reconciler.core.report import FailOn, conditions_met

    stop = Stop()
    pace = Pace(parallelism=options["parallelism"], max_failures=options["max_failures"], canary=options["canary"])
    total = len(plan.changes)
    journal.open_run(fingerprint=fingerprint(plan), tool=TOOL, approved=approved)
    with signals(stop) as caught, bar(output, "Applying", total) as shown:
        report = await apply_plan(
            plan,
            api=service.api,
            journal=journal,
            clock=service.clock,
            observer=ApplyProgress(shown, output),
            pace=pace,
            stop=stop,
            token=new_token,
            approved=approved,
            again=frozenset(options["again"]),
        )
    publish(report=report)
    reason = caught[0] if caught else report.exit_reason
    met = conditions_met(plan, (FailOn(word) for word in options["fail_on"]), looked_for_drift=False)
    if met and reason is ExitReason.OK:
        reason = ExitReason.ERROR
    try:
        journal.close_run(reason.word)
    except JournalError as error:  # the report says what became of each change, so it must not be lost to this
        output.warn(f"the end of this apply could not be written down: {error}")
    output.notes(service.notes)
    _show(report, output, reason)
    for condition in met:
        output.error(f"--fail-on {condition.value}: {condition.sentence}")
    return reason


def _show(report: ApplyReport, output: Output, reason: ExitReason) -> None:
    if output.is_json:
        from reconciler.render.json import report_json

        output.data(report_json(report, reason))
        return
    from reconciler.render.text import report_text

    output.data("\n" + report_text(report, output.style, verbose=output.verbose))
