"""What a command found out on its way, for a caller inside this process that shows the whole of it (the GitHub Action).

In: values that a command publishes. Out: :class:`Results`. A command that runs by itself publishes to nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct, field

if TYPE_CHECKING:
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.diff import Comparison
    from reconciler.core.errors import ReconcilerError
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport
    from reconciler.render.status import StatusRow


class Results(Struct):
    """The values of one run, filled in as they come to be; ``None`` for what it did not come to."""

    plan: Plan | None = None
    report: ApplyReport | None = None
    statuses: tuple[StatusRow, ...] | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    error: ReconcilerError | None = None
    uncovered: Comparison | None = None
    portfolios: int | None = None
    notes: list[str] = field(default_factory=list)


def publish(**found: Any) -> None:
    """Hand values over to whoever runs this command inside the process; the names are those of :class:`Results`."""
    context = click.get_current_context(silent=True)
    results = context.find_root().obj if context is not None else None
    if isinstance(results, Results):
        for name, value in found.items():
            setattr(results, name, value)
