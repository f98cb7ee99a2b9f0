"""A strategy's cadence: declared, live, and how one becomes the other. All enrolled portfolios share it.

In: nothing. Out: :class:`StrategyDesired`, :class:`StrategyLive`, :class:`StrategyChange` and
:class:`StrategyBlocked`; mappings of them are keyed by strategy id and sorted by it. What to do about a strategy is
decided in :mod:`reconciler.core.strategyplan`. API facts §1.3 (V2.7, V2.8) and §6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

from reconciler.core.live import Provenance

if TYPE_CHECKING:
    from reconciler.core.desired import Origin
    from reconciler.core.errors import ApiError
    from reconciler.core.plan import Cause

StrategyId = NewType("StrategyId", str)
"""Glider's id of a strategy; always matches ``[A-Za-z0-9_-]{1,128}``, so it is safe in a URL path."""
StrategyAddress = NewType("StrategyAddress", str)
"""``strategies/ID``: how a strategy is named where portfolios are named by their id alone (journal, flags, results).
No portfolio id has a slash."""

_FOLDER: Final = "strategies/"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


def address_of(strategy: StrategyId) -> StrategyAddress:
    """Return ``strategies/ID``."""
    return StrategyAddress(f"{_FOLDER}{strategy}")


def strategy_of(address: str) -> StrategyId | None:
    """Return the strategy that an address names, ``None`` where it is a portfolio's id or no address."""
    name = address.removeprefix(_FOLDER)
    return StrategyId(name) if name != address and _ID.fullmatch(name) else None


class Cadence(StrEnum):
    """How often a strategy's portfolios run, the most frequent first (API facts §6); all that can be asked for."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @property
    def rank(self) -> int:
        """The place among all cadences, from 0 for the most frequent: milliseconds are not documented for each."""
        return list(Cadence).index(self)

    @property
    def runs_a_day(self) -> float:
        """How often a portfolio runs in 24 hours; of ``monthly`` about so often, taking a month as 30 days."""
        return {Cadence.HOURLY: 24.0, Cadence.DAILY: 1.0, Cadence.WEEKLY: 1 / 7, Cadence.MONTHLY: 1 / 30}[self]


class StrategyStatus(StrEnum):
    """What is known of a strategy, closed: only ``FOUND`` carries a cadence."""

    FOUND = "found"
    UNKNOWN = "unknown"
    """It is there, but its schedule is null, absent or a word that is not documented (API facts §4.7)."""
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    """The read failed; ``StrategyLive.failure`` says how."""
    NOT_READ = "not_read"
    """Nobody read it: the live file that is planned from does not hold it."""


class StrategyRisk(StrEnum):
    """What a reviewer should know before saying yes. Where a word is also one of a portfolio's, it means the same."""

    REACHES_PORTFOLIOS = "reaches_portfolios"
    """It holds for every enrolled portfolio, paused ones included, from the next cycle (API facts §1.3)."""
    REACH_UNKNOWN = "reach_unknown"
    """How many they are could not be counted."""
    MORE_RUNS = "more_runs"
    """The cadence gets faster."""
    UNVERIFIED_WRITE = "unverified_write"
    """The live cadence can't be known, so it is written without knowing what it replaces."""


class StrategyBlock(StrEnum):
    """Why nothing can be done about a strategy until a person looks at it."""

    NOT_FOUND = "not_found"
    READ_FAILED = "read_failed"
    NOT_READ = "not_read"
    UNKNOWN_CADENCE = "unknown_cadence"
    BELOW_MAINNET_MINIMUM = "below_mainnet_minimum"
    """Hourly, with a portfolio on ETH mainnet enrolled (API facts §6)."""
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyDesired:
    """One strategy as declared. ``name`` is a label for people; never sent."""

    id: StrategyId
    schedule: Cadence
    name: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyLive:
    """One strategy as read. ``cadence`` is set exactly when it was ``FOUND``.

    ``word`` is what stood where a documented cadence was expected, harmless; ``""`` where nothing stood.
    """

    id: StrategyId
    status: StrategyStatus
    cadence: Cadence | None = None
    word: str = ""
    failure: ApiError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyChange:
    """One strategy's new cadence. ``before`` is ``None`` where the live one can't be known.

    ``reach`` is how many portfolios were enrolled when the plan was made, and ``running`` how many of those were
    active; ``None`` where that is not known. ``since`` is the token of the last write to it that the journal knew
    before the first read, ``None`` for none.
    """

    id: StrategyId
    before: Cadence | None
    after: Cadence
    reach: int | None
    risks: tuple[StrategyRisk, ...]
    running: int | None = None
    provenance: Provenance = Provenance.READ
    name: str | None = None
    cause: Cause | None = None
    source: Origin | None = None
    since: str | None = None

    @property
    def address(self) -> StrategyAddress:
        """``strategies/ID``."""
        return address_of(self.id)

    @property
    def may_run_more(self) -> bool:
        """Whether its portfolios run more often afterwards, or nobody knows that they do not."""
        return self.before is None or StrategyRisk.MORE_RUNS in self.risks


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyBlocked:
    """Nothing can be done. ``detail`` is a sentence with the repair; ``failure`` the kind of a failed read."""

    id: StrategyId
    reason: StrategyBlock
    detail: str
    status: StrategyStatus
    failure: str | None = None
    name: str | None = None
    source: Origin | None = None

    @property
    def address(self) -> StrategyAddress:
        """``strategies/ID``."""
        return address_of(self.id)


@dataclass(frozen=True, slots=True)
class StrategyUnchanged:
    """Nothing to do."""


StrategyDecision = StrategyChange | StrategyBlocked | StrategyUnchanged
