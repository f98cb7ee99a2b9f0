"""Put the live pieces together for one command: the service or the sandbox, the clock, what the journal knows.

In: options and the environment. Out: an open service. The only module that reads the key.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from reconciler.cli.flags import DEFAULT_BASE_URL
from reconciler.core.errors import ApiError, ExitReason, FailureKind, UsageError, exit_reason_of
from reconciler.core.model import PortfolioId, is_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
    from typing import Any

    from reconciler.api.client import Glider
    from reconciler.api.transport import Transport
    from reconciler.apply.journaltables import JournalPlace
    from reconciler.cli.options import JournalOptions, RecordOptions, ServiceOptions
    from reconciler.core.change import Change
    from reconciler.core.endpoint import Expect
    from reconciler.core.model import ApiVersion, Desired, Paths
    from reconciler.core.ports import Memory

T = TypeVar("T")

_TICKS = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""A clock that goes on while the machine sleeps: on Linux a separate one, on macOS the monotonic clock."""


class SystemClock(Struct, frozen=True):
    """The machine's clock; for a sandbox that was moved ahead, ``ahead_ms`` milliseconds ahead of it."""

    ahead_ms: int = 0

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def ticks_ms(self) -> int:
        """Return milliseconds since some moment. They never go back, and go on while the machine sleeps."""
        return (time.monotonic_ns() if _TICKS is None else time.clock_gettime_ns(_TICKS)) // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        from asyncio import sleep

        await sleep(seconds)


class Service(Struct, frozen=True, kw_only=True):
    """An open Glider. ``label`` names it in plans and in the journal.

    ``account`` is whom the key belongs to, ``None`` if that can't be known; ``remarks`` are sentences about that for
    people.
    """

    api: Glider
    label: str
    clock: SystemClock
    account: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should be told after the run: sentences, each once, oldest first."""
        return (*self.remarks, *self.api.notes)


@asynccontextmanager
async def open_service(
    options: ServiceOptions,
    paths: Paths,
    portfolios: Iterable[Desired | Change] = (),
    *,
    expect: Expect | None = None,
    writes: bool = False,
    asks_account: bool = True,
) -> AsyncIterator[Service]:
    """Open the service, or the sandbox, that the options name; close it at the end.

    ``portfolios`` tell which API manages each of them; any other id counts as v1's. The service is compared with what
    the files ``expect``: the URL before the key is sent anywhere, the account before anything is read. If the account
    can't be known, a command that ``writes`` must not go on. Raises :class:`~reconciler.core.errors.NotExpected`. For a
    sandbox nothing is compared.
    """
    from reconciler.api.client import Glider
    from reconciler.api.key import read_account
    from reconciler.core.endpoint import NOTHING, require_expected

    versions, expected = versions_of(portfolios), expect or NOTHING
    if options.sandbox is not None:
        async with _open_sandbox(options.sandbox, options) as (label, clock, transport):
            yield Service(api=Glider(transport, paths=paths, versions=versions), label=label, clock=clock)
        return
    base_url, clock = base_url_of(options), SystemClock()
    require_expected(expected, url=base_url)
    async with _transport(base_url, _key(), clock, options, proxy=proxy_of(options)) as transport:
        account = await read_account(transport) if asks_account else None
        require_expected(expected, account=account)
        yield Service(
            api=Glider(transport, paths=paths, versions=versions),
            label=base_url,
            clock=clock,
            account=account,
            remarks=account_remarks(expected, account, writes=writes) if asks_account else (),
        )


@asynccontextmanager
async def _open_sandbox(file: str, options: ServiceOptions) -> AsyncIterator[tuple[str, SystemClock, Transport]]:
    """Open the sandbox in a file; yields its label, its clock, and how it is reached."""
    from reconciler.sandbox import Store, create_app

    _require_no_portfolio(file)
    store = Store.open(Path(file))
    try:
        label, clock = f"sandbox://{store.instance}", SystemClock(ahead_ms=store.clock_offset_ms)
        app = create_app(store, now_ms=SystemClock().now_ms)
        async with _transport(label, "sandbox", clock, options, app=app) as transport:
            yield label, clock, transport
    finally:
        store.close()


def _require_no_portfolio(file: str) -> None:
    """Raise :class:`~reconciler.core.errors.UsageError` if ``--sandbox`` got what looks like a portfolio's id."""
    if is_id(file) and not Path(file).exists():
        repair = f"Is {file} a portfolio? Name it with `--target {file}`, or put it before: `status {file} --sandbox`."
        raise UsageError(f"there is no file {file}, and `--sandbox` takes a file", repair)


def _transport(
    base_url: str, key: str, clock: SystemClock, options: ServiceOptions, *, proxy: str | None = None, app: Any = None
) -> Transport:
    from random import random

    from reconciler.api.transport import Transport

    return Transport(
        base_url=base_url,
        key=key,
        parallelism=options.parallelism,
        clock=clock,
        jitter=random,
        asgi_app=app,
        proxy=proxy,
        max_rate_per_s=options.max_rate_per_s,
        certificates=os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or None,
    )


def base_url_of(options: RecordOptions) -> str:
    """Return the service's URL, normalised: the one given, else the environment's, else Glider's own."""
    from reconciler.core.endpoint import checked_base_url

    given = options.base_url
    return checked_base_url(given if given is not None else os.environ.get("GLIDER_BASE_URL") or DEFAULT_BASE_URL)


def proxy_of(options: ServiceOptions) -> str | None:
    """Return the proxy: the one given, else that of GLIDER_PROXY. The usual proxy variables are not used."""
    return options.proxy if options.proxy is not None else os.environ.get("GLIDER_PROXY") or None


def account_remarks(expected: Expect, account: str | None, *, writes: bool) -> tuple[str, ...]:
    """Return what to say if the files expect an account, but whose key this is can't be known."""
    from reconciler.core.errors import NotExpected

    if expected.account is None or account is not None:
        return ()
    unknown = f"the files expect the account {expected.account}, and whose key this is can't be known"
    if writes:
        raise NotExpected(unknown, "Use a key that Glider names an account for, or leave account out of the files.")
    return (f"{unknown}; nothing could be compared",)


def versions_of(portfolios: Iterable[Desired | Change]) -> dict[PortfolioId, ApiVersion]:
    """Return the API that each portfolio is managed by."""
    return {PortfolioId(one.id): one.api for one in portfolios}


def memory_of(
    options: JournalOptions,
    service: Service,
    *,
    plans: Iterable[str] = (),
    results: bool = False,
    shows_only: bool = False,
) -> Memory:
    """Return what the journal knows of a service, without creating one, and what the files of halts know; with
    ``results`` also what the journal knows of rebalances.

    Call it before anything is read from the service. ``plans`` are fingerprints whose unfinished attempts don't count
    as writes. Raises :class:`~reconciler.core.errors.HaltInvalid` for a file that may be a halt and can't be read,
    unless what is known is only shown.
    """
    from reconciler.cli.haltfiles import with_filed
    from reconciler.core.ports import Memory

    if _is_missing(options.journal_place):  # as in many CI jobs, which then need not import SQLite
        return with_filed(Memory(), service.label, service.account, shows_only=shows_only)
    from reconciler.apply.journal import KEPT_RESULTS
    from reconciler.apply.journalreads import read_memory

    memory = read_memory(
        options.journal_place,
        base_url=service.label,
        account=service.account,
        now_ms=service.api.service_ms(),
        plans=tuple(plans),
        results=KEPT_RESULTS if results else 0,
    )
    return with_filed(memory, service.label, service.account, shows_only=shows_only)


def _is_missing(place: JournalPlace) -> bool:
    """Whether nothing has the name of a journal's file, not even a link. A place that can't be looked at has one."""
    if not isinstance(place, Path):
        return False
    try:
        place.lstat()
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def new_token() -> str:
    """Return a token that tells one write from all others: six random hexadecimal digits."""
    from secrets import token_hex

    return token_hex(3)


class Terminated(SystemExit):
    """SIGTERM came while nothing was being written: the command ends where it is, and says so.

    It is a ``SystemExit`` because of asyncio: it would take any other exception, raised by a signal inside a socket's
    callback, for a broken connection and go on.
    """


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask a command to end: SIGTERM, and SIGHUP unless it is ignored, as under ``nohup``."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, hangup


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a command's coroutine to its end. Raises KeyboardInterrupt on SIGINT, and :class:`Terminated` on SIGTERM or
    SIGHUP, at once: asyncio's own handler of SIGINT would wait until the loop goes on, which may itself be waiting for
    a database or an answer on the terminal. While an apply writes, it handles these signals itself."""
    import asyncio

    found: list[T] = []

    async def kept() -> None:
        # At its end, asyncio asks for the handler of SIGINT, and Python writes down what that is for the text of an
        # error that nobody sees: the whole result, if it were the task's. Of 100,000 portfolios that takes seconds.
        found.append(await main())

    if threading.current_thread() is not threading.main_thread():
        asyncio.run(kept())
        return found[0]
    numbers = [*ending_signals()]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as in the background
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, _end) for number in numbers}
    try:
        asyncio.run(kept())
        return found[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: object) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def shared_reason(failures: Iterable[ApiError | None]) -> ExitReason:
    """Return what a command exits with for these failures: the one reason that they share, else a plain error.

    ``None`` stands for a failure of our own.
    """
    reasons = {exit_reason_of(one.kind) if one is not None else ExitReason.ERROR for one in failures}
    return ExitReason.OK if not reasons else reasons.pop() if len(reasons) == 1 else ExitReason.ERROR


def _key() -> str:
    key = os.environ.get("GLIDER_API_KEY", "").strip()
    if not key:
        error = ApiError(FailureKind.UNAUTHENTICATED, "GLIDER_API_KEY is not set")
        error.detail = "Export the key of your Glider account, or try it without one: add --sandbox."
        raise error
    return key
