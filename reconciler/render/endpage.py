"""The whole of what a command came to, as one Markdown page: verdict, error, problems, plan or results.

In: an :class:`~reconciler.render.ending.Ending`. Out: a headline, and blocks of a :mod:`~reconciler.render.page`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from reconciler.core.errors import ExitReason, GuardRefused
from reconciler.core.text import plural
from reconciler.render.comparison import comparison_blocks
from reconciler.render.drift import drift_blocks, drift_counts
from reconciler.render.markdown import plan_blocks, plan_verdict, source_line
from reconciler.render.page import BAD, FINE, LOOK, Rows, cell, code
from reconciler.render.problems import diagnostics_blocks, diagnostics_verdict, error_block, notes_rows
from reconciler.render.report import report_blocks, report_verdict
from reconciler.render.status import status_blocks, status_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.render.ending import Ending

_COMMANDS: Final = frozenset({"validate", "plan", "apply", "drift", "status"})
_WORDS: Final[Mapping[ExitReason, str]] = {
    ExitReason.OK: "done",
    ExitReason.ERROR: "failed",
    ExitReason.CHANGES: "changes are pending",
    ExitReason.INVALID: "the files or the plan are invalid",
    ExitReason.STALE: "refused, not what was planned or approved",
    ExitReason.GUARD: "refused, over a guard",
    ExitReason.PARTIAL: "partly done",
    ExitReason.PERMISSION: "the key is missing, refused or not enough",
    ExitReason.UNREACHABLE: "the service did not answer",
    ExitReason.USAGE: "wrong usage",
    ExitReason.INTERRUPTED: "stopped by a signal",
    ExitReason.TERMINATED: "stopped by a signal",
}
"""Every reason in words; a test holds it to be complete."""


def headline(ending: Ending, environment: str = "") -> str:
    found = ending.found
    sign, words = _verdict(ending)
    if ending.reason not in (ExitReason.OK, ExitReason.CHANGES):
        sign = BAD
    where = f" ({cell(environment, longest=100)})" if environment else ""
    command = found.command.capitalize() if found.command in _COMMANDS else "Action"
    return f"### {sign} {command}{where}: {words}"


def _verdict(ending: Ending) -> tuple[str, str]:
    """Return sign and words for what the command came to; of two things the one that is more to the point."""
    found = ending.found
    if found.report is not None:
        sign, words = report_verdict(found.report)
        stopped = ending.reason in (ExitReason.INTERRUPTED, ExitReason.TERMINATED)
        return sign, f"{words}, {_WORDS[ending.reason]}" if stopped else words
    if found.error is not None:
        return BAD, _WORDS[ending.reason]
    if found.plan is not None:
        if found.command != "drift":
            return plan_verdict(found.plan)
        moved = plan_verdict(found.plan)[0] != FINE
        return (LOOK, drift_counts(found.plan)) if moved else (FINE, "live automation is as declared")
    if found.statuses is not None:
        return FINE, status_line(found.statuses).rstrip(".")
    sign, words = diagnostics_verdict(found.problems)
    declared = f", {plural(found.portfolios, 'portfolio')} declared" if found.portfolios is not None else ""
    return sign, f"{words}{declared}"


def ending_blocks(ending: Ending, commit: str = "") -> list[str | Rows]:
    """Return everything under the headline: what it is about, the error, problems, results or plan, remarks."""
    found = ending.found
    about = _about(ending, commit)
    blocks: list[str | Rows] = [about] if about else []
    if found.error is not None:
        blocks.append(error_block(found.error))
    if found.uncovered is not None:
        blocks += ["#### What would run, compared with what was approved", *comparison_blocks(found.uncovered)]
    blocks += diagnostics_blocks(found.problems)
    if found.report is not None:
        blocks += report_blocks(found.report)
    elif found.plan is not None:
        # The error of a guard that refused names the numbers already.
        told = isinstance(found.error, GuardRefused)
        plan = replace(found.plan, over=()) if told else found.plan
        blocks += drift_blocks(plan) if found.command == "drift" else plan_blocks(plan)
    if found.statuses is not None:
        blocks += status_blocks(found.statuses)
    return [*blocks, *notes_rows(found.notes)]


def _about(ending: Ending, commit: str) -> str:
    """Return the small line under the headline: commit, fingerprint, what was read."""
    found = ending.found
    plan = found.report.plan if found.report is not None else found.plan
    parts = [f"commit {code(commit)}"] if commit else []
    parts += [f"fingerprint {code(found.fingerprint)}"] if found.fingerprint else []
    parts += [source_line(plan)] if plan is not None else []
    return f"<sub>{', '.join(parts)}</sub>" if parts else ""
