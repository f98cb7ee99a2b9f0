"""Progress on stderr while portfolios are read or changed: a bar on a terminal, elsewhere a line every ten seconds.

In: events of reading and applying. Out: the bar, and above it the lines that are to stay; or plain lines, as a CI log
needs them. What takes less than the first interval shows nothing of how far it is. GitHub's log gets every outcome at
once, so that a job that is killed leaves what was done.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.cli.output import is_terminal, write
from reconciler.core.report import Outcome, Result
from reconciler.render.terminal import in_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.errors import ApiError
    from reconciler.core.fleet import Fleet, Selection
    from reconciler.core.model import Address, Desired, Live, PortfolioId, Verb
    from reconciler.core.ports import ServiceApi

DRAWN_S: Final = 0.2
"""Seconds between two drawings of the bar."""
TOLD_S: Final = 10.0
"""Seconds between two plain lines."""
_CELLS: Final = 32
_ERASE: Final = "\r\x1b[K"


class Timer(Protocol):
    """A call that is made later."""

    def cancel(self) -> None:
        """Don't make it."""


class Timers(Protocol):
    """The part of an event loop that is used here."""

    def time(self) -> float:
        """Return seconds since some moment."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call back after ``delay`` seconds."""


class Bar:
    """Counts what is finished, and shows it at an interval; made by :func:`bar`."""

    def __init__(self, output: Output, label: str, total: int, timers: Timers) -> None:
        self._output = output
        self._label = label
        self._total = total
        self._done = 0
        self._timers = timers
        self._began = timers.time()
        terminal, runner = is_terminal(sys.stderr), bool(os.environ.get("GITHUB_ACTIONS"))
        self._single = terminal or runner or output.verbose
        # A runner's log keeps every drawing of a bar as a line of its own.
        self._drawn = terminal and not runner and os.environ.get("TERM") != "dumb"
        self._visible = False
        self._tick_later()

    def advance(self) -> None:
        """One more is finished."""
        self._done += 1

    def line(self, text: str) -> None:
        """Print a line that stays: on a terminal, in GitHub's log, or where -v asks for it."""
        if self._single:
            self._erase()
            self._output.note(text)

    def close(self) -> None:
        """Take the bar away."""
        self._timer.cancel()
        self._erase()

    def _tick_later(self) -> None:
        self._timer = self._timers.call_later(DRAWN_S if self._drawn else TOLD_S, self._tick)

    def _tick(self) -> None:
        if self._output.quiet:
            return
        if self._drawn:
            write(sys.stderr, _ERASE + self._drawing()[: _columns() - 1])
            self._visible = True
        else:
            self._output.note(f"{self._label}: {self._done} of {self._total} done")
        self._tick_later()

    def _erase(self) -> None:
        if self._visible:
            write(sys.stderr, _ERASE)
            self._visible = False

    def _drawing(self) -> str:
        filled = _CELLS * self._done // max(self._total, 1)
        left = ""
        if self._done:
            minutes, seconds = divmod(round((self._timers.time() - self._began) * (self._total / self._done - 1)), 60)
            left = f" {minutes}:{seconds:02} left"
        return f"{self._label} [{'#' * filled}{'.' * (_CELLS - filled)}] {self._done}/{self._total}{left}"


@contextmanager
def bar(output: Output, label: str, total: int, *, timers: Timers | None = None) -> Iterator[Bar]:
    """Show how many of ``total`` are finished while the block runs; ``timers`` are those of the running loop."""
    if timers is None:
        import asyncio

        timers = asyncio.get_running_loop()
    shown = Bar(output, label, total, timers)
    try:
        yield shown
    finally:
        shown.close()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


class ReadProgress:
    """Moves a bar on with every portfolio that was read; with a clock, it also keeps when that was.

    ``read_ms`` are UTC epoch milliseconds by that clock.
    """

    def __init__(self, shown: Bar, now_ms: Callable[[], int] | None = None) -> None:
        self._bar = shown
        self._now_ms = now_ms
        self.read_ms: dict[Address, int] = {}

    def read(self, portfolio: PortfolioId, failure: ApiError | None) -> None:  # noqa: ARG002 - the port's signature
        """Count one; a failed read is shown with the plan."""
        self._bar.advance()
        if self._now_ms is not None:
            self.read_ms[portfolio] = self._now_ms()


class ApplyProgress:
    """Prints a line for each portfolio or strategy as soon as its outcome is known, and moves a bar on."""

    def __init__(self, shown: Bar, output: Output) -> None:
        self._bar = shown
        self._style = output.note_style

    def started(self, address: Address, verb: Verb) -> None:
        """Show nothing: the bar says how many are left."""

    def finished(self, result: object) -> None:
        """Print the outcome. A change that was not begun after a stop gets no line; the report has one row for all."""
        if isinstance(result, Result) and result.outcome is not Outcome.NOT_ATTEMPTED:
            from reconciler.render.plan import RESULT_WIDTHS, result_cells

            self._bar.line(in_columns(result_cells(result), RESULT_WIDTHS, self._style))
        self._bar.advance()


async def read_with_bar(
    api: ServiceApi, ids: Collection[PortfolioId], output: Output, parallelism: int
) -> dict[PortfolioId, Live]:
    """Return what is live of each portfolio, as :func:`~reconciler.api.fleet.read_all` does, and show how far."""
    from reconciler.api.fleet import read_all

    with bar(output, "Reading", len(ids)) as shown:
        return await read_all(api, ids, parallelism=parallelism, observer=ReadProgress(shown))


async def read_shown(
    service: Service, desired: Mapping[PortfolioId, Desired], selection: Selection, output: Output, parallelism: int
) -> tuple[Fleet, Mapping[Address, int]]:
    """Return what is live of these portfolios, as :func:`~reconciler.api.fleet.read_fleet` does, and show how far.

    Also return when each was read, by the service's clock. To read a large fleet takes so long that a run which was
    still ahead when its portfolio was read may be in the past by the end.
    """
    from reconciler.api.fleet import read_fleet

    with bar(output, "Reading", len(desired)) as shown:
        observer = ReadProgress(shown, service.api.service_ms)
        whole = selection.everything
        fleet = await read_fleet(service.api, desired, whole=whole, parallelism=parallelism, observer=observer)
        return fleet, observer.read_ms
