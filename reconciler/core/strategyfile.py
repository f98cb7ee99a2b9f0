"""The strategies' part of a plan's JSON, both ways, and what of it counts for the fingerprint.

In: a :class:`~reconciler.core.plan.Plan`, or the object that stands at ``strategies`` of a saved one. Out: a dict of
JSON values, or changes and blocks. A plan that was saved before there were strategies has no such key: it has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.core.desired import Origin
from reconciler.core.jsonread import maybe_number, maybe_text, number, portfolio_id, text
from reconciler.core.live import Provenance
from reconciler.core.plan import Cause
from reconciler.core.runs import runs_a_day
from reconciler.core.strategy import (
    Cadence,
    StrategyBlock,
    StrategyBlocked,
    StrategyChange,
    StrategyId,
    StrategyRisk,
    StrategyStatus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.plan import Plan

Parsed = tuple[tuple[StrategyChange, ...], tuple[StrategyBlocked, ...], int]
"""Changes, blocks, and how many strategies stay as they are."""


def strategies_document(plan: Plan) -> dict[str, Any]:
    """Return what a plan says of strategies as a JSON object."""
    return {
        "changes": [
            {
                "id": change.id,
                "name": change.name,
                "before": change.before.value if change.before else None,
                "after": change.after.value,
                "provenance": change.provenance.value,
                "reach": change.reach,
                "running": change.running,
                "before_runs_day": runs_a_day(change, change.before),
                "after_runs_day": runs_a_day(change, change.after),
                "risks": [risk.value for risk in change.risks],
                "cause": change.cause.value if change.cause else None,
                "since": change.since,
                "source": _source(change.source),
            }
            for change in plan.strategies
        ],
        "blocked": [
            {
                "id": blocked.id,
                "name": blocked.name,
                "reason": blocked.reason.value,
                "status": blocked.status.value,
                "detail": blocked.detail,
                "failure": blocked.failure,
                "source": _source(blocked.source),
            }
            for blocked in plan.blocked_strategies
        ],
        "no_op": plan.strategies_no_op,
    }


def fingerprinted(plan: Plan) -> list[list[str]]:
    """Return what the fingerprint covers of the strategies, a list for each change."""
    return sorted([one.id, one.before or "", one.after.value, one.since or ""] for one in plan.strategies)


def parse_strategies(document: Mapping[str, Any] | None) -> Parsed:
    """Return what :func:`strategies_document` made. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    if document is None:
        return (), (), 0
    changes = tuple(_parse_change(change) for change in document["changes"])
    blocked = tuple(_parse_blocked(block) for block in document["blocked"])
    return changes, blocked, number(document["no_op"])


def _parse_change(change: Mapping[str, Any]) -> StrategyChange:
    return StrategyChange(
        id=_id(change["id"]),
        name=maybe_text(change["name"]),
        before=Cadence(change["before"]) if change["before"] is not None else None,
        after=Cadence(change["after"]),
        provenance=Provenance(change["provenance"]),
        reach=maybe_number(change["reach"]),
        running=maybe_number(change.get("running")),
        risks=tuple(StrategyRisk(risk) for risk in change["risks"]),
        cause=Cause(change["cause"]) if change["cause"] is not None else None,
        since=maybe_text(change["since"]),
        source=_parse_source(change["source"]),
    )


def _parse_blocked(blocked: Mapping[str, Any]) -> StrategyBlocked:
    return StrategyBlocked(
        id=_id(blocked["id"]),
        name=maybe_text(blocked["name"]),
        reason=StrategyBlock(blocked["reason"]),
        status=StrategyStatus(blocked["status"]),
        detail=text(blocked["detail"]),
        failure=maybe_text(blocked["failure"]),
        source=_parse_source(blocked["source"]),
    )


def _id(value: object) -> StrategyId:
    return StrategyId(portfolio_id(value))  # both kinds of ids keep to one pattern


def _source(origin: Origin | None) -> dict[str, Any] | None:
    return {"file": origin.file, "line": origin.line} if origin else None


def _parse_source(source: Mapping[str, Any] | None) -> Origin | None:
    return Origin(text(source["file"]), number(source["line"])) if source is not None else None
