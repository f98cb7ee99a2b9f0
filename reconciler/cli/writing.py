"""What every command that writes to Glider needs: the journal's lock, an answer from a person, and a way to stop.

In: options, an open service, signals. Out: an open journal, yes or no, the reason to exit with.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.journalplace import make_folder, require_untracked
from reconciler.core.errors import ExitReason, JournalBusy, UsageError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterator

    from reconciler.apply.journal import SqliteJournal
    from reconciler.apply.run import Stop
    from reconciler.cli.options import JournalOptions
    from reconciler.cli.service import Service

_LOOK_AGAIN_SECONDS = 0.1
"""How often to see whether another apply has ended."""


def said_yes(question: str) -> bool:
    """Ask on the terminal; only ``yes`` means yes. Raises KeyboardInterrupt, even for a Ctrl-C just before the call."""
    import asyncio

    # asyncio turns the first Ctrl-C into a request to the event loop. That waits here for the answer, and would not see
    # the request.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # it came just before, so the loop has it already
            raise KeyboardInterrupt
        click.echo(question, err=True)
        answer: str = click.prompt("  Answer", default="no", show_default=False, err=True)
    finally:
        signal.signal(signal.SIGINT, heard)
    return answer.strip() == "yes"


async def open_to_write(options: JournalOptions, service: Service, *, lock_timeout: str) -> SqliteJournal:
    """Open the journal; wait for another apply as long as ``lock_timeout`` says, as in ``10s``.

    A signal ends the wait. The journal's folder is made if it is missing. Raises
    :class:`~reconciler.core.errors.JournalError`, also for a journal that Git tracks.
    """
    from asyncio import sleep
    from time import monotonic

    from reconciler.apply.journal import open_journal
    from reconciler.core.text import parse_duration

    try:
        wait_seconds = parse_duration(lock_timeout) / 1000
    except ValueError as error:
        raise UsageError(f"--lock-timeout: {error}; write 10s, 5m or the like.") from error
    path = options.journal_path
    require_untracked(path)
    make_folder(path)
    patience_ends = monotonic() + wait_seconds
    while True:
        try:
            return open_journal(
                path,
                base_url=service.label,
                account=service.account,
                now_ms=service.api.service_ms,
                process=f"process {os.getpid()} on {platform.node()}",
            )
        except JournalBusy:
            if monotonic() >= patience_ends:
                raise
            await sleep(_LOOK_AGAIN_SECONDS)


@contextmanager
def signals(stop: Stop) -> Iterator[list[ExitReason]]:
    """Let the first SIGINT, SIGTERM or SIGHUP only stop new work, so that writes in flight are settled.

    Yields a list that holds the reason to exit with, once a signal came. A second signal ends the program at once: the
    journal has every intent, so nothing is lost.
    """
    import asyncio

    from reconciler.cli.service import ending_signals

    loop = asyncio.get_running_loop()
    caught: list[ExitReason] = []

    def on(reason: ExitReason) -> None:
        if caught:
            sys.exit(reason.code)
        caught.append(reason)
        stop.request("interrupted before it began", urgent=True)

    pairs = [(signal.SIGINT, ExitReason.INTERRUPTED), *((one, ExitReason.TERMINATED) for one in ending_signals())]
    previous = [_handle(loop, number, on, reason) for number, reason in pairs]
    try:
        yield caught
    finally:
        for (number, _), handler in zip(pairs, previous, strict=True):
            signal.signal(number, handler)


def _handle(loop: AbstractEventLoop, number: int, on: Any, reason: ExitReason) -> Any:
    """Route a signal into the event loop, even on systems whose loop can't do that itself; return the old handler."""
    return signal.signal(number, lambda *_: loop.call_soon_threadsafe(on, reason))
