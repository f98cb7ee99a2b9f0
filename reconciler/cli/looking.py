"""Read what ``status`` shows: live automation and last rebalances, of the declared portfolios or of a single one.

In: options, portfolios, an open service. Out: rows for the renderers, and what they make a command exit with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from reconciler.cli.service import memory_of
from reconciler.core.errors import ApiError, ExitReason, FailureKind, exit_reason_of
from reconciler.core.model import ApiVersion, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.api.fleet import LastRunQuery
    from reconciler.cli.named import Named
    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.fleet import Fleet
    from reconciler.core.model import Desired, Live, PortfolioId
    from reconciler.core.ports import Memory, PortfolioApi
    from reconciler.render.portfolio import PortfolioView
    from reconciler.render.status import StatusRow

RECENT: Final = 10
"""How many rebalances of one portfolio are shown."""


async def read_declared(
    options: Mapping[str, Any],
    desired: Mapping[PortfolioId, Desired],
    service: Service,
    output: Output,
    *,
    whole: bool,
) -> Fleet:
    """Read the automation of every portfolio. ``whole`` says that nothing was selected away."""
    from reconciler.api.fleet import read_fleet
    from reconciler.cli.progress import ReadProgress, bar

    with bar(output, "Reading", len(desired)) as shown:
        return await read_fleet(
            service.api, desired, whole=whole, parallelism=options["parallelism"], observer=ReadProgress(shown)
        )


async def make_rows(
    options: Mapping[str, Any],
    desired: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    memory: Memory,
    service: Service,
    output: Output,
) -> list[StatusRow]:
    """Return a row a portfolio, with its last rebalance unless ``--no-results``."""
    from reconciler.api.fleet import read_last
    from reconciler.cli.progress import ReadProgress, bar
    from reconciler.core.evidence import believed
    from reconciler.render.status import StatusRow

    now_ms = service.api.service_ms()
    records, _ = believed(memory, live, now_ms=now_ms)
    if options["no_results"]:
        return [StatusRow(desired=d, live=live[i], record=records.get(i), now_ms=now_ms) for i, d in desired.items()]
    versions = {portfolio: declared.api for portfolio, declared in desired.items()}
    asked = asked_of(options, live.values(), versions, service)
    with bar(output, "Reading results", len(asked)) as shown:
        last = await read_last(
            service.api.by(versions), asked, parallelism=options["parallelism"], observer=ReadProgress(shown)
        )
    return [
        StatusRow(desired=d, live=live[i], record=records.get(i), now_ms=now_ms, last=last[i])
        for i, d in desired.items()
    ]


async def read_view(options: Mapping[str, Any], one: Named, service: Service) -> PortfolioView:
    """Read everything that Glider tells of one portfolio. Raises :class:`ApiError` only for a refused key."""
    from reconciler.core.evidence import believed
    from reconciler.render.portfolio import PortfolioView

    api = service.api.by({one.id: one.version})
    live = await _read_one(one, api)
    now_ms = service.api.service_ms()
    records, _ = believed(memory_of(options, service), {one.id: live}, now_ms=now_ms)
    record = records.get(one.id)
    view = PortfolioView(version=one.version, desired=one.desired, live=live, record=record, now_ms=now_ms)
    if live.status in (Status.NOT_FOUND, Status.UNREADABLE):
        return view
    failures: list[ApiError] = []
    try:
        view = replace(view, facts=await api.facts(one.id))
    except ApiError as error:
        failures.append(_unless_refused(error))
    if not options["no_results"]:
        from reconciler.api.fleet import read_recent

        (asked,) = asked_of(options, [live], {one.id: one.version}, service)
        try:
            view = replace(view, recent=await read_recent(api, asked, limit=RECENT))
        except ApiError as error:
            failures.append(_unless_refused(error))
    return replace(view, failures=tuple(failures))


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


def asked_of(
    options: Mapping[str, Any], live: Iterable[Live], versions: Mapping[PortfolioId, ApiVersion], service: Service
) -> list[LastRunQuery]:
    """Return what to ask of each portfolio; the journal is only opened for the ids of v2 operations."""
    from reconciler.api.fleet import LastRunQuery

    operations = _operations(options, service) if not all(one.can.lists_runs for one in versions.values()) else {}
    return [LastRunQuery(live=one, operation=operations.get(one.id)) for one in live]


def exit_reason(rows: Sequence[StatusRow], *, fail_on_failed: bool, others: Sequence[ApiError] = ()) -> ExitReason:
    """Return what a table exits with: the one reason that all failures share, else a plain error.

    Results that could not be read count like reads; one that the service no longer has does not. Only when asked for,
    a last rebalance that went wrong is an error. ``others`` are failed reads that no row shows.
    """
    failures = [*others, *(row.live.failure for row in rows)]
    failures += [row.last.failure for row in rows if row.last is not None]
    reasons = _reasons(failures)
    if fail_on_failed and any(row.last is not None and row.last.went_wrong for row in rows):
        reasons.add(ExitReason.ERROR)
    return _one_of(reasons)


def view_reason(view: PortfolioView, *, fail_on_failed: bool) -> ExitReason:
    """Return what one portfolio exits with; one that is not there is an error, since it was asked for by its id."""
    recent = view.recent or ()
    failures = [view.live.failure, *view.failures, *(one.failure for one in recent)]
    reasons = _reasons(failures)
    if view.live.status is Status.NOT_FOUND or (fail_on_failed and recent and recent[0].went_wrong):
        reasons.add(ExitReason.ERROR)
    return _one_of(reasons)


def _reasons(failures: Iterable[ApiError | None]) -> set[ExitReason]:
    """Return what these failures exit with; what the service no longer has is no failure of ours."""
    return {exit_reason_of(one.kind) for one in failures if one is not None and one.kind is not FailureKind.NOT_FOUND}


def _one_of(reasons: set[ExitReason]) -> ExitReason:
    return ExitReason.OK if not reasons else reasons.pop() if len(reasons) == 1 else ExitReason.ERROR


def _operations(options: Mapping[str, Any], service: Service) -> Mapping[PortfolioId, str]:
    from reconciler.apply.journal import read_runs
    from reconciler.apply.trigger import operations_of

    return operations_of(read_runs(Path(options["journal"])) or (), service.label, noun="operation")
