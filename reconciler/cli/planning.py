"""Make a plan from files and live state, for ``plan``, ``apply`` and ``drift`` alike.

In: options, a loaded configuration, an open service. Out: a :class:`~reconciler.core.plan.Plan`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.cli.ids import ids_in
from reconciler.cli.progress import ReadProgress, bar, read_shown
from reconciler.cli.savefile import require_place, save
from reconciler.cli.service import memory_of
from reconciler.cli.strategies import read_strategies, with_selected
from reconciler.core.decide import Policy
from reconciler.core.errors import NotExpected, UsageError
from reconciler.core.fleet import Term, mostly_missing, require_among, require_fit, select
from reconciler.core.model import PortfolioId, RunState, Status
from reconciler.core.plan import UNKNOWN, Guarded, LiveSummary, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.api.fleet import LastRunQuery
    from reconciler.apply.journal import OpenJournal
    from reconciler.cli.options import PlanningOptions
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.config.revision import Base
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.fleet import Fleet
    from reconciler.core.model import Address, Desired, Live
    from reconciler.core.plan import Allowed, ShareCount
    from reconciler.core.planner import Strategies
    from reconciler.core.ports import Memory
    from reconciler.core.rebalance import KeptRebalance, LastRebalance
    from reconciler.core.report import ApplyReport

    Results = tuple[Mapping[PortfolioId, LastRebalance | None], Mapping[PortfolioId, Sequence[KeptRebalance]]]
    """The last rebalance of each portfolio as far as it is known, and all that are known, newest first."""
    Declared = Base | Configuration
    """What files declare, at a revision or as they are."""

_METRICS_BEGIN: Final = rb"# TYPE reconciler_"
"""How a file of metrics begins: only such a file is replaced by a new one."""
_METRICS: Final = "file of metrics"
_SELECTED: Final = "among the selected portfolios"


class Reads(Struct, frozen=True, kw_only=True):
    """What was read for a plan, from the service or a live file; times are UTC epoch milliseconds.

    ``memory`` is what the journal knew before the first read. ``now_ms`` is the service's time at these reads;
    ``as_of_ms`` is set if they come from live files, and ``shares`` says from which; ``read_ms`` says when each
    portfolio was read that was not read at ``now_ms``.
    """

    base_url: str
    fleet: Fleet
    memory: Memory
    created_ms: int
    now_ms: int
    account: str | None = None
    as_of_ms: int | None = None
    shares: ShareCount | None = None
    read_ms: Mapping[Address, int] = {}
    strategies: Strategies | None = None


async def make_plan(
    options: PlanningOptions,
    configuration: Configuration,
    service: Service,
    *,
    base: Declared | None = None,
    plans: Iterable[str] = (),
    journal: OpenJournal | None = None,
) -> Plan:
    """Read everything that is selected and make a plan. With a ``base`` to compare with, every change gets its cause.

    A ``journal`` that is open to write keeps what the reads prove about schedules. ``plans`` are fingerprints of
    approved plans: writes that these began and did not finish don't make this plan stale, so they can be finished.
    Raises :class:`~reconciler.core.errors.ApiError` when the key is refused; any other failed read blocks only its
    own portfolio.
    """
    desired = selected(options, configuration)
    policy = policy_of(options, desired)
    reads = await look(options, configuration, service, desired, plans=plans, journal=journal)
    options.output.notes(service.notes)
    return plan_of(options, configuration, desired, policy, reads, base=base)


async def look(
    options: PlanningOptions,
    configuration: Configuration,
    service: Service,
    desired: Mapping[PortfolioId, Desired],
    *,
    plans: Iterable[str] = (),
    journal: OpenJournal | None = None,
) -> Reads:
    """Read everything that a plan of ``desired`` needs; see :func:`make_plan`."""
    from reconciler.core.evidence import observed

    reads = await read_live(options, service, desired, plans=plans)
    fleet, memory = reads.fleet, reads.memory
    require_found(fleet.live, service.label, service.account)  # before anything is kept of another account's
    if journal is not None and (proven := observed(memory, fleet.live, now_ms=reads.now_ms)):
        journal.confirm(proven)
    strategies = await read_strategies(options, configuration, service, fleet, memory)
    now_ms = service.api.service_ms()
    return replace(reads, strategies=strategies, created_ms=now_ms, now_ms=now_ms)


async def read_live(
    options: PlanningOptions,
    service: Service,
    desired: Mapping[PortfolioId, Desired],
    *,
    plans: Iterable[str] = (),
    results: bool = False,
    shows_only: bool = False,
) -> Reads:
    """Read the automation of these portfolios, and before that what the journal knows; with ``results`` also of
    rebalances. A write that comes later than that makes a plan of it stale. Raises as :func:`memory_of` does."""
    memory = memory_of(options.service, service, plans=plans, results=results, shows_only=shows_only)
    chosen = options.selection.selection
    fleet, read_ms = await read_shown(service, desired, chosen, options.output, options.service.parallelism)
    return Reads(
        base_url=service.label,
        account=service.account,
        fleet=fleet,
        memory=memory,
        created_ms=service.api.service_ms(),
        now_ms=service.api.service_ms(),
        read_ms=read_ms,
    )


async def look_at_results(
    options: PlanningOptions, service: Service, desired: Mapping[PortfolioId, Desired], read: Reads, *, asks: bool
) -> Results:
    """Return how rebalances ended: as far as the journal knows, or, if ``asks``, as far as the service tells."""
    from reconciler.api.fleet import read_last
    from reconciler.cli.writing import keep_results
    from reconciler.core.rebalance import remembered

    live, known = read.fleet.live, read.memory.results
    if not asks:
        return {i: remembered(known[i], live[i]) for i in known if i in desired}, known
    asked = result_queries(options, service, desired, read)
    with bar(options.output, "Reading results", len(asked)) as shown:
        last = await read_last(
            service.api.by({i: one.api for i, one in desired.items()}),
            asked,
            parallelism=options.service.parallelism,
            observer=ReadProgress(shown),
        )
    kept = await keep_results(options.service, service, {i: one.read for i, one in last.items()}, known)
    return dict(last), kept


def result_queries(
    options: PlanningOptions, service: Service, desired: Mapping[PortfolioId, Desired], read: Reads
) -> list[LastRunQuery]:
    """Return what to ask about each portfolio. The journal is opened once more only for the ids of v2 operations."""
    from reconciler.api.fleet import LastRunQuery

    operations: Mapping[PortfolioId, str] = {}
    if not all(one.api.can.lists_runs for one in desired.values()):
        from reconciler.apply.journalreads import read_runs
        from reconciler.apply.trigger import operations_of

        runs = read_runs(options.service.journal_place) or ()
        operations = operations_of(runs, service.label, noun="operation")
    live, known = read.fleet.live, read.memory.results
    return [LastRunQuery(live=one, operation=operations.get(i), known=known.get(i, ())) for i, one in live.items()]


def require_found(live: Mapping[PortfolioId, Live], base_url: str, account: str | None) -> None:
    """Raise :class:`~reconciler.core.errors.NotExpected` if most portfolios are not found, as with a wrong key."""
    if mostly_missing(live.values()):
        missing = sum(one.status is Status.NOT_FOUND for one in live.values())
        whose = f"the account {account}" if account is not None else "an account that can't be known"
        raise NotExpected(
            f"{missing} of {len(live)} portfolios are not found at {base_url}; the key belongs to {whose}",
            "Nothing was written. Use the key and the service that belong to these files.",
        )


def selected(options: PlanningOptions, configuration: Configuration) -> Mapping[PortfolioId, Desired]:
    """Return the portfolios that the options select. Raises for an id or group that the files don't declare."""
    desired = select(configuration.desired, options.selection.selection, configuration.strategies)
    require_among("--again", options.policy.again, desired, _SELECTED)
    return desired


def policy_of(options: PlanningOptions, desired: Mapping[PortfolioId, Desired]) -> Policy:
    """Return the decisions that the options make; ``--resume-held`` names portfolios by id, by group, or in a file.

    Raises :class:`~reconciler.core.errors.UsageError` for an id or group that is not among the selected portfolios, and
    as :func:`ids_in` does.
    """
    held: set[str] = set()
    for text in options.policy.resume_held:
        kind, equals, group = text.partition("=")
        if text.startswith("@"):
            named = ids_in(text[1:], files=options.files, option="--resume-held @")
        elif kind == "group" and equals:
            require_fit("--resume-held", Term("group", group), desired.values(), "selected portfolio")
            named = tuple(one.id for one in desired.values() if one.group == group)
        else:
            named = (PortfolioId(text),)
        require_among("--resume-held", named, desired, _SELECTED)
        held.update(named)
    return Policy(
        unverified=options.policy.unverified, resume_held=frozenset(held), again=frozenset(options.policy.again)
    )


def plan_of(
    options: PlanningOptions,
    configuration: Configuration,
    desired: Mapping[PortfolioId, Desired],
    policy: Policy,
    reads: Reads,
    *,
    base: Declared | None = None,
) -> Plan:
    """Return the plan for what was read."""
    from reconciler.core.evidence import believed, doubts_told
    from reconciler.core.freeze import with_freezes
    from reconciler.core.guards import check_complete
    from reconciler.core.halt import halts_told
    from reconciler.core.planner import build_plan, with_causes

    # Records that the reads show to be older than what is live, or that come from the future, are not believed.
    records, doubts = believed(reads.memory, reads.fleet.live, now_ms=reads.now_ms, read_ms=reads.read_ms)
    memory = replace(reads.memory, records=records)
    frame = Plan(
        base_url=reads.base_url,
        account=reads.account,
        created_ms=reads.created_ms,
        config_digest=configuration.digest,
        config_files=configuration.files,
        selection=options.selection.selection,
        warnings=configuration.warnings,
        as_of_ms=reads.as_of_ms,
        shares=reads.shares,
        unmanaged=reads.fleet.unmanaged(configuration.desired),
        listing=reads.fleet.listing,
    )
    plan = build_plan(
        frame,
        desired,
        reads.fleet.live,
        memory,
        policy=policy,
        guards=configuration.guards,
        managed=len(configuration.desired),
    )
    plan = with_selected(plan, reads.strategies, configuration, reads.fleet, memory, unverified=policy.unverified)
    plan = replace(plan, over=(*plan.over, *check_complete(plan)))
    follows = reads.strategies.follows if reads.strategies is not None else {}
    plan = with_freezes(plan, configuration.freezes, configuration.desired, follows, now_ms=reads.now_ms)
    if base is not None:
        plan = with_causes(plan, base, reads.fleet.live, memory, policy)
    active = {i for i, one in desired.items() if one.state is RunState.ACTIVE}
    pausing = [one.halt for one in plan.halted if one.waits is None and one.id in active]
    told = (*doubts_told(doubts), *halts_told(memory.halting, now_ms=reads.now_ms, pausing=pausing))
    return _with_costs_and_advice(plan, desired, replace(reads, memory=memory), told)


def _with_costs_and_advice(
    plan: Plan, desired: Mapping[PortfolioId, Desired], reads: Reads, told: Iterable[Diagnostic]
) -> Plan:
    """Return the plan with its costs and load, what is live and overdue, and the warnings about it after those of the
    files."""
    from reconciler.core.advice import Rule, advise_live, advise_plan
    from reconciler.core.cost import plan_cost
    from reconciler.core.load import live_runs, plan_load, runs_day_of
    from reconciler.core.needs import overdue_among

    # The service may go on naming a time that has passed; that is not a next run.
    now_ms = reads.now_ms
    changes = tuple(replace(c, next_run_ms=None) if (c.next_run_ms or now_ms) < now_ms else c for c in plan.changes)
    plan = replace(plan, changes=changes)
    live = reads.fleet.live
    seen = ((one, found) for one in desired.values() if (found := live[one.id].signs) is not None)
    advice = advise_plan(plan, desired, reads.memory.triggers)
    # What the plan writes tells more of a minute than the files do.
    known = (w for w in plan.warnings if w.rule != Rule.SAME_MINUTE or all(w.rule != one.rule for one in advice))
    return replace(
        plan,
        cost=plan_cost(plan, desired, live, reads.memory.records),
        live=LiveSummary(
            states=dict(Counter(live[i].status for i in desired)),
            runs_day=round(runs_day_of(live_runs(live, reads.memory.records).values()), 4),
        ),
        overdue=overdue_among(desired, live, reads.memory.records, now_ms=now_ms, read_ms=reads.read_ms),
        load=plan_load(plan, live, reads.memory.records, now_ms=now_ms) if changes else None,
        warnings=(*known, *told, *advice, *advise_live(seen)),
    )


def save_metrics(
    options: PlanningOptions, plan: Plan, *, command: str, report: ApplyReport | None = None, failed: int | None = None
) -> None:
    """Save the numbers of a plan, or of what an apply left of it, where ``--metrics`` says so.

    Where nothing at all could be read, the older numbers stay: their time tells that they are old, and none of the new
    ones would be true. ``failed`` is how many portfolios' last run failed, ``None`` if nobody asked. Raises
    :class:`~reconciler.core.errors.ReconcilerError`.
    """
    if options.metrics is None:
        return
    if plan.live is not None and plan.live.states and not any(one.was_seen for one in plan.live.states):
        options.output.note(f"note: nothing could be read, so {options.metrics} is left as it was")
        return
    from reconciler.render.metrics import metrics_text

    text = metrics_text(plan, command=command, report=report, failed=failed)
    save(options.metrics, text, what=_METRICS, begins=_METRICS_BEGIN)


def require_metrics_place(options: PlanningOptions) -> None:
    """Raise now what :func:`save_metrics` would raise after a long read."""
    if options.metrics is not None:
        require_place(options.metrics, what=_METRICS, begins=_METRICS_BEGIN)


class Allowance(Struct, frozen=True, kw_only=True):
    """What a person lets through with ``--allow``: numbers over a guard, and changes in a freeze, by its name."""

    numbers: Mapping[Guarded, Allowed]
    freezes: frozenset[str]


def parse_allow(allow: Iterable[str]) -> Allowance:
    """Return what ``--allow WHAT=N`` and ``freeze=NAME`` allow. Raises :class:`~reconciler.core.errors.UsageError`.

    Only ``reach`` may be ``unknown``: all other numbers are counted in the plan, so they are always known.
    """
    numbers: dict[Guarded, Allowed] = {}
    freezes: set[str] = set()
    for text in allow:
        name, _, value = text.partition("=")
        if name == "freeze" and value:
            freezes.add(value)
        elif name == Guarded.REACH and value == UNKNOWN:
            numbers[Guarded.REACH] = UNKNOWN
        elif name in list(Guarded) and value.isascii() and value.isdigit():
            numbers[Guarded(name)] = int(value)
        else:
            raise UsageError(f"Invalid value for --allow: {text!r} is not of the form resume=12 or freeze=NAME.")
    return Allowance(numbers=numbers, freezes=frozenset(freezes))
