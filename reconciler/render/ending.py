"""How a command ended: the reason, what it found, and how that is shown.

In: values that a command made on its way. Out: :class:`Ending`, which the command line prints and the GitHub Action
posts. A view makes text, Markdown or JSON of it and imports the renderer that it needs only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from reconciler.core.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.adoption import Adoption
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.diff import Comparison
    from reconciler.core.doctor import Check
    from reconciler.core.errors import ExitReason, ReconcilerError
    from reconciler.core.fleet import Coverage
    from reconciler.core.model import PortfolioId, StrategyDesired, StrategyId, StrategyLive
    from reconciler.core.plan import Plan
    from reconciler.core.rebalance import RebalanceReport
    from reconciler.core.report import ApplyReport, Run
    from reconciler.render.portfolio import PortfolioView
    from reconciler.render.rebalance import RebalanceTarget
    from reconciler.render.status import StatusRow
    from reconciler.render.style import Style


class Found(Struct, kw_only=True):
    """What a command has found so far; ``None`` or empty for what it has not come to.

    It is filled in on the way, so that an error or a signal in the middle does not lose what was known before.
    ``command`` is its name (validate, plan, apply, drift, status). ``fingerprint`` is the plan's, hexadecimal.
    ``uncovered`` compares what was approved (earlier) with what would have run (later), where an apply was refused for
    it. ``portfolios`` counts what the files declare. ``notes`` are sentences for people, oldest first.
    """

    command: str
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


class View(Protocol):
    """How an ending is shown. Each method returns the whole text, which ends in a line break, or ``""``."""

    def text(self, style: Style, *, verbose: bool) -> str:
        """Return it for a terminal."""

    def markdown(self, *, limit_bytes: int | None = None) -> str:
        """Return it for a comment, cut to ``limit_bytes`` of UTF-8."""

    def document(self, reason: ExitReason) -> str:
        """Return it as a JSON document, with the reason for which the command ends."""


class Ending(Struct, frozen=True, kw_only=True):
    """How a command ended. Without a view there is nothing to show.

    ``errors``, ``warnings`` and ``advice`` are about what the view shows, and are told after it. Advice is what a plan
    gives reason to say; the warnings of the files were told when they were read.
    """

    reason: ExitReason
    found: Found
    view: View | None = None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    advice: tuple[Diagnostic, ...] = ()


class _Shown(Struct, frozen=True, kw_only=True):
    """Shows nothing; a view replaces what it has."""

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        return ""

    def markdown(self, *, limit_bytes: int | None = None) -> str:  # noqa: ARG002 - as above
        return ""


class FailureView(_Shown, frozen=True, kw_only=True):
    """An error: people read it on stderr, so there is only a document of it."""

    error: ReconcilerError

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.json import failure_json

        return failure_json(self.error, reason)


class TextView(_Shown, frozen=True, kw_only=True):
    """Text that is made already, and what a document says of it."""

    shown: str
    body: Mapping[str, Any] = {}

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        return self.shown

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.json import document_json

        return document_json(reason, self.body)


class ValidationView(TextView, frozen=True, kw_only=True):
    """Files that are good, with their warnings."""

    diagnostics: tuple[Diagnostic, ...]

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.json import validation_json

        return validation_json(reason, self.diagnostics, self.body)


class PlanView(_Shown, frozen=True, kw_only=True):
    """A plan."""

    plan: Plan

    def text(self, style: Style, *, verbose: bool) -> str:
        from reconciler.render.text import plan_text

        return plan_text(self.plan, style, verbose=verbose)

    def markdown(self, *, limit_bytes: int | None = None) -> str:
        from reconciler.render.markdown import plan_markdown

        return plan_markdown(self.plan, limit_bytes=limit_bytes)

    def document(self, reason: ExitReason) -> str:
        from reconciler.core.planfile import format_plan

        return format_plan(self.plan, reason)


class DriftView(PlanView, frozen=True, kw_only=True):
    """A plan in the words of somebody who looks for what moved."""

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.drift import drift_text

        return drift_text(self.plan, style)

    def markdown(self, *, limit_bytes: int | None = None) -> str:
        from reconciler.render.drift import drift_markdown

        return drift_markdown(self.plan, limit_bytes=limit_bytes)


class ReportView(_Shown, frozen=True, kw_only=True):
    """What became of each change of an apply."""

    report: ApplyReport

    def text(self, style: Style, *, verbose: bool) -> str:
        from reconciler.render.text import report_text

        return "\n" + report_text(self.report, style, verbose=verbose)

    def markdown(self, *, limit_bytes: int | None = None) -> str:
        from reconciler.render.report import report_markdown

        return report_markdown(self.report, limit_bytes=limit_bytes)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.json import report_json

        return report_json(self.report, reason)


class ComparisonView(_Shown, frozen=True, kw_only=True):
    """How two plans differ."""

    comparison: Comparison
    earlier: Plan
    later: Plan

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.comparison import comparison_text

        return comparison_text(self.comparison, style)

    def markdown(self, *, limit_bytes: int | None = None) -> str:
        from reconciler.render.comparison import comparison_markdown

        return comparison_markdown(self.comparison, limit_bytes=limit_bytes)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.comparison import comparison_document
        from reconciler.render.json import document_json

        return document_json(reason, comparison_document(self.comparison, earlier=self.earlier, later=self.later))


class StatusView(_Shown, frozen=True, kw_only=True):
    """Live automation as a table, and the cadences of the strategies that were asked for."""

    base_url: str
    rows: Sequence[StatusRow]
    declared: Mapping[StrategyId, StrategyDesired] = {}
    cadences: Mapping[StrategyId, StrategyLive] = {}

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.status import status_text
        from reconciler.render.strategies import cadences_text

        told = [cadences_text(self.declared, self.cadences, style)] if self.cadences else []
        told += [status_text(self.rows, style)] if self.rows or not self.cadences else []
        return "\n".join(told)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.json import document_json
        from reconciler.render.status import status_rows_document
        from reconciler.render.strategies import cadences_document

        body: dict[str, Any] = {"base_url": self.base_url, "portfolios": status_rows_document(self.rows)}
        body |= {"strategies": cadences_document(self.declared, self.cadences)} if self.cadences else {}
        return document_json(reason, body)


class DetailView(_Shown, frozen=True, kw_only=True):
    """Everything about one portfolio."""

    base_url: str
    portfolio: PortfolioView

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.portfolio import portfolio_text

        return portfolio_text(self.portfolio, style)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.json import document_json
        from reconciler.render.portfolio import portfolio_document

        return document_json(reason, {"base_url": self.base_url, "portfolio": portfolio_document(self.portfolio)})


class CoverageView(_Shown, frozen=True, kw_only=True):
    """What is live and declared by no file."""

    base_url: str
    coverage: Coverage

    def text(self, style: Style, *, verbose: bool) -> str:
        from reconciler.render.coverage import coverage_text

        return coverage_text(self.coverage, style, verbose=verbose)

    def markdown(self, *, limit_bytes: int | None = None) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.coverage import coverage_markdown

        return coverage_markdown(self.coverage)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.coverage import coverage_document
        from reconciler.render.json import document_json

        return document_json(reason, coverage_document(self.coverage, base_url=self.base_url))


class RebalanceView(_Shown, frozen=True, kw_only=True):
    """What became of the rebalances that were asked for; ``waited`` says that they were followed to their end."""

    base_url: str
    report: RebalanceReport
    targets: tuple[RebalanceTarget, ...]
    names: Mapping[PortfolioId, str | None]
    waited: bool

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.rebalance import rebalances_text

        return rebalances_text(self.report, self.names, style)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.json import document_json
        from reconciler.render.rebalance import rebalances_document

        body = rebalances_document(self.report, self.targets, base_url=self.base_url, waited=self.waited)
        return document_json(reason, body)


class ImportView(_Shown, frozen=True, kw_only=True):
    """What was imported. ``yaml`` is what stands in ``file``, or goes to stdout where there is no file."""

    base_url: str
    adoption: Adoption
    declared: tuple[PortfolioId, ...]
    list_problem: str | None
    file: str | None
    yaml: str | None

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        return self.yaml or "" if self.file is None else ""

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.adoption import adoption_document
        from reconciler.render.json import document_json

        body = adoption_document(
            self.adoption, base_url=self.base_url, declared=self.declared, list_problem=self.list_problem
        )
        yaml = self.yaml if self.file is None else None
        return document_json(reason, {**body, "file": self.file, "yaml": yaml})


class HistoryView(_Shown, frozen=True, kw_only=True):
    """Earlier runs; ``detailed`` shows the writes of each. ``runs`` is ``None`` where there is no journal."""

    journal: str
    runs: Sequence[Run] | None
    detailed: bool
    empty: str
    """What is told where there is no run to show."""

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.history import history_text, run_text

        if not self.runs:
            return self.empty
        return "\n".join(run_text(run, style) for run in self.runs) if self.detailed else history_text(self.runs, style)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.history import history_document
        from reconciler.render.json import document_json

        shown = history_document(self.runs or (), with_writes=self.detailed)
        return document_json(reason, {"journal": self.journal, "exists": self.runs is not None, "runs": shown})


class DoctorView(_Shown, frozen=True, kw_only=True):
    """The checks of ``doctor``."""

    checks: Sequence[Check]

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - View's signature
        from reconciler.render.doctor import doctor_text

        return doctor_text(self.checks, style)

    def document(self, reason: ExitReason) -> str:
        from reconciler.render.doctor import doctor_document
        from reconciler.render.json import document_json

        return document_json(reason, {"checks": doctor_document(self.checks)})
