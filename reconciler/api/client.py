"""Carries out the tables of all versions over one transport: Glider as one service, whatever manages a portfolio.

In: which API each portfolio is managed by (by one of them, never by two: API facts §4.9), ids and values. Out: a
:class:`~reconciler.core.ports.ServiceApi`. Knows no retry and no HTTP header; never decides whether a write is a good
idea.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Final

from reconciler.api import v1, v2
from reconciler.api.table import Wish, run_segment, strategy_path, triggered_of
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.fleet import PortfolioList
from reconciler.core.intent import Call
from reconciler.core.model import ApiVersion, Live, Status, StrategyLive, StrategyStatus
from reconciler.core.rebalance import PortfolioFacts, RecentRebalances

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.api.table import Families, Listing, Strategies, Table, Write
    from reconciler.api.transport import Transport
    from reconciler.core.model import Cadence, Paths, PortfolioId, StrategyId
    from reconciler.core.ports import Confirmation, Room
    from reconciler.core.rebalance import Rebalance, Triggered

TABLES: Final[Mapping[ApiVersion, Table]] = {
    ApiVersion.V1: v1.TABLE,
    ApiVersion.V2: v2.TABLE,
}
"""A further version is a module with its table, and a line here."""
MOST_PAGES: Final = 5_000
"""A list of a million portfolios; a longer one goes round in circles."""
MOST_IDLE_PAGES: Final = 3
"""Pages in a row that name no further portfolio; one may repeat another where rows shift (API facts §7)."""
_NO_ROUTE: Final = frozenset({404, 405})


class Glider:
    """Every version over one :class:`Transport`, so that they share its pace and its limits.

    A portfolio that ``versions`` does not hold is v1's. ``paths`` is for a version that has more than one set of them.
    What was learnt about those lives as long as this.
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
        """Return the same service for portfolios of these versions; what one learns of paths, the other knows."""
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

        A 404 is ``NOT_FOUND``, with the service's words in ``failure``. On a version where it may be about the
        automation alone, the portfolio itself is asked.
        """
        table = self._of(portfolio)
        operation = f"status of {portfolio}"
        try:
            payload = await self.transport.get(table.path(portfolio, table.status.tail), operation=operation)
        except ApiError as error:
            if error.kind is not FailureKind.NOT_FOUND:
                raise
            said = error
        else:
            return table.status.value(portfolio, payload, operation=operation)
        if table.without_status is not None:
            try:
                return table.without_status(portfolio, await self.facts(portfolio), said)
            except ApiError as error:
                if error.kind is not FailureKind.NOT_FOUND:
                    raise
        return Live(id=portfolio, status=Status.NOT_FOUND, failure=said)

    async def start(
        self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None, run_now: bool
    ) -> Confirmation:
        """Start automation. Raises :class:`ApiError`."""
        wish = Wish(interval_ms=interval_ms, offset_ms=offset_ms, run_now=run_now)
        return await self._confirmed(portfolio, Call.START, wish)

    async def pause(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Pause automation. Raises :class:`ApiError`."""
        return await self._confirmed(portfolio, Call.PAUSE, Wish(reason=reason))

    async def resume(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Resume automation. Raises :class:`ApiError`."""
        return await self._confirmed(portfolio, Call.RESUME, Wish(reason=reason))

    async def update_schedule(self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None) -> Confirmation:
        """Set interval and offset. Raises :class:`ApiError`."""
        wish = Wish(interval_ms=interval_ms, offset_ms=offset_ms)
        return await self._confirmed(portfolio, Call.UPDATE_SCHEDULE, wish)

    async def trigger(self, portfolio: PortfolioId, *, skip_schedule_validation: bool) -> Triggered:
        """Run the portfolio once now. Raises :class:`ApiError`."""
        wish = Wish(skip_schedule_validation=skip_schedule_validation)
        payload, operation = await self._write(portfolio, Call.REBALANCE, wish)
        return triggered_of(portfolio, payload, self._of(portfolio).run_key, operation=operation)

    async def recent(self, portfolio: PortfolioId, *, limit: int) -> RecentRebalances:
        """Read the newest rebalances; where the version has no such list, say so and send nothing.

        A refusal in Glider's own envelope, which has a code, may say that there are none. One without is a gateway's,
        and says nothing of the portfolio: an earlier run may be under way. Raises :class:`ApiError`.
        """
        table = self._of(portfolio)
        if table.recent is None:
            return RecentRebalances(listed=False)
        operation = f"rebalances of {portfolio}"
        path = table.path(portfolio, table.recent.tail.format(limit))
        try:
            payload = await self.transport.get(path, operation=operation)
        except ApiError as error:
            if error.status in table.no_runs and error.code is not None:
                return RecentRebalances()
            raise
        return table.recent.value(portfolio, payload, operation=operation)

    async def look(self, portfolio: PortfolioId, rebalance: str) -> Rebalance:
        """Read one rebalance by its id. Raises :class:`ApiError`."""
        table = self._of(portfolio)
        operation = f"a rebalance of {portfolio}"
        path = table.path(portfolio, table.look.tail.format(run_segment(rebalance)))
        payload = await self.transport.get(path, operation=operation)
        return table.look.value(portfolio, rebalance, payload, operation=operation)

    async def facts(self, portfolio: PortfolioId) -> PortfolioFacts:
        """Read the portfolio itself; nothing, and nothing is sent, where its status tells all. Raises
        :class:`ApiError`."""
        table = self._of(portfolio)
        if table.facts is None:
            return PortfolioFacts()
        operation = f"portfolio {portfolio}"
        payload = await self.transport.get(table.path(portfolio, table.facts.tail), operation=operation)
        return table.facts.value(portfolio, payload, operation=operation)

    async def read_strategy(self, strategy: StrategyId) -> StrategyLive:
        """Read a strategy's cadence. A 404 is ``NOT_FOUND``; other failures raise :class:`ApiError`."""
        operation = f"schedule of strategy {strategy}"
        strategies = self._strategies(operation)
        try:
            payload = await self.transport.get(strategy_path(strategies, strategy), operation=operation)
        except ApiError as error:
            if error.kind is FailureKind.NOT_FOUND:
                return StrategyLive(id=strategy, status=StrategyStatus.NOT_FOUND)
            raise
        return strategies.live(strategy, payload, operation)

    async def set_cadence(self, strategy: StrategyId, cadence: Cadence) -> Cadence | None:
        """Set the cadence of every enrolled portfolio; return what the answer confirms, if it confirms any.

        Raises :class:`ApiError`.
        """
        operation = f"set-cadence of strategy {strategy}"
        strategies = self._strategies(operation)
        path, body = strategy_path(strategies, strategy), strategies.body(cadence)
        payload = await self.transport.put(path, body, operation=operation)
        return strategies.live(strategy, payload, operation).cadence

    async def list_portfolios(self, seen: Callable[[Live], None] | None = None) -> PortfolioList:
        """Read every portfolio that the service lists, one page after the other, since each names the next.

        ``seen`` is told of each portfolio as it first comes up. Rows shift from one page to the next while portfolios
        are being created, so one may come twice (API facts §7); the later row counts, because it was read later.

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
        self, listing: Listing, rows: dict[PortfolioId, Live], seen: Callable[[Live], None] | None
    ) -> tuple[int, ApiError | None]:
        """Add one version's portfolios to ``rows``; return how many rows could not be read, and why it ends early."""
        cursors: set[str] = set()
        cursor: str | None = None
        unreadable = idle = 0
        while True:
            operation = f"list of portfolios, page {len(cursors) + 1}"
            try:
                page = listing.page(await self.transport.get(listing.path(cursor), operation=operation), operation)
            except ApiError as error:
                if error.kind is FailureKind.UNAUTHENTICATED:
                    raise
                return unreadable, error
            known = len(rows)
            for live in page.rows:
                if seen is not None and live.id not in rows:
                    seen(live)
                rows[live.id] = live
            # A full page that says nothing of a next one may be cut off: not the whole list, then.
            unreadable += page.unreadable + (not page.says_end and page.size >= listing.size)
            if page.cursor is None:
                return unreadable, None
            idle = idle + 1 if len(rows) == known else 0
            if page.cursor in cursors or len(cursors) >= MOST_PAGES or idle > MOST_IDLE_PAGES:
                return unreadable, ApiError(
                    FailureKind.MALFORMED, "the list of portfolios has no end", operation=operation
                )
            cursors.add(page.cursor)
            cursor = page.cursor

    async def _confirmed(self, portfolio: PortfolioId, call: Call, wish: Wish) -> Confirmation:
        payload, operation = await self._write(portfolio, call, wish)
        return self._of(portfolio).confirmation(portfolio, payload, operation=operation)

    async def _write(self, portfolio: PortfolioId, call: Call, wish: Wish) -> tuple[dict[str, object], str]:
        """Send a write once, where the version has it; return the whole answer, and the name of the call.

        Raises :class:`ApiError`: before anything is sent for a write that the version lacks, and with ``other_route``
        where the next try takes another path.
        """
        table = self._of(portfolio)
        write = table.writes.get(call)
        if write is None:
            why = table.lacks.get(call, "the API has no such call")
            raise ApiError(
                FailureKind.REFUSED,
                f"not sent: there is no {call} of a {table.word} portfolio; {why}",
                operation=f"{call} of {portfolio}",
            )
        operation = f"{write.name} of {portfolio}"
        routes = self._routes.get(table.word) if len(write.routes) > 1 else None
        number = routes.choose(portfolio, write) if routes is not None else 0
        route = write.routes[number]
        path = table.path(portfolio, route.tail)
        try:
            payload = await self.transport.post(
                path, route.body(wish), operation=operation, cools_down=write.cools_down
            )
        except ApiError as error:
            failure = routes.failed(portfolio, write, number, error) if routes is not None else error
            if failure.kind is FailureKind.REFUSED and write.hint is not None and not failure.detail:
                failure.detail = write.hint(wish)
            if failure is error:
                raise
            raise failure from error
        if routes is not None:
            routes.answered(portfolio, write, number)
        return payload, operation

    def _of(self, portfolio: PortfolioId) -> Table:
        return self.tables[self.version_of(portfolio)]

    def _strategies(self, operation: str) -> Strategies:
        found = next((table.strategies for table in self.tables.values() if table.strategies is not None), None)
        if found is None:
            raise ApiError(FailureKind.REFUSED, "not sent: no API has strategies", operation=operation)
        return found


class _Routes:
    """Which of two path families a version's writes go to, and what was learnt of that; families are 0 and 1."""

    def __init__(self, word: str, families: Families, paths: Paths) -> None:
        self._word = word
        self._families = families
        self._may_fall_back = paths not in families.settings
        self._first = 0 if self._may_fall_back else families.settings.index(paths)
        # By write, because the documents and the clients in the wild mix the families (API facts §4.1).
        self._proven: dict[str, int] = {}
        # By portfolio too: a 404 may be about the portfolio (its template is gone), and then says nothing of the route.
        self._tried: dict[tuple[PortfolioId, str], tuple[int, ApiError]] = {}
        self.notes: list[str] = []

    def choose(self, portfolio: PortfolioId, write: Write) -> int:
        """Return the family by which a write goes now."""
        proven = self._proven.get(write.name)
        if proven is not None:
            return proven
        tried = self._tried.get((portfolio, write.name))
        return 1 - tried[0] if tried is not None else self._first

    def answered(self, portfolio: PortfolioId, write: Write, family: int) -> None:
        """A write went well by this family."""
        if self._tried.pop((portfolio, write.name), None) is None:
            self._proven.setdefault(write.name, family)
        else:
            self._remember(write, family)

    def failed(self, portfolio: PortfolioId, write: Write, family: int, error: ApiError) -> ApiError:
        """Return the error of a write that failed by this family, completed where its route may not be there.

        It has ``other_route`` where the next try takes the other family: whoever calls again looks first, and so knows
        that the portfolio is there and that nobody changed it in between.
        """
        before = self._tried.get((portfolio, write.name))
        if error.status not in _NO_ROUTE:
            if error.kind is FailureKind.REFUSED and before is not None and before[0] != family:
                self._remember(write, family)  # a refusal comes from the route: it is there
            return error
        if self._proven.get(write.name) == family:
            return error  # so it is about the portfolio
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
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            correlation_id=error.correlation_id,
        )

    def _remember(self, write: Write, family: int) -> None:
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
