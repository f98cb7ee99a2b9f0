"""``reconciler coverage``: what is live although no file declares it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.files import load_files_if_any
from reconciler.cli.ids import ids_of
from reconciler.cli.options import FileOptions, Options, ServiceOptions
from reconciler.cli.progress import read_with_bar
from reconciler.cli.service import open_service, run_async, shared_reason
from reconciler.core.errors import ExitReason
from reconciler.core.fleet import Coverage
from reconciler.core.report import FailOn
from reconciler.render.coverage import coverage_document, coverage_page
from reconciler.render.ending import Ending, View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.cli.service import Service
    from reconciler.config.load import Configuration
    from reconciler.core.model import PortfolioId
    from reconciler.render.ending import Found


class CoverageOptions(Options, frozen=True, kw_only=True):
    """The options of ``coverage``."""

    files: FileOptions = FileOptions()
    service: ServiceOptions = ServiceOptions()
    ids_from: str | None = None
    fail_on: tuple[FailOn, ...] = ()


def coverage(options: CoverageOptions, found: Found) -> Ending:
    """Read the list and compare it with the files."""
    ids = ids_of((), options.ids_from, options.files)
    configuration = load_files_if_any(options.files)

    async def work() -> tuple[Coverage, str]:
        async with open_service(options.service, configuration.paths, expect=configuration.expect) as service:
            seen = await _look(ids, configuration, options, service)
            options.output.notes(service.notes)
            return seen, service.label

    seen, base_url = run_async(work)
    failures = [live.failure for live in seen.unread]
    reason = shared_reason([*failures, *([] if seen.listed.complete else [seen.listed.failure])])
    met = [one for one in dict.fromkeys(options.fail_on) if seen.leaves_unmanaged]
    return Ending(
        reason=ExitReason.ERROR if met and reason is ExitReason.OK else reason,
        found=found,
        view=View(
            page=lambda: coverage_page(seen),
            body=lambda: coverage_document(seen, base_url=base_url),
        ),
        errors=tuple(_told(seen, met)),
    )


def _told(seen: Coverage, met: list[FailOn]) -> Iterator[str]:
    """Yield a sentence for each error that the page does not show."""
    if seen.listed.failure is not None:
        yield f"the list of v2 portfolios ended early: {seen.listed.failure}"
    elif seen.listed.unreadable:
        yield "the list of v2 portfolios held rows that could not be read"
    for condition in met:
        yield f"--fail-on {condition.value}: {condition.sentence}"


async def _look(
    ids: tuple[PortfolioId, ...],
    configuration: Configuration,
    options: CoverageOptions,
    service: Service,
) -> Coverage:
    declared = configuration.desired
    listed = await service.api.list_portfolios()
    undeclared = [portfolio for portfolio in ids if portfolio not in declared]
    named = await read_with_bar(service.api, undeclared, options.output, options.service.parallelism)
    return Coverage(
        declared=declared,
        strategies=configuration.strategies.keys(),
        listed=listed,
        named=named,
        named_declared=len(ids) - len(undeclared),
    )
