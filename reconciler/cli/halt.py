"""``reconciler halt``: pause what runs, whatever the files say; ``halt lift``: the exact way back; ``halt list``.

In: ids, a selection of the files, or what the journal knows. Out: pauses with a mark of their own, and the halt itself
in the journal and in a file to be committed. A halt waits for nobody: it is recorded first, so that no other command
begins anything it holds, and then pauses while those may still be at work.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click
from msgspec import Struct
from msgspec.structs import replace

from reconciler.cli.apply import (
    ApplyOptions,
    ask_to_apply,
    carry_out,
    left_by,
    report_view,
    require_allowed,
    require_scopes_for,
    settle_first,
)
from reconciler.cli.files import expect_in, load_files, load_files_if_any, paths_of
from reconciler.cli.flags import HALT_PARALLELISM
from reconciler.cli.haltfiles import gate_of, keep, path_of, read_filed, with_filed
from reconciler.cli.ids import named
from reconciler.cli.journal import label_of
from reconciler.cli.options import Options, RecordOptions, ServiceOptions
from reconciler.cli.output import is_terminal
from reconciler.cli.plan import plan_ending
from reconciler.cli.progress import ReadProgress, bar
from reconciler.cli.service import new_token, open_service, run_async
from reconciler.cli.writing import open_to_write, origin_of, said_yes
from reconciler.core.codec import dump, iso
from reconciler.core.errors import ConfigInvalid, ExitReason, JournalError, ReconcilerError, UsageError
from reconciler.core.evidence import believed, without_mark
from reconciler.core.fleet import select
from reconciler.core.freeze import with_freezes
from reconciler.core.guards import Guards, check_guards
from reconciler.core.halt import Halt, HaltedPortfolio, HaltGate
from reconciler.core.model import ApiVersion, PortfolioId, Status, is_halt_id
from reconciler.core.plan import Plan
from reconciler.core.planner import Lift, halt_plan, with_pauses
from reconciler.core.report import ACHIEVED, ApplyReport, Outcome
from reconciler.core.text import harmless, label, plural
from reconciler.render.ending import Ending, PageView
from reconciler.render.json import document_json
from reconciler.render.page import Column, Page, Part, Row, Rows, Span, Tone, code, moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence

    from reconciler.apply.journal import OpenJournal
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.fleet import Selection
    from reconciler.core.model import Desired, Live
    from reconciler.core.ports import Memory
    from reconciler.render.ending import Found

T = TypeVar("T")

LONGEST_REASON: Final = 200
_UNDER_WAY_S: Final = 35.0
"""How long to wait for the end of writes that began before the halt: a little longer than a request may take."""
_LOOK_AGAIN_S: Final = 0.5
_SIGNALLED: Final = (ExitReason.INTERRUPTED, ExitReason.TERMINATED)
_OVER: Final = ACHIEVED | {Outcome.STALE}
"""After these, a second try has nothing to do: what is stale is in another state or pause than the halt left."""
_NOBODY: Final[Mapping[PortfolioId, Desired]] = {}


class QuickOptions(ServiceOptions, frozen=True, kw_only=True):
    """How the service is reached for a halt: with more requests at a time, because every second counts."""

    parallelism: int = HALT_PARALLELISM


class HaltOptions(ApplyOptions, frozen=True, kw_only=True):
    """The options of ``halt``; ``everything`` is ``--all``, and ``known`` is all that the journal knows."""

    service: QuickOptions = QuickOptions()
    portfolios: tuple[str, ...] = ()
    reason: str | None = None
    everything: bool = False
    known: bool = False
    version: ApiVersion | None = None

    @property
    def selects(self) -> bool:
        """Whether portfolios are selected from the files."""
        return self.everything or not self.selection.selection.everything


def halt(options: HaltOptions, found: Found) -> Ending:
    """Record a halt, pause everything that it selects, and keep its file."""
    reason = harmless(without_mark(options.reason or ""), longest=LONGEST_REASON).strip()
    if not (options.portfolios or options.known or options.selects):
        raise UsageError(
            "Nothing is selected to be halted.",
            "Name ids, select with --select or --target, or take everything with --all; --known takes the ids from the "
            "journal, and needs no files.",
        )
    if not reason:
        raise UsageError("A halt needs a reason.", "Say why with --reason; everybody will see it at each portfolio.")
    if not options.auto_approve and not is_terminal(sys.stdin):
        raise UsageError("There is no terminal to ask on. Add --auto-approve.")
    configuration = _files(options)

    async def work() -> Ending:
        async with open_service(options.service, paths_of(configuration), expect=expect_in(configuration)) as service:
            with ExitStack() as opened:
                journals = _Journals(options, service, found, opened)
                chosen = await journals.used_by(lambda journal: _chosen(options, configuration, service, journal))
                here = replace(service, api=service.api.by(chosen.apis))
                if not options.auto_approve:
                    await _ask_for_number(options, chosen, here)
                made = _made(reason, chosen, here)
                return await journals.used_by(lambda journal: _pause(made, options, chosen, here, journal, found))

    return run_async(work)


def _files(options: HaltOptions) -> Configuration | None:
    """Load the files. If nothing is selected from them, a mistake in them must not stop a halt."""
    try:
        return load_files(options.files) if options.selects else load_files_if_any(options.files)
    except ConfigInvalid:
        if options.selects:
            options.output.note("note: with ids, or with --known for all that the journal knows, a halt needs no files")
            raise
        options.output.warn("the files can't be used, so the halt goes on without them")
        return None


class _Journals:
    """The journal of a halt. One that can't be opened, read or written must not stop a halt: a new one takes its place,
    until something was paused with the first."""

    def __init__(self, options: HaltOptions, service: Service, found: Found, opened: ExitStack) -> None:
        self._options, self._service, self._found, self._opened = options, service, found, opened
        self._journal: OpenJournal | None = None

    async def used_by(self, attempt: Callable[[OpenJournal], Awaitable[T]]) -> T:
        """Return what an attempt with the journal comes to, even if another command is at work with it."""
        try:
            if self._journal is None:
                self._journal = await self._open(self._options.service)
            return await attempt(self._journal)
        except JournalError as error:
            if self._found.report is not None:
                raise
            place = Path(tempfile.mkdtemp(prefix="reconciler-halt-")) / "journal.db"
            self._options.output.warn(f"{error.summary}; the halt goes on with a journal of its own, {place}")
            self._journal = await self._open(replace(self._options.service, journal=str(place)))
            return await attempt(self._journal)

    async def _open(self, options: ServiceOptions) -> OpenJournal:
        journal = await open_to_write(options, self._service, lock_timeout="0s", beside=True)
        return self._opened.enter_context(journal)


class _Chosen(Struct, frozen=True, kw_only=True):
    """What a halt is about: portfolios with their APIs, sorted by id; what the files declare; the selection."""

    apis: Mapping[PortfolioId, ApiVersion]
    desired: Mapping[PortfolioId, Desired]
    selection: Selection | None


async def _chosen(
    options: HaltOptions, configuration: Configuration | None, service: Service, journal: OpenJournal
) -> _Chosen:
    apis = await _apis_of(options, configuration, service, journal)
    desired = configuration.desired if configuration is not None else _NOBODY
    if configuration is not None and options.selects:
        selected = select(desired, options.selection.selection, configuration.strategies)
        apis |= {one: declared.api for one, declared in selected.items()}
    if not apis:
        why = "the selection has no portfolio" if options.selects else "the journal knows no portfolio"
        raise ReconcilerError(f"there is nothing to halt: {why}", "Name their ids.")
    selection = options.selection.selection if options.selects else None
    return _Chosen(apis=dict(sorted(apis.items())), desired=desired, selection=selection)


async def _apis_of(
    options: HaltOptions, configuration: Configuration | None, service: Service, journal: OpenJournal
) -> dict[PortfolioId, ApiVersion]:
    """Return the API of each portfolio that is named or known: the given or declared one, else the one that the journal
    knows, else the one on which the service finds it."""
    known = journal.apis()
    wanted = {*options.portfolios, *(known if options.known else ())}
    apis: dict[PortfolioId, ApiVersion] = {}
    unsure: dict[PortfolioId, ApiVersion] = {}
    for one in named(wanted, configuration, options.version):
        told = one.version if one.desired is not None or options.version is not None else known.get(one.id)
        (apis if told is not None else unsure)[one.id] = told or one.version
    return apis | await _found_on(unsure, options, service)


async def _found_on(
    asked: Mapping[PortfolioId, ApiVersion], options: HaltOptions, service: Service
) -> dict[PortfolioId, ApiVersion]:
    """Return the API of portfolios that may be on either; the other one if the first does not find them."""
    live = await _read(asked, options, service) if asked else {}
    other = {ApiVersion.V1: ApiVersion.V2, ApiVersion.V2: ApiVersion.V1}
    return {one: other[api] if live[one].status is Status.NOT_FOUND else api for one, api in asked.items()}


async def _read(
    apis: Mapping[PortfolioId, ApiVersion], options: ApplyOptions, service: Service
) -> dict[PortfolioId, Live]:
    from reconciler.api.fleet import read_all

    with bar(options.output, "Reading", len(apis)) as shown:
        return await read_all(
            service.api.by(apis), apis, parallelism=options.service.parallelism, observer=ReadProgress(shown)
        )


async def _ask_for_number(options: HaltOptions, chosen: _Chosen, service: Service) -> None:
    """Say how many run, and have a person type that number; with anything else nothing is halted."""
    live = await _read(chosen.apis, options, service)
    runs = sum(one.status is Status.ACTIVE for one in live.values())
    of = plural(len(live), "portfolio")
    click.echo(
        f"{runs} of {of} at {service.label} run. Until the halt is lifted, nothing begins for any of the {of}.",
        err=True,
    )
    if not said_yes(f"\nType the number of those that run, {runs}, to pause them.", meaning_yes=str(runs)):
        raise ReconcilerError("not approved, nothing was halted")


def _made(reason: str, chosen: _Chosen, service: Service) -> Halt:
    """Return a new halt of what was chosen."""
    at_ms = service.api.service_ms()
    return Halt(
        id=f"{iso(at_ms)[:10].replace('-', '')}-{new_token()}",
        base_url=service.label,
        account=service.account,
        reason=reason,
        at_ms=at_ms,
        who=origin_of(os.environ).who or label(os.environ.get("USER", "")),
        selection=chosen.selection,
        portfolios=tuple(HaltedPortfolio(id=one, api=api) for one, api in chosen.apis.items()),
    )


def _keep(made: Halt, options: Options, found: Found, *, new: bool = False) -> bool:
    """Write the file of a halt. If that fails, the halt goes on, because the journal has it."""
    try:
        found.halt_file = str(keep(made, new=new))
    except ReconcilerError as error:
        if new:
            options.output.warn(f"{error.summary}; the halt goes on, and only this journal knows of it")
        return False
    return True


async def _pause(
    made: Halt, options: HaltOptions, chosen: _Chosen, service: Service, journal: OpenJournal, found: Found
) -> Ending:
    """Record a halt, so that no other command begins anything that it holds, and pause what runs. Then look again at
    portfolios that a write from before the halt may have resumed meanwhile."""
    journal.halt(made)
    _ = journal.memory(), journal.halting()  # all of it is read now, because damage must show before the first pause
    _keep(made, options, found, new=not path_of(made.id).exists())
    names = {one: declared.name for one, declared in chosen.desired.items()}
    found.plan = plan = halt_plan(made, names, created_ms=service.clock.now_ms())
    begun = {one.number: one.intent.address for one in journal.unsettled()}
    gate = HaltGate(known=frozenset({made.id}))
    try:
        ending = await carry_out(plan, options, service, journal, found, gate, title="Halt")
        late = {address for address in begun.values() if address in chosen.apis}
        if late and found.report is not None:
            first = found.report
            await _until_over(begun, service, journal)
            again = replace(plan, changes=tuple(change for change in plan.changes if change.id in late))
            ending = await carry_out(again, options, service, journal, found, gate, title="Halt")
            found.report = _merged(first, found.report)
    finally:
        made = await _finished(made, options, chosen, service, journal, found)
        kept = _keep(made, options, found)
    of = plural(len(made.portfolios), "portfolio")
    told = [f"the halt {made.id} holds {of} until it is lifted: `reconciler halt lift {made.id}`"]
    told += [f"commit {path_of(made.id)}: other machines know of the halt by this file"] if kept else []
    return _ended(ending, found, options, told, made, title="Halt")


async def _until_over(begun: Mapping[int, str], service: Service, journal: OpenJournal) -> None:
    """Wait for the end of writes that began before the halt, unless the command that began them is gone."""
    waited = 0.0
    while journal.is_busy() and waited < _UNDER_WAY_S:
        if not any(one.number in begun for one in journal.unsettled()):
            return
        await service.clock.sleep(_LOOK_AGAIN_S)
        waited += _LOOK_AGAIN_S


def _merged(first: ApplyReport, second: ApplyReport) -> ApplyReport:
    """Return both reports as one. If a second look had nothing to do, the first result tells what was done."""
    newer = {one.change.id: one for one in second.results if one.outcome is not Outcome.ALREADY_DONE}
    results = tuple(newer.get(one.change.id, one) for one in first.results)
    return replace(first, results=results, finished_ms=second.finished_ms)


async def _finished(
    made: Halt, options: HaltOptions, chosen: _Chosen, service: Service, journal: OpenJournal, found: Found
) -> Halt:
    """Return a halt with what identifies each pause that it made, and with the strategies of its portfolios; and write
    that down, as far as the journal can be used."""
    listed = await service.api.list_portfolios() if any(api.can.lists for api in chosen.apis.values()) else None
    strategies: dict[PortfolioId, str | None] = {one: declared.strategy for one, declared in chosen.desired.items()}
    strategies |= {one: live.strategy for one, live in listed.rows.items()} if listed is not None else {}
    try:
        made = with_pauses(made, journal.memory(), strategies)
        journal.halt(made)
    except JournalError as error:
        if found.report is not None:  # nothing of what was done must be lost to this
            options.output.warn(f"the pauses of this halt could not be written down: {error.summary}")
    return made


def _ended(
    ending: Ending, found: Found, options: Options, told: Iterable[str], made: Halt | None, *, title: str
) -> Ending:
    """Return the ending of a halt or its lift, with what people should be told after it."""
    found.notes = (*found.notes, *told)
    if not options.output.is_json:  # else they stand in the document
        options.output.notes(found.notes)
    if (report := found.report) is None:
        return ending
    reason = ending.reason if ending.reason in _SIGNALLED else report.exit_reason
    more = {"halt": _document(made) if made is not None else None, "notes": list(found.notes)}
    return replace(ending, reason=reason, view=report_view(report, run=None, title=title, more=more))


def _document(made: Halt) -> dict[str, object]:
    """Return a halt as a JSON object, with its portfolios by their ids alone."""
    return {**dump(made), "portfolios": sorted(made.ids), "file": str(path_of(made.id))}


class LiftOptions(ApplyOptions, frozen=True, kw_only=True):
    """The options of ``halt lift``; ``halt`` is the id of the halt."""

    halt: str
    version: ApiVersion | None = None


def lift(options: LiftOptions, found: Found) -> Ending:
    """Resume what is still in the very pause of a halt, under guards and canary, and write down that it is lifted."""
    if not is_halt_id(options.halt):
        raise UsageError(f"{options.halt[:60]!r} is not the id of a halt; `reconciler halt list` shows them.")
    if not options.auto_approve and not is_terminal(sys.stdin):
        raise UsageError("There is no terminal to ask on, and a lift resumes trading. Add --auto-approve.")
    configuration = load_files_if_any(options.files)

    async def work() -> Ending:
        async with open_service(
            options.service, paths_of(configuration), expect=expect_in(configuration), writes=True
        ) as service:
            with await open_to_write(options.service, service, lock_timeout=options.lock_timeout) as journal:
                await settle_first(service, journal, options)
                return await _lift(options, configuration, service, journal, found)

    return run_async(work)


async def _lift(
    options: LiftOptions, configuration: Configuration | None, service: Service, journal: OpenJournal, found: Found
) -> Ending:
    desired = configuration.desired if configuration is not None else _NOBODY
    memory = with_filed(journal.memory(), service.label, service.account)
    gate = gate_of(journal.halting(), service.label, service.account)
    known = _known(options.halt, journal, memory)
    apis = {one.id: one.api for one in known.portfolios} if known is not None else _apis(options, desired, journal)
    apis = {one: api for one, api in apis.items() if options.selection.selection.passes(one, desired.get(one))}
    here = replace(service, api=service.api.by(apis))
    live = await _read(apis, options, here)
    records, _ = believed(memory, live, now_ms=here.api.service_ms())
    of = Lift(id=options.halt, live=live, apis=apis, memory=replace(memory, records=records), desired=desired)
    plan = of.plan(Plan(created_ms=here.clock.now_ms(), base_url=here.label, account=here.account))
    if configuration is not None:
        plan = with_freezes(plan, configuration.freezes, desired, {}, now_ms=here.api.service_ms())
    guards, managed = (configuration.guards, len(desired)) if configuration is not None else (Guards(), len(apis))
    found.plan = plan = replace(plan, over=check_guards(plan.changes, guards, managed=managed))
    if known is None and not plan.changes:
        repair = f"`reconciler halt list` shows those that are known; {path_of(options.halt)} may be on another branch."
        raise ReconcilerError(f"nothing here is in the pause of a halt {options.halt}", repair)
    if not options.output.is_json:
        options.output.show(replace(plan_ending(plan, options, found, ExitReason.OK), warnings=()))
    left = left_by(plan, options)
    require_allowed(plan, options, left)
    await require_scopes_for(plan, here, options)
    if not options.auto_approve:
        ask_to_apply(plan, left)
    ending = await carry_out(plan, options, here, journal, found, gate, left=left, title="Lift")
    lifted, told = _lifted(options, known, plan, here, journal, found)
    return _ended(ending, found, options, told, lifted or known, title="Lift")


def _known(halt: str, journal: OpenJournal, memory: Memory) -> Halt | None:
    """Return what is known of a halt, lifted or not: by its file, else by the journal."""
    found = (*memory.halting.filed, *journal.halts())
    return next((one for one in found if one.id == halt), None)


def _apis(
    options: LiftOptions, desired: Mapping[PortfolioId, Desired], journal: OpenJournal
) -> dict[PortfolioId, ApiVersion]:
    """Return where to look for the pauses of a halt if nothing but its marks is left of it."""
    default = options.version or ApiVersion.V1
    found = {one: options.version or api or default for one, api in journal.apis().items()}
    return dict(sorted((found | {one: declared.api for one, declared in desired.items()}).items()))


def _lifted(
    options: LiftOptions, known: Halt | None, plan: Plan, service: Service, journal: OpenJournal, found: Found
) -> tuple[Halt | None, list[str]]:
    """Write down that a halt is lifted, if a second try could not resume any more of it; say what was left."""
    halt, report, told = options.halt, found.report, []
    if plan.held:
        names = ", ".join(one.id for one in plan.held[:5]) + (", …" if len(plan.held) > 5 else "")
        told.append(f"left as they are, because somebody else paused them since: {names}")
    if waiting := [one for one in plan.halted if one.halt != halt]:
        wait = "waits" if len(waiting) == 1 else "wait"
        told.append(
            f"{plural(len(waiting), 'portfolio')} of it {wait} for another halt: lift {halt} again after that one"
        )
    undone = [one for one in report.results if one.outcome not in _OVER] if report is not None else []
    if undone or plan.blocked or not options.selection.selection.everything:
        return None, [*told, f"the halt {halt} holds on: `reconciler halt lift {halt}` goes on with it"]
    if known is None:
        return None, told
    lifted = replace(known, lifted_ms=service.api.service_ms())
    if any(one.id == halt for one in journal.halts()):
        journal.halt(lifted)
    if path_of(halt).exists() and _keep(lifted, options, found):
        told.append(f"commit {path_of(halt)}: it says now that the halt is lifted")
    return lifted, told


class ListOptions(Options, frozen=True, kw_only=True):
    """The options of ``halt list``."""

    records: RecordOptions = RecordOptions()


def list_halts(options: ListOptions, found: Found) -> Ending:
    """Show every halt that the journal or a file knows, the newest first."""
    from reconciler.apply.journalreads import read_halts

    service = label_of(options.records)
    filed = {one.id: one for one in read_filed(service)}
    kept = {one.id: one for one in read_halts(options.records.journal_place, base_url=service)}
    # If the journal or the file says that a halt holds, it holds.
    holding = {i: one for i, one in (kept | filed).items() if one.lifted_ms is None}
    holding |= {i: one for i, one in kept.items() if one.lifted_ms is None}
    shown = sorted((kept | filed | holding).values(), key=lambda one: (-one.at_ms, one.id))
    body = {"halts": [{**_document(one), "has_file": one.id in filed} for one in shown]}
    view = PageView(page=lambda: _halts_page(shown, filed), document=lambda reason: document_json(reason, body))
    return Ending(reason=ExitReason.OK, found=found, view=view)


def _halts_page(shown: Sequence[Halt], filed: Container[str]) -> Page:
    columns = tuple(map(Column, ("Halt", "Since", "State", "Portfolios", "Who", "Reason")))
    rows = tuple(
        Row(
            (
                code(one.id),
                moment(one.at_ms),
                Span("holds", Tone.BAD) if one.lifted_ms is None else Span(f"lifted {moment(one.lifted_ms)}"),
                "all" if one.selection is not None and one.selection.everything else str(len(one.portfolios)),
                one.who or "",
                one.reason if one.id in filed else f"{one.reason} (no file here)",
            )
        )
        for one in shown
    )
    holding = sum(one.lifted_ms is None for one in shown)
    last = f"Halts: {holding} in force, {len(shown) - holding} lifted."
    table = Rows(columns=columns, rows=rows, parts=(Part("Halts", opened=None),))
    return Page(title="Halts", verdict=last, blocks=(table,) if rows else (), last=(last,))
