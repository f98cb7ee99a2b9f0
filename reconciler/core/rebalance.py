"""One run of a portfolio (v1 calls it a workflow, v2 an operation): its progress, and what became of a request for one.

In: nothing but values. Out: :class:`Rebalance`, :class:`LastRebalance` and :class:`RebalanceReport`. Times are UTC
epoch milliseconds. Server text in here is already harmless. API facts §1.2, §1.3, §3.1, §5.1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import Struct

from reconciler.core.codec import AtMs, Shown
from reconciler.core.errors import ExitReason, FailureKind, exit_reason_of
from reconciler.core.model import Signs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.errors import ApiError
    from reconciler.core.model import Live, PortfolioId


_COOLDOWN: Final = "API_004"
"""The error code of a cooldown. A rate limit has a different body, without a code (API facts §2.5)."""


def is_cooldown(error: ApiError) -> bool:
    """Whether a trigger was refused only because the last rebalance of this portfolio is too recent.

    Unlike a rate limit, that says nothing about other portfolios.
    """
    return error.kind is FailureKind.RATE_LIMITED and error.code == _COOLDOWN


class RebalanceStatus(StrEnum):
    """How far a rebalance has come. A word of the service that is not in here is ``UNKNOWN``, and never a success."""

    RUNNING = "running"
    """Requested, and not over as far as we know; also accepted, retrying, or waiting for a person."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


_OVER: Final = frozenset({RebalanceStatus.COMPLETED, RebalanceStatus.FAILED, RebalanceStatus.CANCELLED})


class Rebalance(Struct, frozen=True, kw_only=True):
    """One rebalance as read; ``None`` for whatever the answer did not hold.

    ``word`` is the status as the service spelled it. ``transaction`` is the hash found in v1's free-form result, and
    ``gas_used`` the units of gas in it, as text.
    """

    id: Shown
    status: RebalanceStatus
    word: Shown
    scheduled_ms: AtMs | None = None
    started_ms: AtMs | None = None
    ended_ms: AtMs | None = None
    error: Shown | None = None
    transaction: Shown | None = None
    gas_used: Shown | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen. An undocumented word does not tell that, but a time of its end does."""
        return self.status in _OVER or (self.status is RebalanceStatus.UNKNOWN and self.ended_ms is not None)

    @property
    def ended(self) -> bool:
        """Whether it ran to an end, well or not; one that was cancelled does not tell how the portfolio does."""
        return self.over and self.status is not RebalanceStatus.CANCELLED

    @property
    def begun_ms(self) -> int | None:
        """When it began, or, if that is not known, when it was due to begin."""
        return self.started_ms if self.started_ms is not None else self.scheduled_ms

    @property
    def duration_ms(self) -> int | None:
        """How long it took; ``None`` while it runs, or if its times make no sense."""
        if self.started_ms is None or self.ended_ms is None or self.ended_ms < self.started_ms:
            return None
        return self.ended_ms - self.started_ms

    @property
    def why(self) -> str:
        """Why it did not end well, as a phrase: its error, or the word for its end."""
        if self.error:
            return self.error
        return "failed, no reason given" if self.word == "failed" else f"ended as {self.word!r}"

    @property
    def went_wrong(self) -> bool:
        """Whether it failed, or ended in a way that is not known to be good. A cancelled one did not fail."""
        return self.status is RebalanceStatus.FAILED or (self.status is RebalanceStatus.UNKNOWN and self.over)


class KeptRebalance(Struct, frozen=True, kw_only=True):
    """A rebalance as the journal remembers it, and when it was read, UTC epoch milliseconds: it may be older news."""

    rebalance: Rebalance
    read_ms: int


def newest_first(*known: KeptRebalance) -> tuple[KeptRebalance, ...]:
    """Return what is known of one portfolio's rebalances, each once, the newest first.

    Of several readings of one rebalance the latest counts, but what is over stays over.
    """
    found: dict[str, KeptRebalance] = {}
    for one in sorted(known, key=lambda one: (one.rebalance.over, one.read_ms)):
        found[one.rebalance.id] = one
    return tuple(sorted(found.values(), key=_began, reverse=True))


def _began(one: KeptRebalance) -> tuple[int, str]:
    begun_ms = one.rebalance.begun_ms
    return one.read_ms if begun_ms is None else begun_ms, one.rebalance.id


class RecentRebalances(Struct, frozen=True, kw_only=True):
    """The newest rebalances of one portfolio, newest first, and when the schedule runs it next.

    ``listed`` is false if the service has no such list (v2): then an empty one means nothing.
    """

    rebalances: tuple[Rebalance, ...] = ()
    next_run_ms: int | None = None
    listed: bool = True


class Knowledge(StrEnum):
    """How much is known of the last rebalance of a portfolio."""

    READ = "read"
    KEPT = "kept"
    """It was read before, and the journal remembers it; nothing shows a later one."""
    NONE = "none"
    """The service lists none."""
    NOT_EXPOSED = "not_exposed"
    """v2 tells only about an operation whose id is known, and the journal does not know the id of the last one."""
    UNREADABLE = "unreadable"
    """The read failed; ``LastRebalance.failure`` says how."""


class LastRebalance(Struct, frozen=True, kw_only=True):
    """The last rebalance of one portfolio; ``rebalance`` is set exactly when it is ``READ`` or ``KEPT``.

    ``earlier`` are those before it that were read as well, newest first: as many as it took to find one that had ended.
    """

    knowledge: Knowledge
    rebalance: Rebalance | None = None
    failure: ApiError | None = None
    earlier: tuple[Rebalance, ...] = ()

    @property
    def went_wrong(self) -> bool:
        """Whether it is known not to have ended well."""
        return self.rebalance is not None and self.rebalance.went_wrong

    @property
    def read(self) -> tuple[Rebalance, ...]:
        """All that was read of rebalances, newest first."""
        return (self.rebalance, *self.earlier) if self.rebalance is not None else ()


def remembered(known: Sequence[KeptRebalance], live: Live) -> LastRebalance | None:
    """Return the last rebalance as the journal remembers it.

    ``None`` if it remembers none, if the last one that it remembers was not over when it was read, or if live shows a
    later one.
    """
    if not known or not known[0].rebalance.over or ran_since(known[0].rebalance, live):
        return None
    return LastRebalance(knowledge=Knowledge.KEPT, rebalance=known[0].rebalance)


def ran_since(one: Rebalance, live: Live) -> bool:
    """Whether live shows a run later than this one.

    v1 tells when each run was scheduled, v2 when the last one was completed (API facts §5.1). So on v2, where nothing
    is scheduled, the end of this one is compared.
    """
    known = (one.scheduled_ms, one.ended_ms, one.begun_ms)
    told_ms = next((ms for ms in known if ms is not None), None)
    return bool(live.scheduled_ms) and (told_ms is None or live.scheduled_ms[0] > told_ms)


class PortfolioFacts(Struct, frozen=True, kw_only=True):
    """What is known of a portfolio besides its automation; ``None`` for what was not in the answer.

    ``trading`` holds its trading settings, flattened to names and texts, sorted: shown, and never written.
    """

    name: str | None = None
    signs: Signs = Signs()
    archived: bool | None = None
    trading: tuple[tuple[str, str], ...] = ()


class RebalanceOutcome(StrEnum):
    """What became of the request for one rebalance, in the order of display."""

    COMPLETED = "completed"
    ACCEPTED = "accepted"
    """It runs; nobody waited for its end."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    """It was accepted, but was not over when waiting ended. It goes on."""
    UNKNOWN = "unknown"
    """Nobody can tell whether it runs, or how it ended."""
    COOLING_DOWN = "cooling_down"
    """Refused for a while, for this portfolio only. Nothing began."""
    REFUSED = "refused"
    """Refused, or never sent. Nothing began."""
    NOT_ATTEMPTED = "not_attempted"

    @property
    def text(self) -> str:
        """Return the outcome in words for people."""
        return self.value.replace("_", " ")


_GOOD: Final = frozenset({RebalanceOutcome.COMPLETED, RebalanceOutcome.ACCEPTED})
_OPEN: Final = frozenset({RebalanceOutcome.TIMED_OUT, RebalanceOutcome.UNKNOWN})


class RebalanceResult(Struct, frozen=True, kw_only=True):
    """What became of one portfolio's rebalance.

    ``id`` is the id of the workflow or operation, if it is known, and ``rebalance`` what was last seen of it.
    ``detail`` is a sentence, with a repair if there is one; ``error`` is the failure behind the outcome. ``retry_ms``
    is when a cooldown ends, UTC epoch milliseconds. ``guarded`` says that a halt or a freeze refused it.
    """

    portfolio: PortfolioId
    outcome: RebalanceOutcome
    id: str | None = None
    rebalance: Rebalance | None = None
    detail: str = ""
    notes: tuple[str, ...] = ()
    error: ApiError | None = None
    retry_ms: int | None = None
    guarded: bool = False


class RebalanceReport(Struct, frozen=True, kw_only=True):
    """All results, sorted by portfolio id."""

    results: tuple[RebalanceResult, ...]
    started_ms: int
    finished_ms: int

    def count(self, outcome: RebalanceOutcome) -> int:
        """Return how many ended like this."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def exit_reason(self) -> ExitReason:
        """The reason to exit with.

        If the end of any is not known, or if some went well and others did not, that is *partly done*. If none went
        well, it is the one reason that all share, else a plain error; what was not attempted because of another has no
        reason of its own.
        """
        outcomes = {result.outcome for result in self.results}
        if outcomes <= _GOOD:
            return ExitReason.OK
        if outcomes & _OPEN or outcomes & _GOOD:
            return ExitReason.PARTIAL
        begun = [result for result in self.results if result.outcome is not RebalanceOutcome.NOT_ATTEMPTED]
        reasons = {_reason(result) for result in begun or self.results}
        return reasons.pop() if len(reasons) == 1 else ExitReason.ERROR


def _reason(result: RebalanceResult) -> ExitReason:
    match result.outcome:
        case RebalanceOutcome.COOLING_DOWN:
            return ExitReason.UNREACHABLE
        case RebalanceOutcome.REFUSED if result.guarded:
            return ExitReason.GUARD
        case RebalanceOutcome.REFUSED:
            return exit_reason_of(result.error.kind) if result.error is not None else ExitReason.ERROR
        case RebalanceOutcome.FAILED | RebalanceOutcome.CANCELLED | RebalanceOutcome.NOT_ATTEMPTED:
            return ExitReason.ERROR
        case RebalanceOutcome.COMPLETED | RebalanceOutcome.ACCEPTED:
            return ExitReason.OK
        case RebalanceOutcome.TIMED_OUT | RebalanceOutcome.UNKNOWN:
            return ExitReason.PARTIAL
        case _:
            assert_never(result.outcome)
