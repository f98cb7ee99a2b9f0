"""What the files declare, one value a portfolio, settled in milliseconds and closed enums.

In: nothing. Out: :class:`Desired`. Mappings of it are keyed by portfolio id and sorted by it. Kept apart from what is
live, because the offline commands need no more than this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

if TYPE_CHECKING:
    from reconciler.core.advice import Silence
    from reconciler.core.strategy import StrategyId

PortfolioId = NewType("PortfolioId", str)
"""Glider's id of a portfolio; always matches ``[A-Za-z0-9_-]{1,128}``, so it is safe in a URL path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one of Glider's REST APIs can do. The core asks for these and never which version it is.

    ``owns_schedule``: a portfolio has an interval and an offset of its own, can be started and be given another
    schedule; else its cadence belongs to its strategy. ``keeps_reason``: the reason of a pause is stored and read back;
    else a pause is told from the next by the time the portfolio was due. ``reads_schedule``: a read shows how often it
    runs. ``lists``: the portfolios can be listed.
    """

    owns_schedule: bool
    keeps_reason: bool
    reads_schedule: bool
    lists: bool


_NOTHING: Final = Capabilities(owns_schedule=False, keeps_reason=False, reads_schedule=False, lists=False)


class ApiVersion(StrEnum):
    """Which of Glider's REST APIs a portfolio is managed by: one of them, never both (API facts §4.9)."""

    can: Capabilities

    def __new__(cls, word: str, can: Capabilities = _NOTHING) -> ApiVersion:
        """Make a member; the default is for type checkers alone, which read ``ApiVersion("v1")`` as a call of this."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.can = can
        return member

    V1 = "v1", Capabilities(owns_schedule=True, keeps_reason=True, reads_schedule=False, lists=False)
    V2 = "v2", Capabilities(owns_schedule=False, keeps_reason=False, reads_schedule=True, lists=True)


class RunState(StrEnum):
    """What a file may ask for."""

    ACTIVE = "active"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a portfolio is declared; the line counts from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """One portfolio as declared, after defaults and groups were laid under it.

    ``interval_ms`` or ``offset_ms`` is ``None`` where it is not declared, that is: not managed; on v2 they always are,
    because a v2 portfolio's cadence belongs to its strategy. ``reason`` is sent with pause and resume where the API
    takes one (v1). ``strategy`` is the one that a v2 portfolio shall be enrolled in; it is compared and never sent,
    ``None`` where any is fine. ``until`` is an ISO date after which people are warned; it never resumes anything.
    """

    id: PortfolioId
    state: RunState
    api: ApiVersion = ApiVersion.V1
    strategy: StrategyId | None = None
    interval_ms: int | None = None
    offset_ms: int | None = None
    name: str | None = None
    group: str | None = None
    chain: str | None = None
    reason: str | None = None
    owner: str | None = None
    until: str | None = None
    hold_override: bool = False
    """``hold: override``: resume it although somebody else paused it."""
    run_on_start: bool = False
    """Maps to ``runRebalanceImmediately`` of a start."""
    per_rebalance_usd: float | None = None
    """What one run costs, as declared: Glider publishes no price."""
    warn_above_usd_month: float | None = None
    silences: tuple[Silence, ...] = ()
    """The rules of advice that are not to be reported, at most one a rule."""
    origin: Origin | None = None
