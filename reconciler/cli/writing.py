"""What every command that writes to Glider needs: the journal's lock, an answer from a person, and a way to stop.

In: options, an open service, signals. Out: an open journal, yes or no, the reason to exit with.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from msgspec.structs import replace

from reconciler.cli.journalplace import prepare_place
from reconciler.cli.options import duration_of
from reconciler.core.errors import ExitReason, JournalBusy, JournalError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence

    from reconciler.apply.journal import OpenJournal
    from reconciler.apply.run import Stop
    from reconciler.cli.options import JournalOptions
    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.core.model import PortfolioId
    from reconciler.core.ports import Clock
    from reconciler.core.rebalance import KeptRebalance, Rebalance
    from reconciler.core.report import RunOrigin
    from reconciler.render.ending import Found

T = TypeVar("T")

TOLD_BY: Final = {
    "who": ("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID"),
    "commit": ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"),
    "pull_request": ("GITHUB_REF", "CI_MERGE_REQUEST_IID", "CHANGE_ID"),
    "ci_run": ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BUILD_TAG"),
}
"""Which variables of GitHub, GitLab and Jenkins tell where a run comes from; the first that is there counts."""
_SECRETS: Final = ("GLIDER_API_KEY", "GITHUB_TOKEN", "CI_JOB_TOKEN", "PGPASSWORD")
_LOOKS_LIKE: Final = {
    "commit": re.compile(r"([0-9A-Fa-f]{7,64})"),
    "pull_request": re.compile(r"(?:refs/pull/)?([0-9]{1,20})(?:/(?:merge|head))?"),
}
_NOTHING_KNOWN: Final[Mapping[PortfolioId, Sequence[KeptRebalance]]] = {}
_LOOK_AGAIN_SECONDS: Final = (0.1, 1.0)
"""How soon to look whether another apply has ended, at first and at last; on a server each look is a connection."""
_UNDER_WAY_SECONDS: Final = 35.0
"""The longest wait for a write of another command: a little longer than a request may take."""
_ASK_AGAIN_SECONDS: Final = 0.5


def this_process() -> str:
    """Return what names this process to those who wait for the journal."""
    return f"process {os.getpid()} on {platform.node()}"


def origin_of(environ: Mapping[str, str]) -> RunOrigin:
    """Return where a run comes from, as CI tells it in these variables.

    What is no commit and no number of a pull request is left out (a branch has none), and so is what holds a secret.
    """
    from reconciler.core.report import RunOrigin
    from reconciler.core.text import label

    secrets = [secret for one in _SECRETS if (secret := environ.get(one, "").strip())]
    found = {}
    for name, variables in TOLD_BY.items():
        text = next((environ[one] for one in variables if environ.get(one)), "")
        if name in _LOOKS_LIKE:
            match = _LOOKS_LIKE[name].fullmatch(text)
            text = match[1] if match is not None else ""
        found[name] = None if any(secret in text for secret in secrets) else label(text)
    return RunOrigin(**found)


def said_yes(question: str, *, meaning_yes: str = "yes") -> bool:
    """Ask on the terminal; only ``meaning_yes`` means yes. Raises KeyboardInterrupt."""
    click.echo(question, err=True)
    answer: str = click.prompt("  Answer", default="no", show_default=False, err=True)
    return answer.strip() == meaning_yes


async def open_to_write(
    options: JournalOptions, service: Service, *, lock_timeout: str, beside: bool = False, shared: bool = False
) -> OpenJournal:
    """Open the journal; wait for another apply as long as ``lock_timeout`` says, as in ``10s``.

    With ``beside`` it is opened next to an apply that is at work with it, for a halt; with ``shared``, next to other
    runners of the same plan. The journal's folder is made if it is missing. Raises
    :class:`~reconciler.core.errors.JournalError`, also for a journal that Git tracks.
    """
    from reconciler.apply.journal import open_journal

    path = options.journal_place

    async def opened() -> OpenJournal:
        return open_journal(
            path,
            base_url=service.label,
            account=service.account,
            now_ms=service.api.service_ms,
            process=this_process(),
            origin=origin_of(os.environ),
            beside=beside,
            shared=shared,
        )

    _ = _patience(lock_timeout)
    prepare_place(path)
    return await while_busy(opened, lock_timeout=lock_timeout)


async def while_busy(attempt: Callable[[], Awaitable[T]], *, lock_timeout: str) -> T:
    """Return the result of an attempt. While others are at work with the journal, it is made again, until time is up.

    A signal ends the wait.
    """
    from asyncio import sleep
    from time import monotonic

    patience_ends = monotonic() + _patience(lock_timeout)
    pause_seconds, longest = _LOOK_AGAIN_SECONDS
    while True:
        try:
            return await attempt()
        except JournalBusy:
            if monotonic() >= patience_ends:
                raise
            await sleep(min(pause_seconds, max(0, patience_ends - monotonic())))
            pause_seconds = min(1.5 * pause_seconds, longest)


class SpareJournals(ExitStack):
    """The journal of a halt. One that can't be opened, read or written must not stop a halt: a new one takes its place,
    until something was paused with the first."""

    def __init__(self, options: JournalOptions, service: Service, found: Found, output: Output) -> None:
        super().__init__()
        self._options, self._service, self._found, self._output = options, service, found, output
        self._journal: OpenJournal | None = None

    async def used_by(self, attempt: Callable[[OpenJournal], Awaitable[T]]) -> T:
        """Return what an attempt with the journal comes to, even if another command is at work with it."""
        try:
            if self._journal is None:
                self._journal = await self._open(self._options)
            return await attempt(self._journal)
        except JournalError as error:
            if self._found.report is not None:
                raise
            from tempfile import mkdtemp

            place = str(Path(mkdtemp(prefix="reconciler-halt-")) / "journal.db")
            self._output.warn(f"{error.summary}; the halt goes on with a journal of its own, {place}")
            self._journal = await self._open(replace(self._options, journal=place))
            return await attempt(self._journal)

    async def _open(self, options: JournalOptions) -> OpenJournal:
        return self.enter_context(await open_to_write(options, self._service, lock_timeout="0s", beside=True))


async def until_ended(begun: Container[int], journal: OpenJournal, clock: Clock) -> None:
    """Wait for the end of the writes with these numbers, which another command began, unless that command is gone."""
    waited = 0.0
    while journal.is_busy() and waited < _UNDER_WAY_SECONDS:
        if not any(one.number in begun for one in journal.unsettled()):
            return
        await clock.sleep(_ASK_AGAIN_SECONDS)
        waited += _ASK_AGAIN_SECONDS


def _patience(lock_timeout: str) -> float:
    return duration_of("--lock-timeout", lock_timeout, such_as="10s") / 1000


def kept_results(
    options: JournalOptions, base_url: str, account: str | None
) -> Mapping[PortfolioId, Sequence[KeptRebalance]]:
    """Return what the journal remembers of rebalances at this service, newest first; nothing without a journal."""
    from reconciler.apply.journal import KEPT_RESULTS
    from reconciler.apply.journalreads import read_results

    return read_results(options.journal_place, base_url=base_url, last=KEPT_RESULTS, account=account)


async def keep_results(
    options: JournalOptions,
    service: Service,
    read: Mapping[PortfolioId, Sequence[Rebalance]],
    known: Mapping[PortfolioId, Sequence[KeptRebalance]] = _NOTHING_KNOWN,
) -> Mapping[PortfolioId, Sequence[KeptRebalance]]:
    """Let the journal remember what was just read of rebalances, so that others need not ask for it again. Return it
    together with what was ``known`` before, the newest first.

    Where the journal may not be written to, or another command is at it, nothing is kept, and nothing is said: what was
    read is shown all the same. No journal is made for it.
    """
    from reconciler.apply.journalreads import exists
    from reconciler.core.rebalance import KeptRebalance, newest_first

    results = {portfolio: some for portfolio, some in read.items() if some}
    with suppress(JournalError, OSError):
        if results and exists(options.journal_place):
            with await open_to_write(options, service, lock_timeout="0s") as journal:
                journal.keep_results(results)
    now_ms = service.api.service_ms()
    found = {i: [KeptRebalance(rebalance=one, read_ms=now_ms) for one in some] for i, some in read.items()}
    return {portfolio: newest_first(*known.get(portfolio, ()), *some) for portfolio, some in found.items()}


@contextmanager
def signals(stop: Stop) -> Iterator[list[ExitReason]]:
    """Let the first SIGINT, SIGTERM or SIGHUP only stop new work, so that writes in flight are settled.

    Yields a list that holds the reason to exit with, once a signal came. A second signal ends the program at once: the
    journal has every intent, so nothing is lost. What still waits for a database soon after, waits no longer.
    """
    import asyncio

    from reconciler.apply.journalqueue import HANG_UP_SECONDS
    from reconciler.cli.service import ending_signals

    loop = asyncio.get_running_loop()
    caught: list[ExitReason] = []

    def on(reason: ExitReason) -> None:
        if caught:
            for hang_up in stop.hang_up:
                timer = threading.Timer(HANG_UP_SECONDS, hang_up)
                timer.daemon = True
                timer.start()
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
