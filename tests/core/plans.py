"""A plan that says everything a plan of v1 portfolios can say, and its document, key for key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from reconciler import TOOL
from reconciler.core.change import (
    Blocked,
    BlockReason,
    Cause,
    Change,
    ChangeReason,
    Field,
    FieldChange,
    Held,
    Risk,
    Snapshot,
)
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.errors import FailureKind
from reconciler.core.fleet import Selection, Unmanaged
from reconciler.core.model import (
    Desired,
    Origin,
    PausedBy,
    PortfolioId,
    Provenance,
    Status,
    StrategyDesired,
    StrategyId,
    Verb,
    Verdict,
)
from reconciler.core.plan import Excess, Guarded, Plan
from tests.support import BASE_URL, HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

H: Final = HOUR_MS


class Declares(Struct, frozen=True, kw_only=True):
    """What files declare, as the base of a plan has it."""

    desired: Mapping[PortfolioId, Desired] = field(default_factory=dict)
    strategies: Mapping[StrategyId, StrategyDesired] = field(default_factory=dict)


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
    selection=Selection(targets=("a-full_1",), excludes=("z",), groups=("core", "edge"), terms=("team=fx",)),
    changes=(FULL, BARE),
    held=(
        Held(
            id=PortfolioId("c-held"),
            pause_reason="Audit",
            paused_by=PausedBy.OTHERS,
            last_run_ms=NOON_MS - 1,
            name="Held",
            owner="desk",
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
            failure=FailureKind.UNREACHABLE,
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
    over=(Excess(guarded=Guarded.RESUME, planned=6, allowed=5, limit="10%"),),
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
FINGERPRINT: Final = "2d5b553503396b1b34bd69ffdb4d73008685d40ab1ca16a8b4ee482e04d33815"
"""Of :data:`RICH`. Saved plans hold it: another value for the same plan would refuse every plan made before."""

OF_V1: Final[dict[str, Any]] = {
    "api": "v1",
    "auto_offset": False,
    "freezes": [],
    "frozen": None,
    **dict.fromkeys(("cadence_ms", "strategy", "pause_id", "reach", "running", "enrolled", "halt")),
}
"""What the change of a v1 portfolio says in the words of v2 and of strategies."""
DOCUMENT: Final[dict[str, Any]] = {
    "format_version": "3.1",
    "tool": TOOL,
    "exit_reason": "changes",
    "created_at": "2026-11-22T12:00:00.007Z",
    "as_of": None,
    "shares": None,
    "base_url": BASE_URL,
    "account": "Acme EU",
    "config": {"digest": "d1", "files": ["glider.yaml", "more.yaml"]},
    "selection": {"targets": ["a-full_1"], "excludes": ["z"], "groups": ["core", "edge"], "terms": ["team=fx"]},
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
        "moved": 0,
        "overdue": 0,
        "halted": 0,
        "frozen": 0,
        "strategies": {"update": 0, "no_op": 0, "blocked": 0, "frozen": 0},
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
            "rule": None,
        },
        {
            "severity": "error",
            "address": "",
            "problem": "something",
            "repair": "",
            "file": None,
            "line": None,
            "column": None,
            "rule": None,
        },
    ],
    "changes": [
        {
            "id": "a-full_1",
            "name": "Größe",
            "verb": "resume",
            "before": {"state": "paused", "interval_ms": 24 * H, "offset_ms": H, "cadence": None},
            "after": {"state": "active", "interval_ms": 12 * H, "offset_ms": 2 * H, "cadence": None},
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
            **OF_V1,
        },
        {
            "id": "b-bare",
            "name": None,
            "verb": "pause",
            "before": {"state": "active", "interval_ms": None, "offset_ms": None, "cadence": None},
            "after": {"state": "paused", "interval_ms": None, "offset_ms": None, "cadence": None},
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
            **OF_V1,
        },
    ],
    "held": [
        {
            "id": "c-held",
            "name": "Held",
            "owner": "desk",
            "pause_reason": "Audit",
            "paused_by": "others",
            "last_run_at": "2026-11-22T11:59:59.999Z",
            "unverified": True,
            "source": {"file": "more.yaml", "line": 3},
            "api": "v1",
        },
        {
            "id": "d-held",
            "name": None,
            "owner": None,
            "pause_reason": None,
            "paused_by": "unknown",
            "last_run_at": None,
            "unverified": False,
            "source": None,
            "api": "v1",
        },
    ],
    "blocked": [
        {
            "id": "e-blocked",
            "name": "Blocked",
            "owner": None,
            "reason": "read_failed",
            "status": "unreadable",
            "detail": "reading failed",
            "failure": "unreachable",
            "source": {"file": "more.yaml", "line": 9},
            "api": "v1",
        },
        {
            "id": "f-blocked",
            "name": None,
            "owner": None,
            "reason": "archived",
            "status": "archived",
            "detail": "it is archived",
            "failure": None,
            "source": None,
            "api": "v1",
        },
    ],
    "moved": [],
    "halted": [],
    "overdue": [],
    "unmanaged": [
        {"id": "y", "name": "Why", "status": "paused", "strategy": "s1"},
        {"id": "z", "name": None, "status": "unknown", "strategy": None},
    ],
    "listing": "none",
    "journal": "in_use",
    "cost": None,
    "live": None,
    "load": None,
    "runs": {
        "before_runs_day": 0.0,
        "after_runs_day": 2.0,
        "portfolios": 1,
        "portfolios_unknown": 1,
        "strategies_unknown": 0,
    },
}


def as_told(found: Any, known: Any) -> Any:
    """Return a JSON value with what ``known`` has keys for: later minor versions of a format only add keys."""
    if isinstance(found, dict) and isinstance(known, dict):
        return {key: as_told(found[key], known[key]) for key in found if key in known}
    if isinstance(found, list) and isinstance(known, list) and len(found) == len(known):
        return [as_told(one, other) for one, other in zip(found, known, strict=True)]
    return found
