"""Read the portfolios to import: by their ids, from the list of v2, or both; then their names and strategies.

In: ids and options, an open service. Out: a :class:`Reading`, in which every failed read has its place. What files
declare already is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from reconciler.cli.progress import ReadProgress, bar
from reconciler.cli.service import memory_of
from reconciler.core.adoption import Found
from reconciler.core.errors import ApiError, ExitReason, exit_reason_of
from reconciler.core.fleet import PortfolioList
from reconciler.core.model import ApiVersion, StrategyId, StrategyStatus, address_of, strategy_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.adoption import Adoption
    from reconciler.core.model import Live, PortfolioId


class Wanted(Struct, frozen=True, kw_only=True):
    """What to import: ids of one version, and whether also all that v2 lists."""

    ids: tuple[PortfolioId, ...]
    version: ApiVersion
    whole: bool
    names: bool
    """Whether to read the names of v1 portfolios."""


class Reading(Struct, frozen=True, kw_only=True):
    """What was read; ``declared`` are those that were asked for and left alone, sorted."""

    found: Found
    declared: tuple[PortfolioId, ...]
    listed: PortfolioList = field(default_factory=PortfolioList)
    """The list of v2; complete and empty where none was asked for."""


async def read_wanted(
    wanted: Wanted,
    options: Mapping[str, Any],
    service: Service,
    output: Output,
    *,
    declared: Collection[PortfolioId],
    strategies: Collection[StrategyId],
) -> Reading:
    """Read everything that is wanted and not ``declared``; ``strategies`` are declared already, too.

    Raises :class:`ApiError` only for a refused key.
    """
    from reconciler.api.fleet import read_all

    listed = await service.api.list_portfolios() if wanted.whole else PortfolioList()
    named = [portfolio for portfolio in wanted.ids if portfolio not in declared]
    versions = dict.fromkeys(named, wanted.version)
    # Who names a portfolio says by which API it is managed: by one of them, never by both (API facts §4.9).
    elsewhere = {i for i, version in versions.items() if not version.can.lists}
    rows = {i: live for i, live in listed.rows.items() if i not in declared and i not in elsewhere}
    singly = [portfolio for portfolio in named if portfolio not in rows]
    with bar(output, "Reading", len(singly)) as shown:
        read = await read_all(
            service.api.by(versions), singly, parallelism=options["parallelism"], observer=ReadProgress(shown)
        )
    live = {**rows, **read}
    found = Found(
        live={portfolio: live[portfolio] for portfolio in sorted(live)},
        versions={portfolio: versions.get(portfolio, ApiVersion.V2) for portfolio in live},
        records=memory_of(options, service).records,
        names=await _names(read, options, service, output) if wanted.names else {},
        strategies=await _strategies(live, strategies, options, service),
    )
    asked = {*wanted.ids, *listed.rows}
    return Reading(found=found, declared=tuple(sorted(asked & set(declared))), listed=listed)


def exit_reason(reading: Reading, adoption: Adoption) -> ExitReason:
    """Return what an import exits with: an error where anything could not be read.

    Where nothing came of it at all, the one reason that all failures share says more, such as a service that is down.
    """
    failures: list[ApiError | None] = [one.failure for one in adoption.omitted if one.reason.is_failure]
    failures += [live.failure for live in reading.found.strategies.values() if live.status is StrategyStatus.UNREADABLE]
    failures += [name for name in reading.found.names.values() if isinstance(name, ApiError)]
    failures += [reading.listed.failure] if reading.listed.failure is not None else []
    failures += [None] if reading.listed.unreadable else []
    if not adoption.empty:
        return ExitReason.ERROR if failures else ExitReason.OK
    reasons = {exit_reason_of(one.kind) if one is not None else ExitReason.ERROR for one in failures}
    if len(reasons) == 1:
        return reasons.pop()
    return ExitReason.ERROR if reasons or adoption.omitted or not reading.declared else ExitReason.OK


async def _names(
    read: Mapping[PortfolioId, Live], options: Mapping[str, Any], service: Service, output: Output
) -> dict[PortfolioId, str | ApiError | None]:
    from reconciler.api.fleet import read_names
    from reconciler.core.model import Status

    there = [i for i, live in read.items() if live.status not in (Status.NOT_FOUND, Status.UNREADABLE)]
    nameless = [portfolio for portfolio in there if read[portfolio].name is None]
    with bar(output, "Reading names", len(nameless)) as shown:
        return await read_names(
            service.api.by(dict.fromkeys(nameless, ApiVersion.V1)),
            nameless,
            parallelism=options["parallelism"],
            observer=ReadProgress(shown),
        )


async def _strategies(
    live: Mapping[PortfolioId, Live], declared: Collection[StrategyId], options: Mapping[str, Any], service: Service
) -> Mapping[StrategyId, Any]:
    from reconciler.api.fleet import read_strategies

    named = {StrategyId(one.strategy) for one in live.values() if one.strategy is not None}
    # An id that may not stand in a URL can't be one of ours either.
    wanted = sorted(one for one in named - set(declared) if strategy_of(address_of(one)) is not None)
    return await read_strategies(service.api, wanted, parallelism=options["parallelism"])
