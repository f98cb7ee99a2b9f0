"""Values as JSON: all documents on stdout except the plan's (:mod:`reconciler.core.planfile`).

In: values of the core. Out: JSON values, or text that ends in a line break. Each document has ``format_version``,
``tool`` and ``exit_reason`` whatever happened, so that a program can read all of them in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins

from reconciler.core.codec import dump, failure_facts, iso
from reconciler.core.diagnostics import Severity
from reconciler.core.errors import ApiError, ConfigInvalid
from reconciler.core.planfile import PLAN_FORMAT, diagnostic_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.errors import ExitReason, ReconcilerError


def document_json(exit_reason: ExitReason, body: Mapping[str, Any]) -> str:
    """Return a document: the three keys that every one has, then those of ``body``."""
    return PLAN_FORMAT.text({"exit_reason": exit_reason.word, **body})


def picked(value: object, *names: str) -> dict[str, Any]:
    """Return these attributes of a value, as JSON values.

    For a name that ends in ``_at``, it takes the attribute that ends in ``_ms`` instead, and writes its milliseconds as
    ISO 8601 in UTC; ``null`` if the time is not known. An error becomes its sentence.
    """
    return {name: _picked(value, name) for name in names}


def _picked(value: object, name: str) -> Any:
    if name.endswith("_at"):
        ms = getattr(value, f"{name.removesuffix('_at')}_ms")
        return None if ms is None else iso(ms)
    found = getattr(value, name)
    if isinstance(found, Exception):
        return str(found)
    return dump(found) if isinstance(found, Struct) else to_builtins(found)


def diagnostics_document(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """Return errors and warnings of the files."""
    found = [(d.severity, diagnostic_document(d)) for d in diagnostics]
    return {
        "errors": [document for severity, document in found if severity is Severity.ERROR],
        "warnings": [document for severity, document in found if severity is Severity.WARNING],
    }


def failure_document(error: ReconcilerError) -> dict[str, Any]:
    """Return what a command could not do, and how to repair it."""
    if isinstance(error, ConfigInvalid):
        return diagnostics_document(error.diagnostics)
    problem: dict[str, Any] = {"problem": error.summary, "repair": error.detail}
    if isinstance(error, ApiError):
        problem |= {"kind": error.kind, **failure_facts(error)}
    return {"errors": [problem], "warnings": []}
