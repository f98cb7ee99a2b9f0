"""The live file: ``status --out`` saves one, and ``plan --live`` plans from it without service, key and journal.

In: options, a loaded configuration, and what was read or the name of a live file. Out: that file, or a plan that says
"as of" and is never applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.planning import Reads, plan_of, policy_of, require_found, selected
from reconciler.cli.savefile import save
from reconciler.cli.service import SystemClock
from reconciler.cli.strategies import memory_in, read_cadences_of, saved_strategies
from reconciler.core.errors import UsageError
from reconciler.core.fleet import select_strategies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.options import PlanningOptions, ServiceOptions
    from reconciler.cli.planning import Declared
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.errors import ApiError
    from reconciler.core.fleet import Fleet, Selection
    from reconciler.core.livefile import LiveFile
    from reconciler.core.model import Desired, PortfolioId
    from reconciler.core.plan import Plan
    from reconciler.core.ports import Memory


def plan_offline(
    options: PlanningOptions, live: str, configuration: Configuration, *, base: Declared | None = None
) -> Plan:
    """Plan from a live file; a selected portfolio that it does not hold is blocked.

    Raises :class:`~reconciler.core.errors.UsageError` if an option names a service as well, and
    :class:`~reconciler.core.errors.LiveInvalid` for a file that can't be used.
    """
    desired = selected(options, configuration)
    policy = policy_of(options, desired)
    reads = saved_reads(options, live, configuration, desired)
    return plan_of(options, configuration, desired, policy, reads, base=base)


def saved_reads(
    options: PlanningOptions, live: str, configuration: Configuration, desired: Mapping[PortfolioId, Desired]
) -> Reads:
    """Return what a live file holds of these portfolios; see :func:`plan_offline`."""
    refuse_service_options(options.service)
    found = load_live(live)
    fleet = found.fleet_of(desired, whole=options.selection.selection.everything)
    require_found(fleet.live, found.base_url, None)
    return Reads(
        base_url=found.base_url,
        fleet=fleet,
        memory=memory_in(found),
        created_ms=SystemClock().now_ms(),
        now_ms=found.as_of_ms,
        as_of_ms=found.as_of_ms,
        strategies=saved_strategies(options, configuration, found, fleet),
        journal=found.journal,
    )


def refuse_service_options(options: ServiceOptions) -> None:
    """Refuse options that name a service or its records. What the environment names is not refused, only not used."""
    named = {
        "--base-url": options.base_url,
        "--sandbox": options.sandbox,
        "--proxy": options.proxy,
        "--journal": options.journal,
    }
    if given := [option for option, value in named.items() if value is not None]:
        raise UsageError(f"--live plans from a file and asks no service: drop {' and '.join(given)}.")


async def save_live(
    file: str,
    options: ServiceOptions,
    selection: Selection,
    configuration: Configuration,
    service: Service,
    fleet: Fleet,
    memory: Memory,
    *,
    as_of_ms: int,
) -> tuple[ApiError, ...]:
    """Save what was read, with the selected strategies and the list that tells which portfolios they reach.

    Failed reads are saved, too: a plan from the file blocks these portfolios, as a plan made at once would. Returns the
    failed reads of strategies and of the list, which no table shows. ``as_of_ms`` is the time before the first read, in
    UTC epoch milliseconds. Raises :class:`~reconciler.core.errors.ApiError` when the key is refused.
    """
    from reconciler.core.livefile import LIVE_FORMAT, LiveFile, format_live
    from reconciler.core.planner import journal_state

    desired = select_strategies(configuration.strategies, selection)
    listed = fleet.listed
    live = await read_cadences_of(desired, options, service) if desired else {}
    if desired and listed is None:
        listed = await service.api.list_portfolios()
    known = sorted({*fleet.live, *(listed.rows if listed is not None else ())})
    found = LiveFile(
        base_url=service.label,
        as_of_ms=as_of_ms,
        live=fleet.live,
        records={i: memory.records[i] for i in known if i in memory.records},
        pauses={i: memory.pauses[i] for i in known if i in memory.pauses},
        triggers={i: memory.triggers[i] for i in known if i in memory.triggers},
        versions={i: configuration.desired[i].api for i in fleet.live},
        listed=listed,
        strategies=live,
        cadences={strategy: memory.cadences[strategy] for strategy in live if strategy in memory.cadences},
        journal=journal_state(memory),
    )
    save(file, format_live(found), what="live file", largest=LIVE_FORMAT.largest)
    failures = [one.failure for one in live.values()] + ([listed.failure] if listed is not None else [])
    return tuple(failure for failure in failures if failure is not None)


def load_live(file: str) -> LiveFile:
    """Read a live file. Raises :class:`~reconciler.core.errors.LiveInvalid`."""
    from reconciler.config.files import load_saved
    from reconciler.core.livefile import LIVE_FORMAT, parse_live

    return load_saved(file, LIVE_FORMAT, parse_live)
