"""How a command ended: the reason, what it found, and how that is shown.

In: values that a command made on its way. Out: :class:`Ending`, which the command line prints and the GitHub Action
posts. A view makes text, Markdown or JSON of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from reconciler.core.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.diff import Comparison
    from reconciler.core.errors import ExitReason, ReconcilerError
    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport
    from reconciler.render.page import Page
    from reconciler.render.status import StatusRow
    from reconciler.render.terminal import Style


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


class PageView(Struct, frozen=True, kw_only=True):
    """A page, and its document; each is made when it is asked for.

    ``below`` says that a page about the same stands above it on the terminal already.
    """

    page: Callable[[], Page]
    document: Callable[[ExitReason], str]
    below: bool = False

    def text(self, style: Style, *, verbose: bool) -> str:
        """Return the page for a terminal."""
        from reconciler.render.terminal import terminal

        return "\n" * self.below + terminal(self.page(), style, verbose=verbose, below=self.below)

    def markdown(self) -> str:
        """Return the page as Markdown."""
        from reconciler.render.markdown import markdown

        return markdown(self.page())

    def json(self, reason: ExitReason) -> str:
        """Return the document."""
        return self.document(reason)


class TextView(Struct, frozen=True, kw_only=True):
    """Text that is made already (a file, a sentence), and what a document says instead."""

    shown: str = ""
    body: Mapping[str, Any] = {}

    def text(self, style: Style, *, verbose: bool) -> str:  # noqa: ARG002 - as of a page
        """Return the text."""
        return self.shown

    def markdown(self) -> str:
        """Return nothing: no command that shows such text offers Markdown."""
        return ""

    def json(self, reason: ExitReason) -> str:
        """Return the document."""
        from reconciler.render.json import document_json

        return document_json(reason, self.body)


View = PageView | TextView


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
