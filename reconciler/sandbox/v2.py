"""v2 of the simulated service: its routes, what queries and bodies mean, paging, and what is answered.

In: a :class:`Request`. Out: the ``data`` of each documented answer (API facts §1.3, §1.4, §2.2, §2.6), or ``Refused``.
What a call does to a portfolio is for :mod:`reconciler.sandbox.enrolled`.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from reconciler.core.codec import iso
from reconciler.core.model import Cadence
from reconciler.sandbox.enrolled import INTERVALS_MS, Enrolled, Strategy
from reconciler.sandbox.faults import Operation
from reconciler.sandbox.gateway import DEFAULT_SCOPES, LEGACY_KEY, Data, DataPage, Envelope, Handler, Routing, scopes_of
from reconciler.sandbox.model import AutomationState, Code, Phase, Refused, invalid, made_up, stage
from reconciler.sandbox.seed import CHAINS
from reconciler.sandbox.settings import ApiScope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.sandbox.simulator import EnrolledView, Simulator
    from reconciler.sandbox.wire import Request

_DEFAULT_LIMIT: Final = 50
LARGEST_LIMIT: Final = 200
_USUAL_CHAIN: Final = "base"
_ACCOUNT: Final = re.compile(r"eip155:\d{1,20}:0x[0-9a-f]{40}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_LISTED_STATES: Final = (AutomationState.ACTIVE.value, AutomationState.PAUSED.value)
_DESCRIPTIONS: Final = {
    ApiScope.PORTFOLIOS_READ: "Read portfolios, their schedules and operations",
    ApiScope.PORTFOLIOS_WRITE: "Start, stop, rebalance and rename portfolios",
    ApiScope.STRATEGIES_READ: "Read strategies and their schedules",
    ApiScope.STRATEGIES_WRITE: "Create strategies, publish versions, set schedules",
}


def _error(refused: Refused) -> Data:
    """Return an error as v2 words it: its own code for invalid input, with the reason in ``details``."""
    if refused.code is not Code.INVALID_REQUEST:
        return {"code": refused.code.value, "message": refused.message}
    message = "Request validation failed"
    return {"code": Code.VALIDATION_FAILED.value, "message": message, "details": [refused.message]}


V2_ENVELOPE: Final = Envelope(traced=False, error=_error)


def v2_paths() -> Routing:
    """Return the handlers of every path."""
    root, strategies = "/v2/portfolios", "/v2/strategies"
    read, write = ApiScope.PORTFOLIOS_READ, ApiScope.PORTFOLIOS_WRITE
    look, adjust = ApiScope.STRATEGIES_READ, ApiScope.STRATEGIES_WRITE
    one = f"{root}/{{portfolio}}"
    schedule = {
        "GET": Handler(Operation.STRATEGY, _cadence, scope=look),
        "PUT": Handler(Operation.CADENCE, _set_cadence, scope=adjust),
    }
    return {
        root: {"GET": Handler(Operation.LIST, _portfolios, scope=read)},
        one: {"GET": Handler(Operation.READ, _portfolio, scope=read)},
        f"{one}/start": {"POST": Handler(Operation.START, _start, scope=write)},
        f"{one}/stop": {"POST": Handler(Operation.STOP, _stop, scope=write)},
        f"{one}/rebalance": {"POST": Handler(Operation.REBALANCE, _rebalance, scope=write, status=202)},
        f"{one}/operations/{{operation}}": {"GET": Handler(Operation.OPERATION, _operation, scope=read)},
        strategies: {"GET": Handler(Operation.STRATEGY, _strategies, scope=look)},
        f"{strategies}/{{strategy}}": {"GET": Handler(Operation.STRATEGY, _strategy, scope=look)},
        f"{strategies}/{{strategy}}/schedule": schedule,
        "/v2/whoami": {"GET": Handler(Operation.ACCOUNT, _whoami)},
        "/v2/scopes": {"GET": Handler(Operation.ACCOUNT, _scopes, public=True)},
    }


def _portfolios(simulator: Simulator, request: Request) -> DataPage:
    """Answer with a page, newest first; each row has the whole schedule."""
    limit, after, wanted = _limit(request), _after(request), _wanted(request)
    found = simulator.page(wanted, after=after, most=limit + 1)
    rows = [_row(view) for view in found[:limit]]
    return DataPage({"portfolios": rows}, _cursor([view.portfolio for view in found], limit))


def _portfolio(simulator: Simulator, request: Request) -> Data:
    return _detail(simulator.read_enrolled(request.portfolio))


def _start(simulator: Simulator, request: Request) -> Data:
    return _detail(simulator.change_enrolled(request.portfolio, Enrolled.start))


def _stop(simulator: Simulator, request: Request) -> Data:
    return _detail(simulator.change_enrolled(request.portfolio, Enrolled.stop))


def _rebalance(simulator: Simulator, request: Request) -> Data:
    """Begin a manual rebalance; the answer for one in flight is the same as it was."""
    begun = simulator.rebalance(request.portfolio, request.course)
    return {"operationId": begun.id, "submittedAt": iso(begun.submitted_ms)}


def _operation(simulator: Simulator, request: Request) -> Data:
    """Answer how far a manual rebalance has come; the shape of ``error`` is not documented."""
    one, view = simulator.operation(request.portfolio, request.parameters["operation"])
    now = stage(one.course, view.facts.settings.pace, view.now_ms - one.submitted_ms)
    changed = iso(one.submitted_ms + now.after_ms)
    failed = {"code": Code.UNKNOWN_ERROR.value, "message": "The rebalance failed: a swap was reverted"}
    return {
        "operationId": one.id,
        "portfolioId": one.portfolio,
        "kind": "rebalance",
        "state": now.phase.value,
        "createdAt": iso(one.submitted_ms),
        "updatedAt": changed,
        "finishedAt": changed if now.phase.over else None,
        "error": failed if now.phase is Phase.FAILED else None,
    }


def _strategies(simulator: Simulator, request: Request) -> DataPage:
    """Answer with a page of our own strategies, newest first."""
    limit, after = _limit(request), _after(request)
    found = simulator.store.page(Strategy, {}, after=after, most=limit + 1)
    return DataPage({"strategies": [_strategy_data(one) for one in found[:limit]]}, _cursor(found, limit))


def _strategy(simulator: Simulator, request: Request) -> Data:
    return _strategy_data(simulator.own_strategy(request.parameters["strategy"]))


def _cadence(simulator: Simulator, request: Request) -> Data | None:
    return _cadence_data(simulator.own_strategy(request.parameters["strategy"]).cadence)


def _set_cadence(simulator: Simulator, request: Request) -> Data | None:
    """Set what a PUT asks for; raises ``Refused`` 400 for anything but the documented body."""
    body = request.document()
    if not isinstance(body, dict) or set(body) != {"type", "frequency"} or body["type"] != "interval":
        raise invalid('the body must be {"type": "interval", "frequency": …}')
    words = [cadence.value for cadence in Cadence]
    if body["frequency"] not in words:
        raise invalid(f"frequency must be one of {', '.join(words)}")
    return _cadence_data(simulator.set_cadence(request.parameters["strategy"], Cadence(body["frequency"])).cadence)


def _whoami(simulator: Simulator, request: Request) -> Data:
    """Answer whom a key belongs to, and what it may do."""
    if request.key == LEGACY_KEY:
        raise Refused(403, Code.TENANT_NOT_FOUND, "API key belongs to no tenant")
    return {
        "tenantName": "Sandbox",
        "tenantEmail": "sandbox@example.invalid",
        "apiKeyId": "key_sandbox",
        "scopes": [scope.value for scope in scopes_of(request.key, simulator.store.facts().settings)],
    }


def _scopes(_simulator: Simulator, _request: Request) -> Data:
    """Answer with every scope there is, and the tier that says how it is granted."""
    tiers = {scope: "default" if scope in DEFAULT_SCOPES else "standard" for scope in ApiScope}
    rows = [{"name": one.value, "description": _DESCRIPTIONS[one], "tier": tier} for one, tier in tiers.items()]
    return {"scopes": rows}


def _row(view: EnrolledView) -> Data:
    portfolio, strategy = view.portfolio, view.strategy
    chain = CHAINS[portfolio.chain or _USUAL_CHAIN]
    account = f"eip155:{chain}:0x{made_up(20, 'account', view.facts.instance, portfolio.id)}"
    return {
        "portfolioId": portfolio.id,
        "portfolioName": portfolio.name,
        "ownerAccountId": portfolio.owner,
        "strategyId": strategy.id,
        "strategyName": strategy.name,
        "strategyDescription": None,
        "smartAccounts": [{"accountId": account}],
        "schedule": _schedule(view),
        "createdAt": iso(portfolio.created_ms),
    }


def _detail(view: EnrolledView) -> Data:
    return _row(view) | {"strategyVersion": view.strategy.version, "updatedAt": iso(view.portfolio.updated_ms)}


def _schedule(view: EnrolledView) -> Data | None:
    portfolio, cadence = view.portfolio, view.strategy.cadence
    if portfolio.state is AutomationState.INACTIVE or portfolio.next_due_ms is None or cadence is None:
        return None
    last = portfolio.last_rebalance(view.now_ms, view.facts.settings.pace)
    return {
        "status": portfolio.word or portfolio.state.value,
        "frequency": cadence.value,
        "intervalMs": INTERVALS_MS[cadence],
        "nextDueAt": iso(portfolio.next_due_ms),
        "lastRebalanceAt": None if last is None else iso(last),
    }


def _cadence_data(cadence: Cadence | None) -> Data | None:
    """Return the schedule of a strategy; ``None`` if none is configured (API facts §4.7)."""
    return None if cadence is None else {"type": "interval", "frequency": cadence.value}


def _strategy_data(one: Strategy) -> Data:
    """Return one strategy as documented (API facts §7a); without a cadence the key ``schedule`` is missing."""
    swap = {"slippageBps": 50, "priceImpactBps": 100, "thresholdUsd": 10}
    data: Data = {
        "strategyId": one.id,
        "name": one.name,
        "description": None,
        "allocation": {"assets": []},
        "schedule": _cadence_data(one.cadence),
        "preferences": {"swap": swap},
        "isPublic": False,
        "version": one.version,
        "createdAt": iso(one.created_ms),
    }
    return {key: value for key, value in data.items() if key != "schedule" or value is not None}


def _limit(request: Request) -> int:
    return request.limit(default=_DEFAULT_LIMIT, most=LARGEST_LIMIT)


def _wanted(request: Request) -> dict[str, str | None]:
    """Return the filters that the query asks for, by the columns of the store."""
    query = request.asked()
    owner, strategy, status = query.get("ownerAccountId"), query.get("strategyId"), query.get("status")
    if owner is not None and not _ACCOUNT.fullmatch(owner.lower()):
        raise invalid("ownerAccountId must be a CAIP-10 account")
    if strategy is not None and not _ID.fullmatch(strategy):
        raise invalid("strategyId must be a strategy id")
    if status is not None and status not in _LISTED_STATES:
        raise invalid(f"status must be one of {', '.join(_LISTED_STATES)}")
    return {"owner": None if owner is None else owner.lower(), "strategy": strategy, "state": status}


def _cursor(found: Sequence[Enrolled | Strategy], limit: int) -> str | None:
    """Return the end of a page of ``limit`` as an opaque cursor, so that clients don't interpret it; ``None`` at the
    end of the list."""
    if len(found) <= limit:
        return None
    last = found[limit - 1]
    return urlsafe_b64encode(json.dumps([last.created_ms, last.id]).encode()).decode().rstrip("=")


def _after(request: Request) -> tuple[int, str] | None:
    """Return the time and id in a cursor; raises ``Refused`` 400 for one that we did not make."""
    cursor = request.asked().get("cursor")
    if cursor is None:
        return None
    try:
        created, last = json.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        # The store compares with these, and SQLite can't take very large numbers or half a surrogate pair.
        if type(created) is int and abs(created) < 2**63 and type(last) is str and last.isascii():
            return created, last
    except (ValueError, TypeError, RecursionError):
        pass
    raise invalid("cursor is not one of ours")
