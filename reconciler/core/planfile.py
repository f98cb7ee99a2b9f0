"""A plan as JSON text, and its fingerprint; :mod:`reconciler.core.planread` is the way back.

In: a :class:`~reconciler.core.plan.Plan`. Out: text, or a dict of JSON values. The fingerprint binds meaning, not
wording: plans that would do the same to the same observed state have the same one, whatever the files or the time.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from reconciler import __version__
from reconciler.core.errors import ExitReason
from reconciler.core.plan import ChangeReason
from reconciler.core.runs import runs_of
from reconciler.core.strategyfile import fingerprinted, strategies_document

if TYPE_CHECKING:
    from reconciler.core.desired import Origin
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.plan import Change, Plan, Snapshot

FORMAT_VERSION: Final = "2.0"
"""Minor versions only add keys; a reader refuses another major version."""

TOOL: Final = f"glider-reconciler {__version__}"


def iso(ms: int) -> str:
    """Return UTC epoch milliseconds as ISO 8601 text with milliseconds and ``Z``."""
    moment = datetime.fromtimestamp(ms // 1000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def from_iso(text: str) -> int:
    """Return the UTC epoch milliseconds of :func:`iso`'s text. Raises ``ValueError``."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def fingerprint(plan: Plan) -> str:
    """Return SHA-256, in hex, over the sorted list of what each change observed, wants, and would send, the last write
    that the journal knew of it, and over the guards that the plan is over."""
    changes = sorted(
        [
            plan.base_url,
            plan.account or "",
            change.id,
            change.api.value,
            change.verb.value,
            _snapshot(change.before),
            _snapshot(change.after),
            [change.pause_reason or "", change.pause_id or "", change.since or ""],
            [change.writes_schedule, change.run_on_start, change.note or ""],
            # Of all reasons, this one decides what an apply may do: it lifts a pause that is not ours.
            change.reason is ChangeReason.HOLD_OVERRIDDEN,
        ]
        for change in plan.changes
    )
    # A plan over a guard must not pass for one that is not.
    over = [[str(excess.guarded), excess.planned, excess.allowed] for excess in plan.over]
    meaning = [changes, over, fingerprinted(plan)]
    return sha256(json.dumps(meaning, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def plan_document(plan: Plan, exit_reason: ExitReason) -> dict[str, Any]:
    """Return the plan as a JSON object."""
    summary = plan.summary
    return {
        "format_version": FORMAT_VERSION,
        "tool": TOOL,
        "created_at": iso(plan.created_ms),
        "as_of": iso(plan.as_of_ms) if plan.as_of_ms is not None else None,
        "exit_reason": exit_reason.word,
        "base_url": plan.base_url,
        "account": plan.account,
        "config": {"digest": plan.config_digest, "files": list(plan.config_files)},
        "selection": {
            "targets": list(plan.selection.targets),
            "excludes": list(plan.selection.excludes),
            "groups": list(plan.selection.groups),
        },
        "fingerprint": fingerprint(plan),
        "summary": {name: getattr(summary, name) for name in summary.__slots__},
        "guards": [
            {"verb": str(over.guarded), "planned": over.planned, "allowed": over.allowed, "limit": over.limit}
            for over in plan.over
        ],
        "errors": [
            *({"id": b.id, "reason": b.reason.value, "problem": b.detail} for b in plan.blocked),
            *({"id": s.address, "reason": s.reason.value, "problem": s.detail} for s in plan.blocked_strategies),
        ],
        "warnings": [diagnostic_document(warning) for warning in plan.warnings],
        "changes": [_change(change) for change in plan.changes],
        "held": [
            {
                "id": held.id,
                "api": held.api.value,
                "name": held.name,
                "pause_reason": held.pause_reason,
                "paused_by": held.paused_by.value,
                "last_run_at": iso(held.last_run_ms) if held.last_run_ms is not None else None,
                "unverified": held.unverified,
                "source": _source(held.source),
            }
            for held in plan.held
        ],
        "blocked": [
            {
                "id": blocked.id,
                "api": blocked.api.value,
                "name": blocked.name,
                "reason": blocked.reason.value,
                "status": blocked.status,
                "detail": blocked.detail,
                "failure": blocked.failure,
                "source": _source(blocked.source),
            }
            for blocked in plan.blocked
        ],
        "moved": [
            {
                "id": moved.id,
                "name": moved.name,
                "state": moved.state.value,
                "status": moved.status.value,
                "declared": {"strategy": moved.declared, "name": moved.declared_name},
                "live": {"strategy": moved.live, "name": moved.live_name, "interval_ms": moved.cadence_ms},
                "source": _source(moved.source),
            }
            for moved in plan.moved
        ],
        "unmanaged": [
            {"id": one.id, "name": one.name, "status": one.status.value, "strategy": one.strategy}
            for one in plan.unmanaged
        ],
        "listing": plan.listing.value,
        "journal": plan.journal.value,
        "strategies": strategies_document(plan),
        "runs": _runs(plan),
        "cost": {name: getattr(plan.cost, name) for name in plan.cost.__slots__} if plan.cost is not None else None,
    }


def format_plan(plan: Plan, exit_reason: ExitReason = ExitReason.OK) -> str:
    """Return the plan as JSON text that ends in a line break. The same plan gives the same text."""
    return json.dumps(plan_document(plan, exit_reason), indent=2, ensure_ascii=False) + "\n"


def diagnostic_document(diagnostic: Diagnostic) -> dict[str, Any]:
    """Return a diagnostic as a JSON object; its place is ``null`` where it has none."""
    span = diagnostic.span
    return {
        "severity": diagnostic.severity.value,
        "address": diagnostic.address,
        "problem": diagnostic.problem,
        "repair": diagnostic.repair,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "rule": diagnostic.rule,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "id": change.id,
        "api": change.api.value,
        "name": change.name,
        "verb": change.verb.value,
        "before": _snapshot(change.before),
        "after": _snapshot(change.after),
        "fields": [
            {
                "field": f.field.value,
                "live": f.live,
                "desired": f.desired,
                "verdict": f.verdict.value,
                "provenance": f.provenance.value,
                "overruled": f.overruled,
            }
            for f in change.fields
        ],
        "reason": change.reason.value,
        "risks": [risk.value for risk in change.risks],
        "cause": change.cause.value if change.cause else None,
        "writes_schedule": change.writes_schedule,
        "run_on_start": change.run_on_start,
        "note": change.note,
        "pause_reason": change.pause_reason,
        "next_run_at": iso(change.next_run_ms) if change.next_run_ms is not None else None,
        "cadence_ms": change.cadence_ms,
        "strategy": change.strategy,
        "pause_id": change.pause_id,
        "since": change.since,
        "source": _source(change.source),
    }


def _runs(plan: Plan) -> dict[str, Any] | None:
    runs = runs_of(plan)
    return {name: getattr(runs, name) for name in runs.__slots__} if runs is not None else None


def _snapshot(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "state": snapshot.state.value,
        "interval_ms": snapshot.interval_ms,
        "offset_ms": snapshot.offset_ms,
    }


def _source(origin: Origin | None) -> dict[str, Any] | None:
    return {"file": origin.file, "line": origin.line} if origin else None
