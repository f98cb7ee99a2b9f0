"""``reconciler apply``: show, ask, change, report."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.cli.files import load_told
from reconciler.cli.flags import DEFAULT_LOCK_TIMEOUT
from reconciler.cli.haltfiles import gate_of
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.options import FileOptions, PlanningOptions, PolicyOptions, SelectionOptions, duration_of
from reconciler.cli.output import is_terminal
from reconciler.cli.plan import load_plan, plan_ending
from reconciler.cli.planning import make_plan, parse_allow, require_metrics_place, save_metrics
from reconciler.cli.progress import ApplyProgress, bar
from reconciler.cli.service import new_token, open_service, run_async
from reconciler.cli.writing import open_to_write, said_yes, signals, this_process, while_busy
from reconciler.core.errors import ExitReason, GuardRefused, JournalError, ReconcilerError, StalePlan, UsageError
from reconciler.core.fleet import require_among
from reconciler.core.guards import still_over
from reconciler.core.report import FailOn, blocked_text, conditions_met
from reconciler.core.text import plural
from reconciler.render.ending import Ending, View
from reconciler.render.plan import report_document, report_page

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.apply.journal import OpenJournal
    from reconciler.apply.journalclaims import JoinedClaims
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.endpoint import JournalUrl
    from reconciler.core.freeze import WriteGate
    from reconciler.core.model import Address
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport
    from reconciler.render.ending import Found

_NOTHING_CHOSEN: Final = (FileOptions(), SelectionOptions(), PolicyOptions())


class ApplyOptions(PlanningOptions, frozen=True, kw_only=True):
    """The options of ``apply``. ``plan_file`` and ``approved`` are files of saved plans."""

    plan_file: str | None = None
    approved: str | None = None
    fingerprint: str | None = None
    auto_approve: bool = False
    join: bool = False
    canary: int = 0
    max_failures: int | None = None
    lock_timeout: str = DEFAULT_LOCK_TIMEOUT
    allow: tuple[str, ...] = ()
    max_age: str | None = None
    """How old what a saved plan was made from may be, as typed."""
    fail_on: tuple[FailOn, ...] = ()


class Session(Struct, frozen=True):
    """A service and a journal, open for a command that writes; and its options, and what it has found so far."""

    options: ApplyOptions
    service: Service
    journal: OpenJournal
    found: Found

    def gate(self, *, planned_ms: int | None = None) -> WriteGate:
        """Return the gate of a run that begins now: see :func:`~reconciler.cli.haltfiles.gate_of`."""
        return gate_of(self.journal.halting(), self.service.label, self.service.account, planned_ms=planned_ms)


def apply(options: ApplyOptions, found: Found) -> Ending:
    """Plan, or take a saved plan, and carry it out."""
    parse_allow(options.allow)
    require_metrics_place(options)
    _max_age_ms(options)
    if options.plan_file:
        return _apply_saved(options, options.plan_file, found)
    if options.join:
        raise UsageError("--join belongs to a saved plan: name the PLAN that all runners share.")
    for name, value in (("--fingerprint", options.fingerprint), ("--max-age", options.max_age)):
        if value is not None and not options.approved:
            raise UsageError(f"{name} belongs to a saved plan: name that plan, as PLAN or with --approved.")
    if not (options.auto_approve or options.approved) and not is_terminal(sys.stdin):
        raise UsageError("There is no terminal to ask on. Add --auto-approve, or apply a saved plan.")
    approved = _saved(options, options.approved) if options.approved else None
    configuration = load_told(options.files, options.output, found)
    warn_of_journal(options.service, configuration, options.output)

    async def work() -> Ending:
        async with open_service(
            options.service,
            configuration.paths,
            configuration.desired.values(),
            expect=configuration.expect,
            writes=True,
        ) as service:
            if approved is not None:
                _require_fresh(approved, options, service)
            with await open_to_write(options.service, service, lock_timeout=options.lock_timeout) as journal:
                return await _plan_and_apply(Session(options, service, journal, found), configuration, approved)

    return run_async(work)


async def _plan_and_apply(session: Session, configuration: Configuration, approved: Plan | None) -> Ending:
    await settle_first(session)
    options, agreed = session.options, _fingerprint(approved)
    plans = [agreed] if agreed is not None else []
    gate = session.gate()  # what comes after this, the plan does not know
    plan = await make_plan(options, configuration, session.service, plans=plans, journal=session.journal)
    session.found.diagnostics = plan.warnings
    save_metrics(options, plan, command="apply")  # it may be refused, or the process may end, before there is a report
    return await ask_and_carry_out(plan, session, gate, approved=approved)


async def ask_and_carry_out(
    plan: Plan, session: Session, gate: WriteGate, *, approved: Plan | None = None, title: str = "Apply"
) -> Ending:
    """Show a plan that was made just now, refuse it or have it approved, and carry it out as :func:`carry_out` does.

    What it shows as frozen waits in the whole apply, whenever its freeze is over.
    """
    from reconciler.core.freeze import let_through

    options, found = session.options, session.found
    found.plan = plan = let_through(plan, parse_allow(options.allow).freezes)
    left = {change.id: change.frozen for change in plan.changes if change.frozen is not None}
    if not options.output.is_json:
        shown = plan_ending(plan, options, found, ExitReason.OK)
        options.output.show(replace(shown, warnings=()))  # what is over a guard is refused below, or was allowed
    fewer = _require_approved(plan, approved, found) if approved is not None else None
    _require_allowed(plan, options, left)
    if fewer:
        options.output.note(fewer)
    await _require_scopes_for(plan, session.service, options)
    if approved is None and not options.auto_approve:
        _ask_to_apply(plan, left)
    gate = replace(gate, left=left)
    return await carry_out(plan, session, gate, approved=_fingerprint(approved), title=title)


def _fingerprint(approved: Plan | None) -> str | None:
    from reconciler.core.planfile import fingerprint

    return fingerprint(approved) if approved is not None else None


def _apply_saved(options: ApplyOptions, plan_file: str, found: Found) -> Ending:
    """Run a saved plan as it is. Options that would select or decide something else than the plan does are refused."""
    from reconciler.core.model import Paths
    from reconciler.core.planfile import require_account, require_service

    decided = replace(options.policy, again=())  # a lost request is asked for anew by hand, whatever was planned
    if options.approved or (options.files, options.selection, decided) != _NOTHING_CHOSEN:
        raise UsageError("A saved plan already says what to do: drop the options that choose or allow something else.")
    shared = _shared_journal(options) if options.join else None
    plan = _saved(options, plan_file)
    changed = {change.id for change in plan.changes}
    require_among("--again", options.policy.again, changed, "among the changes of the plan")
    found.plan = plan

    async def work() -> Ending:
        async with open_service(options.service, Paths.AUTO, plan.changes) as service:
            require_service(plan, service.label)
            require_account(plan, service.account)
            _require_fresh(plan, options, service)
            _require_allowed(plan, options)
            if shared is not None:
                return await _join(plan, shared, options, service, found)
            with await open_to_write(options.service, service, lock_timeout=options.lock_timeout) as journal:
                session = Session(options, service, journal, found)
                await settle_first(session)
                await _require_possible(plan, options, service)
                return await carry_out(plan, session, session.gate(planned_ms=plan.created_ms))

    return run_async(work)


def _shared_journal(options: ApplyOptions) -> JournalUrl:
    """Return where the journal of ``--join`` lies. Raises :class:`UsageError` for a file."""
    from reconciler.core.endpoint import JournalUrl

    place = options.service.journal_place
    if not isinstance(place, JournalUrl):
        raise UsageError(
            "--join needs a journal that several machines can share",
            "Name a database: --journal postgresql://USER@HOST/DATABASE. A file is for one runner.",
        )
    return place


async def _join(plan: Plan, shared: JournalUrl, options: ApplyOptions, service: Service, found: Found) -> Ending:
    """Carry out a saved plan together with other runners of it."""
    from reconciler import TOOL
    from reconciler.apply.journalclaims import Terms, joined_claims

    terms = Terms(
        canary=options.canary,
        max_failures=options.max_failures,
        again=tuple(sorted(options.policy.again)),
        freezes=tuple(sorted(parse_allow(options.allow).freezes)),
    )
    waits = options.lock_timeout
    with (
        joined_claims(shared, plan=plan, terms=terms, name=this_process(), clock=service.clock) as claims,
        await open_to_write(options.service, service, lock_timeout=waits, shared=True) as journal,
    ):
        await _require_possible(plan, options, service)
        await while_busy(claims.at_the_door, lock_timeout=waits)
        session = Session(options, service, journal, found)
        await claims.enter(journal, TOOL, settle=lambda: settle_first(session))
        if claims.is_over:
            options.output.note(f"note: run {claims.run} of this plan has ended; this is its report")
        return await carry_out(plan, session, session.gate(planned_ms=plan.created_ms), claims=claims)


async def _require_possible(plan: Plan, options: ApplyOptions, service: Service) -> None:
    """Refuse a plan that the key may not carry out, or that would reach more portfolios by now than it says."""
    from reconciler.core.planfile import require_enrolled

    await _require_scopes_for(plan, service, options)
    if plan.as_of_ms is not None and plan.cadences:
        require_enrolled(plan, await service.api.list_portfolios())


def _saved(options: ApplyOptions, file: str) -> Plan:
    """Load a saved plan, and check that it is the one whose fingerprint was passed along.

    The fingerprint comes by another way than the file (as a job's output, while the file is an artifact), so a file
    that was swapped for another valid one is noticed. Raises :class:`StalePlan`.
    """
    from reconciler.core.planfile import fingerprint

    plan = load_plan(file)
    wanted, its_own = options.fingerprint, fingerprint(plan)
    if wanted is not None and wanted.strip().lower() != its_own:
        raise StalePlan(
            f"{file} is not the plan of --fingerprint: its own is {its_own}",
            "Nothing was written. Pass the plan that was reviewed, or have this one reviewed.",
        )
    return plan


def _require_fresh(plan: Plan, options: ApplyOptions, service: Service) -> None:
    """Refuse a saved plan whose reads are too old. Raises :class:`StalePlan`."""
    from reconciler.core.planfile import require_applicable

    require_applicable(plan, now_ms=service.api.service_ms(), max_age_ms=_max_age_ms(options))


def _max_age_ms(options: ApplyOptions) -> int | None:
    """Return ``--max-age`` in milliseconds. Raises :class:`~reconciler.core.errors.UsageError`."""
    return duration_of("--max-age", options.max_age, such_as="1h") if options.max_age is not None else None


def _require_approved(plan: Plan, approved: Plan, found: Found) -> str | None:
    """Check a plan against the approved one. If it is refused, ``found`` gets the whole difference, to be shown."""
    from reconciler.core.diff import compare_plans, require_approved

    try:
        return require_approved(plan, approved)
    except StalePlan:
        found.uncovered = compare_plans(earlier=approved, later=plan)
        raise


def _require_allowed(plan: Plan, options: ApplyOptions, left: Collection[Address] = ()) -> None:
    """Refuse a plan that is over a guard, unless ``--allow`` allows that number; what is ``left`` is not counted."""
    going = [change for change in plan.changes if change.id not in left] if left else None
    over = still_over(plan.over, parse_allow(options.allow).numbers, going)
    if over:
        facts = " ".join(f"{excess.fact}." for excess in over)
        flags = " ".join(excess.flag for excess in over)
        detail = f"{facts} After reading the plan, allow it with {flags}"
        raise GuardRefused("the plan is over a guard, nothing was written", detail)


async def _require_scopes_for(plan: Plan, service: Service, options: ApplyOptions) -> None:
    """Refuse a plan that the key may not carry out; only v2 knows scopes, so a plan without v2 asks nobody."""
    from reconciler.api.key import require_scopes
    from reconciler.core.doctor import needed_scopes

    _, needed = needed_scopes(plan.portfolios, strategies=bool(plan.cadences))
    if note := await require_scopes(service.api.transport, needed):
        options.output.note(f"note: {note}")


def _ask_to_apply(plan: Plan, left: Collection[Address]) -> None:
    """Ask on the terminal, unless all there is to do waits for a freeze; anything but yes applies nothing."""
    count = len(plan.changes) - len(left)
    if not count:
        return
    rest = f", and leave {len(left)} that must wait" if left else ""
    question = f"\nApply {'this change' if count == 1 else f'these {count} changes'}{rest}? Only 'yes' is accepted."
    if not said_yes(question):
        raise ReconcilerError("not approved, nothing was written")


async def settle_first(session: Session) -> None:
    """Find out what became of the writes of an apply that was cut off, before anything else."""
    from reconciler.apply.announce import settle
    from reconciler.apply.journalqueue import QueuedJournal
    from reconciler.core.model import PortfolioId

    # By what each intent says, not by the files: a portfolio may have left them, or moved to the other API, since.
    versions = {PortfolioId(one.intent.address): one.intent.api for one in session.journal.unsettled()}
    with QueuedJournal(session.journal) as queued:
        for sentence in await settle(api=session.service.api.by(versions), journal=queued):
            session.options.output.note(f"note: {sentence}")


async def carry_out(
    plan: Plan,
    session: Session,
    gate: WriteGate,
    *,
    approved: str | None = None,
    claims: JoinedClaims | None = None,
    title: str = "Apply",
) -> Ending:
    """Carry a plan out; ``title`` is what people call it. Fills in the report of what the session has found."""
    from reconciler import TOOL
    from reconciler.apply.journalqueue import QueuedJournal
    from reconciler.apply.run import Pace, Stop, apply_plan
    from reconciler.core.planfile import fingerprint

    options, service, journal = session.options, session.service, session.journal
    allowed = parse_allow(options.allow).freezes
    _note_needless(allowed, plan, options)
    stop = Stop(hang_up=[one.hang_up for one in (journal, claims) if one is not None])
    pace = Pace(parallelism=options.service.parallelism, max_failures=options.max_failures, canary=options.canary)
    run = claims.run if claims else journal.open_run(fingerprint=fingerprint(plan), tool=TOOL, approved=approved)
    with (
        QueuedJournal(journal) as queued,
        signals(stop) as caught,
        bar(options.output, f"{title}ing", len(plan.changes)) as shown,
    ):
        session.found.report = report = await apply_plan(
            plan,
            api=service.api,
            journal=queued,
            clock=service.clock,
            observer=ApplyProgress(shown, options.output),
            pace=pace,
            stop=stop,
            token=new_token,
            gate=replace(gate, allowed=allowed),
            approved=approved,
            again=frozenset(options.policy.again),
            claims=claims,
        )
    met = conditions_met(report.left, options.fail_on, looked_for_drift=False)
    reason = _reason(report, caught, failed_on=bool(met))
    await _close(journal, claims, reason, options, of=len(plan.changes))
    try:
        save_metrics(options, plan, command="apply", report=report)
    except ReconcilerError as error:  # nor must it be lost to this
        options.output.warn(str(error))
    options.output.notes(service.notes)
    told = (
        *_blocked_before(plan, options),
        *_waiting(report),
        *(f"--fail-on {condition.value}: {condition.sentence}" for condition in met),
    )
    return Ending(reason=reason, found=session.found, view=report_view(report, run=run, title=title), errors=told)


def _note_needless(allowed: Collection[str], plan: Plan, options: ApplyOptions) -> None:
    """Say which freezes were allowed although no change of the plan waits for them."""
    named = {window.name for change in plan.changes for window in change.freezes}
    for name in sorted(set(allowed) - named):
        options.output.note(f"note: --allow freeze={name} lets nothing through: no change of this plan waits for it")


async def _close(
    journal: OpenJournal, claims: JoinedClaims | None, reason: ExitReason, options: ApplyOptions, *, of: int
) -> None:
    """End the run in the journal, if no other runner is at work with it any more; ``of`` is how many changes it has."""
    try:
        if claims is None or await claims.leave():
            journal.close_run(reason.word)
    except JournalError as error:  # the report says what became of each change, so it must not be lost to this
        options.output.warn(f"the end of this apply could not be written down: {error}")
    if claims is not None and not claims.is_over:
        share = f"{claims.carried_out} of {plural(of, 'change')}"
        options.output.note(f"note: this runner carried out {share} of run {claims.run}")


def report_view(report: ApplyReport, *, run: int | None, title: str, more: Mapping[str, Any] | None = None) -> View:
    """Return the view of a report; ``more`` stands in its document besides."""
    return View(
        page=lambda: report_page(report, run=run, title=title),
        body=lambda: {**(more or {}), **report_document(report)},
        below=title != "Halt",  # of the others, the terminal shows the plan above
    )


def _blocked_before(plan: Plan, options: ApplyOptions) -> Iterator[str]:
    """Yield why an apply of a saved plan is no success, where its report does not show it; other plans were shown."""
    if options.plan_file and (blocked := blocked_text(plan)):
        yield f"{blocked} blocked when the plan was made; `reconciler show {options.plan_file}` tells why"


def _waiting(report: ApplyReport) -> Iterator[str]:
    """Yield a sentence for each freeze, or set of them, that changes wait for."""
    add = "plan again, and add" if report.joined else "add"
    for frozen, count in Counter(result.frozen for result in report.frozen if result.frozen is not None).items():
        what = f"{plural(count, 'change')} {'waits' if count == 1 else 'wait'}"
        yield f"{what}, {frozen}; to let {'it' if count == 1 else 'them'} through, {add} {frozen.flags}"


def _reason(report: ApplyReport, caught: list[ExitReason], *, failed_on: bool) -> ExitReason:
    """Return what an apply exits with: the signal that stopped it, else what became of the changes."""
    reason = caught[0] if caught else report.exit_reason
    return ExitReason.ERROR if failed_on and reason is ExitReason.OK else reason
