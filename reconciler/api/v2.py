"""Glider's v2 REST API as a :class:`~reconciler.core.ports.PortfolioApi`: a portfolio's read, start and stop.

And the list of all portfolios. In: portfolio ids. Out: :class:`Live`, :class:`Confirmation`, :class:`PortfolioList`.
API facts §1.3, §2.6, §7. Knows no retry and no HTTP header; never decides whether a write is a good idea.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from reconciler.api.codec_v2 import confirmation_of_v2, live_of_v2, page_of
from reconciler.api.v1 import checked_id
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.fleet import PortfolioList
from reconciler.core.live import Live, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.api.transport import Transport
    from reconciler.core.desired import PortfolioId
    from reconciler.core.ports import Confirmation

PAGE_SIZE: Final = 200
"""Rows of one page, the most that the service gives (API facts §2.6)."""
MOST_PAGES: Final = 5_000
"""A list of a million portfolios; a longer one goes round in circles."""
MOST_IDLE_PAGES: Final = 3
"""Pages in a row that name no further portfolio; one may repeat another where rows shift (API facts §7)."""


class GliderV2:
    """The v2 calls over one :class:`Transport`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def read(self, portfolio: PortfolioId) -> Live:
        """Read one portfolio (V2.2). A 404 is ``Status.NOT_FOUND``; other failures raise :class:`ApiError`."""
        operation = f"status of {portfolio}"
        try:
            payload = await self._transport.get(_path(portfolio), operation=operation)
        except ApiError as error:
            if error.kind is FailureKind.NOT_FOUND:
                return Live(id=portfolio, status=Status.NOT_FOUND, failure=error)
            raise
        return live_of_v2(portfolio, payload, operation=operation)

    async def start(
        self,
        portfolio: PortfolioId,
        *,
        interval_ms: int,  # noqa: ARG002 - the port's signature
        offset_ms: int | None,  # noqa: ARG002 - the port's signature
        run_now: bool,  # noqa: ARG002 - the port's signature
    ) -> Confirmation:
        """Refuse: a v2 portfolio has its schedule from its strategy, so it is only ever resumed (API facts §1.3).

        Always raises :class:`ApiError` (``REFUSED``), before anything is sent.
        """
        raise _not_on_v2("start", portfolio, "it has its schedule from its strategy, and can only be resumed")

    async def pause(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:  # noqa: ARG002 - the port's signature
        """Stop automation (V2.4), which takes no reason. Raises :class:`ApiError`."""
        return await self._post(portfolio, "stop", operation=f"pause of {portfolio}")

    async def resume(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:  # noqa: ARG002 - the port's signature
        """Start automation again (V2.3), which takes no reason and makes a rebalance due at once.

        Raises :class:`ApiError`.
        """
        return await self._post(portfolio, "start", operation=f"resume of {portfolio}")

    async def update_schedule(
        self,
        portfolio: PortfolioId,
        *,
        interval_ms: int,  # noqa: ARG002 - the port's signature
        offset_ms: int | None,  # noqa: ARG002 - the port's signature
    ) -> Confirmation:
        """Refuse: there is no such call on v2 (API facts §1.3). Always raises :class:`ApiError` (``REFUSED``)."""
        raise _not_on_v2("update-schedule", portfolio, "its cadence belongs to its strategy")

    async def list_portfolios(self, seen: Callable[[Live], None] | None = None) -> PortfolioList:
        """Read every portfolio, :data:`PAGE_SIZE` a call (V2.1), one page after the other, since each names the next.

        ``seen`` is told of each portfolio as it first comes up. Rows shift from one page to the next while portfolios
        are being created, so one may come twice (API facts §7); the later row counts, because it was read later.

        A page that can't be read ends the list, with its error in ``failure``: what came before is still true of the
        portfolios it names. So does a list that goes on without naming further portfolios. Raises :class:`ApiError`
        only for a refused key.
        """
        rows: dict[PortfolioId, Live] = {}
        cursors: set[str] = set()
        cursor: str | None = None
        unreadable = idle = 0
        failure: ApiError | None = None
        while True:
            operation = f"list of portfolios, page {len(cursors) + 1}"
            try:
                payload = await self._transport.get(_list_path(cursor), operation=operation)
                page = page_of(payload, operation=operation)
            except ApiError as error:
                if error.kind is FailureKind.UNAUTHENTICATED:
                    raise
                failure = error
                break
            known = len(rows)
            for live in page.rows:
                if seen is not None and live.id not in rows:
                    seen(live)
                rows[live.id] = live
            # A full page that says nothing of a next one may be cut off: not the whole list, then.
            unreadable += page.unreadable + (not page.says_end and page.size >= PAGE_SIZE)
            if page.cursor is None:
                break
            idle = idle + 1 if len(rows) == known else 0
            if page.cursor in cursors or len(cursors) >= MOST_PAGES or idle > MOST_IDLE_PAGES:
                failure = ApiError(FailureKind.MALFORMED, "the list of portfolios has no end", operation=operation)
                break
            cursors.add(page.cursor)
            cursor = page.cursor
        return PortfolioList(
            rows={portfolio: rows[portfolio] for portfolio in sorted(rows)}, failure=failure, unreadable=unreadable
        )

    async def _post(self, portfolio: PortfolioId, verb: str, *, operation: str) -> Confirmation:
        payload = await self._transport.post(f"{_path(portfolio)}/{verb}", {}, operation=operation)
        return confirmation_of_v2(portfolio, payload, operation=operation)


def _path(portfolio: PortfolioId) -> str:
    return f"/v2/portfolios/{checked_id(portfolio)}"


def _list_path(cursor: str | None) -> str:
    # Never filtered: a filter by status also hides portfolios without a schedule (API facts §7).
    more = f"&cursor={quote(cursor, safe='')}" if cursor is not None else ""
    return f"/v2/portfolios?limit={PAGE_SIZE}{more}"


def _not_on_v2(call: str, portfolio: PortfolioId, why: str) -> ApiError:
    return ApiError(
        FailureKind.REFUSED,
        f"not sent: there is no {call} of a v2 portfolio; {why}",
        operation=f"{call} of {portfolio}",
    )
