"""``reconciler status``: live automation and last rebalances, as a table or for one portfolio in detail, once or
refreshed in place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import asdict, replace

from reconciler.cli.files import load_files, load_files_if_any
from reconciler.cli.ids import named
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.offline import owned, save_live
from reconciler.cli.options import PlanningOptions, SelectionOptions
from reconciler.cli.output import Format, is_terminal
from reconciler.cli.planning import (
    look_at_results,
    plan_of,
    read_live,
    require_metrics_place,
    result_queries,
    save_metrics,
)
from reconciler.cli.savefile import require_place
from reconciler.cli.service import open_service, run_async, shared_reason
from reconciler.cli.strategies import read_cadences_of
from reconciler.cli.watch import watch
from reconciler.cli.writing import keep_results
from reconciler.core.advice import advise_live
from reconciler.core.decide import DEFAULT_POLICY
from reconciler.core.errors import ApiError, ExitReason, FailureKind, UsageError
from reconciler.core.fleet import guess, select, select_strategies
from reconciler.core.halt import halts_told
from reconciler.core.model import ApiVersion, Desired, RunState, Status
from reconciler.core.needs import Need, counts_of, needs_of
from reconciler.core.rebalance import Knowledge, PortfolioFacts, remembered
from reconciler.core.report import FailOn
from reconciler.render.ending import Ending, View
from reconciler.render.json import diagnostics_document
from reconciler.render.status import (
    SortBy,
    StatusRow,
    cadences_document,
    in_order,
    status_document,
    status_page,
)
from reconciler.render.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from reconciler.cli.ids import Named
    from reconciler.cli.planning import Reads, Results
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.model import PortfolioId
    from reconciler.core.plan import Plan
    from reconciler.core.rebalance import LastRebalance
    from reconciler.render.ending import Found
    from reconciler.render.page import Page
    from reconciler.render.portfolio import PortfolioView

Some = TypeVar("Some")
RECENT: Final = 10
"""How many rebalances of one portfolio are shown."""
_FAILED: Final = "failed-rebalance"
_FAIL_ON: Final = {
    _FAILED: (Need.FAILED, "runs failed, and none that came later is known to have ended well"),
    "overdue": (Need.OVERDUE, FailOn.OVERDUE.sentence),
}
"""Which need each word of ``--fail-on`` is about, and the sentence that says so."""


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

    @property
    def shown(self) -> dict[str, Any]:
        """How the page of the table is to be made, for :func:`~reconciler.render.status.status_page`."""
        return {"sort": self.sort, "whole": self.whole, "results": not self.no_results, "problems": self.problems}


def status(options: StatusOptions, found: Found) -> Ending:
    """Read and show, once or again and again."""
    _require_sense(options)
    if options.watch is not None:  # a bar or a note would be drawn over what is shown
        options = replace(options, output=replace(options.output, quiet=True))
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
    if options.problems and options.whole:
        raise UsageError("--all lists what needs nobody, and --problems leaves it out: drop one of the two.")
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
        from reconciler.core.livefile import LIVE_FORMAT

        require_place(options.out, what="live file", begins=LIVE_FORMAT.begins)
    require_metrics_place(options)
    configuration = load_files(options.files)
    warn_of_journal(options.service, configuration, options.output)
    desired = select(configuration.desired, options.selection.selection, configuration.strategies)
    if options.shard is not None:
        desired = owned(options.shard, desired)
        options = replace(options, no_results=True)

    async def work() -> Ending:
        async with open_service(
            options.service, configuration.paths, desired.values(), expect=configuration.expect
        ) as service:
            if options.watch is None:
                return await _table_once(options, configuration, desired, service, found)

            async def look() -> Page:
                read = await read_live(options, service, desired, results=not options.no_results, shows_only=True)
                results = await look_at_results(options, service, desired, read, asks=options.reads_results)
                return status_page(_rows(options, configuration, desired, read, results)[0], **options.shown)

            return await _watched(look, options, service, found)

    return run_async(work)


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
    unseen: Sequence[ApiError] = ()
    if options.out is not None:
        unseen = await save_live(
            options.out,
            options,
            configuration,
            service,
            read.fleet,
            shard=options.shard,
            round_=options.round,
            as_of_ms=began_ms,
        )
    results = await look_at_results(options, service, desired, read, asks=options.reads_results)
    rows, plan = _rows(options, configuration, desired, read, results)
    found.statuses = tuple(rows)
    targeted = select_strategies(configuration.strategies, selection) if selection.targets else {}
    cadences = await read_cadences_of(targeted, options.service, service) if targeted else {}
    options.output.notes(service.notes)
    failed = [one.failure for one in cadences.values() if one.failure is not None]
    advice = (*halts, *advise_live((row.desired, row.signs) for row in rows))
    counts = counts_of(row.needs for row in rows)
    save_metrics(options, plan, command="status", failed=counts.get(Need.FAILED, 0) if options.reads_results else None)

    def body() -> dict[str, Any]:
        shown = [row for row in in_order(rows, options.sort or SortBy.ID) if row.needs or not options.problems]
        return {
            "base_url": service.label,
            "needs": {need.value: count for need, count in counts.items()},
            "portfolios": [status_document(row) for row in shown],
            "warnings": diagnostics_document(advice)["warnings"],
            **({"strategies": cadences_document(targeted, cadences)} if cadences else {}),
        }

    reason = status_reason(rows, fail_on=options.fail_on, others=[*unseen, *failed])
    return Ending(
        reason=reason if reason is not ExitReason.OK or not read.memory.halting.unread else ExitReason.INVALID,
        found=found,
        view=View(page=lambda: status_page(rows, targeted, cadences, **options.shown), body=body),
        errors=_told(rows, options.fail_on),
        advice=advice,
    )


def _rows(
    options: StatusOptions,
    configuration: Configuration,
    desired: Mapping[PortfolioId, Desired],
    read: Reads,
    results: Results,
) -> tuple[list[StatusRow], Plan]:
    """Return a row for each portfolio, sorted by id, and the plan that tells what needs a person."""
    from reconciler.core.evidence import believed

    live, now_ms, (last, known) = read.fleet.live, read.now_ms, results
    records, _ = believed(read.memory, live, now_ms=now_ms, read_ms=read.read_ms)
    plan = plan_of(options, configuration, desired, DEFAULT_POLICY, read)
    needs = needs_of(plan, desired, live, known, now_ms=now_ms)
    rows = [
        StatusRow(
            desired=one,
            live=live[i],
            record=records.get(i),
            now_ms=read.read_ms.get(i, now_ms),
            last=last.get(i),
            results=tuple(known.get(i, ())),
            needs=needs.get(i, ()),
        )
        for i, one in desired.items()
    ]
    return rows, plan


def _detail(options: StatusOptions, found: Found) -> Ending:
    """Show one portfolio, which need not be declared."""
    from reconciler.render.portfolio import portfolio_document, portfolio_page

    configuration = load_files_if_any(options.files)
    (one,) = named([options.portfolio or ""], configuration, options.version)

    async def work() -> Ending:
        async with open_service(options.service, configuration.paths, expect=configuration.expect) as service:

            async def look() -> Page:
                return portfolio_page(await _read_detail(options, one, configuration, service))

            if options.watch is not None:
                return await _watched(look, options, service, found)
            seen = await _read_detail(options, one, configuration, service)
            options.output.notes(service.notes)
        others = [*seen.failures, *(one.failure for one in seen.recent or () if one.failure is not None)]
        advice = advise_live([(seen.desired, seen.signs)])
        body = {
            "base_url": service.label,
            "portfolio": portfolio_document(seen),
            "warnings": diagnostics_document(advice)["warnings"],
        }
        view = View(page=lambda: portfolio_page(seen), body=body)
        missing = seen.live.status is Status.NOT_FOUND
        meant = guess(one.id, configuration.desired) if missing and one.desired is None else ""
        told = (f"{one.id} is not found, and no file declares it. {meant}",) if meant else ()
        return Ending(
            reason=status_reason([seen], fail_on=options.fail_on, others=others, missing=missing),
            found=found,
            view=view,
            errors=(*told, *_told([seen], options.fail_on)),
            advice=advice,
        )

    return run_async(work)


async def _watched(
    look: Callable[[], Awaitable[Page]], options: StatusOptions, service: Service, found: Found
) -> Ending:
    """Show it again and again until somebody interrupts. Only if the terminal is gone does it return an ending."""

    async def text() -> str:
        return terminal(await look(), options.output.style, verbose=options.output.verbose)

    await watch(text, every_seconds=options.watch or 0, clock=service.clock, draw=options.output.data)
    return Ending(reason=ExitReason.OK, found=found)


async def _read_detail(
    options: StatusOptions, one: Named, configuration: Configuration, service: Service
) -> PortfolioView:
    """Read everything that Glider tells of one portfolio. Raises :class:`ApiError` only for a refused key.

    One that no file declares is judged as if it were declared as it is live, so it can only have failed, be overdue or
    be halted.
    """
    from reconciler.render.portfolio import PortfolioView

    options = replace(options, selection=SelectionOptions(targets=(one.id,)))
    service = replace(service, api=service.api.by({one.id: one.version}))
    declared = one.desired or Desired(id=one.id, api=one.version, state=RunState.PAUSED)
    read = await read_live(options, service, {one.id: declared}, results=not options.no_results, shows_only=True)
    if options.watch is None:
        options.output.warn_of(halts_told(read.memory.halting, now_ms=read.now_ms))
    live = read.fleet.live[one.id]
    if one.desired is None and live.status is Status.ACTIVE:
        declared = replace(declared, state=RunState.ACTIVE)
    desired = {one.id: declared}
    facts, recent, failures = await _more(options, desired, read, service)
    # About the others only the list told something.
    told = [last.rebalance for last in recent or () if last.rebalance and last.knowledge is Knowledge.READ]
    known = await keep_results(options.service, service, {one.id: told}, read.memory.results)
    last = recent[0] if recent else remembered(known[one.id], live)
    (row,), _ = _rows(options, configuration, desired, read, ({one.id: last}, known))
    needs = tuple(
        found
        for found in row.needs
        if one.desired is not None or found.need in (Need.FAILED, Need.OVERDUE, Need.HALTED)
    )
    return PortfolioView(
        **asdict(replace(row, needs=needs)),
        declared=one.desired is not None,
        facts=facts or PortfolioFacts(),
        recent=recent,
        failures=failures,
    )


async def _more(
    options: StatusOptions, desired: Mapping[PortfolioId, Desired], read: Reads, service: Service
) -> tuple[PortfolioFacts | None, tuple[LastRebalance, ...] | None, tuple[ApiError, ...]]:
    """Read the facts and the last rebalances of one portfolio, if it was found, and return what of it failed, too."""
    from reconciler.api.fleet import read_recent

    failures: list[ApiError] = []

    async def tried(call: Awaitable[Some]) -> Some | None:
        try:
            return await call
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                raise
            failures.append(error)
            return None

    (live,) = read.fleet.live.values()
    if not live.status.was_seen:
        return None, None, ()
    facts, recent = await tried(service.api.facts(live.id)), None
    if not options.no_results:
        (asked,) = result_queries(options, service, desired, read)
        recent = await tried(read_recent(service.api, asked, limit=RECENT))
    return facts, recent, tuple(failures)


def status_reason(
    rows: Sequence[StatusRow],
    *,
    fail_on: Sequence[str] = (),
    others: Sequence[ApiError] = (),
    missing: bool = False,
) -> ExitReason:
    """Return what to exit with: the one reason that all failures share, else a plain error.

    A result that could not be read counts as a failed read; one that the service no longer has does not count. A last
    rebalance that went wrong, or a portfolio that is overdue, is an error only with ``fail_on``. ``others`` are failed
    reads that no row shows; ``missing`` says that the one portfolio that somebody asked for is not there.
    """
    failures = [*others, *(row.live.failure for row in rows)]
    failures += [row.last.failure for row in rows if row.last is not None]
    counted = [one for one in failures if one is not None and one.kind is not FailureKind.NOT_FOUND]
    wrong = missing or _told(rows, fail_on)
    return shared_reason([*counted, *([None] if wrong else [])])


def _told(rows: Iterable[StatusRow], fail_on: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for each condition of ``--fail-on`` that holds."""
    needs = {one.need for row in rows for one in row.needs}
    asked = (word for word in _FAIL_ON if word in fail_on)
    return tuple(f"--fail-on {word}: {_FAIL_ON[word][1]}" for word in asked if _FAIL_ON[word][0] in needs)
