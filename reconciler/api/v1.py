"""Glider's v1 REST API as a :class:`~reconciler.core.ports.PortfolioApi`: paths, bodies and the two path families.

In: portfolio ids and values. Out: :class:`Live` and :class:`Confirmation`. API facts §1.1, §4.1, §4.2, §4.4. Knows no
retry and no HTTP header; never decides whether a write is a good idea.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from reconciler.api.codec import confirmation_of, live_of
from reconciler.api.runs import facts_of, triggered_of
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status
from reconciler.core.paths import Paths
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.api.transport import Transport
    from reconciler.core.desired import PortfolioId
    from reconciler.core.ports import Confirmation
    from reconciler.core.rebalance import Triggered

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_NO_ROUTE: Final = frozenset({404, 405})
_TRIGGER: Final = "trigger"
_SAYS_TOO_LITTLE: Final = frozenset({None, "API_000", "API_200", "PORTFOLIO_NOT_FOUND"})
"""Codes of a 404 that don't say what is not found, or say that it is the portfolio (API facts §2.4)."""


class _Family(Enum):
    """Where start, pause and resume stand below a portfolio's path, and what the documents call that."""

    REFERENCE = ("rebalance/schedule/", "the API reference's", "reference")
    GUIDE = ("", "the guide's", "guide")

    @property
    def folder(self) -> str:
        return self.value[0]

    @property
    def owner(self) -> str:
        return self.value[1]

    @property
    def setting(self) -> str:
        return self.value[2]

    @property
    def other(self) -> _Family:
        return _Family.GUIDE if self is _Family.REFERENCE else _Family.REFERENCE


class GliderV1:
    """The v1 calls over one :class:`Transport`. What was learnt about the path families lives as long as this."""

    def __init__(self, transport: Transport, *, paths: Paths) -> None:
        self._transport = transport
        self._may_fall_back = paths is Paths.AUTO
        self._first = _Family.GUIDE if paths is Paths.GUIDE else _Family.REFERENCE
        # By verb, because the documents and the clients in the wild mix the families (API facts §4.1).
        self._proven: dict[str, _Family] = {}
        # By portfolio too: a 404 may be about the portfolio (its template is gone), and then says nothing of the route.
        self._tried: dict[tuple[PortfolioId, str], tuple[_Family, ApiError]] = {}
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told after the run: sentences, each once, oldest first."""
        return (*self._notes, *self._transport.notes)

    async def read(self, portfolio: PortfolioId) -> Live:
        """Read the automation status (V1.6); failures other than a 404 raise :class:`ApiError`.

        A 404 may be about the automation alone: the portfolio itself tells (V1.9). It is ``INACTIVE`` where that is
        there and Glider's own code says no more, else ``NOT_FOUND``; the service's words stand in ``failure``.
        """
        operation = f"status of {portfolio}"
        path = path_of(portfolio, "automation/status")
        try:
            payload = await self._transport.get(path, operation=operation)
        except ApiError as error:
            if error.kind is FailureKind.NOT_FOUND:
                return await self._without_automation(portfolio, error)
            raise
        return live_of(portfolio, payload, operation=operation)

    async def _without_automation(self, portfolio: PortfolioId, said: ApiError) -> Live:
        operation = f"portfolio {portfolio}"
        try:
            payload = await self._transport.get(path_of(portfolio), operation=operation)
        except ApiError as error:
            if error.kind is FailureKind.NOT_FOUND:
                return Live(id=portfolio, status=Status.NOT_FOUND, failure=said)
            raise
        archived = facts_of(portfolio, payload, operation=operation).archived
        if said.code in _SAYS_TOO_LITTLE:
            # A gateway's 404, or a portfolio that is not there and is: what runs of it may still be anything.
            raise ApiError(
                FailureKind.MALFORMED,
                f"the portfolio is there, and its status is not found: {said.summary}",
                operation=operation,
                status=said.status,
                code=said.code,
                request_id=said.request_id,
                correlation_id=said.correlation_id,
            )
        status = Status.ARCHIVED if archived else Status.INACTIVE
        return Live(id=portfolio, status=status, word=status.value, failure=said)

    async def start(
        self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None, run_now: bool
    ) -> Confirmation:
        """Start automation (V1.1) with the body that belongs to the path family in use (API facts §4.2, §4.4).

        The reference's start can't carry an offset and a wrongly shaped interval may be ignored: compare the
        confirmed values with the wanted ones. Raises :class:`ApiError`.
        """
        bodies: dict[_Family, Mapping[str, object]] = {
            _Family.REFERENCE: {
                "runRebalanceImmediately": run_now,
                "initializeScheduleAutomatically": True,
                "interval": interval_ms,
            },
            _Family.GUIDE: {"runRebalanceImmediately": run_now, "interval": _interval(interval_ms, offset_ms)},
        }
        return await self._confirmed(portfolio, "start", bodies)

    async def pause(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Pause automation (V1.2). Raises :class:`ApiError`."""
        return await self._confirmed(portfolio, "pause", dict.fromkeys(_Family, _reason(reason)))

    async def resume(self, portfolio: PortfolioId, *, reason: str) -> Confirmation:
        """Resume automation (V1.3); the answer's shape is not documented. Raises :class:`ApiError`."""
        return await self._confirmed(portfolio, "resume", dict.fromkeys(_Family, _reason(reason)))

    async def update_schedule(self, portfolio: PortfolioId, *, interval_ms: int, offset_ms: int | None) -> Confirmation:
        """Set interval and offset (V1.5), whose path and body both families share. Raises :class:`ApiError`."""
        path = path_of(portfolio, "update-schedule-interval")
        body = {"interval": _interval(interval_ms, offset_ms)}
        operation = f"update-schedule of {portfolio}"
        payload = await self._transport.post(path, body, operation=operation)
        return confirmation_of(portfolio, payload, operation=operation)

    async def trigger(self, portfolio: PortfolioId, *, skip_schedule_validation: bool) -> Triggered:
        """Run the portfolio once now (V1.4). Raises :class:`ApiError`; see
        :class:`~reconciler.core.ports.RebalanceApi`."""
        body: dict[str, object] = {"skipScheduleValidation": skip_schedule_validation}
        payload = await self._act(portfolio, _TRIGGER, dict.fromkeys(_Family, body))
        return triggered_of(portfolio, payload, "rebalanceId", operation=f"{_TRIGGER} of {portfolio}")

    async def _confirmed(
        self, portfolio: PortfolioId, verb: str, bodies: Mapping[_Family, Mapping[str, object]]
    ) -> Confirmation:
        payload = await self._act(portfolio, verb, bodies)
        return confirmation_of(portfolio, payload, operation=f"{verb} of {portfolio}")

    async def _act(
        self, portfolio: PortfolioId, verb: str, bodies: Mapping[_Family, Mapping[str, object]]
    ) -> dict[str, object]:
        """Send a write once, on the path family in use; return its whole answer.

        Raises :class:`ApiError`, with ``other_route`` where the next try takes the other family: whoever calls again
        looks first, and so knows that the portfolio is there and that nobody changed it in between.
        """
        tried = self._tried.get((portfolio, verb))
        family = self._proven.get(verb) or (tried[0].other if tried is not None else self._first)
        try:
            payload = await self._send(portfolio, verb, family, bodies)
        except ApiError as error:
            if error.status in _NO_ROUTE:
                self._no_route(portfolio, verb, family, error)
            elif error.kind is FailureKind.REFUSED and tried is not None and tried[0] is not family:
                self._remember(verb, family)  # a refusal comes from the route: it is there
            raise
        if tried is None:
            self._proven.setdefault(verb, family)
        else:
            self._tried.pop((portfolio, verb), None)
            self._remember(verb, family)
        return payload

    def _no_route(self, portfolio: PortfolioId, verb: str, family: _Family, error: ApiError) -> None:
        """Raise, or complete, the error of a write that was answered as a path that does not exist is."""
        if self._proven.get(verb) is family:
            return  # so it is about the portfolio
        if not self._may_fall_back:
            error.detail = "If the portfolio exists, the service may use the other paths: set service.paths: auto."
            return
        before = self._tried.pop((portfolio, verb), None)
        if before is None or before[0] is family:
            self._tried[portfolio, verb] = family, error
            error.kind = FailureKind.NOT_FOUND
            error.other_route = True
            return
        said = "; ".join(dict.fromkeys((before[1].summary, error.summary)))
        raise ApiError(
            FailureKind.NOT_FOUND,
            f"the service knows {verb} neither at the API reference's path nor at the guide's ({said}); "
            "check that the base URL is Glider's and that v1 serves this portfolio",
            operation=error.operation,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            correlation_id=error.correlation_id,
        ) from error

    def _remember(self, verb: str, family: _Family) -> None:
        self._proven[verb] = family
        self._first = family
        note = f"the service answers {family.owner} paths; set service.paths: {family.setting}"
        if len(set(self._proven.values())) > 1:
            note = "the service mixes the paths of guide and API reference; leave service.paths: auto"
        if note not in self._notes:
            self._notes.append(note)

    async def _send(
        self, portfolio: PortfolioId, verb: str, family: _Family, bodies: Mapping[_Family, Mapping[str, object]]
    ) -> dict[str, object]:
        path = path_of(portfolio, family.folder + verb)
        operation = f"{verb} of {portfolio}"
        return await self._transport.post(path, bodies[family], operation=operation, cools_down=verb == _TRIGGER)


def path_of(portfolio: PortfolioId, tail: str = "") -> str:
    """Return the path of a portfolio, or of what stands below it. Raises :class:`ApiError` for what can't be an id."""
    checked_id(portfolio)
    return f"/v1/portfolio/{portfolio}/{tail}" if tail else f"/v1/portfolio/{portfolio}"


def checked_id(portfolio: PortfolioId) -> PortfolioId:
    """Return an id as it stands in a path. Raises :class:`ApiError` for anything else: nothing else reaches a URL."""
    # What may be an id needs no percent-encoding.
    if not _ID.fullmatch(portfolio):
        raise ApiError(
            FailureKind.REFUSED,
            f"not sent: {harmless(portfolio, longest=60)!r} is no portfolio id; ids are 1 to 128 of A-Z a-z 0-9 _ -",
        )
    return portfolio


def _interval(interval_ms: int, offset_ms: int | None) -> dict[str, int]:
    return {"every": interval_ms} if offset_ms is None else {"every": interval_ms, "offset": offset_ms}


def _reason(reason: str) -> dict[str, object]:
    return {"reason": reason} if reason else {}
