"""``reconciler halt``: pause what runs, whatever the files say; ``halt lift``: the exact way back; ``halt list``.

In: ids, a selection of the files, or what the journal knows. Out: pauses with a mark of their own, and the halt itself
in the journal and in a file to be committed. A halt waits for nobody: it is recorded first, so that no other command
begins anything it holds, and then pauses while those may still be at work.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from reconciler.cli.apply import ApplyOptions, Session, ask_and_carry_out, carry_out, report_view, settle_first
from reconciler.cli.files import load_files, load_files_if_any
from reconciler.cli.flags import HALT_PARALLELISM
from reconciler.cli.haltfiles import halt_document, keep, path_of, with_filed
from reconciler.cli.ids import named
from reconciler.cli.options import ServiceOptions
from reconciler.cli.output import is_terminal
from reconciler.cli.planning import require_found
from reconciler.cli.progress import read_with_bar
from reconciler.cli.service import new_token, open_service, run_async
from reconciler.cli.writing import SpareJournals, open_to_write, origin_of, said_yes, until_ended
from reconciler.config.load import Configuration
from reconciler.core.codec import iso
from reconciler.core.errors import ApiError, ConfigInvalid, ExitReason, JournalError, ReconcilerError, UsageError
from reconciler.core.evidence import believed, without_mark
from reconciler.core.fleet import require_among, select
from reconciler.core.freeze import WriteGate, with_freezes
from reconciler.core.guards import check_guards
from reconciler.core.halt import Halt, HaltedPortfolio
from reconciler.core.model import ApiVersion, PortfolioId, Status, is_halt_id
from reconciler.core.plan import Plan
from reconciler.core.planner import Lift, halt_plan, is_lifted, with_pauses
from reconciler.core.report import ACHIEVED
from reconciler.core.text import harmless, label, plural
from reconciler.render.effects import left_by_lift

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.apply.journal import OpenJournal
    from reconciler.cli.service import Service
    from reconciler.core.model import Desired
    from reconciler.render.ending import Ending, Found


class QuickOptions(ServiceOptions, frozen=True, kw_only=True):
    """How the service is reached for a halt: with more requests at a time, because every second counts."""

    parallelism: int = HALT_PARALLELISM


class KnownOptions(ApplyOptions, frozen=True, kw_only=True):
    """What ``halt`` and ``halt lift`` have in common.

    With ``known``, what the journal knows is selected, for a lift also what the halt's file knows. Then no file of
    portfolios has to be valid.
    """

    known: bool = False
    version: ApiVersion | None = None


class HaltOptions(KnownOptions, frozen=True, kw_only=True):
    """The options of ``halt``; ``everything`` is ``--all``."""

    service: QuickOptions = QuickOptions()
    portfolios: tuple[str, ...] = ()
    reason: str | None = None
    everything: bool = False

    @property
    def selects(self) -> bool:
        """Whether portfolios are selected from the files."""
        return self.everything or not self.selection.selection.everything


def halt(options: HaltOptions, found: Found) -> Ending:
    """Record a halt, pause everything that it selects, and keep its file."""
    reason = harmless(without_mark(options.reason or ""), longest=200).strip()
    if not (options.portfolios or options.known or options.selects):
        raise UsageError(
            "Nothing is selected to be halted.",
            "Name ids, select with --select or --target, or take --all; --known takes what the journal knows.",
        )
    if not reason:
        raise UsageError("A halt needs a reason.", "Say why with --reason; everybody will see it at each portfolio.")
    if not options.auto_approve and not is_terminal(sys.stdin):
        raise UsageError("There is no terminal to ask on. Add --auto-approve.")
    configuration = _files(options)

    async def work() -> Ending:
        async with open_service(options.service, configuration.paths, expect=configuration.expect) as service:
            with SpareJournals(options.service, service, found, options.output) as journals:
                apis = await journals.used_by(lambda journal: _apis(options, configuration, service, journal))
                here = replace(service, api=service.api.by(apis))
                if not options.auto_approve:
                    await _ask_for_number(options, apis, here)
                made = _made(options, reason, apis, here)
                desired = configuration.desired
                return await journals.used_by(
                    lambda journal: _pause(made, Session(options, here, journal, found), desired)
                )

    return run_async(work)


def _files(options: HaltOptions) -> Configuration:
    """Load the files. If nothing is selected from them, a mistake in them must not stop a halt."""
    try:
        return load_files(options.files) if options.selects else load_files_if_any(options.files)
    except ConfigInvalid as error:
        if options.selects:
            error.detail = "With ids, or with --known for all that the journal knows, a halt needs no files."
            raise
        options.output.warn("the files can't be used, so the halt goes on without them")
        return Configuration()


async def _apis(
    options: HaltOptions, configuration: Configuration, service: Service, journal: OpenJournal
) -> dict[PortfolioId, ApiVersion]:
    """Return the portfolios to be halted, sorted by id, each with its API: the declared or given one, else the one that
    the journal knows, else the one on which the service finds it."""
    known = journal.apis()
    apis: dict[PortfolioId, ApiVersion] = {}
    if options.selects:
        selected = select(configuration.desired, options.selection.selection, configuration.strategies)
        apis = {one: declared.api for one, declared in selected.items()}
    unsure: dict[PortfolioId, ApiVersion] = {}
    for one in named({*options.portfolios, *(known if options.known else ())}, configuration, options.version):
        is_told = one.desired is not None or options.version is not None
        sure = one.version if is_told else known.get(one.id)
        (unsure if sure is None else apis)[one.id] = sure or one.version
    if unsure:
        other = {ApiVersion.V1: ApiVersion.V2, ApiVersion.V2: ApiVersion.V1}
        live = await read_with_bar(service.api.by(unsure), unsure, options.output, options.service.parallelism)
        lost = {one for one in unsure if live[one].status is Status.NOT_FOUND}
        apis |= {one: other[api] if one in lost else api for one, api in unsure.items()}
    if not apis:
        why = "the selection has no portfolio" if options.selects else "the journal knows no portfolio"
        raise ReconcilerError(f"there is nothing to halt: {why}", "Name their ids.")
    return dict(sorted(apis.items()))


async def _ask_for_number(options: HaltOptions, apis: Mapping[PortfolioId, ApiVersion], service: Service) -> None:
    """Say how many run, and have a person type that number; with anything else nothing is halted."""
    live = await read_with_bar(service.api, apis, options.output, options.service.parallelism)
    runs = sum(one.status is Status.ACTIVE for one in live.values())
    of = plural(len(live), "portfolio")
    click.echo(
        f"{runs} of {of} at {service.label} {'runs' if runs == 1 else 'run'}. "
        f"Until the halt is lifted, nothing begins for {'it' if len(live) == 1 else 'any of them'}.",
        err=True,
    )
    if not said_yes(f"\nType the number of those that run, {runs}, to pause them.", meaning_yes=str(runs)):
        raise ReconcilerError("not approved, nothing was halted")


def _made(options: HaltOptions, reason: str, apis: Mapping[PortfolioId, ApiVersion], service: Service) -> Halt:
    """Return a new halt of these portfolios."""
    at_ms = service.api.service_ms()
    return Halt(
        id=f"{iso(at_ms)[:10].replace('-', '')}-{new_token()}",
        base_url=service.label,
        account=service.account,
        reason=reason,
        at_ms=at_ms,
        who=origin_of(os.environ).who or label(os.environ.get("USER", "")),
        selection=options.selection.selection if options.selects else None,
        portfolios=tuple(HaltedPortfolio(id=one, api=api) for one, api in apis.items()),
    )


async def _pause(made: Halt, session: Session, desired: Mapping[PortfolioId, Desired]) -> Ending:
    """Record a halt, so that no other command begins anything that it holds, and pause what runs. Then look again at
    portfolios that a write from before the halt may have resumed meanwhile."""
    options, service, journal, found = session.options, session.service, session.journal, session.found
    journal.halt(made)
    keep(made, options.output, found, new=not path_of(made.id).exists())
    _ = journal.memory(), journal.halting()  # all of it is read now, because damage must show before the first pause
    found.plan = plan = halt_plan(made, desired, created_ms=service.clock.now_ms())
    begun = {one.number: one.intent.address for one in journal.unsettled()}
    late = tuple(change for change in plan.changes if change.id in begun.values())
    gate = WriteGate(known=frozenset({made.id}))
    try:
        ending = await carry_out(plan, session, gate, title="Halt")
        if late and (first := found.report) is not None:
            await until_ended(begun, journal, service.clock)
            ending = await carry_out(replace(plan, changes=late), session, gate, title="Halt")
            found.report = first.followed_by(found.report)
    finally:
        strategies: dict[PortfolioId, str | None] = {one: declared.strategy for one, declared in desired.items()}
        if any(one.api.can.lists for one in made.portfolios):
            with suppress(ApiError):  # a refused key; without the list, a cadence waits for any of them
                strategies |= {one: live.strategy for one, live in (await service.api.list_portfolios()).rows.items()}
        try:
            made = with_pauses(made, journal.memory(), strategies)
            journal.halt(made)
        except JournalError as error:
            if found.report is not None:  # what was done must not be lost to this
                options.output.warn(f"the pauses of this halt could not be written down: {error.summary}")
        kept = keep(made, options.output, found)
    told = [f"commit {path_of(made.id)}: other machines know of the halt by this file"] if kept else []
    held = plural(len(made.portfolios), "portfolio")
    told.append(f"the halt {made.id} holds {held} until it is lifted: `reconciler halt lift {made.id}`")
    if undone := sum(one.outcome not in ACHIEVED for one in found.report.results) if found.report is not None else 0:
        told.append(f"{plural(undone, 'portfolio')} may still run: halt {'it' if undone == 1 else 'them'} again")
    return _ended(ending, session, told, made, title="Halt")


def _ended(ending: Ending, session: Session, told: Iterable[str], made: Halt | None, *, title: str) -> Ending:
    """Return the ending of a halt or its lift, with what people should be told after it."""
    found = session.found
    found.notes = (*found.notes, *told)
    if (report := found.report) is None:
        return ending
    signalled = ending.reason in (ExitReason.INTERRUPTED, ExitReason.TERMINATED)
    more = {"halt": halt_document(made) if made is not None else None, "notes": list(found.notes)}
    return replace(
        ending,
        reason=ending.reason if signalled else report.exit_reason,
        view=report_view(report, run=None, title=title, more=more),
        notes=() if session.options.output.is_json else found.notes,  # in JSON, they stand in the document
    )


class LiftOptions(KnownOptions, frozen=True, kw_only=True):
    """The options of ``halt lift``; ``halt`` is the id of the halt."""

    halt: str


def lift(options: LiftOptions, found: Found) -> Ending:
    """Resume what is still in the very pause of a halt, under guards and canary, and write down that it is lifted."""
    if not is_halt_id(options.halt):
        raise UsageError(f"{options.halt[:60]!r} is not the id of a halt; `reconciler halt list` shows them.")
    if options.known and (options.files.sources or options.selection.selection.by_conditions):
        raise UsageError("--known lifts without the files: drop --file and --select, and name ids with --target.")
    if not options.auto_approve and not is_terminal(sys.stdin):
        raise UsageError("There is no terminal to ask on, and a lift resumes trading. Add --auto-approve.")
    try:
        configuration = load_files_if_any(options.files) if not options.known else Configuration()
    except ConfigInvalid as error:
        error.detail = (
            "With --known, a lift needs no files; then it resumes also what they freeze or declare paused by now."
        )
        raise

    async def work() -> Ending:
        async with open_service(
            options.service, configuration.paths, expect=configuration.expect, writes=True
        ) as service:
            with await open_to_write(options.service, service, lock_timeout=options.lock_timeout) as journal:
                session = Session(options, service, journal, found)
                await settle_first(session)
                return await _lift(options, configuration, session)

    return run_async(work)


async def _lift(options: LiftOptions, configuration: Configuration, session: Session) -> Ending:
    desired, service, journal = configuration.desired, session.service, session.journal
    gate = session.gate()  # what comes after this, the plan may not know
    memory = with_filed(journal.memory(), service.label, service.account)
    those = [one for one in (*memory.halting.filed, *journal.halts()) if one.id == options.halt]
    known = min(those, key=lambda one: one.lifted_ms is not None, default=None)  # it is lifted once all say so
    apis = _selected(options, known, desired, journal)
    here = replace(service, api=service.api.by(apis))
    live = await read_with_bar(here.api, apis, options.output, options.service.parallelism)
    require_found(live, here.label, here.account)
    now_ms = here.api.service_ms()
    memory = replace(memory, records=believed(memory, live, now_ms=now_ms)[0])
    plan = Lift(id=options.halt, live=live, apis=apis, memory=memory, desired=desired).plan(
        Plan(created_ms=here.clock.now_ms(), base_url=here.label, account=here.account)
    )
    if known is None and not plan.changes:
        repair = f"`reconciler halt list` shows those that are known; {path_of(options.halt)} may be on another branch."
        raise ReconcilerError(f"nothing here is in the pause of a halt {options.halt}", repair)
    if not configuration.files:
        options.output.note(
            "note: without files, nothing is known to be frozen or declared paused, and the default guards hold"
        )
    plan = with_freezes(plan, configuration.freezes, desired, {}, now_ms=now_ms)
    plan = replace(plan, over=check_guards(plan.changes, configuration.guards, managed=len(desired) or len(apis)))
    session = replace(session, service=here)
    ending = await ask_and_carry_out(plan, session, gate, title="Lift")
    lifted, told = _lifted(options.halt, known, plan, session)
    return _ended(ending, session, told, lifted or known, title="Lift")


def _selected(
    options: LiftOptions, known: Halt | None, desired: Mapping[PortfolioId, Desired], journal: OpenJournal
) -> dict[PortfolioId, ApiVersion]:
    """Return the selected portfolios of a halt, each with its API. If nothing but its marks is left of it, they may be
    anywhere. Raises :class:`~reconciler.core.errors.UsageError` if a part is selected that is none."""
    if known is not None:
        apis = {one.id: one.api for one in known.portfolios}
    else:
        found = {one: options.version or api or ApiVersion.V1 for one, api in journal.apis().items()}
        apis = dict(sorted((found | {one: declared.api for one, declared in desired.items()}).items()))
    selection = options.selection.selection
    require_among("--target", selection.targets, apis, f"among the portfolios of the halt {options.halt}")
    chosen = {one: api for one, api in apis.items() if selection.passes(one, desired.get(one))}
    if apis and not chosen:
        raise UsageError(f"The selection has no portfolio of the halt {options.halt}.", "`halt lift ID` takes all.")
    return chosen


def _lifted(halt: str, known: Halt | None, plan: Plan, session: Session) -> tuple[Halt | None, list[str]]:
    """Write down that a halt is lifted, if a second try could not resume any more of it; say what was left."""
    options, journal, found = session.options, session.journal, session.found
    report, told = found.report, list(left_by_lift(plan, halt))
    if not is_lifted(plan, report) or not options.selection.selection.everything:
        return None, [*told, f"the halt {halt} holds on: `reconciler halt lift {halt}` goes on with it"]
    if known is None:
        return None, [*told, "neither journal nor file knows the halt here, and v2 shows no marks of what it paused"]
    if known.lifted_ms is not None and not plan.changes:
        return None, [*told, f"the halt {halt} was lifted {iso(known.lifted_ms)}, and nothing of it was left to resume"]
    lifted = replace(known, lifted_ms=session.service.api.service_ms())
    if any(one.id == halt for one in journal.halts()):
        journal.halt(lifted)
    if path_of(halt).exists() and keep(lifted, options.output, found):
        told.append(f"commit {path_of(halt)}: it says now that the halt is lifted")
    return lifted, told
