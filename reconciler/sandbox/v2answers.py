"""What v2 answers: portfolios, operations, strategies and the account as documented (API facts §1.4).

In: values of the v2 side. Out: plain data for JSON. Pure; knows neither HTTP nor the envelope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.sandbox import ids
from reconciler.sandbox.answers import iso
from reconciler.sandbox.enrolled import EnrolledState, last_rebalance
from reconciler.sandbox.keys import DEFAULT_SCOPES
from reconciler.sandbox.runs import Phase, stage
from reconciler.sandbox.seed import CHAINS
from reconciler.sandbox.settings import ApiScope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.sandbox.answers import Data
    from reconciler.sandbox.enrolled import Frequency, ManualRebalance, Strategy
    from reconciler.sandbox.integrator import EnrolledView

_USUAL_CHAIN: Final = "base"
_DESCRIPTIONS: Final = {
    ApiScope.PORTFOLIOS_READ: "Read portfolios, their schedules and operations",
    ApiScope.PORTFOLIOS_WRITE: "Start, stop, rebalance and rename portfolios",
    ApiScope.STRATEGIES_READ: "Read strategies and their schedules",
    ApiScope.STRATEGIES_WRITE: "Create strategies, publish versions, set schedules",
}


def portfolio_row(view: EnrolledView) -> Data:
    """One portfolio as the list shows it, with its whole schedule; ``null`` where it has none."""
    one = view.enrolled
    chain = CHAINS[one.chain or _USUAL_CHAIN]
    return {
        "portfolioId": one.id,
        "portfolioName": one.name,
        "ownerAccountId": one.owner,
        "strategyId": view.strategy.id,
        "strategyName": view.strategy.name,
        "strategyDescription": None,
        "smartAccounts": [{"accountId": f"eip155:{chain}:{ids.smart_account(view.facts.instance, one.id)}"}],
        "schedule": _schedule(view),
        "createdAt": iso(one.created_ms),
    }


def portfolio_detail(view: EnrolledView) -> Data:
    """One portfolio as get, start and stop show it."""
    more = {"strategyVersion": view.strategy.version, "updatedAt": iso(view.enrolled.updated_ms)}
    return portfolio_row(view) | more


def rebalance_begun(begun: ManualRebalance) -> Data:
    """The answer of a manual rebalance; that of one in flight is the same as it was."""
    return {"operationId": begun.id, "submittedAt": iso(begun.submitted_ms)}


def operation(one: ManualRebalance, view: EnrolledView) -> Data:
    """Where a manual rebalance stands; the shape of ``error`` is not documented."""
    now = stage(one.course, view.facts.settings.pace, view.now_ms - one.submitted_ms)
    changed = iso(one.submitted_ms + now.after_ms)
    failed = {"code": "API_000", "message": "The rebalance failed: a swap was reverted"}
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


def cadence(frequency: Frequency | None) -> Data | None:
    """The schedule of a strategy; ``None`` where none is configured (API facts §4.7)."""
    return None if frequency is None else {"type": "interval", "frequency": frequency.value}


def strategy(one: Strategy) -> Data:
    """One strategy; without a cadence the key ``schedule`` is missing. Its other keys are not documented."""
    data = {
        "strategyId": one.id,
        "strategyName": one.name,
        "strategyDescription": None,
        "strategyVersion": one.version,
        "createdAt": iso(one.created_ms),
        "updatedAt": iso(one.updated_ms),
    }
    return data if one.frequency is None else data | {"schedule": cadence(one.frequency)}


def account(scopes: Iterable[ApiScope]) -> Data:
    """Whom a key belongs to, and what it may do."""
    return {
        "tenantName": "Sandbox",
        "tenantEmail": "sandbox@example.invalid",
        "apiKeyId": "key_sandbox",
        "scopes": [scope.value for scope in scopes],
    }


def every_scope() -> Data:
    """Every scope there is, with the tier that says how it is granted."""
    return {
        "scopes": [
            {
                "name": scope.value,
                "description": _DESCRIPTIONS[scope],
                "tier": "default" if scope in DEFAULT_SCOPES else "standard",
            }
            for scope in ApiScope
        ]
    }


def _schedule(view: EnrolledView) -> dict[str, Any] | None:
    one, frequency = view.enrolled, view.strategy.frequency
    if one.state is EnrolledState.UNSCHEDULED or one.next_due_ms is None or frequency is None:
        return None
    last = last_rebalance(one, view.now_ms, view.facts.settings.pace)
    return {
        "status": one.word or one.state.value,
        "frequency": frequency.value,
        "intervalMs": frequency.interval_ms,
        "nextDueAt": iso(one.next_due_ms),
        "lastRebalanceAt": None if last is None else iso(last),
    }
