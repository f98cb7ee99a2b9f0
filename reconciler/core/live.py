"""What Glider says of a portfolio, what we remember of it, and how well either is known.

In: nothing. Out: :class:`Live`, :class:`Record` and the two scales of knowledge. Mappings are keyed by portfolio id and
sorted by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.core.desired import PortfolioId, RunState
    from reconciler.core.errors import ApiError

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: a later time can't be written down, so no live value is one."""


class Status(StrEnum):
    """What the service says (API facts §3.1, §3.2), closed: whatever else it says is ``UNKNOWN`` and blocks."""

    ACTIVE = "active"
    PAUSED = "paused"
    INACTIVE = "inactive"
    ARCHIVED = "archived"
    ERROR = "error"
    UNKNOWN = "unknown"
    """A word that is not documented, or an answer that contradicts itself."""
    NO_SCHEDULE = "no_schedule"
    """A v2 portfolio without a schedule row: nothing can be started or stopped."""
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    """The read failed; ``Live.failure`` says how."""
    NOT_READ = "not_read"
    """Nobody read it: the live file that is planned from does not hold it (:mod:`reconciler.core.livefile`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """One portfolio as read. Server text in here is already harmless; times are UTC epoch milliseconds.

    ``word`` is the status as the service spelled it. ``interval_ms`` and ``offset_ms`` are set only when the
    answer carried them, which v1 does not document (API facts §4.3). ``scheduled_ms`` holds the ``scheduledAt`` of
    recent runs, newest first; on v2 the last rebalance alone. ``name``, ``strategy`` (its id) and ``strategy_name``
    are read on v2 only.

    ``schedule_id`` tells one schedule from the next. v2 has no such id; there, while a portfolio is paused, the time it
    was last due stands in: every resume moves it (API facts §1.3), so it tells one pause from the next.
    """

    id: PortfolioId
    status: Status
    word: str = ""
    interval_ms: int | None = None
    offset_ms: int | None = None
    schedule_id: str | None = None
    pause_reason: str | None = None
    next_run_ms: int | None = None
    scheduled_ms: tuple[int, ...] = ()
    runs: int | None = None
    failure: ApiError | None = None
    name: str | None = None
    strategy: str | None = None
    strategy_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the service confirmed at our last write to a portfolio, as the journal remembers it.

    A memory, not an observation. ``interval_ms`` and ``offset_ms`` are ``None`` where no answer of the service
    ever confirmed one. ``confirmed_ms`` is when, UTC epoch milliseconds.
    """

    state: RunState
    interval_ms: int | None
    offset_ms: int | None
    schedule_id: str | None
    confirmed_ms: int
    marked: bool = False
    """Whether the service showed our mark in the pause reason afterwards; see :mod:`reconciler.core.marker`."""
    pause_reason: str | None = None
    """The reason as the service showed it of our own pause, where it had changed the mark in it."""
    imported: str | None = None
    """Set where the record comes from another journal's export: the token of the pause of ours that it tells of, empty
    where there is none. Such a record counts only where live shows that token, or the record's schedule id."""


class Provenance(StrEnum):
    """How well a live value is known."""

    READ = "read"
    RECORDED = "recorded"
    OBSERVED = "observed"
    NONE = "none"


class Verdict(StrEnum):
    """What can be said of one managed field."""

    SAME = "same"
    DIFFERENT = "different"
    UNVERIFIED = "unverified"
