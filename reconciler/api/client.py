"""Glider as one service: carries out the tables of all versions over one transport.

In: which API each portfolio is managed by (one of them, never two: API facts §4.9), ids and values. Out: a
:class:`~reconciler.core.ports.ServiceApi`. Knows no retry and no HTTP header; never decides whether a write is a good
idea.
"""

from __future__ import annotations

import asyncio
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.api import v1, v2
from reconciler.api.table import run_segment, strategy_path
from reconciler.core.codec import failure_facts
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.fleet import PortfolioList
from reconciler.core.model import ApiVersion, Live, PortfolioId, Status, StrategyLive, StrategyStatus, strategy_of
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import PortfolioFacts, RecentRebalances

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.api.table import Families, Fields, ListCall, ListPage, StrategyCalls, Table, WriteCall
    from reconciler.api.transport import Transport
    from reconciler.core.intent import Intent
    from reconciler.core.model import Paths, StrategyId
    from reconciler.core.ports import Room
    from reconciler.core.rebalance import Rebalance

T = TypeVar("T")

TABLES: Final[Mapping[ApiVersion, Table]] = {
    ApiVersion.V1: v1.CALLS_OF_V1,
    ApiVersion.V2: v2.CALLS_OF_V2,
}
"""A further version is a module with its table, and a line here."""
MOST_PAGES: Final = 5_000
"""Up to this many pages, a million portfolios, are read; a longer list is assumed to repeat itself."""
MOST_IDLE_PAGES: Final = 3
"""If more pages in a row than this hold no new portfolio, the list counts as endless. One such page does not mean that,
because rows shift while portfolios are created (API facts §7)."""
_ROWS_IN_A_ROW: Final = 10
_NO_ROUTE: Final = frozenset({404, 405})


class Glider:
    """Every version over one :class:`Transport`, so that they share its pace and its limits.

    A portfolio that ``versions`` does not hold is v1's. ``paths`` says which set of paths to use, for a version
    that has two. What is learnt about them is kept as long as this object.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        paths: Paths,
        versions: Mapping[PortfolioId, ApiVersion],
        tables: Mapping[ApiVersion, Table] = TABLES,
    ) -> None:
        self.transport = transport
        self.versions = versions
        self.tables = tables
        self._routes = {one.word: _Routes(one.word, one.families, paths) for one in tables.values() if one.families}

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told after the run: sentences, each once, oldest first."""
        return (*(note for routes in self._routes.values() for note in routes.notes), *self.transport.notes)

    def by(self, versions: Mapping[PortfolioId, ApiVersion]) -> Glider:
        """Return the same service for portfolios of these versions; both share what they learn about paths."""
        other = copy(self)
        other.versions = {**self.versions, **versions}
        return other

    def version_of(self, portfolio: PortfolioId) -> ApiVersion:
        """Return the API that a portfolio is managed by."""
        return self.versions.get(portfolio, ApiVersion.V1)

    def noun(self, portfolio: PortfolioId) -> str:
        """Return what the service calls a rebalance of this portfolio: ``workflow`` or ``operation``."""
        return self._of(portfolio).noun

    def room(self) -> Room:
        """Return room for the looks and attempts of one write."""
        return self.transport.room()

    def service_ms(self) -> int:
        """Return the time by the service's clock."""
        return self.transport.service_ms()

    async def read(self, portfolio: PortfolioId) -> Live:
        """Read the automation status; failures other than a 404 raise :class:`ApiError`.

        A 404 is ``NOT_FOUND``, with the service's words in ``failure``. On a version where a 404 may be about the
        automation alone, the portfolio itself is read, too.
        """
        table = self._of(portfolio)
        path = table.path(portfolio, table.status.tail)
        try:
            return await self._get(path, f"status of {portfolio}", partial(table.status.value, portfolio))
        except ApiError as error:
            if error.kind is not FailureKind.NOT_FOUND:
                raise
            said = error
        if table.without_status is not None:
            try:
                return table.without_status(portfolio, await self.facts(portfolio), said)
            except ApiError as error:
                if error.kind is not FailureKind.NOT_FOUND:
                    raise
        return Live(id=portfolio, status=Status.NOT_FOUND, failure=said)

    async def recent(self, portfolio: PortfolioId, *, limit: int) -> RecentRebalances:
        """Read the newest rebalances; if the version has no such list, say so and send nothing.

        A refusal with a code is Glider's own, and may mean that there are none. One without a code is from a gateway
        and says nothing about the portfolio: an earlier run may be under way. Raises :class:`ApiError`.
        """
        table = self._of(portfolio)
        if table.recent is None:
            return RecentRebalances(listed=False)
        path = table.path(portfolio, table.recent.tail.format(limit))
        try:
            return await self._get(path, f"rebalances of {portfolio}", partial(table.recent.value, portfolio))
        except ApiError as error:
            if error.status in table.no_runs and error.code is not None:
                return RecentRebalances()
            raise

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        """Read one rebalance by its id. Raises :class:`ApiError`."""
        table = self._of(portfolio)
        path = table.path(portfolio, table.look.tail.format(run_segment(rebalance)))
        return await self._get(path, f"a rebalance of {portfolio}", partial(table.look.value, portfolio, rebalance))

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:
        """Read the portfolio itself. If the version tells everything with its status, return nothing and send nothing.

        Raises :class:`ApiError`.
        """
        table = self._of(portfolio)
        if table.facts is None:
            return PortfolioFacts()
        path = table.path(portfolio, table.facts.tail)
        return await self._get(path, f"portfolio {portfolio}", partial(table.facts.value, portfolio))

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        """Read a strategy's cadence. A 404 is ``NOT_FOUND``; other failures raise :class:`ApiError`."""
        operation = f"schedule of strategy {strategy}"
        table = self._strategies(operation)
        try:
            return await self._get(strategy_path(table, strategy), operation, partial(table.live, strategy))
        except ApiError as error:
            if error.kind is FailureKind.NOT_FOUND:
                return StrategyLive(id=strategy, status=StrategyStatus.NOT_FOUND)
            raise

    async def send(self, intent: Intent) -> Confirmation:
        """Send a write once, where the version has it. Raises :class:`ApiError`; see the port."""
        strategy = strategy_of(intent.address)
        if strategy is not None:
            return await self._send_cadence(strategy, intent)
        portfolio = PortfolioId(intent.address)
        table = self._of(portfolio)
        write = _write_of(table, intent)
        operation = f"{write.name} of {portfolio}"
        routes = self._routes.get(table.word) if len(write.routes) > 1 else None
        number = routes.choose(portfolio, write) if routes is not None else 0
        route = write.routes[number]
        path = table.path(portfolio, route.tail)
        try:
            payload = await self.transport.post(
                path, route.body(intent), operation=operation, cools_down=write.cools_down
            )
        except ApiError as error:
            failure = routes.failed(portfolio, write, number, error) if routes is not None else error
            if failure.kind is FailureKind.REFUSED and write.hint is not None and not failure.detail:
                failure.detail = write.hint(intent)
            if failure is error:
                raise
            raise failure from error
        if routes is not None:
            routes.answered(portfolio, write, number)
        return _read(payload, operation, partial(write.answer, portfolio))

    async def _send_cadence(self, strategy: StrategyId, intent: Intent) -> Confirmation:
        operation = f"{intent.call} of strategy {strategy}"
        table = self._strategies(operation)
        payload = await self.transport.put(strategy_path(table, strategy), table.body(intent), operation=operation)
        return Confirmation(cadence=_read(payload, operation, partial(table.live, strategy)).cadence)

    async def list_portfolios(self, seen: Callable[[Live], None] | None = None) -> PortfolioList:
        """Read every portfolio that the service lists, one page after the other, since each names the next.

        ``seen`` is told of each portfolio the first time that it is listed. Rows shift from one page to the next while
        portfolios are created, so one may be listed twice (API facts §7); the later row counts, as it was read later.

        A page that can't be read ends the list, with its error in ``failure``: what came before is still true of the
        portfolios it names. So does a list that goes on without naming further portfolios. Raises :class:`ApiError`
        only for a refused key.
        """
        rows: dict[PortfolioId, Live] = {}
        unreadable = 0
        failure: ApiError | None = None
        for table in self.tables.values():
            if table.listing is not None and failure is None:
                more, failure = await self._list(table.listing, rows, seen)
                unreadable += more
        return PortfolioList(
            rows={portfolio: rows[portfolio] for portfolio in sorted(rows)}, failure=failure, unreadable=unreadable
        )

    async def _list(
        self, listing: ListCall, rows: dict[PortfolioId, Live], seen: Callable[[Live], None] | None
    ) -> tuple[int, ApiError | None]:
        """Add one version's portfolios to ``rows``; return how many rows could not be read, and why it ends early."""
        cursors: set[str] = set()
        unreadable = idle = 0
        operation = "list of portfolios, page 1"
        ahead = asyncio.create_task(self._get(listing.path(None), operation, listing.page))
        try:
            while True:
                try:
                    page = await ahead
                except ApiError as error:
                    if error.kind is FailureKind.UNAUTHENTICATED:
                        raise
                    return unreadable, error
                named, known = operation, len(rows)
                endless = page.cursor in cursors or len(cursors) >= MOST_PAGES
                if page.cursor is not None and not endless:
                    cursors.add(page.cursor)
                    operation = f"list of portfolios, page {len(cursors) + 1}"
                    ahead = asyncio.create_task(self._get(listing.path(page.cursor), operation, listing.page))
                # A full page that does not say whether another follows may be cut off: then the list is not whole.
                unreadable += not page.says_end and len(page.rows) >= listing.size
                unreadable += await _read_rows(listing, page, named, rows, seen)
                if page.cursor is None:
                    return unreadable, None
                idle = idle + 1 if len(rows) == known else 0
                if endless or idle > MOST_IDLE_PAGES:
                    return unreadable, ApiError(
                        FailureKind.MALFORMED, "the list of portfolios has no end", operation=named
                    )
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def _get(self, path: str, operation: str, read: Callable[[Fields], T]) -> T:
        """Send a read, and return what ``read`` makes of its answer. Raises :class:`ApiError`."""
        return _read(await self.transport.get(path, operation=operation), operation, read)

    def _of(self, portfolio: PortfolioId) -> Table:
        return self.tables[self.version_of(portfolio)]

    def _strategies(self, operation: str) -> StrategyCalls:
        found = next((table.strategies for table in self.tables.values() if table.strategies is not None), None)
        if found is None:
            raise ApiError(FailureKind.REFUSED, "not sent: no API has strategies", operation=operation)
        return found


async def _read_rows(
    listing: ListCall,
    page: ListPage,
    operation: str,
    rows: dict[PortfolioId, Live],
    seen: Callable[[Live], None] | None,
) -> int:
    """Add the portfolios of a page to ``rows``, and return how many could not be read.

    Every few rows, other tasks get a turn, so that the request for the next page goes out after the first few rows.
    """
    unreadable = 0
    for number, entry in enumerate(page.rows):
        if not number % _ROWS_IN_A_ROW:
            await asyncio.sleep(0)
        live = listing.row(entry)
        if live is None:
            unreadable += 1
            continue
        if seen is not None and live.id not in rows:
            seen(live)
        if live.failure is not None:
            live.failure.operation = operation
        rows[live.id] = live
    return unreadable


def _read(payload: Fields, operation: str, read: Callable[[Fields], T]) -> T:
    """Return what ``read`` makes of an answer; add the name of the call to an error that it raises."""
    try:
        return read(payload)
    except ApiError as error:
        error.operation = error.operation or operation
        raise


def _write_of(table: Table, intent: Intent) -> WriteCall:
    """Return a version's own form of a write. Raises :class:`ApiError` for one that it lacks."""
    write = table.writes.get(intent.call)
    if write is None:
        why = table.lacks.get(intent.call, "the API has no such call")
        raise ApiError(
            FailureKind.REFUSED,
            f"not sent: there is no {intent.call} of a {table.word} portfolio; {why}",
            operation=f"{intent.call} of {intent.address}",
        )
    return write


class _Routes:
    """Which of its two path families a version's writes go to, as learnt so far; the families are numbered 0 and 1."""

    def __init__(self, word: str, families: Families, paths: Paths) -> None:
        self._word = word
        self._families = families
        self._may_fall_back = paths not in families.settings
        self._first = 0 if self._may_fall_back else families.settings.index(paths)
        # Keyed by write, because the documents and other clients mix the families (API facts §4.1).
        self._proven: dict[str, int] = {}
        # Keyed by portfolio as well: a 404 may be about the portfolio (its template is gone), and not about the route.
        self._tried: dict[tuple[PortfolioId, str], tuple[int, ApiError]] = {}
        self.notes: list[str] = []

    def choose(self, portfolio: PortfolioId, write: WriteCall) -> int:
        """Return the family by which a write goes now."""
        proven = self._proven.get(write.name)
        if proven is not None:
            return proven
        tried = self._tried.get((portfolio, write.name))
        return 1 - tried[0] if tried is not None else self._first

    def answered(self, portfolio: PortfolioId, write: WriteCall, family: int) -> None:
        """Remember that a write went well by this family."""
        if self._tried.pop((portfolio, write.name), None) is None:
            self._proven.setdefault(write.name, family)
        else:
            self._remember(write, family)

    def failed(self, portfolio: PortfolioId, write: WriteCall, family: int, error: ApiError) -> ApiError:
        """Return the error to raise for a write that failed by this family; it says more if the route may be missing.

        ``other_route`` of it is set if the next try will use the other family. Whoever tries again looks first, and so
        knows that the portfolio exists and that nobody changed it in between.
        """
        before = self._tried.get((portfolio, write.name))
        if error.status not in _NO_ROUTE:
            if error.kind is FailureKind.REFUSED and before is not None and before[0] != family:
                self._remember(write, family)  # only a route that exists can refuse, so this family works
            return error
        if self._proven.get(write.name) == family:
            return error  # the route is known to exist, so the 404 is about the portfolio
        if not self._may_fall_back:
            error.detail = "If the portfolio exists, the service may use the other paths: set service.paths: auto."
            return error
        if before is None or before[0] == family:
            self._tried[portfolio, write.name] = family, error
            error.kind = FailureKind.NOT_FOUND
            error.other_route = True
            return error
        del self._tried[portfolio, write.name]
        said = "; ".join(dict.fromkeys((before[1].summary, error.summary)))
        one, other = self._families.owners
        return ApiError(
            FailureKind.NOT_FOUND,
            f"the service knows {write.name} neither at {one} path nor at {other} ({said}); "
            f"check that the base URL is Glider's and that {self._word} serves this portfolio",
            operation=error.operation,
            **failure_facts(error),
        )

    def _remember(self, write: WriteCall, family: int) -> None:
        self._proven[write.name] = family
        self._first = family
        note = (
            f"the service answers {self._families.owners[family]} paths; "
            f"set service.paths: {self._families.settings[family]}"
        )
        if len(set(self._proven.values())) > 1:
            note = self._families.mixed
        if note not in self.notes:
            self.notes.append(note)
