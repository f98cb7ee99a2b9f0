"""The routes of v2: queries, request bodies, paging, and the envelope (API facts §1.3, §2.2, §2.6).

In: a :class:`Request`. Out: the ``data`` of the answer, or ``Refused``. Decides what a request means; what is then
done is for :mod:`reconciler.sandbox.integrator`, how it is shown for :mod:`reconciler.sandbox.v2answers`.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from reconciler.sandbox import integrator, v2answers
from reconciler.sandbox.enrolled import EnrolledState, Frequency, start_enrolled, stop_enrolled
from reconciler.sandbox.faults import Operation
from reconciler.sandbox.fleet import Filters
from reconciler.sandbox.gateway import Call, Page
from reconciler.sandbox.keys import LEGACY_KEY, scopes_of
from reconciler.sandbox.model import Code, Refused
from reconciler.sandbox.settings import ApiScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.sandbox.answers import Data
    from reconciler.sandbox.glider import Glider
    from reconciler.sandbox.requests import Request, Trace

DEFAULT_LIMIT: Final = 50
LARGEST_LIMIT: Final = 200
_ACCOUNT: Final = re.compile(r"eip155:\d{1,20}:0x[0-9a-f]{40}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_STATES: Final = {"active": EnrolledState.ACTIVE, "paused": EnrolledState.PAUSED}


class V2Envelope:
    """The wrapping of v2: no tracing ids in the body, and a code of its own for what is not valid."""

    def success(self, data: Any, trace: Trace) -> dict[str, Any]:  # noqa: ARG002 - the headers alone carry the trace
        """Wrap an answer."""
        return {"success": True, "data": data}

    def failure(self, refused: Refused, trace: Trace) -> dict[str, Any]:  # noqa: ARG002 - as above
        """Wrap a refusal; what is wrong with a request stands in ``details``."""
        if refused.code is Code.INVALID_REQUEST:
            message, code = "Request validation failed", Code.VALIDATION_FAILED.value
            return {"success": False, "error": {"code": code, "message": message, "details": [refused.message]}}
        return {"success": False, "error": {"code": refused.code.value, "message": refused.message}}


def v2_paths() -> dict[str, Mapping[str, Call]]:
    """Return the calls of every path, keyed by path and method."""
    root, strategies = "/v2/portfolios", "/v2/strategies"
    read, write = ApiScope.PORTFOLIOS_READ, ApiScope.PORTFOLIOS_WRITE
    look, adjust = ApiScope.STRATEGIES_READ, ApiScope.STRATEGIES_WRITE
    one = f"{root}/{{portfolio}}"
    schedule = {
        "GET": Call(Operation.STRATEGY, _cadence, scope=look),
        "PUT": Call(Operation.CADENCE, _set_cadence, scope=adjust),
    }
    return {
        root: {"GET": Call(Operation.LIST, _portfolios, scope=read)},
        one: {"GET": Call(Operation.READ, _portfolio, scope=read)},
        f"{one}/start": {"POST": Call(Operation.START, _start, scope=write)},
        f"{one}/stop": {"POST": Call(Operation.STOP, _stop, scope=write)},
        f"{one}/rebalance": {"POST": Call(Operation.REBALANCE, _rebalance, scope=write, status=202)},
        f"{one}/operations/{{operation}}": {"GET": Call(Operation.OPERATION, _operation, scope=read)},
        strategies: {"GET": Call(Operation.STRATEGY, _strategies, scope=look)},
        f"{strategies}/{{strategy}}": {"GET": Call(Operation.STRATEGY, _strategy, scope=look)},
        f"{strategies}/{{strategy}}/schedule": schedule,
        "/v2/whoami": {"GET": Call(Operation.ACCOUNT, _whoami)},
        "/v2/scopes": {"GET": Call(Operation.ACCOUNT, _scopes, public=True)},
    }


def _portfolios(glider: Glider, request: Request) -> Page:
    query = _query(request)
    limit = _limit(query)
    after: tuple[int, str] | None = None
    if "cursor" in query:
        created, last = _opened(query["cursor"], int, str)
        after = created, last
    found = integrator.page(glider, _filters(query), after=after, most=limit + 1)
    more = len(found) > limit
    shown = found[:limit]
    cursor = _sealed(shown[-1].enrolled.created_ms, shown[-1].enrolled.id) if more else None
    return Page({"portfolios": [v2answers.portfolio_row(view) for view in shown]}, cursor)


def _portfolio(glider: Glider, request: Request) -> Data:
    return v2answers.portfolio_detail(integrator.read(glider, request.portfolio))


def _start(glider: Glider, request: Request) -> Data:
    return v2answers.portfolio_detail(integrator.change(glider, request.portfolio, start_enrolled))


def _stop(glider: Glider, request: Request) -> Data:
    return v2answers.portfolio_detail(integrator.change(glider, request.portfolio, stop_enrolled))


def _rebalance(glider: Glider, request: Request) -> Data:
    return v2answers.rebalance_begun(integrator.rebalance(glider, request.portfolio, request.course))


def _operation(glider: Glider, request: Request) -> Data:
    return v2answers.operation(*integrator.operation(glider, request.portfolio, request.parameters["operation"]))


def _strategies(glider: Glider, request: Request) -> Page:
    query = _query(request)
    limit = _limit(query)
    after = _opened(query["cursor"], str)[0] if "cursor" in query else ""
    found = glider.store.fleet.strategies(after=after, most=limit + 1)
    shown = found[:limit]
    cursor = _sealed(shown[-1].id) if len(found) > limit else None
    return Page({"strategies": [v2answers.strategy(one) for one in shown]}, cursor)


def _strategy(glider: Glider, request: Request) -> Data:
    return v2answers.strategy(integrator.own_strategy(glider, request.parameters["strategy"]))


def _cadence(glider: Glider, request: Request) -> Data | None:
    return v2answers.cadence(integrator.own_strategy(glider, request.parameters["strategy"]).frequency)


def _set_cadence(glider: Glider, request: Request) -> Data | None:
    frequency = _frequency(request)
    return v2answers.cadence(integrator.set_frequency(glider, request.parameters["strategy"], frequency).frequency)


def _whoami(glider: Glider, request: Request) -> Data:
    if request.key == LEGACY_KEY:
        raise Refused(403, Code.TENANT_NOT_FOUND, "API key belongs to no tenant")
    return v2answers.account(scopes_of(request.key, glider.store.facts().settings))


def _scopes(_glider: Glider, _request: Request) -> Data:
    return v2answers.every_scope()


def _query(request: Request) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(request.query, keep_blank_values=True).items()}


def _limit(query: dict[str, str]) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LARGEST_LIMIT):
        raise _invalid(f"limit must be a number from 1 to {LARGEST_LIMIT}")
    return int(text)


def _filters(query: dict[str, str]) -> Filters:
    owner, strategy, status = query.get("ownerAccountId"), query.get("strategyId"), query.get("status")
    if owner is not None and not _ACCOUNT.fullmatch(owner.lower()):
        raise _invalid("ownerAccountId must be a CAIP-10 account")
    if strategy is not None and not _ID.fullmatch(strategy):
        raise _invalid("strategyId must be a strategy id")
    if status is not None and status not in _STATES:
        raise _invalid(f"status must be one of {', '.join(_STATES)}")
    return Filters(
        owner=None if owner is None else owner.lower(),
        strategy=strategy,
        state=None if status is None else _STATES[status],
    )


def _frequency(request: Request) -> Frequency:
    """Return what a PUT of a schedule asks for; raises ``Refused`` 400 for anything but the documented body."""
    try:
        body = json.loads(request.body or b"null")
    except (ValueError, RecursionError):
        raise _invalid("the body is not valid JSON") from None
    if not isinstance(body, dict) or set(body) != {"type", "frequency"} or body["type"] != "interval":
        raise _invalid('the body must be {"type": "interval", "frequency": …}')
    words = [frequency.value for frequency in Frequency]
    if body["frequency"] not in words:
        raise _invalid(f"frequency must be one of {', '.join(words)}")
    return Frequency(body["frequency"])


def _sealed(*parts: object) -> str:
    """Return a cursor: where a page ended, in a form that nobody is tempted to read."""
    return urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _opened(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """Return what a cursor was made of; raises ``Refused`` 400 for one that is not ours."""
    try:
        parts = json.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or [type(part) for part in parts] != list(kinds) or not all(map(_storable, parts)):
        raise _invalid("cursor is not one of ours")
    return tuple(parts)


def _storable(part: object) -> bool:
    """Whether the store can compare with this: SQLite takes neither numbers of any size nor half a character."""
    return part.isascii() if isinstance(part, str) else isinstance(part, int) and abs(part) < 2**63


def _invalid(what: str) -> Refused:
    return Refused(400, Code.INVALID_REQUEST, what)
