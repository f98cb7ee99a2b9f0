"""What one command came to, gathered for a renderer that shows the whole of it at once.

In: the values that a command produced on its way. Out: :class:`Ending`. Knows no format: that is for the renderers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.core.errors import ConfigInvalid

if TYPE_CHECKING:
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.diff import Comparison
    from reconciler.core.errors import ExitReason, ReconcilerError
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport
    from reconciler.render.status import StatusRow


class Ending(Struct, frozen=True, kw_only=True):
    """How a command ended, and what it had found out by then; ``None`` or empty for what it did not come to.

    ``command`` is its name (validate, plan, apply, drift, status). ``fingerprint`` is the plan's, hexadecimal.
    ``uncovered`` compares what was approved (earlier) with what would have run (later), where an apply was refused for
    it. ``portfolios`` counts what the files declare. ``notes`` are sentences for people, oldest first.
    """

    command: str
    reason: ExitReason
    plan: Plan | None = None
    fingerprint: str | None = None
    report: ApplyReport | None = None
    statuses: tuple[StatusRow, ...] | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    """Errors and warnings of the files, in file order."""
    error: ReconcilerError | None = None
    uncovered: Comparison | None = None
    portfolios: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Diagnostic, ...]:
        """Errors and warnings of the files, wherever they were kept: on their own, in the error or in the plan."""
        if self.diagnostics:
            return self.diagnostics
        if isinstance(self.error, ConfigInvalid):
            return self.error.diagnostics
        return self.plan.warnings if self.plan is not None else ()
