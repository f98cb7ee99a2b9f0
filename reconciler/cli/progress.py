"""A progress bar on stderr, on a terminal only; rich is imported only then.

In: events of reading and applying. Out: a bar, and above it the lines that are to stay. Without a terminal, nothing:
the result tells it all, unless -v asks for the lines.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from reconciler.cli.output import is_terminal
from reconciler.core.report import Result
from reconciler.render.plan import RESULT_WIDTHS, result_cells
from reconciler.render.terminal import in_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.cli.output import Output
    from reconciler.core.errors import ApiError
    from reconciler.core.model import Address, PortfolioId, Verb

FEWEST = 20
"""A bar for fewer portfolios is gone before anybody sees it."""


class Bar(Protocol):
    """What a bar must be able to do."""

    def advance(self) -> None:
        """One more is finished."""

    def line(self, text: str) -> None:
        """Print a line that stays."""


class _NoBar:
    def __init__(self, say: Callable[[str], None] | None) -> None:
        self._say = say

    def advance(self) -> None:
        """Show nothing."""

    def line(self, text: str) -> None:
        if self._say is not None:
            self._say(text)


@contextmanager
def bar(output: Output, label: str, total: int) -> Iterator[Bar]:
    """Show a bar while the block runs, when stderr is a terminal and there is enough to wait for."""
    terminal = is_terminal(sys.stderr)
    if output.quiet or total < FEWEST or not terminal:
        yield _NoBar(output.note if terminal or output.verbose else None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    columns = (TextColumn(label), BarColumn(bar_width=32), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, no_color=not output.note_style.color, highlight=False)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)

        class RichBar:
            def advance(self) -> None:
                progress.advance(task)

            def line(self, text: str) -> None:
                # The line is already styled for a terminal; rich must not read markup out of it.
                console.print(Text.from_ansi(text), soft_wrap=True)

        yield RichBar()


class ReadProgress:
    """Moves a bar on with every portfolio that was read."""

    def __init__(self, shown: Bar) -> None:
        self._bar = shown

    def read(self, portfolio: PortfolioId, failure: ApiError | None) -> None:  # noqa: ARG002 - the port's signature
        """Count one; a failed read is shown with the plan."""
        self._bar.advance()


class ApplyProgress:
    """Prints a line a portfolio or strategy as soon as its outcome is known, and moves a bar on."""

    def __init__(self, shown: Bar, output: Output) -> None:
        self._bar = shown
        self._style = output.note_style

    def started(self, address: Address, verb: Verb) -> None:
        """Show nothing: the bar says how many are left."""

    def finished(self, result: object) -> None:
        """Print the outcome."""
        if isinstance(result, Result):
            self._bar.line(in_columns(result_cells(result), RESULT_WIDTHS, self._style))
        self._bar.advance()
