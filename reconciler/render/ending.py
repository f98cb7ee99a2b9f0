"""How a command ended: the reason, what it found, and how that is shown.

In: values that a command made on its way. Out: :class:`Ending`, which the command line prints and the GitHub Action
posts. Its view turns it into text, Markdown or JSON.
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
    """What a command has found so far; ``None`` or empty for what it did not get to.

    A command fills it in on its way, so that an error or a signal does not lose what was found before.
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
    halt_file: str | None = None
    """Where the file of a halt was written."""

    @property
    def problems(self) -> tuple[Diagnostic, ...]:
        """Errors and warnings about the files, wherever they are kept: on their own, in the error or in the plan."""
        if self.diagnostics:
            return self.diagnostics
        if isinstance(self.error, ConfigInvalid):
            return self.error.diagnostics
        return self.plan.warnings if self.plan is not None else ()


class View(Struct, frozen=True, kw_only=True):
    """What a command shows: a page, or text that is ``shown`` as it is (a file, a sentence); and a JSON document.

    ``body`` is what the document holds. It and the page may be functions, which make them once they are asked for.
    ``below`` says that the terminal already shows a page about the same thing above this one.
    """

    page: Callable[[], Page] | None = None
    shown: str = ""
    body: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = {}
    below: bool = False

    def text(self, style: Style, *, verbose: bool) -> str:
        """Return it for a terminal."""
        from reconciler.render.terminal import terminal

        if self.page is None:
            return self.shown
        return "\n" * self.below + terminal(self.page(), style, verbose=verbose, below=self.below)

    def markdown(self) -> str:
        """Return the page as Markdown. No command that shows other text offers that."""
        from reconciler.render.markdown import markdown

        return markdown(self.page()) if self.page is not None else ""

    def json(self, reason: ExitReason) -> str:
        """Return the document."""
        from reconciler.render.json import document_json

        return document_json(reason, self.body() if callable(self.body) else self.body)


class Ending(Struct, frozen=True, kw_only=True):
    """How a command ended. Without a view there is nothing to show.

    ``errors``, ``warnings``, ``advice`` and ``notes`` are about what the view shows, and are printed after it.
    ``advice`` holds warnings about the plan; warnings about the files were printed when these were read.
    """

    reason: ExitReason
    found: Found
    view: View | None = None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    advice: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
