"""Files and live state to a plan: the way that ``plan`` and ``apply`` share.

In: options, a loaded configuration, an open service. Out: a :class:`~reconciler.core.plan.Plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from reconciler.cli.ids import ids_in
from reconciler.cli.progress import ReadProgress, bar
from reconciler.cli.results import publish
from reconciler.cli.service import memory_of
from reconciler.cli.strategies import read_strategies, with_selected
from reconciler.cli.wiring import make_selection
from reconciler.core.fleet import select
from reconciler.core.model import Status
from reconciler.core.plan import UNKNOWN, Guarded, Plan
from reconciler.render.text import diagnostics_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.config.revision import Base
    from reconciler.core.fleet import Fleet
    from reconciler.core.model import Desired, Live, PortfolioId
    from reconciler.core.plan import Allowed, JournalState
    from reconciler.core.planner import Strategies
    from reconciler.core.ports import Journal, Memory

    Declared = Base | Configuration
    """What files declare, at a revision or as they are."""


def policy(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--unverified``, ``--resume-held`` and ``--again``."""
    command = again(command)
    return unverified(
        click.option(
            "--resume-held",
            "resume_held",
            multiple=True,
            metavar="ID|group=NAME|@FILE",
            help="Resume this portfolio, this group or the ids in this file although somebody else paused them. "
            "Repeatable.",
        )(command)
    )


def again(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--again``."""
    return click.option(
        "--again",
        multiple=True,
        metavar="ID",
        help="Ask for a run of it although an earlier request was not answered and may have begun one. Repeatable.",
    )(command)


def unverified(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--unverified``."""
    return click.option(
        "--unverified",
        type=click.Choice(["write", "skip", "fail"]),
        default="write",
        show_default=True,
        help="What to do about a schedule that can't be known.",
    )(command)


async def make_plan(
    options: Mapping[str, Any],
    configuration: Configuration,
    service: Service,
    output: Output,
    *,
    base: Declared | None = None,
    plans: Iterable[str] = (),
    journal: Journal | None = None,
) -> Plan:
    """Read everything that is selected and plan; with what a ``base`` declares, every change gets its cause.

    A ``journal`` that is open to write keeps what the reads prove of schedules.
    ``plans`` are fingerprints whose unfinished attempts don't count: what an approved plan began may be gone on with.
    Raises :class:`~reconciler.core.errors.ApiError` when the key is refused; any other failed read blocks its
    portfolio only.
    """
    from reconciler.api.fleet import read_fleet
    from reconciler.core.evidence import observed

    desired = selected(options, configuration)
    options = {**options, "resume_held": resumed(options, desired)}
    memory = memory_of(options, service, plans=plans)  # before the first read: what is written later makes this stale
    with bar(output, "Reading", len(desired)) as shown:
        fleet = await read_fleet(
            service.api,
            desired,
            whole=make_selection(options).everything,
            parallelism=options["parallelism"],
            observer=ReadProgress(shown),
        )
    require_found(fleet.live, service.label, service.account)  # before anything is kept of another account's
    if journal is not None and (proven := observed(memory, fleet.live, now_ms=service.api.service_ms())):
        journal.confirm(proven)
    strategies = await read_strategies(options, configuration, service, fleet, memory)
    output.notes(service.notes)
    return plan_of(
        options,
        configuration,
        desired,
        fleet,
        memory,
        base_url=service.label,
        account=service.account,
        created_ms=service.clock.now_ms(),
        now_ms=service.api.service_ms(),
        base=base,
        strategies=strategies,
    )


def require_found(live: Mapping[PortfolioId, Live], base_url: str, account: str | None) -> None:
    """Raise :class:`~reconciler.core.errors.NotExpected` where most of what was asked for is not found."""
    from reconciler.core.errors import NotExpected
    from reconciler.core.fleet import mostly_missing

    if mostly_missing(live.values()):
        missing = sum(one.status is Status.NOT_FOUND for one in live.values())
        whose = f"the account {account}" if account is not None else "an account that can't be known"
        raise NotExpected(
            f"{missing} of {len(live)} portfolios are not found at {base_url}; the key belongs to {whose}",
            "Nothing was written. Use the key and the service that belong to these files.",
        )


def selected(options: Mapping[str, Any], configuration: Configuration) -> Mapping[PortfolioId, Desired]:
    """Return the portfolios that the options are about. Raises for an id or group that is not among them."""
    desired = select(configuration.desired, make_selection(options), configuration.strategies)
    _require_selected("--again", options["again"], desired)
    return desired


def resumed(options: Mapping[str, Any], desired: Mapping[PortfolioId, Desired]) -> frozenset[str]:
    """Return the portfolios that ``--resume-held`` names, by id, by group, or in a file of one id a line.

    Raises a usage error for an id or group that is not among the selected portfolios, and as :func:`ids_in` does.
    """
    found: set[str] = set()
    for text in options["resume_held"]:
        kind, equals, group = text.partition("=")
        if text.startswith("@"):
            named = ids_in(text[1:], files=options["sources"], option="--resume-held @")
        elif kind == "group" and equals:
            named = tuple(one.id for one in desired.values() if one.group == group)
            if not named:
                raise click.UsageError(f"--resume-held {text!r}: no selected portfolio is in that group.")
        else:
            named = (text,)
        _require_selected("--resume-held", named, desired)
        found.update(named)
    return frozenset(found)


def _require_selected(option: str, ids: Iterable[str], desired: Mapping[PortfolioId, Desired]) -> None:
    if unknown := sorted(set(ids) - set(desired)):
        more = f", one of {len(unknown)} that are not" if len(unknown) > 1 else ""
        raise click.UsageError(f"{option} {unknown[0]!r} is not among the selected portfolios{more}.")


def plan_of(
    options: Mapping[str, Any],
    configuration: Configuration,
    desired: Mapping[PortfolioId, Desired],
    fleet: Fleet,
    memory: Memory,
    *,
    base_url: str,
    created_ms: int,
    now_ms: int,
    account: str | None = None,
    as_of_ms: int | None = None,
    base: Declared | None = None,
    strategies: Strategies | None = None,
    journal: JournalState | None = None,
) -> Plan:
    """Return the plan for what was read, wherever that comes from; times are UTC epoch milliseconds.

    ``memory`` is what the journal knew before the first read. ``now_ms`` is the service's
    time at these reads.
    """
    from reconciler.core.advice import advise_plan
    from reconciler.core.cost import plan_cost
    from reconciler.core.decide import Policy, Unverified
    from reconciler.core.evidence import believed, doubts_told
    from reconciler.core.planner import build_plan

    # What a look shows to be older than live, or of a time to come, is not believed.
    records, doubts = believed(memory, fleet.live, now_ms=now_ms)
    memory = replace(memory, records=records)
    decided = Policy(
        unverified=Unverified(options["unverified"]),
        resume_held=frozenset(options["resume_held"]),
        again=frozenset(options["again"]),
    )
    plan = build_plan(
        Plan(
            base_url=base_url,
            account=account,
            created_ms=created_ms,
            config_digest=configuration.digest,
            config_files=configuration.files,
            selection=make_selection(options),
            warnings=configuration.warnings,
            as_of_ms=as_of_ms,
            unmanaged=fleet.unmanaged(configuration.desired),
            listing=fleet.listing,
        ),
        desired,
        fleet.live,
        memory,
        policy=decided,
        guards=configuration.guards,
        managed=len(configuration.desired),
        journal=journal,
    )
    plan = with_selected(plan, strategies, configuration, fleet, memory, unverified=decided.unverified)
    if base is not None:
        from reconciler.core.planner import with_causes

        plan = with_causes(plan, base, fleet.live, memory, decided)
    # A moment that has passed is no next run, however long the service goes on naming it.
    changes = tuple(replace(c, next_run_ms=None) if (c.next_run_ms or now_ms) < now_ms else c for c in plan.changes)
    plan = replace(
        plan,
        changes=changes,
        cost=plan_cost(plan, desired, fleet.live, memory.records),
        warnings=(*plan.warnings, *doubts_told(doubts), *advise_plan(plan, desired, memory.triggers)),
    )
    publish(plan=plan, diagnostics=plan.warnings)
    return plan


def parse_allow(allow: tuple[str, ...]) -> dict[Guarded, Allowed]:
    """Return the numbers of ``--allow WHAT=N`` values. Raises :class:`click.BadParameter`.

    Only ``reach`` may be ``unknown``: everything else is counted in the plan itself.
    """
    allowed: dict[Guarded, Allowed] = {}
    for text in allow:
        name, _, number = text.partition("=")
        if name == Guarded.REACH and number == UNKNOWN:
            allowed[Guarded.REACH] = UNKNOWN
            continue
        if name not in list(Guarded) or not (number.isascii() and number.isdigit()):
            raise click.BadParameter(f"{text!r} is not of the form resume=12.", param_hint="--allow")
        allowed[Guarded(name)] = int(number)
    return allowed


def show_warnings(configuration: Configuration, output: Output) -> None:
    """Print the configuration's warnings on stderr."""
    publish(diagnostics=configuration.warnings, portfolios=len(configuration.desired))
    if configuration.warnings and not output.is_json:
        for warning in configuration.warnings:
            output.warn(diagnostics_text([warning], output.note_style).rstrip("\n"))
