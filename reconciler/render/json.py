"""Every JSON document that stands on stdout, but for the plan's own (:mod:`reconciler.core.planfile`).

In: values of the core. Out: text that ends in a line break. Each document has ``format_version``, ``tool`` and
``exit_reason``, whatever happened, so that a reader needs only one way in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.core.codec import dump, failure_facts, iso
from reconciler.core.diagnostics import Severity
from reconciler.core.errors import ApiError, ConfigInvalid, ExitReason, ReconcilerError
from reconciler.core.planfile import PLAN_FORMAT, diagnostic_document, fingerprint
from reconciler.core.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.report import ApplyReport, Result


def document_json(exit_reason: ExitReason, body: Mapping[str, Any]) -> str:
    """Return a document of this body behind the three keys that every one has."""
    return PLAN_FORMAT.text({"exit_reason": exit_reason.word, **body})


def validation_json(exit_reason: ExitReason, diagnostics: Iterable[Diagnostic], body: Mapping[str, Any]) -> str:
    """Return errors and warnings of the files, and what else is known of them."""
    found = [(d.severity, diagnostic_document(d)) for d in diagnostics]
    errors = [document for severity, document in found if severity is Severity.ERROR]
    warnings = [document for severity, document in found if severity is Severity.WARNING]
    return document_json(exit_reason, {"errors": errors, "warnings": warnings, **body})


def failure_json(error: ReconcilerError, exit_reason: ExitReason) -> str:
    """Return the document of a command that could not do its work."""
    if isinstance(error, ConfigInvalid):
        return validation_json(exit_reason, error.diagnostics, {})
    problem: dict[str, Any] = {"problem": error.summary, "repair": error.detail}
    if isinstance(error, ApiError):
        problem |= {"kind": error.kind, **failure_facts(error)}
    return document_json(exit_reason, {"errors": [problem], "warnings": []})


def report_json(report: ApplyReport, exit_reason: ExitReason) -> str:
    """Return an apply's report: counts an outcome, and every change's result, sorted by portfolio id."""
    return document_json(
        exit_reason,
        {
            "base_url": report.plan.base_url,
            "fingerprint": fingerprint(report.plan),
            "started_at": iso(report.started_ms),
            "finished_at": iso(report.finished_ms),
            "summary": {outcome.value: report.count(outcome) for outcome in Outcome},
            "held": [held.id for held in report.plan.held],
            "moved": [moved.id for moved in report.plan.moved],
            "blocked": [{"id": blocked.id, "reason": blocked.reason.value} for blocked in report.plan.blocked],
            "results": [_result(result) for result in report.results],
        },
    )


def _result(result: Result) -> dict[str, Any]:
    return {
        "id": result.change.id,
        "name": result.change.name,
        "verb": result.change.verb.value,
        "before": dump(result.change.before),
        "after": dump(result.change.after),
        "reach": result.change.reach,
        "outcome": result.outcome.value,
        "calls": [call.value for call in result.calls],
        "detail": result.detail,
        "notes": list(result.notes),
    }
