"""One version of Glider's API as a table of its calls, and how to read the values that all versions spell alike.

In: nothing. Out: :class:`Table`. Each version fills one in, in a module of its own (:mod:`reconciler.api.v1`,
:mod:`reconciler.api.v2`), and :mod:`reconciler.api.client` carries it out. An answer is read tolerantly: what is
missing or new is no error, a field of another type than documented counts as missing, and texts are made harmless.
Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import quote

from msgspec import Struct

from reconciler.core.codec import LATEST_MS, LONGEST_MS
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.guards import MAX_INTERVAL_MS, MIN_INTERVAL_MS
from reconciler.core.model import PortfolioId, is_id
from reconciler.core.ports import Confirmation
from reconciler.core.rebalance import RebalanceStatus
from reconciler.core.text import DAY_MS, SECOND_MS, harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.intent import Call, Intent
    from reconciler.core.model import Live, Paths, StrategyId, StrategyLive
    from reconciler.core.rebalance import PortfolioFacts, Rebalance, RecentRebalances

Fields = dict[str, object]
"""A JSON object."""

T = TypeVar("T")
Codec = Callable[[PortfolioId, Fields], T]
"""Reads an answer about a portfolio. Raises :class:`ApiError` (``MALFORMED``) for one that can't be used."""

LONGEST_ID: Final = 128
_LONGEST_RUN_ID: Final = 512
_LONGEST_RUN_WORD: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Route(Struct, frozen=True):
    """Where a write goes below its portfolio's path, and the body that belongs there."""

    tail: str
    body: Callable[[Intent], Fields]


class WriteCall(Struct, frozen=True):
    """One call that changes something.

    ``name`` names it to people. There are as many ``routes`` as :class:`Families`, or one that all of them share.
    ``answer`` reads what its answer confirms. ``cools_down`` says that its 429 may be about this portfolio alone (API
    facts §2.5). ``hint`` returns what to say beside a refusal, if anything.
    """

    name: str
    routes: tuple[Route, ...]
    answer: Codec[Confirmation]
    cools_down: bool = False
    hint: Callable[[Intent], str] | None = None


class ReadCall(Struct, Generic[T], frozen=True):
    """One call that reads.

    ``tail`` is its path below that of the portfolio, with ``{}`` for what is asked for. ``value`` reads its answer.
    """

    tail: str
    value: T


class Families(Struct, frozen=True):
    """Two sets of paths that a service may use for the same writes; the first one is tried first.

    ``owners`` names the document that each set is from, ``settings`` are the words for them in the files. ``mixed`` is
    the note for a service that uses the one set for some writes and the other for the rest.
    """

    owners: tuple[str, str]
    settings: tuple[Paths, Paths]
    mixed: str


class ListPage(Struct, frozen=True):
    """One page of the list: its rows as they came, and where the next one begins (``None``: at its end).

    ``says_end`` is false where the answer leaves out whether more follows.
    """

    rows: list[object]
    cursor: str | None
    says_end: bool


class ListCall(Struct, frozen=True):
    """How all portfolios are listed: the path of a page by its cursor, the most rows of one, and how it is read.

    ``page`` leaves the rows as they are, so that the next page can be asked for before they are read. ``row`` returns
    what a row says, ``None`` for one that names no portfolio.
    """

    path: Callable[[str | None], str]
    size: int
    page: Callable[[Fields], ListPage]
    row: Callable[[object], Live | None]


class StrategyCalls(Struct, frozen=True):
    """How a strategy's cadence is read and set: the path with ``{}`` for its id, the body that sets it, its answer."""

    path: str
    body: Callable[[Intent], Fields]
    live: Callable[[StrategyId, Fields], StrategyLive]


class Table(Struct, frozen=True):
    """One version. For a call that it lacks, the client sends nothing: it refuses, or returns a value that says so.

    ``word`` is its name, ``folder`` the path of all portfolios, ``noun`` what it calls a rebalance. For each write that
    is not in ``writes``, ``lacks`` says why there is none. ``no_runs`` are the HTTP statuses with which Glider refuses
    to list the runs of a portfolio that never had one. ``without_status`` returns what to make of a portfolio that
    exists although its status is not found; a version without it takes such a portfolio as not found.
    """

    word: str
    folder: str
    noun: str
    status: ReadCall[Codec[Live]]
    writes: Mapping[Call, WriteCall]
    look: ReadCall[Callable[[PortfolioId, str, Fields], Rebalance]]
    recent: ReadCall[Codec[RecentRebalances]] | None = None
    no_runs: frozenset[int] = frozenset()
    facts: ReadCall[Codec[PortfolioFacts]] | None = None
    without_status: Callable[[PortfolioId, PortfolioFacts, ApiError], Live] | None = None
    lacks: Mapping[Call, str] = {}
    families: Families | None = None
    listing: ListCall | None = None
    strategies: StrategyCalls | None = None

    def path(self, portfolio: PortfolioId, tail: str = "") -> str:
        """Return a portfolio's path, or one below it. Raises :class:`ApiError` for what can't be an id, so that nothing
        but an id gets into a URL."""
        # What may be an id needs no percent-encoding.
        if not is_id(portfolio):
            raise no_id(portfolio, "portfolio")
        return f"{self.folder}{portfolio}/{tail}" if tail else f"{self.folder}{portfolio}"


def strategy_path(strategies: StrategyCalls, strategy: StrategyId) -> str:
    """Return the path of a strategy's cadence. Raises :class:`ApiError` for what can't be an id."""
    if not is_id(strategy):
        raise no_id(strategy, "strategy")
    return strategies.path.format(strategy)


def no_id(text: str, of: str) -> ApiError:
    """Return the error for a text that can't be an id; ``of`` says of what: ``portfolio`` or ``strategy``."""
    return ApiError(
        FailureKind.REFUSED,
        f"not sent: {harmless(text, longest=60)!r} is not a {of} id; ids are 1 to 128 of A-Z a-z 0-9 _ -",
    )


def run_segment(rebalance: str) -> str:
    """Return the id of a rebalance as one segment of a path; characters that mean something in a URL are escaped.

    Raises :class:`ApiError` for what can't be an id.
    """
    if rebalance_id(rebalance) is None:
        raise ApiError(FailureKind.REFUSED, f"not sent: {harmless(rebalance, longest=60)!r} can't be an id")
    return quote(rebalance, safe="")


def data_of(payload: Fields) -> Fields | None:
    """Return what stands inside the envelope; ``None`` where that is no object."""
    data = payload.get("data")
    return data if isinstance(data, dict) else None


def malformed(why: str) -> ApiError:
    """Return the error of an answer that can't be used; the client adds which call it answered."""
    return ApiError(FailureKind.MALFORMED, why)


def required_data(portfolio: PortfolioId, payload: Fields) -> Fields:
    """Return what stands inside the envelope. Raises :class:`ApiError` (``MALFORMED``) where that is no object, or is
    about another portfolio."""
    data = data_of(payload)
    if data is None:
        raise malformed("the answer holds no data object")
    require_same(portfolio, data.get("portfolioId"))
    return data


def require_same(portfolio: PortfolioId, answered: object) -> None:
    """Raise :class:`ApiError` (``MALFORMED``) for an answer about another portfolio; ``None`` names none."""
    if answered is not None and answered != portfolio:
        shown = harmless(answered, longest=LONGEST_ID) if isinstance(answered, str) else "something unreadable"
        raise malformed(f"the answer is about another portfolio: {portfolio} was asked for, {shown} answered")


def lower(word: str) -> str:
    """Return a word in lower case, to be looked up among the documented words (API facts §7a).

    A word that is not all ASCII stays as it is, because other letters could turn into those of a documented word (the
    Kelvin sign into ``k``).
    """
    return word.lower() if word.isascii() else word


def text_of(value: object) -> str | None:
    """Return a text, harmless; ``None`` for an empty one and for anything else."""
    return harmless(value) if isinstance(value, str) and value else None


def number_of(value: object) -> int | None:
    """Return whole milliseconds from 0 up; JSON may spell them ``3600000`` or ``3.6e6``."""
    if type(value) is float and value.is_integer():  # false for infinities
        value = int(value)
    return value if type(value) is int and 0 <= value < LONGEST_MS else None


def interval_of(value: object) -> int | None:
    """Return the milliseconds of an interval, ``None`` for what can't be one (API facts §4.6)."""
    every = number_of(value)
    return every if every is not None and MIN_INTERVAL_MS <= every <= MAX_INTERVAL_MS else None


def moment_of(value: object) -> int | None:
    """Return the epoch milliseconds of an ISO 8601 time with a zone, ``None`` for anything else.

    ``None`` is also what a time before 1970 or after 9999 (UTC) comes to: no run can be due then.
    """
    if not isinstance(value, str):
        return None
    try:
        since = datetime.fromisoformat(value) - _EPOCH
    except (ValueError, TypeError, OverflowError):  # TypeError: no zone
        return None
    ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
    return ms if 0 <= ms <= LATEST_MS else None


_RUN_STATUS: Final = {
    # v1 (API facts §3.1). The list says `triggered` of every workflow, also of one that ended long ago.
    "triggered": RebalanceStatus.RUNNING,
    "running": RebalanceStatus.RUNNING,
    "completed": RebalanceStatus.COMPLETED,
    "failed": RebalanceStatus.FAILED,
    "canceled": RebalanceStatus.CANCELLED,
    "terminated": RebalanceStatus.CANCELLED,
    # v2 (API facts §1.3)
    "accepted": RebalanceStatus.RUNNING,
    "retrying": RebalanceStatus.RUNNING,
    "awaiting_user": RebalanceStatus.RUNNING,
    "cancelled": RebalanceStatus.CANCELLED,
}


def rebalance_id(value: object) -> str | None:
    """Return the id of a rebalance as it is; ``None`` for what can't be one, or can't be put into a path."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_RUN_ID or value in (".", ".."):
        return None
    return value if harmless(value, longest=_LONGEST_RUN_ID) == value else None


def run_at(key: str) -> Codec[Confirmation]:
    """Return what reads the answer of a trigger, which names the run at ``key``; its status word is never looked at.

    It raises :class:`ApiError` (``MALFORMED``) for an answer about another portfolio.
    """

    def read(portfolio: PortfolioId, payload: Fields) -> Confirmation:
        data = data_of(payload) or {}
        require_same(portfolio, data.get("portfolioId"))
        return Confirmation(run=rebalance_id(data.get(key)))

    return read


def run_status(word: str) -> tuple[RebalanceStatus, str]:
    """Return what the word for a rebalance's status means, and how to show it: a documented one as documents spell it.

    Any other word is shown as it is and never counts as a success.
    """
    spelled = lower(word)
    status = _RUN_STATUS.get(spelled)
    if status is None:
        return RebalanceStatus.UNKNOWN, harmless(word, longest=_LONGEST_RUN_WORD)
    return status, spelled


def required_run_status(word: object) -> tuple[RebalanceStatus, str]:
    """Return the same; raise :class:`ApiError` (``MALFORMED``) where there is no word."""
    if not isinstance(word, str) or not word:
        raise malformed("the answer holds no status word")
    return run_status(word)


def run_error(value: object) -> str | None:
    """Return a rebalance's error, of whatever shape, as one line."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("message", "reason", "code") if isinstance(value.get(key), str)), value)
    if value in (None, "", {}, [], False):
        return None
    return harmless(value if isinstance(value, str) else str(value))
