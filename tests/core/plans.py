"""A plan that says everything a plan of v1 portfolios can say, and its document as format 1.0 has it."""

from __future__ import annotations

from typing import Any, Final

from reconciler.core.desired import Origin, PortfolioId
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.diff import Field, FieldChange
from reconciler.core.limits import Excess
from reconciler.core.live import Provenance, Status, Verdict
from reconciler.core.pausedby import PausedBy
from reconciler.core.plan import (
    Blocked,
    BlockReason,
    Cause,
    Change,
    ChangeReason,
    Held,
    Plan,
    Risk,
    Snapshot,
    Unmanaged,
)
from reconciler.core.planfile import TOOL
from reconciler.core.selection import Selection
from reconciler.core.verb import Verb
from tests.support import BASE_URL, HOUR_MS, NOON_MS

H: Final = HOUR_MS

FULL: Final = Change(
    id=PortfolioId("a-full_1"),
    verb=Verb.RESUME,
    before=Snapshot(state=Status.PAUSED, interval_ms=24 * H, offset_ms=H),
    after=Snapshot(state=Status.ACTIVE, interval_ms=12 * H, offset_ms=2 * H),
    fields=(
        FieldChange(
            field=Field.STATE,
            live="paused",
            desired="active",
            verdict=Verdict.DIFFERENT,
            provenance=Provenance.READ,
        ),
        FieldChange(
            field=Field.INTERVAL,
            live=24 * H,
            desired=12 * H,
            verdict=Verdict.DIFFERENT,
            provenance=Provenance.OBSERVED,
            overruled=48 * H,
        ),
        FieldChange(
            field=Field.OFFSET,
            live=H,
            desired=2 * H,
            verdict=Verdict.DIFFERENT,
            provenance=Provenance.RECORDED,
        ),
    ),
    reason=ChangeReason.HOLD_OVERRIDDEN,
    risks=(Risk.HOLD_OVERRIDDEN, Risk.TRADES_AGAIN),
    writes_schedule=True,
    run_on_start=True,
    note="Back to work",
    pause_reason="Paused from the app",
    since="00002a",
    next_run_ms=NOON_MS + 1,
    name="Größe",
    cause=Cause.BOTH,
    source=Origin("glider.yaml", 12),
)
BARE: Final = Change(
    id=PortfolioId("b-bare"),
    verb=Verb.PAUSE,
    before=Snapshot(state=Status.ACTIVE, interval_ms=None, offset_ms=None),
    after=Snapshot(state=Status.PAUSED, interval_ms=None, offset_ms=None),
    fields=(),
    reason=ChangeReason.DECLARED_PAUSED,
)
RICH: Final = Plan(
    base_url=BASE_URL,
    account="Acme EU",
    created_ms=NOON_MS + 7,
    config_digest="d1",
    config_files=("glider.yaml", "more.yaml"),
    selection=Selection(targets=("a-full_1",), excludes=("z",), groups=("core", "edge")),
    changes=(FULL, BARE),
    held=(
        Held(
            id=PortfolioId("c-held"),
            pause_reason="Audit",
            paused_by=PausedBy.OTHERS,
            last_run_ms=NOON_MS - 1,
            name="Held",
            unverified=True,
            source=Origin("more.yaml", 3),
        ),
        Held(id=PortfolioId("d-held"), pause_reason=None),
    ),
    blocked=(
        Blocked(
            id=PortfolioId("e-blocked"),
            reason=BlockReason.READ_FAILED,
            detail="reading failed",
            status="unreadable",
            failure="unreachable",
            name="Blocked",
            source=Origin("more.yaml", 9),
        ),
        Blocked(id=PortfolioId("f-blocked"), reason=BlockReason.ARCHIVED, detail="it is archived", status="archived"),
    ),
    unmanaged=(
        Unmanaged(id=PortfolioId("y"), name="Why", status=Status.PAUSED, strategy="s1"),
        Unmanaged(id=PortfolioId("z"), name=None, status=Status.UNKNOWN, strategy=None),
    ),
    no_op=4,
    unverified=2,
    over=(Excess(guarded=Verb.RESUME, planned=6, allowed=5, limit="10%"),),
    warnings=(
        Diagnostic(
            Severity.WARNING,
            "until has passed",
            "remove it",
            "portfolios.a.until",
            SourceSpan("glider.yaml", 14, 5),
        ),
        Diagnostic(Severity.ERROR, "something"),
    ),
)
FINGERPRINT: Final = "0037229d8970924b2e0e710c8417c2d84082f7e328c25d747f46259f2d443aa4"
"""Of :data:`RICH`. Saved plans hold it: another value for the same plan would refuse every plan made before."""

DOCUMENT: Final[dict[str, Any]] = {
    "format_version": "2.0",
    "tool": TOOL,
    "created_at": "2026-11-22T12:00:00.007Z",
    "as_of": None,
    "exit_reason": "changes",
    "base_url": BASE_URL,
    "account": "Acme EU",
    "config": {"digest": "d1", "files": ["glider.yaml", "more.yaml"]},
    "selection": {"targets": ["a-full_1"], "excludes": ["z"], "groups": ["core", "edge"]},
    "fingerprint": FINGERPRINT,
    "summary": {
        "start": 0,
        "resume": 1,
        "pause": 1,
        "update": 0,
        "no_op": 4,
        "held": 2,
        "blocked": 2,
        "unmanaged": 2,
        "unverified": 2,
    },
    "guards": [{"verb": "resume", "planned": 6, "allowed": 5, "limit": "10%"}],
    "errors": [
        {"id": "e-blocked", "reason": "read_failed", "problem": "reading failed"},
        {"id": "f-blocked", "reason": "archived", "problem": "it is archived"},
    ],
    "warnings": [
        {
            "severity": "warning",
            "address": "portfolios.a.until",
            "problem": "until has passed",
            "repair": "remove it",
            "file": "glider.yaml",
            "line": 14,
            "column": 5,
        },
        {
            "severity": "error",
            "address": "",
            "problem": "something",
            "repair": "",
            "file": None,
            "line": None,
            "column": None,
        },
    ],
    "changes": [
        {
            "id": "a-full_1",
            "name": "Größe",
            "verb": "resume",
            "before": {"state": "paused", "interval_ms": 24 * H, "offset_ms": H},
            "after": {"state": "active", "interval_ms": 12 * H, "offset_ms": 2 * H},
            "fields": [
                {
                    "field": "state",
                    "live": "paused",
                    "desired": "active",
                    "verdict": "different",
                    "provenance": "read",
                    "overruled": None,
                },
                {
                    "field": "interval_ms",
                    "live": 24 * H,
                    "desired": 12 * H,
                    "verdict": "different",
                    "provenance": "observed",
                    "overruled": 48 * H,
                },
                {
                    "field": "offset_ms",
                    "live": H,
                    "desired": 2 * H,
                    "verdict": "different",
                    "provenance": "recorded",
                    "overruled": None,
                },
            ],
            "reason": "hold_overridden",
            "risks": ["hold_overridden", "trades_again"],
            "cause": "both",
            "writes_schedule": True,
            "run_on_start": True,
            "note": "Back to work",
            "pause_reason": "Paused from the app",
            "since": "00002a",
            "next_run_at": "2026-11-22T12:00:00.001Z",
            "source": {"file": "glider.yaml", "line": 12},
        },
        {
            "id": "b-bare",
            "name": None,
            "verb": "pause",
            "before": {"state": "active", "interval_ms": None, "offset_ms": None},
            "after": {"state": "paused", "interval_ms": None, "offset_ms": None},
            "fields": [],
            "reason": "declared_paused",
            "risks": [],
            "cause": None,
            "writes_schedule": False,
            "run_on_start": False,
            "note": None,
            "pause_reason": None,
            "since": None,
            "next_run_at": None,
            "source": None,
        },
    ],
    "held": [
        {
            "id": "c-held",
            "name": "Held",
            "pause_reason": "Audit",
            "paused_by": "others",
            "last_run_at": "2026-11-22T11:59:59.999Z",
            "unverified": True,
            "source": {"file": "more.yaml", "line": 3},
        },
        {
            "id": "d-held",
            "name": None,
            "pause_reason": None,
            "paused_by": "unknown",
            "last_run_at": None,
            "unverified": False,
            "source": None,
        },
    ],
    "blocked": [
        {
            "id": "e-blocked",
            "name": "Blocked",
            "reason": "read_failed",
            "status": "unreadable",
            "detail": "reading failed",
            "failure": "unreachable",
            "source": {"file": "more.yaml", "line": 9},
        },
        {
            "id": "f-blocked",
            "name": None,
            "reason": "archived",
            "status": "archived",
            "detail": "it is archived",
            "failure": None,
            "source": None,
        },
    ],
    "unmanaged": [
        {"id": "y", "name": "Why", "status": "paused", "strategy": "s1"},
        {"id": "z", "name": None, "status": "unknown", "strategy": None},
    ],
}


def as_told(found: Any, known: Any) -> Any:
    """Return a JSON value with what ``known`` has keys for: later minor versions of a format only add keys."""
    if isinstance(found, dict) and isinstance(known, dict):
        return {key: as_told(found[key], known[key]) for key in found if key in known}
    if isinstance(found, list) and isinstance(known, list) and len(found) == len(known):
        return [as_told(one, other) for one, other in zip(found, known, strict=True)]
    return found
