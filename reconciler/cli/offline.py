"""The live file of the command line: saved beside a read, and planned from without service, key and journal.

In: options, a loaded configuration, and what was read or the name of a live file. Out: that file, or a plan that says
"as of" and is never applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from reconciler.cli.planning import plan_of, require_found, resumed, selected
from reconciler.cli.savefile import save
from reconciler.cli.service import SystemClock
from reconciler.cli.strategies import memory_in, read_cadences_of, saved_strategies
from reconciler.cli.wiring import make_selection
from reconciler.core.fleet import select_strategies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.planning import Declared
    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.errors import ApiError
    from reconciler.core.fleet import Fleet
    from reconciler.core.livefile import LiveFile
    from reconciler.core.plan import Plan
    from reconciler.core.ports import Memory

_OF_A_SERVICE: Final = {
    "base_url": "--base-url",
    "sandbox": "--sandbox",
    "proxy": "--proxy",
    "journal": "--journal",
}
"""Options that say where live and its records come from, which a live file settles: both would be one too many."""


def plan_offline(options: Mapping[str, Any], configuration: Configuration, *, base: Declared | None = None) -> Plan:
    """Plan from the file of ``--live``; a selected portfolio that it does not hold is blocked.

    Raises :class:`click.UsageError` beside an option that names a service, and
    :class:`~reconciler.core.errors.LiveInvalid`.
    """
    refuse_service_options()
    desired = selected(options, configuration)
    options = {**options, "resume_held": resumed(options, desired)}
    found = load_live(options["live"])
    fleet = found.fleet_of(desired, whole=make_selection(options).everything)
    require_found(fleet.live, found.base_url, None)
    return plan_of(
        options,
        configuration,
        desired,
        fleet,
        memory_in(found),
        base_url=found.base_url,
        created_ms=SystemClock().now_ms(),
        now_ms=found.as_of_ms,
        as_of_ms=found.as_of_ms,
        base=base,
        strategies=saved_strategies(options, configuration, found, fleet),
        journal=found.journal,
    )


def refuse_service_options() -> None:
    """Refuse options of the command line that name a service; those of the environment are merely not used."""
    context = click.get_current_context()
    given = [
        spelled
        for name, spelled in _OF_A_SERVICE.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"--live plans from a file and asks no service: drop {' and '.join(given)}.", context)


async def save_live(
    options: Mapping[str, Any],
    configuration: Configuration,
    service: Service,
    fleet: Fleet,
    memory: Memory,
    *,
    as_of_ms: int,
) -> tuple[ApiError, ...]:
    """Save what was read, and with it the selected strategies and the list that tells whom they reach.

    Failed reads are saved too: a plan from the file blocks what they are about, as one made at once would. Returns
    those of strategies and of the list, which no table shows. ``as_of_ms`` is the time before the first read.
    Raises :class:`~reconciler.core.errors.ApiError` when the key is refused.
    """
    from reconciler.core.livefile import LiveFile, format_live
    from reconciler.core.planner import journal_state

    desired = select_strategies(configuration.strategies, make_selection(options))
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
    save(options["out"], format_live(found), what="live file")
    failures = [one.failure for one in live.values()] + ([listed.failure] if listed is not None else [])
    return tuple(failure for failure in failures if failure is not None)


def load_live(file: str) -> LiveFile:
    """Read a live file. Raises :class:`~reconciler.core.errors.LiveInvalid`."""
    from reconciler.config.files import read_saved
    from reconciler.core.livefile import LIVE_FORMAT, parse_live

    return parse_live(read_saved(file, LIVE_FORMAT))
