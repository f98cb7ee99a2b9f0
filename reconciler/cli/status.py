"""``reconciler status``: live automation and last rebalances, as a table or for one portfolio in detail, once or
refreshed in place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from reconciler.cli.files import load_files, load_files_if_any
from reconciler.cli.ids import named
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.offline import owned, round_of, shard_of
from reconciler.cli.options import PlanningOptions, SelectionOptions
from reconciler.cli.output import Format, Output, is_terminal
from reconciler.cli.planning import plan_of, read_live, require_metrics_place, save_metrics
from reconciler.cli.progress import ReadProgress, bar
from reconciler.cli.savefile import require_place
from reconciler.cli.service import memory_of, open_service, run_async, shared_reason
from reconciler.cli.strategies import read_cadences_of
from reconciler.cli.watch import watch
from reconciler.cli.writing import keep_results
from reconciler.core.advice import advise_live
from reconciler.core.decide import DEFAULT_POLICY
from reconciler.core.errors import ApiError, ExitReason, FailureKind, UsageError
from reconciler.core.fleet import guess, select, select_strategies
from reconciler.core.halt import halts_told
from reconciler.core.model import ApiVersion, Desired, RunState, Status
from reconciler.core.needs import Need, counts_of
from reconciler.core.plan import Plan
from reconciler.core.rebalance import KeptRebalance, Knowledge
from reconciler.render.ending import Ending, View
from reconciler.render.json import diagnostics_document
from reconciler.render.status import (
    PortfolioView,
    SortBy,
    StatusRow,
    cadences_document,
    in_need,
    in_order,
    portfolio_document,
    portfolio_page,
    status_document,
    status_page,
)
from reconciler.render.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from reconciler.api.fleet import LastRunQuery
    from reconciler.cli.ids import Named
    from reconciler.cli.planning import Reads
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.fleet import Fleet
    from reconciler.core.model import Live, PortfolioId, StrategyDesired, StrategyId, StrategyLive
    from reconciler.core.needs import Needed
    from reconciler.core.ports import Memory, PortfolioApi
    from reconciler.core.rebalance import LastRebalance, Rebalance
    from reconciler.render.ending import Found
    from reconciler.render.page import Page

RECENT: Final = 10
"""How many rebalances of one portfolio are shown."""
_FAILED: Final = "failed-rebalance"
_OVERDUE: Final = "overdue"
_FAIL_ON: Final = {_FAILED: Need.FAILED, _OVERDUE: Need.OVERDUE}
"""Which need each word of ``--fail-on`` is about."""


class StatusOptions(PlanningOptions, frozen=True, kw_only=True):
    """The options of ``status``. ``portfolio`` is the id of the only one to show, ``watch`` in seconds."""

    portfolio: str | None = None
    version: ApiVersion | None = None
    results: bool = False
    no_results: bool = False
    problems: bool = False
    """Show what needs a person, and nothing else."""
    whole: bool = False
    """Fold nothing that needs nobody."""
    sort: SortBy | None = None
    fail_on: tuple[str, ...] = ()
    """What is an error besides: ``failed-rebalance`` and ``overdue``."""
    watch: int | None = None
    out: str | None = None
    shard: str | None = None
    """The share to read, as typed: ``3/8``, ``auto/8`` or ``auto``."""
    round: str | None = None

    @property
    def reads_results(self) -> bool:
        """Whether Glider is asked how the last rebalances ended."""
        return not self.no_results and (self.results or self.problems or _FAILED in self.fail_on)


def status(options: StatusOptions, found: Found) -> Ending:
    """Read and show, once or again and again."""
    _require_sense(options)
    try:
        return _detail(options, found) if options.portfolio is not None else _table(options, found)
    except KeyboardInterrupt:
        if options.watch is None:
            raise
        return Ending(reason=ExitReason.INTERRUPTED, found=found)  # Ctrl-C is how --watch ends, so say nothing


def _require_sense(options: StatusOptions) -> None:
    """Raise :class:`~reconciler.core.errors.UsageError` for options that make no sense together."""
    if options.no_results and (options.results or _FAILED in options.fail_on):
        needing = "--results asks for" if options.results else "--fail-on failed-rebalance needs"
        raise UsageError(f"{needing} the results, and --no-results leaves them out: drop one of the two.")
    _require_file(options)
    if options.portfolio is not None:
        of_the_table = (options.problems, options.whole, options.sort, options.out, options.metrics)
        if any(of_the_table) or options.selection != SelectionOptions():
            given = "--target, --exclude, --select, --problems, --all, --sort, --out and --metrics"
            raise UsageError(f"`status ID` shows that portfolio only: drop {given}.")
    elif options.version is not None:
        raise UsageError("--api is for a portfolio that no file declares: name it, as in `status ID --api v2`.")
    if options.watch is None:
        return
    if options.output.format is not Format.TEXT or not is_terminal(sys.stdout):
        raise UsageError("--watch needs a terminal and prints only text. Drop it, and call status again and again.")
    if options.fail_on or options.out or options.metrics:
        raise UsageError(
            "--watch goes on until Ctrl-C, so there is no result to save or judge: drop --fail-on, --out and --metrics."
        )


def _require_file(options: StatusOptions) -> None:
    """Raise :class:`~reconciler.core.errors.UsageError` for options of a live file that make no sense."""
    if options.out is None and (options.shard or options.round):
        raise UsageError("--shard and --round are about the file that --out saves: name it.")
    if options.shard is not None and options.reads_results:
        raise UsageError("--shard reads no results: drop --results, --problems and --fail-on failed-rebalance.")


def _table(options: StatusOptions, found: Found) -> Ending:
    """Show the declared portfolios that are selected."""
    if options.out is not None:
        require_place(options.out, what="live file")
    require_metrics_place(options)
    configuration = load_files(options.files)
    warn_of_journal(options.service, configuration, options.output)
    selection = options.selection.selection
    desired = select(configuration.desired, selection, configuration.strategies)
    if options.shard is not None:
        desired = owned(options.shard, desired)
        options = replace(options, no_results=True)

    async def work() -> Ending:
        async with open_service(
            options.service, configuration.paths, desired.values(), expect=configuration.expect
        ) as service:
            if options.watch is not None:
                # A bar would draw over the table.
                silent = replace(options, output=replace(options.output, quiet=True))

                async def look() -> Page:
                    read = await read_live(silent, service, desired, results=not options.no_results, shows_only=True)
                    rows, _ = await _rows(silent, configuration, desired, read, service)
                    return _page(options, rows)

                return await _watched(look, options.watch, service, options.output, found)
            return await _table_once(options, configuration, desired, service, found)

    return run_async(work)


def _page(
    options: StatusOptions,
    rows: Sequence[StatusRow],
    declared: Mapping[StrategyId, StrategyDesired] | None = None,
    live: Mapping[StrategyId, StrategyLive] | None = None,
) -> Page:
    """Return the page of the rows in the order that is asked for. With ``--sort``, every row is shown by itself."""
    return status_page(
        in_order(rows, options.sort) if options.sort is not None else in_need(rows),
        declared or {},
        live or {},
        whole=options.whole or options.sort is not None,
        results=not options.no_results,
        problems=options.problems,
    )


async def _table_once(
    options: StatusOptions,
    configuration: Configuration,
    desired: Mapping[PortfolioId, Desired],
    service: Service,
    found: Found,
) -> Ending:
    began_ms, selection = service.api.service_ms(), options.selection.selection
    read = await read_live(options, service, desired, results=not options.no_results, shows_only=True)
    halts = halts_told(read.memory.halting, now_ms=read.now_ms)
    unseen = await _save(options, configuration, service, read.fleet, began_ms) if options.out else ()
    rows, plan = await _rows(options, configuration, desired, read, service)
    found.statuses = tuple(in_need(rows))
    targeted = select_strategies(configuration.strategies, selection) if selection.targets else {}
    cadences = await read_cadences_of(targeted, options.service, service) if targeted else {}
    options.output.notes(service.notes)
    failed = [one.failure for one in cadences.values() if one.failure is not None]
    advice = (*halts, *advise_live((row.desired, row.signs) for row in rows))
    counts = counts_of(row.needs for row in rows)
    save_metrics(options, plan, command="status", failed=counts.get(Need.FAILED, 0) if options.reads_results else None)

    reason = table_reason(rows, fail_on=options.fail_on, others=[*unseen, *failed])

    def body() -> dict[str, Any]:
        shown = [row for row in in_order(rows, options.sort or SortBy.ID) if row.needs or not options.problems]
        return {
            "base_url": service.label,
            "needs": {need.value: count for need, count in counts.items()},
            "portfolios": [status_document(row) for row in shown],
            "warnings": diagnostics_document(advice)["warnings"],
            **({"strategies": cadences_document(targeted, cadences)} if cadences else {}),
        }

    return Ending(
        reason=reason if reason is not ExitReason.OK or not read.memory.halting.unread else ExitReason.INVALID,
        found=found,
        view=View(
            page=lambda: _page(options, rows, targeted, cadences),
            body=body,
        ),
        advice=advice,
    )


async def _save(
    options: StatusOptions, configuration: Configuration, service: Service, fleet: Fleet, as_of_ms: int
) -> Sequence[ApiError]:
    """Save what was read to the file that ``--out`` names; return the failed reads that the table does not show."""
    from reconciler.cli.offline import save_live

    out = options.out or ""
    failures = await save_live(
        out,
        options.service,
        options.selection.selection,
        configuration,
        service,
        fleet,
        shard=shard_of(options.shard),
        round_=round_of(options.round),
        as_of_ms=as_of_ms,
    )
    for failure in failures:
        options.output.warn(f"the live file does not hold everything: {failure.operation or 'a read'}: {failure}")
    if options.shard is None:
        options.output.note(f"Saved to {out}; plan from it with: reconciler plan --live {out}")
    else:
        share = shard_of(options.shard)
        options.output.note(f"Saved the share {share} to {out}; `reconciler plan --live` takes the files of all shares")
    return failures


async def _rows(
    options: StatusOptions,
    configuration: Configuration,
    desired: Mapping[PortfolioId, Desired],
    read: Reads,
    service: Service,
) -> tuple[list[StatusRow], Plan]:
    """Return a row for each portfolio, sorted by id, with its results as far as they are known or asked for; and the
    plan that tells what needs a person."""
    from reconciler.core.evidence import believed
    from reconciler.core.needs import needs_of
    from reconciler.core.rebalance import remembered

    live, now_ms = read.fleet.live, read.now_ms
    records, _ = believed(read.memory, live, now_ms=now_ms)
    known = read.memory.results
    if options.reads_results:
        last, known = await _read_results(options, desired, known, live, service)
    else:
        last = {i: remembered(known[i], live[i]) for i in known if i in desired}
    plan = plan_of(options, configuration, desired, DEFAULT_POLICY, read)
    needs = needs_of(plan, desired, live, known, now_ms=now_ms)
    rows = [
        StatusRow(
            desired=one,
            live=live[i],
            record=records.get(i),
            now_ms=now_ms,
            last=last.get(i),
            results=tuple(known.get(i, ())),
            needs=needs.get(i, ()),
        )
        for i, one in desired.items()
    ]
    return rows, plan


async def _read_results(
    options: StatusOptions,
    desired: Mapping[PortfolioId, Desired],
    known: Mapping[PortfolioId, Sequence[KeptRebalance]],
    live: Mapping[PortfolioId, Live],
    service: Service,
) -> tuple[dict[PortfolioId, LastRebalance | None], Mapping[PortfolioId, Sequence[KeptRebalance]]]:
    """Return the last rebalance of each portfolio, and with it all that is known, which the journal keeps."""
    from reconciler.api.fleet import read_last
    from reconciler.core.rebalance import newest_first

    versions = {portfolio: declared.api for portfolio, declared in desired.items()}
    asked = _asked(options, live.values(), versions, known, service)
    with bar(options.output, "Reading results", len(asked)) as shown:
        last = await read_last(
            service.api.by(versions), asked, parallelism=options.service.parallelism, observer=ReadProgress(shown)
        )
    await keep_results(options.service, service, {i: one.read for i, one in last.items() if one.read})
    now_ms = service.clock.now_ms()
    read = {i: [KeptRebalance(rebalance=r, read_ms=now_ms) for r in one.read] for i, one in last.items()}
    return dict(last), {i: newest_first(*known.get(i, ()), *read[i]) for i in desired}


def _asked(
    options: StatusOptions,
    live: Iterable[Live],
    versions: Mapping[PortfolioId, ApiVersion],
    known: Mapping[PortfolioId, Sequence[KeptRebalance]],
    service: Service,
) -> list[LastRunQuery]:
    """Return what to ask about each portfolio. The journal is opened once more only for the ids of v2 operations."""
    from reconciler.api.fleet import LastRunQuery

    operations: Mapping[PortfolioId, str] = {}
    if not all(one.can.lists_runs for one in versions.values()):
        from reconciler.apply.journalreads import read_runs
        from reconciler.apply.trigger import operations_of

        runs = read_runs(options.service.journal_place) or ()
        operations = operations_of(runs, service.label, noun="operation")
    return [LastRunQuery(live=one, operation=operations.get(one.id), known=known.get(one.id, ())) for one in live]


def _detail(options: StatusOptions, found: Found) -> Ending:
    """Show one portfolio, which need not be declared."""
    configuration = load_files_if_any(options.files)
    (one,) = named([options.portfolio or ""], configuration, options.version)

    async def work() -> Ending:
        async with open_service(options.service, configuration.paths, expect=configuration.expect) as service:

            async def look() -> Page:
                return portfolio_page(await _read_detail(options, one, service))

            if options.watch is not None:
                return await _watched(look, options.watch, service, options.output, found)
            seen = await _read_detail(options, one, service)
            options.output.notes(service.notes)
        reason = detail_reason(seen, fail_on=options.fail_on)
        advice = advise_live([(_as_declared(seen), seen.signs)])
        body = {
            "base_url": service.label,
            "portfolio": portfolio_document(seen),
            "warnings": diagnostics_document(advice)["warnings"],
        }
        view = View(page=lambda: portfolio_page(seen), body=body)
        lost = seen.live.status is Status.NOT_FOUND and one.desired is None
        meant = guess(one.id, configuration.desired) if lost and configuration.files else ""
        told = (f"{one.id} is not found, and no file declares it. {meant}",) if meant else ()
        return Ending(reason=reason, found=found, view=view, errors=told, advice=advice)

    return run_async(work)


async def _watched(
    look: Callable[[], Awaitable[Page]], seconds: int, service: Service, output: Output, found: Found
) -> Ending:
    """Show it again and again until somebody interrupts. Only if the terminal is gone does it return an ending."""
    import shutil

    def size() -> tuple[int, int]:
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    async def text() -> str:
        return terminal(await look(), output.style, verbose=output.verbose)

    await watch(text, every_seconds=seconds, clock=service.clock, draw=output.data, size=size)
    return Ending(reason=ExitReason.OK, found=found)


async def _read_detail(options: StatusOptions, one: Named, service: Service) -> PortfolioView:
    """Read everything that Glider tells of one portfolio. Raises :class:`ApiError` only for a refused key."""
    from reconciler.core.evidence import believed

    api = service.api.by({one.id: one.version})
    live = await _read_one(one, api)
    now_ms = service.api.service_ms()
    memory = memory_of(options.service, service, results=True, shows_only=True)
    options.output.warn_of(halts_told(memory.halting, now_ms=now_ms))
    memory = replace(memory, records=believed(memory, {one.id: live}, now_ms=now_ms)[0])
    record = memory.records.get(one.id)
    view = PortfolioView(version=one.version, desired=one.desired, live=live, record=record, now_ms=now_ms)
    if live.status in (Status.NOT_FOUND, Status.UNREADABLE):
        return view
    failures: list[ApiError] = []
    try:
        view = replace(view, facts=await api.facts(one.id))
    except ApiError as error:
        failures.append(_unless_refused(error))
    if not options.no_results:
        from reconciler.api.fleet import read_recent

        (asked,) = _asked(options, [live], {one.id: one.version}, memory.results, service)
        try:
            recent = await read_recent(api, asked, limit=RECENT)
            await keep_results(options.service, service, {one.id: _read_of(recent)})
            view = replace(view, recent=recent)
        except ApiError as error:
            failures.append(_unless_refused(error))
    return replace(view, failures=tuple(failures), needs=_needs_of(view, memory))


def _needs_of(view: PortfolioView, memory: Memory) -> tuple[Needed, ...]:
    """Return why a person has to look at one portfolio; one that no file declares can only have failed or be late."""
    from reconciler.core.needs import needs_of, overdue_among
    from reconciler.core.planner import build_plan

    one, now_ms, live = view.live.id, view.now_ms or 0, {view.live.id: view.live}
    desired = {one: _as_declared(view)}
    plan = build_plan(Plan(base_url="", created_ms=now_ms), desired, live, memory)
    plan = replace(plan, overdue=overdue_among(desired, live, memory.records, now_ms=now_ms))
    known = [KeptRebalance(rebalance=rebalance, read_ms=now_ms) for rebalance in _read_of(view.recent or ())]
    needs = needs_of(plan, desired, live, {one: known}, now_ms=now_ms).get(one, ())
    return tuple(need for need in needs if view.desired is not None or need.need in _FAIL_ON.values())


def _as_declared(view: PortfolioView) -> Desired:
    """Return what is declared of a portfolio. If it is not declared, it is judged as if it were declared as it is."""
    runs = RunState.ACTIVE if view.live.status is Status.ACTIVE else RunState.PAUSED
    return view.desired or Desired(id=view.live.id, api=view.version, state=runs)


def _read_of(recent: Iterable[LastRebalance]) -> list[Rebalance]:
    """Return the rebalances whose result was read; about the others only the list told something."""
    return [one.rebalance for one in recent if one.rebalance is not None and one.knowledge is Knowledge.READ]


async def _read_one(one: Named, api: PortfolioApi) -> Live:
    from reconciler.core.model import Live

    try:
        return await api.read(one.id)
    except ApiError as error:
        return Live(id=one.id, status=Status.UNREADABLE, failure=_unless_refused(error))


def _unless_refused(error: ApiError) -> ApiError:
    if error.kind is FailureKind.UNAUTHENTICATED:
        raise error
    return error


def table_reason(
    rows: Sequence[StatusRow], *, fail_on: Sequence[str] = (), others: Sequence[ApiError] = ()
) -> ExitReason:
    """Return what a table exits with: the one reason that all failures share, else a plain error.

    A result that could not be read counts as a failed read; one that the service no longer has does not count. A last
    rebalance that went wrong, or a portfolio that is overdue, is an error only with ``fail_on``. ``others`` are failed
    reads that no row shows.
    """
    failures = [*others, *(row.live.failure for row in rows)]
    failures += [row.last.failure for row in rows if row.last is not None]
    return _reason(failures, wrong=_wrong((one for row in rows for one in row.needs), fail_on))


def detail_reason(view: PortfolioView, *, fail_on: Sequence[str] = ()) -> ExitReason:
    """Return what one portfolio exits with. If it is not there, that is an error, because somebody asked for it."""
    recent = view.recent or ()
    failures = [view.live.failure, *view.failures, *(one.failure for one in recent)]
    return _reason(failures, wrong=_wrong(view.needs, fail_on) or view.live.status is Status.NOT_FOUND)


def _wrong(needs: Iterable[Needed], fail_on: Iterable[str]) -> bool:
    """Whether any need is one that ``--fail-on`` names."""
    return not {one.need for one in needs}.isdisjoint(_FAIL_ON[word] for word in fail_on)


def _reason(failures: Iterable[ApiError | None], *, wrong: bool) -> ExitReason:
    """Return what these failures exit with. A result that the service no longer has is not a failure."""
    counted = [one for one in failures if one is not None and one.kind is not FailureKind.NOT_FOUND]
    return shared_reason([*counted, *([None] if wrong else [])])
